# SPDX-License-Identifier: LGPL-3.0-or-later
"""StepSolver: one WeakStep assembled, projected, solved by PETSc and prolonged."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix, assemble_vector, create_matrix, create_vector

from dolfinx_llg.algebra import (
    ComponentPreconditioner,
    ConvergenceError,
    GalerkinBasis,
    check_real_build,
    options_in_force,
)
from dolfinx_llg.schemes.step import WeakStep, check_time_step

__all__ = ["StepSolver"]

SAME = PETSc.Mat.Structure.SAME_NONZERO_PATTERN

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
    "ksp_rtol": 1e-4,
}


class StepSolver:
    """Assembles and solves the steps of a scheme, keeping all that does not change.

    Constant blocks are assembled (and projected) once; the matrix of a step is their weighted sum
    plus the varying form, assembled in place. The preconditioner is built from the constant blocks
    and rebuilt only when dt changes. Krylov starts from the extrapolation of the last iterates.

    Args:
        step: The step to solve.
        basis: Subspace in which the new iterate is sought (None: the whole fine space). The
            initial magnetization is to enter it too (``enter_basis``; ``march`` does it).
        petsc_options: PETSc options of the linear (``ksp_``, ``pc_``) and nonlinear (``snes_``)
            solver without prefix; those of the scalar operator inside the default preconditioner
            start with ``scalar_``. Default: right GMRES to rtol 1e-8 of the right side with
            ``ComponentPreconditioner``. An own ``pc_type`` is applied to the assembled matrix.
        petsc_options_prefix: Prefix under which the command line reaches these solvers.

    Attributes:
        iterations: Krylov iterations of the last step (all Newton steps together).
        newton_iterations: Newton iterations of the last step (0 for linear schemes).
        seconds: Wall time of the last step on this rank, by part: "setup" (what a new dt costs),
            "assembly" (matrix and right side), "solve" (Krylov; for Newton its assemblies too).

    Raises:
        RuntimeError: If PETSc is built for complex numbers.
        ValueError: If the basis does not fit the space.
    """

    def __init__(
        self,
        step: WeakStep,
        *,
        basis: GalerkinBasis | None = None,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_",
    ) -> None:
        check_real_build()
        if not petsc_options_prefix:
            raise ValueError("petsc_options_prefix must not be empty")
        self.step, self.basis = step, basis
        self._prefix = petsc_options_prefix
        self._options: dict[str, Any] = dict(petsc_options or {})
        self.iterations = self.newton_iterations = 0
        self.seconds = {"setup": 0.0, "assembly": 0.0, "solve": 0.0}
        self._dt = math.nan

        V = step.m.function_space
        index_map = V.dofmap.index_map
        if basis is not None and basis.P.getLocalSize()[0] != index_map.size_local * V.dofmap.bs:
            raise ValueError(
                f"the basis has {basis.P.getSize()[0]} rows, the space of m "
                f"{index_map.size_global * V.dofmap.bs} dofs (or they are distributed differently)"
            )
        self._compile()
        self._create_operators()
        self._create_solver()
        self._previous: list[PETSc.Vec] = []

    # -- set-up ---------------------------------------------------------------------------------

    def _compile(self) -> None:
        step = self.step
        self._constant = [fem.form(block.form) for block in step.constant]
        self._varying = None if step.varying is None else fem.form(step.varying)
        self._source = None if step.source is None else fem.form(step.source)
        self._nonlinear = self._jacobian = None
        total = sum((block.form for block in step.constant[1:]), step.constant[0].form)
        if step.varying is not None:
            total += step.varying
        if step.nonlinear is not None:
            trial = ufl.TrialFunction(step.m.function_space)
            jacobian = ufl.derivative(step.nonlinear, step.x, trial)
            self._nonlinear, self._jacobian = fem.form(step.nonlinear), fem.form(jacobian)
            total += jacobian
        self._pattern = fem.form(total)

    @property
    def _own_pc(self) -> bool:
        """Whether the default preconditioner is in use (no pc_type from the user)."""
        given = "pc_type" in self._options or PETSc.Options().hasName(self._prefix + "pc_type")
        return not given

    def _create_operators(self) -> None:
        # BAIJ halves assembly and product, but only our own preconditioner can live with it:
        # PtAP, AMG and fieldsplit need AIJ.
        kind = "baij" if self.basis is None and self._own_pc else "aij"
        fine = create_matrix(self._pattern, kind)
        assemble_matrix(fine, self._pattern)  # fixes one pattern for all blocks
        fine.assemble()
        self._fine = fine
        fine_blocks = []
        for form in self._constant:
            block = fine.duplicate()
            block.zeroEntries()
            assemble_matrix(block, form)
            block.assemble()
            fine_blocks.append(block)
        self._fine_blocks = fine_blocks
        if self.basis is None:
            self._blocks, self._varying_H = fine_blocks, None
        else:
            self._blocks = [self.basis.project(block) for block in fine_blocks]
            self._varying_H = self.basis.project(fine)
        self._base = self._blocks[0].duplicate(copy=True)
        self._A = self._blocks[0].duplicate(copy=True)
        self._b, self._u = self._A.createVecs()
        self._b_h, self._u_h = fine.createVecs()
        self._form_vector = create_vector(self.step.m.function_space)
        self._work = self._u.duplicate()

    def _create_solver(self) -> None:
        comm = self._A.comm
        if self.step.nonlinear is None:
            self._snes = None
            self._ksp = PETSc.KSP().create(comm)
            target: Any = self._ksp
            defaults: dict[str, Any] = dict(LINEAR_DEFAULTS)
        else:
            self._snes = PETSc.SNES().create(comm)
            self._ksp = self._snes.getKSP()
            self._snes.setFunction(self._residual, self._b.duplicate())
            self._snes.setJacobian(self._assemble_jacobian, self._A)
            target = self._snes
            self._linear = self._A.duplicate(copy=True)
            defaults = LINEAR_DEFAULTS | NEWTON_DEFAULTS
        self._ksp.setOperators(self._A)
        if self._own_pc:
            pc = self._ksp.getPC()
            pc.setType(PETSc.PC.Type.PYTHON)
        outer = {k: v for k, v in self._options.items() if not k.startswith("scalar_")}
        if "ksp_type" in outer:  # a solver of the user's has its own preferred side
            defaults.pop("ksp_pc_side")
        self._outer_options = defaults | outer
        target.setOptionsPrefix(self._prefix)
        with options_in_force(self._prefix, self._outer_options):
            target.setFromOptions()
        direct = self._ksp.getType() == PETSc.KSP.Type.PREONLY
        self._ksp.setInitialGuessNonzero(self._snes is None and not direct)
        self._rtol = math.nan if self._snes is None else self._snes.getTolerances()[0]

    def enter_basis(self) -> None:
        """Replace m by P Psi m, as a run in a subspace starts (nothing without a basis).

        Raises:
            ValueError: If that changes m by more than the basis's ``entry_tolerance``.
        """
        if self.basis is None:
            return
        m = self.step.m
        before = m.x.array.copy()
        self._gather(m, self._work)
        self._scatter(self._work, m)
        change = float(np.max(np.abs(m.x.array - before), initial=0.0))
        change = max(m.function_space.mesh.comm.allgather(change))
        if change > self.basis.entry_tolerance:
            m.x.array[:] = before
            raise ValueError(
                f"m does not lie in the subspace (not periodic?): entering it changes a node by "
                f"{change:.3g}, allowed are {self.basis.entry_tolerance:.3g}"
            )

    # -- the parts of a step ----------------------------------------------------------------------

    def _gather(self, function: fem.Function, out: PETSc.Vec) -> None:
        """Coefficients of a fine function in the space of the solver."""
        n = self._u_h.getLocalSize()
        if self.basis is None:
            out.array[:] = function.x.array[:n]
        else:
            self._u_h.array[:] = function.x.array[:n]
            self.basis.coefficients(self._u_h, out)

    def _scatter(self, coefficients: PETSc.Vec, function: fem.Function) -> None:
        """Fine function of given coefficients, ghosts included."""
        vector = coefficients
        if self.basis is not None:
            self.basis.prolong(coefficients, self._u_h)
            vector = self._u_h
        # Read-only: Newton's method lends its iterate locked.
        function.x.array[: vector.getLocalSize()] = vector.getArray(readonly=True)
        function.x.scatter_forward()

    def _refresh_constant(self, dt: float) -> None:
        """Recompute what depends on dt alone: the weighted sum and the preconditioner."""
        self._base.zeroEntries()
        for block, matrix in zip(self.step.constant, self._blocks, strict=True):
            self._base.axpy(block.weight(dt), matrix, SAME)
        if self._own_pc:
            self._component_pc = self._build_preconditioner(dt)
            self._ksp.getPC().setPythonContext(self._component_pc)
        self._dt = dt

    def _build_preconditioner(self, dt: float) -> ComponentPreconditioner:
        step, blocks = self.step, self.step.constant
        stretched = [block.preconditioner * block.weight(dt) for block in blocks]
        traces = [
            factor * matrix.getDiagonal().sum()
            for factor, matrix in zip(stretched, self._blocks, strict=True)
        ]
        # Half the angle by which a mode of average stiffness is turned: the full phi/2 where the
        # stiffness rules, none where the mass (the first block) does.
        stiff, phi = sum(traces[1:]) / traces[0], step.rotation
        angle = 0.5 * math.atan2(stiff * math.sin(phi), 1.0 + stiff * math.cos(phi))
        along = None
        if step.rotation and max(block.preconditioner for block in blocks) > 2.0:
            along = self._scalar_operator([block.weight(dt) for block in blocks])
        return ComponentPreconditioner(
            self._scalar_operator(stretched),
            along,
            self._prefix,
            self._options,
            angle,
            step.m.function_space.mesh.topology.dim,
        )

    def _scalar_operator(self, factors: Sequence[float]) -> PETSc.Mat:
        """Average of the three diagonal component blocks of the weighted sum of the blocks."""
        total = self._blocks[0].duplicate()
        total.zeroEntries()
        for factor, matrix in zip(factors, self._blocks, strict=True):
            total.axpy(factor, matrix, SAME)
        aij = PETSc.Mat()
        total.convert("aij", aij)
        start, end = aij.getOwnershipRange()
        scalar = None
        for component in range(3):
            rows = PETSc.IS().createStride((end - start) // 3, start + component, 3, aij.comm)
            part = aij.createSubMatrix(rows, rows)
            if scalar is None:
                scalar = part
            else:
                scalar.axpy(1.0, part, SAME)
        assert scalar is not None
        scalar.scale(1.0 / 3.0)
        return scalar

    def _assemble_matrix(self) -> None:
        """A = weighted constant blocks + varying form (+ Jacobian, by SNES)."""
        self._base.copy(self._A, SAME)
        self._add_form(self._varying)

    def _add_form(self, form: fem.Form | None) -> None:
        if form is None:
            return
        if self.basis is None:
            assemble_matrix(self._A, form)
            self._A.assemble()
        else:
            self._fine.zeroEntries()
            assemble_matrix(self._fine, form)
            self._fine.assemble()
            self._varying_H = self.basis.project(self._fine, self._varying_H)
            self._A.axpy(1.0, self._varying_H, SAME)

    def _assemble_rhs(self, dt: float) -> None:
        b_h = self._b_h
        b_h.set(0.0)
        for block, matrix in zip(self.step.constant, self._fine_blocks, strict=True):
            if block.history is not None:
                self._u_h.array[:] = block.history.x.array[: self._u_h.getLocalSize()]
                self._u_h.scale(block.history_weight(dt))
                matrix.multAdd(self._u_h, b_h, b_h)
        if self._source is not None:
            self._add_vector(self._source, b_h)
        if self.basis is None:
            b_h.copy(self._b)
        else:
            self.basis.restrict(b_h, self._b)

    def _add_vector(self, form: fem.Form, out: PETSc.Vec) -> None:
        vector = self._form_vector
        with vector.localForm() as local:
            local.set(0.0)
        assemble_vector(vector, form)
        vector.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        out.array[:] += vector.array[: out.getLocalSize()]

    def _guess(self) -> None:
        """Extrapolate the last iterates to the new level (quadratically once there are three)."""
        u, previous = self._u, self._previous
        if not previous:
            self._gather(self.step.m, u)
            return
        coefficients: Sequence[float] = {1: [1.0], 2: [2.0, -1.0], 3: [3.0, -3.0, 1.0]}[
            len(previous)
        ]
        u.set(0.0)
        for factor, vector in zip(coefficients, previous, strict=True):
            u.axpy(factor, vector)

    # -- nonlinear schemes ------------------------------------------------------------------------

    def _residual(self, snes: PETSc.SNES, u: PETSc.Vec, F: PETSc.Vec) -> None:
        assert self.step.x is not None and self._nonlinear is not None
        self._scatter(u, self.step.x)
        self._b_h.set(0.0)
        self._add_vector(self._nonlinear, self._b_h)
        if self.basis is None:
            self._b_h.copy(F)
        else:
            self.basis.restrict(self._b_h, F)
        self._linear.multAdd(u, F, F)
        F.axpy(-1.0, self._b)

    def _assemble_jacobian(
        self, snes: PETSc.SNES, u: PETSc.Vec, J: PETSc.Mat, P: PETSc.Mat
    ) -> None:
        assert self.step.x is not None
        self._scatter(u, self.step.x)
        self._linear.copy(self._A, SAME)
        self._add_form(self._jacobian)

    # -- public -----------------------------------------------------------------------------------

    def solve(self, t: float) -> None:
        """Advance ``step.m`` by one step to the time ``t`` of the new level.

        Raises:
            ValueError: If dt has been set to a value that is not positive.
            ConvergenceError: If the solver did not converge; m keeps its last good value.
        """
        step = self.step
        dt = float(step.dt.value)
        check_time_step(dt)
        clock = [time.perf_counter()]
        if dt != self._dt:
            self._refresh_constant(dt)
            del self._previous[1:]  # the extrapolation supposes equal steps
        clock.append(time.perf_counter())
        step.update(step.m, t)
        if self._own_pc and step.rotation:
            self._gather(step.m, self._work)
            self._component_pc.set_direction(self._work.array.reshape(-1, 3))
        self._assemble_matrix()
        self._assemble_rhs(dt)
        self._guess()
        clock.append(time.perf_counter())
        with options_in_force(self._prefix, self._outer_options):
            solver = self._solve_linear() if self._snes is None else self._solve_nonlinear()
        if solver.getConvergedReason() <= 0:
            raise ConvergenceError(solver, f"{step.name} ({solver.getType()})", t)
        clock.append(time.perf_counter())
        self.seconds = dict(zip(self.seconds, np.diff(clock).tolist(), strict=True))
        assert step.x is not None
        self._scatter(self._u, step.x)
        step.accept()
        self._remember()

    def _solve_linear(self) -> PETSc.KSP:
        self._ksp.setOperators(self._A)
        self._ksp.solve(self._b, self._u)
        self.iterations = self._ksp.getIterationNumber()
        return self._ksp

    def _solve_nonlinear(self) -> PETSc.SNES:
        snes = self._snes
        assert snes is not None
        self._A.copy(self._linear, SAME)
        snes.setTolerances(rtol=0.0, atol=self._rtol * self._b.norm(), stol=0.0)
        snes.solve(None, self._u)
        self.iterations = snes.getLinearSolveIterations()
        self.newton_iterations = snes.getIterationNumber()
        return snes

    def _remember(self) -> None:
        latest = self._previous.pop() if len(self._previous) == 3 else self._u.duplicate()
        self._u.copy(latest)
        self._previous.insert(0, latest)

    def history(self) -> list[fem.Function]:
        """Return the last iterates, newest first, as fine functions (for a checkpoint)."""
        functions = []
        for index, vector in enumerate(self._previous):
            function = fem.Function(self.step.m.function_space, name=f"x_{index}")
            self._scatter(vector, function)
            functions.append(function)
        return functions

    def restore(self, history: Sequence[fem.Function]) -> None:
        """Set the last iterates, newest first, as ``history`` returned them."""
        self._previous = []
        for function in history:
            vector = self._u.duplicate()
            self._gather(function, vector)
            self._previous.append(vector)
        # The history belongs to the present step size: the next solve must not discard it.
        self._refresh_constant(float(self.step.dt.value))

    @property
    def converged_reason(self) -> int:
        """PETSc's converged reason of the last solve."""
        solver = self._ksp if self._snes is None else self._snes
        return int(solver.getConvergedReason())

    @property
    def dofs(self) -> int:
        """Number of unknowns of the linear systems."""
        return int(np.int64(self._u.getSize()))
