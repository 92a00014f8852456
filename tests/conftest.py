# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fixtures shared by all tests; every test runs on 1, 2 and 3 ranks."""

from mpi4py import MPI  # isort: skip  (first: see dolfinx_llg/__init__.py)

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def comm() -> MPI.Intracomm:
    """Communicator of the meshes."""
    return MPI.COMM_WORLD


@pytest.fixture
def shared_tmp_path(tmp_path: Path) -> Path:
    """One temporary folder for all ranks (rank 0's)."""
    return MPI.COMM_WORLD.bcast(tmp_path, root=0)


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    # Destructors of PETSc objects are collective: keep them in step on all ranks.
    yield
    gc.collect()
    MPI.COMM_WORLD.Barrier()
