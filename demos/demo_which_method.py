# SPDX-License-Identifier: LGPL-3.0-or-later
# # Which method when: one composite, five ways to compute it
#
# $$ \partial_t m = -m \times H - \lambda\, m \times (m \times H), \qquad
#    H = \nabla\cdot(\kappa^\epsilon \nabla m) $$
# on the unit square with $\kappa^\epsilon\, \partial m/\partial n = 0$, for a coefficient that is
#
# * periodic: EX2 of Leitenmaier and Runborg, arXiv:2108.09463, $\kappa(x/\epsilon)$;
# * locally periodic: their eq. (42), $\kappa(x_2, x/\epsilon)$;
# * random: a checkerboard of square tiles of side $\epsilon$, 1 or 10 with equal probability: no
#   period, and correlated over one tile only.
#
# Five ways, each on macro meshes of several sizes H:
#
# * averaged: the mean of kappa over each macro cell, what one gets without homogenization;
# * homogenized: $A^H$ from a cell problem; from one for each row of nodes where kappa is locally
#   periodic; for the random composite there is no cell, and the whole sample is made one;
#   with the corrector $\epsilon \nabla m_0 \chi$ in the periodic case;
# * HMM: the exchange tensor of each macro cell from micro problems on boxes of a few $\epsilon$, by
#   their adjoint; nothing but the scale $\epsilon$ is known of kappa;
# * GRPS: energy-minimising basis functions of the fine mesh, no assumption on kappa at all; also
#   reduced, that is with the terms of a step taken on a few fine cells chosen in a training run
#   (localized so that constants are kept: else the error of localization grows like 1/H);
# * resolved: P1 on meshes of size h, the finest of which is the reference.
#
# All take Gao's scheme with the same dt, so that no error in time is left in the differences.
# Errors are those of m at the final time on the reference mesh; costs are seconds, of what is done
# once (basis, cell and micro problems) and of the time steps.
#
# Run: `python demos/demo_which_method.py --output DIR --json FILE`, also under `mpirun -n N`.

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

import matplotlib as mpl
import numpy as np
import ufl
from dolfinx import fem, mesh
from matplotlib.figure import Figure

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.hmm import MicroBox, upscaled_tensor
from dolfinx_llg.homogenization import (
    CellSolution,
    evaluate_periodic,
    homogenize,
    homogenize_locally,
    nodal_gradient,
)
from dolfinx_llg.output import on_root, output_folder, write_json
from dolfinx_llg.plot import PAPER
from dolfinx_llg.reduction import hyper_reduce

parser = argparse.ArgumentParser(description="Five methods for three composites.")
parser.add_argument("--n", type=int, help="reference cells per side (default 192, quick 32)")
parser.add_argument("--inverse-eps", type=int, help="1/eps (default 16, quick 4)")
parser.add_argument("--macro", type=int, nargs="+", help="macro cells per side (default 6 12 24)")
parser.add_argument("--ell", type=int, default=3, help="layers of the GRPS patches")
parser.add_argument("--steps", type=int, default=10, help="time steps")
parser.add_argument("--t-end", type=float, default=0.1, help="final time")
parser.add_argument("--damping", type=float, default=0.5, help="lambda")
parser.add_argument("--json", type=Path, help="file for all figures")
parser.add_argument("--output", type=Path, help="folder for the picture")
parser.add_argument("--quick", action="store_true", help="smoke run")
args = parser.parse_args()
args.n = args.n or (32 if args.quick else 192)
args.inverse_eps = args.inverse_eps or (4 if args.quick else 16)
args.macro = args.macro or ([4] if args.quick else [6, 12, 24])
if args.quick:
    args.steps, args.t_end = 4, 0.02
comm = MPI.COMM_WORLD
EPS = 1.0 / args.inverse_eps
if args.output:
    output_folder(args.output, comm)


def say(text: str) -> None:
    if comm.rank == 0:
        print(text, flush=True)


