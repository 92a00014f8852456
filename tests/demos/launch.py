# SPDX-License-Identifier: LGPL-3.0-or-later
"""How the tests start demos: in processes of their own, in an environment without a launcher's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: What launchers leave in the environment: it must not reach a demo's own MPI.
OF_LAUNCHERS = ("PMI", "PMIX", "HYDRA", "HYDI", "MPI_LOCAL", "OMPI_COMM")
# A quick run takes less than 10 s on an idle machine; compiling forms for the first time, on a
# machine with other work, several times that.
TIME_LIMIT = 300


def demo_environment() -> dict[str, str]:
    """Return the environment of a demo that imports the package of this checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OF_LAUNCHERS)}
    path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {
        "PYTHONPATH": os.pathsep.join(path),
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }


def run(demo: Path, ranks: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a demo; the environment's own mpirun comes first, as the wheel's MPI needs it."""
    command = [sys.executable, str(demo), *options]
    if ranks > 1:
        beside = shutil.which("mpirun", path=str(Path(sys.executable).parent))
        mpirun = beside or shutil.which("mpirun") or shutil.which("mpiexec")
        if mpirun is None:
            pytest.skip("no mpirun")
        command = [mpirun, "-n", str(ranks), *command]
    with subprocess.Popen(
        command,
        env=demo_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, error = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, error = process.communicate()
            pytest.fail(f"{demo.name} hung on {ranks} rank(s)\n{out}\n{error}")
    return subprocess.CompletedProcess(command, process.returncode, out, error)


def results(name: str, folder: Path, *options: str) -> tuple[dict[str, Any], str]:
    """Run a demo with --quick on one rank; return its results, and what it prints."""
    record = folder / "record.json"
    demo = ROOT / "demos" / f"demo_{name}.py"
    done = run(demo, 1, "--quick", "--json", str(record), *options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    document = json.loads(record.read_text())
    assert document["demo"] == name
    return document["results"], done.stdout
