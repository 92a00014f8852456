# SPDX-License-Identifier: LGPL-3.0-or-later
# # A nanopillar switched by a current
#
# A trilayer between two leads: a fixed magnet that polarises the electrons, a spacer, and a free
# magnet, all magnetized along the axis $z$ of the pillar. Three problems are coupled.
#
# The potential, $-\nabla \cdot (\sigma \nabla \phi) = 0$ with $j = -\sigma \nabla \phi$, between a
# contact that covers the bottom and one that covers the middle of the top.
#
# The spin accumulation $S$ [A/m] in all metals (Zhang, Levy and Fert, Phys. Rev. Lett. 88, 236601
# (2002), with dephasing), in equilibrium with $m$, since spins relax within a picosecond:
# $$0 = -\nabla \cdot J_s - D_e \Bigl[ \frac{S}{\lambda_{sf}^2} + \frac{S \times m}{\lambda_J^2}
#   + \frac{m \times (S \times m)}{\lambda_\varphi^2} \Bigr], \qquad
#   J_s = -\beta \frac{\mu_B}{e}\, m \otimes j
#   - D_e [\nabla S - \beta\beta'\, m \otimes (\nabla S^T m)].$$
#
# The Landau-Lifshitz-Gilbert equation of both magnets, with what $S$ loses as a torque:
# $$\partial_t m = -\gamma_0\, m \times H + \alpha\, m \times \partial_t m
#   - \frac{D_e}{M_s} \Bigl( \frac{m \times S}{\lambda_J^2}
#   + \frac{m \times (m \times S)}{\lambda_\varphi^2} \Bigr).$$
#
# The free layer starts antiparallel to the fixed one, a few degrees off the axis, and a current
# whose electrons come through the fixed layer turns it around. With a negative current density it
# starts parallel, and electrons reflected by the fixed layer turn it away.
#
# Beside it stands the macrospin of Slonczewski (J. Magn. Magn. Mater. 159, L1 (1996)),
# $T = -a\, m \times (m \times p)$, $a = \gamma_0 \hbar P j/(2 \mu_0 e M_s d)$: it leaves the axis
# where $a > \gamma_0 \alpha H_k$. With $a$ set by the polarisation $P = \beta$ of the current that
# is an estimate without any transport; with $a(\theta)$ from the spin accumulation of two uniform
# layers at the angle $\theta$ it should tell what the pillar does.
#
# Left out: the stray field (K_u is what remains after it), the Oersted field, heat.
#
# Run: `mpirun -n 2 python demos/demo_spin_torque.py --output DIR [--current-density 5e11]
# [--alpha 0.02] [--t-end-ns 0.8] [--quick]`.

import argparse
import time
from pathlib import Path

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import ufl
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

import dolfinx_llg as llg
from dolfinx_llg.output import on_root, output_folder, write_json
from dolfinx_llg.plot import PAPER, Animation, Colours, draw_colour_bar, draw_lines
from dolfinx_llg.transport import Conductor, SpinAccumulation, Transport, magnet_of, solve_current

parser = argparse.ArgumentParser(description="A nanopillar switched by a current.")
parser.add_argument(
    "--current-density", type=float, default=5e11,
    help="mean density [A/m2], positive where electrons flow from the fixed to the free layer "
    "(write --current-density=-5e11 with the equals sign)",
)  # fmt: skip
parser.add_argument("--alpha", type=float, default=0.02, help="damping of the free layer")
parser.add_argument("--tilt", type=float, default=5.0, help="free layer off the axis [degrees]")
parser.add_argument("--t-end-ns", type=float, help="final time [ns] (default 0.8, quick 0.004)")
parser.add_argument("--dt-ps", type=float, help="time step [ps] (default 0.5, quick 1)")
parser.add_argument("--n", type=int, help="cells across (even; default 8, quick 4)")
parser.add_argument("--frames", type=int, help="of the animation (default 40, quick 2)")
parser.add_argument("--json", type=Path, help="file for all figures")
parser.add_argument("--output", type=Path, help="folder for the picture and the animation")
parser.add_argument("--quick", action="store_true", help="smoke run")
args = parser.parse_args()
args.t_end_ns = args.t_end_ns or (0.004 if args.quick else 0.8)
args.dt_ps = args.dt_ps or (1.0 if args.quick else 0.5)
args.n = args.n or (4 if args.quick else 8)
args.frames = args.frames or (2 if args.quick else 40)
if args.n % 2:
    parser.error(f"--n must be even (the picture shows the middle plane), got {args.n}")
