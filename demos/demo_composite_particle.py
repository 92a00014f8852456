# SPDX-License-Identifier: LGPL-3.0-or-later
# # A field pulse on a particle with hard inclusions
#
# A ball of 40 nm diameter: a soft matrix (permalloy) with eight balls of a hard material (hcp
# cobalt, easy axis $z$) inside, 12 % of the volume. $M_s$, $A$, $K_u$ and $\alpha$ differ by
# region, and so the Landau-Lifshitz-Gilbert equation
# $$\partial_t m = -\gamma_0\, m \times H + \alpha\, m \times \partial_t m, \qquad
#   H = -\frac{1}{\mu_0 M_s} \frac{\delta E}{\delta m},$$
# $$E(m) = \int A |\nabla m|^2 + K_u (1 - (m \cdot e_z)^2) - \mu_0 M_s\, m \cdot H_{ext}(t)$$
# is solved in its weak form with Ms-weighted products, exchange acting through $A \nabla m$, which
# has a continuous normal component at the interfaces.
#
# The particle starts along $z$, and a pulse $\mu_0 H_{ext} = B_0 e^{-((t - t_0)/w)^2} b$ across
# makes it precess, for about as long as half a turn takes, so that it ends near $-z$. The matrix
# has no anisotropy of its own: it follows the field and drags the inclusions by exchange. That
# acts over $\sqrt{2 A/(\mu_0 M_s^2)}$, about 5 nm, less than the size and the distance of the
# inclusions, so that these lag behind. After the pulse the particle rings in the mean anisotropy
# field $2 \langle K_u \rangle/\langle M_s \rangle$ of about 0.14 T.
#
# `--stray-field` adds the stray field. That of a ball with uniform $M_s m$ is parallel to m and
# turns nothing; what it brings are the poles at the interfaces and of the twist. With it the run
# starts from the equilibrium near $z$, else the twist would ring from the first step on.
#
# Run: `mpirun -n 2 python demos/demo_composite_particle.py --output DIR [--field 0.3] [--quick]`.

import time
from pathlib import Path

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import ufl
from matplotlib.figure import Figure
from shared import begin, options, positive, real, record, say

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import (
    PAPER,
    Colours,
    draw_colour_key,
    draw_lines,
    draw_magnetization,
    snapshot,
)

SOFT, HARD = 1, 2  # cell tags of the mesh
MATERIALS = {
    SOFT: llg.units.Material(Ms=8.0e5, A=1.3e-11, alpha=0.05),
    HARD: llg.units.Material(Ms=1.4e6, A=3.0e-11, alpha=0.1, K_u=5.2e5, easy_axis=(0, 0, 1)),
}
MESH = Path(__file__).resolve().parents[1] / "meshes" / "composite_particle.xdmf"

parser = options(
    "A field pulse on a particle with hard inclusions.",
    "folder for the picture, scalars and fields",
)
parser.add_argument("--field", type=real(), default=0.3, help="peak of the pulse [T]")
parser.add_argument("--angle", type=real(), default=90.0, help="pulse to the z axis [degrees]")
parser.add_argument("--width-ns", type=positive, default=0.05, help="w of the pulse [ns]")
parser.add_argument("--t-end-ns", type=positive, help="final time [ns] (default 0.6, quick 0.02)")
parser.add_argument("--dt-ps", type=positive, help="time step [ps] (default 0.5, quick 1)")
parser.add_argument("--stray-field", action="store_true", help="with the stray field")
parser.add_argument("--fields", action="store_true", help="write m for ParaView")
defaults = {"t_end_ns": (0.6, 0.02), "dt_ps": (0.5, 1.0)}
args = begin(parser, defaults, into_output=["fields"])
comm = MPI.COMM_WORLD

# ## Mesh and materials
# The mesh is in nm. Fields are in units of the larger Ms, time in units of
# $1/(\gamma_0 M_{s0})$, about 3 ps. A warning would tell if the cells were larger than the
# exchange length or the wall parameter of their region.
domain, cell_tags, _ = llg.read_mesh(comm, MESH)
units = llg.units.Units.for_materials(MATERIALS.values(), length=1e-9)
fields = llg.units.Regions.from_cell_tags(domain, cell_tags, MATERIALS, units)
ratio = llg.units.check_mesh_size(domain, MATERIALS, units, cell_tags=cell_tags)
for tag, name in ((SOFT, "matrix"), (HARD, "inclusions")):
    material = MATERIALS[tag]
    text = (
        f"{name}: exchange length {1e9 * llg.units.exchange_length(material.A, material.Ms):.2f} nm"
    )
    if material.K_u:
        wall = 1e9 * llg.units.domain_wall_width(material.A, material.K_u)
        text += f", wall parameter {wall:.2f} nm"
    say(text)
