# SPDX-License-Identifier: LGPL-3.0-or-later
# # The demagnetization curve of a hard and soft nanocomposite, by four methods
#
# A cube of 48 nm of a random polycrystal with its stray field: grains of 6 nm, at random of a hard
# material (MnBi) or a soft one with three times its moment (Fe65Co35), the easy axes scattered
# about z by 15 degrees. Its equilibria
# $$ m \in \mathrm{arg\,min} \int A |\nabla m|^2 + K_u (1 - (m \cdot u)^2)
#    - \tfrac12 \mu_0 M_s\, m \cdot H_{dem}(m) - \mu_0 M_s\, m \cdot H_{ext}, \qquad |m| = 1, $$
# are followed from +1 T to -1 T, 2 degrees off z (`llg.hysteresis`):
#
# - `resolved`: on hexahedra that resolve the grains;
# - `grps`: the same energy, and m in the span of basis functions (generalized rough polyharmonic
#   splines) that know its exchange and anisotropy: one per component and coarse cell;
# - `homogenized`: the limit of small grains, from a periodic sample that is drawn anew: exchange
#   tensor, mean anisotropy tensor, mean Ms and the stray field of its fluctuation, on the coarse
#   mesh;
# - `averaged`: means of A, K_u and Ms of this very sample, easy axis z, on the coarse mesh.
#
# What decides is where reversal begins. Both means let the magnet turn as one, at the field of its
# mean anisotropy; the composite begins in the softest region of its grains, whose size is about
# the exchange length, so that no mean of the material knows of it. The last state before the jump
# is shown turned along the softest mode of the Hessian there (`Equilibrium.stability().mode`).
#
# Run: `python demos/demo_nanocomposite.py --output DIR --json FILE [--cells 24]`, also on several
# ranks.

from mpi4py import MPI

import nanocomposite_pictures as draw
import numpy as np
from nanocomposite_cases import UNITS, Medium, averaged, grps, homogenized, resolved
from shared import along, begin, options, positive, record, say, timed, whole

import dolfinx_llg as llg
from dolfinx_llg.equilibrium import coercive_fields, energy_product, remanences
from dolfinx_llg.grps import match_meshes
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import snapshot

parser = options("Demagnetization curves of a nanocomposite.", "folder for the picture")
parser.add_argument("--cells", type=whole(4), help="cells a side (default 48, quick 6)")
parser.add_argument(
    "--coarse", type=whole(2), help="coarse cells a side, a divisor of the others (default 12, "
    "or half of the cells where these are fewer than 24)",
)  # fmt: skip
parser.add_argument("--ell", type=whole(), help="layers of the patches (default 2, quick 1)")
parser.add_argument("--side-nm", type=positive, help="edge of the cube (default 48, quick 12)")
parser.add_argument("--grain-nm", type=positive, default=6.0, help="size of the grains (default 6)")
parser.add_argument("--seed", type=whole(0), default=1, help="of the grains (default 1)")
parser.add_argument("--step-mT", type=positive, help="of the field (default 50, quick 500)")
defaults = {"cells": (48, 6), "ell": (2, 1), "side_nm": (48.0, 12.0), "step_mT": (50.0, 500.0)}
args = begin(parser, defaults)
comm = MPI.COMM_WORLD
coarse_cells = 12 if args.cells >= 24 else args.cells // 2
if args.coarse is not None:
    coarse_cells = args.coarse
if args.cells % coarse_cells:
    parser.error(f"--coarse must divide the {args.cells} cells a side, got {coarse_cells}")

# ## The magnets
medium = Medium(side=args.side_nm, grain=args.grain_nm, seed=args.seed)
hierarchy = match_meshes(medium.box(coarse_cells), medium.box(args.cells))
fine, coarse = hierarchy.fine, hierarchy.coarse
say(
    f"{medium.count} grains, {args.cells}^3 cells of {medium.side / args.cells:.2f} nm, "
    f"{coarse_cells}^3 coarse ones"
)
made = {}


def make(name, build):
    """Build a magnet and note the seconds, those of its stray field among them."""
    made[name] = timed(build)
    return made[name][0]


exact = make("resolved", lambda: resolved(medium, fine))
make("grps", lambda: grps(exact, hierarchy, args.ell))
make("homogenized", lambda: homogenized(medium, args.cells, coarse))
make("averaged", lambda: averaged(medium, fine, coarse))

# ## The curves
direction = along(2.0)
amplitudes = np.arange(1000.0, -1000.0 - 0.5 * args.step_mT, -args.step_mT)
methods, curves, before = [], {}, {}


