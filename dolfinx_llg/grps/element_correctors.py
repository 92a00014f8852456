# SPDX-License-Identifier: LGPL-3.0-or-later
r"""A localization that keeps constants: corrections cell by cell instead of cut-off functions.

The basis function of data q minimises a under :math:`\Psi \psi_q = q`, hence
:math:`\psi_q = R q - C R q` for any R with :math:`\Psi R = I`, where C projects (in a) onto the
kernel W of Psi. Cut off at a patch (GRPS paper, (3.1)), the functions no longer add up to 1: the
defect is :math:`O(1/H)` in H1 at fixed ell, and runs without projection feel it. Here C is split by
coarse cells, :math:`a = \sum_T a_T`, and each part is localized by itself:

.. math::
    \psi_q^\ell = R q - \sum_T C_T^{\ell - 1} R q, \qquad C_T^k v \in W(\Omega_T^k): \;
    a(C_T^k v, w) = a_T(v, w) \quad \forall w \in W(\Omega_T^k).

(Element correctors of the localized orthogonal decomposition: Malqvist and Peterseim, Math. Comp.
83 (2014); for functionals on cells: Maier, SIAM J. Numer. Anal. 59 (2021), and Dong, Hauck and
Maier, ibid. 61 (2023).) R q is the coarse P1 function of vertex averages of the data on the
skeleton, extended into the cells with least energy. It reproduces constants, of which
:math:`a_T(1, w)` vanishes on W for (V1), and for (V2) where Psi holds the cell averages: constants
(the data Psi 1) are then reproduced exactly, at any ell. R spreads data by one layer, so that
patches of ``ell - 1`` layers around the cells give functions that vanish outside ``ell`` layers.
Where nodes are pinned, functions vanish there, constants are none of the space, and R has the
vertex value zero.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import basix
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix

from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.hierarchy import CoarseMesh, Layers
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patch_solvers import CondensedPatches, cholesky_solve
from dolfinx_llg.jit import compile_form
from dolfinx_llg.la.matrices import (
    LocalRows,
    column_matrix,
    coo_matrix,
    local_submatrices,
    scipy_rows,
    stack,
)

__all__ = ["ElementCorrectors", "element_matrices"]

logger = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]


@dataclass
class _Data:
    """The data that R knows on one coarse cell: vertex averages, then the cell's functionals.

    Attributes:
        number: First global number of the data.
        rows: The functionals, those of the skeleton last.
        base: Values of R on the skeleton for each of the data, shape (skeleton, n).
        load: a_T(R ., .) on the condensed unknowns, shape (len(unknowns), n).
        unknowns: Condensed unknowns that see the cell.
    """

    number: int
    rows: IntArray
    base: FloatArray
    load: FloatArray
    unknowns: IntArray


class ElementCorrectors(CondensedPatches):
    """Localized bases that reproduce constants (see the module docstring).

    Args:
        A: Matrix of the energy.
        form: The energy as a bilinear form: its share of each coarse cell is needed, which a
            matrix does not tell.
        measurement: Functionals.
        layers: By which cells patches grow, see ``patch_cells``.

    Raises:
        ValueError: If the energy is given by its matrix or has integrals over facets, or if the
            refinement is too shallow for condensation.
    """

    least_ell = 1
    nested = False

    def __init__(
        self,
        A: PETSc.Mat,
        form: ufl.Form | PETSc.Mat,
        measurement: Measurement,
        layers: Layers = "vertex",
    ) -> None:
        if isinstance(form, PETSc.Mat):
            raise ValueError(
                "a localization that keeps constants needs the energy as a form, got its matrix"
            )
        super().__init__(A, measurement, layers)
        kinds = sorted({integral.integral_type() for integral in form.integrals()})
        if kinds != ["cell"]:
            raise ValueError(
                f"the energy has integrals over {kinds}: a localization that keeps constants "
                "splits it by coarse cells and takes integrals over cells alone"
            )
        corners = measurement.hierarchy.data.points.shape[1]
        self._corners = corners
        self._averages = _vertex_averages(measurement)
        shares, hats = self._on_cells(form)
        self._data = self._collect_data(shares, hats)

    # -- what a cell knows -------------------------------------------------------------------------

    def _on_cells(self, form: ufl.Form) -> tuple[list[FloatArray], list[FloatArray]]:
        """Return for each cell its share of A between skeleton dofs, and the hats' values there.

        Children of a coarse cell may live on another rank than the cell: PETSc brings their
        entries to the rank that owns the pair (cell, dof).
        """
        hierarchy, cells = self.measurement.hierarchy, self.problem.cells
        skeleton, n = self.problem.skeleton_number, self.problem.S.getSize()[0]
        first = hierarchy.data.cell_range[0]
        own = stack(
            [
                (first + k) * n + skeleton[cell.skeleton].astype(np.int64)
                for k, cell in enumerate(cells)
            ],
            np.int64,
        )
        keys = np.concatenate(self.comm.allgather(own))
        width = max(self.comm.allgather(max((len(c.skeleton) for c in cells), default=0)))

        V, parent = hierarchy.space, hierarchy.parent
        count = len(parent)
        dofs = V.dofmap.index_map.local_to_global(V.dofmap.list[:count].ravel())
        numbers = self.measurement.numbers()
        within = dofs if numbers is None else numbers[dofs]
        number = np.where(within >= 0, skeleton[within], -1).astype(np.int64)
        number = number.reshape(V.dofmap.list[:count].shape)
        on = number >= 0
        met = np.flatnonzero(on.any(axis=1))
        number, on, parent = number[met], on[met], parent[met]
        row = np.searchsorted(keys, parent[:, None] * n + np.where(on, number, 0))
        place = row - np.searchsorted(keys, parent * n)[:, None]
        elements = element_matrices(form, V)[met]
        pairs = on[:, :, None] & on[:, None, :]
        shape = pairs.shape
        i = np.broadcast_to(row[:, :, None], shape)[pairs]
        j = np.broadcast_to(place[:, None, :], shape)[pairs]
        points = hierarchy.corners()[met][on]
        values = _hats(hierarchy.data, np.repeat(parent, on.sum(axis=1)), points)
        columns = np.arange(self._corners + 1)
        # Several fine cells may report the value at a point. The last column counts them, so that
        # the sums can be divided by their number.
        values = np.column_stack([values, np.ones(len(values))])
        table = coo_matrix(
            ((len(own), len(keys)), (PETSc.DECIDE, width + self._corners + 1)),
            np.concatenate([i, np.repeat(row[on], len(columns))]).astype(np.int32),
            np.concatenate([j, np.tile(width + columns, len(values))]).astype(np.int32),
            np.concatenate([elements[pairs], values.ravel()]),
            self.A.comm,
        )
        rows = scipy_rows(table)
        shares, hats, at = [], [], 0
        for cell in cells:
            s = len(cell.skeleton)
            dense = rows[at : at + s].toarray()
            shares.append(dense[:, :s])
            hats.append(dense[:, width:-1] / dense[:, -1:])
            at += s
        table.destroy()
        return shares, hats

    def _collect_data(self, shares: list[FloatArray], hats: list[FloatArray]) -> list[_Data]:
        """Set up R on each cell and its energy load."""
        problem = self.problem
        numbers = [problem.skeleton_number[cell.skeleton] for cell in problem.cells]
        tables = self._skeleton_rows(numbers)
        data, number = [], 0
        for cell, share, hat, own, table in zip(
            problem.cells, shares, hats, numbers, tables, strict=True
        ):
            facets, lift, values, Z, unknowns = table
            inside = np.zeros((len(own), len(cell.rows)))
            base = np.hstack([hat - lift @ (values @ hat), inside, lift])
            load = (cell.schur + share) @ base
            load[:, self._corners : self._corners + len(cell.rows)] += cell.load
            rows = np.concatenate([cell.rows, facets]).astype(np.int32)
            data.append(_Data(number, rows, base, Z.T @ load, unknowns))
            number += base.shape[1]
        counts = self.comm.allgather(number)
        start = sum(counts[: self.comm.rank])
        for item in data:
            item.number += start
        self._sizes = (number, sum(counts))
        return data

    def _skeleton_rows(
        self, numbers: list[IntArray]
    ) -> list[tuple[IntArray, FloatArray, FloatArray, FloatArray, IntArray]]:
        """Return for each cell: its facet functionals, their D and Psi there, Z and its columns."""
        problem, measurement = self.problem, self.measurement
        if problem.Z is None or problem.D is None:
            none = np.zeros(0, dtype=np.int32)
            return [
                (none, np.zeros((len(n), 0)), np.zeros((0, len(n))), np.eye(len(n)), n)
                for n in numbers
            ]
        seeds = sp.csc_matrix(measurement.seeds)
        shared = np.diff(measurement.seeds.indptr) > 1
        first = measurement.hierarchy.data.cell_range[0]
        facets: list[IntArray] = []
        for k in range(len(numbers)):
            rows = np.sort(seeds[:, first + k].indices)
            facets.append(rows[shared[rows]].astype(np.int32))
        dofs = [cell.skeleton for cell in problem.cells]
        lifts = LocalRows(problem.D, numbers, facets)
        values = LocalRows(measurement.Psi, facets, dofs)
        met = np.unique(stack(numbers))
        every = np.arange(problem.S.getSize()[0], dtype=np.int32)
        (near,) = local_submatrices(problem.Z, [met], [every])
        kernels = scipy_rows(near)
        found = []
        for own, rows, seen in zip(numbers, facets, dofs, strict=True):
            Z = kernels[np.searchsorted(met, own)]
            unknowns = np.unique(Z.indices).astype(np.int32)
            found.append(
                (
                    rows,
                    lifts.scipy_part(own, rows).toarray(),
                    values.scipy_part(rows, seen).toarray(),
                    Z[:, unknowns].toarray(),
                    unknowns,
                )
            )
        for matrix in (lifts, values, near):
            matrix.destroy()
        return found

    # -- the basis ---------------------------------------------------------------------------------

    def solve(self, ell: int | None, only: Sequence[int] | None = None) -> PETSc.Mat:
        """Return P, shape (n_h, n_H), all columns: functions that vanish outside ell layers.

        Raises:
            ValueError: If ell < 1, or a patch problem is singular.
        """
        if ell is None:
            return super().solve(None)
        if ell < self.least_ell:
            raise ValueError(f"a localization that keeps constants needs ell >= 1, got {ell}")
        graph = self.measurement.hierarchy.data.graph(self.layers)
        first, last = self.measurement.hierarchy.data.cell_range
        reach = sp.eye(graph.shape[0], format="csr")[first:last]
        for _ in range(ell - 1):
            reach = (reach @ graph).tocsr()
            reach.data[:] = 1.0
        whole = reach.nnz == (last - first) * graph.shape[0]
        if all(self.comm.allgather(whole)):
            logger.info("GRPS: ell = %d reaches the whole mesh, the basis is global", ell)
            return super().solve(None)
        problem = self.problem
        skeleton = problem.S.getSizes()[0]
        corrections = column_matrix((skeleton, self._sizes), self._correct(reach), self.A.comm)
        data = self._data_of_functionals()
        u = problem.on_skeleton(corrections.matMult(data), None)
        u.axpy(1.0, self._base().matMult(data), PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        return problem.fill(u)

    def _correct(self, reach: sp.csr_matrix) -> list[tuple[int, IntArray, FloatArray]]:
        """Solve the patch problems of the cells: (number of the datum, unknowns, values)."""
        free = self.problem.free_unknowns(reach)
        near = LocalRows(self.problem.S, free, free)
        columns, message = [], None
        for item, unknowns in zip(self._data, free, strict=True):
            if len(unknowns) == 0:
                continue
            inside = np.isin(item.unknowns, unknowns)
            right = np.zeros((len(unknowns), item.load.shape[1]))
            right[np.searchsorted(unknowns, item.unknowns[inside])] = -item.load[inside]
            values = cholesky_solve(near.part(unknowns, unknowns), right)
            if values is None:
                message = (
                    "a patch problem is singular: the energy is not positive definite on the "
                    "kernel of the functionals"
                )
                break
            columns += [(item.number + k, unknowns, values[:, k]) for k in range(right.shape[1])]
        near.destroy()
        raise_together(self.comm, message)
        return columns

    def _data_of_functionals(self) -> PETSc.Mat:
        """Return the data of R on all cells, linear in those of the functionals."""
        hierarchy = self.measurement.hierarchy
        first = hierarchy.data.cell_range[0]
        i, j, values = [], [], []
        for k, item in enumerate(self._data):
            corners = self._averages[hierarchy.data.vertices[first + k]].tocoo()
            i += [
                item.number + corners.row,
                item.number + self._corners + np.arange(len(item.rows)),
            ]
            j += [corners.col, item.rows]
            values += [corners.data, np.ones(len(item.rows))]
        functionals = self.measurement.Psi.getSizes()[0]
        return coo_matrix(
            (self._sizes, functionals), stack(i), stack(j), stack(values, float), self.A.comm
        )

    def _base(self) -> PETSc.Mat:
        """Return R on the skeleton, linear in its data; cells that share a dof agree on it."""
        degree = self.problem.incidence.degree
        i, j, values = [], [], []
        for cell, item in zip(self.problem.cells, self._data, strict=True):
            own = self.problem.skeleton_number[cell.skeleton]
            n = item.base.shape[1]
            i.append(np.repeat(own, n))
            j.append(np.tile(item.number + np.arange(n), len(own)))
            values.append((item.base / degree[own][:, None]).ravel())
        skeleton = self.problem.S.getSizes()[0]
        return coo_matrix(
            (skeleton, self._sizes), stack(i), stack(j), stack(values, float), self.A.comm
        )


def _vertex_averages(measurement: Measurement) -> sp.csr_matrix:
    """Return the vertex values of R, shape (n_vertices, n_H), replicated; Psi 1 goes to 1.

    At a vertex the mean of u ~ [phi_i, u] / [phi_i, 1] over the functionals of the cells there.
    """
    Psi, data = measurement.whole, measurement.hierarchy.data
    ones, image = Psi.createVecRight(), Psi.createVecLeft()
    ones.set(1.0)
    Psi.mult(ones, image)
    size = np.concatenate(measurement.hierarchy.comm.allgather(image.array.copy()))
    # Functionals of derivatives vanish on constants, but for round-off.
    means = np.abs(size) > 1e-8 * np.abs(size).max()
    number = int(data.vertices.max()) + 1
    rows = data.vertices.ravel()
    cells = np.repeat(np.arange(data.num_cells), data.vertices.shape[1])
    incidence = sp.csr_matrix((np.ones(len(rows)), (rows, cells)), shape=(number, data.num_cells))
    near = (incidence @ measurement.seeds.T).tocsr()
    near.data[:] = 1.0
    near = near @ sp.diags(means.astype(float))
    near.eliminate_zeros()
    share = np.divide(1.0, size, out=np.zeros_like(size), where=means)
    count = np.maximum(np.asarray(near.sum(axis=1)).ravel(), 1.0)
    kept = ~measurement.pinned_vertices(number)
    return sp.csr_matrix(sp.diags(kept / count) @ near @ sp.diags(share))


def element_matrices(form: ufl.Form, V: fem.FunctionSpace) -> FloatArray:
    """Return the element matrices of a bilinear form on V, shape (n_cells, dofs, dofs)."""
    test, trial = form.arguments()
    broken = fem.functionspace(V.mesh, ("Discontinuous Lagrange", 1))
    apart = ufl.replace(form, {test: ufl.TestFunction(broken), trial: ufl.TrialFunction(broken)})
    matrix = assemble_matrix(compile_form(apart))
    matrix.assemble()
    indptr, columns, values = matrix.getValuesCSR()
    dofs = broken.dofmap.list
    count = len(indptr) - 1
    n = dofs.shape[1]
    own = dofs[: count // n]
    first = matrix.getOwnershipRange()[0]
    # Each row has the n columns of its cell, ascending as PETSc stores them.
    sorted_columns = np.sort(own, axis=1)
    place = np.argsort(np.argsort(own, axis=1), axis=1)
    assert (columns.reshape(count, n)[own[:, 0]] == sorted_columns + first).all()
    elements = values.reshape(count, n)[own]
    matrix.destroy()
    return np.asarray(np.take_along_axis(elements, place[:, None, :], axis=2))


def _hats(data: CoarseMesh, cells: npt.NDArray[np.int64], x: FloatArray) -> FloatArray:
    """Return the coarse P1 (Q1) functions of the corners of a cell at points of it."""
    kind = basix.CellType[data.kind.name]
    corners = data.points[cells]
    edges = corners[:, data.axes] - corners[:, :1]
    xi = np.einsum("nji,nj->ni", np.linalg.inv(edges), x - corners[:, 0])
    table: Any = basix.create_element(basix.ElementFamily.P, kind, 1).tabulate(0, xi)
    return np.asarray(table[0, :, :, 0])
