# SPDX-License-Identifier: LGPL-3.0-or-later
"""Spin accumulation, currents and torques against closed forms."""

from mpi4py import MPI  # isort: skip

from functools import partial

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from scipy.linalg import expm

import dolfinx_llg as llg
from dolfinx_llg.physics.torques import Slonczewski, SpinTorque, ZhangLi
from dolfinx_llg.schemes.tangent_plane import tangent_plane
from dolfinx_llg.transport import SpinAccumulation, Transport, magnet_of, solve_current

# -- spin accumulation in layers ---------------------------------------------------------------


class Layer:
    """A layer of a 1D stack with constant m (None: no magnet), and its exact flow."""

    def __init__(self, d, D, sf, m=None, J=np.inf, phi=np.inf, beta=0.0, beta_prime=0.0):
        self.d, self.D, self.sf, self.J, self.phi = d, D, sf, J, phi
        self.beta, self.beta_prime = beta, beta_prime
        self.m = None if m is None else np.array(m, dtype=float) / np.linalg.norm(m)

    def drift(self, j):
        return np.zeros(3) if self.m is None else -self.beta * j * self.m

    def flow(self, j):
        """Y' = F y for y = (S, J_s, 1): S' from J_s, J_s' from S (the module's two equations)."""
        Q, G = np.eye(3), np.eye(3) / self.sf**2
        if self.m is not None:
            spin = np.array([np.cross(e, self.m) for e in np.eye(3)]).T  # S x m
            G = G + spin / self.J**2
            G = G + (np.eye(3) - np.outer(self.m, self.m)) / self.phi**2
            Q = Q - self.beta * self.beta_prime * np.outer(self.m, self.m)
        inverse = np.linalg.inv(Q) / self.D
        F = np.zeros((7, 7))
        F[:3, 3:6] = -inverse
        F[:3, 6] = inverse @ self.drift(j)
        F[3:6, :3] = -self.D * G
        return F


def exact(layers, j, x):
    """S at the points x of the stack, S' = 0 at both ends."""
    total = np.eye(7)
    for layer in layers:
        total = expm(layer.d * layer.flow(j)) @ total
    start, end = layers[0].drift(j), layers[-1].drift(j)
    S0 = np.linalg.solve(total[3:6, :3], end - total[3:6, 3:6] @ start - total[3:6, 6])
    y, values, left = np.array([*S0, *start, 1.0]), np.zeros((3, len(x))), 0.0
    for layer in layers:
        inside = (x >= left - 1e-9) & (x <= left + layer.d + 1e-9)
        for index in np.flatnonzero(inside):
            values[:, index] = (expm((x[index] - left) * layer.flow(j)) @ y)[:3]
        y, left = expm(layer.d * layer.flow(j)) @ y, left + layer.d
    return values


VALVE = [
    Layer(2.0, 1.3, 6.0),
    Layer(3.0, 0.7, 3.0, m=(0.3, 0.1, 1), J=1.5, phi=2.0, beta=0.6, beta_prime=0.7),
    Layer(2.0, 1.3, 6.0),
    Layer(2.0, 0.7, 3.0, m=(1, 0.2, -0.4), J=1.5, phi=2.0, beta=0.6, beta_prime=0.7),
    Layer(1.0, 1.3, 6.0),
]


def tags_of(msh, layers):
    """Tag of each cell: the number of its layer along the last axis, counted from 1."""
    tdim = msh.topology.dim
    count = msh.topology.index_map(tdim)
    cells = np.arange(count.size_local + count.num_ghosts, dtype=np.int32)
    z = mesh.compute_midpoints(msh, tdim, cells)[:, msh.geometry.dim - 1]
    ends = np.cumsum([layer.d for layer in layers])
    return mesh.meshtags(msh, tdim, cells, np.searchsorted(ends, z).astype(np.int32) + 1)


def by_tag(msh, tags, values):
    field = fem.Function(fem.functionspace(msh, ("DG", 0)))
    field.x.array[field.function_space.dofmap.list.reshape(-1)] = np.array(values)[tags.values - 1]
    return field


