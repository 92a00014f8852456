# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Empirical cubature: few weighted fine cells that integrate what a step integrates.

On a coarse cell T, row k of a table holds the contribution of each fine cell e to one integral of
the training states (a nonlinear term tested with a mode). Weights :math:`\xi_e \ge 0` with

.. math::
    \sum_e \xi_e g_{ke} = \sum_e g_{ke} \quad \text{for the leading combinations of rows}

are found by non-negative least squares, which stops at as many cells as there are combinations
(Caratheodory). Empirical cubature and energy-conserving sampling and weighting: Hernandez, Caicedo
and Ferrer, CMAME 313 (2017); Farhat, Chapman and Avery, IJNME 102 (2015). Here it is done coarse
cell by coarse cell: the systems are small, and localized functions see nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

__all__ = ["LEVELS", "Combinations", "SampleWeights", "ladder"]

FloatArray = npt.NDArray[np.float64]

LEVELS = 20
"""Thresholds that are tried, each a root of two below the last one."""


class Combinations:
    """The combinations of integrals by weight, from which weights of columns are found.

    By the Gram matrix of the smaller side: singular values below 1e-8 of the largest are lost to
    round-off, far below any threshold of use.

    Args:
        rows: Contributions of each column to each integral, shape (n, n_columns).
    """

    def __init__(self, rows: FloatArray) -> None:
        self._columns = rows.shape[1]
        tall = rows.shape[0] >= rows.shape[1]
        squares, vectors = np.linalg.eigh(rows.T @ rows if tall else rows @ rows.T)
        self._values = np.sqrt(np.maximum(squares[::-1], 0.0))
        sound = max(1, int(np.count_nonzero(self._values > 3e-8 * self._values[0])))
        self._values, leading = self._values[:sound], vectors[:, ::-1][:, :sound].T
        self._vectors = leading if tall else (leading @ rows) / self._values[:, None]

    def weights(self, threshold: float) -> FloatArray:
        """Return weights of the columns, most of them zero, that keep the sums of the rows.

        Args:
            threshold: Combinations of rows with a singular value below it are not kept: what is
                left out of the sums is at most this times the norm of (weights - 1), itself at most
                the number of columns where the rows tell the (equal) volumes of the cells.

        Returns:
            Weights >= 0, shape (n_columns,); all ones where nothing is saved.
        """
        k = max(1, int(np.count_nonzero(self._values > threshold)))
        if k >= self._columns:
            return np.ones(self._columns)
        leading = self._vectors[:k]
        try:
            weights, residual = nnls(leading, leading.sum(axis=1), maxiter=30 * self._columns)
        except RuntimeError:  # out of iterations
            return np.ones(self._columns)
        # Ones fit exactly, so that the minimum is zero: a residual is one of round-off.
        if residual > 1e-8 * self._columns**0.5:
            return np.ones(self._columns)
        return np.asarray(weights)


@dataclass(frozen=True)
class SampleWeights:
    """Weights of the columns of a coarse cell.

    Attributes:
        places: Columns with a weight.
        values: The weights.
        columns: Number of columns.
        missed: Norm of what the sums of the states held out lack.
    """

    places: npt.NDArray[np.intp]
    values: FloatArray
    columns: int
    missed: float

    def spread(self) -> FloatArray:
        """Return the weights of all columns."""
        weights = np.zeros(self.columns)
        weights[self.places] = self.values
        return weights


def ladder(training: FloatArray, held: FloatArray, bound: float) -> list[SampleWeights]:
    """Return weights of ever finer thresholds, until they miss a quarter of a bound, or the bound.

    Args:
        training: Integrals to keep, shape (n, columns).
        held: Those by which the weights are judged.
        bound: What a cell may miss of them if all miss the same.
    """
    rungs: list[SampleWeights] = []

    def rung(weights: FloatArray) -> bool:
        missed = float(np.linalg.norm(held @ (weights - 1.0)))
        places = np.flatnonzero(weights)
        rungs.append(SampleWeights(places, weights[places], len(weights), missed))
        return missed <= 0.25 * bound

    combinations, threshold = Combinations(training), 8.0 * bound
    for _ in range(LEVELS - 1):
        if rung(combinations.weights(threshold)):
            return rungs
        threshold *= 0.5**0.5
    # The training tells too little of this cell.
    if rungs[-1].missed > bound and not rung(
        Combinations(np.vstack([training, held])).weights(threshold)
    ):
        rung(np.ones(held.shape[1]))
    return rungs
