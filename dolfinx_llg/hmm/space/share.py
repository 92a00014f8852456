# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sharing of micro problems over the ranks of a communicator, and which of them are alike."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.collective import raise_alike
from dolfinx_llg.hmm.space.box import Coefficient, MicroBox, sample_edges

__all__ = ["distinct_coefficients", "gather_rows", "own_part", "unique_rows"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: Boxes sampled at once.
CHUNK = 8


def own_part(comm: MPI.Comm, n: int) -> slice:
    """Slice of n problems that this rank solves: contiguous, equal to within one."""
    return slice(n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size)


def gather_rows(comm: MPI.Comm, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows of all ranks one after another, on every rank."""
    if comm.size == 1:
        return rows
    parts: list[npt.NDArray[Any]] = comm.allgather(rows)
    return np.concatenate([part for part in parts if len(part)] or parts[:1])


def unique_rows(comm: MPI.Comm, blocks: Iterable[Array], width: int) -> tuple[Integers, Array]:
    """Find the distinct rows of all ranks, up to rounding, keeping no others.

    Args:
        comm: Ranks, each with rows of its own.
        blocks: Positive rows, in blocks of shape (any, width).
        width: Length of a row.

    Returns:
        For each row of all ranks its number among the distinct ones, and these, on every rank.
    """
    # Two random functionals tell rows apart; equal rows differ by the rounding of the coordinates.
    probes = np.random.default_rng(1).random((width, 2)) + 0.5
    keys: list[Array] = []
    alike: list[int] = []
    kept: list[Array] = []
    kept_keys = np.empty((0, 2))
    for block in blocks:
        for row in block:
            key = row @ probes
            near = np.flatnonzero(np.all(np.abs(kept_keys - key) <= 1e-11 * key, axis=1))
            if len(near) == 0:
                kept.append(row.copy())
                kept_keys = np.vstack([kept_keys, key])
            keys.append(key)
            alike.append(int(near[0]) if len(near) else len(kept) - 1)
    everything = gather_rows(comm, np.array(keys).reshape(-1, 2))
    rounded = np.round(everything / everything.max(axis=0, initial=0.0), 9)
    _, first, number = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    start = sum(comm.allgather(len(keys))[: comm.rank])
    mine = [(i, kept[alike[f - start]]) for i, f in enumerate(first) if 0 <= f - start < len(keys)]
    distinct = np.empty((len(first), width))
    for part in comm.allgather(mine):
        for i, row in part:
            distinct[i] = row
    return number.reshape(-1), distinct


def distinct_coefficients(
    comm: MPI.Comm, box: MicroBox, kappa: Coefficient, centres: Array, *, shared: bool
) -> tuple[Integers, Array]:
    """Sample a coefficient in boxes and tell which of them are alike.

    Args:
        comm: Ranks, each with boxes of its own.
        box: The box.
        kappa: Coefficient, a function of points of shape (dim, n).
        centres: Centres of this rank's boxes, shape (n, dim).
        shared: Whether the distinct ones of all ranks are wanted on every rank; else this rank's.

    Returns:
        Number of the coefficient of each box (of all ranks, if ``shared``), and the distinct
        coefficients at the edges, shape (P, n_edges).

    Raises:
        ValueError: If the coefficient is not positive and finite everywhere, on all ranks alike.
    """
    width = box.dim * box.n_cells * (box.n_cells + 1) ** (box.dim - 1)
    lowest = math.inf
    failure: Exception | None = None

    def blocks() -> Iterable[Array]:
        nonlocal lowest, failure
        for i in range(0, len(centres), CHUNK):
            # A bad block must not end the loop on this rank alone, nor may a kappa that raises.
            try:
                block = sample_edges(box, kappa, centres[i : i + CHUNK])
            except Exception as error:
                failure = error
                yield np.ones((len(centres[i : i + CHUNK]), width))
                continue
            low = float(block.min()) if np.all(np.isfinite(block)) else -math.inf
            lowest = min(lowest, low)
            yield block if low > 0.0 else np.ones_like(block)

    found = unique_rows(comm if shared else MPI.COMM_SELF, blocks(), width)
    raise_alike(comm, failure)
    worst = min(comm.allgather(lowest))
    if not worst > 0.0:
        shown = "NaN or infinite" if worst == -math.inf else f"{worst:g}"
        raise ValueError(f"kappa must be positive and finite in all boxes, found {shown}")
    return found
