# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files of a run: scalars as CSV and JSON, fields for ParaView (VTX)."""

from __future__ import annotations

import csv
import ctypes
import io
import json
import math
import numbers
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mpi4py import MPI

import dolfinx
import numpy as np
from dolfinx import fem
from dolfinx.io import VTXMeshPolicy, VTXWriter

from dolfinx_llg.checks import check_kind, check_number
from dolfinx_llg.collective import from_root, on_root, together, total
from dolfinx_llg.files import claim, named, release, require_space, write_atomically
from dolfinx_llg.kinds import WrongKindError, checked, describe
from dolfinx_llg.state import State

__all__ = ["CSVWriter", "FieldWriter", "on_root", "output_folder", "read_csv", "write_json"]


@checked
def output_folder(path: str | os.PathLike[str], comm: MPI.Comm) -> Path:
    """Make a folder for results, with its parents, and check that files can be written to it.

    Call it before the work whose results go there.

    Raises:
        OSError: With the path, on all ranks alike, if it cannot be made or written to.

    Note: Collective; the ranks share a file system.
    """
    folder = Path(comm.bcast(os.fspath(path), root=0))

    def make() -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Nameless: other runs may be checking the same folder.
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OSError(f"the output folder {folder} cannot be written: {reason}") from error

    on_root(comm, make)
    return folder


@checked
def write_json(path: str | os.PathLike[str], data: Mapping[str, Any], comm: MPI.Comm) -> None:
    """Write ``data`` of rank 0 as JSON: all of it or, should the run die, nothing.

    Args:
        path: File; its folder is made.
        data: Numbers (NumPy's too), text, and nested mappings, sequences and arrays of them.
        comm: Communicator of the run.

    Raises:
        OSError: If the file cannot be written, on all ranks alike.
        ValueError: If a number is not finite, naming where it stands.

    Note: Collective.
    """
    target = Path(path)
    output_folder(target.parent, comm)

    def write() -> None:
        text = json.dumps(_plain(data, ""), indent=2, allow_nan=False) + "\n"
        write_atomically(target, lambda file: file.write(text.encode()))

    on_root(comm, write)


def _plain(value: Any, where: str) -> Any:
    """Data of Python's own types only, or ValueError naming the entry."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, f"{where}.{key}") for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where.lstrip('.')} is {value}, which JSON does not have")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is not None and not isinstance(value, str | int | float):
        raise WrongKindError(f"{where.lstrip('.')} is {describe(value)}, which JSON does not have")
    return value


class Closing:
    """A context manager that calls ``close``, on an exception too."""

    def close(self) -> None:
        """Close what is open; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@checked
