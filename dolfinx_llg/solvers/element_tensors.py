# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The component structure of a form in vector functions, and its tensors on every cell.

A form that is linear in each of some P1 vector fields is on a cell K a sum

    F(f e_c; g e_b, w e_a) = sum_r E_r[c, b, a] S_r,K(f; g, w),        f, g, w scalar,

of few constant tensors E_r of components and scalar forms S_r. For (m x kappa grad u, grad v) there
is one, the alternating tensor. Both sides are found from UFL alone, by evaluating the form at
fields f e_c of discontinuous f, so that what holds here holds for a user's own terms.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import ufl
from basix.ufl import element
from dolfinx import fem
from ufl.algorithms import compute_form_data
from ufl.classes import Sum
from ufl.core.expr import Expr

from dolfinx_llg.jit import compile_form

__all__ = ["ComponentForm", "Structure", "data_disturbed", "with_degrees"]

Array = npt.NDArray[np.float64]
Dofs = npt.NDArray[np.int32]
Slots = Mapping[str, Expr]

_RANK = 1e-11
"""Singular values below this part of the largest are round-off."""
_SAMPLES = 120
"""Cells of a rank at which the structure is looked for (a check of all cells comes later)."""


def with_degrees(form: ufl.Form) -> ufl.Form:
    """Return the form with the degree of quadrature fixed that it is integrated with as a whole.

    Sums are made integrals of their own, so that each can be treated in its own way.
    """
    data = compute_form_data(form, do_apply_integral_scaling=True)
    degrees = [
        int(np.max(integral.metadata()["estimated_polynomial_degree"]))
        for group in data.integral_data
        for integral in group.integrals
    ]
    # Not 1: FFCx 0.11 confuses the tables of rules of one point with those of others.
    default = {"quadrature_degree": max(2, *degrees)}
    return ufl.Form(
        [
            integral.reconstruct(part, metadata=default | dict(integral.metadata() or {}))
            for integral in form.integrals()
            for part in _summands(integral.integrand())
        ]
    )


def _summands(expression: Expr) -> list[Expr]:
    if isinstance(expression, Sum):
        return [part for operand in expression.ufl_operands for part in _summands(operand)]
    return [expression]


class Structure:
    """Few tensors that span given ones (collective).

    Args:
        rows: Tensors of this rank, one a row; may be none.
        shape: Their shape.
        comm: Communicator.

    Attributes:
        tensors: Shape (r, *shape).
        pivots: For each r the indices at which the tensor r is 1 and the others are 0, so that the
            factor of r in a tensor is its entry there.
    """

    def __init__(self, rows: Array, shape: tuple[int, ...], comm: Any) -> None:
        if not len(rows):
            rows = np.zeros((1, rows.shape[1]))
        _, s, vt = scipy.linalg.svd(rows, full_matrices=False)
        parts = comm.allgather(s[:, None] * vt)
        _, s, vt = scipy.linalg.svd(np.vstack(parts), full_matrices=False)
        basis = vt[s > _RANK * max(float(s[0]), 1e-300)]
        places = scipy.linalg.qr(basis, pivoting=True)[2][: len(basis)]
        tensors = np.linalg.solve(basis[:, places], basis) if len(basis) else basis
        whole = np.round(tensors)
        tensors = np.where(np.abs(tensors - whole) < 1e-10, whole, tensors)
        # Ranks must not differ by the round-off of their processors.
        tensors, places = comm.bcast((tensors, places))
        self.tensors: Array = tensors.reshape(-1, *shape)
        self.pivots = [tuple(int(i) for i in np.unravel_index(p, shape)) for p in places]

    def __len__(self) -> int:
        """Number of tensors."""
        return len(self.pivots)


