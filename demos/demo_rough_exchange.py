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
import sys
import time
from itertools import pairwise
from pathlib import Path

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import ufl
from dolfinx import fem, mesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import (
    Hierarchy,
    anisotropic_form,
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.output import on_root, output_folder, read_csv, write_json
from dolfinx_llg.plot import (
    PAPER,
    Animation,
    Colours,
    draw_cells,
    draw_colour_bar,
    draw_colour_key,
    draw_energy,
    draw_kappa,
    draw_magnetization,
    snapshot,
)
from dolfinx_llg.reduction import hyper_reduce

SCHEMES = {"prohl": llg.prohl, "cimrak": llg.cimrak, "gao": llg.gao, "an": llg.an}

parser = argparse.ArgumentParser(description="Dynamics in a rough exchange coefficient.")
parser.add_argument("--scheme", choices=SCHEMES, default="gao", help="semi-implicit scheme")
parser.add_argument(
    "--projection", action=argparse.BooleanOptionalAction, default=True,
    help="project m to unit length after each step",
)  # fmt: skip
parser.add_argument("--n", type=int, help="cells per side (default 128, quick 32)")
parser.add_argument("--t-end", type=float, help="final time (default 0.1, quick 0.01)")
parser.add_argument("--dt", type=float, default=1e-3, help="time step")
parser.add_argument("--damping", type=float, default=0.2, help="lambda")
parser.add_argument(
    "--kappa-rule", choices=("centroid", "mean", "quadrature"), default="centroid",
    help="how each cell samples kappa: h = 1/128 does not resolve it, so that this matters",
)  # fmt: skip
parser.add_argument(
    "--coarse", action=argparse.BooleanOptionalAction, default=True,
    help="repeat the run in a coarse GRPS space (not with --restart or quadrature)",
)  # fmt: skip
parser.add_argument("--nc", type=int, help="coarse squares per side (default n/16, quick n/8)")
parser.add_argument("--ell", type=int, default=3, help="layers of the GRPS functions")
parser.add_argument("--checkpoint", type=Path, help="file to write every tenth step")
parser.add_argument("--restart", type=Path, help="checkpoint to go on from")
parser.add_argument("--fields", action="store_true", help="write m and kappa for ParaView")
parser.add_argument("--animation", action="store_true", help="write the run as a GIF")
parser.add_argument("--json", type=Path, help="file for all figures")
parser.add_argument("--output", type=Path, help="folder for pictures, scalars and fields")
parser.add_argument("--quick", action="store_true", help="smoke run")
args = parser.parse_args()
args.n = args.n or (32 if args.quick else 128)
args.t_end = args.t_end or (0.01 if args.quick else 0.1)
nc = args.nc or args.n // (16 if args.n >= 128 else 8)
levels = math.log2(args.n / nc) if nc > 0 else 0.0
nested = nc > 1 and levels > 1 and levels == int(levels)
if args.nc and not nested:
    parser.error(f"--n must be --nc times 4, 8, 16, ..., got {args.n} and {args.nc}")

comm = MPI.COMM_WORLD
if args.output:
    output_folder(args.output, comm)  # before any work


def say(text: str) -> None:
    if comm.rank == 0:
        print(text, flush=True)


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
step = SCHEMES[args.scheme](energy, m, dt=args.dt, damping=args.damping, projection=args.projection)

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
resume = llg.read_checkpoint(args.restart, m) if args.restart else None
begin = resume or llg.State(0.0, 0, m, args.dt)
if begin.t >= args.t_end:
    say(f"nothing to do: t = {begin.t:g} and --t-end {args.t_end:g}")
    sys.exit(1)
if resume:
    say(f"resumed from {args.restart} at t = {begin.t:g}, step {begin.n}")

observer = llg.Observer(energy, m)
rows = [observer.observe(begin)]
scalars = fields = movie = None
if args.output:
    scalars = llg.CSVWriter(args.output / "scalars.csv", comm, resume=resume)
    if not resume:
        scalars.write(rows[0])
    if args.fields:
        fields = llg.FieldWriter(args.output / f"fields_{begin.n:05d}.bp", [m, kappa])
    if args.animation:
        # EX2's data stay within 20 degrees of (1, 1, 1); see the picture below for its colours.
        movie = Animation(
            args.output / "rough_exchange.gif",
            m,
            kappa=kappa,
            colours=Colours((1, 1, 1), 25),
            centre="(1,1,1)",
            arrows=11,
        )

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
# GRPS: (V1) for $m_1$, (V2) for $m_2, m_3$, localized to ell layers such that constants stay in the
# space. The new iterate is sought there with the same scheme and the same dt.
def norms(u: fem.Function) -> np.ndarray:
    l2, semi = (ufl.inner(v, v) * ufl.dx for v in (u, ufl.grad(u)))
    parts = [fem.assemble_scalar(fem.form(form)) for form in (l2, semi)]
    total = np.sum(comm.allgather(parts), axis=0)
    return np.sqrt([total[0], total.sum()])


def errors(other: fem.Function) -> tuple[float, float]:
    difference = fem.Function(m.function_space)
    difference.x.array[:] = other.x.array - m.x.array
    l2, h1 = norms(difference) / norms(m)
    return float(l2), float(h1)


def grps_run(hierarchy: Hierarchy) -> tuple[fem.Function, dict[str, float]]:
    begin = time.perf_counter()
    V, functionals = hierarchy.space, volume_measurement(hierarchy)
    one, two = (
        grps_basis(form(V, kappa), functionals, ell=args.ell, localization="constants")
        for form in (exchange_form, anisotropic_form)
    )
    basis = vector_basis([one, two, two])
    made = time.perf_counter()
    start = llg.magnetization(domain, literature.hmm_ex2_initial)
    coarse_step = SCHEMES[args.scheme](
        energy, start, dt=args.dt, damping=args.damping, projection=args.projection
    )
    reduction = hyper_reduce(coarse_step, basis, hierarchy, t_train=args.t_end, energy=energy)
    trained = time.perf_counter()
    steps = [state.seconds for state in llg.march(reduction, t_end=args.t_end)]
    done = time.perf_counter()
    found = reduction.reconstruct()
    l2, h1 = errors(found)
    return found, {
        "coarse_nc": nc,
        "coarse_dofs": 3 * basis.dim,
        "coarse_error_h1": h1,
        "coarse_error_l2": l2,
        "coarse_energy_final": reduction.total(energy),
        "coarse_seconds_basis": made - begin,
        "coarse_seconds_training": trained - made,
        "coarse_seconds_run": done - trained,
        "coarse_seconds_per_step": float(np.median(steps)),
    }


# The rival: P1 on a coarse mesh, kappa averaged over its triangles.
def naive_run(squares: int) -> tuple[fem.Function, dict[str, float]]:
    own = refine_mesh(
        mesh.create_unit_square(comm, squares, squares), int(math.log2(args.n / squares))
    )
    fine_kappa = llg.cell_coefficient(own.fine, literature.ms_trig, rule)
    average = llg.cell_coefficient(own.coarse, literature.ms_trig)
    first, last = own.data.cell_range
    values = fine_kappa.x.array[fine_kappa.function_space.dofmap.list[: len(own.parent), 0]]
    children = own.parent - first  # they live on the rank of their parent
    place = average.function_space.dofmap.list[: last - first, 0]
    count = np.bincount(children, minlength=last - first)
    average.x.array[place] = np.bincount(children, values, minlength=last - first) / count
    average.x.scatter_forward()
    coarse = llg.magnetization(own.coarse, literature.hmm_ex2_initial)
    terms = llg.Energy([llg.Exchange(average), llg.UniaxialAnisotropy((1, 0, 0), 1.0)])
    coarse_step = SCHEMES[args.scheme](
        terms, coarse, dt=args.dt, damping=args.damping, projection=args.projection
    )
    steps = [state.seconds for state in llg.march(coarse_step, t_end=args.t_end)]
    found = fem.Function(m.function_space)
    cells = np.arange(domain.topology.index_map(2).size_local, dtype=np.int32)
    data = fem.create_interpolation_data(
        m.function_space, coarse.function_space, cells, padding=1e-10
    )
    found.interpolate_nonmatching(coarse, cells, data)
    found.x.scatter_forward()
    l2, h1 = errors(found)
    name = f"p1_{squares}"
    return found, {
        f"{name}_dofs": 3 * (squares + 1) ** 2,
        f"{name}_error_h1": h1,
        f"{name}_error_l2": l2,
        f"{name}_seconds_per_step": float(np.median(steps)),
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
    beside["coarse_speed_up_per_step"] = (
        float(np.median(seconds)) / beside["coarse_seconds_per_step"]
    )
    beside["coarse_speed_up_total"] = sum(seconds) / spent


# ## The picture
# EX2's data stay within 20 degrees of their mean, where the usual colours of the sphere would all
# look alike: the colour shows the tilt from the mean direction instead.
def picture() -> None:
    shots = [shot for _, shot in pictures]
    mean = np.mean([shot.m.mean(axis=0) for shot in shots], axis=0)
    cosine = min((shot.m @ mean).min() for shot in shots) / np.linalg.norm(mean)
    spread = 5 * np.ceil(1.25 * np.degrees(np.arccos(cosine)) / 5)
    colours = Colours(mean, spread)
    curve = read_csv(args.output / "scalars.csv")
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.2, 5.9))
        grid = figure.add_gridspec(
            2, 3, left=0.05, right=0.905, top=0.955, bottom=0.075, wspace=0.42, hspace=0.3
        )
        (a, b, c), (d, e, f) = (
            [figure.add_subplot(grid[i, j]) for j in range(3)] for i in range(2)
        )
        for ax, letter, (t, shot) in zip((a, b, c), "abc", pictures, strict=True):
            draw_magnetization(ax, shot, colours=colours, arrows=11)
            ax.set_title(f"({letter}) $m$ at $t = {t:.3g}$")
        key = c.inset_axes((1.06, 0.64, 0.32, 0.32))
        draw_colour_key(key, colours, centre=r"$\langle m \rangle$")
        draw_kappa(d, shots[0])
        d.set_title(r"(d) exchange coefficient $\kappa$")
        place = np.maximum(rough.kappa, np.quantile(rough.kappa, 0.01))
        draw_colour_bar(e, draw_cells(e, rough, place, cmap="magma"))
        e.set_title(rf"(e) $\frac{{1}}{{2}} \kappa |\nabla m|^2$ at $t = {pictures[1][0]:.3g}$")
        draw_energy(f, curve, marks=[t for t, _ in pictures])
        f.set(title="(f) energy", ylabel="")
        f.set_box_aspect(1)
        figure.savefig(args.output / "rough_exchange.png")


