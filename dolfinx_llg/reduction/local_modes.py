# SPDX-License-Identifier: LGPL-3.0-or-later
r"""A basis seen from inside one coarse cell: few modes stand for the many functions that reach it.

At Nc = 16 and ell = 4 some 100 functions live on a coarse cell, but there they differ from each
other like a dozen: on each coarse cell T

.. math::
    P_T = \mathbf 1\, a_T^T + U_T \Sigma_T W_T^T + O(\text{tolerance}) = \Theta_T V_T,

with the mean :math:`a_T` of the rows taken out first, so that constants are kept to round-off, and
a truncated singular value decomposition of the rest. What is nonlinear is then done with the r
modes :math:`\Theta_T` of each cell; V gathers and spreads. The cost of that does not depend on h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.matrices import component_groups, rows_of
from dolfinx_llg.reduction.block_products import BlockProducts

__all__ = ["LocalModes", "local_modes"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
TensorArray = npt.NDArray[np.floating]

_LEAST = 32
"""Cells of a group: below, another call costs as much as the padding that it saves."""


@dataclass(frozen=True)
class CellModes:
    """Modes of one coarse cell.

    Attributes:
        cells: Fine cells, local numbers, shape (n_cells,).
        dofs: Local dofs of V_h on them, shape (n_dofs,).
        place: Position of the corners of the fine cells in ``dofs``, shape (n_cells, n_corners).
        theta: Values of the modes at the dofs, shape (n_dofs, count).
    """

    cells: npt.NDArray[np.int32]
    dofs: IntArray
    place: IntArray
    theta: FloatArray

    @property
    def count(self) -> int:
        """Number of modes."""
        return self.theta.shape[1]


@dataclass(frozen=True)
class CellGroup:
    """Cells of about one size: one product does them all, with little padding.

    Attributes:
        cells: Their places in ``LocalModes.cells``.
        modes: Largest number of modes of a cell.
    """

    cells: slice
    modes: int


class ModeTable:
    """The matrices V_T of one scalar basis, padded to one shape in each group of cells.

    Args:
        comm: Communicator.
        groups: The groups.
        values: V_T of the cells of each group, zeros where there is no mode or function, shape
            (cells, modes, functions).
        functions: Numbers of the functions of each cell, n_H in the padding, (cells, functions).
        size: n_H.

    Note: Collective.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        groups: list[CellGroup],
        values: list[FloatArray],
        functions: list[IntArray],
        size: int,
    ) -> None:
        self._parts, self.size = list(zip(groups, values, functions, strict=True)), size
        self._shape = (
            sum(len(v) for v in values),
            max((group.modes for group in groups), default=0),
        )
        number = np.arange(self._shape[0] * self._shape[1]).reshape(self._shape)
        self._products = BlockProducts(
            comm,
            [(v, number[g.cells, : g.modes], f) for g, v, f in self._parts],
            (number.size, size),
            single=True,
        )

    def of_cell(self, number: int) -> tuple[FloatArray, IntArray]:
        """Return V_T of one cell, padded, and the numbers of its columns."""
        for group, values, functions in self._parts:
            if number < group.cells.stop:
                place = number - group.cells.start
                return values[place], functions[place]
        raise IndexError(f"no cell {number}")

    def gather(self, c: FloatArray) -> FloatArray:
        """Return coefficients of modes, shape (n, r, k), of functions' ones, shape (n_H, k)."""
        return self._products.apply(c).reshape(*self._shape, c.shape[1])

    def spread(self, y: FloatArray) -> FloatArray:
        """Return the transpose of ``gather``: shape (n_H, k) of shape (n, r, k), unsummed."""
        return self._products.transposed(y.reshape(-1, y.shape[2]))

    def sandwich(
        self,
        c: FloatArray,
        counts: npt.NDArray[np.int32],
        matrices: npt.NDArray[np.float32],
        tensors: FloatArray,
    ) -> FloatArray:
        """Return what ``spread`` makes of B ``gather(c)``, see ``BlockProducts.sandwich``."""
        return self._products.sandwich(c, counts, matrices, tensors)

    @property
    def native(self) -> bool:
        """Whether there are kernels, without which ``around`` cannot be called."""
        return self._products.native

    def around(self, c: FloatArray, X: Sequence[TensorArray], E: FloatArray) -> FloatArray:
        """Return what ``spread`` makes of B ``gather(c)``, see ``BlockProducts.around``."""
        return self._products.around(c, X, E)


