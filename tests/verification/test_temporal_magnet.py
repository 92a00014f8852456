# SPDX-License-Identifier: LGPL-3.0-or-later
"""A finite-element magnet in a fast field: against one spin, the direct simulation, one rank."""

from collections import deque
from itertools import pairwise

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.hmm import MagnetModel, SpinModel, Window, resolved


def macro_run(model, m, *, dt, t_end, t=0.0, **options):
    """March the macro model."""
    return llg.march(llg.hmm.upscaled(model, m, dt=dt, **options), t=t, t_end=t_end)


def squares(t, z):
    return [2 * np.sin(2 * np.pi * z) ** 2, 2 * np.cos(2 * np.pi * z) ** 2, 1.0]


def twisted(x):
    return np.stack((np.sin(2 * x[0]), np.cos(2 * x[0]), 0.5 * np.cos(np.pi * x[1])))


def window(eps=0.01, **options):
    return Window(eps=eps, integrator="rk4", steps_per_period=16, **options)


def run(model, m, dt=0.1, t_end=1.0, **options):
    options = {"damping": 0.5, "tolerance": 1e-10, **options}
    states = macro_run(model, model.nodal(m), dt=dt, t_end=t_end, **options)
    return deque(states, maxlen=1).pop().m


def largest(comm, value):
    return comm.allreduce(float(np.max(np.abs(value), initial=0.0)), op=MPI.MAX)


@pytest.mark.parametrize("integrator", ["midpoint", "rk4"])
def test_a_uniform_magnet_is_one_spin(comm, integrator):
    """No exchange acts on a uniform state, and Ms drops out of the torque of an applied field."""
    domain = mesh.create_unit_cube(comm, 2, 2, 2)
    Ms = fem.Function(fem.functionspace(domain, ("DG", 0)))
    Ms.interpolate(lambda x: np.where(x[0] < 0.5, 1.0, 3.0))
    m = llg.magnetization(domain, (1.0, 0.5, 0.0))
    energy = llg.Energy([llg.Exchange(0.01), llg.Zeeman((0.3, 0, 0), Ms=Ms)], Ms=Ms)
    own = Window(eps=0.01, steps_per_period=16, integrator=integrator)
    magnet = MagnetModel(energy, m, squares, own)
    values = run(magnet, m, projection="flux")
    spin = SpinModel(lambda t, z: np.add(np.array(squares(t, z), dtype=object), [0.3, 0, 0]), own)
    m0 = np.array([1.0, 0.5, 0.0]) / np.sqrt(1.25)
    states = macro_run(spin, m0, dt=0.1, t_end=1.0, damping=0.5, tolerance=1e-10, projection="flux")
    end = deque(states, maxlen=1).pop().m
    # Ten steps solved to 1e-10 each, and the micro midpoint rule to 1e-12.
    assert largest(comm, values - end) < 1e-8


def test_magnet_follows_the_direct_simulation(comm):
    """Exchange and anisotropy; a UFL field with a spot in space."""
    domain = mesh.create_unit_square(comm, 6, 6)
    m = llg.magnetization(domain, twisted)
    energy = llg.Energy([llg.Exchange(0.02), llg.UniaxialAnisotropy((0, 1, 0), 1.0)])
    x = ufl.SpatialCoordinate(domain)
    t, z = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    applied = 4 * ufl.exp(-4 * (x[0] ** 2 + x[1] ** 2)) * ufl.as_vector(
        [ufl.cos(2 * ufl.pi * z) ** 2, 0, 0]
    ) + ufl.as_vector([0, 0, 1.0])
    eps = 0.0025
    model = MagnetModel(energy, m, applied, window(eps), times=(t, z))
    n = round(0.5 / eps * 16)
    _, states = resolved(model, model.nodal(m), dt=0.5 / n, n_steps=n, damping=0.5, every=n)
    errors = [
        largest(comm, run(model, m, dt=dt, t_end=0.5) - states[-1]) for dt in (0.0625, 0.03125)
    ]
    # Macro error dt^2/12 |h|^3 T = 5e-3 for fields of 3, of order 2 down to the O(eps) of the
    # upscaling, eps |H| |h| / (4 pi) = 2e-3 at most.
    assert errors[0] < 5e-3
    assert errors[1] < 0.5 * errors[0]


