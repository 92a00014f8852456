# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Two minimisers on a ``Landscape``: Riemannian trust region and preconditioned L-BFGS.

The trust region solves each Newton model by truncated CG in the tangent plane (Steihaug, SIAM J.
Numer. Anal. 20 (1983) 626; Absil, Baker, Gallivan, Found. Comput. Math. 7 (2007) 303), in the norm
of the preconditioner. L-BFGS keeps pairs of steps and changes of the gradient, carried to the new
tangent plane by projection, around the preconditioner as the first inverse Hessian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.pointwise import Point, tangential
from dolfinx_llg.typing import Array

__all__ = ["LBFGS", "Descent", "Direction", "TrustRegion", "truncated_cg"]

ROUND_OFF = 1e-13
"""Decrease of the energy, relative to what the step could bring, that is round-off."""


class Descent(Protocol):
    """A method that goes downhill from point to point."""

    def step(self, p: Point, torque: float) -> Point | None:
        """Return a point of less energy; None: no step lowers it any more. Collective."""
        ...

    def forget(self) -> None:
        """Forget earlier points: m or the energy have changed."""
        ...


@dataclass(frozen=True, eq=False)
class Direction:
    """What truncated CG has found.

    Attributes:
        d: Minimiser of the model, or where it left the trust region.
        decrease: Decrease of the model.
        size: Norm of d, that of the preconditioner.
        boundary: Whether the region ended it.
        curvature: Rayleigh quotient in the norm of the preconditioner along the direction of
            non-positive curvature that was met; NaN if none was.
        worst: That direction.
    """

    d: Array
    decrease: float
    size: float
    boundary: bool
    curvature: float
    worst: Array | None


def truncated_cg(
    land: Landscape, p: Point, r: Array, radius: float, forcing: float, limit: int
) -> Direction:
    """Minimise r.d + d.Hd/2 over the tangent vectors d of at most the radius, by CG from 0.

    Args:
        land: The landscape, linearised at p.
        p: Where its Hessian is taken.
        r: Gradient of the model.
        radius: Radius in the norm of the preconditioner; may be inf.
        forcing: Part of the residual that may be left, in the dual norm.
        limit: Largest number of products.

    Note: Collective.
    """
    dot = land.dot
    d, Hd, first = 0.0 * r, 0.0 * r, r
    z = land.precondition(p, r)
    s = -z
    rz = target = dot(r, z)
    dd, ds, ss = 0.0, 0.0, rz
    target *= forcing**2

    def result(boundary: bool, curvature: float, worst: Array | None) -> Direction:
        decrease = -(dot(first, d) + 0.5 * dot(d, Hd))
        return Direction(d, decrease, math.sqrt(max(dd, 0.0)), boundary, curvature, worst)

    for _ in range(limit):
        if rz <= target:
            break
        Hs = land.hessian(p, s)
        curvature = dot(s, Hs)
        negative = curvature <= 0.0
        alpha = math.inf if negative else rz / curvature
        if negative or dd + 2 * alpha * ds + alpha**2 * ss >= radius**2:
            if not math.isfinite(radius):  # only asked where the model may be unbounded
                return result(True, curvature / ss, s)
            tau = (-ds + math.sqrt(ds**2 + ss * (radius**2 - dd))) / ss
            d, Hd = d + tau * s, Hd + tau * Hs
            dd = radius**2
            return result(True, curvature / ss if negative else math.nan, s if negative else None)
        d, Hd, r = d + alpha * s, Hd + alpha * Hs, r + alpha * Hs
        dd += 2 * alpha * ds + alpha**2 * ss
        z = land.precondition(p, r)
        rz, old = dot(r, z), rz
        beta = rz / old
        s = beta * s - z
        ds = beta * (ds + alpha * ss)
        ss = rz + beta**2 * ss
    return result(False, math.nan, None)


