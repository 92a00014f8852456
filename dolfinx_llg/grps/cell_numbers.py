# SPDX-License-Identifier: LGPL-3.0-or-later
"""How many coarse cells a wanted accuracy asks for, measured on a small sample of the material."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from petsc4py import PETSc

import numpy as np
import ufl
from dolfinx import fem

from dolfinx_llg.checks import check_number
from dolfinx_llg.grps.basis import grps_basis
from dolfinx_llg.grps.energies import assembled
from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.grps.measurement import volume_measurement
from dolfinx_llg.grps.patch_solvers import direct_solver
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import component_forms

__all__ = ["CellNumber", "SuggestedCells", "suggest_cells"]

logger = logging.getLogger(__name__)

#: Half waves along each axis of the data of the sampled solutions.
_WAVES = (1, 2)


@dataclass(frozen=True)
class CellNumber:
    """What a coarse mesh can do.

    Args:
        cells: Its cells.
        functions: Functions of the coarse space, for each component of m.
        error: Largest relative error of best approximation in the energy norm.
        error_l2: That of these approximations in L2.
    """

    cells: int
    functions: int
    error: float
    error_l2: float


@dataclass(frozen=True)
class SuggestedCells:
    """Coarse meshes in comparison.

    Args:
        rows: What each can do, in the order in which they were given.
        choice: Number of the hierarchy with the fewest cells whose error is below the accuracy;
            None: of none it is.
    """

    rows: list[CellNumber]
    choice: int | None


@checked
def suggest_cells(
    energy: Energy,
    hierarchies: Sequence[Hierarchy],
    accuracy: float,
    *,
    ell: int = 3,
    states: Sequence[fem.Function] = (),
) -> SuggestedCells:
    r"""Measure how well coarse spaces of several coarse meshes approximate, and choose one.

    Sampled are solutions u of the material, of :math:`a(u, v) + (u, v) = (f, v)` with smooth f
    (products of cosines of up to two half waves along each axis), a the form that the first
    component of m sees (``component_forms``), or magnetizations of a short run. The best
    approximation in the energy norm of :math:`a + (\cdot, \cdot)` is the projection that it
    defines,

    .. math:: u_H = P\,(P^T A P)^{-1} P^T A u, \qquad
        \mathrm{error} = \max_u \|u - u_H\|_A / \|u\|_A .

    The space is that of ``coarse_basis``, localized such that constants are in it. It knows the
    coefficient, and so is good for u whose :math:`\nabla\cdot\kappa\nabla u` is smooth, as those of
    steps and equilibria are; a state that was not relaxed (initial data) is not. Take a small
    sample of the material, with coarse and fine cells of the sizes in question. Once the coarse
    cells resolve f the error falls like H^2; where it stops falling ``ell`` is too small.

    Args:
        energy: Energy, with its data on the fine mesh.
        hierarchies: Coarse meshes over one fine mesh, ``[match_meshes(coarse, fine), ...]``, with
            a node inside each coarse cell: 4 fine cells along its sides, or more.
        accuracy: Wanted relative error in the energy norm, above 0, at most 1.
        ell: Layers of the patches, of all the spaces.
        states: Magnetizations to be approximated in place of solutions.

    Raises:
        ValueError: If the energy has no exchange term or lives on another mesh, there is no
            hierarchy, they have several fine meshes, a coarse cell has no node inside, or an
            argument is out of range; on all ranks alike.

    Note: Collective; one factorization of the fine mesh, and a basis for each hierarchy.
    """
    check_number("accuracy", accuracy, positive=True, high=1.0)
    if not hierarchies:
        raise ValueError("there are no hierarchies to compare")
    fine = hierarchies[0].fine
    for hierarchy in hierarchies:
        if hierarchy.fine is not fine:
            raise ValueError(
                "the hierarchies have several fine meshes: take match_meshes(coarse, fine) with one"
            )
    for state in states:
        if state.function_space.mesh.ufl_domain() != fine.ufl_domain():
            raise ValueError("a state lives on another mesh than the fine one of the hierarchies")
        if state.function_space.dofmap.bs != 3:
            raise ValueError("a state must have three components, as llg.magnetization has")
    V = hierarchies[0].space
    mass = assembled(_mass(V), V)
    A = assembled(component_forms(energy, V)[0] + _mass(V), V)
    samples = _components(A, states) if states else _solutions(A, mass, V)
    rows = [_measured(energy, hierarchy, ell, A, mass, samples) for hierarchy in hierarchies]
    for item in (A, mass, *samples):
        item.destroy()
    good = [k for k, row in enumerate(rows) if row.error <= accuracy]
    return SuggestedCells(rows, min(good, key=lambda k: rows[k].cells, default=None))


def _mass(V: fem.FunctionSpace) -> ufl.Form:
    return ufl.TrialFunction(V) * ufl.TestFunction(V) * ufl.dx


def _solutions(A: PETSc.Mat, mass: PETSc.Mat, V: fem.FunctionSpace) -> list[PETSc.Vec]:
    """Solutions for products of cosines over the box around the mesh."""
    x = V.tabulate_dof_coordinates()[: V.dofmap.index_map.size_local]
    ends = V.mesh.comm.allgather((x.min(0, initial=np.inf), x.max(0, initial=-np.inf)))
    low = np.min([end[0] for end in ends], axis=0)
    size = np.max([end[1] for end in ends], axis=0) - low
    along = np.flatnonzero(size > 0)
    y = (x[:, along] - low[along]) / size[along]
    data, right = A.createVecRight(), A.createVecLeft()
    krylov, found = direct_solver(A), []
    for numbers in itertools.product((0, *_WAVES), repeat=len(along)):
        if any(numbers):
            data.array[:] = np.prod(np.cos(np.pi * y * numbers), axis=1)
            mass.mult(data, right)
            found.append(A.createVecRight())
            krylov.solve(right, found[-1]).check("a sample of the material", 0.0)
    for item in (krylov, data, right):
        item.destroy()
    return found


def _components(A: PETSc.Mat, states: Sequence[fem.Function]) -> list[PETSc.Vec]:
    """The components of magnetizations that are not zero."""
    found = []
    for state in states:
        table = state.x.array.reshape(-1, 3)
        for values in table.T:
            vector = A.createVecRight()
            vector.array[:] = values[: vector.getLocalSize()]
            if vector.norm() > 0.0:
                found.append(vector)
            else:
                vector.destroy()
    return found


def _measured(
    energy: Energy,
    hierarchy: Hierarchy,
    ell: int,
    A: PETSc.Mat,
    mass: PETSc.Mat,
    samples: list[PETSc.Vec],
) -> CellNumber:
    """Project the samples onto the coarse space of one hierarchy. Collective."""
    form = component_forms(energy, hierarchy.space)[0]
    # Functions of patches alone add up to 1 only up to an error that grows like 1/H at a fixed ell.
    P = grps_basis(
        form, volume_measurement(hierarchy), ell=ell, localization="constants", keep=False
    ).P
    inner = A.PtAP(P)
    krylov = direct_solver(inner)
    right, solution = P.createVecRight(), P.createVecRight()
    image, difference = P.createVecLeft(), P.createVecLeft()
    errors: list[tuple[float, float]] = []
    for u in samples:
        A.mult(u, image)
        P.multTranspose(image, right)
        krylov.solve(right, solution).check("a best approximation", 0.0)
        P.mult(solution, difference)
        difference.aypx(-1.0, u)
        errors.append((_ratio(A, difference, u, image), _ratio(mass, difference, u, image)))
    found = CellNumber(hierarchy.data.num_cells, P.getSize()[1], *np.max(errors, axis=0).tolist())
    logger.info("GRPS: %d cells, error %.2e (L2 %.2e)", found.cells, found.error, found.error_l2)
    for item in (krylov, inner, right, solution, image, difference):
        item.destroy()
    return found


def _ratio(matrix: PETSc.Mat, part: PETSc.Vec, whole: PETSc.Vec, work: PETSc.Vec) -> float:
    """Quotient of two norms that a matrix defines."""
    norms = []
    for vector in (part, whole):
        matrix.mult(vector, work)
        norms.append(max(vector.dot(work), 0.0))
    return float(np.sqrt(norms[0] / norms[1]))
