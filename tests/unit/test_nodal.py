# SPDX-License-Identifier: LGPL-3.0-or-later
"""Parts of the nodal integrators: torque, Cayley turn, start-up, layouts, GMRES, bad input."""

from functools import partial

import numpy as np
import pytest

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.la.cross import cross
from dolfinx_llg.la.gmres import gmres
from dolfinx_llg.schemes.nodal import Explicit, adams_bashforth, cayley, integrate, torque

RNG = np.random.default_rng(5)


def unit(*shape):
    m = RNG.standard_normal((*shape, 3))
    return m / np.linalg.norm(m, axis=-1, keepdims=True)


def test_torque_and_cross():
    m, H = unit(4, 5), RNG.standard_normal((4, 5, 3))
    np.testing.assert_array_equal(cross(m, H), np.cross(m, H))
    expected = -np.cross(m, H) - 0.3 * np.cross(m, np.cross(m, H))
    np.testing.assert_allclose(torque(m, H, 0.3), expected, atol=1e-14)
    alpha = np.full((5, 1), 0.3)
    np.testing.assert_array_equal(torque(m, H, alpha), torque(m, H, 0.3))


def test_cayley_solves_the_midpoint_equation():
    m, h, dt = unit(20), RNG.standard_normal((20, 3)), 0.7
    new = cayley(m, h, dt)
    np.testing.assert_allclose(new - m, -dt * np.cross((m + new) / 2, h), atol=1e-14)


def test_batches_are_advanced_as_each_alone():
    m = unit(6, 2)
    field = partial(_chain, J=3.0)
    for method in ("heun_p", "rk4_p", "mpe", "mpea"):
        *_, (t, both) = integrate(method, field, m, 0.5, 0.01, 5, 0.2)
        *_, (_, one) = integrate(method, field, m[:, 1].copy(), 0.5, 0.01, 5, 0.2)
        assert t == pytest.approx(0.55, abs=1e-15)
        np.testing.assert_allclose(both[:, 1], one, atol=1e-15)


def _chain(m, t, J):
    return J * (np.roll(m, 1, axis=0) + np.roll(m, -1, axis=0)) + np.array([0.0, 0.0, 1 + t])


def last(steps):
    *_, (_, m) = steps
    return m


def test_multistep_starts_with_rk4():
    m, field = unit(5), partial(_chain, J=1.0)
    run = Explicit("mpea")
    first = run.advance(field, m, (0.0, 0.1), 0.1, 0.3)
    np.testing.assert_array_equal(first, last(integrate("rk4_p", field, m, 0.0, 0.1, 1, 0.3)))
    assert run.past == []  # a candidate leaves nothing before it is kept
    run.keep()
    assert len(run.past) == 1
    run.advance(field, first, (0.1, 0.2), 0.1, 0.3)
    run.keep()
    assert [t for t, _ in run.past] == [0.1, 0.0]


def test_weights_of_adams_and_bashforth():
    """(20) and (22) for equal steps; for others the means of polynomials."""
    np.testing.assert_allclose(adams_bashforth([0.3, 0.2], 0.3, 0.1), [3 / 2, -1 / 2], atol=1e-13)
    weights = adams_bashforth([1.0, 0.5, 0.0], 1.0, 0.5)
    np.testing.assert_allclose(weights, np.array([23, -16, 5]) / 12, atol=1e-13)
    times = np.array([0.7, 0.4, 0.1])
    mean = (1.0**3 - 0.7**3) / 0.3 / 3
    assert adams_bashforth(times, 0.7, 0.3) @ times**2 == pytest.approx(mean, rel=1e-13)


@pytest.mark.parametrize(("method", "order"), [("heun_p", 3), ("rk4_p", 4)])
def test_error_estimates(method, order):
    """O(dt^(p+1)), above the error that was made, and without an evaluation of their own."""
    m, calls = unit(6), 0

    def field(m, t):
        nonlocal calls
        calls += 1
        return _chain(m, t, J=3.0)

    estimates = []
    for dt in (0.02, 0.01):
        run = Explicit(method)
        new = run.advance(field, m, (0.0, dt), dt, 0.2, estimate=True)
        exact = last(integrate("rk4_p", field, m, 0.0, dt / 20, 20, 0.2))
        assert np.abs(new - exact).max() < run.error
        estimates.append(run.error)
    assert np.log2(estimates[0] / estimates[1]) == pytest.approx(order, abs=0.15)
    run.keep()
    calls = 0
    run.advance(field, new, (dt, 2 * dt), dt, 0.2, estimate=True)
    assert calls == {"heun_p": 2, "rk4_p": 4}[method]


def test_time_dependent_field_is_taken_at_the_stages():
    """H = (0, 0, t): m turns by t^2/2; Heun's quadrature is exact for it."""
    m = np.array([[1.0, 0.0, 0.0]])

    def field(m, t):
        return np.array([[0.0, 0.0, t]])

    angle = (1.1**2 - 1.0) / 2
    exact = [[np.cos(angle), np.sin(angle), 0.0]]
    # Local errors angle^3/6 (Heun), angle^5/120 (RK4).
    heun = last(integrate("heun_p", field, m, 1.0, 0.1, 1, 0.0))
    np.testing.assert_allclose(heun, exact, atol=angle**3 / 5)
    rk4 = last(integrate("rk4_p", field, m, 1.0, 0.1, 1, 0.0))
    np.testing.assert_allclose(rk4, exact, atol=angle**5 / 50)


def test_gmres_solves_and_reports_failure():
    A = np.eye(8) + 0.3 * RNG.standard_normal((8, 8))
    b = RNG.standard_normal((8, 1))
    x, iterations = gmres(lambda v: A @ v, b, rtol=1e-12)
    np.testing.assert_allclose(A @ x, b, atol=1e-10)
    assert iterations <= 8
    assert gmres(lambda v: A @ v, 0 * b, rtol=1e-12)[1] == 0
    with pytest.raises(ConvergenceError, match="GMRES did not reach rtol = 1e-12 in 3 iterations"):
        gmres(lambda v: A @ v, b, rtol=1e-12, max_iterations=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": np.zeros((3, 4))}, r"shape \(\.\.\., 3\), got shape \(3, 4\)"),
        ({"dt": 0.0}, "dt must be positive"),
        ({"damping": -0.1}, "damping must be at least 0 and finite, got -0.1"),
        ({"damping": np.ones((7, 1))}, "shape"),
        ({"method": "euler"}, "method must be 'heun_p', 'rk4_p', 'mpe' or 'mpea', got 'euler'"),
        ({"steps": -1}, "at least 0, got -1"),
    ],
)
def test_bad_input(change, message):
    arguments = {"method": "mpe", "field": _chain, "m": unit(4), "t": 0.0, "dt": 0.1, "steps": 1,
                 "damping": 0.1} | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        integrate(**arguments)
