# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fixtures of unit tests: a coarse space for reduced runs."""

from mpi4py import MPI  # isort: skip

import pytest
from dolfinx import mesh

from dolfinx_llg.grps import (
    anisotropic_form,
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.physics import cell_coefficient
from dolfinx_llg.physics.literature import ms_trig


@pytest.fixture(scope="module")
def space():
    """H = 1/4, h = 1/32, (V1) for m_1 and (V2) for m_2, m_3."""
    h = refine_mesh(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), 3)
    kappa, functionals = cell_coefficient(h.fine, ms_trig), volume_measurement(h)
    one, two = (
        grps_basis(form, functionals, ell=3, localization="constants")
        for form in (exchange_form(h.space, kappa), anisotropic_form(h.space, kappa))
    )
    return h, kappa, vector_basis([one, two, two])
