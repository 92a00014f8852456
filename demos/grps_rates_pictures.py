# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of ``demo_grps_rates``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from grps_rates_tables import space_name
from matplotlib.figure import Figure

from dolfinx_llg.plot import PAPER

type Found = dict[tuple, list[dict]]


def slope(rows: list[dict], error: str = "error_h1", dofs: str = "dofs") -> float:
    """Return the rate of an error against the dofs, by least squares of logarithms."""
    logs = np.log([[row[dofs], row[error]] for row in rows])
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]) if len(rows) > 1 else math.nan


STYLE = {"V1+V2": ("#0b6e99", 8), "V1": ("#d1495b", 5.5), "V2": ("#3a7d44", 3)}
ORDER = {"H": 0.5, "H2": 1.0}


def guide(ax: Any, rows: list[dict], order: float, shift: float) -> None:
    """Draw the slope of an order."""
    x = np.array([min(row["dofs"] for row in rows), max(row["dofs"] for row in rows)], dtype=float)
    y = shift * min(row["error_h1"] for row in rows) * (x / x[1]) ** -order
    ax.loglog(x, y, color="#999999", lw=0.9, ls="--", zorder=1)
    text = r"dofs$^{-1/2}$" if order == 0.5 else r"dofs$^{-1}$"
    middle = (np.sqrt(x.prod()), np.sqrt(y.prod()))
    ax.annotate(text, middle, (-3, -3), textcoords="offset points", color="#777777",
                ha="right", va="top")  # fmt: skip


def panel(ax: Any, found: Found, names: list[tuple], title: str, basis: str) -> None:
    """Draw the errors of some runs against their dofs."""
    varying = "error_h1_p1_mean" in found[names[0]][0]
    for name in names:
        kind, energy = name[3:]
        rows = found[name]
        x, y = ([row[key] for row in rows] for key in ("dofs", "error_h1"))
        mark = {"V": "o", "E": "s"}[kind]
        colour, size = STYLE[energy]  # rings: the lines often coincide
        rate = f": {slope(rows):.2f}" if len(rows) > 1 else ""
        ax.loglog(
            x, y, color=colour, marker=mark, ms=size, mfc="white" if kind == "E" else None,
            lw=1.2, ls="-" if kind == "V" else ":", zorder=3,
            label=f"{space_name(basis, kind)}, {energy}{rate}",
        )  # fmt: skip
        if len(names) == 1:
            rate = f": {slope(rows, 'error_l2'):.2f}" if len(rows) > 1 else ""
            ax.loglog(
                x, [row["error_l2"] for row in rows], color=colour, marker=mark, ms=4, lw=1.0,
                ls="-.", label=f"the same in $L^2${rate}",
            )  # fmt: skip
    rows = found[names[0]]
    if varying:
        for rule, mark, text in (("midpoint", "^", "at midpoints"), ("mean", "v", "averaged")):
            error = f"error_h1_p1_{rule}"
            rate = f": {slope(rows, error, 'dofs_p1'):.2f}" if len(rows) > 1 else ""
            ax.loglog(
                [row["dofs_p1"] for row in rows], [row[error] for row in rows],
                color="#555555", marker=mark, ms=4.5, lw=1.0,
                label=rf"coarse P1, $\kappa$ {text}{rate}",
            )  # fmt: skip
    everything = [row for name in names for row in found[name]]
    guide(ax, everything, ORDER[names[0][2]], 0.45)
    ax.set(title=title, xlabel="scalar dofs", ylabel=r"relative $H^1$ error at $T$")
    ax.grid(which="major", alpha=0.3, lw=0.5)
    ax.legend(frameon=False, title="rate against dofs", fontsize=8, title_fontsize=8,
              loc="upper left", bbox_to_anchor=(1.0, 1.0))  # fmt: skip


def picture(found: Found, names: list[tuple], title: str, path: Path, basis: str) -> None:
    """Draw one scheme and algorithm, a panel for each tau.

    Args:
        found: Rows of each run.
        names: The runs to draw.
        title: Title of the panels.
        path: File of the picture.
        basis: Of ``grps_cases.BASES``.
    """
    taus = [tau for tau in ORDER if any(name[2] == tau for name in names)]
    step = "T" if "error_h1_p1_mean" in found[names[0]][0] else ""
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(4.9 * len(taus), 3.2), layout="constrained")
        for ax, tau in zip(np.atleast_1d(figure.subplots(1, len(taus))), taus, strict=True):
            text = rf"{title}, $\tau = {step}H{'^2' if tau == 'H2' else ''}$"
            panel(ax, found, [name for name in names if name[2] == tau], text, basis)
        figure.savefig(path)
