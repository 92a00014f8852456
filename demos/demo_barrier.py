# SPDX-License-Identifier: LGPL-3.0-or-later
# # Energy barriers: how long does a bit last?
#
# At a temperature T a magnetic bit turns over after about $\tau_0 e^{\Delta E/k_B T}$, where
# $\Delta E$ is the height of the lowest pass between its two minima over the one that is left.
# `llg.energy_barrier` lets a path between the minima slide into the valley (simplified string
# method, E, Ren and Vanden-Eijnden 2007), and an image at its summit climb to the pass by Newton's
# method; there the Hessian has one negative eigenvalue.
#
# 1. **A small particle** turns as one spin: $\Delta E = K V$, and against a field
#    $K V (1 - H/H_K)^2$.
# 2. **A wire** along z with the cross-section S. Beyond $\pi \sqrt{A/K}$ a coherent turn is no pass
#    any more (it has a second negative eigenvalue): a domain nucleates at an end, and its wall runs
#    through. Without a field the pass is the wall, $\Delta E = 4 S \sqrt{A K}$. In a field H
#    against m the nucleus has to reach a critical size. With $\eta = H/H_K$, the first integral
#    $A \theta'^2 = K \sin^2\theta - \mu_0 M_s H (1 - \cos\theta)$ of the equation at rest gives
#    $$ \Delta E = 4 S \sqrt{A K} \left( w - \eta\, \mathrm{artanh}\, w \right), \qquad
#       w = \sqrt{1 - \eta}, $$
#    half of Braun's droplet of two walls (Phys. Rev. B 50 (1994) 16485).
#
# On several ranks the images are shared (`llg.Ensemble`), with a mesh on each rank.
#
# Run: `python demos/demo_barrier.py --output DIR --json FILE [--quick]`, also on several ranks.

import math

from mpi4py import MPI  # noqa: F401  isort: skip

import numpy as np
from dolfinx import fem, mesh
from pages import page
from shared import begin, comm, options, record, say, whole

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.plot.curves import PALETTE

parser = options("Energy barriers of a particle and of a wire.", "folder for the picture")
parser.add_argument("--images", type=whole(3), help="images of a path (default 21, quick 9)")
args = begin(parser, {"images": (21, 9)})

# ## The material
MS, A, K_U = 1e6, 1e-11, 1e6  # A/m, J/m, J/m3: a hard alloy
DIAMETER, KELVIN = 5.0, 300.0  # nm, K
units = llg.units.Units(Ms0=MS, length=1e-9)
kappa, q_u = float(units.kappa_from_A(A)), float(units.q_u_from_K_u(K_U))
WIDTH = math.sqrt(A / K_U) * 1e9  # wall parameter, nm
kT = llg.units.K_B * KELVIN
results = {}


def states(msh: mesh.Mesh) -> tuple[fem.Function, fem.Function]:
    """Up and down."""
    return llg.magnetization(msh, (0, 0, 1)), llg.magnetization(msh, (0, 0, -1))


def energy(eta: float) -> llg.Energy:
    """Exchange, an easy axis, and the part eta of the anisotropy field against up."""
    terms = [llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), q_u)]
    return llg.Energy([*terms, llg.Zeeman((0, 0, -eta * q_u))])


