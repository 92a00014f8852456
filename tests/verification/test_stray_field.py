# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stray field against closed forms, the tensor of finite differences, and its own symmetry."""

import itertools

from mpi4py import MPI  # isort: skip

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.collective import total
from dolfinx_llg.stray_field import (
    BoundaryStorage,
    StrayField,
    demagnetizing_tensor,
    ellipsoid_factors,
    prism_factors,
)

# Corners of the six tetrahedra of a cube along the diagonal 0-7.
KUHN = np.array(
    [[0, 1, 3, 7], [0, 1, 5, 7], [0, 2, 3, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 4, 6, 7]]
)


def grid(n, size=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), hexahedra=False):
    """Points and cells of a box."""
    nx, ny, nz = n
    axes = [o + s * np.arange(k + 1) / k for o, s, k in zip(origin, size, n, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    number = np.arange(len(points)).reshape(nx + 1, ny + 1, nz + 1)
    bits = [(k & 1, k >> 1 & 1, k >> 2) for k in range(8)]
    cubes = np.stack(
        [number[i : i + nx, j : j + ny, k : k + nz].ravel() for i, j, k in bits], axis=1
    )
    return points, cubes if hexahedra else cubes[:, KUHN].reshape(-1, 4)


def ball(n, radius=1.0, centre=(0.0, 0.0, 0.0)):
    """A cube of 2n cells a side, mapped to a ball."""
    x, cells = grid((2 * n,) * 3, (2.0,) * 3, (-1.0,) * 3)
    u, v, w = (x**2).T
    scale = np.stack([1 - v / 2 - w / 2 + v * w / 3, 1 - u / 2 - w / 2 + u * w / 3,
                      1 - u / 2 - v / 2 + u * v / 3], axis=1)  # fmt: skip
    return radius * x * np.sqrt(scale) + np.array(centre), cells


def build(comm, *bodies):
    """A mesh of bodies that share the nodes at equal places."""
    points = np.concatenate([x for x, _ in bodies])
    shift = np.cumsum([0] + [len(x) for x, _ in bodies])
    cells = np.concatenate([c + s for (_, c), s in zip(bodies, shift, strict=False)])
    _, first, inverse = np.unique(
        np.round(points / np.abs(points).max(), 9), axis=0, return_index=True, return_inverse=True
    )
    points, cells = points[first], inverse.ravel()[cells]
    kind = "tetrahedron" if cells.shape[1] == 4 else "hexahedron"
    element = basix.ufl.element("Lagrange", kind, 1, shape=(3,))
    if comm.rank > 0:
        points, cells = points[:0], cells[:0]
    return mesh.create_mesh(comm, cells.astype(np.int64), element, points)


def energy(msh, m0, Ms=1.0, **options):
    m = llg.magnetization(msh, m0)
    return StrayField(m, Ms, **options).energy(m)


def dot(comm, a, b):
    return sum(comm.allgather(float(np.vdot(a, b))))


def vortex(x):
    """A core along z in the unit cube, no charge on the sides of a circle."""
    X, Y = x[0] - 0.5, x[1] - 0.5
    core = np.exp(-8 * (X**2 + Y**2))
    return np.stack([-Y * (1 - 0.5 * core), X * (1 - 0.5 * core), 0.5 * core])


def flower(x):
    X, Y, Z = (x[i] - 0.5 for i in range(3))
    return np.stack([0.6 * X * Z, 0.6 * Y * Z, np.ones_like(X)])


def jump(msh, low, high, axis=2, at=0.5):
    """Ms = low where x[axis] < at."""
    Q = fem.functionspace(msh, ("DG", 0))
    Ms = fem.Function(Q)
    Ms.interpolate(lambda x: np.where(x[axis] < at, low, high))
    Ms.x.scatter_forward()
    return Ms


# ---- symmetry ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "storage", [BoundaryStorage(), BoundaryStorage(0), BoundaryStorage(0, "float64")], ids=str
)
def test_symmetric_non_negative_and_exact_gradient(comm, storage, record_property):
    # Direct solves: only round-off is left, 1e-16 times a few hundred operations per entry,
    # whatever the accuracy and the storage of the boundary operator.
    msh = build(comm, grid((5, 4, 6), (1.0, 0.7, 1.1)))
    stray = StrayField(msh, jump(msh, 1.0, 0.4), poisson="direct", storage=storage)
    rng = np.random.default_rng(comm.rank)
    shape = (stray.h.function_space.dofmap.index_map.size_local, 3)
    a, b = rng.normal(size=(2, *shape))
    ha, hb = stray.apply(a), stray.apply(b)
    size = abs(dot(comm, a, ha) * dot(comm, b, hb)) ** 0.5
    gap = abs(dot(comm, a, hb) - dot(comm, b, ha))
    record_property("asymmetry", gap / size)
    assert gap <= 1e-12 * size
    assert dot(comm, a, ha) < 0
    assert dot(comm, b, hb) < 0
    # Taylor: E(m + s w) = E(m) - s <h, w> + s^2 E(w) with no remainder.
    m, w = (fem.Function(stray.h.function_space) for _ in range(2))
    m.x.array[: a.size], w.x.array[: b.size] = a.ravel(), b.ravel()
    s = 1e-2
    sum_ = fem.Function(m.function_space)
    sum_.x.array[:] = m.x.array + s * w.x.array
    E = stray.energy(m)
    rest = stray.energy(sum_) - E + s * dot(comm, ha, b) - s**2 * stray.energy(w)
    record_property("Taylor remainder", abs(rest / E))
    assert abs(rest) <= 1e-13 * abs(E)
    # Several right sides at once are those one by one.
    both = stray.apply(np.stack([a, b], axis=2))
    np.testing.assert_allclose(both[..., 0], ha, atol=1e-13 * np.abs(both).max(initial=0.0))
    np.testing.assert_allclose(both[..., 1], hb, atol=1e-13 * np.abs(both).max(initial=0.0))


@pytest.mark.parametrize(
    "storage", [BoundaryStorage(), BoundaryStorage(0), BoundaryStorage(0, "float64")], ids=str
)
def test_independent_of_ranks(comm, storage):
    # Sums in another order change 1e-16 at a time; the tree and all blocks are the same.
    values = []
    for ranks in (comm, MPI.COMM_SELF):
        msh = build(ranks, grid((6, 6, 6)))
        values.append(energy(msh, vortex, jump(msh, 1.0, 0.5), storage=storage))
    assert values[0] == pytest.approx(values[1], rel=1e-10)


def test_unit_of_length_and_rotation(comm, record_property):
    # Dense and direct: the same arithmetic but for round-off; E scales like L^3.
    points, cells = grid((5, 5, 5))
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    E = energy(build(comm, (points, cells)), vortex)
    metres = build(comm, (1e-9 * points, cells))
    scaled = energy(metres, lambda x: vortex(1e9 * x))
    assert scaled == pytest.approx(1e-27 * E, rel=1e-11)
    turned = build(comm, (points @ turn.T, cells))
    rotated = energy(turned, lambda x: turn @ vortex(turn.T @ x))
    gaps = abs(scaled / (1e-27 * E) - 1), abs(rotated / E - 1)
    record_property("largest deviation, dense", max(gaps))
    assert rotated == pytest.approx(E, rel=1e-11)
    # The H-matrix makes another tree: its accuracy of 1e-4 acts on far blocks alone.
    blocks = BoundaryStorage(dense_below=0)
    rotated = energy(turned, lambda x: turn @ vortex(turn.T @ x), storage=blocks)
    record_property("deviation, H-matrix", abs(rotated / E - 1))
    assert rotated == pytest.approx(E, rel=1e-5)


def test_iterative_solver_agrees_with_direct(comm):
    # rtol 1e-5 of the flux: so errs the field; 1e-6 in the energy.
    for scale in (1.0, 1e-9):
        points, cells = grid((8, 8, 8))
        msh = build(comm, (scale * points, cells))
        m = llg.magnetization(msh, lambda x, scale=scale: vortex(x / scale))
        direct, iterative = StrayField(m, poisson="direct"), StrayField(m, poisson="iterative")
        assert iterative.energy(m) == pytest.approx(direct.energy(m), rel=1e-6)
        for stray in (direct, iterative):
            stray.update(m, 0.0)
        np.testing.assert_allclose(iterative.h.x.array, direct.h.x.array, atol=2e-5)


# ---- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("hexahedra", [False, True])
def test_cube(comm, hexahedra, record_property):
    # E = Ms^2 V/6, a state whose charge is exact: what is left is quadrature on tetrahedra, and on
    # hexahedra the corners of the trilinear trace, of order 2.
    errors = [
        energy(build(comm, grid((n,) * 3, hexahedra=hexahedra)), (0, 0, 1)) * 6 - 1 for n in (4, 8)
    ]
    kind, order = "hexahedra" if hexahedra else "tetrahedra", np.log2(abs(errors[0] / errors[1]))
    record_property(f"relative error, {kind}", abs(errors[1]))
    record_property(f"order, {kind}", order)
    assert abs(errors[1]) < (2e-4 if hexahedra else 1e-5)
    assert order > 1.5


def test_ball(comm, record_property):
    # The energy of the polyhedron against its own volume: N = 1/3.
    msh = build(comm, ball(4))
    N = demagnetizing_tensor(msh)
    record_property("largest deviation", np.abs(N - np.eye(3) / 3).max())
    np.testing.assert_allclose(N, np.eye(3) / 3, atol=5e-4)


def test_orders_in_h_on_balls(comm, record_property):
    # Against the ball itself: energies and fields err by the polyhedron's volume, order 2. Inside,
    # the field of any polyhedron is -m/3 but for its corners; at nodes of the surface, which are
    # few more than a layer, order 1 in places, 1 to 1.5 in L2.
    outside = np.array([[1.5, 0.3, 0.2], [0.2, -1.3, 0.9]])
    inside = np.array([[0.2, 0.1, 0.3], [0.0, 0.4, -0.2]])
    r = np.linalg.norm(outside, axis=1)[:, None]
    dipole = (3 * outside * outside[:, 2:] / r**2 - np.array([0, 0, 1])) / (3 * r**3)
    errors = []
    for n in (2, 4):
        m = llg.magnetization(build(comm, ball(n)), (0, 0, 1))
        stray = StrayField(m)
        stray.update(m, 0.0)
        difference = stray.h - ufl.as_vector((0, 0, -1 / 3))
        local = fem.assemble_scalar(fem.form(ufl.inner(difference, difference) * ufl.dx))
        errors.append([
            abs(stray.energy(m) / (4 * np.pi / 18) - 1),
            np.abs(stray.field_at(outside) - dipole).max(),
            np.abs(stray.field_at(inside) - [0, 0, -1 / 3]).max(),
            np.sqrt(sum(comm.allgather(local)) / stray.volume),
        ])  # fmt: skip
    orders = np.log2(np.divide(*errors))
    places = ("energy", "field outside", "field inside", "field in L2")
    for place, order in zip(places, orders, strict=True):
        record_property(f"order, {place}", order)
    assert (orders > [1.8, 1.8, 1.5, 1.1]).all(), orders
    assert (np.array(errors[1]) < [2e-2, 3e-3, 2e-4, 1e-3]).all(), errors


def test_ellipsoid(comm, record_property):
    x, cells = ball(5)
    N = demagnetizing_tensor(build(comm, (x * np.array([1.0, 1.0, 3.0]), cells)))
    exact = np.array(ellipsoid_factors(1, 1, 3))
    record_property("largest relative deviation", np.abs(np.diag(N) / exact - 1).max())
    np.testing.assert_allclose(np.diag(N), exact, rtol=1e-3)


@pytest.mark.parametrize("cells", [(100, 25, 1), (200, 50, 1)])
def test_film_of_one_layer(comm, cells, record_property):
    # The film of muMAG problem 4 in cells of 5 and 2.5 nm. Its charge is exact: what is left is
    # quadrature and the accuracy of far blocks, 4e-5.
    N = demagnetizing_tensor(build(comm, grid(cells, (500.0, 125.0, 3.0))))
    exact = np.array(prism_factors(500, 125, 3))
    record_property("largest relative deviation", np.abs(np.diag(N) / exact - 1).max())
    np.testing.assert_allclose(np.diag(N), exact, rtol=1e-4)
    assert np.abs(N - np.diag(np.diag(N))).max() < 1e-5


def test_jump_of_ms(comm, record_property):
    # Energies of uniform prisms add: E12 = E(cube) - 2 E(half) for Ms = 1 in both halves.
    half = 0.5 * 0.5 * prism_factors(1, 1, 0.5)[2]
    cube = 0.5 / 3
    exact = 1.0 * half + 0.25 * half + 0.5 * (cube - 2 * half)
    msh = build(comm, grid((8, 8, 8)))
    # The charge of the jump is spread over a cell: 2.5e-3 at 8 cells, order 2.
    found = energy(msh, (0, 0, 1), jump(msh, 0.5, 1.0))
    record_property("relative error", abs(found / exact - 1))
    assert found == pytest.approx(exact, rel=4e-3)


def test_two_balls(comm, record_property):
    # Uniform balls act on each other as dipoles; polyhedra as good as their moments Ms V.
    radius, distance = 1.0, 2.5
    one = build(comm, ball(3, radius))
    two = build(comm, ball(3, radius), ball(3, radius, (0.0, 0.0, distance)))
    volume = StrayField(two).volume / 2
    interaction = energy(two, (0, 0, 1)) - 2 * energy(one, (0, 0, 1))
    exact = -2 * volume**2 / (4 * np.pi * distance**3)
    record_property("relative difference", abs(interaction / exact - 1))
    assert interaction == pytest.approx(exact, rel=1e-3)


def test_bodies_that_share_nodes_are_one_body(comm, record_property):
    options = {"poisson": "direct"}
    whole = build(comm, grid((8, 4, 4), (2.0, 1.0, 1.0)))
    halves = build(comm, grid((4, 4, 4)), grid((4, 4, 4), origin=(1.0, 0.0, 0.0)))
    E = energy(whole, (1, 0, 0), jump(whole, 1.0, 0.3, 0, 1.0), **options)
    shared = energy(halves, (1, 0, 0), jump(halves, 1.0, 0.3, 0, 1.0), **options)
    record_property("relative difference", abs(shared / E - 1))
    assert shared == pytest.approx(E, rel=1e-12)
    # Bodies that touch at an edge, where four faces meet, are no special case either: the energy
    # is that of the two far apart and their interaction (here of opposite faces: positive).
    edge = build(comm, grid((4, 4, 4)), grid((4, 4, 4), origin=(1.0, 1.0, 0.0)))
    apart = build(comm, grid((4, 4, 4)), grid((4, 4, 4), origin=(1.001, 1.001, 0.0)))
    assert energy(edge, (0, 0, 1)) == pytest.approx(energy(apart, (0, 0, 1)), rel=1e-3)


def prism_field(points, a, b, c):
    """Field of the prism [0, a] x [0, b] x [0, c] magnetized along z, by its two charged faces."""
    field = np.zeros_like(points)
    for face, charge in ((c, 1.0), (0.0, -1.0)):
        for i, u in enumerate((0.0, a)):
            for j, v in enumerate((0.0, b)):
                sign = charge * (-1.0) ** (i + j) / (4 * np.pi)
                X, Y, Z = points[:, 0] - u, points[:, 1] - v, points[:, 2] - face
                R = np.sqrt(X**2 + Y**2 + Z**2)
                field[:, 0] -= sign * np.log(Y + R)
                field[:, 1] -= sign * np.log(X + R)
                field[:, 2] += sign * np.arctan(X * Y / (Z * R))
    return field


def test_field_at_points(comm, record_property):
    # An independent closed form (Joseph and Schloemann 1965). The charge of a uniform state is
    # exact, its potential integrated in closed form: round-off is left, of direct Poisson solves.
    a, b, c = 1.0, 0.8, 0.6
    m = llg.magnetization(build(comm, grid((8, 7, 5), (a, b, c))), (0, 0, 1))
    stray = StrayField(m)
    with pytest.raises(RuntimeError, match="update"):
        stray.field_at([0, 0, 0])
    stray.update(m, 0.0)
    outside = np.array([[2.0, 0.3, 0.2], [0.5, -0.7, 1.2], [0.5, 0.4, 1.4], [-0.6, -0.5, -0.4]])
    inside = np.array([[0.5, 0.4, 0.3], [0.33, 0.52, 0.41], [0.71, 0.22, 0.27]])
    found = [stray.field_at(x) for x in (outside, inside)]
    exact = [prism_field(x, a, b, c) for x in (outside, inside)]
    gaps = [np.abs(f - e).max() for f, e in zip(found, exact, strict=True)]
    record_property("largest deviation", max(gaps))
    np.testing.assert_allclose(found[0], exact[0], atol=1e-12)
    np.testing.assert_allclose(found[1], exact[1], atol=1e-12)
    assert stray.field_at(outside[0]).shape == (3,)


# ---- another method ------------------------------------------------------------------------------


def newell(f_or_g, n, h):
    """Demagnetizing tensor of bricks at all offsets, by sixfold differences (Newell et al.)."""
    k = [np.arange(-count, count + 1) * step for count, step in zip(n, h, strict=True)]
    x, y, z = np.meshgrid(*k, indexing="ij")
    r = np.sqrt(x**2 + y**2 + z**2)
    with np.errstate(all="ignore"):
        if f_or_g == "f":
            terms = [(0.5 * y * (z**2 - x**2) * np.arcsinh(y / np.hypot(x, z))),
                     (0.5 * z * (y**2 - x**2) * np.arcsinh(z / np.hypot(x, y))),
                     -x * y * z * np.arctan(y * z / (x * r)),
                     (2 * x**2 - y**2 - z**2) * r / 6]  # fmt: skip
        else:
            terms = [x * y * z * np.arcsinh(z / np.hypot(x, y)),
                     y / 6 * (3 * z**2 - y**2) * np.arcsinh(x / np.hypot(y, z)),
                     x / 6 * (3 * z**2 - x**2) * np.arcsinh(y / np.hypot(x, z)),
                     -(z**3) / 6 * np.arctan(x * y / (z * r)),
                     -z * y**2 / 2 * np.arctan(x * z / (y * r)),
                     -z * x**2 / 2 * np.arctan(y * z / (x * r)),
                     -x * y * r / 3]  # fmt: skip
        value = sum(np.nan_to_num(term, nan=0.0, posinf=0.0, neginf=0.0) for term in terms)
    for axis in range(3):
        value = -np.diff(value, n=2, axis=axis)
    return value / (4 * np.pi * np.prod(h))


def finite_differences(m0, n, size=(1.0, 1.0, 1.0)):
    """Energy of a state in a box by uniformly magnetized cells (OOMMF's method)."""
    h = np.array(size) / n
    x = [(np.arange(count) + 0.5) * step for count, step in zip(n, h, strict=True)]
    m = m0(np.stack(np.meshgrid(*x, indexing="ij")).reshape(3, -1))
    m = (m / np.linalg.norm(m, axis=0)).reshape(3, *n)

    def part(i, j):
        # f and g are functions of (x, y, z) for xx and xy; the others by exchange of the axes.
        axes = [i, j, *(k for k in range(3) if k not in (i, j))] if i != j else None
        axes = axes or [i, *(k for k in range(3) if k != i)]
        value = newell("f" if i == j else "g", np.take(n, axes), h[axes])
        return value.transpose(np.argsort(axes))

    shape = [2 * (2 * count - 1) for count in n]
    near = tuple(slice(count - 1, 2 * count - 1) for count in n)
    options = {"s": shape, "axes": (0, 1, 2)}
    transform = [np.fft.rfftn(part_of_m, **options) for part_of_m in m]
    total = 0.0
    for i in range(3):
        for j in range(i, 3):
            product = np.fft.rfftn(part(i, j), **options) * transform[j]
            whole = np.fft.irfftn(product, **options)[near]
            total += (1 if i == j else 2) * float(np.vdot(m[i], whole))
    return 0.5 * total * np.prod(h)


def wall(x):
    """A Neel wall in the middle of a film, charged on both sides."""
    angle = np.pi / 2 * np.tanh((x[0] - 1.0) / 0.25)
    return np.stack([np.cos(angle), np.sin(angle), 0 * angle])


FILM = (2.0, 1.0, 0.2)


@pytest.mark.parametrize(
    ("state", "size", "cells", "limit"),
    [
        (flower, (1.0, 1.0, 1.0), (6, 6, 6), 2e-3),
        (vortex, (1.0, 1.0, 1.0), (6, 6, 6), 1.5e-2),
        (wall, FILM, (20, 10, 2), 7e-3),
    ],
)
@pytest.mark.parametrize("hexahedra", [False, True])
def test_states_against_finite_differences(
    comm, state, size, cells, limit, hexahedra, record_property
):
    # Both methods have order 2; the limit of finite differences by Richardson, which is a tenth of
    # their error on the finer grid (9e-4 to 5e-3) from the truth.
    n = np.array(cells)
    coarse, fine = (finite_differences(state, k * n, size) for k in (1, 2))
    reference = fine + (fine - coarse) / 3
    errors = [
        energy(build(comm, grid(tuple(k * n), size, hexahedra=hexahedra)), state) / reference - 1
        for k in (1, 2)
    ]
    order = np.log2(errors[0] / errors[1])
    record_property(f"relative difference, {state.__name__}", abs(errors[1]))
    record_property("order", order)
    assert abs(errors[1]) < limit
    assert 1.5 < order < 2.6


# ---- in time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "options"),
    [(llg.tangent_plane, {"second_order": True}), (llg.midpoint, {})],
    ids=["tangent plane", "midpoint"],
)
def test_second_order_in_time(comm, scheme, options):
    """The field, explicit in the step, keeps a scheme's order.

    A third of a turn in the stray field of a box, next to a uniform state; differences of three
    halved steps need no reference.
    """
    ends = []
    for n in (20, 40, 80):
        m = llg.magnetization(
            mesh.create_box(comm, [[0, 0, 0], [1, 0.7, 0.4]], [3, 2, 2]),
            lambda x: np.array([1 + x[0], 0.6 + 0.3 * x[1], 0.5 + 0 * x[2]]),
        )
        energy = llg.Energy([llg.Exchange(0.02), StrayField(m, poisson="direct")])
        step = scheme(energy, m, dt=2.0 / n, damping=llg.Gilbert(0.2), **options)
        for _ in llg.march(step, t_end=2.0):
            pass
        ends.append(m.x.array[: 3 * m.function_space.dofmap.index_map.size_local].copy())
    first, second = (
        total(comm, float(np.sum((a - b) ** 2))) ** 0.5 for a, b in itertools.pairwise(ends)
    )
    # The next order is smaller by the step, at most 1/10.
    assert np.log2(first / second) == pytest.approx(2, abs=0.1), (first, second)