def test_macro_order_2(comm):
    domain = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(domain, twisted)
    energy = llg.Energy([llg.Exchange(0.05), llg.UniaxialAnisotropy((0, 1, 0), 1.0)])
    # With eps = 1e-4 the upscaling error is far below the macro error.
    model = MagnetModel(energy, m, squares, window(1e-4))
    ends = [run(model, m, dt=dt, t_end=0.8) for dt in (0.2, 0.1, 0.05)]
    coarse, fine = (largest(comm, a - b) for a, b in pairwise(ends))
    assert np.log2(coarse / fine) == pytest.approx(2, abs=0.15)


def test_newton_takes_steps_at_which_the_fixed_point_fails(comm):
    """Exchange frequencies of 12 kappa/h^2: dt times that is about 40."""
    domain = mesh.create_unit_square(comm, 8, 8)
    m = llg.magnetization(domain, twisted)
    model = MagnetModel(llg.Energy([llg.Exchange(0.5)]), m, squares, window(1e-3))
    state = next(macro_run(model, model.nodal(m), dt=0.1, t_end=0.1, damping=0.5))
    assert state.iterations < 10
    with pytest.raises(llg.ConvergenceError, match=r"Delta t = 0\.1"):
        run(model, m, solver=llg.hmm.MidpointSolver("fixed_point"))


def test_an_energy_that_is_not_quadratic(comm):
    """Cubic anisotropy of strength q_c on a uniform state: h_i = -q_c m_i (|m|^2 - m_i^2)."""
    domain = mesh.create_interval(comm, 4, [0.0, 1.0])
    m = llg.magnetization(domain, (1.0, 0.5, 0.2))
    model = MagnetModel(llg.Energy([llg.CubicAnisotropy(2.0)]), m, squares, window())
    assert not model.quadratic
    h = model.tabulate(np.array([0.0]), 1)
    values = model.nodal(m)
    # The quadrature of the P1 density is exact; rounding only.
    size = np.sum(values**2, axis=1, keepdims=True)
    exact = -2.0 * values * (size - values**2) + np.array([0.0, 2.0, 1.0])
    assert largest(comm, h(0, values) - exact) < 1e-13
    v = np.tile([0.1, -0.2, 0.3], (len(values), 1))
    model.flux(0.0, values)
    step = 1e-6
    numeric = (h(0, values + step * v) - h(0, values - step * v)) / (2 * step)
    assert largest(comm, model.field_change(v) - numeric) < 1e-8
    n = round(1.0 / 0.01 * 16)
    _, states = resolved(model, values, dt=1.0 / n, n_steps=n, damping=0.5, every=n)
    # dt^2/12 |h|^3 T with |h| = 2.4.
    assert largest(comm, run(model, m) - states[-1]) < 1.5e-2


def test_all_ranks_agree_with_one(comm):
    def end(ranks):
        domain = mesh.create_unit_square(ranks, 5, 4)
        m = llg.magnetization(domain, twisted)
        energy = llg.Energy([llg.Exchange(0.02), llg.UniaxialAnisotropy((0, 1, 0), 1.0)])
        model = MagnetModel(energy, m, squares, window())
        values = run(model, m, t_end=0.3)
        points = m.function_space.tabulate_dof_coordinates()[: len(values)]
        rows = np.concatenate(ranks.allgather(np.hstack((points, values))))
        return rows[np.lexsort(np.round(rows[:, :2], 9).T)]

    shared, alone = end(comm), end(MPI.COMM_SELF)
    # Sums in another order: rounding, times three steps solved to 1e-10.
    np.testing.assert_allclose(shared, alone, rtol=0, atol=1e-9)


def test_assign_writes_ghosts_too(comm):
    domain = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(domain, twisted)
    model = MagnetModel(llg.Energy([llg.Exchange(1.0)]), m, squares, window())
    copy = fem.Function(m.function_space)
    model.assign(copy, model.nodal(m))
    np.testing.assert_array_equal(copy.x.array, m.x.array)
    # Ms = 1: the nodal volumes add up to the area.
    assert comm.allreduce(model.nodal_volumes().sum()) == pytest.approx(1.0, abs=1e-14)
