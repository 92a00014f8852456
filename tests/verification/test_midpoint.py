# SPDX-License-Identifier: LGPL-3.0-or-later
"""The implicit midpoint rule: invariants, order, closed forms, counts, ranks, coarse spaces."""

import math

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.la import InsertMode

import dolfinx_llg as llg
from dolfinx_llg.grps import exchange_form, grps_basis, refine_mesh, vector_basis
from dolfinx_llg.grps import volume_measurement as volumes
from dolfinx_llg.physics.literature import hmm_ex2_initial


def rough(msh, contrast=10.0):
    """A DG0 kappa in stripes, the same on any number of ranks."""
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0)))
    kappa.interpolate(lambda x: np.where(np.floor(4 * x[0]) % 2 == 0, 1.0, 1.0 / contrast))
    return kappa


def lengths(m):
    return np.linalg.norm(m.x.array.reshape(-1, 3), axis=1)


def march(step, **options):
    states = []
    for state in llg.march(step, **options):
        states.append((state.t, state.iterations, state.newton_iterations))
    return states


def plane(comm, n=8, **options):
    """Exchange, anisotropy and an applied field on a square: a quadratic energy."""
    msh = mesh.create_unit_square(comm, n, n)
    energy = llg.Energy(
        [
            llg.Exchange(rough(msh)),
            llg.UniaxialAnisotropy((0, 0, 1), 4.0),
            llg.UniaxialAnisotropy((0, 1, 0), -2.0),
            llg.Zeeman((1.0, 0.5, 0.0)),
        ]
    )
    m = llg.magnetization(msh, hmm_ex2_initial)
    return energy, m, llg.midpoint(energy, m, **({"dt": 0.02, "damping": 0.1} | options))


def test_energy_is_kept_without_damping(comm):
    """Steps of 20 times the explicit limit; the tolerance enters E with dt times the field."""
    energy, m, step = plane(comm, damping=0.0, tolerance=1e-13)
    before = energy.total(m)
    for _ in llg.march(step, t_end=0.4):
        assert energy.total(m) == pytest.approx(before, rel=1e-11)
    assert np.abs(lengths(m) - 1).max() < 1e-13


def test_energy_decays_exactly(comm):
    """E(m') - E(m) = -dt (c lambda |x x H|^2, 1)_h, with H from an assembly of its own."""
    energy, m, _ = plane(comm, 6)
    V = m.function_space
    w, x = ufl.TestFunction(V), fem.Function(V)
    gradient = fem.form(energy.gradient(x, w))
    ones = fem.form(ufl.inner(ufl.as_vector([1.0] * 3), w) * ufl.dx)
    for damping in (llg.Gilbert(0.3), 0.05):
        step = llg.midpoint(energy, m, dt=0.03, damping=damping, tolerance=1e-13)
        old, before = m.x.array.copy(), energy.total(m)
        next(llg.march(step, t_end=1.0))
        x.x.array[:] = 0.5 * (old + m.x.array)
        parts = []
        for form in (gradient, ones):
            vector = fem.assemble_vector(form)
            vector.scatter_reverse(InsertMode.add)
            parts.append(vector.array[: 3 * V.dofmap.index_map.size_local].reshape(-1, 3))
        g, mass = parts
        turned = np.cross(x.x.array[: g.size].reshape(-1, 3), g / mass)
        rate = 0.3 / (1 + 0.09) if isinstance(damping, llg.Gilbert) else damping
        loss = comm.allreduce(float(np.sum(mass * turned**2))) * 0.03 * rate
        assert before - energy.total(m) == pytest.approx(loss, rel=1e-9)


def test_length_is_kept_at_any_tolerance(comm):
    _, m, step = plane(comm, tolerance=1e-2)
    march(step, t_end=0.2)
    assert np.abs(lengths(m) - 1).max() < 1e-13


