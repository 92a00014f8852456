# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The 3-valence tensors of the nonlinear terms (GRPS paper, section 3.3), in local modes.

Every trilinear form of a step, :math:`s(u, w; \rho)` in three scalar fields, is in the modes
:math:`\theta_a` of a coarse cell T (``local_modes``) a tensor of :math:`r^3` numbers,

.. math:: \omega_{cba} = s_T(\theta_a, \theta_b; \theta_c),

for exchange :math:`\int_T \kappa \nabla\theta_a \cdot \nabla\theta_b\, \theta_c\,dx`, for a mass
:math:`\int_T \theta_a \theta_b \theta_c\,dx`. (The paper's (3.4) takes kappa out of the projection,
which does not converge, and its (3.9) is the integral of kappa psi psi psi, which nothing needs.)

In the basis itself one tensor of Nc = 16 has 1 GB; compressed to r modes per cell it has r^3
entries for each coarse cell, 10 MB there at r = 17 in single precision, whatever h is. Linear steps
read single precision: its round-off (1e-7) is far below the compression. Newton's method, whose
residual is made of them, needs double precision to reach its tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dolfinx_llg.collective import total
from dolfinx_llg.reduction.local_modes import LocalModes

__all__ = ["ModeTensor", "ModeTensors", "inverse_masses", "loads_in_modes", "pairs_in_modes"]

FloatArray = npt.NDArray[np.float64]
TensorArray = npt.NDArray[np.floating]

_SAME = 1e-12
"""Relative difference up to which two tensors are one: round-off of two quadratures."""


