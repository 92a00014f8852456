# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Generalized rough polyharmonic splines: energy-minimising bases, global and localized.

Basis function i is (GRPS paper, (2.6), (2.7), (3.1))

.. math::
    \psi_i^\ell = \arg\min a(\psi, \psi) \quad\text{s.t.}\quad
    [\phi_j, \psi] = \delta_{ij}, \quad \operatorname{supp} \psi \subset \Omega_i^\ell,

with the boundary conditions of remark 3.1: zero on the part of the patch's boundary inside the
domain, natural on the boundary of the domain. ``a`` is any symmetric bilinear form on V_h, positive
definite on the kernel of the functionals: (V1) ``kappa grad u . grad v``, (V2) with ``+ q_u u v``.

The columns of P are the functions, Psi P = I. Each rank computes the functions whose functionals it
owns; the energy matrix is reached through PETSc's ``createSubMatrices`` alone.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from typing import Literal

from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem

from dolfinx_llg.grps.accuracy import choose_ell
from dolfinx_llg.grps.cell_shares import EnergyWatch, element_matrices, splits_by_cells
from dolfinx_llg.grps.element_correctors import ElementCorrectors
from dolfinx_llg.grps.energies import check_duality, check_energy, energy_matrix
from dolfinx_llg.grps.hierarchy import Layers
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patch_solvers import CondensedPatches, PatchSolver, SaddlePatches
from dolfinx_llg.grps.renewal import Renewal
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.periodic import periodic_basis
from dolfinx_llg.physics.interaction import check_domain

__all__ = [
    "GRPSBasis",
    "anisotropic_form",
    "exchange_form",
    "grps_basis",
]

logger = logging.getLogger(__name__)

Method = Literal["auto", "condensed", "saddle"]
Localization = Literal["patches", "constants"]
Kind = Literal["patches", "constants", "lod", "slod"]


@dataclass(frozen=True)
class GRPSBasis:
    """A scalar basis.

    Attributes:
        P: Basis functions, shape (n_h, n_H), rows distributed like V_h, columns like Psi's rows.
        measurement: Functionals, with Psi P = I (but for ``slod_basis``).
        ell: Layers of the patches; None: global.
        localization: How it was localized, see ``grps_basis``; "lod": ``lod_basis``,
            "slod": ``slod_basis``.
        estimate: Estimated relative localization error in the energy norm, where ``ell`` was chosen
            by the code (nan otherwise).
        defect: Largest entry of ``|Psi P - I|``, rows and columns scaled alike.
        layers: By which neighbours its patches grow.
        within: The subspace whose functions they are, see ``grps_basis``; None: all of V_h.
        renewed: Functions that were computed for it: all, or those that an ``update`` has touched.
        kept: What ``update`` starts from (None: nothing).
    """

    P: PETSc.Mat
    measurement: Measurement
    ell: int | None
    estimate: float = math.nan
    defect: float = math.nan
    localization: Kind = "patches"
    layers: Layers = "vertex"
    within: GalerkinBasis | None = None
    kept: Renewal | None = field(default=None, repr=False, compare=False)
    renewed: int = field(default=0, init=False)

    @property
    def Psi(self) -> PETSc.Mat:
        """Functionals, shape (n_H, n_h)."""
        return self.measurement.Psi

    def gram(self) -> PETSc.Mat | None:
        """Return Psi P where it is not the identity (``slod_basis``), else None. Collective."""
        return self.Psi.matMult(self.P) if self.localization == "slod" else None

    def update(self, energy: ufl.Form) -> GRPSBasis:
        """Return the basis of a changed energy; only patches that the change touches are solved.

        The change is found by comparing the energies of the fine cells. The basis returned equals
        a new one for the energy to round-off, and this one stays what it is. (The space of a run
        follows in place: ``CoarseBasis.update``.)

        The cost is about the share of functions that are computed anew (``renewed``), those within
        ``ell`` layers of a changed cell, plus a pass over the fine mesh: the insides of unchanged
        cells, all other patches and other functions are kept. Of the functions a defect touches
        those of its own cells and of ``ell`` layers: a share that falls with H.

        Args:
            energy: Bilinear form on the same space, with the same or other data.

        Raises:
            ValueError: If the form lives on another mesh or space, or is not symmetric, finite
                and positive; if a patch problem is singular.
            RuntimeError: If nothing was kept: of an energy given as a matrix or with integrals
                over inner facets, with ``keep=False``, or of a basis read from a file.

        Note: Collective.
        """
        if self.kept is None:
            raise RuntimeError(
                "this basis keeps nothing that it could be updated from: it was read from a file, "
                "made with keep=False or by slod_basis, or its energy was a matrix or has "
                "integrals over inner facets; make a new one"
            )
        if not isinstance(energy, ufl.Form):
            raise TypeError(f"an update takes the energy as a form, got {type(energy).__name__}")
        V = self.measurement.hierarchy.space
        if [argument.ufl_function_space() for argument in energy.arguments()] != [V, V]:
            raise ValueError(
                "an update takes a bilinear form on the scalar space of the basis's own fine mesh "
                "(measurement.hierarchy.space): for another mesh make a new basis"
            )
        if not splits_by_cells(energy):
            raise ValueError("an update splits the energy by cells: no integrals over inner facets")
        tidy(V.mesh)
        A = energy_matrix(energy, self.measurement)
        check_energy(A)
        if self.within is not None:
            A = A.PtAP(self.within.components[0])
        P, count = self.kept.update(A, element_matrices(energy, V))
        if self.within is not None:
            P = self.within.components[0].matMult(P)
        defect = check_duality(P, self.Psi) if count else self.defect
        return counted(replace(self, P=P, estimate=math.nan, defect=defect), count)

    def function(self, row: int) -> fem.Function:
        """Return basis function ``row`` as a function on V_h (collective)."""
        unit, image = self.P.createVecs()
        first, last = unit.getOwnershipRange()
        if first <= row < last:
            unit.array[row - first] = 1.0
        self.P.mult(unit, image)
        function = fem.Function(self.measurement.hierarchy.space, name=f"psi_{row}")
        function.x.array[: image.getLocalSize()] = image.array
        function.x.scatter_forward()
        return function


