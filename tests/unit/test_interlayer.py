# SPDX-License-Identifier: LGPL-3.0-or-later
"""Interlayer exchange: energy, field and Hessian, equilibria in closed form, schemes, refusals."""

from mpi4py import MPI

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from scipy.optimize import brentq, minimize

import dolfinx_llg as llg


def bodies(comm, *parts):
    """One mesh of several that share no node."""
    x = np.concatenate([part.geometry.x for part in parts])
    shift = np.cumsum([0, *(len(part.geometry.x) for part in parts)])
    cells = np.concatenate(
        [part.geometry.dofmaps[0] + s for part, s in zip(parts, shift, strict=False)]
    ).astype(np.int64)
    gdim, kind = parts[0].geometry.dim, parts[0].ufl_cell().cellname
    if comm.rank:
        x, cells = x[:0], cells[:0]
    element = basix.ufl.element("Lagrange", kind, 1, shape=(gdim,))
    return mesh.create_mesh(comm, cells, element, x[:, :gdim])


def tagged(msh, *faces):
    fdim = msh.topology.dim - 1
    msh.topology.create_connectivity(fdim, msh.topology.dim)
    outer = mesh.exterior_facet_indices(msh.topology)
    found = [np.intersect1d(mesh.locate_entities(msh, fdim, face), outer) for face in faces]
    facets = np.concatenate(found).astype(np.int32)
    values = np.repeat(np.arange(1, 1 + len(found)), [len(f) for f in found])
    order = np.argsort(facets)
    return mesh.meshtags(msh, fdim, facets[order], values[order].astype(np.int32))


GAP = 0.1


def lines(comm, n=4, gap=GAP):
    low = mesh.create_interval(MPI.COMM_SELF, n, [0.0, 1.0])
    high = mesh.create_interval(MPI.COMM_SELF, n + 1, [1.0 + gap, 2.0 + gap])
    return bodies(comm, low, high)


def squares(comm, n=3):
    kinds = [[[0, 0], [1, 1]], [[1 + GAP, 0.25], [2 + GAP, 1.25]]]
    return bodies(
        comm,
        *(mesh.create_rectangle(MPI.COMM_SELF, k, [n + i, n + 2 * i]) for i, k in enumerate(kinds)),
    )


def cubes(comm, kind="tetrahedron", n=2):
    cell = getattr(mesh.CellType, kind)
    places = [[[0, 0, 0], [1, 1, 1]], [[1 + GAP, 0.25, 0], [2 + GAP, 1.25, 1]]]
    return bodies(
        comm,
        *(
            mesh.create_box(MPI.COMM_SELF, p, [2, n + i, n + 2 * i], cell_type=cell)
            for i, p in enumerate(places)
        ),
    )


MESHES = {
    "line": (lines, 1.0),
    "triangles": (squares, 0.75),
    "tetrahedra": (cubes, 0.75),
    "hexahedra": (lambda comm: cubes(comm, "hexahedron"), 0.75),
}


def faces(msh, gap=GAP):
    return tagged(msh, lambda x: np.isclose(x[0], 1.0), lambda x: np.isclose(x[0], 1.0 + gap))


def coupled(msh, j1, j2=0.0, **options):
    return llg.InterlayerExchange(msh, faces(msh), (1, 2), j1, j2, **options)


def layered(msh, low, high):
    """Constant m in each of the two bodies."""
    low, high = (np.asarray(v, dtype=float)[:, None] for v in (low, high))
    return llg.magnetization(msh, lambda x: np.where(x[0] < 1.0 + GAP / 2, low, high))


@pytest.mark.parametrize("name", MESHES)
def test_energy_of_constant_layers(comm, name):
    """-(j1 c + j2 c^2) times the area that is opposite.

    The second face covers 3/4 of the first one in 2D and 3D, and as opposite counts what lies
    within 30 degrees of the normal, a strip of .06; beyond that, whole points of quadrature decide.
    """
    build, area = MESHES[name]
    msh = build(comm)
    m = layered(msh, (1, 0, 0), (0.6, 0, 0.8))
    term = coupled(msh, 2.0, -0.5)
    assert term.area == pytest.approx(area, abs=1e-12 if name == "line" else 0.12)
    assert term.gaps == pytest.approx((GAP, GAP), rel=0.2)
    assert term.uncoupled == pytest.approx(1.0 - term.area)
    energy = llg.Energy([term])
    assert energy.total(m) == pytest.approx(-(2.0 * 0.6 - 0.5 * 0.36) * term.area, rel=1e-12)


