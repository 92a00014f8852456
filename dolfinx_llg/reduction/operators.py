# SPDX-License-Identifier: LGPL-3.0-or-later
r"""ReducedOperators: the matrices and vectors of a step at a cost that does not depend on h.

With x the new iterate in V_H, c its coefficients, and :math:`m = x/|x|` (or x) at the nodes of the
samples, a step solves

.. math::
    \Big(\sum_b w_b P^T B_b P + P_s^T C(m) P_s\Big) c' =
    \sum_b w'_b \big(P^T B_b P\, c + P_s^T B_b^s (m - x)\big) + P_s^T s(m).

The constant blocks are those of the fine mesh, projected once. What depends on m is integrated over
the samples, and of the history only the part outside V_H: it is O(dt), so that dividing it by dt
does not blow up the error of the cubature. P_s = Theta V goes through the modes of coarse cells.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from dolfinx import fem

from dolfinx_llg.algebra import GalerkinBasis
from dolfinx_llg.coarse_operators import CoarseOperators
from dolfinx_llg.multiscale.local_modes import LocalModes
from dolfinx_llg.multiscale.patches import scipy_rows
from dolfinx_llg.operators import SAME, StepOperators
from dolfinx_llg.reduction.samples import SampledStep, Samples
from dolfinx_llg.schemes.step import WeakStep

__all__ = ["CoarseBlocks", "ReducedOperators", "project_blocks"]

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
    size = coarse.basis.P.getSizes()[1]
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
                left, right = coarse.scalar(parts[i]), coarse.scalar(parts[j])
                if parts[i] is parts[j]:
                    product = coarse.prolongation.project(A, left)
                else:
                    product = left.transposeMatMult(A.matMult(right))
                twin = scipy_rows(product)
                for item in (left, right, product):
                    item.destroy()
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
    left: sp.csr_matrix,
    right: sp.csr_matrix,
    parts: list[sp.csr_matrix],
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


class _Prolongation:
    """P_s = Theta V, between coefficients in V_H and the owned nodes of the samples."""

    def __init__(self, modes: LocalModes, samples: Samples, comm: MPI.Intracomm) -> None:
        self._modes, self._theta, self._comm = modes, samples.theta, comm
        self._back = samples.theta.T.tocsr()

    def replicate(self, c: PETSc.Vec) -> FloatArray:
        """Return all coefficients, shape (n_H, 3), on every rank."""
        own = c.getArray(readonly=True)
        if self._comm.size == 1:
            return own.reshape(-1, 3)
        return np.concatenate(self._comm.allgather(own)).reshape(-1, 3)

    def prolong(self, c: FloatArray) -> FloatArray:
        """Return P_s c, shape (nodes, 3)."""
        return np.asarray(self._theta @ self._modes.gather(c))

    def restrict(self, r: FloatArray) -> FloatArray:
        """Return P_s^T r, shape (n_H, 3), of this rank's nodes; sum it over the ranks."""
        return self._modes.spread(self._back @ r)

    def add(self, parts: FloatArray, out: PETSc.Vec) -> None:
        """Add the sum over the ranks of (n_H, 3) arrays to a distributed vector."""
        if self._comm.size > 1:
            total = np.empty_like(parts)
            self._comm.Allreduce(np.ascontiguousarray(parts), total)
            parts = total
        first, last = out.getOwnershipRange()
        out.array[:] += parts.ravel()[first:last]


