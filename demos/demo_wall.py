# SPDX-License-Identifier: LGPL-3.0-or-later
# # Which scheme moves a wall at the right speed, with which time step
#
# Three motions whose speed is set by the damping, all with closed forms:
#
# - **walker**: a Bloch wall in a field along its domains (easy axis z, hard axis y; Schryer and
#   Walker, J. Appl. Phys. 45 (1974) 5406), with the field below Walker's,
#   $$v = \frac{\gamma_0 \Delta H}{\alpha}, \qquad \sin 2\phi = \frac{2 H}{\alpha H_K}, \qquad
#     \Delta = \sqrt{\frac{A}{K_u + K_h \sin^2\phi}}, \qquad H_K = \frac{2 K_h}{\mu_0 M_s};$$
# - **zhang_li**: the same wall without a field, driven by a current (Thiaville et al., Europhys.
#   Lett. 69 (2005) 990): $v = \xi u/\alpha$, $\sin 2\phi = 2 (v - u)/(\gamma_0 \Delta H_K)$;
# - **macrospin**: a spin with an easy plane that a spin current drives round against the damping,
#   with the frequency $a/(2\pi\alpha)$ for the damping-like torque $a\, m \times (m \times p)$.
#
# A scheme that damps by itself is slow in all of them: backward Euler adds $\Delta t\,\omega/2$ to
# $\alpha$ for a motion of the frequency $\omega$. The implicit midpoint rule adds nothing; the
# second-order tangent plane little as long as $\Delta t\,|m \cdot h| < 1$. Every scheme measures in
# the run what it adds, and warns once where that is more than 5 % of $\alpha$ (`warned`).
#
# Speeds are taken over the second half of a run, over a whole number of cells.
#
# Run: `python demos/demo_wall.py --output DIR --json FILE [--quick]`, also under `mpirun -n N`.

import math
import time
import warnings

from mpi4py import MPI  # noqa: F401  isort: skip

import numpy as np
import ufl
from dolfinx import fem, mesh
from pages import page
from shared import begin, comm, options, positive, record, say

import dolfinx_llg as llg
from dolfinx_llg.output import on_root

parser = options("Speeds of walls and a frequency over the time step, all schemes.")
parser.add_argument("--time-ps", type=positive, help="length of a run (default 160, quick 24)")
args = begin(parser, {"time_ps": (160.0, 24.0)})

# ## The material and the closed forms
MS, A, K_U, K_H, ALPHA = 5.8e5, 1e-11, 5e5, 4e5, 0.1
FIELD = 0.04  # T
SPEED, XI = 300.0, 0.05  # u [m/s] and non-adiabaticity of the current
TORQUE = 0.03  # a/Ms of the macrospin
# What h = 2 nm makes of the speeds [m/s], by RK4P with small steps.
MESH_LIMITS = {"walker": 298.8, "zhang_li": 144.8}
UNITS = llg.units.Units(Ms0=MS, length=1e-9)
PS = UNITS.time_from_s(1e-12)
H, H_K = FIELD / llg.units.MU0, 2 * K_H / (llg.units.MU0 * MS)


def wall(phi: float) -> float:
    """Width of a wall with the tilt phi [nm]."""
    return math.sqrt(A / (K_U + K_H * math.sin(phi) ** 2)) * 1e9


