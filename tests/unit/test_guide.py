# SPDX-License-Identifier: LGPL-3.0-or-later
"""The guide: a page for every public name, commands that exist, claims that a test holds."""

import ast
import importlib
import importlib.util
import json
import pkgutil
import re
from inspect import signature
from pathlib import Path

import pytest

import dolfinx_llg as llg

pytestmark = pytest.mark.most_ranks(1)

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "demos" / "guide"
#: Numbered things of the papers, in the order of the headings of papers.md.
NUMBERED = [
    {*(f"Algorithm {i}" for i in (1, 2)), *(f"Figure {i}" for i in ("3.1", "3.2", "4.1", "4.2")),
     *(f"Table {i}" for i in range(1, 8))},
    {*(f"Figure {i}" for i in range(1, 20)), "Table 1"},
    {"Figure 4.1", "Figure 4.2"},
    {"Figure 1.1", "Figure 2.1", *(f"Figure 5.{i}" for i in range(1, 6))},
    {"Figure 5.3"},
]  # fmt: skip


def _module(name: str):
    spec = importlib.util.spec_from_file_location(name, GUIDE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _faces() -> list[str]:
    """Packages of the first level with public names."""
    found = ["dolfinx_llg"]
    for info in pkgutil.iter_modules(llg.__path__, "dolfinx_llg."):
        if info.ispkg and getattr(importlib.import_module(info.name), "__all__", ()):
            found.append(info.name)
    return found


def test_every_public_name_has_a_page(comm, shared_tmp_path):
    """Of the top and of all packages, counted in what the guide is built from."""
    catalogue = _module("catalogue")
    assert set(_faces()) <= set(catalogue.FACES)
    pages = catalogue.names()
    for face in _faces():
        module = importlib.import_module(face)
        for name in module.__all__:
            thing = getattr(module, name)
            if not isinstance(thing, type(llg)):
                assert f"{face}.{name}" in pages
    if comm.rank == 0:
        written = catalogue.write(shared_tmp_path / "api")
        assert {f"names/{page}.rst" for page in pages.values()} <= written
        for page in set(pages.values()):
            text = (shared_tmp_path / "api" / "names" / f"{page}.rst").read_text()
            assert re.search(rf"^\.\. (auto|py:data)\w*:: {page.split('.')[-1]}$", text, re.M)


def test_papers_are_complete():
    """A row for each numbered algorithm, figure and table of the five papers."""
    parts = (GUIDE / "papers.md").read_text().split("\n## ")[1:]
    assert len(parts) == len(NUMBERED)
    for part, wanted in zip(parts, NUMBERED, strict=True):
        rows = {line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")}
        assert wanted <= rows


@pytest.mark.parametrize("path", sorted(GUIDE.rglob("*.md")), ids=lambda path: path.name)
def test_commands_exist(path):
    """Demos that a page names are there, and have the options that it names."""
    for name, options in re.findall(r"demos/(\w+\.py)((?: [\w.\-,]+)*)", path.read_text()):
        if name == "demo_NAME.py":  # what all demos have
            continue
        source = ROOT / "demos" / name
        assert source.exists(), name
        text = source.read_text() + (ROOT / "demos" / "shared.py").read_text()
        for option in re.findall(r"--[\w-]+", options):
            assert f'"{option}"' in text, (name, option)


def _named(name: str):
    """What a name of a page stands for: of the package, or of one of its rooms; None: nothing."""
    rooms = [
        importlib.import_module(face) for face in _module("catalogue").FACES if face in _faces()
    ]
    for room in (llg, llg.units, llg.literature, llg.initial, *rooms):
        thing = room
        for part in name.split("."):
            thing = getattr(thing, part, None)
        if thing is not None:
            return thing
    return None


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted(GUIDE.rglob("*.md"))],
                         ids=lambda path: path.name)  # fmt: skip
