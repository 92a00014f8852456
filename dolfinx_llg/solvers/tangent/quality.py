# SPDX-License-Identifier: LGPL-3.0-or-later
"""Angles of a mesh, on which it depends whether nodal projection lowers the exchange energy."""

from __future__ import annotations

import dolfinx
import numpy as np

__all__ = ["count_obtuse_cells"]


def count_obtuse_cells(mesh: dolfinx.mesh.Mesh) -> tuple[int, int]:
    """Return the number of simplices with an obtuse (dihedral) angle, and of all cells.

    An angle is obtuse where grad phi_i . grad phi_j > 0 for two nodes of the cell; without such
    cells the stiffness has no positive off-diagonal entry for any scalar kappa > 0. Other cells
    than simplices are not looked at (0 is returned for them).

    Note: Collective; the same on every rank.
    """
    dim = mesh.topology.dim
    count = mesh.topology.index_map(dim).size_local
    obtuse = 0
    if mesh.topology.cell_name() in ("triangle", "tetrahedron"):
        x = mesh.geometry.x[mesh.geometry.dofmaps[0][:count, : dim + 1]]
        edges = x[:, 1:] - x[:, :1]
        gram = np.linalg.inv(edges @ edges.transpose(0, 2, 1))  # of grad phi_1, ..., grad phi_d
        first = -gram.sum(axis=1)  # grad phi_0 = -(grad phi_1 + ...)
        size = gram.max(axis=(1, 2), initial=0.0)
        for i in range(dim):
            gram[:, i, i] = -size
        largest = np.maximum(gram.max(axis=(1, 2)), first.max(axis=1))
        obtuse = int(np.count_nonzero(largest > 1e-10 * size))
    both = np.sum(mesh.comm.allgather((obtuse, count)), axis=0)
    return int(both[0]), int(both[1])
