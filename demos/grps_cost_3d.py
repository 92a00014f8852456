# SPDX-License-Identifier: LGPL-3.0-or-later
r"""``demo_grps_cost --dim 3``: what a coarse run in the unit cube costs, beside the fine run.

kappa is MsTrig made rough in three directions, the geometric mean of its values in the planes
(x, y), (y, z) and (z, x); the datum is smooth and turns by a radian, with no normal derivative.
Scheme, damping and energy are those of the study in 2D, but fine and coarse run take the same few
steps, and the basis is that of exchange with functionals on cells: what differs is the space and
the reduction. All seconds are of the processor, the largest of all ranks.
"""

from __future__ import annotations

import math
import time
import warnings
from argparse import Namespace
from functools import partial
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from grps_cost_cases import DAMPING, comm, node_table, places
from grps_cost_pictures import Slices, draw_cube
from provenance import memory_gb
from rough_composite import rough_energy
from shared import SCHEMES, busy, norms, say, timed

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.output import on_root
from dolfinx_llg.reduction import hyper_reduce, tensor_reduce

T = 0.1
STATES = 3
"""Steps of the training of a cubature: the run is short too, and each costs as much as a fine one.
"""


def kappa_3d(x: Any) -> Any:
    """Return the geometric mean of MsTrig in the planes (x, y), (y, z) and (z, x)."""
    planes = [ufl.as_vector([x[i], x[(i + 1) % 3]]) for i in range(3)]
    product = math.prod(literature.ms_trig(plane) for plane in planes)
    return product ** (1 / 3)


def datum_3d(x: np.ndarray) -> np.ndarray:
    """Return a magnetization that turns in all directions, by cosines of half a wave."""
    turn = 0.5 * np.cos(np.pi * x[0]) * np.cos(np.pi * x[1])
    lift = 0.5 * np.cos(np.pi * x[2])
    return np.stack([np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)])


