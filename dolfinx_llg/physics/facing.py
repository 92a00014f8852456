# SPDX-License-Identifier: LGPL-3.0-or-later
"""Faces that lie opposite each other: points of one, and the points of the other nearest to them.

Both faces are whole on every rank and in an order of their own, so that all that is made of them
does not depend on the number of ranks: a face is small beside the body that it bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import basix
import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy import sparse
from scipy.spatial import cKDTree

from dolfinx_llg.physics.facets import facet_rows

__all__ = ["Face", "Pairs", "extract_face", "pair_faces"]

type Floats = npt.NDArray[np.float64]
type Ints = npt.NDArray[np.int64]

#: Largest angle between the normal of a face and the way to the other one: beyond it there is no
#: other face opposite, only the edge of one that lies beside.
_OBLIQUE = math.radians(30.0)
#: Points looked at at once: bounds the memory.
_CHUNK = 10_000


@dataclass(frozen=True)
class Face:
    """Simplices of a face (points, segments or triangles).

    Attributes:
        numbers: Global numbers of its nodes, shape (n,).
        nodes: Their coordinates, shape (n, 3), sorted.
        simplices: Nodes of each simplex, shape (k, dim + 1).
        normals: Outward unit normals, shape (k, 3).
    """

    numbers: Ints
    nodes: Floats
    simplices: Ints
    normals: Floats

    @property
    def corners(self) -> Floats:
        """Coordinates of the simplices, shape (k, dim + 1, 3)."""
        return self.nodes[self.simplices]

    @property
    def measures(self) -> Floats:
        """Areas (lengths; 1 for points), shape (k,)."""
        edges = self.corners[:, 1:] - self.corners[:, :1]
        gram = np.einsum("kic,kjc->kij", edges, edges)
        return np.asarray(np.sqrt(np.linalg.det(gram)) / math.factorial(edges.shape[1]))


@dataclass(frozen=True)
class Pairs:
    """Quadrature points of a face with the points of another one opposite to them.

    Attributes:
        one: Values at the nodes of the first face to values at the points, shape (q, n).
        other: Values at the nodes of the second face to values at the points opposite.
        weights: Weights of the points (area), shape (q,).
        gaps: Distances of the points, shape (q,).
        area: Area of the whole first face.
    """

    one: sparse.csr_matrix
    other: sparse.csr_matrix
    weights: Floats
    gaps: Floats
    area: float


def extract_face(V: fem.FunctionSpace, facets: npt.NDArray[np.int32]) -> Face:
    """Collect facets on every rank.

    Args:
        V: P1 (Q1) space, scalar or of vectors.
        facets: This rank's own outer facets. A quadrilateral is cut in two triangles.

    Note: Collective.
    """
    mesh, layout = V.mesh, V.dofmap.dof_layout
    cells, local = facet_rows(mesh, facets).T
    tdim = mesh.topology.dim
    count = {1: 2, 2: V.dofmap.list.shape[1], 3: {4: 4, 8: 6}.get(V.dofmap.list.shape[1], 0)}[tdim]
    closures = np.array([layout.entity_closure_dofs(tdim - 1, k) for k in range(count)])
    dofs = np.take_along_axis(V.dofmap.list[cells].astype(np.int64), closures[local], axis=1)
    numbers = V.dofmap.index_map.local_to_global(dofs.ravel().astype(np.int32))
    x = V.tabulate_dof_coordinates()
    centres = x[V.dofmap.list[cells]].mean(axis=1)
    parts = mesh.comm.allgather((numbers.reshape(dofs.shape), x[dofs], centres))
    table, points, centres = (np.concatenate(part) for part in zip(*parts, strict=True))
    if table.shape[1] == 4:  # corners 0, 1, 3, 2 go around
        cut = ([0, 1, 3], [0, 2, 3])
        table = np.concatenate([table[:, corner] for corner in cut])
        points = np.concatenate([points[:, corner] for corner in cut])
        centres = np.tile(centres, (2, 1))
    unique, first, inverse = np.unique(table, return_index=True, return_inverse=True)
    nodes = points.reshape(-1, 3)[first]
    order = np.lexsort(nodes.T[::-1])
    rank_of = np.empty_like(order)
    rank_of[order] = np.arange(len(order))
    simplices = np.sort(rank_of[inverse.reshape(table.shape)], axis=1)
    # Outward is away from the centre of the cell behind, across the facet.
    edges = points[:, 1:] - points[:, :1]
    outward = points.mean(axis=1) - centres
    if edges.shape[1]:
        q, _ = np.linalg.qr(edges.swapaxes(1, 2))
        outward = outward - np.einsum("kci,kdi,kd->kc", q, q, outward)
    normals = outward / np.linalg.norm(outward, axis=1)[:, None]
    order_s = np.lexsort(simplices.T[::-1])
    return Face(unique[order], nodes[order], simplices[order_s], normals[order_s])


def pair_faces(one: Face, other: Face, degree: int, gap: float | None) -> Pairs:
    """Find the point of ``other`` opposite to each quadrature point of ``one``.

    Args:
        one: Face with the quadrature points.
        other: The face opposite.
        degree: Degree of the quadrature on the simplices of ``one``.
        gap: Largest distance of a pair; None: any.
    """
    dim = one.simplices.shape[1] - 1
    kind = (basix.CellType.point, basix.CellType.interval, basix.CellType.triangle)[dim]
    rule = basix.make_quadrature(kind, degree) if dim else (np.zeros((1, 0)), np.ones(1))
    local, weights = np.asarray(rule[0]), np.asarray(rule[1])
    shape = np.hstack([1.0 - local.sum(axis=1, keepdims=True), local])
    points = np.einsum("qi,kic->kqc", shape, one.corners).reshape(-1, 3)
    weight = np.outer(one.measures * math.factorial(dim), weights).ravel()
    source = np.repeat(np.arange(len(one.simplices)), len(shape))
    found, bary, distance = nearest(points, other.corners)
    way = np.einsum("qi,qic->qc", bary, other.corners[found]) - points
    size = float(np.ptp(one.nodes, axis=0).max(initial=0.0) + np.ptp(other.nodes, axis=0).max())
    touching = distance <= 1e-10 * (size + np.abs(points).max(initial=0.0))
    along = np.einsum("qc,qc->q", way, one.normals[source])
    keep = touching | (along >= math.cos(_OBLIQUE) * distance)
    if gap is not None:
        keep &= distance <= gap
    q = int(keep.sum())
    rows = np.repeat(np.arange(q), dim + 1)

    def values(face: Face, bary: Floats, index: Ints) -> sparse.csr_matrix:
        columns = face.simplices[index[keep]].ravel()
        entries = (bary[keep].ravel(), (rows, columns))
        return sparse.csr_matrix(entries, shape=(q, len(face.nodes)))

    return Pairs(
        values(one, np.tile(shape, (len(one.simplices), 1)), source),
        values(other, bary, found),
        weight[keep],
        distance[keep],
        float(one.measures.sum()),
    )


def nearest(points: Floats, corners: Floats) -> tuple[Ints, Floats, Floats]:
    """Return for each point the nearest simplex, barycentric coordinates there, the distance.

    Args:
        points: Shape (q, 3).
        corners: Of points, segments or triangles, shape (k, 1 to 3, 3).
    """
    centres = corners.mean(axis=1)
    reach = float(np.linalg.norm(corners - centres[:, None], axis=2).max())
    tree = cKDTree(centres)
    found = np.zeros(len(points), dtype=np.int64)
    bary = np.zeros((len(points), corners.shape[1]))
    distance = np.full(len(points), np.inf)
    left = np.arange(len(points))
    candidates = 8
    while len(left):
        candidates = min(candidates, len(corners))
        unsure = []
        for start in range(0, len(left), _CHUNK):
            some = left[start : start + _CHUNK]
            far, index = tree.query(points[some], k=[*range(1, candidates + 1)])
            lam, d = _closest(points[some, None], corners[index])
            best = np.argmin(d, axis=1)
            row = np.arange(len(some))
            found[some], bary[some] = index[row, best], lam[row, best]
            distance[some] = d[row, best]
            # A simplex further down the list is at least this far away.
            unsure.append(some[far[:, -1] - reach < distance[some]])
        left = np.concatenate(unsure) if candidates < len(corners) else np.zeros(0, dtype=np.int64)
        candidates *= 4
    return found, bary, distance


def _closest(points: Floats, corners: Floats) -> tuple[Floats, Floats]:
    """Return barycentric coordinates of the nearest point of each simplex, and its distance."""
    nv = corners.shape[-2]
    if nv == 1:
        lam = np.ones((*corners.shape[:-2], 1))
    elif nv == 2:
        lam = _on_segment(points, corners)
    else:
        a, b, c = (corners[..., k, :] for k in range(3))
        lam = np.zeros(corners.shape[:-1])
        best = np.full(corners.shape[:-2], np.inf)
        for ends in ((0, 1), (1, 2), (2, 0)):
            on_edge = np.zeros_like(lam)
            on_edge[..., ends] = _on_segment(points, corners[..., ends, :])
            d = _distance(points, corners, on_edge)
            lam = np.where((d < best)[..., None], on_edge, lam)
            best = np.minimum(d, best)
        normal = np.cross(b - a, c - a)
        square = np.einsum("...c,...c->...", normal, normal)
        offset = points - a
        second = np.einsum("...c,...c->...", np.cross(offset, c - a), normal) / square
        third = np.einsum("...c,...c->...", np.cross(b - a, offset), normal) / square
        inside = np.stack([1.0 - second - third, second, third], axis=-1)
        lam = np.where((inside >= 0.0).all(axis=-1)[..., None], inside, lam)
    return lam, _distance(points, corners, lam)


def _on_segment(points: Floats, ends: Floats) -> Floats:
    along = ends[..., 1, :] - ends[..., 0, :]
    t = np.einsum("...c,...c->...", points - ends[..., 0, :], along)
    t = np.clip(t / np.einsum("...c,...c->...", along, along), 0.0, 1.0)
    return np.stack([1.0 - t, t], axis=-1)


def _distance(points: Floats, corners: Floats, lam: Floats) -> Floats:
    way = np.einsum("...i,...ic->...c", lam, corners) - points
    return np.asarray(np.linalg.norm(way, axis=-1))
