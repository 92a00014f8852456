# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Explicit methods for a magnetization given at nodes, with any effective field of nodal values.

HeunP, RK4P, MPE and MPEA of Leitenmaier and Runborg, arXiv:2108.09463, section 3.1, for

.. math:: m_t = -m \times H(m, t) - \lambda\, m \times (m \times H(m, t)) = -m \times h,
          \qquad h = H + \lambda\, m \times H \quad (18).

- HeunP (15), order 2, two stages, with the second one at m + dt k_1; half a step, as printed there,
  is of order 1. RK4P (16), order 4, four stages. Both end with the projection to unit length.
- MPE, MPEA, one stage: the midpoint rule (21) with h extrapolated to the middle of the step by (20)
  or (22): order 2, MPEA 3 in one dimension at the step sizes that stability allows (figure 3). They
  keep lengths to round-off, and begin with steps of RK4P.

Layout: m is an array of shape (..., 3), the last axis holding the components; rows may be finite
element nodes, points of a grid, or nodes times micro problems (then ``m.reshape(n, -1)`` is the
dense block that a sparse matrix multiplies at once). The effective field is a function
``field(m, t)`` that returns an array of the same shape. All coupling between nodes, and so all
communication, is inside it: the methods work on the rows of one rank.

Error estimates cost no evaluation of the field of their own: the field at the new state is that of
the next step's first stage. With :math:`k_{s+1} = f(m_{n+1})`,

.. math:: e = \tfrac{\Delta t}{2} |k_2 - k_3| \;\text{(HeunP)}, \qquad
          e = \tfrac{\Delta t}{6} |k_5 - k_4| \;\text{(RK4P)}.

The state of RK4P's last stage is within :math:`O(\Delta t^3)` of the solution, that of HeunP's
within :math:`O(\Delta t^2)`; hence e is :math:`O(\Delta t^4)` and :math:`O(\Delta t^3)`. For
:math:`m' = \mu m`, :math:`z = \mu \Delta t`, e is :math:`|z|^4/72` and :math:`|z|^3/4`, the local
errors are :math:`|z|^5/120` and :math:`|z|^3/6`: the estimates are on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_number, check_spins
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.cross import cross
from dolfinx_llg.schemes.step import check_time_step

__all__ = [
    "ERROR_ORDER",
    "LEVELS",
    "METHODS",
    "Explicit",
    "Field",
    "Method",
    "adams_bashforth",
    "cayley",
    "integrate",
    "torque",
]

Array = npt.NDArray[np.floating]
Field = Callable[[Array, float], Array]
Method = Literal["heun_p", "rk4_p", "mpe", "mpea"]
METHODS: tuple[Method, ...] = ("heun_p", "rk4_p", "mpe", "mpea")

#: Order p of the error estimates, O(dt^(p+1)), for the controller of adaptive steps.
ERROR_ORDER: dict[str, int] = {"heun_p": 2, "rk4_p": 3, "mpe": 2, "mpea": 2}
#: Fields from which the multistep methods extrapolate.
LEVELS: dict[str, int] = {"heun_p": 0, "rk4_p": 0, "mpe": 2, "mpea": 3}


def torque(m: Array, H: Array, damping: float | Array) -> Array:
    """Return the right side ``-m x H - damping m x (m x H)``.

    Args:
        m: Magnetization, shape (..., 3), of any length.
        H: Effective field, same shape.
        damping: lambda of the LL form: a number, or an array that broadcasts against m: (n, 1).
    """
    precession = cross(m, H)
    precession *= damping
    precession += H
    return cross(precession, m)


def cayley(m: Array, h: Array, dt: float) -> Array:
    """Solve ``(m' - m)/dt = -(m + m')/2 x h`` for m' at each node (21), (19).

    It is the rotation about h by the angle 2 arctan(dt |h|/2): lengths are kept to round-off.

    Args:
        m: Magnetization, shape (..., 3).
        h: Field of (18) at the half step, same shape.
        dt: Time step.
    """
    w = (0.5 * dt) * h
    out = cross(w, m)
    out += cross(w, out)
    out *= 2.0 / (1.0 + np.sum(w * w, axis=-1, keepdims=True))
    out += m
    return out


def adams_bashforth(times: Sequence[float], t: float, dt: float) -> Array:
    """Return the weights of values at ``times`` whose sum is their mean over [t, t + dt].

    With equal steps those of (20) and (22), 3/2, -1/2 and 23/12, -16/12, 5/12. Exact for
    polynomials of a degree below the number of values, whatever the steps.
    """
    place = (np.asarray(times) - t) / dt
    powers = np.arange(len(place))
    return np.linalg.solve(place[None, :] ** powers[:, None], 1.0 / (powers + 1.0))


