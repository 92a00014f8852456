# SPDX-License-Identifier: LGPL-3.0-or-later
"""Bad command lines of the demos are refused in one line, before any work; good ones are obeyed.

These tests start processes and ranks themselves: they run on one rank.
"""

from mpi4py import MPI  # isort: skip

import ast
import importlib.util
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

import dolfinx_llg

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "campaign"
DEMOS = sorted((ROOT / "demos").glob("demo_*.py"))

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts its own ranks")


def module(name):
    spec = importlib.util.spec_from_file_location(f"campaign_{name}", FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(autouse=True)
def _this_package(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(dolfinx_llg.__file__).parents[1]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.mark.parametrize(("ranks", "every"), [(1, 1), (2, 7)])
def test_bad_lines_are_refused(ranks, every):
    if ranks > 1 and not Path(sys.executable).with_name("mpirun").exists():
        pytest.skip("no mpirun beside Python")
    found = module("run").campaign(ranks, demos=True, every=every, limit=120.0)
    assert len(found) * every > 900
    short = [f"{e['kind']}: {e['label']} {e['call']}: {e['text']}" for e in found]
    short = [text for text in short if not text.startswith("clear: ")]
    assert not short, os.linesep.join([str(Counter(e["kind"] for e in found)), *short])


def test_explicit_options_win():
    """Over ``--quick``, and 0 is a value like others; the lines that pages name are accepted."""
    commands = module("command_lines")
    lines = commands.good()
    assert len(commands.named()) > 40
    found = module("run").campaign(1, good=True, demos=True, limit=120.0)
    for entry, (demo, line, wanted) in zip(found, lines, strict=True):
        assert entry["kind"] == "accepted", entry
        options = json.loads(entry["text"])
        assert {name: options[name] for name in wanted} == wanted, (demo, line)


@pytest.mark.parametrize("path", DEMOS, ids=lambda path: path.stem)
def test_nothing_overrides_what_was_given(path):
    """No demo sets an option for ``--quick``, or takes 0 for an option that was not given."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.If) and "args.quick" in ast.unparse(node.test):
            for inner in ast.walk(node):
                targets = inner.targets if isinstance(inner, ast.Assign) else []
                for target in targets:
                    assert "args." not in ast.unparse(target)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            assert not ast.unparse(node.values[0]).startswith("args.")


def test_every_option_is_tried():
    table = module("command_lines").OPTIONS
    assert set(table) == {path.stem.removeprefix("demo_") for path in DEMOS}
    for path in DEMOS:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if is_option(node)]
        assert all("help" in {k.arg for k in call.keywords} for call in calls), path
        valued = {
            call.args[0].value
            for call in calls
            if not {"action"} & {keyword.arg for keyword in call.keywords}
        }
        tried = set(table[path.stem.removeprefix("demo_")])
        assert valued - tried <= {"--checkpoint"}, path
        assert tried <= valued, path


def is_option(node):
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument"
