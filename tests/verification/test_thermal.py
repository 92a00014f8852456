# SPDX-License-Identifier: LGPL-3.0-or-later
"""Statistics of stochastic runs against exp(-E/T): equipartition, Boltzmann, first passages.

Runs are repeated to the last bit on one number of ranks, and to the solvers' tolerances on others:
a test that passes does so always. Standard errors are stated where a tolerance rests on them.
"""

from mpi4py import MPI  # isort: skip

import numpy as np
import pytest
from dolfinx import mesh
from scipy.integrate import cumulative_trapezoid, quad

import dolfinx_llg as llg
from dolfinx_llg.physics.interaction import VERTICES
from dolfinx_llg.solvers.nodal_field import NodalField

SCHEMES = {
    "heun": llg.heun,
    "midpoint": llg.midpoint,
    "tangent_plane": lambda *args, **options: llg.tangent_plane(
        *args, second_order=True, **options
    ),
}

SERIAL = pytest.mark.skipif(
    MPI.COMM_WORLD.size > 1,
    reason="the numbers are the same on any ranks: tests/unit/test_thermal.py",
)


@pytest.mark.parametrize(
    ("name", "stiffness", "steps"),
    [("midpoint", 10.0, 300), ("tangent_plane", 10.0, 300), ("heun", 0.3, 1200)],
)
def test_equipartition(comm, record_property, name, stiffness, steps):
    """E - E0 = N k_B T within 2 %: 343 nodes with two quadratic directions each.

    A snapshot has the standard error 1/sqrt(343) = 5.4 %; the modes lose their memory within 1 to
    10 steps, which leaves 0.5 %. h V/T = 1000 makes the quartic part of the energy 0.1 %.
    """
    n = 6
    msh = mesh.create_unit_cube(comm, n, n, n)
    nodes = (n + 1) ** 3
    T = 1e-3 / n**3
    m = llg.magnetization(msh, (0, 0, 1))
    quiet = llg.Energy([llg.Exchange(0.5 / n**2), llg.Zeeman((0, 0, 1.0))])
    dt = stiffness / (NodalField(quiet, m).largest_frequency() + 1.0)
    ground = quiet.total(m)
    step = SCHEMES[name](quiet + llg.Thermal(T, seed=1), m, damping=llg.Gilbert(1.0), dt=dt)
    found = [
        (quiet.total(m) - ground) / (nodes * T)
        for state in llg.march(step, t_end=steps * dt)
        if state.n > steps // 10 and state.n % (1 if name != "heun" else 4) == 0
    ]
    record_property(f"E - E0 over N k_B T, {name}", float(np.mean(found)))
    assert np.mean(found) == pytest.approx(1.0, abs=0.02)


class Spins:
    """Independent spins at the nodes of an interval; K V = 1/2 at each but the two ends."""

    def __init__(self, comm, count, barrier, start=(0, 0, 1)):
        self.mesh = mesh.create_interval(comm, count + 1, [0.0, count + 1.0])
        self.m = llg.magnetization(self.mesh, start)
        anisotropy = llg.UniaxialAnisotropy((0, 0, 1), 1.0)
        anisotropy.quadrature = VERTICES  # else the elements couple neighbours
        self.T = 0.5 / barrier
        self.energy = llg.Energy([anisotropy, llg.Thermal(self.T, seed=2)])
        x = self.m.function_space.tabulate_dof_coordinates()[:, 0]
        owned = self.m.function_space.dofmap.index_map.size_local
        self.inside = np.flatnonzero((x[:owned] > 0.5) & (x[:owned] < count + 0.5))

    def z(self):
        """m_z of the spins of this rank."""
        return self.m.x.array[2::3][self.inside]

    def total(self, value):
        return sum(self.mesh.comm.allgather(value))


