# SPDX-License-Identifier: LGPL-3.0-or-later
"""Resolved composites with a stray field tend to their homogenized limit as eps -> 0."""

import numpy as np
import pytest
import ufl
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.homogenization import homogenize

HEX = mesh.CellType.hexahedron
CELLS = 4  # of a period


def indicator(kind, y):
    waves = [ufl.sin(2 * np.pi * y[i]) for i in range(3)]
    product = waves[0] if kind == "laminate" else waves[0] * waves[1] * waves[2]
    return ufl.lt(product, 0.0)


def energies(comm, kind, periods, state):
    """Stray field energies of the resolved cube, of the limit, and of the limit without D."""
    n, eps = periods * CELLS, 1.0 / periods
    msh = mesh.create_unit_cube(comm, n, n, n, cell_type=HEX)
    cell = mesh.create_box(comm, [[0.0] * 3, [eps] * 3], [CELLS] * 3, cell_type=HEX)
    Ms = llg.cell_coefficient(
        msh, lambda x: ufl.conditional(indicator(kind, [x[i] / eps for i in range(3)]), 1.5, 0.5)
    )
    stray = llg.StrayField(msh, Ms, progress=False)
    energy = llg.Energy([llg.Exchange(1.0), stray], Ms=Ms)
    # The tensor of the elements of the runs: only eps matters then.
    limit = homogenize(energy, cell, macro=msh, degree=1, exact_trace=False)
    m = llg.magnetization(msh, state)
    parts = limit.by_term(m)
    return stray.energy(m), parts["StrayField"] + parts["LocalStrayField"], parts["StrayField"]


@pytest.mark.parametrize("kind", ["laminate", "checkerboard"])
def test_energies_tend_to_the_limit(comm, kind):
    """Of order eps, from the surface; without the tensor they would not."""

    def state(x):
        return np.stack([1 + 0 * x[0], 0.5 * x[1], 0.3 * x[0]])

    table = np.array([energies(comm, kind, periods, state) for periods in (2, 4)])
    errors, missed = np.abs(table[:, 1:] - table[:, :1]).T
    # Order 1 in the limit; the coarser one has two periods a side.
    assert errors[1] < 0.65 * errors[0]
    assert errors[1] < 0.4 * missed[1] if kind == "laminate" else errors[1] < missed[1]
    assert missed[1] > 0.8 * missed[0]
