# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the GRPS demos promise beyond a clean quick run: JSON by name, cases kept, refusals."""

from mpi4py import MPI  # isort: skip

import itertools
import json
from pathlib import Path

import pytest
from launch import ROOT, run

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts processes of its own")

RATES = ROOT / "demos" / "demo_grps_rates.py"
PER_NC = ("nc", "dofs", "error_h1", "error_l2", "length_defect", "seconds")


def test_rates_are_kept(tmp_path: Path) -> None:
    """A second run takes everything from the cache (its seconds too); another datum does not."""
    documents = []
    for options in ((), (), ("--t-end", "0.01")):
        record = tmp_path / "record.json"
        done = run(
            RATES, 1, "--quick", "--initial", "varying", "--projection", "--json", str(record),
            "--output", str(tmp_path / "output"), *options,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        documents.append(json.loads(record.read_text()))
    first, second, other = (document["results"] for document in documents)
    assert [row["nc"] for row in first] == [2, 4]
    assert [row["dofs"] for row in first] == [8, 32]
    assert all(name in row for row in first for name in PER_NC)
    assert first == second
    assert [row["error_h1"] for row in first] != [row["error_h1"] for row in other]
    # V is O(H^2) = O(1/dofs); P1 does not see kappa.
    assert documents[0]["rate_h1"] < -0.9
    assert first[1]["error_h1"] < 0.25 * first[1]["error_h1_p1_mean"]


@pytest.mark.parametrize("basis", ["lod", "slod"])
def test_rates_in_other_spaces(tmp_path: Path, basis: str) -> None:
    """Gao's scheme in LOD (9, 25 vertices) and SLOD (8, 32 cells), errors of both norms."""
    record = tmp_path / "record.json"
    options = ("--basis", basis, "--initial", "varying", "--output", str(tmp_path))
    done = run(RATES, 1, "--quick", *options, "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    document = json.loads(record.read_text())
    rows = document["results"]
    assert [row["dofs"] for row in rows] == ([9, 25] if basis == "lod" else [8, 32])
    # The space is O(H^2) in H1 (as GRPS-V), and tau = T H^2.
    assert document["rate_h1"] < -0.9
    assert document["rate_l2"] < -0.9
    assert rows[1]["error_h1"] < 0.5 * rows[1]["error_h1_p1_mean"]  # P1 does not see kappa
    assert basis.upper() in done.stdout
    assert (tmp_path / f"rates_gao_relaxed_varying_{basis}.png").stat().st_size > 5000


def test_rates_of_a_table(tmp_path: Path) -> None:
    """Table 3 of the paper on a coarser fine mesh: twelve rates, those of V within 0.1 of it."""
    record = tmp_path / "record.json"
    done = run(RATES, 1, "--quick", "--table", "3", "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    document = json.loads(record.read_text())
    assert len(document["results"]) == 24
    rates = document["rate_h1"]
    assert len(rates) == 12
    for row in rates:
        if row["measurement"] == "V":
            assert abs(row["rate_h1"] - row["rate_h1_paper"]) < 0.1, row
    # Constants lie in V: the error is that of the ODE. They do not lie in E with (V2).
    for row in document["results"]:
        excess = row["error_h1"] / row["error_time"]
        if row["measurement"] == "V":
            assert excess == pytest.approx(1.0, abs=1e-6), row
        elif row["energy"] == "V2" and (row["tau"], row["nc"]) == ("H2", 4):
            assert excess > 1.1, row


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fine", "24", "--nc", "5"), "--fine must be --nc times 4, 8, 16, ..., got 24 and 5"),
        (("--ell", "0"), "--ell must be at least 1, got 0"),
        (("--table", "3", "--scheme", "an"), "table 3 has no run with"),
    ],
)
def test_refusals(options: tuple[str, ...], message: str) -> None:
    done = run(RATES, 1, "--quick", *options)
    assert done.returncode == 2, f"{done.stdout}\n{done.stderr}"
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_printed_rates_may_be_of(tmp_path: Path) -> None:
    """Steps of the ODE alone: as in the text they are those of a run in V, 0.07 from the table."""
    record = tmp_path / "record.json"
    done = run(RATES, 1, "--quick", "--variants", "--table", "4", "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    rows = {row["variant"]: row for row in json.loads(record.read_text())["results"]}
    # The scheme's order 1 in tau, less what tau = 1/2 lacks of it.
    assert rows["as in the text"]["rates"] == pytest.approx([-0.5, -1.0], abs=0.07)
    assert 0.05 < rows["as in the text"]["distance"] < 0.09
    assert rows["reference with dt = h"]["distance"] < rows["as in the text"]["distance"]
    assert "Nothing tried gives all printed numbers" in done.stdout


def test_cost_in_the_papers_setting(tmp_path: Path) -> None:
    """A constant datum to T = 1 in bases of patches: tensors and standard scheme agree."""
    record = tmp_path / "record.json"
    demo = ROOT / "demos" / "demo_grps_cost.py"
    options = ("--paper", "--nc", "2", "--figure-fine", "0")
    done = run(demo, 1, "--quick", *options, "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    document = json.loads(record.read_text())
    assert (document["parameters"]["paper"], document["parameters"]["t_end"]) == (True, 1.0)
    (row,) = document["results"]
    assert row["error_h1"] == pytest.approx(row["error_h1_standard"], rel=0.02)
    # Backward Euler with four steps of an ODE whose rate is 1.
    assert 1e-3 < row["error_h1_cubature"] < 0.1


def test_cost_in_three_dimensions(tmp_path: Path) -> None:
    """Reduced runs in the cube: errors and counts of the record; both kinds have 729 nodes."""
    record = tmp_path / "record.json"
    demo = ROOT / "demos" / "demo_grps_cost.py"
    done = run(demo, 1, "--quick", "--dim", "3", "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    tetrahedra, hexahedra = json.loads(record.read_text())["results"]
    assert (tetrahedra["dofs"], hexahedra["dofs"]) == (6 * 2**3, 2**3)
    assert tetrahedra["nodes"] == hexahedra["nodes"] == 9**3
    # First order in H of a gradient that turns by half a wave over two coarse cells.
    assert tetrahedra["error_gradient_tensors"] < 0.25 > hexahedra["error_gradient_tensors"]


@pytest.mark.parametrize("options", [("--torus",), ("--layers", "facet")])
def test_decay_on_a_torus_and_by_facets(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Errors fall from layer to layer, until a patch is the whole mesh (0)."""
    record = tmp_path / "record.json"
    demo = ROOT / "demos" / "demo_grps_decay.py"
    done = run(demo, 1, "--quick", *options, "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads(record.read_text())["results"]
    for name in ("v_v1", "v_v2", "e_v1", "e_v2"):
        errors = found[f"error_h1_{name}"]
        assert all(b < 0.9 * a or b == 0.0 for a, b in itertools.pairwise(errors))
        assert errors[0] > 0.0
