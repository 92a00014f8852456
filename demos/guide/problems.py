# SPDX-License-Identifier: LGPL-3.0-or-later
"""How the JSON files of the standard problems and of the nanopillar are laid out as tables."""

from collections.abc import Callable
from typing import Any

from layouts import Layout, Rows


def problem_3(document: dict[str, Any]) -> Rows:
    """MuMAG standard problem 3: the edges of equal energies, over the cells of an edge."""
    results = document["results"]
    header = ["cells an edge", "flower and vortex", "twisted flower and vortex",
              "the flower there is a"]  # fmt: skip
    rows = [
        [
            f"{row['n']}", f"{row['crossing']:.3f} ({100 * row['error']:+.1f} %)",
            f"{row['twisted_crossing']:.3f}", row["flower_is"],
        ]
        for row in results["rows"]
    ]  # fmt: skip
    last = [f"extrapolated, order {results['order']:.2f}", f"{results['extrapolated']:.3f}"]
    return header, [*rows, [*last, f"{results['extrapolated_twisted']:.3f}", ""]]


def problem_4(document: dict[str, Any]) -> Rows:
    """MuMAG standard problem 4: crossings, extremes, cost."""
    found = document["results"]
    header = ["", *[f"field {row['field']}, {row['cells_nm']:g} nm" for row in found]]
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "nodes": lambda r: f"{r['nodes']}",
        "first crossing of m_x [ps]": lambda r: f"{r['crossing_ps']:.2f}",
        "largest mean m_y": lambda r: f"{r['my_max']:.4f}",
        "smallest mean m_y": lambda r: f"{r['my_min']:.4f}",
        "mean at 1 ns": lambda r: "(" + ", ".join(f"{x:.3f}" for x in r["m_1ns"]) + ")",
        "steps per ns": lambda r: f"{r['steps_per_ns']:.0f}",
        "seconds per ns": lambda r: f"{r['seconds_per_ns']:.3g}",
    }
    return header, [[name, *[line(row) for row in found]] for name, line in lines.items()]


def pillar(document: dict[str, Any]) -> Rows:
    """When a nanopillar is switched, and from which current on, beside two macrospins."""
    found = document["results"]
    kinds = {
        "pillar": ("the pillar", None),
        "macrospin": ("a macrospin, torque of the spin accumulation", "drift_diffusion"),
        "slonczewski": ("a macrospin, Slonczewski's torque with P = beta", "slonczewski"),
    }
    header = ["", "crosses the equator at [ns]", "critical current density [A/m2]"]
    rows = []
    for key, (title, critical) in kinds.items():
        density = found[f"critical_current_density_{critical}"] if critical else None
        cells = [title, f"{found[f'switching_time_ns_{key}']:.3f}"]
        rows.append([*cells, "" if density is None else f"{density:.2e}".replace("e+", "e")])
    return header, rows


#: Layouts by the names of data files.
PROBLEMS: dict[str, Layout] = {"mumag3": problem_3, "mumag4": problem_4, "spin_torque": pillar}