# The second picture: where the coarse runs are, and how far from the fine one.
def coarse_picture(shots: list, gaps: list) -> None:
    mean = np.mean([shot.m.mean(axis=0) for shot in shots], axis=0)
    cosine = min((shot.m @ mean).min() for shot in shots) / np.linalg.norm(mean)
    colours = Colours(mean, max(5.0, np.ceil(1.25 * np.degrees(np.arccos(cosine)))))
    top = max(gap.kappa.max() for gap in gaps)
    norm = LogNorm(1e-4 * top, top)
    titles = (
        rf"(a) $m_h$, {3 * (args.n + 1) ** 2} unknowns",
        rf"(b) $m_H$, GRPS, {beside['coarse_dofs']} unknowns",
        rf"(c) $|m_H - m_h|$, GRPS, $N_c = {nc}$",
        rf"(d) $|m_{{P1}} - m_h|$, P1, $N_c = {nc}$",
    )
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(7.2, 6.2))
        axes = figure.subplots(2, 2)
        figure.subplots_adjust(0.07, 0.06, 0.85, 0.955, wspace=0.3, hspace=0.28)
        for ax, shot in zip(axes[0], shots, strict=True):
            draw_magnetization(ax, shot, colours=colours, arrows=11)
        draw_colour_key(
            axes[0, 1].inset_axes((1.05, 0.66, 0.28, 0.28)), colours, centre=r"$\langle m \rangle$"
        )
        for ax, gap in zip(axes[1], gaps, strict=True):
            values = np.maximum(gap.kappa, norm.vmin)
            image = draw_cells(ax, gap, values, cmap="magma", norm=norm)
        draw_colour_bar(axes[1, 1], image)
        for ax, title in zip(axes.flat, titles, strict=True):
            ax.set_title(title)
        figure.savefig(args.output / "rough_exchange_coarse.png")