@SERIAL
@pytest.mark.parametrize("form", ["gilbert", "ll"])
@pytest.mark.parametrize(("name", "dt"), [("heun", 0.04), ("midpoint", 0.1)])
def test_macrospins_are_boltzmanns(comm, name, form, dt):
    """<m_z^2> = .5313 at K V = 2 k_B T within 1 %, and its histogram.

    3,000 spins forget m_z^2 within t = 1/(6 D) = 1.3: 18 independent snapshots have the standard
    error .31/sqrt(54,000) = .0013 = .25 %. The time steps' own errors are of that size. With the
    damping 1 the LL form is the Gilbert form twice as fast.
    """
    spins = Spins(comm, 3000, 2.0)
    damping, speed = (llg.Gilbert(1.0), 1.0) if form == "gilbert" else (1.0, 2.0)
    step = SCHEMES[name](spins.energy, spins.m, damping=damping, dt=dt / speed)
    squares, counts = [], np.zeros(10)
    edges = np.linspace(-1, 1, 11)
    for state in llg.march(step, t_end=30.0 / speed):
        if state.t > 6.0 / speed:
            z = spins.z()
            squares.append(spins.total(float(np.sum(z**2))) / spins.total(len(z)))
            counts += spins.total(np.histogram(z, edges)[0])
    norm = quad(lambda z: np.exp(2 * z * z), -1, 1)[0]
    exact = quad(lambda z: z * z * np.exp(2 * z * z), -1, 1)[0] / norm
    assert exact == pytest.approx(0.5313, abs=1e-4)
    assert np.mean(squares) == pytest.approx(exact, rel=0.01)
    # The odd moment relaxes more slowly, from a start at +z: the histogram is that of abs(m_z).
    share = (counts + counts[::-1])[5:] / counts.sum()
    parts = [2 * quad(lambda z: np.exp(2 * z * z), a, a + 0.2)[0] / norm for a in edges[5:-1]]
    assert share == pytest.approx(np.array(parts), abs=0.006)


def first_passage(barrier, T, rate, start, end):
    r"""Mean time from m_z = start to end of a spin with K V = barrier k_B T.

    The Fokker-Planck equation of z = m_z alone has the generator
    D e^{-s z^2} d/dz (1 - z^2) e^{s z^2} d/dz, D = T c lambda/V, whose mean first-passage time is
    the double integral below.
    """
    z = np.linspace(-1, 1, 20_001)
    inner = cumulative_trapezoid(np.exp(barrier * z[::-1] ** 2), dx=z[1] - z[0], initial=0)[::-1]
    inside = (z > end) & (z < start)
    y = z[inside]
    values = inner[inside] * np.exp(-barrier * y**2) / (1 - y**2)
    return float(np.trapezoid(values, y)) / (T * rate)


@SERIAL
def test_switching_times(comm):
    """Arrhenius and Neel: times between reversals grow as the exact first-passage times do.

    A reversal is counted when m_z is beyond 1/2 of the other sign at the end of a step. Looking
    only then moves a boundary outwards by .5826 standard deviations of a step (Broadie, Glasserman,
    Kou, Math. Finance 7 (1997) 325), which is 8 to 14 % of these times. About 1,200 reversals each
    have a standard error of 3 %.
    """
    times, dt, count = [], 0.1, 200
    for barrier in (2.0, 3.0, 4.0):
        spins = Spins(comm, count, barrier)
        rate = 0.5  # c lambda/V
        out = 0.5 + 0.5826 * np.sqrt(2 * spins.T * rate * (1 - 0.5**2) * dt)
        exact = first_passage(barrier, spins.T, rate, out, -out)
        side, flips, t_end = np.ones(len(spins.inside)), 0, 6 * exact
        step = llg.heun(spins.energy, spins.m, damping=llg.Gilbert(1.0), dt=dt)
        for _ in llg.march(step, t_end=t_end):
            passed = side * spins.z() < -0.5
            side[passed] *= -1.0
            flips += int(passed.sum())
        measured = t_end * count / spins.total(flips)
        times.append((measured, exact))
        assert measured == pytest.approx(exact, rel=0.1), (barrier, flips)
    slope = np.log(times[2][0] / times[0][0])
    assert slope == pytest.approx(np.log(times[2][1] / times[0][1]), abs=0.1)
