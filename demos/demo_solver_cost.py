# SPDX-License-Identifier: LGPL-3.0-or-later
# # What a step costs
#
# The four semi-implicit schemes of Z. Ma, J. Chen, R. Du, L. Zhang: Numerical homogenization of
# the Landau-Lifshitz equation with rough coefficients (appendix 6.1), on the fine mesh.
#
# Each step solves a system with the matrix
# $$ \tfrac{1}{\Delta t} M + \lambda K - C(m^n), \qquad
#    (C(m) u, v) = (m \times \kappa \nabla u, \nabla v) + (m \times u_a, v), $$
# three unknowns a node. M and K are assembled once; a step adds C (and what the scheme has on the
# right), then runs GMRES to a residual of $10^{-8}$ of the right side. In the tangent plane of m,
# where $m \times$ is the imaginary unit, the matrix is $M/\Delta t + (\lambda - i) K$: the
# preconditioner solves with $M/\Delta t + |\lambda - i| K$ component by component and turns the
# result about m by half of $\arg(\lambda + i)$. Its spectrum does not know h, so neither should the
# iterations.
#
# Nothing of C is integrated in a step where it is linear in m: C is found from the UFL form to be a
# sum of few constant tensors of components, here the alternating one, times scalar matrices
# $L\, m_c$ with kept sparse L. Products with m in two or three places ($\lambda\, q(m)$ times m', m
# or, in An's scheme, with m' in q) are kept as few tensors of a cell. What else acts alike on all
# components is assembled as a scalar matrix, and only the rest as DOLFINx does it.
#
# The demo measures, for h = 1/n, dt = h, kappa = MsTrig (4.2) and the initial data EX2 of the HMM
# paper: iterations and seconds per step (mean of the steps), and the seconds of one assembly of the
# scheme's whole left side as the yardstick. In 3D the same with a random half of 8 x 8 x 8 tiles of
# kappa/100. At last a GRPS basis of the square (Nc = 16, h = 2^-7, 4 layers), where P and its
# transpose are a part of the solve, and in it the tangent-plane scheme beside Gao's (alpha = 1).
#
# Run: `mpirun -n 2 python demos/demo_solver_cost.py --json FILE [--n 64 128 256] [--n-3d 16 32]
# [--scheme gao]`.

import time

from mpi4py import MPI  # noqa: F401  isort: skip

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix, create_matrix
from rough_composite import rough_energy
from shared import SCHEMES, begin, comm, options, positive, record, whole

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import exchange_form, grps_basis, vector_basis
from dolfinx_llg.grps.hierarchy import refine_mesh
from dolfinx_llg.grps.measurement import volume_measurement
from dolfinx_llg.solvers.stepper import stepper

parser = options(
    "Iterations and seconds of a semi-implicit step.",
    "accepted as in all demos; nothing is drawn here",
)
parser.add_argument("--n", type=whole(2), nargs="+", help="cells per side (64 128 256)")
parser.add_argument("--n-3d", type=whole(2), nargs="*", help="the same in 3D (16 32)")
parser.add_argument("--no-basis", action="store_true", help="leave out the coarse basis")
parser.add_argument("--scheme", nargs="+", choices=SCHEMES, default=list(SCHEMES), help="which")
parser.add_argument("--steps", type=whole(), help="steps of size dt = 1/n (10)")
parser.add_argument("--damping", type=positive, default=1.0, help="lambda of the LL form")
args = begin(parser, {"n": ([64, 128, 256], [8, 16]), "n_3d": ([16, 32], [4]), "steps": (10, 3)})
sizes, sizes_3d, steps = args.n, args.n_3d, args.steps
schemes_3d = ["gao"] if args.quick else args.scheme


# The yardstick: mass, stiffness and everything that varies, in one form and one matrix of the same
# kind as the solver's. For Prohl's scheme this is a Newton matrix.
def seconds_of_full_assembly(step: llg.WeakStep, repeat: int = 3) -> float:
    dt = float(step.dt.value)
    form = sum(block.weight(dt) * block.form for block in step.constant)
    if step.varying is not None:
        form += step.varying
    if step.nonlinear is not None:
        form += ufl.derivative(step.nonlinear, step.x, ufl.TrialFunction(step.m.function_space))
    compiled = fem.form(form)
    A = create_matrix(compiled, "baij")
    assemble_matrix(A, compiled)
    A.assemble()
    comm.barrier()
    begin = time.perf_counter()
    for _ in range(repeat):
        A.zeroEntries()
        assemble_matrix(A, compiled)
        A.assemble()
    comm.barrier()
    return (time.perf_counter() - begin) / repeat


Row = dict[str, float | int | str]


def problem(dim: int, n: int) -> tuple[llg.Energy, fem.Function]:
    if dim == 2:
        msh, kappa = mesh.create_unit_square(comm, n, n), literature.ms_trig
    else:
        msh = mesh.create_unit_cube(comm, n, n, n)
        kappa = llg.checkerboard(msh, (8, 8, 8), contrast=100, seed=1, low=0.01)
    m = llg.magnetization(msh, literature.hmm_ex2_initial)
    return rough_energy(kappa), m


def table_of(solver, dt: float) -> np.ndarray:
    """The slowest rank's figures of each step."""
    rows = []
    for state in llg.march(solver, t_end=steps * dt, progress=False):
        parts = [solver.seconds[key] for key in ("assembly", "solve", "setup")]
        rows.append((state.iterations, state.seconds, *parts, solver.newton_iterations))
    return np.max(comm.allgather(np.array(rows, dtype=float)), axis=0)


