# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of ``demo_homogenization``."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from dolfinx_llg.plot import PAPER

APPROXIMATIONS = ("m0", "chi", "v")


def draw_waves(folder: Path, shots: dict[int, list[np.ndarray]]) -> None:
    """Draw x-components of m^eps, m_0 and their difference over x and t, figure 4.1."""
    (one, (x, t, fine, hom)), (two, (x2, t2, fine2, hom2)) = shots.items()
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.0, 5.6), layout="constrained")
        top, bottom = figure.subplots(2, 3)
        limits = {"vmin": min(fine.min(), hom.min()), "vmax": max(fine.max(), hom.max())}
        scale = one**2
        panels = [
            (top[0], x, t, fine, rf"(a) $m^\epsilon_1$, $\epsilon = 1/{one}$", limits, "viridis"),
            (top[1], x, t, hom, "(b) $m_{0,1}$", limits, "viridis"),
        ]
        half = t <= t[-1] / 2 * (1 + 1e-12)
        d1, d2 = hom - fine, hom2 - fine2
        quarter, corner = t2 <= t2[-1] / 8 * (1 + 1e-12), x2 <= x2[-1] / 2 * (1 + 1e-12)
        for ax, X, Y, values, title in (
            (top[2], x, t, d1, rf"(c) $(m_0 - m^\epsilon)_1$, $\epsilon = 1/{one}$"),
            (bottom[0], x, t[half], d1[half], "(d) as (c), half the time"),
            (bottom[1], x2, t2[half], d2[half], rf"(e) $\epsilon = 1/{two}$"),
            (bottom[2], x2[corner], t2[quarter], d2[np.ix_(quarter, corner)],
             r"(f) as (e), $x$ halved, $t$ quartered"),
        ):  # fmt: skip
            top_value = float(np.abs(values).max())
            panels.append(
                (ax, X, Y, values, title, {"vmin": -top_value, "vmax": top_value}, "RdBu_r")
            )
        for ax, X, Y, values, title, bounds, colours in panels:
            image = ax.pcolormesh(X, Y * scale, values, shading="gouraud", cmap=colours,
                                  rasterized=True, **bounds)  # fmt: skip
            figure.colorbar(image, ax=ax)
            ax.set(title=title, xlabel="$x$", ylabel=rf"$t\,/\,(1/{one})^2$")
        figure.savefig(folder / "homogenization_waves.png", dpi=200)


def draw_rates(args: Namespace, curves: dict[str, np.ndarray], cases: dict) -> None:
    """Draw the errors against eps beside the bounds of theorem 3.1.

    Args:
        args: Options of the demo.
        curves: Errors by case, shape (eps, approximation, norm).
        cases: Exponent sigma and bounds by case.
    """
    eps = np.array([1.0 / k for k in args.inverse_eps])
    colours = {"m0": "#7a7a7a", "chi": "#d1495b", "v": "#0b6e99"}
    names = {"m0": "$m_0$", "chi": r"$m_0 + \epsilon \nabla m_0 \chi$",
             "v": r"$\tilde m_1 = m_0 + \epsilon (\nabla m_0 \chi + v)$"}  # fmt: skip
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.4, 4.9), layout="constrained")
        axes = figure.subplots(2, 4, sharex=True, sharey="row")
        for column, (case, (sigma, bounds)) in enumerate(cases.items()):
            when = f"$t = {args.t_end:g}$"
            if case != "fixed":
                power = f"^{{{sigma:g}}}" if sigma != 1 else ""
                when = rf"$t = {args.tau:g}\,\epsilon{power}$"
            for row, norm in enumerate(("L^2", "H^1")):
                ax = axes[row, column]
                for i, name in enumerate(APPROXIMATIONS):
                    errors = curves[case][:, i, row]
                    ax.loglog(eps, errors, "os^"[i] + "-", ms=4, lw=1.1, color=colours[name],
                              mfc="white" if name == "chi" else colours[name],
                              label=names[name])  # fmt: skip
                bound = bounds["v"][row]
                guide = 1.6 * curves[case][0, 2, row] * (eps / eps[0]) ** bound
                ax.loglog(eps, guide, "k--", lw=0.9)
                power = {0.0: "1", 1.0: r"$\epsilon$"}.get(bound, rf"$\epsilon^{{{bound:g}}}$")
                ax.text(eps[-1], guide[-1] * 1.15, power, fontsize=8)
                ax.spines[["top", "right"]].set_visible(False)
                ax.set_xticks(eps, [f"1/{k}" for k in args.inverse_eps])
                ax.set_xticks([], minor=True)
                if column == 0:
                    ax.set_ylabel(f"${norm}$ error")
            axes[0, column].set_title(f"({'abcd'[column]}) {when}")
            axes[1, column].set_xlabel(r"$\epsilon$")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        handles.append(mpl.lines.Line2D([], [], color="k", ls="--", lw=0.9))
        labels.append(r"bound of theorem 3.1 for $\tilde m_1$")
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(args.output / "homogenization_rates.png", dpi=200)
