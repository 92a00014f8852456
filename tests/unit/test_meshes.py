# SPDX-License-Identifier: LGPL-3.0-or-later
"""The committed meshes, their reader and their generator."""

from __future__ import annotations

import ast
import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, io, mesh

from dolfinx_llg import periodic_basis, vector_space
from dolfinx_llg.homogenization import homogenize
from dolfinx_llg.io_mesh import MeshData, read_mesh
from dolfinx_llg.physics import from_cell_tags

COMM = MPI.COMM_WORLD
FOLDER = Path(__file__).parents[2] / "meshes"
NAMES = ("square_inclusions", "disk", "composite_particle", "film")
COUNTS = {  # of meshes/README.md: cells, nodes
    "square_inclusions": (2992, 1565),
    "disk": (4648, 2404),
    "composite_particle": (15444, 3156),
    "film": (7411, 2137),
}


def has_gmsh() -> bool:
    """Whether Gmsh can be imported: its library may be installed and lack one of the system's."""
    try:
        import gmsh
    except (ImportError, OSError):
        return False
    return hasattr(gmsh, "lib")


needs_gmsh = pytest.mark.skipif(not has_gmsh(), reason="Gmsh's Python module cannot be loaded")


def generator() -> ModuleType:
    """The module meshes/generate.py."""
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measures(data: MeshData) -> dict[str, float]:
    """Volume by cell tag and area by facet tag, summed over the ranks of the mesh."""
    msh, cell_tags, facet_tags = data
    one = fem.Constant(msh, 1.0)
    tagged = {
        "matrix": ufl.dx(domain=msh, subdomain_data=cell_tags)(1),
        "inclusions": ufl.dx(domain=msh, subdomain_data=cell_tags)(2),
        "outer": ufl.ds(domain=msh, subdomain_data=facet_tags)(10),
        "interface": ufl.dS(domain=msh, subdomain_data=facet_tags)(11),
        "all": ufl.dx(domain=msh),
        "boundary": ufl.ds(domain=msh),
    }
    return {
        name: msh.comm.allreduce(fem.assemble_scalar(fem.form(one * measure)))
        for name, measure in tagged.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_same_measures_and_counts_on_any_number_of_ranks(name: str) -> None:
    data = read_mesh(COMM, FOLDER / f"{name}.xdmf")
    tdim = data.mesh.topology.dim
    data.mesh.topology.create_entities(0)
    found = (
        data.mesh.topology.index_map(tdim).size_global,
        data.mesh.topology.index_map(0).size_global,
    )
    assert found == COUNTS[name]
    assert data.mesh.geometry.dim == tdim
    parallel = measures(data)
    serial = measures(read_mesh(MPI.COMM_SELF, FOLDER / f"{name}.xdmf"))
    # Sums of up to 2e4 positive terms in another order.
    assert parallel == pytest.approx(serial, rel=1e-12)
    # Every cell is tagged once, every outer facet too.
    assert parallel["matrix"] + parallel["inclusions"] == pytest.approx(parallel["all"], rel=1e-12)
    assert parallel["outer"] == pytest.approx(parallel["boundary"], rel=1e-12)


def test_exact_measures_of_flat_bodies() -> None:
    film = measures(read_mesh(COMM, FOLDER / "film.xdmf"))
    assert film["matrix"] == pytest.approx(100 * 40 * 5, rel=1e-12)
    assert film["outer"] == pytest.approx(2 * (100 * 40 + 100 * 5 + 40 * 5), rel=1e-12)
    square = measures(read_mesh(COMM, FOLDER / "square_inclusions.xdmf"))
    assert square["all"] == pytest.approx(1.0, rel=1e-12)
    assert square["outer"] == pytest.approx(4.0, rel=1e-12)


def test_measures_of_round_bodies() -> None:
    """Inscribed polyhedra: below the exact value by O((h/R)^2) and never above."""

    def below(value: float, exact: float, lack: float) -> None:
        assert exact * (1 - lack) < value < exact * (1 + 1e-12)

    square = measures(read_mesh(COMM, FOLDER / "square_inclusions.xdmf"))
    # A regular polygon with edges h lacks (h/R)^2 / 6 of the disc: h = 0.03, R >= 0.06.
    below(square["inclusions"], sum(math.pi * r**2 for *_, r in _balls("DISCS")), 0.25 / 6)
    below(square["interface"], sum(2 * math.pi * r for *_, r in _balls("DISCS")), 0.25 / 24)
    disk = measures(read_mesh(COMM, FOLDER / "disk.xdmf"))
    below(disk["matrix"], math.pi * 1e4, 0.04**2 / 6)
    below(disk["outer"], math.pi * 200, 0.04**2 / 24)
    particle = measures(read_mesh(COMM, FOLDER / "composite_particle.xdmf"))
    # Triangles with edges up to 1.5 h: each lies up to (1.5 h)^2 / (6 R) under the sphere, its
    # share of the volume is 3/R of that on average at most.
    below(particle["all"], 4 / 3 * math.pi * 20**3, (1.5 * 2.3 / 20) ** 2 / 2)
    balls = 4 / 3 * math.pi * sum(r**3 for *_, r in _balls("BALLS"))
    below(particle["inclusions"], balls, (1.5 * 2.3 / 5) ** 2 / 2)


@pytest.mark.parametrize(
    ("name", "table", "longest"),
    [("square_inclusions", "DISCS", 0.043), ("composite_particle", "BALLS", 4.9)],
)
def test_inclusions_carry_tag_two(name: str, table: str, longest: float) -> None:
    """Cells tagged 2 lie in a ball, those tagged 1 outside all; ghosts included."""
    msh, cell_tags, _ = read_mesh(COMM, FOLDER / f"{name}.xdmf")
    hard = from_cell_tags(msh, cell_tags, {1: 0.0, 2: 1.0}).x.array == 1.0
    x = mesh.compute_midpoints(msh, msh.topology.dim, np.arange(len(hard), dtype=np.int32))
    x = x[:, : msh.geometry.dim]
    inside, well_inside = np.zeros((2, len(hard)), dtype=bool)
    for *centre, radius in _balls(table):
        distance = np.linalg.norm(x - centre, axis=1)
        # A flat cell of the matrix may have all vertices on the ball: its circumradius is at most
        # h / sqrt(3), it then lies h^2 / (6 R) deep.
        depth = longest**2 / (6 * radius)
        inside |= distance < radius
        well_inside |= distance < radius - depth
    found = (int(hard.sum()), int(np.sum(hard & ~inside)), int(np.sum(~hard & well_inside)))
    cells, outside, missed = np.sum(COMM.allgather(found), axis=0)
    assert cells > 0
    assert (outside, missed) == (0, 0)


def _balls(table: str) -> list[tuple[float, ...]]:
    """A table of centres and radii, read from the generator's text: Gmsh need not be there."""
    tree = ast.parse((FOLDER / "generate.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table:
            return list(ast.literal_eval(node.value))
    raise LookupError(table)


@needs_gmsh
@pytest.mark.parametrize("name", NAMES)
def test_msh_equals_its_twin(name: str) -> None:
    one = read_mesh(COMM, FOLDER / f"{name}.msh")
    two = read_mesh(COMM, FOLDER / f"{name}.xdmf")
    assert one.mesh.geometry.dim == two.mesh.geometry.dim
    assert measures(one) == pytest.approx(measures(two), rel=1e-12)
    # Interior facets at rank boundaries are seen only with ghost cells.
    assert measures(one)["interface"] == pytest.approx(measures(two)["interface"], rel=1e-12)


@needs_gmsh
def test_generator_reproduces_the_committed_mesh(shared_tmp_path: Path) -> None:
    error = None
    if COMM.rank == 0:
        try:
            generator().generate("square_inclusions", shared_tmp_path)
        except Exception as caught:  # reported on all ranks: none may be left waiting
            error = repr(caught)
    assert COMM.bcast(error) is None
    new = measures(read_mesh(COMM, shared_tmp_path / "square_inclusions.xdmf"))
    old = measures(read_mesh(COMM, FOLDER / "square_inclusions.xdmf"))
    # Another version of Gmsh may place nodes elsewhere: the polygons then differ in O(h^2).
    assert new == pytest.approx(old, rel=5e-3)


def test_reads_hdf5_and_meshes_without_tags(shared_tmp_path: Path) -> None:
    msh = mesh.create_unit_square(COMM, 4, 4, mesh.CellType.quadrilateral)
    msh.name = "plain"
    with io.XDMFFile(COMM, shared_tmp_path / "plain.xdmf", "w") as file:
        file.write_mesh(msh)
    COMM.Barrier()
    got, cell_tags, facet_tags = read_mesh(COMM, shared_tmp_path / "plain.xdmf")
    assert got.topology.index_map(2).size_global == 16
    assert cell_tags is None
    assert facet_tags is None
    with pytest.raises(ValueError, match="cell_tags is None: the mesh has no tags"):
        from_cell_tags(got, cell_tags, {1: 1.0})


def _write(path: Path, text: str) -> Path:
    """Write a file on rank 0, to be read by all."""
    if COMM.rank == 0:
        path.write_text(text)
    COMM.Barrier()
    return path


def test_bad_files_are_named_on_all_ranks(shared_tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends in \.xdmf or \.msh, got particle\.stl"):
        read_mesh(COMM, "particle.stl")
    for suffix in ("xdmf", "msh"):
        if suffix == "msh" and not has_gmsh():
            continue
        with pytest.raises(FileNotFoundError, match=f"no mesh file .*nothing.{suffix}"):
            read_mesh(COMM, shared_tmp_path / f"nothing.{suffix}")
    torn = _write(shared_tmp_path / "torn.xdmf", "<Xdmf><Domain>")
    with pytest.raises(ValueError, match=r"torn\.xdmf is no valid XDMF file"):
        read_mesh(COMM, torn)
    empty = _write(shared_tmp_path / "empty.xdmf", "<Xdmf><Domain></Domain></Xdmf>")
    with pytest.raises(ValueError, match=r"empty\.xdmf holds no mesh"):
        read_mesh(COMM, empty)
    grid = '<Xdmf><Domain><Grid><Topology TopologyType="{}">{}</Topology></Grid></Domain></Xdmf>'
    wedge = _write(shared_tmp_path / "wedge.xdmf", grid.format("Wedge", ""))
    with pytest.raises(ValueError, match="cells of the type 'wedge'"):
        read_mesh(COMM, wedge)
    item = '<DataItem Format="HDF">lost.h5:/Mesh/mesh/topology</DataItem>'
    lost = _write(shared_tmp_path / "lost.xdmf", grid.format("Triangle", item))
    with pytest.raises(FileNotFoundError, match=r"no mesh file .*lost\.h5"):
        read_mesh(COMM, lost)


MSH = """$MeshFormat
4.1 0 8
$EndMeshFormat
$PhysicalNames
0
$EndPhysicalNames
$Entities
0 0 1 0
1 0 0 0 1 1 0 0 0
$EndEntities
$Nodes
1 3 1 3
2 1 0 3
1
2
3
0 0 0
1 0 0
0 1 0
$EndNodes
$Elements
1 1 1 1
2 1 2 1
1 1 2 3
$EndElements
"""


@needs_gmsh
def test_bad_msh_files_are_named_on_all_ranks(shared_tmp_path: Path) -> None:
    untagged = _write(shared_tmp_path / "untagged.msh", MSH)
    with pytest.raises(ValueError, match=r"untagged\.msh has no physical group of cells"):
        read_mesh(COMM, untagged)
    # The same triangle in physical group 7 is read.
    tagged = _write(
        shared_tmp_path / "tagged.msh",
        MSH.replace("1 0 0 0 1 1 0 0 0\n", "1 0 0 0 1 1 0 1 7 0\n"),
    )
    data = read_mesh(COMM, tagged)
    assert set(COMM.allreduce(data.cell_tags.values.tolist())) == {7}
    nodes = _write(shared_tmp_path / "nodes.msh", MSH.split("$Nodes")[0])
    with pytest.raises(ValueError, match=r"nodes\.msh holds no mesh"):
        read_mesh(COMM, nodes)
    noise = _write(shared_tmp_path / "noise.msh", "$MeshFormat\nabc\n")
    with pytest.raises(ValueError, match=r"noise\.msh is no valid \.msh file"):
        read_mesh(COMM, noise)


# The unit square of two triangles, its sides as lines; each line: entity, physical group, nodes.
MSH_2 = """$MeshFormat
2.2 0 8
$EndMeshFormat
$Nodes
4
1 0 0 {z}
2 1 0 {z}
3 0 1 0
4 1 1 0
$EndNodes
$Elements
{n}
{elements}
$EndElements
"""


def _msh(path: Path, lines: list[tuple[int, int, int, int]], z: float = 0.0) -> Path:
    """A file with both triangles in group 9 and the lines given."""
    rows = ["2 2 9 1 1 2 4", "2 2 9 1 1 4 3"]
    rows += [f"1 2 {group} {entity} {a} {b}" for entity, group, a, b in lines]
    elements = "\n".join(f"{number} {row}" for number, row in enumerate(rows, 1))
    return _write(path, MSH_2.format(z=z, n=len(rows), elements=elements))


@needs_gmsh
def test_groups_of_facets_in_msh_files(shared_tmp_path: Path) -> None:
    good = read_mesh(COMM, _msh(shared_tmp_path / "good.msh", [(1, 5, 1, 2), (2, 6, 3, 4)]))
    assert set(COMM.allreduce(good.facet_tags.values.tolist())) == {5, 6}
    twice = _msh(shared_tmp_path / "twice.msh", [(1, 5, 1, 2), (2, 6, 2, 1)])
    with pytest.raises(ValueError, match=r"1 entities .* more than one physical group.* 5 and 6"):
        read_mesh(COMM, twice)
    # 2-3 is the other diagonal: no cell has it as an edge.
    orphan = _msh(shared_tmp_path / "orphan.msh", [(1, 5, 1, 2), (2, 6, 2, 3)])
    with pytest.raises(ValueError, match=r"1 entities .* group\(s\) 6 bound no cell"):
        read_mesh(COMM, orphan)


@needs_gmsh
def test_surfaces_in_msh_files(shared_tmp_path: Path) -> None:
    # The side y = 0 is lifted by 1: a plane of area sqrt(2).
    msh = read_mesh(COMM, _msh(shared_tmp_path / "surface.msh", [], z=1.0)).mesh
    assert (msh.topology.dim, msh.geometry.dim) == (2, 3)
    area = fem.assemble_scalar(fem.form(fem.Constant(msh, 1.0) * ufl.dx))
    assert COMM.allreduce(area) == pytest.approx(math.sqrt(2), rel=1e-13)


def test_missing_gmsh_is_said_on_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gmsh", None)  # import then fails
    with pytest.raises(RuntimeError, match="needs Gmsh's Python module, which cannot be loaded"):
        read_mesh(COMM, FOLDER / "film.msh")


# -- meshes on which nothing can be computed -----------------------------------------------------

GRID = """<?xml version="1.0"?><Xdmf Version="3.0"><Domain>
<Grid Name="mesh" GridType="Uniform">
<Topology TopologyType="Triangle" NumberOfElements="{n}"><DataItem Dimensions="{n} 3"
 NumberType="Int" Format="XML">{cells}</DataItem></Topology>
<Geometry GeometryType="XY"><DataItem Dimensions="{p} 2" Format="XML">{points}</DataItem></Geometry>
{cell_data}</Grid>{facets}</Domain></Xdmf>"""
FACETS = """<Grid Name="facets" GridType="Uniform"><Topology TopologyType="PolyLine"
 NodesPerElement="2" NumberOfElements="{n}"><DataItem Dimensions="{n} 2" NumberType="Int"
 Format="XML">{rows}</DataItem></Topology>{data}</Grid>"""
DATA = """<Attribute Name="{name}" Center="Cell"><DataItem Dimensions="{n} 1" NumberType="{kind}"
 Format="XML">{values}</DataItem></Attribute>"""
SQUARE = ([[0, 1, 3], [0, 3, 2]], [[0, 0], [1, 0], [0, 1], [1, 1]])


def data(name, values, kind="Int"):
    return DATA.format(name=name, n=len(values), kind=kind, values=" ".join(map(str, values)))


def write_xdmf(path, cells, points, cell_data="", facets=None, facet_data=""):
    """A small mesh as text, on rank 0."""

    def flat(rows):
        return " ".join(str(number) for row in rows for number in row)

    grid = ""
    if facets:
        grid = FACETS.format(n=len(facets), rows=flat(facets), data=facet_data)
    text = GRID.format(
        n=len(cells), cells=flat(cells), p=len(points), points=flat(points),
        cell_data=cell_data, facets=grid,
    )  # fmt: skip
    if COMM.rank == 0:
        path.write_text(text)
    COMM.barrier()
    return path


def test_tags_of_facets_that_bound_no_cell_are_refused(shared_tmp_path):
    # 1-2 is the other diagonal of the square: no cell has it as an edge.
    path = write_xdmf(
        shared_tmp_path / "m.xdmf", *SQUARE, facets=[[0, 1], [1, 2]], facet_data=data("t", [5, 6])
    )
    with pytest.raises(ValueError, match=r"1 of 2 tagged facets bound no cell.*\[1, 2\]"):
        read_mesh(COMM, path)


def test_a_facet_tagged_twice_is_refused(shared_tmp_path):
    path = write_xdmf(
        shared_tmp_path / "m.xdmf", *SQUARE, facets=[[0, 1], [1, 0]], facet_data=data("t", [5, 6])
    )
    with pytest.raises(ValueError, match="listed twice"):
        read_mesh(COMM, path)


def test_tags_are_found_by_their_names(shared_tmp_path):
    fields = data("quality", [0.5, 0.7], "Float") + data("part", [8, 9])
    path = write_xdmf(shared_tmp_path / "a.xdmf", *SQUARE, fields + data("cell_tags", [1, 2]))
    values = COMM.allreduce(sorted(read_mesh(COMM, path).cell_tags.values.tolist()))
    assert set(values) == {1, 2}
    path = write_xdmf(shared_tmp_path / "b.xdmf", *SQUARE, fields + data("layer", [1, 2]))
    with pytest.raises(ValueError, match=r"several integer data.*'layer', 'part'.*'cell_tags'"):
        read_mesh(COMM, path)
    path = write_xdmf(shared_tmp_path / "c.xdmf", *SQUARE, data("quality", [1, 2], "Float"))
    assert read_mesh(COMM, path).cell_tags is None


def test_a_cell_without_volume_is_refused(shared_tmp_path, comm):
    points = [*SQUARE[1], [0.5, 0.0]]
    path = write_xdmf(shared_tmp_path / "m.xdmf", [*SQUARE[0], [0, 1, 4]], points)
    with pytest.raises(ValueError, match=r"1 cell\(s\) of the mesh have no volume.*\[0\.5, 0\.0\]"):
        read_mesh(comm, path)
    for cell in (mesh.CellType.triangle, mesh.CellType.quadrilateral):
        msh = mesh.create_unit_square(comm, 3, 3, cell)
        vector_space(msh)
        msh.geometry.x[:, 1] = 0.0  # all cells flat, on every rank
        with pytest.raises(ValueError, match="have no volume"):
            vector_space(msh)


def test_single_precision_is_refused(comm):
    msh = mesh.create_unit_square(comm, 2, 2, dtype=np.float32)
    with pytest.raises(ValueError, match="type float32"):
        vector_space(msh)


def test_bodies_that_touch_without_common_nodes_are_told(shared_tmp_path):
    cells, points = SQUARE
    beside = [[x + 1, y] for x, y in points]
    path = write_xdmf(
        shared_tmp_path / "m.xdmf", [*cells, *(np.array(cells) + 4).tolist()], [*points, *beside]
    )
    with pytest.warns(UserWarning, match=r"2 node\(s\) of the boundary coincide"):
        read_mesh(COMM, path)


def test_what_is_no_torus_is_refused(comm):
    for turn, ok in ((0.0, True), (math.pi / 4, False)):
        msh = mesh.create_unit_square(comm, 4, 4)
        c, s = math.cos(turn), math.sin(turn)
        msh.geometry.x[:, :2] = msh.geometry.x[:, :2] @ np.array([[c, s], [-s, c]])
        space = vector_space(msh)
        if ok:
            periodic_basis(space)
            continue
        with pytest.raises(ValueError, match="not periodic along axis 0"):
            periodic_basis(space)
    disk = read_mesh(comm, FOLDER / "disk.xdmf").mesh
    with pytest.raises(ValueError, match="not periodic along axis 0"):
        periodic_basis(vector_space(disk))
    with pytest.raises(ValueError, match=r"not periodic|must fill"):
        homogenize(1.0, disk)


def test_wires_and_holes_may_be_periodic(comm):
    # A prism of triangular section along z, and a square with a square hole.
    prism = mesh.create_unit_cube(comm, 3, 3, 3)
    keep = mesh.locate_entities(prism, 3, lambda x: x[0] <= x[1] + 1e-12)
    wire = mesh.create_submesh(prism, 3, keep)[0]
    periodic_basis(vector_space(wire), [2])
    with pytest.raises(ValueError, match="not periodic along axis 0"):
        periodic_basis(vector_space(wire), [0])
    plate = mesh.create_unit_square(comm, 6, 6)
    keep = mesh.locate_entities(plate, 2, lambda x: np.max(np.abs(x[:2] - 0.5), axis=0) > 0.16)
    holed = mesh.create_submesh(plate, 2, keep)[0]
    periodic_basis(vector_space(holed))
    with pytest.raises(ValueError, match="must fill an axis-parallel box"):
        homogenize(1.0, holed)
