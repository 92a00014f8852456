# SPDX-License-Identifier: LGPL-3.0-or-later
"""The tangent-plane scheme: orders, constraint, length, energy law, agreement with gao, V_H."""

import math

from mpi4py import MPI  # noqa: F401  isort: skip

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.la import InsertMode

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.physics import checkerboard
from dolfinx_llg.physics.literature import hmm_ex2_initial
from dolfinx_llg.schemes.tangent_plane import tangent_plane
from dolfinx_llg.solvers.tangent.projected import inf_sup

TIGHT = {"ksp_rtol": 1e-12}


def owned(function):
    """Values at the owned nodes, shape (n, 3)."""
    return function.x.array.reshape(-1, 3)[: function.function_space.dofmap.index_map.size_local]


def highest(comm, values) -> float:
    return max(comm.allgather(float(np.max(values, initial=0.0))))


# -- one spin ----------------------------------------------------------------------------------


def spin(comm, dt, t_end, *, kind, damping, second_order):
    """Distance at t_end from the closed form of a spin at 1 rad from z.

    Field H(t) along z: artanh m_z grows by x = a int H, the azimuth by int H; in Gilbert's form
    both are divided by 1 + alpha^2. Easy axis z, strength q: H = q m_z, so that
    m_z^2/(1 - m_z^2) grows by exp(2 x q t), and the azimuth is artanh(m_z)/a still.
    """
    msh = mesh.create_unit_interval(comm, 6)
    m = llg.magnetization(msh, (math.sin(1.0), 0.0, math.cos(1.0)))
    gilbert = isinstance(damping, llg.Gilbert)
    a = damping.alpha if gilbert else damping
    rate = 1.0 / (1.0 + a * a) if gilbert else 1.0
    if kind == "field":
        term = llg.Zeeman(lambda t: (0.0, 0.0, 1.0 + math.sin(3.0 * t)))
        integral = rate * (t_end + (1.0 - math.cos(3.0 * t_end)) / 3.0)
        growth = a * integral
    else:
        term = llg.UniaxialAnisotropy((0, 0, 1), 2.0, implicit=kind == "axis")
        ratio = math.exp(4.0 * a * rate * t_end) / math.tan(1.0) ** 2
        growth = math.atanh(math.sqrt(ratio / (1.0 + ratio))) - math.atanh(math.cos(1.0))
    z = math.tanh(growth + math.atanh(math.cos(1.0)))
    phi, r = growth / a, math.sqrt(1.0 - z * z)
    step = tangent_plane(
        llg.Energy([term, llg.Exchange(1.0)]), m, dt=dt, damping=damping, second_order=second_order
    )
    for _ in llg.march(step, t_end=t_end, petsc_options=TIGHT):
        pass
    return highest(comm, np.abs(owned(m) - [r * math.cos(phi), r * math.sin(phi), z]))


@pytest.mark.parametrize(
    ("kind", "damping"),
    [
        ("field", llg.Gilbert(0.3)),
        ("field", 0.5),
        ("axis", llg.Gilbert(0.3)),
        ("explicit axis", llg.Gilbert(0.3)),
    ],
)
@pytest.mark.parametrize(("second_order", "order"), [(False, 1), (True, 2)])
def test_macrospin(comm, kind, damping, second_order, order, record_property):
    """Order 1, and 2 for the second-order variant; the window is the next term at these dt."""
    errors = [
        spin(comm, dt, 1.0, kind=kind, damping=damping, second_order=second_order)
        for dt in (0.025, 0.0125)
    ]
    rate = math.log2(errors[0] / errors[1])
    record_property("order, second-order scheme" if second_order else "order", rate)
    assert errors[1] < 0.02
    assert rate == pytest.approx(order, abs=0.2)


# -- the constraint and the length -------------------------------------------------------------


def twisted(x):
    return np.array([1.1 + np.cos(3 * x[0]), np.sin(4 * x[1] + x[0]), np.cos(5 * x[1]) - 0.3])


def calm(x):
    """A unit field with zero normal derivative on the unit square."""
    polar = 0.9 + 0.5 * np.cos(math.pi * x[0]) * np.cos(math.pi * x[1])
    azimuth = 0.8 * np.cos(math.pi * x[0])
    sine = np.sin(polar)
    return np.array([np.cos(polar), sine * np.cos(azimuth), sine * np.sin(azimuth)])


