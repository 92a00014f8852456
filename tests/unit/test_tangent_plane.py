# SPDX-License-Identifier: LGPL-3.0-or-later
"""Solvers of the tangent-plane scheme: forms agree, options, scaling, restarts, bad input."""

from mpi4py import MPI  # isort: skip

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.physics import cell_coefficient
from dolfinx_llg.schemes.tangent_plane import second_order_damping, tangent_plane
from dolfinx_llg.solvers.tangent.blocks import tangent_frames
from dolfinx_llg.solvers.tangent.projected import inf_sup
from dolfinx_llg.solvers.tangent.quality import count_obtuse_cells
from dolfinx_llg.solvers.tangent.solver import TangentStepper, expected_iterations

TIGHT = {"ksp_rtol": 1e-11}


def start(x):
    return np.array([1.0 + x[0], np.cos(4 * x[1] + x[0]), np.sin(3 * x[2]) - x[0]])


def problem(comm, *, dt=0.05, n=3, terms=(), scale=1.0, **kwargs):
    """A step on a cube of n^3 cells, of side ``scale``; terms beside exchange."""
    msh = mesh.create_box(comm, [[0, 0, 0], [scale] * 3], [n] * 3)
    m = llg.magnetization(msh, lambda x: start(x / scale))
    energy = llg.Energy([llg.Exchange(0.5 * scale**2), *terms])
    kwargs.setdefault("damping", llg.Gilbert(0.1))
    return tangent_plane(energy, m, dt=dt, **kwargs)


def owned(function):
    return function.x.array.reshape(-1, 3)[: function.function_space.dofmap.index_map.size_local]


def run(step, steps=2, **kwargs):
    """The last state and its stepper."""
    kwargs.setdefault("petsc_options", TIGHT)
    stepper = TangentStepper(step, **kwargs)
    state = list(llg.march(stepper, t_end=steps * float(step.dt.value)))[-1]
    return SimpleNamespace(
        stepper=stepper, m=step.m, iterations=state.iterations, max_dmdt=state.max_dmdt
    )


def distance(comm, a, b) -> float:
    return max(comm.allgather(float(np.max(np.abs(a - b), initial=0.0))))


FORMS = [
    ("two-unknown", "fast"), ("two-unknown", "scalable"), ("two-unknown", "combined"),
    ("two-unknown", "mumps"),
    ("saddle-point", "fast"), ("saddle-point", "scalable"), ("saddle-point", "mumps"),
    ("saddle-point", "fieldsplit"),
]  # fmt: skip


@pytest.mark.parametrize("tilted", [False, True])
def test_all_forms_agree(comm, tilted):
    """The same v to the tolerance; tilted anisotropy makes the stiffness couple the components."""
    terms = [llg.UniaxialAnisotropy((1, 0.3, -0.5), 2.0)] if tilted else []
    reference = None
    for constraint, preconditioner in FORMS:
        step = problem(comm, terms=terms)
        state = run(step, constraint=constraint, preconditioner=preconditioner)
        assert state.stepper.form == (constraint, preconditioner)
        assert (state.stepper.blocks.scalar is None) == tilted  # exchange alone: k times I
        assert state.iterations == 1 if preconditioner == "mumps" else 2 < state.iterations < 30
        if reference is None:
            reference = owned(step.m).copy()
        # The condition of the system (about 20) times the tolerance.
        assert distance(comm, owned(step.m), reference) < 1e-9


def test_tolerance_is_that_of_the_torque(comm):
    """A field along m, 1e5 times the one across, exerts no torque and loosens no tolerance."""
    fields = []
    for strength in (0.0, 1e5):
        msh = mesh.create_unit_cube(comm, 3, 3, 3)
        m = llg.magnetization(msh, (0, 0, 1))
        across = fem.Function(m.function_space)
        across.interpolate(lambda x: np.array([x[0], x[1] * x[2], 0 * x[0]]))
        across.x.array[2::3] = strength
        energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman(across)])
        step = tangent_plane(energy, m, dt=0.1, damping=llg.Gilbert(0.1))
        run(step, 1, constraint="saddle-point", petsc_options={"ksp_rtol": 1e-6})
        fields.append(owned(step.v).copy())
    assert distance(comm, *fields) < 1e-5


def test_schur_complement_by_options(comm):
    """Selfp needs none of our matrices, gives the same and takes more iterations."""
    counts, fields = [], []
    for more in ({}, {"pc_fieldsplit_schur_precondition": "selfp"}):
        step = problem(comm)
        state = run(step, preconditioner="fieldsplit", petsc_options=TIGHT | more)
        counts.append(state.iterations)
        fields.append(owned(step.m).copy())
    assert distance(comm, *fields) < 1e-9
    assert counts[0] < counts[1]
    # 7 here; more than 100 where the dissipation has the wrong sign in the Schur complement.
    assert run(problem(comm, dt=0.005), preconditioner="fieldsplit").iterations <= 10


