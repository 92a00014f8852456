# SPDX-License-Identifier: LGPL-3.0-or-later
"""The composites of ``demo_which_method``: what each method may know of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.homogenization import homogenize, homogenize_locally


@dataclass
class Composite:
    """A coefficient, and what the methods ask of it.

    Attributes:
        title: Its name.
        fine: Mesh to the DG0 coefficient of a resolved mesh.
        formula: Points (2, n) to values, for HMM.
        homogenized: Mesh to the coefficient for ``Exchange``, and the cell solution or None.
    """

    title: str
    fine: Callable[[mesh.Mesh], fem.Function]
    formula: Callable[[np.ndarray], np.ndarray]
    homogenized: Callable[[mesh.Mesh], tuple[Any, Any]]


def eq42_of_cell(x: Any, y: Any) -> Any:
    """Eq. (42) with the slow variable x_2 = x[0] apart."""
    slow = ufl.sin(2 * np.pi * y[0]) * ufl.cos(2 * np.pi * x[0])
    return 0.25 * ufl.exp(-ufl.cos(2 * np.pi * (y[0] + y[1])) + slow)


def composites(comm: MPI.Intracomm, inverse_eps: int, n: int) -> dict[str, Composite]:
    """Return the three composites, with 1/eps periods or tiles a side.

    Args:
        comm: Communicator of the meshes.
        inverse_eps: 1/eps.
        n: Cells per side of the finest mesh.
    """
    eps = 1.0 / inverse_eps
    shape = (inverse_eps, inverse_eps)
    tiles = 1.0 + 9.0 * (np.random.default_rng(7).random(shape) < 0.5)
    cell = mesh.create_unit_square(MPI.COMM_SELF, 16, 16)
    ex2, eq42 = literature.hmm_ex2(eps), literature.hmm_eq42(eps)

    def tiles_at(x: np.ndarray) -> np.ndarray:
        """The checkerboard at points of shape (2, n)."""
        index = np.clip((x[:2] * inverse_eps).astype(int), 0, inverse_eps - 1)
        return tiles[index[0], index[1]]

    def periodic(msh: mesh.Mesh) -> tuple[Any, Any]:
        solution = homogenize(literature.hmm_ex2(1.0), cell)
        return solution.kappa_hom, solution

    def local_tensors(msh: mesh.Mesh) -> tuple[Any, Any]:
        """A^H(x_2) of eq. (42) at the centroids of the cells; ranks share the cell problems."""
        kappa = fem.Function(fem.functionspace(msh, ("DG", 0, (2, 2))), name="kappa")
        centroids = kappa.function_space.tabulate_dof_coordinates()[:, 1]
        rows = np.unique(np.round(np.concatenate(comm.allgather(centroids)), 9))
        found = homogenize_locally(eq42_of_cell, rows[:, None], cell, comm=comm)
        place = np.searchsorted(rows, np.round(centroids, 9))
        kappa.x.array[:] = found[place].ravel()
        return kappa, None

    def whole_sample(msh: mesh.Mesh) -> tuple[Any, Any]:
        cells = min(n, 8 * inverse_eps)
        sample = mesh.create_unit_square(comm, cells, cells)
        return homogenize(llg.from_array(sample, tiles), sample, degree=1).kappa_hom, None

    return {
        "periodic": Composite(
            "periodic (EX2)", lambda msh: llg.cell_coefficient(msh, ex2), ex2, periodic
        ),
        "locally_periodic": Composite(
            "locally periodic (42)", lambda msh: llg.cell_coefficient(msh, eq42), eq42,
            local_tensors,
        ),
        "random": Composite(
            "random checkerboard", lambda msh: llg.from_array(msh, tiles), tiles_at, whole_sample
        ),
    }  # fmt: skip
