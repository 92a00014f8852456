# SPDX-License-Identifier: LGPL-3.0-or-later
"""The guard: whatever fails on one rank alone is raised on all of them, class and text alike."""

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.collective import agree, from_root, on_root, together, total
from dolfinx_llg.errors import ConvergenceError


def failure(comm, error):
    """Raise the error on the last rank only, in a guard; return what each rank met."""
    with pytest.raises(Exception, match="mine") as caught, together(comm):  # noqa: PT012
        if comm.rank == comm.size - 1:
            raise error
    return comm.allgather((type(caught.value).__name__, str(caught.value)))


def test_an_error_on_one_rank_is_raised_on_all(comm):
    assert set(failure(comm, ZeroDivisionError("mine"))) == {("ZeroDivisionError", "mine")}


def test_errors_keep_what_they_carry(comm):
    error = ConvergenceError("mine", reason=-3, iterations=7, t=0.5)
    with pytest.raises(ConvergenceError, match="mine") as caught, together(comm):  # noqa: PT012
        if comm.rank == comm.size - 1:
            raise error
    assert (caught.value.reason, caught.value.iterations, caught.value.t) == (-3, 7, 0.5)


def test_a_class_that_cannot_travel_arrives_as_its_base(comm):
    class Local(ValueError):  # not importable, so it does not pickle
        pass

    class Odd(OSError):
        def __init__(self, a, b):
            super().__init__(f"mine {a} {b}")

    for error, base in ((Local("mine"), ValueError), (Odd(1, 2), OSError)):
        with pytest.raises(base, match="mine"), together(comm):  # noqa: PT012
            if comm.rank == comm.size - 1:
                raise error


def test_guards_nest(comm):
    # The last rank fails before the inner guard, or all ranks in it: each exchange has a partner.
    for inside in (False, True):
        with pytest.raises(KeyError, match="mine"), together(comm):  # noqa: PT012
            if comm.rank == comm.size - 1 and not inside:
                raise KeyError("mine")
            with together(comm):
                if comm.rank == comm.size - 1:
                    raise KeyError("mine")
    assert comm.allreduce(1) == comm.size  # the ranks are in step


def test_work_of_rank_0(comm):
    assert from_root(comm, lambda: comm.rank + 5) == 5
    assert on_root(comm, lambda: 5) == (5 if comm.rank == 0 else None)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        from_root(comm, lambda: Path("/nowhere").read_bytes())


def test_sum_in_the_order_of_the_ranks(comm):
    # A sum that depends on its order: left to right it is exact in the powers of 1e16.
    parts = [[1.0, 1e16], [2.0, 1.0], [3.0, -1e16]][: comm.size]
    local = parts[comm.rank] if comm.rank < len(parts) else [0.0, 0.0]
    expected = np.zeros(2)
    for part in parts:
        expected = expected + part
    assert total(comm, local).tolist() == expected.tolist()


def test_agreement(comm):
    agree(comm, dt=0.1, options={"a": 1, "b": [2.0]}, seed=None, axis=np.arange(3.0))
    if comm.size > 1:
        with pytest.raises(ValueError, match=r"dt must be the same on all ranks, got 0\.1"):
            agree(comm, t=1.0, dt=0.1 + 1e-17 * 0 + 1e-9 * comm.rank)


