# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tangent-plane steps in V_H factor by factor: the same as by triple products and MUMPS."""

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import anisotropic_form, exchange_form, grps_basis, vector_basis
from dolfinx_llg.grps.hierarchy import refine_mesh
from dolfinx_llg.grps.measurement import volume_measurement
from dolfinx_llg.physics.cell_data import cell_coefficient
from dolfinx_llg.physics.literature import hmm_ex2_initial, ms_trig
from dolfinx_llg.schemes.tangent_plane import tangent_plane
from dolfinx_llg.solvers.tangent.solver import TangentStepper

TIGHT = {"ksp_rtol": 1e-12}


@pytest.fixture(scope="module")
def setting():
    """A sparse basis, of (V1) alone, and a full one, (V1) for m_1 and (V2) for m_2, m_3."""
    h = refine_mesh(mesh.create_unit_square(MPI.COMM_WORLD, 6, 6), 2)
    kappa, measurement = cell_coefficient(h.fine, ms_trig), volume_measurement(h)
    sparse = grps_basis(exchange_form(h.space, kappa), measurement, ell=1)
    full = [
        grps_basis(form(h.space, kappa), measurement) for form in (exchange_form, anisotropic_form)
    ]
    return h, {"sparse": vector_basis(sparse), "full": vector_basis([full[0], full[1], full[1]])}


def run(setting, basis, preconditioner, *, options=None, change=1.0, second_order=False):
    """Two steps, and after a change of kappa and dt a third; the final m and the stepper."""
    h, bases = setting
    kappa = cell_coefficient(h.fine, ms_trig)
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
    damping = llg.Gilbert(0.2)
    step = tangent_plane(energy, m, dt=0.02, damping=damping, second_order=second_order)
    stepper = TangentStepper(
        step, basis=bases[basis], preconditioner=preconditioner, petsc_options=options
    )
    for state in llg.march(stepper, t_end=0.05):
        if state.n == 2:
            kappa.x.array[:] *= change
            step.dt.value = 0.01
    return m.x.array.copy(), stepper


@pytest.mark.parametrize("second_order", [False, True])
@pytest.mark.parametrize("basis", ["sparse", "full"])
def test_equals_direct(setting, basis, second_order):
    """GMRES to 1e-12 of the right side: with condition numbers of some hundred below 1e-9."""
    cases = {"change": 1.5, "second_order": second_order}
    found, iterative = run(setting, basis, "auto", options=TIGHT, **cases)
    expected, direct = run(setting, basis, "mumps", **cases)
    assert iterative.form == ("saddle-point", "scalable")
    assert direct.form == ("saddle-point", "mumps")
    assert np.abs(found - expected).max(initial=0.0) < 1e-9
    # The change is seen: a stale matrix would pass otherwise.
    unchanged, _ = run(setting, basis, "auto", options=TIGHT, second_order=second_order)
    size = max(setting[0].comm.allgather(float(np.abs(unchanged - found).max(initial=0.0))))
    assert size > 1e-4


def test_few_iterations(setting):
    """At the default tolerance, as many as on the fine mesh, where 0.41 is gained in each: 16."""
    _, stepper = run(setting, "sparse", "auto")
    assert 2 < stepper.iterations <= 20


def test_constraint_against_coarse_space(setting):
    """v.m = 0 against V_H to the tolerance; at nodes it is not zero."""
    h, bases = setting
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    energy = llg.Energy([llg.Exchange(cell_coefficient(h.fine, ms_trig))])
    step = tangent_plane(energy, m, dt=0.02, damping=llg.Gilbert(0.2))
    stepper = TangentStepper(step, basis=bases["sparse"], petsc_options=TIGHT)
    stepper.start(0.0)
    before = m.x.array.copy()
    stepper.advance(0.02, 0.02)
    stepper.accept()
    P = bases["sparse"].components[0]
    defect, weak = P.createVecLeft(), P.createVecRight()
    n = stepper.blocks.n
    v, old = (a.reshape(-1, 3)[:n] for a in (step.v.x.array, before))
    defect.array[:] = stepper.blocks.mass * np.sum(v * old, axis=1)
    P.multTranspose(defect, weak)
    assert weak.norm() < 1e-8 * defect.norm()
    assert defect.norm() > 0.0
