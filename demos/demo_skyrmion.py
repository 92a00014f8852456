# SPDX-License-Identifier: LGPL-3.0-or-later
# # A skyrmion in a disk: its radius against the closed form
#
# A film with interfacial Dzyaloshinskii-Moriya interaction and an easy axis along its normal (the
# stray field of a thin film is a part of K):
# $$ E(m) = \int A |\nabla m|^2 + D\, (m_z \nabla\cdot m - (m\cdot\nabla) m_z) + K (1 - m_z^2). $$
# Below $D_c = 4\sqrt{AK}/\pi$ skyrmions are metastable. A wall of width w that closes to a circle
# of radius R has the least energy at
# $$ R = \pi D \sqrt{\frac{A}{16 A K^2 - \pi^2 D^2 K}}, \qquad w = \frac{\pi D}{4K} $$
# (Wang, Yuan, Wang, Communications Physics 1, 31 (2018)). It is asymptotic, R >> w: right to 2 % at
# R = 7 w, to 15 % at 2 w. What the mesh adds is seen from the exact profile
# m = (sin t cos p, sin t sin p, cos t), t(r), p the angle: an ordinary differential equation, with
# $t' = -D/2A$ at the edge of the disk. Near $D_c$ a wall costs next to nothing, and R feels each
# per cent of its energy.
#
# The lattice topological charge (Berg and Luescher) is the solid angle that m covers: -1, but for
# the tilt t of m at the edge, -(1 + cos t)/2 exactly.
#
# Run: `[mpirun -n 2] python demos/demo_skyrmion.py --output DIR --json FILE [--quick]`.

from mpi4py import MPI  # noqa: F401  isort: skip

import basix.ufl
import matplotlib as mpl
import numpy as np
from dolfinx import mesh
from matplotlib.figure import Figure
from scipy.integrate import solve_bvp
from scipy.spatial import Delaunay
from shared import begin, comm, options, positive, record, say, timed

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import PAPER, Colours, snapshot
from dolfinx_llg.plot.curves import PALETTE

parser = options("A skyrmion in a disk.")
parser.add_argument("--D", type=positive, nargs="+", help="DMI in mJ/m2 (default 3.0 3.2 3.3 3.42)")
parser.add_argument("--cell-nm", type=positive, help="size of the cells in nm (default 1.25)")
args = begin(parser, {"D": ([3.0, 3.2, 3.3, 3.42], [3.0]), "cell_nm": (1.25, 5.0)})
A, K, RADIUS = 15e-12, 5e5, 100.0
CRITICAL = 1e3 * 4 * np.sqrt(A * K) / np.pi
if not all(0.0 < D < CRITICAL for D in args.D) or not 0.2 <= args.cell_nm <= 5.0:
    parser.error(f"--D must lie below {CRITICAL:.3f} mJ/m2, --cell-nm in [0.2, 5]")
units = llg.units.Units(Ms0=5.8e5, length=1e-9)


