# SPDX-License-Identifier: LGPL-3.0-or-later
"""PETSc alone: Galerkin bases, options, errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.errors import ConvergenceError

__all__ = [
    "ConvergenceError",
    "GalerkinBasis",
    "check_real_build",
    "component_groups",
    "convergence_error",
    "interleave",
    "options_in_force",
]


def convergence_error(solver: PETSc.KSP | PETSc.SNES, what: str, t: float) -> ConvergenceError:
    """Return the error that tells how a PETSc solver failed on the way to time ``t``."""
    names = {v: k for k, v in vars(type(solver).ConvergedReason).items() if isinstance(v, int)}
    reason = int(solver.getConvergedReason())
    newton = ""
    if isinstance(solver, PETSc.KSP):
        iterations = int(solver.getIterationNumber())
    else:
        iterations = int(solver.getLinearSolveIterations())
        newton = f" in {solver.getIterationNumber()} full Newton steps"
    message = (
        f"{what} did not converge at t = {t:.6g}: {names.get(reason, 'unknown reason')} "
        f"({reason}) after {iterations} Krylov iterations{newton}; try a smaller dt, or other "
        "petsc_options"
    )
    return ConvergenceError(message, reason=reason, iterations=iterations, t=t)


def check_real_build() -> None:
    """Raise RuntimeError unless PETSc is built for real numbers in double precision."""
    if np.dtype(PETSc.ScalarType) != np.float64:
        raise RuntimeError(
            "dolfinx_llg needs a real double-precision PETSc, this one has scalars of type "
            f"{np.dtype(PETSc.ScalarType).name}: install the real build of DOLFINx"
        )


@contextmanager
def options_in_force(prefix: str, options: Mapping[str, Any], used: set[str]) -> Iterator[None]:
    """Put ``options`` into PETSc's database under ``prefix`` for the duration of a block.

    Nested solvers (levels of AMG, splits) read the database only when they are set up, so set-up
    and solves run inside the block too. Options already there (the command line) win; afterwards
    the database is as it was, and ``used`` has gained the keys that PETSc asked for.
    """
    database = PETSc.Options()
    added = [key for key in options if not database.hasName(prefix + key)]
    for key in added:
        database[prefix + key] = options[key]
    try:
        yield
    finally:
        used.update(key for key in options if database.used(prefix + key))
        for key in added:
            database.delValue(prefix + key)


def interleave(parts: Sequence[PETSc.Mat]) -> PETSc.Mat:
    """Return the matrix that applies ``parts[i]`` to component i of vectors of len(parts) blocks.

    The parts have one shape and distribution; the result is an assembled AIJ matrix of that block
    size, with the union of the parts' patterns in each component, so that what is made from it has
    one pattern too. With one matrix repeated it is the Kronecker product P (x) I.
    """
    bs = len(parts)
    tables = {id(part): part.getValuesCSR() for part in parts}
    indptr, columns, values = _one_pattern([tables[id(part)] for part in parts], parts[0])
    counts = np.diff(indptr)
    # Row r of component c starts after the rows before it, each bs times as long as in one part.
    places = np.arange(len(columns)) + (bs - 1) * np.repeat(indptr[:-1].astype(np.int64), counts)
    stride = np.repeat(counts, counts)
    all_columns = np.empty(bs * len(columns), dtype=np.int32)
    all_values = np.empty(bs * len(columns))
    for component, data in enumerate(values):
        all_columns[places], all_values[places] = bs * columns + component, data
        places += stride
    all_indptr = np.concatenate([[0], np.cumsum(np.repeat(counts, bs))]).astype(np.int32)
    sizes = tuple(tuple(bs * n for n in pair) for pair in parts[0].getSizes())
    out = PETSc.Mat().createAIJ(
        sizes, bsize=bs, csr=(all_indptr, all_columns, all_values), comm=parts[0].comm
    )
    out.assemble()
    return out


def _one_pattern(
    tables: Sequence[tuple[npt.NDArray[Any], ...]], part: PETSc.Mat
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], list[npt.NDArray[np.float64]]]:
    """Return local CSR tables on the union of their patterns: indptr, columns, values of each."""
    if all(np.array_equal(table[i], tables[0][i]) for table in tables for i in (0, 1)):
        return tables[0][0], tables[0][1], [table[2] for table in tables]
    rows, n = part.getLocalSize()[0], np.int64(part.getSize()[1])
    keys = [np.repeat(np.arange(rows) * n, np.diff(table[0])) + table[1] for table in tables]
    union = np.unique(np.concatenate(keys))
    values = []
    for key, table in zip(keys, tables, strict=True):
        data = np.zeros(len(union))
        data[np.searchsorted(union, key)] = table[2]
        values.append(data)
    return np.searchsorted(union, np.arange(rows + 1) * n), union % n, values


def component_groups[T](parts: Sequence[T]) -> list[tuple[T, list[int]]]:
    """Return each different object with the components that share it: it is read once for them."""
    groups: dict[int, tuple[T, list[int]]] = {}
    for component, part in enumerate(parts):
        groups.setdefault(id(part), (part, []))[1].append(component)
    return list(groups.values())


class GalerkinBasis:
    """A subspace of the fine vector space: prolongation P and functionals Psi with Psi P = I.

    Args:
        P: Scalar prolongation, shape (n_h, n_H), AIJ, rows distributed like the fine dofs; or one
            for each component, all of one shape and distribution.
        Psi: Scalar functionals, shape (n_H, n_h), rows distributed like P's columns; or one for
            each component.
        bs: Components of a vector, where P and Psi are not sequences that tell.
        entry_tolerance: Largest nodal change that entering the subspace, m <- P Psi m, may make
            to the data of a run; more is an error. Default: any.

    Attributes:
        P, Psi: Matrices of the vector space.
        components: The scalar prolongation of each component.

    Raises:
        ValueError: If the shapes do not fit, or the sequences differ in length.
    """

    def __init__(
        self,
        P: PETSc.Mat | Sequence[PETSc.Mat],
        Psi: PETSc.Mat | Sequence[PETSc.Mat],
        *,
        bs: int = 3,
        entry_tolerance: float = math.inf,
    ) -> None:
        given = [len(parts) for parts in (P, Psi) if not isinstance(parts, PETSc.Mat)]
        if len(set(given)) > 1 or 0 in given:
            raise ValueError(f"P and Psi must come for the same components, got {given}")
        self.bs = bs = given[0] if given else bs
        prolongations = [P] * bs if isinstance(P, PETSc.Mat) else list(P)
        functionals = [Psi] * bs if isinstance(Psi, PETSc.Mat) else list(Psi)
        n_h, n_H = prolongations[0].getSize()
        for prolongation, functional in zip(prolongations, functionals, strict=True):
            if prolongation.getSizes() != prolongations[0].getSizes():
                raise ValueError("the components' P differ in shape or distribution")
            if functional.getSize() != (n_H, n_h):
                raise ValueError(
                    f"Psi must have shape {(n_H, n_h)} for this P, got {functional.getSize()}"
                )
        self.components = tuple(prolongations)
        self.P = interleave(prolongations)
        self.Psi = interleave(functionals)
        self.dim = n_H
        self.entry_tolerance = entry_tolerance

    def project(self, A: PETSc.Mat, out: PETSc.Mat | None = None) -> PETSc.Mat:
        """Return P^T A P; with ``out`` the symbolic product of an earlier call is reused."""
        return A.PtAP(self.P) if out is None else A.PtAP(self.P, result=out)

    def restrict(self, residual: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = P^T residual."""
        self.P.multTranspose(residual, out)

    def prolong(self, coefficients: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = P coefficients."""
        self.P.mult(coefficients, out)

    def coefficients(self, x: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set out = Psi x."""
        self.Psi.mult(x, out)

    def check_entry(self, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> None:
        """Refuse a run whose m changes too much where it enters V_H (collective).

        Args:
            before: Local values of m.
            after: Those of P Psi m.

        Raises:
            ValueError: If a node of any rank changes by more than ``entry_tolerance``.
        """
        local = float(np.max(np.abs(after - before), initial=0.0))
        change = max(self.P.comm.tompi4py().allgather(local))
        if change > self.entry_tolerance:
            raise ValueError(
                f"m does not lie in the subspace (not periodic?): entering it changes a node by "
                f"{change:.3g}, allowed are {self.entry_tolerance:.3g}"
            )
