# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Rough exchange coefficients kappa(x) and initial data of the papers, as functions of x.

Every function of ``x`` here takes either ``ufl.SpatialCoordinate(mesh)``, and returns UFL, or a
NumPy array of points of shape (gdim, n), and returns an array: the form that
``fem.Function.interpolate`` asks of a callable. So ``Exchange(ms_trig)``,
``Exchange(hmm_ex2(1 / 400))`` and ``m.interpolate(hmm_ex2_initial)`` work as they stand.
All quantities are dimensionless, :math:`E = \tfrac12 \int \kappa |\nabla m|^2`.

Constants ``*_BOUNDS`` are pairs (min, max); ``*_KAPPA_HOM`` are homogenized coefficients.
Coefficients made of cells are elsewhere: images and cell tags in
:mod:`dolfinx_llg.physics.cell_data`, random tiles and inclusions in
:mod:`dolfinx_llg.physics.random_media`.

References:
    GRPS paper: Ma, Chen, Du, Zhang, arXiv:2508.02434, eq. (4.2) and appendix 6.3.
    HMM paper: Leitenmaier, Runborg, arXiv:2108.09463, doi:10.1007/s10915-022-01992-8,
    section 2.3 (EX1, EX2, EX3) and section 5, eqs. (40), (41), (42).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl

from dolfinx_llg.kinds import WrongKindError, checked, describe

__all__ = [
    "HMM_EQ40_BOUNDS",
    "HMM_EQ41_BOUNDS",
    "HMM_EQ41_KAPPA_HOM",
    "HMM_EQ42_BOUNDS",
    "HMM_EX1_BOUNDS",
    "HMM_EX1_KAPPA_HOM",
    "HMM_EX2_BOUNDS",
    "HMM_EX2_KAPPA_HOM",
    "HMM_EX3_BOUNDS",
    "HMM_EX3_KAPPA_HOM",
    "MS_TRIG_BOUNDS",
    "MS_TRIG_EPS",
    "Coefficient",
    "hmm_eq40",
    "hmm_eq40_kappa_hom",
    "hmm_eq41",
    "hmm_eq42",
    "hmm_ex1",
    "hmm_ex1_initial",
    "hmm_ex2",
    "hmm_ex2_initial",
    "hmm_ex3",
    "ms_trig",
]

type Coefficient = Callable[[Any], Any]
"""A function of the coordinate (UFL or array of points) with values of the same kind."""

_TAU = 2.0 * math.pi

MS_TRIG_EPS = (1 / 5, 1 / 13, 1 / 17, 1 / 31, 1 / 65)
"""The scales eps_1, ..., eps_5 of appendix 6.3."""

MS_TRIG_BOUNDS = (0.317616, 12.676425)
"""Computed on the unit square (dense sampling, then local optimization), rounded outwards: the
minimum 0.31761606 is met at (0.16093307, 0.66807871), the maximum 12.67642494 at
(0.66120484, 0.75). Proven, since each f_i lies in [1/21, 21]: 0.080 < kappa < 17.84."""

HMM_EX1_BOUNDS = (0.5, 1.5)
HMM_EX2_BOUNDS = (3 / 16, 25 / 16)
"""Met at y = (3/4, 1/4) and (1/4, 1/4)."""
HMM_EX3_BOUNDS = (0.36, 2.56)
HMM_EQ40_BOUNDS = (0.35, 1.85)
"""Infimum and supremum over all eps; for one eps the extremes may lie a little inside."""
HMM_EQ41_BOUNDS = (0.375, 1.875)
"""Infimum and supremum for irrational r: the second factor comes close and does not meet them."""
HMM_EQ42_BOUNDS = (0.25 * math.exp(-2.0), 0.25 * math.exp(2.0))
"""About 0.0338 and 1.847."""

HMM_EX1_KAPPA_HOM = math.sqrt(0.75)
r"""The harmonic mean :math:`(\int_0^1 dy/(1 + \tfrac12\sin 2\pi y))^{-1}`."""

HMM_EX2_KAPPA_HOM = np.array([[0.61720765, 0.02618130], [0.02618130, 0.71523722]])
"""No closed form; a spectral solution of the cell problem (32^2 to 256^2 points agree in the
digits given). The paper prints [[0.617, 0.026], [0.026, 0.715]]."""

HMM_EX3_KAPPA_HOM = 1.1 * math.sqrt(1.1**2 - 0.25) * np.eye(2)
"""A product of functions of one variable each: arithmetic mean of one times harmonic mean of the
other, here the same in both directions."""

