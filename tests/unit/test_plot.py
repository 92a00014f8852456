# SPDX-License-Identifier: LGPL-3.0-or-later
"""Pictures: the same pixels from any number of ranks, every kind of mesh, clear errors."""

from mpi4py import MPI  # isort: skip

import sys
from pathlib import Path

import numpy as np
import pytest
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from PIL import Image

import dolfinx_llg as llg
from dolfinx_llg.plot import (
    Animation,
    Colours,
    draw_energy,
    plot_energy,
    plot_magnetization,
    snapshot,
)

PLANE = {
    "triangle": lambda comm: mesh.create_unit_square(comm, 6, 5),
    "quadrilateral": lambda comm: mesh.create_unit_square(comm, 6, 5, mesh.CellType.quadrilateral),
}


def twisted(x: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(3 * x[0]), np.sin(3 * x[0]), 0.5 - x[1] + 0 * x[0]])


def cellwise(msh: mesh.Mesh) -> fem.Function:
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0)), name="kappa")
    kappa.interpolate(lambda x: np.where(x[0] < 0.5, 1.0, 8.0))
    return kappa


def pixels(path: Path) -> np.ndarray:
    """The picture, on every rank."""
    MPI.COMM_WORLD.Barrier()
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_colours_of_the_poles_and_the_plane() -> None:
    colours = Colours()
    up, down = colours(np.array([[0, 0, 1.0], [0, 0, -1.0]]))
    assert np.ptp(up) < 0.02  # grey, but for the rounding of the matrices of the colour space
    assert np.ptp(down) < 0.02
    assert up.min() > 0.9
    assert down.max() < 0.35
    angles = np.linspace(0, 2 * np.pi, 7)[:-1]
    ring = colours(np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1))
    # Six directions in the plane: six colours, all told apart, none near grey.
    apart = np.linalg.norm(ring[:, None] - ring[None], axis=2) + np.eye(6)
    assert apart.min() > 0.2
    assert np.ptp(ring, axis=1).min() > 0.25
    assert ((ring >= 0) & (ring <= 1)).all()


def test_colours_seen_from_a_pole() -> None:
    colours = Colours((1, 1, 1), 30)
    frame = colours.frame
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-15)
    assert np.linalg.det(frame) == pytest.approx(1.0)
    pole = np.ones(3) / np.sqrt(3)
    np.testing.assert_allclose(colours(pole), Colours()(np.array([0, 0, 1.0])), atol=1e-6)
    # 15 degrees of 30 look as 90 of 180.
    half = np.cos(np.pi / 12) * frame[2] + np.sin(np.pi / 12) * frame[0]
    np.testing.assert_allclose(colours(half), Colours()(Colours().frame[0]), atol=1e-12)
    with pytest.raises(ValueError, match="pole must be three numbers, not all zero"):
        Colours((0, 0, 0))
    with pytest.raises(ValueError, match=r"spread must be in \(0, 180\] degrees, got 200"):
        Colours(spread=200)