def test_macrospin(comm):
    """The turn of a spin about a field h in a step is 2 arctan(h dt/2): no damping, no growth."""
    msh = mesh.create_unit_interval(comm, 3)
    m = llg.magnetization(msh, (0.6, 0.0, 0.8))
    step = llg.midpoint(llg.Energy([llg.Zeeman((0, 0, 2.0))]), m, dt=0.25, damping=0.0)
    march(step, t_end=10.0)
    angle = 40 * 2 * math.atan(2.0 * 0.25 / 2)
    exact = [0.6 * math.cos(angle), 0.6 * math.sin(angle), 0.8]
    np.testing.assert_allclose(m.x.array.reshape(-1, 3), np.tile(exact, (len(lengths(m)), 1)),
                               atol=1e-6)  # fmt: skip


class Shape(llg.FieldTerm):
    """A field of its own, without a Hessian."""

    def compute(self, m, h):
        h.x.array[:] = (m.x.array.reshape(-1, 3) * [-1.0, -0.5, 0.0]).ravel()


def dynamic(comm, dt, scheme=llg.midpoint, **options):
    """A cubic term, a field of its own and one that varies in time."""
    msh = mesh.create_unit_interval(comm, 6)
    time = fem.Constant(msh, 0.0)
    field = ufl.as_vector([ufl.sin(5 * time), 0.0, ufl.cos(5 * time)])
    applied = llg.Zeeman(field, time=time)
    energy = llg.Energy([llg.Exchange(0.05), llg.CubicAnisotropy(3.0), applied, Shape()])
    m = llg.magnetization(msh, lambda x: np.stack([np.cos(x[0]), np.sin(x[0]), 0.5 + 0 * x[0]]))
    march(scheme(energy, m, dt=dt, damping=0.05), t_end=0.32, **options)
    return m.x.array


def test_order_two_with_everything(comm):
    """Terms without Hessian are extrapolated, also in the first steps, without loss of order."""
    exact = dynamic(comm, 2e-3, llg.rk4)
    errors = [np.abs(dynamic(comm, dt) - exact).max() for dt in (0.04, 0.02, 0.01)]
    errors = np.max(comm.allgather(errors), axis=0)
    rates = np.log2(errors[:-1] / errors[1:])
    np.testing.assert_allclose(rates, 2.0, atol=0.2)


def test_order_two_with_variable_steps(comm):
    """Adaptive steps: the error follows rtol^(2/3) at least; the length is kept."""
    exact = dynamic(comm, 2e-3, llg.rk4)
    errors = []
    for rtol in (1e-4, 1e-5):
        m = dynamic(comm, 1e-3, adaptive=llg.Adaptive(rtol=rtol))
        errors.append(max(comm.allgather(float(np.abs(m - exact).max()))))
    assert errors[0] < 30e-4
    assert errors[1] < 0.35 * errors[0]


def test_default_tolerance_is_a_tenth_of_the_time_error(comm):
    runs = {}
    for name, options in (
        ("default", {}),
        ("tight", {"tolerance": 1e-12}),
        ("exact", {"tolerance": 1e-12, "dt": 0.0025}),
    ):
        _, m, step = plane(comm, **options)
        march(step, t_end=0.4)
        runs[name] = m.x.array.copy()
    solver, time = (
        max(comm.allgather(float(np.abs(runs["tight"] - runs[name]).max())))
        for name in ("default", "exact")
    )
    assert solver < 0.1 * time


def test_counts_are_flat_in_h(comm):
    """Dt fixed while h falls by 4 and the largest frequency grows by 16."""
    counts = []
    for n in (8, 16, 32):
        _, _, step = plane(comm, n)
        states = march(step, t_end=0.2)[4:]
        counts.append([np.mean([s[1] for s in states]), np.mean([s[2] for s in states])])
    assert max(c[0] for c in counts) < 20
    assert counts[2][0] < 1.5 * counts[0][0]
    assert max(c[1] for c in counts) <= 4


