# SPDX-License-Identifier: LGPL-3.0-or-later
"""Steps of the macro model: implicit midpoint rule, by a fixed point or Newton; Heun and RK4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_integer
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.hmm.time.precession import Window
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.cross import cross
from dolfinx_llg.la.gmres import gmres

__all__ = ["MacroModel", "MidpointSolver", "Rate", "explicit_step", "solve_midpoint"]

Array = npt.NDArray[np.floating]


@checked
@dataclass(frozen=True)
class MidpointSolver:
    """The iteration that solves the implicit midpoint rule (``upscaled(..., solver=)``).

    Args:
        kind: ``"newton"`` (with the averaged field as approximate Jacobian, 2 to 4 fluxes a step)
            or ``"fixed_point"``.
        max_iterations: Largest number of flux evaluations in a step, at least 1.

    Raises:
        ValueError: If there is no such iteration, or the number is out of range.
    """

    kind: Literal["newton", "fixed_point"] = "newton"
    max_iterations: int = 50

    def __post_init__(self) -> None:
        """Check the number."""
        check_integer("max_iterations", self.max_iterations, 1)


@runtime_checkable
class MacroModel(Protocol):
    """A model whose missing flux is computed from micro problems.

    Attributes:
        window: Averaging window.
        beta: Precession coefficient.
        unit_start: True if the micro problems start from M/abs(M) rather than M.
        macro_comm: Ranks over which the entries of M are spread (the magnet), COMM_SELF if every
            rank holds all of M.
        omega_max: Largest frequency of the coupling between the entries of M; 0 if there is none,
            or if the model itself watches it.
    """

    window: Window
    beta: float
    unit_start: bool
    omega_max: float

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of M on this rank; None: any (..., 3)."""

    @property
    def macro_comm(self) -> MPI.Comm:
        """Ranks over which the entries of M are spread."""

    def flux(self, t: float, m: Array, damping: float = 0.0) -> tuple[Array, Array]:
        """Upscaled flux F(t, M) and the averaged effective field, both of the shape of ``m``.

        With ``damping``, that of the LL form is in the micro model.
        """

    def field_change(self, v: Array) -> Array | None:
        """Derivative of the effective field along v, or None if it is negligible at macro scale.

        It only preconditions the Newton iteration: results do not depend on it.
        """


@dataclass(frozen=True)
class Rate:
    r"""Right side G(t, W) of the macro model.

    Attributes:
        model: The macro model.
        damping: lambda of the LL form.
        damping_in: ``"macro"``: :math:`G = F + \lambda/\beta W \times F` (3.2). ``"micro"``: G = F
            of micro problems with damping (3.1).
        projection: Whether F is replaced by its part normal to W.
    """

    model: MacroModel
    damping: float = 0.0
    damping_in: Literal["macro", "micro"] = "macro"
    projection: bool = False

    @property
    def ratio(self) -> float:
        """The damping over beta."""
        return self.damping / self.model.beta

    def __call__(self, t: float, w: Array) -> tuple[Array, Array, Array]:
        """Return G(t, W), F(t, W) and the averaged field."""
        micro = self.damping_in == "micro"
        flux, mean = self.model.flux(t, w, self.damping if micro else 0.0)
        if self.projection:
            flux = flux - w * (
                np.sum(flux * w, axis=-1, keepdims=True) / np.sum(w * w, axis=-1, keepdims=True)
            )
        return (flux if micro else flux + self.ratio * cross(w, flux)), flux, mean


