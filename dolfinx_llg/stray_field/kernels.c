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

// ---- near pairs ---------------------------------------------------------------------------------

// Triangles t with |c_s - c_t| < ratio (size_s + size_t) into list (if given); returns their number.
static int32_t near_of(const surface *g, const ball_tree *tree, double ratio, int32_t s,
                       int32_t *list) {
  int32_t stack[128], top = 0, count = 0;
  const double *c = g->centre + 3 * s, h = g->size[s];
  stack[top++] = 0;
  while (top) {
    int32_t k = stack[--top];
    const double *b = tree->centre + 3 * k;
    double u = b[0] - c[0], v = b[1] - c[1], w = b[2] - c[2];
    double reach = tree->radius[k] + ratio * (h + tree->size[k]);
    if (u * u + v * v + w * w > reach * reach) continue;
    if (tree->children[2 * k] >= 0) {
      stack[top++] = tree->children[2 * k + 1];
      stack[top++] = tree->children[2 * k];
      continue;
    }
    for (int32_t q = tree->range[2 * k]; q < tree->range[2 * k + 1]; q++) {
      int32_t t = tree->order[q];
      const double *d = g->centre + 3 * t;
      u = d[0] - c[0], v = d[1] - c[1], w = d[2] - c[2];
      reach = ratio * (h + g->size[t]);
      if (u * u + v * v + w * w < reach * reach) {
        if (list) list[count] = t;
        count++;
      }
    }
  }
  return count;
}

static int compare_int(const void *a, const void *b) {
  return *(const int32_t *)a - *(const int32_t *)b;
}

// Numbers of the nodes that share a near pair with each node of [first, last); with columns given,
// also the nodes themselves, sorted, at ptr.
int llg_near_pattern(const surface *g, const ball_tree *tree, double ratio, int32_t first,
                     int32_t last, int64_t *ptr, int32_t *columns) {
  int32_t *mark = malloc(sizeof(int32_t) * g->nodes);
  int32_t *list = malloc(sizeof(int32_t) * g->triangles);
  int32_t *found = malloc(sizeof(int32_t) * g->nodes);
  if (!mark || !list || !found) {
    free(mark), free(list), free(found);
    return 1;
  }
  memset(mark, 0xff, sizeof(int32_t) * g->nodes);
  for (int32_t a = first; a < last; a++) {
    int32_t n = 0;
    for (int32_t q = g->tri_ptr[a]; q < g->tri_ptr[a + 1]; q++) {
      int32_t count = near_of(g, tree, ratio, g->node_tri[q], list);
      for (int32_t i = 0; i < count; i++)
        for (int k = 0; k < 3; k++) {
          int32_t b = g->corner_node[3 * list[i] + k];
          if (mark[b] != a) mark[b] = a, found[n++] = b;
        }
    }
    if (columns) {
      qsort(found, n, sizeof(int32_t), compare_int);
      memcpy(columns + ptr[a - first], found, sizeof(int32_t) * n);
    } else {
      ptr[a - first + 1] = n;
    }
  }
  free(mark), free(list), free(found);
  return 0;
}

enum { OX, OY, OZ, AX, AY, AZ, BX, BY, BZ, NX, NY, NZ, LENGTH0, LENGTH1, LENGTH2, VX, VY,
       T1X, T1Y, T2X, T2Y, MID, FIELDS = MID + 9 };

// Frame of a triangle: origin and first axis along its first edge, normal, the third corner
// (VX, VY) in that frame, tangents of the edges, midpoints of the edges.
static void frame_of(const double *v, double *f, int64_t stride) {
  double a[3], b[3], n[3], e[3];
  for (int c = 0; c < 3; c++) a[c] = v[3 + c] - v[c], b[c] = v[6 + c] - v[c];
  double length = sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
  n[0] = a[1] * b[2] - a[2] * b[1], n[1] = a[2] * b[0] - a[0] * b[2];
  n[2] = a[0] * b[1] - a[1] * b[0];
  double twice = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
  for (int c = 0; c < 3; c++) a[c] /= length, n[c] /= twice;
  e[0] = n[1] * a[2] - n[2] * a[1], e[1] = n[2] * a[0] - n[0] * a[2];
  e[2] = n[0] * a[1] - n[1] * a[0];
  double vx = a[0] * b[0] + a[1] * b[1] + a[2] * b[2], vy = e[0] * b[0] + e[1] * b[1] + e[2] * b[2];
  double l1 = sqrt((vx - length) * (vx - length) + vy * vy), l2 = sqrt(vx * vx + vy * vy);
  for (int c = 0; c < 3; c++) {
    f[(OX + c) * stride] = v[c], f[(AX + c) * stride] = a[c], f[(BX + c) * stride] = e[c];
    f[(NX + c) * stride] = n[c];
    f[(MID + c) * stride] = 0.5 * (v[c] + v[3 + c]);
    f[(MID + 3 + c) * stride] = 0.5 * (v[3 + c] + v[6 + c]);
    f[(MID + 6 + c) * stride] = 0.5 * (v[6 + c] + v[c]);
  }
  f[LENGTH0 * stride] = length, f[LENGTH1 * stride] = l1, f[LENGTH2 * stride] = l2;
  f[VX * stride] = vx, f[VY * stride] = vy;
  f[T1X * stride] = (vx - length) / l1, f[T1Y * stride] = vy / l1;
  f[T2X * stride] = -vx / l2, f[T2Y * stride] = -vy / l2;
}

