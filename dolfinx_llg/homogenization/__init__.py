# SPDX-License-Identifier: LGPL-3.0-or-later
"""Periodic cell problems of the exchange coefficient, and correctors."""

from dolfinx_llg.homogenization.correctors import (
    TemporalCorrector,
    corrected,
    evaluate_periodic,
    nodal_gradient,
)
from dolfinx_llg.homogenization.homogenize import CellProblem, CellSolution, homogenize
from dolfinx_llg.homogenization.local import homogenize_locally

__all__ = [
    "CellProblem",
    "CellSolution",
    "TemporalCorrector",
    "corrected",
    "evaluate_periodic",
    "homogenize",
    "homogenize_locally",
    "nodal_gradient",
]
