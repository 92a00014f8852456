# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Finite-element macro problem of the spatial HMM: the flux model on any mesh.

Beyond Leitenmaier and Runborg, arXiv:2108.09463, whose macro grid is periodic and whose field is
exchange alone. The flux model (9) in weak form needs the averaged flux at the quadrature points of
P1 elements, one for each cell: the term :math:`(F_{avg}, \nabla w)` in place of
:math:`(\kappa \nabla m, \nabla w)`. The micro data is :math:`M + \nabla M (x - x_q)`, normalised;
the boxes near the boundary are shifted inward, so that nothing outside the domain is asked for, and
the natural (Neumann) condition holds as for any exchange term.

By the adjoint (:mod:`~dolfinx_llg.hmm.space.adjoint`) the flux is :math:`\mathrm{Re}\,A\,\nabla M
+ M \times \mathrm{Im}\,A\,\nabla M` with one complex tensor per cell, computed once. Its imaginary
and its skew part are averaging errors; the symmetric real part is an exchange tensor like others:
``Exchange(upscaled_tensor(...).kappa)`` is implicit in the schemes that take exchange implicitly,
has an energy, and goes with every other term and with GRPS. The nonlinear micro problems enter by
:class:`FluxRemainder`, what they add to their linearisation: small, so that it may be taken
explicitly without a limit on the time step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import basix
import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.collective import together
from dolfinx_llg.hmm.space.adjoint import flux_functionals
from dolfinx_llg.hmm.space.box import Coefficient, MicroBox, spectral_bound
from dolfinx_llg.hmm.space.micro import (
    BATCH,
    check_growth,
    check_micro_step,
    check_scale,
    make_batches,
    run_batches,
)
from dolfinx_llg.hmm.space.share import distinct_coefficients
from dolfinx_llg.jit import compile_expression
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import exchange_coefficient
from dolfinx_llg.physics.interaction import Interaction, mesh_id

__all__ = ["FluxRemainder", "UpscaledTensor", "upscaled_tensor"]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class UpscaledTensor:
    """Exchange tensor from micro problems, one for each cell.

    Attributes:
        kappa: DG0 function of shape (gdim, gdim), symmetric: for ``Exchange``.
        defect: Largest entry of the imaginary and of the skew part: zero but for averaging errors,
            of which it is an estimate.
        box: The micro problem.
        n_steps: Its number of time steps.
        omega: Bound of the eigenvalues of its operators.
        edges: Distinct micro coefficients of this rank's cells, shape (P, n_edges).
        patch: Coefficient of each of this rank's cells.
        complex_tensors: The tensors A of the distinct coefficients, (P, gdim, gdim).
    """

    kappa: fem.Function
    defect: float
    box: MicroBox
    n_steps: int
    omega: float
    edges: Array
    patch: Integers
    complex_tensors: npt.NDArray[np.complex128]


