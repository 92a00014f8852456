// SPDX-License-Identifier: LGPL-3.0-or-later
// Blocks of the H-matrix: cross approximation, compression, dense blocks.

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
