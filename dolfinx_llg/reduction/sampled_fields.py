# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Fields with a solve of their own in a reduced step: by their matrix in V_H, never by a solve.

The load of a magnetization, :math:`P^T W m` (``solvers.coarse_fields``), is :math:`M_H c` of the
iterate x = P c, exact, and of m - x, which the projection to unit length adds, the sum over the
samples. The field goes back to the samples through the modes of the coarse cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.la import InsertMode

from dolfinx_llg.jit import compile_form
from dolfinx_llg.physics.interaction import VERTICES
from dolfinx_llg.reduction.samples import Samples
from dolfinx_llg.reduction.system import CoarseSystem
from dolfinx_llg.solvers.coarse_fields import CoarseField, CoarseFields

__all__ = ["SampledFields"]

FloatArray = npt.NDArray[np.float64]


class SampledFields:
    """The fields of a reduced step.

    Args:
        fields: The fields in the coarse space.
        samples: The samples on which the forms of the step live.
    """

    def __init__(self, fields: CoarseFields, samples: Samples) -> None:
        self._parts: list[tuple[CoarseField, fem.Function | None, FloatArray]] = []
        for term, field in fields.pairs().items():
            copy = None if term.h is None else samples.copy_of(term.h)
            self._parts.append((field, copy, _weights(field, samples)))
        self.loads: list[FloatArray] = []

    def update(self, system: CoarseSystem, outside: FloatArray) -> None:
        """Set the fields on the samples to those of the last iterate.

        Args:
            system: The reduced step.
            outside: m - x at the nodes of the samples that this rank owns, shape (nodes, 3).

        Note: Collective.
        """
        self.loads = []
        for field, copy, weights in self._parts:
            load = field.load(system.c)
            if system.step.projection:
                load = load + system.total(system.restrict(weights * outside))
            self.loads.append(load)
            if copy is not None:
                values = system.prolong(field.respond(load))
                copy.x.array[: values.size] = values.ravel()
                copy.x.scatter_forward()

    def energies(self) -> dict[Any, float]:
        """Return the energy of each term at the last iterate, by the term on the fine mesh."""
        pairs = zip(self._parts, self.loads, strict=False)
        return {field.term: field.energy_of(load) for (field, *_), load in pairs}


def _weights(field: CoarseField, samples: Samples) -> FloatArray:
    """Return the lumped mass that the samples give each of their nodes, shape (nodes, 1)."""
    w = ufl.TestFunction(samples.space)
    ones = ufl.as_vector([1.0] * 3)
    Ms: Any = samples.restrict(field.Ms) if isinstance(field.Ms, fem.Function) else field.Ms
    measure = ufl.dx(domain=samples.mesh, metadata=VERTICES)
    vector = fem.assemble_vector(compile_form(samples.weight * Ms * ufl.inner(ones, w) * measure))
    vector.scatter_reverse(InsertMode.add)
    owned = samples.space.dofmap.index_map.size_local
    return np.array(vector.array[: 3 * owned].reshape(-1, 3)[:, :1])
