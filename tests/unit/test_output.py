# SPDX-License-Identifier: LGPL-3.0-or-later
"""CSV, JSON and VTX files, whole or an error on every rank."""

from mpi4py import MPI  # isort: skip

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from dolfinx import fem, io, mesh

import dolfinx_llg as llg
from dolfinx_llg import vtu, xdmf
from dolfinx_llg.field_writer import FieldWriter
from dolfinx_llg.output import CSVWriter, output_folder, read_csv, write_json

CELLS = {
    "interval": lambda comm: mesh.create_unit_interval(comm, 6),
    "triangle": lambda comm: mesh.create_unit_square(comm, 3, 3),
    "quadrilateral": lambda comm: mesh.create_unit_square(comm, 3, 3, mesh.CellType.quadrilateral),
    "tetrahedron": lambda comm: mesh.create_unit_cube(comm, 2, 2, 2),
    "hexahedron": lambda comm: mesh.create_unit_cube(comm, 2, 2, 2, mesh.CellType.hexahedron),
}


@pytest.fixture
def forbidden(shared_tmp_path: Path) -> Path:
    """A folder that nobody can make, root included: its parent is a file."""
    blocker = shared_tmp_path / "file"
    if MPI.COMM_WORLD.rank == 0:
        blocker.write_text("")
    MPI.COMM_WORLD.Barrier()
    return blocker / "folder"


def rows_of(path: Path, comm: MPI.Intracomm) -> list[list[str]]:
    comm.Barrier()
    rows = list(csv.reader(path.read_text().splitlines()))
    comm.Barrier()
    return rows


