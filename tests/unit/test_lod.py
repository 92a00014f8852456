# SPDX-License-Identifier: LGPL-3.0-or-later
"""LOD bases against dense minimisers, decay in ell, constants, updates, ranks, refusals."""

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    anisotropic_form,
    exchange_form,
    grps_basis,
    lod_basis,
    refine_mesh,
    torus,
    vector_basis,
    vertex_measurement,
    volume_measurement,
)
from dolfinx_llg.grps.energies import energy_matrix
from dolfinx_llg.physics.literature import hmm_ex2_initial, ms_trig

CELLS = mesh.CellType


def hierarchy_of(comm, kind=CELLS.triangle, n=3):
    if kind in (CELLS.triangle, CELLS.quadrilateral):
        return refine_mesh(mesh.create_unit_square(comm, n, n, cell_type=kind), 2)
    levels = 3 if kind == CELLS.tetrahedron else 2
    return refine_mesh(mesh.create_unit_cube(comm, 1, 1, 2, kind), levels)


def dense(matrix):
    """The whole matrix on every rank, in PETSc's numbering."""
    indptr, indices, values = matrix.getValuesCSR()
    local = np.zeros((matrix.getLocalSize()[0], matrix.getSize()[1]))
    local[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices] = values
    return np.concatenate(matrix.comm.tompi4py().allgather(local))


def minimisers(A, Psi):
    """Minimise x^T A x under Psi x = e_i for all i, from one saddle-point matrix."""
    n, r = Psi.shape[1], Psi.shape[0]
    K = np.block([[A, Psi.T], [Psi, np.zeros((r, r))]])
    return np.linalg.solve(K, np.vstack([np.zeros((n, r)), np.eye(r)]))[:n]


def distance(P, Q):
    other = P.copy()
    other.axpy(-1.0, Q)
    return other.norm() / Q.norm()


@pytest.mark.parametrize("kind", [CELLS.triangle, CELLS.quadrilateral, CELLS.hexahedron])
@pytest.mark.parametrize("energy", ["V1", "V2"])
def test_global_basis_equals_the_dense_minimisers(comm, kind, energy, record_property):
    """Lambda - C lambda with C the projection onto ker I_H minimises the energy under I_H."""
    h = hierarchy_of(comm, kind)
    kappa = llg.cell_coefficient(h.fine, lambda x: 1.0 + 5.0 * x[0] + 3.0 * x[1] ** 2)
    form = (exchange_form if energy == "V1" else anisotropic_form)(h.space, kappa)
    basis = lod_basis(form, h, ell=None)
    A = dense(energy_matrix(form, basis.measurement))
    expected = minimisers(A, dense(basis.Psi))
    deviation = float(np.abs(dense(basis.P) - expected).max())
    record_property("largest deviation", deviation)
    assert deviation < 1e-9
    assert basis.defect < 1e-11


def test_quasi_interpolation_is_a_projection(comm):
    """I_H leaves coarse linear functions as they are, at boundaries too."""
    h = hierarchy_of(comm)
    Psi = vertex_measurement(h).Psi
    x = h.space.tabulate_dof_coordinates()[: h.space.dofmap.index_map.size_local]
    u, values = Psi.createVecRight(), Psi.createVecLeft()
    u.array[:] = 1.0 + 2.0 * x[:, 0] - 3.0 * x[:, 1]
    Psi.mult(u, values)
    points = vertex_measurement(h).points[slice(*Psi.getOwnershipRange())]
    assert (
        np.abs(values.array - 1.0 - 2.0 * points[:, 0] + 3.0 * points[:, 1]).max(initial=0) < 1e-12
    )


