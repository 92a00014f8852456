# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pictures of ``demo_nodal_integrators``, and figure 5 of the HMM paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from pages import page
from shared import say

from dolfinx_llg import literature
from dolfinx_llg.plot import PAPER
from dolfinx_llg.schemes import stability_limit
from dolfinx_llg.schemes.stability import STAGES, amplification

Array = npt.NDArray[np.float64]
METHODS = ("heun_p", "rk4_p", "mpe", "mpea")
NAMES = {"heun_p": "HeunP", "rk4_p": "RK4P", "mpe": "MPE", "mpea": "MPEA",
         "implicit_midpoint": "IMP"}  # fmt: skip
RELATED = {"heun_p": "Heun", "rk4_p": "RK4", "mpe": "AB2", "mpea": "AB3"}
COLOURS = {"heun_p": "#d1495b", "rk4_p": "#0b6e99", "mpe": "#e0a030", "mpea": "#3a7d44",
           "implicit_midpoint": "#7a7a7a"}  # fmt: skip
MARKS = {"heun_p": "o", "rk4_p": "s", "mpe": "^", "mpea": "v", "implicit_midpoint": "D"}


def draw(
    file: Path,
    alphas: Sequence[float],
    orders: Mapping[tuple[int, str], tuple[Array, Array]],
    dx: Array,
    limits_line: Mapping[str, Sequence[float]],
    unit: float,
    measured: Mapping[str, Sequence[float]],
    no_sharp_limit: Sequence[tuple[str, float]],
) -> None:
    """Draw figures 3, 4, 6 and 7.

    Args:
        file: Picture to write.
        alphas: Dampings.
        orders: Time steps and errors by dimension and method.
        dx: Mesh sizes of EX1.
        limits_line: Largest stable steps of EX1 by method.
        unit: omega_max dx^2 of EX2.
        measured: Largest stable steps of EX2 over dx^2, by method, for each damping.
        no_sharp_limit: Methods and dampings without a sharp limit.
    """
    with page(file, (8.4, 6.6), 2, 2) as ((a, b), (c, d)):
        for (dimension, name), (dts, errors) in orders.items():
            a.loglog(dts, np.maximum(errors, 1e-14), marker=MARKS[name], ms=4, lw=1,
                     color=COLOURS[name], ls="-" if dimension == 1 else ":",
                     label=NAMES[name] if dimension == 1 else None)  # fmt: skip
        a.plot([], [], "k-", lw=1, label="EX1 (1D)")
        a.plot([], [], "k:", lw=1, label="EX2 (2D)")
        a.set(title=r"(a) error at $T$, $\alpha = 0.01$ (figure 3)", xlabel=r"$\Delta t$",
              ylabel=r"$L^2$ error")  # fmt: skip
        a.legend(frameon=False, ncols=2, loc="upper left")
        a.set_ylim(top=a.get_ylim()[1] * 300)
        for name, limits in limits_line.items():
            b.loglog(dx, limits, marker=MARKS[name], ms=4, lw=1, color=COLOURS[name],
                     label=NAMES[name])  # fmt: skip
        guide = np.array([dx.min(), dx.max()])
        b.loglog(guide, 0.04 * guide**2, "k--", lw=0.8, label=r"$\propto \Delta x^2$")
        b.set(title=r"(b) largest stable step, EX1, $\alpha = 0.01$ (figure 4)",
              xlabel=r"$\Delta x$", ylabel=r"$\Delta t$")  # fmt: skip
        b.set_xticks(dx, [f"1/{round(1 / value)}" for value in dx])
        b.set_xticks([], minor=True)
        b.legend(frameon=False)
        curve = np.geomspace(1e-3, 2.0, 60)
        for name in METHODS:
            smooth = np.array([stability_limit(name, value) for value in curve]) / unit
            for ax, line_, marks in (
                (c, smooth, np.array(measured[name])),
                (d, STAGES[name] / smooth, STAGES[name] / np.array(measured[name])),
            ):
                ax.semilogx(curve, line_, lw=1, color=COLOURS[name])
                for alpha, mark in zip(alphas, marks, strict=True):
                    vague = (name, alpha) in no_sharp_limit
                    ax.plot(alpha, mark, MARKS[name], ms=5, color=COLOURS[name],
                            mfc="white" if vague else COLOURS[name])  # fmt: skip
            c.plot([], [], marker=MARKS[name], lw=1, color=COLOURS[name], label=NAMES[name])
        c.plot([], [], "ko", mfc="white", ls="", label="no sharp limit")
        c.set(title="(c) EX2 (figure 6); lines: related methods", xlabel=r"$\alpha$",
              ylabel=r"$C_{\mathrm{stab},\alpha} = \Delta t/\Delta x^2$")  # fmt: skip
        c.legend(frameon=False, ncols=2)
        c.set_ylim(0, 1.35 * c.get_ylim()[1])
        d.set(title="(d) cost (figure 7, right)", xlabel=r"$\alpha$",
              ylabel=r"stages$\,/\,C_{\mathrm{stab},\alpha}$", ylim=(0, 45))  # fmt: skip