comm = MPI.COMM_WORLD
if args.output:
    output_folder(args.output, comm)  # before any work


def say(text: str) -> None:
    if comm.rank == 0:
        print(text, flush=True)


# ## Geometry and materials
# Thicknesses in nm and cells per layer, from the bottom; the cells of the magnets resolve
# $\lambda_J$.
WIDTH = 40.0
LAYERS = {"lead": (10.0, 4), "fixed": (6.0, 5), "spacer": (4.0, 2), "free": (3.0, 3)}
LAYERS["top lead"] = LAYERS["lead"]
TAG = {name: number for number, name in enumerate(LAYERS, start=1)}
COPPER = Conductor(sigma=3e7, diffusion=1e-2, lambda_sf=100e-9)
HEAVY = Conductor(sigma=5e6, diffusion=2e-3, lambda_sf=3e-9)  # a sink of spins
MAGNET = Conductor(
    sigma=5e6, diffusion=2e-3, lambda_sf=10e-9, lambda_J=2e-9, lambda_phi=3e-9, beta=0.6,
    beta_prime=0.7,
)  # fmt: skip
METALS = dict(zip(TAG.values(), (HEAVY, MAGNET, COPPER, MAGNET, HEAVY), strict=True))
MATERIALS = {
    TAG["fixed"]: llg.units.Material(Ms=1.2e6, A=2e-11, alpha=0.1, K_u=1e6, easy_axis=(0, 0, 1)),
    TAG["free"]: llg.units.Material(
        Ms=8e5, A=1.3e-11, alpha=args.alpha, K_u=2e5, easy_axis=(0, 0, 1)
    ),
}
units = llg.units.Units.for_materials(MATERIALS.values(), length=1e-9)

heights = np.concatenate(
    [[0.0], *(np.full(cells, thick / cells) for thick, cells in LAYERS.values())]
).cumsum()
nz = len(heights) - 1
domain = mesh.create_box(comm, [[0, 0, 0], [WIDTH, WIDTH, nz]], [args.n, args.n, nz])
domain.geometry.x[:, 2] = np.interp(domain.geometry.x[:, 2], np.arange(nz + 1), heights)

count = domain.topology.index_map(3)
cells = np.arange(count.size_local + count.num_ghosts, dtype=np.int32)
centres = mesh.compute_midpoints(domain, 3, cells)
ends = np.cumsum([thick for thick, _ in LAYERS.values()])
layer = (np.searchsorted(ends, centres[:, 2]) + 1).astype(np.int32)
cell_tags = mesh.meshtags(domain, 3, cells, layer)

BOTTOM, TOP = 1, 2
spots = {
    BOTTOM: lambda x: np.isclose(x[2], 0.0),
    TOP: lambda x: (
        np.isclose(x[2], heights[-1]) & (np.abs(x[:2] - WIDTH / 2).max(axis=0) < WIDTH / 4 + 1e-9)
    ),
}
facets = {tag: mesh.locate_entities_boundary(domain, 2, spot) for tag, spot in spots.items()}
order = np.argsort(np.concatenate(list(facets.values())))
facet_tags = mesh.meshtags(
    domain,
    2,
    np.concatenate(list(facets.values()))[order],
    np.concatenate([np.full(len(f), tag, dtype=np.int32) for tag, f in facets.items()])[order],
)

