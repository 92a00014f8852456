# SPDX-License-Identifier: LGPL-3.0-or-later
"""Evaluate calls of the table in one process (or job); usage: worker.py RESULTS FIRST [good].

One JSON line for each call, appended by rank 0: a line ``start`` before it, so that the parent
knows which one hung or crashed, and one with what was found after it.
"""

from __future__ import annotations

from mpi4py import MPI  # isort: skip

import json
import re
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

import scope
import table

import dolfinx_llg

COMM = MPI.COMM_WORLD
PACKAGE = Path(dolfinx_llg.__file__).parent
#: What Python itself says clearly of a call: names and numbers of arguments.
PYTHON = ("unexpected keyword", "missing", "positional argument")
#: Classes of errors that say whose fault it is.
CLEAR = (ValueError, TypeError, RuntimeError, OSError)
#: Errors of that class that are not: they come from a layer below.
RAW = ("AssertionError", "UFLException", "ArityMismatch", "LinAlgError", "CompileError")


def outcome(call: str, names: dict[str, Any]) -> tuple[str, str]:
    """Return the class of what a call does, and its text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(compile(call, "<call>", "exec"), names, names)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if "mine" in str(error) or "the table is wrong" in text:
            return ("clear" if "mine" in str(error) else "table"), text
        frames = traceback.extract_tb(error.__traceback__)
        inside = Path(frames[-1].filename).is_relative_to(PACKAGE)
        python = isinstance(error, TypeError) and any(word in str(error) for word in PYTHON)
        known = isinstance(error, CLEAR) and type(error).__name__ not in RAW
        return ("clear" if (known and inside) or python else "raw"), text
    return "accepted", ""


def main() -> None:
    """Run the calls from a number on."""
    results, first = Path(sys.argv[1]), int(sys.argv[2])
    calls = table.good_calls() if "good" in sys.argv else table.calls()
    dolfinx_llg_abort = getattr(dolfinx_llg, "abort_on_error", lambda: None)
    dolfinx_llg_abort()
    names = scope.Scope()
    with results.open("a") as file:

        def tell(**line: Any) -> None:
            if COMM.rank == 0:
                print(json.dumps(line), file=file, flush=True)

        for number, (label, call, says) in enumerate(calls):
            if number < first:
                continue
            tell(start=number)
            kind, text = outcome(call, names)
            # An object's place in memory is another one on each rank.
            found = COMM.allgather((kind, re.sub(r" at 0x[0-9a-f]+", "", text)))
            if len(set(found)) > 1:
                kinds = {kind for kind, _ in found}
                kind = "clear" if kinds == {"clear"} and len(found) == 1 else "differs"
                text = " | ".join(f"{k}: {t}" for k, t in found)
            if kind == "clear" and says.lower() not in text.lower():
                kind = "says too little"
            tell(number=number, label=label, call=call, kind=kind, text=text[:300])


if __name__ == "__main__":
    main()
