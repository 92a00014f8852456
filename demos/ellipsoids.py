# SPDX-License-Identifier: LGPL-3.0-or-later
"""Meshes of ellipsoids, whose stray field is known in closed form."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
from dolfinx import mesh


def ellipsoid(comm: MPI.Comm, n: int, axes: tuple[float, float, float]) -> mesh.Mesh:
    """Return a cube of n cells a side, moved along a smooth map to an ellipsoid of these axes."""
    msh = mesh.create_box(comm, [[-1.0] * 3, [1.0] * 3], [n] * 3)
    x = msh.geometry.x
    u, v, w = (x**2).T
    x[:] *= np.sqrt(np.stack([1 - v / 2 - w / 2 + v * w / 3, 1 - u / 2 - w / 2 + u * w / 3,
                              1 - u / 2 - v / 2 + u * v / 3], axis=1))  # fmt: skip
    x[:] *= axes
    return msh
