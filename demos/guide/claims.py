# SPDX-License-Identifier: LGPL-3.0-or-later
"""The directives ``claims`` and ``tests``: what is verified, read from the tests themselves.

``claims`` lays out data/claims.json: a claim, what was measured, and the test that holds it; a test
that is not there is an error. ``tests FOLDER`` lists every test of a folder of tests/ by its
docstring, or its name.
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


@cache
def tests(path: Path) -> tuple[str, dict[str, str]]:
    """Return the first line of a file of tests, and what each of its tests says of itself."""
    tree = ast.parse(path.read_text())
    said = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            text = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
            said[node.name] = text or node.name.removeprefix("test_").replace("_", " ")
    return (ast.get_docstring(tree) or path.name).split("\n")[0], said


def claims() -> list[tuple[str, str, str]]:
    """Return claims, what was measured and the test that holds them; a missing test is an error."""
    rows = []
    for claim in json.loads(CLAIMS.read_text()):
        file, _, name = claim["test"].partition("::")
        if name not in tests(TESTS / file)[1]:
            raise LookupError(f"{CLAIMS}: there is no test {claim['test']}")
        rows.append((claim["claim"], claim["measured"], f"`{claim['test']}`"))
    return rows


class Claims(SphinxDirective):
    """The claims that have figures."""

    def run(self) -> list[nodes.Node]:
        """Return a table for each part."""
        self.env.note_dependency(str(CLAIMS))
        return [table(("claim", "measured", "test"), claims())]


class Tests(SphinxDirective):
    """All tests of a folder."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a heading and a table for each file."""
        made: list[nodes.Node] = []
        for path in sorted((TESTS / self.arguments[0]).glob("test_*.py")):
            self.env.note_dependency(str(path))
            title, said = tests(path)
            made.append(paragraph(f"{title} (`{path.relative_to(TESTS.parent)}`)"))
            rows = [(f"`{name}`", re.sub(r"\s+", " ", text)) for name, text in said.items()]
            made.append(table(("test", "says"), rows))
        return made


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx the directives."""
    app.add_directive("claims", Claims)
    app.add_directive("tests", Tests)
    return {"parallel_read_safe": True}
