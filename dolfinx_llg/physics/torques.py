# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Spin-transfer torques as interactions: Zhang-Li, Slonczewski, and that of a spin accumulation.

A torque T enters Gilbert's equation :math:`\dot m = -m \times h + \alpha\, m \times \dot m + T`
(dimensionless, T in units of gamma0 Ms0). Being normal to m it is the torque of the field
:math:`h_T = m \times T`, as :math:`-m \times (m \times T) = T`: added to h, it makes
``Gilbert(alpha)`` exact in every scheme, since solving for :math:`\dot m` gives
:math:`(1+\alpha^2)\,\dot m = -m \times (h+h_T) - \alpha\, m \times (m \times (h+h_T))`. With a
lambda of the Landau-Lifshitz form the torque that acts is :math:`T + \lambda\, m \times T`.

No torque has an energy: ``Energy.total`` and ``by_term`` leave these interactions out.

Signs: m is the direction of the magnetic moment, j the electric current density. Electrons carry
-e, so that they drift against j, and with them their moments. Published formulas that write
:math:`+\mu_B j/e` count j along the drift of the electrons, or e as negative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array, check_number
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import Coefficient
from dolfinx_llg.physics.interaction import Interaction

__all__ = ["Slonczewski", "SpinTorque", "ZhangLi", "drift_velocity"]

#: Length of m between nodes below which its direction means nothing: neighbours 120 degrees apart.
_SHORTEST = 0.5

type Scalar = float | Expr
type InTime = Callable[[float], Any]
type Vector = Any
"""Numbers, an array of numbers or a UFL vector."""


@checked
def drift_velocity(j: Vector, polarisation: Scalar, Ms: Scalar = 1.0) -> Any:
    r"""Velocity u of the Zhang-Li torque, :math:`u = -P j/M_s`; in SI -mu_B P j/(e Ms).

    Args:
        j: Electric current density in ``Units.current_unit``: numbers or a UFL vector.
        polarisation: Spin polarisation P of the current.
        Ms: Relative saturation magnetization.

    Returns:
        u in mesh units per dimensionless time, of the kind of ``j``.

    Raises:
        TypeError: If a current density or polarisation that is no UFL expression is no number.
        ValueError: If one of them is not finite.
    """
    if not isinstance(j, Expr):
        j = check_array("j", j)
        if not isinstance(polarisation, Expr):
            check_number("polarisation", polarisation)
        if isinstance(polarisation, Expr) or isinstance(Ms, Expr):
            j = ufl.as_vector(np.atleast_1d(j).tolist())
    return (-polarisation / Ms) * j