# ## Current
# The total current enters at the top, against the electrons; the bottom is at 0 V.
metals = Transport.from_cell_tags(domain, cell_tags, METALS, units)
total = units.current_from_A_per_m2(args.current_density) * WIDTH**2
current = solve_current(
    domain, metals.sigma, facet_tags, potentials={BOTTOM: 0.0}, currents={TOP: total}
)
voltage = current.potentials[TOP]
amperes = current.inflow[TOP] * units.current_unit * units.length**2
say(f"current {1e3 * amperes:.4g} mA, voltage {1e3 * voltage:.4g} mV")

# ## Magnets and their torque
magnet = magnet_of(domain, cell_tags, list(MATERIALS))
own_tags = magnet.restrict_tags(cell_tags)
fields = llg.units.Regions.from_cell_tags(magnet.mesh, own_tags, MATERIALS, units)
spin = SpinAccumulation(magnet, current, metals)
energy = llg.Energy(
    [llg.Exchange(fields.kappa), llg.UniaxialAnisotropy(fields.easy_axis, fields.q_u), spin],
    Ms=fields.Ms,
)
above = sum(LAYERS[name][0] for name in ("lead", "fixed")) + LAYERS["spacer"][0] / 2  # a height


def layers(x, free):
    """M of the two layers: z below, ``free`` above."""
    upper = x[2] > above
    return np.array([np.where(upper, free[k], (0.0, 0.0, 1.0)[k]) for k in range(3)])


def direction(degrees):
    return (np.sin(np.radians(degrees)), 0.0, np.cos(np.radians(degrees)))


start = direction(180.0 - args.tilt if args.current_density > 0 else args.tilt)
m = llg.magnetization(magnet.mesh, lambda x: layers(x, start))
dx = ufl.Measure("dx", domain=magnet.mesh, subdomain_data=own_tags)
on_free = dx(TAG["free"])
E_X, E_Y, E_Z = (ufl.as_vector(e) for e in np.eye(3).tolist())
free_volume = LAYERS["free"][0] * WIDTH**2
free_Ms = MATERIALS[TAG["free"]].Ms / units.Ms0
sums = {
    "mx": fem.form(m[0] * on_free),
    "my": fem.form(m[1] * on_free),
    "mz": fem.form(m[2] * on_free),
    "mz_fixed": fem.form(m[2] * dx(TAG["fixed"])),
}
volumes = {key: free_volume for key in sums} | {"mz_fixed": LAYERS["fixed"][0] * WIDTH**2}
# The torque T on the free layer: T.e = h.(m x e), and the gradient of an interaction is -Ms h.w.
torques = [fem.form(-spin.gradient(m, ufl.cross(m, e)) * on_free) for e in (E_X, E_Y, E_Z)]


def integrate(forms):
    local = [fem.assemble_scalar(form) for form in forms]
    return np.sum(comm.allgather(local), axis=0)


# ## The torque as a function of the angle, and what a macrospin would do
# For $T = -a\, m \times (m \times z) - b\, m \times z$ and m in the plane x-z at the angle
# $\theta$: $T \cdot e_\theta = -a \sin\theta$ and $T_y = b \sin\theta$.
angles = np.array([10.0, 90.0, 170.0]) if args.quick else np.linspace(5.0, 175.0, 18)
table = []
for angle in angles:
    probe = direction(angle)
    m.interpolate(lambda x, probe=probe: layers(x, probe))
    spin.update(m, 0.0)
    T = integrate(torques) / (free_volume * free_Ms)
    sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    table.append((-(T[0] * cosine - T[2] * sine) / sine, T[1] / sine))
damping_like, field_like = np.array(table).T
m.interpolate(lambda x: layers(x, start))
spin.update(m, 0.0)

free = MATERIALS[TAG["free"]]
h_k = 2 * free.K_u / (units.pressure_unit * free_Ms)  # anisotropy field, units of Ms0
j_mean = units.current_from_A_per_m2(args.current_density)
simple = MAGNET.beta * j_mean / (free_Ms * LAYERS["free"][0])  # a with P = beta at all angles
at_start = np.interp(np.degrees(np.arccos(start[2])), angles, damping_like)
critical = {
    "slonczewski": abs(args.current_density * args.alpha * h_k / simple),
    "drift_diffusion": abs(args.current_density * args.alpha * h_k / at_start),
}


