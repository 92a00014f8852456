# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy terms of micromagnetics, each a density from which everything else is derived.

All densities are dimensionless (units of mu0 Ms0^2); ``physics.units`` converts from SI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array
from dolfinx_llg.collective import agree, together
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import check_positive
from dolfinx_llg.physics.data import (
    PerMesh,
    check_time,
    constant,
    scalar,
    unit_numbers,
    unit_vector,
)
from dolfinx_llg.physics.interaction import EnergyTerm, QuadraticTerm
from dolfinx_llg.physics.samples import SampledCoefficient

__all__ = ["CubicAnisotropy", "Exchange", "UniaxialAnisotropy", "Zeeman"]

Vector = Sequence[float] | npt.NDArray[np.floating] | Expr
Scalar = float | Expr
KappaRule = Literal["centroid", "mean", "quadrature"]


@checked
class Exchange(QuadraticTerm):
    r"""Exchange energy with a rough coefficient, ``1/2 kappa |grad m|^2`` (GRPS paper, (1.5)).

    Across the interface of two regions m and kappa dm/dn are continuous. A weaker coupling is a
    layer of cells with a small kappa, or bodies with nodes of their own and ``InterlayerExchange``.

    Args:
        kappa: Exchange coefficient: a positive number; a symmetric (gdim, gdim) array; a
            ``fem.Function`` (DG0 for a composite); a UFL expression, scalar or symmetric tensor; or
            a callable ``x -> UFL`` of the spatial coordinate. Kept as ``coefficient``.
        kappa_rule: How a UFL expression or a callable is sampled: "centroid" (DG0, the value at
            each cell's centroid), "mean" (DG0, the cell average) or "quadrature" (the expression
            itself at quadrature points: several times dearer to assemble, and other numbers where
            the mesh does not resolve kappa). Irrelevant for numbers, arrays and functions.
        implicit: Whether semi-implicit schemes take the term at the new time level.

    A formula is looked at where it is sampled, and once, when the mesh is first met, at the points
    of a quadrature of degree 4 inside every cell: where it is negative between these alone, as it
    may be if the mesh does not resolve it, nobody notices. Of constants in it that change later
    "quadrature" is not looked at again. A function is checked at each change.

    Raises:
        ValueError: If kappa is not symmetric positive definite and finite (checked at once, or when
            the mesh is first met), on all ranks alike.

    Note: Collective.
    """

    def __init__(
        self,
        kappa: float | npt.NDArray[np.floating] | Expr | Callable[[Expr], Expr],
        *,
        kappa_rule: KappaRule = "centroid",
        implicit: bool = True,
    ) -> None:
        if kappa_rule not in ("centroid", "mean", "quadrature"):
            raise ValueError(
                f"kappa_rule must be 'centroid', 'mean' or 'quadrature', got {kappa_rule!r}"
            )
        self.implicit = implicit
        self.flux_along_gradient = True
        self.kappa_rule = kappa_rule
        self.coefficient = kappa
        self._kappa: Callable[[Expr], Expr]
        if isinstance(kappa, fem.Function):
            check_positive(kappa, "kappa")
            self._kappa = lambda m: kappa
        elif isinstance(kappa, Expr) or callable(kappa):
            self._kappa = SampledCoefficient(kappa, kappa_rule, "kappa")
        else:
            self._kappa = constant(_positive_constant(kappa), "kappa")

    def renew(self, m: fem.Function) -> None:
        """Sample an expression anew whose constants or functions have changed."""
        if isinstance(self._kappa, SampledCoefficient):
            self._kappa.renew(m)

    def check_data(self) -> None:
        """Refuse a function that is not positive definite and finite any more.

        Raises:
            ValueError: On all ranks alike.

        Note: Collective.
        """
        if isinstance(self.coefficient, fem.Function):
            check_positive(self.coefficient, "kappa")

    def kappa(self, m: Expr) -> Expr:
        """Return the coefficient that enters the forms on the mesh of ``m``."""
        return self._kappa(m)

    def bilinear(self, v: Expr, w: Expr) -> Expr:
        """Return ``kappa grad v : grad w``.

        Raises:
            ValueError: If kappa is a tensor of another dimension than the mesh.
        """
        kappa, grad = self.kappa(v), ufl.grad(v)
        gdim = grad.ufl_shape[1]
        if kappa.ufl_shape == ():
            return kappa * ufl.inner(grad, ufl.grad(w))
        if kappa.ufl_shape != (gdim, gdim):
            raise ValueError(
                f"a tensor kappa must have shape ({gdim}, {gdim}) here, got {kappa.ufl_shape}"
            )
        return ufl.inner(ufl.dot(grad, kappa), ufl.grad(w))


