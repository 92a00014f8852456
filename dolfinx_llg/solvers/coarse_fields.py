# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Fields with a solve of their own in a coarse space: a dense matrix in the place of the solve.

With W the lumped mass :math:`\int M_s \varphi_i`, :math:`M_H = P^T W P` and the energy
:math:`E(P c) = \frac12 c^T D_H c` of a ``FieldTerm``, a magnetization m at the nodes is
projected on V_H, :math:`c = M_H^{-1} P^T W m`, and so is its field,

.. math:: h = -P K\, P^T W m, \qquad K = M_H^{-1} D_H M_H^{-1},

which is again self-adjoint in the lumped product, and the exact gradient of
:math:`E(\Pi m)`, :math:`\Pi = P M_H^{-1} P^T W`. For m in V_H the energy, and the field tested with
V_H, are those of the fine mesh. What m/\|m\| has outside V_H is left out, and so is what the field
has outside V_H where m x turns a test function out of it: both are second order in the coarse mesh.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.la import InsertMode
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dsymv

from dolfinx_llg.checks import warn
from dolfinx_llg.collective import together
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.matrices import component_groups
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import VERTICES, FieldTerm
from dolfinx_llg.solvers.nodal_field import identifies_nodes
from dolfinx_llg.solvers.prolongation import Prolongation

__all__ = ["LARGEST", "CoarseField", "CoarseFields", "coarse_field", "lumped_weights"]

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

LARGEST = 4000
"""Functions of a coarse space up to which the matrix is built unasked (1.2 GB on each rank)."""


def lumped_weights(Ms: float | fem.Constant | fem.Function, V: fem.FunctionSpace) -> Array:
    """Return int Ms phi at the nodes of this rank in the product of ``FieldTerm``, shape (n, 1).

    Collective.
    """
    w, measure = ufl.TestFunction(V), ufl.dx(domain=V.mesh, metadata=VERTICES)
    vector = fem.assemble_vector(
        compile_form(Ms * ufl.inner(ufl.as_vector([1.0] * 3), w) * measure)
    )
    vector.scatter_reverse(InsertMode.add)
    owned = V.dofmap.index_map.size_local
    return np.array(vector.array[: 3 * owned].reshape(-1, 3)[:, :1])


