# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The adjoint of the micro problem: averages as linear functionals of the micro initial data.

On a micro box m stays within O(eps) of the macro value M, where the tangent plane at M is the
complex plane and :math:`M \times` is i. There the micro problem (7) of the HMM paper is linear:
with the operator :math:`L_0` of the box with homogeneous Dirichlet or periodic data, which is
symmetric, the
field is :math:`h(t) = e^{(\alpha - i) t L_0} L m_{init}` and its average (12)

.. math:: H_{avg} = \langle \mathrm{Re}\, g, L m_{init} \rangle
    + M \times \langle \mathrm{Im}\, g, L m_{init} \rangle, \qquad
    g = \int K^0_\eta(t)\, e^{(\alpha - i) t L_0} K_\mu \,dt,

up to a remainder of relative size :math:`O(\epsilon |\nabla M|)`. The integral is taken with the
stages and weights of the integrator in use: HeunP multiplies by :math:`R(z) = 1 + z + z^2/2`,
:math:`z = (\alpha - i) \Delta t L_0`, which is symmetric too, so that transposing it is running
it. One scalar run per distinct coefficient, once, replaces every later micro problem.

So g is a polynomial of :math:`L_0` with complex coefficients, applied to real weights. In the basis
of Chebyshev polynomials on the spectrum its coefficients fall below round-off after a number of
terms that grows like the square root of the number of steps: 250 real products in place of the 3000
of 800 steps, and the same result to 13 digits.

Flux averages follow from :math:`m(t) = m_{init} + (\alpha - i) \int_0^t h`, with the same steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.sparse as sp

from dolfinx_llg.hmm.space.box import (
    MicroBox,
    field_weights,
    flux_functional,
    fold,
    free_nodes,
    spectral_bound,
)
from dolfinx_llg.hmm.space.micro import BATCH
from dolfinx_llg.hmm.space.stiffness import stiffness

__all__ = [
    "FieldMoments",
    "compress",
    "condensed_nodes",
    "field_functionals",
    "flux_functionals",
    "interpolation_matrix",
]

Array = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

#: Nodes along a side onto which functionals of smooth data are condensed.
CONDENSED = 13
#: Most Chebyshev coefficients.
MAX_TERMS = 2**16


