# SPDX-License-Identifier: LGPL-3.0-or-later
"""Bad calls over terms of the energy, data, currents and units; see ``table`` for their form."""

from __future__ import annotations

__all__ = ["ALLOWED", "BAD", "SINGLE", "VARIED"]

BAD = {
    "real": ["None", "'1'", "nan", "inf", "[1.0, 2.0]"],
    "matrix": [
        "None",
        "'D'",
        "1.0",
        "np.eye(2)",
        "nan * np.eye(3)",
        "[[0, 1, 0], [0] * 3, [0] * 3]",
    ],
    "strain": ["None", "'e'", "1.0", "np.eye(2)", "[[0, 1, 0], [0] * 3, [0] * 3]", "m", "msh"],
    "temperature": ["None", "'300'", "-1.0", "nan", "[1.0]", "negative", "m", "other_field", "msh"],
    "seed64": ["None", "'1'", "1.5", "-1", "2**64"],
    "two_tags": ["None", "1", "(1,)", "(1, 9)", "('a', 'b')", "(1, 1)", "(1.5, 2)"],
    "tag": ["9", "'a'", "1.5", "[]", "[None]"],
    "facets": ["None", "'tags'", "tags", "m"],
    "facets_or_all": ["'tags'", "tags", "m", "3"],
    "axes3": ["None", "'xyz'", "((1, 0, 0),)", "((1, 0, 0), (1, 0, 0))", "((0, 0, 0), (0, 1, 0))"],
    "optional_positive": ["'1'", "0.0", "-1.0", "nan", "[1.0]"],
    "times": ["None", "'t'", "[]", "[0.0]", "[1.0, 0.0]", "[0.0, nan]", "[0.0, 1.0, 2.0]", "0.0"],
    "samples": ["None", "'h'", "[1.0]", "1.0", "[nan, 1.0]", "[[0] * 3, [1, 2]]", "m"],
    "current": ["None", "'j'", "m", "msh", "scalar", "solid_m", "nan_current", "1.0"],
    "solid_space": ["None", "m", "msh", "solid_scalar.function_space", "V"],
    "points": ["None", "'x'", "[1.0, 2.0]", "[[nan, 0, 0]]", "[['a'] * 3]", "1.0"],
    "normal": ["'z'", "(0, 0, 0)", "(0, 1)", "(nan, 0, 1)", "3.0", "msh", "fails_on_last"],
    "vector_function": ["None", "'m'", "msh", "3", "scalar", "p2"],
    "surface": ["None", "'m'", "msh", "1.0", "scalar", "nan_m", "zero_m"],
    "energy_or_mesh": ["None", "'x'", "1.0", "m"],
    "box": ["'box'", "3", "[1.0]", "((1, 1), (0, 0))", "((0, 0), (nan, 1))"],
    "mu": ["'1'", "0.0", "-1.0", "nan", "[1.0]", "None"],
    "material_spread": ["None", "'cu'", "1.0", "material"],
    "spin_current": ["None", "'j'", "1.0", "(1.0, nan)", "m", "msh", "[None, 1.0]"],
    "amplitude": ["None", "'1'", "nan", "[1.0]", "fails_on_last"],
    "terms_given": ["None", "[1.0]", "'terms'", "llg.Exchange(1.0)"],
}

