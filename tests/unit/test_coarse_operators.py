# SPDX-License-Identifier: LGPL-3.0-or-later
"""Steps in V_H factor by factor: the same as by triple products and a direct solver."""

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    anisotropic_form,
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.physics import cell_coefficient
from dolfinx_llg.physics.literature import hmm_ex2_initial, ms_trig
from dolfinx_llg.solvers.coarse_operators import CoarseOperators, is_spread
from dolfinx_llg.solvers.operators import StepOperators
from dolfinx_llg.solvers.weak import WeakStepper

DIRECT = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}
TIGHT = {"ksp_rtol": 1e-13}


@pytest.fixture(scope="module")
def setting():
    """A sparse basis, of (V1) alone, and a full one, (V1) for m_1 and (V2) for m_2, m_3."""
    h = refine_mesh(mesh.create_unit_square(MPI.COMM_WORLD, 6, 6), 2)
    kappa, measurement = cell_coefficient(h.fine, ms_trig), volume_measurement(h)
    sparse = grps_basis(exchange_form(h.space, kappa), measurement, ell=1)
    full = [
        grps_basis(form(h.space, kappa), measurement) for form in (exchange_form, anisotropic_form)
    ]
    bases = {"sparse": vector_basis(sparse), "full": vector_basis([full[0], full[1], full[1]])}
    return h, bases


def run(setting, basis, scheme, options, change=1.0):
    """Two steps; then, with another kappa and dt, one more."""
    h, bases = setting
    kappa = cell_coefficient(h.fine, ms_trig)
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
    step = scheme(energy, m, dt=0.004, damping=0.3)
    stepper = WeakStepper(step, basis=bases[basis], petsc_options=options)
    for state in llg.march(stepper, t_end=0.012):
        if state.n == 2 and change != 1.0:
            kappa.x.array[:] *= change
            step.dt.value = 0.002
    return m.x.array.copy(), stepper


@pytest.mark.parametrize("basis", ["sparse", "full"])
@pytest.mark.parametrize("scheme", [llg.gao, llg.prohl])
def test_equals_triple_products(setting, basis, scheme):
    """GMRES on P^T (A (P x)) against MUMPS on the assembled P^T A P, with a change on the way.

    Condition numbers times the tolerance 1e-13 of the iteration stay below 1e-10.
    """
    nonlinear = {"snes_rtol": 1e-12} if scheme is llg.prohl else {}
    found, solver = run(setting, basis, scheme, TIGHT | nonlinear, 1.5)
    expected, direct = run(setting, basis, scheme, DIRECT | nonlinear, 1.5)
    assert isinstance(solver.operators, CoarseOperators)
    assert isinstance(direct.operators, StepOperators)
    assert solver.operators.prolongation.dense == (basis == "full")
    assert np.abs(found - expected).max(initial=0.0) < 1e-10
    # The change is seen: a stale matrix would pass otherwise.
    kept, _ = run(setting, basis, scheme, TIGHT | nonlinear)
    size = max(setting[0].comm.allgather(float(np.abs(kept - found).max(initial=0.0))))
    assert size > 1e-4


@pytest.mark.parametrize("basis", ["sparse", "full"])
def test_scalar_operator(setting, basis):
    """What the preconditioner is made of equals the average over the blocks of triple products.

    With one P for all components to round-off; else up to anisotropy (1/100 of the stiffness) times
    the difference of the bases (below 1e-4), since the components are averaged before they meet P.
    """
    tolerance = 1e-12 if basis == "sparse" else 1e-6
    h, bases = setting
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    energy = llg.Energy([llg.Exchange(ms_trig), llg.UniaxialAnisotropy((1, 0, 0))])
    step = llg.gao(energy, m, dt=0.004, damping=0.3)
    pairs = [
        operators.scalar_operator(0.004, stretched=True)
        for operators in (
            CoarseOperators(step, bases[basis]),
            StepOperators(step, bases[basis], blocked=False),
        )
    ]
    (found, ratio), (expected, expected_ratio) = pairs
    assert ratio == pytest.approx(expected_ratio, rel=tolerance)
    size = expected.norm()
    found.axpy(-1.0, expected, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    assert found.norm() < tolerance * size


def test_where_it_is_taken(comm, setting):
    """Bases whose functions do not overlap keep their triple products; shapes are checked."""
    h, bases = setting
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    assert is_spread(bases["sparse"])
    assert not is_spread(llg.periodic_basis(m.function_space))
    other = llg.magnetization(mesh.create_unit_square(comm, 5, 5), hmm_ex2_initial)
    energy = llg.Energy([llg.Exchange(1.0)])
    with pytest.raises(ValueError, match=r"the basis has 1875 rows, the space of m 108 dofs"):
        WeakStepper(llg.gao(energy, other, dt=0.01, damping=1.0), basis=bases["sparse"])
