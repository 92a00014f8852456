# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Products: integrals of the kind alpha(f, g) beta(h, w) with m in two or three of the places.

The schemes differ in ``lambda q w``: q(m) = alpha(m, m) times beta(u, v) (Cimrak, Prohl) or
beta(m, v) (Gao), and alpha(u, m) beta(m, v) (An). The integrand is split where the test function
stands, and alpha(m, m) polarised. On a cell K the product of scalar fields is the tensor

    S_K[j, l, k, i] = sum_s g_s,K sum_r A_sr[j, l] B_r[k, i]

with few constant A and B, and numbers g_s,K of the cell, its shape times its data: for exchange on
simplices the six entries of ``kappa |K| grad phi_j . grad phi_l`` and r = 1 (mass matrix), for an
anisotropy g = q |K| and ten B. All of this is found by evaluation of the form, as in
``element_tensors``; a form of many tensors, as on cells that are no simplices, is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import ufl
from dolfinx import fem
from ufl.algorithms.analysis import extract_arguments, extract_coefficients
from ufl.classes import Division, Product, Zero
from ufl.core.expr import Expr

from dolfinx_llg.physics.interaction import expand
from dolfinx_llg.solvers.element_tensors import ComponentForm, Structure
from dolfinx_llg.solvers.pairs import pointer

__all__ = ["ProductPart", "product_part"]

Array = npt.NDArray[np.float64]

_LARGEST_RANK = 16
_LARGEST = 32
"""Bounds on the number of B, and on that of the A (room in the kernels: 32 tensors of a cell)."""
_MOST_TENSORS = 3
"""Tensors of components up to which the kernels pay."""
_ROUND_OFF = 1e-11


def _factors(expression: Expr) -> list[Expr]:
    if isinstance(expression, Product):
        return [f for operand in expression.ufl_operands for f in _factors(operand)]
    if isinstance(expression, Division):
        above, below = expression.ufl_operands
        return [*_factors(above), 1 / below]
    return [expression]


def _product(factors: Sequence[Expr]) -> Expr:
    result: Expr = ufl.as_ufl(1.0)
    for factor in factors:
        result = result * factor
    return result


def _polarised(expression: Expr, c: fem.Function, fields: Sequence[fem.Function]) -> Expr | None:
    """Return the symmetric multilinear form that is the expression at fields = (c, ..., c).

    None if the expression is not of that degree in c, or has other parts too.
    """
    form, zero = expression, ufl.as_vector([0.0, 0.0, 0.0])
    for number, field in enumerate(fields, start=1):
        if c not in extract_coefficients(form):
            return None
        if not isinstance(expand(ufl.replace(form, {c: zero})), Zero):
            return None
        direction = ufl.Argument(c.function_space, 2)
        slope = expand(ufl.derivative(form, c, direction))
        form = ufl.replace(slope, {direction: field}) / number
    return None if c in extract_coefficients(form) else form


