# SPDX-License-Identifier: LGPL-3.0-or-later
"""Torques, transport properties, submeshes and currents: definitions, SI and bad input."""

from mpi4py import MPI  # isort: skip

import math

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.physics.torques import Slonczewski, SpinTorque, ZhangLi, drift_velocity
from dolfinx_llg.physics.units import E_CHARGE, MU0, MU_B, Units
from dolfinx_llg.schemes.tangent_plane import tangent_plane
from dolfinx_llg.transport import (
    Conductor,
    SpinAccumulation,
    Transport,
    magnet_of,
    solve_current,
)

pytestmark = pytest.mark.most_ranks(2)

EPS = np.finfo(float).eps


def total(form, comm):
    return sum(comm.allgather(fem.assemble_scalar(fem.form(form))))


def square(comm):
    """A square of two materials, tag 1 where x < 1/2, and its tags."""
    msh = mesh.create_unit_square(comm, 4, 4)
    count = msh.topology.index_map(2)
    cells = np.arange(count.size_local + count.num_ghosts, dtype=np.int32)
    x = mesh.compute_midpoints(msh, 2, cells)[:, 0]
    return msh, mesh.meshtags(msh, 2, cells, np.where(x < 0.5, 1, 2).astype(np.int32))


def sides(msh):
    """Facet tags 1 (left) and 2 (right)."""
    left = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[0], 0.0))
    right = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[0], 1.0))
    facets = np.concatenate([left, right])
    values = np.repeat(np.array([1, 2], dtype=np.int32), [len(left), len(right)])
    order = np.argsort(facets)
    return mesh.meshtags(msh, 1, facets[order], values[order])


METAL = Transport(diffusion=1.0, lambda_sf=2.0, lambda_J=0.5, lambda_phi=0.7, beta=0.5)


# -- definitions -------------------------------------------------------------------------------


def test_fields_are_m_cross_torque(comm):
    """For w normal to m the gradient is -Ms (m x T).w, with T as the docstrings print it."""
    msh = mesh.create_unit_square(comm, 2, 2)
    x = ufl.SpatialCoordinate(msh)
    m = ufl.as_vector([ufl.cos(x[0]), ufl.sin(x[0]) * ufl.cos(x[1]), ufl.sin(x[0]) * ufl.sin(x[1])])
    w = ufl.cross(m, ufl.as_vector([0.3 + x[1], -0.7, 0.2 * x[0]]))
    Ms, u, xi = 0.8, np.array([0.4, -1.1]), 0.3
    p = np.array([0.6, 0.0, 0.8])
    S = ufl.as_vector([x[0], 0.4, -x[1]])
    along = ufl.dot(ufl.grad(m), ufl.as_vector(u.tolist()))
    Lambda, P, d, j, rho = 1.5, 0.4, 3.0, 0.9, 0.2
    pv = ufl.as_vector(p.tolist())
    eps = P * Lambda**2 / (Lambda**2 + 1 + (Lambda**2 - 1) * ufl.dot(m, pv))
    a = 2 * eps * j / (Ms * d)
    mp, mS = ufl.cross(m, pv), ufl.cross(m, S)
    cases = [
        (ZhangLi(u, xi, Ms=Ms), -along + xi * ufl.cross(m, along)),
        (
            Slonczewski(
                j, 5 * p, thickness=d, polarisation=P, asymmetry=Lambda, field_like=rho, Ms=Ms
            ),
            -a * ufl.cross(m, mp) - rho * a * mp,
        ),
        (SpinTorque(S, 0.7, 0.2), -(0.7 * mS + 0.2 * ufl.cross(m, mS)) / Ms),
    ]
    for term, T in cases:
        gap = term.gradient(m, w) + Ms * ufl.inner(ufl.cross(m, T), w)
        scale = total(abs(term.gradient(m, w)) * ufl.dx(domain=msh), comm)
        # UFL's quadrature of the two sides is the same: only round-off is left.
        assert total(abs(gap) * ufl.dx(domain=msh), comm) < 100 * EPS * scale
        assert scale > 1e-3


