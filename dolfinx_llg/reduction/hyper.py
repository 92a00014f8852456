# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Hyper-reduction: from a step and a coarse space to a step whose cost does not depend on h.

A short training run in the coarse space gives states; on each coarse cell a few fine cells with
weights are chosen that integrate, for these states, every term of the step tested with the modes
of the cell, and the energy density (``cubature``). The error is measured on states held out, over
all coarse cells; where no threshold makes it meet the tolerance, cells that miss their share of it
take more states into account, and in the end all of their fine cells.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.checks import check_number
from dolfinx_llg.collective import agree
from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import check_domain, mesh_id
from dolfinx_llg.reduction.cubature import LEVELS, ladder
from dolfinx_llg.reduction.local_modes import CellModes, LocalModes, local_modes
from dolfinx_llg.reduction.mean_part import MeanPart
from dolfinx_llg.reduction.operators import ReducedOperators
from dolfinx_llg.reduction.run import ReducedRun
from dolfinx_llg.reduction.sampled_fields import SampledFields
from dolfinx_llg.reduction.samples import Samples, sampled_step, take_samples
from dolfinx_llg.reduction.system import SystemParts
from dolfinx_llg.reduction.training import (
    CellLoads,
    Loads,
    TrainingState,
    refuse_updates_that_read_m,
    train,
)
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.coarse_fields import CoarseFields

__all__ = ["Reduction", "hyper_reduce"]

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Cubature:
    """Samples with what tells how good they are.

    Attributes:
        floor: Smallest norm of the loads of a state to which an error is relative.
    """

    modes: LocalModes
    loads: Loads
    weights: list[FloatArray]
    samples: Samples
    error: float
    floor: float

    def measure(self, state: TrainingState, dt: float) -> float:
        """Relative error of the loads of one state (collective)."""
        loads = self.loads.of(state, dt)
        squares = np.zeros(2)
        for number, weight in enumerate(self.weights):
            rows = _load_rows(self.modes, number, loads.sampled)
            missed, whole = rows @ (weight - 1.0), _sums(self.modes, number, loads.whole)
            squares += [missed @ missed, whole @ whole]
        squares = np.sum(self.modes.hierarchy.comm.allgather(squares), axis=0)
        return math.sqrt(squares[0]) / max(math.sqrt(squares[1]), self.floor)


class Reduction(ReducedRun):
    """A step on samples (see ``ReducedRun``).

    Attributes:
        samples: The samples.
        error: Relative error of the integrals of a step, volumes and energies on the held-out
            states: the root mean square over them.
    """

    def __init__(
        self,
        fine: WeakStep,
        operators: ReducedOperators,
        cubature: _Cubature,
        seconds: dict[str, float],
    ) -> None:
        super().__init__(fine, operators, seconds)
        self._cubature = cubature
        self.samples, self.error = cubature.samples, cubature.error
        self._densities: dict[int, tuple[Energy, dict[str, fem.Form]]] = {}

    def count(self) -> int:
        """Return the number of samples of all ranks. Collective."""
        comm = self.samples.mesh.comm
        own = self.samples.mesh.topology.index_map(self.samples.mesh.topology.dim).size_local
        return int(sum(comm.allgather(own)))

    def present_error(self) -> float:
        """Return the relative error of the integrals of a step at the present magnetization.

        Relative to their norm, or to a hundredth of that of the liveliest state of the training; or
        what is lost of m at the samples, relative to m minus its means, if that is more.

        It touches the whole fine mesh once; a run that has left the states of the training behind
        is trained anew from where it stands: ``reconstruct()``, then ``hyper_reduce``.
        """
        with self.on_fine_mesh() as (x, now):
            pass
        operators: Any = self._operators
        state = TrainingState(before=now, x=x, after=now, rest=now - x)
        return max(self._cubature.measure(state, operators.dt), operators.values_missed())

    def by_term(self, energy: Energy) -> dict[str, float]:
        """Return the energy of each term that has a density, integrated over the samples.

        Fields with a solve (``StrayField``) have that of their matrix in the coarse space.

        Args:
            energy: The energy of the step, on the fine mesh. Units and names: ``Energy.by_term``.

        Raises:
            ValueError: If a coefficient lives on another mesh.

        Note: Collective.
        """
        if id(energy) not in self._densities:
            m, forms = self.fine.m, {}
            dx = ufl.dx(domain=m.function_space.mesh)
            for name, term in energy.density_terms().items():
                form = term.density(m) * dx
                check_domain(form, m, name)
                forms[name] = compile_form(self.samples.form(form, {m: self.step.m}))
            self._densities[id(energy)] = (energy, forms)
        forms = self._densities[id(energy)][1]
        local = np.array([fem.assemble_scalar(form) for form in forms.values()])
        parts = self.samples.mesh.comm.allgather(local)
        found = dict(zip(forms, np.sum(parts, axis=0).tolist(), strict=True))
        operators: Any = self._operators
        operators.update_fields()
        fields = operators.fields.energies()
        names = {name: term for name, term in energy.names().items() if term in fields}
        return found | {name: fields[term] for name, term in names.items()}

    def total(self, energy: Energy) -> float:
        """Return the total energy, integrated over the samples. Collective."""
        return float(sum(self.by_term(energy).values()))


