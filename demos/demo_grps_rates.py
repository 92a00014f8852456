# SPDX-License-Identifier: LGPL-3.0-or-later
# # Dynamics in coarse spaces: tables 1 to 6, and data for which they mean something
#
# Section 4.1 of Z. Ma, J. Chen, R. Du, L. Zhang: Numerical homogenization of the Landau-Lifshitz
# equation with rough coefficients (arXiv:2508.02434). On the unit square, kappa = MsTrig (4.2),
# $$ \partial_t m = -m \times h - \lambda\, m \times (m \times h), \qquad
#    h = \nabla\cdot(\kappa \nabla m) - m_a, \quad m_a = (0, m_2, m_3)^T, \quad \lambda = 1, $$
# a semi-implicit scheme seeks the new iterate in $V_H$, spanned by $\psi_i$, the minimisers of
# $$ \mathrm{(V1)}\ \int \kappa |\nabla \psi|^2 \quad\text{or}\quad
#    \mathrm{(V2)}\ \int \kappa |\nabla \psi|^2 + \psi^2 \qquad\text{under}\quad
#    [\phi_j, \psi_i] = \delta_{ij}, $$
# with a functional for each coarse triangle (GRPS-V) or inner coarse edge (GRPS-E). (V1)+(V2) takes
# (V1) for $m_1$ and (V2) for $m_2, m_3$. Algorithm 1 stays in $V_H$; algorithm 2 projects m to unit
# length at the fine nodes after each step, and so leaves $V_H$. The time step is $\tau = H$ or
# $\tau = H^2$. The error is that at time T, relative, in the full $H^1$ norm, and a rate is the
# slope of its logarithm against that of the scalar coarse dofs.
#
# **The paper's datum is constant in space**, $m_0 = (1/\sqrt2, 1/\sqrt3, 1/\sqrt6)$. With natural
# boundary conditions the solution stays constant: kappa never acts, and the reference is the scheme
# applied to an ODE in three components, $h = -m_a$, with $\Delta t = h^2$. As the dofs grow with
# $N_c^2$, backward Euler's order 1 gives a rate of -1/2 for $\tau = H$ and of -1 for
# $\tau = H^2$ whatever the space is good for, as long as it contains the constants. E with (V2)
# does not contain them: that is what its columns show.
#
# `--initial varying` takes the data of EX2 of the HMM paper (arXiv:2108.09463), T = 0.02 and
# $\tau = TH$ or $TH^2$, the reference being the same scheme in $V_h$ with $\Delta t = T/1024$. Then
# kappa acts, and two rivals of equal time step are measured beside: P1 on the coarse mesh with
# kappa taken at the midpoints, and with kappa averaged over the coarse triangles.
#
# `--basis lod` and `--basis slod` run the schemes in these spaces. Gao's scheme without projection
# is a linearized backward Euler method; Z. Ma et al. (arXiv:2601.12734) prove for one of that name
# in an LOD space optimal orders in L2 and in H1.
#
# Run: `python demos/demo_grps_rates.py --scheme gao --measurement V --energy V1+V2 --tau H2
# --initial varying --output DIR`, or a whole table with `--table 3`, all with `--table all`; also
# under `mpirun -n N`. Finished bases, references and results are kept in DIR/cache.

import argparse
import itertools
import math
import sys
import tempfile
from functools import partial

from mpi4py import MPI

import numpy as np
from grps_cases import BASES, DAMPING, SCHEMES, Level, Setting, basis_of, kept, rivals, run
from grps_rates_pictures import picture, slope
from grps_rates_tables import say_cost, say_errors, say_rates, space_name
from grps_rates_variants import report
from shared import begin, beside, numbers, options, positive, record, say, whole

import dolfinx_llg as llg
from dolfinx_llg.output import on_root, output_folder

ENERGIES = ("V1+V2", "V1", "V2")
TABLES = beside(__file__, "grps_paper_tables.json")


