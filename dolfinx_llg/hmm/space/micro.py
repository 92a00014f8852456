# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Micro problems of the spatial HMM, advanced together, and their averages.

Leitenmaier, Runborg, arXiv:2108.09463, sections 2.2 and 2.3. On the box
:math:`x_i + [-\mu', \mu']^d` and for :math:`0 \le t \le \eta` the Landau-Lifshitz equation (7) with
the resolved coefficient is solved from given data, with Dirichlet conditions (or with m - m_init
periodic) and a damping of its own, by HeunP (15) (with k_2 at the full step: half a step, as
printed, is of first order; m is projected to the length it had, which is 1 but for the
interpolating polynomial as data). Averages
of the field, the flux and the torque with the kernels :math:`K_\mu K^0_\eta` (12), centred at
:math:`x_i`, close the macro models (8), (9) and (10).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from dolfinx_llg.hmm.space.box import (
    MicroBox,
    field_weights,
    flux_functional,
    representatives,
)
from dolfinx_llg.hmm.space.stiffness import stiffness
from dolfinx_llg.schemes.stability import stability_limit

__all__ = [
    "BATCH",
    "Batch",
    "Upscaling",
    "check_growth",
    "check_micro_step",
    "check_scale",
    "heun_p",
    "make_batches",
    "micro_averages",
    "run_batches",
]

Array = npt.NDArray[np.float64]
Upscaling = Literal["field", "flux", "torque"]

#: Doubles in one component of a batch: the dozen arrays of a stage then stay in the L2 cache.
BATCH = 8192
#: Growth of the largest field beyond which a micro run counts as unstable. A stable one damps it.
MAX_GROWTH = 2.0


def check_scale(eps: float, size: float, name: str) -> None:
    """Raise ValueError where eps is larger than the macro mesh."""
    if eps > size * (1 + 1e-12):
        raise ValueError(
            f"eps = {eps:g} is larger than the {name}, {size:g}: the scales do not separate; "
            "resolve the coefficient on the mesh instead"
        )


def check_growth(box: MicroBox, growth: float, n_steps: int, omega: float) -> None:
    """Raise RuntimeError if the field of a micro run grew (the same number on all ranks)."""
    if growth > MAX_GROWTH:
        _raise_unstable(box, f"its field grew {growth:.3g} times within eta", n_steps, omega)


def check_micro_step(box: MicroBox, n_steps: int, omega: float) -> None:
    """Raise RuntimeError if HeunP, and with it the adjoint, is unstable."""
    if box.eta / n_steps * omega > stability_limit("heun_p", box.damping) * (1 + 1e-9):
        _raise_unstable(box, "the adjoint would grow", n_steps, omega)


def _raise_unstable(box: MicroBox, how: str, n_steps: int, omega: float) -> None:
    raise RuntimeError(
        f"a micro problem is unstable: {how} with dt = {box.eta / n_steps:.3g}; HeunP is stable up "
        f"to dt = {box.stable_dt(omega):.3g} here"
    )


def _cross(a: Array, b: Array, out: Array, work: Array) -> None:
    """Write a x b to out, along the first axis, without temporaries."""
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(a[j], b[k], out=out[i])
        np.multiply(a[k], b[j], out=work)
        np.subtract(out[i], work, out=out[i])


def _apply(matrix: sp.csr_matrix, m: Array) -> Array:
    """The operator applied to m of shape (3, rows, B): to all components at once or to each."""
    if matrix.shape[0] == 3 * m.shape[1]:
        flat = m.reshape(-1, m.shape[2]) if m.shape[2] > 1 else m.reshape(-1)
        return np.asarray(matrix @ flat).reshape(m.shape)
    return np.stack([matrix @ component for component in m])


def _field(matrix: sp.csr_matrix, constant: Array | None, m: Array) -> Array:
    """The field of m: the operator applied to it, and what m_init adds."""
    h = _apply(matrix, m)
    if constant is not None:
        h += constant
    return h


