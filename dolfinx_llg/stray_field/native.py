# SPDX-License-Identifier: LGPL-3.0-or-later
"""The C kernels of the stray field, compiled at first use and kept, one library per kind of CPU.

The compiler is the one that FFCx needs anyway (``CC``, or cc). The library goes to
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
from pathlib import Path
from typing import Any

from mpi4py import MPI

import cffi

__all__ = ["load", "source"]

logger = logging.getLogger(__name__)

#: One unit after the other: the compiler sees them as one file.
FILES = ("types", "triangles", "near", "entries", "blocks", "products")
# What this CPU has; else what every compiler and CPU takes. Never -ffast-math in the linker's call:
# before GCC 13 it links code that sets flush-to-zero for the whole process.
FLAGS = (
    ["-std=gnu11", "-O3", "-march=native", "-ffast-math", "-fPIC"],
    ["-std=gnu11", "-O3", "-ffast-math", "-fPIC"],
    ["-O2", "-fPIC"],
)
DECLARATIONS = """
typedef struct {
  int32_t nodes, points, triangles;
  const double *x, *y, *z;
  const int32_t *node_ptr, *node_point; const double *node_weight;
  const int32_t *corner_node; const double *corners, *centre, *size;
  const int32_t *tri_ptr, *node_tri;
  const int64_t *near_ptr; const int32_t *near_node; const double *near_value;
} surface;
typedef struct {
  const double *centre, *radius, *size; const int32_t *children, *range, *order;
} ball_tree;
int llg_near_pattern(const surface *, const ball_tree *, double ratio, int32_t first, int32_t last,
                     int64_t *ptr, int32_t *columns);
int llg_near_values(const surface *, const ball_tree *, double ratio, int32_t first, int32_t last,
                    const int64_t *ptr, const int32_t *columns, int32_t points, const double *rule,
                    int32_t fine_points, const double *fine, double *values);
int llg_rows(const surface *, int32_t n, const int32_t *rows, double *out);
int llg_build(const surface *, int32_t blocks, const int32_t *block, double eps, int mixed,
              int single, void *out, int64_t capacity, int64_t *length, int32_t *rank);
int llg_apply(const void *data, int single, int32_t blocks, const int32_t *block,
              const int32_t *rank, int32_t width, const double *x, double *y);
int llg_field(int32_t points, const double *at, int32_t first, int32_t last, const double *corners,
              const double *sigma, double *out);
"""

_loaded: list[tuple[cffi.FFI, Any]] = []


def source() -> str:
    """Return the C code of all kernels."""
    folder = Path(__file__).with_name("kernels")
    texts = ((folder / f"{name}.c").read_text() for name in FILES)
    return "".join(f'#line 1 "{name}.c"\n{text}' for name, text in zip(FILES, texts, strict=True))


def _cpu() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    kinds = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    found = sorted({line for line in lines if line.split("\t")[0].split(":")[0].strip() in kinds})
    return "\n".join([platform.machine(), *found])


def _compiler() -> list[str]:
    command = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(command[0]) is None:
        command = ["gcc"]
    if shutil.which(command[0]) is None:
        raise RuntimeError(
            "the stray field compiles its kernels with a C compiler, as DOLFINx does its forms, "
            "and finds none: install one (Debian: apt-get install gcc libc6-dev), or set CC"
        )
    return command


def _folder() -> Path:
    given = os.environ.get("DOLFINX_LLG_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(given) if given else base / "dolfinx_llg"


def _library() -> Path:
    """Where the library of this CPU, compiler and source is, or will be."""
    compiler = _compiler()
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False)
    parts = (source(), repr(FLAGS), repr(compiler), version.stdout, _cpu())
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    return _folder() / f"stray_field_{digest}.so"


def _build(library: Path) -> None:
    """Compile and link in a folder of its own, then move: nobody sees half a library."""
    library.parent.mkdir(parents=True, exist_ok=True)
    compiler, message = _compiler(), ""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        code = Path(folder, "kernels.c")
        code.write_text(source())
        built, shared = Path(folder, "kernels.o"), Path(folder, library.name)
        for flags in FLAGS:
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
    raise RuntimeError(f"the kernels of the stray field do not compile: {message}")


def load(comm: MPI.Comm) -> tuple[cffi.FFI, Any]:
    """Return (ffi, library), compiled by one rank of each node if it is not there yet.

    Collective.

    Raises:
        RuntimeError: On all ranks, if one of them cannot compile or load the library.
    """
    if all(comm.allgather(bool(_loaded))):
        return _loaded[0]
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    message, library = None, None
    try:
        library = _library()
        if node.rank == 0 and not library.exists():
            _build(library)
    except (OSError, RuntimeError) as error:
        message = str(error)
    node.Barrier()
    node.Free()
    if message is None and not _loaded:
        ffi = cffi.FFI()
        ffi.cdef(DECLARATIONS)
        try:
            _loaded.append((ffi, ffi.dlopen(str(library))))
        except OSError as error:
            message = str(error)
    failures = [text for text in comm.allgather(message) if text is not None]
    if failures:
        raise RuntimeError(failures[0])
    return _loaded[0]
