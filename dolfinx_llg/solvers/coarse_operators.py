# SPDX-License-Identifier: LGPL-3.0-or-later
r"""CoarseOperators: a step in a subspace, ``P^T A(m) P`` applied factor by factor.

The triple product of a block that depends on m costs far more than the solve it serves: at
:math:`N_c = 16`, :math:`h = 2^{-7}` and 4 layers one product takes 2.3 s, one application of its
three factors 0.008 s, and GMRES with extrapolated starts needs 1 to 11 of these. So the matrix of a
step is assembled on the fine mesh, as it would be without a basis, and only applied to prolonged
vectors. What is assembled in V_H is the scalar operator of the preconditioner, once for each dt.
"""

from __future__ import annotations

import time
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dolfinx import fem

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.matrices import component_groups
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.operators import SAME, StepOperators

__all__ = ["CoarseOperators", "is_spread"]

_SPREAD = 4.0
"""Entries per row of P above which factors are cheaper than triple products (periodic: 1)."""

_DENSE = 0.3
"""Share of nonzeros from which a dense local P, read once for all components (0.8 ns an entry), is
faster than the sparse one of the vector space (2.1 ns for each scalar nonzero)."""


def is_spread(basis: GalerkinBasis) -> bool:
    """Whether the basis functions overlap so much that products P^T A P do not pay (collective)."""
    entries = basis.P.getInfo(PETSc.Mat.InfoType.GLOBAL_SUM)["nz_used"]
    return bool(entries > _SPREAD * basis.P.getSize()[0])


