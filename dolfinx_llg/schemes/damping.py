# SPDX-License-Identifier: LGPL-3.0-or-later
"""The damping of a run: lambda of the LL form or Gilbert's alpha, live in the forms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.la import InsertMode
from ufl.core.expr import Expr

from dolfinx_llg.collective import agree
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import check_positive
from dolfinx_llg.physics.interaction import mesh_id

__all__ = ["Damping", "Gilbert", "LiveDamping"]


@checked
@dataclass(frozen=True)
class Gilbert:
    """Damping in Gilbert's form: (1+alpha^2) m_t = -m x h_eff - alpha m x (m x h_eff).

    A plain number or function given as ``damping`` is instead the lambda of the Landau-Lifshitz
    form m_t = -m x h_eff - lambda m x (m x h_eff) (GRPS paper, (1.1)).

    Args:
        alpha: Gilbert damping, positive: a number, a ``fem.Constant`` or a DG0 function (differs
            by region). The last two may be changed in a run; each step looks at them.
    """

    alpha: float | fem.Constant | fem.Function


Damping = float | fem.Constant | fem.Function | Gilbert
"""What a scheme takes as its damping."""


class LiveDamping:
    """The damping as it stands in forms; a value that the user changes is taken up by ``refresh``.

    The damping multiplies test functions under ``grad``: a DG0 field would drop the jump of the
    flux at an interface (its elementwise gradient is zero), so the semi-implicit schemes see the
    continuous P1 field of lumped nodal averages, ``nodal``.

    Args:
        damping: ``Gilbert(alpha)``, or lambda of the LL form.
        Ms: Relative saturation magnetization, the weight of the averages.
        m: Magnetization of the run.
        zero: Whether the damping may be 0 (schemes that do not divide by it).

    Attributes:
        gilbert: Whether the value is Gilbert's alpha.
        value: The user's ``fem.Constant`` or DG0 function; a constant of the mesh for a number.
        nodal: ``value``, or the P1 function of its nodal averages.

    Raises:
        ValueError: If the damping is not positive and finite everywhere, or lives on another mesh;
            on all ranks alike.
        TypeError: If it is of another kind.
    """

    def __init__(
        self,
        damping: Damping,
        Ms: float | fem.Constant | fem.Function,
        m: fem.Function,
        *,
        zero: bool = False,
    ) -> None:
        self.gilbert = isinstance(damping, Gilbert)
        self.name = "alpha" if self.gilbert else "damping"
        value: Any = damping.alpha if isinstance(damping, Gilbert) else damping
        if isinstance(value, fem.Function) and value.ufl_shape:
            raise ValueError(
                f"{self.name} must be a scalar, got a function of shape {value.ufl_shape}"
            )
        mesh = m.function_space.mesh
        self.comm = mesh.comm
        if not isinstance(value, fem.Function | fem.Constant):
            try:
                value = fem.Constant(mesh, float(value))
            except TypeError as error:
                raise TypeError(
                    f"{self.name} must be a number, a fem.Constant or a DG0 fem.Function, got "
                    f"{type(value).__name__}: cell_coefficient(mesh, expression) makes the function"
                ) from error
        self.value: fem.Constant | fem.Function = value
        self.Ms, self._zero = Ms, zero
        if isinstance(value, fem.Constant):
            agree(mesh.comm, **{self.name: value.value})
        self._check()
        self.nodal: fem.Constant | fem.Function = value
        if isinstance(value, fem.Function):
            if mesh_id(value.function_space.mesh) != mesh_id(mesh):
                raise ValueError(f"{self.name} lives on another mesh than m")
            space = fem.functionspace(mesh, ("Lagrange", 1))
            self.nodal = fem.Function(space, name=self.name)
            v, dx = ufl.TestFunction(space), ufl.dx(domain=mesh)
            self._sums = [compile_form(f) for f in (value * Ms * v * dx, Ms * v * dx)]
            self._average()
        self._seen = self._array().copy()

    @property
    def weight(self) -> Expr | float:
        """Weight of m_t: Ms for the LL form, Ms (1 + alpha^2) for Gilbert's."""
        return self.Ms * (1 + self.value**2) if self.gilbert else self.Ms

    def rotation(self) -> float | npt.NDArray[np.float64]:
        """Return arg(lambda + i), a number or one for each node of this rank, with ghosts."""
        if isinstance(self.nodal, fem.Function):
            return np.asarray(np.arctan2(1.0, self.nodal.x.array))
        return math.atan2(1.0, float(self.nodal.value))

    def refresh(self) -> bool:
        """Take up a value that has changed since the last call; return whether it had. Collective.

        Raises:
            ValueError: If it is not positive and finite any more, on all ranks alike.
        """
        changed = not np.array_equal(self._array(), self._seen)
        if isinstance(self.value, fem.Function):
            changed = any(self.comm.allgather(changed))
        if changed:
            self._check()
            if isinstance(self.value, fem.Function):
                self._average()
            self._seen = self._array().copy()
        return changed

    def _array(self) -> npt.NDArray[np.float64]:
        if isinstance(self.value, fem.Function):
            return self.value.x.array
        return np.atleast_1d(self.value.value)

    def _check(self) -> None:
        if isinstance(self.value, fem.Function):
            least = float(np.min(self.value.x.array, initial=math.inf))
            if self._zero and min(self.comm.allgather(least)) == 0.0:
                return self._check_bounds(self.value)
            check_positive(self.value, self.name)
            return
        number = self.value.value
        inside = number >= 0 if self._zero else number > 0
        if np.ndim(number) or not (np.isfinite(number) and inside):
            wanted = "at least 0" if self._zero else "positive"
            raise ValueError(f"{self.name} must be {wanted} and finite, got {number}")

    def _check_bounds(self, value: fem.Function) -> None:
        """Refuse a field with zeros that is not finite."""
        if not all(self.comm.allgather(bool(np.all(np.isfinite(value.x.array))))):
            raise ValueError(f"{self.name} must be at least 0 and finite")

    def rate(self) -> tuple[float | npt.NDArray[np.float64], float | npt.NDArray[np.float64]]:
        """Return (c, lambda) of ``m_t = c (-m x h - lambda m x (m x h))`` at the owned nodes.

        Numbers, or arrays of shape (n, 1).
        """
        nodal: Any = self.nodal
        if isinstance(nodal, fem.Function):
            owned = nodal.function_space.dofmap.index_map.size_local
            value: Any = np.array(nodal.x.array[:owned])[:, None]
        else:
            value = float(nodal.value)
        return (1.0 / (1.0 + value**2) if self.gilbert else 1.0), value

    def _average(self) -> None:
        """Set ``nodal`` to the lumped (Ms-weighted) averages of the DG0 field."""
        assert isinstance(self.nodal, fem.Function)
        sums = []
        for form in self._sums:
            vector = fem.assemble_vector(form)
            vector.scatter_reverse(InsertMode.add)
            vector.scatter_forward()
            sums.append(vector.array)
        self.nodal.x.array[:] = sums[0] / sums[1]
