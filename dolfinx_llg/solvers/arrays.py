# SPDX-License-Identifier: LGPL-3.0-or-later
"""Steppers of a magnetization that is an array: the protocol around one solve, as ``base`` is."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.schemes.step import check_time_step
from dolfinx_llg.solvers.stepper import Candidate, Memory, measured

__all__ = ["ArrayStepper", "not_finite"]

Array = npt.NDArray[np.floating]


class ArrayStepper(ABC):
    """Base of the steppers whose m is an array; a subclass solves one step in ``_solve``.

    Each state is an array of its own. Checkpoints, VTX and observers need a ``fem.Function``.

    Args:
        name: Name of the scheme.
        order: Order of the error estimate.
        comm: Ranks over which m is spread, or that compute its field together.
        m: Magnetization, shape (..., 3); not changed.
        dt: Object whose ``value`` is the size of the next step.

    Attributes:
        m: Magnetization at the time t; writing to it changes the next step.
        candidate: That of the last ``advance``.
        iterations: What the subclass counts in a step.
    """

    def __init__(self, name: str, order: int, comm: MPI.Comm, m: Array, dt: Any) -> None:
        self.name, self.order, self.comm = name, order, comm
        self.m: Array = np.array(m, dtype=np.float64)
        self.candidate: Array = self.m
        self.t = 0.0
        self.iterations = 0
        self._dt = dt
        self._accepted = self.m.copy()
        self._pending: Candidate | None = None
        self._estimates = False

    @property
    def dt(self) -> float:
        """Size of the next step."""
        return float(self._dt.value)

    @dt.setter
    def dt(self, value: float) -> None:
        self._dt.value = float(value)

    def start(self, t: float, memory: Memory | None = None) -> None:
        """Stand at t with m as it is: see ``Stepper.start``."""
        if memory is not None:
            self._take(memory)
        elif not all(self.comm.allgather(t == self.t and not self._touched())):
            self._forget()
        self._accepted = self.m.copy()
        self.t = t

    def advance(self, t: float, dt: float) -> Candidate:
        """Compute the candidate at t, dt after the present state.

        Raises:
            ValueError: If dt is not positive.
            RuntimeError: If the field at the present state is not finite.
            ConvergenceError: If the new magnetization is not finite.
        """
        check_time_step(dt)
        if any(self.comm.allgather(self._touched())):
            self._forget()
            self._accepted = self.m.copy()
        begin = time.perf_counter()
        self.candidate, error = self._solve(t, dt)
        local = Candidate(
            t=t,
            dt=dt,
            error=error,
            max_dmdt=math.nan,
            iterations=self.iterations,
            seconds={"setup": 0.0, "assembly": 0.0, "solve": time.perf_counter() - begin},
        )
        change = self.candidate - self._accepted
        self._pending = measured(self.comm, self.name, change, local)
        return self._pending

    def accept(self) -> None:
        """Take the candidate as m."""
        assert self._pending is not None, "advance comes before accept"
        self._keep()
        self.m, self.t = self.candidate, self._pending.t
        self._accepted = self.m.copy()
        self._pending = None

    def reject(self) -> None:
        """Drop the candidate."""
        self._pending = None

    def restart(self) -> None:
        """Forget earlier steps."""
        self._forget()

    def watch_error(self) -> None:
        """Estimate errors from now on."""
        self._estimates = True

    def history(self) -> Memory:
        """Return what a restart needs beside m."""
        return Memory()

    def _touched(self) -> bool:
        """Whether the user has changed m on this rank since the last step."""
        return not np.array_equal(self.m, self._accepted, equal_nan=True)

    @abstractmethod
    def _solve(self, t: float, dt: float) -> tuple[Array, float]:
        """Return the new magnetization and this rank's error estimate (NaN: none)."""

    @abstractmethod
    def _keep(self) -> None:
        """Take what the accepted step leaves to the next ones."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget what earlier steps have left."""

    def _take(self, memory: Memory) -> None:
        """Take up what ``history`` returned."""
        self._forget()
        if memory.fields or memory.numbers:
            raise ValueError(f"{self.name} of an array does not resume from a checkpoint")


def not_finite(name: str, comm: MPI.Comm, field: Array, t: float) -> None:
    """Raise RuntimeError if a field at an accepted state is not finite. Collective."""
    if not all(comm.allgather(bool(np.all(np.isfinite(field))))):
        raise RuntimeError(
            f"{name}: the effective field at t = {t:.6g} is not finite: a field or a coefficient "
            "is NaN or infinite there"
        )
