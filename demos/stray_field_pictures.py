# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pictures of demo_stray_field.py: the field of a flower state, and its charges."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from dolfinx_llg.plot import PAPER


def flower(x: np.ndarray) -> np.ndarray:
    """Return m of the flower state in the cube of side 1 around the origin, shape of x (3, n)."""
    X, Y, Z = x
    m = np.stack([0.6 * X * Z, 0.6 * Y * Z, np.ones_like(X)])
    return m / np.linalg.norm(m, axis=0)


def volume_charge(x: np.ndarray, step: float = 1e-4) -> np.ndarray:
    """-div m by central differences."""
    steps = step * np.eye(3)[:, :, None]
    return -sum((flower(x + s) - flower(x - s))[k] for k, s in enumerate(steps)) / (2 * step)


def draw_section(ax, figure, side: np.ndarray, field: np.ndarray) -> None:
    strength = np.linalg.norm(field, axis=2).T
    image = ax.imshow(strength, extent=(-1, 1, -1, 1), origin="lower", cmap="magma_r", vmax=0.6,
                      vmin=0, interpolation="bilinear")  # fmt: skip
    ax.streamplot(side, side, field[:, :, 0].T, field[:, :, 2].T, color="#20324d", density=1.3,
                  linewidth=0.6, arrowsize=0.7)  # fmt: skip
    ax.add_patch(mpl.patches.Rectangle((-0.5, -0.5), 1, 1, fill=False, lw=1.4, ec="black"))
    ax.set(title=r"(a) stray field $h$ near $y = 0$", xlabel="$x$", ylabel="$z$", aspect="equal")
    figure.colorbar(image, ax=ax, shrink=0.75, label=r"$|h| / M_s$", extend="max")


def draw_faces(ax, figure) -> None:
    n, norm = 24, mpl.colors.Normalize(-1, 1)
    t = (np.arange(n) / n) - 0.5
    a, b = (part.ravel() for part in np.meshgrid(t, t))
    for axis, end in ((0, 0.5), (1, -0.5), (2, 0.5)):
        quads = np.empty((n * n, 4, 3))
        for corner, (p, q) in enumerate(((0, 0), (1, 0), (1, 1), (0, 1))):
            quads[:, corner, axis] = end
            quads[:, corner, (axis + 1) % 3], quads[:, corner, (axis + 2) % 3] = (
                a + p / n,
                b + q / n,
            )
        charge = 2 * end * flower(quads.mean(axis=1).T)[axis]
        colours = mpl.colormaps["RdBu_r"](norm(np.sign(charge) * np.abs(charge) ** 0.5))
        ax.add_collection3d(Poly3DCollection(quads, facecolors=colours, edgecolors=colours, lw=0.2))
    ax.set(xlim=(-0.5, 0.5), ylim=(-0.5, 0.5), zlim=(-0.5, 0.5), box_aspect=(1, 1, 1),
           title=r"(b) surface charge $m\cdot n$", xlabel="$x$", ylabel="$y$", zlabel="$z$",
           xticks=[-0.5, 0.5], yticks=[-0.5, 0.5], zticks=[-0.5, 0.5])  # fmt: skip
    ax.view_init(22, -50)
    bar = figure.colorbar(mpl.cm.ScalarMappable(norm, "RdBu_r"), ax=ax, shrink=0.6, pad=0.12)
    ticks = np.array([-1, -0.5, -0.1, 0, 0.1, 0.5, 1])
    bar.set_ticks(np.sign(ticks) * np.abs(ticks) ** 0.5, labels=[f"{tick:g}" for tick in ticks])


def draw_volume(ax, figure) -> None:
    t = np.linspace(-0.5, 0.5, 121)
    X, Z = np.meshgrid(t, t)
    charge = volume_charge(np.stack([X, 0 * X, Z]).reshape(3, -1)).reshape(X.shape)
    limit = np.abs(charge).max()
    image = ax.imshow(charge, extent=(-0.5, 0.5, -0.5, 0.5), origin="lower", cmap="RdBu_r",
                      vmin=-limit, vmax=limit)  # fmt: skip
    k = np.linspace(-0.44, 0.44, 9)
    x, z = (part.ravel() for part in np.meshgrid(k, k))
    arrows = flower(np.stack([x, 0 * x, z]))
    ax.quiver(x, z, arrows[0], arrows[2], pivot="mid", scale=14, width=0.006)
    ax.set(title=r"(c) $m$ and volume charge $-\nabla\cdot m$, $y = 0$", xlabel="$x$", ylabel="$z$",
           xticks=[-0.5, 0, 0.5], yticks=[-0.5, 0, 0.5])  # fmt: skip
    figure.colorbar(image, ax=ax, shrink=0.75)


def draw_flower(path: Path, side: np.ndarray, field: np.ndarray) -> None:
    """Draw the field in the plane y = 0 (points of side x side) and the charges, to a file."""
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(12.5, 4.0), layout="constrained")
        draw_section(figure.add_subplot(1, 3, 1), figure, side, field)
        draw_faces(figure.add_subplot(1, 3, 2, projection="3d"), figure)
        draw_volume(figure.add_subplot(1, 3, 3), figure)
        figure.savefig(path, dpi=200)
