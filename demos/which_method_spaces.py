# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Three coarse spaces beside each other: GRPS-V, LOD and SLOD (``demo_which_method --spaces``).

One run of ``gao`` without projection for each space, from the same m and with the same time step as
on the fine mesh, so that the difference is the error of the space. m is that of a fine run before:
smooth data have a rough kappa grad m, and what a space leaves out of them does not become small
with H. It is the linearised backward Euler method,

.. math::
    \frac{m' - m}{\tau} - m \times \nabla\cdot(\kappa \nabla m')
    - \lambda \nabla\cdot(\kappa \nabla m') = \lambda \kappa |\nabla m|^2 m,

the method that arXiv:2601.12734 takes into an LOD space by its title. That its implicit and
explicit terms are those of Gao's method of 2014, which has this name, is inferred; exchange alone
is in the field. Rates printed there are not compared with.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from shared import busy, comm, errors, record, say
from which_method_pictures import draw_spaces

import dolfinx_llg as llg
from dolfinx_llg import literature
from dolfinx_llg.grps import (
    GRPSBasis,
    Hierarchy,
    exchange_form,
    grps_basis,
    lod_basis,
    refine_mesh,
    slod_basis,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.output import on_root

#: Sizes of a whole run and of a quick one.
SIZES: dict[str, tuple[Any, Any]] = {
    "n": (64, 16),
    "inverse_eps": (16, 4),
    "macro": ([4, 8, 16], [2, 4]),
    "steps": (5, 3),
    "t_end": (0.02, 0.02),
}


@dataclass(frozen=True)
class Material:
    """A coefficient, and the meshes of its study.

    Attributes:
        name: For tables.
        kappa: Mesh to the coefficient.
        dim: 2 (triangles) or 3 (hexahedra).
        fine: Fine cells per side.
        macro: Coarse cells per side.
        layers: Layers of the patches.
    """

    name: str
    kappa: Callable[[mesh.Mesh], fem.Function]
    dim: int
    fine: int
    macro: list[int]
    layers: tuple[int, ...]


def materials(args: Namespace) -> list[Material]:
    """Return the coefficients of the study; random ones have a geometric mean of 1."""

    def tiles(number: int, contrast: float) -> Callable[[mesh.Mesh], fem.Function]:
        return lambda msh: llg.checkerboard(
            msh, number, contrast=contrast, seed=7, low=contrast**-0.5
        )

    eps, flat = args.inverse_eps, (args.n, args.macro, (1, 2, 3)[: 1 if args.quick else 3])
    fine = 8 if args.quick else max(args.n // 4, 16)
    solid = (fine, [n for n in (2, 4) if n <= fine // 4], (1,) if args.quick else (1, 2))
    found = [
        Material("MsTrig", lambda msh: llg.cell_coefficient(msh, literature.ms_trig), 2, *flat),
        Material("random, contrast 10", tiles(eps, 10.0), 2, *flat),
        Material("random, contrast 1000", tiles(eps, 1000.0), 2, *flat),
        Material("random, contrast 10", tiles(max(eps // 2, 2), 10.0), 3, *solid),
    ]
    return [found[0], found[-1]] if args.quick else found


def bases(h: Hierarchy, kappa: fem.Function, ell: int) -> dict[str, Callable[[], GRPSBasis]]:
    """Return how each space is made, by name."""
    form, cells = exchange_form(h.space, kappa), volume_measurement(h)
    return {
        "grps": lambda: grps_basis(form, cells, ell=ell, localization="constants", keep=False),
        "lod": lambda: lod_basis(form, h, ell=ell, keep=False),
        "slod": lambda: slod_basis(form, cells, ell=ell),
    }


def march(
    h: Hierarchy,
    kappa: fem.Function,
    initial: Any,
    args: Namespace,
    start: fem.Function | None = None,
    basis: Any = None,
) -> fem.Function:
    """Return m at the end of a run on the fine mesh or in a space, from a formula or ``start``."""
    m = llg.magnetization(h.fine, initial)
    dt = args.t_end / args.steps
    energy = llg.Energy([llg.Exchange(kappa)])
    step = llg.gao(energy, m, dt=dt, damping=args.damping, projection=False)
    if start is not None:  # its length is not 1 any more, which a new step would refuse
        m.x.array[:] = start.x.array
    for _ in llg.march(step, t_end=args.t_end, basis=basis):
        pass
    return m


def study(material: Material, initial: Any, args: Namespace) -> list[dict[str, Any]]:
    """Run all spaces of one coefficient."""
    rows = []
    for n in material.macro:
        if material.dim == 2:
            coarse = mesh.create_unit_square(comm, n, n)
        else:
            coarse = mesh.create_unit_cube(comm, n, n, n, mesh.CellType.hexahedron)
        h = refine_mesh(coarse, round(math.log2(material.fine / n)))
        kappa = material.kappa(h.fine)
        start = march(h, kappa, initial, args)
        run = partial(march, h, kappa, initial, args, start)
        exact, fine_seconds = busy(run)
        for ell in material.layers:
            for name, make in bases(h, kappa, ell).items():
                row = {"material": material.name, "dim": material.dim, "method": name,
                       "nc": n, "fine": material.fine, "ell": ell}  # fmt: skip
                try:
                    basis, once = busy(make)
                    space = vector_basis(basis)
                    m, seconds = busy(partial(run, space))
                # Patches too small for SLOD; functions cut off so early that the run is lost.
                except (ValueError, llg.ConvergenceError) as error:
                    say(f"  {n:3d} {ell:4d} {name:5s} refused: {error}")
                    rows.append(row | {"refused": str(error)})
                    continue
                l2, h1 = errors(m, exact)
                row |= {"dofs": space.dim, "error_l2": l2, "error_h1": h1, "seconds_basis": once,
                        "seconds_steps": seconds, "seconds_fine": fine_seconds}  # fmt: skip
                rows.append(row)
                say(f"  {n:3d} {ell:4d} {name:5s} {space.dim:6d}  {l2:9.2e}  {h1:9.2e}  "
                    f"{once:9.2f}  {seconds:9.2f}")  # fmt: skip
    return rows


def orders(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the orders in H, least-squares slopes over the coarse meshes, of each space."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        if "refused" not in row:
            key = (row["material"], row["dim"], row["method"], row["ell"])
            groups.setdefault(key, []).append(row)
    found = []
    for (name, dim, method, ell), mine in groups.items():
        if len(mine) < 2:
            continue
        sizes = np.log([1.0 / row["nc"] for row in mine])
        slopes = {
            f"order_{norm}": float(
                np.polyfit(sizes, np.log([row[f"error_{norm}"] for row in mine]), 1)[0]
            )
            for norm in ("l2", "h1")
        }
        found.append({"material": name, "dim": dim, "method": method, "ell": ell} | slopes)
    return found


def report(args: Namespace, initial: Any) -> None:
    """Run, print, draw and record the study."""
    rows = []
    for material in materials(args):
        say(f"{material.name}, {material.dim}D, h = 1/{material.fine}\n  1/H  ell space   dofs   "
            "L2 error   H1 error  basis [s]  steps [s]")  # fmt: skip
        rows += study(material, initial, args)
    slopes = orders(rows)
    for row in slopes:
        say(f"{row['material']}, {row['dim']}D, {row['method']:5s} ell = {row['ell']}: "
            f"H^{row['order_l2']:.2f} in L2, H^{row['order_h1']:.2f} in H1")  # fmt: skip
    if args.output:
        on_root(comm, lambda: draw_spaces(args.output, rows))
        say(f"Picture: {args.output / 'which_method_spaces.png'}")
    numbers = {k: v for k, v in vars(args).items() if isinstance(v, int | float | list)}
    record("which_method", args, {"runs": rows, "orders": slopes}, numbers)
    say("Advice. " + advice(rows))


def advice(rows: list[dict[str, Any]]) -> str:
    """Return the H1 errors on the finest coarse mesh in two dimensions, in words."""
    said = []
    for name in dict.fromkeys(row["material"] for row in rows if row["dim"] == 2):
        mine = [row for row in rows if (row["material"], row["dim"]) == (name, 2)]
        mine = [row for row in mine if "refused" not in row]
        last = max(row["nc"] for row in mine)
        for method in ("grps", "lod", "slod"):
            here = {row["ell"]: row for row in mine if (row["nc"], row["method"]) == (last, method)}
            cells = ", ".join(f"{row['error_h1']:.1e} ({ell})" for ell, row in here.items())
            said.append(f"{name}, {method}: {cells}")
    return "H1 errors on the finest coarse mesh by layers: " + "; ".join(said) + "."
