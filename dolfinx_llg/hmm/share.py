# SPDX-License-Identifier: LGPL-3.0-or-later
"""Sharing of micro problems over the ranks of a communicator."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

__all__ = ["gather_rows", "own_part", "unique_rows"]

Array = npt.NDArray[np.float64]


def own_part(comm: MPI.Comm, n: int) -> slice:
    """Slice of n problems that this rank solves: contiguous, equal to within one."""
    return slice(n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size)


def gather_rows(comm: MPI.Comm, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows of all ranks one after another, on every rank."""
    if comm.size == 1:
        return rows
    parts: list[npt.NDArray[Any]] = comm.allgather(rows)
    return np.concatenate([part for part in parts if len(part)] or parts[:1])


def unique_rows(comm: MPI.Comm, rows: Array) -> tuple[npt.NDArray[np.int64], Array]:
    """Find the distinct rows of all ranks, up to rounding.

    Args:
        comm: Ranks, each with rows of its own.
        rows: Shape (n, m).

    Returns:
        For each row of all ranks its number among the distinct ones, and these, on every rank.
    """
    # Two random functionals tell rows apart; equal rows differ by the rounding of the coordinates.
    generator = np.random.default_rng(1)
    width = max(comm.allgather(rows.shape[1] if rows.ndim == 2 else 0))
    probes = generator.random((width, 2)) + 0.5
    local = rows.reshape(-1, width) @ probes
    keys = gather_rows(comm, local)
    scale = np.abs(keys).max(axis=0)
    rounded = np.round(keys / scale, 9)
    _, first, number = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    number = number.reshape(-1)
    start = sum(comm.allgather(len(local))[: comm.rank])
    kept = [(int(i), rows[f - start]) for i, f in enumerate(first) if 0 <= f - start < len(local)]
    distinct = np.empty((len(first), width))
    for part in comm.allgather(kept):
        for i, row in part:
            distinct[i] = row
    return number, distinct
