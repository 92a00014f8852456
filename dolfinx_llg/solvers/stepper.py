# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Stepper: the one protocol of whatever advances in time, and what steppers share.

A stepper stands at a time t with a magnetization m. ``advance`` computes a candidate for the next
state with an estimate of its error and changes nothing that the user can see; ``accept`` takes it,
``reject`` drops it. So a loop can shorten a step, try again, stop at an event, or resume.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.la.basis import Coefficients, GalerkinBasis

__all__ = ["Candidate", "Memory", "Past", "Settling", "Stepper", "measured", "stepper"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """What ``advance`` has found; the same on every rank.

    Attributes:
        t: Time of the candidate.
        dt: Size of its step.
        error: Estimate of its local error, the largest over the nodes; NaN where there is none yet
            (the first steps), or where the stepper does not estimate.
        max_dmdt: Largest nodal ``|m_new - m_old|/dt``.
        iterations: Krylov iterations (of all Newton steps together).
        newton_iterations: Newton iterations, 0 for linear steps.
        seconds: Wall time on this rank by part: "setup", "assembly", "solve".
    """

    t: float
    dt: float
    error: float = math.nan
    max_dmdt: float = math.nan
    iterations: int = 0
    newton_iterations: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Memory:
    """What a stepper needs beside m to go on as if it had not stopped.

    Attributes:
        fields: Values at the nodes that this rank owns, shape (n, 3), by name.
        numbers: Numbers by name.
        coarse: States in a coarse space by name, which ``complete`` brings to the nodes.
    """

    fields: dict[str, Array] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)
    coarse: dict[str, Coefficients] = field(default_factory=dict, repr=False)

    def keep(
        self,
        name: str,
        values: npt.NDArray[Any],
        basis: GalerkinBasis | None,
        *,
        increment: bool = False,
    ) -> None:
        """Keep a copy of a state without communication: at the nodes, or as coefficients.

        Args:
            name: Name of the field.
            values: Values at this rank's nodes, or its coefficients in the basis.
            basis: Space of the coefficients; None: they are values at the nodes.
            increment: They are those of an increment or a field, to which no lift is added.
        """
        if basis is None:
            self.fields[name] = np.array(values, dtype=np.float64).reshape(-1, 3)
        else:
            self.coarse[name] = Coefficients(basis, values, increment=increment)

    def complete(self) -> Memory:
        """Bring what is kept as coefficients to the nodes; return the memory itself.

        Note: Collective.
        """
        while self.coarse:
            name = next(iter(self.coarse))
            self.fields[name] = self.coarse.pop(name).at_nodes().reshape(-1, 3)
        return self


@runtime_checkable
class Stepper(Protocol):
    """Whatever ``march`` can drive. All methods but ``history`` are collective.

    Attributes:
        name: Name of the scheme, for logs and messages.
        comm: Ranks that step together.
        m: Magnetization at the time t: a ``fem.Function``, or an array of shape (..., 3).
        t: Time at which m stands.
        dt: Size of the next step; may be set between steps.
        order: Order of the error estimate's method.
    """

    name: str
    t: float
    order: int

    @property
    def comm(self) -> MPI.Comm: ...  # noqa: D102
    @property
    def m(self) -> Any: ...  # noqa: D102
    @property
    def dt(self) -> float: ...  # noqa: D102
    @dt.setter
    def dt(self, value: float) -> None: ...

    @property
    def candidate(self) -> Any:
        """The magnetization of the last ``advance``, of the kind of m."""
        ...

    def start(self, t: float, memory: Memory | None = None) -> None:
        """Stand at the time t with m as it is; with ``memory`` go on as the run that left it."""
        ...

    def advance(self, t: float, dt: float) -> Candidate:
        """Compute the state at t, dt after the present one. m and t stay as they are."""
        ...

    def accept(self) -> None:
        """Take the candidate: m and t are its."""
        ...

    def reject(self) -> None:
        """Drop the candidate."""
        ...

    def restart(self) -> None:
        """Forget earlier steps: a field has jumped, extrapolating over it would be wrong."""
        ...

    def watch_error(self) -> None:
        """Estimate errors from now on (it keeps some earlier states); else ``error`` is NaN."""
        ...

    def history(self) -> Memory:
        """Return what a checkpoint needs beside m.

        Without communication: ``march`` asks where a loop is left, maybe by one rank's error.
        """
        ...


@runtime_checkable
class Settling(Protocol):
    """A stepper whose m is brought up to date on demand."""

    def settle(self) -> None:
        """Bring m up to date on this rank, without communication."""
        ...


