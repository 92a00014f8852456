// SPDX-License-Identifier: LGPL-3.0-or-later
// What a reduced step does by hand: products with a matrix of dense blocks, and integrals over samples
// that are linear in m, in u and in the test function.
//
// In products block b has p rows and q columns, q a multiple of 4, with their numbers in
// rows[p b + i] and columns[q b + s]. A vector has k <= 3 numbers at each place. Entries may be kept in
// single precision, since memory limits these products; they are computed in double precision.

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

typedef double four __attribute__((vector_size(32), aligned(8)));

// Numbers of a row that are taken at once.
#define LANES 4
typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8)));

INLINE four all(double x)
{
  return (four){x, x, x, x};
}

// x of the given places, component by component.
INLINE void collect(int32_t count, const int32_t *places, int k, const double *x, double *to)
{
  for (int32_t n = 0; n < count; ++n)
    for (int c = 0; c < k; ++c)
      to[count * c + n] = x[k * (int64_t)places[n] + c];
}

INLINE lanes load(const double *x)
{
  lanes v;
  memcpy(&v, x, sizeof v);
  return v;
}

INLINE double sum_of(lanes v)
{
  double sum = 0.0;
  for (int n = 0; n < LANES; n += 2)
    sum += v[n] + v[n + 1];
  return sum;
}

// Entries of an array of doubles, or of floats.
INLINE lanes entries_at(int single, const void *values, int64_t n)
{
  if (!single)
    return load((const double *)values + n);
  // One by one: GCC 12 makes one instruction of it, but four of __builtin_convertvector.
  const float *v = (const float *)values + n;
  lanes entries;
  for (int k = 0; k < LANES; ++k)
    entries[k] = v[k];
  return entries;
}

// Asks for entries that are wanted soon: rows are short, and the processor does not foresee the next.
INLINE void fetch(int single, const void *values, int64_t n)
{
  __builtin_prefetch((const char *)values + (single ? sizeof(float) : sizeof(double)) * n);
}

// The rows i, ..., i + height - 1 of one block, whose entries begin at M.
INLINE void rows_of(int k, int single, int height, int32_t q, const void *values, int64_t M,
                    const double *in, const int32_t *rows, double *y)
{
  lanes sum[4][3] = {{{0}}};
  for (int32_t s = 0; s < q; s += LANES) {
    lanes v[3];
    for (int c = 0; c < k; ++c)
      v[c] = load(in + q * c + s);
    for (int n = 0; n < height; ++n) {
      const lanes entries = entries_at(single, values, M + q * n + s);
      fetch(single, values, M + q * (n + 4) + s);
      for (int c = 0; c < k; ++c)
        sum[n][c] += entries * v[c];
    }
  }
  for (int n = 0; n < height; ++n)
    for (int c = 0; c < k; ++c)
      y[k * (int64_t)rows[n] + c] = sum_of(sum[n][c]);
}

INLINE void all_rows(int k, int single, int32_t p, int32_t q, const void *values, int64_t M,
                     const double *in, const int32_t *rows, double *y)
{
  int32_t i = 0;
  for (; i + 4 <= p; i += 4)
    rows_of(k, single, 4, q, values, M + q * i, in, rows + i, y);
  for (; i < p; ++i)
    rows_of(k, single, 1, q, values, M + q * i, in, rows + i, y);
}

// out, q numbers of each component, += what the rows i, ..., i + height - 1 make of in.
INLINE void add_rows(int k, int single, int height, int32_t p, int32_t q, const void *values,
                     int64_t M, const double *in, double *out)
{
  for (int32_t s = 0; s < q; s += LANES) {
    lanes sum[3];
    for (int c = 0; c < k; ++c)
      sum[c] = load(out + q * c + s);
    for (int n = 0; n < height; ++n) {
      const lanes entries = entries_at(single, values, M + q * n + s);
      fetch(single, values, M + q * (n + 4) + s);
      for (int c = 0; c < k; ++c)
        sum[c] += entries * in[p * c + n];
    }
    for (int c = 0; c < k; ++c)
      memcpy(out + q * c + s, &sum[c], sizeof(lanes));
  }
}

INLINE void all_columns(int k, int single, int32_t p, int32_t q, const void *values, int64_t M,
                        const double *in, double *out)
{
  memset(out, 0, sizeof(double) * k * q);
  int32_t i = 0;
  for (; i + 4 <= p; i += 4)
    add_rows(k, single, 4, p, q, values, M + q * i, in + i, out);
  for (; i < p; ++i)
    add_rows(k, single, 1, p, q, values, M + q * i, in + i, out);
}

