# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Products :math:`P^T A Q` of functions of which many overlap at each node, piece by piece.

A sparse product with s entries in each row of P does s^2 multiplications a row through indices, and
holds A Q, which is larger than Q. Rows in which one function is the largest see nearly the same
functions, the patches around it: taken together they are a dense matrix, and the product of a piece
is one of dense matrices. Beside P no more is held than its rows at the neighbours, and the result.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.la.matrices import local_submatrices, scipy_rows

__all__ = ["is_wide", "wide_product"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_ENTRIES = 48
"""Entries in a row from which dense pieces are the faster ones."""

_LARGEST = 4096
"""Columns up to which the result, which is dense, is held by each rank (134 MB)."""

_ROWS = 512
"""Largest number of rows of a piece."""


def is_wide(P: PETSc.Mat) -> bool:
    """Whether pieces pay: many entries in a row, few columns. Collective."""
    entries = P.getInfo(PETSc.Mat.InfoType.GLOBAL_SUM)["nz_used"]
    rows, columns = P.getSize()
    return bool(columns <= _LARGEST and entries >= _ENTRIES * rows)


def wide_product(A: PETSc.Mat, left: PETSc.Mat, right: PETSc.Mat) -> PETSc.Mat:
    """Return left^T A right, AIJ, rows and columns distributed like those of the factors.

    Args:
        A: Sparse matrix, shape (n, n), AIJ.
        left: Shape (n, k), AIJ, rows distributed like A's.
        right: Shape (n, l).

    Note: Collective. Memory of a rank beside the factors: 8 k l bytes, twice on several ranks, and
    copies of its rows of the factors and of the rows next to them.
    """
    comm = A.comm.tompi4py()
    P = scipy_rows(left)
    Q = P if right is left else scipy_rows(right)
    table, ghosts = _local(A)
    every = np.arange(right.getSize()[1], dtype=np.int32)
    (part,) = local_submatrices(right, [ghosts], [every])
    beyond = scipy_rows(part)
    part.destroy()
    n = Q.shape[0]
    out = np.zeros((P.shape[1], Q.shape[1]))
    for rows in _pieces(P):
        piece = table[rows]
        neighbours, place = _met(piece.indices, n + len(ghosts))
        shape = (len(rows), len(neighbours))
        piece = sp.csr_matrix((piece.data, place, piece.indptr), shape=shape)
        own, P_piece = _dense(P[rows])
        inside = int(np.searchsorted(neighbours, n))
        around = Q[neighbours[:inside]]
        if inside < len(neighbours):
            around = sp.vstack([around, beyond[neighbours[inside:] - n]], format="csr")
        seen, Q_piece = _dense(around)
        out[np.ix_(own, seen)] += P_piece.T @ (piece @ Q_piece)
    if comm.size > 1:
        comm.Allreduce(MPI.IN_PLACE, out, op=MPI.SUM)
    first, last = left.getOwnershipRangeColumn()
    mine = sp.csr_matrix(out[first:last])
    sizes = (left.getSizes()[1], right.getSizes()[1])
    csr = (mine.indptr, mine.indices, mine.data)
    product = PETSc.Mat().createAIJ(sizes, csr=csr, comm=A.comm)
    product.assemble()
    return product


def _local(A: PETSc.Mat) -> tuple[sp.csr_matrix, npt.NDArray[np.int32]]:
    """Return this rank's rows of A, its own columns first, and the global numbers of the others."""
    indptr, columns, values = A.getValuesCSR()
    first, last = A.getOwnershipRangeColumn()
    away = (columns < first) | (columns >= last)
    ghosts = np.unique(columns[away])
    local = columns - first
    local[away] = last - first + np.searchsorted(ghosts, columns[away])
    shape = (len(indptr) - 1, last - first + len(ghosts))
    return sp.csr_matrix((values, local, indptr), shape=shape), ghosts


def _pieces(P: sp.csr_matrix) -> list[IntArray]:
    """Return the rows in pieces, each of rows in which one column is the largest."""
    full = np.flatnonzero(np.diff(P.indptr))
    if not len(full):
        return []
    size = np.abs(P.data)
    largest = np.maximum.reduceat(size, P.indptr[full])
    at = np.flatnonzero(size == np.repeat(largest, np.diff(P.indptr)[full]))
    first = at[np.searchsorted(at, P.indptr[full])]
    column = P.indices[first]
    order = np.argsort(column, kind="stable")
    groups = np.split(full[order], np.flatnonzero(np.diff(column[order])) + 1)
    return [part for group in groups for part in np.array_split(group, -(-len(group) // _ROWS))]


def _dense(part: Any) -> tuple[IntArray, FloatArray]:
    """Return the columns in which a sparse matrix has entries, and it with these alone."""
    columns, place = _met(part.indices, part.shape[1])
    dense = np.zeros((part.shape[0], len(columns)))
    dense[np.repeat(np.arange(part.shape[0]), np.diff(part.indptr)), place] = part.data
    return columns, dense


def _met(numbers: npt.NDArray[Any], size: int) -> tuple[IntArray, npt.NDArray[np.int32]]:
    """Return the different ones of some numbers below ``size``, and the place of each in them."""
    place = np.zeros(size, dtype=np.int32)
    place[numbers] = 1
    found = np.flatnonzero(place)
    place[found] = np.arange(len(found), dtype=np.int32)
    return found, place[numbers]
