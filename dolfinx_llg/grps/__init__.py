# SPDX-License-Identifier: LGPL-3.0-or-later
"""GRPS coarse spaces: hierarchies, functionals, patches, bases and their files."""

from dolfinx_llg.grps.basis import (
    GRPSBasis,
    anisotropic_form,
    exchange_form,
    grps_basis,
    vector_basis,
)
from dolfinx_llg.grps.basis_file import (
    load_basis,
    save_basis,
)
from dolfinx_llg.grps.coarse import coarse_basis
from dolfinx_llg.grps.hierarchy import (
    Hierarchy,
    match_meshes,
    refine_mesh,
)
from dolfinx_llg.grps.measurement import (
    Measurement,
    derivative_measurement,
    facet_measurement,
    volume_measurement,
)

__all__ = [
    "GRPSBasis",
    "Hierarchy",
    "Measurement",
    "anisotropic_form",
    "coarse_basis",
    "derivative_measurement",
    "exchange_form",
    "facet_measurement",
    "grps_basis",
    "load_basis",
    "match_meshes",
    "refine_mesh",
    "save_basis",
    "vector_basis",
    "volume_measurement",
]
