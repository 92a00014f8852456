# SPDX-License-Identifier: LGPL-3.0-or-later
"""Where the increment of a midpoint step is sought: at the nodes, or in a coarse space."""

from __future__ import annotations

import math
from typing import Any, Protocol

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.cross import cross
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.solvers.nodal_field import NodalField
from dolfinx_llg.solvers.preconditioner import scalar_solver

__all__ = ["Nodes", "Space", "Subspace", "TurnedPreconditioner", "dot", "unit"]

Array = npt.NDArray[np.floating]


class Space(Protocol):
    """Where the unknown u lives, x = m + expand(u); arrays of shape (rows, 3)."""

    rows: int

    def expand(self, u: Array) -> Array:
        """Return the nodal values of u."""

    def coefficients(self, values: Array) -> Array:
        """Return the u whose nodal values are nearest to those given."""

    def restrict(self, residual: Array) -> Array:
        """Return a nodal residual tested in the space."""

    def weigh(self, tested: Array) -> Array:
        """Return the right side of the scalar operator for a tested residual."""

    def retract(self, m: Array, u: Array) -> Array:
        """Return u, changed so that m + 2 expand(u) is of unit length where the space can."""

    def directions(self, m: Array, u: Array) -> tuple[Array, Array] | None:
        """Return the unit vectors of x and of m', whose parts of a system are solved apart."""

    def scalar_operators(
        self, half: float, stretch: float | Array
    ) -> tuple[PETSc.Mat, PETSc.Mat | None, float]:
        """Return M/stretch + half K, M (None: diagonal), and the ratio of their traces."""


class Nodes:
    """All values at the nodes; residuals are nodal values too.

    Args:
        field: The effective field.
    """

    def __init__(self, field: NodalField) -> None:
        self.field = field
        self.rows = field.shape[0]
        self._weight: Array = np.ones((self.rows, 1))

    def expand(self, u: Array) -> Array:
        """Return u."""
        return u

    def coefficients(self, values: Array) -> Array:
        """Return the values."""
        return values

    def restrict(self, residual: Array) -> Array:
        """Return the residual."""
        return residual

    def weigh(self, tested: Array) -> Array:
        """Return the residual times mass over stretch."""
        return self._weight * tested

    def retract(self, m: Array, u: Array) -> Array:
        """Return half the increment to m + 2 u, projected to unit length."""
        return 0.5 * (unit(m + 2.0 * u) - m)

    def directions(self, m: Array, u: Array) -> tuple[Array, Array] | None:
        """Return the unit vectors of x = m + u and of m' = m + 2 u."""
        return unit(m + u), unit(m + 2.0 * u)

    def scalar_operators(
        self, half: float, stretch: float | Array
    ) -> tuple[PETSc.Mat, PETSc.Mat | None, float]:
        """Return the scalar operator; the mass is diagonal."""
        S, stiff = stretched(self.field, half, stretch)
        self._weight = self.field.volumes[:, None] / stretch
        return S, None, stiff


class Subspace:
    """The coefficients of a coarse basis; residuals are tested by P^T M.

    Args:
        field: The effective field on the fine mesh.
        basis: The basis.
    """

    def __init__(self, field: NodalField, basis: GalerkinBasis) -> None:
        self.field, self.basis = field, basis
        self._fine, self._coarse = basis.fine_vector(), basis.coarse_vector()
        self.rows = self._coarse.getLocalSize() // 3

    def expand(self, u: Array) -> Array:
        """Return P u."""
        self._coarse.array_w[:] = u.ravel()
        self.basis.prolong(self._coarse, self._fine)
        return np.array(self._fine.array_r).reshape(-1, 3)

    def coefficients(self, values: Array) -> Array:
        """Return Psi times the values."""
        self._fine.array_w[:] = values.ravel()
        self.basis.coefficients(self._fine, self._coarse)
        return np.array(self._coarse.array_r).reshape(-1, 3)

    def restrict(self, residual: Array) -> Array:
        """Return P^T M times the residual."""
        self._fine.array_w[:] = (self.field.volumes[:, None] * residual).ravel()
        self.basis.restrict(self._fine, self._coarse)
        return np.array(self._coarse.array_r).reshape(-1, 3)

    def weigh(self, tested: Array) -> Array:
        """Return the tested residual: it has its weights."""
        return tested / self._stretch

    def retract(self, m: Array, u: Array) -> Array:
        """Return u: lengths are no matter of coefficients."""
        return u

    def directions(self, m: Array, u: Array) -> tuple[Array, Array] | None:
        """Return None: there is no part along m."""
        return None

    def scalar_operators(
        self, half: float, stretch: float | Array
    ) -> tuple[PETSc.Mat, PETSc.Mat | None, float]:
        """Return the projections of the fine operators, averaged over the components' bases."""
        comm = self.field.comm
        mean = stretch
        if isinstance(stretch, np.ndarray):  # a coarse function spreads over many nodes
            sums = np.sum(comm.allgather((float(stretch.sum()), stretch.size)), axis=0)
            mean = float(sums[0] / sums[1])
        self._stretch = mean
        S, stiff = stretched(self.field, half, mean)
        mass, _ = stretched(self.field, 0.0, 1.0)
        found = []
        for fine in (S, mass):
            parts = {id(P): P for P in self.basis.components}
            total = None
            for key, P in parts.items():
                share = sum(id(Q) == key for Q in self.basis.components) / 3.0
                part = fine.PtAP(P)
                part.scale(share)
                if total is None:
                    total = part
                else:
                    total.axpy(1.0, part)
                    part.destroy()
            fine.destroy()
            found.append(total)
        return found[0], found[1], stiff


