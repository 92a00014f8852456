# SPDX-License-Identifier: LGPL-3.0-or-later
# # Thermal noise: is the temperature right?
#
# At a temperature T every node of a mesh sees a random field beside the effective one,
# $$ (1+\alpha^2)\, \dot m_i = -m_i \times (h_i + \nu_i) - \alpha\, m_i \times (m_i \times
#    (h_i + \nu_i)), \qquad \langle \nu_i^k(t)\, \nu_i^k(s) \rangle = \frac{2 \alpha T}{V_i}\,
#    \delta(t - s), \qquad V_i = \int M_s \varphi_i, $$
# in units in which T is $k_B T/(\mu_0 M_{s0}^2 L^3)$. The variance is that for which
# $\exp(-E/T)$ is the stationary density (fluctuation-dissipation theorem). `llg.Thermal` is one
# more term of the energy; whether a scheme then has the temperature T is up to the scheme:
#
# 1. **Equipartition.** A cube with exchange in a field, cold enough for small motions: each node
#    has two quadratic directions, so that $\langle E - E_0 \rangle = N T$. Implicit schemes take
#    steps of ten times the inverse of the largest frequency here.
# 2. **Boltzmann's distribution** of spins with one easy axis and K V = 2 T:
#    $\langle m_z^2 \rangle = \int z^2 e^{2 z^2} dz / \int e^{2 z^2} dz = 0.5313$. The spins are the
#    nodes of one mesh without exchange: one step moves thousands of independent copies.
# 3. **Arrhenius and Neel.** The mean time between reversals grows like $e^{K V/T}$. The equation of
#    $m_z$ alone is a diffusion in one dimension, whose mean first-passage time is an integral
#    (D = T c $\alpha$/V, s = K V/T):
#    $$ \tau = \frac{1}{D} \int_{-z_0}^{z_0} \frac{e^{-s y^2}}{1 - y^2}
#       \int_y^1 e^{s z^2} dz\, dy. $$
#    The barriers are shared over groups of ranks (`llg.Ensemble`).
# 4. **Ranks.** The numbers follow from a seed, the node and the step alone (Philox): on all ranks
#    together they have the same bits as on each rank alone.
#
# Run: `python demos/demo_thermal.py --output DIR --json FILE [--quick]`, also on several ranks.

from mpi4py import MPI

import numpy as np
from dolfinx import mesh
from pages import page
from scipy.integrate import cumulative_trapezoid, quad
from shared import begin, comm, numbers, options, record, say, whole

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.philox import normals
from dolfinx_llg.plot.curves import PALETTE
from dolfinx_llg.solvers.noise import original_numbers

parser = options("Statistics of stochastic runs.", "folder for the picture")
parser.add_argument("--n", type=whole(), help="cells a side of the cube (default 8, quick 3)")
parser.add_argument("--spins", type=whole(), help="independent spins (default 3000, quick 400)")
parser.add_argument("--barriers", type=numbers, help="K V/T (default 2,3,4,5, quick 1,2)")
args = begin(
    parser, {"n": (8, 3), "spins": (3000, 400), "barriers": ([2, 3, 4, 5], [1, 2])}
)  # fmt: skip

SCHEMES = {
    "heun": llg.heun,
    "midpoint": llg.midpoint,
    "tangent_plane": lambda *a, **options: llg.tangent_plane(*a, second_order=True, **options),
}
results = {"schemes": list(SCHEMES)}

