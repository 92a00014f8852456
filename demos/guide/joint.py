# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tables of several data files at once; ``layouts`` has those of one."""

from typing import Any

from layouts import Layout, Rows, power


def cubes(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of cubes in a record of the stray field."""
    return [row for row in document["results"] if row["body"] == "cube"]


def peers(documents: dict[str, Any]) -> Rows:
    """Figures of the demos beside those of other codes (the table of the README)."""
    others = documents["peers"]
    case = {row["cells_nm"]: row for row in documents["mumag4"]["results"] if row["field"] == 1}
    (small,) = cubes(documents["stray_field_8_cells"])
    large = cubes(documents["stray_field"])[-1]
    side = round(small["nodes"] ** (1 / 3)) - 1
    seconds = others["mumag4_seconds_per_ns"]
    dense = 8e-9 * large["boundary_nodes"] ** 2
    rows = [
        ["muMAG 4, field 1, 2.5 nm: first crossing [ps]", f"{case[2.5]['crossing_ps']:.1f}",
         "{} to {} (published)".format(*others["mumag4_crossing_ps"])],
        ["... at 5 nm: seconds per ns, one core", f"{case[5.0]['seconds_per_ns']:.1f}",
         ", ".join(f"{value:g} ({name})" for name, value in seconds.items())],
        [f"stray-field energy of a cube, {side} cells a side: error",
         power(abs(small["energy_error"])),
         f"{power(others['fredkin_koehler_cube_8_cells'])} (Fredkin-Koehler)"],
        [f"boundary operator, {large['boundary_nodes']} nodes [GB]",
         f"{large['memory_mb'] / 1e3:.2f}", f"{dense:.1f} (dense)"],
    ]  # fmt: skip
    return ["", "here", "others"], rows


#: Layouts of several data files, by name: the files, and what lays them out.
JOINT: dict[str, tuple[tuple[str, ...], Layout]] = {
    "peers": (("peers", "mumag4", "stray_field", "stray_field_8_cells"), peers),
}
