# SPDX-License-Identifier: LGPL-3.0-or-later
"""Matrices of vector spaces from those of their components."""

import itertools

from petsc4py import PETSc

import numpy as np
import pytest

from dolfinx_llg.la.matrices import interleave

ROWS, COLUMNS = 7, 5
"""Of each rank."""


def scattered(comm, entries, seed):
    """A matrix with about so many entries in each row, at random places on all ranks."""
    rng = np.random.default_rng([seed, comm.rank])
    matrix = PETSc.Mat().create(comm=comm)
    matrix.setSizes(((ROWS, ROWS * comm.size), (COLUMNS, COLUMNS * comm.size)))
    matrix.setType("aij")
    rows = ROWS * comm.rank + np.repeat(np.arange(ROWS, dtype=np.int32), entries)
    columns = rng.integers(0, COLUMNS * comm.size, len(rows), dtype=np.int32)
    matrix.setPreallocationCOO(rows, columns)
    matrix.setValuesCOO(rng.random(len(rows)))
    return matrix


def dense_rows(matrix):
    """The rows of this rank, dense."""
    indptr, columns, values = matrix.getValuesCSR()
    table = np.zeros((len(indptr) - 1, matrix.getSize()[1]))
    table[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), columns] = values
    return table


@pytest.mark.parametrize("entries", [(2, 2, 2), (2, 1, 3), (0, 2), (1,)])
def test_interleave(comm, entries):
    """Row and column c + bs r hold the entries of part c, and no component meets another."""
    parts = [scattered(comm, n, seed) for seed, n in enumerate(entries)]
    bs, whole = len(parts), interleave(parts)
    assert whole.getBlockSizes() == (bs, bs)
    assert whole.getSizes() == tuple(tuple(bs * n for n in sizes) for sizes in parts[0].getSizes())
    table = dense_rows(whole)
    for i, part in enumerate(parts):
        for j in range(bs):
            expected = dense_rows(part) if i == j else 0.0
            assert np.array_equal(
                table[i::bs, j::bs], np.broadcast_to(expected, (ROWS, COLUMNS * comm.size))
            )
    # All components have the union of the patterns, and columns ascend.
    indptr, columns, _ = whole.getValuesCSR()
    lengths = np.diff(indptr)
    for i in range(1, bs):
        assert (lengths[i::bs] == lengths[::bs]).all()
    for a, b in itertools.pairwise(indptr):
        assert (np.diff(columns[a:b]) > 0).all()


def test_interleave_a_repeated_part(comm):
    """One matrix three times: the Kronecker product P (x) I."""
    part = scattered(comm, 2, 9)
    found = dense_rows(interleave([part] * 3))
    assert np.array_equal(found, np.kron(dense_rows(part), np.eye(3)))
