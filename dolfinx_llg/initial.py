# SPDX-License-Identifier: LGPL-3.0-or-later
"""Initial states: textures for ``magnetization(mesh, ...)``, random ones, those of other meshes.

::

    m = llg.magnetization(mesh, llg.initial.vortex((0.0, 0.0), core=5.0))

Textures are callables of points, shape (3, n), in mesh units; what is known to be the outcome of a
calculation is to be relaxed (``llg.relax``, ``llg.minimise``) before a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import dolfinx
import numpy as np
from dolfinx import fem

from dolfinx_llg.checks import check_array, check_integer, check_number
from dolfinx_llg.collective import agree, raise_together
from dolfinx_llg.kinds import checked
from dolfinx_llg.philox import normals
from dolfinx_llg.physics.data import unit_numbers
from dolfinx_llg.solvers.noise import original_numbers
from dolfinx_llg.sphere import check_magnetization, normalise, vector_space
from dolfinx_llg.typing import Array

__all__ = ["domains", "from_mesh", "random", "skyrmion", "uniform", "vortex", "wall"]

type Texture = Callable[[Array], Array]
type Axis = Literal["x", "y", "z"]
type Vector = Sequence[float]


@checked
def uniform(direction: Vector) -> Texture:
    """Return m along one direction.

    Args:
        direction: 3 numbers, of any length but zero.

    Raises:
        ValueError: If the direction is zero or not finite.
    """
    m = unit_numbers("direction", direction)
    return lambda x: np.tile(m[:, None], (1, x.shape[1]))


@checked
def vortex(
    centre: Vector = (0.0, 0.0),
    *,
    core: float,
    circulation: Literal[-1, 1] = 1,
    polarity: Literal[-1, 1] = 1,
) -> Texture:
    r"""Return a vortex in the plane of x and y, constant along z.

    .. math:: m_z = p\,\frac{b^2 - r^2}{b^2 + r^2}, \quad
        m_\phi = c\,\frac{2 b r}{b^2 + r^2} \quad (r < b), \qquad m_\phi = c \quad (r \ge b),

    Usov and Peschany, J. Magn. Magn. Mater. 118 (1993) L290.

    Args:
        centre: x and y of the core.
        core: Its radius b, some exchange lengths.
        circulation: c, 1: counterclockwise seen from +z.
        polarity: p, 1: the core points to +z.

    Raises:
        ValueError: If the radius is not positive or the centre not finite.
    """
    b = check_number("core", core, positive=True)
    middle = check_array("centre", centre, (2,))

    def texture(x: Array) -> Array:
        d = x[:2] - middle[:, None]
        r = np.hypot(*d)
        inside = np.minimum(r, b)  # beyond the core the angle stays at 90 degrees
        scale = circulation * 2.0 * b / (b**2 + inside**2) * np.where(r > b, b / np.fmax(r, b), 1.0)
        up = polarity * (b**2 - inside**2) / (b**2 + inside**2)
        return np.stack([-scale * d[1], scale * d[0], up])

    return texture


@checked
def skyrmion(
    centre: Vector = (0.0, 0.0),
    *,
    radius: float,
    wall: float,
    polarity: Literal[-1, 1] = -1,
    helicity: float = 0.0,
) -> Texture:
    r"""Return a skyrmion in the plane of x and y, constant along z.

    .. math:: m = (\sin\theta\cos(\phi + \gamma), \sin\theta\sin(\phi + \gamma), -p\cos\theta),
        \qquad \tan\frac{\theta}{2} = \frac{\sinh(R/w)}{\sinh(r/w)},

    two walls of the 360 degree kind bent round: Braun, Phys. Rev. B 50 (1994) 16485; Wang, Yuan and
    Wang, Commun. Phys. 1 (2018) 31. The charge (``topological_charge``) is p.

    Args:
        centre: x and y of the core.
        radius: R, where m_z = 0.
        wall: Width w of the wall, sqrt(A/K).
        polarity: p, m_z of the core; outside m_z = -p.
        helicity: gamma in radians: 0 and pi of the Neel kind (outwards, inwards), pi/2 and -pi/2 of
            the Bloch kind.

    Raises:
        ValueError: If a length is not positive, or a number not finite.
    """
    R = check_number("radius", radius, positive=True)
    w = check_number("wall", wall, positive=True)
    turn, middle = check_number("helicity", helicity), check_array("centre", centre, (2,))

    def texture(x: Array) -> Array:
        d = x[:2] - middle[:, None]
        r, phi = np.hypot(*d), np.arctan2(d[1], d[0]) + turn
        # sinh(R/w)/sinh(r/w) without overflow.
        ratio = np.exp((R - r) / w) * -np.expm1(-2 * R / w)
        theta = 2.0 * np.arctan2(ratio, -np.expm1(-2.0 * r / w))
        return np.stack(
            [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), -polarity * np.cos(theta)]
        )

    return texture


@checked
def wall(
    position: float = 0.0,
    *,
    width: float,
    axis: Axis = "x",
    left: Vector = (0.0, 0.0, 1.0),
    middle: Vector = (0.0, 1.0, 0.0),
) -> Texture:
    r"""Return a 180 degree wall, :math:`-\tanh(s)\,u + v/\cosh(s)` with :math:`s = (x - x_0)/w`.

    With ``middle`` along the axis it is a Neel wall, across it a Bloch wall, of which it is the
    exact profile without a stray field.

    Args:
        position: x_0 along the axis.
        width: w, sqrt(A/K) (``llg.units.domain_wall_width``).
        axis: Along which m turns.
        left: u, m on the lower side; -u on the upper.
        middle: v, m in the wall, at right angles to u.

    Raises:
        ValueError: If the width is not positive, or the directions are not at right angles.
    """
    w = check_number("width", width, positive=True)
    place = check_number("position", position)
    u, v = unit_numbers("left", left), unit_numbers("middle", middle)
    if abs(u @ v) > 1e-9:
        raise ValueError(f"left and middle must be at right angles, their cosine is {u @ v:.3g}")

    def texture(x: Array) -> Array:
        s = np.clip((x["xyz".index(axis)] - place) / w, -350.0, 350.0)
        return -np.tanh(s) * u[:, None] + v[:, None] / np.cosh(s)

    return texture


@checked
def domains(
    position: float = 0.0,
    *,
    axis: Axis = "x",
    left: Vector = (0.0, 0.0, 1.0),
    right: Vector = (0.0, 0.0, -1.0),
) -> Texture:
    """Return two domains with a sharp border.

    Args:
        position: Of the border along the axis; nodes on it belong to the right.
        axis: Across the border.
        left: m on the lower side.
        right: m on the upper side.

    Raises:
        ValueError: If a direction is zero, or a number not finite.
    """
    place = check_number("position", position)
    u, v = unit_numbers("left", left), unit_numbers("right", right)
    return lambda x: np.where(x["xyz".index(axis)] < place, u[:, None], v[:, None])


@checked
def random(mesh: dolfinx.mesh.Mesh, seed: int) -> fem.Function:
    """Return m of independent random directions at the nodes, evenly spread over the sphere.

    Args:
        mesh: The mesh.
        seed: Number at least 0, below 2^64. The same m on any number of ranks (Philox, by the
            number of the node in the mesh's file or array, also on a mesh of ``refine_mesh``; on
            one that DOLFINx has refined on several ranks it depends on them).

    Raises:
        ValueError: If the seed is out of range or differs between ranks.

    Note: Collective.
    """
    check_integer("seed", seed, 0, 2**64 - 1)
    agree(mesh.comm, seed=seed)
    m = fem.Function(vector_space(mesh), name="m")
    numbers = original_numbers(m.function_space)
    m.x.array[: 3 * len(numbers)] = normals(seed, numbers, 0)[0].ravel()
    m.x.scatter_forward()
    normalise(m)
    return m


@checked
def from_mesh(source: fem.Function, mesh: dolfinx.mesh.Mesh) -> fem.Function:
    """Return the magnetization of another mesh on this one: interpolated, and of unit length.

    Args:
        source: Magnetization on another mesh of the same body, on the same ranks, distributed as
            it may be.
        mesh: The mesh. Nodes that lie outside the other one (a curved boundary) by no more than
            the largest cell get the values of the nearest cell.

    Raises:
        ValueError: If a node lies farther outside, or m vanishes at one (m turns by 180 degrees
            from node to node of the other mesh). On all ranks alike.

    Note: Collective.
    """
    check_magnetization(source)
    V, other = vector_space(mesh), source.function_space.mesh
    tdim = mesh.topology.dim
    cells = np.arange(mesh.topology.index_map(tdim).size_local, dtype=np.int32)
    near = np.arange(other.topology.index_map(other.topology.dim).size_local, dtype=np.int32)
    size = max(other.comm.allgather(float(other.h(other.topology.dim, near).max(initial=0.0))))
    m = fem.Function(V, name="m")
    for padding in (1e-10 * size, size):  # nothing is extrapolated that need not be
        data = fem.create_interpolation_data(V, source.function_space, cells, padding=padding)
        m.interpolate_nonmatching(source, cells, data)
        m.x.scatter_forward()
        length = np.linalg.norm(m.x.array.reshape(-1, 3), axis=1)
        if all(mesh.comm.allgather(bool(np.all(length > 0.0)))):
            break
    lost = length == 0.0
    place = V.tabulate_dof_coordinates()[lost][:1].tolist()
    raise_together(
        mesh.comm,
        f"{np.count_nonzero(lost)} nodes of this rank have no m on the other mesh, the first at "
        f"{place[0]}: they lie outside it"
        if lost.any()
        else None,
    )
    normalise(m)
    return m
