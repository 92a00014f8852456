# SPDX-License-Identifier: LGPL-3.0-or-later
"""Magnetization as a nodal field of unit vectors: space, normalisation, length defect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.checks import check_array
from dolfinx_llg.collective import agree, together
from dolfinx_llg.jit import compile_expression, compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.mesh_checks import check_mesh
from dolfinx_llg.physics.interaction import check_domain

__all__ = ["check_magnetization", "length_defect", "magnetization", "normalise", "vector_space"]


@checked
def vector_space(mesh: dolfinx.mesh.Mesh) -> fem.FunctionSpace:
    """Return the space of magnetizations, P1 (Q1 on quads and hexes) with 3 components.

    Raises:
        ValueError: If the mesh is in single precision (make it with ``dtype=numpy.float64``), has
            coordinates that are not finite or a cell without volume; on all ranks alike.

    Note: Collective.
    """
    check_mesh(mesh)
    return fem.functionspace(mesh, ("Lagrange", 1, (3,)))


@checked
def magnetization(mesh: dolfinx.mesh.Mesh, m0: object) -> fem.Function:
    """Interpolate initial data into ``vector_space(mesh)`` and normalise at the nodes.

    Args:
        mesh: The mesh.
        m0: 3 numbers, a callable on points of shape (3, n) that returns (3, n) as
            ``fem.Function.interpolate`` takes it, or a UFL vector of 3 components.

    Raises:
        ValueError: If the data have another shape, vanish at a node or are not finite, or the mesh
            is none to compute on (``vector_space``).

    Note: Collective.
    """
    V = vector_space(mesh)
    m = fem.Function(V, name="m")
    if isinstance(m0, ufl.core.expr.Expr):
        if m0.ufl_shape != (3,):
            raise ValueError(f"m0 must have shape (3,), got shape {m0.ufl_shape}")
        field = m0 * fem.Constant(mesh, 1.0)  # so that constants of UFL have a mesh
        check_domain(ufl.inner(field, field) * ufl.dx(domain=mesh), m, "m0")
        m.interpolate(compile_expression(field, V.element.interpolation_points, mesh.comm))
    elif callable(m0):
        with together(mesh.comm):
            m.interpolate(lambda x: _initial_values(m0, x))
    else:
        value = check_array("m0", m0, (3,))
        agree(mesh.comm, m0=value)
        m.x.array[:] = np.tile(value, len(m.x.array) // 3)
    m.x.scatter_forward()
    normalise(m)
    return m


def _initial_values(m0: Callable[[Any], object], x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Values of a callable at points of shape (3, n), refused unless they are numbers (3, n)."""
    try:
        values = np.asarray(m0(x))
    except TypeError as error:
        raise TypeError(
            f"m0 must take points of shape (3, n) and return (3, n) numbers ({error})"
        ) from error
    if values.dtype.kind not in "iufb":
        raise TypeError(f"m0 must return numbers, got an array of type {values.dtype}")
    if values.shape != x.shape:
        raise ValueError(
            f"m0 of points of shape (3, n) must have shape (3, n), got {values.shape} for n = "
            f"{x.shape[1]}"
        )
    return values.astype(np.float64)


def _lengths(m: fem.Function) -> np.ndarray:
    values = m.x.array.reshape(-1, 3)
    return np.sqrt(np.einsum("ij,ij->i", values, values))


@checked
def normalise(m: fem.Function) -> None:
    """Set m to m/|m| at every node, in place.

    Raises:
        ValueError: If m vanishes or is not finite at a node, on all ranks alike.

    Note: Collective.
    """
    length = _lengths(m)
    smallest = float(np.min(np.where(np.isfinite(length), length, 0.0), initial=np.inf))
    smallest = min(m.function_space.mesh.comm.allgather(smallest))
    if smallest == 0.0:
        raise ValueError("m is zero or not finite at a node and cannot be normalised")
    m.x.array.reshape(-1, 3)[:] /= length[:, None]


@checked
def check_magnetization(m: fem.Function, *, unit: bool = True) -> None:
    """Validate a magnetization: space, finite values, unit length at the nodes.

    Args:
        m: Function to check.
        unit: Whether the nodal length must be 1 (to 1e-6: data of single precision pass).

    Raises:
        ValueError: With the value met, on all ranks alike.
    """
    V = m.function_space
    shape = tuple(int(n) for n in V.value_shape)
    if shape != (3,):
        raise ValueError(f"m must have 3 components, got value shape {shape}")
    try:
        element = V.element.basix_element
    except RuntimeError as error:  # mixed and quadrature elements have none
        raise ValueError(f"m must be of vector_space(mesh), got {V.ufl_element()}") from error
    if element.family.name != "P" or element.degree != 1 or element.discontinuous:
        raise ValueError(
            "m must be continuous Lagrange of degree 1 (vector_space(mesh)), got family "
            f"{element.family.name}, degree {element.degree}, "
            f"{'dis' if element.discontinuous else ''}continuous"
        )
    check_mesh(V.mesh)
    length = _lengths(m)
    worst = float(length[np.argmax(np.abs(length - 1.0))]) if len(length) else 1.0
    lengths = V.mesh.comm.allgather(worst)
    worst = max(lengths, key=lambda value: abs(value - 1.0) if np.isfinite(value) else np.inf)
    if not np.isfinite(worst):
        raise ValueError(f"m is not finite: a node has length {worst}")
    if unit and abs(worst - 1.0) > 1e-6:
        raise ValueError(
            f"m must have unit length at every node, met |m| = {worst:.6g}: call normalise(m) "
            "(to go on with an unprojected run, build its step before reading the checkpoint)"
        )


@checked
def length_defect(m: fem.Function) -> float:
    """Return ``|| 1 - |m|^2 ||_L2(Omega)`` (GRPS paper, (6.4)), the same on every rank.

    Note: Collective.
    """
    dx = ufl.dx(domain=m.function_space.mesh)
    value = fem.assemble_scalar(compile_form((1 - ufl.inner(m, m)) ** 2 * dx))
    return float(np.sqrt(sum(m.function_space.mesh.comm.allgather(value))))
