# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The symmetric pencil :math:`(S^T H^{-1} S)\, a = \omega^{-2} H a` of small oscillations.

Its largest eigenvalues are the lowest frequencies, each twice (``modes`` derives it): those of
:math:`-(H^{-1} S)^2`, whose root :math:`H^{-1} S` is skew in the product of H and takes one solve.
H is inverted by a factorization, or by conjugate gradients around the products with H, in which
fields that a solve gives have their part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np

from dolfinx_llg.equilibrium.tangent import TangentHessian, as_preconditioner, lowest_eigenvalue
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.typing import Array

__all__ = ["Pair", "Pencil", "definite_pencil"]

type Pair = tuple[float, Array, Array]
"""An eigenvalue of the pencil and the two vectors that share it, of unit energy."""

DIRECT = {
    "ksp_type": "preonly",
    "pc_type": "cholesky",
    "pc_factor_mat_solver_type": "mumps",
    # The count of negative pivots needs the root on one process, and null pivots looked for.
    "mat_mumps_icntl_13": 1,
    "mat_mumps_icntl_24": 1,
}
ITERATIVE = {"ksp_type": "cg", "ksp_rtol": 1e-9, "ksp_max_it": 500}


def definite_pencil(
    hessian: TangentHessian, scale: float, limit: float, solver: str, options: Options
) -> Pencil:
    """Return the pencil with a Hessian that is safely definite; refuse what is no minimum.

    Where a direction costs nothing H is shifted by a multiple of M. The frequencies are quotients
    of the unshifted H, right to second order in the shift.
    """
    own = options.given("pc_type") or options.given("pc_factor_mat_solver_type")
    if solver == "direct" and not own:  # MUMPS, which counts negative pivots
        pencil = Pencil(hessian, 0.0, solver, options)
        if pencil.pivots() == (0, 0) and pencil.softest() > limit:
            return pencil
        pencil.destroy()
        pencil = Pencil(hessian, limit, solver, options)
        if pencil.pivots() == (0, 0):
            return pencil
        pencil.destroy()
        lowest = lowest_eigenvalue(hessian, accuracy=1e-3 * scale).value
    else:
        lowest, error, _ = lowest_eigenvalue(hessian, accuracy=0.1 * limit)
        if lowest - error > -limit:
            shift = 0.0 if lowest - error > limit else 2.0 * limit
            return Pencil(hessian, shift, solver, options)
    raise ValueError(
        f"m is not a minimum: lowest eigenvalue of the Hessian {lowest:.6g} (a field in units of "
        "Ms0): minimise(energy, m) first, or this is a saddle"
    )


