// SPDX-License-Identifier: LGPL-3.0-or-later
// Faces of cells that belong to one cell alone.

// Faces are named by cell * faces + face; corner holds the places of their nodes in a cell, shape
// (faces, width), width 3 or 4. Writes the lone ones into out, in rising order; returns their number
// or -1 (out of memory). Faces are sorted by their lowest node, then compared with one another.
int64_t llg_lone_faces(int32_t cells, int32_t corners, const int32_t *cell_node, int32_t faces,
                       int32_t width, const int32_t *corner, int32_t nodes, int64_t *out) {
  int64_t n = (int64_t)cells * faces, count = 0;
  int64_t *start = calloc((size_t)nodes + 1, sizeof(int64_t));
  int32_t *sorted = malloc(sizeof(int32_t) * 4 * (n + 1)); // nodes of each face, rising
  int64_t *place = malloc(sizeof(int64_t) * (n + 1));
  char *twice = calloc(n + 1, 1);
  if (!start || !sorted || !place || !twice) {
    free(start), free(sorted), free(place), free(twice);
    return -1;
  }
  for (int64_t f = 0; f < n; f++) {
    const int32_t *c = cell_node + f / faces * corners, *at = corner + f % faces * width;
    int32_t *v = sorted + 4 * f;
    v[3] = -1;
    for (int32_t k = 0; k < width; k++) {
      int32_t node = c[at[k]], j = k;
      for (; j > 0 && v[j - 1] > node; j--) v[j] = v[j - 1];
      v[j] = node;
    }
    start[v[0]]++;
  }
  for (int64_t sum = 0, k = 0; k <= nodes; k++) {
    int64_t here = start[k];
    start[k] = sum, sum += here;
  }
  for (int64_t f = 0; f < n; f++) place[start[sorted[4 * f]]++] = f; // start: now the ends
  for (int64_t k = 0, first = 0; k < nodes; first = start[k++])
    for (int64_t i = first; i < start[k]; i++) {
      const int32_t *a = sorted + 4 * place[i];
      for (int64_t j = i + 1; j < start[k] && !twice[place[i]]; j++) {
        const int32_t *b = sorted + 4 * place[j];
        if (a[1] == b[1] && a[2] == b[2] && a[3] == b[3]) twice[place[i]] = twice[place[j]] = 1;
      }
    }
  for (int64_t f = 0; f < n; f++)
    if (!twice[f]) out[count++] = f;
  free(start), free(sorted), free(place), free(twice);
  return count;
}
