# SPDX-License-Identifier: LGPL-3.0-or-later
"""GRPS bases against a dense global oracle, localization, ranks, files, bad input."""

import math
from pathlib import Path

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
import scipy.sparse as sp
import ufl
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    anisotropic_form,
    derivative_measurement,
    exchange_form,
    facet_measurement,
    grps_basis,
    load_basis,
    match_meshes,
    refine_mesh,
    save_basis,
    suggest_cells,
    torus,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.grps.energies import energy_matrix
from dolfinx_llg.io_mesh import read_mesh
from dolfinx_llg.physics import cell_coefficient, checkerboard
from dolfinx_llg.physics.literature import ms_trig

KINDS = mesh.CellType
MESHES = Path(__file__).parents[2] / "meshes"
MEASUREMENTS = {
    "volume": volume_measurement,
    "facet": facet_measurement,
    "facets with the boundary's": lambda h: facet_measurement(h, boundary=True),
    "derivative": derivative_measurement,
}


def square(comm, n=3, levels=2, kind=KINDS.triangle):
    return refine_mesh(mesh.create_unit_square(comm, n, n, cell_type=kind), levels)


def energies(h):
    """(V1), (V2) and a user's own form: tensor kappa, a region with another mass."""
    kappa = cell_coefficient(h.fine, ms_trig)
    tensor = ufl.as_matrix([[2.0, 0.7], [0.7, 1.0]])
    x = ufl.SpatialCoordinate(h.fine)
    region = ufl.conditional(ufl.lt(x[0], 0.5), 3.0, 0.0)
    return {
        "V1": exchange_form(h.space, kappa),
        "V2": anisotropic_form(h.space, kappa),
        "own": anisotropic_form(h.space, kappa * tensor, region),
    }


def gather(matrix: PETSc.Mat, rows, columns) -> np.ndarray:
    """The whole matrix on every rank, rows and columns in the order of their points."""
    indptr, indices, values = matrix.getValuesCSR()
    local = np.zeros((matrix.getLocalSize()[0], matrix.getSize()[1]))
    local[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices] = values
    dense = np.concatenate(matrix.comm.tompi4py().allgather(local))
    return dense[np.ix_(by_place(rows), by_place(columns))]


def test_a_basis_on_a_coarse_mesh_from_gmsh(comm):
    """2992 triangles around discs, one layer: Psi P = I, and the functions add up to 1."""
    h = refine_mesh(read_mesh(comm, MESHES / "square_inclusions.xdmf").mesh, 2)
    form, functionals = (
        exchange_form(h.space, cell_coefficient(h.fine, ms_trig)),
        volume_measurement(h),
    )
    basis = grps_basis(form, functionals, ell=1, localization="constants")
    product = basis.Psi.matMult(basis.P)
    product.shift(-1.0)
    assert product.norm(PETSc.NormType.INFINITY) < 1e-9  # round-off times 1/|T| = 3e3
    product.destroy()
    one, data = basis.P.createVecs()[::-1]
    one.set(1.0)
    basis.Psi.mult(one, data)
    basis.P.mult(data, one)
    assert np.abs(one.array - 1.0).max(initial=0.0) < 1e-10


def by_place(points):
    return np.lexsort(np.rint(points * 1e6).T)


def dof_points(h):
    own = h.space.tabulate_dof_coordinates()[: h.space.dofmap.index_map.size_local]
    return np.concatenate(h.comm.allgather(own[:, : h.data.points.shape[2]]))


def dense_of(basis) -> np.ndarray:
    return gather(basis.P, dof_points(basis.measurement.hierarchy), basis.measurement.points)


def oracle(A: np.ndarray, Psi: np.ndarray, free=None, acting=None) -> np.ndarray:
    """All minimisers at once from the saddle-point matrix; rows outside ``free`` are zero."""
    free = np.arange(len(A)) if free is None else free
    acting = np.arange(len(Psi)) if acting is None else acting
    n, r = len(free), len(acting)
    B = Psi[np.ix_(acting, free)]
    scale = np.abs(B).max()
    K = np.block([[A[np.ix_(free, free)], B.T / scale], [B / scale, np.zeros((r, r))]])
    right = np.vstack([np.zeros((n, r)), np.eye(r) / scale])
    out = np.zeros((len(A), r))
    out[free] = np.linalg.solve(K, right)[:n]
    return out