def test_names_in_sentences_exist(path):
    """What pages call ``llg.name``, and the keywords of calls that they write out."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"(?<!\})`([^`]+)`", text):
        for name in re.findall(r"\bllg\.(\w+(?:\.\w+)*)", code):
            assert _named(name) is not None, code
        for name, given in re.findall(r"\b((?:\w+\.)*\w+)\(([^()]*=[^()]*)\)", code):
            thing = _named(name.removeprefix("llg."))
            assert thing is not None, code
            assert set(re.findall(r"(\w+)=", given)) <= set(signature(thing).parameters), code


def test_every_demo_is_listed():
    listed = set(re.findall(r"`(demo_\w+)`", (GUIDE / "demos.md").read_text()))
    assert {path.stem for path in (ROOT / "demos").glob("demo_*.py")} <= listed


def test_claims_are_held_by_tests():
    """Each claim has its test, and the figures that this notes, no others (guide/measure.py)."""
    figures = json.loads((GUIDE / "data" / "claimed.json").read_text())["figures"]
    named = set()
    for claim in json.loads((GUIDE / "data" / "claims.json").read_text()):
        file, _, name = claim["test"].partition("::")
        text = (ROOT / "tests" / file).read_text()
        function = next(
            node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)
            and node.name == name
        )  # fmt: skip
        notes = "record_property" in (ast.get_source_segment(text, function) or "")
        assert notes == (claim["test"] in figures), claim["test"]
        assert claim["claim"]
        named.add(claim["test"])
    assert set(figures) <= named


def test_tables_say_where_they_come_from():
    """Each data file names its demo, its parameters, the day and the machine; a page shows it."""
    shown = "".join(path.read_text() for path in GUIDE.rglob("*.md"))
    for path in (GUIDE / "data").glob("*.json"):
        if path.stem in ("claims", "claimed", "peers"):  # of no demo
            continue
        document = json.loads(path.read_text())
        assert (ROOT / "demos" / f"demo_{document['demo']}.py").exists()
        assert {"parameters", "ranks", "results"} <= set(document)
        assert {"date", "processor", "cores"} <= set(document["made"])
        assert f"```{{measured}} {path.stem}\n" in shown


def test_the_readme_has_the_figures_of_the_records(monkeypatch):
    """Its table beside other codes is that of the guide, row by row."""
    monkeypatch.syspath_prepend(GUIDE)
    files, layout = _module("joint").JOINT["peers"]
    documents = {file: json.loads((GUIDE / "data" / f"{file}.json").read_text()) for file in files}
    header, rows = layout(documents)
    text = (ROOT / "README.md").read_text()
    for row in (header, *rows):
        assert f"| {' | '.join(row)} |\n".replace("|  |", "| |") in text


def test_figures_of_sentences_are_read_from_data(monkeypatch):
    """Each figure that a page names is made from data, and each that is made stands on a page."""
    monkeypatch.syspath_prepend(GUIDE)
    figures = _module("figures")
    pages = "".join(path.read_text() for path in GUIDE.rglob("*.md"))
    assert set(re.findall(r"\{figure\}`(\w+)`", pages)) == set(figures.FIGURES)
    for name in figures.FIGURES:
        assert re.search(r"\d", figures.figure(name)), name
    assert figures.percent(0.345, 0.0256) == "2.6 to 34 %"
    assert figures.powers([0.0123, 0.0012]) == "1.2e-3 to 1.2e-2"
    with pytest.raises(ValueError, match="unpack"):
        figures.only([{"a": 1}, {"a": 1}], a=1)


def test_docstrings_have_the_speeds_of_the_records():
    """What schemes say of a driven wall is what demo_wall has recorded."""
    rows = json.loads((GUIDE / "data" / "wall.json").read_text())["results"]
    rows = [row for row in rows if row["problem"] == "walker"]

    def speeds(scheme, form=".2f", adaptive=False):
        found = [r for r in rows if r["scheme"] == scheme and r["adaptive"] == adaptive]
        return [f"{row['value'] / row['mesh_limit']:{form}}" for row in found]

    def said(function):
        return re.sub(r"\s+", " ", function.__doc__)

    for name in ("an", "cimrak", "gao", "prohl"):
        assert f"moves at {', '.join(speeds(name)[:4])} of its speed" in said(getattr(llg, name))
    assert f"moves at {', '.join(speeds('midpoint', '.3f'))} of" in said(llg.midpoint)
    assert f"at {speeds('midpoint', '.3f', True)[0]} with ``Adaptive(" in said(llg.midpoint)
    for title, scheme in {
        "second order": "tangent_plane_2",
        "theta = 1/2": "tangent_plane_half",
        "theta = 1": "tangent_plane",
    }.items():
        assert f"{title} {' '.join(speeds(scheme))}" in said(llg.tangent_plane)
    assert f"moves it at {speeds('tangent_plane_2', '.2f', True)[0]}," in said(llg.tangent_plane)


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text()
    assert len(text.encode()) <= 6000
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / target).exists(), target
