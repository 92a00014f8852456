# SPDX-License-Identifier: LGPL-3.0-or-later
# # Adaptive time steps: what they gain, and where they cannot
#
# A step of size $\Delta t$ of a method of order p leaves the local error
# $C\,\Delta t^{p+1} m^{(p+1)}$. The derivative is a divided difference of the new state and the
# p + 1 states before it: an estimate that costs no further solve. A step whose estimate exceeds
# *rtol* (m has length 1) is rejected; a PI controller with a dead band sets the next one, so that
# matrices and preconditioners are made anew only where the step changes by a quarter at least.
#
# Three runs, each against a fixed step of the same scheme, the largest (to 10 %) that reaches the
# error of the adaptive run: the largest L2 norm of m - m_ref over the output times.
#
# - **pulse**: a composite particle (a checkerboard of exchange and anisotropy) is switched by a
#   rectangular field pulse and then rests for ten pulse lengths. The end of the pulse is named
#   (`jumps`), so that steps end there.
# - **ringing**: a chain at Gilbert damping 0.05 that rings from start to end. There is one time
#   scale: adaptive steps cannot win, and must not lose.
# - **relax**: Gilbert damping 1, until max |dm/dt| has fallen by a factor 1e6.
#
# Along the ringing run the true local error of each step is measured (the step done again in
# thirty parts) and compared with *rtol*.
#
# Run: `[mpirun -n 2] python demos/demo_adaptive.py --output DIR --json FILE [--quick]`.

import math
import time
import warnings

from mpi4py import MPI  # noqa: F401  isort: skip

import matplotlib as mpl
import numpy as np
import ufl
from dolfinx import fem, mesh
from matplotlib.figure import Figure
from shared import begin, comm, options, real, record, say, whole

import dolfinx_llg as llg
from dolfinx_llg.output import on_root
from dolfinx_llg.plot import PAPER

parser = options("Adaptive time steps against fixed ones of the same error.")
parser.add_argument(
    "--rtol", type=real(0.0, 0.1), default=1e-3, help="allowed local error of a step"
)
parser.add_argument("--n", type=whole(4), help="cells per side of the particle (12, quick 4)")
args = begin(parser, {"n": (12, 4)})
# The relaxation is wanted, not its speed: that large steps damp it more is said elsewhere.
warnings.filterwarnings("ignore", message=".*adds about .* of the damping")
PULSE = 2.0 if args.quick else 8.0
RING = 4.0 if args.quick else 40.0


# ## The three problems
class Problem:
    """A run that can be repeated: its step, its end, its output times, its jumps."""

    def __init__(self, name, energy, m, damping, t_end, *, second_order=True, jumps=()):
        self.name, self.energy, self.m, self.damping = name, energy, m, damping
        self.start, self.t_end, self.jumps = m.x.array.copy(), t_end, jumps
        self.second_order = second_order
        self.times = np.linspace(0.0, t_end, 23)[1:]
        v, dx = m - fem.Constant(m.function_space.mesh, np.zeros(3)), ufl.dx
        self._seen = fem.Function(m.function_space)
        self._norm = fem.form(ufl.inner(v - self._seen, v - self._seen) * dx)

    def step(self, dt):
        self.m.x.array[:] = self.start
        return llg.tangent_plane(
            self.energy, self.m, dt=dt, damping=self.damping, second_order=self.second_order
        )

    def distance(self, other):
        """L2 norm of m - other."""
        self._seen.x.array[:] = other
        return math.sqrt(sum(comm.allgather(fem.assemble_scalar(self._norm))))