# ## The composites
# What each method may know: a formula in x (all), the formula of a cell (homogenization).
TILES = 1.0 + 9.0 * (np.random.default_rng(7).random((args.inverse_eps, args.inverse_eps)) < 0.5)


def tiles_at(x: np.ndarray) -> np.ndarray:
    """The checkerboard at points of shape (2, n)."""
    index = np.clip((x[:2] * args.inverse_eps).astype(int), 0, args.inverse_eps - 1)
    return TILES[index[0], index[1]]


def eq42_of_cell(x, y):
    """Eq. (42) with the slow variable x_2 = x[0] apart."""
    slow = ufl.sin(2 * np.pi * y[0]) * ufl.cos(2 * np.pi * x[0])
    return 0.25 * ufl.exp(-ufl.cos(2 * np.pi * (y[0] + y[1])) + slow)


def local_tensors(msh: mesh.Mesh) -> fem.Function:
    """A^H(x_2) of eq. (42) at the centroids of the cells; ranks share the cell problems."""
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0, (2, 2))), name="kappa")
    centroids = kappa.function_space.tabulate_dof_coordinates()[:, 1]
    rows = np.unique(np.round(np.concatenate(comm.allgather(centroids)), 9))
    found = homogenize_locally(eq42_of_cell, rows[:, None], CELL, comm=comm)
    place = np.searchsorted(rows, np.round(centroids, 9))
    kappa.x.array[:] = found[place].ravel()
    return kappa


CELL = mesh.create_unit_square(MPI.COMM_SELF, 16, 16)


@dataclass
class Composite:
    title: str
    fine: Callable  # mesh -> DG0 coefficient of a resolved mesh
    formula: Callable  # points (2, n) -> values, for HMM
    homogenized: Callable  # mesh -> coefficient for Exchange, cell solution or None


def periodic(msh: mesh.Mesh):
    solution = homogenize(literature.hmm_ex2(1.0), CELL)
    return solution.kappa_hom, solution


def whole_sample(msh: mesh.Mesh):
    sample = mesh.create_unit_square(comm, min(args.n, 8 * args.inverse_eps),
                                     min(args.n, 8 * args.inverse_eps))  # fmt: skip
    return homogenize(llg.from_array(sample, TILES), sample, degree=1).kappa_hom, None


EX2, EQ42 = literature.hmm_ex2(EPS), literature.hmm_eq42(EPS)
COMPOSITES = {
    "periodic": Composite("periodic (EX2)", lambda msh: llg.cell_coefficient(msh, EX2), EX2,
                          periodic),
    "locally_periodic": Composite("locally periodic (42)",
                                  lambda msh: llg.cell_coefficient(msh, EQ42), EQ42,
                                  lambda msh: (local_tensors(msh), None)),
    "random": Composite("random checkerboard", lambda msh: llg.from_array(msh, TILES), tiles_at,
                        whole_sample),
}  # fmt: skip


def initial(x: np.ndarray) -> np.ndarray:
    """Smooth data with zero normal derivative."""
    c, d = np.cos(np.pi * x[0]), np.cos(np.pi * x[1])
    m = np.stack([0.8 + 0.5 * c * d, 0.6 * c + 0.1 * d, 0.5 - 0.6 * d])
    return m / np.linalg.norm(m, axis=0)


# ## One run, and its error on the reference mesh
reference_mesh = mesh.create_unit_square(comm, args.n, args.n)
reference_space = llg.vector_space(reference_mesh)


def make_step(msh: mesh.Mesh, kappa) -> llg.WeakStep:
    m = llg.magnetization(msh, initial)
    energy = llg.Energy([llg.Exchange(kappa)])
    dt = args.t_end / args.steps
    return llg.gao(energy, m, dt=dt, damping=args.damping, projection=True)


def run(step: llg.WeakStep, basis=None) -> float:
    """Seconds of the steps."""
    comm.Barrier()
    begin = time.perf_counter()
    for _ in llg.march(step, t_end=args.t_end, basis=basis):
        pass
    comm.Barrier()
    return time.perf_counter() - begin


