# SPDX-License-Identifier: LGPL-3.0-or-later
"""Temporal upscaling: fields, windows, the macro solver and bad input."""

from collections import deque

from mpi4py import MPI

import numpy as np
import pytest
import scipy.sparse as sp
import ufl
from basix.ufl import element
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.hmm import (
    ChainModel,
    FastField,
    MagnetModel,
    MidpointSolver,
    SpinChain,
    SpinModel,
    Window,
    field_from_ufl,
    resolved,
)
from dolfinx_llg.hmm.time.chain_boxes import damping_ramp
from dolfinx_llg.hmm.time.precession import averaged_flux
from dolfinx_llg.la.cross import cross

pytestmark = pytest.mark.most_ranks(2)


def macro_run(model, m, *, dt, t_end, t=0.0, **options):
    """March the macro model."""
    return llg.march(llg.hmm.upscaled(model, m, dt=dt, **options), t=t, t_end=t_end)


INTERVAL = element("Lagrange", "interval", 1, shape=(1,))


def rotating(t, z):
    return [np.sin(2 * np.pi * z), np.cos(2 * np.pi * z), 1.0]


def chain_field(t, z, x):
    return [0.0, 0.0, 1.0 + np.cos(2 * np.pi * z) ** 2]


def spin(eps=0.01, field=rotating, **window):
    return SpinModel(field, Window(eps=eps, steps_per_period=16, **window))


# Fields


def test_field_shapes_and_count():
    field = FastField(rotating, 0.1)
    t = np.linspace(0, 1, 7)
    assert field(t).shape == (7, 3)
    np.testing.assert_array_equal(field(t)[:, 2], 1.0)
    assert field.evaluations == 14
    array = FastField(lambda t, z: np.zeros((3, t.size)), 0.1)
    assert array(t).shape == (7, 3)


def test_field_in_space():
    x = np.linspace(0, 1, 5)
    field = FastField(lambda t, z, x: [np.sin(x) * z, 0.0, t], 0.1, x)
    values = field(np.array([0.3, 0.7]))
    assert values.shape == (2, 5, 3)
    np.testing.assert_allclose(values[1, :, 0], 7 * np.sin(x), rtol=1e-14)
    # A field that is constant in space is not blown up to all spins.
    assert FastField(chain_field, 0.1, x)(np.array([0.3, 0.7])).shape == (2, 1, 3)


def test_field_from_ufl():
    domain = ufl.Mesh(INTERVAL)
    t, z = ufl.Constant(domain), ufl.Constant(domain)
    expression = ufl.as_vector([ufl.sin(2 * ufl.pi * z), ufl.cos(2 * ufl.pi * z), 1 + 0 * t])
    from_ufl = spin(field=field_from_ufl(expression, t, z))
    np.testing.assert_allclose(
        from_ufl.flux_matrix(0.3)[0], spin().flux_matrix(0.3)[0], rtol=0, atol=1e-13
    )
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        field_from_ufl(expression[0], t, z)
    with pytest.raises(ValueError, match="t and z only"):
        field_from_ufl(expression, t, t)


def test_field_from_ufl_outside_its_domain():
    domain = ufl.Mesh(INTERVAL)
    t, z = ufl.Constant(domain), ufl.Constant(domain)
    bad = {
        "ln": ufl.ln(0.5 - t),
        "sqrt": ufl.sqrt(0.5 - t),
        "power": (0.5 - t) ** 0.3,
        "quotient": 1 / ufl.max_value(0.5 - t, 0.0),
    }
    for expression in bad.values():
        field = field_from_ufl(ufl.as_vector([z, expression, z]), t, z)
        assert np.all(np.isfinite(field(np.array([0.1]), np.array([0.2]))))
        with pytest.raises(ValueError, match=r"component 1 of the field .* at t = 0\.75"):
            field(np.array([0.1, 0.75]), np.array([0.2, 0.3]))