def _positive_constant(
    kappa: float | npt.NDArray[np.floating],
) -> npt.NDArray[np.float64]:
    array = np.asarray(kappa, dtype=np.float64)
    if array.ndim == 0:
        if not (np.isfinite(array) and array > 0):
            raise ValueError(f"kappa must be positive and finite, got {kappa}")
        return array
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"a tensor kappa must be square, got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"kappa must be finite, got {kappa}")
    if not np.allclose(array, array.T, rtol=1e-12, atol=0.0):
        raise ValueError(f"a tensor kappa must be symmetric, got {array.tolist()}")
    smallest = float(np.linalg.eigvalsh(array)[0])
    if smallest <= 0:
        raise ValueError(f"kappa must be positive definite, its smallest eigenvalue is {smallest}")
    return array


@checked
class UniaxialAnisotropy(QuadraticTerm):
    r"""Uniaxial anisotropy, ``1/2 q_u (|m|^2 - (m.u)^2)`` (GRPS paper, (1.2) and (1.5)).

    Args:
        easy_axis: Direction u: 3 numbers (normalised here), or a unit field (DG0 per region, UFL).
        q_u: Strength 2 K_u/(mu0 Ms0^2), a number, DG0 function or UFL; negative for an easy plane.
        implicit: Whether semi-implicit schemes take the term at the new time level. None: where
            q_u >= 0. An easy plane is concave in m and belongs to the old level: taken implicitly
            it acts as negative damping of size dt |q_u|. (The sign of UFL is not known: implicit;
            nor is a change of sign in a run followed: build the term and its step anew then.)

    Raises:
        ValueError: If the axis is zero or not finite, or a field of axes is not of unit length
            (later changes of such a function are taken up unlooked at: keep it of unit length).

    Note: Collective.
    """

    def __init__(
        self, easy_axis: Vector, q_u: Scalar = 1.0, *, implicit: bool | None = None
    ) -> None:
        self.implicit = not_negative(q_u) if implicit is None else implicit
        self.easy_axis, self.q_u = easy_axis, q_u
        self._axis = unit_vector(easy_axis, "easy_axis")
        self._q_u = scalar(q_u, "q_u")

    def bilinear(self, v: Expr, w: Expr) -> Expr:
        """Return ``q_u (v.w - (v.u)(w.u))``."""
        axis = self._axis(v)
        return self._q_u(v) * (ufl.inner(v, w) - ufl.inner(v, axis) * ufl.inner(w, axis))


def not_negative(value: Scalar) -> bool:
    """Whether a coefficient is >= 0 on all ranks; of other UFL than functions: yes."""
    if isinstance(value, fem.Function):
        lowest = float(np.min(value.x.array, initial=np.inf))
        return min(value.function_space.mesh.comm.allgather(lowest)) >= 0.0
    number = value.value if isinstance(value, fem.Constant) else value
    return isinstance(number, Expr) or float(number) >= 0.0


@checked
class CubicAnisotropy(EnergyTerm):
    r"""Cubic anisotropy, ``1/2 q_c (a1^2 a2^2 + a2^2 a3^2 + a3^2 a1^2)`` with ``a_i = m.c_i``.

    Args:
        q_c: Strength 2 K_c1/(mu0 Ms0^2), a number, DG0 function or UFL, of either sign.
        axes: The first two crystal axes c_1, c_2, orthogonal; c_3 = c_1 x c_2.

    Raises:
        ValueError: If the axes are zero, not finite or not orthogonal.
    """

    implicit = False  # quartic: it has no linear form at the new time level

    def __init__(
        self,
        q_c: Scalar = 1.0,
        axes: Sequence[Sequence[float]] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    ) -> None:
        self.q_c, self.axes = q_c, axes
        self._q_c = scalar(q_c, "q_c")
        self._axes = constant(crystal_axes(axes), "axes")

    def density(self, m: Expr) -> Expr:
        """Return ``1/2 q_c (a1^2 a2^2 + a2^2 a3^2 + a3^2 a1^2)``."""
        a = ufl.dot(self._axes(m), m)
        sq = [a[i] ** 2 for i in range(3)]
        return self._q_c(m) * (sq[0] * sq[1] + sq[1] * sq[2] + sq[2] * sq[0]) / 2


