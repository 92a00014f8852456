# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Weighted fine cells as a mesh of their own, and the forms of a step on it.

A form :math:`\int f(m; v)\,dx` of the fine mesh becomes
:math:`\sum_e \xi_e \int_e f(m; v)\,dx` over the samples, with the same UFL: the magnetization, the
arguments, coefficients, constants and coordinates are replaced by their counterparts on the mesh of
the samples. So any scheme and any energy is reduced without a change to its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr
from ufl.domain import extract_domains

from dolfinx_llg.physics.interaction import mesh_id
from dolfinx_llg.reduction.block_products import BlockProducts, grouped
from dolfinx_llg.reduction.local_modes import LocalModes
from dolfinx_llg.reduction.mean_part import MeanPart
from dolfinx_llg.schemes.step import Block, WeakStep
from dolfinx_llg.solvers.coarse_fields import CoarseFields
from dolfinx_llg.solvers.element_tensors import with_degrees

__all__ = [
    "NodeModes",
    "SampledStep",
    "Samples",
    "StepOnSamples",
    "sampled_step",
    "take_samples",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class NodeModes:
    """Modes at the nodes of samples, each node seen from one coarse cell.

    Args:
        comm: Communicator.
        values: Modes at the nodes of each coarse cell, shape (nodes, count).
        nodes: The numbers of these nodes, shape (nodes,).
        r: Largest number of modes of a cell.
        owned: Number of nodes.

    Note: Collective.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        values: Sequence[FloatArray],
        nodes: Sequence[IntArray],
        r: int,
        owned: int,
    ) -> None:
        self._modes = (len(values), r)
        shape = (owned, len(values) * r)
        blocks = [
            (table, node, k * r + np.arange(table.shape[1]))
            for k, (table, node) in enumerate(zip(values, nodes, strict=True))
        ]
        self._products = BlockProducts(comm, grouped(blocks, shape), shape, single=True)

    def interpolate(self, y: FloatArray) -> FloatArray:
        """Return values at the nodes, shape (nodes, 3), of coefficients of modes, (n, r, 3)."""
        return self._products.apply(y.reshape(-1, y.shape[2]))

    def restrict(self, values: FloatArray) -> FloatArray:
        """Return the transpose of ``interpolate``."""
        return self._products.transposed(values).reshape(*self._modes, values.shape[1])


@dataclass
class Samples:
    """Fine cells with weights.

    Attributes:
        mesh: Mesh of the samples.
        cells: Local number on the fine mesh of each cell of the samples.
        weight: Weight of each sample, DG0 on ``mesh``.
        space: Vector P1 space on ``mesh``.
        theta: Modes at the nodes of the samples that this rank owns.
        home: Coarse cell of each sample that this rank owns.
        mean: For the means of m on the coarse cells of the samples, DG0, see ``MeanPart``.
    """

    mesh: mesh.Mesh
    cells: npt.NDArray[np.int32]
    weight: fem.Function
    space: fem.FunctionSpace
    theta: NodeModes
    home: IntArray
    mean: fem.Function
    _copies: dict[fem.Function, fem.Function] = field(default_factory=dict)
    _constants: dict[fem.Constant, fem.Constant] = field(default_factory=dict)

    def restrict(self, source: fem.Function, out: fem.Function | None = None) -> fem.Function:
        """Return a function of the fine mesh on the samples."""
        if out is None:
            space = fem.functionspace(self.mesh, source.function_space.ufl_element())
            out = fem.Function(space, name=source.name)
        local = np.arange(len(self.cells), dtype=np.int32)
        out.interpolate(source, cells0=self.cells, cells1=local)
        out.x.scatter_forward()
        return out

    def form(self, form: ufl.Form, known: Mapping[Any, Any]) -> ufl.Form:
        """Return the weighted form on the samples.

        Args:
            form: Form on the fine mesh with integrals over all its cells.
            known: What takes the place of which coefficients and arguments.

        Raises:
            ValueError: If the form has other integrals, or geometry that has no counterpart.
        """
        integrals = []
        for integral in form.integrals():
            if integral.integral_type() != "cell" or integral.subdomain_id() != "everywhere":
                raise ValueError(
                    "a step on samples takes integrals over all cells, met one over "
                    f"'{integral.integral_type()}' {integral.subdomain_id()}"
                )
            integrand = self.weight * self.expression(integral.integrand(), form, known)
            integrals.append(
                integral.reconstruct(integrand=integrand, domain=self.mesh.ufl_domain())
            )
        return ufl.Form(integrals)

    def expression(self, integrand: Expr, form: ufl.Form, known: Mapping[Any, Any]) -> Expr:
        """Return an integrand of the fine mesh on the samples (without the weight)."""
        mapping = dict(known)
        for coefficient in form.coefficients():
            if coefficient not in mapping:
                if coefficient not in self._copies:
                    self._copies[coefficient] = self.restrict(coefficient)
                mapping[coefficient] = self._copies[coefficient]
        for constant in form.constants():
            if isinstance(constant, fem.Constant) and constant not in mapping:
                if constant not in self._constants:
                    self._constants[constant] = fem.Constant(self.mesh, constant.value.copy())
                mapping[constant] = self._constants[constant]
        fine: Any = form.ufl_domain()
        mapping[ufl.SpatialCoordinate(fine)] = ufl.SpatialCoordinate(self.mesh)
        found = ufl.replace(integrand, mapping)
        domains: Any = extract_domains(found)
        for domain in domains:
            if domain.ufl_id() != mesh_id(self.mesh):
                raise ValueError(
                    "a step on samples knows coefficients, constants and coordinates of the fine "
                    "mesh; this form holds other data of it (cell sizes?): interpolate them to DG0"
                )
        return found

    def corner_dofs(self, modes: LocalModes) -> IntArray:
        """Return the dofs on the fine mesh of the corners of this rank's samples, (n, corners)."""
        return _partners(modes.hierarchy.space, self.space, self.cells)[: len(self.home)]

    def corner_modes(self, modes: LocalModes) -> FloatArray:
        """Return the modes of the home at the corners of this rank's samples, (n, corners, r)."""
        partner = self.corner_dofs(modes)
        r = max((cell.count for cell in modes.cells), default=0)
        found = np.zeros((*partner.shape, r))
        for k, cell in enumerate(modes.cells):
            mine = np.flatnonzero(self.home == k)
            found[mine, :, : cell.count] = cell.theta[np.searchsorted(cell.dofs, partner[mine])]
        return found

    def set_mean(self, values: FloatArray) -> None:
        """Set ``mean`` on the samples of this rank; values on coarse cells, shape (n, 3)."""
        dofs = self.mean.function_space.dofmap.list[: len(self.home), 0]
        self.mean.x.array.reshape(-1, 3)[dofs] = values[self.home]

    def copy_of(self, source: fem.Function) -> fem.Function | None:
        """Return the counterpart of a coefficient of the forms, None if no form has it."""
        return self._copies.get(source)

    def refresh(self) -> None:
        """Take up the values that coefficients and constants have on the fine mesh now."""
        for source, copy in self._copies.items():
            self.restrict(source, copy)
        for constant, twin in self._constants.items():
            twin.value = constant.value


def take_samples(modes: LocalModes, weights: Sequence[FloatArray]) -> Samples:
    """Make the mesh of the fine cells with positive weight.

    Args:
        modes: Modes on the coarse cells.
        weights: For each coarse cell of this rank, the weights of its fine cells.
    """
    fine = modes.hierarchy.fine
    tdim = fine.topology.dim
    none = np.zeros(0, dtype=np.int32)
    chosen = np.concatenate(
        [none, *[c.cells[w > 0.0] for c, w in zip(modes.cells, weights, strict=True)]]
    )
    value = np.zeros(fine.topology.index_map(tdim).size_local)
    home = np.zeros(len(value), dtype=np.int64)
    for k, (cell, weight) in enumerate(zip(modes.cells, weights, strict=True)):
        value[cell.cells], home[cell.cells] = weight, k
    part, cell_map, *_ = mesh.create_submesh(fine, tdim, np.sort(chosen).astype(np.int32))
    count = part.topology.index_map(tdim).size_local + part.topology.index_map(tdim).num_ghosts
    local = np.arange(count, dtype=np.int32)
    cells = np.asarray(cell_map.sub_topology_to_topology(local, inverse=False), dtype=np.int32)
    weight_of = fem.Function(fem.functionspace(part, ("DG", 0)), name="weight")
    weight_of.x.array[weight_of.function_space.dofmap.list[:, 0]] = value[cells]
    space = fem.functionspace(part, ("Lagrange", 1, (3,)))
    theta = _modes_at_nodes(modes, space, cells, home)
    owned = home[cells[: part.topology.index_map(tdim).size_local]]
    mean = fem.Function(fem.functionspace(part, ("DG", 0, (3,))), name="mean")
    return Samples(part, cells, weight_of, space, theta, owned, mean)


def _modes_at_nodes(
    modes: LocalModes,
    space: fem.FunctionSpace,
    cells: npt.NDArray[np.int32],
    home: npt.NDArray[np.int64],
) -> NodeModes:
    """Return the modes at the owned nodes of the samples."""
    V = modes.hierarchy.space
    nodes, partner = space.dofmap.list, _partners(V, space, cells)
    owned = space.dofmap.index_map.size_local
    dof, seen = np.full(owned, -1, dtype=np.int64), np.full(owned, -1, dtype=np.int64)
    corner, inside = nodes.ravel(), nodes.ravel() < owned
    dof[corner[inside]] = partner.ravel()[inside]
    seen[corner[inside]] = np.repeat(home[cells], nodes.shape[1])[inside]
    assert (dof >= 0).all(), "a rank owns a node of the samples without a cell"
    r = max((group.modes for group in modes.groups), default=0)
    order = np.argsort(seen, kind="stable")
    ends = np.searchsorted(seen[order], np.arange(len(modes.cells) + 1))
    values, places = [], []
    for cell, begin, end in zip(modes.cells, ends, ends[1:], strict=False):
        mine = order[begin:end]
        values.append(cell.theta[np.searchsorted(cell.dofs, dof[mine])])
        places.append(mine)
    return NodeModes(modes.hierarchy.comm, values, places, r, owned)


def _partners(
    V: fem.FunctionSpace, space: fem.FunctionSpace, cells: npt.NDArray[np.int32]
) -> IntArray:
    """Return the dofs on the fine mesh of the corners of the samples, shape (cells, corners)."""
    nodes, dofs = space.dofmap.list, V.dofmap.list[cells]
    # Corners may come in another order: they are told by their coordinates.
    x, y = space.tabulate_dof_coordinates()[nodes], V.tabulate_dof_coordinates()[dofs]
    match = np.abs(x[:, :, None] - y[:, None, :]).sum(axis=3).argmin(axis=2)
    return np.asarray(np.take_along_axis(dofs, match, axis=1))


class StepOnSamples(WeakStep):
    """A step on samples: it means nothing without its coarse space, and is not marched alone."""


@dataclass
class SampledStep:
    """What a step does on the samples.

    Attributes:
        step: The step with weighted forms. Of the constant blocks, which are known exactly, only
            what they make of ``remainder`` is taken from it.
        remainder: What lies in the history but not in the coarse space: m - x.
        linear: Integrals of ``step.varying`` that are linear in m - mean, in the place of which
            they have m; None if there is none.
        others: Its other integrals; None if there is none.
    """

    step: StepOnSamples
    remainder: fem.Function
    linear: ufl.Form | None
    others: ufl.Form | None


def sampled_step(
    step: WeakStep,
    samples: Samples,
    fields: CoarseFields | None = None,
    mean: MeanPart | None = None,
) -> SampledStep:
    """Return a step on the samples; its ``m`` holds the nodes of the samples alone.

    Args:
        step: The step on the fine mesh.
        samples: The samples.
        fields: Fields that the reduced operators supply in each step.
        mean: What they do beside the samples.

    Raises:
        ValueError: If a history is not ``step.m``, or a form cannot be sampled.
    """
    m = fem.Function(samples.space, name=step.m.name)
    samples.restrict(step.m, m)
    x = fem.Function(samples.space, name="x")
    x.x.array[:] = m.x.array
    remainder = fem.Function(samples.space, name="remainder")
    dt = fem.Constant(samples.mesh, float(step.dt.value))
    known: dict[Any, Any] = {step.m: m, step.x: x, step.dt: dt}
    if mean is not None:
        step, known[mean.mean] = mean.rest, samples.mean

    def on_samples(form: ufl.Form | None) -> ufl.Form | None:
        if form is None:
            return None
        arguments = {
            argument: ufl.Argument(samples.space, argument.number(), argument.part())
            for argument in form.arguments()
        }
        return samples.form(form, known | arguments)

    blocks = []
    for block in step.constant:
        if block.history is not None and block.history is not step.m:
            raise ValueError(f"{step.name}: a reduced step takes histories of m alone")
        form = on_samples(block.form)
        assert form is not None
        history = None if block.history is None else remainder
        blocks.append(Block(form, block.weight, history, block.history_weight))

    def update(_: fem.Function, t: float) -> None:
        with nullcontext() if fields is None else fields.acting(held=True):
            step.update(step.m, t)
        samples.refresh()

    rotation = step.rotation() if callable(step.rotation) else step.rotation
    if isinstance(rotation, np.ndarray):
        by_node = fem.Function(fem.functionspace(step.m.function_space.mesh, ("Lagrange", 1)))
        by_node.x.array[:] = rotation
        on_nodes = samples.restrict(by_node).x.array
        rotation = float(np.sum(on_nodes) / max(len(on_nodes), 1))
    own = StepOnSamples(
        m=m,
        dt=dt,
        constant=blocks,
        varying=on_samples(step.varying),
        source=None if step.source is None else on_samples(with_degrees(step.source)),
        nonlinear=on_samples(step.nonlinear),
        x=x,
        projection=step.projection,
        update=update,
        refresh=step.refresh,
        rotation=rotation,
        order=step.order,
        error_constant=step.error_constant,
        name=f"{step.name} (reduced)",
    )
    if mean is None or mean.linear is None:
        return SampledStep(own, remainder, None, own.varying)
    return SampledStep(own, remainder, on_samples(mean.linear), on_samples(mean.others))
