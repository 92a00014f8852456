# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The implicit midpoint rule at nodes: no numerical damping, the energy law exact.

With the effective field H at the nodes (lumped mass), :math:`x = (m + m')/2` and
:math:`m_t = c\,(-m \times H - \lambda\, m \times (m \times H))`, c = 1 (LL form) or
:math:`1/(1+\alpha^2)` (Gilbert's, :math:`\lambda = \alpha`),

.. math:: \frac{m' - m}{\Delta t} = -x \times h, \qquad h = c\,(H(x) + \lambda\, x \times H(x)).

- :math:`m'` is a turn of m about h (Cayley's form): lengths are kept to round-off at any tolerance.
- For a quadratic energy H is affine, and the product with H(x) gives exactly

  .. math:: E(m') - E(m) = -\Delta t \,(M_s\, c\,\lambda\, |x \times H|^2, 1)_h:

  the energy is kept without damping and decays with it, for any step.
- Order 2: the local error is :math:`\Delta t^3 m'''/12` for linear precession; the scheme turns a
  spin of frequency :math:`\omega` by :math:`2 \arctan(\omega \Delta t/2)`, too slow by
  :math:`(\omega \Delta t)^2/12`, and damps it as the equation does.

Source: d'Aquino, Serpico, Miano, J. Comput. Phys. 209 (2005) 730; Bartels, Prohl, SIAM J. Numer.
Anal. 44 (2006) 1405 (nodal product, convergence).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dolfinx import fem

from dolfinx_llg.collective import agree
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.thermal import Thermal, split_noise
from dolfinx_llg.schemes.damping import Damping, LiveDamping
from dolfinx_llg.schemes.step import check_time_step
from dolfinx_llg.sphere import check_magnetization

__all__ = ["MidpointStep", "midpoint"]

NOISE_TOLERANCE = 1e-6
"""Residual with thermal noise: far below what a step of it moves m, sqrt(2 a T dt/V)."""


@dataclass
class MidpointStep:
    """One step of the implicit midpoint rule.

    Attributes:
        m: Magnetization; at the old level while a step is solved, at the new one once accepted.
        dt: Time step; assign ``step.dt.value`` between steps to change it.
        energy: Energy of the run.
        damping: The damping, live.
        tolerance: Bound for the root mean square of the residual at the nodes; None: a tenth of
            the time error of the step.
        refresh: Called before each step, to check a damping that the user has changed.
        order: Order of the scheme in time, for the estimate of its error.
        error_constant: C of the local error C dt^(order+1) m^(order+1).
        projection: The rule keeps the length 1 of m.
        name: Name of the scheme, for logs and error messages.
        noise: Thermal noise, which ``energy`` is without; None: none.
    """

    m: fem.Function
    dt: fem.Constant
    energy: Energy
    damping: LiveDamping
    tolerance: float | None
    refresh: Callable[[], object]
    order: int = 2
    error_constant: float = 1.0 / 12.0
    projection: bool = True
    name: str = "midpoint"
    noise: Thermal | None = None


@checked
def midpoint(
    energy: Energy,
    m: fem.Function,
    *,
    dt: float,
    damping: Damping,
    tolerance: float | None = None,
) -> MidpointStep:
    r"""The implicit midpoint rule with nodal (lumped) product; see the module's docstring.

    For dynamics: order 2, no numerical damping, any step is stable. All terms that have a Hessian
    in UFL are implicit, whatever their ``implicit`` says. Fields that own a solve (``FieldTerm``,
    spin accumulation) enter at m extrapolated to the middle of the step, of order 2 too; the energy
    law then holds up to their extrapolation.

    Limits. A frequency omega is too slow by :math:`(\omega \Delta t)^2/12`, 2 % at 1/2; modes with
    :math:`\omega \Delta t \gg 1` are stable but ring, damped by alpha alone: for relaxation there
    are first-order schemes and ``minimise``. A Walker wall (alpha 0.1, 4.3 nm wide, 40 mT,
    h = 2 nm) moves at 0.994, 0.994, 0.992, 0.988 of its speed on the same mesh with dt = 0.05, 0.1,
    0.2, 0.4, or 0.39 to 3.1 ps (``demo_wall``), at 0.991 with ``Adaptive(rtol=1e-3)``. At larger
    steps Newton's method may fail: ConvergenceError, m is as it was; adaptive steps shorten the
    step by themselves. Fields that own a solve are explicit, and limit dt by 1/(their curvature).

    In a coarse basis V_H the increment m' - m is sought in V_H with the equation tested in V_H,
    then m' is normalised: the energy law has a defect there, which the stepper reports
    (``energy_defect``).

    With ``Thermal`` in the energy the thermal field is held over the step, and small motions have
    exactly the temperature at any step size (a linear equation's covariance is that of
    exp(-E/T)); in a coarse basis the motions of V_H, where H is then the part of the field that
    lies in V_H. Noise cannot be extrapolated: a step then starts from the old m, and is solved once
    more where it has explicit fields, with these at the middle that the first solve has found.

    Args:
        energy: Energy of the run.
        m: Magnetization, P1, unit length at the nodes; advanced in place by the steps.
        dt: Time step, dimensionless; resolve the precession, dt |h| below 1/2 for errors of 2 %.
        damping: lambda of the LL form (number, ``fem.Constant`` or DG0 function) or
            ``Gilbert(alpha)``; 0 is allowed.
        tolerance: Bound for the root mean square of the residual at the nodes, whose error the step
            inherits; 1e-13 keeps energies to round-off. None: a tenth of the time error of the
            step, measured by the error of its predictor; with thermal noise 1e-6.

    Raises:
        ValueError: If m is not of unit length, dt not positive, the damping negative, or the
            tolerance not positive.

    Note: Collective.
    """
    check_magnetization(m)
    check_time_step(float(dt))
    if tolerance is not None and not (math.isfinite(tolerance) and tolerance > 0.0):
        raise ValueError(f"the tolerance must be positive and finite, got {tolerance}")
    agree(m.function_space.mesh.comm, tolerance=tolerance)
    energy, noise = split_noise(energy)
    if noise is not None and tolerance is None:
        tolerance = NOISE_TOLERANCE
    live = LiveDamping(damping, energy.Ms, m, zero=True)
    constant = fem.Constant(m.function_space.mesh, float(dt))
    return MidpointStep(m, constant, energy, live, tolerance, live.refresh, noise=noise)
