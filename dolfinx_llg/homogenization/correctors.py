# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Correctors of periodic homogenization: the fast oscillations in space and time.

With the cell solutions chi (``homogenize``), and E = E_1, ..., E_d,

.. math:: m^\epsilon \approx m_0 + \epsilon \sum_k \bigl[
          (\chi_k - \mathrm{Re} E_k)\, \partial_k m_0
          - \mathrm{Im} E_k\, m_0 \times \partial_k m_0 \bigr](x, x/\epsilon, t/\epsilon^2),
          \qquad E_k(\tau) = e^{(\alpha - i) \tau L_2} \chi_k,

:math:`L_2 = \nabla_y \cdot (\kappa \nabla_y)`: (4.12) of Leitenmaier and Runborg, arXiv:2012.12567,
with v of (4.15) written out. In the tangent plane at m_0 the map m_0 x is the imaginary unit, and
(4.15) is the scalar equation of E. E starts at chi, so that the data have no oscillation yet, and
dies like :math:`e^{-\alpha \lambda_1 \tau}`.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy.linalg
import ufl
from dolfinx import fem, geometry, la

from dolfinx_llg.checks import check_array, check_number
from dolfinx_llg.homogenization.homogenize import CellProblem, CellSolution
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.periodic import periodic_basis
from dolfinx_llg.sphere import check_magnetization

__all__ = ["TemporalCorrector", "corrected", "evaluate_periodic", "nodal_gradient"]

Array = npt.NDArray[np.float64]

#: Dense eigenvalue problems beyond this size are refused.
MAX_MODES = 5000


@checked
class TemporalCorrector:
    """The functions E_k(tau) of one cell problem, from all eigenpairs of the cell.

    Args:
        problem: Cell problem whose mesh lives on ``MPI.COMM_SELF``, at most 5000 periodic dofs.
        damping: lambda of the LL form, at least 0.

    Attributes:
        solution: The cell solution.
        frequencies: Eigenvalues lambda_j of -L_2, ascending, without the zero of the constants. A
            mode turns with the frequency lambda_j/eps^2 in t and dies with damping lambda_j/eps^2.

    Raises:
        ValueError: If the mesh is distributed or has too many dofs, or the damping is negative.
    """

    def __init__(self, problem: CellProblem, damping: float) -> None:
        if not (math.isfinite(damping) and damping >= 0):
            raise ValueError(f"the damping must be at least 0 and finite, got {damping}")
        if problem.comm.size > 1:
            raise ValueError("correctors need the cell's mesh on MPI.COMM_SELF")
        self.damping = float(damping)
        self.solution: CellSolution = problem.solve()
        self._problem = problem
        K, M = problem.periodic_matrices()
        size = K.getSize()[0]
        if size > MAX_MODES:
            raise ValueError(
                f"the cell has {size} periodic dofs, its eigenvalue problem is dense: use a "
                f"coarser mesh or degree, at most {MAX_MODES} dofs"
            )
        stiffness, mass = (matrix.convert("dense").getDenseArray().copy() for matrix in (K, M))
        values, vectors = scipy.linalg.eigh(stiffness, mass)
        self.frequencies: Array = values[1:]
        self._modes: Array = vectors[:, 1:]
        chi = np.stack([problem.master_values(f) for f in self.solution.chi], axis=1)
        self._parts: Array = self._modes.T @ (mass @ chi)

    def __call__(self, tau: float) -> tuple[list[fem.Function], list[fem.Function]]:
        """Return real and imaginary parts of E_1, ..., E_d at tau = t/eps^2, on the cell.

        Raises:
            ValueError: If tau is negative.
        """
        if not (math.isfinite(tau) and tau >= 0):
            raise ValueError(f"tau must be at least 0 and finite, got {tau}")
        factor = np.exp((1j - self.damping) * tau * self.frequencies)
        values = self._modes @ (factor[:, None] * self._parts)
        columns = range(values.shape[1])
        real = [self._problem.function(values[:, k].real.copy(), f"Re_E_{k + 1}") for k in columns]
        imag = [self._problem.function(values[:, k].imag.copy(), f"Im_E_{k + 1}") for k in columns]
        return real, imag