@checked
def exchange_form(V: fem.FunctionSpace, kappa: ufl.core.expr.Expr | float) -> ufl.Form:
    """Return the form (V1), ``int kappa inner(grad u, grad v)``.

    Args:
        V: Scalar space of the fine mesh.
        kappa: Exchange coefficient, dimensionless: a number, a scalar or a symmetric tensor.

    Raises:
        ValueError: If a coefficient lives on another mesh.
    """
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    scalar = not isinstance(kappa, ufl.core.expr.Expr) or kappa.ufl_shape == ()
    flux = kappa * ufl.grad(u) if scalar else ufl.dot(kappa, ufl.grad(u))
    form = ufl.inner(flux, ufl.grad(v)) * ufl.dx(domain=V.mesh)
    check_domain(form, fem.Function(V), "kappa")
    return form


@checked
def anisotropic_form(
    V: fem.FunctionSpace, kappa: ufl.core.expr.Expr | float, q_u: ufl.core.expr.Expr | float = 1.0
) -> ufl.Form:
    """Return the form (V2), ``int kappa inner(grad u, grad v) + q_u u v``: m across an axis.

    Args:
        V: Scalar space of the fine mesh.
        kappa: Exchange coefficient, see ``exchange_form``.
        q_u: Anisotropy, dimensionless, positive.

    Raises:
        ValueError: If a coefficient lives on another mesh.
    """
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    form: ufl.Form = exchange_form(V, kappa) + q_u * u * v * ufl.dx(domain=V.mesh)
    check_domain(form, fem.Function(V), "q_u")
    return form


