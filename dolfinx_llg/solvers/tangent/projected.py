# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The scheme in a coarse space V_H: v in V_H^3, the multiplier in V_H, nodal products of V_h.

With P the prolongation of one component and P_3 = P (x) I,

    A_H = theta dt P_3^T K P_3 + P_3^T C(m) P_3,    B_H = P^T B(m) P_3,

K projected once, the nodal C and B in each step. v.m = 0 holds only against V_H. The energy law of
a step before its projection survives, because v is one of the test functions and B_H v = 0; but
|m + dt v| may fall below 1 at a node, and there the projection may raise the energy. ``inf_sup``
measures whether the multiplier space fits the velocity space: for GRPS spaces of rough coefficients
(contrast 100) it is above 0.98, so that V_H needs no enrichment.
"""

from __future__ import annotations

from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Krylov, Options, Result
from dolfinx_llg.schemes.tangent_plane import TangentPlaneStep
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks
from dolfinx_llg.solvers.tangent.krylov import DIRECT, node_matrix
from dolfinx_llg.solvers.tangent.saddle import nodal_blocks
from dolfinx_llg.solvers.tangent.split import constraint_matrices, set_constraint

__all__ = ["ProjectedSystem", "inf_sup"]

Array = npt.NDArray[np.float64]


def _component(P: PETSc.Mat) -> PETSc.Mat:
    """Return the block of the first of three components."""
    (r0, r1), (c0, c1) = P.getOwnershipRange(), P.getOwnershipRangeColumn()
    rows = PETSc.IS().createStride((r1 - r0) // 3, r0, 3, P.comm)
    columns = PETSc.IS().createStride((c1 - c0) // 3, c0, 3, P.comm)
    block = P.createSubMatrix(rows, columns)
    rows.destroy()
    columns.destroy()
    return block


class _Constraint:
    """B_H = P^T B P_3 for changing m."""

    def __init__(self, blocks: NodalBlocks, basis: GalerkinBasis) -> None:
        self._blocks, self._P3 = blocks, basis.P
        self.P1 = _component(basis.P)
        self._B, self._BT = constraint_matrices(blocks)

    def matrix(self, m: Array) -> PETSc.Mat:
        set_constraint(self._blocks, self._B, self._BT, m)
        half = self._B.matMult(self._P3)
        B_H = self.P1.transposeMatMult(half)
        half.destroy()
        return B_H

    def destroy(self) -> None:
        for item in (self.P1, self._B, self._BT):
            item.destroy()


class ProjectedSystem:
    """The saddle-point system in V_H, factorized by MUMPS in each step.

    Args:
        blocks: Kept stiffness and nodal data of the fine space.
        tau: theta dt.
        basis: The coarse space.
        options: The user's PETSc options.
    """

    def __init__(
        self, blocks: NodalBlocks, tau: float, basis: GalerkinBasis, options: Options
    ) -> None:
        self._blocks, self._basis = blocks, basis
        self._constraint = _Constraint(blocks, basis)
        K = _aij(blocks, np.ascontiguousarray(tau * blocks.values.transpose(2, 0, 1)))
        self._K = basis.project(K)
        K.destroy()
        self._u, self._f = basis.fine_vector(), basis.coarse_vector()
        self._options = options
        self._parts: list[Any] = []
        self.krylov: Krylov | None = None

    def assemble(self, m: Array, D: Array) -> None:
        """Project the nodal blocks for the directions m and the nodal dissipation D."""
        self._release()
        C = _nodal_aij(self._blocks, nodal_blocks(self._blocks, m, D))
        A = self._basis.project(C)
        C.destroy()
        A.axpy(1.0, self._K)
        B = self._constraint.matrix(m)
        BT = PETSc.Mat()
        B.transpose(BT)
        nest = PETSc.Mat().createNest([[A, BT], [B, None]], comm=A.comm)
        whole = PETSc.Mat()
        nest.convert("aij", whole)
        nest.destroy()
        self._parts = [whole, A, B, BT, *whole.createVecs()]
        self.krylov = Krylov(whole, self._options, defaults=DIRECT)

    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]:
        """Return v, shape (n, 3), and how the solve went; the guess is not used."""
        x, b = self._parts[4:]
        x.set(0.0)
        b.set(0.0)
        self._u.array[:] = r.ravel()
        self._basis.restrict(self._u, self._f)
        size = self._f.getLocalSize()
        b.array[:size] = self._f.array
        assert self.krylov is not None
        result = self.krylov.solve(b, x)
        self._f.array[:] = x.array[:size]
        self._basis.prolong(self._f, self._u)
        return self._u.array.reshape(-1, 3).copy(), result

    def _release(self) -> None:
        if self.krylov is not None:
            self.krylov.destroy()
            for item in self._parts:
                item.destroy()

    def destroy(self) -> None:
        """Free all PETSc objects. Collective."""
        self._release()
        self._constraint.destroy()
        for item in (self._K, self._u, self._f):
            item.destroy()


def _aij(blocks: NodalBlocks, values: Array) -> PETSc.Mat:
    matrix = node_matrix(blocks, values)
    out = PETSc.Mat()
    matrix.convert("aij", out)
    matrix.destroy()
    return out


def _nodal_aij(blocks: NodalBlocks, values: Array) -> PETSc.Mat:
    """Return the matrix with the given 3 x 3 blocks on its diagonal."""
    n = blocks.n
    rows = np.arange(0, 9 * n + 1, 3, dtype=np.int32)
    node = blocks.first + np.arange(n)
    columns = 3 * np.repeat(node, 9) + np.tile([0, 1, 2], 3 * n)
    size = (3 * n, 3 * blocks.n_global)
    csr = (rows, columns.astype(np.int32), values.ravel())
    return PETSc.Mat().createAIJ((size, size), csr=csr, comm=blocks.comm)


def inf_sup(step: TangentPlaneStep, basis: GalerkinBasis) -> float:
    r"""Return the inf-sup constant of the constraint in V_H, the same on every rank.

    ``min over lm of max over v of (lm, m.v)_h / (|lm|_h |v|_h)``, lm in V_H, v in V_H^3, with the
    lumped Ms-weighted product: at most 1 for |m| = 1; the nodal constraint of the fine space has 1.

    Args:
        step: The step, at whose present m the constraint is taken.
        basis: The coarse space, of at most some thousand functions (dense algebra).

    Note: Collective.
    """
    blocks = NodalBlocks(step)
    constraint = _Constraint(blocks, basis)
    m = step.m.x.array.reshape(-1, 3)[: blocks.n]
    B = constraint.matrix(m)
    weights = constraint.P1.createVecLeft()
    weights.array[:] = blocks.mass
    P = constraint.P1.copy()
    P.diagonalScale(weights)
    mass = constraint.P1.transposeMatMult(P)
    dense = [_everywhere(matrix) for matrix in (B, mass)]
    for item in (B, weights, P, mass, constraint):
        item.destroy()
    coupling, gram = dense
    # The three components of v share one Gram matrix.
    inverse = [np.linalg.solve(gram, coupling[:, i::3].T) for i in range(3)]
    schur = sum(coupling[:, i::3] @ inverse[i] for i in range(3))
    squares = scipy.linalg.eigh(schur, gram, eigvals_only=True)
    return float(np.sqrt(max(squares[0], 0.0)))


def _everywhere(matrix: PETSc.Mat) -> Array:
    """Gather a distributed matrix as a dense array on every rank."""
    indptr, columns, values = matrix.getValuesCSR()
    local = scipy.sparse.csr_array(
        (values, columns, indptr), shape=(len(indptr) - 1, matrix.getSize()[1])
    )
    parts = matrix.comm.tompi4py().allgather(local.toarray())
    return np.vstack(parts)