@pytest.mark.parametrize("measurement", MEASUREMENTS)
@pytest.mark.parametrize("energy", ["V1", "V2", "own"])
@pytest.mark.parametrize("method", ["condensed", "saddle"])
def test_global_basis_equals_the_dense_oracle(comm, measurement, energy, method):
    """No step is shared with the oracle: matrices gathered, one dense solve."""
    h = square(comm)
    form, m = energies(h)[energy], MEASUREMENTS[measurement](h)
    basis = grps_basis(form, m, method=method)
    x = dof_points(h)
    expected = oracle(gather(energy_matrix(form, m), x, x), gather(m.Psi, m.points, x))
    # Condition of the dense saddle matrix: about 1e4 (contrast 40, h^-2 = 144).
    assert np.abs(dense_of(basis) - expected).max() < 1e-11 * np.abs(expected).max()
    assert basis.defect < 1e-13


@pytest.mark.parametrize("measurement", MEASUREMENTS)
@pytest.mark.parametrize("kind", [KINDS.triangle, KINDS.quadrilateral])
def test_local_basis_equals_the_dense_oracle(comm, measurement, kind):
    """The patch of one functional, its free dofs found from coordinates alone (remark 3.1)."""
    h = square(comm, 4, 2, kind)
    form, m = (
        exchange_form(h.space, cell_coefficient(h.fine, ms_trig)),
        MEASUREMENTS[measurement](h),
    )
    basis, ell = grps_basis(form, m, ell=1), 1
    P = dense_of(basis)
    x = dof_points(h)
    A, Psi = gather(energy_matrix(form, m), x, x), gather(m.Psi, m.points, x)
    x, order = x[by_place(x)], by_place(m.points)
    points = m.points[order]
    for wanted in range(0, len(points), 7):
        # Layers of vertices on a uniform grid, corners compared as points.
        cells = set(np.flatnonzero(m.seeds[order[wanted]].toarray()[0]))
        corners = [set(map(tuple, np.round(c, 6).tolist())) for c in h.data.points]
        for _ in range(ell):
            met = set().union(*(corners[T] for T in cells))
            cells = {T for T in range(len(corners)) if corners[T] & met}
        outside = [T for T in range(len(corners)) if T not in cells]
        touched = np.zeros(len(x), dtype=bool)
        for T in outside:
            distance = h.data.barycentric(np.full(len(x), T), x)
            touched |= distance.min(axis=1) > -1e-9
        free = np.flatnonzero(~touched)
        acting = np.flatnonzero(np.abs(Psi[:, free]).sum(axis=1) > 1e-12)
        # Functionals of cells outside see no free dof: what acts lies in the patch.
        expected = oracle(A, Psi, free, acting)[:, acting.tolist().index(wanted)]
        assert np.abs(P[:, wanted] - expected).max() < 1e-11 * np.abs(expected).max()


def test_reference_decay(comm):
    """Energy-norm localization errors of V, (V1), MsTrig, Nc = 8, h = 2^-7, over all functions.

    An independent NumPy code gave 16, 2.2, 0.37, 0.068 % for ell = 1..4, two digits; 10 % covers
    those and another way to average over the functions. Minimisers are orthogonal to what they
    miss, so the squared errors are differences of energies.
    """
    h = square(comm, 8, 4)
    m = volume_measurement(h)
    A = energy_matrix(exchange_form(h.space, cell_coefficient(h.fine, ms_trig)), m)
    energy = [total_energy(A, grps_basis(A, m, ell=ell).P) for ell in (1, 2, 3, 4, None)]
    found = np.sqrt(np.array(energy[:-1]) / energy[-1] - 1.0)
    assert found == pytest.approx([0.16, 0.022, 0.0037, 0.00068], rel=0.1)


def total_energy(A, P) -> float:
    image = A.matMult(P)
    product = sum(float(a @ b) for a, b in [(P.getValuesCSR()[2], on_pattern(image, P))])
    return sum(MPI.COMM_WORLD.allgather(product))


def on_pattern(matrix, pattern) -> np.ndarray:
    """Entries of a matrix at the places of another one, rank by rank."""
    indptr, columns, _ = pattern.getValuesCSR()
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    mine = matrix.getValuesCSR()
    table = sp.csr_matrix((mine[2], mine[1], mine[0]), shape=(len(indptr) - 1, matrix.getSize()[1]))
    return np.asarray(table[rows, columns]).ravel()


