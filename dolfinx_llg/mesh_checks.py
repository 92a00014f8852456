# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a mesh must be for the rest to make sense, checked on all ranks alike.

A cell without volume gives NaN in one rank's matrices and an error there alone; nodes that
coincide without being shared cut exchange in silence; a domain that is no box has no opposite
faces. None of this can be told from a result.
"""

from __future__ import annotations

import math

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from scipy.spatial import cKDTree

from dolfinx_llg.checks import warn
from dolfinx_llg.collective import from_root, raise_together, total
from dolfinx_llg.jit import compile_form

__all__ = [
    "boundary_facets",
    "cell_volumes",
    "check_entities",
    "check_fills_box",
    "check_mesh",
    "check_periodic_box",
    "warn_of_coinciding_nodes",
]

#: Volume over the dim-th power of the longest edge below which a cell counts as flat: far above
#: the round-off of coordinates, far below any sliver that a mesh generator lets pass.
_FLAT = 1e-14
#: Distance of nodes that coincide, relative to the size of the mesh: see ``checkpoint``.
_SAME_PLACE = 1e-10


def check_mesh(mesh: dolfinx.mesh.Mesh) -> None:
    """Raise ValueError on all ranks alike for a mesh on which nothing can be computed.

    Raises:
        ValueError: If its coordinates are in single precision or not finite, or a cell has no
            volume, with the place.

    Note: Collective.
    """
    x = mesh.geometry.x
    if x.dtype != np.float64:
        raise ValueError(
            f"the mesh has coordinates of type {x.dtype}: make it in double precision "
            "(dtype=numpy.float64)"
        )
    message = None
    if not np.all(np.isfinite(x)):
        message = "the mesh has coordinates that are not finite"
    raise_together(mesh.comm, message)
    tdim = mesh.topology.dim
    owned = mesh.topology.index_map(tdim).size_local
    longest = mesh.h(tdim, np.arange(owned, dtype=np.int32)) if owned else np.zeros(0)
    bad = np.flatnonzero(~(cell_volumes(mesh)[:owned] > _FLAT * longest**tdim))
    if len(bad):
        corners = x[mesh.geometry.dofmaps[0][bad[0]], : mesh.geometry.dim]
        message = (
            f"{len(bad)} cell(s) of the mesh have no volume, the first with the corners "
            f"{np.round(corners, 12).tolist()}: repair the mesh"
        )
    raise_together(mesh.comm, message)


def cell_volumes(mesh: dolfinx.mesh.Mesh) -> npt.NDArray[np.float64]:
    """Volumes (areas, lengths) of the cells of this rank, ghosts included.

    Note: Collective, where the cells are no simplices.
    """
    tdim = mesh.topology.dim
    cells = mesh.geometry.dofmaps[0]
    if cells.shape[1] == tdim + 1:  # affine simplices
        corners = mesh.geometry.x[cells]
        edges = corners[:, 1:] - corners[:, :1]
        if tdim == 3:
            # Written out: np.linalg.det takes five times as long for such small matrices.
            (ax, ay, az), (bx, by, bz), (cx, cy, cz) = np.moveaxis(edges, 0, -1)
            triple = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            return np.asarray(np.abs(triple) / 6.0)
        if tdim == 2:
            normal = np.cross(edges[:, 0], edges[:, 1])
            return np.asarray(np.linalg.norm(normal, axis=1) / 2.0)
        return np.asarray(np.linalg.norm(edges[:, 0], axis=1))
    space = fem.functionspace(mesh, ("Discontinuous Lagrange", 0))
    volume = ufl.TestFunction(space) * ufl.dx(domain=mesh)
    found = fem.Function(space)
    found.x.array[:] = fem.assemble_vector(compile_form(volume)).array
    found.x.scatter_forward()
    return np.asarray(found.x.array[space.dofmap.list.reshape(-1)])


def boundary_facets(mesh: dolfinx.mesh.Mesh) -> npt.NDArray[np.int32]:
    """Geometry nodes of the vertices of each exterior facet of this rank, shape (n, vertices)."""
    tdim = mesh.topology.dim
    mesh.topology.create_connectivity(tdim - 1, tdim)
    mesh.topology.create_connectivity(tdim - 1, 0)
    facets = dolfinx.mesh.exterior_facet_indices(mesh.topology)
    return np.asarray(dolfinx.mesh.entities_to_geometry(mesh, tdim - 1, facets), dtype=np.int32)


def check_entities(
    mesh: dolfinx.mesh.Mesh, dim: int, rows: npt.NDArray[np.int64], what: str
) -> None:
    """Raise ValueError on all ranks unless tagged entities are entities of the mesh, each once.

    Args:
        mesh: The mesh, its entities of this dimension made.
        dim: Their dimension.
        rows: Nodes of the tagged entities in the numbers of the file, this rank's part.
        what: Name of the file.

    Note: Collective.
    """
    mesh.topology.create_connectivity(dim, 0)
    entities = mesh.topology.index_map(dim)
    local = np.arange(entities.size_local + entities.num_ghosts, dtype=np.int32)
    nodes = dolfinx.mesh.entities_to_geometry(mesh, dim, local)
    known = np.sort(mesh.geometry.input_global_indices[nodes], axis=1)
    width = known.shape[1]
    parts = mesh.comm.allgather(np.asarray(rows, dtype=np.int64)[:, :width])
    if any(part.shape[1:] != (width,) for part in parts if len(part)):
        raise ValueError(f"{what}: tagged entities of dimension {dim} are of another type")
    tagged = np.sort(np.concatenate([part.reshape(-1, width) for part in parts]), axis=1)
    unique = np.unique(tagged, axis=0)
    both, inverse = np.unique(np.concatenate([unique, known]), axis=0, return_inverse=True)
    here = np.zeros(len(both), dtype=bool)
    here[inverse.ravel()[len(unique) :]] = True
    seen = np.any(mesh.comm.allgather(here[inverse.ravel()[: len(unique)]]), axis=0)
    name = "cells" if dim == mesh.topology.dim else "facets"
    if not np.all(seen):
        raise ValueError(
            f"{what}: {int(np.sum(~seen))} of {len(unique)} tagged {name} bound no cell of the "
            f"mesh, the first with the nodes {unique[~seen][0].tolist()}: leave them out"
        )
    if len(unique) < len(tagged):
        raise ValueError(
            f"{what}: {len(tagged) - len(unique)} of the tagged {name} are listed twice: each has "
            "one tag"
        )


def warn_of_coinciding_nodes(mesh: dolfinx.mesh.Mesh, what: str) -> None:
    """Warn on all ranks where nodes of the boundary coincide: no energy crosses there.

    Bodies that touch need common nodes (``gmsh.model.occ.fragment`` before meshing).

    Args:
        mesh: The mesh.
        what: Name of the mesh in the warning (its file).

    Note: Collective; the nodes of the boundary are gathered on rank 0.
    """
    nodes = np.unique(boundary_facets(mesh))
    numbers = mesh.geometry.index_map().local_to_global(nodes.astype(np.int32))
    parts = mesh.comm.gather((numbers, mesh.geometry.x[nodes]), root=0)

    def find() -> tuple[int, list[float]]:
        assert parts is not None
        _, first = np.unique(np.concatenate([part[0] for part in parts]), return_index=True)
        x = np.concatenate([part[1] for part in parts])[first]
        if len(x) == 0:
            return 0, []
        size = float(np.linalg.norm(np.ptp(x, axis=0)))
        pairs = cKDTree(x).query_pairs(_SAME_PLACE * size, output_type="ndarray")
        where = x[pairs[0, 0], : mesh.geometry.dim].tolist() if len(pairs) else []
        return len(pairs), where

    count, where = from_root(mesh.comm, find)
    if count:
        warn(
            f"{what}: {count} node(s) of the boundary coincide with another without being shared, "
            f"the first at {where}: exchange cannot cross from one body to the other there; make "
            "the interface conforming (fragment the bodies before meshing)"
        )


def check_periodic_box(mesh: dolfinx.mesh.Mesh, axes: list[int]) -> None:
    """Raise ValueError on all ranks unless a mesh can be closed to a torus along the axes.

    Opposite faces of the bounding box must be covered by facets. Whatever else bounds the mesh
    must be parallel to the axes (a wire along its axis) or lie inside (holes): then the corners
    of the box belong to the mesh.

    Note: Collective.
    """
    x, gdim = mesh.geometry.x, mesh.geometry.dim
    if mesh.topology.dim != gdim:
        raise ValueError(
            f"a periodic mesh must fill its box: this one has cells of dimension "
            f"{mesh.topology.dim} in {gdim} dimensions"
        )
    comm = mesh.comm
    parts = comm.allgather((x.min(axis=0, initial=math.inf), x.max(axis=0, initial=-math.inf)))
    lower = np.min([low for low, _ in parts], axis=0)
    upper = np.max([high for _, high in parts], axis=0)
    tol = 1e-8 * float(np.max(upper - lower))
    facets = x[boundary_facets(mesh)]
    normal = np.abs(_normals(facets, gdim))
    local = np.zeros((3, 3))  # facets at lower and upper face, and oblique ones, by axis
    for axis in axes:
        at_lower = np.all(np.abs(facets[:, :, axis] - lower[axis]) < tol, axis=1)
        at_upper = np.all(np.abs(facets[:, :, axis] - upper[axis]) < tol, axis=1)
        oblique = ~at_lower & ~at_upper & (normal[:, axis] > 1e-6)
        local[:, axis] = at_lower.sum(), at_upper.sum(), oblique.sum()
    counts = np.sum(comm.allgather(local), axis=0)
    corners = np.array(np.meshgrid(*zip(lower, upper, strict=True))).reshape(3, -1).T
    corners = np.unique(corners, axis=0)
    seen = [bool(np.any(np.all(np.abs(x - corner) < tol, axis=1))) for corner in corners]
    whole = np.all(np.any(comm.allgather(seen), axis=0))
    for axis in axes:
        below, above, oblique = counts[:, axis].astype(int).tolist()
        if not below or not above or (oblique and not whole):
            raise ValueError(
                f"the mesh is not periodic along axis {axis}: its bounding box from "
                f"{lower[:gdim].tolist()} to {upper[:gdim].tolist()} has {below} and {above} "
                f"facets on the two faces across the axis, and {oblique} boundary facets are "
                "oblique to it; a periodic mesh fills an axis-parallel box with matching faces"
            )


def check_box(mesh: dolfinx.mesh.Mesh) -> None:
    """Raise ValueError on all ranks unless a mesh fills its bounding box. Collective."""
    x = mesh.geometry.x[:, : mesh.geometry.dim]
    low = np.min(mesh.comm.allgather(x.min(axis=0, initial=np.inf)), axis=0)
    high = np.max(mesh.comm.allgather(x.max(axis=0, initial=-np.inf)), axis=0)
    check_fills_box(mesh, high - low)


def check_fills_box(mesh: dolfinx.mesh.Mesh, edges: npt.NDArray[np.float64]) -> None:
    """Raise ValueError on all ranks unless a mesh has the volume of its bounding box.

    Note: Collective.
    """
    owned = mesh.topology.index_map(mesh.topology.dim).size_local
    volume = float(total(mesh.comm, cell_volumes(mesh)[:owned].sum()))
    box = float(np.prod(edges))
    if not abs(volume - box) <= 1e-8 * box:
        raise ValueError(
            f"the mesh must fill an axis-parallel box: it has the volume {volume:.6g}, its "
            f"bounding box {box:.6g}"
        )


def _normals(facets: npt.NDArray[np.float64], gdim: int) -> npt.NDArray[np.float64]:
    """Unit normals of facets given by their vertices, shape (n, 3)."""
    if gdim == 1:
        return np.tile([1.0, 0.0, 0.0], (len(facets), 1))
    if gdim == 2:
        along = facets[:, 1] - facets[:, 0]
        normal = np.stack([along[:, 1], -along[:, 0], 0 * along[:, 0]], axis=1)
    else:
        normal = np.cross(facets[:, 1] - facets[:, 0], facets[:, 2] - facets[:, 0])
    return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1), 1e-300)[:, None])