// What the integrals over one triangle share, for a point at (u, v, w) in its frame: P_j, J_j, the
// solid angle times sign(w), the distances p_j and the integral of 1/r.
typedef struct {
  double r0, r1, r2, p0, p1, p2, P0, P1, P2, J0, J1, J2, angle, inverse;
} potential;

static inline __attribute__((always_inline)) potential potential_of(
    double u, double v, double w, double length, double l1, double l2, double vx, double vy,
    double t1x, double t1y, double t2x, double t2y) {
  potential o;
  double ww = w * w, u1 = length - u, u2 = vx - u, v2 = vy - v;
  double s0 = u * u + v * v + ww, s1 = u1 * u1 + v * v + ww, s2 = u2 * u2 + v2 * v2 + ww;
  double r0 = sqrt(s0), r1 = sqrt(s1), r2 = sqrt(s2);
  double h = fabs(w);
  // The floor keeps points that lie on an edge finite; they meet a factor p = d = 0.
  o.P0 = log((r0 + r1 + length) / fmax(r0 + r1 - length, 1e-15 * length));
  o.P1 = log((r1 + r2 + l1) / fmax(r1 + r2 - l1, 1e-15 * l1));
  o.P2 = log((r2 + r0 + l2) / fmax(r2 + r0 - l2, 1e-15 * l2));
  o.p0 = v, o.p1 = t1y * u1 + t1x * v, o.p2 = t2y * u2 - t2x * v2;
  double a01 = -u * u1 + v * v + ww, a12 = u1 * u2 - v * v2 + ww, a20 = -u * u2 - v * v2 + ww;
  double den = r0 * r1 * r2 + a01 * r2 + a12 * r0 + a20 * r1;
  o.angle = 2.0 * atan2(length * vy * h, den);
  o.inverse = o.p0 * o.P0 + o.p1 * o.P1 + o.p2 * o.P2 - h * o.angle;
  // J_j = int over edge j of r: positions along the edge from the foot of the point
  double b0 = u1, a0 = -u, b1 = t1x * u2 + t1y * v2, a1 = t1x * u1 - t1y * v;
  double b2 = -t2x * u - t2y * v, a2 = t2x * u2 + t2y * v2;
  o.J0 = 0.5 * (b0 * r1 - a0 * r0 + (o.p0 * o.p0 + ww) * o.P0);
  o.J1 = 0.5 * (b1 * r2 - a1 * r1 + (o.p1 * o.p1 + ww) * o.P1);
  o.J2 = 0.5 * (b2 * r0 - a2 * r2 + (o.p2 * o.p2 + ww) * o.P2);
  o.r0 = r0, o.r1 = r1, o.r2 = r2;
  return o;
}

// out[3 i + k][t] = correction of int int psi_i psi_k / r over the pair (s, t), t in a chunk.
static void near_chunk(const double *restrict vs, const double *restrict fs,
                       const double (*restrict f)[CHUNK], int n, int32_t points,
                       const double *rules, double (*restrict out)[CHUNK]) {
  double area = 0.5 * fs[LENGTH0] * fs[VY];
  memset(out, 0, sizeof(double) * 9 * CHUNK);
  for (int32_t q = 0; q < points; q++) {
    const double *rule = rules + 4 * q;
    double x = 0, y = 0, z = 0;
    for (int k = 0; k < 3; k++)
      x += rule[k] * vs[3 * k], y += rule[k] * vs[3 * k + 1], z += rule[k] * vs[3 * k + 2];
    double w0 = area * rule[3] * rule[0], w1 = area * rule[3] * rule[1];
    double w2 = area * rule[3] * rule[2];
    for (int t = 0; t < n; t++) {
      double dx = x - f[OX][t], dy = y - f[OY][t], dz = z - f[OZ][t];
      double u = dx * f[AX][t] + dy * f[AY][t] + dz * f[AZ][t];
      double v = dx * f[BX][t] + dy * f[BY][t] + dz * f[BZ][t];
      double w = dx * f[NX][t] + dy * f[NY][t] + dz * f[NZ][t];
      double length = f[LENGTH0][t], l1 = f[LENGTH1][t], l2 = f[LENGTH2][t], vy = f[VY][t];
      double t1x = f[T1X][t], t1y = f[T1Y][t], t2x = f[T2X][t], t2y = f[T2Y][t];
      potential o = potential_of(u, v, w, length, l1, l2, f[VX][t], vy, t1x, t1y, t2x, t2y);
      double scale = 1.0 / (length * vy), t12 = t1x * t2x + t1y * t2y;
      double R0 = scale * l1 * (o.p1 * o.inverse - t1x * o.J0 - o.J1 - t12 * o.J2);
      double R1 = scale * l2 * (o.p2 * o.inverse - t2x * o.J0 - t12 * o.J1 - o.J2);
      double R2 = scale * length * (o.p0 * o.inverse - o.J0 - t1x * o.J1 - t2x * o.J2);
      out[0][t] += w0 * R0, out[1][t] += w0 * R1, out[2][t] += w0 * R2;
      out[3][t] += w1 * R0, out[4][t] += w1 * R1, out[5][t] += w1 * R2;
      out[6][t] += w2 * R0, out[7][t] += w2 * R1, out[8][t] += w2 * R2;
    }
  }
  for (int t = 0; t < n; t++) {
    double k[3][3];
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) {
        double dx = fs[MID + 3 * i] - f[MID + 3 * j][t];
        double dy = fs[MID + 3 * i + 1] - f[MID + 3 * j + 1][t];
        double dz = fs[MID + 3 * i + 2] - f[MID + 3 * j + 2][t];
        double rr = dx * dx + dy * dy + dz * dz;
        k[i][j] = rr > 0.0 ? 1.0 / sqrt(rr) : 0.0;
      }
    // Corner i touches the midpoints of the edges i and i - 1.
    double weight = area * 0.5 * f[LENGTH0][t] * f[VY][t] / 36.0;
    for (int i = 0; i < 3; i++) {
      int h = (i + 2) % 3;
      for (int j = 0; j < 3; j++) {
        int l = (j + 2) % 3;
        out[3 * i + j][t] -= weight * (k[i][j] + k[h][j] + k[i][l] + k[h][l]);
      }
    }
  }
}

