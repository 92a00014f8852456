# SPDX-License-Identifier: LGPL-3.0-or-later
r"""From near a pass to the pass: uphill along one direction, downhill in all others.

With the direction v, of unit length in the mass M, the gradient G and the Hessian H are flipped
along it,

.. math:: \tilde G = G - 2\,(v \cdot G)\, M v, \qquad
          \tilde H = H + \big(\max(|v \cdot H v|, \delta) - v \cdot H v\big)\, M v\, (M v)^T,

and :math:`\tilde H d = -\tilde G` is solved by truncated CG in a trust region, as for a minimum. If
v is the eigenvector of the one negative eigenvalue, :math:`\tilde H` is positive and d is Newton's
step, unless the pass is flat (:math:`\delta`, a part of the local fields: on the way of a wall
through a wire nothing changes but its place, and no step should lead far along it). v is kept there
by a preconditioned eigensolver for one vector. Sources: Cerjan, Miller, J.
Chem. Phys. 75 (1981) 2800 (eigenvector following); Henkelman, Uberuaga, Jonsson, J. Chem. Phys. 113
(2000) 9901 (climbing image); Knyazev, SIAM J. Sci. Comput. 23 (2001) 517 (the eigensolver).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from dolfinx_llg.equilibrium.descent import truncated_cg
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.pointwise import Point, tangential
from dolfinx_llg.typing import Array

__all__ = ["Direction", "climb", "lowest_direction"]

logger = logging.getLogger(__name__)

STEPS = 100
"""Largest number of Newton steps towards a pass."""
FORCING = 0.1
FLAT = 0.01
"""delta as part of the mean local field."""
PRODUCTS = 200
"""Largest number of Hessian products in one of them."""


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction, of unit length in the mass, and its curvature.

    Attributes:
        v: Unknowns of the landscape, shape (k, 3).
        curvature: Rayleigh quotient v.Hv, a field in units of Ms0.
        residual: Norm of (H - curvature M) v, in the inverse of the mass.
    """

    v: Array
    curvature: float
    residual: float


def lowest_direction(
    land: Landscape,
    p: Point,
    start: Array,
    accuracy: float,
    limit: int,
    but: Sequence[Direction] = (),
) -> Direction:
    """Return the eigenvector of the lowest eigenvalue of H phi = lambda M phi, from a start.

    Args:
        land: The landscape, linearised at p.
        p: The point.
        start: First guess, shape (k, 3).
        accuracy: Residual at which to stop, as part of the curvature's size, that of the first of
            ``but`` where there is one (the lowest but one may be zero).
        limit: Largest number of Hessian products.
        but: Directions that are left out, normal to each other: the result is normal to them in the
            mass.

    Note: Collective.
    """
    others = [(one.v, land.mass(p, one.v)) for one in but]

    def admitted(v: Array) -> Array:
        v = tangential(p.axis, v)
        for other, weight in others:
            v = v - land.dot(weight, v) * other
        return v

    def left_over(x: Array, Hx: Array, value: float) -> tuple[Array, float]:
        r = Hx - value * land.mass(p, x)
        for other, weight in others:
            r = r - land.dot(other, r) * weight
        return r, math.sqrt(land.dot(land.from_mass(p, r), r))

    x = admitted(start)
    x = x / math.sqrt(land.dot(land.mass(p, x), x))
    Hx = land.hessian(p, x)
    spare: tuple[Array, Array] | None = None
    for _ in range(limit):
        value = land.dot(x, Hx)
        r, residual = left_over(x, Hx, value)
        if residual <= accuracy * abs(but[0].curvature if but else value):
            break
        vectors, weighted = [x], [land.mass(p, x)]
        images = [Hx]
        w = admitted(land.precondition(p, r))
        for new in [(w, None)] if spare is None else [(w, None), spare]:
            u, Hu = new
            size = math.sqrt(land.dot(land.mass(p, u), u))
            for _ in range(2):  # twice is enough
                u = u if Hu is not None else admitted(u)
                for b, Mb, Hb in zip(vectors, weighted, images, strict=True):
                    part = land.dot(Mb, u)
                    u = u - part * b
                    Hu = None if Hu is None else Hu - part * Hb
            Mu = land.mass(p, u)
            left = math.sqrt(land.dot(Mu, u))
            if not left > 1e-8 * size:
                continue
            u = u / left
            vectors.append(u)
            weighted.append(Mu / left)
            images.append(land.hessian(p, u) if Hu is None else Hu / left)
        if len(vectors) == 1:
            break
        small = np.array([[land.dot(a, Hb) for Hb in images] for a in vectors])
        c = np.linalg.eigh(0.5 * (small + small.T))[1][:, 0]
        c = c if c[0] >= 0.0 else -c
        parts = [(ci * b, ci * Hb) for ci, b, Hb in zip(c, vectors, images, strict=True)][1:]
        spare = sum(a for a, _ in parts), sum(b for _, b in parts)
        x, Hx = c[0] * x + spare[0], c[0] * Hx + spare[1]
    value = land.dot(x, Hx)
    return Direction(x, value, left_over(x, Hx, value)[1])


class _Flipped:
    """The landscape around p, turned upside down along one direction."""

    def __init__(self, land: Landscape, p: Point, up: Direction, flat: float) -> None:
        self._land, self._Mv = land, land.mass(p, up.v)
        self._lift = max(abs(up.curvature), flat) - up.curvature
        self.dot, self.precondition = land.dot, land.precondition

    def gradient(self, p: Point, v: Array) -> Array:
        """Return the flipped gradient."""
        return p.gradient - 2.0 * self.dot(p.gradient, v) * self._Mv

    def hessian(self, p: Point, s: Array) -> Array:
        """Return the product with the flipped Hessian."""
        return self._land.hessian(p, s) + self._lift * self.dot(self._Mv, s) * self._Mv


def climb(land: Landscape, p: Point, uphill: Array, torque: float) -> tuple[Point, Direction, int]:
    """Return the pass near p, the direction over it, and the steps that it took.

    Args:
        land: The landscape.
        p: A point near the pass.
        uphill: The direction that leads up to it, shape (k, 3), of any length.
        torque: Largest nodal abs(m x h) of the pass; the last point may have more.

    Note: Collective.
    """
    land.linearise(p)
    land.precondition(p, p.gradient)  # builds it where it is not yet
    whole = math.sqrt(land.dot(land.volumes, land.shift))
    flat = FLAT * whole**2 / land.dot(land.volumes, np.ones_like(land.volumes))
    radius, least = 0.2 * whole, 1e-8 * whole
    up = lowest_direction(land, p, uphill, 0.1, 10)
    for n in range(STEPS):
        if p.torque <= torque:
            break
        flipped = _Flipped(land, p, up, flat)
        r = flipped.gradient(p, up.v)
        found = truncated_cg(
            cast(Landscape, flipped), p, r, radius, min(FORCING, p.torque), PRODUCTS
        )
        q = land.move(p, found.d)
        before = land.dot(p.gradient, land.precondition(p, p.gradient))
        after = land.dot(q.gradient, land.precondition(q, q.gradient))
        logger.info(
            "pass: step %d, torque %.3g, curvature %.3g, radius %.2g", n, q.torque, up.curvature,
            radius / whole,
        )  # fmt: skip
        if after > 4.0 * before and radius > least:
            radius = 0.25 * min(radius, found.size)
            continue
        if found.boundary and after <= before:
            radius = min(2.0 * radius, 0.5 * whole)
        p = q
        land.linearise(p)
        up = lowest_direction(land, p, up.v, 0.1, 10)
    return p, up, n
