# SPDX-License-Identifier: LGPL-3.0-or-later
"""TangentStepper: steps of the tangent-plane scheme, with the solver that fits their size."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import warn
from dolfinx_llg.collective import together
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.krylov import Krylov, Options, Result, check_real_build
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.schemes.tangent_plane import TangentPlaneStep
from dolfinx_llg.solvers.base import FunctionStepper
from dolfinx_llg.solvers.noise import NodalNoise
from dolfinx_llg.solvers.stepper import Memory, stepper
from dolfinx_llg.solvers.tangent.blocks import NodalBlocks
from dolfinx_llg.solvers.tangent.coarse import CoarseSystem
from dolfinx_llg.solvers.tangent.projected import ProjectedSystem
from dolfinx_llg.solvers.tangent.quality import count_obtuse_cells
from dolfinx_llg.solvers.tangent.saddle import DirectSystem, SaddleSystem
from dolfinx_llg.solvers.tangent.split import ConsistentSystem, SplitSystem
from dolfinx_llg.solvers.tangent.two_unknown import TwoUnknownSystem

__all__ = ["TangentStepper", "expected_iterations"]

Array = npt.NDArray[np.float64]
TWO_UNKNOWN = ("auto", "fast", "scalable", "combined", "mumps")
SADDLE = ("auto", "fast", "scalable", "fieldsplit", "mumps")
# ILU takes about 5 sqrt(stiffness) iterations to rtol 1e-6, until it has crossed the mesh; above
# this count the long waves are better left to multigrid (fitted in demo_tangent_plane_solver).
ILU_LIMIT = 25.0
# Share of exchange with the wrong sign from which a mesh is worth a warning.
WRONG_COUPLINGS = 1e-3


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
class TangentStepper(FunctionStepper):
    """The stepper of a ``TangentPlaneStep``; the stiffness is assembled once.

    Args:
        step: The step to solve.
        basis: Subspace in which v and the multiplier are sought (None: the fine space).
        constraint: "saddle-point" (v and the multiplier), "two-unknown" (two unknowns a node, in a
            frame of the tangent plane), None: that wherever it is possible.
        preconditioner: "fast" (ILU(0) by nodes, on several ranks with overlap 1), "scalable" (AMG,
            built once per dt; iterations do not grow with the mesh), "combined" (AMG, then ILU;
            two-unknown form only), "fieldsplit" (saddle point by blocks), "mumps", or "auto": fast
            where ``expected_iterations`` are at most 25, else combined (for the saddle point:
            scalable); its iterations stay below 22 on structured meshes up to 48^3 cells, and
            were up to 33 on Delaunay meshes of larger contrast.
        petsc_options: PETSc options without prefix; those of the AMG start with ``scalar_``, those
            of the ILU inside "combined" with ``local_``. Default: right GMRES to rtol 1e-6 of the
            right side, which is far below the error of a step.
        petsc_options_prefix: Prefix under which the command line reaches the solver.

    Attributes: see also ``FunctionStepper``.
        form: The (constraint, preconditioner) in use.
        blocks: Kept stiffness and nodal data.

    Warns:
        UserWarning: Where more than 1e-3 of exchange, by weight, couples nodes across obtuse angles
            with the wrong sign, for which the energy law is not proved; where theta < 1/2 and dt is
            above the limit.

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
        kept = [step.mass, step.damped, step.gyro]
        kept += [] if step.stiffness is None else [step.stiffness]
        candidate = fem.Function(step.m.function_space, name="x")
        super().__init__(step, candidate, basis, kept, [step.m])
        if basis is not None:
            basis.check_space(step.m.function_space)
        self.form = ("", "")
        self._dt = math.nan
        self._warned: set[float] = set()
        self._system: _System | None = None
        self.blocks = NodalBlocks(step)
        self._v = self._v_new = np.zeros((self.blocks.n, 3))
        self._old: tuple[Array, float] | None = None  # m before the last step, and its dt
        if step.noise is not None:
            assert step.energy is not None
            self.noise = NodalNoise(step.noise, step.energy.Ms, step.m)
        self.check_damping(lumped=step.measure == "nodal")
        if step.projection and step.stiffness is not None:
            _warn_of_obtuse_cells(step, self.blocks)

    def seconds_projection(self) -> float:
        """Wall time spent in P and its transpose for the present dt, a part of the solves.

        0 in the fine space, and where triple products are formed.
        """
        system = self._system
        return system.prolongation.seconds if isinstance(system, CoarseSystem) else 0.0

    def _reassemble(self) -> None:
        """Assemble stiffness and nodal data anew: kappa, q_u, Ms or the damping have changed."""
        self.blocks.assemble()
        self._dt = math.nan

    def _choose(self, tau: float) -> tuple[str, str]:
        constraint, preconditioner = self._asked
        if preconditioner != "auto":
            return constraint, preconditioner
        if self.step.measure == "consistent":
            return constraint, "mumps"
        if self._basis is not None:
            return constraint, "scalable"
        blocks = self.blocks
        size = np.hypot(blocks.mass * blocks.damping, blocks.gyro)
        ratio = tau * blocks.scalar_stiffness()[blocks.diagonal] / size
        stiffness = max(blocks.comm.allgather(float(np.max(ratio, initial=0.0))))
        dim = self.step.m.function_space.mesh.topology.dim
        if expected_iterations(stiffness, blocks.n_global, dim) <= ILU_LIMIT:
            return constraint, "fast"
        return constraint, "combined" if constraint == "two-unknown" else "scalable"

    def _set_time_step(self, dt: float) -> None:
        """Build what depends on dt alone: the scaled stiffness and the AMG."""
        if self._system is not None:
            self._system.destroy()
            tidy(self.m.function_space.mesh)
        tau = self.step.theta * dt
        constraint, kind = self.form = self._choose(tau)
        if self._basis is not None and kind == "scalable":
            self._system = CoarseSystem(self.blocks, tau, self._basis, self._options)
        elif self._basis is not None:
            self._system = ProjectedSystem(self.blocks, tau, self._basis, self._options)
        elif self.step.measure == "consistent":
            self._system = ConsistentSystem(self.blocks, tau, self._options)
        elif constraint == "two-unknown":
            self._system = TwoUnknownSystem(self.blocks, tau, kind, self._options)
        elif kind == "fieldsplit":
            self._system = SplitSystem(self.blocks, tau, self._options)
        elif kind == "mumps":
            self._system = DirectSystem(self.blocks, tau, self._options)
        else:
            self._system = SaddleSystem(self.blocks, tau, kind, self._options)
        self._dt = dt
        self._warn_of_large_step(dt)

    def _solve(self, t: float, dt: float) -> None:
        step, blocks = self.step, self.blocks
        begin = time.perf_counter()
        if dt != self._dt:
            self._set_time_step(dt)
        system = self._system
        assert system is not None
        middle = time.perf_counter()
        m = self._values(step.m)
        self._extrapolate(m, dt)
        with together(step.m.function_space.mesh.comm):
            step.update(step.middle, step.field_time(t, dt))
        r = blocks.right_side(m)
        if self.noise is not None:
            held = self.noise.draw(t - 0.5 * dt, dt, blocks.damping[:, None])
            r += blocks.mass[:, None] * held
        if not all(blocks.comm.allgather(bool(np.all(np.isfinite(r))))):
            raise RuntimeError(
                f"{step.name}: the right side of the step to t = {t:.6g} is not finite: a field, "
                "a coefficient or m is NaN or infinite there"
            )
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
        self._v_new = v
        self._values(self._candidate)[:] = m + dt * v
        self._candidate.x.scatter_forward()
        if step.projection:
            self._project_candidate(t)
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
        self._values(step.middle)[:] = ahead
        step.middle.x.scatter_forward()

    # -- earlier steps -----------------------------------------------------------------------------

    def _keep(self) -> None:
        assert self._pending is not None
        if self.noise is None:  # noise cannot be extrapolated: each step starts afresh
            self._v, self._old = self._v_new, (self._accepted_values(), self._pending.dt)
        self._values(self.step.v)[:] = self._v_new
        self.step.v.x.scatter_forward()

    def _forget(self) -> None:
        self._v, self._old = np.zeros_like(self._v), None

    def _memory(self) -> Memory:
        if self._old is None:
            return Memory()
        return Memory(
            fields={"v": self._v.copy(), "m_old": self._old[0].copy()},
            numbers={"dt_old": [self._old[1]]},
        )

    def _take(self, memory: Memory) -> None:
        if "dt_old" not in memory.numbers:
            self._forget()
            return
        self._v = memory.fields["v"].copy()
        self._old = (memory.fields["m_old"].copy(), memory.numbers["dt_old"][0])

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
            warn(
                f"theta = {self.step.theta:g} < 1/2: the energy may rise with dt = {dt:.3g}; below "
                f"{limit:.3g} it does not (theta >= 1/2 has no limit)"
            )


