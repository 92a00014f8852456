# SPDX-License-Identifier: LGPL-3.0-or-later
"""The explicit methods as schemes: HeunP, RK4P, MPE and MPEA for any energy, or any field."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.thermal import Thermal, split_noise
from dolfinx_llg.schemes.damping import Damping, Gilbert, LiveDamping
from dolfinx_llg.schemes.nodal import ERROR_ORDER, Field, Method
from dolfinx_llg.schemes.step import check_time_step
from dolfinx_llg.sphere import check_magnetization

__all__ = [
    "ArrayDamping",
    "NodalStep",
    "TimeStep",
    "check_unit_vectors",
    "heun",
    "mpe",
    "mpea",
    "rk4",
]

Array = npt.NDArray[np.float64]
Number = float | npt.NDArray[np.float64]


@dataclass
class TimeStep:
    """A time step that belongs to no mesh; assign ``value`` to change it."""

    value: float


class ArrayDamping:
    """The damping of an array of vectors: see ``LiveDamping.rate``.

    Args:
        damping: lambda of the LL form or ``Gilbert(alpha)``, at least 0: a number, or an array that
            broadcasts against m, such as (n, 1).
        m: Magnetization, shape (..., 3).

    Raises:
        ValueError: If it is negative, not finite, or does not fit m.
    """

    def __init__(self, damping: Any, m: Array) -> None:
        self.gilbert = isinstance(damping, Gilbert)
        self.value: Any = damping.alpha if isinstance(damping, Gilbert) else damping
        self.shape = m.shape
        self.refresh()

    def refresh(self) -> bool:
        """Check the values, which the caller may have changed."""
        value = getattr(self.value, "value", self.value)  # a fem.Constant
        if isinstance(value, fem.Function):
            raise ValueError("the damping of an array is a number or an array, got a fem.Function")
        array = np.asarray(value, dtype=np.float64)
        if not (np.all(np.isfinite(array)) and np.all(array >= 0.0)):
            raise ValueError(f"the damping must be at least 0 and finite, got {value}")
        try:
            fits = np.broadcast_shapes(array.shape, self.shape) == self.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(f"a damping of shape {array.shape} does not fit m, {self.shape}")
        self._array: Number = array if array.ndim else float(array)
        return True

    def rate(self) -> tuple[Number, Number]:
        """Return (c, lambda) of ``m_t = c (-m x h - lambda m x (m x h))``."""
        value = self._array
        return (1.0 / (1.0 + value**2) if self.gilbert else 1.0), value


@dataclass
class NodalStep:
    """One step of an explicit method at nodes; see ``schemes.nodal``.

    Attributes:
        m: Magnetization, a P1 function or an array of shape (..., 3).
        dt: Time step; assign ``step.dt.value`` between steps to change it. NaN until a run begins
            where the step is that of the stability limit.
        method: Name of the method.
        field: Effective field of an array; None: that of the energy.
        damping: The damping, live.
        energy: Energy of the run; None: unknown.
        refresh: Called before each step, to check a damping that the user has changed.
        order: Order of the error estimate.
        name: Name of the scheme, for logs and messages.
        projection: The methods keep the length 1 of m.
        noise: Thermal noise (HeunP), which ``energy`` is without; None: none.
    """

    m: Any
    dt: Any
    method: Method
    field: Field | None
    damping: LiveDamping | ArrayDamping
    energy: Energy | None
    refresh: Callable[[], object]
    order: int
    name: str
    projection: bool = True
    noise: Thermal | None = None


def check_unit_vectors(m: npt.NDArray[np.floating]) -> None:
    """Raise ValueError unless an array of vectors, shape (..., 3), has unit length (to 1e-6)."""
    lengths = np.linalg.norm(m, axis=-1)
    if not np.all(np.abs(lengths - 1.0) <= 1e-6):
        worst = lengths.flat[int(np.argmax(np.abs(lengths - 1.0)))]
        raise ValueError(f"m must have unit length, met |m| = {worst:.6g}")


def _nodal(
    name: str, method: Method, energy: Energy | Field, m: Any, damping: Any, dt: float | None
) -> NodalStep:
    if dt is not None:
        check_time_step(float(dt))
    size = math.nan if dt is None else float(dt)
    live: LiveDamping | ArrayDamping
    if isinstance(energy, Energy):
        if not isinstance(m, fem.Function):
            raise TypeError(
                f"{name} of an Energy needs m as a fem.Function, got {type(m).__name__}: arrays "
                "come with a field, a function (m, t) -> field"
            )
        check_magnetization(m)
        energy, noise = split_noise(energy)
        if noise is not None and method != "heun_p":
            raise ValueError(
                f"{name} does not reproduce the temperature of Thermal: its stages or levels see "
                "noise that they are not made for; use llg.heun, llg.midpoint or "
                "llg.tangent_plane(second_order=True)"
            )
        live = LiveDamping(damping, energy.Ms, m, zero=True)
        constant = fem.Constant(m.function_space.mesh, size)
        order = ERROR_ORDER[method]
        return NodalStep(
            m, constant, method, None, live, energy, live.refresh, order, name, noise=noise
        )
    if not callable(energy):
        raise TypeError(
            f"{name} takes an Energy, or a field (m, t) -> field, got {type(energy).__name__}"
        )
    if isinstance(m, fem.Function):
        raise TypeError(f"{name} of a field needs m as an array, got a fem.Function")
    values = np.array(m, dtype=np.float64)
    if values.ndim < 1 or values.shape[-1] != 3:
        raise ValueError(f"m must have shape (..., 3), got {values.shape}")
    check_unit_vectors(values)
    live = ArrayDamping(damping, values)
    step_size = TimeStep(size)
    order = ERROR_ORDER[method]
    return NodalStep(values, step_size, method, energy, live, None, live.refresh, order, name)


@checked
def rk4(
    energy: Energy | Field, m: Any, *, damping: Damping | Array, dt: float | None = None
) -> NodalStep:
    r"""RK4P, the classical Runge-Kutta method with projection: order 4, four fields a step.

    Explicit: stable for :math:`\Delta t\,\omega_{max}` up to 2.8 at low damping, the largest
    frequency :math:`\omega_{max}` being about :math:`8\kappa/h^2` for exchange in 2D. The method
    for references, and where the mesh is coarse. Source: arXiv:2108.09463, (16).

    Args:
        energy: Energy, whose field is taken at the nodes with lumped mass; or, for an array m, a
            function ``field(m, t)`` (``hmm.UpscaledField``).
        m: Magnetization, P1, unit length at the nodes, advanced in place; or an array (..., 3).
        damping: lambda of the LL form or ``Gilbert(alpha)``, at least 0: a number, a
            ``fem.Constant``, a DG0 function; for an array m a number or an array.
        dt: Time step; None: 0.9 of the stability limit, found when the run begins, and anew when
            data of the energy change; it stands in ``step.dt.value`` then.

    Raises:
        ValueError: If m is not of unit length, dt not positive, or the damping negative.
        TypeError: If m and energy do not fit together.
    """
    return _nodal("rk4", "rk4_p", energy, m, damping, dt)


@checked
def heun(
    energy: Energy | Field, m: Any, *, damping: Damping | Array, dt: float | None = None
) -> NodalStep:
    """HeunP, Heun's method with projection: order 2, two fields a step.

    Explicit; without damping there is no stable step, but only a slow growth. The cheapest for
    damping 0.2 to 1. Source: arXiv:2108.09463, (15), with the second stage at the full step. With
    ``Thermal`` in the energy it is Heun's method for the Stratonovich equation.

    Args:
        energy: Energy, or for an array m a function ``field(m, t)``; see ``rk4``.
        m: Magnetization, P1, unit length at the nodes, advanced in place; or an array (..., 3).
        damping: lambda of the LL form or ``Gilbert(alpha)``, at least 0.
        dt: Time step; None: 0.9 of the stability limit, see ``rk4``.

    Raises:
        ValueError: If m is not of unit length, dt not positive, or the damping negative.
        TypeError: If m and energy do not fit together.
    """
    return _nodal("heun", "heun_p", energy, m, damping, dt)


@checked
def mpe(
    energy: Energy | Field, m: Any, *, damping: Damping | Array, dt: float | None = None
) -> NodalStep:
    """MPE, the midpoint rule with an extrapolated field: order 2, one field a step.

    Keeps the length of m to round-off. The field is extrapolated from two steps, of any size; steps
    are not adapted, there is no error estimate. Source: arXiv:2108.09463, (20), (21).

    Args:
        energy: Energy, or for an array m a function ``field(m, t)``; see ``rk4``.
        m: Magnetization, P1, unit length at the nodes, advanced in place; or an array (..., 3).
        damping: lambda of the LL form or ``Gilbert(alpha)``, at least 0.
        dt: Time step; None: 0.9 of the stability limit, see ``rk4``.

    Raises:
        ValueError: If m is not of unit length, dt not positive, or the damping negative.
        TypeError: If m and energy do not fit together.
    """
    return _nodal("mpe", "mpe", energy, m, damping, dt)


@checked
def mpea(
    energy: Energy | Field, m: Any, *, damping: Damping | Array, dt: float | None = None
) -> NodalStep:
    """MPEA, the midpoint rule with a field extrapolated from three steps; one field a step.

    Order 2, in one dimension 3 at the steps that stability allows; stable without damping too.
    Keeps the length of m to round-off; no error estimate. Source: arXiv:2108.09463, (21), (22).

    Args:
        energy: Energy, or for an array m a function ``field(m, t)``; see ``rk4``.
        m: Magnetization, P1, unit length at the nodes, advanced in place; or an array (..., 3).
        damping: lambda of the LL form or ``Gilbert(alpha)``, at least 0.
        dt: Time step; None: 0.9 of the stability limit, see ``rk4``.

    Raises:
        ValueError: If m is not of unit length, dt not positive, or the damping negative.
        TypeError: If m and energy do not fit together.
    """
    return _nodal("mpea", "mpea", energy, m, damping, dt)
