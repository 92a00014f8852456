# SPDX-License-Identifier: LGPL-3.0-or-later
"""Averaging kernels: moments, smoothness, symmetry, discrete weights, bad input."""

import itertools

import numpy as np
import pytest

from dolfinx_llg.hmm import averaging_kernel, one_sided_kernel

pytestmark = pytest.mark.most_ranks(2)

# Exact for the degrees met here: p + 2 (q + 1) + 20 < 160.
GAUSS, GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(80)


def quadrature(kernel):
    a, b = kernel.support
    return 0.5 * (a + b) + 0.5 * (b - a) * GAUSS, 0.5 * (b - a) * GAUSS_WEIGHTS


def moments(kernel):
    x, w = quadrature(kernel)
    return np.array([np.sum(w * kernel(x) * x**r) for r in range(kernel.p + 1)])


@pytest.mark.parametrize("support", ["[-1,1]", "[-1/2,1/2]"])
@pytest.mark.parametrize("p", [0, 1, 3, 5, 10, 20])
@pytest.mark.parametrize("q", [-1, 0, 4, 7, 15, 30])
def test_moments_of_symmetric_kernels(p, q, support):
    kernel = averaging_kernel(p, q, support=support)
    np.testing.assert_allclose(moments(kernel), np.eye(p + 1)[0], rtol=0, atol=1e-12)


def test_moments_of_all_kernels_that_are_accepted():
    """Every p and q, on all three supports: the promise of 1e-12, or a refusal that says so."""
    refused = set()
    for p, q in itertools.product(range(21), range(-1, 31)):
        kernels = [averaging_kernel(p, q), averaging_kernel(p, q, support="[-1/2,1/2]")]
        try:
            kernels.append(one_sided_kernel(p, q))
        except ValueError as error:
            assert f"p = {p}, q = {q}" in str(error)  # noqa: PT017
            assert "reduce p or q" in str(error)  # noqa: PT017
            refused.add((p, q))
        for kernel in kernels:
            np.testing.assert_allclose(moments(kernel), np.eye(p + 1)[0], rtol=0, atol=1e-12)
            assert kernel.amplification < 4.0 or kernel.support == (0.0, 1.0)
    assert {(9, 30), (20, 30)} <= refused
    # What the docstring names as accepted.
    assert not any(p <= 4 or (p <= 8 and q <= 7) or q <= 1 for p, q in refused)


def test_the_amplification_bounds_the_norm():
    for p, q in ((1, 7), (3, 7), (5, 20), (20, 0)):
        kernel = one_sided_kernel(p, q)
        assert 0.2 * kernel.amplification < kernel.l1_norm() < kernel.amplification


@pytest.mark.parametrize("p", [0, 1, 2, 3, 5, 7])
@pytest.mark.parametrize("q", [-1, 0, 3, 7])
def test_one_sided_kernels_average_forward_only(p, q):
    kernel = one_sided_kernel(p, q)
    assert np.all(kernel(np.array([-1.0, -1e-3, 1.001, 2.0])) == 0.0)


def test_even_p_gives_the_kernel_of_the_next_p():
    x = np.linspace(-1, 1, 41)
    np.testing.assert_allclose(averaging_kernel(2, 3)(x), averaging_kernel(3, 3)(x), atol=1e-14)


def test_symmetry_and_support():
    kernel = averaging_kernel(5, 4, support="[-1/2,1/2]")
    x = np.linspace(0, 0.6, 50)
    np.testing.assert_allclose(kernel(-x), kernel(x), rtol=1e-13, atol=1e-13)
    assert np.all(kernel(x[x > 0.5]) == 0.0)
    assert averaging_kernel(1, -1)(0.3) == pytest.approx(0.5, abs=1e-15)


@pytest.mark.parametrize("q", [0, 1, 2, 5])
def test_kernel_vanishes_at_the_ends_to_order_q_plus_1(q):
    # (q+1)-th derivative of bounded variation: K ~ d^(q+1) at the distance d from the end.
    d = np.array([1e-2, 5e-3])
    for kernel, end in ((averaging_kernel(3, q), 1 - d), (one_sided_kernel(2, q), d)):
        rate = np.log2(np.divide(*np.abs(kernel(end))))
        assert rate == pytest.approx(q + 1, abs=0.15)  # O(d) = O(1e-2) times degree^2


def test_average_of_an_oscillation_has_order_q_plus_2():
    """Lemma 1: the error is C (eps/tau)^(q+2)."""
    for q in (0, 1, 2):
        kernel = averaging_kernel(1, q, support="[-1/2,1/2]")
        # Integer ratios for even q, half-integers for odd q: maxima of the side lobes.
        ratios = np.array([8.0, 16.0, 32.0]) + 0.5 * (q % 2)
        x, w = np.polynomial.legendre.leggauss(200)
        values = [0.5 * np.sum(w * kernel(0.5 * x) * np.cos(np.pi * r * x)) for r in ratios]
        rate = -np.polyfit(np.log(ratios), np.log(np.abs(values)), 1)[0]
        assert rate == pytest.approx(q + 2, abs=0.1)


def test_one_sided_kernels_amplify():
    # The L1 norms quoted in the docstring.
    assert one_sided_kernel(1, 7).l1_norm() == pytest.approx(3.6, abs=0.05)
    assert one_sided_kernel(3, 7).l1_norm() == pytest.approx(24, abs=0.5)


def test_scaled_kernel():
    kernel = averaging_kernel(3, 3)
    x = np.linspace(-0.1, 0.1, 7)
    np.testing.assert_allclose(kernel.scaled(x, 0.1), 10 * kernel(10 * x), rtol=1e-14)
    with pytest.raises(ValueError, match="width"):
        kernel.scaled(x, 0.0)


def test_discrete_weights_reproduce_polynomials_and_tend_to_the_kernel():
    kernel = averaging_kernel(5, 4, support="[-1/2,1/2]")
    points = np.arange(-5, 6) / 10
    weights = kernel.weights(points)
    for r in range(6):
        assert weights @ points**r == pytest.approx(float(r == 0), abs=1e-13)
    # An interior grid: the trapezoidal sum of a function vanishing to order q+1 = 5 at the ends.
    points = np.arange(-100, 101) / 200
    np.testing.assert_allclose(kernel.weights(points), kernel(points) / 200, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: averaging_kernel(-1, 2), "p must"),
        (lambda: averaging_kernel(21, 2), "p must"),
        (lambda: averaging_kernel(1.5, 2), "p must"),
        (lambda: averaging_kernel(1.0, 2), r"p must be an integer, got 1\.0"),
        (lambda: averaging_kernel(True, 2), "p must be an integer"),
        (lambda: averaging_kernel(1, None), "q must be an integer"),
        (lambda: averaging_kernel(1, -2), "q must"),
        (lambda: one_sided_kernel(1, 31), "q must"),
        (lambda: averaging_kernel(1, 1, support="[0,2]"), "support"),
        (lambda: averaging_kernel(5, 4).weights(np.linspace(-1, 1, 7)), "at least 6 points"),
        (lambda: averaging_kernel(1, 1).weights(np.zeros((2, 2))), "shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
