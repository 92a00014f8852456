# SPDX-License-Identifier: LGPL-3.0-or-later
"""Periodic cell problems: exchange, magnetostatics, whole energies, and correctors."""

from dolfinx_llg.homogenization.correctors import (
    TemporalCorrector,
    corrected,
    evaluate_periodic,
    nodal_gradient,
)
from dolfinx_llg.homogenization.energies import HomogenizedEnergy, homogenize
from dolfinx_llg.homogenization.expansion import Expansion
from dolfinx_llg.homogenization.fourier import (
    FourierGrid,
    homogenized_run,
    resolved_fourier_run,
)
from dolfinx_llg.homogenization.homogenize import CellProblem, CellSolution
from dolfinx_llg.homogenization.local import homogenize_locally
from dolfinx_llg.homogenization.magnetostatics import (
    Fluctuation,
    fluctuation_tensor,
    homogenized_damping,
)

__all__ = [
    "CellProblem",
    "CellSolution",
    "Expansion",
    "Fluctuation",
    "FourierGrid",
    "HomogenizedEnergy",
    "TemporalCorrector",
    "corrected",
    "evaluate_periodic",
    "fluctuation_tensor",
    "homogenize",
    "homogenize_locally",
    "homogenized_damping",
    "homogenized_run",
    "nodal_gradient",
    "resolved_fourier_run",
]
