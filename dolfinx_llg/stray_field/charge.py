# SPDX-License-Identifier: LGPL-3.0-or-later
"""Surface charges of P1 functions: projections onto the smooth pieces of a boundary, and back."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from dolfinx_llg.stray_field.masses import MassSolver
from dolfinx_llg.stray_field.surface import Surface

__all__ = ["Charge"]

type Floats = npt.NDArray[np.float64]


class Charge:
    r"""The operators between traces (nodes) and charges (split nodes) of ``stray_field.operator``.

    With M_s, M_b, E and B as there::

        sigma = M_s^-1 B m - E M_b^-1 (E^T B m - q)

    and its transpose. On a plane piece of constant Ms, B is M_s times a matrix of normals: there
    M_s^-1 B needs no solve, and M_s is factorized for the curved pieces alone. On a surface without
    creases M_s = M_b and E = I: sigma = M_b^-1 q.

    Args:
        surface: The boundary.
        comm: Communicator whose last rank factorizes the masses; every rank computes alike, once
            ``share`` has given the factors to all of them (the transpose for its own nodes).

    Attributes:
        curved: Split nodes next to faces that lie in no plane piece, which take a solve with the
            mass matrix (only where there are creases).

    Note: No communication before ``share``.
    """

    def __init__(self, surface: Surface, comm: MPI.Comm) -> None:
        self._Et = surface.from_split()
        self._E = self._Et.T.tocsr()
        self._M_b = MassSolver(lambda: surface.mass(whole=True), comm)
        self._own = len(surface.place)
        self._smooth = len(surface.parent) == len(surface.nodes)
        if self._smooth:
            return
        self._EtB = surface.charge(whole=True)
        self._EtB.eliminate_zeros()  # of faces across an axis two thirds are zero
        own = (3 * surface.place[:, None] + np.arange(3)).ravel()
        self._BtE = self._EtB.T.tocsr()[own]
        plane, rows = _plane_pieces(surface)
        self._P, self._Pt = rows, rows.T.tocsr()[own]
        self.curved = np.flatnonzero(~plane)
        if len(self.curved):
            curved = self.curved
            self._M_c = MassSolver(lambda: surface.mass()[curved][:, curved], comm)
            self._B_c = surface.charge()[curved].tocsr()
            self._B_ct = self._B_c.T.tocsr()[own]

    def share(self) -> None:
        """Give the factors of the masses to all ranks. Collective."""
        self._M_b.share()
        if not self._smooth and len(self.curved):
            self._M_c.share()

    def of(self, m: Floats, q: Floats) -> Floats:
        """Return sigma for traces of m (3 n_b, ...) and weak fluxes q (n_b, ...)."""
        if self._smooth:
            return np.asarray(self._E @ self._M_b.solve(q))
        sigma = self._P @ m - self._E @ self._M_b.solve(self._EtB @ m - q)
        if len(self.curved):
            sigma[self.curved] += self._M_c.solve(self._B_c @ m)
        return sigma

    def transpose(self, t: Floats) -> tuple[Floats, Floats]:
        """Return the transpose for t (n_s, ...).

        Returns:
            Of m, at this rank's nodes alone, shape (nodes, 3, ...), and of q, shape (n_b, ...).
        """
        y = self._M_b.solve(self._Et @ t)
        if self._smooth:
            return np.zeros((self._own, 3, *t.shape[1:])), y
        on_m = self._Pt @ t - self._BtE @ y
        if len(self.curved):
            on_m += self._B_ct @ self._M_c.solve(t[self.curved])
        return on_m.reshape(self._own, 3, *t.shape[1:]), y


def _plane_pieces(surface: Surface) -> tuple[npt.NDArray[np.bool_], sparse.csr_matrix]:
    """Return which split nodes lie on plane pieces of constant Ms, and their rows of M_s^-1 B."""
    n, corners = len(surface.parent), surface.split
    ends = corners[:, [[0, 1], [1, 2]]].reshape(-1, 2).T
    graph = sparse.coo_matrix((np.ones(ends.shape[1], bool), tuple(ends)), shape=(n, n))
    pieces, piece = connected_components(graph, directed=False)
    normals = surface.normals
    poles = surface.Ms[:, None] * normals / np.linalg.norm(normals, axis=1)[:, None]
    of = piece[corners[:, 0]]
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(pieces))
    low, high = (f.reduceat(poles[order], starts) for f in (np.minimum, np.maximum))
    # Round-off of the normals: where triangles are thin it grows, and the piece counts as curved.
    plane = (high - low).max(axis=1) <= 1e-12 * np.abs(poles).max()
    nodes = np.flatnonzero(plane[piece])
    columns = 3 * surface.parent[nodes, None] + np.arange(3)
    values = 0.5 * (low + high)[piece[nodes]]
    rows = sparse.csr_matrix(
        (values.ravel(), (np.repeat(nodes, 3), columns.ravel())), shape=(n, 3 * len(surface.nodes))
    )
    rows.eliminate_zeros()
    return plane[piece], rows
