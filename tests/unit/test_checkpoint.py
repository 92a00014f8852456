# SPDX-License-Identifier: LGPL-3.0-or-later
"""Checkpoints: bit for bit on 1 and 2 ranks, any number of ranks, kills, bad files."""

from mpi4py import MPI  # isort: skip

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.checkpoint import read_checkpoint, write_checkpoint
from dolfinx_llg.periodic import periodic_basis
from dolfinx_llg.physics.literature import hmm_ex2, hmm_ex2_initial

SCHEMES = [("gao", False), ("cimrak", True), ("an", True), ("prohl", False)]
DT, STEPS, STOP = 0.01, 8, 4

Step = Callable[[fem.Function], llg.WeakStep]


def make_step(scheme: str, projection: bool) -> Step:
    def step(m: fem.Function) -> llg.WeakStep:
        terms = [
            llg.Exchange(hmm_ex2(0.3)),
            llg.UniaxialAnisotropy((0, 0, 1), 0.7),
            llg.Zeeman(lambda t: (0.0, 3 * t, 1.0)),
        ]
        builder = getattr(llg, scheme)
        return builder(llg.Energy(terms), m, dt=DT, damping=0.8, projection=projection)

    return step


def square(comm: MPI.Intracomm) -> mesh.Mesh:
    return mesh.create_unit_square(comm, 9, 7)


def run(
    step: llg.WeakStep,
    n: int = STEPS,
    *,
    rtol: float = 1e-8,
    resume: llg.State | None = None,
    basis: llg.GalerkinBasis | None = None,
) -> llg.State:
    """Do the first n steps of a run of STEPS steps; the caller keeps the step, and with it m."""
    options = {"ksp_rtol": rtol, "snes_rtol": rtol}
    for state in llg.march(
        step, t_end=STEPS * DT, resume=resume, basis=basis, petsc_options=options
    ):
        if state.n == n:
            return state
    raise AssertionError("unreachable")


def nodal(m: fem.Function) -> dict[tuple[float, ...], npt.NDArray[np.float64]]:
    """Values by coordinates (rounded: to compare across partitions), all of them on all ranks."""
    V = m.function_space
    size = V.dofmap.index_map.size_local
    keys = V.tabulate_dof_coordinates()[:size].round(9) + 0.0
    pairs = list(zip(map(tuple, keys.tolist()), m.x.array.reshape(-1, 3)[:size], strict=True))
    return dict(pair for part in V.mesh.comm.allgather(pairs) for pair in part)


def difference(a: fem.Function, b: fem.Function) -> float:
    """Largest nodal difference of functions that may live on different communicators."""
    known, other = (MPI.COMM_WORLD.bcast(nodal(function), root=0) for function in (a, b))
    assert known.keys() == other.keys()
    return max(float(np.abs(known[key] - other[key]).max()) for key in known)


def assert_same_run(end: llg.State, last: llg.State) -> None:
    assert (end.t, end.n) == (last.t, last.n) == (STEPS * DT, STEPS)
    here, there = end.m.x.array, last.m.x.array
    if MPI.COMM_WORLD.size <= 2:
        np.testing.assert_array_equal(here, there)
        assert end.iterations == last.iterations
    else:
        # PETSc adds off-rank entries in the order of arrival: 100 times the solver's rtol.
        assert np.abs(here - there).max(initial=0.0) < 100 * 1e-8