@checked
def corrected(
    m: fem.Function,
    cell: CellSolution,
    eps: float,
    *,
    periodic: bool = False,
    temporal: TemporalCorrector | None = None,
    t: float = 0.0,
) -> fem.Function:
    """Return m_0 with its first corrector, nodal values in the space of m; not of unit length.

    The gradient of m_0 is recovered at the nodes, of order 2 on uniform meshes.

    Args:
        m: Homogenized magnetization m_0, on a mesh that resolves eps.
        cell: Cell solution on ``MPI.COMM_SELF``, for y = x/eps.
        eps: Period over the period of the cell.
        periodic: Whether m is periodic on its box.
        temporal: Corrector in time of the same cell; None: without v (long after the start).
        t: Time, for the corrector in time.

    Raises:
        ValueError: If eps is not positive, or the cell does not fit.

    Note: Collective.
    """
    check_magnetization(m, unit=False)
    if not (math.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be positive and finite, got {eps}")
    check_number("t", t)
    V = m.function_space
    dim = V.mesh.geometry.dim
    if len(cell.chi) != dim:
        raise ValueError(f"the cell has {len(cell.chi)} dimensions, the mesh of m {dim}")
    owned = V.dofmap.index_map.size_local
    y = V.tabulate_dof_coordinates()[:owned, :dim] / eps
    gradient = nodal_gradient(m, periodic=periodic)
    values = m.x.array[: 3 * owned].reshape(-1, 3).copy()
    center = values.copy()
    chi = evaluate_periodic(cell.chi, cell, y)
    turned = None
    if temporal is not None:
        real, imag = temporal(t / eps**2)
        chi = chi - evaluate_periodic(real, cell, y)
        turned = evaluate_periodic(imag, cell, y)
    for k in range(dim):
        values += eps * chi[k][:, None] * gradient[:, :, k]
        if turned is not None:
            values -= eps * turned[k][:, None] * np.cross(center, gradient[:, :, k])
    out = fem.Function(V, name=f"{m.name}_corrected")
    out.x.array[: 3 * owned] = values.ravel()
    out.x.scatter_forward()
    return out


@checked
def evaluate_periodic(
    functions: list[fem.Function] | tuple[fem.Function, ...], cell: CellSolution, y: Array
) -> Array:
    """Evaluate functions of the cell at points anywhere, continued periodically.

    Args:
        functions: Scalar functions on one mesh of the cell, on ``MPI.COMM_SELF``.
        cell: Cell solution: it tells the period.
        y: Points of this rank, shape (n, d).

    Returns:
        Values, shape (number of functions, n).

    Raises:
        ValueError: If the mesh is distributed.
    """
    msh = functions[0].function_space.mesh
    if msh.comm.size > 1:
        raise ValueError("correctors need the cell's mesh on MPI.COMM_SELF")
    y = check_array("y", y)
    if y.ndim != 2 or y.shape[1] != len(cell.period):
        raise ValueError(f"y must have shape (n, {len(cell.period)}), got shape {y.shape}")
    place = (y - cell.lower) / cell.period
    place -= np.floor(place)
    # Points of a grid repeat from period to period, up to round-off.
    place = np.round(place, 11)
    place[place >= 1.0] = 0.0
    distinct, inverse = np.unique(place, axis=0, return_inverse=True)
    points = np.zeros((len(distinct), 3))
    points[:, : len(cell.period)] = cell.lower + distinct * cell.period
    tree = geometry.bb_tree(msh, msh.topology.dim, padding=1e-9 * float(cell.period.max()))
    candidates = geometry.compute_collisions_points(tree, points)
    colliding = geometry.compute_colliding_cells(msh, candidates, points)
    first = colliding.offsets[:-1]
    cells = colliding.array[first] if len(points) else np.zeros(0, dtype=np.int32)
    values = np.stack([f.eval(points, cells).reshape(-1) for f in functions])
    result: Array = values[:, inverse.ravel()]
    return result


@checked
def nodal_gradient(m: fem.Function, *, periodic: bool = False) -> Array:
    """Return grad m at the owned nodes by lumped projection, shape (n, 3, d). Collective.

    Args:
        m: Magnetization or another P1 vector of 3 components.
        periodic: Whether m is periodic on its box: images then share their neighbours.

    Raises:
        ValueError: If m is no P1 vector of 3 components, or not finite.
    """
    check_magnetization(m, unit=False)
    V = m.function_space
    msh, dim = V.mesh, V.mesh.geometry.dim
    owned = V.dofmap.index_map.size_local
    W = fem.functionspace(msh, ("Lagrange", 1, (3, dim)))
    w = ufl.TestFunction(W)
    ones = ufl.as_matrix([[1.0] * dim] * 3)
    sums = []
    basis = periodic_basis(W) if periodic else None
    for integrand in (ufl.inner(ufl.grad(m), w), ufl.inner(ones, w)):
        vector = fem.assemble_vector(compile_form(integrand * ufl.dx(domain=msh)))
        vector.scatter_reverse(la.InsertMode.add)
        own = np.array(vector.array[: 3 * dim * owned])
        if basis is not None:
            fine, coarse = basis.fine_vector(), basis.coarse_vector()
            fine.array_w[:] = own
            basis.restrict(fine, coarse)
            basis.prolong(coarse, fine)
            own = np.array(fine.array_r)
        sums.append(own)
    result: Array = (sums[0] / sums[1]).reshape(-1, 3, dim)
    return result
