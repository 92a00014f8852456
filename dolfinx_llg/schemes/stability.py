# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Largest stable time step of the nodal integrators, from the linear test equation.

At a smooth m the Jacobian of the Landau-Lifshitz equation has the eigenvalues
:math:`(\pm i - \lambda)\, \omega`, with :math:`\omega` those of the negative exchange operator
(Leitenmaier, Runborg, arXiv:2108.09463, section 3.2). A step is stable if
:math:`z = \Delta t (\pm i - \lambda)\, \omega` lies in the stability region of the related method
for all :math:`0 \le \omega \le \omega_{\max}`: Heun, RK4, and Adams-Bashforth 2 and 3 for MPE and
MPEA.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dolfinx_llg.kinds import checked
from dolfinx_llg.schemes.nodal import Method

__all__ = ["STAGES", "amplification", "stability_limit"]

#: Evaluations of the effective field in one step.
STAGES: dict[str, int] = {"heun_p": 2, "rk4_p": 4, "mpe": 1, "mpea": 1}


def amplification(method: Method, z: npt.NDArray[np.complexfloating]) -> npt.NDArray[np.floating]:
    """Return the largest modulus of an amplification factor of the related method at each z.

    Args:
        method: ``"heun_p"``, ``"rk4_p"``, ``"mpe"`` or ``"mpea"``.
        z: Eigenvalues times dt, any shape.

    Raises:
        ValueError: If the method is another.
    """
    z = np.asarray(z, dtype=np.complex128)
    if method == "heun_p":
        return np.abs(1 + z + z**2 / 2)
    if method == "rk4_p":
        return np.abs(1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24)
    if method == "mpe":
        rows = [1 + 1.5 * z, -0.5 * z]
    elif method == "mpea":
        rows = [1 + 23 / 12 * z, -16 / 12 * z, 5 / 12 * z]
    else:
        raise ValueError(f"no stability region for {method!r}: choose one of {', '.join(STAGES)}")
    companion = np.zeros((*z.shape, len(rows), len(rows)), dtype=np.complex128)
    for i, row in enumerate(rows):
        companion[..., 0, i] = row
    for i in range(1, len(rows)):
        companion[..., i, i - 1] = 1.0
    return np.abs(np.linalg.eigvals(companion)).max(axis=-1)


@checked
def stability_limit(method: Method, damping: float, growth: float = 0.0) -> float:
    """Return the largest dt * omega_max that is stable, omega_max the field's largest frequency.

    Heun and Adams-Bashforth 2 have no part of the imaginary axis in their regions: their limit
    vanishes with the damping, though only by a slow growth. ``growth`` allows for it: the
    amplification may exceed 1 by so much in a step.

    Args:
        method: ``"heun_p"``, ``"rk4_p"``, ``"mpe"`` or ``"mpea"``.
        damping: lambda of the LL form, at least 0.
        growth: Tolerated growth in a step, 0 to 0.1.

    Raises:
        ValueError: If an argument is out of range.
    """
    if not (math.isfinite(damping) and damping >= 0):
        raise ValueError(f"the damping must be at least 0 and finite, got {damping}")
    if not 0.0 <= growth <= 0.1:
        raise ValueError(f"the tolerated growth must be in [0, 0.1], got {growth}")
    direction = complex(-damping, 1.0)
    # All regions lie within |z| < 3 (that growth: 4); 1e-10 is above the rounding of the moduli.
    s = np.linspace(0.0, 4.0, 8001) / abs(direction)
    stable = amplification(method, s * direction) <= 1.0 + growth + 1e-10
    first = int(np.argmin(stable))
    low, high = float(s[first - 1]), float(s[first])
    for _ in range(40):
        middle = 0.5 * (low + high)
        value = amplification(method, np.array([middle * direction]))[0]
        low, high = (middle, high) if value <= 1.0 + growth + 1e-10 else (low, middle)
    return low
