# SPDX-License-Identifier: LGPL-3.0-or-later
# # A finite-element magnet in a fast field, upscaled in time
#
# The temporal HMM of Arjmand, Engblom and Kreiss is analysed for one spin. Here the spin is a
# magnet: P1 finite elements on the unit square, with any energy,
# $$\dot m = -\beta\, m \times h - \gamma\, m \times (m \times h), \qquad
#   h = -\frac{1}{M_s} \frac{\partial E}{\partial m} + H(t, t/\varepsilon, x),$$
# $$E(m) = \int \tfrac12 \kappa(x) |\nabla m|^2 + \tfrac12 q_u (1 - (m \cdot e_y)^2)
#   - M_s\, m \cdot e_z/2.$$
# The exchange coefficient jumps by a factor 4 between stripes. The fast field acts under a spot,
# $$H = 6\, g(x) \bigl(\cos^2(2 \pi t/\varepsilon)\, e_x + \sin(2 \pi t/\varepsilon)\, e_z\bigr),
#   \qquad g(x) = e^{-|x - x_c|^2/0.08},$$
# so that its mean $3 g\, e_x$, which no one tells the macro model, turns the magnetization there.
# The macro model is (3.2) at all nodes; its flux comes from the same windows, kernels and solver
# as for one spin. The direct simulation resolves every period.
#
# Run: `mpirun -n 2 python demos/demo_fast_field_magnet.py --output DIR --json FILE [--quick]`.

import time

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import ufl
from dolfinx import fem, mesh
from shared import begin, comm, options, positive, record, whole

import dolfinx_llg as llg
from dolfinx_llg.hmm import MagnetModel, Window, resolved
from dolfinx_llg.output import on_root

mpl.use("Agg")
import matplotlib.pyplot as plt

parser = options("A magnet in a fast field, upscaled in time.", "folder for the picture")
parser.add_argument("--cells", type=whole(2), help="cells per side (default 16, quick 8)")
parser.add_argument("--eps", type=positive, default=0.002, help="fast period")
parser.add_argument("--gamma", type=positive, default=0.5, help="damping (LL form)")
parser.add_argument("--t-end", type=positive, help="final time T (default 2, quick 0.4)")
parser.add_argument("--steps", type=whole(), help="macro steps to T (default 20, quick 4)")
args = begin(parser, {"cells": (16, 8), "steps": (20, 4), "t_end": (2.0, 0.4)})
results: dict[str, float] = {}
T, per_period = args.t_end, 16

# ## The magnet
domain = mesh.create_unit_square(comm, args.cells, args.cells)
x = ufl.SpatialCoordinate(domain)
kappa = ufl.conditional(ufl.lt(ufl.cos(4 * ufl.pi * x[0]), 0.0), 0.04, 0.01)
energy = llg.Energy(
    [llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 1, 0), 1.0), llg.Zeeman((0, 0, 0.5))]
)
m0 = llg.magnetization(
    domain,
    lambda p: np.stack((0.3 * np.sin(np.pi * p[0]), 0 * p[0] + 1, 0.3 * np.cos(np.pi * p[1]))),
)

# ## The fast field, in UFL, with constants for the slow and the fast time
t, z = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
spot = 6 * ufl.exp(-((x[0] - 0.4) ** 2 + (x[1] - 0.5) ** 2) / 0.08)
applied = spot * ufl.as_vector([ufl.cos(2 * ufl.pi * z) ** 2, ufl.zero(), ufl.sin(2 * ufl.pi * z)])


def model(eps):
    window = Window(eps=eps, integrator="rk4", steps_per_period=per_period)
    return MagnetModel(energy, m0, applied, window, times=(t, z))


def direct(eps):
    magnet = model(eps)
    every = round(T / args.steps / eps * per_period)
    begin = time.perf_counter()
    times, states = resolved(
        magnet, magnet.nodal(m0), dt=T / args.steps / every, n_steps=args.steps * every,
        damping=args.gamma, every=every,
    )  # fmt: skip
    return times, states, magnet.evaluations, time.perf_counter() - begin


def upscaled(eps, n_steps, **options):
    magnet = model(eps)
    states, fluxes = [magnet.nodal(m0)], []
    begin = time.perf_counter()
    m = m0.copy()
    step = llg.hmm.upscaled(
        magnet, m, dt=T / n_steps, damping=args.gamma, tolerance=1e-8, **options
    )
    for state in llg.march(step, t_end=T, progress=False):
        states.append(magnet.nodal(m))
        fluxes.append(state.iterations)
    return np.array(states), magnet.evaluations, time.perf_counter() - begin, np.mean(fluxes)


def largest(value):
    return float(comm.allreduce(np.max(value, initial=0.0), op=MPI.MAX))


