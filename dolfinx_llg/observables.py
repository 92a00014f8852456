# SPDX-License-Identifier: LGPL-3.0-or-later
"""Scalar observables of a run: one row of numbers per step, the same on every rank."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.collective import raise_together, total
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import unit_numbers
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.facets import check_tags, facet_rows, outer_facets
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.state import State

__all__ = ["Observer", "topological_charge"]


@checked
class Observer:
    r"""Evaluates the scalars that tell how a run goes; its forms are compiled once.

    Args:
        energy: Energy of the run.
        m: Magnetization that is advanced by the steps.
        integrals: Further integrals over the mesh, by name: scalar UFL forms (of ``m``, cell
            fields, ...), assembled at each call.

    Raises:
        ValueError: If an integral is no scalar form, or its name is one of the Observer's own.
    """

    def __init__(
        self, energy: Energy, m: fem.Function, *, integrals: Mapping[str, Any] | None = None
    ) -> None:
        mesh = m.function_space.mesh
        dx = ufl.dx(domain=mesh)
        Ms: Any = energy.Ms
        if not isinstance(Ms, fem.Function):
            Ms = fem.Constant(mesh, float(Ms))  # 1 * dx would vanish with its mesh
        extra = dict(integrals or {})
        for name, integral in extra.items():
            if not isinstance(integral, ufl.Form) or integral.arguments():
                raise ValueError(f"the integral {name!r} must be a scalar UFL form")
        self._work = work = fem.Function(m.function_space)
        forms = {
            "volume": Ms * dx,
            "mx": Ms * work[0] * dx,
            "my": Ms * work[1] * dx,
            "mz": Ms * work[2] * dx,
            "length_defect": (1 - ufl.inner(work, work)) ** 2 * dx,
        }
        self._forms = [compile_form(form) for form in (*forms.values(), *extra.values())]
        self._extra = tuple(extra)
        self._energy, self._m = energy, m
        self._energy_names = {name: f"energy_{_snake_case(name)}" for name in energy.by_term(m)}
        own = {*_OWN_NAMES, *self._energy_names.values()}
        if clash := own.intersection(extra):
            raise ValueError(f"names of integrals already in use: {sorted(clash)}")

    def average(self, m: fem.Function) -> npt.NDArray[np.float64]:
        """Return the average of a magnetization, weighted by Ms, shape (3,). Collective.

        Args:
            m: A function of the space of m: m itself, or the candidate of a step (``llg.Until``).
        """
        volume, *sums = self._integrate(self._forms[:4], m)
        return np.array(sums) / volume

    def _integrate(self, forms: Sequence[fem.Form], m: fem.Function) -> list[float]:
        self._work.x.array[:] = m.x.array
        local = np.array([fem.assemble_scalar(form) for form in forms])
        # Summed on every rank in the same order: the ranks agree to the last bit.
        return list(np.sum(m.function_space.mesh.comm.allgather(local), axis=0).tolist())

    def observe(self, state: State) -> dict[str, float]:
        r"""Return the observables of a state.

        The keys, in this order: ``t``, ``n``, ``dt``; ``energy`` (in :math:`\mu_0 M_{s0}^2 L^3`)
        and its parts ``energy_exchange``, ...; the averages ``mx``, ``my``, ``mz`` of m, weighted
        by Ms; ``max_dmdt`` (NaN before the first step); ``length_defect``, the L2 norm of
        :math:`1 - |m|^2`; ``iterations``, ``newton_iterations``; the integrals given.

        The energies are those of the state's m and t, whatever data the last step has read.

        Raises:
            ValueError: If the state belongs to another m.
            TypeError: If the m of the state is an array.

        Note: Collective.
        """
        if not isinstance(state.m, fem.Function):
            raise TypeError(
                f"an Observer integrates a finite-element m, this run has an array of shape "
                f"{np.shape(state.m)}: take the averages that you need from state.m"
            )
        if state.m is not self._m:
            raise ValueError("the state belongs to another m than the observer")
        energies = self._energy.by_term(self._m, state.t)
        sums = self._integrate(self._forms, self._m)
        volume, mx, my, mz, defect = sums[:5]
        return {
            "t": state.t,
            "n": state.n,
            "dt": state.dt,
            "energy": float(sum(energies.values())),
            **{name: energies[key] for key, name in self._energy_names.items()},
            "mx": mx / volume,
            "my": my / volume,
            "mz": mz / volume,
            "max_dmdt": state.max_dmdt,
            "length_defect": math.sqrt(defect),
            "iterations": state.iterations,
            "newton_iterations": state.newton_iterations,
            **dict(zip(self._extra, sums[5:], strict=True)),
        }


_OWN_NAMES = "t n dt energy mx my mz max_dmdt length_defect iterations newton_iterations".split()


def _snake_case(name: str) -> str:
    """``UniaxialAnisotropy`` to ``uniaxial_anisotropy``, ``BulkDMI`` to ``bulk_dmi``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


