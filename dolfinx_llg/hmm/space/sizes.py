# SPDX-License-Identifier: LGPL-3.0-or-later
r"""How large a micro problem must be: its averaging errors, estimated from one period.

Theorem 2 of Leitenmaier, Runborg, arXiv:2108.09463, bounds the averaging error by
:math:`C(\epsilon/\mu)^{q_x+2}` and :math:`C(\epsilon^2/\eta)^{q_t+1}` with constants that are not
known. They are computed here instead, for the averaged flux of linear data :math:`M = G x` in the
tangent plane, where the micro problem is linear. With the corrector :math:`\chi` of one period, the
eigenpairs :math:`\lambda_k, \varphi_k` of :math:`-\nabla\cdot\kappa\nabla` on it, lengths in
:math:`\epsilon` and times in :math:`\epsilon^2`:

- the transient: the mean flux at time t is :math:`A^H + \sum_k \lambda_k \langle\chi, \varphi_k
  \rangle \langle\chi, \varphi_k\rangle^T e^{-(\alpha - i)\lambda_k t}`, so that

  .. math:: E_\eta = \Bigl|\sum_k \lambda_k \langle\chi, \varphi_k\rangle \langle\chi,
      \varphi_k\rangle^T \int_0^1 K^0(s)\, e^{-(\alpha - i)\lambda_k \eta s}\,ds\Bigr|;

- the oscillation: with the Fourier coefficients of the flux, the larger of those at t = 0 and at
  rest, :math:`E_\mu = \sum_{n \ne 0} |\hat F_n| \prod_k |\hat K(n_k \mu)|`;
- the boundary: there m keeps its initial values, which are wrong by :math:`\chi`. What is wrong
  diffuses inwards with :math:`D = (\alpha - i) A^H`,

  .. math:: E_{\mu'} = 2 \max|\bar\chi| \Bigl|\int K^0(s) \int K_\mu(x)\, (\pi D \eta s)^{-1/2}
      e^{-(\mu' - x)^2/(4 D \eta s)} \,dx\,ds\Bigr|,

  :math:`\bar\chi` the means over faces;
- the grid: :math:`E_{num} = |A^H_K - A^H|`, from cell problems with K points a side, the grid put
  at two places.

An averaged field (or torque) is the divergence of the flux, of which linear data leave nothing in
the end: what is left of it, :math:`2\pi E_\mu E_\eta/E_\eta(0)` and the derivative of
:math:`E_{\mu'}`, is :math:`L/\epsilon` times as large relative to the field of data that turn by a
radian over L.

All are relative to the largest entry of :math:`A^H`, and decrease as functions of their parameter
only on the whole (kernels have side lobes): estimated is the largest error at this size or beyond.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_array, check_number
from dolfinx_llg.hmm.kernels import Kernel
from dolfinx_llg.hmm.space.numerics import MicroNumerics
from dolfinx_llg.hmm.space.resolved import PeriodicStencil, homogenize_cell

__all__ = ["Period", "sample_period", "suggested_sizes"]

Array = npt.NDArray[np.float64]
Coefficient = Callable[[Array], npt.ArrayLike]

#: Points along a side of the period whose eigenvalues are computed, by dimension (dense matrices).
_SPECTRAL = {1: 64, 2: 20, 3: 8}
#: Points per eps that are tried, and those of the reference, by dimension.
_TRIED = {
    1: (4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 64),
    2: (4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40),
    3: (4, 5, 6, 8, 10, 12),
}
_REFERENCE = {1: 192, 2: 80, 3: 20}
#: Sizes that are tried: eta/eps^2, mu/eps, and how far the box reaches beyond the average.
_ETAS = np.geomspace(0.02, 40.0, 160)
_MUS = np.arange(1.0, 30.01, 0.1)
_MARGINS = np.arange(0.25, 20.01, 0.25)
#: Kernels that are tried: smoothness in space and in time.
_SMOOTHNESS = (1, 2, 3, 5, 7, 9)
#: Frequencies at which transforms of kernels are tabulated.
_FREQUENCIES = np.arange(0.0, 30.0, 0.05)
#: Products of rate and time at which the decay is tabulated.
_DECAYS = np.geomspace(1e-3, 1e7, 1000)
#: Gauss nodes of integrals over the support of a kernel: three and more for each wave.
_NODES = 200
#: Those of integrals of Gaussians, which are wide.
_FEW = 48


def _envelope(values: Array) -> Array:
    """The largest value at this place or behind."""
    return np.maximum.accumulate(values[::-1])[::-1]


def _nodes(kernel: Kernel, n: int = _NODES) -> tuple[Array, Array]:
    """Gauss points of the support of a kernel, and its values times their weights."""
    x, w = np.polynomial.legendre.leggauss(n)
    low, high = kernel.support
    points = 0.5 * (low + high) + 0.5 * (high - low) * x
    return points, kernel(points) * w * 0.5 * (high - low)


@dataclass(frozen=True)
class Period:
    """One period of a coefficient, lengths in eps.

    Args:
        dim: Dimension.
        kappa: Coefficient, a function of points of shape (dim, n) of the unit cell.
        damping: Artificial damping of the micro problem.
    """

    dim: int
    kappa: Coefficient
    damping: float

    @cached_property
    def _cell(self) -> tuple[PeriodicStencil, Array, Array]:
        """The cell problem whose eigenvalues are computed."""
        stencil = PeriodicStencil(self.dim, _SPECTRAL[self.dim], self.kappa)
        return stencil, *homogenize_cell(stencil)

    @property
    def scale(self) -> float:
        """Largest entry of the homogenized coefficient."""
        return float(np.abs(self._cell[1]).max())

    @cached_property
    def _rates(self) -> tuple[Array, Array]:
        """Eigenvalues that the corrector has a part in, and these parts, shape (modes, dim)."""
        stencil, _, chi = self._cell
        values, modes = np.linalg.eigh(-stencil.matrix.toarray())
        parts = modes.T @ chi / math.sqrt(len(chi))
        keep = values * np.sum(parts**2, axis=1) > 1e-12 * self.scale
        return values[keep], parts[keep]

    def transient(self, kernel: Kernel, etas: Array) -> Array:
        """E_eta for a kernel in time and times in eps^2."""
        rates, parts = self._rates
        s, weights = _nodes(kernel)
        table = np.exp(-(self.damping - 1j) * np.outer(_DECAYS, s)) @ weights
        decay = np.interp(np.log(np.outer(etas, rates)), np.log(_DECAYS), table)
        total = np.einsum("ek,k,ki,kj->eij", decay, rates, parts, parts)
        return _envelope(np.abs(total).max(axis=(1, 2)) / self.scale)

    @cached_property
    def step(self) -> float:
        """E_eta(0): by how much the mean flux at t = 0 is above that at rest."""
        rates, parts = self._rates
        return float(np.abs(np.einsum("k,ki,kj->ij", rates, parts, parts)).max()) / self.scale

    @cached_property
    def _waves(self) -> Array:
        """Fourier coefficients of the flux, at t = 0 or at rest, shape (dim, dim, n, ..., n)."""
        stencil, _, chi = self._cell
        n, dim = stencil.n, self.dim
        unit = np.kron(np.eye(dim), np.ones((len(chi), 1)))
        largest = np.zeros((dim, dim, *(n,) * dim))
        for slope in (unit, unit + stencil.difference @ chi):
            flux = (stencil.edges[:, None] * slope).reshape(dim, *(n,) * dim, dim)
            waves = np.abs(np.fft.fftn(np.moveaxis(flux, -1, 1), axes=range(2, 2 + dim))) / n**dim
            largest = np.maximum(largest, waves)
        largest.reshape(dim, dim, -1)[..., 0] = 0.0
        return largest

    def oscillation(self, kernel: Kernel, mus: Array) -> Array:
        """E_mu for a kernel in space and half widths in eps."""
        x, weights = _nodes(kernel)
        table = _envelope(np.abs(np.cos(2 * np.pi * np.outer(_FREQUENCIES, x)) @ weights))
        order = np.abs(np.fft.fftfreq(self._waves.shape[-1], 1.0 / self._waves.shape[-1]))
        found = []
        for mu in mus:
            factor = np.interp(order * mu, _FREQUENCIES, table)
            value = self._waves
            for _ in range(self.dim):
                value = value @ factor
            found.append(value.max())
        return np.array(found) / self.scale

    def boundary(
        self, kernels: tuple[Kernel, Kernel], mu: float, eta: float, outers: Array, *, slope: bool
    ) -> Array:
        """E_mu' for half widths of the box, in eps, or its derivative."""
        _, hom, chi = self._cell
        n, means = self._cell[0].n, []
        for axis in range(self.dim):
            values = np.moveaxis(chi[:, axis].reshape((n,) * self.dim), axis, 0)
            means.append(np.abs(values.reshape(n, -1).mean(axis=1)).max())
        x, space = _nodes(kernels[0], _FEW)
        s, time = _nodes(kernels[1], _FEW)
        found = np.zeros(len(outers))
        for axis, mean in enumerate(means):
            spread = 4 * (self.damping - 1j) * hom[axis, axis] * eta * s
            distance = outers[:, None] - mu * x
            way = np.exp(-np.multiply.outer(distance**2, 1 / spread))
            if slope:
                way *= 2 * np.multiply.outer(distance, 1 / spread)
            value = np.einsum("oxs,x,s->o", way, space, time / np.sqrt(0.25 * np.pi * spread))
            found = np.maximum(found, 2 * mean * np.abs(value) * hom[axis, axis] / self.scale)
        return _envelope(found)

    @cached_property
    def grid(self) -> dict[int, float]:
        """E_num by points per eps, that of coarser grids not below that of finer ones."""

        def tensor(n: int, shift: float) -> Array:
            moved = PeriodicStencil(self.dim, n, lambda y: self.kappa(y + shift / n))
            return homogenize_cell(moved)[0]

        exact = tensor(_REFERENCE[self.dim], 0.0)
        errors = [
            max(float(np.abs(tensor(n, shift) - exact).max()) for shift in (0.0, 0.5))
            for n in _TRIED[self.dim]
        ]
        largest = _envelope(np.array(errors)) / float(np.abs(exact).max())
        return dict(zip(_TRIED[self.dim], largest.tolist(), strict=True))


