# SPDX-License-Identifier: LGPL-3.0-or-later
"""The public face: names where the documentation puts them, packages loaded when asked for."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

import dolfinx_llg as llg

README = Path(__file__).resolve().parents[2] / "README.md"
PACKAGES = ("grps", "hmm", "homogenization", "plot", "reduction", "transport")


def test_every_public_name_is_there():
    for name in llg.__all__:
        assert getattr(llg, name) is not None
    assert set(llg.__all__) <= set(dir(llg))
    with pytest.raises(AttributeError, match="module 'dolfinx_llg' has no attribute 'grp'"):
        _ = llg.grp


@pytest.mark.parametrize("name", [*PACKAGES, "equilibrium", "la", "physics", "schemes", "solvers"])
def test_faces_of_packages(name):
    package = importlib.import_module(f"dolfinx_llg.{name}")
    assert len(package.__all__) == len(set(package.__all__))
    for entry in package.__all__:
        assert getattr(package, entry) is not None


def _public():
    """Functions and classes of the faces, by name."""
    found = {}
    for name in ("", *PACKAGES, "equilibrium", "la", "physics", "schemes", "solvers"):
        package = importlib.import_module(f"dolfinx_llg.{name}".rstrip("."))
        for entry in package.__all__:
            thing = getattr(package, entry)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found[f"{package.__name__}.{entry}"] = thing
    return found


def test_every_public_function_tells_its_arguments():
    """Of functions with two or more, each stands under Args by its name."""
    silent = []
    for name, thing in _public().items():
        text = inspect.getdoc(thing) or ""
        parameters = list(inspect.signature(thing).parameters) if inspect.isfunction(thing) else []
        told = "".join(re.findall(r"^Args:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE))
        named = set(re.findall(r"\w+", " ".join(re.findall(r"^ {4}(\w[\w, ]*):", told, re.M))))
        if len(parameters) > 1 and not named.issuperset(parameters):
            silent.append((name, sorted(set(parameters) - named)))
    assert not silent


def test_every_public_method_says_what_it_does():
    """Of classes, and of the methods and properties that they define."""
    silent = [name for name, thing in _public().items() if not inspect.getdoc(thing)]
    for name, thing in _public().items():
        for key, given in vars(thing).items() if inspect.isclass(thing) else ():
            value = getattr(given, "fget", getattr(given, "__func__", given))
            if inspect.isfunction(value) and key[0] != "_" and not inspect.getdoc(value):
                silent.append(f"{name}.{key}")
    # Those of the protocol and fields of dataclasses stand under Attributes or Args of the class.
    told = {f"{n}.{f.name}" for n, c in _public().items() if is_dataclass(c) for f in fields(c)}
    assert not [name for name in silent if ".Stepper." not in name and name not in told]


def test_packages_are_loaded_when_asked_for(comm):
    """A run without pictures pays for no Matplotlib (0.3 s), one in the fine space for no GRPS."""
    code = (
        "import sys, dolfinx_llg as llg; "
        "early = [n for n in ('matplotlib', 'pyvista', 'dolfinx_llg.grps') if n in sys.modules]; "
        "assert not early, early; assert llg.grps.refine_mesh; assert llg.plot.snapshot; "
        "assert 'pyvista' not in sys.modules"
    )
    if comm.size == 1:  # a process of MPI starts no other one
        subprocess.run([sys.executable, "-c", code], check=True)


def test_everyday_work_needs_no_deep_import():
    """The README imports from the package and from its rooms, never from a module in a room."""
    for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(n.count(".") <= 1 for n in names if n.startswith("dolfinx_llg")), names


def test_the_types_are_shipped():
    assert (Path(llg.__file__).parent / "py.typed").exists()
