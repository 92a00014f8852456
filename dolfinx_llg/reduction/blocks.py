# SPDX-License-Identifier: LGPL-3.0-or-later
"""The constant blocks of a step in a coarse space, component by component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.la.matrices import scipy_rows
from dolfinx_llg.solvers.coarse_operators import CoarseOperators

__all__ = ["CoarseBlocks", "apply", "handy", "project_blocks", "weighted"]

FloatArray = npt.NDArray[np.float64]
Parts = dict[tuple[int, int], sp.csr_matrix]


@dataclass(frozen=True)
class CoarseBlocks:
    """Constant blocks of a step, projected: for each its nonzero component blocks (own rows).

    Attributes:
        blocks: One dictionary (row component, column component) -> matrix for each block.
        stretched: The diagonal ones of the blocks' ``stretched`` forms (None: the blocks').
        sizes: Local and global number of scalar functions.
    """

    blocks: list[Parts]
    stretched: list[Parts | None]
    sizes: tuple[int, int]


def project_blocks(coarse: CoarseOperators) -> CoarseBlocks:
    """Project the constant blocks of a step in V_H component by component (collective)."""
    fine = coarse.fine
    blocks = [_project_parts(coarse, block) for block in fine.blocks]
    stretched: list[Parts | None] = []
    for compiled in fine.stretched_forms:
        if compiled is None:
            stretched.append(None)
            continue
        matrix = fine.assemble_block(compiled)
        stretched.append(_project_parts(coarse, matrix))
        matrix.destroy()
    size = coarse.basis.sizes[1]
    return CoarseBlocks(blocks, stretched, (size[0] // 3, size[1] // 3))


def _project_parts(coarse: CoarseOperators, block: PETSc.Mat) -> Parts:
    aij = PETSc.Mat()
    block.convert("aij", aij)
    start, end = aij.getOwnershipRange()
    index = [PETSc.IS().createStride((end - start) // 3, start + k, 3, aij.comm) for k in range(3)]
    parts = coarse.prolongation.scalars
    done: list[tuple[PETSc.Mat, int, int, sp.csr_matrix]] = []
    found: Parts = {}
    for i in range(3):
        for j in range(3):
            A = aij.createSubMatrix(index[i], index[j])
            if A.norm(PETSc.NormType.INFINITY) == 0.0:
                A.destroy()
                continue
            twin = _same(done, A, parts[i], parts[j], parts)
            if twin is None:
                product = coarse.prolongation.project(A, parts[i], parts[j])
                twin = scipy_rows(product)
                product.destroy()
                done.append((A, i, j, twin))
            else:
                A.destroy()
            found[i, j] = twin
    for A, *_ in done:
        A.destroy()
    aij.destroy()
    return found


def _same(
    done: list[tuple[PETSc.Mat, int, int, sp.csr_matrix]],
    A: PETSc.Mat,
    left: PETSc.Mat,
    right: PETSc.Mat,
    parts: list[PETSc.Mat],
) -> sp.csr_matrix | None:
    """Return the product of a block with the same entries, if there is one (collective)."""
    for other, i, j, product in done:
        if parts[i] is not left or parts[j] is not right:
            continue
        mine, theirs = A.getValuesCSR(), other.getValuesCSR()
        same = all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
        if all(A.comm.tompi4py().allgather(same)):
            return product
    return None


def weighted(pairs: list[tuple[float, Parts]]) -> dict[tuple[int, int], Any]:
    """Return the weighted sum of blocks; components that are one object stay one.

    Sums become dense where that is faster (``handy``).
    """
    sums: dict[tuple[int, int], Any] = {}
    known: dict[tuple[int, ...], Any] = {}
    for key in {key for _, parts in pairs for key in parts}:
        members = [(weight, parts[key]) for weight, parts in pairs if key in parts]
        identity = tuple(id(part) for _, part in members)
        if identity not in known:
            known[identity] = handy(sum(weight * part for weight, part in members).tocsr())
        sums[key] = known[identity]
    return sums


def handy(matrix: Any) -> Any:
    """Return a sparse matrix as a dense one if it is a third full or more: it is faster then."""
    full = 3 * matrix.nnz >= matrix.shape[0] * matrix.shape[1]
    return matrix.toarray() if full else matrix


def apply(parts: Mapping[tuple[int, int], Any], c: FloatArray, rows: int) -> FloatArray:
    """Return blocks times coefficients, shape (rows, 3); a dense matrix is read once."""
    out = np.zeros((rows, 3))
    columns = np.ascontiguousarray(c.T)
    for number, matrix in {id(part): part for part in parts.values()}.items():
        keys = [key for key, part in parts.items() if id(part) == number]
        if sp.issparse(matrix):  # SciPy takes longer for two columns at once than for three alone
            for i, j in keys:
                out[:, i] += matrix @ columns[j]
            continue
        products = columns[[j for _, j in keys]] @ matrix.T
        for product, (i, _) in zip(products, keys, strict=True):
            out[:, i] += product
    return out
