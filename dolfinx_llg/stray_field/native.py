# SPDX-License-Identifier: LGPL-3.0-or-later
"""The C kernels of the stray field."""

from __future__ import annotations

from pathlib import Path

from dolfinx_llg.native import Kernels

__all__ = ["KERNELS"]

FILES = ("types", "triangles", "near", "entries", "blocks", "products", "masses", "faces", "cells")
# What this CPU has; else what every compiler and CPU takes. Never -ffast-math in the linker's call:
# before GCC 13 it links code that sets flush-to-zero for the whole process.
FLAGS = (
    ["-std=gnu11", "-O3", "-march=native", "-ffast-math", "-fPIC"],
    ["-std=gnu11", "-O3", "-ffast-math", "-fPIC"],
    ["-O2", "-fPIC"],
)
DECLARATIONS = """
typedef struct {
  int32_t nodes, points, triangles;
  const double *x, *y, *z;
  const int32_t *node_ptr, *node_point; const double *node_weight;
  const int32_t *corner_node; const double *corners, *centre, *size;
  const int32_t *tri_ptr, *node_tri;
  const int64_t *near_ptr; const int32_t *near_node; const double *near_value;
} surface;
typedef struct {
  const double *centre, *radius, *size; const int32_t *children, *range, *order;
} ball_tree;
int llg_near_pattern(const surface *, const ball_tree *, double ratio, int32_t first, int32_t last,
                     int64_t *ptr, int32_t *columns);
int llg_near_values(const surface *, const ball_tree *, double ratio, int32_t first, int32_t last,
                    const int64_t *ptr, const int32_t *columns, int32_t points, const double *rule,
                    int32_t fine_points, const double *fine, double *values);
int llg_rows(const surface *, int32_t n, const int32_t *rows, double *out);
int llg_build(const surface *, int32_t blocks, const int32_t *block, double eps, int mixed,
              int single, void *out, int64_t capacity, int64_t *length, int32_t *rank);
int llg_apply(const void *data, int single, int32_t blocks, const int32_t *block,
              const int32_t *rank, int32_t width, const double *x, double *y);
int llg_field(int32_t points, const double *at, int32_t first, int32_t last, const double *corners,
              const double *sigma, double *out);
void llg_mass_solve(int32_t n, const int32_t *ptr, const int32_t *row, const double *value,
                    const double *inverse, int32_t width, double *x);
int64_t llg_lone_faces(int32_t cells, int32_t corners, const int32_t *cell_node, int32_t faces,
                       int32_t width, const int32_t *corner, int32_t nodes, int64_t *out);
typedef struct {
  int32_t cells, corners, nodes, first, rows;
  const int32_t *node; const double *x, *Ms;
  int32_t points; const double *rule;
} cell_mesh;
int llg_neighbours(const cell_mesh *, int32_t *ptr, int32_t *columns);
void llg_cell_matrices(const cell_mesh *, int32_t own, const int32_t *ptr, const int32_t *columns,
                       int swapped, double *K, double *G, double *mass, double *volume);
"""

KERNELS = Kernels(
    "stray_field",
    "the stray field compiles its kernels",
    [Path(__file__).with_name("kernels") / f"{name}.c" for name in FILES],
    DECLARATIONS,
    FLAGS,
)
