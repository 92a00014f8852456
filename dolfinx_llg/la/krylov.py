# SPDX-License-Identifier: LGPL-3.0-or-later
"""What all owners of a PETSc solver share: options in force for a block, errors, the build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from petsc4py import PETSc

import numpy as np

from dolfinx_llg.errors import ConvergenceError

__all__ = ["check_real_build", "convergence_error", "options_in_force"]


def convergence_error(solver: PETSc.KSP | PETSc.SNES, what: str, t: float) -> ConvergenceError:
    """Return the error that tells how a PETSc solver failed on the way to time ``t``."""
    names = {v: k for k, v in vars(type(solver).ConvergedReason).items() if isinstance(v, int)}
    reason = int(solver.getConvergedReason())
    newton = ""
    if isinstance(solver, PETSc.KSP):
        iterations = int(solver.getIterationNumber())
    else:
        iterations = int(solver.getLinearSolveIterations())
        newton = f" in {solver.getIterationNumber()} full Newton steps"
    message = (
        f"{what} did not converge at t = {t:.6g}: {names.get(reason, 'unknown reason')} "
        f"({reason}) after {iterations} Krylov iterations{newton}; try a smaller dt, or other "
        "petsc_options"
    )
    return ConvergenceError(message, reason=reason, iterations=iterations, t=t)


def check_real_build() -> None:
    """Raise RuntimeError unless PETSc is built for real numbers in double precision."""
    if np.dtype(PETSc.ScalarType) != np.float64:
        raise RuntimeError(
            "dolfinx_llg needs a real double-precision PETSc, this one has scalars of type "
            f"{np.dtype(PETSc.ScalarType).name}: install the real build of DOLFINx"
        )


@contextmanager
def options_in_force(prefix: str, options: Mapping[str, Any], used: set[str]) -> Iterator[None]:
    """Put ``options`` into PETSc's database under ``prefix`` for the duration of a block.

    Nested solvers (levels of AMG, splits) read the database only when they are set up, so set-up
    and solves run inside the block too. Options already there (the command line) win; afterwards
    the database is as it was, and ``used`` has gained the keys that PETSc asked for.
    """
    database = PETSc.Options()
    added = [key for key in options if not database.hasName(prefix + key)]
    for key in added:
        database[prefix + key] = options[key]
    try:
        yield
    finally:
        used.update(key for key in options if database.used(prefix + key))
        for key in added:
            database.delValue(prefix + key)
