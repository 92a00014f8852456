# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Fast applied fields :math:`H^\varepsilon(t) = H(t, t/\varepsilon)` given by the user."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl

from dolfinx_llg.kinds import checked

__all__ = ["FastField", "field_from_ufl"]

Array = npt.NDArray[np.floating]
FieldFunction = Callable[..., Any]


@checked
class FastField:
    r"""A field :math:`H(t, t/\varepsilon)`, or :math:`H(t, t/\varepsilon, x)`, checked and counted.

    Args:
        function: ``function(t, z)`` with the slow time ``t`` and the fast time ``z = t / eps``,
            arrays of shape (n,), returns three components (a list, or an array of shape (3, n));
            a component is an array of shape (n,) or a number. With ``positions`` it is called
            as ``function(t, z, x)`` with ``t`` and ``z`` of shape (n, 1) and ``x`` of shape
            (1, n_x), and each component broadcasts against (n, n_x).
        eps: Length of a fast period, positive.
        positions: Positions of the spins, shape (n_x,), for fields that vary in space.

    Attributes:
        evaluations: Number of times at which the field has been evaluated.

    Raises:
        ValueError: If ``eps`` is not positive, or the function returns a wrong shape or NaN.
    """

    def __init__(
        self,
        function: FieldFunction | ufl.core.expr.Expr,
        eps: float,
        positions: npt.ArrayLike | None = None,
    ) -> None:
        """Check the function by calling it once."""
        if not (np.isfinite(eps) and eps > 0.0):
            raise ValueError(f"eps must be a positive number, got {eps}")
        if isinstance(function, ufl.core.expr.Expr):
            raise ValueError(
                "the field is a UFL expression: turn it into a function of (t, t/eps) with "
                "field_from_ufl(expression, t, z)"
            )
        if not callable(function):
            raise ValueError(f"the field must be callable as field(t, t/eps), got {function!r}")
        self.function = function
        self.eps = float(eps)
        self.positions = None if positions is None else np.asarray(positions, dtype=np.float64)
        self.evaluations = 0
        self(np.array([0.0, 0.37 * self.eps]))
        self.evaluations = 0

    def __call__(self, t: npt.ArrayLike) -> Array:
        """Evaluate the field.

        Args:
            t: Times, shape (n,).

        Returns:
            Field, shape (n, 3), or (n, n_x or 1, 3) for a field that varies in space.
        """
        t = np.asarray(t, dtype=np.float64)
        self.evaluations += t.size
        z = t / self.eps
        if self.positions is None:
            full: tuple[int, ...] = t.shape
            value = self.function(t, z)
        else:
            full = (t.size, self.positions.size)
            value = self.function(t[:, None], z[:, None], self.positions[None, :])
        parts = self._components(value, full)
        shape = np.broadcast_shapes(
            *(part.shape for part in parts), (t.size, *(1,) * len(full[1:]))
        )
        field = np.stack([np.broadcast_to(part, shape) for part in parts], axis=-1)
        if not np.all(np.isfinite(field)):
            bad = np.unique(np.nonzero(~np.isfinite(field))[0])
            raise ValueError(f"the field is not finite at t = {t[bad[0]]}")
        return field

    @staticmethod
    def _components(value: Any, full: tuple[int, ...]) -> list[Array]:
        """Split the user's value in three components that broadcast to the shape ``full``."""
        message = f"the field must return 3 components, each a number or of shape {full}"
        if not isinstance(value, Sequence | np.ndarray) or len(value) != 3:
            met = np.shape(value) if isinstance(value, np.ndarray) else value
            raise ValueError(f"{message}; got {met!r}")
        parts: list[Array] = [np.asarray(part, dtype=np.float64) for part in value]
        for part in parts:
            try:
                fits = np.broadcast_shapes(part.shape, full) == full
            except ValueError:
                fits = False
            if not fits:
                raise ValueError(f"{message}; got a component of shape {part.shape}")
        return parts


@checked
def field_from_ufl(
    expression: ufl.core.expr.Expr, t: ufl.Constant, z: ufl.Constant
) -> FieldFunction:
    """Turn a UFL vector in the two times into a field for :class:`FastField`.

    The expression is interpreted time by time: convenient rather than fast.

    Args:
        expression: UFL vector of 3 components that contains no other terminals than ``t``, ``z``.
        t: The constant (``ufl.Constant`` or ``dolfinx.fem.Constant``) that stands for t.
        z: The constant that stands for t / eps.

    Returns:
        A function of (t, z), arrays of shape (n,), with values of shape (3, n). For a chain it may
        be called with positions, which it ignores: the field is uniform in space.

    Raises:
        ValueError: If the expression is no 3-vector or has further terminals; later, by the
            function, where the expression is not defined, with the time.
    """
    if expression.ufl_shape != (3,):
        raise ValueError(
            f"the field must be a UFL vector of shape (3,), got {expression.ufl_shape}"
        )
    found = set(ufl.algorithms.extract_coefficients(expression))
    found |= set(ufl.algorithms.analysis.extract_type(expression, ufl.Constant))
    found |= set(ufl.algorithms.analysis.extract_type(expression, ufl.geometry.GeometricQuantity))
    if not found <= {t, z}:
        raise ValueError(f"the field may contain t and z only, found {found - {t, z}}")

    def component(i: int, slow: float, fast: float) -> float:
        try:
            return float(expression[i]((), {t: slow, z: fast}))
        except (ValueError, TypeError, ArithmeticError) as error:  # TypeError: a complex value
            raise ValueError(
                f"component {i} of the field {expression} is not defined at t = {slow:.12g}, "
                f"t/eps = {fast:.12g}: {error}"
            ) from error

    evaluate = np.vectorize(component, otypes=[np.float64])

    def field(slow: Array, fast: Array, *positions: Array) -> list[Array]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # UFL's, which tell less than the error
            return [evaluate(i, slow, fast) for i in range(3)]

    return field
