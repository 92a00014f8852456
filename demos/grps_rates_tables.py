# SPDX-License-Identifier: LGPL-3.0-or-later
"""What ``demo_grps_rates`` prints: errors of a run, rates of a table, the cost of a step."""

from __future__ import annotations

from shared import say


def space_name(basis: str, kind: str) -> str:
    """Return the name of a coarse space in texts and pictures."""
    return f"GRPS-{kind}" if basis == "grps" else basis.upper()


def say_errors(rows: list[dict]) -> None:
    """Print the errors and the cost of a run for each Nc, and the errors of its rivals."""
    say("\n  Nc   dofs   H1 error   L2 error   || 1-|m|^2 ||   steps  its/step  seconds")
    for row in rows:
        say(
            f"{row['nc']:4d} {row['dofs']:6d}   {row['error_h1']:.2e}   {row['error_l2']:.2e}   "
            f"{row['length_defect']:13.2e}   {row['steps']:5d}  {row['iterations_mean']:8.1f}  "
            f"{row['seconds']:7.2f}"
        )
    if "error_h1_p1_mean" in rows[0]:  # kappa acts
        say(
            "  Nc   dofs   H1 error of coarse P1, kappa at midpoints / averaged   ours is better by"
        )
        for row in rows:
            pair = (row["error_h1_p1_midpoint"], row["error_h1_p1_mean"])
            gain = min(pair) / row["error_h1"]
            say(
                f"{row['nc']:4d} {row['dofs_p1']:6d}   {pair[0]:.2e} / {pair[1]:.2e}"
                f"{'':35s}{gain:9.1f}"
            )


def say_rates(
    title: str, names: list[tuple], rates: dict[tuple, float], paper: dict[tuple, float | None]
) -> None:
    """Print the rates of the runs of a table beside the paper's.

    Args:
        title: Its number and the datum.
        names: The runs: scheme, projection, tau, functionals, energy.
        rates: Ours.
        paper: The paper's.
    """
    scheme, projection = names[0][:2]
    columns = list(dict.fromkeys((name[3], name[2]) for name in names))
    kind = f"{scheme}, algorithm {2 if projection else 1}"
    say(f"\n{title}{kind}: our rate (the paper's, constant datum)")
    say("         " + "".join(f"   GRPS-{k}, tau = {tau:2s}" for k, tau in columns))
    for energy in dict.fromkeys(name[4] for name in names):
        cells = []
        for k, tau in columns:
            name = (scheme, projection, tau, k, energy)
            ours = f"{rates[name]:8.3f}" if name in rates else f"{'-':>8s}"
            cells.append(f"{ours} ({paper[name]:6.3f})" if paper.get(name) is not None else ours)
        say(f"{energy:9s}" + "  ".join(cells))


def say_cost(row: dict) -> None:
    """Print what a step of a run costs, by part."""
    count = row["steps"]
    say(
        f"\nA step at Nc = {row['nc']}, {row['dofs']} scalar dofs: assembly on the fine mesh "
        f"{row['seconds_assembly'] / count:.4f} s, P and P^T "
        f"{row['seconds_projection'] / count:.4f} s, the rest of the solve "
        f"{row['seconds_solve'] / count:.4f} s ({row['iterations_mean']:.1f} iterations).\n"
        f"Once: basis {row['seconds_basis']:.2f} s (or its file), preconditioner and compilation "
        f"{row['seconds_setup']:.2f} s"
    )
