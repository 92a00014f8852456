# SPDX-License-Identifier: LGPL-3.0-or-later
"""State: where a run stands after a step; numbers, and no solver."""

from __future__ import annotations

import math
import weakref
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from dolfinx import fem

from dolfinx_llg.solvers.stepper import Candidate, Memory, Settling, Stepper

if TYPE_CHECKING:
    from dolfinx_llg.adaptivity import Controller

from dolfinx_llg.checks import check_integer, check_kind, check_number
from dolfinx_llg.kinds import checked

__all__ = ["State"]


@checked
class State:
    """Where a run stands after a step, as ``march`` yields it.

    A state that is kept holds neither the solver nor the mesh alive: ``m`` is there as long as
    somebody else keeps it.

    Args:
        t: Time (dimensionless).
        n: Number of steps done since the start of the run: a march counts on from the state that it
            is given as ``resume``, and from 0 without one.
        m: Magnetization, the same object throughout a run.
        dt: Size of the last step.
        memory: What a restart needs beside m.

    Attributes:
        max_dmdt: Largest nodal |m_new - m_old|/dt of the last step: the field that tells whether
            the magnetization is at rest (a mean would hide a few moving spins).
        error: Estimate of the local error of the last step; NaN where none is made.
        rejected: Steps rejected since the start of the march.
        iterations: Krylov iterations of the last step.
        newton_iterations: Newton iterations of the last step (0 for linear schemes).
        seconds: Wall time of the last step on this rank, rejected trials included.
        parts: The same by part: "setup", "assembly", "solve", of the trial that was kept.
    """

    def __init__(
        self, t: float, n: int, m: Any, dt: float, *, memory: Memory | None = None
    ) -> None:
        check_kind("m", m, (fem.Function, np.ndarray, list, tuple), "a function or an array")
        self.n = check_integer("n", n, 0)
        self.t, self.dt = check_number("t", t), check_number("dt", dt)
        self.max_dmdt = self.error = math.nan
        self.rejected = self.iterations = self.newton_iterations = 0
        self.seconds = 0.0
        self.parts: Mapping[str, float] = {}
        self._m = _reference(m)
        self._memory = memory
        self._mark: int | None = None
        self._stepper: Any = None
        self._controller: Controller | None = None

    @classmethod
    def of(cls, stepper: Stepper, t: float, n: int, controller: Controller | None) -> State:
        """Return the state at the start of a march."""
        state = cls(t, n, stepper.m, stepper.dt)
        state._stepper, state._controller = weakref.ref(stepper), controller
        return state

    @property
    def m(self) -> Any:
        """Magnetization, the same object throughout a run.

        Raises:
            RuntimeError: If it is gone: a state does not keep it alive.
        """
        stepper = None if self._stepper is None else self._stepper()
        found = self._m() if stepper is None else stepper.m
        if found is None:
            raise RuntimeError(
                "the magnetization of this state is gone: a State does not keep it alive, keep m"
            )
        return found

    def record(
        self, stepper: Stepper, found: Candidate, seconds: float, controller: Controller | None
    ) -> None:
        """Take up an accepted step."""
        self.t, self.dt, self.n = found.t, found.dt, self.n + 1
        self.max_dmdt, self.error = found.max_dmdt, found.error
        self.iterations, self.newton_iterations = found.iterations, found.newton_iterations
        self.seconds, self.parts = seconds, found.seconds
        if controller is not None:
            self.rejected = controller.rejected
        if not isinstance(self._m(), fem.Function):  # an array of its own in each step
            self._m = _reference(stepper.m)

    def history(self) -> Memory:
        """Return what a restart needs beside m: earlier iterates, the controller's numbers.

        Collective.
        """
        return self._history().complete()

    def _history(self) -> Memory:
        stepper = None if self._stepper is None else self._stepper()
        if stepper is None:
            return Memory() if self._memory is None else self._memory
        memory: Memory = stepper.history()
        if self._controller is not None:
            memory.numbers["controller"] = self._controller.numbers()
        return memory

    def detach(self) -> None:
        """Keep the history as numbers and let go of the stepper, at the end of a march.

        Without communication: one rank alone may come here, by an error in the user's loop.
        """
        stepper = None if self._stepper is None else self._stepper()
        if stepper is not None:
            if isinstance(stepper, Settling):
                stepper.settle()
            self._m = _reference(stepper.m)
            self._memory = self._history()
            self._mark = _mark(stepper.m)
        self._stepper = self._controller = None

    def is_present(self) -> bool:
        """Whether m is still that of this state on this rank, as far as a state can tell.

        A later march moves the same m on; a state that was kept then belongs to the past.
        """
        return self._mark is None or self._mark == _mark(self.m)

    def __repr__(self) -> str:
        """Return the numbers."""
        return f"State(t={self.t:g}, n={self.n}, dt={self.dt:g}, max_dmdt={self.max_dmdt:g})"


def _mark(m: Any) -> int:
    """Return a checksum of the values of m on this rank."""
    values = m.x.array if isinstance(m, fem.Function) else np.ascontiguousarray(m)
    return zlib.crc32(values.tobytes())


def _reference(m: Any) -> Callable[[], Any]:
    """Return a weak reference to a function, whose mesh is large; arrays are kept."""
    return weakref.ref(m) if isinstance(m, fem.Function) else lambda: m
