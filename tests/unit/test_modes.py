# SPDX-License-Identifier: LGPL-3.0-or-later
"""Eigenmodes against closed forms: spin waves, the Bloch wall, one spin; what is refused."""

import math

import numpy as np
import pytest
from dolfinx import mesh
from scipy.optimize import brentq

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)

HARD = 0.7


def wall_frequencies(L, q_hard, count):
    """Winter's spin waves over a Bloch wall of width 1 in the middle of a free interval.

    (tanh x - i k) exp(i k x), real and imaginary parts, with a derivative of 0 at the ends: tan kL
    = k or -1/k up to exp(-2L); omega^2 = (1 + k^2)(1 + k^2 + q_hard), from k = 0 on.
    """
    k = [0.0]
    for index in range(1, count):  # one in each half turn: odd ones and even ones in turn
        low, high = (index - 0.5) * math.pi / 2 / L, (index + 1.5) * math.pi / 2 / L
        odd = index % 2 == 0
        f = (lambda x: math.sin(x * L) - x * math.cos(x * L)) if odd else (
            lambda x: x * math.sin(x * L) + math.cos(x * L)
        )  # fmt: skip
        k.append(brentq(f, low, high))
    e = 1 + np.array(k) ** 2
    return np.sqrt(e * (e + q_hard))


def wall(comm, n, L=12.0):
    msh = mesh.create_interval(comm, n, [-L, L])
    energy = llg.Energy(
        [
            llg.Exchange(1.0),
            llg.UniaxialAnisotropy((0, 0, 1), 1.0),
            llg.UniaxialAnisotropy((1, 0, 0), -HARD, implicit=False),
        ]
    )
    m = llg.magnetization(msh, lambda x: np.vstack([0 * x[0], 1 / np.cosh(x[0]), np.tanh(x[0])]))
    llg.minimise(energy, m, torque=1e-8)
    return energy, m


@pytest.mark.parametrize("solver", ["direct", "krylov"])
def test_winter_modes(comm, solver):
    """Second order in h (0.12: 3e-3), the shift of the wall named."""
    energy, m = wall(comm, 200)
    modes = llg.eigenmodes(energy, m, 6, solver=solver)
    assert modes.zero.tolist() == [True] + [False] * 5
    assert modes.omega[0] < 5e-3
    np.testing.assert_allclose(modes.omega[1:], wall_frequencies(12.0, HARD, 5), rtol=3e-3)
    # The mode that shifts the wall is its derivative, sech; b tilts it out of the plane.
    a, b = (f.x.array.reshape(-1, 3) for f in (modes.real[0], modes.imaginary[0]))
    shift = a if np.abs(a[:, 0]).max(initial=0) < np.abs(a[:, 1:]).max(initial=0) else b
    x = m.function_space.tabulate_dof_coordinates()[:, 0]
    size = np.linalg.norm(shift, axis=1)
    largest = max(comm.allgather(size.max(initial=0.0)))
    np.testing.assert_allclose(size / largest, 1 / np.cosh(x), atol=0.02)


@pytest.mark.parametrize("solver", ["direct", "krylov"])
def test_spin_waves_of_a_torus(comm, solver):
    """Omega = h + kappa k^2, k^2 that of the five-point stencil: exact, degenerate ones too."""
    n, kappa, h = 12, 0.05, 0.7
    msh = mesh.create_unit_square(comm, n, n)
    energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman((0, 0, h))])
    m = llg.magnetization(msh, (0, 0, 1))
    modes = llg.eigenmodes(energy, m, 9, basis=llg.periodic_basis(m.function_space), solver=solver)
    k = np.arange(-2, 3)
    waves = 4 * n**2 * np.add.outer(*[np.sin(np.pi * k / n) ** 2] * 2).ravel()
    expected = np.sort(h + kappa * waves)[:9]
    np.testing.assert_allclose(modes.omega, expected, rtol=1e-9)
    # Circular: amplitudes decay by damping times omega; the uniform mode alone is driven, by 1/2.
    np.testing.assert_allclose(modes.widths, expected, rtol=1e-6)
    strengths = modes.strengths((1, 0, 0))
    assert strengths[0] == pytest.approx(0.5, rel=1e-6)
    assert strengths[1:].max() < 1e-10
    assert not modes.zero.any()