def test_csv_keeps_every_bit(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    path = shared_tmp_path / "new" / "scalars.csv"
    values = [0.1, 1 / 3, float(np.nextafter(1.0, 2.0)), 1e-300]
    with CSVWriter(path, comm) as writer:
        for n, value in enumerate(values):
            writer.write({"t": value, "n": n, "energy": np.float64(-value)})
            # Flushed: readable while the run goes on.
            assert len(rows_of(path, comm)) == n + 2
    rows = rows_of(path, comm)
    assert rows[0] == ["t", "n", "energy"]
    assert [float(row[0]) for row in rows[1:]] == values
    assert [float(row[2]) for row in rows[1:]] == [-value for value in values]
    assert [row[1] for row in rows[1:]] == ["0", "1", "2", "3"]


def test_csv_goes_on_after_a_restart(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    path = shared_tmp_path / "scalars.csv"
    with CSVWriter(path, comm) as writer:
        for n in range(6):
            writer.write({"t": 0.1 * n, "n": n})
    if comm.rank == 0:
        with path.open("a") as file:
            file.write("0.30000000")  # the kill came in the middle of a row
    m = llg.magnetization(mesh.create_unit_interval(comm, 4), (0, 0, 1))
    with CSVWriter(path, comm, resume=llg.State(0.1 * 3, 3, m, 0.1)) as writer:
        writer.write({"t": 0.5, "n": 4})
    rows = rows_of(path, comm)
    assert rows == [
        ["t", "n"],
        *([repr(0.1 * n), str(n)] for n in range(4)),
        ["0.5", "4"],
    ]
    with (
        CSVWriter(path, comm, resume=llg.State(1.0, 9, m, 0.1)) as writer,
        pytest.raises(ValueError, match="has the columns \\['t', 'n'\\], got a row of \\['t'\\]"),
    ):
        writer.write({"t": 1.0})
    with pytest.raises(ValueError, match="is closed"):
        writer.write({"t": 1.0, "n": 10})


def test_csv_without_time_cannot_go_on(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    path = shared_tmp_path / "scalars.csv"
    with CSVWriter(path, comm) as writer:
        writer.write({"energy": 1.0})
    m = llg.magnetization(mesh.create_unit_interval(comm, 4), (0, 0, 1))
    with pytest.raises(ValueError, match="has no column t"):
        CSVWriter(path, comm, resume=llg.State(0.0, 0, m, 0.1))


def test_table_with_units(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    """The header of mumax3's tables, which ubermagtable takes apart as here."""
    path = shared_tmp_path / "run.txt"
    columns = {"t": "ns", "n": "", "energy": "J", "mx": ""}
    with CSVWriter(path, comm, columns=columns) as writer:
        for n in range(4):
            writer.write({"t": 2e3 * n, "n": n, "energy": 1e-18 / 3, "mx": -n})
        with pytest.raises(ValueError, match="got a row of"):
            writer.write({"t": 1.0})
    comm.Barrier()
    first = path.read_text().splitlines()[0]
    assert first == "# t (ns)\tn ()\tenergy (J)\tmx ()"
    assert [part.split(" ")[0] for part in first[2:].rstrip().split("\t")] == list(columns)
    m = llg.magnetization(mesh.create_unit_interval(comm, 4), (0, 0, 1))
    state = llg.State(0.1, 2, m, 0.1)  # its time is in other units than that of the rows: n counts
    with CSVWriter(path, comm, columns=columns, resume=state) as writer:
        writer.write({"t": 0.5, "n": 3, "energy": 1.0, "mx": 0})
    comm.Barrier()
    rows = read_csv(path)
    assert [row["n"] for row in rows] == [0, 1, 2, 3]
    assert rows[1] == {"t": 2e3, "n": 1, "energy": 1e-18 / 3, "mx": -1}
    assert rows[-1]["t"] == 0.5
    comm.Barrier()
    with pytest.raises(ValueError, match="not those of this run"):
        CSVWriter(path, comm, columns={**columns, "t": "s"}, resume=state)


def test_json(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    path = shared_tmp_path / "new" / "result.json"
    data = {"demo": "x", "results": {"a": np.float64(0.1), "b": np.arange(2), "c": [1, (2.5,)]}}
    write_json(path, data, comm)
    comm.Barrier()
    expected = {"demo": "x", "results": {"a": 0.1, "b": [0, 1], "c": [1, [2.5]]}}
    assert json.loads(path.read_text()) == expected
    with pytest.raises(ValueError, match=r"results\.a\[1\] is nan"):
        write_json(path, {"results": {"a": [1.0, np.nan]}}, comm)
    # The old file is whole, and nothing is left beside it.
    assert json.loads(path.read_text()) == expected
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]


def test_folder_that_cannot_be_written(forbidden: Path, comm: MPI.Intracomm) -> None:
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, (0, 0, 1))
    message = f"the output folder {forbidden} cannot be written"
    with pytest.raises(OSError, match=message):
        output_folder(forbidden, comm)
    with pytest.raises(OSError, match=message):
        CSVWriter(forbidden / "a.csv", comm)
    with pytest.raises(OSError, match=message):
        write_json(forbidden / "a.json", {}, comm)
    with pytest.raises(OSError, match=message):
        FieldWriter(forbidden / "a.bp", m)
    target = output_folder(forbidden.parent.parent / "good", comm)
    assert target.is_dir()
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("cell", CELLS)
def test_fields_hold_m_and_kappa(cell: str, shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    msh = CELLS[cell](comm)
    m = llg.magnetization(msh, (0, 0, 1))
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0)), name="kappa")
    path = shared_tmp_path / "fields.bp"
    for _ in range(2):  # the second replaces the first
        with FieldWriter(path, [m, kappa]) as writer:
            for t in (0.0, 0.5):
                writer.write(t)
    comm.Barrier()
    # The schema that ParaView reads: m at the points, kappa in the cells.
    schema = (path / "md.0").read_bytes()
    points = schema[schema.index(b"<PointData>") : schema.index(b"</PointData>")]
    cells = schema[schema.index(b"<CellData>") : schema.index(b"</CellData>")]
    assert b'Name="m"' in points
    assert b'Name="kappa"' in cells


def test_fields_are_closed_on_exceptions(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    m = llg.magnetization(mesh.create_unit_interval(comm, 4), (0, 0, 1))
    with (  # noqa: PT012
        pytest.raises(RuntimeError, match="in the loop"),
        FieldWriter(shared_tmp_path / "fields.bp", m) as writer,
    ):
        writer.write(0.0)
        raise RuntimeError("in the loop")
    with pytest.raises(ValueError, match="is closed"):
        writer.write(1.0)


def test_fields_that_do_not_fit(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, (0, 0, 1))
    other = fem.Function(fem.functionspace(mesh.create_unit_interval(comm, 4), ("DG", 0)))
    second = fem.Function(fem.functionspace(msh, ("Lagrange", 2)), name="second")
    path = shared_tmp_path / "fields.bp"
    with pytest.raises(ValueError, match=r"ends in \.bp, .* in \.pvd, .* in \.xdmf, got .*vtk"):
        FieldWriter(shared_tmp_path / "fields.vtk", m)
    with pytest.raises(ValueError, match="different meshes"):
        FieldWriter(path, [m, other])
    with pytest.raises(ValueError, match="second must be P1 or DG0, got degree 2"):
        FieldWriter(path, second)
    with pytest.raises(ValueError, match="distinct names"):
        FieldWriter(path, [m, m])
    with pytest.raises(ValueError, match="no field"):
        FieldWriter(path, [])
    if comm.rank == 0:
        path.mkdir()
    comm.Barrier()
    with pytest.raises(ValueError, match="is no VTX file"):
        FieldWriter(path, m)


LISTS = [(cell, ".pvd") for cell in CELLS] + [(cell, ".xdmf") for cell in [*CELLS][1:]]


@pytest.mark.parametrize(("cell", "suffix"), LISTS)
def test_lists_of_moments(
    cell: str, suffix: str, shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    """VTK itself reads what was written: volume, values at points and in cells, times."""
    pv = pytest.importorskip("pyvista")
    msh = CELLS[cell](comm)
    m = llg.magnetization(msh, lambda x: np.array([x[0] + 0.5, 1 + 0 * x[0], -x[0]]))
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0)), name="kappa")
    kappa.interpolate(lambda x: x[0])
    path = shared_tmp_path / f"fields{suffix}"
    for _ in range(2):  # the second replaces the first
        with FieldWriter(path, [m, kappa]) as writer:
            for t in (0.0, 0.5, 1.0):
                writer.write(t)
    comm.Barrier()
    if comm.rank == 0:
        found = pv.get_reader(path)
        assert found.time_values == [0.0, 0.5, 1.0]
        found.set_active_time_value(0.5)
        grid = found.read()
        grid = grid.combine() if suffix == ".pvd" else grid
        x = grid.points[:, 0]
        want = np.stack([x + 0.5, 1 + 0 * x, -x], axis=1)
        want /= np.linalg.norm(want, axis=1)[:, None]
        np.testing.assert_allclose(grid.point_data["m"], want, atol=1e-14)
        middle = grid.cell_centers().points[:, 0]
        np.testing.assert_allclose(grid.cell_data["kappa"].ravel(), middle, atol=1e-14)
        size = grid.compute_cell_sizes()
        measure = ("Length", "Area", "Volume")[msh.topology.dim - 1]
        assert size.cell_data[measure].sum() == pytest.approx(1.0)
    comm.Barrier()