parser = options("Rates of the schemes in GRPS spaces.", "folder for pictures and the cache")
parser.add_argument("--scheme", choices=SCHEMES, help="default gao")
parser.add_argument(
    "--basis", choices=BASES, default="grps",
    help="GRPS, or in its place LOD (a function for each coarse vertex) or SLOD (for each cell)",
)  # fmt: skip
parser.add_argument("--measurement", choices=("V", "E"), help="volumes (default) or inner edges")
parser.add_argument("--energy", choices=ENERGIES, help="default V1+V2")
parser.add_argument(
    "--projection", action=argparse.BooleanOptionalAction, default=None,
    help="algorithm 2 (unit length at the fine nodes) or algorithm 1 (default)",
)  # fmt: skip
parser.add_argument("--tau", choices=("H", "H2"), help="coarse time step (default H2)")
parser.add_argument("--initial", choices=("constant", "varying"), default="constant", help="datum")
parser.add_argument("--nc", type=numbers, nargs="+", help="coarse squares per side (2 4 8 16)")
parser.add_argument("--fine", type=whole(4), help="fine squares per side, h = 1/FINE (128)")
parser.add_argument("--t-end", type=positive, help="T (constant data 1, varying 0.02)")
parser.add_argument(
    "--ell",
    type=whole(),
    default=4,
    help="layers of the patches (global where they cover the square)",
)
parser.add_argument(
    "--localization", choices=("constants", "patches"), default="constants",
    help="of GRPS: bases that add up to 1 at any ell, or the minimisers (3.1), which without "
    "projection need ell >= 6 at Nc = 16",
)  # fmt: skip
parser.add_argument(
    "--kappa-rule", choices=("centroid", "mean"), default="centroid",
    help="how each fine triangle samples kappa, in the run and in its reference",
)  # fmt: skip
parser.add_argument(
    "--table", choices=(*TABLES["tables"], "all"),
    help="all combinations of a table of the paper, or those of the given scheme, ..., tau",
)  # fmt: skip
parser.add_argument("--variants", action="store_true", help="what the printed rates may be of")
args = begin(parser, {"nc": ([[2, 4, 8, 16]], [[2, 4]]), "fine": (128, 16)})
if args.variants:  # only steps of an ODE: the datum is constant
    sys.exit(report(args, TABLES["tables"]))
args.nc = sorted(set(itertools.chain(*args.nc)))
if args.basis != "grps" and any((args.table is not None, args.measurement == "E")):
    parser.error("--basis lod and slod have their own functionals: no --table, no --measurement E")
if args.t_end is None:
    args.t_end = 1.0 if args.initial == "constant" else 0.02
for nc in args.nc:
    levels = math.log2(args.fine / nc)
    if levels < 2 or levels != int(levels):
        parser.error(f"--fine must be --nc times 4, 8, 16, ..., got {args.fine} and {nc}")

comm = MPI.COMM_WORLD
scratch = tempfile.TemporaryDirectory() if args.output is None and comm.rank == 0 else None
cache = comm.bcast(scratch.name if scratch else None, root=0) or args.output / "cache"
setting = Setting(
    comm=comm,
    cache=output_folder(cache, comm),
    initial=args.initial,
    fine=args.fine,
    t_end=args.t_end,
    basis=args.basis,
    ell=args.ell,
    localization=args.localization,
    kappa_rule=args.kappa_rule,
    reference_steps=64 if args.quick else 1024,
)


# ## Conventions
# What the paper leaves open is fixed here and printed with the result.
say(
    f"h = 1/{args.fine}, right diagonals, kappa = MsTrig, one value per fine triangle "
    f"({args.kappa_rule}), E: inner edges,\nell = {args.ell} layers by vertices "
    f"({args.basis}{', ' + args.localization if args.basis == 'grps' else ''}), "
    "m(0) = sum_j [phi_j, m0] psi_j, relative H1 norm, rates by least squares against scalar "
    f"dofs, T = {args.t_end:g}, "
    f"lambda = {DAMPING:g}, {comm.size} rank(s)"
)


# ## The runs
# A run is named by scheme, projection, tau, measurement and energy. Bases are the expensive thing
# to make and to hold: all runs in one basis follow each other.
DEFAULTS = {
    "scheme": "gao",
    "projection": False,
    "tau": "H2",
    "measurement": "V",
    "energy": "V1+V2",
}
FIELDS = tuple(DEFAULTS)
given = {field: value for field in FIELDS if (value := getattr(args, field)) is not None}
if args.table is None:
    chosen = {}
    vars(args).update(DEFAULTS | given)
    wanted = [tuple(getattr(args, field) for field in FIELDS)]
else:
    chosen = TABLES["tables"] if args.table == "all" else {args.table: TABLES["tables"][args.table]}
    wanted = [
        (table["scheme"], table["projection"], tau, kind, energy)
        for table in chosen.values()
        for energy in ENERGIES
        for kind, tau in TABLES["columns"]
    ]
    wanted = [name for name in wanted if all(name[FIELDS.index(f)] == given[f] for f in given)]
    if not wanted:
        parser.error(f"table {args.table} has no run with {given}")
found: dict[tuple, list[dict]] = {name: [] for name in wanted}


