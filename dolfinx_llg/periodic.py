# SPDX-License-Identifier: LGPL-3.0-or-later
"""Periodic boundary conditions as one more Galerkin basis: opposite dofs of a box identified.

P is the 0/1 matrix that copies the value of a master dof to its images, so that a periodic problem
is P^T A P, solved by the same code as any other subspace, on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Sequence

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy.spatial import cKDTree

from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.mesh_checks import check_periodic_box

__all__ = ["periodic_basis", "periodic_prolongation"]


@checked
def periodic_basis(V: fem.FunctionSpace, directions: Sequence[int] | None = None) -> GalerkinBasis:
    """Return the subspace of functions of V that are periodic on its box.

    Args:
        V: Lagrange space on a mesh that fills an axis-parallel box; meshes of opposite faces match.
        directions: Axes (0, 1, 2) in which the box is closed to a torus; None: all of them.

    Returns:
        Basis for ``march(..., basis=...)``: P the 0/1 matrix, Psi = (P^T P)^{-1} P^T. An m that is
        not periodic is refused when a run starts.

    Raises:
        ValueError: If a direction does not exist, the mesh does not fill its box along it (a disk,
            a square that is turned), or a node has no partner on the opposite face.

    Note: Collective.
    """
    tidy(V.mesh)
    P = periodic_prolongation(V, directions)
    counts = P.createVecRight()
    ones = P.createVecLeft()
    ones.set(1.0)
    P.multTranspose(ones, counts)
    counts.reciprocal()
    Psi = P.transpose(PETSc.Mat())
    Psi.diagonalScale(L=counts)
    # Entering must not change a periodic m; 1e-8 allows for data that are periodic to round-off.
    return GalerkinBasis(P, Psi, bs=V.dofmap.bs, entry_tolerance=1e-8)


@checked
def periodic_prolongation(
    V: fem.FunctionSpace, directions: Sequence[int] | None = None
) -> PETSc.Mat:
    """Return the scalar 0/1 matrix from master dofs to all dofs of V; see ``periodic_basis``."""
    mesh = V.mesh
    comm, gdim = mesh.comm, mesh.geometry.dim
    axes = list(range(gdim)) if directions is None else sorted(set(directions))
    if not axes or any(axis not in range(gdim) for axis in axes):
        raise ValueError(f"directions must be axes 0..{gdim - 1} of the mesh, got {directions}")

    check_periodic_box(mesh, axes)
    index_map = V.dofmap.index_map
    n_owned, first = index_map.size_local, index_map.local_range[0]
    points = V.tabulate_dof_coordinates()[:n_owned]
    lower, upper = _bounding_box(comm, points)
    tol = 1e-8 * float(np.max(upper - lower))

    at_upper = np.zeros((n_owned, 3), dtype=bool)
    at_face = np.zeros(n_owned, dtype=bool)
    for axis in axes:
        at_upper[:, axis] = np.abs(points[:, axis] - upper[axis]) < tol
        at_face |= at_upper[:, axis] | (np.abs(points[:, axis] - lower[axis]) < tol)
    faces = np.flatnonzero(at_face)
    wrapped = np.where(at_upper[faces], lower, points[faces])

    # Only face dofs are gathered; images of one point form a clique of neighbours in the tree.
    everywhere = np.concatenate(comm.allgather(wrapped))
    ranks = np.concatenate(comm.allgather(np.full(len(faces), comm.rank)))
    pairs = cKDTree(everywhere).query_pairs(tol, output_type="ndarray")
    master = np.arange(len(everywhere))
    np.minimum.at(master, pairs[:, 0], pairs[:, 1])
    np.minimum.at(master, pairs[:, 1], pairs[:, 0])
    _check_partners(everywhere, master, np.concatenate(comm.allgather(at_upper[faces])))

    mine = np.flatnonzero(ranks == comm.rank)
    is_master = np.ones(n_owned, dtype=bool)
    is_master[faces] = master[mine] == mine
    n_masters = int(is_master.sum())
    offset = comm.exscan(n_masters) or 0
    number = np.full(n_owned, -1, dtype=np.int32)
    number[is_master] = offset + np.arange(n_masters, dtype=np.int32)
    number[faces] = np.concatenate(comm.allgather(number[faces]))[master[mine]]

    P = PETSc.Mat().create(comm=comm)
    P.setSizes(((n_owned, index_map.size_global), (n_masters, PETSc.DECIDE)))
    P.setType("aij")
    P.setPreallocationCOO(first + np.arange(n_owned, dtype=np.int32), number)
    P.setValuesCOO(np.ones(n_owned))
    return P


def _bounding_box(
    comm: MPI.Comm, points: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    boxes = comm.allgather(
        (points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf))
    )
    return np.min([b[0] for b in boxes], axis=0), np.max([b[1] for b in boxes], axis=0)


def _check_partners(
    points: npt.NDArray[np.float64],
    master: npt.NDArray[np.int64],
    at_upper: npt.NDArray[np.bool_],
) -> None:
    """Each point must have one image for every subset of the axes on whose faces it lies."""
    members = np.bincount(master, minlength=len(master))[master]
    # A group of 2^k points meets k upper faces in its top corner, and each face in half of them.
    faces_met = np.zeros(len(master), dtype=np.int64)
    np.maximum.at(faces_met, master, at_upper.sum(axis=1))
    lonely = np.flatnonzero((members != 2 ** faces_met[master]) | (members < 2))
    if len(lonely):
        raise ValueError(
            f"the mesh is not periodic: the face node wrapped to {points[lonely[0]].tolist()} has "
            f"{members[lonely[0]] - 1} partner(s) on the opposite faces; opposite faces of the box "
            "must carry the same nodes"
        )
