# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``demo_nanocomposite`` writes to JSON."""

from mpi4py import MPI  # isort: skip

import json
import subprocess
import sys
from pathlib import Path

import pytest
from launch import ROOT, demo_environment

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts processes of its own")


def test_nanocomposite(tmp_path: Path) -> None:
    """Eight grains on 6^3 cells: the coarse spaces are too small for more than these statements."""
    record = tmp_path / "record.json"
    demo = ROOT / "demos" / "demo_nanocomposite.py"
    done = subprocess.run(
        [sys.executable, str(demo), "--quick", "--json", str(record)],
        env=demo_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    methods = {row["name"]: row for row in json.loads(record.read_text())["results"]["methods"]}
    assert list(methods) == ["resolved", "grps", "homogenized", "averaged"]
    truth = methods["resolved"]
    assert truth["dofs"] == 3 * 7**3
    assert methods["grps"]["dofs"] == 3 * 3**3
    # Seen from remanence to saturation the basis knows the grains; its means have no (BH)max of
    # their own, only that of the limit, a third above.
    assert methods["grps"]["remanence"] == pytest.approx(truth["remanence"], abs=1e-3)
    assert methods["grps"]["bh_max_kJ_m3"] == pytest.approx(truth["bh_max_kJ_m3"], rel=0.01)
    for row in methods.values():
        assert 0.0 < row["remanence"] <= 1.0
        assert row["evaluations"] > 0
