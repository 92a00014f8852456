# SPDX-License-Identifier: LGPL-3.0-or-later
"""How the JSON files of demos are laid out as tables, each by a function from document to rows."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Rows = tuple[Sequence[str], list[Sequence[str]]]
Layout = Callable[[dict[str, Any]], Rows]


def power(x: float) -> str:
    """Return 1.2e-3 for 0.0012."""
    mantissa, exponent = f"{x:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def span(values: Iterable[float], form: str = ".2g") -> str:
    """Return the least to the largest of some numbers."""
    least, most = f"{min(values := list(values)):{form}}", f"{max(values):{form}}"
    return least if least == most else f"{least} to {most}"


def walls(document: dict[str, Any]) -> Rows:
    """Errors of a wall's speed in percent and seconds: schemes by time steps."""
    found = [row for row in document["results"] if row["problem"] == "walker"]

    def said(row: dict[str, Any]) -> str:
        error = 100 * (row["value"] / row["mesh_limit"] - 1)
        return f"{error:+.1f}{'*' * row['warned']}, {row['seconds']:.1f}"

    def first(texts: Iterable[str]) -> str:
        return next(iter(texts), "")

    schemes = list(dict.fromkeys(row["scheme"] for row in found))
    fixed = [row for row in found if not row["adaptive"]]
    steps = sorted({row["dt_ps"] for row in fixed})
    shared = [dt for dt in steps if sum(row["dt_ps"] == dt for row in fixed) > 1]
    header = ["scheme", *[f"{dt:g} ps" for dt in shared], "another dt", "adaptive"]
    rows = []
    for scheme in schemes:
        mine = [row for row in fixed if row["scheme"] == scheme]
        cells = [first(said(row) for row in mine if row["dt_ps"] == dt) for dt in shared]
        cells.append(
            first(f"{said(r)} ({r['dt_ps']:g} ps)" for r in mine if r["dt_ps"] not in shared)
        )
        adaptive = [row for row in found if row["adaptive"] and row["scheme"] == scheme]
        rows.append([f"`{scheme}`", *cells, first(map(said, adaptive))])
    return header, rows


def methods(document: dict[str, Any]) -> Rows:
    """Best L2 errors of five methods for three composites, and their seconds."""
    results, macro = document["results"], document["parameters"]["macro"]
    labels = {
        "averaged": "averaged coefficient",
        "homogenized": "homogenized",
        "corrected": "... with the corrector",
        "hmm": "HMM, adjoint micro problems",
        "grps": "GRPS-V",
        "grps_reduced": "GRPS-V, reduced steps",
    }
    composites = ("periodic", "locally_periodic", "random")
    header = ["", "periodic", "locally periodic", "random", "once [s]", "steps [s]"]
    rows = []
    for key, label in labels.items():
        cells, once, steps = [label], [], []
        for composite in composites:
            errors = {n: results.get(f"error_l2_{composite}_{key}_{n}") for n in macro}
            errors = {n: e for n, e in errors.items() if e is not None}
            cells.append(power(min(errors.values())) if errors else "")
            once += [results[f"seconds_once_{composite}_{key}_{n}"] for n in errors]
            steps += [results[f"seconds_steps_{composite}_{key}_{n}"] for n in errors]
        rows.append([*cells, span(once), span(steps)])
    return header, rows


def stray_ways(document: dict[str, Any]) -> Rows:
    """Errors and seconds of ways to compute two composites with their stray field."""
    found = document["results"]
    names = {
        "resolved": "resolved, fine field",
        "grps_fine": "GRPS-V, fine field in each step",
        "grps_matrix": "GRPS-V, matrix D_H",
        "homogenized": "homogenized, with the tensor D",
        "averaged": "averaged, without D",
    }
    kinds = list(dict.fromkeys(row["composite"] for row in found))
    header = [
        "",
        "numbers",
        *[f"{kind}: L2, H1" for kind in kinds],
        "once [CPU s]",
        "step [CPU ms]",
    ]
    rows = []
    for key, name in names.items():
        mine = [row for row in found if row["method"] == key]
        errors = []
        for kind in kinds:
            here = [row for row in mine if row["composite"] == kind and "error_l2" in row]
            best = min(here, key=lambda row: row["error_l2"], default=None)
            pair = "" if best is None else f"{power(best['error_l2'])}, {power(best['error_h1'])}"
            errors.append(pair)
        once = f"{max(row['seconds_once'] for row in mine):.2g}"
        step = f"{1e3 * max(row['seconds_step'] for row in mine):.3g}"
        rows.append([name, span((row["numbers"] for row in mine), "d"), *errors, once, step])
    return header, rows


