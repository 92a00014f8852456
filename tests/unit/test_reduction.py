# SPDX-License-Identifier: LGPL-3.0-or-later
"""Steps that never touch the fine mesh, against the same coarse steps that do."""

import copy
import gc
import math
import warnings

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, graph, mesh
from dolfinx.la import InsertMode

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    match_meshes,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.la.matrices import scipy_rows
from dolfinx_llg.physics import cell_coefficient
from dolfinx_llg.physics.literature import hmm_ex2_initial, ms_trig
from dolfinx_llg.reduction import hyper_reduce, local_modes, tensor_reduce
from dolfinx_llg.reduction.block_products import BlockProducts, grouped, rounded
from dolfinx_llg.reduction.cubature import Combinations
from dolfinx_llg.reduction.mean_part import MeanPart
from dolfinx_llg.reduction.mode_form import ModeForm
from dolfinx_llg.reduction.operators import ReducedOperators
from dolfinx_llg.reduction.samples import sampled_step, take_samples
from dolfinx_llg.reduction.tensor_system import TensorOperators
from dolfinx_llg.reduction.training import TrainingState
from dolfinx_llg.reduction.trilinear import TrilinearForm
from dolfinx_llg.reduction.value_space import ValueSpace

T = 0.02


def problem(space, scheme=llg.gao, *, projection=True, terms=(), dt=T / 8):
    h, kappa, _ = space
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0)), *terms])
    return scheme(energy, m, dt=dt, damping=0.7, projection=projection), energy


def h1_norm(m):
    form = fem.form((ufl.inner(m, m) + ufl.inner(ufl.grad(m), ufl.grad(m))) * ufl.dx)
    return math.sqrt(sum(m.function_space.mesh.comm.allgather(fem.assemble_scalar(form))))


def compare(space, tolerance, scheme=llg.gao, projection=True, terms=()):
    """Run with and without samples; return the relative H1 difference, the energies, the change."""
    h, _, basis = space
    step, energy = problem(space, scheme, projection=projection, terms=terms)
    start = step.m.copy()
    for _ in llg.march(step, t_end=T, basis=basis):
        pass
    expected, full = step.m.copy(), energy.total(step.m)
    step.m.x.array[:] = start.x.array
    reduction = hyper_reduce(step, basis, h, t_train=T, energy=energy, tolerance=tolerance)
    assert np.array_equal(step.m.x.array, start.x.array), "the training has changed m"
    states = [state.n for state in llg.march(reduction, t_end=T)]
    assert states == list(range(1, 9))
    found = reduction.reconstruct()
    assert found is step.m
    size = h1_norm(expected)
    start.x.array[:] -= expected.x.array
    expected.x.array[:] -= found.x.array
    return (
        h1_norm(expected) / size,
        abs(reduction.total(energy) / full - 1.0),
        reduction,
        (h1_norm(start) / size),
    )


@pytest.mark.parametrize("scheme", [llg.prohl, llg.cimrak, llg.gao, llg.an])
def test_every_scheme_runs_on_samples(space, scheme):
    """The difference is of the size of the tolerance; m itself changes by a thousand times that."""
    projection = scheme is not llg.cimrak
    difference, energy, reduction, change = compare(space, 1e-3, scheme, projection)
    assert difference < 2e-3
    assert energy < 2e-3
    assert change > 0.5
    assert reduction.error < 1e-3
    present, m = reduction.present_error(), reduction.fine.m.x.array.copy()
    assert 0.0 < present < 3e-3  # not a state of the training, but among them
    assert np.array_equal(m, reduction.fine.m.x.array)
    assert reduction.count() < 0.75 * 32 * 32 * 2  # (64 fine cells per coarse one: little to save)


