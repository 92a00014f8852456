# SPDX-License-Identifier: LGPL-3.0-or-later
"""Multiscale Landau-Lifshitz solvers for DOLFINx: energies in UFL, solved by PETSc under MPI.

Everyday names stand here. What belongs to one subject stands in its package, an attribute that is
imported when it is first asked for: ``llg.grps.refine_mesh``, ``llg.transport.solve_current``.

========================  ==========================================================================
``llg.units``             SI materials to dimensionless numbers and back
``llg.literature``        the papers' coefficients and initial data
``llg.grps``              coarse spaces adapted to a rough coefficient
``llg.reduction``         steps in a coarse space that never touch the fine mesh
``llg.homogenization``    periodic cell problems, correctors
``llg.hmm``               upscaling on the fly, in space and in time
``llg.stray_field``       the stray field, demagnetizing factors
``llg.transport``         electric current and spin accumulation
``llg.equilibrium``       loops and their figures, minimisers that are used again
``llg.initial``           initial states: vortex, skyrmion, wall, random, those of other meshes
``llg.plot``              pictures, curves, animations
========================  ==========================================================================
"""

# The pip wheel of DOLFINx finds its MPI library only through an mpi4py imported before it.
from mpi4py import MPI  # noqa: F401  isort: skip

import importlib
import sys
from typing import TYPE_CHECKING, Any

from dolfinx_llg.abort import abort_on_error
from dolfinx_llg.adaptivity import Adaptive
from dolfinx_llg.checkpoint import read_checkpoint, write_checkpoint
from dolfinx_llg.composite import Composite, composite
from dolfinx_llg.ensemble import Ensemble
from dolfinx_llg.equilibrium import (
    Dynamics,
    Equilibrium,
    LoopFiles,
    LoopSteps,
    ModeTolerances,
    Search,
    eigenmodes,
    energy_barrier,
    hysteresis,
    minimise,
    minimise_steps,
    relax,
)
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.field_writer import FieldWriter
from dolfinx_llg.io_mesh import read_mesh
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.command_line import take_solver_options
from dolfinx_llg.march import Until, march
from dolfinx_llg.measures import WallPosition, largest_angle
from dolfinx_llg.observables import Observer, topological_charge
from dolfinx_llg.output import CSVWriter
from dolfinx_llg.ovf import GridField, read_ovf, write_ovf
from dolfinx_llg.periodic import periodic_basis
from dolfinx_llg.physics import literature, units
from dolfinx_llg.physics.cell_data import cell_coefficient, from_array, from_cell_tags
from dolfinx_llg.physics.dmi import BulkDMI, InterfacialDMI
from dolfinx_llg.physics.energy import Energy, integral
from dolfinx_llg.physics.exchange import with_exchange
from dolfinx_llg.physics.image import Image
from dolfinx_llg.physics.interaction import EnergyTerm, FieldTerm, Interaction, QuadraticTerm
from dolfinx_llg.physics.interlayer import InterlayerExchange
from dolfinx_llg.physics.magnetoelastic import Magnetoelastic
from dolfinx_llg.physics.random_media import checkerboard, inclusions, voronoi_grains
from dolfinx_llg.physics.samples_in_time import TimeTable
from dolfinx_llg.physics.surface_anisotropy import SurfaceAnisotropy
from dolfinx_llg.physics.tensor_term import LocalStrayField, TensorAnisotropy
from dolfinx_llg.physics.terms import CubicAnisotropy, Exchange, UniaxialAnisotropy, Zeeman
from dolfinx_llg.physics.thermal import Thermal
from dolfinx_llg.physics.torques import Slonczewski, ZhangLi
from dolfinx_llg.physics.units import Material, Units
from dolfinx_llg.pinned import pinned_basis
from dolfinx_llg.schemes.damping import Gilbert
from dolfinx_llg.schemes.midpoint import midpoint
from dolfinx_llg.schemes.nodal_step import heun, mpe, mpea, rk4
from dolfinx_llg.schemes.semi_implicit import an, cimrak, gao, prohl
from dolfinx_llg.schemes.step import Block, WeakStep, one, over_dt
from dolfinx_llg.schemes.tangent_plane import tangent_plane
from dolfinx_llg.solvers.damping_check import NumericalDampingWarning
from dolfinx_llg.solvers.midpoint import MidpointStepper
from dolfinx_llg.solvers.nodal import NodalStepper
from dolfinx_llg.solvers.stepper import Candidate, Memory, Stepper, stepper
from dolfinx_llg.solvers.tangent.solver import TangentStepper
from dolfinx_llg.solvers.weak import WeakStepper
from dolfinx_llg.sphere import length_defect, magnetization, normalise, vector_space
from dolfinx_llg.state import State
from dolfinx_llg.stopping import Stopped, until_stopped
from dolfinx_llg.stray_field import BoundaryStorage, StrayField