@pytest.mark.parametrize("j2", [0.0, -0.7])
@pytest.mark.parametrize("name", MESHES)
def test_taylor(comm, name, j2):
    """The field is the gradient of the energy on both sides; its change the symmetric Hessian."""
    msh = MESHES[name][0](comm)
    term = coupled(msh, 1.3, j2)
    V = llg.vector_space(msh)
    m, v, w, h, trial = (fem.Function(V) for _ in range(5))
    m.interpolate(lambda x: np.array([0.4 + x[0], np.cos(2 * x[0]), 0.3 - x[1] ** 2]))
    v.interpolate(lambda x: np.array([np.sin(3 * x[0]), 1 - x[1], 0.5 + x[0] ** 3]))
    w.interpolate(lambda x: np.array([1 - x[0], np.cos(x[1]), x[0] - 2]))

    def product(a, b):
        form = fem.form(-ufl.inner(a, b) * term.measure(msh))
        return sum(comm.allgather(fem.assemble_scalar(form)))

    base = term.energy(m)
    term.compute(m, h)
    first = product(h, v)
    term.change(m, v, h)
    second, mixed = product(h, v), product(h, w)
    term.change(m, w, h)
    assert product(h, v) == pytest.approx(mixed, rel=1e-12)

    def remainder(s):
        trial.x.array[:] = m.x.array + s * v.x.array
        return term.energy(trial) - base - s * first - s**2 / 2 * second

    size = abs(base) + abs(first) + abs(second)
    if j2 == 0.0:
        assert max(abs(remainder(s)) for s in (1.0, -0.3)) < 1e-13 * size
        return
    # E is a polynomial of degree 4 in s: what is left is c_3 s^3 + c_4 s^4, and nothing else.
    odd, even = ([remainder(s) + sign * remainder(-s) for s in (0.6, 0.3)] for sign in (-1, 1))
    assert odd[0] == pytest.approx(8 * odd[1], abs=1e-12 * size)
    assert even[0] == pytest.approx(16 * even[1], abs=1e-12 * size)


def angle_between(m):
    """Angle between the means of the two layers, which are nearly constant."""
    own = m.function_space.dofmap.index_map.size_local
    values = m.x.array.reshape(-1, 3)[:own]
    low = m.function_space.tabulate_dof_coordinates()[:own, 0] < 1.0 + GAP / 2
    sums = np.sum(
        m.function_space.mesh.comm.allgather([values[low].sum(0), values[~low].sum(0)]), 0
    )
    a, b = (s / np.linalg.norm(s) for s in sums)
    return np.arccos(np.clip(a @ b, -1, 1))


def canted(j1, j2, field):
    """Half the angle of two thin layers of thickness 1 in a field along their sum."""
    slope = lambda t: 2 * j1 * np.sin(2 * t) + 2 * j2 * np.sin(4 * t) + 2 * field * np.sin(t)  # noqa: E731
    return brentq(slope, 0.1, np.pi / 2)


@pytest.mark.parametrize(("j1", "j2"), [(-0.01, 0.0), (-0.008, -0.003)])
def test_spin_flop(comm, j1, j2):
    """An antiferromagnetic pair opens in a field: -2 j1 cos(t) - 4 j2 cos(2t) cos(t) = h.

    Exchange 10 against couplings of .01: the layers are constant to 1e-3.
    """
    msh = lines(comm)
    field = 0.006
    m = layered(msh, (0.6, 0.8, 0), (0.6, -0.8, 0))
    energy = llg.Energy(
        [
            llg.Exchange(10.0),
            coupled(msh, j1, j2),
            llg.Zeeman((field, 0, 0)),
            llg.UniaxialAnisotropy((0, 0, 1), -0.1),
        ]
    )
    found = llg.minimise(energy, m, torque=1e-8)
    assert found.torque <= 1e-8
    assert angle_between(m) == pytest.approx(2 * canted(j1, j2, field), abs=2e-3)


