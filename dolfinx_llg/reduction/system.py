# SPDX-License-Identifier: LGPL-3.0-or-later
"""What all reduced operators share: exact constant blocks around something that depends on m."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl
from dolfinx import fem

from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.reduction.blocks import CoarseBlocks, apply, handy, weighted
from dolfinx_llg.reduction.local_modes import LocalModes
from dolfinx_llg.reduction.mean_part import MeanPart
from dolfinx_llg.reduction.samples import SampledStep, Samples
from dolfinx_llg.reduction.training import TrainingState
from dolfinx_llg.schemes.step import WeakStep

__all__ = ["CoarseSystem", "SystemParts"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SystemParts:
    """What the operators of a reduced step are made of.

    Attributes:
        basis: The coarse space.
        modes: Its modes on coarse cells.
        samples: Cells on whose nodes the magnetization is known.
        sampled: The step on them.
        blocks: The constant blocks.
        step: The step on the fine mesh, for the weights of the blocks.
        mean: What the means of m on coarse cells make, if the samples leave that out.
        training: States of the training, if there was one.
        tolerance: That of the training.
    """

    basis: GalerkinBasis
    modes: LocalModes
    samples: Samples
    sampled: SampledStep
    blocks: CoarseBlocks
    step: WeakStep
    mean: MeanPart | None = None
    training: Sequence[TrainingState] = ()
    tolerance: float = 1e-3


class CoarseSystem:
    """Base of the operators of a reduced step; a subclass adds what depends on m.

    Coefficients in V_H are replicated on the ranks (3 n_H numbers). A subclass gives PETSc only a
    weak reference to itself (``weakref.proxy``): no collector sees a cycle through PETSc.

    Args:
        parts: What it is made of.

    Attributes:
        A: Operator of the current step, a PETSc matrix without entries.
        b: Right side of the current step.
        c: Coefficients of the last iterate, replicated, shape (n_H, 3).
        y: Those of its modes on the cells of this rank, shape (n, r, 3).
        inside: The last iterate at the nodes of the samples that this rank owns, shape (nodes, 3).
        seconds: Wall time spent in assembly since the object was made.
    """

    A: PETSc.Mat

    def __init__(self, parts: SystemParts) -> None:
        self.basis, self.modes, self.blocks = parts.basis, parts.modes, parts.blocks
        self.step = parts.sampled.step
        self._weights = parts.step.constant
        known = {id(part): part for block in self.blocks.blocks for part in block.values()}
        dense = {key: handy(part) for key, part in known.items()}
        self._histories = [
            {} if block.history is None else {key: dense[id(p)] for key, p in of.items()}
            for block, of in self._pairs()
        ]
        self._theta = parts.samples.theta
        self.comm = parts.modes.hierarchy.comm
        self.b = parts.basis.coarse_vector()
        self._prolonged: tuple[FloatArray, FloatArray, FloatArray] | None = None
        self._keep(np.zeros((parts.blocks.sizes[1], 3)))
        self.seconds = 0.0
        self._base: dict[tuple[int, int], Any] = {}

    @property
    def dofs(self) -> int:
        """Number of unknowns."""
        return int(self.b.getSize())

    def operator(self, context: Any) -> PETSc.Mat:
        """Return a PETSc matrix without entries, whose product the context gives."""
        size = tuple(3 * n for n in self.blocks.sizes)
        matrix = PETSc.Mat().createPython((size, size), context, self.comm)
        matrix.setUp()
        return matrix

    @property
    def kept_forms(self) -> tuple[ufl.Form, ...]:
        """Nothing beside the constant blocks is read once."""
        return ()

    def reassemble(self) -> None:
        """Refuse changed data: the projected blocks are those of the training."""
        raise RuntimeError("the data of implicit terms changed: reduce the step anew")

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time of a block as assembly."""
        begin = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - begin

    # -- between the samples and the coarse space --------------------------------------------------

    def start(self, c: FloatArray) -> None:
        """Set the coefficients of the magnetization with which a run starts, shape (n_H, 3)."""
        self._keep(c)
        self.step.m.x.array[: self.inside.size] = self.inside.ravel()
        self.step.m.x.scatter_forward()

    def _keep(self, c: FloatArray) -> None:
        self.c = c
        self.y, self.inside = self._values(c)

    @property
    def means(self) -> FloatArray:
        """Means of the last iterate on this rank's cells, shape (n, 3): the first mode is 1."""
        return self.y[:, 0] if len(self.y) else np.zeros((0, 3))

    def replicate(self, c: PETSc.Vec) -> FloatArray:
        """Return all coefficients, shape (n_H, 3), on every rank."""
        own = c.getArray(readonly=True)
        if self.comm.size == 1:
            return own.reshape(-1, 3)
        return np.concatenate(self.comm.allgather(own)).reshape(-1, 3)

    def prolong(self, c: FloatArray) -> FloatArray:
        """Return x at the nodes of the samples, Theta V c, shape (nodes, 3)."""
        return self._values(c)[1]

    def _values(self, c: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return V c and Theta V c, once for a candidate and for what is accepted of it."""
        if self._prolonged is None or not np.array_equal(self._prolonged[0], c):
            y = self.modes.gather(c)
            self._prolonged = c.copy(), y, self._theta.interpolate(y)
        return self._prolonged[1:]

    def restrict(self, r: FloatArray) -> FloatArray:
        """Return (Theta V)^T r, shape (n_H, 3), of this rank's nodes; sum it over the ranks."""
        return self.modes.spread(self._theta.restrict(r))

    def add(self, parts: FloatArray, out: PETSc.Vec) -> None:
        """Add the sum over the ranks of (n_H, 3) arrays to a distributed vector."""
        first, last = out.getOwnershipRange()
        out.array[:] += self.total(parts).ravel()[first:last]

    def total(self, parts: FloatArray) -> FloatArray:
        """Return the sum of arrays over the ranks, on all of them."""
        if self.comm.size == 1:
            return parts
        out = np.empty(parts.shape)
        self.comm.Allreduce(np.ascontiguousarray(parts), out)
        return out

    def gather(self, function: fem.Function, out: PETSc.Vec) -> None:
        """Set out to the coefficients of the last iterate (m is known on the samples only)."""
        first, last = out.getOwnershipRange()
        out.array[:] = self.c.ravel()[first:last]

    def scatter(self, coefficients: PETSc.Vec, function: fem.Function) -> None:
        """Set a function on the samples from coefficients."""
        values = self.prolong(self.replicate(coefficients))
        function.x.array[: values.size] = values.ravel()
        function.x.scatter_forward()

    def accept(self, coefficients: PETSc.Vec) -> None:
        """Take the coefficients of the accepted iterate."""
        self._keep(self.replicate(coefficients).copy())

    # -- constant blocks ---------------------------------------------------------------------------

    def _pairs(self) -> Any:
        return zip(self._weights, self.blocks.blocks, strict=True)

    def set_time_step(self, dt: float) -> None:
        """Form the weighted sum of the constant blocks for a new dt."""
        self._base = weighted([(b.weight(dt), p) for b, p in self._pairs()])

    def apply_base(self, c: FloatArray) -> FloatArray:
        """Return the own rows of the weighted constant blocks times c."""
        return apply(self._base, c, self.blocks.sizes[0])

    def add_history(self, dt: float) -> None:
        """Add to b what the constant blocks make of the last iterate."""
        for block, parts in zip(self._weights, self._histories, strict=True):
            if block.history is not None:
                own = apply(parts, self.c, self.blocks.sizes[0])
                self.b.array[:] += block.history_weight(dt) * own.ravel()

    # -- what the preconditioner is made of --------------------------------------------------------

    def scalar_operator(self, dt: float, *, stretched: bool) -> tuple[PETSc.Mat, float]:
        """Return the average of the diagonal component blocks, and the ratio of traces.

        Args:
            dt: Time step, in which the blocks are weighted.
            stretched: Whether blocks that have a stretched form enter with it.

        Returns:
            The scalar operator, rows distributed like the functions, and the ratio of the trace of
            all blocks but the first to that of the first.
        """
        total: sp.csr_matrix | None = None
        traces = []
        first = sum(self.comm.allgather(self.blocks.sizes[0])[: self.comm.rank])
        pairs = zip(self._weights, self.blocks.blocks, self.blocks.stretched, strict=True)
        for block, parts, other in pairs:
            used = other if stretched and other is not None else parts
            mean = sp.csr_matrix(self.blocks.sizes)  # a block may have no diagonal
            for part in (used[k, k] for k in range(3) if (k, k) in used):
                mean = mean + block.weight(dt) / 3.0 * part
            total = mean if total is None else total + mean
            own = mean[np.arange(mean.shape[0]), first + np.arange(mean.shape[0])]
            traces.append(sum(self.comm.allgather(float(own.sum()))))
        assert total is not None
        total.sort_indices()
        sizes = self.blocks.sizes
        matrix = PETSc.Mat().createAIJ(
            (sizes, sizes), csr=(total.indptr, total.indices, total.data), comm=self.comm
        )
        matrix.assemble()
        return matrix, sum(traces[1:]) / traces[0]
