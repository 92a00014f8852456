# SPDX-License-Identifier: LGPL-3.0-or-later
"""Commands of README and guide: short ones run as they stand, the others exist as they are named.

That demos take the options that pages give them is looked at in test_command_lines.py. These tests
start processes and ranks themselves: they run on one rank.
"""

from mpi4py import MPI  # isort: skip

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from launch import ROOT, TIME_LIMIT, demo_environment

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts its own ranks")

PAGES = [ROOT / "README.md", ROOT / "docker" / "README.md",
         *sorted((ROOT / "demos" / "guide").rglob("*.md"))]  # fmt: skip
#: Run here, in the environment of these tests: seconds.
SHORT = {
    "make help",
    "python -m pytest -q tests/unit/test_units.py",
    "mpirun -n 2 python -m pytest -q tests/unit/test_units.py",
    "python first_run.py",
    "mpirun -n 2 python first_run.py",
}
#: What begins other commands of blocks; they need a system, minutes, or a tool that is not ours.
OTHERS = (
    "sudo apt-get install ",
    "source .venv/bin/activate",
    "chromium ",
    "docker ",
    "apptainer ",
)


def commands() -> dict[str, str]:
    """Commands of blocks, without comments, and the pages that they stand on."""
    found = {}
    for page in PAGES:
        for body in re.findall(r"^```(?:console|bash)\n(.*?)^```", page.read_text(), re.S | re.M):
            lines = re.sub(r"\s*\\\n\s*", " ", body).splitlines()
            stripped = [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]
            found |= {line: page.name for line in stripped if line}
    return found


def spans() -> set[str]:
    """Pieces of code within sentences; a line may end within one."""
    texts = [re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M) for page in PAGES]
    return {re.sub(r"\s+", " ", code) for text in texts for code in re.findall(r"`([^`]+)`", text)}


def test_every_command_of_a_block_is_known():
    """It is run here, is a target of make, or is one of the few that no test can run."""
    for line, page in commands().items():
        assert line in SHORT or line.startswith(("make ", *OTHERS)), (page, line)


def test_targets_of_make_exist():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.M))
    named = [re.match(r"make ([a-z-]+)", text) for text in (*commands(), *spans())]
    assert {match[1] for match in named if match} <= targets


def test_scripts_exist():
    """Whatever file of the repository a command names."""
    for text in (*commands(), *(code for code in spans() if " " in code)):
        for name in re.findall(r"(?:^|\s)((?:demos|tests|docker|meshes|\.ci)/[\w./]+)", text):
            assert (ROOT / name).exists() or "NAME" in name, text


def test_packages_of_the_set_up():
    """Those of Debian 12 are what the build of Python asks for; README and guide name the same."""
    lines = [line for line in commands() if line.startswith("sudo apt-get install ")]
    assert len(lines) == 2
    asked = re.findall(r"\.h:([\w-]+)", (ROOT / ".ci" / "build_python").read_text())
    assert set(asked) <= set(lines[0].split()) | set(lines[1].split())
    assert set(lines[1].split()[3:]) <= set(asked)


@pytest.mark.parametrize("command", sorted(SHORT))
def test_short_commands_run(tmp_path, command):
    """As they stand, with the interpreter of these tests as `python`."""
    assert command in commands() or command in spans()
    folder = ROOT
    if "first_run.py" in command:
        folder = tmp_path
        block = re.search(r"^```python\n(# first run:.*?)^```", PAGES[0].read_text(), re.S | re.M)
        (folder / "first_run.py").write_text(block[1])
    beside = Path(sys.executable).parent
    if "mpirun" in command and not (beside / "mpirun").exists() and not shutil.which("mpirun"):
        pytest.skip("no mpirun")
    environment = demo_environment()
    environment["PATH"] = f"{beside}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, timeout=TIME_LIMIT,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    if "first_run.py" in command:
        assert (folder / "first_run.png").stat().st_size > 10_000
