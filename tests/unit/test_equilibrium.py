# SPDX-License-Identifier: LGPL-3.0-or-later
"""Minimisers: closed forms, derivatives on the spheres, saddles, subspaces, bad input."""

import math
import sys

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.equilibrium.descent import truncated_cg
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.pointwise import tangential
from dolfinx_llg.equilibrium.tangent import TangentHessian
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.la.krylov import Options

METHODS = ["trust_region", "lbfgs"]


def twisted(x):
    """A smooth m with all components, no symmetry of the unit box."""
    a, b = 2.0 * x[0] + 0.7 * x[1] + 0.3, 1.5 * x[1] - 0.4 * x[0] + 0.9 * x[2] + 0.2
    return np.vstack([np.cos(a) * np.cos(b), np.sin(a) * np.cos(b), np.sin(b)])


class Slab(llg.FieldTerm):
    """h = -m_z e_z: the stray field of a thin slab, easy-plane anisotropy of strength 1."""

    calls = 0

    def compute(self, m, h):
        self.calls += 1
        h.x.array[:] = 0.0
        h.x.array[2::3] = -m.x.array[2::3]


class Quartic(llg.EnergyTerm):
    def density(self, m):
        return m[0] ** 4 + 0.3 * m[0] * m[1] ** 2


@pytest.fixture(scope="module")
def coarse():
    """A fine mesh of the unit square and a sparse GRPS basis on it."""
    h = refine_mesh(mesh.create_unit_square(MPI.COMM_WORLD, 6, 6), 2)
    kappa = llg.checkerboard(h.fine, 6, contrast=10.0, seed=3, low=0.02)
    basis = vector_basis(grps_basis(exchange_form(h.space, kappa), volume_measurement(h), ell=3))
    return h.fine, kappa, basis


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("degrees", [10.0, 60.0])
def test_one_spin_in_an_oblique_field(comm, method, degrees):
    """Q sin(theta) cos(theta) = h sin(psi - theta) (Stoner-Wohlfarth), at every node."""
    psi, h, q = math.radians(degrees), 0.4, 1.0
    msh = mesh.create_unit_cube(comm, 3, 2, 2)
    terms = [
        llg.Exchange(0.3),
        llg.UniaxialAnisotropy((0, 0, 1), q),
        llg.Zeeman((h * math.sin(psi), 0, h * math.cos(psi))),
    ]
    m = llg.magnetization(msh, (0.1, 0.2, 1))
    found = llg.minimise(llg.Energy(terms), m, torque=1e-10, method=method)
    theta = np.arctan2(m.x.array[0::3], m.x.array[2::3])
    rest = q * np.sin(theta) * np.cos(theta) - h * np.sin(psi - theta)
    # The torque itself, and m_y = 0.
    assert np.abs(rest).max() <= 1.1e-10
    assert np.abs(m.x.array[1::3]).max() < 1e-9
    assert found.torque <= 1e-10
    assert found.energy == pytest.approx(
        0.5 * q * math.sin(theta[0]) ** 2 - h * math.cos(psi - theta[0])
    )
    assert (found.products > 0) == (method == "trust_region")


