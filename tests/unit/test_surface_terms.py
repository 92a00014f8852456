# SPDX-License-Identifier: LGPL-3.0-or-later
"""Surface anisotropy and magnetoelastic energy: Taylor tests, closed forms, schemes, refusals."""

import math

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from scipy.optimize import minimize

import dolfinx_llg as llg


def unit_mesh(comm, cell):
    if cell == "interval":
        return mesh.create_unit_interval(comm, 7)
    kind = getattr(mesh.CellType, cell)
    if cell in ("triangle", "quadrilateral"):
        return mesh.create_unit_square(comm, 4, 3, cell_type=kind)
    return mesh.create_unit_cube(comm, 3, 2, 2, cell_type=kind)


def tagged(msh, **faces):
    """Tags 1, 2, ... of the facets at places: ``tagged(msh, left=lambda x: x[0] < 1e-9)``."""
    fdim = msh.topology.dim - 1
    msh.topology.create_connectivity(fdim, msh.topology.dim)
    found = [mesh.locate_entities(msh, fdim, where) for where in faces.values()]
    facets = np.concatenate(found)
    values = np.repeat(np.arange(1, 1 + len(found)), [len(f) for f in found])
    order = np.argsort(facets)
    return mesh.meshtags(msh, fdim, facets[order], values[order].astype(np.int32))


def ends(msh):
    return tagged(msh, left=lambda x: x[0] < 1e-9, right=lambda x: x[0] > 1 - 1e-9)


def tilted_strain(msh):
    x = ufl.SpatialCoordinate(msh)
    return ufl.as_matrix([[x[0], 0.3, 0], [0.3, -0.2, 0.1 * x[0]], [0, 0.1 * x[0], 0.4]])


TERMS = {
    "surface-whole": lambda msh: llg.SurfaceAnisotropy(1.3),
    "surface-tagged": lambda msh: llg.SurfaceAnisotropy(-0.7, ends(msh), 2),
    "surface-axis": lambda msh: llg.SurfaceAnisotropy(0.7, ends(msh), (1, 2), axis=(1, 2, 2)),
    "elastic-numbers": lambda msh: llg.Magnetoelastic(
        [[1, 0.2, 0], [0.2, -0.5, 0.3], [0, 0.3, 0.1]], 1.1, -0.7, axes=((1, 1, 0), (-1, 1, 0))
    ),
    "elastic-field": lambda msh: llg.Magnetoelastic(tilted_strain(msh), 0.4, 0.9),
    "elastic-time": lambda msh: llg.Magnetoelastic(lambda t: (1 + t) * np.eye(3), 0.4, 0.9),
}
CASES = [
    *(("surface-whole", cell) for cell in ("interval", "triangle", "quadrilateral", "tetrahedron")),
    ("surface-tagged", "hexahedron"),
    *((name, "triangle") for name in TERMS if name.startswith("elastic")),
    ("surface-axis", "tetrahedron"),
    ("elastic-numbers", "interval"),
]


def assembled(comm, form):
    return sum(comm.allgather(fem.assemble_scalar(fem.form(form))))


@pytest.mark.parametrize(("name", "cell"), CASES)
def test_taylor(comm, name, cell):
    """E(m + s v) = E + s E'(v) + s^2/2 E''(v, v) exactly, E'' symmetric: the terms are quadratic.

    Beside another surface term, as in a run: forms with several measures.
    """
    msh = unit_mesh(comm, cell)
    term = TERMS[name](msh)
    energy = llg.Energy([term, llg.SurfaceAnisotropy(0.2, axis=(0, 0, 1))])
    V = llg.vector_space(msh)
    m, v, w, trial = (fem.Function(V) for _ in range(4))
    m.interpolate(lambda x: np.array([0.4 + x[0], np.cos(2 * x[0]), 0.3 - x[0] ** 2]))
    v.interpolate(lambda x: np.array([np.sin(3 * x[0]), 1 - x[0], 0.5 + x[0] ** 3]))
    w.interpolate(lambda x: np.array([1 + x[0], x[0] ** 2, np.cos(x[0])]))
    energy.update(m, 0.5)
    base = energy.total(m)
    own = energy.by_term(m)[type(term).__name__]
    first = assembled(comm, energy.gradient(m, v))
    second = assembled(comm, energy.hessian(m, v, v))
    assert abs(own) > 1e-3
    for s in (1.0, 0.1):
        trial.x.array[:] = m.x.array + s * v.x.array
        expansion = base + s * first + s**2 / 2 * second
        # Some hundred products of order 1, summed.
        assert energy.total(trial) == pytest.approx(expansion, abs=1e-12)
    mixed = [assembled(comm, energy.hessian(m, *pair)) for pair in ((v, w), (w, v))]
    assert mixed[0] == pytest.approx(mixed[1], rel=1e-12)


