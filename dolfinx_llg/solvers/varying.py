# SPDX-License-Identifier: LGPL-3.0-or-later
r"""VaryingMatrix: a bilinear form that depends on m, assembled anew in each step, cheaply.

Their integrals are treated in four ways, by what is found out about each:

*Products.* An integral of alpha(f, g) beta(h, w) with m in two or three places, as the term
lambda q(m) of the schemes, has few tensors on simplices: see ``products``.

*Scalar.* An integral that acts alike on all components, as (q u, v), is assembled as a scalar
matrix, however it depends on m.

*Kept.* An integral that is linear in m has on a cell K the tensor
``sum_r E_r[c, b, a] S_r,K(phi_j; phi_k, phi_i)``, E_r constant. The block of the nodes (i, k) is
then ``sum_r sum_c E_r[c] w_rc(i, k)``, ``w_rc = L_r m_c``, with one sparse matrix L_r from nodes to
pairs of nodes, made once: no quadrature in a step.

*General.* Any other is assembled as DOLFINx does it.

Nothing is known here of exchange or anisotropy. What was found out is compared with the general way
at a random m; where the two differ by more than round-off, the general way stays. C kernels write
the sum of all parts and of the constant matrix where PETSc keeps its values, in one sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix
from ufl.algorithms.analysis import extract_coefficients
from ufl.core.expr import Expr

from dolfinx_llg.jit import compile_form
from dolfinx_llg.physics.interaction import expand
from dolfinx_llg.solvers.element_tensors import (
    ComponentForm,
    data_disturbed,
    integral_argument,
    with_degrees,
)
from dolfinx_llg.solvers.kept import KeptMatrices, KeptPart, ScalarPart, padded
from dolfinx_llg.solvers.pairs import SAME, Pairs, pointer
from dolfinx_llg.solvers.varying_form import AGREE, VaryingForm

__all__ = ["VaryingMatrix", "is_linear"]

Array = npt.NDArray[np.float64]

_LARGEST = 12.0
"""Bound on what is kept, in units of the matrix's own values (9 doubles for a pair of nodes)."""
_MOST_MATRICES = 24
"""Bound on the number of matrices L_r (room in the kernels)."""
_MOST_SCALARS = 2
"""Scalar assemblies up to which they are cheaper than one of vector functions."""


def is_linear(integral: ufl.Integral, c: fem.Function) -> bool:
    """Whether an integrand is linear or affine in a function that occurs in it."""
    integrand = integral.integrand()
    if c not in extract_coefficients(integrand):
        return False
    direction = ufl.Argument(c.function_space, 2)
    return c not in extract_coefficients(expand(ufl.derivative(integrand, c, direction)))


