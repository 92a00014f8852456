# SPDX-License-Identifier: LGPL-3.0-or-later
"""The campaign of bad input: every call of the table ends in a clear error, on 1 and 2 ranks."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

import dolfinx_llg

FOLDER = Path(__file__).parents[1] / "campaign"


@pytest.fixture(scope="module")
def run():
    spec = importlib.util.spec_from_file_location("campaign_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _this_package(monkeypatch, comm):
    if comm.size > 1:
        pytest.skip("starts its own ranks")
    monkeypatch.setenv("PYTHONPATH", str(Path(dolfinx_llg.__file__).parent.parent))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")


@pytest.mark.parametrize("ranks", [1, 2])
def test_bad_calls_end_in_clear_errors(run, ranks):
    if ranks > 1 and not Path(sys.executable).with_name("mpirun").exists():
        pytest.skip("no mpirun beside Python")
    found = run.campaign(ranks, limit=60.0)
    assert len(found) >= 400
    short = [f"{e['kind']}: {e['call']}: {e['text']}" for e in found if e["kind"] != "clear"]
    assert not short, os.linesep.join([str(Counter(e["kind"] for e in found)), *short])


def test_the_table_itself_is_right(run):
    """The calls that its bad ones are made of are good ones."""
    found = run.campaign(1, good=True, limit=60.0)
    assert [e for e in found if e["kind"] != "accepted"] == []
