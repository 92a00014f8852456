# SPDX-License-Identifier: LGPL-3.0-or-later
"""The time loop as a generator: the user owns it."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tqdm
from dolfinx import fem

from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.schemes.step import WeakStep, check_time_step
from dolfinx_llg.schemes.tangent_plane import TangentPlaneStep
from dolfinx_llg.solvers.operators import ReducedSpace
from dolfinx_llg.solvers.step_solver import StepSolver
from dolfinx_llg.solvers.tangent.solver import TangentSolver

__all__ = ["State", "march"]

logger = logging.getLogger(__name__)


@dataclass
class State:
    """Where a run stands after a step.

    Attributes:
        t: Time (dimensionless).
        n: Number of steps done since the start of the run.
        m: Magnetization, the same function object throughout a run.
        dt: Size of the last step.
        max_dmdt: Largest nodal |m_new - m_old|/dt of the last step: the field that tells whether
            the magnetization is at rest (a mean would hide a few moving spins).
        iterations: Krylov iterations of the last step.
        newton_iterations: Newton iterations of the last step (0 for linear schemes).
        seconds: Wall time of the last step on this rank.
        history: Last iterates before projection, newest first; what a restart needs beside m.
    """

    t: float
    n: int
    m: fem.Function
    dt: float
    max_dmdt: float = math.nan
    iterations: int = 0
    newton_iterations: int = 0
    seconds: float = 0.0
    solver: StepSolver | TangentSolver | None = None
    saved_history: Sequence[fem.Function] = ()

    @property
    def history(self) -> Sequence[fem.Function]:
        """Last iterates before projection, newest first."""
        return self.saved_history if self.solver is None else self.solver.history()


@checked
def march(
    step: WeakStep | TangentPlaneStep,
    *,
    t_end: float,
    t: float = 0.0,
    resume: State | None = None,
    basis: GalerkinBasis | ReducedSpace | None = None,
    constraint: str | None = None,
    preconditioner: str | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str = "llg_",
    progress: bool | None = None,
) -> Iterator[State]:
    """Step from t to t_end, yielding the state after each step.

    The loop is the caller's: it may stop, set ``step.dt.value``, change a field. The last step is
    shortened to end at ``t_end``; ``step.dt`` has its value back afterwards. Arguments are checked
    at the call, before the first step.

    Args:
        step: The step of a scheme; its ``m`` is advanced in place.
        t_end: Final time (dimensionless), at least t.
        t: Time of the present m; with ``resume`` the state's own time holds.
        resume: State read from a checkpoint of this run.
        basis: Subspace in which the steps are solved (None: the fine space), or a reduction of
            the step in one (``reduction.hyper``).
        constraint: For tangent-plane steps only, see ``TangentSolver``.
        preconditioner: For tangent-plane steps only, see ``TangentSolver``.
        petsc_options: See ``StepSolver``.
        petsc_options_prefix: See ``StepSolver``.
        progress: Progress bar on rank 0; None: only where stderr is a terminal.

    Yields:
        The ``State`` after each step, the same object updated.

    Raises:
        ValueError: If t_end < t, a time is not finite, or an argument does not fit the step.
        ConvergenceError: From a step whose solver failed; ``step.m`` keeps the last good state.
            A generator that raised is finished: go on with a new call, ``t=state.t`` and, say, a
            smaller ``step.dt.value`` (a reduced run: ``reconstruct()`` first, it starts from the
            fine m).
    """
    start = t if resume is None else resume.t
    if not (math.isfinite(start) and math.isfinite(t_end)):
        raise ValueError(f"times must be finite, got t = {start}, t_end = {t_end}")
    if t_end < start:
        raise ValueError(f"t_end = {t_end} lies before t = {start}")
    if resume is not None and resume.m is not step.m:
        raise ValueError("the resumed state belongs to another m than the step")
    common: dict[str, Any] = {
        "basis": basis,
        "petsc_options": petsc_options,
        "petsc_options_prefix": petsc_options_prefix,
    }
    solver: StepSolver | TangentSolver
    if isinstance(step, TangentPlaneStep):
        if isinstance(basis, ReducedSpace):
            raise ValueError(f"{step.name} cannot run in a reduced space, only in its basis")
        solver = TangentSolver(
            step, constraint=constraint, preconditioner=preconditioner or "auto", **common
        )
    elif constraint is not None or preconditioner is not None:
        raise ValueError(
            f"constraint and preconditioner are for tangent-plane steps, got a step of {step.name}"
        )
    else:
        solver = StepSolver(step, **common)
    state = State(start, 0, step.m, float(step.dt.value), solver=solver)
    if resume is None:
        solver.enter_basis()
    else:
        solver.restore(resume.history, resume.dt)
        state.n = resume.n
    return _steps(step, solver, state, t_end, progress)


def _steps(
    step: WeakStep | TangentPlaneStep,
    solver: StepSolver | TangentSolver,
    state: State,
    t_end: float,
    progress: bool | None,
) -> Iterator[State]:
    comm = step.m.function_space.mesh.comm
    show = (sys.stderr.isatty() if progress is None else progress) and comm.rank == 0
    with tqdm.tqdm(total=t_end - state.t, disable=not show, unit="t", desc=step.name) as bar:
        while (remaining := t_end - state.t) > 0:
            dt = float(step.dt.value)
            check_time_step(dt)
            # A rest below the round-off that n additions leave in t is no step of its own.
            margin = 1e-8 * dt + 4 * (state.n + 1) * sys.float_info.epsilon * abs(t_end)
            last = remaining <= dt + margin
            if last and abs(remaining - dt) > margin:
                step.dt.value = np.asarray(remaining)
            before = step.m.x.array.copy()
            begin = time.perf_counter()
            try:
                t_new = t_end if last else state.t + dt
                solver.solve(t_new)
            finally:
                taken = float(step.dt.value)
                step.dt.value = np.asarray(dt)
            state.seconds = time.perf_counter() - begin
            change = (step.m.x.array - before).reshape(-1, 3)
            local = float((change**2).sum(axis=1).max(initial=0.0)) ** 0.5 / taken
            state.max_dmdt = max(comm.allgather(local))
            state.t, state.n, state.dt = t_new, state.n + 1, taken
            state.iterations = solver.iterations
            state.newton_iterations = solver.newton_iterations
            logger.info(
                "%s: step %d, t = %g, %d iterations", step.name, state.n, state.t, state.iterations
            )
            bar.update(taken)
            yield state
