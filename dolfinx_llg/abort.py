# SPDX-License-Identifier: LGPL-3.0-or-later
"""A job that dies must die: errors, Ctrl-C and signals on one rank end all of them."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import time
import traceback
from types import TracebackType

from mpi4py import MPI

__all__ = ["abort_on_error"]


def abort_on_error(comm: MPI.Comm = MPI.COMM_WORLD) -> None:
    """Let an error on one rank end the job on all ranks within seconds.

    Without it the others wait in their next collective call for the rank that is gone, until the
    queue's limit. Call it once, at the start of a script that runs under MPI::

        import dolfinx_llg as llg

        llg.abort_on_error()

    From then on, with more than one rank: an exception that nobody catches prints its traceback
    and aborts the job with exit code 1; SIGINT (Ctrl-C) and SIGTERM print where the rank stands
    and end it at once, also inside a call of MPI or PETSc, where Python's own handlers would
    wait. ``finally`` blocks of the script do not run then: the last checkpoint is whole, since it
    is written aside and renamed. On one rank everything stays as Python has it.

    Args:
        comm: Ranks to end; the world, as a rule.
    """
    if comm.size == 1:
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        with contextlib.suppress(Exception):
            lines = "".join(traceback.format_exception(kind, error, trace))
            sys.stdout.flush()
            sys.stderr.write(f"rank {comm.rank} ends the job:\n{lines}")
            sys.stderr.flush()
        # The launcher reads what ranks write from a pipe, and drops what is left in it at an abort.
        time.sleep(0.5)
        comm.Abort(1)

    sys.excepthook = hook
    for number in (signal.SIGINT, signal.SIGTERM):
        # The default first, then the traceback before it: both act inside C code too.
        with contextlib.suppress(ValueError):  # not in the main thread: signals are not ours
            signal.signal(number, signal.SIG_DFL)
        with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
            faulthandler.register(number, all_threads=False, chain=True)
