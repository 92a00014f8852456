# SPDX-License-Identifier: LGPL-3.0-or-later
"""The training of a cubature: states of a short run, and what each fine cell adds to a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.jit import compile_form
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.reduction.blocks import CoarseBlocks, project_blocks
from dolfinx_llg.reduction.mean_part import MeanPart
from dolfinx_llg.schemes.step import WeakStep, Weight, one
from dolfinx_llg.solvers.coarse_fields import CoarseFields
from dolfinx_llg.solvers.coarse_operators import CoarseOperators
from dolfinx_llg.solvers.weak import WeakStepper
from dolfinx_llg.sphere import normalise

__all__ = ["CellLoads", "Loads", "TrainingState", "refuse_updates_that_read_m", "train"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrainingState:
    """One step: m before, the iterate x, m after, and what lies outside V_H (fine dofs).

    Attributes:
        rest: m - x, as the next step finds it in its history.
        t: Time of the step; without one the fields are taken as they are.
    """

    before: FloatArray
    x: FloatArray
    after: FloatArray
    rest: FloatArray
    t: float | None = None


def train(
    step: WeakStep, basis: GalerkinBasis, t: float, t_train: float, states: int
) -> tuple[CoarseBlocks, list[TrainingState]]:
    """Run in the coarse space, and project the constant blocks while they are at hand.

    The steps of the training are large, but its states are to look like those of steps dt: of m - x
    one part stays as dt goes to 0, since a field of unit length is not in V_H, and the other is
    O(dt). The first is that of m itself, made to enter V_H; the second is scaled.

    Warns:
        NumericalDampingWarning: If a step of size dt adds more than 5 % of the damping.
    """
    m, dt = step.m, float(step.dt.value)
    start = m.x.array.copy()
    run: list[TrainingState] = []
    try:
        solver = WeakStepper(step, basis=basis)
        operators: Any = solver.operators
        if not isinstance(operators, CoarseOperators):
            raise ValueError("the basis does not spread: there is nothing to reduce")
        solver.start(t)
        for size in [dt, *[t_train / states] * states]:
            before = m.x.array.copy()
            t += size
            solver.advance(t, size)
            x = solver.iterate().x.array.copy()
            solver.accept()
            after = m.x.array.copy()
            stays = _outside(operators, m) if step.projection else np.zeros_like(after)
            rest = stays + dt / size * (after - x - stays)
            run.append(TrainingState(before, x, after, rest, t))
            if len(run) == 2:  # the run itself takes steps of dt, and does not know m as a whole
                solver.advance(t + dt, dt)
                solver.look_once()
                solver.reject()
        blocks = project_blocks(operators)
    finally:
        m.x.array[:] = start
        step.dt.value = np.asarray(dt)
    return blocks, run


def _outside(operators: CoarseOperators, m: fem.Function) -> FloatArray:
    """Return y/|y| - y for the y in V_H that m enters (collective)."""
    y = fem.Function(m.function_space)
    c = operators.b.duplicate()
    operators.gather(m, c)
    operators.scatter(c, y)
    c.destroy()
    inside = y.x.array.copy()
    normalise(y)
    return np.asarray(y.x.array - inside, dtype=np.float64)


def refuse_updates_that_read_m(step: WeakStep, t: float, fields: CoarseFields) -> None:
    """Raise ValueError if ``step.update`` makes other data of another m.

    On the samples m is not known as a whole: such a term would stay as it was at the start. Fields
    that have a matrix in V_H need no samples.
    """
    m, start = step.m, step.m.x.array.copy()
    forms = [block.form for block in step.constant]
    forms += [form for form in (step.varying, step.source, step.nonlinear) if form is not None]
    known = {c for form in forms for c in form.coefficients() if c is not m and c is not step.x}
    seen: list[list[FloatArray]] = []
    try:
        for sign in (1.0, -1.0):
            m.x.array[:] = sign * start
            with fields.acting(held=True):
                step.update(m, t)
            seen.append([c.x.array.copy() for c in known])
    finally:
        m.x.array[:] = start
        with fields.acting():
            step.update(m, t)
    same = all(np.array_equal(a, b) for a, b in zip(*seen, strict=True))
    if not all(m.function_space.mesh.comm.allgather(same)):
        raise ValueError(
            f"{step.name}: a term computes its field from m (spin accumulation, a field without a "
            "matrix in the basis): it cannot be reduced, run it in the basis itself"
        )


@dataclass(frozen=True)
class CellLoads:
    """What each fine cell adds to the integrals of one state.

    Attributes:
        sampled: Loads of the terms that samples integrate, each of shape (cells, corners, 3).
        whole: The same with what is known exactly.
        densities: Volumes and energies, each of shape (cells,).
    """

    sampled: list[FloatArray]
    whole: list[FloatArray]
    densities: list[FloatArray]


class Loads:
    """Element loads of the terms of a step: what each fine cell adds to each test function.

    Args:
        step: The step.
        hierarchy: The meshes.
        energy: Energy whose densities are wanted too.
        fields: Fields with a solve.
        mean: What of the step is known exactly.
    """

    def __init__(
        self,
        step: WeakStep,
        hierarchy: Hierarchy,
        energy: Energy | None,
        fields: CoarseFields,
        mean: MeanPart,
    ) -> None:
        self.step, self._fields, self._mean = step, fields, mean
        mesh = hierarchy.fine
        self._broken = fem.functionspace(mesh, ("Discontinuous Lagrange", 1, (3,)))
        self._x = fem.Function(step.m.function_space)
        self._rest = fem.Function(step.m.function_space)
        self._sampled = self._images(mean.rest)
        self._whole = self._images(step, unlike=mean.rest)
        v = ufl.TestFunction(self._broken)
        first = step.constant[0]
        test, trial = first.form.arguments()
        self._inertia = compile_form(ufl.replace(first.form, {test: v, trial: self._x}))
        self._inertia_weight = first.weight
        self._density: list[fem.Form] = []
        self._flat = fem.functionspace(mesh, ("Discontinuous Lagrange", 0))
        if energy is not None:
            q = ufl.TestFunction(self._flat)
            self._density = [
                compile_form(term.density(step.m) * q * ufl.dx(domain=mesh))
                for term in energy.density_terms().values()
            ]
        volume = fem.Constant(mesh, 1.0) * ufl.TestFunction(self._flat) * ufl.dx(domain=mesh)
        count = len(hierarchy.parent)
        self._cells = self._broken.dofmap.list[:count]
        self._constants = self._flat.dofmap.list[:count, 0]
        self._volumes = fem.assemble_vector(compile_form(volume)).array[self._constants]

    def _images(
        self, step: WeakStep, unlike: WeakStep | None = None
    ) -> dict[str, tuple[fem.Form, Weight]]:
        """Return what depends on m as linear forms in functions of each cell.

        Args:
            step: The step.
            unlike: Another step: the forms that it has too are left out.
        """
        v, found = ufl.TestFunction(self._broken), dict[str, tuple[fem.Form, Weight]]()
        for name in ("source", "varying", "nonlinear"):
            form = getattr(step, name)
            if form is None or (unlike is not None and form is getattr(unlike, name)):
                continue
            test, *trial = form.arguments()
            mapping = {test: v, step.x: self._x} | dict.fromkeys(trial, self._x)
            found[name] = (compile_form(ufl.replace(form, mapping)), one)
        for number, block in enumerate(step.constant):
            if block.history is not None and unlike is None:
                test, trial = block.form.arguments()
                image = ufl.replace(block.form, {test: v, trial: self._rest})
                found[f"history {number}"] = (compile_form(image), block.history_weight)
        return found

    def _assembled(self, forms: dict[str, tuple[fem.Form, Weight]], dt: float) -> dict[str, Any]:
        return {
            name: weight(dt) * fem.assemble_vector(form).array.reshape(-1, 3)[self._cells]
            for name, (form, weight) in forms.items()
        }

    def inertia(self, state: TrainingState, dt: float) -> FloatArray:
        """Return the loads (cells, corners, 3) of the first constant block, the term with 1/dt."""
        self._x.x.array[:] = state.x
        loads = fem.assemble_vector(self._inertia).array.reshape(-1, 3)[self._cells]
        return np.asarray(self._inertia_weight(dt) * loads)

    def of(self, state: TrainingState, dt: float) -> CellLoads:
        """Return what the cells add to a step from one state.

        Args:
            state: The state.
            dt: Size of the steps in which its ``rest`` is met.
        """
        m = self.step.m
        keep = m.x.array.copy()
        m.x.array[:], self._x.x.array[:] = state.before, state.x
        if state.t is not None:
            with self._fields.acting():
                self.step.update(m, state.t)
        self._rest.x.array[:] = state.rest
        self._mean.set(state.before - state.rest)  # a run has the means of its iterates
        sampled = self._assembled(self._sampled, dt)
        whole = sampled | self._assembled(self._whole, dt)
        m.x.array[:] = state.after
        densities = [self._volumes]
        densities += [fem.assemble_vector(form).array[self._constants] for form in self._density]
        m.x.array[:] = keep
        return CellLoads(list(sampled.values()), list(whole.values()), densities)
