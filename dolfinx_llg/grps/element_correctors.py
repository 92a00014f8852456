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

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl

from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.cell_shares import shares_and_hats
from dolfinx_llg.grps.hierarchy import Layers
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patch_solvers import CondensedPatches, cholesky_solve
from dolfinx_llg.grps.patches import grown
from dolfinx_llg.la.matrices import (
    LocalRows,
    column_matrix,
    coo_matrix,
    local_submatrices,
    scipy_rows,
    stack,
)

__all__ = ["ElementCorrectors"]

logger = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


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
        elements: Its element matrices on the fine cells of this rank.
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
        elements: FloatArray | None,
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
        self._corners = measurement.hierarchy.data.points.shape[1]
        self._averages = _vertex_averages(measurement)
        assert elements is not None
        self._data = self._cell_data(elements, range(len(self.problem.cells)))
        counts = self.comm.allgather(sum(item.base.shape[1] for item in self._data))
        number = sum(counts[: self.comm.rank])
        for item in self._data:
            item.number = number
            number += item.base.shape[1]
        self._sizes = (counts[self.comm.rank], sum(counts))
        self._corrections: list[list[tuple[int, IntArray, FloatArray]]] = []

    # -- what a cell knows -------------------------------------------------------------------------

    def _cell_data(self, elements: FloatArray, chosen: Sequence[int]) -> list[_Data]:
        """Set up R on some cells and its energy load; the data are not numbered yet."""
        problem = self.problem
        shares, hats = shares_and_hats(problem, elements, chosen)
        cells = [problem.cells[k] for k in chosen]
        numbers = [problem.skeleton_number[cell.skeleton] for cell in cells]
        tables = self._skeleton_rows(chosen, numbers)
        data = []
        for cell, share, hat, own, table in zip(cells, shares, hats, numbers, tables, strict=True):
            facets, lift, values, Z, unknowns = table
            inside = np.zeros((len(own), len(cell.rows)))
            base = np.hstack([hat - lift @ (values @ hat), inside, lift])
            load = (cell.schur + share) @ base
            load[:, self._corners : self._corners + len(cell.rows)] += cell.load
            rows = np.concatenate([cell.rows, facets]).astype(np.int32)
            data.append(_Data(0, rows, base, Z.T @ load, unknowns))
        return data

    def _skeleton_rows(
        self, chosen: Sequence[int], numbers: list[IntArray]
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
        for k in chosen:
            rows = np.sort(seeds[:, first + k].indices)
            facets.append(rows[shared[rows]].astype(np.int32))
        dofs = [problem.cells[k].skeleton for k in chosen]
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
        reach, whole = self._reach(ell)
        if whole:
            logger.info("GRPS: ell = %d reaches the whole mesh, the basis is global", ell)
            return super().solve(None)
        self._corrections = self._correct(reach, self._data)
        return self._collect_functions(None)

    def renew(
        self, A: PETSc.Mat, elements: FloatArray, changed: BoolArray, ell: int | None
    ) -> tuple[PETSc.Mat, BoolArray]:
        """Take another energy, see ``PatchSolver``: the patches of cells are solved anew."""
        reach, whole = self._reach(self._everywhere if ell is None else ell)
        self._take(A, changed)
        first, last = self.measurement.hierarchy.data.cell_range
        own = np.flatnonzero(changed[first:last]).tolist()
        for k, item in zip(own, self._cell_data(elements, own), strict=True):
            item.number = self._data[k].number
            self._data[k] = item
        if whole:
            return super().solve(None), np.ones(self.measurement.Psi.getSize()[0], dtype=bool)
        met = np.flatnonzero(reach @ changed.astype(float)).tolist()
        found = self._correct(reach[met], [self._data[k] for k in met])
        for k, columns in zip(met, found, strict=True):
            self._corrections[k] = columns
        # A function sees the patches of the cells on which its data do not vanish.
        corners = self.measurement.hierarchy.data.vertices[[first + k for k in met]]
        mine = np.zeros(self.measurement.Psi.getSize()[0], dtype=bool)
        mine[self._averages[corners.ravel()].indices] = True
        mine[stack([self._data[k].rows for k in met])] = True
        touched = np.any(self.comm.allgather(mine), axis=0)
        return self._collect_functions(touched), touched

    def _reach(self, ell: int) -> tuple[sp.csr_matrix, bool]:
        """Return the patches of this rank's cells, and whether all are the whole mesh."""
        graph = self.measurement.hierarchy.data.graph(self.layers)
        first, last = self.measurement.hierarchy.data.cell_range
        reach = grown(sp.eye(graph.shape[0], format="csr")[first:last], graph, ell - 1)
        whole = reach.nnz == (last - first) * graph.shape[0]
        return reach, all(self.comm.allgather(whole))

    def _collect_functions(self, only: BoolArray | None) -> PETSc.Mat:
        """Return the functions (all, or some: see ``CondensedProblem.fill``)."""
        problem = self.problem
        data = self._data_of_functionals(only)
        # Data that no wanted function has need no columns.
        had = np.diff(data.getValuesCSR()[0]) > 0
        first = data.getOwnershipRange()[0]
        met = [
            k
            for k, item in enumerate(self._data)
            if had[item.number - first :][: item.base.shape[1]].any()
        ]
        columns = [column for k in met for column in self._corrections[k] if had[column[0] - first]]
        sizes = (problem.S.getSizes()[0], self._sizes)
        corrections = column_matrix(sizes, columns, self.A.comm)
        u = problem.on_skeleton(corrections.matMult(data), None)
        corrections.destroy()
        base = self._base(met)
        extended = base.matMult(data)
        u.axpy(1.0, extended, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        for matrix in (base, extended, data):
            matrix.destroy()
        return problem.fill(u, only)

    def _correct(
        self, reach: sp.csr_matrix, data: Sequence[_Data]
    ) -> list[list[tuple[int, IntArray, FloatArray]]]:
        """Solve the patch problems of cells: (number of the datum, unknowns, values) of each."""
        free = self.problem.free_unknowns(reach)
        near = LocalRows(self.problem.S, free, free)
        found: list[list[tuple[int, IntArray, FloatArray]]] = []
        message = None
        for item, unknowns in zip(data, free, strict=True):
            found.append([])
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
            found[-1] = [(item.number + k, unknowns, values[:, k]) for k in range(right.shape[1])]
        near.destroy()
        raise_together(self.comm, message)
        return found

    def _data_of_functionals(self, only: BoolArray | None) -> PETSc.Mat:
        """Return the data of R on all cells, linear in those of the functionals (all, or some)."""
        data = self.measurement.hierarchy.data
        start = np.array([item.number for item in self._data], dtype=np.int64)
        means = self._averages[data.vertices[slice(*data.cell_range)].ravel()].tocoo()
        at = start[means.row // self._corners] + means.row % self._corners
        inner = [item.number + self._corners + np.arange(len(item.rows)) for item in self._data]
        i, j = [at, *inner], [means.col, *[item.rows for item in self._data]]
        values = [means.data, np.ones(sum(len(item.rows) for item in self._data))]
        functionals = self.measurement.Psi.getSizes()[0]
        rows, columns, entries = stack(i), stack(j), stack(values, float)
        if only is not None:
            rows, columns, entries = (x[only[columns]] for x in (rows, columns, entries))
        return coo_matrix((self._sizes, functionals), rows, columns, entries, self.A.comm)

    def _base(self, chosen: Sequence[int]) -> PETSc.Mat:
        """Return R on the skeleton, linear in the data of some cells.

        Cells that share a dof agree on it.
        """
        degree = self.problem.incidence.degree
        i, j, values = [], [], []
        for k in chosen:
            cell, item = self.problem.cells[k], self._data[k]
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
