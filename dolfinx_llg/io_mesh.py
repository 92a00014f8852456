# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading meshes with their tags: XDMF (DOLFINx's or others') and Gmsh's .msh."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mpi4py import MPI

import basix
import numpy as np
import numpy.typing as npt
from dolfinx import io, mesh

from dolfinx_llg.collective import agree, from_root
from dolfinx_llg.kinds import checked
from dolfinx_llg.mesh_checks import check_entities, check_mesh, warn_of_coinciding_nodes

__all__ = ["MeshData", "read_mesh"]

# Topological dimension of XDMF's names of cells; those of higher order end in _6, _10, ...
_XDMF_DIMENSION = {
    "polyvertex": 0,
    "polyline": 1,
    "edge": 1,
    "interval": 1,
    "triangle": 2,
    "tri": 2,
    "quadrilateral": 2,
    "quad": 2,
    "tetrahedron": 3,
    "tet": 3,
    "hexahedron": 3,
    "hex": 3,
}


# Names under which mesh converters write tags.
_TAG_NAMES = ("tags", "gmsh:physical", "medit:ref", "name_to_read", "f", "markers", "region")


class MeshData(NamedTuple):
    """A mesh and its tags.

    Args:
        mesh: The mesh, with ghost cells that share a facet.
        cell_tags: Tags of the cells, or None where the file has none.
        facet_tags: Tags of facets, or None.
    """

    mesh: mesh.Mesh
    cell_tags: mesh.MeshTags | None
    facet_tags: mesh.MeshTags | None


@checked
def read_mesh(comm: MPI.Intracomm, path: str | Path) -> MeshData:
    """Read a mesh with its cell and facet tags, distributed over the ranks.

    ``.xdmf``: the first uniform grid is the mesh; integer data on cells of grids of the same and of
    one less dimension are the cell and facet tags. Their names matter only where there are several:
    then that called ``cell_tags`` (``facet_tags``) counts, or one of the usual names of converters.
    ``.msh``: physical groups are the tags, every cell must be in exactly one and an entity in at
    most one; Gmsh's Python module is needed then. Surfaces and lines in space are meshes, too.
    A warning tells of bodies that touch without sharing nodes, which no exchange crosses; it looks
    at meshes read here alone, and cannot know whether a gap is meant. Coordinates are taken as they
    are: the unit of length is the reader's to know.

    Args:
        comm: Communicator of the mesh.
        path: File ending in ``.xdmf`` or ``.msh``.

    Returns:
        Mesh, cell tags, facet tags; unpacks as a tuple.

    Raises:
        FileNotFoundError: If the file, or the HDF5 file that it points to, does not exist.
        ValueError: If the suffix is unknown, the file cannot be parsed, holds no mesh, holds cells
            of several types or without volume, or coordinates in single precision, or its tags are
            ambiguous, belong to entities that bound no cell, or (``.msh``) leave out cells.
        RuntimeError: If Gmsh's Python module is needed and cannot be loaded.

    Note: Collective; errors are the same on all ranks.
    """
    path = Path(path)
    if path.suffix not in (".xdmf", ".msh"):
        raise ValueError(f"a mesh file ends in .xdmf or .msh, got {path}")
    agree(comm, path=str(path))
    data = _read_xdmf(comm, path) if path.suffix == ".xdmf" else _read_msh(comm, path)
    check_mesh(data.mesh)
    warn_of_coinciding_nodes(data.mesh, str(path))
    return data


def _require_file(path: Path) -> None:
    """Raise FileNotFoundError where there is no such file."""
    if not path.is_file():
        raise FileNotFoundError(f"no mesh file {path}")


class _Grid(NamedTuple):
    """A uniform grid of an XDMF file: its name, dimension and integer data on cells."""

    name: str
    dimension: int
    marks: list[str]


def _inspect_xdmf(path: Path) -> tuple[bool, list[_Grid]]:
    """Whether the data are in HDF5, and the uniform grids."""
    _require_file(path)
    try:
        root = ET.parse(path).getroot()
    except (ET.ParseError, UnicodeError, LookupError, ValueError) as error:
        raise ValueError(f"{path} is no valid XDMF file: {error}") from error
    items = list(root.iter("DataItem"))
    binary = [item for item in items if item.get("Format", "XML").upper() == "HDF"]
    known = {"HDF", "XML"}
    for item in items:
        if item.get("Format", "XML").upper() not in known:
            raise ValueError(
                f"{path} has data in the format {item.get('Format')!r}, not in HDF5 or XML"
            )
    for item in binary:
        _require_hdf5(path, path.parent / (item.text or "").strip().split(":")[0])
    grids = []
    for grid in root.iterfind("./Domain/Grid"):
        topology = grid.find("Topology")
        if topology is None or grid.get("GridType", "Uniform") != "Uniform":
            continue
        kind = str(topology.get("TopologyType") or topology.get("Type") or "").lower()
        dimension = _XDMF_DIMENSION.get(kind.split("_")[0])
        if dimension is None:
            raise ValueError(f"{path} has cells of the type {kind!r}, which cannot be read")
        marks = [
            attribute.get("Name", "")
            for attribute in grid.iterfind("Attribute")
            if attribute.get("Center", "Node") == "Cell" and _holds_integers(attribute)
        ]
        grids.append(_Grid(grid.get("Name", ""), dimension, marks))
    if not grids:
        raise ValueError(f"{path} holds no mesh: there is no uniform grid in its domain")
    return bool(binary), grids


