# SPDX-License-Identifier: LGPL-3.0-or-later
"""Coarse steps that never touch the fine mesh: empirical cubature, and the tensors of the paper."""

from dolfinx_llg.reduction.hyper import (
    Reduction,
    hyper_reduce,
)
from dolfinx_llg.reduction.local_modes import (
    LocalModes,
    local_modes,
)
from dolfinx_llg.reduction.tensor_run import (
    TensorRun,
    tensor_reduce,
)

__all__ = [
    "LocalModes",
    "Reduction",
    "TensorRun",
    "hyper_reduce",
    "local_modes",
    "tensor_reduce",
]
