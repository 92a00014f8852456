# SPDX-License-Identifier: LGPL-3.0-or-later
"""The bad calls: good calls of public functions, with one argument at a time made bad.

``VARIED`` lists good calls; every argument in it is replaced by the values that ``bad`` gives for
its kind. ``SINGLE`` lists calls that are wrong as a whole. Expressions are text, evaluated one by
one in the scope of ``scope.Scope``, so that a table that cannot even be imported loses one line.
"""

from __future__ import annotations

import re

import table_physics
import table_rooms
import table_runs

type Varied = list[tuple[str, list[tuple[str, str, str]]]]

FURTHER = (table_physics, table_runs, table_rooms)

#: Bad values by the kind of an argument; each must be refused.
BAD = {
    "mesh": ["None", "'mesh'", "m", "(msh, None, None)", "float32_mesh"],
    "m": ["None", "'m'", "msh", "1.0", "scalar", "p2", "long_m", "nan_m", "zero_m"],
    "function": ["None", "'m'", "msh", "3"],
    "energy": ["None", "[llg.Exchange(1.0)]", "llg.Exchange(1.0)", "m", "'exchange'", "1.0"],
    "positive": ["None", "'1'", "0.0", "-1.0", "nan", "inf", "[1.0]", "msh"],
    "number": ["None", "'1'", "nan", "inf", "[1.0, 2.0]", "msh"],
    "time": ["None", "'1'", "nan", "inf", "-1.0", "[1.0]"],
    "scalar": ["None", "'1'", "nan", "[1.0, 2.0]", "m", "msh"],
    "axis": ["None", "'z'", "(0, 0, 0)", "(0, 1)", "(nan, 0, 1)", "1.0", "scalar", "msh"],
    "kappa": ["None", "'1'", "0.0", "-1.0", "nan", "[1.0, 2.0]", "negative", "[[1, 2], [0, 1]]"],
    "count": ["None", "'2'", "1.5", "-1", "True", "[2]"],
    "flag": ["None", "'yes'", "2", "0.5"],
    "choice": ["None", "'nonsense'", "3", "True"],
    "path": ["None", "3.0", "msh", "['a']"],
    "options": ["'ksp_rtol'", "3", "[1]"],
    "seed": ["None", "'1'", "1.5", "-1"],
    "callable": ["None", "'f'", "3.0", "msh"],
    "tags": ["None", "'tags'", "3", "m"],
    "space": ["None", "m", "msh", "'V'"],
}

