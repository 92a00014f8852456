# SPDX-License-Identifier: LGPL-3.0-or-later
"""Matrices that depend on m, from kept tensors and scalar parts: the same as DOLFINx assembles."""

from mpi4py import MPI
from petsc4py import PETSc

import numpy as np
import pytest
import ufl
from dolfinx import fem, la, mesh
from dolfinx.fem.petsc import assemble_matrix

import dolfinx_llg as llg
from dolfinx_llg.physics.interaction import QuadraticTerm
from dolfinx_llg.physics.literature import hmm_ex2_initial
from dolfinx_llg.physics.random_media import checkerboard
from dolfinx_llg.solvers import varying_form
from dolfinx_llg.solvers.native import KERNELS
from dolfinx_llg.solvers.operators import StepOperators

SCHEMES = {"gao": llg.gao, "cimrak": llg.cimrak, "an": llg.an, "prohl": llg.prohl}
CELLS = mesh.CellType


def bent(comm):
    """Quadrilaterals that are no parallelograms."""
    msh = mesh.create_unit_square(comm, 6, 5, CELLS.quadrilateral)
    x = msh.geometry.x
    x[:, 0] += 0.1 * np.sin(3 * x[:, 1] + x[:, 0])
    return msh


MESHES = {
    "interval": lambda comm: mesh.create_unit_interval(comm, 9),
    "triangle": lambda comm: mesh.create_unit_square(comm, 6, 5),
    "quadrilateral": lambda comm: mesh.create_unit_square(comm, 6, 5, CELLS.quadrilateral),
    "bent": bent,
    "tetrahedron": lambda comm: mesh.create_unit_cube(comm, 3, 3, 3),
    "hexahedron": lambda comm: mesh.create_unit_cube(comm, 3, 3, 3, CELLS.hexahedron),
}
# Sums of at most some hundred products in another order, in units of the matrix's norm.
ROUND_OFF = 1e-13


@pytest.fixture(autouse=True)
def _small_meshes_too(monkeypatch):
    monkeypatch.setattr(varying_form, "SMALLEST", 0)


class Tensor(QuadraticTerm):
    """A user's own term with coupled components, none of the shapes the package knows of."""

    def __init__(self, strength):
        self.strength = strength

    def bilinear(self, v, w):
        A = ufl.as_matrix([[2, 1, 0], [1, 3, 1], [0, 1, 4]])
        return self.strength * ufl.inner(ufl.dot(A, v), w)


def random_m(step, seed):
    for f in {id(f): f for f in (step.m, step.x)}.values():
        f.x.array[:] = np.random.default_rng(seed).uniform(-1, 1, f.x.array.size)
        f.x.scatter_forward()


def energy_of(msh, *terms):
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0)))
    kappa.x.array[:] = np.random.default_rng(msh.comm.rank).uniform(0.1, 1.0, kappa.x.array.size)
    kappa.x.scatter_forward()
    return kappa, llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 2, 2), 3.0), *terms])


