# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the steppers of a finite-element magnetization share: the protocol around one solve."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.schemes.step import check_time_step
from dolfinx_llg.solvers.coarse_fields import CoarseFields
from dolfinx_llg.solvers.damping_check import DampingCheck
from dolfinx_llg.solvers.entry import UNIT, entered, warn_of_entry
from dolfinx_llg.solvers.follow import Follower
from dolfinx_llg.solvers.nodal_field import identifies_nodes, refuse_images
from dolfinx_llg.solvers.noise import NodalNoise
from dolfinx_llg.solvers.stepper import Candidate, Memory, Past, measured
from dolfinx_llg.solvers.watch import Watch, same
from dolfinx_llg.sphere import check_magnetization, normalise

__all__ = ["FunctionStepper"]

Array = npt.NDArray[np.float64]


class FunctionStepper(Follower, ABC):
    """Base of the steppers whose m is a function; a subclass solves one step in ``_solve``.

    Args:
        step: Description of the step: m, dt, order, error_constant, projection, refresh, name.
        candidate: Function of m's space that holds the new magnetization until it is accepted.
        basis: Subspace of the run, which m enters at the start.
        kept: Forms whose assembled values the subclass keeps (``_reassemble`` makes them anew).
        moving: Functions in them that change from step to step.

    Attributes:
        fields: Fields with a solve of their own as a run in a basis takes them.
        noise: Its thermal field at the nodes, which a subclass makes; None: it has none.
        iterations: Krylov iterations of the last step (all Newton steps together).
        newton_iterations: Newton iterations of the last step (0 for linear schemes).
        seconds: Wall time of the last step on this rank, by part: "setup" (what a new dt costs),
            "assembly" (matrices and vectors, Newton's too), "solve" (the rest).
    """

    def __init__(
        self,
        step: Any,
        candidate: fem.Function,
        basis: GalerkinBasis | None,
        kept: Iterable[ufl.Form],
        moving: Iterable[fem.Function],
    ) -> None:
        V = step.m.function_space
        self.step, self._candidate = step, candidate
        self.name, self.order = str(step.name), int(step.order)
        self.t = 0.0
        self.iterations = self.newton_iterations = 0
        self.seconds = {"setup": 0.0, "assembly": 0.0, "solve": 0.0}
        self._basis = basis
        self._owned = int(V.dofmap.index_map.size_local)
        self._accepted: Array | None = None
        # Whether m has entered a subspace, where it is shorter than one, and no step has been taken
        # since: the first step projects it back to unit length.
        self._short = False
        self._past: Past | None = None
        self._pending: Candidate | None = None
        self._check: DampingCheck | None = None
        self.noise: NodalNoise | None = None
        energy = getattr(step, "energy", None)
        if basis is not None and energy is not None:
            refuse_images(energy, basis, 3 * self._owned, V.mesh.comm)
        self.fields = CoarseFields(energy, basis, V)
        self._revision = 0 if basis is None else basis.revision
        self._watch = Watch(kept, moving)
        tidy(V.mesh)

    # -- the protocol ------------------------------------------------------------------------------

    @property
    def comm(self) -> MPI.Comm:
        """Ranks of the mesh."""
        return self.step.m.function_space.mesh.comm

    @property
    def m(self) -> fem.Function:
        """Magnetization at the time t, the same object throughout."""
        return self.step.m

    @property
    def candidate(self) -> fem.Function:
        """Magnetization of the last ``advance``."""
        return self._candidate

    @property
    def dt(self) -> float:
        """Size of the next step: the value of the step's constant."""
        return float(self.step.dt.value)

    @dt.setter
    def dt(self, value: float) -> None:
        self.step.dt.value = np.asarray(value)

    def start(self, t: float, memory: Memory | None = None) -> None:
        """Stand at t with m as it is: see ``Stepper.start``.

        Where m and t are not those that it has left it begins afresh, and m enters the subspace.

        Raises:
            ValueError: If m is not of unit length (with projection) or not finite, or entering the
                subspace changes it by more than its ``entry_tolerance``.
        """
        dim = [0.0 if self._basis is None else float(self._basis.dim)]
        if memory is not None and memory.numbers.get("dim", dim) == dim:
            self.t = t
            self._restore(memory.complete())
            self._accepted = self._values(self.step.m).copy()
            return
        same = self._accepted is not None and t == self.t and not self._touched()
        if not all(self.comm.allgather(same)):
            self._take_m(t)
        self.t = t
        if self._past is not None and not self._past.times:
            self._past.push(t, self._of_unit_length())

    def advance(self, t: float, dt: float) -> Candidate:
        """Compute the candidate at t, dt after the present state.

        Raises:
            ValueError: If dt is not positive, or m or data of the step have become unusable.
            RuntimeError: If a right side is not finite.
            ConvergenceError: If the solver did not converge.
        """
        check_time_step(dt)
        self.step.refresh()
        energy = getattr(self.step, "energy", None)
        if energy is not None:
            energy.renew(self.step.m)
        self._look(t)
        wanted = self.dt
        self.dt = dt
        try:
            with self.fields.acting():
                self._solve(t, dt)
        finally:
            self.dt = wanted
        self._pending = self._judge(t, dt)
        if self.noise is not None:
            self.noise.tried(dt)
        return self._pending

    def accept(self) -> None:
        """Take the candidate as m."""
        assert self._pending is not None, "advance comes before accept"
        self._keep()
        self.step.m.x.array[:] = self._candidate.x.array
        self._look_at_damping()
        if self.noise is not None:
            self.noise.advance()
        self.t = self._pending.t
        self._accepted, self._short = self._values(self.step.m).copy(), False
        if self._past is not None:
            self._past.push(self.t, self._accepted)
        self._pending = None

    def reject(self) -> None:
        """Drop the candidate."""
        self._pending = None

    def restart(self) -> None:
        """Forget earlier steps."""
        self._begin_afresh()
        if self._past is not None and self._accepted is not None:
            self._past.push(self.t, self._accepted)

    def watch_error(self) -> None:
        """Estimate errors from now on; see ``refuse_adaptive_noise``."""
        self.refuse_adaptive_noise()
        if self._past is None:
            self._past = Past(self.order, float(self.step.error_constant))
            if self._accepted is not None:
                self._past.push(self.t, self._accepted)

    def refuse_adaptive_noise(self) -> None:
        """Raise ValueError if the run has thermal noise: its steps are fixed ones."""
        if self.noise is not None:
            raise ValueError(
                f"{self.name}: a run with thermal noise takes no adaptive steps, which would be "
                "chosen by their noise: leave adaptive out and set dt"
            )

    def history(self) -> Memory:
        """Return what a restart needs beside m, without communication."""
        memory = self._memory()
        if self.noise is not None:
            memory.numbers["noise_step"] = [float(self.noise.step)]
        memory.numbers["dim"] = [0.0 if self._basis is None else float(self._basis.dim)]
        if self._past is not None:
            self._past.write(memory)
        return memory

    # -- what a subclass supplies ------------------------------------------------------------------

    @abstractmethod
    def _solve(self, t: float, dt: float) -> None:
        """Set the candidate; m may not change."""

    @abstractmethod
    def _keep(self) -> None:
        """Take what the accepted step leaves to the next ones; m is still the old one."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget what earlier steps have left."""

    @abstractmethod
    def _memory(self) -> Memory:
        """Return what earlier steps have left, without communication."""

    @abstractmethod
    def _take(self, memory: Memory) -> None:
        """Take up what ``_memory`` returned."""

    @abstractmethod
    def _reassemble(self) -> None:
        """Make anew what was made of data that have changed."""

    def check_damping(self, *, lumped: bool) -> None:
        """Look from now on at how much damping the scheme adds (not in noise, which hides it).

        Args:
            lumped: Whether the scheme's products are lumped.
        """
        step, basis = self.step, self._basis
        energy, damping = getattr(step, "energy", None), getattr(step, "damping", None)
        if energy is None or damping is None or getattr(step, "noise", None) is not None:
            return
        coarse = basis is not None and not identifies_nodes(basis, 3 * self._owned, self.comm)
        self._check = DampingCheck(
            self.name, energy, damping, step.m, self.order, lumped=lumped, coarse=coarse
        )

    def look_once(self) -> None:
        """Look at the damping of the candidate, and at no other step any more. Collective."""
        self._look_at_damping(now=True)
        self._check = None

    def _look_at_damping(self, *, now: bool = False) -> None:
        # With noise the energy that damping takes comes back: a step's balance tells nothing.
        if self._check is None or self.noise is not None:
            return
        assert self._pending is not None
        with self.fields.acting():
            old = self._accepted_values()
            self._check.look(old, self._candidate, self._pending.dt, now=now)

    # -- shared ------------------------------------------------------------------------------------

    def _take_m(self, t: float) -> None:
        """Check m as the user has set it, and begin afresh with it in the subspace."""
        check_magnetization(self.step.m, unit=bool(self.step.projection))
        self._begin_afresh()
        self._enter(t)
        self._short = True
        self._accepted = self._values(self.step.m).copy()

    def _begin_afresh(self) -> None:
        if self._past is not None:
            self._past.clear()
        self._forget()

    def _restore(self, memory: Memory) -> None:
        if "past_times" in memory.numbers:
            self._past = Past(self.order, float(self.step.error_constant))
            self._past.read(memory)
        if self.noise is not None and "noise_step" in memory.numbers:
            self.noise.step = int(memory.numbers["noise_step"][0])
        self._take(memory)

    def _values(self, function: fem.Function) -> Array:
        """Return the values at the owned nodes, shape (n, 3), not copied."""
        return np.asarray(function.x.array[: 3 * self._owned].reshape(-1, 3))

    def _accepted_values(self) -> Array:
        assert self._accepted is not None
        return self._accepted

    def _of_unit_length(self) -> Array:
        """Return the accepted values as the next step is compared with them."""
        values = self._accepted_values()
        if not (self._short and self.step.projection):
            return values
        length = np.linalg.norm(values, axis=1, keepdims=True)
        return np.asarray(values / np.where(length > 0.0, length, 1.0))

    def _touched(self) -> bool:
        """Whether the user has changed m on this rank since the last step."""
        return not same(self._values(self.step.m), self._accepted_values())

    def _look(self, t: float) -> None:
        """Notice what the user has changed between steps: basis, m, and data read once."""
        self.look_at_basis()
        local = np.array([self._touched(), self._watch.changed()])
        found = np.any(self.comm.allgather(local), axis=0)
        if found[0]:
            self._take_m(t)
            if self._past is not None:
                self._past.push(self.t, self._accepted_values())
        if found[1]:
            if (energy := getattr(self.step, "energy", None)) is not None:
                energy.check_data()
            self._reassemble()
            self._watch.remember()

    def _judge(self, t: float, dt: float) -> Candidate:
        """Measure the candidate: change, error, finiteness, in one exchange."""
        new, old = self._values(self._candidate), self._of_unit_length()
        local = Candidate(
            t=t,
            dt=dt,
            error=self._estimate(t, dt, new),
            max_dmdt=math.nan,
            iterations=self.iterations,
            newton_iterations=self.newton_iterations,
            seconds=dict(self.seconds),
        )
        return measured(self.comm, self.name, new - old, local)

    def _estimate(self, t: float, dt: float, new: Array) -> float:
        """Return this rank's estimate of the local error; NaN without one."""
        return math.nan if self._past is None else self._past.error(t, dt, new)

    def _project_candidate(self, t: float) -> None:
        """Project the candidate to unit length at the nodes.

        Raises:
            ConvergenceError: If it vanishes at a node, where a smaller step helps.
        """
        try:
            normalise(self._candidate)
            if self._basis is not None:
                self._basis.hold(self._candidate)
        except ValueError as error:
            raise ConvergenceError(
                f"{self.name}: the iterate at t = {t:.6g} cannot be projected to unit length: "
                f"{error}; try a smaller dt",
                reason=-9,
                iterations=self.iterations,
                t=t,
            ) from error

    def _enter(self, t: float) -> None:
        """Let m enter the subspace of the run (``entered``); say so where that changes it a lot.

        A step that projects begins with m of unit length (line 4 of the GRPS paper's algorithm 2 at
        n = 0): m is then P Psi m over its length.

        Raises:
            ValueError: If a node changes by more than the basis's ``entry_tolerance``; m is then
                as it was.
        """
        basis, m = self._basis, self.step.m
        if basis is None:
            return
        energy = getattr(self.step, "energy", None)
        old = None if energy is None else self._energy(energy, t)
        _, values, change = entered(basis, self._values(m).ravel())
        given = m.x.array.copy()
        m.x.array[: 3 * self._owned] = values
        m.x.scatter_forward()
        if self.step.projection and change > UNIT:
            try:
                normalise(m)
                basis.hold(m)
            except ValueError as error:
                m.x.array[:] = given
                raise ValueError(
                    f"the datum in the coarse space has no direction somewhere: {error}; more "
                    "functions resolve it"
                ) from error
        new = None if energy is None else self._energy(energy, t)
        warn_of_entry(basis, change, old, new)

    def _energy(self, energy: Energy, t: float) -> float:
        """Return the energy of m, fields with a solve as the run takes them."""
        with self.fields.acting():
            return energy.total(self.step.m, t)
