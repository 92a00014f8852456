# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The four semi-implicit backward Euler schemes of the GRPS paper, section 2.1 and appendix 6.1.

All of them discretise (2.2), ``m_t - lambda h + m x h = -lambda (m.h) m``. With n the old level,
m' the new iterate, d_i and d_e the first variations of the implicit and explicit interactions,
and q = -m.h pointwise, their common weak form is

    (Ms (m'-m)/dt, v) + d_i(m'; lambda v) - d_i(m'; v x m) = R - d_e(m; lambda v) + d_e(m; v x m).

For exchange and uniaxial anisotropy the left side is (2.3) plus the anisotropy's cross term:
``lambda (kappa grad m', grad v) + lambda (m'_a, v) - (m x kappa grad m', grad v) - (m x m'_a, v)``.
The schemes differ in R:

========  =========================================  ==================================
scheme    R                                          remark
========  =========================================  ==================================
cimrak    lambda (q(m) m', v)                        (6.2)
gao       lambda (q(m) m, v)                         (6.3)
an        lambda (q(m, m') m, v)                     (6.5), followed by the projection
prohl     lambda (q(m) m', v)                        (6.1), m' in the cross product
========  =========================================  ==================================

Range of dt. All four are of first order: backward Euler of a precession about a field h (of the
implicit terms; in prohl of all) acts as damping of :math:`\Delta t |h|/2` beside alpha, less than a
tenth of it for :math:`\Delta t < 0.2\, \alpha/|h|` alone; prohl's is of either sign. They are for
relaxation, for the papers, and for dynamics at small steps. How fast a Walker wall then
moves (alpha 0.1, 4.3 nm wide, 40 mT, h = 2 nm; steps of 0.39 to 3.12 ps) their docstrings say
(``demo_wall``). A run measures what its steps add, and warns once where it is more than 5 % of the
damping. Explicit terms limit dt by 1/(their curvature) as well.

q is the integrand of the first variation taken at w = m. It equals -Ms m.h wherever the density
depends on grad m through terms invariant under rotations of m alone, or antisymmetric in m, as all
of ``physics.terms`` do; for any other density it differs by a divergence that the projection hides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import ufl
from dolfinx import fem
from ufl.algorithms import compute_form_data
from ufl.core.expr import Expr

from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy, check_implicit_terms, integral
from dolfinx_llg.physics.interaction import Interaction, expand
from dolfinx_llg.schemes.damping import Damping, LiveDamping
from dolfinx_llg.schemes.step import Block, WeakStep, over_dt
from dolfinx_llg.sphere import check_magnetization

__all__ = ["an", "cimrak", "gao", "prohl"]

CrossTerm = Literal["printed", "full"]


class _Parts:
    """What the four schemes share: the arguments, the damping and the forms of the left side."""

    def __init__(
        self, energy: Energy, m: fem.Function, damping: Damping, cross_term: CrossTerm, dt: float
    ) -> None:
        if cross_term not in ("printed", "full"):
            raise ValueError(f"cross_term must be 'printed' or 'full', got {cross_term!r}")
        check_magnetization(m)
        self.energy, self.m, self.cross_term = energy, m, cross_term
        V = m.function_space
        self.u, self.v = ufl.TrialFunction(V), ufl.TestFunction(V)
        self.mesh = V.mesh
        self.live = LiveDamping(damping, energy.Ms, m)
        self.damping = self.live.nodal
        self.dt = fem.Constant(V.mesh, float(dt))
        mass = self.live.weight * ufl.inner(self.u, self.v) * ufl.dx(domain=V.mesh)
        self.constant = [Block(mass, over_dt, history=m, history_weight=over_dt)]
        check_implicit_terms(energy, m)
        if energy.implicit_terms:
            # The skew part turns the symmetric one by arg(lambda - i) in the tangent plane of m
            # (where m x is i), and together their modulus is |lambda - i|.
            modulus = ufl.sqrt(1 + self.damping**2)
            self.constant.append(Block(self.damped(self.damping), stretched=self.damped(modulus)))

    def over(
        self, terms: Iterable[Interaction], integrand: Callable[[Interaction], Expr]
    ) -> ufl.Form:
        """Return the sum of integrals of the terms, each over its own measure."""
        return integral(terms, integrand, self.mesh)

    def damped(self, factor: Expr) -> ufl.Form:
        """Return the form d_i(u; factor v)."""
        return self.over(
            self.energy.implicit_terms,
            lambda term: term.hessian(self.m, self.u, factor * self.v),
        )

    def crossed(self, term: Interaction, vary: Callable[[Expr], Expr], m: Expr) -> Expr:
        """Return ``vary(v x m)``, for ``printed`` with derivatives kept off m where they may be."""
        if self.cross_term == "full" or not getattr(term, "flux_along_gradient", False):
            return vary(ufl.cross(self.v, m))
        # Spatially constant for ufl, so that grad(v x c) = grad(v) x c; m is put in afterwards.
        frozen = ufl.Constant(self.m.function_space.mesh, shape=(3,))
        return ufl.replace(expand(vary(ufl.cross(self.v, frozen))), {frozen: m})

    def varying_cross(self) -> list[ufl.Form]:
        """Return the forms -d_i(u; v x m) of the semi-implicit cross term, one for each term."""
        return [
            self.over(
                [term],
                lambda term: -self.crossed(term, partial(term.hessian, self.m, self.u), self.m),
            )
            for term in self.energy.implicit_terms
        ]

    def explicit_source(self) -> ufl.Form:
        """Return the form -d_e(m; lambda v) + d_e(m; v x m)."""
        direction = ufl.cross(self.v, self.m) - self.damping * self.v
        return self.over(self.energy.explicit_terms, lambda term: term.gradient(self.m, direction))

    def reaction(self, product: Expr, terms: Iterable[Interaction] | None = None) -> ufl.Form:
        """Return the form (lambda q(m), product), q = -Ms m.h pointwise at the old level."""
        return self.over(
            self.energy.terms if terms is None else terms,
            lambda term: self.damping * term.gradient(self.m, self.m) * product,
        )

    def step(
        self,
        name: str,
        projection: bool,
        varying: Sequence[ufl.Form],
        source: Sequence[ufl.Form],
        nonlinear: Sequence[ufl.Form] = (),
        x: fem.Function | None = None,
    ) -> WeakStep:
        def form(parts: Sequence[ufl.Form], *, apart: bool = False) -> ufl.Form | None:
            forms = [part for part in parts if part.integrals()]
            if apart:
                forms = [_by_its_own_rule(form) for form in forms]
            return sum(forms[1:], forms[0]) if forms else None

        return WeakStep(
            m=self.m,
            dt=self.dt,
            constant=self.constant,
            varying=form(varying, apart=True),
            source=form(source),
            nonlinear=form(nonlinear, apart=True),
            x=x,
            projection=projection,
            update=self.energy.update,
            refresh=self.live.refresh,
            rotation=self.live.rotation,
            energy=self.energy,
            damping=self.live,
            name=name,
        )


def _by_its_own_rule(form: ufl.Form) -> ufl.Form:
    """Return an integral with the degree of quadrature fixed that UFL estimates for it.

    In a sum UFL gives all integrals the rule of the highest degree. With a rule for each a matrix
    costs 0.5 to 0.9 of that, 0.3 in 3D where a reaction is in it; vectors gain nothing. Never a
    rule of one point: FFCx 0.11 confuses its tables with those of other rules in the same kernel.
    Integrals with a rule of their own keep it.
    """
    free = [i for i in form.integrals() if "quadrature_rule" not in i.metadata()]
    if not free:
        return form
    data = compute_form_data(ufl.Form(free), do_apply_integral_scaling=True)
    degrees = [
        int(np.max(integral.metadata()["estimated_polynomial_degree"]))
        for group in data.integral_data
        for integral in group.integrals
    ]
    rule = {"quadrature_degree": max(2, *degrees)}
    return ufl.Form([i.reconstruct(metadata=rule) if i in free else i for i in form.integrals()])


@checked
def cimrak(
    energy: Energy,
    m: fem.Function,
    *,
    dt: float,
    damping: Damping,
    projection: bool = False,
    cross_term: CrossTerm = "printed",
) -> WeakStep:
    r"""Cimrak's scheme (GRPS paper, (6.2)): the nonlinear term linear in the new iterate.

    ``(m'-m)/dt - lambda h' + m x h' = -lambda (m.h) m'``, tested as in the module's docstring.

    Args:
        energy: Energy; its implicit terms enter at the new level, the others at the old one.
        m: Magnetization, P1, unit length at the nodes; advanced in place by the steps.
        dt: Time step, dimensionless. It adds about dt |h|/2 to alpha: a Walker wall at alpha 0.1
            moves at 0.58, 0.41, 0.26, 0.16 of its speed with dt = 0.05, 0.1, 0.2, 0.4 (see
            the module's docstring).
        damping: lambda of the LL form (number or DG0 function) or ``Gilbert(alpha)``.
        projection: Whether each step ends with the projection m = x/|x| at the nodes. Without it
            the length drifts: ``|| 1 - |m|^2 ||_L2 <= C (dt + h^2)`` (6.4).
        cross_term: "printed" as in (2.3), which drops ``-(kappa d_k m x d_k m', v)`` from
            (m x h', v) for exchange: an O(dt) change, since d_k m x d_k m = 0. "full" keeps it: the
            scheme is then the exact weak form of (6.2), of the same order, with a matrix that costs
            more to assemble. Other terms are always taken in full.

    Raises:
        ValueError: If m is not of unit length, dt or the damping is not positive, or a
            coefficient lives on another mesh.
    """
    p = _Parts(energy, m, damping, cross_term, dt)
    reaction = p.reaction(-ufl.inner(p.u, p.v))
    return p.step("cimrak", projection, [*p.varying_cross(), reaction], [p.explicit_source()])


@checked
def gao(
    energy: Energy,
    m: fem.Function,
    *,
    dt: float,
    damping: Damping,
    projection: bool = False,
    cross_term: CrossTerm = "printed",
) -> WeakStep:
    r"""Gao's scheme (GRPS paper, (6.3)): the nonlinear term at the old level.

    ``(m'-m)/dt - lambda h' + m x h' = -lambda (m.h) m``, tested as in the module's docstring.

    Args:
        energy: Energy; its implicit terms enter at the new level, the others at the old one.
        m: Magnetization, P1, unit length at the nodes; advanced in place by the steps.
        dt: Time step, dimensionless. It adds about dt |h|/2 to alpha: a Walker wall at alpha 0.1
            moves at 0.58, 0.40, 0.26, 0.16 of its speed with dt = 0.05, 0.1, 0.2, 0.4 (see
            the module's docstring).
        damping: lambda of the LL form (number or DG0 function) or ``Gilbert(alpha)``.
        projection: Whether each step ends with the projection m = x/|x| at the nodes. Without it
            the length drifts: ``|| 1 - |m|^2 ||_L2 <= C (dt + h^2)`` (6.4).
        cross_term: "printed" as in (2.3), without ``-(kappa d_k m x d_k m', v)``, or "full": see
            ``cimrak``.

    Raises:
        ValueError: If m is not of unit length, dt or the damping is not positive, or a
            coefficient lives on another mesh.
    """
    p = _Parts(energy, m, damping, cross_term, dt)
    reaction = p.reaction(ufl.inner(m, p.v))
    return p.step("gao", projection, p.varying_cross(), [p.explicit_source(), reaction])


@checked
def an(
    energy: Energy,
    m: fem.Function,
    *,
    dt: float,
    damping: Damping,
    projection: bool = True,
    cross_term: CrossTerm = "printed",
) -> WeakStep:
    r"""An's scheme (GRPS paper, (6.5)): the new iterate inside the scalar product, then projected.

    ``(m'-m)/dt - lambda h' + m x h' = lambda q(m, m') m`` with
    ``q(m, m') = kappa grad m' : grad m + m'_a.m_a + ...`` (the paper prints the opposite sign and
    an extra lambda on the anisotropy); explicit interactions enter as q(m).

    Args:
        energy: Energy; its implicit terms enter at the new level, the others at the old one.
        m: Magnetization, P1, unit length at the nodes; advanced in place by the steps.
        dt: Time step, dimensionless. It adds about dt |h|/2 to alpha: a Walker wall at alpha 0.1
            moves at 0.57, 0.40, 0.25, 0.15 of its speed with dt = 0.05, 0.1, 0.2, 0.4 (see
            the module's docstring).
        damping: lambda of the LL form (number or DG0 function) or ``Gilbert(alpha)``.
        projection: Whether each step ends with the projection m = x/|x| at the nodes; a part of the
            scheme, on unless switched off.
        cross_term: "printed" as in (2.3), without ``-(kappa d_k m x d_k m', v)``, or "full": see
            ``cimrak``.

    Raises:
        ValueError: If m is not of unit length, dt or the damping is not positive, or a
            coefficient lives on another mesh.
    """
    p = _Parts(energy, m, damping, cross_term, dt)
    varying = p.varying_cross()
    varying += [
        p.over(
            [term],
            lambda term: -p.damping * term.hessian(m, p.u, m) * ufl.inner(m, p.v),
        )
        for term in energy.implicit_terms
    ]
    reaction = p.reaction(ufl.inner(m, p.v), energy.explicit_terms)
    return p.step("an", projection, varying, [p.explicit_source(), reaction])


@checked
def prohl(
    energy: Energy,
    m: fem.Function,
    *,
    dt: float,
    damping: Damping,
    projection: bool = False,
    cross_term: CrossTerm = "printed",
) -> WeakStep:
    r"""Prohl's scheme (GRPS paper, (6.1)): Cimrak's with the new iterate in the cross product.

    ``(m'-m)/dt - lambda h' + m' x h' = -lambda (m.h) m'``: a nonlinear system for Newton's method
    (the paper calls it fully implicit; its right side is not).
    Precession by backward Euler acts as damping of size dt |h|, of either sign: keep dt |h| of the
    field below about 2 lambda, or a reversal can be blocked.

    Args:
        energy: Energy; its implicit terms enter at the new level, the others at the old one.
        m: Magnetization, P1, unit length at the nodes; advanced in place by the steps.
        dt: Time step, dimensionless. It adds about dt |h|/2 to alpha: a Walker wall at alpha 0.1
            moves at 0.54, 0.37, 0.24, 0.15 of its speed with dt = 0.05, 0.1, 0.2, 0.4 (see
            the module's docstring).
        damping: lambda of the LL form (number or DG0 function) or ``Gilbert(alpha)``.
        projection: Whether each step ends with the projection m = x/|x| at the nodes. Without it
            the length drifts: ``|| 1 - |m|^2 ||_L2 <= C (dt + h^2)`` (6.4).
        cross_term: "printed" or "full": see ``cimrak``; here both give the same residual, since
            d_k m' x d_k m' = 0, and differ in round-off and cost alone.

    Raises:
        ValueError: If m is not of unit length, dt or the damping is not positive, or a
            coefficient lives on another mesh.

    Note: A Newton iteration that does not converge raises ``ConvergenceError`` in the stepper.
    """
    p = _Parts(energy, m, damping, cross_term, dt)
    x = fem.Function(m.function_space, name="x")
    x.x.array[:] = m.x.array
    parts = [
        p.over([term], lambda term: -p.crossed(term, partial(term.gradient, x), x))
        for term in energy.implicit_terms
    ]
    parts += [
        p.over([term], lambda term: -term.gradient(m, ufl.cross(p.v, x)))
        for term in energy.explicit_terms
    ]
    damped = p.over(energy.explicit_terms, lambda term: -term.gradient(m, p.damping * p.v))
    reaction = p.reaction(-ufl.inner(p.u, p.v))
    return p.step("prohl", projection, [reaction], [damped], parts, x)
