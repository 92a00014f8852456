# SPDX-License-Identifier: LGPL-3.0-or-later
"""WeakStepper: the steps of a WeakStep, solved by PETSc's GMRES or Newton's method."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from petsc4py import PETSc

import numpy as np
from dolfinx import fem

from dolfinx_llg.collective import together
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import RIGHT_GMRES, Krylov, Newton, Options, check_real_build
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.base import FunctionStepper
from dolfinx_llg.solvers.coarse_operators import CoarseOperators, is_spread
from dolfinx_llg.solvers.operators import SAME, Operators, StepOperators
from dolfinx_llg.solvers.preconditioner import ComponentPreconditioner
from dolfinx_llg.solvers.stepper import Memory, extrapolation, stepper
from dolfinx_llg.solvers.watch import Watch

__all__ = ["WeakStepper"]

# Newton stops at snes_rtol times the right side, as GMRES does in the linear schemes; its inner
# systems start from a residual that is small already and need fewer digits.
NEWTON_DEFAULTS = {
    **RIGHT_GMRES,
    "snes_type": "newtonls",
    "snes_linesearch_type": "basic",
    "snes_max_it": 25,
    "snes_rtol": 1e-8,
    "snes_stol": 0.0,
    "ksp_rtol": 1e-3,
}
LEVELS = 3
"""Iterates from which the start of the next solve is extrapolated."""

BAND = 2.0
"""A preconditioner serves for time steps within this factor of the one that it was built for.

