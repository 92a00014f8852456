# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Spin waves of a chain in a fast field: their dispersion from the macro model.

With :math:`h_i = J (m_{i-1} + m_{i+1}) + H(t/\varepsilon)\, e_z`, undamped, the spiral on a cone

.. math:: m_i = (a \cos\varphi_i, a \sin\varphi_i, \sqrt{1 - a^2}), \quad
          \varphi_i = k x_i + \beta \int_0^t H + 2 J \beta \sqrt{1-a^2}\, (1 - \cos k\,\delta x)\, t

is an exact solution: its frequency, averaged over the fast period, is
:math:`\omega = \beta(\bar H + 2 J \sqrt{1-a^2}\,(1 - \cos k\,\delta x))`. The macro model knows the
wave at L points by its quadratic interpolant, whose second difference is
:math:`(\delta x/\Delta X)^2 (1 - \cos k\,\Delta X)`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from shared import comm, record

import dolfinx_llg as llg
from dolfinx_llg.hmm import ChainModel, SpinChain, Window, resolved
from dolfinx_llg.output import on_root

N, L, R = 100, 10, 5
EPS, AMPLITUDE, MEAN = 0.0025, 0.3, 1.5
STEPS_PER_PERIOD = 16


def field(t: float, z: float, x: Any) -> list[float]:
    """The fast field, of the mean ``MEAN``."""
    return [0.0, 0.0, 1.0 + np.cos(2 * np.pi * z) ** 2]


def spiral(n: int) -> Any:
    """The wave with n turns along the chain, at the time 0."""
    phase = 2 * np.pi * n * np.arange(N) / N
    z = np.full(N, np.sqrt(1.0 - AMPLITUDE**2))
    return np.stack((AMPLITUDE * np.cos(phase), AMPLITUDE * np.sin(phase), z), axis=1)


def frequency(states: Any, times: Any, n: int) -> float:
    """The slope of the phase of the mode with n turns, by least squares."""
    points = states.shape[1]
    mode = np.exp(-2j * np.pi * n * np.arange(points) / points)
    phase = np.unwrap(np.angle((states[..., 0] + 1j * states[..., 1]) @ mode))
    return float(np.polyfit(times, phase, 1)[0])


def study(args: argparse.Namespace) -> None:
    """Measure the dispersion, write JSON and picture, and say what was found."""
    J = args.exchange
    n_steps, dt = (10, 0.05) if args.quick else (20, 0.0375)
    turns = (0, 2) if args.quick else (0, 1, 2, 3)
    times = dt * np.arange(n_steps + 1)
    along = np.sqrt(1.0 - AMPLITUDE**2)
    rows: dict[str, list[float]] = {
        name: [] for name in ("closed_form", "macro_stencil", "hmm", "resolved")
    }
    per_dt = round(dt / EPS) * STEPS_PER_PERIOD
    evaluations = [0, 0]
    for n in turns:
        spins = SpinChain(field, N, exchange=J, eps=EPS)
        _, states = resolved(
            spins, spiral(n), dt=dt / per_dt, n_steps=n_steps * per_dt, damping=0.0, every=per_dt
        )
        evaluations[0] += spins.evaluations
        rows["resolved"].append(frequency(states, times, n))
        window = Window(
            eps=EPS, tau=5 * EPS, p=5, q=4, integrator="rk4", steps_per_period=STEPS_PER_PERIOD
        )
        model = ChainModel(comm, SpinChain(field, N, exchange=J, eps=EPS), window, n_macro=L, r=R)
        start = model.average(spiral(n))
        step = llg.hmm.upscaled(model, start, dt=dt, damping=0.0, method="rk4")
        found = [start.copy()]
        found += [s.m.copy() for s in llg.march(step, t_end=times[-1], progress=False)]
        evaluations[1] += model.evaluations
        rows["hmm"].append(frequency(np.array(found), times, n))
        k = 2 * np.pi * n
        rows["closed_form"].append(MEAN + 2 * J * along * (1 - np.cos(k / N)))
        rows["macro_stencil"].append(MEAN + 2 * J * along * (L / N) ** 2 * (1 - np.cos(k / L)))
    results: dict[str, Any] = {"turns": list(turns), **{f"omega_{k}": v for k, v in rows.items()}}
    pairs = {"resolved": "closed_form", "hmm": "macro_stencil"}
    for name, exact in pairs.items():
        results[f"error_{name}_to_{exact}"] = float(
            np.max(np.abs(np.array(rows[name]) - rows[exact]) / np.array(rows[exact]))
        )
    results["error_hmm_to_closed_form"] = float(
        np.max(np.abs(np.array(rows["hmm"]) / np.array(rows["closed_form"]) - 1.0))
    )
    results["cost_ratio"] = evaluations[0] / evaluations[1]
    record("spin_chain", args, results)
    if args.output:
        on_root(comm, lambda: _draw(Path(args.output), J, along, turns, rows))
    if comm.rank == 0:
        for i, n in enumerate(turns):
            shown = ", ".join(f"{name} {values[i]:.4f}" for name, values in rows.items())
            print(f"{n} turns: omega = {shown}")
        print(
            "Spin waves in a fast field: the resolved chain has the closed form to "
            f"{results['error_resolved_to_closed_form']:.1e}, the macro model that of its own "
            f"stencil to {results['error_hmm_to_macro_stencil']:.1e} and the chain's to "
            f"{results['error_hmm_to_closed_form']:.1e}, which is what {L} points resolve.\n"
            f"Evaluations of the field, direct to HMM: {results['cost_ratio']:.2f}."
        )


def _draw(
    folder: Path, J: float, along: float, turns: tuple[int, ...], rows: dict[str, list[float]]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plt.rcParams.update({"font.size": 9, "mathtext.fontset": "cm", "savefig.dpi": 200})
    fig, axis = plt.subplots(figsize=(4.6, 3.4), layout="constrained")
    n = np.linspace(0.0, L / 2, 101)
    k = 2 * np.pi * n
    axis.plot(n, MEAN + 2 * J * along * (1 - np.cos(k / N)), "-", color="0.5", label="closed form")
    stencil = MEAN + 2 * J * along * (L / N) ** 2 * (1 - np.cos(k / L))
    axis.plot(n, stencil, "--", color="C3", label=f"stencil of {L} macro points")
    axis.plot(turns, rows["resolved"], "+", color="C0", ms=8, label=f"{N} spins, resolved")
    axis.plot(turns, rows["hmm"], "o", color="C3", mfc="white", ms=5, label="HMM")
    axis.set(xlabel=r"turns $k/2\pi$", ylabel=r"$\omega$")
    axis.legend(frameon=False)
    fig.savefig(folder / "spin_waves.png")
    plt.close(fig)
