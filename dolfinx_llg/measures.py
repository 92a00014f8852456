# SPDX-License-Identifier: LGPL-3.0-or-later
"""Numbers that describe a texture: where a wall stands, how far neighbouring spins turn."""

from __future__ import annotations

import math
import weakref
from typing import Any, Literal

import basix
import dolfinx
import numpy as np
import ufl
from dolfinx import fem, la

from dolfinx_llg.collective import raise_together, total
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.typing import Array

__all__ = ["WallPosition", "largest_angle", "nodal_integrals"]


@checked
def largest_angle(m: fem.Function) -> float:
    """Return the largest angle in radians between m at two nodes joined by an edge.

    The P1 interpolation of a turning m supposes small angles (0.5 is a common bound): a larger one
    says that the mesh does not resolve the texture.

    Args:
        m: Magnetization, P1.

    Raises:
        ValueError: If m is of another space, or not of unit length.

    Note: Collective; the same value on every rank.
    """
    check_magnetization(m)
    V, mesh = m.function_space, m.function_space.mesh
    edges = np.array(basix.topology(getattr(basix.CellType, mesh.topology.cell_name()))[1])
    owned = mesh.topology.index_map(mesh.topology.dim).size_local
    values, nodes = m.x.array.reshape(-1, 3), V.dofmap.list[:owned]
    chord = 0.0
    for first, second in edges:
        difference = values[nodes[:, first]] - values[nodes[:, second]]
        chord = max(chord, float(np.linalg.norm(difference, axis=1).max(initial=0.0)))
    chord = max(mesh.comm.allgather(chord))
    return 2.0 * math.asin(min(1.0, 0.5 * chord))


def nodal_integrals(V: fem.FunctionSpace) -> Array:
    """Return the integral of the shape function of each owned node of a space of m. Collective."""
    w = ufl.TestFunction(V)
    vector = fem.assemble_vector(compile_form(w[0] * ufl.dx(domain=V.mesh)))
    vector.scatter_reverse(la.InsertMode.add)
    owned = V.dofmap.index_map.size_local
    return np.array(vector.array[: 3 * owned].reshape(-1, 3)[:, 0])


@checked
class WallPosition:
    r"""The position of a domain wall along an axis, as a function of m.

    .. math:: x_w = x_0 + L\,\frac{\langle m_c \rangle - m_c(x_1)}{m_c(x_0) - m_c(x_1)},

    where :math:`\langle m_c\rangle` is the mean over the body and the others are those over its
    ends, :math:`L = x_1 - x_0`: the place of a step between the values at the ends that has the
    same mean. Exact for bodies of constant cross-section whose wall is off the ends; with units an
    ``Observer`` shows it in nm.

    Args:
        axis: Along which the wall moves.
        component: Component of m that the wall turns round; None: that which differs most between
            the ends.

    Note: Calls are collective, with the same value on every rank, in mesh units.
    """

    def __init__(
        self,
        axis: Literal["x", "y", "z"] = "x",
        component: Literal["x", "y", "z"] | None = None,
    ) -> None:
        self._axis = "xyz".index(axis)
        self._component = None if component is None else "xyz".index(component)
        self._known: weakref.WeakKeyDictionary[dolfinx.mesh.Mesh, Any] = weakref.WeakKeyDictionary()

    def __call__(self, m: fem.Function) -> float:
        """Return the position.

        Raises:
            ValueError: If m is the same at both ends: there is no wall, or two of them.

        Note: Collective.
        """
        V, comm = m.function_space, m.function_space.mesh.comm
        if V.mesh not in self._known:
            self._known[V.mesh] = self._prepare(V)
        low, high, weights, ends = self._known[V.mesh]
        values = m.x.array.reshape(-1, 3)[: len(weights)]
        local = [weights @ values, *(mask @ values for mask in ends)]
        counts = [weights.sum(), *(mask.sum() for mask in ends)]
        sums = total(comm, np.column_stack([np.array(local), np.array(counts)]))
        mean, first, last = sums[:, :3] / sums[:, 3:]
        jump = first - last
        c = int(np.argmax(np.abs(jump))) if self._component is None else self._component
        # Ends that differ by a tenth of a full turn or less hold no wall between them.
        if abs(jump[c]) < 0.2:
            raise ValueError(
                f"there is no wall along {'xyz'[self._axis]}: m_{'xyz'[c]} is {first[c]:.3g} at "
                f"one end and {last[c]:.3g} at the other"
            )
        return float(low + (high - low) * (mean[c] - last[c]) / jump[c])

    def _prepare(self, V: fem.FunctionSpace) -> tuple[float, float, Array, tuple[Array, Array]]:
        """Ends of the body, integrals of the shape functions, and which nodes lie on the ends."""
        mesh = V.mesh
        raise_together(
            mesh.comm,
            f"the mesh has no axis {'xyz'[self._axis]}"
            if self._axis >= mesh.geometry.dim
            else None,
        )
        weights = nodal_integrals(V)
        x = V.tabulate_dof_coordinates()[: len(weights), self._axis]
        met = mesh.comm.allgather((x.min(initial=np.inf), x.max(initial=-np.inf)))
        low, high = float(min(a for a, _ in met)), float(max(b for _, b in met))
        near = 1e-9 * (high - low)
        ends = (x <= low + near).astype(float), (x >= high - near).astype(float)
        return low, high, weights, ends