def test_a_run_that_leaves_its_training_says_so(space):
    """A strong field, switched on after the training, takes m where no sample was chosen for."""
    h, _, basis = space
    late = llg.Zeeman(lambda t: (0.0, 0.0, 3000.0 if t > T / 4 else 0.0))
    step, _ = problem(space, terms=[late])
    short = {"t_train": T / 8, "tolerance": 1e-3}
    reduction = hyper_reduce(step, basis, h, **short)
    assert reduction.check_every == T / 8
    start = step.m.x.array.copy()
    found = {}
    for every in (T / 8, math.inf):
        step.m.x.array[:] = start
        reduction.check_every = every
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for state in llg.march(reduction, t_end=T):
                if state.n == 4:
                    before = step.m.x.array.copy()
                    error = reduction.present_error()
                    # A look changes nothing.
                    assert np.array_equal(step.m.x.array, before)
        found[every] = reduction.reconstruct().x.array.copy()
        left = [str(w.message) for w in caught if "left the states" in str(w.message)]
        assert bool(left) == (every < math.inf)
        assert len(left) <= 3  # once, and where the error has grown
        assert all("0.001 was asked for" in text for text in left)
    assert error > 5e-3
    assert np.array_equal(found[T / 8], found[math.inf])
    with pytest.raises(ValueError, match="check_every must be positive"):
        hyper_reduce(step, basis, h, check_every=0.0, **short)


def test_the_tolerance_rules(space):
    """A tenth of the tolerance of the other tests: a tenth of their bound."""
    assert compare(space, 1e-4)[0] < 2e-4


def test_fields_in_time_and_space_reach_the_samples(space):
    """A field that turns (constants) beside one that varies in space (coordinates)."""
    h = space[0]
    x = ufl.SpatialCoordinate(h.fine)
    turning = llg.Zeeman(lambda t: (40 * math.cos(300 * t), 40 * math.sin(300 * t), 0.0))
    still = llg.Zeeman(ufl.as_vector((10 * x[0], 0 * x[1], 5 - 20 * x[1])))
    difference, energy, _, _ = compare(space, 1e-3, terms=(turning, still))
    assert difference < 2e-3
    assert energy < 2e-3


def test_a_run_enters_the_space_within_its_tolerance(space):
    """A unit field is not in V_H; it is the fine m that counts, not that on the samples."""
    h, _, basis = space
    guarded = copy.copy(basis)
    step, _ = problem(space, dt=T / 4)
    u, c = basis.P.createVecLeft(), basis.P.createVecRight()
    before = step.m.x.array[: u.getLocalSize()].copy()
    u.array[:] = before
    basis.coefficients(u, c)
    basis.prolong(c, u)
    change = max(h.comm.allgather(float(np.abs(u.array - before).max(initial=0.0))))
    guarded.entry_tolerance = 1.01 * change
    reduction = hyper_reduce(step, guarded, h, t_train=T, states=3, tolerance=1e-2)
    for _ in llg.march(reduction, t_end=T):
        pass
    assert len(list(llg.march(reduction, t_end=T / 4))) == 1
    guarded.entry_tolerance = 1e-8
    with pytest.raises(ValueError, match="entering it changes a node by"):
        next(llg.march(reduction, t_end=T / 4))


def test_the_training_leaves_the_fields_of_the_start(space):
    """A turning field is not left at the end of the training."""
    h, _, basis = space
    turning = llg.Zeeman(lambda t: (40 * math.cos(300 * t), 40 * math.sin(300 * t), 0.0))
    step, energy = problem(space, terms=(turning,))
    step.update(step.m, 0.0)
    before = energy.total(step.m)
    reduction = hyper_reduce(step, basis, h, t_train=T, states=3, tolerance=1e-2, energy=energy)
    assert energy.total(step.m) == before
    assert reduction.total(energy) == pytest.approx(before, rel=2e-2)


def test_the_samples_fit_small_steps(space):
    """(m - x)/dt grows like 1/dt where a field of unit length is not in V_H: it is trained so."""
    h, _, basis = space
    dt = T / 2000
    step, _ = problem(space, dt=dt)
    reduction = hyper_reduce(step, basis, h, t_train=T)
    for _ in llg.march(reduction, t_end=5 * dt):
        pass
    assert reduction.error < 1e-3
    assert reduction.present_error() < 3e-3  # 1e-2 and more where it is trained as O(dt)


def test_at_rest_nothing_is_to_be_integrated(space):
    """A uniform field under exchange alone: all loads are round-off, errors relative to it none."""
    h, kappa, basis = space
    m = llg.magnetization(h.fine, (0, 0, 1))
    step = llg.gao(llg.Energy([llg.Exchange(kappa)]), m, dt=T, damping=1.0, projection=True)
    reduction = hyper_reduce(step, basis, h, t_train=T, states=3)
    for _ in llg.march(reduction, t_end=T):
        pass
    assert reduction.error < 1e-3
    assert reduction.present_error() < 1e-2
    assert reduction.count() < 0.1 * 32 * 32 * 2
    assert np.abs(reduction.reconstruct().x.array.reshape(-1, 3) - [0, 0, 1]).max() < 1e-10