def spaces(document: dict[str, Any]) -> Rows:
    """Errors of runs in three coarse spaces on the finest coarse mesh, by layers, and seconds."""
    runs, names = document["results"]["runs"], {"grps": "GRPS-V", "lod": "LOD", "slod": "SLOD"}
    header = ["", "1/H", "ell", *[f"{name}: L2, H1" for name in names.values()],
              "functions", "basis [CPU s]"]  # fmt: skip
    rows = []
    for kind in dict.fromkeys((row["material"], row["dim"]) for row in runs):
        mine = [row for row in runs if (row["material"], row["dim"]) == kind]
        last = max(row["nc"] for row in mine)
        for ell in sorted({row["ell"] for row in mine}):
            here = {row["method"]: row for row in mine if (row["nc"], row["ell"]) == (last, ell)}
            done = [row for row in (here[name] for name in names) if "refused" not in row]
            cells = [
                "refused" if "refused" in here[name]
                else f"{power(here[name]['error_l2'])}, {power(here[name]['error_h1'])}"
                for name in names
            ]  # fmt: skip
            sizes = ", ".join(f"{row['dofs']}" for row in done)
            seconds = ", ".join(f"{row['seconds_basis']:.2g}" for row in done)
            title = f"{kind[0]}, {kind[1]}D"
            rows.append([title, f"{last}", f"{ell}", *cells, sizes, seconds])
    return header, rows


def orders(document: dict[str, Any]) -> Rows:
    """Orders in H of the linearised backward Euler method in three coarse spaces."""
    found = document["results"]["orders"]
    names = {"grps": "GRPS-V", "lod": "LOD", "slod": "SLOD"}
    header = ["", "ell", *[f"{name}: L2, H1" for name in names.values()]]
    rows = []
    for kind in dict.fromkeys((row["material"], row["dim"], row["ell"]) for row in found):
        mine = {row["method"]: row for row in found
                if (row["material"], row["dim"], row["ell"]) == kind}  # fmt: skip
        cells = [
            f"{mine[n]['order_l2']:.1f}, {mine[n]['order_h1']:.1f}" if n in mine else ""
            for n in names
        ]
        rows.append([f"{kind[0]}, {kind[1]}D", f"{kind[2]}", *cells])
    return header, rows


def rates(document: dict[str, Any]) -> Rows:
    """Rates of the homogenized solution and its correctors at four times."""
    results = document["results"]
    kinds = {"m0": "m_0", "chi": "m_0 + eps chi", "v": "with v"}
    times = {
        "fixed": "fixed",
        "sigma_1": "~ eps",
        "sigma_1_5": "~ eps^1.5",
        "sigma_2": "~ eps^2",
    }
    header = ["time", *[f"{label}: L2, H1" for label in kinds.values()]]
    rows = []
    for time, label in times.items():
        cells = [label]
        for kind in kinds:
            parts = []
            for norm in ("l2", "h1"):
                rate = results[f"rate_last_{norm}_{time}_{kind}"]
                bound = results.get(f"bound_{norm}_{time}_{kind}")
                parts.append(f"{rate:.2f}" + ("" if bound is None else f" ({bound:g})"))
            cells.append(", ".join(parts))
        rows.append(cells)
    return header, rows


def composites(document: dict[str, Any]) -> Rows:
    """Errors of the homogenized limit with magnetostatics, those of plain means in brackets."""
    periods, found = document["results"]["periods"], document["results"]["composites"]
    kinds = {"energy": "energies", "dynamics": "m(T)", "frequency": "lowest frequencies"}
    header = ["eps", *[f"{c['name']}: {label}" for c in found for label in kinds.values()]]
    rows = []
    for n in sorted({n for values in periods.values() for n in values}):
        cells = [f"1/{n}"]
        for composite in found:
            for kind in kinds:
                cells.append("")
                errors = composite[f"error_{kind}_homogenized"]
                if n in periods[kind] and (i := periods[kind].index(n)) < len(errors):
                    plain = composite[f"error_{kind}_averaged"][i]
                    cells[-1] = f"{power(errors[i])} ({power(plain)})"
        rows.append(cells)
    return header, rows


def boxes(document: dict[str, Any]) -> Rows:
    """Micro boxes proposed for an accuracy, their errors, and what could be saved."""
    header = ["average of", "kappa", "accuracy", "mu", "mu'", "eta", "K", "q_x, q_t",
              "measured error", "needed of eta, mu, mu' - mu"]  # fmt: skip
    rows = [
        [
            row["average"], row["example"], power(row["accuracy"]), f"{row['mu_eps']:.2g}",
            f"{row['mu_outer_eps']:.3g}", f"{row['eta_eps2']:.2g}", f"{row['points_per_eps']}",
            f"{row['q_space']}, {row['q_time']}", power(row["error"]),
            ", ".join(f"{row[f'needed_{name}']:g}" for name in ("eta", "mu", "margin")),
        ]
        for row in document["results"]
    ]  # fmt: skip
    return header, rows