def test_decay_and_constants(comm, record_property):
    """The functions add up to 1 at any ell, and come to the global ones exponentially."""
    h = hierarchy_of(comm, n=6)
    form = exchange_form(h.space, llg.cell_coefficient(h.fine, ms_trig))
    whole = lod_basis(form, h, ell=None)
    errors, deviations = [], []
    for ell in (1, 2, 3):
        basis = lod_basis(form, h, ell=ell)
        errors.append(distance(basis.P, whole.P))
        one, data = basis.P.createVecLeft(), basis.P.createVecRight()
        one.set(1.0)
        basis.Psi.mult(one, data)
        basis.P.mult(data, one)
        local = float(np.abs(one.array - 1.0).max(initial=0.0))
        deviations.append(max(comm.allgather(local)))
        assert deviations[-1] < 1e-11
    record_property("largest deviation of the sum from 1", max(deviations))
    factor = min(errors[0] / errors[1], errors[1] / errors[2])
    record_property("least decay factor of a layer", factor)
    # Decay by at least a factor of 2 a layer.
    assert errors[1] < errors[0] / 2
    assert errors[2] < errors[1] / 2


def test_tetrahedra(comm):
    h = hierarchy_of(comm, CELLS.tetrahedron)
    form = exchange_form(h.space, 1.0)
    basis = lod_basis(form, h, ell=1)
    assert basis.P.getSize()[1] == 12
    assert basis.defect < 1e-10


def test_update_equals_a_new_basis(comm):
    h = hierarchy_of(comm, n=6)
    kappa = llg.cell_coefficient(h.fine, ms_trig)
    form = exchange_form(h.space, kappa)
    basis = lod_basis(form, h, ell=1)
    hit = np.abs(h.data.midpoints - 0.15).max(axis=1) < 0.1
    kappa.x.array[: len(h.parent)] *= np.where(hit[h.parent], 40.0, 1.0)
    kappa.x.scatter_forward()
    updated, new = basis.update(form), lod_basis(form, h, ell=1)
    assert distance(updated.P, new.P) < 1e-12
    assert 0 < updated.renewed < new.renewed
    assert distance(updated.P, basis.P) > 1e-3


def test_a_run(comm):
    """The schemes take the basis: a step of gao without projection keeps constants."""
    h = hierarchy_of(comm, n=4)
    kappa = llg.cell_coefficient(h.fine, ms_trig)
    space = vector_basis(lod_basis(exchange_form(h.space, kappa), h, ell=1))
    assert space.dim == 25
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    step = llg.gao(llg.Energy([llg.Exchange(kappa)]), m, dt=1e-3, damping=0.5, projection=True)
    before = step.energy.total(m, 0.0)
    assert [state.n for state in llg.march(step, t_end=3e-3, basis=space)] == [1, 2, 3]
    assert step.energy.total(m, 0.0) < before


def test_refusals(comm):
    h = hierarchy_of(comm)
    form = exchange_form(h.space, 1.0)
    with pytest.raises(ValueError, match="at least one layer"):
        lod_basis(form, h, ell=0)
    shallow = refine_mesh(mesh.create_unit_square(comm, 3, 3), 1)
    with pytest.raises(ValueError, match="too shallow for LOD"):
        lod_basis(exchange_form(shallow.space, 1.0), shallow, ell=1)
    with pytest.raises(ValueError, match="scalar space"):
        lod_basis(form, shallow, ell=1)
    with pytest.raises(ValueError, match="torus"):
        vertex_measurement(torus(h))


def test_components_with_bases_of_their_own(comm):
    """Each LOD basis makes its quasi-interpolation, the same one: they serve one magnetization."""
    h = refine_mesh(mesh.create_unit_square(comm, 2, 2), 2)
    along = lod_basis(exchange_form(h.space, 1.0), h, ell=1)
    across = lod_basis(anisotropic_form(h.space, 1.0), h, ell=1)
    space = vector_basis([along, across, across])
    assert space.dim == 9
    assert space.components[0] is along.P
    cells = grps_basis(exchange_form(h.space, 1.0), volume_measurement(h), ell=1)
    with pytest.raises(ValueError, match="share one Measurement"):
        vector_basis([along, cells, across])
