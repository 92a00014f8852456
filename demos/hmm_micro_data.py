# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Figures 8, 9 and 10 of the HMM paper for ``demo_hmm_micro``: data, boundary of micro problems.

The micro data is the polynomial :math:`P_{[2k]}` through the macro values, or
:math:`Q_{[2k]} = P_{[2k]}/|P_{[2k]}|`. Figure 8: how far the length of P is from 1 in a box of
width 10 eps. Figure 9: :math:`E_{disc}`, the error of :math:`\nabla \cdot (\nabla m_{init} A^H)`,
with both. Figure 10: a micro problem with :math:`m - m_{init}` periodic, and zero on the boundary,
against the same problem on a box ten times as large.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from mpi4py import MPI

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from shared import say

from dolfinx_llg import literature
from dolfinx_llg.hmm import MacroGrid, MicroBox, SpectralField
from dolfinx_llg.hmm.space.box import sample_edges, spectral_bound
from dolfinx_llg.hmm.space.grid import Stations
from dolfinx_llg.hmm.space.micro import heun_p, make_batches
from dolfinx_llg.plot import PAPER

Array = npt.NDArray[np.float64]
COLOURS = ("#0b6e99", "#d1495b", "#3a7d44", "#b07aa1")


def _data(points: Array) -> Array:
    return np.ascontiguousarray(literature.hmm_ex2_initial(points.T).T)


def _rates(spacings: list[float], errors: list[float]) -> float:
    return float(np.polyfit(np.log(spacings), np.log(errors), 1)[0])


