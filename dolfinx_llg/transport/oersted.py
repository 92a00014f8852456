# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The magnetic field of a current, by the law of Biot and Savart.

.. math:: H(x) = \frac{1}{4\pi} \int j(y) \times \frac{x-y}{|x-y|^3}\,dy
    = \frac{1}{4\pi} \sum_K j_K \times \oint_{\partial K} \frac{n}{|x-y|}\,dS

for a current density constant on cells. Cells near x are integrated exactly, over their faces, the
others by a rule of 4 points, of which an error of some (R/|x-y|)^3 is left, R their size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy.spatial.distance import cdist

from dolfinx_llg.collective import raise_together
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.units import Units

__all__ = ["oersted_field"]

type Floats = npt.NDArray[np.float64]

#: Distance from the centre of a cell over its size below which it is integrated exactly.
_NEAR = 4.0
#: Numbers in the largest array: bounds the memory to some 100 MB.
_LARGEST = 4_000_000
#: Tetrahedra in a hexahedron, in DOLFINx's order of corners.
_CUT = ((0, 1, 3, 7), (0, 1, 5, 7), (0, 2, 3, 7), (0, 2, 6, 7), (0, 4, 5, 7), (0, 4, 6, 7))
_FACES = ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2))
#: Rule of degree 2 on a tetrahedron: one barycentric coordinate, and the three others.
_A, _B = 0.585410196624969, 0.138196601125011


@checked
def oersted_field(j: fem.Function, V: fem.FunctionSpace, units: Units) -> fem.Function:
    """Return the field of a current density at the nodes of a magnet, for ``Zeeman``.

    The conductors end where their mesh ends: leads that count belong to the mesh. For a current
    that follows the time, h is linear in it: ``Zeeman(h * pulse(clock), time=clock)`` with
    ``clock = fem.Constant(mesh, 0.0)`` (UFL), h made for the current that the pulse multiplies.

    Args:
        j: Current density in ``Units.current_unit``, a DG0 vector on the mesh of all conductors
            (``Current.j``), tetrahedra or hexahedra.
        V: P1 vectors (3 components) on the mesh of the magnet, in the same coordinates: the space
            of m.
        units: Units of the run; they say how large a field a unit of current makes.

    Returns:
        h in units of Ms0, a function of V.

    Raises:
        ValueError: If a mesh is not three-dimensional, or j is no DG0 vector or not finite; on all
            ranks alike.

    Note: Collective. Cells that carry current are gathered on every rank; the cost is some 5 ns for
        each pair of an owned node and a quarter of a cell.
    """
    mesh = j.function_space.mesh
    if mesh.geometry.dim != 3 or mesh.topology.dim != 3 or V.mesh.geometry.dim != 3:
        raise ValueError(
            "the field of a current needs meshes in three dimensions, got "
            f"{mesh.geometry.dim} (conductors) and {V.mesh.geometry.dim} (magnet)"
        )
    element = j.function_space.element
    if element.space_dimension != 3 or j.function_space.dofmap.bs != 3:
        raise ValueError("j must be a DG0 vector of 3 components, as solve_current gives it")
    if V.dofmap.bs != 3:
        raise ValueError("V must be a space of vectors with 3 components, that of m")
    finite = bool(np.isfinite(j.x.array).all())
    raise_together(mesh.comm, None if finite else "j is not finite in a cell")
    corners, density = _sources(j)
    h = fem.Function(V, name="h_oersted")
    owned = V.dofmap.index_map.size_local
    points = V.tabulate_dof_coordinates()[:owned]
    factor = units.current_unit * units.length / units.Ms0
    h.x.array[: 3 * owned] = (factor * biot_savart(points, corners, density)).ravel()
    h.x.scatter_forward()
    return h


