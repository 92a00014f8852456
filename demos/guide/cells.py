# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables of plain text for Sphinx, whose cells may hold `code`; nothing else is markup in them."""

import re
from collections.abc import Sequence

from docutils import nodes


def inline(text: str) -> list[nodes.Node]:
    """Return text, parts between backquotes as code."""
    parts = re.split(r"``?(.+?)``?", text)
    made = [nodes.literal(p, p) if i % 2 else nodes.Text(p) for i, p in enumerate(parts)]
    return [node for node in made if node.astext()]


def paragraph(text: str, kind: str = "") -> nodes.paragraph:
    """Return a paragraph of such text."""
    return nodes.paragraph("", "", *inline(text), classes=[kind] if kind else [])


def entry(text: str) -> nodes.paragraph:
    """Return the text of a cell; a number does not break at its minus sign."""
    return paragraph(text, "short" if len(text) <= 8 else "")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> nodes.table:
    """Return a table of such texts."""
    group = nodes.tgroup(cols=len(header))
    group += [nodes.colspec(colwidth=1) for _ in header]
    for part, lines in ((nodes.thead(), [header]), (nodes.tbody(), rows)):
        for line in lines:
            assert len(line) == len(header), (header, line)
            part += nodes.row("", *[nodes.entry("", entry(cell)) for cell in line])
        group += part
    return nodes.table("", group, classes=["colwidths-auto"])
