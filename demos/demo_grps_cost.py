# SPDX-License-Identifier: LGPL-3.0-or-later
# # What a run in a coarse space costs
#
# Table 7 and figure 4.2 of Z. Ma, J. Chen, R. Du, L. Zhang: Numerical homogenization of the
# Landau-Lifshitz equation with rough coefficients (arXiv:2508.02434), sections 3.3 and 4.1.
#
# A coarse step that assembles on the fine mesh costs as much as a fine step: what depends on m has
# to be integrated without it. Two ways, both on the few local modes that the basis functions have
# in a coarse cell:
#
# - **tensors** (section 3.3 in its right form), for algorithm 1: m stays in $V_H$, and the factor
#   that is quadratic in m, $\kappa |\nabla m|^2 + |m_a|^2$, is projected on the modes of each cell;
# - **empirical cubature**, for algorithm 2 and any scheme: a few fine cells of each coarse cell
#   with weights, chosen from a short training run, integrate what depends on the projected m.
#
# In seconds of one run to T = 0.02 with the data of EX2 of the HMM paper (arXiv:2108.09463), kappa
# = MsTrig, lambda = 1, fine steps T h and coarse steps T H^2 (the paper's h and H^2 to T = 1):
#
# - CT0: the fine linear solves alone, CT1: the whole fine run, by our best solver;
# - CT2: the localized basis functions of GRPS-V;
# - CT3: tensors or cubature (the training run and the projection of the constant blocks included);
# - CT4: the coarse run.
#
# The error is that of m at T against the fine run, in the full relative H1 norm; "standard" is the
# same algorithm in $V_H$ with assembly on the fine mesh. In the JSON `ct3`, `ct4`, `error_h1` are
# those of the tensors, the paper's way; those of the cubature end in `_cubature`.
#
# The tolerance of the cubature sets its price: a larger one takes fewer samples and shorter steps.
#
# `--paper`: the paper's own setting, a constant datum, T = 1 and bases of patches. kappa then never
# acts: the errors are those of backward Euler and of patches that do not add up to 1.
#
# Run: `python demos/demo_grps_cost.py --output DIR --json FILE [--fine 256 --nc 2,4,8,16 --ell 4]`,
# also under `mpirun -n 2`; `--study-h 128,256,512 --nc 8` measures how CT4 depends on h alone;
# `--dim 3 [--fine 64 --nc 8 --ell 2 --steps 5 --cells tetrahedron]` is the unit cube instead
# (`grps_cost_3d.py`).

import math
import warnings

from mpi4py import MPI

import numpy as np
from grps_cost_3d import study_3d
from grps_cost_cases import DAMPING, Problem, distance, node_table, places
from grps_cost_pictures import draw
from provenance import memory_gb
from shared import SCHEMES, begin, norms, numbers, options, real, record, say, timed, whole

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.reduction import hyper_reduce, tensor_reduce

PAPER_SECONDS = {  # table 7: h = 2^-8, CT0 418 s and CT1 3.1 days in each column
    2: (0.176, 673.0, 2.04e-4),
    4: (1.225, 3589.0, 6.81e-3),
    8: (9.414, 10573.0, 0.132),
    16: (27.0, 14951.0, 6.99),
}


