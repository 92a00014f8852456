# SPDX-License-Identifier: LGPL-3.0-or-later
"""Interactions, energy terms and their sum: the physics side of every scheme.

Dimensionless convention of the package (GRPS paper, eqs. (1.1), (1.5))::

    m_t = -m x h_eff - damping m x (m x h_eff),    h_eff = -(1/Ms) dE/dm,

with the energy E in units of mu0 Ms0^2 L^3 and Ms relative to the reference Ms0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import basix.ufl
import dolfinx
import numpy as np
import ufl
from dolfinx import fem
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.core.expr import Expr
from ufl.domain import extract_domains, extract_unique_domain

from dolfinx_llg.physics.cell_data import check_positive

__all__ = [
    "Energy",
    "EnergyTerm",
    "Interaction",
    "QuadraticTerm",
    "check_domain",
    "expand",
    "mesh_id",
    "mesh_of",
]


def expand(expression: Expr) -> Expr:
    """Carry out all symbolic derivatives in ``expression``, leaving ``grad`` of terminals only."""
    return apply_derivatives(apply_algebra_lowering(expression))


def mesh_of(expression: Expr) -> dolfinx.mesh.Mesh:
    """Return the DOLFINx mesh on which a UFL expression lives.

    Raises:
        ValueError: If the expression belongs to no mesh, or to several.
    """
    domain: Any = extract_unique_domain(expression)
    if domain is None:
        raise ValueError(
            "the expression belongs to no mesh: build it from m or a SpatialCoordinate"
        )
    return dolfinx.mesh.Mesh(domain.ufl_cargo(), domain)


def mesh_id(mesh: dolfinx.mesh.Mesh) -> int:
    """Return the identity that UFL gives a mesh: equal for two wrappers of one mesh."""
    domain: Any = mesh.ufl_domain()
    return int(domain.ufl_id())


def check_domain(form: ufl.Form, m: fem.Function, name: str) -> None:
    """Refuse data of another mesh: UFL would evaluate its coordinates on this one in silence.

    Raises:
        ValueError: If a coefficient, constant or coordinate of the form lives on another mesh.
    """
    mesh = m.function_space.mesh
    for integral in form.integrals():
        domains: Any = extract_domains(integral.integrand())
        for domain in domains:
            if domain.ufl_id() == mesh_id(mesh):
                continue
            size = domain.ufl_cargo().comm.size
            comms = f" (of {size} rank(s) instead of {mesh.comm.size})"
            raise ValueError(
                f"{name}: a coefficient, constant or coordinate lives on another mesh than m"
                f"{comms if size != mesh.comm.size else ''}: build it on m.function_space.mesh"
            )


def _placeholder_space(m: Expr) -> ufl.FunctionSpace:
    domain: Any = extract_unique_domain(m)
    element = basix.ufl.element("Lagrange", domain.ufl_cell().cellname, 1, shape=(3,))
    return ufl.FunctionSpace(domain, element)


class Interaction:
    """Anything that enters the effective field.

    Attributes:
        implicit: Whether semi-implicit schemes take the term at the new time level. Only a
            ``QuadraticTerm`` may be implicit.
    """

    implicit: bool = False

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return the integrand of ``<dE/dm(m), w> = -(Ms h_eff, w)``.

        Args:
            m: Magnetization, any UFL vector of 3 components.
            w: Direction, any UFL vector of 3 components; the result is linear in it.
        """
        raise TypeError(f"{type(self).__name__} must define gradient(m, w)")

    def hessian(self, m: Expr, v: Expr, w: Expr) -> Expr:
        """Return the integrand of ``<d2E/dm2(m) v, w>``, linear in ``v`` and in ``w``."""
        space = _placeholder_space(m)
        state, direction = ufl.Coefficient(space), ufl.TrialFunction(space)
        second = expand(ufl.derivative(self.gradient(state, w), state, direction))
        return ufl.replace(second, {state: m, direction: v})

    def update(self, m: fem.Function, t: float) -> None:
        """Refresh data that UFL cannot express, once per time step before assembly.

        Args:
            m: Magnetization at the old time level.
            t: Time of the new level, at which explicit data are taken (dimensionless).
        """


class EnergyTerm(Interaction):
    """An interaction given by its energy density; a subclass supplies only ``density``."""

    def density(self, m: Expr) -> Expr:
        """Return the energy density, a scalar UFL expression of ``m`` and ``grad(m)``."""
        raise TypeError(f"{type(self).__name__} must define density(m)")

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return the first variation of ``density`` at ``m`` in direction ``w``."""
        # ufl.derivative takes only Arguments as directions, while schemes test with m x w:
        # differentiate along a fresh Argument, expand, then put the wanted vectors in.
        space = _placeholder_space(m)
        state, direction = ufl.Coefficient(space), ufl.TestFunction(space)
        first = expand(ufl.derivative(self.density(state), state, direction))
        return ufl.replace(first, {state: m, direction: w})


class QuadraticTerm(EnergyTerm):
    """An energy term whose density is quadratic; a subclass supplies only ``bilinear``.

    With the symmetric bilinear integrand b: density b(m, m)/2, gradient b(m, w), hessian b(v, w).
    Derived from b rather than by differentiation, the forms are as short as they can be, which
    their assembly repays (3 times faster for exchange).

    Attributes:
        implicit: True unless set otherwise.
        flux_along_gradient: Whether b contains grad m only as ``kappa_kl d_k m . d_l m``. Then
            d_k m x d_k m = 0 lets a scheme keep derivatives off m in (m x h, w), as (2.3) of the
            GRPS paper does for exchange; for any other term that would be inconsistent.
    """

    implicit = True
    flux_along_gradient = False

    def bilinear(self, v: Expr, w: Expr) -> Expr:
        """Return the integrand b(v, w), linear in both vectors and symmetric."""
        raise TypeError(f"{type(self).__name__} must define bilinear(v, w)")

    def density(self, m: Expr) -> Expr:
        """Return ``b(m, m)/2``."""
        return self.bilinear(m, m) / 2

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return ``b(m, w)``."""
        return self.bilinear(m, w)

    def hessian(self, m: Expr, v: Expr, w: Expr) -> Expr:
        """Return ``b(v, w)``, whatever m."""
        return self.bilinear(v, w)


