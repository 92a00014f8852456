# SPDX-License-Identifier: LGPL-3.0-or-later
"""The picture of ``demo_hmm``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from hmm_references import References
from matplotlib.figure import Figure

from dolfinx_llg.hmm import MacroGrid
from dolfinx_llg.hmm.space.resolved import trigonometric
from dolfinx_llg.plot import PAPER


def draw(
    folder: Path,
    args: Namespace,
    ref: References,
    truth: Callable[[np.ndarray], np.ndarray],
    grid: MacroGrid,
    M: np.ndarray,
) -> None:
    """Draw M of HMM beside the references: figures 1, 17, 18, 19."""
    with mpl.rc_context(PAPER):
        if ref.dim == 1:
            figure = Figure(figsize=(7.2, 2.5), layout="constrained")
            axes = figure.subplots(1, 3)
            fine = np.linspace(0, 1, 1001)[:, None]
            for k, (ax, letter) in enumerate(zip(axes, "xyz", strict=True)):
                ax.plot(fine, truth(fine)[:, k], color="#1a1a1a", lw=1.0, label="resolved")
                ax.plot(
                    fine,
                    ref.smooth("averaged", fine)[:, k],
                    color="#d1495b",
                    lw=1.0,
                    ls="--",
                    label="averaged coefficient",
                )
                ax.plot(grid.points, M[:, k], "o", ms=3.5, mfc="white", mec="#0b6e99", label="HMM")
                ax.set(xlabel="$x$", title=f"$m_{letter}$", xlim=(0, 1))
                ax.spines[["top", "right"]].set_visible(False)
            figure.legend(
                *axes[0].get_legend_handles_labels(),
                ncols=3,
                frameon=False,
                loc="outside lower center",
            )
            name = "figure_1" if args.example == "EX1" else "figure_17"
        else:
            n = 64 if args.quick else 192
            ticks = (np.arange(n) + 0.5) / n
            plane = np.stack([g.ravel() for g in np.meshgrid(ticks, ticks, indexing="ij")], axis=1)
            own = "resolved" if args.resolved else "homogenized, corrected"
            best = ref.resolved_at if args.resolved else ref.corrected
            macro = M.reshape(grid.n, grid.n, 3)

            def hmm_at(points: np.ndarray) -> np.ndarray:
                return trigonometric(macro.reshape(-1, 3), grid.n, points)

            panels = {
                own: best,
                f"HMM, {grid.n}² macro points": hmm_at,
                "averaged coefficient": lambda p: ref.smooth("averaged", p),
            }
            images = {k: f(plane)[:, 0].reshape(n, n).T for k, f in panels.items()}
            low = min(i.min() for i in images.values())
            high = max(i.max() for i in images.values())
            figure = Figure(figsize=(7.2, 4.6), layout="constrained")
            top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1))
            axes = top.subplots(1, 3, sharey=True)
            for ax, (title, image) in zip(axes, images.items(), strict=True):
                shown = ax.imshow(
                    image, origin="lower", extent=(0, 1, 0, 1), vmin=low, vmax=high, cmap="viridis"
                )
                ax.set(title=title, xlabel="$x_1$", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            axes[0].set_ylabel("$x_2$")
            top.colorbar(shown, ax=axes, label="$m_x$", shrink=0.85)
            line = np.linspace(0, 1, 801)
            grid_line = np.arange(grid.n) / grid.n
            axes = bottom.subplots(1, 2, sharey=True)
            for axis, ax in enumerate(axes):

                def cut(s: np.ndarray, axis: int = axis) -> np.ndarray:
                    half = np.full_like(s, 0.5)
                    return np.stack((half, s) if axis == 0 else (s, half), axis=1)

                ax.plot(line, best(cut(line))[:, 0], color="#1a1a1a", lw=0.9, label=own)
                ax.plot(
                    line,
                    ref.smooth("averaged", cut(line))[:, 0],
                    "--",
                    color="#d1495b",
                    lw=1.0,
                    label="averaged coefficient",
                )
                ax.plot(
                    grid_line,
                    hmm_at(cut(grid_line))[:, 0],
                    "o",
                    ms=3.5,
                    mfc="white",
                    mec="#0b6e99",
                    label="HMM",
                )
                ax.set(xlabel=f"$x_{2 - axis}$", title=f"$x_{axis + 1} = 0.5$", xlim=(0, 1))
                ax.spines[["top", "right"]].set_visible(False)
            axes[0].set_ylabel("$m_x$")
            bottom.legend(
                *axes[0].get_legend_handles_labels(),
                ncols=3,
                frameon=False,
                loc="outside lower center",
            )
            name = {"quasi-periodic-2d": "figure_18", "locally-periodic-2d": "figure_19"}.get(
                args.example, args.example
            )
        figure.savefig(folder / f"{name}.png")
