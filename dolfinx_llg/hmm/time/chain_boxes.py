# SPDX-License-Identifier: LGPL-3.0-or-later
"""The micro problems (3.11) of a chain of spins: boxes of 2r+1 spins with frozen ends."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.hmm.time.fields import FastField
from dolfinx_llg.hmm.time.precession import Field
from dolfinx_llg.hmm.time.spin_chain import SpinChain, apply_tensor
from dolfinx_llg.la.cross import cross

__all__ = ["MicroBoxes", "damping_ramp", "sites"]

Array = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]


def damping_ramp(r: int, layer: int, strength: float) -> Array:
    """mu_j of the damping layer, strength ((|j| - (r - 1 - layer)) / layer)^2, shape (2r+1,).

    The ends of a box are frozen: the layer consists of the free spins next to them.

    Args:
        r: Half width of a box in spins.
        layer: Width of the layer in spins; 0: there is none.
        strength: mu_j at the last free spin.
    """
    depth = np.clip(np.abs(np.arange(-r, r + 1)) - (r - 1 - layer), 0, layer) / max(layer, 1)
    return np.asarray(strength * depth**2)


class MicroBoxes:
    """The micro problems of one rank as a single precessing system, shape (n, 2r+1, 3).

    Args:
        chain: The microscopic chain.
        eps: Fast period.
        centres: Spins at the centres of the boxes, shape (n,).
        r: Half width of a box in spins.
        ramp: mu_j / beta of the damping layer, shape (2r+1,).
    """

    coupled = True
    dynamic = False
    comm: MPI.Comm = MPI.COMM_SELF

    def __init__(self, chain: SpinChain, eps: float, centres: Indices, r: int, ramp: Array) -> None:
        self.beta = chain.beta
        around = sites(centres, r, chain.n_spins)
        self.shape = (*around.shape, 3)
        self.ramp = ramp[:, None] if ramp.any() else None
        self.field = FastField(chain.function, eps, chain.positions[around.ravel()])
        self.evaluations = 0
        self.outside: Array | None = None
        self.tensor, self.anisotropy = chain.exchange_tensor, chain.anisotropy
        if self.anisotropy is not None and self.anisotropy.ndim == 3:
            self.anisotropy = self.anisotropy[around]
        # Entries of J between spins of one box act on the micro solution, all others on the
        # frozen reconstruction outside.
        J = chain.exchange[around.ravel()].tocoo()
        box, width = J.row // max(around.shape[1], 1), 2 * r + 1
        place = (J.col - centres[box] + r) % chain.n_spins if centres.size else J.col
        inside = place < width
        n = around.size
        self.within = sp.csr_array(
            (J.data[inside], (J.row[inside], box[inside] * width + place[inside])), shape=(n, n)
        )
        out = ~inside
        self.to_outside = sp.csr_array(
            (J.data[out], (J.row[out], J.col[out])), shape=(n, chain.n_spins)
        )
        # The rows of the frozen ends never act.
        free = np.ones(around.shape, dtype=bool)
        free[:, [0, -1]] = False
        keep = sp.diags_array(free.ravel().astype(np.float64)).tocsr()
        self.within, self.to_outside = keep @ self.within, keep @ self.to_outside
        self.to_outside.eliminate_zeros()

    def refresh(self, t: float, m: Array) -> None:
        """There is nothing that varies slowly apart from the field."""

    def tabulate(self, times: Array, direction: int) -> Field:
        """Prepare the effective field in all boxes, see ``PrecessingSystem``."""
        applied = self.field(times)
        n, width, _ = self.shape
        applied = applied.reshape(times.size, *((n, width) if applied.shape[1] > 1 else (1, 1)), 3)

        def effective(i: int, m: Array) -> Array:
            self.evaluations += n * width
            exchange = self.within @ m.reshape(-1, 3)
            if self.outside is not None:
                exchange = exchange + self.outside
            exchange = apply_tensor(self.tensor, exchange.reshape(m.shape))
            field = exchange + applied[i]
            if self.anisotropy is not None:
                field = field + apply_tensor(self.anisotropy, m)
            if self.ramp is not None:
                field = field + direction * self.ramp * cross(m, exchange)
            field[:, [0, -1]] = 0.0
            return np.asarray(field)

        return effective


def sites(centres: Indices, r: int, n: int) -> Indices:
    """Indices of the spins in the boxes around ``centres``, shape (n_boxes, 2r+1)."""
    return np.asarray((centres[:, None] + np.arange(-r, r + 1)) % n)