#: Name (found wherever it lives), arguments: name, good value, kind. ``*``: the call is a generator
#: whose first step counts.
VARIED = [
    ("vector_space", [("mesh", "msh", "mesh")]),
    ("magnetization", [("mesh", "msh", "mesh"), ("m0", "(1, 0, 0)", "axis")]),
    ("normalise", [("m", "m", "function")]),
    ("length_defect", [("m", "m", "function")]),
    ("Exchange", [("kappa", "1.0", "kappa"), ("kappa_rule", "'mean'", "choice")]),
    ("UniaxialAnisotropy", [("easy_axis", "(0, 0, 1)", "axis"), ("q_u", "1.0", "scalar")]),
    ("CubicAnisotropy", [("q_c", "1.0", "scalar"), ("axes", "((1, 0, 0), (0, 1, 0))", "axis")]),
    ("Zeeman", [("h_ext", "(0, 0, 1)", "field"), ("Ms", "1.0", "none")]),
    ("BulkDMI", [("D", "1.0", "scalar")]),
    ("InterfacialDMI", [("D", "1.0", "scalar"), ("normal", "(0, 0, 1)", "axis")]),
    ("ZhangLi", [("u", "(1.0, 0.0)", "velocity"), ("xi", "0.1", "scalar")]),
    (
        "Slonczewski",
        [
            ("j", "1.0", "scalar"),
            ("polarizer", "(0, 0, 1)", "axis"),
            ("thickness", "1.0", "positive"),
            ("polarisation", "0.5", "number"),
            ("asymmetry", "1.5", "number"),
            ("field_like", "0.1", "number"),
        ],
    ),
    ("Energy", [("terms", "[llg.Exchange(1.0)]", "terms"), ("Ms", "1.0", "positive")]),
    ("Gilbert", [("alpha", "0.1", "alpha")]),
    *(
        (
            f"{name}",
            [
                ("energy", "energy", "energy"),
                ("m", "m", "m"),
                ("dt", "0.1", "positive"),
                ("damping", "0.5", "damping"),
                ("projection", "True", "flag"),
                *([("cross_term", "'full'", "choice")] if name != "tangent_plane" else []),
                *([("theta", "0.5", "theta")] if name == "tangent_plane" else []),
            ],
        )
        for name in ("gao", "cimrak", "an", "prohl", "tangent_plane")
    ),
    (
        "march*",
        [
            ("step", "step()", "step"),
            ("t_end", "0.1", "time"),
            ("t", "0.0", "start"),
            ("resume", "None", "resume"),
            ("basis", "None", "basis"),
            ("petsc_options", "{}", "options"),
            ("petsc_options_prefix", "'llg_'", "prefix"),
            ("progress", "False", "progress"),
        ],
    ),
    ("periodic_basis", [("V", "m.function_space", "space"), ("directions", "[0]", "axes")]),
    (
        "pinned_basis",
        [
            ("m", "m", "function"),
            ("where", "lambda x: x[0] < 1e-9", "callable"),
            ("basis", "None", "basis"),
        ],
    ),
    (
        "Observer",
        [
            ("energy", "energy", "energy"),
            ("m", "m", "function"),
            ("units", "units", "units_or_none"),
            ("cell_tags", "tags", "tags_or_none"),
            ("scalars", "{'a': llg.largest_angle}", "scalars"),
            ("warn_angle", "30.0", "angle"),
        ],
    ),
    ("WallPosition", [("axis", "'x'", "choice"), ("component", "'x'", "choice_or_none")]),
    ("largest_angle", [("m", "m", "m")]),
    (
        "CSVWriter",
        [
            ("path", "folder + '/a.csv'", "path"),
            ("comm", "comm", "comm"),
            ("columns", "{'t': 'ns'}", "columns"),
        ],
    ),
    ("FieldWriter", [("path", "folder + '/a.bp'", "path"), ("fields", "m", "fields")]),
    ("FieldWriter", [("path", "folder + '/a.pvd'", "path"), ("fields", "m", "fields")]),
    ("FieldWriter", [("path", "folder + '/a.xdmf'", "path"), ("fields", "m", "fields")]),
    ("write_checkpoint", [("path", "folder + '/a.npz'", "path"), ("state", "state()", "state")]),
    ("read_checkpoint", [("path", "checkpoint", "path"), ("m", "m", "function")]),
    ("read_mesh", [("comm", "comm", "comm"), ("path", "mesh_file", "path")]),
    (
        "cell_coefficient",
        [("msh", "msh", "mesh"), ("kappa", "1.0", "sample"), ("rule", "'mean'", "choice")],
    ),
    ("from_array", [("msh", "msh", "mesh"), ("values", "[[1.0]]", "table")]),
    (
        "from_cell_tags",
        [("msh", "msh", "mesh"), ("cell_tags", "tags", "tags"), ("values", "{1: 2.0}", "values")],
    ),
    (
        "checkerboard",
        [
            ("msh", "msh", "mesh"),
            ("tiles", "2", "count"),
            ("contrast", "3.0", "positive"),
            ("seed", "1", "seed"),
            ("low", "1.0", "positive"),
            ("probability", "0.5", "number"),
        ],
    ),
    (
        "inclusions",
        [
            ("msh", "msh", "mesh"),
            ("count", "1", "count"),
            ("radius", "0.1", "positive"),
            ("inside", "2.0", "positive"),
            ("seed", "1", "seed"),
        ],
    ),
    (
        "Material",
        [("Ms", "8e5", "positive"), ("A", "1e-11", "positive"), ("alpha", ".1", "positive")],
    ),
    ("refine_mesh", [("coarse", "msh", "mesh"), ("levels", "1", "count")]),
    ("volume_measurement", [("hierarchy", "hierarchy", "object")]),
    ("torus", [("hierarchy", "wide_hierarchy", "object")]),
    ("vertex_measurement", [("hierarchy", "deep_hierarchy", "object")]),
    (
        "lod_basis",
        [
            ("energy", "deep_form", "form"),
            ("hierarchy", "deep_hierarchy", "object"),
            ("ell", "1", "count_or_none"),
        ],
    ),
    (
        "slod_basis",
        [
            ("energy", "deep_form", "form"),
            ("measurement", "find('volume_measurement')(deep_hierarchy)", "object"),
            ("ell", "2", "count"),
            ("spread", "1.0", "positive"),
        ],
    ),
    ("exchange_form", [("V", "hierarchy.space", "space"), ("kappa", "1.0", "kappa_form")]),
    (
        "grps_basis",
        [
            ("energy", "coarse_form", "form"),
            ("measurement", "measure", "object"),
            ("ell", "1", "count_or_none"),
        ],
    ),
    ("vector_basis", [("bases", "coarse", "object")]),
    (
        "save_basis",
        [
            ("path", "folder + '/b.npz'", "path"),
            ("basis", "coarse", "object"),
            ("energy", "coarse_form", "form"),
        ],
    ),
    (
        "load_basis",
        [
            ("path", "basis_file", "path"),
            ("energy", "coarse_form", "form"),
            ("measurement", "measure", "object"),
        ],
    ),
    ("homogenize", [("kappa", "1.0", "kappa"), ("cell", "msh", "mesh"), ("degree", "1", "count")]),
    ("averaging_kernel", [("p", "1", "count"), ("q", "1", "count")]),
    ("WeakStepper", [("step", "step()", "step"), ("petsc_options", "{}", "options")]),
    ("NodalField", [("energy", "energy", "energy"), ("m", "m", "m")]),
    ("Units", [("Ms0", "8e5", "positive"), ("length", "1e-8", "positive")]),
    ("exchange_length", [("A", "1e-11", "positive"), ("Ms", "8e5", "positive")]),
    ("domain_wall_width", [("A", "1e-11", "positive"), ("K_u", "1e5", "positive")]),
    (
        "Regions.from_cell_tags",
        [
            ("msh", "msh", "mesh"),
            ("cell_tags", "tags", "tags"),
            ("materials", "{1: material}", "values"),
            ("units", "units", "units"),
        ],
    ),
    (
        "composite",
        [
            ("data", "msh", "mesh_only"),
            ("materials", "material", "materials"),
            ("stray_field", "False", "flag"),
            ("length", "1e-9", "positive"),
            ("dmi", "None", "kind"),
        ],
    ),
    ("Adaptive", [("rtol", "1e-3", "positive"), ("energy_gate", "True", "flag")]),
    (
        "Search",
        [
            ("max_iterations", "500", "count"),
            ("perturbation", "1e-2", "positive"),
            ("seed", "0", "seed"),
        ],
    ),
    (
        "LoopSteps",
        [
            ("jump", "0.1", "positive"),
            ("unit", "'mT'", "choice"),
            ("eigenvalue", "True", "flag"),
        ],
    ),
    ("LoopFiles", [("resume", "False", "flag")]),
    (
        "Dynamics",
        [
            ("rtol", "1e-3", "positive"),
            ("t_max", "1e4", "positive"),
            ("max_steps", "100", "count"),
        ],
    ),
    ("ModeTolerances", [("torque", "1e-3", "positive"), ("accuracy", "1e-8", "positive")]),
    (
        "BoundaryStorage",
        [
            ("dense_below", "1000", "count"),
            ("precision", "'float32'", "choice"),
        ],
    ),
    (
        "MicroNumerics",
        [
            ("p_space", "3", "count"),
            ("p_time", "3", "count"),
        ],
    ),
    ("MidpointSolver", [("kind", "'newton'", "choice"), ("max_iterations", "50", "count")]),
    ("Until", [("function", "lambda m: 1.0", "callable"), ("tolerance", "0.1", "positive")]),
    (
        "Conductor",
        [
            ("sigma", "1e6", "positive"),
            ("diffusion", "1e-3", "positive"),
            ("lambda_sf", "1e-8", "positive"),
            ("beta", "0.5", "number"),
        ],
    ),
    (
        "solve_current",
        [
            ("msh", "msh", "mesh"),
            ("sigma", "1.0", "positive_only"),
            ("facet_tags", "facets", "tags"),
            ("potentials", "{1: 0.0, 2: 1.0}", "potentials"),
        ],
    ),
    (
        "MicroBox",
        [
            ("dim", "2", "count"),
            ("eps", "0.05", "positive"),
            ("mu", "0.05", "positive"),
            ("mu_outer", "0.1", "positive"),
            ("eta", "0.0025", "positive"),
            ("damping", "1.0", "positive"),
        ],
    ),
    ("MacroGrid", [("dim", "1", "count"), ("n", "8", "count"), ("length", "1.0", "positive")]),
    ("hmm_ex1", [("eps", "0.1", "positive")]),
    ("hmm_eq41", [("eps", "0.1", "positive")]),
    (
        "CellProblem",
        [
            ("kappa", "1.0", "kappa"),
            ("cell", "msh", "mesh"),
            ("degree", "1", "count"),
            ("petsc_options", "{}", "options"),
        ],
    ),
    ("one_sided_kernel", [("p", "1", "count"), ("q", "1", "count")]),
    (
        "write_json",
        [
            ("path", "folder + '/a.json'", "path"),
            ("data", "{'a': 1}", "data"),
            ("comm", "comm", "comm"),
        ],
    ),
    ("output_folder", [("path", "folder + '/o'", "path"), ("comm", "comm", "comm")]),
    ("facet_measurement", [("hierarchy", "hierarchy", "object")]),
    ("derivative_measurement", [("hierarchy", "hierarchy", "object")]),
    (
        "anisotropic_form",
        [
            ("V", "hierarchy.space", "space"),
            ("kappa", "1.0", "kappa_form"),
            ("q_u", "1.0", "kappa_form"),
        ],
    ),
    ("match_meshes", [("coarse", "coarse_mesh", "mesh"), ("fine", "msh", "mesh")]),
    (
        "SpinTorque",
        [
            ("S", "m", "function"),
            ("exchange_rate", "1.0", "scalar"),
            ("dephasing_rate", "0.0", "scalar"),
        ],
    ),
    ("check_positive", [("kappa", "positive", "function")]),
    ("drift_velocity", [("j", "1.0", "velocity"), ("polarisation", "0.5", "number_only")]),
    ("magnet_of", [("msh", "msh", "mesh"), ("cell_tags", "tags", "tags"), ("tags", "[1]", "axes")]),
]
BAD |= {
    "units_or_none": ["1.0", "material", "msh"],
    "tags_or_none": ["'tags'", "3", "m", "facets"],
    "scalars": ["3", "{'a': 1.0}", "{'a': (llg.largest_angle, 'radian')}", "{'t': lambda m: 1.0}"],
    "angle": ["'1'", "0.0", "-1.0", "nan", "200.0"],
    "choice_or_none": ["'nonsense'", "3", "True"],
    "columns": ["3", "'t'", "['t']", "{'t': 3}"],
    "mesh_only": ["None", "'mesh'", "m", "float32_mesh"],
    "materials": ["None", "{}", "1.0", "{1: 1.0}", "[material]", "{'a': material}"],
    "kind": ["'nonsense'", "3", "True"],
    "field": ["None", "'z'", "(0, 1)", "(nan, 0, 1)", "1.0", "scalar", "msh", "lambda x, y: x"],
    "velocity": ["None", "'x'", "(nan, 0.0)", "msh", "[None, 1.0]"],
    "terms": ["None", "[]", "llg.Exchange(1.0)", "[1.0]", "['exchange']", "[llg.Exchange]", "m"],
    "alpha": ["None", "'0.1'", "msh", "[0.1]"],
    "damping": ["None", "'0.5'", "0.0", "-1.0", "nan", "[0.5]", "msh", "m", "llg.Gilbert(-1.0)"],
    "theta": ["'1'", "1.5", "-0.1", "nan", "[0.5]"],
    "step": ["None", "'gao'", "m", "energy", "llg.gao", "[step()]"],
    "start": ["'0'", "nan", "inf", "5.0", "[0.0]"],
    "resume": ["'run.npz'", "m", "1.0", "foreign_state"],
    "basis": ["'basis'", "m", "coarse_form", "foreign_periodic"],
    "prefix": ["3", "['llg_']", "''"],
    "progress": ["'yes'", "3"],
    "axes": ["'x'", "[5]", "[-1]", "[0.5]", "3"],
    "comm": ["None", "'world'", "0", "msh"],
    "fields": ["None", "[]", "'m'", "msh", "[m, m]", "[1.0]"],
    "state": ["None", "m", "1.0", "'state'"],
    "sample": ["None", "'1'", "[1.0, 2.0]", "other_field", "object()"],
    "table": ["None", "'a'", "[]", "1.0", "[[[1.0]]]", "[['a']]"],
    "values": ["None", "{}", "{2: 1.0}", "[1.0]", "{1: 'a'}", "{1: None}"],
    "object": ["None", "'x'", "msh", "1.0", "m"],
    "kappa_form": ["None", "'1'", "other_field"],
    "form": ["None", "'form'", "1.0", "m"],
    "count_or_none": ["'2'", "1.5", "-1", "[2]", "0"],
    "units": ["None", "1.0", "material", "msh"],
    "positive_only": ["None", "'1'", "0.0", "-1.0", "nan", "msh", "other_field"],
    "number_only": ["None", "'1'", "nan", "msh"],
    "potentials": ["None", "{}", "{9: 1.0}", "{1: 'a', 2: 0.0}", "[1, 2]", "{1: nan, 2: 0.0}"],
    "data": ["None", "[1]", "{'a': nan}", "{'a': msh}"],
    "none": ["'1'", "msh", "[1.0]"],
}

