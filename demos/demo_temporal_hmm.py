# SPDX-License-Identifier: LGPL-3.0-or-later
# # Temporal upscaling of one spin in a fast field
#
# D. Arjmand, S. Engblom, G. Kreiss: Temporal upscaling in micromagnetism via heterogeneous
# multiscale methods, figures 5.1 to 5.4.
#
# A spin $m^\varepsilon$ is driven by a field with a fast period $\varepsilon$,
# $$\dot m^\varepsilon = -\beta\, m^\varepsilon \times H^\varepsilon
#   - \gamma\, m^\varepsilon \times (m^\varepsilon \times H^\varepsilon),
#   \qquad H^\varepsilon(t) = H(t, t/\varepsilon).$$
# The macro model (3.2) needs only the flux $F$,
# $$\dot M = F(t, M) + \tfrac{\gamma}{\beta} M \times F(t, M),$$
# and takes it, at the midpoint $t_a$ of each macro step, from a micro problem without damping,
# solved forward and backward over a window of a few periods, and averaged with a kernel
# $K \in \mathbb K^{p,q}$:
# $$\dot m = -\beta\, m \times H^\varepsilon, \quad m(t_a) = M, \qquad
#   F(t_a, M) = \int_{t_a - \tau/2}^{t_a + \tau/2} K_\tau(s - t_a)\, \dot m(s)\, ds.$$
# Theorem 1: $|F + \bar{\mathcal H} M| \le C (\tau + (\varepsilon/\tau)^{q+2}) |M|$.
#
# Run: `python demos/demo_temporal_hmm.py --output DIR --json FILE [--quick]`; on several ranks
# every rank computes the same, rank 0 writes.

from mpi4py import MPI

import numpy as np
from shared import begin, options, positive, record
from temporal_hmm_pictures import CURVES, draw

import dolfinx_llg as llg
from dolfinx_llg.hmm import SpinModel, Window, resolved, upscaled
from dolfinx_llg.la.cross import cross
from dolfinx_llg.output import on_root

parser = options("Figures 5.1-5.4 of the temporal HMM paper.")
parser.add_argument(
    "--eps", type=positive, default=0.01, help="period in figures 5.3 and 5.4, left"
)
parser.add_argument("--beta", type=positive, default=1.0, help="precession coefficient")
parser.add_argument(
    "--integrator", choices=("midpoint", "rk4"), default="midpoint", help="macro steps"
)
args = begin(parser)
comm = MPI.COMM_WORLD
results: dict[str, object] = {}


# The fields of the paper. Sections 5.1 and 5.4 (and the prose of 5.3) use the rotating one,
# section 5.2 the one with two cosines (5.1).
def rotating(t, z):
    return [np.sin(2 * np.pi * z), np.cos(2 * np.pi * z), 1.0]


def cosines(t, z):
    return [np.cos(2 * np.pi * z), np.cos(2 * np.pi * z), 1.0]


def squares(t, z):
    return [np.sin(2 * np.pi * z) ** 2, np.cos(2 * np.pi * z) ** 2, 1.0]


