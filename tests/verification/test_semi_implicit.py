# SPDX-License-Identifier: LGPL-3.0-or-later
"""The four semi-implicit schemes: orders, constant data against the ODE, invariants, interfaces."""

import math

from mpi4py import MPI  # noqa: F401  isort: skip

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix
from scipy.integrate import solve_ivp

import dolfinx_llg as llg
from dolfinx_llg.physics import from_array

SCHEMES = [llg.prohl, llg.cimrak, llg.gao, llg.an]
TIGHT = {"ksp_rtol": 1e-12, "snes_rtol": 1e-12}


# -- a manufactured solution with a varying kappa, anisotropy and an applied field --------------


def exact(x, t):
    """Unit vector with zero normal derivative on the unit square, moving with t."""
    polar = 0.9 + 0.5 * ufl.cos(math.pi * x[0]) * ufl.cos(math.pi * x[1]) + t
    azimuth = 0.8 * ufl.cos(math.pi * x[0]) + 2 * t
    return ufl.as_vector(
        [
            ufl.cos(polar),
            ufl.sin(polar) * ufl.cos(azimuth),
            ufl.sin(polar) * ufl.sin(azimuth),
        ]
    )


def kappa_of(x):
    return 0.2 + 0.1 * ufl.sin(2 * math.pi * x[0]) * ufl.cos(math.pi * x[1])


def manufactured_energy(msh, damping):
    """Energy whose applied field makes ``exact`` a solution of (1.1).

    From m_t = -m x h - lambda m x (m x h): the tangential part of h is
    (lambda m_t + m x m_t)/(1 + lambda^2); the applied field supplies what the others lack of it.
    Along m the fields of exchange and anisotropy stay and the applied field has a part of its own,
    so that neither part of q = -m.h vanishes and the sign of R counts.
    """
    x, t = ufl.SpatialCoordinate(msh), fem.Constant(msh, 0.0)
    m = exact(x, t)
    time = ufl.variable(t)
    m_t = ufl.diff(exact(x, time), time)
    needed = (damping * m_t + ufl.cross(m, m_t)) / (1 + damping**2)
    others = ufl.div(kappa_of(x) * ufl.grad(m)) - (m - m[0] * ufl.as_vector([1, 0, 0]))
    field = needed - (others - ufl.dot(others, m) * m) + (1 + x[0]) * m
    zeeman = InterpolatedField(msh, field, t)
    exchange = llg.Exchange(kappa_of, kappa_rule="quadrature")
    return llg.Energy([exchange, llg.UniaxialAnisotropy((1, 0, 0)), zeeman]), t


class InterpolatedField(llg.Zeeman):
    """A field in space and time through a P2 interpolant (error O(h^3)): cheap to integrate."""

    def __init__(self, msh, expression, t):
        space = fem.functionspace(msh, ("Lagrange", 2, (3,)))
        self.interpolant = fem.Function(space)
        self.expression = fem.Expression(expression, space.element.interpolation_points)
        super().__init__(self.interpolant)
        self.clock = t

    def update(self, m, t):
        self.clock.value = t
        self.interpolant.interpolate(self.expression)


def manufactured_run(comm, scheme, n, dt, t_end, *, damping, projection):
    msh = mesh.create_unit_square(comm, n, n)
    energy, t = manufactured_energy(msh, damping)
    x = ufl.SpatialCoordinate(msh)
    m = llg.magnetization(msh, exact(x, fem.Constant(msh, 0.0)))
    step = scheme(energy, m, dt=dt, damping=damping, projection=projection)
    for _ in llg.march(step, t_end=t_end, petsc_options={"ksp_rtol": 1e-10}):
        pass
    t.value = t_end
    return m, exact(x, t)


