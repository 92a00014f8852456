# SPDX-License-Identifier: LGPL-3.0-or-later
"""A ferromagnet in SI units, its characteristic lengths, and the constants of nature."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import check_number
from dolfinx_llg.kinds import checked

__all__ = [
    "E_CHARGE",
    "GAMMA0",
    "K_B",
    "MU0",
    "MU_B",
    "Material",
    "Numbers",
    "domain_wall_width",
    "exchange_length",
]

MU0 = 4e-7 * math.pi
"""Vacuum permeability [T m/A] (the exact value of the SI before 2019; today's differs by 1e-10)."""

GAMMA0 = 2.2128e5
"""mu0 |gamma_e| [m/(A s)], |gamma_e| = 1.7609e11 rad/(s T): the free electron's."""

MU_B, E_CHARGE = 9.2740100783e-24, 1.602176634e-19
"""Bohr magneton [J/T] and elementary charge [C], > 0."""

K_B = 1.380649e-23
"""Boltzmann's constant [J/K]."""

type Numbers = float | npt.NDArray[np.float64]


def _require(condition: bool, name: str, what: str, value: object) -> None:
    """Raise ValueError ``name must be what, got value`` unless the condition holds."""
    if not condition:
        raise ValueError(f"{name} must be {what}, got {value}")


@checked
@dataclass(frozen=True)
class Material:
    """A ferromagnet in SI units.

    Args:
        Ms: Saturation magnetization [A/m], > 0.
        A: Exchange stiffness [J/m], > 0.
        alpha: Gilbert damping, > 0.
        K_u: Uniaxial anisotropy [J/m3], density K_u (1 - (m.u)^2); negative for an easy plane.
        easy_axis: Axis u, any length but zero (kept normalised); needed where K_u is not 0.
        K_c1: Cubic anisotropy [J/m3], density K_c1 (m1^2 m2^2 + m2^2 m3^2 + m3^2 m1^2).
        D: Dzyaloshinskii-Moriya constant [J/m2].

    Raises:
        ValueError: If a number is out of its range or not finite, or the axis is missing or zero.
    """

    Ms: float
    A: float
    _: KW_ONLY
    alpha: float
    K_u: float = 0.0
    easy_axis: tuple[float, float, float] | None = None
    K_c1: float = 0.0
    D: float = 0.0

    def __post_init__(self) -> None:
        for name in ("Ms", "A", "alpha"):
            check_number(name, getattr(self, name), positive=True)
        for name in ("K_u", "K_c1", "D"):
            _require(math.isfinite(getattr(self, name)), name, "finite", getattr(self, name))
        if self.easy_axis is None:
            _require(self.K_u == 0.0, "easy_axis", "given where K_u is not zero", None)
            return
        axis = np.asarray(self.easy_axis, dtype=np.float64)
        usable = axis.shape == (3,) and bool(np.isfinite(axis).all()) and bool(axis.any())
        _require(usable, "easy_axis", "three finite numbers, not all zero", self.easy_axis)
        # Divided by the largest entry first: tiny or huge axes then neither under- nor overflow.
        axis = axis / np.abs(axis).max()
        axis = axis / np.linalg.norm(axis)
        object.__setattr__(self, "easy_axis", tuple(axis.tolist()))


@checked
def exchange_length(A: Numbers, Ms: Numbers) -> Numbers:
    r"""Magnetostatic exchange length :math:`\sqrt{2A/(\mu_0 M_s^2)}` [m].

    Args:
        A: Exchange stiffness [J/m], > 0.
        Ms: Saturation magnetization [A/m], > 0.

    Raises:
        ValueError: If a number is not positive and finite.
    """
    _require_all_positive(A=A, Ms=Ms)
    return _sqrt(2.0 * A / (MU0 * Ms**2))


@checked
def domain_wall_width(A: Numbers, K_u: Numbers) -> Numbers:
    r"""Wall parameter :math:`\sqrt{A/K_u}` [m] of a Bloch wall (pi times it is Lilley's width).

    Args:
        A: Exchange stiffness [J/m], > 0.
        K_u: Uniaxial anisotropy [J/m3], > 0.

    Raises:
        ValueError: If a number is not positive and finite.
    """
    _require_all_positive(A=A, K_u=K_u)
    return _sqrt(A / K_u)


def _sqrt(x: Numbers) -> Numbers:
    """Square root of a number or an array."""
    return np.sqrt(x) if isinstance(x, np.ndarray) else math.sqrt(x)


def _require_all_positive(**numbers: Numbers) -> None:
    """Raise ValueError with the first entry that is not positive and finite."""
    for name, value in numbers.items():
        entries = np.asarray(value, dtype=np.float64).ravel()
        bad = entries[~(np.isfinite(entries) & (entries > 0.0))]
        _require(bad.size == 0, name, "positive and finite", bad[:1].item() if bad.size else None)