class CSVWriter(Closing):
    """Appends rows of scalars to a CSV file, each flushed at once; rank 0 writes.

    The header is written with the first row. Numbers are written in full: reading gives the same
    bits. With ``resume`` an existing file is continued: rows beyond the state (by their number
    ``n`` or, where they have none, by their time), and a last one that a killed run left
    unfinished, are dropped.

    Args:
        path: File; its folder is made.
        comm: Communicator of the run.
        resume: State read from the checkpoint with which the run goes on; None starts a new file.
        columns: Unit of each column by its name (``Observer.columns``). The file is then a table
            with tabs whose header tells the units, ``# t (ns)<TAB>mx ()...``, as mumax3 writes
            it and ubermagtable reads it.

    Raises:
        OSError: If the file cannot be written, on all ranks alike.
        ValueError: If the file to continue has neither a column ``n`` nor ``t``, or has other
            columns than those given.

    Note: Collective. A context manager.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        comm: MPI.Comm,
        *,
        resume: State | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._comm = comm
        self._columns = None if columns is None else dict(columns)
        self._style: dict[str, Any] = {"lineterminator": "\n"}
        if columns is not None:
            self._style |= {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
        self._header: list[str] | None = None
        self._file: IO[str] | None = None
        output_folder(self.path.parent, comm)
        on_root(comm, lambda: self._open(resume))

    def _open(self, state: State | None) -> None:
        claim(self.path)
        if state is not None and self.path.exists():
            self._keep_until(state)
            self._file = self.path.open("a", newline="", encoding="utf-8")
        else:
            self._file = self.path.open("w", newline="", encoding="utf-8")

    def _keep_until(self, state: State) -> None:
        text = self.path.read_text(encoding="utf-8")
        complete = text[: text.rfind("\n") + 1]
        rows = list(csv.reader(io.StringIO(complete), delimiter=self._style.get("delimiter", ",")))
        kept = rows[:1]
        if kept:
            self._header = kept[0]
            names, units = _names(kept[0])
            if self._columns is not None and units != self._columns:
                raise ValueError(
                    f"{self.path} has the columns {kept[0]}, not those of this run: choose another "
                    "name"
                )
            key = "n" if "n" in names else "t"
            if key not in names:
                raise ValueError(f"{self.path} has no column t, its header is {kept[0]}")
            column, last = names.index(key), getattr(state, key)
            kept += [
                row for row in rows[1:] if len(row) == len(kept[0]) and float(row[column]) <= last
            ]
        buffer = io.StringIO(newline="")
        csv.writer(buffer, **self._style).writerows(kept)
        write_atomically(self.path, lambda file: file.write(buffer.getvalue().encode()))

    def write(self, row: Mapping[str, float]) -> None:
        """Append a row, the values of rank 0.

        Raises:
            ValueError: If the names are not those of the file's header.
            OSError: If the file cannot be written (a full disk), on all ranks alike.
        """
        with together(self._comm):
            self._check(row)
            if self._comm.rank == 0:
                try:
                    self._write(row)
                except OSError as error:
                    raise named(error, self.path) from error

    def _check(self, row: Any) -> None:
        if not isinstance(row, Mapping) or not row:
            raise WrongKindError(
                f"a row is a mapping of names to numbers (Observer.observe), got {describe(row)}"
            )
        for name, value in row.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise WrongKindError(f"{self.path}: {name} must be a number, got {describe(value)}")

    def _write(self, row: Mapping[str, float]) -> None:
        if self._file is None:
            raise ValueError(f"{self.path} is closed")
        writer = csv.writer(self._file, **self._style)
        names = list(row)
        if self._columns is not None:
            if names != list(self._columns):
                raise ValueError(
                    f"{self.path} has the columns {list(self._columns)}, got a row of {names}"
                )
            names = [f"{name} ({unit})" for name, unit in self._columns.items()]
            names[0] = f"# {names[0]}"
        if self._header is None:
            self._header = names
            writer.writerow(names)
        if names != self._header:
            raise ValueError(f"{self.path} has the columns {self._header}, got a row of {names}")
        writer.writerow([_number(value) for value in row.values()])
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
            release(self.path)


def _names(header: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return the names of columns, and their units where the header tells them."""
    if not header or not header[0].startswith("# "):
        return list(header), {}
    parts = [entry.removeprefix("# ").partition(" (") for entry in header]
    return [name for name, _, _ in parts], {name: unit[:-1] for name, _, unit in parts}


