# SPDX-License-Identifier: LGPL-3.0-or-later
"""The examples of ``demo_hmm``, and what HMM is compared with."""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI

import numpy as np
from scipy.special import i0

import dolfinx_llg as llg
from dolfinx_llg import literature as lit
from dolfinx_llg.hmm import PeriodicStencil, SpectralField, homogenize_cell, resolved_run
from dolfinx_llg.hmm.space.resolved import trigonometric
from dolfinx_llg.schemes import stability_limit


@dataclass
class Example:
    """Parameters of the paper (where it gives them)."""

    dim: int
    kappa: Callable[[float], Any]
    initial: Callable[[Any], Any]
    eps: float
    macro: int
    mu: float
    mu_outer: float
    eta: float
    alpha: float
    t_end: float


EXAMPLES = {
    "EX1": Example(1, lit.hmm_ex1, lit.hmm_ex1_initial, 1 / 200, 24, 3.9, 8.25, 0.9, 0.01, 0.1),
    "EX2": Example(2, lit.hmm_ex2, lit.hmm_ex2_initial, 1 / 400, 16, 3.9, 10.25, 1.6, 0.01, 0.1),
    "EX3": Example(2, lit.hmm_ex3, lit.hmm_ex2_initial, 1 / 400, 16, 4.2, 8.25, 0.7, 0.01, 0.1),
    "locally-periodic-1d": Example(
        1, lit.hmm_eq40, lit.hmm_ex1_initial, 1 / 400, 25, 3.9, 8.0, 0.9, 0.01, 0.1
    ),
    "quasi-periodic-2d": Example(
        2, lit.hmm_eq41, lit.hmm_ex2_initial, 0.01, 16, 6.5, 9.25, 0.7, 0.01, 0.2
    ),
    "locally-periodic-2d": Example(
        2, lit.hmm_eq42, lit.hmm_ex2_initial, 0.01, 16, 5.0, 9.75, 1.6, 0.1, 0.05
    ),
}
#: Examples in 2D that are resolved by default: their period is large enough.
RESOLVED = ("quasi-periodic-2d", "locally-periodic-2d")
#: What the paper says of its runs.
PAPER_SAYS = {
    "EX1": "figure 1, 'agrees very well', no number",
    "EX2": "figures 15 and 16, no table; order 4 until the averaging error shows",
    "EX3": "no run of it",
    "locally-periodic-1d": "figure 17, error about 1e-4, HMM 20 s, resolved almost 2 h",
    "quasi-periodic-2d": "figure 18, no number; HMM about 4 h, resolved about 5 days",
    "locally-periodic-2d": "figure 19, error about 5e-3",
}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Discrete L2 norm of the difference."""
    return float(np.sqrt(np.mean(np.sum((a - b) ** 2, axis=1))))


def last(step: Any, t_end: float) -> np.ndarray:
    """M after the last step."""
    return deque(llg.march(step, t_end=t_end, progress=False), maxlen=1)[0].m


def cell_eq42(y: np.ndarray, x2: float) -> np.ndarray:
    """Eq. (42) in the fast variable."""
    oscillation = np.sin(2 * np.pi * y[0]) * np.cos(2 * np.pi * x2)
    return 0.25 * np.exp(-np.cos(2 * np.pi * (y[0] + y[1])) + oscillation)


class References:
    """Solutions to compare with: averaged, homogenized, corrected, and resolved where asked for.

    Args:
        args: Options of the demo.
        example: Parameters of the paper.
        comm: Every rank could compute them; rank 0 does, the others wait.
    """

    def __init__(self, args: Namespace, example: Example, comm: MPI.Intracomm) -> None:
        self.args, self.example, self.dim = args, example, example.dim
        self.kappa = example.kappa(args.eps)
        self.points_per_cell = 32 if args.quick else 64
        self._cells: dict[float, tuple[np.ndarray, np.ndarray]] = {}
        self.found = comm.bcast(self._compute() if comm.rank == 0 else None, root=0)
        self.n0 = int(self.found["smooth_n"])

    def local_average(self, x: np.ndarray) -> np.ndarray:
        """Average of kappa over its fast variable, at points of shape (dim, n)."""
        return {
            "EX1": lambda: 1.0 + 0 * x[0],
            "EX2": lambda: 0.75 + 0 * x[0],
            "EX3": lambda: 1.21 + 0 * x[0],
            "locally-periodic-1d": lambda: 1.1 + 0.25 * np.sin(2 * np.pi * x[0] + 1.1),
            "quasi-periodic-2d": lambda: 1.0 + 0 * x[0],
            "locally-periodic-2d": lambda: 0.25 * i0(1.0) * i0(np.cos(2 * np.pi * x[1])),
        }[self.args.example]()

    def cell(self, x2: float) -> tuple[np.ndarray, np.ndarray]:
        """A^H and chi of eq. (42), which depends on cos(2 pi x_2) alone."""
        key = round(math.cos(2 * math.pi * x2), 12)
        if key not in self._cells:
            self._cells[key] = homogenize_cell(
                PeriodicStencil(2, self.points_per_cell, lambda y: cell_eq42(y, x2))
            )
        return self._cells[key]

    def homogenized(self, x: np.ndarray) -> np.ndarray:
        """A^H at points, shape (n, dim, dim)."""
        if self.args.example == "locally-periodic-1d":
            return lit.hmm_eq40_kappa_hom(x)[:, None, None]
        if self.args.example == "locally-periodic-2d":
            return np.array([self.cell(x2)[0] for x2 in x[1]])
        constant = {
            "EX1": [[lit.HMM_EX1_KAPPA_HOM]],
            "EX2": lit.HMM_EX2_KAPPA_HOM,
            "EX3": lit.HMM_EX3_KAPPA_HOM,
            "quasi-periodic-2d": lit.HMM_EQ41_KAPPA_HOM,
        }[self.args.example]
        return np.broadcast_to(np.array(constant), (x.shape[1], self.dim, self.dim))

    def corrector(self, x: np.ndarray) -> np.ndarray:
        """Cell solutions eps chi(x, x/eps) at points of shape (dim, n), shape (n, dim)."""
        y = x.T / self.args.eps % 1.0
        if self.args.example == "locally-periodic-2d":
            chi = np.empty((len(y), 2))
            for x2 in np.unique(x[1]):
                row = x[1] == x2
                chi[row] = trigonometric(self.cell(x2)[1], self.points_per_cell, y[row])
            return self.args.eps * chi
        if self.args.example == "quasi-periodic-2d":
            # A product: chi_k depends on x_k alone and solves a problem in one dimension. Along x_2
            # "the cell" is the whole domain.
            found = []
            for axis, length in ((0, self.args.eps), (1, 1.0)):
                n = round(64 * length / self.args.eps)
                line = PeriodicStencil(
                    1,
                    n,
                    lambda s, axis=axis: self.kappa(
                        np.array([s[0], 0 * s[0]]) if axis == 0 else np.array([0 * s[0], s[0]])
                    ),
                    length=length,
                )
                _, chi = homogenize_cell(line)
                found.append(
                    np.interp(x[axis], np.arange(n) * length / n, chi[:, 0], period=length)
                )
            return np.stack(found, axis=1)
        _, chi = homogenize_cell(PeriodicStencil(self.dim, 64, self.example.kappa(1.0)))
        return self.args.eps * trigonometric(chi, 64, y)

    def smooth_run(self, coefficient: np.ndarray, n: int) -> tuple[SpectralField, np.ndarray]:
        """Solution with a smooth coefficient, by Fourier collocation and RK4P."""
        operator = SpectralField(self.dim, n, coefficient)
        m = np.ascontiguousarray(self.example.initial(operator.points.T).T)
        steps = math.ceil(
            self.args.t_end * operator.omega / (0.9 * stability_limit("rk4_p", self.args.alpha))
        )
        step = llg.rk4(operator, m, damping=self.args.alpha, dt=self.args.t_end / steps)
        return operator, last(step, self.args.t_end)

    def _compute(self) -> dict[str, np.ndarray | float]:
        """All that one rank computes for the others."""
        found: dict[str, np.ndarray | float] = {}
        begin = time.perf_counter()
        n = 48 if (self.dim == 1) else (24 if self.args.quick else 32)
        axes = np.meshgrid(*[np.arange(n) / n] * self.dim, indexing="ij")
        x = np.stack([axis.ravel() for axis in axes])
        operator, m0 = self.smooth_run(self.homogenized(x), n)
        found["smooth_n"] = n
        found["m0"], found["m0_gradient"] = m0, operator.gradient(m0)
        found["seconds_homogenized"] = time.perf_counter() - begin
        average = self.local_average(x)[:, None, None] * np.eye(self.dim)
        found["averaged"] = self.smooth_run(average, n)[1]
        if (self.dim == 1) or self.args.resolved:
            begin = time.perf_counter()
            if self.dim == 1:
                lcm = math.lcm(*self.args.macro)
                points = lcm * math.ceil((20 if self.args.quick else 40) / self.args.eps / lcm)
                dt = 5e-5 if self.args.quick else 2e-5
            else:
                points, dt = self.args.resolved, 2.5e-4
            stencil = PeriodicStencil(self.dim, points, self.kappa)
            m = np.ascontiguousarray(self.example.initial(stencil.points.T).T)
            steps = math.ceil(self.args.t_end / dt)
            found["resolved"] = resolved_run(
                stencil, m, damping=self.args.alpha, dt=self.args.t_end / steps, n=steps
            )
            found["resolved_n"] = points
            found["seconds_resolved"] = time.perf_counter() - begin
        return found

    def smooth(self, name: str, points: np.ndarray) -> np.ndarray:
        """A smooth solution, "m0" or "averaged", at points."""
        return trigonometric(self.found[name], self.n0, points)

    def corrected(self, points: np.ndarray) -> np.ndarray:
        """M_0 + eps chi . grad M_0."""
        slope = np.array(
            [trigonometric(part, self.n0, points) for part in self.found["m0_gradient"]]
        )
        return self.smooth("m0", points) + np.einsum("nk,knc->nc", self.corrector(points.T), slope)

    def resolved_at(self, points: np.ndarray) -> np.ndarray:
        """The resolved solution at grid points, or linearly between its own points."""
        n = int(self.found["resolved_n"])
        values = self.found["resolved"].reshape(*(n,) * self.dim, 3)
        lower = np.floor(points * n + 1e-9).astype(int)
        part = points * n - lower
        total = np.zeros((len(points), 3))
        for corner in np.ndindex(*(2,) * self.dim):
            weight = np.prod(np.where(np.array(corner) == 1, part, 1 - part), axis=1)
            total += weight[:, None] * values[tuple(((lower + corner) % n).T)]
        return total
