# SPDX-License-Identifier: LGPL-3.0-or-later
"""A surface as the kernels take it, with exact integrals of pairs of triangles that are near."""

from __future__ import annotations

import math
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import sparse

from dolfinx_llg.stray_field.clusters import Tree, build_tree, over
from dolfinx_llg.stray_field.surface import Surface

__all__ = ["FINE_RULE", "NEAR", "RULE", "Entries"]

type Floats = npt.NDArray[np.float64]

LEAF_TRIANGLES = 32
# Distance over the sum of sizes below which pairs of triangles are integrated exactly: about 2.5,
# and irrational, so that round-off decides no pair of a structured mesh.
NEAR = math.sqrt(2 * math.pi)
# Outer rule of near pairs (degree 5, barycentric coordinates and weight), and of touching ones.
_A, _B, _C, _D = 0.797426985353087, 0.101286507323456, 0.059715871789770, 0.470142064105115
RULE = np.array([
    [1 / 3, 1 / 3, 1 / 3, 0.225],
    *([*np.roll([_A, _B, _B], k), 0.125939180544827] for k in range(3)),
    *([*np.roll([_C, _D, _D], k), 0.132394152788506] for k in range(3)),
])  # fmt: skip


def _graded_rule(across: int, along: int, power: int) -> Floats:
    """Return a rule on a triangle that crowds at its edges, where inner integrals have kinks.

    The triangle is cut at its centre; in each third a Gauss rule along its edge and one across with
    the distance from the edge as ``t**power``.
    """
    (t, w), (s, v) = (np.polynomial.legendre.leggauss(n) for n in (across, along))
    t, w, s, v = 0.5 * (t + 1), 0.5 * w, 0.5 * (s + 1), 0.5 * v
    depth, weight = t**power, power * t ** (power - 1) * w
    third = np.full((across, along, 3), 0.0)
    third += depth[:, None, None] / 3
    third[:, :, 0] += (1 - depth)[:, None] * (1 - s)
    third[:, :, 1] += (1 - depth)[:, None] * s
    weights = 2 / 3 * np.outer(weight * (1 - depth), v)
    table = np.concatenate([third, weights[:, :, None]], axis=2).reshape(-1, 4)
    thirds = [table[:, [*np.roll(range(3), k), 3]] for k in range(3)]
    return np.ascontiguousarray(np.concatenate(thirds))


FINE_RULE = _graded_rule(4, 4, 2)


