# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every demo runs with --quick, serially and on two ranks, and writes the JSON it promises.

These tests start ``mpirun`` themselves: they run on one rank.
"""

from mpi4py import MPI  # isort: skip

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from claims import CLAIMS
from launch import ROOT, run

DEMOS = sorted(ROOT.glob("demos/demo_*.py"))

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts its own ranks")


def numbers(value: object, where: str) -> Iterator[tuple[str, float]]:
    """All numbers in nested results, with their names."""
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from numbers(entry, f"{where}.{key}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from numbers(entry, f"{where}[{index}]")
    elif isinstance(value, int | float):
        yield where, value


def test_there_are_demos() -> None:
    assert {"demo_rough_exchange", "demo_composite_particle"} <= {demo.stem for demo in DEMOS}


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.stem)
def test_quick_run(demo: Path, ranks: int, tmp_path: Path) -> None:
    # A new folder, and a file in another: the demo makes both.
    record, output = tmp_path / "record.json", tmp_path / "new" / "output"
    done = run(demo, ranks, "--quick", "--json", str(record), "--output", str(output))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    document = json.loads(record.read_text())
    wanted = {"demo", "made", "parameters", "ranks", "results"}
    assert set(document) - {"rate_h1", "figure_4_2"} == wanted
    assert document["demo"] == demo.stem.removeprefix("demo_")
    assert document["ranks"] == ranks
    found = dict(numbers(document["results"], "results"))
    assert found
    assert [name for name, value in found.items() if not math.isfinite(value)] == []
    if claim := CLAIMS.get(document["demo"]):
        claim(document["results"])
    for picture in output.rglob("*.png"):
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert picture.stat().st_size > 5000  # an empty figure has about 2000 bytes
    # Rank 0 alone prints: the last line comes once.
    lines = done.stdout.strip().splitlines()
    assert lines
    assert lines.count(lines[-1]) == 1


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    "demo", [demo for demo in DEMOS if '"--scheme"' in demo.read_text()], ids=lambda demo: demo.stem
)
def test_unknown_scheme(demo: Path, ranks: int) -> None:
    done = run(demo, ranks, "--quick", "--scheme", "nonsense")
    assert done.returncode == 2, f"{done.stdout}\n{done.stderr}"
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ranks", [1, 2])
def test_folder_that_cannot_be_written(ranks: int, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    demo = DEMOS[0].with_name("demo_rough_exchange.py")
    done = run(demo, ranks, "--quick", "--output", str(blocker / "folder"))
    assert done.returncode != 0
    assert f"the output folder {blocker / 'folder'} cannot be written" in done.stderr
    assert "energy" not in done.stdout  # before any work


def test_rough_exchange_restarts(tmp_path: Path) -> None:
    demo = DEMOS[0].with_name("demo_rough_exchange.py")
    options = ("--n", "16", "--dt", "1e-3", "--no-coarse")
    records = {}
    for name, more in {
        "half": ("--t-end", "0.01", "--checkpoint", str(tmp_path / "run.npz")),
        "rest": ("--t-end", "0.02", "--restart", str(tmp_path / "run.npz")),
        "whole": ("--t-end", "0.02"),
    }.items():
        record = tmp_path / f"{name}.json"
        done = run(demo, 2, *options, "--json", str(record), *more)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        records[name] = json.loads(record.read_text())["results"]
    for key in ("steps", "energy_final", "mx_final", "my_final", "mz_final", "max_dmdt_final"):
        assert records["rest"][key] == records["whole"][key]  # to the last bit


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


@pytest.mark.parametrize("name", ["composite_particle", "spin_torque", "tangent_plane"])
def test_with_the_stray_field(tmp_path: Path, name: str) -> None:
    """The option works; with the tangent plane the energy law holds as without it."""
    (demo,) = (demo for demo in DEMOS if demo.stem == f"demo_{name}")
    file = tmp_path / "figures.json"
    done = run(demo, 2, "--quick", "--stray-field", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(file.read_text())["results"]
    if name == "tangent_plane":  # its solves go to 1e-9
        laws = [value for key, value in results.items() if key.startswith("law_residual")]
        assert laws
        assert max(laws) < 1e-7


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("demo", "option", "names"),
    [
        ("homogenization", "--magnetostatics", ("rate_energy", "error_dynamics_averaged")),
        ("stray_field", "--coarse", ("application_ms", "step_ratio", "error_l2_fine_field")),
    ],
)
def test_studies(
    demo: str, option: str, names: tuple[str, ...], ranks: int, tmp_path: Path
) -> None:
    record = tmp_path / "record.json"
    script = DEMOS[0].with_name(f"demo_{demo}.py")
    done = run(script, ranks, "--quick", option, "--json", str(record), "--output", str(tmp_path))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = dict(numbers(json.loads(record.read_text())["results"], "results"))
    for name in names:
        assert any(name in key for key in found)
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("options", [("--order", "2"), ("--dim", "2", "--order", "1")])
def test_orders_of_homogenization(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Theorem 3.1: at sigma = 2, the last rates, the promised order is met to 0.2."""
    record = tmp_path / "record.json"
    demo = DEMOS[0].with_name("demo_homogenization.py")
    done = run(demo, 2, *options, "--quick", "--output", str(tmp_path), "--json", str(record))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    found = json.loads(record.read_text())["results"]
    assert len(found["rates"]) == len(found["theorem"])
    order = found["order"]
    assert found["theorem"][-3:] == [order + 1.0, float(order), order - 1.0]
    for rate, promised in zip(found["rates"][-3:], found["theorem"][-3:], strict=True):
        assert rate > promised - 0.2
    assert list(tmp_path.glob("homogenization_orders_*.png"))
