# SPDX-License-Identifier: LGPL-3.0-or-later
# # Hysteresis: one spin, a hard grain, a composite, bars and films with their stray field
#
# A loop is a sequence of equilibria: at each field m goes downhill from where it was,
# $$ m \in \mathrm{arg\,min}\; E(m; h), \qquad E(m; h) = \int \tfrac12 \kappa |\nabla m|^2
#    + \tfrac12 q_u (1 - (m \cdot e_z)^2) - m \cdot h, \qquad |m| = 1, $$
# and jumps where the minimum that it sits in ends. `llg.hysteresis` takes the steps of the field,
# and halves those in which m jumps until the switching field is known to a tolerance.
#
# - `spin`: a particle small against its exchange length is one spin. In a field at the angle $\psi$
#   to its axis it switches at $h = q_u (\cos^{2/3}\psi + \sin^{2/3}\psi)^{-3/2}$ (Stoner and
#   Wohlfarth, Phil. Trans. R. Soc. A 240 (1948) 599).
# - `grain`: a hard grain in a soft matrix, field along the axis: m stays along z until z is no
#   minimum any more, that is until the lowest eigenvalue of the Hessian is zero. With one Ms for
#   both that eigenvalue is straight in the field, and two of them tell the nucleation field without
#   a jump.
# - `composite`: a cube, in 4 x 4 x 4 tiles at random soft or hard, with a contrast of 100 in the
#   exchange stiffness too; the field is 1 degree off the axis and goes in 23 equal steps from 1.2
#   to -1.2 times the largest anisotropy field. What counts here is the work of the minimiser on
#   finer and finer meshes, without the stray field, and with it by both methods: an evaluation or a
#   product is then one solve for the stray field.
# - `mumag2`: bars 5 : 1 : 0.1 with their stray field, field along (1, 1, 1). Small ones turn as
#   one, $H_c/M_s$ tends to 0.05707; large ones sooner (https://www.ctcms.nist.gov/~rdm/spec2.html).
# - `sp1` (on request): loops like those of muMAG 1: a film of permalloy, 2 x 1 um, 20 nm thick,
#   field 1 degree off the long and the short side, from 50 to -50 mT and back; with checkpoints,
#   from which `--resume` goes on.
# - `--forc`: first-order reversal curves of the composite, the density of hysterons, a minor loop.
#
# Run: `python demos/demo_hysteresis.py --output DIR --json FILE [--quick] [--case sp1] [--forc]`,
# also on several ranks.

import time
from types import SimpleNamespace

from mpi4py import MPI

import hysteresis_pictures as draw
import numpy as np
from hysteresis_cases import (
    PERMALLOY,
    LARGEST_mT,
    bar,
    composite,
    film,
    grain,
    reversal_curves,
    spin,
    units,
    up_to,
)
from shared import along, begin, options, real, record, say, several, whole

import dolfinx_llg as llg
from dolfinx_llg.equilibrium import (
    coercive_fields,
    energy_product,
    nucleation_field,
    remanences,
    switching_fields,
)
from dolfinx_llg.output import on_root, read_csv
from dolfinx_llg.plot import snapshot
from dolfinx_llg.stray_field import prism_factors

CASES = ["spin", "grain", "composite", "mumag2"]
parser = options("Hysteresis loops.", "folder for the picture, rows and checkpoints of the loops")
parser.add_argument("--case", nargs="+", choices=[*CASES, "sp1"], help="default: all but sp1")
parser.add_argument(
    "--n", type=several(whole(2)), help="cells a side of the composite (default 10,20,40)"
)
parser.add_argument(
    "--stray-n", type=several(whole(2)), help="the same with its stray field (default 10,20)"
)
parser.add_argument("--method", default="trust_region", choices=["trust_region", "lbfgs"],
                    help="without stray field")  # fmt: skip
