# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every demo runs with --quick on two ranks, and writes the JSON it promises.

These tests start ``mpirun`` themselves: they run on one rank.
"""

from mpi4py import MPI  # isort: skip

import json
import math
from pathlib import Path

import pytest
from launch import run
from quick import DEMOS, numbers, quick_run

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts its own ranks")


def test_there_are_demos() -> None:
    assert {"demo_rough_exchange", "demo_composite_particle"} <= {demo.stem for demo in DEMOS}


@pytest.mark.parametrize("demo", DEMOS, ids=lambda demo: demo.stem)
def test_quick_run(demo: Path, tmp_path: Path) -> None:
    quick_run(demo, 2, tmp_path)


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
        warned = [line for line in done.stderr.splitlines() if "NumericalDampingWarning: " in line]
        assert len(warned) == 1, done.stderr  # by one rank, for both
        records[name] = json.loads(record.read_text())["results"]
    for key in ("steps", "energy_final", "mx_final", "my_final", "mz_final", "max_dmdt_final"):
        assert records["rest"][key] == records["whole"][key]  # to the last bit


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
