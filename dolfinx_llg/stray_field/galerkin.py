# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The stray field's energy in a coarse space, as one dense matrix.

In the terms of ``stray_field.operator``, with the columns of the prolongation P for m,

.. math:: D_H = -P^T D P = U^T K U + \Sigma^T V \Sigma, \qquad
          K_{ii} U = (G P)_i, \quad \Sigma = \sigma(P),

the energy 1/2 <m, -h(m)> of the operator by its first half alone: one Poisson solve a column and
no transpose of the charge. The entries of one triangle are computed and mirrored.

Ranks share the columns, not the nodes: each holds the whole matrices and a factorization of K_ii of
its own, and works through batches of its columns. The product with V alone is shared by blocks, so
that in each round the charges of all ranks' batches are exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy import sparse
from tqdm import tqdm

from dolfinx_llg.collective import together
from dolfinx_llg.la.matrices import component_groups, whole_table
from dolfinx_llg.stray_field.operator import StrayOperator, WholeMagnet

__all__ = ["galerkin_matrix"]

type Floats = npt.NDArray[np.float64]
type Groups = list[tuple[sparse.csr_matrix, list[int]]]

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

    Note: Collective. Memory of each rank, whatever their number: the result, 72 n_H^2 bytes, and
    four times that at the end; the charges of all columns, 24 n_H bytes for each split boundary
    node; 24 bytes for each entry of P; some 9 kB for each node of the mesh for one batch; the
    matrices, 1.3 kB a node, and the factors of K_ii. At 512 functions on 69,000 nodes 1.9 GB.
    """
    comm, count = operator.comm, components[0].getSize()[1]
    groups = [(whole_table(P), members) for P, members in component_groups(components)]
    columns = [(table.tocsc(), members) for table, members in groups]
    magnet = operator.whole()
    charges = np.zeros((operator.layer.n, 3, count))
    D = np.zeros((3, count, 3, count))
    rounds = _rounds(count, comm.size)
    for shares in tqdm(
        rounds, "stray field in the coarse space", disable=not progress or comm.rank > 0
    ):
        own = shares[comm.rank]
        with together(comm):
            u, sigma = _first_half(magnet, columns, own)
            _add_products(D, groups, magnet, u, own)
        for share, part in zip(shares, _exchanged(comm, sigma, shares), strict=True):
            charges[:, :, share] = part
        every = slice(min(s.start for s in shares), max(s.stop for s in shares))
        t = operator.layer.apply(charges[:, :, every].reshape(len(charges), -1))
        mine = slice(own.start - every.start, own.stop - every.start)
        t = t.reshape(len(t), 3, -1)[:, :, mine]
        for a in range(3):
            D[a, : own.stop, :, own] += np.tensordot(charges[:, a, : own.stop], t, (0, 0))
    if magnet.interior is not operator.interior:
        magnet.interior.destroy()
    if comm.size > 1:
        comm.Allreduce(MPI.IN_PLACE, D, op=MPI.SUM)
    D = D.transpose(1, 0, 3, 2).reshape(3 * count, 3 * count)
    upper = np.triu(D)
    return np.asarray(operator.surface.length**3 * (upper + np.triu(D, 1).T))


def _rounds(count: int, ranks: int) -> list[list[slice]]:
    """Return the functions of each rank in each round, about as many for all."""
    number = -(-count // (FUNCTIONS * ranks))
    ends = (np.arange(number * ranks + 1) * count // (number * ranks)).tolist()
    shares = [slice(first, last) for first, last in pairwise(ends)]
    rounds = [shares[k : k + ranks] for k in range(0, len(shares), ranks)]
    # To and fro: later columns have more entries above the diagonal.
    return [shares[::-1] if k % 2 else shares for k, shares in enumerate(rounds)]


def _first_half(
    magnet: WholeMagnet, columns: list[tuple[sparse.csc_matrix, list[int]]], own: slice
) -> tuple[Floats, Floats]:
    """Return U at all nodes and the charges of some functions, component by component."""
    nodes, width = columns[0][0].shape[0], own.stop - own.start
    g = np.empty((nodes, 3, width))
    trace = np.zeros((len(magnet.outer), 3, 3, width))
    for table, members in columns:
        dense = table[:, own].toarray(order="C")
        for a in members:
            g[:, a] = magnet.gradients[a] @ dense
            trace[:, a, a] = dense[magnet.outer]
    g, trace = (x.reshape(*x.shape[:-2], 3 * width) for x in (g, trace))
    inner, sigma = magnet.first_half(g, trace)
    u = np.zeros((nodes, 3 * width))
    u[magnet.inner] = inner
    return u, sigma


def _add_products(D: Floats, groups: Groups, magnet: WholeMagnet, u: Floats, own: slice) -> None:
    """Add P^T G^T U to the entries above the diagonal of this rank's columns."""
    width = own.stop - own.start
    for table, members in groups:
        images = [magnet.gradients[a].T @ u for a in members]
        for start in range(0, len(u), ROWS):  # dense products are the fastest here
            rows = slice(start, start + ROWS)
            dense = table[rows].toarray()[:, : own.stop].T
            for a, image in zip(members, images, strict=True):
                D[a, : own.stop, :, own] += (dense @ image[rows]).reshape(own.stop, 3, width)


def _exchanged(comm: MPI.Comm, sigma: Floats, shares: list[slice]) -> list[Floats]:
    """Return the charges of every rank's functions, shape (split nodes, 3, functions)."""
    n = len(sigma)
    widths = np.array([share.stop - share.start for share in shares])
    if comm.size == 1:
        return [sigma.reshape(n, 3, int(widths[0]))]
    received = np.empty((3 * int(widths.sum()), n))
    comm.Allgatherv(np.ascontiguousarray(sigma.T), [received, 3 * widths * n])
    parts = np.split(received, np.cumsum(3 * widths)[:-1])
    return [part.reshape(3, len(part) // 3, n).transpose(2, 0, 1) for part in parts]
