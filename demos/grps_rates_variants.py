# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the paper's rates (tables 1 to 6, GRPS-V) may have been computed with.

The datum is constant, V contains the constants, and so a run in V is the scheme applied to an ODE
in three components with the same time step: what the text leaves open can be tried in seconds.
"""

from __future__ import annotations

import itertools
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from shared import record, say

DATUM = (1 / np.sqrt(2), 1 / np.sqrt(3), 1 / np.sqrt(6))
ACROSS = np.diag([0.0, 1.0, 1.0])


@dataclass(frozen=True)
class Variant:
    """What a run is; the first is what the text says.

    Attributes:
        name: For the table.
        reference: Time steps of the reference in T = 1: the text says 1/h^2 = 2^14.
        missing: Steps that both runs lack.
        projected: Whether the last iterate of the coarse run is projected.
        sizes: Nc of the fit.
        t_end: T.
    """

    name: str
    reference: int = 128**2
    missing: int = 0
    projected: bool = True
    sizes: tuple[int, ...] = (2, 4, 8, 16)
    t_end: float = 1.0


VARIANTS = (
    Variant("as in the text"),
    Variant("reference with dt = h", reference=128),
    Variant("reference with dt = h/2", reference=256),
    Variant("one step less in both runs", missing=1),
    Variant("one step less, dt = h", reference=128, missing=1),
    Variant("last iterate not projected", projected=False),
    Variant("Nc = 4 to 32", sizes=(4, 8, 16, 32)),
    Variant("T = 2", t_end=2.0),
)


@cache
def end(
    scheme: str, projection: bool, steps: int, t_end: float, missing: int, projected: bool
) -> Any:
    """m after steps - missing steps of the size t_end/steps, h = -(0, m_2, m_3), lambda = 1."""
    m, tau = np.array(DATUM), t_end / steps
    for n in range(steps - missing):
        turn = np.cross(m, ACROSS.T, axisc=0)  # columns m x (S e_k)
        A, b = np.eye(3) / tau + ACROSS - turn, m / tau
        square = m @ ACROSS @ m
        if scheme == "cimrak":
            A -= square * np.eye(3)
        elif scheme == "gao":
            b = b + square * m
        else:
            A -= np.outer(m, ACROSS @ m)
        m = np.linalg.solve(A, b)
        if projection and (projected or n < steps - missing - 1):
            m /= np.linalg.norm(m)
    return m


def rate(scheme: str, projection: bool, variant: Variant, power: int) -> float:
    """The slope of log error against log dofs, 2 Nc^2, for tau = H^power."""
    v = variant
    exact = end(scheme, projection, round(v.reference * v.t_end), v.t_end, v.missing, True)
    errors = [
        np.linalg.norm(
            end(scheme, projection, round(n**power * v.t_end), v.t_end, v.missing, v.projected)
            - exact
        )
        for n in v.sizes
    ]
    if min(errors) <= 1e-12:  # the reference has the same time step
        return float("nan")
    return float(np.polyfit(np.log(2.0 * np.array(v.sizes) ** 2), np.log(errors), 1)[0])


def study(tables: dict[str, Any], variants: Sequence[Variant] = VARIANTS) -> list[dict[str, Any]]:
    """Return the rates of all variants for the V columns of all tables, the nearest one first.

    Args:
        tables: Those of ``grps_paper_tables.json``.
        variants: What is tried.
    """
    rows = []
    for (number, table), variant in itertools.product(tables.items(), variants):
        if variant.projected is False and not table["projection"]:
            continue
        ours = [rate(table["scheme"], table["projection"], variant, power) for power in (1, 2)]
        printed = np.array([values[2:] for values in table["rates"].values()])
        distance = float(np.min(np.max(np.abs(printed - ours), axis=1)))
        rows.append({"table": number, "variant": variant.name, "rates": ours, "distance": distance})
    return sorted(rows, key=lambda row: (row["table"], np.nan_to_num(row["distance"], nan=9.0)))


def report(args: Namespace, tables: dict[str, Any]) -> None:
    """Compute, print and record the study."""
    chosen = {k: v for k, v in tables.items() if args.table in (None, "all", k)}
    rows = study(chosen, VARIANTS[:2] if args.quick else VARIANTS)
    for row in rows:
        first, second = row["rates"]
        printed = "; ".join(
            f"{v[2]:.4f}, {v[3]:.4f}" for v in chosen[row["table"]]["rates"].values()
        )
        say(
            f"table {row['table']}  {row['variant']:28s} tau = H {first:7.4f}, H^2 {second:7.4f}  "
            f"(printed {printed})"
        )
    record("grps_rates", args, rows)
    names = {row["variant"] for row in rows}
    mean = {
        name: float(np.mean([row["distance"] for row in rows if row["variant"] == name]))
        for name in names
    }
    mean = {name: value for name, value in mean.items() if np.isfinite(value)}
    best = min(mean, key=lambda name: mean[name])
    say(
        f"Nothing tried gives all printed numbers. The nearest on average: {best} (off by "
        f"{mean[best]:.3f}), against {mean['as in the text']:.3f} as in the text."
    )
