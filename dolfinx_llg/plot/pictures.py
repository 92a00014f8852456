# SPDX-License-Identifier: LGPL-3.0-or-later
"""Whole pictures and animations as files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
from dolfinx import fem
from matplotlib.animation import PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dolfinx_llg.checks import check_integer
from dolfinx_llg.collective import on_root
from dolfinx_llg.kinds import checked
from dolfinx_llg.output import Closing, output_folder
from dolfinx_llg.plot.colours import PAPER, Colours, draw_colour_key
from dolfinx_llg.plot.curves import EnergyLabels, draw_energy
from dolfinx_llg.plot.plane import Style, draw_magnetization
from dolfinx_llg.plot.snapshot import Snapshot, check_kappa, snapshot
from dolfinx_llg.plot.space import PictureView
from dolfinx_llg.sphere import check_magnetization

__all__ = ["Animation", "plot_energy", "plot_magnetization"]

KEY_SHARE = 0.24
"""Width of the colours' key over that of the picture beside it."""


def _compose(
    shot: Snapshot,
    style: Style,
    colours: Colours,
    title: str | None,
    centre: str | None,
    view: Mapping[str, Any],
) -> Figure:
    curves = shot.tdim == 1
    figure = Figure(figsize=(4.8, 3.4 if curves else 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    if curves and shot.kappa is not None:
        ax, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        middle = shot.x[shot.cells, 0].mean(axis=1)
        order = np.argsort(middle)
        below.step(middle[order], shot.kappa[order], where="mid", color="#555555", lw=0.9)
        below.set_ylabel(r"$\kappa$", rotation=0, labelpad=8)
        below.set_xlabel("$x$")
    elif curves:
        ax = figure.subplots()
    else:
        # The key has a column of its own: beside a narrow body it is as large as beside a cube.
        ax, key = figure.subplots(1, 2, width_ratios=(1.0, KEY_SHARE))
        ax.set_anchor("E")
        key.set_anchor("W")
    draw_magnetization(ax, shot, style=style, colours=colours, **view)
    if curves and shot.kappa is not None:
        ax.set_xlabel("")
    if not curves:
        draw_colour_key(key, colours, centre=centre)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the path of a picture, whose ending must be a format that Matplotlib writes."""
    target, known = Path(path), FigureCanvasAgg.get_supported_filetypes()
    if target.suffix.lower().removeprefix(".") not in known:
        listed = ", ".join(sorted(known))
        raise ValueError(f"{target}: the ending of a picture must be one of {listed}")
    return target


@checked
def plot_magnetization(
    m: fem.Function,
    path: str | os.PathLike[str],
    *,
    kappa: fem.Function | None = None,
    style: Style = "hsv",
    colours: Colours | None = None,
    title: str | None = None,
    centre: str | None = None,
    **view: Unpack[PictureView],
) -> None:
    """Write a picture of m, with kappa where it is given.

    Args:
        m: Magnetization on an interval, a plane mesh or a body.
        path: File; its ending (``.png``, ``.pdf``) is the format, its folder is made.
        kappa: Exchange coefficient to draw beside or below m: any scalar function, drawn cell by
            cell (plane meshes) or along the interval. None: m alone.
        style: "hsv", a colour for each direction, or "arrows", m as arrows over kappa.
        colours: Colour of a direction.
        title: Text above.
        centre: Text in the centre of the colours' key.
        view: ``arrows``, arrows along the longer side of a plane mesh; for bodies what ``render``
            takes (``direction``, ``size``).

    Raises:
        OSError: If the file cannot be written, on all ranks alike.
        ValueError: If its ending is no format of pictures.
        ImportError: If the body needs pyvista and it is missing.

    Note: Collective; rank 0 draws.
    """
    comm = m.function_space.mesh.comm
    target = _target(path)
    output_folder(target.parent, comm)
    shot = snapshot(m, kappa)

    def draw() -> None:
        assert shot is not None
        with mpl.rc_context(PAPER):
            figure = _compose(shot, style, colours or Colours(), title, centre, view)
            figure.savefig(target, bbox_inches="tight")

    on_root(comm, draw)


@checked
def plot_energy(
    rows: Sequence[Mapping[str, float]],
    path: str | os.PathLike[str],
    comm: MPI.Comm,
    **options: Unpack[EnergyLabels],
) -> None:
    """Write a picture of the energy over time.

    Args:
        rows: Rows of ``Observer.observe``, at least one.
        path: File; its folder is made.
        comm: Communicator of the run.
        options: Keywords of ``draw_energy``: time_unit, energy_unit, marks.

    Raises:
        OSError: If the file cannot be written, on all ranks alike.
        ValueError: If there are no rows.

    Note: Collective; rank 0 draws.
    """
    if not rows:
        raise ValueError("there are no rows to plot")
    target = _target(path)
    output_folder(target.parent, comm)

    def draw() -> None:
        with mpl.rc_context(PAPER):
            figure = Figure(figsize=(4.2, 3.0), layout="constrained")
            draw_energy(figure.subplots(), rows, **options)
            figure.savefig(target)

    on_root(comm, draw)


@checked
class Animation(Closing):
    """Collects pictures of m during a run and writes them as a GIF.

    ::

        with Animation("run.gif", m, kappa=kappa) as movie:
            for state in llg.march(step, t_end=1.0):
                movie.add(f"t = {state.t:.3f}")

    Args:
        path: File ending in ``.gif``, written when the context is left; its folder is made.
        m: Magnetization, drawn as it is at each ``add``.
        kappa: Exchange coefficient to draw beside or below m: any scalar function, drawn cell by
            cell (plane meshes) or along the interval. None: m alone.
        style: "hsv", a colour for each direction, or "arrows", m as arrows over kappa.
        colours: Colour of a direction.
        centre: Text in the centre of the colours' key.
        fps: Pictures per second.
        dpi: Resolution.
        view: ``arrows``, arrows along the longer side of a plane mesh; for bodies what ``render``
            takes (``direction``, ``size``).

    Raises:
        OSError: If the folder cannot be written, on all ranks alike.
        ValueError: If the name does not end in ``.gif``, m or kappa is of another kind, or a number
            is not positive.

    Note: Collective; rank 0 draws, and holds all pictures until the end.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        m: fem.Function,
        *,
        kappa: fem.Function | None = None,
        style: Style = "hsv",
        colours: Colours | None = None,
        centre: str | None = None,
        fps: int = 12,
        dpi: int = 110,
        **view: Unpack[PictureView],
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != ".gif":
            raise ValueError(f"an animation is a .gif, got {self.path}")
        check_magnetization(m, unit=False)
        if kappa is not None:
            check_kappa(kappa, m)
        for name, value in (("fps", fps), ("dpi", dpi)):
            check_integer(name, value, 1)
        self._m, self._kappa, self._style, self._view = m, kappa, style, view
        self._colours, self._centre, self._dpi = colours or Colours(), centre, dpi
        self._writer = PillowWriter(fps=fps)
        self._figure: Figure | None = None
        self.frames = 0
        output_folder(self.path.parent, m.function_space.mesh.comm)

    def add(self, title: str | None = None) -> None:
        """Add the present state as one picture. Collective.

        Raises:
            ValueError: If m or kappa cannot be drawn (``snapshot``), on all ranks alike.
        """
        shot = snapshot(self._m, self._kappa)

        def draw() -> None:
            assert shot is not None
            with mpl.rc_context({**PAPER, "savefig.dpi": self._dpi}):
                figure = _compose(shot, self._style, self._colours, title, self._centre, self._view)
                figure.set_dpi(self._dpi)
                if self._figure is None:
                    self._writer.setup(figure, str(self.path), dpi=self._dpi)
                self._figure = self._writer.fig = figure
                self._writer.grab_frame()

        on_root(self._m.function_space.mesh.comm, draw)
        self.frames += 1

    def _ranks(self) -> MPI.Comm:
        return self._m.function_space.mesh.comm

    def close(self) -> None:
        """Write the file."""

        def finish() -> None:
            if self._figure is not None:
                self._writer.finish()
                self._figure = None

        on_root(self._m.function_space.mesh.comm, finish)
