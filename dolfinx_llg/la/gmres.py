# SPDX-License-Identifier: LGPL-3.0-or-later
"""GMRES for arrays of any shape, with the inner product as an argument: parallel without MPI."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked

__all__ = ["Dot", "gmres", "local_dot"]

Array = npt.NDArray[np.floating]
Dot = Callable[[Array, Array], float]


def local_dot(a: Array, b: Array) -> float:
    """Return the inner product of two arrays that are whole on this rank."""
    return float(np.vdot(a, b))


@checked
def gmres(
    apply: Callable[[Array], Array],
    right: Array,
    *,
    rtol: float,
    dot: Dot = local_dot,
    max_iterations: int = 300,
    strict: bool = True,
) -> tuple[Array, int]:
    """Solve ``apply(x) = right`` from x = 0, without restarts (modified Gram-Schmidt).

    Args:
        apply: Linear operator on arrays of the shape of ``right``.
        right: Right side; the part of this rank, if it is distributed.
        rtol: Bound for the residual relative to ``right``, in the norm of ``dot``.
        dot: Inner product, the same value on all ranks.
        max_iterations: Largest dimension of the Krylov space; every dimension holds one array.
        strict: Whether a bound that is not met is an error; else the best solution is returned, for
            callers that correct it themselves.

    Returns:
        The solution and the number of iterations.

    Raises:
        ConvergenceError: If the bound is not met, on all ranks alike.
    """
    if np.ndim(right) == 0:
        raise ValueError(f"right must be an array, got {right}")
    beta = dot(right, right) ** 0.5
    if beta == 0.0:
        return np.zeros_like(right), 0
    basis = [right / beta]
    triangle = np.zeros((max_iterations + 1, max_iterations))
    g = np.zeros(max_iterations + 1)
    g[0] = beta
    rotations: list[tuple[float, float]] = []
    for k in range(max_iterations):
        w = apply(basis[k])
        column = triangle[:, k]
        for i, q in enumerate(basis):
            column[i] = dot(q, w)
            w = w - column[i] * q
        below = dot(w, w) ** 0.5
        for i, (c, s) in enumerate(rotations):
            column[i], column[i + 1] = (
                c * column[i] + s * column[i + 1],
                c * column[i + 1] - s * column[i],
            )
        radius = float(np.hypot(column[k], below))
        if not (np.isfinite(radius) and radius > 0.0):
            break
        c, s = column[k] / radius, below / radius
        rotations.append((c, s))
        column[k] = radius
        g[k], g[k + 1] = c * g[k], -s * g[k]
        met = abs(g[k + 1]) <= rtol * beta
        if met or (not strict and (k + 1 == max_iterations or below <= 1e-14 * beta)):
            y = np.linalg.solve(triangle[: k + 1, : k + 1], g[: k + 1])
            solution = np.zeros_like(right)
            for coefficient, q in zip(y, basis, strict=True):
                solution += coefficient * q
            return solution, k + 1
        basis.append(w / below)
    raise ConvergenceError(
        f"GMRES did not reach rtol = {rtol:g} in {len(rotations)} iterations: residual "
        f"{abs(g[len(rotations)]) / beta:.1e}; try a smaller time step",
        reason=-3,
        iterations=len(rotations),
        t=float("nan"),
    )
