# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The asymptotic expansion of periodic homogenization: correctors of any order, by Fourier series.

Leitenmaier and Runborg, arXiv:2012.12567, sections 3 and 4. On the periodic unit box, with
:math:`y = x/\epsilon` and :math:`\tau = t/\epsilon^2`,

.. math:: \tilde m_J = m_0 + \sum_{j=1}^{J} \epsilon^j m_j(x, x/\epsilon, t, t/\epsilon^2), \qquad
    \partial_\tau m_j = \mathscr L m_j + F_j, \quad m_j(\tau = 0) = 0,

(3.3), (4.7), with :math:`\mathscr L w = -m_0 \times L_2 w - \alpha m_0 \times m_0 \times L_2 w`
(4.8) and F_j (4.9) made of the correctors before j. At fixed x and t the operator does not depend
on tau, and is :math:`(\alpha - i) L_2` in the tangent plane of :math:`m_0`, where
:math:`m_0 \times` is i: steps in tau are exponential in the eigenfunctions of L_2, exact but for
F_j, which is taken as a parabola in a step. All derivatives are those of trigonometric polynomials:
the expansion has no other error in eps than its own. For studies of rates; for a mesh there is
``corrected``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_integer, check_number
from dolfinx_llg.homogenization.fourier import FourierGrid, homogenized_field, rate
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.cross import cross as cross_last

__all__ = ["SLOW_STEP", "Expansion"]

Array = npt.NDArray[np.float64]
Coefficient = Callable[[Array], npt.ArrayLike]
Phi = list[npt.NDArray[Any]]

#: Step in t of the differences that give d_t m_1 and d_t m_2, for J >= 3.
SLOW_STEP = 1e-3


def _cross(a: Array, b: Array) -> Array:
    """The cross product of fields of shape (..., 3, X, Y)."""
    moved = cross_last(np.moveaxis(a, -3, -1), np.moveaxis(b, -3, -1))
    return np.asarray(np.moveaxis(moved, -1, -3))


def _phi(z: npt.NDArray[Any]) -> Phi:
    """exp(z), phi_1(z), phi_2(z), phi_3(z), by means over a circle around z where z is small."""
    angle = np.exp(2j * np.pi * (np.arange(32) + 0.5) / 32)
    around = z[:, None] + angle
    found: Phi = [np.exp(z)]
    values = np.exp(around)
    for k in range(1, 4):
        values = (values - 1 / math.factorial(k - 1)) / around
        found.append(values.mean(axis=1))
    return found


