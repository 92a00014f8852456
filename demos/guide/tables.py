# SPDX-License-Identifier: LGPL-3.0-or-later
"""The directive ``measured``: a table out of the JSON file that a demo has written; ``figure``.

````md
```{measured} wall
```
````

reads data/wall.json, which ``demo_wall.py --json`` has written, laid out by ``layouts.walls``.
Below the table stand the command, the day and the machine. The role ``figure`` is a number of such
files within a sentence (figures.py).
"""

import json
from typing import Any

from cells import paragraph, table
from docutils import nodes
from figures import DATA, FIGURES, figure
from joint import JOINT
from layouts import LAYOUTS, Rows
from problems import PROBLEMS
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole


def read(name: str) -> tuple[dict[str, Any], Rows]:
    """Return a document and its rows; ``..._cost`` is a second table of a file."""
    if name in JOINT:
        files, layout = JOINT[name]
        documents = {file: json.loads((DATA / f"{file}.json").read_text()) for file in files}
        return documents[files[0]], layout(documents)
    path = DATA / f"{name}.json"
    path = path if path.exists() else DATA / f"{name.removesuffix('_cost')}.json"
    document = json.loads(path.read_text())
    return document, (LAYOUTS | PROBLEMS)[name](document)


def source(document: dict[str, Any]) -> str:
    """Return the sentence on when and where something was measured."""
    if "sources" in document:  # of other people's figures
        return " ".join(document["sources"])
    made, ranks = document["made"], document["ranks"]
    options = {k: v for k, v in document["parameters"].items() if k not in ("json", "output")}
    said = ", ".join(f"{k} {' '.join(map(str, v)) if isinstance(v, list) else v}"
                     for k, v in options.items() if v is not False)  # fmt: skip
    return (
        f"`python demos/demo_{document['demo']}.py --json FILE`"
        f" ({said}) on {ranks} rank{'s' * (ranks > 1)}, {made['date']}, {made['processor']}, "
        f"{made['cores']} cores shared with other work, dolfinx_llg {made['dolfinx_llg']}: "
        "read ratios of seconds, not seconds."
        + (f" Peak memory {made['memory_gb']:.2g} GiB." if "memory_gb" in made else "")
        + (f" Computed anew: {made['renewed']}." if "renewed" in made else "")
    )


class Measured(SphinxDirective):
    """A table from a data file."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table and the sentence below it."""
        for path in DATA.glob("*.json"):
            self.env.note_dependency(str(path))
        document, (header, rows) = read(self.arguments[0])
        return [table(header, rows), paragraph(source(document), "measured")]


class Figure(SphinxRole):
    """A number within a sentence."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the text of the figure."""
        if self.text not in FIGURES:
            message = f"there is no figure {self.text!r} in figures.py"
            return [], [self.inliner.reporter.error(message, line=self.lineno)]
        for file in FIGURES[self.text][0]:
            self.env.note_dependency(str(DATA / f"{file}.json"))
        return [nodes.Text(figure(self.text))], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx the directive."""
    app.add_directive("measured", Measured)
    app.add_role("figure", Figure())
    return {"parallel_read_safe": True}
