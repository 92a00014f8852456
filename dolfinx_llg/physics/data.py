# SPDX-License-Identifier: LGPL-3.0-or-later
"""Data of interactions: numbers, fields and functions of time, checked, and bound to a mesh.

A number becomes a ``fem.Constant`` of each mesh on which the term is used, so that another value
needs no new compilation. Vectors that stand for a direction are brought to unit length or refused.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import basix
import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from ufl.algorithms.analysis import extract_type
from ufl.constantvalue import ScalarValue, Zero
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array
from dolfinx_llg.collective import agree, raise_together, together
from dolfinx_llg.jit import compile_expression
from dolfinx_llg.kinds import describe
from dolfinx_llg.physics.interaction import mesh_of

__all__ = [
    "Coefficient",
    "PerMesh",
    "check_finite",
    "check_positive_inside",
    "check_time",
    "constant",
    "scalar",
    "unit_numbers",
    "unit_vector",
]

#: Cells in which an expression is evaluated at once: bounds the memory of a check.
_CHUNK = 20_000


class PerMesh[T]:
    """Mesh-bound data of a term (constants, DG0 fields), built once for each mesh met.

    They hold their mesh, so they are kept by the mesh and not by the term: a term that serves one
    mesh after the other, in a study, keeps none of them alive.
    """

    def __init__(self, build: Callable[[dolfinx.mesh.Mesh], T]) -> None:
        self._build = build
        self._met: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

    def __call__(self, m: Expr) -> T:
        """Return the data on the mesh of ``m``."""
        mesh = mesh_of(m)
        kept = self._kept_by(mesh.ufl_domain())
        if self not in kept:
            kept[self] = self._build(mesh)
            domain: Any = mesh.ufl_domain()
            self._met[id(domain)] = domain
        return kept[self]

    def known(self, mesh: dolfinx.mesh.Mesh) -> T | None:
        """Return the data on a mesh; None where it has not been met."""
        return self._kept_by(mesh.ufl_domain()).get(self)

    def values(self) -> list[T]:
        """Return the data of all meshes met so far that are still there."""
        return [self._kept_by(domain)[self] for domain in list(self._met.values())]

    def _kept_by(self, domain: Any) -> weakref.WeakKeyDictionary[PerMesh[T], T]:
        if not hasattr(domain, "_dolfinx_llg_data"):
            domain._dolfinx_llg_data = weakref.WeakKeyDictionary()
        kept: weakref.WeakKeyDictionary[PerMesh[T], T] = domain._dolfinx_llg_data
        return kept


def constant(array: npt.NDArray[np.float64], name: str) -> PerMesh[Expr]:
    """Return numbers as a constant of each mesh met; all ranks must give the same ones."""

    def build(mesh: dolfinx.mesh.Mesh) -> Expr:
        agree(mesh.comm, **{name: array})
        return fem.Constant(mesh, array)

    return PerMesh(build)


def scalar(value: Any, name: str) -> Callable[[Expr], Expr]:
    """Return a scalar coefficient as a function of m: a number, a function or UFL."""
    if isinstance(value, Expr):
        if value.ufl_shape != ():
            raise ValueError(f"{name} must be a scalar, got shape {value.ufl_shape}")
        if isinstance(value, fem.Function):
            check_finite(value, name)
        return lambda m: value
    return constant(check_array(name, value, ()), name)


def unit_numbers(name: str, value: object) -> npt.NDArray[np.float64]:
    """Return 3 numbers as a unit vector, whatever their size."""
    array = check_array(name, value, (3,))
    largest = float(np.abs(array).max())
    if largest == 0.0:
        raise ValueError(f"{name} must not be zero, got {value}")
    # Scaled before the square root: squares of 1e200 overflow, those of 1e-200 vanish.
    array = array / largest
    return np.asarray(array / np.linalg.norm(array))


def unit_vector(value: Any, name: str) -> Callable[[Expr], Expr]:
    """Return a direction as a function of m: numbers and UFL are normalised, functions refused.

    A ``fem.Function`` must be of unit length at its dofs: its owner may change it later, and a
    division at every quadrature point would only hide that.
    """
    if isinstance(value, Expr):
        if value.ufl_shape != (3,):
            raise ValueError(f"{name} must have shape (3,), got shape {value.ufl_shape}")
        if isinstance(value, fem.Function):
            _check_unit(value, name)
            return lambda m: value
        return PerMesh(lambda mesh: _normalised(value, mesh, name))
    return constant(unit_numbers(name, value), name)


def _normalised(value: Expr, mesh: dolfinx.mesh.Mesh, name: str) -> Expr:
    """Divide a UFL vector by its length, after a look into every cell that it has one."""
    length = ufl.sqrt(ufl.dot(value, value))
    lengths = _samples(mesh, length)
    bad = not bool(np.all(np.isfinite(lengths) & (lengths > 0.0)))
    raise_together(
        mesh.comm,
        f"{name} must not be zero, NaN or infinite, but it is in a cell" if bad else None,
    )
    return value / length


def check_finite(field: fem.Function, name: str) -> None:
    """Raise ValueError on all ranks alike if a function has an entry that is not finite."""
    bad = not bool(np.all(np.isfinite(field.x.array)))
    raise_together(
        field.function_space.mesh.comm,
        f"{name} must be finite, but it is NaN or infinite in a cell" if bad else None,
    )


def _check_unit(field: fem.Function, name: str) -> None:
    """Raise on all ranks alike if a vector field is not of unit length at its dofs."""
    length = np.linalg.norm(field.x.array.reshape(-1, 3), axis=1)
    defect = float(np.max(np.abs(length - 1.0), initial=0.0))
    # 1e-10 is far above round-off, far below any unnormalised input.
    raise_together(
        field.function_space.mesh.comm,
        None
        if defect <= 1e-10
        else f"{name} must have unit length everywhere, its largest defect is {defect:.3g}",
    )


def _samples(mesh: dolfinx.mesh.Mesh, value: Expr) -> npt.NDArray[np.float64]:
    """Values of UFL at interior points of all cells of this rank, shape (samples, ...)."""
    points = np.vstack([basix.make_quadrature(mesh.basix_cell(), degree)[0] for degree in (1, 4)])
    value = ufl.as_ufl(value)
    if isinstance(value, ScalarValue | Zero):  # what UFL made of an expression without a mesh
        return np.array([float(value)])
    expression = compile_expression(value * fem.Constant(mesh, 1.0), points, mesh.comm)
    owned = mesh.topology.index_map(mesh.topology.dim).size_local
    shape = tuple(value.ufl_shape)
    parts = [
        np.asarray(
            expression.eval(mesh, np.arange(i, min(i + _CHUNK, owned), dtype=np.int32))
        ).reshape(-1, *shape)
        for i in range(0, owned, _CHUNK)
    ]
    return np.concatenate([np.zeros((0, *shape)), *parts])


def check_positive_inside(mesh: dolfinx.mesh.Mesh, value: Expr, name: str) -> None:
    """Raise on all ranks alike where a UFL coefficient is not positive inside a cell.

    Its values at centroids may all be positive while it changes sign between them: a coefficient
    that the mesh does not resolve, or a mistake in its formula.

    Raises:
        ValueError: With the smallest value (of a tensor: eigenvalue) that was met.
    """
    values = _samples(mesh, value)
    if value.ufl_shape and np.all(np.isfinite(values)):
        values = np.linalg.eigvalsh(0.5 * (values + values.swapaxes(1, 2)))
    low = float(np.min(values, initial=np.inf))
    message = None
    if not low > 0.0:
        wanted = "positive definite" if value.ufl_shape else "positive"
        message = f"{name} must be {wanted} and finite everywhere, got {low:.6g} inside a cell"
    raise_together(mesh.comm, message)


def check_time(time: fem.Constant | None, value: object, name: str) -> None:
    """Raise ValueError unless a constant that stands for the time occurs in UFL data."""
    if time is None:
        return
    if not isinstance(value, Expr) or not any(c is time for c in extract_type(value, ufl.Constant)):
        raise ValueError(
            f"time is a constant that {name} must contain, as UFL; this one does not, so that it "
            "would never change"
        )


class Coefficient:
    """A number, a function of time with numbers as values, or UFL, as data of a torque.

    Args:
        value: The data.
        name: Name of the argument, for messages.
        shape: Shape wanted; None: any.
        unit: Whether it is a direction, to be brought to unit length.
        time: Scalar constant in UFL data that ``update`` sets to t.
    """

    def __init__(
        self,
        value: Any,
        name: str,
        shape: tuple[int, ...] | None = (),
        *,
        unit: bool = False,
        time: fem.Constant | None = None,
    ) -> None:
        check_time(time, value, name)
        self._time = time
        self.name, self._shape, self._unit = name, shape, unit
        self._constants = PerMesh(self._on_mesh)
        self._in_time: Callable[[float], object] | None = None
        self._field: Callable[[Expr], Expr] | None = None
        self.value: Expr | npt.NDArray[np.float64]
        if isinstance(value, Expr):
            if shape is not None and value.ufl_shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {value.ufl_shape}")
            self._field = unit_vector(value, name) if unit else lambda m: value
            if isinstance(value, fem.Function) and not unit:
                check_finite(value, name)
            self.value = value
        elif callable(value):
            self._in_time = value
            self.value = self._first()
        else:
            self.value = self._numbers(value)

    def _numbers(self, value: object) -> npt.NDArray[np.float64]:
        if self._unit:
            return unit_numbers(self.name, value)
        array = check_array(self.name, value)
        if self._shape is None:
            array = np.atleast_1d(array)
        return check_array(self.name, array, self._shape)

    def _first(self) -> npt.NDArray[np.float64]:
        """Value of a function of time at t = 0, NaN where it fails for reasons of its own.

        It may fail on this rank alone, or at t = 0 alone: the first update asks again and raises
        on all ranks. Nothing finite is computed from NaN meanwhile.
        """
        try:
            value = self._call(0.0)
        except TypeError:
            raise
        except Exception:
            if self._shape is None:
                raise
            return np.full(self._shape, np.nan)
        return self._numbers(value)

    def _call(self, t: float) -> object:
        assert self._in_time is not None
        try:
            return self._in_time(t)
        except TypeError as error:
            raise TypeError(
                f"a callable {self.name} takes the time t and returns numbers; a field in space "
                f"is UFL or a fem.Function ({error})"
            ) from error

    def __call__(self, m: Expr) -> Expr:
        """Return the coefficient on the mesh of ``m``."""
        if self._field is not None:
            return self._field(m)
        return self._constants(m)

    def _on_mesh(self, mesh: dolfinx.mesh.Mesh) -> fem.Constant:
        agree(mesh.comm, **{self.name: self.value})
        return fem.Constant(mesh, np.asarray(self.value))

    def update(self, m: fem.Function, t: float) -> None:
        """Evaluate a function of time at ``t``; collective on the mesh of ``m``."""
        if self._time is not None:
            self._time.value = np.asarray(t)
        if self._in_time is None:
            return
        comm = m.function_space.mesh.comm
        with together(comm):
            self.assign(self._call(t))
        agree(comm, **{self.name: self.value})

    def assign(self, value: object) -> None:
        """Replace numbers; fields are changed in place by their owner."""
        if isinstance(self.value, Expr):
            raise RuntimeError(f"{self.name} is a field: change the function given, not the term")
        if isinstance(value, Expr) or value is None:
            raise TypeError(f"{self.name} must be numbers, got {describe(value)}")
        new = self._numbers(value)
        if new.shape != self.value.shape:
            raise ValueError(f"{self.name} must be {self.value.shape} finite numbers, got {value}")
        self.value = new
        for stored in self._constants.values():
            stored.value = new