@functools.singledispatch
def stepper(step: Any, **options: Any) -> Stepper:
    """Return the stepper of a step: what ``march`` drives.

    A mesh holds about six communicators of MPI as long as it lives, of which MPICH has 2,048 in a
    process, and a stepper holds its mesh: a study with a mesh for each run lets those go that are
    done (some 300 may be alive at a time).

    Args:
        step: Description of a step, a reduction, or a stepper (returned as it is).
        options: ``basis``, ``petsc_options``, ``petsc_options_prefix``: see ``march``; None where
            the caller has not said.

    Raises:
        TypeError: If it cannot be marched, or takes no such options.

    Note: Collective.
    """
    if isinstance(step, Stepper):
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise TypeError(f"a stepper has its options already: march takes no {given} with it")
        return step
    raise TypeError(
        f"march takes the step of a scheme (llg.gao(...), ...), a reduction or a stepper, got "
        f"{type(step).__name__}"
    )


def measured(comm: MPI.Comm, name: str, change: Array, candidate: Candidate) -> Candidate:
    """Return a candidate of this rank with the figures of all ranks, in one exchange.

    Args:
        comm: Ranks that step together.
        name: Name of the scheme, for the message.
        change: Change of m at this rank's nodes, shape (..., 3).
        candidate: Candidate with this rank's error.

    Raises:
        ConvergenceError: If the new magnetization is not finite.

    Note: Collective.
    """
    squares = np.einsum("...i,...i->...", change, change)
    largest = float(np.sqrt(np.max(squares, initial=0.0))) / candidate.dt
    rows = np.array(comm.allgather((largest, candidate.error)))
    if not np.all(np.isfinite(rows[:, 0])):
        raise ConvergenceError(
            f"{name}: the new magnetization is not finite at t = {candidate.t:.6g}",
            reason=-9,
            iterations=candidate.iterations,
            t=candidate.t,
        )
    error, max_dmdt = float(rows[:, 1].max()), float(rows[:, 0].max())
    return replace(candidate, error=error, max_dmdt=max_dmdt)


class Past:
    r"""The last states of a run: estimates of the local error by divided differences.

    For a method of order p with the local error :math:`C\,\Delta t^{p+1} m^{(p+1)}` the derivative
    is taken from the candidate and the p + 1 states before it, at any step sizes; predictor against
    corrector (TR-AB2) is the same estimate. Costs p + 1 arrays, and no solve.

    Args:
        order: p.
        constant: C.
    """

    def __init__(self, order: int, constant: float) -> None:
        self.order, self.constant = order, constant
        self.times: list[float] = []
        self.values: list[Array] = []

    def push(self, t: float, values: Array) -> None:
        """Keep an accepted state; values are not copied."""
        self.times.insert(0, t)
        self.values.insert(0, values)
        del self.times[self.order + 1 :], self.values[self.order + 1 :]

    def write(self, memory: Memory) -> None:
        """Add copies of the states to what a restart needs."""
        memory.numbers["past_times"] = list(self.times)
        for index, values in enumerate(self.values):
            memory.fields[f"past_{index}"] = values.copy()

    def read(self, memory: Memory) -> None:
        """Take up the states that ``write`` has left."""
        self.times = list(memory.numbers["past_times"])
        self.values = [memory.fields[f"past_{i}"].copy() for i in range(len(self.times))]

    def clear(self) -> None:
        """Forget all states."""
        self.times, self.values = [], []

    def error(self, t: float, dt: float, values: Array) -> float:
        """Return the largest nodal error of this rank; NaN while there are too few states."""
        p = self.order
        if len(self.times) <= p:
            return math.nan
        weights = divided_difference([t, *self.times[: p + 1]])
        difference = weights[0] * values
        for weight, earlier in zip(weights[1:], self.values, strict=False):
            difference += weight * earlier
        largest = np.sqrt(np.max(np.sum(difference**2, axis=-1), initial=0.0))
        return float(self.constant * dt ** (p + 1) * math.factorial(p + 1) * largest)


def divided_difference(times: Sequence[float]) -> Array:
    """Return the weights of the divided difference f[t_0, ..., t_k] of values at these times."""
    t = np.asarray(times)
    gaps = t[:, None] - t[None, :] + np.eye(len(t))
    return np.asarray(1.0 / gaps.prod(axis=1))


def extrapolation(times: Sequence[float], t: float) -> Array:
    """Return Lagrange's weights of values at ``times`` for the time t."""
    points = np.asarray(times)
    out = np.ones(len(points))
    for i, own in enumerate(points):
        others = np.delete(points, i)
        out[i] = np.prod((t - others) / (own - others))
    # Equal steps have whole weights; times that differ in round-off (a run that was stopped at its
    # end has t_end, one that was not a sum of steps) must not make others of them.
    whole = np.rint(out)
    return np.where(np.abs(out - whole) < 1e-9, whole, out)