class VaryingMatrix(VaryingForm):
    """A bilinear form in P1 vector functions as a function of one of its coefficients.

    Args:
        form: Bilinear form.
        c: The coefficient that changes in each step.
        pattern: Compiled form of the same arguments whose pattern the matrix has.
        fine: Matrix of that pattern, of which copies are made here for a comparison.
        moving: Other functions that change in each step: an integral with one of them is not kept.

    Note: Collective.
    """

    def __init__(
        self,
        form: ufl.Form,
        c: fem.Function,
        pattern: fem.Form,
        fine: PETSc.Mat,
        moving: Sequence[fem.Function] = (),
    ) -> None:
        super().__init__(with_degrees(form), c, moving)
        self._scalar: list[ScalarPart] = []
        if self._worth_it():
            before = c.x.array.copy()
            try:
                self._look_for_structure(pattern, fine)
            finally:
                c.x.array[:] = before

    @property
    def kept_bytes(self) -> int:
        """Memory of what is kept, on this rank."""
        found = sum(part.bytes for part in self.products)
        return found + (self._matrices.bytes if self.kept else 0)

    @property
    def all_kept(self) -> bool:
        """Whether nothing is integrated in a step."""
        return bool(self.kept_forms) and not self._scalar and self.general is None

    @property
    def with_image(self) -> bool:
        """Whether ``set`` can tell an image too: the form is linear in c."""
        return self.all_kept and not self.products

    @property
    def image_whole(self) -> bool:
        """Whether base is in that image: values are in place, all columns are of this rank."""
        return self.pairs.in_place and not self.pairs.parallel

    def _give_up(self) -> None:
        super()._give_up()
        self._scalar = []

    def _look_for_structure(self, pattern: fem.Form, fine: PETSc.Mat) -> None:
        self._set_random()
        self.pairs = Pairs(pattern, self._c.function_space, fine)
        rest = [integral for integral in self._form.integrals() if not self._take(integral)]
        if not (self.kept or self._scalar or self.products):
            return
        expected, found = fine.duplicate(), fine.duplicate()
        for matrix in (expected, found):
            matrix.zeroEntries()
        assemble_matrix(expected, self.general)
        expected.assemble()
        self.general = compile_form(ufl.Form(rest)) if rest else None
        self._tell()
        self.add_to(found)
        size = expected.norm()
        found.axpy(-1.0, expected, SAME)
        good = found.norm() <= AGREE * size
        for matrix in (expected, found):
            matrix.destroy()
        self._steps = 0
        if not all(self._comm.allgather(bool(good))):
            self._give_up()

    def _take(self, integral: ufl.Integral) -> bool:
        """Make a part of an integral, and return whether that was possible."""
        c, form = self._c, ufl.Form([integral])
        if integral.integral_type() != "cell" or integral.subdomain_id() != "everywhere":
            return False
        if self._take_product(integral):
            return True
        linear = is_linear(integral, c) and self._alone(integral)
        slots: dict[str, Expr] = {"c": c} if linear else {}
        slots["u"] = integral_argument(integral, 1)
        components = ComponentForm(integral, c.function_space, slots)
        draws = []
        for seed in (1, 2):
            with data_disturbed(form, c, seed):
                draws.append(components.rows(seed).reshape(-1, 9))
        structure = components.structure(draws, slots=2)
        # Scalar parts are read anew in each step: they come before kept ones.
        if 0 < len(structure) <= _MOST_SCALARS:
            part = ScalarPart(integral, c.function_space, structure, self.pairs)
            if all(self._comm.allgather(part.fits)):
                self._scalar.append(part)
                return True
        return linear and self._keep(integral, components)

    def _keep(self, integral: ufl.Integral, components: ComponentForm) -> bool:
        part = KeptPart(integral, components, self.pairs)
        sizes = self._comm.allgather((part.worst_size(), self.pairs.data.nbytes))
        size, limit = np.sum(sizes, axis=0)
        count = len(part.structure) + sum(len(other.structure) for other in self.kept)
        if len(part.structure) == 0 or size > _LARGEST * limit or count > _MOST_MATRICES:
            return False
        part.renew()
        self.kept.append(part)
        return True

    def _tell(self) -> None:
        super()._tell()
        assert self._kernels is not None
        ffi, _ = self._kernels
        self._matrices = KeptMatrices(self.kept, self.pairs)
        self._told = self.pairs.told(ffi), self._matrices.told(ffi)
        groups: dict[bytes, tuple[Array, list[Any]]] = {}
        self._outer: list[Any] = []
        for part in self.products:
            for beta, told in part.product_parts(ffi):
                if part.kind == "outer":
                    self._outer.append(told)
                else:
                    groups.setdefault(beta.tobytes(), (padded(beta), []))[1].append(told)
        self._padded = np.zeros((self.pairs.nodes, 4))
        # One array of scalars for all forms with the same tensor of u and v.
        self._groups = [(np.zeros(self.pairs.size), *group) for group in groups.values()]

    def add_to(self, A: PETSc.Mat) -> None:
        """Add the form at the present value of its coefficient to a matrix, and assemble that."""
        self.set(A, A)

    def set(self, A: PETSc.Mat, base: PETSc.Mat, image: Array | None = None) -> None:
        """Set a matrix to base + the form at the present value of its coefficient. Collective.

        Args:
            A: Matrix to be set, assembled afterwards.
            base: Matrix of the same pattern; may be A.
            image: If given, half of the form's image of c is added to it, of this rank's cells at
                its dofs, ghosts included, and that of base if ``image_whole``. Only where
                ``with_image``.
        """
        self._steps += 1
        if self.kept or self._scalar or self.products:
            assert self._kernels is not None
            self.pairs.fill(A, base, *self._kernels, partial(self._write, image))
        elif base is not A:
            base.copy(A, SAME)
        if self.general is not None:
            assemble_matrix(A, self.general)
            A.assemble()

    def _write(self, image: Array | None, out: Any, base: Any) -> None:
        assert self._kernels is not None
        (ffi, lib), pairs = self._kernels, self.pairs
        cells, nd = pairs.dofs.shape
        m = pointer(ffi, self._c.x.array)
        scalars = [value for part in self._scalar for value in part.values()]
        for values, beta, told in self._groups:
            values[:] = 0.0
            where = [pointer(ffi, array) for array in (pairs.dofs, pairs.of_cells)]
            products = ffi.new("product_part[]", [part[0][0] for part in told])
            lib.llg_scalars(nd, cells, *where, len(told), products, m, pointer(ffi, values))
            scalars.append((values, beta))
        scalar = ffi.new("scalar_part[]", [[pointer(ffi, a) for a in pair] for pair in scalars])
        self._padded[:, :3] = self._c.x.array.reshape(-1, 3)
        y = ffi.NULL if image is None else pointer(ffi, image)
        wide, whole = pointer(ffi, self._padded), image is not None and self.image_whole
        lib.llg_blocks(
            self._told[0], out, base, self._told[1], len(scalars), scalar, wide, y, whole
        )
        if self._outer:
            where = [pointer(ffi, array) for array in (pairs.dofs, pairs.place_of_cells)]
            products = ffi.new("product_part[]", [part[0][0] for part in self._outer])
            lib.llg_outer(nd, cells, *where, len(self._outer), products, m, out)