say(f"largest cell: {ratio:.2f} of the length that its region asks for")


# ## The pulse
def field_T(seconds):
    """Applied field mu0 H [T]."""
    w = 1e-9 * args.width_ns
    angle = np.radians(args.angle)
    direction = np.array([np.sin(angle), 0.0, np.cos(angle)])
    return args.field * np.exp(-(((seconds - 2 * w) / w) ** 2)) * direction


stray = [llg.StrayField(domain, fields.Ms)] if args.stray_field else []
energy = llg.Energy(
    [
        llg.Exchange(fields.kappa),
        llg.UniaxialAnisotropy(fields.easy_axis, fields.q_u),
        llg.Zeeman(lambda t: units.field_from_T(field_T(units.time_to_s(t))), Ms=fields.Ms),
        *stray,
    ],
    Ms=fields.Ms,
)

# ## The run
# Semi-implicit Euler damps a precession of angular frequency w as an $\alpha$ of $w\, dt/2$ would:
# 0.01 at the peak of the pulse for dt = 0.5 ps, well below the 0.05 of the matrix.
m = llg.magnetization(domain, (0, 0, 1))
if stray:
    llg.minimise(energy, m, torque=1e-4)
step = llg.gao(
    energy,
    m,
    dt=units.time_from_s(1e-12 * args.dt_ps),
    damping=llg.Gilbert(fields.alpha),
    projection=True,
)
dx = ufl.dx(domain=domain, subdomain_data=cell_tags)
parts = {
    f"m{axis}_{name}": m[i] * dx(tag)
    for tag, name in ((SOFT, "soft"), (HARD, "hard"))
    for i, axis in enumerate("xyz")
}
one = llg.magnetization(domain, (0, 0, 1))[2]  # 1, as a function of the mesh
parts |= {f"volume_{name}": one * dx(tag) for tag, name in ((SOFT, "soft"), (HARD, "hard"))}
observer = llg.Observer(energy, m, integrals=parts)


def observe(state: llg.State) -> dict[str, float]:
    """The scalars, averages by region among them, with the time in ns and energies in aJ."""
    row = {"t_ns": 1e9 * units.time_to_s(state.t)} | observer.observe(state)
    for name in ("soft", "hard"):
        volume = row.pop(f"volume_{name}")
        for axis in "xyz":
            row[f"m{axis}_{name}"] /= volume
    row["field_T"] = float(np.linalg.norm(field_T(units.time_to_s(state.t))))
    row["energy_aJ"] = 1e18 * units.energy_to_J(row["energy"])
    return row


times_ns = (1.4 * args.width_ns, 2.2 * args.width_ns)  # the third picture is that of the end
start_of_run = llg.State(0.0, 0, m, float(step.dt.value))
rows = [observe(start_of_run)]
pictures = []
t_end = units.time_from_s(1e-9 * args.t_end_ns)
writer = llg.CSVWriter(args.output / "scalars.csv", comm) if args.output else None
paraview = None
if args.fields:
    paraview = llg.FieldWriter(args.output / "fields.bp", [m, fields.kappa, fields.q_u])
say("\n  t ns   field T      <mx>      <my>      <mz>   mz hard  energy aJ  iterations  s/step")
seconds = []
start = time.perf_counter()
for state in llg.march(step, t_end=t_end):
    row = observe(state)
    rows.append(row)
    seconds.append(state.seconds)
    if writer:
        writer.write(row)
    last = state.t == t_end
    if last or (len(pictures) < 2 and row["t_ns"] >= times_ns[len(pictures)]):
        pictures.append((row["t_ns"], snapshot(m, fields.kappa)))
    if last or state.n % max(1, round(0.05 / (1e-3 * args.dt_ps))) == 0:
        say(f"{row['t_ns']:6.3f}  {row['field_T']:8.4f}  {row['mx']:8.4f}  {row['my']:8.4f}  "
            f"{row['mz']:8.4f}  {row['mz_hard']:8.4f}  {row['energy_aJ']:9.3f}  "
            f"{state.iterations:10d}  {state.seconds:6.3f}")  # fmt: skip
        if paraview:
            paraview.write(1e9 * units.time_to_s(state.t))
