# SPDX-License-Identifier: LGPL-3.0-or-later
"""Public docstrings tell arguments, what is raised and what is collective, as the sources have it.

What a body raises, and whether it communicates, is read off its syntax tree: its own statements and
those of the functions of the package that it calls by name or as methods of self, one call deep.
"""

import ast
import functools
import importlib
import inspect
import re
import textwrap
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Protocol

import pytest

import dolfinx_llg as llg

pytestmark = pytest.mark.most_ranks(1)

PACKAGES = sorted(p.parent.name for p in Path(llg.__file__).parent.glob("*/__init__.py"))
#: What cannot raise: its numbers were checked when the object was made.
CHECKED = ["dolfinx_llg.hmm.MicroBox.stable_dt"]
COLLECTIVE = re.compile(
    r"comm(\.tompi4py\(\))?\.(all(gather|reduce|toall)v?|barrier|bcast|exscan|gather)\(|"
    r"\.scatter_(forward|reverse)\(",
    re.IGNORECASE,
)


def public():
    """Functions and classes of the faces, by name."""
    found = {}
    for name in ("", *PACKAGES):
        package = importlib.import_module(f"dolfinx_llg.{name}".rstrip("."))
        for entry in package.__all__:
            thing = getattr(package, entry)
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found[f"{package.__name__}.{entry}"] = thing
    return found


def test_every_public_function_tells_its_arguments():
    """Of functions with two or more, each stands under Args by its name."""
    silent = []
    for name, thing in public().items():
        text = inspect.getdoc(thing) or ""
        parameters = list(inspect.signature(thing).parameters) if inspect.isfunction(thing) else []
        told = "".join(re.findall(r"^Args:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE))
        named = set(re.findall(r"\w+", " ".join(re.findall(r"^ {4}(\w[\w, ]*):", told, re.M))))
        if len(parameters) > 1 and not named.issuperset(parameters):
            silent.append((name, sorted(set(parameters) - named)))
    assert not silent


def test_every_public_method_says_what_it_does():
    """Of classes, and of the methods and properties that they define."""
    silent = [name for name, thing in public().items() if not inspect.getdoc(thing)]
    for name, thing in public().items():
        for key, given in vars(thing).items() if inspect.isclass(thing) else ():
            value = getattr(given, "fget", getattr(given, "__func__", given))
            if inspect.isfunction(value) and key[0] != "_" and not inspect.getdoc(value):
                silent.append(f"{name}.{key}")
    # Those of the protocol and fields of dataclasses stand under Attributes or Args of the class.
    told = {f"{n}.{f.name}" for n, c in public().items() if is_dataclass(c) for f in fields(c)}
    assert not [name for name in silent if ".Stepper." not in name and name not in told]


def functions():
    """Public functions, constructors and methods: name, function, class, docstring, attribute?"""
    for name, thing in public().items():
        text = inspect.getdoc(thing) or ""
        if inspect.isfunction(thing):
            yield name, inspect.unwrap(thing), None, text, False
            continue
        # A protocol is implemented by others, and its constructor is Python's.
        for key, given in {} if Protocol in thing.__bases__ else vars(thing).items():
            inner = (getattr(given, name, None) for name in ("fget", "func", "__func__"))
            function = next(filter(None, inner), given)
            if not inspect.isfunction(function):
                continue
            attribute = isinstance(given, property | functools.cached_property)
            if key in ("__init__", "__post_init__"):
                yield name, function, thing, text, False
            elif key[0] != "_":
                own = inspect.getdoc(given if attribute else getattr(thing, key)) or ""
                own += text * ("all methods are" in text)  # "Collective, as all methods are."
                yield f"{name}.{key}", inspect.unwrap(function), thing, own, attribute


@functools.cache
def statements(function):
    """Nodes of a body without those of functions in it; empty where it is nothing but a raise."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, SyntaxError):  # made by dataclass, a lambda
        return []
    if not isinstance(tree, ast.FunctionDef):
        return []
    body = [node for node in tree.body if not isinstance(getattr(node, "value", 0), ast.Constant)]
    if [type(node) for node in body] == [ast.Raise]:  # for subclasses to define
        return []
    found, todo = [], list(tree.body)
    while todo:
        node = todo.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)
    return found


def called(function, owner):
    """Functions of the package that a body calls, by name or as methods of self."""
    for node in statements(function):
        target = node.func if isinstance(node, ast.Call) else None
        if isinstance(target, ast.Name):
            found = function.__globals__.get(target.id)
        elif isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and owner:
            found = inspect.getattr_static(owner, target.attr, None)
        else:
            continue
        found = getattr(found, "__func__", found)
        if inspect.isclass(found):
            found = vars(found).get("__init__")
        found = inspect.unwrap(found) if callable(found) else found
        if inspect.isfunction(found) and found.__module__.startswith("dolfinx_llg"):
            yield found


def raises(function):
    return any(
        isinstance(node, ast.Raise) and node.exc is not None for node in statements(function)
    )


def communicates(function):
    calls = [node for node in statements(function) if isinstance(node, ast.Call)]
    return any(COLLECTIVE.search(ast.unparse(node)) for node in calls)


def test_what_is_raised_is_told():
    """By the name of the error; a property, which takes no argument, need not."""
    silent = []
    for name, function, owner, text, attribute in functions():
        found = any(raises(f) for f in (function, *called(function, owner)))
        if found and not attribute and not re.search(r"\b[A-Z]\w*Error\b", text):
            silent.append(name)
    assert silent == CHECKED


def test_what_communicates_says_so():
    """And is a method: an attribute is read by one rank alone without a thought."""
    silent, attributes = [], []
    for name, function, owner, text, attribute in functions():
        if any(communicates(f) for f in (function, *called(function, owner))):
            silent += [name] * (not re.search(r"\bcollective\b", text, re.IGNORECASE))
            attributes += [name] * attribute
    assert not silent
    assert not attributes


def test_the_sources_are_read():
    """What the two tests above rest on, of functions that are known to do either."""
    assert raises(inspect.unwrap(llg.magnetization)) or any(
        raises(f) for f in called(inspect.unwrap(llg.magnetization), None)
    )
    assert communicates(inspect.unwrap(llg.normalise))
    assert not communicates(inspect.unwrap(llg.Exchange.bilinear))