@checked
class CoarseField(FieldTerm):
    """The field of a ``FieldTerm`` for magnetizations of a coarse space; see the module.

    ``coarse_field`` makes one. It is a term of its own: an ``Energy`` that holds it in the place of
    the other never touches the fine mesh's solver, nor do its energies.

    Args:
        term: The field on the fine mesh.
        basis: The coarse space.
        matrix: D_H, shape (3 n_H, 3 n_H).
        V: Space of m.

    Attributes:
        term: The field on the fine mesh.
        space: Space of m.
        prolongation: P.
        matrix: D_H.
        weights: Lumped mass of each node of this rank, shape (n, 1).
        megabytes: Memory of the matrices on this rank.

    Raises:
        ValueError: If the shapes do not fit.

    Note: Collective.
    """

    free_space = True

    def __init__(
        self, term: FieldTerm, basis: GalerkinBasis, matrix: Array, V: fem.FunctionSpace
    ) -> None:
        super().__init__(term.Ms)
        basis.check_space(V)
        size = basis.sizes[1][1]
        if matrix.shape != (size, size):
            raise ValueError(f"the matrix must have shape ({size}, {size}), got {matrix.shape}")
        self.term = term
        # Not the basis, which keeps this object: no cycle through PETSc.
        self.prolongation = Prolongation(basis.components)
        self._fine, self._coarse = basis.fine_vector(), basis.coarse_vector()
        self._owned = V.dofmap.index_map.size_local
        self.comm: MPI.Comm = V.mesh.comm
        self._counts = np.array(self.comm.allgather(self._coarse.getLocalSize()))
        self._components = component_groups(self.prolongation.scalars)
        self.space = V
        self._take(matrix)

    def _take(self, matrix: Array) -> None:
        self.matrix = matrix
        self.weights = lumped_weights(self.Ms, self.space)
        self._masses = self._coarse_masses()
        self._kernel = np.asfortranarray(self._solve_masses(self._solve_masses(matrix).T))
        self._seen = self.term.data().copy()
        self.megabytes = (self.matrix.nbytes + self._kernel.nbytes) / 1e6

    def _coarse_masses(self) -> list[tuple[Array, Any, list[int]]]:
        """Return M_H of each component as an array, factorized, and the components it serves."""
        found = []
        for P, members in self._components:
            n = P.getSizes()[0]
            W = PETSc.Mat().createAIJ((n, n), nnz=1, comm=P.comm)
            diagonal = W.createVecLeft()
            diagonal.array[:] = self.weights[:, 0]
            W.setDiagonal(diagonal)
            W.assemble()
            image = W.matMult(P)
            product = P.transposeMatMult(image)
            indptr, columns, values = product.getValuesCSR()
            rows = np.zeros((product.getLocalSize()[0], product.getSize()[1]))
            rows[np.repeat(np.arange(len(rows)), np.diff(indptr)), columns] = values
            mass = np.concatenate(self.comm.allgather(rows))
            for item in (W, diagonal, image, product):
                item.destroy()
            mass = 0.5 * (mass + mass.T)
            found.append((mass, cho_factor(mass, lower=True), members))
        return found

    def _solve_masses(self, matrix: Array) -> Array:
        """Return M_H^-1 times the columns of a matrix."""
        out = np.empty_like(matrix)
        for _, factor, members in self._masses:
            for component in members:
                out[component::3] = cho_solve(factor, matrix[component::3])
        return out

    def renew(self, m: fem.Function | None = None) -> None:
        """Build the matrix anew where the numbers that it was made of have changed. Collective."""
        stale = not np.array_equal(self.term.data(), self._seen)
        if any(self.comm.allgather(stale)):
            matrix = self.term.galerkin_matrix(self._scalars())
            assert matrix is not None
            self._take(matrix)
            self._at = None

    def _scalars(self) -> list[PETSc.Mat]:
        by_component: dict[int, PETSc.Mat] = {}
        for P, members in self._components:
            by_component |= dict.fromkeys(members, P)
        return [by_component[component] for component in sorted(by_component)]

    # -- in V_H ------------------------------------------------------------------------------------

    def load(self, c: Array) -> Array:
        """Return P^T W P c for coefficients of shape (n_H, 3), replicated."""
        out = np.empty_like(c)
        for mass, _, members in self._masses:
            out[:, members] = mass @ c[:, members]
        return out

    def respond(self, y: Array) -> Array:
        """Return the coefficients of the field for the load y = P^T W m, shape (n_H, 3)."""
        flat = dsymv(-1.0, self._kernel, y.ravel(), lower=1)
        return np.asarray(flat).reshape(-1, 3)

    def energy_of(self, y: Array) -> float:
        """Return the energy for the load y = P^T W m, shape (n_H, 3)."""
        return float(-0.5 * np.vdot(y, self.respond(y)))

    # -- on the fine mesh --------------------------------------------------------------------------

    def load_of(self, m: fem.Function) -> Array:
        """Return P^T W m, shape (n_H, 3), the same on every rank. Collective."""
        self.renew()
        values = m.x.array[: 3 * self._owned].reshape(-1, 3)
        self._fine.array[:] = (self.weights * values).ravel()
        self.prolongation.restrict(self._fine, self._coarse)
        return self._replicated()

    def _replicated(self) -> Array:
        own = self._coarse.getArray(readonly=True)
        if self.comm.size == 1:
            return np.array(own).reshape(-1, 3)
        whole = np.empty(int(self._counts.sum()))
        self.comm.Allgatherv(np.ascontiguousarray(own), [whole, self._counts])
        return whole.reshape(-1, 3)

    def compute(self, m: fem.Function, h: fem.Function) -> None:
        """Set the nodal values of h to the field of m (see the module's docstring). Collective."""
        found = self.respond(self.load_of(m)).ravel()
        self._coarse.array[:] = found[slice(*self._coarse.getOwnershipRange())]
        self.prolongation.prolong(self._coarse, self._fine)
        h.x.array[: 3 * self._owned] = self._fine.getArray(readonly=True)
        h.x.scatter_forward()

    def energy(self, m: fem.Function) -> float:
        """Return E(Pi m), the same on every rank. Collective."""
        return self.energy_of(self.load_of(m))