class TrustRegion:
    """Riemannian trust region; ``step`` returns the first trial point that is accepted.

    Args:
        land: The landscape.
    """

    LIMIT = 300
    """Products of one model at most: more would tell of a preconditioner that fits badly."""
    FORCING = 0.1

    def __init__(self, land: Landscape) -> None:
        self._land = land
        self._radius = math.nan

    def forget(self) -> None:
        """Forget the radius."""
        self._radius = math.nan

    def step(self, p: Point, torque: float) -> Point | None:
        """Return a point of less energy; None: no step lowers it any more. Collective."""
        land = self._land
        land.linearise(p)
        # Newton's method needs less the farther it is from the end, and at the end only the end.
        forcing = max(min(self.FORCING, p.torque), min(0.3 * torque / p.torque, self.FORCING))
        for _ in range(40):
            radius = self._radius
            if math.isnan(radius):
                land.precondition(p, p.gradient)  # builds it where it is not yet
                # As long as a turn of all of m by half a radian against the mass of S.
                radius = 0.5 * math.sqrt(land.dot(land.volumes, land.shift))
            found = truncated_cg(land, p, p.gradient, radius, forcing, self.LIMIT)
            if not found.decrease > 0.0:
                return None
            q = land.move(p, found.d)
            ratio = -land.difference(p, q) / found.decrease
            if not ratio >= 0.25:  # NaN too
                self._radius = 0.25 * min(radius, found.size)
            elif ratio > 0.75 and found.boundary:
                self._radius = 2.0 * radius
            else:
                self._radius = radius
            if ratio > 0.1:
                return q
            if self._radius < 1e-12 * math.sqrt(land.dot(land.volumes, land.shift)):
                return None
        return None


class LBFGS:
    """Preconditioned L-BFGS on spheres, steps of Armijo's rule.

    Args:
        land: The landscape.
        memory: Pairs kept.
    """

    def __init__(self, land: Landscape, memory: int = 12) -> None:
        self._land, self._memory = land, memory
        self._pairs: list[tuple[Array, Array]] = []
        self._scale = 1.0

    def forget(self) -> None:
        """Forget the pairs, but not how the preconditioner scales."""
        self._pairs = []

    def step(self, p: Point, torque: float) -> Point | None:
        """Return a point of less energy; None: no step lowers it any more. Collective."""
        land = self._land
        for _ in range(2):
            d = self._direction(p)
            slope = land.dot(p.gradient, d)
            if slope < 0.0:
                size, q = self._search(p, d, slope)
                if q is not None:
                    self._keep(p, q, size * d)
                    return q
            if not self._pairs:
                return None
            self.forget()  # the pairs mislead: once more along the preconditioned gradient
        return None

    def _search(self, p: Point, d: Array, slope: float) -> tuple[float, Point | None]:
        land = self._land
        largest = land.largest(land.turn(p, d))
        size = min(1.0, 1.0 / largest)  # no spin turns by more than 45 degrees at once
        for _ in range(25):
            q = land.move(p, size * d)
            change = land.difference(p, q)
            if change <= 1e-4 * size * slope:
                return size, q
            # The minimum of the parabola through what is known.
            best = -0.5 * slope * size / (change / size - slope) if change > slope * size else 0.5
            size *= min(max(best / size, 0.1), 0.5) if math.isfinite(best) else 0.1
        return size, None

    def _keep(self, p: Point, q: Point, d: Array) -> None:
        land = self._land
        s = tangential(q.axis, d)
        y = q.gradient - tangential(q.axis, p.gradient)
        product = land.dot(s, y)
        self._pairs = [(tangential(q.axis, a), tangential(q.axis, b)) for a, b in self._pairs]
        if product > 1e-10 * math.sqrt(land.dot(s, s) * land.dot(y, y)):
            self._pairs.append((s, y))
            del self._pairs[: -self._memory]

    def _direction(self, p: Point) -> Array:
        """Two loops over the pairs (Nocedal, Math. Comp. 35 (1980) 773)."""
        land, dot = self._land, self._land.dot
        r = p.gradient
        used: list[tuple[Array, Array, float, float]] = []
        for s, y in reversed(self._pairs):
            product = dot(s, y)
            if product <= 0.0:  # lost in the transport
                continue
            a = dot(s, r) / product
            r = r - a * y
            used.append((s, y, product, a))
        z = land.precondition(p, r)
        if used:
            _, y, product, _ = used[0]
            self._scale = product / dot(y, land.precondition(p, y))
        z = self._scale * z
        for s, y, product, a in reversed(used):
            z = z + (a - dot(y, z) / product) * s
        return -tangential(p.axis, z)
