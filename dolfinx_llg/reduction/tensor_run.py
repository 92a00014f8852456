# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs by tensors: what makes one of a scheme and an energy, and their energies by term."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
from dolfinx import fem

from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import (
    EnergyTerm,
    FieldTerm,
    Interaction,
    QuadraticTerm,
    mesh_id,
)
from dolfinx_llg.physics.terms import Zeeman
from dolfinx_llg.reduction.blocks import project_blocks
from dolfinx_llg.reduction.local_modes import local_modes
from dolfinx_llg.reduction.run import ReducedRun
from dolfinx_llg.reduction.samples import sampled_step, take_samples
from dolfinx_llg.reduction.system import SystemParts
from dolfinx_llg.reduction.tensor_system import Kind, TensorModel, TensorOperators
from dolfinx_llg.reduction.tensor_terms import mass_tensor, tensor_terms
from dolfinx_llg.reduction.tensors import ModeTensors
from dolfinx_llg.reduction.training import refuse_updates_that_read_m
from dolfinx_llg.schemes.damping import Damping
from dolfinx_llg.schemes.semi_implicit import CrossTerm, an, cimrak, gao, prohl
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.coarse_fields import CoarseFields
from dolfinx_llg.solvers.coarse_operators import CoarseOperators

__all__ = ["TensorRun", "tensor_reduce"]

_KINDS: dict[Any, Kind] = {gao: "gao", cimrak: "cimrak", an: "an", prohl: "prohl"}


class TensorRun(ReducedRun):
    """A run by tensors, for ``march`` (see ``ReducedRun``).

    It has no training: the run itself looks at how much damping the scheme adds, on the fine mesh,
    at its 4th, 8th, 16th, ... step, and warns once (``NumericalDampingWarning``).
    """

    def __init__(
        self,
        fine: WeakStep,
        operators: TensorOperators,
        fields: CoarseFields,
        seconds: dict[str, float],
    ) -> None:
        super().__init__(fine, operators, seconds)
        self._fields = fields

    def acting(self) -> AbstractContextManager[None]:
        """Let fields with a solve be those of their matrix in the basis."""
        return self._fields.acting()

    def tensor_bytes(self) -> int:
        """Memory of the tensors and of the matrices of a step on all ranks. Collective."""
        operators: Any = self._operators
        return int(sum(operators.comm.allgather(operators.nbytes)))

    def by_term(self, energy: Energy) -> dict[str, float]:
        """Return the energy of each term at the last iterate, from the tensors.

        Args:
            energy: The energy of the run, or another one of its terms. Units and names:
                ``Energy.by_term``; time-dependent data are as they are.

        Raises:
            ValueError: If a term is not one of the run.

        Note: Collective.
        """
        operators: Any = self._operators
        found, names = operators.energies(), energy.names()
        for name, term in names.items():
            if term not in found:
                raise ValueError(
                    f"{name} is no term of this run: its tensors know the terms of the energy "
                    "that tensor_reduce was given"
                )
        return {name: found[term] + self._at_zero(term) for name, term in names.items()}

    def total(self, energy: Energy) -> float:
        """Return the total energy at the last iterate, from the tensors.

        Args:
            energy: The energy of the run, or another one of its terms.

        Raises:
            ValueError: If a term is not one of the run.

        Note: Collective.
        """
        return float(sum(self.by_term(energy).values()))

    def _at_zero(self, term: Interaction) -> float:
        """Return the energy at m = 0, which only a user's density has."""
        package = type(term).__module__.split(".")[0] == __name__.split(".")[0]
        if package or not isinstance(term, EnergyTerm) or isinstance(term, QuadraticTerm):
            return 0.0
        return float(term.energy(fem.Function(self.fine.m.function_space)) or 0.0)


