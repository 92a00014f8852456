# SPDX-License-Identifier: LGPL-3.0-or-later
"""How the boundary operator of a stray field is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from dolfinx_llg.checks import check_integer
from dolfinx_llg.kinds import checked

__all__ = ["BoundaryStorage"]


@checked
@dataclass(frozen=True)
class BoundaryStorage:
    """How the boundary operator is kept, in memory and on disk (``StrayField(..., storage=)``).

    Args:
        dense_below: Split boundary nodes up to which the operator is dense, in double precision.
        precision: Of its entries else; symmetric either way.
        cache: Folder that keeps the operator, by a digest of the boundary and of all parameters; a
            file that does not fit or is damaged is replaced, with a warning.

    Raises:
        ValueError: If ``dense_below`` is negative.
    """

    dense_below: int = 1000
    precision: Literal["float32", "float64"] = "float32"
    cache: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Check the number."""
        check_integer("dense_below", self.dense_below, 0)
