# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fast applied fields at the nodes of a magnet: a function of time, or UFL that varies in space."""

from __future__ import annotations

from collections.abc import Callable

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.hmm.time.fields import FastField, FieldFunction
from dolfinx_llg.hmm.time.precession import Window
from dolfinx_llg.jit import compile_expression
from dolfinx_llg.kinds import checked

__all__ = ["applied_field"]

Array = npt.NDArray[np.floating]

#: Nodal values that are tabulated at once, over all ranks.
_BLOCK_VALUES = 4_000_000


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
        self._expression = compile_expression(field, V.element.interpolation_points)
        index_map = V.dofmap.index_map
        self._n, self.comm = 3 * index_map.size_local, V.mesh.comm
        # The same on all ranks: every block ends in a collective check.
        self._block = int(np.clip(_BLOCK_VALUES // (3 * index_map.size_global), 1, 64))
        self._values_at(np.array([0.0, 0.37 * eps]))

    def _values_at(self, times: Array) -> Array:
        """Tabulate the field at some times, shape (len(times), n, 3)."""
        out = np.empty((times.size, self._n // 3, 3))
        for row, t in zip(out, times, strict=True):
            self.times[0].value[...] = t
            self.times[1].value[...] = t / self.eps
            self._values.interpolate(self._expression)
            row[...] = self._values.x.array[: self._n].reshape(-1, 3)
        bad = ~np.all(np.isfinite(out), axis=(1, 2))
        first = self.comm.allreduce(int(np.argmax(bad)) if bad.any() else times.size, op=MPI.MIN)
        if first < times.size:
            raise ValueError(f"the applied field is not finite at t = {times[first]:.12g}")
        return out

    def tabulate(self, times: Array) -> Callable[[int], Array]:
        """Field at the i-th time, shape (n, 3); one block of times is kept."""
        last = -1
        values: Array = np.empty(0)

        def at(i: int) -> Array:
            nonlocal last, values
            block, row = divmod(i, self._block)
            if block != last:
                last = block
                values = self._values_at(times[block * self._block : (block + 1) * self._block])
            return np.asarray(values[row])

        return at


@checked
def applied_field(
    applied: FieldFunction | Expr,
    times: tuple[fem.Constant, fem.Constant] | None,
    window: Window,
    V: fem.FunctionSpace,
) -> _UniformField | _UflField:
    """Check the applied field of a magnet, and prepare its evaluation at the nodes.

    Args:
        applied: A function H(t, z), or a UFL vector.
        times: For a UFL vector, the scalar constants in it that stand for t and t / eps.
        window: Averaging window, for eps.
        V: Space of the magnetization.

    Returns:
        An object whose ``tabulate(times)`` gives a function i -> field at the i-th time.

    Raises:
        ValueError: If the field or ``times`` is not valid, or the field not finite.
    """
    if not isinstance(applied, Expr):
        if times is not None:
            raise ValueError("times=(t, z) belongs to a UFL field; a function gets t and z itself")
        return _UniformField(applied, window.eps)
    if applied.ufl_shape != (3,):
        raise ValueError(f"the applied field must have shape (3,), got {applied.ufl_shape}")
    if times is None:
        raise ValueError("a UFL field needs times=(t, z), the constants for t and t / eps")
    given: tuple[object, ...] = tuple(times)
    scalar = [isinstance(c, fem.Constant) and c.value.ndim == 0 for c in given]
    if len(given) != 2 or not all(scalar) or given[0] is given[1]:
        raise ValueError(
            f"times must be two different scalar fem.Constant, for t and t / eps, got {times!r}"
        )
    if times[1] not in ufl.algorithms.analysis.extract_type(applied, ufl.Constant):
        raise ValueError(
            "the second of times, which stands for t / eps, does not occur in the applied field: "
            "the order is (t, z); a field without fast time is a Zeeman term of the energy"
        )
    return _UflField(applied, times, window.eps, V)
