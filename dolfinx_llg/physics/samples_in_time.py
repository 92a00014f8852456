# SPDX-License-Identifier: LGPL-3.0-or-later
"""A function of time from a table: measured pulses, fields, currents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline, make_interp_spline

from dolfinx_llg.checks import check_array, check_choice
from dolfinx_llg.kinds import checked

__all__ = ["TimeTable"]

type Numbers = Sequence[float] | Sequence[Sequence[float]] | npt.NDArray[np.floating]


@checked
class TimeTable:
    """A function of time that interpolates samples: for ``Zeeman``, currents, velocities, strains.

    ``Zeeman(TimeTable(t, h))`` with t of shape (n,) and h of shape (n, 3), or
    ``Slonczewski(TimeTable(t, j), ...)`` with j of shape (n,). Where a field jumps give the time
    twice, once with each value (from the second on the new one holds), and pass ``jumps`` to
    ``march``, so that a step ends there.

    Args:
        times: Sample times (dimensionless: ``units.time_from_s``), growing, at least 2.
        values: Sample values, shape (n, ...).
        kind: "linear", or "cubic" (a spline with natural ends, twice differentiable; no jumps).
        outside: Before the first and after the last time: "hold" the end values, "zero", or
            "refuse".

    Attributes:
        jumps: Times that were given twice.

    Raises:
        ValueError: If the numbers of samples differ, a time or value is not finite, times do not
            grow; when called, if t lies outside and ``outside`` is "refuse".
    """

    def __init__(
        self,
        times: Sequence[float] | npt.NDArray[np.floating],
        values: Numbers,
        *,
        kind: Literal["linear", "cubic"] = "linear",
        outside: Literal["hold", "zero", "refuse"] = "hold",
    ) -> None:
        t, y = check_array("times", times), check_array("values", values)
        check_choice("kind", kind, ("linear", "cubic"))
        check_choice("outside", outside, ("hold", "zero", "refuse"))
        if t.ndim != 1 or len(t) < 2:
            raise ValueError(f"times must be at least 2 numbers, got shape {t.shape}")
        if len(y) != len(t) if y.ndim else True:
            raise ValueError(
                f"values must have one entry for each of the {len(t)} times, got shape {y.shape}"
            )
        steps = np.diff(t)
        back = np.flatnonzero((steps < 0.0) | (np.append(steps[1:], 1.0) + steps == 0.0))
        if len(back):
            raise ValueError(
                f"times must grow (at a jump one is given twice), but after {t[back[0]]} comes "
                f"{t[back[0] + 1]}"
            )
        self.jumps = t[1:][steps == 0.0].tolist()
        if kind == "cubic" and self.jumps:
            raise ValueError(f"a cubic table has no jumps, but the times {self.jumps} come twice")
        self._t, self._y, self._outside = t, y, outside
        self._spline = None
        if kind == "cubic":
            straight = len(t) < 3
            self._spline = (
                make_interp_spline(t, y, 1) if straight else CubicSpline(t, y, bc_type="natural")
            )

    def __call__(self, t: float) -> npt.NDArray[np.float64]:
        """Return the value at time t."""
        first, last = self._t[0], self._t[-1]
        if not first <= t <= last:
            if self._outside == "refuse":
                raise ValueError(
                    f"the table goes from t = {first:g} to {last:g}, asked for t = {t:g}"
                )
            if self._outside == "zero":
                return np.zeros(self._y.shape[1:])
            return np.array(self._y[0] if t < first else self._y[-1])
        if self._spline is not None:
            return np.asarray(self._spline(t))
        right = min(int(np.searchsorted(self._t, t, side="right")), len(self._t) - 1)
        left = right - 1
        width = self._t[right] - self._t[left]
        if width == 0.0:  # a jump at the end
            return np.array(self._y[right])
        share = (t - self._t[left]) / width
        return np.asarray((1.0 - share) * self._y[left] + share * self._y[right])