// Moves the triangles that touch s (or nearly so) to the front of a list; returns their number.
static int32_t touching_first(const surface *g, int32_t s, int32_t count, int32_t *list,
                              int32_t *spare) {
  int32_t touching = 0, apart = 0;
  const double *c = g->centre + 3 * s;
  for (int32_t i = 0; i < count; i++) {
    const double *d = g->centre + 3 * list[i];
    double u = d[0] - c[0], v = d[1] - c[1], w = d[2] - c[2];
    double reach = 1.03 * (g->size[s] + g->size[list[i]]);
    if (u * u + v * v + w * w < reach * reach) list[touching++] = list[i];
    else spare[apart++] = list[i];
  }
  memcpy(list + touching, spare, sizeof(int32_t) * apart);
  return touching;
}

// Corrections (without 1/(4 pi)) of the rows [first, last) of a pattern. Outer rules (points, 4):
// barycentric coordinates and weights, a fine one for pairs that touch.
int llg_near_values(const surface *g, const ball_tree *tree, double ratio, int32_t first,
                    int32_t last, const int64_t *ptr, const int32_t *columns, int32_t points,
                    const double *rule, int32_t fine_points, const double *fine, double *values) {
  int32_t *place = malloc(sizeof(int32_t) * g->nodes);
  int32_t *list = malloc(sizeof(int32_t) * g->triangles);
  int32_t *spare = malloc(sizeof(int32_t) * g->triangles);
  char *done = calloc(g->triangles, 1);
  double *pairs = malloc(sizeof(double) * 9 * g->triangles);
  double(*f)[CHUNK] = malloc(sizeof(double) * FIELDS * CHUNK);
  double(*part)[CHUNK] = malloc(sizeof(double) * 9 * CHUNK);
  int failed = !place || !list || !spare || !done || !pairs || !f || !part;
  if (!failed) memset(values, 0, sizeof(double) * ptr[last - first]);
  for (int32_t a = first; a < last && !failed; a++)
    for (int32_t q = g->tri_ptr[a]; q < g->tri_ptr[a + 1]; q++) {
      int32_t s = g->node_tri[q];
      if (done[s]) continue;
      done[s] = 1;
      double fs[FIELDS];
      frame_of(g->corners + 9 * (int64_t)s, fs, 1);
      int32_t count = near_of(g, tree, ratio, s, list);
      int32_t touching = touching_first(g, s, count, list, spare);
      for (int32_t start = 0, end; start < count; start = end) {
        int close = start < touching;
        end = start + CHUNK < (close ? touching : count) ? start + CHUNK : (close ? touching : count);
        int n = end - start;
        // The rest of the chunk repeats its last triangle: full vectors, one code path, equal bits.
        for (int t = 0; t < CHUNK; t++)
          frame_of(g->corners + 9 * (int64_t)list[start + (t < n ? t : n - 1)], &f[0][t], CHUNK);
        near_chunk(g->corners + 9 * (int64_t)s, fs, (const double(*)[CHUNK])f, (n + 7) & ~7,
                   close ? fine_points : points, close ? fine : rule, part);
        for (int k = 0; k < 9; k++)
          memcpy(pairs + (int64_t)k * g->triangles + start, part[k], sizeof(double) * n);
      }
      for (int i = 0; i < 3; i++) {
        int32_t row = g->corner_node[3 * s + i];
        if (row < first || row >= last) continue;
        double *out = values + ptr[row - first];
        for (int64_t k = ptr[row - first]; k < ptr[row - first + 1]; k++)
          place[columns[k]] = (int32_t)(k - ptr[row - first]);
        for (int j = 0; j < 3; j++) {
          const double *pair = pairs + (int64_t)(3 * i + j) * g->triangles;
          for (int32_t t = 0; t < count; t++)
            out[place[g->corner_node[3 * list[t] + j]]] += pair[t];
        }
      }
    }
  free(place), free(list), free(spare), free(done), free(pairs), free(f), free(part);
  return failed;
}