def test_closed_form_energies(comm):
    """Constant m: q_s/2 (1 - (m.n)^2) on the faces, B_1 and B_2 times products of components."""
    msh = mesh.create_unit_cube(comm, 2, 3, 2)
    m = llg.magnetization(msh, (1.0, 2.0, 2.0))
    a = np.array([1, 2, 2]) / 3
    right = llg.SurfaceAnisotropy(3.0, ends(msh), 2)
    whole = llg.SurfaceAnisotropy(3.0)
    strain = [[0.1, 0.2, 0], [0.2, -0.3, 0.4], [0, 0.4, 0.5]]
    elastic = llg.Magnetoelastic(strain, 2.0, 5.0)
    found = llg.Energy([right, whole, elastic]).by_term(m)
    assert found["SurfaceAnisotropy"] == pytest.approx(1.5 * (1 - a[0] ** 2), rel=1e-13)
    assert found["SurfaceAnisotropy_2"] == pytest.approx(3.0 * (3 - 1.0), rel=1e-13)
    even = 0.1 * a[0] ** 2 - 0.3 * a[1] ** 2 + 0.5 * a[2] ** 2
    shear = 0.2 * a[0] * a[1] + 0.4 * a[1] * a[2]
    assert found["Magnetoelastic"] == pytest.approx(2.0 * even + 10.0 * shear, rel=1e-13)
    elastic.assign(np.zeros((3, 3)))
    assert llg.Energy([elastic]).total(m) == 0.0


def test_a_strain_along_an_axis_is_a_uniaxial_anisotropy(comm):
    """B_1 eps a^2 = -q_u/2 a^2 with q_u = -2 B_1 eps, along any crystal axis: one field."""
    msh = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1] - 0.3, np.cos(3 * x[0])]))
    axis = np.array([3.0, 4.0, 0.0]) / 5
    elastic = llg.Magnetoelastic(
        0.02 * np.outer(axis, axis), 7.0, 1e3, axes=(tuple(axis), (-4.0, 3.0, 0.0))
    )
    uniaxial = llg.UniaxialAnisotropy(tuple(axis), -2 * 7.0 * 0.02)
    w = ufl.TestFunction(m.function_space)
    one, other = (
        fem.assemble_vector(fem.form(llg.Energy([term]).gradient(m, w)))
        for term in (elastic, uniaxial)
    )
    # The anisotropy keeps q_u |m|^2, whose field lies along m.
    radial = fem.assemble_vector(fem.form(0.28 * ufl.inner(m, w) * ufl.dx))
    assert np.abs(one.array - other.array - radial.array).max() < 1e-13


def twisted(q_left, q_right, kappa):
    """Angles at the ends of a film whose ends prefer z and x: linear between, by its energy."""

    def total(ends):
        low, high = ends
        sides = q_left * np.sin(low) ** 2 + q_right * np.cos(high) ** 2
        return 0.5 * kappa * (high - low) ** 2 + 0.5 * sides

    return minimize(total, [0.3, 1.2], tol=1e-14).x


def end_angles(m):
    """Angles to z at x = 0 and 1."""
    own = m.x.array.reshape(-1, 3)
    x = m.function_space.tabulate_dof_coordinates()[:, 0]
    parts = m.function_space.mesh.comm.allgather((x, np.arctan2(own[:, 0], own[:, 2])))
    x, angle = (np.concatenate(part) for part in zip(*parts, strict=True))
    return angle[np.argmin(x)], angle[np.argmax(x)]


def held(msh):
    """A state of a mesh of unit length and its energy, whose ends want different directions."""
    m = llg.magnetization(
        msh, lambda x: np.array([np.sin(0.5 + 0.5 * x[0]), 0 * x[0], np.cos(0.5 + 0.5 * x[0])])
    )
    tags = ends(msh)
    energy = llg.Energy(
        [
            llg.Exchange(1.0),
            llg.SurfaceAnisotropy(2.0, tags, 1, axis=(0, 0, 1)),
            llg.SurfaceAnisotropy(3.0, tags, 2, axis=(1, 0, 0)),
        ]
    )
    return energy, m


def film(comm, cells=20):
    return held(mesh.create_unit_interval(comm, cells))


def test_robin_condition(comm):
    """The ends pull m apart: kappa theta' is the torque of either end, theta linear between.

    On P1 kappa theta' becomes kappa sin(h theta')/h: relative error (h theta')^2/6 = 2e-4.
    """
    energy, m = film(comm)
    llg.minimise(energy, m, torque=1e-7)
    assert end_angles(m) == pytest.approx(twisted(2.0, 3.0, 1.0), abs=2e-4)


