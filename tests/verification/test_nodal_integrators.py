# SPDX-License-Identifier: LGPL-3.0-or-later
"""Orders and invariants of the nodal time integrators, on finite differences in numpy.

The helix m = (c, s cos(Kx + phi), s sin(Kx + phi)) solves the Landau-Lifshitz equation of the
three-point stencil exactly: all nodes see K_h^2 = (2 - 2 cos(K h))/h^2, with c' = alpha K_h^2 c s^2
and phi' = K_h^2 c.
"""

import math
from functools import partial

import numpy as np
import pytest

from dolfinx_llg.physics.literature import hmm_ex1_initial, hmm_ex2_initial
from dolfinx_llg.schemes.nodal import integrate

METHODS = ["heun_p", "rk4_p", "mpe", "mpea"]
# MPEA's extrapolation is of order 3; what is left of order 2, the midpoint rule's, vanishes for
# the undamped helix.
ORDERS = {0.0: (2, 4, 2, 3), 1.0: (2, 4, 2, 2)}
CASES = [(a, m, k) for a, orders in ORDERS.items() for m, k in zip(METHODS, orders, strict=True)]


def laplacian(m, t=0.0, *, h, kappa=1.0):
    """Five- (three-) point stencil on the periodic grid of all axes but the last."""
    out = -2.0 * (m.ndim - 1) * m
    for axis in range(m.ndim - 1):
        out += np.roll(m, 1, axis) + np.roll(m, -1, axis)
    return (kappa / h**2) * out


def last(steps):
    *_, (_, m) = steps
    return m


def helix(n, t, alpha, a=0.6):
    h, K = 1.0 / n, 2 * math.pi
    K2 = (2 - 2 * math.cos(K * h)) / h**2
    ratio = a / math.sqrt(1 - a * a) * math.exp(alpha * K2 * t)
    c = ratio / math.sqrt(1 + ratio * ratio)
    phi = (math.atanh(c) - math.atanh(a)) / alpha if alpha else K2 * a * t
    x = K * h * np.arange(n) + phi
    s = math.sqrt(1 - c * c)
    return np.stack([np.full(n, c), s * np.cos(x), s * np.sin(x)], axis=-1)


@pytest.mark.parametrize(("alpha", "method", "order"), CASES)
def test_order_on_an_exact_solution(alpha, method, order):
    n, T = 12, 0.02
    errors = []
    for steps in (64, 128):
        m = last(integrate(method, partial(laplacian, h=1 / n), helix(n, 0, alpha), 0.0,
                           T / steps, steps, alpha))  # fmt: skip
        errors.append(np.abs(m - helix(n, T, alpha)).max())
        assert np.abs(np.linalg.norm(m, axis=-1) - 1).max() < 1e-13
    # dt omega_max = 0.2 and 0.1: the next term of the expansion shifts MPEA's rate by 0.16.
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2), errors


def test_mpea_falls_from_order_3_to_2_in_2d():
    """The paper's figure 3: order 3 in 1D (EX1), in 2D (EX2's data) towards 2 at small steps."""
    x = np.arange(16) / 16
    line = hmm_ex1_initial(np.stack([x, 0 * x, 0 * x])).T
    plane = hmm_ex2_initial(np.stack([*(g.ravel() for g in np.meshgrid(x, x)), np.zeros(256)]))
    rates = []
    for m, steps in ((line, (256, 512)), (plane.T.reshape(16, 16, 3), (256, 512, 2048, 4096))):
        field = partial(laplacian, h=1 / 16)
        # RK4P at dt omega_max = 0.04: its error of 1e-14 is no part of what is measured.
        reference = last(integrate("rk4_p", field, m, 0.0, 0.02 / 1024, 1024, 0.1))
        errors = [
            np.linalg.norm(last(integrate("mpea", field, m, 0.0, 0.02 / n, n, 0.1)) - reference)
            for n in steps
        ]
        rates += [math.log2(a / b) for a, b in zip(errors[::2], errors[1::2], strict=True)]
    assert rates[0] == pytest.approx(3.0, abs=0.1)
    assert rates[1] == pytest.approx(3.0, abs=0.1)
    assert 2.0 < rates[2] < 2.5
