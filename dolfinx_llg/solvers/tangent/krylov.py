# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the linear systems of the tangent-plane scheme share: options and matrices over nodes."""

from __future__ import annotations

from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.krylov import RIGHT_GMRES
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks

__all__ = ["DEFAULTS", "DIRECT", "local_defaults", "node_matrix"]

Array = npt.NDArray[np.float64]
#: Below the error of any step; most systems converge long before a restart.
DEFAULTS = {**RIGHT_GMRES, "ksp_rtol": 1e-6, "ksp_gmres_restart": 100, "ksp_max_it": 400}
#: Factorization of a saddle-point matrix, whose memory MUMPS's own estimate puts too low.
DIRECT = {
    **DEFAULTS,
    "pc_type": "lu",
    "pc_factor_mat_solver_type": "mumps",
    "mat_mumps_icntl_14": 100,
}


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