def test_a_rank_may_have_no_coarse_cell(comm):
    """All coarse cells on all ranks but the last."""

    def partition(comm, parts, types, cells):
        count = len(cells[0]) // 3
        home = np.arange(count) * max(1, parts - 1) // count
        return graph.adjacencylist(home.astype(np.int32).reshape(-1, 1))._cpp_object

    coarse = mesh.create_unit_square(comm, 4, 4, partitioner=partition)
    h = refine_mesh(coarse, 2)
    kappa = cell_coefficient(h.fine, ms_trig)
    form = exchange_form(h.space, kappa)
    basis = vector_basis(grps_basis(form, volume_measurement(h), ell=2, localization="constants"))
    own = h.data.cell_range[1] - h.data.cell_range[0]
    assert comm.size == 1 or min(comm.allgather(own)) == 0
    assert compare((h, kappa, basis), 1e-6)[0] < 1e-5


def test_a_second_run_starts_from_the_present_m(space):
    """Two runs of half the length equal one: reconstruct, then march again."""
    h, _, basis = space
    step, _ = problem(space, dt=T / 4)
    start = step.m.copy()
    reduction = hyper_reduce(step, basis, h, t_train=T, states=3)
    results = []
    for times in ((T,), (T / 2, T)):
        step.m.x.array[:] = start.x.array
        t = 0.0
        for end in times:
            for _ in llg.march(reduction, t=t, t_end=end):
                pass
            reduction.reconstruct()
            t = end
        results.append(step.m.x.array.copy())
    # The second run enters V_H anew (P Psi m of the projected m): O(tau) of the length of m apart.
    assert np.abs(results[0] - results[1]).max() < 5e-3


def test_a_look_at_a_run_does_not_change_it(space):
    """The history and the fine m of a reduced run may be asked for at any step."""
    h, _, basis = space
    step, _ = problem(space, dt=T / 4)
    start = step.m.copy()
    reduction = hyper_reduce(step, basis, h, t_train=T, states=3, tolerance=1e-2)
    results = []
    for looks in (False, True):
        step.m.x.array[:] = start.x.array
        for state in llg.march(reduction, t_end=T):
            if looks:
                assert len(state.history().numbers["x_times"]) == min(state.n, 3)
                assert state.m is step.m
        results.append(reduction.reconstruct().x.array.copy())
    assert np.array_equal(*results) or (h.comm.size > 2 and np.allclose(*results, atol=1e-9))


@pytest.mark.parametrize("kind", ["coarse", "hyper"])
def test_a_loop_may_be_left_on_each_rank_by_itself(space, kind):
    """No rank waits for another; m is up to date, and the history is there when it is asked for."""
    h, _, basis = space
    step, _ = problem(space, dt=T / 4)
    run, options = step, {"basis": basis}
    if kind == "hyper":
        run, options = hyper_reduce(step, basis, h, t_train=T, states=3, tolerance=1e-2), {}
    loop = llg.march(run, t_end=T, **options)
    next(loop)
    state = next(loop)
    expected = state.history().fields
    before = step.m.x.array.copy()
    for rank in range(h.comm.size):
        if h.comm.rank == rank:
            loop.close()  # what break does
            found = step.m.x.array.copy()
        h.comm.barrier()
    if kind == "hyper":  # nobody has asked for m in the loop
        assert h.comm.allreduce(np.abs(found - before).max(initial=0.0)) > 1e-3
        before = run.reconstruct().x.array
    np.testing.assert_allclose(found, before, rtol=0.0, atol=1e-14)
    assert state.m is step.m
    fields = state.history().fields
    assert sorted(fields) == sorted(expected) == ["x_0", "x_1"]
    for name, values in fields.items():
        np.testing.assert_array_equal(values, expected[name])


