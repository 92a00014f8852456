# SPDX-License-Identifier: LGPL-3.0-or-later
"""The end of PETSc objects on several ranks, and of the meshes that they belong to.

To destroy a PETSc object is collective, while Python lets objects go on each rank when it pleases.
petsc4py therefore puts them aside, on PETSc's own communicator of their mesh, until a collective
``garbage_cleanup``. If the mesh is gone by then, they and that communicator are lost: a study with
a new mesh a run would use up the 2,048 communicators of MPICH, and memory. So each communicator
with solvers on it is held here until its mesh is gone on all ranks and its objects are destroyed.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import dolfinx
import numpy as np

__all__ = ["tidy"]

NESTING = 3
"""Solvers inside preconditioners inside solvers: a level is put aside when that around it ends."""

MANY = 8
"""Meshes that may be held before Python's collector is asked whether somebody needs them."""


class _Held:
    """The communicator of a mesh that has or had solvers."""

    def __init__(self, mesh: dolfinx.mesh.Mesh) -> None:
        domain: Any = mesh.ufl_domain()  # all that is built on the mesh holds it
        self.domain = weakref.ref(domain)
        # The smallest of PETSc's objects holds PETSc's communicator, whatever becomes of the mesh.
        self._token = PETSc.IS().createStride(0, comm=mesh.comm)
        self.comm: MPI.Comm = self._token.comm.tompi4py()

    def clean(self) -> None:
        """Destroy what has been put aside on all ranks. Collective."""
        PETSc.garbage_cleanup(self._token.comm)

    def end(self) -> None:
        """Destroy the rest, and let the communicator go. Collective."""
        for _ in range(NESTING):
            self.clean()
        self._token.destroy()


_held: list[_Held] = []
_limit = [MANY]


def tidy(mesh: dolfinx.mesh.Mesh) -> None:
    """Free what Python has let go of solvers on this mesh, and on meshes that are gone.

    Called by whatever sets solvers up on a mesh.

    Args:
        mesh: Mesh of the new solvers.

    Note: Collective.
    """
    comm = mesh.comm
    if all(entry.domain() is not mesh.ufl_domain() for entry in _held):
        _held.append(_Held(mesh))
    # Of other groups of ranks not all may be here.
    same = (MPI.IDENT, MPI.CONGRUENT)
    mine = [entry for entry in _held if MPI.Comm.Compare(entry.comm, comm) in same]
    needed = _needed(mine, comm)
    if needed.sum() > _limit[0]:
        gc.collect()
        needed = _needed(mine, comm)
        _limit[0] = max(MANY, 2 * int(needed.sum()))
    for entry, still in zip(mine, needed, strict=True):
        if still:
            entry.clean()
        else:
            entry.end()
            _held.remove(entry)


def _needed(entries: list[_Held], comm: MPI.Comm) -> Any:
    """Whether the mesh of each entry is still there on some rank."""
    here = np.array([entry.domain() is not None for entry in entries], dtype=np.int32)
    anywhere = np.empty_like(here)
    comm.Allreduce(here, anywhere, op=MPI.MAX)
    return anywhere
