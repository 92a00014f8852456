# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Small oscillations about an equilibrium, by SLEPc.

In the tangent plane at m, with J the turn by 90 degrees about m, the Landau-Lifshitz equation
linearised at rest is :math:`M \dot\varphi = J H \varphi`, and :math:`\varphi = X e^{i \omega t}`
solves

.. math:: H X = i \omega S X, \quad S = -J M = -S^T, \qquad
          (S^T H^{-1} S)\, a = \omega^{-2} H a

for the real and the imaginary part of X alike (d'Aquino et al., J. Comput. Phys. 228 (2009) 6130):
a symmetric pencil whose largest eigenvalues are the lowest frequencies, each twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import check_array, check_integer, check_number
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.options import ModeTolerances
from dolfinx_llg.equilibrium.pencil import Pair, Pencil, definite_pencil
from dolfinx_llg.equilibrium.stability import local_field
from dolfinx_llg.equilibrium.tangent import TangentHessian, lowest_eigenvalue
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import FieldTerm, mesh_id
from dolfinx_llg.schemes.damping import Gilbert
from dolfinx_llg.typing import Array

__all__ = ["Modes", "eigenmodes"]

LARGEST_DIRECT = {1: 10**7, 2: 500_000, 3: 60_000}
"""Unknowns up to which "auto" factorizes, by dimension: fill-in grows with it."""


@dataclass(frozen=True)
class Modes:
    r"""Eigenmodes :math:`\mathrm{Re}\,((a + i b) e^{i \omega t})`, of ascending frequency.

    Attributes:
        omega: Angular frequencies in units of gamma0 Ms0, shape (k,); over 2 pi
            ``units.time_unit`` in Hz.
        widths: Rates at which the amplitudes decay per unit of damping, shape (k,): the decay is
            ``damping * widths``, the full width of the absorption line in omega twice that.
        real, imaginary: a and b as functions, normalised to a.H a = b.H b = 1: the long and the
            short half axis of the ellipses, as a mean over the magnet.
        zero: Whether the mode moves in a direction that costs no energy (a wall that shifts, a spin
            that turns about an axis), shape (k,): its frequency is 0 to the accuracy of the mesh.
        lowest: A bound for the lowest eigenvalue of the Hessian from these modes, in units of Ms0.
        solves: Solves with the Hessian.
    """

    omega: Array
    widths: Array
    real: list[fem.Function] = field(repr=False)
    imaginary: list[fem.Function] = field(repr=False)
    zero: npt.NDArray[np.bool_]
    lowest: float
    solves: int
    _moments: Array = field(repr=False)
    _size: float = field(repr=False)
    _rest: Array = field(repr=False)

    def strengths(self, direction: Sequence[float]) -> Array:
        r"""Return how strongly a uniform oscillating field drives each mode, shape (k,).

        Near resonance the volume's mean susceptibility along the direction is
        :math:`s/(\omega_0 - \omega + i \Gamma)` with this s and the decay :math:`\Gamma`.

        Args:
            direction: Direction of the field, normalised here.

        Raises:
            ValueError: If it is no direction.
        """
        axis = check_array("direction", direction, (3,))
        if not np.linalg.norm(axis) > 0.0:
            raise ValueError("direction must not be zero")
        axis = axis / np.linalg.norm(axis)
        driven = np.sum((self._moments @ axis) ** 2, axis=1)
        return np.asarray(0.5 * self.omega * driven / self._size)

    @checked
    def susceptibility(
        self,
        direction: Sequence[float],
        omega: npt.ArrayLike,
        damping: float | Gilbert,
    ) -> npt.NDArray[np.complex128]:
        r"""Return the volume's mean of Ms m along a uniform field over that field.

        For a field :math:`\mathrm{Re}\, b e^{i \omega t}` along the direction, to first order in b
        and in the damping,

        .. math:: \chi(\omega) = \sum_n \frac{s_n}{\omega_n + i \Gamma_n - \omega}
                  + \frac{s_n}{\omega_n - i \Gamma_n + \omega}, \qquad
                  \Gamma_n = \text{damping} \cdot \text{widths}_n,

        over these modes: what higher ones add is missing. The magnet absorbs the power
        :math:`-\tfrac12 \omega\, \mathrm{Im} \chi\, |b|^2` per volume.

        Args:
            direction: Direction of the field and of the response, normalised here.
            omega: Angular frequencies in units of gamma0 Ms0, of any shape.
            damping: lambda or ``Gilbert(alpha)``, a number > 0; to this order they are the same.

        Returns:
            Of the shape of ``omega``.

        Raises:
            ValueError: If the direction is zero, omega not finite, or the damping not a positive
                number.
        """
        value = damping.alpha if isinstance(damping, Gilbert) else damping
        if not isinstance(value, int | float):
            raise ValueError("damping must be one number here, not a function of space")
        check_number("damping", value, positive=True)
        w = check_array("omega", omega)[..., None]
        s, pole = self.strengths(direction), self.omega + 1j * value * self.widths
        return np.asarray(np.sum(s / (pole - w) + s / (np.conj(pole) + w), axis=-1))

    @checked
    def displace(
        self, m: fem.Function, number: int, *, phase: float = 0.0, angle: float = 0.3
    ) -> None:
        r"""Set m to the state at rest, moved along one mode: a picture of its motion.

        m becomes :math:`m_0 + c\, \mathrm{Re}((a + i b) e^{i\,\text{phase}})`, normalised at the
        nodes; phases from 0 to 2 pi are one period.

        Args:
            m: Function of the space of the modes, overwritten.
            number: Which mode, 0 the lowest.
            phase: omega t, in radians.
            angle: Largest angle in the course of the period, in radians, below pi/2: linear
                oscillations are small, those of pictures need not be.

        Raises:
            ValueError: If a number is out of range or m lives on another space.

        Note: Collective.
        """
        check_integer("number", number, 0, len(self.omega) - 1)
        check_number("phase", phase)
        check_number("angle", angle, positive=True, high=1.57)
        a, b = self.real[number], self.imaginary[number]
        if mesh_id(m.function_space.mesh) != mesh_id(a.function_space.mesh) or (
            len(m.x.array) != len(self._rest)
        ):
            raise ValueError("m must live on the mesh of these modes, a P1 vector")
        u, v = (f.x.array.reshape(-1, 3) for f in (a, b))
        # The long half axis of the ellipse that each spin draws.
        uu, vv, uv = (np.sum(x * y, axis=1) for x, y in ((u, u), (v, v), (u, v)))
        long = 0.5 * (uu + vv) + np.sqrt(0.25 * (uu - vv) ** 2 + uv**2)
        comm = a.function_space.mesh.comm
        largest = float(np.sqrt(max(comm.allgather(float(np.max(long, initial=0.0))))))
        moved = self._rest.reshape(-1, 3) + np.tan(angle) / largest * (
            np.cos(phase) * u - np.sin(phase) * v
        )
        m.x.array[:] = (moved / np.linalg.norm(moved, axis=1, keepdims=True)).ravel()


@checked
def eigenmodes(
    energy: Energy,
    m: fem.Function,
    k: int = 10,
    *,
    basis: GalerkinBasis | None = None,
    t: float = 0.0,
    solver: Literal["auto", "direct", "krylov"] = "auto",
    tolerances: ModeTolerances = ModeTolerances(),
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str = "llg_modes_",
) -> Modes:
    r"""Return the k eigenmodes of lowest frequency about a minimum of the energy.

    Args:
        energy: Energy.
        m: Magnetization at rest (``minimise``).
        k: Number of modes.
        basis: Subspace, as in ``minimise``.
        t: Time at which fields that depend on it are taken.
        solver: How the Hessian is inverted: "direct" (MUMPS), "krylov" (CG, preconditioned by the
            scalar solver of exchange and mass; fields with a solve are in the operator), or
            "auto": direct where there are no such fields and the size allows it.
        tolerances: When m counts as being at rest, and an eigenvalue as zero or as found
            (``llg.ModeTolerances``).
        petsc_options: Options of the solver with the Hessian (``ksp_rtol``, ...; ``scalar_`` of the
            preconditioner).
        petsc_options_prefix: Prefix under which the command line reaches it.

    Raises:
        ValueError: If m is not at rest or no minimum (naming torque or lowest eigenvalue), or k is
            not between 1 and the number of nodes.
        ConvergenceError: If a solve or the eigensolver fails.

    Note: Collective.
    """
    check_integer("k", k, 1)
    options = Options(petsc_options_prefix, petsc_options, tolerated=("scalar_",))
    check_number("t", t)
    land = Landscape(energy, m, basis, t, options)
    pencil: Pencil | None = None
    try:
        p = land.enter(m) if land.nodal else land.at(m)
        hessian = TangentHessian(land, p)
        if 2 * k > hessian.sizes[1]:
            raise ValueError(f"k must be at most {hessian.sizes[1] // 2} on this mesh, got {k}")
        scale = local_field(land, p)
        limit = 1e-4 * scale if tolerances.free is None else tolerances.free
        if p.torque > tolerances.torque:
            lowest = lowest_eigenvalue(hessian, accuracy=1e-2 * scale, limit=60).value
            raise ValueError(
                f"m is not a minimum: the largest nodal |m x h| is {p.torque:.3g}, at most "
                f"{tolerances.torque:g} is at rest; lowest eigenvalue of the Hessian about "
                f"{lowest:.3g}: minimise(energy, m) first"
            )
        fields = any(isinstance(term, FieldTerm) for term in energy.terms)
        if solver == "auto":
            size = LARGEST_DIRECT[m.function_space.mesh.topology.dim]
            solver = "krylov" if fields or hessian.sizes[1] > size else "direct"
        elif solver == "direct" and fields:
            raise ValueError("solver='direct' cannot hold fields that a solve gives: use 'krylov'")
        pencil = definite_pencil(hessian, scale, limit, solver, options)
        pairs = pencil.lowest_pairs(k, tolerances.accuracy)
        return _named(hessian, pairs, limit, m, pencil.solves)
    finally:
        if pencil is not None:
            pencil.destroy()
        land.destroy()


def _named(
    hessian: TangentHessian, pairs: Sequence[Pair], limit: float, m: fem.Function, solves: int
) -> Modes:
    """Return the modes of pairs of vectors: their axes, frequencies, widths and functions."""
    land = hessian.land
    dot = land.dot

    def masses_of(*vectors: Array) -> list[float]:
        return [dot(x, hessian.mass_times(x)) for x in vectors]

    rows, moments, functions = [], [], []
    for _, long, short in pairs:
        a, b = long, short
        # Of all phases that in which a has most mass, b least: the axes of the ellipse.
        cross, masses = dot(a, hessian.mass_times(b)), masses_of(a, b)
        phase = 0.5 * np.arctan2(2.0 * cross, masses[0] - masses[1])
        cos, sin = np.cos(phase), np.sin(phase)
        a, b = cos * a + sin * b, cos * b - sin * a
        energies, masses = [dot(x, hessian.times(x)) for x in (a, b)], masses_of(a, b)
        product = energies[0] * energies[1]
        omega = np.sqrt(max(product, 0.0)) / abs(dot(a, hessian.spin(b)))
        quotient = energies[0] / masses[0]
        rows.append((omega, sum(masses) * omega**2 / sum(energies), quotient))
        turns = [land.turn(hessian.p, hessian.expand(x)) for x in (a, b)]
        weighted = [land.volumes * turn for turn in turns]
        moments.append(
            [[land.dot(w[:, i : i + 1], np.ones((len(w), 1))) for i in range(3)]
             for w in weighted]
        )  # fmt: skip
        for turn in turns:
            functions.append(land.as_function(turn, "mode"))
    order = np.argsort([row[0] for row in rows], kind="stable")
    table = np.array(rows)[order]
    return Modes(
        omega=table[:, 0],
        widths=table[:, 1],
        real=[functions[2 * i] for i in order],
        imaginary=[functions[2 * i + 1] for i in order],
        zero=table[:, 2] < limit,
        lowest=float(table[:, 2].min()),
        solves=solves,
        _moments=np.array(moments)[order],
        _size=dot(land.volumes, np.ones_like(land.volumes)),
        _rest=m.x.array.copy(),
    )
