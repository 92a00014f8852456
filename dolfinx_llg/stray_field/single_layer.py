# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The single layer operator on P1 charges of a triangulated surface, as a symmetric H-matrix.

.. math:: V_{ab} = \frac{1}{4\pi} \int_\Gamma \int_\Gamma \frac{\psi_a(x)\,\psi_b(y)}{|x - y|}.

Far blocks by adaptive cross approximation (Bebendorf, Numer. Math. 86, 565 (2000)), near ones
dense. Only blocks of the upper triangle are kept and each is applied both ways, so that the
operator is symmetric whatever its accuracy and storage. The blocks are dealt over the ranks; each
is computed alike wherever it is, so that the operator does not depend on the number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import sparse
from tqdm import tqdm

from dolfinx_llg.stray_field.cache import Blocks, key_of, lengths_of, read, write
from dolfinx_llg.stray_field.clusters import Tree, block_partition, build_tree
from dolfinx_llg.stray_field.native import SOURCE, load
from dolfinx_llg.stray_field.surface import Surface

__all__ = ["SingleLayer"]

type Floats = npt.NDArray[np.float64]

LEAF = 48  # nodes of a leaf
LEAF_TRIANGLES = 16
ETA = 3.0  # smaller diameter over distance of far blocks
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
BATCHES = 32  # steps of the progress bar
SAMPLES = 8  # rows that are checked
FORMAT = 1  # of files in the cache


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


@dataclass(frozen=True)
class Part:
    """Blocks of one batch, as ``llg_apply`` takes them."""

    data: npt.NDArray[Any]
    blocks: npt.NDArray[np.int32]
    ranks: npt.NDArray[np.int32]


