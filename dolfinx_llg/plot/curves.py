# SPDX-License-Identifier: LGPL-3.0-or-later
"""Curves over time, and loops, on Matplotlib's axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from matplotlib.axes import Axes

from dolfinx_llg.checks import check_array
from dolfinx_llg.kinds import WrongKindError, checked, describe

__all__ = ["EnergyLabels", "draw_energy", "draw_lines", "draw_loop"]

PALETTE = ("#0b6e99", "#d1495b", "#3a7d44", "#b07aa1", "#e0a030", "#7a7a7a")


class EnergyLabels(TypedDict, total=False):
    """The keywords of ``draw_energy``."""

    time_unit: str
    energy_unit: str
    marks: Sequence[float]


def _columns(rows: Sequence[Mapping[str, Any]], *names: str) -> None:
    """Raise ValueError unless all rows have these columns."""
    for row in rows:
        if missing := [name for name in names if name not in row]:
            raise ValueError(f"a row lacks {missing}, it has {sorted(row)[:8]}")


@checked
def draw_energy(
    ax: Axes,
    rows: Sequence[Mapping[str, float]],
    *,
    time_unit: str = "",
    energy_unit: str = "",
    marks: Sequence[float] = (),
) -> None:
    """Draw the energy and its parts over time.

    Args:
        ax: Axes.
        rows: Rows of ``Observer.observe``.
        time_unit: Shown in the label of the axis.
        energy_unit: Shown in the label of the axis.
        marks: Times to mark on the curve of the total (of the pictures beside).

    Raises:
        ValueError: If there are no rows, or one lacks its time or energy.
    """
    if not rows:
        raise ValueError("there are no rows to plot")
    _columns(rows, "t", "energy")
    t = np.array([row["t"] for row in rows])
    total = np.array([row["energy"] for row in rows])
    ax.plot(t, total, color="#1a1a1a", lw=1.4, label="total")
    parts = [key for key in rows[0] if key.startswith("energy_")]
    if len(parts) > 1:
        for index, key in enumerate(parts):
            label = key.removeprefix("energy_").replace("_", " ")
            colour = PALETTE[index % len(PALETTE)]
            ax.plot(t, [row[key] for row in rows], color=colour, lw=1.1, label=label)
        _legend_above(ax)
    if len(marks):
        ax.plot(marks, np.interp(marks, t, total), "o", ms=4, mfc="white", mec="#1a1a1a", mew=1)
    ax.set_xlabel(f"$t$ ({time_unit})" if time_unit else "$t$")
    ax.set_ylabel(f"energy ({energy_unit})" if energy_unit else "energy")
    ax.margins(x=0.02)
    ax.spines[["top", "right"]].set_visible(False)


@checked
def draw_lines(
    ax: Axes,
    t: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    *,
    time_unit: str = "",
    label: str = "",
) -> None:
    """Draw scalars over time, with a legend.

    Args:
        ax: Axes.
        t: Times.
        lines: Values by the text in the legend.
        time_unit: Shown in the label of the axis.
        label: Label of the vertical axis.

    Raises:
        ValueError: If a line has not one value for each time.
    """
    for index, (name, values) in enumerate(lines.items()):
        check_array(name, values, (len(t),), finite=False)
        ax.plot(t, values, color=PALETTE[index % len(PALETTE)], lw=1.2, label=name)
    ax.set_xlabel(f"$t$ ({time_unit})" if time_unit else "$t$")
    ax.set_ylabel(label)
    ax.margins(x=0.02)
    ax.spines[["top", "right"]].set_visible(False)
    _legend_above(ax)


def _legend_above(ax: Axes) -> None:
    """Put the legend above the axes, off the curves; a title goes above it."""
    names = ax.get_legend_handles_labels()[1]
    columns = 2 if max(map(len, names), default=0) > 12 else 3
    rows = -(-len(names) // columns)
    ax.legend(
        ncols=columns, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2, columnspacing=1.2, handlelength=1.5,
    )  # fmt: skip
    if title := ax.get_title():
        ax.set_title(title, pad=6.0 + 15.0 * rows)


@checked
def draw_loop(
    ax: Axes,
    states: Sequence[Any],
    *,
    marks: Sequence[float] = (),
    unit: str = "",
    label: str = "",
    colour: str = PALETTE[0],
) -> None:
    """Draw a hysteresis loop: the mean of m along the field over its amplitude.

    Args:
        ax: Axes.
        states: States of ``hysteresis``, or rows of its CSV file; several loops: several calls.
        marks: Progress ``t`` of states to mark (of the pictures beside): the nearest of each.
        unit: Unit of the amplitudes, shown in the label of the axis.
        label: Text in the legend.
        colour: Colour of the curve.

    Raises:
        TypeError: If the states are not those of a loop.
        ValueError: If a column is missing.
    """
    for state in states:
        if not isinstance(state, Mapping) and not hasattr(state, "row"):
            raise WrongKindError(
                f"states must be those of hysteresis, or rows of its file, got {describe(state)}"
            )
    rows = [state if isinstance(state, Mapping) else state.row() for state in states]
    _columns(rows, "amplitude", "along", "jumped", "t")
    h, m = (np.array([row[key] for row in rows]) for key in ("amplitude", "along"))
    for index, row in enumerate(rows):
        if index:  # jumps are dotted: no state lies on them
            part = slice(index - 1, index + 1)
            style = ":" if row["jumped"] else "-"
            ax.plot(h[part], m[part], style, color=colour, lw=1.2)
    ax.plot(h, m, ".", ms=3, color=colour, label=label or None)
    t = np.array([row["t"] for row in rows])
    for number, mark in enumerate(marks):
        index = int(np.argmin(np.abs(t - mark)))
        ax.plot(h[index], m[index], "o", ms=5, mfc="white", mec="#1a1a1a", mew=1, zorder=3)
        ax.annotate(
            "abcdefghijkl"[number], (h[index], m[index]), (5, 5), textcoords="offset points"
        )
    ax.axhline(0.0, color="#cccccc", lw=0.6, zorder=0)
    ax.axvline(0.0, color="#cccccc", lw=0.6, zorder=0)
    ax.set_xlabel(f"applied field ({unit})" if unit else "applied field")
    ax.set_ylabel("mean of $m$ along the field")
    ax.spines[["top", "right"]].set_visible(False)