INLINE void apply(int k, int single, int64_t count, int32_t p, int32_t q, const void *values,
                  const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  double in[3 * q];
  for (int64_t b = 0; b < count; ++b) {
    collect(q, columns + q * b, k, x, in);
    all_rows(k, single, p, q, values, (int64_t)q * p * b, in, rows + p * b, y);
  }
}

INLINE void transposed(int k, int single, int64_t count, int32_t p, int32_t q, const void *values,
                       const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  double in[3 * p], out[3 * q];
  for (int64_t b = 0; b < count; ++b) {
    collect(p, rows + p * b, k, x, in);
    all_columns(k, single, p, q, values, (int64_t)q * p * b, in, out);
    for (int32_t s = 0; s < q; ++s)
      for (int c = 0; c < k; ++c)
        y[k * (int64_t)columns[q * b + s] + c] += out[q * c + s];
  }
}

#define BY_WIDTH(name, single, ...) \
  if (k == 3)                       \
    name(3, single, __VA_ARGS__);   \
  else if (k == 2)                  \
    name(2, single, __VA_ARGS__);   \
  else                              \
    name(1, single, __VA_ARGS__)

// y = M x in the rows of the blocks, each of which is in one block.
void llg_apply(int k, int single, int64_t count, int32_t p, int32_t q, const void *values,
               const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  if (single) {
    BY_WIDTH(apply, 1, count, p, q, values, rows, columns, x, y);
  } else {
    BY_WIDTH(apply, 0, count, p, q, values, rows, columns, x, y);
  }
}

// y += M^T x.
void llg_transposed(int k, int single, int64_t count, int32_t p, int32_t q, const void *values,
                    const int32_t *rows, const int32_t *columns, const double *x, double *y)
{
  if (single) {
    BY_WIDTH(transposed, 1, count, p, q, values, rows, columns, x, y);
  } else {
    BY_WIDTH(transposed, 0, count, p, q, values, rows, columns, x, y);
  }
}

// y = M^T x, both of three components and in single precision as M is, in the columns of the blocks,
// each of which is in one block.
void llg_fill(int64_t count, int32_t p, int32_t q, const void *values, const int32_t *rows,
              const int32_t *columns, const double *x, float *y)
{
  double in[3 * p], out[3 * q];
  for (int64_t b = 0; b < count; ++b) {
    collect(p, rows + p * b, 3, x, in);
    all_columns(3, 1, p, q, values, (int64_t)q * p * b, in, out);
    for (int32_t s = 0; s < q; ++s)
      for (int c = 0; c < 3; ++c)
        y[3 * (int64_t)columns[q * b + s] + c] = (float)out[q * c + s];
  }
}

// Three components and a zero.
INLINE four node(const double *x)
{
  return (four){x[0], x[1], x[2], 0.0};
}

INLINE void trilinear(int nd, int64_t cells, const int32_t *dofs, const int32_t *place,
                      const double *tensor, const double *E, const double *m, const double *mean,
                      const double *u, double *y)
{
  for (int64_t cell = 0; cell < cells; ++cell) {
    const int32_t *n = dofs + nd * cell;
    const double *S = tensor + nd * nd * nd * cell;
    const four shift = node(mean + 3 * (int64_t)place[cell]);
    four d[4], F[4][3];
    for (int j = 0; j < nd; ++j)
      d[j] = node(m + 3 * (int64_t)n[j]) - shift;
    for (int k = 0; k < nd; ++k) {
      const double *v = u + 3 * (int64_t)n[k];
      for (int c = 0; c < 3; ++c) {
        four rows[3];
        memcpy(rows, E + 12 * c, sizeof rows);
        F[k][c] = all(v[0]) * rows[0] + all(v[1]) * rows[1] + all(v[2]) * rows[2];
      }
    }
    for (int i = 0; i < nd; ++i) {
      four sum = {0};
      for (int k = 0; k < nd; ++k, S += nd) {
        four w = all(S[0]) * d[0];
        for (int j = 1; j < nd; ++j)
          w += all(S[j]) * d[j];
        for (int c = 0; c < 3; ++c)
          sum += all(w[c]) * F[k][c];
      }
      for (int a = 0; a < 3; ++a)
        y[3 * (int64_t)n[i] + a] += sum[a];
    }
  }
}

