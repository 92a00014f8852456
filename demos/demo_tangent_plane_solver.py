# SPDX-License-Identifier: LGPL-3.0-or-later
# # What a tangent-plane step costs
#
# The tangent-plane scheme seeks the velocity $v = \partial_t m$ in the tangent plane of m:
# $$ \begin{pmatrix} A & B^T \\ B & 0 \end{pmatrix}
#    \begin{pmatrix} v \\ \lambda \end{pmatrix} = \begin{pmatrix} r \\ 0 \end{pmatrix}, \qquad
#    A = \alpha M + [m]_\times + \theta\, \Delta t\, K, \qquad (B v)_i = \beta_i\, m_i \cdot v_i $$
# (the paper on the tangent-plane scheme in MFEM, (5.31), (5.32)). K is assembled once; a step
# changes the nodal blocks of the rest. How many iterations the system takes depends on
# $\kappa\, \Delta t/h^2$, the square of the number of cells over which exchange couples in a step.
# The forms compared here all give the same v:
#
# * `block`: the saddle point with four unknowns $(v, \lambda)$ a node, ILU(0) of 4 x 4 blocks;
# * `reduced`: two unknowns a node in a frame of the tangent plane, ILU(0) of 2 x 2 blocks;
# * `rotated-amg`: the same, preconditioned by a scalar AMG of $|\alpha + i| M + \theta \Delta t K$,
#   built once for all steps, whose result is turned about m by $-\arg(\alpha + i)/2$;
# * `fieldsplit`: the saddle point by PCFIELDSPLIT (Schur, full), with
#   $S^{-1} \approx -(B B^T)^{-1} B A B^T (B B^T)^{-1}$;
# * `mumps`: the saddle-point matrix factorized in each step (up to $16^3$ cells);
# * `auto`: `reduced` where it is expected to take at most 25 iterations (by size and
#   $\kappa \Delta t/h^2$ alone), else the rotated AMG followed by ILU.
#
# The problem: a cube of 50 nm, permalloy (A = 13 pJ/m, Ms = 8e5 A/m) with K_u = 5e4 J/m3 along z
# (implicit), theta = 1. m makes one full turn across the cube and its azimuth another:
# $m = (\sin f \cos g, \sin f \sin g, \cos f)$, $f = 2\pi(x + y/2)/L$, $g = 2\pi(z - x/2)/L$.
# `--contrast 100`: a random half of 8 x 8 x 8 tiles has A/100.
#
# Iterations start from v = 0. Seconds and CPU seconds (summed over the ranks; the best of the
# repetitions) are those of a whole step as it recurs: right side, nodal blocks, factorization,
# iterations, update. What is built once per dt (matrices, AMG) is in the figures of the first step.
#
# Run: `mpirun -n 2 python demos/demo_tangent_plane_solver.py --json FILE [--n 8 16 32 48]
# [--dt-ps 0.1 1 10] [--alpha 1 0.1 0.02] [--contrast 1 100] [--rtol 1e-6] [--form auto block]`.

import gc
import itertools
import json
import time

from mpi4py import MPI

import numpy as np
from dolfinx import mesh
from shared import begin, earlier, options, positive, real, record, say, whole
from tangent_plane_pictures import draw_blocks

import dolfinx_llg as llg

FORMS = {
    "auto": (None, "auto"),
    "block": ("saddle-point", "fast"),
    "reduced": ("two-unknown", "fast"),
    "rotated-amg": ("two-unknown", "scalable"),
    "fieldsplit": ("saddle-point", "fieldsplit"),
    "mumps": ("saddle-point", "mumps"),
}
LARGEST_MUMPS = 16
SIDE_NM = 50.0

