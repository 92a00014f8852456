# SPDX-License-Identifier: LGPL-3.0-or-later
"""Topological charge, the helix of bulk DMI, tables in time, the names of spin torques."""

import math

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg


def skyrmion(x):
    """Core down at the origin, up beyond r = 1: a Neel skyrmion of charge -1."""
    r = np.sqrt(x[0] ** 2 + x[1] ** 2)
    theta = np.pi * np.clip(1 - r, 0, 1)
    safe = np.where(r > 0, r, 1.0)
    return np.array([np.sin(theta) * x[0] / safe, np.sin(theta) * x[1] / safe, np.cos(theta)])


@pytest.mark.parametrize("kind", [mesh.CellType.triangle, mesh.CellType.quadrilateral])
def test_charge_of_a_skyrmion(comm, kind):
    """M is constant at the edge: an integer to round-off, whatever the mesh."""
    msh = mesh.create_rectangle(comm, [[-1.5, -1.2], [1.4, 1.6]], [9, 10], cell_type=kind)
    m = llg.magnetization(msh, skyrmion)
    assert llg.topological_charge(m) == pytest.approx(-1.0, abs=1e-12)
    m.interpolate(lambda x: skyrmion(x) * np.array([[1], [-1], [1]]))  # an antiskyrmion
    assert llg.topological_charge(m) == pytest.approx(1.0, abs=1e-12)


def test_charge_on_faces_of_a_body(comm):
    """The top sees -1, the bottom from outside +1; a hedgehog on the whole boundary +1."""
    for kind in (mesh.CellType.tetrahedron, mesh.CellType.hexahedron):
        msh = mesh.create_box(comm, [[-1.5, -1.5, 0], [1.5, 1.5, 0.2]], [8, 8, 1], cell_type=kind)
        m = llg.magnetization(msh, skyrmion)
        found = [mesh.locate_entities_boundary(msh, 2, lambda x, z=z: np.isclose(x[2], z))
                 for z in (0.0, 0.2)]  # fmt: skip
        facets, values = np.concatenate(found), np.repeat([1, 2], [len(f) for f in found])
        order = np.argsort(facets)
        tags = mesh.meshtags(msh, 2, facets[order], values[order].astype(np.int32))
        assert llg.topological_charge(m, tags, 2) == pytest.approx(-1.0, abs=1e-12)
        assert llg.topological_charge(m, tags, 1) == pytest.approx(1.0, abs=1e-12)
        up = llg.topological_charge(m, tags, 1, normal=(0, 0, 3))
        assert up == pytest.approx(-1.0, abs=1e-12)
        hedgehog = llg.magnetization(
            msh, lambda x: np.array([x[0] + 1e-3, x[1] + 2e-3, x[2] - 0.1 + 3e-3])
        )
        assert llg.topological_charge(hedgehog) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match="lies in a triangle"):
        llg.topological_charge(m, tags, 1, normal=(1, 0, 0))
    line = llg.magnetization(mesh.create_unit_interval(comm, 3), (0.0, 0.0, 1.0))
    with pytest.raises(ValueError, match="a line has no"):
        llg.topological_charge(line)


def test_period_of_the_helix(comm):
    """Exchange and bulk DMI alone, free ends: m turns at D/(2 A), period 4 pi A/D.

    On P1 the angle a from node to node minimises kappa (1 - cos a)/h - D sin a: tan a = D h/kappa.
    """
    kappa, D, cells = 2.0, 1.5, 40
    msh = mesh.create_interval(comm, cells, [0.0, 10.0])
    m = llg.magnetization(
        msh, lambda x: np.array([0.1 + 0 * x[0], np.cos(0.5 * x[0]), np.sin(0.5 * x[0])])
    )
    llg.minimise(llg.Energy([llg.Exchange(kappa), llg.BulkDMI(D)]), m, torque=1e-8)
    own = m.function_space.dofmap.index_map.size_local
    x = m.function_space.tabulate_dof_coordinates()[:own, 0]
    parts = comm.allgather((x, m.x.array.reshape(-1, 3)[:own]))
    x, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    values = values[np.argsort(x)]
    assert np.abs(values[:, 0]).max() < 1e-5  # m turns about x
    angle = np.unwrap(np.arctan2(values[:, 2], values[:, 1]))
    h = 10.0 / cells
    assert abs(angle[-1] - angle[0]) == pytest.approx(cells * math.atan(D * h / kappa), rel=1e-6)
    # The period in the mesh's limit; (D h/kappa)^2/3 = 1.2 % is what P1 lacks of the angle.
    period = 2 * math.pi * 10.0 / abs(angle[-1] - angle[0])
    assert period == pytest.approx(4 * math.pi * (kappa / 2) / D, rel=0.015)


