# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The forms of a step on samples, as vectors: nothing is assembled into a matrix.

A step needs :math:`C(m) u` only as often as GMRES asks, two to four times where it starts from the
last levels. At the samples of Nc = 16 one assembly costs as much as seven of these products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.la import InsertMode

from dolfinx_llg.reduction.samples import SampledStep

__all__ = ["SampledForms"]

FloatArray = npt.NDArray[np.float64]

_assemble_into: Any = fem.assemble_vector  # its types know the variant that allocates alone


class SampledForms:
    """Vectors of a step on samples; all arrays are of the nodes that this rank owns, (nodes, 3).

    Args:
        sampled: The step.
    """

    def __init__(self, sampled: SampledStep) -> None:
        step = sampled.step
        self._step = step
        assert step.x is not None
        self._argument = fem.Function(step.m.function_space, name="u")
        self._vector = fem.Function(step.m.function_space, name="image").x
        self._own = step.m.function_space.dofmap.index_map.size_local
        self._weights = [
            (block, fem.Constant(step.m.function_space.mesh, 0.0))
            for block in step.constant
            if block.history is not None
        ]
        terms = [] if step.source is None else [step.source]
        terms += [weight * _image(block.form, block.history) for block, weight in self._weights]
        self._right = _compile(terms)
        linear = [] if step.varying is None else [_image(step.varying, self._argument)]
        self._linear = self._tangent = _compile(linear)
        self._nonlinear = None
        if step.nonlinear is not None:
            direction: Any = self._argument
            derivative = ufl.derivative(step.nonlinear, step.x, direction)
            self._nonlinear = _compile([*linear, step.nonlinear])
            self._tangent = _compile([*linear, derivative])

    @property
    def has_varying(self) -> bool:
        """Whether the operator of a step has a part besides the constant blocks."""
        return self._tangent is not None

    def right_side(self, dt: float) -> FloatArray:
        """Return s(m) and the images of the histories."""
        for block, weight in self._weights:
            weight.value = np.asarray(block.history_weight(dt))
        return self._assemble(self._right)

    def product(self, u: FloatArray, *, tangent: bool) -> FloatArray:
        """Return C(m) u, with N'(x) u for a tangent; u at the nodes, shape (nodes, 3)."""
        self._set(self._argument, u)
        return self._assemble(self._tangent if tangent else self._linear)

    def nonlinear(self, x: FloatArray) -> FloatArray:
        """Return C(m) x + N(x) of a nonlinear step."""
        self._set(self._argument, x)
        self.set_iterate(x)
        return self._assemble(self._nonlinear)

    def set_iterate(self, x: FloatArray) -> None:
        """Set the iterate x at which N' is taken."""
        assert self._step.x is not None
        self._set(self._step.x, x)

    def _set(self, function: fem.Function, values: FloatArray) -> None:
        function.x.array[: 3 * self._own] = values.ravel()
        function.x.scatter_forward()

    def _assemble(self, form: fem.Form | None) -> FloatArray:
        self._vector.array[:] = 0.0
        if form is not None:
            _assemble_into(self._vector.array, form)
        self._vector.scatter_reverse(InsertMode.add)
        own = np.array(self._vector.array[: 3 * self._own], dtype=np.float64)
        return own.reshape(-1, 3)


def _image(form: ufl.Form, of: Any) -> ufl.Form:
    """Return a bilinear form with a function in the place of its trial function."""
    _, trial = form.arguments()
    return ufl.replace(form, {trial: of})


def _compile(terms: list[ufl.Form]) -> fem.Form | None:
    return fem.form(sum(terms[1:], terms[0])) if terms else None
