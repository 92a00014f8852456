# SPDX-License-Identifier: LGPL-3.0-or-later
"""The energy of a composite in the limit of small periods: tensors, means, dampings, bad input."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.homogenization import (
    HomogenizedEnergy,
    fluctuation_tensor,
    homogenize,
    homogenized_damping,
)

TAU = 2 * np.pi


def cube(comm, n=4, size=1.0, kind=mesh.CellType.hexahedron):
    return mesh.create_box(comm, [[0, 0, 0], [size] * 3], [n] * 3, cell_type=kind)


def layers(period=1.0, one=1.5, two=0.5):
    return lambda y: ufl.conditional(ufl.lt(ufl.sin(TAU * y[0] / period), 0.0), two, one)


def chess(y):
    return ufl.conditional(
        ufl.lt(ufl.sin(TAU * y[0]) * ufl.sin(TAU * y[1]) * ufl.sin(TAU * y[2]), 0.0), 0.5, 1.5
    )


def test_laminate(comm):
    """Variance times n x n, exact on the elements; a cell in 1D knows the other directions."""
    line = mesh.create_unit_interval(comm, 4)
    for cell in (line, cube(comm)):
        found = fluctuation_tensor(llg.cell_coefficient(cell, layers()), cell, exact_trace=False)
        assert found.mean == pytest.approx(1.0, rel=1e-12)
        assert found.variance == pytest.approx(0.25, rel=1e-12)
        np.testing.assert_allclose(found.tensor, np.diag([0.25, 0, 0]), atol=1e-12)
        assert abs(found.defect) < 1e-11
    # Layers across (1, 1, 0): v is a function of y_1 + y_2 alone, linear in each triangle.
    square = mesh.create_unit_square(comm, 4, 4, diagonal=mesh.DiagonalType.left)

    def oblique(y):
        return ufl.conditional(ufl.lt(ufl.sin(TAU * (y[0] + y[1])), 0.0), 0.5, 1.5)

    found = fluctuation_tensor(llg.cell_coefficient(square, oblique), square, exact_trace=False)
    expected = 0.125 * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(found.tensor, expected, atol=1e-12)


def test_smooth_and_cubic(comm):
    """A wave: 1/2 k x k/|k|^2; a chessboard: a third of the variance, its defect of order h."""
    wave = mesh.create_unit_square(comm, 8, 8)
    y = ufl.SpatialCoordinate(wave)
    found = fluctuation_tensor(
        2.0 + ufl.sin(TAU * (y[0] + 2 * y[1])), wave, exact_trace=False, degree=3
    )
    k = np.array([1.0, 2.0, 0.0])
    # P3 at 4 cells a wave across y_2: some (h/l)^6, 3e-4.
    np.testing.assert_allclose(found.tensor, 0.5 * np.outer(k, k) / 5, atol=1e-3)
    assert found.variance == pytest.approx(0.5, rel=1e-3)
    defects = []
    for n in (4, 8):
        cell = cube(comm, n)
        Ms = llg.cell_coefficient(cell, chess)
        found = fluctuation_tensor(Ms, cell, degree=1, exact_trace=False)
        defects.append(found.defect)
        np.testing.assert_allclose(found.tensor, np.trace(found.tensor) / 3 * np.eye(3), atol=1e-9)
        exact = fluctuation_tensor(Ms, cell, degree=1)
        np.testing.assert_allclose(exact.tensor, 0.25 / 3 * np.eye(3), atol=1e-9)
    assert 0.0 < defects[1] < 0.6 * defects[0]


def test_the_energy_of_a_run(comm):
    """Data on the mesh of the run, of many periods, taken to one of them."""
    period = 0.5
    run, cell = cube(comm, 8), cube(comm, 4, period)
    Ms = llg.cell_coefficient(run, layers(period))
    kappa = llg.cell_coefficient(run, layers(period, 9.0, 1.0))
    q_u = llg.cell_coefficient(run, layers(period, 2.0, 0.0))
    axis = fem.Function(fem.functionspace(run, ("DG", 0, (3,))))
    turned = llg.cell_coefficient(run, layers(period, 1.0, 0.0)).x.array > 0.5
    axis.x.array.reshape(-1, 3)[:] = np.where(turned[:, None], [0, 0, 1], [0, 1, 0])
    energy = llg.Energy(
        [
            llg.Exchange(kappa),
            llg.UniaxialAnisotropy((0, 0, 1), q_u),
            llg.UniaxialAnisotropy(axis, 3.0),
            llg.CubicAnisotropy(q_u),
            llg.Zeeman((0.1, 0, 0), Ms=Ms),
            llg.StrayField(run, Ms, progress=False, accuracy=1e-3),
        ],
        Ms=Ms,
    )
    macro = cube(comm, 2)
    found = homogenize(energy, cell, macro=macro, damping=0.3)
    assert isinstance(found, HomogenizedEnergy)
    assert found.Ms == pytest.approx(1.0, rel=1e-12)
    # P2 on layers that are cells: harmonic and arithmetic mean.
    np.testing.assert_allclose(found.kappa_hom, np.diag([1.8, 5.0, 5.0]), rtol=1e-9, atol=1e-9)
    names = found.names()
    assert list(names) == [
        "Exchange", "UniaxialAnisotropy", "TensorAnisotropy", "CubicAnisotropy", "Zeeman",
        "LocalStrayField", "StrayField",
    ]  # fmt: skip
    assert names["UniaxialAnisotropy"].q_u == pytest.approx(1.0)
    np.testing.assert_allclose(names["TensorAnisotropy"].matrix, np.diag([3, 1.5, 1.5]), atol=1e-12)
    assert names["CubicAnisotropy"].q_c == pytest.approx(1.0)
    np.testing.assert_allclose(names["LocalStrayField"].matrix, np.diag([0.25, 0, 0]), atol=1e-12)
    assert names["LocalStrayField"].implicit
    assert (found.damping, found.time_factor) == (0.3, 1.0)
    assert names["StrayField"].options()["accuracy"] == 1e-3
    m = llg.magnetization(macro, (1, 0, 0))
    parts = found.by_term(m)
    assert parts["LocalStrayField"] == pytest.approx(0.125, rel=1e-12)
    assert parts["StrayField"] == pytest.approx(1 / 6, rel=2e-2)  # 2 cells a side
    assert parts["Zeeman"] == pytest.approx(-0.1, rel=1e-12)
    for _ in llg.march(llg.gao(found, m, dt=0.01, damping=found.damping), t_end=0.01):
        pass
    with pytest.raises(ValueError, match="pass the mesh of the magnet"):
        homogenize(energy, cell)
    with pytest.raises(ValueError, match=r"Ms is not periodic in y_1.*0\.25 away"):
        homogenize(energy_of(Ms), cube(comm, 2, 0.25), macro=macro)
    with pytest.raises(ValueError, match="does not contain the cell"):
        homogenize(energy_of(Ms), cube(comm, 2, 1.5), macro=macro)


def energy_of(Ms):
    return llg.Energy([llg.Exchange(1.0)], Ms=Ms)


def test_damping(comm):
    cell = mesh.create_unit_interval(comm, 4)
    Ms, alpha = (llg.cell_coefficient(cell, layers(1.0, *pair)) for pair in ((3, 1), (0.2, 0.6)))
    found, factor = homogenized_damping(llg.Gilbert(alpha), Ms, cell)
    assert found.alpha == pytest.approx((3 * 0.2 + 0.6) / 4, rel=1e-12)
    assert factor == 1.0
    assert homogenized_damping(0.7, Ms, cell) == (0.7, 1.0)
    # Two spins of Ms 3 and 1 tied together in a field h, by the sum of their torques: with
    # (m_t - lambda m x m_t)/(1 + lambda^2) = -m x h each, m turns and falls at these rates.
    found, factor = homogenized_damping(alpha, Ms, cell)
    a, b = 1.5 / 1.04 + 0.5 / 1.36, 0.3 / 1.04 + 0.3 / 1.36
    precession, fall = 2.0 * a / (a * a + b * b), 2.0 * b / (a * a + b * b)
    assert factor == pytest.approx(precession, rel=1e-12)
    assert factor * found == pytest.approx(fall, rel=1e-12)


def test_bad_input(comm):
    cell, other = cube(comm, 2), cube(comm, 3)
    Ms = llg.cell_coefficient(cell, layers())
    energy = energy_of(Ms)
    Ms.x.array[:] = -1.0
    with pytest.raises(ValueError, match=r"Ms must be positive"):
        homogenize(energy, cell)
    with pytest.raises(ValueError, match=r"Ms must be positive"):
        homogenize(energy, cell, macro=other)
    with pytest.raises(ValueError, match="Ms must be positive"):
        fluctuation_tensor(-1.0, cell)
    y = ufl.SpatialCoordinate(cell)
    with pytest.raises(ValueError, match="Ms is not periodic in y_2"):
        fluctuation_tensor(1.0 + y[1], cell)
    with pytest.raises(ValueError, match="Ms is a formula on another mesh"):
        fluctuation_tensor(1.0 + ufl.SpatialCoordinate(other)[0], cell)
    with pytest.raises(ValueError, match="macro and damping belong to an Energy"):
        homogenize(1.0, cell, macro=other)
    with pytest.raises(ValueError, match="alpha must be positive"):
        homogenized_damping(llg.Gilbert(-0.1), 1.0, cell)
    varying = llg.Energy([llg.Exchange(1.0), llg.BulkDMI(llg.cell_coefficient(cell, layers()))])
    with pytest.raises(ValueError, match="BulkDMI of a strength that varies"):
        homogenize(varying, cell)
    with pytest.raises(ValueError, match="must be symmetric"):
        llg.TensorAnisotropy([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match=r"matrix must have shape \(3, 3\)"):
        llg.TensorAnisotropy([1.0, 2.0, 3.0])
    assert not llg.TensorAnisotropy(np.diag([1.0, 0, -1])).implicit


def test_tensor_anisotropy_is_the_sum_of_axes(comm):
    msh = cube(comm, 2)
    m = llg.magnetization(msh, lambda x: np.stack([1 + x[0], x[1], 0.3 - x[2]]))
    axes = [(1, 0, 0), (0.6, 0.8, 0)]
    terms = [llg.UniaxialAnisotropy(axis, q) for axis, q in zip(axes, (1.0, 0.5), strict=True)]
    Q = sum(
        q * (np.eye(3) - np.outer(axis, axis)) for axis, q in zip(axes, (1.0, 0.5), strict=True)
    )
    one = llg.Energy([llg.TensorAnisotropy(Q)])
    assert one.total(m) == pytest.approx(llg.Energy(terms).total(m), rel=1e-12)
