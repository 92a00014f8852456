# SPDX-License-Identifier: LGPL-3.0-or-later
"""What all ranks do alike: raise, sum in a fixed order, agree on values.

An exception that one rank alone raises leaves the others waiting in their next collective call,
for ever. Whatever may fail on some ranks only (a callable of the user's, a file that rank 0 reads,
a check of local values) therefore runs under one guard, ``together`` or ``from_root``, after which
every rank goes on or every rank raises: the same class, the same text.

Errors that no guard sees (in the user's own loop) are the business of ``abort_on_error``.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.abort import end_job

__all__ = [
    "agree",
    "all_leave",
    "from_root",
    "on_root",
    "raise_alike",
    "raise_together",
    "together",
    "total",
]

logger = logging.getLogger(__name__)

#: Seconds that a rank with an error waits for the others. They come at once, or never: where they
#: wait in a collective call of the user's, which this rank has left, the job can only be ended.
PATIENCE = 60.0
#: The same where a rank leaves a block by an error that may be its own.
BRIEFLY = 3.0

#: Attribute of an error that every rank raises already: guards around the inner one let it pass.
_MARK = "_dolfinx_llg_on_all_ranks"


class together:
    """Run a block whose work is local: an exception on any rank is raised on all of them.

    ::

        with together(mesh.comm):
            values = user_function(x)

    The error of the lowest rank is raised, of the same class and text everywhere. The block may
    contain further guards; a collective call of another kind in it is right only where it fails on
    all ranks or on none: else the failing rank ends the job after a minute. ``KeyboardInterrupt``
    and ``SystemExit`` are no errors and pass at once.

    Args:
        comm: Ranks that run the block.

    Note: Collective; one reduction of an integer where all is well.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm

    def __enter__(self) -> None:
        """Enter the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise on all ranks what one of them has raised."""
        if error is None:
            raise_alike(self._comm, None)
        elif isinstance(error, Exception):
            raise_alike(self._comm, error)


def raise_alike(comm: MPI.Comm, error: Exception | None) -> None:
    """Raise the error of the lowest rank that has one on every rank.

    Args:
        comm: Ranks that call this.
        error: What went wrong on this rank; None: nothing.

    Note: Collective.
    """
    if comm.size == 1 or getattr(error, _MARK, False):
        if error is not None:
            raise error
        return
    first = _lowest(comm, comm.size if error is None else comm.rank, error)
    if first == comm.size:
        return
    packed = comm.bcast(_packed(error) if first == comm.rank and error else None, root=first)
    if first != comm.rank:
        own, error = error, _unpacked(packed)
        error.add_note(f"raised on rank {first}")
        setattr(error, _MARK, True)
        raise error from own
    assert error is not None
    try:
        setattr(error, _MARK, True)
    except AttributeError:  # a class with slots: an outer guard will exchange it again
        pass
    raise error


def _lowest(comm: MPI.Comm, rank: int, error: Exception | None) -> int:
    """Least of the ranks given; a rank with an error does not wait for ever."""
    mine, least = np.array([rank], dtype=np.int32), np.empty(1, dtype=np.int32)
    request = comm.Iallreduce(mine, least, op=MPI.MIN)
    if error is None:
        request.Wait()
    elif not _ends(request, PATIENCE):
        logger.critical(
            "rank %d failed, and the other ranks wait in a call that it has left: the job is ended",
            comm.rank,
            exc_info=error,
        )
        end_job(comm, 1)
    return int(least[0])


def _ends(request: MPI.Request, patience: float) -> bool:
    """Whether a request is done within some seconds."""
    end = time.monotonic() + patience
    while not request.Test():
        if time.monotonic() > end:
            return False
        time.sleep(1e-3)
    return True


def all_leave(comm: MPI.Comm, error: BaseException) -> bool:
    """Whether all ranks leave a block by an error, so that they can tidy up together.

    Where one alone does, the others are in a call that it has left: the caller then communicates no
    more and lets the error pass (``abort_on_error`` ends the job).

    Args:
        comm: Ranks in the block.
        error: With which this rank leaves it.

    Note: Collective among the ranks that leave; a rank alone waits for the others a few seconds.
    """
    if comm.size == 1 or getattr(error, _MARK, False):
        return True
    return _ends(comm.Ibarrier(), BRIEFLY)


def _packed(error: Exception) -> bytes:
    """Bytes of an error that another rank can raise: itself, or its text in its nearest base."""
    text = str(error)
    candidates: list[Callable[[], Exception]] = [lambda: error]
    candidates += [
        lambda kind=kind: kind(text)  # type: ignore[misc]
        for kind in type(error).__mro__
        if issubclass(kind, Exception) and kind is not Exception
    ]
    for candidate in candidates:
        try:
            found = candidate()
            data = pickle.dumps(found)
            back = pickle.loads(data)
        except Exception:  # of any class's own making
            continue
        if type(back) is type(found) and str(back) == text:
            return data
    return pickle.dumps(RuntimeError(f"{type(error).__name__}: {text}"))


def _unpacked(data: bytes) -> Exception:
    try:
        error = pickle.loads(data)
    except Exception as failure:  # a class that this rank does not know
        return RuntimeError(f"another rank failed with an error that cannot be sent ({failure})")
    assert isinstance(error, Exception)
    return error


def raise_together(comm: MPI.Comm, message: str | None) -> None:
    """Raise ValueError on all ranks with the message of the lowest rank that has one.

    Note: Collective.
    """
    raise_alike(comm, None if message is None else ValueError(message))


def on_root[T](comm: MPI.Comm, work: Callable[[], T]) -> T | None:
    """Run ``work`` on rank 0; an exception there is raised on every rank.

    Returns:
        The result on rank 0, None elsewhere (see ``from_root`` for results that all need).

    Note: Collective.
    """
    result: T | None = None
    with together(comm):
        if comm.rank == 0:
            result = work()
    return result


def from_root[T](comm: MPI.Comm, work: Callable[[], T]) -> T:
    """Run ``work`` on rank 0 and return its result on every rank; likewise its exception.

    Note: Collective.
    """
    result: T = comm.bcast(on_root(comm, work), root=0)
    return result


def total(comm: MPI.Comm, local: npt.ArrayLike) -> npt.NDArray[Any]:
    """Sum over the ranks in the order of the ranks: the same bits on each of them. Collective."""
    summed: npt.NDArray[Any] = np.sum(comm.allgather(np.asarray(local)), axis=0)
    return summed


def agree(comm: MPI.Comm, **values: object) -> None:
    """Raise ValueError on all ranks unless each value is the same on all of them.

    For what would otherwise let ranks drift apart in silence or lead them to different collective
    calls: dt, t_end, damping, seeds, options. Numbers agree to the last bit.

    Args:
        comm: Ranks that have the values.
        values: Numbers, text, None, arrays, and mappings and sequences of them, by name.

    Note: Collective.
    """
    if comm.size == 1:
        return
    mine = {name: _comparable(value) for name, value in values.items()}
    everywhere = comm.allgather(mine)
    for name in mine:
        met = [other.get(name) for other in everywhere]
        if any(text != met[0] for text in met):
            shown = ", ".join(f"{text} on rank {rank}" for rank, text in enumerate(met[:4]))
            raise ValueError(
                f"{name} must be the same on all ranks, got {shown}: compute it on rank 0 and "
                "broadcast it"
            )


def _comparable(value: object) -> str:
    """Text that two values share only where they are the same."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_comparable(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_comparable(entry) for entry in value) + "]"
    return repr(value)
