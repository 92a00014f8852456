# SPDX-License-Identifier: LGPL-3.0-or-later
"""PETSc matrices made from entries or columns, and taken apart into what a rank needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

__all__ = [
    "LocalRows",
    "block_vector",
    "column_matrix",
    "columns_of_rows",
    "component_groups",
    "coo_matrix",
    "dense_rows",
    "index_set",
    "interleave",
    "local_submatrices",
    "mean_component",
    "rows_of",
    "scipy_rows",
    "some_columns",
    "stack",
    "whole_table",
]


def stack(parts: Sequence[npt.NDArray[Any]], kind: type = np.int32) -> npt.NDArray[Any]:
    """Concatenate, an empty list too."""
    return np.concatenate([np.zeros(0, dtype=kind), *parts]).astype(kind, copy=False)


def coo_matrix(
    sizes: tuple[tuple[int, int], tuple[int, int]],
    rows: npt.NDArray[Any],
    columns: npt.NDArray[Any],
    values: npt.NDArray[Any],
    comm: PETSc.Comm,
) -> PETSc.Mat:
    """Return an AIJ matrix of sizes ((local, global), ...) from entries that are added up."""
    matrix = PETSc.Mat().create(comm=comm)
    matrix.setSizes(sizes)
    matrix.setType("aij")
    matrix.setPreallocationCOO(rows, columns)
    matrix.setValuesCOO(values)
    return matrix


def column_matrix(
    sizes: tuple[tuple[int, int], tuple[int, int]],
    parts: Sequence[tuple[int, npt.NDArray[Any], npt.NDArray[Any]]],
    comm: PETSc.Comm,
) -> PETSc.Mat:
    """Return an AIJ matrix of sizes ((local, global), ...) from some of its columns.

    Args:
        sizes: Of rows and columns.
        parts: (column, rows, values) of columns that this rank owns; columns and rows ascend.
        comm: Its ranks.
    """
    local = sizes[1][0]
    counts = comm.tompi4py().allgather(local)
    first = sum(counts[: comm.rank])
    lengths = np.zeros(local + 1, dtype=np.int64)
    for column, rows, _ in parts:
        lengths[column - first + 1] = len(rows)
    transposed = PETSc.Mat().createAIJ(
        (sizes[1], sizes[0]),
        csr=(
            np.cumsum(lengths).astype(np.int32),
            stack([rows for _, rows, _ in parts]),
            stack([values for *_, values in parts], float),
        ),
        comm=comm,
    )
    transposed.assemble()
    matrix = transposed.transpose(PETSc.Mat())
    transposed.destroy()
    return matrix


def block_vector(sizes: tuple[int, int], bs: int, comm: PETSc.Comm) -> PETSc.Vec:
    """Return a vector of (local, global) size in blocks. Collective."""
    vector = PETSc.Vec().create(comm=comm)
    vector.setSizes(sizes, bsize=bs)
    vector.setType(PETSc.Vec.Type.STANDARD)
    vector.set(0.0)
    return vector


def index_set(numbers: npt.ArrayLike, comm: PETSc.Comm | None = None) -> PETSc.IS:
    """Return a PETSc index set, of this rank alone unless a communicator is given."""
    return PETSc.IS().createGeneral(
        np.asarray(numbers, dtype=np.int32), comm=PETSc.COMM_SELF if comm is None else comm
    )


def local_submatrices(
    matrix: PETSc.Mat,
    rows: Sequence[npt.NDArray[np.int32]],
    columns: Sequence[npt.NDArray[np.int32]],
) -> list[PETSc.Mat]:
    """Return submatrices of a distributed matrix, each rank its own (collective).

    Args:
        matrix: AIJ matrix.
        rows: Global rows of each submatrix; as many sets on every rank.
        columns: Global columns of each submatrix.
    """
    return list(
        matrix.createSubMatrices([index_set(r) for r in rows], [index_set(c) for c in columns])
    )


class LocalRows:
    """The part of a distributed matrix that the patches of this rank see, fetched once.

    On one rank that is a copy of the matrix, on several the share of a rank and of the layers of
    its patches. A part costs its entries and O(1) for each column of the whole.

    Args:
        matrix: AIJ matrix.
        rows: Global rows of any number of parts, each ascending (collective; ranks differ).
        columns: Global columns of the parts, each ascending.
    """

    def __init__(
        self,
        matrix: PETSc.Mat,
        rows: Sequence[npt.NDArray[np.int32]],
        columns: Sequence[npt.NDArray[np.int32]],
    ) -> None:
        rows_in, columns_in = matrix.getSize()
        self._rows, self._columns = _union(rows, rows_in), _union(columns, columns_in)
        (self._matrix,) = local_submatrices(matrix, [self._rows], [self._columns])

    def part(self, rows: npt.NDArray[np.int32], columns: npt.NDArray[np.int32]) -> PETSc.Mat:
        """Return a submatrix (of this rank alone, not collective)."""
        return self._matrix.createSubMatrix(
            index_set(np.searchsorted(self._rows, rows)),
            index_set(np.searchsorted(self._columns, columns)),
        )

    def scipy_part(
        self, rows: npt.NDArray[np.int32], columns: npt.NDArray[np.int32]
    ) -> sp.csr_matrix:
        """Return a submatrix as a SciPy matrix (not collective)."""
        part = self.part(rows, columns)
        table = scipy_rows(part)
        part.destroy()
        return table

    def destroy(self) -> None:
        """Free the memory."""
        self._matrix.destroy()


def _union(sets: Sequence[npt.NDArray[np.int32]], size: int) -> npt.NDArray[np.int32]:
    met = np.zeros(size, dtype=bool)
    for numbers in sets:
        met[numbers] = True
    return np.flatnonzero(met).astype(np.int32)


def rows_of(matrix: PETSc.Mat, numbers: npt.NDArray[np.int32]) -> sp.csr_matrix:
    """Return some rows of an AIJ matrix, whichever rank owns them. Collective."""
    every = np.arange(matrix.getSize()[1], dtype=np.int32)
    (table,) = local_submatrices(matrix, [numbers], [every])
    rows = scipy_rows(table)
    table.destroy()
    return rows


def scipy_rows(matrix: PETSc.Mat) -> sp.csr_matrix:
    """Return the rows of an AIJ matrix that this rank owns, columns global."""
    indptr, columns, values = matrix.getValuesCSR()
    return sp.csr_matrix(
        (values, columns, indptr), shape=(matrix.getLocalSize()[0], matrix.getSize()[1])
    )


def whole_table(matrix: PETSc.Mat) -> sp.csr_matrix:
    """Return all rows of an AIJ matrix on every rank. Collective."""
    if matrix.comm.size == 1:
        return scipy_rows(matrix)
    rows, columns = (np.arange(n, dtype=np.int32) for n in matrix.getSize())
    (part,) = local_submatrices(matrix, [rows], [columns])
    table = scipy_rows(part)
    part.destroy()
    return table


def some_columns(table: sp.csr_matrix, chosen: npt.NDArray[np.bool_]) -> sp.csr_matrix:
    """Return a matrix with the entries of some columns alone."""
    on = chosen[table.indices]
    ends = np.concatenate([[0], np.cumsum(on)])[table.indptr]
    return sp.csr_matrix((table.data[on], table.indices[on], ends), shape=table.shape)


def columns_of_rows(table: sp.csr_matrix, rows: slice) -> npt.NDArray[Any]:
    """Return the columns of the entries of rows start..stop, as often as there are entries."""
    return np.asarray(table.indices[table.indptr[rows.start] : table.indptr[rows.stop]])


def dense_rows(
    table: sp.csr_matrix, rows: slice, columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return rows start..stop of a sparse matrix, dense, with the columns that hold its entries."""
    ends = table.indptr[rows.start : rows.stop + 1]
    dense = np.zeros((len(ends) - 1, len(columns)))
    entries = slice(ends[0], ends[-1])
    row = np.repeat(np.arange(len(dense)), np.diff(ends))
    dense[row, np.searchsorted(columns, table.indices[entries])] = table.data[entries]
    return dense


