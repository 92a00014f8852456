# SPDX-License-Identifier: LGPL-3.0-or-later
# # Magnetization dynamics in a composite with a rough exchange coefficient
#
# A magnet is a composite when its exchange coefficient $\kappa$ changes from point to point, here
# over five scales between $1/5$ and $1/65$ without periodicity or separation (MsTrig, eq. (4.2)
# with appendix 6.3 of Ma, Chen, Du and Zhang, arXiv:2508.02434). On the unit square, with
# $\kappa\, \partial m/\partial n = 0$, the magnetization obeys (1.1) of that paper,
# $$\partial_t m = -m \times h - \lambda\, m \times (m \times h), \qquad
#   h = \nabla\cdot(\kappa(x) \nabla m) - (0, m_2, m_3)^T,$$
# $$E(m) = \tfrac12 \int \kappa |\nabla m|^2 + \tfrac12 \int (m_2^2 + m_3^2), \qquad
#   \frac{dE}{dt} = -\lambda \int |m \times h|^2 \le 0.$$
# The scheme is one of the four semi-implicit ones of appendix 6.1; Gao's (6.3), for example, is
# $$\tfrac{1}{\Delta t}(m' - m, v) + \lambda (\kappa \nabla m', \nabla v) + \lambda (m'_a, v)
#   - (m \times \kappa \nabla m', \nabla v) - (m \times m'_a, v)
#   = \lambda (\kappa |\nabla m|^2 + |m_a|^2, m \cdot v), \qquad m_a = (0, m_2, m_3)^T.$$
# The paper starts from a constant $m_0$, which $\kappa$ never acts on; here $m_0$ is that of
# example EX2 in Leitenmaier and Runborg, arXiv:2108.09463, which varies over the square.
#
# The run on the fine mesh is then repeated in a coarse space that knows $\kappa$: GRPS-V, one basis
# function for each of $2N_c^2$ coarse triangles, with the steps integrated over a few weighted fine
# triangles. Beside it stands what a coarse mesh does that knows only averages of $\kappa$.
#
# Run: `mpirun -n 2 python demos/demo_rough_exchange.py --output DIR [--scheme prohl] [--quick]`.

import argparse
import math
import time
from itertools import pairwise
from pathlib import Path

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh
from rough_composite import rival, rough_energy
from rough_exchange_pictures import draw_coarse, draw_run, table
from shared import (
    SCHEMES,
    averaged,
    begin,
    errors,
    existing,
    options,
    positive,
    record,
    say,
    timed,
    whole,
)

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import Hierarchy, coarse_basis, refine_mesh
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import Animation, Colours, snapshot
from dolfinx_llg.reduction import hyper_reduce

parser = options(
    "Dynamics in a rough exchange coefficient.", "folder for pictures, scalars and fields"
)
parser.add_argument("--scheme", choices=SCHEMES, default="gao", help="semi-implicit scheme")
parser.add_argument(
    "--projection", action=argparse.BooleanOptionalAction, default=True,
    help="project m to unit length after each step",
)  # fmt: skip
parser.add_argument("--n", type=whole(2), help="cells per side (default 128, quick 32)")
parser.add_argument("--t-end", type=positive, help="final time (default 0.1, quick 0.01)")
parser.add_argument("--dt", type=positive, default=1e-3, help="time step")
parser.add_argument("--damping", type=positive, default=0.2, help="lambda")
parser.add_argument(
    "--kappa-rule", choices=("centroid", "mean", "quadrature"), default="centroid",
    help="how each cell samples kappa: h = 1/128 does not resolve it, so that this matters",
)  # fmt: skip
parser.add_argument(
    "--coarse", action=argparse.BooleanOptionalAction, default=True,
    help="repeat the run in a coarse GRPS space (not with --restart or quadrature)",
)  # fmt: skip
parser.add_argument("--nc", type=whole(2), help="coarse squares per side (default n/16, quick n/8)")
parser.add_argument("--ell", type=whole(), default=3, help="layers of the GRPS functions")
parser.add_argument("--checkpoint", type=Path, help="file to write every tenth step")
parser.add_argument("--restart", type=existing, help="checkpoint to go on from")
parser.add_argument("--fields", action="store_true", help="write m and kappa for ParaView")
parser.add_argument("--animation", action="store_true", help="write the run as a GIF")
defaults = {"n": (128, 32), "t_end": (0.1, 0.01)}
pictures, files = ["fields", "animation"], ["json", "checkpoint"]
args = begin(parser, defaults, into_output=pictures, files=files)
comm = MPI.COMM_WORLD
nc = args.n // (16 if args.n >= 128 else 8) if args.nc is None else args.nc
levels = math.log2(args.n / nc) if nc > 0 else 0.0
nested = nc > 1 and levels > 1 and levels == int(levels)
if args.nc and not nested:
    parser.error(f"--n must be --nc times 4, 8, 16, ..., got {args.n} and {args.nc}")

