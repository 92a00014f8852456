# SPDX-License-Identifier: LGPL-3.0-or-later
"""Material data with one value per cell (DG0): samples of formulas, images and cell tags.

Everything is vectorised over cells, collective on the communicator of the mesh, right on any
number of ranks (one that owns no cell included), and leaves the ghost values up to date.

A cell's *centroid* is the image of the midpoint of the reference cell: the centroid proper on
intervals, triangles, tetrahedra and parallelograms, the mean of the vertices on other
quadrilaterals and hexahedra.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, mesh

from dolfinx_llg.checks import check_array
from dolfinx_llg.collective import together
from dolfinx_llg.jit import compile_expression, compile_form
from dolfinx_llg.kinds import checked

__all__ = [
    "cell_coefficient",
    "check_cell_tags",
    "check_positive",
    "from_array",
    "from_cell_tags",
]

type Box = tuple[Sequence[float], Sequence[float]]
"""Lower and upper corner of an axis-parallel box, gdim numbers each."""

# Centroids are sums of vertex coordinates whose order depends on the partition: without this
# allowance one that lies on the edge of two tiles could fall on either side.
_TIE = 1e-10


def _dg0(msh: mesh.Mesh, shape: tuple[int, ...]) -> fem.FunctionSpace:
    """The space of cellwise constants of the given value shape."""
    return fem.functionspace(msh, ("Discontinuous Lagrange", 0, shape))


def cell_function(msh: mesh.Mesh, values: npt.NDArray[Any], name: str) -> fem.Function:
    """DG0 Function from values of shape (local cells with ghosts, ...); ghosts are updated."""
    V = _dg0(msh, values.shape[1:])
    f = fem.Function(V, name=name)
    cells = V.dofmap.list.reshape(-1)
    f.x.array.reshape(-1, *values.shape[1:])[cells] = values
    f.x.scatter_forward()
    return f


def _num_cells(msh: mesh.Mesh) -> int:
    """Number of cells on this rank, ghosts included."""
    cells = msh.topology.index_map(msh.topology.dim)
    return int(cells.size_local + cells.num_ghosts)


def _centroids(msh: mesh.Mesh) -> npt.NDArray[np.float64]:
    """Centroids of the local cells (ghosts included), shape (cells, gdim)."""
    V = _dg0(msh, ())
    x = V.tabulate_dof_coordinates()[V.dofmap.list.reshape(-1)]
    return np.asarray(x[:, : msh.geometry.dim], dtype=np.float64)


def centroids_in_box(
    msh: mesh.Mesh, box: Box | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Centroids of the local cells and the corners of the box, checked against each other."""
    gdim = msh.geometry.dim
    lower, upper = box_corners(gdim, box)
    x = _centroids(msh)
    slack = _TIE * (upper - lower)
    outside = bool(np.any((x < lower - slack) | (x > upper + slack)))
    if msh.comm.allreduce(int(outside)):
        met = msh.comm.allgather(
            (x.min(axis=0, initial=math.inf), x.max(axis=0, initial=-math.inf))
        )
        low = np.min([a for a, _ in met], axis=0)
        high = np.max([b for _, b in met], axis=0)
        raise ValueError(
            f"the map covers the box {lower.tolist()} to {upper.tolist()}, but the mesh has cell "
            f"centroids from {low.tolist()} to {high.tolist()}: pass box=(lower, upper)"
        )
    return x, lower, upper


