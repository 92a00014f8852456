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
# Left out: Oersted field, heat; without `--stray-field` that field (K_u is what remains after it).
#
# Run: `mpirun -n 2 python demos/demo_spin_torque.py --output DIR [--current-density 5e11]
# [--alpha 0.02] [--t-end-ns 0.8] [--quick]`.

import time

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem
from nanopillar import (
    BOTTOM,
    LAYERS,
    MAGNET,
    METALS,
    TAG,
    TOP,
    WIDTH,
    crossing,
    layers,
    macrospin,
    materials,
    pillar,
    with_shape,
)  # fmt: skip
from shared import along, begin, options, positive, real, record, say, whole
from spin_torque_pictures import Torque, draw

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import Animation, Colours
from dolfinx_llg.transport import SpinAccumulation, Transport, magnet_of, solve_current

parser = options("A nanopillar switched by a current.", "folder for the picture and the animation")
parser.add_argument(
    "--current-density", type=real(), default=5e11,
    help="mean density [A/m2], positive where electrons flow from the fixed to the free layer "
    "(write --current-density=-5e11 with the equals sign)",
)  # fmt: skip
parser.add_argument("--alpha", type=positive, default=0.02, help="damping of the free layer")
parser.add_argument(
    "--tilt", type=real(0.0, 90.0), default=5.0, help="free layer off the axis [degrees]"
)
parser.add_argument("--t-end-ns", type=positive, help="final time [ns] (default 0.8, quick 0.004)")
parser.add_argument("--dt-ps", type=positive, help="time step [ps] (default 0.5, quick 1)")
parser.add_argument("--n", type=whole(2), help="cells across (even; default 8, quick 4)")
parser.add_argument("--stray-field", action="store_true", help="with the stray field of the layers")
parser.add_argument("--frames", type=whole(), help="of the animation (default 40, quick 2)")
args = begin(
    parser, {"t_end_ns": (0.8, 0.004), "dt_ps": (0.5, 1.0), "n": (8, 4), "frames": (40, 2)}
)
if args.n % 2:
    parser.error(f"--n must be even (the picture shows the middle plane), got {args.n}")
comm = MPI.COMM_WORLD
# ## Geometry and materials
# A square pillar of 40 nm; from the bottom lead (10 nm, spins flip fast), fixed layer (6), copper
# (4), free layer (3), lead (10): `nanopillar.py` has the metals and the mesh.
MATERIALS = materials(args.alpha)
units = llg.units.Units.for_materials(MATERIALS.values(), length=1e-9)
body = pillar(comm, args.n)
domain, cell_tags = body.domain, body.cell_tags

# ## Current
# The total current enters at the top, against the electrons; the bottom is at 0 V.
metals = Transport.from_cell_tags(domain, cell_tags, METALS, units)
total = units.current_from_A_per_m2(args.current_density) * WIDTH**2
current = solve_current(
    domain, metals.sigma, body.facet_tags, potentials={BOTTOM: 0.0}, currents={TOP: total}
)
voltage = current.potentials[TOP]
amperes = current.inflow[TOP] * units.current_unit * units.length**2
say(f"current {1e3 * amperes:.4g} mA, voltage {1e3 * voltage:.4g} mV")

# ## Magnets and their torque
magnet = magnet_of(domain, cell_tags, list(MATERIALS))
own_tags = magnet.restrict_tags(cell_tags)
fields = llg.units.Regions.from_cell_tags(magnet.mesh, own_tags, MATERIALS, units)
spin = SpinAccumulation(magnet, current, metals)
stray = [with_shape(magnet.mesh, fields, own_tags)] if args.stray_field else []
axial = llg.UniaxialAnisotropy(fields.easy_axis, fields.q_u)
energy = llg.Energy([llg.Exchange(fields.kappa), axial, spin, *stray], Ms=fields.Ms)
start = along(180.0 - args.tilt if args.current_density > 0 else args.tilt)
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
    probe = along(angle)
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


# Slonczewski's form, $\varepsilon = P \Lambda^2/(\Lambda^2 + 1 + (\Lambda^2 - 1) \cos\theta)$, is
# linear in $1/\varepsilon$: P and Lambda of the pillar follow from a straight line.
to_efficiency = free_Ms * LAYERS["free"][0] / (2 * j_mean)
efficiency = to_efficiency * damping_like
slope, offset = np.polyfit(np.cos(np.radians(angles)), 1 / efficiency, 1)
fit = {"polarisation": 2 / (offset + slope), "lambda": np.sqrt((offset + slope) / (offset - slope))}

