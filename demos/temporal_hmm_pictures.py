# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of ``demo_temporal_hmm``, in the manner of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

#: What the figures show, by the names that the demo gives it.
CURVES = (
    "q_values",
    "tail_eps",
    "tail",
    "ups_eps",
    "upscaling",
    "fixed_eps",
    "fixed",
    "trajectories",
    "T",
    "m0",
    "t_drift",
    "M_drift",
    "M_kept",
    "drift_eps",
    "drifts",
    "other_eps",
    "other",
)


def _subplots(rows: int, columns: int, figsize: tuple[float, float], **options: Any) -> Any:
    figure = Figure(figsize=figsize)
    return figure, figure.subplots(rows, columns, **options)


def draw(folder: Path, **curves: Any) -> None:
    """Draw figures 5.1 to 5.4.

    Args:
        folder: Folder of the pictures.
        curves: What they show, see ``CURVES``.
    """
    style = {
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "lines.markersize": 4,
        "legend.fontsize": 8,
        "axes.titlesize": 9,
        "savefig.dpi": 200,
        "figure.constrained_layout.use": True,
        "mathtext.fontset": "cm",
    }
    with mpl.rc_context(style):
        _figures(folder, **curves)


def _figures(
    folder: Path,
    *,
    q_values: Any,
    tail_eps: Any,
    tail: Any,
    ups_eps: Any,
    upscaling: Any,
    fixed_eps: Any,
    fixed: Any,
    trajectories: Any,
    T: Any,
    m0: Any,
    t_drift: Any,
    M_drift: Any,
    M_kept: Any,
    drift_eps: Any,
    drifts: Any,
    other_eps: Any,
    other: Any,
) -> None:
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(q_values)))

    fig, (left, right) = _subplots(1, 2, figsize=(7.2, 3.0))
    left.loglog(tail_eps, tail[0], "o-", label=r"$m - m_0$")
    left.loglog(tail_eps, tail[1], "s-", label=r"$m - m_0 - \varepsilon m_1$")
    left.loglog(tail_eps, 0.5 * tail_eps, "k--", lw=0.8, label=r"$\varepsilon$")
    left.loglog(tail_eps, 0.2 * tail_eps**2, "k:", lw=0.8, label=r"$\varepsilon^2$")
    left.set(xlabel=r"$\varepsilon$", ylabel="tail error")
    left.legend()
    for q, colour in zip(q_values, colours, strict=True):
        right.loglog(ups_eps, upscaling[q][0], "o-", color=colour, label=f"$q = {q}$")
        right.loglog(ups_eps, upscaling[q][1], ":", color=colour, lw=1.0)
    right.loglog(ups_eps, 0.35 * ups_eps, "k--", lw=0.8, label=r"$\varepsilon$")
    right.set(xlabel=r"$\varepsilon$", ylabel=r"$|F + \bar{\mathcal{H}} M|$", ylim=(1e-9, 1e-1))
    right.set_title(r"$\tau = 5.3\,\varepsilon$, $p = 1$; dotted: $M = e_z$, $t_a = 0$")
    right.legend(ncols=2, loc="lower right")
    fig.savefig(folder / "figure_5_1.png")

    fig, axes = _subplots(1, 2, figsize=(7.2, 3.0), sharey=True)
    for axis, tau in zip(axes, (0.1, 0.2), strict=True):
        for q, colour in zip(q_values, colours, strict=True):
            axis.loglog(fixed_eps[tau, q], fixed[tau, q], "o-", color=colour, label=f"$q = {q}$")
            if q <= 3:
                guide = (fixed_eps[tau, q] / fixed_eps[tau, q][0]) ** (q + 2)
                axis.loglog(fixed_eps[tau, q], 0.5 * fixed[tau, q][0] * guide, "k--", lw=0.6)
        axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axis.set(
            xlabel=r"$\varepsilon$",
            title=rf"$\tau = {tau}$",
            ylim=(1e-8, 1e-1),
            xlim=(tau / 60, tau / 3),
        )
    axes[0].set_ylabel(r"$|F + \bar{\mathcal{H}} M|$")
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(
        handles, labels, loc="outside right center", title="dashed:\n" + r"$\varepsilon^{q+2}$"
    )
    fig.savefig(folder / "figure_5_2.png")

    fig, axes = _subplots(1, 3, figsize=(7.2, 2.7), sharey=True)
    for axis, (label, (t, m, tn, Mn)) in zip(axes, trajectories.items(), strict=True):
        for i, colour in enumerate(("C0", "C1", "C2")):
            axis.plot(t, m[:, i], color=colour, lw=0.7, label=rf"$m^\varepsilon_{'xyz'[i]}$")
            axis.plot(
                np.append(0.0, tn), np.append(m0[i], Mn[:, i]), "o", color=colour, ms=3.5,
                mfc="white", label=f"$M_{'xyz'[i]}$",
            )  # fmt: skip
        axis.set(xlabel="$t$", title=label, xlim=(0, T))
    handles, labels = axes[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=6)
    fig.savefig(folder / "figure_5_3.png")

    fig, (left, right) = _subplots(1, 2, figsize=(7.2, 3.0))
    left.plot(
        np.append(0, t_drift), np.append(1, np.linalg.norm(M_drift, axis=1)), "o-", label="HMM"
    )
    left.plot(
        np.append(0, t_drift),
        np.append(1, np.linalg.norm(M_kept, axis=1)),
        "s--",
        ms=3,
        label="HMM, projected",
    )
    left.set(xlabel="$t_n$", ylabel="$|M_n|$")
    left.ticklabel_format(useOffset=False)
    left.legend()
    right.loglog(drift_eps, drifts, "o-", label="all midpoints in phase 0")
    right.loglog(other_eps, other, "x", color="0.4", label="mixed phases")
    right.loglog(
        drift_eps, 0.6 * drifts[0] * drift_eps / drift_eps[0], "k--", lw=0.8, label=r"$\varepsilon$"
    )
    right.set(xlabel=r"$\varepsilon$", ylabel=r"$\max_n\,|\,|M_n| - 1\,|$")
    right.legend()
    fig.savefig(folder / "figure_5_4.png")
