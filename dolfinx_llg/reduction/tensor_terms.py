# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The terms of an energy as tensors: what is linear in m in its first variation.

Exchange, anisotropies, DMI, the applied field and fields with a matrix in the basis all have a
first variation :math:`\delta E(m; w) = B(m, w) + L(w)`, with m or another field of V_H in the first
place: with H the stray field, :math:`B(H, w) = -(M_s H, w)_h`. The components of each form are

.. math:: B(u, w) = \sum_k \sum_{ij} C^k_{ij}\, s_k(u_i, w_j)

with as few scalar forms s_k as there are (one for exchange and for an anisotropy with one axis, two
or three for DMI, six for axes by grain), found by evaluating B at random fields on all fine cells:
what holds for the terms of the package holds for a user's own ones. A step needs of each

- ``weights``: :math:`\int s_k(\theta_a, \theta_b)\, \theta_c`, for the factor q = B(m, m) + L(m);
- ``torque``: :math:`\int s_k(\theta_a, \theta_b \theta_c)`, for B(u, v x m), which is the same
  where B has no derivative of w, or where the scheme keeps derivatives off m (exchange);
- ``damped``: :math:`\int s_k(\theta_a, \lambda \theta_b)`, for explicit terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.algorithms import extract_type
from ufl.classes import Grad
from ufl.core.expr import Expr

from dolfinx_llg.collective import total
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import FieldTerm, Interaction, QuadraticTerm, expand
from dolfinx_llg.physics.terms import Zeeman
from dolfinx_llg.reduction.tensors import (
    ModeTensor,
    ModeTensors,
    loads_in_modes,
    pairs_in_modes,
)
from dolfinx_llg.solvers.coarse_fields import CoarseField, CoarseFields
from dolfinx_llg.solvers.element_tensors import ComponentForm, with_degrees
from dolfinx_llg.solvers.watch import Watch

__all__ = ["Applied", "Part", "Terms", "Weighted", "mass_tensor", "tensor_terms"]

FloatArray = npt.NDArray[np.float64]

_RANK = 1e-11
"""Relative remainder up to which a component of a form is a combination of others: round-off."""


@dataclass(frozen=True)
class Weighted:
    """A scalar form with the components that it couples.

    Attributes:
        tensor: The form.
        C: Factors of (component of the first field, component of the second), shape (3, 3).
    """

    tensor: ModeTensor
    C: FloatArray


@dataclass(frozen=True)
class Part:
    """A form B(u, w) of a term in tensors (see the module).

    Attributes:
        term: The term.
        source: What stands for u: a field in V_H, a uniform applied field; None: m itself.
        weights: Tensors of q.
        torque: Tensors of the cross product; the same object where they are the same.
        reaction: For a source besides m the tensor of (lambda B(u, m) rho, ...) weighted like the
            form itself: with Ms, and lumped where the form is.
        damped: For an explicit term the pairs of lambda B, axes (cell, b, a) in each group, with C.
        form: Form whose data were read.
    """

    term: Interaction
    source: CoarseField | Zeeman | None
    weights: list[Weighted]
    torque: list[Weighted]
    damped: list[tuple[list[FloatArray], FloatArray]]
    form: ufl.Form
    reaction: list[Weighted] = field(default_factory=list)


