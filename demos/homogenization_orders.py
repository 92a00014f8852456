# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Theorem 3.1 of the homogenization paper to any order, and the steps of its proof, measured.

For ``demo_homogenization --order J`` and ``--dim 2``. The resolved and the homogenized equation are
solved by Fourier series, the correctors by ``Expansion``: nothing but eps matters. Smooth data: the
theorem's rates, in powers of eps, are those for r = infinity,

- sigma = 0: 1 - q (3.8), for J <= 2 and q <= 1;
- 0 < sigma <= 1: 1 + sigma/2 - q for J = 1, 2 - (1 - sigma)(J - 1) - sigma/2 - q beyond (3.9);
- 1 < sigma <= 2: 2 + (sigma - 1)(J - 1) - q (3.10),

at t = eps^sigma T, and without -q in the scaled norm H^q_eps.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from shared import say

from dolfinx_llg import literature
from dolfinx_llg.homogenization import (
    Expansion,
    FourierGrid,
    homogenized_run,
    resolved_fourier_run,
)
from dolfinx_llg.homogenization.expansion import SLOW_STEP
from dolfinx_llg.plot import PAPER

Array = npt.NDArray[np.float64]
# In two dimensions the times of sigma < 1.5 would take hours.
SIGMAS = {1: (0.0, 0.5, 1.0, 1.5, 2.0), 2: (1.5, 2.0)}
# Points a period, such that H2 of what J = 2 leaves does not see them; with fewer it does.
FAST = {1: 20, 2: 32}
DAMPING = 0.1


def theorem(sigma: float, order: int, q: int) -> float | None:
    """Return the rate that theorem 3.1 promises in H^q; None where it promises none."""
    if sigma == 0.0:
        return 1.0 - q if order <= 2 and q <= 1 else None
    if order >= 3 and sigma < 1 - 1 / (order - 2):
        return None
    if sigma <= 1.0:
        if order == 1:
            return 1 + sigma / 2 - q
        return 2 - (1 - sigma) * (order - 1) - sigma / 2 - q
    return 2 + (sigma - 1) * (order - 1) - q


def _initial(x: Array) -> Array:
    if len(x) == 2:
        return np.asarray(literature.hmm_ex2_initial(x))
    wave = 0.5 + np.exp(-0.1 * np.cos(2 * np.pi * (x[0] - 0.2)))
    m = np.stack([wave, 0.5 + np.exp(-0.2 * np.cos(2 * np.pi * x[0])), wave])
    return np.asarray(m / np.linalg.norm(m, axis=0))


class Study:
    """One coefficient, EX1 (1D) or EX2 (2D), and the data of figure 4.1 or EX2."""

    def __init__(self, dim: int, order: int, *, fast: int | None = None) -> None:
        self.kappa = literature.hmm_ex1 if dim == 1 else literature.hmm_ex2
        slow = FourierGrid(dim, 32 if dim == 1 else 16)
        cell = FourierGrid(dim, FAST[dim] if fast is None else fast)
        self.expansion = Expansion(self.kappa(1.0), slow, cell, damping=DAMPING, order=order)
        self.step = 2e-3 if dim == 1 else 4e-3

    def homogenized(self, t: float, *, three: bool) -> Array:
        """m_0 at t, or at t and a step before and after."""
        E = self.expansion
        times = [t, t - SLOW_STEP, t + SLOW_STEP] if three else [t]
        runs = homogenized_run(E.slow, E.kappa_hom, _initial(E.slow.points), DAMPING, times)
        return np.array([runs[1], runs[0], runs[2]]) if three else runs[0]

    def correctors(self, t: float, taus: list[float], *, three: bool = False) -> Any:
        """m_0, ..., m_J at t and fast times."""
        three = three or self.expansion.order >= 3
        return self.expansion.correctors(self.homogenized(t, three=three), taus, step=self.step)

    def resolved(self, inverse: int, times: list[float]) -> list[Array]:
        """m^eps at ascending times."""
        grid = self.expansion.grid(inverse)
        start = _initial(grid.points)
        return resolved_fourier_run(grid, self.kappa(1 / inverse), start, DAMPING, times)