def march(msh: mesh.Mesh, kappa, basis=None) -> tuple[fem.Function, float]:
    """Magnetization at the end, and seconds of the steps."""
    step = make_step(msh, kappa)
    seconds = run(step, basis)
    return step.m, seconds


def on_reference(u: fem.Function, V: fem.FunctionSpace) -> fem.Function:
    """A P1 function of another mesh of the square, at the nodes of the reference mesh."""
    cells = np.arange(reference_mesh.topology.index_map(2).size_local, dtype=np.int32)
    out = fem.Function(V, name="m")
    data = fem.create_interpolation_data(V, u.function_space, cells, padding=1e-8)
    out.interpolate_nonmatching(u, cells, data)
    out.x.scatter_forward()
    return out


def with_corrector(m: fem.Function, cell: CellSolution) -> tuple[fem.Function, float]:
    """m_0 + eps grad m_0 chi(x/eps), the gradient recovered at the nodes of the macro mesh.

    Seconds are without the transfers to the reference mesh, which no method is charged with.
    """
    begin = time.perf_counter()
    gradient = nodal_gradient(m)
    owned = reference_space.dofmap.index_map.size_local
    y = reference_space.tabulate_dof_coordinates()[:owned, :2] / EPS
    chi = evaluate_periodic(cell.chi, cell, y)
    seconds = time.perf_counter() - begin
    G = fem.Function(fem.functionspace(m.function_space.mesh, ("Lagrange", 1, (3, 2))))
    G.x.array[: gradient.size] = gradient.ravel()
    G.x.scatter_forward()
    fine = on_reference(G, fem.functionspace(reference_mesh, ("Lagrange", 1, (3, 2))))
    out = on_reference(m, reference_space)
    add = EPS * np.einsum("nik,kn->ni", fine.x.array[: 6 * owned].reshape(-1, 3, 2), chi)
    out.x.array[: 3 * owned] += add.ravel()
    out.x.scatter_forward()
    return out, max(comm.allgather(seconds))


@dataclass
class Row:
    method: str
    size: int
    once: float
    steps: float
    l2: float = 0.0
    h1: float = 0.0


difference = fem.Function(reference_space)
NORMS = [fem.form(ufl.inner(f, f) * ufl.dx) for f in (difference, ufl.grad(difference))]


def measure(row: Row, m: fem.Function, exact: fem.Function) -> None:
    difference.x.array[:] = m.x.array - exact.x.array
    l2, h1 = (sum(comm.allgather(fem.assemble_scalar(form))) for form in NORMS)
    row.l2, row.h1 = math.sqrt(l2), math.sqrt(l2 + h1)


def timed(work: Callable):
    comm.Barrier()
    begin = time.perf_counter()
    value = work()
    comm.Barrier()
    return value, time.perf_counter() - begin


# ## All runs of one composite
NAMES = {
    "averaged": "averaged coefficient",
    "homogenized": "homogenized",
    "corrected": "homogenized + corrector",
    "hmm": "HMM (adjoint)",
    "grps": "GRPS-V",
    "grps_reduced": "GRPS-V, reduced",
    "resolved": "resolved mesh",
}