def _cross_matrix(a: Array) -> Array:
    """The matrix of v -> a x v at N nodes, (3N, 3N), components first."""
    x, y, z = (np.diag(own) for own in a.T)
    zero = np.zeros_like(x)
    return np.block([[zero, -z, y], [z, zero, -x], [-y, x, zero]])


def jacobian(m: Array, D: Array, alpha: float) -> Array:
    r"""Derivative of :math:`f(m) = -m \times Dm - \alpha m \times (m \times Dm)` (23).

    Args:
        m: Unit vectors, shape (N, 3).
        D: Discrete Laplacian, (N, N).
        alpha: Damping.
    """
    h = D @ m
    M, big = _cross_matrix(m), np.kron(np.eye(3), D)
    torque = M @ big - _cross_matrix(h)  # the derivative of m x Dm
    return -torque - alpha * (M @ torque - _cross_matrix(np.cross(m, h)))


def figure_5(folder: Path | None, *, quick: bool) -> dict[str, Any]:
    """Eigenvalues of the Jacobian at EX1's data, and the regions of the related methods.

    Args:
        folder: Of the picture, or None.
        quick: A smoke run.

    Returns:
        ``errors``: for each damping the eigenvalues times dx^2, and the distance of the farthest
        from the lines s(+-i - alpha) of the theory; ``imaginary``: how far the region of each
        method reaches along the imaginary axis.
    """
    n = 24 if quick else 100
    x = np.arange(n) / n
    m = np.ascontiguousarray(literature.hmm_ex1_initial(x[None]).T)
    D = np.roll(np.eye(n), 1, axis=1) + np.roll(np.eye(n), -1, axis=1) - 2 * np.eye(n)
    rows = []
    for alpha in (0.0, 0.1, 0.5, 1.0):
        values = np.linalg.eigvals(jacobian(m, D, alpha))
        unit = np.array([1j - alpha, -1j - alpha]) / abs(1j - alpha)
        along = np.maximum(np.real(values[:, None] * unit.conj()), 0.0)
        distance = float(np.abs(values[:, None] - along * unit).min(axis=1).max())
        rows.append({"alpha": alpha, "real": values.real.tolist(), "imag": values.imag.tolist(),
                     "off_the_lines": distance})  # fmt: skip
        largest, bound = np.abs(values).max(), 4 * abs(1j - alpha)
        say(
            f"alpha = {alpha:g}: largest |lambda| dx^2 {largest:.4f} (4 sqrt(1 + alpha^2) = "
            f"{bound:.4f}), off the lines by at most {distance:.2g}"
        )
    imaginary = {name: stability_limit(name, 0.0) for name in METHODS}
    for name, reach in imaginary.items():
        say(f"{RELATED[name]:5s} reaches {reach:.3f} along the imaginary axis")
    if folder is not None and MPI.COMM_WORLD.rank == 0:
        with mpl.rc_context(PAPER):
            figure = Figure(figsize=(8.0, 3.6), layout="constrained")
            a, b = figure.subplots(1, 2)
            for row, colour in zip(rows, COLOURS.values(), strict=False):
                a.plot(row["real"], row["imag"], ".", ms=3, color=colour,
                       label=rf"$\alpha = {row['alpha']:g}$")  # fmt: skip
            a.set(title=r"(a) eigenvalues of $\nabla f_\alpha$, times $\Delta x^2$")
            real, imag = np.meshgrid(np.linspace(-3.2, 0.8, 321), np.linspace(-3.2, 3.2, 401))
            for name in METHODS:
                size = amplification(name, real + 1j * imag)
                b.contour(real, imag, size, [1.0], colors=COLOURS[name], linewidths=1.2)
                b.plot([], [], color=COLOURS[name], label=RELATED[name])
            b.set(title="(b) stability regions")
            for axes in (a, b):
                axes.axhline(0, color="0.7", lw=0.5)
                axes.axvline(0, color="0.7", lw=0.5)
                axes.set(xlabel="Re", ylabel="Im")
                axes.legend(frameon=False, loc="upper left", fontsize=8)
            a.legend(frameon=False, loc="center left", fontsize=8)
            figure.savefig(folder / "hmm_figure_5.png", dpi=200)
    return {"errors": rows, "imaginary": imaginary, "n": n}