parser = options(
    "Iterations and seconds of a tangent-plane step.",
    "folder for the picture of the matrix (figure 5.3)",
)
parser.add_argument("--n", type=whole(2), nargs="+", help="cells per side (8 16 32 48)")
parser.add_argument("--dt-ps", type=positive, nargs="+", help="(0.1 1 10)")
parser.add_argument("--alpha", type=positive, nargs="+", help="(1 0.1 0.02)")
parser.add_argument("--contrast", type=positive, nargs="+", default=[1.0, 100.0], help="of A")
parser.add_argument(
    "--rtol", type=real(0.0, 1.0), nargs="+", default=[1e-6], help="of Krylov methods"
)
parser.add_argument("--form", nargs="+", choices=FORMS, default=list(FORMS), help="solvers")
parser.add_argument("--repeat", type=whole(0), help="timed repetitions of the step (2; 0: none)")
parser.add_argument("--metres", action="store_true", help="give the mesh in metres, not in nm")
parser.add_argument(
    "--reference", type=earlier, help="JSON of a run on fewer ranks, to compare with"
)
defaults = {"n": ([8, 16, 32, 48], [4, 8]), "dt_ps": ([0.1, 1.0, 10.0], [1.0]), "repeat": (2, 1)}
args = begin(parser, defaults | {"alpha": ([1.0, 0.1, 0.02], [0.1])})
comm = MPI.COMM_WORLD


# ## The problem
units = llg.units.Units(8e5, length=1.0 if args.metres else 1e-9)
side = float(units.length_from_m(1e-9 * SIDE_NM))


def twisted(x):
    f, g = 2 * np.pi * (x[0] + 0.5 * x[1]) / side, 2 * np.pi * (x[2] - 0.5 * x[0]) / side
    return np.array([np.sin(f) * np.cos(g), np.sin(f) * np.sin(g), np.cos(f)])


def cube(n: int, contrast: float, comm=comm) -> tuple[llg.Energy, llg.magnetization]:
    msh = mesh.create_box(comm, [[0, 0, 0], [side] * 3], [n] * 3)
    kappa = float(units.kappa_from_A(1.3e-11))
    if contrast != 1.0:
        box = ([0.0] * 3, [side] * 3)
        low = kappa / contrast
        kappa = llg.checkerboard(msh, (8, 8, 8), contrast=contrast, seed=1, low=low, box=box)
    q_u = float(units.q_u_from_K_u(5e4))
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), q_u)])
    return energy, llg.magnetization(msh, twisted)


# ## A step
def measure(energy, m, form: str, dt_ps: float, alpha: float, rtol: float) -> dict[str, object]:
    start = m.x.array.copy()
    dt = float(units.time_from_s(1e-12 * dt_ps))
    step = llg.tangent_plane(energy, m, dt=dt, damping=llg.Gilbert(alpha))
    constraint, preconditioner = FORMS[form]
    solver = llg.TangentStepper(
        step,
        constraint=constraint,
        preconditioner=preconditioner,
        petsc_options={"ksp_rtol": rtol},
    )
    rows = []
    for _ in range(1 + args.repeat):
        m.x.array[:] = start
        solver.start(0.0)
        solver.restart()
        comm.barrier()
        clock, cpu = time.perf_counter(), time.process_time()
        solver.advance(dt, dt)
        cpu = sum(comm.allgather(time.process_time() - cpu))
        wall = max(comm.allgather(time.perf_counter() - clock))
        parts = [max(comm.allgather(solver.seconds[k])) for k in ("assembly", "setup", "solve")]
        rows.append([*parts, wall, cpu])
    m.x.array[:] = start
    first, best = rows[0], min(rows[1:] or rows, key=lambda row: row[-1])
    result = {
        "form": form,
        "solver": "/".join(solver.form),
        "iterations": solver.iterations,
        "seconds_assembly": best[0],
        "seconds_setup": best[1],
        "seconds_solve": best[2],
        "seconds": best[3],
        "cpu_seconds": best[4],
        "cpu_seconds_first_step": first[4],
    }
    solver.destroy()
    return result


def write() -> None:
    names = ("n", "dt_ps", "alpha", "contrast", "rtol", "form", "repeat", "metres")
    record("tangent_plane_solver", args, results, {name: getattr(args, name) for name in names})


results: list[dict[str, object]] = []
say(f"cube of 50 nm, {comm.size} rank(s), mesh in {'metres' if args.metres else 'nm'}")
say("  n  dt ps  alpha  contrast   rtol  form         its  assembly    setup     solve   CPU step"
    "  CPU first  solver")  # fmt: skip
