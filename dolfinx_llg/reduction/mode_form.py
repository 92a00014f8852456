# SPDX-License-Identifier: LGPL-3.0-or-later
r"""What a step makes of u and is linear in m, as one small matrix for each coarse cell and step.

In the modes :math:`\theta` of a coarse cell T the samples e of T, with tensors S as in
``trilinear``, and the means of m (``mean_part``) give

.. math::
    \sum_c E_{cba} \Big(\sum_n K_n\, (m - \bar m)_{nc} + M_T\, \bar m_c\Big) u_b, \qquad
    K_n[i, k] = \sum_{e, i', k'} \theta_i(x_{i'})\, S_e[i', k', n]\, \theta_k(x_{k'}),

with constant K of the nodes n and M. The brackets, three matrices of the modes, are made once a
step, from the few numbers that stand for the nodal values of a cell (``value_space``). A product
then touches no sample, and takes V u, their image and its loads on V cell by cell: V is read once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dolfinx_llg.reduction.block_products import BlockProducts, grouped
from dolfinx_llg.reduction.local_modes import LocalModes
from dolfinx_llg.reduction.mean_part import MeanPart
from dolfinx_llg.reduction.samples import Samples
from dolfinx_llg.reduction.training import TrainingState
from dolfinx_llg.reduction.trilinear import TrilinearForm
from dolfinx_llg.reduction.value_space import ValueSpace

__all__ = ["ModeForm"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class ModeForm:
    """The integrals of a trilinear form over samples, with those of the means, in V_H.

    Args:
        form: The form on the samples.
        samples: The samples.
        modes: The modes.
        mean: The part of the means of the same form.
        training: States of a run, see ``ValueSpace``.
        tolerance: What is left of nodal values, see there.
        products: Products in a step, about.

    Attributes:
        worthwhile: Whether the form is symmetric in u and the test function cell by cell, the
            components have one basis, and the matrices of a step are made of fewer numbers than its
            products over the samples read; if not this object is of no use.

    Note: Collective.
    """

    def __init__(
        self,
        form: TrilinearForm,
        samples: Samples,
        modes: LocalModes,
        mean: MeanPart,
        *,
        training: Sequence[TrainingState] = (),
        tolerance: float = 1e-3,
        products: int = 3,
    ) -> None:
        self._form, self._table = form, modes.tables[0]
        comm, terms = modes.hierarchy.comm, len(form.terms)
        n, r = len(modes.cells), max((cell.count for cell in modes.cells), default=0)
        self._counts = np.array([cell.count for cell in modes.cells], dtype=np.int32)
        self._packed = r * (r + 1) // 2
        # The values of m are those at the nodes of each coarse cell, and its mean.
        keys = samples.home[:, None] * form.nodes + form.dofs
        known, first, columns = np.unique(keys, return_index=True, return_inverse=True)
        homes, nodes = known // form.nodes, known % form.nodes
        sizes = self._counts.astype(np.int64)
        made = terms * int(np.sum(sizes * sizes * (sizes + 1) // 2))
        owned = samples.space.dofmap.index_map.size_local
        read = 3 * sum(tensor.size for tensor, _ in form.terms) + 2 * owned * r
        fit = len({id(table) for table in modes.tables}) == 1 and all(
            _symmetric(tensor) for tensor, _ in form.terms
        )
        told = comm.allgather((made, products * read, fit))
        self.worthwhile = all(t[2] for t in told)
        self.worthwhile &= sum(t[0] for t in told) <= sum(t[1] for t in told)
        if not self.worthwhile:
            return
        self._components = np.array([E for _, E in form.terms])
        dofs = samples.corner_dofs(modes).ravel()[first]
        self._values = ValueSpace(
            modes, homes, nodes, dofs, form.nodes, training=training, tolerance=tolerance
        )
        tables = samples.corner_modes(modes)
        K = np.stack([_projected(tensor, tables) for tensor, _ in form.terms], axis=2)
        M = mean.in_terms_of([E[:, :, :3] for _, E in form.terms])
        self._maker = self._products(modes, K, np.stack(M, axis=1), samples, columns)
        self._matrices = np.zeros((terms * n * self._packed + 1, 3), dtype=np.float32)

    def _products(
        self,
        modes: LocalModes,
        K: FloatArray,
        M: FloatArray,
        samples: Samples,
        columns: IntArray,
    ) -> BlockProducts:
        """Return what makes the packed matrices, transposed: as many rows as numbers of m.

        Args:
            modes: The modes.
            K: Shape (samples, corners, terms, r, r).
            M: Shape (n, terms, r, r).
            samples: The samples.
            columns: Place of their corners among the nodes of coarse cells.
        """
        n, terms, space = len(modes.cells), K.shape[2], self._values
        columns = columns.reshape(K.shape[:2])
        order, starts = _by_home(samples.home, n)
        numbers = n * space.rank
        shape = (numbers + n, terms * n * self._packed)
        blocks = []
        for cell in range(n):
            own = order[starts[cell] : starts[cell + 1]]
            lower, Q = np.tril_indices(int(self._counts[cell])), space.bases[cell]
            p = len(lower[0])
            parts = K[own][:, :, :, *lower].reshape(-1, terms * p)
            found = np.zeros((len(Q), terms * p))
            np.add.at(found, columns[own].ravel() - space.first[cell], parts)
            # K acts on m - mean.
            rest = M[cell][:, *lower].ravel() - parts.sum(axis=0)
            rows = np.append(space.rank * cell + np.arange(Q.shape[1]), numbers + cell)
            made = (n * np.arange(terms) + cell)[:, None] * self._packed + np.arange(p)
            blocks.append((np.vstack([Q.T @ found, rest]), rows, made.ravel()))
        return BlockProducts(modes.hierarchy.comm, grouped(blocks, shape), shape, single=True)

    def set(self, mean: FloatArray) -> None:
        """Make the matrices of the present m and of its means on coarse cells, shape (n, 3)."""
        numbers = self._values.numbers(self._form.m)
        self._maker.fill(np.concatenate([numbers, mean]), self._matrices)

    def missed(self, mean: FloatArray) -> FloatArray:
        """Return what the numbers miss of the present m, see ``ValueSpace.missed``."""
        return self._values.missed(self._form.m, mean)

    def image(self, c: FloatArray) -> FloatArray:
        """Return the loads on V_H, shape (n_H, 3), of this rank, of a function of V_H."""
        return self._table.sandwich(c, self._counts, self._matrices, self._components)


def _by_home(home: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return the order by coarse cells, and where each of them begins in it, and the end."""
    counts = np.bincount(home, minlength=n)
    return np.argsort(home, kind="stable"), np.concatenate([[0], np.cumsum(counts)])


def _symmetric(tensor: FloatArray) -> bool:
    """Whether S[cell, i, k, j] is symmetric in i and k."""
    change = np.abs(tensor - tensor.transpose(0, 2, 1, 3)).max(initial=0.0)
    return bool(change <= 1e-12 * np.abs(tensor).max(initial=0.0))


def _projected(tensor: FloatArray, tables: FloatArray) -> FloatArray:
    """Return K, shape (samples, nodes, r, r), of the nodes of each sample."""
    half = np.einsum("eikj,ekb->ejib", tensor, tables, optimize=True)
    return np.asarray(np.matmul(tables.transpose(0, 2, 1)[:, None], half))
