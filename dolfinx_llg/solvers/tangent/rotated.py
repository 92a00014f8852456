# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Scalar algebraic multigrid, turned in the tangent plane: a preconditioner built once for all m.

In the tangent plane of m, the complex plane with m x = i, the operator of a step is
``(D + i G) + theta dt K`` up to the curvature of m. With ``c = |D + i G|`` at the nodes and
``S = c + theta dt K``, symmetric, positive and constant, the spectrum of S^{-1} A lies near the
chord from e^{i phi} (low modes) to 1 (high modes), phi = arg(D + i G); turned by minus half the
angle it stands upright at the distance cos(phi/2) >= 0.707 from zero, where GMRES gains a factor
0.41 in each iteration at any h, dt and damping. The three Cartesian components of a tangent
vector go through one V-cycle each, because a frame of the tangent planes has jumps.
"""

from __future__ import annotations

import math

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks
from dolfinx_llg.solvers.tangent.krylov import local_defaults, node_matrix

__all__ = ["CombinedPreconditioner", "RotatedPreconditioner"]

Array = npt.NDArray[np.float64]
# Symmetric SOR needs fewer iterations than Chebyshev, at the same cost in all; as the partner of
# ILU, which smooths already, one Chebyshev step is cheaper.
ALONE = {
    "ksp_type": "preonly",
    "pc_type": "gamg",
    "mg_levels_ksp_type": "richardson",
    "mg_levels_pc_type": "sor",
}
COMBINED = {"ksp_type": "preonly", "pc_type": "gamg", "mg_levels_ksp_max_it": 1}


class RotatedPreconditioner:
    """Python PC of the two-unknown form: y = R T^T S^{-1} T r, R the turn by the angle.

    Args:
        blocks: Kept stiffness and nodal data.
        tau: theta dt.
        options: Options of the outer solver; those that begin with ``scalar_`` apply here.
        combined: Whether the cheaper smoother of the combined preconditioner is the default.
    """

    def __init__(
        self,
        blocks: NodalBlocks,
        tau: float,
        options: Options,
        *,
        combined: bool = False,
    ) -> None:
        D = blocks.mass * blocks.damping
        values = tau * blocks.scalar_stiffness()
        values[blocks.diagonal] += np.hypot(D, blocks.gyro)
        self._S = node_matrix(blocks, values)
        self._r, self._z = self._S.createVecs()
        sums = np.sum(blocks.comm.allgather((D.sum(), blocks.gyro.sum())), axis=0)
        half = 0.5 * math.atan2(sums[1], sums[0])
        self._turn = math.cos(half), math.sin(half)
        self._frames = np.zeros((2, 3, blocks.n))
        defaults = COMBINED if combined else ALONE
        self._krylov = Krylov(self._S, options.inside("scalar_"), defaults=defaults)
        self._krylov.set_up()

    def set_frames(self, frames: Array) -> None:
        """Set the frames of the tangent planes at the owned nodes, shape (2, 3, n)."""
        self._frames = frames

    def solve(self, r: Array) -> Array:
        """Return the preconditioned r, both of shape (n, 2)."""
        t1, t2 = self._frames
        a, b = np.ascontiguousarray(r.T)
        p, q = np.zeros_like(a), np.zeros_like(b)
        for i in range(3):
            self._r.array[:] = t1[i] * a + t2[i] * b
            self._krylov.apply(self._r, self._z)
            z = self._z.getArray(readonly=True)
            p += t1[i] * z
            q += t2[i] * z
        cos, sin = self._turn
        return np.column_stack((cos * p + sin * q, cos * q - sin * p))

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the preconditioned r (called by PETSc)."""
        y.getArray()[:] = self.solve(r.getArray(readonly=True).reshape(-1, 2)).ravel()

    def destroy(self, pc: PETSc.PC | None = None) -> None:
        """Free the hierarchy. Collective."""
        for item in (self._krylov, self._S, self._r, self._z):
            item.destroy()


class CombinedPreconditioner:
    """The rotated preconditioner, then ILU on what it leaves of the residual.

    ILU knows the turn of the tangent planes from node to node, which the rotated one does not, and
    that one the long waves: together they take less than half the iterations of either.

    Args:
        rotated: The rotated preconditioner, with the smoother for this use.
        A: Matrix of the two-unknown form.
        options: Options of the outer solver; those that begin with ``local_`` apply here.
    """

    def __init__(self, rotated: RotatedPreconditioner, A: PETSc.Mat, options: Options) -> None:
        self._rotated, self._A = rotated, A
        defaults = {"ksp_type": "preonly", **local_defaults(A.comm.size)}
        self._local = Krylov(A, options.inside("local_"), defaults=defaults)
        self._rest, self._correction = A.createVecs()

    def setUp(self, pc: PETSc.PC) -> None:  # the name is petsc4py's
        """Factorize the matrix as it is now (called by PETSc)."""
        self._local.set_up()

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the preconditioned r (called by PETSc)."""
        self._rotated.apply(pc, r, y)
        self._A.mult(y, self._rest)
        self._rest.aypx(-1.0, r)
        self._local.apply(self._rest, self._correction)
        y.axpy(1.0, self._correction)

    def destroy(self, pc: PETSc.PC | None = None) -> None:
        """Free the factorization and its vectors. Collective."""
        for item in (self._local, self._rest, self._correction):
            item.destroy()
