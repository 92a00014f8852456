# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Local fields at the points of a macro grid: anisotropy and applied fields.

The outlook of Leitenmaier, Runborg, arXiv:2108.09463: on the macro scale

.. math:: H = H_{avg} + h, \qquad M_s h . w = -\langle dE/dm(M), w \rangle

for the terms of an ``Energy`` that hold M at a point alone. They do not enter the micro problems:
there they change m by :math:`O(\eta)`, which is :math:`O(\epsilon^2)`.
"""

from __future__ import annotations

from mpi4py import MPI

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.classes import Grad
from ufl.corealg.traversal import unique_pre_traversal

from dolfinx_llg.checks import check_integer
from dolfinx_llg.jit import compile_expression
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import exchange_terms
from dolfinx_llg.physics.interaction import FieldTerm, expand

__all__ = ["LocalField"]

Array = npt.NDArray[np.float64]


@checked
class LocalField:
    """The field of an energy's terms other than exchange, point by point.

    Args:
        energy: Energy whose terms beside exchange hold m, not its gradient, and whose data are
            numbers, constants or functions of time.
        n: Number of points.

    Attributes:
        Ms: The energy's relative saturation magnetization, by which the exchange field is divided.

    Raises:
        ValueError: If a term has a gradient of m or a field that is solved for, or data of a mesh.
    """

    def __init__(self, energy: Energy, n: int) -> None:
        """Compile the field as an expression of the values at the points."""
        check_integer("n", n, 1)
        exchange = exchange_terms(energy)
        self.terms = [term for term in energy.terms if term not in exchange]
        if not isinstance(energy.Ms, float | int):
            raise ValueError("on a periodic grid Ms must be a number: use the finite elements")
        self.Ms = float(energy.Ms)
        # The values of a point are those of a cell of its own: a mesh only to evaluate UFL on.
        mesh = dolfinx.mesh.create_interval(MPI.COMM_SELF, n, (0.0, 1.0))
        self._m = fem.Function(fem.functionspace(mesh, ("DG", 0, (3,))))
        self._cells = np.arange(n, dtype=np.int32)
        self._expression = None
        if not self.terms:
            return
        units = np.eye(3).tolist()
        parts = []
        for term in self.terms:
            name = type(term).__name__
            if isinstance(term, FieldTerm):
                raise ValueError(
                    f"{name} needs a mesh: on finite elements use upscaled_tensor, whose kappa "
                    "goes with every other term"
                )
            w = ufl.Argument(self._m.function_space, 0)
            if any(
                isinstance(node, Grad)
                for node in unique_pre_traversal(expand(term.gradient(self._m, w)))
            ):
                raise ValueError(
                    f"{name} holds the gradient of m, which a macro grid does not have: on finite "
                    "elements use upscaled_tensor, whose kappa goes with every other term"
                )
            parts.append([term.gradient(self._m, ufl.as_vector(unit)) for unit in units])
        total = [-sum(part[1:], part[0]) / self.Ms for part in zip(*parts, strict=True)]
        if len(ufl.domain.extract_domains(ufl.as_vector(total))) > 1:
            raise ValueError(
                "on a periodic grid the terms beside exchange take numbers, constants and "
                "functions of time; data of a mesh go with upscaled_tensor"
            )
        self._expression = compile_expression(ufl.as_vector(total), np.array([[0.5]]))

    def __call__(self, m: Array, t: float) -> Array:
        """Return the field, shape (n, 3), at m of shape (n, 3) and the time t."""
        if self._expression is None:
            return np.zeros_like(m)
        self._m.x.array[:] = m.ravel()
        for term in self.terms:
            term.renew(self._m)
            term.update(self._m, t)
        values = self._expression.eval(self._m.function_space.mesh, self._cells)
        return np.asarray(values, dtype=np.float64).reshape(-1, 3)
