# SPDX-License-Identifier: LGPL-3.0-or-later
"""Poisson solves at the inner nodes, K_ii u = f: factorized while small, multigrid beyond."""

from __future__ import annotations

from typing import Any, Literal

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.la.matrices import whole_table

__all__ = ["DIRECT_BELOW", "History", "InteriorSolver", "Poisson"]

type Floats = npt.NDArray[np.float64]
type Poisson = Literal["auto", "direct", "iterative"]

# Inner nodes up to which K_ii is factorized: symmetric to round-off, and no slower than conjugate
# gradients from zero (CPU ms an evaluation: 19 at 15,600 nodes; 33 against 30, warm 15, at 27,000).
DIRECT_BELOW = 20_000
# ... and for many right sides at once: 2 GB on each rank and a minute at the end of it.
FACTORIZE_BELOW = 200_000
# Entries below this part of the largest one are round-off of sums that vanish.
ROUND_OFF = 1e-14
DIRECT = {"ksp_type": "preonly", "pc_type": "cholesky", "pc_factor_mat_solver_type": "mumps"}
ITERATIVE = {
    "ksp_type": "cg",
    "ksp_max_it": 200,
    "ksp_norm_type": "unpreconditioned",
    "pc_type": "gamg",
    "mg_levels_ksp_type": "richardson",
    "mg_levels_ksp_max_it": 1,
    "mg_levels_pc_type": "sor",
}


class History:
    """The last solutions of one sequence of solves, and the best start that they offer.

    The combination of them next to the solution in the energy norm (Fischer, Comput. Methods Appl.
    Mech. Eng. 163, 193 (1998)): in a run it extrapolates in time, whatever the steps.

    Args:
        comm: Communicator of the solves.
        keep: Solutions that are kept.
    """

    def __init__(self, comm: MPI.Comm, keep: int = 4) -> None:
        self._comm, self._keep = comm, keep
        self._f: list[Floats] = []
        self._u: list[Floats] = []

    def add(self, f: Floats, u: Floats) -> None:
        """Keep a solution and its right side, and forget the oldest."""
        self._f = [*self._f[1 - self._keep :], f.copy()]
        self._u = [*self._u[1 - self._keep :], u]

    def best(self, f: Floats) -> Floats | None:
        """Return the start for a right side; None without history (collective)."""
        if not self._u:
            return None
        u = np.stack(self._u)
        products = u @ np.stack([*self._f, f], axis=1)  # u_k . K u_l, and u_k . f
        if self._comm.size > 1:
            self._comm.Allreduce(MPI.IN_PLACE, products, op=MPI.SUM)
        gram = 0.5 * (products[:, :-1] + products[:, :-1].T)
        # Solutions a small step apart are nearly parallel: what is round-off is left out.
        factors = np.linalg.lstsq(gram, products[:, -1], rcond=1e-10)[0]
        return np.asarray(factors @ u)


