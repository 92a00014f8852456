# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Time integrators for a magnetization given at nodes, with any effective field of nodal values.

HeunP, RK4P, the implicit midpoint rule, MPE and MPEA of Leitenmaier and Runborg,
arXiv:2108.09463, section 3.1, for

.. math:: m_t = -m \times H(m, t) - \alpha\, m \times (m \times H(m, t)) = -m \times h,
          \qquad h = H + \alpha\, m \times H \quad (18).

Layout: m is an array of shape (..., 3), the last axis holding the components; rows may be finite
element nodes (``m.x.array.reshape(-1, 3)``), points of a grid, or nodes times micro problems (then
``m.reshape(n, -1)`` is the dense block that a sparse matrix multiplies at once). The effective
field is a function ``field(m, t)`` that returns an array of the same shape. All coupling between
nodes, and so all communication, is inside it: the integrators work on the rows of one rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.gmres import Dot, gmres, local_dot
from dolfinx_llg.schemes.step import check_time_step

__all__ = [
    "Field",
    "Method",
    "cayley",
    "check_nodal",
    "cross",
    "heun_p",
    "implicit_midpoint",
    "integrate",
    "mpe",
    "mpea",
    "rk4_p",
    "torque",
]

Array = npt.NDArray[np.floating]
Field = Callable[[Array, float], Array]
Method = Literal["heun_p", "rk4_p", "mpe", "mpea"]
OneStep = Callable[[Field, Array, float, float, float | Array], Array]
Past = tuple[Array, ...]

#: Extrapolation weights of (20) and (22): those of Adams-Bashforth of order 2 and 3.
_AB2 = (3 / 2, -1 / 2)
_AB3 = (23 / 12, -16 / 12, 5 / 12)


def cross(a: Array, b: Array) -> Array:
    """Return a x b along the last axis (several times faster than ``numpy.cross``)."""
    a0, a1, a2 = a[..., 0], a[..., 1], a[..., 2]
    b0, b1, b2 = b[..., 0], b[..., 1], b[..., 2]
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    out[..., 0] = a1 * b2 - a2 * b1
    out[..., 1] = a2 * b0 - a0 * b2
    out[..., 2] = a0 * b1 - a1 * b0
    return out


def torque(m: Array, H: Array, alpha: float | Array) -> Array:
    """Return the right side ``-m x H - alpha m x (m x H)``.

    Args:
        m: Magnetization, shape (..., 3), of any length.
        H: Effective field, same shape.
        alpha: Damping (LL form): a number, or an array that broadcasts against m, such as (n, 1).
    """
    precession = cross(m, H)
    precession *= alpha
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


def heun_p(field: Field, m: Array, t: float, dt: float, alpha: float | Array) -> Array:
    """Do one step of Heun's method with projection, order 2: two stages.

    (15) with the second stage at m + dt k_1; half a step, as printed there, is of order 1.

    Args:
        field: Effective field H(m, t).
        m: Magnetization, shape (..., 3).
        t: Time of m.
        dt: Time step.
        alpha: Damping (LL form), see ``torque``.

    Returns:
        Magnetization at t + dt, projected to unit length.
    """
    k1 = torque(m, field(m, t), alpha)
    k2 = torque(m + dt * k1, field(m + dt * k1, t + dt), alpha)
    return _project(m + (0.5 * dt) * (k1 + k2))


def rk4_p(field: Field, m: Array, t: float, dt: float, alpha: float | Array) -> Array:
    """Do one step of the classical Runge-Kutta method with projection (16), order 4: four stages.

    Arguments and result: see ``heun_p``.
    """
    return _rk4_p(field, m, field(m, t), t, dt, alpha)


def _rk4_p(field: Field, m: Array, H: Array, t: float, dt: float, alpha: float | Array) -> Array:
    k1 = torque(m, H, alpha)
    stage = m + (0.5 * dt) * k1
    k2 = torque(stage, field(stage, t + 0.5 * dt), alpha)
    stage = m + (0.5 * dt) * k2
    k3 = torque(stage, field(stage, t + 0.5 * dt), alpha)
    stage = m + dt * k3
    k4 = torque(stage, field(stage, t + dt), alpha)
    return _project(m + (dt / 6.0) * (k1 + 2.0 * (k2 + k3) + k4))


