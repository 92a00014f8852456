# SPDX-License-Identifier: LGPL-3.0-or-later
"""Matrices of energies, and what every basis is asked for: its energy's symmetry, its duality."""

from __future__ import annotations

import math

from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix

from dolfinx_llg.checks import warn
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.matrices import scipy_rows

__all__ = ["assembled", "check_duality", "check_energy", "energy_matrix"]

_CONTRAST = 1e6
"""Spread of the energy's diagonal from which we warn: decay per layer weakens with it."""


@checked
def energy_matrix(energy: ufl.Form | PETSc.Mat, measurement: Measurement) -> PETSc.Mat:
    """Return the matrix of an energy form on the hierarchy's space.

    Args:
        energy: Bilinear form, or its matrix, which is returned as it is.
        measurement: Functionals on the hierarchy.

    Raises:
        ValueError: If the form is none of that space.

    Note: Collective.
    """
    if isinstance(energy, PETSc.Mat):
        return energy
    return assembled(energy, measurement.hierarchy.space)


def assembled(energy: ufl.Form, V: fem.FunctionSpace) -> PETSc.Mat:
    """Return the matrix of an energy form, or raise ValueError where it is none of the space.

    Collective.
    """
    if [argument.ufl_function_space() for argument in energy.arguments()] != [V, V]:
        raise ValueError("the energy must be a bilinear form on the hierarchy's scalar space")
    A = assemble_matrix(compile_form(energy))
    A.assemble()
    return A


def check_energy(A: PETSc.Mat) -> None:
    """Raise ValueError unless an energy matrix is finite, symmetric and positive (collective)."""
    u, v = A.createVecs()
    first, last = v.getOwnershipRange()
    number = np.arange(first, last, dtype=np.float64)
    u.array[:], v.array[:] = np.sin(number**2), np.cos(number * math.e)
    Au, Av = u.duplicate(), u.duplicate()
    A.mult(u, Au)
    A.mult(v, Av)
    size = Au.norm() * v.norm()
    # n_h random signs of round-off 1e-16 each stay far below 1e-10 of the norms.
    if not math.isfinite(size) or abs(Au.dot(v) - Av.dot(u)) > 1e-10 * size:
        raise ValueError("the energy must be finite and symmetric")
    diagonal = A.getDiagonal()
    low, high = diagonal.min()[1], diagonal.max()[1]
    if low <= 0.0:
        raise ValueError(f"the energy must be positive, its matrix has the diagonal entry {low}")
    if high > _CONTRAST * low:
        warn(
            f"the diagonal of the energy spreads over {high / low:.1g}: with channels of high "
            "contrast basis functions decay slowly, check ell (accuracy=...)"
        )


def check_duality(P: PETSc.Mat, Psi: PETSc.Mat) -> float:
    """Return the largest entry of Psi P - I, or raise RuntimeError where it is not small."""
    product = scipy_rows(Psi.matMult(P)).tocoo()
    first = Psi.getOwnershipRange()[0]
    product.data[product.row + first == product.col] -= 1.0
    found = float(np.abs(product.data).max(initial=0.0))
    defect = max(P.comm.tompi4py().allgather(found if found == found else math.inf))
    # Round-off of the local solves; far more means that a patch problem was nearly singular.
    if defect > 1e-6:
        raise RuntimeError(f"the basis fails Psi P = I by {defect:.2g}: the functionals depend")
    return defect
