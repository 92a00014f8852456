# SPDX-License-Identifier: LGPL-3.0-or-later
"""Equilibria: minimise any energy over magnetizations of unit length."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

from dolfinx import fem

from dolfinx_llg.checks import check_integer, check_number
from dolfinx_llg.collective import agree
from dolfinx_llg.equilibrium.descent import LBFGS, Descent, TrustRegion, truncated_cg
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.options import Method, MinimiseOptions, Search
from dolfinx_llg.equilibrium.pointwise import Point
from dolfinx_llg.equilibrium.stability import Stability, stability_at
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import FieldTerm

__all__ = ["Descending", "Equilibrium", "Minimiser", "minimise", "minimise_steps"]

logger = logging.getLogger(__name__)

#: A V-cycle nearly as good as a factorization on rough coefficients (contrast 100, 20^3 cells): 8.7
#: products a field, with GAMG's own smoothing and aggressive coarsening 11.5.
SMOOTHING = {"scalar_mg_levels_ksp_max_it": 6, "scalar_pc_gamg_aggressive_coarsening": 0}
PATIENCE = 40
"""Steps in which L-BFGS, chosen by "auto", is to halve the torque; else Newton's models go on.

Where walls shift at little cost the preconditioner knows nothing of the curvature along their way,
and the pairs of a bent valley mislead (a film of a micrometre: 500 steps, and no end)."""
DIRECT_NODES = 3_000
"""Nodes up to which the preconditioner is a factorization on any mesh and rank count."""


def _preconditioning(m: fem.Function, given: Mapping[str, Any] | None, prefix: str) -> Options:
    """Return the preconditioner's options, above better smoothing where the mesh is large."""
    options = dict(given or {})
    if m.function_space.dofmap.index_map.size_global > DIRECT_NODES:
        options = SMOOTHING | options
    return Options(prefix, options, tolerated=tuple(SMOOTHING))


@dataclass(frozen=True)
class Descending:
    r"""Where a minimisation stands after a step; numbers, the same on every rank.

    Attributes:
        n: Steps done.
        torque: Largest nodal \|m x h\| in units of Ms0.
        change: Change of the energy in the step (units mu0 Ms0^2 L^3).
        evaluations: Gradients so far.
        products: Hessian products so far.
        left_saddle: Whether the start was a stationary point that is no minimum and was left.
    """

    n: int
    torque: float
    change: float
    evaluations: int
    products: int
    left_saddle: bool = False


@dataclass(frozen=True)
class Equilibrium:
    r"""A magnetization at rest, and what it cost to find.

    Attributes:
        m: The magnetization, the function that was minimised in place.
        energy: Its energy, in units of :math:`\mu_0 M_{s0}^2 L^3`.
        torque: Largest nodal \|m x h\| in units of Ms0 (``units.field_to_T`` gives tesla).
        steps: Outer steps (of dynamics: time steps).
        evaluations: Gradients of the energy.
        products: Hessian products.
        method: Method that found it, the last one where "auto" has changed it.
        left_saddle: Whether the start was a stationary point that is no minimum and was left.
    """

    m: fem.Function = field(repr=False)
    energy: float
    torque: float
    steps: int
    evaluations: int
    products: int
    method: str
    left_saddle: bool
    _energy: Energy = field(repr=False)
    _basis: GalerkinBasis | None = field(repr=False)
    _t: float = field(repr=False)

    def stability(
        self,
        *,
        tolerance: float | None = None,
        seed: int = 0,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_stability_",
    ) -> Stability:
        """Say whether m, as it is now, is a minimum: by the lowest eigenvalue of the Hessian.

        Args:
            tolerance: Eigenvalue, a field in units of Ms0, from which its sign counts; None: the
                torque of m or 1e-6 of its mean local field, whichever is larger (a turn by the
                angle torque/field changes eigenvalues by the torque).
            seed: Seed of the eigensolver's start, the same on any number of ranks.
            petsc_options: Options of the preconditioner (``scalar_pc_type``, ...), see
                ``minimise``.
            petsc_options_prefix: Prefix under which the command line reaches it.

        Raises:
            ValueError: If the tolerance is not positive, or PETSc does not understand an option.

        Note: Collective. The solver is made and freed here: an equilibrium holds none.
        """
        if tolerance is not None:
            check_number("tolerance", tolerance, positive=True)
        check_integer("seed", seed, 0)
        options = _preconditioning(self.m, petsc_options, petsc_options_prefix)
        land = Landscape(self._energy, self.m, self._basis, self._t, options)
        try:
            found = stability_at(land, land.at(self.m), tolerance, seed)
            options.report_unused()
            return found
        finally:
            land.destroy()


