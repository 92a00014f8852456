# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Super-localized orthogonal decomposition: local functions next to the global GRPS-V space.

The global minimisers under the cell averages span :math:`V_H = \{v : a(v, w) = 0 \;\forall w \in
W\}`, W the kernel of the averages: the functions whose source is constant on coarse cells. GRPS and
LOD cut a given function of it off at a patch. SLOD (Hauck and Peterseim, Math. Comp. 92 (2023))
chooses, on a patch, another one that needs no cutting off: with :math:`u_q` the minimiser of a
among functions of averages q that vanish outside the patch :math:`\omega = \Omega_T^\ell`, and its
conormal derivative on the boundary of the patch

.. math::
    r_q(w) = a(u_q, w), \; w \in W, \qquad
    \min_{w \in V_H} \|u_q - w\|_a = \sup_{w \in W} \frac{r_q(w)}{\|w\|_a},

since the element of V_H nearest to u_q is the one with its averages. So the dual norm of the
conormal derivative is the distance to V_H. It is measured on the patch and one layer more, which
gives a quadratic form M(q) on the averages in the patch (r_q sees boundary functions alone).

A basis: the least singular vectors of M of neighbouring patches are almost the same functions.
Here q is 1 at T itself, and elsewhere the c of

.. math:: \min_c\; M(e_T + c) + \delta\, \mathrm{tr}(M)/n\; |c|^2,

with the least of a row of delta for which :math:`|c| \le` ``spread``: the functions are those that
are nearest to V_H without going too far from those of GRPS (c = 0), so that
:math:`\Psi P`, the averages of the functions, stays well conditioned. It is no unit matrix: the
coefficients of u are :math:`(\Psi P)^{-1} \Psi u`. In one dimension with constant kappa the
functions are quadratic B-splines, and their distance is zero.

