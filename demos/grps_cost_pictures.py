# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of ``demo_grps_cost``."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from dolfinx_llg.plot import PAPER, Colours, draw_colour_key


@dataclass(frozen=True)
class Slices:
    """What is drawn of a run in the cube: the plane z = 1/2.

    Attributes:
        title: Cells, coarse cubes per side, route.
        kappa: Coefficient in the cubes above the plane, shape (n, n), first axis x.
        exact: m of the fine run at the nodes, shape (n + 1, n + 1, 3).
        coarse: m of the coarse run.
    """

    title: str
    kappa: np.ndarray
    exact: np.ndarray
    coarse: np.ndarray


def around(m: np.ndarray) -> Colours:
    """Return colours from the mean of m as far as it reaches, up to the next 5 degrees."""
    mean = m.mean(axis=(0, 1))
    cosine = m @ mean / np.linalg.norm(m, axis=2) / np.linalg.norm(mean)
    reach = float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).max())
    return Colours(pole=tuple(mean.tolist()), spread=min(5.0 * np.ceil(reach / 5 + 1e-3), 180.0))


def draw_cube(folder: Path, rows: list[dict], slices: list[Slices]) -> Path:
    """Draw the slices of each kind of cells, and the errors over seconds; return the file."""
    with mpl.rc_context(PAPER):
        height = 2.5 * len(slices)
        page = Figure(figsize=(9.6, max(height, 2.6)), layout="constrained")
        left, right = page.subfigures(1, 2, width_ratios=(3.1, 1.0))
        table = left.subplots(len(slices), 3, squeeze=False)
        for axes, part in zip(table, slices, strict=True):
            square = {"origin": "lower", "extent": (0, 1, 0, 1)}
            shown = axes[0].imshow(part.kappa.T, cmap="cividis", **square)
            left.colorbar(shown, ax=axes[0], shrink=0.8)
            axes[0].set(title=r"$\kappa$ at z = 1/2", ylabel=part.title)
            colours = around(part.coarse)
            axes[1].imshow(colours(part.coarse.transpose(1, 0, 2)), **square)
            axes[1].set(title="coarse m")
            draw_colour_key(axes[1].inset_axes((1.06, 0.31, 0.38, 0.38)), colours, centre="mean")
            error = np.linalg.norm(part.coarse - part.exact, axis=2)
            shown = axes[2].imshow(error.T, cmap="magma_r", vmin=0.0, **square)
            left.colorbar(shown, ax=axes[2], shrink=0.8)
            axes[2].set(title="distance from fine m")
            for axis in axes:
                axis.set(xticks=(0, 1), yticks=(0, 1))
        plot = right.subplots()
        for kind, colour in (("tetrahedron", "C0"), ("hexahedron", "C1")):
            own = [row for row in rows if row["kind"] == kind]
            for route, mark in (("tensors", "o"), ("cubature", "s")):
                having = [row for row in own if f"run_{route}" in row]
                if not having:
                    continue
                error = [100 * row[f"error_h1_{route}"] for row in having]
                spent = [row[f"run_{route}"] for row in having]
                plot.semilogx(spent, error, mark, color=colour, label=f"{kind[:3]}., {route}")
                whole = [row["seconds_basis"] + row[f"setup_{route}"] for row in having]
                whole = [a + b for a, b in zip(whole, spent, strict=True)]
                plot.semilogx(whole, error, mark, color=colour, mfc="none", label="with its basis")
                fine = having[0][f"fine_run_{route}"]
                plot.axvline(fine, color=colour, ls=":", lw=1.0, label="fine run")
        plot.set(xlabel="CPU seconds", ylabel="relative H1 error [%]", ylim=(0.0, None))
        plot.xaxis.set_minor_formatter(NullFormatter())
        plot.legend(fontsize=6)
        page.savefig(folder / "cube.png", dpi=200)
    return folder / "cube.png"


def draw(args: Namespace, results: list[dict], figure: list[dict], study: list[dict]) -> list[Path]:
    """Draw table 7, figure 4.2 and CT4 against h, whichever there is; return the files."""
    folder, made = args.output, []
    with mpl.rc_context(PAPER):
        if results:
            page = Figure(figsize=(7.2, 3.2), layout="constrained")
            left, right = page.subplots(1, 2)
            nc = [row["nc"] for row in results]
            for name, label, mark in (
                ("ct1", "CT1 fine run", "s-"),
                ("ct0", "CT0 fine solves", "s--"),
                ("ct2", "CT2 basis", "d-"),
                ("ct3", "CT3 tensors", "^-"),
                ("ct3_cubature", "CT3 cubature", "^--"),
                ("ct4", "CT4 tensors", "o-"),
                ("ct4_cubature", "CT4 cubature", "o--"),
            ):
                left.loglog(nc, [row[name] for row in results], mark, label=label, base=2)
            left.set_yscale("log", base=10)
            left.set(xlabel="coarse cells per side $N_c$", ylabel="seconds", xticks=nc)
            left.set_xticklabels([str(n) for n in nc])
            left.legend(fontsize=6, ncols=2)
            for name, label, mark in (
                ("error_h1_standard_cubature", "algorithm 2", "o-"),
                ("error_h1_cubature", "algorithm 2, cubature", "x--"),
                ("error_h1_standard", "algorithm 1", "s-"),
                ("error_h1", "algorithm 1, tensors", "+--"),
            ):
                right.loglog(nc, [row[name] for row in results], mark, label=label)
            right.set(xlabel="coarse cells per side $N_c$", ylabel="relative H1 error", xticks=nc)
            right.set_xticklabels([str(n) for n in nc])
            right.minorticks_off()
            right.legend(fontsize=7)
            page.savefig(folder / "cost.png", dpi=200)
            made.append(folder / "cost.png")
        if figure:
            page = Figure(figsize=(7.2, 3.0), layout="constrained")
            for axes, kind in zip(page.subplots(1, 2, sharey=True), "VE", strict=True):
                for ell in args.figure_ell:
                    rows = [r for r in figure if r["kind"] == kind and r["ell"] == ell]
                    axes.loglog(
                        [r["seconds"] for r in rows],
                        [r["error_h1"] for r in rows],
                        "o-",
                        label=f"$\\ell$ = {ell}",
                        markersize=3,
                    )
                axes.set(title=f"GRPS-{kind}", xlabel="seconds of the coarse run")
                axes.grid(alpha=0.3)
                axes.legend(fontsize=6)
            page.axes[0].set_ylabel("relative H1 error")
            page.savefig(folder / "time_accuracy.png", dpi=200)
            made.append(folder / "time_accuracy.png")
        if study:
            page = Figure(figsize=(3.6, 3.0), layout="constrained")
            axes = page.subplots()
            for route in ("cubature", "tensors"):
                axes.loglog(
                    [row["fine"] for row in study],
                    [row[f"ct4_{route}"] for row in study],
                    "o-",
                    label=route,
                )
            axes.set(xlabel="fine cells per side 1/h", ylabel="CT4 [s]")
            axes.legend()
            page.savefig(folder / "cost_against_h.png", dpi=200)
            made.append(folder / "cost_against_h.png")
    return made