@checked
class ZhangLi(Interaction):
    r"""Torque of a current in a magnetization texture, adiabatic and non-adiabatic.

    .. math:: T = -(u \cdot \nabla) m + \xi\, m \times (u \cdot \nabla) m,
        \qquad h_T = -m \times (u \cdot \nabla) m - \xi\, (u \cdot \nabla) m

    Zhang and Li, Phys. Rev. Lett. 93, 127204 (2004), eq. (9), in the notation of Thiaville,
    Nakatani, Miltat and Suzuki, Europhys. Lett. 69, 990 (2005): u is the velocity at which the
    adiabatic term alone carries a texture along, in the direction in which the electrons drift.

    Between the nodes m/|m| is what is differentiated, and variations are those of m/|m|: the force
    on a texture, the integral of m.(d_k m x d_l m), is then its exact solid angle. With the chords
    of P1 it would lack a tenth where m turns by 40 degrees from node to node (the core of a vortex
    on cells of 5 nm).

    Args:
        u: Velocity, one component per coordinate of the mesh: numbers (or one number in 1D), a DG0
            function or UFL, or a callable ``t -> numbers``; ``transport.drift_velocity`` gives it
            for a current density, in SI ``units.velocity_from_m_per_s`` for a velocity.
        xi: Non-adiabaticity, a number, DG0 function or UFL.
        time: Scalar ``fem.Constant`` in a UFL ``u`` that this term sets to t: ``u0 * f(time)``
            with a field ``u0`` (the current of ``solve_current``) and a pulse f.
        Ms: The same relative saturation magnetization as the ``Energy``'s.

    Raises:
        ValueError: If a number is not finite; when the mesh is met, if u has another dimension.
    """

    def __init__(
        self,
        u: Vector,
        xi: Scalar | InTime,
        *,
        time: fem.Constant | None = None,
        Ms: float | fem.Function = 1.0,
    ) -> None:
        self.Ms = Ms
        self._u, self._xi = Coefficient(u, "u", None, time=time), Coefficient(xi, "xi")

    def assign(self, u: Vector) -> None:
        """Set a spatially constant velocity to new numbers, in effect at once."""
        self._u.assign(u)

    def update(self, m: fem.Function, t: float) -> None:
        """Evaluate data that depend on time at ``t``."""
        self._u.update(m, t)
        self._xi.update(m, t)

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return ``-Ms h_T.w``.

        Raises:
            ValueError: If u has another number of components than the mesh has dimensions.
        """
        u, slope = self._u(m), ufl.grad(m)
        gdim = slope.ufl_shape[1]
        if u.ufl_shape != (gdim,):
            raise ValueError(f"u must have {gdim} component(s) on this mesh, got {u.ufl_shape}")
        along = ufl.dot(slope, u)
        square = ufl.max_value(ufl.inner(m, m), _SHORTEST**2)
        across = ufl.inner(along, w) - ufl.inner(m, along) * ufl.inner(m, w) / square
        turned = ufl.inner(ufl.cross(m, along), w) / ufl.sqrt(square)
        return self.Ms / square * (turned + self._xi(m) * across)


@checked
class Slonczewski(Interaction):
    r"""Torque of a spin current from a polarizer p, damping-like and field-like.

    .. math:: T = -c\,a\, m \times (m \times p) - b\, m \times p, \qquad
        h_T = c\,a\, m \times p + b\, p,

    .. math:: a = \frac{2\, \varepsilon\, j}{M_s d}, \qquad b = \rho\, a, \qquad
        \varepsilon = \frac{P \Lambda^2}{\Lambda^2 + 1 + (\Lambda^2 - 1)\, m \cdot p},

    in SI a = hbar eps j/(mu0 e Ms d) as a field, with g = 2. Slonczewski, J. Magn. Magn. Mater.
    159, L1 (1996), with the efficiency of Xiao, Zangwill and Stiles, Phys. Rev. B 70, 172405
    (2004), symmetric form (as OOMMF writes it). A positive j drives m towards p. c is 1 unless
    ``damping_like`` says otherwise.

    A spin-orbit torque has the same form: the current j flows in a heavy metal beside the layer,
    p is the polarization of the spins that the spin Hall effect sends across the interface, and
    P/2 becomes theta_SH/2: a = hbar theta_SH j/(2 mu0 e Ms d). p is the direction of their
    moments, normal to j and to the interface; a positive a drives m towards it.
    ``spin_hall_angle=xi_DL, field_like=xi_FL/xi_DL`` takes measured efficiencies.

    Args:
        j: Current density in ``Units.current_unit``: a number, a callable ``t -> number`` (a
            pulse), or a DG0 function or UFL (zero where no torque acts), which follows the time
            through the constant ``time``. Positive where electrons flow from the polarizer into the
            layer, the electric current the other way.
        polarizer: Direction p: 3 numbers, a callable ``t -> 3 numbers`` or UFL, of any length but
            zero (normalised here); or a ``fem.Function`` of unit length, which is to stay so
            where its owner changes it. One that varies in space and time is such a function.
        thickness: Thickness d of the layer in mesh units.
        polarisation: P, in [0, 1]; one of this, ``polarization`` and ``spin_hall_angle`` is given.
        polarization: The same, as it is spelt elsewhere.
        spin_hall_angle: theta_SH, of either sign, in the place of P: a spin-orbit torque.
        asymmetry: Lambda >= 1; 1 makes the efficiency P/2 at all angles.
        damping_like: Factor of the damping-like torque (0: the field-like one alone).
        field_like: Ratio rho of the field-like torque to a, of either sign.
        time: Scalar ``fem.Constant`` in a UFL ``j`` that this term sets to t.
        Ms: The same relative saturation magnetization as the ``Energy``'s.

    Raises:
        ValueError: If a number is not finite or out of its range, p is zero, or not exactly one of
            polarisation and spin_hall_angle is given.
    """

    def __init__(
        self,
        j: Scalar | InTime,
        polarizer: Vector,
        *,
        thickness: float,
        polarisation: float | None = None,
        polarization: float | None = None,
        spin_hall_angle: float | None = None,
        asymmetry: float = 1.0,
        damping_like: float = 1.0,
        field_like: float = 0.0,
        time: fem.Constant | None = None,
        Ms: float | fem.Function = 1.0,
    ) -> None:
        check_number("thickness", thickness, positive=True)
        share = _spin_share(polarisation, polarization, spin_hall_angle)
        check_number("asymmetry", asymmetry, low=1.0)
        if spin_hall_angle is not None and asymmetry != 1.0:
            raise ValueError(
                f"asymmetry = {asymmetry} belongs to a polarizer, not to a spin_hall_angle"
            )
        check_number("damping_like", damping_like)
        check_number("field_like", field_like)
        self.Ms = Ms
        self._j = Coefficient(j, "j", time=time)
        self._p = Coefficient(polarizer, "polarizer", (3,), unit=True)
        self._scale = Coefficient(2.0 * share / thickness, "2 P/d")
        self._square = Coefficient(asymmetry**2, "Lambda^2")
        self._even = asymmetry == 1.0
        self._damping_like = Coefficient(damping_like, "damping_like")
        self._ratio = Coefficient(field_like, "field_like")

    def assign(self, j: float) -> None:
        """Set a spatially constant current density to a new number, in effect at once."""
        self._j.assign(j)

    def update(self, m: fem.Function, t: float) -> None:
        """Evaluate a current or a polarizer that depends on time at ``t``."""
        self._j.update(m, t)
        self._p.update(m, t)

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return ``-Ms h_T.w``."""
        p, square = self._p(m), self._square(m)
        share: Any = 0.5
        if not self._even:
            share = square / (square + 1 + (square - 1) * ufl.inner(m, p))
        strength = self._scale(m) * self._j(m) * share  # Ms a: Ms cancels
        turned = self._damping_like(m) * ufl.inner(ufl.cross(m, p), w)
        return -strength * (turned + self._ratio(m) * ufl.inner(p, w))


