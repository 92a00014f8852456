# SPDX-License-Identifier: LGPL-3.0-or-later
"""Time-stepping schemes: pure functions from an Energy and m to UFL blocks, or a nodal field."""

from dolfinx_llg.schemes.damping import Gilbert
from dolfinx_llg.schemes.midpoint import MidpointStep, midpoint
from dolfinx_llg.schemes.nodal import integrate
from dolfinx_llg.schemes.nodal_step import NodalStep, heun, mpe, mpea, rk4
from dolfinx_llg.schemes.semi_implicit import (
    an,
    cimrak,
    gao,
    prohl,
)
from dolfinx_llg.schemes.stability import (
    stability_limit,
)
from dolfinx_llg.schemes.step import (
    Block,
    WeakStep,
    one,
    over_dt,
)
from dolfinx_llg.schemes.tangent_plane import (
    TangentPlaneStep,
    tangent_plane,
)

__all__ = [
    "Block",
    "Gilbert",
    "MidpointStep",
    "NodalStep",
    "TangentPlaneStep",
    "WeakStep",
    "an",
    "cimrak",
    "gao",
    "heun",
    "integrate",
    "midpoint",
    "mpe",
    "mpea",
    "one",
    "over_dt",
    "prohl",
    "rk4",
    "stability_limit",
    "tangent_plane",
]
