# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Periodic homogenization: the cell problem, the homogenized exchange coefficient.

For a coefficient :math:`\kappa(x/\epsilon)`, periodic in y = x/eps with the cell Y, the Landau-
Lifshitz equation has the limit with the constant tensor

.. math:: \kappa_{\rm hom} e_k = \frac{1}{|Y|} \int_Y \kappa\, (e_k + \nabla \chi_k)\, dy,
          \qquad \nabla \cdot (\kappa (e_k + \nabla \chi_k)) = 0, \quad \int_Y \chi_k = 0

(Leitenmaier, Runborg, arXiv:2012.12567, (4.13) and section 4.2), that of elliptic problems. It goes
into any scheme as ``Exchange(kappa_hom)``. Correctors: ``homogenization.correctors``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mpi4py import MPI
from petsc4py import PETSc

import basix
import dolfinx.fem.petsc as fem_petsc
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array, check_integer
from dolfinx_llg.collective import together
from dolfinx_llg.jit import compile_expression, compile_form
from dolfinx_llg.kinds import WrongKindError, checked, describe
from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.mesh_checks import check_fills_box, check_mesh
from dolfinx_llg.periodic import periodic_prolongation
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.exchange import exchange_coefficient
from dolfinx_llg.physics.image import Image

__all__ = ["CellProblem", "CellSolution"]

Array = npt.NDArray[np.float64]
Coefficient = Callable[[Any], Any]

#: Up to so many dofs, by topological dimension, the cell problem is solved by a factorization.
_DIRECT = {1: 10**7, 2: 100_000, 3: 3_000}


@dataclass(frozen=True)
class CellSolution:
    """Homogenized coefficient and cell solutions.

    Attributes:
        kappa_hom: Homogenized coefficient, shape (d, d), symmetric.
        chi: Cell solutions chi_1, ..., chi_d with zero mean, scalar functions on the cell's mesh,
            in units of length of that mesh.
        lower: Lower corner of the cell, d numbers.
        period: Edges of the cell, d numbers.
    """

    kappa_hom: Array
    chi: tuple[fem.Function, ...]
    lower: Array
    period: Array


