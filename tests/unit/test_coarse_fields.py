# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stray field in a coarse space: its matrix, who uses it, its file, bad input."""

from mpi4py import MPI  # isort: skip
from petsc4py import PETSc

import numpy as np
import pytest
import ufl
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    coarse_basis,
    coarse_field,
    exchange_form,
    grps_basis,
    load_basis,
    load_field,
    refine_mesh,
    save_basis,
    save_field,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.reduction import hyper_reduce, tensor_reduce
from dolfinx_llg.solvers.coarse_fields import lumped_weights
from dolfinx_llg.stray_field import StrayField, galerkin
from dolfinx_llg.stray_field.operator import StrayOperator

T = 0.1


@pytest.fixture(scope="module")
def space():
    """A box of 2 x 2 x 1 cubes, 24 coarse cells, refined twice; rough kappa and Ms."""
    coarse = mesh.create_box(MPI.COMM_WORLD, [[0, 0, 0], [1, 1, 0.5]], [2, 2, 1])
    h = refine_mesh(coarse, 2)
    kappa = llg.cell_coefficient(h.fine, lambda x: 0.05 * (1.0 + 0.8 * ufl.sin(9 * x[0])))
    Ms = llg.cell_coefficient(h.fine, lambda x: 1.0 + 0.5 * ufl.sin(11 * x[1]))
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0), Ms)], Ms=Ms)
    return h, energy, coarse_basis(energy, h, ell=1)


def magnet(h):
    return llg.magnetization(h.fine, lambda x: np.stack([1 + x[0], x[1] - x[2], 0.3 + x[2]]))


def stray_of(space, **options):
    h, energy, _ = space
    return StrayField(h.fine, energy.Ms, progress=False, **options)


def coefficients(basis, seed=1):
    """A vector of V_H, the same on any ranks, and its values on the fine mesh."""
    c, u = basis.P.createVecRight(), basis.P.createVecLeft()
    whole = np.random.default_rng(seed).standard_normal(c.getSize())
    c.array[:] = whole[slice(*c.getOwnershipRange())]
    basis.prolong(c, u)
    return whole, u.array.reshape(-1, 3).copy()


def whole(basis, fine):
    """P^T of fine values, replicated."""
    c, u = basis.P.createVecRight(), basis.P.createVecLeft()
    u.array[:] = fine.ravel()
    basis.restrict(u, c)
    return np.concatenate(basis.P.comm.tompi4py().allgather(c.array.copy()))


class Projected(llg.FieldTerm):
    """The fine stray field of the part of m in V_H, itself brought to V_H: two sparse solves."""

    def __init__(self, stray, basis):
        super().__init__(stray.Ms)
        self.stray, self.basis = stray, basis
        n = basis.P.getSizes()[0]
        self.W = PETSc.Mat().createAIJ((n, n), nnz=1, comm=basis.P.comm)
        self.weights = lumped_weights(stray.Ms, stray.h.function_space)[:, 0]
        d = self.W.createVecLeft()
        d.array[:] = np.repeat(self.weights, 3)
        self.W.setDiagonal(d)
        self.W.assemble()
        self.ksp = PETSc.KSP().create(basis.P.comm)
        self.ksp.setOperators(self.W.PtAP(basis.P))
        self.ksp.setType("preonly")
        self.ksp.getPC().setType("lu")
        if basis.P.comm.size > 1:
            self.ksp.getPC().setFactorSolverType("mumps")
        self.u, self.c, self.b = d, basis.P.createVecRight(), basis.P.createVecRight()

    def inside(self, weak):
        self.u.array[:] = weak.ravel()
        self.basis.restrict(self.u, self.b)
        self.ksp.solve(self.b, self.c)
        self.basis.prolong(self.c, self.u)
        return self.u.array.reshape(-1, 3).copy()

    def compute(self, m, h):
        n = 3 * len(self.weights)
        c = self.inside(self.weights[:, None] * m.x.array[:n].reshape(-1, 3))
        h.x.array[:n] = self.inside(self.stray.apply(c)).ravel()
        h.x.scatter_forward()


