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

__all__ = ["Block", "BlockProducts", "grouped", "rounded"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TensorArray = npt.NDArray[np.floating]


Block = tuple[FloatArray, IntArray, IntArray]
"""Values, shape (p, q), the numbers of their rows, (p,), and of their columns, (q,)."""

_GROUP = 16
"""Blocks of a group with one size, in which the smaller are padded."""


def grouped(blocks: Sequence[Block], shape: tuple[int, int]) -> list[Block]:
    """Return blocks of many sizes in groups of about one size, as ``BlockProducts`` takes them.

    Args:
        blocks: The blocks.
        shape: Number of rows and of columns, which stand for a row and a column in the padding.
    """
    sizes = np.array([values.shape for values, *_ in blocks]).reshape(-1, 2)
    groups, order = [], np.lexsort((sizes[:, 1], sizes[:, 0]))
    for begin in range(0, len(order), _GROUP):
        members = order[begin : begin + _GROUP]
        p, q = sizes[members].max(axis=0)
        values = np.zeros((len(members), p, q))
        rows, columns = np.full((len(members), p), shape[0]), np.full((len(members), q), shape[1])
        for place, member in enumerate(members):
            own, its_rows, its_columns = blocks[member]
            values[place, : own.shape[0], : own.shape[1]] = own
            rows[place, : own.shape[0]], columns[place, : own.shape[1]] = its_rows, its_columns
        groups.append((values, rows, columns))
    return groups


class BlockProducts:
    """A matrix of dense blocks, each row of which is in one of them at most.

    Args:
        comm: Communicator.
        blocks: Of each size the values, shape (n, p, q), the numbers of their rows, (n, p), and of
            their columns, (n, q); a number that is the size of the matrix stands in the padding.
        shape: Number of rows and of columns on this rank.
        single: Whether the entries are kept in single precision: half the memory, which limits the
            products. They are rounded such that the sums of rows stay (``rounded``).
        native: Whether the C kernels are used where they can be compiled.

    Note: Collective.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        blocks: Sequence[tuple[FloatArray, IntArray, IntArray]],
        shape: tuple[int, int],
        *,
        single: bool = False,
        native: bool = True,
    ) -> None:
        self.shape = shape
        self._blocks, self._kept = [], [k for k, block in enumerate(blocks) if block[0].size]
        # One array for all entries: it is read from its beginning to its end.
        room = sum(v.shape[0] * v.shape[1] * (v.shape[2] + 3) for v, *_ in blocks)
        entries, end = np.empty(room, dtype=np.float32 if single else np.float64), 0
        for values, rows, columns in blocks:
            if values.size:
                # The kernels take four columns at a time.
                gap = (0, -values.shape[2] % 4)
                padded = np.pad(values, [(0, 0), (0, 0), gap])
                numbers = np.pad(columns, [(0, 0), gap], constant_values=shape[1])
                own = entries[end : end + padded.size].reshape(padded.shape)
                own[:] = rounded(padded) if single else padded
                end += padded.size
                self._blocks.append(
                    (
                        own,
                        np.ascontiguousarray(rows, dtype=np.int32),
                        np.ascontiguousarray(numbers, dtype=np.int32),
                    )
                )
        self._library: Any = None  # see ``native``
        found = library(comm) if native else None
        if found is not None:
            self._ffi, self._library = found
            cast = self._ffi.cast
            self._single = int(single)
            # Addresses of arrays that this object keeps.
            self._told: list[Any] = [
                (
                    *values.shape,
                    cast("void *", values.ctypes.data),
                    cast("int32_t *", rows.ctypes.data),
                    cast("int32_t *", columns.ctypes.data),
                )
                for values, rows, columns in self._blocks
            ]

    @property
    def native(self) -> bool:
        """Whether the C kernels are used."""
        return self._library is not None

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

    def fill(self, x: FloatArray, out: npt.NDArray[np.float32]) -> None:
        """Set out, shape (columns + 1, 3), to M^T x, where no column is in two blocks.

        Columns without a block keep what they have or become zero; the last row is for padding. For
        entries in single precision.
        """
        if self._library is None:
            out[: self.shape[1]] = self.transposed(x)
            return
        x, cast = _with_padding(x), self._ffi.cast
        ends = cast("double *", x.ctypes.data), cast("float *", out.ctypes.data)
        for told in self._told:
            self._library.llg_fill(*told, *ends)

    def sandwich(
        self,
        x: FloatArray,
        counts: npt.NDArray[np.int32],
        matrices: npt.NDArray[np.float32],
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
        ends = [cast("double *", array.ctypes.data) for array in (tensors, x, y)]
        bodies = cast("float *", matrices.ctypes.data)
        told = cast("int32_t *", counts.ctypes.data)
        n = len(counts)
        for block in self._told:
            self._library.llg_sandwich(
                self._single, *block, n, self.shape[0] // n, told, len(tensors), bodies, *ends
            )
        return y[:-1]

    def around(self, x: FloatArray, X: Sequence[TensorArray], E: FloatArray) -> FloatArray:
        """Return M^T B M x, shape (columns, 3), of x of that shape, with B block by block.

        B is z[i, a] = sum X[q, i, k] E[q, b, a] y[k, b]; only the kernels know it.

        Args:
            x: The vector.
            X: For the blocks of each size, in their order, the matrices of their rows, shape
                (n, terms, p, p), in single or double precision.
            E: What they couple, shape (terms, 3, 3).
        """
        assert self._library is not None
        x, y, cast = _with_padding(x), np.zeros((self.shape[1] + 1, 3)), self._ffi.cast
        tensors = np.ascontiguousarray(E, dtype=np.float64)
        ends = [cast("double *", array.ctypes.data) for array in (tensors, x, y)]
        for number, told in zip(self._kept, self._told, strict=True):
            own, n, p = X[number], told[0], told[1]
            assert own.shape == (n, len(E), p, p) and own.flags.c_contiguous
            single, matrices = int(own.dtype == np.float32), cast("void *", own.ctypes.data)
            block = (*told[:4], told[5], len(E), matrices)
            self._library.llg_around(self._single, single, *block, *ends)
        return y[:-1]

    def _call(self, kernel: Any, x: FloatArray, y: FloatArray) -> None:
        k, cast = x.shape[1], self._ffi.cast
        assert k <= 3
        ends = [cast("double *", array.ctypes.data) for array in (x, y)]
        for told in self._told:
            kernel(k, self._single, *told, *ends)

    @cached_property
    def _sum(self) -> Any:
        """What adds up the images of the blocks."""
        numbers = [np.zeros(0, dtype=np.int32), *[columns.ravel() for *_, columns in self._blocks]]
        rows = np.concatenate(numbers)
        ends = np.arange(len(rows) + 1)
        return sp.csc_matrix(
            (np.ones(len(rows)), rows, ends), shape=(self.shape[1] + 1, len(rows))
        ).tocsr()


def rounded(values: FloatArray) -> npt.NDArray[np.float32]:
    """Return entries in single precision, with sums over the last axis as good as in double.

    What rounding changes is carried on to the next smaller entry of the row; the smallest, whose
    own rounding is left, is exact to 6e-8 of itself.

    Args:
        values: Entries, the last axis along a row.
    """
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")
    sorted_values = np.take_along_axis(values, order, axis=-1)
    carried, found = np.zeros(values.shape[:-1]), np.zeros(values.shape, dtype=np.float32)
    for place in range(values.shape[-1]):
        wanted = sorted_values[..., place] + carried
        kept = sorted_values[..., place] != 0.0  # padding stays
        found[..., place] = np.where(kept, wanted, 0.0)
        carried = np.where(kept, wanted - found[..., place], carried)
    out = np.empty_like(found)
    np.put_along_axis(out, order, found, axis=-1)
    return out


def _with_padding(x: FloatArray) -> FloatArray:
    """Return x with a row of zeros at its end."""
    padded = np.zeros((len(x) + 1, x.shape[1]))
    padded[:-1] = x
    return padded
