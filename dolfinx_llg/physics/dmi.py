# SPDX-License-Identifier: LGPL-3.0-or-later
"""The Dzyaloshinskii-Moriya interaction, of a crystal without inversion and of an interface."""

from __future__ import annotations

import ufl
from ufl.core.expr import Expr

from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import scalar, unit_vector
from dolfinx_llg.physics.interaction import EnergyTerm
from dolfinx_llg.physics.terms import Scalar, Vector

__all__ = ["BulkDMI", "InterfacialDMI"]


def _grad3(m: Expr) -> Expr:
    """Return grad(m) as 3 x 3: derivatives in the directions that the mesh lacks are zero."""
    grad = ufl.grad(m)
    dim = grad.ufl_shape[1]
    return ufl.as_matrix([[grad[i, k] if k < dim else 0 for k in range(3)] for i in range(3)])


@checked
class BulkDMI(EnergyTerm):
    r"""Bulk Dzyaloshinskii-Moriya interaction, ``D m.curl(m)`` (T and O symmetry).

    Args:
        D: Strength D_SI/(mu0 Ms0^2 L), a number, DG0 function or UFL, of either sign. Directions
            that the mesh lacks (1D, 2D) count as constant.

    Raises:
        ValueError: If D is not finite or no scalar.
    """

    implicit = False  # indefinite: at the new level it could spoil the solvability of a step

    def __init__(self, D: Scalar) -> None:
        self.D = D
        self._D = scalar(D, "D")

    def density(self, m: Expr) -> Expr:
        """Return ``D m.curl(m)``."""
        g = _grad3(m)
        curl = ufl.as_vector([g[2, 1] - g[1, 2], g[0, 2] - g[2, 0], g[1, 0] - g[0, 1]])
        return self._D(m) * ufl.inner(m, curl)


@checked
class InterfacialDMI(EnergyTerm):
    r"""Interfacial DMI, ``D (m_n div(m) - (m.grad) m_n)`` with ``m_n = m.n`` (C_nv symmetry).

    Args:
        D: Strength D_SI/(mu0 Ms0^2 L), a number, DG0 function or UFL, of either sign.
        normal: Normal n of the interface: 3 numbers (normalised here) or a unit field.

    Raises:
        ValueError: If the normal is zero or not finite.
    """

    implicit = False

    def __init__(self, D: Scalar, normal: Vector = (0.0, 0.0, 1.0)) -> None:
        self.D = D
        self._D = scalar(D, "D")
        self._normal = unit_vector(normal, "normal")

    def density(self, m: Expr) -> Expr:
        """Return ``D (m_n div(m) - (m.grad) m_n)``."""
        n, g = self._normal(m), _grad3(m)
        return self._D(m) * (ufl.inner(m, n) * ufl.tr(g) - ufl.dot(ufl.dot(n, g), m))
