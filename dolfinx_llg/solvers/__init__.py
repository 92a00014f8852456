# SPDX-License-Identifier: LGPL-3.0-or-later
"""What carries out the steps of the schemes: operators, preconditioners, steppers."""

from dolfinx_llg.solvers.midpoint import MidpointStepper
from dolfinx_llg.solvers.nodal import NodalArrayStepper, NodalStepper
from dolfinx_llg.solvers.nodal_field import NodalField
from dolfinx_llg.solvers.stepper import Candidate, Memory, Past, Stepper, stepper
from dolfinx_llg.solvers.tangent.solver import TangentStepper
from dolfinx_llg.solvers.weak import WeakStepper

__all__ = [
    "Candidate",
    "Memory",
    "MidpointStepper",
    "NodalArrayStepper",
    "NodalField",
    "NodalStepper",
    "Past",
    "Stepper",
    "TangentStepper",
    "WeakStepper",
    "stepper",
]
