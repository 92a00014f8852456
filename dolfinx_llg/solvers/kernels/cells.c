// SPDX-License-Identifier: LGPL-3.0-or-later
// Values of forms that are polynomials in m, from tensors that were found beforehand.
//
// A block of the nodes (i, k) is a 3 x 3 matrix; entry (a, b), a of the test function, stands at
// 3 b + a, as PETSc's BAIJ has it. Where a block stands, a code says: buffer (code & 3), block
// (code >> 2) of it.

#include <stdint.h>
#include <string.h>

// Forms that are linear in m: matrices L_r from nodes to pairs of nodes on one pattern, value[q][r],
// and their tensors E_r[c][b][a]. Here and in the next a has four places.
typedef struct {
  int32_t count;
  const int32_t *ptr, *node;
  const double *value, *tensor;
} linear_part;

// A form that acts on all components alike up to a tensor D[b][a]: a number for each pair.
typedef struct {
  const double *value, *tensor;
} scalar_part;

// A form of products, alpha(f, g) beta(h, w): on cell K
//   S[j, l, k, i] = sum_s geometry[K, s] sum_r left[s, r, j, l] right[r, k, i],
// j, l the nodes of f, g in alpha, k, i those of h, w in beta, times alpha[c][d] beta[e][a] of the
// components; rows[r, j] is 0 where left[:, r, j, :] is. Each index of a node runs over 4 places.
typedef struct {
  int32_t shapes, rank;
  const double *geometry, *left, *right, *alpha, *beta;
  const uint8_t *rows;
} product_part;

#define INLINE static inline __attribute__((always_inline))

// Four numbers at once: those of the nodes of a cell, or three components and a zero.
typedef double four __attribute__((vector_size(32), aligned(8)));

INLINE four load(const double *x)
{
  four v;
  memcpy(&v, x, sizeof v);
  return v;
}

INLINE four all(double x)
{
  return (four){x, x, x, x};
}

INLINE void add(double *x, four y)
{
  y += load(x);
  memcpy(x, &y, sizeof y);
}

enum { MOST = 24 };  // bound on the number of matrices L_r

// The pairs of a matrix: those of the row n are ptr[n], ..., ptr[n + 1] - 1.
typedef struct {
  int32_t rows;
  const int32_t *ptr, *column, *place;
} pattern;

INLINE void blocks(int count, const pattern *pairs, double *const *out, const double *const *base,
                   const linear_part *lin, int32_t scalar, const scalar_part *sca, const double *m,
                   double *y, int whole)
{
  for (int32_t n = 0; n < pairs->rows; ++n) {
    four image = {0};
    for (int32_t p = pairs->ptr[n]; p < pairs->ptr[n + 1]; ++p) {
      four block[3] = {{0}}, w[MOST];
      for (int r = 0; r < count; ++r)
        w[r] = (four){0};
      for (int32_t q = lin->ptr[p]; q < lin->ptr[p + 1]; ++q) {
        const four x = load(m + 4 * (int64_t)lin->node[q]);
        for (int r = 0; r < count; ++r)
          w[r] += all(lin->value[(int64_t)count * q + r]) * x;
      }
      for (int r = 0; r < count; ++r)
        for (int c = 0; c < 3; ++c)
          for (int b = 0; b < 3; ++b)
            block[b] += all(w[r][c]) * load(lin->tensor + 36 * r + 12 * c + 4 * b);
      for (int r = 0; r < scalar; ++r)
        for (int b = 0; b < 3; ++b)
          block[b] += all(sca[r].value[p]) * load(sca[r].tensor + 4 * b);
      const double *x = m + 4 * (int64_t)pairs->column[p];
      if (y)
        image += all(0.5 * x[0]) * block[0] + all(0.5 * x[1]) * block[1]
               + all(0.5 * x[2]) * block[2];
      const int buffer = pairs->place[p] & 3;
      const int64_t start = 9 * (int64_t)(pairs->place[p] >> 2);
      double *to = out[buffer] + start;
      const double *from = base[buffer];
      if (from) {
        const four first = load(from + start), second = load(from + start + 3);
        const four last = {from[start + 6], from[start + 7], from[start + 8], 0.0};
        block[0] += first;
        block[1] += second;
        block[2] += last;
        if (whole)
          image += all(x[0]) * first + all(x[1]) * second + all(x[2]) * last;
      }
      // Each overwrites the fourth place of the one before.
      memcpy(to, &block[0], sizeof block[0]);
      memcpy(to + 3, &block[1], sizeof block[1]);
      memcpy(to + 6, &block[2], 3 * sizeof(double));
    }
    if (y)
      for (int a = 0; a < 3; ++a)
        y[3 * (int64_t)n + a] += image[a];
  }
}