def measure(name: str, n: int, dim: int = 2) -> Row:
    energy, m = problem(dim, n)
    step = SCHEMES[name](energy, m, dt=1 / n, damping=args.damping)
    comm.barrier()
    begin = time.perf_counter()
    solver = stepper(step)
    start = max(comm.allgather(time.perf_counter() - begin))
    # The first step also pays for the preconditioner, once per dt.
    table = table_of(solver, 1 / n)
    mean, median = table.mean(axis=0), np.median(table, axis=0)
    full = seconds_of_full_assembly(step)
    return {
        "scheme": name,
        "n": n,
        "iterations": float(mean[0]),
        "newton_iterations": float(mean[5]),
        "seconds_step": float(median[1]),
        "seconds_assembly": float(mean[2]),
        "seconds_solve": float(mean[3]),
        "seconds_full_assembly": full,
        "solve_over_full_assembly": float(mean[3]) / full,
        "dim": dim,
        "seconds_setup": float(table[0, 4]),
        "seconds_construction": start,
        "assembly_over_solve": float(np.median(table[:, 2] / table[:, 3])),
    }


def say(row: Row) -> None:
    if comm.rank == 0:
        print(
            f"{row['scheme']:7s} {row['n']:4d}  {row['iterations']:8.1f}  "
            f"{row['newton_iterations']:6.1f}  {row['seconds_step']:8.3f}  "
            f"{row['seconds_assembly']:8.3f}  {row['seconds_solve']:9.3f}  "
            f"{row['seconds_full_assembly']:13.3f}  {row['solve_over_full_assembly']:10.2f}  "
            f"{row['assembly_over_solve']:14.2f}  {row['seconds_construction']:12.2f}",
            flush=True,
        )


results: list[Row] = []
results_3d: list[Row] = []
for dim, names, counts, rows in (
    (2, args.scheme, sizes, results),
    (3, schemes_3d, sizes_3d, results_3d),
):
    if comm.rank == 0 and counts:
        print(f"{dim}D, dt = 1/n, lambda = {args.damping}, rtol 1e-8, {steps} steps, "
              f"{comm.size} rank(s)\n"
              "scheme     n  its/step  Newton  step [s]  assembly  solve [s]  full assembly  "
              "solve/full  assembly/solve  construction")  # fmt: skip
    for name in names:
        for n in counts:
            rows.append(measure(name, n, dim))
            say(rows[-1])


# ## In a coarse basis
# P and its transpose are read once for all components; nothing that depends on m is projected.
def measure_in_basis(n_coarse: int, levels: int, layers: int) -> dict[str, float]:
    hierarchy = refine_mesh(mesh.create_unit_square(comm, n_coarse, n_coarse), levels)
    kappa = llg.cell_coefficient(hierarchy.fine, literature.ms_trig)
    form, functionals = exchange_form(hierarchy.space, kappa), volume_measurement(hierarchy)
    basis = vector_basis(grps_basis(form, functionals, ell=layers))
    energy = rough_energy(kappa)
    out, dt = {}, 1.0 / n_coarse**2
    for name, scheme in (("gao", llg.gao), ("tangent_plane", llg.tangent_plane)):
        m = llg.magnetization(hierarchy.fine, literature.hmm_ex2_initial)
        solver = stepper(scheme(energy, m, dt=dt, damping=llg.Gilbert(1.0)), basis=basis)
        table = table_of(solver, dt)
        median = np.median(table, axis=0)
        out[f"basis_iterations_{name}"] = float(table[:, 0].mean())
        out[f"basis_seconds_step_{name}"] = float(median[1])
        out[f"basis_seconds_assembly_{name}"] = float(median[2])
        out[f"basis_seconds_solve_{name}"] = float(median[3])
        out[f"basis_seconds_setup_{name}"] = float(table[0, 4])
        projection = max(comm.allgather(solver.seconds_projection()))
        out[f"basis_seconds_projection_{name}"] = projection / steps
        if comm.rank == 0:
            print(f"{name:13s} in a basis: {out[f'basis_iterations_{name}']:.1f} iterations, "
                  f"{median[1]:.3f} s a step: assembly {median[2]:.3f}, solve {median[3]:.3f}, "
                  f"of it P and P^T {projection / steps:.3f}", flush=True)  # fmt: skip
    ratio = out["basis_seconds_step_tangent_plane"] / out["basis_seconds_step_gao"]
    return out | {"basis_tangent_plane_over_gao": ratio}


coarse = {} if args.no_basis else measure_in_basis(*((4, 2, 2) if args.quick else (16, 3, 4)))

growth = {}
for name in args.scheme:
    counts = [row["iterations"] for row in results if row["scheme"] == name]
    growth[f"growth_{name}"] = counts[-1] / counts[0] - 1.0
if comm.rank == 0:
    print(
        f"Iterations from n = {sizes[0]} to n = {sizes[-1]} change by "
        + ", ".join(f"{100 * value:+.0f} % ({key[7:]})" for key, value in growth.items())
        + "; the paper states no counts."
    )
    for dim, rows in ((2, results), (3, results_3d)):
        parts = [
            f"{row['assembly_over_solve']:.2f} ({row['scheme']})" for row in rows
            if row["n"] == max(other["n"] for other in rows)
        ]  # fmt: skip
        if parts:
            print(f"Assembly over solve at the largest {dim}D mesh: " + ", ".join(parts) + ".")
    if coarse:
        print("In the basis a tangent-plane step costs "
              f"{coarse['basis_tangent_plane_over_gao']:.2f} times a step of Gao's.")  # fmt: skip
flat = {
    f"assembly_over_solve_{row['scheme']}_{row['dim']}d_{row['n']}": row["assembly_over_solve"]
    for row in (*results, *results_3d)
}
everything = {"rows": results, "rows_3d": results_3d, **growth, **flat, **coarse}
record("solver_cost", args, everything)
