# SPDX-License-Identifier: LGPL-3.0-or-later
"""Micro problems of the spatial HMM, their adjoint, the macro grid: parts against dense oracles."""

from mpi4py import MPI  # isort: skip

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.hmm import (
    MacroGrid,
    MicroBox,
    MicroNumerics,
    PeriodicStencil,
    SpectralField,
    UpscaledField,
    homogenize_cell,
)
from dolfinx_llg.hmm.space.adjoint import (
    compress,
    condensed_nodes,
    field_functionals,
    flux_functionals,
    interpolation_matrix,
)
from dolfinx_llg.hmm.space.box import (
    field_weights,
    flux_functional,
    free_nodes,
    sample_edges,
    spectral_bound,
)
from dolfinx_llg.hmm.space.grid import Stations
from dolfinx_llg.hmm.space.micro import heun_p, make_batches, run_batches
from dolfinx_llg.hmm.space.resolved import trigonometric
from dolfinx_llg.hmm.space.share import gather_rows, own_part, unique_rows
from dolfinx_llg.hmm.space.stiffness import stiffness
from dolfinx_llg.physics.literature import (
    HMM_EX1_KAPPA_HOM,
    HMM_EX2_KAPPA_HOM,
    hmm_eq40,
    hmm_ex1,
    hmm_ex1_initial,
    hmm_ex2,
)
from dolfinx_llg.schemes.stability import stability_limit

pytestmark = pytest.mark.most_ranks(2)

EPS = 0.02


def small_box(dim: int = 1, **changes: object) -> MicroBox:
    sizes = {"mu": 1.5 * EPS, "mu_outer": 2.25 * EPS, "eta": 0.4 * EPS**2, "points_per_eps": 6}
    return MicroBox(dim, EPS, **(sizes | changes))  # type: ignore[arg-type]


def coefficient(dim: int):
    return hmm_ex1(EPS) if dim == 1 else hmm_ex2(EPS)


def test_heun_limit() -> None:
    for damping in (0.05, 0.5, 1.2, 3.0):
        s = stability_limit("heun_p", damping)
        R = [abs(1 + z + z * z / 2) for z in (1j - damping) * s * np.array([0.5, 0.99, 1.0, 1.01])]
        assert R[0] < 1
        assert R[1] < 1 < R[3]
        assert R[2] == pytest.approx(1.0, abs=1e-9)
    # 8 alpha = s^3 to leading order, as |R|^2 = 1 - 2 alpha s + s^4/4 + ...
    assert stability_limit("heun_p", 1e-4) == pytest.approx(2 * 1e-4 ** (1 / 3), rel=0.05)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_stencil(dim: int) -> None:
    """Exact for quadratic data and a linear coefficient, symmetric, empty on the boundary."""
    box = small_box(dim, points_per_eps=2)
    edges = sample_edges(box, lambda x: 2 + x[0] / EPS, np.array([[0.1] * dim]))
    matrix, _ = stiffness(box, edges)
    axes = np.meshgrid(*[box.nodes] * dim, indexing="ij")
    x = np.stack([a.ravel() for a in axes])
    inside = free_nodes(box)
    # div((2 + X/eps) grad x^2) with X = 0.1 + x, x = x_0: 2 (2 + X/eps) + 2 x/eps.
    expected = 2 * (2 + (0.1 + x[0]) / EPS) + 2 * x[0] / EPS
    got = matrix @ x[0] ** 2
    assert np.abs(got - expected)[inside].max() < 1e-10 * np.abs(expected).max()
    assert np.abs(got[~inside]).max() == 0.0
    dense = matrix.toarray()[inside][:, inside]
    assert np.abs(dense - dense.T).max() == 0.0
    assert -np.linalg.eigvalsh(dense).min() <= spectral_bound(box, edges)


@pytest.mark.parametrize("dim", [1, 2])
def test_averages_of_polynomials(dim: int) -> None:
    """The discrete kernels reproduce the derivative at the centre (p = 3 vanishing moments)."""
    box = small_box(dim)
    edges = np.full((1, sample_edges(box, lambda x: x[0], np.zeros((1, dim))).shape[1]), 1.5)
    x = np.stack([a.ravel() for a in np.meshgrid(*[box.nodes] * dim, indexing="ij")])
    data = 0.3 + 2 * x[0] + 5 * x[0] ** 2 - 40 * x[0] ** 3
    assert field_weights(box) @ (stiffness(box, edges)[0] @ data) == pytest.approx(15.0, rel=1e-9)
    flux = flux_functional(box, edges)[:, 0] @ data
    # A cubic's difference quotient differs from its derivative by -40 h^2/4.
    expected = np.zeros(dim)
    expected[0] = 1.5 * (2 - 10 * box.spacing**2)
    np.testing.assert_allclose(flux, expected, atol=1e-10)


