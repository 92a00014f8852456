# SPDX-License-Identifier: LGPL-3.0-or-later
r"""How much damping a scheme adds to that of the equation: measured in a run, warned of once.

For the equation, with any effective field h, torques included, :math:`(M_s h, m_t) = (M_s a\,
m_t, m_t)`, a = alpha of Gilbert's form, lambda/(1 + lambda^2) of the LL form. A step from m to m'
has therefore dissipated as the equation with

.. math:: a_{eff} = \Delta t\, \frac{(M_s h(\bar m), \delta)}{(M_s \delta, \delta)},
          \qquad \delta = m' - m, \quad \bar m = (m + m')/2.

The implicit midpoint rule has :math:`a_{eff} = a`; backward Euler of a precession of the frequency
:math:`\omega` adds :math:`\omega \Delta t/2`. Speeds of walls and frequencies of oscillators that a
field or a torque drives against the damping are wrong by the factor :math:`a/a_{eff}`.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.checks import warn
from dolfinx_llg.jit import compile_form
from dolfinx_llg.physics.energy import Energy, integral
from dolfinx_llg.physics.interaction import VERTICES, FieldTerm
from dolfinx_llg.schemes.damping import LiveDamping

__all__ = ["DampingCheck", "NumericalDampingWarning"]

Array = npt.NDArray[np.float64]

_PACKAGE = str(Path(__file__).resolve().parents[1])
ALLOWED = 0.05
"""Share of the damping that a scheme may add unmentioned: an error of 5 % of a driven speed."""
FIRST = 4
"""Step of the first look; the next ones follow after twice the number of steps."""
AT_REST = 1e-6
"""Largest change of a node of m in a step below which it is at rest: solvers leave 1e-8."""


class NumericalDampingWarning(UserWarning):
    """A scheme adds damping of its own that is no small part of the equation's."""


class DampingCheck:
    """Looks at some steps of a run, and warns once.

    Args:
        name: Name of the scheme.
        energy: Energy of the run.
        damping: The damping, live.
        m: Magnetization, for its space.
        order: Order of the scheme: how the added damping falls with dt.
        lumped: Whether the scheme's products are lumped.
        coarse: Whether the run is in a coarse space, where the identity above holds but for the
            error of the space: 1 to 3 % of the damping for 4 x 4 coarse cells in a rough material.

    Attributes:
        added: Added over true damping at the last look; NaN before.
        warned: Whether it has warned.
    """

    def __init__(
        self,
        name: str,
        energy: Energy,
        damping: LiveDamping,
        m: fem.Function,
        order: int,
        *,
        lumped: bool,
        coarse: bool = False,
    ) -> None:
        self.name, self.order, self.warned, self.added = name, order, False, math.nan
        self._energy, self._damping, self._lumped = energy, damping, lumped
        self._coarse = coarse
        self._fields = [term for term in energy.terms if isinstance(term, FieldTerm)]
        self._mean, self._change = fem.Function(m.function_space), fem.Function(m.function_space)
        self._forms: list[fem.Form] | None = None
        self._steps, self._next = 0, FIRST

    def look(self, old: Array, new: fem.Function, dt: float, *, now: bool = False) -> None:
        """Look at a step, if it is ``due``. Collective.

        Args:
            old: Values of m before the step at the owned nodes, shape (n, 3).
            new: m after it.
            dt: Size of the step.
            now: Look at this step, whichever it is.

        Warns:
            NumericalDampingWarning: At the first step found to add more than 5 % of the damping.
        """
        if self.due(now=now):
            self.examine(old, new, dt)

    def due(self, *, now: bool = False) -> bool:
        """Count a step; return whether it is one of those to look at."""
        self._steps += 1
        if self.warned or (self._steps < self._next and not now):
            return False
        self._next *= 2
        return True

    def examine(self, old: Array, new: fem.Function, dt: float) -> None:
        """Look at a step, see ``look``. Collective.

        Args:
            old: Values of m before the step at the owned nodes, shape (n, 3).
            new: m after it.
            dt: Size of the step.

        Warns:
            NumericalDampingWarning: At the first step found to add more than 5 % of the damping.
        """
        n = old.size
        values = new.x.array[:n]
        # A field term's gradient is that of its last update, which is not the mean.
        self._mean.x.array[:n] = old.ravel()
        self._mean.x.scatter_forward()
        fields = sum(_energy(term, new) - _energy(term, self._mean) for term in self._fields)
        self._mean.x.array[:n] = 0.5 * (values + old.ravel())
        self._change.x.array[:n] = values - old.ravel()
        for function in (self._mean, self._change):
            function.x.scatter_forward()
        if self._forms is None:
            self._forms = self._compile()
        comm = new.function_space.mesh.comm
        local = [fem.assemble_scalar(form) for form in self._forms]
        moved = float(np.max(np.abs(self._change.x.array), initial=0.0))
        rows = comm.allgather((*local, moved))
        work, true, square = (sum(row[i] for row in rows) for i in range(3))
        work += fields
        if max(row[3] for row in rows) <= AT_REST or not true > 0.0:
            return
        a = true / square
        self.added = (-dt * work / square - a) / a
        if abs(self.added) > ALLOWED:
            self.warned = True
            self._warn(a, dt)

    def _compile(self) -> list[fem.Form]:
        mesh = self._mean.function_space.mesh
        dx = ufl.dx(domain=mesh, metadata=VERTICES if self._lumped else None)
        value = self._damping.value
        a = value if self._damping.gilbert else value / (1 + value**2)
        square = self._energy.Ms * ufl.inner(self._change, self._change)
        others = [term for term in self._energy.terms if term not in self._fields]
        work = fem.Constant(mesh, 0.0) * dx  # there may be no others
        work += integral(others, lambda term: term.gradient(self._mean, self._change), mesh)
        one = fem.Constant(mesh, 1.0)
        return [compile_form(form) for form in (work, a * square * dx, one * square * dx)]

    def _warn(self, a: float, dt: float) -> None:
        share = (0.5 * ALLOWED / abs(self.added)) ** (1.0 / self.order)
        verb = "adds" if self.added > 0 else "takes"
        space = " (some of it may be the coarse space's)" if self._coarse else ""
        warn(
            f"{self.name}: the step dt = {dt:.3g} {verb} about {abs(self.added):.2g} of the "
            f"damping ({a:.3g}) numerically{space}, and speeds and frequencies that depend on the "
            f"damping are wrong by as much: use dt <= {share * dt:.2g}, llg.midpoint, or adaptive "
            "steps of a second-order scheme",
            NumericalDampingWarning,
        )


def _energy(term: FieldTerm, m: fem.Function) -> float:
    energy = term.energy(m)
    assert energy is not None  # a field linear in m has one
    return energy
