# SPDX-License-Identifier: LGPL-3.0-or-later
"""The data flow goes one way: a module imports only rooms before its own, read from the sources."""

import ast
import re
from pathlib import Path

import pytest

import dolfinx_llg

ROOT = Path(dolfinx_llg.__file__).parent
TESTS = Path(__file__).resolve().parents[1]
#: The order of the rooms: a module imports only rooms above its own, or its own.
ORDER = (
    {"errors", "kinds", "abort"},
    {"checks", "collective", "typing", "files", "philox"},
    {"jit", "native", "ensemble"},
    {"mesh_checks"},
    {"physics"},
    {"la", "sphere", "io_mesh"},
    {"periodic", "transport"},
    {"schemes", "stray_field"},
    {"solvers"},
    {"adaptivity"},
    {"state"},
    {"march"},
    {"grps", "homogenization"},
    {"reduction", "hmm"},
    {"output", "observables"},
    {"checkpoint", "plot"},
    {"equilibrium"},
)
FORBIDDEN = {"physics": {"petsc4py", "mpi4py"}, "schemes": {"petsc4py", "mpi4py"}}


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


def private(path: Path) -> set[str]:
    """Private names of the package that a test takes: attributes but its own, imports, strings."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            found |= set() if own else {node.attr}
        elif isinstance(node, ast.ImportFrom):
            found |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)  # monkeypatch.setattr(module, "_name", ...)
    # _cpp_object is how DOLFINx hands on what it wraps.
    return {name for name in found if re.fullmatch(r"_[a-zA-Z]\w*", name)} - {"_cpp_object"}


@pytest.mark.parametrize(
    "path", sorted({*TESTS.rglob("*.py")} - {Path(__file__).resolve()}), ids=lambda p: p.name
)
def test_tests_ask_for_public_names_alone(path):
    """What a test cannot see through the public face, no user can rely on."""
    assert not private(path)


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms(path):
    room = path.relative_to(ROOT).with_suffix("").parts[0]
    names = imports(path)
    assert not {n.split(".")[0] for n in names} & FORBIDDEN.get(room, set())
    if room != "__init__":
        own = {n.split(".")[1] for n in names if n.startswith("dolfinx_llg.")}
        level = next(i for i, rooms in enumerate(ORDER) if room in rooms)
        below = set().union(*ORDER[:level])
        assert own <= below | {room}
    assert len(path.read_text().splitlines()) <= 400, "is there a second room in it?"
