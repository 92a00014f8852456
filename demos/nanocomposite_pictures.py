# SPDX-License-Identifier: LGPL-3.0-or-later
"""The picture of ``demo_nanocomposite``: curves, and the magnet before it reverses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hysteresis_pictures import Panel, draw_all
from matplotlib.axes import Axes

from dolfinx_llg.plot import draw_loop, draw_magnetization
from dolfinx_llg.plot.curves import PALETTE

__all__ = ["curves", "draw_all", "grains", "turned"]


def curves(
    loops: Mapping[str, Sequence[Any]], near: tuple[float, float] | None = None, above: float = -1.1
) -> Panel:
    """Demagnetization curves by the names of their methods; ``near``: of a range of fields."""

    def draw(ax: Axes) -> None:
        for (name, rows), colour in zip(loops.items(), PALETTE, strict=False):
            draw_loop(ax, rows, unit="mT", label=name, colour=colour)
        if near is None:
            ax.legend(frameon=False, loc="lower right")
            ax.set_title("demagnetization curves")
        else:
            ax.set(xlim=near, ylim=(above, 1.01), title="before they reverse")

    return draw


def grains(shot: Any, side: float) -> Panel:
    """The grains at the top of the cube, soft ones dark."""

    def draw(ax: Axes) -> None:
        x = shot.x[shot.cells].mean(axis=1)
        top = x[:, 2] > x[:, 2].max() - 1e-6 * side
        order = np.lexsort(np.round(x[top, :2], 6).T)
        count = round(np.sqrt(top.sum()))
        image = shot.kappa[top][order].reshape(count, count)
        ax.imshow(image, origin="lower", extent=(0, side, 0, side), cmap="Greys", vmin=0)
        ax.set(xlabel="x (nm)", ylabel="y (nm)", title="grains at the top, soft ones dark")

    return draw


def turned(shot: Any, mode: Any, title: str) -> Panel:
    """The magnetization, turned along a mode where one is given: by 60 degrees where it is most."""

    def draw(ax: Axes) -> None:
        seen = shot
        if mode is not None:
            angle = np.radians(60.0) * np.linalg.norm(mode.m, axis=1, keepdims=True)
            along = mode.m / np.maximum(np.linalg.norm(mode.m, axis=1, keepdims=True), 1e-12)
            seen = replace(shot, m=np.cos(angle) * shot.m + np.sin(angle) * along)
        draw_magnetization(ax, seen, style="hsv", arrows=9)
        ax.set_title(title)

    return draw
