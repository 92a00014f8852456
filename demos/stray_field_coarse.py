# SPDX-License-Identifier: LGPL-3.0-or-later
"""``demo_stray_field --coarse``: the stray field in a coarse space, its cost and its errors.

Cost: D_H of Nc^3 functions of the three components on a cube of FINE^3 cells, one application, and
steps in the basis with and without the field. Errors: a film and a cube of a rough composite
(kappa and Ms of chessboards), m at T of a coarse run against the fine run with the fine field;
beside it the coarse run that takes the field on the fine mesh in each step (``in_basis="fine"``):
what differs is what m and the field have outside V_H.
"""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import mesh
from shared import errors, say

import dolfinx_llg as llg
from dolfinx_llg.grps import coarse_basis, coarse_field, match_meshes

comm = MPI.COMM_WORLD
HEX = mesh.CellType.hexahedron


def composite(msh: mesh.Mesh, waves: tuple[int, int, int]) -> tuple[Any, Any]:
    """Return kappa (0.2 to 1.8 times 0.05) and Ms (0.7, 1.3) of a chessboard of half waves."""

    def chess(x: Any, low: float, high: float) -> Any:
        product: Any = 1.0
        for i, count in enumerate(waves):
            product *= ufl.sin(np.pi * count * x[i] + 0.1) if count else 1.0
        return ufl.conditional(ufl.lt(product, 0.0), low, high)

    return (
        llg.cell_coefficient(msh, lambda x: 0.05 * chess(x, 0.2, 1.8)),
        llg.cell_coefficient(msh, lambda x: chess(x, 0.7, 1.3)),
    )


def datum(x: np.ndarray) -> np.ndarray:
    """A magnetization that turns by a radian or so over the body."""
    return np.stack([1 + 0 * x[0], 0.8 * np.sin(2 * x[0]) + 0.3, 0.5 * np.cos(2 * x[1])])


def box(size: tuple[float, float, float], coarse: tuple[int, ...], fine: tuple[int, ...]) -> Any:
    """Return the hierarchy of two box meshes of hexahedra."""
    meshes = [mesh.create_box(comm, [[0, 0, 0], size], n, cell_type=HEX) for n in (coarse, fine)]
    return match_meshes(*meshes)


def terms(msh: mesh.Mesh, waves: tuple[int, int, int]) -> tuple[llg.Energy, Any]:
    """Return the energy without the stray field, and Ms."""
    kappa, Ms = composite(msh, waves)
    easy = llg.UniaxialAnisotropy((1, 0, 0), 0.2)
    return llg.Energy([llg.Exchange(kappa), easy], Ms=Ms), Ms


def run(energy: llg.Energy, msh: mesh.Mesh, t_end: float, dt: float, basis: Any) -> Any:
    """Return m at the end."""
    m = llg.magnetization(msh, datum)
    step = llg.gao(energy, m, dt=dt, damping=0.5, projection=True)
    for _ in llg.march(step, t_end=t_end, basis=basis, progress=False):
        pass
    return m


def accuracy(args: Namespace) -> list[dict[str, Any]]:
    """Errors of coarse runs against fine ones by body, Nc and ell."""
    bodies: dict[str, Any] = {
        "film": ((1.0, 1.0, 0.125), (32, 32, 4), (16, 16, 0), [(4, 4, 1), (8, 8, 1)]),
        "cube": ((1.0, 1.0, 1.0), (16, 16, 16), (8, 8, 8), [(2, 2, 2), (4, 4, 4)]),
    }
    if args.quick:
        bodies = {"film": ((1.0, 1.0, 0.25), (8, 8, 2), (4, 4, 0), [(2, 2, 1)])}
    t_end, dt, rows = 1.0, (0.5 if args.quick else 0.02), []
    for name, (size, fine, waves, levels) in bodies.items():
        msh = mesh.create_box(comm, [[0, 0, 0], size], fine, cell_type=HEX)
        bare, Ms = terms(msh, waves)
        exact: dict[str, Any] = {}
        stray = llg.StrayField(msh, Ms, progress=False)
        exact["m"] = run(bare + stray, msh, t_end, dt, None)
        exact["E"] = (bare + stray).total(exact["m"])
        coarse_stray = stray
        fine_stray = llg.StrayField(msh, Ms, progress=False, in_basis="fine")
        for nc in levels:
            coarse = mesh.create_box(comm, [[0, 0, 0], size], nc, cell_type=HEX)
            hierarchy = match_meshes(coarse, msh)
            for ell in args.ells:
                basis = coarse_basis(bare, hierarchy, ell=ell)
                found = run(bare + coarse_stray, msh, t_end, dt, basis)
                other = run(bare + fine_stray, msh, t_end, dt, basis)
                without = run(bare, msh, t_end, dt, basis)
                field = coarse_field(coarse_stray, basis, found.function_space)
                l2, h1 = errors(found, exact["m"])
                l2_fine, h1_fine = errors(other, exact["m"])
                row = {
                    "body": name,
                    "nc": nc[0],
                    "functions": basis.dim,
                    "ell": ell,
                    "error_l2": l2,
                    "error_h1": h1,
                    "error_l2_fine_field": l2_fine,
                    "error_h1_fine_field": h1_fine,
                    "outside_l2": errors(found, other)[0],
                    "error_l2_no_field": errors(without, exact["m"])[0],
                    "error_energy": abs((bare + stray).total(found) / exact["E"] - 1),
                    "error_stray_energy": abs(field.energy(found) / stray.energy(found) - 1),
                }
                rows.append(row)
                say(
                    f"{name}, Nc = {nc[0]}, ell = {ell}, {basis.dim} functions: m(T) in L2 "
                    f"{l2:.1e}, H1 {h1:.1e} (fine field in each step: {l2_fine:.1e}, "
                    f"{h1_fine:.1e}; no field at all {row['error_l2_no_field']:.1e}); energy "
                    f"{row['error_energy']:.1e}; stray energy of m(T), D_H against fine "
                    f"{row['error_stray_energy']:.1e}"
                )
    return rows


