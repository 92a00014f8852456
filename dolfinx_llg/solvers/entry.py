# SPDX-License-Identifier: LGPL-3.0-or-later
"""What is said where a magnetization enters a coarse space and is changed by it."""

from __future__ import annotations

import math

from dolfinx_llg.checks import warn
from dolfinx_llg.la.basis import GalerkinBasis

__all__ = ["UNIT", "warn_of_entry"]

ENTRY_WARNING = 0.02
"""Change of a node of m, of length 1, from which entering a coarse space is worth a warning."""
UNIT = 1e-12
"""Change up to which m was in the space already: its last bits are then left alone."""


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
