# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of ``demo_hmm_micro``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from dolfinx_llg.plot import PAPER

#: What the figures show, by the names that the demo gives it.
CURVES = (
    "value",
    "cases_2",
    "cases_3",
    "mus",
    "outer",
    "etas",
    "pairs",
    "curves",
    "inverses",
    "LEVELS",
    "alphas",
    "needed",
    "overall",
    "SETUPS",
)


def _subplots(rows: int, columns: int, figsize: tuple[float, float], **options: Any) -> Any:
    figure = Figure(figsize=figsize, **options)
    return figure, figure.subplots(rows, columns)


def draw(
    folder: Path,
    macro: list[int],
    *,
    value: Any,
    cases_2: Any,
    cases_3: Any,
    mus: Any,
    outer: Any,
    etas: Any,
    pairs: Any,
    curves: Any,
    inverses: Any,
    LEVELS: Any,
    alphas: Any,
    needed: Any,
    overall: Any,
    SETUPS: Any,
) -> None:
    """Draw figures 11 to 16.

    Args:
        folder: Folder of the pictures.
        macro: Macro cells per side in figures 15 and 16.
        value: Averaging error of a key and a case.
        cases_2: As in the demo.
        cases_3: As in the demo.
        mus: As in the demo.
        outer: As in the demo.
        etas: As in the demo.
        pairs: As in the demo.
        curves: As in the demo.
        inverses: As in the demo.
        LEVELS: As in the demo.
        alphas: As in the demo.
        needed: As in the demo.
        overall: As in the demo.
        SETUPS: As in the demo.
    """
    colours = ("#0b6e99", "#d1495b", "#3a7d44", "#b07aa1", "#e0a030", "#7a7a7a", "#1a1a1a")
    styles = {1.0: "o-", 0.1: "s--", 0.01: "^:"}

    def label(case: tuple[float, float], with_alpha: bool) -> str:
        tail = rf", $\alpha = {case[1]:g}$" if with_alpha else ""
        return rf"$\eta = {case[0]:g}\,\varepsilon^2${tail}"

    def by_size(ax, kind: str, name: str, sizes: list[float], cases: list) -> None:
        for k, case in enumerate(cases):
            row = [value((kind, name, size), case) for size in sizes]
            ax.semilogy(
                sizes,
                row,
                styles[case[1]],
                ms=3,
                lw=1,
                color=colours[k % 7],
                label=label(case, name == "EX2"),
            )
        ax.set(xlabel=r"$\mu/\varepsilon$" if kind == "mu" else r"$\mu'/\varepsilon$")

    def by_eta(ax, name: str) -> None:
        key = ("eta", name, 400)
        for alpha in sorted({a for _, a in pairs[key]}, reverse=True):
            row = [value(key, (float(eta), alpha)) for eta in etas]
            ax.semilogy(etas, row, styles[alpha], ms=3, lw=1, label=rf"$\alpha = {alpha:g}$")
        if name == "EX2":
            for inverse, colour in zip(inverses[-2:], ("#7a7a7a", "#1a1a1a"), strict=True):
                ax.semilogy(
                    etas,
                    curves["eps", "EX2", inverse],
                    "x-",
                    ms=3,
                    lw=0.8,
                    color=colour,
                    label=rf"$\alpha = 1$, wide $\mu$, $\varepsilon = 1/{inverse}$",
                )
        ax.set(xlabel=r"$\eta/\varepsilon^2$")

    def by_alpha(ax, name: str) -> None:
        for level, mark in zip(LEVELS, "os^", strict=True):
            ax.semilogx(
                alphas,
                needed[name, level],
                f"{mark}-",
                ms=3,
                lw=1,
                label=rf"$E_{{avg}} \leq 10^{{{math.log10(level):.0f}}}$",
            )
        ax.set(xlabel=r"$\alpha$", ylabel=r"$\eta/\varepsilon^2$ needed")

    def finish(figure, axes, name: str, *, common: bool = False) -> None:
        for ax in np.ravel(axes):
            ax.grid(alpha=0.3, lw=0.5)
            ax.spines[["top", "right"]].set_visible(False)
            if not common:
                ax.legend(frameon=False, fontsize=7)
            if not ax.get_ylabel():
                ax.set_ylabel("$E_{avg}$")
        if common:
            figure.legend(
                *axes[0].get_legend_handles_labels(),
                loc="outside lower center",
                ncols=4,
                frameon=False,
                fontsize=8,
            )
        figure.savefig(folder / f"{name}.png")

    with mpl.rc_context(PAPER):
        figure, axes = _subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
        by_size(axes[0], "mu", "EX2", mus, cases_2)
        by_size(axes[1], "outer", "EX2", outer, cases_2)
        finish(figure, axes, "figures_11_12", common=True)
        figure, axes = _subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
        by_eta(axes[0], "EX2")
        by_alpha(axes[1], "EX2")
        finish(figure, axes, "figure_13")
        figure, axes = _subplots(2, 2, figsize=(7.2, 5.6), layout="constrained")
        by_size(axes[0, 0], "mu", "EX3", mus, cases_3)
        by_size(axes[0, 1], "outer", "EX3", outer, cases_3)
        by_eta(axes[1, 0], "EX3")
        by_alpha(axes[1, 1], "EX3")
        finish(figure, axes, "figure_14")
        if overall:
            figure, axes = _subplots(1, 2, figsize=(7.2, 3.4), layout="constrained")
            steps = 1 / np.array(macro)
            for column, (ax, norm) in enumerate(zip(axes, ("$L^2$", "$H^1$"), strict=True)):
                for k, (setup, rows) in enumerate(overall.items()):
                    text = "averaged coefficient"
                    if setup != "averaged":
                        text = rf"({setup}) $\eta = {SETUPS[setup][0]}\,\varepsilon^2$"
                    ax.loglog(
                        steps, rows[:, column], "o-", ms=3, lw=1, color=colours[k], label=text
                    )
                last = list(overall)[-2]
                ax.loglog(
                    steps,
                    overall[last][0, column] * (steps / steps[0]) ** 4,
                    "k:",
                    lw=0.8,
                    label=r"$\Delta X^4$",
                )
                ax.set(xlabel=r"$\Delta X$", ylabel=f"{norm} error")
                ax.set_xticks(steps, [f"1/{n}" for n in macro], minor=False)
                ax.set_xticks([], minor=True)
            finish(figure, axes, "figures_15_16", common=True)