def run(problem, dt, adaptive=None, until=0.0):
    """States at the output times, steps, seconds and the history of t, dt, error."""
    step, states, rows, rejected = problem.step(dt), [], [], 0
    comm.Barrier()
    begin, first = time.perf_counter(), None
    for state in llg.march(
        step,
        t_end=problem.t_end,
        adaptive=adaptive,
        land_on=problem.times,
        jumps=problem.jumps,
        progress=False,
    ):
        rows.append((state.t, state.dt, state.error, state.max_dmdt))
        rejected = state.rejected
        if np.any(np.abs(problem.times - state.t) < 1e-9 * problem.t_end):
            states.append(problem.m.x.array.copy())
        first = state.max_dmdt if first is None else max(first, state.max_dmdt)
        if until and state.max_dmdt < until * first:
            break
    return states, np.array(rows), rejected, time.perf_counter() - begin


def error(problem, states, reference):
    found = []
    for state, exact in zip(states, reference, strict=False):
        problem.m.x.array[:] = state
        found.append(problem.distance(exact))
    return max(found)


def compare(problem, dt, until=0.0):
    """The adaptive run and the fixed run of the same error, against the reference."""
    tight = llg.Adaptive(rtol=args.rtol / (300 if problem.second_order else 100))
    reference, *_ = run(problem, dt / 10, tight, until)
    states, rows, rejected, seconds = run(problem, dt, llg.Adaptive(rtol=args.rtol), until)
    if until:  # the end of the run is the adaptive run's, for all of them
        problem.t_end = float(rows[-1, 0])
        problem.times = problem.times[problem.times <= problem.t_end]
        reference, *_ = run(problem, dt / 10, tight)
        states, rows, rejected, seconds = run(problem, dt, llg.Adaptive(rtol=args.rtol))
    wanted = error(problem, states, reference)
    low, high = float(np.min(rows[:, 1])), 4.0 * float(np.max(rows[:, 1]))
    best = None
    while high / low > 1.1 or best is None:  # the error grows with the step: bisect its logarithm
        middle = math.sqrt(low * high)
        fixed, fixed_rows, _, fixed_seconds = run(problem, middle)
        found = error(problem, fixed, reference)
        if found <= wanted:
            low, best = middle, (found, len(fixed_rows), fixed_seconds)
        else:
            high = middle
        if high / low < 1.02 and best is None:
            low /= 2.0
    name = problem.name
    results = {
        f"{name}_steps_adaptive": len(rows), f"{name}_steps_fixed": best[1],
        f"{name}_rejected": rejected,
        f"{name}_error_adaptive": wanted, f"{name}_error_fixed": best[0],
        f"{name}_seconds_adaptive": seconds, f"{name}_seconds_fixed": best[2],
        f"{name}_dt_fixed": low,
    }  # fmt: skip
    say(
        f"{name:>8}: {len(rows):5d} adaptive steps ({rejected} rejected, {seconds:.1f} s), "
        f"{best[1]:5d} fixed ones ({best[2]:.1f} s) of error {best[0]:.1e} / {wanted:.1e}"
    )
    return results, rows


def particle():
    """A square of four by four grains, soft and hard, switched by a pulse along -z."""
    msh = mesh.create_rectangle(comm, [[0, 0], [4, 4]], [args.n, args.n])
    box = ([0.0, 0.0], [4.0, 4.0])
    kappa = llg.checkerboard(msh, (4, 4), contrast=4.0, seed=3, low=0.5, box=box)
    q_u = llg.checkerboard(msh, (4, 4), contrast=4.0, seed=3, low=0.2, box=box)
    pulse = llg.Zeeman(lambda t: (0.6, 0.0, -1.6) if t < PULSE else (0.0, 0.0, 0.0))
    terms = [llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), q_u), pulse]
    m = llg.magnetization(msh, (0.05, 0.0, 1.0))
    return Problem("pulse", llg.Energy(terms), m, llg.Gilbert(0.3), 11 * PULSE, jumps=(PULSE,))


def ringing_chain():
    """A chain of twisted moments in a field, with an easy axis, hardly damped."""
    msh = mesh.create_interval(comm, 10 if args.quick else 40, [0.0, 20.0])
    terms = [
        llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1), 0.5), llg.Zeeman((0.3, 0.0, 0.4)),
    ]  # fmt: skip

    def twisted(x):
        return np.array([0.2 + 0.3 * np.sin(0.4 * x[0]), 0.5 * np.cos(0.3 * x[0]), 1 + 0 * x[0]])

    m = llg.magnetization(msh, twisted)
    return Problem("ringing", llg.Energy(terms), m, llg.Gilbert(0.05), RING)


