# SPDX-License-Identifier: LGPL-3.0-or-later
"""A periodic chain of spins in a fast field, the microscopic model of ``chain``."""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.checks import check_integer
from dolfinx_llg.hmm.time.fields import FastField, FieldFunction
from dolfinx_llg.hmm.time.precession import Field
from dolfinx_llg.hmm.time.temporal import check_beta
from dolfinx_llg.kinds import checked

__all__ = ["SpinChain", "apply_tensor"]

Array = npt.NDArray[np.floating]


@checked
class SpinChain:
    r"""The microscopic chain (3.8).

    .. math:: h_i = \sum_j J_{ij} T m_j + K_i m_i + H(t, t/\varepsilon, x_i)

    The paper has T = 1 and K = 0. :math:`K = k\,u \otimes u` is an easy axis u (k > 0), a T with
    unequal eigenvalues makes exchange anisotropic (XXZ).

    It can be simulated directly with :func:`dolfinx_llg.hmm.time.precession.resolved`.

    Args:
        function: Applied field ``function(t, z, x)``, see :class:`FastField`.
        n_spins: Number N of spins.
        exchange: J: a number (nearest neighbours, periodic) or a sparse matrix of shape (N, N).
        eps: Fast period.
        spacing: Distance of neighbours; default 1/N, a chain of length 1.
        beta: Precession coefficient, not zero.
        exchange_tensor: T, symmetric, shape (3, 3); default the identity.
        anisotropy: K, symmetric, shape (3, 3), or (N, 3, 3) for one of each spin; default none.

    Attributes:
        evaluations: Spins times evaluations of the effective field in :meth:`tabulate`'s result.

    Raises:
        ValueError: If an argument is out of range or J, T or K has the wrong size.
    """

    coupled = True
    dynamic = False
    comm: MPI.Comm = MPI.COMM_SELF

    def __init__(
        self,
        function: FieldFunction,
        n_spins: int,
        *,
        exchange: float | sp.sparray | sp.spmatrix,
        eps: float,
        spacing: float | None = None,
        beta: float = 1.0,
        exchange_tensor: npt.ArrayLike | None = None,
        anisotropy: npt.ArrayLike | None = None,
    ) -> None:
        n_spins = check_integer("n_spins", n_spins, 3)
        self.n_spins = n_spins
        self.shape = (n_spins, 3)
        self.spacing = 1.0 / n_spins if spacing is None else float(spacing)
        if not self.spacing > 0.0:
            raise ValueError(f"spacing must be positive, got {spacing}")
        self.beta = check_beta(beta)
        self.exchange = _exchange_matrix(exchange, self.n_spins)
        self.exchange_tensor = _symmetric("exchange_tensor", exchange_tensor, [(3, 3)])
        self.anisotropy = _symmetric("anisotropy", anisotropy, [(3, 3), (n_spins, 3, 3)])
        self.function, self.eps = function, eps
        self.positions = np.arange(self.n_spins) * self.spacing
        self.field = FastField(function, eps, self.positions)
        self.evaluations = 0

    def refresh(self, t: float, m: Array) -> None:
        """There is nothing that varies slowly apart from the field."""

    def tabulate(self, times: Array, direction: int) -> Field:
        """Prepare the effective field of the whole chain, see ``PrecessingSystem``."""
        applied = self.field(times)

        def effective(i: int, m: Array) -> Array:
            self.evaluations += self.n_spins
            field = apply_tensor(self.exchange_tensor, np.asarray(self.exchange @ m)) + applied[i]
            return field if self.anisotropy is None else field + apply_tensor(self.anisotropy, m)

        return effective

    def exchange_speed(self) -> float:
        r"""Bound for the speed of exchange waves, in spins per unit time.

        :math:`\max_i |\beta| \sum_j |J_{ij}| |i - j|`; for nearest neighbours this is the largest
        group velocity, of :math:`\omega(k) = 2 \beta J (1 - \cos k)`.
        """
        J = self.exchange.tocoo()
        distance = np.abs(J.row - J.col)
        distance = np.minimum(distance, self.n_spins - distance)
        rows = np.bincount(J.row, weights=np.abs(J.data) * distance, minlength=self.n_spins)
        T = self.exchange_tensor
        size = 1.0 if T is None else float(np.abs(np.linalg.eigvalsh(T)).max())
        return float(abs(self.beta) * size * rows.max())


def apply_tensor(tensor: Array | None, m: Array) -> Array:
    """Apply a tensor, or one for each spin, to vectors of shape (..., 3); None is the identity."""
    if tensor is None:
        return m
    if tensor.ndim == 2:
        return np.asarray(m @ tensor.T)
    return np.asarray((tensor @ m[..., None])[..., 0])


def _exchange_matrix(exchange: float | sp.sparray | sp.spmatrix, n: int) -> sp.csr_array:
    """Return J as a sparse (n, n) matrix, from a number or a matrix of the user."""
    number = None
    if np.ndim(exchange) == 0 and not sp.issparse(exchange):
        try:
            number = float(exchange)
        except (TypeError, ValueError):
            pass
    if sp.issparse(exchange):
        J = sp.csr_array(exchange, dtype=np.float64)
        if J.shape != (n, n):
            raise ValueError(f"J must have shape ({n}, {n}) for {n} spins, got {J.shape}")
    elif number is not None:
        i = np.arange(n)
        rows, columns = np.tile(i, 2), np.concatenate(((i - 1) % n, (i + 1) % n))
        J = sp.csr_array((np.full(2 * n, number), (rows, columns)), shape=(n, n))
    else:
        raise ValueError(
            "J must be a number or a scipy sparse matrix, got "
            f"{type(exchange).__name__} of shape {np.shape(exchange)}"
        )
    if not np.all(np.isfinite(J.data)):
        raise ValueError("J has entries that are not finite")
    return J


def _symmetric(
    name: str, value: npt.ArrayLike | None, shapes: list[tuple[int, ...]]
) -> Array | None:
    """Return a symmetric tensor, or one for each spin; None where none is given."""
    if value is None:
        return None
    tensor = np.array(value, dtype=np.float64)
    if tensor.shape not in shapes:
        wanted = " or ".join(str(shape) for shape in shapes)
        raise ValueError(f"{name} must have shape {wanted}, got {tensor.shape}")
    if not np.all(np.isfinite(tensor)):
        raise ValueError(f"{name} has entries that are not finite")
    if np.abs(tensor - np.swapaxes(tensor, -1, -2)).max() > 1e-12 * np.abs(tensor).max():
        raise ValueError(f"{name} must be symmetric: an asymmetric one has no energy")
    return tensor
