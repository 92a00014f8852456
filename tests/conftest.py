# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fixtures shared by all tests; those of the package run on 1, 2 and 3 ranks."""

from mpi4py import MPI  # isort: skip  (first: see dolfinx_llg/__init__.py)

import contextlib
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dolfinx_llg

#: Seconds after which a job that a test has started counts as hung: what takes a second alone may
#: take a minute on a machine with other work, and a hang never ends.
LIMIT = 300.0


@pytest.fixture
def comm() -> MPI.Intracomm:
    """Communicator of the meshes."""
    return MPI.COMM_WORLD


@pytest.fixture
def shared_tmp_path(tmp_path: Path) -> Path:
    """One temporary folder for all ranks (rank 0's)."""
    return MPI.COMM_WORLD.bcast(tmp_path, root=0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that would show nothing new on so many ranks."""
    ranks = MPI.COMM_WORLD.size
    spared = [
        item
        for item in items
        if (mark := item.get_closest_marker("most_ranks")) and ranks > mark.args[0]
    ]
    if spared:
        config.hook.pytest_deselected(items=spared)
        items[:] = [item for item in items if item not in set(spared)]


def pytest_collection_finish() -> None:
    """Take what the imports have made out of the collections after each test: 80 ms of each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    # Destructors of PETSc objects are collective: keep them in step on all ranks.
    yield
    gc.collect()
    MPI.COMM_WORLD.Barrier()


def _hear_interrupts() -> None:
    """Let a job end at SIGINT, which shells have their background jobs, and so ours, ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Jobs:
    """Starts programs on ranks of their own, and ends those that a test leaves alive.

    The launcher mixes what ranks print at once, so let one rank print, or count words.
    """

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []
        self.mpirun = shutil.which("mpirun", path=str(Path(sys.executable).parent))

    def start(
        self, code: str, *arguments: object, ranks: int = 1, **environment: str
    ) -> subprocess.Popen[str]:
        """Start Python on some code; the standard output and errors come in one pipe."""
        command = [sys.executable, "-c", code, *map(str, arguments)]
        if ranks > 1:
            mpirun = self.mpirun or shutil.which("mpirun")
            if mpirun is None:
                pytest.skip("no mpirun")
            command = [mpirun, "-n", str(ranks), *command]
        # What a launcher has left in the environment must not reach another launcher.
        prefixes = ("PMI", "PMIX", "HYDRA", "HYDI", "MPI_LOCAL", "OMPI_COMM")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
        root = str(Path(dolfinx_llg.__file__).parents[1])
        job = subprocess.Popen(
            command,
            env=inherited | {"PYTHONPATH": root, "OMPI_MCA_rmaps_base_oversubscribe": "1"}
            | environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=_hear_interrupts,
        )  # fmt: skip
        self._started.append(job)
        return job

    def end(self, job: subprocess.Popen[str], limit: float = LIMIT) -> str:
        """Wait for the end of a job and return what it printed and was not read; no end fails."""
        try:
            return job.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            self.kill(job)
            pytest.fail(f"no end in {limit:g} s:\n{job.communicate()[0]}")

    def run(
        self, code: str, *arguments: object, ranks: int = 1, **environment: str
    ) -> tuple[int, str]:
        """Return the exit code of a job and what it printed."""
        job = self.start(code, *arguments, ranks=ranks, **environment)
        said = self.end(job)
        return job.returncode, said

    def kill(self, job: subprocess.Popen[str]) -> None:
        """End a job with all its ranks."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)

    def close(self) -> None:
        """End what is alive."""
        for job in self._started:
            if job.poll() is None:
                self.kill(job)
                job.communicate()


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """Programs that the test starts; only in runs on one rank, whose test this is."""
    if MPI.COMM_WORLD.size > 1:
        pytest.skip("starts its own ranks")
    started = Jobs()
    yield started
    started.close()
