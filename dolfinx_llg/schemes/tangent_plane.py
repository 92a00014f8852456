# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The tangent-plane scheme: linear in the velocity v = m_t, which is sought orthogonal to m.

Gilbert's equation m_t = -m x h + alpha m x m_t (h = -(1/Ms) dE/dm) is for |m| = 1 the same as
``alpha v + m x v = h - (m.h) m``, v.m = 0. With d_i and d_e the first variations of the implicit
(quadratic) and explicit interactions, a step finds v, v.m = 0 at every node, with

    (Ms (a v + b m x v), w)_h + theta dt d_i(v; w) = -d_i(m; w) - d_e(m; w)    for all w, w.m = 0,

and sets m <- m + dt v, projected to unit length at the nodes unless that is switched off. Gilbert's
form has a = alpha, b = 1; the Landau-Lifshitz form with damping lambda is the same equation with
a = lambda/(1+lambda^2), b = 1/(1+lambda^2). ``( , )_h`` is the lumped (vertex) product.

Source: Alouges, Discrete Contin. Dyn. Syst. S 1 (2008) 187; the saddle-point system with the
multiplier lm of v.m = 0, and the torque of a spin accumulation as a further explicit field, are
(5.25)-(5.32) of the paper on the tangent-plane scheme in MFEM, whose (5.25) prints exchange with
the sign of the torque and the fields with the opposite one: with these the energy would rise.

Energy law. For quadratic implicit terms alone, testing with w = v gives without projection exactly

    E(m + dt v) - E(m) = -dt (Ms a v, v)_h - (theta - 1/2) dt^2 d_i(v; v),

so that for theta >= 1/2 the energy decays for any dt. The projection lowers exchange further on
meshes without obtuse angles (Bartels, SIAM J. Numer. Anal. 43 (2005) 220). Explicit terms break the
law once dt is large: 1/dt has to exceed their largest curvature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.collective import agree
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy, check_implicit_terms, integral
from dolfinx_llg.physics.interaction import check_domain
from dolfinx_llg.physics.thermal import Thermal, split_noise
from dolfinx_llg.schemes.damping import Damping, LiveDamping
from dolfinx_llg.schemes.step import check_time_step
from dolfinx_llg.sphere import check_magnetization

__all__ = ["TangentPlaneStep", "second_order_damping", "tangent_plane"]

Array = npt.NDArray[np.float64]
Measure = Literal["nodal", "consistent"]

SECOND_ORDER_CONSTANT = 0.25
"""Local error over dt^3 m''': 1/12 of the implicit midpoint rule, and the weight's own part.

No one number is right: of the estimates by this one, true errors are 0.2 in a ringing sample, 1 in
a macrospin, and up to 4 in a wall that moves steadily (whose speed at rtol = 1e-3 is off by 1.6 %,
with 0.1 it would be by 2.9 %: ``demo_wall``)."""


def second_order_damping(damping: Array, rate: Array, dt: float) -> Array:
    r"""Return the nodal weight W that replaces the damping in the second-order scheme.

    v = m_t + (dt/2) P m_tt, whose projected update is of order 2, satisfies the equation of m_t
    with the damping ``a + dt lam/2``, lam = m.h_eff, and so

        W = a + clip(dt lam/2, -1, 1).

    W may be negative: what it takes from the dissipation, the projection to unit length and the
    implicit terms give back (near a minimum a + dt/2 times the second variation is what acts, and
    that is positive); the cross product keeps the nodal blocks regular. In print W is kept
    positive, by ``a/(1 - dt lam/(2 a))`` for lam < 0, which is exact only for dt |lam| << 2 a: at
    damping 0.1 a Walker wall of 4 nm then moves at 0.77 of its speed with steps of 0.78 ps, at 0.91
    with 0.39 ps (here at 0.99 with either, at 0.88 with 3.1 ps: dt |lam| = 1.9).

    Source: Alouges, Kritsikis, Steiner, Toussaint, Numer. Math. 128 (2014) 407; Di Fratta, Pfeiler,
    Praetorius, Ruggeri, Stiftner, IMA J. Numer. Anal. 40 (2020) 2802.

    Args:
        damping: a at the nodes.
        rate: lam at the nodes.
        dt: Time step.
    """
    return damping + np.clip(0.5 * dt * rate, -1.0, 1.0)