def macrospin(a, b):
    """Switching time [ns] and m_z(t) of one spin with torques a and b, functions of m_z."""

    def rate(t, s):
        h = np.array([0.0, 0.0, h_k * s[2]])
        h += a(s[2]) * np.cross(s, (0, 0, 1)) + b(s[2]) * np.array([0.0, 0.0, 1.0])
        precession = np.cross(s, h)
        return -(precession + args.alpha * np.cross(s, precession)) / (1 + args.alpha**2)

    t_end = units.time_from_s(1e-9 * args.t_end_ns)
    t = np.linspace(0, t_end, 801)
    s = solve_ivp(rate, (0, t_end), start, t_eval=t, rtol=1e-8, atol=1e-10).y
    return 1e9 * units.time_to_s(t), s[2]


def crossing(t, mz):
    """Time of the first zero of m_z, None if there is none."""
    after = np.flatnonzero(np.asarray(mz) * mz[0] < 0)
    if not len(after):
        return None
    k = int(after[0])
    return float(t[k - 1] + (t[k] - t[k - 1]) * mz[k - 1] / (mz[k - 1] - mz[k]))


# Slonczewski's form, $\varepsilon = P \Lambda^2/(\Lambda^2 + 1 + (\Lambda^2 - 1) \cos\theta)$, is
# linear in $1/\varepsilon$: P and Lambda of the pillar follow from a straight line.
to_efficiency = free_Ms * LAYERS["free"][0] / (2 * j_mean)
efficiency = to_efficiency * damping_like
slope, offset = np.polyfit(np.cos(np.radians(angles)), 1 / efficiency, 1)
fit = {"polarisation": 2 / (offset + slope), "lambda": np.sqrt((offset + slope) / (offset - slope))}

cosines = np.cos(np.radians(angles))[::-1]
spins = {
    "Slonczewski macrospin, $P = \\beta$": macrospin(lambda z: simple, lambda z: 0.0),
    "macrospin, $a(\\theta)$ of drift-diffusion": macrospin(
        lambda z: np.interp(z, cosines, damping_like[::-1]),
        lambda z: np.interp(z, cosines, field_like[::-1]),
    ),
}
for name, value in critical.items():
    say(f"critical current density, {name}: {value:.3g} A/m2")


# ## Pictures of the middle plane
# The mesh is a bent grid: fields on the plane y = WIDTH/2 come as arrays [column, height].
def plane_nodes(function):
    """Nodal values on the middle plane on rank 0, NaN where the function has no node."""
    x = function.function_space.tabulate_dof_coordinates()
    owned = function.function_space.dofmap.index_map.size_local
    on = np.flatnonzero(np.isclose(x[:owned, 1], WIDTH / 2))
    values = function.x.array.reshape(-1, 3)[on]
    parts = comm.gather((x[on], values), root=0)
    if parts is None:
        return None
    x, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    picture = np.full((args.n + 1, nz + 1, 3), np.nan)
    column = np.round(x[:, 0] / WIDTH * args.n).astype(int)
    row = np.abs(x[:, 2, None] - heights).argmin(axis=1)
    picture[column, row] = values
    return picture


def plane_cells(function):
    """Mean of the cells on both sides of the middle plane, for each square of the grid."""
    owned = centres[: count.size_local]
    values = function.x.array.reshape(-1, 3)[function.function_space.dofmap.list[:, 0]]
    on = np.flatnonzero(np.abs(owned[:, 1] - WIDTH / 2) < WIDTH / args.n)
    column = np.floor(owned[on, 0] / WIDTH * args.n).astype(int)
    row = np.searchsorted(heights, owned[on, 2]) - 1
    place = column * nz + row
    sums = [np.bincount(place, weights=w, minlength=args.n * nz) for w in values[on].T]
    sums.append(np.bincount(place, minlength=args.n * nz))
    sums = comm.allreduce(np.array(sums))
    return (sums[:3] / sums[3]).T.reshape(args.n, nz, 3)


