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
# The demo measures, for h = 1/n, dt = h, kappa = MsTrig (4.2) and the initial data EX2 of the HMM
# paper: iterations and seconds per step (mean of the steps), and the seconds of one assembly of the
# scheme's whole left side as the yardstick.
#
# Run: `mpirun -n 2 python demos/demo_solver_cost.py --json FILE [--n 64 128 256] [--scheme gao]`.

import argparse
import time
from pathlib import Path

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix, create_matrix

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.output import write_json

SCHEMES = {"prohl": llg.prohl, "cimrak": llg.cimrak, "gao": llg.gao, "an": llg.an}

parser = argparse.ArgumentParser(description="Iterations and seconds of a semi-implicit step.")
parser.add_argument("--n", type=int, nargs="+", default=[64, 128, 256], help="cells per side")
parser.add_argument("--scheme", nargs="+", choices=SCHEMES, default=list(SCHEMES))
parser.add_argument("--steps", type=int, default=10, help="steps of size dt = 1/n")
parser.add_argument("--damping", type=float, default=1.0, help="lambda of the LL form")
parser.add_argument("--json", type=Path, help="write all figures to this file")
parser.add_argument("--output", type=Path, help="accepted as in all demos; nothing is drawn here")
parser.add_argument("--quick", action="store_true", help="smoke run")
args = parser.parse_args()
sizes, steps = ([8, 16], 3) if args.quick else (args.n, args.steps)
comm = MPI.COMM_WORLD


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


def measure(name: str, n: int) -> dict[str, float | int | str]:
    msh = mesh.create_unit_square(comm, n, n)
    m = llg.magnetization(msh, literature.hmm_ex2_initial)
    energy = llg.Energy([llg.Exchange(literature.ms_trig), llg.UniaxialAnisotropy((1, 0, 0))])
    step = SCHEMES[name](energy, m, dt=1 / n, damping=args.damping)
    rows = [
        (
            state.iterations,
            state.seconds,
            state.parts["assembly"],
            state.parts["solve"],
            state.newton_iterations,
        )
        for state in llg.march(step, t_end=steps / n, progress=False)
    ]
    # The slowest rank counts; the first step also pays for the preconditioner, once per dt.
    table = np.max(comm.allgather(np.array(rows, dtype=float)), axis=0)
    mean = table.mean(axis=0)
    full = seconds_of_full_assembly(step)
    return {
        "scheme": name,
        "n": n,
        "iterations": float(mean[0]),
        "newton_iterations": float(mean[4]),
        "seconds_step": float(np.median(table[:, 1])),
        "seconds_assembly": float(mean[2]),
        "seconds_solve": float(mean[3]),
        "seconds_full_assembly": full,
        "solve_over_full_assembly": float(mean[3]) / full,
    }


results: list[dict[str, float | int | str]] = []
if comm.rank == 0:
    print(f"dt = 1/n, lambda = {args.damping}, rtol 1e-8, {steps} steps, {comm.size} rank(s)")
    print(
        "scheme     n  its/step  Newton  step [s]  assembly  solve [s]  full assembly  solve/full"
    )
for name in args.scheme:
    for n in sizes:
        row = measure(name, n)
        results.append(row)
        if comm.rank == 0:
            print(
                f"{name:7s} {n:4d}  {row['iterations']:8.1f}  {row['newton_iterations']:6.1f}  "
                f"{row['seconds_step']:8.3f}  {row['seconds_assembly']:8.3f}  "
                f"{row['seconds_solve']:9.3f}  {row['seconds_full_assembly']:13.3f}  "
                f"{row['solve_over_full_assembly']:10.2f}",
                flush=True,
            )

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
if args.json is not None:
    parameters = {"n": sizes, "scheme": args.scheme, "steps": steps, "damping": args.damping}
    data = {
        "demo": "solver_cost",
        "parameters": parameters,
        "ranks": comm.size,
        "results": {"rows": results, **growth},
    }
    write_json(args.json, data, comm)
