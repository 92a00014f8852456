# SPDX-License-Identifier: LGPL-3.0-or-later
"""The magnetic part of a mesh as a mesh of its own, and fields carried between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import check_kind
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import check_cell_tags
from dolfinx_llg.physics.interaction import mesh_id

__all__ = ["Magnet", "magnet_of"]


@dataclass(frozen=True)
class Magnet:
    """Cells of a mesh that carry a magnetization, as a submesh.

    Attributes:
        parent: The whole mesh.
        mesh: The submesh; it has the partition of the parent, so that a rank may own none of it.
        cell_map: Entity map for forms with coefficients of both meshes (``entity_maps=[...]``).
        cells: Parent cell of each local cell of the submesh, ghosts included.
        tags: Cell tags on the parent: 1 in the magnet.
    """

    parent: dolfinx.mesh.Mesh
    mesh: dolfinx.mesh.Mesh
    cell_map: Any
    cells: npt.NDArray[np.int32]
    tags: dolfinx.mesh.MeshTags

    def restrict(self, source: fem.Function, out: fem.Function | None = None) -> fem.Function:
        """Return a function of the parent (P1 or DG0, any shape) on the magnet, exactly.

        Args:
            source: Function on the parent mesh.
            out: Function on the magnet to fill; None: a new one.

        Raises:
            ValueError: If source or out lives on another mesh.
            TypeError: If source is no function.

        Note: Collective.
        """
        check_kind("source", source, fem.Function, "a fem.Function")
        if mesh_id(source.function_space.mesh) != mesh_id(self.parent):
            raise ValueError("source does not live on the parent mesh of this magnet")
        if out is not None and mesh_id(out.function_space.mesh) != mesh_id(self.mesh):
            raise ValueError("out does not live on the mesh of this magnet")
        if out is None:
            space = fem.functionspace(self.mesh, source.function_space.ufl_element())
            out = fem.Function(space, name=source.name)
        local = np.arange(len(self.cells), dtype=np.int32)
        out.interpolate(source, cells0=self.cells, cells1=local)
        out.x.scatter_forward()
        return out

    def restrict_tags(self, cell_tags: dolfinx.mesh.MeshTags) -> dolfinx.mesh.MeshTags:
        """Return the tags of the parent's cells as tags of the magnet's."""
        table = np.full(self._parent_cells(), -1, dtype=np.int64)
        table[cell_tags.indices] = cell_tags.values
        values = table[self.cells]
        tagged = np.flatnonzero(values != -1).astype(np.int32)
        tdim = self.mesh.topology.dim
        return dolfinx.mesh.meshtags(self.mesh, tdim, tagged, values[tagged].astype(np.int32))

    def _parent_cells(self) -> int:
        cells = self.parent.topology.index_map(self.parent.topology.dim)
        return int(cells.size_local + cells.num_ghosts)


@checked
def magnet_of(
    msh: dolfinx.mesh.Mesh, cell_tags: dolfinx.mesh.MeshTags | None, tags: Sequence[int]
) -> Magnet:
    """Return the cells with the given tags as a magnet.

    Args:
        msh: The whole mesh.
        cell_tags: Tags of its cells.
        tags: Tags of the magnetic regions.

    Raises:
        ValueError: If there are no tags, if none are asked for, or a tag asked for has no cell in
            the mesh; on all ranks alike.

    Note: Collective.
    """
    tdim = msh.topology.dim
    cell_tags = check_cell_tags(msh, cell_tags)
    wanted = sorted({int(tag) for tag in tags})
    if not wanted:
        raise ValueError("there is no magnet: give at least one tag of a magnetic region")
    found = np.unique(cell_tags.values).tolist()
    present = sorted({tag for part in msh.comm.allgather(found) for tag in part})
    if missing := [tag for tag in wanted if tag not in present]:
        raise ValueError(f"no cell has the tag(s) {missing}; the mesh has the tags {present}")
    # Through a DG0 function, as not every reader tags the ghosts.
    marker = fem.Function(fem.functionspace(msh, ("Discontinuous Lagrange", 0)))
    inside = cell_tags.indices[np.isin(cell_tags.values, wanted)]
    dofs = marker.function_space.dofmap.list.reshape(-1)
    marker.x.array[dofs[inside]] = 1.0
    marker.x.scatter_forward()
    cells = np.flatnonzero(marker.x.array[dofs] > 0.5).astype(np.int32)
    submesh, cell_map, _, _ = dolfinx.mesh.create_submesh(msh, tdim, cells)
    local = submesh.topology.index_map(tdim)
    index = np.arange(local.size_local + local.num_ghosts, dtype=np.int32)
    parents = np.asarray(cell_map.sub_topology_to_topology(index, inverse=False), dtype=np.int32)
    marked = dolfinx.mesh.meshtags(msh, tdim, cells, np.ones(len(cells), dtype=np.int32))
    return Magnet(msh, submesh, cell_map, parents, marked)