@checked
class Expansion:
    r"""Correctors m_1, ..., m_J of one coefficient and one homogenized solution.

    Args:
        kappa: Coefficient of the cell, a function of y of shape (dim, n), 1-periodic.
        slow: Grid in x.
        fast: Grid in y.
        damping: lambda of the LL form, positive.
        order: J, 1 to 4.

    Attributes:
        kappa_hom: Homogenized tensor :math:`A^H`, shape (dim, dim).
        chi: Cell solutions (4.13) with zero mean, shape (dim, points of y).

    Raises:
        ValueError: If a size is out of range or kappa is not positive.
    """

    def __init__(
        self, kappa: Coefficient, slow: FourierGrid, fast: FourierGrid, *, damping: float,
        order: int,
    ) -> None:  # fmt: skip
        self.order = check_integer("order", order, 1, 4)
        self.damping = check_number("damping", damping, positive=True)
        if slow.dim != fast.dim:
            raise ValueError(f"the grids have dimensions {slow.dim} and {fast.dim}")
        self.slow, self.fast, self.dim = slow, fast, slow.dim
        values = np.asarray(kappa(fast.points), dtype=np.float64)
        self.a: Array = np.broadcast_to(values, fast.points.shape[1:]).copy()
        if not (np.all(np.isfinite(self.a)) and self.a.min() > 0.0):
            raise ValueError(f"kappa must be positive and finite, found {self.a.min():g}")
        size = len(self.a)
        unit = np.eye(size)
        derivatives = [fast.derivative(unit, k, -1).T for k in range(self.dim)]
        L2 = np.sum([D @ (self.a[:, None] * D) for D in derivatives], axis=0)
        L2 = 0.5 * (L2 + L2.T)
        values, vectors = np.linalg.eigh(L2)
        # Of the kernel the constants stay: derivatives on the grid do not see alternating modes,
        # which nothing would damp.
        seen = values < -1e-8 * np.abs(values).max()
        constant = np.full((size, 1), size**-0.5)
        self._modes: Array = np.hstack([constant, vectors[:, seen]])
        #: Eigenvalues of L_2: 0 of the constants, the rest negative.
        self.eigenvalues: Array = np.concatenate([[0.0], values[seen]])
        source = np.stack([D @ self.a for D in derivatives])
        self.chi: Array = -(source @ vectors[:, seen] / values[seen]) @ vectors[:, seen].T
        self.kappa_hom: Array = np.array(
            [
                [np.mean(self.a * ((k == j) + derivatives[k] @ self.chi[j])) for j in
                 range(self.dim)]
                for k in range(self.dim)
            ]
        )  # fmt: skip

    # -- operators on fields of shape (S, 3, X, Y) -------------------------------------------------

    def _d(self, u: Array, axis: int, *, fast: bool) -> Array:
        grid, place = (self.fast, -1) if fast else (self.slow, -2)
        return grid.derivative(u, axis, place)

    def _apply(self, u: Array, outer: bool, inner: bool) -> Array:
        """Divergence of a times the gradient; True is in y, False in x."""
        return np.asarray(
            sum(self._d(self.a * self._d(u, k, fast=inner), k, fast=outer) for k in range(self.dim))
        )

    def _L0(self, u: Array) -> Array:
        return self._apply(u, False, False)

    def _L1(self, u: Array) -> Array:
        u = np.broadcast_to(u, (*u.shape[:-1], len(self.a)))
        return self._apply(u, True, False) + self._apply(u, False, True)

    def _L2(self, u: Array) -> Array:
        return np.asarray((u @ self._modes * self.eigenvalues) @ self._modes.T)

    def _script_L(self, m0: Array, u: Array) -> Array:
        """The operator (4.8)."""
        turned = _cross(m0, self._L2(u))
        return -turned - self.damping * _cross(m0, turned)

    def _force(self, j: int, m: list[Array], slow_rate: Array) -> Array:
        """F_j (4.9) from m_0, ..., m_(j - 1) and d_t m_(j - 2)."""
        Z = [self._L1(m[0])] + [self._L0(m[i - 1]) + self._L1(m[i]) for i in range(1, j)]
        V: list[Array] = []  # V_1, V_2, ...
        T: list[Array] = []
        R = S = np.zeros_like(m[1])
        for i in range(1, j):
            V.append(self._L2(m[i]) + Z[i - 1])
            T.append(_cross(m[0], V[-1]) + R)
            # R_i and S_i hold m_1, ..., m_i: in F_j those of i = j - 1 count.
            R = np.asarray(sum(_cross(m[i + 1 - k], V[k - 1]) for k in range(1, i + 1)))
            S = np.asarray(sum(_cross(m[i + 1 - k], T[k - 1]) for k in range(1, i + 1)))
        across = R + _cross(m[0], Z[j - 1])
        force = -across - self.damping * (_cross(m[0], across) + S) - slow_rate
        return np.asarray((force @ self._modes) @ self._modes.T)  # no alternating modes

    def _multiply(
        self, m0: Array, u: Array, factor: npt.NDArray[np.complex128], along: float
    ) -> Array:
        """A function of the operator (4.8): ``factor`` of its modes, ``along`` along m_0."""
        normal = m0 * np.sum(u * m0, axis=-3, keepdims=True)
        modes = (u - normal) @ self._modes
        turned = (modes * factor.imag) @ self._modes.T
        return along * normal + (modes * factor.real) @ self._modes.T + _cross(m0, turned)

    def start(self, m0: Array) -> Array:
        r"""The corrector in space, :math:`\sum_k \chi_k \partial_k m_0`, shape (S, 3, X, Y)."""
        return np.asarray(
            sum(self.slow.derivative(m0, k, -1)[..., None] * self.chi[k] for k in range(self.dim))
        )

    def slow_rate(self, m: list[Array]) -> Array:
        """d_t m_0 from the homogenized equation, shape (S, 3, X)."""
        found = []
        for own in m[0][..., 0]:
            found.append(rate(own, homogenized_field(self.slow, self.kappa_hom, own), self.damping))
        return np.stack(found)

    def rate(self, m: list[Array], j: int) -> Array:
        r"""Return :math:`\partial_\tau m_j`, the right side of (4.7); for j >= 3 the middle counts.

        Args:
            m: m_0, ..., m_j from ``correctors``.
            j: Number of the corrector, at least 1.
        """
        if j == 1:
            turned = _cross(m[0], self._L1(m[0]))
            force = -turned - self.damping * _cross(m[0], turned)
        elif j == 2:
            force = self._force(2, m, self.slow_rate(m)[..., None])
        else:
            force = self._force(j, m, (m[j - 2][2] - m[j - 2][0]) / (2 * SLOW_STEP))
        return self._script_L(m[0], m[j]) + force

    # -- the correctors ----------------------------------------------------------------------------

    def correctors(
        self, m0: npt.ArrayLike, taus: list[float], *, step: float = 2e-3
    ) -> list[list[Array]]:
        r"""m_0, ..., m_J at one time t and several :math:`\tau`.

        Args:
            m0: m_0 at the points of x and the time t, shape (3, X); or (3, 3, X), at
                t - ``SLOW_STEP``, t and t + ``SLOW_STEP``, which J >= 3 takes.
            taus: Ascending fast times, not negative.
            step: Largest step in tau while the fast oscillation lasts.

        Returns:
            For each tau the list of m_0, ..., m_J, each of shape (S, 3, X, Y or 1), S = 1 or 3; for
            j >= 3 the middle one alone counts.

        Raises:
            ValueError: If m0 has the wrong shape, or a tau is negative.
        """
        values = np.asarray(m0, dtype=np.float64)
        size = self.slow.points.shape[1]
        if values.shape == (3, size):
            values = values[None]
        if values.shape not in ((1, 3, size), (3, 3, size)):
            raise ValueError(
                f"m0 must have shape (3, {size}) or (3, 3, {size}), got {values.shape}"
            )
        if self.order >= 3 and len(values) == 1:
            raise ValueError(f"order {self.order} takes m0 at three times: see SLOW_STEP")
        if min(taus) < 0.0:
            raise ValueError(f"tau must not be negative, got {min(taus)}")
        base = values[..., None]
        slow = self.slow_rate([base])
        first = self.start(values)

        def exact_first(tau: float) -> Array:
            factor = np.exp((self.damping - 1j) * tau * self.eigenvalues)
            return first - self._multiply(base, first, factor, 1.0)

        def force(j: int, m: list[Array]) -> Array:
            if j == 2:
                return self._force(2, m, slow[..., None])
            before = m[j - 2]
            return self._force(j, m, np.asarray((before[2] - before[0]) / (2 * SLOW_STEP)))

        J, now = self.order, 0.0
        m = [base, *[np.zeros_like(first) for _ in range(J)]]
        forces = [force(j, m) for j in range(2, J + 1)]
        lasting = 25.0 / (self.damping * float(np.abs(self.eigenvalues[1:]).min()))
        found: list[list[Array]] = []
        weights: tuple[float, Phi, Phi] = (0.0, [], [])
        for end in taus:
            while now < end * (1 - 1e-12):
                length = step if now < lasting else 0.2 * now
                length = min(length, end - now)
                if length != weights[0]:
                    z = np.asarray(
                        (self.damping - 1j) * length * self.eigenvalues, dtype=np.complex128
                    )
                    weights = (length, _phi(0.5 * z), _phi(z))
                half, whole = [base, exact_first(now + 0.5 * length)], [base]
                whole.append(exact_first(now + length))
                for j in range(2, J + 1):
                    F0, F1, F2 = forces[j - 2], force(j, half), force(j, whole)
                    slope, bend = -3 * F0 + 4 * F1 - F2, 2 * F0 - 4 * F1 + 2 * F2
                    half.append(
                        self._advance(base, m[j], [F0, slope / 2, bend / 4], length / 2, weights[1])
                    )
                    whole.append(self._advance(base, m[j], [F0, slope, bend], length, weights[2]))
                    forces[j - 2] = F2
                m, now = whole, now + length
            found.append(list(m))
        return found

    def _advance(
        self, m0: Array, u: Array, parts: list[Array], h: float,
        phi: list[npt.NDArray[np.complex128]],
    ) -> Array:  # fmt: skip
        """The solution after h of u' = L u + F, F(s) = sum_k parts[k] (s/h)^k."""
        new = self._multiply(m0, u, phi[0], 1.0)
        for k, part in enumerate(parts):
            factor = math.factorial(k) * phi[k + 1]
            new = new + h * self._multiply(m0, part, factor, 1.0 / (k + 1))
        return new

    # -- on the grid of a period eps ---------------------------------------------------------------

    def grid(self, inverse_eps: int) -> FourierGrid:
        """The grid of x that has the points of y in each period.

        Raises:
            ValueError: If inverse_eps is no positive whole number.
        """
        return FourierGrid(self.dim, check_integer("inverse_eps", inverse_eps, 1) * self.fast.n)

    def trace(self, u: Array, inverse_eps: int) -> Array:
        """u(x, x/eps) at the points of ``grid(inverse_eps)``, for u of shape (..., X, Y or 1).

        In x the trigonometric interpolant is taken.

        Raises:
            ValueError: If inverse_eps is no positive whole number.
        """
        ny, nx, P = self.fast.n, self.slow.n, check_integer("inverse_eps", inverse_eps, 1)
        x = (np.arange(ny)[:, None] + ny * np.arange(P)) / (ny * P)
        waves = np.fft.fftfreq(nx, 1.0 / nx)
        shift = x[..., None, None] - np.arange(nx)[:, None] / nx
        E = np.exp(2j * np.pi * waves * shift).real.mean(axis=-1)  # (ny, P, nx)
        lead, d = u.shape[:-2], self.dim
        full = np.broadcast_to(u, (*u.shape[:-1], ny**d)).reshape(-1, *(nx,) * d, *(ny,) * d)
        for axis in range(d):
            # The axis of x is replaced by that of the periods, at the place in y of the same axis.
            full = np.moveaxis(full, (1 + axis, 1 + d + axis), (-2, -1))
            full = np.einsum("kpx,...xk->...pk", E, full)
            full = np.moveaxis(full, (-2, -1), (1 + axis, 1 + d + axis))
        order = [0, *[place for axis in range(d) for place in (1 + axis, 1 + d + axis)]]
        return np.asarray(full.transpose(order).reshape(*lead, (ny * P) ** d))

    def sum(self, m: list[Array], inverse_eps: int, order: int) -> Array:
        r"""The expansion :math:`\tilde m_J` (3.3), shape (3, points of ``grid(inverse_eps)``).

        Args:
            m: m_0, ..., from ``correctors``.
            inverse_eps: 1/eps, an integer.
            order: J.
        """
        middle = len(m[0]) // 2
        return np.asarray(
            sum(self.trace(m[j][middle], inverse_eps) / inverse_eps**j for j in range(order + 1))
        )

    def residual(self, m: list[Array], inverse_eps: int) -> Array:
        r"""The residual :math:`\eta_2^\epsilon` (3.11a) of :math:`\tilde m_2`, for order 2.

        Args:
            m: m_0, m_1, m_2 from ``correctors``, with m_0 at three times.
            inverse_eps: 1/eps.

        Raises:
            ValueError: If m_0 was given at one time.
        """
        if len(m[0]) != 3:
            raise ValueError("the residual takes m0 at three times: see SLOW_STEP")
        grid, eps = self.grid(inverse_eps), 1.0 / inverse_eps
        total = self.trace(self.slow_rate(m)[1][..., None], inverse_eps)
        for j in (1, 2):
            inner = self.rate(m, j)
            outer = (m[j][2] - m[j][0]) / (2 * SLOW_STEP)
            total = total + self.trace(inner[1], inverse_eps) * eps ** (j - 2)
            total = total + self.trace(outer, inverse_eps) * eps**j
        value = self.sum(m, inverse_eps, 2)
        a = self.trace(np.broadcast_to(self.a, (m[0].shape[-2], len(self.a))), inverse_eps)
        field = sum(grid.derivative(a * grid.derivative(value, k, -1), k, -1)
                    for k in range(self.dim))  # fmt: skip
        return total - rate(value, np.asarray(field), self.damping)
