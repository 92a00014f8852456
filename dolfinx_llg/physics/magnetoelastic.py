# SPDX-License-Identifier: LGPL-3.0-or-later
"""Magnetoelastic energy of a given strain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import Coefficient, constant, scalar
from dolfinx_llg.physics.interaction import QuadraticTerm
from dolfinx_llg.physics.terms import Scalar, crystal_axes

__all__ = ["Magnetoelastic"]

type Strain = Sequence[Sequence[float]] | npt.NDArray[np.floating] | Expr | Callable[[float], Any]


@checked
class Magnetoelastic(QuadraticTerm):
    r"""Magnetoelastic energy of a cubic crystal in a given strain, explicit in every scheme.

    .. math:: e = B_1 \sum_i a_i^2 \epsilon_{ii} + 2 B_2 \sum_{i<j} a_i a_j \epsilon_{ij},

    :math:`a_i` and :math:`\epsilon_{ij}` the components of m and of the strain along the crystal
    axes. Kittel, Rev. Mod. Phys. 21, 541 (1949). By the magnetostrictions
    :math:`B_1 = -\tfrac32 \lambda_{100} (c_{11}-c_{12})`, :math:`B_2 = -3 \lambda_{111} c_{44}`;
    an isotropic magnet has :math:`B_1 = B_2 = -3 \lambda_s G` with the shear modulus G. The strain
    does not follow m here.

    Args:
        strain: Symmetric strain, dimensionless, in the coordinates of the mesh: 3 x 3 numbers, a
            callable ``t -> 3 x 3 numbers``, or a function or UFL tensor of shape (3, 3) (DG0 or
            P1, as an elastic problem gives it: ``sym(grad(u))``).
        B1: First constant B_1/(mu0 Ms0^2): a number, DG0 function or UFL,
            ``units.energy_density_from_J_per_m3``.
        B2: Second constant likewise.
        axes: The first two crystal axes, orthogonal.

    Raises:
        ValueError: If a number is not finite, the strain has another shape or is not symmetric (a
            callable: when it is called), or the axes are not orthogonal.
    """

    implicit = False  # of no sign: at the new level it could spoil the solvability of a step

    def __init__(
        self,
        strain: Strain,
        B1: Scalar,
        B2: Scalar,
        *,
        axes: Sequence[Sequence[float]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    ) -> None:
        self._strain = Coefficient(_checked(strain), "strain", (3, 3))
        self._B1, self._B2 = scalar(B1, "B1"), scalar(B2, "B2")
        self._axes = constant(crystal_axes(axes), "axes")

    def assign(self, strain: Sequence[Sequence[float]] | npt.NDArray[np.floating]) -> None:
        """Set a spatially constant strain to new numbers, in effect at once.

        Raises:
            ValueError: If the strain is not finite or not symmetric.
            RuntimeError: If the strain varies in space: its function is changed then, not the term.
        """
        self._strain.assign(_symmetric(strain))

    def update(self, m: fem.Function, t: float) -> None:
        """Evaluate a strain that depends on time at ``t``."""
        self._strain.update(m, t)

    def bilinear(self, v: Expr, w: Expr) -> Expr:
        """Return ``2 B_1 sum eps_ii v_i w_i + 2 B_2 sum_{i != j} eps_ij v_i w_j``, crystal axes."""
        axes = self._axes(v)
        strain = ufl.dot(ufl.dot(axes, self._strain(v)), ufl.transpose(axes))
        a, b = ufl.dot(axes, v), ufl.dot(axes, w)
        even = sum((strain[i, i] * a[i] * b[i] for i in (1, 2)), strain[0, 0] * a[0] * b[0])
        shear = ufl.inner(a, ufl.dot(strain, b)) - even
        return 2 * self._B1(v) * even + 2 * self._B2(v) * shear


def _checked(strain: Any) -> Any:
    """Numbers are checked now, those of a callable when it is called; UFL is made symmetric."""
    if isinstance(strain, Expr):
        return ufl.sym(strain) if strain.ufl_shape == (3, 3) else strain
    if callable(strain):
        return lambda t: _symmetric(strain(t))
    return _symmetric(strain)


def _symmetric(strain: object) -> npt.NDArray[np.float64]:
    array = check_array("strain", strain, (3, 3))
    defect = float(np.abs(array - array.T).max())
    if defect > 1e-12 * float(np.abs(array).max()):
        raise ValueError(
            f"strain must be symmetric, got {array.tolist()}: (grad u + grad u^T)/2, with half the "
            "engineering shear strains off the diagonal"
        )
    return array
