# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Measurement functionals of the coarse mesh, the rows of Psi (GRPS paper, appendix 6.2).

- volume (6.7): :math:`\sqrt{|\tau|} \int_\tau u\,dx`, one for each coarse cell;
- facet (6.6): :math:`|e|^{(2-d)/(2(d-1))} \int_e u\,dS`, one for each coarse edge (2D) or face
  (3D), inner ones alone unless the boundary's are asked for (the paper counts inner ones);
- derivative: for each coarse cell its volume functional and the d components of

  .. math::
      |\tau|^{3/2 + 1/d} \nabla (\Pi^1_\tau u) =
      |\tau|^{1/2 + 1/d}\, C_\tau^{-1} \int_\tau (x - x_\tau)\, u\,dx,

  the gradient of the best linear fit of u on tau in L2, with the centroid :math:`x_\tau` and
  :math:`C_\tau = |\tau|^{-1} \int_\tau (x-x_\tau)(x-x_\tau)^T dx`. By parts this is a mean of
  grad u weighted by a function that vanishes at the boundary of tau. (The plain means of grad u of
  all cells are linearly dependent on simplices: they are combinations of facet means. The paper
  prints no definition of its GRPS-D.)

The scaling of a row scales a basis function and leaves the space alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from petsc4py import PETSc

import basix
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix
from scipy.spatial import cKDTree

from dolfinx_llg.grps.hierarchy import CoarseMesh, Hierarchy
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.matrices import coo_matrix

__all__ = [
    "Measurement",
    "derivative_measurement",
    "facet_measurement",
    "volume_measurement",
]


@dataclass(frozen=True)
class Measurement:
    """Functionals on V_h with the coarse cells at which they sit.

    Attributes:
        name: "volume", "facet" or "derivative".
        hierarchy: The meshes.
        Psi: Rows of the functionals, shape (n_H, n_h); rows are owned by the rank that owns the
            (first) coarse cell of a functional.
        seeds: Coarse cells at which each functional sits, 0/1, shape (n_H, n_coarse), replicated:
            layer 0 of its patch. The cell itself, or the cells on both sides of a facet.
        points: Midpoint of each functional's cell or facet, shape (n_H, gdim), replicated.
        within: Where the functionals are those of a subspace of V_h that identifies or drops nodes:
            its scalar prolongation, whose columns are Psi's; None: V_h.
        parent: The functionals on V_h, where these are those of a subspace.
    """

    name: str
    hierarchy: Hierarchy
    Psi: PETSc.Mat
    seeds: sp.csr_matrix
    points: npt.NDArray[np.float64]
    within: PETSc.Mat | None = None
    parent: PETSc.Mat | None = None

    @property
    def whole(self) -> PETSc.Mat:
        """Psi on V_h."""
        return self.Psi if self.parent is None else self.parent

    def inside(self, within: PETSc.Mat) -> Measurement:
        """Return the functionals in a subspace that identifies or drops nodes. Collective.

        Args:
            within: Its scalar prolongation, rows of at most a single 1 (``periodic_basis``,
                ``pinned_basis``).
        """
        return replace(self, Psi=self.Psi.matMult(within), within=within, parent=self.Psi)

    def numbers(self) -> npt.NDArray[np.int64] | None:
        """Return the column of ``within`` of each dof of V_h, -1: none; replicated. Collective."""
        if self.within is None:
            return None
        indptr, columns, _ = self.within.getValuesCSR()
        own = np.full(len(indptr) - 1, -1, dtype=np.int64)
        own[np.diff(indptr) > 0] = columns
        return np.concatenate(self.hierarchy.comm.allgather(own))

    def pinned_vertices(self, count: int) -> npt.NDArray[np.bool_]:
        """Return which vertices of the coarse mesh carry a dropped node, replicated. Collective.

        Args:
            count: Number of vertices.
        """
        pinned = np.zeros(count, dtype=bool)
        if self.within is None:
            return pinned
        V, data = self.hierarchy.space, self.hierarchy.data
        indptr, _, _ = self.within.getValuesCSR()
        own = V.tabulate_dof_coordinates()[: len(indptr) - 1][np.diff(indptr) == 0]
        gdim = data.points.shape[2]
        dropped = np.concatenate(self.hierarchy.comm.allgather(own))[:, :gdim]
        if len(dropped):
            corners = data.points.reshape(-1, gdim)
            near, _ = cKDTree(dropped).query(corners)
            pinned[data.vertices.ravel()[near < 1e-8 * np.ptp(corners, axis=0).max()]] = True
        return pinned

    def own_rows(self) -> range:
        """Global numbers of the functionals that this rank owns."""
        return range(*self.Psi.getOwnershipRange())


