# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files of a run: folders, scalars as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import numbers
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from mpi4py import MPI

import numpy as np

from dolfinx_llg.collective import all_leave, on_root, together
from dolfinx_llg.files import claim, named, release, write_atomically
from dolfinx_llg.kinds import WrongKindError, checked, describe
from dolfinx_llg.state import State

__all__ = ["CSVWriter", "Closing", "on_root", "output_folder", "read_csv", "write_json"]


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
    """A context manager that calls ``close``, on an exception too.

    Where one rank alone leaves it by an exception, a collective ``close`` is left out: the others
    wait in another call. A subclass tells its ranks, if its ``close`` is collective.
    """

    def _ranks(self) -> MPI.Comm:
        """Ranks that close together."""
        return MPI.COMM_SELF

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
        if error is None or all_leave(self._ranks(), error):
            self.close()


@checked
class CSVWriter(Closing):
    """Appends rows of scalars to a CSV file, each flushed at once; rank 0 writes.

    The header is written with the first row. Numbers are written in full: reading gives the same
    bits. With ``resume`` an existing file is continued: rows beyond the state (by their number
    ``n`` or, where they have none, by their time), and a last one that a killed run or a full disk
    left unfinished, are dropped. A second writer is refused by a lock, where the file system has
    any.

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