def difference(part, form, operators):
    """Distance of a part's matrix from DOLFINx's, in units of its norm (Frobenius)."""
    found, expected = operators.A.duplicate(), operators.A.duplicate()
    for matrix in (found, expected):
        matrix.zeroEntries()
    part.add_to(found)
    assemble_matrix(expected, fem.form(form))
    expected.assemble()
    size = expected.norm()
    found.axpy(-1.0, expected, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
    distance = found.norm() / size
    for matrix in (found, expected):
        matrix.destroy()
    return distance


def parts_of(step, operators):
    """The varying parts of a step with the forms that they stand for."""
    if step.varying is not None:
        yield operators.varying, step.varying
    if step.nonlinear is not None:
        trial = ufl.TrialFunction(step.m.function_space)
        yield operators.jacobian, ufl.derivative(step.nonlinear, step.x, trial)


@pytest.mark.parametrize(
    ("cell", "name"),
    [(cell, "gao") for cell in MESHES]
    + [(cell, name) for cell in ("triangle", "hexahedron") for name in ("cimrak", "an", "prohl")]
    + [("tetrahedron", "an"), ("tetrahedron", "cimrak"), ("interval", "an")],
)
def test_equals_general_assembly(comm, cell, name):
    """All schemes on all cells, with a DG0 kappa, a tilted axis and a user's own term."""
    msh = MESHES[cell](comm)
    _, energy = energy_of(msh, Tensor(2.0))
    m = llg.magnetization(msh, hmm_ex2_initial)
    step = SCHEMES[name](energy, m, dt=0.01, damping=0.3)
    operators = StepOperators(step, None, blocked=True)
    random_m(step, 5 + comm.rank)
    for part, form in parts_of(step, operators):
        assert difference(part, form, operators) < ROUND_OFF
    # Simplices have few tensors: nothing is integrated in a step.
    if cell in ("triangle", "tetrahedron"):
        assert all(part.all_kept for part, _ in parts_of(step, operators))


def vector_difference(part, form, operators):
    """Distance of a part's vector from DOLFINx's, in units of its norm."""
    found = operators.b.duplicate()
    found.set(0.0)
    part.add_to(found)
    expected = fem.assemble_vector(fem.form(form))
    expected.scatter_reverse(la.InsertMode.add)
    n = found.getLocalSize()
    sums = [np.sum((found.array - expected.array[:n]) ** 2), np.sum(expected.array[:n] ** 2)]
    distance, size = np.sum(operators.b.comm.tompi4py().allgather(sums), axis=0)
    return np.sqrt(distance / size)


@pytest.mark.parametrize("cell", MESHES)
def test_source_equals_general_assembly(comm, cell):
    """Gao's right side, with a user's own term and a field."""
    msh = MESHES[cell](comm)
    _, energy = energy_of(msh, Tensor(2.0), llg.Zeeman((0.3, 0, 1)))
    step = llg.gao(energy, llg.magnetization(msh, hmm_ex2_initial), dt=0.01, damping=0.3)
    operators = StepOperators(step, None, blocked=True)
    random_m(step, 5 + comm.rank)
    assert vector_difference(operators.source, step.source, operators) < ROUND_OFF
    if cell in ("interval", "triangle", "tetrahedron", "hexahedron"):  # few tensors, or too many
        assert len(operators.source.products) == 3 * (cell != "hexahedron")


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("blocked", [True, False])
def test_terms_beyond_the_package(comm, name, blocked):
    """DMI, a field, a damping by region; AIJ for a user's preconditioner."""
    msh = MESHES["tetrahedron"](comm)
    _, energy = energy_of(msh, llg.BulkDMI(0.4), llg.Zeeman((0, 0, 1)))
    m = llg.magnetization(msh, hmm_ex2_initial)
    damping = checkerboard(msh, (2, 2, 2), contrast=3, seed=1, low=0.1)
    step = SCHEMES[name](energy, m, dt=0.01, damping=damping, cross_term="full")
    operators = StepOperators(step, None, blocked=blocked)
    random_m(step, 5 + comm.rank)
    for part, form in parts_of(step, operators):
        assert difference(part, form, operators) < ROUND_OFF


@pytest.mark.parametrize("shape", ["scalar", "coupled", "boundary", "affine"])
def test_own_scheme(comm, shape):
    """A user's own varying form: no polynomial in m, an integral over facets, a constant part."""
    msh = MESHES["triangle"](comm)
    m = llg.magnetization(msh, hmm_ex2_initial)
    V = m.function_space
    u, v, dx, ds = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.dx(msh), ufl.ds(msh)
    form = ufl.inner(ufl.cross(m, u), v) * dx
    form += {
        "scalar": ufl.inner(u, v) / (1 + m[0] ** 2) * dx,
        "coupled": ufl.inner(ufl.cross(ufl.exp(m[0]) * m, u), v) * dx,
        "boundary": ufl.inner(ufl.cross(m, u), v) * ds,
        "affine": ufl.inner(ufl.cross(m + ufl.as_vector([1, 2, 3]), u), v) * dx,
    }[shape]
    blocks = [llg.Block(ufl.inner(u, v) * dx)]
    step = llg.WeakStep(m=m, dt=0.01, constant=blocks, varying=form)
    operators = StepOperators(step, None, blocked=True)
    random_m(step, 5 + comm.rank)
    assert difference(operators.varying, form, operators) < ROUND_OFF


def test_no_quadrature_where_it_is_linear(comm):
    """Exchange and anisotropy: nothing of gao's matrix is integrated in a step."""
    msh = MESHES["triangle"](comm)
    kappa, energy = energy_of(msh)
    m = llg.magnetization(msh, hmm_ex2_initial)
    operators = StepOperators(llg.gao(energy, m, dt=0.01, damping=1.0), None, blocked=True)
    part = operators.varying
    assert part.all_kept
    assert [len(kept.structure) for kept in part.kept] == [1, 1]
    assert 0 < part.kept_bytes < 12 * part.pairs.data.nbytes
    assert any(kappa in form.coefficients() for form in operators.kept_forms)
    cimrak = StepOperators(llg.cimrak(energy, m, dt=0.01, damping=1.0), None, blocked=True)
    assert cimrak.varying.general is None
    assert [part.kind for part in cimrak.varying.products] == ["scalar"] * 2


def test_changed_data(comm):
    """Kept tensors are those of the old kappa until ``reassemble``, then those of the new one."""
    msh = MESHES["triangle"](comm)
    kappa, energy = energy_of(msh)
    step = llg.gao(energy, llg.magnetization(msh, hmm_ex2_initial), dt=0.01, damping=1.0)
    operators = StepOperators(step, None, blocked=True)
    kappa.x.array[:] *= 3.0
    assert difference(operators.varying, step.varying, operators) > 0.1
    operators.reassemble()
    assert difference(operators.varying, step.varying, operators) < ROUND_OFF


def test_changed_data_of_products(comm):
    """What is made of kappa, of a strength and of an axis is made anew before the next assembly."""
    msh = MESHES["tetrahedron"](comm)
    axis, strength = fem.Constant(msh, np.array([1.0, 0.0, 0.0])), fem.Constant(msh, 2.0)
    kappa = fem.Function(fem.functionspace(msh, ("DG", 0)))
    kappa.x.array[:] = 1.0
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy(axis, strength)])
    for name in ("an", "gao"):
        m = llg.magnetization(msh, hmm_ex2_initial)
        step = SCHEMES[name](energy, m, dt=0.01, damping=0.3)
        operators = StepOperators(step, None, blocked=True)
        operators.set_time_step(0.01)
        for number in range(3):
            operators.assemble(0.01)  # a step between changes: they are not given up
            operators.assemble(0.01)
            kappa.x.array[:] = 2.0 + number + comm.rank
            kappa.x.scatter_forward()
            strength.value = 3.0 + number
            axis.value = np.array([[0.0, 0.6, 0.8], [0.6, 0.8, 0.0], [1.0, 0.0, 0.0]][number])
            random_m(step, number + comm.rank)
            operators.assemble(0.01)
            assert difference(operators.varying, step.varying, operators) < ROUND_OFF
            if name == "gao":
                assert vector_difference(operators.source, step.source, operators) < ROUND_OFF
        assert operators.varying.all_kept


