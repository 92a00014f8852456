# SPDX-License-Identifier: LGPL-3.0-or-later
"""The public names of the package and their pages: one page a name, where it is first met."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

#: Faces in the order of reading; a name that stands in two has its page under the first.
FACES = {
    "dolfinx_llg": "Everyday names",
    "dolfinx_llg.units": "SI units",
    "dolfinx_llg.literature": "The papers' coefficients and data",
    "dolfinx_llg.initial": "Initial states",
    "dolfinx_llg.equilibrium": "States at rest",
    "dolfinx_llg.stray_field": "The stray field",
    "dolfinx_llg.transport": "Currents and spin accumulation",
    "dolfinx_llg.grps": "Coarse spaces",
    "dolfinx_llg.reduction": "Reduced runs",
    "dolfinx_llg.homogenization": "Homogenization",
    "dolfinx_llg.hmm": "HMM in space and time",
    "dolfinx_llg.plot": "Pictures",
    "dolfinx_llg.physics": "Physics: terms and data",
    "dolfinx_llg.schemes": "Schemes: what one step is",
    "dolfinx_llg.solvers": "Solvers: who carries a step out",
    "dolfinx_llg.la": "Algebra",
}
_ALIASES = {
    "dolfinx_llg.units": "dolfinx_llg.physics.units",
    "dolfinx_llg.literature": "dolfinx_llg.physics.literature",
}


def _module(face: str) -> ModuleType:
    return importlib.import_module(_ALIASES.get(face, face))


def names() -> dict[str, str]:
    """Return all public names, ``face.name``, and the page of each; modules have no page."""
    pages: dict[str, str] = {}
    met: dict[int, str] = {}
    for face in FACES:
        module = _module(face)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.ismodule(thing):
                continue
            full = f"{module.__name__}.{name}"
            # Numbers and strings may be one object under many names.
            shared = inspect.isclass(thing) or inspect.isfunction(thing)
            pages[full] = met.setdefault(id(thing), full) if shared else full
    return pages


def without_page(html: Path) -> list[str]:
    """Return the public names for which Sphinx has written no page with their description."""
    missing = []
    for full, page in names().items():
        path = html / "api" / "names" / f"{page}.html"
        if not path.exists() or f'id="{page}"' not in path.read_text():
            missing.append(full)
    return missing


def escaped(lines: list[str]) -> list[str]:
    """Return a docstring in which neither |m| nor llg_ is markup; literals, formulas stay."""
    made: list[str] = []
    inside: int | None = None  # indentation of the line that opens a formula or a literal block
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if line.strip() and inside is not None and indent <= inside:
            inside = None
        if inside is None:
            if line.lstrip().startswith(".. math::") or line.rstrip().endswith("::"):
                inside = indent
            else:
                parts = re.split(r"(``.*?``|:\w+:`.*?`)", line)
                parts[::2] = [re.sub(r"\||(?<=\w)_(?!\w)", r"\\\g<0>", part) for part in parts[::2]]
                line = "".join(parts)
        made.append(line)
    return made


def _told(module: ModuleType, name: str) -> list[str]:
    """Return what a module says of a name where it is assigned: a string below, or #: above."""
    lines = inspect.getsource(module).splitlines()
    body = ast.parse("\n".join(lines)).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if name not in {getattr(target, "id", None) for target in targets}:
            continue
        value = after.value if isinstance(after, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return inspect.cleandoc(value.value).splitlines()
        above: list[str] = []
        for line in reversed(lines[: node.lineno - 1]):
            if not line.startswith("#:"):
                break
            above.insert(0, line.removeprefix("#:").strip())
        return above
    return []


def _said(module: ModuleType, name: str) -> list[str]:
    """Return the text that stands with a number, table or alias where it is assigned."""
    thing = getattr(module, name)
    places = [m for n, m in sorted(sys.modules.items()) if n.startswith("dolfinx_llg")]
    for place in [module, *places]:
        if getattr(place, name, None) is thing and (said := _told(place, name)):
            return said
    return []


def _page(module: ModuleType, name: str) -> str:
    """Return the page of a name; with its module's text where its own refers to that."""
    thing = getattr(module, name)
    kind = "class" if inspect.isclass(thing) else "function"
    kind = "exception" if kind == "class" and issubclass(thing, BaseException) else kind
    title = f"{module.__name__.replace('.physics.units', '.units')}.{name}"
    text = f"{name}\n{'=' * len(name)}\n\n``{title}``\n\n.. currentmodule:: {module.__name__}\n\n"
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        lines = "".join(f"   {line}".rstrip() + "\n" for line in escaped(_said(module, name)))
        return text + f".. py:data:: {name}\n\n{lines}"
    text += f".. auto{kind}:: {name}\n"
    if kind != "function":
        text += "   :members:\n   :inherited-members: Exception, Warning, tuple, Protocol\n"
    said = inspect.getdoc(thing) or ""
    if "module" in said and thing.__module__ != module.__name__:
        text += f"\nThe module\n----------\n\n.. automodule:: {thing.__module__}\n   :no-index:\n"
        text += "   :no-members:\n"
    return text


def write(folder: Path) -> set[str]:
    """Write the overview, a list for each face and a page for each name; return the files."""
    (folder / "names").mkdir(parents=True, exist_ok=True)
    pages = names()
    written = set()

    def put(name: str, text: str) -> None:
        written.add(name)
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)

    listed = "\n".join(f"   {face}" for face in FACES)
    put(
        "index.rst",
        "API\n===\n\nEvery public name has a page. What stands at the top, ``import dolfinx_llg as "
        "llg``, is for everyday work; packages are attributes of it.\n\n"
        f".. toctree::\n   :maxdepth: 1\n\n{listed}\n",
    )
    for face, title in FACES.items():
        module = _module(face)
        full = {n: f"{module.__name__}.{n}" for n in module.__all__}
        own = [n for n in full if pages.get(full[n]) == full[n]]
        others = [n for n in full if full[n] in pages and n not in own]
        data = [n for n in own if not callable(getattr(module, n))]
        heading = f"{title} (``{face}``)"
        summary = (inspect.getdoc(module) or "").strip().split("\n\n")[0]
        text = f"{heading}\n{'=' * len(heading)}\n\n{summary}\n\n"
        text += f".. currentmodule:: {module.__name__}\n\n"
        if len(own) > len(data):
            text += ".. autosummary::\n   :toctree: names\n   :nosignatures:\n\n"
            text += "".join(f"   {name}\n" for name in own if name not in data)
        if data:
            text += "\nNumbers and tables:\n\n.. toctree::\n   :maxdepth: 1\n\n"
            text += "".join(f"   names/{full[name]}\n" for name in data)
        if others:
            links = [f":doc:`{n} <names/{pages[full[n]]}>`" for n in others]
            text += "\nAlso here: " + ", ".join(links) + ".\n"
        put(f"{face}.rst", text)
        for name in own:
            put(f"names/{full[name]}.rst", _page(module, name))
    return written