def _require_hdf5(path: Path, data: Path) -> None:
    """Raise where the HDF5 file behind an XDMF file is missing or is none."""
    _require_file(data)
    with data.open("rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            raise ValueError(f"{path} points to {data}, which is no HDF5 file")


def _holds_integers(attribute: ET.Element) -> bool:
    """Whether data on cells can be tags: one integer for each."""
    item = attribute.find("DataItem")
    if item is None or attribute.get("AttributeType", "Scalar") != "Scalar":
        return False
    kind = item.get("NumberType") or item.get("DataType")
    if kind is not None:
        return kind.lower() in ("int", "uint", "char", "uchar", "short")
    # DOLFINx leaves the type out: text tells by itself, of binary data integers are supposed.
    return all(part.lstrip("-").isdigit() for part in (item.text or "").split()[:100]) or (
        item.get("Format", "XML").upper() == "HDF"
    )


def _choose_tags(path: Path, grids: list[_Grid], dimension: int, what: str) -> tuple[str, str]:
    """Return grid and attribute of the tags of one dimension, ("", "") where there are none."""
    found = [(g.name, mark) for g in grids if g.dimension == dimension for mark in g.marks]
    if len(found) <= 1:
        return found[0] if found else ("", "")
    # Names that say what they are: ours and DOLFINx's, then those of mesh converters.
    usual = (what, what.removesuffix("_tags") + "_markers", *_TAG_NAMES)
    for name in usual:
        named = [pair for pair in found if pair[1].lower() == name]
        if len(named) == 1:
            return named[0]
    names = sorted(mark for _, mark in found)
    raise ValueError(
        f"{path} has several integer data on entities of dimension {dimension}, {names}: call the "
        f"one that holds the tags {what!r}"
    )


def _read_xdmf(comm: MPI.Intracomm, path: Path) -> MeshData:
    binary, grids = from_root(comm, lambda: _inspect_xdmf(path))
    name, tdim, _ = grids[0]
    chosen = {
        dimension: _choose_tags(path, grids, dimension, what)
        for dimension, what in ((tdim, "cell_tags"), (tdim - 1, "facet_tags"))
    }
    encoding = io.XDMFFile.Encoding.HDF5 if binary else io.XDMFFile.Encoding.ASCII
    with io.XDMFFile(comm, path, "r", encoding) as file:
        msh = file.read_mesh(name=name)
        tags: dict[int, mesh.MeshTags] = {}
        for dimension, (grid, mark) in chosen.items():
            if not mark:
                continue
            msh.topology.create_entities(dimension)
            msh.topology.create_connectivity(dimension, tdim)
            check_entities(msh, dimension, file.read_topology_data(grid), str(path))
            tags[dimension] = file.read_meshtags(msh, grid, mark)
    return MeshData(msh, tags.get(tdim), tags.get(tdim - 1))


@contextmanager
def _gmsh_model(path: Path) -> Iterator[Any]:
    """Gmsh's model of a file; whatever the user has open in Gmsh is left as it was."""
    _require_file(path)
    try:
        import gmsh

        running = bool(gmsh.isInitialized())
    except (ImportError, OSError, AttributeError) as error:  # its library, or one of the system's
        raise RuntimeError(
            f"reading {path} needs Gmsh's Python module, which cannot be loaded ({error}); "
            "install it, or convert the mesh to XDMF elsewhere"
        ) from error
    if not running:
        gmsh.initialize(readConfigFiles=False, interruptible=False)
        gmsh.option.setNumber("General.Terminal", 0)
    before = gmsh.model.getCurrent()
    gmsh.model.add("dolfinx_llg_read_mesh")
    try:
        try:
            gmsh.merge(str(path))
        except Exception as error:  # Gmsh raises nothing more specific
            raise ValueError(f"{path} is no valid .msh file: {error}") from error
        yield gmsh.model
    finally:
        gmsh.model.remove()
        if running:
            gmsh.model.setCurrent(before)
        else:
            gmsh.finalize()


def _inspect_msh(path: Path, model: Any) -> int:
    """Check what DOLFINx would only find out on one rank; return the geometric dimension."""
    dimensions = [d for d in (3, 2, 1) if len(model.mesh.getElementTypes(d))]
    if not dimensions:
        raise ValueError(f"{path} holds no mesh: it has no lines, faces or volumes")
    tdim = dimensions[0]
    types = model.mesh.getElementTypes(tdim)
    if len(types) > 1:
        names = [model.mesh.getElementProperties(kind)[0] for kind in types]
        raise ValueError(f"{path} has cells of several types: {names}")
    if not model.getPhysicalGroups(tdim):
        raise ValueError(f"{path} has no physical group of cells (dimension {tdim}): add one")
    model.mesh.renumberNodes()  # DOLFINx asks for numbers without gaps
    _check_groups(path, model, tdim)
    x = model.mesh.getNodes()[1].reshape(-1, 3)
    used = np.flatnonzero(np.ptp(x, axis=0) > 0.0)
    return max(int(tdim), int(used[-1]) + 1)


def _check_groups(path: Path, model: Any, tdim: int) -> None:
    """Refuse groups that DOLFINx would lose, mix up or die of.

    Raises:
        ValueError: If a cell is in no group, an entity in two of them, or an entity bounds no
            cell (a plane drawn in a volume, but not embedded in its mesh).
    """
    all_cells = sum(len(tags) for tags in model.mesh.getElements(tdim)[1])
    corners: dict[int, npt.NDArray[np.int64]] = {}
    for dim in range(tdim, -1, -1):
        rows, groups, names = [], [], []
        for index, (_, group) in enumerate(model.getPhysicalGroups(dim)):
            name = model.getPhysicalName(dim, group)
            names.append(f"{name!r} ({group})" if name else str(group))
            for entity in model.getEntitiesForPhysicalGroup(dim, group):
                for kind, tags, nodes in zip(*model.mesh.getElements(dim, entity), strict=True):
                    n_nodes, n_corners = model.mesh.getElementProperties(kind)[3:6:2]
                    table = nodes.reshape(len(tags), n_nodes)[:, :n_corners].astype(np.int64)
                    rows.append(table)
                    groups.append(np.full(len(table), index))
        if not rows:
            continue
        if len({table.shape[1] for table in rows}) > 1:
            continue  # faces of prisms: DOLFINx reads no tags of them
        table, group_of = np.concatenate(rows), np.concatenate(groups)
        corners[dim] = table
        keys = np.sort(table, axis=1)
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        inverse = inverse.ravel()
        if len(unique) < len(keys):
            twice = np.flatnonzero(np.bincount(inverse) > 1)
            one = np.unique(group_of[inverse == twice[0]])
            what = "cells" if dim == tdim else f"entities of dimension {dim}"
            raise ValueError(
                f"{path}: {len(twice)} {what} are in more than one physical group, or twice in "
                f"one, the first in {' and '.join(names[i] for i in one)}: an entity has one tag; "
                "make the groups disjoint"
            )
        if dim == tdim:
            if len(keys) != all_cells:
                raise ValueError(
                    f"{path}: {all_cells - len(keys)} of {all_cells} cells are in no physical "
                    f"group of dimension {tdim}: every cell must be in exactly one"
                )
            continue
        known = _entities_of_cells(corners[tdim], tdim, dim)
        both = np.unique(np.concatenate([known, unique]), axis=0)
        if orphans := len(both) - len(known):
            lost = [
                name
                for i, name in enumerate(names)
                if len(
                    np.unique(
                        np.concatenate([known, np.unique(keys[group_of == i], axis=0)]), axis=0
                    )
                )
                > len(known)
            ]
            raise ValueError(
                f"{path}: {orphans} entities of dimension {dim} in the physical group(s) "
                f"{', '.join(lost)} bound no cell: fragment the geometry before meshing, or "
                "leave them out of the groups"
            )


def _entities_of_cells(cells: npt.NDArray[np.int64], tdim: int, dim: int) -> npt.NDArray[np.int64]:
    """Sorted corners of all entities of one dimension of Gmsh's cells, each once."""
    n = cells.shape[1]
    shapes = {(1, 2): "interval", (2, 3): "triangle", (2, 4): "quadrilateral"}
    shapes |= {(3, 4): "tetrahedron", (3, 8): "hexahedron", (3, 6): "prism", (3, 5): "pyramid"}
    cell = basix.CellType[shapes[tdim, n]]
    order = io.gmsh.cell_perm_array(mesh.to_type(cell.name), n)
    cells = cells[:, order]
    found = [np.sort(cells[:, entity], axis=1) for entity in basix.topology(cell)[dim]]
    width = len(basix.topology(cell)[dim][0])
    same = [table for table in found if table.shape[1] == width]
    return np.unique(np.concatenate(same), axis=0)


def _read_msh(comm: MPI.Intracomm, path: Path) -> MeshData:
    with ExitStack() as stack:
        model = None

        def inspect() -> int:
            nonlocal model
            model = stack.enter_context(_gmsh_model(path))
            return _inspect_msh(path, model)

        gdim = from_root(comm, inspect)
        # Ghosts as XDMFFile makes them; this overload has no types.
        partitioner = mesh.create_cell_partitioner(mesh.GhostMode.shared_facet, 2)  # type: ignore[call-arg]
        read = io.gmsh.model_to_mesh(model, comm, 0, gdim=gdim, partitioner=partitioner)
    return MeshData(read.mesh, read.cell_tags, read.facet_tags)
