# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Micro time integration and averaging in time, for any system of precessing spins.

The micro model (3.4) of Arjmand, Engblom, Kreiss is :math:`\dot m = -\beta m \times h(t, m)`,
:math:`m(t_a) = M`, solved forward and backward from t_a; the upscaled flux (3.5) is the kernel
average :math:`F = \int K_\tau(s - t_a) \dot m(s) ds`. One spin, a chain and a finite-element
magnet differ in :math:`h` only. Remark 1's variants: damping in the micro model, for a macro model
without (3.1); a window forward in time alone, with a one-sided kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_integer, warn
from dolfinx_llg.collective import together
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.hmm.kernels import averaging_kernel, one_sided_kernel
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.cross import cross

__all__ = [
    "PrecessingSystem",
    "Window",
    "averaged_flux",
    "averaged_state",
    "check_state",
    "resolved",
]

Array = npt.NDArray[np.floating]
#: Effective field at the i-th tabulated time and the state m, of the shape of m.
Field = Callable[[int, Array], Array]

_MAX_MICRO_ITERATIONS = 50
_MICRO_TOLERANCE = 1e-12


def check_state(m: Array, shape: tuple[int, ...] | None, comm: MPI.Comm) -> None:
    """Check that m has the shape wanted and is finite, on every rank alike.

    Args:
        m: State.
        shape: Shape wanted on this rank; None: any (..., 3).
        comm: Communicator over which m is spread.

    Raises:
        ValueError: If it has not.
    """
    fits = m.ndim > 0 and m.shape[-1] == 3 if shape is None else m.shape == shape
    wrong = None if fits else f"{'(..., 3)' if shape is None else shape}, got {m.shape}"
    with together(comm):
        if wrong is not None:
            raise ValueError(f"m must have shape {wrong}")
        if not np.all(np.isfinite(m)):
            raise ValueError("m has entries that are not finite")


@runtime_checkable
class PrecessingSystem(Protocol):
    """What the upscaling has to know about the spins."""

    beta: float
    #: False if the effective field does not depend on m: a midpoint step is then explicit.
    coupled: bool
    #: Whether data of the field vary slowly with t or m: ``resolved`` then calls ``refresh`` before
    #: every step, otherwise once.
    dynamic: bool

    @property
    def comm(self) -> MPI.Comm:
        """Ranks that solve micro problems together."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of a state on this rank; None: any (..., 3)."""

    def refresh(self, t: float, m: Array) -> None:
        """Update data that vary slowly with t or m; does nothing for spins and chains."""

    def tabulate(self, times: Array, direction: int) -> Field:
        """Prepare the effective field at the given times.

        Args:
            times: Times, shape (n,).
            direction: +1 for times that run forward from t_a, -1 for backward.

        Returns:
            The function (i, m) -> effective field at ``times[i]``.
        """


