# SPDX-License-Identifier: LGPL-3.0-or-later
"""Compilation of UFL, with words for the two ways in which it fails.

A process that is killed while it compiles leaves an empty place in the cache, on which every later
run waits in vain. The error names the file to remove, on all ranks: within half an hour nobody can
know whether another process is still compiling it. After that it is removed, and the form is
compiled anew. Forms that a user's script compiles by ``fem.form`` have DOLFINx's own message.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpi4py import MPI

import ufl
from dolfinx import fem
from ufl.domain import extract_domains

from dolfinx_llg.collective import from_root

__all__ = ["compile_expression", "compile_form"]

#: Age in seconds from which a compilation that is not done counts as killed: far above the
#: minutes that the largest forms take.
_STALE = 1800.0
_TIMED_OUT = re.compile(r"timed out.*remove (\S+?)\)", re.DOTALL)


def compile_form(form: Any, **options: Any) -> Any:
    """Return ``fem.form(form, **options)``.

    Raises:
        RuntimeError: If the compiler fails, or the cache waits for a compilation that was killed,
            with the file to remove; on all ranks alike.

    Note: Collective.
    """
    return _compiled(lambda: fem.form(form, **options), form)


def compile_expression(
    expression: Any, points: Any, comm: MPI.Comm | None = None, **options: Any
) -> Any:
    """Return ``fem.Expression(expression, points, comm, **options)``; see ``compile_form``."""
    return _compiled(lambda: fem.Expression(expression, points, comm, **options), expression)


def _compiled(compile_it: Callable[[], Any], what: Any) -> Any:
    try:
        return compile_it()
    except Exception as error:
        if not _of_the_compiler(error):
            raise
        comm = _communicator(what)
        # DOLFINx tells the reason on rank 0 alone.
        text = from_root(comm, lambda text=str(error): text)  # type: ignore[misc]
        place = _TIMED_OUT.search(text)
        if place is None:
            lines = [line for line in text.splitlines() if "error" in line.lower()] or [text]
            raise RuntimeError(
                f"a form could not be compiled: {lines[0].strip()[:300]}; a number in it that is "
                "NaN or infinite, or a C compiler that does not work"
            ) from error
        file = Path(place[1])
        if not from_root(comm, lambda: _remove_stale(file)):
            raise RuntimeError(
                f"the cache of compiled forms waits for {file}: another process is compiling it, "
                f"or was killed while it did; if none is, remove that file (rm '{file}')"
            ) from error
    return compile_it()


def _of_the_compiler(error: Exception) -> bool:
    if type(error).__name__ in ("TimeoutError", "VerificationError", "CompileError"):
        return True
    return isinstance(error, RuntimeError) and "JIT" in str(error)


def _communicator(what: Any) -> MPI.Comm:
    while isinstance(what, list | tuple):
        what = what[0]
    domains: Any = what.ufl_domains() if isinstance(what, ufl.Form) else extract_domains(what)
    comm: MPI.Comm = domains[0].ufl_cargo().comm
    return comm


def _remove_stale(file: Path) -> bool:
    """Remove the place of a compilation that was begun too long ago; whether it is gone."""
    with contextlib.suppress(OSError):
        if time.time() - file.stat().st_mtime > _STALE:
            os.unlink(file)
    return not file.exists()
