# SPDX-License-Identifier: LGPL-3.0-or-later
"""LocalValues: the fine m of replicated coefficients, on each rank by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.matrices import component_groups, rows_of, scipy_rows

__all__ = ["LocalValues"]

FloatArray = npt.NDArray[np.float64]


class LocalValues:
    """Values at the nodes of a rank, ghosts included, of coefficients that every rank has.

    Calls need no other rank, so that a run can be left by one of them alone (by an error in the
    user's loop). They are for such ends: each copies the rows of P.

    Args:
        basis: The coarse space, without a lift.
        V: Space of m on the fine mesh.

    Note: Collective.
    """

    def __init__(self, basis: GalerkinBasis, V: fem.FunctionSpace) -> None:
        ghosts = V.dofmap.index_map.ghosts.astype(np.int32)
        self._parts = [
            (part, rows_of(part, ghosts), members)
            for part, members in component_groups(basis.components)
        ]

    def __call__(self, c: FloatArray) -> FloatArray:
        """Return P c of coefficients of shape (n_H, 3), flat."""
        found = [
            (members, np.concatenate([scipy_rows(part) @ c[:, members], ghosts @ c[:, members]]))
            for part, ghosts, members in self._parts
        ]
        out = np.empty((len(found[0][1]), c.shape[1]))
        for members, values in found:
            out[:, members] = values
        return out.ravel()
