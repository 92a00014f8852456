# SPDX-License-Identifier: LGPL-3.0-or-later
"""Matrices on coarse cells: sums, products in modes and around V, with and without kernels."""

import numpy as np
import pytest

from dolfinx_llg.reduction import local_modes
from dolfinx_llg.reduction.block_products import BlockProducts
from dolfinx_llg.reduction.cell_matrices import CROSS, CellMatrices


def parts_of(modes, rng, count):
    """Return random matrices of each group of cells."""
    sizes = [(g.cells.stop - g.cells.start, g.modes) for g in modes.groups]
    return [rng.standard_normal((n, count, r, r)) for n, r in sizes]


def expected_image(modes, terms, y):
    """Return the images in modes by a sum over all components."""
    out = np.zeros_like(y)
    for X, E in terms:
        for group, x in zip(modes.groups, X, strict=True):
            own = y[group.cells, : group.modes]
            out[group.cells, : group.modes] += np.einsum("nqik,qba,nkb->nia", x, E, own)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_products(space, dtype, count, monkeypatch):
    """One, few and more terms than pairs of components; the kernels, and NumPy in their place."""
    h, _, basis = space
    modes = local_modes(h, basis.components, tolerance=1e-3)
    rng = np.random.default_rng(h.comm.rank)
    terms = [(parts_of(modes, rng, 1), np.eye(3)[None])]
    terms += [(parts_of(modes, rng, 3), CROSS)] * (count > 0)
    terms += [(parts_of(modes, rng, 4), rng.standard_normal((4, 3, 3)))] * (count - 1)
    terms = [([x.astype(dtype).astype(float) for x in X], E) for X, E in terms]
    matrices = CellMatrices(modes, dtype)
    for X, E in terms:
        matrices.add(X, E)
    c = np.cos(np.arange(3.0 * basis.dim)).reshape(-1, 3)
    y = modes.gather(c)
    expected = expected_image(modes, terms, y)
    size = np.abs(expected).max(initial=0.0)
    found = modes.join(matrices.apply([y[g.cells, : g.modes] for g in modes.groups]))
    # Sums are in double precision, those that make nine matrices of many in that of the matrices.
    np.testing.assert_allclose(found, expected, atol=1e-13 * size)
    tolerance = 1e-13 if dtype is np.float64 or count < 3 else 1e-6
    loads = modes.spread(expected)
    copy = matrices.copy()
    size = np.abs(loads).max(initial=0.0)
    np.testing.assert_allclose(matrices.image(c), loads, atol=tolerance * size)
    most = 9 if count == 3 else 1 + 3 * (count > 0)
    cells = [(g.cells.stop - g.cells.start) * g.modes**2 for g in modes.groups]
    assert matrices.nbytes == np.dtype(dtype).itemsize * most * sum(cells)
    monkeypatch.setattr(type(modes.tables[0]), "native", False)
    np.testing.assert_allclose(copy.image(c), loads, atol=tolerance * size)


def test_nothing_has_no_image(space):
    h, _, basis = space
    modes = local_modes(h, basis.components, tolerance=1e-1)
    matrices = CellMatrices(modes, np.float64)
    matrices.add(parts_of(modes, np.random.default_rng(0), 0), np.zeros((0, 3, 3)))
    assert matrices.nbytes == 0
    assert not matrices.image(np.ones((basis.dim, 3))).any()


@pytest.mark.parametrize("p", [1, 2, 5, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("single", [False, True])
def test_kernel(comm, p, dtype, single):
    """Blocks of one row to two vectors, columns that meet and that stand in the padding."""
    rng, n, columns = np.random.default_rng(p), 3, 11
    values = rng.standard_normal((n, p, 6))
    numbers = rng.integers(0, columns + 1, (n, 6))
    numbers.sort(axis=1)
    products = BlockProducts(
        comm,
        [(values, np.arange(n * p).reshape(n, p), numbers)],
        (n * p, columns),
        single=single,
    )
    if not products.native:
        pytest.skip("no compiler")
    X, E = rng.standard_normal((n, 2, p, p)).astype(dtype), rng.standard_normal((2, 3, 3))
    x = rng.standard_normal((columns, 3))
    y = products.apply(x).reshape(n, p, 3)
    z = np.einsum("nqik,qba,nkb->nia", X.astype(float), E, y)
    expected = products.transposed(z.reshape(-1, 3))
    np.testing.assert_allclose(products.around(x, [X], E), expected, atol=1e-12)
