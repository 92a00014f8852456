# SPDX-License-Identifier: LGPL-3.0-or-later
"""GRPS coarse spaces: hierarchies, functionals, patches, bases and their files."""

from dolfinx_llg.grps.basis import (
    GRPSBasis,
    anisotropic_form,
    exchange_form,
    grps_basis,
)
from dolfinx_llg.grps.basis_file import (
    load_basis,
    save_basis,
)
from dolfinx_llg.grps.cell_numbers import CellNumber, SuggestedCells, suggest_cells
from dolfinx_llg.grps.coarse import coarse_basis
from dolfinx_llg.grps.field_file import load_field, save_field
from dolfinx_llg.grps.hierarchy import (
    Hierarchy,
    match_meshes,
    refine_mesh,
    torus,
)
from dolfinx_llg.grps.lod import lod_basis
from dolfinx_llg.grps.lod_patches import vertex_measurement
from dolfinx_llg.grps.measurement import (
    Measurement,
    derivative_measurement,
    facet_measurement,
    volume_measurement,
)
from dolfinx_llg.grps.slod import slod_basis
from dolfinx_llg.grps.vector import CoarseBasis, vector_basis
from dolfinx_llg.solvers.coarse_fields import CoarseField, coarse_field

__all__ = [
    "CellNumber",
    "CoarseBasis",
    "CoarseField",
    "GRPSBasis",
    "Hierarchy",
    "Measurement",
    "SuggestedCells",
    "anisotropic_form",
    "coarse_basis",
    "coarse_field",
    "derivative_measurement",
    "exchange_form",
    "facet_measurement",
    "grps_basis",
    "load_basis",
    "load_field",
    "lod_basis",
    "match_meshes",
    "refine_mesh",
    "save_basis",
    "save_field",
    "slod_basis",
    "suggest_cells",
    "torus",
    "vector_basis",
    "vertex_measurement",
    "volume_measurement",
]