def figure_8(*, quick: bool) -> dict[str, Any]:
    """Return the largest deviation of |P| from 1 in boxes of width 10 eps, over the whole grid."""
    sizes = (8, 16) if quick else (6, 8, 12, 16, 24, 32, 48, 64, 96)
    inverses = (100, 400) if quick else (50, 100, 200, 400)
    rows = []
    for k in (1, 2):
        for inverse in inverses:
            x = np.linspace(-5 / inverse, 5 / inverse, 21)
            for n in sizes:
                grid = MacroGrid(2, n, k)
                if 2 * k * grid.spacing <= 10 / inverse:  # the box leaves the stencil
                    continue
                station = Stations(grid, data="polynomial")
                values, matrix = _data(grid.points), station.interpolation(x)
                largest = 0.0
                for points in np.array_split(np.arange(grid.n_points), max(1, grid.n_points // 64)):
                    P = station.initial(matrix, values, points)
                    largest = max(largest, float(np.abs(np.linalg.norm(P, axis=2) - 1).max()))
                rows.append({"k": k, "eps": 1 / inverse, "spacing": grid.spacing, "error": largest})
    return {"errors": rows}


def _second(station: Stations, values: Array, A: Array) -> Array:
    """The field of the data at the stations: A contracted with its second derivatives there."""
    grid = station.grid
    # Five points give the derivatives of a polynomial of degree 4 in each variable to round-off.
    x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) * 0.02 * grid.spacing
    one = np.array([1.0, -8.0, 0.0, 8.0, -1.0]) / (12 * (x[1] - x[0]))
    two = np.array([-1.0, 16.0, -30.0, 16.0, -1.0]) / (12 * (x[1] - x[0]) ** 2)
    middle = np.array([0.0, 0.0, 1.0, 0.0, 0.0])
    data = station.initial(station.interpolation(x), values, np.arange(grid.n_points))
    weights = A[0, 0] * np.outer(two, middle) + A[1, 1] * np.outer(middle, two)
    weights += (A[0, 1] + A[1, 0]) * np.outer(one, one)
    return np.einsum("psc,s->pc", data, weights.ravel())


def figure_9(*, quick: bool) -> dict[str, Any]:
    """Return E_disc at (0, 0) with P and with Q, its norm and its z component, and the rates."""
    sizes = (8, 16) if quick else (8, 12, 16, 24, 32, 48, 64, 96)
    A = np.asarray(literature.HMM_EX2_KAPPA_HOM)
    smooth = SpectralField(2, 64, A)
    exact = smooth(_data(smooth.points))[0]
    rows, rates = [], {}
    for k in (1, 2):
        for name in ("polynomial", "normalised"):
            errors = []
            for n in sizes:
                grid = MacroGrid(2, n, k)
                field = _second(Stations(grid, data=name), _data(grid.points), A)[0]
                norm = float(np.linalg.norm(field - exact))
                z = float(abs(field[2] - exact[2]))
                errors.append(norm)
                rows.append(
                    {"k": k, "data": name, "spacing": grid.spacing, "error": norm, "error_z": z}
                )
            late = slice(-3, None)
            rates[f"{name}_{2 * k}"] = _rates([1 / n for n in sizes][late], errors[late])
    return {"errors": rows, "rates": rates}


def figure_10(*, quick: bool) -> dict[str, Any]:
    """Return errors of a micro problem under two boundary conditions, in space and time."""
    eps, K, shots = 2e-3, 10 if quick else 20, 8 if quick else 60
    small = MicroBox(
        1, eps, 3.9 * eps, 5 * eps, (0.2 if quick else 1.0) * eps**2, 0.01, points_per_eps=K
    )
    boxes = {
        "large": replace(small, mu_outer=50 * eps),
        "periodic": replace(small, boundary="periodic"),
        "dirichlet": small,
    }
    kappa = literature.hmm_ex1(eps)
    omega = spectral_bound(small, sample_edges(small, kappa, np.zeros((1, 1))))
    n_steps = math.ceil(small.n_steps(omega) / shots) * shots
    found = {}
    for name, box in boxes.items():
        edges = sample_edges(box, kappa, np.zeros((1, 1)))
        (batch,) = make_batches(box, edges, np.zeros(1, dtype=np.int64), n_steps)
        m = np.ascontiguousarray(literature.hmm_ex1_initial(box.nodes[None]))[:, :, None]
        constant = None
        if batch.data is not None:
            constant = np.stack([batch.data @ own for own in m]) * (box.eta / n_steps)
        first = m[:, :, 0].copy()
        own = []
        for step, _ in enumerate(heun_p(box, batch.step, constant, m, n_steps)):
            if step % (n_steps // shots) == 0:
                own.append(m[:, :, 0].copy())
                if box.periodic:  # the last node is the first one
                    own[-1][:, -1] = first[:, -1] + own[-1][:, 0] - first[:, 0]
        found[name] = np.array(own)  # (times, 3, nodes)
    middle = (boxes["large"].n_cells - small.n_cells) // 2
    expected = found["large"][:, :, middle : middle + small.n_cells + 1]
    averaged = np.abs(small.nodes) <= small.mu
    times = np.linspace(0.0, small.eta / eps**2, shots + 1)
    results: dict[str, Any] = {"times": times.tolist(), "errors": []}
    for name in ("periodic", "dirichlet"):
        error = np.linalg.norm(found[name] - expected, axis=1)
        results["errors"].append(
            {
                "boundary": name,
                "largest": error.max(axis=1).tolist(),
                "largest_in_average": error[:, averaged].max(axis=1).tolist(),
            }
        )
    results["fields"] = {
        "x": small.nodes / eps,
        "times": times,
        "expected": expected[:, 0],
        "periodic": (found["periodic"] - expected)[:, 0],
        "dirichlet": (found["dirichlet"] - expected)[:, 0],
    }
    return results


def _draw_8(figure: Figure, results: dict[str, Any]) -> None:
    for axes, k in zip(figure.subplots(1, 2, sharey=True), (1, 2), strict=True):
        rows = [row for row in results["errors"] if row["k"] == k]
        for colour, eps in zip(COLOURS, sorted({row["eps"] for row in rows})[::-1], strict=False):
            own = [row for row in rows if row["eps"] == eps]
            axes.loglog([row["spacing"] for row in own], [row["error"] for row in own], "o-",
                        color=colour, label=rf"$\varepsilon = 1/{1 / eps:.0f}$")  # fmt: skip
        axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axes.set(xlabel=r"$\Delta X$", title=rf"$P_{{[{2 * k}]}}$", xlim=(8e-3, 0.25))
        axes.legend()
    figure.axes[0].set_ylabel(r"largest $||P| - 1|$")


def _draw_9(figure: Figure, results: dict[str, Any]) -> None:
    for axes, key, title in zip(
        figure.subplots(1, 2, sharey=True), ("error", "error_z"), ("norm", "z component"),
        strict=True,
    ):  # fmt: skip
        for k, colour in ((1, COLOURS[0]), (2, COLOURS[1])):
            for data, style, letter in (("polynomial", "o-", "P"), ("normalised", "s--", "Q")):
                rows = [r for r in results["errors"] if r["k"] == k and r["data"] == data]
                h = np.array([row["spacing"] for row in rows])
                axes.loglog(h, [row[key] for row in rows], style, color=colour,
                            label=rf"${letter}_{{[{2 * k}]}}$")  # fmt: skip
            top = rows[-1]["error"] * 3
            axes.loglog(h, top * (h / h[-1]) ** (2 * k), ":", color="0.6")
        axes.set(xlabel=r"$\Delta X$", title=title)
    figure.axes[0].set_ylabel(r"$E_{disc}$ (dotted: $\Delta X^2$, $\Delta X^4$)")
    figure.axes[0].legend()


def _draw_10(figure: Figure, results: dict[str, Any]) -> None:
    fields = results["fields"]
    names = ("expected", "periodic", "dirichlet")
    titles = (r"$m_1 - m_1(0)$", r"error, $m - m_{init}$ periodic", "error, Dirichlet")
    largest = max(np.abs(fields[name]).max() for name in names[1:])
    for axes, name, title in zip(figure.subplots(1, 3, sharey=True), names, titles, strict=True):
        value = fields[name] - (fields[name][:1] if name == "expected" else 0.0)
        scale = np.abs(value).max() if name == "expected" else largest
        image = axes.pcolormesh(fields["x"], fields["times"], value, cmap="RdBu_r", rasterized=True,
                                shading="nearest", vmin=-scale, vmax=scale)  # fmt: skip
        axes.set(xlabel=r"$x/\varepsilon$", title=title)
        for side in (-3.9, 3.9):
            axes.axvline(side, color="0.3", lw=0.6, ls=":")
        figure.colorbar(image, ax=axes, orientation="horizontal", pad=0.02)
    figure.axes[0].set_ylabel(r"$t/\varepsilon^2$ (dotted: $\pm\mu$)")


FIGURES = {8: (figure_8, _draw_8), 9: (figure_9, _draw_9), 10: (figure_10, _draw_10)}


def run_figure(number: int, folder: Path | None, *, quick: bool) -> dict[str, Any]:
    """Compute one of the figures, on every rank alike, and draw it on one.

    Args:
        number: 8, 9 or 10.
        folder: Of the picture, or None.
        quick: A smoke run.
    """
    compute, draw = FIGURES[number]
    results = compute(quick=quick)
    if folder is not None and MPI.COMM_WORLD.rank == 0:
        with mpl.rc_context(PAPER):
            figure = Figure(figsize=(7.2, 3.1), layout="constrained")
            draw(figure, results)
            figure.savefig(folder / f"hmm_figure_{number}.png", dpi=200)
    results.pop("fields", None)
    for row in results["errors"]:
        parts = {key: max(v) if isinstance(v, list) else v for key, v in row.items()}
        say("  ".join(v if isinstance(v, str) else f"{key} {v:.4g}" for key, v in parts.items()))
    if "rates" in results:
        say(f"Rates: {results['rates']}")
    return results
