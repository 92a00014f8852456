# SPDX-License-Identifier: LGPL-3.0-or-later
"""Try command lines of the demos in one process (or job); usage: demo_worker.py RESULTS FIRST EVERY [good].

As ``worker.py``: one JSON line before each command line, and one with what was found after it. The
demos run in this process, so that what they import is imported once.
"""

from __future__ import annotations

from mpi4py import MPI  # isort: skip

import argparse
import contextlib
import io
import json
import runpy
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NoReturn

import command_lines

DEMOS = command_lines.DEMOS[0].parent
sys.path.insert(0, str(DEMOS))

import shared  # noqa: E402  (beside the demos)

COMM = MPI.COMM_WORLD
#: Seconds after which a demo is at work: it has accepted its command line.
AT_WORK = 120


class Begun(BaseException):
    """Raised instead of the work of a demo, with its options."""


def at_work(*_: object) -> NoReturn:
    raise Begun


def outcome(demo: str, line: str, folder: Path) -> tuple[str, str]:
    """Return the class of what a demo does, and what it says."""
    words = [word.format(folder=folder) for word in line.split()]
    path = DEMOS / f"demo_{demo}.py"
    said, printed = io.StringIO(), io.StringIO()
    sys.argv = [str(path), *words]
    signal.signal(signal.SIGALRM, at_work)
    signal.alarm(AT_WORK)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(printed),
        ):
            warnings.simplefilter("ignore")
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as error:
        text = said.getvalue()
        lines = text.count("\n") == 1 if COMM.rank == 0 else not text
        kind = "clear" if error.code in (1, 2) and lines else f"exit {error.code}"
        return kind, text
    except Begun as begun:
        values = begun.args[0] if begun.args else {}
        return "accepted", json.dumps(values, default=str)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return "accepted", ""


def stop_at_the_options() -> None:
    """Let demos tell their options instead of beginning their work."""
    begin = shared.begin

    def stopped(*given: Any, **options: Any) -> argparse.Namespace:
        raise Begun(vars(begin(*given, **options)))

    shared.begin = stopped


def main() -> None:
    """Try the lines from a number on."""
    results, first = Path(sys.argv[1]), int(sys.argv[2])
    good = "good" in sys.argv
    if good:
        stop_at_the_options()
        lines = [(demo, line, "") for demo, line, _ in command_lines.good()]
    else:
        lines = command_lines.lines()[:: int(sys.argv[3])]
    folder = Path(COMM.bcast(tempfile.mkdtemp() if COMM.rank == 0 else None))
    if COMM.rank == 0:
        (folder / "file").touch()
        (folder / "junk.npz").write_text("junk")
        (folder / "made").mkdir()
    COMM.barrier()
    with results.open("a") as file:

        def tell(**line: Any) -> None:
            if COMM.rank == 0:
                print(json.dumps(line), file=file, flush=True)

        for number, (demo, line, says) in enumerate(lines):
            if number < first:
                continue
            tell(start=number)
            kind, text = outcome(demo, line, folder)
            kinds = set(COMM.allgather(kind))
            if len(kinds) > 1:
                kind = f"differs: {sorted(kinds)}"
            if kind == "clear" and says.lower() not in text.lower():
                kind = "says too little"
            tell(number=number, label=demo, call=line, kind=kind, text=text[:2000])


if __name__ == "__main__":
    main()