def test_reduced_coupling_of_touching_bodies(comm):
    """Doubled nodes: kappa theta' = j1 sin(jump) in a film twisted by its ends.

    P1 angles: (h theta')^2/6 of the slope, 5e-4 on 20 cells.
    """
    msh = lines(comm, 20, gap=0.0)
    tags = tagged(
        msh,
        lambda x: np.isclose(x[0], 0.0),
        lambda x: np.isclose(x[0], 2.0),
        lambda x: np.isclose(x[0], 1.0),
    )
    # The two nodes at x = 1 are told apart by the body that they belong to.
    values, links = tags.values.copy(), msh.topology.connectivity(0, 1)
    for facet in tags.find(3):
        middle = mesh.compute_midpoints(msh, 1, links.links(facet)[:1])
        values[tags.indices == facet] = 3 + int(middle[0, 0] > 1.0)
    tags = mesh.meshtags(msh, 0, tags.indices, values)
    m = llg.magnetization(
        msh, lambda x: np.array([np.sin(0.7 * x[0]), 0 * x[0], np.cos(0.7 * x[0])])
    )
    coupling = llg.InterlayerExchange(m, tags, (3, 4), 0.8)
    assert coupling.gaps == (0.0, 0.0)
    energy = llg.Energy(
        [
            llg.Exchange(1.0),
            llg.SurfaceAnisotropy(2.0, tags, 1, axis=(0, 0, 1)),
            llg.SurfaceAnisotropy(3.0, tags, 2, axis=(1, 0, 0)),
            coupling,
        ]
    )
    llg.minimise(energy, m, torque=1e-7)

    def total(t):
        sides = np.sin(t[0]) ** 2 + 1.5 * np.cos(t[3]) ** 2
        return (
            sides + 0.5 * (t[1] - t[0]) ** 2 + 0.5 * (t[3] - t[2]) ** 2 - 0.8 * np.cos(t[2] - t[1])
        )

    exact = minimize(total, [0.2, 0.4, 0.8, 1.3], tol=1e-14)
    assert energy.total(m) == pytest.approx(exact.fun, abs=5e-4)
    assert exact.x[2] - exact.x[1] > 0.1  # a jump there is


SCHEMES = {
    "an": (llg.an, {"dt": 1.0}),
    "cimrak": (llg.cimrak, {"dt": 1.0, "projection": True}),
    "gao": (llg.gao, {"dt": 1.0, "projection": True}),
    "prohl": (llg.prohl, {"dt": 1.0, "projection": True}),
    "tangent": (llg.tangent_plane, {"dt": 1.0}),
    "tangent2": (llg.tangent_plane, {"dt": 1.0, "second_order": True}),
    "midpoint": (llg.midpoint, {"dt": 1.0}),
    "heun": (llg.heun, {}),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_ends_there(comm, name):
    msh = lines(comm, 2)
    m = layered(msh, (0.6, 0.8, 0), (0.6, -0.8, 0))
    energy = llg.Energy([llg.Exchange(2.0), coupled(msh, -0.1, -0.01), llg.Zeeman((0.08, 0, 0))])
    scheme, options = SCHEMES[name]
    for _ in llg.march(scheme(energy, m, damping=1.0, **options), t_end=60.0, progress=False):
        pass
    # The layers bend by j/kappa = .05 within: a second-order effect on their mean angle.
    assert angle_between(m) == pytest.approx(2 * canted(-0.1, -0.01, 0.08), abs=2e-2)


def test_bad_input(comm):
    msh = lines(comm)
    tags = faces(msh)
    make = lambda *args, **options: llg.InterlayerExchange(msh, *args, **options)  # noqa: E731
    with pytest.raises(ValueError, match=r"no facet has the tag\(s\) \[5\]"):
        make(tags, (1, 5), 1.0)
    with pytest.raises(ValueError, match="share 1 node"):
        make(tags, (1, 1), 1.0)
    with pytest.raises(ValueError, match=r"within gap = 0\.05"):
        make(tags, (1, 2), 1.0, gap=0.05)
    with pytest.raises(ValueError, match="j1 must be finite"):
        make(tags, (1, 2), np.inf)
    with pytest.raises(ValueError, match="gap must be positive"):
        make(tags, (1, 2), 1.0, gap=-1.0)
    with pytest.raises(ValueError, match="two faces"):
        make(tags, (1, 2, 2), 1.0)
    term = make(tags, (1, 2), 1.0)
    with pytest.raises(ValueError, match="j2 was 0"):
        term.assign(j2=1.0)
    other = llg.magnetization(mesh.create_unit_interval(comm, 9), (0.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="mesh of this coupling"):
        term.energy(other)
    outward = tagged(msh, lambda x: np.isclose(x[0], 0.0), lambda x: np.isclose(x[0], 2 + GAP))
    with pytest.raises(ValueError, match="no point of the face 1 lies opposite"):
        make(outward, (1, 2), 1.0)
