# SPDX-License-Identifier: LGPL-3.0-or-later
"""The patch problems of a GRPS basis: condensed to the skeleton, or as saddle points."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.condense import CondensedProblem
from dolfinx_llg.grps.hierarchy import Layers
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patches import (
    DofIncidence,
    describe_patch,
    inner_rows,
    patch_cells,
)
from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.la.matrices import LocalRows, column_matrix, coo_matrix, scipy_rows

logger = logging.getLogger(__name__)

__all__ = ["CondensedPatches", "PatchSolver", "SaddlePatches", "cholesky_solve", "direct_solver"]

_SINGULAR = 1e-2
"""Loss of accuracy in a solve that counts as singular; contrast 1e8 stays below 1e-4."""

CHOLESKY = {
    "ksp_type": "preonly",
    "pc_type": "cholesky",
    "pc_factor_mat_solver_type": "mumps",
}

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class PatchSolver(ABC):
    """Solves for the functions of a basis, those that each rank owns.

    Args:
        A: Energy matrix on V_h.
        measurement: Functionals.
        layers: By which cells patches grow, see ``patch_cells``.

    Attributes:
        least_ell: Least layers that a basis can have.
        nested: Whether the spaces of growing ell are nested, so that the steps from one to the
            next are orthogonal in energy.
    """

    least_ell = 0
    nested = True

    def __init__(self, A: PETSc.Mat, measurement: Measurement, layers: Layers = "vertex") -> None:
        self.A, self.measurement, self.layers = A, measurement, layers
        self.comm = measurement.hierarchy.comm
        self._everywhere = measurement.hierarchy.data.num_cells

    @abstractmethod
    def solve(self, ell: int | None, only: Sequence[int] | None = None) -> PETSc.Mat:
        """Return P, shape (n_h, n_H) (collective).

        Args:
            ell: Layers of the patches; None: global.
            only: Global numbers of the functions wanted, the same on all ranks (None: all); the
                other columns of P are empty, or zero at their functionals.
        """

    @abstractmethod
    def renew(
        self, A: PETSc.Mat, elements: FloatArray, changed: BoolArray, ell: int | None
    ) -> tuple[PETSc.Mat, BoolArray]:
        """Take another energy; return the functions whose patches it touches, and which they are.

        Args:
            A: Matrix of the energy.
            elements: Its element matrices on the fine cells of this rank.
            changed: Coarse cells where it differs from the last one, shape (n_coarse,), replicated.
            ell: Layers of the patches, as in the last call of ``solve``.

        Returns:
            P, of which other columns mean nothing, and the mask of its columns, replicated.

        Note: Collective.
        """


class FunctionPatches(PatchSolver):
    """One patch problem for each function: its functional's."""

    def __init__(self, A: PETSc.Mat, measurement: Measurement, layers: Layers = "vertex") -> None:
        super().__init__(A, measurement, layers)
        self._parts: list[tuple[int, IntArray, FloatArray]] = []

    def solve(self, ell: int | None, only: Sequence[int] | None = None) -> PETSc.Mat:
        """Return P, see ``PatchSolver``; the global functions all at once where that can be."""
        own = self.measurement.own_rows()
        rows = [row for row in own if only is None or row in only]
        number = self._everywhere if ell is None else ell
        reach = patch_cells(self.measurement, rows, number, self.layers)
        if only is None and self._is_global(reach):
            if ell is not None:
                logger.info("GRPS: ell = %d reaches the whole mesh, the basis is global", ell)
            whole = self._solve_global()
            if whole is not None:
                return whole
        parts = self._solve_patches(rows, reach)
        if only is None:
            self._parts = parts
        return self._collect(parts, None)

    def _is_global(self, reach: sp.csr_matrix) -> bool:
        return all(self.comm.allgather(reach.nnz == reach.shape[0] * reach.shape[1]))

    def renew(
        self, A: PETSc.Mat, elements: FloatArray, changed: BoolArray, ell: int | None
    ) -> tuple[PETSc.Mat, BoolArray]:
        """Take another energy, see ``PatchSolver``."""
        own = self.measurement.own_rows()
        number = self._everywhere if ell is None else ell
        reach = patch_cells(self.measurement, own, number, self.layers)
        self._take(A, changed)
        if self._is_global(reach):
            return self.solve(ell), np.ones(self.measurement.Psi.getSize()[0], dtype=bool)
        mine = np.asarray(reach @ changed.astype(float)) > 0.0
        met = np.flatnonzero(mine)
        found = self._solve_patches([own[k] for k in met], reach[met])
        for k, part in zip(met, found, strict=True):
            self._parts[k] = part
        touched = np.concatenate(self.comm.allgather(mine))
        return self._collect(found, touched), touched

    @abstractmethod
    def _take(self, A: PETSc.Mat, changed: BoolArray) -> None:
        """Take another energy, which differs on some coarse cells alone (collective)."""

    @abstractmethod
    def _solve_patches(
        self, rows: Sequence[int], reach: sp.csr_matrix
    ) -> list[tuple[int, IntArray, FloatArray]]:
        """Return (functional, unknowns, values) of each function (collective)."""

    @abstractmethod
    def _collect(
        self, parts: list[tuple[int, IntArray, FloatArray]], only: BoolArray | None
    ) -> PETSc.Mat:
        """Return P from the solutions (all, or those of some functions)."""

    def _solve_global(self) -> PETSc.Mat | None:
        """Return P where there is a way for all functions at once (collective)."""
        return None