def test_field_from_ufl_drives_a_chain():
    domain = ufl.Mesh(INTERVAL)
    t, z = ufl.Constant(domain), ufl.Constant(domain)
    expression = ufl.as_vector([0 * t, 0 * t, 1 + ufl.cos(2 * ufl.pi * z) ** 2])
    m = np.tile([0.6, 0.0, 0.8], (5, 1))
    fluxes = [
        make_model(SpinChain(field, 20, exchange=1.0, eps=0.01)).flux(0.1, m)[0]
        for field in (chain_field, field_from_ufl(expression, t, z))
    ]
    # The same numbers up to rounding.
    np.testing.assert_allclose(fluxes[1], fluxes[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (lambda t, z: np.zeros((t.size, 3)), r"3 components.*\(2, 3\)"),
        (lambda t, z: [0.0, 1.0], "3 components"),
        (lambda t, z: 1.0, "3 components"),
        (lambda t, z: [np.zeros(5), 0.0, 0.0], r"component of shape \(5,\)"),
        (lambda t, z: [np.full_like(t, np.nan), 0.0, 0.0], "not finite at t = 0"),
        ("field", "callable"),
        (ufl.as_vector([ufl.Constant(ufl.Mesh(INTERVAL))] * 3), r"field_from_ufl\(expression"),
    ],
)
def test_bad_fields(field, message):
    with pytest.raises(ValueError, match=message):
        SpinModel(field, Window(eps=0.01))


def test_field_that_turns_nan_later_names_the_time():
    model = spin(field=lambda t, z: [np.where(t > 0.5, np.nan, 0.0), 0.0, 1.0])
    with pytest.raises(ValueError, match=r"not finite at t = 0\.5"):
        list(macro_run(model, [1.0, 0.0, 0.0], dt=0.1, t_end=1.0))


# Windows


def test_window_weights_average_exactly():
    for integrator in ("midpoint", "rk4"):
        window = Window(eps=0.1, p=3, q=2, integrator=integrator)
        offsets = window.offsets if integrator == "midpoint" else window.offsets[::2]
        # Both sides: even moments twice, odd ones cancel.
        assert 2 * window.weights.sum() == pytest.approx(1, abs=1e-13)
        assert 2 * window.weights @ offsets**2 == pytest.approx(0, abs=1e-14)
        assert window.n_steps * window.step == pytest.approx(window.tau / 2, rel=1e-14)


def test_leakage_of_the_kernels_in_the_docstring():
    assert Window(eps=0.01).leakage == pytest.approx(3.1e-6, rel=0.02)
    assert Window(eps=0.01, tau=0.05, p=5, q=4).leakage == pytest.approx(2.2e-2, rel=0.02)


