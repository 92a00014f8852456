# SPDX-License-Identifier: LGPL-3.0-or-later
"""The picture of ``demo_modes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from pages import page

from dolfinx_llg.plot.curves import PALETTE


def draw_modes(
    path: Path,
    waves: Sequence[Any],
    winter: tuple[np.ndarray, np.ndarray],
    resonance: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    bands: Mapping[str, tuple[np.ndarray, np.ndarray, float, float]],
) -> None:
    """Draw modes of the wall, its spin waves, the film's spectrum, and bands of periodic media.

    Args:
        path: The picture.
        waves: Snapshots of modes of the wall.
        winter: Frequencies of its spin waves, closed and found.
        resonance: Frequencies in GHz and absorption from the modes, frequencies and amplitudes of
            the ring-down.
        bands: By name k in pi/period, frequencies, applied field, homogenized coefficient.
    """
    with page(path, (8.0, 5.6), 2, 2) as panels:
        axes = panels.ravel()
        _wall(axes[0], waves)
        expected, found = winter
        axes[1].plot(expected, "s", mfc="none", mec=PALETTE[1], label="closed form")
        axes[1].plot(found, ".", color=PALETTE[0], label="finite elements")
        axes[1].set(xlabel="number of the spin wave", ylabel=r"$\omega$", title="waves over a wall")
        axes[1].legend(frameon=False)
        grid, absorbed, f, amplitude = resonance
        inside = (f >= grid[0]) & (f <= grid[-1])
        axes[2].semilogy(grid, absorbed / absorbed.max(), color=PALETTE[0], lw=1.2,
                         label="absorption, from modes")  # fmt: skip
        power = (amplitude[inside] / amplitude[inside].max()) ** 2
        axes[2].semilogy(f[inside], power, color=PALETTE[1], lw=1.0, label="ring-down, power")
        for ghz in (8.25, 11.25):
            axes[2].axvline(ghz, color="#cccccc", lw=0.8, zorder=0)
        axes[2].set(xlabel="frequency (GHz)", ylim=(1e-5, 2), title="resonance of a film")
        axes[2].legend(frameon=False)
        for (name, (k, omega, h, kappa)), colour in zip(bands.items(), PALETTE, strict=False):
            fine = np.linspace(0, np.pi, 100)
            axes[3].plot(fine / np.pi, h + kappa * fine**2, color=colour, lw=1.0, ls="--")
            axes[3].plot(k, omega, "o", ms=3.5, color=colour, label=name)
        axes[3].plot([], [], "--", color="#7a7a7a", lw=1.0, label="homogenized")
        axes[3].set(xlabel=r"$k$ (units of $\pi$/period)", ylabel=r"$\omega$",
                    title="spin waves of periodic media")  # fmt: skip
        axes[3].legend(frameon=False)


def _wall(ax: Axes, waves: Sequence[Any]) -> None:
    names = ("shift of the wall", "second wave", "third wave")
    for shot, colour, name in zip(waves, PALETTE, names, strict=False):
        order = np.argsort(shot.x[:, 0])
        # The part in the plane of the wall, along its turn.
        x, turn = shot.x[order, 0], shot.m[order]
        signed = turn[:, 2] / np.cosh(x) - turn[:, 1] * np.tanh(x)
        ax.plot(x, signed / np.abs(signed).max(), color=colour, lw=1.2, label=name)
    ax.set(xlabel="$x$ (widths of the wall)", title="modes of a Bloch wall: turn in its plane",
           ylim=(-1.1, 1.75))  # fmt: skip
    ax.legend(frameon=False, loc="upper left")
