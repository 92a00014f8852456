# SPDX-License-Identifier: LGPL-3.0-or-later
"""MidpointStepper: the implicit midpoint rule by Newton's method and preconditioned GMRES."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.cross import cross
from dolfinx_llg.la.krylov import RIGHT_GMRES, Krylov, Options
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.schemes.midpoint import MidpointStep
from dolfinx_llg.schemes.nodal import cayley
from dolfinx_llg.solvers.base import FunctionStepper
from dolfinx_llg.solvers.midpoint_space import (
    Nodes,
    Space,
    Subspace,
    TurnedPreconditioner,
    dot,
    unit,
)
from dolfinx_llg.solvers.nodal_field import NodalField, identifies_nodes
from dolfinx_llg.solvers.noise import NodalNoise
from dolfinx_llg.solvers.stepper import Memory, extrapolation, stepper
from dolfinx_llg.solvers.subspace_field import FieldInSubspace

__all__ = ["MidpointStepper"]

Array = npt.NDArray[np.floating]
logger = logging.getLogger(__name__)

LEVELS = 3
"""States from which the start is extrapolated: its error is dt^3 m'''."""
SHARE = 1.0 / 120.0
"""Residual over the start's error: a tenth of the time error, which is 1/12 of that error."""
FIRST_TOLERANCE = 1e-8
"""Tolerance while there are fewer than ``LEVELS`` states."""
MAX_NEWTON = 15
BAND = 2.0
"""A preconditioner serves for time steps within this factor of the one that it was built for."""


class _Jacobian:
    """Python matrix: the derivative of the residual at x.

    At the nodes of unit m and m' the residual is normal to x, and corrections are tangential to m':
    their parts along these are taken out, which couple strongly where the field is large.
    """

    def __init__(self, field: NodalField | FieldInSubspace, space: Space) -> None:
        self.field, self.space = field, space
        self.half = 0.0
        self.c: float | Array = 1.0
        self.damping: float | Array = 0.0
        self.x: Array = np.zeros(field.shape)
        self.H: Array = self.x
        self.h: Array = self.x
        self.apart: tuple[Array, Array] | None = None

    def mult(self, A: PETSc.Mat, u: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the derivative along u (called by PETSc)."""
        v = self.space.expand(u.getArray(readonly=True).reshape(-1, 3))
        if self.apart is not None:
            part = dot(self.apart[1], v)
            v = v - self.apart[1] * part
        change = self.field.change(v)
        turned = cross(self.x, change)
        turned += cross(v, self.H)
        turned *= self.damping
        turned += change
        turned *= self.c
        out = cross(self.x, turned)
        out += cross(v, self.h)
        out *= self.half
        out += v
        if self.apart is not None:
            out += self.apart[0] * (part - dot(self.apart[0], out))
        y.getArray()[:] = self.space.restrict(out).ravel()


@checked
class MidpointStepper(FunctionStepper):
    """The stepper of a ``MidpointStep``: Newton's method from an extrapolated start.

    GMRES solves the Newton systems, matrix-free, with ``TurnedPreconditioner``, whose scalar
    operator (mass and exchange) is factorized or given to AMG once; neither its count nor Newton's
    grows as the mesh is refined. Its attributes are those of ``FunctionStepper``, and more.

    Args:
        step: The step.
        basis: Periodic basis, or a coarse space of increments; None: the fine space.
        petsc_options: PETSc options of the linear solver (``ksp_``) without prefix; those of the
            scalar operator start with ``scalar_``.
        petsc_options_prefix: Prefix under which the command line reaches the solver.

    Attributes:
        field: The effective field.
        energy_defect: In a coarse basis, the energy of the last step's end, minus that of its
            beginning, plus what the damping has dissipated (units of the energy; the field's
            explicit data frozen); 0 up to the tolerance at the nodes, and not computed there, nor
            with thermal noise.
        residual: Root mean square of the residual that the last step was left with.

    Raises:
        ValueError: If the basis does not fit the space.

    Note: Collective.
    """

    def __init__(
        self,
        step: MidpointStep,
        *,
        basis: GalerkinBasis | None = None,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_",
    ) -> None:
        V = step.m.function_space
        super().__init__(step, fem.Function(V, name="x"), basis, (), ())
        rows = 3 * self._owned
        if basis is not None and basis.sizes[0][0] != rows:
            raise ValueError(
                f"the basis has {basis.sizes[0][1]} rows, the space of m "
                f"{3 * V.dofmap.index_map.size_global} dofs (or they are distributed differently)"
            )
        coarse = basis is not None and not identifies_nodes(basis, rows, self.comm)
        self.field = NodalField(step.energy, step.m, None if coarse else basis)
        self._options = Options(petsc_options_prefix, petsc_options)
        self._space: Space = Nodes(self.field)
        self._coarse = coarse
        self._held: Array | float = 0.0
        self._inside: FieldInSubspace | None = None
        if step.noise is not None:
            self.noise = NodalNoise(step.noise, step.energy.Ms, step.m, self.field)
        if basis is not None and coarse:
            self._space = space = Subspace(self.field, basis)
            if step.noise is not None:
                inside = self._options.inside("mass_")
                self._inside = FieldInSubspace(self.field, space, inside)
        self.energy_defect, self.residual = math.nan, math.nan
        self._jacobian = _Jacobian(self._inside or self.field, self._space)
        size = (3 * self._space.rows, PETSc.DETERMINE)
        self._A = PETSc.Mat().createPython((size, size), self._jacobian, comm=self.comm)
        self._A.setUp()
        self._b, self._u = self._A.createVecs()
        self._krylov = Krylov(self._A, self._options, defaults=RIGHT_GMRES)
        self._fixed_rtol = self._options.given("ksp_rtol")
        self._pc: TurnedPreconditioner | None = None
        self._built_for = math.nan
        self._linearised = False
        self._times: list[float] = []
        self._states: list[Array] = []
        ones = self._space.restrict(np.ones(self.field.shape))
        self._scale = self._norm(ones) / math.sqrt(3.0)

    # -- what depends on dt and on the data --------------------------------------------------------

    def _reassemble(self) -> None:
        """There is nothing that the field does not watch itself."""

    def _set_time_step(self, dt: float) -> None:
        """Build the preconditioner, outside the band of the dt that it was built for."""
        if 1 / BAND <= dt / self._built_for <= BAND or not self._krylov.preconditioned:
            return
        if self._pc is not None:
            self._pc.destroy()
            tidy(self.m.function_space.mesh)
        c, damping = self.field.damping_rate(self.step.damping)
        stretch = c * np.hypot(1.0, damping)
        self._pc = TurnedPreconditioner(
            self._space,
            0.5 * dt,
            stretch,
            np.arctan2(1.0, damping),
            self._options.inside("scalar_"),
            self.step.m.function_space.mesh.topology.dim,
        )
        self._krylov.precondition(self._pc)
        self._built_for = dt

    # -- one step ----------------------------------------------------------------------------------

    def _solve(self, t: float, dt: float) -> None:
        begin = time.perf_counter()
        middle = self.t + 0.5 * dt
        m = self.field.nodal(self.step.m)
        u = self._start(m, t)
        if self.field.refresh(middle, m + self._space.expand(u)) and not self.field.dynamic:
            self._built_for = math.nan
        self._set_time_step(dt)
        if self._inside is not None:
            self._inside.renew()
        setup = time.perf_counter() - begin
        self.iterations = self.newton_iterations = 0
        if self.noise is not None:
            c, damping = self.field.damping_rate(self.step.damping)
            self._held = self.noise.draw(middle, dt, damping / (c * (1.0 + damping**2)))
        u = self._newton(m, u, t, dt)
        if self.field.dynamic and len(self._states) < LEVELS:
            # The first steps have too few states to extrapolate m to the middle, where fields with
            # an update are taken: these are evaluated again at the middle of the first solve.
            self.field.refresh(middle, m + self._space.expand(u))
            u = self._newton(m, u, t, dt)
        jacobian = self._jacobian
        if self._coarse:
            new = m + 2.0 * self._space.expand(u)
            self.field.assign(self._candidate, new)
            self._project_candidate(t)
            if self.noise is None:
                self._measure_defect(m, self._values(self._candidate), dt)
        else:
            self.field.assign(self._candidate, cayley(m, jacobian.h, dt))
        rest = time.perf_counter() - begin - setup
        self.seconds = {"setup": setup, "assembly": 0.0, "solve": rest}

    def _start(self, m: Array, t: float) -> Array:
        """Extrapolate the last states to the new time; return the half increment."""
        if not self._states:
            return np.zeros((self._space.rows, 3))
        known = [m, *self._states]
        weights = extrapolation([self.t, *self._times], t)
        ahead = sum((w * state for w, state in zip(weights, known, strict=True)), -m)
        return self._space.retract(m, self._space.coefficients(0.5 * ahead))

    def _evaluate(self, m: Array, u: Array, t: float, dt: float) -> Array:
        """Return the residual at u, tested; the Jacobian stands there then."""
        J = self._jacobian
        J.half = 0.5 * dt
        increment = self._space.expand(u)
        J.x = m + increment
        J.H = J.field.evaluate(J.x) + self._held
        J.h = J.c * (J.H + J.damping * cross(J.x, J.H))
        return self._space.restrict(increment + J.half * cross(J.x, J.h))

    def _newton(self, m: Array, u: Array, t: float, dt: float) -> Array:
        J, asked = self._jacobian, self.step.tolerance
        J.c, J.damping = self.field.damping_rate(self.step.damping)
        F = self._evaluate(m, u, t, dt)
        size = self._norm(F) / self._scale
        if not math.isfinite(size):
            raise RuntimeError(
                f"{self.name}: the effective field of the step to t = {t:.6g} is not finite: a "
                "field, a coefficient or m is NaN or infinite there"
            )
        floor = 1e-15 * (1.0 + self._largest(J.half * J.H))
        experienced = len(self._states) >= LEVELS - 1
        bound = asked if asked is not None else FIRST_TOLERANCE
        if not self.field.quadratic:
            self.field.linearise(J.x)
        moved = np.zeros_like(u)
        sizes = [size]
        while sizes[-1] > max(bound, floor) or (asked is None and experienced and len(sizes) == 1):
            if len(sizes) > MAX_NEWTON or not sizes[-1] <= 10.0 * sizes[0] + 1.0:
                self._fail(t, sizes)
            if sizes[-1] <= floor or (
                len(sizes) > 2 and sizes[-1] <= 100 * floor and sizes[-1] > 0.5 * sizes[-2]
            ):
                break  # stagnation at the rounding of dt h
            reduction = 0.5 * bound / sizes[-1]
            if asked is None and experienced and len(sizes) == 1:
                reduction = 0.5 * SHARE
            self._set_directions(m, u)
            correction = self._correct(F, min(max(reduction, 1e-6), 0.1), t)
            before, u = u, self._space.retract(m, u + correction)
            moved = moved + (u - before)
            F = self._evaluate(m, u, t, dt)
            sizes.append(self._norm(F) / self._scale)
            self.newton_iterations += 1
            if asked is None and experienced:
                tested = self._space.restrict(self._space.expand(moved))
                bound = max(SHARE * self._norm(tested) / self._scale, floor)
        self.residual = sizes[-1]
        return u

    def _set_directions(self, m: Array, u: Array) -> None:
        """Tell the Jacobian and its preconditioner about which directions they turn."""
        self._jacobian.apart = apart = self._space.directions(m, u)
        if self._pc is None:
            return
        if apart is None:
            middle = unit(self._space.coefficients(m))
            apart = (middle, middle)
        self._pc.set_directions(*apart)

    def _correct(self, F: Array, rtol: float, t: float) -> Array:
        """Solve a Newton system to a part of its right side."""
        self._b.array[:] = -F.ravel()
        self._u.set(0.0)
        if not self._fixed_rtol:
            self._krylov.ksp.setTolerances(rtol=rtol)
        result = self._krylov.solve(self._b, self._u)
        self.iterations += result.iterations
        result.check(f"{self.name} ({self._krylov.method})", t)
        return np.array(self._u.array_r).reshape(-1, 3)

    def _fail(self, t: float, sizes: list[float]) -> None:
        shown = ", ".join(f"{value:.1e}" for value in sizes[-4:])
        raise ConvergenceError(
            f"{self.name}: Newton's method did not converge at t = {t:.6g}: residuals {shown} "
            f"after {len(sizes) - 1} iterations; try a smaller dt",
            reason=-3 if len(sizes) > MAX_NEWTON else -9,
            iterations=self.iterations,
            t=t,
        )

    def _norm(self, values: Array) -> float:
        """Return the norm over all ranks."""
        return math.sqrt(self.field.dot(values, values))

    def _largest(self, values: Array) -> float:
        return max(self.comm.allgather(float(np.max(np.abs(values), initial=0.0))))

    def _measure_defect(self, m: Array, new: Array, dt: float) -> None:
        """Set ``energy_defect``; the trapezoidal rule is exact for an affine field."""
        J, volumes = self._jacobian, self.field.volumes[:, None]
        mean = 0.5 * (self.field.evaluate(m) + self.field.evaluate(new))
        turned = cross(J.x, J.H)
        dissipated = dt * self.field.dot(volumes * J.c * J.damping * turned, turned)
        self.energy_defect = dissipated - self.field.dot(volumes * mean, new - m)
        logger.info("%s: energy defect %.3g", self.name, self.energy_defect)

    # -- earlier steps -----------------------------------------------------------------------------

    def _keep(self) -> None:
        if self.noise is not None:
            return  # noise cannot be extrapolated: each step starts from the present state
        self._states = [self.field.nodal(self.step.m), *self._states][: LEVELS - 1]
        self._times = [self.t, *self._times][: LEVELS - 1]

    def _forget(self) -> None:
        self._states, self._times = [], []

    def _memory(self) -> Memory:
        memory = Memory(numbers={"m_times": list(self._times), "built_for": [self._built_for]})
        for index, state in enumerate(self._states):
            memory.keep(f"m_{index}", state, self.field.basis)
        return memory

    def _take(self, memory: Memory) -> None:
        self._forget()
        work = fem.Function(self.step.m.function_space)
        for index, t in enumerate(memory.numbers.get("m_times", [])):
            self._values(work)[:] = memory.fields[f"m_{index}"]
            work.x.scatter_forward()
            self._states.append(self.field.nodal(work))
            self._times.append(t)
        (built_for,) = memory.numbers.get("built_for", [math.nan])
        if math.isfinite(built_for):
            self._set_time_step(built_for)

    def destroy(self) -> None:
        """Free all PETSc objects now (else they go with the stepper). Collective."""
        for part in (self._pc, self._inside):
            if part is not None:
                part.destroy()
        for item in (self._krylov, self._A, self._b, self._u):
            item.destroy()


@stepper.register
def _(
    step: MidpointStep,
    *,
    basis: GalerkinBasis | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str | None = None,
) -> MidpointStepper:
    prefix = "llg_" if petsc_options_prefix is None else petsc_options_prefix
    return MidpointStepper(
        step, basis=basis, petsc_options=petsc_options, petsc_options_prefix=prefix
    )
