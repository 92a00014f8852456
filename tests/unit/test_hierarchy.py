# SPDX-License-Identifier: LGPL-3.0-or-later
"""Mesh hierarchies: parents, replicated coarse data, refusals, on any number of ranks."""

from pathlib import Path

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import mesh

from dolfinx_llg.grps import facet_measurement, match_meshes, refine_mesh, torus
from dolfinx_llg.io_mesh import read_mesh

MESHES = Path(__file__).parents[2] / "meshes"
KINDS = mesh.CellType


def coarse_mesh(comm, kind):
    if kind in (KINDS.triangle, KINDS.quadrilateral):
        return mesh.create_unit_square(comm, 3, 4, cell_type=kind)
    return mesh.create_unit_cube(comm, 2, 2, 1, cell_type=kind)


@pytest.mark.parametrize(
    "kind", [KINDS.triangle, KINDS.quadrilateral, KINDS.tetrahedron, KINDS.hexahedron]
)
def test_parents_hold_their_children(comm, kind):
    """Every corner of a fine cell lies in its parent, and each parent has 2^(dJ) children."""
    hierarchy = refine_mesh(coarse_mesh(comm, kind), 2)
    corners = hierarchy.corners()
    number, dim = corners.shape[1:]
    x = corners.reshape(-1, dim)
    distance = hierarchy.data.barycentric(np.repeat(hierarchy.parent, number), x)
    assert distance.min(initial=1.0) > -1e-12  # coordinates are multiples of 1/16 up to round-off
    children = np.bincount(hierarchy.parent, minlength=hierarchy.data.num_cells)
    assert (np.sum(comm.allgather(children), axis=0) == 2 ** (2 * dim)).all()
    assert hierarchy.fine.geometry.dim == dim


@pytest.mark.parametrize("name", ["square_inclusions", "film"])
def test_coarse_meshes_from_gmsh(comm, name):
    """Triangles and tetrahedra of any shape: parents hold their children, volumes add up."""
    coarse = read_mesh(comm, MESHES / f"{name}.xdmf").mesh
    hierarchy = refine_mesh(coarse, 1)
    corners, dim = hierarchy.corners(), coarse.topology.dim
    x = corners.reshape(-1, dim)
    parents = np.repeat(hierarchy.parent, dim + 1)
    assert hierarchy.data.barycentric(parents, x).min(initial=1.0) > -1e-9
    volume = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / (2 if dim == 2 else 6)
    sums = np.bincount(hierarchy.parent, weights=volume, minlength=hierarchy.data.num_cells)
    children = np.bincount(hierarchy.parent, minlength=hierarchy.data.num_cells)
    assert (np.sum(comm.allgather(children), axis=0) == 2**dim).all()
    box = {"square_inclusions": 1.0, "film": 100.0 * 40.0 * 5.0}[name]
    assert np.sum(comm.allgather(sums)) == pytest.approx(box, rel=1e-9)


@pytest.mark.parametrize("kind", [KINDS.triangle, KINDS.tetrahedron, KINDS.hexahedron])
def test_matching_finds_the_same_parents(comm, kind):
    """The geometric search and the refinement agree cell by cell."""
    coarse = coarse_mesh(comm, kind)
    refined = refine_mesh(coarse, 2)
    assert np.array_equal(match_meshes(coarse, refined.fine).parent, refined.parent)


def test_matching_needs_no_common_partition(comm):
    """A structured fine mesh, distributed on its own (with ghosts), finds its parents."""
    coarse, fine = mesh.create_unit_square(comm, 4, 4), mesh.create_unit_square(comm, 12, 12)
    hierarchy = match_meshes(coarse, fine)
    children = np.bincount(hierarchy.parent, minlength=32)
    assert (np.sum(comm.allgather(children), axis=0) == 9).all()
    centres = hierarchy.corners().mean(axis=1)
    assert hierarchy.data.barycentric(hierarchy.parent, centres).min(initial=1.0) > 0.0


