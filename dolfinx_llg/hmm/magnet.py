# SPDX-License-Identifier: LGPL-3.0-or-later
r"""A finite-element magnet in a fast applied field, upscaled in time.

Beyond the paper: the single spin of Arjmand, Engblom, Kreiss is replaced by all nodes of a P1
magnetization with any :class:`~dolfinx_llg.physics.interaction.Energy`. The micro model is still
(3.4), now with

.. math:: h_i = -\frac{1}{(M_s)_i} \frac{\partial E}{\partial m_i} + H(t, t/\varepsilon),
          \qquad (M_s)_i = \int M_s \varphi_i,

the effective field at node i by mass lumping; macro solver, window and kernels are those of one
spin.
"""

from __future__ import annotations

from collections.abc import Callable

from mpi4py import MPI

import dolfinx.fem.petsc as fem_petsc
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from ufl.core.expr import Expr

from dolfinx_llg.hmm.fields import FastField, FieldFunction
from dolfinx_llg.hmm.precession import Field, Window, averaged_flux
from dolfinx_llg.hmm.temporal import check_beta
from dolfinx_llg.physics.interaction import Energy, expand
from dolfinx_llg.sphere import check_magnetization

__all__ = ["MagnetModel"]

Array = npt.NDArray[np.floating]


class MagnetModel:
    r"""Macro model of a magnet, for :func:`dolfinx_llg.hmm.temporal.march_upscaled`.

    States are arrays of shape (n, 3), the nodes that this rank owns: see :meth:`nodal` and
    :meth:`assign`. The model is also a ``PrecessingSystem``: ``resolved`` simulates it directly.

    If the energy is quadratic, its effective field is affine in m and a matrix is assembled once;
    otherwise the gradient is assembled in every evaluation. Data that ``energy.update`` refreshes
    are taken at the centre of the window: what varies fast belongs in ``applied``.

    Args:
        energy: The energy without the fast field.
        m: Magnetization; it fixes mesh and space, and is not changed.
        applied: The fast field: a function H(t, z), see :class:`FastField`, constant in space; or
            a UFL vector that may vary in space and contains the constants ``times``.
        window: Averaging window.
        times: For a UFL field, the scalar constants that stand for t and t / eps.
        beta: Precession coefficient, not zero.

    Attributes:
        evaluations: Evaluations of the effective field of the whole magnet.

    Raises:
        ValueError: If an argument is out of range.
    """

    coupled = True
    unit_start = False

    def __init__(
        self,
        energy: Energy,
        m: fem.Function,
        applied: FieldFunction | Expr,
        window: Window,
        *,
        times: tuple[fem.Constant, fem.Constant] | None = None,
        beta: float = 1.0,
    ) -> None:
        check_magnetization(m)
        V = m.function_space
        self.energy, self.window, self.beta = energy, window, check_beta(beta)
        self.comm: MPI.Comm = V.mesh.comm
        self.macro_comm = self.comm
        self.evaluations = 0
        self._n = V.dofmap.index_map.size_local
        self._m = fem.Function(V)
        self._m.x.array[:] = m.x.array
        self._applied = _applied_field(applied, times, window, V)
        w, v = ufl.TestFunction(V), ufl.TrialFunction(V)
        dx = ufl.dx(domain=V.mesh)
        ones = ufl.as_vector([1.0] * 3)
        self._mass = self._owned(fem.assemble_vector(fem.form(energy.Ms * ufl.inner(ones, w) * dx)))
        gradient = energy.gradient(self._m, w)
        hessian = expand(energy.hessian(self._m, v, w))
        self._gradient = fem.form(gradient * dx)
        self._hessian = fem.form(hessian * dx)
        #: Whether the effective field is affine in m: the Hessian does not contain m.
        self.quadratic = self._m not in ufl.algorithms.extract_coefficients(hessian)
        self._matrix = fem_petsc.assemble_matrix(self._hessian)
        self._matrix.assemble()
        self._x, self._y = self._matrix.createVecs()
        self._constant = np.zeros((self._n, 3))

    def nodal(self, m: fem.Function) -> Array:
        """Values at the nodes owned by this rank, shape (n, 3)."""
        return np.array(m.x.array[: 3 * self._n]).reshape(-1, 3)

    def assign(self, m: fem.Function, values: Array) -> None:
        """Write nodal values, shape (n, 3), to a function of the same space, ghosts included."""
        m.x.array[: 3 * self._n] = np.ravel(values)
        m.x.scatter_forward()

    def nodal_volumes(self) -> Array:
        """Ms-weighted volume of every owned node, shape (n,): the weights of averages of m."""
        return np.array(self._mass[:, 0])

    def tabulate(self, times: Array, direction: int) -> Field:
        """Prepare the effective field at the given times, see ``PrecessingSystem``."""
        self._refresh(float(times[0]))
        applied = self._applied.tabulate(times)

        def effective(i: int, m: Array) -> Array:
            self.evaluations += 1
            return self._internal(m) + applied(i)

        return effective

    def flux(self, t: float, m: Array) -> tuple[Array, Array]:
        """Upscaled flux (3.5) at all owned nodes, and the averaged effective field.

        Args:
            t: Time t_a.
            m: Macro magnetization, shape (n, 3).

        Returns:
            F and the averaged field, each of shape (n, 3). Collective.

        Raises:
            ConvergenceError: If an implicit micro step does not converge.
        """
        if not self.quadratic:
            self.assign(self._m, m)
            self._matrix.zeroEntries()
            fem_petsc.assemble_matrix(self._matrix, self._hessian)
            self._matrix.assemble()
        return averaged_flux(self, self.window, t, m)

    def field_change(self, v: Array) -> Array:
        """Derivative of the effective field along v, from the assembled Hessian."""
        self._x.array_w[:] = v.ravel()
        self._matrix.mult(self._x, self._y)
        return -self._y.array_r.reshape(-1, 3) / self._mass

    def _refresh(self, t: float) -> None:
        """Update data that depend on time, and the part of the field that does not depend on m."""
        self.energy.update(self._m, t)
        if self.quadratic:
            self._m.x.array[:] = 0.0
            vector = fem.assemble_vector(self._gradient)
            self._constant = -self._owned(vector) / self._mass

    def _internal(self, m: Array) -> Array:
        """Effective field of the energy, shape (n, 3)."""
        if self.quadratic:
            return self._constant + self.field_change(m)
        self.assign(self._m, m)
        return -self._owned(fem.assemble_vector(self._gradient)) / self._mass

    def _owned(self, vector: la.Vector) -> Array:
        """Sum an assembled vector over the ranks; its owned part, shape (n, 3)."""
        vector.scatter_reverse(la.InsertMode.add)
        return np.array(vector.array[: 3 * self._n]).reshape(-1, 3)


