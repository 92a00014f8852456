# SPDX-License-Identifier: LGPL-3.0-or-later
"""Options of the functions that find states at rest, one idea in each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from dolfinx_llg.checks import check_integer, check_number
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis

__all__ = [
    "Dynamics",
    "LoopFiles",
    "LoopSteps",
    "Method",
    "MinimiseOptions",
    "ModeTolerances",
    "Search",
]

type Method = Literal["auto", "trust_region", "lbfgs"]


@checked
@dataclass(frozen=True)
class Search:
    """How long a state of least energy is sought, and how a saddle is left (``search=``).

    Args:
        max_iterations: Largest number of outer steps.
        perturbation: Angle in radians (the largest over the nodes), at most 1, by which a start at
            a saddle is left, along the direction of negative curvature that was found.
        seed: Seed of the smooth random field from which such directions are sought; the same on
            any number of ranks.

    Raises:
        ValueError: If a number is out of range.
    """

    max_iterations: int = 500
    perturbation: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_integer("max_iterations", self.max_iterations, 1)
        check_number("perturbation", self.perturbation, positive=True, high=1.0)
        check_integer("seed", self.seed, 0)


class MinimiseOptions(TypedDict, total=False):
    """The keywords of ``minimise``, which functions that minimise hand on to it."""

    torque: float
    method: Method
    basis: GalerkinBasis | None
    t: float
    search: Search
    petsc_options: Mapping[str, Any] | None
    petsc_options_prefix: str


@checked
@dataclass(frozen=True)
class LoopSteps:
    """How a hysteresis loop steps from amplitude to amplitude (``hysteresis(..., steps=)``).

    Args:
        jump: Change of the mean of m (weighted by Ms) in one step that is examined; 2: none is.
        tolerance: Width, in the unit of the amplitudes, to which a jump is bracketed; None: 1/50 of
            the smallest step.
        unit: Unit of the amplitudes, "mT" (mu0 H) or "A/m"; of no effect without ``units``.
        eigenvalue: Whether each state gets its lowest Hessian eigenvalue (``nucleation_field``).

    Raises:
        ValueError: If a number is out of range.
    """

    jump: float = 0.1
    tolerance: float | None = None
    unit: Literal["mT", "A/m"] = "mT"
    eigenvalue: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("jump", self.jump, positive=True, high=2.0)
        if self.tolerance is not None:
            check_number("tolerance", self.tolerance, positive=True)


@checked
@dataclass(frozen=True)
class LoopFiles:
    """The files of a hysteresis loop (``hysteresis(..., files=)``).

    Args:
        csv: File for the rows, each flushed at once.
        checkpoint: File for a checkpoint at each of the amplitudes.
        resume: Whether to go on from that checkpoint: with the amplitudes that follow; the rows of
            the CSV file up to it are kept.

    Raises:
        ValueError: If ``resume`` is asked for without a checkpoint.
    """

    csv: str | os.PathLike[str] | None = None
    checkpoint: str | os.PathLike[str] | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Check that there is something to go on from."""
        if self.resume and self.checkpoint is None:
            raise ValueError("resume needs the checkpoint to go on from")


@checked
@dataclass(frozen=True)
class Dynamics:
    """The time steps of ``relax`` (``dynamics=``): their errors, and how many there may be.

    Args:
        rtol: Allowed local error of a time step.
        t_max: Longest time to wait, after the start.
        max_steps: Largest number of steps.

    Raises:
        ValueError: If a number is out of range.
    """

    rtol: float = 1e-3
    t_max: float = 1e4
    max_steps: int = 10_000

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("rtol", self.rtol, positive=True, high=1.0)
        check_number("t_max", self.t_max, positive=True)
        check_integer("max_steps", self.max_steps, 1)


@checked
@dataclass(frozen=True)
class ModeTolerances:
    r"""What is zero to ``eigenmodes`` (``tolerances=``).

    Args:
        torque: Largest nodal \|m x h\|, in units of Ms0, at which m counts as being at rest.
        free: Eigenvalue of the Hessian, a field in units of Ms0, below which a direction is named
            free (``Modes.zero``), and above whose negative m still counts as a minimum; None: 1e-4
            of the mean local field.
        accuracy: Relative residual of the eigenvalues.

    Raises:
        ValueError: If a number is not positive and finite.
    """

    torque: float = 1e-3
    free: float | None = None
    accuracy: float = 1e-8

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("torque", self.torque, positive=True)
        check_number("accuracy", self.accuracy, positive=True)
        if self.free is not None:
            check_number("free", self.free, positive=True)
