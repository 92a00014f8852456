# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a loop tells: the state at each field, coercive fields, remanence, energy product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from dolfinx import fem

from dolfinx_llg.checks import check_number
from dolfinx_llg.kinds import checked

__all__ = [
    "LoopState",
    "coercive_fields",
    "energy_product",
    "nucleation_field",
    "remanences",
    "switching_fields",
]


@dataclass(frozen=True)
class LoopState:
    """An equilibrium of a loop; numbers, and the function m that the loop moves on.

    Attributes:
        t: Progress: the index of the amplitude reached; between two of them for states that were
            put in where m jumps.
        amplitude: Amplitude of the field, in the unit of the call.
        h: The same in units of Ms0.
        m: Magnetization, the same function throughout.
        along: Mean of m along the direction of the field, weighted by Ms.
        mx, my, mz: Mean of m, weighted by Ms.
        magnetization: Volume mean of Ms m along the direction, in units of Ms0.
        energy: Energy in units of mu0 Ms0^2 L^3.
        torque: Largest nodal abs(m x h).
        steps, evaluations, products: Work of the minimiser at this field.
        jumped: Whether m has jumped since the state before.
        switching: Amplitude in the middle of the interval in which it jumped; NaN else.
        eigenvalue: Lowest eigenvalue of the Hessian, in units of Ms0; NaN where not asked for.
        left_saddle: Whether the state before had become a saddle here.
    """

    t: float
    amplitude: float
    h: float
    m: fem.Function = field(repr=False)
    along: float
    mx: float
    my: float
    mz: float
    magnetization: float
    energy: float
    torque: float
    steps: int
    evaluations: int
    products: int
    jumped: bool
    switching: float
    eigenvalue: float
    left_saddle: bool

    def row(self) -> dict[str, float]:
        """Return the numbers by name, for a CSV file."""
        return {k: float(v) for k, v in vars(self).items() if k != "m"}


@checked
def switching_fields(states: Sequence[LoopState]) -> list[float]:
    """Return the amplitudes at which m jumped."""
    return [state.switching for state in states if state.jumped]


@checked
def coercive_fields(states: Sequence[LoopState]) -> list[float]:
    """Return the amplitudes at which the mean of m along the field changes its sign.

    Between two states by straight lines; across a jump that is within its tolerance.
    """
    return _crossings([s.amplitude for s in states], [s.along for s in states])


@checked
def remanences(states: Sequence[LoopState]) -> list[float]:
    """Return the mean of m along the field wherever the amplitude passes 0."""
    return _crossings([s.along for s in states], [s.amplitude for s in states])


def _crossings(values: Sequence[float], levels: Sequence[float]) -> list[float]:
    """Return the values at which the levels cross 0, each crossing once."""
    found = []
    for index, (v, level) in enumerate(zip(values, levels, strict=True)):
        if level == 0.0:
            found.append(v)
        elif index and level * levels[index - 1] < 0.0:
            before, last = values[index - 1], levels[index - 1]
            found.append(before + (v - before) * last / (last - level))
    return found


@checked
def energy_product(states: Sequence[LoopState], *, factor: float = 0.0) -> float:
    """Return (BH)max = max -h (h + M) over the loop, in units of mu0 Ms0^2.

    h is the field in the magnet, that applied less ``factor`` M. Between two states M is taken as
    straight.

    Args:
        states: States of a loop.
        factor: Demagnetizing factor of the body along the field, where the energy contains its
            stray field; 0 for a closed magnetic circuit, or where it does not.

    Raises:
        ValueError: If the factor is not between 0 and 1.
    """
    check_number("factor", factor, low=0.0, high=1.0)
    best = 0.0
    for a, b in pairwise(states):
        s = np.linspace(0.0, 1.0, 33)
        M = a.magnetization + s * (b.magnetization - a.magnetization)
        h = a.h + s * (b.h - a.h) - factor * M
        best = max(best, float(np.max(-h * (h + M))))
    return best


@checked
def nucleation_field(states: Sequence[LoopState], *, fold: bool = False) -> float:
    """Return the amplitude at which the lowest eigenvalue vanishes, from the states before.

    Args:
        states: Two states or more of one branch with their eigenvalues, the last ones used.
        fold: Where m turns with the field the branch ends in a fold, and the square of the
            eigenvalue is straight; where it stands still until it becomes a saddle (a field along
            an axis of symmetry), the eigenvalue itself is.

    Raises:
        ValueError: If there are fewer than two eigenvalues, or they do not fall.
    """
    known = [s for s in states if np.isfinite(s.eigenvalue)]
    if len(known) < 2:
        raise ValueError(f"two states with eigenvalues are needed, got {len(known)}")
    a, b = known[-2:]
    u, v = ((x.eigenvalue**2 if fold else x.eigenvalue) for x in (a, b))
    if not u > v:
        raise ValueError(f"the eigenvalue must fall towards its zero, got {u:g} and then {v:g}")
    return float(b.amplitude + (b.amplitude - a.amplitude) * v / (u - v))
