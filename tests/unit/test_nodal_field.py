# SPDX-License-Identifier: LGPL-3.0-or-later
"""The lumped nodal field against stencils, energies and closed forms; stability limits."""

import math

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.periodic import periodic_basis
from dolfinx_llg.physics.literature import hmm_ex2_initial
from dolfinx_llg.schemes.nodal import integrate
from dolfinx_llg.schemes.stability import stability_limit
from dolfinx_llg.solvers.nodal_field import NodalField


def test_periodic_square_is_the_five_point_stencil(comm):
    n = 6
    msh = mesh.create_unit_square(comm, n, n)
    m = llg.magnetization(msh, hmm_ex2_initial)
    field = NodalField(llg.Energy([llg.Exchange(0.7)]), m, periodic_basis(m.function_space))
    values = field.nodal(m)
    assert comm.allreduce(len(values)) == n * n
    assert comm.allreduce(field.volumes.sum()) == pytest.approx(1.0, abs=1e-14)

    H = llg.vector_space(msh)
    out = fem.Function(H)
    field.assign(out, field(values, 0.0))

    def at(shift_x, shift_y):
        shifted = fem.Function(H)
        shifted.interpolate(
            lambda x: hmm_ex2_initial(np.add(x, [[shift_x / n], [shift_y / n], [0]]))
        )
        return shifted.x.array

    stencil = at(1, 0) + at(-1, 0) + at(0, 1) + at(0, -1) - 4 * at(0, 0)
    # Second differences lose 4 n^2 eps of values near 1, here 3e-14.
    np.testing.assert_allclose(out.x.array, 0.7 * n**2 * stencil, atol=1e-12)
    # 4/h^2 per axis is its largest eigenvalue, as n is even; power iterations stay below it.
    assert 0.8 < field.largest_frequency() / (0.7 * 8 * n**2) <= 1 + 1e-12
    assert field.dot(values, values) == pytest.approx(n * n)


class Quartic(llg.EnergyTerm):
    def density(self, m):
        return m[0] ** 4 + m[0] * m[1]


def test_field_is_the_slope_of_the_energy(comm):
    """-sum_i Ms_i h_i.v_i equals dE/ds along v: exact for the quartic by a 5-point quotient."""
    msh = mesh.create_unit_square(comm, 3, 4)
    Ms = fem.Function(fem.functionspace(msh, ("DG", 0)))
    Ms.interpolate(lambda x: 1 + (x[0] > 0.5))
    energy = llg.Energy([llg.Exchange(1.0), Quartic(), llg.Zeeman((0.3, 0, 0), Ms=Ms)], Ms=Ms)
    m = llg.magnetization(msh, hmm_ex2_initial)
    field = NodalField(energy, m)
    assert not field.quadratic
    values = field.nodal(m)
    direction = np.sin(7.0 * values)
    trial = fem.Function(m.function_space)

    def along(s):
        field.assign(trial, values + s * direction)
        return energy.total(trial)

    slope = (along(-2) - 8 * along(-1) + 8 * along(1) - along(2)) / 12
    product = field.dot(field.volumes[:, None] * field(values, 0.0), direction)
    assert -product == pytest.approx(slope, rel=1e-12)


class Pulse(llg.Zeeman):
    """An applied field that grows with time, through ``update``."""

    def __init__(self, msh):
        self.strength = fem.Constant(msh, 0.0)
        super().__init__(ufl.as_vector([0.0, 0.0, self.strength]))

    def update(self, m, t):
        self.strength.value = 3.0 * t


def test_time_dependent_term(comm):
    """The vector m turns about e_3 by 3 t^2/2, at every node; RK4 is exact to 1e-9."""
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, (1, 0, 0))
    field = NodalField(llg.Energy([Pulse(msh), llg.Exchange(1.0)]), m)
    assert field.dynamic
    *_, (t, values) = integrate("rk4_p", field, field.nodal(m), 0.0, 0.01, 50, 0.0)
    angle = 1.5 * t**2
    exact = np.tile([math.cos(angle), math.sin(angle), 0], (len(values), 1))
    np.testing.assert_allclose(values, exact, atol=1e-9)
    assert field.evaluations == 200