class Cube:
    """The problem on a pair of meshes of the unit cube.

    Args:
        kind: Cells: "tetrahedron" or "hexahedron".
        nc: Coarse cubes per side.
        fine: Fine cubes per side.
        args: The command line: scheme, steps, tolerance.
    """

    def __init__(self, kind: str, nc: int, fine: int, args: Namespace) -> None:
        self.args = args
        coarse = mesh.create_unit_cube(comm, nc, nc, nc, cell_type=mesh.CellType[kind])
        self.hierarchy = refine_mesh(coarse, int(math.log2(fine // nc)))
        self.kappa = llg.cell_coefficient(self.hierarchy.fine, kappa_3d)
        self.energy = rough_energy(self.kappa)
        self.m = llg.magnetization(self.hierarchy.fine, datum_3d)
        self.start = self.m.x.array.copy()

    def step(self, projection: bool) -> llg.WeakStep:
        """Return a step that starts from the data."""
        self.m.x.array[:] = self.start
        make = SCHEMES[self.args.scheme]
        dt = T / self.args.steps
        return make(self.energy, self.m, dt=dt, damping=DAMPING, projection=projection)

    def march(self, step: Any, basis: Any = None) -> dict[str, float]:
        """Run to T: seconds of the run, of a step but the first (which sets up), iterations."""
        clock, counts = [time.process_time()], []
        for state in llg.march(step, t_end=T, basis=basis, progress=False):
            clock.append(time.process_time())
            counts.append(state.iterations)
        steps = np.diff(clock)
        own = (float(steps.sum()), float(np.mean(steps[1:])))
        seconds, each = np.max(comm.allgather(own), axis=0)
        return {"run": seconds, "step": each, "iterations": float(np.mean(counts))}

    def basis(self, ell: int) -> Any:
        """Return the basis of exchange; nothing is kept for updates."""
        form = exchange_form(self.hierarchy.space, self.kappa)
        functionals = volume_measurement(self.hierarchy)
        data: dict[str, Any] = {"localization": "constants", "keep": False}
        return vector_basis(grps_basis(form, functionals, ell=ell, **data))

    def reduced(self, route: str, basis: Any) -> Any:
        """Return the reduced run by a route."""
        if route == "cubature":
            step = self.step(True)
            data: dict[str, Any] = {"t_train": T, "states": STATES, "check_every": math.inf}
            data["tolerance"] = self.args.tolerance
            return hyper_reduce(step, basis, self.hierarchy, **data)
        self.m.x.array[:] = self.start
        given = (SCHEMES[self.args.scheme], self.energy, self.m, basis, self.hierarchy)
        dt = T / self.args.steps
        return tensor_reduce(*given, dt=dt, damping=DAMPING, tolerance=self.args.tolerance)


def errors_against(m: fem.Function, exact: np.ndarray) -> dict[str, float]:
    """Return relative errors of m in L2, in H1, and of its gradient alone."""
    values = m.copy()
    values.x.array[:] = exact
    size = norms(values)
    values.x.array[:] -= m.x.array
    error = norms(values)
    gradient = [math.sqrt(float(n[1] ** 2 - n[0] ** 2)) for n in (error, size)]
    l2, h1 = (error / size).tolist()
    return {"error_l2": l2, "error_h1": h1, "error_gradient": gradient[0] / gradient[1]}


def kappa_slice(kappa: fem.Function, fine: int) -> np.ndarray:
    """Return kappa in the layer of cubes above z = 1/2, the mean of their cells. Collective."""
    msh = kappa.function_space.mesh
    count = msh.topology.index_map(3).size_local
    cells = np.arange(count, dtype=np.int32)
    middle = (fine * mesh.compute_midpoints(msh, 3, cells)).astype(int)
    inside = middle[:, 2] == fine // 2
    sums = np.zeros((2, fine, fine))
    at = tuple(middle[inside, :2].T)
    values = kappa.x.array[kappa.function_space.dofmap.list[:count, 0]]
    np.add.at(sums[0], at, values[inside])
    np.add.at(sums[1], at, 1.0)
    total = np.sum(comm.allgather(sums), axis=0)
    return np.asarray(total[0] / total[1])


def m_slice(table: np.ndarray, fine: int) -> np.ndarray:
    """Return m at the nodes of the plane z = 1/2 from a table of all nodes."""
    return table.reshape(fine + 1, fine + 1, fine + 1, 3)[:, :, fine // 2]


def study(args: Namespace, kind: str, slices: list[Slices]) -> list[dict[str, Any]]:
    """Compute and print the rows of one kind of cells; add what is drawn of the last one."""
    rows: list[dict[str, Any]] = []
    routes = args.route
    for route in routes:  # forms are compiled before clocks run
        small = Cube(kind, 2, 8, args)
        small.march(small.step(True))
        small.march(small.reduced(route, small.basis(1)))
    tables: dict[bool, Any] = {}
    for nc in args.nc:
        cube = Cube(kind, nc, args.fine, args)
        V = cube.m.function_space
        for projection in sorted({route == "cubature" for route in routes} - set(tables)):
            found = cube.march(cube.step(projection))
            tables[projection] = node_table(cube.m, args.fine), found
            say(
                f"{kind}: {V.dofmap.index_map.size_global} nodes, fine run of {args.steps} steps "
                f"{found['run']:.1f} s, a step {found['step']:.2f} s, "
                f"{found['iterations']:.1f} iterations, memory {memory_gb():.1f} GB"
            )
        (basis, seconds), wall = timed(partial(busy, partial(cube.basis, args.ell)))
        row: dict[str, Any] = {
            "kind": kind,
            "nc": nc,
            "fine": args.fine,
            "nodes": V.dofmap.index_map.size_global,
            "dofs": basis.dim,
            "ell": args.ell,
            "seconds_basis": seconds,
            "seconds_basis_wall": wall,
            "memory_gb_basis": memory_gb(),
        }
        say(
            f"  Nc = {nc}, ell = {args.ell}: {basis.dim} functions, basis {seconds:.1f} s (wall "
            f"{wall:.1f}), peak memory {row['memory_gb_basis']:.2f} GB"
        )
        for route in routes:
            table, whole = tables[route == "cubature"]
            exact = table[places(cube.m, args.fine)].ravel()
            run, setup = busy(partial(cube.reduced, route, basis))
            found = cube.march(run)
            run.reconstruct()
            more = {
                "fine_run": whole["run"],
                "fine_step": whole["step"],
                "fine_iterations": whole["iterations"],
                "setup": setup,
                "ratio_run": found["run"] / whole["run"],
                "ratio_step": found["step"] / whole["step"],
                "modes": run.modes(),
                **found,
                **errors_against(cube.m, exact),
            }
            if route == "cubature":
                more["samples"] = run.count()
            else:
                more["mb"] = run.tensor_bytes() / 1e6
            if args.standard:
                more["run_standard"] = cube.march(cube.step(route == "cubature"), basis)["run"]
                more |= {f"{k}_standard": v for k, v in errors_against(cube.m, exact).items()}
                run.reconstruct()
            row |= {f"{name}_{route}": value for name, value in more.items()}
            row["memory_gb"] = memory_gb()
            what = f"{more['samples']} cells" if "samples" in more else f"{more['mb']:.0f} MB"
            say(
                f"    {route}: prepared in {setup:.1f} s ({what}, "
                f"{more['modes'] / cube.hierarchy.data.num_cells:.1f} modes a cell), run "
                f"{found['run']:.2f} s, a step {found['step']:.3f} s: {100 * more['ratio_run']:.1f}"
                f" % of the fine run, {100 * more['ratio_step']:.1f} % of its step; errors: L2 "
                f"{more['error_l2']:.2e}, H1 {more['error_h1']:.2e}, gradient alone "
                f"{more['error_gradient']:.2e}; peak memory {row['memory_gb']:.2f} GB"
            )
        rows.append(row)
        if args.output is not None and nc == args.nc[-1]:
            coarse = m_slice(node_table(cube.m, args.fine), args.fine)
            exact = m_slice(table, args.fine)
            title = f"{kind}, $N_c$ = {nc}, {routes[-1]}"
            slices.append(Slices(title, kappa_slice(cube.kappa, args.fine), exact, coarse))
        del cube, basis, run
    return rows


def study_3d(args: Namespace) -> list[dict[str, Any]]:
    """Do both kinds of cells, and say what came out."""
    say(
        f"MsTrig in three directions, unit cube, h = 1/{args.fine}, {args.scheme}, {args.steps} "
        f"steps to T = {T}, tolerance {args.tolerance:g}, {comm.size} rank(s); CPU seconds of the "
        "slowest rank"
    )
    # Few large steps: their error in time is that of the fine run too.
    warnings.simplefilter("ignore", llg.NumericalDampingWarning)
    slices: list[Slices] = []
    rows = [row for kind in args.cells for row in study(args, kind, slices)]
    if args.output is not None:
        say(f"Picture: {on_root(comm, lambda: draw_cube(args.output, rows, slices))}")
    for row in rows:
        routes = [name[10:] for name in row if name.startswith("ratio_run_")]
        best = min(routes, key=lambda route, row=row: row[f"ratio_run_{route}"])
        say(
            f"Reproduced: {row['kind']}, Nc = {row['nc']}: basis {row['seconds_basis']:.1f} s; by "
            f"{best} {100 * row[f'ratio_run_{best}']:.1f} % of the fine run at an H1 error of "
            f"{100 * row[f'error_h1_{best}']:.2f} %."
        )
    return rows
