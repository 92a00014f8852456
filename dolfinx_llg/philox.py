# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Counter-based random numbers on arrays: Philox4x32-10, and normal variates from it.

A block of random bits is a function of a key and a counter, without a state: the numbers of a node
in a step do not depend on which rank asks for them, in which order, or whether the run was stopped
and restarted in between.

Source: Salmon, Moraes, Dror, Shaw, Proc. SC'11, article 16 (2011); normal variates by Box and
Muller, Ann. Math. Stat. 29 (1958) 610.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["normals", "philox"]

type Words = npt.NDArray[np.uint64]

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10
_CHUNK = 1 << 14
"""Blocks worked on at a time: their arrays stay in the cache."""


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, ...]:
    """Return the four words of each block of Philox4x32-10.

    Args:
        counter: Four arrays of one shape, words of 32 bits held in 64.
        key: Two words of 32 bits.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0 = (p1 >> _HALF) ^ c1 ^ np.uint64(k0)
        c2 = (p0 >> _HALF) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & _MASK, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def normals(
    seed: int, numbers: npt.NDArray[np.int64], first: int, count: int = 1
) -> npt.NDArray[np.float64]:
    """Return three normal variates of each node in each step, shape (count, n, 3).

    Mean 0, variance 1, independent; the words have 32 bits, so that none exceeds 6.66 (beyond
    which a normal variate lies once in 4e10 draws).

    Args:
        seed: Key, in [0, 2^64).
        numbers: Number of each node, at least 0.
        first: Number of the first step.
        count: How many steps.
    """
    steps = np.arange(first, first + count, dtype=np.uint64)[:, None]
    shape = (count, len(numbers))
    node = np.broadcast_to(numbers.astype(np.uint64), shape).ravel()
    step = np.broadcast_to(steps, shape).ravel()
    key = seed & 0xFFFFFFFF, seed >> 32
    out = np.empty((node.size, 3))
    for start in range(0, node.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        n, s = node[part], step[part]
        a, b, c, d = philox((n & _MASK, n >> _HALF, s & _MASK, s >> _HALF), key)
        for word, angle, columns in ((a, b, (0, 1)), (c, d, (2,))):
            radius = np.sqrt(-2.0 * np.log((word + np.uint64(1)) * 2.0**-32))
            turn = angle * (2.0 * np.pi * 2.0**-32)
            for column in columns:
                out[part, column] = radius * (np.sin(turn) if column == 1 else np.cos(turn))
    return out.reshape(*shape, 3)