if args.output:
    on_root(comm, picture)
    if coarse_m is not None and naive_m is not None:
        gap = fem.Function(density.function_space)
        gaps = []
        for other in (coarse_m, naive_m):
            distance = ufl.sqrt(ufl.inner(other - m, other - m))
            gap.interpolate(
                fem.Expression(distance, density.function_space.element.interpolation_points)
            )
            gaps.append(snapshot(m, gap))
        shots = [snapshot(m, kappa), snapshot(coarse_m, kappa)]
        on_root(comm, lambda: coarse_picture(shots, gaps))

# ## What was computed
first, last = rows[0], rows[-1]
increase = max(b["energy"] - a["energy"] for a, b in pairwise(rows))
results = {
    "steps": state.n,
    "t_end": state.t,
    "energy_initial": first["energy"],
    "energy_final": last["energy"],
    "energy_exchange_initial": first["energy_exchange"],
    "energy_exchange_final": last["energy_exchange"],
    "energy_largest_increase": increase,
    "length_defect_final": last["length_defect"],
    "max_dmdt_final": last["max_dmdt"],
    "mx_final": last["mx"],
    "my_final": last["my"],
    "mz_final": last["mz"],
    "iterations_mean": float(np.mean([row["iterations"] for row in rows[1:]])),
    "iterations_max": max(row["iterations"] for row in rows[1:]),
    "seconds_per_step": float(np.mean(seconds)),
    "seconds_total": total,
    **beside,
}
if args.json:
    parameters = {key: value for key, value in vars(args).items() if value is not None}
    write_json(
        args.json,
        {
            "demo": "rough_exchange",
            "parameters": parameters,
            "ranks": comm.size,
            "results": results,
        },
        comm,
    )
