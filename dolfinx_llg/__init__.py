# SPDX-License-Identifier: LGPL-3.0-or-later
"""Multiscale Landau-Lifshitz solvers for DOLFINx: energies in UFL, solved by PETSc under MPI."""

# The pip wheel of DOLFINx finds its MPI library only through an mpi4py imported before it.
from mpi4py import MPI  # noqa: F401  isort: skip

from dolfinx_llg.abort import abort_on_error
from dolfinx_llg.checkpoint import read_checkpoint, write_checkpoint
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.io_mesh import read_mesh
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.march import State, march
from dolfinx_llg.observables import Observer
from dolfinx_llg.output import CSVWriter, FieldWriter
from dolfinx_llg.periodic import periodic_basis
from dolfinx_llg.physics.interaction import Energy, EnergyTerm, Interaction, QuadraticTerm
from dolfinx_llg.physics.terms import (
    BulkDMI,
    CubicAnisotropy,
    Exchange,
    InterfacialDMI,
    UniaxialAnisotropy,
    Zeeman,
)
from dolfinx_llg.physics.torques import Slonczewski, ZhangLi
from dolfinx_llg.schemes.semi_implicit import an, cimrak, gao, prohl
from dolfinx_llg.schemes.step import Block, Gilbert, WeakStep, one, over_dt
from dolfinx_llg.schemes.tangent_plane import tangent_plane
from dolfinx_llg.solvers.step_solver import StepSolver
from dolfinx_llg.sphere import length_defect, magnetization, normalise, vector_space

__all__ = [
    "Block",
    "BulkDMI",
    "CSVWriter",
    "ConvergenceError",
    "CubicAnisotropy",
    "Energy",
    "EnergyTerm",
    "Exchange",
    "FieldWriter",
    "GalerkinBasis",
    "Gilbert",
    "Interaction",
    "InterfacialDMI",
    "Observer",
    "QuadraticTerm",
    "Slonczewski",
    "State",
    "StepSolver",
    "UniaxialAnisotropy",
    "WeakStep",
    "Zeeman",
    "ZhangLi",
    "abort_on_error",
    "an",
    "cimrak",
    "gao",
    "length_defect",
    "magnetization",
    "march",
    "normalise",
    "one",
    "over_dt",
    "periodic_basis",
    "prohl",
    "read_checkpoint",
    "read_mesh",
    "tangent_plane",
    "vector_space",
    "write_checkpoint",
]
__version__ = "0.1.0"
