# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The effective field of any energy as nodal values: P1 elements with lumped mass.

.. math:: h_i = -\frac{1}{(M_s)_i} \frac{\partial E}{\partial m_i},
          \qquad (M_s)_i = \int M_s \varphi_i.

On a uniform mesh of an interval, or of a square by right triangles, with constant exchange this is
the usual three- or five-point difference stencil.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import dolfinx.fem.petsc as fem_petsc
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la

from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.la.matrices import component_groups, mean_component
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import Interaction, check_domain, expand
from dolfinx_llg.schemes.damping import LiveDamping
from dolfinx_llg.solvers.watch import Watch
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.typing import Array

__all__ = ["NodalField", "identifies_nodes", "refuse_images"]

type Floats = npt.NDArray[np.floating]


@checked
class NodalField:
    """Effective field H(m, t) of nodal values, for ``schemes.nodal``; ``field(values, t)``.

    Nodal values are arrays of shape (n, 3): the nodes that this rank owns, after the identification
    of opposite nodes if the problem is periodic, and without those that are pinned. See ``nodal``
    and ``assign``.

    If the energy is quadratic, its field is affine in m and a matrix is assembled once, and again
    when ``refresh`` finds that data in it have changed; otherwise the gradient is assembled in
    every evaluation.

    Args:
        energy: The energy.
        m: Magnetization; it fixes mesh and space, and is not changed.
        basis: Periodic basis (``periodic_basis``) or pinned nodes (``pinned_basis``); None: natural
            boundary conditions.

    Attributes:
        basis: As given.
        shape: Shape (n, 3) of the values on this rank.
        volumes: Lumped mass (weighted by Ms) of each value, shape (n,): weights of averages.
        quadratic: Whether the field is affine in m (the Hessian does not contain m).
        dynamic: Whether a term or the energy has an ``update`` of its own. Calls then begin with
            ``refresh``.
        evaluations: Evaluations of the field so far.

    Raises:
        ValueError: If m is no magnetization, the energy lives on another mesh, or ``basis`` does
            more than identify nodes. On all ranks alike.

    Note: Collective.
    """

    def __init__(self, energy: Energy, m: fem.Function, basis: GalerkinBasis | None = None) -> None:
        check_magnetization(m)
        V = m.function_space
        self.energy = energy
        self.comm: MPI.Comm = V.mesh.comm
        tidy(V.mesh)
        self.evaluations = 0
        self._owned = V.dofmap.index_map.size_local
        self.basis = basis
        # _m is the forms' own argument; what the terms see in ``update`` is another function.
        self._m, self._seen = fem.Function(V), fem.Function(V)
        self._m.x.array[:] = m.x.array
        if basis is not None:
            _check_identification(basis, 3 * self._owned, self.comm)
            self._fine, self._coarse = basis.fine_vector(), basis.coarse_vector()
        w, v = ufl.TestFunction(V), ufl.TrialFunction(V)
        dx = ufl.dx(domain=V.mesh)
        ones = ufl.as_vector([1.0] * 3)
        mass = fem.Constant(V.mesh, 1.0) * energy.Ms * ufl.inner(ones, w) * dx
        self._mass_form, self._mass_data = compile_form(mass), Watch([mass])
        self._weigh()
        self.shape = self._mass.shape
        gradient = energy.gradient(self._m, w)
        check_domain(gradient, m, "the energy")
        hessian = energy.integral(lambda term: expand(term.hessian(self._m, v, w)), V.mesh)
        if not hessian.integrals():  # applied fields only: a form must have an integral
            hessian = fem.Constant(V.mesh, 0.0) * ufl.inner(v, w) * dx
        self._gradient, self._hessian = compile_form(gradient), compile_form(hessian)
        self._gradient_data = Watch([gradient], [self._m])
        self._hessian_data = Watch([hessian], [self._m])
        self._watches = (self._mass_data, self._gradient_data, self._hessian_data)
        self.quadratic = self._m not in hessian.coefficients()
        self.dynamic = type(energy).update is not Energy.update or any(
            type(term).update is not Interaction.update for term in energy.terms
        )
        self._assembled = fem_petsc.create_matrix(self._hessian)
        self._product: Any = None  # P^T A P
        self._constant: Array = np.zeros(self.shape)
        self.linearise()
        self._x, self._y = self.matrix().createVecs()
        self._offset()

    def __call__(self, values: Floats, t: float) -> Array:
        """Return the effective field at the nodes, shape (n, 3). Collective."""
        if self.dynamic:
            self.refresh(t, values)
        return self.evaluate(values)

    def evaluate(self, values: Floats) -> Array:
        """Return the field with the energy's data as they are (no ``refresh``). Collective."""
        self.evaluations += 1
        if self.quadratic:
            return self._constant + self.change(values)
        self.assign(self._m, values)
        return -self.collect(fem.assemble_vector(self._gradient)) / self._mass

    def change(self, v: Floats) -> Array:
        """Return the derivative of the field along v, where it was linearised last. Collective."""
        self._x.array_w[:] = v.ravel()
        self.matrix().mult(self._x, self._y)
        return -self._y.array_r.reshape(-1, 3) / self._mass

    def nodal(self, m: fem.Function) -> Array:
        """Return the values of m as an array, shape (n, 3). Collective."""
        own = np.array(m.x.array[: 3 * self._owned])
        if self.basis is None:
            return own.reshape(-1, 3)
        self._fine.array_w[:] = own
        self.basis.coefficients(self._fine, self._coarse)
        return np.array(self._coarse.array_r).reshape(-1, 3)

    def damping_rate(self, damping: LiveDamping) -> tuple[float | Array, float | Array]:
        """Return ``damping.rate()`` at the nodes of the field. Collective."""
        c, nodal = damping.rate()
        if self.basis is None or not isinstance(nodal, np.ndarray):
            return c, nodal
        work = fem.Function(self._m.function_space)
        work.x.array[: 3 * self._owned] = np.repeat(nodal, 3)
        value = self.nodal(work)[:, :1]
        return (1.0 / (1.0 + value**2) if damping.gilbert else 1.0), value

    def assign(self, m: fem.Function, values: Floats, *, increment: bool = False) -> None:
        """Write values to a function of the same space, ghosts and images included. Collective.

        Args:
            m: The function.
            values: Values of a state.
            increment: They are those of an increment or a field, which pinned nodes do not have.
        """
        if self.basis is None:
            m.x.array[: 3 * self._owned] = values.ravel()
        else:
            self._coarse.array_w[:] = values.ravel()
            self.basis.prolong(self._coarse, self._fine)
            m.x.array[: 3 * self._owned] = self._fine.array_r
            if self.basis.lift is not None and not increment:
                m.x.array[: 3 * self._owned] += self.basis.lift
        m.x.scatter_forward()

    def identified(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the least of the numbers of identified nodes, those given where none are.

        Args:
            numbers: One for each node of the space that this rank owns.

        Note: Collective.
        """
        if self.basis is None:
            return numbers
        P = self.basis.components[0]
        indptr, columns, _ = P.getValuesCSR()
        numbers = np.repeat(numbers, np.diff(indptr))  # a pinned node has no entry
        begin, end = P.getOwnershipRangeColumn()
        least = np.full(end - begin, np.iinfo(np.int64).max)
        for theirs, values in self.comm.allgather((columns, numbers)):
            own = (theirs >= begin) & (theirs < end)
            np.minimum.at(least, theirs[own] - begin, values[own])
        return least

    def dot(self, a: Floats, b: Floats) -> float:
        """Return the inner product of two arrays over all ranks. Collective."""
        return float(sum(self.comm.allgather(float(np.vdot(a, b)))))

    def refresh(self, t: float, values: Floats) -> bool:
        """Call ``energy.update``, and assemble again what depends on data that have changed.

        Calls of the field do it where a term has an ``update``; to be called by hand after a
        constant or function of the energy was given another value.

        Args:
            t: Time.
            values: Magnetization that the terms see, shape (n, 3).

        Returns:
            Whether data had changed since the last call. Collective.

        Raises:
            ValueError: If they were changed to what they may not be.
        """
        if self.dynamic:
            self.assign(self._seen, values)
            self.energy.update(self._seen, t)
        changed = np.array([watch.changed() for watch in self._watches])
        # Constants are the same on all ranks, values of functions may change on one of them.
        if any(watch.has_functions for watch in self._watches):
            self.comm.Allreduce(MPI.IN_PLACE, changed, op=MPI.LOR)
        if changed[0] or changed[2]:
            self.energy.check_data()
        for watch, new in zip(self._watches, changed, strict=True):
            if new:
                watch.remember()
        if changed[0]:
            self._weigh()
        if self.quadratic and (changed[0] or changed[1]):
            self._offset()
        if self.quadratic and changed[2]:
            self.linearise()
        return bool(changed.any())

    def _weigh(self) -> None:
        """Assemble the nodal masses."""
        self._mass = self.collect(fem.assemble_vector(self._mass_form))
        self.volumes: Array = self._mass[:, 0].copy()

    def _offset(self) -> None:
        """Assemble the part of an affine field that does not depend on free values of m."""
        if self.quadratic:
            self.assign(self._m, np.zeros(self.shape))
            self._constant = -self.collect(fem.assemble_vector(self._gradient)) / self._mass

    def linearise(self, values: Floats | None = None) -> None:
        """Assemble the Hessian at the given values (None: where it stands). Collective."""
        if values is not None:
            self.assign(self._m, values)
        self._assembled.zeroEntries()
        fem_petsc.assemble_matrix(self._assembled, self._hessian)
        self._assembled.assemble()
        if self.basis is not None:
            self._product = self.basis.project(self._assembled, self._product)

    def matrix(self) -> Any:
        """Return the Hessian of the energy at the last linearisation, of the nodal values."""
        return self._assembled if self.basis is None else self._product

    def scalar_stiffness(self) -> PETSc.Mat:
        """Return the mean of the Hessian's three diagonal component blocks, AIJ. Collective."""
        return mean_component(self.matrix())

    def largest_frequency(self, iterations: int = 20) -> float:
        """Estimate the largest abs(eigenvalue) omega of the field from below. Collective.

        Power iterations for M_L^{-1} K at the last linearisation; in the norm of M_L, in which it
        is self-adjoint, the estimate grows towards the eigenvalue. For exchange kappa on a uniform
        mesh of size h it is about 4 kappa/h^2 in 1D and 8 kappa/h^2 in 2D.
        """
        v: Array = np.random.default_rng(self.comm.rank).standard_normal(self.shape)
        old, value = 0.0, 0.0
        for _ in range(iterations + 1):
            size = self.dot(self._mass * v, v) ** 0.5
            if not (np.isfinite(size) and size > 0.0):
                return 0.0
            value, old = size / old if old else 0.0, 1.0
            v = self.change(v / size)
        return float(value)

    def collect(self, vector: la.Vector) -> Array:
        """Sum an assembled vector over ranks and images, shape (n, 3). Collective."""
        vector.scatter_reverse(la.InsertMode.add)
        return self.summed(np.array(vector.array[: 3 * self._owned]))

    def summed(self, own: Array) -> Array:
        """Sum values of this rank's dofs over images, shape (n, 3). Collective."""
        if self.basis is None:
            return own.reshape(-1, 3)
        self._fine.array_w[:] = own
        self.basis.restrict(self._fine, self._coarse)
        return np.array(self._coarse.array_r).reshape(-1, 3)


def identifies_nodes(basis: GalerkinBasis, rows: int, comm: MPI.Comm) -> bool:
    """Whether values at nodes are values of the basis: a row of P is a single 1, or pinned.

    Args:
        basis: The basis.
        rows: Rows of P on this rank that would fit.
        comm: All ranks. Collective.
    """
    if basis.sizes[0][0] != rows:
        fits = False
    else:
        wanted = np.ones(rows, dtype=bool) if basis.held is None else ~basis.held
        fits = True
        for part, members in component_groups(basis.components):
            indptr, _, entries = part.getValuesCSR()
            kept = np.diff(np.concatenate([[0], np.cumsum(entries != 0.0)])[indptr])
            fits &= bool(np.all((entries == 0.0) | (entries == 1.0)))
            fits &= all(np.array_equal(kept, wanted[k :: basis.bs]) for k in members)
    return all(comm.allgather(fits))


def refuse_images(energy: Energy, basis: GalerkinBasis, rows: int, comm: MPI.Comm) -> None:
    """Raise ValueError if a body alone in space is to be periodic. Collective.

    Args:
        energy: The energy of a run.
        basis: Its subspace.
        rows: Rows of P on this rank.
        comm: All ranks.
    """
    alone = [type(term).__name__ for term in energy.terms if term.free_space]
    entries = basis.entries()
    if alone and identifies_nodes(basis, rows, comm) and entries > 3 * basis.dim:
        raise ValueError(
            f"{', '.join(alone)}: the field is that of a magnet alone in space, a periodic box "
            "would need that of all its images: leave the basis out, or the term (a homogenized "
            "shape factor as an anisotropy may stand for it)"
        )


def _check_identification(basis: GalerkinBasis, rows: int, comm: MPI.Comm) -> None:
    if not identifies_nodes(basis, rows, comm):
        raise ValueError(
            "the basis of a nodal field must identify nodes of the space of m (periodic_basis) or "
            "pin them (pinned_basis), this one has other functions or belongs to another space"
        )
