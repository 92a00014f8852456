# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy terms: Taylor tests, closed-form energies, cell types, refusals."""

import math

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.physics import from_array
from dolfinx_llg.physics.interaction import EnergyTerm
from dolfinx_llg.physics.literature import ms_trig

pytestmark = pytest.mark.most_ranks(2)


class QuarticDensity(EnergyTerm):
    """A user's own term, by its density alone: not rotation invariant, with grad m."""

    def density(self, m):
        """Return a quartic density."""
        return (m[0] * m[1]) ** 2 + m[2] ** 3 + ufl.inner(ufl.grad(m), ufl.grad(m)) * m[0] ** 2


def unit_mesh(comm, cell: str) -> mesh.Mesh:
    if cell == "interval":
        return mesh.create_unit_interval(comm, 7)
    kind = getattr(mesh.CellType, cell)
    if cell in ("triangle", "quadrilateral"):
        return mesh.create_unit_square(comm, 4, 3, cell_type=kind)
    return mesh.create_unit_cube(comm, 3, 2, 2, cell_type=kind)


def regional_axis(msh):
    """Easy axis z for x < 1/2, in the x-y diagonal beyond."""
    axis = fem.Function(fem.functionspace(msh, ("DG", 0, (3,))))
    axis.interpolate(
        lambda x: np.where(
            x[0] < 0.5, np.array([[0], [0], [1.0]]), np.array([[1], [1], [0.0]]) / math.sqrt(2)
        )
    )
    return axis


def space_field(msh):
    x = ufl.SpatialCoordinate(msh)
    return ufl.as_vector([ufl.sin(x[0]), 1 + x[0] ** 2, -ufl.cos(3 * x[0])])


TERMS = {
    "exchange-number": (lambda msh: llg.Exchange(1.3), 2),
    "exchange-callable": (lambda msh: llg.Exchange(lambda x: 1.5 + ufl.sin(9 * x[0])), 2),
    "exchange-quadrature": (
        lambda msh: llg.Exchange(lambda x: 1.5 + ufl.sin(9 * x[0]), kappa_rule="quadrature"),
        2,
    ),
    "exchange-mean": (
        lambda msh: llg.Exchange(lambda x: 1.5 + ufl.sin(9 * x[0]), kappa_rule="mean"),
        2,
    ),
    "exchange-function": (
        lambda msh: llg.Exchange(from_array(msh, np.full((2,) * msh.geometry.dim, 0.7))),
        2,
    ),
    "exchange-tensor": (
        lambda msh: llg.Exchange(np.eye(msh.geometry.dim) + 0.3 * np.ones(2 * [msh.geometry.dim])),
        2,
    ),
    "exchange-tensor-field": (
        lambda msh: llg.Exchange(
            lambda x: (2 + ufl.sin(5 * x[0])) * ufl.Identity(msh.geometry.dim)
        ),
        2,
    ),
    "uniaxial": (lambda msh: llg.UniaxialAnisotropy((1, 2, -1), 1.7), 2),
    "uniaxial-regions": (lambda msh: llg.UniaxialAnisotropy(regional_axis(msh), -0.4), 2),
    "cubic": (lambda msh: llg.CubicAnisotropy(1.1, ((1, 1, 0), (-1, 1, 0))), 4),
    "zeeman-constant": (lambda msh: llg.Zeeman((0.3, -1.0, 2.0)), 1),
    "zeeman-space": (lambda msh: llg.Zeeman(space_field(msh)), 1),
    "zeeman-time": (lambda msh: llg.Zeeman(lambda t: [math.cos(t), math.sin(t), 0.2]), 1),
    "dmi-bulk": (lambda msh: llg.BulkDMI(0.6), 2),
    "dmi-interfacial": (lambda msh: llg.InterfacialDMI(0.6, (0, 1, 1)), 2),
    "user-density": (lambda msh: QuarticDensity(), 4),
}
CELLS = ["interval", "triangle", "quadrilateral", "tetrahedron", "hexahedron"]


def assemble(comm, integrand, msh) -> float:
    return sum(comm.allgather(fem.assemble_scalar(fem.form(integrand * ufl.dx(domain=msh)))))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", TERMS)
