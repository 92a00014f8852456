# SPDX-License-Identifier: LGPL-3.0-or-later
"""StepSolver and march: rank agreement, options, failures that keep the state, the user's loop."""

import math

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.la import krylov
from dolfinx_llg.physics import from_array
from dolfinx_llg.sphere import check_magnetization

SCHEMES = [llg.prohl, llg.cimrak, llg.gao, llg.an]
TIGHT = {"ksp_rtol": 1e-13, "snes_rtol": 1e-13}


def start(x):
    return np.array([1.1 + np.cos(3 * x[0]), np.sin(2 * x[1] + x[0]), 0.5 + np.cos(math.pi * x[1])])


def problem(comm, scheme=llg.gao, n=8, dt=0.01, **kwargs):
    msh = mesh.create_unit_square(comm, n, n)
    m = llg.magnetization(msh, start)
    table = np.random.default_rng(3).uniform(0.05, 1.0, size=(4, 4))
    energy = llg.Energy(
        [
            llg.Exchange(from_array(msh, table)),
            llg.UniaxialAnisotropy((0, 0, 1), 1.5),
            llg.CubicAnisotropy(0.5),
            llg.BulkDMI(0.1),
            llg.Zeeman((0.3, 0.0, -0.4)),
        ]
    )
    return scheme(energy, m, dt=dt, damping=kwargs.pop("damping", 0.4), **kwargs)


def table_of(m) -> np.ndarray:
    """All nodal values on every rank, sorted by node (8 x 8 cells)."""
    V = m.function_space
    owned = V.dofmap.index_map.size_local
    x = np.rint(V.tabulate_dof_coordinates()[:owned, :2] * 8).astype(int)
    table = np.full((9, 9, 3), np.nan)
    for nodes, values in V.mesh.comm.allgather((x, m.x.array[: 3 * owned].reshape(-1, 3))):
        table[nodes[:, 0], nodes[:, 1]] = values
    return table


def run(step, t_end=0.1, **kwargs):
    states = list(llg.march(step, t_end=t_end, **kwargs))
    return states[-1]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ranks_agree(comm, scheme):
    """The run on all ranks equals the run of one rank alone to 1e-11.

    10 steps solved to 1e-13 of |m|/dt with different preconditioners: 1e-12, growing by steps.
    """
    together, alone = problem(comm, scheme), problem(MPI.COMM_SELF, scheme)
    for step in (together, alone):
        run(step, petsc_options=TIGHT)
    assert np.abs(table_of(together.m) - table_of(alone.m)).max() < 1e-11


@pytest.mark.parametrize(
    "options",
    [
        {"pc_type": "lu", "pc_factor_mat_solver_type": "mumps", "ksp_type": "preonly"},
        {"pc_type": "gamg", "mg_levels_ksp_type": "richardson", "mg_levels_pc_type": "sor"},
        {"scalar_pc_type": "jacobi"},
        {"scalar_pc_type": "gamg", "scalar_mg_levels_pc_type": "sor"},
        {"scalar_pc_type": "lu", "scalar_pc_factor_mat_solver_type": "superlu_dist"},
        {"ksp_type": "bcgs"},
    ],
)
def test_solver_options_change_the_way_not_the_result(comm, options):
    """Six solvers, one solution (rtol 1e-11 over 3 steps: agreement to 1e-9)."""
    tight = {"ksp_rtol": 1e-11}
    reference, step = problem(comm), problem(comm)
    run(reference, 0.03, petsc_options=tight)
    if "preonly" in options.values():  # it has no tolerance, and the solver says so
        tight = {}
    run(step, 0.03, petsc_options=tight | options)
    assert np.abs(step.m.x.array - reference.m.x.array).max(initial=0.0) < 1e-9


