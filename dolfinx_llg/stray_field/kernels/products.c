// SPDX-License-Identifier: LGPL-3.0-or-later
// Products with one vector and with several.

#define INLINE static inline __attribute__((always_inline))

INLINE double get(const void *data, int single, int64_t i) {
  return single ? (double)((const float *)data)[i] : ((const double *)data)[i];
}

// y_I += A x_J, y_J += A^T x_I in one pass over A, four rows at a time: x_J and y_J are loaded once
// for four.
INLINE void dense_both(const void *restrict data, int single, int64_t at, int32_t m, int32_t n,
                       const double *restrict xi, const double *restrict xj, double *restrict yi,
                       double *restrict yj) {
  int32_t i = 0;
  for (; i + 4 <= m; i += 4, at += 4 * (int64_t)n) {
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    double x0 = xi[i], x1 = xi[i + 1], x2 = xi[i + 2], x3 = xi[i + 3];
    for (int32_t j = 0; j < n; j++) {
      double a = get(data, single, at + j), b = get(data, single, at + n + j);
      double c = get(data, single, at + 2 * n + j), d = get(data, single, at + 3 * n + j);
      double x = xj[j];
      s0 += a * x, s1 += b * x, s2 += c * x, s3 += d * x;
      yj[j] += a * x0 + b * x1 + c * x2 + d * x3;
    }
    yi[i] += s0, yi[i + 1] += s1, yi[i + 2] += s2, yi[i + 3] += s3;
  }
  for (; i < m; i++, at += n) {
    double sum = 0.0, x = xi[i];
    for (int32_t j = 0; j < n; j++) {
      double a = get(data, single, at + j);
      sum += a * xj[j];
      yj[j] += a * x;
    }
    yi[i] += sum;
  }
}

// s_k = a_k . x for the first `rows` rows of four of length n.
INLINE void dots(const void *restrict data, int single, int64_t at, int32_t rows, int32_t n,
                 const double *restrict x, double *restrict s) {
  if (rows == 4) {
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (int32_t i = 0; i < n; i++) {
      double v = x[i];
      s0 += get(data, single, at + i) * v, s1 += get(data, single, at + n + i) * v;
      s2 += get(data, single, at + 2 * n + i) * v, s3 += get(data, single, at + 3 * n + i) * v;
    }
    s[0] = s0, s[1] = s1, s[2] = s2, s[3] = s3;
    return;
  }
  for (int32_t k = 0; k < rows; k++, at += n) {
    double sum = 0;
    for (int32_t i = 0; i < n; i++) sum += get(data, single, at + i) * x[i];
    s[k] = sum;
  }
}

// y += sum over k of t_k a_k.
INLINE void add(const void *restrict data, int single, int64_t at, int32_t rows, int32_t n,
                const double *restrict t, double *restrict y) {
  if (rows == 4) {
    double t0 = t[0], t1 = t[1], t2 = t[2], t3 = t[3];
    for (int32_t i = 0; i < n; i++)
      y[i] += t0 * get(data, single, at + i) + t1 * get(data, single, at + n + i) +
              t2 * get(data, single, at + 2 * n + i) + t3 * get(data, single, at + 3 * n + i);
    return;
  }
  for (int32_t k = 0; k < rows; k++, at += n)
    for (int32_t i = 0; i < n; i++) y[i] += t[k] * get(data, single, at + i);
}

INLINE void product(const void *restrict data, int single, int32_t blocks, const int32_t *block,
                    const int32_t *rank, const double *restrict x, double *restrict y) {
  int64_t at = 0;
  double s[4], t[4];
  for (int32_t b = 0; b < blocks; b++) {
    const int32_t *c = block + 5 * b;
    int32_t m = c[1] - c[0], n = c[3] - c[2];
    const double *xi = x + c[0], *xj = x + c[2];
    double *restrict yi = y + c[0], *restrict yj = y + c[2];
    if (rank[b] >= 0) {
      int64_t end = at + (int64_t)rank[b] * m;
      for (int32_t k = 0; k < rank[b]; k += 4) {
        int32_t rows = rank[b] - k < 4 ? rank[b] - k : 4;
        int64_t u = at + (int64_t)k * m, w = end + (int64_t)k * n;
        dots(data, single, u, rows, m, xi, s);
        dots(data, single, w, rows, n, xj, t);
        add(data, single, u, rows, m, t, yi);
        add(data, single, w, rows, n, s, yj);
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
