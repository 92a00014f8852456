// SPDX-License-Identifier: LGPL-3.0-or-later
// Products with one vector and with several.

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