def test_options_leave_the_database_clean_and_the_command_line_wins(comm):
    before = PETSc.Options().getAll()
    PETSc.Options()["mine_ksp_max_it"] = 1
    with pytest.raises(llg.ConvergenceError):
        run(
            problem(comm),
            petsc_options={"ksp_max_it": 100, "scalar_pc_type": "jacobi"},
            petsc_options_prefix="mine_",
        )
    PETSc.Options().delValue("mine_ksp_max_it")
    assert PETSc.Options().getAll() == before


def test_iterations_do_not_depend_on_h_dt_or_damping(comm):
    """The rotated preconditioner: flat counts from lambda = 0.02 to 5 and over 64 in dt/h^2."""
    counts = []
    for n in (8, 32):
        for damping in (0.02, 0.3, 5.0):
            for dt in (0.001, 0.1):
                step = problem(comm, llg.gao, n, dt, damping=damping)
                counts.append(next(iter(llg.march(step, t_end=1.0))).iterations)
    # Theory for an exact S and one m: factor tan(phi/4) <= 0.42, so 21 for 1e-8; m that varies adds
    # a few. AMG on several ranks in place of factors costs up to twice as many.
    assert max(counts) <= (30 if comm.size == 1 else 60), counts


@pytest.mark.parametrize("scheme", SCHEMES)
def test_failed_solve_raises_and_keeps_the_state(comm, scheme):
    """ConvergenceError names reason, iterations and t; m is the last good one; a retry works."""
    step = problem(comm, scheme, dt=0.05)
    options = {"ksp_max_it": 2, "ksp_rtol": 1e-12, "scalar_pc_type": "jacobi", "snes_max_it": 1}
    before = step.m.x.array.copy()
    with pytest.raises(llg.ConvergenceError, match=r"did not converge at t = 0\.05") as caught:
        run(step, petsc_options=options)
    assert caught.value.reason < 0
    assert caught.value.t == pytest.approx(0.05)
    assert caught.value.iterations >= 1
    assert np.array_equal(step.m.x.array, before)
    assert run(step).n == 2


def test_nan_is_not_convergence(comm):
    """A field that turns NaN during a run stops it, on all ranks, before m is touched."""
    step = problem(comm)
    field = fem.Function(step.m.function_space)
    energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman(field)])
    step = llg.gao(energy, step.m, dt=0.01, damping=1.0)
    states = llg.march(step, t_end=1.0)
    next(states)
    before = step.m.x.array.copy()
    if comm.rank == comm.size - 1:
        field.x.array[:1] = math.nan
    with pytest.raises(RuntimeError, match=r"right side .* is not finite: a field"):
        next(states)
    assert np.array_equal(step.m.x.array, before)


def test_the_loop_is_the_users(comm):
    """Stop, change dt, swap the field; the last step ends at t_end and dt has its value back."""
    msh = mesh.create_unit_square(comm, 3, 3)
    m = llg.magnetization(msh, (0.6, 0.0, 0.8))
    field = llg.Zeeman((0.0, 0.0, 5.0))
    step = llg.gao(llg.Energy([llg.Exchange(1.0), field]), m, dt=0.1, damping=1.0, projection=True)
    times, up = [], []
    for state in llg.march(step, t_end=1.05):
        times.append(state.t)
        up.append(float(m.x.array[2]) if len(m.x.array) else math.nan)
        if state.n == 3:
            step.dt.value = 0.2
            field.assign((0.0, 0.0, -5.0))
    assert times == pytest.approx([0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.05])
    assert step.dt.value == pytest.approx(0.2)
    if len(m.x.array):
        assert up[2] > 0.8 > up[-1]  # towards the field before the swap, away from it after


def test_changed_dt_equals_a_fresh_run(comm):
    """After a change of dt the solver's constant parts are those of a new solver."""
    step = problem(comm)
    for state in llg.march(step, t_end=0.07, petsc_options=TIGHT):
        if state.n == 3:
            step.dt.value = 0.02
    fresh, again = problem(comm), problem(comm, dt=0.02)
    run(fresh, 0.03, petsc_options=TIGHT)
    again.m.x.array[:] = fresh.m.x.array
    run(again, 0.07, t=0.03, petsc_options=TIGHT)
    assert np.abs(again.m.x.array - step.m.x.array).max(initial=0.0) < 1e-11


