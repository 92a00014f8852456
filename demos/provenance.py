# SPDX-License-Identifier: LGPL-3.0-or-later
"""When and on what the figures of a demo were computed, for its JSON file."""

import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

from mpi4py import MPI

import dolfinx

import dolfinx_llg as llg


def made() -> dict[str, Any]:
    """Return when, on what (rank 0's) and in how much memory something was computed. Collective."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": names[0] if names else platform.machine(),
        "cores": len(names) or os.cpu_count(),
        "dolfinx": dolfinx.__version__,
        "dolfinx_llg": llg.__version__,
        "memory_gb": memory_gb(),
    }


def memory_gb() -> float:
    """Return the largest memory that the ranks have held so far, in GiB, added up. Collective."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(MPI.COMM_WORLD.allreduce(own)) / 2**20
