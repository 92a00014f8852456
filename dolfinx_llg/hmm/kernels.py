# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Averaging kernels :math:`K^{p,q}` and one-sided kernels :math:`K_0^{p,q}`.

A kernel of class :math:`\mathbb K^{p,q}` is even, has p vanishing moments and
:math:`K^{(q+1)} \in BV(\mathbb R)` (Arjmand, Engblom, Kreiss, section 2.2, on [-1/2, 1/2];
Leitenmaier, Runborg, definition 1, on [-1, 1]); a kernel of class :math:`\mathbb K_0^{p,q}` lives
on [0, 1] and averages forward from 0 only.

Construction: with a weight w that vanishes to order q + 1 at both ends of the support, and
:math:`R(x, y)` the reproducing kernel of the polynomials :math:`\mathcal P_p` in :math:`L^2_w`,

.. math:: K(x) = w(x) R(x, 0), \qquad \int K f = f(0) \quad \forall f \in \mathcal P_p,

which is exactly the moment condition. R is summed from orthonormal polynomials, so no
ill-conditioned moment system is solved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_integer
from dolfinx_llg.kinds import checked

__all__ = ["Kernel", "averaging_kernel", "one_sided_kernel"]

Array = npt.NDArray[np.floating]

#: Beyond these the orthonormal sum itself loses the 1e-12 that is promised for the moments.
MAX_P = 20
MAX_Q = 30
#: Bound for :attr:`Kernel.amplification`: rounding of the values alone costs 1e-16 times as much.
MAX_AMPLIFICATION = 2000.0

_SUPPORTS: dict[str, tuple[float, float]] = {"[-1,1]": (-1.0, 1.0), "[-1/2,1/2]": (-0.5, 0.5)}


def _orthonormal(degree: int, q: int, y: npt.ArrayLike) -> Array:
    """Evaluate the polynomials orthonormal for (1 - y^2)^(q+1) on [-1, 1].

    Args:
        degree: Highest degree p.
        q: Smoothness exponent of the weight.
        y: Points, any shape.

    Returns:
        Values, shape (p + 1,) + shape of ``y``.
    """
    y = np.asarray(y, dtype=np.float64)
    a = q + 1
    # Integral of the weight, 2^(2a+1) B(a+1, a+1), in logarithms against overflow.
    mass = math.exp((2 * a + 1) * math.log(2.0) + 2 * math.lgamma(a + 1) - math.lgamma(2 * a + 2))
    values = np.empty((degree + 1, *y.shape))
    values[0] = 1.0 / math.sqrt(mass)
    beta_old = 0.0
    for k in range(degree):
        beta = math.sqrt((k + 1) * (k + 1 + 2 * a) / ((2 * k + 2 * a + 3) * (2 * k + 2 * a + 1)))
        previous = values[k - 1] if k > 0 else 0.0
        values[k + 1] = (y * values[k] - beta_old * previous) / beta
        beta_old = beta
    return values


