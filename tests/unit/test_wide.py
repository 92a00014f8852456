# SPDX-License-Identifier: LGPL-3.0-or-later
"""Products P^T A Q of many overlapping functions in dense pieces, against sparse ones."""

from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix

from dolfinx_llg.la.matrices import scipy_rows, whole_table
from dolfinx_llg.la.wide import is_wide, wide_product


def bumps(V, count, radius):
    """Functions around the points of a grid of count^2, none at nodes in one corner."""
    n, x = V.dofmap.index_map.size_local, V.tabulate_dof_coordinates()
    centre = (np.indices((count, count)).reshape(2, -1).T + 0.5) / count
    distance = np.linalg.norm(x[:n, None, :2] - centre, axis=2)
    values = np.maximum(0.0, 1.0 - distance / radius) * (x[:n, :1] + x[:n, 1:2] > 0.3)
    rows, columns = np.nonzero(values)
    indptr = np.searchsorted(rows, np.arange(n + 1)).astype(np.int32)
    sizes = ((n, V.dofmap.index_map.size_global), (None, count**2))
    csr = (indptr, columns.astype(np.int32), values[rows, columns])
    matrix = PETSc.Mat().createAIJ(sizes, csr=csr, comm=V.mesh.comm)
    matrix.assemble()
    return matrix


def test_pieces_give_the_product(comm):
    V = fem.functionspace(mesh.create_unit_square(comm, 24, 24), ("Lagrange", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    x = ufl.SpatialCoordinate(V.mesh)
    form = (ufl.inner(ufl.grad(u), ufl.grad(v)) + x[0] * u.dx(0) * v) * ufl.dx  # not symmetric
    A = assemble_matrix(fem.form(form))
    A.assemble()
    P, Q = bumps(V, 12, 0.6), bumps(V, 10, 0.5)
    assert is_wide(P)
    assert not is_wide(bumps(V, 4, 0.3))
    for right in (P, Q):
        found = wide_product(A, P, right)
        assert found.getSizes() == (P.getSizes()[1], right.getSizes()[1])
        tables = [whole_table(matrix) for matrix in (P, A, right)]
        expected = (tables[0].T @ tables[1] @ tables[2]).toarray()
        own = expected[slice(*found.getOwnershipRange())]
        # Sums of some hundred products in another order.
        error = np.abs(scipy_rows(found).toarray() - own).max(initial=0.0)
        assert error < 1e-13 * np.abs(expected).max()
