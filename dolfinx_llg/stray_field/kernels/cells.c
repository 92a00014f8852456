// SPDX-License-Identifier: LGPL-3.0-or-later
// Stiffness and gradient of P1 (Q1) on tetrahedra (hexahedra), rows of one rank.

typedef struct {
  int32_t cells, corners, nodes, first, rows; // rows of the nodes [first, first + rows)
  const int32_t *node;     // (cells, corners)
  const double *x, *Ms;    // corners of each cell (cells, corners, 3); of each cell
  int32_t points;
  const double *rule;      // weight, values and derivatives on the reference cell, of each point
} cell_mesh;

// Neighbours of the rows' nodes, themselves among them, rising; columns is long enough for each
// cell's. Returns 1 out of memory.
int llg_neighbours(const cell_mesh *g, int32_t *ptr, int32_t *columns) {
  int64_t n = (int64_t)g->cells * g->corners;
  int64_t *end = calloc((size_t)g->rows + 1, sizeof(int64_t));
  int32_t *list = malloc(sizeof(int32_t) * (n + 1)), *mark = malloc(sizeof(int32_t) * (g->nodes + 1));
  int failed = !end || !list || !mark;
  for (int64_t k = 0; k < n && !failed; k++) {
    int32_t row = g->node[k] - g->first;
    if (row >= 0 && row < g->rows) end[row]++;
  }
  if (!failed) {
    for (int64_t sum = 0, k = 0; k <= g->rows; k++) {
      int64_t here = end[k];
      end[k] = sum, sum += here;
    }
    for (int32_t c = 0; c < g->cells; c++)
      for (int32_t k = 0; k < g->corners; k++) {
        int32_t row = g->node[(int64_t)c * g->corners + k] - g->first;
        if (row >= 0 && row < g->rows) list[end[row]++] = c;
      }
    memset(mark, 0xff, sizeof(int32_t) * (g->nodes + 1));
    int64_t from = 0;
    ptr[0] = 0;
    for (int32_t row = 0; row < g->rows; row++) {
      int32_t *out = columns + ptr[row], count = 0;
      for (; from < end[row]; from++) {
        const int32_t *c = g->node + (int64_t)list[from] * g->corners;
        for (int32_t k = 0; k < g->corners; k++) {
          if (mark[c[k]] == row) continue;
          mark[c[k]] = row;
          int32_t at = count++;
          for (; at > 0 && out[at - 1] > c[k]; at--) out[at] = out[at - 1];
          out[at] = c[k];
        }
      }
      ptr[row + 1] = ptr[row] + count;
    }
  }
  free(end), free(list), free(mark);
  return failed;
}

// Of one cell: k = int grad phi_a . grad phi_b, d = int Ms phi_b grad phi_a, mass = int Ms phi_a.
// Returns the volume.
static inline __attribute__((always_inline)) double cell_matrices(
    int32_t corners, int32_t points, const double *rule, const double *x, double Ms,
    double (*restrict k)[8], double (*restrict d)[8][3], double *restrict mass) {
  double volume = 0.0;
  for (int32_t a = 0; a < corners; a++) {
    mass[a] = 0.0;
    for (int32_t b = 0; b < corners; b++) k[a][b] = d[a][b][0] = d[a][b][1] = d[a][b][2] = 0.0;
  }
  for (int32_t q = 0; q < points; q++) {
    const double *value = rule + q * (1 + 4 * corners) + 1, *slope = value + corners;
    double J[3][3] = {{0}}, C[3][3], grad[8][3];
    for (int32_t a = 0; a < corners; a++)
      for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) J[i][j] += x[3 * a + i] * slope[3 * a + j];
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) {
        int p = (i + 1) % 3, q = (i + 2) % 3, r = (j + 1) % 3, s = (j + 2) % 3;
        C[i][j] = J[p][r] * J[q][s] - J[p][s] * J[q][r];
      }
    double det = J[0][0] * C[0][0] + J[0][1] * C[0][1] + J[0][2] * C[0][2];
    double weight = value[-1] * fabs(det), inverse = 1.0 / det;
    volume += weight;
    for (int32_t a = 0; a < corners; a++) {
      mass[a] += Ms * weight * value[a];
      for (int i = 0; i < 3; i++)
        grad[a][i] = inverse * (C[i][0] * slope[3 * a] + C[i][1] * slope[3 * a + 1] +
                                C[i][2] * slope[3 * a + 2]);
    }
    for (int32_t a = 0; a < corners; a++)
      for (int32_t b = 0; b < corners; b++) {
        double w = Ms * weight * value[b];
        k[a][b] += weight * (grad[a][0] * grad[b][0] + grad[a][1] * grad[b][1] +
                             grad[a][2] * grad[b][2]);
        for (int i = 0; i < 3; i++) d[a][b][i] += w * grad[a][i];
      }
  }
  return volume;
}

static inline __attribute__((always_inline)) void add_cells(
    const cell_mesh *g, int32_t corners, int32_t points, int32_t own, const int32_t *ptr,
    const int32_t *columns, int swapped, double *K, double *G, double *mass, double *volume) {
  double k[8][8], d[8][8][3], m[8];
  for (int32_t c = 0; c < g->cells; c++) {
    const int32_t *node = g->node + (int64_t)c * corners;
    double here = cell_matrices(corners, points, g->rule, g->x + 3 * (int64_t)c * corners,
                                g->Ms[c], k, d, m);
    if (c < own) *volume += here;
    for (int32_t a = 0; a < corners; a++) {
      int32_t row = node[a] - g->first;
      if (row < 0 || row >= g->rows) continue;
      mass[row] += m[a];
      const int32_t *in = columns + ptr[row];
      int32_t length = ptr[row + 1] - ptr[row];
      for (int32_t b = 0; b < corners; b++) {
        int32_t at = 0;
        for (int32_t j = 0; j < length; j++) at += in[j] < node[b];
        int64_t place = (int64_t)ptr[row] + at;
        K[place] += k[a][b];
        for (int i = 0; i < 3; i++) G[3 * place + i] += swapped ? d[b][a][i] : d[a][b][i];
      }
    }
  }
}

// Adds to K (entries), G (entries, 3) and mass (rows); the volume of the first `own` cells.
// Row a, column b of G is int Ms phi_b grad phi_a, swapped: int Ms phi_a grad phi_b.
void llg_cell_matrices(const cell_mesh *g, int32_t own, const int32_t *ptr, const int32_t *columns,
                       int swapped, double *K, double *G, double *mass, double *volume) {
  if (g->corners == 4 && g->points == 1)
    add_cells(g, 4, 1, own, ptr, columns, swapped, K, G, mass, volume);
  else
    add_cells(g, g->corners, g->points, own, ptr, columns, swapped, K, G, mass, volume);
}
