# SPDX-License-Identifier: LGPL-3.0-or-later
"""Interactions, energy terms and their sum: the physics side of every scheme.

Dimensionless convention of the package (GRPS paper, eqs. (1.1), (1.5))::

    m_t = -m x h_eff - damping m x (m x h_eff),    h_eff = -(1/Ms) dE/dm,

with the energy E in units of mu0 Ms0^2 L^3 and Ms relative to the reference Ms0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import basix.ufl
import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.core.expr import Expr
from ufl.domain import extract_domains, extract_unique_domain

from dolfinx_llg.checks import check_number
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import WrongKindError, describe

__all__ = [
    "VERTICES",
    "EnergyTerm",
    "FieldTerm",
    "Interaction",
    "QuadraticTerm",
    "check_domain",
    "check_integrand",
    "expand",
    "mesh_id",
    "mesh_of",
]


VERTICES: Mapping[str, Any] = {"quadrature_rule": "vertex", "quadrature_degree": 1}
"""Metadata of the lumped (vertex) product, in which the values at the nodes are all that count."""


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


def check_integrand(name: str, value: object) -> Expr:
    """Return what a term's method has returned as UFL, or refuse it.

    Raises:
        TypeError: If it is no UFL expression.
        ValueError: If it is no scalar.
    """
    if not isinstance(value, Expr | int | float):
        raise WrongKindError(
            f"{name}: density, gradient and hessian return UFL expressions, got {describe(value)}"
        )
    found: Expr = ufl.as_ufl(value)
    if found.ufl_shape != () or found.ufl_free_indices:
        raise ValueError(
            f"{name}: density, gradient and hessian return scalars, got the shape {found.ufl_shape}"
        )
    return found


def _placeholder_space(m: Expr) -> ufl.FunctionSpace:
    domain: Any = extract_unique_domain(m)
    element = basix.ufl.element("Lagrange", domain.ufl_cell().cellname, 1, shape=(3,))
    return ufl.FunctionSpace(domain, element)


class Interaction:
    """Anything that enters the effective field.

    Attributes:
        implicit: Whether semi-implicit schemes take the term at the new time level. Only a
            ``QuadraticTerm`` may be implicit.
        quadrature: Metadata of the measure of the term's integrals; None: the rule that UFL
            estimates for each of them.
        free_space: Whether the term's field is that of a body alone in space, without images: it
            is refused where nodes are identified (a periodic box).
    """

    implicit: bool = False
    free_space: bool = False
    quadrature: Mapping[str, Any] | None = None

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

    def measure(self, mesh: dolfinx.mesh.Mesh) -> ufl.Measure:
        """Return the measure of the term's integrals, with its ``quadrature``."""
        return ufl.dx(domain=mesh, metadata=self.quadrature)

    def update(self, m: fem.Function, t: float) -> None:
        """Refresh data that UFL cannot express, before each assembly that reads them.

        Args:
            m: Magnetization at which a field is wanted: that of the old time level, or its
                extrapolation to the middle of a step.
            t: Time at which explicit data are taken (dimensionless).
        """

    def renew(self, m: fem.Function) -> None:
        """Bring data that were made of a user's (samples of an expression) up to date.

        Called before each step; cheap where nothing has changed. Collective.

        Args:
            m: Magnetization, whose mesh counts.
        """

    def check_data(self) -> None:
        """Refuse data that the user has set to what they may not be; called where some changed.

        Raises:
            ValueError: On all ranks alike.

        Note: Collective.
        """

    def energy(self, m: fem.Function) -> float | None:
        """Return the energy at m with the data as they are; None: it has none (a torque).

        Units: mu0 Ms0^2 L^3. Collective.
        """
        return None


