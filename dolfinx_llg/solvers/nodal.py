# SPDX-License-Identifier: LGPL-3.0-or-later
"""Steppers of the explicit methods: of an energy's nodal field, and of any field of an array."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import warn
from dolfinx_llg.collective import together
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.schemes.damping import LiveDamping
from dolfinx_llg.schemes.nodal import LEVELS, Explicit, Field
from dolfinx_llg.schemes.nodal_step import NodalStep, check_unit_vectors
from dolfinx_llg.schemes.stability import stability_limit
from dolfinx_llg.solvers.arrays import ArrayStepper, not_finite
from dolfinx_llg.solvers.base import FunctionStepper
from dolfinx_llg.solvers.nodal_field import NodalField
from dolfinx_llg.solvers.noise import NodalNoise
from dolfinx_llg.solvers.stepper import Candidate, Memory, stepper

__all__ = ["NodalArrayStepper", "NodalStepper"]

Array = npt.NDArray[np.floating]

_PACKAGE = str(Path(__file__).resolve().parents[1])
SAFETY = 0.9
"""Share of the stability limit that a step without a given dt takes."""
GROWTH = 1e-3
"""Growth in a step that is no instability: of HeunP and MPE without damping."""


def scaled(field: Field, m: Array, t: float, *, rate: float | Array) -> Array:
    """Return ``rate field(m, t)``."""
    return np.asarray(rate * field(m, t))


def shifted(field: Field, m: Array, t: float, *, by: Array) -> Array:
    """Return ``field(m, t) + by``."""
    return field(m, t) + by


def _refuse_adaptive(name: str) -> None:
    raise ValueError(
        f"{name} has no error estimate and takes no adaptive steps: use llg.rk4, llg.heun or an "
        "implicit scheme"
    )


@checked
class NodalStepper(FunctionStepper):
    """The stepper of a ``NodalStep`` of an energy.

    Args:
        step: The step.
        basis: Periodic basis (``periodic_basis``) or pinned nodes (``pinned_basis``); None:
            natural boundary conditions.

    Attributes: see also ``FunctionStepper``.
        field: The effective field.

    Warns:
        UserWarning: Once, if dt exceeds the stability limit.
        NumericalDampingWarning: Once, if a step adds more than 5 % of the damping.

    Raises:
        ValueError: If the basis does more than identify nodes.

    Note: Collective.
    """

    def __init__(self, step: NodalStep, *, basis: GalerkinBasis | None = None) -> None:
        assert step.energy is not None
        assert isinstance(step.damping, LiveDamping)
        candidate = fem.Function(step.m.function_space, name="x")
        super().__init__(step, candidate, basis, (), ())
        self.field = NodalField(step.energy, step.m, basis)
        if step.noise is not None:
            self.noise = NodalNoise(step.noise, step.energy.Ms, step.m, self.field)
        self._run = Explicit(step.method)
        self._estimates = False
        self._automatic, self._stale = math.isnan(self.dt), False
        self._set_limit()
        if not self._automatic and self.dt > self._limit:
            warn(
                f"{self.name}: dt = {self.dt:.3g} exceeds the stability limit of {self._limit:.3g} "
                "(largest frequency of the field on this mesh): the run will not be right; leave "
                "dt out to have 0.9 of the limit",
            )
        # Below the limit RK4P adds (omega dt)^5/144 at the frequency omega: much for one spin.
        self.check_damping(lumped=True)

    def _set_limit(self) -> None:
        """Find the stability limit, and dt where it is not the user's."""
        m = self.field.nodal(self.step.m)
        omega = self.field.largest_frequency()
        turn = self.field(m, self.t)
        along = float(np.max(np.linalg.norm(turn, axis=1), initial=0.0))
        c, damping = self.field.damping_rate(self.step.damping)
        local = (float(np.max(c)), float(np.min(damping)), along)
        rows = np.array(self.comm.allgather(local))
        low = float(rows[:, 1].min())
        growth = GROWTH if self._run.method in ("heun_p", "mpe") else 0.0
        self._limit = math.inf
        frequency = float(rows[:, 0].max()) * (omega + float(rows[:, 2].max()))
        if frequency > 0.0:
            # Power iterations stay below the largest frequency by some percent.
            self._limit = stability_limit(self._run.method, low, growth) / frequency
        if self._automatic:
            if math.isinf(self._limit):
                raise ValueError(f"{self.name}: the field is zero and limits no step: give dt")
            self.dt = SAFETY * self._limit

    def watch_error(self) -> None:
        """Estimate errors from now on.

        Raises:
            ValueError: For MPE and MPEA, which have no estimate.
        """
        if LEVELS[self._run.method]:
            _refuse_adaptive(self.name)
        self.refuse_adaptive_noise()
        self._estimates = True

    def advance(self, t: float, dt: float) -> Candidate:
        """Compute the candidate at t, dt after the present state; see ``FunctionStepper``.

        Where dt is that of the stability limit and data of the energy have changed, dt follows
        after this step.

        Raises:
            ValueError: If dt is to be found and the field, which is zero, limits no step.

        Note: Collective.
        """
        candidate = super().advance(t, dt)
        if self._stale:
            self._stale = False
            self._set_limit()
        return candidate

    def _solve(self, t: float, dt: float) -> None:
        m = self.field.nodal(self.step.m)
        if self.field.refresh(self.t, m):
            self._run.data_changed()
            self._stale = self._automatic and not self.field.dynamic
        c, damping = self.field.damping_rate(self.step.damping)
        field: Field = self.field
        if self.noise is not None:
            a = damping / (c * (1.0 + damping**2))
            held = self.noise.draw(self.t + 0.5 * dt, dt, a)
            field = functools.partial(shifted, self.field, by=held)
        if not np.all(c == 1.0):
            field = functools.partial(scaled, field, rate=c)
        with np.errstate(all="ignore"):  # what is not finite is seen below
            new = self._run.advance(field, m, (self.t, t), dt, damping, estimate=self._estimates)
        if not all(self.comm.allgather(bool(np.all(np.isfinite(new))))):
            not_finite(self.name, self.comm, self._run.first, self.t)
        self.field.assign(self._candidate, new)

    def _estimate(self, t: float, dt: float, new: Array) -> float:
        return self._run.error

    def _keep(self) -> None:
        self._run.keep()

    def _forget(self) -> None:
        self._run.forget()

    def _memory(self) -> Memory:
        memory = Memory(numbers={"h_times": [t for t, _ in self._run.past]})
        for index, (_, h) in enumerate(self._run.past):
            memory.keep(f"h_{index}", h, self._basis, increment=True)
        return memory

    def _take(self, memory: Memory) -> None:
        self._forget()
        work = fem.Function(self.step.m.function_space)
        for index, t in enumerate(memory.numbers.get("h_times", [])):
            self._values(work)[:] = memory.fields[f"h_{index}"]
            work.x.scatter_forward()
            self._run.past.append((t, self.field.nodal(work)))

    def _reassemble(self) -> None:
        """There is nothing that the field does not watch itself."""


