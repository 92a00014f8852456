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

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

__all__ = ["cubature_weights"]

FloatArray = npt.NDArray[np.float64]


def cubature_weights(rows: FloatArray, threshold: float) -> FloatArray:
    """Return weights of the columns, most of them zero, that keep the sums of the rows.

    Args:
        rows: Contributions of each column to each integral, shape (n, n_columns).
        threshold: Combinations of rows with a singular value below it are not kept: what is left
            out of the sums is at most this times the norm of (weights - 1), itself at most the
            number of columns where the rows tell the (equal) volumes of the cells.

    Returns:
        Weights >= 0, shape (n_columns,); all ones where nothing is saved.
    """
    columns = rows.shape[1]
    leading = _leading_combinations(rows, threshold)
    if len(leading) >= columns:
        return np.ones(columns)
    try:
        weights, residual = nnls(leading, leading.sum(axis=1), maxiter=30 * columns)
    except RuntimeError:  # out of iterations
        return np.ones(columns)
    # Ones fit exactly, so that the minimum is zero: a residual is one of round-off.
    if residual > 1e-8 * columns**0.5:
        return np.ones(columns)
    return np.asarray(weights)


def _leading_combinations(rows: FloatArray, threshold: float) -> FloatArray:
    """Return the right singular vectors above the threshold, at least one, as rows.

    By the Gram matrix of the smaller side: singular values below 1e-8 of the largest are lost to
    round-off, far below any threshold of use.
    """
    tall = rows.shape[0] >= rows.shape[1]
    squares, vectors = np.linalg.eigh(rows.T @ rows if tall else rows @ rows.T)
    floor = max(threshold**2, 1e-15 * float(squares[-1]))
    k = max(1, int(np.count_nonzero(squares > floor)))
    leading = vectors[:, ::-1][:, :k].T
    return leading if tall else (leading @ rows) / np.sqrt(squares[::-1][:k])[:, None]