def stack(msh, layers, j, **options):
    """Spin accumulation of a stack, with its m set and S solved."""
    tags = tags_of(msh, layers)
    magnetic = [k + 1 for k, layer in enumerate(layers) if layer.m is not None]
    magnet = magnet_of(msh, tags, magnetic)
    fields = {
        name: by_tag(msh, tags, [getattr(layer, key) for layer in layers])
        for name, key in (
            ("diffusion", "D"),
            ("lambda_sf", "sf"),
            ("lambda_J", "J"),
            ("lambda_phi", "phi"),
            ("beta", "beta"),
            ("beta_prime", "beta_prime"),
        )
    }
    current = np.zeros(msh.geometry.dim)
    current[-1] = j
    spin = SpinAccumulation(magnet, current, Transport(**fields), **options)
    own = magnet.restrict_tags(tags)
    m = fem.Function(llg.vector_space(magnet.mesh), name="m")
    for tag in magnetic:
        dofs = m.function_space.dofmap.list[own.find(tag)].ravel()
        m.x.array.reshape(-1, 3)[dofs] = layers[tag - 1].m
    m.x.scatter_forward()
    spin.update(m, 0.0)
    return spin, m


def total(comm, form):
    return sum(comm.allgather(fem.assemble_scalar(form)))


def test_spin_accumulation_order_2(comm, record_property):
    """A spin valve with noncollinear magnets: L2 errors fall by 4 when h is halved."""
    length, errors = sum(layer.d for layer in VALVE), []
    for n in (40, 80, 160):
        msh = mesh.create_interval(comm, n, [0.0, length])
        spin, _ = stack(msh, VALVE, 0.8, petsc_options={"ksp_rtol": 1e-12})
        fine = fem.functionspace(msh, ("Lagrange", 3, (3,)))
        reference = fem.Function(fine)
        reference.interpolate(lambda x: exact(VALVE, 0.8, x[0]))
        gap = reference - spin.S
        form = fem.form(ufl.inner(gap, gap) * ufl.dx(domain=msh))
        errors.append(np.sqrt(total(comm, form)))
    order = np.log2(errors[1] / errors[2])
    record_property("order in L2", order)
    assert order == pytest.approx(2.0, abs=0.03), errors
    assert errors[2] < 1e-3 * np.abs(exact(VALVE, 0.8, np.linspace(0, length, 50))).max(), errors


def test_decay_lengths(comm, record_property):
    """Transverse spins decay with k^2 = 1/sf^2 + 1/phi^2 - i/J^2, those along m with sf sqrt(..).

    From logarithms of S between two points so far from the ends that the reflected wave is below
    the error of the mesh (h^2 |k|^2/12 of the exponent).
    """
    front = Layer(2.0, 1.0, 4.0, m=(0, 0, 1), J=1.0, beta=0.5)
    back = Layer(18.0, 1.0, 3.0, m=(1, 0, 0), J=2.0, phi=4.0, beta_prime=0.8, beta=0.6)
    spin, _ = stack(mesh.create_interval(comm, 800, [0.0, 20.0]), [front, back], 1.0)
    V = spin.S.function_space
    x, values = V.tabulate_dof_coordinates()[:, 0], spin.S.x.array.reshape(-1, 3)
    points = dict(
        entry
        for part in comm.allgather(
            [(round(a, 9), s.copy()) for a, s in zip(x, values, strict=True) if a in (5.0, 8.0)]
        )
        for entry in part
    )
    ahead, behind = points[5.0], points[8.0]
    k = -np.log(complex(*behind[1:]) / complex(*ahead[1:])) / 3.0
    exact_k, exact_along = np.sqrt(1 / 9 + 1 / 16 - 0.25j), 1 / (3.0 * np.sqrt(1 - 0.48))
    record_property("relative error, transverse", abs(k / exact_k - 1))
    assert k == pytest.approx(exact_k, rel=1e-3)
    along = -np.log(behind[0] / ahead[0]) / 3.0
    record_property("relative error, longitudinal", abs(along / exact_along - 1))
    assert along == pytest.approx(exact_along, rel=1e-3)


