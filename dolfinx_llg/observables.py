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
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array, check_choice, check_number, warn
from dolfinx_llg.collective import raise_together, together, total
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import WrongKindError, checked, describe
from dolfinx_llg.measures import largest_angle
from dolfinx_llg.physics.data import unit_numbers
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.facets import check_tags, facet_rows, outer_facets
from dolfinx_llg.physics.terms import Zeeman
from dolfinx_llg.physics.units import Units
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.state import State

__all__ = ["Observer", "topological_charge"]


type Scalar = Callable[[fem.Function], float]

#: What the numbers of own scalars may be, and the unit in which they are shown.
SHOWN = {"": "", "time": "ns", "length": "nm", "field": "mT", "energy": "J", "angle": "deg"}


@checked
class Observer:
    r"""Evaluates the scalars that tell how a run goes; its forms are compiled once.

    ::

        observer = llg.Observer(
            energy, m, units=units, cell_tags=data.cell_tags,
            scalars={"wall": (llg.WallPosition("x"), "length"), "charge": llg.topological_charge},
        )
        with llg.CSVWriter("run.txt", comm, columns=observer.columns) as table: ...

    Args:
        energy: Energy of the run.
        m: Magnetization that is advanced by the steps.
        integrals: Further integrals over the mesh, by name: scalar UFL forms (of ``m``, cell
            fields, ...), assembled at each call.
        units: Units in which the rows are given: times in ns, energies in J, fields in mT, lengths
            in nm. None: dimensionless.
        cell_tags: Tags of regions whose averages are wanted too, weighted by Ms: ``mx_1``, ...
        scalars: Further functions of m that return a number, the same on every rank, by name; or
            pairs of a function and what it returns in mesh units, "length", "time", "field",
            "energy" or "angle" (radians, shown in degrees), which is then converted.
        warn_angle: Angle in degrees between neighbouring spins above which a warning is given,
            once; the column ``max_angle`` is there with it. None: neither.

    Attributes:
        columns: Unit of each entry of a row by its name ("" for pure numbers), for ``CSVWriter``.

    Raises:
        ValueError: If an integral is no scalar form, a name is one of the Observer's own, the tags
            are not those of cells, or a scalar is of an unknown kind.

    Note: Collective.
    """

    def __init__(
        self,
        energy: Energy,
        m: fem.Function,
        *,
        integrals: Mapping[str, Any] | None = None,
        units: Units | None = None,
        cell_tags: dolfinx.mesh.MeshTags | None = None,
        scalars: Mapping[str, Scalar | tuple[Scalar, str]] | None = None,
        warn_angle: float | None = None,
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
        self._energy, self._m, self._units = energy, m, units
        self._energy_names = {name: f"energy_{_snake_case(name)}" for name in energy.by_term(m)}
        self._regions = None if cell_tags is None else _Regions(m, Ms, cell_tags)
        self._scalars = {name: _scalar(name, given) for name, given in (scalars or {}).items()}
        if warn_angle is not None:
            check_number("warn_angle", warn_angle, positive=True, high=180.0)
        self._angle = None if warn_angle is None else warn_angle
        self._warned = False
        self._applied = () if units is None else _applied(energy)
        pairs = self._pairs()
        names = [name for name, _ in pairs]
        if clash := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"names of integrals or scalars already in use: {sorted(clash)}")
        self.columns = dict(pairs)

    def _pairs(self) -> list[tuple[str, str]]:
        """Names and units of the entries of a row, in their order."""
        shown = self._units is not None
        ns, J, mT = ("ns", "J", "mT") if shown else ("", "", "")
        pairs: list[tuple[str, str]] = [("t", ns), ("n", ""), ("dt", ns), ("energy", J)]
        pairs += [(name, J) for name in self._energy_names.values()]
        pairs += [(name, "") for name in ("mx", "my", "mz")]
        pairs += [("max_dmdt", "1/ns" if shown else "")]
        pairs += [(name, "") for name in ("length_defect", "iterations", "newton_iterations")]
        pairs += [(name, mT) for name in ("Bx", "By", "Bz") if self._applied]
        if self._regions is not None:
            pairs += [(name, "") for name in self._regions.names]
        if self._angle is not None:
            pairs += [("max_angle", "deg")]
        pairs += [(name, "") for name in self._extra]
        pairs += [(name, _unit(kind, shown)) for name, (_, kind) in self._scalars.items()]
        return pairs

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
        :math:`1 - |m|^2`; ``iterations``, ``newton_iterations``; with units the applied field
        ``Bx``, ``By``, ``Bz`` (mu0 H, where it is constant in space); the averages of regions; the
        largest angle between neighbouring spins; the integrals and scalars given. The units stand
        in ``columns``.

        The energies are those of the state's m and t, whatever data the last step has read.

        Raises:
            ValueError: If the state belongs to another m, or a scalar is no finite number.
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
        units, m = self._units, self._m
        energies = self._energy.by_term(m, state.t)
        sums = self._integrate(self._forms, m)
        volume, mx, my, mz, defect = sums[:5]
        ns = 1.0 if units is None else 1e9 * float(units.time_to_s(1.0))
        joule = 1.0 if units is None else float(units.energy_to_J(1.0))
        row = {
            "t": ns * state.t,
            "n": state.n,
            "dt": ns * state.dt,
            "energy": joule * float(sum(energies.values())),
            **{name: joule * energies[key] for key, name in self._energy_names.items()},
            "mx": mx / volume,
            "my": my / volume,
            "mz": mz / volume,
            "max_dmdt": state.max_dmdt / ns,
            "length_defect": math.sqrt(defect),
            "iterations": state.iterations,
            "newton_iterations": state.newton_iterations,
        }
        if self._applied:
            assert units is not None
            field = 1e3 * units.field_to_T(sum(term.value for term in self._applied))
            row |= dict(zip(("Bx", "By", "Bz"), np.asarray(field).tolist(), strict=True))
        if self._regions is not None:
            row |= self._regions.averages(m)
        if self._angle is not None:
            row["max_angle"] = self._turn()
        row |= dict(zip(self._extra, sums[5:], strict=True))
        for name, (function, kind) in self._scalars.items():
            value = check_number(f"the scalar {name!r}", function(m))
            row[name] = value * _factor(kind, units)
        return row

    def _turn(self) -> float:
        """Return the largest angle in degrees, with a warning where it is too large."""
        assert self._angle is not None
        turn = math.degrees(largest_angle(self._m))
        if turn > self._angle and not self._warned:
            self._warned = True
            warn(
                f"neighbouring spins differ by {turn:.3g} degrees, more than {self._angle:g}: the "
                "mesh does not resolve m"
            )
        return turn