def _project(m: Array) -> Array:
    m /= np.sqrt(np.sum(m * m, axis=-1, keepdims=True))
    return m


def mpe(
    field: Field, m: Array, t: float, dt: float, alpha: float | Array, past: Past = ()
) -> tuple[Array, Past]:
    """Do one step of the midpoint rule with the field extrapolated by (20), order 2: one stage.

    The first step (``past`` empty) is one of RK4P, which keeps the order of either method.

    Args:
        field: Effective field H(m, t).
        m: Magnetization, shape (..., 3); its lengths are kept.
        t: Time of m.
        dt: Time step, the same as in the steps that ``past`` comes from.
        alpha: Damping (LL form), see ``torque``.
        past: Fields h of earlier steps, newest first, as the last call returned them. Not changed.

    Returns:
        Magnetization at t + dt, and the ``past`` of the next call.
    """
    return _multistep(_AB2, field, m, t, dt, alpha, past)


def mpea(
    field: Field, m: Array, t: float, dt: float, alpha: float | Array, past: Past = ()
) -> tuple[Array, Past]:
    """Do one step of the midpoint rule with the field extrapolated by (22): one stage.

    Of order 2 in general, 3 in one dimension at the step sizes that stability allows (paper's
    figure 3). The first two steps are those of RK4P. Arguments and result: see ``mpe``.
    """
    return _multistep(_AB3, field, m, t, dt, alpha, past)


def _multistep(
    weights: tuple[float, ...],
    field: Field,
    m: Array,
    t: float,
    dt: float,
    alpha: float | Array,
    past: Past,
) -> tuple[Array, Past]:
    H = field(m, t)
    h = H + alpha * cross(m, H)
    kept = (h, *past)[: len(weights)]
    if len(kept) < len(weights):
        return _rk4_p(field, m, H, t, dt, alpha), kept
    middle = weights[0] * kept[0]
    for weight, earlier in zip(weights[1:], kept[1:], strict=True):
        middle += weight * earlier
    return cayley(m, middle, dt), kept[: len(weights) - 1]


def implicit_midpoint(
    field: Field,
    m: Array,
    t: float,
    dt: float,
    alpha: float | Array,
    *,
    field_change: Callable[[Array, Array, float], Array] | None = None,
    tolerance: float = 1e-13,
    max_iterations: int = 20,
    dot: Dot | None = None,
) -> Array:
    """Do one step of the implicit midpoint rule (17), order 2, by Newton's method with GMRES.

    Solves x - m + dt/2 x x h(x) = 0 for the half step x = (m + m')/2, matrix-free; the last h(x)
    then turns m by ``cayley``, so that lengths are kept to round-off and, with alpha = 0 and a
    quadratic energy, the energy to the tolerance. The iterations of GMRES, not preconditioned,
    grow like dt times the largest frequency of the field: beyond some 100 explicit steps a
    semi-implicit scheme is cheaper.

    Args:
        field: Effective field H(m, t).
        m: Magnetization, shape (..., 3); its lengths are kept.
        t: Time of m.
        dt: Time step.
        alpha: Damping (LL form), see ``torque``.
        field_change: Derivative of the field, ``field_change(m, v, t)``; None: a difference
            quotient of ``field``.
        tolerance: Bound for the root mean square of the residual.
        max_iterations: Largest number of Newton steps.
        dot: Inner product of two arrays of the shape of m, over all ranks if m is distributed;
            None: ``field.dot`` if the field has one (``NodalField``), else that of this rank.

    Returns:
        Magnetization at t + dt.

    Raises:
        ConvergenceError: If Newton's method or GMRES does not converge, on all ranks alike.
    """
    now, half = t + 0.5 * dt, 0.5 * dt
    if dot is None:
        dot = getattr(field, "dot", local_dot)
    inner: Dot = dot
    count = inner(np.ones_like(m), np.ones_like(m))

    def change(x: Array, H: Array, v: Array) -> Array:
        if field_change is not None:
            return field_change(x, v, now)
        size = math.sqrt(inner(v, v) / count)
        if size == 0.0:
            return np.zeros_like(v)
        step = 1e-7 / size
        return (field(x + step * v, now) - H) / step

    x = m
    residuals: list[float] = []
    krylov = 0
    for _ in range(max_iterations + 1):
        H = field(x, now)
        h = H + alpha * cross(x, H)
        residual = x - m + half * cross(x, h)
        residuals.append(math.sqrt(inner(residual, residual) / count))
        if residuals[-1] <= tolerance:
            return cayley(m, h, dt)
        # Stagnation at the rounding of dt h is convergence too.
        if residuals[-1] <= 100 * tolerance and residuals[-1] >= 0.5 * residuals[-2]:
            return cayley(m, h, dt)
        if not residuals[-1] < 1e3:
            break

        def jacobian(v: Array, x: Array = x, H: Array = H, h: Array = h) -> Array:
            dH = change(x, H, v)
            dh = dH + alpha * (cross(v, H) + cross(x, dH))
            return v + half * (cross(v, h) + cross(x, dh))

        correction, iterations = gmres(jacobian, -residual, rtol=1e-4, dot=inner)
        krylov += iterations
        x = x + correction
    shown = ", ".join(f"{value:.1e}" for value in residuals[-4:])
    raise ConvergenceError(
        f"implicit midpoint: Newton's method did not converge at t = {t + dt:.6g}: residuals "
        f"{shown} after {len(residuals) - 1} steps, tolerance {tolerance:g}; try a smaller dt",
        reason=-3 if len(residuals) > max_iterations else -9,
        iterations=krylov,
        t=t + dt,
    )