@checked
def hyper_reduce(
    step: WeakStep,
    basis: GalerkinBasis,
    hierarchy: Hierarchy,
    *,
    t_train: float,
    t: float = 0.0,
    energy: Energy | None = None,
    tolerance: float = 1e-3,
    states: int = 6,
    check_every: float | None = None,
) -> Reduction:
    """Train a reduction of a step in a coarse space (collective).

    The reduction is one of the data of implicit terms (kappa, q_u, Ms, damping) and of the basis at
    this moment: a run refuses others. Fields are read in every step, but the samples are right only
    near states of the training.

    Args:
        step: A step of any scheme on the fine mesh, with histories of m alone and terms whose
            ``update`` does not read m, but for fields with a matrix in the basis (``StrayField``):
            with them too the run never touches the fine mesh. Its m and dt are left as they are.
        basis: Basis of the coarse space.
        hierarchy: Meshes of the basis, made by ``refine_mesh``.
        t_train: Time over which the states of the run will spread (dimensionless): the training
            run covers it in ``states`` large steps, and one step of the size of ``step.dt``.
        t: Time of the present m, at which the training starts (for fields that depend on time).
        energy: Energy whose density the samples are to integrate too.
        tolerance: Wanted relative error of the integrals that a step needs, see ``error``.
        states: Steps of the training run, at least 3; every third is held out to measure the error.
        check_every: Time after which ``march`` looks whether the run has left the states of its
            training, beyond t + t_train, and warns with the error; None: t_train, ``math.inf``:
            never. Within t_train nothing is looked at: a field that is changed by hand in the loop
            asks for ``Reduction.present_error()``.

    Warns:
        NumericalDampingWarning: If a step of ``step.dt`` adds more than 5 % of the damping.

    Raises:
        ValueError: If an argument is out of range or the step cannot be sampled.
        ConvergenceError: If a step of the training run fails.
    """
    given = {"t_train": t_train, "t": t, "tolerance": tolerance, "states": states}
    agree(hierarchy.comm, **given, check_every=check_every)
    if not 0.0 < tolerance < 1.0:
        raise ValueError(f"tolerance must lie between 0 and 1, got {tolerance}")
    if states < 3:
        raise ValueError(f"the training run needs at least 3 steps, got {states}")
    check_number("t", t)
    if not (math.isfinite(t_train) and t_train > 0.0):
        raise ValueError(f"t_train must be positive and finite, got {t_train}")
    if check_every is not None and not check_every > 0.0:
        raise ValueError(f"check_every must be positive, or math.inf for never, got {check_every}")
    if mesh_id(step.m.function_space.mesh) != mesh_id(hierarchy.fine):
        raise ValueError("the step's m does not live on the fine mesh of the hierarchy")
    _refuse_surfaces(step)
    basis.refuse_pinned("hyper_reduce")
    fields = CoarseFields(step.energy, basis, step.m.function_space)
    refuse_updates_that_read_m(step, t, fields)
    clock = [time.perf_counter()]
    modes = local_modes(hierarchy, basis.components, tolerance=tolerance)
    clock.append(time.perf_counter())
    blocks, run = train(step, basis, t, t_train, states)
    clock.append(time.perf_counter())
    mean = MeanPart(step, modes)
    loads = Loads(step, hierarchy, energy, fields, mean)
    held = [k for k in range(len(run)) if k % 3 == 2]
    tables = [loads.of(state, float(step.dt.value)) for state in run]
    inertia = loads.inertia(run[0], float(step.dt.value))
    weights, error, floor = _choose(modes, tables, inertia, held, tolerance)
    clock.append(time.perf_counter())
    with fields.acting():
        step.update(step.m, t)  # fields are those of the start again
    samples = take_samples(modes, weights)
    cubature = _Cubature(modes, loads, weights, samples, error, floor)
    sampled = sampled_step(step, samples, fields, mean)
    parts = SystemParts(basis, modes, samples, sampled, blocks, step, mean, run, tolerance)
    operators = ReducedOperators(parts, SampledFields(fields, samples))
    clock.append(time.perf_counter())
    names = ("modes", "run", "cubature", "operators")
    seconds = {n: b - a for n, a, b in zip(names, clock, clock[1:], strict=False)}
    reduction = Reduction(step, operators, cubature, seconds)
    reduction.tolerance, reduction.trained_until = tolerance, t + t_train
    reduction.check_every = t_train if check_every is None else check_every
    logger.info("hyper-reduction: %d samples, error %.1e", reduction.count(), error)
    return reduction