def test_max_dmdt_is_the_largest_nodal_change(comm):
    step = problem(comm)
    before = step.m.x.array.copy()
    state = next(iter(llg.march(step, t_end=1.0)))
    change = np.linalg.norm((step.m.x.array - before).reshape(-1, 3), axis=1).max(initial=0.0)
    assert state.max_dmdt == pytest.approx(max(comm.allgather(float(change))) / 0.01)


# -- bad input -----------------------------------------------------------------------------------


def test_complex_build_is_refused(comm, monkeypatch):
    step = problem(comm)
    monkeypatch.setattr(krylov.PETSc, "ScalarType", np.complex128)
    with pytest.raises(RuntimeError, match=r"real double-precision PETSc.*complex128"):
        llg.march(step, t_end=1.0)


@pytest.mark.parametrize("dt", [0.0, -0.1, math.nan, math.inf])
def test_bad_time_steps(comm, dt):
    with pytest.raises(ValueError, match=f"dt must be positive and finite, got {dt}"):
        problem(comm, dt=dt)
    step = problem(comm)
    states = llg.march(step, t_end=1.0)
    next(states)
    step.dt.value = dt
    with pytest.raises(ValueError, match="dt must be positive"):
        next(states)


def test_bad_times(comm):
    step = problem(comm)
    with pytest.raises(ValueError, match=r"t_end = 1\.0 lies before t = 2\.0"):
        llg.march(step, t=2.0, t_end=1.0)
    with pytest.raises(ValueError, match="finite"):
        llg.march(step, t_end=math.nan)
    assert list(llg.march(step, t=1.0, t_end=1.0)) == []


