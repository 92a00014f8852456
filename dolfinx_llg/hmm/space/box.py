# SPDX-License-Identifier: LGPL-3.0-or-later
r"""The box of a micro problem: sizes, grid, operator, and the weights of its averages.

Leitenmaier, Runborg, arXiv:2108.09463, sections 2.3 and 4.

On the boundary either m stays what it was (Dirichlet, section 4.2), or m - m_init is periodic.

In space, the second-order stencil with kappa at the midpoints of the edges, which is P1 with lumped
mass and midpoint-sampled kappa: at 10 points a period its homogenized coefficient is far more
accurate than that of P1 with exact quadrature. It is held as one CSR matrix per coefficient (the
rows of boundary nodes are empty) and applied to the columns of all points that share it, or block
by block for points that share none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_integer
from dolfinx_llg.hmm.kernels import Kernel
from dolfinx_llg.hmm.space.numerics import MicroNumerics
from dolfinx_llg.hmm.space.sizes import sample_period, suggested_sizes
from dolfinx_llg.kinds import checked
from dolfinx_llg.schemes.stability import stability_limit

__all__ = [
    "Coefficient",
    "MicroBox",
    "edges_of",
    "field_weights",
    "flux_functional",
    "fold",
    "free_nodes",
    "periodic_edges",
    "representatives",
    "sample_edges",
    "spectral_bound",
]

Array = npt.NDArray[np.float64]
Coefficient = Callable[[Array], npt.ArrayLike]

#: Share of HeunP's stability limit that the micro step takes.
SAFETY = 0.9
#: Fewest steps of a micro problem: the one-sided kernel is sampled at them.
MIN_STEPS = 50
#: Extrapolation of smooth data by one node beyond a side, from its six nearest: of order 6.
GHOST = np.array([6.0, -15.0, 20.0, -15.0, 6.0, -1.0])


@checked
@dataclass(frozen=True)
class MicroBox:
    r"""Sizes of a micro problem and of its averages, all lengths in units of x.

    Attributes:
        dim: Space dimension, 1, 2 or 3.
        eps: Scale of the coefficient, :math:`\epsilon`.
        mu: Half width of the averaging box, at most ``mu_outer``.
        mu_outer: Half width of the box of the micro problem, :math:`\mu'`.
        eta: Length of time, a multiple of eps^2.
        damping: Artificial damping of the micro problem (LL form).
        points_per_eps: K, steps of the micro grid per eps.
        boundary: ``"dirichlet"``: m keeps its initial values on the boundary. ``"periodic"``:
            :math:`m - m_{init}` is periodic over the box, for a coefficient that is (2 mu_outer a
            whole number of its periods). Errors travel into the box from both (figure 10).
        numerics: Kernels of the averages, and the micro time step (``llg.hmm.MicroNumerics``).

    Raises:
        ValueError: If a size is out of range.
    """

    dim: int
    eps: float
    mu: float
    mu_outer: float
    eta: float
    damping: float = 1.2
    points_per_eps: int = 10
    boundary: Literal["dirichlet", "periodic"] = "dirichlet"
    numerics: MicroNumerics = MicroNumerics()

    def __post_init__(self) -> None:
        """Validate the sizes."""
        check_integer("dim", self.dim, 1, 3)
        check_integer("points_per_eps", self.points_per_eps, 2)
        for name in ("eps", "mu", "mu_outer", "eta", "damping"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.mu > self.mu_outer * (1 + 1e-12):
            raise ValueError(
                f"the averaging box, mu = {self.mu:g}, is larger than the micro box, mu_outer = "
                f"{self.mu_outer:g}: reduce mu or enlarge mu_outer"
            )
        if self.mu < self.eps / 2:
            raise ValueError(
                f"mu = {self.mu:g} averages over less than one period, eps = {self.eps:g}: take "
                "several, say mu = 4 eps"
            )
        if self.boundary not in ("dirichlet", "periodic"):
            raise ValueError(f"boundary must be 'dirichlet' or 'periodic', got {self.boundary!r}")
        if self.periodic and self.n_cells < len(GHOST):
            raise ValueError(
                f"a periodic box needs at least {len(GHOST)} steps along a side, got "
                f"{self.n_cells}: enlarge points_per_eps or mu_outer"
            )

    @classmethod
    @checked
    def suggest(
        cls,
        dim: int,
        eps: float,
        kappa: Coefficient,
        accuracy: float,
        *,
        length: float | None = None,
        centre: npt.ArrayLike | None = None,
        damping: float = 1.2,
        boundary: Literal["dirichlet", "periodic"] = "dirichlet",
        points_per_eps: int | None = None,
        numerics: MicroNumerics | None = None,
    ) -> MicroBox:
        r"""Return the cheapest box that is expected to average with a wanted accuracy.

        From one period of the coefficient follow, for linear data, what the transient leaves
        after :math:`\eta`, what the kernel leaves of the oscillation over :math:`\mu`, what comes
        in from the boundary at :math:`\mu'`, and the error of the grid,

        .. math:: E_{avg} \approx E_\eta + E_\mu + E_{\mu'} + E_{num}

        (equation (35) of Leitenmaier, Runborg, arXiv:2108.09463, whose constants are computed
        here, see :mod:`dolfinx_llg.hmm.space.sizes`). Each is to be a quarter of the accuracy; of
        the boxes and kernels that are tried, that of the least cost :math:`\eta \mu'^d` is taken.
        What no box can mend is not in it: :math:`E_\epsilon = O(\epsilon^2)`, and
        :math:`O(\mu^{p+1})` of curved data. On EX1, EX2 and EX3, for
        accuracies of 0.1 to 1e-3 and averages of flux and field, errors are below the accuracy, and
        little of eta or mu could be saved (``demo_hmm_micro --suggest``, whose table is in the
        guide).

        Args:
            dim: Space dimension, 1, 2 or 3.
            eps: Scale of the coefficient, of which one period is looked at; of a coefficient
                that is not periodic this stretch stands for the rest.
            kappa: Coefficient, a function of points of shape (dim, n).
            accuracy: Largest error of the averaged flux, relative to the largest entry of the
                homogenized coefficient; above 0, at most 1.
            length: For averages of the field or torque, which need larger boxes: the length over
                which M turns by a radian. None: averages of the flux (``upscaled_tensor``).
            centre: Corner of the period, shape (dim,); None: the origin.
            damping: Artificial damping; about 1 is cheapest.
            boundary: As of the box; ``"periodic"`` takes whole periods.
            points_per_eps: Steps of the micro grid per eps; None: from the accuracy.
            numerics: Kernels; None: p = 3 in space and 1 in time, the smoothness that is cheapest.

        Raises:
            ValueError: If an argument is out of range, kappa is not positive and finite, or none
                of the sizes tried (mu up to 30 eps) reaches the accuracy.
        """
        check_integer("dim", dim, 1, 3)
        sizes = suggested_sizes(
            sample_period(dim, eps, kappa, centre, damping),
            eps,
            accuracy,
            boundary=boundary,
            points_per_eps=points_per_eps,
            numerics=numerics,
            length=length,
        )
        return cls(dim, eps, **sizes)

    @property
    def periodic(self) -> bool:
        """Whether m - m_init is periodic; its value on the upper sides is that on the lower."""
        return self.boundary == "periodic"

    @property
    def kernels(self) -> tuple[Kernel, Kernel]:
        """The kernel in space, and the one-sided kernel in time."""
        return self.numerics.kernels

    @cached_property
    def n_cells(self) -> int:
        """Steps of the micro grid along a side."""
        return max(2, round(2 * self.mu_outer * self.points_per_eps / self.eps))

    @property
    def spacing(self) -> float:
        """Step of the micro grid."""
        return 2 * self.mu_outer / self.n_cells

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes along each side."""
        return (self.n_cells + 1,) * self.dim

    @property
    def n_nodes(self) -> int:
        """Nodes of the box."""
        return int(math.prod(self.shape))

    @cached_property
    def nodes(self) -> Array:
        """Coordinates of the nodes along one side, relative to the centre."""
        return np.linspace(-self.mu_outer, self.mu_outer, self.n_cells + 1)

    @cached_property
    def midpoints(self) -> Array:
        """Midpoints of the edges along one side."""
        return 0.5 * (self.nodes[1:] + self.nodes[:-1])

    @cached_property
    def space_weights(self) -> tuple[Array, Array]:
        """Weights of the average in space along one side: at the nodes, at the midpoints."""
        kernel = self.kernels[0]
        found = []
        for x in (self.nodes, self.midpoints):
            weights = np.zeros(len(x))
            inside = np.abs(x) <= self.mu * (1 + 1e-12)
            # No field is computed at the nodes on the boundary of the box: they have no weight.
            inside &= np.abs(x) < self.mu_outer * (1 - 1e-12)
            weights[inside] = kernel.weights(
                np.clip(x[inside] / self.mu, -1.0, 1.0), self.spacing / self.mu
            )
            found.append(weights)
        return found[0], found[1]

    def n_steps(self, omega: float) -> int:
        """Number of time steps for a largest eigenvalue ``omega`` of the discrete operator."""
        given = self.numerics.dt
        dt = self.stable_dt(omega) if given is None else given
        return max(math.ceil(self.eta / dt * (1 - 1e-12)), MIN_STEPS if given is None else 2)

    def stable_dt(self, omega: float) -> float:
        """The step that HeunP takes by default: 0.9 of its limit."""
        return SAFETY * stability_limit("heun_p", self.damping) / omega

    def time_weights(self, n_steps: int) -> Array:
        """Weights of the average in time at the n_steps + 1 time levels."""
        density = np.full(n_steps + 1, 1.0 / n_steps)
        density[[0, -1]] *= 0.5
        weights = self.kernels[1].weights(np.linspace(0.0, 1.0, n_steps + 1), density)
        return np.asarray(weights, dtype=np.float64)

    def last_step(self, n_steps: int) -> int:
        """Step after which the rest of the average is below 1e-10: the run ends there."""
        tail = np.cumsum(np.abs(self.time_weights(n_steps))[::-1])[::-1]
        return int(np.flatnonzero(tail > 1e-10)[-1])


def sample_edges(box: MicroBox, kappa: Coefficient, centres: Array) -> Array:
    """Coefficient at the midpoints of the edges of boxes.

    Args:
        box: The box.
        kappa: Coefficient, a function of points of shape (dim, n).
        centres: Centres of the boxes, shape (P, dim).

    Returns:
        Values, shape (P, n_edges): all edges along the first axis, then the second, ...
    """
    found = []
    for axis in range(box.dim):
        sides = [box.midpoints if k == axis else box.nodes for k in range(box.dim)]
        offsets = np.stack([g.ravel() for g in np.meshgrid(*sides, indexing="ij")])
        x = centres.T[:, :, None] + offsets[:, None, :]
        values = np.asarray(kappa(x.reshape(box.dim, -1)), dtype=np.float64)
        found.append(np.broadcast_to(values, x[0].size).reshape(x.shape[1:]))
    return np.concatenate(found, axis=1)


def edges_of(box: MicroBox) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[slice]]:
    """Lower and upper node of every edge, and the slice of each axis' edges."""
    index = np.arange(box.n_nodes).reshape(box.shape)
    low, high, slices, start = [], [], [], 0
    for axis in range(box.dim):
        a = np.take(index, range(box.n_cells), axis).ravel()
        b = np.take(index, range(1, box.n_cells + 1), axis).ravel()
        low.append(a)
        high.append(b)
        slices.append(slice(start, start + len(a)))
        start += len(a)
    return np.concatenate(low), np.concatenate(high), slices


