# SPDX-License-Identifier: LGPL-3.0-or-later
"""VaryingVector: a linear form that depends on m, assembled anew in each step, see ``varying``."""

from __future__ import annotations

from collections.abc import Sequence

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la

from dolfinx_llg.jit import compile_form
from dolfinx_llg.solvers.element_tensors import with_degrees
from dolfinx_llg.solvers.pairs import pointer
from dolfinx_llg.solvers.varying_form import AGREE, VaryingForm

__all__ = ["VaryingVector"]

Array = npt.NDArray[np.float64]


class VaryingVector(VaryingForm):
    """A linear form in P1 vector functions as a function of one of its coefficients.

    Args:
        form: Linear form.
        c: The coefficient that changes in each step.
        moving: Other functions that change in each step: an integral with one of them is not kept.

    Note: Collective.
    """

    def __init__(
        self, form: ufl.Form, c: fem.Function, moving: Sequence[fem.Function] = ()
    ) -> None:
        super().__init__(form, c, moving)
        space = c.function_space
        # DOLFINx's vector, not PETSc's: that would live on the communicator of the index map, one
        # for each m, which nobody cleans up.
        self._vector = la.vector(space.dofmap.index_map, space.dofmap.bs)
        if self._worth_it():
            before = c.x.array.copy()
            try:
                self._look_for_structure()
            finally:
                c.x.array[:] = before

    def _look_for_structure(self) -> None:
        space, mesh = self._c.function_space, self._c.function_space.mesh
        cells = mesh.topology.index_map(mesh.topology.dim).size_local
        self._dofs = np.ascontiguousarray(space.dofmap.list[:cells], dtype=np.int32)
        self._set_random()
        expected = self.values().copy()
        whole = with_degrees(self._form)
        rest = [integral for integral in whole.integrals() if not self._take_product(integral)]
        if not self.products:
            return
        self.general = compile_form(ufl.Form(rest)) if rest else None
        self._tell()
        found = self.values()
        parts = self._comm.allgather((np.sum((found - expected) ** 2), np.sum(expected**2)))
        distance, size = np.sqrt(np.sum(parts, axis=0))
        self._steps = 0
        if not distance <= AGREE * size:
            self._give_up()

    def _tell(self) -> None:
        super()._tell()
        assert self._kernels is not None
        ffi, _ = self._kernels
        self._told = [told for part in self.products for _, told in part.product_parts(ffi)]

    def values(self) -> Array:
        """Return the vector at the owned dofs, in an array of this object's. Collective."""
        self._steps += 1
        vector = self._vector
        vector.array[:] = 0.0
        if self.general is not None:
            fem.assemble_vector(vector.array, self.general)  # type: ignore[arg-type]
        if self.products:
            assert self._kernels is not None
            ffi, lib = self._kernels
            cells, nd = self._dofs.shape
            parts = ffi.new("product_part[]", [part[0][0] for part in self._told])
            arrays = [pointer(ffi, a) for a in (self._c.x.array, vector.array)]
            lib.llg_vector(nd, cells, pointer(ffi, self._dofs), len(self._told), parts, *arrays)
        vector.scatter_reverse(la.InsertMode.add)
        index_map = self._c.function_space.dofmap.index_map
        return np.asarray(vector.array[: 3 * index_map.size_local])

    def add_to(self, out: PETSc.Vec) -> None:
        """Add the form at the present value of its coefficient to a vector. Collective."""
        out.array[:] += self.values()
