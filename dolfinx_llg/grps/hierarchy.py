# SPDX-License-Identifier: LGPL-3.0-or-later
r"""A coarse mesh, a fine mesh that refines it, and who is whose parent (GRPS paper, section 2.2).

What holds on any number of ranks:

- A fine cell knows its parent by the parent's global number in the coarse mesh; the two may live
  on different ranks (``match_meshes``). ``refine_mesh`` leaves children on the parent's rank.
- The coarse mesh is small by purpose: its connectivity and coordinates are replicated on every
  rank (some ten numbers per coarse cell). Nothing of the size of the fine mesh is replicated here.
- A rank may own no coarse cell, and no fine cell.
- A mesh made by ``refine_mesh`` has no ghost cells: integrals over interior facets (dS) of it would
  miss facets between ranks, on more than one rank. Nothing in this package integrates so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from mpi4py import MPI

import basix
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl
from dolfinx import fem, mesh
from scipy.spatial import cKDTree

from dolfinx_llg.grps.node_numbers import inherited_numbers
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked

__all__ = ["Hierarchy", "Layers", "match_meshes", "refine_mesh", "torus"]

type Layers = Literal["vertex", "facet"]

_TOL = 1e-8
"""Reference coordinates below this count as zero: round-off is 1e-16 times J, children 2^-J."""


@dataclass(frozen=True)
class CoarseMesh:
    """Replicated description of the coarse mesh; row = global cell number, the same on all ranks.

    Attributes:
        vertices: Global vertex numbers of the cells, shape (n_cells, n_corners).
        points: Coordinates of the corners, shape (n_cells, n_corners, gdim).
        cell_range: First and last + 1 of the cells that this rank owns.
        kind: Shape of the cells.
    """

    vertices: npt.NDArray[np.int64]
    points: npt.NDArray[np.float64]
    cell_range: tuple[int, int]
    kind: mesh.CellType

    @property
    def num_cells(self) -> int:
        """Number of coarse cells on all ranks together."""
        return len(self.vertices)

    @property
    def midpoints(self) -> npt.NDArray[np.float64]:
        """Means of the corners, shape (n_cells, gdim)."""
        return self.points.mean(axis=1)

    @property
    def simplicial(self) -> bool:
        """Whether the cells are triangles or tetrahedra."""
        return self.kind in (mesh.CellType.triangle, mesh.CellType.tetrahedron)

    @property
    def axes(self) -> list[int]:
        """Corners that span the cell with corner 0: 1, 2, 3 of simplices, 1, 2, 4 of hexahedra."""
        return ([1, 2, 3] if self.simplicial else [1, 2, 4])[: self.points.shape[2]]

    @cached_property
    def neighbours(self) -> sp.csr_matrix:
        """Graph of the cells that share a vertex, itself included (0/1)."""
        return self._sharing(1)

    @cached_property
    def facet_neighbours(self) -> sp.csr_matrix:
        """Graph of the cells that share a facet (in 2D an edge), itself included (0/1)."""
        kind = basix.CellType[self.kind.name]
        return self._sharing(min(len(facet) for facet in basix.topology(kind)[-2]))

    def graph(self, layers: Layers) -> sp.csr_matrix:
        """Return the graph by which patches grow: ``neighbours`` or ``facet_neighbours``."""
        return self.facet_neighbours if layers == "facet" else self.neighbours

    def _sharing(self, count: int) -> sp.csr_matrix:
        """Return the graph of the cells that share at least so many vertices."""
        numbers, inverse = np.unique(self.vertices, return_inverse=True)
        rows = np.repeat(np.arange(self.num_cells), self.vertices.shape[1])
        shape = (self.num_cells, len(numbers))
        incidence = sp.csr_matrix((np.ones(rows.size), (rows, inverse.ravel())), shape=shape)
        graph = (incidence @ incidence.T).tocsr()
        graph.data[:] = graph.data >= count
        graph.eliminate_zeros()
        return graph

    def barycentric(
        self, cells: npt.NDArray[np.int64], x: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return for each point its distances to the facets of a cell, in reference units.

        Column j vanishes on facet j (the order is that of basix) and is positive inside the cell;
        for simplices these are the barycentric coordinates up to a factor.

        Args:
            cells: Global number of the cell of each point, shape (n,).
            x: Points, shape (n, gdim).
        """
        corners = self.points[cells]
        reference = basix.geometry(basix.CellType[self.kind.name])
        tdim = reference.shape[1]
        edges = corners[:, self.axes] - corners[:, :1]
        xi = np.einsum("nji,nj->ni", np.linalg.inv(edges), x - corners[:, 0])
        normals = basix.cell.facet_outward_normals(basix.CellType[self.kind.name])
        facets = basix.topology(basix.CellType[self.kind.name])[tdim - 1]
        origins = np.array([reference[facet[0]] for facet in facets])
        distances = np.einsum("njk,jk->nj", origins[None] - xi[:, None], normals)
        return np.asarray(distances, dtype=np.float64)