@pytest.mark.parametrize("method", METHODS)
def test_bloch_wall(comm, method):
    """Energy 2 sqrt(kappa q), width pi sqrt(kappa/q); linear elements: second order in h."""
    errors = []
    for n in (100, 200):
        msh = mesh.create_interval(comm, n, [-10.0, 10.0])
        m = llg.magnetization(msh, lambda x: np.vstack([0 * x[0], 0.2 + 0 * x[0], -x[0]]))
        energy = llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1), 1.0)])
        found = llg.minimise(energy, m, torque=1e-7, method=method)
        errors.append(abs(found.energy - 2.0))
    assert errors[0] < 1e-2
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_helix(comm):
    """Linear elements on n cells: energies of a turn by 2 pi/n per cell in closed form."""
    n, kappa = 24, 0.05
    D, turn = 2.0 * math.pi * kappa, 2.0 * math.pi / n
    msh = mesh.create_unit_interval(comm, n)
    energy = llg.Energy([llg.Exchange(kappa), llg.BulkDMI(D)])

    def start(sign):
        def values(x):
            a = sign * 2.0 * np.pi * x[0] + 0.3 * np.sin(2.0 * np.pi * x[0])
            return np.vstack([0.3 * np.cos(2 * np.pi * x[0]), np.cos(a), np.sin(a)])

        return values

    values = []
    for sign in (1.0, -1.0):
        m = llg.magnetization(msh, start(sign))
        basis = llg.periodic_basis(m.function_space)
        values.append(llg.minimise(energy, m, torque=1e-9, basis=basis).energy)
        whole = fem.Function(m.function_space)
        whole.x.array[:] = m.x.array
        # It stays periodic: entering the basis again changes nothing.
        llg.minimise(energy, whole, torque=1e-8, basis=basis)
    exchange, dmi = kappa * (1.0 - math.cos(turn)) * n**2, D * math.sin(turn) * n
    # One of the two senses is favoured; the other is no minimum, and ends there too or elsewhere.
    assert min(values) == pytest.approx(exchange - dmi, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_nonquadratic(comm, method):
    """Cubic anisotropy q < 0 has its minima along <111>, of density q/6."""
    msh = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(msh, lambda x: np.vstack([1 + x[0], 1 + 0.5 * x[1], 0.8 + 0 * x[0]]))
    energy = llg.Energy([llg.Exchange(0.2), llg.CubicAnisotropy(-0.8)])
    found = llg.minimise(energy, m, torque=1e-9, method=method)
    np.testing.assert_allclose(m.x.array, 1 / math.sqrt(3), atol=1e-8)
    assert found.energy == pytest.approx(-0.8 / 6, abs=1e-12)
    assert found.stability().verdict == "minimum"


def test_no_step_raises_the_energy(comm):
    """Nor leaves the spheres; the steps report what they cost."""
    msh = mesh.create_unit_cube(comm, 3, 3, 3)
    energy = llg.Energy([llg.Exchange(0.02), llg.UniaxialAnisotropy((0, 0, 1), 0.5), Quartic()])
    for method in METHODS:
        m = llg.magnetization(msh, twisted)
        before = energy.total(m)
        for state in llg.minimise_steps(energy, m, method=method, torque=1e-6):
            now = energy.total(m)
            assert now <= before + 1e-14
            assert now - before == pytest.approx(state.change, rel=0.02, abs=1e-13)
            before = now
            assert np.abs(np.linalg.norm(m.x.array.reshape(-1, 3), axis=1) - 1).max() < 1e-14
        assert state.torque <= 1e-6
        assert state.evaluations > state.n > 0


def points(setting, comm):
    """Landscapes of all kinds with a point each."""
    fine, kappa, basis = setting
    cube = mesh.create_unit_cube(comm, 3, 2, 2)
    square = mesh.create_unit_square(comm, 5, 5)
    waves = llg.magnetization(
        square,
        lambda x: np.vstack([np.cos(6.2831853071795862 * x[0]), 1 + 0 * x[0], 0.5 + 0 * x[0]]),
    )
    for energy, m, P in (
        (
            llg.Energy([llg.Exchange(0.3), Quartic(), Slab()]),
            llg.magnetization(cube, twisted),
            None,
        ),
        (
            llg.Energy([llg.Exchange(0.3), llg.BulkDMI(0.4), Quartic()]),
            waves,
            llg.periodic_basis(waves.function_space),
        ),
        (
            llg.Energy([llg.Exchange(kappa), Quartic(), llg.Zeeman((0.1, 0.2, 0.3)), Slab()]),
            llg.magnetization(fine, twisted),
            basis,
        ),
    ):
        land = Landscape(energy, m, P, 0.0, Options("llg_test_"))
        yield land, land.enter(m), energy, m


def test_gradient_and_hessian_are_those_of_the_energy(comm, coarse):
    """Along a geodesic-like curve, by 5-point differences: 1e-3 steps leave 1e-12 and 1e-8."""
    for land, p, energy, m in points(coarse, comm):
        d = tangential(p.axis, np.cos(3.0 * p.axis + 0.5))
        d /= land.largest(land.turn(p, d))
        land.linearise(p)

        def at(s, land=land, p=p, d=d, energy=energy, m=m):
            land.assign(land.move(p, s * d), m)
            return energy.total(m)

        eps = 2e-3
        e = {k: at(k * eps) for k in (-2, -1, 0, 1, 2)}
        slope = (e[-2] - 8 * e[-1] + 8 * e[1] - e[2]) / (12 * eps)
        second = (-e[-2] + 16 * e[-1] - 30 * e[0] + 16 * e[1] - e[2]) / (12 * eps**2)
        assert land.dot(p.gradient, d) == pytest.approx(slope, rel=1e-7, abs=1e-9)
        Hd = land.hessian(p, d)
        assert land.dot(Hd, d) == pytest.approx(second, rel=1e-5, abs=1e-7)
        other = tangential(p.axis, np.sin(2.0 * p.axis))
        assert land.dot(land.hessian(p, d), other) == pytest.approx(
            land.dot(land.hessian(p, other), d), rel=1e-10
        )
        land.destroy()


def test_differences_of_the_energy(comm, coarse):
    """Exact for quadratic energies, whatever the step."""
    for land, p, energy, m in points(coarse, comm):
        land.assign(p, m)
        before = energy.total(m)
        q = land.move(p, 0.3 * tangential(p.axis, np.cos(p.axis)))
        land.assign(q, m)
        assert land.difference(p, q) == pytest.approx(energy.total(m) - before, rel=1e-9)
        land.destroy()


@pytest.mark.parametrize("method", METHODS)
def test_saddle_is_noticed_and_left(comm, method):
    """M exactly against the field: lambda = q - h in closed form, before and after."""
    msh = mesh.create_unit_cube(comm, 2, 2, 2)
    for h, left in ((0.9, False), (1.1, True)):
        terms = [
            llg.Exchange(0.2),
            llg.UniaxialAnisotropy((0, 0, 1), 1.0),
            llg.Zeeman((0, 0, -h)),
        ]
        energy = llg.Energy(terms)
        m = llg.magnetization(msh, (0, 0, 1))
        found = llg.minimise(energy, m, method=method)
        assert found.left_saddle == left
        stability = found.stability()
        assert stability.verdict == "minimum"
        assert stability.eigenvalue == pytest.approx(1.0 + (h if left else -h), abs=2e-5)
        # All spins turn together, as far as the eigensolver has come.
        turn = stability.mode.x.array.reshape(-1, 3)
        # Normal to m, which is the torque of the minimum, 1e-5, off the axis at most.
        np.testing.assert_allclose(turn[:, 2], 0.0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(turn, axis=1), 1.0, atol=0.02)
        if left:
            assert m.x.array[2::3].max(initial=-1.0) < -0.999
            m.x.array[:] = np.tile([0.0, 0.0, 1.0], len(m.x.array) // 3)
            stability = found.stability()
            assert stability.verdict == "saddle"
            assert stability.eigenvalue == pytest.approx(1.0 - h, abs=1e-6)


def test_undecided_where_the_state_is_lost(comm):
    msh = mesh.create_unit_square(comm, 3, 3)
    energy = llg.Energy(
        [llg.Exchange(0.2), llg.UniaxialAnisotropy((0, 0, 1), 1.0), llg.Zeeman((0, 0, -1.0))]
    )
    found = llg.minimise(energy, llg.magnetization(msh, (0, 0, 1)))
    assert not found.left_saddle
    options = {"scalar_ksp_type": "cg", "scalar_pc_type": "jacobi"}
    assert found.stability(petsc_options=options).verdict == "undecided"


def test_a_field_term_counts_in_full(comm):
    """-m_z e_z is an easy plane of strength 1: the same minimum, spectrum and work."""
    msh = mesh.create_unit_square(comm, 6, 6)
    slab = Slab()
    results = []
    for plane in (slab, llg.UniaxialAnisotropy((0, 0, 1), -1.0, implicit=False)):
        energy = llg.Energy(
            [
                llg.Exchange(0.05),
                plane,
                llg.UniaxialAnisotropy((1, 0, 0), 0.3),
                llg.Zeeman((0.2, 0.1, 0.4)),
            ]
        )
        for method in METHODS:
            m = llg.magnetization(msh, twisted)
            found = llg.minimise(energy, m, torque=1e-8, method=method)
            lowest = found.stability().eigenvalue
            results.append((m.x.array.copy(), found.energy, lowest))
    assert slab.calls > 20
    for values, _, lowest in results[1:]:
        # The consistent product of the anisotropy sees |m| < 1 inside the cells: nothing of it is
        # left where m is uniform, as here at the minimum.
        np.testing.assert_allclose(values, results[0][0], atol=1e-6)
        assert lowest == pytest.approx(results[0][2], rel=1e-5)


def test_auto_goes_on_with_newtons_models(comm, monkeypatch):
    """Where L-BFGS creeps: here at once, by a patience of no step."""
    msh = mesh.create_unit_square(comm, 4, 4)
    energy = llg.Energy([llg.Exchange(0.1), llg.UniaxialAnisotropy((1, 0, 0), 1.0), Slab()])
    found = []
    for patience in (40, 0):
        monkeypatch.setattr(sys.modules[llg.Equilibrium.__module__], "PATIENCE", patience)
        m = llg.magnetization(msh, twisted)
        found.append(llg.minimise(energy, m, torque=1e-8))
    assert [one.method for one in found] == ["lbfgs", "trust_region"]
    assert found[0].products == 0 < found[1].products
    assert found[1].energy == pytest.approx(found[0].energy, abs=1e-10)


def test_coarse_space(comm, coarse):
    """The minimum over normalised coarse functions: above the fine one, and close to it."""
    fine, kappa, basis = coarse
    field = fem.Function(llg.vector_space(fine))
    field.interpolate(lambda x: np.vstack([np.cos(4 * x[0]), np.sin(5 * x[1]), 0.5 + 0 * x[0]]))
    energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman(field)])
    full = llg.magnetization(fine, (0, 0.1, 1))
    best = llg.minimise(energy, full, torque=1e-8).energy
    for method in METHODS:
        m = llg.magnetization(fine, (0, 0.1, 1))
        found = llg.minimise(energy, m, torque=1e-8, basis=basis, method=method)
        assert best < found.energy < best + 0.02 * abs(best)
        assert np.abs(np.linalg.norm(m.x.array.reshape(-1, 3), axis=1) - 1).max() < 1e-14
        assert found.stability().verdict == "minimum"