@checked
class CellProblem:
    """The cell problem (4.13) of one coefficient, to be solved again when data in it change.

    Discretized by Lagrange elements of any degree with opposite dofs identified. For a smooth
    coefficient kappa_hom is of order 2 ``degree`` in h, chi of order ``degree`` + 1.

    Args:
        kappa: Coefficient as a function of y: a callable ``y -> UFL`` or a UFL expression on
            ``cell``, scalar or symmetric (d, d) tensor; or a DG0 ``fem.Function`` (cell data, which
            are continued periodically). A formula must be periodic itself: it is compared with its
            values one period away. Or the ``Energy`` of a run, whose exchange coefficient it then
            is (``exchange_coefficient``); ``cell`` is then a period in the coordinates of the run.
        cell: Mesh of the cell, an axis-parallel box (the unit box for y = x/eps) whose opposite
            faces match. Evaluating correctors needs it on ``MPI.COMM_SELF``.
        degree: Degree of the elements.
        quadrature_degree: Degree of the quadrature; default 2 ``degree`` + 1, which keeps the
            order. Degree 1 with P1 samples kappa at centroids, as Exchange does by default: then
            kappa_hom and chi are those of the resolved scheme on a mesh made of such cells.
        petsc_options: Options of the KSP. Default: LU where that is cheap, else CG with GAMG.
        petsc_options_prefix: Prefix under which options are looked up.

    Raises:
        ValueError: If kappa is not periodic, symmetric and positive definite at all sampling
            points, or of a wrong shape; if the mesh is no periodic box. On all ranks alike.

    Note: Collective.
    """

    def __init__(
        self,
        kappa: Energy | Coefficient | Expr | npt.ArrayLike,
        cell: mesh.Mesh,
        *,
        degree: int = 2,
        quadrature_degree: int | None = None,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "cell_",
    ) -> None:
        check_mesh(cell)
        degree = check_integer("degree", degree, 1)
        if quadrature_degree is None:
            quadrature_degree = 2 * degree + 1
        check_integer("quadrature_degree", quadrature_degree, 1)
        self._quadrature = quadrature_degree
        self.comm: MPI.Comm = cell.comm
        tidy(cell)
        dim = self._dim = cell.geometry.dim
        self._shift = fem.Constant(cell, np.zeros(dim))
        if isinstance(kappa, Energy):
            kappa = exchange_coefficient(kappa, cell)
        here, there = _on_cell(kappa, cell, self._shift)
        V = fem.functionspace(cell, ("Lagrange", degree))
        self._V = V
        self._P = periodic_prolongation(V)
        points = V.tabulate_dof_coordinates()[:, :dim]
        self.lower = np.min(self.comm.allgather(points.min(axis=0, initial=np.inf)), axis=0)
        self.period = np.max(self.comm.allgather(points.max(axis=0, initial=-np.inf)), axis=0)
        self.period = self.period - self.lower
        check_fills_box(cell, self.period)
        self._samples = _Samples(here, there, cell)
        self._check_coefficient()
        dx = ufl.dx(domain=cell, metadata={"quadrature_degree": quadrature_degree})
        tensor = here if here.ufl_shape else here * ufl.Identity(dim)
        u, w = ufl.TrialFunction(V), ufl.TestFunction(V)
        stiffness = ufl.inner(ufl.dot(tensor, ufl.grad(u)), ufl.grad(w)) * dx
        self._stiffness = compile_form(stiffness)
        self._weights = compile_form(w * dx)
        # One form for all directions, with the direction as data: a third of the compilations.
        self._direction = fem.Constant(cell, np.zeros(dim))
        self._entry = fem.Constant(cell, np.zeros((dim, dim)))
        along = ufl.dot(tensor, self._direction)
        self._load = compile_form(-ufl.inner(along, ufl.grad(w)) * dx)
        self._mean = compile_form(ufl.inner(self._entry, tensor) * dx)
        self._A = fem_petsc.create_matrix(self._stiffness)
        self._options = Options(petsc_options_prefix, petsc_options)
        self._matrix: PETSc.Mat = None
        self._krylov: Krylov | None = None

    def solve(self) -> CellSolution:
        """Solve with the present values of the constants and functions in kappa. Collective.

        Raises:
            ValueError: As the constructor.
            ConvergenceError: If the solver fails.
        """
        self._check_coefficient()
        krylov, pinned = self._set_up()
        weights = self._restricted(self._weights)
        volume = float(weights.sum())
        unit = np.eye(self._dim)
        loads, kappa_hom = [], np.zeros((self._dim, self._dim))
        for k in range(self._dim):
            self._direction.value[:] = unit[k]
            loads.append(self._restricted(self._load))
            for i in range(self._dim):
                self._entry.value[:] = np.outer(unit[i], unit[k])
                part = self.comm.allgather(fem.assemble_scalar(self._mean))
                kappa_hom[i, k] = float(sum(part)) / volume
        products, chi = self._respond(krylov, pinned, loads, weights)
        # e_l . kappa grad(chi_k), integrated, is minus load l times chi_k.
        kappa_hom -= products
        for k, function in enumerate(chi):
            function.name = f"chi_{k + 1}"
        kappa_hom = 0.5 * (kappa_hom + kappa_hom.T)
        return CellSolution(kappa_hom, tuple(chi), self.lower, self.period)

    def respond(self, charge: Expr) -> tuple[Array, list[fem.Function]]:
        r"""Return :math:`\frac{1}{|Y|} \int_Y s\, \partial_l v_k` and the v_k for a scalar s.

        v_k, periodic with zero mean, is the answer of the cell's operator to the load
        :math:`\int_Y s\, \partial_k w`: so the entries are also those of
        :math:`\frac{1}{|Y|} \int_Y \nabla v_k \cdot \kappa \nabla v_l`.

        Args:
            charge: s, UFL on the cell.

        Raises:
            ConvergenceError: If the solver fails.

        Note: Collective.
        """
        krylov, pinned = self._set_up()
        dx = ufl.dx(domain=self._V.mesh, metadata={"quadrature_degree": self._quadrature})
        w = ufl.TestFunction(self._V)
        load = compile_form(charge * ufl.dot(self._direction, ufl.grad(w)) * dx)
        loads = []
        for direction in np.eye(self._dim):
            self._direction.value[:] = direction
            loads.append(self._restricted(load))
        products, found = self._respond(krylov, pinned, loads, self._restricted(self._weights))
        return 0.5 * (products + products.T), found

    def _respond(
        self, krylov: Krylov, pinned: bool, loads: list[PETSc.Vec], weights: PETSc.Vec
    ) -> tuple[Array, list[fem.Function]]:
        """Return loads times answers over the volume, and the answers; frees the vectors."""
        volume = float(weights.sum())
        products = np.zeros((self._dim, self._dim))
        found = []
        x = weights.duplicate()
        sizes = [load.norm() for load in loads]
        for k, load in enumerate(loads):
            # A laminate has no corrector along its layers: that load is round-off, and is set to 0.
            if sizes[k] <= 1e-12 * max(sizes):
                load.set(0.0)
            right = load.copy()
            # Asked for on all ranks, so that PETSc forgets the stored norm on each of them.
            values = right.array_w
            if pinned and right.getOwnershipRange()[0] == 0:
                values[0] = 0.0
            x.set(0.0)  # the corrector of the direction before is no useful start
            krylov.solve(right, x).check("the cell problem")
            x.shift(-float(weights.dot(x)) / volume)
            for i in range(self._dim):
                products[i, k] = float(loads[i].dot(x)) / volume
            found.append(self._prolonged(x, "v"))
            right.destroy()
        for vector in (x, weights, *loads):
            vector.destroy()
        return products, found

    def periodic_matrices(self) -> tuple[PETSc.Mat, PETSc.Mat]:
        """Return stiffness and mass matrix of the periodic space, P^T K P and P^T M P.

        The mass of P1 is lumped, as in ``NodalField``.
        """
        u, w = ufl.TrialFunction(self._V), ufl.TestFunction(self._V)
        self._assemble()
        K = self._A.PtAP(self._P)
        lumped = self._V.ufl_element().degree == 1
        rule = {"quadrature_rule": "vertex", "quadrature_degree": 1} if lumped else {}
        M = fem_petsc.assemble_matrix(compile_form(u * w * ufl.dx(metadata=rule)))
        M.assemble()
        return K, M.PtAP(self._P)

    def master_values(self, function: fem.Function) -> Array:
        """Values of a periodic function at the masters, (P^T P)^{-1} P^T u, this rank's part."""
        fine, values = self._P.createVecLeft(), self._P.createVecRight()
        counts = values.duplicate()
        fine.set(1.0)
        self._P.multTranspose(fine, counts)
        fine.array_w[:] = function.x.array[: fine.getLocalSize()]
        self._P.multTranspose(fine, values)
        out: Array = values.array_r / counts.array_r
        for vector in (fine, values, counts):
            vector.destroy()
        return out

    def function(self, values: Array, name: str = "u") -> fem.Function:
        """The periodic function with the given values at the masters. Collective."""
        x = self._P.createVecRight()
        x.array_w[:] = values
        return self._prolonged(x, name)

    def _prolonged(self, x: PETSc.Vec, name: str) -> fem.Function:
        function = fem.Function(self._V, name=name)
        fine = self._P.createVecLeft()
        self._P.mult(x, fine)
        function.x.array[: fine.getLocalSize()] = fine.array_r
        function.x.scatter_forward()
        fine.destroy()
        return function

    def _restricted(self, form: fem.Form) -> PETSc.Vec:
        """Assemble a linear form and sum it over images."""
        fine = fem_petsc.assemble_vector(form)
        fine.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        out = self._P.createVecRight()
        self._P.multTranspose(fine, out)
        fine.destroy()
        return out

    def _assemble(self) -> None:
        self._A.zeroEntries()
        fem_petsc.assemble_matrix(self._A, self._stiffness)
        self._A.assemble()

    def destroy(self) -> None:
        """Free all PETSc objects now (else they go with this object). Collective."""
        for item in (self._krylov, self._matrix, self._A, self._P):
            if item is not None:
                item.destroy()

    def _set_up(self) -> tuple[Krylov, bool]:
        """Assemble and factorize; True where the constants were removed by pinning a dof."""
        self._assemble()
        self._matrix = self._A.PtAP(self._P, result=self._matrix)
        size = self._matrix.getSize()[0]
        pinned = not self._options.given() and size <= _DIRECT[self._dim]
        if pinned:
            self._matrix.setOption(PETSc.Mat.Option.KEEP_NONZERO_PATTERN, True)
            self._matrix.zeroRowsColumns([0] if self._matrix.getOwnershipRange()[0] == 0 else [])
            defaults: dict[str, Any] = {"ksp_type": "preonly", "pc_type": "lu"}
            if self.comm.size > 1:
                defaults["pc_factor_mat_solver_type"] = "mumps"
        else:
            constants = PETSc.NullSpace().create(constant=True, comm=self.comm)
            self._matrix.setNullSpace(constants)
            self._matrix.setNearNullSpace(constants)
            # The error of kappa_hom is the square of that of chi: with 1e-9 it lies far below the
            # error of any mesh.
            defaults = {"ksp_type": "cg", "pc_type": "gamg", "ksp_rtol": 1e-9}
        if self._krylov is None:
            self._krylov = Krylov(self._matrix, self._options, defaults=defaults)
        self._krylov.set_up()
        return self._krylov, pinned

    def _check_coefficient(self) -> None:
        """Raise ValueError on all ranks unless the samples are periodic, symmetric, positive."""
        here, _ = self._samples()
        symmetric = bool(np.allclose(here, here.transpose(0, 2, 1), rtol=1e-10, atol=0.0))
        finite = bool(np.all(np.isfinite(here)))
        low = float(np.linalg.eigvalsh(here).min(initial=np.inf)) if finite else -np.inf
        high = float(np.abs(here).max(initial=0.0)) if finite else np.inf
        found = self.comm.allgather((symmetric, low, high))
        if not all(part[0] for part in found):
            raise ValueError("a tensor kappa must be symmetric, but at a sampling point it is not")
        low, high = min(part[1] for part in found), max(part[2] for part in found)
        if low <= 0.0:
            raise ValueError(
                "kappa must be positive definite and finite, but a sampling point has "
                f"{'an eigenvalue of ' + format(low, 'g') if low > -np.inf else 'NaN or inf'}"
            )
        for axis in range(self._dim):
            self._shift.value[:] = 0.0
            self._shift.value[axis] = self.period[axis]
            here, there = self._samples()
            jump = np.abs(there - here).max(axis=(1, 2), initial=0.0)
            worst = max(self.comm.allgather(float(jump.max(initial=0.0))))
            # Values one period apart differ by the round-off of the argument, some 1e-15.
            if not worst <= 1e-9 * high:
                raise ValueError(
                    f"kappa is not periodic in y_{axis + 1}: one period of {self.period[axis]:g} "
                    f"away it differs by up to {worst:.3g} (its largest value is {high:.3g}); "
                    "write it as a periodic function of y = x/eps, give the mesh the edges of its "
                    "period, or pass cell data as a DG0 function (cell_coefficient), which are "
                    "continued periodically"
                )
        self._shift.value[:] = 0.0


