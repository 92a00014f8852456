# SPDX-License-Identifier: LGPL-3.0-or-later
"""The boundary operator on disk: named by what it was made of, checked before it is believed.

A file is a line of JSON (key, accuracy met, blocks, type and checksum of what follows), the blocks
(int32, five numbers each), their ranks (int32) and their entries. Rank 0 reads and writes; any
number of ranks can use what any number has written.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import numpy.typing as npt

from dolfinx_llg.checks import warn
from dolfinx_llg.collective import from_root
from dolfinx_llg.files import write_atomically

__all__ = ["Blocks", "key_of", "lengths_of", "read", "write"]

#: (blocks of shape (n, 5), ranks of shape (n,), entries of each block)
type Blocks = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], list[npt.NDArray[Any]]]


def key_of(parts: Iterable[object]) -> str:
    """Return a digest of arrays (to the last bit) and of whatever else has a ``repr``."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()


def _path(folder: Path, key: str) -> Path:
    return folder / f"stray_field_{key[:24]}.bin"


def lengths_of(
    blocks: npt.NDArray[np.int32], ranks: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """Return the entries of each block: all of a dense one, two factors of another."""
    m = (blocks[:, 1] - blocks[:, 0]).astype(np.int64)
    n = (blocks[:, 3] - blocks[:, 2]).astype(np.int64)
    return np.where(ranks < 0, m * n, ranks * (m + n))


def write(folder: Path, key: str, comm: MPI.Comm, mine: Blocks, row_error: float) -> None:
    """Write the blocks of all ranks; a folder that takes no files costs a warning.

    Collective.
    """
    parts = comm.gather(mine, root=0) or []

    def save() -> str | None:
        blocks, ranks = (np.concatenate([part[i] for part in parts]) for i in range(2))
        pieces = [piece for part in parts for piece in part[2]]
        body = [blocks.tobytes(), ranks.tobytes(), *(piece.tobytes() for piece in pieces)]
        header = {"key": key, "row_error": row_error, "blocks": len(blocks)}
        header |= {"type": str(pieces[0].dtype), "checksum": _checksum(body)}
        path = _path(folder, key)
        body.insert(0, json.dumps(header).encode() + b"\n")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, lambda file: file.writelines(body))
        except OSError as error:
            return f"the stray field is not kept in {path}: {error.strerror or error}"
        return None

    message = from_root(comm, save)
    if message:
        warn(message)


def _checksum(pieces: Sequence[bytes | memoryview]) -> int:
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return checksum


def read(folder: Path, key: str, comm: MPI.Comm) -> tuple[Blocks, float] | None:
    """Return all blocks on rank 0 (none elsewhere) and the accuracy met, or None on all ranks.

    None where there is no file. One of another mesh, of other parameters or with a wrong checksum
    is not believed, which costs a warning, and will be written anew.

    Collective.
    """
    path = _path(folder, key)
    kept: list[Blocks] = []

    def load() -> tuple[str | None, float | None]:
        try:
            with path.open("rb") as file:
                header = json.loads(file.readline())
                body = file.read()
            if header["key"] != key:
                return "belongs to another mesh or other parameters", None
            if zlib.crc32(body) != header["checksum"]:
                return "is damaged", None
            n = int(header["blocks"])
            blocks = np.frombuffer(body, np.int32, 5 * n).reshape(n, 5)
            ranks = np.frombuffer(body, np.int32, n, 20 * n)
            entries = np.frombuffer(body, np.dtype(header["type"]), offset=24 * n)
            places = np.cumsum(lengths_of(blocks, ranks))[:-1]
            kept.append((blocks, ranks, np.split(entries, places)))
            return None, float(header["row_error"])
        except (FileNotFoundError, NotADirectoryError):
            return None, None
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"cannot be read ({error})", None

    message, row_error = from_root(comm, load)
    if message:
        warn(f"the file {path} {message}: the stray field is built anew")
    if row_error is None:
        return None
    nothing: Blocks = (np.zeros((0, 5), np.int32), np.zeros(0, np.int32), [])
    return (kept[0] if kept else nothing), row_error
