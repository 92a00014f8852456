// SPDX-License-Identifier: LGPL-3.0-or-later
// Pairs of triangles that are near: which ones, and their corrections of the midpoint rule.

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
