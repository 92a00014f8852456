# SPDX-License-Identifier: LGPL-3.0-or-later
"""The cross product of arrays of vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["cross"]

Array = npt.NDArray[np.floating]


def cross(a: Array, b: Array) -> Array:
    """Return a x b along the last axis (several times faster than ``numpy.cross``).

    Args:
        a: Vectors, shape (..., 3).
        b: Vectors, of a shape that broadcasts against that of a.
    """
    a0, a1, a2 = a[..., 0], a[..., 1], a[..., 2]
    b0, b1, b2 = b[..., 0], b[..., 1], b[..., 2]
    first = a1 * b2 - a2 * b1
    out = np.empty((*first.shape, 3))
    out[..., 0] = first
    out[..., 1] = a2 * b0 - a0 * b2
    out[..., 2] = a0 * b1 - a1 * b0
    return out
