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
# `--spaces` compares three coarse spaces instead (`which_method_spaces.py`): GRPS-V, LOD and SLOD,
# their errors in L2 and H1 over functions and layers, in 2D and 3D, and their orders in H by the
# linearised backward Euler method.
#
# `--magnetostatics` compares ways to take the stray field of a composite (`which_method_field.py`):
# resolved, in a coarse space on the fine mesh or by D_H, homogenized with its tensor D, averaged.
#
# Run: `python demos/demo_which_method.py --output DIR --json FILE`, also under `mpirun -n N`.

import math
import sys
import time

from mpi4py import MPI

import numpy as np
import ufl
import which_method_field
from dolfinx import fem, mesh
from shared import averaged, begin, carried, options, positive, record, say, timed, whole
from which_method_composites import Composite, composites
from which_method_pictures import NAMES, Row, draw
from which_method_spaces import SIZES as SIZES_OF_SPACES
from which_method_spaces import report

import dolfinx_llg as llg
from dolfinx_llg.grps import coarse_basis, refine_mesh
from dolfinx_llg.hmm import MicroBox, MicroNumerics, upscaled_tensor
from dolfinx_llg.homogenization import CellSolution, evaluate_periodic, nodal_gradient
from dolfinx_llg.output import on_root
from dolfinx_llg.reduction import hyper_reduce

parser = options("Five methods for three composites.", "folder for the picture")
parser.add_argument("--n", type=whole(4), help="reference cells per side (default 192, quick 32)")
parser.add_argument("--inverse-eps", type=whole(), help="1/eps (default 16, quick 4)")
parser.add_argument(
    "--macro", type=whole(2), nargs="+", help="macro cells per side (default 6 12 24)"
)
parser.add_argument("--ell", type=whole(), default=3, help="layers of the GRPS patches")
parser.add_argument("--steps", type=whole(), help="time steps (10, quick 4)")
parser.add_argument("--t-end", type=positive, help="final time (0.1, quick 0.02)")
parser.add_argument("--damping", type=positive, default=0.5, help="lambda")
parser.add_argument(
    "--spaces", action="store_true", help="compare coarse spaces: GRPS-V, LOD, SLOD (smaller sizes)"
)
parser.add_argument(
    "--magnetostatics", action="store_true", help="composites with a stray field (smaller sizes)"
)
SIZES = {"n": (192, 32), "inverse_eps": (16, 4), "macro": ([6, 12, 24], [4]), "steps": (10, 4),
         "t_end": (0.1, 0.02)}  # fmt: skip
args = begin(
    parser,
    lambda given: (
        which_method_field.SIZES if given.magnetostatics
        else SIZES_OF_SPACES if given.spaces
        else SIZES
    ),
)  # fmt: skip
comm = MPI.COMM_WORLD
EPS = 1.0 / args.inverse_eps


def initial(x: np.ndarray) -> np.ndarray:
    """Smooth data with zero normal derivative."""
    c, d = np.cos(np.pi * x[0]), np.cos(np.pi * x[1])
    m = np.stack([0.8 + 0.5 * c * d, 0.6 * c + 0.1 * d, 0.5 - 0.6 * d])
    return m / np.linalg.norm(m, axis=0)


if args.magnetostatics:
    sys.exit(which_method_field.report(args))
if args.spaces:
    sys.exit(report(args, initial))
# ## The composites
# `which_method_composites.py` has what each method may know: a formula in x (all of them), the
# formula of a cell (homogenization).
COMPOSITES = composites(comm, args.inverse_eps, args.n)


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
    return timed(lambda: list(llg.march(step, t_end=args.t_end, basis=basis)))[1]


def march(msh: mesh.Mesh, kappa, basis=None) -> tuple[fem.Function, float]:
    """Magnetization at the end, and seconds of the steps."""
    step = make_step(msh, kappa)
    seconds = run(step, basis)
    return step.m, seconds


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
    fine = carried(G, fem.functionspace(reference_mesh, ("Lagrange", 1, (3, 2))))
    out = carried(m, reference_space)
    add = EPS * np.einsum("nik,kn->ni", fine.x.array[: 6 * owned].reshape(-1, 3, 2), chi)
    out.x.array[: 3 * owned] += add.ravel()
    out.x.scatter_forward()
    return out, max(comm.allgather(seconds))


difference = fem.Function(reference_space)
NORMS = [fem.form(ufl.inner(f, f) * ufl.dx) for f in (difference, ufl.grad(difference))]


def measure(row: Row, m: fem.Function, exact: fem.Function) -> None:
    difference.x.array[:] = m.x.array - exact.x.array
    l2, h1 = (sum(comm.allgather(fem.assemble_scalar(form))) for form in NORMS)
    row.l2, row.h1 = math.sqrt(l2), math.sqrt(l2 + h1)


# ## All runs of one composite
def compare(composite: Composite, cells: int, macro: list[int], show=say) -> list[Row]:
    finest = mesh.create_unit_square(comm, cells, cells)
    exact, seconds = march(finest, composite.fine(finest))
    same = carried(exact, reference_space)
    rows: list[Row] = []

    def add(method: str, size: int, once: float, steps: float, m: fem.Function) -> None:
        row = Row(method, size, once, steps)
        if m is not same:
            here = m.function_space == reference_space
            measure(row, m if here else carried(m, reference_space), same)
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
        kappa, once = timed(
            lambda hierarchy=hierarchy: averaged(hierarchy, composite.fine(hierarchy.fine))
        )
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
                           eta=0.4 * EPS**2, damping=1.2, points_per_eps=10,
                           numerics=MicroNumerics(q_space=5, p_time=1, q_time=5))  # fmt: skip
            tensor, once = timed(
                lambda msh=msh, box=box: upscaled_tensor(msh, composite.formula, box)
            )
            m, seconds = march(msh, tensor.kappa)
            add("hmm", n, once, seconds, m)

        def basis(hierarchy=hierarchy):
            kappa = composite.fine(hierarchy.fine)
            return kappa, coarse_basis(llg.Energy([llg.Exchange(kappa)]), hierarchy, ell=args.ell)

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
titles = {key: composite.title for key, composite in COMPOSITES.items()}
if args.output:
    on_root(comm, lambda: draw(args.output, tables, titles))
    say(f"Picture: {args.output / 'which_method.png'}")
numbers = {k: v for k, v in vars(args).items() if isinstance(v, int | float | list)}
record("which_method", args, results, numbers)


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