# ## Equipartition
# Steps over the inverse of the largest frequency, and their number: Heun's are limited by 2.
STIFFNESS = {"heun": 0.3, "midpoint": 10.0, "tangent_plane": 10.0}
STEPS = {"heun": 4000, "midpoint": 600, "tangent_plane": 600}
box = mesh.create_unit_cube(comm, args.n, args.n, args.n)
nodes = (args.n + 1) ** 3
m = llg.magnetization(box, (0, 0, 1))
field, kappa = 1.0, 0.5 / args.n**2
quiet = llg.Energy([llg.Exchange(kappa), llg.Zeeman((0, 0, field))])
# h V_i/T = 1000 at the mean node: the part of the energy that is not quadratic is 0.1 % of it.
T = 1e-3 * field / args.n**3
# The largest eigenvalue of exchange on such a mesh is about 12 kappa/h^2.
largest = field + 12.0 * kappa * args.n**2
equipartition, curves = [], {}
say("equipartition        dt lambda   steps   <E - E0>/(N T)")
for name, scheme in SCHEMES.items():
    m.x.array[:] = np.tile([0.0, 0.0, 1.0], len(m.x.array) // 3)
    ground = quiet.total(m)
    steps = STEPS[name] // (20 if args.quick else 1)
    dt = STIFFNESS[name] / largest
    step = scheme(quiet + llg.Thermal(T, seed=1), m, damping=llg.Gilbert(1.0), dt=dt)
    every = 1 if STIFFNESS[name] > 1.0 else 5
    found = [
        (state.t, (quiet.total(m) - ground) / (nodes * T))
        for state in llg.march(step, t_end=steps * dt, progress=False)
        if state.n % every == 0
    ]
    late = [ratio for _, ratio in found[len(found) // 10 :]]
    equipartition.append(float(np.mean(late)))
    curves[name] = np.array(found)
    say(f"{name:20} {STIFFNESS[name]:9.2g}  {steps:6d}   {equipartition[-1]:.4f}")
results["equipartition"] = equipartition


# ## Boltzmann's distribution
class Spins:
    """Spins of volume 1 at the nodes of an interval, K V = 1/2; the two ends do not count."""

    def __init__(self, group: MPI.Comm, count: int, barrier: float, seed: int) -> None:
        self.comm, self.T = group, 0.5 / barrier
        self.mesh = mesh.create_interval(group, count + 1, [0.0, count + 1.0])
        # Half of them up, half down: the mean of m_z, slow to forget, is 0 from the start.
        self.m = llg.magnetization(
            self.mesh, lambda x: np.array([0 * x[0], 0 * x[0], 1.0 - 2.0 * (np.rint(x[0]) % 2)])
        )
        anisotropy = llg.UniaxialAnisotropy((0, 0, 1), 1.0)
        # Integrated at the nodes: the mass matrix would couple neighbours.
        anisotropy.quadrature = {"quadrature_rule": "vertex", "quadrature_degree": 1}
        self.energy = llg.Energy([anisotropy, llg.Thermal(self.T, seed=seed)])
        V = self.m.function_space
        x = V.tabulate_dof_coordinates()[: V.dofmap.index_map.size_local, 0]
        self.inside = np.flatnonzero((x > 0.5) & (x < count + 0.5))

    def z(self) -> np.ndarray:
        """m_z of the spins of this rank."""
        return self.m.x.array[2::3][self.inside]

    def total(self, value: object) -> np.ndarray:
        """Sum over ranks."""
        return np.sum(self.comm.allgather(value), axis=0)


BARRIER = 2.0
DT = {"heun": 0.02, "midpoint": 0.08, "tangent_plane": 0.02}
if args.quick:
    DT = {name: 2.5 * dt for name, dt in DT.items()}
begin_at, end_at = (4.0, 7.0) if args.quick else (6.0, 36.0)
edges = np.linspace(-1.0, 1.0, 31)
weight = quad(lambda z: np.exp(BARRIER * z * z), -1, 1)[0]
exact = quad(lambda z: z * z * np.exp(BARRIER * z * z), -1, 1)[0] / weight
mz2, histogram, seconds_of = [], {}, {}
say(f"\nK V/T = {BARRIER:g}       dt   <m_z^2>   exact {exact:.4f}")
for name, scheme in SCHEMES.items():
    spins = Spins(comm, args.spins, BARRIER, seed=2)
    step = scheme(spins.energy, spins.m, damping=llg.Gilbert(1.0), dt=DT[name])
    squares, counts = [], np.zeros(len(edges) - 1)
    for state in llg.march(step, t_end=end_at, progress=False):
        if state.t > begin_at:
            z = spins.z()
            squares.append(float(spins.total(np.sum(z**2))) / args.spins)
            counts += spins.total(np.histogram(z, edges)[0])
    mz2.append(float(np.mean(squares)))
    histogram[name] = counts / counts.sum() / np.diff(edges)
    say(f"{name:14} {DT[name]:8.2g}   {mz2[-1]:.4f}   {100 * (mz2[-1] / exact - 1):+.2f} %")
results |= {"mz2": mz2, "mz2_exact": exact}


# ## Arrhenius and Neel
def passage(barrier: float, T: float, rate: float, z0: float) -> float:
    """Mean time from m_z = z0 to -z0."""
    z = np.linspace(-1.0, 1.0, 20_001)
    inner = cumulative_trapezoid(np.exp(barrier * z**2), dx=z[1] - z[0], initial=0)[::-1]
    part = np.abs(z) < z0
    values = inner[part] * np.exp(-barrier * z[part] ** 2) / (1.0 - z[part] ** 2)
    return float(np.trapezoid(values, z[part])) / (T * rate)


step_size, rate = 0.1, 0.5  # c alpha = alpha/(1 + alpha^2)


def edge(T: float) -> float:
    """Where a reversal counts: m_z beyond 1/2 of the other sign at the end of a step.

    Looking only then moves the boundary outwards by .5826 standard deviations of a step (Broadie,
    Glasserman, Kou, Math. Finance 7 (1997) 325).
    """
    return 0.5 + 0.5826 * float(np.sqrt(2 * T * rate * (1 - 0.5**2) * step_size))


count = 60 if args.quick else 400
trace: list[tuple[float, float]] = []
with llg.Ensemble(len(args.barriers)) as ensemble:
    times, exact_times = [], []
    for index in ensemble.mine:
        barrier = float(args.barriers[index])
        spins = Spins(ensemble.comm, count, barrier, seed=10 + index)
        exact_times.append(passage(barrier, spins.T, rate, edge(spins.T)))
        t_end = 4.0 * exact_times[-1]
        side, flips = np.sign(spins.z()), 0
        step = llg.heun(spins.energy, spins.m, damping=llg.Gilbert(1.0), dt=step_size)
        for state in llg.march(step, t_end=t_end, progress=False):
            passed = side * spins.z() < -0.5
            side[passed] *= -1.0
            flips += int(passed.sum())
            if index == min(1, len(args.barriers) - 1) and state.n <= 4000 and len(side):
                trace.append((state.t, float(spins.z()[0])))
        times.append(t_end * count / float(spins.total(flips)))
        del spins, step, state
    times, exact_times = ensemble.gather(times), ensemble.gather(exact_times)
    traces = comm.gather(trace)
errors = [100 * (a / b - 1) for a, b in zip(times, exact_times, strict=True)]
say("\nK V/T   time between reversals   integral   error")
for barrier, measured, formula, error in zip(
    args.barriers, times, exact_times, errors, strict=True
):
    say(f"{barrier:5.3g}   {measured:22.1f}   {formula:8.1f}   {error:+.1f} %")
results |= {"barriers": args.barriers, "switching_times": times, "switching_exact": exact_times}
results["switching_error_percent"] = errors

# ## The same bits on any ranks
V, alone = m.function_space, mesh.create_unit_cube(MPI.COMM_SELF, args.n, args.n, args.n)
W = llg.vector_space(alone)
mine, every = original_numbers(V), original_numbers(W)
place = np.argsort(every)  # node k of the file is number place[k] of the mesh on one rank
bits = [normals(1, which, 7, 3) for which in (mine, every)]
same = np.array_equal(bits[0], bits[1][:, place[mine]])
x = [space.tabulate_dof_coordinates() for space in (V, W)]
same = same and np.allclose(x[0][: len(mine)], x[1][place[mine]], atol=1e-14)
results["ranks_equal"] = all(comm.allgather(bool(same)))
say(f"\n{comm.size} rank(s): the noise has the bits of one rank: {results['ranks_equal']}")


# ## The picture
def picture() -> None:
    with page(args.output / "thermal.png", (9.0, 5.6), 2, 2) as axes:
        ax = axes[0, 0]
        for (name, rows), colour in zip(curves.items(), PALETTE, strict=False):
            ax.plot(rows[:, 0], rows[:, 1], color=colour, lw=0.4, alpha=0.35)
            late = rows[len(rows) // 10 :]
            mean = np.cumsum(late[:, 1]) / np.arange(1, len(late) + 1)
            ax.plot(late[:, 0], mean, color=colour, lw=1.4, label=name.replace("_", " "))
        ax.axhline(1.0, color="#1a1a1a", lw=0.6, ls=":")
        ax.set(xscale="log", ylim=(0.8, 1.15), xlabel="$t$", ylabel="$(E - E_0)/(N k_B T)$")
        ax.set_title(f"equipartition, {nodes} nodes, and running means")
        ax.legend(frameon=False, loc="lower right")
        ax = axes[0, 1]
        middle, z = 0.5 * (edges[1:] + edges[:-1]), np.linspace(-1, 1, 201)
        ax.plot(z, np.exp(BARRIER * z * z) / weight, color="#1a1a1a", lw=1.0, label=r"$e^{-E/T}$")
        for (name, density), colour in zip(histogram.items(), PALETTE, strict=False):
            ax.plot(middle, density, "o", ms=2.5, color=colour, label=name.replace("_", " "))
        ax.set(xlabel="$m_z$", ylabel="density", ylim=(0, None))
        ax.set_title(f"{args.spins} spins, $KV = {BARRIER:g}\\,k_BT$")
        ax.legend(frameon=False)
        ax = axes[1, 0]
        rows = np.array(next(found for found in traces if found))
        ax.plot(rows[:, 0], rows[:, 1], color=PALETTE[0], lw=0.5)
        ax.set(xlabel="$t$", ylabel="$m_z$", ylim=(-1.05, 1.05))
        ax.set_title(f"one spin, $KV = {args.barriers[min(1, len(args.barriers) - 1)]}\\,k_BT$")
        ax = axes[1, 1]
        s = np.linspace(min(args.barriers) - 0.5, max(args.barriers) + 0.5, 40)
        ax.plot(s, [passage(b, 0.5 / b, rate, edge(0.5 / b)) for b in s], color="#1a1a1a", lw=1.0)
        ax.plot(args.barriers, times, "o", ms=5, color=PALETTE[1])
        ax.set(yscale="log", xlabel="$KV/k_BT$", ylabel="mean time between reversals")
        ax.set_title("Arrhenius and Neel; line: first-passage integral")


if args.output:
    on_root(comm, picture)
    say(f"Picture: {args.output / 'thermal.png'}")
record("thermal", args, results)

# ## What was reproduced
say(
    f"Reproduced: equipartition within {100 * max(abs(e - 1) for e in equipartition):.1f} %, "
    f"<m_z^2> = {exact:.4f} within {100 * max(abs(v / exact - 1) for v in mz2):.1f} %, times "
    f"between reversals within {max(map(abs, errors)):.1f} % of the first-passage integral."
)