class Applied:
    """A form L(w) that does not depend on m, as matrices of modes; renewed when its data change.

    Args:
        term: The term.
        forms: Its forms, by the names of ``values``.
        tensors: Tensors of the step.
        watched: Form whose data tell whether they have changed.

    Attributes:
        values: In each group ``weights`` and ``torque``, axes (cell, c, b, component), and
            ``damped``, axes (cell, b, component).
    """

    def __init__(
        self,
        term: Interaction,
        forms: Mapping[str, ComponentForm],
        tensors: ModeTensors,
        watched: ufl.Form,
    ) -> None:
        self.term, self._forms, self._tensors = term, forms, tensors
        self._watch = Watch([watched])
        self._read()

    def renew(self) -> None:
        """Read the field anew if it has changed, on the fine mesh. Collective."""
        comm = self._tensors.modes.hierarchy.comm
        if any(comm.allgather(self._watch.changed())):
            self._read()
            self._watch.remember()

    def _read(self) -> None:
        modes = self._tensors.modes
        self.values: dict[str, list[FloatArray]] = {}
        for name, form in self._forms.items():
            by_component = []
            for j in range(3):
                if name == "damped":
                    by_component.append(loads_in_modes(modes, form.tensor((j,))))
                    continue
                components = (j, 0) if name == "weights" else (0, j)
                by_component.append(pairs_in_modes(modes, form.tensor(components)))
            self.values[name] = [
                np.stack(group, axis=-1) for group in zip(*by_component, strict=True)
            ]
        self.values.setdefault("torque", self.values["weights"])


@dataclass
class Terms:
    """All terms of an energy in tensors.

    Attributes:
        implicit: Forms of the terms at the new level.
        explicit: Those of the others.
        applied: Forms that do not depend on m.
    """

    implicit: list[Part] = field(default_factory=list)
    explicit: list[Part] = field(default_factory=list)
    applied: list[Applied] = field(default_factory=list)


def tensor_terms(
    energy: Energy,
    m: fem.Function,
    tensors: ModeTensors,
    fields: CoarseFields,
    damping: fem.Constant | fem.Function,
    *,
    whole: bool = False,
) -> Terms:
    """Integrate the terms of an energy.

    Args:
        energy: The energy.
        m: Magnetization on the fine mesh.
        tensors: Where the tensors are kept.
        fields: Fields with a solve of their own, in the basis.
        damping: lambda as it stands in the forms of the step.
        whole: Whether the cross term has derivatives of m ("full").

    Raises:
        ValueError: If the first variation of a term is not linear in m, is an integral over facets,
            or comes from a solve on the fine mesh; on all ranks alike.

    Note: Collective.
    """
    builder = _Builder(m, tensors, damping, whole=whole)
    found = Terms()
    for term in energy.terms:
        source: CoarseField | Zeeman | None = None
        if isinstance(term, FieldTerm):
            source = fields.pairs().get(term)
            if source is None:
                raise ValueError(
                    f"tensors need the field of {type(term).__name__} as a matrix in the basis, "
                    "which it has not got here: march the step in the coarse space, with basis="
                )
        elif isinstance(term, Zeeman) and term.is_uniform:
            source = term
        if source is not None:
            found.explicit.append(builder.part(term, _product(term), source))
            continue
        bilinear, linear = builder.split(term)
        if bilinear is not None:
            part = builder.part(term, bilinear, None)
            (found.implicit if term.implicit else found.explicit).append(part)
        if linear is not None:
            found.applied.append(builder.applied(term, linear))
    return found


def mass_tensor(
    m: fem.Function, tensors: ModeTensors, factor: Expr | None = None
) -> tuple[ModeTensor, float]:
    """Return the tensor of the mass, weighted by a scalar if given, and its factor. Collective."""
    V = m.function_space
    u, p, v = fem.Function(V), fem.Function(V), ufl.TestFunction(V)
    product = u[0] * p[0] * v[0] * (1 if factor is None else factor)
    form = ComponentForm(_whole(product * ufl.dx(domain=V.mesh)), V, {"u": u, "p": p})
    return tensors.take(form.tensor((0, 0, 0)))


def _product(term: Any) -> Callable[[Expr, Expr], Expr]:
    """Return -Ms h.w, in which the field h is the first argument."""
    return lambda h, w: -term.Ms * ufl.inner(h, w)


