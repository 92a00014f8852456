# SPDX-License-Identifier: LGPL-3.0-or-later
"""From the energy of a composite to that of its limit: ``homogenize``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from dolfinx_llg.homogenization.cell_data import mean_over, on_cell
from dolfinx_llg.homogenization.homogenize import CellProblem, CellSolution
from dolfinx_llg.homogenization.magnetostatics import (
    Fluctuation,
    fluctuation_tensor,
    homogenized_damping,
)
from dolfinx_llg.homogenization.options import CellOptions
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.dmi import BulkDMI, InterfacialDMI
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import exchange_coefficient, exchange_terms
from dolfinx_llg.physics.interaction import Interaction
from dolfinx_llg.physics.tensor_term import LocalStrayField, TensorAnisotropy
from dolfinx_llg.physics.terms import CubicAnisotropy, Exchange, UniaxialAnisotropy, Zeeman
from dolfinx_llg.schemes.damping import Damping
from dolfinx_llg.stray_field import StrayField

__all__ = ["HomogenizedEnergy", "homogenize"]

Array = npt.NDArray[np.float64]
type Coefficient = Callable[[Any], Any]


class HomogenizedEnergy(Energy):
    """The energy of a composite in the limit of small periods, for a mesh that need not know them.

    Attributes:
        cell: Exchange tensor and correctors; ``kappa_hom``, ``chi``, ``lower`` and ``period`` of it
            are at hand here too.
        fluctuation: Stray field of the fluctuation of Ms; None: the energy has no stray field.
        damping: Damping of the limit (None: none was given), see ``homogenized_damping``.
        time_factor: The composite at t is the limit at ``time_factor`` t; 1 but for a lambda that
            varies.
    """

    def __init__(
        self,
        terms: list[Interaction],
        Ms: float,
        cell: CellSolution,
        fluctuation: Fluctuation | None,
        damping: tuple[Damping | None, float],
    ) -> None:
        super().__init__(terms, Ms=Ms)
        self.cell, self.fluctuation = cell, fluctuation
        self.damping, self.time_factor = damping

    @property
    def kappa_hom(self) -> Array:
        """Homogenized exchange tensor, shape (d, d)."""
        return self.cell.kappa_hom

    @property
    def chi(self) -> tuple[fem.Function, ...]:
        """Cell solutions of the exchange."""
        return self.cell.chi

    @property
    def lower(self) -> Array:
        """Lower corner of the cell."""
        return self.cell.lower

    @property
    def period(self) -> Array:
        """Edges of the cell."""
        return self.cell.period


@checked
def homogenize(
    kappa: Energy | Coefficient | Expr | npt.ArrayLike,
    cell: mesh.Mesh,
    *,
    macro: mesh.Mesh | None = None,
    damping: Damping | None = None,
    exact_trace: bool = True,
    **options: Unpack[CellOptions],
) -> Any:
    r"""Homogenize an exchange coefficient, or the energy of a run with all its terms.

    Of an energy: the exchange tensor of the cell problem, <Ms>, means of anisotropies
    (:math:`\langle q_u (I - u \otimes u) \rangle`, a ``TensorAnisotropy`` where they vary), the
    applied field on <Ms>, and for a stray field that of <Ms> with the energy
    :math:`\frac12 m \cdot D m` of the fluctuation (``LocalStrayField``); derivation, and when it
    holds, in ``homogenization.magnetostatics``. Terms that it does not know, and DMI of constant
    strength, are taken over as they are.

    Args:
        kappa: Coefficient (see ``CellProblem``), or an ``Energy`` whose data (kappa, Ms, q_u, axes)
            are numbers, formulas, data on the cell, or DG0 functions on the mesh of the run, which
            are taken to the cell and must be periodic there.
        cell: Mesh of one period, an axis-parallel box, in the coordinates of the run.
        macro: Mesh of the magnet that the limit is to run on: given, the result has its
            ``StrayField``. An energy with a stray field needs it.
        damping: Damping of the run, to be homogenized too.
        exact_trace: See ``fluctuation_tensor``.
        options: Keyword arguments of ``CellProblem``: ``degree``, ``quadrature_degree``,
            ``petsc_options``, ``petsc_options_prefix``.

    Returns:
        A ``CellSolution`` of a coefficient, a ``HomogenizedEnergy`` of an ``Energy``. A run with
        the exchange tensor alone takes ``llg.with_exchange(energy, found.kappa_hom)``.

    Raises:
        ValueError: If a coefficient is not periodic, or not symmetric and positive definite, at all
            sampling points; if Ms is not positive; if data belong to neither mesh; if a DMI varies;
            if the mesh is no periodic box. On all ranks alike.
        ConvergenceError: If a solver fails.

    Note: Collective.
    """
    if not isinstance(kappa, Energy):
        if macro is not None or damping is not None:
            raise ValueError("macro and damping belong to an Energy, got a coefficient alone")
        return _solve(kappa, cell, options)
    energy = kappa
    replaced = exchange_terms(energy)
    stray = [term for term in energy.terms if isinstance(term, StrayField)]
    if stray and macro is None:
        raise ValueError(
            "the energy has a stray field: pass the mesh of the magnet that the limit is to run on "
            "as macro=, for the stray field of <Ms>"
        )
    solution = _solve(_exchange(energy, cell), cell, options)
    magnetic = None
    if macro is not None:
        magnetic = fluctuation_tensor(energy.Ms, cell, exact_trace=exact_trace, **options)
    mean_ms = _mean_ms(energy, cell)
    terms: list[Interaction] = [Exchange(solution.kappa_hom)]
    for term in energy.terms:
        if term not in replaced and term not in stray:
            terms.append(_mean_term(term, cell, mean_ms))
    if magnetic is not None and macro is not None:
        if magnetic.variance > 0.0:
            terms.append(LocalStrayField(magnetic.tensor))
        made = stray[0].options() if stray else {}
        terms.append(StrayField(macro, mean_ms, **made))
    found: tuple[Damping | None, float] = (None, 1.0)
    if damping is not None:
        found = homogenized_damping(damping, energy.Ms, cell)
    return HomogenizedEnergy(terms, mean_ms, solution, magnetic, found)


def _solve(kappa: Any, cell: mesh.Mesh, options: CellOptions) -> CellSolution:
    problem = CellProblem(kappa, cell, **options)
    try:
        return problem.solve()
    finally:
        problem.destroy()


def _exchange(energy: Energy, cell: mesh.Mesh) -> Any:
    """Return the exchange coefficient on the cell, data of the run's mesh included."""
    terms = exchange_terms(energy)
    given = [getattr(term, "coefficient", None) for term in terms]
    if not any(isinstance(value, fem.Function) for value in given):
        return energy
    parts = []
    for term, value in zip(terms, given, strict=True):
        if isinstance(value, fem.Function):
            try:
                parts.append(on_cell("kappa", value, cell))
            except ValueError as error:
                raise ValueError(
                    f"the exchange coefficient is data of another mesh, and: {error}"
                ) from error
        else:
            parts.append(exchange_coefficient(Energy([term]), cell))
    if len(parts) == 1:
        return parts[0]
    identity = ufl.Identity(cell.geometry.dim)
    if any(callable(part) and not isinstance(part, Expr) for part in parts):
        y = ufl.SpatialCoordinate(cell)
        parts = [p if isinstance(p, Expr) else p(y) for p in parts]
    return sum((p if p.ufl_shape else p * identity for p in parts[1:]),
               parts[0] if parts[0].ufl_shape else parts[0] * identity)  # fmt: skip


