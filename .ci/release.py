# SPDX-License-Identifier: LGPL-3.0-or-later
"""Build the wheel and the sdist, and try the wheel where nothing else is: ``make release-check``.

Of the last commit, in a fresh clone: versions and licence headers; CITATION.cff by its schema; the
archives by ``python -m build`` and what is in them; the wheel in an empty environment with what
pip's resolver finds (not the lock file), where the first tutorial of the guide runs as it stands.
The archives are left in dist/. Needs PyPI.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = "demos/guide/tutorials/1_relax_a_film.py"
#: What builds and looks at archives; cffconvert's schema library imports pkg_resources.
TOOLS = ("build>=1.4,<2", "cffconvert==2.0.0", "setuptools<81", "twine>=6,<8")
#: Files in which a licence header is a comment of the first lines.
SOURCES = re.compile(r"\.(py|c|sh|toml|cff|lock)$|(^|/)(Makefile|Dockerfile)$|^\.ci/\w+$")
HEADER = "SPDX-License-Identifier: LGPL-3.0-or-later"
HERE_ONLY = re.compile(r"PYTHON(PATH|HOME)|VIRTUAL_ENV|(PMI|PMIX|HYDRA|HYDI|MPI_LOCAL|OMPI_COMM).*")
started = time.perf_counter()


def say(text: str) -> None:
    """Print a line with the seconds since the beginning."""
    print(f"{time.perf_counter() - started:4.0f} s  {text}", flush=True)


def check(truth: object, fault: str) -> None:
    """End with a sentence unless something holds."""
    if not truth:
        sys.exit(f"Error: {fault}")


def run(*command: object, folder: Path, **environment: str) -> str:
    """Return what a command prints; nothing of this environment's paths reaches it."""
    inherited = {k: v for k, v in os.environ.items() if not HERE_ONLY.fullmatch(k)}
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=inherited | environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    check(done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout}")
    return done.stdout


def check_files(clone: Path) -> str:
    """Return the version, the same in all places; every source has its licence header."""
    version = tomllib.loads((clone / "pyproject.toml").read_text())["project"]["version"]
    for name, pattern in (
        ("CHANGELOG.md", r"^## \[([\d.]+)\]"),
        ("CITATION.cff", r"^version: (\S+)$"),
        ("dolfinx_llg/__init__.py", r'^__version__ = "(\S+)"$'),
    ):
        found = re.search(pattern, (clone / name).read_text(), re.M)
        check(found and found[1] == version, f"{name} is not of version {version}.")
    tracked = run("git", "ls-files", folder=clone).splitlines()
    sources = [name for name in tracked if SOURCES.search(name)]
    bare = [s for s in sources if HEADER not in (clone / s).read_text(encoding="utf-8")[:600]]
    check(not bare, f"no licence header: {', '.join(bare)}")
    say(f"version {version} in four places; licence headers in {len(sources)} files")
    return version


def check_archives(clone: Path, version: str) -> Path:
    """Return the wheel; both archives hold what they should."""
    stem = f"dolfinx_llg-{version}"
    wheel, sdist = clone / "dist" / f"{stem}-py3-none-any.whl", clone / "dist" / f"{stem}.tar.gz"
    tracked = run("git", "ls-files", folder=clone).splitlines()
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    package = {name for name in tracked if name.startswith("dolfinx_llg/")}
    check("dolfinx_llg/py.typed" in inside, "the wheel has no py.typed.")
    check(package <= inside, f"the wheel lacks {sorted(package - inside)}.")
    licence = f"{stem}.dist-info/licenses/LICENSE"
    check(licence in inside, "the wheel has no licence.")
    foreign = {n for n in inside - package if not n.startswith(f"{stem}.dist-info/")}
    check(not foreign, f"the wheel has {sorted(foreign)}, which are not of the package.")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {name for name in tracked if not name.startswith(".git")}
    check(wanted <= inside, f"the sdist lacks {sorted(wanted - inside)}.")
    for path in (wheel, sdist):
        say(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")
    return wheel


def check_installed(wheel: Path, clone: Path, work: Path) -> None:
    """The wheel in an empty environment: what it pulls, the first tutorial."""
    venv.create(work / "empty", with_pip=True)
    python, folder = work / "empty" / "bin" / "python", work / "elsewhere"
    folder.mkdir()
    pip = (python, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--no-compile", f"{wheel}[wheel,plot]", folder=folder)
    shown = run(*pip, "list", "--format=freeze", folder=folder)
    names = ("dolfinx_llg", "dolfinx-solver-real", "numpy", "mpich", "pyvista")
    say("installed: " + ", ".join(n for n in shown.split() if n.partition("==")[0] in names))
    shutil.copy(clone / TUTORIAL, folder / "tutorial.py")
    where = "import dolfinx_llg; print(dolfinx_llg.__file__)"
    found = run(python, "-c", where, folder=folder).splitlines()[-1]
    check(found.startswith(str(work / "empty")), f"{found} is not the package that was installed.")
    run(python, "tutorial.py", folder=folder, XDG_CACHE_HOME=str(work / "cache"), MPLBACKEND="Agg")
    picture = folder / "film.png"
    check(picture.exists(), "the tutorial made no picture.")
    say(f"{TUTORIAL} ran with {found}: film.png, {picture.stat().st_size / 1e3:.0f} kB")


def main() -> None:
    """Check the last commit."""
    if changed := run("git", "status", "--porcelain", folder=ROOT):
        print(f"Not in the last commit, and so not checked:\n{changed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="dolfinx_llg_release.") as name:
        work = Path(name)
        clone = work / "clone"
        run("git", "clone", "--quiet", "--depth=1", f"file://{ROOT}", clone, folder=work)
        version = check_files(clone)
        venv.create(work / "tools", with_pip=True)
        tools = work / "tools" / "bin"
        run(tools / "python", "-m", "pip", "install", *TOOLS, folder=work)
        print(run(tools / "cffconvert", "--validate", folder=clone).splitlines()[-1])
        # Setuptools itself puts the package and little else into the sdist: here is what git has.
        tracked = run("git", "ls-files", folder=clone).splitlines()
        (clone / "MANIFEST.in").write_text("".join(f"include {name}\n" for name in tracked))
        run(tools / "python", "-m", "build", folder=clone)
        wheel = check_archives(clone, version)
        files = sorted((clone / "dist").iterdir())
        run(tools / "twine", "check", "--strict", *files, folder=clone)
        check_installed(wheel, clone, work)
        (ROOT / "dist").mkdir(exist_ok=True)
        for path in files:
            shutil.copy(path, ROOT / "dist")
    say(f"release-check passed; the archives are in {ROOT / 'dist'}")


if __name__ == "__main__":
    main()
