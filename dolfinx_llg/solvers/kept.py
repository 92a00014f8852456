# SPDX-License-Identifier: LGPL-3.0-or-later
"""Parts of a matrix that depends on m: kept tensors of what is linear in m, scalar matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl
from dolfinx import fem

from dolfinx_llg.jit import compile_form
from dolfinx_llg.solvers.element_tensors import ComponentForm, Structure, integral_argument
from dolfinx_llg.solvers.pairs import Pairs, pointer

__all__ = ["KeptMatrices", "KeptPart", "ScalarPart", "padded"]

Array = npt.NDArray[np.float64]


def padded(array: Array) -> Array:
    """Return an array with four places in its last axis instead of three, as the kernels want."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, 4 - array.shape[-1])])


class KeptPart:
    """An integral that is linear in m: matrices L_r from nodes to pairs of nodes.

    Args:
        integral: The integral.
        components: The same with m and the trial function replaced.
        pairs: Blocks of the matrix.

    Attributes:
        structure: The tensors E_r[c, b, a].
        matrices: The L_r, once they are made.
    """

    def __init__(self, integral: ufl.Integral, components: ComponentForm, pairs: Pairs) -> None:
        self.form = ufl.Form([integral])
        self._components, self._pairs = components, pairs
        self.matrices: list[sp.csr_matrix] = []
        self.analyse()

    def analyse(self) -> None:
        """Find the tensors of components, which may be made of data (an axis). Collective."""
        rows = [self._components.rows(seed) for seed in (1, 2)]
        self.structure = self._components.structure(rows, slots=3)

    def worst_size(self) -> int:
        """Bytes that the matrices of this rank may take."""
        return 12 * len(self.structure) * self._pairs.of_cells.size * self._components.nd

    def renew(self) -> None:
        """Integrate the tensors of all cells and sum them up (no communication).

        The matrices have one pattern, with the zeros that this leaves in them.
        """
        pairs = self._pairs
        self.matrices = []
        for components in self.structure.pivots:
            tensor = self._components.tensor(components)  # [j, k, cell, i]
            rows = np.broadcast_to(pairs.of_cells.transpose(2, 0, 1), tensor.shape)
            columns = np.broadcast_to(pairs.dofs.T[:, None, :, None], tensor.shape)
            entries = (tensor.ravel(), (rows.ravel(), columns.ravel()))
            L = sp.coo_matrix(entries, shape=(pairs.size, pairs.nodes)).tocsr()
            L.sort_indices()
            self.matrices.append(L)


class KeptMatrices:
    """The matrices L_r of all parts on one pattern, as the kernels read them.

    Args:
        parts: The parts; their own matrices are taken from them.
        pairs: Blocks of the matrix.

    Attributes:
        count: Number of matrices.
        bytes: Memory on this rank.
    """

    def __init__(self, parts: Sequence[KeptPart], pairs: Pairs) -> None:
        matrices = [L for part in parts for L in part.matrices]
        for part in parts:
            part.matrices = []
        self.count = len(matrices)
        ptr, node = np.zeros(pairs.size + 1, dtype=np.int32), np.zeros(0, dtype=np.int32)
        value, tensor = np.zeros((0, 0)), np.zeros((0, 3, 3, 4))
        if matrices:
            value = np.stack([L.data for L in matrices], axis=1)
            used = value.any(axis=1)
            ptr = np.concatenate([[0], np.cumsum(used)])[matrices[0].indptr].astype(np.int32)
            node = matrices[0].indices[used].astype(np.int32)
            value = value[used]
            tensor = padded(np.concatenate([part.structure.tensors for part in parts]))
        self._arrays: tuple[npt.NDArray[Any], ...] = (ptr, node, value, tensor)
        self.bytes = ptr.nbytes + node.nbytes + value.nbytes

    def told(self, ffi: Any) -> Any:
        """Return what a kernel is told."""
        part = ffi.new("linear_part *")
        part.count = self.count
        names = ("ptr", "node", "value", "tensor")
        for name, array in zip(names, self._arrays, strict=True):
            setattr(part, name, pointer(ffi, array))
        return part


class ScalarPart:
    """An integral that is few constant tensors of components times scalar matrices.

    Args:
        integral: The integral.
        space: Space of its arguments.
        structure: The tensors, whatever the data.
        pairs: Blocks of the matrix.

    Attributes:
        fits: Whether the scalar matrices have the blocks' pattern.
    """

    def __init__(
        self,
        integral: ufl.Integral,
        space: fem.FunctionSpace,
        structure: Structure,
        pairs: Pairs,
    ) -> None:
        trial, test = (integral_argument(integral, n) for n in (1, 0))
        mesh = space.mesh
        scalars = fem.functionspace(mesh, ("Lagrange", 1))
        self._units = [fem.Constant(mesh, np.zeros(3)) for _ in range(2)]
        changes = {
            trial: ufl.TrialFunction(scalars) * self._units[0],
            test: ufl.TestFunction(scalars) * self._units[1],
        }
        self._form = compile_form(ufl.replace(ufl.Form([integral]), changes))
        self._matrix = fem.create_matrix(self._form)
        self._pivots = structure.pivots
        self._tensors = padded(structure.tensors)  # [b, a]
        own = self._matrix
        self.fits = bool(
            np.array_equal(own.indptr, pairs.indptr)
            and np.array_equal(
                own.index_map(1).local_to_global(own.indices.astype(np.int32)),
                pairs.global_columns,
            )
            and np.array_equal(scalars.dofmap.list[: len(pairs.dofs)], pairs.dofs)
        )

    def values(self) -> list[tuple[Array, Array]]:
        """Return the scalar matrices at the present m, by pair, each with its tensor."""
        found = []
        assemble: Any = fem.assemble_matrix
        for components, tensor in zip(self._pivots, self._tensors, strict=True):
            for unit, component in zip(self._units, components, strict=True):
                unit.value = np.eye(3)[component]
            self._matrix.data[:] = 0.0
            assemble(self._matrix, self._form)
            data = self._matrix.data
            found.append((data.copy() if len(self._pivots) > 1 else data, tensor))
        return found