VARIED = [
    ("Thermal", [("temperature", "0.1", "temperature_given"), ("seed", "3", "seed64")]),
    (
        "InterlayerExchange",
        [
            ("m", "layers", "layered"),
            ("facet_tags", "layer_facets", "facets"),
            ("tags", "(1, 2)", "two_tags"),
            ("j1", "1.0", "real"),
            ("j2", "0.5", "real"),
            ("gap", "0.2", "optional_positive"),
            ("Ms", "1.0", "positive"),
        ],
    ),
    (
        "SurfaceAnisotropy",
        [
            ("q_s", "1.0", "scalar"),
            ("facet_tags", "facets", "facets_or_all"),
            ("tags", "1", "tag_kind"),
            ("axis", "(0, 0, 1)", "axis_given"),
            ("implicit", "True", "flag_given"),
        ],
    ),
    (
        "Magnetoelastic",
        [
            ("strain", "np.eye(3)", "strain"),
            ("B1", "1.0", "scalar"),
            ("B2", "1.0", "scalar"),
            ("axes", "((1, 0, 0), (0, 1, 0))", "axes3"),
        ],
    ),
    ("TensorAnisotropy", [("matrix", "np.eye(3)", "matrix"), ("implicit", "True", "flag_given")]),
    ("LocalStrayField", [("matrix", "np.eye(3)", "matrix"), ("implicit", "True", "flag_given")]),
    (
        "TimeTable",
        [
            ("times", "[0.0, 1.0]", "times"),
            ("values", "[0.0, 1.0]", "samples"),
            ("kind", "'linear'", "choice"),
            ("outside", "'hold'", "choice"),
        ],
    ),
    (
        "oersted_field",
        [
            ("j", "solid_current", "current"),
            ("V", "solid_m.function_space", "solid_space"),
            ("units", "units", "units"),
        ],
    ),
    ("topological_charge", [("m", "m", "surface"), ("normal", "(0, 0, 1)", "normal")]),
    (
        "StrayField",
        [
            ("m", "solid_m", "solid"),
            ("Ms", "1.0", "positive"),
            ("accuracy", "1e-3", "positive"),
            ("poisson", "'auto'", "choice"),
            ("petsc_options", "{}", "options"),
            ("progress", "False", "flag_given"),
            ("in_basis", "'matrix'", "choice"),
        ],
    ),
    ("demagnetizing_tensor", [("body", "solid_m.function_space.mesh", "solid_mesh")]),
    *(
        (name, [(side, "1.0", "positive") for side in "abc"])
        for name in ("prism_factors", "ellipsoid_factors")
    ),
    ("FieldTerm", [("Ms", "1.0", "mu")]),
    (
        "voronoi_grains",
        [
            ("msh", "msh", "mesh"),
            ("count", "3", "count"),
            ("seed", "1", "seed_given"),
            ("box", "None", "box"),
            ("periodic", "True", "flag"),
        ],
    ),
    (
        "place_inclusions",
        [
            ("dim", "2", "count"),
            ("count", "2", "count"),
            ("radius", "0.1", "positive_kind"),
            ("seed", "1", "seed_given"),
            ("gap", "0.0", "gap"),
        ],
    ),
    ("with_exchange", [("energy", "energy", "energy"), ("kappa", "2.0", "kappa_number")]),
    ("exchange_coefficient", [("energy", "energy", "energy"), ("msh", "msh", "mesh_given")]),
    ("component_forms", [("energy", "energy", "energy"), ("V", "scalar.function_space", "space")]),
    (
        "integral",
        [
            ("terms", "[llg.Exchange(1.0)]", "terms_given"),
            ("integrand", "lambda term: term.density(m)", "callable"),
            ("mesh", "msh", "mesh"),
        ],
    ),
    (
        "Transport",
        [
            ("diffusion", "1.0", "field_or_number"),
            ("lambda_sf", "1.0", "field_or_number"),
            ("lambda_J", "1.0", "field_or_number"),
            ("beta", "0.5", "field_or_number"),
        ],
    ),
    (
        "SpinAccumulation",
        [
            ("magnet", "magnet", "object"),
            ("current", "(1.0, 0.0)", "spin_current"),
            ("transport", "transport", "object"),
            ("amplitude", "1.0", "amplitude"),
            ("petsc_options", "{}", "options"),
        ],
    ),
    (
        "check_mesh_size",
        [
            ("msh", "msh", "mesh"),
            ("materials", "material", "material_spread_given"),
            ("units", "units", "units"),
            ("cell_tags", "None", "facets_or_all"),
        ],
    ),
    *(
        (name, [("eps", "0.1", "positive")])
        for name in ("hmm_ex2", "hmm_ex3", "hmm_eq40", "hmm_eq42")
    ),
    *(
        (name, [("x", "np.zeros((2, 3))", "coordinates")])
        for name in ("ms_trig", "hmm_ex1_initial", "hmm_ex2_initial", "hmm_eq40_kappa_hom")
    ),
]
BAD |= {
    "temperature_given": [v for v in BAD["temperature"] if v not in ("other_field", "m")],
    "layered": ["None", "'m'", "1.0", "scalar", "m", "msh"],
    "tag_kind": ["'a'", "1.5", "[None]", "[]", "1j"],
    "axis_given": ["'z'", "(0, 0, 0)", "(0, 1)", "(nan, 0, 1)", "1.0", "msh"],
    "flag_given": ["'yes'", "2", "0.5"],
    "solid": ["None", "'m'", "m", "msh", "1.0", "solid_scalar"],
    "solid_mesh": ["None", "'body'", "msh", "1.0"],
    "cache": ["3.0", "msh", "['a']"],
    "seed_given": ["'1'", "1.5", "-1", "None"],
    "positive_kind": ["None", "'1'", "0.0", "-1.0", "nan", "[1.0, 2.0, 3.0]", "msh", "(2.0, 1.0)"],
    "gap": ["None", "'1'", "nan", "-1.0", "[1.0]"],
    "kappa_number": ["None", "'1'", "0.0", "-1.0", "nan", "[1.0, 2.0]", "[[1, 2], [0, 1]]", "msh"],
    "mesh_given": ["'mesh'", "m", "1.0"],
    "field_or_number": ["None", "'1'", "nan", "[1.0]", "msh", "m", "-1.0"],
    "material_spread_given": ["None", "'Co'", "1.0", "{}", "{1: 1.0}"],
    "coordinates": ["None", "'x'", "1.0", "np.zeros(())", "msh"],
}
ALLOWED = {
    ("SpinAccumulation", "amplitude", "fails_on_last"),  # at the first update: below
    ("check_mesh_size", "cell_tags", "tags"),
}

