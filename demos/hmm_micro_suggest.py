# SPDX-License-Identifier: LGPL-3.0-or-later
r"""``demo_hmm_micro --suggest``: boxes that ``MicroBox.suggest`` proposes, and how they do.

For a wanted accuracy: the box and its kernels, the largest error of the averaged flux of linear
data over three places of the coefficient, relative to :math:`A^H`; with ``length`` 1/(2 pi) the
error of the averaged field of EX1's and EX2's macro data. How tight the box is: eta, mu (mu' with
it) and mu' - mu are lowered, each alone, in steps of 5 % until the accuracy is missed; given are
the shares that are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from shared import say

from dolfinx_llg import literature
from dolfinx_llg.hmm import MicroBox, SpectralField
from dolfinx_llg.hmm.space.adjoint import field_functionals, flux_functionals
from dolfinx_llg.hmm.space.box import sample_edges, spectral_bound

EPS, LENGTH = 1 / 400, 1 / (2 * np.pi)
type Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """A coefficient of the HMM paper, its limit, and macro data."""

    name: str
    dim: int
    kappa: Callable[[Array], Array]
    limit: Array
    initial: Callable[[Array], Array]


EXAMPLES = (
    Example("EX1", 1, literature.hmm_ex1(EPS), np.array([[literature.HMM_EX1_KAPPA_HOM]]),
            literature.hmm_ex1_initial),
    Example("EX2", 2, literature.hmm_ex2(EPS), literature.HMM_EX2_KAPPA_HOM,
            literature.hmm_ex2_initial),
    Example("EX3", 2, literature.hmm_ex3(EPS), literature.HMM_EX3_KAPPA_HOM,
            literature.hmm_ex2_initial),
)  # fmt: skip


def _coordinates(box: MicroBox) -> Array:
    axes = np.meshgrid(*[box.nodes] * box.dim, indexing="ij")
    return np.stack([axis.ravel() for axis in axes])


def flux_error(box: MicroBox, example: Example) -> float:
    """The largest error of the averaged flux of linear data, relative to A^H."""
    worst = 0.0
    for shift in (0.0, 0.25, 0.5):
        edges = sample_edges(box, example.kappa, np.full((1, box.dim), 0.5 + shift * box.eps))
        n_steps = box.n_steps(spectral_bound(box, edges))
        found = flux_functionals(box, edges, n_steps)[0] @ _coordinates(box).T
        worst = max(worst, float(np.abs(found - example.limit).max()))
    return worst / float(np.abs(example.limit).max())


def field_error(box: MicroBox, example: Example) -> float:
    """The error of the averaged field of the macro data at 0, tangential and relative."""
    M = example.initial(np.zeros((box.dim, 1)))[:, 0]
    smooth = SpectralField(box.dim, 32, example.limit)
    exact = smooth(np.ascontiguousarray(example.initial(smooth.points.T).T))[0]
    edges = sample_edges(box, example.kappa, np.zeros((1, box.dim)))
    functional = field_functionals(box, edges, box.n_steps(spectral_bound(box, edges)))[0]
    values = functional @ example.initial(_coordinates(box)).T
    found = values.real + np.cross(M, values.imag)
    found, exact = (v - (v @ M) * M for v in (found, exact))
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


ERRORS = {"flux": flux_error, "field": field_error}


def needed(
    box: MicroBox, example: Example, accuracy: float, error: Callable[[MicroBox, Example], float]
) -> dict[str, float]:
    """The least shares of eta, mu and mu' - mu, each alone, with which the box still does."""
    margin = box.mu_outer - box.mu
    changed: dict[str, Callable[[float], dict[str, float]]] = {
        "eta": lambda c: {"eta": c * box.eta},
        "mu": lambda c: {"mu": c * box.mu, "mu_outer": c * box.mu + margin},
        "margin": lambda c: {"mu_outer": box.mu + c * margin},
    }
    found = {}
    for name, sizes in changed.items():
        share = 1.0
        while share > 0.1:
            own = sizes(share - 0.05)
            if own.get("mu", box.mu) < box.eps / 2:
                break
            if error(replace(box, **own), example) > accuracy:
                break
            share = round(share - 0.05, 2)
        found[f"needed_{name}"] = share
    return found


def run_suggest(*, quick: bool) -> list[dict[str, Any]]:
    """Measure the boxes for some accuracies, on every rank alike."""
    rows = []
    say("average example accuracy   mu   mu'   eta  K  q_x q_t  error     needed: eta, mu, mu'-mu")
    cases = [(kind, example) for kind in ("flux", "field") for example in EXAMPLES]
    for kind, example in cases[:1] if quick else cases:
        for accuracy in (1e-1,) if quick else (1e-1, 1e-2, 1e-3):
            length = LENGTH if kind == "field" else None
            box = MicroBox.suggest(example.dim, EPS, example.kappa, accuracy, length=length)
            row: dict[str, Any] = {
                "average": kind,
                "example": example.name,
                "accuracy": accuracy,
                "mu_eps": box.mu / EPS,
                "mu_outer_eps": box.mu_outer / EPS,
                "eta_eps2": box.eta / EPS**2,
                "points_per_eps": box.points_per_eps,
                "q_space": box.numerics.q_space,
                "q_time": box.numerics.q_time,
                "error": ERRORS[kind](box, example),
            }
            row |= needed(box, example, accuracy, ERRORS[kind])
            rows.append(row)
            say(
                f"{kind:7s} {example.name} {accuracy:9g} {row['mu_eps']:5.2f} "
                f"{row['mu_outer_eps']:5.2f} {row['eta_eps2']:5.2f} {box.points_per_eps:3d} "
                f"{row['q_space']:3d} {row['q_time']:3d}  {row['error']:.1e}   "
                + ", ".join(f"{v:g}" for k, v in row.items() if k.startswith("needed"))
            )
    return rows