def norms(difference, msh):
    dx = ufl.dx(domain=msh, metadata={"quadrature_degree": 6})
    values = [
        ufl.inner(difference, difference),
        ufl.inner(ufl.grad(difference), ufl.grad(difference)),
    ]
    return [
        math.sqrt(sum(msh.comm.allgather(fem.assemble_scalar(fem.form(value * dx)))))
        for value in values
    ]


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_order_in_space(comm, scheme, projection, record_property):
    """Order 2 in L2 and 1 in H1 with dt ~ h^2; lambda = 0.6 and no projection show the sign of R.

    The window of 0.2 covers the pre-asymptotic range of n = 8, 16.
    """
    errors = []
    for n in (8, 16):
        m, reference = manufactured_run(
            comm, scheme, n, 0.32 / n**2, 0.02, damping=0.6, projection=projection
        )
        errors.append(norms(m - reference, m.function_space.mesh))
    rate_l2, rate_h1 = np.log2(np.array(errors[0]) / errors[1])
    record_property("order in L2", float(rate_l2))
    record_property("order in H1", float(rate_h1))
    assert rate_l2 == pytest.approx(2.0, abs=0.2), errors
    assert rate_h1 == pytest.approx(1.0, abs=0.2), errors


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_order_in_time(comm, scheme, projection, record_property):
    """Order 1 in dt against 64 times smaller steps on the same mesh (no error in space).

    The reference shares the first-order error to 1/16 of the smaller one: the rate reads at most
    log2((1/4 - 1/64)/(1/8 - 1/64)) = 1.10 where it is 1.
    """
    runs = {
        k: manufactured_run(comm, scheme, 6, 0.2 / k, 0.2, damping=0.6, projection=projection)[0]
        for k in (16, 32, 512)
    }
    errors = [
        max(comm.allgather(float(np.abs(runs[k].x.array - runs[512].x.array).max(initial=0))))
        for k in (16, 32)
    ]
    rate = math.log2(errors[0] / errors[1])
    record_property("order in dt", rate)
    assert rate == pytest.approx(1.0, abs=0.15), errors


# -- spatially constant data ---------------------------------------------------------------------

A0 = np.array([1 / math.sqrt(2), 1 / math.sqrt(3), 1 / math.sqrt(6)])


def closed_form(t: float, damping: float) -> np.ndarray:
    """Solution of (1.1) for the paper's constant datum and unit anisotropy along x.

    m_1' = lambda m_1 (1 - m_1^2); m_2 + i m_3 turns by (atanh m_1(t) - atanh m_1(0))/lambda.
    """
    a = A0[0]
    m1 = 1 / math.sqrt(1 + math.exp(-2 * damping * t) * (1 - a**2) / a**2)
    turn = (math.atanh(m1) - math.atanh(a)) / damping
    rest = (A0[1] + 1j * A0[2]) * np.exp(1j * turn) * math.sqrt((1 - m1**2) / (1 - a**2))
    return np.array([m1, rest.real, rest.imag])


FIELD = np.array([0.3, -0.5, 0.2])  # applied, explicit


def ode_step(
    name: str, m: np.ndarray, dt: float, lam: float, projection: bool, field: np.ndarray = 0 * A0
) -> np.ndarray:
    """One step of each scheme for three numbers, written out from (6.1)-(6.5)."""
    easy = np.diag([0.0, 1.0, 1.0])

    def cross(a):
        return np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])

    q = m @ easy @ m - m @ field
    right = m / dt + lam * field - cross(m) @ field
    left = np.eye(3) / dt + lam * easy - cross(m) @ easy
    if name == "cimrak":
        new = np.linalg.solve(left - lam * q * np.eye(3), right)
    elif name == "gao":
        new = np.linalg.solve(left, right + lam * q * m)
    elif name == "an":
        new = np.linalg.solve(left - lam * np.outer(m, easy @ m), right - lam * (m @ field) * m)
    else:
        new = m.copy()
        for _ in range(50):  # Newton
            residual = (new - m) / dt + lam * (easy @ new - field) - lam * q * new
            residual -= cross(new) @ (easy @ new - field)
            slope = (
                np.eye(3) / dt + lam * easy - cross(new) @ easy + cross(easy @ new - field)
            ) - lam * q * np.eye(3)
            change = np.linalg.solve(slope, residual)
            new = new - change
            if np.abs(change).max() < 1e-15:
                break
    return new / np.linalg.norm(new) if projection else new


