# SPDX-License-Identifier: LGPL-3.0-or-later
"""Numbers of the nodes of a refined mesh that are the same on any number of ranks.

DOLFINx numbers new nodes rank by rank. What is drawn by the number of a node (thermal noise, random
directions) is to be the same on any ranks, as on the mesh that was refined: a node that was a
vertex of a parent cell keeps its number, a new one gets one from those of the vertices of the edge,
face or cell in whose middle it lies, by the mixing of Philox (62 bits: two nodes of a million share
one with the probability 1e-7).
"""

from __future__ import annotations

import basix
import numpy as np
import numpy.typing as npt
from dolfinx import la, mesh

from dolfinx_llg.philox import philox

__all__ = ["inherited_numbers"]

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_KEY = 0x243F6A88, 0x85A308D3


def inherited_numbers(
    parent: mesh.Mesh, fine: mesh.Mesh, cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the number of each node of a uniformly refined mesh, ghosts included.

    Args:
        parent: The mesh that was refined, of straight cells.
        fine: The refined mesh.
        cells: Local parent cell of each fine cell that this rank owns.

    Note: Collective.
    """
    kind = basix.CellType[parent.topology.cell_type.name]
    corners = basix.geometry(kind).shape[0]
    entities = [entity for dimension in basix.topology(kind) for entity in dimension]
    nodes = parent.geometry.dofmaps[0][cells, :corners]
    x, known = parent.geometry.x[nodes], parent.geometry.input_global_indices[nodes]
    own = fine.geometry.dofmaps[0][: len(cells), :corners]
    at = fine.geometry.x[own]
    nearest, found = np.full(own.shape, np.inf), np.zeros(own.shape, dtype=np.int64)
    for entity in entities:
        distance = np.linalg.norm(at - x[:, entity].mean(axis=1)[:, None, :], axis=2)
        here = distance < nearest
        nearest = np.where(here, distance, nearest)
        found = np.where(here, _mixed(known[:, entity])[:, None], found)
    numbers = la.vector(fine.geometry.index_map(), 1, dtype=np.int64)
    numbers.array[own.ravel()] = found.ravel()
    numbers.scatter_forward()
    return np.asarray(numbers.array.copy())


def _mixed(vertices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return one number for each row of vertices, whatever their order."""
    columns = np.sort(vertices, axis=1).astype(np.uint64).T
    mixed = columns[0]
    for other in columns[1:]:
        a, b, _, _ = philox((mixed & _LOW, mixed >> _HALF, other & _LOW, other >> _HALF), _KEY)
        mixed = ((a >> np.uint64(2)) << _HALF) | b
    return np.asarray(mixed.astype(np.int64))