def linear_heun(box: MicroBox, L: np.ndarray, data: np.ndarray, n_steps: int) -> np.ndarray:
    """Time average of m for m' = (alpha - i) L m, by Heun, written out."""
    weights, z = box.time_weights(n_steps), (box.damping - 1j) * box.eta / n_steps
    m, total = data.astype(complex), np.zeros(len(data), dtype=complex)
    for weight in weights:
        total += weight * m
        k1 = z * (L @ m)
        m = m + 0.5 * (k1 + z * (L @ (m + k1)))
    return total


@pytest.mark.parametrize("dim", [1, 2])
def test_adjoint_transposes_heun(dim: int) -> None:
    box = small_box(dim)
    edges = sample_edges(box, coefficient(dim), np.array([[0.013] * dim, [0.0071] * dim]))
    n_steps = box.n_steps(spectral_bound(box, edges))
    data = np.random.default_rng(3).random(box.n_nodes)
    field = field_functionals(box, edges, n_steps)
    flux = flux_functionals(box, edges, n_steps)
    for p in range(2):
        L, _ = stiffness(box, edges[p : p + 1])
        mean = linear_heun(box, L, data, n_steps)
        expected = field_weights(box) @ (L @ mean)
        # Both stop where the rest of the average is below 1e-10; rough data make large fields.
        size = np.abs(L @ data).max()
        assert abs(field[p] @ data - expected) < 1e-8 * size
        size = np.abs(flux_functional(box, edges[p : p + 1])).sum()
        expected = flux_functional(box, edges[p : p + 1])[:, 0] @ mean
        assert np.abs(flux[p] @ data - expected).max() < 1e-8 * size


def test_condensed_functionals_are_exact_for_smooth_data() -> None:
    box = small_box(2)
    edges = sample_edges(box, hmm_ex2(EPS), np.zeros((1, 2)))
    functional = field_functionals(box, edges, 100)
    condensed = compress(box, functional)

    def data(nodes: np.ndarray) -> np.ndarray:
        x, y = np.meshgrid(nodes, nodes, indexing="ij")
        return np.exp(-0.4 * np.cos(2 * np.pi * (x - 0.2)) + np.sin(2 * np.pi * (x + y))).ravel()

    full = functional[0] @ data(box.nodes)
    # Degree 12 on a box of 0.09: (0.3)^13/13! and the second difference quotient, 1e5.
    assert abs(condensed[0] @ data(condensed_nodes(box)) - full) < 1e-8 * abs(full)


def test_interpolation_is_exact_for_polynomials() -> None:
    nodes, x = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), np.array([-1.7, 0.0, 0.3])
    expected = np.vander(x, 5)
    np.testing.assert_allclose(interpolation_matrix(nodes, x) @ np.vander(nodes, 5), expected)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_stations_interpolate(axis: int | None) -> None:
    """The stencil of every station takes the right grid points, across the period too."""
    grid = MacroGrid(2, 16)
    stations = Stations(grid, axis)
    angles = 2 * np.pi * grid.points
    m = np.stack([np.cos(angles[:, 0]), np.sin(angles[:, 0]) * np.cos(angles[:, 1]),
                  np.sin(angles[:, 0]) * np.sin(angles[:, 1])], axis=1)  # fmt: skip
    nodes = np.array([-0.05, 0.0, 0.03])
    got = stations.initial(stations.interpolation(nodes), m, np.arange(grid.n_points))
    offsets = np.stack([g.ravel() for g in np.meshgrid(nodes, nodes, indexing="ij")], axis=1)
    angles = 2 * np.pi * (stations.centres[:, None] + offsets)
    exact = np.stack([np.cos(angles[..., 0]), np.sin(angles[..., 0]) * np.cos(angles[..., 1]),
                      np.sin(angles[..., 0]) * np.sin(angles[..., 1])], axis=-1)  # fmt: skip
    # Degree 4 at step 1/16: (2 pi/16)^5 times 0.03; degree 3 along a staggered axis.
    assert np.abs(got - exact).max() < 2e-3
    assert np.abs(np.linalg.norm(got, axis=-1) - 1).max() < 1e-14