def distance(M, m):
    return largest(np.linalg.norm(M - m, axis=-1))


# ## The run, and what it costs
times, m, cost_direct, seconds_direct = direct(args.eps)
M, cost, seconds, fluxes = upscaled(args.eps, args.steps)
results["error_max"] = distance(M, m)
results["error_max_final"] = distance(M[-1], m[-1])
results["cost_ratio"] = cost_direct / cost
results["seconds_direct"], results["seconds_hmm"] = seconds_direct, seconds
results["fluxes_per_step"] = float(fluxes)
results["drift"] = largest(np.abs(np.linalg.norm(M, axis=-1) - 1.0))
M_projected, *_ = upscaled(args.eps, args.steps, projection="flux")
results["drift_projected"] = largest(np.abs(np.linalg.norm(M_projected, axis=-1) - 1.0))
results["error_max_projected"] = distance(M_projected, m)
# Half the macro step: what remains is the O(eps) of the upscaling.
half, *_ = upscaled(args.eps, 2 * args.steps)
results["error_max_half_dt"] = distance(half[::2], m)
# What ignoring the fast field would give: the energy alone.
slow = MagnetModel(energy, m0, lambda t, z: [0.0, 0.0, 0.0], Window(eps=args.eps))
n_slow = round(T / 0.01)
_, m_slow = resolved(
    slow, slow.nodal(m0), dt=T / n_slow, n_steps=n_slow, damping=args.gamma, every=n_slow
)
results["effect_of_fast_field"] = distance(m_slow[-1], m[-1])
weights = slow.nodal_volumes()
volume = comm.allreduce(weights.sum())
mean_m, mean_M = (comm.allreduce(np.einsum("i,nik->nk", weights, a)) / volume for a in (m, M))


# ## The picture
def nodes(values):
    """Coordinates and values of all owned nodes on rank 0."""
    V = m0.function_space
    points = V.tabulate_dof_coordinates()[: len(values)]
    gathered = comm.gather((points[:, :2], values))
    return (
        None if gathered is None else [np.concatenate(part) for part in zip(*gathered, strict=True)]
    )


def picture(folder, at_hmm, at_direct):
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update(
        {"font.size": 9, "axes.titlesize": 9, "mathtext.fontset": "cm", "savefig.dpi": 200,
         "figure.constrained_layout.use": True}
    )  # fmt: skip
    fig, axes = plt.subplots(1, 3, figsize=(8.6, 2.7), width_ratios=(1, 1, 1.2))
    titles = (f"direct, $t = {T:g}$", f"HMM, {args.steps} macro steps, $t = {T:g}$")
    for axis, (points, values), title in zip(axes, (at_direct, at_hmm), titles, strict=False):
        image = axis.tripcolor(
            *points.T, values[:, 0], shading="gouraud", cmap="RdBu_r", vmin=-1, vmax=1
        )
        # Every second node of the grid.
        grid = points * args.cells / 2
        shown = np.all(np.isclose(grid, np.round(grid)), axis=1)
        arrows = values[shown]
        axis.quiver(
            *points[shown].T, arrows[:, 0], arrows[:, 1], scale=13, width=0.008, pivot="mid"
        )
        axis.set(aspect="equal", title=title, xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
        axis.set(xlabel="$x$", ylabel="$y$")
    fig.colorbar(image, ax=axes[1], shrink=0.8).ax.set_title("$m_x$")
    for i, colour in enumerate(("C0", "C1", "C2")):
        axes[2].plot(times, mean_m[:, i], color=colour, lw=1.0, label=f"$m_{'xyz'[i]}$")
        axes[2].plot(times, mean_M[:, i], "o", color=colour, ms=3.5, mfc="white")
    axes[2].set(xlabel="$t$", title="average: lines direct, circles HMM")
    axes[2].grid(alpha=0.25)
    axes[2].set_ylim(top=1.2)
    axes[2].legend(ncols=3, loc="upper center")
    fig.savefig(folder / "fast_field_magnet.png")


# ## What was computed
at_hmm, at_direct = nodes(M[-1]), nodes(m[-1])
record("fast_field_magnet", args, results)
if args.output:
    on_root(comm, lambda: picture(args.output, at_hmm, at_direct))
if comm.rank == 0:
    for name, value in results.items():
        print(f"{name:24} {value:.4g}")
    print(
        "Beyond the paper (no values there): the magnet follows the resolved simulation to "
        f"{results['error_max']:.1e} ({results['error_max_half_dt']:.1e} with half the macro step);"
        "\nratio of evaluations of the effective field, direct to HMM: "
        f"{results['cost_ratio']:.1f}; the fast field itself moves it by "
        f"{results['effect_of_fast_field']:.2f}."
    )
