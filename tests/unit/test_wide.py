# SPDX-License-Identifier: LGPL-3.0-or-later
"""Many overlapping functions: products in dense pieces, and inverses of what is full."""

from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import assemble_matrix

from dolfinx_llg.la.matrices import scipy_rows, whole_table
from dolfinx_llg.la.options import Options
from dolfinx_llg.la.wide import is_wide, wide_product
from dolfinx_llg.solvers.preconditioner import scalar_solver


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


def test_full_scalar_operators_are_inverted(comm):
    """More unknowns than a sparse one may have, symmetric and not, against the product."""
    n, rng = 1100, np.random.default_rng(3)
    base = rng.standard_normal((n, 20))
    S = 3.0 * np.eye(n) + base @ base.T
    for whole in (S, S + np.triu(np.full((n, n), 1e-3))):
        first, last = (n * k // comm.size for k in (comm.rank, comm.rank + 1))
        matrix = PETSc.Mat().createAIJ(((last - first, n), (last - first, n)), nnz=n, comm=comm)
        matrix.setValues(range(first, last), range(n), whole[first:last])
        matrix.assemble()
        vector = matrix.createVecRight()  # the solver frees the matrix, PETSc then the communicator
        solver = scalar_solver(matrix, Options("test_full_"), 3)
        x = rng.standard_normal((2, n))
        found = solver(np.ascontiguousarray((x @ whole.T)[:, first:last]))
        # The condition is some 500.
        np.testing.assert_allclose(found, x[:, first:last], atol=1e-10)
        for item in (solver, vector):
            item.destroy()