def test_window_bad_input():
    with pytest.warns(UserWarning, match="meaningless"):
        Window(eps=0.1, tau=0.1)
    cases = [
        ({"eps": 0.0}, "eps"),
        ({"eps": np.nan}, "eps"),
        ({"eps": 0.1, "tau": -1.0}, "tau"),
        ({"eps": 0.1, "p": -1}, "p must"),
        ({"eps": 0.1, "q": 99}, "q must"),
        ({"eps": 0.1, "integrator": "euler"}, "euler"),
        ({"eps": 0.1, "steps_per_period": 2}, "steps_per_period"),
        ({"eps": 0.1, "steps_per_period": 16.0}, "steps_per_period must be an integer"),
        ({"eps": 0.1, "p": True}, "p must be an integer"),
        ({"eps": 0.1, "p": np.ones(1)}, "p must be an integer"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            Window(**arguments)


def test_integrators_agree_and_midpoint_has_order_2():
    def matrix(n, integrator):
        window = Window(eps=0.02, p=3, q=5, steps_per_period=n, integrator=integrator)
        return SpinModel(rotating, window).flux_matrix(0.203)[0]

    reference = matrix(256, "rk4")
    errors = [np.abs(matrix(n, "midpoint") - reference).max() for n in (16, 32, 64)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)
    assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.1)
    # Order 4, (2 pi / 32)^4 / 100 times a tail of size eps.
    assert np.abs(matrix(32, "rk4") - reference).max() < 1e-6


def test_flux_is_linear_in_m_for_one_spin():
    model = spin()
    m = np.array([0.3, -0.5, 0.7])
    direct, _ = averaged_flux(model, model.window, 0.3, m)
    np.testing.assert_allclose(model.flux(0.3, m)[0], direct, rtol=0, atol=1e-14)


def test_independent_spins_in_one_field():
    rows = np.random.default_rng(1).standard_normal((5, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    together = next(macro_run(spin(), rows, dt=0.1, t_end=0.1, damping=0.5)).m
    alone = next(macro_run(spin(), rows[3], dt=0.1, t_end=0.1, damping=0.5)).m
    np.testing.assert_allclose(together[3], alone, rtol=0, atol=1e-9)  # tolerance 1e-10


def test_cross():
    a, b = np.random.default_rng(0).standard_normal((2, 4, 5, 3))
    np.testing.assert_allclose(cross(a, b), np.cross(a, b), rtol=1e-14)
    np.testing.assert_allclose(cross(a, b[0, 0]), np.cross(a, b[0, 0]), rtol=1e-14)


# The macro solver


def test_newton_and_fixed_point_agree():
    ends = []
    for kind in ("newton", "fixed_point"):
        solver = MidpointSolver(kind)
        states = macro_run(
            spin(), [1.0, 0.0, 0.0], dt=0.1, t_end=1.0, damping=1.0, solver=solver, tolerance=1e-13
        )
        state = deque(states, maxlen=1).pop()
        assert state.n == 10
        assert state.t == 1.0
        ends.append(state.m)
    # Ten steps, each solved to 1e-13.
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=5e-12)


def test_projection_keeps_the_length():
    m0 = np.ones(3) / np.sqrt(3)
    lengths = {}
    for projection in (None, "flux", "magnetization"):
        run = macro_run(
            spin(), m0, dt=0.1, t_end=1.0, damping=1.0, projection=projection, tolerance=1e-14
        )
        lengths[projection] = max(abs(np.linalg.norm(state.m) - 1) for state in run)
    # Ten steps with residuals of 1e-14; M/|M| to rounding; without projection O(eps).
    assert lengths["flux"] < 1e-12
    assert lengths["magnetization"] < 1e-15
    assert 1e-6 < lengths[None] < 1e-2


def test_projections_agree_up_to_eps():
    """Each changes M by O(eps) only."""
    ends = []
    for projection in (None, "flux", "magnetization"):
        run = macro_run(
            spin(), [0.6, 0.0, 0.8], dt=0.1, t_end=1.0, damping=1.0, projection=projection
        )
        ends.append(deque(run, maxlen=1).pop().m)
    # eps beta |H_1| / (2 pi) = 1.6e-3 is the amplitude of the fast motion at eps = 0.01.
    assert np.linalg.norm(ends[1] - ends[0]) < 2e-3
    assert np.linalg.norm(ends[2] - ends[0]) < 2e-3


def test_a_vanishing_magnetization_has_no_projection():
    rows = [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    with pytest.raises(ValueError, match="vanishes"):
        next(macro_run(spin(), rows, dt=0.1, t_end=0.1, projection="magnetization"))


def test_the_user_owns_the_loop():
    times = []
    step = llg.hmm.upscaled(spin(), [1.0, 0.0, 0.0], dt=0.1)
    for state in llg.march(step, t_end=10.0):
        times.append(state.t)
        step.dt.value = 0.25
        if state.n == 3:
            break
    np.testing.assert_allclose(times, [0.1, 0.35, 0.6], rtol=1e-14)
    (state,) = macro_run(spin(), [1.0, 0.0, 0.0], dt=0.1, t=0.2, t_end=0.27)
    assert state.t == 0.27
    assert list(macro_run(spin(), [1.0, 0.0, 0.0], dt=0.1, t_end=0.0)) == []
    run = llg.march(step, t=0.6, t_end=1.6)
    next(run)
    step.dt.value = 0.001
    with pytest.raises(ValueError, match=r"exceeds the macro step dt = 0\.001"):
        next(run)


def test_macro_steps_are_not_adapted():
    step = llg.hmm.upscaled(spin(), [1.0, 0.0, 0.0], dt=0.1)
    with pytest.raises(ValueError, match="macro steps are not adapted"):
        llg.march(step, t_end=1.0, adaptive=llg.Adaptive())


def test_a_magnet_with_a_function(comm, tmp_path_factory):
    """The same as with its nodal values; observers and checkpoints work, a restart goes on."""
    domain = mesh.create_interval(comm, 4, [0.0, 1.0])
    model, values = magnet(llg.Exchange(0.1), domain)
    m = llg.magnetization(domain, (1.0, 0.0, 0.0))
    model.assign(m, values)
    start = m.x.array.copy()
    folder = comm.bcast(tmp_path_factory.mktemp("magnet") if comm.rank == 0 else None)
    options = {"dt": 0.05, "damping": 0.2, "tolerance": 1e-12}
    *_, expected = macro_run(model, values, t_end=0.3, **options)
    step = llg.hmm.upscaled(model, m, **options)
    rows = []
    for state in llg.march(step, t_end=0.3):
        rows.append(model.energy.total(state.m))
        if state.n == 3:
            llg.write_checkpoint(folder / "run.npz", state)
    np.testing.assert_array_equal(model.nodal(m), expected.m)
    assert len(rows) == 6
    end = m.x.array.copy()
    m.x.array[:] = start
    resume = llg.read_checkpoint(folder / "run.npz", m)
    for _ in llg.march(llg.hmm.upscaled(model, m, **options), t_end=0.3, resume=resume):
        pass
    np.testing.assert_allclose(m.x.array, end, atol=1e-14)
    with pytest.raises(TypeError, match="takes m as an array, got a Function"):
        llg.hmm.upscaled(spin(), m, dt=0.1)
    with pytest.raises(ValueError, match="neither a basis nor petsc_options"):
        llg.march(step, t=0.3, t_end=1.0, petsc_options={"ksp_rtol": 1.0})


def test_a_step_that_does_not_contract_names_delta_t():
    # The rotation by dt/2 times a field of 30 is no contraction for dt = 1.
    model = spin(field=lambda t, z: [30.0, 0.0, np.cos(2 * np.pi * z)])
    run = macro_run(model, [0.0, 0.0, 1.0], dt=1.0, t_end=2.0, solver=MidpointSolver("fixed_point"))
    with pytest.raises(
        llg.ConvergenceError, match=r"Delta t = 1\.0 at t = 0\.5.*reduce Delta t"
    ) as error:
        next(run)
    assert error.value.t == 0.5
    assert error.value.iterations > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.05}, "tau = 0.053 exceeds the macro step dt = 0.05"),
        ({"dt": 0.0}, "dt must"),
        ({"dt": np.nan}, "dt must"),
        ({"t_end": -1.0}, "t_end"),
        ({"damping": -0.1}, "damping"),
        ({"solver": "newton"}, "solver must be a MidpointSolver, got 'newton'"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"projection": True}, "projection must be 'flux' or 'magnetization' or None, got True"),
        ({"m": [1.0, 0.0]}, "shape"),
        ({"m": [1.0, 0.0, np.nan]}, "not finite"),
    ],
)
def test_march_bad_input(options, message):
    options = {"m": [1.0, 0.0, 0.0], "dt": 0.1, "t_end": 1.0, **options}
    # At the call, before the first step.
    with pytest.raises(ValueError, match=message):
        macro_run(spin(), options.pop("m"), **options)


