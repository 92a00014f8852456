# SPDX-License-Identifier: LGPL-3.0-or-later
"""Whether the data of forms have changed since they were last read: coefficients and constants."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

__all__ = ["Watch", "same"]


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def same(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> bool:
    """Whether two arrays of the same shape hold the same values, NaN the same as NaN."""
    # A look at every step is to cost no more than reading both: bits are compared, without the
    # temporaries of NumPy. They may differ where values do not, as of -0.
    whole = a.flags.c_contiguous and b.flags.c_contiguous
    if whole and a.dtype == b.dtype and a.shape == b.shape:
        if _memcmp(a.ctypes.data, b.ctypes.data, a.nbytes) == 0:
            return True
    return bool(np.array_equal(a, b, equal_nan=True))


class Watch:
    """Remembers the values of all coefficients and constants of forms, but for some functions.

    A run reads kappa, q_u, Ms or a damping once, while a user may change them at any time: what
    was made of them is made anew when ``changed`` says so.

    Args:
        forms: The forms whose assembled values are kept.
        but: Functions that change from step to step and are not watched (m, the iterate).
    """

    def __init__(self, forms: Iterable[ufl.Form], but: Iterable[fem.Function] = ()) -> None:
        ignored = list(but)
        found: list[Any] = []
        for form in forms:
            found += [c for c in (*form.coefficients(), *form.constants()) if c not in found]
        self._data = [c for c in found if c not in ignored]
        self.has_functions = any(isinstance(c, fem.Function) for c in self._data)
        self._old = [self._value(c).copy() for c in self._data]

    @staticmethod
    def _value(data: Any) -> npt.NDArray[np.float64]:
        return data.x.array if isinstance(data, fem.Function) else np.asarray(data.value)

    def names(self) -> list[str]:
        """Return the names of the data whose values differ on this rank from those remembered."""
        return [
            str(getattr(c, "name", c))
            for c, old in zip(self._data, self._old, strict=True)
            if not same(self._value(c), old)
        ]

    def changed(self) -> bool:
        """Whether a value differs on this rank from that remembered.

        Constants are the same on all ranks, values of functions may change on one of them: the
        caller exchanges the answers where ``has_functions``.
        """
        return any(
            not same(self._value(c), old) for c, old in zip(self._data, self._old, strict=True)
        )

    def remember(self) -> None:
        """Take the values as they are now for those that were read."""
        for index, data in enumerate(self._data):
            self._old[index] = self._value(data).copy()
