# SPDX-License-Identifier: LGPL-3.0-or-later
"""The order of the house: data flow one way, tests ask for public names, calls stay short."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import dolfinx_llg

pytestmark = pytest.mark.most_ranks(1)

ROOT = Path(dolfinx_llg.__file__).parent
TESTS = Path(__file__).resolve().parents[1]
DEMOS = TESTS.parent / "demos"
#: The order of the rooms: a module imports only rooms above its own, or its own.
ORDER = (
    {"errors", "kinds", "abort"},
    {"checks", "collective", "typing", "files", "philox"},
    {"jit", "native", "ensemble", "vtu", "xdmf"},
    {"mesh_checks"},
    {"physics"},
    {"la", "sphere", "io_mesh"},
    {"measures", "periodic", "pinned", "transport"},
    {"schemes", "stray_field"},
    {"composite"},
    {"solvers"},
    {"adaptivity"},
    {"state"},
    {"march"},
    {"grps", "homogenization"},
    {"reduction", "hmm"},
    {"output", "observables"},
    {"checkpoint", "field_writer", "initial", "ovf", "plot"},
    {"equilibrium", "stopping"},
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


@pytest.mark.parametrize("path", sorted(DEMOS.glob("*.py")), ids=lambda p: p.name)
def test_demos_are_short(path):
    assert len(path.read_text().splitlines()) <= 300, "what does it share with another demo?"


#: What a call may ask for, self not counted; more belongs into a dataclass of options.
MOST_PARAMETERS = 9
#: What takes more, and why; the list may only become shorter.
LONGER = {
    "march.march": "its keywords are those of every run, each one idea that is typed alone",
    "physics.torques.Slonczewski": "coefficients of one formula, by the names of the papers",
    "reduction.tensor_run.tensor_reduce": "the arguments of a scheme, and those of a reduction",
    "schemes.step.WeakStep": "the forms of a scheme; an own scheme gives those that it has",
    # Made by the package, read by the user.
    "equilibrium.barrier.Barrier": "a result",
    "equilibrium.loop.LoopState": "a result, one row of a file",
    "equilibrium.minimise.Equilibrium": "a result",
    "equilibrium.modes.Modes": "a result",
    "reduction.samples.StepOnSamples": "made by hyper_reduce and tensor_reduce",
    "schemes.midpoint.MidpointStep": "made by midpoint",
    "schemes.nodal_step.NodalStep": "made by heun, rk4, mpe and mpea",
    "schemes.tangent_plane.TangentPlaneStep": "made by tangent_plane",
}


def calls():
    """Each public function, method and constructor of the package, under its place."""
    for info in pkgutil.walk_packages(dolfinx_llg.__path__, "dolfinx_llg."):
        module = importlib.import_module(info.name)
        for name, found in vars(module).items():
            if name.startswith("_") or getattr(found, "__module__", None) != info.name:
                continue
            place = f"{info.name.removeprefix('dolfinx_llg.')}.{name}"
            if inspect.isfunction(found) or inspect.isclass(found):
                yield place, found
            if inspect.isclass(found):
                for method, function in vars(found).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{place}.{method}", function


def count(function):
    """Parameters of a call; ``**options``, the keywords of another call, are one."""
    try:
        names = inspect.signature(function).parameters
    except ValueError:  # errors and typed dicts have no constructor of their own
        return 0
    return len([name for name in names if name != "self"])


def test_calls_take_few_parameters():
    counts = {place: count(function) for place, function in calls()}
    assert counts["equilibrium.minimise.minimise"] == MOST_PARAMETERS  # they are counted
    assert {place for place, n in counts.items() if n > MOST_PARAMETERS} == set(LONGER)
