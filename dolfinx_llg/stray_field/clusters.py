# SPDX-License-Identifier: LGPL-3.0-or-later
"""Clusters of points and the blocks of an H-matrix over them; the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Tree", "block_partition", "build_tree"]

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
    order = np.arange(len(points), dtype=np.int32)
    ranges, children = [(0, len(points))], [(-1, -1)]
    k = 0
    while k < len(ranges):
        first, last = ranges[k]
        if last - first > leaf:
            part = order[first:last]
            x = points[part]
            extent = x.max(axis=0) - x.min(axis=0)
            # Sides equal but for round-off must not be told apart by it.
            axis = int(np.argmax(extent > (1 - 1e-9) * extent.max()))
            order[first:last] = part[np.argsort(x[:, axis], kind="stable")]
            middle = (first + last) // 2
            children[k] = (len(ranges), len(ranges) + 1)
            ranges += [(first, middle), (middle, last)]
            children += [(-1, -1), (-1, -1)]
        k += 1
    return Tree(order, np.array(ranges, dtype=np.int32), np.array(children, dtype=np.int32))


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