def box_corners(
    dim: int, box: Box | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The corners of the box, by default the unit box, or ValueError."""
    if box is None:
        return np.zeros(dim), np.ones(dim)
    lower, upper = (np.asarray(corner, dtype=np.float64) for corner in box)
    if lower.shape != (dim,) or upper.shape != (dim,) or not np.all(upper > lower):
        raise ValueError(f"box must be two corners of {dim} numbers each, lower < upper, got {box}")
    return lower, upper


@checked
def cell_coefficient(
    msh: mesh.Mesh, kappa: Any, rule: str = "centroid", *, degree: int = 6
) -> fem.Function:
    r"""Sample a coefficient once per cell.

    Args:
        msh: Mesh.
        kappa: A number or (gdim, gdim) array; a UFL expression on ``msh``; a callable
            ``x -> `` one of these, with ``x = ufl.SpatialCoordinate(msh)``. A DG0 Function on
            ``msh`` is returned as it is, so that later changes of it are seen.
        rule: ``"centroid"`` (the value at the centroid of the cell) or ``"mean"`` (the cell
            average :math:`|K|^{-1}\int_K \kappa\,dx`). Where the mesh does not resolve the
            coefficient the two differ, and so do solutions: compare like with like.
        degree: Degree of the quadrature behind ``"mean"``.

    Returns:
        DG0 Function of shape () or (gdim, gdim).

    Raises:
        ValueError: Unknown rule, wrong value shape, an expression on another mesh, or something
            that is no coefficient.

    Note: Collective. Positivity is not checked here: see :func:`check_positive`.
    """
    if rule not in ("centroid", "mean"):
        raise ValueError(f"kappa_rule must be 'centroid' or 'mean', got {rule!r}")
    gdim = msh.geometry.dim
    # UFL expressions are callable too, so they are told apart first.
    if callable(kappa) and not isinstance(kappa, ufl.core.expr.Expr):
        with together(msh.comm):
            kappa = kappa(ufl.SpatialCoordinate(msh))
    if not isinstance(kappa, ufl.core.expr.Expr):
        return _constant(msh, kappa)
    shape = tuple(kappa.ufl_shape)
    if shape not in ((), (gdim, gdim)):
        raise ValueError(f"kappa must have shape () or ({gdim}, {gdim}), got {shape}")
    domains = ufl.domain.extract_domains(kappa)
    if any(domain != msh.ufl_domain() for domain in domains):
        raise ValueError("kappa is defined on another mesh than the one it is sampled on")
    if isinstance(kappa, fem.Function) and _is_dg0(kappa):
        return kappa
    # Multiplied by one so that constants of UFL have a mesh.
    kappa = kappa * fem.Constant(msh, 1.0)
    V = _dg0(msh, shape)
    sampled = fem.Function(V, name="kappa")
    if rule == "centroid":
        sampled.interpolate(compile_expression(kappa, V.element.interpolation_points, msh.comm))
    else:
        dx = ufl.dx(domain=msh, metadata={"quadrature_degree": degree})
        one, v = ufl.TestFunction(_dg0(msh, ())), ufl.TestFunction(V)
        volume = fem.assemble_vector(compile_form(one * dx)).array
        total = fem.assemble_vector(compile_form(ufl.inner(kappa, v) * dx)).array
        n = msh.topology.index_map(msh.topology.dim).size_local
        size = math.prod(shape)
        sampled.x.array[: n * size] = (
            total[: n * size].reshape(n, size) / volume[:n, None]
        ).ravel()
    sampled.x.scatter_forward()
    return sampled


def _is_dg0(f: fem.Function) -> bool:
    """Whether a Function is constant on each cell."""
    element = f.function_space.ufl_element()
    return bool(element.embedded_superdegree == 0 and element.discontinuous)


def _constant(msh: mesh.Mesh, value: Any) -> fem.Function:
    """DG0 Function of a constant number or tensor."""
    gdim = msh.geometry.dim
    array = check_array("kappa (a number, an array, UFL, or a callable x -> UFL)", value)
    if array.shape not in ((), (gdim, gdim)):
        raise ValueError(f"kappa must have shape () or ({gdim}, {gdim}), got {array.shape}")
    return cell_function(msh, np.broadcast_to(array, (_num_cells(msh), *array.shape)), "kappa")


@checked
def from_array(
    msh: mesh.Mesh, values: npt.ArrayLike, *, box: Box | None = None, name: str = "kappa"
) -> fem.Function:
    """DG0 Function from an image-like array, sampled at the centroids.

    ``values[i, j]`` (in 3D ``values[i, j, k]``, in 1D ``values[i]``) is the value where
    ``i / n_x <= x < (i + 1) / n_x`` and ``j / n_y <= y < (j + 1) / n_y`` in the unit square; a
    centroid on the border of two entries takes the upper one. A picture, whose rows run from top
    to bottom, is passed as ``image[::-1].T``.

    Args:
        msh: Mesh.
        values: Array of gdim axes, or of gdim + 2 axes (n_x, n_y, ..., gdim, gdim) for a tensor.
        box: Corners of the box that the array covers, by default [0, 1]^gdim.
        name: Name of the Function.

    Returns:
        DG0 Function of shape () or (gdim, gdim).

    Raises:
        ValueError: If the array has a wrong shape or no entries, or a cell lies outside the box.

    Note: Collective; every rank passes the same array.
    """
    table = np.asarray(values, dtype=np.float64)
    gdim = msh.geometry.dim
    if (
        table.ndim not in (gdim, gdim + 2)
        or table.size == 0
        or (table.ndim == gdim + 2 and table.shape[gdim:] != (gdim, gdim))
    ):
        raise ValueError(
            f"values must have {gdim} axes, or {gdim + 2} with the last two of length {gdim}, "
            f"got shape {table.shape}"
        )
    x, lower, upper = centroids_in_box(msh, box)
    n = np.array(table.shape[:gdim])
    index = np.floor((x - lower) / (upper - lower) * n + _TIE).astype(np.int64)
    index = np.clip(index, 0, n - 1)
    return cell_function(msh, table[tuple(index.T)], name)


def check_cell_tags(msh: mesh.Mesh, cell_tags: mesh.MeshTags | None) -> mesh.MeshTags:
    """Return the tags of a mesh's cells.

    Raises:
        ValueError: If there are none, or they are not those of cells.
    """
    if cell_tags is None:
        raise ValueError("cell_tags is None: the mesh has no tags (no physical groups in its file)")
    if cell_tags.dim != msh.topology.dim:
        raise ValueError(
            f"cell_tags has dimension {cell_tags.dim}, the cells have {msh.topology.dim}"
        )
    return cell_tags


@checked
def from_cell_tags(
    msh: mesh.Mesh,
    cell_tags: mesh.MeshTags | None,
    values: Mapping[int, npt.ArrayLike],
    *,
    name: str = "kappa",
) -> fem.Function:
    """DG0 Function from cell tags.

    Args:
        msh: Mesh.
        cell_tags: Tags of the cells of ``msh``; every cell must have one (None, which readers
            return for a mesh without tags, is refused).
        values: Value of each tag: numbers, or arrays of one common shape. Tags that do not occur
            in the mesh may be among them (one table of materials serves several meshes).
        name: Name of the Function.

    Returns:
        DG0 Function of the common shape.

    Raises:
        ValueError: If a cell has no tag or a tag has no value (on all ranks, naming the tags), if
            the values differ in shape, or the tags are not those of the cells of ``msh``.

    Note: Collective.
    """
    tdim = msh.topology.dim
    cell_tags = check_cell_tags(msh, cell_tags)
    if not values:
        raise ValueError("values is empty: give one value per cell tag")
    known = np.array(sorted(values), dtype=np.int64)
    arrays = [
        check_array(f"the value of tag {tag}", values[tag], finite=False) for tag in known.tolist()
    ]
    if len({a.shape for a in arrays}) > 1:
        raise ValueError(f"values differ in shape: {sorted({a.shape for a in arrays})}")
    owned = msh.topology.index_map(tdim).size_local
    count = _num_cells(msh)
    inside = cell_tags.indices < count
    tagged = np.zeros(count, dtype=bool)
    tagged[cell_tags.indices[inside]] = True
    tags = np.zeros(count, dtype=np.int64)
    tags[cell_tags.indices[inside]] = cell_tags.values[inside]
    position = np.minimum(np.searchsorted(known, tags), known.size - 1)
    unknown = np.unique(tags[:owned][tagged[:owned] & (known[position[:owned]] != tags[:owned])])
    reports = msh.comm.allgather(
        (unknown.tolist(), int(np.count_nonzero(~tagged[:owned])), int(np.count_nonzero(~inside)))
    )
    missing = sorted({tag for met, _, _ in reports for tag in met})
    untagged, foreign = (sum(report[i] for report in reports) for i in (1, 2))
    if foreign:
        raise ValueError(
            f"cell_tags is of another mesh: {foreign} of its cells are not in this one"
        )
    if missing or untagged:
        faults = [f"no value for the cell tags {missing}"] if missing else []
        faults += [f"{untagged} cells have no tag"] if untagged else []
        raise ValueError(f"{' and '.join(faults)}; values are given for {known.tolist()}")
    return cell_function(msh, np.stack(arrays)[position], name)


@checked
def check_positive(kappa: fem.Function, name: str = "kappa") -> None:
    """Check that a coefficient is finite and positive (a tensor: symmetric positive definite).

    Args:
        kappa: Function of shape () or (n, n) whose degrees of freedom are point values (DG0,
            Lagrange). Symmetry is asked to 1e-12, relative to the largest entry of the tensor.
        name: What the error calls it.

    Raises:
        ValueError: On all ranks alike, with the worst value and its place.

    Note: Collective.
    """
    V = kappa.function_space
    shape = tuple(kappa.ufl_shape)
    if shape != () and not (len(shape) == 2 and shape[0] == shape[1]):
        raise ValueError(f"{name} must be a scalar or a square tensor, got shape {shape}")
    owned = V.dofmap.index_map.size_local
    values = kappa.x.array.reshape(-1, *shape)[:owned]
    axes = tuple(range(1, values.ndim))
    finite = np.isfinite(values).all(axis=axes)
    # A rank reports (kind of fault, amount, place, value); the least tuple is the worst fault.
    worst: tuple[int, float, list[float], Any] | None = None
    amount = np.where(finite, 0.0, -1.0)
    kind = 0
    if finite.all() and shape:
        largest = np.abs(values).max(axis=axes, initial=0.0)
        skew = np.abs(values - values.swapaxes(1, 2)).max(axis=axes, initial=0.0)
        amount, kind = np.minimum(1e-12 * largest - skew, 0.0), 1
        if not amount.any():
            least = np.linalg.eigvalsh(values)[:, 0]
            amount, kind = np.where(least > 0.0, 0.0, least - np.finfo(float).tiny), 2
    elif finite.all():
        amount, kind = np.where(values > 0.0, 0.0, values - np.finfo(float).tiny), 2
    if amount.any():
        # Ties are broken by place: the message is then the same on any number of ranks.
        ties = np.flatnonzero(amount == amount.min())
        x = V.tabulate_dof_coordinates()[ties, : V.mesh.geometry.dim]
        first = np.lexsort(x.T[::-1])[0]
        bad, place = ties[first], x[first]
        worst = (kind, float(amount[bad]), place.tolist(), values[bad].tolist())
    faults = [report for report in V.mesh.comm.allgather(worst) if report is not None]
    if faults:
        kind, _, place, value = min(faults, key=lambda report: report[:3])
        wanted = ("finite", "symmetric", "positive definite" if shape else "positive")[kind]
        raise ValueError(f"{name} must be {wanted} everywhere, got {value} at x = {place}")