def crystal_axes(axes: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """Return three orthonormal axes as rows, of the first two."""
    pair = check_array("axes", axes, (2, 3))
    pair = np.stack([unit_numbers("each of the axes", axis) for axis in pair])
    if abs(pair[0] @ pair[1]) > 1e-12:
        raise ValueError(f"the axes must be orthogonal, their cosine is {pair[0] @ pair[1]}")
    return np.vstack([pair, np.cross(pair[0], pair[1])])


@checked
class Zeeman(EnergyTerm):
    r"""Energy in an applied field, ``-Ms m.h_ext``.

    Args:
        h_ext: Applied field in units of Ms0, one of: 3 numbers; a callable ``t -> 3 numbers`` (any
            Python code, called once per step); a ``fem.Function`` or UFL vector in space. A UFL
            field that also varies in time contains a scalar ``fem.Constant`` given as ``time``.
        Ms: The same relative saturation magnetization as the ``Energy``'s.
        time: Scalar constant in ``h_ext`` that this term sets to t before each assembly.

    A field in space is evaluated at the quadrature points of the forms alone: a step that meets NaN
    or infinity there raises RuntimeError and leaves m as it was; a 0/0 elsewhere is not met.

    Raises:
        ValueError: If the field has another shape, numbers are not finite (a callable: when it is
            called), or ``time`` does not occur in it.
    """

    implicit = False

    def __init__(
        self,
        h_ext: Vector | Callable[[float], Sequence[float] | npt.NDArray[np.floating]],
        *,
        Ms: float | fem.Function = 1.0,
        time: fem.Constant | None = None,
    ) -> None:
        self.Ms = Ms
        check_time(time, h_ext, "h_ext")
        self.time, self.h_ext = time, h_ext
        self._in_time: Callable[[float], object] | None = None
        self._constants: PerMesh[fem.Constant] | None = None
        self._value = np.zeros(3)
        if isinstance(h_ext, Expr):
            if h_ext.ufl_shape != (3,):
                raise ValueError(f"h_ext must have shape (3,), got shape {h_ext.ufl_shape}")
            self._field: Callable[[Expr], Expr] = lambda m: h_ext
        else:
            self._constants = PerMesh(self._on_mesh)
            self._field = self._constants
            if callable(h_ext):
                self._in_time = h_ext
                self._start(h_ext)
            else:
                self.assign(h_ext)

    def _on_mesh(self, mesh: dolfinx.mesh.Mesh) -> fem.Constant:
        if self._in_time is None:
            agree(mesh.comm, h_ext=self._value)
        return fem.Constant(mesh, self._value.copy())

    def assign(self, h_ext: object) -> None:
        """Set a spatially constant field to 3 new numbers (units of Ms0), in effect at once.

        Raises:
            ValueError: If the field has another shape or is not finite.
            RuntimeError: If the field varies in space: its function is changed then, not the term.
        """
        if self._constants is None:
            raise RuntimeError("h_ext is a field in space: change the function given, not the term")
        self._value = check_array("h_ext", h_ext, (3,))
        for stored in self._constants.values():
            stored.value[:] = self._value

    def _start(self, h_ext: Callable[[float], object]) -> None:
        """Try a function of time once: its arguments, its shape, its value at t = 0."""
        try:
            value = self._call(0.0)
        except TypeError:
            raise
        except Exception:
            # The function may fail on this rank alone, or at t = 0 alone. The next update calls it
            # again and raises on all ranks; until then NaN keeps its place and nothing reads it.
            self._value = np.full(3, np.nan)
        else:
            self.assign(value)

    def _call(self, t: float) -> object:
        assert self._in_time is not None
        try:
            return self._in_time(t)
        except TypeError as error:
            raise TypeError(
                "a callable h_ext takes the time t and returns 3 numbers; a field in space is a "
                f"UFL vector or a fem.Function ({error})"
            ) from error

    def with_ms(self, Ms: float | fem.Function) -> Zeeman:
        """Return the energy of another Ms in the same field.

        Raises:
            ValueError: If a callable field does not return 3 finite numbers.
        """
        field = self._value if self.is_constant else self.h_ext
        return Zeeman(field, Ms=Ms, time=self.time)

    @property
    def is_constant(self) -> bool:
        """Whether ``assign`` can set the field: it is constant in space, and in time."""
        return self._constants is not None and self._in_time is None

    @property
    def is_uniform(self) -> bool:
        """Whether the field is the same everywhere: ``value``, constant in time or not."""
        return self._constants is not None

    @property
    def value(self) -> npt.NDArray[np.float64]:
        """The spatially constant field in force, 3 numbers (units of Ms0)."""
        return self._value.copy()

    def update(self, m: fem.Function, t: float) -> None:
        """Evaluate a field that depends on time at ``t``.

        Raises:
            ValueError: If the field has another shape, is not finite, or differs between ranks.
            TypeError: If a callable field does not take the time alone.

        Note: Collective.
        """
        if self.time is not None:
            self.time.value = np.asarray(t)
        if self._in_time is not None:
            with together(m.function_space.mesh.comm):
                self.assign(self._call(t))
            agree(m.function_space.mesh.comm, h_ext=self._value)

    def density(self, m: Expr) -> Expr:
        """Return ``-Ms m.h_ext``."""
        return -self.Ms * ufl.inner(m, self._field(m))