@pytest.mark.parametrize("dim", [1, 2])
def test_periodic_box(dim: int) -> None:
    """L is exact for a quadratic, L_0 for a periodic perturbation: up to the boundary."""
    box = small_box(dim, mu_outer=2.0 * EPS, boundary="periodic")
    edges = np.full((1, dim * box.n_nodes // len(box.nodes) * box.n_cells), 1.5)
    x = np.stack([a.ravel() for a in np.meshgrid(*[box.nodes] * dim, indexing="ij")])
    L, L0 = stiffness(box, edges)
    np.testing.assert_allclose(L @ (x[-1] ** 2), 3.0, rtol=1e-9)
    wave = np.sin(2 * np.pi * x[-1] / (4 * EPS) + 0.3)
    symbol = 1.5 * (2 / box.spacing * np.sin(np.pi / box.n_cells)) ** 2
    np.testing.assert_allclose(L0 @ wave, -symbol * wave, atol=1e-9 * symbol)
    free = free_nodes(box)
    dense = L0.toarray()[free][:, free]
    assert np.abs(dense - dense.T).max() == 0.0
    assert np.abs(L0.toarray()[:, ~free]).max(initial=0.0) == 0.0
    with pytest.raises(ValueError, match="needs at least 6 steps"):
        small_box(points_per_eps=2, mu=0.5 * EPS, mu_outer=1.0 * EPS, boundary="periodic")
    with pytest.raises(ValueError, match="boundary must be 'dirichlet' or 'periodic', got 'free'"):
        small_box(boundary="free")


@pytest.mark.parametrize("upscaling", ["field", "flux"])
def test_adjoint_of_periodic_boxes(upscaling) -> None:
    """The nonlinear micro problem and its adjoint, whose remainder is quadratic in |grad M| mu'."""
    box = small_box(mu=2.0 * EPS, mu_outer=2.0 * EPS, boundary="periodic")
    edges = sample_edges(box, coefficient(1), np.zeros((1, 1)))
    n_steps = box.n_steps(spectral_bound(box, edges))
    data = np.ascontiguousarray(hmm_ex1_initial(box.nodes[None]).T)
    M = data[len(data) // 2]
    batches = make_batches(box, edges, np.zeros(1, dtype=np.int64), n_steps)
    found, _ = run_batches(box, batches, lambda _: data[None].copy(), n_steps, upscaling)
    functional = field_functionals if upscaling == "field" else flux_functionals
    weights = functional(box, edges, n_steps).reshape(-1)
    linear = weights.real @ data + np.cross(M, weights.imag @ data)
    difference = found.reshape(3) - linear
    difference -= (difference @ M) * M
    assert np.abs(difference).max() < 2e-3 * np.abs(linear).max()
    # The homogenized coefficient: with Dirichlet conditions and no room around mu it is 6 % off.
    slope = (data[-1] - data[0]) / (4 * EPS)
    if upscaling == "flux":
        ratio = (found.reshape(3) @ slope) / (slope @ slope)
        assert ratio == pytest.approx(HMM_EX1_KAPPA_HOM, rel=1e-2)


def test_length_of_polynomial_data_is_kept() -> None:
    """P is not of unit length, and the equation keeps the length that it has."""
    box = small_box()
    edges = sample_edges(box, coefficient(1), np.zeros((1, 1)))
    n_steps = box.n_steps(spectral_bound(box, edges))
    (batch,) = make_batches(box, edges, np.zeros(1, dtype=np.int64), n_steps)
    m = np.stack([1 + box.nodes, 3 * box.nodes, 0.5 + 0 * box.nodes])[:, :, None]
    length = np.linalg.norm(m, axis=0)
    for _ in heun_p(box, batch.step, None, m, n_steps):
        np.testing.assert_allclose(np.linalg.norm(m, axis=0), length, rtol=1e-13)


def test_symbol_of_the_macro_stencil() -> None:
    """The bound of the eigenvalues is that of the alternating grid function."""
    for k in range(1, 5):
        grid = MacroGrid(1, 10, k)
        x = np.array([-1e-4, 0.0, 1e-4])
        rows = Stations(grid).interpolation(x)
        second = (rows[0] - 2 * rows[1] + rows[2]) / 1e-8
        alternating = (-1.0) ** np.arange(-k, k + 1)
        assert -second @ alternating == pytest.approx(grid.omega(1.0), rel=1e-4)


def test_local_fields_of_an_energy(comm: MPI.Intracomm) -> None:
    """Anisotropy and an applied field that varies in time, beside the exchange over Ms."""
    grid, axis = MacroGrid(1, 20), np.array([0.6, 0.0, 0.8])
    terms = [
        llg.Exchange(hmm_ex1(EPS)),
        llg.UniaxialAnisotropy(axis, 3.0),
        llg.Zeeman(lambda t: (0.0, t, 0.0), Ms=2.0),
    ]
    m = np.ascontiguousarray(hmm_ex1_initial(grid.points.T).T)
    exchange = UpscaledField(comm, grid, small_box(), hmm_ex1(EPS), micro="adjoint")(m)
    field = UpscaledField(comm, grid, small_box(), llg.Energy(terms, Ms=2.0), micro="adjoint")
    anisotropy = -3.0 * (m - (m @ axis)[:, None] * axis)
    for t in (0.0, 0.7):
        # The applied field is divided by nothing: its energy is -Ms m.h.
        expected = (exchange + anisotropy) / 2 + [0.0, t, 0.0]
        np.testing.assert_allclose(field(m, t), expected, atol=1e-12 * np.abs(exchange).max())
    for term, message in (
        (llg.InterfacialDMI(0.1), "InterfacialDMI holds the gradient of m"),
        (llg.UniaxialAnisotropy(axis, llg.cell_coefficient(
            mesh.create_unit_interval(comm, 4), 1.0)), "data of a mesh go with upscaled_tensor"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            UpscaledField(comm, grid, small_box(), llg.Energy([terms[0], term]))


def test_batches_do_not_change_results() -> None:
    """Problems that share a coefficient, advanced together or one by one."""
    box = small_box()
    edges = sample_edges(box, coefficient(1), np.array([[0.0], [0.004]]))
    n_steps = box.n_steps(spectral_bound(box, edges))
    data = np.random.default_rng(5).random((300, box.n_nodes, 3)) * 0.02 + [0.0, 0.0, 1.0]
    data /= np.linalg.norm(data, axis=2, keepdims=True)
    patch = np.arange(300) % 2
    for upscaling in ("field", "flux", "torque"):
        together = make_batches(box, edges, patch, n_steps)
        assert len(together[0].edges) == 1  # shared
        values, growth = run_batches(box, together, lambda p: data[p], n_steps, upscaling)
        few = make_batches(box, edges, patch[:3], n_steps)
        assert len(few) == 1
        assert len(few[0].edges) == 3  # not shared
        alone, _ = run_batches(box, few, lambda p: data[p], n_steps, upscaling)
        np.testing.assert_allclose(alone, values[:3], rtol=1e-10, atol=1e-9)
        assert growth < 1.0


def test_sharing(comm: MPI.Intracomm) -> None:
    rows = np.arange(20.0)[:, None] % 3 + np.array([[1.0, 10.0, 100.0]])
    own = own_part(comm, len(rows))
    assert np.array_equal(gather_rows(comm, rows[own]), rows)
    blocks = iter([rows[own][:2] * (1 + 1e-14 * comm.rank), rows[own][2:]])
    number, distinct = unique_rows(comm, blocks, 3)
    assert len(distinct) == 3
    np.testing.assert_allclose(distinct[number], rows)
    number, distinct = unique_rows(comm, [rows[:1] if comm.rank == 0 else rows[:0]], 3)
    assert len(distinct) == 1  # ranks without rows


def test_cell_problem_of_the_stencil(record_property) -> None:
    """Second order, and 6e-5 at 10 points a period; P1 with exact quadrature is far from that."""
    errors = []
    for n in (10, 20):
        found, chi = homogenize_cell(PeriodicStencil(2, n, hmm_ex2(1.0)))
        errors.append(np.abs(found - HMM_EX2_KAPPA_HOM).max())
        np.testing.assert_allclose(found, found.T, atol=1e-13)
        assert np.abs(chi.mean(axis=0)).max() < 1e-14
    period = mesh.create_unit_square(MPI.COMM_SELF, 10, 10)
    exact = llg.homogenization.homogenize(
        llg.Energy([llg.Exchange(hmm_ex2(1.0))]), period, degree=1
    )
    p1 = np.abs(exact.kappa_hom - HMM_EX2_KAPPA_HOM).max()
    record_property("error of the stencil at 10 points a period", errors[0])
    record_property("error of P1 with exact quadrature", p1)
    assert p1 > 50 * errors[0]
    assert errors[0] < 7e-5
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_spectral_field_and_interpolant() -> None:
    field = SpectralField(2, 12, [[2.0, 0.5], [0.5, 1.0]])
    x, y = 2 * np.pi * field.points.T
    m = np.stack([np.sin(x), np.cos(x + y), np.sin(2 * y)], axis=1)
    k2 = 4 * np.pi**2
    expected = -k2 * np.stack([2 * np.sin(x), 4 * np.cos(x + y), 4 * np.sin(2 * y)], axis=1)
    np.testing.assert_allclose(field(m), expected, atol=1e-10)
    point = np.array([[0.137, 0.61]])
    u, v = 2 * np.pi * point[0]
    got = trigonometric(m, 12, point)[0]
    np.testing.assert_allclose(got, [np.sin(u), np.cos(u + v), np.sin(2 * v)], atol=1e-13)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mu": 3 * EPS}, "mu = 0.06, is larger than the micro box"),
        ({"mu": 0.1 * EPS}, "less than one period"),
        ({"eta": 0.0}, "eta must be positive and finite, got 0.0"),
        ({"eta": -1.0}, "eta must be positive"),
        ({"eta": float("nan")}, "eta must be positive"),
        ({"damping": 0.0}, "damping must be positive"),
        ({"points_per_eps": 1}, "points_per_eps must be an integer >= 2"),
    ],
)
def test_bad_boxes(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_box(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p_time": -1}, "p must be an integer"),
        ({"p_time": 12}, "amplifies errors"),
        ({"q_space": 99}, "q must be an integer"),
        ({"dt": 0.0}, "dt must be positive"),
    ],
)
def test_bad_numerics(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MicroNumerics(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("grid", "box", "kappa", "message"),
    [
        (MacroGrid(1, 60), small_box(), hmm_ex1(EPS), "larger than the macro step"),
        (MacroGrid(1, 45), small_box(), hmm_ex1(EPS), "leaves the interpolation stencil"),
        (MacroGrid(2, 20), small_box(), hmm_ex1(EPS), "has dimension 1, the grid 2"),
        (MacroGrid(1, 20), small_box(), hmm_ex1(0.021), "not periodic over 1 along axis 0"),
        (MacroGrid(1, 20), small_box(), lambda x: np.sin(2 * np.pi * x[0]), "must be positive"),
        (MacroGrid(1, 20), small_box(), lambda x: np.log(0 * x[0]) * 0, "not periodic"),
    ],
)
def test_bad_macro_problems(comm, grid, box, kappa, message) -> None:
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=message):
        UpscaledField(comm, grid, box, kappa)


def test_bad_choices(comm: MPI.Intracomm) -> None:
    for name, value in (("upscaling", "energy"), ("micro", "both"), ("initial", "Q")):
        with pytest.raises(ValueError, match=f"{name} must be .* got '{value}'"):
            UpscaledField(comm, MacroGrid(1, 20), small_box(), hmm_ex1(EPS), **{name: value})
    field = UpscaledField(comm, MacroGrid(1, 20), small_box(), hmm_ex1(EPS))
    with pytest.raises(ValueError, match=r"shape \(20, 3\), got \(3, 20\)"):
        field(np.zeros((3, 20)))
    with pytest.raises(ValueError, match="n must be an integer >= 5"):
        MacroGrid(1, 4)


@pytest.mark.parametrize("micro", ["adjoint", "nonlinear"])
def test_unstable_micro_problem(comm: MPI.Intracomm, micro) -> None:
    """Found on all ranks, and the stable step is named."""
    grid, kappa = MacroGrid(1, 20), hmm_eq40(EPS)
    stable = UpscaledField(comm, grid, small_box(), kappa, micro=micro)
    m = hmm_ex1_initial(grid.points.T).T.copy()
    stable(m)
    dt = stable.box.stable_dt(stable.omega)
    field = UpscaledField(
        comm, grid, small_box(numerics=MicroNumerics(dt=1.5 * dt)), kappa, micro=micro
    )
    with pytest.raises(RuntimeError, match=f"is unstable.*stable up to dt = {dt:.3g}"):
        field(m)
