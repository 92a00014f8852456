# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The 3-valence tensors of the nonlinear terms (GRPS paper, section 3.3), in local modes.

With the modes :math:`\theta_a` of a coarse cell T (``local_modes``) two tensors hold all integrals
that a step of algorithm 1 needs:

.. math::
    \omega_{abc} = \int_T \kappa \nabla\theta_a \cdot \nabla\theta_b\, \theta_c\,dx, \qquad
    \bar\omega_{abc} = \int_T \theta_a \theta_b \theta_c\,dx.

- reaction: the load of :math:`P_{GRPS}(\kappa |\nabla m|^2)` is :math:`\omega_{abc} m_a \cdot m_b`.
  (The paper's (3.4) takes kappa out of the projection, which does not converge, and its (3.9) is
  the integral of kappa psi psi psi, which nothing needs.)
- mass weighted by q in V_H, and the anisotropy: :math:`\bar\omega`.
- cross term :math:`(m \times \kappa \nabla m', \nabla v)`: :math:`\omega_{c b a}`, the first again.

In the basis itself the tensors of Nc = 16 have 1 GB; compressed to r modes per cell they have r^3
entries for each coarse cell, 2 x 10 MB there at r = 17, whatever h is. They are kept in single
precision: the step reads all of them, and their round-off (1e-7) is far below the compression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import basix
import numpy as np
import numpy.typing as npt
import ufl

from dolfinx_llg.multiscale.element_correctors import element_matrices
from dolfinx_llg.multiscale.hierarchy import Hierarchy
from dolfinx_llg.multiscale.local_modes import CellModes, LocalModes
from dolfinx_llg.multiscale.patches import raise_together

__all__ = ["ModeTensors", "mode_tensors"]

FloatArray = npt.NDArray[np.float64]
SingleArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ModeTensors:
    """Tensors of the coarse cells of this rank, padded as coefficients of modes are.

    Attributes:
        omega: Stiffness weighted by a mode, [T, c, (a, b)]: shape (n, r, r^2), single precision.
        mass: Mass weighted by a mode, [T, c, (a, b)]: shape (n, r, r^2), single precision.
    """

    omega: SingleArray
    mass: SingleArray

    @property
    def nbytes(self) -> int:
        """Memory of both tensors on this rank."""
        return self.omega.nbytes + self.mass.nbytes

    def weigh(self, tensor: SingleArray, y: FloatArray) -> FloatArray:
        """Return the matrices sum_c y_ck tensor_c, shape (n, k, r, r), of y, (n, r, k)."""
        n, r, _ = tensor.shape
        single = np.ascontiguousarray(y.transpose(0, 2, 1), dtype=np.float32)
        return np.matmul(single, tensor).astype(np.float64).reshape(n, y.shape[2], r, r)

    def square(self, tensor: SingleArray, y: FloatArray) -> FloatArray:
        """Return the loads sum_ab y_a . y_b tensor_cab, shape (n, r)."""
        n, r, _ = tensor.shape
        outer = np.matmul(y, y.transpose(0, 2, 1)).reshape(n, r * r, 1).astype(np.float32)
        return np.matmul(tensor, outer)[:, :, 0].astype(np.float64)


def mode_tensors(hierarchy: Hierarchy, modes: LocalModes, exchange: ufl.Form) -> ModeTensors:
    """Integrate the tensors, exactly for kappa constant on fine simplices.

    Args:
        hierarchy: The meshes, of triangles or tetrahedra.
        modes: Modes of the coarse cells.
        exchange: ``int kappa grad u . grad v`` on the hierarchy's space, kappa constant on cells.

    Raises:
        ValueError: If the cells are not simplices.
    """
    raise_together(
        hierarchy.comm,
        None if hierarchy.data.simplicial else "the tensors need triangles or tetrahedra",
    )
    stiffness = element_matrices(exchange, hierarchy.space)
    count = len(hierarchy.parent)
    corners = hierarchy.corners()
    dim = corners.shape[2]
    volume = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / np.prod(range(1, dim + 1))
    assert len(volume) == count
    kind = basix.CellType[hierarchy.data.kind.name]
    rule: Any = basix.make_quadrature(kind, 3)
    corner: Any = basix.create_element(basix.ElementFamily.P, kind, 1)
    table = np.asarray(corner.tabulate(0, rule[0])[0, :, :, 0])
    weights = rule[1] / rule[1].sum()
    r = max((cell.count for cell in modes.cells), default=0)
    n = len(modes.cells)
    omega = np.zeros((n, r, r * r), dtype=np.float32)
    mass = np.zeros_like(omega)
    for k, cell in enumerate(modes.cells):
        first, second = _of_cell(cell, stiffness, volume, table, weights)
        m = cell.count
        omega[k].reshape(r, r, r)[:m, :m, :m] = first
        mass[k].reshape(r, r, r)[:m, :m, :m] = second
    return ModeTensors(omega, mass)


def _of_cell(
    cell: CellModes,
    stiffness: FloatArray,
    volume: FloatArray,
    table: FloatArray,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Both tensors of one coarse cell, index c first, by matrix products."""
    m = cell.count
    theta = cell.theta[cell.place]  # (fine cells, corners, modes)
    energy = np.matmul(theta.transpose(0, 2, 1), np.matmul(stiffness[cell.cells], theta))
    mean = theta.mean(axis=1)
    omega = (mean.T @ energy.reshape(len(theta), m * m)).reshape(m, m, m)
    values = np.einsum("qj,ejm->eqm", table, theta)
    scale = volume[cell.cells][:, None, None] * weights[:, None]
    pairs = (scale * values)[:, :, :, None] * values[:, :, None, :]
    flat = values.reshape(-1, m)
    return omega, (flat.T @ pairs.reshape(len(flat), m * m)).reshape(m, m, m)
