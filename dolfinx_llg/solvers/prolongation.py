# SPDX-License-Identifier: LGPL-3.0-or-later
r"""A prolongation as an operator, and ``P^T A P`` applied factor by factor.

What depends on m in V_H is never formed as a triple product: see ``coarse_operators``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.la.matrices import component_groups

__all__ = ["Prolongation", "fine_of", "product"]

Array = npt.NDArray[np.float64]

_DENSE = 0.7
"""Share of nonzeros from which a dense local P (0.8 ns an entry) is faster than a sparse one
(1.1 ns a nonzero); both are read once for all components that share it."""


class _DenseFactor:
    """Local rows of a scalar P as a dense array, for some components at once."""

    def __init__(self, part: sp.csr_matrix, members: list[int]) -> None:
        self._table, self._members = np.ascontiguousarray(part.toarray()), members

    def prolong(self, near: Array, out: Array) -> None:
        """Set the members' columns of out, shape (rows, bs), from those of near."""
        out[:, self._members] = (near[:, self._members].T @ self._table.T).T

    def restrict(self, source: Array, near: Array) -> None:
        """Set the members' columns of near to the transpose's products with those of source."""
        near[:, self._members] = (source[:, self._members].T @ self._table).T

    def destroy(self) -> None:
        """Nothing of it is PETSc's."""


class _SparseFactor:
    """Local rows of a scalar P as a sparse matrix, multiplied with a few dense columns.

    A quarter to an eighth of the time of the matrix of the vector space, whose indices and entries
    are read anew for each component.
    """

    def __init__(self, part: sp.csr_matrix, members: list[int]) -> None:
        self._members = members
        csr = (part.indptr, part.indices, part.data)
        self._P = PETSc.Mat().createAIJ(part.shape, csr=csr, comm=PETSc.COMM_SELF)
        self._P.assemble()
        self._near, self._far = (
            PETSc.Mat().createDense((n, len(members)), comm=PETSc.COMM_SELF)
            for n in reversed(part.shape)
        )
        for columns in (self._near, self._far):
            columns.setUp()
            columns.assemble()
        self._prolonged = self._P.matMult(self._near)
        self._restricted = self._P.transposeMatMult(self._far)

    def prolong(self, near: Array, out: Array) -> None:
        """Set the members' columns of out, shape (rows, bs), from those of near."""
        self._near.getDenseArray()[:] = near[:, self._members]
        self._P.matMult(self._near, result=self._prolonged)
        out[:, self._members] = self._prolonged.getDenseArray(readonly=True)

    def restrict(self, source: Array, near: Array) -> None:
        """Set the members' columns of near to the transpose's products with those of source."""
        self._far.getDenseArray()[:] = source[:, self._members]
        self._P.transposeMatMult(self._far, result=self._restricted)
        near[:, self._members] = self._restricted.getDenseArray(readonly=True)

    def destroy(self) -> None:
        """Free all matrices."""
        for item in (self._prolonged, self._restricted, self._near, self._far, self._P):
            item.destroy()