def explicit_step(
    rate: Rate, method: Literal["heun", "rk4"], m: Array, t: float, dt: float
) -> tuple[Array, int]:
    """One step of Heun's or the classical Runge-Kutta method for dM/dt = G(t, M).

    Args:
        rate: G.
        method: ``"heun"`` (order 2) or ``"rk4"`` (order 4).
        m: M at t, shape (..., 3).
        t: Time.
        dt: Macro step.

    Returns:
        M at t + dt, and the number of flux evaluations.

    Raises:
        ConvergenceError: If the result is not finite.
    """
    k1 = rate(t, m)[0]
    if method == "heun":
        k2 = rate(t + dt, m + dt * k1)[0]
        new, count = m + (0.5 * dt) * (k1 + k2), 2
    else:
        k2 = rate(t + 0.5 * dt, m + (0.5 * dt) * k1)[0]
        k3 = rate(t + 0.5 * dt, m + (0.5 * dt) * k2)[0]
        k4 = rate(t + dt, m + dt * k3)[0]
        new, count = m + (dt / 6.0) * (k1 + 2.0 * (k2 + k3) + k4), 4
    if _reduce(rate.model, float(np.all(np.isfinite(new))), MPI.MIN) == 0.0:
        raise ConvergenceError(
            f"the {method} step of the macro model to t = {t + dt:.6g} is not finite: reduce "
            f"Delta t = {dt}",
            reason=-9,
            iterations=count,
            t=t + dt,
        )
    return new, count


def solve_midpoint(
    rate: Rate,
    m: Array,
    guess: Array,
    t: float,
    dt: float,
    solver: MidpointSolver,
    tolerance: float,
) -> tuple[Array, int]:
    r"""Solve :math:`W = M_n + \frac{\Delta t}{2} G(t, W)`, G the right side of (3.2).

    Args:
        rate: G.
        m: M_n, shape (..., 3).
        guess: First guess of W, of the same shape.
        t: Time of the midpoint.
        dt: Macro step.
        solver: The iteration, and how long it may be.
        tolerance: Bound for the residual that is left after the last correction.

    Returns:
        The midpoint value W = (M_n + M_(n+1))/2, and the number of flux evaluations.

    Raises:
        ConvergenceError: If the iteration does not contract.
    """
    w, model = guess, rate.model
    history: list[float] = []
    for iteration in range(1, solver.max_iterations + 1):
        slope, flux, mean = rate(t, w)
        residual = m + (0.5 * dt) * slope - w
        size = float(np.max(np.abs(residual), initial=0.0))
        # MPI may lose a NaN in a maximum.
        size = _reduce(model, size if np.isfinite(size) else np.inf, MPI.MAX)
        history.append(size)
        if not np.isfinite(size) or (len(history) > 3 and size > 2.0 * min(history[:-3])):
            break
        if solver.kind == "fixed_point":
            w = w + residual
        else:
            w = w + _newton_correction(model, w, flux, mean, residual, 0.5 * dt, rate.ratio)
        # What is left after this correction, from the contraction observed.
        left = size * min(size / history[-2], 1.0) if iteration > 1 else size
        if left <= tolerance:
            return w, iteration
    shown = ", ".join(f"{value:.1e}" for value in history[-4:])
    raise ConvergenceError(
        f"the {solver.kind} iteration of the implicit midpoint rule does not contract with "
        f"Delta t = {dt} at t = {t:.6g}: residuals {shown} after {len(history)} evaluations of "
        f"the flux, tolerance {tolerance}; {_advice(model, dt)}",
        reason=-3 if len(history) == solver.max_iterations else -9,
        iterations=len(history),
        t=t,
    )


def _advice(model: MacroModel, dt: float) -> str:
    """What helps when the iteration does not contract."""
    tau = model.window.tau
    if (turn := model.omega_max * tau) > 5.0:
        return (
            f"omega_max tau = {turn:.3g} is too large (omega_max = {model.omega_max:.3g} is the "
            f"fastest mode of the energy): reduce the window tau = {tau:.3g} (it scales with eps), "
            "or coarsen the mesh"
        )
    if dt < 2.0 * tau:
        return f"reduce Delta t, and with it the window tau = {tau:.3g} (it scales with eps)"
    return "reduce Delta t"


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

    def dot(a: Array, b: Array) -> float:
        return _reduce(model, float(np.vdot(a, b)), MPI.SUM)

    # Newton's iteration around it corrects what is left.
    return gmres(apply, residual, rtol=1e-4, dot=dot, max_iterations=100, strict=False)[0]


def _reduce(model: MacroModel, value: float, op: MPI.Op) -> float:
    return float(model.macro_comm.allreduce(value, op=op))
