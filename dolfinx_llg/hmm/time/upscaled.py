# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Upscaling in time as a stepper: the macro model of spins, chains and magnets.

Arjmand, Engblom, Kreiss, sections 3 and 4. The macro model (3.2), with F the upscaled flux (3.5),

.. math:: \dot M = F(t, M) + \tfrac{\lambda}{\beta} M \times F(t, M),

is solved by the implicit midpoint rule (3.3); or, as remark 1 and section 3.2 allow, by an explicit
method, and with the damping in the micro problems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import check_kind
from dolfinx_llg.hmm.time.midpoint import (
    MacroModel,
    MidpointSolver,
    Rate,
    explicit_step,
    solve_midpoint,
)
from dolfinx_llg.hmm.time.precession import check_state
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.schemes.nodal_step import TimeStep
from dolfinx_llg.solvers.arrays import ArrayStepper
from dolfinx_llg.solvers.base import FunctionStepper
from dolfinx_llg.solvers.stepper import Candidate, Memory, stepper

__all__ = ["UpscaledArrayStepper", "UpscaledStep", "UpscaledStepper", "upscaled"]

Array = npt.NDArray[np.floating]
Projection = Literal["flux", "magnetization"]
Method = Literal["midpoint", "heun", "rk4"]


@dataclass
class UpscaledStep:
    """One macro step of a model; see ``upscaled``.

    Attributes:
        m: Macro magnetization: an array of shape (..., 3), or a P1 function (magnets).
        dt: Macro step; assign ``step.dt.value`` between steps to change it.
        rate: Right side of the macro model.
        keep_length: How abs(M) is kept.
        method: Macro stepper.
        solver: The iteration of the midpoint rule.
        tolerance: Bound for the largest residual of the midpoint equation.
        name: Name for logs and messages.
    """

    m: Any
    dt: Any
    rate: Rate
    keep_length: Projection | None
    method: Method
    solver: MidpointSolver
    tolerance: float
    name: str = "upscaled"

    @property
    def model(self) -> Any:
        """The macro model."""
        return self.rate.model

    @property
    def order(self) -> int:
        """Order of the macro stepper."""
        return 4 if self.method == "rk4" else 2

    @property
    def projection(self) -> bool:
        """Whether m is of unit length after each step."""
        return self.keep_length == "magnetization"

    @property
    def energy(self) -> Any:
        """Energy of a magnet without its fast field; None for spins and chains."""
        return getattr(self.model, "energy", None)

    def refresh(self) -> None:
        """There is nothing to bring up to date before a step."""


@checked
def upscaled(
    model: Any,
    m: Any,
    *,
    dt: float,
    damping: float = 0.0,
    damping_in: Literal["macro", "micro"] = "macro",
    method: Method = "midpoint",
    projection: Projection | None = None,
    solver: MidpointSolver = MidpointSolver(),
    tolerance: float = 1e-10,
) -> UpscaledStep:
    r"""Upscaling in time as a step for ``march``: the macro model (3.2), implicit midpoint (3.3).

    ::

        for state in llg.march(llg.hmm.upscaled(model, m, dt=0.1, damping=0.5), t_end=6.0): ...

    ``state.iterations`` counts the evaluations of the flux in a step. A step shorter than the
    window tau, which a direct simulation would do for less, is refused but for the last one before
    an output time. A macro magnetization that is a function works with observers, checkpoints and
    files, as in other runs; in its energy the fast field is not contained.

    Args:
        model: ``SpinModel``, ``ChainModel`` or ``MagnetModel``.
        m: Macro magnetization: for a magnet a P1 function, advanced in place, or its nodal values;
            else an array (..., 3).
        dt: Macro step, at least the window tau.
        damping: lambda of the LL form, not negative.
        damping_in: ``"macro"``: the damping is in the macro model (3.2). ``"micro"``: it is in the
            micro problems, and the macro model is dM/dt = F (3.1), remark 1. A single spin's micro
            problem is then no longer linear.
        method: Macro stepper: ``"midpoint"``, the implicit midpoint rule (3.3), or the explicit
            ``"heun"`` (order 2) or ``"rk4"`` (order 4), with 2 and 4 fluxes a step and a limit of
            stability.
        projection: How abs(M) is kept, which the method itself does up to O(eps) only (remark 7).
            None: not at all. ``"flux"``: F is replaced by its part normal to M, so that the
            midpoint rule conserves abs(M) up to ``tolerance``. ``"magnetization"``: M/abs(M) is
            taken after each step, the projection to the unit sphere that section 6 proposes; abs(M)
            is then 1 to rounding, whatever it was at first.
        solver: The iteration of the midpoint rule (``llg.hmm.MidpointSolver``).
        tolerance: Bound for the largest residual of the midpoint equation, absolute (abs(M) ~ 1).

    Raises:
        ValueError: If an argument is out of range.
    """
    if damping_in not in ("macro", "micro"):
        raise ValueError(f"damping_in must be 'macro' or 'micro', got {damping_in!r}")
    if method not in ("midpoint", "heun", "rk4"):
        raise ValueError(f"method must be 'midpoint', 'heun' or 'rk4', got {method!r}")
    check_kind("model", model, MacroModel, "a model (SpinModel, ChainModel, MagnetModel)")
    is_function = isinstance(m, fem.Function)
    if is_function and not hasattr(model, "nodal"):
        raise TypeError(f"upscaled: a {type(model).__name__} takes m as an array, got a Function")
    values = model.nodal(m) if is_function else np.array(m, dtype=np.float64)
    check_state(values, model.shape, model.macro_comm)
    if not (math.isfinite(dt) and dt > 0.0):
        raise ValueError(f"the time step dt must be positive and finite, got {dt}")
    if not (math.isfinite(damping) and damping >= 0.0):
        raise ValueError(f"the damping must not be negative, got {damping}")
    if not tolerance > 0.0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    _check_window(model, dt)
    return UpscaledStep(
        m if is_function else values,
        TimeStep(float(dt)),
        Rate(model, float(damping), damping_in, projection == "flux"),
        projection,
        method,
        solver,
        tolerance,
    )