// ---- entries ------------------------------------------------------------------------------------

typedef struct {         // the points of a range of nodes, side by side
  int32_t first, last, count;
  double *x, *y, *z, *sum;
  int32_t *local;        // place among them of each point of each node
} side;

static void gather(const surface *g, int32_t first, int32_t last, side *o, int32_t *mark) {
  o->first = first, o->last = last, o->count = 0;
  int32_t base = g->node_ptr[first], end = g->node_ptr[last];
  for (int32_t k = base; k < end; k++) {
    int32_t e = g->node_point[k];
    if (mark[e] < 0) {
      o->x[o->count] = g->x[e], o->y[o->count] = g->y[e], o->z[o->count] = g->z[e];
      mark[e] = o->count++;
    }
    o->local[k - base] = mark[e];
  }
  for (int32_t k = base; k < end; k++) mark[g->node_point[k]] = -1;
  for (int32_t pad = o->count; pad & 7; pad++) // full vectors: equal bits whatever the alignment
    o->x[pad] = o->y[pad] = o->z[pad] = 0.0;
}

// out[b] = V_ab for all nodes b of a side; mixed: 1/r in single precision (to 1e-7).
static inline __attribute__((always_inline)) void row_of(const surface *g, int32_t a, const side *o,
                                                         int mixed, double *restrict out) {
  const double *restrict X = o->x, *restrict Y = o->y, *restrict Z = o->z;
  double *restrict sum = o->sum;
  int32_t n = (o->count + 7) & ~7;
  memset(sum, 0, sizeof(double) * n);
  for (int32_t k = g->node_ptr[a]; k < g->node_ptr[a + 1]; k++) {
    int32_t e = g->node_point[k];
    double x = g->x[e], y = g->y[e], z = g->z[e], weight = QUARTER_PI * g->node_weight[k];
    if (mixed) {
      float w = (float)weight;
      for (int32_t f = 0; f < n; f++) {
        double dx = X[f] - x, dy = Y[f] - y, dz = Z[f] - z;
        float rr = (float)(dx * dx + dy * dy + dz * dz);
        float value = w / sqrtf(rr > 0.0f ? rr : 1.0f);
        sum[f] += rr > 0.0f ? value : 0.0f;
      }
    } else {
      for (int32_t f = 0; f < n; f++) {
        double dx = X[f] - x, dy = Y[f] - y, dz = Z[f] - z;
        double rr = dx * dx + dy * dy + dz * dz;
        double value = weight / sqrt(rr > 0.0 ? rr : 1.0);
        sum[f] += rr > 0.0 ? value : 0.0;
      }
    }
  }
  const int32_t *local = o->local;
  int32_t base = g->node_ptr[o->first];
  for (int32_t b = o->first; b < o->last; b++) {
    double value = 0.0;
    for (int32_t k = g->node_ptr[b]; k < g->node_ptr[b + 1]; k++)
      value += g->node_weight[k] * sum[local[k - base]];
    out[b - o->first] = value;
  }
  int64_t low = g->near_ptr[a], high = g->near_ptr[a + 1];
  while (low < high) { // first column of the range
    int64_t middle = (low + high) / 2;
    if (g->near_node[middle] < o->first) low = middle + 1;
    else high = middle;
  }
  for (; low < g->near_ptr[a + 1] && g->near_node[low] < o->last; low++)
    out[g->near_node[low] - o->first] += QUARTER_PI * g->near_value[low];
}

static void row(const surface *g, int32_t a, const side *o, int mixed, double *out) {
  if (mixed) row_of(g, a, o, 1, out);
  else row_of(g, a, o, 0, out);
}

static int side_new(const surface *g, int32_t longest, int32_t entries, side *o) {
  (void)longest;
  int64_t n = (entries < g->points ? entries : g->points) + 8;
  o->x = malloc(sizeof(double) * n), o->y = malloc(sizeof(double) * n);
  o->z = malloc(sizeof(double) * n), o->sum = malloc(sizeof(double) * n);
  o->local = malloc(sizeof(int32_t) * (entries + 1));
  return !o->x || !o->y || !o->z || !o->sum || !o->local;
}

static void side_free(side *o) { free(o->x), free(o->y), free(o->z), free(o->sum), free(o->local); }

// Whole rows, for checks: out (n, nodes).
int llg_rows(const surface *g, int32_t n, const int32_t *rows, double *out) {
  side all;
  int32_t *mark = malloc(sizeof(int32_t) * g->points);
  int failed = side_new(g, g->nodes, g->node_ptr[g->nodes], &all) || !mark;
  if (!failed) {
    memset(mark, 0xff, sizeof(int32_t) * g->points);
    gather(g, 0, g->nodes, &all, mark);
    for (int32_t k = 0; k < n; k++) row(g, rows[k], &all, 0, out + (int64_t)k * g->nodes);
  }
  side_free(&all), free(mark);
  return failed;
}

