# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Magnetostatics of a periodic composite in the limit of small periods.

Let :math:`M_s(x/\epsilon)`, :math:`\kappa(x/\epsilon)` and the anisotropy be periodic with the cell
Y, and :math:`|m| = 1`. Exchange, :math:`\frac12 \int \kappa |\nabla m|^2`, does not contain Ms: it
bounds grad m, so that m^eps tends to m strongly in L2 while its gradient oscillates as
:math:`\nabla m + \nabla_y m_1(x, y)`, m_1 in the tangent plane of m. The limits of the terms:

- exchange: the tensor of the cell problem (``CellProblem``);
- what is local and contains m alone: means over Y, :math:`\langle q_u (I - u \otimes u) \rangle`,
  :math:`\langle M_s \rangle\, m \cdot h_{ext}`;
- the stray field. :math:`M^\epsilon = M_s(x/\epsilon)\, m^\epsilon` converges in two scales to
  :math:`M_s(y)\, m(x)`, and its potential to :math:`u(x) + \epsilon v(x, y)`: u is the potential of
  :math:`\langle M_s \rangle m`, and :math:`-\Delta_y v = -\nabla_y \cdot (M_s m)` on Y, so that
  :math:`v = \sum_i m_i(x) v_i(y)` with

.. math:: -\Delta v_i = -\nabla\cdot\big((M_s - \langle M_s \rangle)\, e_i\big), \qquad
          \tfrac12 \int_{\mathbb{R}^3} |\nabla u^\epsilon|^2 \to
          \tfrac12 \int_{\mathbb{R}^3} |\nabla u|^2 + \tfrac12 \int_\Omega m \cdot D m, \quad
          D_{ij} = \frac{1}{|Y|} \int_Y \nabla v_i \cdot \nabla v_j

(G. Pisante, Homogenization of micromagnetics large bodies, ESAIM: COCV 10, 295 (2004); F. Alouges,
G. Di Fratta, Homogenization of composite ferromagnetic materials, Proc. R. Soc. A 471, 20150365
(2015); the cross term vanishes since grad_y v has no mean). In Fourier series,
:math:`D = \sum_{k \ne 0} |\hat M_k|^2\, k \otimes k / |k|^2`: its trace is the variance of Ms; a
laminate has the variance times n x n, a medium of cubic symmetry a third of it.

What it takes: m constant over a period, exchange lengths far above eps; where grains turn on their
own, or a wall is as thin as a layer, the resolved magnet is another one. Errors are O(eps), from
the periods that the surface cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_integer, check_number
from dolfinx_llg.homogenization.cell_data import mean_over, on_cell
from dolfinx_llg.homogenization.homogenize import CellProblem
from dolfinx_llg.kinds import checked
from dolfinx_llg.mesh_checks import check_box
from dolfinx_llg.physics.cell_data import check_positive
from dolfinx_llg.schemes.damping import Damping, Gilbert

