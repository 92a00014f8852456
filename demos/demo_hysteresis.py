# SPDX-License-Identifier: LGPL-3.0-or-later
# # Hysteresis: one spin, a hard grain in a soft matrix, a composite
#
# A loop is a sequence of equilibria: at each field m goes downhill from where it was,
# $$ m \in \mathrm{arg\,min}\; E(m; h), \qquad E(m; h) = \int \tfrac12 \kappa |\nabla m|^2
#    + \tfrac12 q_u (1 - (m \cdot e_z)^2) - m \cdot h, \qquad |m| = 1, $$
# and jumps where the minimum that it sits in ends. `llg.hysteresis` takes the steps of the field,
# and halves those in which m jumps until the switching field is known to a tolerance.
#
# 1. A particle small against its exchange length is one spin. In a field at the angle $\psi$ to its
#    axis it switches at $h = q_u (\cos^{2/3}\psi + \sin^{2/3}\psi)^{-3/2}$ (Stoner and Wohlfarth,
#    Phil. Trans. R. Soc. A 240 (1948) 599).
# 2. A hard grain in a soft matrix, field along the axis: m stays along z until z is no minimum any
#    more, that is until the lowest eigenvalue of the Hessian is zero. With one Ms for both that
#    eigenvalue is straight in the field, and two of them tell the nucleation field without a jump.
# 3. A composite: a cube, in 4 x 4 x 4 tiles at random soft or hard, with a contrast of 100 in the
#    exchange stiffness too; the field is 1 degree off the axis and goes in 23 equal steps from 1.2
#    to -1.2 times the largest anisotropy field. What counts here is the work of the minimiser on
#    finer and finer meshes. No stray field.
#
# Run: `python demos/demo_hysteresis.py --output DIR --json FILE [--quick]`, also on several ranks.

import time

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from shared import begin, options, record, say, several, whole

import dolfinx_llg as llg
from dolfinx_llg.equilibrium import nucleation_field, switching_fields
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import PAPER, draw_loop, draw_magnetization, snapshot
from dolfinx_llg.plot.curves import PALETTE

parser = options("Hysteresis loops.", "folder for the picture and the rows of the loops")
parser.add_argument(
    "--n", type=several(whole(2)), help="cells a side of the composite (default 10,20,40)"
)
parser.add_argument("--method", default="trust_region", choices=["trust_region", "lbfgs"])
comm = MPI.COMM_WORLD
args = begin(parser, {"n": ([10, 20, 40], [4, 6])})
results = {}

# ## One spin
# Material: Ms = 1 MA/m, K_u = 0.5 MJ/m3, whose anisotropy field is 1 T.
units = llg.units.Units(Ms0=1e6, length=1e-9)
HARD = float(units.q_u_from_K_u(5e5))
SOFT = float(units.q_u_from_K_u(1e4))
LARGEST_mT = 1e3 * float(units.field_to_T(HARD))


def along(degrees: float) -> np.ndarray:
    """Direction at an angle to z."""
    return np.array([np.sin(np.radians(degrees)), 0.0, np.cos(np.radians(degrees))])


angles, errors, spin_loops = [5.0, 20.0, 45.0, 70.0, 85.0], [], []
say("angle  switching mT  closed form mT  error %")
for angle in angles:
    small = mesh.create_unit_square(comm, 2, 2)
    field = llg.Zeeman((0.0, 0.0, 0.0))
    energy = llg.Energy(
        [
            llg.Exchange(float(units.kappa_from_A(1e-11))),
            llg.UniaxialAnisotropy((0, 0, 1), HARD),
            field,
        ]
    )
    m = llg.magnetization(small, along(angle))
    amplitudes = 1.2 * LARGEST_mT * np.linspace(1, -1, 9 if args.quick else 25)
    loop = list(
        llg.hysteresis(
            energy, m, field, amplitudes, direction=along(angle), units=units,
            tolerance=2e-3 * LARGEST_mT, method=args.method,
        )
    )  # fmt: skip
    s, c = along(angle)[[0, 2]]
    exact = -LARGEST_mT * (c ** (2 / 3) + s ** (2 / 3)) ** -1.5
    (switching,) = switching_fields(loop)
    errors.append(100 * abs(switching / exact - 1))
    spin_loops.append([state.row() for state in loop])
    say(f"{angle:5.0f}  {switching:12.2f}  {exact:14.2f}  {errors[-1]:7.3f}")
results |= {"angles": angles, "switching_error_percent": errors}

# ## Nucleation at a soft matrix
# A hard grain of 12 nm in a matrix of 24 nm, A = 10 pJ/m in both.
n = 8 if args.quick else 16
box = mesh.create_box(comm, [[-12.0] * 3, [12.0] * 3], [n] * 3)
q_u = fem.Function(fem.functionspace(box, ("DG", 0)))
q_u.interpolate(lambda x: np.where(np.max(np.abs(x), axis=0) < 6.0, HARD, SOFT))
field = llg.Zeeman((0.0, 0.0, 0.0))
energy = llg.Energy(
    [
        llg.Exchange(float(units.kappa_from_A(1e-11))),
        llg.UniaxialAnisotropy((0, 0, 1), q_u),
        field,
    ]
)
m = llg.magnetization(box, (0, 0, 1))
loop = llg.hysteresis(
    energy, m, field, LARGEST_mT * np.linspace(0, -1, 11), units=units,
    tolerance=1e-3 * LARGEST_mT, eigenvalue=True, method=args.method,
)  # fmt: skip
grain = []
for state in loop:  # the loop is ours to leave: what lies behind the jump is not wanted
    grain.append(state)
    if state.jumped:
        break
