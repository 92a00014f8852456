# SPDX-License-Identifier: LGPL-3.0-or-later
"""Solver options on the command line: petsc4py never sees ``sys.argv``, DOLFINx initializes it."""

from __future__ import annotations

import re

from petsc4py import PETSc

__all__ = ["take_solver_options"]

#: ``-llg_ksp_monitor``, ``-llg_spin_ksp_rtol 1e-6``, ``-cell_pc_type lu``: what begins with a
#: prefix of the package. Prefixes of a user's own reach the command line if they begin with llg_.
_OURS = re.compile(r"-(llg_\w+|stray_field_\w+|cell_(ksp|pc|mat|mg)_\w+)$")


def take_solver_options(argv: list[str]) -> None:
    """Move the options of the package's solvers from a command line to PETSc's database.

    The package does so with ``sys.argv`` when it is imported, so that a script's own parser never
    meets them. A word behind an option is its value unless it begins with a minus sign and is no
    number. Options that PETSc has already (``PETSC_OPTIONS``) are overwritten. A misspelt value is
    an error of the solver that reads it; a misspelt name is read by none, and nobody says so.

    Args:
        argv: The words; those taken are removed.
    """
    database = PETSc.Options()
    position = 1
    while position < len(argv):
        word = argv[position]
        if not _OURS.match(word):
            position += 1
            continue
        del argv[position]
        value = argv[position] if position < len(argv) else None
        if value is not None and (not value.startswith("-") or _is_number(value)):
            database.setValue(word, value)
            del argv[position]
        else:
            database.insertString(word)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
