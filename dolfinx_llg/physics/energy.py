# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy: the sum of interactions, its forms and its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import dolfinx
import numpy as np
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.collective import together, total
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import check_positive
from dolfinx_llg.physics.interaction import (
    EnergyTerm,
    Interaction,
    QuadraticTerm,
    check_domain,
    check_integrand,
)

__all__ = ["Energy", "check_implicit_terms", "integral"]


class Energy:
    """Sum of interactions, and the saturation magnetization that weights the effective field.

    Args:
        terms: Interactions, at least one (a generator is used up here, once).
        Ms: Relative saturation magnetization (1 in the reference material): a positive number, a
            ``fem.Constant`` or a DG0 ``fem.Function``. It weights every L2 product of m
            (h_eff = -(1/Ms) dE/dm).

    Raises:
        ValueError: If there is no term, if ``Ms`` is not positive, or if a term carries another Ms.
        TypeError: If a term is not an ``Interaction``.

    Note: Collective.
    """

    def __init__(
        self, terms: Iterable[Interaction], Ms: float | fem.Constant | fem.Function = 1.0
    ) -> None:
        if isinstance(terms, Interaction):
            raise TypeError(
                f"an Energy takes a list of interactions, got one {type(terms).__name__}: write "
                "Energy([term])"
            )
        self.terms = terms = tuple(terms)
        if not terms:
            raise ValueError("an Energy needs at least one interaction, got none")
        for term in terms:
            if not isinstance(term, Interaction):
                raise TypeError(f"{term!r} is not an Interaction (derive it from EnergyTerm)")
        _check_ms(Ms)
        for term in terms:
            own = getattr(term, "Ms", Ms)
            if own is not Ms and (isinstance(own, Expr) or isinstance(Ms, Expr) or own != Ms):
                raise ValueError(
                    f"{type(term).__name__} carries Ms={own}, the Energy Ms={Ms}: pass the same"
                )
        self.Ms = Ms
        self._densities: tuple[fem.Function, dict[str, fem.Form]] | None = None

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

    def integral(
        self, integrand: Callable[[Interaction], Expr], mesh: dolfinx.mesh.Mesh
    ) -> ufl.Form:
        """Return the sum over all terms of ``integrand(term)``, each over the term's own measure.

        ``energy.integral(lambda term: term.gradient(m, w), mesh)`` is the form of
        ``<dE/dm(m), w>``.
        """
        return integral(self.terms, integrand, mesh)

    def gradient(self, m: fem.Function, w: Expr) -> ufl.Form:
        """Return the form of ``<dE/dm(m), w>``, summed over all terms."""
        return self.integral(lambda term: term.gradient(m, w), m.function_space.mesh)

    def hessian(self, m: fem.Function, v: Expr, w: Expr) -> ufl.Form:
        """Return the form of ``<d2E/dm2(m) v, w>``, summed over all terms."""
        return self.integral(lambda term: term.hessian(m, v, w), m.function_space.mesh)

    def update(self, m: fem.Function, t: float) -> None:
        """Refresh the non-UFL data of every term (see ``Interaction.update``)."""
        self._update(self.terms, m, t)

    @staticmethod
    def _update(terms: Iterable[Interaction], m: fem.Function, t: float) -> None:
        # A user's update may fail on one rank alone.
        with together(m.function_space.mesh.comm):
            for term in terms:
                term.update(m, t)

    def renew(self, m: fem.Function) -> None:
        """Bring sampled data of every term up to date (see ``Interaction.renew``). Collective."""
        for term in self.terms:
            term.renew(m)

    def check_data(self) -> None:
        """Refuse an Ms, or data of terms, that were changed to what they may not be.

        Raises:
            ValueError: On all ranks alike.

        Note: Collective.
        """
        _check_ms(self.Ms)
        for term in self.terms:
            term.check_data()

    def names(self) -> dict[str, Interaction]:
        """Return the terms that have an energy, keyed by class name.

        Two terms whose class names agree but for case are told apart by ``_2``, ``_3``, ...
        """
        found: dict[str, Interaction] = {}
        taken: set[str] = set()
        for term in self.terms:
            if type(term).energy is not Interaction.energy:
                name = base = type(term).__name__
                count = 1
                while name.lower() in taken:
                    count += 1
                    name = f"{base}_{count}"
                taken.add(name.lower())
                found[name] = term
        return found

    def density_terms(self) -> dict[str, EnergyTerm]:
        """Return those of ``names`` whose energy is the integral of a density."""
        return {
            name: term
            for name, term in self.names().items()
            if isinstance(term, EnergyTerm) and type(term).energy is EnergyTerm.energy
        }

    def by_term(self, m: fem.Function, t: float | None = None) -> dict[str, float]:
        """Return the energy at m of each of ``names``, the same value on every rank.

        Args:
            m: Magnetization.
            t: Time at which terms that depend on it are taken: their data are brought to m and t
                first, so that the energies belong to this m and this t whatever the last step has
                read. None: the data as they are.

        Note: Collective. Units: mu0 Ms0^2 L^3.
        """
        terms = self.names()
        self.renew(m)
        if t is not None:
            self._update(terms.values(), m, t)
        state, forms = self._compiled(m)
        state.x.array[:] = m.x.array
        local = np.array([fem.assemble_scalar(form) for form in forms.values()])
        # One reduction for all densities; summing on every rank alike keeps the results identical.
        sums = np.sum(m.function_space.mesh.comm.allgather(local), axis=0)
        found = dict(zip(forms, sums.tolist(), strict=True))
        for name, term in terms.items():
            if name not in found:
                value = term.energy(m)
                if value is not None:
                    found[name] = value
        return {name: found[name] for name in terms if name in found}

    def _compiled(self, m: fem.Function) -> tuple[fem.Function, dict[str, fem.Form]]:
        """Return the forms of all densities, at a function of their own: no m is kept alive."""
        kept = self._densities
        if kept is None or kept[0].function_space != m.function_space:
            state = fem.Function(m.function_space)
            forms: dict[str, fem.Form] = {}
            for name, term in self.density_terms().items():
                density = _scalar(term, partial(term.density, state), m.function_space.mesh)
                form = density * term.measure(m.function_space.mesh)
                check_domain(form, m, name)
                forms[name] = compile_form(form)
            kept = self._densities = (state, forms)
        return kept

    def total(self, m: fem.Function, t: float | None = None) -> float:
        """Return the total energy E(m), the same on every rank. Units: mu0 Ms0^2 L^3.

        Args:
            m: Magnetization.
            t: See ``by_term``.

        Note: Collective.
        """
        return float(sum(self.by_term(m, t).values()))


