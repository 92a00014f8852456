# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The two-unknown form, v_i = T_i c_i with T_i a frame of the tangent plane.

T^T A T has the nodal blocks ``D_i I + G_i |m_i| J`` (J the quarter turn) and the entries
``theta dt T_i^T K_ij T_j``; v.m = 0 holds to round-off whatever the tolerance of the solver.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.krylov import Krylov, Options, Result
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks, from_frames, tangent_frames, to_frames
from dolfinx_llg.solvers.tangent.krylov import DEFAULTS, local_defaults, node_matrix
from dolfinx_llg.solvers.tangent.rotated import CombinedPreconditioner, RotatedPreconditioner

__all__ = ["TwoUnknownSystem"]

Array = npt.NDArray[np.float64]


class TwoUnknownSystem:
    """The system of two unknowns a node.

    Args:
        blocks: Kept stiffness and nodal data.
        tau: theta dt.
        preconditioner: "fast" (ILU), "scalable" (rotated AMG), "combined" (both), or "mumps".
        options: The user's PETSc options.
    """

    def __init__(
        self, blocks: NodalBlocks, tau: float, preconditioner: str, options: Options
    ) -> None:
        self._blocks, self._tau = blocks, tau
        self._values = np.zeros((len(blocks.rows), 2, 2))
        self._values[blocks.diagonal] = np.eye(2)
        self.A = node_matrix(blocks, self._values)
        self._x, self._b = self.A.createVecs()
        self._frames = np.zeros((2, 3, blocks.n))
        self._rotated: RotatedPreconditioner | None = None
        self._context: Any = None
        defaults: dict[str, Any] = dict(DEFAULTS)
        if preconditioner in ("scalable", "combined"):
            both = preconditioner == "combined"
            self._rotated = RotatedPreconditioner(blocks, tau, options, combined=both)
            self._context = self._rotated
            if both:
                self._context = CombinedPreconditioner(self._rotated, self.A, options)
        elif preconditioner == "mumps":
            defaults |= {"pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}
        else:
            defaults |= local_defaults(self.A.comm.size)
        self.krylov = Krylov(self.A, options, defaults=defaults, context=self._context)

    def assemble(self, m: Array, D: Array) -> None:
        """Set the matrix for the directions m and the nodal dissipation D."""
        blocks, values = self._blocks, self._values
        m_all = blocks.with_ghosts(m)
        frames = tangent_frames(m_all)
        blocks.congruence(self._tau, frames, values)
        gyro = blocks.gyro * np.linalg.norm(m, axis=1)
        own = blocks.diagonal
        values[own, 0, 0] += D
        values[own, 1, 1] += D
        values[own, 0, 1] -= gyro
        values[own, 1, 0] += gyro
        self.A.setValuesBlockedCSR(blocks.indptr, blocks.columns_global, values)
        self.A.assemble()
        self._frames = frames[:, :, : blocks.n]
        if self._rotated is not None:
            self._rotated.set_frames(self._frames)

    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]:
        """Return v, shape (n, 3), and how the solve went, for the right side r and a guess of v."""
        self._b.array[:] = to_frames(self._frames, r).ravel()
        self._x.array[:] = to_frames(self._frames, guess).ravel()
        result = self.krylov.solve(self._b, self._x)
        return from_frames(self._frames, self._x.array.reshape(-1, 2)), result

    def destroy(self) -> None:
        """Free all PETSc objects. Collective."""
        self.krylov.destroy()
        for item in (self._context, self._rotated if self._context is not self._rotated else None):
            if item is not None:
                item.destroy()
        for item in (self.A, self._x, self._b):
            item.destroy()