def test_xdmf_goes_on_after_a_restart(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    """A run that goes on adds to the list; what is no list of ours is left as it is."""
    m = llg.magnetization(mesh.create_unit_square(comm, 3, 3), (0, 0, 1))
    path = shared_tmp_path / "m.xdmf"
    with FieldWriter(path, m) as writer:
        for n in range(4):
            writer.write(0.1 * n)
        with pytest.raises(ValueError, match="has a moment at that time already"):
            writer.write(0.1 * 3)
    for k, t in enumerate((0.2, 0.25)):
        state = llg.State(0.1 + 0.1 * k, 1 + k, m, 0.1)
        with FieldWriter(path, m, resume=state) as writer:
            writer.write(t)
    comm.Barrier()
    assert [t for t, _ in xdmf.listed(path)] == [0.0, 0.1, 0.2, 0.25]
    files = sorted(entry.name for entry in shared_tmp_path.glob("m*"))
    assert files == ["m.xdmf", "m_000.h5", "m_001.h5", "m_002.h5"]
    comm.Barrier()
    with FieldWriter(path, m) as writer:  # a new run: the data of the old one go
        writer.write(0.0)
    comm.Barrier()
    assert sorted(entry.name for entry in shared_tmp_path.glob("m*.h5")) == ["m_000.h5"]
    body = shared_tmp_path / "body.xdmf"
    with io.XDMFFile(comm, body, "w") as file:
        file.write_mesh(m.function_space.mesh)
    before = body.read_bytes()
    with pytest.raises(ValueError, match="is no XDMF list of moments"):
        FieldWriter(body, m)
    assert body.read_bytes() == before
    line = llg.magnetization(mesh.create_unit_interval(comm, 3), (0, 0, 1))
    with pytest.raises(ValueError, match="XDMF has no meshes on a line"):
        FieldWriter(shared_tmp_path / "line.xdmf", line)


def test_fields_go_on_after_a_restart(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    """A list is added to from the state on; a VTX file is left, and another one begun."""
    m = llg.magnetization(mesh.create_unit_square(comm, 3, 3), (0, 0, 1))
    path = shared_tmp_path / "m.pvd"
    with FieldWriter(path, m) as writer:
        for n in range(4):
            writer.write(0.1 * n)
    state = llg.State(0.1 * 1, 1, m, 0.1)
    with FieldWriter(path, m, resume=state) as writer:
        comm.Barrier()
        assert [t for t, _ in vtu.listed(path)] == [0.0, 0.1]
        comm.Barrier()
        writer.write(0.15)
    comm.Barrier()
    assert [t for t, _ in vtu.listed(path)] == [0.0, 0.1, 0.15]
    files = sorted(entry.name for entry in shared_tmp_path.glob("*_p0.vtu"))
    assert files == [f"m_{n:06d}_p0.vtu" for n in range(3)]
    comm.Barrier()
    old = shared_tmp_path / "m.bp"
    with FieldWriter(old, m) as writer:
        writer.write(0.0)
    size = sum(entry.stat().st_size for entry in old.rglob("*"))
    with FieldWriter(old, m, resume=state) as writer:
        assert writer.path.name == "m_from_1.bp"
        writer.write(0.2)
    comm.Barrier()
    assert sum(entry.stat().st_size for entry in old.rglob("*")) == size
    assert (shared_tmp_path / "m_from_1.bp" / "md.idx").exists()
    comm.Barrier()
    if comm.rank == 0:
        path.write_text("<nonsense")
    comm.Barrier()
    with pytest.raises(ValueError, match="is no PVD file"):
        FieldWriter(path, m, resume=state)
