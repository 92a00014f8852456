# SPDX-License-Identifier: LGPL-3.0-or-later
"""Magnetization and cell data on Matplotlib's axes."""

from __future__ import annotations

from typing import Any, Literal, Unpack

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator
from matplotlib.tri import LinearTriInterpolator, Triangulation

from dolfinx_llg.checks import check_array, check_choice, check_integer
from dolfinx_llg.kinds import checked
from dolfinx_llg.plot.colours import Colours
from dolfinx_llg.plot.snapshot import Snapshot
from dolfinx_llg.plot.space import View, render

__all__ = ["draw_cells", "draw_colour_bar", "draw_kappa", "draw_magnetization"]

type Floats = npt.NDArray[np.float64]
type Extent = tuple[float, float, float, float]
type Style = Literal["hsv", "arrows"]

PIXELS = 700  # along the longer side of a plane mesh
KAPPA_COLOURS = "cividis"


def _triangulation(shot: Snapshot) -> tuple[Triangulation, npt.NDArray[np.int64]]:
    """Triangles of a plane mesh (quadrilaterals cut in two) and the cell of each."""
    cells = shot.cells
    owner = np.arange(len(cells))
    if cells.shape[1] == 4:
        cells = np.vstack([cells[:, [0, 1, 2]], cells[:, [0, 2, 3]]])
        owner = np.tile(owner, 2)
    return Triangulation(shot.x[:, 0], shot.x[:, 1], cells), owner


def _raster(tri: Triangulation, pixels: int) -> tuple[Floats, Floats, Extent]:
    """Pixel centres over the bounding box, and its extent as ``imshow`` takes it."""
    low, high = (f([tri.x, tri.y], axis=1) for f in (np.min, np.max))
    step = float(np.max(high - low)) / pixels
    nx, ny = (max(1, round(side / step)) for side in high - low)
    x = low[0] + (np.arange(nx) + 0.5) * (high[0] - low[0]) / nx
    y = low[1] + (np.arange(ny) + 0.5) * (high[1] - low[1]) / ny
    X, Y = np.meshgrid(x, y)
    return X, Y, (float(low[0]), float(high[0]), float(low[1]), float(high[1]))


def _sample(tri: Triangulation, m: Floats, X: Floats, Y: Floats) -> tuple[Floats, Any]:
    """M at points, and where these lie outside the mesh."""
    finder = tri.get_trifinder()
    parts = [LinearTriInterpolator(tri, m[:, i], finder)(X, Y) for i in range(3)]
    return np.stack([part.filled(0.0) for part in parts], axis=-1), np.ma.getmaskarray(parts[0])


@checked
def draw_kappa(
    ax: Axes, shot: Snapshot, *, colour_bar: bool = True, cmap: str = KAPPA_COLOURS
) -> Any:
    """Draw kappa of a plane mesh, on a logarithmic scale if it varies by more than 5.

    Args:
        ax: Axes of a Matplotlib figure.
        shot: Snapshot that was taken with kappa.
        colour_bar: Whether a colour bar is drawn beside the axes.
        cmap: Matplotlib's colours.

    Raises:
        ValueError: If the snapshot has no kappa.

    Returns:
        The image, for a colour bar elsewhere.
    """
    if shot.kappa is None:
        raise ValueError("the snapshot was taken without kappa")
    image = draw_cells(ax, shot, shot.kappa, cmap=cmap)
    if colour_bar:
        draw_colour_bar(ax, image)
    return image


@checked
def draw_cells(
    ax: Axes, shot: Snapshot, values: Floats, *, cmap: str, norm: Normalize | None = None
) -> Any:
    """Draw one value per cell of a plane mesh.

    Args:
        ax: Axes of a Matplotlib figure.
        shot: Snapshot of the mesh.
        values: Values, shape (cells,), in the order of the snapshot.
        cmap: Matplotlib's colours.
        norm: Scale of the values; None: logarithmic where positive values vary by more than 5.

    Returns:
        The image, for a colour bar.

    Raises:
        ValueError: If the values are not one per cell, or Matplotlib has no such colours.
    """
    values = check_array("values", values, (len(shot.cells),), finite=False)
    check_choice("cmap", cmap, mpl.colormaps)
    low, high = float(values.min()), float(values.max())
    if norm is None:
        norm = LogNorm(low, high) if low > 0 and high > 5 * low else Normalize(low, high)
    tri, owner = _triangulation(shot)
    X, Y, extent = _raster(tri, PIXELS)
    found: Any = tri.get_trifinder()(X, Y)
    picture = np.ma.masked_where(found < 0, values[owner[found]])
    image = ax.imshow(picture, origin="lower", extent=extent, cmap=cmap, norm=norm)
    _plane_axes(ax)
    return image


