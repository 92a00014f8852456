# SPDX-License-Identifier: LGPL-3.0-or-later
"""The composite of the GRPS paper: its energy, and P1 on a coarse mesh as rival of a basis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from shared import carried, errors, timed

import dolfinx_llg as llg


def rough_energy(kappa: fem.Function) -> llg.Energy:
    """Return the energy: exchange, and the easy axis e_1 with q_u = 1."""
    return llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0), 1.0)])


@dataclass
class Rival:
    """A run on a coarse mesh beside one on a fine mesh, on which it is P1 too.

    Attributes:
        m: Its end on the fine mesh.
        error_l2, error_h1: Relative errors there.
        seconds: Wall time of the run.
        seconds_per_step: Median.
    """

    m: fem.Function
    error_l2: float
    error_h1: float
    seconds: float
    seconds_per_step: float


def rival(step: llg.WeakStep, t_end: float, reference: fem.Function) -> Rival:
    """March a step on a coarse mesh, and compare its end with that of a fine run."""
    steps, seconds = timed(lambda: [state.seconds for state in llg.march(step, t_end=t_end)])
    found = carried(step.m, reference.function_space)
    return Rival(found, *errors(found, reference), seconds, float(np.median(steps)))
