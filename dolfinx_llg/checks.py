# SPDX-License-Identifier: LGPL-3.0-or-later
"""Checks of arguments that many public functions share."""

from __future__ import annotations

import operator
from typing import SupportsIndex

__all__ = ["check_integer"]


def check_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return an integer argument as an int.

    Args:
        name: Its name, for the message.
        value: What the user gave; bool and float are no integers.
        low: Smallest value allowed.
        high: Largest value allowed; None: no bound.

    Raises:
        ValueError: If it is no integer, or out of range.
    """
    bounds = f">= {low}" if high is None else f"in [{low}, {high}]"
    message = f"{name} must be an integer {bounds}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise ValueError(message)
    try:
        number = operator.index(value)
    except TypeError:  # arrays have the method, too
        raise ValueError(message) from None
    if number < low or (high is not None and number > high):
        raise ValueError(message)
    return number
