# SPDX-License-Identifier: LGPL-3.0-or-later
"""Generate the meshes of this folder with Gmsh, and their XDMF twins with DOLFINx.

Run ``python meshes/generate.py [NAME ...] [--output DIR]`` on one rank. Only this script needs
Gmsh's Python module (and the X libraries it links to); demos and tests read the committed files.
Deterministic: one thread, fixed seeds and sizes. Another version of Gmsh may give another mesh.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from mpi4py import MPI

import gmsh
from dolfinx import io

from dolfinx_llg.io_mesh import read_mesh

MATRIX, INCLUSION = 1, 2
OUTER, INTERFACE = 10, 11

# Centre and radius [1] of disjoint discs drawn at random once; at least 0.03 apart.
DISCS = (
    (0.210, 0.316, 0.12),
    (0.717, 0.559, 0.11),
    (0.484, 0.248, 0.10),
    (0.420, 0.512, 0.10),
    (0.681, 0.847, 0.09),
    (0.121, 0.860, 0.09),
    (0.795, 0.190, 0.08),
    (0.251, 0.693, 0.08),
    (0.494, 0.780, 0.07),
    (0.116, 0.522, 0.07),
    (0.867, 0.781, 0.06),
    (0.667, 0.343, 0.06),
)
# Centre and radius [nm] of disjoint balls inside the ball of radius 20 nm; at least 1.5 nm apart.
BALLS = (
    (4.3, 9.2, 1.7, 6.0),
    (8.9, 1.0, -7.6, 5.5),
    (-5.7, 2.9, -7.1, 5.5),
    (3.2, -8.1, 6.9, 5.0),
    (-8.8, 9.2, 2.7, 5.0),
    (-5.1, -11.5, -3.6, 4.5),
    (-7.7, -5.0, 7.8, 4.5),
    (2.1, 4.7, 12.4, 4.0),
)


def _composite(dim: int, matrix: int, inclusions: list[int]) -> None:
    """Cut the inclusions out of the matrix and name volumes, outer surface and interfaces."""
    occ, model = gmsh.model.occ, gmsh.model
    _, parts = occ.fragment([(dim, matrix)], [(dim, tag) for tag in inclusions])
    occ.synchronize()
    inner = {tag for part in parts[1:] for _, tag in part}
    outer = {tag for _, tag in parts[0]} - inner
    model.addPhysicalGroup(dim, sorted(outer), MATRIX, "matrix")
    model.addPhysicalGroup(dim, sorted(inner), INCLUSION, "inclusions")
    surface = model.getBoundary([(dim, tag) for tag in outer | inner], oriented=False)
    borders = model.getBoundary([(dim, tag) for tag in inner], oriented=False)
    model.addPhysicalGroup(dim - 1, sorted({t for _, t in surface}), OUTER, "outer")
    model.addPhysicalGroup(dim - 1, sorted({t for _, t in borders}), INTERFACE, "interface")


def _homogeneous(dim: int, tag: int) -> None:
    """Name a body of one material and its surface."""
    gmsh.model.occ.synchronize()
    gmsh.model.addPhysicalGroup(dim, [tag], MATRIX, "magnet")
    surface = gmsh.model.getBoundary([(dim, tag)], oriented=False)
    gmsh.model.addPhysicalGroup(dim - 1, sorted(t for _, t in surface), OUTER, "outer")


def square_inclusions() -> float:
    """Unit square with 12 discs."""
    occ = gmsh.model.occ
    square = occ.addRectangle(0, 0, 0, 1, 1)
    _composite(2, square, [occ.addDisk(x, y, 0, r, r) for x, y, r in DISCS])
    return 0.03


def disk() -> float:
    """Disk of radius 100 nm around the origin."""
    _homogeneous(2, gmsh.model.occ.addDisk(0, 0, 0, 100, 100))
    return 4.0


def composite_particle() -> float:
    """Ball of radius 20 nm around the origin with 8 balls of a second material inside."""
    occ = gmsh.model.occ
    ball = occ.addSphere(0, 0, 0, 20)
    _composite(3, ball, [occ.addSphere(*ball) for ball in BALLS])
    return 2.3


def film() -> float:
    """Film of 100 nm x 40 nm x 5 nm with a corner at the origin."""
    _homogeneous(3, gmsh.model.occ.addBox(0, 0, 0, 100, 40, 5))
    return 2.5


MESHES: dict[str, Callable[[], float]] = {
    builder.__name__: builder for builder in (square_inclusions, disk, composite_particle, film)
}


def generate(name: str, folder: Path) -> None:
    """Write ``name.msh`` and ``name.xdmf`` into the folder."""
    gmsh.initialize(readConfigFiles=False, interruptible=False)
    try:
        for option, value in {
            "General.Terminal": 0,
            "General.NumThreads": 1,
            "Mesh.RandomSeed": 1,
            "Mesh.MshFileVersion": 4.1,
            "Mesh.Binary": 0,
            "Mesh.Optimize": 1,
        }.items():
            gmsh.option.setNumber(option, value)
        gmsh.model.add(name)
        size = MESHES[name]()
        gmsh.option.setNumber("Mesh.MeshSizeMin", size)
        gmsh.option.setNumber("Mesh.MeshSizeMax", size)
        gmsh.model.mesh.generate(gmsh.model.getDimension())
        gmsh.write(str(folder / f"{name}.msh"))
    finally:
        gmsh.finalize()
    msh, cell_tags, facet_tags = read_mesh(MPI.COMM_SELF, folder / f"{name}.msh")
    # As text: one file instead of two, smaller, and the same bytes on every run (HDF5 files carry
    # the time of writing, and the wheel's library lacks the filter that would compress them).
    encoding = io.XDMFFile.Encoding.ASCII
    with io.XDMFFile(MPI.COMM_SELF, folder / f"{name}.xdmf", "w", encoding) as file:
        file.write_mesh(msh)
        for tags in (cell_tags, facet_tags):
            assert tags is not None  # every builder above names both
            file.write_meshtags(tags, msh.geometry)
    cells = msh.topology.index_map(msh.topology.dim).size_local
    nodes = msh.topology.index_map(0).size_local
    print(f"{name}: {cells} cells, {nodes} nodes")


def main() -> None:
    """Generate the meshes named on the command line, by default all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(MESHES)}")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, metavar="DIR")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(MESHES))
    if unknown:
        parser.error(f"unknown names {unknown}: choose from {sorted(MESHES)}")
    for name in arguments.names or MESHES:
        generate(name, arguments.output)


if __name__ == "__main__":
    main()
