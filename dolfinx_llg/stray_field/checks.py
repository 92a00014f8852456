# SPDX-License-Identifier: LGPL-3.0-or-later
"""What a magnet must be for its stray field; all checks fail on all ranks alike."""

from __future__ import annotations

import dolfinx
from dolfinx import fem

from dolfinx_llg.checks import check_number
from dolfinx_llg.la.krylov import check_real_build
from dolfinx_llg.mesh_checks import check_mesh
from dolfinx_llg.physics.cell_data import check_positive
from dolfinx_llg.physics.interaction import mesh_id
from dolfinx_llg.sphere import check_magnetization, vector_space

__all__ = ["check_accuracy", "check_magnet", "check_ms"]

CELLS = (dolfinx.mesh.CellType.tetrahedron, dolfinx.mesh.CellType.hexahedron)


def check_magnet(m: fem.Function | fem.FunctionSpace | dolfinx.mesh.Mesh) -> fem.FunctionSpace:
    """Return the P1 vector space of a magnetization, a space or a mesh, if it has a stray field.

    Raises:
        ValueError: If the mesh is no mesh of a volume, or m is no P1 vector.
    """
    check_real_build()
    if isinstance(m, dolfinx.mesh.Mesh):
        _check_mesh(m)
        check_mesh(m)
        return vector_space(m)
    if isinstance(m, fem.FunctionSpace):
        _check_mesh(m.mesh)
        check_magnetization(fem.Function(m), unit=False)
        return m
    _check_mesh(m.function_space.mesh)
    check_magnetization(m, unit=False)
    return m.function_space


def _check_mesh(mesh: dolfinx.mesh.Mesh) -> None:
    """Check the kind of a mesh; ``check_magnetization`` and ``check_mesh`` do the rest."""
    tdim, gdim = mesh.topology.dim, mesh.geometry.dim
    if tdim == 2 and gdim == 3:
        raise ValueError(
            "the stray field needs the cells of a volume, this is a mesh of a surface: mesh the "
            "magnet with tetrahedra or hexahedra (a film may be one cell thick)"
        )
    if tdim != 3:
        raise ValueError(
            f"the stray field needs a mesh in 3D, this one is in {gdim}D: extrude the magnet (a "
            "film may be one cell thick), or take its limit for thin films, an anisotropy "
            "Ms^2 m_z^2/2, as UniaxialAnisotropy"
        )
    if mesh.topology.cell_type not in CELLS:
        raise ValueError(
            "the stray field needs tetrahedra or hexahedra, got cells of type "
            f"{mesh.topology.cell_type.name}"
        )
    if mesh.geometry.cmaps[0].degree != 1:
        raise ValueError(
            "the stray field needs straight cells, the geometry has degree "
            f"{mesh.geometry.cmaps[0].degree}"
        )


def check_ms(Ms: float | fem.Function, mesh: dolfinx.mesh.Mesh) -> float | fem.Function:
    """Return Ms, a positive number or a positive DG0 function of this mesh.

    Raises:
        ValueError: If it is not positive and finite, not DG0, or of another mesh.
    """
    if isinstance(Ms, fem.Function):
        if mesh_id(Ms.function_space.mesh) != mesh_id(mesh):
            raise ValueError("Ms lives on another mesh than m: build it on m.function_space.mesh")
        element = Ms.function_space.element
        if Ms.ufl_shape != () or element.space_dimension != 1:
            raise ValueError(f"Ms must be a DG0 function, got {Ms.function_space.ufl_element()}")
        check_positive(Ms, "Ms")
        return Ms
    return check_number("Ms", Ms, positive=True)


def check_accuracy(accuracy: float) -> None:
    """Check the accuracy of the boundary operator.

    Raises:
        ValueError: If it does not lie between 0 and 1.
    """
    check_number("accuracy", accuracy)
    if not 0.0 < accuracy < 1.0:
        raise ValueError(f"accuracy must lie between 0 and 1 (default 1e-4), got {accuracy}")