@pytest.mark.parametrize(
    "options", [{"kind": "picard"}, {"max_iterations": 0}, {"max_iterations": 2.5}]
)
def test_bad_solver(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MidpointSolver(**options)


def test_beta_zero():
    with pytest.raises(ValueError, match="beta"):
        SpinModel(rotating, Window(eps=0.01), beta=0.0)


# Chain


def make_chain(exchange=1.0, n=20, eps=0.01, **options):
    return SpinChain(chain_field, n, exchange=exchange, eps=eps, **options)


def make_model(chain, comm=MPI.COMM_SELF, **options):
    window = Window(eps=0.01, steps_per_period=8, integrator="rk4")
    return ChainModel(comm, chain, window, **{"n_macro": 5, "r": 4, "p": 3, **options})


def test_matrix_and_number_give_the_same_exchange():
    n = 20
    i = np.arange(n)
    J = sp.coo_array((np.full(n, 3.0), (i, (i + 1) % n)), shape=(n, n))
    np.testing.assert_array_equal(
        make_chain(J + J.T).exchange.toarray(), make_chain(3.0).exchange.toarray()
    )


def test_long_range_exchange_reaches_outside_the_box():
    """A far coupling to a uniform outside acts as a uniform field: here it changes nothing."""
    n = 20
    i = np.arange(n)
    far = sp.coo_array((np.ones(n), (i, (i + 10) % n)), shape=(n, n))
    m = np.tile([0.6, 0.0, 0.8], (5, 1))
    with_far, _ = make_model(make_chain(sp.csr_array(far))).flux(0.1, m)
    without, _ = make_model(make_chain(0.0)).flux(0.1, m)
    # The outside is frozen at t_a, while the box precesses by h tau/2 = 0.05: the torque of the
    # outside is odd in time at first order, and a second moment of the kernel at the next.
    np.testing.assert_allclose(with_far, without, rtol=0, atol=1e-3)
    assert np.abs(with_far - without).max() > 1e-6


def test_restriction_and_reconstruction_are_exact_on_quadratics():
    model = make_model(make_chain())
    # Constant states in both directions; averages also on a parabola inside one box.
    m = np.tile([0.6, 0.0, 0.8], (20, 1))
    np.testing.assert_allclose(model.average(m), m[:5], atol=1e-14)
    np.testing.assert_allclose(model.reconstruct(m[:5]), m, atol=1e-14)
    parabola = np.zeros((20, 3))
    offsets = np.arange(-4, 5)
    parabola[8 + offsets, 0] = 1 + offsets + offsets**2
    assert model.average(parabola)[2, 0] == pytest.approx(1.0, abs=1e-12)


def test_exchange_that_crosses_the_box_warns():
    # tau/2 = 0.0265, r = 4: the limit is J = 4 / (2 * 0.0265) = 75.5.
    make_model(make_chain(75.0))
    with pytest.warns(UserWarning, match=r"exchange travels 4\.24 spins"):
        make_model(make_chain(80.0))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: make_chain(sp.eye_array(19)), r"J must have shape \(20, 20\).*\(19, 19\)"),
        (lambda: make_chain(np.eye(20)), "exchange must be a number"),
        (lambda: make_chain(np.nan), "not finite"),
        (lambda: make_chain(None), r"exchange must be a number.* got None"),
        (lambda: make_chain("J"), r"exchange must be a number.* got 'J'"),
        (lambda: make_chain([1.0, 2.0]), r"exchange must be a number.*the list"),
        (lambda: make_chain(n=2), "n_spins must be an integer >= 3, got 2"),
        (lambda: make_chain(n=20.0), r"n_spins must be an integer, got 20\.0"),
        (lambda: make_chain(n=True), "n_spins must be an integer, got True"),
        (lambda: make_model(make_chain(), n_macro=5.0), "n_macro must be an integer"),
        (lambda: make_model(make_chain(), r=2.5), "r must be an integer"),
        (lambda: make_model(make_chain(), p=3.0), "p must be an integer"),
        (lambda: make_model(make_chain(), q=True), "q must be an integer"),
        (lambda: make_model(make_chain(), layer=2), "both a width and a strength"),
        (lambda: make_model(make_chain(), layer_strength=1.0), "both a width and a strength"),
        (lambda: make_model(make_chain(), layer=4, layer_strength=1.0), r"in \[0, 3\], got 4"),
        (lambda: make_model(make_chain(), layer=2, layer_strength=np.inf), "strength"),
        (
            lambda: macro_run(make_model(make_chain()), np.ones((4, 3)), dt=0.1, t_end=1.0),
            r"m must have shape \(5, 3\), got \(4, 3\)",
        ),
        (lambda: make_chain(spacing=0.0), "spacing"),
        (lambda: make_chain(beta=0.0), "beta"),
        (lambda: make_model(make_chain(), n_macro=6), "divide N = 20, got 6"),
        (lambda: make_model(make_chain(), r=5), r"r must lie in \[1, 4\]"),
        (lambda: make_model(make_chain(eps=0.02)), "eps"),
        (lambda: make_model(make_chain(), p=9), "at least 10 points"),
        (lambda: make_model(make_chain(), layer=5), "damping layer"),
        (lambda: make_model(make_chain()).flux(0.0, np.zeros((4, 3))), r"\(5, 3\), got \(4, 3\)"),
        (lambda: make_model(make_chain()).average(np.zeros((4, 3))), r"\(20, 3\), got \(4, 3\)"),
        (lambda: make_model(make_chain()).flux(0.0, np.zeros((5, 3))), "vanishes"),
    ],
)
def test_chain_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_chain_errors_reach_all_ranks(comm):
    """A field that breaks at one spin breaks the flux on every rank, without a hang."""

    def field(t, z, x):
        return [0.0, 0.0, np.where((x > 0.6) & (x < 0.7) & (t > 0.1), np.nan, 1.0)]

    model = make_model(SpinChain(field, 20, exchange=1.0, eps=0.01), comm)
    with pytest.raises(ValueError, match="not finite at t = "):
        model.flux(0.2, np.tile([1.0, 0.0, 0.0], (5, 1)))


