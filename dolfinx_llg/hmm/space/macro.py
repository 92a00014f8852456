# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Macro grid of the spatial HMM: the effective field from micro problems at every grid point.

Leitenmaier, Runborg, arXiv:2108.09463, sections 2.2, 2.3 and 4.1. On a periodic grid of step
:math:`\Delta X` the macro models

.. math:: \dot M = -M \times H_{avg} - \alpha M \times (M \times H_{avg})

(8), with :math:`H_{avg} = \nabla \cdot F_{avg}` in the flux model (9), and :math:`M \times H_{avg}
= T_{avg}` in the torque model (10), are closed by micro problems whose initial data is the
normalised interpolant :math:`Q_{[2k]}` (33), or the polynomial :math:`P_{[2k]}`: order 2k in
space. Anisotropy and applied field act on M itself: what they change in a micro problem is of order
:math:`\epsilon^2`. :class:`UpscaledField` is the effective field ``field(m, t)`` that the
integrators of :mod:`dolfinx_llg.schemes.nodal` march.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.collective import together
from dolfinx_llg.hmm.space.adjoint import (
    CONDENSED,
    compress,
    condensed_nodes,
    field_functionals,
    flux_functionals,
)
from dolfinx_llg.hmm.space.box import Coefficient, MicroBox, spectral_bound
from dolfinx_llg.hmm.space.grid import Initial, MacroGrid, Stations
from dolfinx_llg.hmm.space.local import LocalField
from dolfinx_llg.hmm.space.micro import (
    BATCH,
    Batch,
    Upscaling,
    check_growth,
    check_micro_step,
    check_scale,
    make_batches,
    run_batches,
)
from dolfinx_llg.hmm.space.share import distinct_coefficients, gather_rows, own_part
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.cross import cross
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import exchange_coefficient
from dolfinx_llg.schemes.stability import stability_limit