def _check_window(model: MacroModel, dt: float) -> None:
    tau = model.window.tau
    if tau > dt:
        raise ValueError(
            f"the averaging window tau = {tau} exceeds the macro step dt = {dt}: a direct "
            "simulation would be cheaper; reduce tau (it scales with eps) or enlarge dt"
        )


def _refuse_adaptive() -> None:
    raise ValueError(
        "upscaled: macro steps are not adapted, the window bounds them from below: give dt"
    )


class _Macro:
    """The macro solver of a run: its rates are what it keeps from step to step.

    Attributes:
        rates: dM/dt at the last two midpoints, newest first (of the midpoint rule).
        evaluations: Evaluations of the flux in the last step.
    """

    def __init__(self, step: UpscaledStep) -> None:
        self.step = step
        self.rates: list[Array] = []
        self.evaluations = 0
        self._rate: Array | None = None

    def advance(self, m: Array, t: float, dt: float) -> Array:
        """Return M at t + dt."""
        step = self.step
        if step.method != "midpoint":
            new, self.evaluations = explicit_step(step.rate, step.method, m, t, dt)
            return _unit(new, step.model.macro_comm) if step.projection else new
        guess = m
        if self.rates:
            # Extrapolated rates: one evaluation of the flux fewer in most steps.
            guess = m + (0.5 * dt) * (2.0 * self.rates[0] - self.rates[-1])
        middle, self.evaluations = solve_midpoint(
            step.rate,
            m,
            guess,
            t + 0.5 * dt,
            dt,
            step.solver,
            step.tolerance,
        )
        self._rate = (2.0 / dt) * (middle - m)
        new = 2.0 * middle - m
        return _unit(new, step.model.macro_comm) if step.projection else new

    def keep(self) -> None:
        """Take the last step."""
        if self._rate is not None:
            self.rates = [self._rate, *self.rates][:2]

    def forget(self) -> None:
        """Forget earlier steps."""
        self.rates = []


class _UpscaledSteps:
    """What both steppers below share: macro steps of ``_macro``, before the stepper of M's kind."""

    step: UpscaledStep
    dt: float
    _macro: _Macro

    @property
    def rates(self) -> list[Array]:
        """dM/dt at the last two midpoints, newest first, of this rank."""
        return self._macro.rates

    def advance(self, t: float, dt: float) -> Candidate:
        """Compute the candidate at t; a macro step must not be shorter than the window.

        Raises:
            ValueError: If dt is shorter than the averaging window.
            ConvergenceError: If an implicit step does not converge.
        """
        _check_window(self.step.model, self.dt)
        found: Candidate = super().advance(t, dt)  # type: ignore[misc]
        return found

    def watch_error(self) -> None:
        """Refuse adaptive steps."""
        _refuse_adaptive()

    def _keep(self) -> None:
        self._macro.keep()

    def _forget(self) -> None:
        self._macro.forget()


@checked
class UpscaledArrayStepper(_UpscaledSteps, ArrayStepper):
    """The stepper of spins and chains.

    Args:
        step: The step.
    """

    def __init__(self, step: UpscaledStep) -> None:
        comm: MPI.Comm = getattr(step.model, "comm", MPI.COMM_SELF)
        super().__init__(step.name, step.order, comm, step.m, step.dt)
        self.step, self._macro = step, _Macro(step)

    def _solve(self, t: float, dt: float) -> tuple[Array, float]:
        new = self._macro.advance(self.m, self.t, dt)
        self.iterations = self._macro.evaluations
        return new, math.nan


@checked
class UpscaledStepper(_UpscaledSteps, FunctionStepper):
    """The stepper of a magnet whose M is a function.

    Args:
        step: The step.
    """

    def __init__(self, step: UpscaledStep) -> None:
        super().__init__(step, fem.Function(step.m.function_space, name="x"), None, (), ())
        self._macro = _Macro(step)

    def _solve(self, t: float, dt: float) -> None:
        model = self.step.model
        new = self._macro.advance(model.nodal(self.step.m), self.t, dt)
        self.iterations = self._macro.evaluations
        model.assign(self._candidate, new)

    def _memory(self) -> Memory:
        rates = (np.array(rate, dtype=np.float64) for rate in self._macro.rates)
        fields = {f"rate_{i}": rate for i, rate in enumerate(rates)}
        return Memory(fields=fields)

    def _take(self, memory: Memory) -> None:
        names = sorted(name for name in memory.fields if name.startswith("rate_"))
        self._macro.rates = [memory.fields[name].copy() for name in names]

    def _reassemble(self) -> None:
        """There is nothing that the model does not watch itself."""


@stepper.register
def _(
    step: UpscaledStep,
    *,
    basis: GalerkinBasis | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
) -> UpscaledArrayStepper | UpscaledStepper:
    if basis is not None or petsc_options:
        raise ValueError("upscaled takes neither a basis nor petsc_options")
    return UpscaledStepper(step) if isinstance(step.m, fem.Function) else UpscaledArrayStepper(step)


def _unit(m: Array, comm: MPI.Comm) -> Array:
    """M/abs(M), or the same error on every rank where M vanishes."""
    length = np.linalg.norm(m, axis=-1, keepdims=True)
    if comm.allreduce(not bool(np.all(length > 0.0)), op=MPI.LOR):
        raise ValueError("a macro magnetization vanishes and has no projection to the unit sphere")
    return np.asarray(m / length)
