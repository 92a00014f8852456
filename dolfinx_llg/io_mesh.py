# SPDX-License-Identifier: LGPL-3.0-or-later
"""Reading meshes with their tags: XDMF (DOLFINx's or others') and Gmsh's .msh."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mpi4py import MPI

import numpy as np
from dolfinx import io, mesh

from dolfinx_llg.collective import from_root
from dolfinx_llg.kinds import checked

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

    ``.xdmf``: the first uniform grid is the mesh; cell data (integers) on grids of the same and of
    one less dimension are the cell and facet tags, whatever their names. ``.msh``: physical groups
    are the tags, and every cell must be in exactly one; Gmsh's Python module is needed then.
    Coordinates are taken as they are: the unit of length is the reader's to know.

    Args:
        comm: Communicator of the mesh.
        path: File ending in ``.xdmf`` or ``.msh``.

    Returns:
        Mesh, cell tags, facet tags; unpacks as a tuple.

    Raises:
        FileNotFoundError: If the file, or the HDF5 file that it points to, does not exist.
        ValueError: If the suffix is unknown, the file cannot be parsed, holds no mesh, holds cells
            of several types, or (``.msh``) has no physical group of cells.
        RuntimeError: If Gmsh's Python module is needed and cannot be loaded.

    Note: Collective; errors are the same on all ranks.
    """
    path = Path(path)
    if path.suffix not in (".xdmf", ".msh"):
        raise ValueError(f"a mesh file ends in .xdmf or .msh, got {path}")
    return _read_xdmf(comm, path) if path.suffix == ".xdmf" else _read_msh(comm, path)


def _require_file(path: Path) -> None:
    """Raise FileNotFoundError where there is no such file."""
    if not path.is_file():
        raise FileNotFoundError(f"no mesh file {path}")


def _inspect_xdmf(path: Path) -> tuple[bool, list[tuple[str, int, list[str]]]]:
    """Whether the data are in HDF5; name, dimension and cell attributes of the uniform grids."""
    _require_file(path)
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise ValueError(f"{path} is no valid XDMF file: {error}") from error
    binary = [item for item in root.iter("DataItem") if item.get("Format", "XML") == "HDF"]
    for item in binary:
        _require_file(path.parent / (item.text or "").strip().split(":")[0])
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
            if attribute.get("Center", "Node") == "Cell"
        ]
        grids.append((grid.get("Name", ""), dimension, marks))
    if not grids:
        raise ValueError(f"{path} holds no mesh: there is no uniform grid in its domain")
    return bool(binary), grids


def _read_xdmf(comm: MPI.Intracomm, path: Path) -> MeshData:
    binary, grids = from_root(comm, lambda: _inspect_xdmf(path))
    name, tdim, _ = grids[0]
    encoding = io.XDMFFile.Encoding.HDF5 if binary else io.XDMFFile.Encoding.ASCII
    with io.XDMFFile(comm, path, "r", encoding) as file:
        msh = file.read_mesh(name=name)
        tags: dict[int, mesh.MeshTags] = {}
        for grid, dimension, marks in grids:
            if not marks or dimension < tdim - 1 or dimension in tags:
                continue
            msh.topology.create_entities(dimension)
            msh.topology.create_connectivity(dimension, tdim)
            tags[dimension] = file.read_meshtags(msh, grid, marks[0])
    return MeshData(msh, tags.get(tdim), tags.get(tdim - 1))


@contextmanager
def _gmsh_model(path: Path) -> Iterator[Any]:
    """Gmsh's model of a file; whatever the user has open in Gmsh is left as it was."""
    _require_file(path)
    try:
        import gmsh
    except (ImportError, OSError) as error:  # OSError: its library lacks one of the system's
        raise RuntimeError(
            f"reading {path} needs Gmsh's Python module, which cannot be loaded ({error}); "
            "install it, or convert the mesh to XDMF elsewhere"
        ) from error
    running = bool(gmsh.isInitialized())
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
    tdim = model.getDimension()
    types = model.mesh.getElementTypes(tdim) if tdim > 0 else []
    if len(types) == 0:
        raise ValueError(f"{path} holds no mesh")
    if len(types) > 1:
        names = [model.mesh.getElementProperties(kind)[0] for kind in types]
        raise ValueError(f"{path} has cells of several types: {names}")
    if not model.getPhysicalGroups(tdim):
        raise ValueError(f"{path} has no physical group of cells (dimension {tdim}): add one")
    model.mesh.renumberNodes()  # DOLFINx asks for numbers without gaps
    x = model.mesh.getNodes()[1].reshape(-1, 3)
    used = np.flatnonzero(np.ptp(x, axis=0) > 0.0)
    return max(int(tdim), int(used[-1]) + 1)


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