@checked
def draw_colour_bar(ax: Axes, image: ScalarMappable, label: str = "") -> None:
    """Draw the colour bar of an image beside its axes, as high as they are, its label on top.

    Args:
        ax: Axes of the image.
        image: What ``draw_cells`` or Matplotlib's ``pcolormesh`` returned.
        label: Text above the bar, a unit say.
    """
    place = ax.inset_axes((1.04, 0.0, 0.045, 1.0))
    bar = ax.figure.colorbar(image, cax=place)
    bar.outline.set_linewidth(0.6)
    if isinstance(image.norm, LogNorm):
        # 0.5, 1, 2, 5, ...: the default writes powers of ten, wide ones over less than a decade.
        low, high = image.get_clim()
        narrow = high < 60 * low
        bar.set_ticks(LogLocator(subs=(1, 2, 5) if narrow else (1,)))
        bar.set_ticks([], minor=True)
        bar.ax.yaxis.set_major_formatter("{x:g}")
    place.set_title(label, pad=6)


def _plane_axes(ax: Axes) -> None:
    ax.set_aspect("equal")
    ax.set_xlabel("$x$", labelpad=2)
    ax.set_ylabel("$y$", labelpad=2)
    ax.locator_params(nbins=3)


@checked
def draw_magnetization(
    ax: Axes,
    shot: Snapshot,
    *,
    style: Style = "hsv",
    colours: Colours | None = None,
    arrows: int = 18,
    **view: Unpack[View],
) -> None:
    """Draw m: curves of its components (interval), a plane picture, or a body in space.

    Args:
        ax: Axes to draw on.
        shot: Fields.
        style: "hsv": m as colour, with thin arrows of its part in the plane, shaded by kappa where
            the snapshot has it; "arrows": coloured arrows over kappa in grey.
        colours: Colour of a direction.
        arrows: Arrows along the longer side (0: none).
        view: For bodies in space, see ``render``.

    Raises:
        ValueError: If the style is another one.
    """
    colours = colours or Colours()
    check_integer("arrows", arrows, 0)
    if style not in ("hsv", "arrows"):
        raise ValueError(f"style must be 'hsv' or 'arrows', got {style!r}")
    if shot.tdim == 1:
        _draw_curves(ax, shot)
    elif shot.gdim == 2:
        _draw_plane(ax, shot, style, colours, arrows)
    else:
        ax.imshow(render(shot, style=style, colours=colours, **view))
        ax.set_axis_off()


def _draw_curves(ax: Axes, shot: Snapshot) -> None:
    order = np.argsort(shot.x[:, 0], kind="stable")
    for component, colour in enumerate(("#0b6e99", "#d1495b", "#3a7d44")):
        label = f"$m_{'xyz'[component]}$"
        ax.plot(shot.x[order, 0], shot.m[order, component], color=colour, lw=1.2, label=label)
    ax.set_xlabel("$x$")
    ax.set_ylim(-1.08, 1.08)
    ax.margins(x=0)
    ax.legend(ncols=3, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _draw_plane(ax: Axes, shot: Snapshot, style: Style, colours: Colours, arrows: int) -> None:
    tri, owner = _triangulation(shot)
    X, Y, extent = _raster(tri, PIXELS)
    shade: Any = 1.0
    if shot.kappa is not None:
        found: Any = tri.get_trifinder()(X, Y)
        level = np.log(shot.kappa) if shot.kappa.min() > 0 else shot.kappa
        level = (level - level.min()) / max(float(np.ptp(level)), 1e-300)
        shade = np.where(found < 0, 1.0, level[owner[found]])[..., None]
    if style == "hsv":
        m, outside = _sample(tri, shot.m, X, Y)
        # kappa darkens or lightens by a few per cent: seen, and the colours still read.
        picture = colours(m) * (1.0 if shot.kappa is None else 0.84 + 0.16 * shade)
        picture[outside] = 1.0
        ax.imshow(np.clip(picture, 0, 1), origin="lower", extent=extent)
    elif shot.kappa is not None:
        grey = 0.97 - 0.42 * np.broadcast_to(shade, (*X.shape, 1))
        ax.imshow(np.repeat(grey, 3, axis=2), origin="lower", extent=extent)
    if arrows:
        X, Y, _ = _raster(tri, arrows)
        m, outside = _sample(tri, shot.m, X, Y)
        X, Y, m = X[~outside], Y[~outside], m[~outside]
        step = max(extent[1] - extent[0], extent[3] - extent[2]) / arrows
        faces: Any = "#1a1a1a" if style == "hsv" else colours(m)
        ax.quiver(
            *(X, Y, m[:, 0], m[:, 1]),
            color=faces,
            pivot="mid",
            angles="xy",
            scale_units="xy",
            scale=1 / (0.85 * step),
            units="xy",
            width=step * (0.06 if style == "hsv" else 0.13),
            headwidth=4.2,
            headlength=4.6,
            headaxislength=4.0,
            alpha=0.75 if style == "hsv" else 1.0,
            linewidth=0,
        )
    ax.set_xlim(extent[:2])
    ax.set_ylim(extent[2:])
    _plane_axes(ax)
