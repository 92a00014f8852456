# SPDX-License-Identifier: LGPL-3.0-or-later
"""Options that functions which solve cell problems share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

__all__ = ["CellOptions"]


class CellOptions(TypedDict, total=False):
    """The keywords of ``CellProblem``, which functions that solve cell problems hand on to it."""

    degree: int
    quadrature_degree: int | None
    petsc_options: Mapping[str, Any] | None
    petsc_options_prefix: str
