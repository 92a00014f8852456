# SPDX-License-Identifier: LGPL-3.0-or-later
"""``demo_homogenization --magnetostatics``: composites with a stray field, and their limit.

A cube of a composite of period eps, all data different in its two phases: Ms = 1.5 and 0.5, kappa,
an anisotropy, Gilbert's damping. Resolved, with the stray field of Ms(x/eps), it is compared with
its limit (``llg.homogenization.homogenize``: exchange tensor, <Ms>, <q_u>, <alpha Ms>/<Ms>, stray
field of <Ms> and m.Dm/2) on the same mesh of K cells per period; the tensors are those of the same
elements, so that only eps matters. "Averaged" has arithmetic means and no D.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import ufl
from dolfinx import mesh
from matplotlib.figure import Figure
from shared import norms, say

import dolfinx_llg as llg
from dolfinx_llg.homogenization import HomogenizedEnergy, homogenize
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import PAPER

comm = MPI.COMM_WORLD
KAPPA, ANISOTROPY, ALPHA, MS = (1.2, 0.4), (0.8, 0.0), (0.1, 0.4), (1.5, 0.5)
FIELD = (0.0, 0.0, 1.0)
MODELS = ("homogenized", "averaged")
FREQUENCIES = 2
QUANTITIES = {
    "energy": "energies of given states, no exchange",
    "dynamics": "m at t = T, L2",
    "frequency": "lowest frequencies",
}


def wave(x: Any) -> Any:
    """Sine of one period along an axis."""
    return ufl.sin(2 * np.pi * x)


# Where the cell has the first phase: half of the volume. The sum of cosines makes a ball about the
# middle, of the 32 cells within .43 of it where a period has 4 cells.
COMPOSITES: dict[str, Callable[[Any], Any]] = {
    "laminate": lambda y: ufl.lt(wave(y[0]), 0.0),
    "checkerboard": lambda y: ufl.lt(wave(y[0]) * wave(y[1]) * wave(y[2]), 0.0),
    "spheres": lambda y: ufl.lt(sum(ufl.cos(2 * np.pi * y[i]) for i in range(3)), -0.4),
}
STATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "x": lambda x: np.stack([1 + 0 * x[0], 0 * x[0], 0 * x[0]]),
    "z": lambda x: np.stack([0 * x[0], 0 * x[0], 1 + 0 * x[0]]),
    "flower": lambda x: np.stack(
        [(x[0] - 0.5) * (x[2] - 0.5), (x[1] - 0.5) * (x[2] - 0.5), 0.5 + 0 * x[0]]
    ),
    "turn": lambda x: np.stack([np.cos(1.5 * x[1]), np.sin(1.5 * x[1]), 0 * x[1]]),
}


def start(x: np.ndarray) -> np.ndarray:
    """Datum of the dynamics: some 60 degrees off the field, leaning with x."""
    return np.stack([1 + 0.3 * x[1], 0.2 * x[0], 0.6 - 0.2 * x[2]])


class Composite:
    """One composite on a mesh of periods, and its limits on the same mesh.

    Args:
        name: One of ``COMPOSITES``.
        periods: Periods a side of the unit cube.
        cells: Cells a period.
    """

    def __init__(self, name: str, periods: int, cells: int) -> None:
        n, H = periods * cells, mesh.CellType.hexahedron
        self.mesh = mesh.create_unit_cube(comm, n, n, n, cell_type=H)
        eps = 1.0 / periods
        self.cell = mesh.create_box(comm, [[0.0] * 3, [eps] * 3], [cells] * 3, cell_type=H)

        def data(pair: tuple[float, float]) -> Any:
            return llg.cell_coefficient(
                self.mesh,
                lambda x: ufl.conditional(COMPOSITES[name]([x[i] / eps for i in range(3)]), *pair),
            )

        Ms, self.damping = data(MS), llg.Gilbert(data(ALPHA))
        resolved = llg.Energy(
            [
                llg.Exchange(data(KAPPA)),
                llg.UniaxialAnisotropy((0, 0, 1), data(ANISOTROPY)),
                llg.Zeeman(FIELD, Ms=Ms),
                llg.StrayField(self.mesh, Ms, progress=False),
            ],
            Ms=Ms,
        )
        self.models = {"resolved": (resolved, self.damping)}
        self.limit = self.add_limits(self.mesh)

    def add_limits(self, macro: mesh.Mesh) -> HomogenizedEnergy:
        """Add the models "homogenized" and "averaged" on a mesh; return the former's energy."""
        # The elements of the runs, sampled as the runs sample them.
        limit = homogenize(
            self.models["resolved"][0], self.cell, macro=macro, damping=self.damping, degree=1,
            quadrature_degree=2, exact_trace=False,
        )  # fmt: skip
        share = (limit.Ms - MS[1]) / (MS[0] - MS[1])

        def mean(pair: tuple[float, float]) -> float:
            return share * pair[0] + (1 - share) * pair[1]

        q_u, stray = mean(ANISOTROPY), limit.names()["StrayField"]
        averaged = llg.Energy(
            [
                llg.Exchange(mean(KAPPA)),
                llg.UniaxialAnisotropy((0, 0, 1), q_u),
                llg.Zeeman(FIELD, Ms=limit.Ms),
                stray,
            ],
            Ms=limit.Ms,
        )
        self.models["homogenized"] = (limit, limit.damping)
        self.models["averaged"] = (averaged, llg.Gilbert(mean(ALPHA)))
        return limit

    def energy_errors(self) -> list[float]:
        """Largest error of the energies of the given states, of each of ``MODELS``.

        Without exchange, whose limit is that of states with the corrector eps chi grad m.
        """
        states = [llg.magnetization(self.mesh, state) for state in STATES.values()]
        totals = {}
        for name, (energy, _) in self.models.items():
            tables = [energy.by_term(m) for m in states]
            totals[name] = np.array([sum(t.values()) - t["Exchange"] for t in tables])
        return [float(np.abs(totals[name] - totals["resolved"]).max()) for name in MODELS]

    def dynamics_errors(self, t_end: float, dt: float) -> list[float]:
        """L2 distances of m at the end of runs."""
        ends = {}
        for name, (energy, damping) in self.models.items():
            m = ends[name] = llg.magnetization(self.mesh, start)
            step = llg.midpoint(energy, m, dt=dt, damping=damping)
            for _ in llg.march(step, t_end=t_end, progress=False):
                pass
        for name in MODELS:
            ends[name].x.array[:] -= ends["resolved"].x.array
        return [float(norms(ends[name])[0]) for name in MODELS]

    def frequency_errors(self) -> list[float]:
        """Largest relative error of the lowest frequencies about the equilibrium in the field."""
        omega = {}
        for name, (energy, _) in self.models.items():
            m = llg.magnetization(self.mesh, (0.1, 0.1, 1.0))
            llg.minimise(energy, m, torque=1e-4)
            loose = llg.ModeTolerances(accuracy=1e-5)
            omega[name] = llg.eigenmodes(energy, m, FREQUENCIES, tolerances=loose).omega
        return [float(np.abs(omega[name] / omega["resolved"] - 1.0).max()) for name in MODELS]


