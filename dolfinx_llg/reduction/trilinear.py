# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Integrals over samples that are linear in m and in u, by a C kernel from tensors of the cells.

On a sample with nodes j of m, k of u and i of the test function the integral is a sum of

.. math:: S[i, k, j]\, E_{cba}\, (m - \bar m)_{jc}\, u_{kb},

with constant tensors of components E (``solvers.element_tensors``). A product with it takes a third
of the time of the integration by quadrature.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.reduction.native import library
from dolfinx_llg.solvers.element_tensors import ComponentForm, integral_argument

__all__ = ["TrilinearForm"]

FloatArray = npt.NDArray[np.float64]


class TrilinearForm:
    """A bilinear form that is linear in m, at m - mean.

    Args:
        form: The form in m, integrals over all cells of a mesh of simplices.
        m: The coefficient, P1.
        mean: What is subtracted from it, DG0.

    Attributes:
        found: Whether there is a compiler; if not the form is to be assembled.
        dofs: Nodes of the cells of this rank, shape (cells, nodes).
        terms: Tensors S of the cells, shape (cells, i, k, j), with E, shape (3, 3, 4): its last
            index, a, has a zero at the end.

    Note: Collective.
    """

    def __init__(self, form: ufl.Form, m: fem.Function, mean: fem.Function) -> None:
        self._m, self._mean = m, mean
        mesh = m.function_space.mesh
        cells = mesh.topology.index_map(mesh.topology.dim).size_local
        kernels = library(mesh.comm)
        self.dofs = np.ascontiguousarray(m.function_space.dofmap.list[:cells], dtype=np.int32)
        place = mean.function_space.dofmap.list[:cells, 0]
        self._place = np.ascontiguousarray(place, dtype=np.int32)
        self.found = kernels is not None and self.dofs.shape[1] <= 4
        self.terms: list[tuple[FloatArray, FloatArray]] = []
        if kernels is None or not self.found:
            return
        self._ffi, self._library = kernels
        for integral in form.integrals():
            slots = {"c": m, "u": integral_argument(integral, 1)}
            components = ComponentForm(integral, m.function_space, slots)
            rows = [components.rows(seed) for seed in (1, 2)]
            structure = components.structure(rows, slots=3)
            for E, pivot in zip(structure.tensors, structure.pivots, strict=True):
                tensor = components.tensor(pivot).transpose(2, 3, 1, 0)  # of [j, k, cell, i]
                padded = np.pad(E, [(0, 0), (0, 0), (0, 1)])
                self.terms.append((np.ascontiguousarray(tensor), np.ascontiguousarray(padded)))

    def add_to(self, array: npt.NDArray[np.floating], u: npt.NDArray[np.floating]) -> None:
        """Add the image of u to the dofs of the cells of this rank.

        Args:
            array: Local values of a function of m's space, ghosts too.
            u: The same of u.
        """
        told = self._told
        cells, nd = self.dofs.shape
        numbers = [told(part, "int32_t *") for part in (self.dofs, self._place)]
        vectors = [told(part) for part in (self._m.x.array, self._mean.x.array, u, array)]
        for tensor, E in self.terms:
            self._library.llg_trilinear(nd, cells, *numbers, told(tensor), told(E), *vectors)

    def _told(self, values: npt.NDArray[Any], kind: str = "double *") -> Any:
        assert values.flags.c_contiguous
        return self._ffi.cast(kind, values.ctypes.data)

    @property
    def nodes(self) -> int:
        """Number of nodes that this rank knows."""
        return len(self._m.x.array) // 3

    @property
    def m(self) -> FloatArray:
        """Values of m at the nodes that this rank knows, shape (nodes, 3)."""
        return np.asarray(self._m.x.array.reshape(-1, 3))