HMM_EQ41_KAPPA_HOM = np.diag([math.sqrt(15.0) / 4.0, 0.9318083916224481])
r"""A product again. Entry 11: :math:`(1 - 1/16)^{1/2}` times the mean 1. Entry 22: the mean 1 times
the harmonic mean of :math:`1 + \tfrac14\sin s + \tfrac14\sin t` over the torus,
:math:`\pi / (2 K(k = 1/2))` with the complete elliptic integral K (r = 1.41 in place of the square
root of 2 changes nothing in double precision)."""


def _namespace(x: Any) -> Any:
    """The module whose functions (``sin``, ``exp``, ...) fit ``x``: NumPy or UFL."""
    return np if isinstance(x, np.ndarray) else ufl


def _check_dimension(x: Any, needed: int, name: str) -> None:
    """Raise ValueError where ``x`` has fewer coordinates than the formula uses."""
    shape = x.shape if isinstance(x, np.ndarray) else getattr(x, "ufl_shape", ())
    if not shape:
        raise WrongKindError(
            f"{name} takes coordinates, an array of shape (d, n) or UFL, got {describe(x)}"
        )
    found = shape[0]
    if found < needed:
        raise ValueError(f"{name} needs {needed} coordinates, the mesh has {found}")


def _check_eps(eps: float) -> float:
    """Return ``eps`` as a float, or raise ValueError where it is no period."""
    if not (math.isfinite(eps) and eps > 0.0):
        raise ValueError(f"eps must be positive and finite, got {eps}")
    return float(eps)


def _unit_vector(x: Any, components: list[Any]) -> Any:
    """Three components divided by the length of the vector they make."""
    if isinstance(x, np.ndarray):
        v: npt.NDArray[np.float64] = np.stack(np.broadcast_arrays(*components))
        return v / np.sqrt((v * v).sum(axis=0))
    vector = ufl.as_vector(components)
    return vector / ufl.sqrt(ufl.dot(vector, vector))


def ms_trig(x: Any) -> Any:
    r"""The multiscale trigonometric coefficient MsTrig: five scales, not separable, not periodic.

    .. math::
        \kappa(x, y) = \tfrac16 \Bigl[ \sum_{i=1}^5 f_i(x, y, \epsilon_i) + \sin(4 x^2 y^2) + 1
        \Bigr]

    with :math:`\epsilon = (1/5, 1/13, 1/17, 1/31, 1/65)` and, as printed,

    .. math::
        f_1 = \frac{1.1 + \sin(2\pi x/\epsilon_1)}{1.1 + \sin(2\pi y/\epsilon_1)}, \quad
        f_{2,4} = \frac{1.1 + \sin(2\pi y/\epsilon)}{1.1 + \cos(2\pi x/\epsilon)}, \quad
        f_{3,5} = \frac{1.1 + \cos(2\pi x/\epsilon)}{1.1 + \sin(2\pi y/\epsilon)}.

    GRPS paper, eq. (4.2) and appendix 6.3. Bounds on the unit square: ``MS_TRIG_BOUNDS``. No
    homogenized value is known in closed form.

    Args:
        x: Coordinate, two components or more.

    Raises:
        ValueError: If there are fewer than two coordinates.
    """
    _check_dimension(x, 2, "ms_trig")
    f = _namespace(x)
    e1, e2, e3, e4, e5 = MS_TRIG_EPS
    x1, x2 = x[0], x[1]
    f1 = (1.1 + f.sin(_TAU * x1 / e1)) / (1.1 + f.sin(_TAU * x2 / e1))
    f2 = (1.1 + f.sin(_TAU * x2 / e2)) / (1.1 + f.cos(_TAU * x1 / e2))
    f3 = (1.1 + f.cos(_TAU * x1 / e3)) / (1.1 + f.sin(_TAU * x2 / e3))
    f4 = (1.1 + f.sin(_TAU * x2 / e4)) / (1.1 + f.cos(_TAU * x1 / e4))
    f5 = (1.1 + f.cos(_TAU * x1 / e5)) / (1.1 + f.sin(_TAU * x2 / e5))
    return (f1 + f2 + f3 + f4 + f5 + f.sin(4 * x1**2 * x2**2) + 1) / 6


@checked
def hmm_ex1(eps: float) -> Coefficient:
    r"""EX1: :math:`\kappa = 1 + \tfrac12 \sin(2\pi x_1/\epsilon)`, periodic, made for 1D.

    HMM paper, section 2.3. Bounds ``HMM_EX1_BOUNDS``, attained; homogenized
    :math:`\sqrt{3}/2 = 0.866` (``HMM_EX1_KAPPA_HOM``); in 2D and 3D a laminate, with the
    arithmetic mean 1 in the other directions.

    Args:
        eps: Period, > 0.

    Raises:
        ValueError: If ``eps`` is not positive and finite.
    """
    eps = _check_eps(eps)

    def kappa(x: Any) -> Any:
        return 1 + 0.5 * _namespace(x).sin(_TAU * x[0] / eps)

    return kappa


