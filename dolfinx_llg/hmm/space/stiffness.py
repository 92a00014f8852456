# SPDX-License-Identifier: LGPL-3.0-or-later
"""The operator of a micro problem on its grid, as sparse matrices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.hmm.space.box import (
    GHOST,
    MicroBox,
    edges_of,
    free_nodes,
    periodic_edges,
    representatives,
)

__all__ = ["stiffness"]

Array = npt.NDArray[np.float64]


def _laplacian(
    low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], kappa: Array, n: int
) -> sp.csr_matrix:
    """Sum over the edges of ``kappa (m_high - m_low)``, at both ends."""
    rows = np.concatenate([low, high, low, high])
    columns = np.concatenate([high, low, low, high])
    values = np.concatenate([kappa, kappa, -kappa, -kappa])
    return sp.coo_matrix((values, (rows, columns)), (n, n)).tocsr()


def _ghosts(box: MicroBox, edges: Array) -> sp.csr_matrix:
    """What edges beyond the sides add for smooth data, which is extrapolated by one node."""
    index, n = np.arange(box.n_nodes).reshape(box.shape), box.n_nodes
    total = sp.csr_matrix((n, n))
    for axis, part in enumerate(edges_of(box)[2]):
        shape = tuple(box.n_cells + (k != axis) for k in range(box.dim))
        kappa = np.moveaxis(edges[part].reshape(shape), axis, 0)
        # The coefficient is periodic: on the edge that leaves the box on one side it is that of the
        # last edge inside at the opposite side.
        for nodes, beyond in ((index, kappa[-1]), (np.flip(index, axis), kappa[0])):
            near = np.moveaxis(nodes, axis, 0)[: len(GHOST)].reshape(len(GHOST), -1)
            weights = GHOST.copy()
            weights[0] -= 1.0
            values = weights[:, None] * beyond.ravel()
            rows = np.broadcast_to(near[0], near.shape)
            total = total + sp.coo_matrix((values.ravel(), (rows.ravel(), near.ravel())), (n, n))
    return total.tocsr()


def stiffness(box: MicroBox, edges: Array) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    r"""The operator :math:`m \mapsto \nabla \cdot (\kappa \nabla m)` of P boxes, one after another.

    It acts on :math:`m_{init}`, smooth and given on the whole box, and on the perturbation
    :math:`m - m_{init}`, which obeys the boundary condition.

    Args:
        box: The box.
        edges: Coefficients of the edges, shape (P, n_edges), see :func:`sample_edges`.

    Returns:
        Two block-diagonal matrices of size P n_nodes, L of m_init and L_0 of the perturbation. With
        Dirichlet conditions the rows of boundary nodes are empty in both, and L_0 is L without the
        columns of these nodes. In a periodic box L has all rows (beyond the sides m_init is
        extrapolated), and L_0 has the columns of the unknown nodes; its rows at the upper sides
        are those opposite.
    """
    low, high, _ = edges_of(box)
    free, n = free_nodes(box), box.n_nodes
    chosen = sp.diags(free.astype(np.float64))
    wrap, keep = representatives(box), periodic_edges(box)
    whole, perturbation = [], []
    for kappa in edges / box.spacing**2:
        L = _laplacian(low, high, kappa, n)
        if box.periodic:
            L0 = _laplacian(wrap[low[keep]], wrap[high[keep]], kappa[keep], n)[wrap]
            L = L + _ghosts(box, kappa)
        else:
            L = chosen @ L
            L0 = L @ chosen
        for matrix in (L, L0):
            matrix.eliminate_zeros()
        whole.append(L)
        perturbation.append(L0)
    return sp.block_diag(whole, format="csr"), sp.block_diag(perturbation, format="csr")