// ---- blocks -------------------------------------------------------------------------------------

static double dot(const double *restrict a, const double *restrict b, int32_t n) {
  double sum = 0.0;
  for (int32_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void subtract(double *restrict a, double factor, const double *restrict b, int32_t n) {
  for (int32_t i = 0; i < n; i++) a[i] -= factor * b[i];
}

// Adaptive cross approximation with partial pivoting, U (k, m) and W (k, n); the rank, or -1 if
// it would not be shorter than the block itself. A small cross may be chance: the block is believed
// only when TRIALS rows elsewhere are covered too (films fail without, at 1e-3).
static int32_t cross(const surface *g, const side *I, const side *J, double eps, int mixed,
                     double *U, double *W, char *used) {
  int32_t m = I->last - I->first, n = J->last - J->first;
  int32_t limit = (int32_t)((int64_t)m * n / (m + n));
  double norm = 0.0;
  int32_t pivot = m / 2, k = 0, left = m, covered = 0, checking = 0;
  uint32_t random = 12345;
  memset(used, 0, m);
  while (1) {
    if (k >= limit) return -1;
    double *u = U + (int64_t)k * m, *w = W + (int64_t)k * n;
    used[pivot] = 1, left--;
    row(g, I->first + pivot, J, mixed, w);
    for (int32_t l = 0; l < k; l++) subtract(w, U[(int64_t)l * m + pivot], W + (int64_t)l * n, n);
    int small = dot(w, w, n) * m <= eps * eps * norm;
    if (small && (checking || norm == 0.0)) {
      if (++covered == TRIALS || !left) return k;
    } else {
      int32_t column = 0;
      for (int32_t j = 1; j < n; j++)
        if (fabs(w[j]) > fabs(w[column])) column = j;
      double inverse = 1.0 / w[column];
      for (int32_t j = 0; j < n; j++) w[j] *= inverse;
      row(g, J->first + column, I, mixed, u);
      for (int32_t l = 0; l < k; l++) subtract(u, W[(int64_t)l * n + column], U + (int64_t)l * m, m);
      double uu = dot(u, u, m), ww = dot(w, w, n), both = 0.0;
      for (int32_t l = 0; l < k; l++)
        both += dot(u, U + (int64_t)l * m, m) * dot(w, W + (int64_t)l * n, n);
      norm += 2.0 * both + uu * ww;
      k++, covered = 0;
      checking = uu * ww <= eps * eps * norm;
      if (!left) return k;
    }
    if (checking || norm == 0.0) {
      random = 1664525u * random + 1013904223u;
      pivot = (int32_t)((random >> 8) % (uint32_t)m);
      while (used[pivot]) pivot = pivot + 1 < m ? pivot + 1 : 0;
    } else {
      const double *last = U + (int64_t)(k - 1) * m;
      pivot = -1;
      for (int32_t i = 0; i < m; i++)
        if (!used[i] && (pivot < 0 || fabs(last[i]) > fabs(last[pivot]))) pivot = i;
    }
  }
}

// Orthonormalises the k rows of A (k, n) by Gram-Schmidt done twice; R (k, k) with A = R^T Q.
static void orthonormal(double *A, int32_t k, int32_t n, double *R) {
  memset(R, 0, sizeof(double) * k * k);
  for (int32_t j = 0; j < k; j++) {
    double *a = A + (int64_t)j * n;
    for (int pass = 0; pass < 2; pass++)
      for (int32_t i = 0; i < j; i++) {
        double s = dot(A + (int64_t)i * n, a, n);
        subtract(a, s, A + (int64_t)i * n, n);
        R[i * k + j] += s;
      }
    double length = sqrt(dot(a, a, n));
    R[j * k + j] = length;
    double scale = length > 0.0 ? 1.0 / length : 0.0;
    for (int32_t i = 0; i < n; i++) a[i] *= scale;
  }
}

// U^T W of rank k becomes one of the least rank within eps in the Frobenius norm: orthogonal
// factors, then one-sided Jacobi rotations of their core C. work: 4 k^2 + k max(m, n) numbers.
static int32_t compress(double *U, double *W, int32_t k, int32_t m, int32_t n, double eps,
                        double *work) {
  if (k < 2) return k;
  double *R = work, *S = R + k * k, *C = S + k * k, *Y = C + k * k, *rows = Y + k * k;
  orthonormal(U, k, m, R);
  orthonormal(W, k, n, S);
  // Row j of C^T: C = R S^T, kept transposed so that rotations act on rows.
  for (int32_t j = 0; j < k; j++)
    for (int32_t i = 0; i < k; i++) C[j * k + i] = dot(R + i * k, S + j * k, k);
  for (int32_t i = 0; i < k * k; i++) Y[i] = i % (k + 1) == 0;
  double total = dot(C, C, k * k);
  for (int sweep = 0, turned = 1; turned && sweep < 30; sweep++) {
    turned = 0;
    for (int32_t p = 0; p < k; p++)
      for (int32_t q = p + 1; q < k; q++) {
        double *a = C + p * k, *b = C + q * k;
        double aa = dot(a, a, k), bb = dot(b, b, k), ab = dot(a, b, k);
        // Rows as small as what is cut need not be orthogonal.
        if (fabs(ab) <= 1e-9 * sqrt(aa * bb) || aa * bb <= 1e-8 * eps * eps * eps * eps * total * total)
          continue;
        turned = 1;
        double z = (bb - aa) / (2 * ab), t = (z >= 0 ? 1.0 : -1.0) / (fabs(z) + sqrt(1 + z * z));
        double c = 1 / sqrt(1 + t * t), s = c * t;
        for (int32_t i = 0; i < k; i++) {
          double u = a[i], v = b[i], x = Y[p * k + i], y = Y[q * k + i];
          a[i] = c * u - s * v, b[i] = s * u + c * v;
          Y[p * k + i] = c * x - s * y, Y[q * k + i] = s * x + c * y;
        }
      }
  }
  double *size = R; // squared singular values; largest first
  for (int32_t p = 0; p < k; p++) size[p] = dot(C + p * k, C + p * k, k);
  for (int32_t p = 0; p < k; p++) {
    int32_t best = p;
    for (int32_t q = p + 1; q < k; q++)
      if (size[q] > size[best]) best = q;
    if (best == p) continue;
    double swap = size[p];
    size[p] = size[best], size[best] = swap;
    for (int32_t i = 0; i < k; i++) {
      swap = C[p * k + i], C[p * k + i] = C[best * k + i], C[best * k + i] = swap;
      swap = Y[p * k + i], Y[p * k + i] = Y[best * k + i], Y[best * k + i] = swap;
    }
  }
  int32_t r = k;
  for (double tail = 0.0; r > 1 && tail + size[r - 1] <= eps * eps * total; r--) tail += size[r - 1];
  for (int side = 0; side < 2; side++) {
    double *A = side ? W : U, *B = side ? Y : C;
    int32_t length = side ? n : m;
    memset(rows, 0, sizeof(double) * r * length);
    for (int32_t p = 0; p < r; p++)
      for (int32_t q = 0; q < k; q++)
        subtract(rows + (int64_t)p * length, -B[p * k + q], A + (int64_t)q * length, length);
    memcpy(A, rows, sizeof(double) * r * length);
  }
  return r;
}

static inline void put(void *out, int single, int64_t i, double value) {
  if (single) ((float *)out)[i] = (float)value;
  else ((double *)out)[i] = value;
}

// Blocks (first row, last row, first column, last column, far?) into one array. rank[b] becomes
// the rank or -1 (dense); length[b] the entries written. Full diagonal blocks, upper ones else.
// Returns 1 out of memory, 2 if out is too short.
int llg_build(const surface *g, int32_t blocks, const int32_t *block, double eps, int mixed,
              int single, void *out, int64_t capacity, int64_t *length, int32_t *rank) {
  int32_t longest = 1, entries = 1;
  int64_t used_entries = 0, area = 1, span = 1, most = 1;
  for (int32_t b = 0; b < blocks; b++)
    for (int k = 0; k < 2; k++) {
      int32_t first = block[5 * b + 2 * k], last = block[5 * b + 2 * k + 1];
      int32_t n = last - first, e = g->node_ptr[last] - g->node_ptr[first];
      if (n > longest) longest = n;
      if (e > entries) entries = e;
    }
  for (int32_t b = 0; b < blocks; b++) {
    const int32_t *c = block + 5 * b;
    int64_t m = c[1] - c[0], n = c[3] - c[2];
    int64_t need = (m * n / (m + n) + 1);
    if (c[4] && need > most) most = need;
    if (c[4] && need * m > area) area = need * m;
    if (c[4] && need * n > span) span = need * n;
  }
  side I, J;
  int32_t *mark = malloc(sizeof(int32_t) * g->points);
  double *line = malloc(sizeof(double) * longest);
  double *U = malloc(sizeof(double) * area), *W = malloc(sizeof(double) * span);
  char *used = malloc(longest);
  double *work = malloc(sizeof(double) * (4 * most * most + (area > span ? area : span)));
  int bad_i = side_new(g, longest, entries, &I), bad_j = side_new(g, longest, entries, &J);
  int failed = bad_i || bad_j || !mark || !line || !U || !W || !used || !work;
  if (!failed) memset(mark, 0xff, sizeof(int32_t) * g->points);
  for (int32_t b = 0; b < blocks && !failed; b++) {
    const int32_t *c = block + 5 * b;
    int32_t m = c[1] - c[0], n = c[3] - c[2];
    gather(g, c[2], c[3], &J, mark);
    rank[b] = -1;
    if (c[4]) {
      gather(g, c[0], c[1], &I, mark);
      rank[b] = cross(g, &I, &J, CROSS * eps, mixed, U, W, used);
      if (rank[b] > 0) rank[b] = compress(U, W, rank[b], m, n, eps, work);
    }
    length[b] = rank[b] < 0 ? (int64_t)m * n : (int64_t)rank[b] * (m + n);
    if (used_entries + length[b] > capacity) {
      failed = 2;
      break;
    }
    if (rank[b] < 0) {
      int diagonal = c[0] == c[2];
      for (int32_t i = 0; i < m; i++) {
        row(g, c[0] + i, &J, mixed, line);
        int64_t at = used_entries + (int64_t)i * n;
        for (int32_t j = diagonal ? i : 0; j < n; j++) {
          put(out, single, at + j, line[j]);
          if (diagonal) put(out, single, used_entries + (int64_t)j * n + i, line[j]);
        }
      }
    } else {
      int64_t at = used_entries;
      for (int64_t k = 0; k < (int64_t)rank[b] * m; k++) put(out, single, at++, U[k]);
      for (int64_t k = 0; k < (int64_t)rank[b] * n; k++) put(out, single, at++, W[k]);
    }
    used_entries += length[b];
  }
  side_free(&I), side_free(&J), free(mark), free(line), free(U), free(W), free(used);
  free(work);
  return failed;
}

// ---- products -----------------------------------------------------------------------------------

#define INLINE static inline __attribute__((always_inline))

INLINE double get(const void *data, int single, int64_t i) {
  return single ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

// y_I += A x_J, y_J += A^T x_I in one pass over A.
INLINE void dense_both(const void *restrict data, int single, int64_t at, int32_t m, int32_t n,
                       const double *restrict xi, const double *restrict xj, double *restrict yi,
                       double *restrict yj) {
  for (int32_t i = 0; i < m; i++, at += n) {
    double sum = 0.0, x = xi[i];
    for (int32_t j = 0; j < n; j++) {
      double a = get(data, single, at + j);
      sum += a * xj[j];
      yj[j] += a * x;
    }
    yi[i] += sum;
  }
}

INLINE void product(const void *restrict data, int single, int32_t blocks, const int32_t *block,
                    const int32_t *rank, const double *restrict x, double *restrict y) {
  int64_t at = 0;
  for (int32_t b = 0; b < blocks; b++) {
    const int32_t *c = block + 5 * b;
    int32_t m = c[1] - c[0], n = c[3] - c[2];
    const double *xi = x + c[0], *xj = x + c[2];
    double *restrict yi = y + c[0], *restrict yj = y + c[2];
    if (rank[b] >= 0) {
      int64_t end = at + (int64_t)rank[b] * m;
      for (int32_t k = 0; k < rank[b]; k++) {
        double s = 0.0, t = 0.0;
        int64_t u = at + (int64_t)k * m, w = end + (int64_t)k * n;
        for (int32_t i = 0; i < m; i++) s += get(data, single, u + i) * xi[i];
        for (int32_t j = 0; j < n; j++) t += get(data, single, w + j) * xj[j];
        for (int32_t i = 0; i < m; i++) yi[i] += t * get(data, single, u + i);
        for (int32_t j = 0; j < n; j++) yj[j] += s * get(data, single, w + j);
      }
      at = end + (int64_t)rank[b] * n;
    } else if (c[0] == c[2]) {
      for (int32_t i = 0; i < m; i++, at += n) {
        double sum = 0.0;
        for (int32_t j = 0; j < n; j++) sum += get(data, single, at + j) * xj[j];
        yi[i] += sum;
      }
    } else {
      dense_both(data, single, at, m, n, xi, xj, yi, yj);
      at += (int64_t)m * n;
    }
  }
}

// Several right sides, x and y (nodes, width).
INLINE void products(const void *restrict data, int single, int32_t blocks, const int32_t *block,
                     const int32_t *rank, int32_t width, const double *restrict x,
                     double *restrict y, double *restrict s, double *restrict t) {
  int64_t at = 0;
  for (int32_t b = 0; b < blocks; b++) {
    const int32_t *c = block + 5 * b;
    int32_t m = c[1] - c[0], n = c[3] - c[2];
    const double *xi = x + (int64_t)c[0] * width, *xj = x + (int64_t)c[2] * width;
    double *restrict yi = y + (int64_t)c[0] * width, *restrict yj = y + (int64_t)c[2] * width;
    if (rank[b] >= 0) {
      int64_t end = at + (int64_t)rank[b] * m;
      for (int32_t k = 0; k < rank[b]; k++) {
        int64_t u = at + (int64_t)k * m, w = end + (int64_t)k * n;
        for (int32_t q = 0; q < width; q++) s[q] = t[q] = 0.0;
        for (int32_t i = 0; i < m; i++) {
          double a = get(data, single, u + i);
          for (int32_t q = 0; q < width; q++) s[q] += a * xi[(int64_t)i * width + q];
        }
        for (int32_t j = 0; j < n; j++) {
          double a = get(data, single, w + j);
          for (int32_t q = 0; q < width; q++) t[q] += a * xj[(int64_t)j * width + q];
        }
        for (int32_t i = 0; i < m; i++) {
          double a = get(data, single, u + i);
          for (int32_t q = 0; q < width; q++) yi[(int64_t)i * width + q] += a * t[q];
        }
        for (int32_t j = 0; j < n; j++) {
          double a = get(data, single, w + j);
          for (int32_t q = 0; q < width; q++) yj[(int64_t)j * width + q] += a * s[q];
        }
      }
      at = end + (int64_t)rank[b] * n;
    } else {
      int diagonal = c[0] == c[2];
      for (int32_t i = 0; i < m; i++)
        for (int32_t j = 0; j < n; j++, at++) {
          double a = get(data, single, at);
          for (int32_t q = 0; q < width; q++)
            yi[(int64_t)i * width + q] += a * xj[(int64_t)j * width + q];
          if (!diagonal)
            for (int32_t q = 0; q < width; q++)
              yj[(int64_t)j * width + q] += a * xi[(int64_t)i * width + q];
        }
    }
  }
}

int llg_apply(const void *data, int single, int32_t blocks, const int32_t *block,
              const int32_t *rank, int32_t width, const double *x, double *y) {
  if (width == 1) {
    if (single) product(data, 1, blocks, block, rank, x, y);
    else product(data, 0, blocks, block, rank, x, y);
    return 0;
  }
  double *s = malloc(sizeof(double) * width), *t = malloc(sizeof(double) * width);
  int failed = !s || !t;
  if (!failed) {
    if (single) products(data, 1, blocks, block, rank, width, x, y, s, t);
    else products(data, 0, blocks, block, rank, width, x, y, s, t);
  }
  free(s), free(t);
  return failed;
}

// ---- potential and field at points --------------------------------------------------------------

// out (points, 4) += 1/(4 pi) int sigma/r and its gradient in x, by the analytic integrals over the
// triangles [first, last); sigma (triangles, 3) at the corners.
int llg_field(int32_t points, const double *at, int32_t first, int32_t last, const double *corners,
              const double *sigma, double *out) {
  double(*f)[CHUNK] = malloc(sizeof(double) * FIELDS * CHUNK);
  if (!f) return 1;
  for (int32_t start = first; start < last; start += CHUNK) {
    int n = last - start < CHUNK ? last - start : CHUNK;
    double q[3][CHUNK];
    for (int t = 0; t < n; t++) {
      frame_of(corners + 9 * (int64_t)(start + t), &f[0][t], CHUNK);
      for (int k = 0; k < 3; k++) q[k][t] = sigma[3 * (int64_t)(start + t) + k];
    }
    for (int32_t p = 0; p < points; p++) {
      double x = at[3 * p], y = at[3 * p + 1], z = at[3 * p + 2];
      double phi = 0, hx = 0, hy = 0, hz = 0;
      for (int t = 0; t < n; t++) {
        double dx = x - f[OX][t], dy = y - f[OY][t], dz = z - f[OZ][t];
        double u = dx * f[AX][t] + dy * f[AY][t] + dz * f[AZ][t];
        double v = dx * f[BX][t] + dy * f[BY][t] + dz * f[BZ][t];
        double w = dx * f[NX][t] + dy * f[NY][t] + dz * f[NZ][t];
        double length = f[LENGTH0][t], l1 = f[LENGTH1][t], l2 = f[LENGTH2][t];
        double vx = f[VX][t], vy = f[VY][t];
        double t1x = f[T1X][t], t1y = f[T1Y][t], t2x = f[T2X][t], t2y = f[T2Y][t];
        potential o = potential_of(u, v, w, length, l1, l2, vx, vy, t1x, t1y, t2x, t2y);
        // sigma = c + gu u + gv v in the frame
        double gu = (q[1][t] - q[0][t]) / length;
        double gv = (q[2][t] - q[0][t] - gu * vx) / vy;
        double here = q[0][t] + gu * u + gv * v;
        // outward normals of the edges: (0, -1), (t1y, -t1x), (t2y, -t2x)
        double g0 = -gv, g1 = gu * t1y - gv * t1x, g2 = gu * t2y - gv * t2x;
        phi += here * o.inverse + g0 * o.J0 + g1 * o.J1 + g2 * o.J2;
        // int over edge j of sigma/r = sigma(foot) P_j + slope (r_end - r_start)
        double c0 = (here + o.p0 * g0) * o.P0 + gu * (o.r1 - o.r0);
        double c1 = (here + o.p1 * g1) * o.P1 + (gu * t1x + gv * t1y) * (o.r2 - o.r1);
        double c2 = (here + o.p2 * g2) * o.P2 + (gu * t2x + gv * t2y) * (o.r0 - o.r2);
        double along_u = gu * o.inverse - t1y * c1 - t2y * c2;
        double along_v = gv * o.inverse + c0 + t1x * c1 + t2x * c2;
        double angle = w > 0.0 ? -o.angle : o.angle;
        double along_w = here * angle + w * (g0 * o.P0 + g1 * o.P1 + g2 * o.P2);
        hx += along_u * f[AX][t] + along_v * f[BX][t] + along_w * f[NX][t];
        hy += along_u * f[AY][t] + along_v * f[BY][t] + along_w * f[NY][t];
        hz += along_u * f[AZ][t] + along_v * f[BZ][t] + along_w * f[NZ][t];
      }
      out[4 * p] += QUARTER_PI * phi, out[4 * p + 1] += QUARTER_PI * hx;
      out[4 * p + 2] += QUARTER_PI * hy, out[4 * p + 3] += QUARTER_PI * hz;
    }
  }
  free(f);
  return 0;
}
