# SPDX-License-Identifier: LGPL-3.0-or-later
# # The stray field: accuracy, memory and cost
#
# A magnet $\Omega$ with magnetization $M_s m$ has the stray field $h = -\nabla u$,
# $$ \Delta u = \nabla\cdot(M_s m) \text{ in } \mathbb{R}^3, \qquad
#    E = -\tfrac12 \int_\Omega M_s\, m\cdot h = \tfrac12 \int_{\mathbb{R}^3} |\nabla u|^2. $$
# `llg.StrayField` splits $u = u_1 + u_2$: $u_1$ vanishes on the boundary and solves Poisson's
# equation inside; $u_2 = \int_\Gamma \sigma(y)/(4\pi|x-y|)\,dy$ belongs to the charge
# $\sigma = M_s m\cdot n - \partial_n u_1$ (Garcia-Cervera and Roma 2006). In Galerkin form, with
# charges that may jump at edges, the operator $m \mapsto h$ is symmetric and $h$ the exact gradient
# of $E$. The single layer is an H-matrix whose memory and cost grow nearly like the number of
# boundary nodes.
#
# Uniformly magnetized bodies have demagnetizing factors in closed form: the ball $1/3$, the prism
# Newell's and Aharoni's. Here the errors against them, and what they cost: for balls, cubes and
# films one cell thick (which have no inner nodes, and take no Poisson solve) of more and more
# nodes; seconds are of the processor, the largest of all ranks. Then the field of a flower state
# and its charges.
#
# Run: `python demos/demo_stray_field.py --output DIR --json FILE [--nodes 2500 40000]`, also under
# `mpirun -n N`.

import argparse
import time
from pathlib import Path

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
from dolfinx import mesh
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

import dolfinx_llg as llg
from dolfinx_llg.output import on_root, output_folder, write_json
from dolfinx_llg.plot import PAPER
from dolfinx_llg.stray_field import StrayField, demagnetizing_tensor, prism_factors

parser = argparse.ArgumentParser(description="Accuracy, memory and cost of the stray field.")
parser.add_argument("--nodes", type=int, nargs="+", help="boundary nodes, about "
                    "(default 2500 5000 10000 20000, quick 400)")  # fmt: skip
parser.add_argument("--bodies", nargs="+", choices=("ball", "cube", "film"), help="default all")
parser.add_argument("--accuracy", type=float, default=1e-4, help="of the boundary operator")
parser.add_argument("--json", type=Path, help="file for all figures")
parser.add_argument("--output", type=Path, help="folder for the picture")
parser.add_argument("--quick", action="store_true", help="smoke run")
args = parser.parse_args()
args.nodes = args.nodes or ([400] if args.quick else [2500, 5000, 10000, 20000])
args.bodies = args.bodies or ["ball", "cube", "film"]
EVALUATIONS = 3 if args.quick else 8
FILM = (500.0, 500.0, 3.0)

comm = MPI.COMM_WORLD
if args.output:
    output_folder(args.output, comm)


def say(text: str) -> None:
    if comm.rank == 0:
        print(text, flush=True)


# ## The bodies
# A box with the wanted number of boundary nodes: $6 n^2 + 2$ of a cube of $n$ cells a side,
# $2 (n+1)^2$ of a film. The ball is the cube with each point moved along a smooth map.
def body(kind: str, boundary_nodes: int) -> tuple[mesh.Mesh, tuple[float, float, float]]:
    """Return a mesh and its exact demagnetizing factors."""
    if kind == "film":
        n = max(1, round((boundary_nodes / 2) ** 0.5 - 1))
        return mesh.create_box(comm, [[0, 0, 0], FILM], [n, n, 1]), prism_factors(*FILM)
    n = max(1, round(((boundary_nodes - 2) / 6) ** 0.5))
    msh = mesh.create_box(comm, [[-1, -1, -1], [1, 1, 1]], [n, n, n])
    if kind == "ball":
        x = msh.geometry.x
        u, v, w = (x**2).T
        x[:] *= np.sqrt(np.stack([1 - v / 2 - w / 2 + v * w / 3, 1 - u / 2 - w / 2 + u * w / 3,
                                  1 - u / 2 - v / 2 + u * v / 3], axis=1))  # fmt: skip
    return msh, (1 / 3, 1 / 3, 1 / 3)


def worst(seconds: float) -> float:
    """The largest of all ranks."""
    return float(max(comm.allgather(seconds)))