@checked
def volume_measurement(hierarchy: Hierarchy) -> Measurement:
    """Return the volume functionals (6.7), one for each coarse cell."""
    data = hierarchy.data
    scale = np.sqrt(_volumes(data))
    Psi = _cell_rows(hierarchy, 1, [_moment(hierarchy, None)], [scale[:, None]])
    return Measurement(
        "volume", hierarchy, Psi, sp.eye(data.num_cells, format="csr"), data.midpoints
    )


@checked
def derivative_measurement(hierarchy: Hierarchy) -> Measurement:
    """Return volume and derivative functionals (module docstring): 1 + d for each coarse cell.

    Row (1 + d) T + k belongs to cell T: k = 0 the volume, k = 1..d the derivative in x_k.
    """
    data = hierarchy.data
    n, dim = data.num_cells, data.points.shape[2]
    volume, centre = _volumes(data), data.midpoints
    inverse = np.linalg.inv(_covariances(data)) * (volume ** (0.5 + 1.0 / dim))[:, None, None]
    # weights[k][T, a]: factor of the moment k (0: of 1; k: of x_k) in functional a of cell T.
    weights = [np.zeros((n, 1 + dim)) for _ in range(1 + dim)]
    weights[0][:, 0] = np.sqrt(volume)
    weights[0][:, 1:] = -np.einsum("nij,nj->ni", inverse, centre)
    for k in range(dim):
        weights[1 + k][:, 1:] = inverse[:, :, k]
    moments = [_moment(hierarchy, None if k == 0 else k - 1) for k in range(1 + dim)]
    Psi = _cell_rows(hierarchy, 1 + dim, moments, weights)
    seeds = sp.kron(sp.eye(n), np.ones((1 + dim, 1)), format="csr")
    return Measurement("derivative", hierarchy, Psi, seeds, np.repeat(centre, 1 + dim, axis=0))


@checked
def facet_measurement(hierarchy: Hierarchy, *, boundary: bool = False) -> Measurement:
    """Return the edge (2D) or face (3D) functionals (6.6).

    The cells must be simplices or parallelograms (parallelepipeds).

    Args:
        hierarchy: The meshes.
        boundary: Whether facets on the boundary of the domain count too.

    Raises:
        ValueError: If the facets of a coarse cell are of two kinds.
    """
    data, V, dim = hierarchy.data, hierarchy.space, hierarchy.data.points.shape[2]
    facets = _Facets(data, boundary)
    count = len(hierarchy.parent)
    corners, dofs = hierarchy.corners(), V.dofmap.list[:count]
    number = corners.shape[1]
    distance = data.barycentric(np.repeat(hierarchy.parent, number), corners.reshape(-1, dim))
    touching = (np.abs(distance) < 1e-8).reshape(count, number, -1)
    rows, columns, values = [], [], []
    for j, members in enumerate(facets.local):
        # A fine cell has a facet in facet j of its parent where as many of its corners lie there.
        cells = np.flatnonzero(touching[:, :, j].sum(axis=1) == len(members))
        cells = cells[facets.row[hierarchy.parent[cells], j] >= 0]
        place = np.nonzero(touching[cells, :, j])[1].reshape(len(cells), len(members))
        row = facets.row[hierarchy.parent[cells], j]
        area = _areas(np.take_along_axis(corners[cells], place[:, :, None], axis=1))
        # Facet hat functions of simplices and parallelograms have equal integrals; an inner facet
        # is met from both its sides.
        share = facets.scale[row] * area / len(members) / facets.sides[row]
        rows.append(np.repeat(row, len(members)))
        columns.append(np.take_along_axis(dofs[cells], place, axis=1).ravel())
        values.append(np.repeat(share, len(members)))
    index_map = V.dofmap.index_map
    local = np.concatenate(columns).astype(np.int32)
    Psi = coo_matrix(
        ((facets.owned, len(facets.sides)), (index_map.size_local, index_map.size_global)),
        np.concatenate(rows).astype(np.int32),
        index_map.local_to_global(local).astype(np.int32),
        np.concatenate(values),
        hierarchy.comm,
    )
    return Measurement("facet", hierarchy, Psi, facets.seeds, facets.points)