@checked
def coarse_field(term: FieldTerm, basis: GalerkinBasis, V: fem.FunctionSpace) -> CoarseField:
    """Return the field of a term in a coarse space; its matrix is built once and kept by the basis.

    A run in a basis (``march``, ``minimise``, a reduction) does this by itself when it first needs
    the field. Called before, it says when the time is spent; ``llg.grps.save_field`` keeps the
    result.

    Args:
        term: A field with a ``galerkin_matrix`` (``StrayField``).
        basis: The coarse space.
        V: Space of m.

    Raises:
        ValueError: If the term has no such matrix, or the basis does not fit the space.
        ConvergenceError: If a solve failed.

    Note: Collective; a progress bar on rank 0, if the term shows one. The memory of each rank is
    some 300 n_H^2 bytes while the matrix is made and 144 n_H^2 after (``megabytes``).
    """
    with together(V.mesh.comm):
        basis.check_space(V)
    found = _of_basis(basis, term, V)
    if found is None:
        raise ValueError(
            f"{type(term).__name__} has no matrix in a coarse space: its galerkin_matrix returns "
            "None (a StrayField made with in_basis='fine'?)"
        )
    return found


def _of_basis(basis: GalerkinBasis, term: FieldTerm, V: fem.FunctionSpace) -> CoarseField | None:
    """Return the field that the basis keeps, or build it; None: there is none."""
    known = basis.fields.get(term)
    if isinstance(known, CoarseField):
        known.renew()
        return known
    basis.check_space(V)
    logger.info("the field of %s in %d functions", type(term).__name__, basis.dim)
    matrix = term.galerkin_matrix(basis.components)
    if matrix is None:
        return None
    found = CoarseField(term, basis, matrix, V)
    basis.fields[term] = found
    return found


class CoarseFields:
    """The fields of an energy as a run in a basis takes them: none in the fine space.

    Args:
        energy: The energy of the run (None: unknown).
        basis: Its subspace, if any.
        V: Space of m.

    Note: Collective. The matrices are built when they are first asked for.
    """

    def __init__(
        self, energy: Energy | None, basis: GalerkinBasis | None, V: fem.FunctionSpace
    ) -> None:
        self._basis, self._V = basis, V
        terms = [] if energy is None or basis is None else energy.terms
        self._terms = [term for term in terms if isinstance(term, FieldTerm)]
        rows = 3 * V.dofmap.index_map.size_local
        if self._terms and basis is not None:
            # A lift lies outside V_H: the field of m with pinned nodes is that of the fine mesh.
            if basis.lift is not None or identifies_nodes(basis, rows, V.mesh.comm):
                self._terms = []
        self._found: dict[FieldTerm, CoarseField] | None = None

    def forget(self) -> None:
        """Ask the basis anew for the fields, after its functions have changed."""
        self._found = None

    def pairs(self) -> dict[FieldTerm, CoarseField]:
        """Return what takes the place of which term. Collective."""
        if self._found is None:
            self._found = {}
            for term in self._terms:
                assert self._basis is not None
                if self._basis.dim > LARGEST and term not in self._basis.fields:
                    warn(
                        f"{type(term).__name__}: its matrix for {self._basis.dim} functions would "
                        f"take {144e-9 * self._basis.dim**2:.1f} GB, so the field is computed on "
                        "the fine mesh in each step (coarse_field builds the matrix)"
                    )
                    continue
                field = _of_basis(self._basis, term, self._V)
                if field is not None:
                    self._found[term] = field
        return self._found

    def instead_of(self, term: FieldTerm) -> FieldTerm:
        """Return what takes the place of a term. Collective."""
        return self.pairs().get(term, term)

    @contextmanager
    def acting(self, *, held: bool = False) -> Iterator[None]:
        """Let the energy's terms take their fields in V_H while the block runs.

        Args:
            held: Whether they shall leave their ``h`` as it is instead.
        """
        pairs = self.pairs()
        before = {term: term.stand_in for term in pairs}
        for term, field in pairs.items():
            term.stand_in = _Held(term.Ms) if held else field
        try:
            yield
        finally:
            for term, stand_in in before.items():
                term.stand_in = stand_in


class _Held(FieldTerm):
    """A field that stays as it is."""

    def compute(self, m: fem.Function, h: fem.Function) -> None:
        """Leave h alone."""