def test_one_elliptic_spin(comm):
    """Kittel: omega^2 = (h + q)(h + q + p), decay (2h + 2q + p)/2; field across, in closed form."""
    q, p, h = 0.5, 0.8, 0.3
    msh = mesh.create_unit_square(comm, 2, 2)
    energy = llg.Energy(
        [
            llg.Exchange(5.0),
            llg.UniaxialAnisotropy((0, 0, 1), q),
            llg.UniaxialAnisotropy((1, 0, 0), -p, implicit=False),
            llg.Zeeman((0, 0, h)),
        ]
    )
    modes = llg.eigenmodes(energy, llg.magnetization(msh, (0, 0, 1)), 1)
    a, b = h + q, h + q + p
    assert modes.omega[0] == pytest.approx(math.sqrt(a * b), rel=1e-8)
    assert modes.widths[0] == pytest.approx((a + b) / 2, rel=1e-8)
    assert modes.lowest == pytest.approx(a, rel=1e-6)
    # chi of the soft direction y near resonance: omega b / (2 omega) / (omega - ...) -> b/2 ... .
    soft, hard = modes.strengths((0, 1, 0))[0], modes.strengths((1, 0, 0))[0]
    assert soft / hard == pytest.approx(b / a, rel=1e-6)
    assert soft == pytest.approx(b / (2 * math.sqrt(a * b)) * 1.0, rel=1e-6)


class Slab(llg.FieldTerm):
    def compute(self, m, h):
        h.x.array[:] = 0.0
        h.x.array[0::3] = -m.x.array[0::3]


def test_fields_with_a_solve_are_in_the_operator(comm):
    """A slab normal to x in a field h along z: Kittel's sqrt(h (h + 1))."""
    msh = mesh.create_unit_square(comm, 4, 4)
    energy = llg.Energy([llg.Exchange(1.0), Slab(), llg.Zeeman((0, 0, 0.4))])
    m = llg.magnetization(msh, (0, 0, 1))
    modes = llg.eigenmodes(energy, m, 2)
    assert modes.omega[0] == pytest.approx(math.sqrt(0.4 * 1.4), rel=1e-7)
    with pytest.raises(ValueError, match="solver='direct'"):
        llg.eigenmodes(energy, m, 2, solver="direct")


def test_no_minimum_is_refused(comm):
    msh = mesh.create_unit_square(comm, 3, 3)
    for solver in ("direct", "krylov"):
        energy = llg.Energy([llg.Exchange(0.5), llg.Zeeman((0, 0, -0.7))])
        m = llg.magnetization(msh, (0, 0, 1))
        with pytest.raises(ValueError, match=r"not a minimum: lowest eigenvalue .* -0\.7"):
            llg.eigenmodes(energy, m, 2, solver=solver)
    tilted = llg.magnetization(msh, (0.3, 0, -1))
    with pytest.raises(ValueError, match="not a minimum: the largest nodal"):
        llg.eigenmodes(energy, tilted, 2)
    rest = llg.magnetization(msh, (0, 0, -1))
    with pytest.raises(ValueError, match="k must be at most 16"):
        llg.eigenmodes(energy, rest, 17)
    with pytest.raises(ValueError, match="k must"):
        llg.eigenmodes(energy, rest, 0)
    with pytest.raises(ValueError, match="direction"):
        llg.eigenmodes(energy, rest, 1).strengths((0, 0, 0))


def test_coarse_space(comm):
    """Modes among coarse increments: above the fine ones, second order; both solvers agree."""
    h = refine_mesh(mesh.create_unit_square(comm, 6, 6), 2)
    kappa = llg.checkerboard(h.fine, 6, contrast=10.0, seed=3, low=0.02)
    basis = vector_basis(grps_basis(exchange_form(h.space, kappa), volume_measurement(h), ell=3))
    energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman((0, 0, 0.5))])
    m = llg.magnetization(h.fine, (0, 0, 1))
    fine = llg.eigenmodes(energy, m, 4).omega
    coarse = [
        llg.eigenmodes(energy, m, 4, basis=basis, solver=solver).omega
        for solver in ("direct", "krylov")
    ]
    np.testing.assert_allclose(coarse[0], coarse[1], rtol=1e-6)
    assert np.all(coarse[0] > fine * (1 - 1e-4))  # localization perturbs constants a little
    np.testing.assert_allclose(coarse[0], fine, rtol=0.02)


