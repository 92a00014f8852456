# SPDX-License-Identifier: LGPL-3.0-or-later
"""Scalar observables: values known in closed form, the same on every rank."""

from mpi4py import MPI  # isort: skip

import math

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.observables import Observer

EPS = np.finfo(np.float64).eps


@pytest.fixture
def square(comm: MPI.Intracomm) -> mesh.Mesh:
    return mesh.create_unit_square(comm, 8, 8)


def test_averages_are_weighted_by_Ms(square: mesh.Mesh) -> None:
    # m = e_x where x < 1/2 with Ms = 3, e_z elsewhere with Ms = 1, but m is P1: linear between.
    Ms = fem.Function(fem.functionspace(square, ("DG", 0)))
    Ms.interpolate(lambda x: np.where(x[0] < 0.5, 3.0, 1.0))
    V = llg.vector_space(square)
    m = fem.Function(V)
    m.interpolate(lambda x: np.stack([x[0], 1 + 0 * x[0], 1 - x[0]]))
    observer = Observer(llg.Energy([llg.Exchange(2.0)], Ms=Ms), m)
    row = observer.observe(llg.State(0.5, 3, m, 0.1))
    # int Ms = 2, int Ms x = 3/8 + 3/8, int Ms (1 - x) = 3 (1/2 - 1/8) + 1/8.
    tolerance = 200 * EPS  # sums over 128 cells
    assert row["mx"] == pytest.approx(0.75 / 2, rel=tolerance)
    assert row["my"] == pytest.approx(1.0, rel=tolerance)
    assert row["mz"] == pytest.approx(1.25 / 2, rel=tolerance)
    assert row["energy"] == row["energy_exchange"] == pytest.approx(2.0, rel=tolerance)
    assert (row["t"], row["n"], row["dt"]) == (0.5, 3, 0.1)
    assert math.isnan(row["max_dmdt"])
    assert row["length_defect"] == pytest.approx(llg.length_defect(m), rel=tolerance)


def test_rows_are_the_same_on_all_ranks_and_name_every_term(square: mesh.Mesh) -> None:
    m = llg.magnetization(square, lambda x: np.stack([x[0] + 1, x[1], 1 - x[0]]))
    terms = [
        llg.Exchange(1.0),
        llg.UniaxialAnisotropy((0, 0, 1), 0.5),
        llg.Zeeman((0, 0, 0.3)),
        llg.Zeeman((0.1, 0, 0)),
        llg.BulkDMI(0.2),
    ]
    energy = llg.Energy(terms)
    integrals = {"mz_left": m[2] * ufl.dx(domain=square)}
    observer = Observer(energy, m, integrals=integrals)
    step = llg.gao(energy, m, dt=0.01, damping=1.0)
    rows = [observer.observe(state) for state in llg.march(step, t_end=0.02)]
    assert len(rows) == 2
    assert list(rows[0]) == [
        *("t", "n", "dt", "energy", "energy_exchange", "energy_uniaxial_anisotropy"),
        *("energy_zeeman", "energy_zeeman_2", "energy_bulk_dmi", "mx", "my", "mz", "max_dmdt"),
        *("length_defect", "iterations", "newton_iterations", "mz_left"),
    ]
    row = rows[-1]
    assert row["mz_left"] == pytest.approx(row["mz"], rel=200 * EPS)  # the square has area 1
    assert row["energy"] == energy.total(m)
    assert row["iterations"] > 0
    assert row["max_dmdt"] > 0
    for other in square.comm.allgather(rows):
        assert other == rows


def test_a_state_before_the_first_step_sees_the_field_of_its_time(square: mesh.Mesh) -> None:
    m = llg.magnetization(square, (0, 0, 1))
    observer = Observer(llg.Energy([llg.Exchange(1.0), llg.Zeeman(lambda t: (0, 0, t))]), m)
    row = observer.observe(llg.State(2.0, 0, m, 0.1))
    assert row["energy_zeeman"] == pytest.approx(-2.0, rel=200 * EPS)


def test_bad_arguments(square: mesh.Mesh) -> None:
    m = llg.magnetization(square, (0, 0, 1))
    energy = llg.Energy([llg.Exchange(1.0)])
    with pytest.raises(ValueError, match="already in use: \\['mx'\\]"):
        Observer(energy, m, integrals={"mx": m[0] * ufl.dx})
    with pytest.raises(ValueError, match="'force' must be a scalar UFL form"):
        Observer(energy, m, integrals={"force": m[0]})
    other = llg.magnetization(square, (0, 0, 1))
    with pytest.raises(ValueError, match="another m"):
        Observer(energy, m).observe(llg.State(0.0, 0, other, 0.1))