def test_taylor(comm, name, cell, record_property):
    """E(m + s v) - E - s E' v is O(s^2), less s^2/2 E''(v, v) is O(s^3); exact where polynomial."""
    msh = unit_mesh(comm, cell)
    build, degree = TERMS[name]
    term = build(msh)
    energy = llg.Energy([term])
    V = llg.vector_space(msh)
    m, v, trial = fem.Function(V), fem.Function(V), fem.Function(V)
    m.interpolate(lambda x: np.array([0.4 + x[0], np.cos(2 * x[0]), 0.3 - x[0] ** 2]))
    v.interpolate(lambda x: np.array([np.sin(3 * x[0]), 1 - x[0], 0.5 + x[0] ** 3]))
    base = energy.total(m)
    first = assemble(comm, term.gradient(m, v), msh)
    second = assemble(comm, term.hessian(m, v, v), msh)
    scale = abs(base) + abs(first) + abs(second)
    assert abs(first) > 1e-3 * scale  # the test would see a gradient that is zero
    remainders = []
    for s in (0.1, 0.05, 0.025):
        trial.x.array[:] = m.x.array + s * v.x.array
        change = energy.total(trial) - base
        remainders.append((abs(change - s * first), abs(change - s * first - s**2 / 2 * second)))
    if degree <= 2:  # the expansion ends at the hessian: only round-off is left
        rest = max(r[1] for r in remainders)
        record_property("largest relative remainder where quadratic", rest / scale)
        assert rest < 1e-13 * scale
    if degree == 1:
        assert second == 0.0
    if degree == 2:
        assert np.allclose(
            [r[0] for r in remainders],
            [s**2 / 2 * abs(second) for s in (0.1, 0.05, 0.025)],
            rtol=0,
            atol=1e-13 * scale,
        )
    if degree > 2:
        rates = np.log2(np.array(remainders[:-1]) / np.array(remainders[1:]))
        record_property("Taylor slope after the gradient", float(rates[-1, 0]))
        record_property("Taylor slope after the hessian", float(rates[-1, 1]))
        assert rates[-1, 0] == pytest.approx(2.0, abs=0.15), rates
        assert rates[-1, 1] == pytest.approx(3.0, abs=0.15), rates


@pytest.mark.parametrize("cell", CELLS)
def test_closed_form_energies(comm, cell):
    """Constant m: exchange and DMI vanish, the rest are polynomials of the components."""
    msh = unit_mesh(comm, cell)
    m = llg.magnetization(msh, (1.0, 2.0, 2.0))
    a = np.array([1, 2, 2]) / 3
    energy = llg.Energy(
        [
            llg.Exchange(2.0),
            llg.UniaxialAnisotropy((0, 0, 2), 3.0),
            llg.CubicAnisotropy(1.5),
            llg.Zeeman((1.0, 0.5, -1.0)),
            llg.BulkDMI(1.0),
            llg.InterfacialDMI(1.0),
            llg.Zeeman((0.0, 1.0, 0.0)),
        ]
    )
    sq = a**2
    expected = {
        "Exchange": 0.0,
        "UniaxialAnisotropy": 1.5 * (1 - a[2] ** 2),
        "CubicAnisotropy": 0.75 * (sq[0] * sq[1] + sq[1] * sq[2] + sq[2] * sq[0]),
        "Zeeman": -(a[0] + 0.5 * a[1] - a[2]),
        "BulkDMI": 0.0,
        "InterfacialDMI": 0.0,
        "Zeeman_2": -a[1],
    }
    found = energy.by_term(m)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-13), name  # sums of O(10) products
    assert energy.total(m) == pytest.approx(sum(expected.values()), abs=1e-13)