def square(comm, n=8, *, contrast=50.0, start=twisted, **kwargs):
    """A rough square, with a step of the scheme."""
    msh = mesh.create_unit_square(comm, n, n)
    m = llg.magnetization(msh, start)
    kappa = checkerboard(msh, (4, 4), contrast=contrast, seed=2, low=1.0 / contrast)
    terms = kwargs.pop("terms", None) or [
        llg.Exchange(kappa), llg.UniaxialAnisotropy((0.6, 0.0, 0.8), 1.5)
    ]  # fmt: skip
    kwargs.setdefault("damping", llg.Gilbert(0.3))
    return tangent_plane(llg.Energy(terms), m, **kwargs), llg.Energy(terms)


@pytest.mark.parametrize(
    ("constraint", "bound"),
    # Two numbers a node are tangent by construction; a multiplier to the tolerance of the residual,
    # by B v = 0 with entries of size 1, but its nodes need not share the residual evenly.
    [("two-unknown", 1e-13), ("saddle-point", 1e-7)],
)
def test_constraint_holds_at_nodes(comm, constraint, bound, record_property):
    step, _ = square(comm, dt=0.01)
    old = owned(step.m).copy()
    options = {"ksp_rtol": 1e-9}
    stepper = llg.TangentStepper(step, constraint=constraint, petsc_options=options)
    for _ in llg.march(stepper, t_end=0.01):
        pass
    v = owned(step.v)
    defect = highest(comm, np.abs(np.sum(v * old, axis=1))) / highest(comm, np.abs(v))
    record_property(f"largest v.m/abs(v), {constraint} form", defect)
    assert defect < bound


def test_length_without_projection(comm, record_property):
    """|m|^2 grows by exactly dt^2 |v|^2 in the first step, by O(dt) in a fixed time."""
    defects, deviations = [], []
    for dt in (0.01, 0.005):
        step, _ = square(comm, dt=dt, projection=False)
        for state in llg.march(step, t_end=0.02, petsc_options=TIGHT):
            if state.n == 1:
                growth = np.sum(owned(step.m) ** 2, axis=1) - 1.0
                expected = dt**2 * np.sum(owned(step.v) ** 2, axis=1)
                deviations.append(highest(comm, np.abs(growth - expected)))
                assert deviations[-1] < 1e-12
                assert highest(comm, growth) > 1e-4
        defects.append(highest(comm, np.sum(owned(step.m) ** 2, axis=1) - 1.0))
    record_property("largest deviation from dt^2 abs(v)^2", max(deviations))
    assert 1.5 < defects[0] / defects[1] < 3.0


def test_consistent_constraint_is_weaker(comm):
    """Integrated, v.m = 0 fails at the nodes by O(h): half as much on a mesh twice as fine."""
    defects = []
    for n in (8, 16):
        step, _ = square(comm, n, contrast=1.0, start=calm, dt=1e-3, measure="consistent")
        old = owned(step.m).copy()
        for _ in llg.march(step, t_end=1e-3):
            pass
        v = owned(step.v)
        defects.append(highest(comm, np.abs(np.sum(v * old, axis=1))) / highest(comm, np.abs(v)))
    assert defects[0] > 1e-3
    assert defects[1] < 0.75 * defects[0]


# -- energy ------------------------------------------------------------------------------------


def law(step, energy) -> float:
    """The change of energy that the law states for the last step."""
    dt, theta = float(step.dt.value), step.theta
    damped = fem.assemble_vector(fem.form(step.damped))
    damped.scatter_reverse(InsertMode.add)
    weights = damped.array[: owned(step.v).size : 3]
    local = float(weights @ np.sum(owned(step.v) ** 2, axis=1))
    lumped = sum(step.m.function_space.mesh.comm.allgather(local))
    return -dt * lumped - (2 * theta - 1) * dt**2 * energy.total(step.v)


@pytest.mark.parametrize("theta", [0.5, 0.75, 1.0])
@pytest.mark.parametrize("dt", [0.01, 10.0])
def test_energy_law(comm, theta, dt, record_property):
    """E(m + dt v) - E(m) = -dt (a v, v)_h - (theta - 1/2) dt^2 d_i(v; v), for any dt."""
    step, energy = square(comm, dt=dt, theta=theta, projection=False)
    before = energy.total(step.m)
    for _ in llg.march(step, t_end=dt, petsc_options=TIGHT):
        pass
    deviation = abs(energy.total(step.m) - before - law(step, energy))
    record_property("largest deviation", deviation)
    # Round-off and the tolerance of the solver act on E, here of size 10.
    assert deviation < 1e-9