// out = base + all linear and scalar parts, block by block; a buffer of base may be missing (0).
// m has four places for a node. Where y is given, y += (half of the parts) m,
// and base m if it is to be whole.
void llg_blocks(const pattern *pairs, double *const *out, const double *const *base,
                const linear_part *lin, int32_t scalar, const scalar_part *sca, const double *m,
                double *y, int whole)
{
  if (lin->count == 0)
    blocks(0, pairs, out, base, lin, scalar, sca, m, y, whole);
  else if (lin->count == 1)
    blocks(1, pairs, out, base, lin, scalar, sca, m, y, whole);
  else if (lin->count == 2)
    blocks(2, pairs, out, base, lin, scalar, sca, m, y, whole);
  else if (lin->count == 3)
    blocks(3, pairs, out, base, lin, scalar, sca, m, y, whole);
  else
    blocks(lin->count, pairs, out, base, lin, scalar, sca, m, y, whole);
}

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
typedef int64_t places __attribute__((vector_size(32)));
#define SHUFFLE(x, y, ...) __builtin_shuffle(x, y, (places){__VA_ARGS__})
#endif

// y[i][n] = x[n][i]
INLINE void transposed(const four *x, four *y)
{
  const four even = SHUFFLE(x[0], x[1], 0, 4, 2, 6), odd = SHUFFLE(x[0], x[1], 1, 5, 3, 7);
  const four even2 = SHUFFLE(x[2], x[3], 0, 4, 2, 6), odd2 = SHUFFLE(x[2], x[3], 1, 5, 3, 7);
  y[0] = SHUFFLE(even, even2, 0, 1, 4, 5);
  y[1] = SHUFFLE(odd, odd2, 0, 1, 4, 5);
  y[2] = SHUFFLE(even, even2, 2, 3, 6, 7);
  y[3] = SHUFFLE(odd, odd2, 2, 3, 6, 7);
}

// m of a cell, x[c][l]
INLINE void collect(int nd, const int32_t *dofs, const double *m, four *x)
{
  const double *p[4];
  for (int l = 0; l < nd; ++l)
    p[l] = m + 3 * (int64_t)dofs[l];
  for (int c = 0; c < 3; ++c)
    x[c] = (four){p[0][c], p[1][c], nd > 2 ? p[2][c] : 0.0, nd > 3 ? p[3][c] : 0.0};
}

enum { RANK = 16, ROOM = 4 * 32 };  // bounds on rank and on shapes * rank, times 4 rows

// V[r, j][l] = sum_s geometry[K, s] left[s, r, j, l]; of one shape left itself, its factor apart.
INLINE double weighted(const product_part *f, int64_t cell, double *room, const double **V)
{
  const double *g = f->geometry + cell * f->shapes;
  *V = f->left;
  if (f->shapes == 1)
    return g[0];
  for (int n = 0; n < 4 * f->rank; ++n) {
    four v = all(g[0]) * load(f->left + 4 * n);
    for (int s = 1; s < f->shapes; ++s)
      v += all(g[s]) * load(f->left + 4 * (s * 4 * f->rank + n));
    memcpy(room + 4 * n, &v, sizeof v);
  }
  *V = room;
  return 1.0;
}