def _chebyshev(values: Callable[[Array], ComplexArray], omega: float) -> ComplexArray:
    """Chebyshev coefficients of a polynomial on [-omega, 0], up to round-off."""
    n = 256
    while True:
        angle = np.pi * (np.arange(n) + 0.5) / n
        sampled = values(0.5 * omega * (np.cos(angle) - 1.0))
        found = scipy.fft.dct(sampled.real, type=2) + 1j * scipy.fft.dct(sampled.imag, type=2)
        found /= n
        found[0] *= 0.5
        small = np.abs(found) <= 1e-13 * np.abs(found).max()
        if small[-n // 4 :].all() or n >= MAX_TERMS:
            return np.asarray(found[: n - int(np.argmin(small[::-1]))])
        n *= 2


def _apply_polynomial(
    matrix: sp.csr_matrix, omega: float, coefficients: ComplexArray, y: Array
) -> ComplexArray:
    """Sum of ``coefficients[n] T_n(1 + 2 matrix/omega) y``: one real product for each term."""
    shifted = matrix * (4.0 / omega) + 2.0 * sp.identity(matrix.shape[0], format="csr")
    size = 16  # terms that are added up at once
    terms = np.empty((size, len(y)))
    total = np.zeros((2, len(y)))
    previous, current = y, 0.5 * (shifted @ y)  # T_0 y, T_1 y
    for start in range(0, len(coefficients), size):
        part = coefficients[start : start + size]
        for i in range(len(part)):
            terms[i] = previous
            previous, current = current, shifted @ current - previous
        total += np.stack([part.real, part.imag]) @ terms[: len(part)]
    return np.asarray(total[0] + 1j * total[1])


def _powers(x: Array, z: complex, weights: Array) -> ComplexArray:
    """Sum of ``weights[j] R(z x)^j``, by Horner."""
    R = 1 + z * x + 0.5 * (z * x) ** 2
    total = np.zeros(len(x), dtype=np.complex128)
    for weight in weights[::-1]:
        total *= R
        total += weight
    return total


def _field_coefficients(box: MicroBox, omega: float, n_steps: int) -> ComplexArray:
    """Chebyshev coefficients of the polynomial whose value at L_0 takes K_mu to g."""
    z = (box.damping - 1j) * box.eta / n_steps
    weights = box.time_weights(n_steps)[: box.last_step(n_steps) + 1]
    return _chebyshev(lambda x: _powers(x, z, weights), omega)


def field_functionals(box: MicroBox, edges: Array, n_steps: int) -> ComplexArray:
    r"""Functionals :math:`L^T g` of the averaged field (also of the torque, which is M x field).

    Args:
        box: The box.
        edges: Coefficients of P boxes, shape (P, n_edges).
        n_steps: Time steps of the micro problem.

    Returns:
        Shape (P, n_nodes): the average is ``Re(f) @ m + M x (Im(f) @ m)``.
    """
    n, found = box.n_nodes, np.empty((len(edges), box.n_nodes), dtype=np.complex128)
    omega = spectral_bound(box, edges)
    coefficients = _field_coefficients(box, omega, n_steps)
    free = free_nodes(box)
    block = max(1, BATCH // n)
    for start in range(0, len(edges), block):
        part = slice(start, start + block)
        L, L0 = stiffness(box, edges[part])
        y = np.tile(field_weights(box), len(edges[part]))
        g = _apply_polynomial(L0, omega, coefficients, y).reshape(-1, n)
        found[part] = (L.T @ (g * free).ravel()).reshape(-1, n)
    return found


class FieldMoments:
    r"""Averaged fields of one box and one set of data for every eta and damping, from one run.

    :math:`\langle T_n(L_0) K_\mu, L m \rangle` for the Chebyshev polynomials on the spectrum: time
    and damping enter the average through the coefficients alone.

    Args:
        box: The box; its eta and damping do not matter.
        edges: Coefficients, shape (1, n_edges).
        data: Initial data, shape (n_nodes, 3).
    """

    def __init__(self, box: MicroBox, edges: Array, data: Array) -> None:
        """Set up the recurrence; terms are added as they are needed."""
        L, L0 = stiffness(box, edges)
        self.omega = spectral_bound(box, edges)
        self._matrix = L0 * (4.0 / self.omega) + 2.0 * sp.identity(box.n_nodes, format="csr")
        self._field = (sp.diags(free_nodes(box).astype(np.float64)) @ (L @ data)).T.copy()
        first = field_weights(box)
        self._pair = first, 0.5 * (self._matrix @ first)
        self._moments: list[Array] = []

    def average(self, box: MicroBox) -> tuple[Array, Array]:
        """Real and imaginary part of the average, each of shape (3,): the field is Re + M x Im.

        Args:
            box: The box with the eta and damping wanted.
        """
        found = _field_coefficients(box, self.omega, box.n_steps(self.omega))
        while len(self._moments) < len(found):
            previous, current = self._pair
            self._moments.append(self._field @ previous)
            self._pair = current, self._matrix @ current - previous
        total = found @ np.array(self._moments[: len(found)])
        return total.real, total.imag


def flux_functionals(box: MicroBox, edges: Array, n_steps: int) -> ComplexArray:
    r"""Functionals of the averaged flux :math:`\kappa \partial_k m`.

    Args:
        box: The box.
        edges: Coefficients of P boxes, shape (P, n_edges).
        n_steps: Time steps of the micro problem.

    Returns:
        Shape (P, dim, n_nodes): the average is ``Re(f) @ m + M x (Im(f) @ m)``.
    """
    n, P = box.n_nodes, len(edges)
    found = np.empty((P, box.dim, n), dtype=np.complex128)
    z = (box.damping - 1j) * box.eta / n_steps
    weights = box.time_weights(n_steps)
    # sum_j w_j sum_{l<j} R^l = sum_l (sum_{j>l} w_j) R^l.
    tails = np.append(np.cumsum(weights[::-1])[::-1][1:], 0.0)[: box.last_step(n_steps) + 1]
    # One step adds z (1 + z L_0/2) h to m (Heun with a field that grows by R).
    omega = spectral_bound(box, edges)
    coefficients = _chebyshev(lambda x: z * (1 + 0.5 * z * x) * _powers(x, z, tails), omega)
    free = free_nodes(box)
    block = max(1, BATCH // n)
    for start in range(0, P, block):
        part = slice(start, min(start + block, P))
        L, L0 = stiffness(box, edges[part])
        for axis, f in enumerate(flux_functional(box, edges[part])):
            y = np.concatenate([fold(box, own) for own in f])
            g = _apply_polynomial(L0, omega, coefficients, y).reshape(-1, n)
            found[part, axis] = f + (L.T @ (g * free).ravel()).reshape(-1, n)
    return found


def interpolation_matrix(nodes: Array, x: Array) -> Array:
    """Matrix that takes values at ``nodes`` to those of the polynomial through them at ``x``.

    Args:
        nodes: Distinct nodes, shape (n,).
        x: Points, shape (m,).

    Returns:
        Shape (m, n).
    """
    difference = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(difference, 1.0)
    shifted = np.broadcast_to(x[:, None, None] - nodes, (len(x), len(nodes), len(nodes))).copy()
    index = np.arange(len(nodes))
    shifted[:, index, index] = 1.0
    return np.asarray(shifted.prod(axis=2) / difference.prod(axis=1))


def condensed_nodes(box: MicroBox, n: int = CONDENSED) -> Array:
    """Chebyshev points of one side of the box."""
    return -box.mu_outer * np.cos(np.pi * (np.arange(n) + 0.5) / n)


def compress(box: MicroBox, functionals: ComplexArray, n: int = CONDENSED) -> ComplexArray:
    """Condense functionals of nodal values onto a few Chebyshev points.

    Micro initial data are smooth on the box (a normalised polynomial): its values at 13 points a
    side determine them to round-off, so that the cost of a macro step depends neither on eps nor on
    the micro grid.

    Args:
        box: The box.
        functionals: Shape (..., n_nodes).
        n: Points along a side.

    Returns:
        Shape (..., n**dim).
    """
    lead = functionals.shape[:-1]
    matrix = interpolation_matrix(condensed_nodes(box, n), box.nodes)
    values = functionals.reshape(-1, *box.shape)
    for _ in range(box.dim):
        # The axis done goes to the end: after dim turns the order is the old one.
        values = np.tensordot(values, matrix, axes=(1, 0))
    return np.ascontiguousarray(values).reshape(*lead, n**box.dim)
