# SPDX-License-Identifier: LGPL-3.0-or-later
"""GalerkinBasis: a subspace of the fine vector space by its prolongation and its functionals.

Where m is pinned at some nodes, the functions of the subspace vanish there, and what a run looks
for lies in ``lift + span P``: increments and test functions are those of the subspace, states have
the lift added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import check_integer
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.la.matrices import block_vector, interleave

__all__ = ["Coefficients", "GalerkinBasis", "gram_solver"]

_LU = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "mumps"}


def gram_solver(gram: PETSc.Mat) -> Krylov:
    """Return the factorization of a matrix Psi P; the command line reaches it under ``llg_gram_``.

    Collective.
    """
    krylov = Krylov(gram, Options("llg_gram_"), defaults=_LU)
    krylov.set_up()
    return krylov


@checked
class GalerkinBasis:
    """A subspace of the fine vector space: prolongation P and functionals Psi, mostly Psi P = I.

    Args:
        P: Scalar prolongation, shape (n_h, n_H), AIJ, rows distributed like the fine dofs; or one
            for each component, all of one shape and distribution.
        Psi: Scalar functionals, shape (n_H, n_h), rows distributed like P's columns; or one for
            each component.
        bs: Components of a vector, where P and Psi are not sequences that tell.
        entry_tolerance: Largest nodal change that entering the subspace, m <- P Psi m, may make
            to the data of a run; more is an error. Default: any.
        held: Which dofs of this rank are pinned, shape (bs n,); None: none.
        lift: A fine vector with the values of the pinned dofs, which is added to every state, shape
            (bs n,).
        gram: The matrix Psi P, shape (n_H, n_H), where it is not the identity (``slod_basis``): the
            coefficients of a fine vector x are then (Psi P)^{-1} Psi x; or one for each component.

    Attributes:
        Psi: Functionals of the vector space.
        sizes: Sizes of P, ((local rows, all rows), (local columns, all columns)).
        held, lift: As given.
        components: The scalar prolongation of each component.
        fields: What is kept of terms whose fields have a matrix in this basis, by term.
        revision: How often the functions were replaced.

    Raises:
        ValueError: If the shapes do not fit, or the sequences differ in length.
    """

    def __init__(
        self,
        P: PETSc.Mat | Sequence[PETSc.Mat],
        Psi: PETSc.Mat | Sequence[PETSc.Mat],
        *,
        bs: int = 3,
        entry_tolerance: float = math.inf,
        held: npt.NDArray[np.bool_] | None = None,
        lift: npt.NDArray[np.float64] | None = None,
        gram: PETSc.Mat | Sequence[PETSc.Mat] | None = None,
    ) -> None:
        check_integer("bs", bs, 1)
        parts = [part for part in (P, Psi, gram) if isinstance(part, Sequence)]
        given = [len(part) for part in parts]
        if len(set(given)) > 1 or 0 in given:
            raise ValueError(f"P and Psi must come for the same components, got {given}")
        self.bs = bs = given[0] if given else bs
        prolongations = [P] * bs if isinstance(P, PETSc.Mat) else list(P)
        functionals = [Psi] * bs if isinstance(Psi, PETSc.Mat) else list(Psi)
        n_h, n_H = prolongations[0].getSize()
        for prolongation, functional in zip(prolongations, functionals, strict=True):
            if prolongation.getSizes() != prolongations[0].getSizes():
                raise ValueError("the components' P differ in shape or distribution")
            if functional.getSize() != (n_H, n_h):
                raise ValueError(
                    f"Psi must have shape {(n_H, n_h)} for this P, got {functional.getSize()}"
                )
        self.components = tuple(prolongations)
        self.fields: dict[Any, Any] = {}
        self.comm = prolongations[0].comm
        rows, columns = prolongations[0].getSizes()
        self.sizes = tuple((bs * local, bs * whole) for local, whole in (rows, columns))
        self._P: PETSc.Mat | None = None
        self._column, self._image = prolongations[0].createVecs()
        self.Psi = interleave(functionals)
        self._gram: Krylov | None = None
        if gram is not None:
            grams = [gram] * bs if isinstance(gram, PETSc.Mat) else list(gram)
            if any(part.getSize() != (n_H, n_H) for part in grams):
                raise ValueError(f"gram must have shape {(n_H, n_H)} for this P")
            self._gram = gram_solver(interleave(grams))
        self.dim = n_H
        self.entry_tolerance = entry_tolerance
        self.revision = 0
        if (held is None) != (lift is None):
            raise ValueError("held and lift come together")
        self.held: npt.NDArray[np.bool_] | None = None
        self.lift: npt.NDArray[np.float64] | None = None
        if held is not None and lift is not None:
            self.pin(held, lift)

    @property
    def P(self) -> PETSc.Mat:
        """The prolongation of the vector space; collective when it is first asked for.

        It takes three times the memory of the components, which do everything but products of
        matrices.
        """
        if self._P is None:
            self._P = interleave(self.components)
        return self._P

    def fine_vector(self) -> PETSc.Vec:
        """Return a new vector of the fine space. Collective."""
        return block_vector(self.sizes[0], self.bs, self.comm)

    def coarse_vector(self) -> PETSc.Vec:
        """Return a new vector of coefficients. Collective."""
        return block_vector(self.sizes[1], self.bs, self.comm)

    def entries(self) -> int:
        """Return the number of entries of P. Collective."""
        info = PETSc.Mat.InfoType.GLOBAL_SUM
        return int(sum(part.getInfo(info)["nz_used"] for part in self.components))

    def pin(self, held: npt.NDArray[np.bool_], lift: npt.NDArray[np.float64]) -> None:
        """Set the pinned dofs and the lift, at which the functions are to vanish already.

        Args:
            held: Which dofs of this rank are pinned, shape (bs n,).
            lift: Fine vector that is added to every state, shape (bs n,).

        Raises:
            ValueError: If the shapes do not fit.
        """
        rows = self.sizes[0][0]
        for what, array in (("held", held), ("lift", lift)):
            if array.shape != (rows,):
                raise ValueError(f"{what} must have shape ({rows},), got {array.shape}")
        self.held, self.lift = held, lift

    def replace(self, P: Sequence[PETSc.Mat]) -> None:
        """Take other functions for the same functionals, with Psi P = I. Collective.

        Who has made something of the functions compares ``revision``; ``fields`` is emptied.

        Args:
            P: Scalar prolongation of each component.

        Raises:
            ValueError: If they are of another number or shape.
            RuntimeError: If Psi P is not the identity.
        """
        if self._gram is not None:
            raise RuntimeError("functions with a gram matrix are not replaced: make a new basis")
        if len(P) != self.bs or any(p.getSizes() != self.components[0].getSizes() for p in P):
            raise ValueError(f"expected {self.bs} matrices P of the present shape")
        self.components = tuple(P)
        self._P = None
        self.fields.clear()
        self.revision += 1

    def check_space(self, V: fem.FunctionSpace) -> None:
        """Refuse a space whose dofs are not the rows of P, on this rank.

        Raises:
            ValueError: If they differ in number or distribution.
        """
        index_map, bs = V.dofmap.index_map, V.dofmap.bs
        if self.sizes[0][0] != index_map.size_local * bs:
            raise ValueError(
                f"the basis has {self.sizes[0][1]} rows, the space of m "
                f"{index_map.size_global * bs} dofs (or they are distributed differently)"
            )

    def refuse_pinned(self, what: str) -> None:
        """Raise ValueError if nodes are pinned, where that cannot be taken account of."""
        if self.held is not None:
            raise ValueError(f"{what} takes no basis with pinned nodes: march in the basis itself")

    def project(self, A: PETSc.Mat, out: PETSc.Mat | None = None) -> PETSc.Mat:
        """Return the matrix P^T A P. Collective.

        Args:
            A: Matrix on the fine vector space.
            out: Result of an earlier call for the same pattern, to be used again.
        """
        return A.PtAP(self.P) if out is None else A.PtAP(self.P, result=out)

    def restrict(self, residual: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set ``out`` to P^T ``residual``, coefficients of a linear form in V_H. Collective."""
        source = residual.getArray(readonly=True).reshape(-1, self.bs)
        target = out.getArray().reshape(-1, self.bs)
        for k, part in enumerate(self.components):
            self._image.array[:] = source[:, k]
            part.multTranspose(self._image, self._column)
            target[:, k] = self._column.array_r

    def prolong(self, coefficients: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set ``out`` to the fine vector P ``coefficients``. Collective."""
        source = coefficients.getArray(readonly=True).reshape(-1, self.bs)
        target = out.getArray().reshape(-1, self.bs)
        # One by one: PETSc's product with a dense matrix crashes where a rank has no row.
        for k, part in enumerate(self.components):
            self._column.array[:] = source[:, k]
            part.mult(self._column, self._image)
            target[:, k] = self._image.array_r

    def coefficients(self, x: PETSc.Vec, out: PETSc.Vec) -> None:
        """Set ``out`` to the coefficients (Psi P)^{-1} Psi ``x`` in V_H. Collective."""
        if self._gram is None:
            self.Psi.mult(x, out)
            return
        data = out.duplicate()
        self.Psi.mult(x, data)
        self._gram.solve(data, out).check("the coefficients in the coarse space")
        data.destroy()

    def hold(self, function: fem.Function) -> None:
        """Set the pinned dofs of a state to their values, ghosts included. Collective."""
        if self.held is None or self.lift is None:
            return
        own = function.x.array[: len(self.held)]
        own[self.held] = self.lift[self.held]
        function.x.scatter_forward()

    def enter(
        self, values: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the coefficients of a state and the state in the subspace. Collective.

        Args:
            values: Local values at the fine dofs, flat.
        """
        fine, coarse = self.fine_vector(), self.coarse_vector()
        lift = 0.0 if self.lift is None else self.lift
        fine.array[:] = values - lift
        self.coefficients(fine, coarse)
        self.prolong(coarse, fine)
        found = np.array(coarse.array_r), np.array(fine.array_r) + lift
        for vector in (fine, coarse):
            vector.destroy()
        return found

    def check_entry(self, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]) -> float:
        """Return the largest change of m where it enters V_H; refuse too large a one. Collective.

        Args:
            before: Local values of m.
            after: Those of P Psi m.

        Raises:
            ValueError: If a node of any rank changes by more than ``entry_tolerance``.
        """
        local = float(np.max(np.abs(after - before), initial=0.0))
        change = max(self.comm.tompi4py().allgather(local))
        if change > self.entry_tolerance:
            raise ValueError(
                "m does not lie in the subspace (not periodic, or changed where it is pinned?): "
                f"entering it changes a node by {change:.3g}, allowed are "
                f"{self.entry_tolerance:.3g}"
            )
        return change


class Coefficients:
    """A state in a coarse space by the coefficients of this rank; made without communication.

    It holds the matrices of the functions as they are now, neither the basis nor its meshes.

    Args:
        basis: The coarse space.
        values: Coefficients of this rank, copied.
        increment: Whether it is one of an increment, to which no lift is added.
    """

    def __init__(
        self, basis: GalerkinBasis, values: npt.NDArray[Any], *, increment: bool = False
    ) -> None:
        self._values = np.array(values, dtype=np.float64).reshape(-1, basis.bs)
        self._components = basis.components
        self._lift = None if increment else basis.lift

    def at_nodes(self) -> npt.NDArray[np.float64]:
        """Return the values at the fine dofs of this rank, flat. Collective."""
        columns = []
        for k, part in enumerate(self._components):
            x, y = part.createVecs()
            x.array[:] = self._values[:, k]
            part.mult(x, y)
            columns.append(np.array(y.array_r))
            for vector in (x, y):
                vector.destroy()
        found = np.stack(columns, axis=1).ravel()
        return found if self._lift is None else found + self._lift
