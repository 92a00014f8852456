# SPDX-License-Identifier: LGPL-3.0-or-later
"""XDMF lists of moments over HDF5 files that DOLFINx writes.

DOLFINx writes mesh and fields of a session (one run, until it ends) to an HDF5 file of its own; the
XDMF beside it, in which each field is a collection that points at the mesh by XPointer, is what few
programs read. So the list is written here: one grid for each moment with mesh and all fields, over
the HDF5 files of all sessions, whole or not at all. A run that goes on begins a new session and
keeps the moments up to its own time.
"""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from pathlib import Path

from dolfinx_llg.files import write_atomically

__all__ = ["drop_after", "last_moment", "listed", "session", "write_list"]


def _sessions(path: Path) -> list[Path]:
    """The HDF5 files that belong to a list, in their order."""
    return sorted(path.parent.glob(f"{path.stem}_[0-9][0-9][0-9].h5"))


def session(path: Path) -> Path:
    """Return the file that a new session writes, ending in ``.xdmf``.

    Args:
        path: The list.
    """
    numbers = [int(old.stem[-3:]) for old in _sessions(path)]
    return path.with_name(f"{path.stem}_{max(numbers, default=-1) + 1:03d}.xdmf")


def listed(path: Path) -> list[tuple[float, ET.Element]]:
    """Return times and grids of a list.

    Args:
        path: The file.

    Raises:
        ValueError: If it is none.
    """
    try:
        series = ET.parse(path).getroot().find("./Domain/Grid[@Name='moments']")
        if series is None:  # a mesh, say, which nobody wants to lose
            raise ValueError("it has no collection called moments")
        return [(_time(grid), grid) for grid in series]
    except (ET.ParseError, UnicodeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no XDMF list of moments: {error}") from error


def _time(grid: ET.Element) -> float:
    found = grid.find("Time")
    if found is None:
        raise ValueError("a grid has no time")
    return float(found.attrib["Value"])


def last_moment(written: Path) -> ET.Element:
    """Return the last moment of a session as one grid: mesh, time and all fields.

    Args:
        written: What DOLFINx wrote beside the HDF5 file of the session.
    """
    domain = ET.parse(written).getroot().find("Domain")
    assert domain is not None
    grid = ET.Element("Grid", {"Name": "mesh", "GridType": "Uniform"})
    for part in domain.findall("Grid"):
        if part.get("GridType") == "Uniform":  # the mesh, first
            grid.extend(copy.deepcopy(list(part)))
            continue
        moment = part.findall("Grid")[-1]
        if grid.find("Time") is None:
            grid.extend(moment.findall("Time"))
        grid.extend(moment.findall("Attribute"))
    for item in grid.iter("DataItem"):  # DOLFINx leaves out that numbers have eight bytes
        item.attrib = {"NumberType": "Float", "Precision": "8"} | item.attrib
    return grid


def write_list(path: Path, moments: list[tuple[float, ET.Element]]) -> None:
    """Write a list.

    Args:
        path: File ending in ``.xdmf``.
        moments: Times and grids.
    """
    root = ET.Element("Xdmf", {"Version": "3.0"})
    series = ET.SubElement(ET.SubElement(root, "Domain"), "Grid")
    series.attrib = {"Name": "moments", "GridType": "Collection", "CollectionType": "Temporal"}
    series.extend(grid for _, grid in moments)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode", xml_declaration=True)
    write_atomically(path, lambda file: file.write(text.encode()))


def drop_after(path: Path, t: float | None) -> list[tuple[float, ET.Element]]:
    """Return the moments of a list up to a time; data that no moment needs is removed.

    Args:
        path: The file; none: there are no moments.
        t: The time; None: a new run, which keeps none.
    """
    moments = listed(path) if path.exists() else []
    kept = [] if t is None else [entry for entry in moments if entry[0] <= t]
    if path.exists():
        write_list(path, kept)
    dropped = _data([grid for _, grid in moments]) - _data([grid for _, grid in kept])
    for old in dropped & {file.name for file in _sessions(path)}:
        path.with_name(old).unlink(missing_ok=True)
        path.with_name(old).with_suffix(".xdmf").unlink(missing_ok=True)
    return kept


def _data(grids: list[ET.Element]) -> set[str]:
    """Names of the HDF5 files that grids point to."""
    items = [item.text or "" for grid in grids for item in grid.iter("DataItem")]
    return {text.strip().split(":")[0] for text in items}
