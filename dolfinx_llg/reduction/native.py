# SPDX-License-Identifier: LGPL-3.0-or-later
"""The C kernels of reduced steps."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mpi4py import MPI

from dolfinx_llg.native import Kernels

__all__ = ["library"]

logger = logging.getLogger(__name__)

_PRODUCT = """(int k, int single, int64_t count, int32_t p, int32_t q, const void *values,
    const int32_t *rows, const int32_t *columns, const double *x, double *y);"""
DECLARATIONS = f"""
void llg_apply{_PRODUCT}
void llg_transposed{_PRODUCT}
void llg_fill(int64_t count, int32_t p, int32_t q, const void *values, const int32_t *rows,
    const int32_t *columns, const double *x, float *y);
void llg_trilinear(int nd, int64_t cells, const int32_t *dofs, const int32_t *place,
    const double *tensor, const double *E, const double *m, const double *mean, const double *u,
    double *y);
void llg_sandwich(int single, int64_t count, int32_t p, int32_t q, const void *values,
    const int32_t *rows, const int32_t *columns, int64_t cells, int32_t r, const int32_t *counts,
    int terms, const float *matrices, const double *E, const double *x, double *out);
void llg_around(int single, int single_X, int64_t count, int32_t p, int32_t q, const void *values,
    const int32_t *columns, int32_t terms, const void *X, const double *E, const double *x,
    double *out);
"""
KERNELS = Kernels(
    "reduced",
    "reduced steps are done by kernels compiled",
    [Path(__file__).with_name("kernels") / "reduced.c"],
    DECLARATIONS,
    # No -ffast-math: a NaN must reach the solver, which tells of it.
    (["-std=gnu11", "-O3", "-march=native", "-fPIC"], ["-O2", "-fPIC"]),
)


def library(comm: MPI.Comm) -> tuple[Any, Any] | None:
    """Return (ffi, library), or None where there is no compiler. Collective."""
    try:
        return KERNELS.load(comm)
    except RuntimeError as error:
        logger.warning("reduced steps are done without kernels, in more time: %s", error)
        return None
