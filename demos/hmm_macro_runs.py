# SPDX-License-Identifier: LGPL-3.0-or-later
"""The whole method of `demo_hmm_micro`: macro runs with upscaled fields and their errors.

EX2 of the HMM paper at damping 0.01 (figures 15 and 16).
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from shared import comm

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.hmm import MacroGrid, SpectralField, UpscaledField
from dolfinx_llg.hmm.space.resolved import trigonometric
from dolfinx_llg.schemes import stability_limit

DAMPING = 0.01


def start(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(literature.hmm_ex2_initial(points.T).T)


def march(scheme: Any, field: Any, m: np.ndarray, dt: float, t_end: float) -> np.ndarray:
    step = scheme(field, m, damping=DAMPING, dt=t_end / math.ceil(t_end / dt))
    return deque(llg.march(step, t_end=t_end, progress=False), maxlen=1)[0].m


def norms(difference: np.ndarray, n: int) -> tuple[float, float]:
    """Discrete L2 and H1 norm of a grid function, the latter by Fourier derivatives."""
    slope = SpectralField(2, n, 1.0).gradient(difference)
    l2 = np.mean(np.sum(difference**2, axis=1))
    h1 = l2 + np.mean(np.sum(slope**2, axis=(0, 2)))
    return float(np.sqrt(l2)), float(np.sqrt(h1))


def whole_method(
    setups: Mapping[str, tuple[float, float]],
    sizes: Sequence[int],
    box: Callable[..., Any],
    *,
    quick: bool,
) -> dict[str, np.ndarray]:
    """Return the L2 and H1 errors of each set-up (eta/eps^2, mu'/eps) on each macro grid."""
    t_end = 0.01 if quick else 0.1

    def reference(tensor: np.ndarray) -> np.ndarray:
        field = SpectralField(2, 24 if quick else 32, tensor)
        dt = 0.9 * stability_limit("rk4_p", DAMPING) / field.omega
        return march(llg.rk4, field, start(field.points), dt, t_end)

    exact, naive = (reference(A) for A in (literature.HMM_EX2_KAPPA_HOM, 0.75 * np.eye(2)))
    n0 = round(math.sqrt(len(exact)))
    eps = 1 / 100 if quick else 1 / 400
    found: dict[str, np.ndarray] = {}
    for setup, (eta, mu_outer) in setups.items():
        rows = []
        for n in sizes:
            grid = MacroGrid(2, n)
            own = box("EX2", mu_outer, eps=eps, eta=eta, damping=1.2)
            upscaled = UpscaledField(comm, grid, own, literature.hmm_ex2(eps), micro="adjoint")
            dt = upscaled.stable_dt(DAMPING)
            m = march(llg.mpea, upscaled, start(grid.points), dt, t_end)
            rows.append(norms(m - trigonometric(exact, n0, grid.points), n))
        found[setup] = np.array(rows)
    found["averaged"] = np.array(
        [norms(trigonometric(naive - exact, n0, MacroGrid(2, n).points), n) for n in sizes]
    )
    return found