class SingleLayer:
    """V of one surface, the same operator on every rank.

    Args:
        surface: The boundary, in scaled units.
        comm: Communicator over which the blocks are dealt.
        accuracy: Relative accuracy of the far blocks.
        dense: Whether all blocks are dense.
        single: Whether entries are kept in single precision.
        progress: Whether rank 0 shows a progress bar.
        cache: Folder in which the blocks are kept and looked for.

    Attributes:
        n: Split nodes.
        megabytes: Memory of the blocks on this rank.
        row_error: Largest relative error of the rows checked.

    Raises:
        RuntimeError: If the blocks miss the accuracy on random rows (on all ranks).

    Note: Collective.
    """

    def __init__(
        self,
        surface: Surface,
        comm: MPI.Comm,
        *,
        accuracy: float,
        dense: bool,
        single: bool,
        progress: bool = False,
        cache: Path | None = None,
    ) -> None:
        self._ffi, self._lib = load(comm)
        self._comm, self._single, self.n = comm, single, len(surface.parent)
        self._surface = surface
        # Single precision of 1/r (1e-7) is enough where storage or accuracy are no better.
        self._mixed = single and accuracy >= 1e-5
        self._accuracy = accuracy
        tree = build_tree(surface.nodes[surface.parent], LEAF)
        self._order = tree.order
        kept = None
        if cache is not None:
            arrays = (surface.nodes, surface.triangles, surface.split, RULE, FINE_RULE)
            numbers = (FORMAT, SOURCE.read_text(), LEAF, ETA, NEAR, accuracy, dense, single)
            key = key_of([*arrays, *numbers])
            kept = read(cache, key, comm)
        if kept is not None:
            self._parts, self.row_error = _distribute(kept[0], comm), kept[1]
        else:
            geometry = _Geometry(surface, tree, self._ffi)
            geometry.add_corrections(self._lib, comm)
            blocks = block_partition(tree, *geometry.boxes(tree), 0.0 if dense else ETA)
            mine = blocks[_owners(blocks, comm.size) == comm.rank]
            self._parts = list(self._build(geometry, mine, progress))
            self.row_error = self._check_rows(geometry)
            if cache is not None:
                write(cache, key, comm, _collect(self._parts), self.row_error)
        self.megabytes = sum(part.data.nbytes for part in self._parts) / 1e6

    def _build(
        self, geometry: _Geometry, blocks: npt.NDArray[np.int32], progress: bool
    ) -> Iterator[Part]:
        area = (blocks[:, 1] - blocks[:, 0]).astype(np.int64) * (blocks[:, 3] - blocks[:, 2])
        reach = (blocks[:, 1] - blocks[:, 0]) + (blocks[:, 3] - blocks[:, 2])
        far = blocks[:, 4] > 0
        expected = np.where(far, np.minimum(area, 100 * reach), area)
        places = np.linspace(0, expected.sum(), BATCHES + 1)[1:-1]
        batches = np.split(np.arange(len(blocks)), np.searchsorted(np.cumsum(expected), places))
        # Empty batches do not matter: no rank waits for another here.
        for batch in tqdm(batches, "stray field", disable=not progress or self._comm.rank > 0):
            if len(batch):
                yield self._batch(geometry, blocks[batch], int(expected[batch].sum()))

    def _batch(self, geometry: _Geometry, blocks: npt.NDArray[np.int32], capacity: int) -> Part:
        length, ranks = np.empty(len(blocks), dtype=np.int64), np.empty(len(blocks), dtype=np.int32)
        blocks = np.ascontiguousarray(blocks)
        while True:
            data = np.empty(capacity, dtype=np.float32 if self._single else np.float64)
            failure = self._lib.llg_build(
                geometry.struct, len(blocks), self._pointer("int32_t *", blocks), self._accuracy,
                self._mixed, self._single, self._pointer("void *", data), capacity,
                self._pointer("int64_t *", length), self._pointer("int32_t *", ranks),
            )  # fmt: skip
            if failure == 2:
                capacity *= 4
                continue
            if failure:
                raise MemoryError("no memory for the blocks of the stray field")
            return Part(data[: length.sum()].copy(), blocks, ranks)

    def _pointer(self, kind: str, array: npt.NDArray[Any]) -> Any:
        assert array.flags.c_contiguous
        return self._ffi.cast(kind, array.ctypes.data)

    def _check_rows(self, geometry: _Geometry) -> float:
        n = min(SAMPLES, self.n)
        rows = np.sort(np.random.default_rng(1).choice(self.n, n, replace=False)).astype(np.int32)
        unit = np.zeros((self.n, n))
        unit[self._order[rows], np.arange(n)] = 1.0
        found = self.apply(unit)[self._order]
        mine = np.arange(self._comm.rank, n, self._comm.size)
        exact = np.empty((len(mine), self.n))
        chosen = np.ascontiguousarray(rows[mine])
        self._lib.llg_rows(
            geometry.struct, len(mine), self._pointer("int32_t *", chosen),
            self._pointer("double *", exact),
        )  # fmt: skip
        error = np.linalg.norm(found[:, mine].T - exact, axis=1) / np.linalg.norm(exact, axis=1)
        worst = float(max(self._comm.allgather(float(error.max(initial=0.0)))))
        if not worst <= 10 * self._accuracy + 1e-6 * self._single:
            raise RuntimeError(
                f"the boundary operator of the stray field misses its accuracy {self._accuracy:g}: "
                f"the error of a row is {worst:.1e}; pass a smaller accuracy, or dense_below"
            )
        return worst

    def apply(self, x: Floats) -> Floats:
        """Return V x on every rank, x of shape (n,) or (n, k) the same on every rank.

        Collective.
        """
        ordered = np.ascontiguousarray(x[self._order])
        local = np.zeros_like(ordered)
        width = 1 if x.ndim == 1 else x.shape[1]
        for part in self._parts:
            self._lib.llg_apply(
                self._pointer("void *", part.data), self._single, len(part.ranks),
                self._pointer("int32_t *", part.blocks), self._pointer("int32_t *", part.ranks),
                width, self._pointer("double *", ordered), self._pointer("double *", local),
            )  # fmt: skip
        if self._comm.size > 1:
            self._comm.Allreduce(MPI.IN_PLACE, local, op=MPI.SUM)
        out = np.empty_like(local)
        out[self._order] = local
        return out

    def potential_at(self, points: Floats, sigma: Floats) -> tuple[Floats, Floats]:
        """Return the potential of the charge sigma and its gradient at points, on every rank.

        Args:
            points: Scaled coordinates, shape (p, 3), the same on every rank.
            sigma: Values at the split nodes, shape (n,).

        Returns:
            Shapes (p,) and (p, 3). On the charge itself the gradient is one of its two limits.

        Note: Collective.
        """
        surface = self._surface
        limits = np.arange(self._comm.size + 1) * len(surface.triangles) // self._comm.size
        first, last = limits[self._comm.rank : self._comm.rank + 2].tolist()
        corners = np.ascontiguousarray(surface.nodes[surface.triangles])
        values = np.ascontiguousarray(sigma[surface.split])
        points = np.ascontiguousarray(points, dtype=np.float64)
        out = np.zeros((len(points), 4))
        self._lib.llg_field(
            len(points), self._pointer("double *", points), first, last,
            self._pointer("double *", corners), self._pointer("double *", values),
            self._pointer("double *", out),
        )  # fmt: skip
        if self._comm.size > 1:
            self._comm.Allreduce(MPI.IN_PLACE, out, op=MPI.SUM)
        return out[:, 0], out[:, 1:]


