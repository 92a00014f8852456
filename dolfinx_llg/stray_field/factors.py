# SPDX-License-Identifier: LGPL-3.0-or-later
"""Demagnetizing factors: of any mesh, and in closed form of ellipsoids and prisms."""

from __future__ import annotations

import math
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy.special import elliprd

from dolfinx_llg.collective import raise_together, total
from dolfinx_llg.kinds import checked
from dolfinx_llg.stray_field.field import StrayField

__all__ = ["demagnetizing_tensor", "ellipsoid_factors", "prism_factors"]

type Floats = npt.NDArray[np.float64]


@checked
def demagnetizing_tensor(body: dolfinx.mesh.Mesh | StrayField, **options: Any) -> Floats:
    r"""Return the magnetometric demagnetizing tensor of a body.

    .. math:: N_{ij} = -\frac{1}{|\Omega|} \int_\Omega e_i \cdot h[e_j],

    h[e_j] the stray field of the uniform magnetization e_j. Symmetric, with trace 1 up to the
    error of the discretization.

    Args:
        body: Mesh of the body in 3D, or its stray field of Ms = 1.
        options: Options of the ``StrayField`` that is made of a mesh.

    Returns:
        Shape (3, 3), the same on every rank.

    Raises:
        ValueError: If the stray field is one of another Ms than 1 (on all ranks).

    Note: Collective.
    """
    stray = body if isinstance(body, StrayField) else StrayField(body, **options)
    Ms = stray.Ms.x.array if isinstance(stray.Ms, fem.Function) else np.array([stray.Ms])
    other = Ms[Ms != 1.0]
    message = None
    if len(other):
        message = (
            f"factors belong to a body of Ms = 1, this stray field has Ms = {other[0]:g}: pass the "
            "mesh instead"
        )
    raise_together(stray.h.function_space.mesh.comm, message)
    uniform = np.broadcast_to(np.eye(3), (stray.h.function_space.dofmap.index_map.size_local, 3, 3))
    local = stray.apply(uniform).sum(axis=0)
    volume = stray.volume
    return -total(stray.h.function_space.mesh.comm, local) / volume


@checked
def ellipsoid_factors(a: float, b: float, c: float) -> tuple[float, float, float]:
    r"""Return the factors of an ellipsoid along its axes.

    .. math:: N_x = \frac{abc}{2} \int_0^\infty
        \frac{ds}{(a^2 + s)\sqrt{(a^2 + s)(b^2 + s)(c^2 + s)}},

    Osborn, Phys. Rev. 67, 351 (1945), as Carlson's integral R_D.

    Args:
        a: Semi-axis along x, > 0.
        b: Semi-axis along y, > 0.
        c: Semi-axis along z, > 0.

    Raises:
        ValueError: If an axis is not positive and finite.
    """
    _check_lengths(a=a, b=b, c=c)
    x, y, z = a * a, b * b, c * c
    volume = a * b * c / 3
    return (
        float(volume * elliprd(y, z, x)),
        float(volume * elliprd(z, x, y)),
        float(volume * elliprd(x, y, z)),
    )


@checked
def prism_factors(a: float, b: float, c: float) -> tuple[float, float, float]:
    """Return the magnetometric factors of a rectangular prism along its edges.

    Sums of third antiderivatives over the corners, as in Newell et al., J. Geophys. Res. 98, 9551
    (1993); equal to the closed form of Aharoni, J. Appl. Phys. 83, 3432 (1998).

    Args:
        a: Edge along x, > 0.
        b: Edge along y, > 0.
        c: Edge along z, > 0.

    Raises:
        ValueError: If an edge is not positive and finite.
    """
    _check_lengths(a=a, b=b, c=c)
    return _along_x(a, b, c), _along_x(b, c, a), _along_x(c, a, b)


def _along_x(a: float, b: float, c: float) -> float:
    """Sum the second differences of Newell's f over one cell."""
    total = math.fsum(
        wx * wy * wz * _newell(x * a, y * b, z * c)
        for x, wx in ((0, 2.0), (1, -2.0))
        for y, wy in ((0, 2.0), (1, -2.0))
        for z, wz in ((0, 2.0), (1, -2.0))
    )
    return total / (4 * math.pi * a * b * c)


def _newell(x: float, y: float, z: float) -> float:
    """Newell's f(x, y, z), even in all arguments, with its limits at 0."""
    r = math.sqrt(x * x + y * y + z * z)
    value = (2 * x * x - y * y - z * z) * r / 6
    if y > 0 and x * x + z * z > 0:
        value += 0.5 * y * (z * z - x * x) * math.asinh(y / math.hypot(x, z))
    if z > 0 and x * x + y * y > 0:
        value += 0.5 * z * (y * y - x * x) * math.asinh(z / math.hypot(x, y))
    if x > 0 and y > 0 and z > 0:
        value -= x * y * z * math.atan(y * z / (x * r))
    return value


def _check_lengths(**lengths: float) -> None:
    for name, value in lengths.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value}")