def dot(a: Array, b: Array) -> Array:
    """Return the products a.b of vectors, shape (n, 1)."""
    return np.asarray(np.einsum("ij,ij->i", a, b)[:, None])


def unit(m: Array) -> Array:
    """Return m/|m| at each node, where m does not vanish."""
    length = np.linalg.norm(m, axis=1, keepdims=True)
    length[length == 0.0] = 1.0
    return np.asarray(m / length)


def stretched(field: NodalField, half: float, stretch: float | Array) -> tuple[PETSc.Mat, float]:
    """Return the scalar operator M/stretch + half K, and the ratio of the traces of its parts.

    K averages the three components of the Hessian; where that is not positive (an easy plane, a
    concave term) the diagonal is raised until its rows sum to zero.
    """
    S = field.scalar_stiffness()
    ones, sums = S.createVecs()
    ones.set(1.0)
    S.mult(ones, sums)
    S.scale(half)
    mass = field.volumes / np.broadcast_to(np.asarray(stretch).ravel(), field.volumes.shape)
    diagonal = S.getDiagonal()
    parts = (float(diagonal.array.sum()), float(mass.sum()))
    trace, first = np.sum(field.comm.allgather(parts), axis=0)
    diagonal.array[:] += mass - half * np.minimum(sums.array, 0.0)
    S.setDiagonal(diagonal)
    for vector in (ones, sums, diagonal):
        vector.destroy()
    return S, float(trace / first)


class TurnedPreconditioner:
    r"""Python PC of the Newton systems: one scalar solver, turned about m; the part along m apart.

    In the tangent plane (m x is i) the operator is :math:`M + \tfrac{\Delta t}{2} s e^{-i\phi} K`,
    s = c sqrt(1 + lambda^2), phi = arg(lambda + i), along m it is M: the inverse is taken as

        y = R(phi/2) S^{-1} (r - m (m.r))/s  +  the part along m,   S = M/s + dt/2 K,

    as in ``ComponentPreconditioner``. S is symmetric and positive, the same in all steps.

    Args:
        space: Where u lives.
        half: dt/2.
        stretch: s, a number or an array (n, 1).
        phi: phi, a number or an array (n, 1).
        options: Options of the scalar solver.
        tdim: Topological dimension of the mesh.
    """

    def __init__(
        self,
        space: Space,
        half: float,
        stretch: float | Array,
        phi: float | Array,
        options: Options,
        tdim: int,
    ) -> None:
        S, mass, stiff = space.scalar_operators(half, stretch)
        self._space = space
        self._solver: Any = scalar_solver(S, options, tdim)
        self._along: Any = None if mass is None else scalar_solver(mass, options, tdim)
        if isinstance(phi, np.ndarray) and len(phi) != space.rows:
            phi = math.pi / 4
        angle = 0.5 * np.arctan2(stiff * np.sin(phi), 1.0 + stiff * np.cos(phi))
        self._cos, self._sin = np.cos(angle), np.sin(angle)
        self._m: Array = np.zeros((space.rows, 3))
        self._new: Array = self._m

    def set_directions(self, m: Array, new: Array) -> None:
        """Set the unit vectors about which it turns, and to which the result is tangential."""
        self._m, self._new = m, new

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the preconditioned r (called by PETSc)."""
        m, new = self._m, self._new
        given = r.getArray(readonly=True).reshape(-1, 3)
        rho = dot(m, given)
        right = self._space.weigh(given - m * rho)
        z: Array = np.column_stack(self._solver(np.ascontiguousarray(right.T)))
        along = dot(m, z)
        out = cross(m, z)
        out *= self._sin
        out += self._cos * (z - m * along)
        if self._along is None:
            out += new * (rho - dot(new, out))
        else:
            (part,) = self._along(np.ascontiguousarray(rho.T))
            out += m * (along + part[:, None])
        y.getArray()[:] = out.ravel()

    def destroy(self, pc: PETSc.PC | None = None) -> None:
        """Free the factorizations. Collective."""
        for solver in (self._solver, self._along):
            if solver is not None:
                solver.destroy()