@dataclass(frozen=True)
class Hierarchy:
    """A coarse and a fine mesh with the parent of each fine cell.

    Attributes:
        coarse: Coarse mesh.
        fine: Fine mesh, a refinement of the coarse one.
        parent: Global coarse cell of each fine cell owned by this rank.
        data: Replicated description of the coarse mesh.
        closed: Axes in which the box is closed to a torus, see ``torus``.
    """

    coarse: mesh.Mesh
    fine: mesh.Mesh
    parent: npt.NDArray[np.int64]
    data: CoarseMesh
    closed: tuple[int, ...] = ()

    @property
    def comm(self) -> MPI.Intracomm:
        """Communicator of both meshes."""
        return self.fine.comm

    @cached_property
    def space(self) -> fem.FunctionSpace:
        """Scalar P1 (Q1) space V_h on the fine mesh, in which bases are computed."""
        return fem.functionspace(self.fine, ("Lagrange", 1))

    def corners(self) -> npt.NDArray[np.float64]:
        """Corners of the fine cells owned by this rank, shape (n, n_corners, gdim)."""
        return _corners(self.fine, len(self.parent))


@checked
def refine_mesh(coarse: mesh.Mesh, levels: int) -> Hierarchy:
    """Refine each cell uniformly, h = 2^-levels H; children stay on their parent's rank.

    Exact red refinement: triangles and quadrilaterals into 4, tetrahedra and hexahedra into 8. The
    cells are the same on any number of ranks, and so are the numbers of the nodes
    (``geometry.input_global_indices``), by which thermal noise and random directions are drawn.

    Args:
        coarse: Mesh of any of these cells, structured or read from a file.
        levels: Number of refinements J, at least 1.

    Raises:
        ValueError: If ``levels`` < 1, or the cells are of another kind.

    Note: Collective.
    """
    if levels < 1:
        raise ValueError(f"levels must be at least 1, got {levels}")
    tdim = coarse.topology.dim
    if tdim not in (2, 3):
        raise ValueError(f"the cells must have 2 or 3 dimensions, got {coarse.topology.dim}")
    first, last = coarse.topology.index_map(tdim).local_range
    current, ancestor = coarse, np.arange(first, last)
    for _ in range(levels):
        for dim in range(1, tdim + 1):
            current.topology.create_entities(dim)
        fine = mesh.uniform_refine(current)
        count = fine.topology.index_map(tdim).size_local
        # A child's input number is 2^tdim times its parent's global number plus its place.
        own = np.asarray(fine.topology.original_cell_index[:count], dtype=np.int64) // 2**tdim
        own -= current.topology.index_map(tdim).local_range[0]
        ancestor = ancestor[own]
        current = _in_plane(fine, coarse, inherited_numbers(current, fine, own))
    return Hierarchy(coarse, current, ancestor, _describe(coarse))