// y[i][a] += sum S[i, k, j] E[c, b, a] (m - mean)[j][c] u[k][b] on cells of nd nodes, S of each cell;
// the mean of a cell stands at its place, and a has four places in E.
void llg_trilinear(int nd, int64_t cells, const int32_t *dofs, const int32_t *place,
                   const double *tensor, const double *E, const double *m, const double *mean,
                   const double *u, double *y)
{
  if (nd == 4)
    trilinear(4, cells, dofs, place, tensor, E, m, mean, u, y);
  else if (nd == 3)
    trilinear(3, cells, dofs, place, tensor, E, m, mean, u, y);
  else
    trilinear(2, cells, dofs, place, tensor, E, m, mean, u, y);
}

// z[a][i] += sum M[i][k][c] E[c, b, a] y[k][b] for r modes; M is symmetric in i and k, its lower
// triangle stands row by row; a has four places in E, and z has p for each of the three a.
static void image_of_modes(int32_t r, int32_t p, const float *M, const double *E, const double *y,
                           double *z)
{
  four rows[9], F[3 * r + 3], sums[r + 1];
  memcpy(rows, E, sizeof rows);
  for (int32_t k = 0; k < r; ++k) {
    sums[k] = all(0.0);
    for (int c = 0; c < 3; ++c) {
      const four *e = rows + 3 * c;
      F[3 * k + c] = all(y[3 * k]) * e[0] + all(y[3 * k + 1]) * e[1] + all(y[3 * k + 2]) * e[2];
    }
  }
  for (int32_t i = 0; i < r; ++i) {
    four own[3] = {{0}};
    const four *f = F + 3 * i;
    for (int32_t k = 0; k < i; ++k, M += 3) {
      for (int c = 0; c < 3; ++c)
        own[c] += all(M[c]) * F[3 * k + c];
      sums[k] += all(M[0]) * f[0] + all(M[1]) * f[1] + all(M[2]) * f[2];
    }
    for (int c = 0; c < 3; ++c, ++M)
      own[c] += all(M[0]) * f[c];
    sums[i] += own[0] + own[1] + own[2];
  }
  for (int32_t i = 0; i < r; ++i)
    for (int a = 0; a < 3; ++a)
      z[p * a + i] += sums[i][a];
}

INLINE void sandwich(int single, int64_t count, int32_t p, int32_t q, const void *values,
                     const int32_t *rows, const int32_t *columns, int64_t cells, int32_t r,
                     const int32_t *counts, int terms, const float *matrices, const double *E,
                     const double *x, double *out)
{
  const int64_t packed = 3 * (r * (int64_t)(r + 1) / 2);
  double in[3 * q], y[3 * p], z[3 * p], loads[3 * q];
  int32_t own[p];
  for (int32_t i = 0; i < p; ++i)
    own[i] = i;
  for (int64_t b = 0; b < count; ++b) {
    const int64_t M = (int64_t)q * p * b;
    const int64_t cell = rows[p * b] / r;
    collect(q, columns + q * b, 3, x, in);
    all_rows(3, single, p, q, values, M, in, own, y);
    memset(z, 0, sizeof z);
    for (int t = 0; t < terms; ++t)
      image_of_modes(counts[cell], p, matrices + packed * (cells * t + cell), E + 36 * t, y, z);
    all_columns(3, single, p, q, values, M, z, loads);
    for (int32_t s = 0; s < q; ++s)
      for (int c = 0; c < 3; ++c)
        out[3 * (int64_t)columns[q * b + s] + c] += loads[q * c + s];
  }
}

// out += V^T B V x, cell by cell: V is the matrix of blocks, whose row r T + i is mode i of cell T, and
// B is a sum over terms as in image_of_modes, with counts[T] of at most r modes.
void llg_sandwich(int single, int64_t count, int32_t p, int32_t q, const void *values,
                  const int32_t *rows, const int32_t *columns, int64_t cells, int32_t r,
                  const int32_t *counts, int terms, const float *matrices, const double *E,
                  const double *x, double *out)
{
  if (single)
    sandwich(1, count, p, q, values, rows, columns, cells, r, counts, terms, matrices, E, x, out);
  else
    sandwich(0, count, p, q, values, rows, columns, cells, r, counts, terms, matrices, E, x, out);
}

// Places of a row of r >= LANES numbers from which LANES are taken at a time: the last ones overlap.
INLINE int32_t place(int32_t r, int32_t k)
{
  return k + LANES <= r ? k : r - LANES;
}

