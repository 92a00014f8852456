# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Direct solves with the mass matrix of a surface, M = L D L^T.

SciPy's SuperLU factorizes it; its own solves go through supernodes, which are narrow here, and take
two to three times as long as a pass over the entries of L. Every rank solves alike: shared out
between two ranks, with their separators eliminated last, a solve at 10,000 nodes took as long. One
rank factorizes, while the others do other work.
"""

from __future__ import annotations

from collections.abc import Callable
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
        mass: Returns M, sparse, symmetric, positive definite, shape (n, n); called on the rank that
            factorizes alone.
        comm: Communicator whose last rank factorizes; before the first solve it must ``share`` the
            factors.

    Note: No communication before ``share``: no rank waits for the factors.
    """

    def __init__(self, mass: Callable[[], Any], comm: MPI.Comm) -> None:
        self._comm = comm
        self._kept: tuple[npt.NDArray[Any], ...] | None = None
        if comm.rank == comm.size - 1:
            self._kept = _factors(mass())

    def share(self) -> None:
        """Give the factors to all ranks. Collective."""
        self._ffi, self._lib = KERNELS.load(self._comm)
        kept = _shared(self._comm, self._kept)
        kinds = ("int32_t *", "int32_t *", "double *", "double *")
        self._place, *self._arrays = kept
        self._pointers = [
            self._ffi.cast(kind, array.ctypes.data)
            for kind, array in zip(kinds, self._arrays, strict=True)
        ]

    def solve(self, f: Floats) -> Floats:
        """Return x for right sides of shape (n,) or (n, k)."""
        x = np.empty(f.shape)
        x[self._place] = f
        width = 1 if f.ndim == 1 else f.shape[1]
        at = self._ffi.cast("double *", x.ctypes.data)
        self._lib.llg_mass_solve(len(x), *self._pointers, width, at)
        return x[self._place]


def _factors(mass: Any) -> tuple[npt.NDArray[Any], ...]:
    """Return the places of the unknowns, L below its diagonal by columns, and 1/D."""
    # The fill of a surface mesh; without pivoting the factors are those of L D L^T.
    factors = splu(
        mass.tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    assert np.array_equal(factors.perm_r, factors.perm_c)
    L = factors.L.tocsc()
    L.setdiag(0.0)
    L.eliminate_zeros()
    L.sort_indices()
    arrays = (factors.perm_c, L.indptr.astype(np.int32), L.indices.astype(np.int32), L.data)
    return (*arrays, 1.0 / factors.U.diagonal())


def _shared(
    comm: MPI.Comm, arrays: tuple[npt.NDArray[Any], ...] | None
) -> tuple[npt.NDArray[Any], ...]:
    """Return the arrays of the last rank on all ranks. Collective."""
    if comm.size == 1:
        assert arrays is not None
        return arrays
    root = comm.size - 1
    kinds = comm.bcast(arrays and [(len(array), array.dtype.str) for array in arrays], root)
    received = arrays or tuple(np.empty(n, dtype) for n, dtype in kinds)
    for array in received:
        comm.Bcast(array, root)
    return received