def test_drift_velocity():
    """In SI the Zhang-Li velocity is -mu_B P j/(e Ms): against the electric current."""
    units, j, P, Ms = Units(8e5), 1e12, 0.4, 6e5
    u = drift_velocity(units.current_from_A_per_m2(np.array([0.0, j])), P, Ms / units.Ms0)
    assert units.velocity_to_m_per_s(u) == pytest.approx([0.0, -MU_B * P * j / (E_CHARGE * Ms)])
    assert MU_B * j / (E_CHARGE * 8e5) == pytest.approx(72.35, rel=1e-4)  # textbook: 72 m/s


def test_slonczewski_in_si():
    """a_J = hbar P j/(2 mu0 e Ms d) as a field: 1e12 A/m2, P = 0.4 on 3 nm of permalloy."""
    units, hbar = Units(8e5), 1.054571817e-34
    expected = hbar * 0.4 * 1e12 / (2 * MU0 * E_CHARGE * 8e5 * 3e-9)
    term = Slonczewski(
        units.current_from_A_per_m2(1e12), (0, 0, 1), thickness=3.0, polarisation=0.4
    )
    m, w = ufl.as_vector([1, 0, 0]), ufl.as_vector([0, 1, 0])  # m x p = -y
    msh = mesh.create_unit_interval(MPI.COMM_SELF, 1)
    m = m * fem.Constant(msh, 1.0)
    a = total(term.gradient(m, w) * ufl.dx(domain=msh), MPI.COMM_SELF)
    # g = 2.0023 in gamma0, 2 in mu_B: 0.12 %
    assert units.field_to_A_per_m(a) == pytest.approx(expected, rel=2e-3)


def test_units_of_transport():
    units = Units(8e5, length=1e-9)
    for there, back in (
        (units.velocity_from_m_per_s, units.velocity_to_m_per_s),
        (units.current_from_A_per_m2, units.current_to_A_per_m2),
    ):
        assert back(there(3.7)) == pytest.approx(3.7, rel=4 * EPS)
    assert units.velocity_to_m_per_s(1.0) == pytest.approx(1e-9 / units.time_unit)
    assert units.diffusion_from_m2_per_s(1e-3) == pytest.approx(1e-3 * units.time_unit * 1e18)
    # j = sigma V/L: 1 V over 10 nm of 1e7 S/m
    j = units.conductivity_from_S_per_m(1e7) * 1.0 / 10.0
    assert units.current_to_A_per_m2(j) == pytest.approx(1e15)


def test_transport_of_regions(comm):
    msh, tags = square(comm)
    units = Units(8e5)
    metals = {
        1: Conductor(5e6, 2e-3, 10e-9, lambda_J=2e-9, beta=0.5, beta_prime=0.6),
        2: Conductor(5e7, 1e-2, 100e-9),
    }
    fields = Transport.from_cell_tags(msh, tags, metals, units)
    for name, expected in (
        ("lambda_sf", (10.0, 100.0)),
        ("lambda_J", (2.0, math.inf)),
        ("beta", (0.5, 0.0)),
        ("diffusion", units.diffusion_from_m2_per_s(np.array([2e-3, 1e-2]))),
        ("sigma", units.conductivity_from_S_per_m(np.array([5e6, 5e7]))),
    ):
        values = getattr(fields, name).x.array
        found = np.unique(np.concatenate(comm.allgather(values)))
        assert found == pytest.approx(np.unique(expected))
    with pytest.raises(ValueError, match=r"no value for the cell tags \[2\]"):
        Transport.from_cell_tags(msh, tags, {1: metals[1]}, units)