# ## The composite and its energy
# $\kappa$ is one number per triangle. The easy axis is $e_1$, and $q_u = 1$.
# The fine mesh is a refinement of a coarse one where n allows it.
hierarchy = None
if nested:
    hierarchy = refine_mesh(mesh.create_unit_square(comm, nc, nc), int(levels))
    domain = hierarchy.fine
else:
    domain = mesh.create_unit_square(comm, args.n, args.n)
exchange = llg.Exchange(literature.ms_trig, kappa_rule=args.kappa_rule)
energy = llg.Energy([exchange, llg.UniaxialAnisotropy((1, 0, 0), 1.0)])
m = llg.magnetization(domain, literature.hmm_ex2_initial)
rule = "centroid" if args.kappa_rule == "quadrature" else args.kappa_rule
kappa = llg.cell_coefficient(domain, literature.ms_trig, rule)  # for the eye
kappa.name = "kappa"


# ## The scheme
def step_of(terms: llg.Energy, start: fem.Function) -> llg.WeakStep:
    return SCHEMES[args.scheme](
        terms, start, dt=args.dt, damping=args.damping, projection=args.projection
    )


step = step_of(energy, m)

# ## The run
# Three pictures of m: at the start, at a tenth of the time and at the end. The density of the
# exchange energy is taken along, since it shows what the eye does not see in m: its gradient
# follows the structure of $\kappa$.
density = fem.Function(fem.functionspace(domain, ("DG", 0)))
density_of_m = fem.Expression(
    0.5 * kappa * ufl.inner(ufl.grad(m), ufl.grad(m)),
    density.function_space.element.interpolation_points,
)
pictures = [(0.0, snapshot(m, kappa))]
try:
    resume = llg.read_checkpoint(args.restart, m) if args.restart else None
except ValueError as error:
    parser.error(str(error))
present = resume or llg.State(0.0, 0, m, args.dt)
if present.t >= args.t_end:
    parser.error(f"nothing to do: t = {present.t:g} and --t-end {args.t_end:g}")
if resume:
    say(f"resumed from {args.restart} at t = {present.t:g}, step {present.n}")

observer = llg.Observer(energy, m)
rows = [observer.observe(present)]
scalars = fields = movie = None
if args.output:
    scalars = llg.CSVWriter(args.output / "scalars.csv", comm, resume=resume)
    if not resume:
        scalars.write(rows[0])
    if args.fields:
        fields = llg.FieldWriter(args.output / f"fields_{present.n:05d}.bp", [m, kappa])
    if args.animation:
        # EX2's data stay within 20 degrees of (1, 1, 1); see the picture below for its colours.
        movie = Animation(
            args.output / "rough_exchange.gif", m, kappa=kappa, colours=Colours((1, 1, 1), 25),
            centre="(1,1,1)", arrows=11,
        )  # fmt: skip

say(f"{args.scheme}, projection {'on' if args.projection else 'off'}, h = 1/{args.n}, "
    f"dt = {args.dt:g}, lambda = {args.damping:g}, {comm.size} rank(s)")  # fmt: skip
say("      t     energy   exchange  || 1-|m|^2 ||  max |dm/dt|  iterations  s/step")
seconds = []
early = max(args.t_end / 10, args.dt)
start = time.perf_counter()
for state in llg.march(step, t_end=args.t_end, resume=resume):
    row = observer.observe(state)
    rows.append(row)
    seconds.append(state.seconds)
    if scalars:
        scalars.write(row)
    tenth = state.n % 10 == 0 or state.t == args.t_end
    if len(pictures) == 1 and state.t > early - args.dt / 2:
        density.interpolate(density_of_m)
        pictures.append((state.t, snapshot(m, kappa)))
        rough = snapshot(m, density)
    if tenth:
        say(f"{state.t:7.3f}  {row['energy']:9.5f}  {row['energy_exchange']:9.5f}  "
            f"{row['length_defect']:13.2e}  {row['max_dmdt']:11.2f}  {state.iterations:10d}  "
            f"{state.seconds:6.3f}")  # fmt: skip
        if args.checkpoint:
            llg.write_checkpoint(args.checkpoint, state)
        if fields:
            fields.write(state.t)
    if movie and state.n % 2 == 0:
        movie.add(f"$t = {state.t:.3f}$")
total = time.perf_counter() - start
for writer in (scalars, fields, movie):
    if writer:
        writer.close()
pictures.append((state.t, snapshot(m, kappa)))


