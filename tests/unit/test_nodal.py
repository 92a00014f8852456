# SPDX-License-Identifier: LGPL-3.0-or-later
"""Parts of the nodal integrators: torque, Cayley turn, start-up, layouts, GMRES, bad input."""

from functools import partial

import numpy as np
import pytest

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.la.gmres import gmres
from dolfinx_llg.schemes.nodal import (
    cayley,
    cross,
    heun_p,
    implicit_midpoint,
    integrate,
    mpea,
    rk4_p,
    torque,
)

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


def test_multistep_starts_with_rk4():
    m, field = unit(5), partial(_chain, J=1.0)
    first, past = mpea(field, m, 0.0, 0.1, 0.3)
    np.testing.assert_array_equal(first, rk4_p(field, m, 0.0, 0.1, 0.3))
    assert len(past) == 1
    _, past = mpea(field, first, 0.1, 0.1, 0.3, past)
    assert len(past) == 2


def test_time_dependent_field_is_taken_at_the_stages():
    """H = (0, 0, t): m turns by t^2/2; Heun's and the midpoint's quadrature are exact for it."""
    m = np.array([[1.0, 0.0, 0.0]])

    def field(m, t):
        return np.array([[0.0, 0.0, t]])

    angle = (1.1**2 - 1.0) / 2
    exact = [[np.cos(angle), np.sin(angle), 0.0]]
    # Local errors angle^3/6 (Heun), angle^3/12 (Cayley's turn), angle^5/120 (RK4).
    np.testing.assert_allclose(heun_p(field, m, 1.0, 0.1, 0.0), exact, atol=angle**3 / 5)
    np.testing.assert_allclose(rk4_p(field, m, 1.0, 0.1, 0.0), exact, atol=angle**5 / 50)
    np.testing.assert_allclose(implicit_midpoint(field, m, 1.0, 0.1, 0.0), exact, atol=angle**3 / 9)


def test_midpoint_with_a_given_derivative_is_the_same():
    m, field = unit(7), partial(_chain, J=20.0)
    plain = implicit_midpoint(field, m, 0.0, 0.1, 0.3)
    given = implicit_midpoint(
        field, m, 0.0, 0.1, 0.3, field_change=lambda m, v, t: field(v, t) - field(0 * v, t)
    )
    np.testing.assert_allclose(plain, given, atol=1e-11)


def test_gmres_solves_and_reports_failure():
    A = np.eye(8) + 0.3 * RNG.standard_normal((8, 8))
    b = RNG.standard_normal((8, 1))
    x, iterations = gmres(lambda v: A @ v, b, rtol=1e-12)
    np.testing.assert_allclose(A @ x, b, atol=1e-10)
    assert iterations <= 8
    assert gmres(lambda v: A @ v, 0 * b, rtol=1e-12)[1] == 0
    with pytest.raises(ConvergenceError, match="GMRES did not reach rtol = 1e-12 in 3 iterations"):
        gmres(lambda v: A @ v, b, rtol=1e-12, max_iterations=3)


def test_midpoint_reports_failure():
    field = partial(_chain, J=1e3)
    with pytest.raises(ConvergenceError, match=r"(did not converge|did not reach).*smaller"):
        implicit_midpoint(field, unit(9), 0.0, 1.0, 0.0, max_iterations=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": np.zeros((3, 4))}, r"shape \(\.\.\., 3\), got \(3, 4\)"),
        ({"dt": 0.0}, "dt must be positive"),
        ({"alpha": -0.1}, "alpha must be at least 0 and finite, got -0.1"),
        ({"alpha": np.ones((7, 1))}, "shape"),
        ({"method": "euler"}, "method must be 'heun_p', 'rk4_p', 'mpe' or 'mpea', got 'euler'"),
        ({"steps": -1}, "at least 0, got -1"),
    ],
)
def test_bad_input(change, message):
    arguments = {"method": "mpe", "field": _chain, "m": unit(4), "t": 0.0, "dt": 0.1, "steps": 1,
                 "alpha": 0.1} | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        integrate(**arguments)