def _owners(blocks: npt.NDArray[np.int32], ranks: int) -> npt.NDArray[np.int64]:
    """Rank of each block: dealt to and fro by falling cost."""
    m, n = blocks[:, 1] - blocks[:, 0], blocks[:, 3] - blocks[:, 2]
    cost = np.where(blocks[:, 4] > 0, 12 * (m + n), m * n)
    turn = np.arange(len(blocks)) % (2 * ranks)
    owner = np.empty(len(blocks), dtype=np.int64)
    owner[np.argsort(-cost, kind="stable")] = np.minimum(turn, 2 * ranks - 1 - turn)
    return owner


def _collect(parts: list[Part]) -> Blocks:
    """Return the blocks of this rank one by one."""
    entries = [
        piece
        for part in parts
        for piece in np.split(part.data, np.cumsum(lengths_of(part.blocks, part.ranks))[:-1])
    ]
    blocks = [np.zeros((0, 5), np.int32), *(part.blocks for part in parts)]
    ranks = [np.zeros(0, np.int32), *(part.ranks for part in parts)]
    return np.concatenate(blocks), np.concatenate(ranks), entries


def _distribute(kept: Blocks, comm: MPI.Comm) -> list[Part]:
    """Deal the blocks that rank 0 has read as they would have been dealt to be built."""
    shares: list[Part | None] = []
    if comm.rank == 0:
        blocks, ranks, entries = kept
        order = np.lexsort((blocks[:, 2], blocks[:, 0]))
        blocks, ranks = blocks[order], ranks[order]
        owner = _owners(blocks, comm.size)
        shares = [
            Part(
                np.concatenate([entries[order[k]] for k in np.flatnonzero(owner == rank)]),
                np.ascontiguousarray(blocks[owner == rank]),
                np.ascontiguousarray(ranks[owner == rank]),
            )
            for rank in range(comm.size)
            if (owner == rank).any()
        ]
        shares += [None] * (comm.size - len(shares))
    share: Part | None = comm.scatter(shares, root=0)
    return [] if share is None else [share]


class _Geometry:
    """The surface as the kernels take it, nodes in the order of the tree."""

    def __init__(self, surface: Surface, tree: Tree, ffi: Any) -> None:
        n = len(surface.parent)
        place = np.empty(n, dtype=np.int64)
        place[tree.order] = np.arange(n)
        triangles = place[surface.split]
        corners = surface.nodes[surface.triangles]
        centre = corners.mean(axis=1)
        area = 0.5 * np.linalg.norm(surface.normals, axis=1)
        ends = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        _, first, point = np.unique(
            ends[:, 0] * n + ends[:, 1], return_index=True, return_inverse=True
        )
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
            np.array([low[first:last].min(axis=0) for first, last in tree.range]),
            np.array([high[first:last].max(axis=0) for first, last in tree.range]),
            np.array([NEAR * size[first:last].max() for first, last in tree.range]),
        )

    def add_corrections(self, lib: Any, comm: MPI.Comm) -> None:
        """Integrate near pairs: each rank some rows, gathered, then averaged with the transpose."""
        cast = self._ffi.cast
        n, centre, size = self.struct.nodes, self._arrays["centre"], self._arrays["size"]
        tree = build_tree(centre, LEAF_TRIANGLES)
        x, s = centre[tree.order], size[tree.order]
        low = np.array([x[a:b].min(axis=0) for a, b in tree.range])
        high = np.array([x[a:b].max(axis=0) for a, b in tree.range])
        largest = np.array([s[a:b].max() for a, b in tree.range])
        middle, radius = 0.5 * (low + high), 0.5 * np.linalg.norm(high - low, axis=1)
        balls = self._ffi.new("ball_tree *")
        arrays = (middle, radius, largest, tree.children, tree.range, tree.order)
        names = ("centre", "radius", "size", "children", "range", "order")
        for name, array in zip(names, arrays, strict=True):
            setattr(balls, name, cast(_KINDS[array.dtype.str], array.ctypes.data))
        limits = np.arange(comm.size + 1) * n // comm.size
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
        pieces = comm.allgather((np.diff(ptr), columns, values))
        counts, columns, values = (np.concatenate(piece) for piece in zip(*pieces, strict=True))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        matrix = sparse.csr_matrix((values, columns, indptr), shape=(n, n))
        matrix = (0.5 * (matrix + matrix.T)).tocsr()
        matrix.sort_indices()
        self._publish({
            "near_ptr": matrix.indptr.astype(np.int64),
            "near_node": matrix.indices.astype(np.int32),
            "near_value": matrix.data.astype(np.float64),
        })  # fmt: skip


_KINDS = {"<f8": "double *", "<i4": "int32_t *", "<i8": "int64_t *"}


def _pointers(table: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int32]:
    counts = np.bincount(table.ravel(), minlength=n)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
