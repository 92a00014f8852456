# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The matrices of a step on the coarse cells, as few scalar ones with the components they couple.

What a step from tensors makes of a vector in the modes of a coarse cell is

.. math:: z_{ia} = \sum_q \sum_{kb} X_{q,ik}\, E_{qba}\, y_{kb},

with three X for a cross product, one for a reaction. As matrices of all components they would be
nine times r x r numbers, most of them twice or zero; products read little else but these and V.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dolfinx_llg.reduction.local_modes import LocalModes

__all__ = ["CROSS", "CellMatrices"]

FloatArray = npt.NDArray[np.float64]
TensorArray = npt.NDArray[np.floating]

#: The alternating tensor.
CROSS = np.zeros((3, 3, 3))
for _i in range(3):
    CROSS[_i, (_i + 1) % 3, (_i + 2) % 3] = 1.0
    CROSS[_i, (_i + 2) % 3, (_i + 1) % 3] = -1.0


class CellMatrices:
    """A sum of matrices on the coarse cells of this rank.

    Args:
        modes: The modes.
        dtype: Precision in which the matrices are read; sums are in double precision, so that
            products are as linear as they can be.
    """

    def __init__(self, modes: LocalModes, dtype: npt.DTypeLike) -> None:
        self._modes, self._dtype = modes, np.dtype(dtype)
        self._terms: list[tuple[list[TensorArray], FloatArray]] = []

    @property
    def nbytes(self) -> int:
        """Memory on this rank."""
        return sum(x.nbytes for X, _ in self._terms for x in X)

    def copy(self) -> CellMatrices:
        """Return a sum of the same matrices, to which others may be added."""
        out = CellMatrices(self._modes, self._dtype)
        out._terms = list(self._terms)
        return out

    def add(self, X: Sequence[TensorArray], E: FloatArray) -> None:
        """Add matrices.

        Args:
            X: In each group of cells axes (cell, q, i, k).
            E: What they couple, axes (q, component of the vector, component of the image).
        """
        if len(E):
            found = [np.ascontiguousarray(x, dtype=self._dtype) for x in X]
            self._terms.append((found, np.array(E, dtype=np.float64)))

    def apply(self, y: Sequence[FloatArray]) -> list[FloatArray]:
        """Return the image of coefficients of modes, axes (cell, mode, component) in each group."""
        out = [np.zeros(own.shape) for own in y]
        for X, E in self._terms:
            for z, x, own in zip(out, X, y, strict=True):
                n, q, r, _ = x.shape
                image = np.matmul(x.reshape(n, q * r, r), own).reshape(n, q, r, 3)
                z += image.transpose(0, 2, 1, 3).reshape(n, r, 3 * q) @ E.reshape(3 * q, 3)
        return out

    def image(self, c: FloatArray) -> FloatArray:
        """Return V^T B V c of coefficients, shape (n_H, 3): this rank's part of the sum."""
        self._stack()
        if not self._terms:
            return np.zeros(c.shape)
        modes = self._modes
        if modes.one_table is not None and modes.one_table.native:
            return modes.one_table.around(c, *self._terms[0])
        y = modes.gather(c)
        images = self.apply([y[group.cells, : group.modes] for group in modes.groups])
        return modes.spread(modes.join(images))

    def _stack(self) -> None:
        """Make all terms one, with no more matrices than pairs of components that are coupled."""
        if len(self._terms) < 2:
            return
        E = np.concatenate([own for _, own in self._terms])
        pairs = np.flatnonzero(E.reshape(-1, 9).any(axis=0))
        groups = list(zip(*(X for X, _ in self._terms), strict=True))
        if len(E) <= len(pairs):
            stacked = [np.concatenate(parts, axis=1) for parts in groups]
        else:
            weights = [own.reshape(-1, 9)[:, pairs].T.astype(self._dtype) for _, own in self._terms]
            stacked = [_summed(parts, weights) for parts in groups]
            E = np.eye(9)[pairs].reshape(-1, 3, 3)
        self._terms = [(stacked, E)]


def _summed(parts: Sequence[TensorArray], weights: Sequence[TensorArray]) -> TensorArray:
    """Return weighted sums over q, axes (cell, row of the weights, i, k)."""
    n, _, r, _ = parts[0].shape
    sums = [w @ x.reshape(n, -1, r * r) for x, w in zip(parts, weights, strict=True)]
    return np.asarray(sum(sums[1:], sums[0])).reshape(n, -1, r, r)