@checked
def match_meshes(coarse: mesh.Mesh, fine: mesh.Mesh) -> Hierarchy:
    """Find the parents of a fine mesh that was made otherwise; ranks need not fit.

    Any mesh will do whose cells each lie in one coarse cell and fill it: not only uniform ones.

    Args:
        coarse: Mesh of simplices or parallelograms (parallelepipeds).
        fine: Mesh on the same communicator.

    Raises:
        ValueError: If ``fine`` is not a refinement of ``coarse``, with a cell that sticks out.

    Note: Collective.
    """
    if MPI.Comm.Compare(coarse.comm, fine.comm) not in (MPI.IDENT, MPI.CONGRUENT):
        raise ValueError("coarse and fine mesh live on different communicators")
    if coarse.topology.dim != fine.topology.dim or coarse.geometry.dim != fine.geometry.dim:
        raise ValueError("coarse and fine mesh differ in dimension")
    data = _describe(coarse)
    corners = _corners(fine, fine.topology.index_map(fine.topology.dim).size_local)
    centres = corners.mean(axis=1)
    parent = np.full(len(centres), -1, dtype=np.int64)
    tree = cKDTree(data.midpoints)
    missing = np.arange(len(centres))
    # The parent is among the nearest coarse midpoints: look at more of them until it is found.
    near = 1
    while len(missing) and near < 4 * data.num_cells:
        number = min(near, data.num_cells)
        _, candidates = tree.query(centres[missing], k=np.arange(1, number + 1))
        for column in candidates.T:
            inside = data.barycentric(column, centres[missing]).min(axis=1) > -_TOL
            parent[missing[inside]] = column[inside]
        missing = missing[parent[missing] < 0]
        near *= 4
    hierarchy = Hierarchy(coarse, fine, parent, data)
    _check_children(hierarchy)
    return hierarchy


@checked
def torus(hierarchy: Hierarchy, directions: Sequence[int] | None = None) -> Hierarchy:
    """Return the hierarchy with its box closed to a torus: functionals and patches wrap around.

    Opposite vertices of the coarse mesh count as one: patches go on at the other side, and a facet
    there is an inner one. Bases made on it are periodic (their fine dofs are identified as by
    ``periodic_basis``).

    Args:
        hierarchy: Meshes of an axis-parallel box whose opposite faces match.
        directions: Axes (0, 1, 2) in which it is closed; None: all of them.

    Raises:
        ValueError: If a direction does not exist, a vertex has no partner on the opposite face, or
            the coarse mesh has fewer than three cells in a direction.

    Note: Collective where the functionals are made.
    """
    data = hierarchy.data
    gdim = data.points.shape[2]
    axes = tuple(range(gdim)) if directions is None else tuple(sorted(set(directions)))
    if not axes or any(axis not in range(gdim) for axis in axes):
        raise ValueError(f"directions must be axes 0..{gdim - 1} of the mesh, got {directions}")
    points = data.points.reshape(-1, gdim).copy()
    low, high = points.min(axis=0), points.max(axis=0)
    size = float((high - low).max())
    for axis in axes:
        at_high = np.abs(points[:, axis] - high[axis]) < _TOL * size
        points[at_high, axis] = low[axis]
    # Steps far above round-off and far below a cell.
    steps = np.rint((points - low) / size * 2**24).astype(np.int64)
    _, number = np.unique(steps, axis=0, return_inverse=True)
    vertices = number.reshape(data.vertices.shape).astype(np.int64)
    before, after = len(np.unique(data.vertices)), len(np.unique(vertices))
    closed = replace(data, vertices=vertices)
    if after == before:
        raise ValueError("no vertex of the coarse mesh has a partner on the opposite face")
    _check_torus(closed, axes)
    return replace(hierarchy, data=closed, closed=axes)


def _check_torus(data: CoarseMesh, axes: tuple[int, ...]) -> None:
    """Raise ValueError unless facets of the closed mesh are told apart by their vertices."""
    facets = basix.topology(basix.CellType[data.kind.name])[-2]
    keys = [np.sort(data.vertices[:, np.asarray(facet)], axis=1) for facet in facets]
    sides = np.concatenate(
        [np.unique(np.concatenate(group), axis=0, return_counts=True)[1] for group in _like(keys)]
    )
    doubled = np.sort(data.vertices, axis=1)
    if np.any(sides > 2) or np.any(doubled[:, 1:] == doubled[:, :-1]):
        raise ValueError(
            "the coarse mesh has too few cells to be closed to a torus: three in each direction "
            "are needed, else facets and vertices of a cell coincide"
        )
    if len(axes) == data.points.shape[2] and np.any(sides != 2):
        raise ValueError(
            "the coarse mesh is not periodic: opposite faces must have the same facets"
        )


def _like(keys: list[npt.NDArray[np.int64]]) -> list[list[npt.NDArray[np.int64]]]:
    """Group facets by their number of vertices."""
    return [[k for k in keys if k.shape[1] == n] for n in sorted({k.shape[1] for k in keys})]


