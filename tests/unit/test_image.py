# SPDX-License-Identifier: LGPL-3.0-or-later
"""An image as a coefficient: one for runs, cell problems and micro boxes, with closed forms."""

from mpi4py import MPI  # isort: skip

from collections.abc import Callable

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg

STRIPES = np.array([[1.0], [1.0], [4.0], [4.0]])  # along x_1: harmonic mean 1.6, arithmetic 2.5


def test_points_and_coordinates_see_one_coefficient(comm: MPI.Intracomm) -> None:
    image = llg.Image(np.arange(1.0, 7.0).reshape(3, 2), period=(0.3, 0.5), origin=(0.1, 0.0))
    x = np.array([[0.15, 0.25, 0.35, 0.45, 0.05, -0.05], [0.1, 0.3, 0.6, 0.9, -0.1, 0.0]])
    assert image(x).tolist() == [1, 4, 5, 2, 6, 3]
    msh = mesh.create_rectangle(comm, [[0.1, 0.0], [0.7, 1.0]], [12, 8])
    kappa = llg.Exchange(image).kappa(llg.magnetization(msh, (1, 0, 0)))
    V = kappa.function_space
    assert kappa.x.array == pytest.approx(image(V.tabulate_dof_coordinates().T))
    with pytest.raises(TypeError, match="give its period instead"):
        image(ufl.SpatialCoordinate(msh) / 2)
    with pytest.raises(ValueError, match="needs as many coordinates, got 1"):
        image(np.zeros((1, 4)))


def test_one_image_homogenized_and_upscaled(
    comm: MPI.Intracomm, record_property: Callable[[str, object], None]
) -> None:
    """Stripes: the harmonic mean across, the arithmetic mean along."""
    image = llg.Image(STRIPES, period=(0.1, 1.0))
    cell = mesh.create_rectangle(comm, [[0, 0], [0.1, 0.1]], [8, 8])
    found = llg.homogenization.homogenize(image, cell)
    error = float(np.abs(found.kappa_hom - np.diag([1.6, 2.5])).max())
    record_property("largest deviation, cell problem", error)
    assert found.kappa_hom == pytest.approx(np.diag([1.6, 2.5]), abs=1e-10)
    with pytest.raises(ValueError, match=r"is not a whole number of the image's periods"):
        llg.homogenization.homogenize(
            image, mesh.create_rectangle(comm, [[0, 0], [0.15, 0.1]], [6, 4])
        )
    # K = 20 samples midpoints of edges inside the stripes; the box is three periods wide.
    line = llg.Image(STRIPES[:, 0], period=0.1)
    box = llg.hmm.MicroBox(
        dim=1, eps=0.1, mu=0.4, mu_outer=0.5, eta=0.006, points_per_eps=20, boundary="periodic"
    )
    macro = mesh.create_unit_interval(comm, 2)
    tensor = llg.hmm.upscaled_tensor(macro, line, box)
    assert tensor.kappa.x.array == pytest.approx(1.6, rel=2e-3)  # of the averaging, mu = 4 eps


def test_pictures(comm: MPI.Intracomm, shared_tmp_path) -> None:
    """Columns along x_1, rows downwards; black and white are the values given."""
    from PIL import Image as Picture

    path = shared_tmp_path / "a.png"
    if comm.rank == 0:
        Picture.fromarray(np.array([[0, 255], [51, 255]], dtype=np.uint8)).save(path)
    comm.Barrier()
    image = llg.Image(path, period=2.0, values=(1.0, 6.0))
    x = np.array([[0.5, 1.5, 0.5, 1.5], [0.5, 0.5, 1.5, 1.5]])
    assert image(x) == pytest.approx([2.0, 6.0, 1.0, 6.0])
    with pytest.raises(ValueError, match="values must be given with a file"):
        llg.Image(path)
    with pytest.raises(ValueError, match="must be positive everywhere, got 0"):
        llg.Image(path, values=(0.0, 1.0))
    with pytest.raises(FileNotFoundError, match="there is no picture"):
        llg.Image(shared_tmp_path / "none.png", values=(1.0, 2.0))
    comm.Barrier()
    if comm.rank == 0:
        path.write_text("nonsense")
    comm.Barrier()
    with pytest.raises(ValueError, match="is no picture"):
        llg.Image(path, values=(1.0, 2.0))


def test_a_run_with_an_image(comm: MPI.Intracomm) -> None:
    """The energy of m = (cos y, sin y, 0) is that of the arithmetic mean."""
    image = llg.Image(STRIPES, period=(0.5, 1.0))
    msh = mesh.create_unit_square(comm, 8, 20)
    energy = llg.Energy([llg.Exchange(image)])
    m = llg.magnetization(msh, lambda x: np.array([np.cos(x[1]), np.sin(x[1]), 0 * x[0]]))
    assert energy.total(m) == pytest.approx(0.5 * 2.5, rel=1e-3)  # chords of 1/20 rad
    assert isinstance(energy.terms[0].kappa(m), fem.Function)
