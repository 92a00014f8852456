# SPDX-License-Identifier: LGPL-3.0-or-later
# # Basis functions of a rough coefficient, and how fast they decay
#
# Figures 3.1 and 3.2 of Z. Ma, J. Chen, R. Du, L. Zhang: Numerical homogenization of the
# Landau-Lifshitz equation with rough coefficients (arXiv:2508.02434), section 3.1.
#
# A GRPS basis function is the minimiser of an energy under one condition for each functional of
# the coarse mesh,
# $$ \psi_i = \arg\min a(\psi, \psi), \qquad [\phi_j, \psi] = \delta_{ij} \ \forall j, $$
# with the energies
# $$ \mathrm{(V1)}\ \int \kappa |\nabla \psi|^2, \qquad
#    \mathrm{(V2)}\ \int \kappa |\nabla \psi|^2 + \psi^2, $$
# and the functionals $[\phi_\tau, u] = |\tau|^{1/2} \int_\tau u$ (GRPS-V, one for each coarse
# triangle) or $[\phi_e, u] = \int_e u$ (GRPS-E, one for each inner coarse edge). $\psi_i$ lives on
# the whole domain but decays exponentially: $\psi_i^\ell$, the minimiser on $\ell$ layers of coarse
# triangles around $i$, is as good as $\psi_i$.
#
# The setting is the paper's: unit square, $N_c = 8$, $J = 4$ refinements ($h = 2^{-7}$), kappa =
# MsTrig (4.2), $\ell = 2, \dots, 8$. Where the paper is silent: the diagonals run to the right,
# kappa is constant on fine triangles with the value at the centroid, a layer adds the triangles
# that share a vertex (`--layers facet`: an edge), and i is the functional nearest to the middle of
# the square. `--torus`: the square is the cell of a periodic medium, functionals and patches go
# around, and i lies at its corner.
#
# Run: `python demos/demo_grps_decay.py --output DIR --json FILE [--nc 8 --levels 4 --ell 8]`, also
# under `mpirun -n N`.

import math
from pathlib import Path

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh
from shared import begin, options, record, say, whole

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import (
    GRPSBasis,
    anisotropic_form,
    exchange_form,
    facet_measurement,
    refine_mesh,
    torus,
    volume_measurement,
)
from dolfinx_llg.grps.energies import energy_matrix
from dolfinx_llg.grps.patch_solvers import CondensedPatches

parser = options("Decay of GRPS basis functions.", "folder for the two pictures")
parser.add_argument("--nc", type=whole(2), help="coarse squares per side (8, quick 6)")
parser.add_argument("--levels", type=whole(), help="refinements J, h = 2^-J/nc (4, quick 2)")
parser.add_argument("--ell", type=whole(2), help="largest number of layers (8, quick 4)")
parser.add_argument("--layers", choices=("vertex", "facet"), default="vertex", help="neighbours")
parser.add_argument("--torus", action="store_true", help="periodic, around the corner of the cell")
args = begin(parser, {"nc": (8, 6), "levels": (4, 2), "ell": (8, 4)})
comm = MPI.COMM_WORLD

hierarchy = refine_mesh(mesh.create_unit_square(comm, args.nc, args.nc), args.levels)
if args.torus:
    hierarchy = torus(hierarchy)
V = hierarchy.space
within = llg.periodic_basis(V).components[0] if args.torus else None
kappa = llg.cell_coefficient(hierarchy.fine, literature.ms_trig)
MEASUREMENTS = {"V": volume_measurement(hierarchy), "E": facet_measurement(hierarchy)}
ENERGIES = {"V1": exchange_form(V, kappa), "V2": anisotropic_form(V, kappa)}


# The norms of figure 3.2; nodal values serve the maximum, which P1 functions take at nodes.
def norms(u: fem.Function) -> np.ndarray:
    parts = [u**2 * ufl.dx, (u**2 + ufl.inner(ufl.grad(u), ufl.grad(u))) * ufl.dx]
    local = [fem.assemble_scalar(fem.form(part)) for part in parts]
    largest = max(comm.allgather(float(np.abs(u.x.array).max(initial=0.0))))
    return np.array([*np.sqrt(np.sum(comm.allgather(local), axis=0)), largest])


def one_function(patches: CondensedPatches, row: int, ell: int | None) -> fem.Function:
    P = patches.solve(ell, [row])
    P = P if within is None else within.matMult(P)
    return GRPSBasis(P, measurement, ell).function(row)


def patch_problems(form: ufl.Form) -> CondensedPatches:
    A = energy_matrix(form, measurement)
    if within is None:
        return CondensedPatches(A, measurement, args.layers)
    return CondensedPatches(A.PtAP(within), measurement.inside(within), args.layers)


