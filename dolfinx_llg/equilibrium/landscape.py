# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The energy as a function on a product of spheres: gradients, Hessian products, preconditioner.

With nodal values m_i of unit length, E's Euclidean gradient :math:`g_i = \partial E/\partial m_i`
and the tangential projection :math:`\Pi_i = I - m_i m_i^T`, the Riemannian gradient and Hessian are

.. math:: G_i = \Pi_i g_i, \qquad
          (H v)_i = \Pi_i \big( (E'' v)_i - (g_i \cdot m_i)\, v_i \big)

(Absil, Mahony, Sepulchre, Optimization Algorithms on Matrix Manifolds, 2008, ch. 5). In a coarse
space m stays nodal, of unit length, and the increments are those of the space: :math:`\Pi P v`,
where the three coefficients v_j of each coarse function are normal to the mean of m over it (else
increments along m, which move nothing, would spoil the Hessian). The formulas are those of
:math:`v \mapsto E((m + \Pi P v)/|m + \Pi P v|)` at v = 0; the fine space is P = I.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.collective import together
from dolfinx_llg.equilibrium.pointwise import (
    Point,
    check_conservative,
    exchange_matrix,
    fill_with_waves,
    row_dot,
    tangential,
    unit,
)
from dolfinx_llg.equilibrium.unknowns import Unknowns
from dolfinx_llg.jit import compile_form
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import (
    EnergyTerm,
    FieldTerm,
    Interaction,
    QuadraticTerm,
)
from dolfinx_llg.physics.terms import Zeeman
from dolfinx_llg.solvers.coarse_fields import CoarseFields, lumped_weights
from dolfinx_llg.solvers.entry import entered
from dolfinx_llg.solvers.nodal_field import NodalField, identifies_nodes, refuse_images
from dolfinx_llg.solvers.preconditioner import ComponentPreconditioner
from dolfinx_llg.solvers.subspace_field import SubspaceMass
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.typing import Array

__all__ = ["Landscape", "Point"]

SMALL_STEP = 1e-2
"""Nodal change of m below which an energy difference comes from the gradients at its ends: exact
for quadratic energies, else to the part SMALL_STEP of itself, and free of cancellation."""


class _Nothing(EnergyTerm):
    """No energy, where all terms are fields with a solve."""

    def density(self, m: Expr) -> Expr:
        return 0.0 * ufl.inner(m, m)