class ProductPart:
    """An integral of products; see the module's docstring.

    Args:
        integral: The integral.
        kind: "scalar" (m twice in alpha, trial function in beta), "outer" (trial function and m in
            alpha, m in beta) or "vector" (m twice in alpha, m in beta).
        components: The integral with the four factors but the test function replaced, in order.

    Attributes:
        found: Whether the form has so few tensors that it is kept.
    """

    def __init__(self, integral: ufl.Integral, kind: str, components: ComponentForm) -> None:
        self.form, self.kind, self._components = ufl.Form([integral]), kind, components
        self._kept: list[tuple[Array, ...]] = []
        self.found = False
        self.renew()

    def renew(self) -> None:
        """Find the tensors for the data as they are (collective)."""
        self._kept = []
        rows = [self._components.rows(seed) for seed in (1, 2)]
        structure = self._components.structure(rows, slots=4)
        self.found = 0 < len(structure) <= _MOST_TENSORS
        for E, pivot in zip(structure.tensors, structure.pivots, strict=True):
            self.found = self.found and self._add(E, pivot)

    def _add(self, E: Array, pivot: tuple[int, ...]) -> bool:
        alpha, beta = E[:, :, pivot[2], pivot[3]], E[pivot[0], pivot[1]]
        if np.max(np.abs(E - np.multiply.outer(alpha, beta))) > _ROUND_OFF:
            return False
        nd = self._components.nd
        some = np.moveaxis(self._components.tensor(pivot, sampled=True), 3, 0)
        shapes = Structure(some.reshape(-1, nd**4), (nd,) * 4, self._components.comm)
        if not 0 < len(shapes) <= _LARGEST:
            return False
        split = _split(shapes.tensors.reshape(len(shapes) * nd**2, nd**2))
        rank = len(split[1])
        if rank > _LARGEST_RANK or rank * len(shapes) > _LARGEST:
            return False
        left = split[0].reshape(len(shapes), nd, nd, rank).transpose(0, 3, 1, 2)
        # Ranks must not differ by the round-off of their processors.
        left, right = self._components.comm.bcast((left, split[1]))
        geometry, known = [], dict[tuple[int, ...], Array]()
        for *nodes, last in shapes.pivots:
            if tuple(nodes) not in known:
                known[tuple(nodes)] = self._components.at_nodes(nodes, pivot)
            geometry.append(known[tuple(nodes)][:, last])
        # The kernels take cells of four nodes.
        room = [(0, 0), (0, 4 - nd), (0, 4 - nd)]
        left = np.pad(left, [(0, 0), *room])
        right = np.pad(right.reshape(rank, nd, nd), room)
        parts = np.stack(geometry, axis=1), left, right, alpha, beta
        self._kept.append(tuple(np.ascontiguousarray(part, dtype=np.float64) for part in parts))
        return True

    @property
    def bytes(self) -> int:
        """Memory of what is kept on this rank."""
        return sum(array.nbytes for parts in self._kept for array in parts)

    def product_parts(self, ffi: Any) -> list[tuple[Array, Any]]:
        """Return what a kernel is told, with the tensor of the components of beta."""
        told = []
        for parts in self._kept:
            shapes, rank = parts[1].shape[:2]
            used = np.ascontiguousarray(np.any(parts[1], axis=(0, 3)), dtype=np.uint8)
            part = ffi.new("product_part *")
            part.shapes, part.rank = shapes, rank
            names = ("geometry", "left", "right", "alpha", "beta")
            for name, array in zip(names, parts, strict=True):
                setattr(part, name, pointer(ffi, array))
            part.rows = pointer(ffi, used)
            told.append((parts[-1], (part, used)))
        return told


def _split(M: Array) -> tuple[Array, Array]:
    """Return (A, B) with M = A B, B of few rows of M: A has units where these rows are."""
    s = scipy.linalg.svd(M, compute_uv=False)
    rank = int(np.count_nonzero(s > _ROUND_OFF * s[0]))
    rows = scipy.linalg.qr(M.T, pivoting=True, mode="r")[1][:rank]
    B = M[rows]
    A = scipy.linalg.lstsq(B.T, M.T)[0].T
    whole = np.round(A)
    return np.where(np.abs(A - whole) < 1e-10, whole, A), B


def product_part(integral: ufl.Integral, c: fem.Function) -> ProductPart | None:
    """Return the part that an integral over all cells makes, or None (collective).

    Args:
        integral: Linear or bilinear integral; its degree of quadrature is fixed.
        c: The function (m) in which it is a polynomial.
    """
    factors = _factors(integral.integrand())
    tested = [f for f in factors if any(a.number() == 0 for a in extract_arguments(f))]
    others = [f for f in factors if f not in tested]
    if not tested or not others:
        return None
    V = c.function_space
    fields = [fem.Function(V) for _ in range(3)]
    alpha, beta = _product(others), _product(tested)
    trial = [a for a in extract_arguments(integral.integrand()) if a.number() == 1]
    inside = [a for a in extract_arguments(beta) if a.number() == 1]
    first: Expr | None
    second: Expr | None
    slots: dict[str, Expr]
    if trial and inside:
        kind, second = "scalar", None if c in extract_coefficients(beta) else beta
        first = _polarised(alpha, c, fields[:2])
        slots = {"f": fields[0], "g": fields[1], "h": trial[0]}
    elif trial:
        kind, second = "outer", _polarised(beta, c, fields[2:])
        first = _polarised(alpha, c, fields[1:2])
        slots = {"f": trial[0], "g": fields[1], "h": fields[2]}
    else:
        kind, second = "vector", _polarised(beta, c, fields[2:])
        first = _polarised(alpha, c, fields[:2])
        slots = {"f": fields[0], "g": fields[1], "h": fields[2]}
    if first is None or second is None:
        return None
    components = ComponentForm(integral.reconstruct(integrand=first * second), V, slots)
    if components.nd > 4:
        return None
    part = ProductPart(integral, kind, components)
    return part if part.found else None