def seconds(work: Any, count: int) -> float:
    """Return CPU seconds of the slowest rank for one of ``count`` repetitions."""
    begin = time.process_time()
    for _ in range(count):
        work()
    return float(max(comm.allgather(time.process_time() - begin))) / count


def cost(args: Namespace) -> dict[str, Any]:
    """Cost of D_H, of its application, and of steps with and without the field."""
    nc, fine = args.coarse_cells, args.coarse_fine
    hierarchy = box((1.0, 1.0, 1.0), (nc,) * 3, (fine,) * 3)
    msh = hierarchy.fine
    bare, Ms = terms(msh, (fine // 2,) * 3)
    basis = coarse_basis(bare, hierarchy, ell=args.ells[0])
    stray = llg.StrayField(msh, Ms, progress=False)
    m = llg.magnetization(msh, datum)
    found: dict[str, Any] = {}
    wall = time.perf_counter()
    found["matrix_cpu_seconds"] = seconds(lambda: coarse_field(stray, basis, m.function_space), 1)
    found["matrix_wall_seconds"] = time.perf_counter() - wall
    field = coarse_field(stray, basis, m.function_space)
    load = field.load_of(m)
    found["application_ms"] = 1e3 * seconds(lambda: field.respond(load), 50)
    h = m.copy()
    found["field_ms"] = 1e3 * seconds(lambda: field.compute(m, h), 5)
    found["fine_field_ms"] = 1e3 * seconds(lambda: (stray.refresh(), stray.energy(m)), 3)
    found["memory_mb"] = field.megabytes
    steppers = []
    for energy in (bare, bare + stray):
        step = llg.gao(energy, llg.magnetization(msh, datum), dt=0.01, damping=0.5, projection=True)
        stepper = llg.stepper(step, basis=basis)
        stepper.start(0.0)
        steppers.append(stepper)

    def advance(stepper: Any) -> None:
        stepper.advance(stepper.t + stepper.dt, stepper.dt)
        stepper.accept()

    times: list[list[float]] = [[], []]
    for _ in range(4 if args.quick else 8):  # interleaved; the first steps are set-up
        for stepper, table in zip(steppers, times, strict=True):
            table.append(seconds(lambda stepper=stepper: advance(stepper), 1))
    without, having = (float(np.mean(table[2:])) for table in times)
    found |= {
        "nodes": msh.geometry.index_map().size_global,
        "functions": basis.dim,
        "step_seconds": having,
        "step_seconds_without": without,
        "step_ratio": having / without,
    }
    say(
        f"{found['nodes']} nodes, {basis.dim} functions x 3, {comm.size} rank(s): D_H in "
        f"{found['matrix_cpu_seconds']:.1f} CPU s a rank (wall "
        f"{found['matrix_wall_seconds']:.1f}), {found['memory_mb']:.0f} MB a rank; "
        f"one application {found['application_ms']:.2f} ms, "
        f"the field at the nodes {found['field_ms']:.1f} ms (fine: {found['fine_field_ms']:.0f} "
        f"ms); a step {having:.2f} s, without the field {without:.2f} s: {having / without:.2f} "
        "times"
    )
    return found


def coarse_study(args: Namespace) -> dict[str, Any]:
    """Do both, and say what came out."""
    results = {"cost": cost(args), "accuracy": accuracy(args)}
    rows, spent = results["accuracy"], results["cost"]
    worst = max(row["error_l2"] / row["error_l2_fine_field"] for row in rows)
    say(
        f"Reproduced: a coarse step with the stray field costs {spent['step_ratio']:.2f} times one "
        f"without, an application of D_H {spent['application_ms']:.2f} ms; coarse runs with D_H "
        f"err in L2 at most {worst:.2f} times as much as with the fine field in each step."
    )
    return results