def test_the_same_on_all_ranks(comm):
    """Periodic too; the default tolerance leaves 1e-7."""
    runs = []
    for here in (comm, MPI.COMM_SELF):
        energy, m, step = plane(here, 6)
        march(step, t_end=0.1, basis=llg.periodic_basis(m.function_space, [1]))
        moments = np.array([energy.total(m)])
        runs.append(moments)
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-6)


def test_restart_is_bit_for_bit(comm, tmp_path_factory):
    _, whole, step = plane(comm)
    march(step, t_end=0.2)
    folder = comm.bcast(tmp_path_factory.mktemp("midpoint") if comm.rank == 0 else None)
    _, _, step = plane(comm)
    for state in llg.march(step, t_end=0.2):
        if state.n == 5:
            llg.write_checkpoint(folder / "run.npz", state)
            break
    _, again, step = plane(comm)
    march(step, t_end=0.2, resume=llg.read_checkpoint(folder / "run.npz", again))
    if comm.size <= 2:
        np.testing.assert_array_equal(again.x.array, whole.x.array)
    np.testing.assert_allclose(again.x.array, whole.x.array, atol=1e-8)


def test_data_changed_in_the_loop(comm):
    """Another kappa, field and damping from the middle on: the same as a new run from there."""
    runs = []
    for new_step in (False, True):
        msh = mesh.create_unit_interval(comm, 8)
        kappa = rough(msh)
        h, damping = fem.Constant(msh, 1.0), fem.Constant(msh, 0.1)
        energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman(ufl.as_vector([0.0, h, 0.0]))])
        m = llg.magnetization(msh, hmm_ex2_initial)
        step = llg.midpoint(energy, m, dt=0.02, damping=damping, tolerance=1e-12)
        run = llg.march(step, t_end=0.4)
        for state in run:
            if state.n == 10:
                kappa.x.array[:] *= 5.0
                h.value, damping.value = 3.0, 0.5
                if new_step:
                    break
        if new_step:
            step = llg.midpoint(energy, m, dt=0.02, damping=damping, tolerance=1e-12)
            march(step, t=0.2, t_end=0.4)
        runs.append(m.x.array.copy())
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-9)


def test_in_a_coarse_basis():
    """Increments in V_H; the energy defect is a part of what is dissipated."""
    h = refine_mesh(mesh.create_unit_square(MPI.COMM_WORLD, 6, 6), 2)
    kappa = rough(h.fine)
    basis = vector_basis(grps_basis(exchange_form(h.space, kappa), volumes(h)))
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), 4.0)])
    runs = []
    for P in (None, basis):
        m = llg.magnetization(h.fine, hmm_ex2_initial)
        step = llg.midpoint(energy, m, dt=0.01, damping=0.2)
        stepper = llg.stepper(step, basis=P)
        energies, defects = [], []
        for state in llg.march(stepper, t_end=0.1):
            energies.append(energy.total(m))
            defects.append(getattr(stepper, "energy_defect", math.nan))
            assert state.iterations < 60
        runs.append(m.x.array.copy())
    assert np.abs(lengths(m) - 1).max() < 1e-13
    assert np.all(np.diff(energies) < 0)
    assert np.abs(defects[2:]).max() < 0.3 * np.abs(np.diff(energies)).max()
    # The coarse space is of the accuracy of H^2.
    assert np.abs(runs[0] - runs[1]).max() < 0.1


def test_failure_leaves_m_good(comm):
    _, m, step = plane(comm, dt=1.0)
    good = m.x.array.copy()
    with pytest.raises(llg.ConvergenceError, match="midpoint"):
        march(step, t_end=1.0, petsc_options={"ksp_max_it": 1})
    np.testing.assert_array_equal(m.x.array, good)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0}, "dt must be positive"),
        ({"damping": -0.1}, "damping must be at least 0"),
        ({"tolerance": 0.0}, "tolerance must be positive"),
        ({"damping": llg.Gilbert(math.nan)}, "alpha must be at least 0"),
    ],
)
def test_bad_input(comm, options, message):
    with pytest.raises(ValueError, match=message):
        plane(comm, **options)
