# SPDX-License-Identifier: LGPL-3.0-or-later
"""Files of a run: whole or not at all, one writer each, and clear words for damaged ones.

All of this is for one process (rank 0, through ``collective.on_root``).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import shutil
import socket
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

__all__ = ["claim", "load_arrays", "named", "release", "require_space", "write_atomically"]

#: Lock files held by this process, by the path that they guard.
_held: dict[Path, IO[str]] = {}
#: Bytes that stay free beside what a write needs: metadata, and what others write meanwhile.
_RESERVE = 1 << 20


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file aside, flush it to the disk and rename it: the old file or the new, whole.

    The name aside is this process's own; what killed processes left aside is removed.

    Raises:
        OSError: If the disk is full, say; the old file is left.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(path))
    _sweep(path)
    aside = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with aside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise named(error, path) from error
        raise
    # The rename itself is on the disk only when the folder is.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def named(error: OSError, path: Path) -> OSError:
    """Return an error of the system with the file that it is about (a full disk names none)."""
    if error.errno is None or error.filename is not None:
        return error
    return OSError(error.errno, error.strerror, str(path))


def _sweep(path: Path) -> None:
    """Remove what writers of the file that are dead, on this host, left aside."""
    host = socket.gethostname()
    for old in path.parent.glob(f".{path.name}.{host}.*.tmp"):
        number = old.name.split(".")[-2]
        if number.isdigit() and int(number) != os.getpid() and not _alive(int(number)):
            with contextlib.suppress(OSError):
                old.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def claim(path: Path) -> None:
    """Make this process the only writer of a file, until ``release`` or its end.

    Raises:
        OSError: If a living process writes the file: two runs in one folder.
    """
    path = path.absolute()
    if path in _held:
        return
    lock = path.with_name(f".{path.name}.lock")
    while True:
        file = lock.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another process"
            file.close()
            raise OSError(
                f"{path} is being written by {owner}: two runs in one folder would destroy each "
                "other's results; end that run, or choose another folder"
            ) from None
        except OSError:  # a file system without locks
            file.close()
            return
        # The owner before may have removed the file between our opening and locking it.
        with contextlib.suppress(OSError):
            if os.stat(lock).st_ino == os.fstat(file.fileno()).st_ino:
                break
        file.close()
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    _held[path] = file


def release(path: Path) -> None:
    """Let other processes write a file that this one has claimed."""
    file = _held.pop(path.absolute(), None)
    if file is not None:
        with contextlib.suppress(OSError):
            os.unlink(file.name)
        file.close()


@atexit.register
def _release_all() -> None:
    for path in list(_held):
        release(path)


def require_space(folder: Path, size: int) -> None:
    """Raise OSError unless a file of a size in bytes fits on the disk of a folder."""
    free = shutil.disk_usage(folder).free
    if free < size + _RESERVE:
        raise OSError(
            f"no space left in {folder}: {size / 2**20:.1f} MB are to be written, "
            f"{free / 2**20:.1f} MB are free"
        )


def load_arrays(path: Path, what: str) -> dict[str, npt.NDArray[Any]]:
    """Return the content of an ``.npz`` file.

    Args:
        path: The file.
        what: What it should be, for the message.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, damaged or none.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no {what} {path}")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            # Reading an entry checks its CRC.
            return {key: file[key] for key in file.files}
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        EOFError,
        KeyError,
        TypeError,
        AttributeError,
        NotImplementedError,
        MemoryError,
        OSError,
    ) as error:
        raise ValueError(f"{path} is truncated, damaged or no {what}: {error}") from error