def limits(document: dict[str, Any]) -> Rows:
    """Stability limits of the explicit methods over the damping."""
    results = document["results"]
    header = ["dt/dx^2", *[f"alpha {alpha:g}" for alpha in results["alpha"]]]
    names = {"heun_p": "HeunP", "rk4_p": "RK4P", "mpe": "MPE", "mpea": "MPEA"}
    rows = [[f"{n}", *[f"{c:.3f}" for c in results[f"c_stab_{k}"]]] for k, n in names.items()]
    rows += [
        [f"{n}, linear theory", *[f"{c:.3f}" for c in results[f"c_stab_related_{k}"]]]
        for k, n in names.items()
    ]
    return header, rows


def solves(document: dict[str, Any]) -> Rows:
    """Iterations and seconds of a semi-implicit step."""
    header = ["scheme", "mesh", "iterations", "assembly [s]", "solve [s]", "assembly / solve",
              "solve / one full assembly"]  # fmt: skip
    rows = [
        [
            f"`{row['scheme']}`",
            f"{row['n']}^{row['dim']}",
            f"{row['iterations']:.1f}",
            f"{row['seconds_assembly']:.3f}",
            f"{row['seconds_solve']:.3f}",
            f"{row['assembly_over_solve']:.2f}",
            f"{row['solve_over_full_assembly']:.2f}",
        ]
        for row in [*document["results"]["rows"], *document["results"].get("rows_3d", [])]
    ]
    return header, rows


def runs(document: dict[str, Any]) -> Rows:
    """Errors, seconds of preparation and of the run: fine, coarse, coarse and reduced."""
    found, fine = document["results"], document["parameters"]["fine"]
    header = ["", "Nc", "numbers", "steps", "H1 error", "basis [s]", "reduction [s]", "run [s]",
              "run / fine run"]  # fmt: skip
    kinds = {  # suffix of the error, reduction, run
        "assembled on the fine mesh": ("_standard_cubature", None, "seconds_standard_cubature"),
        "by cubature": ("_cubature", "ct3_cubature", "ct4_cubature"),
        "by tensors": ("", "ct3", "ct4"),
    }
    first = [f"fine, h = 1/{fine}", "", f"{3 * (fine + 1) ** 2}", f"{fine}", "", "", ""]
    rows = [[*first, f"{found[0]['ct1']:.2g}", "1"]]
    for row in found:
        for kind, (suffix, once, run) in kinds.items():
            cells = [f"{row['nc']}", f"{3 * row['dofs']}", f"{row['nc'] ** 2}"]
            cells += [power(row[f"error_h1{suffix}"]), f"{row['ct2']:.2g}"]
            cells += ["" if once is None else f"{row[once]:.2g}", f"{row[run]:.2g}"]
            rows.append([f"GRPS-V, {kind}", *cells, f"{row[run] / row['ct1']:.2g}"])
    return header, rows


def cube_runs(document: dict[str, Any]) -> Rows:
    """Errors and CPU seconds of runs by tensors in the unit cube."""
    header = ["cells", "nodes", "functions x 3", "H1 error", "basis [CPU s]", "tensors [CPU s]",
              "run [CPU s]", "fine run [CPU s]", "run / fine run"]  # fmt: skip
    rows = [
        [
            row["kind"], f"{row['nodes']}", f"{3 * row['dofs']}", power(row["error_h1_tensors"]),
            f"{row['seconds_basis']:.2g}", f"{row['setup_tensors']:.2g}",
            f"{row['run_tensors']:.2g}", f"{row['fine_run_tensors']:.2g}",
            f"{row['ratio_run_tensors']:.2g}",
        ]
        for row in document["results"]
    ]  # fmt: skip
    return header, rows


def systems(document: dict[str, Any]) -> Rows:
    """Iterations of the tangent-plane solvers over dampings and contrasts, and CPU seconds."""
    found = document["results"]
    timed = ("auto", "fieldsplit", "mumps")
    forms = [form for form in dict.fromkeys(row["form"] for row in found) if form != "mumps"]
    header = ["cells", "dt [ps]", *forms, *[f"CPU s a step: {form}" for form in timed]]
    rows = []
    for n in sorted({row["n"] for row in found}):
        for dt in sorted({row["dt_ps"] for row in found}):
            here = [row for row in found if (row["n"], row["dt_ps"]) == (n, dt)]
            cells = [f"{n}^3", f"{dt:g}"]
            for form in forms:
                counts = [row["iterations"] for row in here if row["form"] == form]
                cells.append(span(counts, "d") if counts else "")
            for form in timed:
                seconds = [row["cpu_seconds"] for row in here if row["form"] == form]
                cells.append(f"{max(seconds):.2g}" if seconds else "")
            rows.append(cells)
    return header, rows