def test_layers_in_a_plane_equal_one_dimension(comm, record_property):
    """Rows of quadrilaterals, m on a submesh: the nodal values of the interval, to the rtol.

    And what enters the magnets is what S loses: the torque is the drift through the contacts (here
    none) less what spin flips take, exactly, since a constant is a test function.
    """
    length, n, tight = sum(layer.d for layer in VALVE), 20, {"ksp_rtol": 1e-12}
    line, _ = stack(mesh.create_interval(comm, n, [0.0, length]), VALVE, 0.8, petsc_options=tight)
    box = mesh.create_rectangle(
        comm, [[0, 0], [2, length]], [3, n], cell_type=mesh.CellType.quadrilateral
    )
    spin, m = stack(box, VALVE, 0.8, petsc_options=tight)

    def profile(S, axis):
        z = S.function_space.tabulate_dof_coordinates()[:, axis]
        rows = np.column_stack([np.round(z * n / length), S.x.array.reshape(-1, 3)])
        rows = np.concatenate(comm.allgather(rows))
        return rows[np.argsort(rows[:, 0], kind="stable")]

    one, plane = profile(line.S, 0), profile(spin.S, 1)
    nodes = {int(row[0]): row[1:] for row in one}
    expected = np.array([nodes[int(row[0])] for row in plane])
    assert np.abs(plane[:, 1:] - expected).max() < 1e-9 * np.abs(expected).max()

    flip = spin.properties["diffusion"] / spin.properties["lambda_sf"] ** 2
    gaps = []
    for axis in range(3):
        e = ufl.as_vector(np.eye(3)[axis].tolist())
        # T.e = -(m x h).e = h.(m x e), and the gradient is -Ms h.w
        torque = -spin.gradient(m, ufl.cross(m, e)) * ufl.dx(domain=m.function_space.mesh)
        gained = total(comm, fem.form(torque))
        lost = total(comm, fem.form(flip * spin.S[axis] * ufl.dx(domain=box)))
        gaps.append(abs(gained + lost))
        assert gained == pytest.approx(-lost, abs=1e-9)
        assert abs(gained) > 1e-3
    record_property("largest difference", max(gaps))


def test_slow_texture_feels_zhang_li(comm, record_property):
    """In a helix S has a closed form; for long waves its field is Zhang-Li's, xi = (J/sf)^2."""
    D, sf, J, beta, j, k = 1.0, 2.0, 1.0, 0.5, 0.7, 0.05
    msh = mesh.create_interval(comm, 300, [0.0, 60.0])
    layer = Layer(60.0, D, sf, m=(1, 0, 0), J=J, beta=beta)
    spin, m = stack(msh, [layer], j)
    m.interpolate(lambda x: np.array([np.cos(k * x[0]), np.sin(k * x[0]), 0 * x[0]]))
    spin.update(m, 0.0)
    g = 1 / sf**2
    a = beta * j * k / D / (k**2 + g + 1 / (J**4 * g))  # S = a m'/k + b z
    b = a / (J**2 * g)
    m_prime = ufl.as_vector([-m[1], m[0], 0])
    x = ufl.SpatialCoordinate(m.function_space.mesh)[0]
    dx = ufl.dx(domain=m.function_space.mesh)
    middle = ufl.conditional(abs(x - 30) < 10, 1 / 20, 0)
    S = spin.S_magnet
    found = [total(comm, fem.form(part * middle * dx)) for part in (ufl.dot(S, m_prime), S[2])]
    assert found == pytest.approx([a, b], rel=1e-3)
    # Published: xi = (J/sf)^2 and u = -beta j/(1 + xi^2); the rest is k^2 against 1/J^2.
    xi = (J / sf) ** 2
    field = ZhangLi([-beta * j / (1 + xi**2)], xi)
    gaps = []
    for w in (m_prime, ufl.as_vector([0, 0, 1])):
        pair = [total(comm, fem.form(t.gradient(m, w) * middle * dx)) for t in (spin, field)]
        gaps.append(abs(pair[0] / pair[1] - 1))
        assert pair[0] == pytest.approx(pair[1], rel=0.01)
    record_property("largest relative difference", max(gaps))


# -- torques on magnets ------------------------------------------------------------------------


# Many small steps: each rank does the whole of them. Torques on several ranks are in tests/unit.
ALONE = MPI.COMM_SELF