class Entries:
    """The surface as the kernels take it, nodes in the order of the tree."""

    def __init__(self, surface: Surface, tree: Tree, ffi: Any) -> None:
        n = len(surface.parent)
        place = np.empty(n, dtype=np.int64)
        place[tree.order] = np.arange(n)
        triangles = place[surface.split]
        corners = surface.nodes[surface.triangles]
        centre = corners.mean(axis=1)
        area = 0.5 * np.linalg.norm(surface.normals, axis=1)
        start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
        ends = np.stack([np.minimum(start, end), np.maximum(start, end)], axis=1)
        edges = ends[:, 0] * n + ends[:, 1]
        order = np.argsort(edges)
        new = np.diff(edges[order], prepend=-1) > 0
        first, point = order[new], np.empty(len(edges), dtype=np.int64)
        point[order] = np.cumsum(new) - 1
        ends = ends[first]
        middle = 0.5 * (corners + np.roll(corners, -1, axis=1)).reshape(-1, 3)[first]
        weight = np.bincount(point, np.repeat(area / 6, 3))
        by_node = np.argsort(ends.ravel(), kind="stable")
        by_corner = np.argsort(triangles.ravel(), kind="stable")
        self._arrays: dict[str, npt.NDArray[Any]] = {
            "x": middle[:, 0].copy(),
            "y": middle[:, 1].copy(),
            "z": middle[:, 2].copy(),
            "node_ptr": _pointers(ends, n),
            "node_point": (by_node // 2).astype(np.int32),
            "node_weight": weight[by_node // 2],
            "corner_node": triangles.astype(np.int32),
            "corners": np.ascontiguousarray(corners),
            "centre": centre,
            "size": np.linalg.norm(corners - centre[:, None], axis=2).max(axis=1),
            "tri_ptr": _pointers(triangles, n),
            "node_tri": (by_corner // 3).astype(np.int32),
        }
        self._ffi = ffi
        self.struct = ffi.new("surface *")
        self.struct.nodes, self.struct.points = n, len(middle)
        self.struct.triangles = len(triangles)
        self._publish(self._arrays)

    def _publish(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        self._arrays |= arrays  # keeps them alive
        for name, array in arrays.items():
            assert array.flags.c_contiguous
            setattr(self.struct, name, self._ffi.cast(_KINDS[array.dtype.str], array.ctypes.data))

    def boxes(self, tree: Tree) -> tuple[Floats, Floats, Floats]:
        """Low and high corners of the supports of each cluster, and the reach of near pairs."""
        corners = self._arrays["corners"]
        by_node, start = self._arrays["node_tri"], self._arrays["tri_ptr"][:-1]
        low = np.minimum.reduceat(corners.min(axis=1)[by_node], start, axis=0)
        high = np.maximum.reduceat(corners.max(axis=1)[by_node], start, axis=0)
        size = np.maximum.reduceat(self._arrays["size"][by_node], start)
        return (
            over(np.minimum, low, tree.range),
            over(np.maximum, high, tree.range),
            NEAR * over(np.maximum, size, tree.range),
        )

    def add_corrections(self, lib: Any, comm: MPI.Comm, limits: npt.NDArray[np.int64]) -> None:
        """Integrate near pairs for this rank's rows, and average them with their transpose.

        Entries of other rows are left out: who owns a row builds the blocks with near pairs in it.

        Args:
            lib: The kernels.
            comm: Communicator over which the rows are dealt.
            limits: First row of each rank, and the number of rows.
        """
        cast = self._ffi.cast
        n, centre, size = self.struct.nodes, self._arrays["centre"], self._arrays["size"]
        tree = build_tree(centre, LEAF_TRIANGLES)
        x, s = centre[tree.order], size[tree.order]
        low, high = over(np.minimum, x, tree.range), over(np.maximum, x, tree.range)
        largest = over(np.maximum, s, tree.range)
        middle, radius = 0.5 * (low + high), 0.5 * np.linalg.norm(high - low, axis=1)
        radius += 1e-9  # so that round-off hides no pair from one side
        balls = self._ffi.new("ball_tree *")
        arrays = (middle, radius, largest, tree.children, tree.range, tree.order)
        names = ("centre", "radius", "size", "children", "range", "order")
        for name, array in zip(names, arrays, strict=True):
            assert array.flags.c_contiguous
            setattr(balls, name, cast(_KINDS[array.dtype.str], array.ctypes.data))
        first, last = limits[comm.rank : comm.rank + 2].tolist()
        ptr = np.zeros(last - first + 1, dtype=np.int64)
        rows = (self.struct, balls, NEAR, first, last, cast("int64_t *", ptr.ctypes.data))
        failed = lib.llg_near_pattern(*rows, self._ffi.NULL)
        np.cumsum(ptr, out=ptr)
        columns, values = np.empty(ptr[-1], dtype=np.int32), np.empty(ptr[-1])
        at = cast("int32_t *", columns.ctypes.data)
        failed = failed or lib.llg_near_pattern(*rows, at)
        rules: list[Any] = []
        for rule in (RULE, FINE_RULE):
            rules += [len(rule), cast("double *", rule.ctypes.data)]
        values_at = cast("double *", values.ctypes.data)
        failed = failed or lib.llg_near_values(*rows, at, *rules, values_at)
        if any(comm.allgather(bool(failed))):
            raise MemoryError("no memory for the near field of the stray field")
        _symmetrize(comm, limits, ptr, columns, values)
        whole = np.full(n + 1, ptr[-1])
        whole[:first], whole[first : last + 1] = 0, ptr
        self._publish({"near_ptr": whole, "near_node": columns, "near_value": values})


def _symmetrize(
    comm: MPI.Comm,
    limits: npt.NDArray[np.int64],
    ptr: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int32],
    values: Floats,
) -> None:
    """Average the rows of this rank with those of the transpose, which has the same pattern."""
    rows, n = len(ptr) - 1, int(limits[-1])
    transposed = sparse.csr_matrix((values, columns, ptr), shape=(rows, n)).tocsc()
    if comm.size == 1:
        assert np.array_equal(transposed.indices, columns)
        values += transposed.data
    else:
        first, last = limits[comm.rank : comm.rank + 2]
        own = (columns >= first) & (columns < last)
        begin, end = transposed.indptr[[first, last]]
        # What other ranks have of the rows of this one comes as rows of their columns.
        other = np.flatnonzero(~own)
        owner = np.searchsorted(limits[1:], columns[other], side="right")
        sent = np.diff(transposed.indptr[limits])
        sent[comm.rank] = 0
        received, counts = np.empty(len(other)), np.bincount(owner, minlength=comm.size)
        outside = np.concatenate([transposed.data[:begin], transposed.data[end:]])
        comm.Alltoallv([outside, sent], [received, counts])
        values[own] += transposed.data[begin:end]
        values[other[np.argsort(owner, kind="stable")]] += received
    values *= 0.5


_KINDS = {"<f8": "double *", "<i4": "int32_t *", "<i8": "int64_t *"}


def _pointers(table: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int32]:
    counts = np.bincount(table.ravel(), minlength=n)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
