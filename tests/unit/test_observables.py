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


def test_the_energy_of_a_second_order_run_is_that_of_its_time(square: mesh.Mesh) -> None:
    # m rests along a field that oscillates; the step has read it half a step before.
    m = llg.magnetization(square, (1, 0, 0))
    energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman(lambda t: (2 + math.sin(2 * t), 0, 0))])
    observer = Observer(energy, m)
    for scheme in (llg.midpoint, llg.tangent_plane):
        options = {"second_order": True} if scheme is llg.tangent_plane else {}
        step = scheme(energy, m, dt=0.1, damping=0.5, **options)
        for state in llg.march(step, t_end=0.3):
            expected = -2 - math.sin(2 * state.t)
            assert observer.observe(state)["energy"] == pytest.approx(expected, rel=1e-12)


def test_bad_arguments(square: mesh.Mesh) -> None:
    m = llg.magnetization(square, (0, 0, 1))
    energy = llg.Energy([llg.Exchange(1.0)])
    with pytest.raises(ValueError, match="integrals or scalars already in use: \\['mx'\\]"):
        Observer(energy, m, integrals={"mx": m[0] * ufl.dx})
    with pytest.raises(ValueError, match="'force' must be a scalar UFL form"):
        Observer(energy, m, integrals={"force": m[0]})
    other = llg.magnetization(square, (0, 0, 1))
    with pytest.raises(ValueError, match="another m"):
        Observer(energy, m).observe(llg.State(0.0, 0, other, 0.1))


def test_columns_in_SI(comm: MPI.Intracomm) -> None:
    """Times in ns, energies in J, fields in mT, lengths in nm: by hand."""
    units = llg.Units(8e5, length=2e-9)
    msh = mesh.create_rectangle(comm, [[0, 0], [4, 1]], [16, 2])
    left = mesh.locate_entities(msh, 2, lambda x: x[0] < 2 + 1e-9)
    cells = msh.topology.index_map(2).size_local + msh.topology.index_map(2).num_ghosts
    values = np.full(cells, 7, dtype=np.int32)
    values[left] = 3
    tags = mesh.meshtags(msh, 2, np.arange(cells, dtype=np.int32), values)
    # A head-to-head wall at x = 1: m_x falls from 1 to -1 within 1/2.
    turn = lambda x: np.pi * np.clip(2 * (x[0] - 0.75), 0, 1)  # noqa: E731
    m = llg.magnetization(msh, lambda x: np.array([np.cos(turn(x)), np.sin(turn(x)), 0 * x[0]]))
    energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman(lambda t: (0, 0, 0.1 * t))])
    scalars = {
        "wall": (llg.WallPosition("x"), "length"),
        "turn": (llg.largest_angle, "angle"),
        "nodes": lambda m: m.function_space.dofmap.index_map.size_global,
    }
    observer = Observer(
        energy, m, units=units, cell_tags=tags, scalars=scalars, warn_angle=30.0,
        integrals={"area": fem.Constant(msh, 1.0) * ufl.dx(domain=msh)},
    )  # fmt: skip
    state = llg.State(2.0, 5, m, 0.1)
    with pytest.warns(UserWarning, match="differ by 90 degrees, more than 30"):
        row = observer.observe(state)
    assert observer.observe(state) == pytest.approx(row, nan_ok=True)  # and warns once
    assert list(row) == list(observer.columns)
    ns = 1e9 / (2.2128e5 * 8e5)
    assert row["t"] == pytest.approx(2.0 * ns)
    assert row["dt"] == pytest.approx(0.1 * ns)
    joule = 4e-7 * math.pi * 8e5**2 * 8e-27
    assert row["energy_exchange"] == pytest.approx(energy.by_term(m)["Exchange"] * joule)
    assert row["Bz"] == pytest.approx(1e3 * 4e-7 * math.pi * 8e5 * 0.2)
    assert (row["Bx"], row["By"]) == (0.0, 0.0)
    assert row["wall"] == pytest.approx(2.0)  # 1 mesh unit; m is odd about the wall
    assert row["max_angle"] == pytest.approx(90.0)  # 1/4 is half of the wall
    assert row["turn"] == pytest.approx(90.0)
    assert row["mx_7"] == pytest.approx(-1.0)
    assert row["mx_3"] == pytest.approx(0.0, abs=1e-12)
    assert row["my_3"] == pytest.approx(0.125)  # a hat of height 1, width 1/2 over a length of 2
    assert (row["area"], row["nodes"]) == (pytest.approx(4.0), 51)
    assert [observer.columns[name] for name in ("t", "energy", "Bz", "wall", "turn", "mx_3")] == [
        *("ns", "J", "mT", "nm", "deg", ""),
    ]
    assert len({str(r) for r in comm.allgather(row)}) == 1


def test_no_wall_no_position(square: mesh.Mesh) -> None:
    m = llg.magnetization(square, (0, 0, 1))
    with pytest.raises(ValueError, match="there is no wall along x: m_x is 0 at one end"):
        llg.WallPosition()(m)
    with pytest.raises(ValueError, match="the mesh has no axis z"):
        llg.WallPosition("z")(m)
    energy = llg.Energy([llg.Exchange(1.0)])
    with pytest.raises(ValueError, match="the kind of the scalar 'a' must be one of"):
        Observer(energy, m, scalars={"a": (llg.largest_angle, "radians")})
    with pytest.raises(ValueError, match="already in use: \\['t'\\]"):
        Observer(energy, m, scalars={"t": llg.largest_angle})
    facets = mesh.meshtags(square, 1, np.zeros(0, np.int32), np.zeros(0, np.int32))
    with pytest.raises(ValueError, match="must be tags of the cells"):
        Observer(energy, m, cell_tags=facets)
