# SPDX-License-Identifier: LGPL-3.0-or-later
"""Heterogeneous multiscale methods: upscaling in space and in time."""

from dolfinx_llg.hmm.kernels import (
    Kernel,
    averaging_kernel,
    one_sided_kernel,
)
from dolfinx_llg.hmm.space.box import (
    MicroBox,
)
from dolfinx_llg.hmm.space.elements import (
    UpscaledTensor,
    upscaled_tensor,
)
from dolfinx_llg.hmm.space.grid import (
    MacroGrid,
)
from dolfinx_llg.hmm.space.macro import (
    UpscaledField,
)
from dolfinx_llg.hmm.space.numerics import (
    MicroNumerics,
)
from dolfinx_llg.hmm.space.resolved import (
    PeriodicStencil,
    SpectralField,
    homogenize_cell,
    resolved_run,
)
from dolfinx_llg.hmm.time.chain import ChainModel
from dolfinx_llg.hmm.time.fields import (
    FastField,
    field_from_ufl,
)
from dolfinx_llg.hmm.time.magnet import (
    MagnetModel,
)
from dolfinx_llg.hmm.time.midpoint import (
    MidpointSolver,
)
from dolfinx_llg.hmm.time.precession import (
    Window,
    resolved,
)
from dolfinx_llg.hmm.time.spin_chain import SpinChain
from dolfinx_llg.hmm.time.temporal import (
    SpinModel,
)
from dolfinx_llg.hmm.time.upscaled import (
    UpscaledArrayStepper,
    UpscaledStep,
    UpscaledStepper,
    upscaled,
)

__all__ = [
    "ChainModel",
    "FastField",
    "Kernel",
    "MacroGrid",
    "MagnetModel",
    "MicroBox",
    "MicroNumerics",
    "MidpointSolver",
    "PeriodicStencil",
    "SpectralField",
    "SpinChain",
    "SpinModel",
    "UpscaledArrayStepper",
    "UpscaledField",
    "UpscaledStep",
    "UpscaledStepper",
    "UpscaledTensor",
    "Window",
    "averaging_kernel",
    "field_from_ufl",
    "homogenize_cell",
    "one_sided_kernel",
    "resolved",
    "resolved_run",
    "upscaled",
    "upscaled_tensor",
]
