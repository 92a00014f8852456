# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The saddle-point system by blocks (MatNest): PCFIELDSPLIT with a Schur complement that holds.

With S = -B A^{-1} B^T the default preconditioner of the multiplier is

    S^{-1} ~ -(B B^T)^{-1} B A B^T (B B^T)^{-1},   entries -(1/(beta_i beta_j)) m_i^T A_ij m_j,

which for the nodal B is one sparse matrix, applied through PCMAT (Elman, SIAM J. Sci. Comput. 20
(1999) 1299 calls it BFBt; PETSc's own LSC has the other sign). Every part is an option under
``pc_fieldsplit_`` and ``fieldsplit_v_``, ``fieldsplit_lm_``; with
``pc_fieldsplit_schur_precondition: selfp`` no matrix of ours is used.
"""

from __future__ import annotations

from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx.fem.petsc import assemble_matrix, create_matrix

from dolfinx_llg.jit import compile_form
from dolfinx_llg.la.krylov import Krylov, Options, Result
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks
from dolfinx_llg.solvers.tangent.krylov import DEFAULTS, DIRECT, local_defaults, node_matrix
from dolfinx_llg.solvers.tangent.saddle import nodal_blocks

__all__ = ["ConsistentSystem", "SplitSystem", "constraint_matrices", "schur_defaults"]

Array = npt.NDArray[np.float64]


def constraint_matrices(blocks: NodalBlocks) -> tuple[PETSc.Mat, PETSc.Mat]:
    """Return B (n x 3n) and B^T for the nodal constraint, without values."""
    n, first = blocks.n, blocks.first
    one, three = (n, blocks.n_global), (3 * n, 3 * blocks.n_global)
    columns = (3 * first + np.arange(3 * n)).astype(np.int32)
    rows = 3 * np.arange(n + 1, dtype=np.int32)
    B = PETSc.Mat().createAIJ((one, three), csr=(rows, columns, np.zeros(3 * n)), comm=blocks.comm)
    rows = np.arange(3 * n + 1, dtype=np.int32)
    columns = np.repeat(first + np.arange(n), 3).astype(np.int32)
    BT = PETSc.Mat().createAIJ((three, one), csr=(rows, columns, np.zeros(3 * n)), comm=blocks.comm)
    return B, BT


def set_constraint(blocks: NodalBlocks, B: PETSc.Mat, BT: PETSc.Mat, m: Array) -> None:
    """Set the values beta_i m_i of both matrices."""
    values = (blocks.mass[:, None] * m).ravel()
    n, first = blocks.n, blocks.first
    columns = (3 * first + np.arange(3 * n)).astype(np.int32)
    B.setValuesCSR(3 * np.arange(n + 1, dtype=np.int32), columns, values)
    columns = np.repeat(first + np.arange(n), 3).astype(np.int32)
    BT.setValuesCSR(np.arange(3 * n + 1, dtype=np.int32), columns, values)
    B.assemble()
    BT.assemble()


def schur_defaults(ranks: int, selfp: bool) -> dict[str, Any]:
    """Return the options of the Schur fieldsplit."""
    return {
        **DEFAULTS,
        "pc_type": "fieldsplit",
        "pc_fieldsplit_type": "schur",
        "pc_fieldsplit_schur_fact_type": "full",
        "fieldsplit_v_ksp_type": "preonly",
        **local_defaults(ranks, "fieldsplit_v_"),
        "fieldsplit_lm_ksp_type": "preonly",
        # The nodal B makes PETSc's B diag(A)^{-1} B^T diagonal.
        "fieldsplit_lm_pc_type": "jacobi" if selfp else "mat",
    }


class SplitSystem:
    """The nodal saddle-point system as a MatNest, solved by GMRES with PCFIELDSPLIT.

    Args:
        blocks: Kept stiffness and nodal data.
        tau: theta dt.
        options: The user's PETSc options.
    """

    def __init__(self, blocks: NodalBlocks, tau: float, options: Options) -> None:
        self._blocks, self._tau = blocks, tau
        values = np.ascontiguousarray(tau * blocks.values.transpose(2, 0, 1))
        self._own = values[blocks.diagonal].copy()
        values[blocks.diagonal] += np.eye(3)
        self._K = node_matrix(blocks, values)
        self._B, self._BT = constraint_matrices(blocks)
        set_constraint(blocks, self._B, self._BT, np.ones((blocks.n, 3)))
        self._entries = np.zeros(len(blocks.rows))
        self._S = node_matrix(blocks, self._entries)
        self.A = PETSc.Mat().createNest([[self._K, self._BT], [self._B, None]], comm=blocks.comm)
        self.A.assemble()
        self._x, self._b = self.A.createVecs()
        own = options.given("pc_fieldsplit_schur_precondition")
        defaults = schur_defaults(blocks.comm.size, own)
        self.krylov = Krylov(self.A, options, defaults=defaults)
        pc = self.krylov.ksp.getPC()
        if pc.getType() == PETSc.PC.Type.FIELDSPLIT:
            fields = self.A.getNestISs()[0]
            pc.setFieldSplitIS(("v", fields[0]), ("lm", fields[1]))
            if not own:
                pc.setFieldSplitSchurPreType(PETSc.PC.FieldSplitSchurPreType.USER, self._S)

    def assemble(self, m: Array, D: Array) -> None:
        """Set all blocks for the directions m and the nodal dissipation D."""
        blocks = self._blocks
        own = self._own + nodal_blocks(blocks, m, D)
        nodes = np.arange(blocks.n + 1, dtype=np.int32)
        self._K.setValuesBlockedCSR(nodes, blocks.first + nodes[:-1], own)
        self._K.assemble()
        set_constraint(blocks, self._B, self._BT, m)
        weighted = blocks.with_ghosts(m / blocks.mass[:, None]).T
        blocks.sandwich(-self._tau, weighted, self._entries)
        square = np.einsum("ij,ij->i", m, m)
        self._entries[blocks.diagonal] -= D * square / blocks.mass**2
        self._S.setValuesCSR(blocks.indptr, blocks.columns_global, self._entries)
        self._S.assemble()
        self.A.assemble()

    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]:
        """Return v, shape (n, 3), and how the solve went, for the right side r and a guess of v."""
        self._b.set(0.0)
        self._x.set(0.0)
        self._b.array[: r.size] = r.ravel()  # a rank's part of v, then its part of lm
        self._x.array[: r.size] = guess.ravel()
        result = self.krylov.solve(self._b, self._x)
        return self._x.array[: r.size].reshape(-1, 3).copy(), result

    def destroy(self) -> None:
        """Free all PETSc objects. Collective."""
        self.krylov.destroy()
        for item in (self._x, self._b, self.A, self._K, self._B, self._BT, self._S):
            item.destroy()


class ConsistentSystem:
    """The system with integrated mass, cross product and constraint, by MUMPS.

    Both m-dependent blocks are assembled in each step.

    Args:
        blocks: Kept stiffness and nodal data.
        tau: theta dt.
        options: The user's PETSc options.
    """

    def __init__(self, blocks: NodalBlocks, tau: float, options: Options) -> None:
        step = blocks.step
        assert step.consistent is not None
        self._blocks = blocks
        mass, constraint = (compile_form(form) for form in step.consistent)
        self._forms = mass, constraint
        whole = step.consistent[0]
        self._base: PETSc.Mat | None = None
        if step.stiffness is not None:
            whole = whole + step.stiffness
        self._A = create_matrix(compile_form(whole), "aij")
        assemble_matrix(self._A, compile_form(whole))  # fixes the pattern
        self._A.assemble()
        if step.stiffness is not None:
            self._base = self._A.duplicate()
            self._base.zeroEntries()
            assemble_matrix(self._base, compile_form(step.stiffness))
            self._base.assemble()
            self._base.scale(tau / blocks.scale)
        self._wide = create_matrix(constraint, "aij")
        start, end = self._A.getOwnershipRange()
        self._all = PETSc.IS().createStride(end - start, start, 1, blocks.comm)
        self._first = PETSc.IS().createStride((end - start) // 3, start, 3, blocks.comm)
        self._options = options
        self._parts: list[PETSc.Mat] = []
        self.krylov: Krylov | None = None

    def assemble(self, m: Array, D: Array) -> None:
        """Assemble the blocks for the present m (the nodal arguments are not needed)."""
        self._release()
        A, wide = self._A, self._wide
        A.zeroEntries()
        wide.zeroEntries()
        assemble_matrix(A, self._forms[0])
        assemble_matrix(wide, self._forms[1])
        A.assemble()
        wide.assemble()
        A.scale(1.0 / self._blocks.scale)
        if self._base is not None:
            A.axpy(1.0, self._base, PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN)
        B = wide.createSubMatrix(self._first, self._all)
        B.scale(1.0 / self._blocks.scale)
        self._solve_with(A, B)

    def _solve_with(self, A: PETSc.Mat, B: PETSc.Mat) -> None:
        BT = PETSc.Mat()
        B.transpose(BT)
        nest = PETSc.Mat().createNest([[A, BT], [B, None]], comm=A.comm)
        whole = PETSc.Mat()
        nest.convert("aij", whole)
        nest.destroy()
        self._parts = [whole, B, BT, *whole.createVecs()]
        self.krylov = Krylov(whole, self._options, defaults=DIRECT)

    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]:
        """Return v, shape (n, 3), and how the solve went, for the right side r and a guess of v."""
        x, b = self._parts[3:]
        n = 3 * self._blocks.n
        b.array[:n] = r.ravel()
        x.array[:n] = guess.ravel()
        assert self.krylov is not None
        result = self.krylov.solve(b, x)
        return x.array[:n].reshape(-1, 3).copy(), result

    def _release(self) -> None:
        if self.krylov is not None:
            self.krylov.destroy()
            for item in self._parts:
                item.destroy()

    def destroy(self) -> None:
        """Free all PETSc objects. Collective."""
        self._release()
        for item in (self._A, self._base, self._wide, self._all, self._first):
            if item is not None:
                item.destroy()