def compare(composite: Composite, cells: int, macro: list[int], show=say) -> list[Row]:
    finest = mesh.create_unit_square(comm, cells, cells)
    exact, seconds = march(finest, composite.fine(finest))
    same = on_reference(exact, reference_space)
    rows: list[Row] = []

    def add(method: str, size: int, once: float, steps: float, m: fem.Function) -> None:
        row = Row(method, size, once, steps)
        if m is not same:
            here = m.function_space == reference_space
            measure(row, m if here else on_reference(m, reference_space), same)
        rows.append(row)
        errors = f"{row.l2:9.1e}  {row.h1:9.1e}" if m is not same else "     (the reference)"
        show(f"  {NAMES[method]:24s} {size:5d}  {errors}  {once:9.2f}  {steps:9.2f}")

    show(f"{composite.title}\n  method                     1/H   L2 error   H1 error   once [s]  "
         "steps [s]")  # fmt: skip
    add("resolved", cells, 0.0, seconds, same)
    for factor in (2, 4):
        n = cells // factor
        if n >= 3 * args.inverse_eps:
            msh = mesh.create_unit_square(comm, n, n)
            m, seconds = march(msh, composite.fine(msh))
            add("resolved", n, 0.0, seconds, m)
    for n in macro:
        msh = mesh.create_unit_square(comm, n, n)
        hierarchy = refine_mesh(msh, round(math.log2(cells / n)))

        # The mean over a macro cell, of the same fine values that the resolved run has.
        def averaged(msh=msh, hierarchy=hierarchy):
            fine = composite.fine(hierarchy.fine)
            cells = fine.x.array[: len(hierarchy.parent)]
            local = hierarchy.parent - msh.topology.index_map(2).local_range[0]
            mean = fem.Function(fem.functionspace(msh, ("DG", 0)), name="kappa")
            owned = msh.topology.index_map(2).size_local
            mean.x.array[:owned] = np.bincount(local, cells, owned) / np.bincount(
                local, minlength=owned
            )
            mean.x.scatter_forward()
            return mean

        kappa, once = timed(averaged)
        m, seconds = march(msh, kappa)
        add("averaged", n, once, seconds, m)

        (kappa, cell), once = timed(lambda msh=msh: composite.homogenized(msh))
        m, seconds = march(msh, kappa)
        add("homogenized", n, once, seconds, m)
        if cell is not None:
            better, more = with_corrector(m, cell)
            add("corrected", n, once + more, seconds, better)

        # Boxes as wide as the domain allows, at most 8.5 eps; the macro cells must exceed eps.
        if math.sqrt(2) / n > EPS:
            outer = min(4.25 * EPS, 0.5)
            box = MicroBox(2, EPS, mu=min(2.75 * EPS, 0.75 * outer), mu_outer=outer,
                           eta=0.4 * EPS**2, damping=1.2, q_space=5, points_per_eps=10,
                           p_time=1, q_time=5)  # fmt: skip
            tensor, once = timed(
                lambda msh=msh, box=box: upscaled_tensor(msh, composite.formula, box)
            )
            m, seconds = march(msh, tensor.kappa)
            add("hmm", n, once, seconds, m)

        def basis(hierarchy=hierarchy):
            kappa = composite.fine(hierarchy.fine)
            measurement = volume_measurement(hierarchy)
            form = exchange_form(hierarchy.space, kappa)
            basis = grps_basis(form, measurement, ell=args.ell, localization="constants")
            return kappa, vector_basis(basis)

        (kappa, space), once = timed(basis)
        m, seconds = march(hierarchy.fine, kappa, space)
        add("grps", n, once, seconds, m)
        step = make_step(hierarchy.fine, kappa)
        reduced, training = timed(
            lambda step=step, space=space, hierarchy=hierarchy: hyper_reduce(
                step, space, hierarchy, t_train=args.t_end
            )
        )
        seconds = run(reduced, None)
        add("grps_reduced", n, once + training, seconds, reduced.reconstruct())
    return rows


# Forms are compiled before clocks run.
if not args.quick:
    for composite in COMPOSITES.values():
        compare(composite, 16, [4], lambda text: None)

say(f"eps = 1/{args.inverse_eps}, reference h = 1/{args.n}, {args.steps} steps to t = "
    f"{args.t_end:g}, lambda = {args.damping:g}, GRPS-V with ell = {args.ell}, "
    f"{comm.size} rank(s)")  # fmt: skip