class Energy:
    """Sum of interactions, and the saturation magnetization that weights the effective field.

    Args:
        terms: Interactions, at least one.
        Ms: Relative saturation magnetization (1 in the reference material): a positive number or
            a DG0 ``fem.Function``. It weights every L2 product of m (h_eff = -(1/Ms) dE/dm).

    Raises:
        ValueError: If there is no term, if ``Ms`` is not positive, or if a term carries another Ms.
        TypeError: If a term is not an ``Interaction``.
    """

    def __init__(self, terms: Sequence[Interaction], Ms: float | fem.Function = 1.0) -> None:
        if not terms:
            raise ValueError("an Energy needs at least one interaction, got none")
        for term in terms:
            if not isinstance(term, Interaction):
                raise TypeError(f"{term!r} is not an Interaction (derive it from EnergyTerm)")
        if isinstance(Ms, fem.Function):
            check_positive(Ms, "Ms")
        elif not (np.isfinite(Ms) and Ms > 0):
            raise ValueError(f"Ms must be positive and finite, got {Ms}")
        for term in terms:
            own = getattr(term, "Ms", Ms)
            if own is not Ms and (isinstance(own, fem.Function) or own != Ms):
                raise ValueError(
                    f"{type(term).__name__} carries Ms={own}, the Energy Ms={Ms}: pass the same"
                )
        self.terms = tuple(terms)
        self.Ms = Ms
        self._forms: dict[int, tuple[fem.Function, dict[str, fem.Form]]] = {}

    def __add__(self, term: Interaction) -> Energy:
        """Return a new Energy with one more interaction."""
        return Energy([*self.terms, term], Ms=self.Ms)

    @property
    def implicit_terms(self) -> tuple[Interaction, ...]:
        """Terms that semi-implicit schemes take at the new time level."""
        return tuple(term for term in self.terms if term.implicit)

    @property
    def explicit_terms(self) -> tuple[Interaction, ...]:
        """Terms that semi-implicit schemes take at the old time level."""
        return tuple(term for term in self.terms if not term.implicit)

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return the integrand of ``<dE/dm(m), w>``, summed over all terms."""
        return sum((term.gradient(m, w) for term in self.terms[1:]), self.terms[0].gradient(m, w))

    def hessian(self, m: Expr, v: Expr, w: Expr) -> Expr:
        """Return the integrand of ``<d2E/dm2(m) v, w>``, summed over all terms."""
        return sum(
            (term.hessian(m, v, w) for term in self.terms[1:]), self.terms[0].hessian(m, v, w)
        )

    def update(self, m: fem.Function, t: float) -> None:
        """Refresh the non-UFL data of every term (see ``Interaction.update``)."""
        for term in self.terms:
            term.update(m, t)

    def density_terms(self) -> dict[str, EnergyTerm]:
        """Return the terms that have a density, keyed by class name.

        Two terms of one class are told apart by a suffix ``_2``, ``_3``, ...
        """
        found: dict[str, EnergyTerm] = {}
        for term in self.terms:
            if isinstance(term, EnergyTerm):
                name = base = type(term).__name__
                count = 1
                while name in found:
                    count += 1
                    name = f"{base}_{count}"
                found[name] = term
        return found

    def by_term(self, m: fem.Function) -> dict[str, float]:
        """Return the energy of each of ``density_terms``, the same value on every rank.

        Collective. Units: mu0 Ms0^2 L^3.
        """
        cached = self._forms.get(id(m))
        if cached is None or cached[0] is not m:
            dx = ufl.dx(domain=m.function_space.mesh)
            forms: dict[str, fem.Form] = {}
            for name, term in self.density_terms().items():
                form = term.density(m) * dx
                check_domain(form, m, name)
                forms[name] = fem.form(form)
            cached = self._forms[id(m)] = (m, forms)
        comm = m.function_space.mesh.comm
        local = np.array([fem.assemble_scalar(form) for form in cached[1].values()])
        # One reduction for all terms; summing on every rank alike keeps the results identical.
        parts: list[Any] = comm.allgather(local)
        return dict(zip(cached[1], np.sum(parts, axis=0).tolist(), strict=True))

    def total(self, m: fem.Function) -> float:
        """Return the total energy E(m), the same on every rank. Units: mu0 Ms0^2 L^3."""
        return float(sum(self.by_term(m).values()))