@checked
def tensor_reduce(
    scheme: Callable[..., WeakStep],
    energy: Energy,
    m: fem.Function,
    basis: GalerkinBasis,
    hierarchy: Hierarchy,
    *,
    dt: float,
    damping: Damping,
    cross_term: CrossTerm = "printed",
    projection: bool = False,
    tolerance: float = 1e-3,
) -> TensorRun:
    """Return a semi-implicit scheme by tensors: ``march(run, t_end=...)`` runs it (collective).

    The scheme runs without projection to unit length, An's too. Terms of the energy are those whose
    field is linear in m or given: exchange, anisotropies with q_u and axes as numbers or fields,
    DMI, applied fields, fields with a matrix in the basis (``StrayField``, ``InterlayerExchange``
    with j2 = 0), a user's ``QuadraticTerm``. The tensors are those of their data and the damping at
    this moment: a run refuses others. Applied fields are followed: uniform ones from their three
    numbers, others are read on the fine mesh in a step in which their data have changed.

    The tensors take 4 r^3 bytes a coarse cell with r modes, 8 r^3 for prohl, whose Newton steps
    need double precision: one for exchange (two with the full cross term), one for each other
    anisotropy that is not a multiple of the mass (six for axes by grain), two or three and as many
    again for DMI, one for Ms and one for fields with a matrix. A step adds 12 r^2 bytes for each
    tensor of the cross product, 36 r^2 at most, prohl 136 r^2 (``TensorRun.tensor_bytes``). What
    is in single precision is rounded, by 1e-7, far below the tolerance of the modes; sums are in
    double precision, so that solvers reach their tolerance.

    Args:
        scheme: ``gao``, ``cimrak``, ``an`` or ``prohl``.
        energy: Energy; its implicit terms enter at the new level.
        m: Magnetization on the fine mesh; ``run.reconstruct()`` advances it.
        basis: Basis of the coarse space.
        hierarchy: Its meshes, made by ``refine_mesh``.
        dt: Time step.
        damping: lambda of the LL form or ``Gilbert(alpha)``; see the scheme.
        cross_term: "printed" or "full", see the scheme. "full" has a tensor of exchange more, with
            the derivatives of m.
        projection: False: m/|m| leaves V_H, where tensors are exact (``hyper_reduce`` knows it).
        tolerance: Of the compression to local modes, see ``local_modes``.

    Raises:
        ValueError: If the scheme is another, or is to project; if the field of a term is not linear
            in m (torques, cubic anisotropy), follows m by a computation of its own, or lives on
            facets; if m does not live on the fine mesh.

    Warns:
        NumericalDampingWarning: By the run, if the scheme adds more than 5 % of the damping.
    """
    if scheme not in _KINDS:
        raise ValueError("tensors assemble gao, cimrak, an and prohl alone: take hyper_reduce")
    if projection:
        raise ValueError(
            "tensors run without projection: m/|m| leaves the coarse space in which they are the "
            "integrals; take hyper_reduce for a step with projection=True"
        )
    kind = _KINDS[scheme]
    if mesh_id(m.function_space.mesh) != mesh_id(hierarchy.fine):
        raise ValueError("m does not live on the fine mesh of the hierarchy")
    begin = time.perf_counter()
    options: dict[str, Any] = {"damping": damping, "cross_term": cross_term}
    step = scheme(energy, m, dt=dt, projection=False, **options)
    assert step.damping is not None
    basis.refuse_pinned("tensor_reduce")
    energy.renew(m)
    fields = CoarseFields(energy, basis, m.function_space)
    if any(_reads_more(term) for term in energy.terms):
        refuse_updates_that_read_m(step, 0.0, fields)
    modes = local_modes(hierarchy, basis.components, tolerance=tolerance)
    # Newton's residual is made of the tensors: single precision would end it at 1e-7.
    tensors = ModeTensors(modes, np.float64 if kind == "prohl" else np.float32)
    mass = mass_tensor(m, tensors)
    whole = cross_term == "full"
    terms = tensor_terms(energy, m, tensors, fields, step.damping.nodal, whole=whole)
    value = step.damping.nodal
    if isinstance(value, fem.Function):
        reaction = mass_tensor(m, tensors, value)
    else:
        reaction = mass[0], mass[1] * float(value.value)
    integrated = time.perf_counter()
    # What depends on m is neither compiled nor assembled on the fine mesh.
    constant = replace(step, varying=None, source=None, nonlinear=None)
    blocks = project_blocks(CoarseOperators(constant, basis))
    # One fine cell stands for each coarse one, for whoever looks at m during a run.
    weights = [np.eye(1, len(cell.cells))[0] for cell in modes.cells]
    samples = take_samples(modes, weights)
    sampled = sampled_step(replace(step, varying=None, source=None), samples, fields)
    operators = TensorOperators(
        SystemParts(basis, modes, samples, sampled, blocks, step),
        TensorModel(kind, tensors, terms, mass, reaction),
    )
    seconds = {"tensors": integrated - begin, "blocks": time.perf_counter() - integrated}
    return TensorRun(step, operators, fields, seconds)


def _reads_more(term: Interaction) -> bool:
    """Whether a term brings data up to date by a method of its own."""
    own = type(term).update is not Interaction.update
    return own and not isinstance(term, FieldTerm | Zeeman)
