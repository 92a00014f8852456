# SPDX-License-Identifier: LGPL-3.0-or-later
# # muMAG standard problem 3: the largest cube that is a single domain
#
# A cube of edge L with a weak easy axis z, $K_u = 0.1 K_m$, $K_m = \mu_0 M_s^2/2$. A small one is
# in a flower state along z, a large one in a vortex; at which L have both the same energy? In
# lengths of the cube and energies of $K_m L^3$,
# $$ E(m) = \int \frac{l_{ex}^2}{L^2} |\nabla m|^2 + 0.1\, (1 - m_z^2)
#    + \int_{\mathbb{R}^3} |\nabla u|^2, \qquad \Delta u = \nabla\cdot m, \qquad
#    l_{ex} = \sqrt{A/K_m}, $$
# so that one mesh, and one operator of the stray field, serves all L. Both states are minimised at
# edges that come from the secant rule until their energies agree; the crossings of meshes of n
# cells an edge tend to the limit as $n^{-2}$, and the last two are extrapolated.
#
# The problem compares with the flower. Near the crossing another state is .2 % lower (found when
# each minimisation went on from the last state): both states start anew, symmetric, at each edge.
# (https://www.ctcms.nist.gov/~rdm/spec3.html; values beside it: n = 70, finite differences.)
#
# Run: `[mpirun -n 2] python demos/demo_mumag3.py --json FILE [--n 6,8,12] [--quick]`.

from mpi4py import MPI  # noqa: F401  isort: skip

import numpy as np
from dolfinx import mesh
from shared import begin, comm, numbers, options, record, say, timed

import dolfinx_llg as llg

parser = options("muMAG standard problem 3.")
parser.add_argument("--n", type=numbers, help="cells an edge, comma-separated (default 6,8,12)")
args = begin(parser, {"n": ([6, 8, 12], [3, 4])})
if len(args.n) < 2 or min(args.n) < 2 or sorted(set(args.n)) != args.n:
    parser.error(f"--n must be two or more growing numbers of at least 2, got {args.n}")
LIMIT = 8.47
TORQUE = 1e-4
OTHERS = {
    "flower": {"stray_field": 0.2792, "exchange": 0.0177, "anisotropy": 0.0056},
    "vortex": {"stray_field": 0.0780, "exchange": 0.1724, "anisotropy": 0.0521},
}


# ## The two states
def flower(x):
    return np.stack([0.6 * x[0] * x[2], 0.6 * x[1] * x[2], np.ones_like(x[0])])


def vortex(x):
    """About y, across the easy axis, with a core of a quarter of the edge."""
    core = np.exp(-(x[0] ** 2 + x[2] ** 2) / 0.06)
    return np.stack([-x[2], 0.5 * core + 1e-3, x[0]])


class Cube:
    """The cube in n^3 cells, and its two states."""

    def __init__(self, n):
        box = mesh.create_box(comm, [[-0.5] * 3, [0.5] * 3], [n, n, n])
        self.stray = llg.StrayField(box)
        self.states = {f.__name__: llg.magnetization(box, f) for f in (flower, vortex)}
        self.starts = {name: m.x.array.copy() for name, m in self.states.items()}

    def parts(self, name, edge):
        """Energies of the minimum in K_m L^3; the package's unit is twice that."""
        terms = {
            "stray_field": self.stray,
            "exchange": llg.Exchange(edge**-2),
            "anisotropy": llg.UniaxialAnisotropy((0, 0, 1), 0.1),
        }
        m = self.states[name]
        m.x.array[:] = self.starts[name]
        llg.minimise(llg.Energy(list(terms.values())), m, torque=TORQUE)
        return {key: 2.0 * llg.Energy([term]).total(m) for key, term in terms.items()}

    def gap(self, edge):
        """Energy of the flower less that of the vortex, and the parts of both."""
        both = {name: self.parts(name, edge) for name in self.states}
        flower_total, vortex_total = (sum(parts.values()) for parts in both.values())
        return flower_total - vortex_total, both

    def crossing(self):
        """Edge at which the gap ends, by secants, and the parts of the energies there."""
        a, b = 8.3, 8.6
        low, _ = self.gap(a)
        high, both = self.gap(b)
        while abs(b - a) > 1e-4:
            a, b, low = b, b - high * (b - a) / (high - low), high
            high, both = self.gap(b)
        return b, both


# ## The crossing on finer and finer meshes
results = []
say(f"cells  crossing (limit {LIMIT})  seconds")
for n in args.n:
    (edge, both), seconds = timed(Cube(n).crossing)
    row = {"n": n, "crossing": edge, "error": edge / LIMIT - 1.0, "seconds": seconds}
    results.append(row | both)
    say(f"{n:5d}  {edge:8.4f} ({100 * row['error']:+.2f} %)  {seconds:12.1f}")
coarse, fine = results[-2:]
weight = coarse["n"] ** 2 / (fine["n"] ** 2 - coarse["n"] ** 2)
limit = fine["crossing"] + weight * (fine["crossing"] - coarse["crossing"])
say(f"extrapolated {limit:.4f} ({100 * (limit / LIMIT - 1):+.2f} %)")

# ## The parts of the energy at the crossing
for name, parts in OTHERS.items():
    text = ", ".join(f"{key} {fine[name][key]:.4f} ({value})" for key, value in parts.items())
    say(f"{name}, {fine['n']} cells (others): {text}")
record("mumag3", args, {"rows": results, "extrapolated": limit})
