# SPDX-License-Identifier: LGPL-3.0-or-later
"""The inside of one coarse cell, eliminated together with the functionals that see it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import scipy.sparse.linalg as spla

__all__ = ["Cell", "condense", "rows_of_cell"]

_DENSE = 1000
"""Dofs inside a cell up to which a dense solve is faster than a sparse one (J = 5 in 2D)."""


class Cell:
    """The inside of one coarse cell: x_I = by_u @ u + by_g @ g, and its shares of S and G.

    ``stiffness`` is the energy of g. ``schur`` lacks the entries of A between dofs of the skeleton,
    which cells share.
    """

    def __init__(
        self,
        inner: npt.NDArray[np.int32],
        skeleton: npt.NDArray[np.int32],
        rows: npt.NDArray[np.int32],
    ) -> None:
        self.inner, self.skeleton, self.rows = inner, skeleton, rows
        self.by_u = np.zeros((len(inner), len(skeleton)))
        self.by_g = np.zeros((len(inner), len(rows)))
        self.schur = np.zeros((len(skeleton), len(skeleton)))
        self.load = np.zeros((len(skeleton), len(rows)))
        self.stiffness = np.zeros((len(rows), len(rows)))


def condense(cell: Cell, a: sp.csr_matrix, psi: sp.csr_matrix) -> None:
    """Eliminate a cell's inside: store its shares of S and G and its recovery."""
    n, r = len(cell.inner), len(cell.rows)
    # The entries of the energy and of the functionals may differ by many orders of magnitude: both
    # are scaled to a largest entry of one.
    scale = float(np.abs(a.data).max()) if a.nnz else 1.0
    a = a / scale
    dense = psi.toarray()
    weight = np.abs(dense).max(axis=1)
    dense /= weight[:, None]
    right = np.zeros((n + r, len(cell.skeleton) + r))
    right[:n, : len(cell.skeleton)] = a[:, n:].toarray()
    right[n:, : len(cell.skeleton)] = dense[:, n:]
    right[n:, len(cell.skeleton) :] = np.diag(1.0 / weight)
    coupling = right[:, : len(cell.skeleton)]
    if n <= _DENSE:
        matrix = np.zeros((n + r, n + r))
        matrix[:n, :n] = a[:, :n].toarray()
        matrix[n:, :n], matrix[:n, n:] = dense[:, :n], dense[:, :n].T
        solution = np.linalg.solve(matrix, right)
    else:
        inside = sp.csr_matrix(dense[:, :n])
        solution = _sparse_solve(
            sp.bmat([[a[:, :n], inside.T], [inside, None]], format="csc"), right
        )
    s = len(cell.skeleton)
    cell.by_u, cell.by_g = -solution[:n, :s], solution[:n, s:]
    schur = -scale * (coupling.T @ solution[:, :s])
    energy = cell.by_g.T @ (a[:, :n] @ cell.by_g)
    cell.stiffness = 0.5 * scale * (energy + energy.T)
    cell.schur, cell.load = 0.5 * (schur + schur.T), scale * (coupling.T @ solution[:, s:])


def _sparse_solve(matrix: sp.csc_matrix, right: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(spla.splu(matrix).solve(right))
    except RuntimeError as error:  # exactly singular
        raise np.linalg.LinAlgError(str(error)) from error


def rows_of_cell(
    table: sp.csr_matrix, start: int, end: int, position: npt.NDArray[np.int64], width: int
) -> sp.csr_matrix:
    """Rows start..end of a sparse matrix, column j put at position[j]."""
    a, b = table.indptr[start], table.indptr[end]
    return sp.csr_matrix(
        (table.data[a:b], position[table.indices[a:b]], table.indptr[start : end + 1] - a),
        shape=(end - start, width),
    )
