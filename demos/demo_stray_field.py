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
# `mpirun -n N`; `--coarse [--coarse-cells 8 --coarse-fine 40 --ells 1 2]` measures the field in a
# coarse space alone (`stray_field_coarse.py`).

import time

from mpi4py import MPI

import numpy as np
from boxes import symmetric_box
from dolfinx import mesh
from shared import begin, options, real, record, say, whole
from stray_field_coarse import coarse_study
from stray_field_pictures import draw_flower, flower

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.stray_field import StrayField, demagnetizing_tensor, prism_factors

parser = options("Accuracy, memory and cost of the stray field.", "folder for the picture")
parser.add_argument("--nodes", type=whole(8), nargs="+", help="boundary nodes, about (default "
                    "2500 5000 10000 20000, quick 400)")  # fmt: skip
parser.add_argument("--bodies", nargs="+", choices=("ball", "cube", "film"), help="default all")
parser.add_argument(
    "--accuracy", type=real(0.0, 1.0), default=1e-4, help="of the boundary operator"
)
parser.add_argument("--coarse", action="store_true", help="only the field in a coarse space")
parser.add_argument("--coarse-cells", type=whole(), help="coarse cells a side (default 8, quick 2)")
parser.add_argument("--coarse-fine", type=whole(), help="fine cells a side (default 40, quick 8)")
parser.add_argument("--ells", type=whole(), nargs="+", help="layers (default 2 3, quick 1)")
args = begin(
    parser,
    {
        "nodes": ([2500, 5000, 10000, 20000], [400]),
        "bodies": (["ball", "cube", "film"],) * 2,
        "coarse_cells": (8, 2),
        "coarse_fine": (40, 8),
        "ells": ([2, 3], [1]),
    },
)
if args.coarse:
    record("stray_field", args, coarse_study(args))
    raise SystemExit
EVALUATIONS = 3 if args.quick else 8
FILM = (500.0, 500.0, 3.0)

comm = MPI.COMM_WORLD


# ## The bodies
# A box with the wanted number of boundary nodes: $6 n^2 + 2$ of a cube of $n$ cells a side,
# $2 (n+1)^2$ of a film. The ball is the cube with each point moved along a smooth map; its
# tetrahedra have one face on the boundary, since two, which meet at an angle in the cube, would
# come to lie in one plane.
def body(kind: str, boundary_nodes: int) -> tuple[mesh.Mesh, tuple[float, float, float]]:
    """Return a mesh and its exact demagnetizing factors."""
    if kind == "film":
        n = max(1, round((boundary_nodes / 2) ** 0.5 - 1))
        return mesh.create_box(comm, [[0, 0, 0], FILM], [n, n, 1]), prism_factors(*FILM)
    n = max(1, round(((boundary_nodes - 2) / 6) ** 0.5))
    msh = symmetric_box([-1] * 3, [1] * 3, [n] * 3)
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
say("                                            set-up in CPU seconds          one evaluation")
say(f"{'body':5s} {'nodes':>7s} {'boundary':>8s} {'E error':>9s} {'N error':>9s} {'whole':>7s} "
    f"{'boundary':>8s} {'memory':>7s} {'whole':>10s} {'product':>8s}")  # fmt: skip
results = []
for kind in args.bodies:
    for boundary_nodes in args.nodes:
        msh, exact = body(kind, boundary_nodes)
        m = llg.magnetization(msh, (1, 0, 0))
        begin = time.process_time()
        stray = StrayField(m, accuracy=args.accuracy, progress=False)
        setup = worst(time.process_time() - begin)
        boundary_setup = worst(sum(stray.seconds[k] for k in ("surface", "masses", "single layer")))
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
            "boundary_setup_seconds": boundary_setup,
            "memory_mb": worst(stray.megabytes),
            "seconds_per_evaluation": worst(float(np.median(evaluations))),
            "boundary_seconds": worst(float(np.median(products))),
        }
        results.append(row)
        say(f"{kind:5s} {row['nodes']:7d} {row['boundary_nodes']:8d} {energy_error:9.1e} "
            f"{n_error:9.1e} {setup:6.2f}s {boundary_setup:7.2f}s {row['memory_mb']:5.1f}MB "
            f"{1e3 * row['seconds_per_evaluation']:8.1f}ms "
            f"{1e3 * row['boundary_seconds']:6.1f}ms")  # fmt: skip
        del stray, m, msh  # their matrices go before the next body's come


# ## The flower state
# In a cube the magnetization leans outwards at one end and inwards at the other: that takes charge
# off the faces' edges and puts it inside, where its field does less harm.
cells = 6 if args.quick else 14
cube = mesh.create_box(comm, [[-0.5] * 3, [0.5] * 3], [cells] * 3)
m = llg.magnetization(cube, flower)
stray = StrayField(m, progress=False)
stray.update(m, 0.0)
flower_energy, uniform_energy = stray.energy(m), 1 / 6
side = np.linspace(-1.0, 1.0, 41 if args.quick else 100)
plane = np.stack(np.meshgrid(side, [0.0131], side, indexing="ij"), axis=-1).reshape(-1, 3)
field = stray.field_at(plane).reshape(len(side), len(side), 3)


if args.output:
    on_root(comm, lambda: draw_flower(args.output / "stray_field.png", side, field))
    say(f"Picture: {args.output / 'stray_field.png'}")
parameters = {"nodes": args.nodes, "bodies": args.bodies, "accuracy": args.accuracy}
record("stray_field", args, results, parameters)

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