@checked
class Window:
    r"""Averaging window, :math:`[t_a - \tau/2, t_a + \tau/2]`, with its micro steps and weights.

    The weights reproduce the p moments of :math:`K^{p,q}` exactly on the micro times. How much of
    the fast oscillation they let pass is :attr:`leakage`, the term of order
    :math:`(\varepsilon/\tau)^{q+2}` in theorem 1: it has side lobes, and a high p raises it. With
    the defaults it is 3e-6, with p = 5, q = 4 and tau = 5 eps (figures 5.3, 5.5) it is 2e-2.

    Args:
        eps: Fast period, positive.
        tau: Length of the window; default 5.3 eps, as in sections 5.2 and 5.4.
        p: Vanishing moments of the kernel.
        q: Smoothness of the kernel.
        steps_per_period: Micro steps in a time eps, at least 4.
        integrator: ``"midpoint"`` (implicit midpoint rule, order 2) or ``"rk4"``.
        side: ``"both"``: forward and backward from t_a. ``"forward"``: :math:`[t_a, t_a + \tau]`,
            with a one-sided kernel (remark 1): nothing is solved backward, but one-sided kernels
            oscillate and let more of the fast period pass.

    Attributes:
        directions: +1 and -1, or +1 alone.
        reach: Farthest time from t_a, tau/2 or tau.

    Warns:
        UserWarning: If ``tau <= eps``: the average is meaningless.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        *,
        eps: float,
        tau: float | None = None,
        p: int = 1,
        q: int = 7,
        steps_per_period: int = 64,
        integrator: str = "midpoint",
        side: Literal["both", "forward"] = "both",
    ) -> None:
        """Tabulate micro times and weights."""
        if not (np.isfinite(eps) and eps > 0.0):
            raise ValueError(f"eps must be a positive number, got {eps}")
        tau = 5.3 * eps if tau is None else tau
        if not (np.isfinite(tau) and tau > 0.0):
            raise ValueError(f"tau must be a positive number, got {tau}")
        if integrator not in ("midpoint", "rk4"):
            raise ValueError(f"integrator must be 'midpoint' or 'rk4', got {integrator!r}")
        if side not in ("both", "forward"):
            raise ValueError(f"side must be 'both' or 'forward', got {side!r}")
        steps_per_period = check_integer("steps_per_period", steps_per_period, 4)
        if tau <= eps:
            warn(
                f"tau = {tau} does not exceed eps = {eps}: the average over the window is "
                "meaningless, choose tau of several eps"
            )
        self.eps, self.tau, self.integrator = float(eps), float(tau), integrator
        self.side = side
        self.directions = (1, -1) if side == "both" else (1,)
        self.reach = self.tau / len(self.directions)
        self.kernel = (
            averaging_kernel(p, q, support="[-1/2,1/2]")
            if side == "both"
            else one_sided_kernel(p, q)
        )
        #: Micro steps on each side of t_a, and their length.
        self.n_steps = max(int(np.ceil(self.reach / eps * steps_per_period - 1e-9)), p + 2)
        self.step = self.reach / self.n_steps
        if integrator == "midpoint":
            sample = np.arange(self.n_steps) + 0.5
            self.offsets = sample * self.step
        else:
            sample = np.arange(self.n_steps + 1.0)
            self.offsets = np.arange(2 * self.n_steps + 1) * (0.5 * self.step)
        self.weights = self._weights(sample)

    def _weights(self, sample: Array) -> Array:
        """Weights at the micro times on one side, which are ``sample`` steps from t_a."""
        grid, total = sample, self.n_steps
        if self.side == "both":
            # The kernel is even, and so are the weights: those of one side serve both directions. A
            # run by RK4 samples t_a on both sides; it stands in the grid once.
            grid = np.concatenate((-sample[::-1], sample if sample[0] > 0.0 else sample[1:]))
            total = 2 * self.n_steps
        density = np.ones(grid.size)
        if sample[0] == 0.0:
            density[[0, -1]] = 0.5  # trapezoidal ends, which matter for q = -1 only
        weights = self.kernel.weights(grid / total, density)[-sample.size :].copy()
        if sample[0] == 0.0 and self.side == "both":
            weights[0] *= 0.5
        return np.asarray(weights)

    @property
    def leakage(self) -> float:
        """Largest average of exp(2 pi i n t / eps) over the window, n = 1, 2, 3."""
        midpoint = self.integrator == "midpoint"
        offsets = self.offsets if midpoint else self.offsets[::2]
        phase = (2.0 * np.pi / self.eps) * np.arange(1, 4)[:, None] * offsets
        waves = 2.0 * np.cos(phase) if self.side == "both" else np.exp(1j * phase)
        return float(np.max(np.abs(waves @ self.weights)))


def _midpoint_step(
    system: PrecessingSystem,
    h: Field,
    i: int,
    m: Array,
    guess: Array,
    rate: float,
    ratio: float,
    t: float,
) -> tuple[Array, Array]:
    """Solve w = m - rate/2 w x (h + ratio w x h) for the midpoint value w; returns w and h(w).

    For frozen h the step is a rotation in closed form (Cayley transform), so that every iterate
    keeps abs(m) exactly; the iteration is over h alone.
    """
    w, change = guess, np.inf
    for _ in range(_MAX_MICRO_ITERATIONS):
        field = h(i, w)
        a = (0.5 * rate) * (field if ratio == 0.0 else field + ratio * cross(w, field))
        dot, square = np.vecdot(a, m)[..., None], np.vecdot(a, a)[..., None]
        new = (m - cross(m, a) + dot * a) / (1.0 + square)
        if not system.coupled and ratio == 0.0:
            return new, field
        change = float(np.max(np.abs(new - w), initial=0.0))
        # A maximum over ranks need not keep a NaN, infinity it keeps.
        change = system.comm.allreduce(change if np.isfinite(change) else np.inf, op=MPI.MAX)
        w = new
        if change <= _MICRO_TOLERANCE:
            return w, field
    raise ConvergenceError(
        f"the implicit micro step of length {abs(rate / system.beta):.3g} does not contract (last "
        f"change {change:.3g}) in the window at t_a = {t:.6g}: increase steps_per_period, or "
        "soften the coupling of the spins",
        reason=-3,
        iterations=_MAX_MICRO_ITERATIONS,
        t=t,
    )


def averaged_flux(
    system: PrecessingSystem, window: Window, t_a: float, m: Array, damping: float = 0.0
) -> tuple[Array, Array]:
    r"""Solve the micro model (3.4) and average its rate over the window, eq. (3.5).

    Args:
        system: The precessing spins.
        window: Averaging window.
        t_a: Centre of the window, or its start.
        m: Micro state at ``t_a``, shape (..., 3).
        damping: lambda of the LL form in the micro model (remark 1); the macro model then has none.

    Returns:
        The flux F, and the average effective field along the micro solution, both of the shape
        of ``m``. The second only serves as an approximate Jacobian, F(M) ~ -beta M x h.

    Raises:
        ConvergenceError: If an implicit micro step does not converge.
    """
    flux, mean, _ = _averages(system, window, t_a, m, damping)
    return flux, mean


def averaged_state(system: PrecessingSystem, window: Window, t_a: float, m: Array) -> Array:
    r"""Average the micro solution itself over the window, :math:`K_\tau * m` at t_a.

    The macro value that belongs to a micro state: M(0) in (3.10).

    Args:
        system: The precessing spins.
        window: Averaging window.
        t_a: Centre of the window, or its start.
        m: Micro state at ``t_a``, shape (..., 3).

    Raises:
        ConvergenceError: If an implicit micro step does not converge.
    """
    return _averages(system, window, t_a, m, 0.0)[2]


def _averages(
    system: PrecessingSystem, window: Window, t_a: float, m: Array, damping: float
) -> tuple[Array, Array, Array]:
    """Averages of the rate, of the effective field and of m along the micro solution."""
    flux, mean, average = np.zeros_like(m), np.zeros_like(m), np.zeros_like(m)
    ratio = damping / system.beta

    def rate_of(m: Array, field: Array) -> Array:
        """The rate of m over beta."""
        turned = cross(m, field)
        return -turned if ratio == 0.0 else -turned - ratio * cross(m, turned)

    for direction in window.directions:
        h = system.tabulate(t_a + direction * window.offsets, direction)
        rate = direction * window.step * system.beta
        if window.integrator == "midpoint":
            state, w = m, m
            for i in range(window.n_steps):
                w, field = _midpoint_step(system, h, i, state, 2.0 * state - w, rate, ratio, t_a)
                flux += window.weights[i] * system.beta * rate_of(w, field)
                mean += window.weights[i] * field
                average += window.weights[i] * w
                state = 2.0 * w - state
            continue
        state = m
        for i in range(window.n_steps + 1):
            field = h(2 * i, state)
            k1 = rate_of(state, field)
            flux += window.weights[i] * system.beta * k1
            mean += window.weights[i] * field
            average += window.weights[i] * state
            if i == window.n_steps:
                break

            def slope(j: int, own: Array, h: Field = h) -> Array:
                return rate_of(own, h(j, own))

            k2 = slope(2 * i + 1, state + (0.5 * rate) * k1)
            k3 = slope(2 * i + 1, state + (0.5 * rate) * k2)
            k4 = slope(2 * i + 2, state + rate * k3)
            state = state + (rate / 6.0) * (k1 + 2.0 * (k2 + k3) + k4)
    return flux, mean, average


@checked
def resolved(
    system: PrecessingSystem,
    m: Array,
    *,
    dt: float,
    n_steps: int,
    damping: float = 0.0,
    t: float = 0.0,
    every: int = 1,
    chunk: int = 256,
) -> tuple[Array, Array]:
    r"""Resolve the fast scale everywhere: the direct simulation of (1.2) or (3.8) by RK4.

    :math:`\dot m = -\beta m \times h - \lambda m \times (m \times h)`.

    Data of the field that vary slowly (``refresh``: what terms of a magnet's energy compute in
    ``update``) are taken once per step, at its middle in t and at its beginning in m: what depends
    on m through them lags, of order 1 in ``dt``.

    Args:
        system: The precessing spins.
        m: Initial state, shape (..., 3).
        dt: Time step, a fraction of the fast period.
        n_steps: Number of steps.
        damping: lambda of the LL form, not negative.
        t: Initial time.
        every: Keep every so many states; a divisor of ``n_steps``, so that the last one is kept.
        chunk: Number of steps for which the field is tabulated at once.

    Returns:
        Times, shape (n,), and states, shape (n, ..., 3), the initial ones included.

    Raises:
        ValueError: If an argument is out of range, on all ranks alike.
    """
    m = np.array(m, dtype=np.float64)
    check_state(m, system.shape, system.comm)
    if not (np.isfinite(dt) and dt > 0.0):
        raise ValueError(f"dt must be a positive number, got {dt}")
    if not (np.isfinite(damping) and damping >= 0.0):
        raise ValueError(f"the damping must not be negative, got {damping}")
    n_steps = check_integer("n_steps", n_steps, 1)
    every = check_integer("every", every, 1)
    chunk = check_integer("chunk", chunk, 1)
    if n_steps % every:
        raise ValueError(f"every must divide n_steps = {n_steps}, got {every}")
    times, states = [t], [m]

    def rate(h: Field, i: int, m: Array) -> Array:
        field = h(i, m)
        precession = cross(m, field)
        return -system.beta * precession - damping * cross(m, precession)

    for start in range(0, n_steps, chunk):
        n = min(chunk, n_steps - start)
        h = system.tabulate(t + (start + 0.5 * np.arange(2 * n + 1)) * dt, 1)
        for i in range(n):
            if system.dynamic or start + i == 0:
                system.refresh(t + (start + i + 0.5) * dt, m)
            k1 = rate(h, 2 * i, m)
            k2 = rate(h, 2 * i + 1, m + 0.5 * dt * k1)
            k3 = rate(h, 2 * i + 1, m + 0.5 * dt * k2)
            k4 = rate(h, 2 * i + 2, m + dt * k3)
            m = m + (dt / 6.0) * (k1 + 2.0 * (k2 + k3) + k4)
            if (start + i + 1) % every == 0:
                times.append(t + (start + i + 1) * dt)
                states.append(m)
    return np.array(times), np.array(states)