// y[c] = sum_d tensor[c, d] x[d]
INLINE void turned(const double *tensor, const four *x, four *y)
{
  for (int c = 0; c < 3; ++c)
    y[c] = all(tensor[3 * c]) * x[0] + all(tensor[3 * c + 1]) * x[1] + all(tensor[3 * c + 2]) * x[2];
}

// y[c] = sum_d tensor[d, c] x[d]
INLINE void turned_back(const double *tensor, const four *x, four *y)
{
  for (int c = 0; c < 3; ++c)
    y[c] = all(tensor[c]) * x[0] + all(tensor[3 + c]) * x[1] + all(tensor[6 + c]) * x[2];
}

// q[k][i] += alpha(m, m) beta(k, i) of one cell.
INLINE void reaction(int nd, const product_part *f, int64_t cell, const four *m, four *q)
{
  double room[4 * ROOM];
  const double *V;
  const double g = weighted(f, cell, room, &V);
  four x[3], X[4], sum[4];
  turned(f->alpha, m, x);
  for (int j = 0; j < nd; ++j) {
    X[j] = all(m[0][j]) * x[0] + all(m[1][j]) * x[1] + all(m[2][j]) * x[2];
    X[j] *= all(g);
    sum[j] = q[j];
  }
  for (int r = 0; r < f->rank; ++r) {
    four z = load(V + 16 * r) * X[0];
    for (int j = 1; j < nd; ++j)
      z += load(V + 16 * r + 4 * j) * X[j];
    const four factor = all((z[0] + z[1]) + (z[2] + z[3]));
    for (int k = 0; k < nd; ++k)
      sum[k] += factor * load(f->right + 16 * r + 4 * k);
  }
  for (int k = 0; k < nd; ++k)
    q[k] = sum[k];
}

INLINE void scalars(int nd, int32_t cells, const int32_t *dofs, const int32_t *pair, int32_t parts,
                    const product_part *part, const double *m, double *values)
{
  for (int64_t cell = 0; cell < cells; ++cell) {
    four x[3], q[4] = {{0}};
    collect(nd, dofs + nd * cell, m, x);
    for (int t = 0; t < parts; ++t)
      reaction(nd, part + t, cell, x, q);
    const int32_t *p = pair + nd * nd * cell;
    for (int k = 0; k < nd; ++k)
      for (int i = 0; i < nd; ++i)
        values[p[nd * i + k]] += q[k][i];
  }
}

INLINE void vector(int nd, int32_t cells, const int32_t *dofs, int32_t parts,
                   const product_part *part, const double *m, double *y)
{
  for (int64_t cell = 0; cell < cells; ++cell) {
    four x[3], sum[3] = {{0}};
    collect(nd, dofs + nd * cell, m, x);
    for (int t = 0; t < parts; ++t) {
      four q[4] = {{0}}, h[3];
      reaction(nd, part + t, cell, x, q);
      turned_back(part[t].beta, x, h);
      for (int k = 0; k < nd; ++k)
        for (int a = 0; a < 3; ++a)
          sum[a] += q[k] * all(h[a][k]);
    }
    for (int i = 0; i < nd; ++i)
      for (int a = 0; a < 3; ++a)
        y[3 * (int64_t)dofs[nd * cell + i] + a] += sum[a][i];
  }
}

// What alpha(u, m) beta(m, v) needs of a cell: h[r][a][i] of v and V of u.
typedef struct {
  double room[4 * ROOM];
  const double *V;
  four h[RANK][3], x[4];
} factors;

