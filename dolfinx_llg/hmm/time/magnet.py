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

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.checks import warn
from dolfinx_llg.hmm.time.applied import applied_field
from dolfinx_llg.hmm.time.fields import FieldFunction
from dolfinx_llg.hmm.time.precession import Field, Window, averaged_flux, averaged_state
from dolfinx_llg.hmm.time.temporal import check_beta
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.solvers.nodal_field import NodalField

__all__ = ["MagnetModel"]

Array = npt.NDArray[np.floating]

#: Beyond this omega_max tau Newton's iteration may stall, see :class:`MagnetModel`.
MAX_TURN = 10.0


@checked
class MagnetModel:
    r"""Macro model of a magnet, for :func:`dolfinx_llg.hmm.upscaled`.

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
        self._field = NodalField(energy, m)
        self.energy, self.window, self.beta = energy, window, check_beta(beta)
        self.comm: MPI.Comm = m.function_space.mesh.comm
        self.macro_comm = self.comm
        self.evaluations = 0
        self.shape = self._field.shape
        self._applied = applied_field(applied, times, window, m.function_space)
        #: Whether the effective field is affine in m: the Hessian does not contain m.
        self.quadratic = self._field.quadratic
        self.dynamic = self._field.dynamic
        self.omega_max = abs(self.beta) * self._field.largest_frequency()
        turn = self.omega_max * window.tau
        if turn > MAX_TURN:
            warn(
                f"omega_max tau = {turn:.3g}, with omega_max = {self.omega_max:.3g} the fastest "
                f"mode of the energy on this mesh and tau = {window.tau:.3g}: beyond about "
                f"{MAX_TURN:g} Newton's iteration may stall; reduce tau (it scales with eps), or "
                "coarsen the mesh"
            )

    def nodal(self, m: fem.Function) -> Array:
        """Values at the nodes owned by this rank, shape (n, 3)."""
        return self._field.nodal(m)

    def assign(self, m: fem.Function, values: Array) -> None:
        """Write nodal values, shape (n, 3), to a function of the same space, ghosts included."""
        self._field.assign(m, values)

    def nodal_volumes(self) -> Array:
        """Ms-weighted volume of every owned node, shape (n,): the weights of averages of m."""
        return np.array(self._field.volumes)

    def tabulate(self, times: Array, direction: int) -> Field:
        """Prepare the effective field at the given times, see ``PrecessingSystem``."""
        applied = self._applied.tabulate(times)

        def effective(i: int, m: Array) -> Array:
            self.evaluations += 1
            return self._field.evaluate(m) + applied(i)

        return effective

    def initial(self, m: Array, t: float = 0.0) -> Array:
        """Macro values of a state, shape (n, 3), at the time t: its average over the window.

        Collective.
        """
        self.refresh(t, m)
        return averaged_state(self, self.window, t, m)

    def flux(self, t: float, m: Array, damping: float = 0.0) -> tuple[Array, Array]:
        """Upscaled flux (3.5) at all owned nodes, and the averaged effective field.

        Args:
            t: Time t_a.
            m: Macro magnetization, shape (n, 3).
            damping: lambda of the LL form in the micro problem.

        Returns:
            F and the averaged field, each of shape (n, 3). Collective.

        Raises:
            ConvergenceError: If an implicit micro step does not converge.
        """
        self.refresh(t, m)
        if not self.quadratic:
            self._field.linearise(m)
        return averaged_flux(self, self.window, t, m, damping)

    def field_change(self, v: Array) -> Array:
        """Derivative of the effective field along v, from the assembled Hessian."""
        return self._field.change(v)

    def refresh(self, t: float, m: Array) -> None:
        """Call ``energy.update``, and assemble again what depends on data that have changed.

        Args:
            t: Time.
            m: Magnetization that the terms see, shape (n, 3). Collective.
        """
        self._field.refresh(t, m)