@checked
def hmm_ex2(eps: float) -> Coefficient:
    r"""EX2: periodic in 2D with a full homogenized matrix.

    With :math:`y = x/\epsilon`,

    .. math::
        \kappa = \tfrac12 + (\tfrac12 + \tfrac14\sin 2\pi y_1)(\tfrac12 + \tfrac14\sin 2\pi y_2)
        + \tfrac14 (\cos 2\pi(y_1 - y_2) + \sin 2\pi y_1).

    HMM paper, section 2.3. Bounds ``HMM_EX2_BOUNDS`` = (3/16, 25/16), attained; mean 3/4;
    homogenized matrix ``HMM_EX2_KAPPA_HOM`` (computed).

    Args:
        eps: Period, > 0.

    Raises:
        ValueError: If ``eps`` is not positive and finite, or (when called) in 1D.
    """
    eps = _check_eps(eps)

    def kappa(x: Any) -> Any:
        _check_dimension(x, 2, "hmm_ex2")
        f = _namespace(x)
        y1, y2 = _TAU * x[0] / eps, _TAU * x[1] / eps
        return (
            0.5
            + (0.5 + 0.25 * f.sin(y1)) * (0.5 + 0.25 * f.sin(y2))
            + 0.25 * (f.cos(y1 - y2) + f.sin(y1))
        )

    return kappa


@checked
def hmm_ex3(eps: float) -> Coefficient:
    r"""EX3: :math:`\kappa = (1.1 + \tfrac12\sin 2\pi y_1)(1.1 + \tfrac12\sin 2\pi y_2)`.

    Here :math:`y = x/\epsilon`. HMM paper, section 2.3. Bounds ``HMM_EX3_BOUNDS`` = (0.36, 2.56),
    attained; mean 1.21; homogenized :math:`1.1\sqrt{1.1^2 - 0.25}\, I = 1.0778\, I`
    (``HMM_EX3_KAPPA_HOM``).

    Args:
        eps: Period, > 0.

    Raises:
        ValueError: If ``eps`` is not positive and finite, or (when called) in 1D.
    """
    eps = _check_eps(eps)

    def kappa(x: Any) -> Any:
        _check_dimension(x, 2, "hmm_ex3")
        f = _namespace(x)
        return (1.1 + 0.5 * f.sin(_TAU * x[0] / eps)) * (1.1 + 0.5 * f.sin(_TAU * x[1] / eps))

    return kappa


@checked
def hmm_eq40(eps: float) -> Coefficient:
    r"""Eq. (40): locally periodic in 1D.

    .. math::
        \kappa = 1.1 + \tfrac14\sin(2\pi x_1 + 1.1) + \tfrac12\sin(2\pi x_1/\epsilon).

    HMM paper, section 5.1. Bounds ``HMM_EQ40_BOUNDS`` = (0.35, 1.85); homogenized:
    :func:`hmm_eq40_kappa_hom`.

    Args:
        eps: Local period, > 0.

    Raises:
        ValueError: If ``eps`` is not positive and finite.
    """
    eps = _check_eps(eps)

    def kappa(x: Any) -> Any:
        f = _namespace(x)
        return 1.1 + 0.25 * f.sin(_TAU * x[0] + 1.1) + 0.5 * f.sin(_TAU * x[0] / eps)

    return kappa


def hmm_eq40_kappa_hom(x: Any) -> Any:
    r"""Homogenized coefficient of :func:`hmm_eq40`: :math:`\sqrt{c(x)^2 - 1/4}`.

    :math:`c = 1.1 + \tfrac14\sin(2\pi x_1 + 1.1)` is the local mean, and the harmonic mean of
    :math:`c + \tfrac12\sin s` over a period is taken with x held fixed. Values in
    [0.6874, 1.2540].
    """
    _check_dimension(x, 1, "hmm_eq40_kappa_hom")
    f = _namespace(x)
    c = 1.1 + 0.25 * f.sin(_TAU * x[0] + 1.1)
    return f.sqrt(c**2 - 0.25)


