# SPDX-License-Identifier: LGPL-3.0-or-later
"""The one way to a PETSc solver: layered options, a result with its reason, one kind of error.

An owner makes ``Options`` from what its user gave, hands them to ``Krylov`` or ``Newton``, solves,
and asks the ``Result`` to ``check`` itself::

    options = Options("llg_spin_", petsc_options)
    krylov = Krylov(A, options, defaults={"pc_type": "gamg"})
    krylov.solve(b, x).check("spin accumulation", t)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import numpy as np

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.options import Options

__all__ = ["RIGHT_GMRES", "Krylov", "Newton", "Options", "Result", "check_real_build"]

#: Right GMRES, whose residual is the true one whatever the preconditioner.
RIGHT_GMRES: Mapping[str, Any] = {
    "ksp_type": "gmres",
    "ksp_pc_side": "right",
    "ksp_gmres_restart": 60,
    "ksp_rtol": 1e-8,
    "ksp_max_it": 600,
}
#: A method without a convergence test must leave less than this part of the right side: a
#: factorization leaves 1e-12 to 1e-9, an approximate preconditioner 1e-3 to 1.
DIRECT_RTOL = 1e-6


def check_real_build() -> None:
    """Raise RuntimeError unless PETSc is built for real numbers in double precision."""
    if np.dtype(PETSc.ScalarType) != np.float64:
        raise RuntimeError(
            "dolfinx_llg needs a real double-precision PETSc, this one has scalars of type "
            f"{np.dtype(PETSc.ScalarType).name}: install the real build of DOLFINx"
        )


@dataclass(frozen=True)
class Result:
    """What a solve came to; the same on every rank.

    Attributes:
        reason: PETSc's converged reason, positive where the solve converged.
        iterations: Krylov iterations, those of all Newton steps together.
        newton_iterations: Newton iterations (0 of a linear solve).
        failure: How it failed, in words; empty where it converged.
        finite: False where a NaN or inf was met, against which no smaller step helps.
    """

    reason: int
    iterations: int
    newton_iterations: int = 0
    failure: str = ""
    finite: bool = True

    @property
    def converged(self) -> bool:
        """Whether x holds the solution."""
        return self.reason > 0

    def check(self, what: str, t: float = math.nan) -> Result:
        """Return this result if the solve converged.

        Args:
            what: What was solved, the subject of the error's sentence.
            t: Time of the level that was to be reached; NaN where there is none.

        Raises:
            ConvergenceError: If the solve failed.
        """
        if self.converged:
            return self
        when = "" if math.isnan(t) else f" at t = {t:.6g}"
        dt = "" if math.isnan(t) else "a smaller dt, or "
        advice = f"try {dt}other petsc_options"
        if not self.finite:
            advice = "look for NaN or inf in m, the fields and the coefficients"
        raise ConvergenceError(
            f"{what} did not converge{when}: {self.failure}; {advice}",
            reason=self.reason,
            iterations=self.iterations,
            t=t,
        )


NOT_FINITE = Result(
    int(PETSc.KSP.ConvergedReason.DIVERGED_NANORINF),
    0,
    failure="the right side is not finite",
    finite=False,
)


class _Solver:
    """What linear and nonlinear solvers share: options, the preconditioner, the end."""

    def __init__(self, target: PETSc.KSP | PETSc.SNES, options: Options) -> None:
        check_real_build()
        self._target, self.options = target, options
        self.ksp: PETSc.KSP = target if isinstance(target, PETSc.KSP) else target.getKSP()
        self.result = Result(0, 0)

    def _configure(self, defaults: Mapping[str, Any], context: Any) -> None:
        self._defaults = dict(defaults)
        if self.options.given("ksp_type"):  # another method has a side of its own
            self._defaults.pop("ksp_pc_side", None)
        self._target.setOptionsPrefix(self.options.prefix)
        if context is not None:
            self.precondition(context)
        with self.options.in_force(self._defaults):
            self._target.setFromOptions()
        self.method = str(self._target.getType())
        self._direct = self.ksp.getType() == PETSc.KSP.Type.PREONLY

    @property
    def preconditioned(self) -> bool:
        """Whether a preconditioner of ours may be set: the options do not name another one."""
        return not self.options.given("pc_type")

    def precondition(self, context: Any) -> None:
        """Use an object with ``apply(pc, r, y)`` as the preconditioner, unless options name one."""
        if self.preconditioned:
            self._defaults.pop("pc_type", None)
            self.ksp.getPC().setType(PETSc.PC.Type.PYTHON)
            self.ksp.getPC().setPythonContext(context)

    def destroy(self) -> None:
        """Free the solver. Collective."""
        self._target.destroy()


@checked
class Krylov(_Solver):
    """A KSP for one matrix, whose values may change between solves.

    Defaults of the owner lie below the user's options, and those below the command line. They are
    in force in set-up and solves, where nested solvers (levels of AMG, splits) read them.

    Args:
        A: The matrix.
        options: The user's options.
        defaults: Defaults of the owner.
        context: Preconditioner in Python; options that name a ``pc_type`` replace it.

    Attributes:
        ksp: PETSc's object.
        options: The user's options.
        result: The last result.

    Raises:
        RuntimeError: If PETSc is built for complex numbers.
        ValueError: If an option has a value that PETSc does not understand.
    """

    def __init__(
        self,
        A: PETSc.Mat,
        options: Options,
        *,
        defaults: Mapping[str, Any] = RIGHT_GMRES,
        context: Any = None,
    ) -> None:
        super().__init__(PETSc.KSP().create(A.comm), options)
        self._A = A
        self.ksp.setOperators(A)
        self._configure(defaults, context)

    def set_up(self) -> None:
        """Factorize the matrix as it is now (``solve`` would do it). Collective."""
        self.ksp.setOperators(self._A)  # tells PETSc that the values are new
        with self.options.in_force(self._defaults):
            self.ksp.setUp()
            self.ksp.setUpOnBlocks()

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> Result:
        """Solve for x from the guess in x, and return the result; see ``Result.check``. Collective.

        A right side of zero gives x = 0. A method that tests no convergence (``preonly``) has
        converged where the residual says so.

        Args:
            b: Right side.
            x: Guess, then the solution.

        Raises:
            ValueError: If an option has a value that PETSc does not understand.
        """
        size = b.norm()
        if size == 0.0:  # no residual could fall below a part of it
            x.set(0.0)
            self.result = Result(int(PETSc.KSP.ConvergedReason.CONVERGED_ATOL), 0)
            return self.result
        if not math.isfinite(size):
            self.result = NOT_FINITE
            return self.result
        # A start at zero spares a product.
        self.ksp.setInitialGuessNonzero(not self._direct and x.norm() > 0.0)
        with self.options.in_force(self._defaults):
            self.ksp.solve(b, x)
        self.options.report_unused()
        self.result = _result(self.ksp)
        if self.result.reason == PETSc.KSP.ConvergedReason.CONVERGED_ITS:
            self.result = self._measured(b, x, size)
        return self.result

    def _measured(self, b: PETSc.Vec, x: PETSc.Vec, size: float) -> Result:
        """Return what the residual says of a method that has tested nothing."""
        rest = b.duplicate()
        self._A.mult(x, rest)
        rest.aypx(-1.0, b)
        part = rest.norm() / size
        rest.destroy()
        if part <= DIRECT_RTOL:
            return self.result
        failure = (
            f"ksp_type {self.ksp.getType()!r} with pc_type {self.ksp.getPC().getType()!r} tests no "
            f"convergence and leaves {part:.1e} of the right side (a pc_type that factorizes, or "
            "an iterative ksp_type, would not)"
        )
        reason = int(PETSc.KSP.ConvergedReason.DIVERGED_MAX_IT)
        return Result(reason, self.result.iterations, failure=failure)

    def apply(self, b: PETSc.Vec, x: PETSc.Vec) -> Result:
        """Solve from zero for an owner that judges x itself, after ``set_up``. Collective.

        This is what preconditioners do with their parts: nothing is measured or reported.

        Args:
            b: Right side.
            x: Solution; no guess.
        """
        self.ksp.solve(b, x)
        return _result(self.ksp)


@checked
class Newton(_Solver):
    """A SNES for ``F(x) = 0``, with the options of its linear solver.

    Args:
        A: Matrix of the Newton systems, which ``jacobian`` fills.
        options: The user's options (``snes_``, ``ksp_``, ``pc_``).
        residual: Called as ``residual(x, F)``, sets F. It must not hold this object, which PETSc
            would then never free.
        jacobian: Called as ``jacobian(x)``, sets the values of A.
        defaults: Defaults of the owner.
        context: Preconditioner in Python; options that name a ``pc_type`` replace it.

    Attributes:
        snes: PETSc's object.
        ksp: Its linear solver.
        options: The user's options.
        result: The last result.

    Raises:
        RuntimeError: If PETSc is built for complex numbers.
        ValueError: If an option has a value that PETSc does not understand.
    """

    def __init__(
        self,
        A: PETSc.Mat,
        options: Options,
        *,
        residual: Callable[[PETSc.Vec, PETSc.Vec], None],
        jacobian: Callable[[PETSc.Vec], None],
        defaults: Mapping[str, Any],
        context: Any = None,
    ) -> None:
        super().__init__(PETSc.SNES().create(A.comm), options)
        self.snes: PETSc.SNES = self._target
        self._F = A.createVecLeft()
        self.snes.setFunction(_call_residual, self._F, args=(residual,))
        self.snes.setJacobian(_call_jacobian, A, args=(jacobian,))
        self.ksp.setOperators(A)
        self._configure(defaults, context)
        self._rtol, self._atol = self.snes.getTolerances()[:2]

    def solve(self, x: PETSc.Vec, *, size: float) -> Result:
        """Solve from the guess in x until ``|F| <= snes_rtol size``, and return the result.

        Args:
            x: Guess, then the solution.
            size: What the tolerance is relative to; |F| of a good guess would be too small.

        Raises:
            ValueError: If an option has a value that PETSc does not understand.

        Note: Collective.
        """
        if not math.isfinite(size):
            self.result = NOT_FINITE
            return self.result
        self.snes.setTolerances(rtol=0.0, atol=max(self._atol, self._rtol * size))
        with self.options.in_force(self._defaults):
            self.snes.solve(None, x)
        self.options.report_unused()
        self.result = _result(self.snes)
        return self.result

    def destroy(self) -> None:
        """Free the solver and its vector. Collective."""
        super().destroy()
        self._F.destroy()


def _call_residual(
    snes: PETSc.SNES, x: PETSc.Vec, F: PETSc.Vec, residual: Callable[[PETSc.Vec, PETSc.Vec], None]
) -> None:
    residual(x, F)


def _call_jacobian(
    snes: PETSc.SNES,
    x: PETSc.Vec,
    J: PETSc.Mat,
    P: PETSc.Mat,
    jacobian: Callable[[PETSc.Vec], None],
) -> None:
    jacobian(x)


def _result(solver: PETSc.KSP | PETSc.SNES) -> Result:
    """Return what PETSc says of its last solve."""
    reason = int(solver.getConvergedReason())
    newton, steps = 0, ""
    if isinstance(solver, PETSc.KSP):
        iterations = int(solver.getIterationNumber())
    else:
        iterations = int(solver.getLinearSolveIterations())
        newton = int(solver.getIterationNumber())
        steps = f" in {newton} full Newton steps"
    if reason > 0:
        return Result(reason, iterations, newton)
    names = {v: k for k, v in vars(type(solver).ConvergedReason).items() if isinstance(v, int)}
    failure = (
        f"{names.get(reason, 'unknown reason')} ({reason}) after {iterations} Krylov "
        f"iterations{steps}"
    )
    finite = names.get(reason) not in ("DIVERGED_NANORINF", "DIVERGED_FNORM_NAN")
    return Result(reason, iterations, newton, failure, finite)
