# SPDX-License-Identifier: LGPL-3.0-or-later
"""StepSolver: one WeakStep solved by PETSc, by GMRES or by Newton's method."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np
from dolfinx import fem

from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import (
    Options,
    check_real_build,
    convergence_error,
    options_in_force,
)
from dolfinx_llg.schemes.step import WeakStep, check_time_step
from dolfinx_llg.solvers.coarse_operators import CoarseOperators, is_spread
from dolfinx_llg.solvers.operators import SAME, Operators, ReducedSpace, StepOperators
from dolfinx_llg.solvers.preconditioner import ComponentPreconditioner

__all__ = ["StepSolver"]

LINEAR_DEFAULTS = {
    "ksp_type": "gmres",
    "ksp_pc_side": "right",
    "ksp_gmres_restart": 60,
    "ksp_rtol": 1e-8,
    "ksp_max_it": 600,
}
# Newton stops at snes_rtol times the right side, as GMRES does in the linear schemes; its inner
# systems start from a residual that is small already and need fewer digits.
NEWTON_DEFAULTS = {
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_max_it": 25,
    "snes_rtol": 1e-8,
    "snes_stol": 0.0,
    "ksp_rtol": 1e-3,
}


@checked
class StepSolver:
    """Solves the steps of a scheme, keeping all that does not change between them.

    The preconditioner is built from the constant blocks and rebuilt only when dt changes. Krylov
    and Newton start from the extrapolation of the last three iterates.

    Args:
        step: The step to solve.
        basis: Subspace in which the new iterate is sought (None: the whole fine space). The
            initial magnetization is to enter it too (``enter_basis``; ``march`` does it).
        petsc_options: PETSc options of the linear (``ksp_``, ``pc_``) and nonlinear (``snes_``)
            solver without prefix; those of the scalar operators inside the default preconditioner
            start with ``scalar_``. Default: right GMRES to rtol 1e-8 of the right side with
            ``ComponentPreconditioner``. An own ``pc_type`` is applied to the assembled matrix.
        petsc_options_prefix: Prefix under which the command line reaches these solvers.

    Attributes:
        iterations: Krylov iterations of the last step (all Newton steps together).
        newton_iterations: Newton iterations of the last step (0 for linear schemes).
        seconds: Wall time of the last step on this rank, by part: "setup" (what a new dt costs),
            "assembly" (matrices and vectors, Newton's too), "solve" (the rest).

    Raises:
        RuntimeError: If PETSc is built for complex numbers.
        ValueError: If the basis does not fit the space.
    """

    def __init__(
        self,
        step: WeakStep,
        *,
        basis: GalerkinBasis | ReducedSpace | None = None,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_",
    ) -> None:
        check_real_build()
        if not petsc_options_prefix:
            raise ValueError("petsc_options_prefix must not be empty")
        self.step = step
        self._prefix = petsc_options_prefix
        self._options: dict[str, Any] = dict(petsc_options or {})
        self.iterations = self.newton_iterations = 0
        self.seconds = {"setup": 0.0, "assembly": 0.0, "solve": 0.0}
        self._scalar_options = Options(petsc_options_prefix, self._options).inside("scalar_")
        self._dt = math.nan
        self._checked_options = False
        self._reduced = isinstance(basis, ReducedSpace)
        self._component_pc: ComponentPreconditioner | None = None
        # What earlier solvers left to petsc4py's collector; collective, as this constructor is.
        PETSc.garbage_cleanup(step.m.function_space.mesh.comm)

        foreign = "pc_type" in self._options or PETSc.Options().hasName(self._prefix + "pc_type")
        self._default_pc = not foreign
        # An own preconditioner reads the matrix: then the triple products are formed.
        self.operators: Operators
        if isinstance(basis, ReducedSpace):
            self.operators = basis.operators(step)
        elif basis is not None and self._default_pc and is_spread(basis):
            self.operators = CoarseOperators(step, basis)
        else:
            self.operators = StepOperators(step, basis, blocked=self._default_pc)
        self._u, self._work = self.operators.b.duplicate(), self.operators.b.duplicate()
        self._previous: list[PETSc.Vec] = []
        self._create_solver()

    def _create_solver(self) -> None:
        A = self.operators.A
        defaults: dict[str, Any] = dict(LINEAR_DEFAULTS)
        if self.step.nonlinear is None:
            self._snes = None
            self._ksp = target = PETSc.KSP().create(A.comm)
        else:
            self._snes = target = PETSc.SNES().create(A.comm)
            self._ksp = self._snes.getKSP()
            self._linear = A.duplicate(copy=True)
            parts = (self.operators, self._linear)  # not self: that would be a cycle
            self._snes.setFunction(_residual, self._work.duplicate(), args=parts)
            self._snes.setJacobian(_jacobian, A, args=parts)
            defaults |= NEWTON_DEFAULTS
        self._ksp.setOperators(A)
        if self._default_pc:
            self._ksp.getPC().setType(PETSc.PC.Type.PYTHON)
        outer = {k: v for k, v in self._options.items() if not k.startswith("scalar_")}
        if "ksp_type" in outer:  # a solver of the user's has its own preferred side
            defaults.pop("ksp_pc_side")
        self._outer_options = defaults | outer
        target.setOptionsPrefix(self._prefix)
        self._used: set[str] = set()
        with options_in_force(self._prefix, self._outer_options, self._used):
            target.setFromOptions()
        direct = self._ksp.getType() == PETSc.KSP.Type.PREONLY
        self._ksp.setInitialGuessNonzero(self._snes is None and not direct)
        if self._snes is not None:
            self._rtol, self._atol, _, _ = self._snes.getTolerances()

    def enter_basis(self) -> None:
        """Replace m by P Psi m, as a run in a subspace starts (nothing without a basis).

        Raises:
            ValueError: If that changes m by more than the basis's ``entry_tolerance``.
        """
        basis, m = self.operators.basis, self.step.m
        if basis is None:
            return
        before = m.x.array.copy()
        self.operators.gather(m, self._work)
        self.operators.scatter(self._work, m)
        try:
            basis.check_entry(before, m.x.array)
        except ValueError:
            m.x.array[:] = before
            raise

    def reassemble(self) -> None:
        """Take up changed data of implicit terms (values of kappa, q_u, Ms).

        Constant blocks are assembled once per solver: whoever changes their data in the course of
        a run calls this (``state.solver.reassemble()``) before the next step. Explicit terms and
        applied fields are read anew in every step.
        """
        self.operators.reassemble()
        self._dt = math.nan

    def _set_time_step(self, dt: float) -> None:
        """Rebuild what depends on dt alone: the weighted sum and the preconditioner."""
        self.operators.set_time_step(dt)
        if self._default_pc:
            if self._component_pc is not None:
                self._component_pc.destroy()
                PETSc.garbage_cleanup(self.step.m.function_space.mesh.comm)
            self._component_pc = self._build_preconditioner(dt)
            self._ksp.getPC().setPythonContext(self._component_pc)
        self._dt = dt

    def _build_preconditioner(self, dt: float) -> ComponentPreconditioner:
        step, operators = self.step, self.operators
        mesh = step.m.function_space.mesh
        S, stiff = operators.scalar_operator(dt, stretched=True)
        phi: Any = step.rotation
        if isinstance(phi, fem.Function):
            phi = phi.x.array[: phi.function_space.dofmap.index_map.size_local]
            if operators.basis is not None:  # its functions spread over many nodes
                sums = np.sum(mesh.comm.allgather((phi.sum(), len(phi))), axis=0)
                phi = sums[0] / sums[1]
        # Half the angle by which a mode of average stiffness is turned: the full phi/2 where the
        # stiffness rules, none where the mass (the first block) does.
        angle = 0.5 * np.arctan2(stiff * np.sin(phi), 1.0 + stiff * np.cos(phi))
        # Where the stretch hypot(1, lambda)/lambda exceeds 2, the part along m is solved apart.
        highest = max(mesh.comm.allgather(float(np.max(phi, initial=0.0))))
        along = None
        if highest > math.pi / 3:
            along, _ = operators.scalar_operator(dt, stretched=False)
        return ComponentPreconditioner(S, along, self._scalar_options, angle, mesh.topology.dim)

    def solve(self, t: float) -> None:
        """Advance ``step.m`` by one step to the time ``t`` of the new level.

        Raises:
            ValueError: If dt has been set to a value that is not positive.
            ConvergenceError: If the solver did not converge; m keeps its last good value.
        """
        step, operators = self.step, self.operators
        dt = float(step.dt.value)
        check_time_step(dt)
        begin, assembled = time.perf_counter(), operators.seconds
        if dt != self._dt:
            self._set_time_step(dt)
            del self._previous[1:]  # the extrapolation supposes equal steps
        setup = time.perf_counter() - begin
        step.update(step.m, t)
        if self._component_pc is not None and step.rotation:
            operators.gather(step.m, self._work)
            self._component_pc.set_direction(self._work.array.reshape(-1, 3))
        operators.assemble(dt)
        self._guess()
        with options_in_force(self._prefix, self._outer_options, self._used):
            solver = self._solve_linear() if self._snes is None else self._solve_nonlinear()
        self._warn_of_unused_options()
        if solver.getConvergedReason() <= 0:
            raise convergence_error(solver, f"{step.name} ({solver.getType()})", t)
        assert step.x is not None
        operators.scatter(self._u, step.x)
        step.accept()
        self._remember()
        assembly = operators.seconds - assembled
        rest = time.perf_counter() - begin - setup - assembly
        self.seconds = {"setup": setup, "assembly": assembly, "solve": rest}

    def _warn_of_unused_options(self) -> None:
        """Warn once, after the first solve, of the user's options that PETSc never asked for."""
        if self._checked_options:
            return
        self._checked_options = True
        used = self._used | self._scalar_options.read
        linear = self._snes is None
        unused = [k for k in self._options if k not in used and not (linear and k[:5] == "snes_")]
        if unused:
            warnings.warn(f"petsc_options that no solver used: {unused}", stacklevel=4)

    def _guess(self) -> None:
        """Extrapolate the last iterates to the new level (quadratically once there are three)."""
        if not self._previous:
            self.operators.gather(self.step.m, self._u)
            return
        factors = {1: (1.0,), 2: (2.0, -1.0), 3: (3.0, -3.0, 1.0)}[len(self._previous)]
        self._u.set(0.0)
        for factor, vector in zip(factors, self._previous, strict=True):
            self._u.axpy(factor, vector)

    def _solve_linear(self) -> PETSc.KSP:
        self._ksp.setOperators(self.operators.A)
        self._ksp.solve(self.operators.b, self._u)
        self.iterations = self._ksp.getIterationNumber()
        return self._ksp

    def _solve_nonlinear(self) -> PETSc.SNES:
        snes = self._snes
        assert snes is not None
        self.operators.A.copy(self._linear, SAME)
        # From a good start a residual relative to the first one could never be met.
        atol = max(self._atol, self._rtol * self.operators.b.norm())
        snes.setTolerances(rtol=0.0, atol=atol)
        snes.solve(None, self._u)
        self.iterations = snes.getLinearSolveIterations()
        self.newton_iterations = snes.getIterationNumber()
        return snes

    def _remember(self) -> None:
        latest = self._previous.pop() if len(self._previous) == 3 else self._u.duplicate()
        self._u.copy(latest)
        self._previous.insert(0, latest)

    def history(self) -> list[fem.Function]:
        """Return the last iterates, newest first, as fine functions (for a checkpoint).

        Raises:
            RuntimeError: In a reduced run, which knows m on samples alone.
        """
        if self._reduced:
            raise RuntimeError(
                "a reduced run knows m on samples alone: for a checkpoint write the state "
                "State(state.t, state.n, reduction.reconstruct(), state.dt)"
            )
        functions = []
        for index, vector in enumerate(self._previous):
            function = fem.Function(self.step.m.function_space, name=f"x_{index}")
            self.operators.scatter(vector, function)
            functions.append(function)
        return functions

    def restore(self, history: Sequence[fem.Function], dt: float) -> None:
        """Set the last iterates, newest first, as ``history`` returned them after steps of dt.

        Raises:
            ValueError: In a reduced run.
        """
        if self._reduced:
            raise ValueError(
                "a reduced run starts from the fine step's m: read the checkpoint into that, and "
                "march from t = state.t without resume"
            )
        self._previous = []
        for function in history:
            vector = self._u.duplicate()
            self.operators.gather(function, vector)
            self._previous.append(vector)
        # Equal steps go on with the whole history; solve() cuts it after a change of dt.
        if dt == float(self.step.dt.value):
            self._set_time_step(dt)


def _residual(
    snes: PETSc.SNES,
    u: PETSc.Vec,
    F: PETSc.Vec,
    operators: Operators,
    linear: PETSc.Mat,
) -> None:
    operators.nonlinear_residual(linear, u, F)


def _jacobian(
    snes: PETSc.SNES,
    u: PETSc.Vec,
    J: PETSc.Mat,
    P: PETSc.Mat,
    operators: Operators,
    linear: PETSc.Mat,
) -> None:
    operators.newton_matrix(linear, u)
