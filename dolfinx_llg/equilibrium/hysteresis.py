# SPDX-License-Identifier: LGPL-3.0-or-later
"""Hysteresis: equilibrium after equilibrium over the steps of a field, and where m jumps."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np
from dolfinx import fem

from dolfinx_llg.checkpoint import read_checkpoint, write_checkpoint
from dolfinx_llg.checks import check_array
from dolfinx_llg.collective import agree
from dolfinx_llg.equilibrium.loop import LoopState
from dolfinx_llg.equilibrium.minimise import Equilibrium, Minimiser
from dolfinx_llg.equilibrium.options import LoopFiles, LoopSteps, MinimiseOptions
from dolfinx_llg.equilibrium.stability import stability_at
from dolfinx_llg.kinds import checked
from dolfinx_llg.output import CSVWriter
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.terms import Zeeman
from dolfinx_llg.physics.units import Units
from dolfinx_llg.solvers.stepper import Memory
from dolfinx_llg.state import State
from dolfinx_llg.typing import Array

__all__ = ["hysteresis"]


@checked
def hysteresis(
    energy: Energy,
    m: fem.Function,
    field: Zeeman,
    amplitudes: Sequence[float] | np.ndarray,
    *,
    direction: Sequence[float] = (0.0, 0.0, 1.0),
    units: Units | None = None,
    steps: LoopSteps = LoopSteps(),
    files: LoopFiles = LoopFiles(),
    **options: Unpack[MinimiseOptions],
) -> Iterator[LoopState]:
    r"""Follow the equilibria of m over the amplitudes of a field, yielding each of them.

    Each equilibrium starts from the one before (``minimise``). Where the mean of m changes by more
    than ``steps.jump`` in a step, the step is halved, always from the last state before, until the
    jump is bracketed to ``steps.tolerance`` (or the change turns out to be steep but steady). Then
    the last state before it and the first one behind it are yielded (``jumped``, ``switching``),
    and the loop goes on from there. Branches of any shape are sequences of amplitudes: full and
    minor loops, first-order reversal curves.

    Args:
        energy: Energy, with the field among its terms.
        m: Magnetization, start and result, moved in place.
        field: The term whose constant field is varied; left at the last amplitude.
        amplitudes: Amplitudes of the field in the order in which they are to be met, in units of
            Ms0, or in ``steps.unit`` where ``units`` are given.
        direction: Direction of the field, normalised here.
        units: Units of the energy, by which the amplitudes are converted.
        steps: The unit of the amplitudes, which changes of m are examined as jumps and how closely,
            and whether eigenvalues are computed (``llg.LoopSteps``).
        files: Files for rows and checkpoints, and whether to go on from them (``llg.LoopFiles``).
        options: The keywords of ``minimise``: torque, method, basis, t, search, petsc_options,
            petsc_options_prefix.

    Yields:
        The ``LoopState`` of each equilibrium; m and the field are its.

    Raises:
        ValueError: If the field is no term of the energy or varies in space or time, an argument
            is out of range, or the checkpoint to go on from is of other amplitudes. At the call.
        ConvergenceError: From the minimiser, m kept.

    Note: Collective.
    """
    if not any(term is field for term in energy.terms):
        raise ValueError("field must be one of the terms of the energy: Energy([..., field])")
    if not field.is_constant:
        raise ValueError("field must be a Zeeman term of 3 numbers, constant in space and time")
    values = check_array("amplitudes", amplitudes)
    if values.ndim != 1 or not len(values):
        raise ValueError(f"amplitudes must be a list of numbers, got shape {values.shape}")
    axis = check_array("direction", direction, (3,))
    if not np.linalg.norm(axis) > 0.0:
        raise ValueError("direction must not be zero")
    if steps.tolerance is None:
        widths = np.abs(np.diff(values))
        smallest = float(widths[widths > 0.0].min(initial=np.inf))
        steps = replace(steps, tolerance=smallest / 50.0 if np.isfinite(smallest) else 1.0)
    agree(m.function_space.mesh.comm, amplitudes=values, direction=axis, steps=astuple(steps))
    scale = 1.0
    if units is not None:
        scale = float(units.field_from_A_per_m(1.0))
        if steps.unit == "mT":
            scale = float(units.field_from_T(1e-3))
    done, where = -1, math.nan
    state: State | None = None
    if files.resume:
        assert files.checkpoint is not None
        state = read_checkpoint(files.checkpoint, m)
        done, where = int(state.t), state.history().numbers["amplitude"][0]
        if not (done < len(values) and values[done] == where):
            raise ValueError(
                f"{os.fspath(files.checkpoint)} stands at amplitude {where} (number {done}), which "
                "is not that of these amplitudes"
            )
    mover = Minimiser(energy, m, **options)
    loop = _Loop(mover, field, axis / np.linalg.norm(axis), scale, steps)
    return _recorded(loop, values, done, files, state)


def _recorded(
    loop: _Loop, amplitudes: Array, done: int, files: LoopFiles, resume: State | None
) -> Iterator[LoopState]:
    comm = loop.mover.land.comm
    csv, checkpoint = files.csv, files.checkpoint
    writer = None if csv is None else CSVWriter(Path(csv), comm, resume=resume)
    try:
        for state in loop.states(amplitudes, done):
            if writer is not None:
                writer.write(state.row())
            if checkpoint is not None and state.t == int(state.t):
                memory = Memory(numbers={"amplitude": [state.amplitude]})
                write_checkpoint(
                    checkpoint, State(state.t, int(state.t), state.m, 1.0, memory=memory)
                )
            yield state
    finally:
        if writer is not None:
            writer.close()
        loop.mover.destroy()


@dataclass(frozen=True, eq=False)
class _Rest:
    """An equilibrium that can be put back: amplitude, values and mean of m, what it cost."""

    amplitude: float
    values: Array
    mean: Array
    found: Equilibrium


class _Loop:
    """The walk from amplitude to amplitude."""

    def __init__(
        self, mover: Minimiser, field: Zeeman, axis: Array, scale: float, steps: LoopSteps
    ) -> None:
        self.mover, self.field, self.axis, self.scale = mover, field, axis, scale
        assert steps.tolerance is not None
        self.jump, self.tolerance, self.eigenvalue = steps.jump, steps.tolerance, steps.eigenvalue

    def states(self, amplitudes: Array, done: int) -> Iterator[LoopState]:
        if done < 0:
            now = self.rest(float(amplitudes[0]))
            done = 0
            yield self.state(now, 0.0)
        else:
            now = self.rest(float(amplitudes[done]))
        for index in range(done + 1, len(amplitudes)):
            start, target = float(amplitudes[index - 1]), float(amplitudes[index])
            while True:
                ahead = self.rest(target, now)
                if self.change(now, ahead) <= self.jump:
                    now = ahead
                    yield self.state(now, float(index))
                    break
                low, ahead = self.bisect(now, ahead)
                if low is not now:
                    yield self.state(low, self.progress(index, start, low.amplitude, target))
                jumped = self.change(low, ahead) > self.jump
                middle = 0.5 * (low.amplitude + ahead.amplitude) if jumped else math.nan
                now = ahead
                t = self.progress(index, start, now.amplitude, target)
                yield self.state(now, t, middle)
                if now.amplitude == target:
                    break

    def progress(self, index: int, start: float, here: float, target: float) -> float:
        return index - 1 + (here - start) / (target - start) if here != target else float(index)

    def bisect(self, low: _Rest, high: _Rest) -> tuple[_Rest, _Rest]:
        """Return states around the jump, no farther apart than the tolerance."""
        while (
            abs(high.amplitude - low.amplitude) > self.tolerance
            and self.change(low, high) > self.jump
        ):
            middle = self.rest(0.5 * (low.amplitude + high.amplitude), low)
            if self.change(low, middle) > self.jump:
                high = middle
            else:
                low = middle
        return low, high

    def rest(self, amplitude: float, start: _Rest | None = None) -> _Rest:
        """Return the equilibrium at an amplitude, from m as it is or from another one."""
        mover = self.mover
        if start is not None:
            mover.m.x.array[:] = start.values
        self.field.assign(amplitude * self.scale * self.axis)
        found = mover.run()
        land = mover.land
        values = land.field.nodal(mover.m)
        total = land.dot(land.volumes, np.ones_like(land.volumes))
        mean = np.array([land.dot(land.volumes, values[:, i : i + 1]) for i in range(3)]) / total
        return _Rest(amplitude, mover.m.x.array.copy(), mean, found)

    def change(self, a: _Rest, b: _Rest) -> float:
        return float(np.linalg.norm(b.mean - a.mean))

    def state(self, rest: _Rest, t: float, switching: float = math.nan) -> LoopState:
        """Stand at an equilibrium and return its numbers."""
        mover, found = self.mover, rest.found
        mover.m.x.array[:] = rest.values
        self.field.assign(rest.amplitude * self.scale * self.axis)
        lowest = math.nan
        if self.eigenvalue:
            lowest = stability_at(mover.land, mover.land.at(mover.m), None, 0).eigenvalue
        mx, my, mz = rest.mean.tolist()
        along = float(rest.mean @ self.axis)
        return LoopState(
            t=t, amplitude=rest.amplitude, h=rest.amplitude * self.scale, m=mover.m, along=along,
            mx=mx, my=my, mz=mz, magnetization=along * mover.land.mean_Ms(), energy=found.energy,
            torque=found.torque, steps=found.steps, evaluations=found.evaluations,
            products=found.products, jumped=not math.isnan(switching), switching=switching,
            eigenvalue=lowest, left_saddle=found.left_saddle,
        )  # fmt: skip
