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
# There the flower is a saddle already: the lowest eigenvalue of its Hessian is negative, and
# beside it is a minimum of less energy, the twisted flower (Hertel and Kronmueller, J. Magn. Magn.
# Mater. 238, 185 (2002): 8.52 for the flower, 8.57 for the twisted one). A symmetric start on a
# symmetric mesh keeps to the flower, which the problem asks for; the twisted one is compared too.
# (https://www.ctcms.nist.gov/~rdm/spec3.html; energies beside it: n = 70, finite differences, where
# n = 10 gives 8.407.)
#
# Run: `[mpirun -n 2] python demos/demo_mumag3.py --json FILE [--n 6,8,10,12] [--quick]`. With
# `--grading 0.3` cells are .7 times as long in the middle, at the vortex's core.

from mpi4py import MPI  # noqa: F401  isort: skip

import numpy as np
from boxes import symmetric_box
from shared import begin, options, real, record, say, several, timed, whole

import dolfinx_llg as llg

parser = options("muMAG standard problem 3.")
parser.add_argument(
    "--n", type=several(whole(2)), help="cells an edge, comma-separated (6,8,10,12)"
)
parser.add_argument(
    "--grading", type=real(-1.0, 1.0), default=0.0, help="of cells to the middle, from 0 to below 1"
)
args = begin(parser, {"n": ([6, 8, 10, 12], [4, 6])})
if len(args.n) < 2 or sorted(set(args.n)) != args.n or any(np.mod(args.n, 2)):
    parser.error(f"--n must be two or more growing even numbers, got {args.n}")
if args.grading < 0.0:
    parser.error(f"--grading must lie in [0, 1), got {args.grading}")
LIMIT = 8.47
TORQUE = 1e-4
TOLERANCE = 1e-2 if args.quick else 1e-4  # of crossings
OTHERS = {
    "flower": {"stray_field": 0.2792, "exchange": 0.0177, "anisotropy": 0.0056},
    "vortex": {"stray_field": 0.0780, "exchange": 0.1724, "anisotropy": 0.0521},
}


# ## The states
def flower(x):
    return np.stack([0.6 * x[0] * x[2], 0.6 * x[1] * x[2], np.ones_like(x[0])])


def twisted(x):
    return flower(x) + 0.3 * np.stack([-x[1], x[0], np.zeros_like(x[0])])


def vortex(x):
    """About y, across the easy axis, with a core of a quarter of the edge."""
    core = np.exp(-(x[0] ** 2 + x[2] ** 2) / 0.06)
    return np.stack([-x[2], 0.5 * core + 1e-3, x[0]])


class Cube:
    """The cube in n^3 cells, cut alike in all octants, and its states."""

    def __init__(self, n):
        box = symmetric_box([-0.5] * 3, [0.5] * 3, [n] * 3)
        x = box.geometry.x
        x[:] -= args.grading / (2 * np.pi) * np.sin(2 * np.pi * x)
        self.stray = llg.StrayField(box)
        self.states = {f.__name__: llg.magnetization(box, f) for f in (flower, twisted, vortex)}
        self.found = {}
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
        self.found[name] = llg.minimise(llg.Energy(list(terms.values())), m, torque=TORQUE)
        return {key: 2.0 * llg.Energy([term]).total(m) for key, term in terms.items()}

    def gap(self, name, edge):
        """Energy of a state less that of the vortex, and the parts of both."""
        both = {each: self.parts(each, edge) for each in (name, "vortex")}
        total, vortex_total = (sum(parts.values()) for parts in both.values())
        return total - vortex_total, both

    def crossing(self, name):
        """Edge at which the gap ends, by secants, and the parts of the energies there."""
        a, b = 8.3, 8.6
        low, _ = self.gap(name, a)
        high, both = self.gap(name, b)
        while abs(b - a) > TOLERANCE:
            a, b, low = b, b - high * (b - a) / (high - low), high
            high, both = self.gap(name, b)
        return b, both


# ## The crossing on finer and finer meshes
results = []
say(f"cells  flower (limit {LIMIT})   twisted  the flower is a        seconds")
for n in args.n:
    cube = Cube(n)
    (edge, both), seconds = timed(lambda cube=cube: cube.crossing("flower"))
    flower_is = cube.found["flower"].stability()
    twisted_edge, _ = cube.crossing("twisted")
    row = {
        "n": n, "crossing": edge, "error": edge / LIMIT - 1.0, "seconds": seconds,
        "flower_is": flower_is.verdict, "flower_eigenvalue": flower_is.eigenvalue,
        "twisted_crossing": twisted_edge,
        "twisted_is": cube.found["twisted"].stability().verdict,
    }  # fmt: skip
    results.append(row | both)
    say(
        f"{n:5d}  {edge:8.4f} ({100 * row['error']:+.2f} %)  {twisted_edge:8.4f}  "
        f"{flower_is.verdict} ({flower_is.eigenvalue:+.4f})  {seconds:12.1f}"
    )


def limit(key):
    """What the last two crossings tend to, as n^-2."""
    coarse, fine = results[-2:]
    weight = coarse["n"] ** 2 / (fine["n"] ** 2 - coarse["n"] ** 2)
    return fine[key] + weight * (fine[key] - coarse[key])


fine, extrapolated = results[-1], {key: limit(key) for key in ("crossing", "twisted_crossing")}
order = None
if len(results) > 2:  # the gaps to the limit of the two before the last
    gaps = [extrapolated["crossing"] - row["crossing"] for row in results[:2]]
    order = np.log(gaps[0] / gaps[1]) / np.log(args.n[1] / args.n[0])
    say(f"order in the cell size, {args.n[0]} to {args.n[1]} cells: {order:.2f}")
flower_limit = extrapolated["crossing"]
say(
    f"extrapolated {flower_limit:.4f} ({100 * (flower_limit / LIMIT - 1):+.2f} %), "
    f"twisted {extrapolated['twisted_crossing']:.4f} (finite elements of others: 8.57)"
)

# ## The parts of the energy at the crossing
for name, parts in OTHERS.items():
    text = ", ".join(f"{key} {fine[name][key]:.4f} ({value})" for key, value in parts.items())
    say(f"{name}, {fine['n']} cells (others): {text}")
record(
    "mumag3",
    args,
    {
        "rows": results,
        "extrapolated": flower_limit,
        "extrapolated_twisted": extrapolated["twisted_crossing"],
        "order": order,
    },
)