# ## The table
# Evaluations along a slow precession, as a run meets them: iterative solvers start from what they
# have solved before.
say(f"{'body':5s} {'nodes':>7s} {'boundary':>8s} {'E error':>9s} {'N error':>9s} {'set-up':>7s} "
    f"{'memory':>7s} {'evaluation':>10s} {'boundary':>8s}")  # fmt: skip
results = []
for kind in args.bodies:
    for boundary_nodes in args.nodes:
        msh, exact = body(kind, boundary_nodes)
        m = llg.magnetization(msh, (1, 0, 0))
        begin = time.process_time()
        stray = StrayField(m, accuracy=args.accuracy, progress=False)
        setup = worst(time.process_time() - begin)
        energy = 0.5 * stray.volume * exact[0]
        n_error = np.abs(demagnetizing_tensor(stray) - np.diag(exact)).max()
        energy_error = stray.energy(m) / energy - 1
        evaluations, products = [], []
        for step in range(EVALUATIONS):
            angle = 0.01 * (step + 1)
            m.x.array[:] = np.tile([np.cos(angle), np.sin(angle), 0], len(m.x.array) // 3)
            begin = time.process_time()
            stray.update(m, 0.0)
            evaluations.append(time.process_time() - begin)
            products.append(stray.seconds["product"])
        row = {
            "body": kind,
            "nodes": msh.geometry.index_map().size_global,
            "boundary_nodes": stray.boundary_nodes,
            "energy_error": float(energy_error),
            "n_error": float(n_error),
            "setup_seconds": setup,
            "memory_mb": worst(stray.megabytes),
            "seconds_per_evaluation": worst(float(np.median(evaluations))),
            "boundary_seconds": worst(float(np.median(products))),
        }
        results.append(row)
        say(f"{kind:5s} {row['nodes']:7d} {row['boundary_nodes']:8d} {energy_error:9.1e} "
            f"{n_error:9.1e} {setup:6.2f}s {row['memory_mb']:5.1f}MB "
            f"{1e3 * row['seconds_per_evaluation']:8.1f}ms "
            f"{1e3 * row['boundary_seconds']:6.1f}ms")  # fmt: skip
        del stray, m, msh  # their matrices go before the next body's come


# ## The flower state
# In a cube the magnetization leans outwards at one end and inwards at the other: that takes charge
# off the faces' edges and puts it inside, where its field does less harm.
def flower(x: np.ndarray) -> np.ndarray:
    X, Y, Z = x
    m = np.stack([0.6 * X * Z, 0.6 * Y * Z, np.ones_like(X)])
    return m / np.linalg.norm(m, axis=0)


cells = 6 if args.quick else 14
cube = mesh.create_box(comm, [[-0.5] * 3, [0.5] * 3], [cells] * 3)
m = llg.magnetization(cube, flower)
stray = StrayField(m, progress=False)
stray.update(m, 0.0)
flower_energy, uniform_energy = stray.energy(m), 1 / 6
side = np.linspace(-1.0, 1.0, 41 if args.quick else 100)
plane = np.stack(np.meshgrid(side, [0.0131], side, indexing="ij"), axis=-1).reshape(-1, 3)
field = stray.field_at(plane).reshape(len(side), len(side), 3)


def volume_charge(x: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """-div m by central differences."""
    steps = step * np.eye(3)[:, :, None]
    return -sum((flower(x + s) - flower(x - s))[k] for k, s in enumerate(steps)) / (2 * step)


def draw_section(ax, figure) -> None:
    strength = np.linalg.norm(field, axis=2).T
    image = ax.imshow(strength, extent=(-1, 1, -1, 1), origin="lower", cmap="magma_r", vmax=0.6,
                      vmin=0, interpolation="bilinear")  # fmt: skip
    ax.streamplot(side, side, field[:, :, 0].T, field[:, :, 2].T, color="#20324d", density=1.3,
                  linewidth=0.6, arrowsize=0.7)  # fmt: skip
    ax.add_patch(mpl.patches.Rectangle((-0.5, -0.5), 1, 1, fill=False, lw=1.4, ec="black"))
    ax.set(title=r"(a) stray field $h$ near $y = 0$", xlabel="$x$", ylabel="$z$", aspect="equal")
    figure.colorbar(image, ax=ax, shrink=0.75, label=r"$|h| / M_s$", extend="max")


def draw_faces(ax, figure) -> None:
    n, norm = 24, mpl.colors.Normalize(-1, 1)
    t = (np.arange(n) / n) - 0.5
    a, b = (part.ravel() for part in np.meshgrid(t, t))
    for axis, end in ((0, 0.5), (1, -0.5), (2, 0.5)):
        quads = np.empty((n * n, 4, 3))
        for corner, (p, q) in enumerate(((0, 0), (1, 0), (1, 1), (0, 1))):
            quads[:, corner, axis] = end
            quads[:, corner, (axis + 1) % 3], quads[:, corner, (axis + 2) % 3] = (
                a + p / n,
                b + q / n,
            )
        charge = 2 * end * flower(quads.mean(axis=1).T)[axis]
        colours = mpl.colormaps["RdBu_r"](norm(np.sign(charge) * np.abs(charge) ** 0.5))
        ax.add_collection3d(Poly3DCollection(quads, facecolors=colours, edgecolors=colours, lw=0.2))
    ax.set(xlim=(-0.5, 0.5), ylim=(-0.5, 0.5), zlim=(-0.5, 0.5), box_aspect=(1, 1, 1),
           title=r"(b) surface charge $m\cdot n$", xlabel="$x$", ylabel="$y$", zlabel="$z$",
           xticks=[-0.5, 0.5], yticks=[-0.5, 0.5], zticks=[-0.5, 0.5])  # fmt: skip
    ax.view_init(22, -50)
    bar = figure.colorbar(mpl.cm.ScalarMappable(norm, "RdBu_r"), ax=ax, shrink=0.6, pad=0.12)
    ticks = np.array([-1, -0.5, -0.1, 0, 0.1, 0.5, 1])
    bar.set_ticks(np.sign(ticks) * np.abs(ticks) ** 0.5, labels=[f"{tick:g}" for tick in ticks])


def draw_volume(ax, figure) -> None:
    t = np.linspace(-0.5, 0.5, 121)
    X, Z = np.meshgrid(t, t)
    charge = volume_charge(np.stack([X, 0 * X, Z]).reshape(3, -1)).reshape(X.shape)
    limit = np.abs(charge).max()
    image = ax.imshow(charge, extent=(-0.5, 0.5, -0.5, 0.5), origin="lower", cmap="RdBu_r",
                      vmin=-limit, vmax=limit)  # fmt: skip
    k = np.linspace(-0.44, 0.44, 9)
    x, z = (part.ravel() for part in np.meshgrid(k, k))
    arrows = flower(np.stack([x, 0 * x, z]))
    ax.quiver(x, z, arrows[0], arrows[2], pivot="mid", scale=14, width=0.006)
    ax.set(title=r"(c) $m$ and volume charge $-\nabla\cdot m$, $y = 0$", xlabel="$x$", ylabel="$z$",
           xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])  # fmt: skip
    figure.colorbar(image, ax=ax, shrink=0.75)


def picture() -> None:
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(12.5, 4.0), layout="constrained")
        draw_section(figure.add_subplot(1, 3, 1), figure)
        draw_faces(figure.add_subplot(1, 3, 2, projection="3d"), figure)
        draw_volume(figure.add_subplot(1, 3, 3), figure)
        figure.savefig(args.output / "stray_field.png", dpi=200)


if args.output:
    on_root(comm, picture)
    say(f"Picture: {args.output / 'stray_field.png'}")
if args.json:
    parameters = {"nodes": args.nodes, "bodies": args.bodies, "accuracy": args.accuracy}
    data = {
        "demo": "stray_field",
        "parameters": parameters,
        "ranks": comm.size,
        "results": results,
    }
    write_json(args.json, data, comm)

# ## What was reproduced
largest = max(results, key=lambda row: row["boundary_nodes"])
error = max(abs(row["energy_error"]) for row in results)
say(
    f"Reproduced: the demagnetizing factors of {', '.join(args.bodies)}, energies to {error:.1e} "
    f"(asked: 1e-3), factors to {max(row['n_error'] for row in results):.1e}. "
    f"{largest['boundary_nodes']} boundary nodes of a {largest['body']}: "
    f"{largest['memory_mb']:.0f} MB and {1e3 * largest['boundary_seconds']:.1f} ms a product on "
    f"each of {comm.size} rank(s), "
    f"where a dense matrix takes {8e-6 * largest['boundary_nodes'] ** 2:.0f} MB in all. The flower "
    f"state of the cube has the energy {flower_energy:.5f}, less than the uniform state's "
    f"{uniform_energy:.5f}."
)