// z[a][i] += sum X[t][i][k] f[t][a][k], the rows i, ..., i + height - 1, in the order of ``place``.
INLINE void rows_of_cell(int single, int height, int32_t terms, int32_t r, int32_t i, const void *X,
                         int64_t at, const double *f, double *z)
{
  const int32_t room = (r + LANES - 1) / LANES * LANES;
  lanes sum[4][3] = {{{0}}};
  at += (int64_t)r * i;
  for (int32_t t = 0; t < terms; ++t, at += (int64_t)r * r, f += 3 * room)
    for (int32_t k = 0; k < r; k += LANES) {
      lanes v[3];
      for (int a = 0; a < 3; ++a)
        v[a] = load(f + room * a + k);
      for (int n = 0; n < height; ++n) {
        const lanes entries = entries_at(single, X, at + (int64_t)r * n + place(r, k));
        for (int a = 0; a < 3; ++a)
          sum[n][a] += entries * v[a];
      }
    }
  for (int n = 0; n < height; ++n)
    for (int a = 0; a < 3; ++a)
      z[r * a + i + n] += sum_of(sum[n][a]);
}

// z[a][i] = sum X[t][i][k] E[t][b][a] y[k][b] for r modes; f has room for y and its products with E.
INLINE void image_of_cell(int single, int32_t terms, int32_t r, const void *X, int64_t at,
                          const double *E, const double *y, double *f, double *z)
{
  const int32_t room = (r + LANES - 1) / LANES * LANES;
  memset(z, 0, 3 * r * sizeof *z);
  if (r < LANES) {
    for (int32_t t = 0; t < terms; ++t, E += 9)
      for (int32_t i = 0; i < r; ++i)
        for (int32_t k = 0; k < r; ++k, ++at) {
          const double x = single ? ((const float *)X)[at] : ((const double *)X)[at];
          for (int a = 0; a < 3; ++a)
            z[r * a + i] += x * (y[3 * k] * E[a] + y[3 * k + 1] * E[3 + a] + y[3 * k + 2] * E[6 + a]);
        }
    return;
  }
  double *const v = f + 3 * room * terms; // y, component by component
  for (int32_t k = 0; k < r; k += LANES)
    for (int n = 0; n < LANES; ++n)
      for (int c = 0; c < 3; ++c)
        v[room * c + k + n] = place(r, k) + n < k ? 0.0 : y[3 * (place(r, k) + n) + c];
  for (int32_t t = 0; t < terms; ++t)
    for (int a = 0; a < 3; ++a)
      for (int32_t k = 0; k < room; k += LANES) {
        const double *e = E + 9 * t + a;
        const lanes sum =
            load(v + k) * e[0] + load(v + room + k) * e[3] + load(v + 2 * room + k) * e[6];
        memcpy(f + room * (3 * t + a) + k, &sum, sizeof sum);
      }
  int32_t i = 0;
  for (; i + 4 <= r; i += 4)
    rows_of_cell(single, 4, terms, r, i, X, at, f, z);
  for (; i < r; ++i)
    rows_of_cell(single, 1, terms, r, i, X, at, f, z);
}

INLINE void around(int single, int single_X, int64_t count, int32_t p, int32_t q,
                   const void *values, const int32_t *columns, int32_t terms, const void *X,
                   const double *E, const double *x, double *out)
{
  double in[3 * q], y[3 * p], z[3 * p], f[3 * (p + LANES) * (terms + 1)], loads[3 * q];
  int32_t own[p];
  for (int32_t i = 0; i < p; ++i)
    own[i] = i;
  for (int64_t b = 0; b < count; ++b) {
    const int64_t M = (int64_t)q * p * b;
    collect(q, columns + q * b, 3, x, in);
    all_rows(3, single, p, q, values, M, in, own, y);
    image_of_cell(single_X, terms, p, X, (int64_t)p * p * terms * b, E, y, f, z);
    all_columns(3, single, p, q, values, M, z, loads);
    for (int32_t s = 0; s < q; ++s)
      for (int c = 0; c < 3; ++c)
        out[3 * (int64_t)columns[q * b + s] + c] += loads[q * c + s];
  }
}

// out += V^T B V x, block by block of V: B is z[i][a] += sum X[t][i][k] E[t][b][a] y[k][b] with the
// matrices X of each block, in single precision or not, whatever V is in.
void llg_around(int single, int single_X, int64_t count, int32_t p, int32_t q, const void *values,
                const int32_t *columns, int32_t terms, const void *X, const double *E,
                const double *x, double *out)
{
  if (single && single_X)
    around(1, 1, count, p, q, values, columns, terms, X, E, x, out);
  else if (single)
    around(1, 0, count, p, q, values, columns, terms, X, E, x, out);
  else if (single_X)
    around(0, 1, count, p, q, values, columns, terms, X, E, x, out);
  else
    around(0, 0, count, p, q, values, columns, terms, X, E, x, out);
}