def free_nodes(box: MicroBox) -> npt.NDArray[np.bool_]:
    """Which nodes are unknowns: those inside, or, if periodic, all but the upper sides."""
    inside = np.zeros(box.shape, dtype=bool)
    inside[(slice(0 if box.periodic else 1, -1),) * box.dim] = True
    return inside.ravel()


def representatives(box: MicroBox) -> npt.NDArray[np.int64]:
    """Node that stands for each node: on the upper sides of a periodic box those opposite."""
    index = np.arange(box.n_nodes).reshape(box.shape)
    if box.periodic:
        side = np.arange(box.n_cells + 1) % box.n_cells
        index = index[np.ix_(*[side] * box.dim)]
    return index.ravel()


def fold(box: MicroBox, functional: Array) -> Array:
    """Functional of m - m_init at the unknown nodes, from one at all nodes, shape (n_nodes,)."""
    folded = np.bincount(representatives(box), functional, box.n_nodes)
    return np.where(free_nodes(box), folded, 0.0)


def periodic_edges(box: MicroBox) -> npt.NDArray[np.bool_]:
    """Which edges a periodic box has: those within its upper sides are those opposite."""
    index, keep = np.stack(np.unravel_index(np.arange(box.n_nodes), box.shape)), []
    low, _, slices = edges_of(box)
    for axis, part in enumerate(slices):
        others = np.delete(index[:, low[part]], axis, axis=0)
        keep.append(np.all(others < box.n_cells, axis=0))
    return np.concatenate(keep)