def rates(
    dim: int, order: int, inverses: list[int], T: float, *, fast: int | None = None
) -> dict[str, Any]:
    """Errors of m_0, ..., m~_J in L2, H1, H2 and the scaled norms, their rates, the theorem's.

    The ranks share the runs.
    """
    comm = MPI.COMM_WORLD
    study, sigmas = Study(dim, order, fast=fast), SIGMAS[dim]
    local: dict[Any, Any] = {}
    # The longest first, in turn.
    for inverse in sorted(inverses, reverse=True)[comm.rank :: comm.size]:
        eps, grid = 1 / inverse, study.expansion.grid(inverse)
        times = sorted(eps**sigma * T for sigma in sigmas)
        fine = dict(zip(times, study.resolved(inverse, times), strict=True))
        for sigma in sigmas:
            t = eps**sigma * T
            (m,) = study.correctors(t, [t / eps**2])
            for J in range(order + 1):
                error = fine[t] - study.expansion.sum(m, inverse, J)
                norms = grid.norms(error, 2), grid.norms(error, 2, eps)
                local[inverse, sigma, J] = norms
            local[inverse, sigma, "gradient"] = max(
                float(np.abs(grid.derivative(fine[t], k, -1)).max()) for k in range(dim)
            )
    found: dict[Any, Any] = {}
    for part in comm.allgather(local):
        found |= part
    measured: list[float] = []
    promised: list[float | None] = []
    rows = []
    for sigma, J in itertools.product(sigmas, range(order + 1)):
        for scaled, q in itertools.product((False, True), range(3)):
            errors = [found[inverse, sigma, J][scaled][q] for inverse in inverses]
            last = float(np.log(errors[-2] / errors[-1]) / np.log(inverses[-1] / inverses[-2]))
            # Without the division by eps^q the scaled norm keeps the rate of L2.
            bound = theorem(sigma, J, 0 if scaled else q) if J else None
            rows.append({"sigma": sigma, "J": J, "q": q, "scaled": scaled, "errors": errors,
                         "rate": last, "theorem": bound})  # fmt: skip
            if J == order and bound is not None and not scaled:
                measured.append(last)
                promised.append(bound)
    gradients = [found[inverse, sigma, "gradient"] for inverse in inverses for sigma in sigmas]
    return {"rates": measured, "theorem": promised, "rows": rows, "inverse_eps": inverses, "T": T,
            "order": order, "dim": dim, "largest_gradient": max(gradients)}  # fmt: skip


def steps_of_the_proof(inverses: list[int], T: float, *, quick: bool) -> dict[str, Any]:
    """Growth of m_j in tau, the residual (3.12), the length (3.13), stability (3.14), in 1D."""
    taus = [0.05, 0.2] if quick else [0.05, 0.2, 1.0, 4.0, 8.0, 16.0, 32.0]
    grown = Study(1, 3)
    grown.step = 4e-3
    growth = [
        [float(np.sqrt(np.mean(u[1] ** 2) * 3)) for u in m[1:]]
        for m in grown.correctors(T, taus, three=True)
    ]
    proof = Study(1, 2, fast=32)
    table = []
    for sigma in (1.0, 1.5, 2.0):
        for inverse in inverses:
            eps = 1 / inverse
            t = eps**sigma * T
            (m,) = proof.correctors(t, [t / eps**2], three=True)
            E = proof.expansion
            grid = E.grid(inverse)
            value = E.sum(m, inverse, 2)
            square = np.sum(value**2, axis=0)
            length = grid.norms(grid.derivative(square, 0, -1), 1, eps)
            residual = grid.norms(E.residual(m, inverse), 1, eps)
            (fine,) = proof.resolved(inverse, [t])
            error = grid.norms(fine - value, 1)
            bound = [np.sqrt(t) / eps**q * np.hypot(length[q], residual[q]) for q in (0, 1)]
            ratio = [float(e / b) for e, b in zip(error, bound, strict=True)]
            table.append({"sigma": sigma, "inverse_eps": inverse, "residual": residual,
                          "gradient_of_length": length, "stability": ratio})  # fmt: skip
    return {"taus": taus, "growth": growth, "proof": table}


