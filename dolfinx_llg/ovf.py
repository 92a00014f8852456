# SPDX-License-Identifier: LGPL-3.0-or-later
"""OVF files, the vector fields on rectangular grids of OOMMF, mumax3 and ubermag: out and in.

OOMMF User's Guide 2.1, NIST, section "Vector field file formats (OVF)".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem, geometry

from dolfinx_llg.checks import check_array, check_number
from dolfinx_llg.collective import from_root, on_root
from dolfinx_llg.files import write_atomically
from dolfinx_llg.kinds import checked
from dolfinx_llg.output import output_folder
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.typing import Array

__all__ = ["GridField", "read_ovf", "sample_grid", "write_ovf"]

#: Control values that begin binary data, by their bytes.
_CONTROL = {4: 1234567.0, 8: 123456789012345.0}


@dataclass(frozen=True)
class GridField:
    """A vector field on a rectangular grid; a callable of points, for ``magnetization``.

    Args:
        values: At the centres of the cells, shape (n_x, n_y, n_z, 3); zero outside the magnet.
        low: Lower corner of the grid, 3 numbers.
        step: Sides of a cell, 3 numbers.
    """

    values: Array
    low: Array
    step: Array

    def __call__(self, x: Array) -> Array:
        """Return the field at points of shape (3, n), shape (3, n).

        Trilinear between the centres that are in the magnet (their weights add up to 1), constant
        beyond the last of them; zero where no corner is.
        """
        shape = np.array(self.values.shape[:3])
        place = (x.T - self.low) / self.step - 0.5
        place = np.clip(place, 0.0, shape - 1.0)
        base = np.minimum(np.floor(place).astype(np.int64), np.maximum(shape - 2, 0))
        part = place - base
        inside = np.any(self.values != 0.0, axis=-1)
        found, weights = np.zeros((len(place), 3)), np.zeros(len(place))
        for corner in np.ndindex(2, 2, 2):
            step = np.array(corner)
            index = tuple(np.minimum(base + step, shape - 1).T)
            weight = np.prod(np.where(step, part, 1.0 - part), axis=1) * inside[index]
            found += weight[:, None] * self.values[index]
            weights += weight
        return np.asarray((found / np.where(weights > 0.0, weights, 1.0)[:, None]).T)


@checked
def sample_grid(m: fem.Function, cell: float | Sequence[float]) -> GridField | None:
    """Return m at the centres of a rectangular grid over the body, on rank 0; None elsewhere.

    Args:
        m: Magnetization, P1.
        cell: Side of the grid's cells in mesh units, or three; the sides are rounded so that whole
            cells fill the box around the body. A direction that the mesh lacks has one cell.

    Returns:
        Unit vectors, zero at centres outside the mesh.

    Raises:
        ValueError: If a side is not positive.

    Note: Collective.
    """
    check_magnetization(m)
    mesh = m.function_space.mesh
    comm, gdim, tdim = mesh.comm, mesh.geometry.dim, mesh.topology.dim
    sides = check_array("cell", np.broadcast_to(np.asarray(cell, dtype=float), (3,)), (3,))
    for side in sides:
        check_number("cell", side, positive=True)
    x = mesh.geometry.x
    met = comm.allgather((x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)))
    low = np.min([a for a, _ in met], axis=0)
    extent = np.max([b for _, b in met], axis=0) - low
    lacking = np.arange(3) >= gdim
    low, extent = np.where(lacking, -0.5 * sides, low), np.where(lacking, sides, extent)
    shape = np.maximum(1, np.round(extent / sides)).astype(np.int64)
    step = extent / shape
    # Centres in the box around this rank's part alone.
    own = np.where(lacking, 0.0, x.min(axis=0, initial=np.inf)), x.max(axis=0, initial=-np.inf)
    first, last = ((corner - low) / step - 0.5 for corner in own)
    first = np.clip(np.floor(np.nan_to_num(first, posinf=0, neginf=0)), 0, shape - 1)
    last = np.clip(np.ceil(np.nan_to_num(last, posinf=-1, neginf=-1)), -1, shape - 1)
    ranges = [np.arange(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]
    index = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.where(lacking, 0.0, low + (index + 0.5) * step)
    owned = np.arange(mesh.topology.index_map(tdim).size_local, dtype=np.int32)
    values, here = np.zeros((0, 3)), np.zeros(0, dtype=bool)
    if len(owned) and len(points):
        tree = geometry.bb_tree(mesh, tdim, entities=owned)
        candidates = geometry.compute_collisions_points(tree, points)
        cells = geometry.compute_colliding_cells(mesh, candidates, points)
        here = np.diff(cells.offsets) > 0
        if here.any():
            values = m.eval(points[here], cells.array[cells.offsets[:-1][here]]).reshape(-1, 3)
        index = index[here]
    else:
        index = index[:0]
    parts = comm.gather((index, values), root=0)
    if parts is None:
        return None
    field = np.zeros((*shape, 3))
    for where, found in parts:  # on faces between ranks all of them have the same value
        field[tuple(where.T)] = found
    length = np.linalg.norm(field, axis=-1, keepdims=True)
    return GridField(field / np.where(length > 0.0, length, 1.0), low, step)


@checked
def write_ovf(
    path: str | os.PathLike[str],
    m: fem.Function,
    *,
    cell: float | Sequence[float],
    length: float = 1e-9,
    data: Literal["binary4", "binary8", "text"] = "binary4",
    title: str = "m",
) -> None:
    """Write m, sampled at the centres of a rectangular grid, as OVF 2.0.

    Args:
        path: File (``.ovf`` or ``.omf``); its folder is made.
        m: Magnetization, P1.
        cell: Sides of the grid's cells in mesh units, see ``sample_grid``.
        length: Length of one mesh unit [m] (``Units.length``).
        data: Binary numbers of 4 or 8 bytes, or text.
        title: Title in the header, of one line.

    Raises:
        OSError: If the file cannot be written, on all ranks alike.
        ValueError: If a side or the length is not positive, or the title has several lines.

    Note: Collective; rank 0 writes.
    """
    check_number("length", length, positive=True)
    if len(title.splitlines()) > 1:
        raise ValueError(f"title must be of one line, got {title!r}")
    comm, target = m.function_space.mesh.comm, Path(path)
    output_folder(target.parent, comm)
    grid = sample_grid(m, cell)

    def write() -> None:
        assert grid is not None
        content = _encoded(grid, length, data, title)
        write_atomically(target, lambda file: file.write(content))

    on_root(comm, write)


def _encoded(grid: GridField, length: float, data: str, title: str) -> bytes:
    """Bytes of a file; x varies fastest."""
    shape = grid.values.shape[:3]
    low, step = grid.low * length, grid.step * length
    header: dict[str, Any] = {
        "Title": title,
        "meshtype": "rectangular",
        "meshunit": "m",
        **{f"{a}min": low[i] for i, a in enumerate("xyz")},
        **{f"{a}max": low[i] + shape[i] * step[i] for i, a in enumerate("xyz")},
        "valuedim": 3,
        "valuelabels": "m_x m_y m_z",
        "valueunits": "1 1 1",
        **{f"{a}base": low[i] + 0.5 * step[i] for i, a in enumerate("xyz")},
        **{f"{a}nodes": shape[i] for i, a in enumerate("xyz")},
        **{f"{a}stepsize": step[i] for i, a in enumerate("xyz")},
    }
    kind = {"binary4": "Binary 4", "binary8": "Binary 8", "text": "Text"}[data]
    table = grid.values.transpose(2, 1, 0, 3).reshape(-1, 3)
    if data == "text":
        body = "".join(f"{a!r} {b!r} {c!r}\n" for a, b, c in table.tolist()).encode()
    else:
        size = int(data[-1])
        kinds = np.dtype(f"<f{size}")
        body = np.array([_CONTROL[size]], kinds).tobytes() + table.astype(kinds).tobytes() + b"\n"
    lines = ["# OOMMF OVF 2.0", "# Segment count: 1", "# Begin: Segment", "# Begin: Header"]
    lines += [
        f"# {key}: {float(v)!r}" if isinstance(v, float) else f"# {key}: {v}"
        for key, v in header.items()
    ]
    lines += ["# End: Header", f"# Begin: Data {kind}", ""]
    end = f"# End: Data {kind}\n# End: Segment\n"
    return "\n".join(lines).encode() + body + end.encode()


@checked
def read_ovf(path: str | os.PathLike[str], comm: MPI.Comm, *, length: float = 1e-9) -> GridField:
    """Read an OVF file (1.0 or 2.0; binary of 4 or 8 bytes, or text) of a rectangular grid.

    ::

        m = llg.magnetization(mesh, llg.read_ovf("m.ovf", mesh.comm, length=units.length))

    Args:
        path: The file.
        comm: Ranks that get the field.
        length: Length of one mesh unit [m], in which the coordinates are given back.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no OVF file, truncated, of another mesh type, or not of 3 components.
            On all ranks alike.

    Note: Collective.
    """
    check_number("length", length, positive=True)
    source = Path(path)

    def read() -> GridField:
        if not source.is_file():
            raise FileNotFoundError(f"there is no OVF file {source}")
        return _decoded(source, source.read_bytes(), length)

    return from_root(comm, read)


def _decoded(path: Path, raw: bytes, length: float) -> GridField:
    mark = raw.find(b"# Begin: Data")
    if not raw.lstrip().startswith(b"# OOMMF") or mark < 0:
        raise ValueError(f"{path} is no OVF file")
    header: dict[str, str] = {}
    for line in raw[:mark].decode("latin-1").splitlines():
        key, _, value = line.lstrip("# ").partition(":")
        header.setdefault(key.strip().lower(), value.split("##")[0].strip())
    first = raw[:mark].decode("latin-1").lstrip().splitlines()[0]
    second = "2.0" in first
    if header.get("meshtype", "rectangular") != "rectangular":
        raise ValueError(f"{path} has a mesh of the type {header['meshtype']}, not rectangular")
    if header.get("valuedim", "3") != "3":
        raise ValueError(f"{path} holds {header['valuedim']} numbers for each cell, not 3")
    try:
        shape = np.array([int(header[f"{a}nodes"]) for a in "xyz"])
        step = np.array([float(header[f"{a}stepsize"]) for a in "xyz"])
        base = np.array([float(header[f"{a}base"]) for a in "xyz"])
        scale = float(header.get("valuemultiplier", "1") or "1")
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} is no OVF file of a rectangular grid: {error!r}") from error
    if shape.min() < 1 or not np.all(step > 0.0) or not np.all(np.isfinite([*step, *base])):
        raise ValueError(f"{path} has a grid of {shape.tolist()} cells of {step.tolist()}")
    end = raw.index(b"\n", mark) + 1
    table = _table(path, raw[mark:end].decode("latin-1"), raw[end:], 3 * int(shape.prod()), second)
    values = scale * table.reshape(*shape[::-1], 3).transpose(2, 1, 0, 3)
    return GridField(np.ascontiguousarray(values), (base - 0.5 * step) / length, step / length)


def _table(path: Path, mark: str, raw: bytes, count: int, second: bool) -> npt.NDArray[np.float64]:
    """Return the numbers of the data segment."""
    words = mark.split()
    if words[-1].lower() == "text":
        lines = raw.split(b"# End")[0].decode("latin-1").splitlines()
        text = " ".join(line for line in lines if not line.lstrip().startswith("#"))
        try:
            found = np.array(text.split(), dtype=np.float64)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    else:
        size = int(words[-1]) if words[-1] in ("4", "8") else 4
        kind = np.dtype(f"{'<' if second else '>'}f{size}")
        if len(raw) < size * (count + 1):
            raise ValueError(f"{path} is truncated: {count} numbers of {size} bytes are wanted")
        if np.frombuffer(raw, kind, 1)[0] != np.array(_CONTROL[size], kind):
            raise ValueError(f"{path} is damaged: its data do not begin with the control number")
        found = np.frombuffer(raw, kind, count, size).astype(np.float64)
    if len(found) != count or not np.isfinite(found).all():
        raise ValueError(f"{path} is damaged: {len(found)} numbers, {count} are wanted, finite")
    return found
