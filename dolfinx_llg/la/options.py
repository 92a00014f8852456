# SPDX-License-Identifier: LGPL-3.0-or-later
"""PETSc options of one solver: in force for a block only, and each one accounted for."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from petsc4py import PETSc

from dolfinx_llg.kinds import checked

__all__ = ["Options"]

_PACKAGE = str(Path(__file__).resolve().parents[1])
# PETSc's codes of a bad value: no support, wrong size, out of range, user's fault, unknown type,
# missing solver package.
_BAD_VALUE = {56, 62, 63, 83, 86, 92}


@checked
class Options:
    """The user's options of a solver and of the solvers inside it.

    Options already in PETSc's database (the command line) win over the user's, and those over the
    defaults of the owner. Solvers inside share one record of what PETSc has read. A name that no
    solver reads is reported after the first solve, if it is one of the user's: those of the
    database may be meant for any other solver, and are not.

    Args:
        prefix: Prefix in PETSc's database, under which the command line reaches the solver.
        user: The user's options by their names without the prefix.
        tolerated: Beginnings of names that are not reported where no solver reads them.

    Raises:
        ValueError: If the prefix is empty.

    Attributes:
        prefix: Prefix in the database.
    """

    def __init__(
        self,
        prefix: str,
        user: Mapping[str, Any] | None = None,
        *,
        tolerated: tuple[str, ...] = (),
    ) -> None:
        if not prefix:
            raise ValueError("petsc_options_prefix must not be empty")
        self.prefix, self._inside = prefix, ""
        self._ledger = _Ledger(prefix, dict(user or {}), tolerated)

    def inside(self, name: str) -> Options:
        """Return the options of a solver inside this one, whose names begin with ``name``.

        Raises:
            ValueError: If the prefix that results is empty.
        """
        inner = Options(self.prefix + name)
        inner._inside, inner._ledger = self._inside + name, self._ledger
        return inner

    def given(self, key: str = "") -> bool:
        """Whether the user or the command line sets an option (without a key: any)."""
        wanted, names = self.prefix + key, self._ledger.names() | set(PETSc.Options().getAll())
        return any(name.startswith(wanted) for name in names) if not key else wanted in names

    @contextmanager
    def in_force(self, defaults: Mapping[str, Any]) -> Iterator[None]:
        """Put the options, and the defaults below them, into the database for a block.

        Nested solvers read the database when they are set up, so that set-up and solves run inside
        the block. Afterwards the database is as it was.

        Args:
            defaults: Defaults by their names without the prefix.

        Raises:
            ValueError: If PETSc does not understand a value in the block.
        """
        database, ledger = PETSc.Options(), self._ledger
        values = {self.prefix + key: value for key, value in defaults.items()}
        values |= {ledger.prefix + key: value for key, value in ledger.user.items()}
        present = database.getAll()
        added = [name for name in values if name not in present]
        for name in added:
            database[name] = values[name]
        try:
            yield
        except PETSc.Error as error:
            known = {k: v for k, v in database.getAll().items() if k.startswith(ledger.prefix)}
            message = _bad_value(error, known, ledger.prefix)
            if message is None:
                raise
            raise ValueError(message) from error
        finally:
            ledger.read.update(k for k in ledger.user if database.used(ledger.prefix + k))
            for name in added:
                database.delValue(name)

    @property
    def read(self) -> set[str]:
        """Names, as the user wrote them, of the user's options that PETSc has asked for."""
        return set(self._ledger.read)

    def report_unused(self) -> None:
        """Warn of the user's options that no solver has read: once, after the first solve."""
        ledger = self._ledger
        if ledger.reported or self._inside:
            return
        ledger.reported = True
        unused = [k for k in ledger.user if k not in ledger.read]
        unused = [k for k in unused if not k.startswith(ledger.tolerated)]
        if unused:
            warnings.warn(
                f"petsc_options that no solver used: {unused}", skip_file_prefixes=(_PACKAGE,)
            )


class _Ledger:
    """The user's options under the outermost prefix, and the names that PETSc has asked for."""

    def __init__(self, prefix: str, user: dict[str, Any], tolerated: tuple[str, ...]) -> None:
        self.prefix, self.user, self.tolerated = prefix, user, tolerated
        self.read: set[str] = set()
        self.reported = False

    def names(self) -> set[str]:
        return {self.prefix + key for key in self.user}


def _bad_value(error: PETSc.Error, options: Mapping[str, str | None], prefix: str) -> str | None:
    """Return a message with the option that PETSc did not understand; None for other errors."""
    if error.ierr not in _BAD_VALUE:
        return None
    lines = [re.sub(r"^\[\d+\] ", "", line) for line in str(error).splitlines()]
    lines = [line for line in lines if not re.search(r"\(\) at |^error code|https?://", line)]
    words = {word.strip("\"'.,;:()") for line in lines for word in line.split()}
    words |= {word.removesuffix(".0") for word in words}
    culprits = [k for k, v in options.items() if v is not None and _spelt(v) & words]
    named = [k for k in options if f"-{k}" in words]
    if not (culprits := named or culprits):
        return None
    pairs = " or ".join(f"{k.removeprefix(prefix)} = {options[k]!r}" for k in culprits)
    return f"petsc_options: PETSc does not understand {pairs} (prefix {prefix}): {lines[-1]}"


def _spelt(value: str) -> set[str]:
    """Return the ways in which PETSc's messages write a value."""
    try:
        return {value, f"{float(value):g}"}
    except ValueError:
        return {value}