def _sources(j: fem.Function) -> tuple[Floats, Floats]:
    """Return all tetrahedra with current, shape (k, 4, 3), and their current densities (k, 3)."""
    V = j.function_space
    mesh = V.mesh
    count = mesh.topology.index_map(3).size_local
    density = j.x.array.reshape(-1, 3)[V.dofmap.list[:count, 0]]
    carries = np.any(density != 0.0, axis=1)
    x = mesh.geometry.x[mesh.geometry.dofmaps[0][:count][carries]]
    parts = mesh.comm.allgather((x, density[carries]))
    x, density = (np.concatenate(part) for part in zip(*parts, strict=True))
    if x.shape[1] == 8:
        x, density = np.concatenate([x[:, cut] for cut in _CUT]), np.tile(density, (6, 1))
    return x[:, :4], density


def biot_savart(points: Floats, corners: Floats, density: Floats) -> Floats:
    """Return the field at points of constant current densities on tetrahedra, shape (n, 3).

    Args:
        points: Shape (n, 3).
        corners: Of the tetrahedra, shape (k, 4, 3).
        density: Shape (k, 3).
    """
    out = np.zeros_like(points)
    if not len(points) or not len(corners):
        return out
    origin = corners.mean(axis=(0, 1))
    points, corners = points - origin, corners - origin
    centres = corners.mean(axis=1)
    sizes = np.linalg.norm(corners - centres[:, None], axis=2).max(axis=1)
    edges = corners[:, 1:] - corners[:, :1]
    volumes = np.abs(np.linalg.det(edges)) / 6.0
    rule = np.full((4, 4), _B) + (_A - _B) * np.eye(4)
    nodes = np.einsum("qi,kic->kqc", rule, corners).reshape(-1, 3)
    j = np.repeat(density, 4, axis=0)
    moment = np.cross(j, nodes)
    weight = np.repeat(volumes / 4.0, 4)
    step = max(1, _LARGEST // len(nodes))
    for start in range(0, len(points), step):
        x = points[start : start + step]
        near = cdist(x, centres) < _NEAR * sizes
        square = cdist(x, nodes, "sqeuclidean")
        square[np.repeat(near, 4, axis=1)] = np.inf
        strength = weight * square**-1.5
        field = np.cross(strength @ j, x) - strength @ moment
        row, cell = np.nonzero(near)
        for first in range(0, len(row), _LARGEST // 40):
            r, c = (index[first : first + _LARGEST // 40] for index in (row, cell))
            np.add.at(field, r, np.cross(density[c], _flux(x[r], corners[c])))
        out[start : start + step] = field / (4.0 * math.pi)
    return out


def _flux(points: Floats, corners: Floats) -> Floats:
    """Return the integrals of n/|x - y| over the boundaries of tetrahedra, one to each point."""
    out = np.zeros_like(points)
    centre = corners.mean(axis=1)
    for face in _FACES:
        triangle = corners[:, face]
        a, b, c = np.moveaxis(triangle, 1, 0)
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=1)[:, None]
        outward = np.sign(np.einsum("nc,nc->n", normal, a - centre))[:, None]
        out += outward * normal * _potential(points, triangle, normal)[:, None]
    return out


def _potential(x: Floats, triangle: Floats, normal: Floats) -> Floats:
    """Return the integrals of 1/|x - y| over triangles (Wilton et al., IEEE TAP 32, 276 (1984))."""
    rays = triangle - x[:, None]
    lengths = np.linalg.norm(rays, axis=2)
    height = np.abs(np.einsum("nc,nc->n", rays[:, 0], normal))
    total: Any = np.zeros(len(x))
    for k in range(3):
        a, b = rays[:, k], rays[:, (k + 1) % 3]
        edge = b - a
        s = np.linalg.norm(edge, axis=1)
        across = np.cross(edge / s[:, None], normal)  # points out of the triangle
        p = np.einsum("nc,nc->n", across, a)
        around = lengths[:, k] + lengths[:, (k + 1) % 3]
        # On the edge itself p ln() tends to 0.
        gap = np.maximum(around - s, 1e-14 * s)
        total += p * np.log((around + s) / gap)
    a, b, c = np.moveaxis(rays, 1, 0)
    la, lb, lc = lengths.T
    volume = np.abs(np.einsum("nc,nc->n", a, np.cross(b, c)))
    dot = lambda u, v: np.einsum("nc,nc->n", u, v)  # noqa: E731
    below = la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb
    return np.asarray(total - height * 2.0 * np.arctan2(volume, below))
