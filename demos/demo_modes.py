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
# 2. Kittel's modes, $\omega^2 = (h + N_x - N_z)(h + N_y - N_z)$, of a sphere and an ellipsoid with
#    their stray field, in a field along z. H is no matrix here: each product takes a stray field,
#    and conjugate gradients, preconditioned by exchange and mass, solve with it.
# 3. The standard problem of ferromagnetic resonance (Baker et al., J. Magn. Magn. Mater. 421 (2017)
#    428): a film of permalloy, 120 x 120 x 10 nm, in 80 kA/m, whose mean rings at 8.25 and 11.25
#    GHz when the field is turned by half a degree. Both from the modes, and from marching and a
#    Fourier transform of the mean.
# 4. A magnet of 30,000 unknowns: 10 modes in seconds, and as many solves with the Hessian on finer
#    meshes.
# 5. Periodic media, field along z: $\omega = h + \kappa^{hom} k^2$ for waves long against the
#    period; shorter waves are slower, and near the edge of the Brillouin zone the band of the
#    homogenized medium is of no use. A laminate, and squares in a matrix, with the tensor of
#    `llg.homogenization.homogenize`; the Bloch waves are those of a box of several periods.
#
# Run: `python demos/demo_modes.py --output DIR --json FILE [--quick]`, also on several ranks.

import time

from mpi4py import MPI

import fmr_film
import numpy as np
from dolfinx import fem, mesh
from ellipsoids import ellipsoid
from modes_pictures import draw_modes
from scipy.optimize import brentq
from shared import begin, options, real, record, say, several, whole

import dolfinx_llg as llg
from dolfinx_llg.homogenization import homogenize
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import snapshot

parser = options("Small oscillations about an equilibrium.", "folder for the picture")
parser.add_argument("--cells", type=whole(8), help="cells of the wall (default 400, quick 100)")
parser.add_argument(
    "--n", type=several(whole(2)), help="cells a side of the magnet (default 8,16,24)"
)
parser.add_argument(
    "--film", type=several(whole()), help="cells of the film, a side and across (default 24,2)"
)
parser.add_argument("--ring-ps", type=real(500.0, closed=True),
                    help="length of the ring-down in ps, from 500 on (default 5000)")  # fmt: skip
comm = MPI.COMM_WORLD
args = begin(
    parser,
    {
        "cells": (400, 100),
        "n": ([8, 16, 24], [4, 6]),
        "film": ([24, 2], [6, 1]),
        "ring_ps": (5000.0, 600.0),
    },
)
if len(args.film) != 2 or args.film[0] < 6:
    parser.error(f"--film must be two numbers, at least 6 and 1, got {args.film}")
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


# ## Kittel's modes
kittel = []
say("\nKittel: axes, omega, closed form, error %, solves")
for axes in ((1.0, 1.0, 1.0), (2.0, 1.0, 0.7)):
    m = llg.magnetization(ellipsoid(comm, 3 if args.quick else 8, axes), (0, 0, 1))
    energy = llg.Energy([llg.Exchange(1.0), llg.StrayField(m), llg.Zeeman((0, 0, 0.5))])
    llg.minimise(energy, m, torque=1e-6)
    uniform = llg.eigenmodes(energy, m, 1)
    N = llg.stray_field.ellipsoid_factors(*axes)
    closed = float(np.sqrt((0.5 + N[0] - N[2]) * (0.5 + N[1] - N[2])))
    kittel.append(100 * abs(uniform.omega[0] / closed - 1))
    say(f"{axes}  {uniform.omega[0]:.6f}  {closed:.6f}  {kittel[-1]:.4f}  {uniform.solves}")

# ## Resonance of a film
# From rest in the turned field the modes; from rest in the field before, the ring-down.
film = fmr_film.Film.of_cells(*args.film)
before = film.m.x.array.copy()
film.turn_field()
film.rest()
spent = time.process_time()
resonances = llg.eigenmodes(film.energy, film.m, 3 if args.quick else 10)
spent = time.process_time() - spent
strongest, fmr_ghz = fmr_film.two_strongest(resonances)
if args.output:
    fmr_film.animate(
        args.output / "fmr_mode.gif", film, resonances, strongest[-1], 2 if args.quick else 24
    )
film.m.x.array[:] = before
t_ps, mean_y = fmr_film.ring_down(film, args.ring_ps, 5.0 if args.quick else 2.5)
frequencies, amplitudes = fmr_film.spectrum(t_ps, mean_y)
ringdown_ghz = fmr_film.two_peaks(frequencies, amplitudes)
grid = np.linspace(6.0, 16.0, 400)
absorbed = -resonances.susceptibility((0, 1, 0), grid / fmr_film.GHZ, fmr_film.DAMPING).imag
line_ghz = (2 * fmr_film.DAMPING.alpha * resonances.widths[strongest] * fmr_film.GHZ).tolist()
say(f"\nfilm: {resonances.solves} solves with the stray field, {spent:.1f} s of this processor\n"
    "modes GHz  ring-down GHz  published GHz  width of the line GHz")  # fmt: skip
