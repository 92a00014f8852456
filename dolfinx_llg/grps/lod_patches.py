# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Localized orthogonal decomposition: coarse hat functions minus element correctors.

With the quasi-interpolation I_H (below) onto coarse P1 (Q1) functions and its kernel W,

.. math::
    \psi_z = \lambda_z - \sum_T C_T^\ell \lambda_z, \qquad
    C_T^\ell v \in W(\Omega_T^\ell): \; a(C_T^\ell v, w) = a_T(v, w)
    \quad \forall w \in W(\Omega_T^\ell),

where W(patch) are the functions of W that vanish outside the patch of ell layers of coarse cells
around T (Malqvist and Peterseim, Math. Comp. 83 (2014); for this equation, with linearised backward
Euler: arXiv:2601.12734). At full ell this is the space of energy minimisers for the functionals
I_H, one for each vertex. The functions add up to 1 at any ell for (V1), since a_T(1, w) = 0.

:math:`(I_H u)(z)` is the mean over the coarse cells T at z of :math:`(\Pi_T u)(z)`, with the L2
projection :math:`\Pi_T` onto P1(T): a projection, :math:`I_H \lambda_z = \lambda_z`, so that
Psi P = I holds with the vertex values of I_H as functionals (``vertex_measurement``).

The cell problems are condensed (``condense``) with the values of Pi_T u at the corners of T kept as
unknowns g beside those u of the skeleton: E(u, g) = (u S u)/2 + u G g + (g K g)/2. W asks that the
g of the cells at a vertex have mean zero, which an orthonormal basis eliminates in each patch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

import basix
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl

from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.cell_shares import element_matrices, hats_at, shares_and_hats
from dolfinx_llg.grps.condense import CondensedProblem
from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patch_solvers import PatchSolver, cholesky_solve
from dolfinx_llg.grps.patches import DofIncidence, describe_patch, grown
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.matrices import LocalRows, column_matrix, coo_matrix, scipy_rows, stack

__all__ = ["LODPatches", "vertex_measurement"]

logger = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@checked
def vertex_measurement(hierarchy: Hierarchy) -> Measurement:
    """Return the vertex values of the quasi-interpolation I_H (module docstring), one per vertex.

    Raises:
        ValueError: If the hierarchy is a torus.

    Note: Collective.
    """
    return _mean_at_vertices(_corner_values(hierarchy))


def _corner_values(hierarchy: Hierarchy) -> Measurement:
    """Return (Pi_T u) at the corners of each cell T; row corners * T + k."""
    if hierarchy.closed:
        raise ValueError("an LOD basis is not made on a torus: take a GRPS basis, or the box")
    data, V = hierarchy.data, hierarchy.space
    corners = data.points.shape[1]
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    masses = element_matrices(u * v * ufl.dx, V)
    count, nodes = masses.shape[0], V.dofmap.list.shape[1]
    parent = hierarchy.parent
    points = hierarchy.corners()[:, :nodes]
    hats = hats_at(data, np.repeat(parent, nodes), points.reshape(-1, points.shape[2]))
    # lambda_k is P1 (Q1) on the fine cells too: its integrals with u are exact.
    moments = np.einsum("nik,nij->nkj", hats.reshape(count, nodes, corners), masses)
    kind = basix.CellType[data.kind.name]
    rule: Any = basix.make_quadrature(kind, 2)
    x, weights = rule
    table: Any = basix.create_element(basix.ElementFamily.P, kind, 1).tabulate(0, x)
    shape = table[0, :, :, 0]
    reference = np.einsum("q,qi,qj->ij", weights, shape, shape)
    edges = data.points[:, data.axes] - data.points[:, :1]
    size = np.abs(np.linalg.det(edges))
    values = np.einsum("kl,nlj->nkj", np.linalg.inv(reference), moments) / size[parent, None, None]
    rows = (corners * parent)[:, None] + np.arange(corners)
    dofs = V.dofmap.index_map.local_to_global(V.dofmap.list[:count].ravel()).reshape(count, nodes)
    first, last = data.cell_range
    index_map = V.dofmap.index_map
    Psi = coo_matrix(
        (
            (corners * (last - first), corners * data.num_cells),
            (index_map.size_local, index_map.size_global),
        ),
        np.broadcast_to(rows[:, :, None], values.shape).ravel().astype(np.int32),
        np.broadcast_to(dofs[:, None, :], values.shape).ravel().astype(np.int32),
        values.ravel(),
        hierarchy.comm,
    )
    seeds = sp.kron(sp.eye(data.num_cells), np.ones((corners, 1)), format="csr")
    return Measurement("corner", hierarchy, Psi, seeds, data.points.reshape(-1, points.shape[2]))