class Landscape:
    """Energy, gradient and Hessian at the nodes or in a subspace; counts what it evaluates.

    Args:
        energy: Any energy whose terms have an energy.
        m: Magnetization; fixes mesh and space; not changed.
        basis: Subspace; None: the fine space. A basis that identifies nodes (periodic) or pins
            them works on nodal values.
        t: Time at which fields that depend on it are taken.
        options: Options of the preconditioner (its scalar solver: ``scalar_``).

    Attributes:
        field: The nodal field of the terms that UFL can say.
        nodal: Whether the unknowns are nodal values.
        evaluations: Gradients so far.
        products: Hessian products so far.

    Raises:
        ValueError: If m is no magnetization, a term has no energy, or the basis is one of another
            space. On all ranks alike.

    Note: Collective.
    """

    def __init__(
        self,
        energy: Energy,
        m: fem.Function,
        basis: GalerkinBasis | None,
        t: float,
        options: Options,
    ) -> None:
        check_magnetization(m)
        check_conservative(energy)
        self.energy, self.basis, self.t = energy, basis, t
        self._options = options
        V = m.function_space
        self.comm = V.mesh.comm
        rows = 3 * V.dofmap.index_map.size_local
        if basis is not None:
            with together(self.comm):
                basis.check_space(V)
            refuse_images(energy, basis, rows, self.comm)
        self.nodal = basis is None or identifies_nodes(basis, rows, self.comm)
        inside = CoarseFields(energy, basis, V)
        self._fields = [
            inside.instead_of(term) for term in energy.terms if isinstance(term, FieldTerm)
        ]
        local = [term for term in energy.terms if not isinstance(term, FieldTerm)]
        self._local = Energy(local or [_Nothing()], Ms=energy.Ms)
        self.field = NodalField(self._local, m, basis if self.nodal else None)
        # Data that follow m itself are read anew in each evaluation, those in time at the start.
        self._follows = any(
            type(term).update not in (Interaction.update, Zeeman.update) for term in local
        )
        self.evaluations = self.products = 0
        self._probe, self._answer = fem.Function(V), fem.Function(V)
        self._base = fem.Function(V)
        self._weights = lumped_weights(energy.Ms, V) if self._fields else np.zeros((0, 1))
        self._quadratic = self.field.quadratic and all(term.linear for term in self._fields)
        self._unknowns = Unknowns(None if self.nodal else basis)
        self._pinned = basis is not None and basis.held is not None
        #: Pinned nodes among the values: none of them where the unknowns are the free nodes.
        held = None if self.nodal or basis is None or basis.held is None else basis.held[::3]
        self._held: npt.NDArray[np.bool_] | None = held
        self._left: Array | None = None
        self._size: float | None = None
        self._scalar: ComponentPreconditioner | None = None
        self._mass: SubspaceMass | None = None
        self._vectors: tuple[Any, Any] | None = None
        self.shift: Array = np.zeros(self.volumes.shape)

    @property
    def volumes(self) -> Array:
        """Lumped mass, weighted by Ms, of each node of this rank, shape (n, 1)."""
        return self.field.volumes[:, None]

    # -- points ------------------------------------------------------------------------------------

    def enter(self, m: fem.Function) -> Point:
        """Return the point of m, which enters the subspace, with the energy's data as they are now.

        A coarse m that ``assign`` has left last does not enter again: normalisation has led it out
        of the space, entering would undo a part of the descent.

        Raises:
            ValueError: If entering the subspace changes m by more than its ``entry_tolerance``.
        """
        values = self.field.nodal(m)
        if self.basis is not None:
            same = self._left is not None and np.array_equal(values, self._left)
            if not all(self.comm.allgather(same)):
                rows = self.basis.sizes[0][0]
                inside = entered(self.basis, m.x.array[:rows]).values
                values = values if self.nodal else inside.reshape(-1, 3)
        return self._fresh(values)

    def at(self, m: fem.Function) -> Point:
        """Return the point of m as it is, with the energy's data as they are now."""
        return self._fresh(self.field.nodal(m))

    def _fresh(self, values: Array) -> Point:
        for term in self._fields:
            term.refresh()
        self.field.refresh(self.t, values)
        return self.point(values)

    def point(self, values: Array) -> Point:
        """Evaluate energy and gradient at nodal values, normalised here."""
        length = np.sqrt(row_dot(values, values))
        if not all(self.comm.allgather(bool(np.all(length > 0.0)))):
            raise ValueError("m is zero or not finite at a node and cannot be normalised")
        m = values / length
        if self._held is not None:
            m[self._held] = values[self._held]
        self.evaluations += 1
        if self._follows:
            self.field.refresh(self.t, m)
        g = -self.volumes * self.field.evaluate(m)
        energy = math.nan
        if not self._quadratic:
            self.field.assign(self._probe, m)
            energy = self._local.total(self._probe)
        for term in self._fields:
            part = -self._computed(term, m)
            g += part
            if self._quadratic:
                continue  # differences come from gradients
            if term.linear and not self._pinned:
                energy += 0.5 * self.dot(part, m)
            else:  # the field at pinned nodes has its share
                own = term.energy(self._probe)
                energy += 0.0 if own is None else own
        axis = m if self.nodal else self._unknowns.means(self.volumes * m)
        gradient = tangential(axis, self._unknowns.restrict(tangential(m, g)))
        p = Point(m, axis, g, gradient, math.nan, energy)
        return replace(p, torque=self.largest(self.turn(p, self.from_mass(p, gradient))))

    def move(self, p: Point, d: Array) -> Point:
        """Return the point at m + d, or m + Pi P d, normalised at the nodes."""
        return self.point(p.m + self.turn(p, d))

    def inside(self, values: Array) -> Array:
        """Return nodal values brought into the subspace, P Psi m, of unit length."""
        if self.nodal or self.basis is None:
            return values
        return unit(self.basis.enter(values.ravel())[1].reshape(-1, 3))

    def towards(self, m: Array, aim: Array) -> Array:
        """Return nodal values moved as near to others as one move in the subspace brings them."""
        if self.nodal:
            return aim
        change = self._unknowns.prolong(self._unknowns.coefficients(aim - m))
        return unit(m + tangential(m, change))

    def assign(self, p: Point, m: fem.Function) -> None:
        """Write the magnetization of a point to a function, ghosts included."""
        self.field.assign(m, p.m)
        self._left = p.m

    def difference(self, p: Point, q: Point) -> float:
        """Return E(q) - E(p)."""
        step = q.m - p.m
        if np.isnan(p.energy) or self.largest(step) <= SMALL_STEP:
            # (p.m + q.m).step is 0 in exact numbers: without the parts along m no digits are lost.
            along = 0.5 * (row_dot(p.g, p.m) + row_dot(q.g, q.m))
            return 0.5 * self.dot(p.g + q.g - along * (p.m + q.m), step)
        return q.energy - p.energy

    def dot(self, a: Array, b: Array) -> float:
        """Return the inner product over all ranks, the same on each of them."""
        return self.field.dot(a, b)

    def turn(self, p: Point, d: Array) -> Array:
        """Return the first-order change of m at the nodes along d, shape (n, 3)."""
        return d if self.nodal else tangential(p.m, self._unknowns.prolong(d))

    def coefficients(self, p: Point, turn: Array) -> Array:
        """Return the unknowns, shape (k, 3), whose change of m is nearest to one at the nodes."""
        return turn if self.nodal else tangential(p.axis, self._unknowns.coefficients(turn))

    def as_function(self, turn: Array, name: str) -> fem.Function:
        """Return a change of m at the nodes, shape (n, 3), as a function; 0 at pinned nodes."""
        out = fem.Function(self._probe.function_space, name=name)
        self.field.assign(out, turn, increment=True)
        return out

    def random_gradient(self, p: Point, seed: int) -> Array:
        """Return a smooth tangential field of seeded waves as a gradient, the same on any ranks."""
        fill_with_waves(self._probe, seed)
        return tangential(
            p.axis,
            self._unknowns.restrict(tangential(p.m, self.volumes * self.field.nodal(self._probe))),
        )

    def mean_Ms(self) -> float:
        """Return the volume mean of Ms. Collective."""
        if self._size is None:
            mesh = self._probe.function_space.mesh
            form = compile_form(fem.Constant(mesh, 1.0) * ufl.dx(domain=mesh))
            self._size = float(sum(self.comm.allgather(fem.assemble_scalar(form))))
        return self.dot(self.volumes, np.ones_like(self.volumes)) / self._size

    # -- derivatives -------------------------------------------------------------------------------

    def linearise(self, p: Point) -> None:
        """Make ``hessian`` that of this point (assembles where E'' depends on m)."""
        if not self.field.quadratic:
            self.field.linearise(p.m)
        if not all(term.linear for term in self._fields):
            self.field.assign(self._base, p.m)

    def second(self, v: Array) -> Array:
        """Return E'' v at the nodes, v of shape (n, 3), fields with a solve included."""
        out = -self.volumes * self.field.change(v)
        for term in self._fields:
            out -= self._computed(term, v, along=True)
        return out

    def hessian(self, p: Point, v: Array) -> Array:
        """Return the Hessian's product with v, both of shape (k, 3); see ``linearise``."""
        self.products += 1
        w = self.turn(p, v)
        curved = self.second(w) - row_dot(p.g, p.m) * w
        return tangential(p.axis, self._unknowns.restrict(tangential(p.m, curved)))

    def mass(self, p: Point, v: Array) -> Array:
        """Return the product of v, of shape (k, 3), with the lumped mass of the tangent plane."""
        return tangential(p.axis, self._unknowns.restrict(self.volumes * self.turn(p, v)))

    def from_mass(self, p: Point, r: Array) -> Array:
        """Return the inverse of the lumped mass times r, both of shape (k, 3)."""
        if self.nodal or self.basis is None:
            return r / self.volumes
        if self._mass is None:
            inside = Options(self._options.prefix + "mass_")
            self._mass = SubspaceMass(self.basis, self.volumes[:, 0], inside)
        return tangential(p.axis, np.asarray(self._mass.solve(r), dtype=np.float64))

    def spin(self, p: Point, v: Array) -> Array:
        """Return the product of v, of shape (k, 3), with -M (m x) on the tangent plane."""
        turned = np.cross(p.m, self.turn(p, v))
        return tangential(p.axis, self._unknowns.restrict(-self.volumes * turned))

    def precondition(self, p: Point, r: Array) -> Array:
        """Return S^-1 r in the tangent plane, S = exchange + mass in each component."""
        if self._scalar is None:
            self._build(p)
        if self._scalar is None:  # no exchange: S is diagonal
            return tangential(p.axis, r / self._diagonal)
        return tangential(p.axis, self._apply(self._scalar, r))

    def destroy(self) -> None:
        """Free the solvers. Collective."""
        for solver in (self._scalar, self._mass):
            if solver is not None:
                solver.destroy()
        for vector in self._vectors or ():
            vector.destroy()
        self._unknowns.destroy()
        self._scalar = self._mass = self._vectors = None

    # -- measures ----------------------------------------------------------------------------------

    def largest(self, v: Array) -> float:
        """Return the largest nodal length of v over all ranks."""
        largest = float(np.sqrt(np.max(row_dot(v, v), initial=0.0)))
        return float(max(self.comm.allgather(largest)))

    def _computed(self, term: FieldTerm, v: Array, *, along: bool = False) -> Array:
        """Return the weak field of v at the nodes, or (along) its derivative along v."""
        self.field.assign(self._probe, v, increment=along)
        if along:
            term.change(self._base, self._probe, self._answer)
        else:
            term.compute(self._probe, self._answer)
        own = self._answer.x.array[: 3 * self._weights.size].reshape(-1, 3)
        return self.field.summed((self._weights * own).ravel())

    # -- the preconditioner ------------------------------------------------------------------------

    def _apply(self, solver: ComponentPreconditioner, r: Array) -> Array:
        if self._vectors is None:
            r_vec = PETSc.Vec().createMPI((r.size, PETSc.DECIDE), bsize=3, comm=self.comm)
            self._vectors = (r_vec, r_vec.duplicate())
        source, target = self._vectors
        source.array_w[:] = r.ravel()
        solver.apply(None, source, target)
        return np.array(target.array_r).reshape(-1, 3)

    def _build(self, p: Point) -> None:
        """Assemble S once: exchange, and a mass of the size of the local fields."""
        self.linearise(p)
        own = np.mean([np.abs(self.second(np.tile(e, (len(p.m), 1)))) for e in np.eye(3)], axis=0)
        local = np.sum(own, axis=1, keepdims=True) / self.volumes
        total = self.dot(self.volumes, np.ones_like(self.volumes))
        h = np.abs(row_dot(p.g, p.m)) / self.volumes
        mean = self.dot(self.volumes, np.maximum(local, 0.0)) / total
        applied = self.dot(self.volumes, h) / total
        self.shift = local + 0.1 * mean + (0.1 if mean > 0.0 else 1.0) * applied
        # Without any local field that is round-off of exchange, whose size a rough m shows.
        rough = self.second(np.random.default_rng(0).standard_normal(p.m.shape)) / self.volumes
        if not self.largest(self.shift) > 1e-12 * self.largest(rough):
            self.shift = np.ones_like(self.shift)
        stiffness = [
            term
            for term in self._local.terms
            if isinstance(term, QuadraticTerm) and term.flux_along_gradient
        ]
        if not stiffness:
            self._diagonal = self._unknowns.restrict(np.tile(self.volumes * self.shift, (1, 3)))
            return
        S = exchange_matrix(stiffness, self._probe.function_space.mesh)
        if self.basis is not None and self.nodal:
            fine, S = S, S.PtAP(self.basis.components[0])
            fine.destroy()
        diagonal = S.getDiagonal()
        diagonal.array_w[:] += (self.volumes * self.shift)[:, 0]
        S.setDiagonal(diagonal)
        diagonal.destroy()
        if self.basis is not None and not self.nodal:
            fine, S = S, S.PtAP(self.basis.components[0])
            fine.destroy()
        inside = self._options.inside("scalar_")
        tdim = self._probe.function_space.mesh.topology.dim
        self._scalar = ComponentPreconditioner(S, None, inside, 0.0, tdim)
