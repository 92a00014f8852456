# SPDX-License-Identifier: LGPL-3.0-or-later
"""What every demo does with --quick, on any number of ranks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from claims import CLAIMS
from launch import ROOT, run

DEMOS = sorted(ROOT.glob("demos/demo_*.py"))


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


def quick_run(demo: Path, ranks: int, tmp_path: Path) -> None:
    """Run a demo with --quick; check its JSON, its pictures, what it prints and what it claims."""
    # A new folder, and a file in another: the demo makes both.
    record, output = tmp_path / "record.json", tmp_path / "new" / "output"
    done = run(demo, ranks, "--quick", "--json", str(record), "--output", str(output))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    document = json.loads(record.read_text())
    wanted = {"demo", "made", "parameters", "ranks", "results"}
    assert set(document) - {"rate_h1", "rate_l2", "figure_4_2"} == wanted
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