parser = options("Cost of coarse runs: table 7 and figure 4.2.")
parser.add_argument("--dim", type=int, choices=(2, 3), default=2, help="square or cube")
parser.add_argument("--fine", type=whole(4), help="fine squares per side, h = 1/FINE (256; 64)")
parser.add_argument("--nc", type=numbers, help="coarse squares per side (2,4,8,16; 8)")
parser.add_argument("--ell", type=whole(), help="layers of the patches (4; 2)")
parser.add_argument("--scheme", choices=tuple(SCHEMES), default="gao", help="of all runs")
parser.add_argument("--tolerance", type=real(0.0, 1.0), help="of modes and cubature (2e-3; 5e-3)")
parser.add_argument("--study-h", type=numbers, default=[], help="only CT4 for these FINE")
parser.add_argument("--paper", action="store_true", help="constant datum, T = 1, bases of patches")
parser.add_argument("--figure-ell", type=numbers, help="figure 4.2 (3,4,5,6,7,8)")
parser.add_argument("--figure-fine", type=whole(0), help="FINE of figure 4.2 (64; 0: none)")
cube = parser.add_argument_group("--dim 3")
kinds = ("tetrahedron", "hexahedron")
cube.add_argument("--cells", nargs="+", choices=kinds, default=list(kinds), help="kinds")
cube.add_argument("--steps", type=whole(2), default=5, help="steps of fine and coarse run (5)")
routes = ("tensors", "cubature")
cube.add_argument("--route", nargs="+", choices=routes, default=["tensors"], help="(tensors)")
cube.add_argument("--standard", action="store_true", help="the unreduced coarse run too")
SIZES = {
    2: {"fine": (256, 16), "nc": ([2, 4, 8, 16], [2, 4]), "ell": (4, 2), "tolerance": (2e-3, 2e-3)},
    3: {"fine": (64, 8), "nc": ([8], [2]), "ell": (2, 2), "tolerance": (5e-3, 5e-3)},
}
FIGURE = {"figure_ell": ([3, 4, 5, 6, 7, 8], [2]), "figure_fine": (64, 16)}
args = begin(parser, lambda given: SIZES[given.dim] | FIGURE)
for nc in args.nc:
    for fine in (args.fine, *args.study_h):
        if fine < 4 * nc or (fine // nc) & (fine // nc - 1) or fine % nc:
            parser.error(f"FINE must be NC times a power of 2, at least 4: got {fine} and {nc}")
if args.figure_fine & (args.figure_fine - 1):
    parser.error(f"--figure-fine must be a power of 2, or 0, got {args.figure_fine}")
if args.dim == 3:
    names = ("fine", "ell", "scheme", "tolerance", "steps")
    record("grps_cost", args, study_3d(args), {name: getattr(args, name) for name in names})
    raise SystemExit
comm = MPI.COMM_WORLD
scheme = SCHEMES[args.scheme]
T = 1.0 if args.paper else 0.02


def march(step: object, basis: object) -> tuple[float, dict[str, float]]:
    parts = {"steps": 0, "iterations": 0, "setup": 0.0, "assembly": 0.0, "solve": 0.0}

    def run() -> None:
        for state in llg.march(step, t_end=T, basis=basis):
            parts["steps"] += 1
            parts["iterations"] += state.iterations
            for name, seconds in state.parts.items():
                parts[name] += seconds

    return timed(run)[1], parts


def reduced(problem: Problem, basis: object, route: str) -> dict[str, float]:
    """Prepare and run one route; m is reconstructed at the end."""
    dt = T / problem.nc**2
    problem.m.x.array[:] = problem.start
    if route == "cubature":
        step = problem.step(dt, True)
        data = {"t_train": T, "energy": problem.energy, "tolerance": args.tolerance}
        run, ct3 = timed(lambda: hyper_reduce(step, basis, problem.hierarchy, **data))
        extra = {"samples": run.count(), "cubature_error": run.error}
    else:
        data = {"dt": dt, "damping": DAMPING, "tolerance": args.tolerance}
        given = (scheme, problem.energy, problem.m, basis, problem.hierarchy)
        run, ct3 = timed(lambda: tensor_reduce(*given, **data))
        extra = {"mb": run.tensor_bytes() / 1e6}
    ct4, parts = march(run, None)
    found = {"ct3": ct3, "ct4": ct4, "modes": run.modes(), **extra}
    if route == "cubature":
        found["energy"] = run.total(problem.energy)
        found["cubature_error_end"] = run.present_error()
    run.reconstruct()
    found |= {f"{name}_step": parts[name] / parts["steps"] for name in ("assembly", "solve")}
    return found | {"iterations_mean": parts["iterations"] / parts["steps"]}


# Forms are compiled once per machine: a tiny problem first, so that no column carries it.
def warm_up() -> None:
    small = Problem(2, 8, scheme, paper=args.paper)
    warnings.simplefilter("ignore", UserWarning)  # two coarse cells resolve nothing
    basis = small.basis(1)[1]
    for route in ("cubature", "tensors"):
        reduced(small, basis, route)
    for projection in (True, False):
        march(small.step(T / 4, projection), basis)
        march(small.step(T / 4, projection), None)


with warnings.catch_warnings():
    warm_up()
results: list[dict[str, float]] = []
study: list[dict[str, float]] = []
figure: list[dict[str, object]] = []

# ## CT4 against h
for fine in args.study_h:
    for nc in args.nc:
        problem = Problem(nc, fine, scheme, paper=args.paper)
        ct2, basis = problem.basis(args.ell)
        row: dict[str, float] = {"nc": nc, "fine": fine, "ct2": ct2}
        for route in ("cubature", "tensors"):
            row |= {f"{k}_{route}": v for k, v in reduced(problem, basis, route).items()}
        study.append(row)
        say(
            f"h = 1/{fine}, Nc = {nc}: CT4 {row['ct4_cubature']:.2f} s by cubature "
            f"({row['samples_cubature']} of {2 * fine**2} cells, CT3 {row['ct3_cubature']:.1f} s), "
            f"{row['ct4_tensors']:.2f} s by tensors (CT3 {row['ct3_tensors']:.1f} s)"
        )
        del problem, basis

# ## Table 7
if not args.study_h:
    say(
        f"MsTrig at centroids, right diagonals, {'constant' if args.paper else 'EX2'} datum, "
        f"{args.scheme}, T = {T}, h = "
        f"1/{args.fine}, dt = T h, tau = T H^2, GRPS-V, ell = {args.ell}, tolerance "
        f"{args.tolerance:g}, {comm.size} rank(s)"
    )
    first = Problem(args.nc[0], args.fine, scheme, paper=args.paper)
    ct1, parts = march(first.step(T / args.fine, True), None)
    ct0 = parts["solve"]
    table = node_table(first.m, args.fine)
    say(
        f"fine run: {parts['steps']} steps, CT0 {ct0:.1f} s, CT1 {ct1:.1f} s, "
        f"{parts['iterations'] / parts['steps']:.1f} iterations a step"
    )
    for nc in args.nc:
        problem = Problem(nc, args.fine, scheme, paper=args.paper)
        exact = table[places(problem.m, args.fine)].ravel()
        fine_m = problem.m.copy()
        fine_m.x.array[:] = exact
        size = float(norms(fine_m)[1])
        ct2, basis = problem.basis(args.ell)
        row = {"nc": nc, "dofs": basis.dim, "ct0": ct0, "ct1": ct1, "ct2": ct2}
        for route, projection in (("cubature", True), ("tensors", False)):
            standard, parts = march(problem.step(T / nc**2, projection), basis)
            error = distance(problem.m, exact, size)
            full = problem.energy.total(problem.m)
            found = reduced(problem, basis, route)
            suffix = "_cubature" if projection else ""
            row |= {f"{name}{suffix}": value for name, value in found.items()}
            row[f"error_h1{suffix}"] = distance(problem.m, exact, size)
            row[f"error_h1_standard{suffix}"] = error
            row[f"seconds_standard{suffix}"] = standard
            if projection:
                row["energy_error"] = abs(found["energy"] / full - 1.0)
        row["memory_gb"] = memory_gb()
        for suffix in ("", "_cubature"):
            row[f"ct4_over_ct1{suffix}"] = row[f"ct4{suffix}"] / ct1
        results.append(row)
        say(
            f"Nc = {nc:2d}: CT2 {ct2:.2f} s, peak memory {row['memory_gb']:.2f} GB, "
            f"{row['modes'] / (2 * nc**2):.1f} modes a cell"
        )
        for title, suffix in (("tensors", ""), ("cubature", "_cubature")):
            what = f"{row['samples_cubature']} cells" if suffix else f"{row['mb']:.1f} MB"
            say(
                f"   {title:8s} CT3 {row['ct3' + suffix]:7.2f} s  CT4 {row['ct4' + suffix]:7.3f} s "
                f"({100 * row['ct4_over_ct1' + suffix]:5.2f} % of CT1; standard "
                f"{row['seconds_standard' + suffix]:6.1f} s)  H1 error "
                f"{row['error_h1' + suffix]:.3e} (standard "
                f"{row['error_h1_standard' + suffix]:.3e})  {what}"
            )
        del problem, basis

# ## Figure 4.2
# Error against time of the coarse run for V and E, (V1)+(V2), by tensors (algorithm 1).
if args.figure_fine and not args.study_h:
    table_42: np.ndarray | None = None
    for kind in "VE":
        for ell in args.figure_ell:
            for nc in [n for n in args.nc if 4 * n <= args.figure_fine]:
                problem = Problem(nc, args.figure_fine, scheme, paper=args.paper)
                if table_42 is None:
                    march(problem.step(T / 256, False), None)
                    table_42 = node_table(problem.m, args.figure_fine)
                exact_m = problem.m.copy()
                exact_m.x.array[:] = table_42[places(exact_m, args.figure_fine)].ravel()
                _, basis = problem.basis(ell, kind, "V1+V2")
                found = reduced(problem, basis, "tensors")
                error = distance(problem.m, exact_m.x.array, float(norms(exact_m)[1]))
                figure.append(
                    {"kind": kind, "ell": ell, "nc": nc, "seconds": found["ct4"], "error_h1": error}
                )
                del problem, basis
    say(f"Figure 4.2 at h = 1/{args.figure_fine}: H1 error (seconds of the coarse run)")
    for kind in "VE":
        for ell in args.figure_ell:
            rows = [r for r in figure if r["kind"] == kind and r["ell"] == ell]
            cells = "".join(f"   {r['error_h1']:.2e} ({r['seconds']:.2f})" for r in rows)
            say(f"  GRPS-{kind}, ell = {ell}: {cells}")


# ## Pictures
if args.output is not None:
    for path in on_root(comm, lambda: draw(args, results, figure, study)) or []:
        say(f"Picture: {path}")
names = ("fine", "nc", "ell", "scheme", "tolerance", "figure_fine", "paper")
parameters = {name: getattr(args, name) for name in names} | {"t_end": T}
record("grps_cost", args, results or study, parameters, figure_4_2=figure)

if results:
    say("\nTable 7: ours (the paper's, MATLAB on 32 processors; its CT1 is 3.1 days)")
    for row in results:
        theirs = PAPER_SECONDS.get(row["nc"], (math.nan,) * 3)
        say(
            f"  Nc = {row['nc']:2d}: CT2 {row['ct2']:.2f} s ({theirs[0]:g} s), CT3 "
            f"{row['ct3']:.1f} s tensors, {row['ct3_cubature']:.1f} s cubature ({theirs[1]:g} s), "
            f"CT4 {row['ct4']:.3f} s, {row['ct4_cubature']:.3f} s ({theirs[2]:g} s)"
        )
    worst = [
        max(abs(row[f"error_h1{name}"] / row[f"error_h1_standard{name}"] - 1.0) for row in results)
        for name in ("", "_cubature")
    ]
    say(
        f"Reproduced: table 7. CT0 {ct0:.1f} s (418 s), CT1 {ct1:.1f} s; the errors are those of "
        f"the standard scheme to {100 * worst[0]:.1f} % by tensors, {100 * worst[1]:.1f} % by "
        "cubature."
    )
