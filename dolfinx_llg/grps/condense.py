# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Static condensation of the constrained minimisation (2.6): one elimination for all patches.

The dofs inside a coarse cell T that no other coarse cell touches are eliminated together with the
functionals that see them (volume, derivative, boundary facets): with u the values on the skeleton
and g those of the functionals, the minimiser inside T is a fixed linear function of (u, g), from

.. math::
    \begin{pmatrix} A_{II} & \Psi_I^T \\ \Psi_I & 0 \end{pmatrix}
    \begin{pmatrix} x_I \\ \mu \end{pmatrix} =
    \begin{pmatrix} -A_{I\Gamma} u \\ g - \Psi_\Gamma u \end{pmatrix}.

What remains is ``S u = -G g`` on the skeleton. Functionals of the skeleton alone (inner facets) are
eliminated by ``u = Z c + D g``, with an orthonormal basis of their kernel among the dofs that only
they see, so that ``Z^T S Z`` is definite wherever A is definite on the kernel of Psi: no saddle
point is left, and a patch that is the whole Neumann domain is no exception. A patch problem is the
restriction of this one system to the free dofs of the patch.

Integer vectors of the length of V_h are replicated on the ranks; nothing else of that size is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.condensed_cell import Cell, condense, rows_of_cell
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patches import DofIncidence
from dolfinx_llg.la.matrices import (
    columns_of_rows,
    coo_matrix,
    dense_rows,
    index_set,
    local_submatrices,
    scipy_rows,
    some_columns,
    stack,
)

__all__ = ["CondensedProblem"]

Places = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]