def heun_p(
    box: MicroBox, matrix: sp.csr_matrix, constant: Array | None, m: Array, n_steps: int
) -> Iterator[tuple[Array, Array]]:
    r"""Micro problems (7) by HeunP, level by level.

    Args:
        box: The box.
        matrix: Operator of the boxes times the time step, see :class:`Batch`.
        constant: What is added to ``matrix @ m`` for the field, or None.
        m: Initial data, shape (3, rows, B): B problems share each block of the matrix.
            Overwritten with the state of the level.
        n_steps: Number of steps.

    Yields:
        The field and :math:`m \times h` at each level, both times the step; valid until the next.
    """
    damping = box.damping
    k1, k2, g, work = np.empty_like(m), np.empty_like(m), np.empty_like(m), np.empty_like(m[0])
    length = np.sqrt(np.einsum("ijk,ijk->jk", m, m))
    for step in range(n_steps + 1):
        h = _field(matrix, constant, m)
        _cross(m, h, k2, work)
        yield h, k2
        if step == n_steps:
            return
        # f(m) = -m x h - alpha m x (m x h) = (h + alpha m x h) x m, with dt in h.
        k2 *= damping
        k2 += h
        _cross(k2, m, k1, work)
        np.add(m, k1, out=g)
        h = _field(matrix, constant, g)
        _cross(g, h, k2, work)
        k2 *= damping
        k2 += h
        _cross(k2, g, h, work)
        k1 += h
        k1 *= 0.5
        m += k1
        np.multiply(m, m, out=g)
        np.add(g[0], g[1], out=work)
        work += g[2]
        np.sqrt(work, out=work)
        np.divide(length, work, out=work)
        m *= work


def micro_averages(
    box: MicroBox,
    matrix: sp.csr_matrix,
    constant: Array | None,
    m: Array,
    n_steps: int,
    *,
    torque: bool = False,
) -> tuple[Array, float]:
    r"""Solve micro problems (7) by HeunP and average over time with :math:`K^0_\eta`.

    Args:
        box: The box.
        matrix: Operator of the boxes times the time step, see :class:`Batch`.
        constant: What is added to ``matrix @ m`` for the field, or None.
        m: Initial data, shape (3, rows, B): B problems share each block of the matrix.
            Overwritten with the state at the last step.
        n_steps: Number of steps.
        torque: Average :math:`m \times h`, times the step, instead of m.

    Returns:
        The time average of m (of which field and flux are affine functionals) or of the torque,
        of the shape of ``m``; and the growth of the field, its largest value at the end over that
        at the start.
    """
    weights, end = box.time_weights(n_steps), box.last_step(n_steps)
    mean, part = np.zeros_like(m), np.empty_like(m)
    first = last = 0.0
    for step, (h, turned) in enumerate(heun_p(box, matrix, constant, m, end)):
        if step == 0:
            first = float(np.abs(h).max())
        if step == end:
            last = float(np.abs(h).max())
        if weights[step] != 0.0:
            np.multiply(turned if torque else m, weights[step], out=part)
            mean += part
    # Fields below this are round-off of constant data.
    floor = 1e-9 * float(np.abs(matrix.diagonal()).max())
    return mean, last / max(first, floor)


@dataclass(frozen=True)
class Batch:
    """Micro problems that are advanced together.

    Attributes:
        points: Their numbers, shape (B,).
        edges: Coefficients, shape (1, n_edges) if all share them, else (B, n_edges).
        matrix: Operator of the distinct coefficients on m: :math:`L` with Dirichlet conditions,
            :math:`L_0` in periodic boxes, see :func:`stiffness`.
        step: The same times the time step; small ones three times over, for all components at
            once.
        data: :math:`L - L_0` of periodic boxes, which acts on m_init, else None.
    """

    points: npt.NDArray[np.int64]
    edges: Array
    matrix: sp.csr_matrix
    step: sp.csr_matrix
    data: sp.csr_matrix | None


