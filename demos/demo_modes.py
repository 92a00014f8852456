# SPDX-License-Identifier: LGPL-3.0-or-later
# # Small oscillations: spin waves over a Bloch wall, and in a composite
#
# About a minimum m of the energy the Landau-Lifshitz equation is linear in the tangent plane, and
# $\varphi = X e^{i \omega t}$ solves $H X = i \omega S X$ with the Hessian H and the turn S by 90
# degrees. `llg.eigenmodes` solves the symmetric pencil
# $(S^T H^{-1} S)\, a = \omega^{-2} H a$ by SLEPc for the lowest frequencies.
#
# 1. A Bloch wall with a hard axis across it (Winter, Phys. Rev. 124 (1961) 452). The wall shifts at
#    no cost: a mode of frequency 0. Spin waves pass it without reflection as
#    $(\tanh x - i k) e^{i k x}$, $\omega^2 = (1 + k^2)(1 + k^2 + q)$, and free ends at
#    $\pm L$ select those with $\tan k L = k$ or $-1/k$.
# 2. A magnet of 30,000 unknowns: 10 modes in seconds, and as many solves with the Hessian on finer
#    meshes.
# 3. A periodic laminate of two exchange coefficients, field along z:
#    $\omega = h + \kappa^{hom} k^2$ for waves long against the period, with the harmonic mean
#    across the layers; shorter waves are slower, and near the edge of the Brillouin zone the band
#    of the homogenized medium is of no use. The Bloch waves are those of a box of several periods.
#
# Run: `python demos/demo_modes.py --output DIR --json FILE [--quick]`, also on several ranks.

import time

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from scipy.optimize import brentq
from shared import begin, options, record, say, several, whole

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import PAPER, snapshot
from dolfinx_llg.plot.curves import PALETTE

parser = options("Small oscillations about an equilibrium.", "folder for the picture")
parser.add_argument("--cells", type=whole(8), help="cells of the wall (default 400, quick 100)")
parser.add_argument(
    "--n", type=several(whole(2)), help="cells a side of the magnet (default 8,16,24)"
)
comm = MPI.COMM_WORLD
args = begin(parser, {"cells": (400, 100), "n": ([8, 16, 24], [4, 6])})
L, HARD = 12.0, 0.7


# ## The Bloch wall
# Unit of length: the wall's width; of fields: its anisotropy field.
def exact(count: int) -> np.ndarray:
    """Frequencies of Winter's spin waves on (-L, L) with free ends, from k = 0 on."""
    k = [0.0]
    for index in range(1, count):
        low, high = (index - 0.5) * np.pi / 2 / L, (index + 1.5) * np.pi / 2 / L
        if index % 2:
            k.append(brentq(lambda k: k * np.sin(k * L) + np.cos(k * L), low, high))
        else:
            k.append(brentq(lambda k: np.sin(k * L) - k * np.cos(k * L), low, high))
    e = 1 + np.array(k) ** 2
    return np.sqrt(e * (e + HARD))


line = mesh.create_interval(comm, args.cells, [-L, L])
wall = llg.magnetization(line, lambda x: np.vstack([0 * x[0], 1 / np.cosh(x[0]), np.tanh(x[0])]))
energy = llg.Energy(
    [
        llg.Exchange(1.0),
        llg.UniaxialAnisotropy((0, 0, 1), 1.0),
        llg.UniaxialAnisotropy((1, 0, 0), -HARD, implicit=False),
    ]
)
llg.minimise(energy, wall, torque=1e-8)
winter = llg.eigenmodes(energy, wall, 7)
expected = exact(6)
errors = 100 * np.abs(winter.omega[1:] / expected - 1)
say(f"Bloch wall, {args.cells} cells\n  omega     exact   error %")
say(f"{winter.omega[0]:7.5f}   0.00000           {'shift of the wall' * bool(winter.zero[0])}")
for found, true, error in zip(winter.omega[1:], expected, errors, strict=True):
    say(f"{found:7.5f}   {true:7.5f}  {error:8.4f}")
waves = [snapshot(function) for function in (winter.real[0], winter.real[2], winter.real[3])]

