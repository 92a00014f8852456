# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every demo runs with --quick on one rank: two of these tests may run side by side."""

from mpi4py import MPI  # isort: skip

import json
from pathlib import Path
from typing import Any

import pytest
from launch import run
from quick import DEMOS, quick_run

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts processes of its own")


@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.stem)
def test_quick_run(demo: Path, tmp_path: Path) -> None:
    quick_run(demo, 1, tmp_path)


@pytest.mark.parametrize(
    ("name", "figure"), [("hmm_micro", 8), ("hmm_micro", 9), ("hmm_micro", 10), ("nodal", 5)]
)
def test_single_figures(tmp_path: Path, name: str, figure: int) -> None:
    """One figure of the paper alone: its picture, and what was drawn."""
    stem = {"hmm_micro": "demo_hmm_micro", "nodal": "demo_nodal_integrators"}[name]
    record = tmp_path / "record.json"
    demo = DEMOS[0].with_name(f"{stem}.py")
    options = ("--figure", str(figure), "--quick", "--output", str(tmp_path), "--json", str(record))
    done = run(demo, 1, *options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (tmp_path / f"hmm_figure_{figure}.png").exists()
    found = json.loads(record.read_text())
    assert found["figure"] == figure
    assert found["errors"] == found["results"]["errors"]
    if figure == 5:
        for row in found["errors"]:  # the theory's lines, up to the curvature of m
            assert row["off_the_lines"] < 0.2
    elif figure == 10:
        assert [row["boundary"] for row in found["errors"]] == ["periodic", "dirichlet"]
    else:
        by_data = {row.get("data", "polynomial") for row in found["errors"]}
        assert by_data == ({"polynomial"} if figure == 8 else {"polynomial", "normalised"})
        assert all(0 < row["error"] < 1 for row in found["errors"])


def which_method(folder: Path, option: str, picture: str) -> Any:
    """Run a study of ``demo_which_method``, which draws a picture; return its results."""
    record = folder / "record.json"
    demo = DEMOS[0].with_name("demo_which_method.py")
    done = run(demo, 1, option, "--quick", "--output", str(folder), "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (folder / f"{picture}.png").exists()
    return json.loads(record.read_text())["results"]


def test_coarse_spaces_beside_each_other(tmp_path: Path) -> None:
    """On small patches LOD and SLOD beat GRPS-V in two dimensions; the orders are those in H."""
    found = which_method(tmp_path, "--spaces", "which_method_spaces")
    plane = {
        (row["method"], row["nc"]): row["error_h1"]
        for row in found["runs"]
        if row["dim"] == 2 and row["material"] == "MsTrig"
    }
    assert plane["slod", 4] < plane["lod", 4] < 0.5 * plane["grps", 4]
    for row in found["orders"]:
        ratio = plane[row["method"], 2] / plane[row["method"], 4]
        assert 2.0 ** row["order_h1"] == pytest.approx(ratio, rel=1e-6)


def test_ways_to_take_a_stray_field(tmp_path: Path) -> None:
    """D_H gives the run of the fine field; the tensor D makes the homogenized m a better one."""
    rows = which_method(tmp_path, "--magnetostatics", "which_method_field")
    error = {row["method"]: row.get("error_l2") for row in rows}
    assert error["homogenized"] < error["averaged"]
    # Both miss what of m lies outside the space; D_H the field of that part besides.
    assert error["grps_matrix"] == pytest.approx(error["grps_fine"], rel=0.02)
