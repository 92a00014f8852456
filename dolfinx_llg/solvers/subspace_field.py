# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The effective field as an element of a coarse space, as thermal noise needs it.

With the lumped mass M, the coarse space V_H = {P c} and the nodal field h = -M^{-1} dE/dm, the
field in V_H is the Riesz representative of the tangential part of h,

.. math:: h_H = P\, M_H^{-1} P^T M\, \Pi_x h, \qquad M_H = P^T M P, \quad
          \Pi_x v = v - x\,\frac{x \cdot v}{x \cdot x}.

Why: where the increment P dc of a step is tested in V_H, :math:`M_H \dot c = P^T M\, G\, (h + \nu)`
with :math:`G = -c\,(m \times + \lambda\, m \times m \times)`, a thermal field :math:`\nu` of
covariance 2 a T/(M dt) at the nodes has in V_H the covariance :math:`2 T\, P^T M c \lambda \Pi P`:
twice T times the symmetric part of :math:`G_H = P^T M G P`, whatever m and however the damping
differs by region. The fluctuation-dissipation theorem then asks for the drift
:math:`-G_H (-M_H^{-1} P^T \Pi\, dE/dm)`: that of h_H. With h itself the drift is
:math:`P^T M\, G\, h`, which is the same where m is uniform and the damping too, and is no mobility
times force elsewhere: around a wall, single modes of a coarse space then run at 0 to 1.6 times the
temperature (by the Lyapunov equation of the linearised step), with h_H at 1.
"""

from __future__ import annotations

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.solvers.midpoint_space import Subspace, dot
from dolfinx_llg.solvers.nodal_field import NodalField
from dolfinx_llg.solvers.preconditioner import scalar_solver

__all__ = ["FieldInSubspace", "SubspaceMass"]

Array = npt.NDArray[np.floating]


class SubspaceMass:
    """The inverse of M_H = P^T M P, factorized for each of the components' bases.

    Args:
        basis: The basis.
        volumes: Lumped mass at this rank's nodes, shape (n,).
        options: Options of the solver.

    Note: Collective.
    """

    def __init__(self, basis: GalerkinBasis, volumes: Array, options: Options) -> None:
        comm = basis.components[0].comm
        n = basis.components[0].getSizes()[0]
        M = PETSc.Mat().createAIJ((n, n), nnz=1, comm=comm)
        diagonal = M.createVecLeft()
        diagonal.array_w[:] = volumes
        M.setDiagonal(diagonal)
        M.assemble()
        keys = [id(P) for P in basis.components]
        # Factorized whatever its size, as in one dimension: it is to be exact.
        self._solvers = [
            (
                [i for i, key in enumerate(keys) if key == first],
                scalar_solver(M.PtAP(basis.components[keys.index(first)]), options, 1),
            )
            for first in dict.fromkeys(keys)
        ]
        for item in (M, diagonal):
            item.destroy()

    def solve(self, tested: Array) -> Array:
        """Return M_H^{-1} times tested values, both of shape (k, 3)."""
        out = np.empty_like(tested)
        for members, solver in self._solvers:
            parts = solver(np.ascontiguousarray(tested[:, members].T))
            out[:, members] = np.column_stack(parts)
        return out

    def destroy(self) -> None:
        """Free the factorizations. Collective."""
        for _, solver in self._solvers:
            solver.destroy()


class FieldInSubspace:
    """h_H and its derivative; see the module's docstring.

    Args:
        field: The field at the nodes.
        space: The coarse space of increments.
        options: Options of the solver with M_H.
    """

    def __init__(self, field: NodalField, space: Subspace, options: Options) -> None:
        self._field, self._space, self._options = field, space, options
        self.shape = field.shape
        self._mass: SubspaceMass | None = None
        self._volumes: Array = field.volumes
        self._x: Array = np.zeros(field.shape)
        self._h: Array = self._x
        self._along: Array = np.zeros((len(self._x), 1))
        self._square: Array = self._along

    def renew(self) -> None:
        """Take up a saturation magnetization that has changed. Collective."""
        same = self._mass is not None and np.array_equal(self._volumes, self._field.volumes)
        if not all(self._field.comm.allgather(same)):
            self.destroy()
            self._volumes = self._field.volumes.copy()
            self._mass = SubspaceMass(self._space.basis, self._volumes, self._options)

    def evaluate(self, x: Array) -> Array:
        """Return h_H at x, shape (n, 3); ``change`` is its derivative there. Collective."""
        self._x, self._h = x, self._field.evaluate(x)
        self._square = dot(x, x)
        self._along = dot(x, self._h) / self._square
        return self._represented(self._h - self._along * x)

    def change(self, v: Array) -> Array:
        """Return the derivative of h_H along v, shape (n, 3). Collective."""
        x, change = self._x, self._field.change(v)
        along = dot(v, self._h) + dot(x, change) - 2.0 * self._along * dot(x, v)
        return self._represented(change - self._along * v - along / self._square * x)

    def _represented(self, values: Array) -> Array:
        assert self._mass is not None, "renew comes first"
        return self._space.expand(self._mass.solve(self._space.restrict(values)))

    def destroy(self) -> None:
        """Free the factorizations. Collective."""
        if self._mass is not None:
            self._mass.destroy()
            self._mass = None
