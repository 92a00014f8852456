# SPDX-License-Identifier: LGPL-3.0-or-later
"""Kernels and time step of a micro problem, Leitenmaier, Runborg, arXiv:2108.09463, section 3."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dolfinx_llg.checks import check_number
from dolfinx_llg.hmm.kernels import Kernel, averaging_kernel, one_sided_kernel
from dolfinx_llg.kinds import checked

__all__ = ["MicroNumerics"]


@checked
@dataclass(frozen=True)
class MicroNumerics:
    r"""By which kernels and which steps a micro problem is averaged (``MicroBox.numerics``).

    Args:
        p_space: Vanishing moments of the kernel in space.
        q_space: Its smoothness.
        p_time: Vanishing moments of the one-sided kernel in time.
        q_time: Its smoothness.
        dt: Micro time step, in the time of the macro problem; None: 0.9 of HeunP's stability limit.

    Raises:
        ValueError: If the kernels do not exist, or dt is not positive.
    """

    p_space: int = 3
    q_space: int = 7
    p_time: int = 3
    q_time: int = 7
    dt: float | None = None

    def __post_init__(self) -> None:
        """Check the step, and make the kernels."""
        if self.dt is not None:
            check_number("dt", self.dt, positive=True)
        _ = self.kernels

    @cached_property
    def kernels(self) -> tuple[Kernel, Kernel]:
        """The kernel in space, and the one-sided kernel in time."""
        return (
            averaging_kernel(self.p_space, self.q_space),
            one_sided_kernel(self.p_time, self.q_time),
        )
