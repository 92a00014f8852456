# SPDX-License-Identifier: LGPL-3.0-or-later
"""WeakStep: what one step of a scheme is, as UFL, before anything is assembled.

A step solves for ``x`` (the new iterate)

    sum_b weight_b(dt) B_b x  +  C(m) x  +  N(x)  =  sum_b history_b(dt) B_b f_b  +  s(m),

with constant bilinear forms B_b (assembled once, whatever dt does later), a bilinear form C and a
linear form s that are assembled anew in each step, and for nonlinear schemes a form N(x; v).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.checks import check_kind, check_number
from dolfinx_llg.collective import agree
from dolfinx_llg.kinds import WrongKindError, checked, describe
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import check_domain
from dolfinx_llg.schemes.damping import LiveDamping
from dolfinx_llg.sphere import check_magnetization

__all__ = ["Block", "WeakStep", "Weight", "check_time_step", "one", "over_dt"]

Weight = Callable[[float], float]


def one(dt: float) -> float:
    """Weight 1 of a block that does not depend on the time step."""
    return 1.0


def over_dt(dt: float) -> float:
    """Weight 1/dt of a time derivative."""
    return 1.0 / dt


@checked
@dataclass(frozen=True)
class Block:
    """A bilinear form that no step changes, with its weight as a function of dt.

    Args:
        form: Bilinear form in the trial and test function of the step's space.
        weight: Factor of the block in the matrix of a step.
        history: Function f whose image under the block enters the right side, if any.
        history_weight: Factor of that image.
        stretched: Form that takes the place of ``form`` in the preconditioner of the part of the
            system normal to m; None: ``form`` itself.
    """

    form: ufl.Form
    weight: Weight = one
    history: fem.Function | None = None
    history_weight: Weight = one
    stretched: ufl.Form | None = None


@dataclass
class WeakStep:
    """One step of a scheme as UFL; see the module's docstring for the equation.

    A user's scheme is a function that returns one of these. Only ``m``, ``dt`` and ``constant``
    are needed. Arity, space and mesh of the forms are checked, and that no constant block contains
    m, x or a level. What ``update`` makes of m belongs into ``varying`` too: a constant block would
    take it up one step late. Whether the equation is consistent and stable is the user's to know.

    Attributes:
        m: Magnetization; at the old level while a step is solved, at the new one once accepted.
        dt: Time step (a number is made a constant of the mesh); assign ``step.dt.value`` between
            steps to change it.
        constant: Blocks assembled once, and again when data in them have changed.
        varying: Bilinear form in (trial, test) that depends on m, assembled in each step.
        source: Linear form assembled in each step.
        nonlinear: Form N(x; v), nonlinear in ``x``; needs ``x``.
        x: The unknown, a function of m's space; made here unless given. The candidate of a step
            stands in it until it is accepted.
        projection: Whether a step ends with the projection of the new iterate to unit length.
        levels: Functions of earlier levels, newest first, for schemes of several steps (BDF2): on
            acceptance each takes the values of the one before it, the first those of the new
            iterate before projection. They belong to the history that checkpoints carry.
        update: Called as update(m, t_new) before assembly (``Energy.update`` as a rule).
        refresh: Called before each step, to bring data that are derived from a user's up to date
            (nodal averages of a damping).
        rotation: arg(lambda + i) for operators of the kind (lambda - m x) K, a number or a
            function that returns one for each node, by which the preconditioner turns about m (0:
            no turn); see ``preconditioner.ComponentPreconditioner``.
        energy: Energy of the run, for messages that state it and for the gate of adaptive steps.
        damping: The damping, live, to which what the scheme adds numerically is compared; None: it
            is not.
        order: Order of the scheme in time, for the estimate of its error.
        error_constant: C of the local error C dt^(order+1) m^(order+1).
        name: Name of the scheme, for logs and error messages.

    Raises:
        ValueError: If a form has other arguments or another space than m, a constant block contains
            m, there is no constant block, a nonlinear form lacks x, dt is not positive, or m is no
            magnetization.
        TypeError: If a form is none (an integrand without its measure).

    Note: Collective.
    """

    m: fem.Function
    dt: fem.Constant
    constant: Sequence[Block]
    varying: ufl.Form | None = None
    source: ufl.Form | None = None
    nonlinear: ufl.Form | None = None
    x: fem.Function | None = None
    projection: bool = False
    levels: Sequence[fem.Function] = ()
    update: Callable[[fem.Function, float], None] = field(default=lambda m, t: None)
    refresh: Callable[[], object] = field(default=lambda: None)
    rotation: float | Callable[[], float | npt.NDArray[np.float64]] = 0.0
    energy: Energy | None = None
    damping: LiveDamping | None = None
    order: int = 1
    error_constant: float = 0.5
    name: str = "user scheme"

    def __post_init__(self) -> None:
        """Validate the state, the step size, and the arity, the space and the mesh of all forms."""
        check_magnetization(self.m, unit=False)
        agree(self.m.function_space.mesh.comm, dt=getattr(self.dt, "value", self.dt))
        if not hasattr(self.dt, "value"):
            dt = check_number("the time step dt", self.dt, positive=True)
            self.dt = fem.Constant(self.m.function_space.mesh, dt)
        check_time_step(float(self.dt.value))
        for what in ("update", "refresh"):
            if not callable(getattr(self, what)):
                raise WrongKindError(
                    f"{self.name}: {what} must be a callable, got {describe(getattr(self, what))}"
                )
        for block in self.constant:
            check_kind(f"{self.name}: each constant block", block, Block, "a Block(form)")
        if not self.constant:
            raise ValueError(f"{self.name}: a step needs at least one constant block, got none")
        if self.nonlinear is not None and self.x is None:
            raise ValueError(f"{self.name}: a nonlinear form needs its unknown x")
        for what, other in [("x", self.x), *(("a level", level) for level in self.levels)]:
            if other is not None and other.function_space != self.m.function_space:
                raise ValueError(f"{self.name}: {what} must be of the space of m")
        if self.x is None:
            self.x = fem.Function(self.m.function_space, name="x")
            self.x.x.array[:] = self.m.x.array
        for index, block in enumerate(self.constant):
            self._check(block.form, 2, f"constant[{index}]")
            if block.stretched is not None:
                self._check(block.stretched, 2, f"constant[{index}].stretched")
            for form in (block.form, block.stretched):
                moving = (self.m, self.x, *self.levels)
                if form is not None and any(f in moving for f in form.coefficients()):
                    raise ValueError(
                        f"{self.name}: constant[{index}] contains m, which changes from step to "
                        "step, but a constant block is assembled once: put the form into varying"
                    )
        for name, arity in (("varying", 2), ("source", 1), ("nonlinear", 1)):
            given = getattr(self, name)
            if given is not None:
                self._check(given, arity, name)

    def _check(self, form: ufl.Form, arity: int, name: str) -> None:
        """Refuse a form of another kind, arity, space or mesh: assembly would go on with it."""
        if not isinstance(form, ufl.Form):
            raise TypeError(
                f"{self.name}: {name} must be a UFL form, got {type(form).__name__} (an integrand "
                "lacks its * ufl.dx)"
            )
        V = self.m.function_space
        check_domain(form, self.m, self.name)
        kind = {1: "linear (a test function)", 2: "bilinear (a trial and a test function)"}[arity]
        arguments = form.arguments()
        if len(arguments) != arity:
            raise ValueError(
                f"{self.name}: {name} must be {kind}, the form has {len(arguments)} argument(s)"
            )
        for argument in arguments:
            if argument.ufl_function_space() != V.ufl_function_space():
                raise ValueError(
                    f"{self.name}: the arguments of {name} must be of the space of m, "
                    f"{V.ufl_element()}, got {argument.ufl_element()}"
                )


def check_time_step(dt: float) -> None:
    """Raise ValueError unless dt is positive and finite."""
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"the time step dt must be positive and finite, got {dt}")