def test_products_do_not_grow(comm):
    """Trust region: the model of each Newton step takes as many products at h and h/2."""
    counts = []
    for n in (16, 32):
        msh = mesh.create_unit_square(comm, n, n)
        kappa = llg.checkerboard(msh, 4, contrast=100.0, seed=1, low=0.002)
        energy = llg.Energy(
            [llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), 1.0), llg.Zeeman((0.3, 0, 0.2))]
        )
        counts.append(llg.minimise(energy, llg.magnetization(msh, twisted), torque=1e-6).products)
    assert counts[1] <= 1.25 * counts[0] + 4


def test_failure_keeps_the_state(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    energy = llg.Energy([llg.Exchange(0.01), llg.UniaxialAnisotropy((0, 0, 1), 1.0)])
    for method in METHODS:
        m = llg.magnetization(msh, twisted)
        before = energy.total(m)
        with pytest.raises(llg.ConvergenceError, match="max_iterations = 2") as caught:
            llg.minimise(energy, m, method=method, search=llg.Search(max_iterations=2), torque=1e-9)
        assert caught.value.iterations == 2
        assert energy.total(m) < before
        llg.minimise(energy, m, method=method)
    # A torque below round-off: said, not waited for.
    with pytest.raises(llg.ConvergenceError, match="torque of 1e-30"):
        llg.minimise(energy + llg.Zeeman((0.3, 0.2, 0.1)), m, torque=1e-30)


def test_bad_input(comm):
    msh = mesh.create_unit_square(comm, 2, 2)
    m = llg.magnetization(msh, (0, 0, 1))
    energy = llg.Energy([llg.Exchange(1.0)])
    with pytest.raises(ValueError, match="ZhangLi has no energy"):
        llg.minimise(energy + llg.ZhangLi((1.0, 0, 0), xi=0.1), m)
    for name, value in {"max_iterations": 0, "perturbation": 2.0, "seed": -1}.items():
        with pytest.raises(ValueError, match=name):
            llg.Search(**{name: value})
    for how in (llg.minimise, llg.minimise_steps):
        with pytest.raises(ValueError, match="torque"):
            how(energy, m, torque=0.0)
    with pytest.raises(ValueError, match="method"):
        llg.minimise(energy, m, method="newton")
    with pytest.raises(ValueError, match="tolerance"):
        llg.minimise(energy, m).stability(tolerance=-1.0)
    with pytest.raises(ValueError, match="seed"):
        llg.minimise(energy, m).stability(seed=-1)
    with pytest.warns(UserWarning, match="scalar_pc_tpye"):
        llg.minimise(energy, m).stability(petsc_options={"scalar_pc_tpye": "lu"})
    with pytest.warns(UserWarning, match="scalar_pc_tpye"):
        llg.minimise(energy, m, petsc_options={"scalar_pc_tpye": "lu"})
    with pytest.raises(ValueError, match="scalar_pc_type = 'nonsense'"):
        llg.minimise(energy, m).stability(petsc_options={"scalar_pc_type": "nonsense"})
    m.x.array[:] *= 2.0
    with pytest.raises(ValueError, match="unit length"):
        llg.minimise(energy, m)
    m.x.array[:] /= 2.0
    tilted = llg.magnetization(msh, lambda x: np.vstack([x[0], 1 - x[0], 0 * x[0] + 1]))
    with pytest.raises(ValueError, match="does not lie in the subspace"):
        llg.minimise(energy, tilted, basis=llg.periodic_basis(m.function_space))


def test_an_equilibrium_keeps_no_solver(comm):
    """400 of them are kept: MPI has 2048 communicators."""
    msh = mesh.create_unit_interval(comm, 3)
    energy = llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1), 1.0)])
    m = llg.magnetization(msh, (0.1, 0, 1))
    kept = [llg.minimise(energy, m) for _ in range(100)]
    assert all(found.torque <= 1e-5 for found in kept)


