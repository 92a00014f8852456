# SPDX-License-Identifier: LGPL-3.0-or-later
"""TangentSolver: steps of the tangent-plane scheme, with the solver that fits their size."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Krylov, Options, Result, check_real_build
from dolfinx_llg.schemes.step import check_time_step
from dolfinx_llg.schemes.tangent_plane import TangentPlaneStep
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks
from dolfinx_llg.solvers.tangent.projected import ProjectedSystem
from dolfinx_llg.solvers.tangent.quality import count_obtuse_cells
from dolfinx_llg.solvers.tangent.reduced import ReducedSystem
from dolfinx_llg.solvers.tangent.saddle import DirectSystem, SaddleSystem
from dolfinx_llg.solvers.tangent.split import ConsistentSystem, SplitSystem

__all__ = ["TangentSolver", "expected_iterations"]

Array = npt.NDArray[np.float64]
REDUCED = ("auto", "fast", "scalable", "combined", "mumps")
SADDLE = ("auto", "fast", "scalable", "fieldsplit", "mumps")
# ILU takes about 5 sqrt(stiffness) iterations to rtol 1e-6, until it has crossed the mesh; above
# this count the long waves are better left to multigrid (fitted in demo_tangent_plane_solver).
ILU_LIMIT = 25.0


class _System(Protocol):
    """What the forms of the linear system have in common."""

    @property
    def krylov(self) -> Krylov | None: ...
    def assemble(self, m: Array, D: Array) -> None: ...
    def solve(self, r: Array, guess: Array) -> tuple[Array, Result]: ...
    def destroy(self) -> None: ...


def expected_iterations(stiffness: float, nodes: int, dim: int) -> float:
    """Return the iterations that ILU is expected to take to rtol 1e-6.

    Args:
        stiffness: Largest nodal theta dt K_ii/|D_i + i G_i|, about 8 kappa theta dt/h^2 on Kuhn's
            tetrahedra: the square of the number of cells over which exchange couples in a step.
        nodes: Number of nodes of the mesh.
        dim: Topological dimension of the mesh.
    """
    return min(5.0 * math.sqrt(stiffness), 1.2 * nodes ** (1.0 / dim))


@checked
class TangentSolver:
    """Solves the steps of a ``TangentPlaneStep``; the stiffness is assembled once.

    Args:
        step: The step to solve.
        basis: Subspace in which v and the multiplier are sought (None: the fine space).
        constraint: "saddle-point" (v and the multiplier), "reduced" (two unknowns a node), None:
            reduced wherever that is possible.
        preconditioner: "fast" (ILU(0) by nodes, on several ranks with overlap 1), "scalable" (AMG,
            built once per dt; iterations do not grow with the mesh), "combined" (AMG, then ILU;
            reduced form only), "fieldsplit" (saddle point by blocks), "mumps", or "auto": fast
            where ``expected_iterations`` are at most 25, else combined (for the saddle point:
            scalable).
        petsc_options: PETSc options without prefix; those of the AMG start with ``scalar_``, those
            of the ILU inside "combined" with ``local_``. Default: right GMRES to rtol 1e-6 of the
            right side, which is far below the error of a step.
        petsc_options_prefix: Prefix under which the command line reaches the solver.

    Attributes:
        iterations: Krylov iterations of the last step.
        newton_iterations: 0, the scheme is linear.
        form: The (constraint, preconditioner) in use.
        seconds: Wall time of the last step on this rank, by part: "setup" (what a new dt costs,
            and the factorizations of this step), "assembly" (right side and matrix), "solve"
            (iterations and update).

    Raises:
        RuntimeError: If PETSc is built for complex numbers.
        ValueError: If the names are unknown or do not fit the step.
    """

    def __init__(
        self,
        step: TangentPlaneStep,
        *,
        basis: GalerkinBasis | None = None,
        constraint: str | None = None,
        preconditioner: str = "auto",
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_",
    ) -> None:
        check_real_build()
        self._options = Options(petsc_options_prefix, petsc_options)
        self._asked = _check_form(step, basis, constraint, preconditioner)
        self.step, self._basis = step, basis
        index_map = step.m.function_space.dofmap.index_map
        if basis is not None and basis.P.getLocalSize()[0] != 3 * index_map.size_local:
            raise ValueError(
                f"the basis has {basis.P.getSize()[0]} rows, the space of m "
                f"{3 * index_map.size_global} dofs (or they are distributed differently)"
            )
        self.iterations = self.newton_iterations = 0
        self.seconds = {"setup": 0.0, "assembly": 0.0, "solve": 0.0}
        self.form = ("", "")
        self._dt = math.nan
        self._warned: set[float] = set()
        self._system: _System | None = None
        PETSc.garbage_cleanup(step.m.function_space.mesh.comm)
        self.blocks = NodalBlocks(step)
        self._v = np.zeros((self.blocks.n, 3))
        self._old: tuple[Array, float] | None = None  # m before the last step, and its dt
        if step.projection and step.stiffness is not None:
            _warn_of_obtuse_cells(step)

    def enter_basis(self) -> None:
        """Replace m by P Psi m, as a run in a subspace starts (nothing without a basis).

        Raises:
            ValueError: If that changes m by more than the basis's ``entry_tolerance``.
        """
        basis, m = self._basis, self.step.m
        if basis is None:
            return
        fine, coarse = basis.P.createVecLeft(), basis.P.createVecRight()
        fine.array[:] = m.x.array[: fine.getLocalSize()]
        basis.coefficients(fine, coarse)
        basis.prolong(coarse, fine)
        own = m.x.array[: fine.getLocalSize()]
        basis.check_entry(own, fine.array)
        m.x.array[: len(own)] = fine.array
        m.x.scatter_forward()
        for vector in (fine, coarse):
            vector.destroy()

    def reassemble(self) -> None:
        """Take up changed data of implicit terms (values of kappa, q_u): see ``StepSolver``."""
        self.blocks.assemble_stiffness()
        self._dt = math.nan

    def _choose(self, tau: float) -> tuple[str, str]:
        constraint, preconditioner = self._asked
        if preconditioner != "auto":
            return constraint, preconditioner
        if self.step.measure == "consistent" or self._basis is not None:
            return constraint, "mumps"
        blocks = self.blocks
        size = np.hypot(blocks.mass * blocks.damping, blocks.gyro)
        ratio = tau * blocks.scalar_stiffness()[blocks.diagonal] / size
        stiffness = max(blocks.comm.allgather(float(np.max(ratio, initial=0.0))))
        dim = self.step.m.function_space.mesh.topology.dim
        if expected_iterations(stiffness, blocks.n_global, dim) <= ILU_LIMIT:
            return constraint, "fast"
        return constraint, "combined" if constraint == "reduced" else "scalable"

    def _set_time_step(self, dt: float) -> None:
        """Build what depends on dt alone: the scaled stiffness and the AMG."""
        if self._system is not None:
            self._system.destroy()
            PETSc.garbage_cleanup(self.blocks.comm)
        tau = self.step.theta * dt
        constraint, kind = self.form = self._choose(tau)
        if self._basis is not None:
            self._system = ProjectedSystem(self.blocks, tau, self._basis, self._options)
        elif self.step.measure == "consistent":
            self._system = ConsistentSystem(self.blocks, tau, self._options)
        elif constraint == "reduced":
            self._system = ReducedSystem(self.blocks, tau, kind, self._options)
        elif kind == "fieldsplit":
            self._system = SplitSystem(self.blocks, tau, self._options)
        elif kind == "mumps":
            self._system = DirectSystem(self.blocks, tau, self._options)
        else:
            self._system = SaddleSystem(self.blocks, tau, kind, self._options)
        self._dt = dt
        self._warn_of_large_step(dt)

    def solve(self, t: float) -> None:
        """Advance ``step.m`` by one step to the time ``t`` of the new level.

        Raises:
            ValueError: If dt has been set to a value that is not positive.
            ConvergenceError: If the solver did not converge; m keeps its last good value.
        """
        step, blocks = self.step, self.blocks
        dt = float(step.dt.value)
        check_time_step(dt)
        begin = time.perf_counter()
        if dt != self._dt:
            self._set_time_step(dt)
        system = self._system
        assert system is not None
        middle = time.perf_counter()
        m = step.m.x.array.reshape(-1, 3)[: blocks.n].copy()
        self._extrapolate(m, dt)
        step.update(step.middle, step.field_time(t))
        r = blocks.right_side(m)
        D = blocks.dissipation(m, r, dt)
        if self._basis is None and step.measure == "nodal":
            # The multiplier takes up the part along m; the tolerance is to be that of the rest.
            square = np.einsum("ij,ij->i", m, m)
            r -= m * (np.einsum("ij,ij->i", m, r) / square)[:, None]
        system.assemble(m, D)
        assembled = time.perf_counter()
        assert system.krylov is not None
        system.krylov.set_up()
        factorized = time.perf_counter()
        v, result = system.solve(r, self._v)
        self.iterations = result.check(f"{step.name} ({'/'.join(self.form)})", t).iterations
        step.v.x.array[: v.size] = v.ravel()
        step.v.x.scatter_forward()
        step.accept()
        self._v, self._old = v, (m, dt)
        end = time.perf_counter()
        setup = middle - begin + factorized - assembled
        self.seconds = {"setup": setup, "assembly": assembled - middle, "solve": end - factorized}

    def _extrapolate(self, m: Array, dt: float) -> None:
        """Set ``step.middle`` to m at half a step ahead, to second order once there is a past."""
        step = self.step
        if step.middle is step.m:
            return
        ahead = m
        if self._old is not None:
            ahead = m + 0.5 * dt / self._old[1] * (m - self._old[0])
        step.middle.x.array[: m.size] = ahead.ravel()
        step.middle.x.scatter_forward()

    def history(self) -> list[fem.Function]:
        """Return v and m of the step before the last, as a restart needs them."""
        if self._old is None:
            return []
        functions = []
        for name, values in (("v", self._v), ("m_old", self._old[0])):
            function = fem.Function(self.step.m.function_space, name=name)
            function.x.array[: values.size] = values.ravel()
            function.x.scatter_forward()
            functions.append(function)
        return functions

    def restore(self, history: Sequence[fem.Function], dt: float) -> None:
        """Take up what ``history`` returned after a step of size dt; nothing: start afresh."""
        if len(history) != 2:
            self._v, self._old = np.zeros_like(self._v), None
            return
        parts = [f.x.array.reshape(-1, 3)[: self.blocks.n].copy() for f in history]
        self._v, self._old = parts[0], (parts[1], dt)

    def destroy(self) -> None:
        """Free all PETSc objects now (else they go with the solver). Collective."""
        if self._system is not None:
            self._system.destroy()
        self._system, self._dt = None, math.nan

    # -- warnings ----------------------------------------------------------------------------------

    def _warn_of_large_step(self, dt: float) -> None:
        if self.step.theta >= 0.5 or dt in self._warned:
            return
        self._warned.add(dt)
        limit = 1.0 / ((0.5 - self.step.theta) * self.blocks.largest_rate())
        if dt > limit:
            warnings.warn(
                f"theta = {self.step.theta:g} < 1/2: the energy may rise with dt = {dt:.3g}; below "
                f"{limit:.3g} it does not (theta >= 1/2 has no limit)",
                stacklevel=4,
            )


def _check_form(
    step: TangentPlaneStep, basis: GalerkinBasis | None, constraint: str | None, kind: str
) -> tuple[str, str]:
    """Return the constraint and preconditioner asked for, or raise ValueError."""
    weak = step.measure == "consistent" or basis is not None
    if constraint not in (None, "saddle-point", "reduced"):
        raise ValueError(f"constraint must be 'saddle-point' or 'reduced', got {constraint!r}")
    if weak and constraint == "reduced":
        why = "in a basis" if basis is not None else "with measure='consistent'"
        raise ValueError(f"{why} v.m = 0 does not hold at nodes: use constraint='saddle-point'")
    if constraint is None:
        constraint = "saddle-point" if weak or kind == "fieldsplit" else "reduced"
    allowed: tuple[str, ...] = REDUCED if constraint == "reduced" else SADDLE
    if weak:
        allowed = ("auto", "mumps")
    if kind not in allowed:
        raise ValueError(
            f"preconditioner must be one of {', '.join(allowed)} for this step with "
            f"constraint={constraint!r}, got {kind!r}"
        )
    if basis is not None and step.measure == "consistent":
        raise ValueError("a basis needs measure='nodal'")
    return constraint, kind


def _warn_of_obtuse_cells(step: TangentPlaneStep) -> None:
    obtuse, cells = count_obtuse_cells(step.m.function_space.mesh)
    if obtuse:
        warnings.warn(
            f"{obtuse} of {cells} cells have an obtuse angle: there the projection m/|m| may raise "
            "the exchange energy, and the energy law is not guaranteed",
            stacklevel=4,
        )