def test_options_reach_inner_solvers(comm):
    step = problem(comm)
    options = {"scalar_pc_type": "jacobi", "local_pc_type": "jacobi", "ksp_rtol": 1e-6}
    more = run(step, preconditioner="combined", petsc_options=options).iterations
    assert more > run(problem(comm), preconditioner="combined", petsc_options={}).iterations
    state = run(problem(comm), petsc_options={"pc_type": "none"})
    assert state.iterations > more
    with pytest.warns(UserWarning, match="no solver used: \\['pc_typo'\\]"):
        run(problem(comm), petsc_options={"pc_typo": 1})


def test_a_preconditioner_alone_does_not_count_as_converged(comm):
    for preconditioner in ("fast", "combined"):
        step = problem(comm)
        before = step.m.x.array.copy()
        with pytest.raises(llg.ConvergenceError, match=r"'preonly' .* leaves .* of the right side"):
            run(step, preconditioner=preconditioner, petsc_options={"ksp_type": "preonly"})
        assert np.array_equal(step.m.x.array, before)
    run(problem(comm), preconditioner="mumps", petsc_options={"ksp_type": "preonly"})


@pytest.mark.parametrize(
    ("constraint", "preconditioner"),
    [("two-unknown", "combined"), ("saddle-point", "fast"), ("saddle-point", "fieldsplit")],
)
def test_metres_equal_nanometres(comm, constraint, preconditioner, record_property):
    """A cube of 5e-8 m: nodal masses of 1e-24, and not one iteration more."""
    form = {"constraint": constraint, "preconditioner": preconditioner}
    states = [
        run(problem(comm, scale=scale), **form, petsc_options={"ksp_rtol": 1e-9})
        for scale in (1.0, 5e-8)
    ]
    deviation = distance(comm, owned(states[0].m), owned(states[1].m))
    record_property("iterations more in metres", states[1].iterations - states[0].iterations)
    record_property("largest deviation", deviation)
    assert states[0].iterations == states[1].iterations
    assert deviation < 1e-9


def test_auto(comm):
    """ILU while exchange couples few cells in a step, AMG besides where it couples many."""
    assert run(problem(comm)).stepper.form == ("two-unknown", "fast")
    assert run(problem(comm), constraint="saddle-point").stepper.form == ("saddle-point", "fast")
    assert expected_iterations(4.0, 10**6, 3) == 10.0
    assert expected_iterations(400.0, 48**3, 3) > 25.0 > expected_iterations(400.0, 16**3, 3)
    msh = mesh.create_unit_interval(comm, 60)
    m = llg.magnetization(msh, lambda x: np.array([np.cos(x[0]), np.sin(x[0]), 0 * x[0]]))
    step = tangent_plane(llg.Energy([llg.Exchange(1.0)]), m, dt=0.1, damping=0.1)
    state = run(step, 1, petsc_options={})
    assert state.stepper.form == ("two-unknown", "combined")
    state.stepper.advance(0.1 + 1e-6, 1e-6)
    assert state.stepper.form == ("two-unknown", "fast")


def test_frames(comm):
    m = np.random.default_rng(0).normal(size=(50, 3))
    m[:4] = [[0, 0, 1], [0, 0, -1], [1e-9, 0, -1], [1, 0, 0]]
    t1, t2 = (t.T for t in tangent_frames(m))
    unit = m / np.linalg.norm(m, axis=1)[:, None]
    assert np.allclose(np.cross(t1, t2), unit, atol=1e-14)
    assert np.allclose(np.sum(t1 * t2, axis=1), 0.0, atol=1e-14)


def test_second_order_weight(comm):
    """W = a + dt lam/2 while dt |lam| < 2, and bounded whatever lam."""
    a, lam = np.full(2, 0.3), np.array([0.7, -0.7])
    np.testing.assert_allclose(second_order_damping(a, lam, 0.1), [0.335, 0.265], atol=1e-15)
    extreme = second_order_damping(a, np.array([1e9, -1e9]), 1e-2)
    np.testing.assert_allclose(extreme, [1.3, -0.7], atol=1e-15)


def test_regions(comm):
    """A damping that differs by cell enters by nodal averages; equal values equal a number."""
    fields = []
    for damping in (0.3, "field"):
        msh = mesh.create_unit_square(comm, 4, 4)
        m = llg.magnetization(msh, (0.6, 0.0, 0.8))
        value = cell_coefficient(msh, 0.3) if damping == "field" else 0.3
        energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman((0, 0, 1))])
        run(tangent_plane(energy, m, dt=0.1, damping=llg.Gilbert(value)))
        fields.append(owned(m).copy())
    assert distance(comm, *fields) < 1e-14


