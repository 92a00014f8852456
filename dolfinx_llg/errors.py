# SPDX-License-Identifier: LGPL-3.0-or-later
"""The error of every iteration of the package, PETSc's or its own."""

from __future__ import annotations

from functools import partial
from typing import Any

__all__ = ["ConvergenceError"]


class ConvergenceError(RuntimeError):
    """An iteration did not converge; the magnetization is left at the last good state.

    Attributes:
        reason: PETSc's converged reason (negative); our own iterations use its numbers, -3 where
            the allowed iterations were used up, -9 where they diverged.
        iterations: Iterations done (Krylov's, where PETSc ran).
        t: Time of the level that was to be reached.
    """

    def __init__(self, message: str, *, reason: int, iterations: int, t: float) -> None:
        super().__init__(message)
        self.reason, self.iterations, self.t = reason, iterations, t

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the attributes: the guard sends errors from rank to rank."""
        rebuild = partial(type(self), reason=self.reason, iterations=self.iterations, t=self.t)
        return rebuild, (str(self),)
