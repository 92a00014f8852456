# SPDX-License-Identifier: LGPL-3.0-or-later
"""The chain of section 5.5 against the direct simulation, and over the ranks."""

import warnings

from mpi4py import MPI

import numpy as np
import pytest

import dolfinx_llg as llg
from dolfinx_llg.hmm import ChainModel, SpinChain, SpinModel, Window, resolved


def macro_run(model, m, *, dt, t_end, t=0.0, **options):
    """March the macro model."""
    return llg.march(llg.hmm.upscaled(model, m, dt=dt, **options), t=t, t_end=t_end)


N, L = 100, 10
X = np.arange(N) / N
HELIX = np.stack((np.sin(2 * np.pi * X), np.cos(2 * np.pi * X), 0 * X), axis=1)
T = 1.5


def field(t, z, x):
    return [0.0, 0.0, 1.0 + np.cos(0.43 * t) + np.cos(2 * np.pi * z) ** 2]


def direct(chain, n=20, per_period=8):
    every = round(T / n / chain.eps * per_period)
    _, states = resolved(
        chain, HELIX, dt=T / n / every, n_steps=n * every, damping=1.0, every=every
    )
    return states


def upscaled(chain, comm=MPI.COMM_SELF, n=20, r=5, integrator="rk4", **options):
    window = Window(
        eps=chain.eps, tau=5 * chain.eps, p=5, q=4, steps_per_period=8, integrator=integrator
    )
    model = ChainModel(comm, chain, window, n_macro=L, r=r, **options)
    states = [model.average(HELIX)]
    for state in macro_run(model, states[0], dt=T / n, t_end=T, damping=1.0, tolerance=1e-9):
        states.append(state.m)
    return np.array(states), model


def error(chain, reference, **options):
    states, _ = upscaled(chain, **options)
    step = (len(states) - 1) // (len(reference) - 1)
    return np.linalg.norm(states[::step] - reference[:, :: N // L], axis=-1).max()


@pytest.mark.parametrize("exchange", [0.0, 100.0])
def test_figure_5_5(exchange):
    """10 macro points follow 100 spins as long as exchange does not cross the box."""
    chain = SpinChain(field, N, exchange=exchange, eps=0.01)
    # The macro midpoint rule turns by beta h dt a step, h <= 3: (h dt)^2 / 12 h T = 1.9e-2 in
    # phase at h = 3, less as the spins turn towards e_z.
    assert error(chain, direct(chain)) < 1e-2


def test_macro_order_2():
    chain = SpinChain(field, N, exchange=10.0, eps=0.0025)
    reference = direct(chain)
    errors = [error(chain, reference, n=n) for n in (20, 40)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_beyond_the_warned_range_the_flux_is_wrong_and_a_wider_box_mends_it():
    """J tau = 10 spins: r = 5 warns and fails, r = 10 does neither."""
    chain = SpinChain(field, N, exchange=200.0, eps=0.01)
    reference = direct(chain)
    with pytest.warns(UserWarning, match="crosses the micro box"):
        narrow = error(chain, reference)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = error(chain, reference, r=10)
    assert wide < 1e-2 < 5e-2 < narrow


def test_damping_layer():
    """Remark 4: it helps where the ends pollute, and leaves a uniform chain alone."""
    chain = SpinChain(field, N, exchange=200.0, eps=0.01)
    reference = direct(chain)
    with pytest.warns(UserWarning, match="crosses the micro box"):
        without = error(chain, reference)
    with pytest.warns(UserWarning, match="crosses the micro box"):
        damped = error(chain, reference, layer=3, layer_strength=1.0)
    assert damped < 0.9 * without


def test_damping_layer_leaves_a_uniform_chain_without_exchange_alone():
    chain = SpinChain(field, N, exchange=0.0, eps=0.01)
    plain, _ = upscaled(chain)
    layered, _ = upscaled(chain, layer=3, layer_strength=1.0)
    np.testing.assert_array_equal(plain, layered)


def test_without_exchange_a_box_of_one_free_spin_is_a_single_spin():
    chain = SpinChain(field, N, exchange=0.0, eps=0.01)
    window = Window(eps=0.01)
    model = ChainModel(MPI.COMM_SELF, chain, window, n_macro=L, r=1, p=0)
    m = HELIX[:: N // L]
    flux, _ = model.flux(0.3, m)
    spin = SpinModel(lambda t, z: field(t, z, 0.0), window)
    # The same operations up to rounding: 340 micro steps on numbers of size 1.
    np.testing.assert_allclose(flux, m @ spin.flux_matrix(0.3)[0].T, rtol=0, atol=1e-12)


@pytest.mark.parametrize("integrator", ["rk4", "midpoint"])
def test_all_ranks_agree_with_one(comm, integrator):
    chain = SpinChain(field, N, exchange=30.0, eps=0.01)
    shared, model = upscaled(chain, comm, n=10, integrator=integrator)
    alone, single = upscaled(chain, n=10, integrator=integrator)
    # Sums of the same numbers in the same order, but the vectorised midpoint iteration stops
    # when the slowest box of a rank has converged: to its tolerance 1e-12 in a step.
    np.testing.assert_allclose(shared, alone, rtol=0, atol=1e-9)
    if integrator == "rk4":
        assert model.evaluations == single.evaluations
    assert all(np.array_equal(shared, other) for other in comm.allgather(shared))


def test_cost_does_not_depend_on_eps():
    counts = set()
    for eps in (0.01, 0.001):
        chain = SpinChain(field, N, exchange=0.0, eps=eps)
        _, model = upscaled(chain, n=5)
        counts.add(model.evaluations)
    assert len(counts) == 1


def test_a_field_in_space_is_averaged_in_space():
    """Spins in a field that alternates from spin to spin: the macro model sees its mean."""

    def alternating(t, z, x):
        return [0.0, 0.0, 1.0 + np.cos(np.pi * N * x) + np.cos(2 * np.pi * z)]

    chain = SpinChain(alternating, N, exchange=0.0, eps=0.01)
    model = ChainModel(
        MPI.COMM_SELF, chain, Window(eps=0.01), n_macro=10, r=10, p=1, q=4
    )  # fmt: skip
    m = np.tile([1.0, 0.0, 0.0], (L, 1))
    flux, _ = model.flux(0.0, m)
    # -m x h = (0, 1, 0) h with h = 1 + O(alternating average) = 1 + O(r^-6), and the rotation in
    # the window, (h tau/2)^2 of a second moment: 2 (0.0265)^2.
    np.testing.assert_allclose(flux, np.tile([0.0, 1.0, 0.0], (L, 1)), rtol=0, atol=2e-3)
