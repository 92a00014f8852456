# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Upscaling in space and time of a periodic chain of spins in a fast field.

Arjmand, Engblom, Kreiss, section 3.3. The chain (3.8) has spins at :math:`x_i = i\,\delta x`,
every (r + l)-th of which is a macro point. Around each macro point the micro model (3.11) follows
2 r + 1 spins, started from the normalised quadratic interpolation of the macro values and frozen
at its ends; kernel averages in space and time give the flux (3.12). (In print (3.9) lacks the
factor :math:`\delta x` that makes :math:`\sum_j K_\eta(x_j)` an average: see :class:`ChainModel`.)
"""

from __future__ import annotations

from mpi4py import MPI

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.checks import check_integer, warn
from dolfinx_llg.collective import raise_alike
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.hmm.kernels import averaging_kernel
from dolfinx_llg.hmm.time.chain_boxes import MicroBoxes, damping_ramp, sites
from dolfinx_llg.hmm.time.precession import Window, averaged_flux, averaged_state
from dolfinx_llg.hmm.time.spin_chain import SpinChain, apply_tensor
from dolfinx_llg.kinds import checked

__all__ = ["ChainModel"]

Array = npt.NDArray[np.floating]
Indices = npt.NDArray[np.integer]


@checked
class ChainModel:
    r"""Macro model (3.10) of a chain, for :func:`dolfinx_llg.hmm.upscaled`.

    The macro points are shared over the ranks of ``comm``, their micro problems are vectorised;
    every rank holds all of M, shape (L, 3), and gets the same fluxes.

    Averages in space use weights that reproduce the p moments of :math:`K_\eta` exactly on the
    2 r + 1 spins, the discrete form of :math:`\delta x K_\eta(x_j)`, eta = 2 r dx.

    Args:
        comm: Ranks that share the micro problems; all of them take part in every flux.
        chain: The microscopic chain.
        window: Averaging window in time; its eps must be that of the chain.
        n_macro: Number L of macro points, at least 3 and a divisor of N.
        r: Half width of a micro box in spins, at most the distance N/L of macro points.
        p: Vanishing moments of the kernel in space.
        q: Smoothness of the kernel in space.
        layer: Width in spins, at most r - 1, of a damping layer (remark 4) at both ends of the
            micro box, on the free spins next to the frozen ends; 0 for none. There
            -mu_j m x (m x sum_j J_ij m_j) damps what exchange carries to the ends, and leaves a
            uniform rotation alone. It damps in both directions of time.
        layer_strength: Largest mu, reached at the last free spins, abs(j) = r - 1;
            mu_j = strength ((abs(j) - (r - 1 - layer)) / layer)^2 in the layer. Positive exactly
            if ``layer`` is.

    Attributes:
        evaluations: Spins times evaluations of the effective field, over all ranks.

    Warns:
        UserWarning: If exchange crosses half a micro box within the window: the frozen ends then
            reach the centre, and the upscaled flux is wrong.

    Raises:
        ValueError: If an argument is out of range.

    Note: Collective.
    """

    macro_comm: MPI.Comm = MPI.COMM_SELF
    unit_start = True
    omega_max = 0.0  # the constructor watches what exchange does within tau

    def __init__(
        self,
        comm: MPI.Comm,
        chain: SpinChain,
        window: Window,
        *,
        n_macro: int,
        r: int,
        p: int = 5,
        q: int = 4,
        layer: int = 0,
        layer_strength: float = 0.0,
    ) -> None:
        N = chain.n_spins
        n_macro, r = check_integer("n_macro", n_macro, 3), check_integer("r", r, 1)
        if N % n_macro:
            raise ValueError(f"n_macro must be at least 3 and divide N = {N}, got {n_macro}")
        self.stride = N // n_macro
        if r > self.stride or 2 * r + 1 > N:
            raise ValueError(f"r must lie in [1, {self.stride}], with 2 r + 1 <= {N}, got {r}")
        if window.eps != chain.eps:
            raise ValueError(f"the window has eps = {window.eps}, the chain {chain.eps}")
        layer = check_integer("the width of the damping layer", layer, 0, r - 1)
        if not (np.isfinite(layer_strength) and layer_strength >= 0.0):
            raise ValueError(
                f"the strength of the damping layer must not be negative, got {layer_strength}"
            )
        if (layer > 0) != (layer_strength > 0.0):
            raise ValueError(
                "a damping layer needs both a width and a strength, got layer = "
                f"{layer} and layer_strength = {layer_strength}"
            )
        self.comm, self.chain, self.window = comm, chain, window
        self.beta, self.n_macro, self.r = chain.beta, n_macro, r
        self.shape = (n_macro, 3)
        offsets = np.arange(-r, r + 1)
        kernel = averaging_kernel(p, q, support="[-1/2,1/2]")
        density = np.where(np.abs(offsets) == r, 0.5, 1.0)
        self.weights = kernel.weights(offsets / (2.0 * r), density)
        ramp = damping_ramp(r, layer, layer_strength) / chain.beta
        # Quadratic interpolation between the macro points I - 1, I, I + 1, shape (2r+1, 3).
        self._lagrange = _quadratic(offsets / self.stride)
        bounds = np.linspace(0, n_macro, comm.size + 1).astype(int)
        self._own = np.arange(bounds[comm.rank], bounds[comm.rank + 1])
        failure: Exception | None = None
        try:
            self._boxes = MicroBoxes(chain, window.eps, self._own * self.stride, r, ramp)
        except Exception as error:
            failure = error
        _gather(comm, None, failure, 0.0)
        self._macro_exchange = self._coarse_exchange()
        self.evaluations = 0
        reach = window.reach * chain.exchange_speed()
        if reach > r * (1.0 + 1e-9):
            warn(
                f"exchange travels {reach:.3g} spins within the window and crosses the micro box "
                f"(r = {r}): its frozen ends spoil the upscaled flux; reduce J or tau, or enlarge r"
            )

    @property
    def macro_positions(self) -> Array:
        """Positions X_I of the macro points, shape (L,)."""
        return np.asarray(self.chain.positions[:: self.stride])

    def average(self, m: npt.ArrayLike) -> Array:
        """Average a state of the chain in space around every macro point, eq. (3.9).

        Args:
            m: Spins, shape (N, 3).

        Returns:
            Macro values, shape (L, 3).

        Raises:
            ValueError: If ``m`` has another shape.
        """
        m = np.asarray(m, dtype=np.float64)
        if m.shape != (self.chain.n_spins, 3):
            raise ValueError(f"m must have shape ({self.chain.n_spins}, 3), got {m.shape}")
        around = sites(np.arange(self.n_macro) * self.stride, self.r, self.chain.n_spins)
        return np.einsum("j,Ijk->Ik", self.weights, m[around])

    def initial(self, m: npt.ArrayLike, t: float = 0.0) -> Array:
        """Macro values of a state of the chain at the time t, averages in time and space (3.9).

        The chain is solved over the window, without damping, every spin of it on every rank.

        Args:
            m: Spins, shape (N, 3).
            t: Their time.

        Raises:
            ValueError: If ``m`` has another shape.
        """
        self.average(m)
        state = averaged_state(self.chain, self.window, t, np.array(m, dtype=np.float64))
        return self.average(state)

    def reconstruct(self, M: Array) -> Array:
        """Normalised quadratic interpolation of the macro values at all spins.

        Args:
            M: Macro values, shape (L, 3).

        Returns:
            Unit vectors, shape (N, 3).

        Raises:
            ValueError: If the interpolated values vanish at a spin.
        """
        nearest, lagrange = _piecewise(self.chain.n_spins, self.stride)
        near = (nearest[:, None] + np.array([-1, 0, 1])) % self.n_macro
        return _normalised(np.einsum("ja,jak->jk", lagrange, M[near]))

    def flux(self, t: float, m: Array, damping: float = 0.0) -> tuple[Array, Array]:
        """Upscaled flux (3.12) at all macro points, and the averaged effective field.

        Args:
            t: Time t_a.
            m: Macro values, shape (L, 3).
            damping: lambda of the LL form in the micro problems.

        Returns:
            F and the averaged field, each of shape (L, 3). Collective on ``comm``.

        Raises:
            ConvergenceError: If an implicit micro step fails.
            ValueError: If ``m`` has a wrong shape or vanishes, or the field is not finite.
            RuntimeError: If anything else is raised, by the user's field say, with its type.
                All of them on all ranks alike.
        """
        L = self.n_macro
        if m.shape != (L, 3):
            raise ValueError(f"the macro magnetization must have shape ({L}, 3), got {m.shape}")
        own, boxes = self._own, self._boxes
        boxes.evaluations = 0
        local = np.zeros((2, own.size, 3))
        failure: Exception | None = None
        try:
            neighbours = np.stack((m[own - 1], m[own], m[(own + 1) % L]), axis=1)
            start = _normalised(np.einsum("ja,Iak->Ijk", self._lagrange, neighbours))
            boxes.outside = boxes.to_outside @ self.reconstruct(m) if boxes.to_outside.nnz else None
            if own.size:
                flux, mean = averaged_flux(boxes, self.window, t, start, damping)
                local = np.einsum("j,aIjk->aIk", self.weights, np.stack((flux, mean)))
        except Exception as error:
            failure = error
        # Errors travel with the data: no rank waits for one that has failed.
        parts = _gather(self.comm, (local, boxes.evaluations), failure, t)
        self.evaluations += sum(count for _, count in parts)
        result = np.concatenate([part[0] for part in parts], axis=1)
        return result[0], result[1]

    def field_change(self, v: Array) -> Array:
        """Change of the averaged exchange field with the macro values, for Newton's method."""
        chain, change = self.chain, np.asarray(self._macro_exchange @ v)
        change = apply_tensor(chain.exchange_tensor, change)
        if chain.anisotropy is None:
            return change
        K = chain.anisotropy if chain.anisotropy.ndim == 2 else chain.anisotropy[:: self.stride]
        return change + apply_tensor(K, v)

    def _coarse_exchange(self) -> sp.csr_array:
        """Averaged exchange field as a linear map of the macro values, shape (L, L)."""
        N, L, own, boxes = self.chain.n_spins, self.n_macro, self._own, self._boxes
        width = 2 * self.r + 1
        # Inside a box its own parabola counts, outside the piecewise interpolation.
        rows = np.repeat(np.arange(own.size * width), 3)
        near = np.repeat((own[:, None] + np.array([-1, 0, 1])) % L, width, axis=0)
        values = np.tile(self._lagrange, (own.size, 1))
        inner = sp.csr_array((values.ravel(), (rows, near.ravel())), shape=(own.size * width, L))
        nearest, lagrange = _piecewise(N, self.stride)
        near = (nearest[:, None] + np.array([-1, 0, 1])) % L
        rows = np.repeat(np.arange(N), 3)
        outer = sp.csr_array((lagrange.ravel(), (rows, near.ravel())), shape=(N, L))
        average = sp.kron(sp.eye_array(own.size), self.weights[None, :])
        local = average @ (boxes.within @ inner + boxes.to_outside @ outer)
        return sp.csr_array(sp.vstack(self.comm.allgather(sp.csr_array(local))))


