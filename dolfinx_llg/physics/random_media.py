# SPDX-License-Identifier: LGPL-3.0-or-later
"""Random materials, one value per cell: checkerboards, disjoint inclusions, polycrystals.

The map is drawn from a seed, alike on every rank, and then sampled at the centroids of the cells:
the same seed gives the same material on every mesh and on any number of ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh
from scipy.spatial import cKDTree

from dolfinx_llg.checks import check_integer
from dolfinx_llg.collective import agree
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import (
    Box,
    box_corners,
    cell_function,
    centroids_in_box,
    from_array,
)

__all__ = ["checkerboard", "inclusions", "place_inclusions", "voronoi_grains"]


@checked
def checkerboard(
    msh: mesh.Mesh,
    tiles: int | Sequence[int],
    *,
    contrast: float,
    seed: int,
    low: float = 1.0,
    probability: float = 0.5,
    box: Box | None = None,
) -> fem.Function:
    """Random checkerboard: each tile is ``low`` or ``low * contrast``, independently.

    Bounds: [low, low * contrast] (for contrast >= 1), both met as soon as both kinds of tile
    occur. In 2D with probability 1/2 the homogenized value in the limit of many tiles is
    ``low * sqrt(contrast)`` (Dykhne).

    Args:
        msh: Mesh; the material is sampled at the centroids, see :func:`from_array`.
        tiles: Number of tiles in each direction, one number or gdim numbers.
        contrast: Ratio of the two values, > 0.
        seed: Seed of ``numpy.random.default_rng``.
        low: The first value, > 0.
        probability: Probability of ``low * contrast``, in [0, 1].
        box: Corners of the box that the tiles cover, by default [0, 1]^gdim.

    Raises:
        ValueError: If a number is out of its range or the mesh lies outside the box.

    Note: Collective.
    """
    gdim = msh.geometry.dim
    shape = (tiles,) * gdim if isinstance(tiles, int | np.integer) else tuple(tiles)
    if len(shape) != gdim or any(n < 1 for n in shape):
        raise ValueError(f"tiles must be one positive integer or {gdim} of them, got {tiles}")
    _require_positive(contrast=contrast, low=low)
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability must lie in [0, 1], got {probability}")
    check_integer("seed", seed, 0)
    agree(msh.comm, seed=seed, tiles=shape, contrast=contrast, low=low, probability=probability)
    high = np.random.default_rng(seed).random(shape) < probability
    return from_array(msh, np.where(high, low * contrast, low), box=box)


@checked
def voronoi_grains(
    msh: mesh.Mesh,
    count: int,
    *,
    seed: int,
    box: Box | None = None,
    periodic: bool = True,
) -> mesh.MeshTags:
    """Cut a box into grains: each cell belongs to the nearest of ``count`` random points.

    The tags are those of a polycrystal for ``Regions.from_cell_tags``: a material per grain, with
    an easy axis of its own.

    Args:
        msh: Mesh; a cell belongs where its centroid does.
        count: Number of grains, >= 1.
        seed: Seed of ``numpy.random.default_rng``, which draws the points uniformly.
        box: Corners of the box, by default [0, 1]^gdim.
        periodic: Whether the grains go on through opposite faces, so that the box is a cell of a
            periodic medium (``homogenize``).

    Returns:
        Tags 0 to count - 1 of all cells; a grain smaller than the cells may have none.

    Raises:
        ValueError: If a number is out of its range or the mesh lies outside the box.

    Note: Collective.
    """
    check_integer("count", count, 1)
    check_integer("seed", seed, 0)
    agree(msh.comm, count=count, seed=seed, periodic=periodic)
    x, lower, upper = centroids_in_box(msh, box)
    size = upper - lower
    points = np.random.default_rng(seed).random((count, msh.geometry.dim)) * size
    # A centroid on a face would lie outside of the torus by round-off.
    place = np.clip(x - lower, 0.0, np.nextafter(size, 0.0))
    _, grain = cKDTree(points, boxsize=size if periodic else None).query(place)
    cells = np.arange(len(x), dtype=np.int32)
    return mesh.meshtags(msh, msh.topology.dim, cells, np.asarray(grain, dtype=np.int32))


@checked
def place_inclusions(
    dim: int,
    count: int,
    radius: float | tuple[float, float],
    *,
    seed: int,
    box: Box | None = None,
    gap: float = 0.0,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Draw disjoint balls in a box by random sequential addition.

    Args:
        dim: Dimension of the box.
        count: Number of balls.
        radius: One radius, or (least, largest) for radii drawn uniformly; large ones go first.
        seed: Seed of ``numpy.random.default_rng``.
        box: Corners of the box, by default [0, 1]^dim; every ball lies wholly inside.
        gap: Least distance between two balls, and between a ball and the side of the box.

    Returns:
        Centres, shape (count, dim), and radii, shape (count,).

    Raises:
        ValueError: If a number is out of its range or the balls cannot be placed.
    """
    check_integer("seed", seed, 0)
    lower, upper = box_corners(dim, box)
    least, largest = radius if isinstance(radius, tuple) else (radius, radius)
    _require_positive(radius=least)
    if count < 1 or not (math.isfinite(largest) and largest >= least and gap >= 0.0):
        raise ValueError(
            f"count >= 1, gap >= 0 and radii in order are needed, got {count}, {gap}, {radius}"
        )
    rng = np.random.default_rng(seed)
    radii = np.sort(rng.uniform(least, largest, count))[::-1].copy()
    if np.any(upper - lower < 2.0 * (radii[0] + gap)):
        raise ValueError(f"a ball of radius {radii[0]} does not fit into the box")
    centres = np.empty((count, dim))
    for i, r in enumerate(radii):
        room = rng.uniform(lower + r + gap, upper - r - gap, (2000, dim))
        free = np.ones(len(room), dtype=bool)
        for c, s in zip(centres[:i], radii[:i], strict=True):
            free &= ((room - c) ** 2).sum(axis=1) >= (r + s + gap) ** 2
        if not free.any():
            raise ValueError(
                f"{count} disjoint inclusions of radius {radius} and gap {gap} could not be "
                f"placed in the box (stopped at number {i + 1}): fewer or smaller ones are needed"
            )
        centres[i] = room[np.argmax(free)]
    return centres, radii