def test_neighbours_share_a_vertex(comm):
    """In a 3 x 3 grid of squares the middle one has 9 neighbours, a corner 4, itself included."""
    hierarchy = refine_mesh(mesh.create_unit_square(comm, 3, 3, cell_type=KINDS.quadrilateral), 1)
    graph, middle = hierarchy.data.neighbours, hierarchy.data.midpoints
    counts = np.diff(graph.indptr)
    assert sorted(counts.tolist()) == [4] * 4 + [6] * 4 + [9]
    assert counts[np.linalg.norm(middle - 0.5, axis=1).argmin()] == 9


def test_layers_by_facets_and_by_vertices(comm):
    """Cells within k layers of the middle of a grid of squares: a diamond, or a square."""
    hierarchy = refine_mesh(mesh.create_unit_square(comm, 7, 7, cell_type=KINDS.quadrilateral), 1)
    data = hierarchy.data
    middle = np.linalg.norm(data.midpoints - 0.5, axis=1).argmin()
    for layers, count in (
        ("facet", lambda k: 2 * k * k + 2 * k + 1),
        ("vertex", lambda k: (2 * k + 1) ** 2),
    ):
        graph = data.graph(layers)
        for k in (1, 2, 3):
            assert (graph**k)[middle].nnz == count(k)


@pytest.mark.parametrize("kind", [KINDS.triangle, KINDS.quadrilateral, KINDS.tetrahedron])
def test_on_a_torus_all_cells_are_alike(comm, kind):
    """No boundary: n^2 squares have 2 n^2 edges, 2 n^2 triangles 3 n^2, 6 n^3 tetrahedra 12 n^3."""
    n = 3
    if kind == KINDS.tetrahedron:
        coarse, facets = mesh.create_unit_cube(comm, n, n, n), 12 * n**3
    else:
        coarse = mesh.create_unit_square(comm, n, n, cell_type=kind)
        facets = (3 if kind == KINDS.triangle else 2) * n**2
    hierarchy = torus(refine_mesh(coarse, 1))
    measurement = facet_measurement(hierarchy)
    assert measurement.Psi.getSize()[0] == facets
    graph = hierarchy.data.graph("facet")
    assert set(np.diff(graph.indptr)) == {1 + {KINDS.triangle: 3}.get(kind, 4)}
    strip = torus(refine_mesh(coarse, 1), [0])
    assert facet_measurement(strip).Psi.getSize()[0] < facets


def test_what_cannot_be_closed(comm):
    small = refine_mesh(mesh.create_unit_square(comm, 2, 4), 1)
    with pytest.raises(ValueError, match="too few cells"):
        torus(small)
    with pytest.raises(ValueError, match="directions must be axes"):
        torus(small, [2])


def test_refusals(comm):
    coarse = mesh.create_unit_square(comm, 4, 4)
    left = mesh.DiagonalType.left
    for wrong in (
        mesh.create_unit_square(comm, 6, 6),
        mesh.create_unit_square(comm, 8, 8, diagonal=left),
    ):
        with pytest.raises(ValueError, match=r"not a refinement of the coarse one.*parent sizes"):
            match_meshes(coarse, wrong)
    larger = mesh.create_rectangle(comm, [[0, 0], [2, 1]], [16, 8])
    with pytest.raises(ValueError, match=r"not a refinement of the coarse one.*lies in none"):
        match_meshes(coarse, larger)
    smaller = mesh.create_rectangle(comm, [[0, 0], [1, 0.5]], [8, 4])
    with pytest.raises(ValueError, match="relative gap or overlap of 1"):
        match_meshes(coarse, smaller)
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        refine_mesh(coarse, 0)
    with pytest.raises(ValueError, match="2 or 3 dimensions, got 1"):
        refine_mesh(mesh.create_unit_interval(comm, 4), 1)
    if comm.size > 1:
        with pytest.raises(ValueError, match="different communicators"):
            match_meshes(coarse, mesh.create_unit_square(MPI.COMM_SELF, 8, 8))
