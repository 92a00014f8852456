# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The scheme in a coarse space V_H, applied factor by factor and solved by GMRES.

With v = P_3 c and the multiplier P_1 l the system of ``projected`` is
P_4^T A P_4 (c, l) = (P_3^T r, 0), where A is the saddle-point matrix of the fine mesh in blocks of
four unknowns a node and P_4 carries (v_1, v_2, v_3, lm): nothing is formed in V_H, and one reading
of P serves all four.

The preconditioner knows scalar matrices of V_H alone, made once for a dt: with beta, D, G the nodal
mass, dissipation and gyration and k the scalar stiffness,

    M = P^T beta P,    T = P^T (D + tau k) P,    S = P^T (|D + i G| + tau k) P.

Where m is nearly constant over the support of a function of V_H, with direction mu, the system
splits. Along mu the constraint reads M s = g and determines s = v.mu, the equation T s + M l = f.mu
the multiplier; in the tangent plane S^{-1}, turned about mu by -arg(D + i G)/2, is what
``RotatedPreconditioner`` is in the fine space. For a uniform m that is the inverse up to the
spread of the chord there; elsewhere it is wrong by what m turns within a support.
"""

from __future__ import annotations

import math

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Krylov, Options, Result
from dolfinx_llg.solvers.preconditioner import scalar_solver
from dolfinx_llg.solvers.prolongation import Prolongation, product
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks
from dolfinx_llg.solvers.tangent.krylov import DEFAULTS, node_matrix
from dolfinx_llg.solvers.tangent.saddle import SaddleMatrix

__all__ = ["CoarseSystem"]

Array = npt.NDArray[np.float64]


class _Preconditioner:
    """Python PC of the system in V_H; arguments as in the module's docstring."""

    def __init__(
        self, M: PETSc.Mat, T: PETSc.Mat, S: PETSc.Mat, half: float, options: Options, tdim: int
    ) -> None:
        self.mass = scalar_solver(M, options.inside("mass_"), tdim)
        self._tangential = scalar_solver(S, options.inside("scalar_"), tdim)
        self._T = T
        self._x, self._y = T.createVecs()
        self._turn = math.cos(half), math.sin(half)
        self._mu = np.zeros((3, 0))

    def set_direction(self, m: Array) -> None:
        """Set the directions mu from vectors at the functions of V_H, shape (n, 3)."""
        length = np.linalg.norm(m, axis=1)
        length[length == 0.0] = 1.0
        self._mu = np.ascontiguousarray((m / length[:, None]).T)

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the preconditioned r (called by PETSc)."""
        mu, source = self._mu, np.ascontiguousarray(r.getArray(readonly=True).reshape(-1, 4).T)
        f, (s,) = source[:3], self.mass(source[3:])
        along = np.einsum("in,in->n", mu, f)
        v = np.array(self._tangential(f - mu * along))
        v -= mu * np.einsum("in,in->n", mu, v)
        cos, sin = self._turn
        turned = [mu[i - 2] * v[i - 1] - mu[i - 1] * v[i - 2] for i in range(3)]
        self._x.array[:] = s
        self._T.mult(self._x, self._y)
        (lm,) = self.mass((along - self._y.array)[None, :])
        target = y.getArray().reshape(-1, 4)
        for i in range(3):
            target[:, i] = cos * v[i] - sin * turned[i] + mu[i] * s
        target[:, 3] = lm

    def destroy(self, pc: PETSc.PC | None = None) -> None:
        """Free the factorizations. Collective."""
        for item in (self.mass, self._tangential, self._T, self._x, self._y):
            item.destroy()


class CoarseSystem:
    """The saddle-point system in V_H, solved by GMRES; see the module's docstring.

    Args:
        blocks: Kept stiffness and nodal data of the fine space.
        tau: theta dt.
        basis: The coarse space.
        options: The user's PETSc options; those of the solver with S start with ``scalar_``, those
            of the solver with M with ``mass_``.

    Attributes:
        prolongation: P_4 and its transpose.
    """

    def __init__(
        self, blocks: NodalBlocks, tau: float, basis: GalerkinBasis, options: Options
    ) -> None:
        self._blocks, self._basis = blocks, basis
        self.prolongation = Prolongation((*basis.components, basis.components[0]))
        self._saddle = SaddleMatrix(blocks, tau)
        self.A = product(self._saddle.A, self.prolongation)
        self._x, self._b = (self.prolongation.coarse_vector() for _ in range(2))
        self._fine = self.prolongation.fine_vector()
        self._fine3, self._coarse3 = basis.fine_vector(), basis.coarse_vector()
        self._context = self._make_preconditioner(tau, options)
        self.krylov = Krylov(self.A, options, defaults=DEFAULTS, context=self._context)
        self._m = np.zeros((0, 3))

    def _make_preconditioner(self, tau: float, options: Options) -> _Preconditioner:
        blocks = self._blocks
        D, k = blocks.mass * blocks.damping, tau * blocks.scalar_stiffness()
        matrices = []
        for diagonal, stiffness, components in (
            (blocks.mass, 0.0 * k, [3]),
            (D, k, [0, 1, 2]),
            (np.hypot(D, blocks.gyro), k, [0, 1, 2]),
        ):
            values = stiffness.copy()
            values[blocks.diagonal] += diagonal
            fine = node_matrix(blocks, values)
            matrices.append(self.prolongation.average(fine, components))
            fine.destroy()
        sums = np.sum(blocks.comm.allgather((D.sum(), blocks.gyro.sum())), axis=0)
        half = 0.5 * math.atan2(sums[1], sums[0])
        tdim = blocks.step.m.function_space.mesh.topology.dim
        M, T, S = matrices
        return _Preconditioner(M, T, S, half, options, tdim)

    def assemble(self, m: Array, D: Array) -> None:
        """Set the nodal blocks for the directions m and the nodal dissipation D."""
        self._saddle.assemble(m, D)
        self._fine3.array[:] = m.ravel()
        self._basis.coefficients(self._fine3, self._coarse3)
        self._context.set_direction(self._coarse3.array.reshape(-1, 3))
        self._m = m

    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]:
        """Return v, shape (n, 3), and how the solve went, for the right side r and a guess of v."""
        self._set_right_side(r)
        self._fine3.array[:] = guess.ravel()
        self._basis.coefficients(self._fine3, self._coarse3)
        # A start that a restart finds again: lm is not kept.
        self._x.array.reshape(-1, 4)[:, :3] = self._coarse3.array.reshape(-1, 3)
        self._x.array.reshape(-1, 4)[:, 3] = 0.0
        result = self.krylov.solve(self._b, self._x)
        self.prolongation.prolong(self._x, self._fine)
        return self._fine.array.reshape(-1, 4)[:, :3].copy(), result

    def _set_right_side(self, r: Array) -> None:
        """Set b to P_4^T of r less B^T l, l the multiplier that takes up the part along m.

        The tolerance is relative to b: it is to be that of the rest, as in the fine space.
        """
        fine = self._fine.array.reshape(-1, 4)
        fine[:, :3] = r
        fine[:, 3] = np.einsum("ij,ij->i", self._m, r)
        self.prolongation.restrict(self._fine, self._b)
        (lm,) = self._context.mass(self._b.array.reshape(-1, 4)[:, 3][None, :])
        self._x.set(0.0)
        self._x.array.reshape(-1, 4)[:, 3] = lm
        self.prolongation.prolong(self._x, self._fine)
        fine[:, :3] = r - (self._blocks.mass * fine[:, 3])[:, None] * self._m
        fine[:, 3] = 0.0
        self.prolongation.restrict(self._fine, self._b)
        self._b.array.reshape(-1, 4)[:, 3] = 0.0

    def destroy(self) -> None:
        """Free all PETSc objects. Collective."""
        self.krylov.destroy()
        vectors = (self._x, self._b, self._fine, self._fine3, self._coarse3)
        for item in (self._context, self.A, self._saddle, self.prolongation, *vectors):
            item.destroy()
