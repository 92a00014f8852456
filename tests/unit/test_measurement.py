# SPDX-License-Identifier: LGPL-3.0-or-later
"""Measurement functionals against closed forms on linear functions, in 2D and 3D."""

import numpy as np
import pytest
from dolfinx import fem, mesh

from dolfinx_llg.grps import (
    derivative_measurement,
    facet_measurement,
    match_meshes,
    refine_mesh,
    volume_measurement,
)

KINDS = mesh.CellType
SLOPE = np.array([1.0, 2.0, -3.0])
CASES = [KINDS.triangle, KINDS.quadrilateral, KINDS.tetrahedron, KINDS.hexahedron]
# Sums of a few hundred products of order one; first moments lose two digits by cancellation.
EPS = 2.3e-16


def hierarchy_of(comm, kind):
    if kind in (KINDS.triangle, KINDS.quadrilateral):
        return refine_mesh(mesh.create_unit_square(comm, 3, 4, cell_type=kind), 2)
    return refine_mesh(mesh.create_unit_cube(comm, 2, 2, 1, cell_type=kind), 1)


def measure(measurement, f):
    """Values of the functionals that this rank owns."""
    u = fem.Function(measurement.hierarchy.space)
    u.interpolate(f)
    y = measurement.Psi.createVecLeft()
    measurement.Psi.mult(u.x.petsc_vec, y)
    return y.array.copy()


def linear(x):
    return 1 + SLOPE[: len(x)] @ x


def cell_volume(kind):
    return {
        KINDS.triangle: 1 / 24,
        KINDS.quadrilateral: 1 / 12,
        KINDS.tetrahedron: 1 / 24,
        KINDS.hexahedron: 1 / 4,
    }[kind]


@pytest.mark.parametrize("kind", CASES)
def test_volume(comm, kind):
    """(6.7) on a linear function: |tau|^(3/2) times its value at the centroid."""
    m = volume_measurement(hierarchy_of(comm, kind))
    points = m.points[list(m.own_rows())]
    expected = cell_volume(kind) ** 1.5 * linear(points.T)
    assert np.allclose(measure(m, linear), expected, rtol=1e3 * EPS, atol=1e3 * EPS)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("boundary", [False, True])
def test_facets(comm, kind, boundary):
    """(6.6) on a linear function: |e|^(1 + (2-d)/(2(d-1))) times its value at the midpoint."""
    h = hierarchy_of(comm, kind)
    m = facet_measurement(h, boundary=boundary)
    dim = h.data.points.shape[2]
    rows = list(m.own_rows())
    ones = measure(m, lambda x: 1 + 0 * x[0])
    tolerance = {"rtol": 1e3 * EPS, "atol": 1e3 * EPS}
    assert np.allclose(measure(m, linear), ones * linear(m.points[rows].T), **tolerance)
    # |e| is known where all facets of a point's plane are alike: check the sum over the mesh.
    size = ones ** (1.0 if dim == 2 else 4.0 / 3.0)
    total = sum(comm.allgather(float(size.sum())))
    inner, outer = {  # lengths or areas of the coarse facets
        KINDS.triangle: (3 + 2 + 12 * np.hypot(1 / 3, 1 / 4), 4.0),
        KINDS.quadrilateral: (3 + 2.0, 4.0),
        # 4 cells of 1/2 x 1/2 x 1, two inner planes; inside a cell 6 triangles of the Kuhn cut
        KINDS.tetrahedron: (2 + 4 * _kuhn_inner(0.5, 0.5, 1.0), 6.0),
        KINDS.hexahedron: (2.0, 6.0),
    }[kind]
    assert total == pytest.approx(inner + (outer if boundary else 0.0), rel=1e-13)


def _kuhn_inner(a, b, c):
    """Area of the 6 triangles at the diagonal of a box, each with one edge and one face diagonal.

    With diagonal d = (a, b, c) and edge or face diagonal e: |d x e|/2.
    """
    d = np.array([a, b, c])
    ends = [(a, 0, 0), (0, b, 0), (0, 0, c), (a, b, 0), (a, 0, c), (0, b, c)]
    return sum(np.linalg.norm(np.cross(d, e)) / 2 for e in ends)


@pytest.mark.parametrize("kind", CASES)
def test_derivatives(comm, kind):
    """On a linear function the derivative rows are |tau|^(3/2 + 1/d) times its slope."""
    h = hierarchy_of(comm, kind)
    m = derivative_measurement(h)
    dim = h.data.points.shape[2]
    volume, rows = cell_volume(kind), np.array(m.own_rows(), dtype=int)
    k = rows % (1 + dim)
    expected = np.where(
        k == 0,
        volume**1.5 * linear(m.points[rows].T) if len(rows) else 0.0,
        volume ** (1.5 + 1 / dim) * SLOPE[k - 1],
    )
    assert np.allclose(measure(m, linear), expected, rtol=1e5 * EPS, atol=1e4 * EPS)


def test_fine_partition_does_not_matter(comm):
    """A fine mesh distributed on its own gives the functionals of the refined one."""
    coarse = mesh.create_unit_square(comm, 3, 3)
    one = refine_mesh(coarse, 2)
    other = match_meshes(coarse, mesh.create_unit_square(comm, 12, 12))
    for make in (volume_measurement, facet_measurement, derivative_measurement):
        first, second = (measure(make(h), lambda x: np.sin(5 * x[0] + x[1])) for h in (one, other))
        assert np.abs(first - second).max(initial=0.0) < 1e-15  # 0.07 times sums of round-off
