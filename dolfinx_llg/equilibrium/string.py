# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The simplified string method on a product of spheres: a path that slides into the valley.

Each image takes a preconditioned step downhill, :math:`m_k \leftarrow |\,m_k - s\, S^{-1}
G(m_k)|^{-1}(\ldots)`, and the images are then spread evenly again, by a cubic spline over the
length of the path in the lumped L2 norm. Where the step is along the path it only slides on it; the
rest vanishes when the path is one of steepest descent in the metric of S, which has the passes of
the energy on it, whatever S. In a coarse space each image moves by increments of the space alone,
downhill and where it is spread: :math:`m_k \leftarrow |\,m_k + \Pi P \Psi (m - m_k)|^{-1}(\ldots)`
towards the m of the spline. Source: E, Ren, Vanden-Eijnden, J. Chem. Phys. 126 (2007) 164103.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from dolfinx_llg.ensemble import Ensemble
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.pointwise import Point, row_dot, tangential, unit
from dolfinx_llg.typing import Array

__all__ = ["String", "first_path"]

logger = logging.getLogger(__name__)

FIRST_STEP = 0.5
LARGEST_TURN = 0.3
"""Largest turn of a spin in one step, in radians."""
PATIENCE = 10
"""Steps without progress after which the spline, not the descent, limits the path."""


def first_path(land: Landscape, stops: Sequence[Array], images: int) -> Array:
    """Return a path through states, shape (images, n, 3), evenly spread.

    Chords of the spheres; spins that turn by more than a right angle bow out along one of the
    coordinate axes, the same for all: where they reverse, the chord tells no way.

    Args:
        land: The landscape.
        stops: Nodal values of two states or more.
        images: Number of images.

    Note: Collective.
    """
    s = np.linspace(0.0, 1.0, 9)[:, None, None]
    legs = [stops[0][None]]
    for a, b in pairwise(stops):
        reverse = np.maximum(-row_dot(a, b), 0.0) ** 2
        along = [land.dot(reverse * a[:, [k]] ** 2, np.ones_like(reverse)) for k in range(3)]
        bow = reverse * tangential(a, np.tile(np.eye(3)[int(np.argmin(along))], (len(a), 1)))
        legs.append(unit((1 - s) * a + s * b + 4 * s * (1 - s) * bow)[1:])
    rough = np.concatenate(legs)
    path = unit(spline(lengths(land, rough), rough)(np.linspace(0.0, 1.0, images)))
    return np.stack([stops[0], *(land.inside(image) for image in path[1:-1]), stops[-1]])


def _longest(v: Array) -> float:
    return float(np.sqrt(np.max(row_dot(v, v), initial=0.0)))


def lengths(land: Landscape, values: Array) -> Array:
    """Return the positions of images on their path, from 0 to 1, shape (images,). Collective."""
    gaps = np.diff(values, axis=0)
    local = np.einsum("kni,kni,n->k", gaps, gaps, land.volumes[:, 0])
    steps = np.sqrt(np.sum(land.comm.allgather(local), axis=0))
    total = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(total / total[-1])


def spline(positions: Array, values: Array) -> Any:
    """Return the cubic spline of nodal values over the length of the path."""
    return CubicSpline(positions, values, axis=0)


def spread(land: Landscape, values: Array, positions: Array, wanted: Array) -> Array:
    """Return the images moved to the wanted positions; ends keep their bits."""
    aims = unit(spline(positions, values)(wanted))
    inner = [land.towards(m, aim) for m, aim in zip(values[1:-1], aims[1:-1], strict=True)]
    return np.stack([values[0], *inner, values[-1]])


