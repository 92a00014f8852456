# SPDX-License-Identifier: LGPL-3.0-or-later
"""Parts of the stray field: kernels, clusters, surfaces, the term's behaviour, bad input."""

from mpi4py import MPI  # isort: skip

import warnings
from dataclasses import replace

from petsc4py import PETSc

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.collective import total
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.stray_field import (
    BoundaryStorage,
    StrayField,
    demagnetizing_tensor,
    ellipsoid_factors,
    prism_factors,
)
from dolfinx_llg.stray_field.charge import Charge
from dolfinx_llg.stray_field.clusters import block_partition, build_tree
from dolfinx_llg.stray_field.masses import MassSolver
from dolfinx_llg.stray_field.matrices import CellMatrices
from dolfinx_llg.stray_field.native import KERNELS
from dolfinx_llg.stray_field.operator import StrayOperator
from dolfinx_llg.stray_field.single_layer import SingleLayer
from dolfinx_llg.stray_field.surface import Surface, extract_surface


def cube(comm, n=4, kind=mesh.CellType.tetrahedron, size=(1.0, 1.0, 1.0)):
    return mesh.create_box(comm, [[0, 0, 0], size], [n, n, n], cell_type=kind)


def square(n):
    """The unit square as a surface of its own."""
    x = np.arange(n + 1) / n
    nodes = np.stack(np.meshgrid(x, x, [0.0], indexing="ij"), axis=-1).reshape(-1, 3)
    k = np.arange(n * (n + 1)).reshape(n, n + 1)[:, :-1].ravel()
    lower = np.stack([k, k + n + 1, k + n + 2], axis=1)
    upper = np.stack([k, k + n + 2, k + 1], axis=1)
    triangles = np.concatenate([lower, upper])
    number = np.arange(len(nodes))
    return Surface(
        nodes, triangles, triangles, number, np.ones(len(triangles)),
        number.astype(np.int32), number, np.zeros(3), 1.0,
    )  # fmt: skip


# ---- kernels -------------------------------------------------------------------------------------


def test_unit_square_on_itself(comm):
    # int int 1/|x - y| over the unit square: 4 asinh(1) + 4 (1 - sqrt 2)/3, known in closed form.
    exact = 4 * np.arcsinh(1.0) + 4 * (1 - np.sqrt(2)) / 3
    surface = square(6)
    layer = SingleLayer(surface, comm, KERNELS.load(comm), accuracy=1e-6, dense=True, single=False)
    mass = surface.mass()
    ones = np.ones(layer.n)
    assert mass.sum() == pytest.approx(1.0)
    # Midpoint rules of distant pairs and the outer rule of near ones: 2e-6 at 6 cells.
    assert 4 * np.pi * ones @ layer.apply(ones) == pytest.approx(exact, rel=5e-6)