_ONE_STEP: dict[str, OneStep] = {"heun_p": heun_p, "rk4_p": rk4_p}
_MULTISTEP = {"mpe": mpe, "mpea": mpea}


def check_nodal(m: Array, dt: float, alpha: float | Array) -> None:
    """Raise ValueError for a shape other than (..., 3), a step <= 0 or a negative damping.

    It looks at this rank's data only: shapes, steps and damping are the same on all ranks.
    """
    if m.ndim < 1 or m.shape[-1] != 3:
        raise ValueError(f"m must have shape (..., 3), got {m.shape}")
    check_time_step(dt)
    if isinstance(alpha, np.ndarray):
        np.broadcast_shapes(alpha.shape, m.shape)
    elif not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"the damping alpha must be at least 0 and finite, got {alpha}")


@checked
def integrate(
    method: Method | OneStep,
    field: Field,
    m: Array,
    t: float,
    dt: float,
    steps: int,
    alpha: float | Array,
) -> Iterator[tuple[float, Array]]:
    """March with one method, yielding the time and the magnetization after each step.

    Args:
        method: ``"heun_p"``, ``"rk4_p"``, ``"mpe"``, ``"mpea"``, or a function of the arguments of
            ``heun_p``: ``implicit_midpoint``, if need be as a ``functools.partial``.
        field: Effective field H(m, t).
        m: Initial magnetization, shape (..., 3); not changed.
        t: Initial time.
        dt: Time step.
        steps: Number of steps.
        alpha: Damping (LL form), see ``torque``.

    Raises:
        ValueError: If an argument is out of range.
    """
    check_nodal(m, dt, alpha)
    if not callable(method) and method not in _ONE_STEP and method not in _MULTISTEP:
        known = ", ".join([*_ONE_STEP, *_MULTISTEP])
        raise ValueError(f"unknown method {method!r}: choose one of {known}, or give a function")
    if steps < 0:
        raise ValueError(f"the number of steps must be at least 0, got {steps}")
    return _steps(method, field, m, t, dt, steps, alpha)


def _steps(
    method: Method | OneStep,
    field: Field,
    m: Array,
    t: float,
    dt: float,
    steps: int,
    alpha: float | Array,
) -> Iterator[tuple[float, Array]]:
    past: Past = ()
    for n in range(steps):
        now = t + n * dt
        if callable(method):
            m = method(field, m, now, dt, alpha)
        elif method in _MULTISTEP:
            m, past = _MULTISTEP[method](field, m, now, dt, alpha, past)
        else:
            m = _ONE_STEP[method](field, m, now, dt, alpha)
        yield t + (n + 1) * dt, m
