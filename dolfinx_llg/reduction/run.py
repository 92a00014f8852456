# SPDX-License-Identifier: LGPL-3.0-or-later
"""ReducedRun: a reduction, which ``march`` runs as it runs the step that it was made of."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import warn
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.reduction.local_values import LocalValues
from dolfinx_llg.reduction.samples import StepOnSamples
from dolfinx_llg.reduction.system import CoarseSystem
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.damping_check import DampingCheck
from dolfinx_llg.solvers.entry import UNIT, entered, warn_of_entry
from dolfinx_llg.solvers.stepper import Memory, stepper
from dolfinx_llg.solvers.watch import Watch, same
from dolfinx_llg.solvers.weak import WeakStepper
from dolfinx_llg.sphere import normalise

__all__ = ["ReducedRun", "ReductionStepper"]

Array = npt.NDArray[np.float64]


#: Present error over the tolerance from which the states of the training are left: states among
#: them have up to three times the tolerance.
LEFT = 5.0
#: Growth of the error after which it is said again.
GROWN = 3.0


class ReducedRun:
    """A reduction of a step: ``march(reduction, t_end=...)`` runs it, from the fine step's m.

    The fine m is brought up to date where somebody asks a state for it, or by ``reconstruct``: the
    steps themselves never touch the fine mesh.

    Args:
        fine: The step on the fine mesh.
        operators: The operators of the reduced step.
        seconds: Wall time of the preparation by part.

    Attributes:
        step: The reduced step; its ``m`` holds the nodes of the samples alone, and it cannot be
            marched by itself.
        tolerance: Relative error of the integrals of a step that was asked for.
        trained_until: Time at which the training ended.
        check_every: Time after which ``march`` looks at ``present_error``, from ``trained_until``
            on, and warns where it has grown to several times the tolerance; may be set, to
            ``math.inf`` for no look. Each look costs what a state of the training did.
    """

    def __init__(self, fine: WeakStep, operators: CoarseSystem, seconds: dict[str, float]) -> None:
        self.fine, self.step = fine, operators.step
        self.seconds = seconds
        self._operators = operators
        self.basis = operators.basis
        self._revision = self.basis.revision
        self.trained_until = self.check_every = math.inf
        self.tolerance = math.nan
        self.stepper: ReductionStepper | None = None
        self._options: tuple[dict[str, Any], str] | None = None

    @property
    def step_is_unwatched(self) -> bool:
        """Whether no step of the scheme has been examined for numerical damping in a training."""
        return math.isinf(self.trained_until)

    def present_error(self) -> float:
        """Return how well the present state is integrated; NaN where nothing is sampled."""
        return math.nan

    @contextlib.contextmanager
    def on_fine_mesh(self) -> Iterator[tuple[Array, Array]]:
        """Have the last iterate and m at all fine nodes, for a block in which ``fine.m`` is m.

        Afterwards the fine m is as it was, brought up to date or not. Collective.
        """
        m, keep = self.fine.m, self.fine.m.x.array.copy()
        restore = (lambda: None) if self.stepper is None else self.stepper.keep_seen()
        try:
            iterate = self.prolong().x.array.copy()
            now = self.reconstruct().x.array.copy()
            yield iterate, now
        finally:
            m.x.array[:] = keep
            restore()

    def acting(self) -> contextlib.AbstractContextManager[None]:
        """Let fields with a solve of their own be those of the reduction while the block runs."""
        return contextlib.nullcontext()

    def check_basis(self) -> None:
        """Raise RuntimeError if the basis was updated: the reduction is that of the old one."""
        if self.basis.revision != self._revision:
            raise RuntimeError(
                "the basis was updated after the reduction was made, which is one of the old "
                "functions: reduce again"
            )

    def modes(self) -> int:
        """Return the number of local modes of all ranks. Collective."""
        return int(sum(self._operators.comm.allgather(self._operators.modes.count)))

    @property
    def dt(self) -> fem.Constant:
        """Time step, that of the reduced and of the fine step."""
        return self.step.dt

    def prolong(self) -> fem.Function:
        """Set the fine step's m to the last iterate, not projected; return it. Collective."""
        u, c = self.basis.fine_vector(), self.basis.coarse_vector()
        c.array[:] = self._operators.c.ravel()[slice(*c.getOwnershipRange())]
        self.basis.prolong(c, u)
        m = self.fine.m
        m.x.array[: u.getLocalSize()] = u.array
        m.x.scatter_forward()
        for vector in (u, c):
            vector.destroy()
        return m

    def reconstruct(self) -> fem.Function:
        """Set the fine step's m to the magnetization on the whole fine mesh; return it.

        Collective.
        """
        m = self.prolong()
        if self.fine.projection:
            normalise(m)
        if self.stepper is not None:
            self.stepper.seen()
        return m