def test_without_a_compiler(comm, monkeypatch, shared_tmp_path):
    """Without kernels everything is left to DOLFINx."""
    monkeypatch.setattr(KERNELS, "loaded", None)
    monkeypatch.setenv("DOLFINX_LLG_CACHE", str(shared_tmp_path / "none"))
    monkeypatch.setenv("CC", "false")
    msh = MESHES["triangle"](comm)
    _, energy = energy_of(msh)
    step = llg.gao(energy, llg.magnetization(msh, hmm_ex2_initial), dt=0.01, damping=1.0)
    operators = StepOperators(step, None, blocked=True)
    assert not operators.varying.all_kept
    assert difference(operators.varying, step.varying, operators) < ROUND_OFF


def test_data_that_change_in_every_step(comm):
    """After some renewals in a row nothing is kept any more, and the matrix is the right one."""
    msh = MESHES["triangle"](comm)
    kappa, energy = energy_of(msh)
    step = llg.gao(energy, llg.magnetization(msh, hmm_ex2_initial), dt=0.01, damping=1.0)
    operators = StepOperators(step, None, blocked=True)
    operators.set_time_step(0.01)
    for _ in range(5):
        kappa.x.array[:] *= 1.1
        operators.reassemble()
        operators.assemble(0.01)
    assert operators.varying.kept_forms == []
    assert difference(operators.varying, step.varying, operators) < ROUND_OFF