@pytest.mark.parametrize("measurement", ["volume", "facet"])
@pytest.mark.parametrize("ell", [2, None])
def test_ranks_agree(comm, measurement, ell):
    """The basis of all ranks equals that of one rank alone to 1e-10 of its largest entry."""
    tables = []
    for some in (comm, MPI.COMM_SELF):
        h = square(some, 6, 3)
        form = exchange_form(h.space, cell_coefficient(h.fine, ms_trig))
        tables.append(dense_of(grps_basis(form, MEASUREMENTS[measurement](h), ell=ell)))
    assert np.abs(tables[0] - tables[1]).max() < 1e-10 * np.abs(tables[1]).max()


def test_meshes_partitioned_apart(comm):
    """Coarse and fine cells on different ranks: the same basis as with children at home."""
    tables = []
    for apart in (True, False):
        coarse = mesh.create_unit_square(comm, 4, 4)
        h = (
            match_meshes(coarse, mesh.create_unit_square(comm, 16, 16))
            if apart
            else refine_mesh(coarse, 2)
        )
        form = exchange_form(h.space, cell_coefficient(h.fine, ms_trig))
        tables.append(dense_of(grps_basis(form, facet_measurement(h), ell=1)))
    assert np.abs(tables[0] - tables[1]).max() < 1e-10 * np.abs(tables[1]).max()


@pytest.mark.parametrize("kind", [KINDS.tetrahedron, KINDS.hexahedron])
@pytest.mark.parametrize("measurement", ["volume", "facet"])
def test_three_dimensions(comm, kind, measurement):
    """Condensed and saddle-point patches agree on a cube of 2^3 boxes."""
    h = refine_mesh(mesh.create_unit_cube(comm, 2, 2, 2, cell_type=kind), 2)
    kappa = checkerboard(h.fine, 4, contrast=100.0, seed=3)
    m = MEASUREMENTS[measurement](h)
    for ell in (0, 1):
        one, two = (
            dense_of(grps_basis(exchange_form(h.space, kappa), m, ell=ell, method=method))
            for method in ("condensed", "saddle")
        )
        assert np.abs(one - two).max() < 1e-10 * np.abs(two).max()


def test_large_ell_is_global(comm):
    h = square(comm)
    m = facet_measurement(h)
    form = energies(h)["V1"]
    whole, large = (dense_of(grps_basis(form, m, ell=ell)) for ell in (None, 50))
    assert np.abs(whole - large).max() < 1e-12 * np.abs(whole).max()


def test_accuracy_chooses_ell(comm):
    """The error of the chosen ell, measured on all functions, is what was asked within 2."""
    h = square(comm, 6, 3)
    m, form = volume_measurement(h), energies(h)["V1"]
    A = energy_matrix(form, m)
    exact = total_energy(A, grps_basis(A, m).P)
    layers = []
    for accuracy in (3e-2, 3e-3):
        basis = grps_basis(A, m, accuracy=accuracy)
        error = math.sqrt(total_energy(A, basis.P) / exact - 1.0)
        assert basis.estimate <= accuracy
        assert error < 2 * accuracy
        layers.append(basis.ell)
    assert 1 <= layers[0] < layers[1] <= 4, layers


def test_contrast_warns(comm):
    """Contrast 1e8: a warning, and still Psi P = I (round-off times the ratio of neighbours)."""
    h = square(comm, 4, 2)
    kappa = checkerboard(h.fine, 8, contrast=1e8, seed=1)
    for make in (volume_measurement, facet_measurement):
        with pytest.warns(UserWarning, match=r"spreads over \de\+08"):
            basis = grps_basis(exchange_form(h.space, kappa), make(h), ell=2)
        assert basis.defect < 1e-10


