# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stray field: a symmetric boundary operator, Poisson solves, one interaction."""

from dolfinx_llg.stray_field.factors import (
    demagnetizing_tensor,
    ellipsoid_factors,
    prism_factors,
)
from dolfinx_llg.stray_field.field import StrayField
from dolfinx_llg.stray_field.storage import BoundaryStorage

__all__ = [
    "BoundaryStorage",
    "StrayField",
    "demagnetizing_tensor",
    "ellipsoid_factors",
    "prism_factors",
]
