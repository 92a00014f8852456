# SPDX-License-Identifier: LGPL-3.0-or-later
"""StepOperators: the matrices and vectors of a WeakStep, in the fine space or projected to a basis.

Constant blocks are assembled (and projected) once. The matrix of a step is their weighted sum plus
the varying form, which is assembled into it in place; no pattern is built twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from dolfinx.fem.petsc import assemble_matrix, create_matrix

from dolfinx_llg.jit import compile_form
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.matrices import mean_component
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.pairs import SAME, set_pattern
from dolfinx_llg.solvers.varying import VaryingMatrix
from dolfinx_llg.solvers.varying_vector import VaryingVector

__all__ = ["SAME", "Operators", "StepOperators"]


class Operators(Protocol):
    """What a solver asks of the operators of a step, wherever they live (see StepOperators)."""

    A: PETSc.Mat
    b: PETSc.Vec

    @property
    def basis(self) -> GalerkinBasis | None: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def kept_forms(self) -> Sequence[ufl.Form]: ...  # noqa: D102
    def reassemble(self) -> None: ...  # noqa: D102
    def gather(self, function: fem.Function, out: PETSc.Vec) -> None: ...  # noqa: D102
    def scatter(self, coefficients: PETSc.Vec, function: fem.Function) -> None: ...  # noqa: D102
    def accept(self, coefficients: PETSc.Vec) -> None: ...  # noqa: D102
    def set_time_step(self, dt: float) -> None: ...  # noqa: D102
    def assemble(self, dt: float) -> None: ...  # noqa: D102
    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None: ...  # noqa: D102
    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None: ...  # noqa: D102
    def scalar_operator(self, dt: float, *, stretched: bool) -> tuple[PETSc.Mat, float]: ...  # noqa: D102


class StepOperators:
    """Assembled parts of a step; everything of it lives in the space of the solver.

    Args:
        step: The step.
        basis: Subspace in which the new iterate is sought (None: the whole fine space).
        blocked: Whether the matrix may be of type BAIJ: half the cost of assembly and product, but
            fit only for preconditioners that do not read the matrix.

    Attributes:
        A: Matrix of the current step.
        b: Right side of the current step.
        blocks: Constant blocks of the step.
        varying, source, jacobian: What the step's forms of these names have become (the last one is
            N' of ``nonlinear``); None where it has none.
        quadratic: Whether Newton takes its residual from the matrix, see ``_find_quadratic``.
        stretched_forms: Compiled forms of the blocks' ``stretched`` (None where there is none).
        seconds: Wall time spent in assembly since the object was made.

    Raises:
        ValueError: If the basis does not fit the space.
    """

    def __init__(self, step: WeakStep, basis: GalerkinBasis | None, *, blocked: bool) -> None:
        self.step, self.basis = step, basis
        self.seconds = 0.0
        if basis is not None:
            basis.check_space(step.m.function_space)
        self._compile()
        self._create(blocked and basis is None)

    def _compile(self) -> None:
        step = self.step
        self._constant = [compile_form(block.form) for block in step.constant]
        self.stretched_forms = [
            None if block.stretched is None else compile_form(block.stretched)
            for block in step.constant
        ]
        self.varying: VaryingMatrix | None = None
        self.source: VaryingVector | None = None
        self._nonlinear: fem.Form | None = None
        self.jacobian: VaryingMatrix | None = None
        self._jacobian_form: ufl.Form | None = None
        total = sum((block.form for block in step.constant[1:]), step.constant[0].form)
        if step.varying is not None:
            total += step.varying
        if step.nonlinear is not None:
            trial = ufl.TrialFunction(step.m.function_space)
            jacobian = ufl.derivative(step.nonlinear, step.x, trial)
            self._nonlinear, self._jacobian_form = compile_form(step.nonlinear), jacobian
            total += jacobian
        self._pattern = compile_form(total)

    def _create(self, blocked: bool) -> None:
        fine = create_matrix(self._pattern, "baij" if blocked else "aij")
        set_pattern(fine, self._pattern)
        self._fine, self._projected = fine, None
        step = self.step
        assert step.x is not None
        moving = (step.m, step.x, *step.levels)
        if step.varying is not None:
            self.varying = VaryingMatrix(step.varying, step.m, self._pattern, fine, moving)
        if self._jacobian_form is not None:
            self.jacobian = VaryingMatrix(self._jacobian_form, step.x, self._pattern, fine, moving)
        if step.source is not None:
            self.source = VaryingVector(step.source, step.m, moving)
        self._fine_blocks = [self._assemble_fine(form) for form in self._constant]
        self.blocks = self._fine_blocks
        if self.basis is not None:
            self.blocks = [self.basis.project(block) for block in self._fine_blocks]
            self._projected = self.basis.project(fine)
        self._base = self.blocks[0].duplicate(copy=True)
        self.A = self.blocks[0].duplicate(copy=True)
        self.b = self.A.createVecLeft()
        self._b_h, self._u_h = fine.createVecs()
        # DOLFINx's vector, not PETSc's: that would live on the communicator of the index map, one
        # for each m, which nobody cleans up.
        space = self.step.m.function_space
        self._form_vector = la.vector(space.dofmap.index_map, space.dofmap.bs)
        self._matrix_of: npt.NDArray[np.float64] | None = None  # the iterate at which A is N'
        self.quadratic = self._find_quadratic()

    def _find_quadratic(self) -> bool:
        """Whether N(x) = N'(x) x / 2 with a matrix N' that costs less than the vector N (Euler)."""
        step = self.step
        if self.jacobian is None or self.basis is not None or not self.jacobian.with_image:
            return False
        assert step.x is not None and self._nonlinear is not None
        before = step.x.x.array.copy()
        step.x.x.array[:] = np.random.default_rng(4).uniform(-1.0, 1.0, before.size)
        step.x.x.scatter_forward()
        self._u_h.array[:] = step.x.x.array[: self._u_h.getLocalSize()]
        self._b_h.set(0.0)
        self._add_vector(self._nonlinear, self._b_h)
        size, twice = self._b_h.norm(), self._b_h.duplicate()
        self.A.zeroEntries()
        self.jacobian.add_to(self.A)
        self.A.mult(self._u_h, twice)
        self._b_h.axpy(-0.5, twice)
        twice.destroy()
        step.x.x.array[:] = before
        return bool(self._b_h.norm() <= 1e-12 * size)  # some ten products in another order

    def _assemble_fine(self, form: fem.Form) -> PETSc.Mat:
        block = self._fine.duplicate()
        block.zeroEntries()
        assemble_matrix(block, form)
        block.assemble()
        return block

    def assemble_block(self, form: fem.Form) -> PETSc.Mat:
        """Assemble a bilinear form in the space of the solver."""
        fine = self._assemble_fine(form)
        if self.basis is None:
            return fine
        projected = self.basis.project(fine)
        fine.destroy()
        return projected

    @property
    def _parts(self) -> list[VaryingMatrix | VaryingVector]:
        parts = (self.varying, self.jacobian, self.source)
        return [part for part in parts if part is not None]

    @property
    def kept_forms(self) -> list[ufl.Form]:
        """Forms whose data (kappa, ...) are read once, so that a change needs ``reassemble``."""
        constant = [block.form for block in self.step.constant]
        return constant + [form for part in self._parts for form in part.kept_forms]

    def reassemble(self) -> None:
        """Assemble anew what is kept, after its data (kappa, ...) have changed."""
        for part in self._parts:
            part.renew()
        for index, form in enumerate(self._constant):
            fine = self._fine_blocks[index]
            fine.zeroEntries()
            assemble_matrix(fine, form)
            fine.assemble()
            if self.basis is not None:
                self.blocks[index] = self.basis.project(fine, self.blocks[index])

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin

    # -- between the fine space and the solver's ---------------------------------------------------

    def gather(self, function: fem.Function, out: PETSc.Vec) -> None:
        """Set out to the coefficients of a fine state in the space of the solver."""
        n = self._u_h.getLocalSize()
        if self.basis is None:
            out.array[:] = function.x.array[:n]
        else:
            self._u_h.array[:] = function.x.array[:n]
            if self.basis.lift is not None:
                self._u_h.array[:] -= self.basis.lift
            self.basis.coefficients(self._u_h, out)

    def scatter(self, coefficients: PETSc.Vec, function: fem.Function) -> None:
        """Set a fine state, ghosts included, from coefficients in the space of the solver."""
        vector = coefficients
        if self.basis is not None:
            self.basis.prolong(coefficients, self._u_h)
            if self.basis.lift is not None:
                self._u_h.array[:] += self.basis.lift
            vector = self._u_h
        # Read-only: Newton's method lends its iterate locked.
        function.x.array[: vector.getLocalSize()] = vector.getArray(readonly=True)
        function.x.scatter_forward()

    def accept(self, coefficients: PETSc.Vec) -> None:
        """Take the coefficients of the accepted iterate: nothing is kept of them here."""

    # -- the parts of a step -----------------------------------------------------------------------

    def set_time_step(self, dt: float) -> None:
        """Form the weighted sum of the constant blocks for a new dt."""
        self._base.zeroEntries()
        for block, matrix in zip(self.step.constant, self.blocks, strict=True):
            self._base.axpy(block.weight(dt), matrix, SAME)

    def assemble(self, dt: float) -> None:
        """Assemble A and b of a linear step, or the linear part of a nonlinear one."""
        with self._timed():
            for part in self._parts:
                part.refresh()
            self._matrix_of = None
            self._set(self._base, self.varying)
            self._assemble_rhs(dt)

    def _assemble_rhs(self, dt: float) -> None:
        b_h = self._b_h
        b_h.set(0.0)
        for block, matrix in zip(self.step.constant, self._fine_blocks, strict=True):
            if block.history is not None:
                self._u_h.array[:] = block.history.x.array[: self._u_h.getLocalSize()]
                self._u_h.scale(block.history_weight(dt))
                matrix.multAdd(self._u_h, b_h, b_h)
        if self.source is not None:
            self.source.add_to(b_h)
        if self.basis is not None and self.basis.lift is not None:
            self._subtract_lift(dt, self.basis.lift)
        self._restrict(self.b)

    def _subtract_lift(self, dt: float, lift: npt.NDArray[np.float64]) -> None:
        """Take the linear part's image of the lift from the right side: pinned nodes are known."""
        image = self._b_h.duplicate()
        self._u_h.array[:] = lift
        for block, matrix in zip(self.step.constant, self._fine_blocks, strict=True):
            matrix.mult(self._u_h, image)
            self._b_h.axpy(-block.weight(dt), image)
        if self.varying is not None:  # ``_fine`` holds it since the matrix was set
            self._fine.mult(self._u_h, image)
            self._b_h.axpy(-1.0, image)
        image.destroy()

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Set F = linear u + N(u) - b."""
        assert self.step.x is not None and self._nonlinear is not None
        with self._timed():
            self.scatter(u, self.step.x)
            if self.quadratic and self.jacobian is not None and self.jacobian.with_image:
                # N(u) = N'(u) u / 2: the residual and the next matrix in one sweep.
                image = self._form_vector
                image.array[:] = 0.0
                self.jacobian.set(self.A, linear, image.array)
                self._matrix_of = u.getArray(readonly=True).copy()
                image.scatter_reverse(la.InsertMode.add)
                np.subtract(image.array[: F.getLocalSize()], self.b.array, out=F.array)
                if not self.jacobian.image_whole:
                    linear.multAdd(u, F, F)
                return
            self._b_h.set(0.0)
            self._add_vector(self._nonlinear, self._b_h)
            self._restrict(F)
            linear.multAdd(u, F, F)
            F.axpy(-1.0, self.b)

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Set A = linear + N'(u)."""
        assert self.step.x is not None
        with self._timed():
            values = u.getArray(readonly=True)
            same = self._matrix_of is not None and np.array_equal(values, self._matrix_of)
            if all(u.comm.tompi4py().allgather(bool(same))):
                return  # the residual has made it
            self._matrix_of = None
            self.scatter(u, self.step.x)
            self._set(linear, self.jacobian)

    def _set(self, base: PETSc.Mat, part: VaryingMatrix | None) -> None:
        """Set A to base + a part."""
        if part is None:
            base.copy(self.A, SAME)
        elif self.basis is None:
            part.set(self.A, base)
        else:
            base.copy(self.A, SAME)
            self._fine.zeroEntries()
            part.add_to(self._fine)
            self._projected = self.basis.project(self._fine, self._projected)
            self.A.axpy(1.0, self._projected, SAME)

    def _add_vector(self, form: fem.Form, out: PETSc.Vec) -> None:
        vector = self._form_vector
        vector.array[:] = 0.0
        fem.assemble_vector(vector.array, form)  # type: ignore[arg-type]
        vector.scatter_reverse(la.InsertMode.add)
        out.array[:] += vector.array[: out.getLocalSize()]

    def _restrict(self, out: PETSc.Vec) -> None:
        if self.basis is None:
            self._b_h.copy(out)
        else:
            self.basis.restrict(self._b_h, out)

    # -- what the preconditioner is made of --------------------------------------------------------

    def scalar_operator(self, dt: float, *, stretched: bool) -> tuple[PETSc.Mat, float]:
        """Average the three diagonal component blocks of the weighted sum of the constant blocks.

        Args:
            dt: Time step.
            stretched: Whether blocks enter by their ``stretched`` forms.

        Returns:
            The scalar operator, AIJ, and the ratio of the traces of all other blocks to the first.
        """
        total = self.blocks[0].duplicate()
        total.zeroEntries()
        traces = []
        for block, matrix, compiled in zip(
            self.step.constant, self.blocks, self.stretched_forms, strict=True
        ):
            part = matrix
            if stretched and compiled is not None:
                part = self.assemble_block(compiled)
            diagonal = part.getDiagonal()
            traces.append(block.weight(dt) * float(diagonal.sum()))
            diagonal.destroy()
            total.axpy(block.weight(dt), part, SAME)
            if part is not matrix:
                part.destroy()
        aij = PETSc.Mat()
        total.convert("aij", aij)
        scalar = mean_component(aij)
        # petsc4py leaves collective objects to a collector that nobody runs: their memory would
        # stay with every new dt.
        aij.destroy()
        total.destroy()
        return scalar, sum(traces[1:]) / traces[0]

    @property
    def dofs(self) -> int:
        """Number of unknowns."""
        return int(np.int64(self.b.getSize()))