def _vertex_numbers(hierarchy: Hierarchy) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the coarse vertices by their first cell, so that rows follow its owner.

    Returns:
        Number of each corner of each cell, shape (n_cells, corners), and that first cell of each
        vertex, ascending.
    """
    vertices = hierarchy.data.vertices
    _, first, inverse = np.unique(vertices.ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(first), dtype=np.int64)
    number[order] = np.arange(len(first))
    return number[inverse].reshape(vertices.shape), first[order] // vertices.shape[1]


def _mean_at_vertices(corner: Measurement) -> Measurement:
    """Return the means over the cells at a vertex of their values there."""
    hierarchy = corner.hierarchy
    data = hierarchy.data
    number, home = _vertex_numbers(hierarchy)
    degree = np.bincount(number.ravel())
    first, last = data.cell_range
    own = int(np.count_nonzero((home >= first) & (home < last)))
    width = number.shape[1]
    mine = number[first:last].ravel()
    average = coo_matrix(
        ((own, len(home)), corner.Psi.getSizes()[0]),
        mine.astype(np.int32),
        (width * first + np.arange(len(mine))).astype(np.int32),
        1.0 / degree[mine],
        hierarchy.comm,
    )
    cells = np.repeat(np.arange(data.num_cells), width)
    shape = (len(home), data.num_cells)
    seeds = sp.csr_matrix((np.ones(number.size), (number.ravel(), cells)), shape=shape)
    points = np.zeros((len(home), data.points.shape[2]))
    points[number.ravel()] = data.points.reshape(number.size, -1)
    return Measurement("vertex", hierarchy, average.matMult(corner.Psi), seeds, points)


class LODPatches(PatchSolver):
    """Element correctors of the coarse hat functions (see the module docstring).

    Args:
        A: Matrix of the energy.
        elements: Its element matrices on the fine cells of this rank.
        hierarchy: The meshes.

    Raises:
        ValueError: If the refinement is too shallow: a coarse cell needs at least as many dofs
            inside as corners.
    """

    least_ell = 1
    nested = False

    def __init__(self, A: PETSc.Mat, elements: FloatArray, hierarchy: Hierarchy) -> None:
        corner = _corner_values(hierarchy)
        super().__init__(A, _mean_at_vertices(corner))
        try:
            self.problem = CondensedProblem(A, corner, DofIncidence.of(corner))
        except ValueError as error:
            raise ValueError(
                f"the fine mesh is too shallow for LOD, where each coarse cell needs as many dofs "
                f"inside as it has corners ({error}): refine_mesh with more levels (2 for "
                "triangles, quadrilaterals and hexahedra, 3 for tetrahedra)"
            ) from error
        self._number = _vertex_numbers(hierarchy)[0]
        self._width = self._number.shape[1]
        self._place_unknowns()
        self._matrix = self._assemble()
        cells = range(len(self.problem.cells))
        self._loads, self._hats = self._cell_loads(elements, cells)
        self._corrections: list[tuple[IntArray, IntArray, FloatArray]] = []

    def _place_unknowns(self) -> None:
        """Number the skeleton's u and the cells' g together, those of each rank in a row."""
        sizes = (self.problem.S.getLocalSize()[0], self.problem.G.getLocalSize()[1])
        counts = np.array(self.comm.allgather(sizes))
        start = np.concatenate([[0], np.cumsum(counts.sum(axis=1))])
        self._u = stack([a + np.arange(n) for a, (n, _) in zip(start, counts, strict=False)])
        self._g = stack([a + n + np.arange(r) for a, (n, r) in zip(start, counts, strict=False)])
        self._size = (sum(sizes), int(start[-1]))

    def _assemble(self) -> PETSc.Mat:
        """Return the Hessian of E(u, g)."""
        problem = self.problem
        S = scipy_rows(problem.S).tocoo()
        own = problem.S.getOwnershipRange()[0]
        i, j, values = [self._u[S.row + own]], [self._u[S.col]], [S.data]
        for cell in problem.cells:
            u, g = self._u[problem.skeleton_number[cell.skeleton]], self._g[cell.rows]
            i += [np.repeat(u, len(g)), np.repeat(g, len(u)), np.repeat(g, len(g))]
            j += [np.tile(g, len(u)), np.tile(u, len(g)), np.tile(g, len(g))]
            values += [cell.load.ravel(), cell.load.T.ravel(), cell.stiffness.ravel()]
        size = (self._size, self._size)
        return coo_matrix(size, stack(i), stack(j), stack(values, float), self.A.comm)

    def _cell_loads(
        self, elements: FloatArray, chosen: Sequence[int]
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return a_T of the hats with the unknowns u, g of some cells T, and the hats' u."""
        shares, hats = shares_and_hats(self.problem, elements, chosen)
        loads = []
        for k, share, hat in zip(chosen, shares, hats, strict=True):
            cell = self.problem.cells[k]
            # The g of a hat are its corner values, since Pi_T leaves it as it is.
            on_u = (cell.schur + share) @ hat + cell.load
            loads.append(np.vstack([on_u, cell.load.T @ hat + cell.stiffness]))
        return loads, hats

    # -- patches -----------------------------------------------------------------------------------

    def solve(self, ell: int | None, only: Sequence[int] | None = None) -> PETSc.Mat:
        """Return P, shape (n_h, n_vertices), all columns; correctors on patches of ell layers."""
        reach = self._reach(ell)
        self._corrections = self._correct(reach, range(len(self.problem.cells)))
        return self._functions(None)

    def renew(
        self, A: PETSc.Mat, elements: FloatArray, changed: BoolArray, ell: int | None
    ) -> tuple[PETSc.Mat, BoolArray]:
        """Take another energy, see ``PatchSolver``."""
        self._take(A, changed)
        first, last = self.measurement.hierarchy.data.cell_range
        own = np.flatnonzero(changed[first:last]).tolist()
        loads, _ = self._cell_loads(elements, own)
        for k, load in zip(own, loads, strict=True):
            self._loads[k] = load
        reach = self._reach(ell)
        met = np.flatnonzero(reach @ changed.astype(float)).tolist()
        for k, found in zip(met, self._correct(reach[met], met), strict=True):
            self._corrections[k] = found
        mine = np.zeros(self.measurement.Psi.getSize()[0], dtype=bool)
        mine[self._number[[first + k for k in met]].ravel()] = True
        touched = np.any(self.comm.allgather(mine), axis=0)
        return self._functions(touched), touched

    def _take(self, A: PETSc.Mat, changed: BoolArray) -> None:
        self.A = A
        self.problem.renew(A, changed)
        self._matrix.destroy()
        self._matrix = self._assemble()

    def _reach(self, ell: int | None) -> sp.csr_matrix:
        """Return the patches of this rank's cells."""
        graph = self.measurement.hierarchy.data.neighbours
        own = sp.eye(graph.shape[0], format="csr")[slice(*self._cells)]
        return grown(own, graph, self._everywhere if ell is None else ell)

    @property
    def _cells(self) -> tuple[int, int]:
        return self.measurement.hierarchy.data.cell_range

    def _correct(
        self, reach: sp.csr_matrix, chosen: Sequence[int]
    ) -> list[tuple[IntArray, IntArray, FloatArray]]:
        """Solve patch problems: unknowns u, g and their values, one column for each corner."""
        data = self.measurement.hierarchy.data
        free = self.problem.free_unknowns(reach)
        inside = [(self._width * np.sort(row.indices)[:, None] + np.arange(self._width)).ravel()
                  for row in (reach[k] for k in range(reach.shape[0]))]  # fmt: skip
        unknowns = [
            np.concatenate([self._u[u], self._g[g]]) for u, g in zip(free, inside, strict=True)
        ]
        ascending = [np.sort(x) for x in unknowns]
        near = LocalRows(self._matrix, ascending, ascending)
        found: list[tuple[IntArray, IntArray, FloatArray]] = []
        message = None
        for at, (k, u, g) in enumerate(zip(chosen, free, inside, strict=True)):
            cell = self.problem.cells[k]
            order = np.searchsorted(ascending[at], unknowns[at])
            M = near.scipy_part(ascending[at], ascending[at])
            Z = _kernel(self._number.ravel()[g], len(u))[np.argsort(order)]
            seen = np.concatenate(
                [self._u[self.problem.skeleton_number[cell.skeleton]], self._g[cell.rows]]
            )
            on = np.isin(seen, ascending[at])
            right = np.zeros((len(order), self._width))
            right[np.searchsorted(ascending[at], seen[on])] = -self._loads[k][on]
            small = sp.csr_matrix(Z.T @ M @ Z)
            if small.shape[0] == 0:
                found.append((u, g.astype(np.int32), np.zeros((len(order), self._width))))
                continue
            small.sort_indices()
            matrix = PETSc.Mat().createAIJ(
                small.shape, csr=(small.indptr, small.indices, small.data), comm=PETSc.COMM_SELF
            )
            matrix.assemble()
            values = cholesky_solve(matrix, Z.T @ right)
            if values is None:
                message = (
                    f"{describe_patch(data, reach, at)} is singular: the energy is not positive "
                    "definite on the kernel of the quasi-interpolation"
                )
                break
            found.append((u, g.astype(np.int32), np.asarray(Z @ values)[order]))
        near.destroy()
        raise_together(self.comm, message)
        return found

    # -- functions ---------------------------------------------------------------------------------

    def _functions(self, only: BoolArray | None) -> PETSc.Mat:
        """Return the functions (all, or some): hats plus corrections, filled into the cells."""
        problem, comm = self.problem, self.A.comm
        first = self._cells[0]
        corrections: tuple[list[tuple[int, IntArray, FloatArray]], ...] = ([], [])
        for k, (u, g, values) in enumerate(self._corrections):
            for corner in range(self._width):
                number = self._width * (first + k) + corner
                corrections[0].append((number, u, values[: len(u), corner]))
                corrections[1].append((number, g, values[len(u) :, corner]))
        sizes = problem.G.getSizes()  # skeleton, corners of cells
        mine = self._number[slice(*self._cells)].ravel()
        rows = self._width * first + np.arange(len(mine))
        chosen = np.ones(len(mine), dtype=bool) if only is None else only[mine]
        columns = self.measurement.Psi.getSizes()[0]
        data = coo_matrix(
            (sizes[1], columns),
            rows[chosen].astype(np.int32),
            mine[chosen].astype(np.int32),
            np.ones(int(chosen.sum())),
            comm,
        )
        u = column_matrix(sizes, corrections[0], comm).matMult(data)
        g = column_matrix((sizes[1], sizes[1]), corrections[1], comm).matMult(data)
        add = PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN
        u.axpy(1.0, self._hats_on_skeleton().matMult(data), add)
        g.axpy(1.0, data, add)
        return problem.fill(u, only, g)

    def _hats_on_skeleton(self) -> PETSc.Mat:
        """Return the hats' values on the skeleton, one column for each corner of each cell."""
        problem = self.problem
        i, j, values = [], [], []
        for cell, hat in zip(problem.cells, self._hats, strict=True):
            own = problem.skeleton_number[cell.skeleton]
            i.append(np.repeat(own, self._width))
            j.append(np.tile(cell.rows, len(own)))
            values.append((hat / problem.incidence.degree[own][:, None]).ravel())
        return coo_matrix(
            problem.G.getSizes(), stack(i), stack(j), stack(values, float), self.A.comm
        )