def elliptic_spin(comm, q=0.5, p=0.8):
    """One spin along z with the stiffnesses q along y and q + p along x."""
    msh = mesh.create_unit_square(comm, 2, 2)
    energy = llg.Energy(
        [
            llg.Exchange(5.0),
            llg.UniaxialAnisotropy((0, 0, 1), q),
            llg.UniaxialAnisotropy((1, 0, 0), -p, implicit=False),
        ]
    )
    return energy, llg.magnetization(msh, (0, 0, 1)), np.diag([q + p, q])


def test_susceptibility_of_one_spin(comm):
    """To first order in damping: i omega x = (J - damping)(H x - b), J the turn about z.

    At omega = 0 and without damping it is H^-1 whatever the modes are.
    """
    damping = 2e-3
    energy, m, H = elliptic_spin(comm)
    modes = llg.eigenmodes(energy, m, 1)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]]) - damping * np.eye(2)
    omega = np.concatenate([np.linspace(0.0, 3.0, 13), modes.omega[0] * (1 + 1e-3 * np.arange(9))])
    for axis, unit in enumerate(np.eye(2)):
        exact = [np.linalg.solve(turn @ H - 1j * w * np.eye(2), turn @ unit)[axis] for w in omega]
        found = modes.susceptibility((*unit, 0), omega, damping)
        np.testing.assert_allclose(found, exact, atol=5 * damping * np.abs(exact).max())
        assert found[0].real == pytest.approx(1 / H[axis, axis], rel=1e-5)
    assert np.all(-found.imag[1:] > 0.0)
    gilbert = modes.susceptibility((0, 1, 0), omega, llg.Gilbert(damping))
    np.testing.assert_array_equal(gilbert, found)
    with pytest.raises(ValueError, match="damping"):
        modes.susceptibility((0, 1, 0), omega, 0.0)
    with pytest.raises(ValueError, match="direction"):
        modes.susceptibility((0, 0, 0), omega, damping)


def test_modes_in_motion(comm):
    """The ellipse of a spin: its axes as the roots of the stiffnesses, turning with time as m does.

    dm/dt = -m x h turns m about z counterclockwise: a quarter of a period after m_x > 0 follows
    m_y > 0.
    """
    energy, m, H = elliptic_spin(comm)
    modes = llg.eigenmodes(energy, m, 1)
    path = []
    for phase in np.linspace(0.0, 2 * np.pi, 9):
        modes.displace(m, 0, phase=phase, angle=0.3)
        assert llg.length_defect(m) < 1e-12
        path.append([np.mean(comm.allgather(m.x.array[i::3].mean())) for i in range(3)])
    x, y, z = np.transpose(path)
    assert np.arccos(z.min()) == pytest.approx(0.3, abs=1e-6)
    tangent = np.abs([x / z, y / z]).max(axis=1)
    assert tangent[0] / tangent[1] == pytest.approx(math.sqrt(H[1, 1] / H[0, 0]), rel=1e-6)
    assert np.all(x[:-1] * y[1:] - y[:-1] * x[1:] > 0.0)
    for bad in ({"number": 1}, {"number": 0, "angle": 2.0}, {"number": 0, "phase": math.nan}):
        with pytest.raises(ValueError, match=r"number|angle|phase"):
            modes.displace(m, **bad)
    other = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (0, 0, 1))
    with pytest.raises(ValueError, match="mesh"):
        modes.displace(other, 0)


def test_no_easy_direction(comm):
    """Exchange alone: every uniform turn is free, m is no strict minimum, and the mode says so."""
    msh = mesh.create_unit_square(comm, 4, 4)
    energy = llg.Energy([llg.Exchange(1.0)])
    for solver in ("direct", "krylov"):
        modes = llg.eigenmodes(energy, llg.magnetization(msh, (0, 0.6, 0.8)), 2, solver=solver)
        assert modes.zero.tolist() == [True, False]
        assert modes.omega[0] < 1e-3 * modes.omega[1]
    found = llg.minimise(energy, llg.magnetization(msh, (0, 0.6, 0.8)))
    assert found.stability().verdict == "undecided"