Measured for gao, rtol 1e-8, damping .1 to 1: 1.0 to 1.5 times the iterations at a factor of 2, 1.2
to 2.1 times at 4, 1.7 to 3 times at 8.
"""

WORN = (2.0, 5.0)
"""It is built anew where a solve takes more than this factor and summand beyond its first one."""


@checked
class WeakStepper(FunctionStepper):
    """The stepper of a ``WeakStep``; it keeps all that does not change between steps.

    The preconditioner is built from the constant blocks, and built again when dt leaves a band
    around the one that it was built for, or when data have changed so much that the iterations
    double. Krylov and Newton start from the extrapolation of the
    last three iterates to the new time.

    Iterations grow neither with 1/h nor with dt; small dampings, Delaunay meshes of tetrahedra with
    a large contrast, and several ranks in 2D take more (``demo_solver_cost``).

    Args:
        step: The step.
        basis: Subspace in which the new iterate is sought (None: the whole fine space).
        petsc_options: PETSc options of the linear (``ksp_``, ``pc_``) and nonlinear (``snes_``)
            solver without prefix; those of the scalar operators inside the default preconditioner
            start with ``scalar_``. Default: right GMRES to rtol 1e-8 of the right side with
            ``ComponentPreconditioner``. An own ``pc_type`` is applied to the assembled matrix.
        petsc_options_prefix: Prefix under which the command line reaches these solvers.
        operators: Operators of the step, where they are no projections of those of its mesh
            (reductions); None: those of the fine space or of ``basis``.

    Attributes: see also ``FunctionStepper``.
        operators: The operators of the step.

    Raises:
        RuntimeError: If PETSc is built for complex numbers.
        ValueError: If the basis does not fit the space.
    """

    follows = True

    def __init__(
        self,
        step: WeakStep,
        *,
        basis: GalerkinBasis | None = None,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_",
        operators: Operators | None = None,
    ) -> None:
        check_real_build()
        assert step.x is not None
        kept = [f for b in step.constant for f in (b.form, b.stretched) if f is not None]
        moving = [step.m, step.x, *step.levels]
        super().__init__(step, step.x, basis, kept, moving)
        # A linear step reads no option of Newton's method, which a user may give to all schemes.
        tolerated = () if step.nonlinear is not None else ("snes_",)
        self._options = Options(petsc_options_prefix, petsc_options, tolerated=tolerated)
        self._dt = self._built_for = math.nan
        self._first_count = math.nan  # iterations of the first solve with the preconditioner
        self._component_pc: ComponentPreconditioner | None = None
        self._default_pc = not self._options.given("pc_type")
        # An own preconditioner reads the matrix: then the triple products are formed.
        self.operators: Operators
        if operators is not None:
            self.operators = operators
        elif basis is not None and self._default_pc and is_spread(basis):
            self.operators = CoarseOperators(step, basis)
        else:
            self.operators = StepOperators(step, basis, blocked=self._default_pc)
        # A matrix that depends on m may keep tensors made of the same data.
        self._watch = Watch([*kept, *self.operators.kept_forms], moving)
        self._u, self._work = self.operators.b.duplicate(), self.operators.b.duplicate()
        # Directions are those of m itself, not of what is left of it beside the lift.
        self._lifted: PETSc.Vec | None = None
        if basis is not None and basis.lift is not None:
            self._lifted, fine = self._u.duplicate(), basis.fine_vector()
            fine.array[:] = basis.lift
            basis.coefficients(fine, self._lifted)
            fine.destroy()
        self._previous: list[PETSc.Vec] = []
        self._times: list[float] = []
        self._create_solver()
        if operators is None:  # a reduced run knows m on its samples alone
            self.check_damping(lumped=False)

    def _create_solver(self) -> None:
        operators = self.operators
        self._solver: Krylov | Newton
        if self.step.nonlinear is None:
            self._solver = Krylov(operators.A, self._options)
            return
        self._linear = linear = operators.A.duplicate(copy=True)
        self._solver = Newton(
            operators.A,
            self._options,
            # Closures over the parts, not over this object: that would be a cycle through PETSc.
            residual=lambda u, F: operators.nonlinear_residual(linear, u, F),
            jacobian=lambda u: operators.newton_matrix(linear, u),
            defaults=NEWTON_DEFAULTS,
        )

    def _follow(self, basis: GalerkinBasis) -> None:
        """Take the functions of an updated basis: starts of the solver are forgotten."""
        self._forget_starts()
        if isinstance(self.operators, CoarseOperators):
            self.operators.follow()
        elif isinstance(self.operators, StepOperators):
            self.operators = StepOperators(self.step, basis, blocked=self._default_pc)
        else:
            super()._follow(basis)
        self._solver.destroy()
        self._create_solver()
        self._component_pc, self._dt, self._built_for = None, math.nan, math.nan

    # -- what depends on dt and on the data --------------------------------------------------------

    def seconds_projection(self) -> float:
        """Wall time spent in P and its transpose since the object was made, a part of the solves.

        0 in the fine space, and where triple products are formed.
        """
        parts = self.operators
        return parts.seconds_projection if isinstance(parts, CoarseOperators) else 0.0

    def _reassemble(self) -> None:
        """Assemble the constant blocks anew: data of implicit terms have changed."""
        self.operators.reassemble()
        self._dt = math.nan

    def _set_time_step(self, dt: float) -> None:
        """Make anew what depends on dt: the weighted sum, outside the band the preconditioner."""
        if dt != self._dt:
            self.operators.set_time_step(dt)
            self._dt = dt
        if self._default_pc and not 1 / BAND <= dt / self._built_for <= BAND:
            if self._component_pc is not None:
                self._component_pc.destroy()
                tidy(self.m.function_space.mesh)
            self._component_pc = self._build_preconditioner(dt)
            self._solver.precondition(self._component_pc)
            self._built_for, self._first_count = dt, math.nan

    def _build_preconditioner(self, dt: float) -> ComponentPreconditioner:
        step, operators = self.step, self.operators
        mesh = step.m.function_space.mesh
        S, stiff = operators.scalar_operator(dt, stretched=True)
        phi: Any = step.rotation() if callable(step.rotation) else step.rotation
        if isinstance(phi, np.ndarray):
            phi = phi[: self._owned]
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
        return ComponentPreconditioner(
            S, along, self._options.inside("scalar_"), angle, mesh.topology.dim
        )

    # -- one step ----------------------------------------------------------------------------------

    def _solve(self, t: float, dt: float) -> None:
        step, operators = self.step, self.operators
        begin, assembled = time.perf_counter(), operators.seconds
        self._set_time_step(dt)
        setup = time.perf_counter() - begin
        with together(step.m.function_space.mesh.comm):
            step.update(step.m, t)
        if self._component_pc is not None and step.rotation:
            operators.gather(step.m, self._work)
            if self._lifted is not None:
                self._work.axpy(1.0, self._lifted)
            self._component_pc.set_direction(self._work.array.reshape(-1, 3))
        operators.assemble(dt)
        _check_right_side(operators.b, self.name, t)
        self._guess(t)
        if isinstance(self._solver, Newton):
            operators.A.copy(self._linear, SAME)
            result = self._solver.solve(self._u, size=operators.b.norm())
        else:
            result = self._solver.solve(operators.b, self._u)
        self.iterations, self.newton_iterations = result.iterations, result.newton_iterations
        result.check(f"{step.name} ({self._solver.method})", t)
        self._watch_wear(result.iterations / max(result.newton_iterations, 1))
        operators.scatter(self._u, self._candidate)
        self._iterate = self._candidate.x.array.copy() if step.levels else None
        if step.projection:
            self._project_candidate(t)
        assembly = operators.seconds - assembled
        rest = time.perf_counter() - begin - setup - assembly
        self.seconds = {"setup": setup, "assembly": assembly, "solve": rest}

    def _watch_wear(self, count: float) -> None:
        """Have a preconditioner built anew that no longer fits the data."""
        if math.isnan(self._first_count):
            self._first_count = count
        elif count > WORN[0] * self._first_count + WORN[1]:
            self._built_for = math.nan

    def _guess(self, t: float) -> None:
        """Extrapolate the last iterates to the new time."""
        if not self._previous:
            self.operators.gather(self.step.m, self._u)
            return
        self._u.set(0.0)
        weights = extrapolation(self._times, t)
        for weight, vector in zip(weights, self._previous, strict=True):
            self._u.axpy(float(weight), vector)

    def iterate(self) -> fem.Function:
        """Return the iterate of the last ``advance`` before its projection. Collective."""
        function = fem.Function(self.step.m.function_space, name="iterate")
        self.operators.scatter(self._u, function)
        return function

    # -- earlier steps -----------------------------------------------------------------------------

    def _keep(self) -> None:
        step = self.step
        self.operators.accept(self._u)
        latest = self._previous.pop() if len(self._previous) == LEVELS else self._u.duplicate()
        self._u.copy(latest)
        self._previous.insert(0, latest)
        assert self._pending is not None
        self._times = [self._pending.t, *self._times][:LEVELS]
        for newer, older in reversed(list(zip(step.levels, step.levels[1:], strict=False))):
            older.x.array[:] = newer.x.array
        if step.levels:
            step.levels[0].x.array[:] = self._iterate

    def _forget(self) -> None:
        self._forget_starts()

    def _forget_starts(self) -> None:
        for vector in self._previous:
            vector.destroy()
        self._previous, self._times = [], []

    def _memory(self) -> Memory:
        memory = Memory(numbers=self._numbers())
        for index, vector in enumerate(self._previous):
            memory.keep(f"x_{index}", vector.array_r, self._basis)
        for index, level in enumerate(self.step.levels):
            memory.keep(f"level_{index}", self._values(level), None)
        return memory

    def _numbers(self) -> dict[str, list[float]]:
        return {
            "x_times": list(self._times),
            "preconditioner": [self._built_for, self._first_count],
        }

    def _take_numbers(self, numbers: Mapping[str, list[float]]) -> None:
        built_for, first_count = numbers.get("preconditioner", [math.nan, math.nan])
        if math.isfinite(built_for):
            self._set_time_step(built_for)
            self._first_count = first_count

    def _take(self, memory: Memory) -> None:
        self._forget()
        self._times = list(memory.numbers.get("x_times", []))
        work = fem.Function(self.step.m.function_space)
        for index in range(len(self._times)):
            self._fill(work, memory, f"x_{index}")
            vector = self._u.duplicate()
            self.operators.gather(work, vector)
            self._previous.append(vector)
        for index, level in enumerate(self.step.levels):
            if f"level_{index}" not in memory.fields:
                raise ValueError(
                    f"{self.name} needs {len(self.step.levels)} earlier levels to go on, the "
                    "checkpoint has none: it belongs to another scheme"
                )
            self._fill(level, memory, f"level_{index}")
        self._take_numbers(memory.numbers)

    def _fill(self, function: fem.Function, memory: Memory, name: str) -> None:
        self._values(function)[:] = memory.fields[name]
        function.x.scatter_forward()


@stepper.register
def _(
    step: WeakStep,
    *,
    basis: GalerkinBasis | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
) -> WeakStepper:
    prefix = "llg_" if petsc_options_prefix is None else petsc_options_prefix
    return WeakStepper(step, basis=basis, petsc_options=petsc_options, petsc_options_prefix=prefix)


def _check_right_side(vector: PETSc.Vec, name: str, t: float) -> None:
    """Raise RuntimeError if a right side is not finite: no smaller step would help. Collective."""
    if not math.isfinite(vector.norm()):
        raise RuntimeError(
            f"{name}: the right side of the step to t = {t:.6g} is not finite: a field, a "
            "coefficient or m is NaN or infinite there"
        )