say(
    f"\nThe energy fell from {first['energy']:.4f} to {last['energy']:.4f} in {len(rows) - 1} steps"
    f" ({'never' if increase <= 0 else f'once by {increase:.1e}'} rising), || 1 - |m|^2 || is "
    f"{last['length_defect']:.1e}, a step took {results['iterations_mean']:.1f} iterations and "
    f"{results['seconds_per_step']:.3f} s.\nNothing of the paper is reproduced here: its runs are "
    "constant in space. What is its own is kappa (4.2) and the scheme (appendix 6.1)."
)
if beside:
    say(
        f"\nAgainst the fine run at t = {args.t_end:g}   unknowns   H1 error   L2 error   s/step\n"
        f"fine, h = 1/{args.n:<4d}               {3 * (args.n + 1) ** 2:9d}          -          -"
        f"   {np.median(seconds):.4f}\n"
        f"GRPS-V, Nc = {nc:<4d}            {beside['coarse_dofs']:9d}   "
        f"{beside['coarse_error_h1']:.2e}   {beside['coarse_error_l2']:.2e}   "
        f"{beside['coarse_seconds_per_step']:.4f}"
    )
    for squares in (nc, 2 * nc):
        row = [beside[f"p1_{squares}_{name}"] for name in ("dofs", "error_h1", "error_l2")]
        say(
            f"P1, Nc = {squares:<4d}                {row[0]:9d}   {row[1]:.2e}   {row[2]:.2e}   "
            f"{beside[f'p1_{squares}_seconds_per_step']:.4f}"
        )
    say(
        f"GRPS steps are {beside['coarse_speed_up_per_step']:.1f} times as fast as fine ones; with "
        f"the basis ({beside['coarse_seconds_basis']:.1f} s) and the training "
        f"({beside['coarse_seconds_training']:.1f} s)\nthe whole is "
        f"{beside['coarse_speed_up_total']:.2f} times as fast; further runs need neither again."
    )
if args.output:
    say(f"Pictures and scalars: {args.output}")
