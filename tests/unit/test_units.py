# SPDX-License-Identifier: LGPL-3.0-or-later
"""Units: numbers known from the literature, round trips, and energies computed in both systems."""

from __future__ import annotations

import math
import warnings

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

from dolfinx_llg.physics.units import (
    GAMMA0,
    MU0,
    Material,
    Regions,
    Units,
    check_mesh_size,
    domain_wall_width,
    exchange_length,
)

COMM = MPI.COMM_WORLD
EPS = np.finfo(np.float64).eps
PERMALLOY = Material(Ms=8e5, A=1.3e-11, alpha=0.02)
COBALT = Material(1.4e6, 3e-11, alpha=0.1, K_u=5.2e5, easy_axis=(0, 0, 2))
PAIRS = [
    ("time_from_s", "time_to_s"),
    ("length_from_m", "length_to_m"),
    ("field_from_A_per_m", "field_to_A_per_m"),
    ("field_from_T", "field_to_T"),
    ("energy_from_J", "energy_to_J"),
    ("kappa_from_A", "kappa_to_A"),
    ("q_u_from_K_u", "q_u_to_K_u"),
    ("q_c_from_K_c1", "q_c_to_K_c1"),
    ("dmi_from_D", "dmi_to_D"),
]


def close(value: float, rel: float) -> object:
    """Relative comparison only: pytest's default absolute tolerance would swallow SI numbers."""
    return pytest.approx(value, rel=rel, abs=0.0)


def test_permalloy_numbers() -> None:
    # Standard problem 4 quotes 5.69 nm as the exchange length of its permalloy.
    assert exchange_length(1.3e-11, 8e5) == close(5.69e-9, rel=1e-3)
    units = Units.for_materials(PERMALLOY)
    # 1 / (2.2128e5 * 8e5) s, mu0 Ms = 1.0053 T, mu0 Ms^2 = 8.0425e5 J/m3: by hand, 5 digits.
    assert units.time_unit == close(5.6489e-12, rel=1e-4)
    assert units.field_to_T(1.0) == close(1.00531, rel=1e-5)
    assert units.energy_unit == close(8.04248e5 * 1e-27, rel=1e-5)
    # kappa is the squared exchange length in mesh units (nm here).
    assert units.kappa_from_A(1.3e-11) == close(32.328, rel=1e-4)
    assert Units(8e5, length=1.0).kappa_from_A(1.3e-11) == close(32.328e-18, rel=1e-4)
    assert units.q_u_from_K_u(5e4) == close(0.124340, rel=1e-5)
    assert units.q_c_from_K_c1(5e4) == units.q_u_from_K_u(5e4)
    assert units.dmi_from_D(3e-3) == close(3e-3 / (8.04248e5 * 1e-9), rel=1e-5)
    # Cobalt: sqrt(30e-12 / 5.2e5).
    assert domain_wall_width(3e-11, 5.2e5) == close(7.596e-9, rel=1e-3)


def test_constants() -> None:
    assert close(1.25663706212e-6, rel=1e-9) == MU0  # CODATA 2018
    # CODATA: |gamma_e| = 1.76085963e11 rad/(s T); the default is rounded to 5 digits.
    assert close(MU0 * 1.76085963e11, rel=3e-5) == GAMMA0


def test_macrospin_period_in_si() -> None:
    """A spin in 1 T turns at |gamma_e| B / 2 pi = 28.025 GHz, damped by 1/(1 + alpha^2)."""
    units = Units.for_materials(PERMALLOY, length=1e-9)
    h = units.field_from_T(1.0)
    period = units.time_to_s(2 * math.pi / h)
    assert 1 / period == close(28.025e9, rel=3e-5)
    # The dimensionless equation run for one such period returns the spin (alpha = 0), RK4.
    m = np.array([0.6, 0.0, 0.8])
    steps = 400
    dt = units.time_from_s(period) / steps

    def rate(m: np.ndarray) -> np.ndarray:
        return -np.cross(m, [0.0, 0.0, h])

    for _ in range(steps):
        k1 = rate(m)
        k2 = rate(m + dt / 2 * k1)
        k3 = rate(m + dt / 2 * k2)
        k4 = rate(m + dt * k3)
        m = m + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    # RK4's phase error is (2 pi)^5 / (120 steps^4) = 3e-9.
    np.testing.assert_allclose(m, [0.6, 0.0, 0.8], atol=1e-8)