def energies(step, energy, steps):
    values = [energy.total(step.m)]
    for _ in llg.march(step, t_end=steps * float(step.dt.value)):
        values.append(energy.total(step.m))
    return np.array(values)


@pytest.mark.parametrize("dt", [0.02, 1.0, 50.0])
def test_energy_decays_for_any_step(comm, dt, record_property):
    """With the projection, on a mesh without obtuse angles, contrast 50."""
    values = energies(*square(comm, dt=dt), 5)
    change = float(np.diff(values).max() / values[0])
    record_property("largest energy change in a step, relative", change)
    assert change < 1e-12
    assert values[-1] < values[0]


def test_explicit_anisotropy_needs_small_steps(comm, record_property):
    """An easy axis taken explicitly breaks the law at large dt, not at small dt."""

    def terms():
        return [llg.Exchange(0.01), llg.UniaxialAnisotropy((0, 0, 1), 5.0, implicit=False)]

    assert np.all(np.diff(energies(*square(comm, dt=0.02, terms=terms()), 5)) < 0)
    rise = float(np.diff(energies(*square(comm, dt=20.0, terms=terms()), 5)).max())
    record_property("largest energy rise in a step", rise)
    assert rise > 0.01


def test_energy_rises_below_theta_half(comm, record_property):
    """Theta = 0 with a step above its limit: a warning with the limit, and the energy does rise."""
    step, energy = square(comm, dt=0.5, theta=0.0)
    with pytest.warns(UserWarning, match=r"theta = 0 < 1/2: the energy may rise with dt = 0.5; be"):
        values = energies(step, energy, 3)
    rise = float(np.diff(values).max())
    record_property("largest energy rise in a step", rise)
    assert rise > 0
    step, energy = square(comm, dt=1e-4, theta=0.0)  # below the limit: no warning, no rise
    assert np.all(np.diff(energies(step, energy, 3)) < 0)


# -- convergence -------------------------------------------------------------------------------


def test_agrees_with_gao(comm, record_property):
    """Both converge to one solution: their distance falls with h^2 and dt ~ h^2."""
    distances = []
    for n in (6, 12):
        fields = []
        for scheme in (tangent_plane, llg.gao):
            msh = mesh.create_unit_square(comm, n, n)
            m = llg.magnetization(msh, calm)
            energy = llg.Energy([
                llg.Exchange(lambda x: 0.2 + 0.1 * ufl.sin(3 * x[0])),
                llg.UniaxialAnisotropy((0, 0, 1)), llg.BulkDMI(0.1), llg.Zeeman((1.0, 0.0, 0.5)),
            ])  # fmt: skip
            step = scheme(energy, m, dt=0.72 / n**2, damping=llg.Gilbert(0.5), projection=True)
            for _ in llg.march(step, t_end=0.2):
                pass
            fields.append(owned(m).copy())
        distances.append(highest(comm, np.abs(fields[0] - fields[1])))
    rate = math.log2(distances[0] / distances[1])
    record_property("order in h at dt ~ h^2", rate)
    assert distances[1] < 0.02
    assert rate == pytest.approx(2.0, abs=0.5)


class Forcing(llg.Interaction):
    """Effective field that makes ``m_exact`` a solution, as a P2 interpolant."""

    def __init__(self, msh, field, t):
        space = fem.functionspace(msh, ("Lagrange", 2, (3,)))
        self.field, self.t = fem.Function(space), t
        self.expression = fem.Expression(field, space.element.interpolation_points)

    def gradient(self, m, w):
        return -ufl.inner(self.field, w)

    def update(self, m, t):
        self.t.value = t
        self.field.interpolate(self.expression)


