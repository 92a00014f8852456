# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the linear systems of the tangent-plane scheme share: a KSP under layered options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.krylov import options_in_force
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks

__all__ = ["Krylov", "local_defaults", "node_matrix"]

Array = npt.NDArray[np.float64]
KRYLOV_DEFAULTS = {
    "ksp_type": "gmres",
    "ksp_pc_side": "right",
    "ksp_gmres_restart": 100,
    "ksp_rtol": 1e-6,
    "ksp_max_it": 400,
}


class Krylov:
    """A KSP with our defaults below the user's options below the command line.

    Args:
        A: Matrix (its values may change between solves, the object not).
        prefix: Options prefix.
        defaults: Defaults of this system, beside those of every one.
        options: The user's options, without prefix.
        context: Python preconditioner; it is dropped where the options name a ``pc_type``.

    Attributes:
        used: Keys of the options that PETSc asked for.
        reason: PETSc's converged reason of the last solve (1 for a right side of zero).
    """

    def __init__(
        self,
        A: PETSc.Mat,
        prefix: str,
        defaults: Mapping[str, Any],
        options: Mapping[str, Any],
        context: Any = None,
    ) -> None:
        self._A, self._prefix = A, prefix
        merged = KRYLOV_DEFAULTS | dict(defaults)
        if "ksp_type" in options:  # a solver of the user's has its own preferred side
            merged.pop("ksp_pc_side")
        self._options = merged | dict(options)
        self.used: set[str] = set()
        self.reason = 0
        self.ksp = PETSc.KSP().create(A.comm)
        self.ksp.setOperators(A)
        self.ksp.setOptionsPrefix(prefix)
        own = "pc_type" in options or PETSc.Options().hasName(prefix + "pc_type")
        if context is not None and not own:
            self._options.pop("pc_type", None)
            self.ksp.getPC().setType(PETSc.PC.Type.PYTHON)
            self.ksp.getPC().setPythonContext(context)
        with options_in_force(prefix, self._options, self.used):
            self.ksp.setFromOptions()
        self._iterative = self.ksp.getType() != PETSc.KSP.Type.PREONLY

    def set_up(self) -> None:
        """Factorize the matrix as it is now (``solve`` would do it)."""
        self.ksp.setOperators(self._A)  # tells it that the values are new
        with options_in_force(self._prefix, self._options, self.used):
            self.ksp.setUp()
            self.ksp.setUpOnBlocks()

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> int:
        """Solve for x from the guess in x; return the iterations (the reason is in ``ksp``)."""
        if b.norm() == 0.0:  # at rest: no residual could fall below a part of it
            x.set(0.0)
            self.reason = 1
            return 0
        # A start at zero spares a product.
        self.ksp.setInitialGuessNonzero(self._iterative and x.norm() > 0.0)
        with options_in_force(self._prefix, self._options, self.used):
            self.ksp.solve(b, x)
        self.reason = int(self.ksp.getConvergedReason())
        return int(self.ksp.getIterationNumber())

    def destroy(self) -> None:
        """Free the solver. Collective."""
        self.ksp.destroy()


def local_defaults(ranks: int, prefix: str = "") -> dict[str, Any]:
    """Options of ILU(0) on one rank, of overlapping Schwarz with ILU(0) on several.

    Without overlap (block Jacobi) two ranks take twice the iterations of one; with overlap but in
    the order of the global numbers, which puts the overlap first or last, a quarter more.
    """
    if ranks == 1:
        return {prefix + "pc_type": "ilu"}
    return {
        prefix + "pc_type": "asm",
        prefix + "pc_asm_overlap": 1,
        prefix + "sub_pc_type": "ilu",
        prefix + "sub_pc_factor_mat_ordering_type": "rcm",
    }


def node_matrix(blocks: NodalBlocks, values: Array) -> PETSc.Mat:
    """Return a matrix over the nodes with the pattern of the stiffness.

    Args:
        blocks: The pattern.
        values: Shape (nnz,) for an AIJ matrix, (nnz, bs, bs) for a BAIJ one.
    """
    bs = 1 if values.ndim == 1 else values.shape[1]
    size = (bs * blocks.n, bs * blocks.n_global)
    csr = (blocks.indptr, blocks.columns_global, values)
    if bs == 1:
        return PETSc.Mat().createAIJ((size, size), csr=csr, comm=blocks.comm)
    return PETSc.Mat().createBAIJ((size, size), bs, csr=csr, comm=blocks.comm)