@stepper.register
def _(
    step: TangentPlaneStep,
    *,
    basis: GalerkinBasis | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
) -> TangentStepper:
    prefix = "llg_" if petsc_options_prefix is None else petsc_options_prefix
    return TangentStepper(
        step, basis=basis, petsc_options=petsc_options, petsc_options_prefix=prefix
    )


def _check_form(
    step: TangentPlaneStep, basis: GalerkinBasis | None, constraint: str | None, kind: str
) -> tuple[str, str]:
    """Return the constraint and preconditioner asked for, or raise ValueError."""
    weak = step.measure == "consistent" or basis is not None
    if constraint not in (None, "saddle-point", "two-unknown"):
        raise ValueError(f"constraint must be 'saddle-point' or 'two-unknown', got {constraint!r}")
    if weak and constraint == "two-unknown":
        why = "in a basis" if basis is not None else "with measure='consistent'"
        raise ValueError(f"{why} v.m = 0 does not hold at nodes: use constraint='saddle-point'")
    if constraint is None:
        constraint = "saddle-point" if weak or kind == "fieldsplit" else "two-unknown"
    allowed: tuple[str, ...] = TWO_UNKNOWN if constraint == "two-unknown" else SADDLE
    if weak:
        allowed = ("auto", "mumps") if basis is None else ("auto", "scalable", "mumps")
    if kind not in allowed:
        raise ValueError(
            f"preconditioner must be one of {', '.join(allowed)} for this step with "
            f"constraint={constraint!r}, got {kind!r}"
        )
    if basis is not None and step.measure == "consistent":
        raise ValueError("a basis needs measure='nodal'")
    return constraint, kind


def _warn_of_obtuse_cells(step: TangentPlaneStep, blocks: NodalBlocks) -> None:
    """Say how much of exchange couples neighbours with the wrong sign, for which no law holds.

    The projection lowers ``1/2 sum_{i<j} -k_ij |m_i - m_j|^2`` term by term where ``k_ij <= 0``
    (Bartels 2005); a positive ``k_ij``, of obtuse angles, may raise its own term.
    """
    obtuse, cells = count_obtuse_cells(step.m.function_space.mesh)
    share = blocks.wrong_couplings()
    if obtuse and share > WRONG_COUPLINGS:
        warn(
            f"{obtuse} of {cells} cells ({100 * obtuse / cells:.1f} %) have an obtuse angle, and "
            f"{100 * share:.2g} % of exchange, by weight, couple neighbours with the wrong sign: "
            "of that part of the energy the projection m/|m| may raise some, so that the energy "
            "law is not guaranteed (measured runs on such meshes still decay; a Delaunay mesh of "
            "better quality has fewer)"
        )
