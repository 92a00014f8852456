# SPDX-License-Identifier: LGPL-3.0-or-later
"""Run the campaign of bad input in fresh processes and count what happens.

Usage::

    python tests/campaign/run.py [RANKS...] [--json FILE] [--good] [--demos] [--limit SECONDS]

A call that hangs or crashes costs its process; the next one goes on behind it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are complete."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def campaign(
    ranks: int,
    *,
    good: bool = False,
    demos: bool = False,
    every: int = 1,
    limit: float = 20.0,
    first: int = 0,
) -> list[dict[str, Any]]:
    """Return one entry for each call: label, call, kind, text.

    Args:
        ranks: Number of ranks.
        good: The calls without a mistake instead.
        demos: Command lines of the demos instead of calls.
        every: Stride through these lines: 5 tries a fifth of them.
        limit: Seconds without progress after which a call counts as hung.
        first: Number of the first line to try.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PMI", "MPI", "HYDRA"))}
    environment["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(HERE))
    import command_lines
    import table

    if demos:
        calls = command_lines.good() if good else command_lines.lines()[::every]
    else:
        calls = table.good_calls() if good else table.calls()
    results = Path(tempfile.mkdtemp()) / "results"
    worker = HERE / ("demo_worker.py" if demos else "worker.py")
    command = [sys.executable, str(worker), str(results)]
    if ranks > 1:
        command = [str(Path(sys.executable).with_name("mpirun")), "-n", str(ranks), *command]
    while first < len(calls):
        arguments = [*command, str(first), *([str(every)] if demos else [])]
        arguments += ["good"] if good else []
        job = subprocess.Popen(
            arguments, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        seen, since, hung = -1, time.monotonic(), False
        while job.poll() is None:
            time.sleep(0.05)
            size = results.stat().st_size if results.exists() else 0
            if size != seen:
                seen, since = size, time.monotonic()
            elif time.monotonic() - since > limit + (20.0 if seen == 0 else 0.0):
                hung = True
                os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        found = lines(results)
        started = max((entry["start"] for entry in found if "start" in entry), default=-1)
        done = max((entry["number"] for entry in found if "number" in entry), default=-1)
        if started < first and done < first:
            raise RuntimeError(f"the campaign does not start: {' '.join(arguments)}")
        first = done + 1
        if started > done:
            label, call, _ = calls[started]
            entry = {"number": started, "label": label, "call": call, "text": ""}
            with results.open("a") as file:
                print(json.dumps(entry | {"kind": "hang" if hung else "crash"}), file=file)
            first = started + 1
    return [entry for entry in lines(results) if "number" in entry]


def main() -> None:
    """Print the counts by class, and the calls that fall short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ranks", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--good", action="store_true")
    parser.add_argument("--demos", action="store_true", help="command lines of the demos")
    parser.add_argument("--limit", type=float, help="default 20, for demos 60")
    parser.add_argument("--first", type=int, default=0, help="number of the first line to try")
    options = parser.parse_args()
    everything = {}
    for ranks in options.ranks:
        begin = time.monotonic()
        limit = options.limit or (60.0 if options.demos else 20.0)
        found = campaign(
            ranks, good=options.good, demos=options.demos, limit=limit, first=options.first
        )
        wanted = "accepted" if options.good else "clear"
        for entry in found:
            if entry["kind"] != wanted:
                print(f"{entry['kind']}: {entry['call']}\n    {entry['text'][:160]}")
        counts = dict(Counter(entry["kind"] for entry in found).most_common())
        print(f"{ranks} rank(s): {len(found)} calls in {time.monotonic() - begin:.0f} s: {counts}")
        everything[str(ranks)] = {"counts": counts, "calls": found}
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()
