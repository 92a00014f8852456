# SPDX-License-Identifier: LGPL-3.0-or-later
"""A magnetization enters a coarse space, m <- P Psi m, and what is said where that changes it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import warn
from dolfinx_llg.la.basis import GalerkinBasis

__all__ = ["UNIT", "Entered", "entered", "warn_of_entry"]

Array = npt.NDArray[np.float64]

ENTRY_WARNING = 0.02
"""Change of a node of m, of length 1, from which entering a coarse space is worth a warning."""
UNIT = 1e-12
"""Change up to which m was in the space already: its last bits are then left alone."""


class Entered(NamedTuple):
    """A magnetization that has entered a coarse space, local values.

    Attributes:
        coefficients: Psi m, less the lift g where nodes are pinned.
        values: P Psi m, or g + P Psi (m - g).
        change: Largest change of a component at a node of any rank.
    """

    coefficients: Array
    values: Array
    change: float


def entered(basis: GalerkinBasis, values: Array) -> Entered:
    """Bring nodal values of this rank, shape (3 n,), into the space of a basis.

    Raises:
        ValueError: If a node changes by more than the basis's ``entry_tolerance``.

    Note: Collective.
    """
    coefficients, inside = basis.enter(values)
    return Entered(coefficients, inside, basis.check_entry(values, inside))


def warn_of_entry(
    basis: GalerkinBasis, change: float, old: float | None, new: float | None
) -> None:
    """Say so where entering the subspace changes m a lot and no tolerance has been stated."""
    if change <= ENTRY_WARNING or math.isfinite(basis.entry_tolerance):
        return
    energies = "" if new is None else f", the energy from {old:.6g} to {new:.6g}"
    warn(
        f"entering the coarse space changes the datum: a node of m by {change:.2g}{energies}; "
        "more functions resolve it, entry_tolerance of the basis says how much is allowed"
    )