def spectral_bound(box: MicroBox, edges: Array) -> float:
    """Bound of the eigenvalues of the operators of all boxes, by Gershgorin."""
    low, high, _ = edges_of(box)
    if box.periodic:
        wrap, keep = representatives(box), periodic_edges(box)
        low, high, edges = wrap[low[keep]], wrap[high[keep]], edges[:, keep]
    free, n, largest = free_nodes(box), box.n_nodes, 0.0
    for kappa in edges:
        degree = np.bincount(low, kappa, n) + np.bincount(high, kappa, n)
        largest = max(largest, float(degree[free].max(initial=0.0)))
    return 2 * largest / box.spacing**2


def tensor_product(factors: Sequence[Array]) -> Array:
    """Outer product of vectors, flattened."""
    product = factors[0]
    for factor in factors[1:]:
        product = np.multiply.outer(product, factor)
    return product.ravel()


def field_weights(box: MicroBox) -> Array:
    """Weights of the spatial average at the nodes, shape (n_nodes,)."""
    return tensor_product([box.space_weights[0]] * box.dim)


def flux_functional(box: MicroBox, edges: Array) -> Array:
    r"""Functionals :math:`m \mapsto \int K_\mu \kappa \partial_k m` at the nodes.

    Args:
        box: The box.
        edges: Coefficients of the edges of P boxes, shape (P, n_edges).

    Returns:
        Shape (dim, P, n_nodes).
    """
    low, high, slices = edges_of(box)
    node_weights, mid_weights = box.space_weights
    found = np.zeros((box.dim, len(edges), box.n_nodes))
    for axis, part in enumerate(slices):
        w = tensor_product([mid_weights if k == axis else node_weights for k in range(box.dim)])
        for p, kappa in enumerate(edges):
            value = w * kappa[part] / box.spacing
            found[axis, p] = np.bincount(high[part], value, box.n_nodes)
            found[axis, p] -= np.bincount(low[part], value, box.n_nodes)
    return found