def test_magnet_restricts_fields(comm):
    """P1 and DG0 come over exactly, tags too, also where a rank owns no magnetic cell."""
    msh, tags = square(comm)
    magnet = magnet_of(msh, tags, [2])
    one = fem.Constant(magnet.mesh, 1.0) * ufl.dx(domain=magnet.mesh)
    assert total(one, comm) == pytest.approx(0.5)
    f = fem.Function(fem.functionspace(msh, ("Lagrange", 1)))
    f.interpolate(lambda x: 1 + 2 * x[0] - x[1])
    g = magnet.restrict(f)
    expected = fem.Function(g.function_space)
    expected.interpolate(lambda x: 1 + 2 * x[0] - x[1])
    assert np.abs(g.x.array - expected.x.array).max(initial=0.0) < 4 * EPS
    f.x.array[:] *= 3
    assert magnet.restrict(f, g) is g
    # Values to 9, whose own spacing is 8 EPS, and three times an error of 4 EPS.
    assert np.abs(g.x.array - 3 * expected.x.array).max(initial=0.0) <= 20 * EPS
    values = comm.allgather(magnet.restrict_tags(tags).values)
    assert set(np.concatenate(values)) == {2}


@pytest.mark.parametrize("scheme", [llg.prohl, llg.gao, tangent_plane])
def test_every_scheme_takes_torques(comm, scheme):
    """With the projection |m| = 1; the torque acts, and without it the same run ends elsewhere.

    One scheme of each kind: cimrak and an differ from gao in a term that no torque enters.
    """

    def run(torques):
        msh = mesh.create_unit_interval(comm, 6)
        m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[0], 0.2 + 0 * x[0]]))
        energy = llg.Energy([llg.Exchange(0.1), *torques])
        step = scheme(energy, m, dt=0.1, damping=llg.Gilbert(0.2), projection=True)
        next(llg.march(step, t_end=0.1))
        return m.x.array.reshape(-1, 3).copy()

    moved = run([ZhangLi(0.5, 0.1), Slonczewski(0.5, (0, 0, 1), thickness=1, polarisation=0.5)])
    assert np.abs(np.linalg.norm(moved, axis=1) - 1).max(initial=0.0) < 1e-14
    assert max(comm.allgather(np.abs(moved - run([])).max(initial=0.0))) > 0.02


def test_torques_alone_have_no_energy(comm):
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, (1, 0, 0))
    energy = llg.Energy([ZhangLi(1.0, 0.1)])
    assert energy.by_term(m) == {}
    assert energy.total(m) == 0.0


def test_assign(comm):
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[0], 0.2 + 0 * x[0]]))
    w = ufl.as_vector([0, 0, 1])
    dx = ufl.dx(domain=msh)
    for term, first, second in (
        (ZhangLi(2.0, 0.1), 2.0, 4.0),
        (Slonczewski(2.0, (0, 1, 0), thickness=1, polarisation=0.5), 2.0, 4.0),
    ):
        form = fem.form(term.gradient(m, w) * dx)
        before = sum(comm.allgather(fem.assemble_scalar(form)))
        term.assign(second)
        after = sum(comm.allgather(fem.assemble_scalar(form)))
        assert after / before == pytest.approx(second / first)
    with pytest.raises(ValueError, match="must be finite, got nan"):
        term.assign(math.nan)
    field = fem.Function(fem.functionspace(msh, ("DG", 0)))
    with pytest.raises(RuntimeError, match="j is a field"):
        Slonczewski(field, (0, 0, 1), thickness=1, polarisation=0.5).assign(1.0)