def relaxing_chain():
    """A chain far from rest: exchange evens out its waves fast, a weak axis turns it slowly."""
    msh = mesh.create_interval(comm, 10 if args.quick else 40, [0.0, 20.0])
    energy = llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1), 0.1)])

    def waves(x):
        return np.array([1.0 + np.cos(2.5 * x[0]), np.sin(1.9 * x[0]), 0.4 + 0 * x[0]])

    m = llg.magnetization(msh, waves)
    t_end = 1000.0
    problem = Problem("relax", energy, m, llg.Gilbert(1.0), t_end, second_order=False)
    problem.times = np.geomspace(0.02, t_end, 23)
    return problem


def tolerance_ratio(problem, dt):
    """Largest true local error over rtol: steps of an adaptive run done again in thirty parts."""
    stepper = llg.stepper(problem.step(dt))
    again = fem.Function(problem.m.function_space, name="m")
    again.x.array[:] = problem.start
    fine = llg.stepper(
        llg.tangent_plane(problem.energy, again, dt=dt, damping=problem.damping, second_order=True)
    )
    before, t, worst = problem.start, 0.0, 0.0
    run_of_it = llg.march(
        stepper,
        t_end=min(RING, 10.0),
        adaptive=llg.Adaptive(rtol=args.rtol),
        progress=False,
    )
    for state in run_of_it:
        again.x.array[:] = before
        fine.dt = state.dt / 30
        for _ in llg.march(fine, t=t, t_end=state.t, progress=False):
            pass
        difference = (again.x.array - problem.m.x.array).reshape(-1, 3)
        local = float(np.linalg.norm(difference, axis=1).max(initial=0.0))
        worst = max(worst, *comm.allgather(local))
        before, t = problem.m.x.array.copy(), state.t
    return worst / args.rtol


# ## The runs
results, histories = {}, {}
for problem, until in (
    (particle(), 0.0),
    (ringing_chain(), 0.0),
    (relaxing_chain(), 3e-2 if args.quick else 1e-6),
):
    found, histories[problem.name] = compare(problem, 0.02, until)
    results |= found
results["tolerance_ratio_worst"] = tolerance_ratio(ringing_chain(), 0.02)


# ## The steps that were taken
def picture() -> None:
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(7.2, 2.4), layout="constrained")
        for axis, (name, rows) in zip(figure.subplots(1, 3), histories.items(), strict=True):
            axis.semilogy(rows[:, 0], rows[:, 1], lw=1.2, label="adaptive")
            fixed = results[f"{name}_dt_fixed"]
            axis.axhline(fixed, color="C1", ls="--", label="fixed, same error")
            counts = results[f"{name}_steps_adaptive"], results[f"{name}_steps_fixed"]
            axis.set(xlabel="time", title=f"{name}: {counts[0]} steps, fixed {counts[1]}")
        figure.axes[0].set_ylabel("time step")
        figure.axes[1].legend(loc="lower right")
        figure.savefig(args.output / "adaptive.png", dpi=200)


if args.output:
    on_root(comm, picture)

# ## What was reproduced
# Estimated errors keep the true ones within three times the tolerance; the pulse needs at most a
# third of the fixed steps, the relaxation a tenth, and the ringing chain not more than 1.1 times.
for name, bar in (("pulse", 1 / 3), ("ringing", 1.1), ("relax", 0.1)):
    share = results[f"{name}_steps_adaptive"] / results[f"{name}_steps_fixed"]
    say(f"{name}: {share:.3f} of the fixed steps (wanted: at most {bar:.3f})")
say(f"largest local error: {results['tolerance_ratio_worst']:.2f} rtol (wanted: at most 3)")
record("adaptive", args, results)
