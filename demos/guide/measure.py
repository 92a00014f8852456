# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs the tests of data/claims.json and keeps the figures that they note, in data/claimed.json.

    python demos/guide/measure.py [TEST ...]

With tests (as claims.json names them) only these are run, and the figures of the others are kept.
A test notes a figure by pytest's ``record_property(label, value)``, beside the assertion that holds
it; of the cases of one test the smallest and the largest count. Nothing is written if one fails.
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
    tests = list(dict.fromkeys(claim["test"] for claim in claims))
    chosen = sys.argv[1:] or tests
    if unknown := set(chosen) - set(tests):
        raise SystemExit(f"no claim has the test {', '.join(sorted(unknown))}")
    figures = Figures()
    paths = [f"{ROOT}/tests/{test}" for test in chosen]
    failed = pytest.main(["-q", f"--rootdir={ROOT}", *paths], plugins=[figures])
    if failed:
        raise SystemExit(int(failed))
    target = HERE / "data" / "claimed.json"
    document = {"figures": {}, "made": made()}
    if set(chosen) != set(tests):
        document = json.loads(target.read_text())
    found = document["figures"] | figures.found
    document["figures"] = {test: found[test] for test in tests if found.get(test)}
    target.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