def _kernel(vertices: npt.NDArray[np.int64], free: int) -> sp.csr_matrix:
    """Return an orthonormal basis of the g with mean zero at each vertex, u left as they are.

    Args:
        vertices: Vertex of each g.
        free: Number of u, which come first.
    """
    order = np.argsort(vertices, kind="stable")
    _, start, count = np.unique(vertices[order], return_index=True, return_counts=True)
    i, j, values = [np.arange(free)], [np.arange(free)], [np.ones(free)]
    column = free
    for k in np.unique(count[count > 1]):
        # Householder: the complement of the ones, the same for all vertices of k cells.
        normal = np.full(k, 1.0 / np.sqrt(k))
        normal[0] += 1.0
        normal /= np.linalg.norm(normal)
        block = (np.eye(k) - 2.0 * np.outer(normal, normal))[:, 1:]
        groups = order[start[count == k][:, None] + np.arange(k)]
        where = column + np.arange(len(groups) * (k - 1)).reshape(len(groups), k - 1)
        i.append(free + np.repeat(groups, k - 1, axis=1).ravel())
        j.append(np.tile(where, (1, k)).ravel())
        values.append(np.tile(block.ravel(), len(groups)))
        column += len(groups) * (k - 1)
    shape = (free + len(vertices), column)
    return sp.csr_matrix((np.concatenate(values), (np.concatenate(i), np.concatenate(j))), shape)