@pytest.mark.parametrize("cell", PLANE)
@pytest.mark.parametrize("style", ["hsv", "arrows"])
def test_plane_pictures_do_not_depend_on_the_ranks(
    cell: str, style: str, shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    paths = []
    for name, part in (("all", comm), ("one", MPI.COMM_SELF)):
        msh = PLANE[cell](part)
        paths.append(shared_tmp_path / "new" / f"{name}_{0 if part is comm else comm.rank}.png")
        m = llg.magnetization(msh, twisted)
        plot_magnetization(m, paths[-1], kappa=cellwise(msh), style=style, title="$t = 0$")
    first, second = pixels(paths[0]), pixels(paths[1])
    assert first.shape == second.shape
    # Round-off may move a pixel's triangle, or a colour by one: not more than a few pixels.
    assert (np.abs(first - second).max(axis=2) > 2).mean() < 1e-3
    assert first.std() > 20  # not blank
    blank = shared_tmp_path / "new" / "blank.png"
    plot_magnetization(llg.magnetization(PLANE[cell](comm), (1, 0, 0)), blank, style=style)
    assert (pixels(blank).std(axis=2) > 8).mean() > 0.001  # coloured


def test_snapshot_gathers_everything(comm: MPI.Intracomm) -> None:
    msh = PLANE["triangle"](comm)
    m = llg.magnetization(msh, twisted)
    shot = snapshot(m, cellwise(msh))
    assert (shot is None) == (comm.rank > 0)
    if shot is not None:
        assert shot.x.shape == shot.m.shape == (42, 3)
        assert shot.cells.shape == (60, 3)
        expected = twisted(shot.x.T).T
        expected /= np.linalg.norm(expected, axis=1)[:, None]
        np.testing.assert_allclose(shot.m, expected, atol=1e-15)
        # Each cell has its own value: that of its centre.
        centre = shot.x[shot.cells].mean(axis=1)[:, 0]
        np.testing.assert_array_equal(shot.kappa, np.where(centre < 0.5, 1.0, 8.0))


def test_interval(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    msh = mesh.create_unit_interval(comm, 20)
    m = llg.magnetization(msh, lambda x: np.stack([np.cos(3 * x[0]), np.sin(3 * x[0]), 0 * x[0]]))
    path = shared_tmp_path / "line.png"
    plot_magnetization(m, path, kappa=cellwise(msh))
    assert pixels(path).std() > 10
    plot_magnetization(m, shared_tmp_path / "line.pdf")


@pytest.mark.parametrize("kind", ["tetrahedron", "hexahedron"])
def test_body(kind: str, shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    pytest.importorskip("pyvista")
    msh = mesh.create_unit_cube(comm, 4, 4, 4, mesh.CellType[kind])
    m = llg.magnetization(msh, twisted)
    for style, cut in (("hsv", None), ("arrows", (0, -1, 0))):
        path = shared_tmp_path / f"{style}.png"
        plot_magnetization(
            *(m, path), kappa=cellwise(msh), style=style, cut=cut, arrows=6, size=(300, 300)
        )
        picture = pixels(path)
        assert (picture.std(axis=2) > 15).mean() > 0.01  # coloured by m


def test_without_pyvista(
    shared_tmp_path: Path, comm: MPI.Intracomm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyvista", None)  # import pyvista: ImportError
    m = llg.magnetization(mesh.create_unit_cube(comm, 2, 2, 2), (0, 0, 1))
    with pytest.raises(ImportError, match=r"pip install 'dolfinx_llg\[plot\]'"):
        plot_magnetization(m, shared_tmp_path / "body.png")
    # Plane meshes do without.
    plane = llg.magnetization(PLANE["triangle"](comm), (0, 0, 1))
    plot_magnetization(plane, shared_tmp_path / "plane.png")


def test_energy_curves(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    rows = [
        {"t": 0.1 * n, "energy": 2.0 / (n + 1), "energy_a": 1.0, "energy_b": 0.5} for n in range(5)
    ]
    path = shared_tmp_path / "energy.png"
    plot_energy(rows, path, comm, time_unit="ns", marks=[0.2])
    assert pixels(path).std() > 10
    ax = Figure().subplots()
    draw_energy(ax, rows, marks=[0.05])
    total, *parts, marks = ax.lines
    np.testing.assert_array_equal(total.get_ydata(), [row["energy"] for row in rows])
    assert [line.get_label() for line in parts] == ["a", "b"]
    assert marks.get_ydata() == pytest.approx(1.5)  # on the curve, halfway between 2 and 1
    with pytest.raises(ValueError, match="no rows"):
        plot_energy([], path, comm)


def test_animation(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    m = llg.magnetization(PLANE["triangle"](comm), twisted)
    path = shared_tmp_path / "run.gif"
    with Animation(path, m, fps=5, dpi=50) as movie:
        movie.add("$t = 0$")
        m.x.array[:] = np.tile([0.0, 0.0, -1.0], len(m.x.array) // 3)
        movie.add("$t = 1$")
    assert movie.frames == 2
    comm.Barrier()
    with Image.open(path) as gif:
        assert gif.n_frames == 2
        frames = []
        for index in range(2):
            gif.seek(index)
            frames.append(np.asarray(gif.convert("RGB")).astype(int))
    assert np.abs(frames[0] - frames[1]).mean() > 20
    with pytest.raises(ValueError, match=r"is a \.gif, got .*run\.mp4"):
        Animation(shared_tmp_path / "run.mp4", m)


def test_bad_arguments(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    msh = PLANE["triangle"](comm)
    m = llg.magnetization(msh, (0, 0, 1))
    path = shared_tmp_path / "a.png"
    with pytest.raises(ValueError, match="style must be 'hsv' or 'arrows', got 'x'"):
        plot_magnetization(m, path, style="x")
    with pytest.raises(ValueError, match="one number per cell"):
        plot_magnetization(m, path, kappa=m)
    with pytest.raises(ValueError, match="another mesh"):
        plot_magnetization(m, path, kappa=cellwise(PLANE["triangle"](comm)))
    if comm.rank == 0:
        (shared_tmp_path / "file").write_text("")
    comm.Barrier()
    with pytest.raises(OSError, match="cannot be written"):
        plot_magnetization(m, shared_tmp_path / "file" / "folder" / "a.png")


@pytest.mark.parametrize("sides", [(8.0, 1.0), (1.0, 1.0), (1.0, 8.0)])
def test_the_key_is_legible_beside_any_body(
    sides: tuple[float, float], shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    """The dark rim of the key's disc is as wide in inches beside a strip as beside a square."""
    msh = mesh.create_rectangle(comm, [[0, 0], list(sides)], [4, 4])
    m = llg.magnetization(msh, (0, 0, 1))  # white: all that is dark is the key and the axes
    path = shared_tmp_path / "key.png"
    plot_magnetization(m, path, arrows=0)
    picture = pixels(path)
    coloured = np.ptp(picture[..., :3], axis=2) > 0.1
    columns = np.flatnonzero(coloured.any(axis=0))
    # 200 dots per inch.
    assert 0.55 < (columns[-1] - columns[0]) / 200 < 1.2