def test_a_box_that_vanishes_is_an_error_on_all_ranks(comm):
    """The rank whose micro problems do not meet M[0] must not be left waiting."""
    model = make_model(make_chain(), comm, r=2, p=1)
    M = np.tile([1.0, 0.0, 0.0], (5, 1))
    M[0] = 0.0
    with pytest.raises(ValueError, match="vanishes"):
        model.flux(0.0, M)


def test_any_error_of_a_user_field_reaches_all_ranks(comm):
    def field(t, z, x):
        if np.any(t > 0.1) and np.any(np.abs(x - 0.6) < 1e-9) and not np.any(x == 0.0):
            return [0.0, 0.0, 1 / 0]
        return [0.0, 0.0, 1.0]

    # On one rank the boxes hold x = 0 as well: no error there.
    model = make_model(SpinChain(field, 20, exchange=1.0, eps=0.01), comm, r=2, p=1)
    M = np.tile([1.0, 0.0, 0.0], (5, 1))
    model.flux(0.0, M)
    if comm.size > 1:
        with pytest.raises(RuntimeError, match=r"rank \d failed at t = 0\.2 with ZeroDivision"):
            model.flux(0.2, M)


def test_an_error_at_construction_reaches_all_ranks(comm):
    def field(t, z, x):
        if not np.any(np.abs(x) < 1e-9):  # every rank but the first
            return [0.0, 0.0, 1 / 0]
        return [0.0, 0.0, 1.0]

    chain = SpinChain(field, 20, exchange=1.0, eps=0.01)
    if comm.size > 1:
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            make_model(chain, comm, r=2, p=1)


