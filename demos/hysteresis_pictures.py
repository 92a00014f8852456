# SPDX-License-Identifier: LGPL-3.0-or-later
"""The picture of ``demo_hysteresis``: a panel for each thing that was computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dolfinx_llg.plot import PAPER, draw_loop, draw_magnetization
from dolfinx_llg.plot.curves import PALETTE

type Panel = Callable[[Axes], None]


def spin_loops(angles: Sequence[float], loops: Sequence[Any]) -> Panel:
    """Half loops of one spin at several angles."""

    def draw(ax: Axes) -> None:
        for angle, rows, colour in zip(angles, loops, PALETTE, strict=False):
            draw_loop(ax, rows, unit="mT", label=rf"{angle:.0f}$^\circ$", colour=colour)
        ax.legend(frameon=False)
        ax.set_title("one spin, half loops at five angles")

    return draw


def nucleation(rows: Sequence[Any], jump_mT: float) -> Panel:
    """The lowest eigenvalue on the way to the jump."""

    def draw(ax: Axes) -> None:
        before = [row for row in rows if row["along"] > 0.5]
        h = [row["amplitude"] for row in before]
        ax.plot(h, [row["eigenvalue"] for row in before], "o-", ms=3, lw=1)
        ax.plot([jump_mT] * 2, [0, 0.1], color=PALETTE[1], lw=1.2)
        ax.axhline(0, color="#cccccc", lw=0.6)
        ax.set_xlabel("applied field (mT)")
        ax.set_ylabel("lowest eigenvalue ($M_s$)")
        ax.set_title("hard grain; red: where $m$ jumps")

    return draw


def one_loop(rows: Sequence[Any], title: str, marks: Sequence[float] = ()) -> Panel:
    """A loop, states that are shown beside it marked."""

    def draw(ax: Axes) -> None:
        draw_loop(ax, rows, unit="mT", marks=marks)
        ax.set_title(title)

    return draw


def several_loops(loops: dict[str, Sequence[Any]], title: str) -> Panel:
    """Loops by their names."""

    def draw(ax: Axes) -> None:
        for (name, rows), colour in zip(loops.items(), PALETTE, strict=False):
            draw_loop(ax, rows, unit="mT", label=name, colour=colour)
        ax.legend(frameon=False)
        ax.set_title(title)

    return draw


def state(shot: Any, letter: str) -> Panel:
    """A marked state."""

    def draw(ax: Axes) -> None:
        draw_magnetization(ax, shot, style="hsv", arrows=9)
        ax.set_title(f"({letter})")

    return draw


def coercivity(ratios: Sequence[float], fields: Sequence[float], limit: float) -> Panel:
    """Coercive field of bars over their width."""

    def draw(ax: Axes) -> None:
        ax.axhline(limit, color=PALETTE[1], lw=1.0, label="limit of small bars")
        ax.plot(ratios, fields, "o-", ms=4, lw=1, color=PALETTE[0])
        ax.set_xlabel("$d / l_{ex}$")
        ax.set_ylabel("$H_c / M_s$")
        ax.set_title("bars 5 : 1 : 0.1, field along (1, 1, 1)")
        ax.legend(frameon=False)

    return draw


def reversal(fields: np.ndarray, table: np.ndarray, density: np.ndarray, minor: Any) -> list[Panel]:
    """Reversal curves with a minor loop, and the density of hysterons."""

    def curves(ax: Axes) -> None:
        for a in range(1, len(fields)):
            ax.plot(fields[: a + 1], table[a, : a + 1], color=PALETTE[0], lw=0.7)
        draw_loop(ax, minor, unit="mT", label="minor loop", colour=PALETTE[1])
        ax.legend(frameon=False)
        ax.set_title("reversal curves of the composite")

    def hysterons(ax: Axes) -> None:
        middle = 0.5 * (fields[1:] + fields[:-1])
        largest = np.nanmax(np.abs(density)) or 1.0
        image = ax.pcolormesh(middle, middle, density, cmap="RdBu_r", vmin=-largest, vmax=largest)
        ax.figure.colorbar(image, ax=ax, label="density (1/mT$^2$)")
        ax.plot(middle[[0, -1]], middle[[0, -1]], color="#7a7a7a", lw=0.6)
        ax.set(xlabel="$h_b$ (mT)", ylabel="reversal field $h_a$ (mT)", aspect="equal")
        ax.set_title("density of hysterons")

    return [curves, hysterons]


def draw_all(path: Path, panels: Sequence[Panel]) -> None:
    """Write the picture, three panels a row."""
    rows = -(-len(panels) // 3)
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.0, 2.8 * rows), layout="constrained")
        axes = figure.subplots(rows, 3, squeeze=False).ravel()
        for ax, panel in zip(axes, panels, strict=False):
            panel(ax)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        figure.savefig(path)
