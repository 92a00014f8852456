# SPDX-License-Identifier: LGPL-3.0-or-later
"""Colours of directions, and the settings that all pictures share.

Colours show where m points on the sphere, seen from a ``pole``: m = pole is the lightest, the hue
is the direction in which m tilts away from it, and m tilted by ``spread`` or more is the darkest.
With the default, pole z and spread 180 degrees, that is the usual HSV picture (hue the angle of m
in the plane, lightness m_z), in colours that look equally strong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from dolfinx_llg.kinds import checked

__all__ = ["PAPER", "Colours", "draw_colour_key"]

type Floats = npt.NDArray[np.float64]

PAPER: Any = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 9,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "savefig.dpi": 200,
}
"""Matplotlib settings of the pictures; use them as ``with matplotlib.rc_context(PAPER):``."""


@checked
@dataclass(frozen=True)
class Colours:
    """Colour of a direction on the sphere; see the module's docstring.

    Args:
        pole: Direction seen as the centre, any length but zero.
        spread: Angle from the pole, in degrees, at which the scale ends.

    Raises:
        ValueError: If the pole is no direction, or the spread not in (0, 180] degrees.
    """

    pole: Sequence[float] = (0.0, 0.0, 1.0)
    spread: float = 180.0

    def __post_init__(self) -> None:
        if np.shape(self.pole) != (3,) or not np.linalg.norm(self.pole) > 0:
            raise ValueError(f"pole must be three numbers, not all zero, got {self.pole}")
        if not 0 < self.spread <= 180:
            raise ValueError(f"spread must be in (0, 180] degrees, got {self.spread}")

    @property
    def frame(self) -> Floats:
        """Rows: right, up and towards the viewer, for one who looks at the pole with z upwards."""
        pole = np.asarray(self.pole, dtype=np.float64)
        pole = pole / np.linalg.norm(pole)
        up = np.array([0.0, 1.0, 0.0]) if abs(pole[2]) > 0.99 else np.array([0.0, 0.0, 1.0])
        up = up - (up @ pole) * pole
        up = up / np.linalg.norm(up)
        return np.stack([np.cross(up, pole), up, pole])

    def __call__(self, m: Floats) -> Floats:
        """RGB in [0, 1] of vectors of shape (..., 3)."""
        right, up, towards = np.moveaxis(m @ self.frame.T, -1, 0)
        tilt = np.arctan2(np.hypot(right, up), towards) / math.radians(self.spread)
        return _disc_colour(np.clip(tilt, 0.0, 1.0), np.arctan2(up, right))


def _disc_colour(radius: Floats, angle: Floats) -> Floats:
    """White in the centre of a disc, strong colours halfway, dark on the rim (in OKLCH)."""
    lightness = 0.97 - 0.68 * radius**1.1
    chroma = 0.145 * np.sin(np.pi * np.clip(radius, 0, 1) ** 0.85) ** 0.8
    chroma = np.where(radius < 1, chroma, 0.0)
    return _oklch_to_rgb(lightness, chroma, angle + 0.5)


def _oklch_to_rgb(lightness: Floats, chroma: Floats, hue: Floats) -> Floats:
    """OKLCH (B. Ottosson, 2020) to sRGB, clipped."""
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    )
    linear = np.clip(linear, 0.0, 1.0)
    low = 12.92 * linear
    return np.where(linear <= 0.0031308, low, 1.055 * linear ** (1 / 2.4) - 0.055)


@checked
def draw_colour_key(ax: Axes, colours: Colours | None = None, *, centre: str | None = None) -> None:
    """Draw the disc that explains the colours: its centre is the pole, its rim ``spread`` away.

    Args:
        ax: Axes of a Matplotlib figure, small and square.
        colours: The colours to explain.
        centre: Text in the centre; None: the name of the pole.
    """
    colours = colours or Colours()
    side = np.linspace(-1.03, 1.03, 301)
    X, Y = np.meshgrid(side, side)
    radius = np.hypot(X, Y)
    picture = np.ones((*X.shape, 4))
    picture[..., :3] = _disc_colour(np.clip(radius, 0, 1 - 1e-9), np.arctan2(Y, X))
    picture[..., 3] = np.clip((1.0 - radius) / 0.012, 0, 1)
    ax.imshow(picture, origin="lower", extent=(-1.03, 1.03, -1.03, 1.03), interpolation="bilinear")
    ax.set_axis_off()
    right, up, towards = colours.frame
    polar = abs(towards[2]) > 0.99
    text = ("$z$" if polar else "pole") if centre is None else centre
    ax.text(0, 0, text, ha="center", va="center", fontsize="small")
    if polar:
        ax.text(1.12, 0, _axis_name(right), ha="left", va="center", fontsize="small")
        ax.text(0, 1.1, _axis_name(up), ha="center", va="bottom", fontsize="small")
    ax.text(0, -1.12, f"{colours.spread:.0f}°", ha="center", va="top", fontsize="small")


def _axis_name(direction: Floats) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return f"${'-' if direction[axis] < 0 else ''}{'xyz'[axis]}$"