total = time.perf_counter() - start
for file in (writer, paraview):
    if file:
        file.close()


# ## The picture
# Above, the front half is taken away: arrows on the cut, coloured by the direction of m, over the
# matrix (light) and the inclusions (dark). Below, the averages over the two materials.
def picture() -> None:
    colours = Colours()
    t = [row["t_ns"] for row in rows]
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.0, 6.1))
        grid = figure.add_gridspec(
            2, 1, left=0.065, right=0.985, top=0.955, bottom=0.08, hspace=0.14,
            height_ratios=(1.25, 1),
        )  # fmt: skip
        above = grid[0].subgridspec(1, len(pictures) + 1, width_ratios=[1] * len(pictures) + [0.3])
        for index, (when, shot) in enumerate(pictures):
            ax = figure.add_subplot(above[index])
            draw_magnetization(
                ax, shot, style="arrows", colours=colours, cut=(0.87, -0.5, 0), arrows=11,
                direction=(0.96, -0.28, 0.22),
            )  # fmt: skip
            ax.set_title(f"({'abc'[index]}) {when:.3g} ns")
        key = figure.add_subplot(above[len(pictures)])
        draw_colour_key(key, colours)
        below = grid[1].subgridspec(1, 2, wspace=0.2)
        for panel, (axis, letter) in enumerate((("z", "d"), ("x", "e"))):
            ax = figure.add_subplot(below[panel])
            strength = np.array([row["field_T"] for row in rows]) / args.field
            ax.fill_between(t, -1.05, -1.05 + 2.1 * strength, color="#eeeeee", lw=0, zorder=0)
            lines = {
                "matrix": [row[f"m{axis}_soft"] for row in rows],
                "inclusions": [row[f"m{axis}_hard"] for row in rows],
            }
            draw_lines(ax, t, lines, time_unit="ns")
            ax.set_ylim(-1.05, 1.05)
            if panel:
                ax.get_legend().remove()  # the same
            ax.set_title(rf"({letter}) average $m_{axis}$; grey: the pulse")
        figure.savefig(args.output / "composite_particle.png")


if args.output:
    on_root(comm, picture)

# ## What was computed
final = rows[-1]
lag = max(
    float(np.linalg.norm([row[f"m{axis}_soft"] - row[f"m{axis}_hard"] for axis in "xyz"]))
    for row in rows
)
results = {
    "t_end_ns": final["t_ns"],
    "steps": state.n,
    "exchange_length_soft_nm": 1e9
    * llg.units.exchange_length(MATERIALS[SOFT].A, MATERIALS[SOFT].Ms),
    "exchange_length_hard_nm": 1e9
    * llg.units.exchange_length(MATERIALS[HARD].A, MATERIALS[HARD].Ms),
    "mesh_size_ratio": ratio,
    "time_unit_ps": 1e12 * units.time_unit,
    **{key: final[key] for key in ("mx", "my", "mz", "mz_soft", "mz_hard", "energy_aJ")},
    "mz_smallest": min(row["mz"] for row in rows),
    "largest_distance_of_averages": lag,
    "length_defect": final["length_defect"],
    "iterations_mean": float(np.mean([row["iterations"] for row in rows[1:]])),
    "seconds_per_step": float(np.mean(seconds)),
    "seconds_total": total,
}
record("composite_particle", args, results)
outcome = "switched" if final["mz"] < 0 else "came back"
say(
    f"\nA pulse of {args.field:g} T: after {final['t_ns']:.3g} ns <m_z> = {final['mz']:.3f} (the "
    f"particle {outcome}); on the way the averages of matrix and inclusions differed by up to "
    f"{lag:.3f}.\nA step took {results['iterations_mean']:.1f} iterations and "
    f"{results['seconds_per_step']:.3f} s. No paper is reproduced here: the materials are "
    "permalloy and cobalt with textbook values."
)
if args.output:
    say(f"Picture and scalars: {args.output}")