def study(args: Namespace) -> dict[str, Any]:
    """Errors of the limit and of the averaged material against the resolved composites."""
    t_end, dt = (0.3, 0.1) if args.quick else (2.0, 0.1)
    every = sorted({*args.periods, *args.energy_periods})
    results: dict[str, Any] = {
        "periods": {"energy": every, "dynamics": args.periods, "frequency": args.periods},
        "cells_per_period": args.cells,
        "composites": [],
    }
    for name in args.composites:
        row: dict[str, Any] = {"name": name}
        for key in QUANTITIES:
            row |= {f"error_{key}_{model}": [] for model in MODELS}
        for number in every:
            case = Composite(name, number, args.cells)
            found = {"energy": case.energy_errors()}
            if number in args.periods:
                found["dynamics"] = case.dynamics_errors(t_end, dt)
                found["frequency"] = case.frequency_errors()
            for key, pair in found.items():
                for model, value in zip(MODELS, pair, strict=True):
                    row[f"error_{key}_{model}"].append(value)
            text = (f"{key} {a:.2e} ({b:.2e})" for key, (a, b) in found.items())
            say(f"{name}, eps = 1/{number}: errors (of the averaged material): {', '.join(text)}")
        fluctuation = case.limit.fluctuation
        row |= {
            "variance": fluctuation.variance,
            "trace": float(np.trace(fluctuation.tensor)),
            "tensor": np.diag(fluctuation.tensor).tolist(),
            "kappa_hom": np.diag(case.limit.kappa_hom).tolist(),
            "alpha": float(case.limit.damping.alpha),
        }
        for key, periods in results["periods"].items():
            values = row[f"error_{key}_homogenized"]
            if len(values) > 1:
                last = np.log(values[-2] / values[-1]) / np.log(periods[-1] / periods[-2])
                row[f"rate_{key}"] = float(last)
        results["composites"].append(row)
    return results


def draw(folder: Path, results: dict[str, Any]) -> None:
    """Draw the errors against eps."""
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        axes = figure.subplots(1, 3)
        for ax, (key, title), letter in zip(axes, QUANTITIES.items(), "abc", strict=True):
            periods = results["periods"][key]
            eps = 1.0 / np.array(periods)
            for k, row in enumerate(results["composites"]):
                colour = f"C{k}"
                ax.loglog(eps, row[f"error_{key}_homogenized"], "o-", color=colour, ms=4,
                          label=f"{row['name']}, limit")  # fmt: skip
                ax.loglog(eps, row[f"error_{key}_averaged"], "x--", color=colour, ms=4, lw=0.9,
                          label=f"{row['name']}, averaged")  # fmt: skip
            first = results["composites"][0][f"error_{key}_homogenized"][0]
            ax.loglog(eps, first * eps / eps[0], "k:", lw=0.9)
            ax.text(eps[-1], first * eps[-1] / eps[0], r" $\epsilon$", fontsize=8)
            ax.set_xticks(eps, [f"1/{k}" for k in periods])
            ax.set_xticks([], minor=True)
            ax.set(title=f"({letter}) {title}", xlabel=r"$\epsilon$")
            ax.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel("error")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(folder / "homogenization_magnetostatics.png", dpi=200)


def magnetostatics(args: Namespace) -> dict[str, Any]:
    """Do the study, draw it, and say what came out."""
    results = study(args)
    if args.output:
        on_root(comm, lambda: draw(args.output, results))
        say(f"Picture: {args.output}/homogenization_magnetostatics.png")
    for row in results["composites"]:
        last = {key: row[f"error_{key}_homogenized"][-1] for key in QUANTITIES}
        ratios = {key: row[f"error_{key}_averaged"][-1] / last[key] for key in QUANTITIES}
        rates = ", ".join(
            f"{key} {row[f'rate_{key}']:.2f}" for key in QUANTITIES if f"rate_{key}" in row
        )
        say(
            f"Reproduced: {row['name']}, trace of D {row['trace']:.4f} of a variance of "
            f"{row['variance']:.4f} (these elements); rates in eps of the last step: {rates}; the "
            "averaged material errs more by factors of "
            + ", ".join(f"{ratio:.1f} ({key})" for key, ratio in ratios.items())
            + "."
        )
    return results
