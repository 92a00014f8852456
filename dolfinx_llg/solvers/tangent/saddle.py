# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The saddle-point system with four unknowns a node, (v_1, v_2, v_3, lm), as one matrix.

    ( A  B^T ) (v )   (r)
    ( B   0  ) (lm) = (0),    A = diag(D_i I + G_i [m_i]_x) + theta dt K,   B = diag(beta_i m_i^T).

In blocks of four a node's own block is invertible though lm has a zero on the diagonal: ILU(0) by
blocks needs no trick. Only these nodal blocks change from step to step.
"""

from __future__ import annotations

from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.krylov import Krylov, Options, Result
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks, from_frames, tangent_frames, to_frames
from dolfinx_llg.solvers.tangent.krylov import DEFAULTS, DIRECT, local_defaults, node_matrix
from dolfinx_llg.solvers.tangent.rotated import RotatedPreconditioner

__all__ = ["DirectSystem", "SaddleMatrix", "SaddleSystem", "nodal_blocks"]

Array = npt.NDArray[np.float64]


def nodal_blocks(blocks: NodalBlocks, m: Array, D: Array) -> Array:
    """Return ``D_i I + G_i [m_i]_x``, shape (n, 3, 3)."""
    out = np.zeros((blocks.n, 3, 3))
    out[:, [0, 1, 2], [0, 1, 2]] = D[:, None]
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        turn = blocks.gyro * m[:, i]
        out[:, k, j] += turn
        out[:, j, k] -= turn
    return out


class _ConstraintPreconditioner:
    """Solves the constraint exactly and the tangential part by the rotated preconditioner."""

    def __init__(self, rotated: RotatedPreconditioner, A: PETSc.Mat) -> None:
        self._rotated, self._A = rotated, A
        self._work, self._image = A.createVecs()
        self.m = self.mass = self.frames = np.zeros(0)

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, y: PETSc.Vec) -> None:
        source = r.getArray(readonly=True).reshape(-1, 4)
        weight = self.mass * np.einsum("ij,ij->i", self.m, self.m)
        work = np.zeros_like(source)
        work[:, :3] = self.m * (source[:, 3] / weight)[:, None]
        self._work.array[:] = work.ravel()
        self._A.mult(self._work, self._image)
        rest = source[:, :3] - self._image.array.reshape(-1, 4)[:, :3]
        tangential = self._rotated.solve(to_frames(self.frames, rest))
        work[:, :3] += from_frames(self.frames, tangential)
        self._work.array[:] = work.ravel()
        self._A.mult(self._work, self._image)
        rest = source[:, :3] - self._image.array.reshape(-1, 4)[:, :3]
        work[:, 3] = np.einsum("ij,ij->i", self.m, rest) / weight
        y.getArray()[:] = work.ravel()

    def destroy(self, pc: PETSc.PC | None = None) -> None:
        for item in (self._work, self._image):
            item.destroy()


class SaddleMatrix:
    """The matrix of the system in blocks of four unknowns a node (BAIJ).

    Args:
        blocks: Kept stiffness and nodal data.
        tau: theta dt.

    Attributes:
        A: The matrix.
    """

    def __init__(self, blocks: NodalBlocks, tau: float) -> None:
        self._blocks = blocks
        values = np.zeros((len(blocks.rows), 4, 4))
        values[:, :3, :3] = tau * blocks.values.transpose(2, 0, 1)
        self._own = values[blocks.diagonal].copy()
        self.A = node_matrix(blocks, values)

    def assemble(self, m: Array, D: Array) -> None:
        """Set the nodal blocks for the directions m and the nodal dissipation D."""
        blocks = self._blocks
        own = self._own.copy()
        own[:, :3, :3] += nodal_blocks(blocks, m, D)
        own[:, 3, :3] = own[:, :3, 3] = blocks.mass[:, None] * m
        nodes = np.arange(blocks.n + 1, dtype=np.int32)
        self.A.setValuesBlockedCSR(nodes, blocks.first + nodes[:-1], own)
        self.A.assemble()

    def destroy(self) -> None:
        """Free the matrix. Collective."""
        self.A.destroy()


class SaddleSystem:
    """The monolithic system in node blocks (BAIJ).

    Args:
        blocks: Kept stiffness and nodal data.
        tau: theta dt.
        preconditioner: "fast" (block ILU) or "scalable" (constraint exact, rotated AMG).
        options: The user's PETSc options.
    """

    def __init__(
        self, blocks: NodalBlocks, tau: float, preconditioner: str, options: Options
    ) -> None:
        self._blocks, self._matrix = blocks, SaddleMatrix(blocks, tau)
        self.A = self._matrix.A
        self._x, self._b = self.A.createVecs()
        self._context: _ConstraintPreconditioner | None = None
        self._rotated: RotatedPreconditioner | None = None
        defaults: dict[str, Any] = dict(DEFAULTS)
        if preconditioner == "scalable":
            self._rotated = RotatedPreconditioner(blocks, tau, options)
            self._context = _ConstraintPreconditioner(self._rotated, self.A)
        else:
            defaults |= local_defaults(self.A.comm.size)
        self.krylov = Krylov(self.A, options, defaults=defaults, context=self._context)

    def assemble(self, m: Array, D: Array) -> None:
        """Set the nodal blocks for the directions m and the nodal dissipation D."""
        self._matrix.assemble(m, D)
        if self._context is not None and self._rotated is not None:
            frames = tangent_frames(m)
            self._rotated.set_frames(frames)
            self._context.m, self._context.mass = m.copy(), self._blocks.mass
            self._context.frames = frames

    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]:
        """Return v, shape (n, 3), and how the solve went, for the right side r and a guess of v."""
        return _solved(self.krylov, self._x, self._b, r, guess)

    def destroy(self) -> None:
        """Free all PETSc objects. Collective."""
        self.krylov.destroy()
        for item in (self._context, self._rotated, self.A, self._x, self._b):
            if item is not None:
                item.destroy()


class DirectSystem:
    """The saddle-point matrix without stored zeros (AIJ), factorized by MUMPS in each step.

    Args:
        blocks: Kept stiffness and nodal data.
        tau: theta dt.
        options: The user's PETSc options.
    """

    def __init__(self, blocks: NodalBlocks, tau: float, options: Options) -> None:
        self._blocks = blocks
        rows, columns = 4 * blocks.rows_global.astype(np.int64), 4 * blocks.columns_global
        pairs = [(i, j) for i in range(3) for j in range(3)]
        if blocks.scalar is not None:
            pairs = [(i, i) for i in range(3)]
        self._constant = tau * np.concatenate([blocks.values[i, j] for i, j in pairs])
        i_all = [rows + i for i, _ in pairs]
        j_all = [columns + j for _, j in pairs]
        node = 4 * (blocks.first + np.arange(blocks.n))
        for i in range(3):
            for j in range(3):
                i_all.append(node + i)
                j_all.append(node + j)
        for i in range(3):
            i_all += [node + 3, node + i]
            j_all += [node + i, node + 3]
        size = (4 * blocks.n, 4 * blocks.n_global)
        self.A = PETSc.Mat().create(comm=blocks.comm)
        self.A.setSizes((size, size))
        self.A.setType("aij")
        self.A.setPreallocationCOO(
            np.concatenate(i_all).astype(np.int32), np.concatenate(j_all).astype(np.int32)
        )
        self._x, self._b = self.A.createVecs()
        self.krylov = Krylov(self.A, options, defaults=DIRECT)

    def assemble(self, m: Array, D: Array) -> None:
        """Set the matrix for the directions m and the nodal dissipation D."""
        nodal = nodal_blocks(self._blocks, m, D).transpose(1, 2, 0).reshape(9, -1)
        constraint = np.repeat((self._blocks.mass[:, None] * m).T, 2, axis=0)
        self.A.setValuesCOO(np.concatenate([self._constant, nodal.ravel(), constraint.ravel()]))

    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]:
        """Return v, shape (n, 3), and how the solve went, for the right side r and a guess of v."""
        return _solved(self.krylov, self._x, self._b, r, guess)

    def destroy(self) -> None:
        """Free all PETSc objects. Collective."""
        self.krylov.destroy()
        for item in (self.A, self._x, self._b):
            item.destroy()


def _solved(
    krylov: Krylov, x: PETSc.Vec, b: PETSc.Vec, r: Array, guess: Array
) -> tuple[Array, Result]:
    """Return v, shape (n, 3), of the unknowns (v, lm) at each node, from a guess of v alone."""
    # A start that a restart finds again: lm is not kept.
    zero = np.zeros((len(r), 1))
    b.array[:] = np.hstack((r, zero)).ravel()
    x.array[:] = np.hstack((guess, zero)).ravel()
    result = krylov.solve(b, x)
    return x.array.reshape(-1, 4)[:, :3].copy(), result
