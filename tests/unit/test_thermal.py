# SPDX-License-Identifier: LGPL-3.0-or-later
"""Thermal noise: random numbers, the field at nodes, ranks, restarts, refusals, ensembles."""

import math

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.philox import normals, philox
from dolfinx_llg.physics.interaction import VERTICES
from dolfinx_llg.solvers.nodal_field import NodalField
from dolfinx_llg.solvers.noise import NodalNoise, original_numbers

SCHEMES = {
    "heun": llg.heun,
    "midpoint": llg.midpoint,
    "tangent_plane": lambda *args, **options: llg.tangent_plane(
        *args, second_order=True, **options
    ),
}


def words(*values):
    return tuple(np.array([value], dtype=np.uint64) for value in values)


def cube(comm, n=3):
    return mesh.create_box(comm, [[0.0] * 3, [float(n)] * 3], [n] * 3)


def energy_of(msh, temperature=0.1, seed=0, **options):
    terms = [llg.Exchange(0.3), llg.UniaxialAnisotropy((0, 0, 1), 1.0)]
    return llg.Energy([*terms, llg.Thermal(temperature, seed=seed)], **options)


# -- random numbers --------------------------------------------------------------------------------


def test_philox_known_answers():
    """The vectors that its authors publish (Random123, kat_vectors, philox4x32 10)."""
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    known = [
        ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (pi, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ]
    for counter, key, answer in known:
        assert tuple(int(word[0]) for word in philox(words(*counter), key)) == answer


def test_normals_do_not_depend_on_who_asks():
    numbers = np.arange(40_000)
    whole = normals(5, numbers, 7, 3)
    some = np.random.default_rng(0).permutation(len(numbers))[:1234]
    assert np.array_equal(normals(5, numbers[some], 8)[0], whole[1, some])
    assert not np.any(np.isclose(normals(6, numbers, 7)[0], whole[0], rtol=1e-6))
    assert not np.any(normals(5 + 2**32, numbers[:9], 7)[0] == whole[0, :9])
    assert not np.any(normals(5, numbers[:9] + 2**32, 7)[0] == whole[0, :9])


def test_normals_are_normal():
    """Moments within 4.5 standard errors, correlations of components, nodes, steps and seeds."""
    x = normals(1, np.arange(100_000), 0, 2)
    count = x[0].size
    assert abs(x[0].mean()) < 4.5 / math.sqrt(count)
    assert abs(np.mean(x[0] ** 2) - 1) < 4.5 * math.sqrt(2 / count)
    assert abs(np.mean(x[0] ** 4) - 3) < 4.5 * math.sqrt(96 / count)
    others = [x[1], np.roll(x[0], 1, axis=0), np.roll(x[0], 1, axis=1)]
    others += [normals(2, np.arange(100_000), 0)[0]]
    for other in others:
        assert abs(np.mean(x[0] * other)) < 4.5 / math.sqrt(count)
    assert abs(np.mean(np.abs(x[0]) > 2.0) - math.erfc(math.sqrt(2.0))) < 1.5e-3


# -- the field at the nodes ------------------------------------------------------------------------


def test_field_is_the_same_on_any_ranks(comm):
    """The numbers to the last bit, the field to the rounding of the nodal masses."""
    values = {}
    for ranks in (comm, MPI.COMM_SELF):
        msh = cube(ranks, 5)
        m = llg.magnetization(msh, (0, 0, 1))
        noise = NodalNoise(llg.Thermal(0.3, seed=11), 1.0, m)
        noise.step = 2**33 + 5
        x = m.function_space.tabulate_dof_coordinates()[: len(noise.numbers)]
        keys = np.rint(x).astype(int) @ [1, 6, 36]
        field, bits = noise.draw(0.0, 0.1, 0.5), noise.normals()
        values[ranks.size > 1, 0] = dict(zip(keys.tolist(), bits.tolist(), strict=True))
        values[ranks.size > 1, 1] = dict(zip(keys.tolist(), field.tolist(), strict=True))
    if comm.size == 1:
        assert len({tuple(v) for v in values[False, 0].values()}) == 216
        return
    for key, bits in values[True, 0].items():
        assert bits == values[False, 0][key]
        assert values[True, 1][key] == pytest.approx(values[False, 1][key], rel=1e-13)


RECORD = """
import sys
from mpi4py import MPI
import numpy as np
from dolfinx import mesh
import dolfinx_llg as llg
from dolfinx_llg.grps import refine_mesh
comm = MPI.COMM_WORLD
for size in (1, 2, 3):
    part = comm.Split(0 if comm.rank < size else MPI.UNDEFINED, comm.rank)
    if part == MPI.COMM_NULL:
        continue
    msh = refine_mesh(mesh.create_box(part, [[0.0] * 3, [2.0] * 3], [2, 2, 2]), 1).fine
    terms = [llg.Exchange(0.3), llg.UniaxialAnisotropy((0, 0, 1), 1.0), llg.Thermal(0.1, seed=5)]
    m = llg.magnetization(msh, (0, 0, 1))
    x = m.function_space.tabulate_dof_coordinates()
    keys = np.rint(2 * x).astype(int) @ [1, 5, 25]
    bits = []
    # The run of one rank leaves a checkpoint after two steps; every other one starts from it.
    path, state = sys.argv[1] + "/start.npz", None
    for n in (2, 4):
        if size == 1 or n == 4:
            step = llg.heun(llg.Energy(terms), m, damping=llg.Gilbert(0.5), dt=0.05)
            resume = llg.read_checkpoint(path, m) if n == 4 else None
            stepper = llg.stepper(step)
            *_, state = llg.march(stepper, t_end=n * 0.05, resume=resume)
            bits = stepper.noise.normals()
        if size == 1 and n == 2:
            llg.write_checkpoint(path, state)
    part.Barrier()
    rows = part.gather((keys[: len(bits)], bits, m.x.array.reshape(-1, 3)[: len(bits)].copy()))
    if part.rank == 0:
        order = np.argsort(np.concatenate([row[0] for row in rows]))
        found = [np.concatenate([row[k] for row in rows])[order] for k in (0, 1, 2)]
        np.savez(sys.argv[1] + f"/ranks_{size}.npz", *found)
"""


def test_one_two_and_three_ranks_have_the_same_bits(jobs, tmp_path):
    """On a refined mesh, four steps on, from a checkpoint that one rank has written."""
    code, said = jobs.run(RECORD, tmp_path, ranks=3)
    assert code == 0, said
    one, two, three = (np.load(tmp_path / f"ranks_{ranks}.npz") for ranks in (1, 2, 3))
    assert len(set(one["arr_0"])) == 125
    for other in (two, three):
        for key in ("arr_0", "arr_1"):
            assert np.array_equal(one[key], other[key])
        # m itself to the rounding of the sums over cells, which ranks add in another order.
        assert np.abs(one["arr_2"] - other["arr_2"]).max() < 1e-12
    assert np.abs(one["arr_2"] - (0, 0, 1)).max() > 0.05


def test_variance_by_region(comm):
    """2 a T/(V dt) with V = int Ms phi: two halves that differ in Ms, temperature and damping."""
    msh = mesh.create_interval(comm, 40, [0.0, 40.0])
    space = fem.functionspace(msh, ("DG", 0))
    Ms, T, alpha = (fem.Function(space) for _ in range(3))
    for function, low, high in ((Ms, 1.0, 0.5), (T, 0.2, 0.8), (alpha, 0.1, 0.4)):
        function.interpolate(lambda x, a=low, b=high: np.where(x[0] < 20.0, a, b))
    m = llg.magnetization(msh, (0, 0, 1))
    x = m.function_space.tabulate_dof_coordinates()[:, 0]
    left, right, middle = np.clip(20.5 - x, 0, 1), np.clip(x - 19.5, 0, 1), x == 20.0
    ends = (x == 0.0) | (x == 40.0)
    a = np.where(middle, (0.1 + 0.5 * 0.4) / 1.5, 0.1 * left + 0.4 * right)
    hot = np.where(middle, (0.2 + 0.5 * 0.8) / 1.5, 0.2 * left + 0.8 * right)
    V = np.where(middle, 0.75, left + 0.5 * right) * np.where(ends, 0.5, 1.0)
    for damping in (llg.Gilbert(alpha), alpha):
        step = llg.heun(energy_of(msh, T, Ms=Ms), m, damping=damping, dt=0.01)
        mover = llg.stepper(step)
        noise = mover.noise
        rate, lam = mover.field.damping_rate(step.damping)
        field = noise.draw(0.0, 0.01, lam / (rate * (1 + lam**2)))
        dissipation = a if isinstance(damping, llg.Gilbert) else a / (1 + a**2)
        n = len(field)
        expected = np.sqrt(2 * dissipation * hot / (V * 0.01))[:n, None] * noise.normals()
        assert field == pytest.approx(expected, rel=1e-12)


def test_identified_nodes_have_one_field(comm):
    """In a periodic box images share their noise, and no two nodes do."""
    msh = cube(comm, 4)
    m = llg.magnetization(msh, (0, 0, 1))
    basis = llg.periodic_basis(m.function_space, [0, 1])
    energy = llg.Energy([llg.Exchange(0.3), llg.Zeeman((0, 0, 1.0))])
    field = NodalField(energy, m, basis)
    noise = NodalNoise(llg.Thermal(0.3), 1.0, m, field)
    every = np.concatenate(comm.allgather(noise.numbers))
    assert len(every) == len(set(every.tolist())) == 4 * 4 * 5
    f = fem.Function(m.function_space)
    field.assign(f, noise.draw(0.0, 0.1, 0.5))
    x = m.function_space.tabulate_dof_coordinates()[: len(original_numbers(m.function_space))]
    values = f.x.array.reshape(-1, 3)[: len(x)]
    seen = {}
    for points, found in comm.allgather((np.rint(x) % [4, 4, 99], values)):
        for point, value in zip(map(tuple, points.tolist()), found.tolist(), strict=True):
            assert seen.setdefault(point, value) == value
    # What is left of the mass: the nodes of the open faces carry half of it.
    step = llg.midpoint(llg.Energy([*energy.terms, noise.thermal]), m, damping=0.1, dt=0.1)
    for state in llg.march(step, t_end=0.1, basis=basis):
        assert state.max_dmdt > 0.0


def test_temperature_follows_its_owner(comm):
    """A pulse, a constant and a function that change in the loop change the field by a root."""
    msh = cube(comm, 2)
    m = llg.magnetization(msh, (0, 0, 1))
    constant = fem.Constant(msh, 0.1)
    function = fem.Function(fem.functionspace(msh, ("DG", 0)))
    function.x.array[:] = 0.1
    for given, change in (
        (lambda t: 0.1 if t < 1.0 else 0.4, lambda: None),
        (function, lambda: function.x.array.fill(0.4)),
        (2.0 * constant * function, lambda: setattr(constant, "value", 0.4)),
        (constant, lambda: setattr(constant, "value", 1.6)),
    ):
        noise = NodalNoise(llg.Thermal(given), 1.0, m)
        before = noise.draw(0.0, 0.1, 1.0)
        change()
        assert noise.draw(2.0, 0.1, 1.0) == pytest.approx(2.0 * before, rel=1e-12)
    constant.value = -1.0
    with pytest.raises(ValueError, match="temperature must be at least 0 and finite"):
        NodalNoise(llg.Thermal(constant * 1.0), 1.0, m)


def test_units():
    """300 K in a cell of 5 nm: the field of the standard formula, in A/m."""
    units = llg.units.Units(Ms0=8e5, length=1e-9)
    T, dt, alpha = units.temperature_from_K(300.0), 1e-13, 0.1
    assert units.temperature_to_K(T) == pytest.approx(300.0)
    assert units.temperature_from_K(300.0, extent=2.0) == pytest.approx(T / 2)
    mine = units.field_to_A_per_m(math.sqrt(2 * alpha * T / (125.0 * units.time_from_s(dt))))
    mu0, k_B = llg.units.MU0, 1.380649e-23
    theirs = math.sqrt(2 * alpha * k_B * 300.0 / (units.gamma0 * dt * mu0 * 8e5 * 125e-27))
    assert mine == pytest.approx(theirs, rel=1e-12)


# -- runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMES)
def test_restart_has_the_same_bits(comm, name, shared_tmp_path):
    """From 3 ranks on PETSc's sums differ between runs in the last digits."""
    msh = cube(comm)

    def run(t_end, state=None, save=False):
        m = llg.magnetization(msh, (0, 0.6, 0.8))
        step = SCHEMES[name](energy_of(msh, seed=3), m, damping=llg.Gilbert(0.2), dt=0.05)
        resume = llg.read_checkpoint(shared_tmp_path / "run.npz", m) if state else None
        *_, last = llg.march(step, t_end=t_end, resume=resume)
        if save:
            llg.write_checkpoint(shared_tmp_path / "run.npz", last)
        return m.x.array.copy()

    whole, _ = run(0.5), run(0.25, save=True)
    rest = run(0.5, state=True)
    assert np.abs(whole - rest).max() <= (0.0 if comm.size < 3 else 1e-8)
    other = llg.magnetization(msh, (0, 0.6, 0.8))
    step = SCHEMES[name](energy_of(msh, seed=4), other, damping=llg.Gilbert(0.2), dt=0.05)
    for _ in llg.march(step, t_end=0.5):
        pass
    assert np.abs(other.x.array - whole).max() > 1e-2


@pytest.mark.parametrize("name", ["midpoint", "tangent_plane"])
def test_coarse_bases_have_noise(comm, name, shared_tmp_path):
    """The same run on any ranks, up to the solvers' tolerances, and after a restart."""
    found = []
    for ranks in (comm, MPI.COMM_SELF):
        h = refine_mesh(mesh.create_unit_square(ranks, 2, 2), 2)
        basis = vector_basis(grps_basis(exchange_form(h.space, 1.0), volume_measurement(h)))
        m = llg.magnetization(h.fine, (0, 0.6, 0.8))
        step = SCHEMES[name](energy_of(h.fine, 1e-3, seed=3), m, damping=0.5, dt=0.05)
        path = shared_tmp_path / f"run_{ranks.size}_{comm.rank if ranks.size == 1 else 0}.npz"
        for state in llg.march(step, t_end=0.1, basis=basis):
            if state.n == 1:
                llg.write_checkpoint(path, state)
        x = np.rint(8 * m.function_space.tabulate_dof_coordinates()[:, :2]).astype(int) @ [1, 9]
        values = m.x.array.reshape(-1, 3)
        found.append(dict(zip(x.tolist(), values.copy(), strict=True)))
        step = SCHEMES[name](energy_of(h.fine, 1e-3, seed=3), m, damping=0.5, dt=0.05)
        for _ in llg.march(step, t_end=0.1, basis=basis, resume=llg.read_checkpoint(path, m)):
            pass
        gap = max(np.abs(found[-1][k] - v).max() for k, v in zip(x.tolist(), values, strict=True))
        assert gap <= (0.0 if ranks.size < 3 else 1e-8)
    assert max(np.abs(values - found[1][key]).max() for key, values in found[0].items()) < 1e-5
    assert np.abs(values - (0, 0.6, 0.8)).max() > 0.02


def test_no_temperature_is_no_noise(comm):
    msh = cube(comm, 2)
    found = []
    for terms in ([], [llg.Thermal(0.0)]):
        m = llg.magnetization(msh, (0, 0.6, 0.8))
        energy = llg.Energy([llg.Exchange(0.3), llg.UniaxialAnisotropy((0, 0, 1), 1.0), *terms])
        for _ in llg.march(llg.heun(energy, m, damping=0.1, dt=0.05), t_end=0.5):
            pass
        found.append(m.x.array.copy())
    assert np.array_equal(*found)


def test_next_run_of_a_step_goes_on_counting(comm):
    """Two runs from one state of one step are two samples; those of two steps are the same."""
    msh = cube(comm, 2)
    ends = []
    for _ in range(2):
        m = llg.magnetization(msh, (0, 0, 1))
        step = llg.heun(energy_of(msh), m, damping=0.1, dt=0.05)
        for _ in range(2):
            m.x.array[:] = np.tile([0.0, 0.0, 1.0], len(m.x.array) // 3)
            for _ in llg.march(step, t_end=0.2, t=0.0):
                pass
            ends.append(m.x.array.copy())
    assert np.array_equal(ends[0], ends[2])
    assert np.array_equal(ends[1], ends[3])
    assert np.abs(ends[0] - ends[1]).max() > 1e-2


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.filterwarnings("error")
def test_noise_is_not_taken_for_damping(comm, name):
    """The damping that schemes add is measured by what m has moved: noise moves it too."""
    msh = cube(comm, 2)
    m = llg.magnetization(msh, (0, 0, 1))
    step = SCHEMES[name](energy_of(msh), m, damping=llg.Gilbert(0.01), dt=0.05)
    *_, last = llg.march(step, t_end=1.7)
    assert last.n == 34  # beyond the looks at steps 4, 8, 16 and 32


def test_energy_is_that_of_the_other_terms(comm):
    msh = cube(comm, 2)
    m = llg.magnetization(msh, (0, 0.6, 0.8))
    energy = energy_of(msh)
    assert energy.total(m, 0.0) == llg.Energy(energy.terms[:2]).total(m)
    assert "Thermal" not in energy.by_term(m)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "why"),
    [
        (llg.rk4, "rk4 does not reproduce"),
        (llg.mpe, "mpe does not reproduce"),
        (llg.mpea, "mpea does not reproduce"),
        (llg.gao, "this scheme does not reproduce"),
        (llg.an, "this scheme does not reproduce"),
        (llg.cimrak, "this scheme does not reproduce"),
        (llg.prohl, "this scheme does not reproduce"),
        (llg.tangent_plane, "theta = 1 does not reproduce"),
    ],
)
def test_wrong_schemes_are_refused(comm, scheme, why):
    msh = cube(comm, 2)
    m = llg.magnetization(msh, (0, 0, 1))
    with pytest.raises(ValueError, match=why):
        scheme(energy_of(msh), m, damping=0.1, dt=0.1)


