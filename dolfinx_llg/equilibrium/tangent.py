# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The Hessian on the tangent plane as PETSc operators, and its lowest eigenvalues by SLEPc.

The pencil is :math:`H \varphi = \lambda M \varphi` with the lumped mass M weighted by Ms, so that
:math:`\lambda` is a field in units of Ms0: a uniformly magnetized particle in the field h along its
easy axis has :math:`\lambda = h + q_u`. Unknowns are two numbers per node in an orthonormal frame
:math:`(e_1, e_2 = m \times e_1)`, times the root of the node's mass so that M = I; in a
coarse space two per function.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from petsc4py import PETSc

import numpy as np

from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.pointwise import Point, row_dot, tangential
from dolfinx_llg.typing import Array

__all__ = ["TangentHessian", "as_preconditioner", "frame", "lowest_eigenvalue"]


def frame(m: Array) -> tuple[Array, Array]:
    """Return unit vectors e_1, e_2 = m x e_1 normal to m, shape (n, 3) each."""
    axis = np.eye(3)[np.argmin(np.abs(m), axis=1)]
    first = tangential(m, axis)
    first /= np.sqrt(row_dot(first, first))
    return first, np.cross(m, first)


class TangentHessian:
    """Hessian at a point, its mass and its preconditioner, on vectors of tangent unknowns.

    Args:
        land: The landscape; it is linearised at p.
        p: The point.

    Attributes:
        sizes: Local and global number of unknowns, two per node or coarse function.

    Note: Collective.
    """

    def __init__(self, land: Landscape, p: Point) -> None:
        land.linearise(p)
        self.land, self.p = land, p
        self._frame = frame(p.axis)
        # Nodal unknowns are scaled so that M = I.
        self._root = np.sqrt(land.volumes) if land.nodal else np.ones((len(p.axis), 1))
        local = 2 * len(p.axis)
        self.sizes = (local, sum(land.comm.allgather(local)))

    def vector(self) -> PETSc.Vec:
        """Return a vector of tangent unknowns."""
        return PETSc.Vec().createMPI(self.sizes, comm=self.land.comm)

    def expand(self, x: Array) -> Array:
        """Return tangent unknowns as unknowns of the landscape, shape (k, 3)."""
        return self._turned(x) / self._root

    def _turned(self, x: Array) -> Array:
        parts = x.reshape(-1, 2)
        return parts[:, :1] * self._frame[0] + parts[:, 1:] * self._frame[1]

    def reduce(self, v: Array) -> Array:
        """Return the products of a gradient, shape (k, 3), with the tangent unknowns."""
        return np.hstack([row_dot(v / self._root, e) for e in self._frame]).ravel()

    def times(self, x: Array) -> Array:
        """Return H x."""
        return self.reduce(self.land.hessian(self.p, self.expand(x)))

    def mass_times(self, x: Array) -> Array:
        """Return M x."""
        return x if self.land.nodal else self.reduce(self.land.mass(self.p, self.expand(x)))

    def solve_roughly(self, r: Array) -> Array:
        """Return the preconditioned r."""
        z = self.land.precondition(self.p, self._root * self._turned(r))
        return self.reduce(self._root**2 * z)

    def spin(self, x: Array) -> Array:
        """Return S x, the product with -M (m x): antisymmetric, see ``modes``."""
        if self.land.nodal:
            parts = x.reshape(-1, 2)
            return np.column_stack([parts[:, 1], -parts[:, 0]]).ravel()
        return self.reduce(self.land.spin(self.p, self.expand(x)))

    def operator(self, name: str, shift: float = 0.0) -> PETSc.Mat:
        """Return the method ``times`` (+ shift M) or ``mass_times`` as a PETSc matrix."""
        shape = (self.sizes, self.sizes)
        context = _Product(self, name, shift)
        matrix = PETSc.Mat().createPython(shape, context, comm=self.land.comm)
        matrix.setUp()
        return matrix

    def matrix(self, shift: float = 0.0) -> PETSc.Mat:
        """Return H + shift M assembled, AIJ, without the fields that a solve gives."""
        land, p = self.land, self.p
        curvature = land.field.matrix().duplicate(copy=True)
        diagonal = curvature.getDiagonal()
        extra = shift * land.volumes - row_dot(p.g, p.m)
        diagonal.array_w[:] += np.repeat(extra[:, 0], 3)
        curvature.setDiagonal(diagonal)
        diagonal.destroy()
        T = _blocks([e / self._root for e in self._frame], land.comm)
        if not land.nodal:
            assert land.basis is not None
            first, second = frame(p.m)
            F = _blocks([first, second], land.comm)
            onto = F.transposeMatMult(land.basis.P).matMult(T)
            T.destroy()
            T = F.matMult(onto)
            for item in (F, onto):
                item.destroy()
        H = curvature.PtAP(T)
        for item in (curvature, T):
            item.destroy()
        return H