for n in args.n:
    for contrast in args.contrast:
        energy, m = cube(n, contrast)
        for dt_ps, alpha, rtol in itertools.product(args.dt_ps, args.alpha, args.rtol):
            for form in args.form:
                if form == "mumps" and n > LARGEST_MUMPS:
                    continue
                case = {"n": n, "dt_ps": dt_ps, "alpha": alpha, "contrast": contrast, "rtol": rtol}
                row = case | measure(energy, m, form, dt_ps, alpha, rtol)
                gc.collect()
                results.append(row)
                say(
                    f"{n:3d} {dt_ps:6g} {alpha:6g} {contrast:9g} {rtol:6g}  {form:11s} "
                    f"{row['iterations']:4d} {row['seconds_assembly']:9.4f} "
                    f"{row['seconds_setup']:8.4f} {row['seconds_solve']:9.4f} "
                    f"{row['cpu_seconds']:10.4f} {row['cpu_seconds_first_step']:10.4f}  "
                    f"{row['solver']}"
                )
            write()


# ## The outcome
def key(row, *names):
    return tuple(row[name] for name in names)


CASE = ("dt_ps", "alpha", "contrast", "rtol")


def worst(form: str) -> str:
    counts = [row["iterations"] for row in results if row["form"] == form]
    return str(max(counts)) if counts else "not run"


def ratio(n: int, form: str, other: str) -> list[float]:
    """CPU seconds of one form in those of another, case by case."""
    table = {key(row, "form", *CASE): row["cpu_seconds"] for row in results if row["n"] == n}
    cases = {case[1:] for case in table}
    pairs = [(table.get((form, *c)), table.get((other, *c))) for c in cases]
    return [a / b for a, b in pairs if a is not None and b is not None]


say(f"\nMost iterations: auto {worst('auto')}, fieldsplit {worst('fieldsplit')}.")
small, large = min(n for n in args.n if n >= min(16, max(args.n))), max(args.n)
if small < large:
    table = {
        key(row, "n", *CASE): row["iterations"] for row in results if row["form"] == "rotated-amg"
    }
    growth = {
        case[1:]: table[(large, *case[1:])] / table[case] - 1
        for case in table
        if case[0] == small and (large, *case[1:]) in table
    }
    for label, chosen in (
        ("dt <= 1 ps", [g for case, g in growth.items() if case[0] <= 1.0]),
        ("dt > 1 ps", [g for case, g in growth.items() if case[0] > 1.0]),
    ):
        if chosen:
            say(f"rotated-amg from {small}^3 to {large}^3 cells, {label}: iterations grow by at "
                f"most {100 * max(chosen):.0f} %.")  # fmt: skip
for n, other in ((16, "mumps"), (32, "fieldsplit")):
    ratios = ratio(n, "auto", other)
    if ratios:
        say(f"CPU time of a step, auto over {other} at {n}^3: 1/{1 / max(ratios):.1f} at worst, "
            f"1/{1 / float(np.median(ratios)):.1f} in the median.")  # fmt: skip
if args.reference is not None:
    before = json.loads(args.reference.read_text())
    names = ("n", *CASE, "form")
    known = {key(row, *names): row for row in before["results"]}
    pairs = [(known[key(row, *names)], row) for row in results if key(row, *names) in known]
    for form in args.form:
        mine = [(a, b) for a, b in pairs if b["form"] == form]
        if mine:
            more = max(b["iterations"] / max(a["iterations"], 1) for a, b in mine) - 1
            total = [sum(row["iterations"] for row in side) for side in zip(*mine, strict=True)]
            faster = [a["seconds"] / b["seconds"] for a, b in mine if b["n"] == max(args.n)]
            say(f"{form}, {comm.size} ranks against {before['ranks']}: iterations "
                f"{100 * more:+.0f} % at most, {100 * (total[1] / total[0] - 1):+.0f} % in sum; "
                f"{np.median(faster):.2f} times as fast at {max(args.n)}^3.")  # fmt: skip
say("The paper solves (5.31) by MFEM's routines and states no counts.")


# ## Figure 5.3: where the entries of the matrix come from
if args.output and comm.rank == 0:
    small, m = cube(2, 1.0, MPI.COMM_SELF)
    step = llg.tangent_plane(small, m, dt=float(units.time_from_s(1e-12)), damping=llg.Gilbert(0.1))
    entries = draw_blocks(step, args.output / "tangent_plane_blocks.png")
    say(f"Figure 5.3: {args.output / 'tangent_plane_blocks.png'}, {entries}")
