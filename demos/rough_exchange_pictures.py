# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pictures and table of ``demo_rough_exchange``: the run, and what coarse runs miss of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from shared import tilt_colours

from dolfinx_llg.output import read_csv
from dolfinx_llg.plot import (
    PAPER,
    draw_cells,
    draw_colour_bar,
    draw_colour_key,
    draw_energy,
    draw_kappa,
    draw_magnetization,
)


def draw_run(folder: Path, pictures: list[tuple[float, Any]], rough: Any) -> None:
    """Draw m at three times, kappa, the exchange energy density ``rough`` and the energies.

    EX2's data stay within 20 degrees of their mean, where the usual colours of the sphere would all
    look alike: the colour shows the tilt from the mean direction instead.
    """
    shots = [shot for _, shot in pictures]
    colours = tilt_colours(shots)
    curve = read_csv(folder / "scalars.csv")
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.2, 5.9))
        grid = figure.add_gridspec(
            2, 3, left=0.05, right=0.905, top=0.955, bottom=0.075, wspace=0.42, hspace=0.3
        )
        (a, b, c), (d, e, f) = (
            [figure.add_subplot(grid[i, j]) for j in range(3)] for i in range(2)
        )
        for ax, letter, (t, shot) in zip((a, b, c), "abc", pictures, strict=True):
            draw_magnetization(ax, shot, colours=colours, arrows=11)
            ax.set_title(f"({letter}) $m$ at $t = {t:.3g}$")
        key = c.inset_axes((1.06, 0.64, 0.32, 0.32))
        draw_colour_key(key, colours, centre=r"$\langle m \rangle$")
        draw_kappa(d, shots[0])
        d.set_title(r"(d) exchange coefficient $\kappa$")
        place = np.maximum(rough.kappa, np.quantile(rough.kappa, 0.01))
        draw_colour_bar(e, draw_cells(e, rough, place, cmap="magma"))
        e.set_title(rf"(e) $\frac{{1}}{{2}} \kappa |\nabla m|^2$ at $t = {pictures[1][0]:.3g}$")
        draw_energy(f, curve, marks=[t for t, _ in pictures])
        f.set(title="(f) energy", ylabel="")
        f.set_box_aspect(1)
        figure.savefig(folder / "rough_exchange.png")


def draw_coarse(
    folder: Path, shots: list[Any], gaps: list[Any], unknowns: tuple[int, int], nc: int
) -> None:
    """Draw where the coarse runs are, and how far from the fine one.

    Args:
        folder: Folder of the picture.
        shots: The fine and the coarse m.
        gaps: Their distances, of GRPS and of coarse P1.
        unknowns: Of the fine and the coarse run.
        nc: Coarse squares per side.
    """
    colours = tilt_colours(shots, least=5.0, step=1.0)
    top = max(gap.kappa.max() for gap in gaps)
    norm = LogNorm(1e-4 * top, top)
    titles = (
        rf"(a) $m_h$, {unknowns[0]} unknowns",
        rf"(b) $m_H$, GRPS, {unknowns[1]} unknowns",
        rf"(c) $|m_H - m_h|$, GRPS, $N_c = {nc}$",
        rf"(d) $|m_{{P1}} - m_h|$, P1, $N_c = {nc}$",
    )
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(7.2, 6.2))
        axes = figure.subplots(2, 2)
        figure.subplots_adjust(0.07, 0.06, 0.85, 0.955, wspace=0.3, hspace=0.28)
        for ax, shot in zip(axes[0], shots, strict=True):
            draw_magnetization(ax, shot, colours=colours, arrows=11)
        draw_colour_key(
            axes[0, 1].inset_axes((1.05, 0.66, 0.28, 0.28)), colours, centre=r"$\langle m \rangle$"
        )
        for ax, gap in zip(axes[1], gaps, strict=True):
            values = np.maximum(gap.kappa, norm.vmin)
            image = draw_cells(ax, gap, values, cmap="magma", norm=norm)
        draw_colour_bar(axes[1, 1], image)
        for ax, title in zip(axes.flat, titles, strict=True):
            ax.set_title(title)
        figure.savefig(folder / "rough_exchange_coarse.png")


def table(t_end: float, n: int, nc: int, per_step: float, beside: dict[str, float]) -> str:
    """Return the table of the coarse runs beside the fine one.

    Args:
        t_end: Time at which they are compared.
        n, nc: Fine and coarse squares per side.
        per_step: Seconds of a fine step.
        beside: Figures of the coarse runs.
    """
    lines = [
        f"\nAgainst the fine run at t = {t_end:g}   unknowns   H1 error   L2 error   s/step",
        f"fine, h = 1/{n:<4d}               {3 * (n + 1) ** 2:9d}          -          -   "
        f"{per_step:.4f}",
    ]
    runs = [(f"GRPS-V, Nc = {nc:<4d}    ", "coarse")]
    runs += [(f"P1, Nc = {squares:<4d}        ", f"p1_{squares}") for squares in (nc, 2 * nc)]
    for title, name in runs:
        dofs, h1, l2, seconds = (
            beside[f"{name}_{key}"] for key in ("dofs", "error_h1", "error_l2", "seconds_per_step")
        )
        lines.append(f"{title}        {dofs:9d}   {h1:.2e}   {l2:.2e}   {seconds:.4f}")
    return "\n".join(lines)