def test_the_matrix_is_that_of_the_fine_field(space, monkeypatch):
    _, _, basis = space
    monkeypatch.setattr(galerkin, "FUNCTIONS", 5)  # several rounds of unequal batches
    V = magnet(space[0]).function_space
    exact = stray_of(space, poisson="direct")
    for stray in (exact, stray_of(space, poisson="iterative")):
        found = coarse_field(stray, basis, V)
        assert coarse_field(stray, basis, V) is found
        c, fine = coefficients(basis)
        expected = whole(basis, exact.apply(fine))
        # Both factorize K_ii here: round-off of direct solves.
        assert np.abs(found.matrix @ c + expected).max() <= 1e-13 * np.abs(expected).max()
        np.testing.assert_array_equal(found.matrix, found.matrix.T)
        assert np.linalg.eigvalsh(found.matrix)[0] > 0.0
        m = magnet(space[0])
        m.x.array[: fine.size] = fine.ravel()
        m.x.scatter_forward()
        assert found.energy(m) == pytest.approx(exact.energy(m), rel=1e-12)
        assert found.energy(m) == pytest.approx(0.5 * c @ found.matrix @ c, rel=1e-12)


def test_fewer_functions_than_ranks(comm):
    """One function, of one cube: on several ranks all but one have nothing to do."""
    cube = mesh.create_unit_cube(comm, 1, 1, 1, cell_type=mesh.CellType.hexahedron)
    h = refine_mesh(cube, 2)
    basis = coarse_basis(llg.Energy([llg.Exchange(1.0)]), h, ell=1)
    m = llg.magnetization(h.fine, (0, 0, 1))
    found = coarse_field(StrayField(h.fine, progress=False), basis, m.function_space)
    assert basis.dim == 1
    # 1/3 each by symmetry and trace, to the error of 4^3 cells; the function is near 1.
    np.testing.assert_allclose(found.matrix, np.eye(3) / 3, atol=0.01)


def test_it_is_self_adjoint_outside_the_space(space):
    """For any m: the field is minus the gradient of the energy of the part in V_H."""
    h, _, basis = space
    m, w = magnet(h), llg.magnetization(h.fine, lambda x: np.stack([x[2], 1 - x[0], x[1] * x[0]]))
    field = coarse_field(stray_of(space), basis, m.function_space)
    hm, hw = field.field(m).copy(), field.field(w).copy()
    n = len(field.weights)

    def dot(a, b):
        local = (field.weights * a.x.array[: 3 * n].reshape(-1, 3)) * b.x.array[: 3 * n].reshape(
            -1, 3
        )
        return sum(h.comm.allgather(float(local.sum())))

    assert dot(hm, w) == pytest.approx(dot(hw, m), rel=1e-11)
    assert field.energy(m) == pytest.approx(-0.5 * dot(hm, m), rel=1e-11)


STEPS = {
    "gao": lambda energy, m: llg.gao(energy, m, dt=T / 4, damping=0.5),
    "projected": lambda energy, m: llg.an(energy, m, dt=T / 4, damping=0.5),
    "tangent": lambda energy, m: llg.tangent_plane(energy, m, dt=T / 4, damping=llg.Gilbert(0.5)),
    "midpoint": lambda energy, m: llg.midpoint(energy, m, dt=T / 8, damping=0.5),
}


@pytest.mark.filterwarnings("ignore:.*obtuse angle:UserWarning")
@pytest.mark.parametrize("name", STEPS)
def test_runs_take_it(space, name, monkeypatch):
    """A run in the basis is that with the fine field brought to V_H; it meets no fine solve."""
    h, energy, basis = space
    stray = stray_of(space, poisson="direct")
    found = []
    tight = {"ksp_rtol": 1e-12}
    for term in (stray, Projected(stray, basis)):
        m = magnet(h)
        step = STEPS[name](energy + term, m)
        stepper = llg.stepper(step, basis=basis, petsc_options=tight)
        stepper.start(0.0)
        if term is stray:  # but where the run starts, whose energies are those of the fine field
            stepper.fields.pairs()
            monkeypatch.setattr(StrayOperator, "apply", None)
        for _ in range(3):
            stepper.advance(stepper.t + stepper.dt, stepper.dt)
            stepper.accept()
        monkeypatch.undo()
        found.append(m.x.array.copy())
    # Two Krylov tolerances of 1e-12 over three steps.
    assert max(h.comm.allgather(float(np.abs(found[0] - found[1]).max()))) < 1e-9
    assert stray.stand_in is None
    stray.update(m, 0.0)
    assert stray.energy(m) > 0.0