def test_data_in_time(comm):
    """Currents and polarizers that follow t are those of numbers at that t."""
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[0], 0.2 + 0 * x[0]]))
    w = ufl.as_vector([1, 2, 3])
    clock = fem.Constant(msh, 0.0)
    profile = fem.Function(fem.functionspace(msh, ("DG", 0)))
    profile.x.array[:] = 2.0
    layer = {"thickness": 1.0, "polarisation": 0.5}
    for moving, fixed in (
        (ZhangLi(lambda t: 2.0 * t, lambda t: 0.1 * t), ZhangLi(1.0, 0.05)),
        (ZhangLi(ufl.as_vector([profile * clock]), 0.1, time=clock), ZhangLi(1.0, 0.1)),
        (
            Slonczewski(lambda t: 3.0 * t, lambda t: (0, math.sin(t), 7.0), **layer),
            Slonczewski(1.5, (0, math.sin(0.5), 7.0), **layer),
        ),
        (
            Slonczewski(profile * clock, (0, 1, 0), time=clock, **layer),
            Slonczewski(1.0, (0, 1, 0), **layer),
        ),
    ):
        found = []
        for term in (moving, fixed):
            llg.Energy([term]).update(m, 0.5)
            found.append(total(term.gradient(m, w) * ufl.dx(domain=msh), comm))
        assert abs(found[1]) > 1e-3
        assert found[0] == pytest.approx(found[1], rel=1e-13)


def test_polarizers_of_any_length(comm):
    """Numbers, a Constant and UFL are normalised; a function must be of unit length."""
    msh = mesh.create_unit_square(comm, 2, 2)
    m = llg.magnetization(msh, (1, 0.3, 0.2))
    x, w = ufl.SpatialCoordinate(msh), ufl.as_vector([1, 2, 3])
    layer = {"thickness": 1.0, "polarisation": 0.5, "asymmetry": 1.5}
    field = fem.Function(fem.functionspace(msh, ("DG", 0, (3,))))
    field.x.array.reshape(-1, 3)[:] = (0, 0, 1.0)

    def found(p):
        gradient = Slonczewski(1.0, p, **layer).gradient(m, w)
        return total(gradient * ufl.dx(domain=msh), comm)

    expected = found((0, 0, 1))
    assert abs(expected) > 0.01
    constant = fem.Constant(msh, np.array([0, 0, 2.0]))
    for p in ((0, 0, 2), (0, 0, 1e200), constant, ufl.as_vector([0, 0, 2 + x[0]]), field):
        assert found(p) == pytest.approx(expected, rel=1e-13)
    field.x.array[:] *= 2.0
    with pytest.raises(ValueError, match="polarizer must have unit length"):
        found(field)


# -- the solve of the spin accumulation ----------------------------------------------------------


def spin_of(comm, **options):
    msh, tags = square(comm)
    magnet = magnet_of(msh, tags, [1])
    spin = SpinAccumulation(magnet, (1.0, 0.0), METAL, **options)
    return spin, llg.magnetization(magnet.mesh, (0.2, 0.1, 1.0))


def test_accumulation_is_linear_in_the_current(comm):
    """Also in time, and zero without a current; a second update starts from the answer."""
    spin, m = spin_of(comm)
    spin.update(m, 0.0)
    S = spin.S.x.array.copy()
    first = spin.iterations
    assert max(comm.allgather(np.abs(S).max(initial=0.0))) > 1e-3
    spin.update(m, 0.0)
    assert spin.iterations == 0 < first
    pulse, m = spin_of(comm, amplitude=lambda t: -2.0 * t)
    pulse.update(m, 1.0)
    scale = max(comm.allgather(np.abs(S).max(initial=0.0)))
    assert np.abs(pulse.S.x.array + 2 * S).max(initial=0.0) < 1e-6 * scale  # twice rtol 1e-8, cond
    pulse.update(m, 0.0)
    assert not pulse.S.x.array.any()
    assert not pulse.S_magnet.x.array.any()


def test_failed_solve_keeps_the_state(comm):
    spin, m = spin_of(comm, petsc_options={"ksp_max_it": 2, "ksp_rtol": 1e-12})
    before = m.x.array.copy()
    with pytest.raises(llg.ConvergenceError, match=r"accumulation did not converge at t = 0\.5"):
        spin.update(m, 0.5)
    assert not spin.S.x.array.any()
    step = llg.gao(llg.Energy([llg.Exchange(0.1), spin]), m, dt=0.1, damping=0.5)
    with pytest.raises(llg.ConvergenceError, match="DIVERGED_MAX_IT"):
        next(llg.march(step, t_end=0.1))
    assert np.array_equal(m.x.array, before)


