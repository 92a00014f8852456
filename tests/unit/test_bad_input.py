# SPDX-License-Identifier: LGPL-3.0-or-later
"""The campaign of bad input: every call of the table ends in a clear error, on 1 and 2 ranks."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
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


#: What the package makes itself and hands out, and bases, protocols and types: nobody calls them.
MADE = set(
    """Barrier Candidate CellNumber CellSolution CoarseField CoarseBasis Composite
    ConvergenceError Current Equilibrium Fluctuation GRPSBasis GridField Hierarchy
    HomogenizedEnergy Kernel Krylov
    LocalModes LoopState Magnet Measurement Memory MidpointStep MinimiseOptions Modes Newton
    NodalArrayStepper NodalStep NumericalDampingWarning Past Reduction Result Snapshot
    Stability Stepper Stopped SuggestedCells TangentPlaneStep TensorRun UpscaledStep UpscaledTensor
    EnergyTerm Interaction QuadraticTerm one over_dt""".split()
)


def test_every_public_name_has_bad_calls(run, monkeypatch):
    """A new public name that takes arguments enters the table with its mistakes."""
    monkeypatch.syspath_prepend(str(FOLDER))
    words = importlib.import_module("table").names()
    missing = set()
    rooms = "equilibrium grps hmm homogenization la physics plot reduction schemes solvers"
    for room in ("", *rooms.split(), "stray_field", "transport", "units", "literature"):
        place = "physics." if room in ("units", "literature") else ""
        module = importlib.import_module(f"dolfinx_llg.{place}{room}".rstrip("."))
        for name in module.__all__:
            thing = getattr(module, name)
            if (inspect.isfunction(thing) or inspect.isclass(thing)) and name not in words:
                missing.add(name)
    assert missing == MADE & missing, sorted(missing - MADE)
