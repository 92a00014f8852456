# SPDX-License-Identifier: LGPL-3.0-or-later
"""Remark 1's variants of the temporal HMM: place of the damping, windows, steppers, chains."""

from mpi4py import MPI  # isort: skip

from collections import deque

import numpy as np
import pytest

import dolfinx_llg as llg
from dolfinx_llg.hmm import ChainModel, SpinChain, SpinModel, Window, resolved
from dolfinx_llg.hmm.time.precession import averaged_state

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="every rank would do the same")

START = np.array([0.6, 0.0, 0.8])
DAMPING = 0.3


def squares(t, z):
    """Section 5.3; mean (1/2, 1/2, 1)."""
    return [np.sin(2 * np.pi * z) ** 2, np.cos(2 * np.pi * z) ** 2, 1.0]


def final(model, m, dt, t_end=1.0, **options):
    step = llg.hmm.upscaled(model, m, dt=dt, tolerance=1e-12, **options)
    return deque(llg.march(step, t_end=t_end), maxlen=1).pop().m


def slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


def test_damping_in_either_model():
    """Remark 1: both end within O(eps) of the resolved run, and so of each other."""
    epsilons, gaps = np.array([0.02, 0.01, 0.005]), []
    for eps in epsilons:
        _, states = resolved(
            SpinModel(squares, Window(eps=eps)), START, dt=eps / 40, n_steps=round(40 / eps),
            damping=DAMPING,
        )  # fmt: skip
        ends = [
            final(SpinModel(squares, Window(eps=eps)), START, 0.125, damping=DAMPING,
                  damping_in=place, method="rk4")
            for place in ("macro", "micro")
        ]  # fmt: skip
        gaps.append([np.linalg.norm(end - states[-1]) for end in ends])
    macro, micro = np.array(gaps).T
    assert macro[-1] < 1e-3
    assert micro[-1] < 1e-3
    assert slope(epsilons, macro) > 0.8
    assert slope(epsilons, micro) > 0.8


@pytest.mark.parametrize(("integrator", "place"), [("midpoint", "micro"), ("rk4", "micro")])
def test_damping_in_the_micro_problem_of_a_constant_field(integrator, place):
    """In a constant field the flux is the Landau-Lifshitz rate itself, up to tau^(p + 1)."""
    h, eps = np.array([0.3, -0.2, 1.0]), 0.01
    window = Window(eps=eps, p=3, integrator=integrator)
    model = SpinModel(lambda t, z: h, window, beta=1.3)
    flux, _ = model.flux(0.2, START, DAMPING)
    precession = np.cross(START, h)
    exact = -1.3 * precession - DAMPING * np.cross(START, precession)
    # The micro midpoint rule is of order 2 in steps of eps/64.
    np.testing.assert_allclose(flux, exact, atol=1e-6)
    plain, _ = model.flux(0.2, START)
    assert np.linalg.norm(plain - exact) > 0.1
    # Many spins at once, and the iteration of the implicit step, agree with one.
    both, _ = model.flux(0.2, np.stack([START, h / np.linalg.norm(h)]), DAMPING)
    np.testing.assert_allclose(both[0], flux, atol=1e-12)


@pytest.mark.parametrize("integrator", ["midpoint", "rk4"])
def test_forward_window(integrator):
    """One-sided weights reproduce their moments; the flux is that of the averaged field."""
    window = Window(eps=0.01, tau=0.08, p=1, q=7, side="forward", integrator=integrator)
    times = window.offsets if integrator == "midpoint" else window.offsets[::2]
    assert window.weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert window.weights @ times == pytest.approx(0.0, abs=1e-13)
    assert window.reach == window.tau
    assert window.n_steps * window.step == pytest.approx(window.tau, rel=1e-14)
    epsilons, errors = np.array([0.04, 0.02, 0.01, 0.005]), []
    for eps in epsilons:
        own = Window(eps=eps, tau=8 * eps, p=1, q=7, side="forward", integrator=integrator)
        assert own.leakage < 1e-3
        flux, _ = SpinModel(squares, own).flux(0.2 * eps, START)
        errors.append(np.linalg.norm(flux + np.cross(START, [0.5, 0.5, 1.0])))
    assert slope(epsilons, errors) > 0.8  # at least 1: the moments of p = 1 vanish
    with pytest.raises(ValueError, match="side must be 'both' or 'forward', got 'backward'"):
        Window(eps=0.1, side="backward")


def test_run_with_a_forward_window():
    """Qualitatively similar, the order in eps stays 1 at best (remark 1)."""
    eps = 0.01
    both = final(SpinModel(squares, Window(eps=eps)), START, 0.125, damping=DAMPING)
    forward = Window(eps=eps, tau=8 * eps, side="forward")
    other = final(SpinModel(squares, forward), START, 0.125, damping=DAMPING)
    assert 1e-6 < np.linalg.norm(both - other) < 2e-2


