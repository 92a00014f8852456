# SPDX-License-Identifier: LGPL-3.0-or-later
"""The picture of ``demo_spin_torque``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from nanopillar import ENDS, LAYERS, MAGNET, WIDTH, Pillar

import dolfinx_llg as llg
from dolfinx_llg.plot import PAPER, draw_colour_bar, draw_lines

SHADES = {"lead": "#f3e3d3", "fixed": "#cfd8e3", "spacer": "#f3e3d3", "free": "#cfd8e3"}
SHADES["top lead"] = SHADES["lead"]


@dataclass
class Torque:
    """The torque on the free layer against the angle, per current.

    Attributes:
        angles: Angles of the layers in degrees.
        damping_like: Efficiencies eps of ``a = 2 eps j/(Ms d)``.
        field_like: Those of b.
        slope: Of 1/eps against the cosine.
        offset: Of 1/eps.
        fit: Polarisation and lambda of Slonczewski's form.
    """

    angles: np.ndarray
    damping_like: np.ndarray
    field_like: np.ndarray
    slope: float
    offset: float
    fit: dict[str, float]


def draw_layers(ax: Any, vertical: bool) -> None:
    """Shade the layers of the pillar."""
    low = 0.0
    for name, (thick, _) in LAYERS.items():
        shade = ax.axhspan if vertical else ax.axvspan
        shade(low, low + thick, color=SHADES[name], lw=0, zorder=0)
        if low > 0:
            line = ax.axhline if vertical else ax.axvline
            line(low, color="#555555", lw=0.6, zorder=2)
        low += thick


def draw_plane(
    ax: Any, shot: Any, limit: float, pillar: Pillar, units: llg.units.Units, letter: str
) -> Any:
    """Draw m over the part of S across the axis, which turns m."""
    when, S, spins = shot
    heights, n = pillar.heights, pillar.n
    X, Z = np.meshgrid(np.linspace(0, WIDTH, n + 1), heights, indexing="ij")
    across = units.field_to_A_per_m(np.hypot(S[..., 0], S[..., 1]))
    image = ax.pcolormesh(X, Z, across, cmap="YlOrRd", shading="gouraud", vmin=0, vmax=limit)
    draw_layers(ax, True)
    # One row of arrows in each half of a magnet.
    places = (ENDS[0] + 1.2, ENDS[1] - 1.2, (ENDS[2] + ENDS[3]) / 2 + 0.1)
    rows = [int(np.abs(heights - height).argmin()) for height in places]
    columns = np.arange(0, n + 1, max(1, n // 8))[1:-1]
    C, R = np.meshgrid(columns, rows, indexing="ij")
    ax.quiver(X[C, R], Z[C, R], spins[C, R, 0], spins[C, R, 2], pivot="mid", color="#1a1a1a",
              angles="xy", scale_units="xy", scale=0.36, width=0.008, zorder=4)  # fmt: skip
    ax.set_title(f"({letter}) $t$ = {when:.3g} ns: $m$, and $|S|$ across $z$")
    ax.set_xlabel("$x$ (nm)")
    ax.set_aspect("equal")
    return image


def draw_current(ax: Any, density: np.ndarray, pillar: Pillar) -> None:
    """Draw the current density on the middle plane, in 1e12 A/m2."""
    edges, heights = np.linspace(0, WIDTH, pillar.n + 1), pillar.heights
    size = np.linalg.norm(density, axis=-1).T
    image = ax.pcolormesh(edges, heights, size, cmap="viridis", vmin=0)
    x, z = 0.5 * (edges[1:] + edges[:-1]), 0.5 * (heights[1:] + heights[:-1])
    ax.quiver(*np.meshgrid(x, z, indexing="ij"), density[..., 0], density[..., 2], color="white",
              pivot="mid", width=0.006)  # fmt: skip
    for end in ENDS[:-1]:
        ax.axhline(end, color="white", lw=0.6)
    ax.set_aspect("equal")
    ax.set_xlabel("$x$ (nm)")
    ax.set_title("(c) current density")
    draw_colour_bar(ax, image, "$10^{12}$ A/m$^2$")


def draw_torque(ax: Any, torque: Torque) -> None:
    """Draw the efficiencies against the angle."""
    ax.axhline(MAGNET.beta / 2, color="#7a7a7a", lw=1, ls="--", label=r"Slonczewski, $\beta/2$")
    ax.plot(torque.angles, torque.damping_like, color="#0b6e99", lw=1.3, label="damping-like")
    fine, fit = np.linspace(0, 180, 181), torque.fit
    line = torque.offset + torque.slope * np.cos(np.radians(fine))
    ax.plot(fine, 1 / line, color="#1a1a1a", lw=1, ls=":",
            label=rf"$P={fit['polarisation']:.2f}$, $\Lambda={fit['lambda']:.2f}$")  # fmt: skip
    ax.plot(torque.angles, torque.field_like, color="#d1495b", lw=1.3, label="field-like")
    ax.set_xlabel("angle of the layers (degrees)")
    ax.set_ylabel(r"efficiency $\varepsilon$")
    ax.set_xlim(0, 180)
    ax.set_ylim(top=1.5 * max(MAGNET.beta / 2, torque.damping_like.max()))
    ax.set_xticks([0, 45, 90, 135, 180])
    ax.set_title("(e) torque on the free layer")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


def draw(
    folder: Path,
    pillar: Pillar,
    units: llg.units.Units,
    shots: list[Any],
    density: np.ndarray,
    torque: Torque,
    rows: list[dict[str, float]],
    spins: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Draw the run.

    (a), (b): m (arrows) on the middle plane, over the part of S across the axis, which turns m;
    when the run starts and when the free layer crosses the equator (or ends). (c): the current
    density. (d): S along the axis at the time of (b). (e): the torque against the angle, per
    current, as the efficiency eps of a = 2 eps j/(Ms d). (f): m_z over time.
    """
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(10.2, 6.4), layout="constrained")
        grid = figure.subplots(2, 3)
        limit = max(
            float(np.nanmax(units.field_to_A_per_m(np.hypot(S[..., 0], S[..., 1]))))
            for _, S, _ in shots[:2]
        )
        for ax, shot, letter in zip(grid[0], shots[:2], "ab", strict=False):
            image = draw_plane(ax, shot, limit, pillar, units, letter)
        grid[0, 0].set_ylabel("$z$ (nm)")
        draw_colour_bar(grid[0, 1], image, "A/m")
        draw_current(grid[0, 2], density, pillar)

        ax = grid[1, 0]
        draw_layers(ax, False)
        middle = units.field_to_A_per_m(shots[1][1][pillar.n // 2])
        for k, colour in enumerate(("#0b6e99", "#d1495b", "#3a7d44")):
            ax.plot(pillar.heights, middle[:, k], color=colour, lw=1.3, label=f"$S_{'xyz'[k]}$")
        ax.set_xlabel("$z$ (nm)")
        ax.set_ylabel("$S$ (A/m)")
        ax.set_title(f"(d) $S$ along the axis, $t$ = {shots[1][0]:.3g} ns")
        ax.margins(x=0)
        ax.legend(frameon=False, loc="lower right")
        draw_torque(grid[1, 1], torque)

        ax = grid[1, 2]
        draw_lines(
            ax, [row["t_ns"] for row in rows],
            {"free layer": [row["mz"] for row in rows],
             "fixed layer": [row["mz_fixed"] for row in rows]}, time_unit="ns",
        )  # fmt: skip
        styles = (("#7a7a7a", "--", "Slonczewski"), ("#1a1a1a", ":", "macrospin (e)"))
        for (t, mz), (colour, style, label) in zip(spins, styles, strict=True):
            ax.plot(t, mz, color=colour, ls=style, lw=1.3, label=label)
        ax.set_ylim(-1.08, 1.08)
        ax.set_ylabel("$m_z$")
        ax.set_title("(f) average magnetization")
        place = "lower right" if rows[0]["mz"] < 0 else "lower left"
        ax.legend(frameon=False, loc=place, handlelength=1.4, fontsize=8)
        figure.savefig(folder / "spin_torque.png")
