# SPDX-License-Identifier: LGPL-3.0-or-later
"""The Landau-Lifshitz equation in a periodic box by Fourier collocation: resolved, homogenized.

For studies of rates in eps, where the error of elements would hide that of the expansion.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_array, check_integer, check_number, check_tensor
from dolfinx_llg.kinds import checked

__all__ = ["FourierGrid", "homogenized_field", "homogenized_run", "rate", "resolved_fourier_run"]

Array = npt.NDArray[np.float64]
Coefficient = Callable[[Array], npt.ArrayLike]


@checked
@dataclass(frozen=True)
class FourierGrid:
    """Equidistant points of the periodic unit box, with derivatives by Fourier series.

    Attributes:
        dim: Dimension, 1 to 3.
        n: Points along a side, even.

    Raises:
        ValueError: If a number is out of range, or n is odd.
    """

    dim: int
    n: int

    def __post_init__(self) -> None:
        """Check the sizes."""
        check_integer("dim", self.dim, 1, 3)
        check_integer("n", self.n, 2)
        if self.n % 2:
            raise ValueError(f"n must be even, got {self.n}")

    @cached_property
    def points(self) -> Array:
        """Points, shape (dim, n^dim), the last coordinate fastest."""
        axes = np.meshgrid(*[np.arange(self.n) / self.n] * self.dim, indexing="ij")
        return np.stack([axis.ravel() for axis in axes])

    @cached_property
    def frequencies(self) -> Array:
        """2 pi times the wave numbers along a side; that of the alternating mode is 0."""
        k = np.fft.fftfreq(self.n, 1.0 / self.n)
        k[self.n // 2] = 0.0
        return np.asarray(2 * np.pi * k)

    def derivative(self, u: Array, axis: int, place: int) -> Array:
        """Derivative along a coordinate.

        Args:
            u: Values, the points on one axis.
            axis: Coordinate.
            place: Axis of ``u`` that runs over the points, counted from the end: -1 or -2.
        """
        shape = u.shape
        place = u.ndim + place
        split = u.reshape(*shape[:place], *(self.n,) * self.dim, *shape[place + 1 :])
        at = place + axis
        factor = np.ones(split.ndim, dtype=int)
        factor[at] = self.n
        spectrum = np.fft.fft(split, axis=at) * (1j * self.frequencies.reshape(factor))
        return np.asarray(np.fft.ifft(spectrum, axis=at).real.reshape(shape))

    @cached_property
    def _filter(self) -> Array:
        return np.exp(-36.0 * np.abs(2.0 * np.fft.fftfreq(self.n)) ** 36)

    def filtered(self, u: Array) -> Array:
        """Return u without its highest modes, into which products alias.

        The exponential filter of order 36: the upper tenth of the modes fades to round-off, the
        others keep their values (D. Gottlieb, J. Hesthaven, J. Comput. Appl. Math. 128 (2001) 83).

        Args:
            u: Values, shape (..., n^dim).
        """
        split = u.reshape(-1, *(self.n,) * self.dim)
        for at in range(1, self.dim + 1):
            shape = np.ones(split.ndim, dtype=int)
            shape[at] = self.n
            spectrum = np.fft.fft(split, axis=at) * self._filter.reshape(shape)
            split = np.fft.ifft(spectrum, axis=at).real
        return np.asarray(split.reshape(u.shape))

    def norms(self, u: Array, orders: int, scale: float = 1.0) -> list[float]:
        r"""Norms :math:`(\sum_{j \le q} s^{2j} |u|_{H^j}^2)^{1/2}` for q = 0, ..., ``orders``.

        Args:
            u: Values, shape (..., n^dim).
            orders: Largest q.
            scale: s: 1 for H^q, eps for the scaled norm H^q_eps.
        """
        split = u.reshape(-1, *(self.n,) * self.dim)
        power = np.abs(np.fft.fftn(split, axes=range(1, self.dim + 1))) ** 2
        power = power.sum(axis=0) / self.n ** (2 * self.dim)
        waves = np.meshgrid(*[2 * np.pi * np.fft.fftfreq(self.n, 1.0 / self.n)] * self.dim,
                            indexing="ij")  # fmt: skip
        square = scale**2 * sum(np.asarray(w) ** 2 for w in waves)
        parts = [float(np.sum(power * square**j)) for j in range(orders + 1)]
        return [float(value) for value in np.sqrt(np.cumsum(parts))]


def rate(m: Array, h: Array, damping: float) -> Array:
    """The right side of the Landau-Lifshitz equation, points last: (3, n)."""
    turned = np.cross(m, h, axis=0)
    return np.asarray(-turned - damping * np.cross(m, turned, axis=0))


def _march(
    m: Array,
    field: Callable[[Array], Array],
    damping: float,
    dt: float,
    times: list[float],
    after: Callable[[Array], Array] = lambda m: m,
) -> list[Array]:
    """States at the times by the classical Runge-Kutta method, without projection.

    ``after`` acts on each step's result. A time may lie a little before the one before it: the step
    is then negative.
    """
    found, now = [], 0.0
    for end in times:
        steps = math.ceil(abs(end - now) / dt)
        h = (end - now) / max(steps, 1)
        for _ in range(steps):
            k1 = rate(m, field(m), damping)
            k2 = rate(w := m + 0.5 * h * k1, field(w), damping)
            k3 = rate(w := m + 0.5 * h * k2, field(w), damping)
            k4 = rate(w := m + h * k3, field(w), damping)
            m = after(m + (h / 6) * (k1 + 2 * (k2 + k3) + k4))
        now = end
        found.append(m)
    return found


def _check(grid: FourierGrid, m: Array, damping: float, times: list[float]) -> Array:
    """Check the arguments that both runs have; return m."""
    check_number("damping", damping, positive=True)
    for t in times:
        # Differences in the slow time ask for a little before the start.
        check_number("times", t, low=-1e-3)
    return check_array("m", m, (3, grid.n**grid.dim))


@checked
def resolved_fourier_run(
    grid: FourierGrid, kappa: Coefficient, m: Array, damping: float, times: list[float]
) -> list[Array]:
    """The resolved solution by Fourier collocation and RK4, at ascending times.

    Args:
        grid: Grid that resolves the coefficient, 8 to 16 points a period.
        kappa: Coefficient, a function of points of shape (dim, n).
        m: Data at the points, shape (3, n^dim).
        damping: lambda of the LL form.
        times: Times wanted, from 0 on.

    Returns:
        States, each of the shape of ``m``.

    Raises:
        ValueError: If a number is out of range, m has another shape, or kappa is not positive.
    """
    start = _check(grid, m, damping, times)
    a = np.broadcast_to(check_array("kappa", kappa(grid.points)), grid.points.shape[1:])
    if not a.min() > 0.0:
        raise ValueError(f"kappa must be positive, found {a.min():g}")

    def field(m: Array) -> Array:
        return np.asarray(
            sum(grid.derivative(a * grid.derivative(m, k, -1), k, -1) for k in range(grid.dim))
        )

    largest = float(a.max()) * grid.dim * (np.pi * grid.n) ** 2 * abs(1j - damping)
    # Unfiltered, the highest modes grow slowly: the error in H2 is 199 instead of 0.05 after 50,000
    # steps at eps = 1/32.
    return _march(start, field, damping, 2.5 / largest, times, grid.filtered)


@checked
def homogenized_run(
    grid: FourierGrid, kappa_hom: Array, m: Array, damping: float, times: list[float]
) -> list[Array]:
    """The homogenized solution m_0 by Fourier collocation and RK4, at some times.

    Args:
        grid: Grid that resolves m_0.
        kappa_hom: Homogenized tensor, shape (dim, dim).
        m: Data at the points, shape (3, n^dim).
        damping: lambda of the LL form.
        times: Times wanted, from 0 on, mostly ascending.

    Raises:
        ValueError: If a number is out of range, m has another shape, or the tensor is not
            symmetric and positive definite.
    """
    start = _check(grid, m, damping, times)
    check_tensor("kappa_hom", kappa_hom, grid.dim)
    largest = float(np.trace(kappa_hom)) * (np.pi * grid.n) ** 2 * abs(1j - damping)
    dt = min(2.0 / largest, 2e-4)
    return _march(start, lambda m: homogenized_field(grid, kappa_hom, m), damping, dt, times)


def homogenized_field(grid: FourierGrid, kappa_hom: Array, m: Array) -> Array:
    """The field of a constant tensor, div(A grad m), at the points, shape (3, n)."""
    gradient = [grid.derivative(m, k, -1) for k in range(grid.dim)]
    return np.asarray(
        sum(
            kappa_hom[k, j] * grid.derivative(gradient[j], k, -1)
            for k in range(grid.dim)
            for j in range(grid.dim)
        )
    )