def _spin_share(
    polarisation: float | None, polarization: float | None, spin_hall_angle: float | None
) -> float:
    """Return P, or the spin Hall angle that stands in its place."""
    names = {
        "polarisation": polarisation,
        "polarization": polarization,
        "spin_hall_angle": spin_hall_angle,
    }
    given = {name: value for name, value in names.items() if value is not None}
    if len(given) != 1:
        raise ValueError(
            "Slonczewski takes one of polarisation (polarization) and spin_hall_angle, got "
            + (", ".join(given) or "none")
        )
    ((name, value),) = given.items()
    if name == "spin_hall_angle":
        return check_number(name, value)
    return check_number(name, value, low=0.0, high=1.0)


@checked
class SpinTorque(Interaction):
    r"""Torque of a given spin accumulation S on m.

    .. math:: T = -\frac{1}{M_s} (r_J\, m \times S + r_\varphi\, m \times (m \times S)), \qquad
        h_T = \frac{1}{M_s} (r_J\, S + r_\varphi\, m \times S), \qquad
        r_J = \frac{D_e}{\lambda_J^2}, \quad r_\varphi = \frac{D_e}{\lambda_\varphi^2}

    (h_T up to a part along m): the last term of (5.25) in the tangent-plane text. With
    D_e = 2 D_0 the first part is that of Zhang, Levy and Fert, Phys. Rev. Lett. 88, 236601 (2002).
    ``spin_accumulation.SpinAccumulation`` solves for S.

    Args:
        S: Spin accumulation in units of Ms0, a function or UFL vector on the mesh of m.
        exchange_rate: r_J, dimensionless: a number, DG0 function or UFL.
        dephasing_rate: r_phi likewise.

    Raises:
        ValueError: If S is no vector, or a rate is negative or not finite.
    """

    def __init__(self, S: Expr, exchange_rate: Scalar, dephasing_rate: Scalar = 0.0) -> None:
        if S.ufl_shape != (3,):
            raise ValueError(f"S must have shape (3,), got shape {S.ufl_shape}")
        self.S = S
        for name, rate in (("exchange_rate", exchange_rate), ("dephasing_rate", dephasing_rate)):
            if not isinstance(rate, Expr):
                check_number(name, rate, low=0.0)
        self._exchange = Coefficient(exchange_rate, "exchange_rate")
        self._dephasing = Coefficient(dephasing_rate, "dephasing_rate")

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return ``-Ms h_T.w``."""
        turned = self._dephasing(m) * ufl.inner(ufl.cross(m, self.S), w)
        return -self._exchange(m) * ufl.inner(self.S, w) - turned