def macrospin(scheme, torques, steps, alpha=0.3, H=0.8, t_end=2.0):
    """Return m at t_end of one spin with H along z, starting in the plane x-z."""
    msh = mesh.create_interval(ALONE, 1, [0.0, 1.0])
    m = llg.magnetization(msh, (1.0, 0.0, 0.3))
    S = fem.Constant(msh, np.array([0.0, 0.0, 1.0]))
    energy = llg.Energy([llg.Zeeman((0, 0, H)), *torques(S)])
    step = scheme(energy, m, dt=t_end / steps, damping=llg.Gilbert(alpha), projection=True)
    for _ in llg.march(step, t_end=t_end):
        pass
    assert np.abs(np.linalg.norm(m.x.array.reshape(-1, 3), axis=1) - 1).max(initial=0) < 1e-14
    energies = energy.by_term(m)
    assert set(energies) == {"Zeeman"}  # torques have none
    assert energy.total(m) == energies["Zeeman"]
    return m.x.array[:3].copy()


SCHEMES = {  # and the order of each
    "gao": (llg.gao, 1),
    "tangent plane": (tangent_plane, 1),
    "tangent plane, second order": (partial(tangent_plane, second_order=True), 2),
}


@pytest.mark.parametrize(("scheme", "order"), SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize(
    "torques",
    [
        lambda S: [SpinTorque(S, 0.5, 0.7)],
        lambda S: [Slonczewski(0.7, (0, 0, 3), thickness=2.0, polarisation=1.0, Ms=1.0,
                               field_like=0.5 / 0.35), Slonczewski(0.7, (0, 0, 1), thickness=2.0,
                               polarisation=1.0)],
    ],
    ids=["spin torque", "slonczewski"],
)  # fmt: skip
def test_macrospin_with_torque(torques, scheme, order, record_property):
    """m_z = tanh(x t + artanh m_z0) and the angle w t, with b = 0.5 and c = 0.7."""
    alpha, H, b, c, t = 0.3, 0.8, 0.5, 0.7, 2.0
    x = (alpha * (H + b) + c) / (1 + alpha**2)
    w = ((H + b) - alpha * c) / (1 + alpha**2)
    mz = np.tanh(x * t + np.arctanh(0.3 / np.hypot(1, 0.3)))
    reference = np.array([*(np.sqrt(1 - mz**2) * np.array([np.cos(w * t), np.sin(w * t)])), mz])
    coarse, fine = (macrospin(scheme, torques, n) for n in (50, 100))
    errors = [np.abs(m - reference).max() for m in (coarse, fine)]
    found = np.log2(errors[0] / errors[1])
    record_property(f"order in dt, schemes of order {order}", found)
    # The next order is dt = 1/50 smaller.
    assert found == pytest.approx(order, abs=0.1), errors
    assert errors[1] < (t / 100) ** order, errors  # rates of about 1: constants below 1


def test_wall_velocity(record_property):
    """Zhang-Li under the Walker limit: a wall moves at xi u/alpha (Thiaville et al. 2005).

    By the second-order scheme: h = 0.2 and dt = 0.1 leave 1 %, half of it each. (Semi-implicit
    Euler adds so much to the damping in the wall that it is 20 % too slow at this dt.)
    """
    msh = mesh.create_interval(ALONE, 160, [-15.0, 15.0])  # the wall parameter is 1
    m = llg.magnetization(
        msh, lambda x: np.array([-np.tanh(x[0] + 4), 1 / np.cosh(x[0] + 4), 0 * x[0]])
    )
    terms = [
        llg.Exchange(1.0),
        llg.UniaxialAnisotropy((1, 0, 0), 1.0),
        llg.UniaxialAnisotropy((0, 0, 1), -1.0),
        ZhangLi(0.2, 0.25),
    ]
    step = tangent_plane(llg.Energy(terms), m, dt=0.1, damping=llg.Gilbert(0.5), second_order=True)
    position = fem.form(0.5 * m[0] * ufl.dx(domain=msh))
    track = []
    for state in llg.march(step, t_end=32.0):
        if state.n in (200, 320):  # steady by then
            track.append((state.t, fem.assemble_scalar(position)))
    (t0, x0), (t1, x1) = track
    speed, exact_speed = (x1 - x0) / (t1 - t0), 0.25 * 0.2 / 0.5
    record_property("relative error", abs(speed / exact_speed - 1))
    assert speed == pytest.approx(exact_speed, rel=0.02)


# -- currents ----------------------------------------------------------------------------------


def test_resistors_in_series(comm, record_property):
    """Layers of other conductivity: phi is linear in each, which P1 has; all cell types."""
    sigma, d, potential = np.array([1.0, 0.05, 4.0]), np.array([1.0, 0.5, 1.5]), 2.0
    expected = potential / np.sum(d / sigma)
    layers = [Layer(width, 1.0, 1.0) for width in d]
    meshes = [
        mesh.create_interval(comm, 12, [0.0, 3.0]),
        mesh.create_box(comm, [[0, 0, 0], [2, 1, 3]], [2, 2, 6]),
    ]
    errors = []
    for msh in meshes:
        gdim = msh.geometry.dim
        cells = tags_of(msh, layers)
        facets = contacts(msh, {1: lambda z: z < 1e-9, 2: lambda z: z > 3 - 1e-9})
        conductivity = by_tag(msh, cells, sigma)
        current = solve_current(msh, conductivity, facets, potentials={1: potential, 2: 0.0})
        j = current.j.x.array.reshape(-1, gdim)
        target = np.zeros(gdim)
        target[-1] = expected
        assert np.abs(j - target).max(initial=0.0) < 1e-9 * expected
        area = {1: 1.0, 3: 2.0}[gdim]
        assert current.inflow[1] == pytest.approx(expected * area, rel=1e-9)
        # The same from the total current that enters.
        driven = solve_current(
            msh, conductivity, facets, potentials={2: 0.0}, currents={1: expected * area}
        )
        errors.append(abs(current.inflow[1] / (expected * area) - 1))
        errors.append(abs(driven.potentials[1] / potential - 1))
        assert driven.potentials[1] == pytest.approx(potential, rel=1e-9)
        assert np.abs(driven.j.x.array - current.j.x.array).max(initial=0.0) < 1e-9 * expected
    record_property("largest relative error", max(errors))


def contacts(msh, places):
    """Facet tags by a condition on the last coordinate."""
    fdim = msh.topology.dim - 1
    found = {
        tag: mesh.locate_entities_boundary(msh, fdim, lambda x, at=at: at(x[msh.geometry.dim - 1]))
        for tag, at in places.items()
    }
    facets = np.concatenate(list(found.values()))
    values = np.concatenate([np.full(len(f), tag, dtype=np.int32) for tag, f in found.items()])
    order = np.argsort(facets)
    return mesh.meshtags(msh, fdim, facets[order], values[order])


def test_currents_add_up(comm, record_property):
    """Three contacts of a plate, a bad conductor inside: what enters leaves; two are driven."""
    msh = mesh.create_unit_square(comm, 12, 12)
    layers = [Layer(0.5, 1, 1), Layer(0.25, 1, 1), Layer(0.25, 1, 1)]
    sigma = by_tag(msh, tags_of(msh, layers), [1.0, 0.01, 3.0])
    facets = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[1], 0.0))
    sides = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[0], 1.0) & (x[1] > 0.7))
    top = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[1], 1.0) & (x[0] < 0.4))
    everything = np.concatenate([facets, sides, top])
    values = np.repeat(np.array([1, 2, 3], dtype=np.int32), [len(facets), len(sides), len(top)])
    order = np.argsort(everything)
    tags = mesh.meshtags(msh, 1, everything[order], values[order])
    asked = {2: 0.7, 3: -0.2}
    current = solve_current(msh, sigma, tags, potentials={1: 0.0}, currents=asked)
    gaps = [current.inflow[tag] - asked[tag] for tag in asked] + [sum(current.inflow.values())]
    record_property("largest deviation", max(map(abs, gaps)))
    assert {tag: current.inflow[tag] for tag in asked} == pytest.approx(asked, rel=1e-9)
    assert sum(current.inflow.values()) == pytest.approx(0.0, abs=1e-9)