class Pencil:
    """The pencil with its solver."""

    def __init__(
        self, hessian: TangentHessian, shift: float, solver: str, options: Options
    ) -> None:
        self.hessian = hessian
        self.solves = 0
        if solver == "direct":
            self.H = hessian.matrix(shift)
            self.H.setOption(PETSc.Mat.Option.SYMMETRIC, True)
            self.krylov = Krylov(self.H, options, defaults=DIRECT)
        else:
            self.H = hessian.operator("times", shift)
            context = as_preconditioner(hessian)
            self.krylov = Krylov(self.H, options, defaults=ITERATIVE, context=context)
        self.krylov.set_up()
        self._b, self._x = hessian.vector(), hessian.vector()

    def destroy(self) -> None:
        """Free the solver. Collective."""
        for item in (self.krylov, self.H, self._b, self._x):
            item.destroy()

    def pivots(self) -> tuple[int, int]:
        """Return how many eigenvalues of H are negative and zero (Sylvester), by factorization."""
        negative, zero, _ = self.krylov.ksp.getPC().getFactorMatrix().getInertia()
        return int(negative), int(zero)

    def softest(self) -> float:
        """Return a bound for the lowest eigenvalue, by two inverse iterations."""
        land, hessian = self.hessian.land, self.hessian
        x = hessian.reduce(land.random_gradient(hessian.p, 0))
        for _ in range(2):
            x = x / np.sqrt(land.dot(x, x))
            self._b.setArray(x)
            self.krylov.apply(self._b, self._x)
            x = np.array(self._x.array_r)
        return land.dot(x, hessian.times(x)) / land.dot(x, hessian.mass_times(x))

    def inverse(self, b: Array) -> Array:
        """Return H^-1 b."""
        self.solves += 1
        self._b.setArray(b)
        self._x.set(0.0)
        self.krylov.solve(self._b, self._x).check("a solve with the Hessian (eigenmodes)")
        return np.array(self._x.array_r)

    def lowest_pairs(self, k: int, accuracy: float) -> list[Pair]:
        """Return the k largest eigenvalues with their pairs of vectors, multiple ones in full.

        A Krylov space holds one pair of each frequency: what is missing comes up where the known
        ones are deflated.
        """
        hessian, dot = self.hessian, self.hessian.land.dot
        kept: list[tuple[Array, Array]] = []  # x and (H + shift) x, of unit energy
        found: list[Pair] = []

        def normalised(v: Array) -> tuple[Array, Array, float]:
            """Return v, orthogonal in H to what is kept, with H v and its part that is new."""
            Hv = self._times(v)
            whole = dot(v, Hv)
            for x, Hx in kept:
                part = dot(x, Hv)
                v, Hv = v - part * x, Hv - part * Hx
            size = dot(v, Hv)
            return v / np.sqrt(size), Hv / np.sqrt(size), size / whole

        while 2 * len(found) < hessian.sizes[1]:
            known = [x for x, _ in kept]
            if len(found) >= k:  # a rough eigenvalue tells whether a lower frequency is left
                (rough, *_), *_ = self._largest(1, max(accuracy, 1e-3), known)
                if rough <= found[k - 1][0] * (1.0 + 1e-3):
                    break
            for value, v, w in self._largest(max(1, k - len(found)), accuracy, known):
                a, Ha, new = normalised(v)
                if new < 0.25:  # a copy by round-off
                    continue
                b, Hb, _ = normalised(w)
                kept += [(a, Ha), (b, Hb)]
                found.append((value, a, b))
            found.sort(key=lambda item: -item[0])
        return found[:k]

    def _times(self, x: Array) -> Array:
        self._b.setArray(x)
        self.H.mult(self._b, self._x)
        return np.array(self._x.array_r)

    def _largest(self, count: int, accuracy: float, known: Sequence[Array]) -> list[Pair]:
        """Return the largest eigenvalues, but for the known vectors', with pairs of vectors.

        Eigenvectors of H^-1 S are a - i b: its Krylov space holds both of each pair, at one solve a
        vector, and no copies. Off the known vectors, which span an invariant space, its spectrum is
        the rest.
        """
        from slepc4py import SLEPc  # a DOLFINx without SLEPc can do the rest

        hessian, comm = self.hessian, self.hessian.land.comm
        shape = (hessian.sizes, hessian.sizes)
        A = PETSc.Mat().createPython(shape, _Mult(self._slowed), comm=comm)
        A.setUp()
        eps = SLEPc.EPS().create(comm)
        eps.setOperators(A)
        eps.setProblemType(SLEPc.EPS.ProblemType.NHEP)
        eps.setType(SLEPc.EPS.Type.KRYLOVSCHUR)
        eps.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_MAGNITUDE)
        free = hessian.sizes[1] - len(known)
        wanted = min(2 * count, free)
        eps.setDimensions(wanted, min(2 * wanted + 12, free))
        eps.setTolerances(accuracy, 200)
        x, y = hessian.vector(), hessian.vector()
        land = hessian.land
        x.setArray(hessian.solve_roughly(hessian.reduce(land.random_gradient(hessian.p, 0))))
        eps.setInitialSpace(x)
        deflated = [hessian.vector() for _ in known]
        for vector, values in zip(deflated, known, strict=True):
            vector.setArray(values)
        if known:
            eps.setDeflationSpace(deflated)
        try:
            eps.solve()
            found = eps.getConverged()
            if found < wanted:
                raise ConvergenceError(
                    f"eigenmodes: {found} of {wanted} eigenvalues converged in "
                    f"{eps.getIterationNumber()} iterations of SLEPc: fewer modes (k), or a larger "
                    "accuracy, may help",
                    reason=int(eps.getConvergedReason()),
                    iterations=int(eps.getIterationNumber()),
                    t=float("nan"),
                )
            pairs: list[Pair] = []
            for index in range(found):
                value = eps.getEigenpair(index, x, y)
                if value.imag > 0.0:  # one of each conjugate pair
                    pairs.append((value.imag**2, np.array(x.array_r), -np.array(y.array_r)))
            return pairs
        finally:
            for item in (eps, A, x, y, *deflated):
                item.destroy()

    def _slowed(self, x: Array) -> Array:
        return self.inverse(self.hessian.spin(x))


class _Mult:
    """A function of local arrays as the context of a PETSc matrix."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self._function = function

    def mult(self, A: Any, x: PETSc.Vec, y: PETSc.Vec) -> None:
        y.setArray(self._function(np.array(x.array_r)))
