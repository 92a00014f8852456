# SPDX-License-Identifier: LGPL-3.0-or-later
"""Kinds of arguments, checked against the type hints of public functions.

``@checked`` looks at each argument before the body runs, so that None, text, swapped arguments and
objects of another class end in a TypeError that names function, argument, what is wanted and what
was met, and never in an AttributeError, in NumPy, in UFL or in a PETSc code. It checks kinds alone;
shapes and ranges are the business of ``checks``.
"""

from __future__ import annotations

import collections.abc
import difflib
import functools
import inspect
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal, SupportsIndex, TypeAliasType, TypeVar, Union, cast

import numpy as np
from dolfinx.mesh import Mesh
from ufl.core.expr import Expr

__all__ = ["WrongKindError", "checked", "describe"]

#: Longest piece of a value that a message shows.
_SHOWN = 60
_PATHS = (str, os.PathLike)
#: What helps where a value of one class is given and one of another is wanted.
_REMEDIES = {
    ("Mesh", "MeshData"): "pass its .mesh",
    ("Function", "Sum"): "cell_coefficient(mesh, expression) or Function.interpolate makes one",
    ("Energy", "list"): "wrap the terms, Energy([...])",
    ("Energy", "tuple"): "wrap the terms, Energy([...])",
    ("Function", "Mesh"): "magnetization(mesh, m0) makes one",
    ("MeshTags", "NoneType"): "the file has no tags (physical groups)",
    ("FunctionSpace", "Function"): "pass its .function_space",
    ("float", "Gilbert"): "give the lambda of the LL form",
    ("FunctionSpace", "Mesh"): "vector_space(mesh) makes one",
}


class WrongKindError(TypeError, ValueError):
    """An argument is of another kind than the function takes.

    A TypeError, as Python has it, and a ValueError too, so that ``except ValueError`` around a
    call catches every argument that the package refuses.
    """


def checked[T](target: T) -> T:
    """Check the kinds of all arguments of a function, or of a class's constructor, at each call.

    Raises:
        TypeError: From the call, for an argument of another kind than its hint's (a
            ``WrongKindError``), a name that the function does not have, or a missing argument.
        ValueError: From the call, for a choice (``Literal``) that does not exist.
    """
    if isinstance(target, type):
        kind = cast(Any, target)
        kind.__init__ = _wrapped(kind.__init__, kind.__name__, skip=1)
        return target
    function = cast(Any, target)
    first = next(iter(inspect.signature(function).parameters), "")
    return cast(T, _wrapped(function, function.__name__, skip=first in ("self", "cls")))


def _wrapped(function: Callable[..., Any], name: str, skip: int) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.cache
    def hints() -> dict[str, Any]:
        return typing.get_type_hints(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}: {error}{_meant(signature, kwargs)}") from None
        for argument, value in list(bound.arguments.items())[skip:]:
            parameter = signature.parameters[argument]
            if argument not in hints() or value is parameter.default:
                continue
            hint = hints()[argument]
            if parameter.kind is parameter.VAR_KEYWORD and (keywords := _keywords(hint)):
                _check_names(name, signature, value, keywords)
                for label, entry in value.items():
                    _check(f"{name}: {label}", keywords[label], entry)
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                values = [(argument, entry) for entry in value]
            elif parameter.kind is parameter.VAR_KEYWORD:
                values = list(value.items())
            else:
                values = [(argument, value)]
            for label, entry in values:
                _check(f"{name}: {label}", hint, entry)
        return function(*args, **kwargs)

    return call


def _keywords(hint: Any) -> dict[str, Any]:
    """Return the hints of the keywords that ``**options: Unpack[...]`` stands for."""
    if typing.get_origin(hint) is not typing.Unpack:
        return {}
    return typing.get_type_hints(typing.get_args(hint)[0])


