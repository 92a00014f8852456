# SPDX-License-Identifier: LGPL-3.0-or-later
"""The public face: names where the documentation puts them, packages loaded when asked for."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dolfinx_llg as llg

pytestmark = pytest.mark.most_ranks(1)

README = Path(__file__).resolve().parents[2] / "README.md"
PACKAGES = sorted(p.parent.name for p in Path(llg.__file__).parent.glob("*/__init__.py"))


def test_every_public_name_is_there():
    for name in llg.__all__:
        assert getattr(llg, name) is not None
    assert set(llg.__all__) <= set(dir(llg))
    with pytest.raises(AttributeError, match="module 'dolfinx_llg' has no attribute 'grp'"):
        _ = llg.grp


@pytest.mark.parametrize("name", PACKAGES)
def test_faces_of_packages(name):
    package = importlib.import_module(f"dolfinx_llg.{name}")
    assert len(package.__all__) == len(set(package.__all__))
    for entry in package.__all__:
        assert getattr(package, entry) is not None


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
    """README and guide import from the package and its rooms, never from a module in a room."""
    pages = [README, *(README.parent / "demos" / "guide").rglob("*.md")]
    text = "".join(page.read_text() for page in pages)
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for node in ast.walk(ast.parse(block)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert all(n.count(".") <= 1 for n in names if n.startswith("dolfinx_llg")), names


def test_the_types_are_shipped():
    assert (Path(llg.__file__).parent / "py.typed").exists()