@dataclass
class TangentPlaneStep:
    """One step of the scheme: UFL of all that is assembled, and what happens at the nodes.

    Attributes:
        m: Magnetization; at the old level while a step is solved, at the new one after.
        dt: Time step; assign ``step.dt.value`` between steps to change it.
        theta: Weight of the new level in the implicit terms.
        second_order: Whether the damping is replaced by ``second_order_damping`` and the explicit
            terms are taken at the extrapolated ``middle``.
        projection: Whether ``accept`` projects m + dt v to unit length at the nodes.
        measure: "nodal" or "consistent", see ``tangent_plane``.
        stiffness: d_i(u; w) in (trial, test) functions of m's space; None: no implicit term.
        source: -d_e(middle; w); None: no explicit term.
        mass: Linear form (Ms, w_1): its entries are the nodal masses, as all the following.
        damped: Linear form (Ms a, w_1).
        gyro: Linear form (Ms b, w_1).
        consistent: (Ms (a u + b m x u), w) and (Ms m.u, q e_1.w), assembled in each step, for the
            consistent measure only.
        middle: Where the explicit terms are evaluated: m itself, or its extrapolation.
        v: The velocity of the last step.
        update: Called as update(middle, t) before assembly.
        refresh: Called before each step, to check a damping that the user has changed.
        energy: Energy of the run, see ``WeakStep``.
        damping: The damping, live, see ``WeakStep``.
        order: Order of the scheme in time, for the estimate of its error.
        error_constant: C of the local error C dt^(order+1) m^(order+1).
        name: Name of the scheme, for logs and error messages.
        noise: Thermal noise, which ``energy`` is without; None: none.
    """

    m: fem.Function
    dt: fem.Constant
    theta: float
    second_order: bool
    projection: bool
    measure: Measure
    stiffness: ufl.Form | None
    source: ufl.Form | None
    mass: ufl.Form
    damped: ufl.Form
    gyro: ufl.Form
    consistent: tuple[ufl.Form, ufl.Form] | None
    middle: fem.Function
    v: fem.Function
    update: Callable[[fem.Function, float], None] = field(default=lambda m, t: None)
    refresh: Callable[[], object] = field(default=lambda: None)
    energy: Energy | None = None
    damping: LiveDamping | None = None
    order: int = 1
    error_constant: float = 0.5
    name: str = "tangent_plane"
    noise: Thermal | None = None

    def field_time(self, t: float, dt: float) -> float:
        """Time at which explicit data enter the step of size dt that ends at t."""
        return t - 0.5 * dt if self.second_order else t


