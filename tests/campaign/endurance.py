# SPDX-License-Identifier: LGPL-3.0-or-later
"""Long studies in one process: what they leave behind in memory and communicators.

    mpirun -n 2 python tests/campaign/endurance.py [gao:same:5000 gao:fresh:2500 steps:10000 ...]

``SCHEME:same:N`` is a study of N short runs, each with a magnetization of its own, on one mesh,
``SCHEME:fresh:N`` one with a new mesh a run, ``steps:N`` one run of N steps. A communicator that
each run loses would end the process after some 2,000 of them. Prints one JSON object: for each
study [runs or steps, resident memory of the largest rank in MB, communicators that MPI still gives]
a few times along it, the growth of memory from the first of them to the last, and seconds.
"""

import json
import sys
import time
from collections.abc import Iterator

from mpi4py import MPI

import numpy as np
from dolfinx import mesh

import dolfinx_llg as llg

DEFAULT = [
    "gao:same:5000",
    "gao:fresh:2500",
    "tangent_plane:same:2500",
    "tangent_plane:fresh:2500",
    "steps:10000",
]
SCHEMES = {
    "gao": lambda energy, m: llg.gao(energy, m, dt=0.01, damping=1.0, projection=True),
    "prohl": lambda energy, m: llg.prohl(energy, m, dt=0.01, damping=1.0, projection=True),
    "tangent_plane": lambda energy, m: llg.tangent_plane(energy, m, dt=0.01, damping=1.0),
    "midpoint": lambda energy, m: llg.midpoint(energy, m, dt=0.01, damping=1.0),
    "rk4": lambda energy, m: llg.rk4(energy, m, damping=1.0, dt=1e-3),
}
SAMPLES = 5


def free_communicators(comm: MPI.Comm) -> int:
    """Communicators that MPI still gives (MPICH has 2,048 a process), on the rank with the fewest.

    Those of one rank alone are counted, which come out of the same store and wait for nobody.
    """
    made = []
    while len(made) < 4096:
        try:
            made.append(MPI.COMM_SELF.Dup())
        except MPI.Exception:
            break
    for one in made:
        one.Free()
    return min(comm.allgather(len(made)))


def resident() -> int:
    """Memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def square(comm: MPI.Comm) -> mesh.Mesh:
    """The smallest mesh on which both of two ranks have cells of their own."""
    return mesh.create_unit_square(comm, 3, 3)


def energy() -> llg.Energy:
    """Exchange and anisotropy, bound to no mesh."""
    return llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1))])


def runs(comm: MPI.Comm, scheme: str, kind: str) -> Iterator[llg.State]:
    """Runs of one step, an m of its own each, for ever; the energy serves them all."""
    shared, msh = energy(), square(comm)
    while True:
        m = llg.magnetization(square(comm) if kind == "fresh" else msh, (1, 0.2, 0.1))
        yield list(llg.march(SCHEMES[scheme](shared, m), t_end=0.01, progress=False))[-1]


def steps(comm: MPI.Comm) -> Iterator[llg.State]:
    """Steps of one run, observed, with changes of dt."""
    m = llg.magnetization(
        mesh.create_unit_square(comm, 8, 8), lambda x: np.array([1 + x[0], x[1], 0.5 - x[0]])
    )
    step = llg.gao(energy(), m, dt=1e-3, damping=0.1, projection=True)
    observer = llg.Observer(step.energy, m)
    for state in llg.march(step, t_end=1e9, progress=False):
        observer.observe(state)
        if state.n % 200 == 0:
            step.dt.value = 1e-3 if state.n % 400 else 3e-3
        yield state


def sampled(comm: MPI.Comm, name: str, study: Iterator[object], count: int) -> dict[str, object]:
    """Go through a study; what it holds at a few times."""
    samples, begin = [], time.perf_counter()
    for n, _ in enumerate(study, 1):
        if n % max(count // SAMPLES, 1) == 0:
            memory = max(comm.allgather(resident())) / 1e6
            samples.append([n, round(memory, 1), free_communicators(comm)])
            if comm.rank == 0:
                print(name, *samples[-1], file=sys.stderr, flush=True)
        if n == count:
            break
    return {
        "samples": samples,
        "memory_growth": round(samples[-1][1] / samples[0][1] - 1.0, 4),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def main(names: list[str]) -> None:
    """Run the studies named and print their JSON."""
    comm, found = MPI.COMM_WORLD, {}
    for name in names:
        kind, *rest, count = name.split(":")
        study = steps(comm) if kind == "steps" else runs(comm, kind, *rest)
        found[name] = sampled(comm, name, study, int(count))
    if comm.rank == 0:
        print(json.dumps({"ranks": comm.size, "studies": found}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:] or DEFAULT)
