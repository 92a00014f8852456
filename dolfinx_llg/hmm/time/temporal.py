# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Temporal upscaling of spins in a fast field: macro solver, and the model of a single spin.

Arjmand, Engblom, Kreiss, sections 3 and 4. Macro model (3.2), with F the upscaled flux (3.5),

.. math:: \dot M = F(t, M) + \tfrac{\gamma}{\beta} M \times F(t, M),

solved by the implicit midpoint rule (3.3). The same :func:`march_upscaled` runs one spin
(:class:`SpinModel`), a chain (:mod:`dolfinx_llg.hmm.time.chain`) and a finite-element magnet
(:mod:`dolfinx_llg.hmm.time.magnet`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import tqdm

from dolfinx_llg.checks import check_integer
from dolfinx_llg.hmm.time.fields import FastField, FieldFunction
from dolfinx_llg.hmm.time.midpoint import MacroModel, solve_midpoint
from dolfinx_llg.hmm.time.precession import Field, Window, averaged_flux, check_state

__all__ = ["MacroState", "SpinModel", "check_beta", "march_upscaled"]

Array = npt.NDArray[np.floating]
logger = logging.getLogger(__name__)


class SpinModel:
    r"""One spin in a fast field (section 3.2).

    The micro problem is linear in m, so that three of them, solved together, give F(t, M) for
    every M as a 3 x 3 matrix: their number does not depend on the iterations of the macro solver.

    Args:
        function: The field H(t, t/eps), see :class:`dolfinx_llg.hmm.time.fields.FastField`.
        window: Averaging window, which also fixes eps.
        beta: Precession coefficient, not zero.

    Attributes:
        field: The checked field; ``field.evaluations`` counts its evaluations.
    """

    coupled = False
    unit_start = False
    dynamic = False
    shape: tuple[int, ...] | None = None
    omega_max = 0.0
    comm: MPI.Comm = MPI.COMM_SELF
    macro_comm: MPI.Comm = MPI.COMM_SELF

    def __init__(self, function: FieldFunction, window: Window, *, beta: float = 1.0) -> None:
        """Check the arguments."""
        self.window = window
        self.beta = check_beta(beta)
        self.field = FastField(function, window.eps)
        self._cache: tuple[float, Array, Array] | None = None

    def refresh(self, t: float, m: Array) -> None:
        """There is nothing that varies slowly apart from the field."""

    def tabulate(self, times: Array, direction: int) -> Field:
        """Tabulate the applied field; the effective field is the applied field."""
        values = self.field(times)
        return lambda i, m: values[i]

    def flux_matrix(self, t: float) -> tuple[Array, Array]:
        """Matrix A with F(t, M) = A M, shape (3, 3), and the average field, shape (3,)."""
        if self._cache is None or self._cache[0] != t:
            rows, mean = averaged_flux(self, self.window, t, np.eye(3))
            self._cache = (t, rows.T.copy(), mean[0])
        return self._cache[1], self._cache[2]

    def flux(self, t: float, m: Array) -> tuple[Array, Array]:
        """Upscaled flux (3.5) and the averaged field.

        Args:
            t: Time t_a.
            m: Macro magnetization, shape (3,), or (n, 3) for independent spins in one field.

        Returns:
            F(t_a, M), of the shape of ``m``, and the averaged field, shape (3,).
        """
        matrix, mean = self.flux_matrix(t)
        return m @ matrix.T, mean

    def field_change(self, v: Array) -> None:
        """The field does not depend on m."""


@dataclass
class MacroState:
    """What :func:`march_upscaled` yields after every macro step.

    Attributes:
        t: Time.
        n: Number of steps done.
        m: Macro magnetization M_n, shape (..., 3); writing to it changes the next step.
        dt: Step length; may be set for the next step.
        rate: dM/dt at the last midpoint.
        iterations: Evaluations of the flux in the last step.
    """

    t: float
    n: int
    m: Array
    dt: float
    rate: Array
    iterations: int = 0


def march_upscaled(
    model: MacroModel,
    m: npt.ArrayLike,
    *,
    dt: float,
    t_end: float,
    t: float = 0.0,
    gamma: float = 0.0,
    projection: Literal["flux", "magnetization"] | None = None,
    solver: str = "newton",
    tolerance: float = 1e-10,
    max_iterations: int = 50,
    progress: bool | None = None,
) -> Iterator[MacroState]:
    r"""Advance the macro model (3.2) by the implicit midpoint rule (3.3).

    Args:
        model: One spin, a chain or a magnet.
        m: Initial macro magnetization, shape (..., 3).
        dt: Macro step, at least the window tau (the last step may be shorter).
        t_end: Final time.
        t: Initial time.
        gamma: Damping of the LL form, not negative.
        projection: How abs(M) is kept, which the method itself does up to O(eps) only (remark 7).
            None: not at all. ``"flux"``: F is replaced by its part normal to M, so that the
            midpoint rule conserves abs(M) up to ``tolerance``. ``"magnetization"``: M/abs(M) is
            taken after each step, the projection to the unit sphere that section 6 proposes; abs(M)
            is then 1 to rounding, whatever it was at first.
        solver: ``"newton"`` (with the averaged field as approximate Jacobian, 2 to 4 fluxes a
            step) or ``"fixed_point"``.
        tolerance: Bound for the largest residual of the midpoint equation, absolute (abs(M) ~ 1).
        max_iterations: Largest number of flux evaluations in a step, at least 1.
        progress: Progress bar on rank 0; None: only where stderr is a terminal.

    Yields:
        The state after every step, the same object updated (each M is an array of its own).

    Raises:
        ValueError: If an argument is out of range.
        ConvergenceError: If the iteration does not contract.
    """
    m = np.array(m, dtype=np.float64)
    _check_march(model, m, dt, t, t_end, gamma, solver, tolerance)
    max_iterations = check_integer("max_iterations", max_iterations, 1)
    if projection not in (None, "flux", "magnetization"):
        raise ValueError(f"projection must be None, 'flux' or 'magnetization', got {projection!r}")
    state = MacroState(t=float(t), n=0, m=m, dt=float(dt), rate=np.zeros_like(m))
    options = (gamma / model.beta, projection == "flux", solver, tolerance, max_iterations)
    show = (sys.stderr.isatty() if progress is None else progress) and MPI.COMM_WORLD.rank == 0
    return _steps(model, state, t_end, show, projection == "magnetization", *options)


def _steps(
    model: MacroModel, state: MacroState, t_end: float, show: bool, normalise: bool, *options: Any
) -> Iterator[MacroState]:
    older = np.zeros_like(state.m)
    name = type(model).__name__
    with tqdm.tqdm(total=t_end - state.t, disable=not show, unit="t", desc=name) as bar:
        while (remaining := t_end - state.t) > 0.0:
            if state.dt < model.window.tau:
                raise ValueError(_TAU_MESSAGE.format(tau=model.window.tau, dt=state.dt))
            # A rest below round-off of t is no step; the margin covers n accumulated dt.
            last = remaining <= state.dt * (1.0 + 1e-8)
            dt = remaining if last else state.dt
            # Extrapolated rates: one evaluation of the flux fewer in most steps.
            guess = state.m + (0.5 * dt) * (2.0 * state.rate - older)
            older = state.rate
            middle, state.iterations = solve_midpoint(
                model, state.m, guess, state.t + 0.5 * dt, dt, *options
            )
            state.rate = (2.0 / dt) * (middle - state.m)
            if state.n == 0:
                older = state.rate
            state.m = 2.0 * middle - state.m
            if normalise:
                state.m = _unit(state.m, model.macro_comm)
            state.t = t_end if last else state.t + dt
            state.n += 1
            bar.update(dt)
            logger.info("step %d, t = %g, %d fluxes", state.n, state.t, state.iterations)
            yield state


_TAU_MESSAGE = (
    "the averaging window tau = {tau} exceeds the macro step dt = {dt}: a direct simulation "
    "would be cheaper; reduce tau (it scales with eps) or enlarge dt"
)


def check_beta(beta: float) -> float:
    """Return beta, which the damping term gamma/beta must be able to divide by."""
    if not np.isfinite(beta) or beta == 0.0:
        raise ValueError(f"beta must be finite and not zero, got {beta}")
    return float(beta)


def _unit(m: Array, comm: MPI.Comm) -> Array:
    """M/abs(M), or the same error on every rank where M vanishes."""
    length = np.linalg.norm(m, axis=-1, keepdims=True)
    if comm.allreduce(not bool(np.all(length > 0.0)), op=MPI.LOR):
        raise ValueError("a macro magnetization vanishes and has no projection to the unit sphere")
    return np.asarray(m / length)


def _check_march(
    model: MacroModel, m: Array, dt: float, t: float, t_end: float, gamma: float, solver: str,
    tolerance: float,
) -> None:  # fmt: skip
    """Check the arguments of :func:`march_upscaled`."""
    check_state(m, model.shape, model.macro_comm)
    if not (np.isfinite(dt) and dt > 0.0):
        raise ValueError(f"dt must be a positive number, got {dt}")
    if not (np.isfinite(t_end) and t_end >= t):
        raise ValueError(f"t_end must not lie before t, got t_end = {t_end}, t = {t}")
    if not (np.isfinite(gamma) and gamma >= 0.0):
        raise ValueError(f"gamma must not be negative, got {gamma}")
    if solver not in ("newton", "fixed_point"):
        raise ValueError(f"solver must be 'newton' or 'fixed_point', got {solver!r}")
    if not tolerance > 0.0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    if model.window.tau > dt:
        raise ValueError(_TAU_MESSAGE.format(tau=model.window.tau, dt=dt))
