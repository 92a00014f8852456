# SPDX-License-Identifier: LGPL-3.0-or-later
"""Build the guide: ``make docs``, into build/guide/html.

Lays the sources out in build/guide/source (pages, tutorials, a page for each public name), fetches
MathJax once, runs Sphinx, in which each warning is an error, checks the links of the result, and
runs the tutorials on two ranks.
"""

import base64
import filecmp
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "guide"
SOURCE = BUILD / "source"
PAGES = ("*.md", "*/*.md", "tutorials/*.py", "figures/*")
#: The package of npm that holds MathJax, and the one file of it that pages load (formulas as SVG).
MATHJAX = "https://registry.npmjs.org/mathjax/-/mathjax-3.2.2.tgz"
MATHJAX_SHA512 = (
    "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw=="
)


def lay_out() -> None:
    """Copy what has changed, remove what is gone, write the pages of the names."""
    import catalogue

    wanted = {path.relative_to(HERE): path for pattern in PAGES for path in HERE.glob(pattern)}
    for path in (ROOT / "demos" / "figures").iterdir():
        wanted[Path("figures") / path.name] = path
    for name, path in wanted.items():
        copy = SOURCE / name
        if not copy.exists() or not filecmp.cmp(path, copy, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    written = {Path("api") / name for name in catalogue.write(SOURCE / "api")}
    for path in SOURCE.rglob("*"):
        name = path.relative_to(SOURCE)
        if path.is_file() and name not in wanted and name not in written:
            path.unlink()


def fetch_mathjax() -> None:
    """Put MathJax's file into build/, from its npm package, once."""
    target = BUILD / "static" / "tex-svg.js"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    archive = BUILD / "mathjax.tgz"
    try:
        with urllib.request.urlopen(MATHJAX, timeout=120) as answer:
            archive.write_bytes(answer.read())
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(
            f"Error: MathJax could not be fetched ({error}): put the package mathjax 3.2.2 of npm, "
            f"es5/tex-svg.js, at {target} by hand."
        )
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != MATHJAX_SHA512:
        sys.exit(f"Error: {MATHJAX} is not the package that is expected (sha512 {digest}).")
    with tarfile.open(archive) as package:
        member = package.extractfile("package/es5/tex-svg.js")
        assert member is not None
        target.write_bytes(member.read())
    archive.unlink()


def main() -> None:
    import catalogue
    import links
    import ranks

    start = time.perf_counter()
    lay_out()
    fetch_mathjax()
    options = ["-W", "--keep-going", "-q", "-b", "html", "-c", HERE, "-d", BUILD / "doctrees"]
    environment = os.environ | {"GUIDE_BUILD": str(BUILD), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    command = [sys.executable, "-m", "sphinx", *map(str, [*options, SOURCE, BUILD / "html"])]
    if code := subprocess.run(command, env=environment).returncode:
        sys.exit(code)
    pages, count, broken = links.check(BUILD / "html")
    missing = catalogue.without_page(BUILD / "html")
    tutorials = sorted((SOURCE / "tutorials").glob("*.py"))
    differ = ranks.check(tutorials, BUILD / "cache", BUILD / "ranks")
    for fault in broken + differ:
        print(fault, file=sys.stderr)
    for name in missing:
        print(f"no page: {name}", file=sys.stderr)
    print(
        f"{pages} pages, {count} internal links, {len(broken)} broken; "
        f"{len(catalogue.names())} public names, {len(missing)} without a page; "
        f"{len(tutorials)} tutorials on {ranks.RANKS} ranks, {len(differ)} differences; "
        f"{time.perf_counter() - start:.0f} s: {BUILD / 'html' / 'index.html'}"
    )
    sys.exit(bool(broken or missing or differ))


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
