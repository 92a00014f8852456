# SPDX-License-Identifier: LGPL-3.0-or-later
"""The basis of the localized orthogonal decomposition (``lod_patches``)."""

from __future__ import annotations

import logging
import math

import ufl

from dolfinx_llg.grps.basis import GRPSBasis, counted
from dolfinx_llg.grps.cell_shares import EnergyWatch, element_matrices
from dolfinx_llg.grps.energies import assembled, check_duality, check_energy
from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.grps.lod_patches import LODPatches
from dolfinx_llg.grps.renewal import Renewal
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.lifetimes import tidy

__all__ = ["lod_basis"]

logger = logging.getLogger(__name__)


@checked
def lod_basis(
    energy: ufl.Form, hierarchy: Hierarchy, *, ell: int | None, keep: bool = True
) -> GRPSBasis:
    r"""Compute the basis of the localized orthogonal decomposition (see ``lod_patches``).

    One function for each vertex of the coarse mesh, :math:`\lambda_z - \sum_T C_T^\ell \lambda_z`;
    its Psi is the quasi-interpolation. Everything takes it that takes a GRPS basis.

    Args:
        energy: Bilinear form on ``hierarchy.space`` of integrals over cells.
        hierarchy: Coarse and fine mesh.
        ell: Layers of the correctors' patches around a coarse cell, at least 1; the functions reach
            one layer further. None: global.
        keep: Whether to keep what ``GRPSBasis.update`` starts from.

    Raises:
        ValueError: If ell < 1, the energy is not symmetric, of another space or over facets, the
            fine mesh is too shallow, or a patch problem is singular. On all ranks alike.

    Note: Collective.
    """
    if ell is not None and (int(ell) != ell or ell < 1):
        raise ValueError(
            f"LOD needs patches of at least one layer (ell >= 1, or None for global), got {ell}: a "
            "cell alone is too small for the kernel of the quasi-interpolation"
        )
    kinds = sorted({integral.integral_type() for integral in energy.integrals()})
    if kinds != ["cell"]:
        raise ValueError(f"the energy has integrals over {kinds}, LOD takes integrals over cells")
    tidy(hierarchy.fine)
    A = assembled(energy, hierarchy.space)
    check_energy(A)
    elements = element_matrices(energy, hierarchy.space)
    patches = LODPatches(A, elements, hierarchy)
    measurement = patches.measurement
    P = patches.solve(ell)
    defect = check_duality(P, measurement.Psi)
    logger.info("LOD: %d functions, ell = %s, defect %.1e", P.getSize()[1], ell, defect)
    renewal = Renewal(patches, EnergyWatch(elements, hierarchy), ell, P) if keep else None
    basis = GRPSBasis(P, measurement, ell, math.nan, defect, "lod", "vertex", None, renewal)
    return counted(basis, P.getSize()[1])