SINGLE = [
    ("swapped", "llg.Thermal(seed=0.1, temperature=3)", "seed"),
    ("misspelt name", "llg.Thermal(0.1, sed=3)", "seed"),
    ("misspelt name", "llg.SurfaceAnisotropy(1.0, axes=(0, 0, 1))", "axis"),
    ("misspelt name", "llg.Slonczewski(1.0, (0, 0, 1), thicknes=1., polarisation=.5)", "thickness"),
    ("misspelt name", "llg.TimeTable([0, 1], [0, 1], outsid='zero')", "outside"),
    ("misspelt name", "llg.InterlayerExchange(layers, layer_facets, (1, 2), J1=1.0)", "j1"),
    ("misspelt name", "llg.StrayField(solid_m, acuracy=1e-3)", "accuracy"),
    ("misspelt name", "find('demagnetizing_tensor')(solid, acuracy=1e-3)", "accuracy"),
    ("another mesh", "stray.update(m, 0.0)", "mesh"),
    ("another mesh", "interlayer().update(m, 0.0)", ""),
    ("another mesh", "llg.SurfaceAnisotropy(1.0, facets, 1).measure(other_mesh)", "mesh"),
    ("another mesh", "llg.topological_charge(solid_m, facets, 1)", ""),
    ("another mesh", "llg.Energy([llg.Magnetoelastic(other_tensor, 1., 1.)]).total(m)", "mesh"),
    ("no facets", "llg.SurfaceAnisotropy(1.0, facets, 9).measure(msh)", "9"),
    ("no facets", "llg.topological_charge(solid_m, solid_facets, 9)", "9"),
    ("no facets", "llg.topological_charge(solid_m, solid_facets)", "tags"),
    (
        "noise",
        "llg.gao(llg.Energy([llg.Exchange(1.), llg.Thermal(.1)]), m, dt=.1, damping=1.)",
        "heun",
    ),
    (
        "noise",
        "llg.rk4(llg.Energy([llg.Exchange(1.), llg.Thermal(.1)]), m, dt=.1, damping=1.)",
        "heun",
    ),
    ("noise", "llg.heun(llg.Energy([llg.Thermal(.1)]), m, dt=.1, damping=1.)", "another"),
    (
        "noise",
        "llg.heun(llg.Energy([llg.Exchange(1.), llg.Thermal(.1), llg.Thermal(.2)]), m, dt=.1, damping=1.)",
        "one Thermal",
    ),
    (
        "noise",
        "list(llg.march(llg.heun(llg.Energy([llg.Exchange(1.), llg.Thermal(later(.1))]), m, dt=1e-3, damping=1.), t_end=2e-3, progress=False))",
        "mine",
    ),
    (
        "noise",
        "list(llg.march(llg.heun(llg.Energy([llg.Exchange(1.), llg.Thermal(lambda t: -t)]), m, dt=1e-3, damping=1.), t_end=2e-3, progress=False))",
        "temperature",
    ),
    (
        "callables",
        "llg.Energy([llg.Magnetoelastic(later(np.eye(3)), 1., 1.)]).update(m, 1.0)",
        "mine",
    ),
    (
        "callables",
        "llg.Energy([llg.Magnetoelastic(lambda t: np.eye(2), 1., 1.)]).update(m, 1.0)",
        "strain",
    ),
    ("callables", "llg.topological_charge(m, normal=fails_on_last)", "mine"),
    ("callables", "llg.topological_charge(m, normal=lambda x: x[:2])", "normal"),
    ("callables", "llg.Energy([llg.Zeeman(llg.TimeTable([0, 1], [0, 1]))]).update(m, .5)", "h_ext"),
    (
        "callables",
        "llg.Energy([llg.Zeeman(llg.TimeTable([0, 1], np.eye(3)[:2], outside='refuse'))]).update(m, 2.)",
        "table",
    ),
    (
        "callables",
        "llg.Slonczewski(1., later((0, 0, 1)), thickness=1., polarisation=.5).update(m, 1.)",
        "mine",
    ),
    (
        "callables",
        "find('SpinAccumulation')(magnet, (1., 0.), transport, amplitude=later(1.)).update(m, 1.)",
        "",
    ),
    ("callables", "llg.ZhangLi(later((1., 0.)), .1).update(m, 1.)", "mine"),
    (
        "callables",
        "llg.integral([llg.Exchange(1.0)], lambda term: fails_on_last(np.zeros(3)), msh)",
        "",
    ),
    ("order of calls", "llg.StrayField(solid_m).field_at((0, 0, 2))", "update"),
    *(("field_at", f"stray.field_at({value})", "points") for value in BAD["points"]),
    ("assign", "interlayer().assign(j1=nan)", "j1"),
    ("assign", "interlayer().assign(j2='a')", "j2"),
    ("assign", "llg.Magnetoelastic(np.eye(3), 1., 1.).assign(np.eye(2))", "strain"),
    ("assign", "llg.Zeeman((0, 0, 1)).assign((0, nan, 1))", ""),
]