def constant_run(comm, scheme, dt, damping, projection, n=3, field=0 * A0):
    msh = mesh.create_unit_square(comm, n, n)
    m = llg.magnetization(msh, A0)
    exchange, easy = llg.Exchange(lambda x: 1 + x[0]), llg.UniaxialAnisotropy((1, 0, 0))
    energy = llg.Energy([exchange, easy, llg.Zeeman(field)])
    step = scheme(energy, m, dt=dt, damping=damping, projection=projection)
    for _ in llg.march(step, t_end=1.0, petsc_options=TIGHT):
        pass
    return m.x.array.reshape(-1, 3)


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("damping", [1.0, 0.5])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_constant_data_follow_the_ode(comm, scheme, damping, projection, record_property):
    """A constant m stays constant and equals the scheme applied to three numbers.

    25 steps, each solved to 1e-12 of |m|/dt: 1e-9 leaves two digits for their growth exp(2 lam t).
    """
    dt = 1 / 25
    values = constant_run(comm, scheme, dt, damping, projection, field=FIELD)
    expected = A0
    for _ in range(25):
        expected = ode_step(scheme.__name__, expected, dt, damping, projection, FIELD)
    deviation = max(comm.allgather(float(np.abs(values - expected).max(initial=0.0))))
    record_property("largest deviation after 25 steps", deviation)
    assert deviation < 1e-9


@pytest.mark.parametrize("damping", [1.0, 0.5])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_constant_data_converge_to_the_closed_form(comm, scheme, damping, record_property):
    """Order 1 in dt at T = 1, without projection; window 0.15 for dt = 1/50, 1/100."""
    errors = []
    for steps in (50, 100):
        m = A0
        for _ in range(steps):
            m = ode_step(scheme.__name__, m, 1 / steps, damping, False)
        if steps == 50:  # the PDE code is the ODE's to 1e-9 (test above, and here once more)
            values = constant_run(comm, scheme, 1 / steps, damping, False)
            assert np.abs(values - m).max(initial=0.0) < 1e-9
        errors.append(float(np.abs(m - closed_form(1.0, damping)).max()))
    rate = math.log2(errors[0] / errors[1])
    record_property("order in dt", rate)
    assert rate == pytest.approx(1.0, abs=0.15), errors


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gilbert_damping_slows_the_clock(comm, scheme):
    """(1 + alpha^2) m_t: constant data reach the closed form of time T/(1 + alpha^2), order 1."""
    errors = []
    for steps in (50, 100):
        values = constant_run(comm, scheme, 1 / steps, llg.Gilbert(0.8), True)
        target = closed_form(1 / (1 + 0.8**2), 0.8)
        defect = float(np.abs(values - target).max(initial=0.0))
        errors.append(max(comm.allgather(defect)))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.15), errors


class GradientAnisotropy(llg.QuadraticTerm):
    """A quadratic term whose flux does not lie along grad m: its cross term must be taken whole."""

    def bilinear(self, v, w):
        """Return 0.5 grad v_0 . grad w_0."""
        return 0.5 * ufl.inner(ufl.grad(v[0]), ufl.grad(w[0]))


@pytest.mark.parametrize("scheme", [llg.gao, llg.prohl])
def test_a_users_quadratic_term_is_consistent(comm, scheme):
    """Implicit and explicit treatment agree to O(dt), whatever the cross term's option."""
    differences = []
    for steps in (20, 40):
        runs = []
        for implicit in (True, False):
            msh = mesh.create_unit_square(comm, 6, 6)
            m = llg.magnetization(
                msh, lambda x: np.array([1.1 + np.cos(3 * x[0]), np.sin(2 * x[1]), 0.5 + 0 * x[0]])
            )
            term = GradientAnisotropy()
            term.implicit = implicit
            step = scheme(
                llg.Energy([llg.Exchange(0.1), term]), m, dt=0.05 / steps, damping=0.7,
                projection=True,
            )  # fmt: skip
            list(llg.march(step, t_end=0.05))
            runs.append(m.x.array.copy())
        gap = float(np.abs(runs[0] - runs[1]).max(initial=0.0))
        differences.append(max(comm.allgather(gap)))
    assert math.log2(differences[0] / differences[1]) == pytest.approx(1.0, abs=0.2), differences


# -- invariants ------------------------------------------------------------------------------------


