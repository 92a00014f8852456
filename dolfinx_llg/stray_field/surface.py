# SPDX-License-Identifier: LGPL-3.0-or-later
"""The boundary of a magnet as triangles, whole on every rank and in an order of its own.

Nodes are identified by the global numbers of P1 degrees of freedom and sorted by coordinates, so
that all that is made of them does not depend on the number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from dolfinx_llg.stray_field.native import KERNELS

__all__ = ["Surface", "extract_surface"]

type Floats = npt.NDArray[np.float64]
type Ints = npt.NDArray[np.int64]

# Two triangles belong to one smooth piece if their normals enclose less than 32 degrees.
CREASE = 0.85


@dataclass(frozen=True)
class Surface:
    """Triangles of the boundary, scaled to a box around the origin with longest side 1.

    Attributes:
        nodes: Coordinates of the boundary nodes, shape (n_b, 3), sorted.
        triangles: Nodes of each triangle, counterclockwise seen from outside, shape (n_t, 3).
        split: Split nodes of each triangle: a node has one for each smooth piece, shape (n_t, 3).
        parent: Node of each split node, shape (n_s,).
        Ms: Saturation magnetization behind each triangle, shape (n_t,).
        owned: Local P1 degrees of freedom of this rank on the boundary.
        place: Their nodes, shape of ``owned``.
        origin: Point that was moved to 0 (mesh units).
        length: Mesh units of the scaled length 1.
    """

    nodes: Floats
    triangles: Ints
    split: Ints
    parent: Ints
    Ms: Floats
    owned: npt.NDArray[np.int32]
    place: Ints
    origin: Floats
    length: float

    @property
    def normals(self) -> Floats:
        """Outward normals, as long as twice the areas, shape (n_t, 3)."""
        a, b, c = np.moveaxis(self.nodes[self.triangles], 1, 0)
        return np.cross(b - a, c - a)

    @property
    def volume(self) -> float:
        """Volume inside (mesh units), by the theorem of Gauss."""
        centre = self.nodes[self.triangles].mean(axis=1)
        return float(np.einsum("ij,ij->", centre, self.normals)) / 6 * self.length**3

    @property
    def flatness(self) -> float:
        """Twice the volume over the area and the longest side: 1/3 of a cube, t/L of a film."""
        area = 0.5 * np.linalg.norm(self.normals, axis=1).sum()
        return 2 * self.volume / (float(area) * self.length**3)

    def mass(self, *, whole: bool = False) -> sparse.csr_matrix:
        """Mass matrix of P1 on the smooth pieces, M_s of shape (n_s, n_s) (scaled units).

        Args:
            whole: Whether of P1 on the whole boundary: E^T M_s E, of shape (n_b, n_b).
        """
        rows, n = self._rows(whole)
        area = 0.5 * np.linalg.norm(self.normals, axis=1)
        local = area[:, None, None] / 12 * (1.0 + np.eye(3))
        return _assemble(local, rows, rows, (n, n))

    def charge(self, *, whole: bool = False) -> sparse.csr_matrix:
        """B with ``(B m)_a = int Ms m.n psi_a``, shape (n_s, 3 n_b) (scaled units).

        Args:
            whole: Whether with P1 on the whole boundary: E^T B, of shape (n_b, 3 n_b).
        """
        rows, n = self._rows(whole)
        local = (self.Ms[:, None] * self.normals / 24)[:, None, None, :] * (
            1.0 + np.eye(3)[None, :, :, None]
        )
        columns = 3 * self.triangles[:, :, None] + np.arange(3)
        local, columns = local.reshape(-1, 3, 9), columns.reshape(-1, 9)
        return _assemble(local, rows, columns, (n, 3 * len(self.nodes)))

    def _rows(self, whole: bool) -> tuple[Ints, int]:
        """Return the corners of the triangles, nodes or split nodes, and the number of them all."""
        if whole:
            return self.triangles, len(self.nodes)
        return self.split, len(self.parent)

    def from_split(self) -> sparse.csr_matrix:
        """E^T, which sums the split nodes of each node, shape (n_b, n_s)."""
        n = len(self.parent)
        return sparse.csr_matrix(
            (np.ones(n), (self.parent, np.arange(n))), shape=(len(self.nodes), n)
        )


def _assemble(
    local: Floats, rows: Ints, columns: Ints, shape: tuple[int, int]
) -> sparse.csr_matrix:
    row = np.broadcast_to(rows[:, :, None], local.shape).ravel()
    column = np.broadcast_to(columns[:, None, :], local.shape).ravel()
    return sparse.coo_matrix((local.ravel(), (row, column)), shape=shape).tocsr()


def extract_surface(V: fem.FunctionSpace, Ms: float | fem.Function) -> Surface:
    """Collect the boundary of a mesh of tetrahedra or hexahedra on every rank.

    A quadrilateral is cut along the diagonal through its first node in the order of coordinates.

    Args:
        V: Scalar P1 (Q1) space.
        Ms: Saturation magnetization, a number or a DG0 function.

    Raises:
        ValueError: If two nodes of the boundary lie at one place (on all ranks).

    Note: Collective.
    """
    comm = V.mesh.comm
    index_map = V.dofmap.index_map
    corners, points, centres, values = _facets(V, Ms)
    table = index_map.local_to_global(corners.ravel().astype(np.int32)).reshape(corners.shape)
    gathered = comm.allgather((table, points, centres, values))
    arrays = [np.concatenate(parts) for parts in zip(*gathered, strict=True)]
    if comm.size > 1:
        outer = _outer(arrays[0])
        arrays = [array[outer] for array in arrays]
    facets, points, centres, Ms_values = arrays
    numbers, first, inverse = np.unique(facets, return_index=True, return_inverse=True)
    coordinates = points.reshape(-1, 3)[first]
    order = np.lexsort(coordinates.T[::-1])
    rank_of = np.empty_like(order)
    rank_of[order] = np.arange(len(order))
    coordinates = coordinates[order]
    low = coordinates.min(axis=0)
    length = float((coordinates.max(axis=0) - low).max())
    origin = low + 0.5 * (coordinates.max(axis=0) - low)
    nodes = (coordinates - origin) / length
    _check_distinct(nodes)
    triangles, source = _triangles(rank_of[inverse.reshape(facets.shape)])
    # Outward: away from the centre of the cell behind.
    a, b, c = np.moveaxis(nodes[triangles], 1, 0)
    outward = (a + b + c) / 3 - (centres[source] - origin) / length
    turned = np.einsum("ij,ij->i", np.cross(b - a, c - a), outward) < 0
    triangles[turned] = triangles[turned][:, [0, 2, 1]]
    order = np.lexsort(triangles.T[::-1])
    triangles, source = triangles[order], source[order]
    split, parent = _split(nodes, triangles)
    start = index_map.local_range[0]
    mine = np.flatnonzero((numbers >= start) & (numbers < index_map.local_range[1]))
    return Surface(
        nodes, triangles, split, parent, Ms_values[source],
        (numbers[mine] - start).astype(np.int32), rank_of[mine], origin, length,
    )  # fmt: skip


def _facets(V: fem.FunctionSpace, Ms: float | fem.Function) -> tuple[Ints, Floats, Floats, Floats]:
    """Return the faces of this rank's cells that no other of its cells has.

    Those between two ranks are among them. Found from the nodes: DOLFINx's connectivities of all
    facets take several times as long, and gain less from more ranks.

    Returns:
        Local dofs, corners, the cells' centres and Ms.
    """
    topology = V.mesh.topology
    tdim = topology.dim
    layout = V.dofmap.dof_layout
    count = {4: 4, 8: 6}[V.dofmap.list.shape[1]]
    closures = np.array([layout.entity_closure_dofs(tdim - 1, k) for k in range(count)])
    owned = topology.index_map(tdim).size_local
    index_map = V.dofmap.index_map
    nodes = index_map.size_local + index_map.num_ghosts
    cells, local = np.divmod(_lone_faces(V, V.dofmap.list[:owned], closures, nodes), count)
    corners = np.take_along_axis(V.dofmap.list[cells].astype(np.int64), closures[local], axis=1)
    # The vertices as they are: coordinates pushed forward from a cell differ by round-off with it.
    x = V.mesh.geometry.x[V.mesh.geometry.dofmaps[0][cells]]
    points = np.take_along_axis(x, closures[local][:, :, None], axis=1)
    if isinstance(Ms, fem.Function):
        values = Ms.x.array[Ms.function_space.dofmap.list[cells, 0]]
    else:
        values = np.full(len(cells), float(Ms))
    return corners, points, x.mean(axis=1), values


def _lone_faces(
    V: fem.FunctionSpace, cells: npt.NDArray[np.int32], closures: Ints, nodes: int
) -> Ints:
    """Return which faces, by cell times faces of a cell plus face, one of the cells has alone."""
    ffi, lib = KERNELS.load(V.mesh.comm)
    cells, table = np.ascontiguousarray(cells), closures.astype(np.int32)
    found = np.empty(len(cells) * len(table), dtype=np.int64)
    n = lib.llg_lone_faces(
        *cells.shape, ffi.cast("int32_t *", cells.ctypes.data),
        *table.shape, ffi.cast("int32_t *", table.ctypes.data),
        nodes, ffi.cast("int64_t *", found.ctypes.data),
    )  # fmt: skip
    if any(V.mesh.comm.allgather(n < 0)):
        raise MemoryError("no memory for the faces of the mesh")
    return found[:n].copy()


def _outer(facets: Ints) -> npt.NDArray[np.bool_]:
    """Return which facets are listed once: those between two ranks are listed by both."""
    nodes = np.sort(facets, axis=1)
    order = np.lexsort(nodes.T)
    same = (nodes[order[1:]] == nodes[order[:-1]]).all(axis=1)
    once = np.ones(len(facets), dtype=bool)
    once[order[1:][same]] = once[order[:-1][same]] = False
    return once


def _check_distinct(nodes: Floats) -> None:
    """Refuse nodes at one place: bodies that touch there without sharing them."""
    # 1e-8 of the longest side: far above round-off, far below any cell.
    pairs = cKDTree(nodes).query_pairs(1e-8, output_type="ndarray")
    if len(pairs):
        raise ValueError(
            f"{len(np.unique(pairs[:, 1]))} nodes of the boundary lie where another one lies: "
            "bodies that touch must share the nodes of their interface (gmsh: fragment), others "
            "be apart"
        )


def _triangles(facets: Ints) -> tuple[Ints, Ints]:
    """Return triangles, their first node the smallest, and the facet of each."""
    if facets.shape[1] == 4:
        # Corners 0, 1, 3, 2 go around; start at the smallest and cut the diagonal through it.
        ring = facets[:, [0, 1, 3, 2]]
        start = np.argmin(ring, axis=1)[:, None]
        ring = np.take_along_axis(ring, (start + np.arange(4)) % 4, axis=1)
        triangles = np.concatenate([ring[:, [0, 1, 2]], ring[:, [0, 2, 3]]])
        source = np.tile(np.arange(len(facets)), 2)
    else:
        triangles, source = facets, np.arange(len(facets))
    start = np.argmin(triangles, axis=1)[:, None]
    return np.take_along_axis(triangles, (start + np.arange(3)) % 3, axis=1), source


def _split(nodes: Floats, triangles: Ints) -> tuple[Ints, Ints]:
    """Split the nodes at creases: corners of triangles are one across a flat edge."""
    a, b, c = np.moveaxis(nodes[triangles], 1, 0)
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    n = len(triangles)
    corner = np.stack([np.arange(3), (np.arange(3) + 1) % 3], axis=1)  # of edge k
    ends = triangles[:, corner].reshape(-1, 2)
    places = (3 * np.arange(n)[:, None, None] + corner).reshape(-1, 2)
    backwards = ends[:, 0] > ends[:, 1]
    ends[backwards], places[backwards] = ends[backwards, ::-1], places[backwards, ::-1]
    edges = ends[:, 0] * len(nodes) + ends[:, 1]
    order = np.argsort(edges)
    edges, places = edges[order], places[order]
    links = []
    for step in (1, 2, 3):  # more than two triangles meet at an edge where bodies touch along it
        one, other = places[:-step], places[step:]
        flat = np.einsum("ij,ij->i", normal[one[:, 0] // 3], normal[other[:, 0] // 3]) > CREASE
        joined = flat & (edges[:-step] == edges[step:])
        links.append(
            np.concatenate([np.stack([one[joined, k], other[joined, k]]) for k in (0, 1)], 1)
        )
    row, column = np.concatenate(links, axis=1)
    graph = sparse.coo_matrix((np.ones(len(row), bool), (row, column)), shape=(3 * n, 3 * n))
    pieces, label = connected_components(graph, directed=False)
    first = np.empty(pieces, dtype=np.int64)
    first[label[::-1]] = np.arange(3 * n)[::-1]  # the last one written: the first corner
    parent = triangles.ravel()[first]
    order = np.lexsort((first, parent))
    renumber = np.empty_like(order)
    renumber[order] = np.arange(len(order))
    return renumber[label].reshape(n, 3), parent[order]