#: Kinds of bad values that a good call of the function accepts with reason: (name, argument, value).
ALLOWED = {
    ("vector_space", "mesh", "m"),
    ("checkerboard", "seed", "None"),
    ("inclusions", "seed", "None"),
    ("checkerboard", "tiles", "[2]"),
    ("averaging_kernel", "q", "-1"),
    ("one_sided_kernel", "q", "-1"),
    ("Exchange", "kappa", "[[1, 2], [0, 1]]"),
}

#: Calls that are wrong as a whole: label, expression, a piece of the message wanted.
SINGLE = [
    ("misspelt name", "llg.gao(energy, m, dt=0.1, dampng=0.5)", "damp"),
    ("misspelt name", "llg.march(step(), tend=0.1)", "t_end"),
    ("misspelt name", "llg.Exchange(kapa=1.0)", "kappa"),
    ("misspelt name", "llg.UniaxialAnisotropy((0, 0, 1), K_u=1.0)", "K_u"),
    ("misspelt name", "llg.Zeeman(h=(0, 0, 1))", "h"),
    ("misspelt name", "llg.tangent_plane(energy, m, dt=0.1, damping=1.0, thta=1)", "theta"),
    ("missing argument", "llg.gao(energy, m, dt=0.1)", "damping"),
    ("missing argument", "llg.magnetization(msh)", "m0"),
    ("missing argument", "llg.Energy()", "terms"),
    ("missing argument", "llg.march(step())", "t_end"),
    ("swapped", "llg.gao(m, energy, dt=0.1, damping=0.5)", "energy"),
    ("swapped", "llg.magnetization((1, 0, 0), msh)", "mesh"),
    ("swapped", "llg.write_checkpoint(state(), folder + '/a.npz')", "path"),
    ("swapped", "llg.read_checkpoint(m, checkpoint)", "path"),
    ("swapped", "llg.Observer(m, energy)", "energy"),
    ("swapped", "llg.read_mesh(mesh_file, comm)", "comm"),
    ("swapped", "llg.FieldWriter(m, folder + '/a.bp')", "path"),
    ("swapped", "find('grps_basis')(measure, coarse_form)", "energy"),
    ("too many", "llg.gao(energy, m, 0.1, 0.5)", "positional"),
    ("wrong form", "weak(source=ufl.inner(u, v) * dx)", "source"),
    ("wrong form", "weak(source=m[0] * s * dx)", "source"),
    ("wrong form", "weak(source=ufl.inner(m, m))", "source"),
    ("wrong form", "weak(source=ufl.inner(m, w2) * dx)", "source"),
    ("wrong form", "weak(varying=ufl.inner(m, v) * dx)", "varying"),
    ("wrong form", "weak(varying=ufl.inner(u2, w2) * dx)", "varying"),
    ("wrong form", "weak(nonlinear=ufl.inner(u, v) * dx, x=fem.Function(V))", "nonlinear"),
    ("wrong form", "weak(nonlinear=ufl.inner(m, v) * dx)", "x"),
    ("wrong form", "weak(constant=[])", "constant"),
    ("wrong form", "weak(constant=[block(ufl.inner(m, m) * ufl.inner(u, v) * dx)])", "m"),
    ("wrong form", "weak(constant=[block(ufl.inner(m, v) * dx)])", "bilinear"),
    ("wrong form", "weak(constant=[ufl.inner(u, v) * dx])", ""),
    ("wrong form", "weak(dt=-1.0)", "dt"),
    ("wrong form", "weak(dt='a')", "dt"),
    ("wrong form", "weak(m=scalar)", "m"),
    ("wrong form", "weak(update=3)", "update"),
    ("wrong form", "find('Block')(None)", "form"),
    ("wrong form", "find('Block')(ufl.inner(u, v) * dx, weight=1.0)", "weight"),
    (
        "another mesh",
        "llg.gao(llg.Energy([llg.Exchange(other_field)]), m, dt=.1, damping=1.)",
        "mesh",
    ),
    ("another mesh", "llg.gao(energy, m, dt=.1, damping=other_field)", "mesh"),
    ("another mesh", "llg.Energy([llg.Exchange(other_field)]).total(m)", "mesh"),
    (
        "another mesh",
        "llg.Energy([llg.Zeeman(ufl.as_vector([other_x[0], 0, 1]))]).total(m)",
        "mesh",
    ),
    ("another mesh", "llg.magnetization(msh, other_m)", "mesh"),
    ("another mesh", "magnet.restrict(other_m)", "mesh"),
    ("another mesh", "magnet.restrict(None)", "source"),
    ("another mesh", "llg.Observer(energy, m).observe(foreign_state)", "m"),
    ("another mesh", "llg.FieldWriter(folder + '/c.bp', [m, other_m])", "mesh"),
    ("another mesh", "llg.read_checkpoint(checkpoint, other_m)", "mesh"),
    (
        "another mesh",
        "llg.tangent_plane(llg.Energy([llg.Exchange(other_field)]), m, dt=.1, damping=1.)",
        "mesh",
    ),
    ("range", "llg.Exchange(lambda x: 1 + 1.5 * ufl.sin(40 * x[0])).kappa(m)", "kappa"),
    ("range", "llg.Exchange(lambda x: x[0] - 10).kappa(m)", "kappa"),
    ("range", "llg.WallPosition('z')(m)", "z"),
    ("range", "llg.Image([[1.0, -1.0]])", "positive"),
    ("range", "llg.Image([[1.0]], period=0.0)", "period"),
    ("range", "llg.Image([[[[1.0]]]])", "axes"),
    ("range", "llg.Image(folder + '/a.png')", "values"),
    ("range", "llg.Exchange(lambda x: llg.Image([[1.0]])(2 * x)).kappa(m)", "period"),
    ("range", "find('homogenize')(llg.Image([[1.0, 2.0]], period=0.3), msh)", "period"),
    ("range", "llg.initial.random(msh, -1)", "seed"),
    ("range", "llg.initial.random(m, 1)", "mesh"),
    ("range", "llg.initial.uniform((0, 0, 0))", "direction"),
    ("range", "llg.initial.vortex(core=0.0)", "core"),
    ("range", "llg.initial.vortex(core=1.0, polarity=2)", "polarity"),
    ("range", "llg.initial.skyrmion(radius=-1.0, wall=1.0)", "radius"),
    ("range", "llg.initial.wall(width=1.0, middle=(0, 0, 1))", "right angles"),
    ("range", "llg.initial.domains(axis='w')", "axis"),
    ("range", "llg.initial.from_mesh(long_m, msh)", "unit length"),
    ("range", "llg.initial.from_mesh(m, None)", "mesh"),
    ("range", "llg.until_stopped(3, folder + '/s.npz')", "states"),
    ("range", "llg.until_stopped([], folder + '/s.npz', every=-1.0)", "every"),
    ("range", "llg.Exchange(lambda x: ufl.sqrt(x[0] - 10)).kappa(m)", "kappa"),
    ("range", "llg.Exchange(lambda x: None).kappa(m)", "kappa"),
    ("range", "llg.Exchange(lambda: 1).kappa(m)", ""),
    ("range", "llg.magnetization(msh, lambda x: x[:2])", "m0"),
    ("range", "llg.magnetization(msh, lambda x: None)", "m0"),
    ("range", "llg.magnetization(msh, lambda: 1)", "m0"),
    ("range", "llg.magnetization(msh, lambda x: 0 * x)", "zero"),
    ("range", "llg.magnetization(msh, lambda x: np.full(x.shape, 'a'))", "m0"),
    ("range", "llg.magnetization(msh, ufl.as_vector([1, 0]))", "m0"),
    ("range", "llg.Zeeman(lambda t: (0, 1))", "h_ext"),
    ("range", "llg.Zeeman(lambda t: None)", "h_ext"),
    ("range", "llg.Zeeman(lambda t: (nan, 0, 1))", "h_ext"),
    ("range", "llg.Zeeman((0, 0, 1), time=fem.Constant(msh, 0.0))", "time"),
    (
        "range",
        "llg.Zeeman(ufl.as_vector([0, 0, 1 + other_x[0]]), time=fem.Constant(msh, 0.))",
        "time",
    ),
    ("range", "llg.Zeeman((0, 0, 1)).assign(None)", "h_ext"),
    ("range", "llg.Zeeman((0, 0, 1)).assign((1, 2))", "h_ext"),
    ("range", "llg.UniaxialAnisotropy(zero_field).bilinear(m, m)", "easy_axis"),
    ("range", "llg.UniaxialAnisotropy(long_field)", "easy_axis"),
    ("range", "llg.Slonczewski(1.0, long_field, thickness=1., polarisation=.5)", "polarizer"),
    ("range", "llg.GalerkinBasis(None, None)", "P"),
    ("range", "llg.GalerkinBasis(periodic.P, None)", "Psi"),
    ("range", "llg.GalerkinBasis(periodic.P, periodic.P)", "Psi"),
    ("range", "llg.GalerkinBasis(periodic.P, periodic.Psi, bs='3')", "bs"),
    ("range", "llg.CubicAnisotropy(axes=((1, 0, 0), (1, 1, 0)))", "orthogonal"),
    ("range", "llg.Slonczewski(1.0, (0, 0, 1), thickness=1., polarisation=2.)", "polarisation"),
    (
        "range",
        "llg.Slonczewski(1.0, (0, 0, 1), thickness=1., polarisation=.5, asymmetry=.5)",
        "asymmetry",
    ),
    ("range", "llg.ZhangLi((1.0, 0, 0), 0.1).gradient(m, m)", "u"),
    ("range", "llg.ZhangLi(lambda: 1.0, 0.1)", "u"),
    ("range", "llg.Energy([llg.Zeeman((0, 0, 1), Ms=2.0)], Ms=1.0)", "Ms"),
    ("range", "llg.periodic_basis(turned.function_space)", "periodic"),
    ("range", "find('homogenize')(1.0, disk)", ""),
    ("range", "find('homogenize')(lambda y: y[0] + 1, msh)", "periodic"),
    ("range", "find('homogenize')(lambda y: None, msh)", "kappa"),
    ("range", "list(llg.march(step(), t_end=1e-30, t=1.0))", "t_end"),
    ("range", "list(llg.march(step(dt=1e-18), t_end=2.0, t=1.0))", "dt"),
    (
        "range",
        "list(llg.march(step(), t_end=0.1, petsc_options={'ksp_type': 'nonsense'}))",
        "nonsense",
    ),
    (
        "range",
        "list(llg.march(step(), t_end=0.1, petsc_options={'pc_type': 'nonsense'}))",
        "nonsense",
    ),
    (
        "range",
        "list(llg.march(step(), t_end=0.1, petsc_options={'ksp_rtol': 'nonsense'}))",
        "nonsense",
    ),
    ("range", "list(llg.march(step(), t_end=0.1, constraint='nonsense'))", ""),
    (
        "user terms",
        "llg.Energy([asymmetric()]).total(m); llg.gao(llg.Energy([asymmetric()]), m, dt=.1, damping=1.)",
        "symmetric",
    ),
    ("user terms", "llg.gao(llg.Energy([returns_none()]), m, dt=.1, damping=1.)", "density"),
    ("user terms", "llg.gao(llg.Energy([returns_vector()]), m, dt=.1, damping=1.)", "scalar"),
    ("user terms", "llg.gao(llg.Energy([raises()]), m, dt=.1, damping=1.)", "mine"),
    ("user terms", "llg.Energy([raises()]).total(m)", "mine"),
    ("user terms", "llg.Energy([returns_none()]).total(m)", "density"),
    ("user terms", "llg.Energy([no_density()]).total(m)", "density"),
    ("user terms", "llg.gao(llg.Energy([marked_implicit()]), m, dt=.1, damping=1.)", "implicit"),
    ("user terms", "list(llg.march(step(update=fails_on_last), t_end=.1, progress=False))", "mine"),
    ("files", "llg.read_checkpoint(folder + '/none.npz', m)", "none.npz"),
    ("files", "llg.read_checkpoint(junk('x'), m)", "junk"),
    ("files", "llg.read_checkpoint(junk(''), m)", "junk"),
    ("files", "llg.read_checkpoint(crafted(t=nan), m)", "t"),
    ("files", "llg.read_checkpoint(crafted(t='a'), m)", "t"),
    ("files", "llg.read_checkpoint(crafted(n=-1), m)", "n"),
    ("files", "llg.read_checkpoint(crafted(n=1.5), m)", "n"),
    ("files", "llg.read_checkpoint(crafted(n=[1, 2]), m)", "n"),
    ("files", "llg.read_checkpoint(crafted(dt=-1.0), m)", "dt"),
    ("files", "llg.read_checkpoint(crafted(m=np.zeros((3, 3))), m)", "m"),
    ("files", "llg.read_checkpoint(crafted(m=np.array('a')), m)", "m"),
    ("files", "llg.read_checkpoint(crafted(m=nan), m)", "m"),
    ("files", "llg.read_checkpoint(crafted(x=np.zeros(3)), m)", "x"),
    ("files", "llg.read_checkpoint(crafted(cells=np.zeros(0)), m)", "cells"),
    ("files", "llg.read_checkpoint(crafted(cell_type=3), m)", "mesh"),
    ("files", "llg.read_checkpoint(crafted(version=99), m)", "version"),
    ("files", "llg.read_checkpoint(truncated(checkpoint), m)", ""),
    ("files", "llg.write_checkpoint(folder + '/n.npz', bad_state(t=nan))", "t"),
    ("files", "llg.write_checkpoint(folder + '/n.npz', bad_state(n=-1))", "n"),
    ("files", "llg.write_checkpoint(folder + '/n.npz', bad_state(dt=nan))", "dt"),
    ("files", "llg.write_checkpoint('/proc/none/n.npz', state())", "/proc/none"),
    ("files", "llg.CSVWriter('/proc/none/a.csv', comm)", "/proc/none"),
    ("files", "llg.FieldWriter('/proc/none/a.bp', m)", "/proc/none"),
    ("files", "llg.FieldWriter(folder + '/a.txt', m)", ".bp"),
    ("files", "find('load_basis')(truncated(basis_file), coarse_form, measure)", ""),
    ("files", "find('load_basis')(junk(''), coarse_form, measure)", "junk"),
    ("files", "find('load_basis')(junk('x'), coarse_form, measure)", "junk"),
    ("files", "find('load_basis')(checkpoint, coarse_form, measure)", ""),
    ("files", "find('load_basis')(folder + '/none.npz', coarse_form, measure)", "none.npz"),
    ("files", "find('load_basis')(crafted_basis(P_indptr=np.zeros(3)), coarse_form, measure)", ""),
    ("files", "find('load_basis')(crafted_basis(P_indices=-1), coarse_form, measure)", ""),
    ("files", "find('load_basis')(crafted_basis(P_data=nan), coarse_form, measure)", ""),
    ("files", "find('load_basis')(crafted_basis(ell='a'), coarse_form, measure)", ""),
    ("files", "llg.read_ovf(folder + '/none.ovf', comm)", "none.ovf"),
    ("files", "llg.read_ovf(junk('x'), comm)", "junk"),
    ("files", "llg.write_ovf('/proc/none/a.ovf', m, cell=0.5)", "/proc/none"),
    ("files", "llg.write_ovf(folder + '/a.ovf', m, cell=0.0)", "cell"),
    ("files", "llg.write_ovf(folder + '/a.ovf', m, cell=0.5, data='binary')", "data"),
    ("files", "llg.Image(folder + '/none.png', values=(1.0, 2.0))", "none.png"),
    ("files", "llg.Image(junk('x'), values=(1.0, 2.0))", "junk"),
    ("files", "llg.FieldWriter(folder + '/a.pvd', m, resume=m)", "resume"),
    ("files", "llg.FieldWriter(junk('<Xdmf></Xdmf>', '.xdmf'), m)", "moments"),
    ("files", "llg.read_mesh(comm, folder + '/none.xdmf')", "none.xdmf"),
    ("files", "llg.read_mesh(comm, folder + '/none.stl')", ".stl"),
    ("files", "llg.read_mesh(comm, junk('<Xdmf>', '.xdmf'))", "junk"),
    ("files", "llg.read_mesh(comm, junk('', '.xdmf'))", "junk"),
    ("files", "llg.read_mesh(comm, junk('<Xdmf></Xdmf>', '.xdmf'))", "no mesh"),
    ("files", "llg.read_mesh(comm, changed_mesh('Format=\"XML\"', 'Format=\"Binary\"'))", "Binary"),
    ("files", "llg.read_mesh(comm, changed_mesh('Triangle', 'Banana'))", "banana"),
    (
        "files",
        'llg.read_mesh(comm, changed_mesh(\'<?xml version="1.0"?>\', \'<?xml version="1.0" encoding="nonsense"?>\'))',
        "",
    ),
    ("files", "find('CSVWriter')(folder + '/d.csv', comm).write(None)", "row"),
    ("files", "find('CSVWriter')(folder + '/e.csv', comm).write({'t': 'a'})", "t"),
    ("callables", "llg.magnetization(msh, fails_on_last)", "mine"),
    ("callables", "llg.Exchange(fails_on_last).kappa(m)", "mine"),
    ("callables", "find('cell_coefficient')(msh, fails_on_last)", "mine"),
    ("callables", "llg.Energy([zeeman_later()]).update(m, 1.0)", "mine"),
    ("callables", "llg.Energy([torque_later()]).update(m, 1.0)", "mine"),
    ("callables", "find('homogenize')(fails_on_last, msh)", "mine"),
    ("callables", "find('upscaled_tensor')(coarse_mesh, fails_on_last, box)", "mine"),
]