def test_a_fine_run_takes_the_fine_field(space):
    h, energy, basis = space
    stray = stray_of(space)
    m = magnet(h)
    for _ in llg.march(llg.gao(energy + stray, m, dt=T, damping=0.5), t_end=T, basis=basis):
        pass
    assert stray in basis.fields
    coarse_h = stray.h.x.array.copy()
    stray.update(m, 0.0)
    assert max(h.comm.allgather(float(np.abs(stray.h.x.array - coarse_h).max()))) > 0.05
    fine = stray_of(space, in_basis="fine")
    m = magnet(h)
    for _ in llg.march(llg.gao(energy + fine, m, dt=T, damping=0.5), t_end=T, basis=basis):
        pass
    assert fine not in basis.fields
    with pytest.raises(ValueError, match="in_basis='fine'"):
        coarse_field(fine, basis, m.function_space)


def test_minimisers_take_it(space, monkeypatch):
    h, energy, basis = space
    stray = stray_of(space)
    m = magnet(h)
    coarse_field(stray, basis, m.function_space)
    monkeypatch.setattr(stray, "compute", None)
    found = llg.minimise(energy + stray, m, basis=basis, torque=1e-6)
    alone = magnet(h)
    other = llg.minimise(
        energy + coarse_field(stray, basis, m.function_space), alone, basis=basis, torque=1e-6
    )
    assert found.torque <= 1e-6
    np.testing.assert_allclose(m.x.array, alone.x.array, atol=1e-4)
    assert other.energy < (energy + coarse_field(stray, basis, m.function_space)).total(magnet(h))


@pytest.mark.parametrize("scheme", [llg.gao, llg.an])
def test_reductions_never_touch_the_fine_field(space, scheme, monkeypatch):
    h, energy, basis = space
    stray = stray_of(space)
    total = energy + stray
    projection = scheme is llg.an
    m = magnet(h)
    step = scheme(total, m, dt=T / 8, damping=0.5, projection=projection)
    start = m.x.array.copy()
    for _ in llg.march(step, t_end=T, basis=basis):
        pass
    expected = m.x.array.copy()
    energies = (energy + basis.fields[stray]).total(m)
    m.x.array[:] = start
    monkeypatch.setattr(StrayOperator, "apply", None)
    run = hyper_reduce(step, basis, h, t_train=T, energy=total, tolerance=1e-4)
    for _ in llg.march(run, t_end=T):
        pass
    run.reconstruct()
    change = max(h.comm.allgather(float(np.abs(expected - start).max())))
    # The tolerance of the cubature times the change of m, of order 1, and some.
    assert change > 0.05
    assert max(h.comm.allgather(float(np.abs(m.x.array - expected).max()))) < 2e-3
    assert run.by_term(total)["StrayField"] > 0.0
    assert run.total(total) == pytest.approx(energies, rel=1e-2)
    if projection:
        return
    m.x.array[:] = start
    options = {"dt": T / 8, "damping": 0.5, "tolerance": 1e-4}
    tensors = tensor_reduce(scheme, total, m, basis, h, **options)
    for _ in llg.march(tensors, t_end=T):
        pass
    tensors.reconstruct()
    # With 24 functions kappa |grad m|^2 is projected on 8 modes of a cell: 3 % of its reaction.
    assert max(h.comm.allgather(float(np.abs(m.x.array - expected).max()))) < 2e-3
    exact = (energy + basis.fields[stray]).by_term(m)
    found = tensors.by_term(total)
    assert found.pop("StrayField") == pytest.approx(exact.pop("CoarseField"), rel=1e-9)
    assert found == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("scheme", [llg.gao, llg.cimrak, llg.an, llg.prohl])
