# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fields of all ranks on rank 0, as they are at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from dolfinx import fem, plot

from dolfinx_llg.kinds import checked

__all__ = ["Snapshot", "check_kappa", "snapshot"]

type Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Snapshot:
    """Mesh, magnetization and kappa of all ranks.

    Attributes:
        x: Nodes, shape (n, 3).
        cells: Nodes of each cell in VTK's order, shape (cells, nodes of a cell).
        vtk_type: VTK's number of the cell type.
        tdim: Topological dimension.
        gdim: Number of coordinates.
        m: Nodal values, shape (n, 3).
        kappa: Value in each cell, or None.
    """

    x: Floats
    cells: npt.NDArray[np.int64]
    vtk_type: int
    tdim: int
    gdim: int
    m: Floats
    kappa: Floats | None


@checked
def snapshot(m: fem.Function, kappa: fem.Function | None = None) -> Snapshot | None:
    """Gather fields on rank 0, as they are now; None on the other ranks.

    Args:
        m: Magnetization, or another vector field at the nodes (a mode).
        kappa: Coefficient to show with it, scalar DG0 (``Exchange.kappa(m)``).

    Raises:
        ValueError: If m has not three components, or kappa of another kind or on another mesh.

    Note: Collective.
    """
    if m.ufl_shape != (3,):
        raise ValueError(f"m must have three components, got a function of shape {m.ufl_shape}")
    V = m.function_space
    mesh, index_map = V.mesh, V.dofmap.index_map
    comm, tdim, size = mesh.comm, mesh.topology.dim, index_map.size_local
    topology, types, x = plot.vtk_mesh(V)  # type: ignore[arg-type]
    width = V.dofmap.list.shape[1]
    local = topology.reshape(-1, width + 1)[:, 1:]
    values = None
    if kappa is not None:
        values = _cell_values(kappa, m)[: len(local)]
    parts = comm.gather(
        (
            x[:size],
            index_map.local_to_global(local.ravel().astype(np.int32)).reshape(local.shape),
            m.x.array.reshape(-1, 3)[:size].copy(),
            values,
            int(types[0]) if len(types) else 0,
        ),
        root=0,
    )
    if parts is None:
        return None
    # Global numbers run through the ranks: stacked, the nodes are in order.
    x_all, cells, m_all, kappa_all, kinds = zip(*parts, strict=True)
    return Snapshot(
        np.vstack(x_all),
        np.vstack(cells),
        max(kinds),
        tdim,
        mesh.geometry.dim,
        np.vstack(m_all),
        None if kappa is None else np.concatenate(kappa_all),
    )


def _cell_values(kappa: fem.Function, m: fem.Function) -> Floats:
    """Value in each cell on this rank."""
    check_kappa(kappa, m)
    return np.asarray(kappa.x.array[kappa.function_space.dofmap.list[:, 0]])


def check_kappa(kappa: fem.Function, m: fem.Function) -> None:
    """Raise ValueError unless kappa is one number per cell of the mesh of m."""
    V = kappa.function_space
    element = V.element.basix_element
    if element.degree != 0 or V.dofmap.bs != 1:
        raise ValueError(
            f"kappa must be one number per cell (DG0), got degree {element.degree} and block size "
            f"{V.dofmap.bs}: see cell_coefficient"
        )
    domains = [f.function_space.mesh.ufl_domain() for f in (kappa, m)]
    if domains[0] != domains[1]:
        raise ValueError("kappa lives on another mesh than m")
