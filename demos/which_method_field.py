# SPDX-License-Identifier: LGPL-3.0-or-later
"""Ways to compute a composite with its stray field (``demo_which_method --magnetostatics``).

Cubes of ``homogenization_magnetostatics``: Ms, kappa, anisotropy and damping of period eps, m in a
field. Compared with the resolved magnet are, at the end of a run by the midpoint rule,

* averaged: arithmetic means on a mesh of its own, which knows nothing of eps, and no D;
* homogenized: the limit on that mesh, with the tensor D of the field of the fluctuation of Ms;
* GRPS with the field on the fine mesh in each step (``StrayField(in_basis="fine")``);
* GRPS with the matrix D_H of the field in the coarse space, made once.

Errors are relative; seconds are CPU seconds, of what is made once (tensors, basis, D_H, the
boundary operator of the mesh of the run) and of a step.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from dolfinx import fem, mesh
from homogenization_magnetostatics import Composite, start
from shared import busy, carried, comm, errors, record, say
from which_method_pictures import FIELD_WAYS, draw_field

import dolfinx_llg as llg
from dolfinx_llg.grps import CoarseBasis, coarse_basis, match_meshes
from dolfinx_llg.output import on_root

#: Sizes of a whole run and of a quick one.
SIZES: dict[str, tuple[Any, Any]] = {
    "n": (16, 8),
    "inverse_eps": (4, 2),
    "macro": ([4], [2]),
    "steps": (20, 2),
    "t_end": (2.0, 0.2),
}


def end(
    energy: llg.Energy,
    msh: mesh.Mesh,
    damping: llg.Gilbert,
    args: Namespace,
    basis: CoarseBasis | None = None,
) -> tuple[fem.Function, float, float]:
    """Return m at the end, CPU seconds before the first step, and of a step."""
    m = llg.magnetization(msh, start)
    step = llg.midpoint(energy, m, dt=args.t_end / args.steps, damping=damping)
    states = llg.march(step, t_end=args.t_end, basis=basis, progress=False)
    # What is made in the first step (D_H, forms) is made once: it is taken as one of the others.
    _, first = busy(lambda: next(states))
    _, rest = busy(lambda: list(states))
    each = rest / (args.steps - 1)
    return m, max(first - each, 0.0), each


def compare(name: str, args: Namespace) -> list[dict[str, Any]]:
    """Run all ways for one composite."""
    rows: list[dict[str, Any]] = []
    case = Composite(name, args.inverse_eps, args.n // args.inverse_eps)
    energy, damping = case.models["resolved"]
    exact, once, each = end(energy, case.mesh, damping, args)

    def add(way: str, size: int, once: float, each: float, m: fem.Function) -> None:
        row: dict[str, Any] = {"composite": name, "method": way, "numbers": size}
        row |= {"seconds_once": once, "seconds_step": each}
        if m is not exact:
            row["error_l2"], row["error_h1"] = errors(m, exact)
        rows.append(row)
        found = [f"{row[key]:8.1e}" if key in row else 8 * " " for key in ("error_l2", "error_h1")]
        label, both = FIELD_WAYS[way][0], "  ".join(found)
        say(f"{name:13s} {label:31s} {size:6d}  {both}  {once:8.2f} {each:8.3f}")

    add("resolved", nodes(exact), once, each, exact)
    for n in args.macro:
        macro = mesh.create_unit_cube(comm, n, n, n, cell_type=mesh.CellType.hexahedron)
        _, made = busy(lambda macro=macro: case.add_limits(macro))
        for way in ("averaged", "homogenized"):
            m, once, each = end(case.models[way][0], macro, case.models[way][1], args)
            add(way, nodes(m), once + made, each, carried(m, exact.function_space))
        hierarchy = match_meshes(macro, case.mesh)
        terms = [term for term in energy.terms if not isinstance(term, llg.StrayField)]
        bare = llg.Energy(terms, Ms=energy.Ms)
        basis, made = busy(
            lambda bare=bare, hierarchy=hierarchy: coarse_basis(bare, hierarchy, ell=args.ell)
        )
        for way, kind in (("grps_fine", "fine"), ("grps_matrix", "matrix")):
            stray = llg.StrayField(case.mesh, energy.Ms, in_basis=kind, progress=False)
            m, once, each = end(bare + stray, case.mesh, damping, args, basis)
            add(way, basis.P.getSize()[1], once + made, each, m)
    return rows


def nodes(m: fem.Function) -> int:
    """Return how many numbers a magnetization has."""
    return 3 * int(m.function_space.dofmap.index_map.size_global)


def report(args: Namespace) -> None:
    """Run, print and record the study."""
    say(f"eps = 1/{args.inverse_eps}, h = 1/{args.n}, {args.steps} steps to t = {args.t_end:g}, "
        f"GRPS-V with ell = {args.ell}, {comm.size} rank(s)\n"
        "composite     method                         numbers  L2 error  H1 error   once [s] "
        "step [s]")  # fmt: skip
    composites = ("spheres",) if args.quick else ("checkerboard", "spheres")
    rows = [row for name in composites for row in compare(name, args)]
    if args.output:
        on_root(comm, lambda: draw_field(args.output, rows))
        say(f"Picture: {args.output / 'which_method_field.png'}")
    numbers = {k: v for k, v in vars(args).items() if isinstance(v, int | float | list)}
    record("which_method", args, rows, numbers)
    say(
        "Advice. Where the period is small against exchange lengths, homogenize and keep D: the "
        "averaged material is another one. Take a coarse space where grains turn on their own, or "
        "there is no period: with D_H, unless the field changes its mesh or Ms."
    )