def fields(document: dict[str, Any]) -> Rows:
    """Accuracy, memory and CPU seconds of the stray field."""
    header = ["body", "nodes", "on the boundary", "error of the energy", "memory [MB]",
              "set-up [s]", "boundary operator [ms]", "evaluation [ms]"]  # fmt: skip
    rows = [
        [
            row["body"], f"{row['nodes']}", f"{row['boundary_nodes']}",
            power(abs(row["energy_error"])), f"{row['memory_mb']:.0f}",
            f"{row['setup_seconds']:.2g}", f"{1e3 * row['boundary_seconds']:.2g}",
            f"{1e3 * row['seconds_per_evaluation']:.2g}",
        ]
        for row in document["results"]
    ]  # fmt: skip
    return header, rows


def coarse_fields(document: dict[str, Any]) -> Rows:
    """Errors of runs with the stray field of a coarse space."""
    header = ["body", "functions x 3", "ell", "D_H: L2, H1", "fine field in each step: L2, H1",
              "no field: L2", "left out of the stray energy"]  # fmt: skip
    rows = [
        [
            row["body"], f"{row['functions']}", f"{row['ell']}",
            f"{power(row['error_l2'])}, {power(row['error_h1'])}",
            f"{power(row['error_l2_fine_field'])}, {power(row['error_h1_fine_field'])}",
            power(row["error_l2_no_field"]), power(row["error_stray_energy"]),
        ]
        for row in document["results"]["accuracy"]
    ]  # fmt: skip
    return header, rows


def coarse_cost(document: dict[str, Any]) -> Rows:
    """What the matrix of the stray field in a coarse space costs."""
    cost = document["results"]["cost"]
    return ["", ""], [
        ["nodes", f"{cost['nodes']}"],
        ["functions x 3", f"{cost['functions']}"],
        ["D_H, once [CPU s]", f"{cost['matrix_cpu_seconds']:.0f}"],
        ["its memory [MB]", f"{cost['memory_mb']:.0f}"],
        ["an application [ms]", f"{cost['application_ms']:.2g}"],
        ["with P and its transpose [ms]", f"{cost['field_ms']:.0f}"],
        ["the fine field [ms]", f"{cost['fine_field_ms']:.0f}"],
        ["a step with the field / without", f"{cost['step_ratio']:.2f}"],
    ]


def demagnetization(document: dict[str, Any]) -> Rows:
    """Figures of a demagnetization curve by four methods, errors against the resolved magnet."""
    header = ["", "numbers", "coercive field [mT]", "(BH)max [kJ/m3]", "remanence",
              "set-up [s]", "loop [s]"]  # fmt: skip
    rows = []
    for row in document["results"]["methods"]:
        cells = [f"{row['coercive_mT']:.1f}", f"{row['bh_max_kJ_m3']:.1f}"]
        if row["name"] != "resolved":
            cells[0] += f" ({row['coercive_error_percent']:+.1f} %)"
            cells[1] += f" ({row['bh_max_error_percent']:+.1f} %)"
        seconds = [f"{row['seconds_setup']:.0f}", f"{row['seconds_loop']:.0f}"]
        rows.append([row["name"], f"{row['dofs']}", *cells, f"{row['remanence']:.3f}", *seconds])
    return header, rows


#: Layouts by the names of data files.
LAYOUTS: dict[str, Layout] = {
    "grps_cost": runs,
    "grps_cost_tetrahedron": cube_runs,
    "hmm_micro": boxes,
    "homogenization": rates,
    "homogenization_magnetostatics": composites,
    "nanocomposite": demagnetization,
    "nanocomposite_24_cells": demagnetization,
    "nodal_integrators": limits,
    "solver_cost": solves,
    "solver_cost_2_ranks": solves,
    "stray_field": fields,
    "stray_field_8_cells": fields,
    "stray_field_coarse": coarse_fields,
    "stray_field_coarse_cost": coarse_cost,
    "tangent_plane_solver": systems,
    "wall": walls,
    "which_method": methods,
    "which_method_field": stray_ways,
    "which_method_spaces": spaces,
    "which_method_spaces_cost": orders,
}
