# SPDX-License-Identifier: LGPL-3.0-or-later
"""The field of a current: exact cells, a wire, Ampere's law, units, refusals."""

import math

import numpy as np
import pytest
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.transport.oersted import biot_savart

UNITS = llg.units.Units(Ms0=8e5, length=1e-9)


def test_a_cell_against_quadrature(comm):
    """One tetrahedron: exact near, 4 points far, against 30^3 Gauss points."""
    corners = np.array([[[0.0, 0, 0], [1, 0, 0], [0.2, 0.9, 0], [0.1, 0.3, 0.8]]])
    j = np.array([[0.3, -0.5, 1.0]])
    t, w = np.polynomial.legendre.leggauss(30)
    t, w = 0.5 * (t + 1), 0.5 * w
    r, s, q = np.meshgrid(t, t, t, indexing="ij")
    weight = np.einsum("i,j,k->ijk", w, w, w) * r**2 * s
    bary = np.stack([1 - r, r * (1 - s), r * s * (1 - q), r * s * q], axis=-1)
    y = (bary @ corners[0]).reshape(-1, 3)
    weight = weight.ravel() * abs(np.linalg.det(corners[0, 1:] - corners[0, 0]))
    for x, tolerance in (((1.5, 0.4, 0.2), 1e-6), ((0.2, 0.2, -0.3), 1e-5), ((4, 3, 1), 5e-4)):
        d = np.array(x) - y
        inverse = weight / np.linalg.norm(d, axis=1) ** 3
        exact = np.cross(j[0], inverse @ d) / (4 * math.pi)
        found = biot_savart(np.array([x], dtype=float), corners, j)[0]
        assert np.abs(found - exact).max() < tolerance * np.abs(exact).max()


def bar(comm, kind=mesh.CellType.tetrahedron):
    """A bar along z of 0.2 x 0.2 x 10 with current density 1 along z."""
    msh = mesh.create_box(comm, [[-0.1, -0.1, -5], [0.1, 0.1, 5]], [4, 4, 40], cell_type=kind)
    fdim = 2
    ends = [mesh.locate_entities_boundary(msh, fdim, lambda x, z=z: np.isclose(x[2], z))
            for z in (-5, 5)]  # fmt: skip
    facets, values = np.concatenate(ends), np.repeat([1, 2], [len(end) for end in ends])
    order = np.argsort(facets)
    tags = mesh.meshtags(msh, fdim, facets[order], values[order].astype(np.int32))
    return llg.transport.solve_current(msh, 1.0, tags, potentials={1: 10.0, 2: 0.0})


@pytest.mark.parametrize("kind", [mesh.CellType.tetrahedron, mesh.CellType.hexahedron])
def test_wire(comm, kind):
    """Outside a finite wire I/(4 pi r) (sin a + sin b); inside Ampere's law around a square.

    A square bar is a line to (side/r)^4/100; what the finite bar takes from the inner circulation
    is the flux of its end charges, side^2/length^2.
    """
    current = bar(comm, kind)
    # The magnet: a box whose nodes are where the field is wanted.
    magnet = mesh.create_box(comm, [[1, 0, -1], [2, 0.2, 1]], [2, 1, 2])
    h = llg.transport.oersted_field(current.j, llg.vector_space(magnet), UNITS)
    scale = UNITS.current_unit * UNITS.length / UNITS.Ms0
    own = h.function_space.dofmap.index_map.size_local
    x = h.function_space.tabulate_dof_coordinates()[:own]
    values = h.x.array.reshape(-1, 3)[:own] / scale
    r = np.hypot(x[:, 0], x[:, 1])
    sines = sum(s / np.hypot(s, r) for s in (5 - x[:, 2], 5 + x[:, 2]))
    size = 0.04 / (4 * math.pi * r) * sines
    exact = (size / r)[:, None] * np.stack([-x[:, 1], x[:, 0], 0 * r], axis=1)
    assert np.abs(values - exact).max(initial=0.0) < 1e-3 * 0.04 / (2 * math.pi)


def test_amperes_law_inside(comm):
    current = bar(comm)
    corners = current.j.function_space.mesh.geometry.x[
        current.j.function_space.mesh.geometry.dofmaps[0]
    ]
    count = current.j.function_space.mesh.topology.index_map(3).size_local
    parts = comm.allgather(corners[:count])
    corners = np.concatenate(parts)
    t, w = np.polynomial.legendre.leggauss(6)
    a = 0.06
    sides = [((a, s * a, 0.0), (0, 1, 0)) for s in t] + [((s * a, a, 0.0), (-1, 0, 0)) for s in t]
    points = np.array([p for p, _ in sides])
    field = biot_savart(points, corners, np.tile([0.0, 0.0, 1.0], (len(corners), 1)))
    along = np.einsum("ij,ij->i", field, np.array([d for _, d in sides]))
    # Two sides of four, and their weights twice.
    circulation = 2 * a * float(np.tile(w, 2) @ along)
    assert circulation == pytest.approx((2 * a) ** 2, rel=1e-3)


def test_units(comm):
    """1 A/m2 through a bar of 0.2 x 0.2 L: H in A/m at 1 L is I/(2 pi L)."""
    current = bar(comm)
    magnet = mesh.create_box(comm, [[1, 0, -1], [2, 0.2, 1]], [1, 1, 2])
    h = llg.transport.oersted_field(current.j, llg.vector_space(magnet), UNITS)
    x = h.function_space.tabulate_dof_coordinates()
    here = np.flatnonzero(np.linalg.norm(x - [1, 0, 0], axis=1) < 1e-9)
    amperes = 0.04 * UNITS.length**2 * UNITS.current_unit
    expected = amperes / (2 * math.pi * UNITS.length)
    for node in here:
        found = float(UNITS.field_to_A_per_m(h.x.array.reshape(-1, 3)[node, 1]))
        assert found == pytest.approx(expected, rel=0.03)  # the bar is 10 long


def test_bad_input(comm):
    flat = mesh.create_unit_square(comm, 2, 2)
    j = fem.Function(fem.functionspace(flat, ("DG", 0, (2,))))
    box = mesh.create_unit_cube(comm, 2, 2, 2)
    with pytest.raises(ValueError, match="three dimensions"):
        llg.transport.oersted_field(j, llg.vector_space(box), UNITS)
    p1 = fem.Function(llg.vector_space(box))
    with pytest.raises(ValueError, match="DG0 vector"):
        llg.transport.oersted_field(p1, llg.vector_space(box), UNITS)
    j = fem.Function(fem.functionspace(box, ("DG", 0, (3,))))
    with pytest.raises(ValueError, match="space of vectors"):
        llg.transport.oersted_field(j, fem.functionspace(box, ("Lagrange", 1)), UNITS)
    j.x.array[:] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        llg.transport.oersted_field(j, llg.vector_space(box), UNITS)