INLINE void prepare(int nd, const product_part *f, int64_t cell, const four *m, factors *w)
{
  four x[3], y[3];
  const double g = weighted(f, cell, w->room, &w->V);
  turned(f->alpha, m, x);
  turned_back(f->beta, m, y);
  for (int l = 0; l < nd; ++l)
    w->x[l] = (four){x[0][l], x[1][l], x[2][l], 0.0};
  for (int a = 0; a < 3; ++a)
    y[a] *= all(g);
  for (int r = 0; r < f->rank; ++r) {
    four h[3] = {{0}};
    for (int k = 0; k < nd; ++k) {
      const four B = load(f->right + 16 * r + 4 * k);
      for (int a = 0; a < 3; ++a)
        h[a] += all(y[a][k]) * B;
    }
    for (int a = 0; a < 3; ++a)
      w->h[r][a] = h[a];
  }
}

enum { TOGETHER = 4 };  // forms whose blocks are summed before they are added

INLINE void outer(int nd, int32_t cells, const int32_t *dofs, const int32_t *place, int32_t parts,
                  const product_part *part, const double *m, double *const *out)
{
  factors w[TOGETHER];
  for (int64_t cell = 0; cell < cells; ++cell) {
    four x[3];
    collect(nd, dofs + nd * cell, m, x);
    for (int t = 0; t < parts; ++t)
      prepare(nd, part + t, cell, x, w + t);
    const int32_t *p = place + nd * nd * cell;
    for (int j = 0; j < nd; ++j) {
      four sum[9] = {{0}};
      for (int t = 0; t < parts; ++t)
        for (int r = 0; r < part[t].rank; ++r) {
          if (!part[t].rows[4 * r + j])
            continue;
          const double *v = w[t].V + 16 * r + 4 * j;
          four u = all(v[0]) * w[t].x[0];
          for (int l = 1; l < nd; ++l)
            u += all(v[l]) * w[t].x[l];
          for (int b = 0; b < 3; ++b)
            for (int a = 0; a < 3; ++a)
              sum[3 * b + a] += all(u[b]) * w[t].h[r][a];
        }
      four first[4], second[4];
      transposed(sum, first);
      transposed(sum + 4, second);
      for (int i = 0; i < nd; ++i) {
        const int32_t code = p[nd * i + j];
        double *block = out[code & 3] + 9 * (int64_t)(code >> 2);
        add(block, first[i]);
        add(block + 4, second[i]);
        block[8] += sum[8][i];
      }
    }
  }
}

#define BY_NODES(name, ...) \
  if (nd == 4)              \
    name(4, __VA_ARGS__);   \
  else if (nd == 3)         \
    name(3, __VA_ARGS__);   \
  else                      \
    name(2, __VA_ARGS__)

// values[pair] += alpha(m, m) beta(k, i), of forms with the same tensor of u and v.
void llg_scalars(int32_t nd, int32_t cells, const int32_t *dofs, const int32_t *pair, int32_t parts,
                 const product_part *part, const double *m, double *values)
{
  BY_NODES(scalars, cells, dofs, pair, parts, part, m, values);
}

// y += alpha(m, m) beta(m, v).
void llg_vector(int32_t nd, int32_t cells, const int32_t *dofs, int32_t parts,
                const product_part *part, const double *m, double *y)
{
  BY_NODES(vector, cells, dofs, parts, part, m, y);
}

// Blocks += alpha(u, m) beta(m, v).
void llg_outer(int32_t nd, int32_t cells, const int32_t *dofs, const int32_t *place, int32_t parts,
               const product_part *part, const double *m, double *const *out)
{
  for (int32_t done = 0; done < parts; done += TOGETHER) {
    const int32_t count = parts - done < TOGETHER ? parts - done : TOGETHER;
    BY_NODES(outer, cells, dofs, place, count, part + done, m, out);
  }
}

// Blocks of a list += those of a buffer.
void llg_add(int32_t count, const int32_t *from, const int32_t *place, const double *blocks,
             double *const *out)
{
  for (int32_t p = 0; p < count; ++p) {
    double *block = out[place[p] & 3] + 9 * (int64_t)(place[p] >> 2);
    for (int n = 0; n < 9; ++n)
      block[n] += blocks[9 * (int64_t)from[p] + n];
  }
}
