# SPDX-License-Identifier: LGPL-3.0-or-later
"""The coarse space of magnetizations that the energy of a run asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt

from dolfinx_llg.grps.basis import (
    GRPSBasis,
    Localization,
    Method,
    grps_basis,
)
from dolfinx_llg.grps.energies import energy_matrix
from dolfinx_llg.grps.hierarchy import Hierarchy, Layers
from dolfinx_llg.grps.measurement import Measurement, facet_measurement, volume_measurement
from dolfinx_llg.grps.patch_solvers import direct_solver
from dolfinx_llg.grps.vector import CoarseBasis, same_matrix, vector_basis
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import component_forms

__all__ = ["coarse_basis"]

Functionals = Literal["volume", "facet"]


@checked
def coarse_basis(
    energy: Energy,
    hierarchy: Hierarchy,
    *,
    functionals: Functionals | Measurement = "volume",
    ell: int | None = None,
    accuracy: float | None = None,
    localization: Localization = "constants",
    method: Method = "auto",
    layers: Layers = "vertex",
    within: GalerkinBasis | None = None,
) -> CoarseBasis:
    """Return the coarse space of magnetizations that an energy asks for, for ``march``.

    Each component of m has the basis of the form that it sees (``component_forms``): of exchange
    and those anisotropies that schemes take implicitly. Components with one form share one basis.

    Args:
        energy: Energy of the run, with its data on ``hierarchy.fine``.
        hierarchy: Coarse and fine mesh (``refine_mesh``).
        functionals: Means over coarse cells ("volume"), over inner facets ("facet", more functions
            and smaller errors), or functionals of one's own.
        ell: Layers of the patches; neither this nor ``accuracy``: 3.
        accuracy: Wanted relative localization error, from which ``ell`` is chosen.
        localization: "constants" keeps the sum of the functions at 1, which dynamics without
            projection needs; "patches" is the paper's. See ``grps_basis``.
        method: Solver of the patch problems, see ``grps_basis``.
        layers: By which neighbours patches grow, see ``grps_basis``.
        within: Basis with pinned nodes (``pinned_basis``): the functions vanish there, and states
            have a lift, which has the values of the pinned nodes and least energy elsewhere. On a
            ``torus`` it is made with the periodic basis of its axes.

    Returns:
        The space. A run tells where its m changes by more than 0.02 at a node as it enters; set
        ``entry_tolerance`` to make more than that an error. The space does not follow data of the
        energy that change later: ``update`` does.

    Raises:
        ValueError: If the energy has no exchange term or lives on another mesh, or as
            ``grps_basis`` says; on all ranks alike.

    Note: Collective.
    """
    if ell is None and accuracy is None:
        ell = 3
    forms = component_forms(energy, hierarchy.space)
    if not isinstance(functionals, Measurement):
        if functionals not in ("volume", "facet"):
            raise ValueError(f"functionals must be 'volume' or 'facet', got {functionals!r}")
        make = volume_measurement if functionals == "volume" else facet_measurement
        functionals = make(hierarchy)
    bases: list[GRPSBasis] = []
    matrices: list[PETSc.Mat] = []
    for form in forms:
        A = energy_matrix(form, functionals)
        same = next((k for k, other in enumerate(matrices) if same_matrix(A, other)), None)
        if same is None:
            basis = grps_basis(
                form,
                functionals,
                ell=ell,
                accuracy=accuracy,
                localization=localization,
                method=method,
                layers=layers,
                within=within,
            )
        else:
            basis = bases[same]
        bases.append(basis)
        matrices.append(A)
    found = vector_basis(bases if any(basis is not bases[0] for basis in bases) else bases[0])
    if within is not None and within.held is not None:
        found.pin(within.held, _lift(matrices, within))
    for A in matrices:
        A.destroy()
    return found


def _lift(matrices: Sequence[PETSc.Mat], within: GalerkinBasis) -> npt.NDArray[np.float64]:
    """Return the values of the pinned nodes, extended with least energy by component. Collective.

    Then lift + V_H has all functions u with the pinned values whose image A u is a combination of
    the functionals: the space approximates there as it does without pinned nodes.
    """
    assert within.lift is not None
    P = within.components[0]
    lift = within.lift.reshape(-1, 3).copy()
    fine, image = P.createVecLeft(), P.createVecLeft()
    right, solution = P.createVecRight(), P.createVecRight()
    for component, A in enumerate(matrices):
        fine.array[:] = lift[:, component]
        A.mult(fine, image)
        image.scale(-1.0)
        P.multTranspose(image, right)
        inner = A.PtAP(P)
        krylov = direct_solver(inner)
        krylov.solve(right, solution).check("the lift of pinned values", 0.0)
        P.mult(solution, fine)
        lift[:, component] += fine.array
        for item in (krylov, inner):
            item.destroy()
    for vector in (fine, image, right, solution):
        vector.destroy()
    return lift.ravel()