def sample_period(
    dim: int, eps: float, kappa: Coefficient, centre: npt.ArrayLike | None, damping: float
) -> Period:
    """Return one period of a coefficient.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_number("eps", eps, positive=True)
    check_number("damping", damping, positive=True)
    origin = check_array("centre", np.zeros(dim) if centre is None else centre, (dim,))
    return Period(dim, lambda y: _values(kappa, origin[:, None] + eps * y), damping)


def suggested_sizes(
    period: Period,
    eps: float,
    accuracy: float,
    *,
    boundary: Literal["dirichlet", "periodic"],
    points_per_eps: int | None,
    numerics: MicroNumerics | None,
    length: float | None,
) -> dict[str, Any]:
    """Return the arguments of the cheapest box whose four errors are a quarter of the accuracy.

    Raises:
        ValueError: If an argument is out of range, or none of the sizes tried is enough.
    """
    check_number("accuracy", accuracy, positive=True, high=1.0)
    dim, damping = period.dim, period.damping
    share = accuracy / 4
    # What is left of the divergence of the flux counts by this.
    factor = 0.0 if length is None else check_number("length", length, positive=True) / eps
    if points_per_eps is None:
        enough = [n for n, error in period.grid.items() if error <= share]
        if not enough:
            finest = max(period.grid)
            raise ValueError(
                f"{finest} points per eps leave an error of {period.grid[finest]:.1e} alone, for "
                f"an accuracy of {accuracy:g}: ask for less, or give points_per_eps"
            )
        points_per_eps = enough[0]
    orders = [(q, r) for q in _SMOOTHNESS for r in _SMOOTHNESS]
    tried = (
        [MicroNumerics(p_space=3, q_space=q, p_time=1, q_time=r) for q, r in orders]
        if numerics is None
        else [numerics]
    )
    times = {m.kernels[1]: period.transient(m.kernels[1], _ETAS) for m in tried}
    widths = {m.kernels[0]: period.oscillation(m.kernels[0], _MUS) for m in tried}
    best: tuple[float, dict[str, Any]] | None = None
    for chosen in tried:
        space, time = chosen.kernels
        left = times[time] / max(period.step, 1e-12)
        limit = share / np.maximum(1.0, 2 * np.pi * factor * left)
        places = np.searchsorted(-widths[space], -limit)  # the widths fall, and so do the times
        good = (times[time] <= share) & (places < len(_MUS))
        if not good.any():
            continue
        costs = np.where(good, _ETAS * _MUS[np.minimum(places, len(_MUS) - 1)] ** dim, np.inf)
        k = int(np.argmin(costs))
        if best is not None and costs[k] >= best[0]:
            continue
        eta, mu = float(_ETAS[k]), float(_MUS[places[k]])
        if boundary == "periodic":  # whole periods, and no error from the sides
            outer = max(math.ceil(2 * mu - 1e-9) / 2, 1.0)
        else:
            both, outers = (space, time), mu + _MARGINS
            errors = period.boundary(both, mu, eta, outers, slope=False)
            if factor:
                slopes = period.boundary(both, mu, eta, outers, slope=True)
                errors = np.maximum(errors, factor * slopes)
            if errors[-1] > share:
                continue
            outer = mu + float(_MARGINS[np.argmax(errors <= share)])
            # Whole steps of eps/K: grids that drift against the coefficient alias it to long waves.
            outer = math.ceil(2 * points_per_eps * outer - 1e-9) / (2 * points_per_eps)
        cost = eta * outer**dim
        if best is None or cost < best[0]:
            sizes = {"mu": mu * eps, "mu_outer": outer * eps, "eta": eta * eps**2}
            best = cost, sizes | {"numerics": chosen}
    if best is None:
        raise ValueError(
            f"no box of up to {_MUS[-1]:g} eps and {_ETAS[-1]:g} eps^2 reaches an accuracy of "
            f"{accuracy:g} with damping = {damping:g}: ask for less, or take another damping "
            "(about 1) or other kernels"
        )
    given = {"damping": damping, "points_per_eps": points_per_eps, "boundary": boundary}
    return best[1] | given


def _values(kappa: Coefficient, x: Array) -> Array:
    """One number for each point."""
    values = np.asarray(kappa(x), dtype=np.float64)
    if values.size not in (1, x.shape[1]):
        raise ValueError(
            f"kappa must return one number for each of {x.shape[1]} points, got an array of shape "
            f"{values.shape}"
        )
    return np.broadcast_to(values.ravel(), x.shape[1])
