# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of ``demo_grps_cost``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from dolfinx_llg.plot import PAPER


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
