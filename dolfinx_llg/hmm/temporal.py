# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Temporal upscaling of spins in a fast field: macro solver, and the model of a single spin.

Arjmand, Engblom, Kreiss, sections 3 and 4. Macro model (3.2), with F the upscaled flux (3.5),

.. math:: \dot M = F(t, M) + \tfrac{\gamma}{\beta} M \times F(t, M),

solved by the implicit midpoint rule (3.3). The same :func:`march_upscaled` runs one spin
(:class:`SpinModel`), a chain (:mod:`dolfinx_llg.hmm.chain`) and a finite-element magnet
(:mod:`dolfinx_llg.hmm.magnet`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.hmm.fields import FastField, FieldFunction
from dolfinx_llg.hmm.precession import Field, IterationError, Window, averaged_flux, cross

__all__ = ["MacroModel", "MacroState", "SpinModel", "check_beta", "check_initial", "march_upscaled"]

Array = npt.NDArray[np.floating]


class MacroModel(Protocol):
    """A model whose missing flux is computed from micro problems.

    Attributes:
        window: Averaging window.
        beta: Precession coefficient.
        unit_start: True if the micro problems start from M/abs(M) rather than M.
        macro_comm: Ranks over which the entries of M are spread (the magnet), COMM_SELF if every
            rank holds all of M.
    """

    window: Window
    beta: float
    unit_start: bool

    @property
    def macro_comm(self) -> MPI.Comm:
        """Ranks over which the entries of M are spread."""

    def flux(self, t: float, m: Array) -> tuple[Array, Array]:
        """Upscaled flux F(t, M) and the averaged effective field, both of the shape of ``m``."""

    def field_change(self, v: Array) -> Array | None:
        """Derivative of the effective field along v, or None if it is negligible at macro scale.

        It only preconditions the Newton iteration: results do not depend on it.
        """


class SpinModel:
    r"""One spin in a fast field (section 3.2).

    The micro problem is linear in m, so that three of them, solved together, give F(t, M) for
    every M as a 3 x 3 matrix: their number does not depend on the iterations of the macro solver.

    Args:
        function: The field H(t, t/eps), see :class:`dolfinx_llg.hmm.fields.FastField`.
        window: Averaging window, which also fixes eps.
        beta: Precession coefficient, not zero.

    Attributes:
        field: The checked field; ``field.evaluations`` counts its evaluations.
    """

    coupled = False
    unit_start = False
    comm: MPI.Comm = MPI.COMM_SELF
    macro_comm: MPI.Comm = MPI.COMM_SELF

    def __init__(self, function: FieldFunction, window: Window, *, beta: float = 1.0) -> None:
        """Check the arguments."""
        self.window = window
        self.beta = check_beta(beta)
        self.field = FastField(function, window.eps)
        self._cache: tuple[float, Array, Array] | None = None

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
            m: Macro magnetization, shape (3,).

        Returns:
            F(t_a, M) and the averaged field, each of shape (3,).
        """
        matrix, mean = self.flux_matrix(t)
        return matrix @ m, mean

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
    projection: bool = False,
    solver: str = "newton",
    tolerance: float = 1e-10,
    max_iterations: int = 50,
) -> Iterator[MacroState]:
    r"""Advance the macro model (3.2) by the implicit midpoint rule (3.3).

    Args:
        model: One spin, a chain or a magnet.
        m: Initial macro magnetization, shape (..., 3).
        dt: Macro step, at least the window tau (the last step may be shorter).
        t_end: Final time.
        t: Initial time.
        gamma: Damping of the LL form, not negative.
        projection: Replace F by its part normal to M, so that the midpoint rule conserves abs(M)
            up to ``tolerance`` (the paper's section 6 projects after the step instead).
        solver: ``"newton"`` (with the averaged field as approximate Jacobian, 2 to 4 fluxes a
            step) or ``"fixed_point"``.
        tolerance: Bound for the largest residual of the midpoint equation, absolute (abs(M) ~ 1).
        max_iterations: Largest number of flux evaluations in a step.

    Yields:
        The state after every step.

    Raises:
        ValueError: If an argument is out of range.
        IterationError: (a ConvergenceError) if the iteration does not contract.
    """
    m = np.array(m, dtype=np.float64)
    _check_march(model, m, dt, t, t_end, gamma, solver, tolerance)
    state = MacroState(t=float(t), n=0, m=m, dt=float(dt), rate=np.zeros_like(m))
    options = (gamma / model.beta, projection, solver, tolerance, max_iterations)
    return _steps(model, state, t_end, *options)


def _steps(
    model: MacroModel, state: MacroState, t_end: float, *options: Any
) -> Iterator[MacroState]:
    older = np.zeros_like(state.m)
    while (remaining := t_end - state.t) > 0.0:
        if state.dt < model.window.tau:
            raise ValueError(_TAU_MESSAGE.format(tau=model.window.tau, dt=state.dt))
        # A rest below round-off of t is no step; the margin covers n accumulated dt.
        last = remaining <= state.dt * (1.0 + 1e-8)
        dt = remaining if last else state.dt
        # Extrapolated rates: one evaluation of the flux fewer in most steps.
        guess = state.m + (0.5 * dt) * (2.0 * state.rate - older)
        older = state.rate
        middle, state.iterations = _solve_midpoint(
            model, state.m, guess, state.t + 0.5 * dt, dt, *options
        )
        state.rate = (2.0 / dt) * (middle - state.m)
        if state.n == 0:
            older = state.rate
        state.m = 2.0 * middle - state.m
        state.t = t_end if last else state.t + dt
        state.n += 1
        yield state


_TAU_MESSAGE = (
    "the averaging window tau = {tau} exceeds the macro step dt = {dt}: a direct simulation "
    "would be cheaper; reduce tau (it scales with eps) or enlarge dt"
)


def _solve_midpoint(
    model: MacroModel,
    m: Array,
    guess: Array,
    t: float,
    dt: float,
    ratio: float,
    projection: bool,
    solver: str,
    tolerance: float,
    max_iterations: int,
) -> tuple[Array, int]:
    """Solve W = M_n + dt/2 G(t, W) for the midpoint value W; returns W and the flux count."""
    w = guess
    history: list[float] = []
    for iteration in range(1, max_iterations + 1):
        flux, mean = model.flux(t, w)
        if projection:
            flux = flux - w * (
                np.sum(flux * w, axis=-1, keepdims=True) / np.sum(w * w, axis=-1, keepdims=True)
            )
        residual = m + (0.5 * dt) * (flux + ratio * cross(w, flux)) - w
        size = float(np.max(np.abs(residual), initial=0.0))
        # MPI may lose a NaN in a maximum.
        size = _reduce(model, size if np.isfinite(size) else np.inf, MPI.MAX)
        history.append(size)
        if not np.isfinite(size) or (len(history) > 3 and size > 2.0 * min(history[:-3])):
            break
        if solver == "fixed_point":
            w = w + residual
        else:
            w = w + _newton_correction(model, w, flux, mean, residual, 0.5 * dt, ratio)
        # What is left after this correction, from the contraction observed.
        left = size * min(size / history[-2], 1.0) if iteration > 1 else size
        if left <= tolerance:
            return w, iteration
    shown = ", ".join(f"{value:.1e}" for value in history[-4:])
    raise IterationError(
        f"the {solver} iteration of the implicit midpoint rule does not contract with "
        f"Delta t = {dt} at t = {t:.6g}: residuals {shown} after {len(history)} evaluations of "
        f"the flux, tolerance {tolerance}; reduce Delta t",
        reason=-3 if len(history) == max_iterations else -9,
        iterations=len(history),
        t=t,
    )


def _newton_correction(
    model: MacroModel,
    w: Array,
    flux: Array,
    mean: Array,
    residual: Array,
    half: float,
    ratio: float,
) -> Array:
    """Solve (1 - dt/2 G'(W)) v = residual by GMRES, with F' v ~ -beta (v x h + W x h'(v))."""
    length = np.sqrt(np.sum(w * w, axis=-1, keepdims=True)) if model.unit_start else 1.0
    start = w / length

    def apply(v: Array) -> Array:
        turn = v / length
        if model.unit_start:
            turn = turn - start * np.sum(start * turn, axis=-1, keepdims=True)
        change = cross(turn, mean)
        exchange = model.field_change(turn)
        if exchange is not None:
            change = change + cross(start, exchange)
        change = -model.beta * change
        return v - half * (change + ratio * (cross(v, flux) + cross(w, change)))

    return _gmres(model, apply, residual)


def _gmres(model: MacroModel, apply: Any, b: Array, rtol: float = 1e-4, size: int = 100) -> Array:
    """GMRES without restart; the Newton iteration around it corrects what is left."""

    def dot(u: Array, v: Array) -> float:
        return _reduce(model, float(np.vdot(u, v)), MPI.SUM)

    norm = np.sqrt(dot(b, b))
    if norm == 0.0:
        return np.zeros_like(b)
    basis, H = [b / norm], np.zeros((size + 1, size))
    target = np.zeros(size + 1)
    target[0] = norm
    for j in range(size):
        v = apply(basis[j])
        for i, u in enumerate(basis):
            H[i, j] = dot(u, v)
            v = v - H[i, j] * u
        H[j + 1, j] = np.sqrt(dot(v, v))
        y, *_ = np.linalg.lstsq(H[: j + 2, : j + 1], target[: j + 2], rcond=None)
        left = np.linalg.norm(H[: j + 2, : j + 1] @ y - target[: j + 2])
        if left <= rtol * norm or H[j + 1, j] <= 1e-14 * norm:
            break
        basis.append(v / H[j + 1, j])
    correction = np.zeros_like(b)
    for c, u in zip(y, basis, strict=False):
        correction += c * u
    return correction


def _reduce(model: MacroModel, value: float, op: MPI.Op) -> float:
    return float(model.macro_comm.allreduce(value, op=op))


def check_beta(beta: float) -> float:
    """Return beta, which the damping term gamma/beta must be able to divide by."""
    if not np.isfinite(beta) or beta == 0.0:
        raise ValueError(f"beta must be finite and not zero, got {beta}")
    return float(beta)


def check_initial(m: Array, comm: MPI.Comm = MPI.COMM_SELF) -> None:
    """Check that m has three components and is finite, on every rank alike.

    Args:
        m: Magnetization, shape (..., 3).
        comm: Communicator over which m is spread.

    Raises:
        ValueError: If it has not.
    """
    if comm.allreduce(m.ndim == 0 or m.shape[-1] != 3, op=MPI.LOR):
        raise ValueError(f"m must have shape (..., 3), got {m.shape}")
    if comm.allreduce(not bool(np.all(np.isfinite(m))), op=MPI.LOR):
        raise ValueError("m has entries that are not finite")


def _check_march(
    model: MacroModel, m: Array, dt: float, t: float, t_end: float, gamma: float, solver: str,
    tolerance: float,
) -> None:  # fmt: skip
    """Check the arguments of :func:`march_upscaled`."""
    check_initial(m, model.macro_comm)
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