def test_a_reduced_run_restarts(space, shared_tmp_path):
    """From a checkpoint of its second step of four: the same m as without a stop, to round-off."""
    h, _, basis = space
    step, _ = problem(space, dt=T / 4)
    start = step.m.copy()
    reduction = hyper_reduce(step, basis, h, t_train=T, states=3, tolerance=1e-2)
    for state in llg.march(reduction, t_end=T):
        if state.n == 2:
            llg.write_checkpoint(shared_tmp_path / "reduced.npz", state)
    whole = state.m.x.array.copy()
    step.m.x.array[:] = start.x.array
    again = llg.read_checkpoint(shared_tmp_path / "reduced.npz", step.m)
    state = list(llg.march(reduction, t_end=T, resume=again))[-1]
    assert state.n == 4
    # The coefficients go through Psi P = I, to round-off times the condition of the step.
    assert np.abs(state.m.x.array - whole).max(initial=0.0) < 1e-9


def test_a_failed_step_leaves_the_last_good_state(space):
    """No iteration allowed: m, the coefficients and the fine m stay; the next run goes on."""
    h, _, basis = space
    step, _ = problem(space, dt=T / 4)
    reduction = hyper_reduce(step, basis, h, t_train=T, states=3, tolerance=1e-2)
    for _ in llg.march(reduction, t_end=T / 2):
        pass
    good = reduction.reconstruct().x.array.copy()
    options = {"ksp_max_it": 1, "ksp_rtol": 1e-14}
    run = llg.march(reduction, t_end=T, petsc_options=options)
    with pytest.raises(llg.ConvergenceError, match=r"gao \(reduced\)"):
        next(run)
    again = reduction.reconstruct().x.array
    # The failed run had entered the space anew: O(tau) of the length of m, as above.
    assert np.abs(again - good).max() < 5e-3
    assert [s.n for s in llg.march(reduction, t=T / 2, t_end=T)] == [1, 2]


def alive(*kinds):
    """Number of objects of these classes that cannot be collected."""
    gc.collect()
    return sum(type(thing) in kinds for thing in gc.get_objects())


@pytest.mark.parametrize("kind", ["cubature", "tensors"])
def test_reductions_are_collected(space, kind):
    """PETSc's matrices hold no reduction alive: one that is trained anew frees the first."""
    h, _, basis = space
    step, energy = problem(space)
    before = alive(ReducedOperators, TensorOperators)
    if kind == "cubature":
        run = hyper_reduce(step, basis, h, t_train=T, states=3, tolerance=1e-2)
    else:
        run = tensor_reduce(llg.gao, energy, step.m, basis, h, dt=T / 8, damping=1.0)
    assert len(list(llg.march(run, t_end=T / 8))) == 1
    assert alive(ReducedOperators, TensorOperators) > before
    del run
    assert alive(ReducedOperators, TensorOperators) <= before


