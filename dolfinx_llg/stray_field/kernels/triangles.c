// SPDX-License-Identifier: LGPL-3.0-or-later
// Analytic integrals over one triangle, and the field of a charged surface at points.

enum { OX, OY, OZ, AX, AY, AZ, BX, BY, BZ, NX, NY, NZ, LENGTH0, LENGTH1, LENGTH2, VX, VY,
       T1X, T1Y, T2X, T2Y, MID, FIELDS = MID + 9 };

// Frame of a triangle: origin and first axis along its first edge, normal, the third corner
// (VX, VY) in that frame, tangents of the edges, midpoints of the edges.
static void frame_of(const double *v, double *f, int64_t stride) {
  double a[3], b[3], n[3], e[3];
  for (int c = 0; c < 3; c++) a[c] = v[3 + c] - v[c], b[c] = v[6 + c] - v[c];
  double length = sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]);
  n[0] = a[1] * b[2] - a[2] * b[1], n[1] = a[2] * b[0] - a[0] * b[2];
  n[2] = a[0] * b[1] - a[1] * b[0];
  double twice = sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]);
  for (int c = 0; c < 3; c++) a[c] /= length, n[c] /= twice;
  e[0] = n[1] * a[2] - n[2] * a[1], e[1] = n[2] * a[0] - n[0] * a[2];
  e[2] = n[0] * a[1] - n[1] * a[0];
  double vx = a[0] * b[0] + a[1] * b[1] + a[2] * b[2], vy = e[0] * b[0] + e[1] * b[1] + e[2] * b[2];
  double l1 = sqrt((vx - length) * (vx - length) + vy * vy), l2 = sqrt(vx * vx + vy * vy);
  for (int c = 0; c < 3; c++) {
    f[(OX + c) * stride] = v[c], f[(AX + c) * stride] = a[c], f[(BX + c) * stride] = e[c];
    f[(NX + c) * stride] = n[c];
    f[(MID + c) * stride] = 0.5 * (v[c] + v[3 + c]);
    f[(MID + 3 + c) * stride] = 0.5 * (v[3 + c] + v[6 + c]);
    f[(MID + 6 + c) * stride] = 0.5 * (v[6 + c] + v[c]);
  }
  f[LENGTH0 * stride] = length, f[LENGTH1 * stride] = l1, f[LENGTH2 * stride] = l2;
  f[VX * stride] = vx, f[VY * stride] = vy;
  f[T1X * stride] = (vx - length) / l1, f[T1Y * stride] = vy / l1;
  f[T2X * stride] = -vx / l2, f[T2Y * stride] = -vy / l2;
}

// What the integrals over one triangle share, for a point at (u, v, w) in its frame: P_j, J_j, the
// solid angle times sign(w), the distances p_j and the integral of 1/r.
typedef struct {
  double r0, r1, r2, p0, p1, p2, P0, P1, P2, J0, J1, J2, angle, inverse;
} potential;

static inline __attribute__((always_inline)) potential potential_of(
    double u, double v, double w, double length, double l1, double l2, double vx, double vy,
    double t1x, double t1y, double t2x, double t2y) {
  potential o;
  double ww = w * w, u1 = length - u, u2 = vx - u, v2 = vy - v;
  double s0 = u * u + v * v + ww, s1 = u1 * u1 + v * v + ww, s2 = u2 * u2 + v2 * v2 + ww;
  double r0 = sqrt(s0), r1 = sqrt(s1), r2 = sqrt(s2);
  double h = fabs(w);
  // The floor keeps points that lie on an edge finite; they meet a factor p = d = 0.
  o.P0 = log((r0 + r1 + length) / fmax(r0 + r1 - length, 1e-15 * length));
  o.P1 = log((r1 + r2 + l1) / fmax(r1 + r2 - l1, 1e-15 * l1));
  o.P2 = log((r2 + r0 + l2) / fmax(r2 + r0 - l2, 1e-15 * l2));
  o.p0 = v, o.p1 = t1y * u1 + t1x * v, o.p2 = t2y * u2 - t2x * v2;
  double a01 = -u * u1 + v * v + ww, a12 = u1 * u2 - v * v2 + ww, a20 = -u * u2 - v * v2 + ww;
  double den = r0 * r1 * r2 + a01 * r2 + a12 * r0 + a20 * r1;
  o.angle = 2.0 * atan2(length * vy * h, den);
  o.inverse = o.p0 * o.P0 + o.p1 * o.P1 + o.p2 * o.P2 - h * o.angle;
  // J_j = int over edge j of r: positions along the edge from the foot of the point
  double b0 = u1, a0 = -u, b1 = t1x * u2 + t1y * v2, a1 = t1x * u1 - t1y * v;
  double b2 = -t2x * u - t2y * v, a2 = t2x * u2 + t2y * v2;
  o.J0 = 0.5 * (b0 * r1 - a0 * r0 + (o.p0 * o.p0 + ww) * o.P0);
  o.J1 = 0.5 * (b1 * r2 - a1 * r1 + (o.p1 * o.p1 + ww) * o.P1);
  o.J2 = 0.5 * (b2 * r0 - a2 * r2 + (o.p2 * o.p2 + ww) * o.P2);
  o.r0 = r0, o.r1 = r1, o.r2 = r2;
  return o;
}

