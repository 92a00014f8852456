# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The stray field's energy in a coarse space, as one dense matrix.

In the terms of ``stray_field.operator``, with the columns of the prolongation P for m,

.. math:: D_H = -P^T D P = U^T K U + \Sigma^T V \Sigma, \qquad
          K_{ii} U = (G P)_i, \quad \Sigma = \sigma(P),

the energy 1/2 <m, -h(m)> of the operator by its first half alone: one Poisson solve a column and
no transpose of the charge. Columns go in batches, through one factorization of K_ii; the entries
of one triangle are computed and mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from dolfinx_llg.la.matrices import dense_product, scipy_rows
from dolfinx_llg.stray_field.operator import StrayOperator

__all__ = ["galerkin_matrix"]

type Floats = npt.NDArray[np.float64]

FUNCTIONS = 64  # of a batch, three columns each
ROWS = 4096  # of P that are made dense at a time


def galerkin_matrix(
    operator: StrayOperator, components: Sequence[PETSc.Mat], *, progress: bool
) -> Floats:
    """Return D_H of a coarse space, symmetric, positive semidefinite but for the solves' errors.

    Args:
        operator: The stray field of the fine space.
        components: Scalar prolongation of each component of m, shape (n_h, n_H), AIJ.
        progress: Whether rank 0 shows a progress bar.

    Returns:
        Shape (3 n_H, 3 n_H), function by function, the same on every rank.

    Raises:
        ConvergenceError: If a Poisson solve failed.

    Note: Collective. Memory of each rank: the result, 72 n_H^2 bytes; the charges of all columns,
    24 n_H bytes for each split boundary node; and some 5 kB a node of it for one batch.
    """
    comm, scale = operator.comm, operator.surface.length**3
    tables: dict[int, Any] = {id(P): scipy_rows(P) for P in components}
    columns = {key: table.tocsc() for key, table in tables.items()}
    keys = [id(P) for P in components]
    count = components[0].getSize()[1]
    gradients = operator.component_gradients()
    transposed = operator.component_gradients(transposed=True)
    interior = operator.interior.factorized()
    nodes = operator.layer.n
    charges = np.zeros((nodes, 3 * count))
    limits = np.arange(comm.size + 1) * nodes // comm.size
    own = slice(*limits[comm.rank : comm.rank + 2].tolist())
    D = np.zeros((3 * count, 3 * count))
    starts = range(0, count, FUNCTIONS)
    for first in tqdm(
        starts, "stray field in the coarse space", disable=not progress or comm.rank > 0
    ):
        last = min(first + FUNCTIONS, count)
        batch = slice(3 * first, 3 * last)
        parts = {key: table[:, first:last].toarray() for key, table in columns.items()}
        g = np.stack(
            [dense_product(G, parts[key]) for G, key in zip(gradients, keys, strict=True)], 2
        )
        inner, sigma = operator.first_half(
            g.reshape(len(g), -1), _boundary_trace(operator, parts, keys), interior
        )
        charges[:, batch] = sigma
        t = operator.layer.apply(sigma)
        D[: batch.stop, batch] += charges[own, : batch.stop].T @ t[own]
        u = np.zeros((len(g), 3 * (last - first)))
        u[operator.inner_nodes] = inner
        for a, (GT, key) in enumerate(zip(transposed, keys, strict=True)):
            D[a : batch.stop : 3, batch] += _restricted(tables[key], dense_product(GT, u), last)
    for item in (*gradients, *transposed):
        item.destroy()
    if interior is not operator.interior:
        interior.destroy()
    if comm.size > 1:
        comm.Allreduce(MPI.IN_PLACE, D, op=MPI.SUM)
    upper = np.triu(D)
    return np.asarray(scale * (upper + np.triu(D, 1).T))


def _boundary_trace(
    operator: StrayOperator, parts: dict[int, Floats], keys: Sequence[int]
) -> Floats:
    """Return the columns as magnetizations at this rank's boundary nodes, shape (nodes, 3, k)."""
    b, width = operator.boundary_nodes, next(iter(parts.values())).shape[1]
    trace = np.zeros((len(b), 3, width, 3))
    for a, key in enumerate(keys):
        trace[:, a, :, a] = parts[key][b]
    return trace.reshape(len(b), 3, 3 * width)


def _restricted(P: Any, W: Floats, last: int) -> Floats:
    """Return the first rows of P^T W of this rank's nodes; dense products are the fastest here."""
    out = np.zeros((last, W.shape[1]))
    for start in range(0, len(W), ROWS):
        rows = slice(start, start + ROWS)
        out += P[rows, :last].toarray().T @ W[rows]
    return out
