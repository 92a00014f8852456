# SPDX-License-Identifier: LGPL-3.0-or-later
"""The values of a PETSc matrix of 3 x 3 blocks (BAIJ), written in place.

petsc4py hands out no arrays of such matrices; the library's own functions do. A build that hides
them has ``available`` say so, and the caller sets values in the usual way.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from petsc4py import PETSc

__all__ = ["addresses", "available"]


@cache
def _library() -> Any:
    """The library that petsc4py is linked with, or None if it does not show what is needed."""
    try:
        library = ctypes.CDLL(sys.modules["petsc4py.PETSc"].__file__)
        pointer = ctypes.c_void_p
        address = ctypes.POINTER(pointer)
        library.MatSeqBAIJGetArray.argtypes = [pointer, address]
        library.MatSeqBAIJRestoreArray.argtypes = [pointer, address]
        library.MatMPIBAIJGetSeqBAIJ.argtypes = [pointer, address, address, pointer]
    except (AttributeError, KeyError, OSError):
        return None
    return library


def available(A: PETSc.Mat) -> bool:
    """Whether ``addresses`` takes this matrix."""
    return (
        A.getType() in ("seqbaij", "mpibaij") and A.getBlockSize() == 3 and _library() is not None
    )


def _call(function: Any, *arguments: Any) -> None:
    code = function(*arguments)
    if code:
        raise RuntimeError(f"PETSc's {function.__name__} failed with the error code {code}")


@contextmanager
def addresses(A: PETSc.Mat) -> Iterator[list[int]]:
    """Lend the addresses of the values of the local and of the other columns (0: none).

    Blocks stand in the order of rows, in a row of ascending global columns; in a block column by
    column.
    """
    library, pointer = _library(), ctypes.c_void_p
    parts = [pointer(A.handle)]
    if A.getType() == "mpibaij":
        parts = [pointer(), pointer()]
        found = [ctypes.byref(part) for part in parts]
        _call(library.MatMPIBAIJGetSeqBAIJ, pointer(A.handle), *found, None)
    arrays = [pointer() for _ in parts]
    for part, array in zip(parts, arrays, strict=True):
        _call(library.MatSeqBAIJGetArray, part, ctypes.byref(array))
    try:
        yield [array.value or 0 for array in arrays]
    finally:
        for part, array in zip(parts, arrays, strict=True):
            _call(library.MatSeqBAIJRestoreArray, part, ctypes.byref(array))
        A.stateIncrease()