def calls() -> list[tuple[str, str, str]]:
    """Return (label, expression, piece of the message) of every bad call."""
    found = _calls(VARIED, BAD, ALLOWED, SINGLE)
    for part in FURTHER:
        found += _calls(part.VARIED, BAD | part.BAD, part.ALLOWED, part.SINGLE)
    return found


def _calls(
    varied: Varied,
    bad: dict[str, list[str]],
    allowed: set[tuple[str, str, str]],
    single: list[tuple[str, str, str]],
) -> list[tuple[str, str, str]]:
    found = list(single)
    for name, arguments in varied:
        for argument, _, kind in arguments:
            for value in bad[kind]:
                if (name, argument, value) in allowed:
                    continue
                given = ", ".join(
                    f"{other}={value if other == argument else good}"
                    for other, good, _ in arguments
                )
                found.append((f"{name} {argument}", _call(name, given), ""))
    return found


def _call(name: str, given: str) -> str:
    call = f"find('{name.rstrip('*')}')({given})"
    return f"next(iter({call}))" if name.endswith("*") else call


def good_calls() -> list[tuple[str, str, str]]:
    """Return the calls without a mistake: they must be accepted, else the table itself is wrong."""
    return [
        (name, _call(name, ", ".join(f"{a}={good}" for a, good, _ in arguments)), "")
        for name, arguments in [*VARIED, *(row for part in FURTHER for row in part.VARIED)]
    ]


def names() -> set[str]:
    """Return the words of all bad calls: every public name is to be among them."""
    return {word for _, call, _ in calls() for word in re.findall(r"\w+", call)}
