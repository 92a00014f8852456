# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The single layer operator on P1 charges of a triangulated surface, as a symmetric H-matrix.

.. math:: V_{ab} = \frac{1}{4\pi} \int_\Gamma \int_\Gamma \frac{\psi_a(x)\,\psi_b(y)}{|x - y|}.

Far blocks by adaptive cross approximation (Bebendorf, Numer. Math. 86, 565 (2000)), near ones
dense. Only blocks of the upper triangle are kept and each is applied both ways, so that the
operator is symmetric whatever its accuracy and storage. The blocks are dealt over the ranks; each
is computed alike wherever it is, so that the operator does not depend on the number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from cffi import FFI
from tqdm import tqdm

from dolfinx_llg.collective import together
from dolfinx_llg.stray_field.cache import Blocks, key_of, lengths_of, read, write
from dolfinx_llg.stray_field.clusters import block_partition, build_tree
from dolfinx_llg.stray_field.entries import FINE_RULE, NEAR, RULE, Entries
from dolfinx_llg.stray_field.native import KERNELS
from dolfinx_llg.stray_field.surface import Surface

__all__ = ["SingleLayer"]

type Floats = npt.NDArray[np.float64]

LEAF = 32  # nodes of a leaf
ETA = 3.0  # smaller diameter over distance of far blocks
BATCHES = 32  # steps of the progress bar
SAMPLES = 8  # rows that are checked
FORMAT = 1  # of files in the cache
MASS = 12  # near entries that take as long as the factors of the masses, a node


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
        library: The kernels. Loading them here would keep the other ranks waiting for the one that
            has factorized the masses.
        accuracy: Relative accuracy of the far blocks; flat bodies are given a better one.
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
        library: tuple[FFI, Any],
        *,
        accuracy: float,
        dense: bool,
        single: bool,
        progress: bool = False,
        cache: Path | None = None,
    ) -> None:
        self._ffi, self._lib = library
        self._comm, self._single, self.n = comm, single, len(surface.parent)
        self._surface = surface
        # The charges on the two sides of a film cancel at a distance but for its thickness over its
        # width: blocks that err by 1e-4 would err by 1e-2 of what is left.
        self._accuracy = max(accuracy * min(1.0, 10 * surface.flatness), 1e-12)
        # Single precision of 1/r (1e-7) is enough where storage or accuracy are no better.
        self._mixed = single and self._accuracy >= 1e-6
        tree = build_tree(surface.nodes[surface.parent], LEAF)
        self._order = tree.order
        kept = None
        if cache is not None:
            arrays = (surface.nodes, surface.triangles, surface.split, RULE, FINE_RULE)
            numbers = (FORMAT, KERNELS.source(), LEAF, ETA, NEAR, accuracy, dense, single)
            key = key_of([*arrays, *numbers])
            kept = read(cache, key, comm)
        if kept is not None:
            self._parts, self.row_error = _distribute(kept[0], comm), kept[1]
            self._pointers = [self._arguments(part) for part in self._parts]
        else:
            geometry = Entries(surface, tree, self._ffi)
            blocks = block_partition(tree, *geometry.boxes(tree), 0.0 if dense else ETA)
            owners, limits = _owners(blocks, comm.size)
            geometry.add_corrections(self._lib, comm, limits)
            mine = blocks[owners == comm.rank]
            with together(comm):  # no rank waits for another in there
                self._parts = list(self._build(geometry, mine, progress))
            self._pointers = [self._arguments(part) for part in self._parts]
            self.row_error = self._check_rows(geometry, limits)
            if cache is not None:
                write(cache, key, comm, _collect(self._parts), self.row_error)
        self.megabytes = sum(part.data.nbytes for part in self._parts) / 1e6

    def _build(
        self, geometry: Entries, blocks: npt.NDArray[np.int32], progress: bool
    ) -> Iterator[Part]:
        area = (blocks[:, 1] - blocks[:, 0]).astype(np.int64) * (blocks[:, 3] - blocks[:, 2])
        reach = (blocks[:, 1] - blocks[:, 0]) + (blocks[:, 3] - blocks[:, 2])
        far = blocks[:, 4] > 0
        expected = np.where(far, np.minimum(area, 100 * reach), area)
        places = np.linspace(0, expected.sum(), BATCHES + 1)[1:-1]
        batches = np.split(np.arange(len(blocks)), np.searchsorted(np.cumsum(expected), places))
        for batch in tqdm(batches, "stray field", disable=not progress or self._comm.rank > 0):
            if len(batch):
                yield self._batch(geometry, blocks[batch], int(expected[batch].sum()))

    def _batch(self, geometry: Entries, blocks: npt.NDArray[np.int32], capacity: int) -> Part:
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

    def _arguments(self, part: Part) -> tuple[Any, ...]:
        """Return the first arguments of ``llg_apply``; made at each product they cost a third."""
        return (
            self._pointer("void *", part.data),
            self._single,
            len(part.ranks),
            self._pointer("int32_t *", part.blocks),
            self._pointer("int32_t *", part.ranks),
        )

    def _check_rows(self, geometry: Entries, limits: npt.NDArray[np.int64]) -> float:
        """Return the largest error of some rows, one of each of equal shares of all rows."""
        n = min(SAMPLES, self.n)
        shares = np.arange(n + 1) * self.n // n
        rows = np.random.default_rng(1).integers(shares[:-1], shares[1:]).astype(np.int32)
        unit = np.zeros((self.n, n))
        unit[self._order[rows], np.arange(n)] = 1.0
        found = self.apply(unit)[self._order]
        first, last = limits[self._comm.rank : self._comm.rank + 2]
        mine = np.flatnonzero((rows >= first) & (rows < last))
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
        vectors = (width, self._pointer("double *", ordered), self._pointer("double *", local))
        for part in self._pointers:
            self._lib.llg_apply(*part, *vectors)
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


def _owners(
    blocks: npt.NDArray[np.int32], ranks: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Deal the blocks: dense ones with their rows, which go in pieces, far ones so as to even out.

    Returns:
        Rank of each block, and the first row of each rank's piece, with the number of rows.
    """
    m, n = blocks[:, 1] - blocks[:, 0], blocks[:, 3] - blocks[:, 2]
    far = blocks[:, 4] > 0
    # Pieces of rows of equal near cost, which lies on both sides of the diagonal; less for the last
    # rank, which factorizes the masses of the surface meanwhile.
    area = (m.astype(np.int64) * n)[~far]
    leaf, place = np.unique(blocks[~far, 0], return_inverse=True)
    across = np.searchsorted(leaf, blocks[~far, 2])
    cost = np.bincount(place, area) + np.bincount(across, area, minlength=len(leaf))
    share = (cost.sum() + 2 * MASS * blocks[:, 1].max()) / ranks
    rank = np.minimum((np.cumsum(cost) - 0.5 * cost) / share, ranks - 1).astype(np.int64)
    starts = np.searchsorted(rank, np.arange(ranks + 1))
    limits = np.append(leaf, blocks[:, 1].max())[starts].astype(np.int64)
    owner = np.empty(len(blocks), dtype=np.int64)
    owner[~far] = rank[place]
    # Far ones to and fro by falling cost.
    turn = np.arange(np.count_nonzero(far)) % (2 * ranks)
    order = np.argsort(-(m + n)[far], kind="stable")
    owner[np.flatnonzero(far)[order]] = np.minimum(turn, 2 * ranks - 1 - turn)
    return owner, limits


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
        owner, _ = _owners(blocks, comm.size)
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