def test_other_uses_are_refused(comm):
    msh = cube(comm, 2)
    m = llg.magnetization(msh, (0, 0, 1))
    energy = energy_of(msh)
    with pytest.raises(ValueError, match="Thermal has no energy"):
        llg.minimise(energy, m)
    with pytest.raises(ValueError, match="takes one Thermal, got 2"):
        llg.heun(energy + llg.Thermal(0.1), m, damping=0.1, dt=0.1)
    with pytest.raises(ValueError, match="needs another interaction"):
        llg.heun(llg.Energy([llg.Thermal(0.1)]), m, damping=0.1, dt=0.1)
    for scheme in SCHEMES.values():
        step = scheme(energy, m, damping=0.1, dt=0.1)
        with pytest.raises(ValueError, match="takes no adaptive steps"):
            llg.march(step, t_end=1.0, adaptive=llg.Adaptive())


def test_a_rejected_step_has_its_noise_already(comm):
    """Until ends at a step; halving it would pick a path among those that cross."""
    msh = cube(comm, 2)
    m = llg.magnetization(msh, (1, 0, 0))

    def height(m):
        return 0.5 - max(comm.allgather(float(m.x.array[2])))

    step = llg.heun(energy_of(msh, 0.3), m, damping=0.5, dt=0.1)
    until = llg.Until(height, 1e-3)
    with pytest.raises(ValueError, match="a step with thermal noise was rejected"):
        for _ in llg.march(step, t_end=200.0, until=until):
            pass
    m.x.array[:] = np.tile([1.0, 0.0, 0.0], len(m.x.array) // 3)
    step = llg.heun(energy_of(msh, 0.3), m, damping=0.5, dt=0.1)
    *_, last = llg.march(step, t_end=200.0, until=llg.Until(height, 0.1))
    assert last.t < 199.0


@pytest.mark.parametrize("T", [-1.0, math.nan, math.inf, "hot", None, (1.0, 2.0)])
def test_bad_temperatures(T):
    with pytest.raises((TypeError, ValueError), match="temperature"):
        llg.Thermal(T)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "a", None, True])