def test_the_damping_layer_lies_on_free_spins():
    """mu_j = strength ((|j| - (r - 1 - layer)) / layer)^2, also for a layer of one spin."""
    for layer, ramp in {
        1: [2, 0, 0, 0, 0, 0, 2],
        2: [2, 1 / 2, 0, 0, 0, 1 / 2, 2],
        3: [2, 8 / 9, 2 / 9, 0, 2 / 9, 8 / 9, 2],
    }.items():
        np.testing.assert_allclose(damping_ramp(4, layer, 2.0)[1:-1], ramp, rtol=1e-15)


def test_a_damping_layer_of_one_spin_acts():
    M = np.array([[np.cos(a), np.sin(a), 0.0] for a in 2 * np.pi * np.arange(5) / 5])
    M[:, 2] += 0.3 * np.arange(5)
    plain, _ = make_model(make_chain(30.0)).flux(0.1, M)
    damped, _ = make_model(make_chain(30.0), layer=1, layer_strength=5.0).flux(0.1, M)
    assert np.abs(damped - plain).max() > 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0.0}, "dt must"),
        ({"dt": np.nan}, "dt must"),
        ({"n_steps": 0}, "n_steps must be an integer >= 1"),
        ({"n_steps": 10.0}, "n_steps must be an integer"),
        ({"every": 3}, "every must divide n_steps = 10, got 3"),
        ({"every": 0}, "every must be an integer"),
        ({"chunk": 0}, "chunk must be an integer"),
        ({"damping": -1.0}, "damping"),
        ({"m": np.ones((19, 3))}, r"shape \(20, 3\), got \(19, 3\)"),
        ({"m": np.full((20, 3), np.nan)}, "not finite"),
    ],
)
def test_resolved_bad_input(options, message):
    options = {"m": np.ones((20, 3)), "dt": 0.001, "n_steps": 10, **options}
    with pytest.raises(ValueError, match=message):
        resolved(make_chain(), options.pop("m"), **options)


# Magnet


def test_magnet_bad_input(comm):
    domain = mesh.create_unit_square(comm, 2, 2)
    m = llg.magnetization(domain, (0, 0, 1))
    energy = llg.Energy([llg.Exchange(1.0)])
    window = Window(eps=0.01)
    t, z = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    with pytest.raises(ValueError, match="times"):
        MagnetModel(energy, m, ufl.as_vector([z, z, z]), window)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        MagnetModel(energy, m, z, window, times=(t, z))
    x = ufl.SpatialCoordinate(domain)
    broken = ufl.as_vector([ufl.ln(x[0] - 0.9), z, z])
    with pytest.raises(ValueError, match="not finite at t = 0"):
        MagnetModel(energy, m, broken, window, times=(t, z))
    fast = ufl.as_vector([z, z, z])
    for times in ((z, z), (t,), (1.0, z), (fem.Constant(domain, (0.0, 0.0)), z)):
        with pytest.raises(ValueError, match=r"two different scalar|times must be a sequence"):
            MagnetModel(energy, m, fast, window, times=times)
    with pytest.raises(ValueError, match="does not occur in the applied field"):
        MagnetModel(energy, m, fast, window, times=(z, t))
    with pytest.raises(ValueError, match="belongs to a UFL field"):
        MagnetModel(energy, m, rotating, window, times=(t, z))
    model = MagnetModel(energy, m, fast, window, times=(t, z))
    short = model.nodal(m)[: -1 if comm.rank == 0 else None]  # on one rank only
    with pytest.raises(ValueError, match=r"m must have shape \(\d+, 3\), got"):
        macro_run(model, short, dt=0.1, t_end=1.0)
    with pytest.raises(ValueError, match=r"m must have shape \(\d+, 3\), got"):
        resolved(model, short, dt=0.1, n_steps=1)
    m.x.array[:] = 2.0
    with pytest.raises(ValueError, match="unit length"):
        MagnetModel(energy, m, rotating, window)