class ReductionStepper(WeakStepper):
    """The stepper of a reduction: that of its step on samples, with the fine m on demand.

    Args:
        run: The reduction.
        petsc_options: PETSc options of the solver, by their names without the prefix.
        petsc_options_prefix: Prefix under which the command line reaches it.
    """

    def __init__(
        self,
        run: ReducedRun,
        *,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_",
    ) -> None:
        operators: Any = run._operators
        self._run, self._operators = run, operators
        super().__init__(
            run.step,
            petsc_options=petsc_options,
            petsc_options_prefix=petsc_options_prefix,
            operators=operators,
        )
        # The blocks are those of the fine step's data, which a user may change.
        forms = [f for b in run.fine.constant for f in (b.form, b.stretched) if f is not None]
        forms += operators.kept_forms
        self._watch = Watch(forms, [run.fine.m, *([] if run.fine.x is None else [run.fine.x])])
        self._stale = False
        energy, damping = run.fine.energy, run.fine.damping
        if run.step_is_unwatched and energy is not None and damping is not None:
            self._check = DampingCheck(
                self.name, energy, damping, run.fine.m, self.order, lumped=False, coarse=True
            )
        self._fine: Array = run.fine.m.x.array
        self._local = LocalValues(run.basis, run.fine.m.function_space)
        self._next_look, self._worst = run.trained_until, 0.0
        self.seen()

    def _look(self, t: float) -> None:
        self._run.check_basis()
        super()._look(t)

    def keep_seen(self) -> Callable[[], None]:
        """Return what puts back the memory of the fine m that ``seen`` changes."""
        fine, stale = self._fine, self._stale

        def restore() -> None:
            self._fine, self._stale = fine, stale

        return restore

    def seen(self) -> None:
        """Take the fine m as it is for the present state."""
        self._fine = self._run.fine.m.x.array.copy()
        self._stale = False

    @property
    def m(self) -> fem.Function:
        """Magnetization on the fine mesh, reconstructed if steps have been done. Collective."""
        if self._stale and not any(self.comm.allgather(self._touched())):
            self._run.reconstruct()
        return self._run.fine.m

    def settle(self) -> None:
        """Bring the fine m up to date as ``m`` does, without communication."""
        if not self._stale or self._touched():
            return
        m = self._run.fine.m
        values = self._local(self._operators.c)
        if self._run.fine.projection:
            length = np.linalg.norm(values.reshape(-1, 3), axis=1)
            values /= np.repeat(np.where(length > 0.0, length, 1.0), 3)
        m.x.array[:] = values
        self.seen()

    @property
    def candidate(self) -> fem.Function:
        """Magnetization of the last ``advance`` on the fine mesh. Collective."""
        out = self._on_fine_mesh(self._u)
        out.name = "candidate"
        if self._run.fine.projection:
            normalise(out)
        return out

    def _on_fine_mesh(self, coefficients: Any) -> fem.Function:
        """Return an iterate on the whole fine mesh. Collective."""
        out = fem.Function(self._run.fine.m.function_space)
        u = self._run.basis.fine_vector()
        self._run.basis.prolong(coefficients, u)
        out.x.array[: u.getLocalSize()] = u.array
        out.x.scatter_forward()
        u.destroy()
        return out

    def _look_at_damping(self, *, now: bool = False) -> None:
        """Look at the last two iterates on the fine mesh, at few steps."""
        check = self._check
        if check is None or not check.due(now=now) or len(self._previous) < 2:
            return
        assert self._pending is not None
        new, old = (self._on_fine_mesh(vector) for vector in self._previous[:2])
        owned = 3 * int(old.function_space.dofmap.index_map.size_local)
        with self._run.acting():
            check.examine(old.x.array[:owned].reshape(-1, 3), new, self._pending.dt)

    def accept(self) -> None:
        """Take the candidate.

        Warns:
            UserWarning: If the run has left the states of its training.
        """
        super().accept()
        self._stale = True
        self._look_at_training()

    def _look_at_training(self) -> None:
        """Measure at intervals how well the present state is integrated; say so where badly."""
        run = self._run
        if not math.isfinite(run.check_every):
            return
        if self.t <= self._next_look + 1e-8 * run.check_every:
            return
        self._next_look = self.t + run.check_every
        error = run.present_error()
        if error > max(LEFT * run.tolerance, GROWN * self._worst):
            self._worst = error
            warn(
                f"{self.name}: at t = {self.t:.4g} the run has left the states of its training: "
                f"its samples integrate a step with a relative error of {error:.2g}, "
                f"{run.tolerance:.2g} was asked for; train anew from here (reconstruct(), then "
                "hyper_reduce), or over a longer t_train (reduction.check_every = math.inf: no "
                "such look)"
            )

    def _touched(self) -> bool:
        return not same(self._run.fine.m.x.array, self._fine)

    def _enter(self, t: float) -> None:
        """Start from the magnetization of the fine step, P Psi m."""
        basis = self._run.basis
        self._next_look, self._worst = self._run.trained_until, 0.0
        rows = basis.sizes[0][0]
        start = entered(basis, self._run.fine.m.x.array[:rows])
        warn_of_entry(basis, start.change, None, None)
        self._start_from(start.coefficients)
        if self.step.projection and start.change > UNIT:
            normalise(self.step.m)
        self.seen()

    def _start_from(self, c: npt.NDArray[np.float64]) -> None:
        parts = self.comm.allgather(c)
        self._operators.start(np.concatenate(parts).reshape(-1, 3))

    def _memory(self) -> Memory:
        """Return the iterates as functions on the fine mesh, which any number of ranks can read."""
        memory = Memory(numbers=self._numbers())
        for index, vector in enumerate(self._previous):
            memory.keep(f"x_{index}", vector.array_r, self._run.basis)
        return memory

    def history(self) -> Memory:
        """Return what a restart needs beside m; estimates of errors begin afresh."""
        return self._memory()

    def _take(self, memory: Memory) -> None:
        self._forget()
        self._times = list(memory.numbers.get("x_times", []))
        if not self._times:
            self._enter(self.t)
            return
        u = self._run.basis.fine_vector()
        for index in range(len(self._times)):
            u.array[:] = memory.fields[f"x_{index}"].ravel()
            vector = self._u.duplicate()
            self._run.basis.coefficients(u, vector)
            self._previous.append(vector)
        u.destroy()
        self._start_from(self._previous[0].array.copy())
        if self.step.projection:
            normalise(self.step.m)
        self.seen()
        self._take_numbers(memory.numbers)


@stepper.register
def _(
    step: ReducedRun,
    *,
    basis: GalerkinBasis | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
) -> ReductionStepper:
    if basis is not None:
        raise ValueError("a reduction has its basis: march(reduction, t_end=...) takes none")
    prefix = "llg_" if petsc_options_prefix is None else petsc_options_prefix
    options = (dict(petsc_options or {}), prefix)
    if step.stepper is None or step._options != options:
        step.stepper = ReductionStepper(
            step, petsc_options=petsc_options, petsc_options_prefix=prefix
        )
        step._options = options
    return step.stepper


@stepper.register
def _(
    step: StepOnSamples,
    *,
    basis: GalerkinBasis | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
) -> ReductionStepper:
    raise ValueError(
        "the step of a reduction stands on its samples and knows no coarse space: march the "
        "reduction itself, march(reduction, t_end=...)"
    )
