# SPDX-License-Identifier: LGPL-3.0-or-later
"""The explicit methods as schemes: orders, adaptive steps, restarts, live data, arrays."""

import math
import warnings

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.physics.literature import hmm_ex2_initial
from dolfinx_llg.schemes.stability import stability_limit

pytestmark = pytest.mark.most_ranks(2)

METHODS = [llg.heun, llg.rk4, llg.mpe, llg.mpea]


class Square:
    """Exchange and anisotropy on a periodic square."""

    def __init__(self, comm, n=6, kappa=1.0):
        self.mesh = mesh.create_unit_square(comm, n, n)
        self.kappa = fem.Function(fem.functionspace(self.mesh, ("DG", 0)))
        self.kappa.x.array[:] = kappa
        self.energy = llg.Energy([llg.Exchange(self.kappa), llg.UniaxialAnisotropy((0, 0, 1), 2.0)])
        self.m = llg.magnetization(self.mesh, hmm_ex2_initial)
        self.basis = llg.periodic_basis(self.m.function_space)

    def run(self, scheme, T=0.02, **options):
        adaptive = options.pop("adaptive", None)
        step = scheme(self.energy, self.m, **({"damping": 0.1} | options))
        for _ in llg.march(step, t_end=T, basis=self.basis, adaptive=adaptive):
            pass


def largest(comm, a, b):
    return max(comm.allgather(float(np.abs(a - b).max(initial=0.0))))


@pytest.mark.parametrize(("scheme", "order"), list(zip(METHODS, (2, 4, 2, 3), strict=True)))
def test_order(comm, scheme, order):
    """MPEA: 3 at these steps, see its docstring."""
    exact = Square(comm)
    exact.run(llg.rk4, dt=1e-4)
    errors = []
    for dt in (8e-4, 4e-4):
        square = Square(comm)
        square.run(scheme, dt=dt)
        errors.append(largest(comm, square.m.x.array, exact.m.x.array))
        assert np.abs(np.linalg.norm(square.m.x.array.reshape(-1, 3), axis=1) - 1).max() < 1e-13
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25), errors


def test_step_of_the_stability_limit(comm):
    """8 n^2 kappa is the largest frequency of exchange on the square; it follows kappa."""
    square = Square(comm)
    step = llg.rk4(square.energy, square.m, damping=0.1)
    assert math.isnan(step.dt.value)
    for _ in llg.march(step, t_end=0.01, basis=square.basis):
        pass
    limit = stability_limit("rk4_p", 0.1) / (8 * 36 + 2)
    first = float(step.dt.value)
    assert 0.75 * limit < first < 1.1 * limit
    square.kappa.x.array[:] = 2.0
    for _ in llg.march(step, t_end=0.02, t=0.01, basis=square.basis):
        pass
    assert float(step.dt.value) == pytest.approx(first / 2, rel=0.1)


def test_too_large_a_step_warns(comm):
    square = Square(comm)
    with pytest.warns(UserWarning, match="exceeds the stability limit"):
        llg.march(llg.rk4(square.energy, square.m, damping=0.1, dt=0.1), t_end=1.0)


@pytest.mark.parametrize("scheme", [llg.heun, llg.rk4])
def test_adaptive_steps(comm, scheme):
    """The error of a run falls with rtol, and the steps grow as the motion slows down."""
    exact = Square(comm)
    exact.run(llg.rk4, dt=1e-4)
    errors = []
    for rtol in (1e-4, 1e-6):
        square = Square(comm)
        square.run(scheme, dt=1e-5, adaptive=llg.Adaptive(rtol=rtol))
        errors.append(largest(comm, square.m.x.array, exact.m.x.array))
    assert errors[0] < 20 * 1e-4
    assert errors[1] < 20 * 1e-6


@pytest.mark.parametrize("scheme", [llg.mpe, llg.mpea])
def test_multistep_methods_refuse_adaptive_steps(comm, scheme):
    square = Square(comm)
    with pytest.raises(ValueError, match=r"no error estimate.*use llg.rk4"):
        square.run(scheme, dt=1e-4, adaptive=llg.Adaptive())


@pytest.mark.parametrize("scheme", METHODS)
def test_restart_is_bit_for_bit(comm, scheme, tmp_path_factory):
    """History included; the last step of a run is shortened, and its weights follow."""
    whole = Square(comm)
    whole.run(scheme, dt=3e-4)
    folder = comm.bcast(tmp_path_factory.mktemp("nodal") if comm.rank == 0 else None)
    square = Square(comm)
    step = scheme(square.energy, square.m, damping=0.1, dt=3e-4)
    for state in llg.march(step, t_end=0.02, basis=square.basis):
        if state.n == 10:
            llg.write_checkpoint(folder / "run.npz", state)
            break
    again = Square(comm)
    step = scheme(again.energy, again.m, damping=0.1, dt=3e-4)
    resume = llg.read_checkpoint(folder / "run.npz", again.m)
    for _ in llg.march(step, t_end=0.02, basis=again.basis, resume=resume):
        pass
    if comm.size <= 2:  # from 3 ranks on sums differ in the last digits
        np.testing.assert_array_equal(again.m.x.array, whole.m.x.array)
    np.testing.assert_allclose(again.m.x.array, whole.m.x.array, atol=1e-12)


