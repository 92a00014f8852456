# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs the tests of data/claims.json and keeps the figures that they note, in data/claimed.json.

    python demos/guide/measure.py

A test notes a figure by pytest's ``record_property(label, value)``, beside the assertion that holds
it; of the cases of one test the smallest and the largest are kept. Nothing is written if one fails.
"""

import json
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

from provenance import made


class Figures:
    """Pytest plugin that keeps what tests note."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, list[float]]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Widen the range of each figure of a test that has passed."""
        if report.when != "call" or not report.passed:
            return
        test = report.nodeid.partition("[")[0].removeprefix("tests/")
        ranges = self.found.setdefault(test, {})
        for label, number in report.user_properties:
            value = float(number)
            low, high = ranges.get(label, [value, value])
            ranges[label] = [min(low, value), max(high, value)]


def main() -> None:
    """Run the tests and write the figures."""
    claims = json.loads((HERE / "data" / "claims.json").read_text())
    tests = dict.fromkeys(f"{ROOT}/tests/{claim['test']}" for claim in claims)
    figures = Figures()
    failed = pytest.main(["-q", f"--rootdir={ROOT}", *tests], plugins=[figures])
    if failed:
        raise SystemExit(int(failed))
    document = {
        "figures": {test: ranges for test, ranges in figures.found.items() if ranges},
        "made": made(),
    }
    (HERE / "data" / "claimed.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