class InteriorSolver:
    """Solver of K_ii u = f, K_ii symmetric and positive definite.

    Args:
        K: Matrix of the inner nodes; with no rows at all there is nothing to solve.
        poisson: "direct", "iterative", or "auto" by the number of nodes.
        rtol: Tolerance of the iterative solver, relative to the norm of f.
        options: The user's PETSc options; they go before the defaults.

    Attributes:
        K: The matrix, without the entries that are round-off.
        direct: Whether K_ii is factorized.
        iterations: Krylov iterations of the last solve.

    Raises:
        ValueError: If ``ksp_rtol`` does not lie between 0 and 1.

    Note: Collective.
    """

    def __init__(self, K: PETSc.Mat, *, poisson: Poisson, rtol: float, options: Options) -> None:
        self.size = K.getSize()[0]
        self.iterations = 0
        method_given = options.given("ksp_type") or options.given("pc_type")
        self.direct = poisson == "direct" or (
            poisson == "auto" and self.size <= DIRECT_BELOW and not method_given
        )
        self.K = K = _without_zeros(K)
        self._method_given, self._rtol, self._options = method_given, rtol, options
        self._f, self._x = K.createVecs()
        if not self.size:
            return
        K.setOption(PETSc.Mat.Option.SPD, True)
        defaults: dict[str, Any] = DIRECT if self.direct else ITERATIVE | {"ksp_rtol": rtol}
        self._krylov = Krylov(K, options, defaults=defaults)
        self._krylov.set_up()
        self._preonly = self._krylov.method == PETSc.KSP.Type.PREONLY
        rtol = self._krylov.ksp.getTolerances()[0]
        if not self._preonly and not 0.0 < rtol < 1.0:
            raise ValueError(
                "the tolerance ksp_rtol of the stray field's Poisson solves must lie between 0 and "
                f"1, got {rtol:g}: round-off would never reach it (1e-12 is next to exact)"
            )

    def alone(self) -> InteriorSolver:
        """Return a solver of the whole K_ii for this rank by itself, made for many right sides.

        MUMPS shares the solves of one factorization so badly that two ranks together are no faster
        than one. Factorizing is a tenth of the work of 1,500 solves: each rank repeats it, and
        takes right sides of its own. Beyond 200,000 nodes, and where the user has chosen a method,
        it is the iteration, or that method. On one rank it may be this solver itself. Collective.
        """
        factorize = self.direct or (not self._method_given and self.size <= FACTORIZE_BELOW)
        new = factorize and not self.direct
        comm = self.K.comm
        if comm.size == 1 and not new:
            return self
        K = self.K
        if comm.size > 1:
            table = whole_table(K)
            K = PETSc.Mat().createAIJ(
                table.shape, csr=(table.indptr, table.indices, table.data), comm=PETSc.COMM_SELF
            )
        options = Options("stray_field_factor_") if new else self._options
        method: Poisson = "direct" if factorize else "iterative"
        return InteriorSolver(K, poisson=method, rtol=self._rtol, options=options)

    def destroy(self) -> None:
        """Free the solver, not its matrix. Collective."""
        if self.size:
            self._krylov.destroy()
        for vector in (self._f, self._x):
            vector.destroy()

    def solve(self, f: Floats, size: float, history: History | None = None) -> Floats:
        """Return u for one right side, local values of shape (n_i,).

        Args:
            f: Right side.
            size: What the tolerance is relative to where f is smaller: the f of a uniform state is
                nothing but round-off.
            history: Earlier solutions, from which an iteration starts; it gains this one.

        Raises:
            ConvergenceError: If the solver did not converge.

        Note: Collective.
        """
        if not self.size:
            return np.zeros_like(f)
        self._f.array[:] = f
        guess = None if history is None or self._preonly else history.best(f)
        self._x.array[:] = 0.0 if guess is None else guess
        ksp = self._krylov.ksp
        if not self._preonly:
            ksp.setTolerances(atol=ksp.getTolerances()[0] * size)
        result = self._krylov.solve(self._f, self._x)
        self.iterations = result.iterations
        result.check("the Poisson solve of the stray field")
        u = self._x.array.copy()
        if history is not None and not self._preonly:
            history.add(f, u)
        return u

    def solve_many(self, f: Floats, size: Floats) -> Floats:
        """Return u for right sides of shape (n_i, k), all at once where K_ii is factorized.

        Raises:
            ConvergenceError: If a solve failed.

        Note: Collective.
        """
        if not self.size or not f.shape[1]:
            return np.zeros_like(f)
        if self.direct and self._preonly:
            (local, total), _ = self.K.getSizes()
            sizes = ((local, total), (None, f.shape[1]))
            # PETSc keeps columns one after the other.
            columns = np.ascontiguousarray(f.T).ravel()
            B = PETSc.Mat().createDense(sizes, array=columns, comm=self.K.comm)
            X = PETSc.Mat().createDense(sizes, comm=self.K.comm)
            for matrix in (B, X):
                matrix.setUp()
                matrix.assemble()
            self._krylov.ksp.matSolve(B, X)
            u = X.getDenseArray().copy()
            B.destroy()
            X.destroy()
            if self._krylov.ksp.getConvergedReason() > 0:
                return u
        return np.stack([self.solve(*pair) for pair in zip(f.T, size, strict=True)], axis=1)


def _without_zeros(K: PETSc.Mat) -> PETSc.Mat:
    """Return K without entries that are zero but for round-off, or K itself where they are few.

    In boxes cut in tetrahedra half of the entries are such zeros: without them solves cost half.
    A matrix that is replaced is destroyed. Collective.
    """
    rows, columns, values = K.getValuesCSR()
    size = np.abs(values)
    largest = max(K.comm.tompi4py().allgather(float(size.max(initial=0.0))))
    kept = size > ROUND_OFF * largest
    counts = K.comm.tompi4py().allreduce(np.array([np.count_nonzero(kept), len(kept)]))
    if counts[0] > 0.9 * counts[1]:
        return K
    rows = np.concatenate([[0], np.cumsum(kept)])[rows].astype(rows.dtype)
    whole = PETSc.Mat().createAIJ(
        K.getSizes(), csr=(rows, columns[kept], values[kept]), comm=K.comm
    )
    K.destroy()
    return whole