def slope(x, y):
    """Least-squares slope in doubly logarithmic axes."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def spin(field, eps, **window):
    steps = 16 if args.quick else 64
    window = Window(eps=eps, integrator=args.integrator, steps_per_period=steps, **window)
    return SpinModel(field, window, beta=args.beta)


# ## Figure 5.1, left: the tail
#
# In the fast time $\theta = t/\varepsilon \in [0, 1]$ the micro solution is
# $m_0 + \varepsilon m_1(\theta) + O(\varepsilon^2)$ with $m_0 = M = e_z$ and
# $m_1 = -M \times \int_0^\theta H(0, s)\, ds$ (times $\beta$), here in closed form.
M = np.array([0.0, 0.0, 1.0])
n_eps = 4 if args.quick else 9
tail_eps = np.logspace(-1, -3, n_eps)
tail = np.empty((2, n_eps))
for k, eps in enumerate(tail_eps):
    times, m = resolved(spin(rotating, eps), M, dt=eps / 64, n_steps=64)
    theta = times[:, None] / eps
    arc = 2 * np.pi * theta
    integral = np.hstack(((1 - np.cos(arc)) / (2 * np.pi), np.sin(arc) / (2 * np.pi), theta))
    m1 = -args.beta * cross(M, integral)
    tail[0, k] = np.linalg.norm(m - M, axis=1).max()
    tail[1, k] = np.linalg.norm(m - M - eps * m1, axis=1).max()
results["slope_tail_m0"] = slope(tail_eps, tail[0])
results["slope_tail_m1"] = slope(tail_eps, tail[1])

# ## Figure 5.1, right: the upscaling error at $\tau = 5.3\,\varepsilon$
#
# The paper takes $M = e_z$, parallel to the mean field, and $t_a = 0$, about which the field is
# even: there the exact flux is 0 and the O(eps) term of the error vanishes. A general M and a
# fixed phase $t_a = 0.2\,\varepsilon$ show the order 1 of theorem 1.
general = np.ones(3) / np.sqrt(3)
mean_cosines = np.array([0.0, 0.0, 1.0])


def upscaling_error(eps, m, phase, **window):
    flux, _ = spin(cosines, eps, **window).flux(phase * eps, m)
    return np.linalg.norm(flux + args.beta * np.cross(m, mean_cosines))


ups_eps = np.logspace(-1, -3.5, n_eps)
q_values = (0, 1, 3, 5, 7)
upscaling = {
    q: np.array(
        [
            [upscaling_error(eps, general, 0.2, p=1, q=q) for eps in ups_eps],
            [upscaling_error(eps, M, 0.0, p=1, q=q) for eps in ups_eps],
        ]
    )
    for q in q_values
}
results["slope_upscaling"] = slope(ups_eps, upscaling[7][0])
for q in q_values:
    results[f"upscaling_plateau_q{q}"] = float(upscaling[q][1, -1])

# ## Figure 5.2: the upscaling error at fixed $\tau$
#
# While $(\varepsilon/\tau)^{q+2}$ dominates, the order is q + 2. The ratios $\tau/\varepsilon$
# lie at the maxima of the side lobes of the kernel's transform: integers for even q,
# half-integers for odd q.
ratios = np.array([4, 6, 10, 16] if args.quick else [4, 6, 9, 14, 20, 30, 44])
fixed_eps = {(tau, q): tau / (ratios + 0.5 * (q % 2)) for tau in (0.1, 0.2) for q in q_values}
fixed = {
    (tau, q): np.array([upscaling_error(eps, M, 0.0, tau=tau, p=1, q=q) for eps in values])
    for (tau, q), values in fixed_eps.items()
}
for q in (0, 1):
    results[f"slope_fixed_tau_q{q}"] = slope(fixed_eps[0.1, q], fixed[0.1, q])

# ## Figure 5.3: 20 macro steps to T = 2 pi
#
# $\varepsilon = 0.01$, $\tau = 5\varepsilon$, p = 5, q = 4 as in the paper; its initial datum is
# not stated: here $M_0 = (1, 0, 0)$. The error against the averaged equation (4.3) has two
# parts (section 4.3): that of the midpoint rule with this step, found by running it on the
# averaged field, and that of the upscaling. The paper's kernel lets 2e-2 of the fast oscillation
# pass at $\tau = 5\varepsilon$ (a side lobe); p = 1, q = 7, $\tau = 5.3\varepsilon$ only 3e-6.
T, m0 = 2 * np.pi, np.array([1.0, 0.0, 0.0])
paper_kernel = {"tau": 5 * args.eps, "p": 5, "q": 4}
good_kernel = {"tau": 5.3 * args.eps, "p": 1, "q": 7}
per_period = 16 if args.quick else 32
cases = {
    r"sine, $\gamma = 1$": (rotating, [0.0, 0.0, 1.0], 1.0),
    r"squares, $\gamma = 1$": (squares, [0.5, 0.5, 1.0], 1.0),
    r"sine, $\gamma = 0.1$": (rotating, [0.0, 0.0, 1.0], 0.1),
}
trajectories = {}


def hmm(model, gamma, m0=m0, t_end=T, n=20, **options):
    step = upscaled(model, m0, dt=t_end / n, damping=gamma, tolerance=1e-14, **options)
    run = llg.march(step, t_end=t_end, progress=False)
    t, m = zip(*((state.t, state.m) for state in run), strict=True)
    return np.array(t), np.array(m)


def distance(a, b):
    return float(np.linalg.norm(a - b, axis=-1).max())


for k, (label, (field, mean, gamma)) in enumerate(cases.items(), 1):

    def averaged(t, z, mean=mean):
        return mean

    model = spin(field, args.eps, **paper_kernel)
    t_hmm, M_hmm = hmm(model, gamma)
    _, M_good = hmm(spin(field, args.eps, **good_kernel), gamma)
    constant = spin(averaged, args.eps, **paper_kernel)
    _, M_midpoint = hmm(constant, gamma)
    _, exact = resolved(constant, m0, dt=T / 2000, n_steps=2000, damping=gamma, every=100)
    n_direct = 20 * round(T / 20 / args.eps * per_period)
    t_direct, direct = resolved(
        spin(field, args.eps), m0, dt=T / n_direct, n_steps=n_direct, damping=gamma, every=4
    )
    trajectories[label] = (t_direct, direct, t_hmm, M_hmm)
    results[f"error_hmm_averaged_case{k}"] = distance(M_hmm, exact[1:])
    results[f"error_macro_case{k}"] = distance(M_midpoint, exact[1:])
    results[f"error_upscaling_case{k}"] = distance(M_hmm, M_midpoint)
    results[f"error_upscaling_good_kernel_case{k}"] = distance(M_good, M_midpoint)
    results[f"error_hmm_direct_case{k}"] = distance(M_hmm[-1], direct[-1])
    results[f"field_evaluations_case{k}"] = model.field.evaluations
results["error_hmm_averaged"] = max(results[f"error_hmm_averaged_case{k}"] for k in (1, 2, 3))
results["field_evaluations_direct"] = 3 * n_direct

# ## Figure 5.4: the length of M
#
# Left: $|M_n|$. With the normal part of F only (`projection="flux"`) it stays 1 to the tolerance of
# the solver, with $M/|M|$ after each step (`projection="magnetization"`, section 6) to rounding.
# Right: its largest deviation until t = 1 in 10 steps. The order 1 is clean only if all midpoints
# $t_{n+1/2}$ meet the field in the same phase: eps = 0.1/k with k even puts them at phase 0.
start = np.ones(3) / np.sqrt(3)
rotating_eps = spin(rotating, args.eps, **good_kernel)
t_drift, M_drift = hmm(rotating_eps, 1.0, m0=start)
_, M_kept = hmm(rotating_eps, 1.0, m0=start, projection="flux")
_, M_unit = hmm(rotating_eps, 1.0, m0=start, projection="magnetization")


def drift(m):
    return float(np.abs(np.linalg.norm(m, axis=-1) - 1.0).max())


results["drift"] = drift(M_drift)
results["drift_projected"] = drift(M_kept)
results["drift_normalised"] = drift(M_unit)
results["change_by_normalising"] = distance(M_unit, M_drift)
drift_eps = 0.1 / np.array([6, 12, 24, 48] if args.quick else [6, 8, 12, 16, 24, 32, 48, 64, 96])
drifts, evaluations = [], []
for eps in drift_eps:
    model = spin(rotating, eps, p=1, q=7)
    drifts.append(drift(hmm(model, 1.0, m0=start, t_end=1.0, n=10)[1]))
    evaluations.append(model.field.evaluations)
other_eps = drift_eps * 0.93
other = [
    drift(hmm(spin(rotating, eps, p=1, q=7), 1.0, m0=start, t_end=1.0, n=10)[1])
    for eps in other_eps
]
results["slope_drift"] = slope(drift_eps, drifts)
results["field_evaluations_min_over_eps"] = min(evaluations)
results["field_evaluations_max_over_eps"] = max(evaluations)


# ## What was reproduced
paper = {
    "slope_tail_m0": "1 (fig. 5.1, left)",
    "slope_tail_m1": "2 (fig. 5.1, left)",
    "slope_upscaling": "1 (fig. 5.1, right; theorem 1)",
    "slope_fixed_tau_q0": "2 (fig. 5.2; q + 2)",
    "slope_fixed_tau_q1": "3 (fig. 5.2; q + 2)",
    "error_hmm_averaged": "not stated (fig. 5.3: 'captures the coarse features')",
    "drift": "not stated in numbers (fig. 5.4, left)",
    "slope_drift": "1 (fig. 5.4, right)",
}
if args.output:
    curves = {name: globals()[name] for name in CURVES}
    on_root(comm, lambda: draw(args.output, **curves))
record("temporal_hmm", args, results)
if comm.rank == 0:
    for name, value in results.items():
        print(f"{name:38} {value:<12.4g} {'paper: ' + paper[name] if name in paper else ''}")
    print(
        "Reproduced: the orders 1 and 2 of the tail, order 1 of the upscaling error and of the "
        "length of M (figures 5.1, 5.2, 5.4), and the three runs of figure 5.3 in 20 macro steps."
    )