def test_helix_energies(comm):
    """Bloch helix (0, cos kx, sin kx): exchange kappa k^2/2, bulk DMI -D k; cycloid: -+D k.

    m.curl(m) of the Bloch helix is -k; the Neel cycloid (sin kx, 0, cos kx) has
    m_z div m - (m.grad) m_z = k cos^2 + k sin^2 = k. P1 on 200 cells: O(h^2) = 2e-4.
    """
    k, msh = 2 * math.pi, mesh.create_unit_interval(comm, 200)
    zero = lambda x: 0 * x[0]  # noqa: E731
    bloch = llg.magnetization(
        msh, lambda x: np.array([zero(x), np.cos(k * x[0]), np.sin(k * x[0])])
    )
    neel = llg.magnetization(msh, lambda x: np.array([np.sin(k * x[0]), zero(x), np.cos(k * x[0])]))
    assert llg.Energy([llg.Exchange(0.7)]).total(bloch) == pytest.approx(0.35 * k**2, rel=5e-4)
    assert llg.Energy([llg.BulkDMI(0.4)]).total(bloch) == pytest.approx(-0.4 * k, rel=5e-4)
    assert llg.Energy([llg.BulkDMI(0.4)]).total(neel) == pytest.approx(0.0, abs=1e-12)
    assert llg.Energy([llg.InterfacialDMI(0.4)]).total(neel) == pytest.approx(0.4 * k, rel=5e-4)
    assert llg.Energy([llg.InterfacialDMI(0.4)]).total(bloch) == pytest.approx(0.0, abs=1e-12)


def test_zeeman_follows_time_and_assignment(comm):
    msh = mesh.create_unit_interval(comm, 3)
    m = llg.magnetization(msh, (0.0, 0.0, 1.0))
    clock = fem.Constant(msh, 0.0)
    in_time = llg.Zeeman(lambda t: (0.0, 0.0, 2.0 * t))
    in_ufl = llg.Zeeman(ufl.as_vector([0, 0, 3 * clock]), time=clock)
    fixed = llg.Zeeman((0.0, 0.0, 1.0))
    energy = llg.Energy([in_time, in_ufl, fixed])
    for t in (0.5, 2.0):
        energy.update(m, t)
        assert energy.total(m) == pytest.approx(-(2 * t + 3 * t + 1.0), rel=1e-14)
    fixed.assign((0.0, 0.0, -4.0))
    assert energy.by_term(m)["Zeeman_3"] == pytest.approx(4.0, rel=1e-14)


def test_ms_weights_the_field(comm):
    """Zeeman with a regional Ms: energy -int Ms m.h."""
    msh = mesh.create_unit_interval(comm, 10)
    Ms = from_array(msh, np.array([1.0, 0.4]))
    m = llg.magnetization(msh, (1.0, 0.0, 0.0))
    energy = llg.Energy([llg.Zeeman((2.0, 0.0, 0.0), Ms=Ms)], Ms=Ms)
    assert energy.total(m) == pytest.approx(-2.0 * 0.7, rel=1e-14)
    with pytest.raises(ValueError, match="pass the same"):
        llg.Energy([llg.Zeeman((2.0, 0.0, 0.0))], Ms=Ms)


def test_kappa_rules_differ_as_they_should(comm):
    """Kappa = exp(8x), |grad m| constant in a cell: the rules are exact sums over the cells.

    "centroid" takes the midpoint values, "mean" and "quadrature" the integral, to the error of
    their quadrature of an entire function (relative 1e-6 on cells of 1/4).
    """
    n = 4
    msh = mesh.create_unit_interval(comm, n)
    m = llg.magnetization(msh, lambda x: np.array([np.cos(x[0]), np.sin(x[0]), 0 * x[0]]))
    slope = (2 - 2 * math.cos(1 / n)) * n**2  # |grad m|^2 of the P1 interpolant
    midpoint = sum(math.exp(8 * (i + 0.5) / n) for i in range(n)) / n
    expected = {
        "centroid": 0.5 * slope * midpoint,
        "mean": 0.5 * slope * (math.exp(8) - 1) / 8,
        "quadrature": 0.5 * slope * (math.exp(8) - 1) / 8,
    }
    assert expected["mean"] > 1.1 * expected["centroid"]
    for rule, value in expected.items():
        term = llg.Exchange(lambda x: ufl.exp(8 * x[0]), kappa_rule=rule)
        assert llg.Energy([term]).total(m) == pytest.approx(
            value, rel=1e-2 if rule == "quadrature" else 1e-5
        )


