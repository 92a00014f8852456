# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Stiffness and gradient of P1 on tetrahedra (Q1 on hexahedra), the rows of each rank.

.. math:: K_{ab} = \int \nabla\phi_a\cdot\nabla\phi_b, \qquad
          G_{ab} = \int M_s\, \phi_b \nabla\phi_a.

Both have one pattern and share the geometry of the cells: assembled by one pass of a kernel they
take a fifth of the time of two forms. Each rank first gets the cells that other ranks have at its
nodes, and then no matrix entries of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import basix
import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.stray_field.native import KERNELS

__all__ = ["CellMatrices"]

type Floats = npt.NDArray[np.float64]
type Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Cells:
    """Cells at the nodes of a rank: its own ones first.

    Attributes:
        nodes: Corners in a numbering that rises with the global one, shape (n, corners).
        x: Their coordinates, shape (n, corners, 3).
        Ms: Of each cell.
        own: Cells of this rank.
        numbers: Global numbers of the nodes.
    """

    nodes: Ints
    x: Floats
    Ms: Floats
    own: int
    numbers: npt.NDArray[np.int64]


class CellMatrices:
    """K and G of a mesh and Ms.

    Args:
        V: Scalar P1 (Q1) space.
        Ms: A number or a DG0 function.
        transposed: Whether G is transposed: row b, column a.

    Attributes:
        lumped: ``int Ms phi`` of this rank's nodes.
        volume: Volume of this rank's cells.

    Note: Collective.
    """

    def __init__(
        self, V: fem.FunctionSpace, Ms: float | fem.Function, *, transposed: bool = False
    ) -> None:
        cells, index_map = _cells(V, Ms), V.dofmap.index_map
        ffi, lib = KERNELS.load(V.mesh.comm)
        n, corners = index_map.size_local, cells.nodes.shape[1]
        rule = _rule(corners)
        mesh = ffi.new("cell_mesh *")
        mesh.cells, mesh.corners, mesh.nodes = *cells.nodes.shape, len(cells.numbers)
        mesh.first = np.searchsorted(cells.numbers, index_map.local_range[0])
        mesh.rows, mesh.points = n, len(rule)
        kinds = {"node": "int32_t *", "x": "double *", "Ms": "double *", "rule": "double *"}
        arrays: tuple[npt.NDArray[Any], ...] = (cells.nodes, cells.x, cells.Ms, rule)
        for (name, kind), array in zip(kinds.items(), arrays, strict=True):
            assert array.flags.c_contiguous
            setattr(mesh, name, ffi.cast(kind, array.ctypes.data))
        ptr = np.zeros(n + 1, dtype=np.int32)
        # As many as there can be; memory that is not written to costs nothing.
        columns = np.empty(cells.nodes.size * (corners - 1) + n, dtype=np.int32)
        pattern = [ffi.cast("int32_t *", array.ctypes.data) for array in (ptr, columns)]
        if any(V.mesh.comm.allgather(bool(lib.llg_neighbours(mesh, *pattern)))):
            raise MemoryError("no memory for the matrices of the stray field")
        self.lumped, volume = np.zeros(n), np.zeros(1)
        self._K, self._G = np.zeros(ptr[-1]), np.zeros((ptr[-1], 3))
        out = [
            ffi.cast("double *", array.ctypes.data)
            for array in (self._K, self._G, self.lumped, volume)
        ]
        lib.llg_cell_matrices(mesh, cells.own, *pattern, transposed, *out)
        self.volume = float(volume[0])
        self._ptr, self._columns = ptr, cells.numbers[columns[: ptr[-1]]].astype(np.int32)
        self._sizes, self._comm = (n, index_map.size_global), V.mesh.comm

    def stiffness(self) -> PETSc.Mat:
        """Return K. Collective."""
        return self._matrix(self._ptr, self._columns, self._K)

    def gradient(self) -> PETSc.Mat:
        """Return G, which takes vectors, three components of a node side by side. Collective."""
        columns = 3 * self._columns[:, None] + np.arange(3, dtype=np.int32)
        return self._matrix(3 * self._ptr, columns.ravel(), self._G.ravel(), 3)

    def component(self, axis: int) -> PETSc.Mat:
        """Return G of one component. Collective."""
        return self._matrix(self._ptr, self._columns, self._G[:, axis].copy())

    def _matrix(
        self, ptr: Ints, columns: npt.NDArray[Any], values: Floats, width: int = 1
    ) -> PETSc.Mat:
        n, total = self._sizes
        sizes = ((n, total), (width * n, width * total))
        matrix = PETSc.Mat().createAIJ(sizes, csr=(ptr, columns, values), comm=self._comm)
        matrix.assemble()
        return matrix


