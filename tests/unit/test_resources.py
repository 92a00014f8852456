# SPDX-License-Identifier: LGPL-3.0-or-later
"""What runs leave behind: communicators and memory, in studies and in long runs of one process."""

import gc

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg


def free_communicators(comm) -> int:
    """Duplicates that MPI still gives (MPICH has 2,048): the same number on every rank."""
    made = []
    while len(made) < 4096:
        try:
            made.append(comm.Dup())
        except MPI.Exception:
            break
    for one in made:
        one.Free()
    return len(made)


def resident() -> int:
    """Memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


SCHEMES = {
    "gao": lambda energy, m: llg.gao(energy, m, dt=0.01, damping=1.0, projection=True),
    "prohl": lambda energy, m: llg.prohl(energy, m, dt=0.01, damping=1.0, projection=True),
    "tangent_plane": lambda energy, m: llg.tangent_plane(energy, m, dt=0.01, damping=1.0),
    "midpoint": lambda energy, m: llg.midpoint(energy, m, dt=0.01, damping=1.0),
    "rk4": lambda energy, m: llg.rk4(energy, m, damping=1.0, dt=1e-3),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_runs_give_their_communicators_back(comm, scheme):
    """A study of 30 runs, each with an m of its own, the states kept: none is lost for good.

    A communicator a run would end a process after some 2,000 of them.
    """
    msh = mesh.create_unit_square(comm, 3, 3)
    energy = llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1))])
    states = []

    def study(count):
        for _ in range(count):
            m = llg.magnetization(msh, (1, 0.2, 0.1))
            states.append(list(llg.march(SCHEMES[scheme](energy, m), t_end=0.01))[-1])
        del m
        gc.collect()

    study(3)
    before = free_communicators(comm)
    study(30)
    # What a last run leaves to the collector may differ by a few.
    assert before - free_communicators(comm) <= 6
    assert len(states) == 33


def test_long_runs_do_not_grow(comm):
    """2,000 steps with changes of dt: the memory of the second half is that of the first to 5 %."""
    msh = mesh.create_unit_square(comm, 8, 8)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 - x[0]]))
    energy = llg.Energy([llg.Exchange(0.01), llg.UniaxialAnisotropy((0, 0, 1))])
    step = llg.gao(energy, m, dt=1e-3, damping=0.1, projection=True)
    observer, sizes = llg.Observer(energy, m), []
    for state in llg.march(step, t_end=10.0):
        observer.observe(state)
        if state.n % 200 == 0:
            step.dt.value = 1e-3 if state.n % 400 else 3e-3
        if state.n in (1000, 2000):
            sizes.append(resident())
        if state.n == 2000:
            break
    assert sizes[1] < 1.05 * sizes[0], sizes
