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

from dolfinx_llg.jit import compile_form
from dolfinx_llg.reduction.samples import SampledStep
from dolfinx_llg.reduction.trilinear import TrilinearForm
from dolfinx_llg.solvers.varying_vector import VaryingVector

__all__ = ["SampledForms"]

FloatArray = npt.NDArray[np.float64]

_assemble_into: Any = fem.assemble_vector  # its types know the variant that allocates alone


class SampledForms:
    """Vectors of a step on samples; all arrays are of the nodes that this rank owns, (nodes, 3).

    Args:
        sampled: The step.
        mean: Means of m that are taken from it in what is linear in it.

    Attributes:
        trilinear: The integrals that are linear in m as a kernel, None if there is none.
    """

    def __init__(self, sampled: SampledStep, mean: fem.Function) -> None:
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
        self._source: VaryingVector | None = None
        if step.source is not None:
            self._source = VaryingVector(step.source, step.m)
        self._histories = _compile(
            [weight * _image(block.form, block.history) for block, weight in self._weights]
        )
        self._mean = mean
        varying = step.varying
        self._kernel: TrilinearForm | None = None
        if sampled.linear is not None and step.nonlinear is None:
            kernel = TrilinearForm(sampled.linear, step.m, mean)
            if kernel.found:
                varying, self._kernel = sampled.others, kernel
        self.trilinear = self._kernel
        self._varying = varying
        linear = [] if varying is None else [_image(varying, self._argument)]
        self._linear = self._tangent = _action(linear, self._argument)
        self._nonlinear = None
        if step.nonlinear is not None:
            direction: Any = self._argument
            derivative = ufl.derivative(step.nonlinear, step.x, direction)
            self._nonlinear = _compile([*linear, step.nonlinear])
            self._tangent = _action([*linear, derivative], self._argument)

    def leave_trilinear(self) -> None:
        """Leave the integrals of ``trilinear`` to somebody else."""
        self._kernel = None

    @property
    def reads_mean(self) -> bool:
        """Whether a form has the means of m in it."""
        read = [] if self._step.nonlinear is None else [self._step.nonlinear]
        read += [self._varying] if self._varying is not None else []
        return self._kernel is not None or any(self._mean in f.coefficients() for f in read)

    @property
    def has_varying(self) -> bool:
        """Whether the operator of a step has a part besides the constant blocks."""
        return self._tangent is not None or self._kernel is not None

    def right_side(self, dt: float) -> FloatArray:
        """Return s(m) and the images of the histories."""
        self._renew()
        for block, weight in self._weights:
            weight.value = np.asarray(block.history_weight(dt))
        found = self._assemble(self._histories)
        if self._source is not None:
            self._source.refresh()
            found += self._source.values().reshape(-1, 3)
        return found

    def product(self, u: FloatArray, *, tangent: bool) -> FloatArray:
        """Return C(m) u, with N'(x) u for a tangent; u at the nodes, shape (nodes, 3)."""
        self._set(self._argument, u)
        self._vector.array[:] = 0.0
        action = self._tangent if tangent else self._linear
        if action is not None:
            action.add_to(self._vector.array)
        if self._kernel is not None:
            self._kernel.add_to(self._vector.array, self._argument.x.array)
        return self._summed()

    def nonlinear(self, x: FloatArray) -> FloatArray:
        """Return C(m) x + N(x) of a nonlinear step."""
        self._set(self._argument, x)
        self.set_iterate(x)
        return self._assemble(self._nonlinear)

    def set_iterate(self, x: FloatArray) -> None:
        """Set the iterate x at which N' is taken."""
        assert self._step.x is not None
        self._renew()
        self._set(self._step.x, x)

    def _renew(self) -> None:
        """Let the next product take up what m and the coefficients are now."""
        for action in (self._linear, self._tangent):
            if action is not None:
                action.stale = True

    def _set(self, function: fem.Function, values: FloatArray) -> None:
        function.x.array[: 3 * self._own] = values.ravel()
        function.x.scatter_forward()

    def _assemble(self, form: fem.Form | None) -> FloatArray:
        self._vector.array[:] = 0.0
        if form is not None:
            _assemble_into(self._vector.array, form)
        return self._summed()

    def _summed(self) -> FloatArray:
        self._vector.scatter_reverse(InsertMode.add)
        own = np.array(self._vector.array[: 3 * self._own], dtype=np.float64)
        return own.reshape(-1, 3)


class _Action:
    """A form that is linear in one function: between two steps only that is packed anew.

    Args:
        form: Linear form, integrals over cells.
        argument: The function, of the space of the form's test functions.

    Attributes:
        stale: Whether other data of the form may have changed.
    """

    def __init__(self, form: fem.Form, argument: fem.Function) -> None:
        self._form, self._argument = form, argument
        known: Any = form._cpp_object.coefficients
        widths = [c.function_space.element.space_dimension for c in known]
        place = [c == argument._cpp_object for c in known].index(True)
        start = sum(widths[:place])
        self._columns = slice(start, start + widths[place])
        dofs, bs = argument.function_space.dofmap.list, argument.function_space.dofmap.bs
        self._dofs = (bs * dofs[:, :, None] + np.arange(bs)).reshape(-1, bs * dofs.shape[1])
        self._constants: Any = None
        self._packed: Any = None
        self.stale = True

    def add_to(self, array: npt.NDArray[np.floating]) -> None:
        """Add the vector of the form, without what other ranks hold of it."""
        if self.stale:
            self._constants = fem.pack_constants(self._form)
            self._packed = fem.pack_coefficients(self._form)
            self.stale = False
        else:
            (table,) = self._packed.values()
            table[:, self._columns] = self._argument.x.array.take(self._dofs[: len(table)])
        _assemble_into(array, self._form, self._constants, self._packed)


def _action(terms: list[ufl.Form], argument: fem.Function) -> _Action | None:
    form = _compile(terms)
    return None if form is None else _Action(form, argument)


def _image(form: ufl.Form, of: Any) -> ufl.Form:
    """Return a bilinear form with a function in the place of its trial function."""
    _, trial = form.arguments()
    return ufl.replace(form, {trial: of})


def _compile(terms: list[ufl.Form]) -> fem.Form | None:
    return compile_form(sum(terms[1:], terms[0])) if terms else None