class ComponentForm:
    """An integral over cells at fields of the kind (scalar function) x (unit vector).

    Args:
        integral: Integral over all cells, linear in a test function; its degree of quadrature is
            fixed.
        space: Vector P1 space of the arguments.
        slots: P1 fields in which the form is linear, the trial function among them, that are
            replaced; by names of the caller's.

    Attributes:
        nd: Nodes of a cell.
        comm: Communicator of the mesh.
    """

    def __init__(self, integral: ufl.Integral, space: fem.FunctionSpace, slots: Slots) -> None:
        mesh = space.mesh
        cell = mesh.basix_cell().name
        W = fem.functionspace(mesh, element("Lagrange", cell, 1, discontinuous=True))
        self._space, self.comm = W, mesh.comm
        self._functions = {name: fem.Function(W) for name in slots}
        self._units = {name: fem.Constant(mesh, np.zeros(3)) for name in (*slots, "v")}
        w = ufl.TestFunction(W)
        test = integral_argument(integral, 0)
        changes: dict[Any, Any] = {test: w * self._units["v"]}
        for name, field in slots.items():
            changes[field] = self._functions[name] * self._units[name]
        integrand = ufl.replace(integral.integrand(), changes)
        self._integrand, self._metadata = integrand, dict(integral.metadata())
        count = mesh.topology.index_map(mesh.topology.dim).size_local
        self._everywhere = np.arange(count, dtype=np.int32)
        chosen = np.random.default_rng(7).choice(count, min(_SAMPLES, count), replace=False)
        self._chosen = np.sort(chosen).astype(np.int32)
        self._dofs = W.dofmap.list[:count]
        self.nd = self._dofs.shape[1]
        self._out = fem.Function(W).x
        self._sampled = self._compile(self._chosen)
        self._whole: fem.Form | None = None

    def _compile(self, cells: npt.NDArray[np.int32]) -> fem.Form:
        dx = ufl.Measure("dx", domain=self._space.mesh, subdomain_data=[(1, cells)])
        return compile_form(self._integrand * dx(1, metadata=self._metadata))

    def _evaluate(self, form: fem.Form, components: Sequence[int], dofs: Dofs) -> Array:
        """Return the values on cells of given dofs; components: of the slots and of v."""
        for unit, component in zip(self._units.values(), components, strict=True):
            unit.value = np.eye(3)[component]
        self._out.array[dofs] = 0.0
        assemble: Any = fem.assemble_vector
        assemble(self._out.array, form)
        return np.asarray(self._out.array[dofs])

    def rows(self, seed: int) -> Array:
        """Return values at random fields, shape (samples, 3 ** slots)."""
        rng = np.random.default_rng(seed)
        for function in self._functions.values():
            function.x.array[:] = rng.uniform(0.5, 1.5, function.x.array.size)
        size = len(self._units)
        columns = [
            self._evaluate(self._sampled, components, self._dofs[self._chosen]).ravel()
            for components in itertools.product(range(3), repeat=size)
        ]
        return np.stack(columns, axis=1)

    def at_random(self, components: Sequence[int], seed: int = 0) -> Array:
        """Return values on every cell at random fields, shape (cells, nd).

        components: of the slots and of v; the fields are those of the seed whatever they are.
        """
        rng = np.random.default_rng(seed)
        for function in self._functions.values():
            function.x.array[:] = rng.uniform(0.5, 1.5, function.x.array.size)
        self._whole = self._whole or self._compile(self._everywhere)
        return self._evaluate(self._whole, components, self._dofs)

    def structure(self, draws: Sequence[Array], *, slots: int) -> Structure:
        """Return the tensors in the last slots (v is one) that span ``rows`` (collective)."""
        return Structure(np.vstack(draws), (3,) * slots, self._space.mesh.comm)

    def tensor(self, components: Sequence[int], *, sampled: bool = False) -> Array:
        """Return the scalar form on every cell at given components of the slots and of v.

        Shape (nd, ..., nd, cells, nd): the nodes of the slots, the cell, the test function's node.
        sampled: Whether only some cells are wanted.
        """
        every = itertools.product(range(self.nd), repeat=len(self._functions))
        parts = [self.at_nodes(nodes, components, sampled=sampled) for nodes in every]
        return np.reshape(parts, (*(self.nd,) * len(self._functions), *parts[0].shape))

    def at_nodes(
        self, nodes: Sequence[int | slice], components: Sequence[int], *, sampled: bool = False
    ) -> Array:
        """Return the part of ``tensor`` at given nodes of the slots, shape (cells, nd).

        A slice adds up several nodes; all of them are a field that is constant on cells.
        """
        form, dofs = self._sampled, self._dofs[self._chosen]
        if not sampled:
            self._whole = form = self._whole or self._compile(self._everywhere)
            dofs = self._dofs
        for function, node in zip(self._functions.values(), nodes, strict=True):
            function.x.array[dofs] = 0.0
            function.x.array[dofs[:, node]] = 1.0
        return self._evaluate(form, components, dofs)


def integral_argument(integral: ufl.Integral, number: int) -> Expr:
    """Return the test (0) or trial function (1) of an integral."""
    form = ufl.Form([integral])
    (found,) = [a for a in form.arguments() if a.number() == number]
    return found


@contextmanager
def data_disturbed(form: ufl.Form, keep: fem.Function, seed: int) -> Iterator[None]:
    """Multiply all data of a form except one function by random factors for a while.

    What still holds then does not depend on the values that the data happen to have.
    """
    rng = np.random.default_rng(seed)
    arrays = [f.x.array for f in form.coefficients() if f is not keep and hasattr(f, "x")]
    arrays += [c.value for c in form.constants() if hasattr(c, "value")]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array *= rng.uniform(0.5, 1.5, array.shape)
    try:
        yield
    finally:
        for array, values in zip(arrays, before, strict=True):
            array[...] = values