def draw(results: dict[str, Any], file: Path) -> None:
    """Draw the errors of the highest order against eps, with the theorem's slopes dotted."""
    order, inverses = results["order"], np.array(results["inverse_eps"])
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        for axes, q in zip(figure.subplots(1, 3), range(3), strict=True):
            for sigma, colour in zip(SIGMAS[1], ("#7a7a7a", "#e0a030", "#3a7d44", "#0b6e99",
                                                 "#d1495b"), strict=True):  # fmt: skip
                if sigma not in SIGMAS[results["dim"]]:
                    continue
                (row,) = [r for r in results["rows"] if (r["sigma"], r["J"], r["q"], r["scaled"])
                          == (sigma, order, q, False)]  # fmt: skip
                axes.loglog(1 / inverses, row["errors"], "o-", color=colour,
                            label=rf"$\sigma = {sigma:g}$")  # fmt: skip
                if row["theorem"] is not None:
                    line = row["errors"][0] * (inverses[0] / inverses) ** row["theorem"]
                    axes.loglog(1 / inverses, line, ":", color=colour, lw=1.0)
            axes.set(title=rf"$\|m^\varepsilon - \tilde m_{order}\|_{{H^{q}}}$",
                     xlabel=r"$\varepsilon$")  # fmt: skip
            axes.set_xticks(1 / inverses, [f"1/{inverse}" for inverse in inverses])
            axes.set_xticks([], minor=True)
        figure.axes[0].legend(fontsize=7, title="dotted: theorem", title_fontsize=7)
        figure.savefig(file, dpi=200)


def report(results: dict[str, Any]) -> None:
    """Print the tables."""
    order = results["order"]
    say(f"{results['dim']}D, t = eps^sigma {results['T']:g}, 1/eps = {results['inverse_eps']}: "
        f"rates at the smallest eps (theorem 3.1)")  # fmt: skip
    for sigma, J in itertools.product(SIGMAS[results["dim"]], range(order + 1)):
        cells = []
        for row in results["rows"]:
            if (row["sigma"], row["J"]) == (sigma, J):
                name = f"{'eps-' if row['scaled'] else ''}H{row['q']}"
                bound = "" if row["theorem"] is None else f" ({row['theorem']:g})"
                cells.append(f"{name} {row['rate']:5.2f}{bound}")
        say(f"  sigma {sigma:g} J {J}: " + "  ".join(cells))
    say(f"sup |grad m^eps| (A4): {results['largest_gradient']:.3g} for all eps and sigma")
    if "growth" in results:
        say("Growth of |m_1|, |m_2|, |m_3| in tau (theorem 7.2: bounded, bounded, at most tau):")
        for tau, row in zip(results["taus"], results["growth"], strict=True):
            say(f"  tau {tau:5g}: " + "  ".join(f"{value:.3e}" for value in row))
        say("Residual (3.12), gradient of the squared length (3.13), error over the bound (3.14):")
        for row in results["proof"]:
            say(f"  sigma {row['sigma']:g} 1/eps {row['inverse_eps']:3d}: "
                + "  ".join(f"{key} {value[0]:.2e}, {value[1]:.2e}" for key, value in row.items()
                            if isinstance(value, list)))  # fmt: skip


def run(dim: int, order: int, *, folder: Path | None, quick: bool) -> dict[str, Any]:
    """Make the study of one dimension and order.

    Args:
        dim: 1 or 2.
        order: J.
        folder: Of the picture, or None.
        quick: A smoke run.
    """
    if dim == 1:
        inverses, T = ([4, 8], 0.005) if quick else ([4, 8, 16, 32], 0.05)
    else:
        inverses, T = ([2, 4], 0.002) if quick else ([4, 8, 16], 0.01)
    # A smoke run has few points a period: its rates are no rates.
    results = rates(dim, order, inverses, T, fast=8 if quick and dim == 2 else None)
    if dim == 1 and order >= 2:
        results |= steps_of_the_proof(inverses[:3], T, quick=quick)
    report(results)
    if folder is not None and MPI.COMM_WORLD.rank == 0:
        draw(results, folder / f"homogenization_orders_{dim}d.png")
    return results