@checked
def read_csv(path: str | os.PathLike[str]) -> list[dict[str, float]]:
    """Return the rows that a ``CSVWriter`` wrote; for one process, in any program."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        tabs = file.read(2) == "# "
        file.seek(0)
        header, *rows = csv.reader(file, delimiter="\t" if tabs else ",")
    names, _ = _names(header)
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


def _number(value: float) -> str:
    """Shortest text that reads back as the same number."""
    return repr(int(value)) if isinstance(value, int | np.integer) else repr(float(value))


@checked
class FieldWriter(Closing):
    """Writes fields over time to one VTX file (a folder ``*.bp``), which ParaView opens.

    Nodal functions of one P1 space (m, ...) become point data, DG0 functions (kappa, Ms, ...) cell
    data. VTX cannot append: give each restart its own file.

    Args:
        path: File, ending in ``.bp``; an older one is replaced.
        fields: Functions on one mesh, written at each call with the values they have then.

    Raises:
        OSError: If the folder cannot be written, on all ranks alike.
        ValueError: If the name does not end in ``.bp``, is taken by something else, or there is no
            field, or fields without distinct names, on different meshes or of another degree.

    Note: Collective. A context manager, which closes the file on exceptions too.
    """

    def __init__(
        self, path: str | os.PathLike[str], fields: fem.Function | Sequence[fem.Function]
    ) -> None:
        functions = [fields] if isinstance(fields, fem.Function) else list(fields)
        mesh = _common_mesh(functions)
        self.path = Path(path)
        if self.path.suffix != ".bp":
            raise ValueError(f"a VTX file ends in .bp, got {self.path}")
        output_folder(self.path.parent, mesh.comm)
        on_root(mesh.comm, self._clear)
        self._comm, self._size = mesh.comm, _bytes_of_a_step(functions)
        self._require_space()
        # BP4: read by every ParaView that reads VTX at all.
        self._writer: VTXWriter | None = VTXWriter(
            mesh.comm, self.path, functions, engine="BP4", mesh_policy=VTXMeshPolicy.reuse
        )

    def _require_space(self) -> None:
        # ADIOS2 does not survive a full disk: it waits for the other ranks, or ends the process
        # where the file is closed. So nothing is begun that does not fit.
        from_root(self._comm, lambda: require_space(self.path.parent, self._size))

    def _clear(self) -> None:
        claim(self.path)
        if not self.path.exists():
            return
        if not (self.path / "md.idx").exists():
            raise ValueError(f"{self.path} exists and is no VTX file: choose another name")
        shutil.rmtree(self.path)

    def write(self, t: float) -> None:
        """Write the fields as they are now for the time ``t``.

        Raises:
            ValueError: If the file is closed, or t is not finite.
            OSError: If the step does not fit on the disk, on all ranks alike; nothing is written.
        """
        if self._writer is None:
            raise ValueError(f"{self.path} is closed")
        check_number("t", t)
        self._require_space()
        writer = self._writer
        self._guarded(lambda: writer.write(t))

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: If what is left cannot be written (a full disk).

        Note: Collective.
        """
        if self._writer is not None:
            writer = self._writer
            self._guarded(writer.close)
            self._writer = None
            if self._comm.rank == 0:
                release(self.path)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            with together(self._comm):
                work()
        except RuntimeError as error:
            # After a failure the destructor of ADIOS2 ends the process: it must never run.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._writer))
            self._writer = None
            raise OSError(f"{self.path} cannot be written (a full disk?): {error}") from error


def _bytes_of_a_step(functions: Sequence[fem.Function]) -> int:
    """Bytes that one step needs at most, over all ranks: the mesh, the fields, and twice that.

    Collective.
    """
    mesh = functions[0].function_space.mesh
    local = mesh.geometry.x.nbytes + 2 * mesh.geometry.dofmaps[0].nbytes
    local += sum(function.x.array.nbytes for function in functions)
    return 2 * int(total(mesh.comm, local))


def _common_mesh(functions: Sequence[fem.Function]) -> dolfinx.mesh.Mesh:
    if not functions:
        raise ValueError("there is no field to write")
    for function in functions:
        check_kind("each field", function, fem.Function, "a fem.Function")
    names = [function.name for function in functions]
    mesh = functions[0].function_space.mesh
    for function in functions:
        V = function.function_space
        if V.mesh.ufl_domain() != mesh.ufl_domain():
            raise ValueError(f"the fields lie on different meshes: {names}")
    if len(set(names)) < len(names):
        raise ValueError(f"the fields need distinct names, got {names}")
    for function in functions:
        V = function.function_space
        element = V.element.basix_element
        degree, discontinuous = element.degree, element.discontinuous
        if not ((degree == 1 and not discontinuous) or (degree == 0 and discontinuous)):
            raise ValueError(f"{function.name} must be P1 or DG0, got degree {degree}")
    return mesh