tables: dict[str, list[Row]] = {}
results: dict[str, float] = {}
for key, composite in COMPOSITES.items():
    tables[key] = compare(composite, args.n, args.macro)
    for row in tables[key]:
        stem = f"{key}_{row.method}_{row.size}"
        for name in ("l2", "h1"):
            results[f"error_{name}_{stem}"] = getattr(row, name)
        results[f"seconds_once_{stem}"] = row.once
        results[f"seconds_steps_{stem}"] = row.steps


# ## The picture
STYLES = {
    "averaged": ("#7a7a7a", "X"),
    "homogenized": ("#0b6e99", "o"),
    "corrected": ("#5bb5d5", "D"),
    "hmm": ("#d1495b", "s"),
    "grps": ("#3a7d44", "^"),
    "grps_reduced": ("#8fbf6a", "v"),
    "resolved": ("#1a1a1a", "*"),
}


def picture() -> None:
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=(9.4, 8.2), layout="constrained")
        axes = figure.subplots(3, 3, sharex=True, sharey="row")
        for column, (key, rows) in enumerate(tables.items()):
            panels = (("l2", True), ("l2", False), ("h1", True))
            for ax, (norm, with_once) in zip(axes[:, column], panels, strict=True):
                for method, (colour, mark) in STYLES.items():
                    mine = sorted(
                        (row for row in rows if row.method == method), key=lambda row: row.size
                    )
                    shown = [row for row in mine if row.l2]
                    cost = [row.once * with_once + row.steps for row in shown]
                    errors = [getattr(row, norm) for row in shown]
                    ax.loglog(cost, errors, marker=mark, ms=5, lw=1, color=colour,
                              label=NAMES[method])  # fmt: skip
                reference = next(row for row in rows if not row.l2)
                ax.axvline(reference.steps, color=STYLES["resolved"][0], lw=0.8, ls=":")
                ax.xaxis.set_minor_formatter("")
                ax.yaxis.set_minor_formatter("")
                ax.spines[["top", "right"]].set_visible(False)
            axes[0, column].set_title(f"({'abc'[column]}) {COMPOSITES[key].title}")
            axes[2, column].set_xlabel("seconds")
        axes[0, 0].set_ylabel(r"$L^2$ error, one run, all of its cost")
        axes[1, 0].set_ylabel(r"$L^2$ error, time steps alone")
        axes[2, 0].set_ylabel(r"$H^1$ error, one run, all of its cost")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        handles.append(mpl.lines.Line2D([], [], color=STYLES["resolved"][0], lw=0.8, ls=":"))
        labels.append("cost of the reference")
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(args.output / "which_method.png", dpi=200)


if args.output:
    on_root(comm, picture)
    say(f"Picture: {args.output / 'which_method.png'}")
if args.json:
    parameters = {name: value for name, value in vars(args).items()
                  if isinstance(value, int | float | list)}  # fmt: skip
    data = {
        "demo": "which_method",
        "parameters": parameters,
        "ranks": comm.size,
        "results": results,
    }
    write_json(args.json, data, comm)


def best(key: str, method: str, norm: str = "l2") -> float:
    return min(
        (getattr(row, norm) for row in tables[key] if row.method == method), default=math.nan
    )


say("\nAdvice. Smallest L2 errors (H1): " + "; ".join(
    f"{COMPOSITES[key].title}: " + ", ".join(
        f"{NAMES[method]} {best(key, method):.1e} ({best(key, method, 'h1'):.1e})"
        for method in ("averaged", "homogenized", "hmm", "grps", "grps_reduced")
    ) for key in tables
) + ".")  # fmt: skip
say(
    "Homogenize where the cell is known: nothing is cheaper, and a corrector gives the gradient. "
    "HMM where only the scale is known: it needs no cell, and its micro problems are done once. "
    "GRPS where there is neither a cell nor a separation of scales, or where the fine structure of "
    "m is wanted: basis and steps cost more than one resolved run of this size, so that it pays "
    "over many runs of one material, above all reduced and with few basis functions: then a step "
    "is ten times cheaper than on the fine mesh. "
    "Resolve where one run is all and the mesh fits. Do not average."
)