def test_ms_trig_is_seen_by_all_rules(comm):
    """On the paper's coefficient the rules agree to the roughness that the mesh leaves (5 %)."""
    msh = mesh.create_unit_square(comm, 32, 32)
    m = llg.magnetization(msh, lambda x: np.array([np.cos(x[0]), np.sin(x[0]), 0 * x[0]]))
    found = [
        llg.Energy([llg.Exchange(ms_trig, kappa_rule=rule)]).total(m)
        for rule in ("centroid", "mean", "quadrature")
    ]
    assert max(found) / min(found) < 1.05


def test_tensor_exchange_of_a_helix(comm):
    """M of wave vector k has the energy k.kappa k/2: off-diagonals and unequal diagonals count."""
    kappa, k = np.array([[2.0, 0.5], [0.5, 0.3]]), np.array([1.0, 2.0])
    msh = mesh.create_unit_square(comm, 64, 64)

    def helix(x):
        phase = k[0] * x[0] + k[1] * x[1]
        return np.array([np.cos(phase), np.sin(phase), 0 * phase])

    m = llg.magnetization(msh, helix)
    # P1 interpolation: relative error |k|^2 h^2/12 = 1e-4
    assert llg.Energy([llg.Exchange(kappa)]).total(m) == pytest.approx(k @ kappa @ k / 2, rel=3e-4)


def test_axes_given_as_ufl_are_normalised(comm):
    msh = mesh.create_unit_square(comm, 3, 3)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 - x[0]]))
    x = ufl.SpatialCoordinate(msh)
    reference = llg.Energy([llg.UniaxialAnisotropy((1, 1, 0))]).total(m)
    for axis in (ufl.as_vector([2, 2, 0]), fem.Constant(msh, (3.0, 3.0, 0.0))):
        found = llg.Energy([llg.UniaxialAnisotropy(axis)]).total(m)
        assert found == pytest.approx(reference, rel=1e-13)
    for axis in (fem.Constant(msh, (0.0, 0.0, 0.0)), 0 * ufl.as_vector([x[0], 1, 1])):
        with pytest.raises(ValueError, match="easy_axis must not be zero"):
            llg.Energy([llg.UniaxialAnisotropy(axis)]).total(m)


def test_directions_of_any_size(comm):
    """Numbers whose squares overflow or vanish keep their direction."""
    m = llg.magnetization(
        mesh.create_unit_square(comm, 3, 3), lambda x: [1 + x[0], x[1], 0.5 - x[0]]
    )
    for size in (1e200, 1e-200):
        for term in (
            lambda s: llg.UniaxialAnisotropy((s, 0, s)),
            lambda s: llg.CubicAnisotropy(1.0, ((s, s, 0), (-s, s, 0))),
            lambda s: llg.InterfacialDMI(1.0, (0, s, s)),
        ):
            expected = llg.Energy([term(1.0)]).total(m)
            assert abs(expected) > 0.01
            assert llg.Energy([term(size)]).total(m) == pytest.approx(expected, rel=1e-13)


def test_terms_may_come_from_a_generator(comm):
    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (0.6, 0.0, 0.8))
    terms = [llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1))]
    energy = llg.Energy(term for term in terms)
    assert energy.terms == tuple(terms)
    assert energy.total(m) == llg.Energy(terms).total(m) == pytest.approx(0.18, rel=1e-13)


def test_classes_whose_names_differ_by_case(comm):
    """Each has an energy and a column of its own."""

    class Pinning(llg.EnergyTerm):
        def density(self, m):
            """Return m_x."""
            return m[0]

    class PINNING(llg.EnergyTerm):
        def density(self, m):
            """Return 2 m_z."""
            return 2 * m[2]

    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (0.6, 0.0, 0.8))
    energy = llg.Energy([Pinning(), PINNING()])
    assert energy.by_term(m) == pytest.approx({"Pinning": 0.6, "PINNING_2": 1.6}, rel=1e-13)
    row = llg.Observer(energy, m).observe(llg.State(0.0, 0, m, 0.1))
    assert row["energy_pinning"] == pytest.approx(0.6, rel=1e-13)
    assert row["energy_pinning_2"] == pytest.approx(1.6, rel=1e-13)