@dataclass(frozen=True)
class LocalModes:
    """Modes of the n coarse cells that a rank owns, and the coefficients of a basis in them.

    Coefficients of modes are arrays (n, r, k) with r the largest number of modes of a cell of this
    rank, zero where a cell has fewer.

    Attributes:
        hierarchy: The meshes.
        cells: Modes of each coarse cell, in the order of the groups.
        groups: Cells with about as many modes and functions.
        tables: V for each component of the basis (equal ones are one object).
    """

    hierarchy: Hierarchy
    cells: list[CellModes]
    groups: list[CellGroup]
    tables: tuple[ModeTable, ...]

    @property
    def count(self) -> int:
        """Number of modes on this rank."""
        return sum(cell.count for cell in self.cells)

    def gather(self, c: FloatArray) -> FloatArray:
        """Return the modes' coefficients, shape (n, r, 3), of functions' ones, (n_H, 3)."""
        if len(self._components) == 1:
            return self.tables[0].gather(c)
        parts = [(members, table.gather(c[:, members])) for table, members in self._components]
        out = np.empty((*parts[0][1].shape[:2], c.shape[1]))
        for members, part in parts:
            out[:, :, members] = part
        return out

    def spread(self, y: FloatArray) -> FloatArray:
        """Return the transpose of ``gather`` on this rank's modes, shape (n_H, 3), unsummed."""
        if len(self._components) == 1:
            return self.tables[0].spread(y)
        out = np.empty((self.tables[0].size, y.shape[2]))
        for table, members in self._components:
            out[:, members] = table.spread(y[:, :, members])
        return out

    @property
    def one_table(self) -> ModeTable | None:
        """V, where all components have the same."""
        return self.tables[0] if len(self._components) == 1 else None

    def join(self, parts: Sequence[FloatArray]) -> FloatArray:
        """Return coefficients of modes, shape (n, r, k), of those of each group."""
        r = max((group.modes for group in self.groups), default=0)
        out = np.zeros((len(self.cells), r, parts[0].shape[2] if parts else 3))
        for group, part in zip(self.groups, parts, strict=True):
            out[group.cells, : group.modes] = part
        return out

    @cached_property
    def _components(self) -> list[tuple[ModeTable, list[int]]]:
        return component_groups(self.tables)


@checked
def local_modes(
    hierarchy: Hierarchy, parts: Sequence[PETSc.Mat], *, tolerance: float = 1e-3
) -> LocalModes:
    """Compress scalar prolongations on each coarse cell.

    Args:
        hierarchy: Meshes whose fine cells live on the rank of their parent (``refine_mesh``).
        parts: Prolongation of each component, shape (n_h, n_H); equal ones the same object.
        tolerance: Largest singular value left out, relative to the largest of the cell.

    Raises:
        ValueError: If a fine cell lives on another rank than its parent, or the tolerance is not
            between 0 and 1; on all ranks alike.
    """
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance}")
    first, last = hierarchy.data.cell_range
    parent = hierarchy.parent
    away = bool(((parent < first) | (parent >= last)).any())
    raise_together(
        hierarchy.comm,
        "fine cells live on another rank than their parents: make the fine mesh by refine_mesh"
        if away
        else None,
    )
    dofmap = hierarchy.space.dofmap
    corners = dofmap.list[: len(parent)]
    order = np.argsort(parent, kind="stable").astype(np.int32)
    ends = np.searchsorted(parent[order], np.arange(first, last + 1))
    if not parts:
        raise ValueError("parts must be the scalar prolongations of the components, got none")
    distinct = list({id(part): part for part in parts}.values())
    numbers, place_of = _numbers_of_local_dofs(hierarchy)
    tables = [rows_of(part, numbers) for part in distinct]
    cells: list[CellModes] = []
    pieces: list[list[tuple[FloatArray, IntArray]]] = [[] for _ in distinct]
    for k in range(last - first):
        own = order[ends[k] : ends[k + 1]]
        dofs, place = np.unique(corners[own], return_inverse=True)
        found = [table[place_of[dofs]] for table in tables]
        columns = [np.unique(part.indices) for part in found]
        dense = np.hstack([part[:, c].toarray() for part, c in zip(found, columns, strict=True)])
        theta, V = _compress(dense, tolerance)
        cells.append(CellModes(own, dofs, place.reshape(corners[own].shape), theta))
        split = np.cumsum([len(c) for c in columns])[:-1]
        for several, values, c in zip(pieces, np.hsplit(V, split), columns, strict=True):
            several.append((values, c))
    size = int(tables[0].shape[1])
    widest = [max(len(several[k][1]) for several in pieces) for k in range(len(cells))]
    chosen, groups = _group([cell.count for cell in cells], widest)
    padded = [
        _pad(hierarchy.comm, [several[k] for k in chosen], groups, size) for several in pieces
    ]
    where = {id(part): table for part, table in zip(distinct, padded, strict=True)}
    return LocalModes(
        hierarchy, [cells[k] for k in chosen], groups, tuple(where[id(part)] for part in parts)
    )


