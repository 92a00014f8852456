# SPDX-License-Identifier: LGPL-3.0-or-later
"""Points and the cells that hold them: gradients at points, cells and bodies that overlap."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, geometry
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from dolfinx_llg.collective import total
from dolfinx_llg.jit import compile_expression
from dolfinx_llg.stray_field.surface import Surface

__all__ = ["check_bodies", "check_orientation", "gradient_at"]

type Floats = npt.NDArray[np.float64]


@contextmanager
def _scaled(mesh: dolfinx.mesh.Mesh, surface: Surface) -> Iterator[None]:
    """Scale a mesh as the surface is: DOLFINx's collisions have an absolute tolerance of 1e-10."""
    kept = mesh.geometry.x.copy()
    mesh.geometry.x[:] = (kept - surface.origin) / surface.length
    try:
        yield
    finally:
        mesh.geometry.x[:] = kept


def _cells_with(mesh: dolfinx.mesh.Mesh, points: Floats) -> dolfinx.graph.AdjacencyList:
    """Owned cells that hold each point."""
    tdim = mesh.topology.dim
    owned = np.arange(mesh.topology.index_map(tdim).size_local, dtype=np.int32)
    tree = geometry.bb_tree(mesh, tdim, entities=owned)
    found = geometry.compute_collisions_points(tree, points)
    return geometry.compute_colliding_cells(mesh, found, points)


def gradient_at(V: fem.FunctionSpace, surface: Surface, values: Floats, points: Floats) -> Floats:
    """Return grad u at points, 0 outside the mesh, the same on every rank.

    Args:
        V: Scalar P1 (Q1) space.
        surface: The boundary of its mesh.
        values: Nodal values of u that this rank owns, over the surface's length.
        points: Scaled coordinates, shape (p, 3), the same on every rank.

    Note: Collective. On faces of cells the gradient is that of one of them.
    """
    mesh = V.mesh
    u = fem.Function(V)
    u.x.array[: len(values)] = values
    u.x.scatter_forward()
    # Derivatives of trilinear functions are trilinear, those of linear ones constant.
    degree = 0 if mesh.topology.cell_type == dolfinx.mesh.CellType.tetrahedron else 1
    Q = fem.functionspace(mesh, ("DG", degree, (3,)))
    gradient = fem.Function(Q)
    expression = compile_expression(ufl.grad(u), Q.element.interpolation_points, mesh.comm)
    with _scaled(mesh, surface):
        gradient.interpolate(expression)
        cells = _cells_with(mesh, points)
        here = np.diff(cells.offsets) > 0
        local = np.zeros_like(points)
        if here.any():
            first = cells.array[cells.offsets[:-1][here]]
            local[here] = gradient.eval(points[here], first).reshape(-1, 3)
    # Of the ranks that found a point the lowest one counts.
    total, taken = np.zeros_like(points), np.zeros(len(points), dtype=bool)
    for found, part in mesh.comm.allgather((here, local)):
        total[found & ~taken] = part[found & ~taken]
        taken |= found
    return total


def check_orientation(V: fem.FunctionSpace, surface: Surface, volume: float) -> None:
    """Refuse tetrahedra that are turned inside out, as those of a mesh whose nodes were moved.

    They overlap with their neighbours: the volumes of all cells are more than the volume inside the
    boundary. The faces of hexahedra need not be plane: theirs is another one.

    Args:
        V: Space on the mesh.
        surface: Its boundary.
        volume: Volume of this rank's cells, all of them counted as positive.

    Raises:
        ValueError: With the volume that is too much, on all ranks.

    Note: Collective.
    """
    if V.mesh.topology.cell_type != dolfinx.mesh.CellType.tetrahedron:
        return
    excess = float(total(V.mesh.comm, volume)) / surface.volume - 1.0
    # Round-off of sums over a million cells stays below 1e-10.
    if excess > 1e-9:
        raise ValueError(
            f"cells of the mesh overlap: their volumes are {excess:.1e} of the whole more than the "
            "volume inside the boundary; some are turned inside out (have nodes been moved?)"
        )


def check_bodies(V: fem.FunctionSpace, surface: Surface) -> None:
    """Refuse bodies that overlap, or touch where they do not share nodes.

    Tried are the nodes of each closed surface that lie in the box of another one, moved outwards by
    1e-6 of their cells: they must lie in no cell.

    Raises:
        ValueError: With the number of nodes, on all ranks.

    Note: Collective.
    """
    n = len(surface.nodes)
    ends = surface.triangles[:, [[0, 1], [1, 2]]].reshape(-1, 2).T
    graph = sparse.coo_matrix((np.ones(ends.shape[1]), tuple(ends)), shape=(n, n))
    bodies, body = connected_components(graph, directed=False)
    suspects = np.zeros(n, dtype=bool)
    for k in range(bodies):
        x = surface.nodes[body == k]
        box = (surface.nodes >= x.min(axis=0) - 1e-6) & (surface.nodes <= x.max(axis=0) + 1e-6)
        suspects |= box.all(axis=1) & (body != k)
    if not suspects.any():
        return
    outward = np.zeros((n, 3))
    for k in range(3):
        np.add.at(outward, surface.triangles[:, k], surface.normals)
    outward /= np.linalg.norm(outward, axis=1)[:, None] + 1e-300
    area = np.full(n, np.inf)
    for k in range(3):
        np.minimum.at(area, surface.triangles[:, k], np.linalg.norm(surface.normals, axis=1))
    nodes = np.flatnonzero(suspects)
    points = surface.nodes[nodes] + 1e-6 * np.sqrt(area[nodes])[:, None] * outward[nodes]
    with _scaled(V.mesh, surface):
        cells = _cells_with(V.mesh, points)
    point = np.repeat(np.arange(len(points)), np.diff(cells.offsets))
    # A node's own cells do not count: at a reentrant corner the mean normal may lead into them.
    own = np.full(V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts, -1)
    own[surface.owned] = surface.place
    numbers = fem.Function(V)
    numbers.x.array[: len(own)] = own
    numbers.x.scatter_forward()
    corners = numbers.x.array[V.dofmap.list[cells.array]].astype(np.int64)
    foreign = ~(corners == nodes[point][:, None]).any(axis=1)
    found = V.mesh.comm.allgather(point[foreign])
    count = len(np.unique(np.concatenate(found)))
    if count:
        raise ValueError(
            f"{count} nodes of the boundary lie inside another body or on its face: bodies must "
            "not overlap, and those that touch must share the nodes of their interface (gmsh: "
            "fragment)"
        )
