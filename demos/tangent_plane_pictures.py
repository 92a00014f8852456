# SPDX-License-Identifier: LGPL-3.0-or-later
"""Figure 5.3 of the paper on the tangent-plane scheme: the blocks of the saddle-point system."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from dolfinx_llg.plot import PAPER
from dolfinx_llg.schemes.tangent_plane import TangentPlaneStep
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks
from dolfinx_llg.solvers.tangent.saddle import SaddleMatrix

#: Kinds of entries: name and colour.
KINDS = (
    (r"$\alpha M + \theta\, \Delta t\, K$, diagonal", "#0b6e99"),
    (r"$\theta\, \Delta t\, K$", "#9ecae1"),
    (r"$[m]_\times$", "#d1495b"),
    (r"$B$, $B^T$", "#3a7d44"),
)


def saddle_matrix(step: TangentPlaneStep) -> npt.NDArray[np.float64]:
    """Return the assembled matrix of a step on one rank, by components: (v_1, v_2, v_3, lambda)."""
    blocks = NodalBlocks(step)
    m = step.m.x.array[: 3 * blocks.n].reshape(-1, 3)
    dt = float(step.dt.value)
    matrix = SaddleMatrix(blocks, step.theta * dt)
    matrix.assemble(m, blocks.dissipation(m, blocks.right_side(m), dt))
    by_node = matrix.A.convert("aij").getValues(range(4 * blocks.n), range(4 * blocks.n))
    matrix.destroy()
    order = np.arange(4 * blocks.n).reshape(-1, 4).T.ravel()
    return np.asarray(by_node[np.ix_(order, order)])


def kinds(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the kind of each entry of ``saddle_matrix``, counted from 1; 0 where it is zero."""
    n = len(matrix) // 4
    component = np.arange(4 * n) // n
    row, column = component[:, None], component[None, :]
    found = np.where(row == column, 2, 3)
    found[np.eye(4 * n, dtype=bool)] = 1
    found[(row == 3) != (column == 3)] = 4
    return np.where(matrix == 0.0, 0, found)


def draw_blocks(step: TangentPlaneStep, file: Path) -> dict[str, int]:
    """Draw the nonzero entries of the saddle-point matrix, coloured by where they come from.

    Args:
        step: A step on one rank, on a small mesh.
        file: Picture to write.

    Returns:
        Nonzero entries: in all, of B, and of the (2, 2) block, which is zero.
    """
    matrix = saddle_matrix(step)
    n, sort = len(matrix) // 4, kinds(matrix)
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(6.4, 4.6), layout="constrained")
        axes = figure.subplots()
        colours = ListedColormap(["white", *(colour for _, colour in KINDS)])
        axes.imshow(sort, cmap=colours, vmin=-0.5, vmax=4.5, interpolation="nearest")
        for edge in (n, 2 * n, 3 * n):
            width = 1.2 if edge == 3 * n else 0.4
            for line in (axes.axhline, axes.axvline):
                line(edge - 0.5, color="0.2", lw=width)
        ticks = [(k + 0.5) * n for k in range(4)]
        names = ["$v_1$", "$v_2$", "$v_3$", r"$\lambda$"]
        axes.set_xticks(ticks, names)
        axes.set_yticks(ticks, names)
        axes.tick_params(length=0)
        for name, colour in KINDS:
            axes.plot([], [], "s", color=colour, label=name)
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
        axes.set(title=f"Saddle-point system (5.31), {n} nodes", xlim=(-0.5, 4 * n - 0.5))
        figure.savefig(file, dpi=200)
    return {
        "entries": int(np.count_nonzero(matrix)),
        "entries_constraint": int(np.count_nonzero(matrix[3 * n :, : 3 * n])),
        "entries_zero_block": int(np.count_nonzero(matrix[3 * n :, 3 * n :])),
    }