parser.add_argument("--forc", action="store_true", help="reversal curves of the composite")
parser.add_argument(
    "--cells-nm", type=real(2.0, 500.0), help="cells of sp1 (default 50, quick 250)"
)
parser.add_argument("--resume", action="store_true", help="sp1: go on from its checkpoints")
comm = MPI.COMM_WORLD
args = begin(
    parser,
    {
        "case": (CASES, CASES),
        "n": ([10, 20, 40], [4, 6]),
        "stray_n": ([10, 20], [4]),
        "cells_nm": (50.0, 250.0),
    },
    into_output=["resume"],
)
results, panels, statements = {}, [], []

# ## One spin
if "spin" in args.case:
    angles, errors, loops = [5.0, 20.0, 45.0, 70.0, 85.0], [], []
    say("angle  switching mT  closed form mT  error %")
    for angle in angles:
        one = spin(angle)
        loop = list(
            one.follow(
                1.2 * LARGEST_mT * np.linspace(1, -1, 9 if args.quick else 25),
                direction=along(angle), units=units, method=args.method,
                steps=llg.LoopSteps(tolerance=2e-3 * LARGEST_mT),
            )
        )  # fmt: skip
        s, c = along(angle)[[0, 2]]
        exact = -LARGEST_mT * (c ** (2 / 3) + s ** (2 / 3)) ** -1.5
        (switching,) = switching_fields(loop)
        errors.append(100 * abs(switching / exact - 1))
        loops.append([state.row() for state in loop])
        say(f"{angle:5.0f}  {switching:12.2f}  {exact:14.2f}  {errors[-1]:7.3f}")
    results |= {"angles": angles, "switching_error_percent": errors}
    panels.append(draw.spin_loops(angles, loops))
    statements.append(
        f"Stoner-Wohlfarth: switching fields within {max(errors):.2f} % at five angles."
    )

# ## Nucleation at a soft matrix
if "grain" in args.case:
    one = grain(8 if args.quick else 16)
    loop = one.follow(
        LARGEST_mT * np.linspace(0, -1, 11), units=units,
        steps=llg.LoopSteps(tolerance=1e-3 * LARGEST_mT, eigenvalue=True), method=args.method,
    )  # fmt: skip
    states = up_to(loop, lambda state: state.jumped)
    jump, zero = switching_fields(states)[0], nucleation_field(states[:2])
    results |= {"nucleation_mT": jump, "nucleation_eigen_mT": zero}
    say(
        f"\nhard grain in a soft matrix: m jumps at {jump:.2f} mT, the lowest eigenvalue is zero "
        f"at {zero:.2f} mT"
    )
    panels.append(draw.nucleation([state.row() for state in states], jump))
    statements.append(f"Nucleation: jump and eigenvalue differ by {abs(jump - zero):.2f} mT.")


# ## The composite
FIELDS = 1.2 * LARGEST_mT * np.linspace(1, -1, 23)


def descend(magnet, method, pictures=False):
    """Follow the 23 fields; return states, mean work a field, seconds a field, pictures."""
    states, shots, started = [], [], time.perf_counter()
    # Here each field counts once: no step is halved.
    loop = magnet.follow(
        FIELDS, direction=along(1.0), units=units, steps=llg.LoopSteps(jump=2.0), method=method
    )
    for state in loop:
        states.append(state)
        changed = abs(state.along - states[max(0, len(states) - 2)].along) > 0.05
        if pictures and len(shots) < 3 and (changed or state.t == 22):
            shots.append((state.t, snapshot(magnet.m, magnet.kappa)))
    spent = time.perf_counter() - started
    work = {
        key: sum(getattr(state, key) for state in states) / 23
        for key in ("steps", "evaluations", "products")
    }
    return states, work, spent / 23, shots