def _group(modes: list[int], functions: list[int]) -> tuple[list[int], list[CellGroup]]:
    """Sort cells by size: their order, and groups of it whose padding is worth less than a call."""
    order: list[int] = []
    groups: list[CellGroup] = []
    for band in _bands(range(len(modes)), modes):
        for group in _bands(band, functions):
            cells = slice(len(order), len(order) + len(group))
            groups.append(CellGroup(cells, max(modes[k] for k in group)))
            order += group
    return order, groups


def _bands(cells: Sequence[int], size: list[int]) -> list[list[int]]:
    """Split cells in bands of sizes that differ by no more than a sixth, none of a few cells."""
    bands: list[list[int]] = []
    for k in sorted(cells, key=lambda k: -size[k]):
        if bands and (len(bands[-1]) < _LEAST or 6 * size[k] >= 5 * size[bands[-1][0]]):
            bands[-1].append(k)
        else:
            bands.append([k])
    return bands


def _pad(
    comm: MPI.Comm, pieces: list[tuple[FloatArray, IntArray]], groups: list[CellGroup], size: int
) -> ModeTable:
    """Return the matrices of all cells, with the numbers of their columns, in one table."""
    tables, numbers = [], []
    for group in groups:
        own = pieces[group.cells]
        s = max(len(columns) for _, columns in own)
        values, functions = np.zeros((len(own), group.modes, s)), np.full((len(own), s), size)
        for k, (piece, columns) in enumerate(own):
            values[k, : piece.shape[0], : piece.shape[1]] = piece
            functions[k, : len(columns)] = columns
        tables.append(values)
        numbers.append(functions)
    return ModeTable(comm, groups, tables, numbers, size)


def _numbers_of_local_dofs(
    hierarchy: Hierarchy,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the global numbers of all local dofs, ghosts too, ascending; the place of each dof."""
    index_map = hierarchy.space.dofmap.index_map
    local = np.arange(index_map.size_local + index_map.num_ghosts, dtype=np.int32)
    numbers = index_map.local_to_global(local).astype(np.int32)
    order = np.argsort(numbers)
    return numbers[order], np.argsort(order)


def _compress(dense: FloatArray, tolerance: float) -> tuple[FloatArray, FloatArray]:
    """Return Theta and V of a table (dofs, functions)."""
    mean = dense.mean(axis=0)
    U, s, W = np.linalg.svd(dense - mean, full_matrices=False)
    # Relative to the whole table, the mean included.
    largest = max(float(s[0]), float(np.linalg.norm(mean)) * len(dense) ** 0.5)
    r = int(np.count_nonzero(s > tolerance * largest))
    # Modes of unit size at the nodes; their weight is in V.
    size = len(dense) ** 0.5
    theta = np.column_stack([np.ones(len(dense)), U[:, :r] * size])
    return theta, np.vstack([mean, (s[:r] / size)[:, None] * W[:r]])