@checked
def integral(
    terms: Iterable[Interaction],
    integrand: Callable[[Interaction], Expr],
    mesh: dolfinx.mesh.Mesh,
) -> ufl.Form:
    """Return the sum of ``integrand(term)`` over the terms, each over the term's own measure.

    Terms of one measure stand in one integral; a sum of nothing has no integral.

    Args:
        terms: Interactions.
        integrand: Called with each of them, returns a scalar UFL expression.
        mesh: Mesh of the integrals.

    Raises:
        TypeError: If an integrand is no UFL expression, on all ranks alike.
        ValueError: If it is no scalar, likewise.

    Note: Collective.
    """
    parts: list[tuple[ufl.Measure, Expr]] = []
    for term in terms:
        with together(mesh.comm):  # the user's integrand may fail on one rank
            value = _scalar(term, lambda term=term: integrand(term), mesh)  # type: ignore[misc]
        if value == 0:
            continue
        own = term.measure(mesh)
        for index, (measure, so_far) in enumerate(parts):
            if measure == own:
                parts[index] = (measure, so_far + value)
                break
        else:
            parts.append((own, value))
    return sum((value * measure for measure, value in parts), ufl.Form([]))


def _check_ms(Ms: float | fem.Constant | fem.Function) -> None:
    """Raise ValueError unless Ms is positive and finite. Collective."""
    if isinstance(Ms, fem.Function):
        check_positive(Ms, "Ms")
        return
    number = float(Ms.value) if isinstance(Ms, fem.Constant) else Ms
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"Ms must be positive and finite, got {number}")


def _scalar(term: Interaction, call: Callable[[], Expr], mesh: dolfinx.mesh.Mesh) -> Expr:
    """Return what a term's method returns, an error or another kind of value on all ranks alike."""
    with together(mesh.comm):
        value: Any = call()
        integrand = check_integrand(type(term).__name__, value)
    return integrand


def _check_symmetric(term: QuadraticTerm, m: fem.Function) -> None:
    """Raise ValueError on all ranks unless a user's bilinear integrand is symmetric.

    Density and gradient are both made of it: only for a symmetric one do they belong together.
    """
    V = m.function_space
    v, w = fem.Function(V), fem.Function(V)
    v.interpolate(lambda x: np.array([1 + x[0], np.sin(3 * x[1]), x[2] - x[0] ** 2]))
    w.interpolate(lambda x: np.array([np.cos(2 * x[0]), x[0] - x[1], 2 + x[2] * x[1]]))
    pairs = ((v, w), (w, v), (v, v), (w, w))
    forms = [
        compile_form(_scalar(term, partial(term.bilinear, *pair), V.mesh) * term.measure(V.mesh))
        for pair in pairs
    ]
    one, other, *scale = total(V.mesh.comm, [fem.assemble_scalar(form) for form in forms]).tolist()
    # Round-off is 1e-16 of the integrals, an asymmetry of any formula far above 1e-10.
    if not abs(one - other) <= 1e-10 * (abs(one) + abs(other) + sum(map(abs, scale))):
        raise ValueError(
            f"{type(term).__name__}: bilinear(v, w) must be symmetric, but b(v, w) = {one:.6g} and "
            f"b(w, v) = {other:.6g}: a torque without an energy is an Interaction"
        )


def check_implicit_terms(energy: Energy, m: fem.Function) -> None:
    """Raise ValueError if a term cannot be taken at the new level.

    Args:
        energy: Its implicit terms must be ``QuadraticTerm``; a user's must be symmetric.
        m: Magnetization, whose mesh counts.

    Note: Collective.
    """
    for term in energy.terms:
        own = type(term).bilinear.__module__ if isinstance(term, QuadraticTerm) else ""
        if isinstance(term, QuadraticTerm) and own.split(".")[0] != __name__.split(".")[0]:
            _check_symmetric(term, m)
    for term in energy.implicit_terms:
        if not isinstance(term, QuadraticTerm):
            raise ValueError(
                f"{type(term).__name__} is marked implicit but is not a QuadraticTerm: derive it "
                "from QuadraticTerm, or set implicit = False"
            )