def test_change_of_data_is_found_by_refresh(comm):
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, (1, 0, 0))
    strength = fem.Constant(msh, 1.0)
    field = NodalField(llg.Energy([llg.Zeeman(ufl.as_vector([strength, 0.0, 0.0]))]), m)
    values = field.nodal(m)
    np.testing.assert_allclose(field(values, 0.0)[:, 0], 1.0, atol=1e-14)
    assert not field.refresh(0.0, values)
    strength.value = 2.0
    assert field.refresh(0.0, values)
    np.testing.assert_allclose(field(values, 0.0)[:, 0], 2.0, atol=1e-14)


def test_only_periodic_bases(comm):
    msh = mesh.create_unit_interval(comm, 4)
    m = llg.magnetization(msh, (1, 0, 0))
    half = periodic_basis(m.function_space)
    half.components[0].scale(0.5)  # one matrix for all three
    with pytest.raises(ValueError, match="must identify nodes"):
        NodalField(llg.Energy([llg.Exchange(1.0)]), m, half)
    other = periodic_basis(llg.vector_space(mesh.create_unit_interval(comm, 5)))
    with pytest.raises(ValueError, match="belongs to another space"):
        NodalField(llg.Energy([llg.Exchange(1.0)]), m, other)


def test_stability_limits_of_textbooks():
    """Ends of the real axis (alpha -> infinity) and of the imaginary one (alpha = 0)."""
    steep = 1e6  # dt omega alpha is the reach along the negative real axis
    for method, real in (("heun_p", 2.0), ("rk4_p", 2.78529), ("mpe", 1.0), ("mpea", 6 / 11)):
        assert steep * stability_limit(method, steep) == pytest.approx(real, abs=1e-4)
    assert stability_limit("rk4_p", 0.0) == pytest.approx(2 * math.sqrt(2), abs=1e-4)
    assert stability_limit("mpea", 0.0) == pytest.approx(0.7236, abs=1e-4)
    # |1 + z + z^2/2|^2 = 1 + y^4/4 on the imaginary axis: a growth g allows y = (8 g)^(1/4).
    assert stability_limit("heun_p", 0.0, 1e-3) == pytest.approx(0.008**0.25, rel=1e-3)


@pytest.mark.parametrize("method", ["heun_p", "rk4_p", "mpe", "mpea"])
def test_stability_limit_holds_in_a_run(comm, method):
    """A ripple of the fastest mode dies 5 % below the limit and grows 5 % above it."""
    n, alpha = 8, 0.5
    msh = mesh.create_unit_interval(comm, n)
    nothing = np.zeros_like
    m = llg.magnetization(
        msh, lambda x: np.array([nothing(x[0]) + 1, 1e-6 * np.cos(n * np.pi * x[0]), nothing(x[0])])
    )
    field = NodalField(llg.Energy([llg.Exchange(1.0)]), m, periodic_basis(m.function_space))
    for factor in (0.95, 1.05):
        dt = factor * stability_limit(method, alpha) / (4 * n**2)
        *_, (_, values) = integrate(method, field, field.nodal(m), 0.0, dt, 100, alpha)
        ripple = math.sqrt(field.dot(values[:, 1:], values[:, 1:]) / n)
        assert (ripple < 1e-6) == (factor < 1), ripple


def test_stability_limit_of_bad_input():
    with pytest.raises(ValueError, match="damping must be at least 0 and finite, got -1"):
        stability_limit("mpe", -1.0)
    with pytest.raises(ValueError, match=r"growth must be in \[0, 0.1\], got 1"):
        stability_limit("mpe", 1.0, 1.0)
    with pytest.raises(ValueError, match=r"method must be 'heun_p', .*, got 'euler'"):
        stability_limit("euler", 1.0)