@checked
class Minimiser:
    """A minimiser that is used again: its preconditioner and forms are made once.

    Args:
        energy: Energy; every term has one (a torque is refused).
        m: Magnetization, start and result; changed in place.
        torque: Largest nodal abs(m x h) of the result, in units of Ms0.
        method: "auto", "trust_region" or "lbfgs", see ``minimise``.
        basis: Subspace: m is sought among the normalised functions of it. None: the fine space.
        t: Time at which fields that depend on it are taken.
        search: How long it is sought, and how a start at a saddle is left.
        petsc_options: Options of the scalar preconditioner (``scalar_pc_type``, ...).
        petsc_options_prefix: Prefix under which the command line reaches it.

    Raises:
        ValueError: If a number is out of range, m no magnetization, or a term has no energy.

    Note: Collective.
    """

    def __init__(
        self,
        energy: Energy,
        m: fem.Function,
        *,
        torque: float = 1e-5,
        method: Method = "auto",
        basis: GalerkinBasis | None = None,
        t: float = 0.0,
        search: Search = Search(),
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_minimise_",
    ) -> None:
        self.torque = check_number("torque", torque, positive=True)
        check_number("t", t)
        numbers = dataclasses.astuple(search)
        agree(m.function_space.mesh.comm, torque=torque, method=method, t=t, search=numbers)
        self.search = search
        options = _preconditioning(m, petsc_options, petsc_options_prefix)
        self._may_change = method == "auto"
        if method == "auto":
            # Where fields need a solve, these solves are the cost, and L-BFGS needs fewest of them.
            fields = any(isinstance(term, FieldTerm) for term in energy.terms)
            method = "lbfgs" if fields else "trust_region"
        self.energy, self.m, self.method, self.basis, self._t = energy, m, method, basis, t
        self._options = options
        self.land = Landscape(energy, m, basis, t, options)
        self._descents: dict[str, Descent] = {
            "trust_region": TrustRegion(self.land),
            "lbfgs": LBFGS(self.land),
        }
        self._now = method
        self.last = Descending(0, math.inf, 0.0, 0, 0)

    def destroy(self) -> None:
        """Free the solvers. Collective."""
        self.land.destroy()

    def steps(self) -> Iterator[Descending]:
        """Go downhill from the present m, yielding after each step, the start included.

        The method's memory of an earlier call is forgotten, its preconditioner kept.

        Raises:
            ConvergenceError: If the torque does not get below the tolerance; m is left at the
                point of least energy that was reached.

        Note: Collective.
        """
        land = self.land
        self._now = self.method
        for descent in self._descents.values():
            descent.forget()
        land.evaluations = land.products = 0
        p = land.enter(self.m)
        self._stand(p, 0, 0.0, False)
        left = False
        if p.torque <= self.torque:
            q = self._leave_saddle(p)
            if q is None:
                self._stand(p, 0, 0.0, False)  # again: the search has added Hessian products
                yield self.last
                return
            p, left = q, True
            self._stand(p, 0, 0.0, left)
        yield self.last
        limit, since, best = self.search.max_iterations, 0, p.torque
        for n in range(1, limit + 1):
            if p.torque <= self.torque:
                return
            since, best = (0, p.torque) if p.torque < 0.5 * best else (since + 1, best)
            if self._may_change and self._now == "lbfgs" and since > PATIENCE:
                logger.info("L-BFGS creeps at a torque of %.3g: on with Newton's models", p.torque)
                self._now = "trust_region"
            q = self._descents[self._now].step(p, self.torque)
            if q is None:
                self._fail(p, n, "no step lowers the energy any more (round-off)")
                return
            change = land.difference(p, q)
            p = q
            self._stand(p, n, change, left)
            yield self.last
        if p.torque > self.torque:
            self._fail(p, limit, f"max_iterations = {limit} steps were used up")

    def run(self) -> Equilibrium:
        """Go downhill to the end; see ``steps``. Collective."""
        for _ in self.steps():
            pass
        last = self.last
        return Equilibrium(
            self.m,
            self.energy.total(self.m, self._t),
            last.torque,
            last.n,
            last.evaluations,
            last.products,
            self._now,
            last.left_saddle,
            self.energy,
            self.basis,
            self._t,
        )

    def _stand(self, p: Point, n: int, change: float, left: bool) -> None:
        land = self.land
        land.assign(p, self.m)
        # The preconditioner, which reads the options, is made in the first step or product.
        if n == 1 or land.products:
            self._options.report_unused()
        self.last = Descending(n, p.torque, change, land.evaluations, land.products, left)
        logger.info("%s: step %d, torque %.3g, %d gradients, %d products", self._now, n,
                    p.torque, land.evaluations, land.products)  # fmt: skip

    def _fail(self, p: Point, n: int, why: str) -> None:
        raise ConvergenceError(
            f"minimise ({self._now}) did not reach a torque of {self.torque:g}: {why}; the "
            f"largest nodal |m x h| is {p.torque:.3g} (units of Ms0). m is left where the energy "
            "is least; a larger torque, more max_iterations or the other method may help",
            reason=-3,
            iterations=n,
            t=self._t,
        )

    def _leave_saddle(self, p: Point) -> Point | None:
        """Return a point below a stationary p, or None where no negative curvature is met."""
        land = self.land
        land.linearise(p)
        r = land.random_gradient(p, self.search.seed)
        found = truncated_cg(land, p, r, math.inf, 1e-6, 60)
        if found.worst is None or not found.curvature < -1e-8:
            return None
        d = found.worst
        largest = land.largest(land.turn(p, d))
        angle = self.search.perturbation
        q = land.move(p, (angle / largest) * d)
        logger.info("the start is a saddle (curvature %.3g): left by an angle of %g",
                    found.curvature, angle)  # fmt: skip
        return q


