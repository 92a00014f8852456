# SPDX-License-Identifier: LGPL-3.0-or-later
"""The command of the README runs every test file: how files are dealt to processes and ranks."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.most_ranks(1)

ROOT = Path(__file__).resolve().parents[2]


def _runner():
    path = ROOT / ".ci" / "pytest_ranks.py"
    spec = importlib.util.spec_from_file_location("pytest_ranks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files_and_folders_are_dealt_out(tmp_path, monkeypatch):
    """Each file once, whether its folder or itself is named; no process without a file."""
    monkeypatch.chdir(tmp_path)
    Path("some").mkdir()
    files = [Path("some") / f"test_{name}.py" for name in "abc"]
    for length, file in enumerate(files):
        file.write_text("#" * length)
    shares = _runner().shares
    assert shares(["some"], 2) == [[str(files[2]), str(files[0])], [str(files[1])]]
    assert shares(["some", str(files[1])], 2) == shares(["some"], 2)
    assert shares([str(files[0])], 2) == [[str(files[0])]]
    with pytest.raises(SystemExit, match="no tests in none"):
        shares(["none"], 2)


def test_make_test_runs_every_file(monkeypatch):
    """On one rank each file once, on two all but those of the demos, on three those of units."""
    monkeypatch.chdir(ROOT)
    done = subprocess.run(["make", "-n", "test"], capture_output=True, text=True, check=True)
    found: dict[int, list[str]] = {}
    for ranks, paths in re.findall(r"(?<=\s)(\d)(?:x\d+)?:(\S+)", done.stdout):
        found.setdefault(int(ranks), []).extend(
            file for share in _runner().shares(paths.split(","), 1) for file in share
        )
    every = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    demos = {file for file in every if file.startswith("tests/demos/")}
    units = {file for file in every if file.startswith("tests/unit/")}
    assert {ranks: sorted(files) for ranks, files in found.items()} == {
        1: sorted(every), 2: sorted(every - demos), 3: sorted(units),
    }  # fmt: skip