def follow(name, magnet):
    """Return the states of a curve; keep field and m of the last one before m reverses."""
    states, last = [], None
    for state in llg.hysteresis(
        magnet.energy, magnet.m, magnet.field, amplitudes, direction=direction, units=UNITS,
        steps=llg.LoopSteps(tolerance=0.1 * args.step_mT), torque=1e-4, basis=magnet.basis,
    ):  # fmt: skip
        if last and state.jumped and state.along < 0.0 <= states[-1].along:
            before[name] = last
        states.append(state)
        last = (state.h, magnet.m.x.array.copy())
    return states


say("\nmethod        numbers  set-up s  loop s  gradients  remanence  coercive mT  (BH)max kJ/m3")
for name, (magnet, setup) in made.items():
    states, seconds = timed(lambda name=name, magnet=magnet: follow(name, magnet))
    found = coercive_fields(states)
    methods.append(
        {
            "name": name,
            "dofs": magnet.dofs,
            "seconds_setup": setup,
            "seconds_loop": seconds,
            "remanence": remanences(states)[0],
            "coercive_mT": -found[0] if found else None,
            # Of a cube: its mean demagnetizing factor is 1/3.
            "bh_max_kJ_m3": 1e-3 * UNITS.pressure_unit * energy_product(states, factor=1 / 3),
            "evaluations": sum(state.evaluations + state.products for state in states),
        }
    )
    row = methods[-1]
    coercive = row["coercive_mT"] or np.nan
    say(
        f"{name:12s} {row['dofs']:8d}  {setup:8.1f}  {seconds:6.1f}  {row['evaluations']:9d}  "
        f"{row['remanence']:9.4f}  {coercive:11.1f}  {row['bh_max_kJ_m3']:13.1f}"
    )
    curves[name] = [state.row() for state in states]

# ## Errors, and what they mean
truth = methods[0]
for row in methods:
    row["coercive_error_percent"] = row["bh_max_error_percent"] = None
    if row["coercive_mT"] and truth["coercive_mT"]:
        row["coercive_error_percent"] = 100 * (row["coercive_mT"] / truth["coercive_mT"] - 1)
    row["bh_max_error_percent"] = 100 * (row["bh_max_kJ_m3"] / truth["bh_max_kJ_m3"] - 1)
results = {"methods": methods, "grains": medium.count}
say()
for row in methods[1:]:
    error = row["coercive_error_percent"]
    work = (row["seconds_setup"] + row["seconds_loop"]) / (
        truth["seconds_setup"] + truth["seconds_loop"]
    )
    found = "does not reverse" if error is None else f"coercive field {error:+.1f} %"
    say(
        f"{row['name']:12s} {100 * row['dofs'] / truth['dofs']:5.1f} % of the numbers, "
        f"{100 * work:5.0f} % of the seconds: {found}, (BH)max "
        f"{row['bh_max_error_percent']:+.1f} %"
    )

# ## How reversal begins
# The resolved magnet stands where it stood before the jump; a coarse space would be entered anew.
panels = [draw.curves(curves), draw.curves(curves, near=(-700.0, 50.0), above=0.8)]
if args.output:
    panels.append(draw.grains(snapshot(exact.m, exact.kappa), medium.side))
if "resolved" in before:
    h, values = before["resolved"]
    exact.m.x.array[:] = values
    exact.field.assign(h * direction)
    soft = llg.minimise(exact.energy, exact.m, torque=1e-4).stability()
    results["eigenvalue_mT"] = 1e3 * float(UNITS.field_to_T(soft.eigenvalue))
    say(f"lowest eigenvalue at the last state before the jump: {results['eigenvalue_mT']:.1f} mT")
    if args.output:
        shot = snapshot(exact.m, exact.kappa)
        panels.append(draw.turned(shot, None, "resolved, before the jump"))
        if soft.mode is not None:
            panels.append(draw.turned(shot, snapshot(soft.mode), "... turned along its mode"))
if "grps" in before and args.output:
    magnet = made["grps"][0]
    magnet.m.x.array[:] = before["grps"][1]
    panels.append(draw.turned(snapshot(magnet.m, exact.kappa), None, "GRPS, before its jump"))
if args.output:
    on_root(comm, lambda: draw.draw_all(args.output / "nanocomposite.png", panels))
record("nanocomposite", args, results)
nearest = min(methods[1:], key=lambda row: abs(row["coercive_error_percent"] or np.inf))
say(
    f"\nNearest to the resolved coercive field: {nearest['name']}. A mean material knows how hard "
    "the magnet is on the whole, not where it is soft: what it promises is the field at which all "
    "of it turns as one."
)