@dataclass(frozen=True)
class ModeTensor:
    """One trilinear form on the coarse cells of this rank, padded in each group of cells.

    Fields are coefficients of modes on all cells, shape (n, r, k); results are lists with an array
    for each group, in double precision but where it says so.

    Attributes:
        modes: The modes.
        parts: omega, axes (cell, c, b, a), in each group.
        pairs: The form with the third field 1, axes (cell, b, a), in double precision.
    """

    modes: LocalModes
    parts: list[TensorArray]
    pairs: list[FloatArray]

    @property
    def nbytes(self) -> int:
        """Memory on this rank."""
        return sum(part.nbytes for part in (*self.parts, *self.pairs))

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Precision."""
        return self.parts[0].dtype if self.parts else np.dtype(np.float64)

    def _each(self, y: FloatArray) -> Iterator[tuple[TensorArray, TensorArray]]:
        for group, part in zip(self.modes.groups, self.parts, strict=True):
            own = y[group.cells, : group.modes]
            yield part, np.ascontiguousarray(own, dtype=part.dtype)

    def weigh(self, y: FloatArray) -> list[Any]:
        """Return sum_c y_ck omega_cba, axes (cell, k, b, a): y in the place of the third field.

        In the precision of the tensor.
        """
        found = []
        for part, own in self._each(y):
            n, r, k = own.shape
            weights = np.matmul(own.transpose(0, 2, 1), part.reshape(n, r, r * r))
            found.append(weights.reshape(n, k, r, r))
        return found

    def paired(self, x: FloatArray, y: FloatArray) -> list[FloatArray]:
        """Return sum_abk omega_cba x_ak y_bk, axes (cell, c): first and second field."""
        found = []
        for group, part in zip(self.modes.groups, self.parts, strict=True):
            n, r = part.shape[:2]
            a, b = (field[group.cells, :r] for field in (x, y))
            pairs = np.matmul(b, a.transpose(0, 2, 1)).astype(part.dtype).reshape(n, r * r, 1)
            image = np.matmul(part.reshape(n, r, r * r), pairs)
            found.append(image[:, :, 0].astype(np.float64))
        return found

    def act(self, y: FloatArray) -> list[FloatArray]:
        """Return sum_a omega_cba y_ak, axes (cell, c, b, k): y in the place of the first field."""
        found = []
        for part, own in self._each(y):
            n, r, k = own.shape
            image = np.matmul(part.reshape(n, r * r, r), own)
            found.append(image.reshape(n, r, r, k).astype(np.float64))
        return found

    def test(self, y: FloatArray) -> list[FloatArray]:
        """Return sum_b y_bk omega_cba, axes (cell, c, k, a): y in the place of the second field."""
        return [
            np.matmul(own.transpose(0, 2, 1)[:, None], part).astype(np.float64)
            for part, own in self._each(y)
        ]


class ModeTensors:
    """The tensors of a step; what differs by a factor alone is kept once.

    Args:
        modes: Modes of the coarse cells.
        dtype: Precision in which they are kept.

    Attributes: the same.
    """

    def __init__(self, modes: LocalModes, dtype: npt.DTypeLike = np.float32) -> None:
        self.modes, self.dtype = modes, np.dtype(dtype)
        self._known: list[tuple[FloatArray, ModeTensor]] = []

    @property
    def nbytes(self) -> int:
        """Memory of all tensors on this rank."""
        return sum(tensor.nbytes for _, tensor in self._known)

    def __len__(self) -> int:
        """Number of different tensors."""
        return len(self._known)

    def take(self, elements: FloatArray) -> tuple[ModeTensor, float]:
        """Return the tensor of a trilinear form, and the factor by which it is to be multiplied.

        Args:
            elements: The form on each fine cell at the functions of its nodes: axes (node of the
                first field, node of the second, cell, node of the third).

        Note: Collective.
        """
        found = _fingerprint(elements)
        comm = self.modes.hierarchy.comm
        for known, tensor in self._known:
            sums = np.array([found @ known, known @ known, found @ found])
            product, square, size = total(comm, sums)
            factor = float(product / square) if square > 0.0 else 0.0
            rest = found - factor * known
            if total(comm, rest @ rest) <= _SAME**2 * size:
                return tensor, factor
        tensor = ModeTensor(self.modes, *self._integrate(elements))
        self._known.append((found, tensor))
        return tensor, 1.0

    def _integrate(self, elements: FloatArray) -> tuple[list[TensorArray], list[FloatArray]]:
        # Where the third field enters by its mean alone, as in exchange, a third of the work does.
        nodes = elements.shape[3]
        level = bool((np.ptp(elements, axis=3) <= _SAME * np.abs(elements).max(initial=0.0)).all())
        parts: list[TensorArray] = []
        pairs: list[FloatArray] = []
        for group in self.modes.groups:
            own, r = self.modes.cells[group.cells], group.modes
            whole = np.zeros((len(own), r, r, r), dtype=self.dtype)
            sums = np.zeros((len(own), r, r))
            for k, cell in enumerate(own):
                m, theta = cell.count, cell.theta[cell.place]  # (fine cells, nodes, modes)
                part = elements[:, :, cell.cells].transpose(2, 3, 1, 0)  # (cells, c, b, a)
                third = theta
                if level:
                    part, third = nodes * part[:, :1], theta.mean(axis=1, keepdims=True)
                first = np.matmul(part, theta[:, None])
                both = np.matmul(theta.transpose(0, 2, 1)[:, None], first)
                flat = third.reshape(-1, m).T @ both.reshape(-1, m * m)
                whole[k, :m, :m, :m] = flat.reshape(m, m, m)
                sums[k, :m, :m] = flat[0].reshape(m, m)  # the first mode is 1
            parts.append(whole)
            pairs.append(sums)
        return parts, pairs


def _fingerprint(elements: FloatArray) -> FloatArray:
    """Return three numbers for each cell, with fixed weights that have no pattern.

    With one alone two forms of one coefficient are multiples of each other on cells of one shape:
    a mass and the same mass, lumped.
    """
    a, b, _, c = elements.shape
    weights = 1.5 + np.cos(np.arange(3 * a * b * c) ** 2 + 1.0).reshape(a, b, 3, c)
    return np.asarray(np.einsum("abec,abkc->ke", elements, weights)).ravel()


def pairs_in_modes(modes: LocalModes, elements: FloatArray) -> list[FloatArray]:
    """Return a bilinear form in modes, axes (cell, b, a) in each group, in double precision.

    Args:
        modes: Modes of the coarse cells.
        elements: The form on each fine cell: axes (node of the first field, cell, node of the
            second).
    """
    found = []
    for group in modes.groups:
        own = modes.cells[group.cells]
        whole = np.zeros((len(own), group.modes, group.modes))
        for k, cell in enumerate(own):
            m, theta = cell.count, cell.theta[cell.place]
            part = elements[:, cell.cells].transpose(1, 2, 0)  # (cells, b, a)
            image = np.matmul(part, theta)
            whole[k, :m, :m] = theta.reshape(-1, m).T @ image.reshape(-1, m)
        found.append(whole)
    return found


def loads_in_modes(modes: LocalModes, elements: FloatArray) -> list[FloatArray]:
    """Return a linear form in modes, axes (cell, b) in each group.

    Args:
        modes: Modes of the coarse cells.
        elements: The form on each fine cell: axes (cell, node).
    """
    found = []
    for group in modes.groups:
        own = modes.cells[group.cells]
        whole = np.zeros((len(own), group.modes))
        for k, cell in enumerate(own):
            theta = cell.theta[cell.place].reshape(-1, cell.count)
            whole[k, : cell.count] = elements[cell.cells].ravel() @ theta
        found.append(whole)
    return found


def inverse_masses(mass: ModeTensor, factor: float) -> list[FloatArray]:
    r"""Return the inverses of the matrices :math:`\int_T \theta_a \theta_b`, 1 in the padding.

    Args:
        mass: The tensor of the mass.
        factor: Its factor.
    """
    found = []
    for group, pairs in zip(mass.modes.groups, mass.pairs, strict=True):
        matrix = 0.5 * factor * (pairs + pairs.transpose(0, 2, 1))
        for own, cell in zip(matrix, mass.modes.cells[group.cells], strict=True):
            padding = np.arange(cell.count, group.modes)
            own[padding, padding] = 1.0
        found.append(np.linalg.inv(matrix))
    return found
