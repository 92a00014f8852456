# SPDX-License-Identifier: LGPL-3.0-or-later
"""The time loop as a generator: the user owns it; it drives every stepper and knows none."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tqdm

from dolfinx_llg.adaptivity import Adaptive, Controller
from dolfinx_llg.collective import agree, together
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.solvers.stepper import Candidate, Stepper, stepper
from dolfinx_llg.state import State

__all__ = ["Until", "march"]

logger = logging.getLogger(__name__)


@checked
@dataclass(frozen=True)
class Until:
    """The end of a run at the time at which a scalar changes its sign.

    Args:
        function: Scalar of the magnetization, ``function(m) -> float``, the same on every rank;
            called with the candidate of each step (collective).
        tolerance: Width of the interval in time to which the crossing is bracketed; the run ends at
            its later end.

    Raises:
        ValueError: If the tolerance is not positive.
    """

    function: Callable[[Any], float]
    tolerance: float

    def __post_init__(self) -> None:
        """Check the tolerance."""
        if not (math.isfinite(self.tolerance) and self.tolerance > 0.0):
            raise ValueError(f"the tolerance of an event must be positive, got {self.tolerance}")


@checked
def march(
    step: Any,
    *,
    t_end: float,
    t: float | None = None,
    resume: State | None = None,
    basis: GalerkinBasis | None = None,
    adaptive: Adaptive | None = None,
    until: Until | None = None,
    land_on: Sequence[float] = (),
    jumps: Sequence[float] = (),
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
    progress: bool | None = None,
) -> Iterator[State]:
    """Step from t to t_end, yielding the state after each step.

    The loop is the caller's: it may stop, set ``step.dt.value``, change a field or a material. The
    last step is shortened to end at ``t_end``; ``step.dt`` has its value back afterwards. Arguments
    are checked at the call, before the first step. A stepper, and a step marched with the same
    options, is marched on without new set-up.

    What may change in the loop: the values of any ``fem.Constant`` and ``fem.Function`` given to
    a term, as Ms or as damping, those of a term's ``assign``, and m itself (of unit length; without
    projection any). The next step takes them up, and refuses a kappa, Ms or damping that is out of
    range. Plain numbers are fixed: give a ``fem.Constant`` instead. Other attributes of a step
    may not be set (RuntimeError). A coarse space stays that of the data of which it was made until
    ``CoarseBasis.update(energy)``; a reduction refuses other data of its implicit terms: reduce
    anew, from ``reconstruct()``.

    Args:
        step: The step of a scheme, a reduction, or a stepper; its ``m`` is advanced in place.
        t_end: Final time (dimensionless), at least t.
        t: Time of the present m; None: 0, for a stepper the time at which it stands. With
            ``resume`` the state's own time holds.
        resume: State read from a checkpoint of this run, or the last of its earlier march: ``n``
            counts on.
        basis: Subspace in which the steps are solved (None: the fine space): periodic or with
            pinned nodes in every scheme; coarse spaces in all but the explicit ones. Only its size
            is compared with the space of m. A warning tells where entering it changes m by more
            than 0.02 at a node, unless its ``entry_tolerance`` says how much is allowed.
        adaptive: Adaptive time steps (``llg.Adaptive``), which begin with ``step.dt``; one that is
            set in the loop is the next that is tried. None: steps of ``step.dt``.
        until: End at the crossing of a scalar (``llg.Until``), if it comes before t_end.
        land_on: Times on which steps are to end (output times).
        jumps: Times at which a field jumps: steps end there too, and what is known of earlier
            steps (starts of solvers, estimates of errors) is not extrapolated over them.
        petsc_options: PETSc options of the solver, without prefix; see its class (``WeakStepper``,
            ``TangentStepper``). A method that tests no convergence (``preonly``) has converged
            where it leaves at most 1e-6 of the right side.
        petsc_options_prefix: Prefix under which the command line reaches the solver; None: "llg_".
        progress: Progress bar on rank 0; None: only where stderr is a terminal.

    Yields:
        The ``State`` after each step, the same object updated.

    Raises:
        ValueError: If t_end < t, a time is not finite, dt is below the round-off of t, or an
            argument does not fit the step, or data were changed to what they may not be.
        TypeError: If ``step`` cannot be marched.
        ConvergenceError: From a step whose solver failed; m keeps the last good state. A generator
            that raised is finished: go on with a new call, ``t=state.t`` and, say, a smaller
            ``step.dt.value`` (or adaptive steps, which do that by themselves).
        RuntimeError: If a right side is not finite (m and t keep the last good state, and a
            checkpoint is not overwritten), or adaptive steps would fall below ``dt_min``.

    Note: Collective; leaving the loop (by ``break``, or an error on some ranks alone) is not.
    """
    options = {
        "basis": basis,
        "petsc_options": petsc_options,
        "petsc_options_prefix": petsc_options_prefix,
    }
    mover = kept_stepper(step, options)
    start = mover.t if t is None and mover is step else 0.0 if t is None else t
    start = start if resume is None else resume.t
    # Ranks that disagree would take another number of steps, or other steps.
    landings = [*map(float, land_on), *map(float, jumps)]
    agree(mover.comm, t_end=t_end, t=start, dt=mover.dt, land_on_and_jumps=landings)
    width = None if until is None else until.tolerance
    given = dict(petsc_options or {})
    agree(mover.comm, petsc_options=given, adaptive=adaptive, until_tolerance=width)
    if not (math.isfinite(start) and math.isfinite(t_end)):
        raise ValueError(f"times must be finite, got t = {start}, t_end = {t_end}")
    if t_end < start:
        raise ValueError(f"t_end = {t_end} lies before t = {start}")
    for name, times in (("land_on", land_on), ("jumps", jumps)):
        if not all(math.isfinite(stop) for stop in times):
            raise ValueError(f"{name} must hold finite times, got {list(times)}")
    stops = sorted({float(stop) for stop in (*land_on, *jumps) if start < stop < t_end})
    controller = None
    if adaptive is not None:
        mover.watch_error()
        controller = Controller(adaptive, mover.order, mover.dt)
    memory = None
    if resume is not None:
        if resume.m is not mover.m:
            raise ValueError("the resumed state belongs to another m than the step")
        memory = resume.history()
        if controller is not None and "controller" in memory.numbers:
            controller.restore(memory.numbers["controller"])
    mover.start(start, memory)
    if start in jumps:
        mover.restart()
    state = State.of(mover, start, 0 if resume is None else resume.n, controller)
    ends = (*stops, t_end)
    watch = _unchanged(step)
    jumping = frozenset(map(float, jumps))
    return _steps(mover, state, ends, jumping, controller, until, progress, watch)


def _unchanged(step: Any) -> Callable[[], None]:
    """Return a check that no attribute of a step is set while it is marched."""
    if not dataclasses.is_dataclass(step):
        return lambda: None
    names = [f.name for f in dataclasses.fields(step)]
    values = [getattr(step, name) for name in names]

    def check() -> None:
        for name, value in zip(names, values, strict=True):
            if getattr(step, name) is not value:
                how = "step.dt.value = ..." if name == "dt" else "begin a new march after it"
                raise RuntimeError(
                    f"the attribute {name} of the step was set during a march, which has no "
                    f"effect: {how}"
                )

    return check


def kept_stepper(step: Any, options: Mapping[str, Any]) -> Stepper:
    """Return the stepper of a step; one made for the same options before is used again."""
    if isinstance(step, Stepper):
        return stepper(step, **options)
    key = {**options, "petsc_options": dict(options["petsc_options"] or {})}
    if dataclasses.is_dataclass(step):
        if isinstance(getattr(step, "dt", None), int | float):
            raise TypeError("the dt of a step is a fem.Constant: set step.dt.value, not step.dt")
        key |= {f"step.{f.name}": id(getattr(step, f.name)) for f in dataclasses.fields(step)}
    kept: tuple[dict[str, Any], Stepper] | None = getattr(step, "_stepper", None)
    if kept is not None and kept[0] == key and not getattr(kept[1], "outdated", False):
        return kept[1]
    if not dataclasses.is_dataclass(step):
        return stepper(step, **options)
    # The step keeps its stepper, which holds a copy of it: that is no cycle, so that both end, and
    # with them their communicators, when the user lets the step go.
    inner: Any = copy.copy(step)
    vars(inner).pop("_stepper", None)
    made = stepper(inner, **options)
    object.__setattr__(step, "_stepper", (key, made))
    return made


def _steps(
    mover: Stepper,
    state: State,
    ends: Sequence[float],
    jumps: frozenset[float],
    controller: Controller | None,
    until: Until | None,
    progress: bool | None,
    watch: Callable[[], None],
) -> Iterator[State]:
    show = (sys.stderr.isatty() if progress is None else progress) and mover.comm.rank == 0
    total = ends[-1] - state.t
    level = None if until is None else _Crossing(until, mover)
    try:
        with tqdm.tqdm(total=total, disable=not show, unit="t", desc=mover.name) as bar:
            for end in ends:
                while state.t < end:
                    begin = time.perf_counter()
                    before = state.t
                    watch()
                    found = _one_step(mover, state, end, jumps, controller, level)
                    state.record(mover, found, time.perf_counter() - begin, controller)
                    logger.info(
                        "%s: step %d, t = %g, %d iterations",
                        mover.name,
                        state.n,
                        state.t,
                        state.iterations,
                    )
                    bar.update(state.t - before)
                    if state.t == end and end in jumps:  # before a checkpoint could be written
                        mover.restart()
                        if controller is not None:
                            controller.forget()
                    yield state
                    if level is not None and level.reached:
                        return
    finally:
        state.detach()


def _one_step(
    mover: Stepper,
    state: State,
    end: float,
    jumps: frozenset[float],
    controller: Controller | None,
    level: _Crossing | None,
) -> Candidate:
    """Advance until a candidate is kept; return it."""
    if mover.t != state.t:
        raise RuntimeError(
            f"{mover.name}: this march stands at t = {state.t:g}, but its stepper was moved to "
            f"t = {mover.t:g} by another march of the same step: march one after the other"
        )
    if controller is not None:
        controller.take_up(mover.dt)
    while True:
        wanted = mover.dt if controller is None else controller.dt
        t, dt, landed = _span(state, wanted, end, mover.dt if controller is None else 0.0)
        if level is not None and level.bracket is not None:
            t, dt, landed = level.shorten(state.t)
            if controller is not None and controller.dt < dt:  # refused for another reason
                t, dt, landed = state.t + controller.dt, controller.dt, True
        try:
            if t in jumps:
                # A field that jumps at t has its value of before in the step that ends there.
                found = mover.advance(math.nextafter(t, -math.inf), dt)
            else:
                found = mover.advance(t, dt)
            if controller is None:
                kept = True
            else:
                kept = _gate(mover, controller, found) and _judge(controller, found, landed)
        except ConvergenceError as error:
            mover.reject()
            if controller is None:
                raise
            controller.failed(t, dt, str(error))
            continue
        if kept and level is not None:
            kept = level.keep(state.t, found, mover.candidate)
        if kept:
            mover.accept()
            if t in jumps:
                mover.t = t
            return dataclasses.replace(found, t=t)
        mover.reject()


def _span(state: State, wanted: float, end: float, fixed: float) -> tuple[float, float, bool]:
    """Return the end and the size of the next step, and whether it was shortened to land."""
    if not (math.isfinite(wanted) and wanted > 0.0):
        raise ValueError(f"the time step dt must be positive and finite, got {wanted}")
    remaining = end - state.t
    if state.t + wanted == state.t:
        raise ValueError(
            f"the time step dt = {wanted:g} is below the round-off of t = {state.t:g}: the run "
            "would never end"
        )
    # A rest below the round-off that n additions leave in t is no step of its own.
    margin = 1e-8 * wanted + 4 * (state.n + 1) * sys.float_info.epsilon * abs(end)
    if remaining > wanted + margin:
        if fixed or remaining >= 2.0 * wanted:
            return state.t + wanted, wanted, False
        return state.t + 0.5 * remaining, 0.5 * remaining, True  # no sliver is left for the end
    dt = wanted if abs(remaining - wanted) <= margin else remaining
    return end, dt, dt != wanted


def _judge(controller: Controller, found: Candidate, landed: bool) -> bool:
    """Judge the error; a step that was shortened to land does not shorten those after it."""
    wanted = controller.dt
    kept = controller.judge(found)
    if kept and landed:
        controller.dt = max(controller.dt, wanted)
    return kept


def _gate(mover: Stepper, controller: Controller, found: Candidate) -> bool:
    """Refuse a step that raises the energy, where the user has said that it may not."""
    if not controller.adaptive.energy_gate:
        return True
    energy = getattr(getattr(mover, "step", None), "energy", None)
    if energy is None:
        raise ValueError(f"energy_gate needs a scheme that knows its energy, {mover.name} does not")
    new, old = energy.total(mover.candidate, found.t), energy.total(mover.m, mover.t)
    if new <= old + 1e-10 * max(abs(new), abs(old), 1e-300):
        return True
    controller.failed(found.t, found.dt, f"the energy would rise from {old:g} to {new:g}", 0.5)
    return False


class _Crossing:
    """The search for the time at which a scalar changes its sign, by rejecting and shortening."""

    def __init__(self, until: Until, mover: Stepper) -> None:
        self.until, self._comm = until, mover.comm
        self.value = self._evaluate(mover.m)
        self.bracket: tuple[float, float] | None = None  # time and value after the crossing
        self.reached = False

    def _evaluate(self, m: Any) -> float:
        with together(self._comm):
            found: Any = self.until.function(m)
            if not isinstance(found, int | float | np.number) or not math.isfinite(found):
                raise ValueError(
                    f"the function of an event must return a finite number, got {found!r}"
                )
        # Round-off that differs between ranks would let one step on where another turns back.
        return float(self._comm.bcast(float(found)))

    def keep(self, t: float, found: Candidate, candidate: Any) -> bool:
        """Whether a candidate may be kept: it lies before the crossing, or close behind it."""
        value = self._evaluate(candidate)
        if self.value == 0.0:  # a start on the surface: the first value off it has the sign
            self.value = value
            return True
        if value == 0.0 or (value > 0.0) != (self.value > 0.0):
            if found.dt <= max(self.until.tolerance, 4.0 * sys.float_info.epsilon * abs(t)):
                self.reached = True
                return True
            self.bracket = (found.t, value)
            return False
        self.value = value
        if self.bracket is not None and found.t >= self.bracket[0]:
            self.bracket = None  # the field or m has changed: there is no crossing any more
        return True

    def shorten(self, t: float) -> tuple[float, float, bool]:
        """Return the end and the size of the next trial: the secant's, kept off the ends."""
        assert self.bracket is not None
        end, value = self.bracket
        width, tolerance = end - t, self.until.tolerance
        if width <= max(tolerance, 4.0 * sys.float_info.epsilon * abs(end)):
            return end, width, True
        share = self.value / (self.value - value) if value != self.value else 0.5
        # Half the tolerance beyond the secant, so that two trials bracket a straight crossing.
        dt = min(max(share * width - 0.5 * tolerance, 0.1 * width), 0.9 * width)
        if share * width <= 0.5 * tolerance:
            dt = min(tolerance, width)
        return t + dt, dt, True
