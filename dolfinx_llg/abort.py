# SPDX-License-Identifier: LGPL-3.0-or-later
"""A job that dies must die: errors, exits, Ctrl-C and signals on one rank end all of them."""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import logging
import signal
import sys
import threading
import time
import traceback
from types import CodeType, TracebackType

from mpi4py import MPI

__all__ = ["abort_on_error", "end_at_signals", "end_job", "leave_signals"]

logger = logging.getLogger(__name__)

#: Seconds that a rank which left by ``sys.exit(1)`` waits for the others to do the same.
PATIENCE = 5.0
#: Seconds after which a rank at the end of its script says that it waits for the others.
LONG = 60.0

_watched: list[MPI.Comm] = []


def abort_on_error(comm: MPI.Comm = MPI.COMM_WORLD) -> None:
    """Let an error on one rank end the job on all ranks within seconds.

    Without it the others wait in their next collective call for the rank that is gone, until the
    queue's limit. Call it once, at the start of a script that runs under MPI::

        import dolfinx_llg as llg

        llg.abort_on_error()

    From then on, with more than one rank:

    - An exception that nobody catches prints its traceback and aborts the job with exit code 1.
    - ``sys.exit(code)`` with an error (or ``raise SystemExit``) ends a rank, and if the others do
      not end within 5 s, it aborts the job with that code. Where all of them exit, as they do for
      a wrong command line, the job ends as ever.
    - A rank that ends without an error waits for the others as long as they work: rank 0 may be
      drawing. After a minute it says so once, by a warning of the logger, since it may also be
      that they wait for this rank, which nobody can know.
    - SIGINT (Ctrl-C) and SIGTERM print where the rank stands and end it at once, also inside a
      call of MPI or PETSc, where Python's own handlers would wait.

    ``finally`` blocks of the other ranks do not run where the job is aborted, nor any at a signal:
    the last checkpoint is whole, since it is written aside and renamed. On one rank everything
    stays as Python has it. A process that ``os._exit`` or the kernel (SIGKILL) ends is the
    launcher's to notice; those of MPICH and Open MPI end the job then. Nor does it see errors in
    other threads than the main one, those that the script catches itself on one rank, or any where
    somebody replaces ``sys.excepthook`` later (IPython does).

    Args:
        comm: Ranks to end; the world, as a rule.

    Raises:
        TypeError: If comm is no communicator.

    Note: Collective; a second call does nothing.
    """
    if not isinstance(comm, MPI.Comm):
        raise TypeError(f"comm must be a communicator of mpi4py, got {comm!r}")
    if comm.size == 1 or comm in _watched:
        return
    _watched.append(comm)

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = kind.__name__
        with contextlib.suppress(Exception):  # in the error's own text
            text = "".join(traceback.format_exception(kind, error, trace))
        end_job(comm, 1, f"rank {comm.rank} ends the job:\n{text}")

    sys.excepthook = hook
    _Exit(comm)
    for number in (signal.SIGINT, signal.SIGTERM):
        end_at_signals(number)


def end_at_signals(number: int) -> None:
    """Let a signal end this rank at once, where ``abort_on_error`` watches the job."""
    if not _watched:
        return
    # The default first, then the traceback before it: both act inside C code too.
    with contextlib.suppress(ValueError):  # not in the main thread: signals are not ours
        signal.signal(number, signal.SIG_DFL)
    with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
        faulthandler.register(number, all_threads=False, chain=True)


def leave_signals(number: int) -> None:
    """Take back what ``end_at_signals`` has set, for a handler of Python's."""
    with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
        faulthandler.unregister(number)


def end_job(comm: MPI.Comm, code: int, text: str = "") -> None:
    """Abort the job on all ranks with the last words of this one, which the launcher passes on."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()
    # The launcher reads what ranks write from a pipe, and drops what is left in it at an abort.
    time.sleep(0.5)
    comm.Abort(code)


class _Exit:
    """Lets no rank end alone: MPI's own end would wait for the others without a word.

    Python tells nobody that it ends by ``SystemExit``, neither the exception hook nor the functions
    that run at the exit. So the unwinding of frames is watched, which costs nothing while none is
    unwound: a ``SystemExit`` that leaves the outermost frame of the main thread is the end, one
    that is caught on the way is none.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        # Of our own: the other ranks may be in a collective call of the user's.
        self._comm = comm.Dup()
        self._code: int | None = None
        self._watch()
        atexit.register(self._wait)

    def _watch(self) -> None:
        monitoring, event = sys.monitoring, sys.monitoring.events.PY_UNWIND
        for tool in (4, 3):  # those that Python reserves for nothing
            if monitoring.get_tool(tool) is None:
                monitoring.use_tool_id(tool, __name__)
                monitoring.register_callback(tool, event, self._unwound)
                monitoring.set_events(tool, event)
                return

    def _unwound(self, code: CodeType, offset: int, error: BaseException) -> None:
        if (
            isinstance(error, SystemExit)
            and sys._getframe(1).f_back is None
            and threading.current_thread() is threading.main_thread()
        ):
            value = error.code
            self._code = 0 if value is None else value if isinstance(value, int) else 1

    def _wait(self) -> None:
        """Wait for all ranks to end, or end them."""
        if MPI.Is_finalized():
            return
        comm, begin, told = self._comm, time.monotonic(), False
        arrived = comm.Ibarrier()
        while not arrived.Test():
            waited = time.monotonic() - begin
            if self._code and waited > PATIENCE:
                how = f"rank {comm.rank} has left by sys.exit({self._code})"
                end_job(comm, self._code, f"{how}, and other ranks have not: it ends the job\n")
            if waited > LONG and not told:
                told = True
                logger.warning(
                    "rank %d is at its end and waits for other ranks to come to theirs; if they "
                    "wait for it in a collective call, the job never ends",
                    comm.rank,
                )
            time.sleep(0.01)
        comm.Free()