def test_marching_on_needs_no_new_setup(comm):
    whole, parts = Square(comm), Square(comm)
    whole.run(llg.mpea, dt=1e-4, T=0.002)
    step = llg.mpea(parts.energy, parts.m, damping=0.1, dt=1e-4)
    for n in range(20):
        for _ in llg.march(step, t=n * 1e-4, t_end=(n + 1) * 1e-4, basis=parts.basis):
            pass
    np.testing.assert_allclose(parts.m.x.array, whole.m.x.array, atol=1e-12)


def test_gilbert_damping_by_region(comm):
    """A macrospin in two regions without coupling: cos theta = tanh(c lambda h t + ...)."""
    msh = mesh.create_unit_interval(comm, 4)
    alpha = fem.Function(fem.functionspace(msh, ("DG", 0)))
    alpha.x.array[:] = 0.3
    m = llg.magnetization(msh, (1, 0, 0))
    energy = llg.Energy([llg.Zeeman((0, 0, 2.0))])
    for _ in llg.march(llg.rk4(energy, m, damping=llg.Gilbert(alpha), dt=0.01), t_end=1.0):
        pass
    exact = math.tanh(0.3 / (1 + 0.09) * 2.0)
    np.testing.assert_allclose(m.x.array.reshape(-1, 3)[:, 2], exact, atol=1e-8)


def test_data_changed_in_the_loop(comm):
    """Field and damping are taken up at the next step, Ms too: two halves of a closed form."""
    msh = mesh.create_unit_interval(comm, 4)
    h, damping = fem.Constant(msh, 1.0), fem.Constant(msh, 0.2)
    Ms = fem.Function(fem.functionspace(msh, ("DG", 0)))
    Ms.x.array[:] = 1.0
    energy = llg.Energy([llg.Zeeman(ufl.as_vector([0, 0, h]), Ms=Ms)], Ms=Ms)
    m = llg.magnetization(msh, (1, 0, 0))
    for adaptive in (None, llg.Adaptive(rtol=1e-4)):
        h.value, damping.value, Ms.x.array[:] = 1.0, 0.2, 1.0
        m.x.array[:] = llg.magnetization(msh, (1, 0, 0)).x.array
        step = llg.rk4(energy, m, damping=damping, dt=0.01)
        for state in llg.march(step, t_end=1.0, land_on=[0.5], adaptive=adaptive):
            if state.t == 0.5:
                h.value, damping.value, Ms.x.array[:] = 3.0, 0.5, 2.0
        exact = math.tanh(0.2 * 0.5 + 3.0 * 0.5 * 0.5)
        np.testing.assert_allclose(m.x.array.reshape(-1, 3)[:, 2], exact, atol=2e-4)


class Demag(llg.FieldTerm):
    """A field of the kind of the stray field, -N m."""

    def compute(self, m, h):
        h.x.array[:] = (m.x.array.reshape(-1, 3) * [-0.5, -0.25, 0.0]).ravel()


class Shape(llg.QuadraticTerm):
    def bilinear(self, v, w):
        return 0.5 * v[0] * w[0] + 0.25 * v[1] * w[1]


@pytest.mark.parametrize("scheme", METHODS)
def test_own_fields_enter_every_stage(comm, scheme):
    """A FieldTerm and the same energy in UFL give the same run."""
    runs = []
    for term in (Demag(), Shape()):
        msh = mesh.create_unit_interval(comm, 4)
        m = llg.magnetization(msh, (1, 1, 0.5))
        terms = [term, llg.Zeeman((0, 0.3, 0.2)), llg.Exchange(0.1)]
        step = scheme(llg.Energy(terms), m, damping=0.1, dt=0.02)
        for _ in llg.march(step, t_end=0.4):
            pass
        runs.append(m.x.array.copy())
    # The consistent and the lumped product agree for a uniform m.
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-12)


@pytest.mark.parametrize("scheme", [llg.rk4, llg.mpe])
def test_not_finite(comm, scheme):
    msh = mesh.create_unit_interval(comm, 4)
    h = fem.Constant(msh, 1.0)
    m = llg.magnetization(msh, (1, 0, 0))
    energy = llg.Energy([llg.Zeeman(ufl.as_vector([0, 0, h]))])
    run = llg.march(scheme(energy, m, damping=0.1, dt=0.1), t_end=1.0)
    next(run)
    good = m.x.array.copy()
    h.value = np.nan
    with pytest.raises(RuntimeError, match=r"field at t = 0.1 is not finite"):
        next(run)
    np.testing.assert_array_equal(m.x.array, good)


