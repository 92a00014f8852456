# SPDX-License-Identifier: LGPL-3.0-or-later
"""Checks of arguments that many public functions share: range, shape, finite values.

Kinds are checked by ``kinds.checked`` from the type hints. All of these look at local values that
a program gives alike on all ranks; what may differ between ranks goes through ``collective``.
"""

from __future__ import annotations

import math
import operator
import os
import warnings
from collections.abc import Collection
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt
from ufl.core.expr import Expr

from dolfinx_llg.kinds import WrongKindError, describe

__all__ = [
    "check_array",
    "check_choice",
    "check_integer",
    "check_kind",
    "check_number",
    "check_spins",
    "check_tensor",
    "warn",
]

_PACKAGE = os.path.dirname(__file__)


def check_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return an integer argument as an int.

    Args:
        name: Its name, for the message.
        value: What the user gave; bool and float are no integers.
        low: Smallest value allowed.
        high: Largest value allowed; None: no bound.

    Raises:
        ValueError: If it is no integer (a TypeError too), or out of range.
    """
    bounds = f">= {low}" if high is None else f"in [{low}, {high}]"
    message = f"{name} must be an integer {bounds}, got {value!r}"
    if isinstance(value, bool | np.bool_) or not isinstance(value, SupportsIndex):
        raise WrongKindError(message)
    try:
        number = operator.index(value)
    except TypeError:  # arrays have the method, too
        raise WrongKindError(message) from None
    if number < low or (high is not None and number > high):
        raise ValueError(message)
    return number


def check_number(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    positive: bool = False,
) -> float:
    """Return a finite real argument as a float.

    Args:
        name: Its name, for the message.
        value: What the user gave.
        low: Smallest value allowed.
        high: Largest value allowed.
        positive: Whether zero and less are refused.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is not finite or out of range.
    """
    if isinstance(value, bool | str | Expr) or value is None or np.ndim(value) != 0:  # type: ignore[arg-type]
        raise WrongKindError(f"{name} must be a number, got {describe(value)}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise WrongKindError(f"{name} must be a number, got {describe(value)}") from None
    if not math.isfinite(number) or number < low or number > high or (positive and number <= 0.0):
        limits = "positive and finite" if positive else "finite"
        if math.isfinite(low) and math.isfinite(high):
            limits = f"in [{low:g}, {high:g}]"
        elif math.isfinite(low):
            limits += f" and >= {low:g}"
        elif math.isfinite(high):
            limits += f" and <= {high:g}"
        raise ValueError(f"{name} must be {limits}, got {number}")
    return number


def check_array(
    name: str, value: object, shape: tuple[int, ...] | None = None, *, finite: bool = True
) -> npt.NDArray[np.float64]:
    """Return an argument as an array of finite numbers.

    Args:
        name: Its name, for the message.
        value: What the user gave.
        shape: Shape wanted; None: any.
        finite: Whether NaN and infinite entries are refused.

    Raises:
        TypeError: If it holds something else than numbers.
        ValueError: If it has another shape or is not finite.
    """
    if value is None or isinstance(value, str | bytes | Expr) or callable(value):
        raise WrongKindError(f"{name} must be numbers, got {describe(value)}")
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "iufb":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise WrongKindError(f"{name} must be numbers, got {describe(value)}") from None
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got shape {array.shape}")
    if finite and not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite, got {value}")
    return array


def check_spins(m: npt.NDArray[Any]) -> None:
    """Raise ValueError unless an array of directions is finite, of shape (..., 3), nowhere zero."""
    if np.ndim(m) < 1 or m.shape[-1] != 3:
        raise ValueError(f"m must have shape (..., 3), got shape {np.shape(m)}")
    if not np.all(np.isfinite(m)):
        raise ValueError("m has entries that are not finite")
    if m.size and not np.all(np.any(m != 0.0, axis=-1)):
        raise ValueError("m vanishes somewhere")


def check_tensor(name: str, value: object, dim: int) -> npt.NDArray[np.float64]:
    """Return a number, or tensors of shape (..., dim, dim), as symmetric positive definite ones.

    Raises:
        TypeError: If it holds something else than numbers.
        ValueError: If it has another shape, is not symmetric or not positive definite.
    """
    A = check_array(name, value)
    A = A * np.eye(dim) if A.ndim == 0 else A
    if A.shape[-2:] != (dim, dim):
        raise ValueError(f"{name} must have shape (..., {dim}, {dim}), got shape {A.shape}")
    size = float(np.max(np.abs(A), initial=0.0))  # entries that should be 0 are round-off of it
    if not np.allclose(A, np.swapaxes(A, -1, -2), rtol=1e-9, atol=1e-9 * size):
        raise ValueError(f"{name} must be symmetric, got {A.reshape(-1, dim, dim)[0].tolist()}")
    least = float(np.min(np.linalg.eigvalsh(A), initial=math.inf))
    if not least > 0.0:
        raise ValueError(f"{name} must be positive definite, its least eigenvalue is {least:g}")
    return A


def check_choice(name: str, value: object, choices: Collection[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, got {describe(value)}")


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], wanted: str) -> None:
    """Raise TypeError unless the value is an instance of a class.

    Args:
        name: Name of the argument.
        value: What the user gave.
        kind: Class wanted, or several.
        wanted: Words for it in the message, with its article.
    """
    if not isinstance(value, kind):
        raise WrongKindError(f"{name} must be {wanted}, got {describe(value)}")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn the user, at the line of the user's code that called the package."""
    warnings.warn(message, category, skip_file_prefixes=(_PACKAGE,))