def test_models_of_the_tangent_plane(comm, coarse):
    """Assembled and matrix-free Hessians agree; CG minimises the model in the region."""
    msh = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(msh, twisted)
    energy = llg.Energy([llg.Exchange(0.2), Quartic(), llg.Zeeman((0, 0, 3.0))])
    land = Landscape(energy, m, None, 0.0, Options("llg_test_"))
    p = land.enter(m)
    hessian = TangentHessian(land, p)
    A = hessian.matrix(shift=0.5)
    x, y = hessian.vector(), hessian.vector()
    x.array[:] = np.cos(1.0 + np.arange(len(x.array)))
    A.mult(x, y)
    np.testing.assert_allclose(y.array, hessian.times(x.array) + 0.5 * x.array, atol=1e-12)
    found = truncated_cg(land, p, p.gradient, 0.01, 1e-8, 100)
    assert found.boundary
    assert found.size == pytest.approx(0.01)
    free = truncated_cg(land, p, p.gradient, 1e3, 1e-10, 200)
    rest = land.hessian(p, free.d) + p.gradient
    assert math.sqrt(land.dot(rest, rest)) < 1e-7 * math.sqrt(land.dot(p.gradient, p.gradient))
    assert free.decrease > found.decrease > 0.0
    for item in (A, x, y):
        item.destroy()
    land.destroy()


