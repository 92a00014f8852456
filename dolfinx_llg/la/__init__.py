# SPDX-License-Identifier: LGPL-3.0-or-later
"""Algebra without physics: Galerkin bases, matrices, Krylov solvers, GMRES on arrays."""

from dolfinx_llg.la.basis import (
    GalerkinBasis,
)
from dolfinx_llg.la.gmres import (
    gmres,
)
from dolfinx_llg.la.krylov import (
    Krylov,
    Newton,
    Result,
)
from dolfinx_llg.la.options import (
    Options,
)

__all__ = [
    "GalerkinBasis",
    "Krylov",
    "Newton",
    "Options",
    "Result",
    "gmres",
]