loop.close()
results["nucleation_mT"] = switching_fields(grain)[0]
results["nucleation_eigen_mT"] = nucleation_field(grain[:2])
say(
    f"\nhard grain in a soft matrix: m jumps at {results['nucleation_mT']:.2f} mT, the lowest "
    f"eigenvalue is zero at {results['nucleation_eigen_mT']:.2f} mT"
)


# ## The composite
def composite(n: int) -> tuple[llg.Energy, fem.Function, llg.Zeeman, fem.Function]:
    """A cube of 40 nm, tiles of 10 nm: 1 pJ/m and soft, or 100 pJ/m and hard."""
    cube = mesh.create_box(comm, [[0.0] * 3, [40.0] * 3], [n] * 3)
    kappa = llg.checkerboard(
        cube, 4, contrast=100.0, seed=1, low=float(units.kappa_from_A(1e-12)),
        box=([0.0] * 3, [40.0] * 3),
    )  # fmt: skip
    q_u = fem.Function(kappa.function_space)
    q_u.x.array[:] = np.where(kappa.x.array > 10 * units.kappa_from_A(1e-12), HARD, SOFT)
    field = llg.Zeeman((0.0, 0.0, 0.0))
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), q_u), field])
    return energy, llg.magnetization(cube, (0, 0, 1)), field, kappa


results |= {"method": args.method, "nodes": []}
keys = ("evaluations_per_field", "products_per_field", "gradients_per_field", "seconds_per_field")
results |= {key: [] for key in keys}
shots, marks, big_loop = [], [], []
say("\ncomposite, work per field\n   cells    nodes  steps  gradients  products  seconds")
for index, n in enumerate(args.n):
    energy, m, field, kappa = composite(n)
    big_loop, begin_at = [], time.perf_counter()
    last = index == len(args.n) - 1
    # Here each field counts once: no step is halved.
    for state in llg.hysteresis(
        energy, m, field, 1.2 * LARGEST_mT * np.linspace(1, -1, 23), direction=along(1.0),
        units=units, jump=2.0, method=args.method,
    ):  # fmt: skip
        big_loop.append(state.row())
        if last and args.output and (len(shots) < 3):
            before = big_loop[-2]["along"] if len(big_loop) > 1 else 1.0
            if abs(state.along - before) > 0.05 or (state is not None and state.t == 22):
                marks.append(state.t)
                shots.append(snapshot(m, kappa))
    seconds = time.perf_counter() - begin_at
    work = {k: sum(row[k] for row in big_loop) / 23 for k in ("steps", "evaluations", "products")}
    outer = work["steps" if args.method == "trust_region" else "evaluations"]
    results["nodes"].append(int(m.function_space.dofmap.index_map.size_global))
    row = (outer, work["products"], work["evaluations"], seconds / 23)
    for key, value in zip(keys, row, strict=True):
        results[key].append(value)
    say(f"{n:5d}^3  {results['nodes'][-1]:7d}  {work['steps']:5.2f}  {work['evaluations']:9.2f}  "
        f"{work['products']:8.2f}  {seconds / 23:7.3f}")  # fmt: skip


# ## The picture
def picture() -> None:
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.0, 5.6), layout="constrained")
        axes = figure.subplots(2, 3)
        for angle, rows, colour in zip(angles, spin_loops, PALETTE, strict=False):
            draw_loop(axes[0, 0], rows, unit="mT", label=rf"{angle:.0f}$^\circ$", colour=colour)
        axes[0, 0].legend(frameon=False)
        axes[0, 0].set_title("one spin, half loops at five angles")
        h = [state.amplitude for state in grain if state.along > 0.5]
        axes[0, 1].plot(h, [s.eigenvalue for s in grain if s.along > 0.5], "o-", ms=3, lw=1)
        axes[0, 1].plot([results["nucleation_mT"]] * 2, [0, 0.1], color=PALETTE[1], lw=1.2)
        axes[0, 1].axhline(0, color="#cccccc", lw=0.6)
        axes[0, 1].set_xlabel("applied field (mT)")
        axes[0, 1].set_ylabel("lowest eigenvalue ($M_s$)")
        axes[0, 1].set_title("hard grain; red: where m jumps")
        draw_loop(axes[0, 2], big_loop, unit="mT", marks=marks)
        axes[0, 2].set_title(f"composite, {args.n[-1]}$^3$ cells")
        for ax, shot, letter in zip(axes[1], shots, "abc", strict=False):
            draw_magnetization(ax, shot, style="hsv", arrows=9)
            ax.set_title(f"({letter})")
        for ax in axes[1, len(shots) :]:
            ax.set_axis_off()
        figure.savefig(args.output / "hysteresis.png")


if args.output:
    on_root(comm, picture)

record("hysteresis", args, results)
say(
    f"\nStoner-Wohlfarth: switching fields within {max(errors):.2f} % at five angles. Nucleation: "
    f"jump and eigenvalue differ by "
    f"{abs(results['nucleation_mT'] - results['nucleation_eigen_mT']):.2f} mT. Composite: "
    f"{results['evaluations_per_field'][-1]:.1f} "
    + ("steps and " if args.method == "trust_region" else "gradients and ")
    + f"{results['products_per_field'][-1]:.1f} products a field on the finest mesh, "
    f"{results['products_per_field'][0]:.1f} products on the coarsest."
)