class _Prolongation:
    """P and its transpose, with a dense local part for each component where P is nearly full."""

    def __init__(self, basis: GalerkinBasis) -> None:
        self.P = P = basis.P
        self.seconds = 0.0
        self.scalars = _component_parts(basis)
        stored = sum(int(part.nnz) for part in self.scalars)
        full = sum(part.shape[0] * len(np.unique(part.indices)) for part in self.scalars)
        comm = P.comm.tompi4py()
        stored, full = np.sum(comm.allgather((stored, full)), axis=0)
        self._dense: list[tuple[npt.NDArray[np.float64], list[int]]] | None = None
        if stored > _DENSE * full:
            self._make_dense(basis.bs)

    def _make_dense(self, bs: int) -> None:
        columns = np.unique(np.concatenate([part.indices for part in self.scalars]))
        self._dense = [
            (np.ascontiguousarray(part[:, columns].toarray()), members)
            for part, members in component_groups(self.scalars)
        ]
        self._bs = bs
        coarse = self.P.createVecRight()
        where = PETSc.IS().createBlock(bs, columns.astype(np.int32), comm=PETSc.COMM_SELF)
        self._near = PETSc.Vec().createSeq(bs * len(columns), comm=PETSc.COMM_SELF)
        self._scatter = PETSc.Scatter().create(coarse, where, self._near, None)

    def prolong(self, coefficients: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = P coefficients."""
        begin = time.perf_counter()
        if self._dense is None:
            self.P.mult(coefficients, out)
        else:
            self._prolong_dense(coefficients, out)
        self.seconds += time.perf_counter() - begin

    def _prolong_dense(self, coefficients: PETSc.Vec, out: PETSc.Vec) -> None:
        assert self._dense is not None
        self._scatter.scatter(coefficients, self._near)
        near = self._near.getArray(readonly=True).reshape(-1, self._bs)
        target = out.getArray().reshape(-1, self._bs)
        for table, members in self._dense:
            target[:, members] = (near[:, members].T @ table.T).T

    def restrict(self, residual: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = P^T residual."""
        begin = time.perf_counter()
        if self._dense is None:
            self.P.multTranspose(residual, out)
        else:
            self._restrict_dense(residual, out)
        self.seconds += time.perf_counter() - begin

    def _restrict_dense(self, residual: PETSc.Vec, out: PETSc.Vec) -> None:
        assert self._dense is not None
        source = residual.getArray(readonly=True).reshape(-1, self._bs)
        near = self._near.getArray().reshape(-1, self._bs)
        for table, members in self._dense:
            near[:, members] = (source[:, members].T @ table).T
        out.set(0.0)
        self._scatter.scatter(
            self._near, out, addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE
        )

    def project(self, fine: PETSc.Mat, scalar: PETSc.Mat) -> PETSc.Mat:
        """Return scalar^T fine scalar, AIJ, by dense products where P is nearly full."""
        if self._dense is None:  # in two products: 0.6 of the time of PETSc's PtAP
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


def _component_parts(basis: GalerkinBasis) -> list[sp.csr_matrix]:
    """Return the local rows of each component's scalar P; equal ones are one object."""
    indptr, columns, values = basis.P.getValuesCSR()
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    shape = ((len(indptr) - 1) // basis.bs, basis.P.getSize()[1] // basis.bs)
    parts: list[sp.csr_matrix] = []
    comm = basis.P.comm.tompi4py()
    for component in range(basis.bs):
        mine = (rows % basis.bs == component) & (values != 0.0)
        part = sp.csr_matrix(
            (values[mine], (rows[mine] // basis.bs, columns[mine] // basis.bs)), shape=shape
        )
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

    def __init__(self, fine: PETSc.Mat, prolongation: _Prolongation) -> None:
        self.fine, self.prolongation = fine, prolongation
        self._x, self._y = fine.createVecs()

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y = P^T A P x (called by PETSc)."""
        self.prolongation.prolong(x, self._x)
        self.fine.mult(self._x, self._y)
        self.prolongation.restrict(self._y, y)

    def duplicate(self, matrix: PETSc.Mat, operation: Any) -> PETSc.Mat:
        """Return a product around a fine matrix of its own (called by PETSc)."""
        return _product(self.fine.duplicate(copy=True), self.prolongation)

    def copy(self, matrix: PETSc.Mat, other: PETSc.Mat, structure: Any) -> None:
        """Copy the fine matrix into that of another product (called by PETSc)."""
        self.fine.copy(_fine(other), SAME)


def _product(fine: PETSc.Mat, prolongation: _Prolongation) -> PETSc.Mat:
    P = prolongation.P
    size = P.getSizes()[1]
    matrix = PETSc.Mat().createPython((size, size), _Product(fine, prolongation), P.comm)
    matrix.setUp()
    return matrix


def _fine(product: PETSc.Mat) -> PETSc.Mat:
    context: Any = product.getPythonContext()
    return context.fine


class CoarseOperators:
    """The counterpart of ``StepOperators`` in a subspace of overlapping functions.

    Args:
        step: The step.
        basis: Subspace in which the new iterate is sought.

    Attributes:
        A: Operator of the current step in V_H, a PETSc matrix without entries.
        b: Right side of the current step, in V_H.
        fine: The parts of the step on the fine mesh.
        prolongation: P and its parts by component.

    Raises:
        ValueError: If the basis does not fit the space.
    """

    def __init__(self, step: WeakStep, basis: GalerkinBasis) -> None:
        basis.check_space(step.m.function_space)
        self.step, self.basis = step, basis
        self.fine = StepOperators(step, None, blocked=True)
        self.prolongation = _Prolongation(basis)
        self.A = _product(self.fine.A, self.prolongation)
        self.b = basis.P.createVecRight()
        self._u_h, self._F_h = self.fine.A.createVecs()

    @property
    def seconds(self) -> float:
        """Wall time spent in assembly since the object was made."""
        return self.fine.seconds

    @property
    def seconds_projection(self) -> float:
        """Wall time spent in P and P^T since the object was made; a part of every solve."""
        return self.prolongation.seconds

    @property
    def dofs(self) -> int:
        """Number of unknowns."""
        return int(np.int64(self.b.getSize()))

    def reassemble(self) -> None:
        """Assemble the constant blocks anew, after their data (kappa, ...) have changed."""
        self.fine.reassemble()

    # -- between the fine space and the solver's ---------------------------------------------------

    def gather(self, function: fem.Function, out: PETSc.Vec) -> None:
        """Set out to the coefficients of a fine function."""
        self._u_h.array[:] = function.x.array[: self._u_h.getLocalSize()]
        self.basis.coefficients(self._u_h, out)

    def scatter(self, coefficients: PETSc.Vec, function: fem.Function) -> None:
        """Set a fine function, ghosts included, from coefficients."""
        self.prolongation.prolong(coefficients, self._u_h)
        self.fine.scatter(self._u_h, function)

    def accept(self, coefficients: PETSc.Vec) -> None:
        """Take the coefficients of the accepted iterate: nothing is kept of them here."""

    # -- the parts of a step -----------------------------------------------------------------------

    def set_time_step(self, dt: float) -> None:
        """Form the weighted sum of the constant blocks for a new dt."""
        self.fine.set_time_step(dt)

    def assemble(self, dt: float) -> None:
        """Assemble A and b of a linear step, or the linear part of a nonlinear one."""
        self.fine.assemble(dt)
        self.prolongation.restrict(self.fine.b, self.b)

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Set F = linear u + N(u) - b."""
        self.prolongation.prolong(u, self._u_h)
        self.fine.nonlinear_residual(_fine(linear), self._u_h, self._F_h)
        self.prolongation.restrict(self._F_h, F)

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Set A = linear + N'(u)."""
        self.prolongation.prolong(u, self._u_h)
        self.fine.newton_matrix(_fine(linear), self._u_h)

    # -- what the preconditioner is made of --------------------------------------------------------

    def scalar_operator(self, dt: float, *, stretched: bool) -> tuple[PETSc.Mat, float]:
        """Return the projected scalar operator, averaged over the components' bases.

        Args and returns: as for ``StepOperators.scalar_operator``.
        """
        fine, _ = self.fine.scalar_operator(dt, stretched=stretched)
        total = self._projected(fine)
        fine.destroy()
        mass = self.step.constant[0].weight(dt) * self._first_trace()
        return total, _trace(total) / mass - 1.0

    def _first_trace(self) -> float:
        """Trace of the projection of the first block, averaged over the components."""
        block = self._component(self.fine.blocks[0])
        traces: dict[int, float] = {}
        parts = self.prolongation.scalars
        for part in parts:
            if id(part) not in traces:
                scalar = self.scalar(part)
                image = block.matMult(scalar)
                indptr, columns, values = image.getValuesCSR()
                rows = sp.csr_matrix((values, columns, indptr), shape=part.shape)
                local = float(part.multiply(rows).sum())
                traces[id(part)] = sum(scalar.comm.tompi4py().allgather(local))
                image.destroy()
                scalar.destroy()
        block.destroy()
        return sum(traces[id(part)] for part in parts) / len(parts)

    def _component(self, block: PETSc.Mat) -> PETSc.Mat:
        """Return the first diagonal component block of a fine matrix."""
        aij = PETSc.Mat()
        block.convert("aij", aij)
        start, end = aij.getOwnershipRange()
        bs = self.basis.bs
        rows = PETSc.IS().createStride((end - start) // bs, start, bs, aij.comm)
        part = aij.createSubMatrix(rows, rows)
        rows.destroy()
        aij.destroy()
        return part

    def _projected(self, fine: PETSc.Mat) -> PETSc.Mat:
        """Return the average of P_c^T fine P_c over the components."""
        parts = self.prolongation.scalars
        total: PETSc.Mat | None = None
        for part in {id(part): part for part in parts}.values():
            scalar = self.scalar(part)
            product = self.prolongation.project(fine, scalar)
            scalar.destroy()
            product.scale(sum(other is part for other in parts) / len(parts))
            if total is None:
                total = product
            else:
                total.axpy(1.0, product, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
                product.destroy()
        assert total is not None
        return total

    def scalar(self, part: sp.csr_matrix) -> PETSc.Mat:
        """Return one of ``prolongation.scalars`` as a PETSc matrix."""
        bs = self.basis.bs
        rows, columns = (tuple(n // bs for n in pair) for pair in self.basis.P.getSizes())
        csr = (part.indptr, part.indices, part.data)
        matrix = PETSc.Mat().createAIJ((rows, columns), csr=csr, comm=self.basis.P.comm)
        matrix.assemble()
        return matrix


def _trace(matrix: PETSc.Mat) -> float:
    diagonal = matrix.getDiagonal()
    total = float(diagonal.sum())
    diagonal.destroy()
    return total