@pytest.mark.parametrize(("scheme", "projection"), SCHEMES)
def test_the_continued_run_is_the_uninterrupted_one(
    scheme: str, projection: bool, shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    make, path = make_step(scheme, projection), shared_tmp_path / "new" / "run.npz"
    msh = square(comm)
    steps = [make(llg.magnetization(msh, hmm_ex2_initial)) for _ in range(2)]
    first = run(steps[0], STOP)
    write_checkpoint(path, first)
    last = run(steps[1])

    again = make(llg.magnetization(square(comm), (0, 0, 1)))
    state = read_checkpoint(path, again.m)
    assert state.m is again.m
    for name in ("t", "n", "dt", "max_dmdt", "iterations", "newton_iterations"):
        assert getattr(state, name) == getattr(first, name)
    np.testing.assert_array_equal(state.m.x.array, first.m.x.array)  # ghosts too
    read, written = state.history(), first.history()
    assert read.numbers == written.numbers
    assert len(read.numbers["x_times"]) == 3
    assert read.fields.keys() == written.fields.keys()
    for name in read.fields:
        np.testing.assert_array_equal(read.fields[name], written.fields[name])
    assert_same_run(run(again, resume=state), last)


def test_without_history_the_restart_would_differ(
    shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    # The bit-for-bit test has teeth: m alone is not enough.
    make, path = make_step("gao", False), shared_tmp_path / "run.npz"
    step = make(llg.magnetization(square(comm), hmm_ex2_initial))
    write_checkpoint(path, run(step, STOP))
    whole = make(llg.magnetization(square(comm), hmm_ex2_initial))
    last = run(whole)
    state = read_checkpoint(path, step.m)
    run(step, resume=llg.State(state.t, state.n, step.m, state.dt))
    assert 0.0 < difference(step.m, last.m) < 1e-6  # the solver's rtol is 1e-8


@pytest.mark.parametrize(("scheme", "projection"), [SCHEMES[0], SCHEMES[1], SCHEMES[3]])
@pytest.mark.parametrize("to_world", [True, False], ids=["one_to_all", "all_to_one"])
def test_any_number_of_ranks(
    scheme: str, projection: bool, to_world: bool, shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    make, path = make_step(scheme, projection), shared_tmp_path / "run.npz"
    before, after = (MPI.COMM_SELF, comm) if to_world else (comm, MPI.COMM_SELF)
    if before is MPI.COMM_SELF:
        # Every rank does the same run for itself, and writes a file of its own.
        path = path.with_name(f"{comm.rank}.npz")
    first = make(llg.magnetization(square(before), hmm_ex2_initial))
    write_checkpoint(path, run(first, STOP, rtol=1e-13))
    path = comm.bcast(path, root=0)
    comm.Barrier()
    last = make(llg.magnetization(square(after), hmm_ex2_initial))
    run(last, rtol=1e-13)

    again = make(llg.magnetization(square(after), (0, 0, 1)))
    run(again, rtol=1e-13, resume=read_checkpoint(path, again.m))
    assert difference(again.m, last.m) < 1e-10
    # And to the run that was never interrupted, on the ranks where it began.
    whole = make(llg.magnetization(square(before), hmm_ex2_initial))
    run(whole, rtol=1e-13)
    assert difference(again.m, whole.m) < 1e-10


@pytest.mark.parametrize("cell", ["interval", "quadrilateral", "tetrahedron", "hexahedron"])
def test_every_kind_of_mesh_refined_too(
    cell: str, shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    kind = mesh.CellType[cell]

    def create(comm: MPI.Intracomm) -> mesh.Mesh:
        if cell == "interval":
            return mesh.create_interval(comm, 11, [-0.3, 0.7])
        if cell == "quadrilateral":
            msh = mesh.create_rectangle(comm, [[0.1, 0.0], [0.7, 0.9]], [3, 4], kind)
            x = msh.geometry.x  # no parallelograms: centres are sums of four terms
            x[:, 0] += 0.1 * np.sin(3 * x[:, 1])
        else:
            msh = mesh.create_unit_cube(comm, 3, 2, 2, kind)
            x = msh.geometry.x
            x[:, 2] += 0.1 * np.sin(3 * x[:, 1] + x[:, 0])
        msh.topology.create_entities(1)
        if msh.topology.dim == 3:
            msh.topology.create_entities(2)
        return mesh.uniform_refine(msh)

    def field(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack([1 + x[0], 2 + x[1], x[2] - x[0]])

    path = shared_tmp_path / f"{comm.rank}.npz"
    m = llg.magnetization(create(MPI.COMM_SELF), field)
    write_checkpoint(path, llg.State(0.25, 7, m, 0.125))
    path = comm.bcast(path, root=0)
    again = llg.magnetization(create(comm), (0, 0, 1))
    state = read_checkpoint(path, again)
    assert (state.t, state.n, state.dt, state.history().fields) == (0.25, 7, 0.125, {})
    assert difference(m, again) == 0.0
    # From all ranks to one and back.
    write_checkpoint(shared_tmp_path / "all.npz", state)
    m.x.array[:] = 0.0
    comm.Barrier()
    read_checkpoint(shared_tmp_path / "all.npz", m)
    assert difference(m, again) == 0.0


def test_a_periodic_run_restarts(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    make, path = make_step("cimrak", True), shared_tmp_path / "run.npz"
    msh = square(comm)
    basis = periodic_basis(llg.vector_space(msh))
    step = make(llg.magnetization(msh, hmm_ex2_initial))
    write_checkpoint(path, run(step, STOP, basis=basis))
    whole = make(llg.magnetization(msh, hmm_ex2_initial))
    last = run(whole, basis=basis)
    again = make(llg.magnetization(msh, (0, 0, 1)))
    state = read_checkpoint(path, again.m)
    assert_same_run(run(again, resume=state, basis=basis), last)


# -- bad files: the same error on all ranks, m unchanged ------------------------------------------


@pytest.fixture
def good(shared_tmp_path: Path, comm: MPI.Intracomm) -> Path:
    path = shared_tmp_path / "good.npz"
    m = llg.magnetization(square(comm), hmm_ex2_initial)
    write_checkpoint(path, llg.State(0.5, 5, m, 0.1))
    return path


def refuse(path: Path, error: type[Exception], match: str, msh: mesh.Mesh | None = None) -> None:
    comm = MPI.COMM_WORLD
    m = llg.magnetization(square(comm) if msh is None else msh, (0, 0, 1))
    before = m.x.array.copy()
    with pytest.raises(error, match=match):
        read_checkpoint(path, m)
    np.testing.assert_array_equal(m.x.array, before)


def rewrite(path: Path, **changes: object) -> Path:
    """A copy with entries replaced (None: dropped), made by rank 0."""
    copy = path.with_name("copy.npz")
    if MPI.COMM_WORLD.rank == 0:
        with np.load(path) as file:
            content = dict(file)
        content.update(changes)
        np.savez(copy, **{key: value for key, value in content.items() if value is not None})
    MPI.COMM_WORLD.Barrier()
    return copy


def test_missing_file(shared_tmp_path: Path) -> None:
    refuse(shared_tmp_path / "none.npz", FileNotFoundError, r"no checkpoint .*none\.npz")


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "text", "array", "pickle"])
def test_damaged_file(damage: str, good: Path, comm: MPI.Intracomm) -> None:
    if comm.rank == 0:
        data = bytearray(good.read_bytes())
        if damage == "flipped":
            data[len(data) // 2] ^= 0xFF
        replaced = {
            "empty": b"",
            "truncated": bytes(data[: len(data) // 2]),
            "flipped": bytes(data),
            "text": b"t = 0.5\n",
        }
        if damage == "array":
            with good.open("wb") as file:
                np.save(file, np.zeros(3))
        elif damage == "pickle":
            np.savez(good, x=np.array([{}], dtype=object))
        else:
            good.write_bytes(replaced[damage])
    comm.Barrier()
    refuse(good, ValueError, r"good\.npz is truncated, damaged or no checkpoint")


def test_other_contents(good: Path) -> None:
    refuse(rewrite(good, format="x"), ValueError, "no checkpoint of dolfinx_llg")
    refuse(rewrite(good, version=99), ValueError, "has version 99 .* reads version 2")
    refuse(rewrite(good, version=None), ValueError, "has version None")
    refuse(rewrite(good, dt=None), ValueError, "lacks \\['dt'\\]")
    refuse(rewrite(good, m=np.zeros((80, 2))), ValueError, r"m has shape \(80, 2\)")
    refuse(rewrite(good, m=np.full((80, 3), np.nan)), ValueError, "m is not finite")


def test_other_mesh(good: Path, comm: MPI.Intracomm) -> None:
    other = "belongs to another mesh"
    refuse(good, ValueError, f"{other}: .* 126, 80", mesh.create_unit_square(comm, 9, 8))
    quads = mesh.create_unit_square(comm, 9, 7, mesh.CellType.quadrilateral)
    refuse(good, ValueError, f"{other}.*quadrilateral", quads)
    left = mesh.create_unit_square(comm, 9, 7, diagonal=mesh.DiagonalType.left)
    refuse(good, ValueError, f"{other}: same nodes, other cells", left)
    wide = mesh.create_rectangle(comm, [[0, 0], [1.001, 1]], [9, 7])
    refuse(good, ValueError, f"{other}: its nearest node", wide)


def test_other_value_size(good: Path, comm: MPI.Intracomm) -> None:
    V = fem.functionspace(square(comm), ("Lagrange", 1, (2,)))
    with pytest.raises(ValueError, match="3 components, got value shape"):
        read_checkpoint(good, fem.Function(V))


def test_nodes_that_coincide(shared_tmp_path: Path, comm: MPI.Intracomm) -> None:
    msh = mesh.create_unit_interval(comm, 4)
    msh.geometry.x[:, 0] = np.abs(msh.geometry.x[:, 0] - 0.5)
    m = llg.magnetization(msh, (0, 0, 1))
    with pytest.raises(ValueError, match="2 nodes coincide with others"):
        write_checkpoint(shared_tmp_path / "run.npz", llg.State(0.0, 0, m, 0.1))


def test_a_failed_write_keeps_the_old_checkpoint(good: Path, comm: MPI.Intracomm) -> None:
    before = good.read_bytes()
    if comm.rank == 0:
        aside = f".good.npz.{socket.gethostname()}.{os.getpid()}.tmp"
        good.with_name(aside).mkdir()  # so that the new one cannot be opened
    comm.Barrier()
    m = llg.magnetization(square(comm), (0, 0, 1))
    with pytest.raises(OSError, match=r"good\.npz"):
        write_checkpoint(good, llg.State(0.6, 6, m, 0.1))
    assert good.read_bytes() == before


WRITER = """
from mpi4py import MPI
import sys
import numpy as np
from dolfinx import mesh
import dolfinx_llg as llg
from dolfinx_llg.checkpoint import write_checkpoint
m = llg.magnetization(mesh.create_unit_square(MPI.COMM_SELF, 60, 60), (0, 0, 1))
n = int(sys.argv[2])
while True:
    n += 1
    m.x.array[:] = n
    write_checkpoint(sys.argv[1], llg.State(0.5 * n, n, m, 0.5))
    print(n, flush=True)
"""


def test_a_killed_run_leaves_the_last_checkpoint(
    shared_tmp_path: Path, comm: MPI.Intracomm
) -> None:
    path = shared_tmp_path / "run.npz"
    if comm.rank == 0:
        kill_writers(path, 4)
    done = comm.Ibarrier()
    while not done.Test():  # a plain Barrier would take the cores from the writers
        time.sleep(0.01)


def kill_writers(path: Path, kills: int) -> None:
    m = llg.magnetization(mesh.create_unit_square(MPI.COMM_SELF, 60, 60), (0, 0, 1))
    # A process of its own, no rank of this run.
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PMI", "PMIX", "MPI", "HYDRA", "OMPI"))
    }
    moment = random.Random(1)
    n = 0
    for _ in range(kills):
        command = [sys.executable, "-c", WRITER, str(path), str(n)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            done = int(process.stdout.readline())  # it is in its loop now
            time.sleep(moment.uniform(0.0, 0.1))
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
        assert process.returncode == -signal.SIGKILL
        done = int(rest[-1]) if rest else done
        state = read_checkpoint(path, m)
        # The one reported last, or the next, killed between rename and report.
        assert state.n in (done, done + 1)
        assert state.t == 0.5 * state.n
        np.testing.assert_array_equal(m.x.array, state.n)
        n = state.n
