# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Direct solves with the mass matrix of a surface, M = L D L^T.

SciPy's SuperLU factorizes it; its own solves go through supernodes, which are narrow here, and take
two to three times as long as a pass over the entries of L. Every rank solves alike: shared out
between two ranks, with their separators eliminated last, a solve at 10,000 nodes took as long.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import splu

from dolfinx_llg.stray_field.native import KERNELS

__all__ = ["MassSolver"]

type Floats = npt.NDArray[np.float64]


class MassSolver:
    """Solver of M x = f, each rank for itself.

    Args:
        mass: Sparse, symmetric, positive definite, shape (n, n).
        comm: Communicator over which the kernels are loaded.

    Note: Collective.
    """

    def __init__(self, mass: Any, comm: MPI.Comm) -> None:
        self._ffi, self._lib = KERNELS.load(comm)
        # The fill of a surface mesh; without pivoting the factors are those of L D L^T.
        factors = splu(
            mass.tocsc(),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        assert np.array_equal(factors.perm_r, factors.perm_c)
        self._place = factors.perm_c
        L = factors.L.tocsc()
        L.setdiag(0.0)
        L.eliminate_zeros()
        L.sort_indices()
        arrays = (L.indptr.astype(np.int32), L.indices.astype(np.int32), L.data)
        self._kept = (*arrays, 1.0 / factors.U.diagonal())
        kinds = ("int32_t *", "int32_t *", "double *", "double *")
        self._factors = [
            self._ffi.cast(kind, array.ctypes.data)
            for kind, array in zip(kinds, self._kept, strict=True)
        ]

    def solve(self, f: Floats) -> Floats:
        """Return x for right sides of shape (n,) or (n, k)."""
        x = np.empty(f.shape)
        x[self._place] = f
        width = 1 if f.ndim == 1 else f.shape[1]
        at = self._ffi.cast("double *", x.ctypes.data)
        self._lib.llg_mass_solve(len(x), *self._factors, width, at)
        return x[self._place]
