# SPDX-License-Identifier: LGPL-3.0-or-later
"""Meshes of boxes that are their own mirror images."""

from __future__ import annotations

from collections.abc import Sequence

import basix.ufl
import numpy as np
from dolfinx import mesh
from shared import comm

__all__ = ["symmetric_box"]


def symmetric_box(
    low: Sequence[float], high: Sequence[float], n: Sequence[int], *, mirrored: bool = False
) -> mesh.Mesh:
    """Return a box of n cells along each axis, six tetrahedra each, cut alike in its octants.

    All long diagonals lead away from the middle: for even n the mesh is its own mirror image, and
    no tetrahedron has two faces on the boundary. Mirrored: each cell is the mirror image of its
    neighbours, for even n the mesh too. ``create_box`` has one diagonal everywhere.
    """
    counts = np.array(n)
    places = [np.linspace(a, b, k + 1) for a, b, k in zip(low, high, n, strict=True)]
    points = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 3)
    cell = np.stack(np.meshgrid(*map(np.arange, n), indexing="ij"), axis=-1).reshape(-1, 3)
    # Corner k of a cell is a step along the axes whose bits are set in k. Of the paths from corner
    # 0 to 7 each is a tetrahedron; where a cell is turned along an axis its bit counts backwards.
    paths = np.array([[0, a, 7 - b, 7] for a in (1, 2, 4) for b in (1, 2, 4) if a != b])
    turned = cell % 2 == 1 if mirrored else 2 * cell < counts - 1
    backwards = turned @ np.array([1, 2, 4])
    corners = paths ^ backwards[:, None, None]
    steps = corners[..., None] >> np.arange(3) & 1
    cells = np.ravel_multi_index(
        tuple(np.moveaxis(cell[:, None, None] + steps, -1, 0)), tuple(counts + 1)
    ).reshape(-1, 4)
    if comm.rank:
        points, cells = points[:0], cells[:0]
    element = basix.ufl.element("Lagrange", "tetrahedron", 1, shape=(3,))
    return mesh.create_mesh(comm, cells.astype(np.int64), element, points)


def along(degrees: float) -> np.ndarray:
    """Return the direction at an angle to z in the plane x-z."""
    return np.array([np.sin(np.radians(degrees)), 0.0, np.cos(np.radians(degrees))])
