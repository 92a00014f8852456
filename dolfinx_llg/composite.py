# SPDX-License-Identifier: LGPL-3.0-or-later
"""A composite in SI units in one call: materials by cell tag to energy, damping, field, units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dolfinx
import numpy as np

from dolfinx_llg.checks import check_array
from dolfinx_llg.io_mesh import MeshData
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.dmi import BulkDMI, InterfacialDMI
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import Interaction
from dolfinx_llg.physics.material import Material
from dolfinx_llg.physics.terms import CubicAnisotropy, Exchange, UniaxialAnisotropy, Zeeman
from dolfinx_llg.physics.units import Regions, Units, check_mesh_size
from dolfinx_llg.schemes.damping import Gilbert
from dolfinx_llg.stray_field import StrayField

__all__ = ["Composite", "composite"]

type Field = Sequence[float] | np.ndarray | Callable[[float], Any]


@dataclass(frozen=True)
class Composite:
    """What a run of a composite needs, made by ``composite``.

    Args:
        mesh: Its mesh.
        units: Units of the dimensionless problem: ``units.time_from_s``, ``units.time_to_s``, ...
        fields: Material data by cell (``llg.units.Regions``).
        energy: Energy of exchange, anisotropies, DMI, stray field and applied field.
        applied: The applied field among its terms, that of ``llg.hysteresis``.
        damping: Gilbert's damping, cell by cell.
        stray_field: The stray field among its terms, or None.
    """

    mesh: dolfinx.mesh.Mesh
    units: Units
    fields: Regions
    energy: Energy
    applied: Zeeman
    damping: Gilbert
    stray_field: StrayField | None


@checked
def composite(
    data: MeshData | dolfinx.mesh.Mesh,
    materials: Material | Mapping[int, Material],
    *,
    cell_tags: dolfinx.mesh.MeshTags | None = None,
    stray_field: bool | Mapping[str, Any],
    field: Field = (0.0, 0.0, 0.0),
    length: float = 1e-9,
    dmi: Literal["bulk", "interfacial"] | None = None,
) -> Composite:
    r"""Return energy, damping, applied field and units of a body made of materials in SI units.

    .. math:: E = \int A|\nabla m|^2 + K_u(1 - (m\cdot u)^2)
        + K_{c1}(m_1^2m_2^2 + m_2^2m_3^2 + m_3^2m_1^2) + w_{DMI} - M_s\,m\cdot B
        - \tfrac12\mu_0 M_s\,m\cdot H_{stray},

    each coefficient that of the cell's material; terms that no material has are left out. Cubic
    axes are those of the coordinates. ``body.energy + term`` is the energy with one more term
    (with ``Ms=body.fields.Ms`` where the term takes it)::

        data = llg.read_mesh(MPI.COMM_WORLD, "composite.msh")
        body = llg.composite(data, {1: hard, 2: soft}, stray_field=True)
        m = llg.magnetization(body.mesh, (0.1, 0, 1))
        for state in llg.hysteresis(body.energy, m, body.applied, mT, units=body.units): ...

    Args:
        data: Mesh and cell tags as ``read_mesh`` returns them, or a mesh.
        materials: One material, or one for each cell tag; tags that do not occur may be among them.
        cell_tags: Tags of the cells of a mesh that was not read from a file, by ``meshtags``; or
            others than those of the file. Not needed for one material.
        stray_field: Whether the energy has the stray field, or the options of ``StrayField``. Said
            always: in 3D a magnet without it is another one, and meshes of 1D and 2D have none.
        field: Applied field as mu0 H [T]: 3 numbers, or a callable of the time [s] that returns
            them.
        length: Length of one unit of the mesh [m].
        dmi: Form of the Dzyaloshinskii-Moriya interaction (interfacial: with the normal z); needed
            where a material has D.

    Raises:
        ValueError: If a cell has no tag or its tag no material, D comes without ``dmi``, or the
            stray field is asked for on a mesh that has none. On all ranks alike.

    Note: Collective. A UserWarning tells where the mesh is too coarse for a material
    (``llg.units.check_mesh_size``).
    """
    msh, tags = (data.mesh, data.cell_tags) if isinstance(data, MeshData) else (data, None)
    tags = tags if cell_tags is None else cell_tags
    given = [materials] if isinstance(materials, Material) else list(materials.values())
    if dmi is None and any(material.D != 0.0 for material in given):
        raise ValueError("dmi must be 'bulk' or 'interfacial' where a material has D, got None")
    units = Units.for_materials(*given, length=length)
    if isinstance(materials, Material):
        fields = _uniform(msh, materials, units)
    else:
        fields = Regions.from_cell_tags(msh, tags, materials, units)
    check_mesh_size(msh, materials, units, cell_tags=tags)
    applied = Zeeman(_in_units(field, units), Ms=fields.Ms)
    terms: list[Interaction] = [Exchange(fields.kappa)]
    if any(material.K_u != 0.0 for material in given):
        terms.append(UniaxialAnisotropy(fields.easy_axis, fields.q_u))
    if any(material.K_c1 != 0.0 for material in given):
        terms.append(CubicAnisotropy(fields.q_c))
    if any(material.D != 0.0 for material in given):
        terms.append((BulkDMI if dmi == "bulk" else InterfacialDMI)(fields.dmi))
    stray = None
    if stray_field is not False:
        options = stray_field if isinstance(stray_field, Mapping) else {}
        stray = StrayField(msh, fields.Ms, **options)
        terms.append(stray)
    energy = Energy([*terms, applied], Ms=fields.Ms)
    return Composite(msh, units, fields, energy, applied, Gilbert(fields.alpha), stray)


def _uniform(msh: dolfinx.mesh.Mesh, material: Material, units: Units) -> Regions:
    """Fields of one material in all cells."""
    cells = msh.topology.index_map(msh.topology.dim)
    count = int(cells.size_local + cells.num_ghosts)
    tags = dolfinx.mesh.meshtags(
        msh, msh.topology.dim, np.arange(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    )
    return Regions.from_cell_tags(msh, tags, {0: material}, units)


def _in_units(field: Field, units: Units) -> Any:
    """A field in T, and a time in s, as the dimensionless problem has them."""
    if not callable(field):
        return units.field_from_T(check_array("field", field, (3,)))
    return lambda t: units.field_from_T(
        check_array("field", field(float(units.time_to_s(t))), (3,))
    )
