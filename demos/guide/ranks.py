# SPDX-License-Identifier: LGPL-3.0-or-later
"""The tutorials on two ranks, as they stand: the same numbers as in the guide, on each rank.

``python ranks.py SCRIPT FOLDER`` is one rank of such a run: it writes what the script prints into
a file of its own, since a launcher mixes what the ranks print.
"""

import contextlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

RANKS = 2
LIMIT = 1200.0  # seconds; a minute each on two cores of its own
#: Ranks of MPICH that wait leave the core to others, as on a machine that has other work too.
WAITING = {"MPIR_CVAR_CH4_PROGRESS_THROTTLE": "1"}
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")


def unit(number: str) -> float:
    """Return the place of the last digit of a printed number."""
    digits, _, exponent = number.partition("e")
    return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


def same(line: str, other: str) -> bool:
    """Whether two lines are equal up to one unit in the last digit of each number.

    Solvers stop at a tolerance, which the number of ranks moves by less than is printed, or just
    over the border between two digits.
    """
    if NUMBER.sub("#", line).split() != NUMBER.sub("#", other).split():
        return False
    pairs = zip(NUMBER.findall(line), NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= 1.001 * max(unit(a), unit(b)) for a, b in pairs)


def printed(notebook: dict) -> list[str]:
    """Return the lines that an executed notebook has printed."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    streams = [o for o in outputs if o["output_type"] == "stream" and o["name"] == "stdout"]
    return "".join("".join(o["text"]) for o in streams).splitlines()


def check(tutorials: list[Path], cache: Path, work: Path) -> list[str]:
    """Return what is wrong, a line each; what is as it was at the last good run is not run."""
    from jupyter_cache import get_cache

    records = get_cache(str(cache))
    executed = {Path(r.uri).name: r.pk for r in records.list_cache_records()}
    faults = []
    for path in tutorials:
        wanted = printed(records.get_cache_bundle(executed[path.name]).nb)
        folder, stamp = work / path.stem, work / f"{path.stem}.json"
        mark = json.dumps([path.read_text(), wanted])
        if stamp.exists() and stamp.read_text() == mark:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mpirun = shutil.which("mpirun") or shutil.which("mpiexec")
        command = [mpirun, "-n", str(RANKS), sys.executable, __file__, str(path), str(folder)]
        try:
            done = subprocess.run(
                command, cwd=folder, env=WAITING | os.environ | {"MPLBACKEND": "Agg"}, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=LIMIT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            faults.append(f"{path.name}: not done on {RANKS} ranks within {LIMIT:g} s")
            continue
        found = [f"on {RANKS} ranks: {done.stdout[-2000:]}"] if done.returncode else []
        for rank in range(RANKS if not found else 0):
            lines = (folder / f"rank_{rank}.txt").read_text().splitlines()
            if len(lines) != len(wanted):
                found.append(f"rank {rank} prints {len(lines)} lines, the guide {len(wanted)}")
            for line, other in zip(lines, wanted, strict=False):
                if not same(line, other):
                    found.append(f"rank {rank} prints {line!r}, the guide {other!r}")
        faults += [f"{path.name}: {fault}" for fault in found]
        if not found:
            stamp.write_text(mark)
    return faults


if __name__ == "__main__":
    from mpi4py import MPI

    import dolfinx_llg

    dolfinx_llg.abort_on_error()
    script, target = sys.argv[1:]
    sys.argv = [script]
    with (
        (Path(target) / f"rank_{MPI.COMM_WORLD.rank}.txt").open("w") as file,
        contextlib.redirect_stdout(file),
    ):
        runpy.run_path(script, run_name="__main__")
