# SPDX-License-Identifier: LGPL-3.0-or-later
"""Bodies in space, rendered by pyvista off screen (the extra ``plot``)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_integer
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import unit_numbers
from dolfinx_llg.plot.colours import Colours
from dolfinx_llg.plot.snapshot import Snapshot

__all__ = ["PictureView", "View", "render"]

type Floats = npt.NDArray[np.float64]


class View(TypedDict, total=False):
    """How a body in space is seen, the keywords of ``render``."""

    cut: Sequence[float] | None
    direction: Sequence[float]
    size: tuple[int, int]


class PictureView(View, total=False):
    """The same with the number of arrows, which plane pictures have too."""

    arrows: int


def import_pyvista() -> Any:
    """Import pyvista, which the package does without otherwise.

    Raises:
        ImportError: If it is missing, naming the extra that brings it.
    """
    try:
        return importlib.import_module("pyvista")
    except ImportError as error:
        raise ImportError(
            "pictures of bodies in space need pyvista: pip install 'dolfinx_llg[plot]'"
        ) from error


@checked
def render(
    shot: Snapshot,
    *,
    style: Literal["hsv", "arrows"] = "hsv",
    colours: Colours | None = None,
    cut: Sequence[float] | None = None,
    arrows: int = 14,
    direction: Sequence[float] = (1.0, -1.6, 0.9),
    size: tuple[int, int] = (1100, 1000),
) -> npt.NDArray[np.uint8]:
    """Render a body in space; one process.

    Args:
        shot: Fields on a mesh of tetrahedra, hexahedra or a curved surface.
        style: "hsv": the surface coloured by m, with thin arrows; "arrows": coloured arrows over
            the surface in grey, darker where kappa is larger.
        colours: Colour of a direction.
        cut: Normal of a plane through the centre: the part in its direction is taken away.
        arrows: Arrows along the longest side (0: none); they stand on the cut, or fill the body.
        direction: From the centre to the viewer.
        size: Pixels, width and height.

    Returns:
        RGB image of shape (height, width, 3), the margins trimmed.

    Raises:
        ImportError: If pyvista is missing.
    """
    unit_numbers("direction", direction)
    if cut is not None:
        unit_numbers("cut", cut)
    check_integer("arrows", arrows, 0)
    if len(size) != 2:
        raise ValueError(f"size must be a width and a height in pixels, got {size}")
    for pixels in size:
        check_integer("size", pixels, 1)
    pv = import_pyvista()
    log = importlib.import_module("vtkmodules.vtkCommonCore").vtkLogger
    before = log.GetCurrentVerbosityCutoff()
    # Without a display VTK warns before it takes another way; who draws off screen knows.
    log.SetStderrVerbosity(log.VERBOSITY_OFF)
    try:
        return _render(pv, shot, style, colours or Colours(), cut, arrows, direction, size)
    finally:
        log.SetStderrVerbosity(before)


def _render(
    pv: Any,
    shot: Snapshot,
    style: str,
    colours: Colours,
    cut: Sequence[float] | None,
    arrows: int,
    direction: Sequence[float],
    size: tuple[int, int],
) -> npt.NDArray[np.uint8]:
    width = shot.cells.shape[1]
    cells = np.hstack([np.full((len(shot.cells), 1), width), shot.cells])
    grid = pv.UnstructuredGrid(cells.ravel(), np.full(len(cells), shot.vtk_type), shot.x)
    grid.point_data["m"] = shot.m
    low, high = shot.x.min(axis=0), shot.x.max(axis=0)
    centre, step = (low + high) / 2, float((high - low).max()) / max(arrows, 1)
    level = np.zeros(len(cells))
    if shot.kappa is not None and np.ptp(shot.kappa) > 0:
        level = (shot.kappa - shot.kappa.min()) / np.ptp(shot.kappa)
    grid.cell_data["grey"] = (255 * (0.92 - 0.34 * level[:, None]) * np.ones(3)).astype(np.uint8)
    body = grid if cut is None else grid.clip(cut, origin=centre)
    surface = body.extract_surface(algorithm="dataset_surface")

    plotter = pv.Plotter(off_screen=True, window_size=size, lighting="light kit")
    try:
        plotter.background_color = "white"
        if style == "hsv":
            surface.point_data["rgb"] = _bytes(colours, surface.point_data["m"])
            plotter.add_mesh(surface, scalars="rgb", rgb=True, ambient=0.35, diffuse=0.6)
        else:
            opacity = 1.0 if cut is not None else 0.25
            plotter.add_mesh(surface, scalars="grey", rgb=True, opacity=opacity, ambient=0.35)
        if arrows:
            places = _places(low, high, centre, step, cut)
            points = pv.PolyData(places).sample(grid)
            points = points.extract_points(points["vtkValidPointMask"] == 1, include_cells=False)
            m = np.asarray(points["m"])
            if cut is not None:
                # Each arrow is lifted as a whole before the face that it would else pierce.
                normal = np.asarray(cut, dtype=np.float64)
                points.points += (0.5 * step) * normal / np.linalg.norm(normal)
            points["rgb"] = _bytes(colours, m)
            points["direction"] = m
            dark = style == "hsv"
            arrow = pv.Arrow(
                start=(-0.5, 0, 0),
                tip_length=0.38,
                tip_radius=0.11 if dark else 0.17,
                shaft_radius=0.035 if dark else 0.07,
                tip_resolution=24,
                shaft_resolution=16,
            )
            glyphs = points.glyph(orient="direction", scale=False, factor=0.85 * step, geom=arrow)
            if dark:
                plotter.add_mesh(glyphs, color="#202020", ambient=0.3)
            else:
                plotter.add_mesh(glyphs, scalars="rgb", rgb=True, ambient=0.3, specular=0.1)
        plotter.camera_position = [centre + 10 * np.asarray(direction), centre, (0, 0, 1)]
        plotter.enable_parallel_projection()
        plotter.reset_camera()
        plotter.enable_anti_aliasing("ssaa")
        picture = np.asarray(plotter.screenshot(return_img=True))
    finally:
        plotter.close()
    return _trimmed(picture)


def _bytes(colours: Colours, m: Floats) -> npt.NDArray[np.uint8]:
    return (255 * colours(np.asarray(m, dtype=np.float64))).round().astype(np.uint8)


def _places(
    low: Floats, high: Floats, centre: Floats, step: float, cut: Sequence[float] | None
) -> Floats:
    """Grid of points on the cut through the centre, or in the whole box."""
    half = np.ceil((high - low).max() / 2 / step)
    line = (np.arange(-half, half + 1)) * step
    if cut is None:
        box = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
        return centre + box
    normal = np.asarray(cut, dtype=np.float64)
    normal = normal / np.linalg.norm(normal)
    first = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
    first = first / np.linalg.norm(first)
    s, t = np.meshgrid(line, line)
    second = np.cross(normal, first)
    # A hair inside the body: on the face itself a point may be lost to round-off.
    return centre - 1e-6 * normal + s.reshape(-1, 1) * first + t.reshape(-1, 1) * second


def _trimmed(picture: npt.NDArray[np.uint8], margin: int = 8) -> npt.NDArray[np.uint8]:
    """The picture without its white border."""
    used = (picture < 250).any(axis=2)
    if not used.any():
        return picture
    rows, columns = (np.flatnonzero(used.any(axis=axis)) for axis in (1, 0))
    top, left = max(rows[0] - margin, 0), max(columns[0] - margin, 0)
    return picture[top : rows[-1] + margin + 1, left : columns[-1] + margin + 1]
