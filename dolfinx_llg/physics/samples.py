# SPDX-License-Identifier: LGPL-3.0-or-later
"""Coefficients given by a formula, sampled on the meshes on which they are used."""

from __future__ import annotations

from collections.abc import Callable

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.algorithms.analysis import extract_type
from ufl.core.expr import Expr

from dolfinx_llg.collective import together
from dolfinx_llg.physics.cell_data import cell_coefficient, check_positive
from dolfinx_llg.physics.data import PerMesh, check_positive_inside

__all__ = ["SampledCoefficient"]


class SampledCoefficient:
    """A positive coefficient, or positive definite tensor, as a function of m.

    Args:
        formula: UFL, or a callable ``x -> UFL`` of the spatial coordinate.
        rule: "centroid", "mean" (both DG0), or "quadrature" (the formula itself).
        name: Name of the argument, for messages.
    """

    def __init__(self, formula: Expr | Callable[[Expr], Expr], rule: str, name: str) -> None:
        self._formula, self._rule, self._name = formula, rule, name
        self._at: PerMesh[_Sample | Expr] = PerMesh(self._sample)

    def __call__(self, m: Expr) -> Expr:
        """Return the coefficient on the mesh of ``m``."""
        found = self._at(m)
        return found.sampled if isinstance(found, _Sample) else found

    def renew(self, m: fem.Function) -> None:
        """Sample a formula anew whose constants or functions have changed. Collective."""
        found = self._at.known(m.function_space.mesh)
        if isinstance(found, _Sample):
            found.renew()

    def _sample(self, mesh: dolfinx.mesh.Mesh) -> _Sample | Expr:
        formula, name = self._formula, self._name
        rule = "mean" if self._rule == "mean" else "centroid"
        sampled = cell_coefficient(mesh, formula, rule)
        check_positive(sampled, name)
        # Centroids alone would miss a sign change inside a cell.
        with together(mesh.comm):
            value: object = formula
            if not isinstance(formula, Expr):
                value = formula(ufl.SpatialCoordinate(mesh))
        if not isinstance(value, Expr):  # a callable that returns a number
            return sampled
        check_positive_inside(mesh, value, name)
        if self._rule == "quadrature":
            return value
        return sampled if sampled is value else _Sample(value, rule, sampled, name)


class _Sample:
    """A DG0 coefficient made of an expression, with the data that the expression has read."""

    def __init__(self, expression: Expr, rule: str, sampled: fem.Function, name: str) -> None:
        self._expression, self._rule, self._name = expression, rule, name
        self.sampled, self._mesh = sampled, sampled.function_space.mesh
        data = [*extract_type(expression, ufl.Constant), *extract_type(expression, fem.Function)]
        self._data = [d for d in data if hasattr(d, "value") or hasattr(d, "x")]
        self._seen = self._values()

    def _values(self) -> list[npt.NDArray[np.float64]]:
        return [np.array(d.x.array if isinstance(d, fem.Function) else d.value) for d in self._data]

    def renew(self) -> None:
        """Sample anew if a value has changed on any rank."""
        if not self._data:
            return
        now = self._values()
        changed = not all(map(np.array_equal, now, self._seen))
        if any(self._mesh.comm.allgather(changed)):
            fresh = cell_coefficient(self._mesh, self._expression, self._rule)
            check_positive(fresh, self._name)
            self.sampled.x.array[:] = fresh.x.array
            self._seen = now
