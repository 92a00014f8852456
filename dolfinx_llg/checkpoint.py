# SPDX-License-Identifier: LGPL-3.0-or-later
"""Checkpoints: a run stopped anywhere goes on, on any number of ranks.

Nodal values are stored in the lexicographic order of the nodes' coordinates, which no partition
changes. One ``.npz`` file is written aside by rank 0, flushed to the disk and renamed, so that a
run killed at any moment leaves the last complete checkpoint.

On the same number of ranks, 1 or 2, and with the same options, the continued run equals the
uninterrupted one bit for bit; from 3 ranks on PETSc's
own sums differ between runs in the last digits. Between different numbers of ranks the solutions
agree to the tolerance of the solver.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy.spatial import cKDTree

from dolfinx_llg.collective import on_root, together
from dolfinx_llg.files import claim, load_arrays, write_atomically
from dolfinx_llg.kinds import checked
from dolfinx_llg.output import output_folder
from dolfinx_llg.solvers.stepper import Memory
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.state import State

__all__ = ["read_checkpoint", "write_checkpoint"]

FORMAT = "dolfinx_llg checkpoint"
VERSION = 2
SCALARS = ("t", "n", "dt", "max_dmdt", "iterations", "newton_iterations")
ENTRIES = ("format", "version", *SCALARS, "cell_type", "cells", "x", "m")
# What a stepper remembers stands in the file under these prefixes and its own names.
FIELDS, NUMBERS = "field_", "number_"

# Nodes of one mesh made on other ranks agree to round-off, those of another mesh do not: relative
# to the diameter, far above the first and below the cell size of any mesh that fits in memory.
NODE_TOLERANCE = 1e-10

type Floats = npt.NDArray[np.float64]
type Integers = npt.NDArray[np.int64]


@checked
def write_checkpoint(path: str | os.PathLike[str], state: State) -> None:
    """Write all that a run needs to go on.

    The disk must hold the new file beside the old one. Of two runs that write one file the second
    is told by a lock on a hidden file beside it, which a file system without locks does not have:
    there they overwrite each other's, each time a whole file.

    Args:
        path: File (``.npz`` by custom); its folder is made, an older checkpoint replaced.
        state: State of the run, as ``march`` yields it.

    Raises:
        OSError: If the file cannot be written, or another run that is alive writes it (it is this
            process's until its end), on all ranks alike; an older one is left whole.
        ValueError: If two nodes of the mesh coincide, or m is not finite; an older file is left.
        TypeError: If the state's m is no finite-element function.

    Note: Collective.
    """
    target = Path(path)
    with together(_function(state).function_space.mesh.comm):
        _check_numbers(str(target), {key: np.asarray(getattr(state, key)) for key in SCALARS})
    V_m = _function(state)
    V = V_m.function_space
    comm = V.mesh.comm
    if not all(comm.allgather(state.is_present())):
        raise ValueError(
            f"the magnetization has been marched on since this state of t = {state.t:g}: write the "
            "checkpoint before, or of the present state"
        )
    output_folder(target.parent, comm)
    nodes = _Nodes.of(V)
    size = 3 * nodes.sizes[comm.rank]
    memory = state.history()
    fields = {name: nodes.gather(values) for name, values in memory.fields.items()}
    m = nodes.gather(V_m.x.array[:size].reshape(-1, 3))
    finite = all(v is None or bool(np.isfinite(v).all()) for v in (m, *fields.values()))
    if not comm.bcast(finite, root=0):
        raise ValueError(
            f"{target}: m or the history of the run is not finite at a node: a checkpoint of it "
            "would be of no use, the older one is left as it is"
        )

    def write() -> None:
        claim(target)
        content: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            **{key: getattr(state, key) for key in SCALARS},
            "cell_type": nodes.cell_type,
            "cells": nodes.cells,
            "x": nodes.x,
            "m": m,
            **{FIELDS + name: values for name, values in fields.items()},
            **{NUMBERS + name: np.array(v, float) for name, v in memory.numbers.items()},
        }
        write_atomically(target, lambda file: np.savez(file, **content))

    on_root(comm, write)


@checked
def read_checkpoint(path: str | os.PathLike[str], m: fem.Function) -> State:
    """Read a checkpoint into ``m`` and return the state to resume from.

    ::

        m = llg.magnetization(mesh, m0)  # as for a new run
        step = llg.gao(energy, m, dt=1e-3, damping=1.0)
        state = read_checkpoint("run.npz", m)
        for state in llg.march(step, t_end=1.0, resume=state): ...

    The step comes first: a scheme asks for an m of unit length, which that of a checkpoint need
    not be (without projection the length drifts). The scheme, the energy and the options are the
    caller's to build again, and so is the time step: ``state.dt``, the size of the last one, is
    returned and not imposed. Where they are equal the continued run is the uninterrupted one: bit
    for bit on the same number of ranks, 1 or 2, else to the tolerance of the solver. Fields that
    keep the start of a solve of their own (spin accumulation) agree to that tolerance, too.

    Args:
        path: File written by ``write_checkpoint`` on any number of ranks.
        m: Function of ``vector_space(mesh)``, on the mesh of the run on any number of ranks;
            unchanged where an error is raised.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, is truncated or damaged, of another version, or
            of another mesh. On all ranks alike.

    Note: Collective.
    """
    check_magnetization_space(m)
    V = m.function_space
    comm = V.mesh.comm
    source = Path(path)
    content = on_root(comm, lambda: _load(source))
    nodes = _Nodes.of(V)
    order = on_root(comm, lambda: _match(source, content or {}, nodes))
    values: dict[str, Floats] = {}
    scalars: dict[str, Any] = {}
    numbers: dict[str, list[float]] = {}
    if content is not None and order is not None:
        values = {key: content[key][order] for key in content if key.startswith(FIELDS)}
        values["m"] = content["m"][order]
        scalars = {key: content[key].item() for key in SCALARS}
        numbers = {
            key.removeprefix(NUMBERS): content[key].tolist()
            for key in content
            if key.startswith(NUMBERS)
        }
    names, scalars, numbers = comm.bcast((sorted(values), scalars, numbers), root=0)
    found = {name: nodes.scatter(values.get(name)) for name in names}
    values_of_m = found.pop("m").ravel()
    m.x.array[: values_of_m.size] = values_of_m
    m.x.scatter_forward()
    memory = Memory({name.removeprefix(FIELDS): v for name, v in found.items()}, numbers)
    state = State(scalars["t"], scalars["n"], m, scalars["dt"], memory=memory)
    for key in SCALARS[3:]:
        setattr(state, key, scalars[key])
    return state


def _check_numbers(what: str, numbers: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError for numbers that no run has: they would be marched on from."""
    for key in SCALARS:
        value = numbers[key]
        if value.shape != () or value.dtype.kind not in "iuf":
            raise ValueError(f"{what}: {key} must be a number, got {value.tolist()!r}")
        number = value.item()
        whole = key in ("n", "iterations", "newton_iterations")
        if whole and (number < 0 or number != int(number) or value.dtype.kind == "f"):
            raise ValueError(f"{what}: {key} must be an integer >= 0, got {number}")
        if key in ("t", "dt") and not math.isfinite(number):
            raise ValueError(f"{what}: {key} must be finite, got {number}")
        if key == "dt" and number <= 0.0:
            raise ValueError(f"{what}: dt must be positive, got {number}")


def _function(state: State) -> fem.Function:
    """Return the state's m, or raise TypeError where it is no function."""
    if not isinstance(state.m, fem.Function):
        raise TypeError(
            f"checkpoints hold a finite-element m, this run has an array of shape "
            f"{np.shape(state.m)}: save it with numpy.save"
        )
    return state.m


def check_magnetization_space(m: fem.Function) -> None:
    """Raise ValueError unless m is of the space of magnetizations, whatever its values."""
    probe = fem.Function(m.function_space)
    check_magnetization(probe, unit=False)


@dataclass(frozen=True)
class _Nodes:
    """Order of the nodes that does not depend on the partition; arrays not None on rank 0 only.

    Attributes:
        index: Position in that order of each node on this rank, ghosts included.
        sizes: Nodes owned by each rank.
        owned: Positions of the owned nodes of all ranks, one rank after the other.
        x: Coordinates in that order, shape (nodes, 3).
        cells: Number of cells and a checksum of their vertices.
    """

    comm: MPI.Comm
    index: Integers
    sizes: list[int]
    owned: Integers
    x: Floats
    cell_type: str
    cells: npt.NDArray[np.uint64]

    @classmethod
    def of(cls, V: fem.FunctionSpace) -> _Nodes:
        """The order of the nodes of a P1 space.

        Raises:
            ValueError: If two nodes coincide, on all ranks alike.
        """
        mesh = V.mesh
        comm = mesh.comm
        x_local = _node_coordinates(V)
        size = V.dofmap.index_map.size_local
        gathered = comm.gather(x_local[:size], root=0)
        parts: list[Integers] | None = None
        owned, x_sorted = np.zeros(0, dtype=np.int64), np.zeros((0, 3))
        sizes: list[int] = comm.allgather(size)

        def sort() -> tuple[Integers, Floats]:
            x = np.vstack(gathered)
            order = np.lexsort(x.T[::-1])
            position = np.empty(len(x), dtype=np.int64)
            position[order] = np.arange(len(x))
            x = x[order]
            same = np.flatnonzero((x[1:] == x[:-1]).all(axis=1))
            if len(same):
                raise ValueError(
                    f"{len(same)} nodes coincide with others, the first at {x[same[0]].tolist()}: "
                    "checkpoints tell nodes apart by their coordinates"
                )
            return position, x

        result = on_root(comm, sort)
        if result is not None:
            owned, x_sorted = result
            parts = np.split(owned, np.cumsum(sizes)[:-1])
        # Exact as floating-point numbers up to 2^53 nodes.
        index = fem.Function(fem.functionspace(mesh, ("Lagrange", 1)))
        index.x.array[:size] = comm.scatter(parts, root=0)
        index.x.scatter_forward()
        positions = index.x.array.astype(np.int64)
        cells = _cell_checksum(V, positions)
        return cls(comm, positions, sizes, owned, x_sorted, mesh.topology.cell_name(), cells)

    def gather(self, own: Floats) -> Floats | None:
        """Values of the owned nodes, shape (n, 3), on rank 0 in the order of the nodes."""
        parts = self.comm.gather(own, root=0)
        if parts is None:
            return None
        values = np.empty_like(self.x)
        values[self.owned] = np.vstack(parts)
        return values

    def scatter(self, values: Floats | None) -> Floats:
        """Return the values of the owned nodes: the inverse of ``gather``."""
        parts = None
        if values is not None:
            parts = np.split(values[self.owned], np.cumsum(self.sizes)[:-1])
        return np.asarray(self.comm.scatter(parts, root=0))


def _node_coordinates(V: fem.FunctionSpace) -> Floats:
    """Coordinates of the nodes on this rank as the mesh stores them, shape (nodes, 3).

    Not ``tabulate_dof_coordinates``: it evaluates the geometry, with the round-off of whichever
    cell came last, and the bits would depend on the partition.
    """
    dofs = V.dofmap.list
    x = np.zeros((V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts, 3))
    # Vertices come first in the geometry of a cell, also of a curved one.
    x[dofs] = V.mesh.geometry.x[V.mesh.geometry.dofmaps[0][:, : dofs.shape[1]]]
    return x


def _cell_checksum(V: fem.FunctionSpace, index: Integers) -> npt.NDArray[np.uint64]:
    """Number of cells and the sum of a hash of each, the same in any order and partition."""
    mesh = V.mesh
    size = mesh.topology.index_map(mesh.topology.dim).size_local
    vertices = np.sort(index[V.dofmap.list[:size]], axis=1).astype(np.uint64)
    code = np.zeros(size, dtype=np.uint64)
    for column in vertices.T:  # multiply and mix as in splitmix64; overflow wraps
        code = (code ^ column) * np.uint64(0x9E3779B97F4A7C15)
        code = (code ^ (code >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    local = np.array([size, code.sum(dtype=np.uint64)], dtype=np.uint64)
    parts = np.array(mesh.comm.allgather(local))
    return np.asarray(parts.sum(axis=0, dtype=np.uint64))


def _load(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Content of a checkpoint file, or an error that says what is wrong with it."""
    content = load_arrays(path, "checkpoint")
    if str(content.get("format")) != FORMAT:
        raise ValueError(f"{path} is no checkpoint of dolfinx_llg")
    version = content.get("version", np.array(None)).tolist()
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version} of the format, this program reads version {VERSION}"
        )
    if missing := [key for key in ENTRIES if key not in content]:
        raise ValueError(f"{path} is no checkpoint: it lacks {missing}")
    _check_numbers(str(path), content)
    shape = content["x"].shape
    if len(shape) != 2 or shape[1:] != (3,) or content["cells"].shape != (2,):
        raise ValueError(
            f"{path} is damaged: its nodes x have shape {shape}, not (n, 3), or cells has "
            f"{content['cells'].shape}, not (2,)"
        )
    for key in ("m", "x", *(key for key in content if key.startswith(FIELDS))):
        if content[key].shape != shape:
            raise ValueError(f"{path}: {key} has shape {content[key].shape}, the nodes {shape}")
        if content[key].dtype.kind != "f" or not np.isfinite(content[key]).all():
            raise ValueError(f"{path}: {key} is not finite at a node")
    return content


def _match(path: Path, content: dict[str, npt.NDArray[Any]], nodes: _Nodes) -> Integers:
    """Row of the checkpoint for each node of this mesh, or ValueError for another mesh."""
    here = (nodes.cell_type, int(nodes.cells[0]), len(nodes.x))
    there = (str(content["cell_type"]), int(content["cells"][0]), len(content["x"]))
    if here != there:
        raise ValueError(
            f"{path} belongs to another mesh: (cells, their number, nodes) are {there} there, "
            f"{here} here"
        )
    x, saved = nodes.x, content["x"]
    if np.array_equal(x, saved):
        order = np.arange(len(x))
    else:
        # The coordinates may differ by round-off (vertices of refined quadrilaterals are sums in
        # an order that depends on the partition), and with them the order.
        distance, order = cKDTree(saved).query(x)
        diameter = float(np.linalg.norm(np.ptp(saved, axis=0)))
        worst = int(np.argmax(distance))
        if distance[worst] > NODE_TOLERANCE * diameter or len(np.unique(order)) < len(order):
            raise ValueError(
                f"{path} belongs to another mesh: its nearest node to {x[worst].tolist()} is at "
                f"{saved[order[worst]].tolist()}"
            )
        return order  # the checksum of the cells supposes the same order of the nodes
    if int(nodes.cells[1]) != int(content["cells"][1]):
        raise ValueError(f"{path} belongs to another mesh: same nodes, other cells")
    return order