for row in zip(fmr_ghz, ringdown_ghz, fmr_film.REFERENCE_GHZ, line_ghz, strict=True):
    say("{:9.3f}  {:13.3f}  {:13.2f}  {:21.3f}".format(*row))

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


# ## Periodic media
# A box of n periods 1 has the Bloch waves k = 2 pi j/n. The tensor is that of the same elements:
# what differs is the length of the wave alone.
h_ext, pair = 0.5, (0.1, 1.0)


def band(box: mesh.Mesh, kappa: fem.Function, count: int) -> np.ndarray:
    """Return the lowest frequencies of a periodic box."""
    m = llg.magnetization(box, (0, 0, 1))
    energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman((0, 0, h_ext))])
    return llg.eigenmodes(energy, m, count, basis=llg.periodic_basis(m.function_space)).omega


def medium(box: mesh.Mesh, inside) -> fem.Function:
    """Return 0.1, and 1 where a function of the place within the period says so."""
    kappa = fem.Function(fem.functionspace(box, ("DG", 0)))
    kappa.interpolate(lambda x: np.where(inside(x % 1.0), pair[1], pair[0]))
    return kappa


def layers(y: np.ndarray) -> np.ndarray:
    return y[0] >= 0.5


def squares(y: np.ndarray) -> np.ndarray:
    return (np.abs(y[0] - 0.5) < 0.25) & (np.abs(y[1] - 0.5) < 0.25)


periods = 8 if args.quick else 16
fine = {"laminate": 16 if args.quick else 64, "squares": 4 if args.quick else 12}
boxes = {
    "laminate": mesh.create_interval(comm, periods * fine["laminate"], [0.0, float(periods)]),
    "squares": mesh.create_rectangle(
        comm, [[0.0, 0.0], [float(periods), 1.0]], [periods * fine["squares"], fine["squares"]]
    ),
}
cells = {
    "laminate": mesh.create_interval(comm, fine["laminate"], [0.0, 1.0]),
    "squares": mesh.create_unit_square(comm, fine["squares"], fine["squares"]),
}
bands, kappa_hom, one_percent = {}, {}, {}
k = 2 * np.pi / periods * np.array([(j + 1) // 2 for j in range(periods)])
once = np.r_[0, 1:periods:2]  # waves to the left and to the right have one frequency

for name, inside in (("laminate", layers), ("squares", squares)):
    cell = cells[name]
    one = llg.Energy([llg.Exchange(medium(cell, inside))])
    kappa_hom[name] = float(homogenize(one, cell, degree=1).kappa_hom[0, 0])
    bands[name] = band(boxes[name], medium(boxes[name], inside), periods)
    straight = h_ext + kappa_hom[name] * k**2
    part = 100 * (straight - bands[name]) / (bands[name] - h_ext + (k == 0))
    # The error begins as k^2: the wave at which it is 1 %, from the longest that this box holds.
    one_percent[name] = float(2 * np.pi / k[2] * np.sqrt(part[2]))
    say(f"\n{name}: k period/pi, omega, omega of the homogenized medium, error of omega - h in %")
    for row in zip(k[once] / np.pi, bands[name][once], straight[once], part[once], strict=True):
        say("{:6.3f}  {:8.5f}  {:8.5f}  {:6.2f}".format(*row))
    say(f"homogenization holds to 1 % for waves of {one_percent[name]:.1f} periods and more")
    bands[name + "_error"] = part


# ## The picture
if args.output:
    on_root(
        comm,
        lambda: draw_modes(
            args.output / "modes.png",
            waves,
            (expected, winter.omega[1:]),
            (grid, absorbed, frequencies, amplitudes),
            {name: (k / np.pi, bands[name], h_ext, kappa_hom[name]) for name in kappa_hom},
        ),
    )

results = {
    "winter_error_percent": float(errors.max()),
    "zero_mode_omega": float(winter.omega[0]),
    "kittel_error_percent": max(kittel),
    "fmr_ghz": fmr_ghz,
    "ringdown_ghz": ringdown_ghz,
    "fmr_line_width_ghz": line_ghz,
    "fmr_solves": resonances.solves,
    "seconds_10_modes": seconds[-1],
    "unknowns": unknowns,
    "solves": solves,
    "medium_k": (k[once] / np.pi).tolist(),
    "medium_error_percent": {name: bands[name + "_error"][once].tolist() for name in kappa_hom},
    "medium_kappa_hom": kappa_hom,
    "medium_periods_of_1_percent": one_percent,
}
record("modes", args, results)
say(
    f"\nWinter's spin waves within {errors.max():.3f} % of the closed form, the shift of the wall "
    f"named; Kittel's modes within {max(kittel):.3f} %. Resonance of the film at {fmr_ghz[0]:.2f} "
    f"and {fmr_ghz[1]:.2f} GHz, ring-down {ringdown_ghz[0]:.2f} and {ringdown_ghz[1]:.2f} "
    f"(published 8.25 and 11.25). 10 modes of {unknowns[-1]} unknowns: {seconds[-1]:.1f} s; solves "
    f"{solves}. Homogenization holds to 1 % for waves of {one_percent['laminate']:.0f} periods of "
    f"the laminate, {one_percent['squares']:.0f} of the squares."
)
