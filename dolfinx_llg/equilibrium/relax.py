# SPDX-License-Identifier: LGPL-3.0-or-later
"""Relaxation: the end of ``minimise`` by damped dynamics, for those who want the path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dolfinx import fem

from dolfinx_llg.adaptivity import Adaptive
from dolfinx_llg.checks import check_number
from dolfinx_llg.collective import together
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.minimise import Equilibrium
from dolfinx_llg.equilibrium.options import Dynamics
from dolfinx_llg.equilibrium.pointwise import check_conservative
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.march import march
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.schemes.semi_implicit import gao
from dolfinx_llg.state import State

__all__ = ["relax"]


@checked
def relax(
    energy: Energy,
    m: fem.Function,
    *,
    torque: float = 1e-4,
    damping: float = 1.0,
    basis: GalerkinBasis | None = None,
    t: float = 0.0,
    dynamics: Dynamics = Dynamics(),
    watch: Callable[[State], object] | None = None,
    petsc_options: Mapping[str, Any] | None = None,
) -> Equilibrium:
    r"""Let m come to rest by damped dynamics with adaptive steps, in place.

    Solves :math:`\dot m = -m \times h - \lambda\, m \times (m \times h)` by semi-implicit steps
    whose errors are controlled, and ends where the largest nodal :math:`|m \times h|` is at most
    ``torque``. The path is that of a magnet; for the end alone ``minimise`` is faster.

    Args:
        energy: Energy; every term has one (a torque is refused: march it).
        m: Magnetization, start and result.
        torque: Largest nodal \|m x h\| of the result, in units of Ms0.
        damping: lambda > 0; large values go straighter downhill.
        basis: Subspace, as in ``march``.
        t: Time at which fields that depend on it are frozen: they are taken at the time of each
            step, which starts here.
        dynamics: Errors of the time steps, and how long to wait (``llg.Dynamics``).
        watch: Called after each step with its ``State``, for pictures and rows of the path.
        petsc_options: Options of the solver of the steps.

    Returns:
        The equilibrium; ``steps`` are time steps, ``evaluations`` those of the torque.

    Raises:
        ValueError: If a number is out of range, m no magnetization, or a term has no energy.
        ConvergenceError: If m is not at rest by then; it keeps the last state.

    Note: Collective.
    """
    check_number("torque", torque, positive=True)
    check_number("damping", damping, positive=True)
    check_number("t", t)
    rtol, t_max = dynamics.rtol, dynamics.t_max
    check_conservative(energy)
    land = Landscape(energy, m, basis, t, Options("llg_relax_"))
    try:
        point = land.enter(m)
        size = max(land.largest(point.g / land.volumes) if land.nodal else 1.0, 1e-6)
        step = gao(energy, m, dt=0.1 * rtol / size, damping=damping, projection=True)
        adaptive = Adaptive(rtol=rtol, dt_max=0.1 * t_max)
        n = 0
        if point.torque > torque:
            for state in march(
                step, t_end=t + t_max, t=t, basis=basis, adaptive=adaptive,
                petsc_options=petsc_options, progress=False,
            ):  # fmt: skip
                n = state.n
                if watch is not None:
                    with together(land.comm):
                        watch(state)
                # |dm/dt| is |m x h| times (1 + damping^2)^(1/2): look closer only near the end.
                if state.max_dmdt <= 4.0 * torque * (1.0 + damping**2) ** 0.5:
                    point = land.enter(m)
                    if point.torque <= torque:
                        break
                if n >= dynamics.max_steps:
                    break
            point = land.enter(m)
        if point.torque > torque:
            raise ConvergenceError(
                f"relax did not come to rest: the largest nodal |m x h| is {point.torque:.3g} "
                f"after {n} steps, {torque:g} were asked for; more time (t_max), more damping, "
                "smaller errors (rtol), or minimise may help",
                reason=-3,
                iterations=n,
                t=t,
            )
        return Equilibrium(
            m, energy.total(m, t), point.torque, n, land.evaluations, 0, "relax", False, energy,
            basis, t,
        )  # fmt: skip
    finally:
        land.destroy()