class EnergyTerm(Interaction):
    """An interaction given by its energy density; a subclass supplies only ``density``."""

    def density(self, m: Expr) -> Expr:
        """Return the energy density, a scalar UFL expression of ``m`` and ``grad(m)``."""
        raise TypeError(f"{type(self).__name__} must define density(m)")

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return the first variation of ``density`` at ``m`` in direction ``w``.

        Raises:
            ValueError: If the density is no scalar.
            TypeError: If it is no UFL expression.
        """
        # ufl.derivative takes only Arguments as directions, while schemes test with m x w:
        # differentiate along a fresh Argument, expand, then put the wanted vectors in.
        space = _placeholder_space(m)
        state, direction = ufl.Coefficient(space), ufl.TestFunction(space)
        density = check_integrand(type(self).__name__, self.density(state))
        first = expand(ufl.derivative(density, state, direction))
        return ufl.replace(first, {state: m, direction: w})

    def energy(self, m: fem.Function) -> float | None:
        """Return the integral of ``density``, the same on every rank. Collective."""
        mesh = m.function_space.mesh
        local = fem.assemble_scalar(compile_form(self.density(m) * self.measure(mesh)))
        return float(sum(mesh.comm.allgather(local)))


class FieldTerm(Interaction):
    r"""A field, linear and self-adjoint in m, that UFL cannot say: a solve of its own gives it.

    Energy :math:`-\tfrac12 (M_s h(m), m)_h`, gradient :math:`-(M_s h(m), w)_h`, in the lumped
    product :math:`(\cdot,\cdot)_h`: then the values of h at the nodes are all that count, and
    the schemes see the exact gradient of the energy. Every scheme takes the term explicitly.
    A subclass supplies only ``compute``; with ``galerkin_matrix`` runs in a coarse space never
    compute the field on the fine mesh. One whose field is not linear in m sets ``linear`` to False
    and supplies ``change`` and ``energy`` too.

    Args:
        Ms: The same relative saturation magnetization as the ``Energy``'s.

    Attributes:
        h: Values of the field at the nodes, of the last ``update``; made at the first one.
        stand_in: What takes this term's place in ``update`` and ``energy`` while a run in a coarse
            space asks (``solvers.coarse_fields``).
        linear: Whether the field is linear in m.

    Raises:
        ValueError: If Ms is a number that is not positive and finite.
    """

    quadrature = VERTICES
    stand_in: FieldTerm | None = None
    linear: bool = True

    def __init__(self, Ms: float | fem.Function = 1.0) -> None:
        self.Ms = Ms if isinstance(Ms, fem.Function) else check_number("Ms", Ms, positive=True)
        self.h: fem.Function | None = None
        self._at: Any = None

    def compute(self, m: fem.Function, h: fem.Function) -> None:
        """Set the nodal values of h, ghosts included, to the field of m. Collective.

        Args:
            m: Magnetization.
            h: Function of the space of m.
        """
        raise TypeError(f"{type(self).__name__} must define compute(m, h)")

    def change(self, m: fem.Function, v: fem.Function, h: fem.Function) -> None:
        """Set the nodal values of h to the derivative of the field at m along v. Collective."""
        self.compute(v, h)

    def field(self, m: fem.Function) -> fem.Function:
        """Return the field of m as a function of its space, kept until m has changed. Collective.

        The same object at every call with an m of one space.
        """
        if self.h is None or self.h.function_space != m.function_space:
            self.h, self._at = fem.Function(m.function_space, name="h"), None
        stale = self._at is None or not np.array_equal(self._at, m.x.array)
        if any(m.function_space.mesh.comm.allgather(stale)):
            self.compute(m, self.h)
            self._at = m.x.array.copy()
        return self.h

    def refresh(self) -> None:
        """Forget the field: data that ``compute`` reads have changed."""
        self._at = None

    def galerkin_matrix(self, components: Sequence[Any]) -> npt.NDArray[np.float64] | None:
        r"""Return the matrix of the energy in a coarse space, :math:`E(Pc) = \frac12 c^T D_H c`.

        Args:
            components: Scalar prolongation of each component, a PETSc matrix of shape (n_h, n_H).

        Returns:
            Symmetric, of shape (3 n_H, 3 n_H), the components of each function one after the
            other, the same on every rank; None: a run in a coarse
            space computes the field on the fine mesh in each step.

        Note: Collective.
        """
        return None

    def data(self) -> npt.NDArray[np.float64]:
        """Return this rank's numbers of which ``galerkin_matrix`` is made, to notice changes."""
        return np.zeros(0)

    def update(self, m: fem.Function, t: float) -> None:
        """Set ``h`` to the field of m. Collective."""
        if self.stand_in is None:
            self.field(m)
            return
        if self.h is None:
            self.h = fem.Function(m.function_space, name="h")
        self.stand_in.compute(m, self.h)
        self.refresh()

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return ``-Ms h.w`` with the field of the last ``update``.

        Raises:
            ValueError: If there was no ``update`` yet.
        """
        if self.h is None:  # a form is built before the first update
            space = m.function_space if isinstance(m, fem.Function) else None
            if space is None:
                raise ValueError(f"{type(self).__name__}: call update(m, t) before its forms")
            self.h = fem.Function(space, name="h")
        return -self.Ms * ufl.inner(self.h, w)

    def hessian(self, m: Expr, v: Expr, w: Expr) -> Expr:
        """Return 0: no UFL form can say h(v); methods that need it call ``compute`` with v."""
        return ufl.as_ufl(0)

    def energy(self, m: fem.Function) -> float | None:
        """Return ``-1/2 (Ms h(m), m)_h``, the same on every rank. Collective."""
        if self.stand_in is not None:
            return self.stand_in.energy(m)
        mesh = m.function_space.mesh
        form = -0.5 * self.Ms * ufl.inner(self.field(m), m) * self.measure(mesh)
        return float(sum(mesh.comm.allgather(fem.assemble_scalar(compile_form(form)))))


class QuadraticTerm(EnergyTerm):
    """An energy term whose density is quadratic; a subclass supplies only ``bilinear``.

    With the symmetric bilinear integrand b: density b(m, m)/2, gradient b(m, w), hessian b(v, w).
    Derived from b rather than by differentiation, the forms are as short as they can be, which
    their assembly repays. Whoever makes a step compares b(v, w) with
    b(w, v) for two fields and refuses an asymmetric b of a user's term; ``Energy.total`` alone does
    not, nor is one found that the data of that moment (a factor 0) hide.

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
