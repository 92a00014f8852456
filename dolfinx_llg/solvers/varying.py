# SPDX-License-Identifier: LGPL-3.0-or-later
r"""VaryingMatrix: a bilinear form that depends on m, assembled anew in each step, cheaply.

Its integrals are treated in three ways, by what is found out about each:

*Kept.* An integral that is linear in m has on a cell K the tensor
``sum_r E_r[c, b, a] S_r,K(phi_j; phi_k, phi_i)``, E_r constant. The block of the nodes (i, k) is
then ``sum_r sum_c E_r[c] w_rc(i, k)``, ``w_rc = L_r m_c``, with one sparse matrix L_r from nodes to
pairs of nodes, made once: a step costs a sparse product and a small dense one, no quadrature.

*Scalar.* An integral that acts alike on all components, as lambda q(m) (u, v), is assembled as a
scalar matrix, however it depends on m.

*General.* Any other is assembled as DOLFINx does it.

Nothing is known here of exchange or anisotropy, nor of simplices. What was found out is compared
with the general way at a random m; where the two differ by more than round-off, the general way
stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix
from ufl.algorithms.analysis import extract_coefficients
from ufl.core.expr import Expr

from dolfinx_llg.jit import compile_form
from dolfinx_llg.physics.interaction import expand
from dolfinx_llg.solvers.element_tensors import (
    ComponentForm,
    Structure,
    data_disturbed,
    integral_argument,
    with_degrees,
)

__all__ = ["VaryingMatrix", "is_linear", "set_pattern"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int32]

SMALLEST = 2_000
"""Cells of a mesh below which DOLFINx assembles sooner than structure is found."""
_LARGEST = 12.0
"""Bound on what is kept, in units of the matrix's own values (9 doubles for a pair of nodes)."""
_MOST_SCALARS = 2
"""Scalar assemblies up to which they are cheaper than one of vector functions."""
_AGREE = 1e-12
"""Relative difference (Frobenius) to the general way: some ten products summed in another order."""
_CHUNK = 4096
"""Blocks worked on at a time: their arrays stay in the cache."""
_PATIENCE = 3
"""Times in succession that kept data may be renewed for one step only, before they are given up."""