def _gather[T](comm: MPI.Comm, value: T, failure: Exception | None, t: float) -> list[T]:
    """Gather the values of all ranks, or raise the first rank's failure on all of them."""
    if failure is not None and not isinstance(failure, ConvergenceError | ValueError):
        wrapped = RuntimeError(
            f"the micro problems of rank {comm.rank} failed at t = {t:.6g} with "
            f"{type(failure).__name__}: {failure}"
        )
        wrapped.__cause__ = failure
        failure = wrapped
    raise_alike(comm, failure)
    return list(comm.allgather(value))


def _quadratic(s: Array) -> Array:
    """Lagrange polynomials of the nodes -1, 0, 1 at the points s, shape (n, 3)."""
    return np.stack((0.5 * s * (s - 1.0), 1.0 - s * s, 0.5 * s * (s + 1.0)), axis=1)


def _piecewise(n: int, stride: int) -> tuple[Indices, Array]:
    """Nearest macro point of every spin, and its Lagrange weights, shapes (n,) and (n, 3)."""
    site = np.arange(n)
    nearest = (site + stride // 2) // stride
    return nearest, _quadratic(site / stride - nearest)


def _normalised(m: Array) -> Array:
    length = np.linalg.norm(m, axis=-1, keepdims=True)
    if np.any(length == 0.0):
        raise ValueError("the interpolated macro magnetization vanishes between two macro points")
    return np.asarray(m / length)