# ## The run
# By the tangent-plane scheme of second order: semi-implicit Euler would add to the damping. Where
# exchange rules, its weight adds some $(dt\, \kappa |\nabla m|^2/2)^2/\alpha$ to $\alpha$: the free
# layer crosses the equator after 0.518 ns with dt = 1 ps, 0.485 ns with 0.5 ps, which extrapolates
# to about 0.47 ns.
step = llg.tangent_plane(
    energy,
    m,
    dt=units.time_from_s(1e-12 * args.dt_ps),
    damping=llg.Gilbert(fields.alpha),
    second_order=True,
)


def observe(t):
    mean = integrate(sums.values())
    return {"t_ns": 1e9 * units.time_to_s(t)} | {
        key: value / volumes[key] for key, value in zip(sums, mean.tolist(), strict=True)
    }


t_end = units.time_from_s(1e-9 * args.t_end_ns)
rows, shots, iterations, seconds = [observe(0.0)], [], [], []
shots.append((0.0, plane_nodes(spin.S), plane_nodes(m)))
movie = None
if args.output:
    movie = Animation(
        args.output / "spin_torque.gif", m, style="arrows", fps=12, dpi=90, centre="$-y$",
        colours=Colours(pole=(0, -1, 0)), direction=(1.0, -1.7, 0.5), size=(700, 500),
    )  # fmt: skip
