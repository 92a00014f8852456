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

from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.cell_shares import element_matrices
from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.reduction.local_modes import CellGroup, CellModes, LocalModes

__all__ = ["ModeTensors", "mode_tensors"]

FloatArray = npt.NDArray[np.float64]
SingleArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ModeTensors:
    """Tensors of the coarse cells of this rank, padded to one shape in each group of cells.

    Attributes:
        groups: Groups of cells.
        omega: Stiffness weighted by a mode, [T, c, (a, b)], in each group: shape (n, r, r^2),
            single precision.
        mass: Mass weighted by a mode, [T, c, (a, b)]: the same.
    """

    groups: list[CellGroup]
    omega: list[SingleArray]
    mass: list[SingleArray]

    @property
    def nbytes(self) -> int:
        """Memory of both tensors on this rank."""
        return sum(tensor.nbytes for tensor in (*self.omega, *self.mass))

    def weigh(self, tensor: list[SingleArray], y: FloatArray) -> list[FloatArray]:
        """Return sum_c y_ck tensor_c in each group, shape (n, k, r, r), of y on all cells."""
        found = []
        for group, part in zip(self.groups, tensor, strict=True):
            own, r = y[group.cells, : group.modes], group.modes
            single = np.ascontiguousarray(own.transpose(0, 2, 1), dtype=np.float32)
            weights = np.matmul(single, part).astype(np.float64)
            found.append(weights.reshape(len(own), y.shape[2], r, r))
        return found

    def square(self, tensor: list[SingleArray], y: FloatArray) -> FloatArray:
        """Return the loads sum_ab y_a . y_b tensor_cab on all cells, shape (n, r)."""
        out = np.zeros(y.shape[:2])
        for group, part in zip(self.groups, tensor, strict=True):
            own, r = y[group.cells, : group.modes], group.modes
            outer = np.matmul(own, own.transpose(0, 2, 1)).reshape(-1, r * r, 1)
            out[group.cells, :r] = np.matmul(part, outer.astype(np.float32))[:, :, 0]
        return out


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
    tensors: tuple[list[SingleArray], list[SingleArray]] = ([], [])
    for group in modes.groups:
        r, own = group.modes, modes.cells[group.cells]
        omega = np.zeros((len(own), r, r, r), dtype=np.float32)
        mass = np.zeros_like(omega)
        for k, cell in enumerate(own):
            m = cell.count
            omega[k, :m, :m, :m], mass[k, :m, :m, :m] = _of_cell(
                cell, stiffness, volume, table, weights
            )
        for found, tensor in zip(tensors, (omega, mass), strict=True):
            found.append(tensor.reshape(len(own), r, r * r))
    return ModeTensors(modes.groups, *tensors)


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