type Normal = Sequence[float] | npt.NDArray[np.floating] | Callable[[Any], Any]


@checked
def topological_charge(
    m: fem.Function,
    facet_tags: dolfinx.mesh.MeshTags | None = None,
    tags: int | Sequence[int] | None = None,
    *,
    normal: Normal | None = None,
) -> float:
    r"""Return the lattice topological charge (skyrmion number) of a surface, by solid angles.

    .. math:: Q = \frac{1}{4\pi} \sum_{(1,2,3)} \Omega(m_1, m_2, m_3), \qquad
        \tan\frac{\Omega}{2} = \frac{m_1 \cdot (m_2 \times m_3)}
        {1 + m_1 \cdot m_2 + m_2 \cdot m_3 + m_3 \cdot m_1},

    over triangles with corners counterclockwise seen from the tip of the normal: the discrete
    :math:`\frac{1}{4\pi} \int m \cdot (\partial_x m \times \partial_y m)`. Berg and Luescher, Nucl.
    Phys. B 190, 412 (1981). An integer on a closed surface, or where m is constant at the edge.

    Args:
        m: Magnetization, P1. In 2D its mesh is the surface (seen from +z); a mesh of triangles in
            3D is one, with ``normal``; of a body the outer facets with ``tags`` are, seen from
            outside. Quadrilaterals are cut in two triangles.
        facet_tags: Tags of the facets of a body.
        tags: Tag of the facets meant, or several; None: the whole boundary of a body.
        normal: From where the surface is seen: 3 numbers, or a callable of points, shape (3, n), as
            they are given to ``interpolate``, that returns vectors of that shape.

    Raises:
        ValueError: If the mesh has no surface (1D), a surface in space comes without a normal, a
            normal lies in a triangle, or a tag has no facet; on all ranks alike.

    Note: Collective; the same value on every rank.
    """
    check_magnetization(m)
    V, mesh = m.function_space, m.function_space.mesh
    tdim, gdim = mesh.topology.dim, mesh.geometry.dim
    if tdim == 1:
        raise ValueError("a line has no topological charge: the mesh must be 2D or 3D")
    if tdim == 2 and (facet_tags is not None or tags is not None):
        raise ValueError("facets of a 2D mesh are lines: the charge is that of its cells")
    if tdim == 2 and gdim == 3 and normal is None:
        raise ValueError("a surface in space needs a normal, (0, 0, 1) say, or lambda x: x")
    if tdim == 2:
        cells: Any = np.arange(mesh.topology.index_map(2).size_local)
        corners, centres = V.dofmap.list[cells], None
    else:
        if facet_tags is not None and tags is None:
            raise ValueError("tags says which of facet_tags are meant, got None")
        facets = outer_facets(mesh, facet_tags, check_tags(tags), "topological_charge")
        cells, local = facet_rows(mesh, facets).T
        layout, nodes = V.dofmap.dof_layout, V.dofmap.list
        count = {4: 4, 8: 6}[nodes.shape[1]]
        closures = np.array([layout.entity_closure_dofs(2, k) for k in range(count)])
        corners = np.take_along_axis(nodes[cells], closures[local], axis=1)
        centres = V.tabulate_dof_coordinates()[nodes[cells]].mean(axis=1)
    if corners.shape[1] == 4:  # corners 0, 1, 3, 2 go around
        corners = np.concatenate([corners[:, [0, 1, 3]], corners[:, [0, 3, 2]]])
        centres = None if centres is None else np.tile(centres, (2, 1))
    a, b, c = np.moveaxis(V.tabulate_dof_coordinates()[corners], 1, 0)
    across, middle = np.cross(b - a, c - a), (a + b + c) / 3
    if normal is None:
        seen_from = np.array([0.0, 0.0, 1.0]) if centres is None else middle - centres
    elif callable(normal):
        seen_from = np.asarray(normal(middle.T), dtype=np.float64).T
    else:
        seen_from = unit_numbers("normal", normal)
    side = np.einsum("ij,ij->i", across, np.broadcast_to(seen_from, across.shape))
    # 1e-9 is far above round-off: a normal within a triangle says nothing about its sides.
    size = np.linalg.norm(across, axis=1) * np.linalg.norm(seen_from, axis=-1)
    edge_on = not bool(np.all(np.abs(side) > 1e-9 * size))
    raise_together(mesh.comm, "the normal lies in a triangle of the surface" if edge_on else None)
    m1, m2, m3 = np.moveaxis(m.x.array.reshape(-1, 3)[corners], 1, 0)
    dot = lambda u, v: np.einsum("ij,ij->i", u, v)  # noqa: E731
    below = 1.0 + dot(m1, m2) + dot(m2, m3) + dot(m3, m1)
    angle = 2.0 * np.arctan2(dot(m1, np.cross(m2, m3)), below)
    return float(total(mesh.comm, float(np.sum(np.sign(side) * angle)))) / (4.0 * math.pi)
