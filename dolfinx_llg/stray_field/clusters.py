# SPDX-License-Identifier: LGPL-3.0-or-later
"""Clusters of points and the blocks of an H-matrix over them; the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Tree", "block_partition", "build_tree", "over"]

type Floats = npt.NDArray[np.float64]
type Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Tree:
    """A binary tree; cluster k holds the points ``order[range[k, 0]:range[k, 1]]``, 0 is the root.

    Attributes:
        order: Permutation that makes every cluster contiguous, shape (points,).
        range: First and past-the-last place of each cluster, shape (clusters, 2).
        children: Clusters below, -1 for leaves, shape (clusters, 2).
    """

    order: Ints
    range: Ints
    children: Ints


def build_tree(points: Floats, leaf: int) -> Tree:
    """Halve the clusters across their longest side until at most ``leaf`` points are left.

    Ties go by the order of the points, so that sorted points give one tree wherever it is built.

    Args:
        points: Coordinates, shape (n, 3).
        leaf: Points of the largest leaf.
    """
    n = len(points)
    order = np.arange(n)
    place = np.empty((3, n), dtype=np.int64)  # of each point along each axis
    for axis in range(3):
        place[axis, np.argsort(points[:, axis], kind="stable")] = np.arange(n)
    ranges, children = [np.array([[0, n]])], []
    while len(level := ranges[-1]):
        split = level[:, 1] - level[:, 0] > leaf
        first_child = sum(map(len, ranges)) + 2 * (np.cumsum(split) - 1)
        children.append(np.where(split[:, None], first_child[:, None] + [0, 1], -1))
        halved = level[split]
        size = halved[:, 1] - halved[:, 0]
        cluster = np.repeat(np.arange(len(halved)), size)
        places = np.repeat(halved[:, 0] - (np.cumsum(size) - size), size) + np.arange(size.sum())
        x = np.take(points, order, axis=0)
        extent = over(np.maximum, x, halved) - over(np.minimum, x, halved)
        # Sides equal but for round-off must not be told apart by it.
        axes = np.argmax(extent > (1 - 1e-9) * extent.max(axis=1, keepdims=True), axis=1)
        part = order[places]
        order[places] = part[np.argsort(n * cluster + place[axes[cluster], part])]
        middle = halved.sum(axis=1) // 2
        ranges.append(np.stack([halved[:, 0], middle, middle, halved[:, 1]], 1).reshape(-1, 2))
    whole = (np.concatenate(parts).astype(np.int32) for parts in (ranges, children))
    return Tree(order.astype(np.int32), *whole)


def over(ufunc: np.ufunc, values: npt.NDArray[Any], ranges: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Reduce values, shape (n, ...), over ranges of places that are not empty, shape (k, 2)."""
    # The last row again: the end of a range may be n. Every other result lies between two ranges.
    ends = np.concatenate([values, values[-1:]])
    return np.ascontiguousarray(ufunc.reduceat(ends, ranges.ravel())[::2])


def block_partition(
    tree: Tree, low: Floats, high: Floats, reach: Floats, eta: float
) -> npt.NDArray[np.int32]:
    """Return the blocks of the upper triangle: first, last row, first, last column, far or not.

    A pair of clusters is far if the smaller diameter of their boxes is at most ``eta`` times the
    distance of the boxes, and the boxes are farther apart than their reaches together; ``eta = 0``
    leaves only dense blocks, of leaves.

    Args:
        tree: Tree of the nodes.
        low: Low corner of the box around the supports of each cluster, shape (clusters, 3).
        high: High corner.
        reach: Distance within which entries are no smooth functions of the points, (clusters,).
        eta: Admissibility.
    """
    diameter = np.linalg.norm(high - low, axis=1)
    rows, columns = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    found = []
    while len(rows):
        gap = np.maximum(np.maximum(low[columns] - high[rows], low[rows] - high[columns]), 0.0)
        distance = np.linalg.norm(gap, axis=1)
        far = distance > reach[rows] + reach[columns]
        far &= np.minimum(diameter[rows], diameter[columns]) <= eta * distance
        leaf_row, leaf_column = tree.children[rows, 0] < 0, tree.children[columns, 0] < 0
        done = far | (leaf_row & leaf_column)
        found.append(
            np.column_stack([tree.range[rows[done]], tree.range[columns[done]], far[done]])
        )
        rows, columns = rows[~done], columns[~done]
        same = rows == columns
        left, right = tree.children[rows[same]].T
        parts = [(left, left), (left, right), (right, right)]
        rows, columns = rows[~same], columns[~same]
        # A leaf waits while the other cluster is halved.
        for i in range(2):
            for j in range(2):
                leaf_row = tree.children[rows, 0] < 0
                leaf_column = tree.children[columns, 0] < 0
                keep = ~(leaf_row & (i == 1)) & ~(leaf_column & (j == 1))
                row = np.where(leaf_row, rows, tree.children[rows, i])[keep]
                parts.append((row, np.where(leaf_column, columns, tree.children[columns, j])[keep]))
        rows = np.concatenate([part[0] for part in parts]).astype(np.int64)
        columns = np.concatenate([part[1] for part in parts]).astype(np.int64)
    blocks = np.concatenate(found).astype(np.int32)
    # Neighbours in the list share rows: their piece of the vectors stays in the cache.
    return np.ascontiguousarray(blocks[np.lexsort((blocks[:, 2], blocks[:, 0]))])
