# SPDX-License-Identifier: LGPL-3.0-or-later
"""Types that the signatures of several packages share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Box", "Formula", "Indices", "Integers", "PetscOptions"]

#: Real numbers in double precision.
Array = npt.NDArray[np.float64]
#: Numbers of dofs, nodes or cells as DOLFINx and PETSc have them.
Indices = npt.NDArray[np.int32]
#: Numbers that may count more than a rank has.
Integers = npt.NDArray[np.int64]

#: Lower and upper corner of an axis-parallel box, gdim numbers each.
type Box = tuple[Sequence[float], Sequence[float]]
#: A function of the coordinate with values of its kind: UFL of UFL, an array of an array of points.
type Formula = Callable[[Any], Any]
#: PETSc options by their names without a prefix.
type PetscOptions = Mapping[str, Any]