def test_entries_converge_to_the_potential(comm):
    # V sigma over the mass of a hat far away is the potential at its centre of mass.
    surface = square(4)
    layer = SingleLayer(surface, comm, KERNELS.load(comm), accuracy=1e-6, dense=True, single=False)
    sigma = 1.0 + surface.nodes[:, 0] ** 2
    points = np.array([[0.4, 0.3, 0.7], [1.8, -0.5, 0.2], [0.5, 0.5, -0.3]])
    phi, gradient = layer.potential_at(points, sigma)
    # Brute force: each triangle cut in 4^4, its midpoint rule.
    corners, values = surface.nodes[surface.triangles], sigma[surface.split]
    for _ in range(4):
        (a, b, c), (p, q, r) = np.moveaxis(corners, 1, 0), values.T
        ab, bc, ca, pq, qr, rp = (
            0.5 * s for s in (a + b, b + c, c + a, p + q, q + r, r + p)
        )  # fmt: skip
        corners = np.concatenate(
            [np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
        values = np.concatenate(
            [np.stack(t, 1) for t in ((p, pq, rp), (pq, q, qr), (rp, qr, r), (pq, qr, rp))]
        )
    area = 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    brute = [
        np.sum(area * values.mean(axis=1) / np.linalg.norm(corners.mean(axis=1) - x, axis=1))
        for x in points
    ]
    np.testing.assert_allclose(phi, np.array(brute) / (4 * np.pi), rtol=1e-4)
    step = 1e-5
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        ahead, behind = (layer.potential_at(points + s * shift, sigma)[0] for s in (1, -1))
        np.testing.assert_allclose(gradient[:, axis], (ahead - behind) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("single", [False, True])
def test_accuracy_of_the_h_matrix(comm, single):
    V = fem.functionspace(cube(comm, 12), ("Lagrange", 1))
    surface = extract_surface(V, 1.0)
    dense = SingleLayer(surface, comm, KERNELS.load(comm), accuracy=1e-4, dense=True, single=False)
    x = np.random.default_rng(0).random((dense.n, 2))
    exact = dense.apply(x)
    for accuracy in (1e-2, 1e-4, 1e-6):
        layer = SingleLayer(
            surface, comm, KERNELS.load(comm), accuracy=accuracy, dense=False, single=single
        )
        error = np.linalg.norm(layer.apply(x) - exact) / np.linalg.norm(exact)
        # Far blocks err by the accuracy of their own norm; single precision adds 1e-7.
        assert error < accuracy + 2e-7 * single
        # one column alone takes another path
        np.testing.assert_allclose(layer.apply(x[:, 0]), layer.apply(x)[:, 0], rtol=1e-12)


def test_missed_accuracy_raises(comm, monkeypatch):
    V = fem.functionspace(cube(comm, 10), ("Lagrange", 1))
    surface = extract_surface(V, 1.0)
    correct = SingleLayer.apply
    monkeypatch.setattr(SingleLayer, "apply", lambda self, x: 1.001 * correct(self, x))
    with pytest.raises(RuntimeError, match="misses its accuracy"):
        SingleLayer(surface, comm, KERNELS.load(comm), accuracy=1e-5, dense=False, single=False)


def test_blocks_cover_the_upper_triangle_once():
    points = np.random.default_rng(0).random((700, 3))
    tree = build_tree(points, 20)
    assert sorted(tree.order) == list(range(700))
    x = points[tree.order]
    low, high = (
        np.array([f(x[a:b], axis=0) for a, b in tree.range]) for f in (np.min, np.max)
    )  # fmt: skip
    for eta in (0.0, 1.5):
        count = np.zeros((700, 700), dtype=int)
        blocks = block_partition(tree, low, high, np.zeros(len(low)), eta)
        for a, b, c, d, _far in blocks:
            count[a:b, c:d] += 1
            if (a, b) != (c, d):
                count[c:d, a:b] += 1
        assert (count == 1).all()
        assert blocks[:, 4].any() == (eta > 0)


def test_subnormal_numbers_survive_the_kernels(comm):
    # A library linked with -ffast-math by GCC < 13 would flush them to zero in the whole process.
    KERNELS.load(comm)
    assert np.array([5e-324]) * 1.0 > 0


def test_compiled_anew_and_compiler_errors(comm, shared_tmp_path, monkeypatch):
    monkeypatch.setattr(KERNELS, "loaded", None)
    monkeypatch.setenv("DOLFINX_LLG_CACHE", str(shared_tmp_path / "cache"))
    monkeypatch.setenv("CC", "false")
    with pytest.raises(RuntimeError, match="do not compile"):
        KERNELS.load(comm)
    monkeypatch.delenv("CC")
    _, library = KERNELS.load(comm)
    assert library.llg_field
    comm.Barrier()
    assert [p.suffix for p in (shared_tmp_path / "cache").iterdir()] == [".so"]


# ---- surface -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [mesh.CellType.tetrahedron, mesh.CellType.hexahedron])
def test_surface_of_a_cube(comm, kind):
    n = 3
    V = fem.functionspace(cube(comm, n, kind, (2.0, 1.0, 1.0)), ("Lagrange", 1))
    surface = extract_surface(V, 2.0)
    assert len(surface.nodes) == (n + 1) ** 3 - (n - 1) ** 3
    assert len(surface.triangles) == 12 * n**2
    assert len(surface.parent) == 6 * (n + 1) ** 2  # each face has its own nodes
    assert surface.volume == pytest.approx(2.0)
    assert surface.length == pytest.approx(2.0)
    assert surface.mass().sum() * surface.length**2 == pytest.approx(10.0)
    # Ms m.n over a closed surface of constant Ms m vanishes, node by node it is Ms times faces.
    total = surface.charge() @ np.tile([0.0, 0.0, 1.0], len(surface.nodes))
    assert total.sum() == pytest.approx(0.0, abs=1e-14)
    assert np.abs(total).sum() * surface.length**2 == pytest.approx(2.0 * 2 * 2.0)
    assert sum(comm.allgather(len(surface.owned))) == len(surface.nodes)


@pytest.mark.parametrize("ghosts", [mesh.GhostMode.none, mesh.GhostMode.shared_facet])
@pytest.mark.parametrize("kind", [mesh.CellType.tetrahedron, mesh.CellType.hexahedron])
def test_faces_between_ranks_are_inside(comm, kind, ghosts):
    box = mesh.create_box(comm, [[0.0] * 3, [3, 4, 1]], [3, 4, 1], kind, ghost_mode=ghosts)
    surface = extract_surface(fem.functionspace(box, ("Lagrange", 1)), 1.0)
    assert len(surface.triangles) == 76  # 2 (12 + 4 + 3) squares, two triangles each
    assert surface.volume == pytest.approx(12.0, rel=1e-13)


def test_charges_are_projections(comm):
    # A body with plane faces and a curved one: the shortcut on plane pieces is the mass solve.
    msh = cube(comm, 4)
    x = msh.geometry.x
    x[:, 2] *= 1 + 0.3 * x[:, 0] * (1 - x[:, 0])
    surface = extract_surface(fem.functionspace(msh, ("Lagrange", 1)), 0.7)
    charge = Charge(surface, comm)
    charge.share()
    assert 0 < len(charge.curved) < len(surface.parent)
    M, B = surface.mass().toarray(), surface.charge().toarray()
    E = surface.from_split().toarray().T
    rng = np.random.default_rng(0)
    m, q, t = (rng.normal(size=(n, 2)) for n in (B.shape[1], E.shape[1], len(M)))
    expected = np.linalg.solve(M, B @ m) - E @ np.linalg.solve(E.T @ M @ E, E.T @ B @ m - q)
    np.testing.assert_allclose(charge.of(m, q), expected, atol=1e-11)
    on_m, on_q = charge.transpose(t)
    own = m.reshape(-1, 3, 2)[surface.place]
    found = total(comm, np.vdot(on_m, own)) + np.vdot(on_q, q)
    assert found == pytest.approx(np.vdot(t, expected), rel=1e-11)
    # Without creases the magnetization drops out.
    smooth = replace(surface, split=surface.triangles, parent=np.arange(len(surface.nodes)))
    charge, M = Charge(smooth, comm), smooth.mass().toarray()
    charge.share()
    t = t[: len(M)]
    expected = np.linalg.solve(M, q)
    np.testing.assert_allclose(charge.of(m, q), expected, atol=1e-11)
    on_m, on_q = charge.transpose(t)
    assert on_m.shape == own.shape
    assert not on_m.any()
    assert np.vdot(on_q, q) == pytest.approx(np.vdot(t, expected), rel=1e-11)


def test_mass_solves(comm):
    surface = extract_surface(fem.functionspace(cube(comm, 4), ("Lagrange", 1)), 1.0)
    M = surface.mass()
    solver = MassSolver(lambda: M, comm)
    solver.share()
    f = np.random.default_rng(0).normal(size=(len(surface.parent), 3))
    expected = np.linalg.solve(M.toarray(), f)
    close = {"rtol": 0, "atol": 1e-13 * np.abs(expected).max()}
    np.testing.assert_allclose(solver.solve(f), expected, **close)
    np.testing.assert_allclose(solver.solve(f[:, 0].copy()), expected[:, 0], **close)


@pytest.mark.parametrize("kind", [mesh.CellType.tetrahedron, mesh.CellType.hexahedron])
def test_matrices_of_linear_functions(comm, kind):
    # The gradient of a coordinate x_i is e_i on any cells, whatever moved the nodes: then
    # x_i^T K x_j = |Omega| (i = j) and x_i^T G_b = e_i int Ms phi_b, and K takes 1 to 0.
    msh = cube(comm, 4, kind)
    x = msh.geometry.x
    x += 0.03 * np.sin(7 * x @ [[1, 2, 0.5], [0.7, 1, 3], [2, 0.3, 1]])
    Ms = fem.Function(fem.functionspace(msh, ("DG", 0)))
    Ms.interpolate(lambda x: 1 + x[0] + x[1] ** 2)
    V = fem.functionspace(msh, ("Lagrange", 1))
    matrices = CellMatrices(V, Ms)
    volume = sum(comm.allgather(matrices.volume))
    K, G = matrices.stiffness(), matrices.gradient()
    one, y = K.createVecs()
    one.set(1.0)
    K.mult(one, y)
    assert y.norm() < 1e-14
    coordinates = [one.duplicate() for _ in range(3)]
    for vector, values in zip(coordinates, V.tabulate_dof_coordinates().T, strict=True):
        vector.array[:] = values[: len(matrices.lumped)]
    swapped = CellMatrices(V, Ms, transposed=True)
    for i, vector in enumerate(coordinates):
        K.mult(vector, y)
        products = [other.dot(y) for other in coordinates]
        np.testing.assert_allclose(products, volume * np.eye(3)[i], atol=1e-13)
        field = G.createVecRight()
        G.multTranspose(vector, field)
        expected = np.outer(matrices.lumped, np.eye(3)[i])
        np.testing.assert_allclose(field.array.reshape(-1, 3), expected, atol=1e-14)
        for axis in range(3):
            swapped.component(axis).mult(vector, y)
            np.testing.assert_allclose(y.array, expected[:, axis], atol=1e-14)


# ---- the term ------------------------------------------------------------------------------------


def test_term(comm):
    msh = cube(comm)
    Ms = fem.Function(fem.functionspace(msh, ("DG", 0)))
    Ms.interpolate(lambda x: 1.0 + 0.5 * (x[0] > 0.5))
    m = llg.magnetization(msh, lambda x: np.stack([x[0], x[1] - 1, 1 + x[2]]))
    stray = StrayField(m, Ms)
    assert not stray.implicit
    stray.update(m, 0.0)
    kept = stray.h.x.array.copy()
    # The form with vertex quadrature is the functional itself.
    w = ufl.TestFunction(m.function_space)
    form = stray.gradient(m, w) * ufl.dx(metadata=stray.quadrature)
    b = fem.assemble_vector(fem.form(form))
    b.scatter_reverse(mesh_insert_add())
    values = m.x.array[: 3 * len(stray.apply(owned(m)))].reshape(-1, 3)
    weak = stray.apply(values)
    np.testing.assert_allclose(b.array[: weak.size], -weak.ravel(), atol=1e-14)
    E = stray.energy(m)
    assert -0.5 * sum(comm.allgather(np.vdot(weak, values))) == pytest.approx(E, rel=1e-12)
    # An energy of another m leaves the field of the last update alone.
    other = llg.magnetization(msh, (1, 0, 0))
    assert stray.energy(other) != pytest.approx(E, rel=1e-3)
    np.testing.assert_array_equal(stray.h.x.array, kept)
    stray.update(other, 0.0)
    assert np.abs(stray.h.x.array - kept).max() > 0.1
    assert stray.potential.function_space.mesh is msh or len(stray.potential.x.array)
    assert stray.boundary_nodes == 98


def test_changes_of_ms_are_noticed(comm):
    msh = cube(comm)
    Ms = fem.Function(fem.functionspace(msh, ("DG", 0)))
    Ms.x.array[:] = 1.0
    m = llg.magnetization(msh, (0, 0, 1))
    stray = StrayField(m, Ms)
    E = stray.energy(m)
    Ms.x.array[:] = 0.5
    assert stray.energy(m) == pytest.approx(0.25 * E, rel=1e-12)
    stray.update(m, 0.0)
    # h scales with Ms, in units of the reference
    assert stray.h.x.array.reshape(-1, 3)[:, 2].min() > -0.6
    if comm.rank == 0:
        Ms.x.array[0] = -1.0
    with pytest.raises(ValueError, match="Ms"):
        stray.energy(m)


def owned(m):
    return m.x.array[: 3 * m.function_space.dofmap.index_map.size_local].reshape(-1, 3)


def mesh_insert_add():
    from dolfinx.la import InsertMode

    return InsertMode.add


def operator_of(space):
    """The operator whose parts a term does not show, for Ms = 1."""
    return StrayOperator(
        space, 1.0, accuracy=1e-4, storage=BoundaryStorage(), poisson="auto", rtol=1e-5,
        options=Options("stray_field_"), progress=False,
    )  # fmt: skip


def test_film_of_one_layer_takes_no_solve(comm):
    msh = mesh.create_box(comm, [[0, 0, 0], [8, 8, 1]], [8, 8, 1])
    stray = StrayField(msh)
    assert operator_of(stray.h.function_space).interior.size == 0
    m = llg.magnetization(msh, (1, 0, 0))
    exact = 0.5 * 64 * prism_factors(8, 8, 1)[0]
    assert stray.energy(m) == pytest.approx(exact, rel=2e-3)


def test_cache(comm, shared_tmp_path):
    folder = shared_tmp_path / "cache"
    m = llg.magnetization(cube(comm, 6), lambda x: np.stack([x[0], x[1] - 0.5, x[2] + 1]))
    storage = BoundaryStorage(dense_below=0, precision="float64", cache=folder)
    options = {"storage": storage, "poisson": "direct"}
    E = StrayField(m, **options).energy(m)
    (file,) = folder.iterdir()
    again = StrayField(m, **options)
    assert again.energy(m) == pytest.approx(E, rel=1e-14)
    # Any number of ranks reads it.
    alone = llg.magnetization(
        cube(MPI.COMM_SELF, 6), lambda x: np.stack([x[0], x[1] - 0.5, x[2] + 1])
    )
    for rank in range(comm.size):
        if rank == comm.rank:
            assert StrayField(alone, **options).energy(alone) == pytest.approx(E, rel=1e-10)
        comm.Barrier()
    assert len(list(folder.iterdir())) == 1
    # Another mesh, accuracy or storage has another file.
    comm.Barrier()
    StrayField(m, **options | {"accuracy": 1e-3})
    assert len(list(folder.iterdir())) == 2
    comm.Barrier()
    # Files that do not fit are not believed: one of another mesh, one with a bit turned, half one.
    good = file.read_bytes()
    other = next(path for path in folder.iterdir() if path != file).read_bytes()
    damaged = good[:-9] + bytes([good[-9] ^ 1]) + good[-8:]
    for content, message in (
        (other, "another mesh"), (damaged, "damaged"), (good[:5000], "damaged"), (b"", "read"),
    ):  # fmt: skip
        comm.Barrier()
        if comm.rank == 0:
            file.write_bytes(content)
        comm.Barrier()
        with pytest.warns(UserWarning, match=message):
            stray = StrayField(m, **options)
        assert stray.energy(m) == pytest.approx(E, rel=1e-14)
        assert file.read_bytes() == good or comm.size > 1


def test_cache_that_cannot_be_written_costs_a_warning(comm, shared_tmp_path):
    blocked = shared_tmp_path / "file"
    if comm.rank == 0:
        blocked.write_text("not a folder")
    comm.Barrier()
    with pytest.warns(UserWarning, match="not kept"):
        StrayField(cube(comm), storage=BoundaryStorage(cache=blocked))


def test_poisson_matrix_without_round_off(comm):
    # Of tetrahedra in cubes only the six neighbours along the axes are left of fourteen; moved
    # nodes bring the others back, and both solve the same equation.
    def entries(stray):
        interior = operator_of(stray.h.function_space).interior
        return interior.K.getInfo(PETSc.Mat.InfoType.GLOBAL_SUM)["nz_used"] / interior.size

    straight, moved = cube(comm, 6), cube(comm, 6)
    x = moved.geometry.x
    inner = ((x > 1e-6) & (x < 1 - 1e-6)).all(axis=1)
    x[inner] += 1e-7 * np.sin(37 * x[inner] @ [[1, 2, 0.5], [0.7, 1, 3], [2, 0.3, 1]])
    energies = []
    for msh, limits in ((straight, (5, 7)), (moved, (9, 15))):
        stray = StrayField(msh)
        assert limits[0] < entries(stray) <= limits[1]
        state = llg.magnetization(msh, lambda x: np.stack([x[1], 0.2 + x[0] * x[2], x[0]]))
        energies.append(stray.energy(state))
    assert energies[0] == pytest.approx(energies[1], rel=1e-6)  # nodes moved by 1e-7


def test_failed_solve_keeps_the_field(comm):
    msh = cube(comm, 6)
    m = llg.magnetization(msh, (0, 0, 1))
    options = {"ksp_max_it": 1, "pc_type": "none"}
    stray = StrayField(m, poisson="iterative", petsc_options=options)
    twisted = llg.magnetization(msh, lambda x: np.stack([x[1], -x[0], 0.1 + x[2] ** 2]))
    with pytest.raises(llg.ConvergenceError, match="stray field"):
        stray.update(twisted, 0.0)
    assert not stray.h.x.array.any()


def test_unused_options_are_reported(comm):
    m = llg.magnetization(cube(comm), (0, 0, 1))
    stray = StrayField(m, petsc_options={"ksp_rtoll": 1e-3})
    with pytest.warns(UserWarning, match="ksp_rtoll"):
        stray.update(m, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StrayField(m, poisson="iterative", petsc_options={"ksp_rtol": 1e-9}).update(m, 0.0)


def test_closed_forms():
    # Traces are 1; Osborn's prolate ellipsoid 1:1:3; a flat prism against the thin limit.
    assert sum(ellipsoid_factors(1, 2, 3)) == pytest.approx(1)
    e = np.sqrt(1 - 1 / 9)
    assert ellipsoid_factors(1, 1, 3)[2] == pytest.approx(
        (1 - e**2) / e**2 * (np.arctanh(e) / e - 1)
    )
    assert sum(prism_factors(5, 2, 0.3)) == pytest.approx(1)
    assert prism_factors(1, 1, 1) == pytest.approx((1 / 3,) * 3)
    with pytest.raises(ValueError, match="b must be positive"):
        prism_factors(1, 0, 1)


# ---- bad input -----------------------------------------------------------------------------------


def from_arrays(comm, points, cells, kind="tetrahedron"):
    points, cells = np.asarray(points, dtype=np.float64), np.asarray(cells, dtype=np.int64)
    element = basix.ufl.element("Lagrange", kind, 1, shape=(3,))
    if comm.rank:
        points, cells = points[:0], cells[:0]
    return mesh.create_mesh(comm, cells, element, points)


def two_cubes(comm, shift, n=2, m=2):
    """Two unit cubes that share no nodes."""
    parts = []
    for k, cells in ((0, n), (1, m)):
        box = mesh.create_box(MPI.COMM_SELF, [[0, 0, 0], [1, 1, 1]], [cells] * 3)
        parts.append((box.geometry.x + k * np.asarray(shift), box.geometry.dofmaps[0]))
    (x, c), (y, d) = parts
    return from_arrays(comm, np.concatenate([x, y]), np.concatenate([c, d + len(x)]))


def test_bodies_apart_pass(comm):
    StrayField(two_cubes(comm, (1.1, 0.2, 0.0)))
    StrayField(two_cubes(comm, (0.99, 1.01, 0.0)))  # boxes overlap by nothing but their sides


def test_meshes_that_cannot_be_meant(comm):
    with pytest.raises(ValueError, match="in 3D"):
        StrayField(mesh.create_unit_square(comm, 2, 2))
    with pytest.raises(ValueError, match="in 3D"):
        StrayField(mesh.create_unit_interval(comm, 4))
    square_3d = from_arrays(
        comm, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], [[0, 1, 2], [1, 2, 3]], "triangle"
    )
    with pytest.raises(ValueError, match="surface"):
        StrayField(square_3d)
    with pytest.raises(ValueError, match="tetrahedra or hexahedra"):
        StrayField(mesh.create_unit_cube(comm, 2, 2, 2, cell_type=mesh.CellType.prism))
    flat = cube(comm, 2)
    flat.geometry.x[:, 2] = 0.0
    with pytest.raises(ValueError, match="have no volume"):
        StrayField(flat)
    # A node beyond the opposite face of one of its cells turns that cell inside out.
    moved = cube(comm, 3)
    x = moved.geometry.x
    x[np.linalg.norm(x - 1 / 3, axis=1) < 1e-6] = [0.9, 0.5, 0.5]
    with pytest.raises(ValueError, match="turned inside out"):
        StrayField(moved)
    broken = cube(comm, 2)
    if comm.rank == 0:
        broken.geometry.x[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        StrayField(broken)


@pytest.mark.parametrize(
    ("shift", "cells", "match"),
    [
        ((1.0, 0.0, 0.0), (2, 2), "9 nodes of the boundary lie where another"),
        ((1.0, 0.13, 0.17), (2, 2), "inside another body"),  # touching, no common node
        ((0.3, 0.3, 0.3), (2, 3), "inside another body"),
    ],
)
def test_bodies_that_overlap_or_touch(comm, shift, cells, match):
    with pytest.raises(ValueError, match=match):
        StrayField(two_cubes(comm, shift, *cells))


def test_bad_ms(comm):
    msh = cube(comm)
    Q = fem.functionspace(msh, ("DG", 0))
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="Ms"):
            StrayField(msh, bad)
    for bad in ("1", None, True):
        with pytest.raises(TypeError, match="Ms must be"):
            StrayField(msh, bad)
    with pytest.raises(ValueError, match="another mesh"):
        StrayField(msh, fem.Function(fem.functionspace(cube(comm), ("DG", 0))))
    with pytest.raises(ValueError, match="DG0"):
        StrayField(msh, fem.Function(fem.functionspace(msh, ("Lagrange", 1))))
    negative = fem.Function(Q)
    negative.x.array[:] = 1.0
    if comm.rank == 0:
        negative.x.array[0] = -1.0
    with pytest.raises(ValueError, match="Ms"):
        StrayField(msh, negative)


def test_bad_options(comm):
    msh = cube(comm)
    for bad in (0, -1e-3, 1.0, np.nan):
        with pytest.raises(ValueError, match="accuracy"):
            StrayField(msh, accuracy=bad)
    with pytest.raises(TypeError, match="accuracy"):
        StrayField(msh, accuracy="fine")
    with pytest.raises(ValueError, match="dense_below"):
        BoundaryStorage(dense_below=-1)
    with pytest.raises(ValueError, match="precision"):
        BoundaryStorage(precision="float16")
    with pytest.raises(TypeError, match="storage must be a BoundaryStorage"):
        StrayField(msh, storage="float32")
    with pytest.raises(ValueError, match="poisson"):
        StrayField(msh, poisson="magic")
    for bad in (0, 2.0):
        with pytest.raises(ValueError, match="ksp_rtol"):
            StrayField(msh, poisson="iterative", petsc_options={"ksp_rtol": bad})
    with pytest.raises(TypeError, match="StrayField: m must be"):
        StrayField("m")
    with pytest.raises(ValueError, match="3 components"):
        StrayField(fem.functionspace(msh, ("Lagrange", 1)))


def test_bad_arguments_of_methods(comm):
    msh = cube(comm)
    m = llg.magnetization(msh, (0, 0, 1))
    stray = StrayField(m)
    with pytest.raises(ValueError, match="does not live"):
        stray.update(llg.magnetization(cube(comm), (0, 0, 1)), 0.0)
    with pytest.raises(ValueError, match="degree 1"):
        stray.update(fem.Function(fem.functionspace(msh, ("Lagrange", 2, (3,)))), 0.0)
    with pytest.raises(ValueError, match="shape"):
        stray.apply(np.zeros(7))
    stray.update(m, 0.0)
    with pytest.raises(ValueError, match="points must be finite, got"):
        stray.field_at([0.0, np.inf, 0.0])
    with pytest.raises(ValueError, match="points must have shape"):
        stray.field_at([[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"Ms = 0\.5: pass the mesh"):
        demagnetizing_tensor(StrayField(m, 0.5))
    m.x.array[:] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        stray.energy(m)


def test_a_periodic_box_is_refused(comm):
    """The field has no images: steps and minimisers in a periodic basis say so."""
    m = llg.magnetization(mesh.create_unit_cube(comm, 3, 3, 3), (0, 0, 1))
    energy = llg.Energy([llg.Exchange(1.0), llg.StrayField(m)])
    basis = llg.periodic_basis(m.function_space)
    step = llg.tangent_plane(energy, m, dt=0.1, damping=1.0)
    for call in (
        lambda: llg.march(step, t_end=0.1, basis=basis),
        lambda: llg.minimise(energy, m, basis=basis),
    ):
        with pytest.raises(ValueError, match="alone in space, a periodic box"):
            call()
