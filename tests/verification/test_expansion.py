# SPDX-License-Identifier: LGPL-3.0-or-later
"""The asymptotic expansion: its cell problem, its equations, theorem 3.1 for J = 1 and 2."""

from mpi4py import MPI  # isort: skip

import numpy as np
import pytest

from dolfinx_llg.homogenization import (
    Expansion,
    FourierGrid,
    homogenized_run,
    resolved_fourier_run,
)
from dolfinx_llg.homogenization.expansion import SLOW_STEP
from dolfinx_llg.physics import literature

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="every rank would do the same")

DAMPING = 0.2


def start(x):
    m = np.stack(
        [np.ones_like(x[0]), 0.4 * np.sin(2 * np.pi * x[0]), 0.3 * np.cos(2 * np.pi * x[0])]
    )
    return m / np.linalg.norm(m, axis=0)


def expansion(order=2, **options):
    sizes = {"slow": 16, "fast": 16} | options
    return Expansion(
        literature.hmm_ex1(1.0), FourierGrid(1, sizes["slow"]), FourierGrid(1, sizes["fast"]),
        damping=DAMPING, order=order,
    )  # fmt: skip


def homogenized(E, times):
    return homogenized_run(E.slow, E.kappa_hom, start(E.slow.points), DAMPING, times)


@pytest.mark.parametrize("dim", [1, 2])
def test_grid(dim):
    grid = FourierGrid(dim, 16)
    x = grid.points
    u = np.sin(2 * np.pi * x[0]) * (np.cos(4 * np.pi * x[1]) if dim == 2 else 1)
    slope = 2 * np.pi * np.cos(2 * np.pi * x[0]) * (np.cos(4 * np.pi * x[1]) if dim == 2 else 1)
    np.testing.assert_allclose(grid.derivative(u, 0, -1), slope, atol=1e-12)
    both = np.stack([u, 2 * u], axis=-1)
    np.testing.assert_allclose(grid.derivative(both, 0, -2)[:, 1], 2 * slope, atol=1e-12)
    # |sin|^2 = 1/2, |cos|^2 = 1/2; a derivative multiplies by the wave numbers.
    mean, square = 0.5**dim, (2 * np.pi) ** 2 * (1 if dim == 1 else 5)
    for scale in (1.0, 0.1):
        expected = np.sqrt(mean * np.cumsum([(scale**2 * square) ** j for j in range(3)]))
        np.testing.assert_allclose(grid.norms(u, 2, scale), expected, rtol=1e-12)


def test_cell_problem():
    assert expansion().kappa_hom[0, 0] == pytest.approx(literature.HMM_EX1_KAPPA_HOM, abs=1e-6)
    two = Expansion(literature.hmm_ex2(1.0), FourierGrid(2, 8), FourierGrid(2, 12), damping=0.1,
                    order=1)  # fmt: skip
    np.testing.assert_allclose(two.kappa_hom, literature.HMM_EX2_KAPPA_HOM, atol=1e-3)
    np.testing.assert_allclose(two.chi.mean(axis=1), 0.0, atol=1e-14)


def test_correctors_solve_their_equations():
    """(4.7) by differences in tau, and m_j = 0 at the start; J = 3 too."""
    E = expansion(order=3)
    t, tau, d = 0.004, 0.02, 1e-4
    m0 = np.array(homogenized(E, [t, t - SLOW_STEP, t + SLOW_STEP]))[[1, 0, 2]]
    before, at, after = E.correctors(m0, [tau - d, tau, tau + d], step=5e-4)
    slow = (homogenized(E, [t + 1e-5])[0] - homogenized(E, [t - 1e-5])[0]) / 2e-5
    for j in (1, 2, 3):
        rate = (after[j][1] - before[j][1]) / (2 * d)
        expected = E.rate(at, j)[1]
        # m_1 has the largest frequencies; d_t m_1 is a difference with SLOW_STEP on both sides.
        assert np.abs(rate - expected).max() < 2e-3 * np.abs(expected).max()
    assert np.abs(slow - E.slow_rate(at)[1]).max() < 1e-5 * np.abs(slow).max()
    (first,) = E.correctors(m0, [0.0])
    assert all(np.abs(own).max() == 0.0 for own in first[1:])
    # A step twice as long: of order 4.
    ends = [E.correctors(m0, [0.04], step=step)[0][3][1] for step in (4e-3, 2e-3, 1e-3)]
    assert np.abs(ends[0] - ends[1]).max() > 6 * np.abs(ends[1] - ends[2]).max()


