// SPDX-License-Identifier: LGPL-3.0-or-later
// Products with a matrix of dense blocks: block b has p rows and q columns, with their numbers in
// rows[p b + i] and columns[q b + s]. A vector has k <= 4 numbers at each place.

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef double four __attribute__((vector_size(32), aligned(8)));

INLINE four all(double x)
{
  return (four){x, x, x, x};
}

INLINE void collect(int32_t count, const int32_t *places, int k, const double *x, four *to)
{
  for (int32_t n = 0; n < count; ++n) {
    const double *from = x + k * (int64_t)places[n];
    four v = {0};
    for (int c = 0; c < k; ++c)
      v[c] = from[c];
    to[n] = v;
  }
}

INLINE void apply(int k, int64_t count, int32_t p, int32_t q, const double *values,
                  const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  four in[q];
  for (int64_t b = 0; b < count; ++b) {
    collect(q, columns + q * b, k, x, in);
    for (int32_t i = 0; i < p; i += 4) {
      // The last rows again where fewer than four are left.
      const int32_t last = p - 1;
      const int32_t at[4] = {i, i + 1 < p ? i + 1 : last, i + 2 < p ? i + 2 : last,
                             i + 3 < p ? i + 3 : last};
      const double *M[4];
      four sum[4] = {{0}};
      for (int n = 0; n < 4; ++n)
        M[n] = values + q * (p * b + at[n]);
      for (int32_t s = 0; s < q; ++s)
        for (int n = 0; n < 4; ++n)
          sum[n] += all(M[n][s]) * in[s];
      for (int n = 0; n < 4; ++n)
        for (int c = 0; c < k; ++c)
          y[k * (int64_t)rows[p * b + at[n]] + c] = sum[n][c];
    }
  }
}

INLINE void transposed(int k, int64_t count, int32_t p, int32_t q, const double *values,
                       const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  four in[p];
  for (int64_t b = 0; b < count; ++b) {
    const double *M = values + (int64_t)q * p * b;
    collect(p, rows + p * b, k, x, in);
    int32_t s = 0;
    for (; s + 4 <= q; s += 4) {
      four sum[4] = {{0}};
      for (int32_t i = 0; i < p; ++i)
        for (int n = 0; n < 4; ++n)
          sum[n] += all(M[q * i + s + n]) * in[i];
      for (int n = 0; n < 4; ++n)
        for (int c = 0; c < k; ++c)
          y[k * (int64_t)columns[q * b + s + n] + c] += sum[n][c];
    }
    for (; s < q; ++s) {
      four sum = {0};
      for (int32_t i = 0; i < p; ++i)
        sum += all(M[q * i + s]) * in[i];
      for (int c = 0; c < k; ++c)
        y[k * (int64_t)columns[q * b + s] + c] += sum[c];
    }
  }
}

#define BY_WIDTH(name, ...) \
  if (k == 3)               \
    name(3, __VA_ARGS__);   \
  else if (k == 2)          \
    name(2, __VA_ARGS__);   \
  else                      \
    name(1, __VA_ARGS__)

// y = M x in the rows of the blocks, each of which is in one block.
void llg_apply(int k, int64_t count, int32_t p, int32_t q, const double *values,
               const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  BY_WIDTH(apply, count, p, q, values, rows, columns, x, y);
}

// y += M^T x.
void llg_transposed(int k, int64_t count, int32_t p, int32_t q, const double *values,
                    const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  BY_WIDTH(transposed, count, p, q, values, rows, columns, x, y);
}