def test_saturation_weights_everything(comm):
    """Twice Ms, exchange and Zeeman energy are the same equation (Ms a DG0 field here)."""
    fields = []
    for factor in (1.0, 2.0):
        msh = mesh.create_unit_square(comm, 4, 4)
        m = llg.magnetization(msh, lambda x: start(np.array([x[0], x[1], x[1]])))
        Ms = cell_coefficient(msh, factor)
        terms = [llg.Exchange(0.3 * factor), llg.Zeeman((0, 0, 1), Ms=Ms)]
        step = tangent_plane(llg.Energy(terms, Ms=Ms), m, dt=0.1, damping=0.3, second_order=True)
        run(step)
        fields.append(owned(m).copy())
    assert distance(comm, *fields) < 1e-9


@pytest.mark.parametrize("preconditioner", ["fast", "combined"])
def test_ranks_agree(comm, preconditioner):
    """All ranks together find what each finds alone, with explicit terms of all kinds."""
    energies = []
    for group in (comm, MPI.COMM_SELF):
        terms = [llg.BulkDMI(0.3), llg.CubicAnisotropy(0.5), llg.Zeeman(lambda t: (t, 0.0, 1.0))]
        step = problem(group, terms=terms, second_order=True)
        run(step, 3, preconditioner=preconditioner)
        dx = ufl.dx(domain=step.m.function_space.mesh)
        forms = [step.m[0] * step.m[1] * dx, ufl.inner(ufl.grad(step.m), ufl.grad(step.m)) * dx]
        energies.append([sum(group.allgather(fem.assemble_scalar(fem.form(f)))) for f in forms])
    assert energies[0] == pytest.approx(energies[1], rel=1e-9)


def test_torque_as_field(comm):
    """A torque T enters as the field m x T: T = -m x h in place of h gives the same run."""
    h = np.array([0.3, -0.2, 0.9])

    class Torque(llg.Interaction):
        def gradient(self, m, w):
            torque = -ufl.cross(m, ufl.as_vector(list(h)))
            return -ufl.inner(ufl.cross(m, torque), w)

    fields = []
    for term in (llg.Zeeman(h), Torque()):
        step = problem(comm, terms=[term])
        run(step)
        fields.append(owned(step.m).copy())
    # m x (-m x h) = h - (m.h) m: the part along m does nothing, at nodes; between them the
    # interpolant of m is shorter than 1, by O(h^2) of a twisted m.
    assert distance(comm, *fields) < 0.02


def test_at_rest(comm):
    """No torque: v = 0 without an iteration, in every form."""
    for constraint in ("two-unknown", "saddle-point"):
        msh = mesh.create_unit_square(comm, 3, 3)
        m = llg.magnetization(msh, (0, 0, 1))
        step = tangent_plane(llg.Energy([llg.Exchange(1.0)]), m, dt=0.1, damping=0.1)
        state = run(step, constraint=constraint)
        assert state.iterations <= 1
        assert state.max_dmdt < 1e-12


@pytest.mark.parametrize("second_order", [False, True])
def test_restart(comm, shared_tmp_path, second_order):
    """A run continued from a checkpoint equals the uninterrupted one."""
    field = [llg.Zeeman(lambda t: (math.sin(9 * t), 0.0, 1.0))]
    whole = problem(comm, terms=field, second_order=second_order)
    run(whole, 4)
    half = problem(comm, terms=field, second_order=second_order)
    for state in llg.march(half, t_end=0.1, petsc_options=TIGHT):
        llg.write_checkpoint(shared_tmp_path / "run.npz", state)
    rest = problem(comm, terms=field, second_order=second_order)
    restart = llg.read_checkpoint(shared_tmp_path / "run.npz", rest.m)
    for _ in llg.march(rest, t_end=0.2, resume=restart, petsc_options=TIGHT):
        pass
    # Bit for bit on 1 and 2 ranks; from 3 on PETSc's own sums differ in the last digits.
    assert distance(comm, owned(whole.m), owned(rest.m)) <= (0.0 if comm.size < 3 else 1e-9)


def test_coarse_space_of_all_functions(comm):
    """In the basis of all nodal functions the projected system is the fine one: inf-sup 1."""
    fine, coarse = problem(comm, n=2), problem(comm, n=2)
    index_map = fine.m.function_space.dofmap.index_map
    one = fem.petsc.PETSc.Mat().createAIJ(
        ((index_map.size_local, index_map.size_global),) * 2, nnz=1, comm=comm
    )
    one.setUp()
    diagonal = one.createVecLeft()
    diagonal.set(1.0)
    one.setDiagonal(diagonal)
    one.assemble()
    basis = llg.GalerkinBasis(one, one)
    run(fine)
    state = run(coarse, basis=basis)
    assert state.stepper.form == ("saddle-point", "scalable")
    assert distance(comm, owned(fine.m), owned(coarse.m)) < 1e-9
    assert inf_sup(coarse, basis) == pytest.approx(1.0, abs=1e-12)