def set_pattern(A: PETSc.Mat, form: fem.Form) -> None:
    """Fix the whole pattern of a form in a fresh matrix, with zeros: no integration. Collective.

    A matrix that is filled by one of several forms first would drop the places of the others.
    """
    pattern = fem.create_matrix(form)
    indptr = pattern.indptr[: A.getLocalSize()[0] // 3 + 1].astype(np.int32)
    indices = pattern.indices[: indptr[-1]].astype(np.int32)
    columns = pattern.index_map(1).local_to_global(indices).astype(np.int32)
    A.setValuesBlockedCSR(indptr, columns, np.zeros(9 * len(columns)))
    A.assemble()


def is_linear(integral: ufl.Integral, c: fem.Function) -> bool:
    """Whether an integrand is linear or affine in a function that occurs in it."""
    integrand = integral.integrand()
    if c not in extract_coefficients(integrand):
        return False
    direction = ufl.Argument(c.function_space, 2)
    return c not in extract_coefficients(expand(ufl.derivative(integrand, c, direction)))


class _Pairs:
    """The blocks of the matrix, one for each pair of nodes of a cell."""

    def __init__(self, pattern: fem.Form, space: fem.FunctionSpace) -> None:
        self.matrix = matrix = fem.create_matrix(pattern)
        index_map = space.dofmap.index_map
        count = space.mesh.topology.index_map(space.mesh.topology.dim).size_local
        self.nodes = index_map.size_local + index_map.num_ghosts
        self.dofs: Index = space.dofmap.list[:count]
        # Ghost columns of a matrix are numbered in their own way: compare global numbers.
        columns = matrix.index_map(1).local_to_global(matrix.indices.astype(np.int32))
        rows = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
        number = index_map.local_to_global(np.arange(self.nodes, dtype=np.int32))
        size = np.int64(index_map.size_global)  # products of two node numbers exceed 32 bits
        keys = rows * size + columns
        order = np.argsort(keys, kind="stable")
        wanted = self.dofs[:, :, None] * size + number[self.dofs][:, None, :]
        self.places: Index = order[np.searchsorted(keys, wanted, sorter=order)].astype(np.int32)
        self.size = len(keys)
        owned = index_map.size_local
        self.indptr = matrix.indptr[: owned + 1].astype(np.int32)
        self.own = int(self.indptr[-1])
        self.global_columns = columns
        self.columns = columns[: self.own].astype(np.int32)
        self.data: Array = matrix.data.reshape(-1, 9)

    def add_to(self, A: PETSc.Mat) -> None:
        """Sum the parts of all ranks and add the blocks to a PETSc matrix."""
        self.matrix.scatter_reverse()
        blocks = self.data[: self.own]
        A.setValuesBlockedCSR(self.indptr, self.columns, blocks, addv=PETSc.InsertMode.ADD_VALUES)


class _Kept:
    """An integral that is linear in m: matrices L_r from nodes to pairs of nodes."""

    def __init__(
        self,
        integral: ufl.Integral,
        c: fem.Function,
        components: ComponentForm,
        structure: Structure,
        pairs: _Pairs,
    ) -> None:
        self.form = ufl.Form([integral])
        self._c, self._pairs = c, pairs
        self._components, self.structure = components, structure
        # E[c, b, a] to the rows (c) and the row-wise blocks (a, b) of a product.
        tensors = self.structure.tensors.transpose(0, 1, 3, 2)
        self._tensors = np.ascontiguousarray(tensors.reshape(-1, 3, 9))
        self._L: list[sp.csr_matrix] = []

    def worst_size(self) -> int:
        """Bytes that the matrices of this rank may take."""
        return 12 * len(self.structure) * self._pairs.places.size * self._components.nd

    def renew(self) -> None:
        """Integrate the tensors of all cells and sum them up (no communication)."""
        pairs = self._pairs
        self._L = []
        for components in self.structure.pivots:
            tensor = self._components.tensor(components)  # [j, k, cell, i]
            rows = np.broadcast_to(pairs.places.transpose(2, 0, 1), tensor.shape)
            columns = np.broadcast_to(pairs.dofs.T[:, None, :, None], tensor.shape)
            entries = (tensor.ravel(), (rows.ravel(), columns.ravel()))
            L = sp.coo_matrix(entries, shape=(pairs.size, pairs.nodes)).tocsr()
            L.eliminate_zeros()
            self._L.append(L)

    @property
    def bytes(self) -> int:
        """Memory of the matrices of this rank."""
        return sum(L.data.nbytes + L.indices.nbytes + L.indptr.nbytes for L in self._L)

    def columns(self) -> list[tuple[Array, Array]]:
        """Return w_r, shape (pairs, 3), each with the blocks (3, 9) of its columns."""
        values = self._c.x.array.reshape(-1, 3)
        return [(L @ values, E) for L, E in zip(self._L, self._tensors, strict=True)]


class _Scalar:
    """An integral that is few constant tensors of components times scalar matrices."""

    def __init__(
        self,
        integral: ufl.Integral,
        space: fem.FunctionSpace,
        structure: Structure,
        pairs: _Pairs,
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
        tensors = structure.tensors.transpose(0, 2, 1)
        self._tensors = np.ascontiguousarray(tensors.reshape(-1, 1, 9))
        own, other = self._matrix, pairs.matrix
        self.fits = bool(
            np.array_equal(own.indptr, other.indptr)
            and np.array_equal(
                own.index_map(1).local_to_global(own.indices.astype(np.int32)),
                pairs.global_columns,
            )
            and np.array_equal(scalars.dofmap.list[: len(pairs.dofs)], pairs.dofs)
        )

    def columns(self) -> list[tuple[Array, Array]]:
        """Return the scalar matrices at the present m, shape (pairs, 1), each with its block."""
        found = []
        assemble: Any = fem.assemble_matrix
        for components, tensor in zip(self._pivots, self._tensors, strict=True):
            for unit, component in zip(self._units, components, strict=True):
                unit.value = np.eye(3)[component]
            self._matrix.data[:] = 0.0
            assemble(self._matrix, self._form)
            found.append((self._matrix.data.reshape(-1, 1).copy(), tensor))
        return found


class VaryingMatrix:
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
        self._c, self._comm = c, c.function_space.mesh.comm
        self._form = with_degrees(form)
        self._general: fem.Form | None = compile_form(self._form)
        self._moving = [f for f in moving if f is not c]
        self._kept: list[_Kept] = []
        self._scalar: list[_Scalar] = []
        self._hurried = self._steps = 0
        element, mesh = c.function_space.ufl_element(), c.function_space.mesh
        cells = mesh.topology.index_map(mesh.topology.dim).size_global
        p1 = element.reference_value_shape == (3,) and element.embedded_subdegree == 1
        if p1 and cells >= SMALLEST:
            before = c.x.array.copy()
            try:
                self._look_for_structure(pattern, fine)
            finally:
                c.x.array[:] = before

    @property
    def kept_forms(self) -> list[ufl.Form]:
        """Forms whose data are read when they are kept, not in each step."""
        return [part.form for part in self._kept]

    @property
    def all_kept(self) -> bool:
        """Whether nothing is integrated in a step."""
        return bool(self._kept) and not self._scalar and self._general is None

    @property
    def kept_bytes(self) -> int:
        """Memory of what is kept, on this rank."""
        return sum(part.bytes for part in self._kept)

    def _look_for_structure(self, pattern: fem.Form, fine: PETSc.Mat) -> None:
        c, whole = self._c, self._general
        c.x.array[:] = np.random.default_rng(3).uniform(-1.0, 1.0, c.x.array.size)
        c.x.scatter_forward()
        self._pairs = _Pairs(pattern, c.function_space)
        rest = [integral for integral in self._form.integrals() if not self._take(integral)]
        if not (self._kept or self._scalar):
            return
        expected, found = fine.duplicate(), fine.duplicate()
        for matrix in (expected, found):
            matrix.zeroEntries()
        assemble_matrix(expected, whole)
        expected.assemble()
        self._general = compile_form(ufl.Form(rest)) if rest else None
        self.add_to(found)
        size = expected.norm()
        found.axpy(-1.0, expected, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        good = found.norm() <= _AGREE * size
        for matrix in (expected, found):
            matrix.destroy()
        if not all(self._comm.allgather(bool(good))):
            self._kept, self._scalar, self._general = [], [], whole

    def _take(self, integral: ufl.Integral) -> bool:
        """Make a scalar or a kept part of an integral, and return whether that was possible."""
        c, form = self._c, ufl.Form([integral])
        if integral.integral_type() != "cell" or integral.subdomain_id() != "everywhere":
            return False
        other = any(f in self._moving for f in form.coefficients())
        linear = is_linear(integral, c) and not other
        slots: dict[str, Expr] = {"c": c} if linear else {}
        slots["u"] = integral_argument(integral, 1)
        components = ComponentForm(integral, c.function_space, slots)
        draws = []
        for seed in (1, 2):
            with data_disturbed(form, c, seed):
                draws.append(components.rows(seed).reshape(-1, 9))
        structure = components.structure(draws, slots=2)
        # Scalar parts are read anew in each step: they are the first choice.
        if 0 < len(structure) <= _MOST_SCALARS:
            part = _Scalar(integral, c.function_space, structure, self._pairs)
            if all(self._comm.allgather(part.fits)):
                self._scalar.append(part)
                return True
        return linear and self._keep(integral, components)

    def _keep(self, integral: ufl.Integral, components: ComponentForm) -> bool:
        structure = components.structure([components.rows(seed) for seed in (1, 2)], slots=3)
        part = _Kept(integral, self._c, components, structure, self._pairs)
        sizes = self._comm.allgather((part.worst_size(), self._pairs.data.nbytes))
        size, limit = np.sum(sizes, axis=0)
        if len(structure) == 0 or size > _LARGEST * limit:
            return False
        part.renew()
        self._kept.append(part)
        return True

    def renew(self) -> None:
        """Integrate anew what is kept, after its data have changed (collective).

        Where the data change in every step, it is given up for the general way.
        """
        self._hurried = self._hurried + 1 if self._steps <= 1 else 0
        self._steps = 0
        if self._kept and self._hurried >= _PATIENCE:
            self._kept, self._scalar, self._general = [], [], compile_form(self._form)
        for part in self._kept:
            part.renew()

    def add_to(self, A: PETSc.Mat) -> None:
        """Add the form at the present value of its coefficient to a matrix, and assemble that."""
        self._steps += 1
        if self._kept or self._scalar:
            pairs = self._pairs
            parts = [part for kept in self._kept for part in kept.columns()]
            parts += [part for scalar in self._scalar for part in scalar.columns()]
            for start in range(0, pairs.size, _CHUNK):
                piece = slice(start, start + _CHUNK)
                out = pairs.data[piece]
                np.matmul(parts[0][0][piece], parts[0][1], out=out)
                for values, blocks in parts[1:]:
                    out += values[piece] @ blocks
            pairs.add_to(A)
        if self._general is not None:
            assemble_matrix(A, self._general)
        A.assemble()