class CondensedProblem:
    """The energy minimisation under Psi x = g, condensed to the skeleton of the coarse mesh.

    Args:
        A: Energy matrix on V_h, symmetric, positive definite on the kernel of Psi.
        measurement: The functionals.
        incidence: Which coarse cell touches which dof of V_h.

    Attributes:
        S: Matrix of the condensed unknowns, shape (n, n).
        G: Right sides, shape (n, n_H): the unknowns of functional i solve S c = -G e_i.
        Z, D: ``u = Z c + D g`` on the skeleton; None where no functional lives there alone.
        cells: The cells of this rank.
        skeleton_number: Place of each dof of V_h on the skeleton, -1 elsewhere, replicated.
        incidence: Which coarse cell touches which condensed unknown.
        eliminated: Condensed unknowns that are none (their rows of S are zero), replicated mask.

    Raises:
        ValueError: If a functional sees no dof that only it can claim: the refinement is too
            shallow for condensation (use the saddle-point form).
    """

    def __init__(self, A: PETSc.Mat, measurement: Measurement, incidence: DofIncidence) -> None:
        self.measurement = measurement
        self._comm = measurement.hierarchy.comm
        self._n_h = A.getSize()[0]
        self._number(A, incidence)
        self.cells = self._classify(incidence)
        self.incidence = incidence.columns(self._own_skeleton)
        self.eliminated = np.zeros(self._n_skeleton, dtype=bool)
        self.Z: PETSc.Mat | None = None
        self.D: PETSc.Mat | None = None
        self._eliminate_cells(A, self.cells)
        self._assemble(A)

    def renew(self, A: PETSc.Mat, changed: npt.NDArray[np.bool_]) -> None:
        """Take another energy: the insides of the cells where it differs are eliminated anew.

        Args:
            A: Its matrix.
            changed: Coarse cells where it differs from the last one, shape (n_coarse,), replicated.

        Note: Collective.
        """
        first = self.measurement.hierarchy.data.cell_range[0]
        self._eliminate_cells(A, [c for k, c in enumerate(self.cells) if changed[first + k]])
        self._assemble(A)

    def _number(self, A: PETSc.Mat, incidence: DofIncidence) -> None:
        """Number the skeleton: dofs that two or more coarse cells touch."""
        self._on_skeleton = incidence.degree > 1
        first, last = A.getOwnershipRange()
        self._own_dofs = (first, last)
        self._own_skeleton = (first + np.flatnonzero(self._on_skeleton[first:last])).astype(
            np.int32
        )
        number = np.cumsum(self._on_skeleton) - 1
        self.skeleton_number = np.where(self._on_skeleton, number, -1).astype(np.int32)
        self._n_skeleton = int(self._on_skeleton.sum())

    def _classify(self, incidence: DofIncidence) -> list[Cell]:
        """Set up this rank's cells; split the functionals in those of cells and of the skeleton."""
        Psi, seeds = self.measurement.Psi, self.measurement.seeds
        table = scipy_rows(Psi)
        inside = (abs(table) @ (~self._on_skeleton).astype(float)) > 0.0
        sees_inside = np.concatenate(self._comm.allgather(inside))
        alone = np.diff(seeds.indptr) == 1
        lost = np.flatnonzero(alone & ~sees_inside)
        self._n_skeleton_rows = int(np.count_nonzero(~alone))
        self._is_cell_row = alone
        rows_of = sp.csr_matrix(seeds[alone])
        rows_of = sp.csr_matrix(
            (np.ones(rows_of.nnz), (np.flatnonzero(alone), rows_of.indices)), shape=seeds.shape
        ).T.tocsr()
        dofs_of = scipy_rows(incidence.matrix)
        first, last = self.measurement.hierarchy.data.cell_range
        cells = []
        message = None
        if len(lost):
            message = f"functional {lost[0]} sees no dof inside its coarse cell"
        for T in range(first, last):
            dofs = np.sort(dofs_of[T - first].indices)
            mask = self._on_skeleton[dofs]
            rows = np.sort(rows_of[T].indices).astype(np.int32)
            cells.append(Cell(dofs[~mask], dofs[mask], rows))
            if len(rows) > np.count_nonzero(~mask):
                message = (
                    f"coarse cell {T} has {len(rows)} functionals and only "
                    f"{np.count_nonzero(~mask)} dofs inside: refine once more (4 fine cells along "
                    "a side of each coarse cell are enough for a mean)"
                )
        raise_together(self._comm, message)
        return cells

    # -- first stage: cells ------------------------------------------------------------------------

    def _eliminate_cells(self, A: PETSc.Mat, cells: Sequence[Cell]) -> None:
        dofs = np.unique(stack([c.inner for c in cells] + [c.skeleton for c in cells]))
        inner = stack([c.inner for c in cells])
        rows = stack([c.rows for c in cells])
        (sub_A,) = local_submatrices(A, [inner], [dofs])
        (sub_Psi,) = local_submatrices(self.measurement.Psi, [rows], [dofs])
        table_A, table_Psi = scipy_rows(sub_A), scipy_rows(sub_Psi)
        at_dof = at_row = 0
        position = np.zeros(len(dofs), dtype=np.int64)
        message = None
        for cell in cells:
            n, s, r = len(cell.inner), len(cell.skeleton), len(cell.rows)
            position[np.searchsorted(dofs, np.concatenate([cell.inner, cell.skeleton]))] = (
                np.arange(n + s)
            )
            a = rows_of_cell(table_A, at_dof, at_dof + n, position, n + s)
            psi = rows_of_cell(table_Psi, at_row, at_row + r, position, n + s)
            at_dof, at_row = at_dof + n, at_row + r
            try:
                condense(cell, a, psi)
            except np.linalg.LinAlgError:
                message = f"the problem inside the coarse cell of dof {cell.inner[0]} is singular"
                break
        raise_together(self._comm, message)
        for matrix in (sub_A, sub_Psi):
            matrix.destroy()

    @functools.cached_property
    def _places(self) -> tuple[Places, Places]:
        """Rows and columns of the cells' shares of S, and of G, cell after cell."""
        i, j, gi, gj = [], [], [], []
        for cell in self.cells:
            s, r = len(cell.skeleton), len(cell.rows)
            u = self.skeleton_number[cell.skeleton]
            i.append(np.repeat(u, s))
            j.append(np.tile(u, s))
            gi.append(np.repeat(u, r))
            gj.append(np.tile(cell.rows, s))
        return (stack(i), stack(j)), (stack(gi), stack(gj))

    def _assemble(self, A: PETSc.Mat) -> None:
        """Add up the cells' shares of S and G, and eliminate the functionals of the skeleton."""
        (i, j), (gi, gj) = self._places
        size = (len(self._own_skeleton), self._n_skeleton)
        Psi = self.measurement.Psi
        skeleton = index_set(self._own_skeleton, A.comm)
        shares = stack([cell.schur.ravel() for cell in self.cells], float)
        # Copies: PETSc sorts what it is given.
        self.S = coo_matrix((size, size), i.copy(), j.copy(), shares, A.comm)
        del shares
        self.S.axpy(
            1.0,
            A.createSubMatrix(skeleton, skeleton),
            PETSc.Mat.Structure.SUBSET_NONZERO_PATTERN,
        )
        loads = stack([cell.load.ravel() for cell in self.cells], float)
        self.G = coo_matrix((size, Psi.getSizes()[0]), gi.copy(), gj.copy(), loads, A.comm)
        if not self._n_skeleton_rows:
            return
        if self.Z is None:
            self._eliminate_skeleton_rows()
        assert self.Z is not None
        load = self.S.matMult(self.D)
        load.axpy(1.0, self.G, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        self.G = self.Z.transposeMatMult(load)
        self.S = self.S.PtAP(self.Z)

    # -- second stage: functionals of the skeleton -------------------------------------------------

    def _eliminate_skeleton_rows(self) -> None:
        Psi = self.measurement.Psi
        first, last = Psi.getOwnershipRange()
        table = scipy_rows(Psi)
        table.eliminate_zeros()
        mine = np.flatnonzero(~self._is_cell_row[first:last])
        seen = np.zeros(self._n_h, dtype=np.int32)
        np.add.at(seen, table[mine].indices, 1)
        seen = np.sum(self._comm.allgather(seen), axis=0)
        zi, zj, zv = [], [], []
        di, dj, dv = [], [], []
        chosen = []
        message = None
        for row in mine:
            entries = table[row]
            private = seen[entries.indices] == 1
            if not private.any():
                message = f"functional {first + row} shares all its dofs with others"
                break
            own = self.skeleton_number[entries.indices[private]]
            others = self.skeleton_number[entries.indices[~private]]
            length = float(np.linalg.norm(entries.data[private]))
            normal = entries.data[private] / length
            kernel = _orthogonal(normal)
            chosen.append(own[:1])
            zi += [np.repeat(own, len(own) - 1), np.repeat(own, len(others))]
            zj += [np.tile(own[1:], len(own)), np.tile(others, len(own))]
            zv += [kernel.ravel(), -np.outer(normal, entries.data[~private]).ravel() / length]
            di.append(own)
            dj.append(np.full(len(own), first + row, dtype=np.int32))
            dv.append(normal / length)
        raise_together(self._comm, message)
        start = self.skeleton_number[self._own_skeleton[0]] if len(self._own_skeleton) else 0
        plain = start + np.flatnonzero(seen[self._own_skeleton] != 1)
        zi.append(plain)
        zj.append(plain)
        zv.append(np.ones(len(plain)))
        sizes = self.S.getSizes()
        self.Z = coo_matrix(sizes, stack(zi), stack(zj), stack(zv, float), self.S.comm)
        self.D = coo_matrix(self.G.getSizes(), stack(di), stack(dj), stack(dv, float), self.S.comm)
        self.eliminated[np.concatenate(self._comm.allgather(stack(chosen)))] = True

    def free_unknowns(self, reach: sp.csr_matrix) -> list[npt.NDArray[np.int32]]:
        """Return the free unknowns of each patch, ascending (see ``DofIncidence.free_dofs``)."""
        return [f[~self.eliminated[f]] for f in self.incidence.free_dofs(reach)]

    # -- back to V_h -------------------------------------------------------------------------------

    def recover(self, c: PETSc.Mat, only: npt.NDArray[np.bool_] | None = None) -> PETSc.Mat:
        """Return the basis functions on V_h from their condensed unknowns.

        Args:
            c: Condensed unknowns, one column for each functional, shape (n, n_H).
            only: The functions wanted, mask of shape (n_H,), replicated (None: all); the other
                columns are left empty, at most with entries at the skeleton.

        Returns:
            P, shape (n_h, n_H), AIJ, rows distributed like V_h, columns like the functionals.
        """
        return self.fill(self.on_skeleton(c, self.D), only)

    def on_skeleton(self, c: PETSc.Mat, lift: PETSc.Mat | None) -> PETSc.Mat:
        """Return Z c + lift, the values on the skeleton of condensed unknowns c."""
        if self.Z is None:
            return c
        u = self.Z.matMult(c)
        if lift is not None:
            u.axpy(1.0, lift, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        return u

    def fill(
        self,
        u: PETSc.Mat,
        only: npt.NDArray[np.bool_] | None = None,
        g: PETSc.Mat | None = None,
    ) -> PETSc.Mat:
        """Return the functions on V_h, shape (n_h, n_H), from their values u on the skeleton.

        With ``only`` as for ``recover``, and g: values of the cells' functionals (None: the
        functions are dual to the functionals).
        """
        n_H = u.getSize()[1]
        cells = self.cells
        needed = np.unique(stack([cell.skeleton for cell in cells]))
        numbers = self.skeleton_number[needed]
        (sub,) = local_submatrices(u, [numbers], [np.arange(n_H, dtype=np.int32)])
        table = scipy_rows(sub)
        blocks: list[npt.NDArray[np.float64]] = []
        columns: list[npt.NDArray[np.int32]] = []
        start = 0 if g is None else self.measurement.Psi.getOwnershipRange()[0]
        values = sp.eye(n_H, format="csr") if g is None else scipy_rows(g)
        if only is not None:
            table, values = some_columns(table, only), some_columns(values, only)
        # The rows of cell after cell: what a cell reads lies in one piece.
        outside = table[np.searchsorted(needed, stack([cell.skeleton for cell in cells]))]
        inside = values[stack([cell.rows for cell in cells]) - start]
        met = np.zeros(n_H, dtype=bool)
        sizes = [np.array([len(c.skeleton), len(c.rows)]) for c in cells]
        ends = np.cumsum([np.zeros(2, dtype=int), *sizes], axis=0)
        # Most cells see none of the functions, where these are some only.
        stored = np.diff(outside.indptr[ends[:, 0]]) + np.diff(inside.indptr[ends[:, 1]])
        widths = np.zeros(len(cells), dtype=np.int64)
        for k in np.flatnonzero(stored):
            cell = cells[k]
            on_u, on_g = (slice(*ends[k : k + 2, part]) for part in range(2))
            seen = np.concatenate([columns_of_rows(outside, on_u), columns_of_rows(inside, on_g)])
            met[seen] = True
            mine = np.flatnonzero(met)
            met[seen] = False
            widths[k] = len(mine)
            block = cell.by_u @ dense_rows(outside, on_u, mine)
            block += cell.by_g @ dense_rows(inside, on_g, mine)
            blocks.append(block.ravel())
            columns.append(np.tile(mine.astype(np.int32), len(cell.inner)))
        counts = np.repeat(widths, [len(cell.inner) for cell in cells])
        sub.destroy()
        del table, outside
        skeleton = scipy_rows(u)
        # The functions are the largest thing in memory: no copy lives longer than it must.
        data = stack([*blocks, skeleton.data], float)
        blocks.clear()
        indices = stack([*columns, skeleton.indices])
        columns.clear()
        lengths = stack([counts, np.diff(skeleton.indptr)])
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        order = stack([*[cell.inner for cell in cells], self._own_skeleton])
        stacked = PETSc.Mat().createAIJ(
            ((len(order), self._n_h), u.getSizes()[1]),
            csr=(indptr, indices, data),
            comm=self.S.comm,
        )
        del data, indices
        stacked.assemble()
        return self._in_order(order, stacked)

    def _in_order(self, order: npt.NDArray[np.int32], stacked: PETSc.Mat) -> PETSc.Mat:
        """Bring rows that stand for the dofs ``order`` into the order and ownership of V_h.

        The matrix is destroyed.
        """
        where = np.empty(self._n_h, dtype=np.int32)
        where[np.concatenate(self._comm.allgather(order))] = np.arange(self._n_h, dtype=np.int32)
        rows = index_set(where[self._own_dofs[0] : self._own_dofs[1]], self.S.comm)
        found = stacked.createSubMatrix(rows)
        stacked.destroy()
        return found


def _orthogonal(normal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Orthonormal basis of the complement of a unit vector, shape (k, k - 1) (Householder)."""
    q = normal.copy()
    q[0] += 1.0 if q[0] >= 0.0 else -1.0
    q /= np.linalg.norm(q)
    return np.asarray((np.eye(len(q)) - 2.0 * np.outer(q, q))[:, 1:])