@pytest.mark.parametrize("terms", ["quadratic", "with a field"])
def test_newton_residual(comm, terms):
    """Prohl's residual, by half of its matrix where N is quadratic, is the assembled one."""
    msh = MESHES["triangle"](comm)
    _, energy = energy_of(msh, *([llg.Zeeman((0, 0, 1))] if terms == "with a field" else []))
    m = llg.magnetization(msh, hmm_ex2_initial)
    step = llg.prohl(energy, m, dt=0.01, damping=0.3)
    operators = StepOperators(step, None, blocked=True)
    assert operators.quadratic == (terms == "quadratic")
    operators.set_time_step(0.01)
    operators.assemble(0.01)
    linear = operators.A.copy()
    u, found, expected = (operators.b.duplicate() for _ in range(3))
    random_m(step, 5 + comm.rank)
    u.array[:] = step.x.x.array[: u.getLocalSize()]
    for _ in range(2):  # the second time at another iterate
        u.scale(0.7)
        operators.nonlinear_residual(linear, u, found)
        operators.newton_matrix(linear, u)
        vector = fem.assemble_vector(fem.form(step.nonlinear))
        vector.scatter_reverse(la.InsertMode.add)
        linear.mult(u, expected)
        expected.array[:] += vector.array[: u.getLocalSize()]
        expected.axpy(-1.0, operators.b)
        size = expected.norm()
        found.axpy(-1.0, expected)
        assert found.norm() < ROUND_OFF * size
        operators.A.axpy(-1.0, linear, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        jacobian = operators.A.duplicate()
        jacobian.zeroEntries()
        assemble_matrix(jacobian, fem.form(list(parts_of(step, operators))[-1][1]))
        jacobian.assemble()
        size = jacobian.norm()
        jacobian.axpy(-1.0, operators.A, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        assert jacobian.norm() < ROUND_OFF * size + 1e-15 * linear.norm()


def own_step(msh, strength):
    """m_t + strength m x d_1 m' = 0."""
    m = llg.magnetization(msh, hmm_ex2_initial)
    V = m.function_space
    u, v, dx = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.dx(msh)
    form = strength * ufl.inner(ufl.cross(m, ufl.dot(ufl.grad(u), ufl.as_vector([1, 0]))), v) * dx
    blocks = [llg.Block(ufl.inner(u, v) * dx, lambda dt: 1 / dt, m, lambda dt: 1 / dt)]
    return llg.WeakStep(m=m, dt=0.01, constant=blocks, varying=form)


def test_watched_in_a_run(comm):
    """A constant of the varying form alone, changed in the user's loop, is taken up."""
    msh = MESHES["triangle"](comm)
    values = []
    for start, change in ((1.0, 2.0), (1.0, 1.0)):
        strength = fem.Constant(msh, start)
        step = own_step(msh, strength)
        for _ in llg.march(step, t_end=0.02, petsc_options={"ksp_rtol": 1e-12}):
            strength.value = change
        values.append(step.m.x.array.copy())
    # The same by a run that begins with the changed constant at the second step.
    step = own_step(msh, fem.Constant(msh, 1.0))
    for _ in llg.march(step, t_end=0.01, petsc_options={"ksp_rtol": 1e-12}):
        pass
    again = own_step(msh, fem.Constant(msh, 2.0))
    again.m.x.array[:] = step.m.x.array
    for _ in llg.march(again, t_end=0.01, petsc_options={"ksp_rtol": 1e-12}):
        pass
    distances = [np.abs(again.m.x.array - value).max(initial=0.0) for value in values]
    found, stale = np.max(comm.allgather(distances), axis=0)
    assert found < 1e-10 < 1e-4 < stale


def test_levels_are_not_kept(comm):
    """An integral with an earlier level, which changes in every step, is integrated anew."""
    msh = MESHES["triangle"](comm)
    step = own_step(msh, fem.Constant(msh, 1.0))
    V = step.m.function_space
    old = fem.Function(V)
    old.x.array[:] = step.m.x.array
    u, v, dx = ufl.TrialFunction(V), ufl.TestFunction(V), ufl.dx(msh)
    step.varying += old[0] ** 2 * ufl.inner(ufl.cross(step.m, u), v) * dx
    step.levels, form = (old,), step.varying
    operators = StepOperators(step, None, blocked=True)
    old.x.array[:] *= 3.0
    assert difference(operators.varying, form, operators) < ROUND_OFF
    assert len(operators.varying.kept) == 1


def test_small_meshes_are_left_to_dolfinx(comm, monkeypatch):
    """Below some thousand cells nothing is looked for, and nothing kept."""
    monkeypatch.setattr(varying_form, "SMALLEST", 100)
    msh = MESHES["triangle"](comm)
    _, energy = energy_of(msh)
    step = llg.gao(energy, llg.magnetization(msh, hmm_ex2_initial), dt=0.01, damping=1.0)
    operators = StepOperators(step, None, blocked=True)
    assert operators.varying.kept_forms == []
    assert difference(operators.varying, step.varying, operators) < ROUND_OFF


def test_states_survive(comm):
    """Looking for structure leaves m and all data as they were."""
    msh = MESHES["triangle"](comm)
    kappa, energy = energy_of(msh)
    m = llg.magnetization(msh, hmm_ex2_initial)
    before = m.x.array.copy(), kappa.x.array.copy()
    StepOperators(llg.prohl(energy, m, dt=0.01, damping=1.0), None, blocked=True)
    assert np.array_equal(m.x.array, before[0])
    assert np.array_equal(kappa.x.array, before[1])
    assert MPI.COMM_WORLD.size == comm.size
