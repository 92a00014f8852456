# SPDX-License-Identifier: LGPL-3.0-or-later
"""The least number of layers that reaches a wanted accuracy, from a few sample patches."""

from __future__ import annotations

import logging
import math

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patch_solvers import PatchSolver
from dolfinx_llg.grps.patches import patch_cells
from dolfinx_llg.la.matrices import scipy_rows

__all__ = ["choose_ell"]

logger = logging.getLogger(__name__)


def choose_ell(A: PETSc.Mat, patches: PatchSolver, accuracy: float) -> tuple[int, float]:
    r"""Return the least ell that reaches the accuracy in sample patches, and its estimated error.

    The patch spaces are nested and the differences of successive minimisers orthogonal in energy:
    ``|psi - psi^ell|^2 = sum_{k >= ell} |psi^{k+1} - psi^k|^2``, a geometric tail; of spaces that
    are not nested the norms add up.
    """
    measurement = patches.measurement
    samples = _samples(measurement)
    ell = patches.least_ell
    previous, last_step = patches.solve(ell, samples), math.nan
    while True:
        larger = patches.solve(ell + 1, samples)
        difference = larger.copy()
        difference.axpy(-1.0, previous, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        norms = _column_energies(A, larger)[samples]
        step = float(np.sqrt(_column_energies(A, difference)[samples] / norms).max())
        decay = min(step / last_step, 0.95) if last_step > 0 else 0.95
        error = step / (math.sqrt(1.0 - decay**2) if patches.nested else 1.0 - decay)
        logger.info("GRPS: ell = %d, estimated error %.2e", ell, error)
        whole = patch_cells(measurement, samples, ell, patches.layers).nnz
        if error <= accuracy or whole == len(samples) * measurement.hierarchy.data.num_cells:
            return ell, error
        previous, last_step, ell = larger, step, ell + 1


def _samples(measurement: Measurement) -> list[int]:
    """Up to five functionals: one near the middle of the domain, others spread, none by chance."""
    points = measurement.points
    box = points.min(axis=0), points.max(axis=0)
    wanted = [box[0] + s * (box[1] - box[0]) for s in (0.5, 0.2, 0.8)]
    wanted += [
        np.where(np.arange(points.shape[1]) % 2 == k, 0.8, 0.2) * (box[1] - box[0]) + box[0]
        for k in (0, 1)
    ]
    near = [int(np.linalg.norm(points - place, axis=1).argmin()) for place in wanted]
    return sorted(set(near))


def _column_energies(A: PETSc.Mat, P: PETSc.Mat) -> npt.NDArray[np.float64]:
    """a(psi_i, psi_i) of all columns, replicated."""
    image = A.matMult(P)
    product = scipy_rows(P).multiply(scipy_rows(image))
    parts = A.comm.tompi4py().allgather(np.asarray(product.sum(axis=0)).ravel())
    return np.asarray(np.sum(parts, axis=0))
