// SPDX-License-Identifier: LGPL-3.0-or-later
// The single layer of the Laplacian, V_ab = 1/(4 pi) int int psi_a(x) psi_b(y) / |x - y|, on P1
// functions psi of a triangulated surface: near entries, blocks of an H-matrix, products.
// Compiled with -ffast-math: no infinities and no NaN may occur in what is kept.
//
// An entry is the edge-midpoint rule on all pairs of triangles (points at equal places left out)
// plus a correction for pairs that are near: 7 points times the analytic inner integral, minus
// the same midpoint rule. So far entries need nothing but points, 1/r and sums.

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  int32_t nodes, points, triangles;
  const double *x, *y, *z;     // midpoints of edges
  const int32_t *node_ptr;     // points of a node and their weights
  const int32_t *node_point;
  const double *node_weight;
  const int32_t *corner_node;  // (triangles, 3)
  const double *corners;       // (triangles, 3, 3)
  const double *centre;        // (triangles, 3)
  const double *size;          // farthest corner from the centre
  const int32_t *tri_ptr;      // triangles of a node
  const int32_t *node_tri;
  const int64_t *near_ptr;     // corrections, symmetric, rows sorted
  const int32_t *near_node;
  const double *near_value;
} surface;

typedef struct {               // bounding spheres of clusters of triangles
  const double *centre, *radius, *size;
  const int32_t *children, *range, *order;
} ball_tree;

#define QUARTER_PI 0.07957747154594767 // 1 / (4 pi)
#define CHUNK 64
#define TRIALS 3
#define CROSS 0.5 // the cross approximation, relative to the accuracy after compression
