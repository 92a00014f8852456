# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs that end when they are told to: a last checkpoint at the next step, on all ranks."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from mpi4py import MPI

from dolfinx_llg.abort import end_at_signals, leave_signals
from dolfinx_llg.checkpoint import write_checkpoint
from dolfinx_llg.checks import check_number
from dolfinx_llg.kinds import checked
from dolfinx_llg.state import State

__all__ = ["Stopped", "until_stopped"]

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """A run was told to end: exit code 128 + the number of the signal, as shells have it.

    Args:
        number: The signal; 15 (SIGTERM) gives 143, 2 (Ctrl-C) 130.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@checked
def until_stopped(
    states: Iterable[State], path: str | os.PathLike[str], *, every: float | None = None
) -> Iterator[State]:
    """Yield the states of a march; at SIGTERM or Ctrl-C write a checkpoint and end the program.

    ::

        states = llg.march(step, t_end=10.0, resume=resume)
        for state in llg.until_stopped(states, "run.npz", every=600.0):
            table.write(observer.observe(state))

    A signal that any of the ranks gets is noted, and taken up by all of them after the present step
    and what the loop does with it: rows are written, the checkpoint is that of the last of them.
    Then ``Stopped`` is raised, a ``SystemExit`` that closes files on its way and ends the program
    with exit code 143 (SIGTERM) or 130 (Ctrl-C) on all ranks. A second signal ends it at once.
    Where the march comes to its end the checkpoint is written too. A batch system sends SIGTERM
    some time before its limit if it is asked to: ``docker/job.sh`` is a script for SLURM that goes
    on by itself. A step that takes longer than that time is lost, and what was done since the last
    checkpoint with it.

    Args:
        states: The generator of ``march``.
        path: File of the checkpoint.
        every: Seconds of wall time between checkpoints; None: one at the end alone.

    Yields:
        The states.

    Raises:
        Stopped: After a signal.
        OSError: If the checkpoint cannot be written, on all ranks alike.
        ValueError: If ``every`` is not positive.

    Note: Collective; two numbers of each rank in each step.
    """
    if every is not None:
        check_number("every", every, positive=True)
    return _watched(states, path, every)


def _watched(
    states: Iterable[State], path: str | os.PathLike[str], every: float | None
) -> Iterator[State]:
    last: State | None = None
    written = time.monotonic()
    with _Signals() as signals:
        for state in states:
            yield state
            comm: MPI.Comm = state.m.function_space.mesh.comm
            due = every is not None and time.monotonic() - written > every
            number, late = map(max, zip(*comm.allgather((signals.met, due)), strict=True))
            last = state
            if number or late:
                write_checkpoint(path, state)
                written, last = time.monotonic(), None
            if number:
                if comm.rank == 0:
                    logger.warning(
                        "%s: the run ends at t = %g, step %d; its checkpoint is %s",
                        signal.Signals(number).name, state.t, state.n, os.fspath(path),
                    )  # fmt: skip
                if close := getattr(states, "close", None):
                    close()
                raise Stopped(number)
        if last is not None:
            write_checkpoint(path, last)


class _Signals:
    """Notes SIGINT and SIGTERM while it is entered; the second one finds what was there before."""

    def __init__(self) -> None:
        self.met = 0
        self._before: dict[int, Any] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.met = number
        self._restore()

    def __enter__(self) -> _Signals:
        for number in SIGNALS:
            with contextlib.suppress(ValueError):  # not in the main thread: signals are not ours
                leave_signals(number)
                self._before[number] = signal.signal(number, self._note)
        return self

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
            end_at_signals(number)
        self._before = {}

    def __exit__(self, *error: object) -> None:
        self._restore()
