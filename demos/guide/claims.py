# SPDX-License-Identifier: LGPL-3.0-or-later
"""The directives ``claims`` and ``tests``: what is verified, read from the tests themselves.

``claims`` lays out data/claims.json: a claim, the figures that its test has noted
(data/claimed.json, written by measure.py), and the test that holds it; a test that is not there is
an error. ``tests FOLDER`` lists every test of a folder of tests/ by its docstring, or its name.
"""

import ast
import json
import re
from functools import cache
from pathlib import Path

from cells import paragraph, table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
TESTS = HERE.parents[1] / "tests"
CLAIMS = HERE / "data" / "claims.json"
CLAIMED = HERE / "data" / "claimed.json"


@cache
def tests(path: Path) -> tuple[str, dict[str, str]]:
    """Return the first line of a file of tests, and what each of its tests says of itself."""
    tree = ast.parse(path.read_text())
    texts = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            texts[node.name] = text or node.name.removeprefix("test_").replace("_", " ")
    return (ast.get_docstring(tree) or path.name).split("\n")[0], texts


def figure(value: float) -> str:
    """Return a number as a table shows it: orders to 1/100, deviations to a digit or two."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    if abs(value) >= 0.01:
        return f"{value:.3g}" if abs(value) < 0.1 or abs(value) >= 100 else f"{value:.2f}"
    return f"{value:.0e}".replace("e-0", "e-")


def said(ranges: dict[str, list[float]]) -> str:
    """Return the figures of a test: the smallest and the largest of its cases."""
    parts = []
    for label, ends in ranges.items():
        low, high = map(figure, ends)
        parts.append(f"{label}: {low if low == high else f'{low} to {high}'}")
    return "; ".join(parts) or "holds"


def claims() -> list[tuple[str, str, str]]:
    """Return claims, the figures and the test that holds them; a missing test is an error."""
    figures = json.loads(CLAIMED.read_text())["figures"]
    rows = []
    for claim in json.loads(CLAIMS.read_text()):
        file, _, name = claim["test"].partition("::")
        if name not in tests(TESTS / file)[1]:
            raise LookupError(f"{CLAIMS}: there is no test {claim['test']}")
        rows.append((claim["claim"], said(figures.get(claim["test"], {})), f"`{claim['test']}`"))
    return rows


class Claims(SphinxDirective):
    """The claims that have figures."""

    def run(self) -> list[nodes.Node]:
        """Return a table for each part."""
        for path in (CLAIMS, CLAIMED):
            self.env.note_dependency(str(path))
        made = json.loads(CLAIMED.read_text())["made"]
        when = f"Noted by the tests on one rank, {made['date']}, {made['processor']}."
        return [table(("claim", "measured", "test"), claims()), paragraph(when)]


class Tests(SphinxDirective):
    """All tests of a folder."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a heading and a table for each file."""
        made: list[nodes.Node] = []
        for path in sorted((TESTS / self.arguments[0]).glob("test_*.py")):
            self.env.note_dependency(str(path))
            title, texts = tests(path)
            made.append(paragraph(f"{title} (`{path.relative_to(TESTS.parent)}`)"))
            rows = [(f"`{name}`", re.sub(r"\s+", " ", text)) for name, text in texts.items()]
            made.append(table(("test", "says"), rows))
        return made


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx the directives."""
    app.add_directive("claims", Claims)
    app.add_directive("tests", Tests)
    return {"parallel_read_safe": True}
