# SPDX-License-Identifier: LGPL-3.0-or-later
r"""A step of a semi-implicit scheme from tensors (GRPS paper, section 3.3), in its right form.

All four schemes in V_H without projection, so that m stays in V_H, with the factor quadratic in m
projected,

.. math::
    R = \lambda\, (P_T(q)\, m, v), \qquad q = -M_s m \cdot h = B(m, m) + L(m)

(``tensor_terms``; m' in the place of an m as the scheme has it). P_T is the L2 projection on the
modes of each coarse cell; for a given field (applied, stray) that of h.m in the product of its
form. The paper's (3.3) projects on V_H: an inverse of all functions for every q, in An's scheme for
every product with its matrix, and farther from q. Where cells have few modes P_T counts: 3 % of R
with 8 modes on tetrahedra of 64 fine ones, 2e-6 of m with 19 on triangles of 64.

A step is on each coarse cell a sum of few matrices of the modes (``cell_matrices``), and a load;
the cross product in components is

.. math:: -B(u, v \times m) = -\epsilon_{jkl}\, s(u_i, v_k m_l)\, C_{ij}.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl

from dolfinx_llg.collective import total
from dolfinx_llg.physics.interaction import Interaction
from dolfinx_llg.reduction.cell_matrices import CROSS, CellMatrices
from dolfinx_llg.reduction.system import CoarseSystem, SystemParts
from dolfinx_llg.reduction.tensor_terms import Part, Terms, Weighted
from dolfinx_llg.reduction.tensors import ModeTensor, ModeTensors, inverse_masses
from dolfinx_llg.solvers.coarse_fields import CoarseField

__all__ = ["Kind", "TensorModel", "TensorOperators"]

FloatArray = npt.NDArray[np.float64]
Blocks = list[FloatArray]
"""One array for each group of cells."""
Inputs = dict[int, tuple[ModeTensor, FloatArray]]
"""Tensors, by their ids, with what each is to act on."""

Kind = Literal["gao", "cimrak", "an", "prohl"]


@dataclass(frozen=True)
class TensorModel:
    """What a step is made of besides its constant blocks.

    Attributes:
        kind: The scheme.
        tensors: All tensors.
        terms: The terms of the energy in them.
        mass: Tensor of the mass and its factor.
        reaction: That weighted by lambda.
    """

    kind: Kind
    tensors: ModeTensors
    terms: Terms
    mass: tuple[ModeTensor, float]
    reaction: tuple[ModeTensor, float]


class _Product:
    """Context of the PETSc matrix; it outlives its owner when PETSc destroys late."""

    def __init__(self, owner: TensorOperators, *, tangent: bool = False) -> None:
        self.owner, self.tangent = owner, tangent

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the product with x (called by PETSc)."""
        self.owner.multiply(x, y, tangent=self.tangent)

    def duplicate(self, matrix: PETSc.Mat, operation: Any) -> PETSc.Mat:
        """Return a matrix of the same kind (called by PETSc)."""
        return self.owner.operator(_Product(self.owner, tangent=self.tangent))

    def copy(self, matrix: PETSc.Mat, other: PETSc.Mat, structure: Any) -> None:
        """Make another matrix equal to this one (called by PETSc)."""
        context: Any = other.getPythonContext()
        context.tangent = self.tangent