def _rule(corners: int) -> Floats:
    """Return a rule on the reference cell: weight, values and slopes of the corners' functions.

    On tetrahedra one point, which is exact; on hexahedra 3 x 3 x 3, exact for G on all of them and
    for both on boxes.
    """
    kind, degree = {
        4: (basix.CellType.tetrahedron, 1),
        8: (basix.CellType.hexahedron, 5),
    }[corners]
    points, weights = (np.asarray(part) for part in basix.make_quadrature(kind, degree))
    element = basix.create_element(basix.ElementFamily.P, kind, 1)
    values, *slopes = np.asarray(element.tabulate(1, points))[..., 0]
    table = [weights[:, None], values, np.stack(slopes, axis=2).reshape(len(points), -1)]
    return np.ascontiguousarray(np.concatenate(table, axis=1))


def _cells(V: fem.FunctionSpace, Ms: float | fem.Function) -> _Cells:
    """Return the cells at the nodes of this rank. Collective."""
    mesh, index_map = V.mesh, V.dofmap.index_map
    comm, own = mesh.comm, mesh.topology.index_map(mesh.topology.dim).size_local
    nodes = V.dofmap.list[:own]
    corners = mesh.geometry.dofmaps[0][:own]
    if isinstance(Ms, fem.Function):
        values = Ms.x.array[Ms.function_space.dofmap.list[:own, 0]]
    else:
        values = np.full(own, float(Ms))
    if comm.size == 1:
        numbers = np.arange(index_map.size_local, dtype=np.int64)
        return _Cells(np.ascontiguousarray(nodes), mesh.geometry.x[corners], values, own, numbers)
    owner = np.concatenate([np.full(index_map.size_local, comm.rank), index_map.owners])
    table = index_map.local_to_global(
        np.arange(index_map.size_local + index_map.num_ghosts, dtype=np.int32)
    )
    shared = np.flatnonzero((nodes >= index_map.size_local).any(axis=1))
    whose, which = np.nonzero(
        (owner[nodes[shared]] == np.arange(comm.size)[:, None, None]).any(axis=2)
    )  # ranks in order
    ends = np.searchsorted(whose, np.arange(comm.size + 1))
    sent = []
    for rank in range(comm.size):
        chosen = shared[which[ends[rank] : ends[rank + 1]]] if rank != comm.rank else shared[:0]
        sent.append((table[nodes[chosen]], mesh.geometry.x[corners[chosen]], values[chosen]))
    received = comm.alltoall(sent)
    others = np.concatenate([part[0] for part in received])
    numbers = np.unique(np.concatenate([table, others.ravel()]))
    local = np.searchsorted(numbers, table).astype(np.int32)
    x = np.empty((own + len(others), corners.shape[1], 3))
    np.take(mesh.geometry.x, corners, axis=0, out=x[:own])
    np.concatenate([part[1] for part in received], out=x[own:])
    return _Cells(
        np.concatenate([local[nodes], np.searchsorted(numbers, others).astype(np.int32)]),
        x,
        np.concatenate([values, *(part[2] for part in received)]),
        own,
        numbers,
    )
