# SPDX-License-Identifier: LGPL-3.0-or-later
"""Products with a matrix of many small dense blocks, by C kernels where there is a compiler."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.reduction.native import library

__all__ = ["BlockProducts"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class BlockProducts:
    """A matrix of dense blocks, each row of which is in one of them at most.

    Args:
        comm: Communicator.
        blocks: Of each size the values, shape (n, p, q), the numbers of their rows, (n, p), and of
            their columns, (n, q); a number that is the size of the matrix stands in the padding.
        shape: Number of rows and of columns on this rank.
        native: Whether the C kernels are used where they can be compiled.

    Note: Collective.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        blocks: Sequence[tuple[FloatArray, IntArray, IntArray]],
        shape: tuple[int, int],
        *,
        native: bool = True,
    ) -> None:
        self.shape = shape
        self._blocks = []
        for values, rows, columns in blocks:
            if values.size:
                # The kernels take four columns at a time.
                room = (0, -values.shape[2] % 4)
                padded = np.pad(values, [(0, 0), (0, 0), room])
                numbers = np.pad(columns, [(0, 0), room], constant_values=shape[1])
                self._blocks.append(
                    (
                        np.ascontiguousarray(padded, dtype=np.float64),
                        np.ascontiguousarray(rows, dtype=np.int32),
                        np.ascontiguousarray(numbers, dtype=np.int32),
                    )
                )
        self._library: Any = None
        found = library(comm) if native else None
        if found is not None:
            self._ffi, self._library = found
            cast = self._ffi.cast
            # Addresses of arrays that this object keeps.
            self._told = [
                (
                    *values.shape,
                    cast("double *", values.ctypes.data),
                    cast("int32_t *", rows.ctypes.data),
                    cast("int32_t *", columns.ctypes.data),
                )
                for values, rows, columns in self._blocks
            ]

    def apply(self, x: FloatArray) -> FloatArray:
        """Return M x, shape (rows, k), of x, shape (columns, k), k at most 3."""
        x, y = _with_padding(x), np.zeros((self.shape[0] + 1, x.shape[1]))
        if self._library is None:
            for values, rows, columns in self._blocks:
                y[rows] = np.matmul(values, x.take(columns, axis=0))
        else:
            self._call(self._library.llg_apply, x, y)
        return y[:-1]

    def transposed(self, x: FloatArray) -> FloatArray:
        """Return M^T x, shape (columns, k), of x, shape (rows, k), k at most 3."""
        x, k = _with_padding(x), x.shape[1]
        if self._library is None:
            parts = [
                np.matmul(values.transpose(0, 2, 1), x.take(rows, axis=0)).reshape(-1, k)
                for values, rows, _ in self._blocks
            ]
            return np.asarray(self._sum @ np.concatenate([np.zeros((0, k)), *parts]))[:-1]
        y = np.zeros((self.shape[1] + 1, k))
        self._call(self._library.llg_transposed, x, y)
        return y[:-1]

    def sandwich(
        self,
        x: FloatArray,
        counts: npt.NDArray[np.int32],
        matrices: FloatArray,
        tensors: FloatArray,
    ) -> FloatArray:
        """Return M^T B M x, shape (columns, 3), of x of that shape, block by block; see the kernel.

        Args:
            x: The vector.
            counts: Modes of each of the n cells, for each of which the matrix has r rows.
            matrices: For each term and cell a lower triangle, shape (terms * n * r (r + 1) / 2, 3).
            tensors: Tensors of components of each term, shape (terms, 3, 3, 4).
        """
        assert self._library is not None
        x, y, cast = _with_padding(x), np.zeros((self.shape[1] + 1, 3)), self._ffi.cast
        ends = [cast("double *", array.ctypes.data) for array in (matrices, tensors, x, y)]
        told = cast("int32_t *", counts.ctypes.data)
        n = len(counts)
        for block in self._told:
            self._library.llg_sandwich(*block, n, self.shape[0] // n, told, len(tensors), *ends)
        return y[:-1]

    def _call(self, kernel: Any, x: FloatArray, y: FloatArray) -> None:
        k, cast = x.shape[1], self._ffi.cast
        assert k <= 3
        ends = [cast("double *", array.ctypes.data) for array in (x, y)]
        for told in self._told:
            kernel(k, *told, *ends)

    @cached_property
    def _sum(self) -> Any:
        """What adds up the images of the blocks."""
        numbers = [np.zeros(0, dtype=np.int32), *[columns.ravel() for *_, columns in self._blocks]]
        rows = np.concatenate(numbers)
        ends = np.arange(len(rows) + 1)
        return sp.csc_matrix(
            (np.ones(len(rows)), rows, ends), shape=(self.shape[1] + 1, len(rows))
        ).tocsr()


def _with_padding(x: FloatArray) -> FloatArray:
    """Return x with a row of zeros at its end."""
    padded = np.zeros((len(x) + 1, x.shape[1]))
    padded[:-1] = x
    return padded
