// SPDX-License-Identifier: LGPL-3.0-or-later
// Rows of entries: midpoints of edges, 1/r, sums, and the corrections.

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
