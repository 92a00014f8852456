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
from typing import Any

import ufl
from dolfinx import fem
from dolfinx.la import InsertMode
from ufl.core.expr import Expr

from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import check_positive
from dolfinx_llg.physics.interaction import check_domain, mesh_id
from dolfinx_llg.sphere import check_magnetization, normalise

__all__ = ["Block", "Gilbert", "WeakStep", "Weight", "damping_and_weight", "one", "over_dt"]

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


@checked
@dataclass(frozen=True)
class Gilbert:
    """Damping in Gilbert's form: (1+alpha^2) m_t = -m x h_eff - alpha m x (m x h_eff).

    A plain number or function given as ``damping`` is instead the lambda of the Landau-Lifshitz
    form m_t = -m x h_eff - lambda m x (m x h_eff) (GRPS paper, (1.1)).

    Args:
        alpha: Gilbert damping, positive: a number or a DG0 function (differs by region).
    """

    alpha: float | fem.Function


@dataclass
class WeakStep:
    """One step of a scheme as UFL; see the module's docstring for the equation.

    A user's scheme is a function that returns one of these. Only ``m``, ``dt`` and ``constant``
    are needed.

    Attributes:
        m: Magnetization; its value at the old level while a step is solved, at the new one after.
        dt: Time step (a number is made a constant of the mesh); assign ``step.dt.value`` between
            steps to change it.
        constant: Blocks assembled once.
        varying: Bilinear form in (trial, test) that depends on m, assembled in each step.
        source: Linear form assembled in each step.
        nonlinear: Form N(x; v), nonlinear in ``x``; needs ``x``.
        x: The unknown, a function of m's space; made here unless given.
        projection: Whether ``accept`` projects the new iterate to unit length at the nodes.
        update: Called as update(m, t_new) before assembly (``Energy.update`` as a rule).
        rotation: arg(lambda + i) for operators of the kind (lambda - m x) K, a number or a P1
            function, by which the preconditioner turns about m (0: no turn); see
            ``preconditioner.ComponentPreconditioner``.
        name: Name of the scheme, for logs and error messages.
    """

    m: fem.Function
    dt: fem.Constant
    constant: Sequence[Block]
    varying: ufl.Form | None = None
    source: ufl.Form | None = None
    nonlinear: ufl.Form | None = None
    x: fem.Function | None = None
    projection: bool = False
    update: Callable[[fem.Function, float], None] = field(default=lambda m, t: None)
    rotation: float | fem.Function = 0.0
    name: str = "user scheme"

    def __post_init__(self) -> None:
        """Validate the state, the step size and the meshes of all forms."""
        check_magnetization(self.m, unit=False)
        if not hasattr(self.dt, "value"):
            self.dt = fem.Constant(self.m.function_space.mesh, float(self.dt))
        check_time_step(float(self.dt.value))
        if not self.constant:
            raise ValueError(f"{self.name}: a step needs at least one constant block, got none")
        if self.nonlinear is not None and self.x is None:
            raise ValueError(f"{self.name}: a nonlinear form needs its unknown x")
        if self.x is not None and self.x.function_space != self.m.function_space:
            raise ValueError(f"{self.name}: x must be of the space of m")
        if self.x is None:
            self.x = fem.Function(self.m.function_space, name="x")
            self.x.x.array[:] = self.m.x.array
        forms = [block.form for block in self.constant]
        forms += [block.stretched for block in self.constant if block.stretched is not None]
        forms += [f for f in (self.varying, self.source, self.nonlinear) if f is not None]
        for form in forms:
            check_domain(form, self.m, self.name)

    def accept(self) -> None:
        """Take the solved ``x`` as the new magnetization, projected to unit length if asked."""
        assert self.x is not None
        if self.projection:
            normalise(self.x)  # before m is touched: it raises where x vanishes
        self.m.x.array[:] = self.x.x.array


def check_time_step(dt: float) -> None:
    """Raise ValueError unless dt is positive and finite."""
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"the time step dt must be positive and finite, got {dt}")


def _nodal_average(value: fem.Function, Ms: float | fem.Function, m: fem.Function) -> fem.Function:
    """Return the P1 function of lumped (Ms-weighted) averages of a DG0 field."""
    mesh = m.function_space.mesh
    space = fem.functionspace(mesh, ("Lagrange", 1))
    v, dx = ufl.TestFunction(space), ufl.dx(domain=mesh)
    sums: list[Any] = []
    for form in (value * Ms * v * dx, Ms * v * dx):
        vector = fem.assemble_vector(fem.form(form))
        vector.scatter_reverse(InsertMode.add)
        vector.scatter_forward()
        sums.append(vector.array)
    nodal = fem.Function(space, name=value.name)
    nodal.x.array[:] = sums[0] / sums[1]
    return nodal


def damping_and_weight(
    damping: float | fem.Function | Gilbert, Ms: float | fem.Function, m: fem.Function
) -> tuple[fem.Constant | fem.Function, Expr | float]:
    """Return d and the weight in ``weight m_t = -m x (Ms h) - d m x (m x (Ms h))``.

    The damping multiplies test functions under ``grad``: a DG0 field would drop the jump of the
    flux at an interface (its elementwise gradient is zero), so it is turned into the continuous
    P1 field of lumped nodal averages. The weight is Ms (LL form) or Ms (1+alpha^2) (Gilbert).

    Raises:
        ValueError: If the damping is not positive and finite everywhere, on all ranks alike.
    """
    value = damping.alpha if isinstance(damping, Gilbert) else damping
    name = "alpha" if isinstance(damping, Gilbert) else "damping"
    if isinstance(value, fem.Function):
        check_positive(value, name)
        mesh = m.function_space.mesh
        if mesh_id(value.function_space.mesh) != mesh_id(mesh):
            raise ValueError(f"{name} lives on another mesh than m")
        nodal = _nodal_average(value, Ms, m)
        weight = Ms * (1 + value**2) if isinstance(damping, Gilbert) else Ms
        return nodal, weight
    try:
        number = float(value)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a number or a DG0 fem.Function, got {type(value).__name__}: "
            "cell_coefficient(mesh, expression) makes the function"
        ) from error
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{name} must be positive and finite, got {value}")
    weight = Ms * (1 + number**2) if isinstance(damping, Gilbert) else Ms
    return fem.Constant(m.function_space.mesh, number), weight