class CondensedPatches(FunctionPatches):
    """Patch problems on the skeleton of the coarse mesh (``CondensedProblem``), by Cholesky.

    Raises:
        ValueError: If the refinement is too shallow for condensation.
    """

    def __init__(self, A: PETSc.Mat, measurement: Measurement, layers: Layers = "vertex") -> None:
        super().__init__(A, measurement, layers)
        incidence = DofIncidence.of(measurement)
        self.problem = CondensedProblem(A, measurement, incidence)
        self._read_loads()

    def _read_loads(self) -> None:
        self._loads = scipy_rows(self.problem.G.transpose(PETSc.Mat()))
        self._loads.sort_indices()

    def _take(self, A: PETSc.Mat, changed: BoolArray) -> None:
        self.A = A
        self.problem.renew(A, changed)
        self._read_loads()

    def _solve_patches(
        self, rows: Sequence[int], reach: sp.csr_matrix
    ) -> list[tuple[int, IntArray, FloatArray]]:
        problem = self.problem
        free = problem.free_unknowns(reach)
        near = LocalRows(problem.S, free, free)
        first = self.measurement.own_rows().start
        parts, message = [], None
        for k, row in enumerate(rows):
            unknowns = free[k]
            if len(unknowns) == 0:
                parts.append((row, unknowns, np.zeros(0)))
                continue
            load = self._loads[row - first]
            inside = np.isin(load.indices, unknowns)
            right = np.zeros(len(unknowns))
            right[np.searchsorted(unknowns, load.indices[inside])] = -load.data[inside]
            values = cholesky_solve(near.part(unknowns, unknowns), right[:, None])
            if values is None:
                message = (
                    f"{describe_patch(self.measurement.hierarchy.data, reach, k)} is singular: "
                    "the energy is not positive definite on the kernel of the functionals"
                )
                break
            parts.append((row, unknowns, values[:, 0]))
        near.destroy()
        raise_together(self.comm, message)
        return parts

    def _solve_global(self) -> PETSc.Mat:
        """One factorization of the whole skeleton, many right sides."""
        problem = self.problem
        S = problem.S.copy()
        first, last = S.getOwnershipRange()
        gone = first + np.flatnonzero(problem.eliminated[first:last]).astype(np.int32)
        if problem.eliminated.any():
            ones = coo_matrix(S.getSizes(), gone, gone, np.ones(len(gone)), S.comm)
            S.axpy(1.0, ones, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        right = problem.G.copy()
        right.scale(-1.0)
        right = right.convert("dense")
        solution = right.duplicate()
        krylov = direct_solver(S)
        krylov.ksp.matSolve(right, solution)
        failed = krylov.ksp.getConvergedReason() <= 0 or _is_singular(krylov, S)
        krylov.destroy()
        message = (
            "the global problem is singular: the energy is not positive definite on the kernel of "
            "the functionals"
        )
        raise_together(self.comm, message if failed else None)
        return problem.recover(solution.convert("aij"))

    def _collect(
        self, parts: list[tuple[int, IntArray, FloatArray]], only: BoolArray | None
    ) -> PETSc.Mat:
        sizes = (self.problem.S.getSizes()[0], self.measurement.Psi.getSizes()[0])
        return self.problem.recover(column_matrix(sizes, parts, self.A.comm), only)


class SaddlePatches(FunctionPatches):
    """Patch problems on V_h with multipliers, by sparse LU: for refinements of any depth.

    Raises:
        ValueError: If a patch has fewer free dofs than functionals.
    """

    def __init__(self, A: PETSc.Mat, measurement: Measurement, layers: Layers = "vertex") -> None:
        super().__init__(A, measurement, layers)
        self._incidence = DofIncidence.of(measurement)

    def _solve_patches(
        self, rows: Sequence[int], reach: sp.csr_matrix
    ) -> list[tuple[int, IntArray, FloatArray]]:
        free = self._incidence.free_dofs(reach)
        acting = [r.astype(np.int32) for r in inner_rows(self.measurement, reach)]
        message = None
        for k, (dofs, functionals) in enumerate(zip(free, acting, strict=True)):
            if len(dofs) < len(functionals):
                message = (
                    f"{describe_patch(self.measurement.hierarchy.data, reach, k)} has {len(dofs)} "
                    f"free dofs for {len(functionals)} functionals: refine the fine mesh, or "
                    "increase ell"
                )
        raise_together(self.comm, message)
        energies = LocalRows(self.A, free, free)
        functionals_of = LocalRows(self.measurement.Psi, acting, free)
        parts = []
        for k, row in enumerate(rows):
            values = _saddle_solve(
                energies.scipy_part(free[k], free[k]),
                functionals_of.scipy_part(acting[k], free[k]),
                int(np.searchsorted(acting[k], row)),
            )
            if values is None:
                message = (
                    f"{describe_patch(self.measurement.hierarchy.data, reach, k)} is singular: its "
                    "functionals are dependent, or the energy vanishes on their kernel"
                )
                break
            parts.append((row, free[k], values))
        energies.destroy()
        functionals_of.destroy()
        raise_together(self.comm, message)
        return parts

    def _take(self, A: PETSc.Mat, changed: BoolArray) -> None:
        self.A = A

    def _collect(
        self, parts: list[tuple[int, IntArray, FloatArray]], only: BoolArray | None
    ) -> PETSc.Mat:
        sizes = (self.A.getSizes()[0], self.measurement.Psi.getSizes()[0])
        return column_matrix(sizes, parts, self.A.comm)


def direct_solver(matrix: PETSc.Mat) -> Krylov:
    """Return a factorization; the command line reaches it under ``llg_patch_``."""
    matrix.setOption(PETSc.Mat.Option.SPD, True)
    krylov = Krylov(matrix, Options("llg_patch_"), defaults=CHOLESKY)
    krylov.set_up()
    return krylov


def _probe(start: int, end: int) -> FloatArray:
    """Entries start..end of a fixed vector without structure."""
    return np.asarray(np.cos(np.arange(start, end, dtype=np.float64) ** 2))


def _is_singular(krylov: Krylov, matrix: PETSc.Mat) -> bool:
    """Whether S^{-1} S z misses z: round-off lets factorizations of singular matrices pass."""
    z, image = matrix.createVecs()
    z.array[:] = _probe(*z.getOwnershipRange())
    matrix.mult(z, image)
    size = z.norm()
    found = image.duplicate()
    if not krylov.apply(image, found).converged:
        return True
    found.axpy(-1.0, z)
    error = found.norm()
    return not error <= _SINGULAR * size


def cholesky_solve(matrix: PETSc.Mat, right: FloatArray) -> FloatArray | None:
    """Solve a definite sparse system of one rank, shape (n, k); None if it is not definite.

    The matrix is destroyed.
    """
    krylov = direct_solver(matrix)
    sound = not _is_singular(krylov, matrix)
    b = PETSc.Mat().createDense(right.shape, array=np.asfortranarray(right), comm=matrix.comm)
    b.assemble()
    x = b.duplicate()
    if sound:
        krylov.ksp.matSolve(b, x)
        sound = krylov.ksp.getConvergedReason() > 0
    values = np.array(x.getDenseArray())
    for item in (krylov, b, x, matrix):
        item.destroy()
    return values if sound and np.isfinite(values).all() else None


def _saddle_solve(A: sp.csr_matrix, B: sp.csr_matrix, wanted: int) -> FloatArray | None:
    """Minimise x^T A x under B x = e_wanted; None if the problem is singular."""
    scale = float(abs(A).max())
    weight = np.asarray(abs(B).max(axis=1).todense()).ravel()
    if (weight == 0.0).any():
        return None
    rows = sp.diags(1.0 / weight) @ B
    right = np.zeros(A.shape[0] + B.shape[0])
    right[A.shape[0] + wanted] = 1.0 / weight[wanted]
    matrix = sp.bmat([[A / scale, rows.T], [rows, None]], format="csc")
    try:
        factors = spla.splu(matrix)
    except RuntimeError:  # exactly singular
        return None
    probe = _probe(0, matrix.shape[0])
    error = np.linalg.norm(factors.solve(matrix @ probe) - probe)
    return factors.solve(right)[: A.shape[0]] if error <= _SINGULAR * np.sqrt(len(right)) else None
