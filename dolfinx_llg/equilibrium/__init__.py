# SPDX-License-Identifier: LGPL-3.0-or-later
"""States at rest: minimisation, relaxation, hysteresis, small oscillations, energy barriers."""

from dolfinx_llg.equilibrium.barrier import Barrier, energy_barrier
from dolfinx_llg.equilibrium.hysteresis import hysteresis
from dolfinx_llg.equilibrium.loop import (
    LoopState,
    coercive_fields,
    energy_product,
    nucleation_field,
    remanences,
    switching_fields,
)
from dolfinx_llg.equilibrium.minimise import Equilibrium, Minimiser, minimise, minimise_steps
from dolfinx_llg.equilibrium.modes import Modes, eigenmodes
from dolfinx_llg.equilibrium.options import (
    Dynamics,
    LoopFiles,
    LoopSteps,
    MinimiseOptions,
    ModeTolerances,
    Search,
)
from dolfinx_llg.equilibrium.relax import relax
from dolfinx_llg.equilibrium.stability import Stability

__all__ = [
    "Barrier",
    "Dynamics",
    "Equilibrium",
    "LoopFiles",
    "LoopState",
    "LoopSteps",
    "MinimiseOptions",
    "Minimiser",
    "ModeTolerances",
    "Modes",
    "Search",
    "Stability",
    "coercive_fields",
    "eigenmodes",
    "energy_barrier",
    "energy_product",
    "hysteresis",
    "minimise",
    "minimise_steps",
    "nucleation_field",
    "relax",
    "remanences",
    "switching_fields",
]