def _in_plane(fine: mesh.Mesh, coarse: mesh.Mesh, numbers: npt.NDArray[np.int64]) -> mesh.Mesh:
    """Give a refined mesh numbers of its nodes, and back its geometric dimension.

    DOLFINx 0.11 returns dimension 3 from any mesh.
    """
    geometry, gdim = fine.geometry, coarse.geometry.dim
    x = np.ascontiguousarray(geometry.x[:, :gdim])
    flat = mesh.create_geometry(
        geometry.index_map(),
        geometry.dofmaps[0],
        geometry.cmaps[0],
        x,
        numbers,
    )
    cpp = type(fine._cpp_object)(fine.comm, fine.topology._cpp_object, flat._cpp_object)
    domain: Any = coarse.ufl_domain()
    return mesh.Mesh(cpp, ufl.Mesh(domain.ufl_coordinate_element()))


def _corners(msh: mesh.Mesh, count: int) -> npt.NDArray[np.float64]:
    """Corners of the first local cells; vertices come first in the geometry's dofs."""
    number = basix.geometry(basix.CellType[msh.topology.cell_type.name]).shape[0]
    table = msh.geometry.x[msh.geometry.dofmaps[0][:count, :number]]
    return np.asarray(table[:, :, : msh.geometry.dim], dtype=np.float64)


def _describe(coarse: mesh.Mesh) -> CoarseMesh:
    """Gather the coarse mesh on every rank (collective)."""
    tdim = coarse.topology.dim
    cells = coarse.topology.index_map(tdim)
    coarse.topology.create_connectivity(tdim, 0)
    corners = basix.geometry(basix.CellType[coarse.topology.cell_type.name]).shape[0]
    local = coarse.topology.connectivity(tdim, 0).array[: cells.size_local * corners]
    numbers = coarse.topology.index_map(0).local_to_global(local).reshape(-1, corners)
    parts = coarse.comm.allgather((numbers, _corners(coarse, cells.size_local)))
    gdim = coarse.geometry.dim
    return CoarseMesh(
        np.concatenate([part[0] for part in parts]).astype(np.int64),
        np.concatenate([part[1].reshape(-1, corners, gdim) for part in parts]),
        (int(cells.local_range[0]), int(cells.local_range[1])),
        coarse.topology.cell_type,
    )


def _check_children(hierarchy: Hierarchy) -> None:
    """Raise ValueError on all ranks unless the children of each coarse cell fill it."""
    data, parent, corners = hierarchy.data, hierarchy.parent, hierarchy.corners()
    worst: tuple[float, list[float]] = (0.0, [])
    orphan = np.flatnonzero(parent < 0)
    if len(orphan):
        worst = (np.inf, corners[orphan[0]].mean(axis=0).tolist())
    elif len(parent):
        number = corners.shape[1]
        inside = data.barycentric(np.repeat(parent, number), corners.reshape(-1, corners.shape[2]))
        outside = -inside.min(axis=1).reshape(-1, number).min(axis=1)
        if outside.max() > _TOL:
            worst = (float(outside.max()), corners[outside.argmax()].mean(axis=0).tolist())
    measure, place = max(hierarchy.comm.allgather(worst), key=lambda found: found[0])
    if measure > 0.0:
        reach = "in none" if measure == np.inf else f"{measure:.2g} parent sizes outside its parent"
        raise ValueError(
            f"the fine mesh is not a refinement of the coarse one: the cell at {place} lies {reach}"
        )
    filled = np.zeros(data.num_cells)
    np.add.at(filled, parent, _volumes(hierarchy.fine, len(parent)))
    total = np.sum(hierarchy.comm.allgather(filled), axis=0)
    first, last = data.cell_range
    own = _volumes(hierarchy.coarse, last - first)
    gap = float(np.max(np.abs(total[first:last] / own - 1.0), initial=0.0))
    gap = max(hierarchy.comm.allgather(gap))
    if gap > _TOL:
        raise ValueError(
            "the fine mesh is not a refinement of the coarse one: its cells fill a coarse cell "
            f"with a relative gap or overlap of {gap:.2g}"
        )


def _volumes(msh: mesh.Mesh, count: int) -> npt.NDArray[np.float64]:
    """Volumes of the first local cells."""
    constants = fem.functionspace(msh, ("Discontinuous Lagrange", 0))
    vector = fem.assemble_vector(compile_form(ufl.TestFunction(constants) * ufl.dx))
    return np.asarray(vector.array[constants.dofmap.list[:count, 0]], dtype=np.float64)
