# SPDX-License-Identifier: LGPL-3.0-or-later
"""Temporal upscaling of a single spin in a fast field.

Arjmand, Engblom, Kreiss, section 3.2; the macro solver is :mod:`dolfinx_llg.hmm.time.upscaled`.
"""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
from ufl.core.expr import Expr

from dolfinx_llg.hmm.time.fields import FastField, FieldFunction
from dolfinx_llg.hmm.time.precession import Field, Window, averaged_flux, averaged_state
from dolfinx_llg.kinds import checked

__all__ = ["SpinModel", "check_beta"]

Array = npt.NDArray[np.floating]


@checked
class SpinModel:
    r"""One spin in a fast field (section 3.2).

    The micro problem is linear in m, so that three of them, solved together, give F(t, M) for
    every M as a 3 x 3 matrix: their number does not depend on the iterations of the macro solver.
    With damping in the micro problem (remark 1) it is not linear, and is solved for each M.

    Args:
        function: The field H(t, t/eps), see :class:`dolfinx_llg.hmm.time.fields.FastField`.
        window: Averaging window, which also fixes eps.
        beta: Precession coefficient, not zero.

    Attributes:
        field: The checked field; ``field.evaluations`` counts its evaluations.

    Raises:
        ValueError: If the field is not callable, or beta is zero or not finite.
    """

    coupled = False
    unit_start = False
    dynamic = False
    shape: tuple[int, ...] | None = None
    omega_max = 0.0
    comm: MPI.Comm = MPI.COMM_SELF
    macro_comm: MPI.Comm = MPI.COMM_SELF

    def __init__(
        self, function: FieldFunction | Expr, window: Window, *, beta: float = 1.0
    ) -> None:
        """Check the arguments."""
        self.window = window
        self.beta = check_beta(beta)
        self.field = FastField(function, window.eps)
        self._cache: tuple[float, Array, Array] | None = None

    def refresh(self, t: float, m: Array) -> None:
        """There is nothing that varies slowly apart from the field."""

    def tabulate(self, times: Array, direction: int) -> Field:
        """Tabulate the applied field; the effective field is the applied field."""
        values = self.field(times)
        return lambda i, m: values[i]

    def flux_matrix(self, t: float) -> tuple[Array, Array]:
        """Matrix A with F(t, M) = A M, shape (3, 3), and the average field, shape (3,)."""
        if self._cache is None or self._cache[0] != t:
            rows, mean = averaged_flux(self, self.window, t, np.eye(3))
            self._cache = (t, rows.T.copy(), mean[0])
        return self._cache[1], self._cache[2]

    def flux(self, t: float, m: Array, damping: float = 0.0) -> tuple[Array, Array]:
        """Upscaled flux (3.5) and the averaged field.

        Args:
            t: Time t_a.
            m: Macro magnetization, shape (3,), or (n, 3) for independent spins in one field.
            damping: lambda of the LL form in the micro problem.

        Returns:
            F(t_a, M), of the shape of ``m``, and the averaged field, shape (3,) or that of ``m``.
        """
        if damping != 0.0:
            return averaged_flux(self, self.window, t, m, damping)
        matrix, mean = self.flux_matrix(t)
        return m @ matrix.T, mean

    def initial(self, m: Array, t: float = 0.0) -> Array:
        """Macro value of a spin m at the time t: its average over the window."""
        return averaged_state(self, self.window, t, np.asarray(m, dtype=np.float64))

    def field_change(self, v: Array) -> None:
        """The field does not depend on m."""


def check_beta(beta: float) -> float:
    """Return beta, which the damping term damping/beta must be able to divide by."""
    if not np.isfinite(beta) or beta == 0.0:
        raise ValueError(f"beta must be finite and not zero, got {beta}")
    return float(beta)
