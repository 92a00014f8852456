# SPDX-License-Identifier: LGPL-3.0-or-later
"""The problem of ``demo_grps_cost`` on a pair of meshes, and how its runs are compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

import numpy as np
from dolfinx import fem, mesh
from rough_composite import rough_energy
from shared import norms, timed

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import Hierarchy, coarse_basis, refine_mesh

DAMPING = 1.0
comm = MPI.COMM_WORLD


# The fine meshes of all Nc have the same nodes, numbered otherwise.
def places(m: fem.Function, fine: int) -> np.ndarray:
    """Return the number of each node in the order of the grid."""
    dim = m.function_space.mesh.geometry.dim
    x = np.rint(m.function_space.tabulate_dof_coordinates()[:, :dim] * fine).astype(int)
    return np.asarray(x @ (fine + 1) ** np.arange(dim)[::-1])


def node_table(m: fem.Function, fine: int) -> np.ndarray:
    """Return m at the nodes in the order of the grid, on all ranks."""
    own = np.full(((fine + 1) ** m.function_space.mesh.geometry.dim, 3), -np.inf)
    own[places(m, fine)] = m.x.array.reshape(-1, 3)
    return np.max(comm.allgather(own), axis=0)


def distance(m: fem.Function, exact: np.ndarray, size: float) -> float:
    """Return the H1 norm of the difference from the values ``exact``, over ``size``."""
    difference = m.copy()
    difference.x.array[:] -= exact
    return float(norms(difference)[1]) / size


class Problem:
    """Coefficient, energy and data on a pair of meshes.

    Args:
        nc: Coarse squares per side.
        fine: Fine squares per side.
        scheme: Scheme of the runs.
        paper: Whether data and localization are the paper's: a constant m, bases of patches.
    """

    def __init__(
        self, nc: int, fine: int, scheme: Callable[..., llg.WeakStep], *, paper: bool = False
    ) -> None:
        levels = int(math.log2(fine // nc))
        coarse = mesh.create_unit_square(comm, nc, nc)
        self.nc, self.fine, self.scheme = nc, fine, scheme
        self.hierarchy: Hierarchy = refine_mesh(coarse, levels)
        self.kappa = llg.cell_coefficient(self.hierarchy.fine, literature.ms_trig)
        self.localization = "patches" if paper else "constants"
        datum = (2**-0.5, 3**-0.5, 6**-0.5) if paper else literature.hmm_ex2_initial
        self.m = llg.magnetization(self.hierarchy.fine, datum)
        self.start = self.m.x.array.copy()
        self.energy = rough_energy(self.kappa)

    def step(self, dt: float, projection: bool) -> llg.WeakStep:
        """Return a step that starts from the data."""
        self.m.x.array[:] = self.start
        return self.scheme(self.energy, self.m, dt=dt, damping=DAMPING, projection=projection)

    def basis(self, ell: int, kind: str = "V", energies: str = "V1") -> tuple[float, Any]:
        """Return the seconds of a basis and the basis, of exchange alone or of the energy."""
        energy = self.energy if energies == "V1+V2" else llg.Energy([llg.Exchange(self.kappa)])
        functionals = "volume" if kind == "V" else "facet"
        data = {"functionals": functionals, "ell": ell, "localization": self.localization}
        basis, seconds = timed(lambda: coarse_basis(energy, self.hierarchy, **data))
        return seconds, basis