class Wall:
    """A Bloch wall on 300 nm, cells of 2 nm, that starts from its moving profile."""

    unit, scale = "m/s", 1.0

    def __init__(self, driven_by: str) -> None:
        self.mesh = mesh.create_interval(comm, 150, [0.0, 300.0])
        q_u, q_h = UNITS.q_u_from_K_u(K_U), UNITS.q_u_from_K_u(K_H)
        terms = [
            llg.Exchange(UNITS.kappa_from_A(A)),
            llg.UniaxialAnisotropy((0, 0, 1), q_u),
            llg.UniaxialAnisotropy((0, 1, 0), -q_h),
        ]
        gamma0 = 1.0 / (UNITS.time_unit * MS)
        if driven_by == "field":
            terms.append(llg.Zeeman((0, 0, UNITS.field_from_T(FIELD))))
            phi = 0.5 * math.asin(2 * H / (ALPHA * H_K))
            self.exact = gamma0 * wall(phi) * 1e-9 * H / ALPHA
            self.mesh_limit = MESH_LIMITS["walker"]
        else:
            terms.append(llg.ZhangLi(UNITS.velocity_from_m_per_s(SPEED), XI))
            self.exact, self.mesh_limit = XI * SPEED / ALPHA, MESH_LIMITS["zhang_li"]
            sine = (self.exact - SPEED) / (gamma0 * wall(0.0) * 1e-9 * H_K / 2)
            phi = 0.5 * math.asin(sine)
        self.energy, width = llg.Energy(terms), wall(phi)

        def start(x: np.ndarray) -> np.ndarray:
            s = (x[0] - 100.0) / width
            side = np.array([math.cos(phi), math.sin(phi)])[:, None] / np.cosh(s)
            return np.vstack([side, -np.tanh(s)])

        self.m = llg.magnetization(self.mesh, start)
        self.place = fem.form(0.5 * self.m[2] * ufl.dx)

    def value(self) -> float:
        """Position of the wall [nm], up to a constant."""
        return sum(comm.allgather(fem.assemble_scalar(self.place)))

    @staticmethod
    def rate(t: np.ndarray, q: np.ndarray) -> float:
        """Speed [m/s] over a whole number of cells at the end, or the mean slope."""
        half = len(q) // 2
        cells = 2.0 * math.floor((q[-1] - q[half]) / 2.0)
        if cells < 2.0:
            return float(np.polyfit(t[half:], q[half:], 1)[0]) * 1e3
        begin_ = np.interp(q[-1] - cells, q[half:], t[half:])
        return float(cells / (t[-1] - begin_)) * 1e3


class Macrospin:
    """One spin, hard axis z, and a polarizer along -z."""

    def __init__(self) -> None:
        self.mesh = mesh.create_interval(comm, 2, [0.0, 1.0])
        torque = llg.Slonczewski(TORQUE, (0, 0, -1), thickness=1.0, polarisation=1.0)
        self.energy = llg.Energy([llg.UniaxialAnisotropy((0, 0, 1), -1.0), torque])
        turn = TORQUE / ALPHA
        self.exact = self.mesh_limit = turn / (2 * math.pi * UNITS.time_unit) / 1e9
        self.m = llg.magnetization(self.mesh, (math.sqrt(1 - turn**2), 0.0, -turn))
        self.whole = [fem.form(self.m[i] * ufl.dx) for i in (0, 1)]

    def value(self) -> float:
        """Phase in turns, up to whole ones."""
        x, y = (sum(comm.allgather(fem.assemble_scalar(form))) for form in self.whole)
        return math.atan2(y, x) / (2 * math.pi)

    @staticmethod
    def rate(t: np.ndarray, q: np.ndarray) -> float:
        """Frequency [GHz] over the second half."""
        turns = np.unwrap(q, period=1.0)
        half = len(turns) // 2
        return float(np.polyfit(t[half:], turns[half:], 1)[0]) * 1e3


PROBLEMS = {
    "walker": lambda: Wall("field"),
    "zhang_li": lambda: Wall("current"),
    "macrospin": Macrospin,
}

# ## The schemes
SCHEMES = {
    "midpoint": (llg.midpoint, {}),
    "tangent_plane_2": (llg.tangent_plane, {"second_order": True}),
    "tangent_plane": (llg.tangent_plane, {}),
    "tangent_plane_half": (llg.tangent_plane, {"theta": 0.5}),
    "gao": (llg.gao, {"projection": True}),
    "cimrak": (llg.cimrak, {"projection": True}),
    "an": (llg.an, {}),
    "prohl": (llg.prohl, {"projection": True}),
    "rk4": (llg.rk4, {}),
    "heun": (llg.heun, {}),
}
STEPS = [0.78, 3.12] if args.quick else [0.39, 0.78, 1.56, 3.12]
EXPLICIT = {"rk4": 0.3, "heun": 0.1}  # ps, below their limits on the wall
ADAPTIVE = ["midpoint", "tangent_plane_2"] + ([] if args.quick else ["gao", "rk4"])
if args.quick:
    SCHEMES = {k: SCHEMES[k] for k in ("midpoint", "tangent_plane_2", "gao", "rk4")}