// out (points, 4) += 1/(4 pi) int sigma/r and its gradient in x, by the analytic integrals over the
// triangles [first, last); sigma (triangles, 3) at the corners.
int llg_field(int32_t points, const double *at, int32_t first, int32_t last, const double *corners,
              const double *sigma, double *out) {
  double(*f)[CHUNK] = malloc(sizeof(double) * FIELDS * CHUNK);
  if (!f) return 1;
  for (int32_t start = first; start < last; start += CHUNK) {
    int n = last - start < CHUNK ? last - start : CHUNK;
    double q[3][CHUNK];
    for (int t = 0; t < n; t++) {
      frame_of(corners + 9 * (int64_t)(start + t), &f[0][t], CHUNK);
      for (int k = 0; k < 3; k++) q[k][t] = sigma[3 * (int64_t)(start + t) + k];
    }
    for (int32_t p = 0; p < points; p++) {
      double x = at[3 * p], y = at[3 * p + 1], z = at[3 * p + 2];
      double phi = 0, hx = 0, hy = 0, hz = 0;
      for (int t = 0; t < n; t++) {
        double dx = x - f[OX][t], dy = y - f[OY][t], dz = z - f[OZ][t];
        double u = dx * f[AX][t] + dy * f[AY][t] + dz * f[AZ][t];
        double v = dx * f[BX][t] + dy * f[BY][t] + dz * f[BZ][t];
        double w = dx * f[NX][t] + dy * f[NY][t] + dz * f[NZ][t];
        double length = f[LENGTH0][t], l1 = f[LENGTH1][t], l2 = f[LENGTH2][t];
        double vx = f[VX][t], vy = f[VY][t];
        double t1x = f[T1X][t], t1y = f[T1Y][t], t2x = f[T2X][t], t2y = f[T2Y][t];
        potential o = potential_of(u, v, w, length, l1, l2, vx, vy, t1x, t1y, t2x, t2y);
        // sigma = c + gu u + gv v in the frame
        double gu = (q[1][t] - q[0][t]) / length;
        double gv = (q[2][t] - q[0][t] - gu * vx) / vy;
        double here = q[0][t] + gu * u + gv * v;
        // outward normals of the edges: (0, -1), (t1y, -t1x), (t2y, -t2x)
        double g0 = -gv, g1 = gu * t1y - gv * t1x, g2 = gu * t2y - gv * t2x;
        phi += here * o.inverse + g0 * o.J0 + g1 * o.J1 + g2 * o.J2;
        // int over edge j of sigma/r = sigma(foot) P_j + slope (r_end - r_start)
        double c0 = (here + o.p0 * g0) * o.P0 + gu * (o.r1 - o.r0);
        double c1 = (here + o.p1 * g1) * o.P1 + (gu * t1x + gv * t1y) * (o.r2 - o.r1);
        double c2 = (here + o.p2 * g2) * o.P2 + (gu * t2x + gv * t2y) * (o.r0 - o.r2);
        double along_u = gu * o.inverse - t1y * c1 - t2y * c2;
        double along_v = gv * o.inverse + c0 + t1x * c1 + t2x * c2;
        double angle = w > 0.0 ? -o.angle : o.angle;
        double along_w = here * angle + w * (g0 * o.P0 + g1 * o.P1 + g2 * o.P2);
        hx += along_u * f[AX][t] + along_v * f[BX][t] + along_w * f[NX][t];
        hy += along_u * f[AY][t] + along_v * f[BY][t] + along_w * f[NY][t];
        hz += along_u * f[AZ][t] + along_v * f[BZ][t] + along_w * f[NZ][t];
      }
      out[4 * p] += QUARTER_PI * phi, out[4 * p + 1] += QUARTER_PI * hx;
      out[4 * p + 2] += QUARTER_PI * hy, out[4 * p + 3] += QUARTER_PI * hz;
    }
  }
  free(f);
  return 0;
}
