# SPDX-License-Identifier: LGPL-3.0-or-later
r"""ReducedOperators: the matrices and vectors of a step at a cost that does not depend on h.

With x the new iterate in V_H, c its coefficients, and :math:`m = x/|x|` (or x) at the nodes of the
samples, a step solves

.. math::
    \Big(\sum_b w_b P^T B_b P + P_s^T C(m) P_s\Big) c' =
    \sum_b w'_b \big(P^T B_b P\, c + P_s^T B_b^s (m - x)\big) + P_s^T s(m).

The constant blocks are those of the fine mesh, projected once. What depends on m is integrated over
the samples, and of the history only the part outside V_H: it is O(dt), so that dividing it by dt
does not blow up the error of the cubature. P_s = Theta V goes through the modes of coarse cells.
"""

from __future__ import annotations

import weakref
from typing import Any

from petsc4py import PETSc

from dolfinx_llg.algebra import GalerkinBasis
from dolfinx_llg.multiscale.local_modes import LocalModes
from dolfinx_llg.operators import SAME, StepOperators
from dolfinx_llg.reduction.blocks import CoarseBlocks
from dolfinx_llg.reduction.samples import SampledStep, Samples
from dolfinx_llg.reduction.system import CoarseSystem
from dolfinx_llg.schemes.step import WeakStep

__all__ = ["ReducedOperators"]


class _Sum:
    """Context of the PETSc matrix base + P_s^T C P_s."""

    def __init__(self, owner: ReducedOperators, sampled: PETSc.Mat) -> None:
        self.owner, self.sampled = owner, sampled
        self._x, self._y = sampled.createVecs()

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the product with x (called by PETSc)."""
        owner = self.owner
        c = owner.replicate(x)
        y.array[:] = owner.apply_base(c).ravel()
        if owner.has_varying:
            self._x.array[:] = owner.prolong(c).ravel()
            self.sampled.mult(self._x, self._y)
            r = self._y.getArray(readonly=True).reshape(-1, 3)
            owner.add(owner.restrict(r), y)

    def duplicate(self, matrix: PETSc.Mat, operation: Any) -> PETSc.Mat:
        """Return a sum around a matrix of its own on the samples (called by PETSc)."""
        return self.owner.operator(_Sum(self.owner, self.sampled.duplicate(copy=True)))

    def copy(self, matrix: PETSc.Mat, other: PETSc.Mat, structure: Any) -> None:
        """Copy the matrix on the samples into that of another sum (called by PETSc)."""
        context: Any = other.getPythonContext()
        self.sampled.copy(context.sampled, SAME)


class ReducedOperators(CoarseSystem):
    """The counterpart of ``StepOperators`` for a step on samples; arguments as for its base."""

    def __init__(
        self,
        basis: GalerkinBasis,
        modes: LocalModes,
        samples: Samples,
        sampled: SampledStep,
        blocks: CoarseBlocks,
        step: WeakStep,
    ) -> None:
        super().__init__(basis, modes, samples, sampled, blocks, step)
        self._remainder = sampled.remainder
        self.sampled = StepOperators(sampled.step, None, blocked=True)
        self.has_varying = sampled.step.varying is not None or sampled.step.nonlinear is not None
        self.A = self.operator(_Sum(weakref.proxy(self), self.sampled.A))
        self._x, self._y = self.sampled.A.createVecs()

    def set_time_step(self, dt: float) -> None:
        """Form the weighted sum of the constant blocks for a new dt."""
        super().set_time_step(dt)
        self.sampled.set_time_step(dt)

    def assemble(self, dt: float) -> None:
        """Assemble A and b of a linear step, or the linear part of a nonlinear one."""
        with self.timed():
            n = self._x.getLocalSize()
            inside = self.prolong(self.c).ravel()
            self._remainder.x.array[:n] = self.step.m.x.array[:n] - inside
            self._remainder.x.scatter_forward()
            self.sampled.assemble(dt)
            self.b.set(0.0)
            self.add(self.restrict(self.sampled.b.getArray(readonly=True).reshape(-1, 3)), self.b)
            self.add_history(dt)

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Set F = linear u + N(u) - b."""
        with self.timed():
            linear.mult(u, F)
            F.axpy(-1.0, self.b)
            self._x.array[:] = self.prolong(self.replicate(u)).ravel()
            self.sampled.nonlinear_part(self._x, self._y)
            self.add(self.restrict(self._y.getArray(readonly=True).reshape(-1, 3)), F)

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Set A = linear + N'(u)."""
        with self.timed():
            self._x.array[:] = self.prolong(self.replicate(u)).ravel()
            context: Any = linear.getPythonContext()
            self.sampled.newton_matrix(context.sampled, self._x)
