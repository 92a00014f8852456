# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a scheme adds to the damping: measured in a run, warned of once, with numbers."""

import math
import warnings

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.physics.interaction import VERTICES
from dolfinx_llg.reduction import hyper_reduce
from dolfinx_llg.schemes.damping import LiveDamping
from dolfinx_llg.solvers.damping_check import DampingCheck

pytestmark = pytest.mark.most_ranks(2)


def oscillator(comm, scheme, dt, steps=12, alpha=0.1, **options):
    """A spin with an easy plane, driven round by a spin current: frequency 0.03/alpha."""
    msh = mesh.create_unit_interval(comm, 2)
    torque = llg.Slonczewski(0.03, (0, 0, -1), thickness=1.0, polarisation=1.0)
    energy = llg.Energy([llg.UniaxialAnisotropy((0, 0, 1), -1.0), torque])
    turn = 0.03 / alpha
    m = llg.magnetization(msh, (math.sqrt(1 - turn**2), 0.0, -turn))
    step = scheme(energy, m, dt=dt, damping=llg.Gilbert(alpha), **options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in llg.march(step, t_end=steps * dt):
            pass
    return [str(w.message) for w in caught if w.category is llg.NumericalDampingWarning]


@pytest.mark.parametrize("lumped", [False, True])
@pytest.mark.parametrize("damping", [llg.Gilbert(0.2), 0.2])
def test_figure_of_a_turn_with_known_damping(comm, damping, lumped):
    """A spin in a field, moved as dampings of 0.2 and 0.4 would: their ratio in the same form."""
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, (1.0, 0.0, 0.0))
    energy, live = llg.Energy([llg.Zeeman((0, 0, 2.0))]), LiveDamping(damping, 1.0, m)
    owned = 3 * m.function_space.dofmap.index_map.size_local
    old, dt = np.array(m.x.array), 1e-4
    for alpha in (0.2, 0.4):
        check = DampingCheck("scheme", energy, live, m, 1, lumped=lumped)
        # -m x h - alpha m x (m x h)
        m.x.array[:owned] = old[:owned] + np.tile([0.0, 2.0 * dt, 2.0 * dt * alpha], owned // 3)
        m.x.scatter_forward()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(4):
                check.look(old[:owned].reshape(-1, 3), m, dt)
        # The work is alpha |h|^2 dt, the square of the change (1 + alpha^2) |h|^2 dt^2.
        true = 0.2 if isinstance(damping, llg.Gilbert) else 0.2 / (1 + 0.2**2)
        assert check.added == pytest.approx(alpha / (1 + alpha**2) / true - 1, abs=1e-3)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [(llg.gao, {}), (llg.cimrak, {}), (llg.an, {}), (llg.prohl, {}), (llg.tangent_plane, {})],
)
def test_first_order_schemes_warn_once(comm, scheme, options):
    """Dt = 0.4 adds some dt |h|/2; a step of 0.002 is silent, and so is the advised one."""
    messages = oscillator(comm, scheme, 0.4, steps=40, **options)
    assert len(messages) == 1
    assert "of the damping (0.1) numerically" in messages[0]
    advised = float(messages[0].split("use dt <= ")[1].split(",")[0])
    assert 0.002 < advised < 0.4
    assert oscillator(comm, scheme, 0.002, **options) == []
    assert oscillator(comm, scheme, advised, **options) == []


def test_second_order_and_midpoint_are_silent(comm):
    assert oscillator(comm, llg.tangent_plane, 0.1, second_order=True) == []
    assert oscillator(comm, llg.midpoint, 1.0) == []
    assert oscillator(comm, llg.rk4, 0.1) == []


def test_explicit_methods_at_a_large_step_of_one_spin(comm):
    """RK4P turns a spin of the frequency omega as with less damping, by (omega dt)^5/144."""
    messages = precession(comm, llg.rk4, 1.6)
    assert len(messages) == 1
    assert "rk4" in messages[0]
    assert precession(comm, llg.rk4, 0.4) == []


def precession(comm, scheme, dt, alpha=0.1):
    m = llg.magnetization(mesh.create_unit_interval(comm, 2), (1.0, 0.0, 0.0))
    energy = llg.Energy([llg.Zeeman((0, 0, 1.0))])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in llg.march(scheme(energy, m, dt=dt, damping=llg.Gilbert(alpha)), t_end=6 * dt):
            pass
    return [str(w.message) for w in caught if w.category is llg.NumericalDampingWarning]