def _mean_ms(energy: Energy, cell: mesh.Mesh) -> float:
    data = on_cell("Ms", energy.Ms, cell)
    low = float(np.min(data.x.array, initial=np.inf)) if isinstance(data, fem.Function) else data
    low = min(cell.comm.allgather(float(low)))
    if not (np.isfinite(low) and low > 0.0):
        raise ValueError(f"Ms must be positive and finite, the least value on the cell is {low}")
    return float(mean_over(cell, data))


def _mean_term(term: Interaction, cell: mesh.Mesh, mean_ms: float) -> Interaction:
    """Return a term of the limit."""
    if isinstance(term, UniaxialAnisotropy):
        return _mean_uniaxial(term, cell)
    if isinstance(term, CubicAnisotropy):
        q_c = on_cell("q_c", term.q_c, cell)
        return CubicAnisotropy(float(mean_over(cell, q_c)), term.axes)
    if isinstance(term, Zeeman):
        return term.with_ms(mean_ms)
    if isinstance(term, BulkDMI | InterfacialDMI) and isinstance(term.D, Expr):
        if not isinstance(term.D, fem.Constant):
            raise ValueError(
                f"{type(term).__name__} of a strength that varies has a limit with a cell problem "
                "of its own, which is not here: its strength must be a number"
            )
        return term
    return term


def _mean_uniaxial(term: UniaxialAnisotropy, cell: mesh.Mesh) -> Interaction:
    q_u, axis = on_cell("q_u", term.q_u, cell), on_cell("easy_axis", term.easy_axis, cell)
    if not isinstance(axis, Expr):
        if not isinstance(q_u, Expr):
            return term
        q_mean = float(mean_over(cell, q_u))
        return UniaxialAnisotropy(axis, q_mean, implicit=term.implicit)
    q = q_u if isinstance(q_u, Expr) else fem.Constant(cell, float(q_u))
    direction = axis / ufl.sqrt(ufl.dot(axis, axis))
    matrix = mean_over(cell, q * (ufl.Identity(3) - ufl.outer(direction, direction)))
    return TensorAnisotropy(matrix, implicit=term.implicit)
