# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pictures of a run, made on rank 0: magnetization over kappa, energy curves, animations.

Intervals and plane meshes are drawn by Matplotlib, which needs no graphics library; bodies in space
by pyvista off screen (the extra ``plot``), laid out by Matplotlib. ``plot_*`` write a picture;
``draw_*`` draw on given axes, on rank 0, from a ``snapshot``: for figures of several panels.
"""

from dolfinx_llg.plot.colours import PAPER, Colours, draw_colour_key
from dolfinx_llg.plot.curves import draw_energy, draw_lines, draw_loop
from dolfinx_llg.plot.pictures import Animation, plot_energy, plot_magnetization
from dolfinx_llg.plot.plane import (
    draw_cells,
    draw_colour_bar,
    draw_kappa,
    draw_magnetization,
)
from dolfinx_llg.plot.snapshot import Snapshot, snapshot
from dolfinx_llg.plot.space import render

__all__ = [
    "PAPER",
    "Animation",
    "Colours",
    "Snapshot",
    "draw_cells",
    "draw_colour_bar",
    "draw_colour_key",
    "draw_energy",
    "draw_kappa",
    "draw_lines",
    "draw_loop",
    "draw_magnetization",
    "plot_energy",
    "plot_magnetization",
    "render",
    "snapshot",
]
