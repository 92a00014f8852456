# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs in V_H: the same on any number of ranks; constants stay constant."""

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    anisotropic_form,
    exchange_form,
    facet_measurement,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.physics import cell_coefficient
from dolfinx_llg.physics.literature import hmm_ex2_initial, ms_trig

MEASUREMENTS = {"V": volume_measurement, "E": facet_measurement}
TIGHT = {"ksp_rtol": 1e-13}


def coarse_run(comm, scheme, kind, ell, *, projection, m0=hmm_ex2_initial, dt=2e-3, steps=4):
    """March (V1)+(V2) on 4 x 4 coarse and 32 x 32 fine squares."""
    h = refine_mesh(mesh.create_unit_square(comm, 4, 4), 3)
    kappa, measurement = cell_coefficient(h.fine, ms_trig), MEASUREMENTS[kind](h)
    one, two = (
        grps_basis(form(h.space, kappa), measurement, ell=ell, localization="constants")
        for form in (exchange_form, anisotropic_form)
    )
    m = llg.magnetization(h.fine, m0)
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
    step = scheme(energy, m, dt=dt, damping=0.7, projection=projection)
    options = TIGHT | ({"snes_rtol": 1e-13} if scheme is llg.prohl else {})
    basis = vector_basis([one, two, two])
    for _ in llg.march(step, t_end=steps * dt, basis=basis, petsc_options=options):
        pass
    return m


def nodal_values(m):
    """All nodal values in the order of the coordinates, on every rank."""
    V = m.function_space
    own, comm = V.dofmap.index_map.size_local, V.mesh.comm
    x = np.concatenate(comm.allgather(V.tabulate_dof_coordinates()[:own]))
    values = np.concatenate(comm.allgather(m.x.array[: 3 * own].reshape(-1, 3)))
    return values[np.lexsort(np.rint(x * 1e6).T)]


@pytest.mark.parametrize(
    ("scheme", "kind", "ell", "projection"),
    [
        (llg.gao, "V", 2, False),
        (llg.an, "E", 2, True),
        (llg.cimrak, "V", None, True),
        (llg.prohl, "V", 2, True),
    ],
)
def test_ranks_agree(comm, scheme, kind, ell, projection):
    """Basis and run on all ranks against the same on one, rtol 1e-13: m to 1e-10 at every node.

    Round-off of the bases, 1e-13, and of 4 solves (matrices of condition 1e3) remains.
    """
    together = coarse_run(comm, scheme, kind, ell, projection=projection)
    alone = coarse_run(MPI.COMM_SELF, scheme, kind, ell, projection=projection)
    found, expected = nodal_values(together), nodal_values(alone)
    assert found.shape == expected.shape == (33**2, 3)
    assert np.abs(found - expected).max() < 1e-10
    # It has moved: equal initial data would prove nothing.
    start = nodal_values(llg.magnetization(alone.function_space.mesh, hmm_ex2_initial))
    assert np.abs(expected - start).max() > 0.05


@pytest.mark.parametrize("projection", [False, True])
def test_constants_stay_constant(comm, projection):
    """The paper's datum in V at ell = 2: constant in space at all times, as by the ODE.

    Gao's step for constants is (I + dt A) m' = m + dt lambda |m_a|^2 m with
    A = lambda D - [m]x D, D = diag(0, 1, 1); round-off of a few steps and the solver's 1e-13.
    """
    m0 = np.array([1 / np.sqrt(2), 1 / np.sqrt(3), 1 / np.sqrt(6)])
    m = coarse_run(comm, llg.gao, "V", 2, projection=projection, m0=tuple(m0), dt=1 / 16, steps=5)
    D = np.diag([0.0, 1.0, 1.0])
    for _ in range(5):
        cross = np.array([[0, -m0[2], m0[1]], [m0[2], 0, -m0[0]], [-m0[1], m0[0], 0]]) @ D
        m0 = np.linalg.solve(16 * np.eye(3) + 0.7 * D - cross, (16 + 0.7 * m0 @ D @ m0) * m0)
        m0 = m0 / np.linalg.norm(m0) if projection else m0
    assert np.abs(nodal_values(m) - m0).max() < 1e-10


@pytest.mark.parametrize("localization", ["patches", "constants"])
def test_ell_beyond_the_mesh_is_said(comm, caplog, localization):
    """More layers than the mesh has: the global basis, and a line in the log on every rank."""
    h = refine_mesh(mesh.create_unit_square(comm, 3, 3), 2)
    form, measurement = exchange_form(h.space, 1.0), volume_measurement(h)
    whole = grps_basis(form, measurement)
    with caplog.at_level("INFO", logger="dolfinx_llg.grps"):
        basis = grps_basis(form, measurement, ell=20, localization=localization)
    assert "ell = 20 reaches the whole mesh, the basis is global" in caplog.text
    difference = basis.P.copy()
    difference.axpy(-1.0, whole.P, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    assert difference.norm() < 1e-12 * whole.P.norm()