@checked
def tangent_plane(
    energy: Energy,
    m: fem.Function,
    *,
    dt: float,
    damping: Damping,
    theta: float | None = None,
    second_order: bool = False,
    projection: bool = True,
    measure: Measure = "nodal",
) -> TangentPlaneStep:
    r"""The theta tangent-plane scheme; see the module's docstring for the equations.

    Range of dt, in dynamics: of first order the scheme adds about :math:`\theta \Delta t |h|` to
    alpha, h the field of the implicit terms about which m turns: less than a tenth of alpha for
    :math:`\Delta t < 0.1\, \alpha/(\theta |h|)` alone. The second-order scheme is for
    :math:`\Delta t\, |m \cdot h|` below 1. A Walker wall (alpha 0.1, 4.3 nm wide, 40 mT, h = 2 nm)
    moves at these parts of its speed on the same mesh (``demo_wall``):

    ==================  =====  =====  =====  =====
    dt                  0.05   0.1    0.2    0.4
    ==================  =====  =====  =====  =====
    ps                  0.39   0.78   1.56   3.12
    second order        0.99   0.99   0.97   0.88
    theta = 1/2         0.57   0.40   0.25   0.13
    theta = 1           0.40   0.25   0.14   0.08
    ==================  =====  =====  =====  =====

    With ``Adaptive(rtol=1e-3)`` the second-order scheme moves it at 0.98, by steps of 1 ps.
    A run measures what its steps add, and warns once where it is more than 5 % of the damping.
    Explicit terms (DMI, cubic, easy planes, fields with a solve) limit any dt by 1/(their
    curvature).

    Args:
        energy: Energy; its implicit terms enter at the level theta, all others explicitly.
        m: Magnetization, P1, unit length at the nodes; advanced in place by the steps.
        dt: Time step, dimensionless.
        damping: ``Gilbert(alpha)``, or lambda of the LL form (number or DG0 function).
        theta: Weight of the new level in [0, 1]; below 1/2 the step is limited by the mesh (the
            solver warns with the limit). Default 1, in the second-order scheme 1/2 (as it must).
        second_order: The (almost) second-order variant: theta = 1/2, the damping replaced by the
            weight of ``second_order_damping``, explicit terms at m + (m - m_old)/2 and at the time
            t + dt/2. Needs projection.
        projection: Whether a step ends with m/|m| at the nodes. Without it ``abs(m)^2`` grows
            by ``dt^2 abs(v)^2`` in each step, O(dt) at a fixed time.
        measure: "nodal" lumps mass, cross product and constraint: v.m = 0 holds at every node.
            "consistent" integrates them, as the source prints it: v.m = 0 then holds only in the
            mean against P1 functions (nodal ``v.m/abs(v)`` falls with h alone), without projection
            the length of m drifts by that whatever dt, and only a direct solver applies.

    Raises:
        ValueError: If theta is outside [0, 1] (or not 1/2 in the second-order scheme), m is not of
            unit length, dt or the damping is not positive, an implicit term is not quadratic, or a
            coefficient lives on another mesh.

    Note: Collective.
    """
    theta = (0.5 if second_order else 1.0) if theta is None else float(theta)
    if not 0.0 <= theta <= 1.0:
        raise ValueError(f"theta must lie in [0, 1], got {theta}")
    if second_order and theta != 0.5:
        raise ValueError(f"the second-order scheme needs theta = 0.5, got {theta}")
    if second_order and not projection:
        raise ValueError("the second-order scheme needs projection=True: its update is m/|m|")
    if measure not in ("nodal", "consistent"):
        raise ValueError(f"measure must be 'nodal' or 'consistent', got {measure!r}")
    if second_order and measure == "consistent":
        raise ValueError("the second-order weight is nodal: use measure='nodal'")
    check_magnetization(m)
    check_time_step(float(dt))
    agree(m.function_space.mesh.comm, dt=float(dt), theta=theta)
    energy, noise = split_noise(energy)
    if noise is not None and not second_order:
        raise ValueError(
            f"tangent_plane with theta = {theta:g} does not reproduce the temperature of Thermal "
            "(theta = 1 leaves a mode of frequency omega 1/(1 + omega dt/(2 alpha)) of it; "
            "theta = 1/2 needs the weight m.h too): use second_order=True, or llg.midpoint"
        )
    check_implicit_terms(energy, m)
    live = LiveDamping(damping, energy.Ms, m)
    V = m.function_space
    u, w, dx = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.dx(domain=V.mesh)
    alpha, one = live.value, fem.Constant(V.mesh, 1.0)
    a, b = (alpha, one) if live.gilbert else (alpha / (1 + alpha**2), one / (1 + alpha**2))
    middle = fem.Function(V, name="middle") if second_order else m
    middle.x.array[:] = m.x.array
    stiffness = integral(energy.implicit_terms, lambda term: term.hessian(m, u, w), V.mesh)
    source = integral(energy.explicit_terms, lambda term: -term.gradient(middle, w), V.mesh)
    consistent = None
    if measure == "consistent":
        cross = a * ufl.inner(u, w) + b * ufl.inner(ufl.cross(m, u), w)
        consistent = (energy.Ms * cross * dx, energy.Ms * ufl.inner(m, u) * w[0] * dx)
    step = TangentPlaneStep(
        m=m,
        dt=fem.Constant(V.mesh, float(dt)),
        theta=theta,
        second_order=second_order,
        projection=projection,
        measure=measure,
        stiffness=stiffness if stiffness.integrals() else None,
        source=source if source.integrals() else None,
        mass=energy.Ms * one * w[0] * dx,
        damped=energy.Ms * a * w[0] * dx,
        gyro=energy.Ms * b * w[0] * dx,
        consistent=consistent,
        middle=middle,
        v=fem.Function(V, name="v"),
        update=energy.update,
        refresh=live.refresh,
        energy=energy,
        damping=live,
        order=2 if second_order else 1,
        error_constant=SECOND_ORDER_CONSTANT if second_order else 0.5,
        noise=noise,
    )
    for form in (step.stiffness, step.source, step.damped):
        if form is not None:
            check_domain(form, m, step.name)
    return step
