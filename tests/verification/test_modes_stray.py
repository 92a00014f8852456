# SPDX-License-Identifier: LGPL-3.0-or-later
"""Eigenmodes with the stray field in the operator: Kittel's formula for ellipsoids."""

import math

import numpy as np
import pytest
from ellipsoids import ellipsoid

import dolfinx_llg as llg

H = 0.5


@pytest.mark.parametrize("axes", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.7)], ids=["sphere", "ellipsoid"])
@pytest.mark.parametrize("poisson", ["direct", "iterative"])
def test_kittel(comm, axes, poisson):
    """omega^2 = (h + N_x - N_z)(h + N_y - N_z), field along z; the sphere's is h alone.

    The field of the ellipsoid lies along its shortest axis: the stray field alone would turn m, and
    the precession is elliptic. At 4 cells a side the factors N are right to 3e-4; the mean response
    of the uniform mode is that of two oscillators of the stiffnesses h + N - N_z.
    """
    msh = ellipsoid(comm, 4, axes)
    m = llg.magnetization(msh, (0, 0, 1))
    energy = llg.Energy(
        [llg.Exchange(1.0), llg.StrayField(m, poisson=poisson), llg.Zeeman((0, 0, H))]
    )
    llg.minimise(energy, m, torque=1e-6)
    modes = llg.eigenmodes(energy, m, 1)
    N = llg.stray_field.ellipsoid_factors(*axes)
    x, y = (H + N[i] - N[2] for i in (0, 1))
    assert modes.omega[0] == pytest.approx(math.sqrt(x * y), rel=1e-3)
    assert modes.widths[0] == pytest.approx((x + y) / 2, rel=2e-3)
    strengths = [modes.strengths(axis)[0] for axis in ((1, 0, 0), (0, 1, 0))]
    np.testing.assert_allclose(strengths, [0.5 * math.sqrt(y / x), 0.5 * math.sqrt(x / y)], 2e-3)