@checked
class NodalArrayStepper(ArrayStepper):
    """The stepper of a ``NodalStep`` of an array and a field, such as ``hmm.UpscaledField``.

    Args:
        step: The step; its ``m`` follows the run.

    Raises:
        ValueError: If there is no dt, and the field has no ``stable_dt(damping, method)``.
    """

    def __init__(self, step: NodalStep) -> None:
        assert step.field is not None
        comm = getattr(step.field, "comm", MPI.COMM_SELF)
        super().__init__(step.name, step.order, comm, step.m, step.dt)
        self.step = step
        self._run = Explicit(step.method)
        if math.isnan(self.dt):
            stable = getattr(step.field, "stable_dt", None)
            if stable is None:
                raise ValueError(
                    f"{self.name}: dt must be given, the field has no stable_dt(damping, method)"
                )
            self.dt = stable(float(np.min(step.damping.rate()[1])), step.method)

    def start(self, t: float, memory: Memory | None = None) -> None:
        """Stand at t with m as it is, or with what the user has written to ``step.m``.

        Raises:
            ValueError: If m was set to vectors that are not of unit length.

        Note: Collective.
        """
        self._follow()
        super().start(t, memory)

    def advance(self, t: float, dt: float) -> Candidate:
        """Compute the candidate at t, dt after the present state; see ``ArrayStepper``."""
        self._follow()
        self.step.refresh()
        return super().advance(t, dt)

    def accept(self) -> None:
        """Take the candidate as m."""
        super().accept()
        self.step.m[...] = self.m

    def watch_error(self) -> None:
        """Estimate errors from now on.

        Raises:
            ValueError: For MPE and MPEA, which have no estimate.
        """
        if LEVELS[self._run.method]:
            _refuse_adaptive(self.name)
        super().watch_error()

    def _follow(self) -> None:
        """Take m from the step where the user has written to it; refuse another length than 1."""
        given = self.m
        if not np.array_equal(self.step.m, self._accepted, equal_nan=True):
            given = self.step.m.copy()
        with together(self.comm):
            if not np.array_equal(given, self._accepted, equal_nan=True):
                check_unit_vectors(given)
        self.m = given

    def _solve(self, t: float, dt: float) -> tuple[Array, float]:
        c, damping = self.step.damping.rate()
        field = self.step.field
        assert field is not None
        if not np.all(c == 1.0):
            field = functools.partial(scaled, field, rate=c)
        with np.errstate(all="ignore"):
            new = self._run.advance(
                field, self.m, (self.t, t), dt, damping, estimate=self._estimates
            )
        if not all(self.comm.allgather(bool(np.all(np.isfinite(new))))):
            not_finite(self.name, self.comm, self._run.first, self.t)
            raise ConvergenceError(
                f"{self.name}: the new magnetization is not finite at t = {t:.6g}",
                reason=-9,
                iterations=0,
                t=t,
            )
        return new, self._run.error

    def _keep(self) -> None:
        self._run.keep()

    def _forget(self) -> None:
        self._run.forget()


@stepper.register
def _(
    step: NodalStep,
    *,
    basis: GalerkinBasis | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
) -> NodalStepper | NodalArrayStepper:
    if petsc_options:
        raise ValueError(f"{step.name} solves no system: it takes no petsc_options")
    if step.field is None:
        return NodalStepper(step, basis=basis)
    if basis is not None:
        raise ValueError(f"{step.name} of an array takes no basis")
    return NodalArrayStepper(step)