@checked
def inclusions(
    msh: mesh.Mesh,
    count: int,
    radius: float | tuple[float, float],
    *,
    inside: float,
    seed: int,
    outside: float = 1.0,
    box: Box | None = None,
    gap: float = 0.0,
) -> fem.Function:
    """Disjoint random balls (discs in 2D, intervals in 1D) of one value in a matrix of another.

    Bounds: the smaller and the larger of ``inside`` and ``outside``. A cell takes the value at its
    centroid.

    Args:
        msh: Mesh.
        count: Number of inclusions.
        radius: One radius, or (least, largest), in the units of the mesh.
        inside: Value in the inclusions, > 0.
        seed: Seed of ``numpy.random.default_rng``.
        outside: Value in the matrix, > 0.
        box: Corners of the box in which :func:`place_inclusions` puts them, by default the unit
            box; the mesh must lie in it.
        gap: Least distance between two inclusions.

    Raises:
        ValueError: If a number is out of its range, the inclusions cannot be placed, or the mesh
            lies outside the box.

    Note: Collective.
    """
    _require_positive(inside=inside, outside=outside)
    check_integer("seed", seed, 0)
    agree(msh.comm, seed=seed, count=count, radius=radius, gap=gap, inside=inside, outside=outside)
    centres, radii = place_inclusions(msh.geometry.dim, count, radius, seed=seed, box=box, gap=gap)
    x, _, _ = centroids_in_box(msh, box)
    hit = np.zeros(len(x), dtype=bool)
    for c, r in zip(centres, radii, strict=True):
        hit |= ((x - c) ** 2).sum(axis=1) < r * r
    return cell_function(msh, np.where(hit, inside, outside), "kappa")


def _require_positive(**numbers: float) -> None:
    """Raise ValueError for the first number that is not positive and finite."""
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} must be positive and finite, got {value}")