def precession(m, t):
    return np.broadcast_to([0.0, 0.0, 1.0 + t], m.shape)


@pytest.mark.parametrize("scheme", METHODS)
def test_arrays(scheme):
    """A spin in a growing field: m_z = tanh(lambda (t + t^2/2)); marched on in between."""
    start = np.tile([1.0, 0.0, 0.0], (2, 3, 1))
    step = scheme(precession, start, damping=np.array([[0.1], [0.2], [0.3]]), dt=1e-2)
    states = [state.m for state in llg.march(step, t_end=0.5)]
    states += [state.m for state in llg.march(step, t=0.5, t_end=1.0)]
    assert len(states) == 100
    assert states[0][0, 0, 2] < states[-1][0, 0, 2]
    np.testing.assert_allclose(states[-1][0, :, 2], np.tanh([0.15, 0.30, 0.45]), atol=2e-4)
    np.testing.assert_array_equal(step.m, states[-1])
    np.testing.assert_array_equal(start[..., 0], 1.0)


def test_arrays_changed_by_the_user():
    """New directions are taken up, in the loop too; vectors of another length are refused."""
    step = llg.mpe(precession, np.tile([1.0, 0.0, 0.0], (2, 1)), damping=0.1, dt=1e-2)
    states = llg.march(step, t_end=1.0)
    next(states), next(states)
    step.m[:] = (0.0, 0.6, 0.8)
    assert next(states).m[0, 2] == pytest.approx(0.8, abs=0.01)
    good = step.m.copy()
    for factor in (3.0, 0.0, math.nan):
        step.m[:] = factor * good
        with pytest.raises(ValueError, match=r"unit length, met \|m\| = "):
            next(llg.march(step, t=0.03, t_end=1.0))
    step.m[:] = good
    next(llg.march(step, t=0.03, t_end=1.0))


def test_arrays_adapt_and_say_what_they_cannot(tmp_path):
    step = llg.heun(precession, np.eye(3), damping=llg.Gilbert(0.5), dt=1e-3)
    *_, state = llg.march(step, t_end=1.0, adaptive=llg.Adaptive(rtol=1e-4))
    exact = math.tanh(0.5 / 1.25 * 1.5)
    np.testing.assert_allclose(state.m[:2, 2], exact, atol=1e-3)
    assert state.n < 200
    with pytest.raises(TypeError, match=r"array of shape \(3, 3\): save it with numpy.save"):
        llg.write_checkpoint(tmp_path / "a.npz", state)

    def broken(m, t):
        return np.full(m.shape, np.nan if t > 0.5 else 1.0)

    step = llg.rk4(broken, np.eye(3), damping=0.1, dt=0.1)
    with pytest.raises(llg.ConvergenceError, match="not finite"):
        list(llg.march(step, t_end=1.0))
    with pytest.raises(ValueError, match="dt must be given, the field has no stable_dt"):
        llg.march(llg.rk4(broken, np.eye(3), damping=0.1), t_end=1.0)
    V = llg.vector_space(mesh.create_unit_interval(MPI.COMM_SELF, 3))
    with pytest.raises(ValueError, match="takes no basis"):
        llg.march(step, t_end=1.0, basis=llg.periodic_basis(V))


def test_bad_input(comm):
    square = Square(comm)
    with pytest.raises(ValueError, match="damping must be at least 0"):
        llg.rk4(square.energy, square.m, damping=-1.0)
    with pytest.raises(ValueError, match="dt must be positive"):
        llg.rk4(square.energy, square.m, damping=0.0, dt=-1.0)
    with pytest.raises(TypeError, match=r"needs m as a fem.Function, got ndarray"):
        llg.heun(square.energy, np.eye(3), damping=0.1)
    with pytest.raises(TypeError, match="must be an Energy or a callable"):
        llg.heun(3.0, np.eye(3), damping=0.1)
    with pytest.raises(TypeError, match="needs m as an array"):
        llg.heun(precession, square.m, damping=0.1)
    with pytest.raises(ValueError, match=r"unit length, met \|m\| = 0"):
        llg.mpe(precession, np.zeros((2, 3)), damping=0.1)
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 3\), got \(2,\)"):
        llg.mpe(precession, np.ones(2), damping=0.1)
    with pytest.raises(ValueError, match="does not fit m"):
        llg.mpe(precession, np.eye(3), damping=np.ones((2, 3)))
    with pytest.raises(ValueError, match="takes no petsc_options"):
        llg.march(
            llg.rk4(square.energy, square.m, damping=0.1),
            t_end=1.0,
            petsc_options={"ksp_rtol": 1.0},
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        llg.march(llg.rk4(square.energy, square.m, damping=0.0), t_end=0.0)