class _Facets:
    """Facets of the coarse mesh, numbered by their first cell so that rows follow its owner."""

    def __init__(self, data: CoarseMesh, boundary: bool) -> None:
        dim = data.points.shape[2]
        self.local = basix.topology(basix.CellType[data.kind.name])[-2]
        if len({len(facet) for facet in self.local}) > 1:
            raise ValueError("the facets of a coarse cell must be of one kind")
        n, m = data.num_cells, len(self.local)
        keys = np.sort(np.stack([data.vertices[:, f] for f in self.local], axis=1), axis=2)
        _, first, inverse, sides = np.unique(
            keys.reshape(n * m, -1), axis=0, return_index=True, return_inverse=True,
            return_counts=True,
        )  # fmt: skip
        chosen = np.flatnonzero((sides == 2) | boundary)
        chosen = chosen[np.argsort(first[chosen])]
        number = np.full(len(first), -1, dtype=np.int64)
        number[chosen] = np.arange(len(chosen))
        self.row = number[inverse.ravel()].reshape(n, m)
        self.sides = sides[chosen]
        first = first[chosen]
        members = np.asarray(self.local, dtype=np.int64)[first % m]
        corners = data.points[(first // m)[:, None], members]
        self.points = corners.mean(axis=1)
        self.scale = _areas(corners) ** ((2 - dim) / (2 * (dim - 1)))
        own = (first // m >= data.cell_range[0]) & (first // m < data.cell_range[1])
        self.owned = int(np.count_nonzero(own))
        cells = np.repeat(np.arange(n), m)
        kept = self.row.ravel() >= 0
        ones = np.ones(int(kept.sum()))
        shape = (len(first), n)
        self.seeds = sp.csr_matrix((ones, (self.row.ravel()[kept], cells[kept])), shape=shape)


def _areas(corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Measures of segments, triangles and parallelograms, corners of shape (n, k, gdim)."""
    first = corners[:, 1] - corners[:, 0]
    if corners.shape[1] == 2:
        return np.asarray(np.linalg.norm(first, axis=1))
    area = np.linalg.norm(np.cross(first, corners[:, 2] - corners[:, 0]), axis=1)
    return np.asarray(area / 2 if corners.shape[1] == 3 else area)


def _volumes(data: CoarseMesh) -> npt.NDArray[np.float64]:
    """Volumes of the coarse cells (simplices, parallelograms, parallelepipeds)."""
    edges = _edges(data)
    volume = np.abs(np.linalg.det(edges))
    return np.asarray(volume / math.factorial(edges.shape[1]) if data.simplicial else volume)


def _edges(data: CoarseMesh) -> npt.NDArray[np.float64]:
    """The edge vectors from corner 0 along the reference axes, shape (n, d, gdim)."""
    return data.points[:, data.axes] - data.points[:, :1]


def _covariances(data: CoarseMesh) -> npt.NDArray[np.float64]:
    """C_tau of the module docstring, shape (n, d, d)."""
    dim = data.points.shape[2]
    if data.simplicial:
        arms = data.points - data.midpoints[:, None]
        return np.asarray(np.einsum("nki,nkj->nij", arms, arms) / ((dim + 1) * (dim + 2)))
    edges = _edges(data)
    return np.asarray(np.einsum("nki,nkj->nij", edges, edges) / 12)


def _moment(hierarchy: Hierarchy, axis: int | None) -> PETSc.Mat:
    """Return the matrix of int q x_axis u dx (no factor for None), q constant on fine cells."""
    constants = fem.functionspace(hierarchy.fine, ("Discontinuous Lagrange", 0))
    q, u = ufl.TestFunction(constants), ufl.TrialFunction(hierarchy.space)
    factor = 1 if axis is None else ufl.SpatialCoordinate(hierarchy.fine)[axis]
    matrix = assemble_matrix(compile_form(factor * q * u * ufl.dx))
    matrix.assemble()
    return matrix


def _cell_rows(
    hierarchy: Hierarchy,
    per_cell: int,
    moments: Sequence[PETSc.Mat],
    weights: Sequence[npt.NDArray[np.float64]],
) -> PETSc.Mat:
    """Sum fine moments over the children of each coarse cell; weights: shape (cells, per_cell)."""
    data, parent = hierarchy.data, hierarchy.parent
    constants = fem.functionspace(hierarchy.fine, ("Discontinuous Lagrange", 0)).dofmap
    own = constants.index_map.local_range[0] + constants.list[: len(parent), 0]
    local = per_cell * (data.cell_range[1] - data.cell_range[0])
    total: PETSc.Mat | None = None
    for moment, weight in zip(moments, weights, strict=True):
        gather = coo_matrix(
            ((local, per_cell * data.num_cells), moment.getSizes()[0]),
            (per_cell * parent[:, None] + np.arange(per_cell)).ravel().astype(np.int32),
            np.repeat(own, per_cell).astype(np.int32),
            weight[parent].ravel(),
            hierarchy.comm,
        )
        product = gather.matMult(moment)
        if total is None:
            total = product
        else:
            total.axpy(1.0, product, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
    assert total is not None
    return total