def rough_run(comm, scheme, n, dt, t_end, projection, damping=0.5, **kwargs):
    msh = mesh.create_unit_square(comm, n, n)
    m = llg.magnetization(
        msh,
        lambda x: np.array(
            [
                1.1 + np.cos(math.pi * x[0]),
                np.sin(2 * x[1] + x[0]),
                0.5 + np.cos(math.pi * x[1]),
            ]
        ),
    )
    rng = np.random.default_rng(7)
    table = rng.uniform(0.05, 2.0, size=(5, 5))
    energy = llg.Energy(
        [llg.Exchange(from_array(msh, table)), llg.UniaxialAnisotropy((1, 0, 0), 2.0)]
    )
    step = scheme(energy, m, dt=dt, damping=damping, projection=projection, **kwargs)
    energies, states = [energy.total(m)], []
    for state in llg.march(step, t_end=t_end):
        energies.append(energy.total(m))
        states.append(state)
    return m, energies


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_energy_decays(comm, scheme, projection, record_property):
    """E falls in every step for a kappa of contrast 40, h = 1/16, dt = h/4."""
    _, energies = rough_run(comm, scheme, 16, 1 / 64, 0.25, projection)
    change = float(np.diff(energies).max() / energies[0])
    record_property("largest energy change in a step, relative", change)
    assert change < 0, energies
    assert energies[-1] < 0.5 * energies[0]  # the dynamics is alive


@pytest.mark.parametrize("scheme", SCHEMES)
def test_projection_keeps_unit_length(comm, scheme, record_property):
    """|m| = 1 at the nodes to 1e-14: one division and one square root."""
    m, _ = rough_run(comm, scheme, 8, 1 / 64, 0.1, True)
    length = np.linalg.norm(m.x.array.reshape(-1, 3), axis=1)
    deviation = max(comm.allgather(float(np.abs(length - 1).max(initial=0.0))))
    record_property("largest deviation of abs(m) from 1", deviation)
    assert deviation < 1e-14


@pytest.mark.parametrize("scheme", [llg.prohl, llg.cimrak, llg.gao])
def test_length_defect_without_projection(comm, scheme, record_property):
    """(6.4): || 1 - |m|^2 || <= C (dt + h^2); with dt = h^2 it falls like h^2 (window 0.3)."""
    defects = []
    for n in (8, 16):
        m, _ = manufactured_run(comm, scheme, n, 0.5 / n**2, 0.0625, damping=0.6, projection=False)
        defects.append(llg.length_defect(m))
    rate = math.log2(defects[0] / defects[1])
    record_property("order in h at dt ~ h^2", rate)
    assert rate == pytest.approx(2.0, abs=0.3), defects
    assert defects[1] < 2 * (0.5 / 256 + 1 / 256)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cross_terms_agree_to_first_order(comm, scheme):
    """The printed (2.3) drops an O(dt) term: the two runs differ by O(dt), Prohl's not at all."""
    differences = []
    for steps in (16, 32):
        runs = [
            rough_run(comm, scheme, 8, 0.1 / steps, 0.1, False, cross_term=term)[0].x.array
            for term in ("printed", "full")
        ]
        differences.append(max(comm.allgather(float(np.abs(runs[0] - runs[1]).max(initial=0)))))
    if scheme is llg.prohl:
        assert max(differences) < 1e-6  # both solve one system, each to 1e-8 of |m|/dt
    else:
        assert differences[0] > 1e-5
        assert math.log2(differences[0] / differences[1]) == pytest.approx(1.0, abs=0.2)


# -- regions: Ms and damping that jump -------------------------------------------------------------


def method_of_lines(n, kappa, Ms, lam, gilbert, t_end):
    """Nodal values at T of P1 with lumped mass on [0, 1], Neumann, by an adaptive integrator.

    Independent of the package: h = -(dE/dm)/(lumped Ms), the LL right side node by node.
    """
    h = 1.0 / n
    x = np.linspace(0, 1, n + 1)
    mass = np.zeros(n + 1)
    damped = np.zeros(n + 1)
    for values, target in ((Ms, mass), (Ms * lam, damped)):
        target[:-1] += h / 2 * values
        target[1:] += h / 2 * values
    lam_nodes = damped / mass

    def rhs(t, y):
        m = y.reshape(-1, 3)
        flux = kappa[:, None] * np.diff(m, axis=0) / h
        field = np.zeros_like(m)
        field[:-1] += flux
        field[1:] -= flux
        field /= mass[:, None]
        mxh = np.cross(m, field)
        out = -mxh - lam_nodes[:, None] * np.cross(m, mxh)
        if gilbert:
            out /= (1 + lam_nodes**2)[:, None]
        return out.ravel()

    start = initial_1d(x)
    start /= np.linalg.norm(start, axis=0)
    solution = solve_ivp(
        rhs, (0, t_end), start.T.ravel(), method="LSODA", rtol=1e-8, atol=1e-10, lband=5, uband=5
    )
    return solution.y[:, -1].reshape(-1, 3)