class Prolongation:
    """P and its transpose on the rows of a rank, each scalar P read once for all components.

    Args:
        P: Matrix of the vector space, the components of a node one after the other.
        bs: Components.

    Attributes:
        P: The matrix.
        scalars: Local rows of the scalar P of each component; equal ones are one object.
        dense: Whether P is so full that it is worked with as a dense matrix.
        seconds: Wall time spent in P and its transpose since the object was made.
    """

    def __init__(self, P: PETSc.Mat, bs: int) -> None:
        self.P, self._bs = P, bs
        self.seconds = 0.0
        self.scalars = _component_parts(P, bs)
        stored = sum(int(part.nnz) for part in self.scalars)
        columns = np.unique(np.concatenate([part.indices for part in self.scalars]))
        full = sum(part.shape[0] for part in self.scalars) * len(columns)
        stored, full = np.sum(P.comm.tompi4py().allgather((stored, full)), axis=0)
        self.dense = bool(stored > _DENSE * full)
        kind = _DenseFactor if self.dense else _SparseFactor
        self._factors = [
            kind(part[:, columns], members) for part, members in component_groups(self.scalars)
        ]
        coarse = P.createVecRight()
        where = PETSc.IS().createBlock(bs, columns.astype(np.int32), comm=PETSc.COMM_SELF)
        self._near = PETSc.Vec().createSeq(bs * len(columns), comm=PETSc.COMM_SELF)
        self._scatter = PETSc.Scatter().create(coarse, where, self._near, None)
        for item in (coarse, where):
            item.destroy()

    def prolong(self, coefficients: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = P coefficients. Collective."""
        begin = time.perf_counter()
        self._scatter.scatter(coefficients, self._near)
        near = self._near.getArray(readonly=True).reshape(-1, self._bs)
        target = out.getArray().reshape(-1, self._bs)
        for factor in self._factors:
            factor.prolong(near, target)
        self.seconds += time.perf_counter() - begin

    def restrict(self, residual: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = P^T residual. Collective."""
        begin = time.perf_counter()
        source = residual.getArray(readonly=True).reshape(-1, self._bs)
        near = self._near.getArray().reshape(-1, self._bs)
        for factor in self._factors:
            factor.restrict(source, near)
        out.set(0.0)
        self._scatter.scatter(
            self._near, out, addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE
        )
        self.seconds += time.perf_counter() - begin

    def destroy(self) -> None:
        """Free the work space, not P. Collective."""
        for item in (*self._factors, self._scatter, self._near):
            item.destroy()

    def project(self, fine: PETSc.Mat, scalar: PETSc.Mat) -> PETSc.Mat:
        """Return scalar^T fine scalar, AIJ, by dense products where P is nearly full."""
        if not self.dense:  # in two products: 0.6 of the time of PETSc's PtAP
            image = fine.matMult(scalar)
            product = scalar.transposeMatMult(image)
            image.destroy()
            return product
        dense = scalar.convert("dense", PETSc.Mat())
        image = fine.matMult(dense)
        product = dense.transposeMatMult(image)
        out = product.convert("aij", PETSc.Mat())
        for item in (dense, image, product):
            item.destroy()
        return out

    def scalar(self, part: sp.csr_matrix) -> PETSc.Mat:
        """Return one of ``scalars`` as a PETSc matrix."""
        rows, columns = (tuple(n // self._bs for n in pair) for pair in self.P.getSizes())
        csr = (part.indptr, part.indices, part.data)
        matrix = PETSc.Mat().createAIJ((rows, columns), csr=csr, comm=self.P.comm)
        matrix.assemble()
        return matrix

    def average(self, fine: PETSc.Mat, components: Sequence[int]) -> PETSc.Mat:
        """Return the average of P_c^T fine P_c over some components c, AIJ (collective)."""
        parts = [self.scalars[c] for c in components]
        total: PETSc.Mat | None = None
        for part in {id(part): part for part in parts}.values():
            scalar = self.scalar(part)
            product = self.project(fine, scalar)
            scalar.destroy()
            product.scale(sum(other is part for other in parts) / len(parts))
            if total is None:
                total = product
            else:
                total.axpy(1.0, product, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
                product.destroy()
        assert total is not None
        return total


def _component_parts(P: PETSc.Mat, bs: int) -> list[sp.csr_matrix]:
    """Return the local rows of each component's scalar P; equal ones are one object."""
    indptr, columns, values = P.getValuesCSR()
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    shape = ((len(indptr) - 1) // bs, P.getSize()[1] // bs)
    parts: list[sp.csr_matrix] = []
    comm = P.comm.tompi4py()
    for component in range(bs):
        mine = (rows % bs == component) & (values != 0.0)
        part = sp.csr_matrix((values[mine], (rows[mine] // bs, columns[mine] // bs)), shape=shape)
        for other in parts:
            same = other.nnz == part.nnz and (
                np.array_equal(other.indptr, part.indptr)
                and np.array_equal(other.indices, part.indices)
                and np.array_equal(other.data, part.data)
            )
            if all(comm.allgather(same)):
                part = other
                break
        parts.append(part)
    return parts


class _Product:
    """Context of the PETSc matrix P^T A P; A is a fine matrix that others may assemble anew."""

    def __init__(self, fine: PETSc.Mat, prolongation: Prolongation) -> None:
        self.fine, self.prolongation = fine, prolongation
        self._x, self._y = fine.createVecs()

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y = P^T A P x (called by PETSc)."""
        self.prolongation.prolong(x, self._x)
        self.fine.mult(self._x, self._y)
        self.prolongation.restrict(self._y, y)

    def duplicate(self, matrix: PETSc.Mat, operation: Any) -> PETSc.Mat:
        """Return a product around a fine matrix of its own (called by PETSc)."""
        return product(self.fine.duplicate(copy=True), self.prolongation)

    def copy(self, matrix: PETSc.Mat, other: PETSc.Mat, structure: Any) -> None:
        """Copy the fine matrix into that of another product (called by PETSc)."""
        self.fine.copy(fine_of(other), PETSc.Mat.Structure.SAME_NONZERO_PATTERN)

    def destroy(self, matrix: PETSc.Mat | None = None) -> None:
        """Free the work space (PETSc calls it with its matrix). Collective."""
        for vector in (self._x, self._y):
            vector.destroy()


def product(fine: PETSc.Mat, prolongation: Prolongation) -> PETSc.Mat:
    """Return P^T A P as a PETSc matrix without entries, around a matrix A that may change."""
    P = prolongation.P
    size = P.getSizes()[1]
    matrix = PETSc.Mat().createPython((size, size), _Product(fine, prolongation), P.comm)
    matrix.setUp()
    return matrix


def fine_of(matrix: PETSc.Mat) -> PETSc.Mat:
    """Return the fine matrix A of a ``product``."""
    context: Any = matrix.getPythonContext()
    return context.fine
