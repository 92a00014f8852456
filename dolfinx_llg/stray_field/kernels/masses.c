// SPDX-License-Identifier: LGPL-3.0-or-later
// Solves with the factors of a sparse matrix, A = L D L^T.

// x (n, width) becomes A^-1 x; L by columns, without its unit diagonal.
void llg_mass_solve(int32_t n, const int32_t *ptr, const int32_t *row, const double *value,
                    const double *inverse, int32_t width, double *restrict x) {
  if (width == 1) {
    for (int32_t j = 0; j < n; j++) {
      double v = x[j];
      for (int32_t k = ptr[j]; k < ptr[j + 1]; k++) x[row[k]] -= value[k] * v;
    }
    for (int32_t j = n - 1; j >= 0; j--) {
      double sum = x[j] * inverse[j];
      for (int32_t k = ptr[j]; k < ptr[j + 1]; k++) sum -= value[k] * x[row[k]];
      x[j] = sum;
    }
    return;
  }
  for (int32_t j = 0; j < n; j++) {
    const double *v = x + (int64_t)j * width;
    for (int32_t k = ptr[j]; k < ptr[j + 1]; k++) {
      double *y = x + (int64_t)row[k] * width, a = value[k];
      for (int32_t q = 0; q < width; q++) y[q] -= a * v[q];
    }
  }
  for (int32_t j = n - 1; j >= 0; j--) {
    double *v = x + (int64_t)j * width;
    for (int32_t q = 0; q < width; q++) v[q] *= inverse[j];
    for (int32_t k = ptr[j]; k < ptr[j + 1]; k++) {
      const double *y = x + (int64_t)row[k] * width;
      double a = value[k];
      for (int32_t q = 0; q < width; q++) v[q] -= a * y[q];
    }
  }
}
