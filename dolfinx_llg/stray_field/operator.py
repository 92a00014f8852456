# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The stray field of P1 magnetizations as one symmetric, non-negative operator.

The splitting of Garcia-Cervera and Roma, IEEE Trans. Magn. 42, 1648 (2006), in Galerkin form: u is
the sum of u1, which vanishes on the boundary, and of the single layer potential of a surface charge
sigma. With K the stiffness (i: inner nodes, b: boundary nodes), V the single layer, M_b and M_s the
masses of P1 on the boundary and of P1 on its smooth pieces, E the 0/1 matrix from nodes to nodes
split at creases::

    g = G m,          G_(v, w) = int Ms w . grad v
    K_ii u1 = g_i
    q = g_b - K_bi u1                          (the weak normal flux)
    d = B m,          B_(a, w) = int_Gamma Ms w.n psi_a
    sigma = M_s^-1 d - E M_b^-1 (E^T d - q)    (the charge, with jumps at creases)
    t = V sigma,      y = M_b^-1 E^T t,        z = M_s^-1 t - E y
    K_ii u_i = g_i - K_ib y,                   u_b = y
    h = -(G^T u + B^T z)

h is a functional, <h, w> = int Ms w . h_stray for every P1 vector w. The second half is the
transpose of the first, so that -1/2 <h, m> = 1/2 (u1^T K u1 + sigma^T V sigma) >= 0 is the energy
and h its exact negative gradient.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy import sparse

from dolfinx_llg.collective import total
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.la.matrices import index_set, whole_table
from dolfinx_llg.stray_field.charge import Charge
from dolfinx_llg.stray_field.interior import History, InteriorSolver, Poisson
from dolfinx_llg.stray_field.matrices import CellMatrices
from dolfinx_llg.stray_field.native import KERNELS
from dolfinx_llg.stray_field.points import check_bodies, check_orientation
from dolfinx_llg.stray_field.single_layer import SingleLayer
from dolfinx_llg.stray_field.storage import BoundaryStorage
from dolfinx_llg.stray_field.surface import extract_surface

__all__ = ["Solution", "StrayOperator", "WholeMagnet"]

type Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """What one evaluation leaves, for one or k magnetizations.

    Attributes:
        weak: The functional h at this rank's nodes, shape (n, 3) or (n, 3, k), mu0 Ms0^2 L^3 units.
        u: Potential at this rank's nodes, mesh units times Ms0.
        u1: Its part that vanishes on the boundary.
        sigma: Charge at the split nodes, the same on every rank.
    """

    weak: Floats
    u: Floats
    u1: Floats
    sigma: Floats


@dataclass(frozen=True)
class WholeMagnet:
    """The first half of the operator at all nodes of all ranks, each rank with columns of its own.

    Attributes:
        inner: Global numbers of the inner nodes.
        outer: Those of the boundary nodes, in the order of the surface.
        gradients: G of each component of m, shape (nodes, nodes).
        K_bi: Stiffness between boundary and inner nodes.
        charge: Operator between traces and charges.
        interior: Solver with K_ii, of this rank alone.
    """

    inner: npt.NDArray[np.int64]
    outer: npt.NDArray[np.int64]
    gradients: list[sparse.csr_matrix]
    K_bi: sparse.csr_matrix
    charge: Charge
    interior: InteriorSolver

    def first_half(self, g: Floats, trace: Floats) -> tuple[Floats, Floats]:
        """Return u1 at the inner nodes and sigma for k magnetizations.

        Args:
            g: G m, shape (nodes, k).
            trace: m at the boundary nodes, shape (n_b, 3, k).

        Raises:
            ConvergenceError: If a Poisson solve failed (on this rank).
        """
        size = np.sqrt(np.einsum("ij,ij->j", g, g))
        u = self.interior.solve_many(g[self.inner], size)
        q = g[self.outer] - self.K_bi @ u
        return u, self.charge.of(trace.reshape(3 * len(trace), q.shape[1]), q)