__all__ = ["Fluctuation", "fluctuation_tensor", "homogenized_damping"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fluctuation:
    """The stray field that a periodic Ms makes inside itself.

    Attributes:
        tensor: D, shape (3, 3), in units of Ms0^2.
        mean: <Ms>.
        variance: <Ms^2> - <Ms>^2, the exact trace of D.
        defect: Relative part of the trace that the elements miss.
        potentials: v_i for the directions of the cell, in units of length of its mesh times Ms0.
    """

    tensor: Array
    mean: float
    variance: float
    defect: float
    potentials: tuple[fem.Function, ...]


@checked
def fluctuation_tensor(
    Ms: float | fem.Function | Expr,
    cell: mesh.Mesh,
    *,
    exact_trace: bool = True,
    degree: int = 2,
    quadrature_degree: int | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str = "cell_",
) -> Fluctuation:
    """Return the demagnetizing tensor of the fluctuation of Ms (see the module's docstring).

    Args:
        Ms: Relative saturation magnetization on the cell, positive: DG0 data of the cell, of a
            run's mesh that contains it, or UFL on the cell.
        cell: Mesh of one period, an axis-parallel box in 1D, 2D or 3D; in directions that it lacks
            the medium is constant.
        exact_trace: Whether D is scaled to its exact trace. The energy of Lagrange elements is a
            little small where Ms jumps (``defect``); False: D as they give it, which at degree 1 is
            the limit of resolved runs whose meshes are made of such cells.
        degree: Degree of the elements.
        quadrature_degree: Degree of the quadrature.
        petsc_options: Options of the KSP, see ``CellProblem``.
        petsc_options_prefix: Prefix under which options are looked up.

    Raises:
        ValueError: If Ms is not positive and finite, not periodic, or data of another mesh; if the
            mesh is no periodic box. On all ranks alike.
        ConvergenceError: If the solver fails.

    Note: Collective.
    """
    check_box(cell)
    check_integer("degree", degree, 1)
    data = on_cell("Ms", Ms, cell)
    if not isinstance(data, Expr):
        if not (np.isfinite(data) and data > 0.0):
            raise ValueError(f"Ms must be positive and finite, got {data}")
        return Fluctuation(np.zeros((3, 3)), float(data), 0.0, 0.0, ())
    try:  # what a coefficient of a cell problem must be, Ms must be too
        CellProblem(data, cell, degree=1).destroy()
    except ValueError as error:
        raise ValueError(str(error).replace("kappa", "Ms")) from error
    mean = float(mean_over(cell, data))
    centre = fem.Constant(cell, mean)  # as data: another value needs no new compilation
    variance = float(mean_over(cell, (data - centre) ** 2, 6))
    problem = CellProblem(
        1.0,
        cell,
        degree=degree,
        quadrature_degree=quadrature_degree,
        petsc_options=petsc_options,
        petsc_options_prefix=petsc_options_prefix,
    )
    try:
        found, potentials = problem.respond(data - centre)
    finally:
        problem.destroy()
    trace = float(np.trace(found))
    defect = 1.0 - trace / variance if variance > 1e-14 * mean**2 else 0.0
    D = np.zeros((3, 3))
    D[: len(found), : len(found)] = found
    if exact_trace and trace > 0.0 and variance > 1e-14 * mean**2:
        D *= variance / trace
    return Fluctuation(D, mean, variance, defect, tuple(potentials))


def _check_ms(Ms: float | fem.Constant | fem.Function) -> None:
    """Raise ValueError unless Ms is positive and finite, of one number in each cell."""
    if isinstance(Ms, fem.Function):
        if Ms.ufl_shape or Ms.function_space.ufl_element().embedded_superdegree != 0:
            raise ValueError("Ms must be one number per cell (DG0)")
        check_positive(Ms, "Ms")
    else:
        check_number("Ms", float(Ms.value) if isinstance(Ms, fem.Constant) else Ms, positive=True)


@checked
def homogenized_damping(
    damping: Damping, Ms: float | fem.Constant | fem.Function, cell: mesh.Mesh
) -> tuple[Damping, float]:
    r"""Return the damping of a composite in the limit of small periods, and a factor of time.

    Gilbert's equation is an equation of torques, which add up:
    :math:`M_s (m_t - \alpha\, m \times m_t) = -m \times M_s h` has the mean
    :math:`\langle M_s \rangle m_t - \langle \alpha M_s \rangle m \times m_t = -m \times
    \langle M_s h \rangle`, so that :math:`\bar\alpha = \langle \alpha M_s \rangle / \langle M_s
    \rangle`. The LL form with lambda is Gilbert's with alpha = lambda in a time that runs
    :math:`1 + \lambda^2` times as fast; where lambda varies, with
    :math:`a = \langle M_s/(1+\lambda^2) \rangle`,

    .. math:: \bar\lambda = \langle \lambda M_s/(1+\lambda^2) \rangle / a, \qquad
              \rho = \langle M_s \rangle / (a (1 + \bar\lambda^2)),

    and the composite at t is the homogenized one at rho t.

    Args:
        damping: Damping of the run.
        Ms: Relative saturation magnetization.
        cell: Mesh of one period.

    Returns:
        The damping, ``Gilbert`` if it was given so, and rho: 1 for Gilbert's form and for a number.

    Raises:
        ValueError: If the data do not belong to the cell, or are not positive; on all ranks alike.

    Note: Collective.
    """
    check_box(cell)
    _check_ms(Ms)
    name = "alpha" if isinstance(damping, Gilbert) else "damping"
    value = on_cell(name, damping.alpha if isinstance(damping, Gilbert) else damping, cell)
    if not isinstance(value, Expr):
        if not (np.isfinite(value) and value > 0.0):
            raise ValueError(f"{name} must be positive and finite, got {value}")
        return (Gilbert(float(value)) if isinstance(damping, Gilbert) else float(value)), 1.0
    weight = on_cell("Ms", Ms, cell)
    mean = float(mean_over(cell, weight))
    one = weight if isinstance(weight, Expr) else fem.Constant(cell, float(weight))
    if isinstance(damping, Gilbert):
        return Gilbert(float(mean_over(cell, one * value)) / mean), 1.0
    a = float(mean_over(cell, one / (1 + value**2), 6))
    found = float(mean_over(cell, one * value / (1 + value**2), 6)) / a
    return found, mean / (a * (1.0 + found**2))
