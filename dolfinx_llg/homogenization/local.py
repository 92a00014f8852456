# SPDX-License-Identifier: LGPL-3.0-or-later
"""Locally periodic coefficients kappa(x, x/eps): one cell problem at each point, ranks sharing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh

from dolfinx_llg.checks import check_array
from dolfinx_llg.collective import raise_alike, total
from dolfinx_llg.homogenization.homogenize import CellProblem
from dolfinx_llg.homogenization.options import CellOptions
from dolfinx_llg.kinds import checked
from dolfinx_llg.typing import Array

__all__ = ["homogenize_locally"]


@checked
def homogenize_locally(
    kappa: Callable[[Any, Any], Any],
    points: npt.ArrayLike,
    cell: mesh.Mesh,
    *,
    comm: MPI.Comm | None = None,
    **options: Unpack[CellOptions],
) -> Array:
    """Homogenize a locally periodic coefficient kappa(x, x/eps) at given points x.

    At each point the cell problem is that of kappa(x, .) with x held fixed. Equal points are solved
    once: of coordinates that kappa does not depend on, give the same value to all.

    Args:
        kappa: Coefficient, a callable ``(x, y) -> UFL``.
        points: Points x, shape (n, number of coordinates that kappa reads).
        cell: Mesh of the cell in y, see ``CellProblem``.
        comm: With ``cell`` on ``MPI.COMM_SELF``, ranks that share the points (all must give the
            same ones). None: every rank of the cell's mesh solves for all points.
        options: Keyword arguments of ``CellProblem``: ``degree``, ``quadrature_degree``,
            ``petsc_options``, ``petsc_options_prefix``.

    Returns:
        Homogenized coefficients, shape (n, d, d), on all ranks.

    Raises:
        ValueError: If the points have another shape, or from ``CellProblem`` at one of them; on all
            ranks alike.
        ConvergenceError: If a solve fails.

    Note: Collective.
    """
    points = check_array("points", points)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"points must be an array of shape (n, d), got shape {points.shape}")
    if comm is not None and cell.comm.size > 1:
        raise ValueError("to share points between ranks, make the cell's mesh on MPI.COMM_SELF")
    distinct, inverse = np.unique(points, axis=0, return_inverse=True)
    x = fem.Constant(cell, distinct[0].copy())
    try:
        problem = CellProblem(lambda y: kappa(x, y), cell, **options)
    except ValueError as error:
        error.add_note(f"at x = {distinct[0].tolist()}")
        raise
    rank, size = (0, 1) if comm is None else (comm.rank, comm.size)
    dim = cell.geometry.dim
    mine = np.zeros((len(distinct), dim, dim))
    failure: Exception | None = None
    for i in range(rank, len(distinct), size):
        x.value[:] = distinct[i]
        try:
            mine[i] = problem.solve().kappa_hom
        except (ValueError, RuntimeError) as error:
            failure = error
            error.add_note(f"at x = {distinct[i].tolist()}")
            break
    problem.destroy()
    raise_alike(comm or MPI.COMM_SELF, failure)
    if comm is not None:
        mine = total(comm, mine)
    result: Array = mine[inverse.ravel()]
    return result