def test_coarse_spaces_and_reductions_are_looked_at(comm):
    """A uniform turn stays in V_H: the figure is that of the fine space, with a word of doubt."""
    hierarchy = llg.grps.refine_mesh(mesh.create_unit_square(comm, 2, 2), 2)
    added = {}
    for kind in ("fine", "coarse", "reduced"):
        m = llg.magnetization(hierarchy.fine, (1.0, 0.0, 0.0))
        energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman((0, 0, 2.0))])
        step = llg.gao(energy, m, dt=0.2, damping=0.1, projection=True)
        run, basis = step, None
        if kind != "fine":
            basis = llg.grps.coarse_basis(energy, hierarchy, ell=1)
        with pytest.warns(llg.NumericalDampingWarning) as caught:  # noqa: PT031
            if kind == "reduced":  # in the training
                run, basis = hyper_reduce(step, basis, hierarchy, t_train=2.0), None
            for _ in llg.march(run, t_end=1.0, basis=basis):
                pass
        (text,) = [str(w.message) for w in caught if w.category is llg.NumericalDampingWarning]
        assert ("coarse space" in text) == (kind != "fine")
        added[kind] = float(text.split("about ")[1].split(" ")[0])
    assert added["fine"] > 0.1
    assert added["coarse"] == pytest.approx(added["fine"], abs=0.011)  # two digits are printed
    assert added["reduced"] == pytest.approx(added["fine"], rel=0.3)  # of another step


def test_tensors_are_looked_at(comm):
    """Their run has no training: it looks itself, and finds what the run in the basis finds."""
    hierarchy = llg.grps.refine_mesh(mesh.create_unit_square(comm, 2, 2), 2)
    energy = llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1), 2.0)])
    basis = llg.grps.coarse_basis(energy, hierarchy, ell=1)

    def found(kind, dt):
        m = llg.magnetization(hierarchy.fine, (1.0, 0.0, 1.0))
        if kind == "tensors":
            run = llg.reduction.tensor_reduce(
                llg.gao, energy, m, basis, hierarchy, dt=dt, damping=0.1
            )
        else:
            run = llg.gao(energy, m, dt=dt, damping=0.1, projection=False)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in llg.march(run, t_end=5 * dt, basis=None if kind == "tensors" else basis):
                pass
        return [str(w.message) for w in caught if w.category is llg.NumericalDampingWarning]

    messages = {kind: found(kind, 0.1) for kind in ("tensors", "basis")}
    added = {}
    for kind, (text,) in messages.items():
        assert "coarse space" in text
        added[kind] = float(text.split("about ")[1].split(" ")[0])
    assert added["tensors"] > 0.1
    # A uniform turn: what the projection of the nonlinear factor changes vanishes.
    assert added["tensors"] == pytest.approx(added["basis"], rel=0.05)
    assert found("tensors", 0.002) == []


def test_at_rest_there_is_nothing_to_say(comm):
    msh = mesh.create_unit_interval(comm, 3)
    m = llg.magnetization(msh, (0, 0, 1))
    energy = llg.Energy([llg.Zeeman((0, 0, 1)), llg.Exchange(1.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in llg.march(llg.gao(energy, m, dt=1.0, damping=0.01), t_end=20.0):
            pass


def test_damping_by_region(comm):
    """The mean of a DG0 damping where m moves is what counts."""
    msh = mesh.create_unit_interval(comm, 8)
    alpha = fem.Function(fem.functionspace(msh, ("DG", 0)))
    alpha.interpolate(lambda x: np.where(x[0] < 0.5, 0.01, 1.0))
    m = llg.magnetization(msh, (1.0, 0.0, 0.2))
    energy = llg.Energy([llg.Zeeman((0, 0, 2.0))])
    step = llg.tangent_plane(energy, m, dt=0.5, damping=llg.Gilbert(alpha))
    with pytest.warns(llg.NumericalDampingWarning, match="tangent_plane"):
        for _ in llg.march(step, t_end=4.0):
            pass


def test_field_terms_count_with_their_exact_energy(comm):
    """Their gradient is that of the last update: the change of energy is exact all the same."""
    msh = mesh.create_unit_cube(comm, 2, 2, 2)
    m = llg.magnetization(msh, (1.0, 0.0, 0.0))
    stray, live = llg.StrayField(msh), LiveDamping(llg.Gilbert(0.1), 1.0, m)
    owned = 3 * m.function_space.dofmap.index_map.size_local
    old, dt = np.array(m.x.array), 0.1
    before = stray.energy(m)
    m.x.array[:owned] = np.tile([0.8, 0.6, 0.0], owned // 3)
    m.x.array[0 if comm.rank == 0 else slice(0)] = 1.0  # not uniform
    m.x.scatter_forward()
    check = DampingCheck("scheme", llg.Energy([stray]), live, m, 1, lumped=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            check.look(old[:owned].reshape(-1, 3), m, dt)
    change = m.copy()
    change.x.array[:] -= old
    square = fem.assemble_scalar(fem.form(ufl.inner(change, change) * ufl.dx(metadata=VERTICES)))
    square = sum(comm.allgather(square))
    expected = -dt * (stray.energy(m) - before) / square / 0.1 - 1
    assert check.added == pytest.approx(expected, rel=1e-10)