def test_runs_agree_on_their_numbers(comm):
    if comm.size == 1:
        pytest.skip("one rank agrees with itself")
    m = llg.magnetization(mesh.create_unit_square(comm, 4, 4), (1, 0, 0))
    energy = llg.Energy([llg.Exchange(1.0)])
    other = 0.1 + 1e-3 * comm.rank
    constant = fem.Constant(m.function_space.mesh, other)

    def march(**options):
        llg.march(llg.gao(energy, m, dt=0.1, damping=1.0), t_end=1.0, **options)

    for call, name in (
        (lambda: llg.gao(energy, m, dt=other, damping=1.0), "dt"),
        (lambda: llg.gao(energy, m, dt=0.1, damping=other), "damping"),
        (lambda: llg.tangent_plane(energy, m, dt=other, damping=1.0), "dt"),
        (lambda: llg.march(llg.gao(energy, m, dt=0.1, damping=1.0), t_end=other), "t_end"),
        (lambda: march(petsc_options={"ksp_rtol": 1e-6 * other}), "petsc_options"),
        (lambda: march(adaptive=llg.Adaptive(rtol=other)), "adaptive"),
        (lambda: march(until=llg.Until(lambda m: 1.0, other)), "until_tolerance"),
        (lambda: llg.midpoint(energy, m, dt=0.1, damping=1.0, tolerance=other), "tolerance"),
        (lambda: llg.gao(energy, m, dt=0.1, damping=constant), "damping"),
        (lambda: llg.magnetization(m.function_space.mesh, (1, 0, other)), "m0"),
        (lambda: llg.Energy([llg.Exchange(other)]).total(m), "kappa"),
        (lambda: llg.Energy([llg.Zeeman((0, 0, other))]).total(m), "h_ext"),
        (lambda: llg.checkerboard(m.function_space.mesh, 2, contrast=2.0, seed=comm.rank), "seed"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be the same on all ranks"):
            call()


SCRIPT = """
import sys, time
import dolfinx_llg
import dolfinx_llg as llg
from mpi4py import MPI
llg.abort_on_error()
comm, mode = MPI.COMM_WORLD, sys.argv[1]
if mode in ("exit", "draw"):
    dolfinx_llg.abort.PATIENCE = 1.0
comm.barrier()
if comm.rank == 0:
    print("ready\\n", end="", flush=True)
if mode == "raise" and comm.rank == 1:
    raise ZeroDivisionError("mine")
if mode == "exit" and comm.rank == 1:
    raise SystemExit(3)
if mode == "all exit":
    sys.exit(4)
if mode == "draw":
    try:
        sys.exit(5)  # no end
    except SystemExit:
        pass
    if comm.rank == 1:
        sys.exit(0)
    time.sleep(2.0)  # longer than patience with errors
    print("drawn")
    sys.exit(0)
if mode == "wait" and comm.rank == 0:
    while True:
        time.sleep(0.01)
comm.barrier()
"""


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("raise", 1, "ZeroDivisionError: mine"),
        ("exit", 3, "rank 1 has left by sys.exit(3), and other ranks have not"),
        ("all exit", 4, "ready"),
        ("draw", 0, "drawn"),
    ],
)
def test_no_rank_ends_alone(jobs, mode, code, words):
    found, said = jobs.run(SCRIPT, mode, ranks=2)
    assert found == code, said
    assert words in said
    assert ("ends the job" in said) == (mode in ("raise", "exit"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_dies_of_a_signal(jobs, number):
    job = jobs.start(SCRIPT, "wait", ranks=2)
    assert job.stdout.readline().strip() == "ready"
    time.sleep(0.2)  # into the barrier on rank 1, whose wait is in C
    job.send_signal(number)
    begin = time.monotonic()
    jobs.end(job)
    assert time.monotonic() - begin < 60.0  # at once; rank 0 alone would wait for ever
    assert job.returncode != 0


OPTIONS = """
import argparse
import sys
from mpi4py import MPI
import numpy as np
from dolfinx import mesh
import dolfinx_llg as llg
parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int)
assert parser.parse_args().n == 5, sys.argv
msh = mesh.create_unit_square(MPI.COMM_WORLD, 4, 4)
m = llg.magnetization(msh, lambda x: np.array([1 + 0 * x[0], x[1], x[0]]))
step = llg.gao(llg.Energy([llg.Exchange(1.0)]), m, dt=0.1, damping=1.0)
for state in llg.march(step, t_end=0.1, progress=False):
    if MPI.COMM_WORLD.rank == 0:
        print(f"done {state.iterations}")
"""


def test_the_command_line_reaches_the_solver(jobs):
    def run_with(*arguments):
        return jobs.run(OPTIONS, "--n", 5, *arguments)

    code, plain = run_with()
    assert code == 0, plain
    _, told = run_with("-llg_ksp_converged_reason", "-llg_ksp_rtol", "1e-2")
    assert "converged due to CONVERGED_RTOL" in told
    # Fewer digits take fewer iterations: the value has been read, too.
    assert iterations(told) < iterations(plain)
    code, wrong = run_with("-llg_ksp_type", "nonsense")
    assert code != 0
    assert "ksp_type = 'nonsense'" in wrong


def iterations(said):
    return int(re.search(r"done (\d+)", said)[1])


ONE_FORM = """
from mpi4py import MPI
from dolfinx import mesh
import dolfinx_llg as llg
msh = mesh.create_unit_interval(MPI.COMM_WORLD, 4)
m = llg.magnetization(msh, (1, 0, 0))
assert abs(llg.Energy([llg.Zeeman((1, 0, 0))]).total(m) + 1) < 1e-12
"""


def test_a_killed_compilation_is_named_and_heals(jobs, tmp_path):
    cache = tmp_path / "fenics"
    settings = tmp_path / "dolfinx" / "dolfinx_jit_options.json"  # do not wait for 10 s
    settings.parent.mkdir()
    settings.write_text('{"timeout": 1}')
    places = {"XDG_CACHE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}

    def run(ranks):
        return jobs.run(ONE_FORM, ranks=ranks, **places)

    code, fresh = run(1)
    assert code == 0, fresh
    source = next(cache.glob("libffcx_forms_*.c"))
    for ranks in (1, 2):
        for made in cache.glob(f"{source.stem}*"):
            made.unlink()
        source.touch()  # as SIGKILL leaves it
        code, stuck = run(ranks)
        assert code != 0
        assert stuck.count(f"remove that file (rm '{source}')") >= 1, stuck
        os.utime(source, (0, 0))  # long ago: nobody is compiling it any more
        code, healed = run(ranks)
        assert code == 0, healed