@checked
def minimise(
    energy: Energy,
    m: fem.Function,
    *,
    torque: float = 1e-5,
    method: Method = "auto",
    basis: GalerkinBasis | None = None,
    t: float = 0.0,
    search: Search = Search(),
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str = "llg_minimise_",
) -> Equilibrium:
    r"""Minimise an energy over magnetizations of unit length, from m downhill, in place.

    Stops where the largest nodal :math:`|m \times h|` is at most ``torque`` (in units of Ms0; a
    mean would hide a few moving spins). A start that is stationary already is examined along
    conjugate directions from a seeded smooth random field: where the Hessian is negative it is
    left by an angle of ``search.perturbation``, and the result says so (``left_saddle``). Whether
    the end is a minimum, ``Equilibrium.stability`` says.

    Args:
        energy: Energy; every term has one (a torque is refused), of any dependence on m.
        m: Magnetization, start and result.
        torque: Largest nodal \|m x h\| of the result. In a coarse space that of the part of the
            torque that lies in it.
        method: "trust_region" (Newton models by preconditioned CG: few gradients, each step some
            Hessian products), "lbfgs" (gradients only), or "auto": L-BFGS where the energy has a
            ``FieldTerm``, of whose solves it needs fewest (20 a field on a composite of 1,331
            nodes, where the trust region takes 6 gradients and 28 products, a solve each), and
            the trust region from there on where it does not halve the torque in 40 steps (walls
            that shift at little cost: it then creeps); else the trust region, which is faster and
            ends at smaller torques.
        basis: Subspace: m is sought among the normalised functions of it (``periodic_basis``, a
            coarse space). None: the fine space. A stray field is then that of the space (D_H, built
            at first use); the energy of the result is that of the fine mesh.
        t: Time at which fields that depend on it are taken.
        search: How long it is sought, and how a start at a saddle is left (``llg.Search``).
        petsc_options: Options of the scalar preconditioner (``scalar_pc_type``, ...).
        petsc_options_prefix: Prefix under which the command line reaches it.

    Returns:
        The equilibrium, with evaluations, products and energy.

    Raises:
        ValueError: If a number is out of range, m no magnetization, or a term has no energy.
        ConvergenceError: If the torque does not get there; m keeps the best state.

    Note: Collective.
    """
    mover = Minimiser(
        energy, m, torque=torque, method=method, basis=basis, t=t, search=search,
        petsc_options=petsc_options, petsc_options_prefix=petsc_options_prefix,
    )  # fmt: skip
    try:
        return mover.run()
    finally:
        mover.destroy()


@checked
def minimise_steps(
    energy: Energy, m: fem.Function, **options: Unpack[MinimiseOptions]
) -> Iterator[Descending]:
    """Minimise as ``minimise`` does, step by step: for progress, pictures, or to stop early.

    Args:
        energy: Energy.
        m: Magnetization, changed in place: that of each step while the caller looks.
        options: The keywords of ``minimise``: torque, method, basis, t, search, petsc_options,
            petsc_options_prefix.

    Yields:
        Where it stands, the start included; ends where the torque is reached.

    Raises:
        ValueError: As ``minimise``, at the call.
        ConvergenceError: As ``minimise``.

    Note: Collective.
    """
    mover = Minimiser(energy, m, **options)

    def steps() -> Iterator[Descending]:
        try:
            yield from mover.steps()
        finally:
            mover.destroy()

    return steps()
