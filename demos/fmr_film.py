# SPDX-License-Identifier: LGPL-3.0-or-later
"""The standard problem of ferromagnetic resonance: a square film, its modes and its ring-down.

Baker et al., J. Magn. Magn. Mater. 421 (2017) 428: permalloy, 120 x 120 x 10 nm, 80 kA/m in the
plane. At t = 0 the field turns from (1, 0.715, 0) to (1, 0.7, 0), and m rings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, la, mesh
from shared import comm

import dolfinx_llg as llg

SIZE = (120.0, 120.0, 10.0)
BEFORE, AFTER = (1.0, 0.715, 0.0), (1.0, 0.7, 0.0)
REFERENCE_GHZ = (8.25, 11.25)
DAMPING = llg.Gilbert(0.008)
units = llg.units.Units(Ms0=8e5, length=1e-9)
PS = float(units.time_from_s(1e-12))
GHZ = 1e-9 / (2 * np.pi * units.time_unit)


def bias(direction: tuple[float, ...]) -> np.ndarray:
    """80 kA/m along a direction."""
    return np.asarray(units.field_from_A_per_m(8e4 * np.array(direction)
                                               / np.linalg.norm(direction)))  # fmt: skip


@dataclass
class Film:
    """The film in its field, at rest in it."""

    m: fem.Function
    energy: llg.Energy
    field: llg.Zeeman

    @classmethod
    def of_cells(cls, side: int, layers: int) -> Film:
        """Return the film of so many cells a side and across it, at rest before the turn."""
        box = mesh.create_box(comm, [[0.0] * 3, SIZE], [side, side, layers])
        m = llg.magnetization(box, BEFORE)
        field = llg.Zeeman(tuple(bias(BEFORE)))
        exchange = llg.Exchange(float(units.kappa_from_A(1.3e-11)))
        film = cls(m, llg.Energy([exchange, llg.StrayField(m), field]), field)
        film.rest()
        return film

    def rest(self) -> None:
        """Come to rest in the field as it is."""
        llg.minimise(self.energy, self.m, torque=1e-6)

    def turn_field(self) -> None:
        """Turn the field to its later direction."""
        self.field.assign(bias(AFTER))


def ring_down(film: Film, end_ps: float, dt_ps: float) -> tuple[np.ndarray, np.ndarray]:
    """March from rest in the turned field; return times in ps and the mean of m_y.

    The implicit midpoint rule has no damping of its own; its frequencies are low by
    (omega dt)^2/12, .3 % at 11 GHz and 2.5 ps.
    """
    film.turn_field()
    V = fem.functionspace(film.m.function_space.mesh, ("Lagrange", 1))
    weights = fem.assemble_vector(fem.form(ufl.TestFunction(V) * ufl.dx))
    weights.scatter_reverse(la.InsertMode.add)
    own = weights.array[: V.dofmap.index_map.size_local]
    step = llg.midpoint(film.energy, film.m, dt=dt_ps * PS, damping=DAMPING)
    t, mean = [], []
    for state in llg.march(step, t_end=end_ps * PS, progress=False):
        t.append(state.t / PS)
        mean.append(float(own @ film.m.x.array.reshape(-1, 3)[: len(own), 1]))
    volume = float(np.prod(SIZE))
    return np.array(t), np.sum(comm.allgather(mean), axis=0) / volume


def spectrum(t_ps: np.ndarray, signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in GHz and the amplitudes of a ring-down.

    Half a Hann window lets the signal end softly; zeros behind it make the grid fine.
    """
    n = len(signal)
    rest = signal[-max(n // 4, 1) :].mean()
    window = np.hanning(2 * n)[n:]
    amplitude = np.abs(np.fft.rfft((signal - rest) * window, 16 * n))
    return np.fft.rfftfreq(16 * n, 1e-3 * (t_ps[1] - t_ps[0])), amplitude


def two_peaks(f: np.ndarray, amplitude: np.ndarray, low: float = 6.0) -> list[float]:
    """Return the two highest peaks above a frequency, by parabolas through three points."""
    y = np.log(amplitude)
    inner = np.arange(1, len(y) - 1)
    tops = inner[(y[1:-1] > y[:-2]) & (y[1:-1] >= y[2:]) & (f[1:-1] > low)]
    best = sorted(tops[np.argsort(-y[tops])][:2])
    curvature = np.array([y[i - 1] - 2 * y[i] + y[i + 1] for i in best])
    shift = np.array([0.5 * (y[i - 1] - y[i + 1]) for i in best]) / curvature
    return [float(f[i] + s * (f[1] - f[0])) for i, s in zip(best, shift, strict=True)]


def two_strongest(modes: Any) -> tuple[list[int], list[float]]:
    """Return numbers and frequencies in GHz of the two modes that a field along y drives most."""
    numbers = sorted(int(i) for i in np.argsort(-modes.strengths((0, 1, 0)))[:2])
    return numbers, [float(modes.omega[i] * GHZ) for i in numbers]


def animate(path: Any, film: Film, modes: Any, number: int, frames: int) -> None:
    """Write one period of a mode as a GIF: m from above, colours of its tilt."""
    from dolfinx_llg.plot import Animation, Colours

    rest = film.m.x.array.copy()
    with Animation(
        path, film.m, colours=Colours(AFTER, 20.0), direction=(0.0, 0.0, 1.0), size=(560, 560),
        arrows=12, fps=12,
    ) as movie:  # fmt: skip
        for phase in 2 * np.pi * np.arange(frames) / frames:
            modes.displace(film.m, number, phase=phase, angle=0.3)
            movie.add(f"{modes.omega[number] * GHZ:.2f} GHz")
    film.m.x.array[:] = rest