At last the nodal values are divided by those of the combination :math:`P (\Psi P)^{-1} \Psi 1`,
which is 1 up to the error of localization: then constants lie in the space at any ell.
"""

from __future__ import annotations

import logging

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import ufl

from dolfinx_llg.checks import check_integer, check_number
from dolfinx_llg.collective import raise_together
from dolfinx_llg.grps.basis import GRPSBasis, counted
from dolfinx_llg.grps.condense import CondensedProblem
from dolfinx_llg.grps.energies import check_energy, energy_matrix
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.grps.patch_solvers import cholesky_solve
from dolfinx_llg.grps.patches import DofIncidence, describe_patch, grown, patch_cells
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import gram_solver
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.la.matrices import LocalRows, column_matrix

__all__ = ["slod_basis"]

logger = logging.getLogger(__name__)

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]

_DELTAS = 10.0 ** np.arange(-6.0, 3.0)
"""Weights tried. M is known to about 1e-10 of its trace."""

_LEAST_SUM = 0.1
"""Least nodal value of what should be 1, by which the functions are divided."""


@checked
def slod_basis(
    energy: ufl.Form | PETSc.Mat,
    measurement: Measurement,
    *,
    ell: int,
    spread: float = 1.0,
) -> GRPSBasis:
    """Compute a basis of the super-localized orthogonal decomposition (see the module docstring).

    As many functions as GRPS-V has, on the same patches. With two layers its error is about that of
    the global space; it costs several times the patch problems of GRPS, which have one right
    side where these have one for each cell of the patch.

    Args:
        energy: Bilinear form on ``measurement.hierarchy.space``, or its matrix.
        measurement: The cell averages, ``volume_measurement``.
        ell: Layers of the patches, at least 1.
        spread: Largest |c|, positive: smaller is better conditioned, larger is closer to the
            global space.

    Raises:
        ValueError: If the functionals are others, on a torus, or ell < 1; if the energy is not
            symmetric or of another space; if the refinement is too shallow or a patch problem
            singular; if the patches are too small, so that the functions do not add up to about 1.
            On all ranks alike.

    Note: Collective. Such a basis is not updated (``GRPSBasis.update``).
    """
    hierarchy = measurement.hierarchy
    check_integer("ell", ell, 1)
    check_number("spread", spread, positive=True)
    if measurement.name != "volume" or measurement.within is not None or hierarchy.closed:
        raise ValueError(
            "SLOD takes the cell averages of a mesh that is no torus (volume_measurement), got "
            f"{measurement.name} functionals" + " on a torus" * bool(hierarchy.closed)
        )
    tidy(hierarchy.fine)
    A = energy_matrix(energy, measurement)
    check_energy(A)
    problem = CondensedProblem(A, measurement, DofIncidence.of(measurement))
    P = _functions(problem, measurement, ell, spread)
    total = _sum_of_functions(P, measurement.Psi)
    least = float(total.min()[1])
    if not least >= _LEAST_SUM:
        raise ValueError(
            f"patches of {ell} layer{'s' * (ell > 1)} are too small for SLOD with this energy: "
            f"what should add up to 1 is {least:.2g} at a node; take a larger ell"
        )
    logger.info("SLOD: %d functions, ell = %d, least sum %.3g", P.getSize()[1], ell, least)
    total.reciprocal()
    P.diagonalScale(L=total)
    basis = GRPSBasis(P, measurement, ell, localization="slod")
    return counted(basis, P.getSize()[1])


def _sum_of_functions(P: PETSc.Mat, Psi: PETSc.Mat) -> PETSc.Vec:
    """Return P (Psi P)^{-1} Psi 1, the combination of the functions with the averages of 1."""
    one, data = P.createVecLeft(), P.createVecRight()
    coefficients = data.duplicate()
    one.set(1.0)
    Psi.mult(one, data)
    solver = gram_solver(Psi.matMult(P))
    solver.solve(data, coefficients).check("the system of the functions' averages")
    P.mult(coefficients, one)
    solver.destroy()
    return one


def _functions(
    problem: CondensedProblem, measurement: Measurement, ell: int, spread: float
) -> PETSc.Mat:
    """Return the functions of all patches, not yet divided by their sum. Collective."""
    Psi, data = measurement.Psi, measurement.hierarchy.data
    comm = measurement.hierarchy.comm
    own = measurement.own_rows()
    reach = patch_cells(measurement, own, ell)
    wider = grown(reach, data.neighbours, 1)
    free, outer = problem.free_unknowns(reach), problem.free_unknowns(wider)
    cells = [np.sort(row.indices).astype(np.int32) for row in (reach[k] for k in range(len(own)))]
    near = LocalRows(problem.S, outer, outer)
    loads = LocalRows(problem.G, outer, cells)
    weights = _averages_of_one(Psi)
    values: list[tuple[int, IntArray, FloatArray]] = []
    averages: list[tuple[int, IntArray, FloatArray]] = []
    message = None
    for k, row in enumerate(own):
        mine, around, inside = free[k], outer[k], cells[k]
        load = loads.scipy_part(around, inside).toarray() * weights[inside]
        place = np.searchsorted(around, mine)
        u = cholesky_solve(near.part(mine, mine), -load[place])
        S = near.scipy_part(around, mine)
        residual = None if u is None else S @ u + load
        beyond = None if residual is None else cholesky_solve(near.part(around, around), residual)
        if u is None or residual is None or beyond is None:
            message = (
                f"{describe_patch(data, reach, k)} is singular: the energy is not positive "
                "definite on the kernel of the averages"
            )
            break
        q = nearest(residual.T @ beyond, int(np.searchsorted(inside, row)), spread)
        values.append((row, mine, u @ q))
        averages.append((row, inside, weights[inside] * q))
    for matrix in (near, loads):
        matrix.destroy()
    raise_together(comm, message)
    columns = Psi.getSizes()[0]
    on_skeleton = column_matrix((problem.S.getSizes()[0], columns), values, problem.S.comm)
    return problem.fill(on_skeleton, None, column_matrix((columns, columns), averages, Psi.comm))


def nearest(M: FloatArray, at: int, spread: float) -> FloatArray:
    """Return the averages q, 1 at their own cell, whose function is near V_H (module docstring).

    Args:
        M: Square of the distance to V_H as a form of q, shape (n, n).
        at: Place of the own cell.
        spread: Largest norm of the others.
    """
    n = len(M)
    q = np.zeros(n)
    q[at] = 1.0
    others = np.delete(np.arange(n), at)
    scale = float(np.trace(M)) / n
    if scale <= 0.0 or not len(others):  # the patch is the whole mesh
        return q
    lengths, axes = np.linalg.eigh(M[np.ix_(others, others)] / scale)
    right = axes.T @ (-M[others, at] / scale)
    for delta in _DELTAS:
        c = right / (np.maximum(lengths, 0.0) + delta)
        if np.linalg.norm(c) <= spread:
            q[others] = axes @ c
            break
    return q


def _averages_of_one(Psi: PETSc.Mat) -> FloatArray:
    """Return Psi 1, replicated."""
    one, data = Psi.createVecs()
    one.set(1.0)
    Psi.mult(one, data)
    return np.concatenate(Psi.comm.tompi4py().allgather(np.array(data.array_r)))