cosines = np.cos(np.radians(angles))[::-1]
t_end = units.time_from_s(1e-9 * args.t_end_ns)
data = {"h_k": h_k, "alpha": args.alpha, "start": start, "t_end": t_end}
curves = {
    "slonczewski": macrospin(lambda z: simple, lambda z: 0.0, **data),
    "macrospin": macrospin(
        lambda z: np.interp(z, cosines, damping_like[::-1]),
        lambda z: np.interp(z, cosines, field_like[::-1]), **data,
    ),
}  # fmt: skip
spins = {name: (1e9 * units.time_to_s(t), mz) for name, (t, mz) in curves.items()}
for name, value in critical.items():
    say(f"critical current density, {name}: {value:.3g} A/m2")


# ## The run
# By the tangent-plane scheme of second order: semi-implicit Euler would add to the damping.
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


rows, shots, iterations, seconds = [observe(0.0)], [], [], []
shots.append((0.0, body.plane_nodes(spin.S), body.plane_nodes(m)))
movie = None
if args.output:
    movie = Animation(
        args.output / "spin_torque.gif", m, style="arrows", fps=12, dpi=90, centre="$-y$",
        colours=Colours(pole=(0, -1, 0)), direction=(1.0, -1.7, 0.5), size=(700, 500),
    )  # fmt: skip
steps = round(args.t_end_ns / (1e-3 * args.dt_ps))
every = max(1, steps // args.frames)
say("\n   t ns   <mx>     <my>     <mz>   mz fixed  its S  its m  s/step")
clock = time.perf_counter()
for state in llg.march(step, t_end=t_end, progress=False):
    row = observe(state.t)
    crossed = row["mz"] * rows[-1]["mz"] < 0
    rows.append(row)
    iterations.append((spin.iterations, state.iterations))
    seconds.append(state.seconds)
    last = state.t == t_end
    if last or (crossed and len(shots) == 1):
        shots.append((row["t_ns"], body.plane_nodes(spin.S), body.plane_nodes(m)))
    if movie and (state.n % every == 0 or last):
        movie.add(f"$t$ = {row['t_ns']:.3f} ns")
    if state.n % max(1, steps // 20) == 0 or last:
        say(f"{row['t_ns']:7.3f}  {row['mx']:7.4f}  {row['my']:7.4f}  {row['mz']:7.4f}  "
            f"{row['mz_fixed']:7.4f}  {spin.iterations:5d}  {state.iterations:5d}  "
            f"{state.seconds:6.3f}")  # fmt: skip
elapsed = time.perf_counter() - clock
if movie:
    movie.close()

# ## The picture
torque = Torque(angles, efficiency, to_efficiency * field_like, slope, offset, fit)
density = 1e-12 * units.current_to_A_per_m2(body.plane_cells(current.j))
if args.output:
    curves = list(spins.values())
    on_root(comm, lambda: draw(args.output, body, units, shots, density, torque, rows, curves))

# ## What was computed
times = {"pillar": crossing([row["t_ns"] for row in rows], [row["mz"] for row in rows])}
times |= {name: crossing(t, mz) for name, (t, mz) in spins.items()}
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
    **{f"{key}_final": rows[-1][key] for key in sums},
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
record("spin_torque", args, results)
words = {
    name: "does not switch" if when is None else f"crosses the equator after {when:.3f} ns"
    for name, when in times.items()
}
over = {name: abs(args.current_density) / value for name, value in critical.items()}
say(
    f"\n{args.current_density:.3g} A/m2 is {over['slonczewski']:.2f} times the critical density of "
    f"Slonczewski's macrospin with P = beta\n({critical['slonczewski']:.3g}) and "
    f"{over['drift_diffusion']:.2f} times that of the spin accumulation "
    f"({critical['drift_diffusion']:.3g}).\n"
    f"The free layer {words['pillar']}; a macrospin with the torque of (e) "
    f"{words['macrospin']},\nwith Slonczewski's {words['slonczewski']}. "
    f"A step took {results['iterations_spin']:.1f} iterations for S, "
    f"{results['iterations_magnet']:.1f} for m, {results['seconds_per_step']:.3f} s.\n"
    "No table of a paper is reproduced: the metals have values of the size that the papers use."
)
if args.output:
    say(f"Picture and animation: {args.output}")
