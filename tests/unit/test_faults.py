# SPDX-License-Identifier: LGPL-3.0-or-later
"""Faults from outside: full disks, two runs in one folder, what killed runs leave behind.

Jobs that die of errors and exits are in ``test_collective``, files that are killed while they are
written in ``test_checkpoint``.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg


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
assert refused == 4 * [True], refused
ranks = comm.allreduce(1)
if comm.rank == 0:
    print(f"refused on {ranks} rank(s)", flush=True)
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_full_disk_is_an_error_on_all_ranks(small_disk, jobs, ranks):
    code, said = jobs.run(FILL, small_disk, ranks=ranks)
    assert code == 0, said
    # Neither deadlock nor abort: the field, its end, the checkpoint and the rows are refused.
    assert f"refused on {ranks} rank(s)" in said


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


def test_two_runs_in_one_folder(tmp_path, jobs, comm):
    other = jobs.start(RUN, tmp_path)
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


LONG_RUN = """
from mpi4py import MPI
import os, sys, time
from pathlib import Path
import numpy as np
from dolfinx import mesh
import dolfinx_llg as llg
llg.abort_on_error()
folder, comm, slow = Path(sys.argv[1]), MPI.COMM_WORLD, "slow" in sys.argv
msh = mesh.create_unit_square(comm, 4, 4)
m = llg.magnetization(msh, lambda x: np.array([1 + 0 * x[0], 3 * x[1], x[0] * x[1]]))
step = llg.gao(llg.Energy([llg.Exchange(1.0)]), m, dt=1e-4, damping=0.5)
begun = (folder / "run.npz").exists()
comm.barrier()
resume = llg.read_checkpoint(folder / "run.npz", m) if begun else None
with llg.CSVWriter(folder / "run.csv", comm, resume=resume) as rows:
    for state in llg.march(step, t_end=15e-4, resume=resume, progress=False):
        energy = step.energy.total(m)
        rows.write({"t": state.t, "n": state.n, "energy": energy})
        llg.write_checkpoint(folder / "run.npz", state)
        pids = comm.gather(os.getpid())
        if comm.rank == 0 and slow:
            print(f"{state.n} {pids[-1]}\\n", end="", flush=True)
            time.sleep(0.02)
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_is_ended_goes_on_to_the_last_bit(tmp_path, jobs, ranks):
    """SIGKILL on one rank (as of a kernel without memory), SIGTERM and Ctrl-C on the job."""
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
    code, said = jobs.run(LONG_RUN, tmp_path / "whole", ranks=ranks)
    assert code == 0, said
    moment, done = random.Random(ranks), 0
    # On 2 ranks SIGINT and SIGTERM end the job in the same way.
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[: 4 - ranks]:
        job = jobs.start(LONG_RUN, tmp_path / "pieces", "slow", ranks=ranks)
        for line in job.stdout:
            if line[0].isdigit():  # no warning
                n, last = map(int, line.split())
                assert n > done  # goes on where it ended
                if n >= done + 3:
                    break
        done = n
        time.sleep(moment.uniform(0.0, 0.05))
        if number == signal.SIGKILL:
            os.kill(last, number)
        else:
            job.send_signal(number)
        jobs.end(job)
        assert job.returncode != 0
    code, said = jobs.run(LONG_RUN, tmp_path / "pieces", ranks=ranks)
    assert code == 0, said
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert (whole / "run.csv").read_text() == (pieces / "run.csv").read_text()
    with np.load(whole / "run.npz") as expected, np.load(pieces / "run.npz") as found:
        assert found["n"] == 15
        for key in expected.files:
            np.testing.assert_array_equal(found[key], expected[key])


def test_nothing_wrong_replaces_a_checkpoint(shared_tmp_path, comm):
    path = shared_tmp_path / "run.npz"
    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (1, 0, 0))
    llg.write_checkpoint(path, llg.State(0.5, 3, m, 0.1))
    for name, value in (("t", np.nan), ("n", -1), ("n", 1.5), ("dt", 0.0), ("iterations", -2)):
        state = llg.State(0.5, 3, m, 0.1)
        setattr(state, name, value)
        with pytest.raises(ValueError, match=rf"run\.npz: {name} must be"):
            llg.write_checkpoint(path, state)
    bad = m.copy()
    if comm.rank == comm.size - 1:
        bad.x.array[:1] = np.nan
    with pytest.raises(ValueError, match="m or the history of the run is not finite at a node"):
        llg.write_checkpoint(path, llg.State(0.6, 4, bad, 0.1))
    assert llg.read_checkpoint(path, m).n == 3


FAILING = """
from mpi4py import MPI
import sys
import numpy as np
from dolfinx import mesh
import dolfinx_llg as llg
from dolfinx_llg.grps import coarse_basis, refine_mesh
from dolfinx_llg.reduction import hyper_reduce, tensor_reduce
llg.abort_on_error()
comm, folder, kind = MPI.COMM_WORLD, sys.argv[1], sys.argv[2]
h = refine_mesh(mesh.create_unit_square(comm, 2, 2), 2)
m = llg.magnetization(h.fine, lambda x: np.array([1 + 0 * x[0], 3 * x[1], x[0] * x[1]]))
field = llg.Zeeman((0.0, 0.0, 0.1))
energy = llg.Energy([llg.Exchange(1.0), field])
step, options = llg.gao(energy, m, dt=1e-3, damping=0.5), {"progress": False}
basis = coarse_basis(energy, h, ell=1) if kind in ("coarse", "hyper", "tensor") else None
if kind == "coarse":
    options["basis"] = basis
elif kind == "hyper":
    step = hyper_reduce(step, basis, h, t_train=2e-3)
elif kind == "tensor":
    step = tensor_reduce(llg.gao, energy, m, basis, h, dt=1e-3, damping=0.5)

def look():
    if comm.rank == 1:
        raise ZeroDivisionError("mine")
    comm.barrier()

if comm.rank == 0:
    print("ready\\n", end="", flush=True)
if kind == "descent":
    for state in llg.minimise_steps(energy, m):
        look()
elif kind == "loop":
    for state in llg.hysteresis(energy, m, field, [0.1, -0.1]):
        look()
elif kind == "picture":
    with llg.plot.Animation(folder + "/m.gif", m) as pictures:
        look()
elif kind == "file":
    with llg.FieldWriter(folder + "/m.bp", m) as fields:
        for state in llg.march(step, t_end=5e-3, **options):
            fields.write(state.t)
            look()
else:
    for state in llg.march(step, t_end=5e-3, **options):
        if state.n == 2:
            look()
"""


@pytest.mark.parametrize(
    "kind", ["coarse", "hyper", "tensor", "descent", "loop", "picture", "file"]
)
def test_an_error_of_one_rank_in_a_loop_ends_the_job(tmp_path, jobs, kind):
    """Nothing that runs on the way out of the loop waits for the other ranks."""
    job = jobs.start(FAILING, tmp_path, kind, ranks=2)
    for line in job.stdout:
        if line.strip() == "ready":
            break
    begin = time.monotonic()
    said = jobs.end(job)
    assert job.returncode != 0
    assert "ZeroDivisionError: mine" in said
    assert "rank 1 ends the job" in said
    # Seconds (3 for a file, whose ranks might all be leaving), more on a busy machine; without
    # care for ever, or the minute after which a guard gives up.
    assert time.monotonic() - begin < 45.0
