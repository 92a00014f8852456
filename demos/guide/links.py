# SPDX-License-Identifier: LGPL-3.0-or-later
"""Check the links of a folder of HTML pages: files, pictures and anchors that are there."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "class" and value == "problematic":
                self.targets.append("markup that Sphinx has not understood")
            if key in ("id", "name") and value:
                self.anchors.add(value)
            if value and (tag, key) in {("a", "href"), ("img", "src"), ("link", "href"),
                                        ("script", "src")}:  # fmt: skip
                self.targets.append(value)


def check(html: Path) -> tuple[int, int, list[str]]:
    """Return the number of pages and of links between them, and a sentence for each fault.

    What a page loads (scripts, styles, pictures) must come from the folder itself.
    """
    pages = {}
    for path in sorted(html.rglob("*.html")):
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    count, faults = 0, []
    for path, page in pages.items():
        where = path.relative_to(html)
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            count += 1
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            file = file / "index.html" if file.is_dir() else file
            if not file.exists():
                faults.append(f"{where}: no file {target}")
            elif parts.fragment and file in pages:
                if unquote(parts.fragment) not in pages[file].anchors:
                    faults.append(f"{where}: no anchor {target}")
    return len(pages), count, faults