@dataclass(frozen=True)
class Kernel:
    r"""An averaging kernel; call it for its values, see :meth:`scaled` and :meth:`weights`.

    Args:
        p: Number of vanishing moments.
        q: Smoothness, :math:`K \in C_c^q` for q >= 0; q = -1 is discontinuous at the ends.
        support: End points of the support, which contains 0.

    Raises:
        ValueError: If p, q or the support is out of range, or the kernel amplifies errors too much.
    """

    p: int
    q: int
    support: tuple[float, float]

    def __post_init__(self) -> None:
        """Validate the parameters."""
        object.__setattr__(self, "p", check_integer("p", self.p, 0, MAX_P))
        object.__setattr__(self, "q", check_integer("q", self.q, -1, MAX_Q))
        a, b = self.support
        if not a <= 0.0 <= b or not a < b:
            raise ValueError(f"the support must contain 0 and have a length, got {self.support}")
        if self.amplification > MAX_AMPLIFICATION:
            raise ValueError(
                f"the kernel with p = {self.p}, q = {self.q} on {self.support} amplifies errors by "
                f"{self.amplification:.1e}; beyond {MAX_AMPLIFICATION:g} its moments do not hold "
                "to 1e-12 in double precision: reduce p or q"
            )

    @property
    def amplification(self) -> float:
        r"""Upper bound :math:`(R(0, 0) \int w)^{1/2}` of the L1 norm, by Cauchy and Schwarz."""
        _, centre = self._reference(0.0)
        values = _orthonormal(self.p, self.q, centre)
        return float(np.linalg.norm(values) / values[0])

    @property
    def length(self) -> float:
        """Length of the support."""
        return self.support[1] - self.support[0]

    def _reference(self, x: npt.ArrayLike) -> tuple[Array, float]:
        """Map the support to [-1, 1]: the points, and the image of 0."""
        a, b = self.support
        half, middle = 0.5 * (b - a), 0.5 * (a + b)
        return (np.asarray(x, dtype=np.float64) - middle) / half, -middle / half

    def _weight(self, y: Array) -> Array:
        """(1 - y^2)^(q+1) on [-1, 1], zero outside."""
        inside = np.abs(y) <= 1.0
        return np.where(inside, np.where(inside, 1.0 - y * y, 1.0) ** (self.q + 1), 0.0)

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Values of the kernel, zero outside the support.

        Args:
            x: Points, any shape.

        Returns:
            Values of the shape of ``x``.
        """
        y, centre = self._reference(x)
        polynomial = np.tensordot(
            _orthonormal(self.p, self.q, centre), _orthonormal(self.p, self.q, y), axes=(0, 0)
        )
        return np.asarray(self._weight(y) * polynomial * (2.0 / self.length))

    def scaled(self, x: npt.ArrayLike, width: float) -> Array:
        r"""Values of :math:`K_\eta(x) = K(x/\eta)/\eta`.

        Args:
            x: Points, any shape.
            width: The length eta.

        Returns:
            Values of the shape of ``x``.

        Raises:
            ValueError: If ``width`` is not positive.
        """
        if not width > 0.0:
            raise ValueError(f"the width of a scaled kernel must be positive, got {width}")
        return self(np.asarray(x, dtype=np.float64) / width) / width

    def weights(self, points: npt.ArrayLike, density: npt.ArrayLike = 1.0) -> Array:
        r"""Weights :math:`c_j` of the discrete average :math:`\sum_j c_j f(x_j) \approx \int K f`.

        The same construction in the discrete product :math:`\sum_j w(x_j) \rho_j f(x_j) g(x_j)`:
        the weights reproduce f(0) for every polynomial of degree p exactly on the given points,
        and tend to :math:`K(x_j) \rho_j` under refinement.

        Args:
            points: Distinct points of the (unscaled) support, shape (n,).
            density: Quadrature weights rho_j of the points, shape (n,) or one number.

        Returns:
            Weights, shape (n,).

        Raises:
            ValueError: If fewer than p + 1 points lie inside the support.
        """
        y, centre = self._reference(points)
        if y.ndim != 1:
            raise ValueError(f"the points must have shape (n,), got {y.shape}")
        root = np.sqrt(self._weight(y) * np.asarray(density, dtype=np.float64))
        inside = int(np.count_nonzero(root))
        if inside <= self.p:
            raise ValueError(
                f"a kernel with p = {self.p} needs at least {self.p + 1} points inside its "
                f"support, got {inside}"
            )
        basis = _orthonormal(self.p, self.q, y)
        Q, R = np.linalg.qr(root[:, None] * basis.T)
        target = _orthonormal(self.p, self.q, centre)
        return np.asarray(root * (Q @ np.linalg.solve(R.T, target)))

    def l1_norm(self) -> float:
        r"""The norm :math:`\|K\|_{L^1}`, the factor by which averaging may amplify errors."""
        x = np.linspace(*self.support, 20001)
        return float(np.trapezoid(np.abs(self(x)), x))


@checked
def averaging_kernel(
    p: int, q: int, *, support: Literal["[-1,1]", "[-1/2,1/2]"] = "[-1,1]"
) -> Kernel:
    r"""Even kernel of class :math:`\mathbb K^{p,q}`.

    Args:
        p: Number of vanishing moments; an even p gives the kernel of p + 1, by symmetry.
        q: Smoothness; q = -1 with p <= 1 is the constant kernel.
        support: ``"[-1,1]"`` (spatial upscaling) or ``"[-1/2,1/2]"`` (temporal upscaling).

    Returns:
        The kernel.

    Raises:
        ValueError: If p, q or the support is out of range.
    """
    if support not in _SUPPORTS:
        raise ValueError(f"support must be one of {sorted(_SUPPORTS)}, got {support!r}")
    return Kernel(p, q, _SUPPORTS[support])


@checked
def one_sided_kernel(p: int, q: int) -> Kernel:
    r"""Kernel of class :math:`\mathbb K_0^{p,q}` on [0, 1], for averages forward in time.

    One-sided kernels oscillate: their L1 norm is 3.6 for p = 1 and 24 for p = 3 at q = 7, and
    they amplify errors, rounding included, by as much. Accepted are those whose moments hold to
    1e-12 in double precision (:attr:`Kernel.amplification` up to 2000): p <= 4 for every q, p <= 8
    for q = 7, p <= 20 for q <= 1.

    Args:
        p: Number of vanishing moments.
        q: Smoothness.

    Returns:
        The kernel.

    Raises:
        ValueError: If p or q is out of range, or the kernel amplifies too much.
    """
    return Kernel(p, q, (0.0, 1.0))