# ## The same run in coarse spaces
# GRPS makes its space from the energy: (V1) for $m_1$, (V2) for $m_2, m_3$, localized to ell
# layers such that constants stay in the space. The new iterate is sought there with the same
# scheme and the same dt.
def grps_run(hierarchy: Hierarchy) -> tuple[fem.Function, dict[str, float]]:
    basis, basis_seconds = timed(lambda: coarse_basis(energy, hierarchy, ell=args.ell))
    coarse = step_of(energy, llg.magnetization(domain, literature.hmm_ex2_initial))
    reduction, training_seconds = timed(
        lambda: hyper_reduce(coarse, basis, hierarchy, t_train=args.t_end, energy=energy)
    )
    steps, run_seconds = timed(
        lambda: [state.seconds for state in llg.march(reduction, t_end=args.t_end)]
    )
    found = reduction.reconstruct()
    l2, h1 = errors(found, m)
    return found, {
        "coarse_nc": nc,
        "coarse_dofs": 3 * basis.dim,
        "coarse_error_h1": h1,
        "coarse_error_l2": l2,
        "coarse_energy_final": reduction.total(energy),
        "coarse_seconds_basis": basis_seconds,
        "coarse_seconds_training": training_seconds,
        "coarse_seconds_run": run_seconds,
        "coarse_seconds_per_step": float(np.median(steps)),
    }


# The rival: P1 on a coarse mesh, kappa averaged over its triangles.
def naive_run(squares: int) -> tuple[fem.Function, dict[str, float]]:
    own = refine_mesh(
        mesh.create_unit_square(comm, squares, squares), int(math.log2(args.n / squares))
    )
    means = averaged(own, llg.cell_coefficient(own.fine, literature.ms_trig, rule))
    coarse = llg.magnetization(own.coarse, literature.hmm_ex2_initial)
    run, name = rival(step_of(rough_energy(means), coarse), args.t_end, m), f"p1_{squares}"
    return run.m, {
        f"{name}_dofs": 3 * (squares + 1) ** 2,
        f"{name}_error_h1": run.error_h1,
        f"{name}_error_l2": run.error_l2,
        f"{name}_seconds_per_step": run.seconds_per_step,
    }


beside: dict[str, float] = {}
coarse_m = naive_m = None
if not args.coarse or resume or args.kappa_rule == "quadrature" or hierarchy is None:
    say("No coarse run: it needs --coarse, a start at t = 0, kappa by cells and n = 2^J Nc, J > 1.")
else:
    coarse_m, beside = grps_run(hierarchy)
    for squares in (2 * nc, nc):  # the first has more unknowns than GRPS, the second is drawn
        naive_m, figures = naive_run(squares)
        beside |= figures
    spent = sum(beside[f"coarse_seconds_{part}"] for part in ("basis", "training", "run"))
    per_step = float(np.median(seconds))
    beside["coarse_speed_up_per_step"] = per_step / beside["coarse_seconds_per_step"]
    beside["coarse_speed_up_total"] = sum(seconds) / spent


# ## The pictures
if args.output:
    on_root(comm, lambda: draw_run(args.output, pictures, rough))
    if coarse_m is not None and naive_m is not None:
        gaps = []
        for other in (coarse_m, naive_m):
            distance = ufl.sqrt(ufl.inner(other - m, other - m))
            gaps.append(snapshot(m, llg.cell_coefficient(domain, distance)))
        shots = [snapshot(m, kappa), snapshot(coarse_m, kappa)]
        unknowns = 3 * (args.n + 1) ** 2, int(beside["coarse_dofs"])
        on_root(comm, lambda: draw_coarse(args.output, shots, gaps, unknowns, nc))

# ## What was computed
first, last = rows[0], rows[-1]
increase = max(b["energy"] - a["energy"] for a, b in pairwise(rows))
results = {
    "steps": state.n,
    "t_end": state.t,
    **{f"{name}_initial": first[name] for name in ("energy", "energy_exchange")},
    **{f"{name}_final": last[name] for name in ("energy", "energy_exchange", "length_defect")},
    **{f"{name}_final": last[name] for name in ("max_dmdt", "mx", "my", "mz")},
    "energy_largest_increase": increase,
    "iterations_mean": float(np.mean([row["iterations"] for row in rows[1:]])),
    "iterations_max": max(row["iterations"] for row in rows[1:]),
    "seconds_per_step": float(np.mean(seconds)),
    "seconds_total": total,
    **beside,
}
record("rough_exchange", args, results)
say(
    f"\nThe energy fell from {first['energy']:.4f} to {last['energy']:.4f} in {len(rows) - 1} steps"
    f" ({'never' if increase <= 0 else f'once by {increase:.1e}'} rising), || 1 - |m|^2 || is "
    f"{last['length_defect']:.1e}, a step took {results['iterations_mean']:.1f} iterations and "
    f"{results['seconds_per_step']:.3f} s.\nNothing of the paper is reproduced here: its runs are "
    "constant in space. What is its own is kappa (4.2) and the scheme (appendix 6.1)."
)
if beside:
    say(table(args.t_end, args.n, nc, float(np.median(seconds)), beside))
    say(
        f"GRPS steps are {beside['coarse_speed_up_per_step']:.1f} times as fast as fine ones; with "
        f"the basis ({beside['coarse_seconds_basis']:.1f} s) and the training "
        f"({beside['coarse_seconds_training']:.1f} s)\nthe whole is "
        f"{beside['coarse_speed_up_total']:.2f} times as fast; further runs need neither again."
    )
if args.output:
    say(f"Pictures and scalars: {args.output}")
