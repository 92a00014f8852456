# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs that are told to end leave a checkpoint, rows up to it, and an exit code; then go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.output import read_csv

RUN = """
from mpi4py import MPI
import os, sys, time
from dolfinx import mesh
import dolfinx_llg as llg
llg.abort_on_error()
folder, comm = sys.argv[1], MPI.COMM_WORLD
m = llg.magnetization(mesh.create_unit_interval(comm, 8), (1, 0, 0.1))
energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman((0, 0, 1))])
step = llg.gao(energy, m, dt=0.01, damping=0.5)
path = folder + "/run.npz"
resume = llg.read_checkpoint(path, m) if os.path.exists(path) else None
with llg.CSVWriter(folder + "/run.csv", comm, resume=resume) as rows:
    states = llg.march(step, t_end=float(sys.argv[2]), resume=resume, progress=False)
    for state in llg.until_stopped(states, path):
        rows.write({"t": state.t, "n": state.n})
        if comm.rank == 0 and state.n == 3:
            print("three", os.getpid(), flush=True)
        if state.n >= 3 and float(sys.argv[2]) > 1:
            time.sleep(0.05)
print("done", flush=True)
"""


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_on_one_rank_ends_all_with_a_checkpoint(tmp_path, jobs, ranks, number):
    job = jobs.start(RUN, tmp_path, 1000.0, ranks=ranks)
    line = job.stdout.readline()
    while "three" not in line:
        assert line, "the run has ended"
        line = job.stdout.readline()
    os.kill(int(line.split()[1]), number)
    said = jobs.end(job)
    assert job.returncode == 128 + number, said
    assert f"{number.name}: the run ends at t =" in said
    m = llg.magnetization(mesh.create_unit_interval(jobs_comm(), 8), (1, 0, 0))
    state = llg.read_checkpoint(tmp_path / "run.npz", m)
    assert state.n >= 3
    rows = read_csv(tmp_path / "run.csv")
    assert rows[-1] == {"t": state.t, "n": state.n}
    # And it goes on: to a time that is near, without a gap.
    code, said = jobs.run(RUN, tmp_path, state.t + 0.05, ranks=ranks)
    assert code == 0, said
    rows = read_csv(tmp_path / "run.csv")
    assert [row["n"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["t"] == pytest.approx(state.t + 0.05)
    assert llg.read_checkpoint(tmp_path / "run.npz", m).t == rows[-1]["t"]


def jobs_comm():
    from mpi4py import MPI

    return MPI.COMM_SELF


def test_the_job_script_goes_on_by_itself(tmp_path, jobs):
    """Without SLURM and without a container: told to end, it asks for the queue and ends well."""
    script = Path(__file__).parents[2] / "docker" / "job.sh"
    run, asked = tmp_path / "run.py", tmp_path / "asked"
    run.write_text(RUN)
    environment = os.environ | {
        "LAUNCH": "", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "42",
        "REQUEUE": str(tmp_path / "requeue"), "PYTHONPATH": str(Path(llg.__file__).parents[1]),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    (tmp_path / "requeue").write_text(f'#!/bin/sh\necho "$1" > {asked}\n')
    (tmp_path / "requeue").chmod(0o755)
    job = subprocess.Popen(
        ["bash", str(script), str(run), str(tmp_path), "1000"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        while "three" not in (line := job.stdout.readline()):
            assert line, "the run has ended"
        job.send_signal(signal.SIGTERM)
        said = job.communicate(timeout=120)[0]
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode == 0, said
    assert "enters the queue again" in said
    assert asked.read_text() == "42\n"
    m = llg.magnetization(mesh.create_unit_interval(jobs_comm(), 8), (1, 0, 0))
    assert llg.read_checkpoint(tmp_path / "run.npz", m).n >= 3


def test_the_signals_are_given_back(comm, shared_tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    m = llg.magnetization(mesh.create_unit_interval(comm, 8), (1, 0, 0.1))
    step = llg.gao(llg.Energy([llg.Zeeman((0, 0, 1))]), m, dt=0.01, damping=0.5)
    path = shared_tmp_path / "run.npz"
    states = llg.until_stopped(llg.march(step, t_end=0.03, progress=False), path, every=1e-9)
    times = [state.t for state in states]
    assert times == pytest.approx([0.01, 0.02, 0.03])
    assert llg.read_checkpoint(path, m).n == 3
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    with pytest.raises(ValueError, match="every must be positive"):
        llg.until_stopped(states, path, every=0.0)
    assert np.isfinite(m.x.array).all()