@pytest.mark.parametrize("damping", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("form", [float, llg.Gilbert])
def test_bad_damping(comm, damping, form):
    with pytest.raises(ValueError, match="must be positive and finite, got"):
        problem(comm, damping=form(damping))


def test_bad_damping_field(comm):
    step = problem(comm)
    msh = step.m.function_space.mesh
    field = from_array(msh, np.array([[0.1, 0.2], [0.3, 0.0]]))
    with pytest.raises(ValueError, match="damping"):
        llg.gao(llg.Energy([llg.Exchange(1.0)]), step.m, dt=0.1, damping=field)
    other = mesh.create_unit_square(comm, 2, 2)
    field = from_array(other, np.array([[0.1, 0.2], [0.3, 0.4]]))
    with pytest.raises(ValueError, match="damping lives on another mesh"):
        llg.gao(llg.Energy([llg.Exchange(1.0)]), step.m, dt=0.1, damping=field)


def test_bad_magnetizations(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    energy = llg.Energy([llg.Exchange(1.0)])
    m = llg.magnetization(msh, start)
    if comm.rank == comm.size - 1:
        m.x.array[:3] = (0.5, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"unit length.*met \|m\| = 0.5"):
        llg.gao(energy, m, dt=0.1, damping=1.0)
    if comm.rank == comm.size - 1:
        m.x.array[:3] = (math.nan, 0.0, 0.0)
    with pytest.raises(ValueError, match="not finite"):
        llg.gao(energy, m, dt=0.1, damping=1.0)
    for space, message in {
        ("Lagrange", 1): "3 components",
        ("Lagrange", 1, (2,)): "3 components",
        ("Lagrange", 2, (3,)): "degree 2",
        ("DG", 1, (3,)): ", discontinuous",
    }.items():
        wrong = fem.Function(fem.functionspace(msh, space))
        with pytest.raises(ValueError, match=message):
            check_magnetization(wrong)
    with pytest.raises(ValueError, match="zero or not finite at a node"):
        llg.magnetization(msh, lambda x: 0 * start(x))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        llg.magnetization(msh, (1.0, 0.0))


def test_another_mesh_or_communicator(comm):
    msh, other = mesh.create_unit_square(comm, 4, 4), mesh.create_unit_square(comm, 4, 4)
    alone = mesh.create_unit_square(MPI.COMM_SELF, 4, 4)
    m = llg.magnetization(msh, start)
    for foreign in (other, alone):
        kappa = from_array(foreign, np.ones((2, 2)))
        with pytest.raises(ValueError, match="another mesh"):
            llg.gao(llg.Energy([llg.Exchange(kappa)]), m, dt=0.1, damping=1.0)
    with pytest.raises(ValueError, match=r"user scheme: .* another mesh"):
        llg.WeakStep(
            m,
            fem.Constant(msh, 0.1),
            [llg.Block(_mass(llg.vector_space(other)), llg.over_dt)],
        )


def test_coordinates_and_constants_of_another_mesh(comm):
    """They would be evaluated on m's mesh in silence."""
    msh, other = mesh.create_unit_square(comm, 4, 4), mesh.create_unit_square(comm, 4, 4)
    m = llg.magnetization(msh, start)
    x = ufl.SpatialCoordinate(other)
    for field in (ufl.as_vector([x[0], 0, 1]), fem.Constant(other, (1.0, 2.0, 3.0))):
        with pytest.raises(ValueError, match="another mesh"):
            llg.gao(llg.Energy([llg.Exchange(1.0), llg.Zeeman(field)]), m, dt=0.1, damping=1.0)
    with pytest.raises(ValueError, match="another mesh"):
        llg.gao(llg.Energy([llg.Exchange(1 + x[0])]), m, dt=0.1, damping=1.0)


def test_options_that_no_solver_used_are_named(comm):
    options = {"ksp_rtoll": 1e-9, "scalar_pc_typ": "lu"}
    with pytest.warns(UserWarning, match="no solver used: .*'ksp_rtoll', 'scalar_pc_typ'"):
        run(problem(comm), 0.02, petsc_options=options)


def _mass(V):
    return ufl.inner(ufl.TrialFunction(V), ufl.TestFunction(V)) * ufl.dx


def test_an_implicit_term_must_be_quadratic(comm):
    class Bad(llg.EnergyTerm):
        implicit = True

        def density(self, m):
            """Quartic."""
            return m[0] ** 4

    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), start)
    with pytest.raises(ValueError, match="Bad is marked implicit but is not a QuadraticTerm"):
        llg.gao(llg.Energy([Bad()]), m, dt=0.1, damping=1.0)
    with pytest.raises(ValueError, match="cross_term must be"):
        llg.gao(llg.Energy([llg.Exchange(1.0)]), m, dt=0.1, damping=1.0, cross_term="both")
    with pytest.raises(TypeError, match="is not an Interaction"):
        llg.Energy([lambda m: m])


@pytest.mark.parametrize("damping", [(0.01, 1.0), (0.001, 1.0)])
@pytest.mark.parametrize("form", [lambda x: x, llg.Gilbert])
def test_damping_by_region_keeps_the_iterations(comm, damping, form):
    """The turn and the stretch of the preconditioner are local: no more than twice the uniform."""
    msh = mesh.create_unit_square(comm, 32, 32)
    m = llg.magnetization(msh, start)
    field = from_array(msh, np.array([[damping[0]] * 2, [damping[1]] * 2]))
    step = llg.gao(llg.Energy([llg.Exchange(1.0)]), m, dt=1 / 32, damping=form(field))
    assert next(iter(llg.march(step, t_end=1.0))).iterations <= (60 if comm.size == 1 else 90)