class Explicit:
    """One run of an explicit method on arrays of shape (..., 3).

    Args:
        method: ``"heun_p"``, ``"rk4_p"``, ``"mpe"`` or ``"mpea"``.

    Attributes:
        past: Times and fields h of earlier steps, newest first (multistep methods).
        first: The effective field at the present state, of the last ``advance``.
        error: Largest error estimate of the last ``advance`` on this rank; NaN without one.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.past: list[tuple[float, Array]] = []
        self.first: Array = np.zeros((0, 3))
        self.error = math.nan
        self._known: Array | None = None
        self._new: Array | None = None
        self._h: Array | None = None
        self._t = 0.0

    def advance(
        self,
        field: Field,
        m: Array,
        times: tuple[float, float],
        dt: float,
        damping: float | Array,
        *,
        estimate: bool = False,
    ) -> Array:
        """Return the new magnetization; nothing that ``keep`` would keep is changed.

        Args:
            field: Effective field H(m, t).
            m: Magnetization.
            times: Beginning and end of the step, which a jump of the field may lie between.
            dt: Time step.
            damping: lambda of the LL form, see ``torque``.
            estimate: Whether to estimate the error (HeunP and RK4P).
        """
        begin, end = times
        H = field(m, begin) if self._known is None else self._known
        self.first, self._t, self._new, self.error = H, begin, None, math.nan
        if LEVELS[self.method]:
            return self._multistep(field, m, H, times, dt, damping)
        k1 = torque(m, H, damping)
        if self.method == "heun_p":
            last = torque(stage := m + dt * k1, field(stage, end), damping)
            new = _project(m + (0.5 * dt) * (k1 + last))
            share = 0.5
        else:
            new, last = _runge_kutta(field, m, k1, times, dt, damping)
            share = 1.0 / 6.0
        if estimate:
            self._new = field(new, end)
            difference = torque(new, self._new, damping) - last
            square = np.max(np.sum(difference**2, axis=-1), initial=0.0)
            self.error = share * dt * float(np.sqrt(square))
        return new

    def _multistep(
        self,
        field: Field,
        m: Array,
        H: Array,
        times: tuple[float, float],
        dt: float,
        damping: float | Array,
    ) -> Array:
        self._h = H + damping * cross(m, H)
        known = [(times[0], self._h), *self.past]
        if len(known) < LEVELS[self.method]:
            return _runge_kutta(field, m, torque(m, H, damping), times, dt, damping)[0]
        middle = np.zeros_like(m)
        weights = adams_bashforth([t for t, _ in known], times[0], dt)
        for weight, (_, h) in zip(weights, known, strict=True):
            middle += weight * h
        return cayley(m, middle, dt)

    def keep(self) -> None:
        """Take the last step: what it knows serves the next ones."""
        self._known = self._new
        if self._h is not None:
            self.past = [(self._t, self._h), *self.past][: LEVELS[self.method] - 1]

    def data_changed(self) -> None:
        """Compute the field at the present state anew: its data have changed."""
        self._known = None

    def forget(self) -> None:
        """Forget earlier steps."""
        self._known, self.past = None, []


def _runge_kutta(
    field: Field,
    m: Array,
    k1: Array,
    times: tuple[float, float],
    dt: float,
    damping: float | Array,
) -> tuple[Array, Array]:
    """Do one step of RK4P (16); return the new magnetization and k_4."""
    middle = times[0] + 0.5 * dt
    stage = m + (0.5 * dt) * k1
    k2 = torque(stage, field(stage, middle), damping)
    stage = m + (0.5 * dt) * k2
    k3 = torque(stage, field(stage, middle), damping)
    stage = m + dt * k3
    k4 = torque(stage, field(stage, times[1]), damping)
    return _project(m + (dt / 6.0) * (k1 + 2.0 * (k2 + k3) + k4)), k4


def _project(m: Array) -> Array:
    length = np.sqrt(np.sum(m * m, axis=-1, keepdims=True))
    return np.asarray(m / length)


@checked
def integrate(
    method: Method,
    field: Field,
    m: Array,
    t: float,
    dt: float,
    steps: int,
    damping: float | Array,
) -> Iterator[tuple[float, Array]]:
    """March an array with constant steps, yielding time and magnetization after each of them.

    For micro problems; a run of a magnet is ``march(llg.rk4(...))``.

    Args:
        method: ``"heun_p"``, ``"rk4_p"``, ``"mpe"`` or ``"mpea"``.
        field: Effective field H(m, t).
        m: Initial magnetization, shape (..., 3); not changed.
        t: Initial time.
        dt: Time step.
        steps: Number of steps.
        damping: lambda of the LL form, at least 0; see ``torque``.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_spins(m)
    check_number("t", t)
    check_time_step(dt)
    if isinstance(damping, np.ndarray):
        np.broadcast_shapes(damping.shape, m.shape)
    elif not (math.isfinite(damping) and damping >= 0):
        raise ValueError(f"the damping must be at least 0 and finite, got {damping}")
    if steps < 0:
        raise ValueError(f"the number of steps must be at least 0, got {steps}")
    return _steps(Explicit(method), field, m, t, dt, steps, damping)


def _steps(
    run: Explicit,
    field: Field,
    m: Array,
    t: float,
    dt: float,
    steps: int,
    damping: float | Array,
) -> Iterator[tuple[float, Array]]:
    for n in range(steps):
        times = t + n * dt, t + (n + 1) * dt
        m = run.advance(field, m, times, dt, damping)
        run.keep()
        yield times[1], m