SCHEMES = {
    "an": (llg.an, {}),
    "cimrak": (llg.cimrak, {"projection": True}),
    "gao": (llg.gao, {"projection": True}),
    "prohl": (llg.prohl, {"projection": True}),
    "tangent": (llg.tangent_plane, {}),
    "tangent2": (llg.tangent_plane, {"second_order": True}),
    "midpoint": (llg.midpoint, {}),
    "rk4": (llg.rk4, {}),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_every_scheme_ends_there(comm, name):
    energy, m = film(comm, 8)
    scheme, options = SCHEMES[name]
    if name != "rk4":
        options = options | {"dt": 0.1}
    step = scheme(energy, m, damping=1.0, **options)
    for _ in llg.march(step, t_end=6.0, progress=False):
        pass
    # 1e-3 = (h theta')^2/6; the slowest mode decays as exp(-2 t).
    assert end_angles(m) == pytest.approx(twisted(2.0, 3.0, 1.0), abs=2e-3)


def test_a_coarse_space_knows_the_surface(comm):
    """Increments in a GRPS space: the film of a square ends at the angles of the line."""
    hierarchy = llg.grps.refine_mesh(mesh.create_unit_square(comm, 4, 4), 2)
    energy, m = held(hierarchy.fine)
    basis = llg.grps.coarse_basis(energy, hierarchy)
    exact = twisted(2.0, 3.0, 1.0)
    llg.minimise(energy, m, torque=1e-4, basis=basis)
    # The functions of the space have no flux at the boundary: within H = 1/4 of it they lack
    # theta' = .8, which costs some .03 in the angle.
    assert end_angles(m) == pytest.approx(exact, abs=0.05)
    rest = m.x.array.copy()
    step = llg.an(energy, m, dt=0.05, damping=1.0)
    for _ in llg.march(step, t_end=0.5, basis=basis):
        pass
    assert np.abs(m.x.array - rest).max(initial=0.0) < 5e-3
    with pytest.raises(ValueError, match="exterior_facet"):
        llg.reduction.hyper_reduce(step, basis, hierarchy, t_train=0.1)


def test_bad_input(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(msh, (0.0, 0.0, 1.0))
    tags = tagged(msh, left=lambda x: x[0] < 1e-9, middle=lambda x: np.isclose(x[0], 0.5))
    cells = mesh.meshtags(msh, 2, np.arange(2, dtype=np.int32), np.ones(2, dtype=np.int32))
    cases = [
        (lambda: llg.SurfaceAnisotropy(1.0, tags, 7), r"no facet has the tag\(s\) \[7\].*\[1, 2\]"),
        (lambda: llg.SurfaceAnisotropy(1.0, tags, 2), "4 of the facets .* lie inside the mesh"),
        (lambda: llg.SurfaceAnisotropy(1.0, cells, 1), "dimension 2, the facets have 1"),
    ]
    for make, message in cases:
        with pytest.raises(ValueError, match=message):
            llg.Energy([make()]).total(m)
    with pytest.raises(ValueError, match="tags says which"):
        llg.SurfaceAnisotropy(1.0, tags)
    with pytest.raises(ValueError, match="facet_tags is None"):
        llg.SurfaceAnisotropy(1.0, tags=1)
    with pytest.raises(ValueError, match="axis must not be zero"):
        llg.SurfaceAnisotropy(1.0, axis=(0, 0, 0))
    with pytest.raises(ValueError, match="q_s must be finite"):
        llg.SurfaceAnisotropy(math.nan)
    with pytest.raises(TypeError, match="tags"):
        llg.SurfaceAnisotropy(1.0, tags, "left")
    with pytest.raises(ValueError, match="strain must be symmetric"):
        llg.Magnetoelastic([[0, 1, 0], [0, 0, 0], [0, 0, 0]], 1.0, 1.0)
    with pytest.raises(ValueError, match="strain must have shape"):
        llg.Magnetoelastic(np.eye(2), 1.0, 1.0)
    with pytest.raises(ValueError, match="strain must have shape"):
        llg.Magnetoelastic(ufl.SpatialCoordinate(msh), 1.0, 1.0)
    with pytest.raises(ValueError, match="must be orthogonal"):
        llg.Magnetoelastic(np.eye(3), 1.0, 1.0, axes=((1, 0, 0), (1, 1, 0)))
    skew = llg.Magnetoelastic(lambda t: np.triu(np.ones((3, 3))), 1.0, 1.0)
    with pytest.raises(ValueError, match="strain must be symmetric"):
        llg.Energy([skew]).update(m, 0.0)