def test_options_are_accounted_for(comm):
    spin, m = spin_of(comm, petsc_options={"ksp_rtoll": 1e-9})
    with pytest.warns(UserWarning, match=r"no solver used: \['ksp_rtoll'\]"):
        spin.update(m, 0.0)
    spin, m = spin_of(comm, petsc_options={"pc_type": "none", "ksp_type": "preonly"})
    with pytest.raises(llg.ConvergenceError, match="'preonly' with pc_type 'none' tests no conv"):
        spin.update(m, 0.0)
    spin.destroy()


# -- bad input -----------------------------------------------------------------------------------


def test_bad_torques(comm):
    msh = mesh.create_unit_square(comm, 2, 2)
    good = {"thickness": 1.0, "polarisation": 0.5}
    for change, text in (
        ({"thickness": 0.0}, "thickness must be positive and finite, got 0.0"),
        ({"polarisation": 1.2}, r"polarisation must be in \[0, 1\], got 1.2"),
        ({"asymmetry": 0.5}, r"asymmetry must be finite and >= 1, got 0.5"),
        ({"field_like": math.nan}, "field_like must be finite"),
    ):
        with pytest.raises(ValueError, match=text):
            Slonczewski(1.0, (0, 0, 1), **(good | change))
    with pytest.raises(ValueError, match="polarizer must not be zero"):
        Slonczewski(1.0, (0, 0, 0), **good)
    with pytest.raises(ValueError, match=r"polarizer must have shape \(3,\), got shape \(2,\)"):
        Slonczewski(1.0, (0, 1), **good)
    with pytest.raises(ValueError, match="j must be finite, got nan"):
        Slonczewski(math.nan, (0, 0, 1), **good)
    with pytest.raises(ValueError, match="xi must be finite, got inf"):
        ZhangLi(1.0, math.inf)
    m = llg.magnetization(msh, (1, 0, 0))
    with pytest.raises(ValueError, match=r"u must have 2 component\(s\) on this mesh"):
        ZhangLi(1.0, 0.1).gradient(m, m)
    with pytest.raises(ValueError, match=r"ZhangLi carries Ms=1\.0, the Energy Ms=2\.0"):
        llg.Energy([ZhangLi((1.0, 0.0), 0.1)], Ms=2.0)
    with pytest.raises(ValueError, match="exchange_rate must be finite and >= 0, got -1"):
        SpinTorque(m, -1.0)
    with pytest.raises(ValueError, match=r"S must have shape \(3,\), got shape \(\)"):
        SpinTorque(m[0], 1.0)


