# SPDX-License-Identifier: LGPL-3.0-or-later
"""Faults from outside: full disks, two runs in one folder, what killed runs leave behind.

Jobs that die of errors and signals are in ``test_collective``, SIGKILL and restart in
``test_checkpoint``.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg

WORLD = Path(llg.__file__).parent.parent


@pytest.fixture
def small_disk(tmp_path, comm):
    """A disk of 2 MB."""
    if comm.size > 1:
        pytest.skip("starts its own ranks")
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mount.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


FILL = """
from mpi4py import MPI
import sys
from dolfinx import mesh
import dolfinx_llg as llg
llg.abort_on_error()
folder, comm = sys.argv[1], MPI.COMM_WORLD
m = llg.magnetization(mesh.create_unit_square(comm, 40, 40), (1, 0, 0))
state = llg.State(0.0, 0, m, 0.1)
llg.write_checkpoint(folder + "/run.npz", state)
fields = llg.FieldWriter(folder + "/m.bp", m)
rows = llg.CSVWriter(folder + "/run.csv", comm)
fields.write(0.0)
if comm.rank == 0:
    try:
        with open(folder + "/others", "wb") as file:
            while True:
                file.write(b"0" * 4096)
                file.flush()
    except OSError:
        pass
comm.barrier()
refused = []
for write in (
    lambda: fields.write(1.0),
    fields.close,
    lambda: llg.write_checkpoint(folder + "/run.npz", state),
    lambda: [rows.write({"t": 1.0 * i, "x" * 200: 1 / 3}) for i in range(300)],
):
    try:
        write()
    except OSError as error:
        refused.append(folder in str(error))
assert llg.read_checkpoint(folder + "/run.npz", m).n == 0
print("refused", refused, flush=True)
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_full_disk_is_an_error_on_all_ranks(small_disk, ranks):
    command = [sys.executable, "-c", FILL, str(small_disk)]
    mpirun = Path(sys.executable).with_name("mpirun")
    if ranks > 1:
        if not mpirun.exists():
            pytest.skip("no mpirun beside Python")
        command = [str(mpirun), "-n", str(ranks), *command]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PMI")}
    environment["PYTHONPATH"] = str(WORLD)
    job = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200, env=environment
    )
    assert job.returncode == 0, job.stdout + job.stderr
    # Neither deadlock nor abort: the field, its end, the checkpoint and the rows are refused.
    # Two ranks may write into each other's lines.
    assert job.stdout.count("[True, True, True, True]") == ranks, job.stdout


RUN = """
from mpi4py import MPI
import sys
from dolfinx import mesh
import dolfinx_llg as llg
m = llg.magnetization(mesh.create_unit_square(MPI.COMM_WORLD, 2, 2), (1, 0, 0))
llg.write_checkpoint(sys.argv[1] + "/run.npz", llg.State(0.0, 0, m, 0.1))
rows = llg.CSVWriter(sys.argv[1] + "/run.csv", MPI.COMM_WORLD)
fields = llg.FieldWriter(sys.argv[1] + "/m.bp", m)
print("writing", flush=True)
sys.stdin.read()
"""


def test_two_runs_in_one_folder(tmp_path, comm):
    if comm.size > 1:
        pytest.skip("starts its own process")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PMI")}
    other = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment | {"PYTHONPATH": str(WORLD)},
    )  # fmt: skip
    try:
        assert other.stdout.readline().strip() == "writing"
        m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (1, 0, 0))
        state = llg.State(0.0, 7, m, 0.1)
        for write in (
            lambda: llg.write_checkpoint(tmp_path / "run.npz", state),
            lambda: llg.CSVWriter(tmp_path / "run.csv", comm),
            lambda: llg.FieldWriter(tmp_path / "m.bp", m),
        ):
            with pytest.raises(OSError, match=f"being written by process {other.pid} on"):
                write()
        assert llg.read_checkpoint(tmp_path / "run.npz", m).n == 0
    finally:
        other.send_signal(signal.SIGKILL)
        other.communicate()
    # A dead run holds nothing, and what it left aside goes with the next write.
    left = tmp_path / f".run.npz.{socket.gethostname()}.{other.pid}.tmp"
    left.write_bytes(b"half a file")
    llg.write_checkpoint(tmp_path / "run.npz", state)
    assert llg.read_checkpoint(tmp_path / "run.npz", m).n == 7
    assert not left.exists()
    with llg.CSVWriter(tmp_path / "run.csv", comm) as rows:
        rows.write({"t": 0.0})


def test_nothing_wrong_replaces_a_checkpoint(shared_tmp_path, comm):
    path = shared_tmp_path / "run.npz"
    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (1, 0, 0))
    llg.write_checkpoint(path, llg.State(0.5, 3, m, 0.1))
    for name, value in (("t", np.nan), ("n", -1), ("n", 1.5), ("dt", 0.0), ("iterations", -2)):
        state = llg.State(0.5, 3, m, 0.1)
        setattr(state, name, value)
        with pytest.raises(ValueError, match=rf"run\.npz: {name} must be"):
            llg.write_checkpoint(path, state)
    assert llg.read_checkpoint(path, m).n == 3