def runs_in(level: Level, kind: str, energy: str) -> None:
    made: list[tuple[llg.GalerkinBasis, float]] = []

    def compute(case: dict) -> dict:
        if not made:
            made.append(basis_of(level, kind, energy))
        return run(level, case, *made[0])

    for name in wanted:
        if name[3:] != (kind, energy):
            continue
        case = {**dict(zip(FIELDS, name, strict=True)), "nc": level.nc, "ell": args.ell}
        row = kept(setting, "run", case, partial(compute, case))
        if args.initial == "varying":
            rival = {key: case[key] for key in ("scheme", "projection", "tau", "nc")}
            row |= kept(setting, "rivals", rival, partial(rivals, level, rival))
        found[name].append(row)
        say(
            f"  {name[0]:6s} {'projected' if name[1] else 'relaxed  '} "
            f"{space_name(args.basis, kind)} {energy:5s} "
            f"tau = {name[2]:2s}  Nc = {level.nc:3d}  dofs {row['dofs']:5d}  "
            f"H1 error {row['error_h1']:.3e}  {row['steps']:4d} steps  {row['seconds']:7.2f} s"
        )


for nc in args.nc:
    here = Level(setting, nc)
    for kind, energy in sorted({name[3:] for name in wanted}):
        runs_in(here, kind, energy)


# ## Tables
def paper_rate(name: tuple) -> float | None:
    scheme, projection, tau, kind, energy = name
    for table in TABLES["tables"].values():
        if (table["scheme"], table["projection"]) == (scheme, projection):
            return table["rates"][energy][TABLES["columns"].index([kind, tau])]
    return None


rates = {name: slope(rows) for name, rows in found.items()}
rates_l2 = {name: slope(rows, "error_l2") for name, rows in found.items()}
if args.table is None:
    say_errors(found[wanted[0]])
else:
    for number, table in chosen.items():
        names = [name for name in wanted if name[:2] == (table["scheme"], table["projection"])]
        if names:
            title = f"Table {number}: {args.initial} datum, "
            say_rates(title, names, rates, {name: paper_rate(name) for name in names})

# ## What a step costs
# The matrix of a step is assembled on the fine mesh and applied as $P^T (A (P x))$: its triple
# product would cost about twenty times the whole solve.
say_cost(max((rows[-1] for rows in found.values()), key=lambda row: row["seconds"]))


# ## Pictures
if args.output:
    groups: dict[tuple, list[tuple]] = {}
    for name in wanted:
        groups.setdefault(name[:2], []).append(name)
    for (scheme, projection), names in groups.items():
        stem = f"rates_{scheme}_{'projected' if projection else 'relaxed'}_{args.initial}"
        stem += "" if args.basis == "grps" else f"_{args.basis}"
        title = f"{scheme}, algorithm {2 if projection else 1}, {args.initial} datum"
        target = args.output / f"{stem}.png"
        on_root(comm, partial(picture, found, names, title, target, args.basis))
        say(f"Picture: {target}")

# ## What was reproduced
results: list[dict] = []
rate_rows: list[dict] = []
for name, rows in found.items():
    labels = {} if args.table is None else dict(zip(FIELDS, name, strict=True))
    rate = {} if len(rows) < 2 else {"rate_h1": rates[name], "rate_l2": rates_l2[name]}
    results += [{**labels, **row, **rate} for row in rows]
    paper = paper_rate(name)
    rate_rows.append({**labels, **rate, **({} if paper is None else {"rate_h1_paper": paper})})
more: dict = {}
if len(args.nc) > 1:
    more = {"rate_h1": rate_rows if args.table else rates[wanted[0]]}
    more |= {} if args.table else {"rate_l2": rates_l2[wanted[0]]}
record("grps_rates", args, results, **more)

text = ""
if len(args.nc) > 1:
    gaps = [abs(rates[name] - paper) for name in wanted if (paper := paper_rate(name)) is not None]
    low, high = min(rates.values()), max(rates.values())
    text = f"Rates {low:.3f} to {high:.3f}"
    if len(rates) == 1:
        text = f"Rate {low:.3f} in H1, {rates_l2[wanted[0]]:.3f} in L2"
    if args.initial == "constant" and args.basis == "grps" and gaps:
        text += f"; the paper's tables: to {np.mean(gaps):.3f} on average, {max(gaps):.3f} at worst"
    text += ". "
if args.initial == "constant":
    ratios = [row["error_h1"] / row["error_time"] for row in results]
    text += (
        "The datum is constant in space, so these are rates of backward Euler in tau: the H1 errors"
        f"\nare {min(ratios):.3f} to {max(ratios):.3f} times those of the ODE with the same tau."
    )
else:
    gains = [
        min(row["error_h1_p1_midpoint"], row["error_h1_p1_mean"]) / row["error_h1"]
        for row in results
        if row["nc"] == args.nc[-1]
    ]
    text += (
        "kappa acts on these data (not in the paper, whose datum is constant). At Nc = "
        f"{args.nc[-1]} the error\nis {min(gains):.1f} to {max(gains):.1f} times smaller than that "
        "of the better coarse P1 with the same tau."
    )
say("\n" + text)