def run(problem: str, scheme: str, dt_ps: float, adaptive: bool) -> dict:
    """Run one scheme; return a row of the table."""
    case = PROBLEMS[problem]()
    make, more = SCHEMES[scheme]
    step = make(case.energy, case.m, dt=dt_ps * PS, damping=llg.Gilbert(ALPHA), **more)
    control = llg.Adaptive(rtol=1e-3) if adaptive else None
    t, q = [0.0], [case.value()]
    seconds = 0.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        since = time.perf_counter()
        for state in llg.march(step, t_end=args.time_ps * PS, adaptive=control, progress=False):
            seconds += time.perf_counter() - since
            t.append(state.t / PS)
            q.append(case.value())
            since = time.perf_counter()
    value = case.rate(np.array(t), np.array(q))
    warned = any(issubclass(w.category, llg.NumericalDampingWarning) for w in caught)
    row = {
        "problem": problem,
        "scheme": scheme,
        "adaptive": adaptive,
        "dt_ps": (t[-1] / (len(t) - 1)) if adaptive else dt_ps,
        "value": value,
        "exact": case.exact,
        "mesh_limit": case.mesh_limit,
        "seconds": max(comm.allgather(seconds)),
        "warned": warned,
    }
    error = value / case.mesh_limit - 1
    kind = "adaptive" if adaptive else "fixed"
    say(f"{problem:9} {scheme:19} {kind:8} {row['dt_ps']:6.3f} {value:8.2f} {100 * error:+7.1f} % "
        f"{row['seconds']:7.2f} s  {'warned' if warned else ''}")  # fmt: skip
    return row


say("problem   scheme              steps     dt ps    value    error    time")
rows = []
for problem in PROBLEMS:
    for scheme in SCHEMES:
        steps = [EXPLICIT[scheme]] if scheme in EXPLICIT else STEPS
        rows += [run(problem, scheme, dt, False) for dt in steps]
    rows += [run(problem, scheme, 0.1, True) for scheme in ADAPTIVE]


# ## The picture
INKS = "#0b6e99 #d1495b #e0a030 #8f6bb3 #3a7d44 #7a7a7a #b08968 #c77dff #000000 #555555".split()
COLOURS = dict(zip(SCHEMES, INKS, strict=False))
TITLES = {
    "walker": "wall in a field",
    "zhang_li": "wall in a current",
    "macrospin": "macrospin in a spin current",
}


def picture() -> None:
    with page(args.output / "wall.png", (10.5, 3.8), 1, 3, sharey=True) as (axes,):
        for axis, problem in zip(axes, PROBLEMS, strict=True):
            mine = [row for row in rows if row["problem"] == problem]
            for scheme, colour in COLOURS.items():
                own = [row for row in mine if row["scheme"] == scheme and not row["adaptive"]]
                dt = [row["dt_ps"] for row in own]
                ratio = [row["value"] / row["mesh_limit"] for row in own]
                axis.plot(dt, ratio, color=colour, lw=1, marker="o", ms=3.5,
                          label=scheme.replace("_", " "))  # fmt: skip
                for x, y, row in zip(dt, ratio, own, strict=True):
                    if row["warned"]:
                        axis.plot(x, y, "o", ms=3.5, color=colour, mfc="white")
            for row in (row for row in mine if row["adaptive"]):
                colour = COLOURS[row["scheme"]]
                inside = "white" if row["warned"] else colour
                ratio = row["value"] / row["mesh_limit"]
                axis.plot(row["dt_ps"], ratio, "*", ms=9, color=colour, mfc=inside)
            axis.axhline(1.0, color="0.7", lw=0.8, zorder=0)
            axis.set_xscale("log")
            axis.set_xticks(STEPS, [f"{dt:g}" for dt in STEPS])
            axis.set_xticks([], minor=True)
            axis.set(title=TITLES[problem], xlabel=r"$\Delta t$ [ps]", ylim=(0, 1.15))
        axes[0].set_ylabel("speed or frequency / right one")
        axes[0].plot([], [], "*", color="0.3", ms=9, label="adaptive")
        axes[0].plot([], [], "o", color="0.3", mfc="white", ms=3.5, label="warned")
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(handles, labels, loc="outside right center", frameon=False)


if args.output:
    on_root(comm, picture)
    say(f"Picture: {args.output / 'wall.png'}")
record("wall", args, rows)

# ## What was reproduced
off = [abs(row["value"] / row["mesh_limit"] - 1) for row in rows]
silent = max(error for error, row in zip(off, rows, strict=True) if not row["warned"])
alarmed = [error for error, row in zip(off, rows, strict=True) if row["warned"]]
middle = [error for error, row in zip(off, rows, strict=True)
          if row["problem"] == "walker" and row["scheme"] == "midpoint"]  # fmt: skip
say(
    f"Reproduced: Walker's speed, {rows[0]['exact']:.1f} m/s, by the midpoint rule to "
    f"{100 * max(middle):.1f} % of the mesh's own value {MESH_LIMITS['walker']} at any step shown. "
    f"The worst row without a warning is off by {100 * silent:.1f} %, the best with one by "
    f"{100 * min(alarmed, default=math.nan):.1f} %."
)
