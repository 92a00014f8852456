# SPDX-License-Identifier: LGPL-3.0-or-later
"""ReducedRun: what ``march`` takes as the basis of a reduced step."""

from __future__ import annotations

import math

import numpy as np
from dolfinx import fem

from dolfinx_llg.reduction.system import CoarseSystem
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.sphere import normalise

__all__ = ["ReducedRun"]


class ReducedRun:
    """A reduced step: ``march(run.step, basis=run)`` runs it, from the fine step's m.

    The fine m stays as it was until ``reconstruct``; a new call of ``march`` starts from it.

    Args:
        fine: The step on the fine mesh.
        operators: The operators of the reduced step.
        seconds: Wall time of the preparation by part.

    Attributes:
        step: The reduced step; its ``m`` holds the nodes of the samples alone.
    """

    def __init__(self, fine: WeakStep, operators: CoarseSystem, seconds: dict[str, float]) -> None:
        self.fine, self.step = fine, operators.step
        self.seconds = seconds
        self._operators = operators
        self.basis = operators.basis

    @property
    def modes(self) -> int:
        """Number of local modes on all ranks."""
        return int(sum(self._operators.comm.allgather(self._operators.modes.count)))

    def operators(self, step: WeakStep) -> CoarseSystem:
        """Return the operators of a run that starts from the magnetization of the fine step.

        Raises:
            ValueError: If the step is not ``self.step``, or m changes by more than the basis's
                ``entry_tolerance`` where it enters the space.
        """
        if step is not self.step:
            raise ValueError("this reduction runs its own step: march(reduction.step, ...)")
        u, c = self.basis.P.createVecLeft(), self.basis.P.createVecRight()
        before = self.fine.m.x.array[: u.getLocalSize()]
        u.array[:] = before
        self.basis.coefficients(u, c)
        if math.isfinite(self.basis.entry_tolerance):
            self.basis.prolong(c, u)
            self.basis.check_entry(before, u.array)
        parts = self._operators.comm.allgather(c.array.copy())
        self._operators.start(np.concatenate(parts).reshape(-1, 3))
        return self._operators

    def prolong(self) -> fem.Function:
        """Set the fine step's m to the last iterate, not projected; return it."""
        u, c = self.basis.P.createVecLeft(), self.basis.P.createVecRight()
        c.array[:] = self._operators.c.ravel()[slice(*c.getOwnershipRange())]
        self.basis.prolong(c, u)
        m = self.fine.m
        m.x.array[: u.getLocalSize()] = u.array
        m.x.scatter_forward()
        return m

    def reconstruct(self) -> fem.Function:
        """Set the fine step's m to the present magnetization on the whole fine mesh; return it."""
        m = self.prolong()
        if self.fine.projection:
            normalise(m)
        return m
