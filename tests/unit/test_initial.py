# SPDX-License-Identifier: LGPL-3.0-or-later
"""Initial states, and OVF files: closed forms, the same on any ranks, round trips."""

from mpi4py import MPI  # isort: skip

import math
from pathlib import Path

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.ovf import GridField

X = np.array([[0.0, 1.0, 0.0, -3.0, 2.0], [0.0, 0.0, 2.0, 4.0, 2.0], [0.0, 0.0, 1.0, 0.0, 5.0]])
SHIFT = np.array([[1.0], [0.0], [0.0]])


def test_vortex() -> None:
    m = llg.initial.vortex((0.0, 0.0), core=2.0, circulation=-1, polarity=1)(X)
    assert m[:, 0] == pytest.approx([0, 0, 1])
    assert m[:, 1] == pytest.approx([0, -0.8, 0.6])  # b = 2, r = 1
    assert m[:, 2] == pytest.approx([1, 0, 0])  # at the rim of the core, clockwise
    assert m[:, 3] == pytest.approx([0.8, 0.6, 0])
    assert np.linalg.norm(m, axis=0) == pytest.approx(1.0)


@pytest.mark.parametrize("polarity", [-1, 1])
def test_skyrmion(comm: MPI.Intracomm, polarity: int) -> None:
    make = llg.initial.skyrmion
    m = make((1.0, 0.0), radius=3.0, wall=1.0, polarity=polarity)(X + SHIFT)
    assert m[:, 0] == pytest.approx([0, 0, polarity])
    rim = np.array([[3.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    assert make(radius=3.0, wall=1.0)(rim) == pytest.approx(np.array([[1, 0], [0, 1], [0, 0]]))
    bloch = make(radius=3.0, wall=1.0, helicity=math.pi / 2)(rim)
    assert bloch == pytest.approx(np.array([[0, -1], [1, 0], [0, 0]]))
    # tan(theta/2) = sinh(R/w)/sinh(r/w)
    theta = 2 * math.atan(math.sinh(3.0) / math.sinh(1.0))
    assert m[2, 1] == pytest.approx(-polarity * math.cos(theta))
    msh = mesh.create_rectangle(comm, [[-16, -16], [16, 16]], [24, 24])
    texture = make(radius=4.0, wall=1.0, polarity=polarity)
    found = llg.topological_charge(llg.magnetization(msh, texture))
    assert found == pytest.approx(polarity, abs=1e-3)  # e^-12 of a tilt at the edge


def test_wall_and_domains(comm: MPI.Intracomm) -> None:
    m = llg.initial.wall(1.0, width=0.5)(X)
    assert m[:, 1] == pytest.approx([0, 1, 0])
    assert m[:, 0] == pytest.approx([0, 1 / math.cosh(2), math.tanh(2)])
    far = llg.initial.wall(width=1e-3)(X)
    assert np.isfinite(far).all()
    m = llg.initial.domains(1.5, axis="y", left=(2, 0, 0), right=(0, 3, 0))(X)
    assert m == pytest.approx(np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]]))
    assert llg.initial.uniform((0, 3, 4))(X) == pytest.approx(np.tile([[0], [0.6], [0.8]], 5))
    # Between walls of the exact profile and measured ones nothing is lost.
    line = mesh.create_interval(comm, 80, [-10.0, 10.0])
    found = llg.magnetization(line, llg.initial.wall(1.3, width=1.0))
    assert llg.WallPosition("x")(found) == pytest.approx(1.3, abs=1e-3)


def test_random_directions_are_those_of_any_ranks(comm: MPI.Intracomm) -> None:
    msh = mesh.create_unit_square(comm, 12, 12)
    m = llg.initial.random(msh, 7)
    size = m.function_space.dofmap.index_map.size_local
    x = m.function_space.tabulate_dof_coordinates()[:size]
    parts = comm.allgather((x, m.x.array[: 3 * size].reshape(-1, 3)))
    x, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort(np.round(x, 9).T)
    alone = mesh.create_unit_square(MPI.COMM_SELF, 12, 12)
    own = llg.initial.random(alone, 7)
    by = np.lexsort(np.round(own.function_space.tabulate_dof_coordinates(), 9).T)
    np.testing.assert_array_equal(values[order], own.x.array.reshape(-1, 3)[by])
    # 169 directions: the mean of each component has the deviation 1/sqrt(3 * 169) = 0.044.
    assert np.abs(values.mean(axis=0)).max() < 4 * 0.044
    assert not np.allclose(llg.initial.random(alone, 8).x.array, own.x.array)


def test_from_another_mesh(comm: MPI.Intracomm) -> None:
    """P1 on a finer mesh is taken exactly at its nodes, and is of unit length between them."""
    texture = llg.initial.wall(0.4, width=0.3)
    coarse = mesh.create_unit_square(comm, 8, 8)
    fine = mesh.create_unit_square(comm, 16, 16, mesh.CellType.quadrilateral)
    m = llg.initial.from_mesh(llg.magnetization(coarse, texture), fine)
    values = m.x.array.reshape(-1, 3)
    assert np.linalg.norm(values, axis=1) == pytest.approx(1.0, abs=1e-14)
    exact = llg.magnetization(fine, texture).x.array.reshape(-1, 3)
    assert np.abs(values - exact).max() < 0.03  # (h/w)^2/8 at h = 1/8
    back = llg.initial.from_mesh(llg.magnetization(fine, texture), coarse)
    same = llg.magnetization(coarse, texture).x.array
    np.testing.assert_allclose(back.x.array, same, atol=1e-12)
    away = mesh.create_rectangle(comm, [[5, 5], [6, 6]], [3, 3])
    with pytest.raises(ValueError, match="they lie outside it"):
        llg.initial.from_mesh(m, away)


