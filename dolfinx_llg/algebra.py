# SPDX-License-Identifier: LGPL-3.0-or-later
"""PETSc alone: Galerkin bases, the preconditioner of the vector systems, options, errors."""

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
    "ComponentPreconditioner",
    "ConvergenceError",
    "GalerkinBasis",
    "check_real_build",
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


class ComponentPreconditioner:
    r"""Python PC for systems that are nearly one scalar operator S per component of the vector.

    The semi-implicit schemes have the matrix ``M/dt + (lambda - m x) K``, with M and K the same in
    each component. In the tangent plane at m (where m x is the imaginary unit) the high modes are
    turned by arg(lambda - i) and stretched by |lambda - i|; along m they are only scaled by lambda.
    The preconditioner is therefore

        y = R(phi/2) S^{-1} r,    S = M/dt + |lambda - i| K,    phi = arg(lambda + i),

    R(phi/2) the rotation about m by half the angle: the preconditioned spectrum in the tangent
    plane lies on chords of the arc -phi/2..phi/2 at any h, dt and lambda. Where lambda is small,
    the part of r along m is solved apart, with S_along = M/dt + lambda K. Both operators are
    constant, so that factorizations or AMG hierarchies are built once; what S^{-1} is, the options
    with the prefix ``<prefix>scalar_`` say. S averages over the components: where an implicit
    anisotropy outweighs the mass (q_u dt >> 10), which no dynamics needs, it fits less well.

    Args:
        S: Scalar operator, AIJ, rows distributed like the vector's blocks.
        S_along: Scalar operator for the part along m; None: S serves.
        prefix: Options prefix of the vector solver.
        options: PETSc options of the vector solver; keys that start with ``scalar_`` apply here.
        angle: Angle of the rotation R in radians, a number or one per local block (a damping that
            differs by region).
        tdim: Topological dimension of the mesh, by which the default of S^{-1} is chosen.
    """

    def __init__(
        self,
        S: PETSc.Mat,
        S_along: PETSc.Mat | None,
        prefix: str,
        options: Mapping[str, Any],
        angle: float | npt.NDArray[np.float64],
        tdim: int,
    ) -> None:
        self._tangential = _scalar_solver(S, prefix, options, tdim)
        self._along = None if S_along is None else _scalar_solver(S_along, prefix, options, tdim)
        self._angle = angle
        self._m: npt.NDArray[np.float64] | None = None

    def destroy(self, pc: PETSc.PC | None = None) -> None:
        """Free the factorizations (PETSc calls it with its PC). Collective."""
        for solver in (self._tangential, self._along):
            if solver is not None:
                solver.destroy()

    @property
    def used(self) -> set[str]:
        """Options that PETSc asked for, with their ``scalar_``."""
        return {"scalar_" + key for key in self._tangential.used}

    def set_direction(self, m: npt.NDArray[np.float64]) -> None:
        """Set the local directions m, shape (n, 3), about which R turns (normalised here)."""
        length = np.linalg.norm(m, axis=1)
        length[length == 0.0] = 1.0
        self._m = np.ascontiguousarray((m / length[:, None]).T)

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the preconditioned r (called by PETSc)."""
        m = self._m
        source = r.getArray(readonly=True).reshape(-1, 3).T
        if m is None:
            parts = self._tangential(source)
        else:
            if self._along is not None:
                rho = m[0] * source[0] + m[1] * source[1] + m[2] * source[2]
                source = source - m * rho
            parts = self._tangential(source)
            if np.any(self._angle):
                parts = self._turn(parts)
            if self._along is not None:
                (along,) = self._along(rho[None, :])
                parts = [parts[i] + m[i] * along for i in range(3)]
        target = y.getArray().reshape(-1, 3)
        for component in range(3):
            target[:, component] = parts[component]

    def _turn(self, y: list[npt.NDArray[np.float64]]) -> list[npt.NDArray[np.float64]]:
        assert self._m is not None
        m, cos, sin = self._m, np.cos(self._angle), np.sin(self._angle)
        along = (1.0 - cos) * (m[0] * y[0] + m[1] * y[1] + m[2] * y[2])
        return [
            cos * y[i]
            + sin * (m[(i + 1) % 3] * y[(i + 2) % 3] - m[(i + 2) % 3] * y[(i + 1) % 3])
            + along * m[i]
            for i in range(3)
        ]


_REPLICATED = 1_000
"""Unknowns up to which every rank factorizes the whole operator, as that of a coarse space."""


def _scalar_solver(
    S: PETSc.Mat, prefix: str, options: Mapping[str, Any], tdim: int
) -> _ScalarSolver | _ReplicatedSolver:
    """Return a solver with S; options of the user's choose a distributed one."""
    chosen = any(key.startswith("scalar_") for key in options) or any(
        key.startswith(prefix + "scalar_") for key in PETSc.Options().getAll()
    )
    if S.comm.size > 1 and S.getSize()[0] <= _REPLICATED and not chosen:
        return _ReplicatedSolver(S)
    return _ScalarSolver(S, prefix, options, tdim)


