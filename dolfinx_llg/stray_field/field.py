# SPDX-License-Identifier: LGPL-3.0-or-later
"""The stray field as an interaction: its energy, its field in the weak form, its potential."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import dolfinx
import numpy as np
import numpy.typing as npt
from dolfinx import fem

from dolfinx_llg.checks import check_array
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.krylov import Options
from dolfinx_llg.physics.interaction import FieldTerm, mesh_id
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.stray_field.checks import check_accuracy, check_magnet, check_ms
from dolfinx_llg.stray_field.galerkin import galerkin_matrix
from dolfinx_llg.stray_field.interior import Poisson
from dolfinx_llg.stray_field.operator import Solution, StrayOperator
from dolfinx_llg.stray_field.points import gradient_at
from dolfinx_llg.stray_field.storage import BoundaryStorage

__all__ = ["StrayField"]

type Floats = npt.NDArray[np.float64]


@checked
class StrayField(FieldTerm):
    r"""The stray (demagnetizing) field of a magnet in free space, explicit in every scheme.

    .. math:: h = -\nabla u, \quad \Delta u = \nabla\cdot(M_s m) \text{ in } \mathbb{R}^3, \qquad
        E = -\tfrac12 \int_\Omega M_s\, m\cdot h = \tfrac12 \int_{\mathbb{R}^3} |\nabla u|^2.

    The discrete operator (``stray_field.operator``) is symmetric and non-negative, its field the
    exact gradient of its energy. The unit of length does not matter. The magnet is alone in free
    space: periodic conditions on m make no images of it, and 2D meshes are refused.

    The relative error that the boundary operator adds to the field is below ``accuracy``, that to
    the energy far below; its memory grows slowly as the accuracy is made smaller. The default lies
    well below what a mesh itself leaves.

    Args:
        m: The magnetization, its space, or the mesh of the magnet alone: tetrahedra or hexahedra in
            3D, one or several bodies. Touching bodies share the nodes of their interface.
        Ms: Relative saturation magnetization, a number or a DG0 function; the ``Energy``'s.
        accuracy: Relative accuracy of far blocks of the boundary operator, 0 < accuracy < 1.
        storage: How the boundary operator is kept, in memory and on disk
            (``llg.BoundaryStorage``).
        poisson: "direct", "iterative" or, by the number of nodes, "auto".
        petsc_options: Options of the Poisson solves; the default of rtol is ``accuracy/10``.
        petsc_options_prefix: Prefix under which the command line reaches them.
        progress: Whether rank 0 shows a progress bar; by default where it has a terminal.
        in_basis: How runs in a coarse space take the field. "matrix": by D_H = P^T D P, dense,
            which is built when the run first needs it, with a progress bar, and kept by the basis
            (``llg.grps.coarse_field`` builds it before, ``save_field`` keeps it on disk): worth it
            for more steps than the basis has functions, or so. "fine": on the fine mesh in each
            step, with all that m and the field have outside the coarse space.

    Attributes:
        h: Field of the last update as a P1 vector: its nodal values in units of Ms0 are the weak
            field over the lumped ``int Ms phi``, so that ``gradient`` with ``quadrature`` is exact.
        potential: Potential of the last update, P1, in units of Ms0 times the mesh's (ParaView).
        seconds: CPU seconds of this rank in the parts of the set-up ("surface", "matrices",
            "poisson", "masses", "single layer") and of the last evaluation ("gradient", "first
            solve", "charge", "product", "trace", "second solve", "transpose").

    An ``Ms`` whose values the user changes later is noticed: the operator is built anew.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If the mesh or an argument cannot be meant (on all ranks).
        RuntimeError: If the boundary operator misses its accuracy, or no C compiler works.

    Note: Collective.
    """

    h: fem.Function
    free_space = True

    def __init__(
        self,
        m: fem.Function | fem.FunctionSpace | dolfinx.mesh.Mesh,
        Ms: float | fem.Function = 1.0,
        *,
        accuracy: float = 1e-4,
        storage: BoundaryStorage = BoundaryStorage(),
        poisson: Poisson = "auto",
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "stray_field_",
        progress: bool | None = None,
        in_basis: Literal["matrix", "fine"] = "matrix",
    ) -> None:
        W = check_magnet(m)
        super().__init__(check_ms(Ms, W.mesh))
        check_accuracy(accuracy)
        self._space = self._known = W
        self.in_basis = in_basis
        self._given: dict[str, Any] = {
            "accuracy": accuracy,
            "storage": storage,
            "poisson": poisson,
            "petsc_options": petsc_options,
            "petsc_options_prefix": petsc_options_prefix,
            "progress": progress,
            "in_basis": in_basis,
        }
        self._options: dict[str, Any] = {
            "accuracy": accuracy,
            "storage": storage,
            "poisson": poisson,
            "rtol": 0.1 * accuracy,
            "options": Options(petsc_options_prefix, petsc_options),
            "progress": sys.stderr.isatty() if progress is None else progress,
        }
        self._build()
        self.h = fem.Function(W, name="h_stray")
        self.potential = fem.Function(self._operator.V, name="u_stray")

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments with which another one is made as this one."""
        return dict(self._given)

    def _build(self) -> None:
        """Build the operator for Ms as it is."""
        self._operator = StrayOperator(self._space, self.Ms, **self._options)
        self.seconds = self._operator.seconds
        self._built_for = self._numbers().copy()
        self._last: tuple[Floats, Solution] | None = None
        self._shown: Solution | None = None

    @property
    def boundary_nodes(self) -> int:
        """Nodes of the magnet's boundary, on all ranks together."""
        return len(self._operator.surface.nodes)

    @property
    def volume(self) -> float:
        """Volume of the magnet, mesh units cubed."""
        return self._operator.surface.volume

    @property
    def megabytes(self) -> float:
        """Memory of this rank's part of the boundary operator."""
        return self._operator.layer.megabytes

    def apply(self, values: npt.ArrayLike) -> Floats:
        """Return the weak field of any nodal vectors, a linear operator for arrays.

        Args:
            values: This rank's nodal values, shape (n, 3), or (n, 3, k) for k fields at once.

        Returns:
            ``<h, phi_i e_c> = int Ms phi_i h_c``, of the shape of ``values``. Symmetric, and
            non-positive, to the tolerance of the Poisson solves.

        Raises:
            ValueError: If the shape is another one.
            ConvergenceError: If a Poisson solve failed.

        Note: Collective.
        """
        array = np.ascontiguousarray(values, dtype=np.float64)
        if array.ndim not in (2, 3) or array.shape[:2] != (self._operator.n, 3):
            raise ValueError(
                f"values must have shape ({self._operator.n}, 3) or ({self._operator.n}, 3, k) on "
                f"this rank, got {array.shape}"
            )
        return self._operator.apply(array).weak

    def compute(self, m: fem.Function, h: fem.Function) -> None:
        """Set h to the nodal field of m (see ``FieldTerm``). Collective.

        Raises:
            ValueError: If m is not finite.
            ConvergenceError: If a Poisson solve failed.
        """
        self._show(self._evaluate(m), h)

    def field(self, m: fem.Function) -> fem.Function:
        """Return ``h``, set to the field of m; nothing is computed where m has not changed.

        Raises:
            ValueError: If m does not live on this mesh, or is not finite.
            ConvergenceError: If a Poisson solve failed; ``h`` keeps its last good value.

        Note: Collective.
        """
        solution = self._evaluate(m)
        if solution is not self._shown:
            self._show(solution, self.h)
            self.potential.x.array[: self._operator.n] = solution.u
            self.potential.x.scatter_forward()
            self._shown = solution
        return self.h

    def _show(self, solution: Solution, h: fem.Function) -> None:
        h.x.array[: 3 * self._operator.n] = (
            solution.weak / self._operator.weights[:, None]
        ).ravel()
        h.x.scatter_forward()

    def refresh(self) -> None:
        """Forget the last field: the next one is computed whatever m."""
        self._last = None

    def energy(self, m: fem.Function) -> float:
        """Return ``-1/2 <h(m), m>`` of this m, the same on every rank. Units: mu0 Ms0^2 L^3.

        Collective.

        Raises:
            ValueError: If m is not finite.
            ConvergenceError: If a Poisson solve failed.
        """
        if self.stand_in is not None:
            return float(self.stand_in.energy(m) or 0.0)
        solution = self._evaluate(m)
        local = float(np.vdot(solution.weak, self._values(m)))
        return -0.5 * math.fsum(self._operator.comm.allgather(local))

    def galerkin_matrix(self, components: Sequence[Any]) -> Floats | None:
        """Return D_H of a coarse space (see ``FieldTerm``); None with ``in_basis="fine"``.

        Collective.

        Raises:
            ValueError: If Ms has become a function of another space or mesh.
            ConvergenceError: If a Poisson solve failed.
        """
        if self.in_basis == "fine":
            return None
        stale = not np.array_equal(self._numbers(), self._built_for)
        if any(self._operator.comm.allgather(stale)):
            check_ms(self.Ms, self._space.mesh)
            self._build()
        return galerkin_matrix(self._operator, components, progress=self._options["progress"])

    def data(self) -> Floats:
        """Return the values of Ms on this rank."""
        return self._numbers()

    @checked
    def field_at(self, points: npt.ArrayLike) -> Floats:
        """Return the field of the last update at points inside or outside, in units of Ms0.

        On faces that carry charge it is one of two limits, and near edges of the magnet it grows
        without bound as the exact field does.

        Args:
            points: Shape (p, 3) or (3,), mesh units, the same on every rank.

        Returns:
            Shape of ``points``, the same on every rank.

        Raises:
            ValueError: If the shape is another one, or a point is not finite.
            RuntimeError: Before the first update.

        Note: Collective.
        """
        x = check_array("points", points)
        if x.ndim not in (1, 2) or x.shape[-1] != 3:
            raise ValueError(f"points must have shape (p, 3) or (3,), got {x.shape}")
        if self._shown is None:
            raise RuntimeError("field_at gives the field of the last update: call update(m, t)")
        surface, flat = self._operator.surface, x.reshape(-1, 3)
        scaled = (flat - surface.origin) / surface.length
        _, gradient = self._operator.layer.potential_at(scaled, self._shown.sigma)
        u1 = self._shown.u1 / surface.length
        inside = gradient_at(self._operator.V, surface, u1, scaled)
        return -(gradient + inside).reshape(x.shape)

    def _check_space(self, m: fem.Function) -> None:
        """Accept the P1 vectors of this mesh alone; their nodes are numbered alike."""
        if mesh_id(m.function_space.mesh) != mesh_id(self._space.mesh):
            raise ValueError("m does not live on the mesh of this stray field")
        check_magnetization(m, unit=False)
        alike = np.array_equal(m.function_space.dofmap.list, self._space.dofmap.list)
        if not all(self._operator.comm.allgather(alike)):
            raise ValueError("the nodes of m are numbered in another way than this stray field's")
        self._known = m.function_space

    def _numbers(self) -> Floats:
        """Return the values of Ms on this rank."""
        return self.Ms.x.array if isinstance(self.Ms, fem.Function) else np.array(self.Ms)

    def _values(self, m: fem.Function) -> Floats:
        return m.x.array[: 3 * self._operator.n].reshape(-1, 3)

    def _evaluate(self, m: fem.Function) -> Solution:
        """Return the solution of m, the last one where neither m nor Ms have changed since."""
        if m.function_space is not self._known:
            self._check_space(m)
        values = self._values(m)
        same = self._last is not None and np.array_equal(values, self._last[0])
        stale = not np.array_equal(self._numbers(), self._built_for)
        states = self._operator.comm.allgather((same, stale, bool(np.isfinite(values).all())))
        if not all(finite for *_, finite in states):
            raise ValueError("m is not finite: it has no stray field")
        if any(changed for _, changed, _ in states):
            check_ms(self.Ms, self._space.mesh)
            self._build()
        if self._last is None or not all(unchanged for unchanged, *_ in states):
            self._last = values.copy(), self._operator.apply(values, warm=True)
        return self._last[1]