class _Sum:
    """Context of the PETSc matrix base + P_s^T C P_s."""

    def __init__(self, owner: ReducedOperators, sampled: PETSc.Mat) -> None:
        self.owner, self.sampled = owner, sampled
        self._x, self._y = sampled.createVecs()

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the product with x (called by PETSc)."""
        owner = self.owner
        c = owner.prolongation.replicate(x)
        y.array[:] = owner.apply_base(c).ravel()
        if owner.has_varying:
            self._x.array[:] = owner.prolongation.prolong(c).ravel()
            self.sampled.mult(self._x, self._y)
            r = self._y.getArray(readonly=True).reshape(-1, 3)
            owner.prolongation.add(owner.prolongation.restrict(r), y)

    def duplicate(self, matrix: PETSc.Mat, operation: Any) -> PETSc.Mat:
        """Return a sum around a matrix of its own on the samples (called by PETSc)."""
        return _operator(self.owner, self.sampled.duplicate(copy=True))

    def copy(self, matrix: PETSc.Mat, other: PETSc.Mat, structure: Any) -> None:
        """Copy the matrix on the samples into that of another sum (called by PETSc)."""
        context: Any = other.getPythonContext()
        self.sampled.copy(context.sampled, SAME)


def _operator(owner: ReducedOperators, sampled: PETSc.Mat) -> PETSc.Mat:
    size = tuple(3 * n for n in owner.blocks.sizes)
    matrix = PETSc.Mat().createPython((size, size), _Sum(owner, sampled), owner.comm)
    matrix.setUp()
    return matrix


class ReducedOperators:
    """The counterpart of ``StepOperators`` for a step on samples.

    Args:
        basis: The coarse space.
        modes: Its modes on coarse cells.
        samples: The samples.
        sampled: The step on them.
        blocks: The constant blocks.
        step: The step on the fine mesh, for the weights of the blocks.

    Attributes:
        A: Operator of the current step, a PETSc matrix without entries.
        b: Right side of the current step.
        c: Coefficients of the last iterate, replicated, shape (n_H, 3).
        seconds: Wall time spent in assembly since the object was made.
    """

    def __init__(
        self,
        basis: GalerkinBasis,
        modes: LocalModes,
        samples: Samples,
        sampled: SampledStep,
        blocks: CoarseBlocks,
        step: WeakStep,
    ) -> None:
        self.basis, self.blocks, self.step = basis, blocks, sampled.step
        self._weights, self._remainder = step.constant, sampled.remainder
        self.comm = modes.hierarchy.comm
        self.prolongation = _Prolongation(modes, samples, self.comm)
        self.sampled = StepOperators(sampled.step, None, blocked=True)
        self.has_varying = sampled.step.varying is not None or sampled.step.nonlinear is not None
        self.A = _operator(self, self.sampled.A)
        self.b = basis.P.createVecRight()
        self.c = np.zeros((blocks.sizes[1], 3))
        self._base: Parts = {}
        self._seconds = 0.0
        self._x, self._y = self.sampled.A.createVecs()

    @property
    def seconds(self) -> float:
        """Wall time spent in assembly since the object was made."""
        return self._seconds

    @property
    def dofs(self) -> int:
        """Number of unknowns."""
        return int(self.b.getSize())

    def reassemble(self) -> None:
        """Refuse changed data: the projected blocks are those of the training."""
        raise RuntimeError("the data of implicit terms changed: reduce the step anew")

    # -- between the samples and the coarse space --------------------------------------------------

    def start(self, c: FloatArray) -> None:
        """Set the coefficients of the magnetization with which a run starts, shape (n_H, 3)."""
        self.c = c

    def gather(self, function: fem.Function, out: PETSc.Vec) -> None:
        """Set out to the coefficients of the last iterate (m is known on the samples only)."""
        first, last = out.getOwnershipRange()
        out.array[:] = self.c.ravel()[first:last]

    def scatter(self, coefficients: PETSc.Vec, function: fem.Function) -> None:
        """Set a function on the samples from coefficients, and remember these."""
        self.c = self.prolongation.replicate(coefficients).copy()
        values = self.prolongation.prolong(self.c)
        function.x.array[: values.size] = values.ravel()
        function.x.scatter_forward()

    # -- the parts of a step -----------------------------------------------------------------------

    def set_time_step(self, dt: float) -> None:
        """Form the weighted sum of the constant blocks for a new dt."""
        self.sampled.set_time_step(dt)
        self._base = _weighted([(b.weight(dt), p) for b, p in self._pairs()])

    def _pairs(self) -> Any:
        return zip(self._weights, self.blocks.blocks, strict=True)

    def apply_base(self, c: FloatArray) -> FloatArray:
        """Return the own rows of the weighted constant blocks times c."""
        return _apply(self._base, c, self.blocks.sizes[0])

    def assemble(self, dt: float) -> None:
        """Assemble A and b of a linear step, or the linear part of a nonlinear one."""
        begin = time.perf_counter()
        n = self._x.getLocalSize()
        inside = self.prolongation.prolong(self.c).ravel()
        self._remainder.x.array[:n] = self.sampled.step.m.x.array[:n] - inside
        self._remainder.x.scatter_forward()
        self.sampled.assemble(dt)
        self.b.set(0.0)
        r = self.sampled.b.getArray(readonly=True).reshape(-1, 3)
        self.prolongation.add(self.prolongation.restrict(r), self.b)
        history = [(b.history_weight(dt), p) for b, p in self._pairs() if b.history is not None]
        for weight, parts in history:
            self.b.array[:] += weight * _apply(parts, self.c, self.blocks.sizes[0]).ravel()
        self._seconds += time.perf_counter() - begin

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Set F = linear u + N(u) - b."""
        begin = time.perf_counter()
        linear.mult(u, F)
        F.axpy(-1.0, self.b)
        values = self.prolongation.prolong(self.prolongation.replicate(u)).ravel()
        self._x.array[:] = values
        self.sampled.nonlinear_part(self._x, self._y)
        r = self._y.getArray(readonly=True).reshape(-1, 3)
        self.prolongation.add(self.prolongation.restrict(r), F)
        self._seconds += time.perf_counter() - begin

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Set A = linear + N'(u)."""
        begin = time.perf_counter()
        self._x.array[:] = self.prolongation.prolong(self.prolongation.replicate(u)).ravel()
        context: Any = linear.getPythonContext()
        self.sampled.newton_matrix(context.sampled, self._x)
        self._seconds += time.perf_counter() - begin

    # -- what the preconditioner is made of --------------------------------------------------------

    def scalar_operator(self, dt: float, *, stretched: bool) -> tuple[PETSc.Mat, float]:
        """Return the average of the diagonal component blocks, and the ratio of traces.

        Args and returns: as for ``StepOperators.scalar_operator``.
        """
        total: sp.csr_matrix | None = None
        traces = []
        first = sum(self.comm.allgather(self.blocks.sizes[0])[: self.comm.rank])
        pairs = zip(self._weights, self.blocks.blocks, self.blocks.stretched, strict=True)
        for block, parts, other in pairs:
            used = other if stretched and other is not None else parts
            mean = block.weight(dt) / 3.0 * sum(used[k, k] for k in range(3) if (k, k) in used)
            total = mean if total is None else total + mean
            own = mean[np.arange(mean.shape[0]), first + np.arange(mean.shape[0])]
            traces.append(sum(self.comm.allgather(float(own.sum()))))
        assert total is not None
        total.sort_indices()
        sizes = self.blocks.sizes
        matrix = PETSc.Mat().createAIJ(
            (sizes, sizes), csr=(total.indptr, total.indices, total.data), comm=self.comm
        )
        matrix.assemble()
        return matrix, sum(traces[1:]) / traces[0]


def _weighted(pairs: list[tuple[float, Parts]]) -> Parts:
    """Return the weighted sum of blocks; components that are one object stay one."""
    sums: Parts = {}
    known: dict[tuple[int, ...], sp.csr_matrix] = {}
    for key in {key for _, parts in pairs for key in parts}:
        members = [(weight, parts[key]) for weight, parts in pairs if key in parts]
        identity = tuple(id(part) for _, part in members)
        if identity not in known:
            known[identity] = sum(weight * part for weight, part in members).tocsr()
        sums[key] = known[identity]
    return sums


def _apply(parts: Parts, c: FloatArray, rows: int) -> FloatArray:
    """Return blocks times coefficients, shape (rows, 3); one matrix is read once."""
    out = np.zeros((rows, 3))
    matrices = {id(part): part for part in parts.values()}
    for number, matrix in matrices.items():
        keys = [key for key, part in parts.items() if id(part) == number]
        product = matrix @ c[:, [j for _, j in keys]]
        for column, (i, _) in enumerate(keys):
            out[:, i] += product[:, column]
    return out
