# SPDX-License-Identifier: LGPL-3.0-or-later
"""Numbers within sentences, each out of the JSON files of demos: the role ``figure``.

    GRPS has the coercive field to {figure}`coercive_grps`.

A figure has a name, the files that it is read from, and what makes a text of their documents.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from layouts import power, span

DATA = Path(__file__).parent / "data"
Row = dict[str, Any]


def percent(*shares: float) -> str:
    """Return shares of 1 in percent, the smallest and the largest of several."""
    texts = [f"{100 * x:.{0 if x >= 0.1 else 1}f}" for x in (min(shares), max(shares))]
    return " to ".join(dict.fromkeys(texts)) + " %"


def powers(values: Iterable[float]) -> str:
    """Return the least to the largest of some small numbers."""
    return " to ".join(dict.fromkeys(map(power, (min(values := list(values)), max(values)))))


def only(rows: list[Row], **wanted: Any) -> Row:
    """Return the one row with these entries."""
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def cost(nc: int, kind: str = "") -> Callable[[Row], tuple[float, float]]:
    """Return what gives a first and a further reduced run over the fine run (``kind``: steps)."""

    def shares(document: Row) -> tuple[float, float]:
        row = only(document["results"], nc=nc)
        run, fine = row[f"ct4{kind}"], row["ct1"]
        return (row["ct2"] + row[f"ct3{kind}"] + run) / fine, run / fine

    return shares


def first_run(nc: int, kind: str = "") -> Callable[[Row], str]:
    """Return what gives the share of a single reduced run, with all that it needs."""
    return lambda document: percent(cost(nc, kind)(document)[0])


def further_run(nc: int) -> Callable[[Row], str]:
    """Return what gives the share of a further run, by both kinds of steps."""
    return lambda document: percent(*(cost(nc, kind)(document)[1] for kind in ("", "_cubature")))


def magnets(key: str, *names: str) -> Callable[..., str]:
    """Return what gives an error in percent of some methods for the nanocomposite."""
    return lambda *documents: percent(
        *(
            abs(row[key]) / 100
            for document in documents
            for row in document["results"]["methods"]
            if row["name"] in names
        )
    )


def numbers(document: Row) -> float:
    """Return how many times the numbers of GRPS the resolved nanocomposite has."""
    rows = document["results"]["methods"]
    return only(rows, name="resolved")["dofs"] / only(rows, name="grps")["dofs"]


def finest(document: Row) -> list[Row]:
    """Return the runs in coarse spaces on the finest coarse mesh of each dimension."""
    runs = document["results"]["runs"]
    last = {row["dim"]: max(r["nc"] for r in runs if r["dim"] == row["dim"]) for row in runs}
    return [row for row in runs if row["nc"] == last[row["dim"]] and "refused" not in row]


def dearer(method: str, other: str) -> Callable[[Row], str]:
    """Return what gives the seconds of the bases of a method over those of another."""

    def said(document: Row) -> str:
        case = ("material", "dim", "ell")
        seconds = {(row["method"], *(row[k] for k in case)): row["seconds_basis"]
                   for row in finest(document)}  # fmt: skip
        return span(
            value / seconds[other, *key]
            for (name, *key), value in seconds.items()
            if name == method and (other, *key) in seconds
        )

    return said


def functions(method: str) -> Callable[[Row], str]:
    """Return what gives the number of functions in 2D."""
    return lambda document: span(
        (r["dofs"] for r in finest(document) if r["dim"] == 2 and r["method"] == method), "d"
    )


def iterations(document: Row) -> str:
    """Return the mean iterations of all solves."""
    found = document["results"]
    return span((row["iterations"] for row in [*found["rows"], *found["rows_3d"]]), ".0f")


def more_on_ranks(document: Row, ranked: Row) -> str:
    """Return how many times the iterations of one rank several take in 2D."""
    pairs = zip(document["results"]["rows"], ranked["results"]["rows"], strict=True)
    return span(two["iterations"] / one["iterations"] for one, two in pairs)


def oommf(cells_nm: float) -> Callable[[Row], str]:
    """Return what gives the distance from OOMMF in field 1."""

    def said(document: Row) -> str:
        row = only(document["results"], field=1, cells_nm=cells_nm)
        return f"{row['from_oommf_max']:.3f}, rms {row['from_oommf_rms']:.3f}"

    return said


def s_state(document: Row) -> str:
    """Return the mean of the S-state at the smallest cells."""
    row = min(document["results"], key=lambda row: row["cells_nm"])
    return "(" + ", ".join(f"{abs(x):.4f}" for x in row["sstate"]) + ")"


#: Figures by name: the data files, and what says it.
FIGURES: dict[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "first_tensors_8": (("grps_cost",), first_run(8)),
    "first_tensors_16": (("grps_cost",), first_run(16)),
    "first_cubature_8": (("grps_cost",), first_run(8, "_cubature")),
    "first_cubature_16": (("grps_cost",), first_run(16, "_cubature")),
    "further_8": (("grps_cost",), further_run(8)),
    "further_16": (("grps_cost",), further_run(16)),
    "error_8": (("grps_cost",), lambda d: power(only(d["results"], nc=8)["error_h1_standard"])),
    "error_16": (("grps_cost",), lambda d: power(only(d["results"], nc=16)["error_h1_standard"])),
    "coercive_grps": (("nanocomposite",), magnets("coercive_error_percent", "grps")),
    "coercive_means": (
        ("nanocomposite", "nanocomposite_24_cells"),
        magnets("coercive_error_percent", "homogenized", "averaged"),
    ),
    "bh_max_means": (
        ("nanocomposite", "nanocomposite_24_cells"),
        magnets("bh_max_error_percent", "homogenized", "averaged"),
    ),
    "numbers_over_grps": (("nanocomposite",), lambda d: f"{numbers(d):.0f}"),
    "share_of_numbers": (("nanocomposite_24_cells",), lambda d: percent(1 / numbers(d))),
    "slod_over_grps": (("which_method_spaces",), dearer("slod", "grps")),
    "slod_over_lod": (("which_method_spaces",), dearer("slod", "lod")),
    "functions_lod": (("which_method_spaces",), functions("lod")),
    "functions_cells": (("which_method_spaces",), functions("slod")),
    "iterations": (("solver_cost",), iterations),
    "iterations_ranks": (("solver_cost", "solver_cost_2_ranks"), more_on_ranks),
    "tangent_auto": (
        ("tangent_plane_solver",),
        lambda d: f"{max(row['iterations'] for row in d['results'] if row['form'] == 'auto')}",
    ),
    "outside_coarse": (
        ("stray_field_coarse",),
        lambda d: powers(row["error_stray_energy"] for row in d["results"]["accuracy"]),
    ),
    "collocation_cube": (("peers",), lambda d: power(d["fredkin_koehler_cube_8_cells"])),
    "collocation_ball": (("peers",), lambda d: power(d["fredkin_koehler_ball_412_nodes"])),
    "collocation_film": (("peers",), lambda d: percent(d["fredkin_koehler_film_100_50_3"])),
    "oommf_5": (("mumag4",), oommf(5.0)),
    "oommf_2_5": (("mumag4",), oommf(2.5)),
    "s_state": (("mumag4",), s_state),
}


def figure(name: str) -> str:
    """Return the text of a figure."""
    files, said = FIGURES[name]
    return said(*(json.loads((DATA / f"{file}.json").read_text()) for file in files))
