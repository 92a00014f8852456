# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ensemble: many copies of a run, or images of a path, shared over groups of ranks."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from mpi4py import MPI

from dolfinx_llg.checks import check_integer
from dolfinx_llg.collective import agree, raise_together
from dolfinx_llg.kinds import checked

__all__ = ["Ensemble"]


@checked
class Ensemble:
    """Ranks in groups, each of which works on a part of the copies.

    ::

        with llg.Ensemble(100) as ensemble:
            times = []
            for copy in ensemble.mine:
                msh = mesh.create_box(ensemble.comm, ...)
                noise = llg.Thermal(temperature, seed=copy)
                ...
                times.append(...)
            times = ensemble.gather(times)  # of all copies, on all ranks

    Many copies of one small problem are faster as one mesh of many parts that do not touch: then a
    step of all of them is one step.

    Args:
        copies: How many there are, at least 1.
        groups: How many groups, at most copies and ranks; None: as many as there can be.
        comm: Ranks to be shared; None: all.

    Attributes:
        comm: Ranks of this group: meshes of its copies are made on it.
        across: Ranks of all groups that have the same place in theirs.
        copies: Number of copies.
        groups: Number of groups.
        group: Index of this one.
        mine: Indices of the copies of this group, in the order in which it is to take them.

    Raises:
        ValueError: If a number is out of range.

    Note: Collective on ``comm``. Two communicators are made, which ``free`` gives back.
    """

    def __init__(
        self, copies: int, *, groups: int | None = None, comm: MPI.Comm | None = None
    ) -> None:
        self._all: MPI.Comm = MPI.COMM_WORLD if comm is None else comm
        self.copies = check_integer("copies", copies, 1)
        most = min(self.copies, self._all.size)
        self.groups = most if groups is None else check_integer("groups", groups, 1, most)
        agree(self._all, copies=self.copies, groups=self.groups)
        rank, size = self._all.rank, self._all.size
        self.group = rank * self.groups // size
        self.comm = self._all.Split(self.group, rank)
        self.across = self._all.Split(self.comm.rank, rank)
        self.mine = range(self.group, self.copies, self.groups)

    @checked
    def gather(self, values: list[Any]) -> list[Any]:
        """Return the values of all copies in their order, the same on every rank.

        Args:
            values: Of the copies ``mine``, in that order, the same on all ranks of the group.

        Raises:
            ValueError: If a group has not one value for each of its copies.

        Note: Collective on all ranks.
        """
        wrong = len(values) != len(self.mine)
        raise_together(
            self._all,
            f"group {self.group} has {len(self.mine)} copies, got {len(values)} values"
            if wrong
            else None,
        )
        found: list[Any] = [None] * self.copies
        parts = self._all.allgather((self.group, values if self.comm.rank == 0 else None))
        for group, part in parts:
            if part is not None:
                found[group :: self.groups] = part
        return found

    def free(self) -> None:
        """Give the communicators back; meshes on them must be gone. Collective."""
        for comm in (self.comm, self.across):
            if comm != MPI.COMM_NULL:
                comm.Free()

    def __enter__(self) -> Ensemble:
        """Return the ensemble."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the communicators, unless an error is on its way (ranks may be apart then)."""
        if error is None:
            self.free()