@checked
def upscaled_tensor(
    mesh: dolfinx.mesh.Mesh,
    kappa: Energy | Coefficient,
    box: MicroBox,
    *,
    bounds: tuple[Sequence[float], Sequence[float]] | None = None,
) -> UpscaledTensor:
    """Exchange tensor of a macro mesh by the adjoint of micro problems in its cells.

    Args:
        mesh: Macro mesh, its cells larger than eps.
        kappa: Coefficient, a function of points of shape (gdim, n); asked inside ``bounds`` only.
            Or the ``Energy`` of the run, built with such a function: ``llg.with_exchange(energy,
            tensor.kappa)`` is then that of the upscaled run.
        box: Micro problem; its dimension is that of the mesh.
        bounds: Lower and upper corner of the region in which the boxes must stay; None: the
            bounding box of the mesh. On a mesh that does not fill it, kappa is asked in the whole
            of it (a coefficient given by a formula is known there too).

    Raises:
        ValueError: If the boxes do not fit between the bounds, if eps is not below the size of the
            cells, or if kappa is not positive and finite; on all ranks alike.
        RuntimeError: If ``box.numerics.dt`` is above the stability limit.

    Note: Collective; every rank treats its own cells.
    """
    comm, tdim, gdim = mesh.comm, mesh.topology.dim, mesh.geometry.dim
    if isinstance(kappa, Energy):
        kappa = exchange_coefficient(kappa)
    if box.dim != gdim or tdim != gdim:
        raise ValueError(
            f"the micro box has dimension {box.dim}, the mesh {tdim} in {gdim} dimensions"
        )
    mesh.topology.create_connectivity(tdim, tdim)
    n = mesh.topology.index_map(tdim).size_local
    cells = np.arange(n, dtype=np.int32)
    size = float(mesh.h(tdim, cells).min(initial=math.inf)) if n else math.inf
    check_scale(box.eps, min(comm.allgather(size)), "smallest cell of the macro mesh")
    centres, low_corner = _shifted(mesh, cells, box, bounds)
    with together(comm):
        probe = np.asarray(kappa((low_corner + box.mu_outer)[:, None]), dtype=np.float64)
    if probe.size != 1:
        raise ValueError(f"kappa must return one number per point, got shape {probe.shape} for one")
    patch, distinct = distinct_coefficients(comm, box, kappa, centres, shared=False)
    omega = max(comm.allgather(spectral_bound(box, distinct)))
    n_steps = box.n_steps(omega)
    check_micro_step(box, n_steps, omega)
    axes = np.meshgrid(*[box.nodes] * gdim, indexing="ij")
    coordinates = np.stack([axis.ravel() for axis in axes])
    tensors = np.zeros((len(distinct), gdim, gdim), dtype=np.complex128)
    block = max(1, BATCH // box.n_nodes)
    for i in range(0, len(distinct), block):
        functionals = flux_functionals(box, distinct[i : i + block], n_steps)
        tensors[i : i + block] = functionals @ coordinates.T
    symmetric = 0.5 * (tensors.real + tensors.real.transpose(0, 2, 1))
    local = float(np.abs(tensors - symmetric).max(initial=0.0))
    found = fem.Function(fem.functionspace(mesh, ("DG", 0, (gdim, gdim))), name="kappa")
    found.x.array[: n * gdim * gdim] = symmetric[patch].ravel()
    found.x.scatter_forward()
    defect = max(comm.allgather(local))
    return UpscaledTensor(found, defect, box, n_steps, omega, distinct, patch, tensors)


def _shifted(
    mesh: dolfinx.mesh.Mesh,
    cells: npt.NDArray[np.int32],
    box: MicroBox,
    bounds: tuple[Sequence[float], Sequence[float]] | None,
) -> tuple[Array, Array]:
    """Centroids of cells, moved so that their boxes stay inside, (n, gdim); the lower bound."""
    gdim = mesh.geometry.dim
    x = mesh.geometry.x[:, :gdim]
    if bounds is None:
        own = x.min(axis=0, initial=math.inf), x.max(axis=0, initial=-math.inf)
        ends = mesh.comm.allgather(own)
        low = np.min([end[0] for end in ends], axis=0)
        high = np.max([end[1] for end in ends], axis=0)
    else:
        low, high = (np.asarray(end, dtype=np.float64) for end in bounds)
        if low.shape != (gdim,) or high.shape != (gdim,):
            raise ValueError(f"bounds must be two points of {gdim} coordinates, got {bounds}")
    room = high - low - 2 * box.mu_outer
    if not np.all(room >= -1e-12 * (high - low)):
        raise ValueError(
            f"micro boxes of width {2 * box.mu_outer:g} overlap the boundary of the domain, which "
            f"is {float(np.min(high - low)):g} wide: reduce mu_outer"
        )
    centroids = dolfinx.mesh.compute_midpoints(mesh, mesh.topology.dim, cells)[:, :gdim]
    moved = np.clip(centroids, low + box.mu_outer, np.maximum(high - box.mu_outer, low))
    return moved, low


@checked
class FluxRemainder(Interaction):
    r"""What nonlinear micro problems add to their linearisation, the adjoint.

    The term :math:`(F_{avg} - \mathrm{Re}\,A\,\nabla M - M \times \mathrm{Im}\,A\,\nabla M,
    \nabla w)`, to be used beside ``Exchange(tensor.kappa)``; updated once per step from the micro
    problems of this rank's cells. The tangential part of the flux is taken, which is all that the
    macro equation sees.

    Args:
        tensor: The upscaled tensor, see :func:`upscaled_tensor`.

    Attributes:
        flux: The remainder, DG0 of shape (3, gdim).
        largest: Its largest entry at the last update, over that of the flux.
    """

    implicit = False

    def __init__(self, tensor: UpscaledTensor) -> None:
        """Build the micro operators."""
        self.tensor = tensor
        mesh = tensor.kappa.function_space.mesh
        gdim = mesh.geometry.dim
        self.flux = fem.Function(fem.functionspace(mesh, ("DG", 0, (3, gdim))), name="flux")
        self.largest = 0.0
        box = tensor.box
        axes = np.meshgrid(*[box.nodes] * gdim, indexing="ij")
        self._coordinates = np.stack([axis.ravel() for axis in axes])
        self._batches = make_batches(box, tensor.edges, tensor.patch, tensor.n_steps)
        self._expressions: tuple[fem.Function, fem.Expression, fem.Expression] | None = None

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return the integrand ``flux : grad w``."""
        return ufl.inner(self.flux, ufl.grad(w))

    def _states(self, m: fem.Function) -> tuple[Array, Array]:
        """Unit M, shape (n, 3), and its tangential gradient, (n, 3, gdim), at the centroids."""
        mesh = m.function_space.mesh
        if self._expressions is None or self._expressions[0] is not m:
            if mesh_id(mesh) != mesh_id(self.flux.function_space.mesh):
                raise ValueError("m lives on another mesh than the upscaled tensor")
            point = basix.geometry(mesh.basix_cell()).mean(axis=0)
            self._expressions = (
                m,
                compile_expression(m, point),
                compile_expression(ufl.grad(m), point),
            )
        cells = np.arange(len(self.tensor.patch), dtype=np.int32)
        value = np.asarray(self._expressions[1].eval(mesh, cells), dtype=np.float64)
        slope = np.asarray(self._expressions[2].eval(mesh, cells), dtype=np.float64)
        value, slope = value.reshape(-1, 3), slope.reshape(len(cells), 3, -1)
        value = value / np.linalg.norm(value, axis=1, keepdims=True)
        return value, slope - np.einsum("pc,pd,pdk->pck", value, value, slope)

    def update(self, m: fem.Function, t: float) -> None:
        """Solve the micro problems from M at the old level.

        Raises:
            RuntimeError: If one turns unstable, on all ranks alike.
        """
        value, slope = self._states(m)

        def initial(points: Integers) -> Array:
            data = np.einsum("pck,kn->pnc", slope[points], self._coordinates)
            data += value[points][:, None]
            data /= np.linalg.norm(data, axis=2, keepdims=True)
            return data

        tensor = self.tensor
        found, growth = run_batches(tensor.box, self._batches, initial, tensor.n_steps, "flux")
        comm = m.function_space.mesh.comm
        check_growth(tensor.box, max(comm.allgather(growth)), tensor.n_steps, tensor.omega)
        flux = found.transpose(0, 2, 1)
        flux = flux - np.einsum("pc,pd,pdk->pck", value, value, flux)
        A = tensor.complex_tensors[tensor.patch]
        turned = np.cross(value[:, :, None], slope, axis=1)
        remainder = flux - slope @ A.real.transpose(0, 2, 1) - turned @ A.imag.transpose(0, 2, 1)
        self.flux.x.array[: remainder.size] = remainder.ravel()
        self.flux.x.scatter_forward()
        local = [float(np.abs(v).max(initial=0.0)) for v in (remainder, flux)]
        largest, size = np.max(comm.allgather(local), axis=0)
        self.largest = float(largest / max(size, 1e-300))