class _ReplicatedSolver:
    """S^{-1} for a few right sides at once, by one factorization of all of S on every rank.

    (PETSc's ``redundant`` takes communicators for each solver, of which MPICH has 2048.)
    """

    def __init__(self, S: PETSc.Mat) -> None:
        self.used: set[str] = set()
        self._comm = S.comm.tompi4py()
        self._own = slice(*S.getOwnershipRange())
        self._counts = np.array(self._comm.allgather(S.getLocalSize()[0]))
        everything = PETSc.IS().createStride(S.getSize()[0], 0, 1, comm=PETSc.COMM_SELF)
        (self._whole,) = S.createSubMatrices(everything)
        everything.destroy()
        S.destroy()
        self._ksp = PETSc.KSP().create(PETSc.COMM_SELF)
        self._ksp.setOperators(self._whole)
        self._ksp.setType("preonly")
        self._ksp.getPC().setType("lu")
        self._ksp.getPC().setFactorOrdering("nd")
        self._ksp.setUp()
        self._blocks: dict[int, tuple[PETSc.Mat, PETSc.Mat]] = {}

    def destroy(self) -> None:
        """Free the solver and its work space."""
        for item in (self._ksp, self._whole, *(m for pair in self._blocks.values() for m in pair)):
            item.destroy()

    def __call__(self, source: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
        """Return S^{-1} of each row of ``source``."""
        count = len(source)
        if count not in self._blocks:
            dense = PETSc.Mat().createDense((self._whole.getSize()[0], count), comm=PETSc.COMM_SELF)
            dense.setUp()
            dense.assemble()
            self._blocks[count] = (dense, dense.duplicate())
        right, left = self._blocks[count]
        rows = np.empty((self._whole.getSize()[0], count))
        counts = count * self._counts
        self._comm.Allgatherv(np.ascontiguousarray(source.T), (rows, counts))
        right.getDenseArray()[:] = rows
        right.assemble()
        self._ksp.matSolve(right, left)
        return list(left.getDenseArray(readonly=True)[self._own].T)


class _ScalarSolver:
    """S^{-1} for a few right sides at once, by one factorization or one V-cycle each."""

    def __init__(self, S: PETSc.Mat, prefix: str, options: Mapping[str, Any], tdim: int) -> None:
        self._ksp = PETSc.KSP().create(S.comm)
        self._S = S
        self._ksp.setOperators(S)
        self._ksp.setType("preonly")
        defaults = _scalar_defaults(S.getSize()[0], tdim, S.comm.size)
        own = {k.removeprefix("scalar_"): v for k, v in options.items() if k.startswith("scalar_")}
        self.used: set[str] = set()
        self._ksp.setOptionsPrefix(prefix + "scalar_")
        with options_in_force(prefix + "scalar_", defaults | own, self.used):
            self._ksp.setFromOptions()
            self._ksp.setUp()
        self._factored = self._ksp.getPC().getType() in ("lu", "cholesky")
        self._r, self._z = S.createVecs()
        self._block: tuple[PETSc.Mat, PETSc.Mat] | None = None

    def destroy(self) -> None:
        """Free the solver, its operator and its work space."""
        for item in (self._ksp, self._S, self._r, self._z, *(self._block or ())):
            item.destroy()

    def __call__(self, source: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
        """Return S^{-1} of each row of ``source``."""
        if self._factored and len(source) > 1:  # one sweep through the factors for all of them
            if self._block is None:
                size = (self._r.getLocalSize(), self._r.getSize())
                shape = (size, (PETSc.DECIDE, len(source)))
                dense = PETSc.Mat().createDense(shape, comm=self._r.comm)
                dense.setUp()
                dense.assemble()
                self._block = (dense, dense.duplicate())
            right, left = self._block
            right.getDenseArray()[:] = source.T
            right.assemble()
            self._ksp.matSolve(right, left)
            return list(left.getDenseArray(readonly=True).T)
        parts = []
        for row in source:
            self._r.array[:] = row
            self._ksp.solve(self._r, self._z)
            parts.append(self._z.array.copy())
        return parts


def _scalar_defaults(size: int, tdim: int, ranks: int) -> dict[str, Any]:
    """Factorize where fill-in is small, else one V-cycle of AMG.

    In 2D on one rank the factors at h = 2^-8 (66,049 nodes) cost as much as a V-cycle and halve the
    iterations; on several ranks triangular solves do not scale and the V-cycle wins.
    """
    if tdim == 1 and ranks > 1:
        return {"pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}
    if ranks == 1 and size <= {1: 10**7, 2: 150_000}.get(tdim, 3_000):
        return {"pc_type": "lu", "pc_factor_mat_ordering_type": "nd"}
    # Rough coefficients: weak couplings are to be left out of the aggregates.
    return {"pc_type": "gamg", "pc_gamg_threshold": 0.02}
