# SPDX-License-Identifier: LGPL-3.0-or-later
"""Multiscale Landau-Lifshitz solvers for DOLFINx: energies in UFL, solved by PETSc under MPI."""

# The pip wheel of DOLFINx finds its MPI library only through an mpi4py imported before it.
from mpi4py import MPI  # noqa: F401  isort: skip

from dolfinx_llg.algebra import ConvergenceError, GalerkinBasis
from dolfinx_llg.march import State, march
from dolfinx_llg.physics.interaction import Energy, EnergyTerm, Interaction
from dolfinx_llg.physics.terms import (
    BulkDMI,
    CubicAnisotropy,
    Exchange,
    InterfacialDMI,
    UniaxialAnisotropy,
    Zeeman,
)
from dolfinx_llg.schemes.semi_implicit import an, cimrak, gao, prohl
from dolfinx_llg.schemes.step import Block, Gilbert, WeakStep, one, over_dt
from dolfinx_llg.solve import StepSolver
from dolfinx_llg.sphere import length_defect, magnetization, normalise, vector_space

__all__ = [
    "Block",
    "BulkDMI",
    "ConvergenceError",
    "CubicAnisotropy",
    "Energy",
    "EnergyTerm",
    "Exchange",
    "GalerkinBasis",
    "Gilbert",
    "Interaction",
    "InterfacialDMI",
    "State",
    "StepSolver",
    "UniaxialAnisotropy",
    "WeakStep",
    "Zeeman",
    "an",
    "cimrak",
    "gao",
    "length_defect",
    "magnetization",
    "march",
    "normalise",
    "one",
    "over_dt",
    "prohl",
    "vector_space",
]
__version__ = "0.1.0"
