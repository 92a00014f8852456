# SPDX-License-Identifier: LGPL-3.0-or-later
"""Cell problems against closed forms and rates, correctors against a resolved magnetization."""

import math

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.homogenization import (
    CellProblem,
    TemporalCorrector,
    corrected,
    evaluate_periodic,
    homogenize,
    homogenize_locally,
    nodal_gradient,
)
from dolfinx_llg.periodic import periodic_basis
from dolfinx_llg.physics.cell_data import from_array
from dolfinx_llg.physics.literature import (
    HMM_EX1_KAPPA_HOM,
    HMM_EX2_KAPPA_HOM,
    HMM_EX3_KAPPA_HOM,
    hmm_eq40,
    hmm_eq40_kappa_hom,
    hmm_ex1,
    hmm_ex1_initial,
    hmm_ex2,
    hmm_ex3,
)
from dolfinx_llg.schemes.nodal import integrate
from dolfinx_llg.solvers.nodal_field import NodalField

TAU = 2 * math.pi
HEX = mesh.CellType.hexahedron
MEAN, HARMONIC = 1.1, math.sqrt(1.1**2 - 0.25)  # of 1.1 + sin(2 pi s)/2


def step(y, low, high):
    """The value ``low`` in the first half of each period, ``high`` in the second."""
    return ufl.conditional(ufl.lt(ufl.sin(TAU * y), 0.0), high, low)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_order_twice_the_degree(comm, degree):
    """EX2: |kappa_hom - exact| = O(h^2P), every entry."""
    errors = [
        np.abs(
            homogenize(hmm_ex2(1.0), mesh.create_unit_square(comm, n, n), degree=degree).kappa_hom
            - HMM_EX2_KAPPA_HOM
        ).max()
        for n in (8, 16)
    ]
    # At P = 2 the coarser mesh is not yet in the asymptotic range: 3.8, then 3.97.
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2 * degree, abs=0.25), errors


def test_papers_values(comm):
    """EX1, EX3 closed forms; EX2 to 5 digits, with its off-diagonal entry."""
    one = homogenize(hmm_ex1(1.0), mesh.create_unit_interval(comm, 24), degree=3)
    assert one.kappa_hom[0, 0] == pytest.approx(HMM_EX1_KAPPA_HOM, abs=1e-8)
    # P3 at h = 1/16: order 6 with a constant near 2, see test_order_twice_the_degree.
    square = mesh.create_unit_square(comm, 16, 16)
    two = homogenize(hmm_ex2(1.0), square, degree=3).kappa_hom
    np.testing.assert_allclose(two, HMM_EX2_KAPPA_HOM, atol=2e-7)
    np.testing.assert_allclose(two, [[0.61721, 0.02618], [0.02618, 0.71524]], atol=5e-6)
    three = homogenize(hmm_ex3(1.0), square, degree=3).kappa_hom
    np.testing.assert_allclose(three, HMM_EX3_KAPPA_HOM, atol=2e-7)