centre = 0.0 if args.torus else 0.5
NORMS = ("l2", "h1", "linf")
# On a torus fewer layers reach the whole mesh.
layers = list(range(1 if args.torus else 2, args.ell + 1))
results: dict[str, float | list[float]] = {"ell": layers}
pictures: dict[str, np.ndarray] = {}
curves: dict[str, np.ndarray] = {}
for kind, measurement in MEASUREMENTS.items():
    middle = int(np.linalg.norm(measurement.points - centre, axis=1).argmin())
    for energy, form in ENERGIES.items():
        # One function is wanted of each ell: its patch is solved and no other.
        patches = patch_problems(form)
        exact = one_function(patches, middle, None)
        table = []
        for ell in layers:
            local = one_function(patches, middle, ell)
            local.x.array[:] -= exact.x.array
            table.append(norms(local) / norms(exact))
        curve = np.array(table)
        name = f"{kind}_{energy}".lower()
        curves[f"GRPS-{kind}, ({energy})"] = curve
        # The last layers may be the whole mesh (or round-off): they would spoil slope and picture.
        curve[curve[:, 1] < 1e-13] = math.nan
        use = ~np.isnan(curve[:, 1])
        for column, norm in enumerate(NORMS):
            logs = np.log10(curve[use, column])
            slope = np.polyfit(np.array(layers)[use], logs, 1)[0] if use.sum() > 1 else math.nan
            results[f"error_{norm}_{name}"] = np.nan_to_num(curve[:, column]).tolist()
            results[f"slope_{norm}_{name}"] = float(slope)
        own = V.dofmap.index_map.size_local
        pictures[f"GRPS-{kind}, ({energy})"] = np.concatenate(comm.allgather(exact.x.array[:own]))


def cell(value: float) -> str:
    return f"{'global':>10s}" if math.isnan(value) else f"{value:10.1e}"


if comm.rank == 0:
    print(
        f"Nc = {args.nc}, h = 1/{args.nc * 2**args.levels}, MsTrig at centroids, right diagonals, "
        f"layers by {args.layers}, {'torus' if args.torus else 'natural'}, {comm.size} rank(s)"
    )
    for title, curve in curves.items():
        print(f"{title}: relative distance of psi^ell to psi")
        print("  ell " + "".join(f"{ell:10d}" for ell in layers))
        for column, norm in enumerate(NORMS):
            print(f"  {norm:4s}" + "".join(cell(value) for value in curve[:, column]))


# Figure 3.1: the four functions as surfaces; figure 3.2: their decay.
def draw(folder: Path, x: np.ndarray) -> list[Path]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    figure = plt.figure(figsize=(11, 9), layout="constrained")
    for number, (title, values) in enumerate(pictures.items()):
        axes = figure.add_subplot(2, 2, number + 1, projection="3d")
        axes.plot_trisurf(x[:, 0], x[:, 1], values, cmap="viridis", linewidth=0, antialiased=False)
        axes.set(title=f"{title}, largest value {values.max():.3g}", xlabel="x", ylabel="y")
    figure.savefig(folder / "basis_functions.png", dpi=120)
    figure, grid = plt.subplots(2, 2, figsize=(9, 7), sharex=True, sharey=True)
    for axes, (title, curve) in zip(grid.flat, curves.items(), strict=True):
        for column, (norm, mark) in enumerate(zip(("L2", "H1", "Linf"), "os^", strict=True)):
            axes.semilogy(layers, curve[:, column], marker=mark, label=norm)
        axes.set(title=title)
        axes.grid(alpha=0.4)
    for axes in grid[1]:
        axes.set_xlabel("layers ell")
    for axes in grid[:, 0]:
        axes.set_ylabel("relative error of psi^ell")
    grid[0, 0].legend()
    figure.tight_layout()
    figure.savefig(folder / "decay.png", dpi=120)
    plt.close("all")
    return [folder / "basis_functions.png", folder / "decay.png"]


points = V.tabulate_dof_coordinates()[: V.dofmap.index_map.size_local]
points = np.concatenate(comm.allgather(points))
if args.output is not None and comm.rank == 0:
    for path in draw(args.output, points):
        print(f"Picture: {path}")
parameters = {"nc": args.nc, "levels": args.levels, "ell": args.ell, "kappa": "ms_trig"}
parameters |= {"layers": args.layers, "torus": args.torus}
record("grps_decay", args, results, parameters)

slopes = [results[f"slope_{norm}_{k}_{e}"] for norm in NORMS for k in "ve" for e in ("v1", "v2")]
say(
    f"Reproduced: figure 3.1 (functions) and figure 3.2 (decay): log10 of the error falls by "
    f"{-max(slopes):.2f} to {-min(slopes):.2f} per layer, straight for V and E, (V1) and (V2). "
    "The paper shows straight lines and prints no slopes."
)
# A layer by facets reaches half as far.
assert max(slopes) < (-0.3 if args.layers == "vertex" else -0.1), (
    f"a basis function does not decay exponentially: {slopes}"
)