@pytest.mark.parametrize(("method", "order"), [("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_order_of_the_macro_steppers(method, order):
    """In the macro step, at a fixed eps: all solve the same dM/dt = G(t, M)."""
    model = SpinModel(lambda t, z: [np.sin(t), 0.5 * np.cos(3 * t), 2.0 + np.cos(2 * np.pi * z)],
                      Window(eps=1e-3, steps_per_period=16))  # fmt: skip
    exact = final(model, START, 1 / 128, method="rk4", damping=DAMPING)
    errors = [
        np.linalg.norm(final(model, START, dt, method=method, damping=DAMPING) - exact)
        for dt in (1 / 8, 1 / 16, 1 / 32)
    ]
    assert np.log2(errors[0] / errors[2]) / 2 == pytest.approx(order, abs=0.4)
    assert errors[0] > errors[1] > errors[2]


def test_macro_steppers_count_fluxes_and_refuse():
    model = SpinModel(squares, Window(eps=1e-3))
    for method, count in (("heun", 2), ("rk4", 4)):
        step = llg.hmm.upscaled(model, START, dt=0.1, method=method, projection="magnetization")
        states = list(llg.march(step, t_end=0.3))
        assert [state.iterations for state in states] == [count] * 3
        assert np.linalg.norm(states[-1].m) == pytest.approx(1.0, abs=1e-14)
    with pytest.raises(ValueError, match="method must be 'midpoint', 'heun' or 'rk4', got 'mpe'"):
        llg.hmm.upscaled(model, START, dt=0.1, method="mpe")
    with pytest.raises(ValueError, match="damping_in must be 'macro' or 'micro', got 'both'"):
        llg.hmm.upscaled(model, START, dt=0.1, damping_in="both")


def test_first_macro_value():
    """M(0) = K_tau * m: against a resolved run to both sides; M - m = O(eps) in a fast field."""
    gaps, epsilons = [], np.array([0.04, 0.02, 0.01])
    for eps in epsilons:
        window = Window(eps=eps)
        model = SpinModel(squares, window)
        found = model.initial(START, 0.3 * eps)
        total = np.zeros(3)
        for direction in (1, -1):
            mirrored = SpinModel(
                lambda t, z, d=direction: [d * part for part in squares(t, 0.3 + d * z)],
                window,
            )
            _, states = resolved(mirrored, START, dt=window.step / 2, n_steps=2 * window.n_steps)
            total += window.weights @ states[1::2]
        np.testing.assert_allclose(found, total, atol=2e-4 * eps)
        gaps.append(np.linalg.norm(found - START))
    assert slope(epsilons, gaps) == pytest.approx(1.0, abs=0.1)


def chain(n=40, **options):
    def field(t, z, x):
        return [0.2, 0.0, 1.0 + np.cos(2 * np.pi * z)]

    return SpinChain(field, n, exchange=0.7, eps=0.01, **options)


TENSOR = np.diag([1.0, 1.0, 1.6])
EASY = 0.9 * np.outer([0.0, 0.6, 0.8], [0.0, 0.6, 0.8])


@pytest.mark.parametrize("per_spin", [False, True])
def test_anisotropic_chain(per_spin):
    """A uniform chain is one spin in 2 J T M + K M + <H>; K may be given for each spin."""
    K = np.broadcast_to(EASY, (40, 3, 3)).copy() if per_spin else EASY
    own = chain(exchange_tensor=TENSOR, anisotropy=K)
    model = ChainModel(MPI.COMM_SELF, own, Window(eps=0.01), n_macro=8, r=4)
    M = np.tile(START, (8, 1))
    flux, _ = model.flux(0.0, M)
    h = 1.4 * TENSOR @ START + EASY @ START + [0.2, 0.0, 1.0]
    expected = -np.cross(START, h)
    # The field that drives the micro problem turns with m: O(tau^2); boundary spins are frozen.
    assert np.abs(flux - expected).max() < 2e-2
    isotropic = chain()
    other = ChainModel(MPI.COMM_SELF, isotropic, Window(eps=0.01), n_macro=8, r=4)
    assert np.abs(other.flux(0.0, M)[0] - expected).max() > 0.2
    # Newton's Jacobian: the derivative of the averaged field.
    v = np.random.default_rng(2).random((8, 3))
    uniform = np.tile(v[0], (8, 1))
    free = (model.weights.sum() - model.weights[[0, -1]].sum()) * 1.4 * TENSOR @ v[0]
    np.testing.assert_allclose(model.field_change(uniform)[0], free + EASY @ v[0], rtol=1e-12)


def test_anisotropic_chain_against_a_resolved_run():
    own = chain(exchange_tensor=TENSOR, anisotropy=EASY)
    x = 2 * np.pi * own.positions
    m = np.stack([0.3 * np.cos(x), 0.3 * np.sin(x), np.ones(40)], axis=1)
    m /= np.linalg.norm(m, axis=1, keepdims=True)
    _, states = resolved(own, m, dt=0.01 / 16, n_steps=1600, damping=0.2)
    ends = []
    for options in ({"damping_in": "macro"}, {"damping_in": "micro", "method": "rk4"}):
        model = ChainModel(MPI.COMM_SELF, own, Window(eps=0.01), n_macro=8, r=4)
        first = model.initial(m)
        assert np.abs(first - model.average(m)).max() < 0.02
        M = final(model, first, 0.1, damping=0.2, **options)
        ends.append(np.linalg.norm(M - states[-1][::5], axis=1).max())
    assert max(ends) < 2e-2


def test_bad_tensors():
    for options, message in (
        ({"anisotropy": np.eye(2)}, r"anisotropy must have shape \(3, 3\) or \(40, 3, 3\)"),
        ({"anisotropy": [[0, 1, 0], [0, 0, 0], [0, 0, 0]]}, "anisotropy must be symmetric"),
        ({"exchange_tensor": np.full((3, 3), np.nan)}, "exchange_tensor has entries that are not"),
        ({"exchange_tensor": np.zeros((40, 3, 3))}, r"exchange_tensor must have shape \(3, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            chain(**options)


def test_average_of_a_constant_state():
    """The weights of a state sum to 1 for every window."""
    for window in (Window(eps=0.1), Window(eps=0.1, integrator="rk4"),
                   Window(eps=0.1, side="forward")):  # fmt: skip
        model = SpinModel(lambda t, z: [0.0, 0.0, 0.0], window)
        np.testing.assert_allclose(averaged_state(model, window, 0.0, START), START, atol=1e-13)