def test_cubature_keeps_the_sums():
    """Sums of 12 independent rows by at most 12 of 200 columns, to round-off."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(40, 12)) @ rng.normal(size=(12, 200))
    weights = Combinations(rows).weights(1e-8)
    assert (weights >= 0).all()
    assert 0 < np.count_nonzero(weights) <= 12
    assert np.abs(rows @ weights - rows.sum(axis=1)).max() < 1e-10 * np.abs(rows).sum()
    assert (Combinations(rows[:, :8]).weights(1e-8) == 1.0).all()  # nothing to save


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("native", [True, False])
def test_block_products(native, single):
    """Blocks of many sizes, padded, against the dense matrix; one matrix has none."""
    rng = np.random.default_rng(5)
    dense, parts, first = np.zeros((30, 17)), [], 0
    for p, q in ((4, 6), (7, 5), (4, 6), (7, 5), (4, 6)):
        values = rng.normal(size=(p, q))
        rows, columns = first + np.arange(p), rng.permutation(17)[:q]
        dense[np.ix_(rows, columns)] = values
        first += p
        parts.append((values, rows, columns))
    precision = 1e-6 if single else 1e-13  # entries of size 1, some ten of them
    for pieces, matrix in ((parts, dense), ([], 0.0 * dense)):
        blocks = grouped(pieces, dense.shape)
        products = BlockProducts(MPI.COMM_WORLD, blocks, dense.shape, single=single, native=native)
        for k in (1, 2, 3):
            x, y = rng.normal(size=(17, k)), rng.normal(size=(30, k))
            assert np.abs(products.apply(x) - matrix @ x).max() < precision
            assert np.abs(products.transposed(y) - matrix.T @ y).max() < precision


@pytest.mark.parametrize("native", [True, False])
def test_products_that_fill(native):
    """M^T x for blocks that share no column, in single precision; other places stay."""
    rng = np.random.default_rng(6)
    pieces = [(rng.normal(size=(3, 5)), np.arange(3), 5 * k + np.arange(5)) for k in range(4)]
    products = BlockProducts(
        MPI.COMM_WORLD, grouped(pieces, (3, 21)), (3, 21), single=True, native=native
    )
    x, out = rng.normal(size=(3, 3)), np.full((22, 3), 7.0, dtype=np.float32)
    products.fill(x, out)
    expected = np.concatenate([values.T @ x for values, *_ in pieces])
    assert np.abs(out[:20] - expected).max() < 2e-6  # entries and results are rounded
    assert (out[20] == (7.0 if native and products.native else 0.0)).all()


def test_rounding_keeps_the_sums_of_rows():
    """A row of a partition of unity acts on constants as before it was rounded."""
    rng = np.random.default_rng(8)
    values = rng.normal(size=(40, 60)) * np.exp(-rng.uniform(0.0, 20.0, size=(40, 60)))
    found = rounded(values)
    assert found.dtype == np.float32
    assert np.abs(found - values).max() < 1e-6
    # The smallest of 60 entries is about e^-20: 6e-8 of it is left, and round-off of the sum.
    plain = values.astype(np.float32).astype(float)
    left = np.abs(found.astype(float).sum(axis=1) - values.sum(axis=1)).max()
    assert left < 1e-14 * 60 < 1e-3 * np.abs(plain.sum(axis=1) - values.sum(axis=1)).max()


@pytest.mark.parametrize("scheme", [llg.gao, llg.cimrak, llg.prohl])
def test_means_act_exactly(space, scheme):
    """Tested with V_H: the whole form = that of the rest + the matrices of the means, for u in V_H.

    The modes are those to 1e-9 of the basis; without the means the two differ by their whole size.
    """
    h, _, basis = space
    step, _ = problem(space, scheme)
    modes = local_modes(h, basis.components, tolerance=1e-10)
    mean = MeanPart(step, modes)
    assert mean.count == 2  # exchange and anisotropy
    mean.set(step.m.x.array)
    c, u = basis.P.createVecRight(), fem.Function(step.m.function_space)
    c.array[:] = np.cos(3.0 * np.arange(*c.getOwnershipRange()))
    x = basis.P.createVecLeft()
    basis.P.mult(c, x)
    u.x.array[: x.getLocalSize()] = x.array
    u.x.scatter_forward()

    def tested(of):
        """What a step makes of u: its form in m, or in the new iterate."""
        form = of.varying if of.nonlinear is None else of.nonlinear
        trial = form.arguments()[1:]
        image = ufl.replace(form, dict.fromkeys(trial, u) | {step.x: u})
        vector, out = fem.assemble_vector(fem.form(image)), basis.P.createVecRight()
        vector.scatter_reverse(InsertMode.add)
        x.array[:] = vector.array[: x.getLocalSize()]
        basis.P.multTranspose(x, out)
        return np.concatenate(h.comm.allgather(out.array)).reshape(-1, 3)

    coefficients = np.concatenate(h.comm.allgather(c.array)).reshape(-1, 3)
    product = mean.product(mean.of_nodes(step.m.x.array), modes.gather(coefficients))
    exact = sum(h.comm.allgather(modes.spread(product)))
    whole, rest = tested(step), tested(mean.rest)
    size = np.abs(exact).max()
    assert size > 0.01 * np.abs(whole).max() > 0.0  # prohl: quadratic in u, which is large
    # The entries of V are kept in single precision.
    assert np.abs(whole - rest - exact).max() < 1e-6 * np.abs(whole).max()


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5])
def test_local_modes(space, tolerance):
    """Theta V equals P on each coarse cell to the tolerance, and 1 to round-off."""
    h, _, basis = space
    modes = local_modes(h, basis.components, tolerance=tolerance)
    ones, data = basis.components[0].createVecs()[::-1]
    ones.set(1.0)
    index_map = h.space.dofmap.index_map
    own = scipy_rows(basis.components[1])
    table = modes.tables[1]
    for k, cell in enumerate(modes.cells):
        mine = cell.dofs < index_map.size_local
        dense = own[cell.dofs[mine]].toarray()
        part = np.zeros((cell.count, table.size + 1))  # the last column takes the padding
        values, functions = table.of_cell(k)
        part[:, functions] = values[: cell.count]
        part = part[:, :-1]
        error = np.linalg.norm(dense - cell.theta[mine] @ part, 2)
        assert error <= 1.01 * tolerance * np.linalg.norm(dense, 2) + 1e-13 or not mine.all()
        assert cell.count <= min(dense.shape) + 1
    volume_measurement(h).Psi.mult(ones, data)
    c = np.concatenate(h.comm.allgather(data.array))
    y = modes.gather(np.column_stack([c, c, c]))
    for k, cell in enumerate(modes.cells):
        values = cell.theta @ y[k, : cell.count]
        assert np.abs(values - 1.0).max() < 1e-11


def test_bad_input(space):
    h, kappa, basis = space
    step, _ = problem(space)
    with pytest.raises(ValueError, match="tolerance must lie between 0 and 1, got 2"):
        hyper_reduce(step, basis, h, t_train=T, tolerance=2.0)
    with pytest.raises(ValueError, match="at least 3 steps, got 2"):
        hyper_reduce(step, basis, h, t_train=T, states=2)
    with pytest.raises(ValueError, match="t_train must be positive"):
        hyper_reduce(step, basis, h, t_train=math.nan)
    with pytest.raises(ValueError, match="there is nothing to reduce"):
        hyper_reduce(step, llg.periodic_basis(step.m.function_space), h, t_train=T)
    reduction = hyper_reduce(step, basis, h, t_train=T, states=3, tolerance=1e-2)
    with pytest.raises(ValueError, match="a reduction has its basis"):
        llg.march(reduction, t_end=T, basis=basis)
    with pytest.raises(ValueError, match="march the reduction itself"):
        llg.march(reduction.step, t_end=T)
    elsewhere = cell_coefficient(mesh.create_unit_square(h.comm, 2, 2), 1.0)
    with pytest.raises(ValueError, match="another mesh"):
        reduction.total(llg.Energy([llg.Exchange(elsewhere)]))
    states = llg.march(reduction, t_end=T)
    next(states)
    keep = kappa.x.array.copy()
    kappa.x.array[:] *= 2.0
    with pytest.raises(RuntimeError, match="data of implicit terms changed: reduce the step anew"):
        next(states)
    kappa.x.array[:] = keep

    class Stray(llg.Interaction):
        """A field that follows m, as a solve of its own would make it."""

        def __init__(self):
            self.h = fem.Function(step.m.function_space)

        def gradient(self, m, w):
            return -ufl.inner(self.h, w)

        def update(self, m, t):
            self.h.x.array[:] = -0.1 * m.x.array

    follows = llg.gao(llg.Energy([llg.Exchange(kappa), Stray()]), step.m, dt=T / 8, damping=1.0)
    with pytest.raises(ValueError, match="computes its field from m"):
        hyper_reduce(follows, basis, h, t_train=T)
    other = refine_mesh(mesh.create_unit_square(h.comm, 2, 2), 2)
    with pytest.raises(ValueError, match="fine mesh of the hierarchy"):
        hyper_reduce(step, basis, other, t_train=T)
    sized = llg.Energy(
        [llg.Exchange(kappa), llg.Zeeman(ufl.as_vector((ufl.CellVolume(h.fine), 0, 0)))]
    )
    step = llg.gao(sized, step.m, dt=T / 8, damping=1.0)
    with pytest.raises(ValueError, match="interpolate them to DG0"):
        hyper_reduce(step, basis, h, t_train=T, states=3)


def test_children_elsewhere_are_refused(comm):
    """A fine mesh with a partition of its own: on several ranks some children live elsewhere."""
    coarse = mesh.create_unit_square(comm, 2, 2)
    h = match_meshes(coarse, mesh.create_unit_square(comm, 8, 8))
    form = exchange_form(h.space, 1.0)
    basis = vector_basis(grps_basis(form, volume_measurement(h), ell=1))
    first, last = h.data.cell_range
    away = any(comm.allgather(bool(((h.parent < first) | (h.parent >= last)).any())))
    if not away:
        assert local_modes(h, basis.components).count > 0 or last == first
        return
    with pytest.raises(ValueError, match="make the fine mesh by refine_mesh"):
        local_modes(h, basis.components)


def test_integrals_in_modes(space):
    """The matrices of a step against the sum over samples and means, in the modes of each cell."""
    h, kappa, _ = space
    form = exchange_form(h.space, kappa)
    one = grps_basis(form, volume_measurement(h), ell=2, localization="constants")
    step, _ = problem(space)
    modes = local_modes(h, [one.P] * 3, tolerance=1e-10)
    rng = np.random.default_rng(3)
    weights = [
        rng.uniform(0.5, 2.0, len(c.cells)) * (rng.random(len(c.cells)) < 0.3) for c in modes.cells
    ]
    samples, means = take_samples(modes, weights), MeanPart(step, modes)
    sampled = sampled_step(step, samples, None, means)
    kernel = TrilinearForm(sampled.linear, sampled.step.m, samples.mean)
    if not kernel.found:
        pytest.skip("there is no compiler")
    assert not ModeForm(kernel, samples, modes, means, products=0).worthwhile
    integrals = ModeForm(kernel, samples, modes, means, products=10**6)
    assert integrals.worthwhile
    rng = np.random.default_rng(4)
    c = rng.normal(size=(one.P.getSize()[1], 3))
    y, theta = modes.gather(c), samples.corner_modes(modes)
    # m in V_H is held whole by the numbers of its values.
    kernel.m[:] = np.einsum("enr,erb->enb", theta, y[samples.home])[_at_nodes(kernel)]
    mean = np.ascontiguousarray(y[:, 0]) if len(y) else np.zeros((0, 3))
    integrals.set(mean)
    u = np.einsum("eir,erb->eib", theta, y[samples.home])
    d = kernel.m[kernel.dofs] - mean[samples.home][:, None]
    expected = means.product(mean, y)
    for S, E in kernel.terms:
        loads = np.einsum("eikj,cba,ejc,ekb->eia", S, E[:, :, :3], d, u, optimize=True)
        np.add.at(expected, samples.home, np.einsum("eir,eia->era", theta, loads))
    expected = modes.spread(expected)
    # Entries have single precision.
    assert np.abs(integrals.image(c) - expected).max() < 1e-6 * np.abs(expected).max()
    missed, size = integrals.missed(mean)
    assert missed <= 1e-6 * size


def _at_nodes(kernel):
    """Return one corner of a sample, (cell, corner), at each node of the samples."""
    cell, corner = np.zeros(kernel.nodes, dtype=int), np.zeros(kernel.nodes, dtype=int)
    cells, corners = np.indices(kernel.dofs.shape)
    cell[kernel.dofs], corner[kernel.dofs] = cells, corners
    return cell, corner


def test_values_of_the_training_are_held(space):
    """Q Q^T m is m for states of the training, to the tolerance; of other rests a part is lost."""
    h, _, basis = space
    comm = h.comm
    modes = local_modes(h, basis.components, tolerance=1e-2)
    homes = np.repeat(np.arange(len(modes.cells)), [len(cell.dofs) for cell in modes.cells])
    dofs = np.concatenate([np.zeros(0, int), *[cell.dofs for cell in modes.cells]])
    size = h.space.dofmap.index_map.size_local + h.space.dofmap.index_map.num_ghosts
    rng = np.random.default_rng(comm.rank)
    m = llg.magnetization(h.fine, hmm_ex2_initial).x.array
    states = []
    for _ in range(2):
        rest = 1e-3 * rng.normal(size=m.size)
        states.append(TrainingState(before=m + rest, x=m, after=m, rest=rest))

    def missed(held, of, tolerance=1e-3):
        found = ValueSpace(modes, homes, dofs, dofs, size, training=held, tolerance=tolerance)
        values = of.reshape(-1, 3)
        means = np.array([values[cell.dofs].mean(axis=0) for cell in modes.cells]).reshape(-1, 3)
        squares = np.sum(comm.allgather(found.missed(values, means)), axis=0)
        return np.sqrt(squares[0] / squares[1])

    new, known = 1e-3 * rng.normal(size=m.size), states[0].before + states[1].rest
    inside = missed(states, m)  # m itself is not in V_H
    assert missed(states, known - m) < missed([], known - m)
    assert missed(states, known, 1e-6) <= inside + 1e-6 < missed([], known)
    assert missed(states, m + new) > missed(states, known)