steps = round(args.t_end_ns / (1e-3 * args.dt_ps))
every = max(1, steps // args.frames)
say("\n   t ns   <mx>     <my>     <mz>   mz fixed  its S  its m  s/step")
begin = time.perf_counter()
for state in llg.march(step, t_end=t_end, progress=False):
    row = observe(state.t)
    crossed = row["mz"] * rows[-1]["mz"] < 0
    rows.append(row)
    iterations.append((spin.iterations, state.iterations))
    seconds.append(state.seconds)
    last = state.t == t_end
    if last or (crossed and len(shots) == 1):
        shots.append((row["t_ns"], plane_nodes(spin.S), plane_nodes(m)))
    if movie and (state.n % every == 0 or last):
        movie.add(f"$t$ = {row['t_ns']:.3f} ns")
    if state.n % max(1, steps // 20) == 0 or last:
        say(f"{row['t_ns']:7.3f}  {row['mx']:7.4f}  {row['my']:7.4f}  {row['mz']:7.4f}  "
            f"{row['mz_fixed']:7.4f}  {spin.iterations:5d}  {state.iterations:5d}  "
            f"{state.seconds:6.3f}")  # fmt: skip
elapsed = time.perf_counter() - begin
if movie:
    movie.close()


# ## The picture
# (a), (b): m (arrows) on the middle plane, over the part of S across the axis, which turns m; when
# the run starts and when the free layer crosses the equator (or ends). (c): the current density.
# (d): S along the axis at the time of (b). (e): the torque against the angle, per current, as the
# efficiency eps of $a = 2 \varepsilon\, j/(M_s d)$. (f): m_z over time.
SHADES = {"lead": "#f3e3d3", "fixed": "#cfd8e3", "spacer": "#f3e3d3", "free": "#cfd8e3"}
SHADES["top lead"] = SHADES["lead"]


def draw_layers(ax, vertical):
    low = 0.0
    for name, (thick, _) in LAYERS.items():
        shade = ax.axhspan if vertical else ax.axvspan
        shade(low, low + thick, color=SHADES[name], lw=0, zorder=0)
        if low > 0:
            line = ax.axhline if vertical else ax.axvline
            line(low, color="#555555", lw=0.6, zorder=2)
        low += thick


def draw_plane(ax, shot, limit):
    when, S, spins = shot
    X, Z = np.meshgrid(np.linspace(0, WIDTH, args.n + 1), heights, indexing="ij")
    across = units.field_to_A_per_m(np.hypot(S[..., 0], S[..., 1]))
    image = ax.pcolormesh(X, Z, across, cmap="YlOrRd", shading="gouraud", vmin=0, vmax=limit)
    draw_layers(ax, True)
    # One row of arrows in each half of a magnet.
    rows_shown = [
        int(np.abs(heights - height).argmin())
        for height in (ends[0] + 1.2, ends[1] - 1.2, (ends[2] + ends[3]) / 2 + 0.1)
    ]
    columns = np.arange(0, args.n + 1, max(1, args.n // 8))[1:-1]
    C, R = np.meshgrid(columns, rows_shown, indexing="ij")
    ax.quiver(X[C, R], Z[C, R], spins[C, R, 0], spins[C, R, 2], pivot="mid", color="#1a1a1a",
              angles="xy", scale_units="xy", scale=0.36, width=0.008, zorder=4)  # fmt: skip
    ax.set_title(f"$t$ = {when:.3g} ns")
    ax.set_xlabel("$x$ (nm)")
    ax.set_aspect("equal")
    return image


def picture() -> None:
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(10.2, 6.4), layout="constrained")
        grid = figure.subplots(2, 3)
        limit = max(
            float(np.nanmax(units.field_to_A_per_m(np.hypot(S[..., 0], S[..., 1]))))
            for _, S, _ in shots[:2]
        )
        for ax, shot, letter in zip(grid[0], shots[:2], "ab", strict=False):
            image = draw_plane(ax, shot, limit)
            ax.set_title(f"({letter}) {ax.get_title()}: $m$, and $|S|$ across $z$")
        grid[0, 0].set_ylabel("$z$ (nm)")
        draw_colour_bar(grid[0, 1], image, "A/m")

        ax = grid[0, 2]
        density = 1e-12 * units.current_to_A_per_m2(j_plane)
        edges = np.linspace(0, WIDTH, args.n + 1)
        image = ax.pcolormesh(
            edges, heights, np.linalg.norm(density, axis=-1).T, cmap="viridis", vmin=0
        )
        x = 0.5 * (edges[1:] + edges[:-1])
        z = 0.5 * (heights[1:] + heights[:-1])
        ax.quiver(*np.meshgrid(x, z, indexing="ij"), density[..., 0], density[..., 2],
                  color="white", pivot="mid", width=0.006)  # fmt: skip
        for end in ends[:-1]:
            ax.axhline(end, color="white", lw=0.6)
        ax.set_aspect("equal")
        ax.set_xlabel("$x$ (nm)")
        ax.set_title("(c) current density")
        draw_colour_bar(ax, image, "$10^{12}$ A/m$^2$")

        ax = grid[1, 0]
        draw_layers(ax, False)
        middle = units.field_to_A_per_m(shots[1][1][args.n // 2])
        for k, colour in enumerate(("#0b6e99", "#d1495b", "#3a7d44")):
            ax.plot(heights, middle[:, k], color=colour, lw=1.3, label=f"$S_{'xyz'[k]}$")
        ax.set_xlabel("$z$ (nm)")
        ax.set_ylabel("$S$ (A/m)")
        ax.set_title(f"(d) $S$ along the axis, $t$ = {shots[1][0]:.3g} ns")
        ax.margins(x=0)
        ax.legend(frameon=False, loc="lower right")

        ax = grid[1, 1]
        ax.axhline(MAGNET.beta / 2, color="#7a7a7a", lw=1, ls="--", label=r"Slonczewski, $\beta/2$")
        ax.plot(angles, efficiency, color="#0b6e99", lw=1.3, label="damping-like")
        fine = np.linspace(0, 180, 181)
        line = offset + slope * np.cos(np.radians(fine))
        ax.plot(fine, 1 / line, color="#1a1a1a", lw=1, ls=":",
                label=rf"$P={fit['polarisation']:.2f}$, $\Lambda={fit['lambda']:.2f}$")  # fmt: skip
        ax.plot(angles, to_efficiency * field_like, color="#d1495b", lw=1.3, label="field-like")
        ax.set_xlabel("angle of the layers (degrees)")
        ax.set_ylabel(r"efficiency $\varepsilon$")
        ax.set_xlim(0, 180)
        ax.set_ylim(top=1.5 * max(MAGNET.beta / 2, efficiency.max()))
        ax.set_xticks([0, 45, 90, 135, 180])
        ax.set_title("(e) torque on the free layer")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False)

        ax = grid[1, 2]
        draw_lines(
            ax, [row["t_ns"] for row in rows],
            {"free layer": [row["mz"] for row in rows],
             "fixed layer": [row["mz_fixed"] for row in rows]}, time_unit="ns",
        )  # fmt: skip
        styles = (("#7a7a7a", "--", "Slonczewski"), ("#1a1a1a", ":", "macrospin (e)"))
        for (t, mz), (colour, style, label) in zip(spins.values(), styles, strict=True):
            ax.plot(t, mz, color=colour, ls=style, lw=1.3, label=label)
        ax.set_ylim(-1.08, 1.08)
        ax.set_ylabel("$m_z$")
        ax.set_title("(f) average magnetization")
        place = "lower right" if args.current_density > 0 else "lower left"
        ax.legend(frameon=False, loc=place, handlelength=1.4, fontsize=8)
        figure.savefig(args.output / "spin_torque.png")


j_plane = plane_cells(current.j)
if args.output:
    on_root(comm, picture)

# ## What was computed
times = {"pillar": crossing([row["t_ns"] for row in rows], [row["mz"] for row in rows])}
times |= dict(zip(("slonczewski", "macrospin"), (crossing(t, mz) for t, mz in spins.values()),
                  strict=True))  # fmt: skip
final = rows[-1]
counts = np.array(iterations)
largest = float(np.linalg.norm(spin.S.x.array.reshape(-1, 3), axis=1).max(initial=0.0))
results = {
    "current_mA": 1e3 * amperes,
    "voltage_mV": 1e3 * voltage,
    "time_unit_ps": 1e12 * units.time_unit,
    **{f"critical_current_density_{name}": value for name, value in critical.items()},
    "efficiency_slonczewski": MAGNET.beta / 2,
    "efficiency_at_start": float(at_start * to_efficiency),
    **{f"fit_{name}": float(value) for name, value in fit.items()},
    **{f"switching_time_ns_{name}": value for name, value in times.items() if value is not None},
    "switched": int(times["pillar"] is not None),
    **{f"{key}_final": final[key] for key in sums},
    "spin_accumulation_max_A_per_m": float(units.field_to_A_per_m(max(comm.allgather(largest)))),
    "length_defect": llg.length_defect(m),
    "dofs_spin": 3 * domain.geometry.index_map().size_global,
    "dofs_magnet": 3 * magnet.mesh.geometry.index_map().size_global,
    "iterations_spin": float(counts[:, 0].mean()),
    "iterations_magnet": float(counts[:, 1].mean()),
    "steps": len(seconds),
    "seconds_per_step": float(np.mean(seconds)),
    "seconds_total": elapsed,
}
if args.json:
    parameters = {key: value for key, value in vars(args).items() if value is not None}
    write_json(
        args.json,
        {
            "demo": "spin_torque",
            "parameters": parameters,
            "ranks": comm.size,
            "results": results,
        },
        comm,
    )


def in_words(when):
    return "does not switch" if when is None else f"crosses the equator after {when:.3f} ns"


say(
    f"\n{args.current_density:.3g} A/m2 is "
    f"{abs(args.current_density) / critical['slonczewski']:.2f} times the critical density of "
    "Slonczewski's macrospin with P = beta\n"
    f"({critical['slonczewski']:.3g}) and "
    f"{abs(args.current_density) / critical['drift_diffusion']:.2f} times that of the spin "
    f"accumulation ({critical['drift_diffusion']:.3g}).\n"
    f"The free layer {in_words(times['pillar'])}; a macrospin with the torque of (e) "
    f"{in_words(times['macrospin'])},\nwith Slonczewski's {in_words(times['slonczewski'])}. "
    f"A step took {results['iterations_spin']:.1f} iterations for S, "
    f"{results['iterations_magnet']:.1f} for m, {results['seconds_per_step']:.3f} s.\n"
    "No table of a paper is reproduced: the metals have values of the size that the papers use."
)
if args.output:
    say(f"Picture and animation: {args.output}")