def make_batches(
    box: MicroBox, edges: Array, patch: npt.NDArray[np.int64], n_steps: int
) -> list[Batch]:
    """Group micro problems: those of one coefficient share a matrix, within the size of the cache.

    Args:
        box: The box.
        edges: Distinct coefficients, shape (P, n_edges).
        patch: Coefficient of each problem, shape (n,).
        n_steps: Number of time steps.
    """
    size = max(1, BATCH // box.n_nodes)
    used, counts = np.unique(patch, return_counts=True)
    # Sharing repays where one coefficient fills a batch: short arrays cost numpy's overhead.
    if size == 1 or counts.max(initial=0) >= max(2, size // 2):
        groups = [np.flatnonzero(patch == p) for p in used]
        coefficients = [edges[p : p + 1] for p in used]
    else:
        groups = [np.arange(i, min(i + size, len(patch))) for i in range(0, len(patch), size)]
        coefficients = [edges[patch[group]] for group in groups]
    batches = []
    for group, own in zip(groups, coefficients, strict=True):
        whole, perturbation = stiffness(box, own)
        matrix, data = (
            (perturbation, (whole - perturbation).tocsr()) if box.periodic else (whole, None)
        )
        step = matrix * (box.eta / n_steps)
        if len(own) * box.n_nodes <= BATCH:
            step = sp.kron(sp.identity(3), step, format="csr")
        batches += [
            Batch(group[i : i + size], own, matrix, step, data) for i in range(0, len(group), size)
        ]
    return batches


def run_batches(
    box: MicroBox,
    batches: Sequence[Batch],
    initial: Callable[[npt.NDArray[np.int64]], Array],
    n_steps: int,
    upscaling: Upscaling,
) -> tuple[Array, float]:
    """Average field, flux or torque of all micro problems of a rank.

    Args:
        box: The box.
        batches: The problems, see :func:`make_batches`.
        initial: Initial data of problems, ``initial(points)`` of shape (B, n_nodes, 3).
        n_steps: Number of time steps.
        upscaling: What to average.

    Returns:
        Averages, shape (n, 3), of the flux (n, dim, 3); and the largest growth of the field, which
        is at most about 1 in a stable run.
    """
    count = sum(len(batch.points) for batch in batches)
    n = box.n_nodes
    result = np.empty((count, box.dim, 3) if upscaling == "flux" else (count, 3))
    weights, growth = field_weights(box), 0.0
    for batch in batches:
        m, shared = initial(batch.points), len(batch.edges) == 1
        # Columns of one block, or one column of several blocks.
        data = np.moveaxis(m, 2, 0)
        state = data.transpose(0, 2, 1) if shared else data.reshape(3, -1, 1)
        torque = upscaling == "torque"
        state = np.ascontiguousarray(state)
        constant = None if batch.data is None else _apply(batch.data, state)
        start = state.copy() if box.periodic and not torque else None
        mean, grown = micro_averages(
            box,
            batch.step,
            None if constant is None else constant * (box.eta / n_steps),
            state,
            n_steps,
            torque=torque,
        )
        if start is not None:
            # No other node sees what is on the upper sides: there m - m_init is that opposite.
            first = np.arange(0, state.shape[1], n)[:, None]
            wrap = (first + representatives(box)).ravel()
            mean = start + (mean - start)[:, wrap]
        growth = max(growth, grown) if math.isfinite(grown) else math.inf
        if upscaling == "field":
            mean = _field(batch.matrix, constant, mean)
        elif torque:
            mean *= n_steps / box.eta
        blocks = mean.transpose(0, 2, 1) if shared else mean.reshape(3, -1, n)
        if upscaling == "flux":
            functional = flux_functional(box, batch.edges)
            shape = (box.dim, len(batch.points), n)
            result[batch.points] = np.einsum(
                "kpn,cpn->pkc", np.broadcast_to(functional, shape), blocks
            )
        else:
            result[batch.points] = (blocks @ weights).T
    return result, growth
