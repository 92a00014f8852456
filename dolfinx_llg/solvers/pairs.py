# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pairs: the 3 x 3 blocks of a matrix in P1 vector functions, and where PETSc keeps them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.la.block_arrays import addresses, available

__all__ = ["Pairs", "pointer", "set_pattern"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int32]

SAME = PETSc.Mat.Structure.SAME_NONZERO_PATTERN


def set_pattern(A: PETSc.Mat, form: fem.Form) -> None:
    """Fix the whole pattern of a form in a fresh matrix, with zeros: no integration. Collective.

    A matrix that is filled by one of several forms first would drop the places of the others.
    """
    pattern = fem.create_matrix(form)
    indptr = pattern.indptr[: A.getLocalSize()[0] // 3 + 1].astype(np.int32)
    indices = pattern.indices[: indptr[-1]].astype(np.int32)
    columns = pattern.index_map(1).local_to_global(indices).astype(np.int32)
    A.setValuesBlockedCSR(indptr, columns, np.zeros(9 * len(columns)))
    A.assemble()


def pointer(ffi: Any, array: npt.NDArray[Any]) -> Any:
    """Return an array's address for C; the caller keeps the array."""
    kinds = {"float64": "double *", "int32": "int32_t *", "uint8": "uint8_t *"}
    assert array.flags.c_contiguous
    return ffi.cast(kinds[array.dtype.name], array.ctypes.data)


class Pairs:
    """The blocks of the matrix, one for each pair of nodes of a cell.

    Args:
        pattern: Compiled form whose pattern the matrix has.
        space: Vector P1 space of its arguments.
        fine: Matrix of that pattern, and of the type of all that are filled.

    Attributes:
        size: Number of pairs on this rank, those of rows of other ranks last.
        nodes: Nodes on this rank, ghosts included.
        dofs: Nodes of the owned cells, shape (cells, nd).
        of_cells: Pairs of the owned cells, shape (cells, nd, nd): node of the row, of the column.
        column: Node of each pair's column.
        parallel: Whether there are other ranks.
        in_place: Whether values are written where PETSc keeps them.
        place: For each pair where its block stands, as the kernels code it.
    """

    def __init__(self, pattern: fem.Form, space: fem.FunctionSpace, fine: PETSc.Mat) -> None:
        self.matrix = matrix = fem.create_matrix(pattern)
        index_map = space.dofmap.index_map
        count = space.mesh.topology.index_map(space.mesh.topology.dim).size_local
        self.nodes = index_map.size_local + index_map.num_ghosts
        self.dofs: Index = np.ascontiguousarray(space.dofmap.list[:count], dtype=np.int32)
        # Ghost columns of a matrix are numbered in their own way: compare global numbers.
        columns = matrix.index_map(1).local_to_global(matrix.indices.astype(np.int32))
        rows = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
        number = index_map.local_to_global(np.arange(self.nodes, dtype=np.int32))
        size = np.int64(index_map.size_global)  # products of two node numbers exceed 32 bits
        keys = rows * size + columns
        order = np.argsort(keys, kind="stable")
        wanted = self.dofs[:, :, None] * size + number[self.dofs][:, None, :]
        self.of_cells: Index = order[np.searchsorted(keys, wanted, sorter=order)].astype(np.int32)
        self.size = len(keys)
        owned = index_map.size_local
        self._indptr = matrix.indptr[: owned + 1].astype(np.int32)
        self.own = int(self._indptr[-1])
        self.indptr, self.global_columns = matrix.indptr, columns
        self.data: Array = matrix.data.reshape(-1, 9)
        self.in_place = all(space.mesh.comm.allgather(available(fine)))
        self.parallel = space.mesh.comm.size > 1
        # Buffers: PETSc's local columns (0) and other ones (1), data (2).
        self.place: Index = (4 * np.arange(self.size) + 2).astype(np.int32)
        self._received: Index = np.zeros(0, dtype=np.int32)
        if self.in_place:
            first, last = index_map.local_range
            order = order[order < self.own]  # rows, in a row ascending global columns
            local = (columns[order] >= first) & (columns[order] < last)
            for buffer, chosen in enumerate((order[local], order[~local])):
                self.place[chosen] = 4 * np.arange(len(chosen)) + buffer
            self.data[: self.own], self.data[self.own :] = 0.0, 1.0
            matrix.scatter_reverse()
            self._received = np.flatnonzero(self.data[: self.own, 0]).astype(np.int32)
            self.data[:] = 0.0
        # Pairs of cells of other ranks alone may be of no node here: they get node 0, times 0.
        self.column: Index = np.zeros(self.size, dtype=np.int32)
        self.column[self.of_cells] = self.dofs[:, None, :]
        self.place_of_cells: Index = self.place[self.of_cells]
        self._every_row: Index = matrix.indptr.astype(np.int32)

    def told(self, ffi: Any) -> Any:
        """Return what a kernel is told."""
        part = ffi.new("pattern *")
        part.rows = len(self._every_row) - 1
        arrays = self._every_row, self.column, self.place
        for name, array in zip(("ptr", "column", "place"), arrays, strict=True):
            setattr(part, name, pointer(ffi, array))
        return part

    def fill(
        self, A: PETSc.Mat, base: PETSc.Mat, ffi: Any, lib: Any, kernel: Callable[[Any, Any], None]
    ) -> None:
        """Set A to base + what a kernel computes. Collective.

        Args:
            A: Matrix to be set; may be base.
            base: Matrix of the same pattern.
            ffi: The kernels' cffi object.
            lib: The kernels' library.
            kernel: Called with the arrays of buffers of A and of base: writes base + its own.
        """
        with ExitStack() as stack:
            data = self.data.ctypes.data
            out, start = [0, 0, data], [0, 0, 0]
            if self.in_place:
                lent = stack.enter_context(addresses(A))
                out[: len(lent)] = lent
                lent = lent if base is A else stack.enter_context(addresses(base))
                start[: len(lent)] = lent
            buffers = [
                ffi.new("double *[3]", [ffi.cast("double *", a) for a in addresses_])
                for addresses_ in (out, start)
            ]
            kernel(*buffers)
            if self.parallel:
                self.matrix.scatter_reverse()
            if self.in_place and self.parallel:
                places = self.place[self._received]
                lists = [pointer(ffi, array) for array in (self._received, places)]
                lib.llg_add(len(places), *lists, pointer(ffi, self.data), buffers[0])
                self.data[self._received] = 0.0
        if not self.in_place:
            if base is not A:
                base.copy(A, SAME)
            rows = self.data[: self.own].reshape(-1, 3, 3).transpose(0, 2, 1)
            columns = self.global_columns[: self.own].astype(np.int32)
            add = PETSc.InsertMode.ADD_VALUES
            A.setValuesBlockedCSR(self._indptr, columns, np.ascontiguousarray(rows), addv=add)
            A.assemble()