def test_a_ufl_field_that_turns_nan_later_names_the_time(comm):
    """At x > 0.9 only: on one rank of several."""
    domain = mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(domain, (1, 0, 0))
    t, z = fem.Constant(domain, 0.0), fem.Constant(domain, 0.0)
    x = ufl.SpatialCoordinate(domain)
    broken = ufl.as_vector([ufl.cos(z), ufl.zero(), ufl.sqrt(1.5 - t - x[0])])
    for integrator in ("rk4", "midpoint"):
        window = Window(eps=0.01, steps_per_period=16, integrator=integrator)
        model = MagnetModel(llg.Energy([llg.Exchange(0.01)]), m, broken, window, times=(t, z))
        model.flux(0.3, model.nodal(m))
        # The window runs forward first, in steps of 0.06 eps or less.
        with pytest.raises(ValueError, match=r"the applied field is not finite at t = 0\.50\d*$"):
            model.flux(0.49, model.nodal(m))
    with pytest.raises(ValueError, match=r"not finite at t = 0\.50\d*$"):
        resolved(model, model.nodal(m), dt=0.001, n_steps=1000, t=0.1)


class Scaled(llg.EnergyTerm):
    """A quadratic energy whose strength is 1 + 3 t, set in update."""

    def __init__(self, domain):
        self.strength = fem.Constant(domain, 1.0)

    def density(self, m):
        return 0.5 * self.strength * m[2] ** 2

    def update(self, m, t):
        self.strength.value[...] = 1.0 + 3.0 * t


class Lagged(llg.EnergyTerm):
    """h = -5 m_z e_z, from m in update: the field that 5/2 m_z^2 gives by its density."""

    def __init__(self, V):
        self.h = fem.Function(V)

    def density(self, m):
        return -ufl.inner(self.h, m)

    def update(self, m, t):
        self.h.x.array[:] = 0.0
        self.h.x.array[2::3] = -5.0 * m.x.array[2::3]


class Plane(llg.EnergyTerm):
    def density(self, m):
        return 2.5 * m[2] ** 2


def magnet(term, domain, eps=1e-3):
    m = llg.magnetization(domain, lambda x: np.stack((1 + x[0], 0 * x[0], 0.5 + x[0])))
    window = Window(eps=eps, integrator="rk4", steps_per_period=16)
    fast = lambda t, z: [0.0, np.cos(2 * np.pi * z), 0.0]  # noqa: E731
    model = MagnetModel(llg.Energy([term]), m, fast, window)
    return model, model.nodal(m)


def largest(comm, value):
    return comm.allreduce(float(np.max(np.abs(value), initial=0.0)), op=MPI.MAX)


def test_update_sees_the_macro_magnetization(comm):
    domain = mesh.create_interval(comm, 4, [0.0, 1.0])
    term = Lagged(llg.vector_space(domain))
    (lagged, m), (direct, _) = magnet(term, domain), magnet(Plane(), domain)
    assert lagged.dynamic
    assert not direct.dynamic
    for values in (m, m[:, [2, 1, 0]].copy()):
        fluxes = [model.flux(0.2, values)[0] for model in (lagged, direct)]
        # The term is constant over the window, tau = 5.3e-3, in which m turns by h tau/2 = 1e-2;
        # odd parts cancel. With m = 0 in update the flux would be 0 instead of about 2.
        assert largest(comm, fluxes[0] - fluxes[1]) < 1e-3
        assert largest(comm, fluxes[0]) > 1.0
    ends = []
    for model in (lagged, direct):
        run = macro_run(model, m, dt=0.05, t_end=0.2, damping=0.2)
        ends.append(deque(run, maxlen=1).pop().m)
    assert largest(comm, ends[0] - ends[1]) < 1e-3
    # The direct simulation: order 1 in its step, h^2 T dt/2 = 25 * 0.1 * 1e-4 / 2.
    states = [
        resolved(model, m, dt=1e-4, n_steps=1000, damping=0.2, every=1000)[1][-1]
        for model in (lagged, direct)
    ]
    assert largest(comm, states[0] - states[1]) < 1.5e-4
    assert largest(comm, states[0] - m) > 0.1