def _refuse_surfaces(step: WeakStep) -> None:
    forms = [step.varying, step.source, step.nonlinear, *(block.form for block in step.constant)]
    kinds = {i.integral_type() for form in forms if form is not None for i in form.integrals()}
    if others := sorted(kinds - {"cell"}):
        raise ValueError(
            f"a step on samples of cells takes integrals over cells, this one has some over "
            f"{', '.join(others)} (a surface energy): march it in the coarse space, with basis="
        )


def _choose(
    modes: LocalModes,
    tables: Sequence[CellLoads],
    inertia: FloatArray,
    held: Sequence[int],
    tolerance: float,
) -> tuple[list[FloatArray], float, float]:
    """Return the weights of each coarse cell, the relative error on held-out states, the floor.

    The integrals of a state are taken relative to their norm over all cells: a field that relaxes
    is integrated as well at the end as in the rush of the beginning. Volumes and energies count as
    much as the loads. One threshold rules all cells, the coarsest found that meets the tolerance:
    it is the error over all cells that has to, and samples go where they matter to it.
    """
    sizes, unit, floor = _sizes(modes, tables, inertia)
    comm = modes.hierarchy.comm
    # That of one cell in a norm over all and the states held out.
    share = (len(held) / sum(comm.allgather(len(modes.cells)))) ** 0.5
    ladders = []
    for k, cell in enumerate(modes.cells):
        per_cell = [
            np.vstack(
                [
                    _load_rows(modes, k, table.sampled) / size,
                    _density_rows(cell, table.densities) / unit,
                ]
            )
            for size, table in zip(sizes, tables, strict=True)
        ]
        training = np.vstack([r for n, r in enumerate(per_cell) if n not in held])
        ladders.append(ladder(training, np.vstack([per_cell[n] for n in held]), tolerance * share))
    for level in range(LEVELS + 2):
        chosen = [rungs[min(level, len(rungs) - 1)] for rungs in ladders]
        squared = sum(comm.allgather(sum(weights.missed**2 for weights in chosen)))
        error = math.sqrt(squared / len(held))
        if error <= tolerance:
            break
    return [weights.spread() for weights in chosen], error, floor


def _sizes(
    modes: LocalModes,
    tables: Sequence[CellLoads],
    inertia: FloatArray,
) -> tuple[list[float], float, float]:
    """Return the norms of the states' loads, the root mean square of the densities', and a floor.

    A state at rest need not be integrated better than a hundredth of the liveliest, nor than the
    round-off of the term with 1/dt: no norm is below that floor.
    """
    sums = np.zeros((len(tables), 3))
    for number, cell in enumerate(modes.cells):
        third = _sums(modes, number, [inertia])
        for k, table in enumerate(tables):
            first = _sums(modes, number, table.whole)
            second = _density_rows(cell, table.densities).sum(axis=1)
            sums[k] += [first @ first, second @ second, third @ third]
    squares = np.sum(modes.hierarchy.comm.allgather(sums), axis=0)
    norms = np.sqrt(squares[:, 0])
    floor = float(max(0.01 * norms.max(), 1e-12 * squares[0, 2] ** 0.5))
    return np.maximum(norms, floor).tolist(), math.sqrt(squares[:, 1].mean()), floor


def _density_rows(cell: CellModes, densities: list[FloatArray]) -> FloatArray:
    """Return the densities of one state on one coarse cell: (densities, cells)."""
    return np.vstack([density[cell.cells][None] for density in densities])


def _load_rows(modes: LocalModes, number: int, loads: list[FloatArray]) -> FloatArray:
    """Return the loads of one state on one coarse cell by fine cell: (integrals, cells)."""
    cell, weight = modes.cells[number], _mode_weights(modes, number)
    theta = cell.theta[cell.place]
    rows = [np.einsum("enc,enr->rce", load[cell.cells], theta) for load in loads]
    return np.vstack([(weight[:, :, None] * r).reshape(-1, len(cell.cells)) for r in rows])


def _sums(modes: LocalModes, number: int, loads: list[FloatArray]) -> FloatArray:
    """Return the sums of ``_load_rows`` over the fine cells: (integrals,)."""
    cell, weight = modes.cells[number], _mode_weights(modes, number)
    flat = cell.theta[cell.place].reshape(-1, cell.count).T
    parts = [weight * (flat @ load[cell.cells].reshape(-1, 3)) for load in loads]
    return np.concatenate([part.ravel() for part in parts])


def _mode_weights(modes: LocalModes, number: int) -> FloatArray:
    """Return weights of modes by component: each weighs as much as the functions it stands for."""
    count = modes.cells[number].count
    return np.column_stack(
        [np.linalg.norm(table.of_cell(number)[0][:count], axis=1) for table in modes.tables]
    )
