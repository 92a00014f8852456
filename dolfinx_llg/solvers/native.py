# SPDX-License-Identifier: LGPL-3.0-or-later
"""The C kernels of matrices and vectors that depend on m."""

from __future__ import annotations

from pathlib import Path

from dolfinx_llg.native import Kernels

__all__ = ["KERNELS"]

DECLARATIONS = """
typedef struct {
  int32_t count;
  const int32_t *ptr, *node;
  const double *value, *tensor;
} linear_part;
typedef struct { int32_t rows; const int32_t *ptr, *column, *place; } pattern;
typedef struct { const double *value, *tensor; } scalar_part;
typedef struct {
  int32_t shapes, rank;
  const double *geometry, *left, *right, *alpha, *beta;
  const uint8_t *rows;
} product_part;
void llg_blocks(const pattern *pairs, double *const *out, const double *const *base,
                const linear_part *lin, int32_t scalar, const scalar_part *sca, const double *m,
                double *y, int whole);
void llg_scalars(int32_t nd, int32_t cells, const int32_t *dofs, const int32_t *pair, int32_t parts,
                 const product_part *part, const double *m, double *values);
void llg_vector(int32_t nd, int32_t cells, const int32_t *dofs, int32_t parts,
                const product_part *part, const double *m, double *y);
void llg_outer(int32_t nd, int32_t cells, const int32_t *dofs, const int32_t *place, int32_t parts,
               const product_part *part, const double *m, double *const *out);
void llg_add(int32_t count, const int32_t *from, const int32_t *place, const double *blocks,
             double *const *out);
"""
# No -ffast-math: a NaN in m must reach the solver, which tells of it.
FLAGS = (["-std=gnu11", "-O3", "-march=native", "-fPIC"], ["-O2", "-fPIC"])

KERNELS = Kernels(
    "cells",
    "matrices that depend on m are filled by kernels compiled",
    [Path(__file__).with_name("kernels") / "cells.c"],
    DECLARATIONS,
    FLAGS,
)