class StrayOperator:
    """The operator m -> h of one mesh and Ms.

    Args:
        W: P1 vector space of m.
        Ms: A number or a DG0 function.
        accuracy: Relative accuracy of the boundary operator.
        storage: How it is kept.
        poisson, rtol, options: See ``InteriorSolver``.
        progress: Whether rank 0 shows a progress bar.

    Attributes:
        surface, layer, interior: The parts.
        weights: ``int Ms phi`` at this rank's nodes, mesh units.
        seconds: CPU seconds of this rank in the parts of the set-up and of the last evaluation.

    Note: Collective.
    """

    def __init__(
        self,
        W: fem.FunctionSpace,
        Ms: float | fem.Function,
        *,
        accuracy: float,
        storage: BoundaryStorage,
        poisson: Poisson,
        rtol: float,
        options: Options,
        progress: bool,
    ) -> None:
        self.seconds: dict[str, float] = {}
        clock = _Clock(self)
        self.comm, self._Ms = W.mesh.comm, Ms
        tidy(W.mesh)
        self.V = V = fem.functionspace(W.mesh, ("Lagrange", 1))
        if not np.array_equal(V.dofmap.list, W.dofmap.list):
            raise RuntimeError("the nodes of scalar and vector P1 are numbered differently")
        self.surface = surface = extract_surface(V, Ms)
        self.n = V.dofmap.index_map.size_local
        check_bodies(V, surface)
        clock("surface")
        length, matrices = surface.length, CellMatrices(V, Ms)
        check_orientation(V, surface, matrices.volume)
        self.weights = matrices.lumped
        self._G = matrices.gradient()
        self._G.scale(length**-2)
        K = matrices.stiffness()
        K.scale(1.0 / length)
        first = V.dofmap.index_map.local_range[0]
        self._b = surface.owned
        self._i = np.setdiff1d(np.arange(self.n, dtype=np.int32), self._b)
        inner, outer = index_set(first + self._i, K.comm), index_set(first + self._b, K.comm)
        K_ii = K.createSubMatrix(inner, inner)
        self._K_bi = K.createSubMatrix(outer, inner)
        K.destroy()
        self._m, self._g = self._G.createVecs()
        self._inner, self._outer = self._K_bi.createVecs()
        clock("matrices")
        self.interior = InteriorSolver(K_ii, poisson=poisson, rtol=rtol, options=options)
        clock("poisson")
        # Where the nodes of each rank's piece of an Allgatherv go.
        places = self.comm.allgather(surface.place)
        self._counts = np.array([len(place) for place in places])
        self._gathered = np.concatenate(places)
        library = KERNELS.load(self.comm)
        # One rank factorizes: no communication from here to the rows near the diagonal.
        self._charge = Charge(surface, self.comm)
        clock("masses")
        split_nodes = len(surface.parent)
        dense = split_nodes <= storage.dense_below
        self.layer = SingleLayer(
            surface,
            self.comm,
            library,
            accuracy=accuracy,
            dense=dense,
            single=storage.precision == "float32" and not dense,
            progress=progress,
            cache=None if storage.cache is None else Path(storage.cache),
        )
        self._charge.share()
        clock("single layer")
        self._histories = History(self.comm), History(self.comm)

    def apply(self, m: Floats, *, warm: bool = False) -> Solution:
        """Evaluate the operator.

        Args:
            m: This rank's nodal values, shape (n, 3) or (n, 3, k).
            warm: Whether an iterative solver starts from the last warm solutions.

        Raises:
            ConvergenceError: If a Poisson solve failed.

        Note: Collective.
        """
        clock = _Clock(self)
        length, i, b = self.surface.length, self._i, self._b
        g = self._mult(self._G, m.reshape(3 * self.n, *m.shape[2:]))
        clock("gradient")
        first, second = self._histories if warm and m.ndim == 2 else (None, None)
        q, inner, size = g[b], g[i], np.zeros(g.shape[1:])
        if self.interior.size:
            size = np.sqrt(total(self.comm, (g**2).sum(axis=0)))
            inner = self._solve(g[i], size, first)
            q -= self._mult(self._K_bi, inner)
        clock("first solve")
        q, trace = self._whole(q, m[b])
        sigma = self._charge.of(trace, q)
        clock("charge")
        t = self.layer.apply(sigma)
        clock("product")
        on_m, y = self._charge.transpose(t)
        clock("trace")
        u = np.empty_like(g)
        u[b] = y[self.surface.place]
        if self.interior.size:
            u[i] = self._solve(g[i] - self._mult_transpose(self._K_bi, u[b]), size, second)
        clock("second solve")
        weak = -self._mult_transpose(self._G, u).reshape(m.shape)
        weak[b] -= on_m
        clock("transpose")
        u1 = np.zeros_like(u)
        u1[i] = inner
        return Solution(length**3 * weak, length * u, length * u1, sigma)

    def whole(self) -> WholeMagnet:
        """Return the first half of the operator for a rank by itself. Collective."""
        first = self.V.dofmap.index_map.local_range[0]
        inner, outer = (
            np.concatenate(self.comm.allgather(first + nodes)) for nodes in (self._i, self._b)
        )
        order = np.argsort(self._gathered)
        cells = CellMatrices(self.V, self._Ms)
        gradients = []
        for axis in range(3):
            G = cells.component(axis)
            gradients.append(whole_table(G) * self.surface.length**-2)
            G.destroy()
        return WholeMagnet(
            inner,
            outer[order],
            gradients,
            whole_table(self._K_bi)[order],
            self._charge,
            self.interior.alone(),
        )

    def _solve(self, f: Floats, size: Floats, history: History | None) -> Floats:
        if f.ndim > 1:
            return self.interior.solve_many(f, size)
        return self.interior.solve(f, float(size), history)

    def _whole(self, q: Floats, m: Floats) -> tuple[Floats, Floats]:
        """Gather the flux and m at the boundary nodes: shapes (n_b, ...) and (3 n_b, ...)."""
        tail = q.shape[1:]
        send = np.concatenate([q[:, None], m], axis=1)
        received = send
        if self.comm.size > 1:
            received = np.empty((len(self._gathered), 4, *tail))
            width = 4 * int(np.prod(tail, dtype=np.int64))
            self.comm.Allgatherv(np.ascontiguousarray(send), [received, self._counts * width])
        whole = np.empty_like(received)
        whole[self._gathered] = received
        return whole[:, 0].copy(), whole[:, 1:].reshape(-1, *tail)

    def _mult(self, A: PETSc.Mat, x: Floats) -> Floats:
        source, target = (self._m, self._g) if A is self._G else (self._inner, self._outer)
        return _columns(A.mult, source, target, x)

    def _mult_transpose(self, A: PETSc.Mat, x: Floats) -> Floats:
        target, source = (self._m, self._g) if A is self._G else (self._inner, self._outer)
        return _columns(A.multTranspose, source, target, x)


def _columns(product: Any, source: PETSc.Vec, target: PETSc.Vec, x: Floats) -> Floats:
    """Apply a product of PETSc to one vector, or to each column."""
    if x.ndim == 1:
        source.array[:] = x
        product(source, target)
        return target.array.copy()
    return np.stack([_columns(product, source, target, column) for column in x.T], axis=1)


class _Clock:
    """Notes the CPU time since the last call in the operator's ``seconds``."""

    def __init__(self, owner: StrayOperator) -> None:
        self._seconds, self._last = owner.seconds, time.process_time()

    def __call__(self, name: str) -> None:
        now = time.process_time()
        self._seconds[name], self._last = now - self._last, now