with llg.Ensemble(args.images) as share:
    # ## A small particle
    etas = [0.0, 0.3] if args.quick else [0.0, 0.15, 0.3, 0.45, 0.6]
    errors, particle = [], []
    box = mesh.create_box(share.comm, [[0.0] * 3, [DIAMETER] * 3], [3] * 3)
    say("particle of 5 nm\n  H/H_K   barrier kT   K V (1 - H/H_K)^2   error %")
    for eta in etas:
        found = llg.energy_barrier(energy(eta), *states(box), images=args.images, share=share)
        exact = K_U * (DIAMETER * 1e-9) ** 3 * (1 - eta) ** 2
        particle.append(float(units.energy_to_J(found.barrier)) / kT)
        errors.append(100 * abs(particle[-1] * kT / exact - 1))
        say(f"{eta:7.2f}  {particle[-1]:11.3f}   {exact / kT:17.3f}   {errors[-1]:.2g}")
    results |= {"macrospin_error_percent": max(errors), "macrospin_barriers_kT": particle}

    # ## A wire in a field
    SECTION = math.pi / 4 * DIAMETER**2  # nm2; energies in 1D are per nm2
    unit_kT = float(units.energy_to_J(SECTION)) / kT
    LENGTH, cells = (40.0, 80) if args.quick else (60.0, 240)
    fields = [0.0, 0.3] if args.quick else [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    wire = mesh.create_interval(share.comm, cells, [0.0, LENGTH])
    rows, errors, passes = [], [], []
    say(f"\nwire of {LENGTH:g} nm, thickness {DIAMETER:g} nm, cells of {LENGTH / cells:g} nm")
    say("  H/H_K   barrier kT   closed form   error %   eigenvalues mT   gradients")
    for eta in fields:
        found = llg.energy_barrier(energy(eta), *states(wire), images=args.images, share=share)
        w = math.sqrt(1 - eta)
        exact = 2 * math.sqrt(kappa * q_u) * (w - eta * math.atanh(w) if eta else 1.0)
        errors.append(100 * (found.barrier / exact - 1))
        values = [1e3 * float(units.field_to_T(value)) for value in found.eigenvalues]
        say(
            f"{eta:7.2f}  {found.barrier * unit_kT:11.3f}   {exact * unit_kT:11.3f}   "
            f"{errors[-1]:+7.3f}   {values[0]:7.1f} {values[1]:6.1f}   {found.evaluations:9d}"
        )
        rows.append((eta, found.barrier * unit_kT, found.positions,
                     [unit_kT * value for value in found.energies]))  # fmt: skip
        # m_z by the nodes of this group's mesh, which live on one rank here.
        x = found.saddle.m.function_space.tabulate_dof_coordinates()[:, 0]
        passes.append((np.sort(x), found.saddle.m.x.array[2::3][np.argsort(x)]))
        del found
    results["wire_fields"] = fields
    results["wire_barriers_kT"] = [row[1] for row in rows]
    results["wire_error_percent"] = max(map(abs, errors))

    # ## From the particle to the wire
    lengths = [5.0, 20.0] if args.quick else [4.0, 7.0, 9.0, 10.0, 11.0, 12.0, 15.0, 20.0, 30.0]
    by_length = []
    say("\nno field\n  length nm   barrier kT   K V kT   4 S sqrt(A K) kT")
    for length in lengths:
        short = mesh.create_interval(share.comm, max(20, round(4 * length)), [0.0, length])
        found = llg.energy_barrier(energy(0.0), *states(short), images=args.images, share=share)
        by_length.append(found.barrier * unit_kT)
        say(f"{length:11.1f}  {by_length[-1]:11.2f}   {q_u / 2 * length * unit_kT:6.2f}   "
            f"{2 * math.sqrt(kappa * q_u) * unit_kT:17.2f}")  # fmt: skip
        del found, short
    results |= {"lengths_nm": lengths, "length_barriers_kT": by_length}
    del box, wire


# ## The picture
def picture() -> None:
    with page(args.output / "barrier.png", (9.0, 5.6), 2, 2) as axes:
        shown = range(0, len(rows), 2 if len(rows) > 3 else 1)
        for colour, k in zip(PALETTE, shown, strict=False):
            eta, _, positions, heights = rows[k]
            label = f"$H = {eta:g}\\,H_K$"
            axes[0, 0].plot(positions, heights, "o-", ms=2.5, lw=1, color=colour, label=label)
            x, z = passes[k]
            axes[0, 1].plot(x, z, color=colour, lw=1.2, label=label)
        top = max(max(heights) for *_, heights in rows)
        axes[0, 0].set(xlabel="place on the path", ylabel="energy ($k_B T$)")
        axes[0, 0].set_ylim(-0.6 * top, 1.15 * top)
        axes[0, 0].set_title("paths of the wire")
        axes[0, 0].legend(frameon=False, loc="center", bbox_to_anchor=(0.62, 0.5))
        axes[0, 1].set(xlabel="place in the wire (nm)", ylabel="$m_z$", ylim=(-1.05, 1.05))
        axes[0, 1].set_title("its passes")
        eta = np.linspace(1e-6, 0.7, 200)
        w = np.sqrt(1 - eta)
        closed = 2 * math.sqrt(kappa * q_u) * unit_kT * (w - eta * np.arctanh(w))
        axes[1, 0].plot(eta, closed, color="#1a1a1a", lw=1, label="nucleus at an end")
        axes[1, 0].plot([row[0] for row in rows], [row[1] for row in rows], "o", ms=4,
                        color=PALETTE[0], label="wire")  # fmt: skip
        volume = K_U * (DIAMETER * 1e-9) ** 3 / kT
        axes[1, 0].plot(eta, volume * (1 - eta) ** 2, ":", color="#1a1a1a", lw=1,
                        label="$KV(1 - H/H_K)^2$")  # fmt: skip
        axes[1, 0].plot(etas, particle, "s", ms=4, color=PALETTE[1], label="particle")
        axes[1, 0].set(xlabel="$H/H_K$", ylabel="barrier ($k_B T$)", ylim=(0, None))
        axes[1, 0].set_title("barriers in a field")
        axes[1, 0].legend(frameon=False)
        long = np.array([0.0, max(lengths)])
        wall = 2 * math.sqrt(kappa * q_u) * unit_kT
        axes[1, 1].plot(long, q_u / 2 * long * unit_kT, ":", color="#1a1a1a", lw=1, label="$KV$")
        axes[1, 1].plot(long, [wall, wall], color="#1a1a1a", lw=1, label=r"$4S\sqrt{AK}$")
        axes[1, 1].plot(lengths, by_length, "o", ms=4, color=PALETTE[0])
        axes[1, 1].axvline(math.pi * WIDTH, color="#cccccc", lw=0.8, zorder=0)
        axes[1, 1].set(xlabel="length (nm)", ylabel="barrier ($k_B T$)", ylim=(0, 1.4 * wall))
        axes[1, 1].set_title(r"coherent turn and wall; grey: $\pi\sqrt{A/K}$")
        axes[1, 1].legend(frameon=False)


if args.output:
    on_root(comm, picture)
    say(f"Picture: {args.output / 'barrier.png'}")
record("barrier", args, results)

# ## What was reproduced
say(
    f"Reproduced: K V (1 - H/H_K)^2 within {results['macrospin_error_percent']:.2g} %, the nucleus "
    f"at the end of a wire within {results['wire_error_percent']:.2f} % of its closed form on "
    f"cells of {LENGTH / cells / WIDTH:.2f} wall parameters."
)
