# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Adaptive time steps: when to keep a step, and how long the next one is.

A step is kept where the estimate of its local error is at most ``rtol`` (m has length 1, so that
relative and absolute errors of m are one). The next step comes from a PI controller,

.. math:: \Delta t' = 0.9\, \Delta t\, \left(\frac{rtol}{e_n}\right)^{0.7/(p+1)}
          \left(\frac{e_{n-1}}{rtol}\right)^{0.4/(p+1)},

(Gustafsson, ACM Trans. Math. Softw. 17 (1991) 533; Hairer, Wanner, Solving ODEs II, IV.8) with a
dead band: a change below it is not worth new matrices, and dt stays to the last bit.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from dolfinx_llg.kinds import checked
from dolfinx_llg.schemes.step import check_time_step
from dolfinx_llg.solvers.stepper import Candidate

__all__ = ["Adaptive", "Controller"]

logger = logging.getLogger(__name__)

SAFETY = 0.9
SHRINK, GROW = 0.2, 2.0
DEAD_BAND = 1.25
"""Growth of dt that is not worth new matrices."""
FAILED = 0.25
"""Factor of dt after a solver that failed."""


@checked
@dataclass(frozen=True)
class Adaptive:
    """How the time steps of a run adapt (``march(..., adaptive=Adaptive(...))``).

    Args:
        rtol: Allowed local error of a step: the largest nodal error of m, which has length 1.
        dt_min: Smallest step (dimensionless); a step that would have to be smaller is an error.
        dt_max: Largest step.
        energy_gate: Whether a step that raises the energy is tried again with half its size, for
            runs whose energy may not rise (damping, constant fields, no torque). By default it may.

    Raises:
        ValueError: If a number is not in its range.
    """

    rtol: float = 1e-3
    dt_min: float = 0.0
    dt_max: float = math.inf
    energy_gate: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0.0 < self.rtol < 1.0:
            raise ValueError(f"rtol must lie between 0 and 1, got {self.rtol}")
        if not (math.isfinite(self.dt_min) and 0.0 <= self.dt_min):
            raise ValueError(f"dt_min must be finite and at least 0, got {self.dt_min}")
        if not self.dt_max > max(self.dt_min, 0.0):
            raise ValueError(f"dt_max must exceed dt_min = {self.dt_min}, got {self.dt_max}")


class Controller:
    """The controller of one run; its numbers belong to the checkpoint.

    Args:
        adaptive: What the user has asked for.
        order: Order p of the error estimate.
        dt: Size of the first step to try.

    Attributes:
        dt: Size of the next step.
        rejected: Steps rejected so far.
    """

    def __init__(self, adaptive: Adaptive, order: int, dt: float) -> None:
        self.adaptive, self.order = adaptive, order
        self.dt = min(max(dt, adaptive.dt_min), adaptive.dt_max)
        self._asked = dt
        self.rejected = 0
        self._previous = adaptive.rtol

    def take_up(self, dt: float) -> None:
        """Try a step of the user's next, where ``step.dt`` has been set since the last one.

        Raises:
            ValueError: If it is not positive and finite.
        """
        if dt != self._asked:
            check_time_step(dt)
            self._asked = dt
            self.dt = min(max(dt, self.adaptive.dt_min), self.adaptive.dt_max)

    def judge(self, candidate: Candidate) -> bool:
        """Return whether a step may be kept, and set the size of the next one.

        While there is no estimate (the first steps of a run, or after a jump) a step may move m by
        rtol at most: whatever the method, its error is then below that.
        """
        rtol, p = self.adaptive.rtol, self.order
        unknown = math.isnan(candidate.error)
        error = candidate.max_dmdt * candidate.dt if unknown else candidate.error
        error = max(error, 1e-12 * rtol)
        exponent = 1.0 if unknown else 1.0 / (p + 1)
        kept = error <= rtol
        # What the error alone asks for; the history tempers it, but cannot hold a step back for
        # good that is far too small.
        factor = SAFETY * (rtol / error) ** exponent
        if not kept:
            self.rejected += 1
        elif factor <= DEAD_BAND:
            factor = 1.0
        elif not unknown:
            tempered = SAFETY * (rtol / error) ** (0.7 * exponent)
            factor = max(1.0, tempered * (self._previous / rtol) ** (0.4 * exponent))
        if kept and not unknown:
            self._previous = error
        self._resize(candidate.dt * min(max(factor, SHRINK), GROW), candidate, kept)
        return kept

    def failed(self, t: float, dt: float, why: str, factor: float = FAILED) -> None:
        """Shorten the next step after one that has failed for another reason.

        Raises:
            RuntimeError: If it would be shorter than ``dt_min``.
        """
        self.rejected += 1
        logger.info("step of dt = %g to t = %g rejected: %s", dt, t, why)
        self._resize(dt * factor, None, False, why)

    def forget(self) -> None:
        """Forget the last error: a field has jumped."""
        self._previous = self.adaptive.rtol

    def numbers(self) -> list[float]:
        """Return what a restart needs."""
        return [self.dt, self._previous, float(self.rejected)]

    def restore(self, numbers: list[float]) -> None:
        """Take up what ``numbers`` returned."""
        self.dt, self._previous = numbers[:2]
        self.rejected = int(numbers[2])

    def _resize(self, dt: float, candidate: Candidate | None, kept: bool, why: str = "") -> None:
        a = self.adaptive
        if not kept:
            smallest = max(a.dt_min, 1e-14)
            before = candidate.dt if candidate is not None else math.inf
            if before <= smallest or dt < smallest:
                if not why and candidate is not None:
                    change = candidate.max_dmdt * candidate.dt
                    why = f"the estimated error {candidate.error:.3g}"
                    if math.isnan(candidate.error):
                        why = f"the change of m by {change:.3g} in a first step"
                raise RuntimeError(
                    f"adaptive steps: {why} asks for a step below dt_min = {smallest:.3g} "
                    f"(rtol = {a.rtol:g}): is a field discontinuous in time? name its jumps, or "
                    "allow smaller steps"
                )
        self.dt = min(max(dt, a.dt_min), a.dt_max)