@checked
def grps_basis(
    energy: ufl.Form | PETSc.Mat,
    measurement: Measurement,
    *,
    ell: int | None = None,
    accuracy: float | None = None,
    localization: Localization = "patches",
    method: Method = "auto",
    layers: Layers = "vertex",
    within: GalerkinBasis | None = None,
    keep: bool = True,
) -> GRPSBasis:
    r"""Compute the basis of an energy and a set of functionals.

    Args:
        energy: Bilinear form on ``measurement.hierarchy.space``, or its matrix.
        measurement: Functionals.
        ell: Layers of the patches, at least 0; where all patches are the whole mesh the basis is
            the global one. None: global (P is then dense), unless ``accuracy`` is given.
        accuracy: Wanted relative energy norm of :math:`\psi_i - \psi_i^\ell`: the least ``ell``
            that reaches it in a few sample patches is taken. Excludes ``ell``.
        localization: "patches": the minimisers on patches, (3.1). They add up to 1 only up to the
            localization error times 1/H, which runs without projection amplify. "constants": the
            same support, minimised such that they add up to 1 at any ell >= 1 where constants lie
            in the global space (see ``element_correctors``); take it for dynamics. It needs the
            energy as a form.
        method: For "patches": "condensed" (see ``condense``), "saddle" (a sparse saddle-point
            solve for each patch: slow, but for any depth of refinement), or "auto": condensed
            where possible.
        layers: Whether a layer of a patch are the cells that share a vertex with it ("vertex"), or
            a facet ("facet": edges in 2D; about twice as many layers for the same error).
        within: Subspace of nodes that are identified or pinned (``periodic_basis``,
            ``pinned_basis``): the functions are periodic, and vanish at pinned nodes, patches with
            the same condition. On a ``torus`` the periodic one of its axes is taken by itself.
            Runs take pinned nodes through ``coarse_basis``, which adds the lift.
        keep: Whether to keep what ``GRPSBasis.update`` starts from, some times the memory of P.

    Raises:
        ValueError: If the energy is not symmetric or of another space; if a patch has fewer free
            dofs than functionals; if a patch problem is singular. On all ranks alike.
        RuntimeError: If Psi P = I fails.

    Warns:
        UserWarning: If the diagonal of the energy spreads over more than 1e6 (high contrast).

    Note: Collective.
    """
    if ell is not None and accuracy is not None:
        raise ValueError("give ell or accuracy, not both")
    if ell is not None and (int(ell) != ell or ell < 0):
        raise ValueError(f"ell must be a whole number >= 0 or None, got {ell}")
    if accuracy is not None and not 0.0 < accuracy < 1.0:
        raise ValueError(f"accuracy must lie between 0 and 1, got {accuracy}")
    tidy(measurement.hierarchy.fine)
    A = energy_matrix(energy, measurement)
    _check_size(A, measurement)
    check_energy(A)
    within = _subspace(measurement, within)
    whole = measurement
    if within is not None:
        A = A.PtAP(within.components[0])
        measurement = measurement.inside(within.components[0])
    # Of the energy by cells: what "constants" splits, and what an update compares.
    elements = None
    if not isinstance(energy, PETSc.Mat) and splits_by_cells(energy):
        if keep or localization == "constants":
            elements = element_matrices(energy, measurement.hierarchy.space)
    if localization == "constants":
        patches: PatchSolver = ElementCorrectors(A, energy, elements, measurement, layers)
    else:
        patches = _function_patches(A, measurement, localization, method, layers)
    estimate = math.nan
    if accuracy is not None:
        ell, estimate = choose_ell(A, patches, accuracy)
    P = patches.solve(ell)
    defect = check_duality(P, measurement.Psi)
    logger.info("GRPS: %d functions, ell = %s, defect %.1e", P.getSize()[1], ell, defect)
    renewal = None
    if keep and elements is not None:
        renewal = Renewal(patches, EnergyWatch(elements, measurement.hierarchy), ell, P)
    if within is not None:
        P = within.components[0].matMult(P)
    basis = GRPSBasis(P, whole, ell, estimate, defect, localization, layers, within, renewal)
    return counted(basis, P.getSize()[1])


def counted(basis: GRPSBasis, renewed: int) -> GRPSBasis:
    """Return a basis that has just been made with the number of functions computed for it."""
    object.__setattr__(basis, "renewed", renewed)
    return basis


def _check_size(A: PETSc.Mat, measurement: Measurement) -> None:
    n_h = measurement.Psi.getSizes()[1]
    if A.getSizes() != (n_h, n_h):
        raise ValueError(f"the energy must have shape {(n_h[1], n_h[1])}, got {A.getSize()}")


def _subspace(measurement: Measurement, within: GalerkinBasis | None) -> GalerkinBasis | None:
    """Return the subspace of a basis: the one given, or that of a torus. Collective.

    Raises:
        ValueError: If it does not fit the space or the torus, on all ranks alike.
    """
    hierarchy = measurement.hierarchy
    if within is None:
        return periodic_basis(hierarchy.space, hierarchy.closed) if hierarchy.closed else None
    P = within.components[0]
    fits = P.getLocalSize()[0] == hierarchy.space.dofmap.index_map.size_local
    if not all(hierarchy.comm.allgather(fits)):
        raise ValueError("within must be a basis of m on the fine mesh of the hierarchy")
    indptr, _, entries = P.getValuesCSR()
    alone = bool(np.all(entries == 1.0) and np.all(np.diff(indptr) <= 1))
    if not all(hierarchy.comm.allgather(alone)):
        raise ValueError("within must identify or pin nodes (periodic_basis, pinned_basis)")
    periodic = P.getInfo(PETSc.Mat.InfoType.GLOBAL_SUM)["nz_used"] > P.getSize()[1]
    if periodic != bool(hierarchy.closed):
        raise ValueError(
            "a periodic subspace needs a hierarchy that is closed in the same directions "
            "(grps.torus), and the other way round"
        )
    return within


def _function_patches(
    A: PETSc.Mat,
    measurement: Measurement,
    localization: Localization,
    method: Method,
    layers: Layers,
) -> PatchSolver:
    if localization != "patches":
        raise ValueError(f"localization must be 'patches' or 'constants', got {localization!r}")
    if method == "saddle":
        return SaddlePatches(A, measurement, layers)
    if method == "condensed":
        return CondensedPatches(A, measurement, layers)
    if method != "auto":
        raise ValueError(f"method must be 'auto', 'condensed' or 'saddle', got {method!r}")
    try:
        return CondensedPatches(A, measurement, layers)
    except ValueError as reason:
        logger.info("GRPS: saddle-point patches, since %s", reason)
        return SaddlePatches(A, measurement, layers)