def test_bad_seeds(seed):
    with pytest.raises((TypeError, ValueError), match="seed"):
        llg.Thermal(0.1, seed=seed)


def test_bad_fields_of_temperature(comm):
    msh = cube(comm, 2)
    function = fem.Function(fem.functionspace(msh, ("DG", 0)))
    function.x.array[:] = 0.1
    if comm.rank == comm.size - 1:
        function.x.array[0] = -0.1
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        llg.Thermal(function)
    with pytest.raises(ValueError, match="shape"):
        llg.Thermal(ufl.SpatialCoordinate(msh))
    m = llg.magnetization(msh, (0, 0, 1))
    step = llg.heun(energy_of(msh, lambda t: -t), m, damping=0.1, dt=0.1)
    with pytest.raises(ValueError, match="temperature must be at least 0"):
        next(llg.march(step, t_end=1.0))
    other = fem.Constant(cube(comm, 2), 0.1)
    with pytest.raises(ValueError, match="another mesh"):
        llg.stepper(llg.heun(energy_of(msh, other), m, damping=0.1, dt=0.1))
    if comm.size > 1:
        step = llg.heun(energy_of(msh, 0.1, seed=comm.rank), m, damping=0.1, dt=0.1)
        with pytest.raises(ValueError, match="seed must be the same on all ranks"):
            llg.stepper(step)


