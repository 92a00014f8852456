# SPDX-License-Identifier: LGPL-3.0-or-later
"""Minimum, saddle or undecided: the sign of the Hessian's lowest eigenvalue."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from dolfinx import fem

from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.pointwise import Point, row_dot
from dolfinx_llg.equilibrium.tangent import TangentHessian, lowest_eigenvalue

__all__ = ["Stability", "local_field", "stability_at"]


@dataclass(frozen=True)
class Stability:
    """What the lowest eigenvalue of the Hessian says of a state.

    Attributes:
        verdict: "minimum", "saddle" or "undecided" (an eigenvalue of zero within the tolerance: a
            shift or turn that costs nothing, or a field at which the state is lost).
        eigenvalue: Lowest eigenvalue of H phi = lambda M phi, a field in units of Ms0.
        error: Norm of its residual.
        tolerance: Eigenvalue from which its sign counts.
        torque: Largest nodal abs(m x h): a state with a large one is no equilibrium at all.
        mode: The turn of m that costs least, tangential to m, largest at 1: near a switching field
            the way in which m is about to leave. None where the eigensolver did not converge.
    """

    verdict: Literal["minimum", "saddle", "undecided"]
    eigenvalue: float
    error: float
    tolerance: float
    torque: float
    mode: fem.Function | None = field(default=None, repr=False)


def local_field(land: Landscape, p: Point) -> float:
    """Return the mean of abs(h.m) and of the local anisotropy: the size of eigenvalues."""
    land.precondition(p, p.gradient)
    total = land.dot(land.volumes, np.ones_like(land.volumes))
    along = land.dot(np.abs(row_dot(p.g, p.m)), np.ones_like(land.volumes))
    return max(land.dot(land.volumes, land.shift), along) / total


def stability_at(land: Landscape, p: Point, tolerance: float | None, seed: int) -> Stability:
    """Return the stability of a point; see ``Equilibrium.stability``. Collective."""
    small = 1e-6 * local_field(land, p)
    limit = max(small, p.torque) if tolerance is None else tolerance
    hessian = TangentHessian(land, p)
    value, error, vector = lowest_eigenvalue(hessian, accuracy=0.1 * limit, seed=seed, limit=500)
    if value + error < -limit or value < -limit:  # a Rayleigh quotient: the lowest is lower still
        verdict: Literal["minimum", "saddle", "undecided"] = "saddle"
    elif value - error > limit and error <= limit:
        verdict = "minimum"
    else:
        verdict = "undecided"
    mode = None
    if vector is not None:
        turn = land.turn(p, hessian.expand(vector))
        mode = land.as_function(turn / land.largest(turn), "mode")
    return Stability(verdict, value, error, limit, p.torque, mode)
