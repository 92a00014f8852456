# SPDX-License-Identifier: LGPL-3.0-or-later
"""C kernels of the package, compiled at first use and kept, one library per kind of CPU.

The compiler is the one that FFCx needs anyway (``CC``, or cc). A library goes to
``$DOLFINX_LLG_CACHE``, else to ``$XDG_CACHE_HOME/dolfinx_llg`` or ``~/.cache/dolfinx_llg``, under a
name made of the source, the flags, the compiler and the CPU: a home shared by unlike nodes is safe.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

import cffi

__all__ = ["Kernels"]

logger = logging.getLogger(__name__)


def _cpu() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kinds = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    found = sorted({line for line in lines if line.split("\t")[0].split(":")[0].strip() in kinds})
    return "\n".join([platform.machine(), *found])


def _folder() -> Path:
    given = os.environ.get("DOLFINX_LLG_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "dolfinx_llg"


class Kernels:
    """A library of C functions.

    Args:
        name: Name of the library, the first part of its file's.
        purpose: Who compiles and what for, the subject of an error's sentence.
        files: C files, one unit after the other: the compiler sees them as one file.
        declarations: What cffi is told of them.
        flags: Flags of the compiler, the first choice first; the first that works is taken.
    """

    def __init__(
        self,
        name: str,
        purpose: str,
        files: Sequence[Path],
        declarations: str,
        flags: Sequence[Sequence[str]],
    ) -> None:
        self.name, self._purpose, self._files = name, purpose, files
        self._declarations, self._flags = declarations, [list(choice) for choice in flags]
        self.loaded: tuple[cffi.FFI, Any] | None = None

    def source(self) -> str:
        """Return the C code of all kernels."""
        return "".join(f'#line 1 "{file.name}"\n{file.read_text()}' for file in self._files)

    def _compiler(self) -> list[str]:
        command = shlex.split(os.environ.get("CC", "")) or ["cc"]
        if shutil.which(command[0]) is None:
            command = ["gcc"]
        if shutil.which(command[0]) is None:
            raise RuntimeError(
                f"{self._purpose} with a C compiler, as DOLFINx does its forms, "
                "and finds none: install one (Debian: apt-get install gcc libc6-dev), or set CC"
            )
        return command

    def _library(self) -> Path:
        """Where the library of this CPU, compiler and source is, or will be."""
        compiler = self._compiler()
        version = subprocess.run(
            [*compiler, "--version"], capture_output=True, text=True, check=False
        )
        parts = (self.source(), repr(self._flags), repr(compiler), version.stdout, _cpu())
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
        return _folder() / f"{self.name}_{digest}.so"

    def _build(self, library: Path) -> None:
        """Compile and link in a folder of its own, then move: nobody sees half a library."""
        library.parent.mkdir(parents=True, exist_ok=True)
        compiler, message = self._compiler(), ""
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            code = Path(folder, "kernels.c")
            code.write_text(self.source())
            built, shared = Path(folder, "kernels.o"), Path(folder, library.name)
            for flags in self._flags:
                for call in (
                    [*compiler, *flags, "-c", str(code), "-o", str(built)],
                    [*compiler, "-shared", str(built), "-o", str(shared), "-lm"],
                ):
                    done = subprocess.run(call, capture_output=True, text=True, check=False)
                    if done.returncode:
                        message = f"{shlex.join(call)}\n{done.stderr.strip()}"
                        logger.info("the kernels do not compile with %s: %s", flags, done.stderr)
                        break
                else:
                    os.replace(shared, library)
                    return
        raise RuntimeError(f"the kernels of {self.name} do not compile: {message}")

    def load(self, comm: MPI.Comm) -> tuple[cffi.FFI, Any]:
        """Return (ffi, library), compiled by one rank of each node if it is not there yet.

        Collective.

        Raises:
            RuntimeError: On all ranks, if one of them cannot compile or load the library.
        """
        if all(comm.allgather(self.loaded is not None)):
            assert self.loaded is not None
            return self.loaded
        node = comm.Split_type(MPI.COMM_TYPE_SHARED)
        message, library = None, None
        try:
            library = self._library()
            if node.rank == 0 and not library.exists():
                self._build(library)
        except (OSError, RuntimeError) as error:
            message = str(error)
        node.Barrier()
        node.Free()
        if message is None and self.loaded is None:
            ffi = cffi.FFI()
            ffi.cdef(self._declarations)
            try:
                self.loaded = (ffi, ffi.dlopen(str(library)))
            except OSError as error:
                message = str(error)
        failures = [text for text in comm.allgather(message) if text is not None]
        if failures:
            raise RuntimeError(failures[0])
        assert self.loaded is not None
        return self.loaded
