# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Algorithm 1 with the speed-up of the GRPS paper, section 3.3, in its right form.

Gao's and Cimrak's schemes in V_H with the nonlinear factor projected,

.. math::
    R = \lambda (P_{GRPS}(q) m, v), \quad q = \kappa |\nabla m|^2 + q_u |m_a|^2, \quad
    m_a = m - (m \cdot u) u

(m' in the place of m in R for Cimrak), so that 3-valence tensors (``multiscale.tensors``) assemble
a step from coefficients alone. m stays in V_H: there is no projection to unit length. P_GRPS is
the L2 projection on the space of the first component (3.3).
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.grps.basis import exchange_form
from dolfinx_llg.grps.hierarchy import Hierarchy
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.terms import Exchange, UniaxialAnisotropy
from dolfinx_llg.reduction.blocks import project_blocks
from dolfinx_llg.reduction.local_modes import local_modes
from dolfinx_llg.reduction.run import ReducedRun
from dolfinx_llg.reduction.samples import sampled_step, take_samples
from dolfinx_llg.reduction.system import CoarseSystem, SystemParts
from dolfinx_llg.reduction.tensors import ModeTensors, mode_tensors
from dolfinx_llg.schemes.damping import Gilbert
from dolfinx_llg.schemes.semi_implicit import cimrak, gao
from dolfinx_llg.schemes.step import WeakStep
from dolfinx_llg.solvers.coarse_operators import CoarseOperators

__all__ = ["TensorOperators", "TensorRun", "tensor_reduce"]

FloatArray = npt.NDArray[np.float64]


class _Product:
    """Context of the PETSc matrix; it outlives its owner when PETSc destroys late."""

    def __init__(self, owner: TensorOperators) -> None:
        self._owner = owner

    def mult(self, matrix: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the product with x (called by PETSc)."""
        self._owner.multiply(x, y)


class TensorOperators(CoarseSystem):
    """Operators of a step from tensors.

    Args:
        parts: What every reduced system is made of.
        tensors: Tensors in local modes.
        damping: lambda of the LL form.
        q_u: Anisotropy constant, 0 for none.
        easy_axis: Unit vector u.
        implicit: Whether R takes the new iterate (Cimrak) or the old one (Gao).
    """

    def __init__(
        self,
        parts: SystemParts,
        *,
        tensors: ModeTensors,
        damping: float,
        q_u: float,
        easy_axis: FloatArray,
        implicit: bool,
    ) -> None:
        super().__init__(parts)
        self.tensors, self._damping, self._q_u = tensors, damping, q_u
        self._across = np.eye(3) - np.outer(easy_axis, easy_axis)
        self._implicit = implicit
        self._inverse_mass = self._invert_mass()
        self._cross: list[list[FloatArray]] = []
        self._reaction: list[FloatArray] = []
        self.A = self.operator(_Product(weakref.proxy(self)))

    def _invert_mass(self) -> FloatArray:
        """Invert the mass matrix of the first component's space, replicated (n_H^2 numbers)."""
        own = self.blocks.blocks[0][0, 0].toarray()
        whole = np.concatenate(self.comm.allgather(own))
        return np.asarray(np.linalg.inv(0.5 * (whole + whole.T)))

    def assemble(self, dt: float) -> None:
        """Form what depends on m: local matrices of the cross term, q, and the right side."""
        with self.timed():
            tensors, y = self.tensors, self.y
            load = tensors.square(tensors.omega, y)
            self._cross = [tensors.weigh(tensors.omega, y)]
            if self._q_u:
                load += self._q_u * tensors.square(tensors.mass, y @ self._across)
                self._cross.append([self._q_u * w for w in tensors.weigh(tensors.mass, y)])
            q = self._project(load[:, :, None])
            self.b.set(0.0)
            self.add_history(dt)
            weights = [self._damping * w[:, 0] for w in tensors.weigh(tensors.mass, q)]
            if self._implicit:
                self._reaction = weights
            else:
                self.add(self.modes.spread(self._react(weights, y)), self.b)

    def _react(self, weights: list[FloatArray], y: FloatArray) -> FloatArray:
        """Return q m', q as matrices of the cells of each group."""
        out = np.zeros_like(y)
        for group, weight in zip(self.tensors.groups, weights, strict=True):
            out[group.cells, : group.modes] = np.matmul(weight, y[group.cells, : group.modes])
        return out

    def _project(self, load: FloatArray) -> FloatArray:
        """Return P_GRPS of a scalar in modes from its load on the modes (collective)."""
        table = self.modes.tables[0]
        total = self.total(table.spread(load))
        return table.gather(self._inverse_mass @ total)

    def multiply(self, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Set y to the operator's product with x."""
        c = self.replicate(x)
        y.array[:] = self.apply_base(c).ravel()
        new = self.modes.gather(c)
        # -(m x kappa grad m', grad v) - q_u (m x m'_a, v), component i: -eps_ijk W_j m'_k.
        out = np.zeros_like(new)
        for tensor, field in zip(self._cross, (new, new @ self._across), strict=False):
            for group, weights in zip(self.tensors.groups, tensor, strict=True):
                n, _, r, _ = weights.shape
                own, part = out[group.cells, :r], field[group.cells, :r]
                product = np.matmul(weights.reshape(n, 3 * r, r), part).reshape(n, 3, r, 3)
                for i in range(3):
                    j, k = (i + 1) % 3, (i + 2) % 3
                    own[:, :, i] += product[:, k, :, j] - product[:, j, :, k]
        if self._implicit:
            out -= self._react(self._reaction, new)
        self.add(self.modes.spread(out), y)

    def nonlinear_residual(self, linear: PETSc.Mat, u: PETSc.Vec, F: PETSc.Vec) -> None:
        """Refuse: the schemes of the tensors are linear."""
        raise TypeError("the schemes that tensors assemble are linear")

    def newton_matrix(self, linear: PETSc.Mat, u: PETSc.Vec) -> None:
        """Refuse: the schemes of the tensors are linear."""
        raise TypeError("the schemes that tensors assemble are linear")


class TensorRun(ReducedRun):
    """Algorithm 1 by tensors, for ``march`` (see ``ReducedRun``).

    It has no training: the run itself looks at how much damping the scheme adds, on the fine mesh,
    at its 4th, 8th, 16th, ... step, and warns once (``NumericalDampingWarning``).
    """

    def tensor_bytes(self) -> int:
        """Memory of the tensors on all ranks. Collective."""
        operators: Any = self._operators
        return int(sum(operators.comm.allgather(operators.tensors.nbytes)))


@checked
def tensor_reduce(
    scheme: Callable[..., WeakStep],
    energy: Energy,
    m: fem.Function,
    basis: GalerkinBasis,
    hierarchy: Hierarchy,
    *,
    dt: float,
    damping: float,
    tolerance: float = 1e-3,
) -> TensorRun:
    """Return algorithm 1 with tensors: ``march(run, t_end=...)`` runs it (collective).

    The tensors are those of kappa, q_u and the damping at this moment: a run refuses a kappa that
    has changed.

    Args:
        scheme: ``gao`` or ``cimrak``.
        energy: Exchange, and uniaxial anisotropy if any, both implicit; Ms = 1.
        m: Magnetization on the fine mesh; ``run.reconstruct()`` advances it.
        basis: Basis of the coarse space.
        hierarchy: Its meshes, of simplices, made by ``refine_mesh``.
        dt: Time step.
        damping: lambda of the LL form, a positive number.
        tolerance: Of the compression to local modes, see ``local_modes``.

    Raises:
        ValueError: If the scheme, the energy or the form of the damping is another.

    Warns:
        NumericalDampingWarning: By the run, if the scheme adds more than 5 % of the damping.
    """
    if scheme not in (gao, cimrak):
        raise ValueError("tensors assemble gao and cimrak alone: take hyper_reduce")
    if isinstance(damping, fem.Function | Gilbert):
        raise ValueError(
            f"tensors need the damping lambda as a number, got {type(damping).__name__}: take "
            "hyper_reduce"
        )
    exchange, q_u, easy_axis = _model(energy)
    begin = time.perf_counter()
    step = scheme(energy, m, dt=dt, damping=damping, projection=False)
    basis.refuse_pinned("tensor_reduce")
    modes = local_modes(hierarchy, basis.components, tolerance=tolerance)
    coarse = CoarseOperators(step, basis)
    blocks = project_blocks(coarse)
    projected = time.perf_counter()
    form = exchange_form(hierarchy.space, exchange.kappa(m))
    tensors = mode_tensors(hierarchy, modes, form)
    # One fine cell stands for each coarse one, for whoever looks at m during a run.
    weights = [np.eye(1, len(cell.cells))[0] for cell in modes.cells]
    samples = take_samples(modes, weights)
    sampled = sampled_step(step, samples)
    operators = TensorOperators(
        SystemParts(basis, modes, samples, sampled, blocks, step),
        tensors=tensors,
        damping=float(damping),
        q_u=q_u,
        easy_axis=easy_axis,
        implicit=scheme is cimrak,
    )
    seconds = {"blocks": projected - begin, "tensors": time.perf_counter() - projected}
    return TensorRun(step, operators, seconds)


def _model(energy: Energy) -> tuple[Exchange, float, FloatArray]:
    """Return the exchange term, q_u and the easy axis of an energy that the tensors know."""
    exchange = [term for term in energy.terms if isinstance(term, Exchange)]
    anisotropy = [term for term in energy.terms if isinstance(term, UniaxialAnisotropy)]
    others = len(energy.terms) - len(exchange) - len(anisotropy)
    implicit = all(term.implicit for term in energy.terms)
    if len(exchange) != 1 or len(anisotropy) > 1 or others or not implicit or energy.Ms != 1.0:
        raise ValueError(
            "tensors know one exchange term and one implicit uniaxial anisotropy, with Ms = 1; got "
            f"{[type(term).__name__ for term in energy.terms]}: take hyper_reduce"
        )
    if exchange[0].kappa_rule == "quadrature":
        raise ValueError("tensors need kappa constant on cells, got kappa_rule='quadrature'")
    if not anisotropy:
        return exchange[0], 0.0, np.zeros(3)
    q_u, axis = anisotropy[0].q_u, anisotropy[0].easy_axis
    # Not by trying float(): a coefficient of UFL recurses without end there.
    if isinstance(q_u, Expr) or isinstance(axis, Expr):
        raise ValueError("tensors need q_u and easy_axis as numbers: take hyper_reduce")
    direction = np.asarray(axis, dtype=np.float64)
    return exchange[0], float(q_u), direction / float(np.linalg.norm(direction))