class _Regions:
    """Averages of m over the cells of each tag, weighted by Ms."""

    def __init__(self, m: fem.Function, Ms: Any, tags: dolfinx.mesh.MeshTags) -> None:
        mesh = m.function_space.mesh
        cells = mesh.topology.index_map(mesh.topology.dim)
        owned = int(cells.size_local)
        bad = tags.dim != mesh.topology.dim or bool(
            np.any(tags.indices >= owned + cells.num_ghosts)
        )
        raise_together(
            mesh.comm, "cell_tags must be tags of the cells of m's mesh" if bad else None
        )
        mine = np.unique(tags.values[tags.indices < owned])
        self.tags = sorted(set(np.concatenate(mesh.comm.allgather(mine)).tolist()))
        self.names = [f"m{axis}_{tag}" for tag in self.tags for axis in "xyz"]
        self._number = np.full(owned, len(self.tags))
        inside = tags.indices < owned
        self._number[tags.indices[inside]] = np.searchsorted(self.tags, tags.values[inside])
        self._work = work = fem.Function(m.function_space)
        dx = ufl.dx(domain=mesh)
        self._spaces = [fem.functionspace(mesh, ("DG", 0, shape)) for shape in ((3,), ())]
        w, q = (ufl.TestFunction(space) for space in self._spaces)
        self._forms = [compile_form(Ms * ufl.inner(work, w) * dx), compile_form(Ms * q * dx)]

    def averages(self, m: fem.Function) -> dict[str, float]:
        """Return the averages by name. Collective."""
        self._work.x.array[:] = m.x.array
        columns = []
        for form, space, size in zip(self._forms, self._spaces, (3, 1), strict=True):
            table = fem.assemble_vector(form).array.reshape(-1, size)
            table = table[space.dofmap.list.reshape(-1)[: len(self._number)]]
            columns += [
                np.bincount(self._number, table[:, i], len(self.tags) + 1)[:-1] for i in range(size)
            ]
        sums = total(m.function_space.mesh.comm, np.array(columns).T)
        return dict(zip(self.names, (sums[:, :3] / sums[:, 3:]).ravel().tolist(), strict=True))


def _scalar(name: str, given: Scalar | tuple[Scalar, str]) -> tuple[Scalar, str]:
    function, kind = given if isinstance(given, tuple) else (given, "")
    if not callable(function):
        raise WrongKindError(f"the scalar {name!r} must be a callable, got {describe(function)}")
    check_choice(f"the kind of the scalar {name!r}", kind, SHOWN)
    return function, kind


def _unit(kind: str, shown: bool) -> str:
    return SHOWN[kind] if shown or kind == "angle" else ""


def _factor(kind: str, units: Units | None) -> float:
    """Return the factor from mesh units to those shown."""
    if kind == "angle":
        return math.degrees(1.0)
    if units is None or not kind:
        return 1.0
    return {
        "time": 1e9 * float(units.time_to_s(1.0)),
        "length": 1e9 * float(units.length_to_m(1.0)),
        "field": 1e3 * float(units.field_to_T(1.0)),
        "energy": float(units.energy_to_J(1.0)),
    }[kind]


def _applied(energy: Energy) -> tuple[Zeeman, ...]:
    """Return the applied fields, unless one of them varies in space."""
    found = tuple(term for term in energy.terms if isinstance(term, Zeeman))
    return () if any(isinstance(term.h_ext, Expr) for term in found) else found


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
        with together(mesh.comm):
            seen_from = check_array("normal", normal(middle.T), middle.T.shape).T
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