def test_data_in_a_quadratic_term_may_depend_on_time(comm):
    domain = mesh.create_interval(comm, 4, [0.0, 1.0])
    model, m = magnet(Scaled(domain), domain)
    assert model.quadratic
    m = np.tile([0.6, 0.0, 0.8], (len(m), 1))  # uniform: lumping is exact
    for t in (0.0, 1.0, 0.5):
        flux, _ = model.flux(t, m)
        # F = -m x h with h = -(1 + 3 t) m_z e_z up to the O(eps) of the fast field: 1e-3/(2 pi)
        # times h = 4, and the rotation in the window, (h tau)^2/8 h = 2e-4.
        exact = -cross(m, -(1.0 + 3.0 * t) * m * np.array([0.0, 0.0, 1.0]))
        assert largest(comm, flux - exact) < 1e-3
    # Directly: dphi/dt = (1 + 3 t) m_z without the fast field, m_z constant.
    still = MagnetModel(
        llg.Energy([Scaled(domain)]),
        llg.magnetization(domain, (0.6, 0.0, 0.8)),
        lambda t, z: [0.0, 0.0, 0.0],
        Window(eps=1e-3),
    )
    start = np.tile([0.6, 0.0, 0.8], (still.shape[0], 1))
    _, states = resolved(still, start, dt=0.01, n_steps=100, every=100)
    angle = -0.8 * (1.0 + 1.5)  # m' = -m x h turns clockwise about h = -(...) e_z
    end = np.array([0.6 * np.cos(angle), 0.6 * np.sin(angle), 0.8])
    # The strength is taken at mid-step, exact for a linear one; RK4 in steps of 0.04 rad.
    assert largest(comm, states[-1] - end) < 1e-7


def test_data_that_the_user_changes_between_fluxes_count(comm):
    domain = mesh.create_interval(comm, 4, [0.0, 1.0])
    zeeman = llg.Zeeman((0, 0, 1.0))
    model, m = magnet(zeeman, domain)
    assert model.omega_max == 0.0
    first, _ = model.flux(0.0, m)
    zeeman.assign((0, 0, 3.0))
    second, _ = model.flux(0.0, m)
    # Linear in the field, up to the O(eps) coupling with the fast one.
    assert largest(comm, second - 3 * first) < 2e-3
    assert largest(comm, first) > 0.5


def test_exchange_beyond_the_window_is_named(comm):
    domain = mesh.create_unit_square(comm, 8, 8)
    m = llg.magnetization(
        domain,
        lambda x: np.stack((np.sin(2 * x[0]), np.cos(2 * x[0]), 0.5 * np.cos(np.pi * x[1]))),
    )

    def build(kappa, eps=0.01):
        window = Window(eps=eps, integrator="rk4", steps_per_period=48)
        return MagnetModel(llg.Energy([llg.Exchange(kappa)]), m, rotating, window)

    # Lumped P1 on this mesh: 8 kappa/h^2 inside, up to 12 kappa/h^2 at the corners.
    assert 7.0 < build(0.1).omega_max / (0.1 * 64) < 12.5
    with pytest.warns(UserWarning, match=r"omega_max tau = .* reduce tau \(it scales with eps\)"):
        model = build(1.0)
    solver = MidpointSolver(max_iterations=12)
    options = {"dt": 0.1, "t_end": 0.1, "damping": 0.5, "solver": solver}
    run = macro_run(model, model.nodal(m), **options)
    with pytest.raises(
        llg.ConvergenceError, match=r"omega_max tau = .*too large.*reduce the window tau = 0\.053"
    ):
        next(run)
    # A tenth of tau, and the same step contracts.
    model = build(1.0, eps=0.001)
    next(macro_run(model, model.nodal(m), **options))


def test_a_micro_step_that_does_not_contract_says_so(comm):
    domain = mesh.create_unit_square(comm, 8, 8)
    m = llg.magnetization(domain, lambda x: np.stack((np.sin(3 * x[0]), np.cos(3 * x[0]), x[1])))
    with pytest.warns(UserWarning, match="omega_max tau"):
        model = MagnetModel(llg.Energy([llg.Exchange(100.0)]), m, rotating, Window(eps=0.01))
    with pytest.raises(
        llg.ConvergenceError, match=r"micro step.*does not contract.*steps_per_period"
    ):
        model.flux(0.0, model.nodal(m))