def test_memory_does_not_grow_with_new_time_steps(comm):
    """Every change of dt makes new preconditioners; the old ones are freed on any ranks."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    step = problem(comm, llg.gao, 48)
    states = llg.march(step, t_end=100.0)
    sizes = []
    for index, _ in enumerate(states):
        step.dt.value = 0.01 + 1e-5 * index
        if index in (10, 30):
            sizes.append(resident())
        if index == 30:
            break
    # 20 hierarchies of 2401 nodes are 100 MB where they are kept; allocators keep a little.
    assert sizes[1] - sizes[0] < 40e6, sizes


def test_a_new_kappa_is_taken_up(comm):
    """Kappa changed in mid-run is noticed: the run is that of a new solver."""
    values = []
    for fresh in (False, True):
        msh = mesh.create_unit_square(comm, 8, 8)
        m = llg.magnetization(msh, start)
        kappa = from_array(msh, np.ones((2, 2)))
        step = llg.gao(llg.Energy([llg.Exchange(kappa)]), m, dt=0.01, damping=0.5)
        states = llg.march(step, t_end=0.06, petsc_options=TIGHT)
        for state in states:
            if state.n == 3:
                break
        kappa.x.array[:] = 0.1
        if fresh:
            stepper = llg.WeakStepper(step, petsc_options=TIGHT)
            states = llg.march(stepper, t=0.03, t_end=0.06)
        list(states)
        values.append(m.x.array.copy())
    assert np.abs(values[0] - values[1]).max(initial=0.0) < 1e-10


def test_no_sliver_at_the_end(comm):
    """1,000 additions of 1e-3 miss 1 by round-off: no extra step for it."""
    m = llg.magnetization(mesh.create_unit_interval(comm, 2), (0.6, 0.0, 0.8))
    step = llg.gao(llg.Energy([llg.Zeeman((0.0, 0.0, 1.0))]), m, dt=1e-3, damping=1.0)
    states = llg.march(step, t_end=1.0)
    for state in states:
        assert state.dt == pytest.approx(1e-3, rel=1e-6)
    assert state.n == 1000
    assert state.t == 1.0


def test_vanishing_iterate_keeps_the_state(comm):
    """A projection that cannot be done raises before m is touched."""
    m = llg.magnetization(mesh.create_unit_square(comm, 2, 2), (0, 0, 1))
    u, v = ufl.TrialFunction(m.function_space), ufl.TestFunction(m.function_space)
    step = llg.WeakStep(m, 0.1, [llg.Block(ufl.inner(u, v) * ufl.dx)], projection=True)
    before = step.m.x.array.copy()
    with pytest.raises(llg.ConvergenceError, match="cannot be projected to unit length"):
        list(llg.march(step, t_end=0.1))
    assert np.array_equal(step.m.x.array, before)


def test_bad_initial_data_and_steps(comm):
    msh, other = mesh.create_unit_square(comm, 4, 4), mesh.create_unit_square(comm, 5, 3)
    x = ufl.SpatialCoordinate(other)
    for data in (llg.magnetization(other, start), ufl.as_vector([1 + x[0], x[1], 1])):
        with pytest.raises(ValueError, match="another mesh"):
            llg.magnetization(msh, data)
    assert llg.magnetization(msh, ufl.as_vector([0, 0, 2])).x.array[2::3].min(initial=1) == 1.0
    with pytest.raises(ValueError, match=r"must have shape \(3, n\), got \(2, \d+\)"):
        llg.magnetization(msh, lambda x: x[:2])
    m = llg.magnetization(msh, start)
    mass = llg.Block(_mass(m.function_space), llg.over_dt)
    v = ufl.TestFunction(m.function_space)
    with pytest.raises(ValueError, match="needs its unknown x"):
        llg.WeakStep(m, 0.1, [mass], nonlinear=ufl.inner(m, v) * ufl.dx)
    with pytest.raises(ValueError, match="x must be of the space of m"):
        llg.WeakStep(m, 0.1, [mass], x=fem.Function(llg.vector_space(other)))
    with pytest.raises(TypeError, match=r"must be a number, a Constant, a Function or a Gilbert"):
        llg.gao(
            llg.Energy([llg.Exchange(1.0)]), m, dt=0.1, damping=1 + ufl.SpatialCoordinate(msh)[0]
        )
    with pytest.raises(ValueError, match="another mesh"):
        llg.Energy([llg.Exchange(from_array(other, np.ones((2, 2))))]).total(m)