# -- ensembles -------------------------------------------------------------------------------------


def test_ensemble(comm):
    with llg.Ensemble(5) as ensemble:
        assert ensemble.groups == min(5, comm.size)
        found = []
        for copy in ensemble.mine:
            msh = mesh.create_interval(ensemble.comm, 20, [0.0, 20.0])
            m = llg.magnetization(msh, (0, 0, 1))
            anisotropy = llg.UniaxialAnisotropy((0, 0, 1), 1.0)
            anisotropy.quadrature = VERTICES
            energy = llg.Energy([anisotropy, llg.Thermal(0.1, seed=copy)])
            for _ in llg.march(llg.heun(energy, m, damping=0.1, dt=0.1), t_end=0.5):
                pass
            found.append(float(ensemble.comm.allreduce(float(m.x.array[0]), op=MPI.MIN)))
            del msh, m, energy
        every = ensemble.gather(found)
        assert len(set(every)) == 5
        assert comm.bcast(every, root=0) == every
        with pytest.raises(ValueError, match="values"):
            ensemble.gather([1.0] * 9)
    for copies, groups in ((0, None), (1.5, None), (2, 0), (2, comm.size + 2)):
        with pytest.raises((TypeError, ValueError), match=r"copies|groups"):
            llg.Ensemble(copies, groups=groups)