@pytest.mark.parametrize("n", [0, 4])
def test_laminates(comm, n):
    """Harmonic mean across, arithmetic along; interfaces at nodes: exact to round-off. 1D, 2D."""
    cell = mesh.create_unit_square(comm, 8, n) if n else mesh.create_unit_interval(comm, 8)
    found = homogenize(lambda y: step(y[0], 1.0, 9.0), cell, degree=1).kappa_hom
    expected = np.diag([1.8, 5.0]) if n else [[1.8]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_laminate_of_tensors(comm):
    """p, q, r by layer of [[p, q], [q, r]]: means of 1/p, q/p and r - q^2/p."""

    def kappa(y):
        p, q, r = step(y[0], 1.0, 4.0), step(y[0], 0.5, -1.0), step(y[0], 2.0, 3.0)
        return ufl.as_matrix([[p, q], [q, r]])

    # A period of 0.2 in a box away from the origin, to see both.
    cell = mesh.create_rectangle(comm, [(1.0, 0.0), (2.0, 1.0)], (8, 3))
    found = homogenize(kappa, cell, degree=1).kappa_hom
    across = 1 / np.mean([1.0, 0.25])
    slope = np.mean([0.5, -0.25])
    along = np.mean([2.0 - 0.25, 3.0 - 0.25]) + slope**2 * across
    np.testing.assert_allclose(
        found, [[across, slope * across], [slope * across, along]], atol=1e-12
    )


def test_product_in_3d(comm):
    """f(y_1) f(y_2) f(y_3): harmonic mean times two means, on the diagonal; an 8-cell period."""

    def kappa(y):
        return math.prod(1.1 + 0.5 * ufl.sin(TAU * y[k]) for k in range(3))

    errors = []
    for n in (3, 6):
        cell = mesh.create_unit_cube(comm, n, n, n, cell_type=HEX)
        found = homogenize(kappa, cell, degree=2).kappa_hom
        errors.append(np.abs(found - HARMONIC * MEAN**2 * np.eye(3)).max())
    assert errors[1] < 1e-3  # order 4 from 9e-3 at h = 1/3
    assert errors[0] / errors[1] > 8.0, errors


def test_checkerboard_in_3d(comm):
    """Cubes of 1 and 10 as cell data: isotropic, within the bounds of Hashin and Shtrikman."""
    blocks = np.indices((4, 4, 4)) // 2
    values = 1.0 + 9.0 * (blocks.sum(axis=0) % 2)
    cell = mesh.create_unit_cube(comm, 4, 4, 4, cell_type=HEX)
    kappa = from_array(cell, values)
    found = homogenize(
        kappa, cell, degree=2, petsc_options={"ksp_type": "cg", "pc_type": "gamg", "ksp_rtol": 1e-9}
    ).kappa_hom
    # The bounds for isotropic mixtures of equal parts in 3D.
    lower = 1 + 0.5 / (1 / 9 + 0.5 / 3)
    upper = 10 + 0.5 / (-1 / 9 + 0.5 / 30)
    assert lower < found[0, 0] < upper
    np.testing.assert_allclose(found, found[0, 0] * np.eye(3), atol=1e-7)
    direct = homogenize(kappa, cell, degree=2, petsc_options=None).kappa_hom
    # kappa_hom is quadratic in the error that CG's tolerance leaves.
    np.testing.assert_allclose(found, direct, atol=1e-8)


def test_locally_periodic(comm):
    """Eq. (42): det = 1/16 at every x; eq. (40): closed form; equal points are solved once."""

    def eq42(x, y):
        return 0.25 * ufl.exp(
            -ufl.cos(TAU * (y[0] + y[1])) + ufl.sin(TAU * y[0]) * ufl.cos(TAU * x[0])
        )

    points = np.array([[0.0], [0.25], [0.1], [0.25]])
    square = mesh.create_unit_square(MPI.COMM_SELF, 12, 12)
    found = homogenize_locally(eq42, points, square, comm=comm, degree=3)
    np.testing.assert_allclose(np.linalg.det(found), 1 / 16, rtol=2e-5)
    np.testing.assert_array_equal(found[1], found[3])
    # At x_2 = 1/4 a laminate along (1, 1), eigenvalues I_0(1)^(-1)/4 and I_0(1)/4.
    bessel = 1.2660658777520084
    np.testing.assert_allclose(
        np.linalg.eigvalsh(found[1]), [0.25 / bessel, 0.25 * bessel], rtol=1e-5
    )

    def eq40(x, y):
        return 1.1 + 0.25 * ufl.sin(TAU * x[0] + 1.1) + 0.5 * ufl.sin(TAU * y[0])

    points = np.linspace(0.0, 1.0, 5)[:, None]
    line = mesh.create_unit_interval(MPI.COMM_SELF, 16)
    found = homogenize_locally(eq40, points, line, comm=comm, degree=3)
    np.testing.assert_allclose(found[:, 0, 0], hmm_eq40_kappa_hom(points.T), atol=1e-6)


def test_options_that_no_solver_used_are_named(comm):
    line = mesh.create_unit_interval(comm, 8)
    options = {"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtoll": 1e-9}
    with pytest.warns(UserWarning, match=r"no solver used: \['ksp_rtoll'\]"):
        homogenize(hmm_ex1(1.0), line, petsc_options=options)
    with pytest.raises(ValueError, match="does not understand pc_type = 'jacoby'"):
        homogenize(hmm_ex1(1.0), line, petsc_options={"pc_type": "jacoby"})


def test_bad_coefficients(comm):
    line, square = mesh.create_unit_interval(comm, 8), mesh.create_unit_square(comm, 4, 4)
    with pytest.raises(ValueError, match=r"not periodic in y_1: one period of 0\.3 away"):
        homogenize(hmm_eq40(0.1), mesh.create_interval(comm, 8, (0.0, 0.3)))
    with pytest.raises(ValueError, match="not periodic in y_2"):
        homogenize(lambda y: 2 + ufl.sin(TAU * y[0]) + y[1] ** 2, square)
    with pytest.raises(ValueError, match="not periodic in y_1"):
        homogenize(1 + ufl.SpatialCoordinate(line)[0], line)
    with pytest.raises(ValueError, match=r"positive definite and finite.*eigenvalue of -0\.\d+"):
        homogenize(lambda y: 0.5 + ufl.sin(TAU * y[0]), line)
    with pytest.raises(ValueError, match="must be symmetric"):
        homogenize(np.array([[1.0, 0.2], [0.0, 1.0]]), square)
    with pytest.raises(ValueError, match=r"shape \(\) or \(2, 2\), got \(2,\)"):
        homogenize(lambda y: y, square)
    with pytest.raises(ValueError, match="another mesh"):
        homogenize(2 + ufl.sin(ufl.SpatialCoordinate(line)[0]), mesh.create_unit_interval(comm, 3))
    with pytest.raises(ValueError, match="degree must be an integer"):
        homogenize(hmm_ex1(1.0), line, degree=0)
    with pytest.raises(llg.ConvergenceError, match="the cell problem did not converge"):
        homogenize(hmm_ex2(1.0), square, petsc_options={"ksp_max_it": 1})


def test_bad_points(comm):
    line = mesh.create_unit_interval(MPI.COMM_SELF, 4)
    with pytest.raises(ValueError, match=r"of shape \(n, d\), got shape \(2,\)"):
        homogenize_locally(lambda x, y: 2 + x[0], [0.0, 1.0], line)

    def sometimes(x, y):  # negative at one point, which one rank solves for
        return abs(x[0]) - 1 + 0.1 * ufl.cos(TAU * y[0])

    for bad, points in ((0.5, [2.0, 3.0, 0.5, 4.0]), (0.25, [0.25, 3.0, 0.25])):
        with pytest.raises(ValueError, match="positive definite") as caught:
            homogenize_locally(sometimes, np.array(points)[:, None], line, comm=comm)
        assert caught.value.__notes__ == [f"at x = [{bad}]"]
    if comm.size > 1:
        shared = mesh.create_unit_interval(comm, 4)
        with pytest.raises(ValueError, match="COMM_SELF"):
            homogenize_locally(sometimes, [[2.0]], shared, comm=comm)


def test_chi_of_a_laminate():
    """The slope is kappa_hom/kappa - 1 at nodes, with zero mean, repeated from cell to cell."""
    solution = homogenize(hmm_ex1(1.0), mesh.create_unit_interval(MPI.COMM_SELF, 64), degree=2)
    y = np.linspace(-1.0, 2.0, 31)[:, None]
    h = 1e-3
    (chi,), (ahead,), (behind,) = (
        evaluate_periodic(solution.chi, solution, y + s) for s in (0.0, h, -h)
    )
    slope = HMM_EX1_KAPPA_HOM / (1 + 0.5 * np.sin(TAU * y[:, 0])) - 1
    # The slope of P2 errs by h^2/10 times chi''' (about 30) between Gauss points: 1e-3.
    np.testing.assert_allclose((ahead - behind) / (2 * h), slope, atol=2e-3)
    np.testing.assert_allclose(chi[:10], chi[10:20], atol=1e-12)
    average = evaluate_periodic(solution.chi, solution, (np.arange(128)[:, None] + 0.5) / 128)
    assert abs(average.mean()) < 1e-6  # nodes of P2 sit at multiples of 1/128


def test_temporal_corrector_follows_its_equation():
    """E' = (alpha - i) L_2 E in weak form, by a difference quotient; decay; E(0) = chi."""
    problem = CellProblem(hmm_ex1(1.0), mesh.create_unit_interval(MPI.COMM_SELF, 16))
    temporal = TemporalCorrector(problem, 0.3)
    (real,), (imag,) = temporal(0.0)
    np.testing.assert_allclose(real.x.array, temporal.solution.chi[0].x.array, atol=1e-12)
    np.testing.assert_allclose(imag.x.array, 0.0, atol=1e-12)
    K, M = (A.convert("dense").getDenseArray() for A in problem.periodic_matrices())

    def values(tau):
        real, imag = (problem.master_values(part[0]) for part in temporal(tau))
        return real + 1j * imag

    tau, h = 0.02, 1e-6
    change = (values(tau + h) - values(tau - h)) / (2 * h)
    np.testing.assert_allclose(M @ change, -(0.3 - 1j) * (K @ values(tau)), atol=1e-7)
    # The slowest modes are left after tau lambda_1 = 20.
    ratio = np.abs(values(0.7)).max() / np.abs(values(0.6)).max()
    assert -math.log(ratio) / 0.1 == pytest.approx(0.3 * temporal.frequencies[0], rel=0.1)


def _resolved_errors(comm, inverse_eps, tau, alpha, cells=12):
    """Largest nodal error of m_0, m_0 + eps chi grad m_0, and with v, at t = tau eps^2."""
    eps = 1 / inverse_eps
    msh = mesh.create_unit_interval(comm, cells * inverse_eps)
    cell = mesh.create_unit_interval(MPI.COMM_SELF, cells)
    problem = CellProblem(hmm_ex1(1.0), cell, degree=1, quadrature_degree=1)
    temporal = TemporalCorrector(problem, alpha)
    fields = []
    for kappa in (hmm_ex1(eps), temporal.solution.kappa_hom):
        m = llg.magnetization(msh, hmm_ex1_initial)
        field = NodalField(llg.Energy([llg.Exchange(kappa)]), m, periodic_basis(m.function_space))
        steps = math.ceil(tau * 4 * 1.5 * cells**2 / 2.5)  # dt omega_max = 2.5
        *_, (_, values) = integrate("rk4_p", field, field.nodal(m), 0.0, tau * eps**2 / steps,
                                    steps, alpha)  # fmt: skip
        field.assign(m, values)
        fields.append(m)
    fine, m = fields
    guesses = [
        m,
        corrected(m, temporal.solution, eps, periodic=True),
        corrected(m, temporal.solution, eps, periodic=True, temporal=temporal, t=tau * eps**2),
    ]
    return [
        max(comm.allgather(float(np.abs(g.x.array - fine.x.array).max(initial=0.0))))
        for g in guesses
    ]


def test_corrector_in_time_gains_an_order(comm):
    """At tau = 0.05: errors of m_0 and of the elliptic corrector are O(eps), with v O(eps^2)."""
    errors = np.array([_resolved_errors(comm, k, 0.05, 0.1) for k in (16, 32)])
    rates = np.log2(errors[0] / errors[1])
    np.testing.assert_allclose(rates, [1.0, 1.0, 2.0], atol=0.05)
    assert errors[1, 2] < errors[1, 0] / 10


def test_nodal_gradient_of_a_periodic_field(comm):
    msh = mesh.create_unit_square(comm, 8, 8)
    m = llg.magnetization(msh, (1, 0, 0))
    m.interpolate(lambda x: np.array([np.sin(TAU * x[0]), np.cos(TAU * x[1]), 0 * x[0]]))
    gradient = nodal_gradient(m, periodic=True)
    x = m.function_space.tabulate_dof_coordinates()[: len(gradient)]
    central = math.sin(TAU / 8) * 8  # of the difference over two cells, in place of 2 pi
    exact = np.zeros((len(x), 3, 2))
    exact[:, 0, 0] = central * np.cos(TAU * x[:, 0])
    exact[:, 1, 1] = -central * np.sin(TAU * x[:, 1])
    np.testing.assert_allclose(gradient, exact, atol=1e-12)


def test_bad_correctors(comm):
    line = mesh.create_unit_interval(MPI.COMM_SELF, 4)
    problem = CellProblem(hmm_ex1(1.0), line)
    with pytest.raises(ValueError, match="damping must be at least 0"):
        TemporalCorrector(problem, -1.0)
    temporal = TemporalCorrector(problem, 0.1)
    with pytest.raises(ValueError, match="tau must be at least 0 and finite, got -1"):
        temporal(-1.0)
    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (1, 0, 0))
    with pytest.raises(ValueError, match="the cell has 1 dimensions, the mesh of m 2"):
        corrected(m, temporal.solution, 0.1)
    flat = llg.magnetization(mesh.create_unit_interval(comm, 2), (1, 0, 0))
    with pytest.raises(ValueError, match="eps must be positive and finite, got 0"):
        corrected(flat, temporal.solution, 0.0)
    if comm.size > 1:
        shared = CellProblem(hmm_ex1(1.0), mesh.create_unit_interval(comm, 8))
        with pytest.raises(ValueError, match="COMM_SELF"):
            TemporalCorrector(shared, 0.1)
        with pytest.raises(ValueError, match="COMM_SELF"):
            corrected(flat, shared.solve(), 0.1)


def test_kappa_hom_runs_in_a_scheme(comm):
    """Exchange(kappa_hom) with an off-diagonal entry: the energy falls under Gao's scheme."""
    kappa_hom = homogenize(hmm_ex2(1.0), mesh.create_unit_square(comm, 8, 8)).kappa_hom
    msh = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(
        msh, lambda x: np.array([1 + 0 * x[0], np.cos(3 * x[0] - 2 * x[1]), x[0]])
    )
    energy = llg.Energy([llg.Exchange(kappa_hom)])
    energies = [energy.total(m)]
    for _ in llg.march(llg.gao(energy, m, dt=1e-3, damping=0.5), t_end=3e-3):
        energies.append(energy.total(m))
    assert np.all(np.diff(energies) < 0)
