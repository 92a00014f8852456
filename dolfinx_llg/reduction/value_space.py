# SPDX-License-Identifier: LGPL-3.0-or-later
r"""What m can be at the nodes of the samples of one coarse cell: few numbers stand for its values.

There :math:`m = x + (m - x)`, with x in V_H, a combination of the r modes of the cell, and a small
rest that the projection to unit length adds. On each coarse cell an orthonormal basis Q of the
modes at the nodes, and of as many combinations of the rests of the training as it takes, gives

.. math:: m \approx Q\, Q^T m .

What is linear in the nodal values is then made of the numbers :math:`Q^T m`: K m = (K Q) Q^T m.
Combinations of rests are taken until what is left is below a tenth of the tolerance, relative to
m minus its mean on the cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dolfinx_llg.reduction.block_products import BlockProducts, grouped
from dolfinx_llg.reduction.local_modes import LocalModes
from dolfinx_llg.reduction.training import TrainingState

__all__ = ["ValueSpace"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class ValueSpace:
    """Orthonormal bases of the nodal values of m on the coarse cells of this rank.

    Args:
        modes: Modes on the coarse cells.
        homes: Coarse cell of each node, ascending; a node on several cells stands once for each.
        nodes: Number of the node on the mesh of the samples.
        dofs: Its number on the fine mesh.
        size: Number of nodes of the mesh of the samples that this rank knows.
        training: States of a run, whose m - x are to be held; none: the modes alone.
        tolerance: Relative accuracy, see the module.

    Attributes:
        bases: Q of each coarse cell, shape (nodes of the cell, R).
        first: Place of the first node of each cell among all of them, and their number.
        rank: The largest R.

    Note: Collective.
    """

    def __init__(
        self,
        modes: LocalModes,
        homes: IntArray,
        nodes: IntArray,
        dofs: IntArray,
        size: int,
        *,
        training: Sequence[TrainingState] = (),
        tolerance: float = 1e-3,
    ) -> None:
        n = len(modes.cells)
        self._nodes = nodes
        self.first = np.concatenate([[0], np.cumsum(np.bincount(homes, minlength=n))])
        rests = [state.rest.reshape(-1, 3)[dofs] for state in training]
        values = [state.before.reshape(-1, 3)[dofs] for state in training]
        self.bases = []
        for cell, begin, end in zip(modes.cells, self.first, self.first[1:], strict=False):
            own = slice(begin, end)
            theta = cell.theta[np.searchsorted(cell.dofs, dofs[own])]
            rest = np.hstack([np.zeros((end - begin, 0)), *[part[own] for part in rests]])
            square = sum(float(np.sum((v[own] - v[own].mean(axis=0)) ** 2)) for v in values)
            self.bases.append(_basis(theta, rest, 0.1 * tolerance * square**0.5))
        self.rank = max((Q.shape[1] for Q in self.bases), default=0)
        shape = (n * self.rank, size)
        blocks = [
            (Q.T, k * self.rank + np.arange(Q.shape[1]), nodes[self.first[k] : self.first[k + 1]])
            for k, Q in enumerate(self.bases)
        ]
        self._products = BlockProducts(
            modes.hierarchy.comm, grouped(blocks, shape), shape, single=True
        )

    def numbers(self, m: FloatArray) -> FloatArray:
        """Return Q^T m of all cells, shape (n * rank, 3), of values at the nodes of the mesh."""
        return self._products.apply(m)

    def missed(self, m: FloatArray, means: FloatArray) -> FloatArray:
        """Return, for this rank, the sums of the squares of m - Q Q^T m and of m less its means.

        Args:
            m: Values at the nodes of the mesh, shape (size, 3).
            means: Means of m on the coarse cells, shape (n, 3).
        """
        values = m[self._nodes]
        left = np.sum(values**2) - np.sum(self.numbers(m) ** 2)
        size = np.sum((values - np.repeat(means, np.diff(self.first), axis=0)) ** 2)
        return np.array([max(float(left), 0.0), size])


def _basis(theta: FloatArray, rest: FloatArray, bound: float) -> FloatArray:
    """Return an orthonormal basis of the modes at nodes, and of the rests up to a bound."""
    U, s, _ = np.linalg.svd(theta, full_matrices=False)
    Q = U[:, s > 1e-12 * s.max(initial=0.0)]
    left = rest - Q @ (Q.T @ rest)
    U, s, _ = np.linalg.svd(left, full_matrices=False)
    # What is left out is the root of the squares of the singular values below.
    tail = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
    return np.hstack([Q, U[:, : int(np.count_nonzero(tail > bound))]])