class TensorOperators(CoarseSystem):
    """Operators of a step from tensors.

    Args:
        parts: What every reduced system is made of.
        model: Tensors and terms.
    """

    def __init__(self, parts: SystemParts, model: TensorModel) -> None:
        super().__init__(parts)
        self.model, self._terms = model, model.terms
        self._inverse_mass = inverse_masses(*model.mass)
        self._inverse_weights: dict[int, Blocks] = {}
        self._squares = merged(w for part in self._terms.implicit for w in part.weights)
        self._torques = merged(w for part in self._terms.implicit for w in part.torque)
        self._linear = self._tangent = self._matrices()
        self._crossed: tuple[FloatArray, CellMatrices] | None = None
        self._context = _Product(weakref.proxy(self))
        self.A = self.operator(self._context)

    @property
    def nbytes(self) -> int:
        """Memory of the tensors and of the matrices of the cells on this rank."""
        crossed = () if self._crossed is None else (self._crossed[1],)
        distinct = {id(J): J for J in (self._linear, self._tangent, *crossed)}
        return self.model.tensors.nbytes + sum(J.nbytes for J in distinct.values())

    @property
    def kept_forms(self) -> tuple[ufl.Form, ...]:
        """Forms whose data were read once."""
        return tuple(part.form for part in (*self._terms.implicit, *self._terms.explicit))

    def reassemble(self) -> None:
        """Refuse changed data: the blocks and the tensors are those that the run was made of."""
        raise RuntimeError("data of the terms or the damping changed: reduce the scheme anew")

    def _matrices(self) -> CellMatrices:
        return CellMatrices(self.modes, self.model.tensors.dtype)

    def _cut(self, y: FloatArray) -> Blocks:
        return [y[group.cells, : group.modes] for group in self.modes.groups]

    # -- one step ----------------------------------------------------------------------------------

    def assemble(self, dt: float) -> None:
        """Form what depends on m: the matrices of the cells, and the right side."""
        with self.timed():
            self._context.tangent = False
            kind, y, J = self.model.kind, self.y, self._matrices()
            loads = [np.zeros((len(own), own.shape[1], 3)) for own in self._cut(y)]
            torque, weights, reaction = self._explicit(loads)
            if kind == "prohl":
                _turn(J, torque)
            else:
                self._cross(J, y)
                self._turn_in(loads, torque)
            q = self._factor(weights, implicit=kind != "an")
            tensor, factor = self.model.reaction
            reaction = _sum(reaction, [factor * own[:, 0] for own in tensor.weigh(q)])
            if kind in ("cimrak", "prohl"):
                J.add([part[:, None] for part in reaction], -np.eye(3)[None])
            else:
                for load, part, own in zip(loads, reaction, self._cut(y), strict=True):
                    load += np.matmul(part, own)
            if kind == "an":
                self._couple(J)
            self._linear = self._tangent = J
            self._crossed = None
            self.b.set(0.0)
            self.add_history(dt)
            self.add(self.modes.spread(self.modes.join(loads)), self.b)

    def source(self, part: Part) -> FloatArray:
        """Return the modes of what stands in the first place of a form. Collective."""
        if part.source is None:
            return self.y
        if isinstance(part.source, CoarseField):
            part.source.renew()
            return self.modes.gather(part.source.respond(part.source.load(self.c)))
        uniform = np.zeros_like(self.y)
        uniform[:, 0] = part.source.value  # the first mode is 1
        return uniform

    def _explicit(self, loads: Blocks) -> tuple[Blocks | None, Blocks | None, Blocks | None]:
        """Add -dE_e(m; lambda v) to loads; return the forces, axes (cell, c, b, component).

        Returns:
            Those on test functions theta_b theta_c, and on theta_b weighted by theta_c (of what is
            not in the third); the matrices (lambda q u, v) of given fields. None: there are none.
        """
        reaction: Blocks | None = None
        shared, torque, weights = Inputs(), Inputs(), Inputs()
        for part in self._terms.explicit:
            x = self.source(part)
            for pairs, C in part.damped:
                for load, own, image in zip(loads, self._cut(x @ C), pairs, strict=True):
                    load -= np.matmul(image, own)
            if part.source is not None:
                _collect(torque, part.torque, x)
                reaction = _sum(reaction, self._reaction_of(part, x))
            elif part.torque is part.weights:
                _collect(shared, part.weights, x)
            else:
                _collect(torque, part.torque, x)
                _collect(weights, part.weights, x)
        common = self._act(shared)
        on_torque, on_weights = self._act(torque, common), self._act(weights, common)
        for applied in self._terms.applied:
            applied.renew()
            values = applied.values
            for load, own in zip(loads, values["damped"], strict=True):
                load -= own
            on_torque = _sum(on_torque, values["torque"])
            on_weights = _sum(on_weights, values["weights"])
        return on_torque, on_weights, reaction

    def _reaction_of(self, part: Part, x: FloatArray) -> Blocks:
        """Return the matrices of lambda times the q of a given field.

        Its form is a product weighted by Ms, lumped or not, in which h.m is projected and comes
        back: for a uniform field nothing is lost, for others no more than of h.m itself.
        """
        (weighted,), (reaction,) = part.weights, part.reaction
        known = self._inverse_weights.get(id(weighted.tensor))
        if known is None:
            known = self._inverse_weights[id(weighted.tensor)] = inverse_masses(
                weighted.tensor, 1.0
            )
        q = self._solve(known, weighted.tensor.paired(x, self.y))
        factor = reaction.C[0, 0]  # components are not coupled
        return [factor * own[:, 0] for own in reaction.tensor.weigh(q)]

    def _act(self, inputs: Inputs, start: Blocks | None = None) -> Blocks | None:
        out = start
        for tensor, x in inputs.values():
            out = _sum(out, tensor.act(x))
        return out

    def _cross(self, J: CellMatrices, y: FloatArray) -> None:
        """Add -B_i(u, v x m) with m of modes y."""
        for part in self._torques:
            E = -np.einsum("jkn,ij->nik", CROSS, part.C)
            used = np.flatnonzero(E.any(axis=(1, 2)))
            J.add(part.tensor.weigh(y[:, :, used]), E[used])

    def _turn_in(self, loads: Blocks, force: Blocks | None) -> None:
        """Add G(v x m) of a force on test functions to loads."""
        if force is None:
            return
        for load, own, y in zip(loads, force, self._cut(self.y), strict=True):
            products = np.matmul(own.transpose(0, 3, 2, 1), y[:, None])
            load += np.einsum("njbi,jki->nbk", products, CROSS)

    def _factor(self, weights: Blocks | None, *, implicit: bool) -> FloatArray:
        """Return the modes of P_T q, of the terms at the old level or of the explicit ones."""
        loads: Blocks | None = None
        if weights is not None:  # forces, axes (cell, c, b, component), on m in the place b
            both = zip(weights, self._cut(self.y), strict=True)
            loads = [np.einsum("ncbj,nbj->nc", force, own) for force, own in both]
        if implicit:
            for part in self._squares:
                loads = _sum(loads, part.tensor.paired(self.y @ part.C, self.y))
        if loads is None:
            return np.zeros((*self.y.shape[:2], 1))
        return self._solve(self._inverse_mass, loads)

    def _solve(self, inverse: Blocks, loads: Blocks) -> FloatArray:
        """Return the modes of a projection of its loads."""
        out = np.zeros((*self.y.shape[:2], 1))
        for group, M, load in zip(self.modes.groups, inverse, loads, strict=True):
            out[group.cells, : group.modes] = np.matmul(M, load[:, :, None])
        return out

    def _couple(self, J: CellMatrices) -> None:
        """Add -(lambda P_T(B_i(u, m)) m, v)."""
        tensor, factor = self.model.reaction
        columns: Blocks | None = None
        for part in self._squares:
            columns = _sum(columns, part.tensor.test(self.y @ part.C.T))  # (cell, c, i, a)
        if columns is None:
            return
        found = []
        rows = tensor.act(self.y)  # (cell, c, b, k)
        for row, column, M in zip(rows, columns, self._inverse_mass, strict=True):
            n, r = row.shape[:2]
            right = np.matmul(M, column.reshape(n, r, 3 * r)).reshape(n, 1, r, 3, r)
            left = row.transpose(0, 3, 2, 1)[:, :, None]
            parts = [side.astype(tensor.dtype) for side in (left, right.transpose(0, 1, 3, 2, 4))]
            found.append(-factor * np.matmul(*parts).reshape(n, 9, r, r))  # (cell, (k, i), b, a)
        # Matrix (k, i) takes component i to k.
        J.add(found, np.eye(9).reshape(3, 3, 3, 3).transpose(0, 1, 3, 2).reshape(9, 3, 3))

    # -- products ----------------------------------------------------------------------------------

    def multiply(self, x: PETSc.Vec, y: PETSc.Vec, *, tangent: bool = False) -> None:
        """Set y to the operator's product with x."""
        self._apply(self.replicate(x), y, self._tangent if tangent else self._linear)

    def _apply(self, c: FloatArray, out: PETSc.Vec, J: CellMatrices) -> None:
        out.array[:] = self.apply_base(c).ravel()
        self.add(J.image(c), out)

    def _crossed_at(self, c: FloatArray) -> CellMatrices:
        """Return J with -B_i(u, v x x) for the x of coefficients c."""
        if self._crossed is None or not np.array_equal(self._crossed[0], c):
            J = self._linear.copy()
            self._cross(J, self.modes.gather(c))
            self._crossed = c.copy(), J
        return self._crossed[1]

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Set F = linear u + N(u) - b."""
        with self.timed():
            c = self.replicate(u)
            self._apply(c, F, self._crossed_at(c))
            F.axpy(-1.0, self.b)

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Set A = linear + N'(u)."""
        with self.timed():
            c = self.replicate(u)
            J = self._crossed_at(c).copy()
            inputs: Inputs = {}
            _collect(inputs, self._torques, self.modes.gather(c))
            _turn(J, self._act(inputs))
            self._tangent = J
            self._context.tangent = True

    # -- energies ----------------------------------------------------------------------------------

    def energies(self) -> dict[Interaction, float]:
        """Return what the forms of each term give at the last iterate: B/2 + L. Collective."""
        found: dict[Interaction, float] = {}
        for part in (*self._terms.implicit, *self._terms.explicit):
            if isinstance(part.source, CoarseField):
                part.source.renew()
                found[part.term] = part.source.energy_of(part.source.load(self.c))
                continue
            x, value = self.source(part), 0.0
            for weighted in part.weights:
                own = zip(
                    weighted.tensor.pairs, self._cut(x @ weighted.C), self._cut(self.y), strict=True
                )
                value += sum(float(np.vdot(np.matmul(pairs, a), b)) for pairs, a, b in own)
            half = 0.5 if part.source is None else 1.0
            found[part.term] = half * float(total(self.comm, value))
        for applied in self._terms.applied:
            parts = zip(applied.values["weights"], self._cut(self.y), strict=True)
            value = sum(float(np.vdot(force[:, 0], y)) for force, y in parts)
            found[applied.term] = found.get(applied.term, 0.0) + float(total(self.comm, value))
        return found


def merged(parts: Iterable[Weighted]) -> list[Weighted]:
    """Return tensors with factors, each tensor once."""
    found: dict[int, Weighted] = {}
    for part in parts:
        known = found.get(id(part.tensor))
        C = part.C if known is None else known.C + part.C
        found[id(part.tensor)] = Weighted(part.tensor, C)
    return list(found.values())


def _collect(inputs: Inputs, parts: list[Weighted], x: FloatArray) -> None:
    """Add x C to what each tensor is to act on."""
    for part in parts:
        known = inputs.get(id(part.tensor))
        own = x @ part.C
        inputs[id(part.tensor)] = part.tensor, own if known is None else known[1] + own


def _sum(a: Blocks | None, b: Blocks) -> Blocks:
    return b if a is None else [one + other for one, other in zip(a, b, strict=True)]


def _turn(J: CellMatrices, force: Blocks | None) -> None:
    """Add -G(v x u) of a force on test functions, axes (cell, c, b, component)."""
    if force is not None:
        J.add([own.transpose(0, 3, 2, 1) for own in force], -CROSS.transpose(0, 2, 1))
