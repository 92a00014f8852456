# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Dirichlet values of m: nodes at which the magnetization is held, as one more Galerkin basis.

With m = m_D on a part :math:`\Gamma_D` of the boundary, or at any other nodes, increments and test
functions vanish there: they are those of the free nodes. P is the 0/1 matrix that puts the values
of the free nodes in their places, and states lie in ``lift + span P``, the lift having m_D at the
pinned nodes. So whatever takes a ``basis`` takes pinned nodes: all schemes and minimisers, modes
and barriers; periodic boxes and coarse spaces are combined with them (``basis``,
``grps.coarse_basis(within=)``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from petsc4py import PETSc

import dolfinx
import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import check_integer
from dolfinx_llg.collective import raise_together, together, total
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.la.matrices import index_set
from dolfinx_llg.sphere import check_magnetization

__all__ = ["pinned_basis"]

type Mask = npt.NDArray[np.bool_]


@checked
def pinned_basis(
    m: fem.Function,
    where: fem.DirichletBC | dolfinx.mesh.MeshTags | Callable[[Any], object],
    tags: int | Sequence[int] | None = None,
    *,
    basis: GalerkinBasis | None = None,
) -> GalerkinBasis:
    r"""Return the subspace in which m is held where it is pinned: v = 0 there, m = m_D.

    Args:
        m: Magnetization of the run. Its values at the pinned nodes are m_D; those of a
            ``fem.dirichletbc`` are written to it.
        where: What is pinned: a ``fem.dirichletbc`` of the space of m; tags of facets (or of
            entities of another dimension), with ``tags``; or a function of points, shape (3, n),
            that says for which of the nodes, shape (n,).
        tags: Tag of the entities that are pinned, or several.
        basis: Periodic basis of the same space, where the box is periodic too: a node is then
            pinned with all its images.

    Returns:
        Basis for ``march(..., basis=...)``, ``minimise``, ``relax`` and all that takes one.

    Raises:
        ValueError: If nothing or everything is pinned, the condition is of another space or of
            some components only, m is not of unit length or differs between images of a pinned
            node, or ``basis`` does more than identify nodes; on all ranks alike.

    Note: Collective.
    """
    V = m.function_space
    tidy(V.mesh)
    owned = int(V.dofmap.index_map.size_local)
    with together(V.mesh.comm):
        mask = _mask(m, where, tags)[:owned]
    check_magnetization(m)
    identified = None
    if basis is not None:
        basis.check_space(V)
        identified, mask = _with_images(basis, mask, V)
    count, everything = (int(n) for n in total(V.mesh.comm, [int(mask.sum()), owned]))
    if count == 0:
        raise ValueError("no node is pinned: where names none of this mesh")
    if count == everything:
        raise ValueError("all nodes are pinned: nothing is left to compute")
    P, Psi = _matrices(V, mask, basis, identified)
    values = np.array(m.x.array[: 3 * owned])
    held = np.repeat(mask, 3)
    pinned = GalerkinBasis(
        P,
        Psi,
        bs=V.dofmap.bs,
        # As for a periodic basis: data that fit but for round-off.
        entry_tolerance=1e-8,
        held=held,
        lift=np.where(held, values, 0.0),
    )
    if basis is not None:
        entered = basis.enter(values)[1]
        worst = float(np.max(np.abs(entered - values)[held], initial=0.0))
        differ = max(V.mesh.comm.allgather(worst)) > 1e-8
        raise_together(
            V.mesh.comm,
            "m differs between the images of a pinned node of the periodic box" if differ else None,
        )
    return pinned


def _mask(m: fem.Function, where: Any, tags: int | Sequence[int] | None) -> Mask:
    """Return which local nodes are pinned, ghosts included; values of a condition go to m."""
    V = m.function_space
    index_map = V.dofmap.index_map
    mask = np.zeros(index_map.size_local + index_map.num_ghosts, dtype=bool)
    if isinstance(where, fem.DirichletBC):
        if tags is not None:
            raise ValueError("tags belong to MeshTags: a dirichletbc has its own places")
        if where.function_space != V._cpp_object:
            raise ValueError("the dirichletbc must be of the space of m, all its components")
        dofs, _ = where.dof_indices()
        counts = np.bincount(np.asarray(dofs) // 3, minlength=len(mask))
        if np.any((counts != 0) & (counts != 3)):
            raise ValueError(
                "the dirichletbc must pin all three components of a node, not some of them"
            )
        mask[counts > 0] = True
        where.set(m.x.array)
    elif isinstance(where, dolfinx.mesh.MeshTags):
        if tags is None:
            raise ValueError("tags says which of the MeshTags are pinned, got None")
        several = list(tags) if isinstance(tags, Sequence | np.ndarray) else [tags]
        wanted = [check_integer("tags", tag, -(2**31), 2**31 - 1) for tag in several]
        entities = np.unique(np.concatenate([where.find(tag) for tag in wanted]))
        V.mesh.topology.create_connectivity(where.dim, V.mesh.topology.dim)
        mask[fem.locate_dofs_topological(V, where.dim, entities.astype(np.int32))] = True
    else:
        if tags is not None:
            raise ValueError("tags belong to MeshTags, got a function of points")
        points = V.tabulate_dof_coordinates()[: len(mask)].T
        found = np.asarray(where(points))
        if found.shape != (len(mask),) or found.dtype.kind not in "bi":
            raise ValueError(
                f"where must return a truth value for each of {len(mask)} points of shape (3, n), "
                f"got shape {found.shape} of type {found.dtype}"
            )
        mask[found.astype(bool)] = True
    return mask


def _with_images(basis: GalerkinBasis, mask: Mask, V: fem.FunctionSpace) -> tuple[Mask, Mask]:
    """Return which masters are pinned, and which nodes with all their images. Collective."""
    P = basis.components[0]
    _, _, entries = P.getValuesCSR()
    alone = len(entries) == len(mask) and bool(np.all(entries == 1.0))
    if basis.held is not None or not all(V.mesh.comm.allgather(alone)):
        raise ValueError(
            "the basis must be a periodic one (periodic_basis); coarse spaces take pinned nodes by "
            "grps.coarse_basis(..., within=pinned_basis(m, where))"
        )
    fine, coarse = P.createVecLeft(), P.createVecRight()
    fine.array[:] = mask
    P.multTranspose(fine, coarse)
    masters = np.array(coarse.array_r) > 0.0
    coarse.array[:] = masters
    P.mult(coarse, fine)
    images = np.array(fine.array_r) > 0.0
    for vector in (fine, coarse):
        vector.destroy()
    return masters, images


def _matrices(
    V: fem.FunctionSpace, mask: Mask, basis: GalerkinBasis | None, masters: Mask | None
) -> tuple[PETSc.Mat, PETSc.Mat]:
    """Return the scalar P and Psi of the free nodes (of the free masters of a periodic basis)."""
    comm, index_map = V.mesh.comm, V.dofmap.index_map
    if basis is None:
        free = np.flatnonzero(~mask).astype(np.int32)
        first, offset = int(index_map.local_range[0]), comm.exscan(len(free)) or 0
        P = PETSc.Mat().create(comm=comm)
        P.setSizes(((len(mask), index_map.size_global), (len(free), PETSc.DECIDE)))
        P.setType("aij")
        P.setPreallocationCOO(
            (first + free).astype(np.int32), (offset + np.arange(len(free))).astype(np.int32)
        )
        P.setValuesCOO(np.ones(len(free)))
        return P, P.transpose(PETSc.Mat())
    assert masters is not None
    whole = basis.components[0]
    rows = index_set(np.arange(*whole.getOwnershipRange()), whole.comm)
    start = whole.getOwnershipRangeColumn()[0]
    columns = index_set(start + np.flatnonzero(~masters), whole.comm)
    P = whole.createSubMatrix(rows, columns)
    for item in (rows, columns):
        item.destroy()
    counts, ones = P.createVecRight(), P.createVecLeft()
    ones.set(1.0)
    P.multTranspose(ones, counts)
    counts.reciprocal()
    Psi = P.transpose(PETSc.Mat())
    Psi.diagonalScale(L=counts)
    return P, Psi
