# SPDX-License-Identifier: LGPL-3.0-or-later
"""The preconditioner of the vector systems: one scalar solver for all components."""

from __future__ import annotations

from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from scipy.linalg import get_lapack_funcs
from scipy.linalg.blas import ssymv

from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.la.matrices import scipy_rows

__all__ = ["ComponentPreconditioner", "scalar_solver"]

FloatArray = npt.NDArray[np.float64]


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
    that begin with ``scalar_`` say. S averages over the components: where an implicit
    anisotropy outweighs the mass (q_u dt >> 10), which no dynamics needs, it fits less well.

    Args:
        S: Scalar operator, AIJ, rows distributed like the vector's blocks.
        S_along: Scalar operator for the part along m; None: S serves.
        options: Options of the scalar solver.
        angle: Angle of the rotation R in radians, a number or one per local block (a damping that
            differs by region).
        tdim: Topological dimension of the mesh, by which the default of S^{-1} is chosen.
    """

    def __init__(
        self,
        S: PETSc.Mat,
        S_along: PETSc.Mat | None,
        options: Options,
        angle: float | FloatArray,
        tdim: int,
    ) -> None:
        self._tangential = scalar_solver(S, options, tdim, rough=True)
        self._along = None
        if S_along is not None:
            self._along = scalar_solver(S_along, options, tdim, rough=True)
        self._angle = angle
        self._m: FloatArray | None = None

    def destroy(self, pc: PETSc.PC | None = None) -> None:
        """Free the factorizations (PETSc calls it with its PC). Collective."""
        for solver in (self._tangential, self._along):
            if solver is not None:
                solver.destroy()

    def set_direction(self, m: FloatArray) -> None:
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

    def _turn(self, y: list[FloatArray]) -> list[FloatArray]:
        assert self._m is not None
        m, cos, sin = self._m, np.cos(self._angle), np.sin(self._angle)
        along = (1.0 - cos) * (m[0] * y[0] + m[1] * y[1] + m[2] * y[2])
        return [
            cos * y[i]
            + sin * (m[(i + 1) % 3] * y[(i + 2) % 3] - m[(i + 2) % 3] * y[(i + 1) % 3])
            + along * m[i]
            for i in range(3)
        ]


_DENSE = 1_000
"""Unknowns up to which S^{-1} may be a dense matrix, as for a coarse space."""

_FULL = 4_096
"""Unknowns up to which it is one where S is full: factors would be too, and multigrid of a coarse
space of 3072 functions in 3D takes 59 iterations in the place of 11."""


def scalar_solver(
    S: PETSc.Mat, options: Options, tdim: int, *, rough: bool = False
) -> _ScalarSolver | _DenseSolver:
    """Return a solver with S: dense where S is small, and full or distributed.

    Options of the user's choose the other.

    Args:
        S: The matrix, which the solver destroys.
        options: Options of the user's.
        tdim: Topological dimension.
        rough: Whether three digits do, as in a preconditioner.
    """
    n = S.getSize()[0]
    full = 10 * S.getInfo(PETSc.Mat.InfoType.GLOBAL_SUM)["nz_used"] >= n**2
    dense = n <= _FULL if full else n <= _DENSE and S.comm.size > 1
    if dense and not options.given():
        return _DenseSolver(S, rough=rough)
    return _ScalarSolver(S, options, tdim)


class _DenseSolver:
    """S^{-1} for a few right sides at once, as a dense matrix of which each rank has its rows.

    At the 512 functions of Nc = 16 a fifth of the time of a sparse factorization, whose factors are
    full. (PETSc's ``redundant`` takes communicators for each solver, of which MPICH has 2048.)
    """

    def __init__(self, S: PETSc.Mat, *, rough: bool) -> None:
        self._comm = S.comm.tompi4py()
        first, last = S.getOwnershipRange()
        self._counts = np.array(self._comm.allgather(last - first))
        rows = scipy_rows(S).toarray()
        whole = rows
        if self._comm.size > 1:
            whole = np.empty((rows.shape[1],) * 2)
            self._comm.Allgatherv(rows, (whole, rows.shape[1] * self._counts))
        self._rows = _inverse_rows(whole, first, last, rough=rough)
        S.destroy()

    def destroy(self) -> None:
        """Free the memory."""
        self._rows = np.zeros((0, 0))

    def __call__(self, source: FloatArray) -> list[FloatArray]:
        """Return S^{-1} of each row of ``source``."""
        right = np.ascontiguousarray(source.T)
        if self._comm.size > 1:
            right = np.empty((self._rows.shape[1], len(source)))
            counts = len(source) * self._counts
            self._comm.Allgatherv(np.ascontiguousarray(source.T), (right, counts))
        return list(np.ascontiguousarray(right.T) @ self._rows.T)  # the faster order


def _inverse_rows(S: FloatArray, first: int, last: int, *, rough: bool) -> FloatArray:
    """Return some rows of the inverse, in half the time where S is symmetric, positive definite.

    Args:
        S: The matrix.
        first: First row.
        last: Row after the last one.
        rough: Whether single precision may do, in half the time again: where S times the inverse
            leaves a vector as it is to 1e-3, which no preconditioner is told by.
    """
    probe = 1.5 + np.cos(np.arange(len(S)) ** 2 + 1.0)  # without a pattern
    if np.abs(S @ probe - probe @ S).max(initial=0.0) <= 1e-10 * np.abs(S).max(initial=0.0):
        for dtype in (np.float32, np.float64) if rough else (np.float64,):
            potrf, potri = get_lapack_funcs(("potrf", "potri"), dtype=dtype)
            factor, failed = potrf(S.T.astype(dtype, order="F"), lower=1, clean=0, overwrite_a=1)
            if failed:
                continue
            lower, failed = potri(factor, lower=1, overwrite_c=1)
            if failed or (dtype == np.float32 and not _inverts(lower, S, probe)):
                continue
            return _rows_of_lower(lower, first, last)
    return np.ascontiguousarray(np.linalg.inv(S)[first:last])


def _inverts(lower: FloatArray, S: FloatArray, probe: FloatArray) -> bool:
    """Whether the symmetric matrix of a lower triangle is nearly the inverse of S."""
    found = ssymv(1.0, lower, probe, lower=1)
    return bool(np.linalg.norm(S @ found - probe) <= 1e-3 * np.linalg.norm(probe))


def _rows_of_lower(lower: FloatArray, first: int, last: int) -> FloatArray:
    """Return rows of the symmetric matrix of which the lower triangle is given."""
    rows = np.empty((last - first, len(lower)))
    rows[:, :first] = lower[first:last, :first]
    own = np.tril(lower[first:last, first:last])
    rows[:, first:last] = own + np.tril(own, -1).T
    rows[:, last:] = lower[last:, first:last].T
    return rows


class _ScalarSolver:
    """S^{-1} for a few right sides at once, by one factorization or one V-cycle each."""

    def __init__(self, S: PETSc.Mat, options: Options, tdim: int) -> None:
        self._S = S
        defaults = _scalar_defaults(S.getSize()[0], tdim, S.comm.size)
        self._krylov = Krylov(S, options, defaults={"ksp_type": "preonly", **defaults})
        self._krylov.set_up()
        self._factored = self._krylov.ksp.getPC().getType() in ("lu", "cholesky")
        self._r, self._z = S.createVecs()
        self._block: tuple[PETSc.Mat, PETSc.Mat] | None = None

    def destroy(self) -> None:
        """Free the solver, its operator and its work space."""
        for item in (self._krylov, self._S, self._r, self._z, *(self._block or ())):
            item.destroy()

    def __call__(self, source: FloatArray) -> list[FloatArray]:
        """Return S^{-1} of each row of ``source``."""
        if self._factored and len(source) > 1:  # one sweep through the factors for all of them
            if self._block is None:
                shape = (self._r.getSizes(), (PETSc.DECIDE, len(source)))
                dense = PETSc.Mat().createDense(shape, comm=self._r.comm)
                dense.setUp()
                dense.assemble()
                self._block = (dense, dense.duplicate())
            right, left = self._block
            right.getDenseArray()[:] = source.T
            right.assemble()
            self._krylov.ksp.matSolve(right, left)
            return list(left.getDenseArray(readonly=True).T)
        parts = []
        for row in source:
            self._r.array[:] = row
            self._krylov.apply(self._r, self._z)
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