def test_vortex_core_feels_its_solid_angle(comm):
    """A texture that moves across u: the work of the adiabatic torque is 4 pi |Q| u times the way.

    m turns by 40 degrees a cell: what counts is int m.(d_x m x d_y m), a solid angle.
    """
    msh = mesh.create_rectangle(comm, [[-1.5, -1.5], [1.5, 1.5]], [14, 14])
    torque = llg.ZhangLi((1.0, 0.0), 0.0)
    V = llg.vector_space(msh)
    m, step = llg.magnetization(msh, skyrmion), fem.Function(V)
    form = fem.form(torque.gradient(m, step) * ufl.dx)
    at = lambda y: lambda x: skyrmion(x - np.array([[0], [y], [0]]))  # noqa: E731
    steps = 20
    shift, work = 3.0 / 14 / steps, 0.0
    for k in range(steps):  # a whole cell
        step.interpolate(at((k + 1) * shift))
        ahead = step.x.array.copy()
        step.interpolate(at(k * shift))
        step.x.array[:] = ahead - step.x.array
        m.interpolate(at((k + 0.5) * shift))
        work += sum(comm.allgather(fem.assemble_scalar(form)))
    # Chords of P1 give .85. Left: the steps, and an automatic rule of quadrature.
    assert work == pytest.approx(4 * math.pi * steps * shift, rel=1e-3)


def test_table_in_time(comm):
    table = llg.TimeTable([0.0, 1.0, 1.0, 3.0], [[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 4, 0]])
    assert table.jumps == [1.0]
    for t, value in ((-1, (0, 0, 0)), (0.5, (0.5, 0, 0)), (1, (0, 2, 0)), (2, (0, 3, 0)),
                     (3, (0, 4, 0)), (9, (0, 4, 0))):  # fmt: skip
        assert table(t) == pytest.approx(value)
    zero = llg.TimeTable([0, 1], [2, 4], outside="zero")
    assert [float(zero(t)) for t in (-0.1, 0.5, 1.1)] == [0.0, 3.0, 0.0]
    t = np.linspace(0, np.pi, 30)
    smooth = llg.TimeTable(t, np.sin(t), kind="cubic")
    assert float(smooth(1.234)) == pytest.approx(math.sin(1.234), abs=1e-6)  # h^4/384
    msh = mesh.create_unit_interval(comm, 2)
    m = llg.magnetization(msh, (0.0, 1.0, 0.0))
    energy = llg.Energy([llg.Zeeman(table)])
    assert energy.total(m, 2.0) == pytest.approx(-3.0)
    for bad, message in (
        (([0, 2, 1], [1, 2, 3]), "times must grow"),
        (([0, 0, 0], [1, 2, 3]), "times must grow"),
        (([0, 1], [1, 2, 3]), "one entry for each of the 2 times"),
        (([0], [1]), "at least 2 numbers"),
        (([0, np.nan], [1, 2]), "times must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            llg.TimeTable(*bad)
    with pytest.raises(ValueError, match=r"goes from t = 0 to 1, asked for t = 2"):
        llg.TimeTable([0, 1], [1, 2], outside="refuse")(2.0)
    with pytest.raises(ValueError, match="has no jumps"):
        llg.TimeTable([0, 1, 1], [1, 2, 3], kind="cubic")


def gradient(term, m, t=0.0):
    term.update(m, t)
    w = ufl.TestFunction(m.function_space)
    return fem.assemble_vector(fem.form(term.gradient(m, w) * ufl.dx)).array.copy()


def test_names_of_spin_torques(comm):
    msh = mesh.create_unit_square(comm, 2, 2)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 + 0 * x[0]]))
    make = lambda **options: llg.Slonczewski(0.3, (0, 1, 0), thickness=2.0, **options)  # noqa: E731
    plain = gradient(make(polarisation=0.4, field_like=0.2), m)
    assert gradient(make(polarization=0.4, field_like=0.2), m) == pytest.approx(plain)
    assert gradient(make(spin_hall_angle=0.4, field_like=0.2), m) == pytest.approx(plain)
    negative = gradient(make(spin_hall_angle=-0.4, field_like=0.2), m)
    assert negative == pytest.approx(-plain)
    parts = [make(spin_hall_angle=0.4, damping_like=0.0, field_like=0.2),
             make(spin_hall_angle=0.4)]  # fmt: skip
    assert sum(gradient(part, m) for part in parts) == pytest.approx(plain)
    for options, message in (
        ({}, "got none"),
        ({"polarisation": 0.4, "spin_hall_angle": 0.1}, "got polarisation, spin_hall_angle"),
        ({"spin_hall_angle": 0.1, "asymmetry": 2.0}, "belongs to a polarizer"),
        ({"polarization": 1.5}, "polarization must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**options)


def test_fields_of_current_that_follow_the_time(comm):
    """u(x) f(t) in UFL with a clock is u(x) with f(t) put in by hand."""
    msh = mesh.create_unit_square(comm, 2, 2)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 + 0 * x[0]]))
    u = fem.Function(fem.functionspace(msh, ("DG", 0, (2,))))
    u.interpolate(lambda x: np.array([x[0], 1 - x[1]]))
    j = fem.Function(fem.functionspace(msh, ("DG", 0)))
    j.interpolate(lambda x: x[0])
    clock = fem.Constant(msh, 0.0)
    t, f = 0.7, math.sin(0.7)
    moving = llg.ZhangLi(u * ufl.sin(clock), 0.1, time=clock)
    assert gradient(moving, m, t) == pytest.approx(f * gradient(llg.ZhangLi(u, 0.1), m))
    make = lambda j, **o: llg.Slonczewski(j, (0, 1, 0), thickness=2.0, polarisation=0.4, **o)  # noqa: E731
    pulsed = make(j * ufl.sin(clock), time=clock)
    assert gradient(pulsed, m, t) == pytest.approx(f * gradient(make(j), m))
    with pytest.raises(ValueError, match="time is a constant that u must contain"):
        llg.ZhangLi(u, 0.1, time=clock)