# ## Ten modes of a magnet
solves, seconds, unknowns = [], [], []
for n in args.n:
    cube = mesh.create_box(comm, [[0.0] * 3, [4.0] * 3], [n] * 3)
    kappa = llg.checkerboard(cube, 4, contrast=10.0, seed=1, low=0.3, box=([0.0] * 3, [4.0] * 3))
    energy = llg.Energy(
        [
            llg.Exchange(kappa),
            llg.UniaxialAnisotropy((0, 0, 1), 0.6),
            llg.Zeeman((0.2, 0.0, 0.1)),
        ]
    )
    m = llg.magnetization(cube, (0.2, 0, 1))
    llg.minimise(energy, m, torque=1e-7)
    start = time.perf_counter()
    modes = llg.eigenmodes(energy, m, 10)
    seconds.append(time.perf_counter() - start)
    solves.append(modes.solves)
    unknowns.append(2 * int(m.function_space.dofmap.index_map.size_global))
    say(f"{n:3d}^3 cells: {unknowns[-1]:6d} unknowns, 10 modes in {seconds[-1]:.2f} s, "
        f"{solves[-1]} solves, omega {modes.omega[0]:.4f} to {modes.omega[-1]:.4f}")  # fmt: skip


# ## A laminate
# Period 1, kappa 0.1 and 1; a box of 8 periods has the Bloch waves k = 2 pi j / 8.
periods, h_ext, pair = 8, 0.5, (0.1, 1.0)
torus = mesh.create_interval(comm, periods * (16 if args.quick else 64), [0.0, float(periods)])
kappa = fem.Function(fem.functionspace(torus, ("DG", 0)))
kappa.interpolate(lambda x: np.where(x[0] % 1.0 < 0.5, *pair))
m = llg.magnetization(torus, (0, 0, 1))
energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman((0, 0, h_ext))])
band = llg.eigenmodes(energy, m, periods, basis=llg.periodic_basis(m.function_space))
k = 2 * np.pi / periods * np.array([(j + 1) // 2 for j in range(periods)])
homogeneous = 1.0 / np.mean(1.0 / np.array(pair))
straight = h_ext + homogeneous * k**2
part = 100 * (straight - band.omega) / (band.omega - h_ext + (k == 0))
say("\nlaminate: k period/pi, omega, omega of the homogenized medium, its error %")
for row in zip(k[::2] / np.pi, band.omega[::2], straight[::2], part[::2], strict=True):
    say("{:6.3f}  {:8.5f}  {:8.5f}  {:6.2f}".format(*row))


# ## The picture
def picture() -> None:
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.0, 3.0), layout="constrained")
        axes = figure.subplots(1, 3)
        for shot, colour, name in zip(
            waves, PALETTE, ("shift of the wall", "second wave", "third wave"), strict=False
        ):
            order = np.argsort(shot.x[:, 0])
            # The part in the plane of the wall, along its turn.
            x, turn = shot.x[order, 0], shot.m[order]
            signed = turn[:, 2] / np.cosh(x) - turn[:, 1] * np.tanh(x)
            axes[0].plot(x, signed / np.abs(signed).max(), color=colour, lw=1.2, label=name)
        axes[0].set_xlabel("$x$ (widths of the wall)")
        axes[0].set_title("modes of a Bloch wall: turn in its plane")
        axes[0].set_ylim(-1.1, 1.75)
        axes[0].legend(frameon=False, ncol=1, loc="upper left")
        axes[1].plot(expected, "s", mfc="none", mec=PALETTE[1], label="closed form")
        axes[1].plot(winter.omega[1:], ".", color=PALETTE[0], label=f"{args.cells} cells")
        axes[1].set_xlabel("number of the spin wave")
        axes[1].set_ylabel(r"$\omega$")
        axes[1].set_title("spin waves over the wall")
        axes[1].legend(frameon=False)
        fine = np.linspace(0, np.pi, 100)
        axes[2].plot(
            fine / np.pi, h_ext + homogeneous * fine**2, color=PALETTE[1], lw=1.2,
            label="homogenized",
        )  # fmt: skip
        axes[2].plot(k / np.pi, band.omega, "o", ms=4, color=PALETTE[0], label="resolved")
        axes[2].set_xlabel(r"$k$ (units of $\pi$/period)")
        axes[2].set_ylabel(r"$\omega$")
        axes[2].set_title("spin waves across a laminate")
        axes[2].legend(frameon=False)
        figure.savefig(args.output / "modes.png")


if args.output:
    on_root(comm, picture)

results = {
    "winter_error_percent": float(errors.max()),
    "zero_mode_omega": float(winter.omega[0]),
    "seconds_10_modes": seconds[-1],
    "unknowns": unknowns,
    "solves": solves,
    "laminate_k": (k[::2] / np.pi).tolist(),
    "laminate_homogenized_error_percent": part[::2].tolist(),
}
record("modes", args, results)
say(
    f"\nWinter's spin waves within {errors.max():.3f} % of the closed form, the shift of the wall "
    f"named. 10 modes of {unknowns[-1]} unknowns: {seconds[-1]:.1f} s; solves {solves}. The "
    f"homogenized laminate is right to {part[2]:.1f} % at a wave of {periods} periods and off by "
    f"{part[-2]:.0f} % at {periods / ((periods - 1) // 2):.1f}."
)
