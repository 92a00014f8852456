# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energies that are local and quadratic in m, given by a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import ufl
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import constant
from dolfinx_llg.physics.interaction import QuadraticTerm

__all__ = ["LocalStrayField", "TensorAnisotropy"]


@checked
class TensorAnisotropy(QuadraticTerm):
    r"""Anisotropy by a symmetric matrix, :math:`\frac12 m \cdot Q m`.

    Uniaxial anisotropies of many axes add up to one of these, and an average over grains is one:
    :math:`\tfrac12 q_u (|m|^2 - (m \cdot u)^2)` has :math:`Q = q_u (I - u \otimes u)`.

    Args:
        matrix: Q, shape (3, 3), symmetric, in units of mu0 Ms0^2.
        implicit: Whether semi-implicit schemes take the term at the new time level. None: where Q
            has no negative eigenvalue (beyond round-off).

    Attributes:
        matrix: Q.

    Raises:
        ValueError: If the matrix is not finite, symmetric, of shape (3, 3).
    """

    def __init__(
        self, matrix: npt.NDArray[np.floating] | list[list[float]], *, implicit: bool | None = None
    ) -> None:
        Q = check_array("matrix", matrix, (3, 3))
        size = float(np.abs(Q).max())
        if not np.allclose(Q, Q.T, rtol=0.0, atol=1e-12 * size):
            raise ValueError(f"the matrix of an anisotropy must be symmetric, got {Q.tolist()}")
        self.matrix = 0.5 * (Q + Q.T)
        lowest = float(np.linalg.eigvalsh(self.matrix)[0])
        self.implicit = lowest >= -1e-12 * size if implicit is None else implicit
        self._matrix = constant(self.matrix, "matrix")

    def bilinear(self, v: Expr, w: Expr) -> Expr:
        """Return ``w.Q v``."""
        return ufl.inner(ufl.dot(self._matrix(v), v), w)


class LocalStrayField(TensorAnisotropy):
    r"""Energy of the stray field that a fine structure of Ms makes inside it, :math:`\frac12 m.Dm`.

    D is the demagnetizing tensor of the fluctuation of Ms over a period, its trace the variance of
    Ms: see ``homogenization.fluctuation_tensor``.

    Args:
        matrix: D, shape (3, 3), symmetric, in units of Ms0^2.
        implicit: See ``TensorAnisotropy``.
    """