class _UniformField:
    """A fast field that does not vary in space."""

    def __init__(self, function: FieldFunction, eps: float) -> None:
        self.field = FastField(function, eps)

    def tabulate(self, times: Array) -> Callable[[int], Array]:
        """Field at the i-th time, shape (3,)."""
        values = self.field(times)
        return lambda i: values[i]


class _UflField:
    """A fast field given in UFL, interpolated at the nodes at every micro time."""

    def __init__(
        self,
        field: Expr,
        times: tuple[fem.Constant, fem.Constant],
        eps: float,
        V: fem.FunctionSpace,
    ) -> None:
        self.eps, self.times = eps, times
        self._values = fem.Function(V)
        self._expression = fem.Expression(field, V.element.interpolation_points)
        self._n = 3 * V.dofmap.index_map.size_local
        for t in (0.0, 0.37 * eps):
            finite = bool(np.all(np.isfinite(self._at(t))))
            if not V.mesh.comm.allreduce(finite, op=MPI.LAND):
                raise ValueError(f"the applied field is not finite at t = {t}")

    def _at(self, t: float) -> Array:
        self.times[0].value[...] = t
        self.times[1].value[...] = t / self.eps
        self._values.interpolate(self._expression)
        return np.array(self._values.x.array[: self._n]).reshape(-1, 3)

    def tabulate(self, times: Array) -> Callable[[int], Array]:
        """Field at the i-th time, shape (n, 3); the last one met is kept."""
        last = -1
        value: Array = np.empty(0)

        def at(i: int) -> Array:
            nonlocal last, value
            if i != last:
                last, value = i, self._at(float(times[i]))
            return value

        return at


def _applied_field(
    applied: FieldFunction | Expr,
    times: tuple[fem.Constant, fem.Constant] | None,
    window: Window,
    V: fem.FunctionSpace,
) -> _UniformField | _UflField:
    """Dispatch between a function of time and a UFL vector."""
    if not isinstance(applied, Expr):
        return _UniformField(applied, window.eps)
    if applied.ufl_shape != (3,):
        raise ValueError(f"the applied field must have shape (3,), got {applied.ufl_shape}")
    if times is None:
        raise ValueError("a UFL field needs times=(t, z), the constants for t and t / eps")
    return _UflField(applied, times, window.eps, V)