@pytest.mark.parametrize(("there", "back"), PAIRS)
def test_round_trips(there: str, back: str) -> None:
    units = Units(Ms0=7.31e5, length=3.7e-9, gamma0=2.2e5)
    values = np.array([-3.3e-12, 0.0, 0.17, 5.1e7])
    to, fro = getattr(units, there), getattr(units, back)
    # One division and one multiplication: each rounds once.
    np.testing.assert_allclose(fro(to(values)), values, rtol=4 * EPS)
    assert fro(to(0.17)) == close(0.17, rel=4 * EPS)
    assert isinstance(to(0.17), float)
    np.testing.assert_array_equal(to(values)[2], to(0.17))


@pytest.mark.parametrize("length", [1e-9, 2.5e-9, 1.0])
def test_energy_equals_si_integral(length: float) -> None:
    """Every energy of a smooth m, integrated in SI and in dimensionless form."""
    K_u, K_c1, D, H = 4e4, -2e4, 2e-3, 3e5
    units = Units(Ms0=9e5, length=length)  # the reference differs from the material's Ms
    side = 30e-9 / length
    msh = mesh.create_rectangle(COMM, [[0.0, 0.0], [side, side]], [6, 6])
    x = ufl.SpatialCoordinate(msh)
    angle = 3 * x[0] / side + x[1] / side
    m = ufl.as_vector([ufl.cos(angle), ufl.sin(angle) * 0.6, ufl.sin(angle) * 0.8])
    grad2 = ufl.inner(ufl.grad(m), ufl.grad(m))
    cubic = m[0] ** 2 * m[1] ** 2 + m[1] ** 2 * m[2] ** 2 + m[2] ** 2 * m[0] ** 2
    curl = ufl.as_vector([m[2].dx(1), -m[2].dx(0), m[1].dx(0) - m[0].dx(1)])
    dx = ufl.dx(domain=msh, metadata={"quadrature_degree": 4})

    def integral(density: ufl.core.expr.Expr) -> float:
        return COMM.allreduce(fem.assemble_scalar(fem.form(density * dx)))

    relative_Ms = units.field_from_A_per_m(PERMALLOY.Ms)
    terms = [  # (dimensionless density, SI density written with lengths in metres)
        (units.kappa_from_A(1.3e-11) / 2 * grad2, 1.3e-11 * grad2 / length**2),
        (units.q_u_from_K_u(K_u) / 2 * (1 - m[2] ** 2), K_u * (1 - m[2] ** 2)),
        (units.q_c_from_K_c1(K_c1) / 2 * cubic, K_c1 * cubic),
        (units.dmi_from_D(D) * ufl.dot(m, curl), D * ufl.dot(m, curl) / length),
        (-relative_Ms * units.field_from_A_per_m(H) * m[0], -MU0 * PERMALLOY.Ms * H * m[0]),
    ]
    for dimensionless, si in terms:
        # The SI integral is over mesh units: times L^2 for the area and L for the thickness.
        joules = integral(si) * length**3
        assert units.energy_to_J(integral(dimensionless)) == close(joules, rel=100 * EPS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Ms": 0.0}, "Ms must be positive and finite, got 0.0"),
        ({"A": -1e-11}, "A must be positive and finite, got -1e-11"),
        ({"A": math.nan}, "A must be positive and finite, got nan"),
        ({"alpha": 0.0}, "alpha must be positive and finite, got 0.0"),
        ({"K_u": math.inf}, "K_u must be finite, got inf"),
        ({"D": math.nan}, "D must be finite, got nan"),
        ({"K_u": 1e4}, "easy_axis must be given where K_u is not zero, got None"),
        ({"K_u": 1e4, "easy_axis": (0, 0, 0)}, "easy_axis must be three finite numbers"),
        ({"easy_axis": (1.0, math.nan, 0.0)}, "easy_axis must be three finite numbers"),
        ({"easy_axis": (1.0, 0.0)}, "easy_axis must be three finite numbers"),
    ],
)
def test_bad_materials(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Material(**({"Ms": 8e5, "A": 1.3e-11, "alpha": 0.02} | change))


def test_bad_units_and_lengths() -> None:
    for change in ({"Ms0": -1.0}, {"length": 0.0}, {"gamma0": math.nan}):
        name, value = next(iter(change.items()))
        with pytest.raises(ValueError, match=f"{name} must be positive and finite, got {value}"):
            Units(**({"Ms0": 8e5} | change))
    with pytest.raises(ValueError, match="at least one Material"):
        Units.for_materials([])
    with pytest.raises(ValueError, match=r"Ms must be positive and finite, got 0.0"):
        exchange_length(1e-11, np.array([8e5, 0.0]))
    with pytest.raises(ValueError, match=r"K_u must be positive and finite, got -1.0"):
        domain_wall_width(1e-11, -1.0)


def test_easy_axis_is_normalised() -> None:
    assert COBALT.easy_axis == (0.0, 0.0, 1.0)
    for scale in (1e-300, 1.0, 1e300):
        axis = Material(8e5, 1e-11, alpha=1.0, easy_axis=(3 * scale, 0, -4 * scale)).easy_axis
        np.testing.assert_allclose(axis, [0.6, 0.0, -0.8], rtol=4 * EPS)


def test_reference_is_the_largest_magnetization() -> None:
    units = Units.for_materials([PERMALLOY, COBALT], length=2e-9)
    assert (units.Ms0, units.length, units.gamma0) == (1.4e6, 2e-9, GAMMA0)


def _two_regions() -> tuple[mesh.Mesh, mesh.MeshTags, np.ndarray]:
    """40 x 40 x 10 nm in cells of 5 nm: tag 1 where x < 20, else tag 2."""
    msh = mesh.create_box(
        COMM, [[0.0, 0.0, 0.0], [40.0, 40.0, 10.0]], [8, 8, 2], mesh.CellType.hexahedron
    )
    cells = msh.topology.index_map(3)
    local = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
    left = mesh.compute_midpoints(msh, 3, local)[:, 0] < 20
    tags = mesh.meshtags(msh, 3, local, np.where(left, 1, 2).astype(np.int32))
    return msh, tags, left


def test_regions() -> None:
    msh, tags, left = _two_regions()
    units = Units.for_materials([PERMALLOY, COBALT])
    fields = Regions.from_cell_tags(msh, tags, {1: PERMALLOY, 2: COBALT}, units)
    scale = MU0 * 1.4e6**2
    expected = {
        "kappa": (2 * 1.3e-11 / scale * 1e18, 2 * 3e-11 / scale * 1e18),
        "q_u": (0.0, 2 * 5.2e5 / scale),
        "q_c": (0.0, 0.0),
        "dmi": (0.0, 0.0),
        "Ms": (8 / 14, 1.0),
        "alpha": (0.02, 0.1),
    }
    for name, (one, two) in expected.items():
        field = getattr(fields, name)
        assert field.name == name
        np.testing.assert_allclose(field.x.array, np.where(left, one, two), rtol=8 * EPS)
    axes = fields.easy_axis.x.array.reshape(-1, 3)
    np.testing.assert_array_equal(axes, np.tile([0.0, 0.0, 1.0], (len(axes), 1)))
    with pytest.raises(ValueError, match=r"no value for the cell tags \[2\]"):
        Regions.from_cell_tags(msh, tags, {1: PERMALLOY}, units)


def test_mesh_size_against_exchange_length() -> None:
    msh, tags, _ = _two_regions()  # cells of 5 nm: their diagonal is 8.660 nm
    units = Units.for_materials([PERMALLOY, COBALT])
    both = {1: PERMALLOY, 2: COBALT}
    with pytest.warns(UserWarning, match="too coarse") as caught:
        ratio = check_mesh_size(msh, both, units, cell_tags=tags)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "region 1 measure up to 8.66e-09 m, its exchange length 5.69e-09 m" in text
    assert "region 2 measure up to 8.66e-09 m, its exchange length 4.94e-09 m" in text
    assert len(set(COMM.allgather(text))) == 1
    assert ratio == close(8.660e-9 / exchange_length(3e-11, 1.4e6), rel=1e-3)

    hard = Material(8e5, 1.3e-11, alpha=0.1, K_u=1e6, easy_axis=(1, 0, 0))
    with pytest.warns(UserWarning, match=r"of the mesh .* wall parameter sqrt\(A/K_u\) 3.61e-09 m"):
        check_mesh_size(msh, hard, units)
    # Only one of two regions is at fault: an exaggerated A in the other.
    with pytest.warns(UserWarning, match="too coarse") as caught:
        check_mesh_size(msh, {1: Material(8e5, 1e-9, alpha=1), 2: COBALT}, units, cell_tags=tags)
    assert "region 1" not in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = Units(8e5, length=1e-10)  # the same mesh ten times smaller
        assert check_mesh_size(msh, PERMALLOY, fine) < 1
    with pytest.raises(ValueError, match="cell_tags must be given"):
        check_mesh_size(msh, both, units)
