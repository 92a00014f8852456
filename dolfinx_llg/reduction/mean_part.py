# SPDX-License-Identifier: LGPL-3.0-or-later
r"""What a step makes of the mean of m on each coarse cell: exact, so that samples need not hold it.

The cross terms of all schemes are linear in m. With the mean :math:`\bar m_T` of m on the coarse
cell T they are there

.. math::
    C_T(m; u, v) = C_T(\bar m_T; u, v) + C_T(m - \bar m_T; u, v),

the first a sum of constant tensors of components and of scalar matrices of the modes,
:math:`E_{cba}\, \bar m_{T,c}\, S_T[i, j]`, integrated once. The samples integrate the second alone,
which is O(H) of the whole: a control variate. Of a nonlinear form that is quadratic in the new
iterate x, N(x; v), it is the part :math:`N'(\bar m_T) x`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl
from dolfinx import fem
from ufl.algorithms.analysis import extract_coefficients
from ufl.classes import Zero

from dolfinx_llg.physics.interaction import expand
from dolfinx_llg.reduction.local_modes import LocalModes
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.element_tensors import ComponentForm, with_degrees

__all__ = ["MeanPart"]

FloatArray = npt.NDArray[np.float64]


class MeanPart:
    """The part of a step that is linear in the means of m, see the module.

    Integrals are taken that are linear in m whatever the data, and whose data are those of constant
    blocks, which a run refuses to see changed.

    Args:
        step: The step on the fine mesh.
        modes: Modes of the coarse cells.

    Attributes:
        rest: The step without it: with the means taken from m in forms that are linear in it.
        mean: The means on the fine cells, DG0, which ``rest`` reads.
        count: Number of integrals taken.
        linear: Those of ``step.varying``, in m itself; None if there is none.
        others: Its other integrals; None if there is none.

    Note: Collective.
    """

    def __init__(self, step: WeakStep, modes: LocalModes) -> None:
        mesh = step.m.function_space.mesh
        self.mean = fem.Function(fem.functionspace(mesh, ("DG", 0, (3,))), name="mean")
        self._step, self._modes = step, modes
        self._terms: list[tuple[FloatArray, FloatArray]] = []
        self.count = 0
        self.linear: ufl.Form | None = None
        self.others = step.varying
        varying, nonlinear = self._split_varying(), self._split_nonlinear()
        self.rest = replace(step, varying=varying, nonlinear=nonlinear) if self.count else step
        count = len(modes.hierarchy.parent)
        self._cell_dofs = self.mean.function_space.dofmap.list[:count, 0]
        self._home = np.zeros(count, dtype=np.int64)
        for k, cell in enumerate(modes.cells):
            self._home[cell.cells] = k
        sizes = np.array([len(cell.dofs) for cell in modes.cells], dtype=np.int64)
        dofs = [np.zeros(0, dtype=np.int64), *[cell.dofs for cell in modes.cells]]
        self._average = sp.csr_matrix(
            (
                np.repeat(1.0 / sizes, sizes),
                np.concatenate(dofs),
                np.concatenate([[0], np.cumsum(sizes)]),
            ),
            shape=(len(sizes), len(step.m.x.array) // 3),
        )

    # -- the forms ---------------------------------------------------------------------------------

    def _split_varying(self) -> ufl.Form | None:
        """Return ``varying`` with m - mean for m in the integrals that are linear in m."""
        step = self._step
        if step.varying is None:
            return None
        taken: list[ufl.Integral] = []
        others: list[ufl.Integral] = []
        for integral in with_degrees(step.varying).integrals():
            (taken if self._take(integral, step.m) else others).append(integral)
        if not taken:
            return step.varying
        self.linear = ufl.Form(taken)
        self.others = ufl.Form(others) if others else None
        shift = {step.m: step.m - self.mean}
        shifted = [i.reconstruct(ufl.replace(i.integrand(), shift)) for i in taken]
        return ufl.Form([*shifted, *others])

    def _split_nonlinear(self) -> ufl.Form | None:
        """Return ``nonlinear`` minus N'(mean) x of the integrals that are quadratic in x."""
        step = self._step
        if step.nonlinear is None or step.x is None:
            return step.nonlinear
        integrals, before = [], self.count
        trial = ufl.TrialFunction(step.m.function_space)
        for integral in with_degrees(step.nonlinear).integrals():
            integrals.append(integral)
            slope = expand(ufl.derivative(integral.integrand(), step.x, trial))
            tangent = integral.reconstruct(slope)
            if not isinstance(slope, Zero) and self._take(tangent, step.x):
                there = ufl.replace(slope, {step.x: self.mean, trial: step.x})
                integrals.append(integral.reconstruct(-expand(there)))
        return ufl.Form(integrals) if self.count > before else step.nonlinear

    def _take(self, integral: ufl.Integral, c: fem.Function) -> bool:
        """Integrate a bilinear integral that is linear in c, if it is; return whether it is."""
        integrand, form = integral.integrand(), ufl.Form([integral])
        if integral.integral_type() != "cell" or integral.subdomain_id() != "everywhere":
            return False
        if c not in form.coefficients() or not _linear(integrand, c):
            return False
        if not set(_data([form])) - {c} <= set(_data(b.form for b in self._step.constant)):
            return False
        trial = next(a for a in form.arguments() if a.number() == 1)
        components = ComponentForm(integral, c.function_space, {"c": c, "u": trial})
        rows = [components.rows(seed) for seed in (1, 2)]
        structure = components.structure(rows, slots=3)
        for tensor, pivot in zip(structure.tensors, structure.pivots, strict=True):
            parts = [components.at_nodes((slice(None), k), pivot) for k in range(components.nd)]
            self._terms.append((tensor, self._project(np.stack(parts, axis=2))))
        self.count += 1
        return True

    def _project(self, matrices: FloatArray) -> FloatArray:
        """Return matrices of fine cells in the modes of the coarse ones, padded: (n, r, r)."""
        cells = self._modes.cells
        r = max((cell.count for cell in cells), default=0)
        found = np.zeros((len(cells), r, r))
        for k, cell in enumerate(cells):
            theta = cell.theta[cell.place]
            image = np.matmul(matrices[cell.cells], theta)
            flat = theta.reshape(-1, cell.count)
            found[k, : cell.count, : cell.count] = flat.T @ image.reshape(-1, cell.count)
        return found

    # -- the values --------------------------------------------------------------------------------

    def set(self, values: FloatArray) -> None:
        """Set ``mean`` to that of a nodal field on this rank's coarse cells; ghosts stay.

        Args:
            values: Local values of a function of m's space, shape (3 * nodes,).
        """
        self.mean.x.array.reshape(-1, 3)[self._cell_dofs] = self.of_nodes(values)[self._home]

    def of_nodes(self, values: FloatArray) -> FloatArray:
        """Return the means of a nodal field on the coarse cells of this rank, shape (n, 3)."""
        return np.asarray(self._average @ values.reshape(-1, 3))

    def in_terms_of(self, tensors: Sequence[FloatArray]) -> list[FloatArray]:
        """Return the matrices that go with other tensors of components that span the same.

        Args:
            tensors: The tensors, each of shape (3, 3, 3), independent.

        Returns:
            For each of them the matrices, shape (n, r, r).

        Raises:
            ValueError: If they do not span the part's tensors.
        """
        n, r = len(self._modes.cells), max((cell.count for cell in self._modes.cells), default=0)
        found = [np.zeros((n, r, r)) for _ in tensors]
        columns = np.stack([tensor.ravel() for tensor in tensors], axis=1)
        for tensor, matrices in self._terms:
            factors = np.linalg.lstsq(columns, tensor.ravel(), rcond=None)[0]
            if np.abs(columns @ factors - tensor.ravel()).max() > 1e-9:
                raise ValueError("the tensors are those of another form")
            for total, factor in zip(found, factors, strict=True):
                total += factor * matrices
        return found

    def product(self, mean: FloatArray, y: FloatArray) -> FloatArray:
        """Return the loads of the part of the means at u.

        Args:
            mean: The means, shape (n, 3).
            y: Coefficients of u in the modes, shape (n, r, 3).
        """
        out = np.zeros_like(y)
        for tensor, matrices in self._terms:
            out += np.matmul(np.matmul(matrices, y), np.einsum("cba,nc->nba", tensor, mean))
        return out


def _linear(integrand: Any, c: fem.Function) -> bool:
    """Whether an integrand is linear in a coefficient, and vanishes with it."""
    direction = ufl.Argument(c.function_space, 2)
    if c in extract_coefficients(expand(ufl.derivative(integrand, c, direction))):
        return False
    return isinstance(expand(ufl.replace(integrand, {c: ufl.as_vector([0.0] * 3)})), Zero)


def _data(forms: Iterable[ufl.Form]) -> list[Any]:
    return [c for form in forms for c in (*form.coefficients(), *form.constants())]