def initial_1d(x):
    return np.array([np.cos(2 * x), np.sin(2 * x), 0.3 + np.cos(math.pi * x)])


@pytest.mark.parametrize("gilbert", [False, True])
def test_regions_of_Ms_and_damping(comm, gilbert, record_property):
    """Ms jumps 1 : 0.4 and damping 0.1 : 1.5 at x = 1/2; order >= 1 towards a fine reference.

    A DG0 damping under grad would impose a wrong flux condition and an error that stays.
    """
    t_end, errors = 0.05, []
    centre = (np.arange(256) + 0.5) / 256
    data = [np.where(centre < 0.5, *pair) for pair in ((0.5, 1.5), (1.0, 0.4), (0.1, 1.5))]
    reference = method_of_lines(256, *data, gilbert, t_end)
    for n in (16, 32):
        msh = mesh.create_unit_interval(comm, n)
        Q = fem.functionspace(msh, ("DG", 0))
        kappa, Ms, damping = (fem.Function(Q) for _ in range(3))
        for f, (low, high) in zip(
            (kappa, Ms, damping), ((0.5, 1.5), (1.0, 0.4), (0.1, 1.5)), strict=True
        ):
            f.interpolate(lambda x, low=low, high=high: np.where(x[0] < 0.5, low, high))
        m = llg.magnetization(msh, lambda x: initial_1d(x[0]))
        energy = llg.Energy([llg.Exchange(kappa)], Ms=Ms)
        step = llg.gao(
            energy,
            m,
            dt=t_end / (n * n / 2),
            damping=llg.Gilbert(damping) if gilbert else damping,
            projection=True,
        )
        for _ in llg.march(step, t_end=t_end):
            pass
        V = m.function_space
        nodes = V.tabulate_dof_coordinates()[:, 0]
        index = np.rint(nodes * 256).astype(int)
        defect = np.abs(m.x.array.reshape(-1, 3) - reference[index]).max(initial=0.0)
        errors.append(max(comm.allgather(float(defect))))
    record_property("order in h at dt ~ h^2", math.log2(errors[0] / errors[1]))
    record_property("largest deviation at h = 1/32", errors[1])
    assert errors[1] < 0.6 * errors[0], errors
    assert errors[1] < 0.01, errors


@pytest.mark.parametrize("cell", ["triangle", "quadrilateral", "tetrahedron"])
@pytest.mark.parametrize("cubic", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_part_is_integrated_by_its_own_rule(comm, scheme, cubic, cell):
    """The rules differ, the matrix does not: all of it is polynomial, integrated exactly.

    (A rule of one point beside others gave wrong kernels, off by 1e-3.)
    """
    kind = mesh.CellType[cell]
    if cell == "tetrahedron":
        msh = mesh.create_unit_cube(comm, 3, 3, 3, kind)
    else:
        msh = mesh.create_unit_square(comm, 4, 4, kind)
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0)))
    kappa.interpolate(lambda x: 1.0 + x[0])
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 - x[0]]))
    terms = [llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0), 0.7)]
    terms += [llg.CubicAnisotropy(0.3), llg.Zeeman((0.1, 0.2, 0.3))] if cubic else []
    step = scheme(llg.Energy(terms), m, dt=0.1, damping=1.0)
    forms = [step.varying]
    if step.nonlinear is not None:
        forms.append(ufl.derivative(step.nonlinear, step.x))
    for form in forms:
        known = {i.metadata().get("quadrature_degree") for i in form.integrals()}
        assert min(known) >= 2
        whole = {"quadrature_degree": 10}
        exact = ufl.Form([i.reconstruct(metadata=whole) for i in form.integrals()])
        matrices = [assemble_matrix(fem.form(f)) for f in (form, exact)]
        for matrix in matrices:
            matrix.assemble()
        size = matrices[1].norm()
        matrices[0].axpy(-1.0, matrices[1])
        assert matrices[0].norm() < 1e-13 * size
