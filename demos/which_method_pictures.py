# SPDX-License-Identifier: LGPL-3.0-or-later
"""The methods of ``demo_which_method`` by name, their results, and the picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.ticker import NullFormatter
from pages import page

NAMES = {
    "averaged": "averaged coefficient",
    "homogenized": "homogenized",
    "corrected": "homogenized + corrector",
    "hmm": "HMM (adjoint)",
    "grps": "GRPS-V",
    "grps_reduced": "GRPS-V, reduced",
    "resolved": "resolved mesh",
}
STYLES = {
    "averaged": ("#7a7a7a", "X"),
    "homogenized": ("#0b6e99", "o"),
    "corrected": ("#5bb5d5", "D"),
    "hmm": ("#d1495b", "s"),
    "grps": ("#3a7d44", "^"),
    "grps_reduced": ("#8fbf6a", "v"),
    "resolved": ("#1a1a1a", "*"),
}


@dataclass
class Row:
    """One run: its method and size, seconds spent once and on steps, and errors."""

    method: str
    size: int
    once: float
    steps: float
    l2: float = 0.0
    h1: float = 0.0


def draw(folder: Path, tables: dict[str, list[Row]], titles: dict[str, str]) -> None:
    """Draw errors against seconds, a column for each composite."""
    file = folder / "which_method.png"
    with page(file, (9.4, 8.2), 3, 3, sharex=True, sharey="row") as axes:
        for column, (key, rows) in enumerate(tables.items()):
            panels = (("l2", True), ("l2", False), ("h1", True))
            for ax, (norm, with_once) in zip(axes[:, column], panels, strict=True):
                for method, (colour, mark) in STYLES.items():
                    mine = sorted(
                        (row for row in rows if row.method == method), key=lambda row: row.size
                    )
                    shown = [row for row in mine if row.l2]
                    cost = [row.once * with_once + row.steps for row in shown]
                    errors = [getattr(row, norm) for row in shown]
                    ax.loglog(cost, errors, marker=mark, ms=5, lw=1, color=colour,
                              label=NAMES[method])  # fmt: skip
                reference = next(row for row in rows if not row.l2)
                ax.axvline(reference.steps, color=STYLES["resolved"][0], lw=0.8, ls=":")
                ax.xaxis.set_minor_formatter("")
                ax.yaxis.set_minor_formatter("")
            axes[0, column].set_title(f"({'abc'[column]}) {titles[key]}")
            axes[2, column].set_xlabel("seconds")
        axes[0, 0].set_ylabel(r"$L^2$ error, one run, all of its cost")
        axes[1, 0].set_ylabel(r"$L^2$ error, time steps alone")
        axes[2, 0].set_ylabel(r"$H^1$ error, one run, all of its cost")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        handles.append(mpl.lines.Line2D([], [], color=STYLES["resolved"][0], lw=0.8, ls=":"))
        labels.append("cost of the reference")
        legend = {"loc": "outside lower center", "ncols": 4, "frameon": False}
        axes[0, 0].figure.legend(handles, labels, **legend)


#: Coarse spaces: label, colour and mark.
SPACES = {
    "grps": ("GRPS-V", "#3a7d44", "^"),
    "lod": ("LOD", "#0b6e99", "o"),
    "slod": ("SLOD", "#d1495b", "s"),
}


def draw_spaces(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Draw H1 errors of coarse spaces against their functions, a curve for each ell."""
    done = [row for row in rows if "refused" not in row]
    kinds = list(dict.fromkeys((row["material"], row["dim"]) for row in done))
    file = folder / "which_method_spaces.png"
    with page(file, (2.6 * len(kinds) + 0.6, 3.4), 1, len(kinds), sharey=True) as axes:
        for ax, kind in zip(axes[0], kinds, strict=True):
            mine = [row for row in done if (row["material"], row["dim"]) == kind]
            for method, (label, colour, mark) in SPACES.items():
                for ell in sorted({row["ell"] for row in mine}):
                    here = [row for row in mine if (row["method"], row["ell"]) == (method, ell)]
                    ax.loglog(
                        [row["dofs"] for row in here], [row["error_h1"] for row in here],
                        color=colour, marker=mark, ms=4, lw=1, ls=(":", "--", "-")[min(ell, 3) - 1],
                        label=f"{label}, ell = {ell}",
                    )  # fmt: skip
            ax.set_title(f"{kind[0]}, {kind[1]}D", fontsize="medium")
            ax.set_xlabel("functions")
            ax.xaxis.set_minor_formatter(NullFormatter())
        axes[0, 0].set_ylabel(r"$H^1$ error of m")
        axes[0, 0].set_ylim(top=2.0)  # above, a run has nothing to do with m any more
        handles, labels = axes[0, 0].get_legend_handles_labels()
        legend = {"loc": "outside lower center", "ncols": 3, "frameon": False}
        axes[0, 0].figure.legend(handles, labels, **legend)


#: Ways to take a stray field: label and colour.
FIELD_WAYS = {
    "resolved": ("resolved", "#1a1a1a"),
    "averaged": ("averaged, no D", "#7a7a7a"),
    "homogenized": ("homogenized, with D", "#0b6e99"),
    "grps_fine": ("GRPS-V, field on the fine mesh", "#8fbf6a"),
    "grps_matrix": ("GRPS-V, matrix D_H", "#3a7d44"),
}


def draw_field(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Draw L2 (filled) and H1 errors with a stray field, a panel for each composite."""
    kinds = list(dict.fromkeys(row["composite"] for row in rows))
    file = folder / "which_method_field.png"
    with page(file, (3.4 * len(kinds) + 1.2, 2.4), 1, len(kinds), sharey=True) as axes:
        for ax, kind in zip(axes[0], kinds, strict=True):
            mine = [row for row in rows if row["composite"] == kind and "error_l2" in row]
            for row in mine:
                label, colour = FIELD_WAYS[row["method"]]
                ax.semilogx(row["error_l2"], label, "o", color=colour, ms=6)
                ax.semilogx(row["error_h1"], label, "o", mec=colour, mfc="none", ms=6)
            ax.set_title(kind)
            ax.set_xlabel(r"error of m: $L^2$ (filled), $H^1$")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.margins(y=0.15)
