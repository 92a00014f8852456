# SPDX-License-Identifier: LGPL-3.0-or-later
"""How the tutorials, which are scripts, become notebooks."""

import jupytext
from nbformat import NotebookNode


def read(text: str) -> NotebookNode:
    """Return a script in the percent format as a notebook whose licence line is not shown."""
    notebook = jupytext.reads(text, fmt="py:percent")
    if notebook.cells[0].source.startswith("# SPDX-License-Identifier"):
        notebook.cells[0].metadata["tags"] = ["remove-cell"]
    return notebook
