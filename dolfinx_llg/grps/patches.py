# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Patches Omega_i^ell (GRPS paper, (2.7) and remark 3.1): cells and free dofs by sparse products.

Layer 0 of functional i are the cells at which it sits; each further layer adds the cells that share
a vertex with the patch (or a facet, where asked for: the paper does not say). A dof is free on a
patch where every coarse cell that it touches belongs to the patch: homogeneous Dirichlet conditions
on the part of the patch's boundary inside the domain, natural ones on the boundary of the domain.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.grps.hierarchy import CoarseMesh, Layers
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.la.matrices import coo_matrix, index_set, local_submatrices, scipy_rows

__all__ = [
    "DofIncidence",
    "describe_patch",
    "grown",
    "inner_rows",
    "patch_cells",
]


def patch_cells(
    measurement: Measurement, rows: Sequence[int], ell: int, layers: Layers = "vertex"
) -> sp.csr_matrix:
    """Return the coarse cells of the ell-layer patches, 0/1, shape (len(rows), n_coarse).

    Args:
        measurement: The functionals.
        rows: Global numbers of the functionals wanted.
        ell: Layers, at least 0.
        layers: Whether a layer are the cells that share a vertex with the patch, or a facet.
    """
    graph = measurement.hierarchy.data.graph(layers)
    return grown(measurement.seeds[np.asarray(rows, dtype=np.int64)], graph, ell)


def grown(reach: sp.csr_matrix, graph: sp.csr_matrix, layers: int) -> sp.csr_matrix:
    """Return sets of coarse cells with some layers of neighbours around each, 0/1.

    Args:
        reach: The sets, shape (sets, n_coarse).
        graph: Which cells are neighbours, each of itself too.
        layers: Layers, at least 0.
    """
    for _ in range(layers):
        before = reach.nnz
        reach = (reach @ graph).tocsr()
        reach.data[:] = 1.0
        if reach.nnz == before:  # the whole mesh
            break
    return reach


def inner_rows(measurement: Measurement, reach: sp.csr_matrix) -> list[npt.NDArray[np.int64]]:
    """Return for each patch the functionals that act on it: those whose cells all belong to it.

    Facets on the Dirichlet part of the boundary of a patch have zero trace: they drop out.
    """
    met = (reach @ measurement.seeds.T).tocsr()
    full = np.asarray(measurement.seeds.sum(axis=1)).ravel()
    return [
        np.sort(row.indices[row.data == full[row.indices]]).astype(np.int64)
        for row in (met[i] for i in range(met.shape[0]))
    ]


class DofIncidence:
    """Which coarse cell touches which dof, for some or all dofs of V_h.

    Args:
        matrix: 0/1 matrix, shape (n_coarse, n), rows owned like the coarse cells.

    Attributes:
        degree: Number of coarse cells that touch each dof, shape (n,), replicated.
    """

    def __init__(self, matrix: PETSc.Mat) -> None:
        self.matrix = matrix
        ones, counts = matrix.createVecLeft(), matrix.createVecRight()
        ones.set(1.0)
        matrix.multTranspose(ones, counts)
        parts = matrix.comm.tompi4py().allgather(np.rint(counts.array).astype(np.int32))
        self.degree: npt.NDArray[np.int32] = np.concatenate(parts)

    @classmethod
    def of(cls, measurement: Measurement) -> DofIncidence:
        """Return the incidence of all dofs of the functionals' space."""
        hierarchy = measurement.hierarchy
        V, data, parent = hierarchy.space, hierarchy.data, hierarchy.parent
        dofs = V.dofmap.list[: len(parent)]
        cells = np.repeat(parent, dofs.shape[1]).astype(np.int32)
        numbers = V.dofmap.index_map.local_to_global(dofs.ravel()).astype(np.int32)
        index_map = V.dofmap.index_map
        first, last = data.cell_range
        sizes = ((last - first, data.num_cells), (index_map.size_local, index_map.size_global))
        matrix = coo_matrix(sizes, cells, numbers, np.ones(len(cells)), hierarchy.comm)
        if measurement.within is not None:
            matrix = matrix.matMult(measurement.within)
        # Every child reports its dofs: back to 0/1.
        return cls(_binary(matrix))

    def columns(self, own: npt.NDArray[np.int32]) -> DofIncidence:
        """Return the incidence of a subset of dofs; each rank lists those it owns."""
        everything = index_set(np.arange(*self.matrix.getOwnershipRange()), self.matrix.comm)
        return DofIncidence(
            self.matrix.createSubMatrix(everything, index_set(own, self.matrix.comm))
        )

    def free_dofs(self, reach: sp.csr_matrix) -> list[npt.NDArray[np.int32]]:
        """Return the free dofs of each patch, ascending (collective; patches differ by rank)."""
        cells = np.unique(reach.indices).astype(np.int32)
        n = self.matrix.getSize()[1]
        every = np.arange(n, dtype=np.int32)
        (table,) = local_submatrices(self.matrix, [cells], [every])
        counts = (reach[:, cells] @ scipy_rows(table)).tocsr()
        counts.sort_indices()
        free = counts.data == self.degree[counts.indices]
        ends = np.concatenate([[0], np.cumsum(free)])[counts.indptr]
        chosen = counts.indices[free].astype(np.int32)
        return [chosen[a:b] for a, b in itertools.pairwise(ends)]


def _binary(matrix: PETSc.Mat) -> PETSc.Mat:
    indptr, columns, values = matrix.getValuesCSR()
    out = PETSc.Mat().createAIJ(
        matrix.getSizes(), csr=(indptr, columns, np.ones_like(values)), comm=matrix.comm
    )
    out.assemble()
    return out


def describe_patch(data: CoarseMesh, reach: sp.csr_matrix, index: int) -> str:
    """Return words that name a patch in an error message."""
    cells = reach[index].indices
    place = data.midpoints[cells].mean(axis=0)
    return f"the patch of {len(cells)} coarse cells around {np.round(place, 4).tolist()}"