class String:
    """A path between two states, whose images descend together.

    Args:
        land: The landscape.
        values: Nodal values of the images, shape (images, n, 3).
        share: Groups of ranks that share the images; None: one after the other.

    Attributes:
        values: The images now.
        points: Points of the images of the last ``evaluate``.
        steps: Steps so far.
    """

    def __init__(self, land: Landscape, values: Array, share: Ensemble | None) -> None:
        self.land, self.values, self._share = land, values, share
        self.steps = 0
        self._size = FIRST_STEP

    def positions(self) -> Array:
        """Return where the images lie on the path, from 0 to 1. Collective."""
        return lengths(self.land, self.values)

    def energies(self) -> Array:
        """Return the energies of all images over that of the first one. Collective."""
        points = [self.land.point(values) for values in self.values]
        return np.array([0.0, *(self.land.difference(points[0], p) for p in points[1:])])

    def summit(self) -> tuple[float, Point, Array]:
        """Return where the path is highest: its position, the point, and the way up to it.

        The maximum of the cubics through energies and slopes of two images each, on the spline
        between them; or the highest image, if less torque acts on it: where images are far apart
        the spline is no good magnetization. Collective.
        """
        land, positions = self.land, self.positions()
        curve = spline(positions, self.values)
        points = [land.point(values) for values in self.values]
        energies = [0.0, *(land.difference(points[0], p) for p in points[1:])]
        slopes = [
            land.dot(tangential(p.m, p.g), curve(x, 1))
            for p, x in zip(points, positions, strict=True)
        ]
        best, where = -math.inf, 0.5
        x = np.linspace(0.0, 1.0, 101)
        for k in range(len(points) - 1):
            h = positions[k + 1] - positions[k]
            left, right = h * slopes[k], h * slopes[k + 1]
            cubic = energies[k] * (1 + 2 * x) * (1 - x) ** 2 + left * x * (1 - x) ** 2
            cubic += energies[k + 1] * x**2 * (3 - 2 * x) + right * x**2 * (x - 1)
            top = int(np.argmax(cubic))
            if cubic[top] > best:
                best, where = float(cubic[top]), float(positions[k] + h * x[top])
        p = land.point(unit(curve(where)))
        highest = 1 + int(np.argmax(energies[1:-1]))
        if points[highest].torque <= p.torque:
            p, where = points[highest], float(positions[highest])
        return where, p, tangential(p.m, curve(where, 1))

    def part_at(self, position: float, values: Array) -> int:
        """Make an image of a state on the path, and spread the others on both sides of it.

        At least a quarter of them on each side, however short it is.

        Args:
            position: Where the state lies on the path.
            values: Its nodal values.

        Returns:
            Its index. Collective.
        """
        land, last = self.land, len(self.values) - 1
        least = max(1, last // 4)
        index = min(max(round(position * last), least), last - least)
        curve = spline(self.positions(), self.values)
        wanted = np.concatenate(
            [
                np.linspace(0.0, position, index + 1),
                np.linspace(position, 1.0, last - index + 1)[1:],
            ]
        )
        new = [land.inside(image) for image in unit(curve(wanted))]
        new[0], new[index], new[-1] = self.values[0], values, self.values[-1]
        self.values = np.stack(new)
        return index

    def relax(self, tolerance: float, limit: int, pin: int | None = None) -> float:
        """Let the images descend; return what is left, the largest turn off the path.

        Args:
            tolerance: Largest turn of a spin in a preconditioned step, off the path, in radians.
            limit: Largest number of steps.
            pin: Index of an image that stays where it is, beside the two ends.

        Note: Collective.
        """
        best, since, last = math.inf, 0, math.inf
        for _ in range(limit):
            turns = self._descend(pin)
            left = max(turns)
            logger.info("string: step %d, turn %.3g, size %.2g", self.steps, left, self._size)
            if left <= tolerance:
                break
            if left < 0.9 * best:
                best, since = left, 0
            else:
                since += 1
            if since >= PATIENCE:
                break
            self._size = 0.5 * self._size if left > 1.5 * last else min(1.1 * self._size, 1.0)
            last = left
        return left

    def _descend(self, pin: int | None) -> list[float]:
        """Do one step; return the turns off the path of all images, the same on all groups."""
        land, M = self.land, self.land.volumes
        positions = self.positions()
        slopes = spline(positions, self.values)(positions, 1)
        count = len(self.values)
        share, group = (1, 0) if self._share is None else (self._share.groups, self._share.group)
        mine = [k for k in range(1, count - 1) if k % share == group and k != pin]
        points = [land.point(self.values[k]) for k in mine]
        downhill = [-land.turn(p, land.precondition(p, p.gradient)) for p in points]
        along = [tangential(p.m, slopes[k]) for k, p in zip(mine, points, strict=True)]
        pairs = list(zip(downhill, along, strict=True))
        # Numbers of all images in one exchange each.
        local = [(float(np.vdot(M * v, d)), float(np.vdot(M * v, v))) for d, v in pairs]
        products = np.sum(land.comm.allgather(np.array(local).reshape(-1, 2)), axis=0)
        off = [d - a / b * v for (d, v), (a, b) in zip(pairs, products, strict=True)]
        sizes = [(_longest(d), _longest(o)) for d, o in zip(downhill, off, strict=True)]
        turns = np.max(land.comm.allgather(np.array(sizes).reshape(-1, 2)), axis=0)
        found = {
            k: (unit(p.m + min(self._size, LARGEST_TURN / max(whole, 1e-300)) * d), float(left))
            for k, p, d, (whole, left) in zip(mine, points, downhill, turns, strict=True)
        }
        if self._share is not None:
            for part in self._share.across.allgather(found):
                found |= part
        for k, (new, _) in found.items():
            self.values[k] = new
        ends = [0, count - 1] if pin is None else [0, pin, count - 1]
        for a, b in pairwise(ends):
            if b - a > 1:
                part = self.values[a : b + 1]
                even = np.linspace(0.0, 1.0, b - a + 1)
                self.values[a : b + 1] = spread(land, part, lengths(land, part), even)
        self.steps += 1
        return [turn for _, turn in found.values()]
