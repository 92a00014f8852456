# SPDX-License-Identifier: LGPL-3.0-or-later
"""Walker's wall: the speed by schemes that do not damp by themselves, the warning by one that does.

Closed form: Schryer and Walker, J. Appl. Phys. 45 (1974) 5406. Dimensionless, the width is 1 in
the easy plane: v = Delta h/alpha, sin 2 phi = 2 h/(alpha q_h), 1/Delta^2 = 1 + q_h sin^2 phi.
"""

import math
import warnings

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg

ALPHA, FIELD, HARD = 0.1, 0.03, 0.8


def speed(comm, scheme, dt, adaptive=None, t_end=24.0, **options):
    """Return the speed over the last 5 cells over the closed form, and the warnings' texts."""
    msh = mesh.create_interval(comm, 72, [0.0, 30.0])
    phi = 0.5 * math.asin(2 * FIELD / (ALPHA * HARD))
    width = 1.0 / math.sqrt(1.0 + HARD * math.sin(phi) ** 2)
    energy = llg.Energy(
        [
            llg.Exchange(1.0),
            llg.UniaxialAnisotropy((0, 0, 1), 1.0),
            llg.UniaxialAnisotropy((0, 1, 0), -HARD),
            llg.Zeeman((0, 0, FIELD)),
        ]
    )

    def start(x):
        s = (x[0] - 11.0) / width
        return [np.cos(phi) / np.cosh(s), np.sin(phi) / np.cosh(s), -np.tanh(s)]

    m = llg.magnetization(msh, lambda x: np.array(start(x)))
    place = fem.form(0.5 * m[2] * ufl.dx)
    step = scheme(energy, m, dt=dt, damping=llg.Gilbert(ALPHA), **options)
    t, q = [], []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for state in llg.march(step, t_end=t_end, adaptive=adaptive):
            t.append(state.t)
            q.append(sum(comm.allgather(fem.assemble_scalar(place))))
    cells = 5 * 30.0 / 72
    since = np.interp(q[-1] - cells, q, t)
    exact = width * FIELD / ALPHA
    texts = [w.message for w in caught if w.category is llg.NumericalDampingWarning]
    return cells / (t[-1] - since) / exact, texts


def test_speed(comm):
    """The mesh takes 2 % of the speed (h = 0.42 widths), the time step less than another 2 %."""
    mesh_limit, _ = speed(comm, llg.rk4, 0.1)
    assert mesh_limit == pytest.approx(1.0, abs=0.03)
    adaptive = llg.Adaptive(rtol=1e-3)
    for scheme, dt, control, options in (
        (llg.midpoint, 0.4, None, {}),
        (llg.midpoint, 0.8, None, {}),
        (llg.midpoint, 0.1, adaptive, {}),
        (llg.tangent_plane, 0.2, None, {"second_order": True}),
        (llg.tangent_plane, 0.1, adaptive, {"second_order": True}),
    ):
        found, texts = speed(comm, scheme, dt, control, **options)
        assert found == pytest.approx(mesh_limit, rel=0.02), (scheme, dt)
        assert texts == []


def test_a_slow_wall_is_not_silent(comm):
    found, texts = speed(comm, llg.gao, 0.4, t_end=80.0, projection=True)
    assert found < 0.75
    assert len(texts) == 1
