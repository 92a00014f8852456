# SPDX-License-Identifier: LGPL-3.0-or-later
r"""What multiscale methods ask of an energy: its exchange coefficient, its forms by component.

The energy of a run is written once. A coarse space, a cell problem and a micro problem take from it
what they need, so that they cannot be made for another coefficient than the run has:

- ``component_forms``: the bilinear form that each component of m sees, for a coarse space;
- ``exchange_coefficient``: kappa, as the formula that the user gave or as UFL on a mesh;
- ``with_exchange``: the same energy with an upscaled coefficient in the place of its exchange.

An exchange term is any ``QuadraticTerm`` that contains grad m only as ``kappa_kl d_k m . d_l m``
(``flux_along_gradient``): ``Exchange``, or one of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.algorithms.remove_complex_nodes import remove_complex_nodes
from ufl.core.expr import Expr

from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import QuadraticTerm, expand, mesh_id
from dolfinx_llg.physics.terms import Exchange

__all__ = ["component_forms", "exchange_coefficient", "exchange_terms", "with_exchange"]


def exchange_terms(energy: Energy) -> tuple[QuadraticTerm, ...]:
    """Return the exchange terms of an energy.

    Raises:
        ValueError: If it has none.
    """
    found = tuple(
        term
        for term in energy.terms
        if isinstance(term, QuadraticTerm) and term.flux_along_gradient
    )
    if not found:
        names = ", ".join(type(term).__name__ for term in energy.terms)
        raise ValueError(f"the energy has no exchange term, only {names}")
    return found


@checked
def exchange_coefficient(
    energy: Energy, msh: dolfinx.mesh.Mesh | None = None
) -> Callable[[Any], Any] | Expr:
    """Return the exchange coefficient of an energy.

    Args:
        energy: Energy with one exchange term or several, whose coefficients then add up.
        msh: Mesh on which UFL is wanted (a cell of the period, say).

    Returns:
        Where the energy has one ``Exchange``, given by a callable: that callable, from which any
        mesh may be served and which is not sampled. Else UFL on ``msh``.

    Raises:
        ValueError: If the energy has no exchange term; if no mesh is given and the coefficient is
            no callable; if it is data of another mesh.
    """
    terms = exchange_terms(energy)
    if len(terms) == 1 and isinstance(terms[0], Exchange):
        given = terms[0].coefficient
        if callable(given) and not isinstance(given, Expr):
            return given
    if msh is None:
        raise ValueError(
            "the exchange coefficient is wanted at any point: build the Energy with "
            "Exchange(x -> kappa), a callable of the coordinate"
        )
    return _tensor(terms, msh)


def _tensor(terms: tuple[QuadraticTerm, ...], msh: dolfinx.mesh.Mesh) -> Expr:
    """Return kappa on a mesh; of other terms than one ``Exchange`` its entries kappa_kl.

    The coordinates y_k have the gradients e_k, so that b(y_k e_1, y_l e_1) = kappa_kl.
    """
    y, dim = ufl.SpatialCoordinate(msh), msh.geometry.dim
    if len(terms) == 1 and isinstance(terms[0], Exchange):
        tensor = terms[0].kappa(y)
    else:
        ways = [_along(y[k], 0) for k in range(dim)]
        entries = [[_sum(term.bilinear(v, w) for term in terms) for w in ways] for v in ways]
        tensor = remove_complex_nodes(ufl.as_matrix(entries))
    if not _lives_on(tensor, msh):
        raise ValueError(
            "the exchange coefficient is data of another mesh: build the Energy with "
            "Exchange(x -> kappa), a callable, or on the mesh of the cell"
        )
    return tensor


@checked
def component_forms(energy: Energy, V: fem.FunctionSpace) -> list[ufl.Form]:
    r"""Return the bilinear forms that the components of m see, one each.

    With the symmetric integrands b of the terms that schemes take implicitly,
    :math:`a_i(u, v) = \sum \int b(u\,e_i, v\,e_i)`: exchange for the component along an easy axis,
    exchange with q_u u v for those across it (the GRPS paper's (V1) and (V2)). Of an axis that lies
    along no coordinate the couplings between components are left out, which changes a coarse space
    by O(H^2); so are surface energies, which a step takes in the space all the same.

    Args:
        energy: Energy with an exchange term.
        V: Scalar space on the mesh of the energy's data.

    Raises:
        ValueError: If the energy has no exchange term, or its data live on another mesh.
    """
    exchange = exchange_terms(energy)
    terms = [
        term
        for term in energy.terms
        if isinstance(term, QuadraticTerm)
        and (term.implicit or term in exchange)
        and term.measure(V.mesh).integral_type() == "cell"
    ]
    u, v, dx = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.dx(domain=V.mesh)
    forms = []
    for i in range(3):
        integrand = _sum(term.bilinear(_along(u, i), _along(v, i)) for term in terms)
        if not _lives_on(integrand, V.mesh):
            raise ValueError(
                "the energy has data of another mesh than the fine one of the hierarchy: build "
                "kappa and m on hierarchy.fine"
            )
        forms.append(integrand * dx)
    return forms


def _along(value: Expr, component: int) -> Expr:
    """Return the vector of m with one component, the others zero."""
    return ufl.as_vector([value if i == component else 0 * value for i in range(3)])


def _sum(parts: Iterable[Expr]) -> Expr:
    """Return the sum of integrands, without derivatives of anything but functions."""
    first, *rest = parts
    return expand(sum(rest, first))


def _lives_on(expression: Expr, msh: dolfinx.mesh.Mesh) -> bool:
    """Whether no part of an expression belongs to another mesh."""
    domains: Any = ufl.domain.extract_domains(expression)
    return all(domain.ufl_id() == mesh_id(msh) for domain in domains)


@checked
def with_exchange(energy: Energy, kappa: float | npt.NDArray[np.floating] | Expr) -> Energy:
    """Return the energy with another exchange coefficient, an upscaled one say.

    Args:
        energy: Energy with an exchange term. The other terms are taken over as they are, Ms too;
            data in them that belong to a mesh must belong to that of the new run.
        kappa: Coefficient, see ``Exchange``.

    Raises:
        ValueError: If the energy has no exchange term, or kappa is not positive definite.
    """
    replaced = exchange_terms(energy)
    rest = [term for term in energy.terms if term not in replaced]
    return Energy([Exchange(kappa), *rest], Ms=energy.Ms)