def test_tensors_of_every_scheme_take_it(space, scheme):
    """Against the same coarse run with assembly on the fine mesh; the field moves m by 2e-2.

    At little damping: the reaction is projected on the few modes of a cell, which moves m by 7e-5
    here. The field itself is the same.
    """
    h, energy, basis = space
    total, t_end = energy + stray_of(space), T / 2
    options = {"dt": T / 4, "damping": 0.05}
    m = magnet(h)
    for _ in llg.march(scheme(total, m, projection=False, **options), t_end=t_end, basis=basis):
        pass
    expected = m.x.array.copy()
    m = magnet(h)
    run = tensor_reduce(scheme, total, m, basis, h, tolerance=1e-4, **options)
    for _ in llg.march(run, t_end=t_end):
        pass
    run.reconstruct()
    error = max(h.comm.allgather(float(np.abs(m.x.array - expected).max())))
    assert error < 2e-4
    (field,) = (field for term, field in basis.fields.items() if term in total.terms)
    assert run.by_term(total)["StrayField"] == pytest.approx(field.energy(m), rel=1e-9)


def test_a_changed_ms_is_noticed(comm):
    h = refine_mesh(mesh.create_unit_cube(comm, 1, 1, 1), 2)
    Ms = llg.cell_coefficient(h.fine, 1.0)
    stray = StrayField(h.fine, Ms, progress=False)
    energy = llg.Energy([llg.Exchange(0.1), stray], Ms=Ms)
    m = llg.magnetization(h.fine, (0, 0, 1))
    basis = coarse_basis(energy, h, ell=2)
    field = coarse_field(stray, basis, m.function_space)
    E, matrix = field.energy(m), field.matrix
    Ms.x.array[:] = 0.5
    assert field.energy(m) == pytest.approx(0.25 * E, rel=1e-12)
    np.testing.assert_allclose(field.matrix, 0.25 * matrix, atol=1e-12)


def test_files(space, comm, tmp_path):
    h, _, basis = space
    tmp_path = comm.bcast(tmp_path)
    V = magnet(h).function_space
    stray = stray_of(space)
    field = coarse_field(stray, basis, V)
    save_field(tmp_path / "field.npz", field)
    again = stray_of(space)
    found = load_field(tmp_path / "field.npz", again, basis, V)
    np.testing.assert_allclose(found.matrix, field.matrix, rtol=0, atol=1e-14)
    assert basis.fields[again] is found
    with pytest.raises(ValueError, match="coarse space or Ms"):
        load_field(tmp_path / "field.npz", StrayField(h.fine, progress=False), basis, V)
    with pytest.raises(ValueError, match="holds a StrayField, not a Projected"):
        load_field(tmp_path / "field.npz", Projected(stray, basis), basis, V)
    form, functionals = exchange_form(h.space, 1.0), volume_measurement(h)
    scalar = grps_basis(form, functionals, ell=1)
    other = vector_basis(scalar)
    with pytest.raises(ValueError, match="coarse space or Ms"):
        load_field(tmp_path / "field.npz", again, other, V)
    # With the basis, in one file.
    save_basis(tmp_path / "basis.npz", scalar, form, field=coarse_field(stray, other, V))
    back = vector_basis(load_basis(tmp_path / "basis.npz", form, functionals))
    both = load_field(tmp_path / "basis.npz", stray, back, V)
    c, _ = coefficients(back)
    np.testing.assert_allclose(both.matrix @ c, other.fields[stray].matrix @ c, atol=1e-12)
    save_basis(tmp_path / "bare.npz", scalar, form)
    with pytest.raises(ValueError, match="lacks"):
        load_field(tmp_path / "bare.npz", stray, back, V)
    with pytest.raises(FileNotFoundError, match="no file of a field"):
        load_field(tmp_path / "none.npz", stray, back, V)


def test_bad_input(space, comm):
    h, _, basis = space
    stray = stray_of(space)
    small = llg.magnetization(mesh.create_unit_cube(comm, 2, 2, 2), (0, 0, 1))
    with pytest.raises(ValueError, match="the basis has"):
        coarse_field(stray, basis, small.function_space)
    with pytest.raises(TypeError, match="term must be"):
        coarse_field("stray", basis, small.function_space)
    with pytest.raises(ValueError, match="no matrix in a coarse space"):
        coarse_field(Projected(stray, basis), basis, magnet(h).function_space)
