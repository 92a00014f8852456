# SPDX-License-Identifier: LGPL-3.0-or-later
r"""CoarseOperators: a step in a subspace, ``P^T A(m) P`` applied factor by factor.

The triple product of a block that depends on m costs far more than the solve it serves: at
:math:`N_c = 16`, :math:`h = 2^{-7}` and 4 layers one product takes 2.3 s, one application of its
three factors 0.008 s, and GMRES with extrapolated starts needs 1 to 11 of these. So the matrix of a
step is assembled on the fine mesh, as it would be without a basis, and only applied to prolonged
vectors. What is assembled in V_H is the scalar operator of the preconditioner, once for each dt.
"""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.matrices import scipy_rows
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.operators import StepOperators
from dolfinx_llg.solvers.prolongation import Prolongation, fine_of, product

__all__ = ["CoarseOperators", "is_spread"]

_SPREAD = 4.0
"""Entries per row of P above which factors are cheaper than triple products (periodic: 1)."""


def is_spread(basis: GalerkinBasis) -> bool:
    """Whether the basis functions overlap so much that products P^T A P do not pay (collective)."""
    entries = basis.entries()
    return bool(entries > _SPREAD * basis.sizes[0][1])


class CoarseOperators:
    """The counterpart of ``StepOperators`` in a subspace of overlapping functions.

    Args:
        step: The step.
        basis: Subspace in which the new iterate is sought.

    Attributes:
        A: Operator of the current step in V_H, a PETSc matrix without entries.
        b: Right side of the current step, in V_H.
        fine: The parts of the step on the fine mesh.
        prolongation: P and its parts by component.

    Raises:
        ValueError: If the basis does not fit the space.
    """

    def __init__(self, step: WeakStep, basis: GalerkinBasis) -> None:
        basis.check_space(step.m.function_space)
        self.step, self.basis = step, basis
        self.fine = StepOperators(step, None, blocked=True)
        self.prolongation = Prolongation(basis.components)
        self.A = product(self.fine.A, self.prolongation)
        self.b = basis.coarse_vector()
        self._u_h, self._F_h = self.fine.A.createVecs()

    def follow(self) -> None:
        """Take the present functions of a basis that was updated; ``A`` is another matrix then."""
        self.prolongation.destroy()
        self.prolongation = Prolongation(self.basis.components)
        self.A = product(self.fine.A, self.prolongation)

    @property
    def seconds(self) -> float:
        """Wall time spent in assembly since the object was made."""
        return self.fine.seconds

    @property
    def seconds_projection(self) -> float:
        """Wall time spent in P and P^T since the object was made; a part of every solve."""
        return self.prolongation.seconds

    @property
    def dofs(self) -> int:
        """Number of unknowns."""
        return int(np.int64(self.b.getSize()))

    @property
    def kept_forms(self) -> list[ufl.Form]:
        """Forms whose data (kappa, ...) are read once, so that a change needs ``reassemble``."""
        return self.fine.kept_forms

    def reassemble(self) -> None:
        """Assemble the constant blocks anew, after their data (kappa, ...) have changed."""
        self.fine.reassemble()

    # -- between the fine space and the solver's ---------------------------------------------------

    def gather(self, function: fem.Function, out: PETSc.Vec) -> None:
        """Set out to the coefficients of a fine state."""
        self._u_h.array[:] = function.x.array[: self._u_h.getLocalSize()]
        if self.basis.lift is not None:
            self._u_h.array[:] -= self.basis.lift
        self.basis.coefficients(self._u_h, out)

    def scatter(self, coefficients: PETSc.Vec, function: fem.Function) -> None:
        """Set a fine state, ghosts included, from coefficients."""
        self._prolong_state(coefficients)
        self.fine.scatter(self._u_h, function)

    def _prolong_state(self, coefficients: PETSc.Vec) -> None:
        """Set ``_u_h`` to the fine state of coefficients."""
        self.prolongation.prolong(coefficients, self._u_h)
        if self.basis.lift is not None:
            self._u_h.array[:] += self.basis.lift

    def accept(self, coefficients: PETSc.Vec) -> None:
        """Take the coefficients of the accepted iterate: nothing is kept of them here."""

    # -- the parts of a step -----------------------------------------------------------------------

    def set_time_step(self, dt: float) -> None:
        """Form the weighted sum of the constant blocks for a new dt."""
        self.fine.set_time_step(dt)

    def assemble(self, dt: float) -> None:
        """Assemble A and b of a linear step, or the linear part of a nonlinear one."""
        self.fine.assemble(dt)
        if self.basis.lift is None or self.step.nonlinear is not None:
            # The residual of Newton's method is that of the fine state, lift included.
            self.prolongation.restrict(self.fine.b, self.b)
            return
        self._u_h.array[:] = self.basis.lift
        self.fine.A.mult(self._u_h, self._F_h)
        self._F_h.aypx(-1.0, self.fine.b)
        self.prolongation.restrict(self._F_h, self.b)

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Set F = linear u + N(u) - b."""
        self._prolong_state(u)
        self.fine.nonlinear_residual(fine_of(linear), self._u_h, self._F_h)
        self.prolongation.restrict(self._F_h, F)

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Set A = linear + N'(u)."""
        self._prolong_state(u)
        self.fine.newton_matrix(fine_of(linear), self._u_h)

    # -- what the preconditioner is made of --------------------------------------------------------

    def scalar_operator(self, dt: float, *, stretched: bool) -> tuple[PETSc.Mat, float]:
        """Return the projected scalar operator, averaged over the components' bases.

        Args and returns: as for ``StepOperators.scalar_operator``.
        """
        fine, _ = self.fine.scalar_operator(dt, stretched=stretched)
        total = self.prolongation.average(fine, range(self.basis.bs))
        fine.destroy()
        mass = self.step.constant[0].weight(dt) * self._first_trace()
        return total, _trace(total) / mass - 1.0

    def _first_trace(self) -> float:
        """Trace of the projection of the first block, averaged over the components."""
        block = self._component(self.fine.blocks[0])
        traces: dict[int, float] = {}
        parts = self.prolongation.scalars
        for part in parts:
            if id(part) not in traces:
                image = block.matMult(part)
                local = float(scipy_rows(part).multiply(scipy_rows(image)).sum())
                traces[id(part)] = sum(part.comm.tompi4py().allgather(local))
                image.destroy()
        block.destroy()
        return sum(traces[id(part)] for part in parts) / len(parts)

    def _component(self, block: PETSc.Mat) -> PETSc.Mat:
        """Return the first diagonal component block of a fine matrix."""
        aij = PETSc.Mat()
        block.convert("aij", aij)
        start, end = aij.getOwnershipRange()
        bs = self.basis.bs
        rows = PETSc.IS().createStride((end - start) // bs, start, bs, aij.comm)
        part = aij.createSubMatrix(rows, rows)
        rows.destroy()
        aij.destroy()
        return part


def _trace(matrix: PETSc.Mat) -> float:
    diagonal = matrix.getDiagonal()
    total = float(diagonal.sum())
    diagonal.destroy()
    return total