def test_components(comm):
    """(V1) for m_1, (V2) for m_2 and m_3, or one for all: each component has its own P."""
    h = square(comm)
    m = volume_measurement(h)
    one, two = (grps_basis(energies(h)[name], m, ell=ell) for name, ell in (("V1", 1), ("V2", 2)))
    for parts in ((one, one, one), (one, two, two)):
        basis = vector_basis(list(parts))
        c, x = basis.P.createVecs()
        c.array[:] = np.cos(np.arange(*c.getOwnershipRange()))
        basis.prolong(c, x)
        for component, scalar in enumerate(parts):
            part, image = scalar.P.createVecs()
            part.array[:] = c.array[component::3]
            scalar.P.mult(part, image)
            assert np.abs(image.array - x.array[component::3]).max(initial=0.0) < 1e-13
    back = c.duplicate()
    basis.coefficients(x, back)
    assert (back - c).norm() < 1e-12
    with pytest.raises(ValueError, match="share one Measurement"):
        vector_basis([one, two, grps_basis(energies(h)["V2"], volume_measurement(h), ell=1)])
    with pytest.raises(ValueError, match="3 components, got 2"):
        vector_basis([one, two])
    with pytest.raises(ValueError, match="same components"):
        llg.GalerkinBasis([one.P, two.P], [m.Psi] * 3)


