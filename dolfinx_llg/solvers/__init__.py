# SPDX-License-Identifier: LGPL-3.0-or-later
"""What carries out the steps of the schemes: operators, preconditioners, steppers."""

from dolfinx_llg.solvers.nodal_field import (
    NodalField,
)
from dolfinx_llg.solvers.step_solver import (
    StepSolver,
)
from dolfinx_llg.solvers.tangent.solver import (
    TangentSolver,
)

__all__ = [
    "NodalField",
    "StepSolver",
    "TangentSolver",
]
