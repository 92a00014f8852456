# SPDX-License-Identifier: LGPL-3.0-or-later
r"""ReducedOperators: the operator and the vectors of a step at a cost that does not depend on h.

With x the new iterate in V_H, c its coefficients, and :math:`m = x/|x|` (or x) at the nodes of the
samples, a step solves

.. math::
    \Big(\sum_b w_b P^T B_b P + V^T C(\bar m) V + P_s^T C(m - \bar m) P_s\Big) c' =
    \sum_b w'_b \big(P^T B_b P\, c + P_s^T B_b^s (m - x)\big) + P_s^T s(m).

The constant blocks are those of the fine mesh, projected once. What depends on m is integrated over
the samples, but for what the means of m on coarse cells make (``mean_part``); of the history only
m - x, the part outside V_H: x divided by dt would blow up the error of the cubature. P_s = Theta V
goes through the modes of coarse cells.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.reduction.forms import SampledForms
from dolfinx_llg.reduction.mode_form import ModeForm
from dolfinx_llg.reduction.sampled_fields import SampledFields
from dolfinx_llg.reduction.system import CoarseSystem, SystemParts

__all__ = ["ReducedOperators"]

FloatArray = npt.NDArray[np.float64]


class _Sum:
    """Context of the PETSc matrix base + P_s^T C P_s, with C + N' for C where it is a tangent."""

    def __init__(self, owner: ReducedOperators, *, tangent: bool = False) -> None:
        self.owner, self.tangent = owner, tangent

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the product with x (called by PETSc)."""
        owner = self.owner
        c = owner.replicate(x)
        y.array[:] = owner.apply_base(c).ravel()
        if owner._in_modes is not None:
            owner.add(owner._in_modes.image(c), y)
        if owner.forms.has_varying:
            owner.add(owner.image(c, partial(owner.forms.product, tangent=self.tangent)), y)

    def duplicate(self, matrix: PETSc.Mat, operation: Any) -> PETSc.Mat:
        """Return a matrix of the same kind (called by PETSc)."""
        return self.owner.operator(_Sum(self.owner, tangent=self.tangent))

    def copy(self, matrix: PETSc.Mat, other: PETSc.Mat, structure: Any) -> None:
        """Make another matrix equal to this one (called by PETSc)."""
        context: Any = other.getPythonContext()
        context.tangent = self.tangent


class ReducedOperators(CoarseSystem):
    """The counterpart of ``StepOperators`` for a step on samples.

    Args:
        parts: What it is made of.
        fields: Fields with a solve of their own, if the step has any.

    Attributes:
        dt: Size of the last step (before the first that of the step as it is).
    """

    def __init__(self, parts: SystemParts, fields: SampledFields | None = None) -> None:
        super().__init__(parts)
        sampled = parts.sampled
        self._remainder = sampled.remainder
        self.forms = SampledForms(sampled, parts.samples.mean)
        self._mean, self._samples = parts.mean, parts.samples
        self._in_modes: ModeForm | None = None
        if self.forms.trilinear is not None and parts.mean is not None:
            found = ModeForm(
                self.forms.trilinear,
                parts.samples,
                parts.modes,
                parts.mean,
                training=parts.training,
                tolerance=parts.tolerance,
            )
            if found.worthwhile:
                self._in_modes = found
                self.forms.leave_trilinear()
        self._reads_mean = self.forms.reads_mean
        self.fields = fields
        self.dt = float(parts.step.dt.value)
        self._context = _Sum(weakref.proxy(self))
        self.A = self.operator(self._context)

    def assemble(self, dt: float) -> None:
        """Form b, and make A the operator of a linear step or the linear part of another."""
        with self.timed():
            self.dt = dt
            self._context.tangent = False
            n = self.inside.size
            self._remainder.x.array[:n] = self.step.m.x.array[:n] - self.inside.ravel()
            self._remainder.x.scatter_forward()
            if self._reads_mean:
                self._samples.set_mean(self.means)
            if self._in_modes is not None:
                self._in_modes.set(self.means)
            self.update_fields()
            self.b.set(0.0)
            self.add(self.restrict(self.forms.right_side(dt)), self.b)
            self.add_history(dt)

    def image(self, c: FloatArray, of: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """Return what a form makes of x = P c, tested with V_H, shape (n_H, 3), of this rank.

        Args:
            c: Coefficients, shape (n_H, 3).
            of: What the form makes on the samples of nodal values, (nodes, 3) to (nodes, 3).
        """
        y = self.modes.gather(c)
        found = self._theta.restrict(of(self._theta.interpolate(y)))
        if self._mean is not None and self._mean.count and self._in_modes is None:
            # The first mode is 1, and the others have no mean.
            found += self._mean.product(self.means, y)
        return self.modes.spread(found)

    def values_missed(self) -> float:
        """Return the part of m minus its means, relative, that no mode form has. Collective."""
        if self._in_modes is None:
            return 0.0
        squares = self._in_modes.missed(self.means)
        left, size = np.sum(self.comm.allgather(squares), axis=0)
        return float(np.sqrt(left / size)) if size > 0.0 else 0.0

    def update_fields(self) -> None:
        """Set the fields with a solve to those of the present magnetization. Collective."""
        if self.fields is not None:
            n = self.inside.size
            outside = self.step.m.x.array[:n] - self.inside.ravel()
            self.fields.update(self, outside.reshape(-1, 3))

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Set F = linear u + N(u) - b."""
        with self.timed():
            c = self.replicate(u)
            F.array[:] = self.apply_base(c).ravel()
            F.axpy(-1.0, self.b)
            self.add(self.image(c, self.forms.nonlinear), F)

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Set A = linear + N'(u)."""
        with self.timed():
            self.forms.set_iterate(self.prolong(self.replicate(u)))
            self._context.tangent = True
