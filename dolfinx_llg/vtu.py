# SPDX-License-Identifier: LGPL-3.0-or-later
"""VTU files of one moment, and the PVD file that lists them over time.

Each moment is a file of its own (one for each rank, and a PVTU file that names them), written whole
before the list is replaced: a run that is killed leaves a list of whole files, and one that goes on
takes the moments up to its own time over. Format: VTK XML, appended raw data.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from dolfinx_llg.files import write_atomically

__all__ = ["Piece", "drop_after", "listed", "write_list", "write_piece", "write_pieces"]

_TYPES = {"float64": "Float64", "float32": "Float32", "int64": "Int64", "uint8": "UInt8"}
_ORDER = "LittleEndian" if sys.byteorder == "little" else "BigEndian"

type Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """The part of a mesh that one rank has, and the fields on it.

    Args:
        x: Points, shape (n, 3).
        cells: Points of each cell in VTK's order, shape (cells, width).
        vtk_type: VTK's number of the type of cell.
        points: Values at the points by name, shape (n,) or (n, 3).
        values: Values in the cells by name, likewise.
    """

    x: Floats
    cells: npt.NDArray[np.int64]
    vtk_type: int
    points: Mapping[str, Floats]
    values: Mapping[str, Floats]


def write_piece(path: Path, piece: Piece) -> None:
    """Write the VTU file of one rank.

    Args:
        path: File ending in ``.vtu``.
        piece: What it holds.
    """
    parts: list[bytes] = []
    offset = 0

    def array(name: str, values: npt.NDArray[Any]) -> str:
        nonlocal offset
        raw = np.ascontiguousarray(values).tobytes()
        parts.append(np.uint64(len(raw)).tobytes() + raw)
        text = _array(name, values, f' format="appended" offset="{offset}"')
        offset += 8 + len(raw)
        return text

    count, width = piece.cells.shape
    lines = [
        f'<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" version="1.0" '
        f'byte_order="{_ORDER}" header_type="UInt64">',
        f'<UnstructuredGrid><Piece NumberOfPoints="{len(piece.x)}" NumberOfCells="{count}">',
        "<Points>" + array("Points", piece.x) + "</Points>",
        "<Cells>",
        array("connectivity", piece.cells.astype(np.int64).ravel()),
        array("offsets", width * np.arange(1, count + 1, dtype=np.int64)),
        array("types", np.full(count, piece.vtk_type, dtype=np.uint8)),
        "</Cells>",
        "<PointData>" + "".join(array(*item) for item in piece.points.items()) + "</PointData>",
        "<CellData>" + "".join(array(*item) for item in piece.values.items()) + "</CellData>",
        '</Piece></UnstructuredGrid><AppendedData encoding="raw">_',
    ]
    content = [
        "\n".join(lines).encode(),
        *parts,
        b"</AppendedData></VTKFile>\n",
    ]
    write_atomically(path, lambda file: file.writelines(content))


def _array(name: str, values: npt.NDArray[Any], more: str = "", tag: str = "DataArray") -> str:
    columns = f' NumberOfComponents="{values.shape[1]}"' if values.ndim == 2 else ""
    kind = _TYPES[str(values.dtype)]
    return f'<{tag} type="{kind}" Name={quoteattr(name)}{columns}{more}/>'


def write_pieces(path: Path, names: list[str], piece: Piece) -> None:
    """Write the PVTU file that names the files of all ranks.

    Args:
        path: File ending in ``.pvtu``.
        names: Files of the ranks, in the same folder.
        piece: That of this rank, for the names and kinds of the fields.
    """
    described = {
        kind: "".join(_array(*item, tag="PDataArray") for item in fields.items())
        for kind, fields in (("PPointData", piece.points), ("PCellData", piece.values))
    }
    lines = [
        '<?xml version="1.0"?>',
        f'<VTKFile type="PUnstructuredGrid" version="1.0" byte_order="{_ORDER}">',
        '<PUnstructuredGrid GhostLevel="0">',
        "<PPoints>" + _array("Points", piece.x, tag="PDataArray") + "</PPoints>",
        *(f"<{kind}>{text}</{kind}>" for kind, text in described.items()),
        *(f"<Piece Source={quoteattr(name)}/>" for name in names),
        "</PUnstructuredGrid></VTKFile>\n",
    ]
    write_atomically(path, lambda file: file.write("\n".join(lines).encode()))


def listed(path: Path) -> list[tuple[float, str]]:
    """Return times and files of a PVD file.

    Args:
        path: The file.

    Raises:
        ValueError: If it is none.
    """
    try:
        sets = list(ET.parse(path).getroot().iter("DataSet"))
        return [(float(entry.attrib["timestep"]), entry.attrib["file"]) for entry in sets]
    except (ET.ParseError, UnicodeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is no PVD file: {error}") from error


def write_list(path: Path, moments: list[tuple[float, str]]) -> None:
    """Write a PVD file.

    Args:
        path: File ending in ``.pvd``.
        moments: Times and files.
    """
    sets = [f'<DataSet timestep="{t!r}" part="0" file={quoteattr(name)}/>' for t, name in moments]
    lines = [
        '<?xml version="1.0"?>',
        f'<VTKFile type="Collection" version="0.1" byte_order="{_ORDER}"><Collection>',
        *sets,
        "</Collection></VTKFile>\n",
    ]
    write_atomically(path, lambda file: file.write("\n".join(lines).encode()))


def drop_after(path: Path, t: float | None) -> list[tuple[float, str]]:
    """Return the moments of a PVD file up to a time; files of later ones are removed.

    Args:
        path: The file; none: there are no moments.
        t: The time; None: a new run, which keeps none.
    """
    if not path.exists():
        return []
    moments = listed(path)
    kept = [] if t is None else [entry for entry in moments if entry[0] <= t]
    write_list(path, kept)
    folder = path.parent.resolve()
    for _, name in moments[len(kept) :]:
        first = (folder / name).resolve()
        if first.parent == folder and first.name.startswith(f"{path.stem}_"):  # one of ours
            for old in folder.glob(f"{first.stem}*.*vtu"):
                old.unlink(missing_ok=True)
    return kept