def manufactured(comm, n, dt):
    """Errors in L2 and H1 at t = 0.1 of a moving unit field with zero normal derivative."""

    def exact(x, t):
        polar = 0.9 + 0.5 * ufl.cos(math.pi * x[0]) * ufl.cos(math.pi * x[1]) + t
        azimuth = 0.8 * ufl.cos(math.pi * x[0]) + 2 * t
        sine = ufl.sin(polar)
        return ufl.as_vector([ufl.cos(polar), sine * ufl.cos(azimuth), sine * ufl.sin(azimuth)])

    def kappa(x):
        return 0.2 + 0.1 * ufl.sin(2 * math.pi * x[0]) * ufl.cos(math.pi * x[1])

    msh = mesh.create_unit_square(comm, n, n)
    x, t = ufl.SpatialCoordinate(msh), fem.Constant(msh, 0.0)
    time = ufl.variable(t)
    m_e, m_t = exact(x, t), ufl.diff(exact(x, time), time)
    alpha = 0.4
    field = alpha * m_t + ufl.cross(m_e, m_t) - ufl.div(kappa(x) * ufl.grad(m_e))
    m = llg.magnetization(msh, m_e)
    energy = llg.Energy([llg.Exchange(kappa, kappa_rule="mean"), Forcing(msh, field, t)])
    step = tangent_plane(energy, m, dt=dt, damping=llg.Gilbert(alpha), second_order=True)
    for _ in llg.march(step, t_end=0.1):
        pass
    t.value = 0.1
    difference = m - m_e
    dx = ufl.dx(domain=msh, metadata={"quadrature_degree": 5})
    forms = [ufl.inner(f, f) * dx for f in (difference, ufl.grad(difference))]
    return [math.sqrt(sum(comm.allgather(fem.assemble_scalar(fem.form(f))))) for f in forms]


def test_order_in_space(comm, record_property):
    """Order 1 in H1 and 2 in L2 with varying kappa; dt ~ h in the second-order variant."""
    coarse, fine = manufactured(comm, 8, 0.02), manufactured(comm, 16, 0.01)
    rates = [math.log2(a / b) for a, b in zip(coarse, fine, strict=True)]
    record_property("order in L2", rates[0])
    record_property("order in H1", rates[1])
    assert rates[0] == pytest.approx(2.0, abs=0.2)
    assert rates[1] == pytest.approx(1.0, abs=0.1)


# -- coarse space ------------------------------------------------------------------------------


def test_coarse_space(comm, record_property):
    """In a GRPS space: inf-sup constant, v.m weakly, energy law, close to the fine run."""
    hierarchy = refine_mesh(mesh.create_unit_square(comm, 4, 4), 2)
    kappa = checkerboard(hierarchy.fine, (8, 8), contrast=20, seed=5, low=0.05)
    basis = grps_basis(exchange_form(hierarchy.space, kappa), volume_measurement(hierarchy), ell=3)
    runs, deviations = [], []
    for space in (None, vector_basis(basis)):
        m = llg.magnetization(hierarchy.fine, hmm_ex2_initial)
        energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
        step = tangent_plane(energy, m, dt=0.02, damping=llg.Gilbert(0.5))
        values, defects = [], []
        trial, old = fem.Function(m.function_space), np.zeros(0)
        for state in llg.march(step, t_end=0.1, basis=space, petsc_options=TIGHT):
            v, unit = owned(step.v), owned(m)
            if len(old):  # v is a test function: the law holds in V_H too
                trial.x.array[:] = old + state.dt * step.v.x.array
                change = energy.total(trial) - values[-1]
                deviations.append(abs(change - law(step, energy)))
                assert deviations[-1] < 1e-9
            values.append(energy.total(m))
            old = m.x.array.copy()
            defects.append(highest(comm, np.abs(np.sum(v * unit, axis=1)))
                           / highest(comm, np.linalg.norm(v, axis=1)))  # fmt: skip
        assert np.all(np.diff(values) < 0)
        if space is not None:
            # 1 in the fine space; V_H^3 keeps most of it, so that no enrichment is needed.
            constant = inf_sup(step, space)
            record_property("largest deviation from the energy law", max(deviations))
            record_property("inf-sup constant", constant)
            record_property("largest v.m/abs(v) at nodes", max(defects))
            assert 0.9 < constant < 1.0
            assert 1e-6 < max(defects) < 0.5  # weakly only
        runs.append(owned(m).copy())
    # The best approximation of this datum in V_H is off by 0.05 at the worst node.
    assert highest(comm, np.abs(runs[0] - runs[1])) < 0.1