def test_bad_input(comm):
    h = square(comm)
    m = volume_measurement(h)
    V = h.space
    form = energies(h)["V1"]
    for wrong, message in (({"ell": -1}, "ell must be"), ({"ell": 1.5}, "ell must be"),
                           ({"accuracy": 2.0}, "accuracy must"), ({"method": "qr"}, "method must"),
                           ({"ell": 1, "accuracy": 0.1}, "not both")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            grps_basis(form, m, **wrong)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    with pytest.raises(ValueError, match="finite and symmetric"):
        grps_basis(form + u.dx(0) * v * ufl.dx, m)
    with pytest.raises(ValueError, match="must be positive"):
        grps_basis(-form, m)
    with pytest.raises(ValueError, match="hierarchy's scalar space"):
        grps_basis(exchange_form(square(comm).space, 1.0), m)
    # One refinement leaves no dof inside a triangle: no condensation, but saddle points.
    shallow = square(comm, 3, 1)
    m1 = volume_measurement(shallow)
    with pytest.raises(ValueError, match="1 functionals and only 0 dofs inside"):
        grps_basis(exchange_form(shallow.space, 1.0), m1, ell=1, method="condensed")
    assert grps_basis(exchange_form(shallow.space, 1.0), m1, ell=1).defect < 1e-12
    with pytest.raises(ValueError, match=r"the patch of 1 coarse cells.* has 0 free dofs for 1"):
        grps_basis(exchange_form(shallow.space, 1.0), m1, ell=0)
    many = derivative_measurement(shallow)
    with pytest.raises(ValueError, match=r"free dofs for .* functionals: refine"):
        grps_basis(exchange_form(shallow.space, 1.0), many, ell=1)
    # An energy blind to functions of x_2 alone, of which many have no cell means.
    blind = u.dx(0) * v.dx(0) * ufl.dx
    for method in ("condensed", "saddle"):
        with pytest.raises(ValueError, match="is singular"):
            grps_basis(blind, m, method=method)


def test_files(comm, shared_tmp_path):
    """What is loaded is what was saved, also on another number of ranks; nothing else is."""
    path = shared_tmp_path / "basis.npz"
    h = square(comm)
    m, forms = volume_measurement(h), energies(h)
    basis = grps_basis(forms["V1"], m, ell=1)
    save_basis(path, basis, forms["V1"])
    loaded = load_basis(path, forms["V1"], m, ell=1)
    assert loaded.ell == 1
    assert loaded.P.getSizes() == basis.P.getSizes()
    assert np.array_equal(dense_of(loaded), dense_of(basis))
    alone = square(MPI.COMM_SELF)
    again = load_basis(path, energies(alone)["V1"], volume_measurement(alone))
    assert np.array_equal(dense_of(again), dense_of(basis))
    with pytest.raises(ValueError, match="another energy"):
        load_basis(path, forms["V2"], m)
    one_cell = cell_coefficient(h.fine, ms_trig)
    if comm.rank == 0:
        one_cell.x.array[:1] *= 1.0 + 1e-6
    one_cell.x.scatter_forward()
    with pytest.raises(ValueError, match="another energy"):
        load_basis(path, exchange_form(h.space, one_cell), m)
    other = square(comm, 4)
    with pytest.raises(ValueError, match=r"another mesh \(169 dofs, here 289\)"):
        load_basis(path, energies(other)["V1"], volume_measurement(other))
    with pytest.raises(ValueError, match="volume functionals, not facet"):
        load_basis(path, forms["V1"], facet_measurement(h))
    with pytest.raises(ValueError, match="of ell = 1, not of ell = 2"):
        load_basis(path, forms["V1"], m, ell=2)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_basis(shared_tmp_path / "nothing.npz", forms["V1"], m)


@pytest.mark.parametrize("measurement", MEASUREMENTS)
@pytest.mark.parametrize("energy", ["V1", "V2"])
def test_localization_that_keeps_constants(comm, measurement, energy):
    """The data of 1 give 1 at any ell; the basis decays to the global one, which it equals last.

    Constants lie in the global space of (V1), and of (V2) for functionals with cell averages: not
    for facets, where (V2) is let off.
    """
    h = square(comm, 4, 2)
    form, m = energies(h)[energy], MEASUREMENTS[measurement](h)
    whole = grps_basis(form, m)
    A = energy_matrix(form, m)
    ones, image = whole.P.createVecLeft(), whole.P.createVecLeft()
    ones.set(1.0)
    data = m.Psi.createVecLeft()
    m.Psi.mult(ones, data)
    errors = []
    for ell in (1, 2, 3, 9):
        basis = grps_basis(form, m, ell=ell, localization="constants")
        assert basis.defect < 1e-12
        if not (energy == "V2" and "facet" in measurement):
            basis.P.mult(data, image)
            image.axpy(-1.0, ones)
            assert image.norm(PETSc.NormType.INF) < 1e-11, ell
        patches = grps_basis(form, m, ell=ell)  # the support is the same
        assert basis.P.getInfo(2)["nz_used"] <= patches.P.getInfo(2)["nz_used"] or ell == 1
        difference = basis.P.copy()
        difference.axpy(-1.0, whole.P, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        image_of = A.matMult(difference)
        errors.append(difference.transposeMatMult(image_of).getDiagonal().max()[1])
    # Squared energies fall by far more than 4 per layer; the patches of 8 layers are
    # all of 4 x 4 cells.
    assert errors[0] > 4 * errors[1] > 16 * errors[2], errors
    largest = A.PtAP(whole.P).getDiagonal().max()[1]
    assert errors[3] < 1e-18 * largest, errors


def test_constants_need_a_form_and_a_layer(comm):
    h = square(comm, 2, 2)
    form, m = energies(h)["V1"], volume_measurement(h)
    with pytest.raises(ValueError, match="needs the energy as a form"):
        grps_basis(energy_matrix(form, m), m, ell=1, localization="constants")
    with pytest.raises(ValueError, match="ell >= 1, got 0"):
        grps_basis(form, m, ell=0, localization="constants")
    with pytest.raises(ValueError, match="'patches' or 'constants', got 'none'"):
        grps_basis(form, m, ell=1, localization="none")
    V = h.space
    robin = form + ufl.TrialFunction(V) * ufl.TestFunction(V) * ufl.ds
    with pytest.raises(ValueError, match="takes integrals over cells alone"):
        grps_basis(robin, m, ell=1, localization="constants")


def test_accuracy_with_constants(comm):
    """The chosen ell keeps the wanted accuracy, measured over all functions against the global."""
    h = square(comm, 5, 2)
    form, m = energies(h)["V1"], volume_measurement(h)
    basis = grps_basis(form, m, accuracy=0.05, localization="constants")
    whole, A = grps_basis(form, m), energy_matrix(form, m)
    difference = basis.P.copy()
    difference.axpy(-1.0, whole.P, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    squared = [P.transposeMatMult(A.matMult(P)).getDiagonal() for P in (difference, whole.P)]
    worst = max(comm.allgather(float((squared[0].array / squared[1].array).max(initial=0.0))))
    # Five samples stand for all functions: a factor of 2 is left to the others.
    assert math.sqrt(worst) < 2 * 0.05
    assert basis.estimate <= 0.05
    assert 1 <= basis.ell < 5


@pytest.mark.parametrize("measurement", ["volume", "facet"])
def test_deep_cells_are_condensed_sparsely(comm, measurement, monkeypatch):
    """The sparse elimination, of cells too large for the dense one, gives the same basis."""
    h = square(comm, 3, 2)
    form, m = energies(h)["V2"], MEASUREMENTS[measurement](h)
    dense = dense_of(grps_basis(form, m, ell=2))
    monkeypatch.setattr("dolfinx_llg.grps.condensed_cell._DENSE", -1)
    sparse = dense_of(grps_basis(form, m, ell=2))
    assert not np.array_equal(dense, sparse)  # another elimination, hence other round-off
    assert np.abs(dense - sparse).max() < 1e-11 * np.abs(dense).max()


def test_constants_on_a_rank_without_cells(comm):
    """Two coarse cells: the third rank owns none, and the basis is built all the same."""
    h = square(comm, 1, 2)
    basis = grps_basis(energies(h)["V1"], volume_measurement(h), ell=1, localization="constants")
    assert basis.defect < 1e-12


@pytest.mark.parametrize("layers", ["vertex", "facet"])
@pytest.mark.parametrize("localization", ["patches", "constants"])
def test_a_basis_on_a_torus_is_invariant_under_shifts(comm, layers, localization, record_property):
    """With constant kappa all functions of one kind of triangle are shifts of each other.

    So their energies are two numbers, to the error of the patch solves; and opposite nodes agree.
    """
    h = torus(square(comm, n=4))
    form = exchange_form(h.space, 1.0)
    basis = grps_basis(form, volume_measurement(h), ell=1, localization=localization, layers=layers)
    assert basis.defect < 1e-10
    A = energy_matrix(form, basis.measurement)
    diagonal = A.PtAP(basis.P).getDiagonal()
    values = np.concatenate(comm.allgather(diagonal.array.copy()))
    assert len(values) == 32
    record_property("relative spread of energies", np.ptp(values) / values.max())
    assert np.ptp(values) < 1e-8 * values.max()  # the two kinds are images of each other too
    periodic = llg.periodic_basis(h.space)
    first = basis.function(0).x.array[: h.space.dofmap.index_map.size_local].copy()
    assert np.max(np.abs(periodic.enter(first)[1] - first), initial=0.0) < 1e-13


def test_layers_by_facets_give_smaller_patches(comm):
    """Fewer entries at the same number of layers, and the same global basis in the end."""
    h = square(comm, n=4)
    form, functionals = exchange_form(h.space, 1.0), volume_measurement(h)
    by = {k: grps_basis(form, functionals, ell=1, layers=k) for k in ("vertex", "facet")}
    entries = [
        b.P.getInfo(PETSc.Mat.InfoType.GLOBAL_SUM)["nz_used"] for b in (by["facet"], by["vertex"])
    ]
    assert entries[0] < 0.6 * entries[1]
    far = grps_basis(form, functionals, ell=16, layers="facet").P
    far.axpy(-1.0, grps_basis(form, functionals).P, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
    assert far.norm() < 1e-9


def test_a_basis_of_a_torus_goes_to_no_file(comm, tmp_path):
    h = torus(square(comm, n=3))
    form, functionals = exchange_form(h.space, 1.0), volume_measurement(h)
    basis = grps_basis(form, functionals, ell=1)
    with pytest.raises(ValueError, match="periodic functions"):
        save_basis(tmp_path / "basis.npz", basis, form)
    with pytest.raises(ValueError, match="basis of a torus"):
        load_basis(tmp_path / "basis.npz", form, functionals)


def test_how_many_cells_an_accuracy_needs(comm):
    """Errors fall like H^2, the choice is the coarsest that does, and constants have no error."""
    fine = mesh.create_unit_square(comm, 32, 32)
    energy = llg.Energy([llg.Exchange(checkerboard(fine, (8, 8), contrast=10, seed=1))])
    meshes = [mesh.create_unit_square(comm, n, n) for n in (8, 4)]
    hierarchies = [match_meshes(coarse, fine) for coarse in meshes]
    found = suggest_cells(energy, hierarchies, 0.1)
    finer, coarser = found.rows
    assert (finer.cells, coarser.cells, finer.functions) == (128, 32, 128)
    # Order 2 in the energy norm and 3 in L2, less what ell = 3 leaves out.
    assert coarser.error > 3.5 * finer.error
    assert coarser.error_l2 > 8 * finer.error_l2
    assert finer.error < 0.1 < coarser.error
    assert found.choice == 0
    constant = llg.magnetization(fine, (1.0, 2.0, 2.0))  # which every space has
    found = suggest_cells(energy, hierarchies, 1e-9, states=[constant])
    assert max(row.error for row in found.rows) < 1e-9
    assert found.choice == 1  # the fewest cells
    assert suggest_cells(energy, hierarchies[1:], 0.1).choice is None