class _Samples:
    """Values of kappa, and of kappa one period away, at a few interior points of each cell."""

    def __init__(self, here: Expr, there: Expr, cell: mesh.Mesh) -> None:
        dim = cell.geometry.dim
        # Points inside the cells, so that none lies on an interface that follows the mesh.
        points = np.array(basix.make_quadrature(cell.basix_cell(), 3)[0])
        identity = ufl.Identity(dim)
        tensors = [a if a.ufl_shape else a * identity for a in (here, there)]
        flat = [t[i, j] for t in tensors for i in range(dim) for j in range(dim)]
        self._dim = dim
        self._expression = compile_expression(ufl.as_vector(flat), points, cell.comm)
        self._mesh = cell
        owned = cell.topology.index_map(cell.topology.dim).size_local
        self._cells = np.arange(owned, dtype=np.int32)

    def __call__(self) -> tuple[Array, Array]:
        """Both sets of values, shape (samples, d, d) each."""
        values = self._expression.eval(self._mesh, self._cells)
        split = np.reshape(values, (-1, 2, self._dim, self._dim))
        return split[:, 0], split[:, 1]


def _on_cell(
    kappa: Coefficient | Expr | npt.ArrayLike, cell: mesh.Mesh, shift: fem.Constant
) -> tuple[Expr, Expr]:
    """The coefficient as UFL on the cell, and its values ``shift`` away."""
    y, dim = ufl.SpatialCoordinate(cell), cell.geometry.dim
    one = fem.Constant(cell, 1.0)  # a factor that gives a UFL constant its mesh
    if isinstance(kappa, Image):  # periodic as it is made
        return (found := one * kappa.on_cell(cell)), found
    if callable(kappa) and not isinstance(kappa, Expr):
        with together(cell.comm):
            here, there = kappa(y), kappa(y + shift)
    elif isinstance(kappa, Expr):
        here, there = kappa, ufl.replace(kappa, {y: y + shift})
    else:
        numbers = check_array("kappa", kappa)
        if numbers.shape not in ((), (dim, dim)):
            raise ValueError(f"kappa must have shape () or ({dim}, {dim}), got {numbers.shape}")
        here = there = fem.Constant(cell, numbers)
    if not isinstance(here, Expr | float | int):
        raise WrongKindError(f"kappa must return UFL or a number, got {describe(here)}")
    here, there = one * here, one * there
    if here.ufl_shape not in ((), (dim, dim)):
        raise ValueError(f"kappa must have shape () or ({dim}, {dim}), got {here.ufl_shape}")
    if any(domain != cell.ufl_domain() for domain in ufl.domain.extract_domains(here)):
        raise ValueError("kappa is defined on another mesh than that of the cell")
    return here, there