def interleave(parts: Sequence[PETSc.Mat]) -> PETSc.Mat:
    """Return the matrix that applies ``parts[i]`` to component i of vectors of len(parts) blocks.

    The parts have one shape and distribution; the result is an assembled AIJ matrix of that block
    size, with the union of the parts' patterns in each component, so that what is made from it has
    one pattern too. With one matrix repeated it is the Kronecker product P (x) I.
    """
    bs = len(parts)
    tables = {id(part): part.getValuesCSR() for part in parts}
    indptr, columns, values = _one_pattern([tables[id(part)] for part in parts], parts[0])
    counts = np.diff(indptr)
    # Row r of component c starts after the rows before it, each bs times as long as in one part.
    places = np.arange(len(columns)) + (bs - 1) * np.repeat(indptr[:-1].astype(np.int64), counts)
    stride = np.repeat(counts, counts)
    all_columns = np.empty(bs * len(columns), dtype=np.int32)
    all_values = np.empty(bs * len(columns))
    for component, data in enumerate(values):
        all_columns[places], all_values[places] = bs * columns + component, data
        places += stride
    all_indptr = np.concatenate([[0], np.cumsum(np.repeat(counts, bs))]).astype(np.int32)
    sizes = tuple(tuple(bs * n for n in pair) for pair in parts[0].getSizes())
    out = PETSc.Mat().createAIJ(
        sizes, bsize=bs, csr=(all_indptr, all_columns, all_values), comm=parts[0].comm
    )
    out.assemble()
    return out


def _one_pattern(
    tables: Sequence[tuple[npt.NDArray[Any], ...]], part: PETSc.Mat
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], list[npt.NDArray[np.float64]]]:
    """Return local CSR tables on the union of their patterns: indptr, columns, values of each."""
    if all(np.array_equal(table[i], tables[0][i]) for table in tables for i in (0, 1)):
        return tables[0][0], tables[0][1], [table[2] for table in tables]
    rows, n = part.getLocalSize()[0], np.int64(part.getSize()[1])
    keys = [np.repeat(np.arange(rows) * n, np.diff(table[0])) + table[1] for table in tables]
    union = np.unique(np.concatenate(keys))
    values = []
    for key, table in zip(keys, tables, strict=True):
        data = np.zeros(len(union))
        data[np.searchsorted(union, key)] = table[2]
        values.append(data)
    return np.searchsorted(union, np.arange(rows + 1) * n), union % n, values


def component_groups[T](parts: Sequence[T]) -> list[tuple[T, list[int]]]:
    """Return each different object with the components that share it: it is read once for them."""
    groups: dict[int, tuple[T, list[int]]] = {}
    for component, part in enumerate(parts):
        groups.setdefault(id(part), (part, []))[1].append(component)
    return list(groups.values())


def mean_component(matrix: PETSc.Mat) -> PETSc.Mat:
    """Return the mean of the three diagonal component blocks of a matrix in (n, 3) unknowns, AIJ.

    Collective.
    """
    start, end = matrix.getOwnershipRange()
    parts = []
    for component in range(3):
        rows = PETSc.IS().createStride((end - start) // 3, start + component, 3, matrix.comm)
        parts.append(matrix.createSubMatrix(rows, rows))
        rows.destroy()
    mean = parts[0]
    for part in parts[1:]:
        mean.axpy(1.0, part)
        part.destroy()
    mean.scale(1.0 / 3.0)
    return mean