class _Builder:
    """What the forms of all terms share; see ``tensor_terms`` for the arguments."""

    def __init__(
        self,
        m: fem.Function,
        tensors: ModeTensors,
        damping: fem.Constant | fem.Function,
        *,
        whole: bool,
    ) -> None:
        self._cross_whole = whole
        self._V, self._tensors, self._damping = m.function_space, tensors, damping
        # A damping that is a number scales tensors; one in space takes integrals of its own.
        self._number = None if isinstance(damping, fem.Function) else float(damping.value)
        self._comm = self._V.mesh.comm
        # Stands for m where a first variation that is linear in m is looked at: 0.
        self._zero = fem.Function(self._V)
        self._u, self._p = fem.Function(self._V), fem.Function(self._V)
        self._v = ufl.TestFunction(self._V)

    def split(
        self, term: Interaction
    ) -> tuple[Callable[[Expr, Expr], Expr] | None, Callable[[Expr], Expr] | None]:
        """Return B and L of a term, None where it has none."""
        zero, name = self._zero, type(term).__name__
        if isinstance(term, QuadraticTerm):
            return term.bilinear, None
        second = expand(term.hessian(zero, self._u, self._p))
        if zero in _coefficients(second):
            raise ValueError(
                f"tensors need a field that is linear in m, that of {name} is not (a torque, a "
                "cubic anisotropy): take hyper_reduce"
            )
        first = expand(term.gradient(zero, self._v))

        def linear(w: Expr) -> Expr:
            return term.gradient(zero, w)

        if second == 0:
            return None, None if first == 0 else linear
        # What is left of the first variation where m is a trial function.
        form = term.gradient(ufl.TrialFunction(self._V), self._v) * term.measure(self._V.mesh)
        rest = ufl.rhs(form).integrals()
        return lambda u, w: term.hessian(zero, u, w), linear if rest else None

    def part(
        self,
        term: Interaction,
        bilinear: Callable[[Expr, Expr], Expr],
        source: CoarseField | Zeeman | None,
    ) -> Part:
        """Integrate B(u, w)."""
        u, p, v = self._u, self._p, self._v
        slots = {"u": u, "p": p}
        form = self._form(term, bilinear(u, p) * v[0], slots)
        pivots, C = self._components(form)
        weights = self._take(form, [(i, j, 0) for i, j in pivots], C)
        torque = weights
        whole = self._cross_whole or not getattr(term, "flux_along_gradient", False)
        if _has_gradient_of(bilinear(u, p), p) and (whole or not term.implicit):
            turned = self._form(term, bilinear(u, p[0] * v), slots)
            torque = self._take(turned, [(i, 0, j) for i, j in pivots], C)
        damped = [] if term.implicit else self._damped(term, bilinear, pivots, C, weights)
        reaction = [] if source is None else self._reaction(term, bilinear, pivots, C, weights)
        watched = bilinear(u, p) * term.measure(self._V.mesh)
        return Part(term, source, weights, torque, damped, watched, reaction)

    def _damped(
        self,
        term: Interaction,
        bilinear: Callable[[Expr, Expr], Expr],
        pivots: list[tuple[int, int]],
        C: list[FloatArray],
        weights: list[Weighted],
    ) -> list[tuple[list[FloatArray], FloatArray]]:
        """Return the pairs of lambda B with their factors."""
        if self._number is not None:
            return [(w.tensor.pairs, self._number * w.C) for w in weights]
        form = self._form(term, bilinear(self._u, self._damping * self._v), {"u": self._u})
        found = [pairs_in_modes(self._tensors.modes, form.tensor(where)) for where in pivots]
        return list(zip(found, C, strict=True))

    def _reaction(
        self,
        term: Interaction,
        bilinear: Callable[[Expr, Expr], Expr],
        pivots: list[tuple[int, int]],
        C: list[FloatArray],
        weights: list[Weighted],
    ) -> list[Weighted]:
        """Return the tensors of lambda B(u, p), with a weight."""
        if self._number is not None:
            return [Weighted(w.tensor, self._number * w.C) for w in weights]
        u, p = self._u, self._p
        form = self._form(term, bilinear(u, p) * self._damping * self._v[0], {"u": u, "p": p})
        return self._take(form, [(i, j, 0) for i, j in pivots], C)

    def applied(self, term: Interaction, linear: Callable[[Expr], Expr]) -> Applied:
        """Integrate L(w)."""
        p, v = self._p, self._v
        forms = {"weights": self._form(term, linear(p) * v[0], {"p": p})}
        if _has_gradient_of(linear(p), p):
            forms["torque"] = self._form(term, linear(p[0] * v), {"p": p})
        forms["damped"] = self._form(term, linear(self._damping * v), {})
        return Applied(term, forms, self._tensors, linear(v) * term.measure(self._V.mesh))

    def _form(self, term: Interaction, integrand: Expr, slots: Mapping[str, Expr]) -> ComponentForm:
        form = integrand * term.measure(self._V.mesh)
        kinds = {(i.integral_type(), i.subdomain_id()) for i in form.integrals()}
        if kinds != {("cell", "everywhere")}:
            raise ValueError(
                f"tensors take integrals over all cells, {type(term).__name__} has one over "
                f"{sorted(map(str, kinds))}: march the step in the coarse space, with basis="
            )
        return ComponentForm(_whole(form), self._V, slots)

    def _take(
        self, form: ComponentForm, components: list[tuple[int, int, int]], C: list[FloatArray]
    ) -> list[Weighted]:
        found = []
        for where, factors in zip(components, C, strict=True):
            tensor, factor = self._tensors.take(form.tensor(where))
            found.append(Weighted(tensor, factor * factors))
        return found

    def _components(self, form: ComponentForm) -> tuple[list[tuple[int, int]], list[FloatArray]]:
        """Return components (i, j) that span all, and the matrix C of each. Collective."""
        pivots: list[tuple[int, int]] = []
        Q: list[FloatArray] = []  # orthonormal over the ranks
        R = np.zeros((9, 9))
        values = {(i, j): form.at_random((i, j, 0)).ravel() for i in range(3) for j in range(3)}
        size = max(self._norm(value) for value in values.values())
        # The largest first: the others are combinations of it with factors of order 1.
        order = sorted(values, key=lambda key: (-self._norm(values[key]), key))
        inside: dict[tuple[int, int], FloatArray] = {}
        for key in order:
            rest, found = values.pop(key), np.zeros(9)
            for _ in range(2):  # twice is enough
                for k, q in enumerate(Q):
                    share = float(total(self._comm, q @ rest))
                    rest, found[k] = rest - share * q, found[k] + share
            left = self._norm(rest)
            if left > _RANK * size:
                found[len(Q)] = left
                R[:, len(Q)] = found
                Q.append(rest / left)
                pivots.append(key)
            inside[key] = found
        K = len(pivots)
        C = [np.zeros((3, 3)) for _ in range(K)]
        for (i, j), found in inside.items():
            factors = np.linalg.solve(R[:K, :K], found[:K])
            near = np.round(factors)
            factors = np.where(np.abs(factors - near) < 1e-10, near, factors)
            for k in range(K):
                C[k][i, j] = factors[k]
        return pivots, C

    def _norm(self, value: FloatArray) -> float:
        return float(np.sqrt(total(self._comm, value @ value)))


def _whole(form: ufl.Form) -> ufl.Integral:
    """Return the only integral of a form, with its degree of quadrature fixed."""
    (integral,) = form.integrals()
    return integral.reconstruct(metadata=with_degrees(form).integrals()[0].metadata())


def _coefficients(expression: Expr) -> set[Any]:
    found: set[Any] = extract_type(expression, ufl.Coefficient)
    return found


def _has_gradient_of(expression: Expr, field: fem.Function) -> bool:
    """Whether an expression contains derivatives of a field."""
    gradients: set[Any] = extract_type(expand(expression), Grad)
    return any(field in _coefficients(gradient) for gradient in gradients)