def test_relax_ends_where_minimise_does(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    energy = llg.Energy(
        [llg.Exchange(0.1), llg.UniaxialAnisotropy((0, 0, 1), 1.0), llg.Zeeman((0.3, 0, 0.2))]
    )
    m, n = llg.magnetization(msh, twisted), llg.magnetization(msh, twisted)
    seen = []
    found = llg.relax(energy, m, torque=1e-4, watch=lambda state: seen.append(state.max_dmdt))
    best = llg.minimise(energy, n, torque=1e-8)
    assert found.torque <= 1e-4
    assert found.method == "relax"
    assert found.steps == len(seen)
    # An angle of torque/field, squared, in an energy of 1.
    assert 0.0 <= found.energy - best.energy + 1e-14 < 1e-7
    np.testing.assert_allclose(m.x.array, n.x.array, atol=5e-4)
    assert found.stability().verdict == "minimum"
    with pytest.raises(llg.ConvergenceError, match="did not come to rest"):
        llg.relax(energy, llg.magnetization(msh, twisted), dynamics=llg.Dynamics(max_steps=3))
    with pytest.raises(ValueError, match="ZhangLi has no energy"):
        llg.relax(energy + llg.ZhangLi((1.0, 0, 0), xi=0.1), m)
    for name in ("torque", "damping"):
        with pytest.raises(ValueError, match=name):
            llg.relax(energy, m, **{name: 0.0})
    for name in ("rtol", "t_max", "max_steps"):
        with pytest.raises(ValueError, match=name):
            llg.Dynamics(**{name: 0})