def _blocks(columns: list[Array], comm: Any) -> PETSc.Mat:
    """Return the matrix whose diagonal block i has the columns columns[c][i], 3 numbers each."""
    n, width = len(columns[0]), len(columns)
    first = sum(comm.allgather(n)[: comm.rank])
    numbers = width * first + np.arange(width * n).reshape(n, 1, width).repeat(3, axis=1)
    matrix = PETSc.Mat().createAIJ(
        ((3 * n, PETSc.DECIDE), (width * n, PETSc.DECIDE)),
        csr=(
            np.arange(0, 3 * width * n + 1, width, dtype=np.int32),
            numbers.ravel().astype(np.int32),
            np.stack(columns, axis=2).ravel(),
        ),
        comm=comm,
    )
    matrix.assemble()
    return matrix


class _Product:
    """Context of a PETSc matrix (mult) and of a PETSc preconditioner (apply)."""

    def __init__(self, hessian: TangentHessian, name: str, shift: float = 0.0) -> None:
        self._hessian, self._name, self._shift = hessian, name, shift

    def mult(self, A: Any, x: PETSc.Vec, y: PETSc.Vec) -> None:
        values = np.array(x.array_r)
        product = getattr(self._hessian, self._name)(values)
        if self._shift:
            product = product + self._shift * self._hessian.mass_times(values)
        y.setArray(product)

    def apply(self, pc: Any, x: PETSc.Vec, y: PETSc.Vec) -> None:
        self.mult(pc, x, y)


def as_preconditioner(hessian: TangentHessian) -> Any:
    """Return the context of a PETSc preconditioner that solves roughly with the Hessian."""
    return _Product(hessian, "solve_roughly")


class Lowest(NamedTuple):
    """The lowest eigenvalue, the norm of its residual, and its vector (None: not converged)."""

    value: float
    error: float
    vector: Array | None


def lowest_eigenvalue(
    hessian: TangentHessian, *, accuracy: float, seed: int = 0, limit: int = 400
) -> Lowest:
    """Return the lowest eigenvalue, the residual of its vector, and the vector.

    Generalized Davidson (Morgan and Scott, SIAM J. Sci. Stat. Comput. 7 (1986) 817) of SLEPc, with
    the preconditioner, from a seeded smooth field that is the same on any number of ranks. LOBPCG
    took 2 to 8 times its products, and broke down where the lowest eigenvalue is a multiple one.

    Args:
        hessian: The Hessian.
        accuracy: Residual at which to stop, in the units of the eigenvalue.
        seed: Seed of the start.
        limit: Largest number of iterations; what is found then is returned with its error.

    Returns:
        The Rayleigh quotient, which is never below the lowest eigenvalue, the norm of the residual
        (an eigenvalue lies within it), and the vector of tangent unknowns.

    Note: Collective.
    """
    from slepc4py import SLEPc  # a DOLFINx without SLEPc can do the rest

    land, p = hessian.land, hessian.p
    A, B = hessian.operator("times"), hessian.operator("mass_times")
    eps = SLEPc.EPS().create(land.comm)
    start = hessian.vector()
    start.setArray(hessian.solve_roughly(hessian.reduce(land.random_gradient(p, seed))))
    last = [math.nan, math.inf]

    def watch(eps: Any, its: int, converged: int, values: Any, errors: Any) -> None:
        if len(values):
            last[:] = [float(np.real(values[0])), float(errors[0])]

    if land.nodal:
        eps.setOperators(A)
        eps.setProblemType(SLEPc.EPS.ProblemType.HEP)
    else:
        eps.setOperators(A, B)
        eps.setProblemType(SLEPc.EPS.ProblemType.GHEP)
    eps.setType(SLEPc.EPS.Type.GD)
    eps.setWhichEigenpairs(SLEPc.EPS.Which.SMALLEST_REAL)
    eps.setDimensions(1)
    eps.setInitialSpace(start)
    eps.setConvergenceTest(SLEPc.EPS.Conv.ABS)
    eps.setTolerances(accuracy, limit)
    eps.setMonitor(watch)
    pc = eps.getST().getKSP().getPC()
    pc.setType(PETSc.PC.Type.PYTHON)
    pc.setPythonContext(as_preconditioner(hessian))
    eps.solve()
    value, error = last
    vector = None
    if eps.getConverged():
        value = float(np.real(eps.getEigenpair(0, start)))
        vector = np.array(start.array_r)
        error = float(eps.computeError(0, SLEPc.EPS.ErrorType.ABSOLUTE))
    for item in (eps, A, B, start):
        item.destroy()
    return Lowest(value, error, vector)
