# SPDX-License-Identifier: LGPL-3.0-or-later
"""The magnets of ``demo_hysteresis``, and reversal curves."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from shared import along, comm

import dolfinx_llg as llg

# Ms = 1 MA/m, K_u = 0.5 MJ/m3, whose anisotropy field is 1 T.
units = llg.units.Units(Ms0=1e6, length=1e-9)
HARD = float(units.q_u_from_K_u(5e5))
SOFT = float(units.q_u_from_K_u(1e4))
LARGEST_mT = 1e3 * float(units.field_to_T(HARD))


def up_to(loop: Generator[Any], enough: Callable[[Any], bool]) -> list[Any]:
    """Return the states of a loop up to the first that is enough, and leave the loop there."""
    states = []
    for state in loop:
        states.append(state)
        if enough(state):
            break
    loop.close()
    return states


@dataclass
class Magnet:
    """An energy, its magnetization and the field that is varied; kappa for pictures."""

    energy: llg.Energy
    m: fem.Function
    field: llg.Zeeman
    kappa: fem.Function | None = None

    @classmethod
    def of(
        cls,
        terms: Sequence[llg.Interaction],
        m: fem.Function,
        kappa: fem.Function | None = None,
    ) -> Magnet:
        """Return the magnet with a field, zero for now, among its terms."""
        field = llg.Zeeman((0.0, 0.0, 0.0))
        return cls(llg.Energy([*terms, field]), m, field, kappa)

    def follow(self, fields: Any, **options: Any) -> Generator[Any]:
        """Follow equilibria through fields: ``llg.hysteresis`` with these options."""
        return llg.hysteresis(self.energy, self.m, self.field, fields, **options)

    @property
    def nodes(self) -> int:
        """Nodes on all ranks together."""
        return int(self.m.function_space.dofmap.index_map.size_global)


def spin(degrees: float) -> Magnet:
    """A particle small against its exchange length, m along the field."""
    small = mesh.create_unit_square(comm, 2, 2)
    kappa = float(units.kappa_from_A(1e-11))
    terms = [llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), HARD)]
    return Magnet.of(terms, llg.magnetization(small, along(degrees)))


def grain(n: int) -> Magnet:
    """A hard grain of 12 nm in a soft matrix of 24 nm, A = 10 pJ/m in both."""
    box = mesh.create_box(comm, [[-12.0] * 3, [12.0] * 3], [n] * 3)
    q_u = fem.Function(fem.functionspace(box, ("DG", 0)))
    q_u.interpolate(lambda x: np.where(np.max(np.abs(x), axis=0) < 6.0, HARD, SOFT))
    kappa = float(units.kappa_from_A(1e-11))
    terms = [llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), q_u)]
    return Magnet.of(terms, llg.magnetization(box, (0, 0, 1)))


def composite(n: int, *, stray: bool = False) -> Magnet:
    """A cube of 40 nm, tiles of 10 nm: 1 pJ/m and soft, or 100 pJ/m and hard."""
    cube = mesh.create_box(comm, [[0.0] * 3, [40.0] * 3], [n] * 3)
    low = float(units.kappa_from_A(1e-12))
    kappa = llg.checkerboard(
        cube, 4, contrast=100.0, seed=1, low=low, box=([0.0] * 3, [40.0] * 3)
    )  # fmt: skip
    q_u = fem.Function(kappa.function_space)
    q_u.x.array[:] = np.where(kappa.x.array > 10 * low, HARD, SOFT)
    m = llg.magnetization(cube, (0, 0, 1))
    terms = [llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), q_u)]
    if stray:
        terms.append(llg.StrayField(m))
    return Magnet.of(terms, m, kappa)


def bar(d_over_lex: float, cells: int) -> Magnet:
    """The bar of muMAG standard problem 2, 5 : 1 : 0.1, its width d the unit of length."""
    msh = mesh.create_box(comm, [[0.0] * 3, [5.0, 1.0, 0.1]], [5 * cells, cells, 1])
    m = llg.magnetization(msh, (1, 1, 1))
    return Magnet.of([llg.Exchange(d_over_lex**-2.0), llg.StrayField(m)], m)


PERMALLOY = llg.units.Units(Ms0=8e5, length=1e-9)


def film(cells_nm: float, direction: Sequence[float]) -> Magnet:
    """The film of muMAG standard problem 1: 2 x 1 um, 20 nm, easy axis x of 500 J/m3."""
    counts = [max(2, round(side / cells_nm)) for side in (2000.0, 1000.0)]
    msh = mesh.create_box(comm, [[0.0] * 3, [2000.0, 1000.0, 20.0]], [*counts, 1])
    m = llg.magnetization(msh, direction)
    terms = [
        llg.Exchange(float(PERMALLOY.kappa_from_A(1.3e-11))),
        llg.UniaxialAnisotropy((1, 0, 0), float(PERMALLOY.q_u_from_K_u(500.0))),
        llg.StrayField(m),
    ]
    return Magnet.of(terms, m)


def reversal_curves(
    magnet: Magnet, fields: np.ndarray, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return first-order reversal curves and their density.

    From saturation down to a field h_a, then up again: the mean of m at all h_b >= h_a. The density
    is that of Preisach's hysterons, -1/2 d2m/dh_a dh_b (Pike, Roberts, Verosub, J. Appl. Phys. 85
    (1999) 6660), by differences.

    Args:
        magnet: At saturation.
        fields: Descending, equidistant.
        options: Of ``hysteresis``, but its ``steps``.

    Returns:
        m[a, b] for b <= a, NaN else, and the density between four of them, NaN where they are not.
    """
    given, every = (magnet.energy, magnet.m, magnet.field), llg.LoopSteps(jump=2.0)
    down, table = [], np.full((len(fields), len(fields)), np.nan)
    for a, state in enumerate(llg.hysteresis(*given, fields, steps=every, **options)):
        down.append(magnet.m.x.array.copy())
        table[a, a] = state.along
    for a in range(1, len(fields)):
        magnet.m.x.array[:] = down[a]
        curve = llg.hysteresis(*given, fields[a::-1], steps=every, **options)
        table[a, a::-1] = [state.along for state in curve]
    step = fields[0] - fields[1]
    mixed = table[1:, 1:] - table[1:, :-1] - table[:-1, 1:] + table[:-1, :-1]
    return table, -0.5 * mixed / step**2