# -- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"theta": 1.2}, r"theta must lie in \[0, 1\], got 1.2"),
        ({"theta": -0.1}, r"theta must lie in \[0, 1\], got -0.1"),
        ({"theta": math.nan}, "theta must lie in"),
        ({"theta": 1.0, "second_order": True}, "needs theta = 0.5, got 1"),
        ({"second_order": True, "projection": False}, "needs projection=True"),
        ({"second_order": True, "measure": "consistent"}, "use measure='nodal'"),
        ({"measure": "lumped"}, "measure must be 'nodal' or 'consistent', got 'lumped'"),
        ({"dt": 0.0}, "dt must be positive and finite, got 0.0"),
        ({"damping": -0.1}, "damping must be positive and finite, got -0.1"),
        ({"damping": llg.Gilbert(0.0)}, "alpha must be positive and finite, got 0.0"),
    ],
)
def test_bad_steps(comm, kwargs, message):
    with pytest.raises(ValueError, match=message):
        problem(comm, n=2, **kwargs)


def test_implicit_terms_must_be_quadratic(comm):
    cubic = llg.CubicAnisotropy(1.0)
    cubic.implicit = True
    with pytest.raises(ValueError, match="CubicAnisotropy is marked implicit but is not a Quadr"):
        problem(comm, n=2, terms=[cubic])


def test_bad_solvers(comm):
    step = problem(comm, n=2)
    with pytest.raises(ValueError, match="must be 'saddle-point' or 'two-unknown', got 'x'"):
        TangentStepper(step, constraint="x")
    with pytest.raises(ValueError, match="one of auto, fast, scalable, combined, mumps for this"):
        TangentStepper(step, constraint="two-unknown", preconditioner="fieldsplit")
    weak = problem(comm, n=2, measure="consistent")
    with pytest.raises(ValueError, match=r"does not hold at nodes: use constraint=.saddle-point."):
        TangentStepper(weak, constraint="two-unknown")
    with pytest.raises(ValueError, match="petsc_options_prefix must not be empty"):
        TangentStepper(step, petsc_options_prefix="")
    with pytest.raises(TypeError, match=r"a stepper has its options already.*basis"):
        llg.march(TangentStepper(step), t_end=1.0, basis=llg.periodic_basis(step.m.function_space))


@pytest.mark.parametrize("constraint", ["two-unknown", "saddle-point"])
def test_failed_solve_keeps_the_state(comm, constraint):
    step = problem(comm)
    before = step.m.x.array.copy()
    options = {"ksp_max_it": 2, "ksp_rtol": 1e-12}
    with pytest.raises(llg.ConvergenceError, match=r"tangent_plane .* did not converge at t"):
        run(step, constraint=constraint, petsc_options=options)
    assert np.array_equal(step.m.x.array, before)


def test_singular_system(comm):
    """NaN in a field: the error says so, and m stays as it was."""
    msh = mesh.create_unit_square(comm, 3, 3)
    m = llg.magnetization(msh, (0, 0, 1))
    field = fem.Function(m.function_space)
    field.x.array[::3] = 1.0
    energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman(field)])
    step = tangent_plane(energy, m, dt=0.1, damping=0.1)
    before = m.x.array.copy()
    march = llg.march(step, t_end=0.2)
    field.x.array[:] = math.nan
    with pytest.raises(RuntimeError, match=r"right side .* is not finite: a field"):
        next(march)
    assert np.array_equal(m.x.array, before)


def test_obtuse_mesh_warns_once(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    assert count_obtuse_cells(msh) == (0, 32)
    msh.geometry.x[:, 1] += 0.5 * msh.geometry.x[:, 0]  # sheared: 127 degrees
    assert count_obtuse_cells(msh) == (32, 32)
    assert count_obtuse_cells(mesh.create_unit_cube(comm, 2, 2, 2)) == (0, 48)
    m = llg.magnetization(msh, (0, 0, 1))
    energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman((1, 0, 0))])
    step = tangent_plane(energy, m, dt=0.1, damping=0.1)
    with pytest.warns(
        UserWarning, match=r"32 of 32 cells \(100.0 %\) have an obtuse angle"
    ) as record:
        march = llg.march(step, t_end=0.3)
    assert len(record) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in march:
            pass
        step = tangent_plane(energy, m, dt=0.1, damping=0.1, projection=False)
        run(step)