def test_an_easy_plane_is_explicit(comm):
    """A concave term at the new level would act as negative damping."""
    msh = mesh.create_unit_square(comm, 3, 3)
    assert llg.UniaxialAnisotropy((0, 0, 1), 1.0).implicit
    assert not llg.UniaxialAnisotropy((0, 0, 1), -1.0).implicit
    assert not llg.UniaxialAnisotropy((0, 0, 1), fem.Constant(msh, -1.0)).implicit
    strength = from_array(msh, np.array([[1.0, 2.0], [1.0, -0.1]]))
    assert not llg.UniaxialAnisotropy((0, 0, 1), strength).implicit
    assert llg.UniaxialAnisotropy((0, 0, 1), -1.0, implicit=True).implicit
    strength.x.array[:] = math.nan
    with pytest.raises(ValueError, match="q_u must be finite"):
        llg.UniaxialAnisotropy((0, 0, 1), strength)
    with pytest.raises(TypeError, match="a callable h_ext takes the time"):
        llg.Zeeman(lambda x: (x[0], 0.0, 0.0))


REFUSED = {
    "kappa must be positive": lambda msh: llg.Exchange(0.0),
    "kappa must be positive and finite, got nan": lambda msh: llg.Exchange(math.nan),
    "must be symmetric": lambda msh: llg.Exchange(np.array([[1.0, 0.2], [0.0, 1.0]])),
    "smallest eigenvalue is -1": lambda msh: llg.Exchange(np.diag([1.0, -1.0])),
    "easy_axis must not be zero": lambda msh: llg.UniaxialAnisotropy((0, 0, 0)),
    "easy_axis must have shape": lambda msh: llg.UniaxialAnisotropy((1, 0)),
    "easy_axis must be finite": lambda msh: llg.UniaxialAnisotropy((1, 0, math.inf)),
    "easy_axis must have unit length": lambda msh: llg.UniaxialAnisotropy(
        fem.Function(fem.functionspace(msh, ("DG", 0, (3,))))
    ),
    "axes must be orthogonal": lambda msh: llg.CubicAnisotropy(1.0, ((1, 0, 0), (1, 1, 0))),
    "h_ext must have shape": lambda msh: llg.Zeeman(lambda t: (1.0, 0.0)),
    "h_ext must be finite": lambda msh: llg.Zeeman((math.nan, 0.0, 0.0)),
    "q_u must be finite": lambda msh: llg.UniaxialAnisotropy((1, 0, 0), math.nan),
    "kappa_rule must be": lambda msh: llg.Exchange(1.0, kappa_rule="nodal"),
    "at least one interaction": lambda msh: llg.Energy([]),
    "Ms must be positive": lambda msh: llg.Energy([llg.Exchange(1.0)], Ms=-1.0),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(comm, message):
    """Bad input raises at once, on every rank, with the value met."""
    msh = mesh.create_unit_square(comm, 3, 3)
    with pytest.raises(ValueError, match=message):
        REFUSED[message](msh)


@pytest.mark.parametrize(
    ("kappa", "message"),
    [
        (lambda x: x[0] - 0.5, "kappa"),
        (lambda x: 1 / (x[0] - x[0]), "kappa"),
        (lambda x: ufl.as_matrix([[1.0, 0.5], [0.0, 1.0]]) * (1 + x[0]), "symmetric"),
    ],
)
def test_bad_fields_are_found_when_the_mesh_is_met(comm, kappa, message):
    """Negative on some ranks' cells only, NaN, not symmetric: all ranks raise."""
    msh = mesh.create_unit_square(comm, 6, 6)
    m = llg.magnetization(msh, (1.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=message):
        llg.Energy([llg.Exchange(kappa)]).total(m)


def test_tensor_of_wrong_size(comm):
    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (1.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"must have shape \(2, 2\)"):
        llg.Energy([llg.Exchange(np.eye(3))]).total(m)


def test_world_is_not_assumed():
    """A run on MPI.COMM_SELF works on every rank by itself."""
    msh = mesh.create_unit_square(MPI.COMM_SELF, 3, 3)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 1 + 0 * x[0]]))
    step = llg.gao(llg.Energy([llg.Exchange(1.0)]), m, dt=0.01, damping=1.0)
    assert [state.n for state in llg.march(step, t_end=0.02)] == [1, 2]