@pytest.mark.parametrize("data", ["binary4", "binary8", "text"])
def test_ovf_out_and_in(data: str, comm: MPI.Intracomm, shared_tmp_path: Path) -> None:
    box = mesh.create_box(comm, [[0, 0, 0], [8, 4, 2]], [8, 4, 2])
    texture = llg.initial.wall(4.0, width=2.0)
    m = llg.magnetization(box, texture)
    path = shared_tmp_path / "new" / "m.ovf"
    llg.write_ovf(path, m, cell=1.0, length=2e-9, data=data)
    grid = llg.read_ovf(path, comm, length=2e-9)
    assert grid.values.shape == (8, 4, 2, 3)
    assert grid.low == pytest.approx([0, 0, 0], abs=1e-12)
    assert grid.step == pytest.approx([1, 1, 1])
    centres = np.arange(8) + 0.5
    points = np.stack([centres, 0 * centres + 1.5, 0 * centres + 0.5])
    mean = 0.5 * (texture(points + SHIFT / 2) + texture(points - SHIFT / 2))
    mean /= np.linalg.norm(mean, axis=0)  # P1 between two nodes, of unit length
    accuracy = 1e-7 if data == "binary4" else 1e-14
    np.testing.assert_allclose(grid.values[:, 1, 0], mean.T, atol=accuracy)
    again = llg.magnetization(box, grid)
    # Half a cell beyond the last centres m is constant: 1/2 |dm/dx| = 1/4 at the most.
    assert np.abs(again.x.array - m.x.array).max() < 0.1
    text = path.read_bytes()
    assert text.startswith(b"# OOMMF OVF 2.0\n# Segment count: 1\n")
    assert text.endswith(b"# End: Segment\n")


def test_ovf_of_a_disk(comm: MPI.Intracomm, shared_tmp_path: Path) -> None:
    """Zero outside the magnet; what is read leaves the zeros out of its means."""
    msh = mesh.create_rectangle(comm, [[-2, -2], [2, 2]], [16, 16])
    x = msh.geometry.x
    square = np.abs(x[:, :2]).max(axis=1)
    r = np.linalg.norm(x, axis=1)
    x *= np.where(r > 0, square / np.where(r > 0, r, 1), 1)[:, None]  # the square to the disk
    m = llg.magnetization(msh, (1, 0, 0))
    path = shared_tmp_path / "m.ovf"
    llg.write_ovf(path, m, cell=0.25)
    grid = llg.read_ovf(path, comm)
    assert grid.values.shape == (16, 16, 1, 3)
    inside = np.linalg.norm(grid.values, axis=-1)
    assert set(np.unique(inside)) == {0.0, 1.0}
    assert inside.sum() / 256 == pytest.approx(math.pi / 4, abs=0.03)
    assert llg.magnetization(msh, grid).x.array.reshape(-1, 3)[:, 0] == pytest.approx(1.0)


def test_bad_ovf_files(comm: MPI.Intracomm, shared_tmp_path: Path) -> None:
    m = llg.magnetization(mesh.create_unit_square(comm, 4, 4), (1, 0, 0))
    path = shared_tmp_path / "m.ovf"
    llg.write_ovf(path, m, cell=0.25)
    comm.Barrier()
    raw = path.read_bytes()
    for content, message in (
        (b"nonsense", "is no OVF file"),
        (raw[:-150], "is truncated"),
        (raw.replace(b"meshtype: rectangular", b"meshtype: irregular"), "not rectangular"),
        (raw.replace(b"valuedim: 3", b"valuedim: 1"), "holds 1 numbers"),
        (raw.replace(b"OVF 2.0", b"OVF 1.0"), "control number"),
        (raw.replace(b"xnodes: 4", b"xnodes: a"), "is no OVF file"),
    ):
        comm.Barrier()
        if comm.rank == 0:
            path.write_bytes(content)
        comm.Barrier()
        with pytest.raises(ValueError, match=message):
            llg.read_ovf(path, comm)
    with pytest.raises(FileNotFoundError):
        llg.read_ovf(shared_tmp_path / "none.ovf", comm)


def test_a_grid_is_linear_between_centres() -> None:
    values = np.zeros((3, 2, 1, 3))
    values[..., 0] = np.array([1.0, 2.0, 4.0])[:, None, None]
    grid = GridField(values, np.zeros(3), np.ones(3))
    found = grid(np.array([[0.0, 1.0, 2.0, 9.0], [0.5, 1.0, 3.0, 1.0], [0.0, 7.0, 0.0, 0.0]]))
    assert found[0] == pytest.approx([1.0, 1.5, 3.0, 4.0])