# ## The disk, in rings
def disk():
    count = round(RADIUS / args.cell_nm)
    rings = [np.zeros((1, 2))]
    for k in range(1, count + 1):
        angle = 2 * np.pi * np.arange(6 * k) / (6 * k)
        rings.append(k / count * RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    x = np.concatenate(rings)
    cells = Delaunay(x).simplices.astype(np.int64)
    mine = slice(0, None if comm.rank == 0 else 0)
    element = basix.ufl.element("Lagrange", "triangle", 1, shape=(2,))
    return mesh.create_mesh(comm, cells[mine], element, x[mine])


# ## The exact profile
# $A (t'' + t'/r) = A \sin 2t/(2 r^2) + K \sin(2t)/2 - D \sin^2(t)/r$, lengths in nm below.
def profile(D, radius):
    k, d = K / A * 1e-18, D / A * 1e-12
    start = 0.1

    def slope(r, y):
        t, dt = y
        bend = np.sin(2 * t) / (2 * r**2) + k * np.sin(2 * t) / 2 - d * np.sin(t) ** 2 / r
        return np.stack([dt, bend - dt / r])

    def ends(inner, outer):
        return np.array([inner[0] - np.pi - start * inner[1], outer[1] + d / 2])

    r = np.linspace(start, RADIUS, 2000)
    width = np.sqrt(A / K) * 1e9
    guess = 2 * np.arctan(np.exp(-(r - radius) / width))
    found = solve_bvp(
        slope, ends, r, np.stack([guess, np.gradient(guess, r)]), tol=1e-5, max_nodes=100_000
    )
    if not found.success:
        raise RuntimeError(f"the profile was not found: {found.message}")
    return found.sol


def crossing(r, mz):
    """Radius at which a profile crosses m_z = 0, linear between its points."""
    k = int(np.argmax(mz > 0.0))
    return float(r[k - 1] + (r[k] - r[k - 1]) * mz[k - 1] / (mz[k - 1] - mz[k]))


def ring_means(m):
    """Mean m_z on each ring of nodes."""
    own = m.function_space.dofmap.index_map.size_local
    x = m.function_space.tabulate_dof_coordinates()[:own]
    parts = comm.allgather((np.hypot(x[:, 0], x[:, 1]), m.x.array.reshape(-1, 3)[:own, 2]))
    r, mz = (np.concatenate(part) for part in zip(*parts, strict=True))
    ring = np.rint(r / RADIUS * round(RADIUS / args.cell_nm)).astype(int)
    return np.bincount(ring, r) / np.bincount(ring), np.bincount(ring, mz) / np.bincount(ring)


# ## The minimum of each D
msh = disk()
results, curves, shots = [], {}, {}
say("D mJ/m2   R nm (exact, closed form)   charge (exact)")
for D in args.D:
    closed = np.pi * D * 1e6 * np.sqrt(A / (16 * A * K**2 - (np.pi * D * 1e-3) ** 2 * K))
    energy = llg.Energy(
        [
            llg.Exchange(float(units.kappa_from_A(A))),
            llg.InterfacialDMI(float(units.dmi_from_D(1e-3 * D))),
            llg.UniaxialAnisotropy((0, 0, 1), float(units.q_u_from_K_u(K))),
        ]
    )

    def start(x, radius=closed):
        r = np.hypot(x[0], x[1])
        t, safe = 2 * np.arctan(np.exp(-(r - radius) / 5.5)), np.where(r > 0, r, 1.0)
        t = np.where(r > 0, t, np.pi)
        return np.stack([np.sin(t) * x[0] / safe, np.sin(t) * x[1] / safe, np.cos(t)])

    m = llg.magnetization(msh, start)
    equilibrium, seconds = timed(lambda m=m, energy=energy: llg.minimise(energy, m, torque=1e-6))
    exact = profile(D, closed)
    fine = np.linspace(0.1, RADIUS, 20_001)
    radius, reference = crossing(*ring_means(m)), crossing(fine, np.cos(exact(fine)[0]))
    charge, tilt = llg.topological_charge(m), float(exact(RADIUS)[0])
    result = {
        "D_mJ_per_m2": D,
        "radius_nm": radius,
        "radius_exact_nm": reference,
        "radius_closed_nm": float(closed),
        "error_percent": 100 * (radius / reference - 1),
        "closed_error_percent": 100 * (float(closed) / reference - 1),
        "charge": charge,
        "charge_exact": -(1 + np.cos(tilt)) / 2,
        "evaluations": equilibrium.evaluations,
        "seconds": seconds,
    }
    results.append(result)
    curves[D], shots[D] = ring_means(m), snapshot(m)
    say(
        f"{D:7.2f}   {radius:5.2f} ({reference:5.2f}, {closed:5.2f})        {charge:.4f} "
        f"({result['charge_exact']:.4f})"
    )


# ## The disk and the profiles
def picture():
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        shot = shots[args.D[-1]]
        colours = Colours()
        corners = Delaunay(shot.x[:, :2]).simplices
        left.add_collection(
            mpl.collections.PolyCollection(
                shot.x[corners][:, :, :2], facecolors=colours(shot.m[corners].mean(axis=1)),
                edgecolors="face", lw=0.1,
            )
        )  # fmt: skip
        grid = np.stack(np.meshgrid(*[np.arange(-90.0, 91.0, 12.0)] * 2), -1).reshape(-1, 2)
        grid = grid[np.hypot(*grid.T) < RADIUS - 2]
        near = np.unique([np.argmin(((shot.x[:, :2] - g) ** 2).sum(axis=1)) for g in grid])
        left.quiver(*shot.x[near, :2].T, *shot.m[near, :2].T, pivot="mid", scale=22, width=0.006)
        left.set(aspect="equal", xlim=(-101, 101), ylim=(-101, 101), xlabel="$x$ (nm)")
        left.set_title(f"$D$ = {args.D[-1]:g} mJ/m$^2$")
        for k, (D, (r, mz)) in enumerate(curves.items()):
            right.plot(r, mz, ".", ms=3, color=PALETTE[k % len(PALETTE)], label=f"$D$ = {D:g}")
            fine = np.linspace(0.1, RADIUS, 500)
            exact = profile(D, results[k]["radius_closed_nm"])
            right.plot(fine, np.cos(exact(fine)[0]), lw=0.8, color=PALETTE[k % len(PALETTE)])
            right.plot(results[k]["radius_closed_nm"], 0.0, "k|", ms=9)
        right.set(xlabel="$r$ (nm)", ylabel="$m_z$")
        right.set_title("nodes, exact profile, closed form of $R$ (|)")
        right.legend(frameon=False, fontsize=7)
        right.spines[["top", "right"]].set_visible(False)
        figure.savefig(args.output / "skyrmion.png", dpi=200)


if args.output:
    on_root(comm, picture)

# ## What was reproduced
worst = max(abs(result["error_percent"]) for result in results)
far = max(abs(result["closed_error_percent"]) for result in results)
near = abs(results[-1]["closed_error_percent"])
say(
    f"radii within {worst:.2f} % of the exact profile; the closed form errs by up to {far:.1f} % "
    f"(small R), {near:.1f} % at the largest"
)
record("skyrmion", args, results)
