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

from dolfinx_llg.la.matrices import block_vector, component_groups, scipy_rows
from dolfinx_llg.la.wide import is_wide, wide_product

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
        components: Scalar P of each component, of one shape and distribution; they stay the
            caller's.

    Attributes:
        scalars: Scalar P of each component; equal ones are one object.
        sizes: Sizes of P, ((local rows, all rows), (local columns, all columns)).
        comm: Its ranks.
        dense: Whether P is so full that it is worked with as a dense matrix.
        seconds: Wall time spent in P and its transpose since the object was made.

    Note: Collective. Copies of P are made when a vector is first prolonged or restricted.
    """

    def __init__(self, components: Sequence[PETSc.Mat]) -> None:
        self._bs, self.comm = len(components), components[0].comm
        self.seconds = 0.0
        self.scalars = _merged(components)
        rows, columns = components[0].getSizes()
        self.sizes = tuple((self._bs * local, self._bs * whole) for local, whole in (rows, columns))
        met = np.zeros(columns[1], dtype=bool)
        stored = 0
        for part, members in component_groups(self.scalars):
            _, indices, values = part.getValuesCSR()
            met[indices[values != 0.0]] = True
            stored += len(members) * int(np.count_nonzero(values))
            del indices, values
        self._columns = np.flatnonzero(met).astype(np.int32)
        full = self._bs * rows[0] * len(self._columns)
        stored, full = np.sum(self.comm.tompi4py().allgather((stored, full)), axis=0)
        self.dense = bool(stored > _DENSE * full)
        coarse = self.coarse_vector()
        where = PETSc.IS().createBlock(self._bs, self._columns, comm=PETSc.COMM_SELF)
        self._near = PETSc.Vec().createSeq(self._bs * len(self._columns), comm=PETSc.COMM_SELF)
        self._scatter = PETSc.Scatter().create(coarse, where, self._near, None)
        for item in (coarse, where):
            item.destroy()
        self._made: list[_DenseFactor | _SparseFactor] | None = None

    @property
    def _factors(self) -> list[_DenseFactor | _SparseFactor]:
        """Local rows of P as they are multiplied (of this rank alone)."""
        if self._made is None:
            kind = _DenseFactor if self.dense else _SparseFactor
            self._made = [
                kind(self._own_rows(part), members)
                for part, members in component_groups(self.scalars)
            ]
        return self._made

    def _own_rows(self, part: PETSc.Mat) -> sp.csr_matrix:
        """Return the rows of this rank without zeros, with the columns that it sees."""
        table = scipy_rows(part)
        table.eliminate_zeros()
        place = np.searchsorted(self._columns, table.indices).astype(np.int32)
        shape = (table.shape[0], len(self._columns))
        return sp.csr_matrix((table.data, place, table.indptr), shape=shape)

    def fine_vector(self) -> PETSc.Vec:
        """Return a new vector of the fine space. Collective."""
        return block_vector(self.sizes[0], self._bs, self.comm)

    def coarse_vector(self) -> PETSc.Vec:
        """Return a new vector of coefficients. Collective."""
        return block_vector(self.sizes[1], self._bs, self.comm)

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
        for item in (*(self._made or []), self._scatter, self._near):
            item.destroy()

    def project(
        self, fine: PETSc.Mat, left: PETSc.Mat, right: PETSc.Mat | None = None
    ) -> PETSc.Mat:
        """Return left^T fine right of scalar P (right: left), AIJ. Collective.

        By dense products: of the whole where P is nearly full, of pieces where a row of it has many
        entries but not most.
        """
        right = left if right is None else right
        if self.dense and left is right:
            dense = left.convert("dense", PETSc.Mat())
            image = fine.matMult(dense)
            product = dense.transposeMatMult(image)
            out = product.convert("aij", PETSc.Mat())
            for item in (dense, image, product):
                item.destroy()
            return out
        if is_wide(left) and is_wide(right):
            return wide_product(fine, left, right)
        # In two products: 0.6 of the time of PETSc's PtAP.
        image = fine.matMult(right)
        product = left.transposeMatMult(image)
        image.destroy()
        return product

    def average(self, fine: PETSc.Mat, components: Sequence[int]) -> PETSc.Mat:
        """Return the average of P_c^T fine P_c over some components c, AIJ (collective)."""
        parts = [self.scalars[c] for c in components]
        total: PETSc.Mat | None = None
        for part in {id(part): part for part in parts}.values():
            product = self.project(fine, part)
            product.scale(sum(other is part for other in parts) / len(parts))
            if total is None:
                total = product
            else:
                total.axpy(1.0, product, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
                product.destroy()
        assert total is not None
        return total


def _merged(components: Sequence[PETSc.Mat]) -> list[PETSc.Mat]:
    """Return the components, equal ones as one object. Collective."""
    parts: list[PETSc.Mat] = []
    for component in components:
        part = component
        for other in {id(part): part for part in parts}.values():
            if other is part or other.equal(part):
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
    size = prolongation.sizes[1]
    context = _Product(fine, prolongation)
    matrix = PETSc.Mat().createPython((size, size), context, prolongation.comm)
    matrix.setUp()
    return matrix


def fine_of(matrix: PETSc.Mat) -> PETSc.Mat:
    """Return the fine matrix A of a ``product``."""
    context: Any = matrix.getPythonContext()
    return context.fine
