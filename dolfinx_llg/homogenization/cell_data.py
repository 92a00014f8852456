# SPDX-License-Identifier: LGPL-3.0-or-later
"""Data of a run on the mesh of a period: taken there, checked for periodicity, averaged."""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from dolfinx_llg.jit import compile_form
from dolfinx_llg.physics.interaction import mesh_id

__all__ = ["mean_over", "on_cell"]

Array = npt.NDArray[np.float64]


def on_cell(name: str, value: Any, cell: mesh.Mesh) -> Any:
    """Return data of a run as data on the mesh of a period.

    Args:
        name: What it is, for messages.
        value: A number or array, a ``fem.Constant``, data on the cell, or a DG0 function on another
            mesh (that of the run) that contains the cell: its values at the centroids of the
            cell's cells, compared with those one period away where that mesh reaches so far.
        cell: Mesh of one period.

    Raises:
        ValueError: If it is no such data, does not cover the cell, or is not periodic; on all
            ranks alike.

    Note: Collective.
    """
    if isinstance(value, fem.Constant):
        return np.asarray(value.value) if value.ufl_shape else float(value.value)
    if not isinstance(value, fem.Function):
        domains: Any = ufl.domain.extract_domains(value) if isinstance(value, Expr) else ()
        if any(domain.ufl_id() != mesh_id(cell) for domain in domains):
            raise ValueError(
                f"{name} is a formula on another mesh than the cell: write it in the coordinates "
                "of the cell, or sample it (cell_coefficient)"
            )
        return value
    source = value.function_space
    if mesh_id(source.mesh) == mesh_id(cell):
        return value
    if MPI.Comm.Compare(source.mesh.comm, cell.comm) not in (MPI.IDENT, MPI.CONGRUENT):
        raise ValueError(
            f"{name} is data of another mesh, of {source.mesh.comm.size} rank(s) instead of the "
            f"cell's {cell.comm.size}: build it on the mesh of the cell"
        )
    element = source.ufl_element()
    if element.embedded_superdegree != 0 or not element.discontinuous:
        raise ValueError(f"{name} must be a DG0 function to be taken from the run's mesh")
    return _transferred(name, value, cell)


def _transferred(name: str, value: fem.Function, cell: mesh.Mesh) -> fem.Function:
    """Return the values of a DG0 function at the centroids of the cell, if it is periodic there."""
    target = fem.functionspace(cell, value.function_space.ufl_element())
    inside = fem.Function(fem.functionspace(value.function_space.mesh, ("DG", 0)))
    inside.x.array[:] = 1.0
    x = cell.geometry.x
    dim = cell.geometry.dim
    low, high = x[:, :dim].min(axis=0, initial=np.inf), x[:, :dim].max(axis=0, initial=-np.inf)
    low = np.min(cell.comm.allgather(low), axis=0)
    period = np.max(cell.comm.allgather(high), axis=0) - low
    here, found = _evaluated(value, inside, target)
    if not all(cell.comm.allgather(bool(found.all()))):
        raise ValueError(
            f"{name} is data of another mesh that does not contain the cell from {low.tolist()} to "
            f"{(low + period).tolist()}: cell must be a period in the coordinates of the run"
        )
    largest = max(cell.comm.allgather(float(np.abs(here).max(initial=0.0))))
    for axis in range(dim):
        for sign in (1.0, -1.0):
            x[:, axis] += sign * period[axis]
            try:
                there, met = _evaluated(value, inside, target)
            finally:
                x[:, axis] -= sign * period[axis]
            jump = np.abs(there - here).max(axis=1, initial=0.0)[met].max(initial=0.0)
            worst = max(cell.comm.allgather(float(jump)))
            if worst > 1e-9 * largest:
                raise ValueError(
                    f"{name} is not periodic in y_{axis + 1}: one period of {period[axis]:g} away "
                    f"it differs by up to {worst:.3g} (its largest value is {largest:.3g})"
                )
    out = fem.Function(target, name=value.name)
    out.x.array[: here.size] = here.ravel()
    out.x.scatter_forward()
    return out


def _evaluated(
    value: fem.Function, inside: fem.Function, target: fem.FunctionSpace
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return the values on this rank's cells, shape (n, size), and which lie in the other mesh."""
    msh = target.mesh
    owned = msh.topology.index_map(msh.topology.dim).size_local
    cells = np.arange(owned, dtype=np.int32)
    ones = fem.functionspace(msh, ("DG", 0))
    data = fem.create_interpolation_data(ones, inside.function_space, cells, padding=1e-10)
    found, values = fem.Function(ones), fem.Function(target)
    found.interpolate_nonmatching(inside, cells, data)
    values.interpolate_nonmatching(value, cells, data)
    size = target.dofmap.index_map_bs
    table = np.array(values.x.array[: owned * size], dtype=np.float64).reshape(owned, size)
    return table, np.asarray(found.x.array[:owned] > 0.5)


def mean_over(cell: mesh.Mesh, value: Any, degree: int = 3) -> Array:
    """Return the mean of a number, an array or UFL over the cell. Collective."""
    if not isinstance(value, Expr):
        return np.asarray(value, dtype=np.float64)
    one = fem.Constant(cell, 1.0)
    dx = ufl.dx(domain=cell, metadata={"quadrature_degree": degree})
    shape = tuple(value.ufl_shape)
    entries = [value[index] for index in np.ndindex(shape)] if shape else [value]
    local = [fem.assemble_scalar(compile_form(one * entry * dx)) for entry in [one, *entries]]
    volume, *sums = np.sum(cell.comm.allgather(local), axis=0).tolist()
    return np.asarray(np.array(sums).reshape(shape) / volume)