keys = ("evaluations_per_field", "products_per_field", "gradients_per_field", "seconds_per_field")
if "composite" in args.case:
    results |= {"method": args.method, "nodes": []} | {key: [] for key in keys}
    say("\ncomposite, work per field\n   cells    nodes  steps  gradients  products  seconds")
    for n in args.n:
        magnet = composite(n)
        pictures = bool(args.output) and n == args.n[-1]
        states, work, spent, shots = descend(magnet, args.method, pictures)
        outer = work["steps" if args.method == "trust_region" else "evaluations"]
        results["nodes"].append(magnet.nodes)
        for key, value in zip(
            keys, (outer, work["products"], work["evaluations"], spent), strict=True
        ):
            results[key].append(value)
        say(f"{n:5d}^3  {magnet.nodes:7d}  {work['steps']:5.2f}  {work['evaluations']:9.2f}  "
            f"{work['products']:8.2f}  {spent:7.3f}")  # fmt: skip
    results["energy_product"] = energy_product(states)
    say(f"(BH)max of the half loop {results['energy_product']:.4f} mu0 Ms^2, in a closed circuit")
    results |= {"stray_nodes": []}
    say("with the stray field\n   cells    nodes  method        gradients  products  seconds")
    for n in args.stray_n:
        for method in ("lbfgs", "trust_region"):
            magnet = composite(n, stray=True)
            with_field, work, spent, _ = descend(magnet, method)
            for key, value in zip(
                keys[1:], (work["products"], work["evaluations"], spent), strict=True
            ):
                results.setdefault(f"stray_{method}_{key}", []).append(value)
            say(f"{n:5d}^3  {magnet.nodes:7d}  {method:12s}  {work['evaluations']:9.2f}  "
                f"{work['products']:8.2f}  {spent:7.3f}")  # fmt: skip
        results["stray_nodes"].append(magnet.nodes)
    rows = [state.row() for state in with_field]
    results["stray_energy_product"] = energy_product(with_field, factor=1 / 3)
    say(f"(BH)max with the stray field, in the field inside: {results['stray_energy_product']:.4f}")
    panels.append(
        draw.one_loop(
            [state.row() for state in states], f"composite, {args.n[-1]}$^3$ cells",
            [t for t, _ in shots],
        )
    )  # fmt: skip
    panels += [draw.state(shot, letter) for (_, shot), letter in zip(shots, "abc", strict=False)]
    panels.append(draw.one_loop(rows, "composite with its stray field"))
    statements.append(
        f"Composite: {results['evaluations_per_field'][-1]:.1f} "
        + ("steps and " if args.method == "trust_region" else "gradients and ")
        + f"{results['products_per_field'][-1]:.1f} products a field on the finest mesh, "
        f"{results['products_per_field'][0]:.1f} products on the coarsest."
    )

# ## Reversal curves
# On the coarsest mesh; and a minor loop, from the first jump on and back.
if args.forc:
    magnet = composite(args.n[0])
    fields = 1.2 * LARGEST_mT * np.linspace(1, -1, 9 if args.quick else 25)
    both = {"direction": along(1.0), "units": units, "method": args.method}
    table, density = reversal_curves(magnet, fields, **both)
    both["steps"] = llg.LoopSteps(jump=2.0)
    low = fields[int(np.argmax(np.diag(table) < 0.95 * table[0, 0]))]
    half = np.linspace(fields[0], low, 7)
    start = list(magnet.follow(half, **both))
    minor = list(magnet.follow(np.r_[half[::-1], half[1:]], **both))
    closed = abs(start[-1].along - minor[-1].along)
    results |= {"forc_fields_mT": fields.tolist(), "forc_closure": float(closed)}
    hysterons = float(np.nansum(density) * (fields[0] - fields[1]) ** 2)
    results["forc_hysterons"] = hysterons
    say(f"\n{len(fields) - 1} reversal curves: irreversible part of m off the diagonal "
        f"{hysterons:.3f}; minor loop to {low:.0f} mT closes to {closed:.1e}")  # fmt: skip
    panels += draw.reversal(fields, table, density, [state.row() for state in [*start, *minor]])