def _check_names(
    name: str, signature: inspect.Signature, given: dict[str, Any], keywords: dict[str, Any]
) -> None:
    """Raise TypeError where a keyword is none of those that the options stand for."""
    unknown = {label: entry for label, entry in given.items() if label not in keywords}
    if unknown:
        meant = _meant(signature, unknown, list(keywords))
        raise TypeError(f"{name}: got an unexpected keyword argument {min(unknown)!r}{meant}")


def _meant(signature: inspect.Signature, given: dict[str, Any], further: Iterable[str] = ()) -> str:
    """Say which argument a misspelt name may mean."""
    known = [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    known = [name for name in known if name not in ("self", "cls")]
    known += further
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            return f"; did you mean {near[0]!r}?" if near else f" (it has {', '.join(known)})"
    return ""


def _check(what: str, hint: Any, value: Any) -> None:
    kinds = _members(hint)
    choices = [choice for kind in kinds for choice in _choices(kind)]
    if not any(_fits(kind, value) for kind in kinds):
        if choices and isinstance(value, str):
            raise ValueError(f"{what} must be {_listed(map(repr, choices))}, got {value!r}")
        words = _listed(_words(kind) for kind in kinds)
        remedy = next(
            (
                f": {_REMEDIES[_name(kind), type(value).__name__]}"
                for kind in kinds
                if (_name(kind), type(value).__name__) in _REMEDIES
            ),
            "",
        )
        raise WrongKindError(f"{what} must be {words}, got {describe(value)}{remedy}")
    if isinstance(value, Mesh) and value.geometry.x.dtype != np.float64:
        raise ValueError(
            f"{what} has coordinates of type {value.geometry.x.dtype}: make it in double "
            "precision (dtype=numpy.float64)"
        )


def _listed(words: Iterable[str]) -> str:
    """``a, b or c``, each once."""
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last


def describe(value: object) -> str:
    """Return words for a value in an error message: short, with its class."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value) if len(repr(value)) <= _SHOWN else repr(value)[:_SHOWN] + "..."
    kind = type(value)
    name = kind.__name__
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, collections.abc.Mapping):
        entries = ", ".join(dict.fromkeys(type(entry).__name__ for entry in value.values()))
        return f"a {name} of {entries or 'nothing'}"
    if isinstance(value, list | tuple) and any(not _plain(entry) for entry in value):
        entries = ", ".join(dict.fromkeys(type(entry).__name__ for entry in value))
        return f"a {name} of {entries}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the {'class' if isinstance(value, type) else 'function'} {value.__name__}"
    if kind is object:
        return "an object"
    if isinstance(value, Expr) or not kind.__module__.startswith(("builtins", "numpy")):
        return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
    text = repr(value)
    return f"the {name} {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}"


def _plain(value: object) -> bool:
    """Whether the text of a value is the same on every rank (no address in it)."""
    return value is None or isinstance(value, bool | int | float | str | np.generic)


class _Numeric:
    """Stands for all that hints call array-like: arrays, numbers and nested sequences of them."""


def _members(hint: Any) -> list[Any]:
    """The alternatives of a hint, aliases resolved."""
    while isinstance(hint, TypeAliasType):
        hint = hint.__value__
    origin = typing.get_origin(hint)
    if isinstance(origin, TypeAliasType):
        return _members(origin.__value__)
    if origin in (Union, types.UnionType):
        found = [member for part in typing.get_args(hint) for member in _members(part)]
        if any(_is_array_protocol(member) for member in found):
            # ArrayLike spells out text, bytes and complex numbers, which no physics has.
            dropped = (str, bytes, complex, bool, int)
            found = [m for m in found if not _is_array_protocol(m) and m not in dropped]
            found.append(_Numeric)
        return found
    return [hint]


def _is_array_protocol(hint: Any) -> bool:
    text = str(hint)
    return "_SupportsArray" in text or "_NestedSequence" in text or text.endswith("Buffer'>")


def _choices(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def _is_number(value: object) -> bool:
    if isinstance(value, bool | np.bool_ | Expr):
        return False
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, numbers.Real)


def _is_numeric(value: object) -> bool:
    """Whether a value is an array of numbers, or can be made one."""
    if isinstance(value, Expr | str | bytes) or value is None or callable(value):
        return False
    try:
        return np.asarray(value).dtype.kind in "iufb"
    except Exception:  # ragged lists, and objects with an __array__ of their own
        return False


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value is of the kind that one alternative of a hint asks for."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, object) or isinstance(hint, TypeVar | str):
        return True
    if hint is None or hint is type(None):
        return value is None
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in args)
    if hint is float:
        return _is_number(value)
    if hint is int:
        whole = isinstance(value, SupportsIndex) and not isinstance(value, bool | np.ndarray)
        return whole and not isinstance(value, np.bool_)
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is _Numeric or origin is np.ndarray or hint is np.ndarray:
        return _is_numeric(value)
    kind = origin or hint
    if kind is collections.abc.Callable:
        return callable(value) and not isinstance(value, Expr | type)
    if kind in (os.PathLike, *_PATHS[1:]) or getattr(kind, "__module__", "").startswith("pathlib"):
        return isinstance(value, os.PathLike)
    if isinstance(kind, type) and issubclass(kind, collections.abc.Sequence) and kind is not str:
        return _fits_sequence(kind, args, value)
    if kind is collections.abc.Iterable and isinstance(value, str | bytes | list | tuple):
        return _fits_sequence(collections.abc.Sequence, args, value)
    if kind is collections.abc.Mapping and len(args) == 2 and isinstance(value, kind):
        pairs = [(args[0], key) for key in value] + [(args[1], entry) for entry in value.values()]
        return all(any(_fits(m, part) for m in _members(hint)) for hint, part in pairs)
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False):
        return True  # cannot be asked
    return isinstance(value, kind)


def _fits_sequence(kind: type, args: tuple[Any, ...], value: Any) -> bool:
    if isinstance(value, str | bytes | Expr):
        return False
    if kind is tuple:
        if not isinstance(value, tuple | list | np.ndarray):
            return False
        # Lengths are the function's to check: it knows what they mean.
        if len(set(args) - {...}) == 1:
            return all(any(_fits(m, v) for m in _members(args[0])) for v in value)
        pairs = zip(args, value, strict=False)
        return all(any(_fits(m, v) for m in _members(k)) for k, v in pairs)
    if isinstance(value, np.ndarray):
        return value.ndim > 0 and value.dtype.kind in "iufb"
    if not isinstance(value, collections.abc.Sequence | range):
        return False
    members = _members(args[0]) if args else [Any]
    return all(any(_fits(member, entry) for member in members) for entry in value)


def _name(hint: Any) -> str:
    return str(getattr(typing.get_origin(hint) or hint, "__name__", hint))


def _words(hint: Any) -> str:
    """Words for one alternative of a hint."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is None or hint is type(None):
        return "None"
    if origin is Literal:
        return _listed(map(repr, args))
    plain = {float: "a number", int: "an integer", bool: "True or False", str: "text"}
    if hint in plain:
        return plain[hint]
    if hint is _Numeric or origin is np.ndarray or hint is np.ndarray:
        return "an array of numbers"
    kind = origin or hint
    if kind is collections.abc.Callable:
        return "a callable"
    if kind is os.PathLike or getattr(kind, "__module__", "").startswith("pathlib"):
        return "a path"
    if isinstance(kind, type) and issubclass(kind, collections.abc.Sequence) and args:
        inner = [_words(member) for member in _members(args[0])]
        return f"a sequence ({_listed(inner)} each)"
    if kind is Expr:
        return "a UFL expression"
    if kind is collections.abc.Mapping and len(args) == 2:
        keys, values = (_listed(_words(m) for m in _members(part)) for part in args)
        return f"a mapping (of {keys} to {values})" if args[1] is not Any else "a mapping"
    name = _name(hint)
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