__all__ = ["Estimate", "Micro", "UpscaledField"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Micro = Literal["auto", "adjoint", "nonlinear"]
logger = logging.getLogger(__name__)

#: Weights of the first difference of order 2k from values at half steps, by distance.
STAGGERED = (
    (1.0,),
    (9 / 8, -1 / 24),
    (75 / 64, -25 / 384, 3 / 640),
    (1225 / 1024, -245 / 3072, 49 / 5120, -5 / 7168),
)


@dataclass(frozen=True)
class Estimate:
    """What the adjoint leaves out, measured at the stations where M varies most.

    Attributes:
        remainder: Largest tangential difference between the nonlinear micro problem and the
            adjoint.
        averaging: Largest change of the adjoint's average under a larger window (mu by a tenth,
            eta by a fifth): an estimate of the averaging error E_avg.
        size: Largest average at these stations.
    """

    remainder: float
    averaging: float
    size: float


@checked
class UpscaledField:
    r"""Effective field of a periodic macro grid, upscaled from micro problems.

    Args:
        comm: Ranks that share the micro problems; every rank holds the macro field whole.
        grid: Macro grid.
        box: Micro problem.
        kappa: Coefficient, a function of points of shape (dim, n), periodic on the grid's domain;
            or an ``Energy`` whose exchange is given by such a function. Its other terms
            (anisotropy, applied fields) act on M: their data are numbers, constants or functions of
            time.
        upscaling: ``"field"`` (8), ``"flux"`` (9) or ``"torque"`` (10).
        micro: ``"nonlinear"``: micro problems are solved in every evaluation. ``"adjoint"``: their
            adjoint is, once, per distinct coefficient. ``"auto"``: the adjoint where, at the first
            evaluation, its remainder is below the averaging error (:meth:`estimate`).
        initial: ``"normalised"``: the micro data is Q (33), of unit length. ``"polynomial"``: it is
            the interpolating polynomial P, which is off by O(Delta X^(2k + 1)), for comparison.

    Attributes:
        micro: The choice made, ``"auto"`` before the first evaluation.
        n_steps: Time steps of a micro problem.
        evaluations: Number of evaluations so far.
        chosen_by: The estimate that ``"auto"`` has gone by.

    Raises:
        ValueError: If the micro box leaves the interpolation stencil or the domain, if eps is not
            below the macro step, or if kappa is not periodic or not positive.

    Note: Collective.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        grid: MacroGrid,
        box: MicroBox,
        kappa: Energy | Coefficient,
        *,
        upscaling: Upscaling = "field",
        micro: Micro = "auto",
        initial: Initial = "normalised",
    ) -> None:
        """Check the arguments, sample the coefficient."""
        if upscaling not in ("field", "flux", "torque"):
            raise ValueError(f"upscaling must be 'field', 'flux' or 'torque', got {upscaling!r}")
        if micro not in ("auto", "adjoint", "nonlinear"):
            raise ValueError(f"micro must be 'auto', 'adjoint' or 'nonlinear', got {micro!r}")
        if initial not in ("normalised", "polynomial"):
            raise ValueError(f"initial must be 'normalised' or 'polynomial', got {initial!r}")
        self._local: LocalField | None = None
        if isinstance(kappa, Energy):
            self._local = LocalField(kappa, grid.n_points)
            kappa = exchange_coefficient(kappa)
        self.comm, self.grid, self.box, self.kappa = comm, grid, box, kappa
        self.upscaling: Upscaling = upscaling
        self.micro: Micro = micro
        self.evaluations = 0
        self.chosen_by: Estimate | None = None
        axes: Sequence[int | None] = range(grid.dim) if upscaling == "flux" else [None]
        self.stations = [Stations(grid, axis, initial) for axis in axes]
        self._check()
        self._sample()

    def _check(self) -> None:
        grid, box = self.grid, self.box
        if box.dim != grid.dim:
            raise ValueError(f"the micro box has dimension {box.dim}, the grid {grid.dim}")
        check_scale(box.eps, grid.spacing, "macro step")
        reach = min(station.reach for station in self.stations)
        if box.mu_outer > reach * (1 + 1e-9):
            raise ValueError(
                f"the micro box, mu_outer = {box.mu_outer:g}, leaves the interpolation stencil of "
                f"half width {reach:g}: reduce mu_outer or coarsen the macro grid"
            )
        if 2 * box.mu_outer > grid.length:
            raise ValueError(
                f"the micro box, of width {2 * box.mu_outer:g}, is larger than the domain, "
                f"{grid.length:g}: reduce mu_outer"
            )
        x = np.random.default_rng(0).random((grid.dim, 97)) * grid.length
        with together(self.comm):
            values = np.asarray(self.kappa(x), dtype=np.float64)
        for axis in range(grid.dim):
            shift = np.zeros((grid.dim, 1))
            shift[axis] = grid.length
            jump = float(np.max(np.abs(np.asarray(self.kappa(x + shift)) - values)))
            if not jump <= 1e-6 * float(np.max(np.abs(values))):
                raise ValueError(
                    f"kappa is not periodic over {grid.length:g} along axis {axis} (it jumps by "
                    f"{jump:.3g}), but micro boxes overlap the boundary of the domain: choose eps "
                    "so that a whole number of periods fits, or use the finite-element macro "
                    "problem, whose boxes stay inside"
                )

    def _sample(self) -> None:
        """Distinct coefficients of all stations, and what depends on them."""
        self.centres = np.concatenate([station.centres for station in self.stations])
        own = own_part(self.comm, len(self.centres))
        self.patch, self.patch_edges = distinct_coefficients(
            self.comm, self.box, self.kappa, self.centres[own], shared=True
        )
        omega = spectral_bound(self.box, self.patch_edges)
        self.omega: float = max(self.comm.allgather(omega))
        self.n_steps = self.box.n_steps(self.omega)
        # The arithmetic mean of a box bounds the eigenvalues of kappa_hom there.
        self.mean_kappa = float(self.patch_edges.mean(axis=1).max())

    @property
    def n_patches(self) -> int:
        """Number of distinct micro coefficients."""
        return int(self.patch.max()) + 1

    def stable_dt(self, damping: float, method: Literal["mpea", "rk4_p"] = "mpea") -> float:
        """Macro step at 0.9 of the stability limit, kappa_hom bounded by box means of kappa.

        Raises:
            ValueError: If the damping is negative or not finite.
        """
        omega = self.grid.omega(self.grid.dim * self.mean_kappa)
        return 0.9 * stability_limit(method, damping) / omega

    @cached_property
    def _batches(self) -> list[Batch]:
        own = own_part(self.comm, len(self.centres))
        return make_batches(self.box, self.patch_edges, self.patch[own], self.n_steps)

    @cached_property
    def _node_matrices(self) -> list[Array]:
        return [station.interpolation(self.box.nodes) for station in self.stations]

    def _initial(self, m: Array, points: Integers) -> Array:
        """Micro initial data of stations, numbered through all sets of stations."""
        n = self.grid.n_points
        found = np.empty((len(points), self.box.n_nodes, 3))
        for s, (station, matrix) in enumerate(zip(self.stations, self._node_matrices, strict=True)):
            mine = points // n == s
            if mine.any():
                found[mine] = station.initial(matrix, m, points[mine] % n)
        return found

    def _nonlinear(self, m: Array, points: Integers, batches: Sequence[Batch]) -> Array:
        """Averages at stations ``points``, all of them on this rank; collective."""
        values, growth = run_batches(
            self.box,
            batches,
            lambda chosen: self._initial(m, points[chosen]),
            self.n_steps,
            self.upscaling,
        )
        growth = max(self.comm.allgather(growth))
        check_growth(self.box, growth, self.n_steps, self.omega)
        if self.upscaling == "flux":  # of each station only the component along its own axis
            values = values[np.arange(len(points)), points // self.grid.n_points]
        return values

    def _functionals(
        self, box: MicroBox, patches: Integers, n_steps: int
    ) -> npt.NDArray[np.complex128]:
        """Condensed functionals of patches, shape (P, dim or 1, 13^dim)."""
        flux = self.upscaling == "flux"
        found = [np.empty((0, self.grid.dim if flux else 1, CONDENSED**self.grid.dim))]
        block = max(1, BATCH // box.n_nodes)
        for i in range(0, len(patches), block):
            edges = self.patch_edges[patches[i : i + block]]
            if flux:
                found.append(compress(box, flux_functionals(box, edges, n_steps)))
            else:
                found.append(compress(box, field_functionals(box, edges, n_steps))[:, None])
        return np.concatenate(found, dtype=np.complex128)

    @cached_property
    def _adjoint(self) -> npt.NDArray[np.complex128]:
        """Condensed functionals of all patches, computed by all ranks together."""
        check_micro_step(self.box, self.n_steps, self.omega)
        own = own_part(self.comm, self.n_patches)
        local = self._functionals(self.box, np.arange(own.start, own.stop), self.n_steps)
        return gather_rows(self.comm, local)

    @cached_property
    def _condensed_matrices(self) -> list[Array]:
        x = condensed_nodes(self.box)
        return [station.interpolation(x) for station in self.stations]

    def _linear(
        self, m: Array, points: Integers, functionals: npt.NDArray[np.complex128], patch: Integers
    ) -> Array:
        """Averages by the adjoint at stations ``points``, with ``functionals[patch]``."""
        n, result = self.grid.n_points, np.empty((len(points), 3))
        for s, station in enumerate(self.stations):
            mine = np.flatnonzero(points // n == s)
            if not len(mine):
                continue
            data = station.initial(self._condensed_matrices[s], m, points[mine] % n)
            weights = functionals[patch[mine], s]
            real = (weights.real[:, None, :] @ data)[:, 0]
            imaginary = (weights.imag[:, None, :] @ data)[:, 0]
            # The middle of the (odd) tensor grid is the centre.
            centre = data[:, data.shape[1] // 2]
            values = real + cross(centre, imaginary)
            if self.upscaling != "flux":  # along M the adjoint says nothing
                values -= np.sum(values * centre, axis=1, keepdims=True) * centre
            result[mine] = values
        return result

    def estimate(self, m: Array, *, stations: int | None = None) -> Estimate:
        """Compare the adjoint with the nonlinear micro problem where M varies most.

        Args:
            m: Macro magnetization, shape (n_points, 3).
            stations: How many stations (None: 4 in one dimension, else 1).

        Note: Collective.
        """
        count = (4 if self.grid.dim == 1 else 1) if stations is None else stations
        variation = np.concatenate(
            [
                np.max(np.sum((m[s.gather] - m[s.gather[len(s.gather) // 2]]) ** 2, axis=2), axis=0)
                for s in self.stations
            ]
        )
        # Rounded: equal values must give the same order on all ranks.
        chosen = np.argsort(-variation.round(12), kind="stable")[:count]
        mine = chosen[own_part(self.comm, len(chosen))]
        used, patch = np.unique(self.patch[mine], return_inverse=True)
        exact = self._nonlinear(
            m, mine, make_batches(self.box, self.patch_edges, self.patch[mine], self.n_steps)
        )
        wide = replace(
            self.box, mu=min(1.1 * self.box.mu, self.box.mu_outer), eta=1.2 * self.box.eta
        )
        linear = self._linear(m, mine, self._functionals(self.box, used, self.n_steps), patch)
        longer = self._functionals(wide, used, math.ceil(1.2 * self.n_steps))
        wider = self._linear(m, mine, longer, patch)
        difference, change = exact - linear, wider - linear
        if self.upscaling != "flux":
            centre = m[mine % self.grid.n_points]
            if self.upscaling == "torque":
                difference = exact - cross(centre, linear)
            difference -= np.sum(difference * centre, axis=1, keepdims=True) * centre
        local = [np.linalg.norm(v, axis=1).max(initial=0.0) for v in (difference, change, linear)]
        remainder, averaging, size = np.max(self.comm.allgather(local), axis=0)
        return Estimate(float(remainder), float(averaging), float(size))

    def __call__(self, m: Array, t: float = 0.0) -> Array:
        """Effective field at the grid points, shape (n_points, 3)."""
        if m.shape != (self.grid.n_points, 3):
            raise ValueError(f"m must have shape ({self.grid.n_points}, 3), got {m.shape}")
        if self.micro == "auto":
            self.chosen_by = found = self.estimate(m)
            self.micro = "adjoint" if found.remainder <= found.averaging else "nonlinear"
            logger.info("%s micro problems: %s", self.micro, found)
        self.evaluations += 1
        if self.micro == "adjoint":
            points = np.arange(len(self.centres))
            values = self._linear(m, points, self._adjoint, self.patch)
        else:
            own = own_part(self.comm, len(self.centres))
            points = np.arange(own.start, own.stop)
            values = gather_rows(self.comm, self._nonlinear(m, points, self._batches))
            if self.upscaling == "torque":
                values = np.asarray(
                    cross(values, m), dtype=np.float64
                )  # M x (T x M) = T, as T is normal to M
        if self.upscaling == "flux":
            values = self._divergence(values)
        return values if self._local is None else values / self._local.Ms + self._local(m, t)

    def _divergence(self, flux: Array) -> Array:
        """Divergence of fluxes at the middles of the edges, of the order of the stencil."""
        grid = self.grid
        shape = (grid.n,) * grid.dim + (3,)
        total = np.zeros(shape)
        for axis, own in enumerate(flux.reshape(grid.dim, *shape)):
            for j, weight in enumerate(STAGGERED[grid.k - 1]):
                total += weight * (np.roll(own, -j, axis) - np.roll(own, j + 1, axis))
        return (total / grid.spacing).reshape(-1, 3)
