# SPDX-License-Identifier: LGPL-3.0-or-later
"""Many overlapping functions: products in dense pieces, and inverses of what is full."""

from petsc4py import PETSc

import numpy as np
import pytest
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


@pytest.mark.parametrize("rough", [False, True])
def test_full_scalar_operators_are_inverted(comm, rough):
    """More unknowns than a sparse one may have, symmetric and not, against the product.

    Roughly, where single precision is enough: with a condition of some 500, not with one of 1e8.
    """
    n, rng = 1100, np.random.default_rng(3)
    base = rng.standard_normal((n, 20))
    S = 3.0 * np.eye(n) + base @ base.T
    stiff = S + 3e8 * np.outer(np.ones(n), np.ones(n)) / n
    for whole, digits in (
        (S, 1e-4 if rough else 1e-10),
        (S + np.triu(np.full((n, n), 1e-3)), 1e-10),
        (stiff, 1e-5),
    ):
        first, last = (n * k // comm.size for k in (comm.rank, comm.rank + 1))
        matrix = PETSc.Mat().createAIJ(((last - first, n), (last - first, n)), nnz=n, comm=comm)
        matrix.setValues(range(first, last), range(n), whole[first:last])
        matrix.assemble()
        vector = matrix.createVecRight()  # the solver frees the matrix, PETSc then the communicator
        solver = scalar_solver(matrix, Options("test_full_"), 3, rough=rough)
        x = rng.standard_normal((2, n))
        found = solver(np.ascontiguousarray((x @ whole.T)[:, first:last]))
        np.testing.assert_allclose(found, x[:, first:last], atol=digits)
        assert not rough or digits != 1e-4 or np.abs(found - x[:, first:last]).max() > 1e-8
        for item in (solver, vector):
            item.destroy()