@checked
def hmm_eq41(eps: float, *, r: float = 1.41) -> Coefficient:
    r"""Eq. (41): quasi-periodic in 2D.

    With :math:`y = x/\epsilon`,

    .. math::
        \kappa = (1 + \tfrac14\sin 2\pi y_1)
        (1 + \tfrac14\sin 2\pi y_2 + \tfrac14\sin 2\pi r y_2).

    HMM paper, section 5.2. Bounds ``HMM_EQ41_BOUNDS`` = (0.375, 1.875); mean 1; homogenized
    ``HMM_EQ41_KAPPA_HOM`` = diag(0.9682, 0.9318).

    Args:
        eps: Local period, > 0.
        r: Ratio of the two frequencies; the paper's 1.41 stands for the square root of 2.

    Raises:
        ValueError: If ``eps`` is not positive and finite, or (when called) in 1D.
    """
    eps = _check_eps(eps)

    def kappa(x: Any) -> Any:
        _check_dimension(x, 2, "hmm_eq41")
        f = _namespace(x)
        y1, y2 = _TAU * x[0] / eps, _TAU * x[1] / eps
        return (1 + 0.25 * f.sin(y1)) * (1 + 0.25 * f.sin(y2) + 0.25 * f.sin(r * y2))

    return kappa


@checked
def hmm_eq42(eps: float) -> Coefficient:
    r"""Eq. (42): locally periodic in 2D.

    .. math::
        \kappa = \tfrac14 \exp\bigl(-\cos(2\pi(x_1 + x_2)/\epsilon)
        + \sin(2\pi x_1/\epsilon)\cos(2\pi x_2)\bigr).

    HMM paper, section 5.3. Bounds ``HMM_EQ42_BOUNDS`` = (e^-2/4, e^2/4). The homogenized matrix
    A(x_2) has no closed form, but det A = 1/16 for every x_2: shifting y_1 by half a period turns
    :math:`4\kappa` into its inverse, and in 2D the matrix of :math:`1/\kappa` is A/det A
    (Keller, Dykhne). Where cos(2 pi x_2) = 0 it is a laminate along (1, 1) with eigenvalues
    :math:`I_0(1)^{\mp 1}/4` = 0.1975, 0.3165.

    Args:
        eps: Local period, > 0.

    Raises:
        ValueError: If ``eps`` is not positive and finite, or (when called) in 1D.
    """
    eps = _check_eps(eps)

    def kappa(x: Any) -> Any:
        _check_dimension(x, 2, "hmm_eq42")
        f = _namespace(x)
        oscillation = f.sin(_TAU * x[0] / eps) * f.cos(_TAU * x[1])
        return 0.25 * f.exp(-f.cos(_TAU * (x[0] + x[1]) / eps) + oscillation)

    return kappa


def hmm_ex1_initial(x: Any) -> Any:
    r"""Initial magnetization of EX1, 1-periodic in :math:`x_1`.

    :math:`m_0 = M/|M|` with

    .. math::
        M = \begin{pmatrix} 0.5 + e^{-0.1\cos 2\pi(x_1 - 0.32)} \\ 0.5 + e^{-0.2\cos 2\pi x_1} \\
        0.5 + e^{-0.1\cos 2\pi(x_1 - 0.75)} \end{pmatrix}.

    HMM paper, section 2.3. Three components, unit length. (The paper gives no initial datum
    for eq. (40): this one fits its figure.)
    """
    _check_dimension(x, 1, "hmm_ex1_initial")
    f = _namespace(x)
    x1 = x[0]
    return _unit_vector(
        x,
        [
            0.5 + f.exp(-0.1 * f.cos(_TAU * (x1 - 0.32))),
            0.5 + f.exp(-0.2 * f.cos(_TAU * x1)),
            0.5 + f.exp(-0.1 * f.cos(_TAU * (x1 - 0.75))),
        ],
    )


def hmm_ex2_initial(x: Any) -> Any:
    r"""Initial magnetization of EX2 (also of EX3 and eqs. (41), (42)), 1-periodic.

    :math:`m_0 = M/|M|` with

    .. math::
        M = \begin{pmatrix}
        0.6 + e^{-0.3(\cos 2\pi(x_1 - 0.25) + \cos 2\pi(x_2 - 0.12))} \\
        0.5 + e^{-0.4(\cos 2\pi x_1 + \cos 2\pi(x_2 - 0.4))} \\
        0.4 + e^{-0.2(\cos 2\pi(x_1 - 0.81) + \cos 2\pi(x_2 - 0.73))} \end{pmatrix}.

    HMM paper, section 2.3. Three components, unit length.

    Raises:
        ValueError: If there are fewer than two coordinates.
    """
    _check_dimension(x, 2, "hmm_ex2_initial")
    f = _namespace(x)
    x1, x2 = x[0], x[1]
    return _unit_vector(
        x,
        [
            0.6 + f.exp(-0.3 * (f.cos(_TAU * (x1 - 0.25)) + f.cos(_TAU * (x2 - 0.12)))),
            0.5 + f.exp(-0.4 * (f.cos(_TAU * x1) + f.cos(_TAU * (x2 - 0.4)))),
            0.4 + f.exp(-0.2 * (f.cos(_TAU * (x1 - 0.81)) + f.cos(_TAU * (x2 - 0.73)))),
        ],
    )
