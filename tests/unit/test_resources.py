# SPDX-License-Identifier: LGPL-3.0-or-later
"""What runs leave behind: communicators and memory, in studies and in long runs of one process.

The short versions of ``tests/campaign/endurance.py``.
"""

import gc
import importlib.util
import itertools
import weakref
from pathlib import Path

from mpi4py import MPI

import pytest
import ufl

import dolfinx_llg as llg

pytestmark = pytest.mark.most_ranks(2)

FILE = Path(__file__).parents[1] / "campaign" / "endurance.py"
spec = importlib.util.spec_from_file_location("endurance", FILE)
endurance = importlib.util.module_from_spec(spec)
spec.loader.exec_module(endurance)


def spent(comm, scheme, kind, count):
    """Communicators that ``count`` runs have not given back after the next run."""
    study = endurance.runs(comm, scheme, kind)
    states = list(itertools.islice(study, 3))
    gc.collect()
    next(study)
    before = endurance.free_communicators(comm)
    states += itertools.islice(study, count)
    gc.collect()
    next(study)
    assert len(states) == 3 + count
    return before - endurance.free_communicators(comm)


@pytest.mark.parametrize("scheme", endurance.SCHEMES)
def test_runs_give_their_communicators_back(comm, scheme):
    """A study of 30 runs, each with an m of its own, the states kept: none is lost for good.

    A communicator a run would end a process after some 2,000 of them.
    """
    assert spent(comm, scheme, "same", 30) <= 6  # a last run may leave a few to the collector


@pytest.mark.parametrize("scheme", ["gao", "tangent_plane"])
def test_runs_on_new_meshes_give_theirs_back(comm, scheme):
    """A mesh has about six communicators, and PETSc one for its solvers."""
    assert spent(comm, scheme, "fresh", 20) <= 12  # those of one mesh and its solvers


def test_solvers_on_some_ranks_alone(comm):
    """Meshes of rank 0 alone come and go while the others do something else."""
    if comm.rank == 0:
        list(itertools.islice(endurance.runs(MPI.COMM_SELF, "gao", "fresh"), 3))
    assert len(list(itertools.islice(endurance.runs(comm, "gao", "fresh"), 2))) == 2


def test_an_energy_keeps_no_mesh(comm):
    """The data of terms belong to a mesh: an energy that serves several keeps none of them."""
    energy = llg.Energy(
        [
            llg.Exchange(lambda x: 1 + 0.5 * ufl.cos(x[0])),
            llg.UniaxialAnisotropy((0, 0, 1)),
            llg.Zeeman(lambda t: (0, 0, t)),
            llg.ZhangLi((1.0, 0.0), 0.1),
        ]
    )

    def use():
        m = llg.magnetization(endurance.square(comm), (1, 0.2, 0.1))
        total = energy.total(m, t=1.0)
        return weakref.ref(m.function_space.mesh.ufl_domain()), total

    (first, one), (second, two) = use(), use()
    assert one == two
    use()  # the energy keeps its forms for the last space
    gc.collect()
    assert first() is None
    assert second() is None


def test_long_runs_do_not_grow(comm):
    """2,000 steps with changes of dt: the memory of the second half is that of the first to 5 %."""
    sizes = {}
    for state in endurance.steps(comm):
        if state.n in (1000, 2000):
            sizes[state.n] = endurance.resident()
        if state.n == 2000:
            break
    assert sizes[2000] < 1.05 * sizes[1000], sizes
