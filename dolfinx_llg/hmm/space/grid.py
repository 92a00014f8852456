# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Periodic macro grid of the spatial HMM: points, interpolation stencils.

Leitenmaier, Runborg, arXiv:2108.09463, sections 2.2, 3.2 and 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_integer, check_number
from dolfinx_llg.hmm.space.adjoint import interpolation_matrix
from dolfinx_llg.kinds import checked

__all__ = ["Initial", "MacroGrid", "Stations"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
#: Micro initial data: the interpolating polynomial P, or Q, which is P of unit length (33).
Initial = Literal["normalised", "polynomial"]


@checked
@dataclass(frozen=True)
class MacroGrid:
    r"""Periodic grid on :math:`[0, L]^d`.

    Attributes:
        dim: Dimension.
        n: Points along a side.
        k: Half width of the interpolation stencil: order 2k, 1 to 4. Order 4 goes with MPEA, order
            8 with RK4P (section 3.3): dt is of the order of the macro step squared.
        length: L.

    Raises:
        ValueError: If a number is out of range.
    """

    dim: int
    n: int
    k: int = 2
    length: float = 1.0

    def __post_init__(self) -> None:
        """Validate the sizes."""
        check_integer("dim", self.dim, 1, 3)
        check_integer("k", self.k, 1, 4)
        check_integer("n", self.n, 2 * self.k + 1)
        check_number("length", self.length, positive=True)

    @property
    def spacing(self) -> float:
        """The macro step."""
        return self.length / self.n

    @property
    def n_points(self) -> int:
        """Number of grid points."""
        return int(self.n**self.dim)

    @cached_property
    def points(self) -> Array:
        """Grid points, shape (n_points, dim), the last coordinate fastest."""
        axes = np.meshgrid(*[np.arange(self.n) * self.spacing] * self.dim, indexing="ij")
        return np.stack([axis.ravel() for axis in axes], axis=1)

    def omega(self, trace: float) -> float:
        """Bound of the eigenvalues of the macro operator, for a trace of kappa_hom.

        The second difference of order 2k has the symbol sum_j 2 (j!)^2/(2j + 2)! s^(j + 1), j < k,
        with s = 4 sin^2(theta/2): 4, 16/3, 272/45, 2048/315 at its largest.
        """
        parts = [
            2 * math.factorial(j) ** 2 / math.factorial(2 * j + 2) * 4.0 ** (j + 1)
            for j in range(self.k)
        ]
        return trace * sum(parts) / self.spacing**2


@dataclass(frozen=True)
class Stations:
    """Where micro problems sit: the grid points, or the middles of the edges along one axis.

    Attributes:
        grid: The grid.
        axis: None for the grid points, else the axis along which stations are shifted by half.
        data: ``"normalised"``: the micro data is Q (33). ``"polynomial"``: it is P, whose length is
            that of M in the grid points alone.
    """

    grid: MacroGrid
    axis: int | None = None
    data: Initial = "normalised"

    @cached_property
    def centres(self) -> Array:
        """Centres of the boxes, shape (n_points, dim)."""
        shift = np.zeros(self.grid.dim)
        if self.axis is not None:
            shift[self.axis] = 0.5 * self.grid.spacing
        return self.grid.points + shift

    def side(self, axis: int) -> Array:
        """Nodes of the stencil along an axis, in macro steps from the centre."""
        k = self.grid.k
        offsets = np.arange(-k, k) + 0.5 if axis == self.axis else np.arange(-k, k + 1)
        return offsets.astype(np.float64)

    @cached_property
    def reach(self) -> float:
        """Half width of the stencil: the micro box must stay inside."""
        return self.grid.spacing * (self.grid.k - (0.0 if self.axis is None else 0.5))

    @cached_property
    def gather(self) -> Integers:
        """Grid points of the stencil of each station, shape (stencil, n_points)."""
        grid = self.grid
        index = np.stack(np.unravel_index(np.arange(grid.n_points), (grid.n,) * grid.dim))
        sides = []
        for axis in range(grid.dim):
            offsets = self.side(axis) + (0.5 if axis == self.axis else 0.0)
            sides.append(offsets.astype(np.int64))
        offset = np.stack([s.ravel() for s in np.meshgrid(*sides, indexing="ij")])
        moved = (index[:, None, :] + offset[:, :, None]) % grid.n
        return np.asarray(np.ravel_multi_index(tuple(moved), (grid.n,) * grid.dim))

    def interpolation(self, x: Array) -> Array:
        """Matrix of the tensor-product interpolant at the tensor grid of ``x`` (one side)."""
        matrix: Array = np.ones((1, 1))
        for axis in range(self.grid.dim):
            own = interpolation_matrix(self.side(axis) * self.grid.spacing, x)
            matrix = np.asarray(np.kron(matrix, own), dtype=np.float64)
        return matrix

    def initial(self, matrix: Array, m: Array, points: Integers) -> Array:
        """Interpolant Q (33), or P, shape (points, rows of the matrix, 3)."""
        values = np.tensordot(m[self.gather[:, points]], matrix, axes=(0, 1))  # (P, 3, rows)
        if self.data == "normalised":
            values /= np.sqrt(np.einsum("pcs,pcs->ps", values, values))[:, None, :]
        return values.transpose(0, 2, 1)
