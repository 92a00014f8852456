# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Thermal noise as an interaction: a random field at every node, white in time.

At the nodes, with the masses :math:`V_i = \int M_s \varphi_i` and :math:`h_i = -V_i^{-1}
\partial E/\partial m_i`, the stochastic equation (Stratonovich) is

.. math:: \dot m_i = -c\,\big(m_i \times (h_i + \nu_i)
          + \lambda\, m_i \times (m_i \times (h_i + \nu_i))\big),
          \qquad \langle \nu_i^k(t)\, \nu_j^l(s) \rangle = 2 D_i\, \delta_{ij} \delta_{kl}\,
          \delta(t - s),

with c = 1 (LL form, damping lambda) or :math:`1/(1+\alpha^2)` (Gilbert's, lambda = alpha). In the
tangent plane, where :math:`m \times` is i, the noise acts as :math:`c\,(\lambda - i)\,\nu`: it is
isotropic, with the diffusion constant :math:`c^2 (1 + \lambda^2) D_i`, while the damping drifts
m_i downhill with the mobility :math:`c\, \lambda/V_i` (of :math:`-\partial E/\partial m_i`). The
density exp(-E/T) is stationary for the Fokker-Planck equation on the product of spheres if and only
if diffusion is T times mobility (fluctuation-dissipation theorem; precession leaves it alone):

.. math:: D_i = \frac{a\, T}{V_i}, \qquad
          a = \frac{\lambda}{c\,(1 + \lambda^2)} =
          \begin{cases} \alpha & \text{(Gilbert)}\\ \lambda/(1+\lambda^2) & \text{(LL)}
          \end{cases}

A step of size dt has one field per node, held over the step, of the variance :math:`2 D_i/\Delta t`
in each component. In SI that is
:math:`2 \alpha k_B T/(\gamma_0\, \Delta t \int \mu_0 M_s \varphi_i)`. Source: Brown, Phys. Rev.
130 (1963) 1677; Garcia-Palacios, Lazaro, Phys. Rev. B 58 (1998) 14937 (Stratonovich, Heun).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_integer
from dolfinx_llg.collective import raise_together
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import Coefficient
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import Interaction

__all__ = ["Thermal", "split_noise"]

MAX_SEED = 2**64 - 1


@checked
class Thermal(Interaction):
    r"""Thermal noise; see the module's docstring for the equation and the variance of the field.

    A term of the ``Energy`` like any other, though it has no energy of its own (``Energy.total``
    leaves it out)::

        energy = llg.Energy([exchange, anisotropy, llg.Thermal(units.temperature_from_K(300.0))])
        step = llg.heun(energy, m, damping=llg.Gilbert(0.1), dt=0.05)

    Schemes for which it is right: ``heun`` (below its stability limit), ``midpoint``, and
    ``tangent_plane(second_order=True)``. All others refuse it: backward Euler, for one, would
    leave a mode of frequency omega 1/(1 + omega dt/(2 alpha)) of its temperature. The time steps
    are fixed ones.

    In a coarse basis (``march(..., basis=)``; ``midpoint``, second-order tangent plane) the noise
    of the nodes is tested in V_H, where its covariance is 2 T times the dissipation of V_H: small
    motions of the coarse functions have k_B T/2 each for any step, about a uniform state exactly,
    where m turns up to the error of the space (see ``solvers/subspace_field.py``). What it means:

    - Only motions that V_H has are warm, two for each coarse function; those within coarse cells
      are frozen. <m> at a temperature is therefore larger than on the fine mesh, as there it is
      larger than in the material. Ms(T), A(T) and K(T) of the motions that are left out are for
      the user to put in.
    - m stays a field of the nodes, of unit length, whose increments are those of V_H: turns outside
      V_H enter at third order of the fluctuations, and stay small beside them.

    The numbers are counter-based (Philox): those of a node in a step follow from the seed, the
    node's number in the mesh as it was given (``mesh.geometry.input_global_indices``, which
    ``refine_mesh`` hands on to finer meshes) and the number of the step. They are the same bits on
    any number of ranks, and after a restart from a checkpoint. A new step (``llg.heun(...)``)
    begins with step 0; a kept one goes on counting.

    Args:
        temperature: k_B T over the unit of energy, at least 0 (``Units.temperature_from_K``): a
            number, a callable ``t -> number`` (a heat pulse), a ``fem.Constant``, or a DG0 function
            or UFL that differs by region (``from_cell_tags`` makes one), of which each node takes
            the average weighted by Ms. Values that are changed in the loop are taken up.
        seed: Key of the numbers, in [0, 2^64); runs with different seeds are independent.

    Raises:
        ValueError: If the temperature is negative or not finite, or the seed out of range.
        TypeError: If they are of another kind.
    """

    def __init__(self, temperature: Any, *, seed: int = 0) -> None:
        self.seed = check_integer("seed", seed, 0, MAX_SEED)
        self.temperature = Coefficient(temperature, "temperature", ())
        value = self.temperature.value
        if isinstance(value, fem.Function):
            check_not_negative(value)
        elif isinstance(value, fem.Constant):
            self.check(float(value.value))
        elif isinstance(value, np.ndarray) and not np.isnan(value):
            self.check(float(value))

    @staticmethod
    def check(value: float) -> None:
        """Raise ValueError unless a temperature is at least 0 and finite."""
        if not (np.isfinite(value) and value >= 0.0):
            raise ValueError(f"temperature must be at least 0 and finite, got {value:g}")

    def update(self, m: fem.Function, t: float) -> None:
        """Evaluate a temperature that depends on time at ``t``."""
        self.temperature.update(m, t)

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Refuse: a scheme that takes noise as any other field would have a wrong temperature."""
        raise ValueError(
            "Thermal: this scheme does not reproduce the temperature (theta = 1 leaves a mode of "
            "frequency omega 1/(1 + omega dt/(2 alpha)) of it); use llg.heun, llg.midpoint or "
            "llg.tangent_plane(second_order=True), or leave the term out"
        )


def check_not_negative(field: fem.Function) -> None:
    """Raise ValueError on all ranks alike if a temperature is negative somewhere. Collective."""
    values = field.x.array
    worst = values[~(values >= 0.0) | ~np.isfinite(values)]
    raise_together(
        field.function_space.mesh.comm,
        f"temperature must be at least 0 and finite everywhere, got {worst[0]:g} in a cell"
        if len(worst)
        else None,
    )


def split_noise(energy: Energy) -> tuple[Energy, Thermal | None]:
    """Return an energy without its thermal noise, and the noise (None: it has none).

    Raises:
        ValueError: If there are two, or nothing else.
    """
    noises = [term for term in energy.terms if isinstance(term, Thermal)]
    if not noises:
        return energy, None
    if len(noises) > 1:
        raise ValueError(f"an Energy takes one Thermal, got {len(noises)}: add the temperatures")
    rest = tuple(term for term in energy.terms if term is not noises[0])
    if not rest:
        raise ValueError("an Energy with Thermal needs another interaction beside it, got none")
    quiet = copy.copy(energy)
    quiet.terms, quiet._densities = rest, None
    return quiet, noises[0]