if TYPE_CHECKING:
    from dolfinx_llg import (
        grps,
        hmm,
        homogenization,
        initial,
        plot,
        reduction,
        stray_field,
        transport,
    )

__all__ = [
    "Adaptive",
    "Block",
    "BoundaryStorage",
    "BulkDMI",
    "CSVWriter",
    "Candidate",
    "Composite",
    "ConvergenceError",
    "CubicAnisotropy",
    "Dynamics",
    "Energy",
    "EnergyTerm",
    "Ensemble",
    "Equilibrium",
    "Exchange",
    "FieldTerm",
    "FieldWriter",
    "GalerkinBasis",
    "Gilbert",
    "GridField",
    "Image",
    "Interaction",
    "InterfacialDMI",
    "InterlayerExchange",
    "LocalStrayField",
    "LoopFiles",
    "LoopSteps",
    "Magnetoelastic",
    "Material",
    "Memory",
    "MidpointStepper",
    "ModeTolerances",
    "NodalStepper",
    "NumericalDampingWarning",
    "Observer",
    "QuadraticTerm",
    "Search",
    "Slonczewski",
    "State",
    "Stepper",
    "Stopped",
    "StrayField",
    "SurfaceAnisotropy",
    "TangentStepper",
    "TensorAnisotropy",
    "Thermal",
    "TimeTable",
    "UniaxialAnisotropy",
    "Units",
    "Until",
    "WallPosition",
    "WeakStep",
    "WeakStepper",
    "Zeeman",
    "ZhangLi",
    "abort_on_error",
    "an",
    "cell_coefficient",
    "checkerboard",
    "cimrak",
    "composite",
    "eigenmodes",
    "energy_barrier",
    "equilibrium",
    "from_array",
    "from_cell_tags",
    "gao",
    "grps",
    "heun",
    "hmm",
    "homogenization",
    "hysteresis",
    "inclusions",
    "initial",
    "integral",
    "largest_angle",
    "length_defect",
    "literature",
    "magnetization",
    "march",
    "midpoint",
    "minimise",
    "minimise_steps",
    "mpe",
    "mpea",
    "normalise",
    "one",
    "over_dt",
    "periodic_basis",
    "pinned_basis",
    "plot",
    "prohl",
    "read_checkpoint",
    "read_mesh",
    "read_ovf",
    "reduction",
    "relax",
    "rk4",
    "stepper",
    "stray_field",
    "tangent_plane",
    "topological_charge",
    "transport",
    "units",
    "until_stopped",
    "vector_space",
    "voronoi_grains",
    "with_exchange",
    "write_checkpoint",
    "write_ovf",
]
# Options such as -llg_ksp_monitor on the command line of the script.
take_solver_options(sys.argv)

__version__ = "0.2.0"

_PACKAGES = {
    "grps",
    "hmm",
    "homogenization",
    "initial",
    "plot",
    "reduction",
    "stray_field",
    "transport",
}


def __getattr__(name: str) -> Any:
    """Import a package when it is first asked for: a run without pictures loads no Matplotlib."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, packages that are not imported yet included."""
    return sorted({*globals(), *__all__})