def test_fast_oscillations_die():
    """Long after the start m_1 is the corrector in space, and m_2 depends on tau no more."""
    E = expansion(fast=8)
    (m0,) = homogenized(E, [0.003])
    early, late, later = E.correctors(m0, [0.1, 8.0, 9.0], step=4e-3)
    space = E.start(m0[None])
    assert np.abs(late[1] - space).max() < 1e-7
    assert np.abs(early[1] - space).max() > 1e-2
    assert np.abs(later[2] - late[2]).max() < 1e-3 * np.abs(late[2]).max()


def test_theorem_3_1():
    """(3.10) at sigma = 2: J + 1 - q in H^q for smooth data, sharp; at tau fixed nothing turns."""
    T, errors = 0.02, []
    E = expansion()
    for inverse in (8, 16):
        eps = 1 / inverse
        t, grid = eps**2 * T, E.grid(inverse)
        fine = resolved_fourier_run(grid, literature.hmm_ex1(eps), start(grid.points), DAMPING, [t])
        (m0,) = homogenized(E, [t])
        (m,) = E.correctors(m0, [T])
        errors.append([grid.norms(fine[0] - E.sum(m, inverse, J), 2) for J in (0, 1, 2)])
    rates = np.log2(np.array(errors[0]) / np.array(errors[1]))
    promised = np.arange(1, 4)[:, None] - np.arange(3)
    assert np.abs(rates - promised).max() < 0.15


def test_residual_and_length():
    """(3.12) and (3.13) for J = 2: orders 1 and 2 in eps in the scaled norms."""
    E = expansion(fast=24)
    found = []
    for inverse in (8, 16):
        eps = 1 / inverse
        t = 0.05 * eps**2
        m0 = np.array(homogenized(E, [t, t - SLOW_STEP, t + SLOW_STEP]))[[1, 0, 2]]
        (m,) = E.correctors(m0, [0.05])
        grid = E.grid(inverse)
        square = np.sum(E.sum(m, inverse, 2) ** 2, axis=0)
        found.append([
            grid.norms(E.residual(m, inverse), 1, eps)[1],
            grid.norms(grid.derivative(square, 0, -1), 1, eps)[1],
        ])  # fmt: skip
    orders = np.log2(np.array(found[0]) / np.array(found[1]))
    assert orders[0] > 0.9
    assert orders[1] > 1.9


def test_bad_expansions():
    E, slow = expansion(), FourierGrid(1, 16)
    flat = start(slow.points)
    for call, message in (
        (lambda: expansion(order=5), "order must be an integer"),
        (lambda: Expansion(lambda y: 0 * y[0], slow, slow, damping=0.1, order=1), "kappa must be"),
        (lambda: Expansion(lambda y: 1 + 0 * y[0], slow, FourierGrid(2, 8), damping=0.1, order=1),
         "dimensions 1 and 2"),
        (lambda: E.correctors(flat[:, :5], [0.1]), r"m0 must have shape \(3, 16\)"),
        (lambda: E.correctors(flat, [-0.1]), "tau must not be negative"),
        (lambda: expansion(order=3).correctors(flat, [0.1]), "takes m0 at three times"),
        (lambda: E.residual(E.correctors(flat, [0.0])[0], 4), "takes m0 at three times"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