# ## Bars with their stray field
LIMIT = 0.05707
if "mumag2" in args.case:
    bars = [(1.0, 4)] if args.quick else [(1.0, 6), (5.0, 10), (10.0, 12), (20.0, 20)]
    coercive, remanent = [], []
    say("\nbars 5 : 1 : 0.1, field along (1, 1, 1)\nd/l_ex  cells  H_c/M_s  M_r/M_s  gradients")
    amplitudes = np.r_[2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.0, -np.arange(0.03, 0.075, 0.003)]
    for ratio, n in bars:
        magnet = bar(ratio, n)
        loop = magnet.follow(amplitudes, direction=(1, 1, 1), steps=llg.LoopSteps(tolerance=1e-4))
        states = up_to(loop, lambda state: state.along < -0.2)
        coercive.append(-coercive_fields(states)[0])
        remanent.append(remanences(states)[0])
        work = sum(state.evaluations for state in states)
        say(f"{ratio:6.0f}  {n:5d}  {coercive[-1]:7.5f}  {remanent[-1]:7.4f}  {work:9d}")
    results |= {
        "mumag2_d_over_lex": [ratio for ratio, _ in bars],
        "mumag2_Hc_over_Ms": coercive,
        "mumag2_remanence": remanent,
        "mumag2_limit_error_percent": 100 * abs(coercive[0] / LIMIT - 1),
    }
    panels.append(draw.coercivity([ratio for ratio, _ in bars], coercive, LIMIT))
    statements.append(f"muMAG 2: H_c/M_s = {coercive[0]:.5f} of the smallest bar (limit {LIMIT}).")

# ## A film of a micrometre
# Walls that shift at little cost: L-BFGS creeps there (more than 500 steps at a field), Newton's
# models do not. `method="auto"` changes over to them: it takes about as long, and ends in other
# metastable states from 0 mT on. Cells of 50 nm are nine exchange lengths: they carry the wide
# walls of a thin film, not the cores of its vortices.
if "sp1" in args.case:
    down = 50.0 * np.linspace(1, -1, 11 if args.quick else 41)
    loops = {}
    say("\nfilm of muMAG 1\nside   H_c mT, down and up   M_r/M_s   (BH)max (mu0 Ms^2)")
    turned = np.cos(np.radians(1.0)), np.sin(np.radians(1.0))
    for number, (side, axis) in enumerate(
        {"long": (*turned, 0.0), "short": (turned[1], turned[0], 0.0)}.items()
    ):
        magnet = film(args.cells_nm, axis)
        files = llg.LoopFiles()
        if args.output:
            csv, checkpoint = (args.output / f"sp1_{side}.{kind}" for kind in ("csv", "npz"))
            files = llg.LoopFiles(csv, checkpoint, args.resume and checkpoint.exists())
        states = list(
            magnet.follow(
                np.r_[down, down[-2::-1]], direction=axis,
                units=PERMALLOY, steps=llg.LoopSteps(tolerance=0.5), files=files, torque=1e-4,
                method="trust_region",
            )
        )  # fmt: skip
        if args.resume:  # the file has what was before, too
            states = [SimpleNamespace(row=row.copy, **row) for row in read_csv(files.csv)]
        loops[f"{side} side"] = [state.row() for state in states]
        found = coercive_fields(states)
        factor = prism_factors(2000.0, 1000.0, 20.0)[number]
        product = energy_product(states, factor=factor)
        say(f"{side:5s}  {' '.join(f'{h:.2f}' for h in found):21s}  "
            f"{' '.join(f'{r:.3f}' for r in remanences(states)):14s}  {product:.4f}")  # fmt: skip
        results |= {f"sp1_{side}_coercive_mT": found, f"sp1_{side}_remanence": remanences(states)}
        results[f"sp1_{side}_energy_product"] = product
    panels.append(draw.several_loops(loops, f"film 2 x 1 um, {args.cells_nm:.0f} nm cells"))
    long, short = (np.round(results[f"sp1_{side}_coercive_mT"], 2) for side in ("long", "short"))
    statements.append(f"muMAG 1: H_c = {long} mT along the long side, {short} along the short.")

if args.output:
    on_root(comm, lambda: draw.draw_all(args.output / "hysteresis.png", panels))
record("hysteresis", args, results)
say("\n" + " ".join(statements))
