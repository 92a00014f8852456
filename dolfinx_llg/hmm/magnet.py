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

import warnings

from mpi4py import MPI

import dolfinx.fem.petsc as fem_petsc
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la
from ufl.core.expr import Expr

from dolfinx_llg.hmm.applied import applied_field
from dolfinx_llg.hmm.fields import FieldFunction
from dolfinx_llg.hmm.precession import Field, Window, averaged_flux
from dolfinx_llg.hmm.temporal import check_beta
from dolfinx_llg.physics.interaction import Energy, Interaction, expand
from dolfinx_llg.sphere import check_magnetization

__all__ = ["MagnetModel"]

Array = npt.NDArray[np.floating]

#: Beyond this omega_max tau Newton's iteration may stall, see :class:`MagnetModel`.
MAX_TURN = 10.0


class MagnetModel:
    r"""Macro model of a magnet, for :func:`dolfinx_llg.hmm.temporal.march_upscaled`.

    States are arrays of shape (n, 3), the nodes that this rank owns: see :meth:`nodal` and
    :meth:`assign`. The model is also a ``PrecessingSystem``: ``resolved`` simulates it directly.

    If the energy is quadratic, its effective field is affine in m and a matrix is assembled once,
    and again when data in it have changed; otherwise the gradient is assembled in every evaluation.

    ``energy.update`` is called once per flux, at the centre t_a of the window and with the macro
    magnetization there: what a term computes in ``update``, from t or from m, is constant over
    the window (an error of order tau in the micro problem; of the macro model it sees every
    iterate of the midpoint). ``resolved`` calls it before every step, with the state there: such
    terms lag by one micro step, of order 1 in it. What varies as fast as t/eps belongs in
    ``applied``.

    Admissible range: with :math:`\omega_{\max} = |\beta| \lambda_{\max}(M_L^{-1} K)`, the fastest
    mode of the energy (about :math:`8 \kappa/h^2` for exchange in 2D), :math:`\omega_{\max} \tau`
    should not exceed about 10. The average over the window damps faster modes, which Newton's
    approximate Jacobian does not know: it then converges slowly or stalls, and the micro problem
    needs steps that resolve these modes.

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
        omega_max: Largest frequency of the energy, estimated at construction by power iterations.
        dynamic: Whether a term or the energy has an ``update`` of its own.

    Warns:
        UserWarning: If ``omega_max * window.tau`` exceeds 10.

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
        self.shape = (self._n, 3)
        # _m is the form's own argument; what the terms see in ``update`` is another function.
        self._m, self._seen = fem.Function(V), fem.Function(V)
        self._m.x.array[:] = m.x.array
        self._applied = applied_field(applied, times, window, V)
        w, v = ufl.TestFunction(V), ufl.TrialFunction(V)
        dx = ufl.dx(domain=V.mesh)
        ones = ufl.as_vector([1.0] * 3)
        self._mass = self._owned(fem.assemble_vector(fem.form(energy.Ms * ufl.inner(ones, w) * dx)))
        gradient = energy.gradient(self._m, w) * dx
        second = expand(energy.hessian(self._m, v, w))
        if second == 0:  # applied fields only: a form must have an integral
            second = fem.Constant(V.mesh, 0.0) * ufl.inner(v, w)
        hessian = second * dx
        self._gradient, self._hessian = fem.form(gradient), fem.form(hessian)
        self._gradient_data = _Data(gradient, self._m)
        self._hessian_data = _Data(hessian, self._m)
        #: Whether the effective field is affine in m: the Hessian does not contain m.
        self.quadratic = self._m not in hessian.coefficients()
        self.dynamic = type(energy).update is not Energy.update or any(
            type(term).update is not Interaction.update for term in energy.terms
        )
        self._matrix = fem_petsc.create_matrix(self._hessian)
        self._x, self._y = self._matrix.createVecs()
        self._constant: Array = np.zeros((self._n, 3))
        self._assemble_hessian()
        self.refresh(0.0, self.nodal(m))
        self.omega_max = abs(self.beta) * self._largest_eigenvalue()
        turn = self.omega_max * window.tau
        if turn > MAX_TURN:
            warnings.warn(
                f"omega_max tau = {turn:.3g}, with omega_max = {self.omega_max:.3g} the fastest "
                f"mode of the energy on this mesh and tau = {window.tau:.3g}: beyond about "
                f"{MAX_TURN:g} Newton's iteration may stall; reduce tau (it scales with eps), or "
                "coarsen the mesh",
                stacklevel=2,
            )

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
        self.refresh(t, m)
        if not self.quadratic:
            self.assign(self._m, m)
            self._assemble_hessian()
        return averaged_flux(self, self.window, t, m)

    def field_change(self, v: Array) -> Array:
        """Derivative of the effective field along v, from the assembled Hessian."""
        self._x.array_w[:] = v.ravel()
        self._matrix.mult(self._x, self._y)
        return -self._y.array_r.reshape(-1, 3) / self._mass

    def refresh(self, t: float, m: Array) -> None:
        """Call ``energy.update``, and assemble again what depends on data that have changed.

        Args:
            t: Time.
            m: Magnetization that the terms see, shape (n, 3). Collective.
        """
        if self.dynamic:
            self.assign(self._seen, m)
            self.energy.update(self._seen, t)
        if not self.quadratic:
            return
        changed = np.array([self._gradient_data.changed(), self._hessian_data.changed()])
        # Constants are the same on all ranks, values of functions may change on one of them.
        if self._gradient_data.functions or self._hessian_data.functions:
            self.comm.Allreduce(MPI.IN_PLACE, changed, op=MPI.LOR)
        if changed[0]:
            self._m.x.array[:] = 0.0
            vector = fem.assemble_vector(self._gradient)
            self._constant = -self._owned(vector) / self._mass
        if changed[1]:
            self._assemble_hessian()

    def _assemble_hessian(self) -> None:
        self._matrix.zeroEntries()
        fem_petsc.assemble_matrix(self._matrix, self._hessian)
        self._matrix.assemble()

    def _largest_eigenvalue(self, iterations: int = 20) -> float:
        """Estimate abs(lambda_max) of the lumped M^-1 K from below, by power iterations."""
        v: Array = np.random.default_rng(self.comm.rank).standard_normal((self._n, 3))
        old, value = 0.0, 0.0
        for _ in range(iterations + 1):
            # Norm in which M^-1 K is self-adjoint: the ratios grow towards the eigenvalue.
            size = np.sqrt(self.comm.allreduce(float(np.sum(self._mass * v * v))))
            if not (np.isfinite(size) and size > 0.0):
                return 0.0
            value, old = size / old if old else 0.0, 1.0
            v = self.field_change(v / size)
        return float(value)

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


class _Data:
    """Values of the coefficients and constants of a form, but one, to see when they change."""

    def __init__(self, form: ufl.Form, but: fem.Function) -> None:
        self.functions = [f for f in form.coefficients() if f is not but]
        self._arrays = [f.x.array for f in self.functions]
        self._arrays += [constant.value for constant in form.constants()]
        self._old: list[Array] | None = None

    def changed(self) -> bool:
        """Whether a value differs from the last call's (on this rank); True at the first call."""
        old = self._old
        if old is not None and all(map(np.array_equal, old, self._arrays)):
            return False
        self._old = [np.array(array) for array in self._arrays]
        return True
