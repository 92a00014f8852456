# SPDX-License-Identifier: LGPL-3.0-or-later
"""Gradients of P1 functions at given points."""

from __future__ import annotations

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, geometry

__all__ = ["gradient_at"]

type Floats = npt.NDArray[np.float64]


def gradient_at(V: fem.FunctionSpace, values: Floats, points: Floats) -> Floats:
    """Return grad u at points, 0 outside the mesh, the same on every rank.

    Args:
        V: Scalar P1 (Q1) space.
        values: Nodal values of u that this rank owns.
        points: Shape (p, 3), the same on every rank.

    Note: Collective. On faces of cells the gradient is that of one of them.
    """
    mesh = V.mesh
    u = fem.Function(V)
    u.x.array[: len(values)] = values
    u.x.scatter_forward()
    # Derivatives of trilinear functions are trilinear, those of linear ones constant.
    degree = 0 if mesh.topology.cell_type == dolfinx.mesh.CellType.tetrahedron else 1
    Q = fem.functionspace(mesh, ("DG", degree, (3,)))
    gradient = fem.Function(Q)
    gradient.interpolate(fem.Expression(ufl.grad(u), Q.element.interpolation_points, mesh.comm))
    tdim = mesh.topology.dim
    owned = np.arange(mesh.topology.index_map(tdim).size_local, dtype=np.int32)
    tree = geometry.bb_tree(mesh, tdim, entities=owned)
    found = geometry.compute_collisions_points(tree, points)
    cells = geometry.compute_colliding_cells(mesh, found, points)
    here = np.diff(cells.offsets) > 0
    first = cells.array[cells.offsets[:-1][here]]
    out = np.zeros_like(points)
    if here.any():
        out[here] = gradient.eval(points[here], first).reshape(-1, 3)
    # Of the ranks that found a point the lowest one counts.
    parts = mesh.comm.allgather((here, out))
    total, taken = np.zeros_like(points), np.zeros(len(points), dtype=bool)
    for here, part in parts:
        new = here & ~taken
        total[new], taken = part[new], taken | here
    return total
