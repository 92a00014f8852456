# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a basis keeps so that a changed material costs only the patches that it touches."""

from __future__ import annotations

import logging

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.grps.cell_shares import EnergyWatch
from dolfinx_llg.grps.patch_solvers import PatchSolver
from dolfinx_llg.la.matrices import scipy_rows, some_columns

__all__ = ["Renewal"]

logger = logging.getLogger(__name__)


class Renewal:
    """The solver of a basis, the energy that it saw last, and the functions of that energy.

    Args:
        solver: Solver that has computed P.
        watch: Knows the energy of P.
        ell: Layers of the patches; None: global.
        P: The functions.
    """

    def __init__(
        self, solver: PatchSolver, watch: EnergyWatch, ell: int | None, P: PETSc.Mat
    ) -> None:
        self._solver, self._watch, self._ell = solver, watch, ell
        self._P = P
        # Cells that an update which failed has left between two energies.
        self._open = np.zeros(solver.measurement.hierarchy.data.num_cells, dtype=bool)

    def update(self, A: PETSc.Mat, elements: npt.NDArray[np.float64]) -> tuple[PETSc.Mat, int]:
        """Return P for another energy, and the number of functions computed for it (collective).

        Args:
            A: Matrix of the energy.
            elements: Its element matrices on the fine cells of this rank.
        """
        self._open |= self._watch.changed(elements)
        cells = int(self._open.sum())
        if cells == 0:
            return self._P, 0
        part, touched = self._solver.renew(A, elements, self._open, self._ell)
        self._P = _merge(self._P, part, touched)
        self._open[:] = False
        count = int(touched.sum())
        logger.info("GRPS: %d coarse cells changed, %d functions anew", cells, count)
        return self._P, count


def _merge(old: PETSc.Mat, new: PETSc.Mat, touched: npt.NDArray[np.bool_]) -> PETSc.Mat:
    """Return the matrix with the touched columns of ``new``, the others of ``old``."""
    if touched.all():
        return new
    kept = some_columns(scipy_rows(old), ~touched)
    found = some_columns(scipy_rows(new), touched)
    table = sp.csr_matrix(kept + found)
    table.sort_indices()
    out = PETSc.Mat().createAIJ(
        old.getSizes(), csr=(table.indptr, table.indices, table.data), comm=old.comm
    )
    out.assemble()
    return out