def test_bad_conductors(comm):
    for change, text in (
        ({"sigma": 0.0}, "sigma must be positive and finite, got 0.0"),
        ({"lambda_sf": math.inf}, "lambda_sf must be positive and finite, got inf"),
        ({"diffusion": -1.0}, "diffusion must be positive and finite, got -1.0"),
        ({"lambda_J": 0.0}, "lambda_J must be positive, got 0.0"),
        ({"beta": 1.5}, r"beta must be in \[0, 1\], got 1.5"),
        ({"beta": 1.0, "beta_prime": 1.0}, "beta beta_prime must be below 1 .* got 1.0"),
    ):
        with pytest.raises(ValueError, match=text):
            Conductor(**({"sigma": 1.0, "diffusion": 1.0, "lambda_sf": 1.0} | change))
    msh, tags = square(comm)
    magnet = magnet_of(msh, tags, [1])
    # On one rank alone: the error is raised on all.
    field = fem.Function(fem.functionspace(msh, ("DG", 0)))
    field.x.array[:] = 1.0
    if comm.rank == 0:
        field.x.array[0] = -1.0
    with pytest.raises(ValueError, match=r"diffusion must be positive and finite, got -1.0"):
        SpinAccumulation(magnet, (1.0, 0.0), Transport(field, 2.0, 0.5))
    other = fem.Function(fem.functionspace(magnet.mesh, ("DG", 0)))
    other.x.array[:] = 2.0
    with pytest.raises(ValueError, match="lambda_sf lives on another mesh"):
        SpinAccumulation(magnet, (1.0, 0.0), Transport(1.0, other, 0.5))
    with pytest.raises(ValueError, match="the current must be 2 finite numbers"):
        SpinAccumulation(magnet, (1.0, 0.0, 0.0), METAL)
    elsewhere = fem.Function(fem.functionspace(magnet.mesh, ("DG", 0, (2,))))
    with pytest.raises(ValueError, match="the current lives on another mesh"):
        SpinAccumulation(magnet, elsewhere, METAL)
    spin = SpinAccumulation(magnet, (1.0, 0.0), METAL, amplitude=lambda t: math.nan)
    with pytest.raises(ValueError, match="amplitude of the current must be finite, got nan"):
        spin.update(llg.magnetization(magnet.mesh, (1, 0, 0)), 0.0)
    with pytest.raises(ValueError, match=r"m does not live on magnet.mesh"):
        spin.update(llg.magnetization(msh, (1, 0, 0)), 0.0)


def test_bad_magnets(comm):
    msh, tags = square(comm)
    with pytest.raises(ValueError, match="cell_tags is None"):
        magnet_of(msh, None, [1])
    with pytest.raises(ValueError, match="there is no magnet"):
        magnet_of(msh, tags, [])
    with pytest.raises(ValueError, match=r"no cell has the tag\(s\) \[7\]; .* tags \[1, 2\]"):
        magnet_of(msh, tags, [1, 7])
    with pytest.raises(ValueError, match="cell_tags has dimension 1, the cells have 2"):
        magnet_of(msh, sides(msh), [1])


def test_bad_contacts(comm):
    msh, tags = square(comm)
    facets = sides(msh)
    both = {1: 1.0, 2: 0.0}
    for options, text in (
        ({"potentials": {}}, "no contact has a potential"),
        ({"potentials": {}, "currents": {1: 1.0, 2: -1.0}}, "known up to a constant only"),
        ({"potentials": {1: 0.0}}, r"a current needs two contacts, got \[1\]"),
        ({"potentials": both, "currents": {1: 1.0}}, r"contacts \[1\] have a potential and a"),
        ({"potentials": {1: math.nan, 2: 0.0}}, "contact 1: the value must be finite, got nan"),
        ({"potentials": {1: 0.0, 9: 0.0}}, r"no facet has the tag\(s\) \[9\]; .* tags \[1, 2\]"),
    ):
        with pytest.raises(ValueError, match=text):
            solve_current(msh, 1.0, facets, **options)
    with pytest.raises(ValueError, match="facet_tags is None"):
        solve_current(msh, 1.0, None, potentials=both)
    with pytest.raises(ValueError, match="facet_tags has dimension 2, the facets have 1"):
        solve_current(msh, 1.0, tags, potentials=both)
    with pytest.raises(ValueError, match=r"sigma must be positive everywhere, got 0\.0"):
        solve_current(msh, 0.0, facets, potentials=both)
    bottom = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[1], 0.0))
    touching = np.concatenate([facets.find(1), bottom])
    values = np.repeat(np.array([1, 2], dtype=np.int32), [len(facets.find(1)), len(bottom)])
    order = np.argsort(touching)
    meeting = mesh.meshtags(msh, 1, touching[order], values[order])
    with pytest.raises(ValueError, match=r"contacts touch: two of \[1, 2\] share a node"):
        solve_current(msh, 1.0, meeting, potentials=both)
    with pytest.raises(llg.ConvergenceError, match="electrostatic potential did not converge"):
        solve_current(
            msh, 1.0, facets, potentials=both, petsc_options={"ksp_max_it": 1, "pc_type": "none"}
        )
