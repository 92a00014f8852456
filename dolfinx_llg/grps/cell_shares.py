# SPDX-License-Identifier: LGPL-3.0-or-later
r"""What each coarse cell has of an energy, and which cells have changed: :math:`a = \sum_T a_T`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

import basix
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix

from dolfinx_llg.grps.condense import CondensedProblem
from dolfinx_llg.grps.hierarchy import CoarseMesh, Hierarchy
from dolfinx_llg.jit import compile_form
from dolfinx_llg.la.matrices import coo_matrix, scipy_rows, stack

__all__ = ["EnergyWatch", "element_matrices", "hats_at", "shares_and_hats", "splits_by_cells"]

FloatArray = npt.NDArray[np.float64]

_SAME = 1e-14
"""Relative change of an element matrix that counts as none: the round-off of its quadrature."""


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


def splits_by_cells(energy: ufl.Form) -> bool:
    """Whether an energy is a sum over fine cells: it has no integrals over inner facets."""
    return all(integral.integral_type() != "interior_facet" for integral in energy.integrals())


class EnergyWatch:
    """Tells in which coarse cells an energy differs from the one that was seen last.

    One number is kept for each fine cell, the sum of its element matrix with fixed weights that
    have no pattern.

    Args:
        elements: Element matrices, shape (n_cells, dofs, dofs), of the fine cells of this rank.
        hierarchy: The meshes.
    """

    def __init__(self, elements: FloatArray, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._weights = np.cos(np.arange(elements[0].size if len(elements) else 1) ** 2 + 1.0)
        self._seen = self._sums(elements)[0]

    def _sums(self, elements: FloatArray) -> tuple[FloatArray, FloatArray]:
        flat = elements.reshape(len(elements), int(np.prod(elements.shape[1:])))
        if not len(flat):
            return np.zeros(0), np.zeros(0)
        return flat @ self._weights, np.abs(flat) @ np.abs(self._weights)

    def changed(self, elements: FloatArray) -> npt.NDArray[np.bool_]:
        """Return the coarse cells that differ, shape (n_coarse,), replicated, and remember them.

        Collective.
        """
        sums, size = self._sums(elements)
        differs = ~(np.abs(sums - self._seen) <= _SAME * size)
        # What counts as unchanged keeps its old number: small changes do not creep.
        self._seen[differs] = sums[differs]
        mine = np.zeros(self._hierarchy.data.num_cells, dtype=bool)
        mine[self._hierarchy.parent[differs]] = True
        return np.asarray(np.any(self._hierarchy.comm.allgather(mine), axis=0))


def shares_and_hats(
    problem: CondensedProblem, elements: FloatArray, chosen: Sequence[int]
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return for some cells their shares of A between skeleton dofs, and the hats' values there.

    Children of a coarse cell may live on another rank than the cell: PETSc brings their entries to
    the rank that owns the pair (cell, dof).

    Args:
        problem: The condensed problem, whose cells they are.
        elements: Element matrices of the energy on the fine cells of this rank.
        chosen: Places in ``problem.cells``; ranks differ (collective).
    """
    hierarchy = problem.measurement.hierarchy
    data, comm = hierarchy.data, hierarchy.comm
    cells = [problem.cells[k] for k in chosen]
    skeleton, n = problem.skeleton_number, problem.S.getSize()[0]
    corners = data.points.shape[1]
    own = stack(
        [
            (data.cell_range[0] + k) * n + skeleton[cell.skeleton].astype(np.int64)
            for k, cell in zip(chosen, cells, strict=True)
        ],
        np.int64,
    )
    keys = np.concatenate(comm.allgather(own))
    width = max(comm.allgather(max((len(c.skeleton) for c in cells), default=0)))
    asked = np.zeros(data.num_cells, dtype=bool)
    asked[keys // n] = True

    V = hierarchy.space
    fine = np.flatnonzero(asked[hierarchy.parent])
    parent, dofs = hierarchy.parent[fine], V.dofmap.list[fine]
    within = V.dofmap.index_map.local_to_global(dofs.ravel())
    numbers = problem.measurement.numbers()
    within = within if numbers is None else numbers[within]
    number = np.where(within >= 0, skeleton[within], -1).astype(np.int64).reshape(dofs.shape)
    on = number >= 0
    met = np.flatnonzero(on.any(axis=1))
    number, on, parent, fine = number[met], on[met], parent[met], fine[met]
    row = np.searchsorted(keys, parent[:, None] * n + np.where(on, number, 0))
    place = row - np.searchsorted(keys, parent * n)[:, None]
    pairs = on[:, :, None] & on[:, None, :]
    shape = pairs.shape
    i = np.broadcast_to(row[:, :, None], shape)[pairs]
    j = np.broadcast_to(place[:, None, :], shape)[pairs]
    values = hats_at(data, np.repeat(parent, on.sum(axis=1)), hierarchy.corners()[fine][on])
    columns = np.arange(corners + 1)
    # Several fine cells may report the value at a point. The last column counts them, so that the
    # sums can be divided by their number.
    values = np.column_stack([values, np.ones(len(values))])
    table = coo_matrix(
        ((len(own), len(keys)), (PETSc.DECIDE, width + corners + 1)),
        np.concatenate([i, np.repeat(row[on], len(columns))]).astype(np.int32),
        np.concatenate([j, np.tile(width + columns, len(values))]).astype(np.int32),
        np.concatenate([elements[fine][pairs], values.ravel()]),
        problem.S.comm,
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


def hats_at(data: CoarseMesh, cells: npt.NDArray[np.int64], x: FloatArray) -> FloatArray:
    """Return the coarse P1 (Q1) functions of the corners of a cell at points of it."""
    kind = basix.CellType[data.kind.name]
    corners = data.points[cells]
    edges = corners[:, data.axes] - corners[:, :1]
    xi = np.einsum("nji,nj->ni", np.linalg.inv(edges), x - corners[:, 0])
    table: Any = basix.create_element(basix.ElementFamily.P, kind, 1).tabulate(0, xi)
    return np.asarray(table[0, :, :, 0])
