# SPDX-License-Identifier: LGPL-3.0-or-later
"""Unknowns: between what a search varies, nodal values or coefficients in a subspace, and nodes."""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np

from dolfinx_llg.equilibrium.pointwise import row_dot
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.typing import Array

__all__ = ["Unknowns"]


class Unknowns:
    """The unknowns of a search, and their maps from and to this rank's nodes.

    Args:
        basis: Subspace whose coefficients are the unknowns; None: they are the nodal values.

    Note: Collective, as all methods are.
    """

    def __init__(self, basis: GalerkinBasis | None) -> None:
        self._basis = basis
        self._weight: PETSc.Mat | None = None
        if basis is not None:
            self._fine, self._coarse = basis.fine_vector(), basis.coarse_vector()

    def prolong(self, v: Array) -> Array:
        """Return P v at the nodes, shape (n, 3)."""
        if self._basis is None:
            return v
        self._coarse.array_w[:] = v.ravel()
        self._basis.prolong(self._coarse, self._fine)
        return np.array(self._fine.array_r).reshape(-1, 3)

    def restrict(self, v: Array) -> Array:
        """Return P^T v of values at the nodes, shape (k, 3)."""
        if self._basis is None:
            return v
        self._fine.array_w[:] = v.ravel()
        self._basis.restrict(self._fine, self._coarse)
        return np.array(self._coarse.array_r).reshape(-1, 3)

    def coefficients(self, v: Array) -> Array:
        """Return Psi v, the coefficients nearest to v at the nodes, shape (k, 3)."""
        if self._basis is None:
            return v
        self._fine.array_w[:] = v.ravel()
        self._basis.coefficients(self._fine, self._coarse)
        return np.array(self._coarse.array_r).reshape(-1, 3)

    def means(self, weighted: Array) -> Array:
        """Return unit vectors along means of m over the functions of the subspace, shape (k, 3).

        Args:
            weighted: m times the volumes of the nodes, shape (n, 3).
        """
        assert self._basis is not None
        if self._weight is None:
            self._weight = self._basis.P.duplicate(copy=True)
            rows, columns, entries = self._weight.getValuesCSR()
            self._weight.setValuesCSR(rows, columns, np.abs(entries))
            self._weight.assemble()
        self._fine.array_w[:] = weighted.ravel()
        self._weight.multTranspose(self._fine, self._coarse)
        means = np.array(self._coarse.array_r).reshape(-1, 3)
        length = np.sqrt(row_dot(means, means))
        # Where the mean vanishes any direction is as good.
        return np.where(length > 0.0, means / np.where(length > 0.0, length, 1.0), np.eye(3)[2])

    def destroy(self) -> None:
        """Free what ``means`` has built; it builds it anew."""
        if self._weight is not None:
            self._weight.destroy()
            self._weight = None
