# SPDX-License-Identifier: LGPL-3.0-or-later
r"""References for the spatial HMM on periodic grids: resolved runs, homogenized runs, cells.

The same second-order stencil as in the micro problems (kappa at the midpoints of the edges) on the
whole domain gives the resolved field for explicit integrators, and the discrete cell problem gives
the homogenized coefficient that belongs to it, to be told from the limit of fine grids.

A resolved run that the explicit limit would make hopeless is done in stereographic coordinates

.. math:: w = \frac{m_1 + i m_2}{1 + m_3}, \qquad
   w_t = (\alpha - i) \Bigl[\nabla\cdot(\kappa\nabla w)
         - \frac{2 \bar w}{1 + |w|^2} \kappa \nabla w \cdot \nabla w\Bigr]

(the frame turned so that m starts near its pole), by SBDF2: the linear part implicit with one
factorization for all steps, the rest extrapolated. Serial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from dolfinx_llg.checks import check_array, check_integer, check_number, check_spins, check_tensor
from dolfinx_llg.kinds import checked

__all__ = ["PeriodicStencil", "SpectralField", "homogenize_cell", "resolved_run", "trigonometric"]

Array = npt.NDArray[np.float64]
Coefficient = Callable[[Array], npt.ArrayLike]


@checked
class PeriodicStencil:
    r"""The stencil of :math:`\nabla\cdot(\kappa\nabla\,\cdot)` on a periodic grid.

    Args:
        dim: Dimension.
        n: Points along a side.
        kappa: Coefficient, a function of points of shape (dim, n).
        length: Side of the domain.

    Raises:
        ValueError: If a size is out of range, or kappa is not positive and finite.

    Attributes:
        difference: Difference quotients along all edges (first axis, then second, ...).
        edges: Coefficient at the midpoints of the edges.

    Raises:
        ValueError: If dim or n is out of range.
    """

    def __init__(self, dim: int, n: int, kappa: Coefficient, *, length: float = 1.0) -> None:
        """Sample the coefficient."""
        check_integer("dim", dim, 1, 3)
        check_integer("n", n, 3)
        self.dim, self.n = dim, n
        self.spacing = check_number("length", length, positive=True) / n
        eye = sp.identity(n, format="csr")
        one = _shift(n) - eye
        parts, values = [], []
        for axis in range(dim):
            matrix = sp.identity(1)
            for k in range(dim):
                matrix = sp.kron(matrix, one if k == axis else eye)
            parts.append(matrix / self.spacing)
            x = self.points.T.copy()
            x[axis] += 0.5 * self.spacing
            values.append(np.broadcast_to(np.asarray(kappa(x), dtype=np.float64), x.shape[1]))
        self.difference = sp.vstack(parts).tocsr()
        self.edges = check_array("kappa", np.concatenate(values))
        if not self.edges.min() > 0.0:
            raise ValueError(f"kappa must be positive, found {self.edges.min():g}")

    @cached_property
    def points(self) -> Array:
        """Grid points, shape (n_points, dim), the last coordinate fastest."""
        axes = np.meshgrid(*[np.arange(self.n) * self.spacing] * self.dim, indexing="ij")
        return np.stack([axis.ravel() for axis in axes], axis=1)

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """The operator, negative semidefinite."""
        return (-self.difference.T @ sp.diags(self.edges) @ self.difference).tocsr()

    @property
    def omega(self) -> float:
        """Bound of its eigenvalues, by Gershgorin."""
        return 2.0 * float(np.abs(self.matrix.diagonal()).max())

    def __call__(self, m: Array, t: float = 0.0) -> Array:
        """Effective field at the grid points."""
        return np.asarray(self.matrix @ m)


def _shift(n: int) -> sp.csr_matrix:
    return sp.csr_matrix((np.ones(n), ((np.arange(n)), (np.arange(n) + 1) % n)), (n, n))


@checked
def homogenize_cell(stencil: PeriodicStencil) -> tuple[Array, Array]:
    r"""Discrete cell problem (5) of the stencil: homogenized coefficient (4) and cell solution.

    Args:
        stencil: The stencil on the unit cell.

    Returns:
        :math:`A^H`, shape (dim, dim), and :math:`\chi` of zero mean, shape (n_points, dim).
    """
    dim, n = stencil.dim, len(stencil.points)
    D, a = stencil.difference, stencil.edges
    unit = np.kron(np.eye(dim), np.ones((n, 1)))  # e_k on the edges along axis k
    right = D.T @ (a[:, None] * unit)
    # The constant is fixed at one node, then the mean is taken off.
    keep = np.arange(1, n)
    solve = spla.splu(stencil.matrix[keep][:, keep].tocsc())
    chi = np.zeros((n, dim))
    chi[1:] = solve.solve(right[1:])
    chi -= chi.mean(axis=0)
    flux = a[:, None] * (unit + D @ chi)
    return flux.reshape(dim, n, dim).mean(axis=1), chi


def _frame(m: Array) -> Array:
    """Rotation whose third row is the mean direction of m."""
    pole = m.mean(axis=0)
    if np.linalg.norm(pole) < 0.2:
        raise ValueError("m points everywhere: stereographic coordinates need a mean direction")
    pole /= np.linalg.norm(pole)
    first = np.cross(pole, np.eye(3)[np.argmin(np.abs(pole))])
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(pole, first), pole])


@checked
def resolved_run(stencil: PeriodicStencil, m: Array, *, damping: float, dt: float, n: int) -> Array:
    """Resolved solution after n steps of SBDF2 in stereographic coordinates.

    Args:
        stencil: The grid and its coefficient.
        m: Initial magnetization, shape (n_points, 3).
        damping: alpha of the LL form.
        dt: Time step, bounded by accuracy on the macro scale only.
        n: Number of steps.

    Returns:
        Magnetization, shape (n_points, 3).

    Raises:
        ValueError: If a number is out of range, or m has another shape or no mean direction.
        RuntimeError: If m comes near the opposite pole.
    """
    check_integer("n", n, 1)
    check_number("damping", damping, positive=True)
    check_number("dt", dt, positive=True)
    check_spins(m)
    check_array("m", m, (len(stencil.points), 3))
    frame = _frame(m)
    turned = m @ frame.T
    w = np.asarray(turned[:, :2] @ [1, 1j] / (1 + turned[:, 2]), dtype=np.complex128)
    c = damping - 1j
    gather = 0.5 * abs(stencil.difference).T.tocsr() * stencil.spacing
    gather = gather @ sp.diags(stencil.edges)
    identity = sp.identity(len(w), format="csc", dtype=complex)

    def rest(w: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        slope = stencil.difference @ w
        found: npt.NDArray[np.complex128] = gather @ (slope * slope)
        found *= -2 * c * w.conj() / (1 + np.abs(w) ** 2)
        return found

    matrix = (identity - (2 / 3 * dt * c) * stencil.matrix).tocsc()
    main = spla.splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    # The first step by backward Euler over 2/3 of it, which has the same matrix, and extrapolation.
    old, old_rest = w, rest(w)
    w = 1.5 * main.solve(w + (2 / 3 * dt) * old_rest) - 0.5 * w
    for _ in range(n - 1):
        new_rest = rest(w)
        right = (4 * w - old + 2 * dt * (2 * new_rest - old_rest)) / 3
        old, w, old_rest = w, main.solve(right), new_rest
    if not np.abs(w).max() < 20:
        raise RuntimeError("m came near the opposite pole of the stereographic coordinates")
    length = 1 + np.abs(w) ** 2
    out = np.stack([2 * w.real / length, 2 * w.imag / length, 2 / length - 1], axis=1)
    return np.asarray(out @ frame)


@checked
class SpectralField:
    r"""Homogenized effective field :math:`\nabla\cdot(\nabla m A^H)` by Fourier collocation.

    Args:
        dim: Dimension.
        n: Points along a side of the unit domain.
        kappa_hom: Number, matrix of shape (dim, dim), or values at the grid points, shape
            (n_points, dim, dim).

    Raises:
        ValueError: If a size is out of range, or the tensor is not symmetric and positive definite.
    """

    def __init__(self, dim: int, n: int, kappa_hom: npt.ArrayLike) -> None:
        """Broadcast the coefficient."""
        self.dim, self.n = check_integer("dim", dim, 1, 3), check_integer("n", n, 2)
        A = check_tensor("kappa_hom", kappa_hom, dim)
        if A.ndim > 2 and A.shape[:-2] != (n**dim,):
            raise ValueError(f"kappa_hom must have shape {(n**dim, dim, dim)}, got {A.shape}")
        self.kappa_hom = np.broadcast_to(A, (n**dim, dim, dim)).reshape(*(n,) * dim, dim, dim)
        k = 2j * math.pi * np.fft.fftfreq(n, 1 / n)
        last = 2j * math.pi * np.fft.rfftfreq(n, 1 / n)
        if n % 2 == 0:  # the saw-tooth mode has no derivative on the grid
            k[n // 2] = last[-1] = 0.0
        self._k = np.meshgrid(*([k] * (dim - 1) + [last]), indexing="ij")
        axes = np.meshgrid(*[np.arange(n) / n] * dim, indexing="ij")
        self.points = np.stack([axis.ravel() for axis in axes], axis=1)

    @property
    def omega(self) -> float:
        """Bound of the eigenvalues."""
        trace = float(np.trace(self.kappa_hom, axis1=-2, axis2=-1).max())
        return (math.pi * self.n) ** 2 * trace

    def gradient(self, m: Array) -> Array:
        """Derivatives of m, shape (dim, n_points, 3)."""
        axes, shape = tuple(range(self.dim)), (self.n,) * self.dim
        hat = np.fft.rfftn(m.reshape(*shape, 3), axes=axes)
        parts = [np.fft.irfftn(k[..., None] * hat, s=shape, axes=axes) for k in self._k]
        return np.stack(parts).reshape(self.dim, -1, 3)

    def __call__(self, m: Array, t: float = 0.0) -> Array:
        """Effective field at the grid points."""
        axes, shape = tuple(range(self.dim)), (self.n,) * self.dim
        slope = self.gradient(m).reshape(self.dim, *shape, 3)
        flux = np.einsum("...kl,l...c->k...c", self.kappa_hom, slope)
        total = sum(
            k[..., None] * np.fft.rfftn(part, axes=axes)
            for k, part in zip(self._k, flux, strict=True)
        )
        return np.asarray(np.fft.irfftn(total, s=shape, axes=axes).reshape(-1, 3))


def trigonometric(values: Array, n: int, x: Array) -> Array:
    """Trigonometric interpolant of grid values on the unit domain at other points.

    Args:
        values: Values at n^dim grid points, shape (n^dim, c).
        n: Points along a side.
        x: Points, shape (m, dim).

    Returns:
        Shape (m, c).
    """
    dim = x.shape[1]
    axes = tuple(range(dim))
    hat = np.fft.fftn(values.reshape(*(n,) * dim, -1), axes=axes) / n**dim
    k = np.fft.fftfreq(n, 1 / n)
    parts = []
    for start in range(0, max(len(x), 1), 1024):  # bounds the memory of the partial sums
        points = x[start : start + 1024]
        result = hat
        for axis in range(dim):
            wave = np.exp(2j * math.pi * np.outer(points[:, axis], k))
            if n % 2 == 0:
                wave[:, n // 2] = np.cos(math.pi * n * points[:, axis])
            if axis == 0:
                result = (wave @ hat.reshape(n, -1)).reshape(len(points), *hat.shape[1:])
            else:
                result = np.einsum("mk,mk...->m...", wave, result)
        parts.append(result.real)
    return np.concatenate(parts)
