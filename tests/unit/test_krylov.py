# SPDX-License-Identifier: LGPL-3.0-or-later
"""Options in layers, results with a reason, and one error: on a small matrix of known inverse."""

import math
import warnings

from petsc4py import PETSc

import numpy as np
import pytest

import dolfinx_llg as llg
from dolfinx_llg.la.command_line import take_solver_options
from dolfinx_llg.la.krylov import Krylov, Newton, Options

N = 40


def laplacian(comm):
    """The matrix tridiag(-1, 3, -1): conditioned well, but not by its diagonal alone."""
    A = PETSc.Mat().createAIJ(((PETSc.DECIDE, N), (PETSc.DECIDE, N)), nnz=3, comm=comm)
    for row in range(*A.getOwnershipRange()):
        A.setValue(row, row, 3.0)
        for column in (row - 1, row + 1):
            if 0 <= column < N:
                A.setValue(row, column, -1.0)
    A.assemble()
    return A


def system(comm):
    """Matrix, solution and right side."""
    A = laplacian(comm)
    x, b = A.createVecs()
    x.array[:] = np.cos(np.arange(*x.getOwnershipRange()) ** 2)
    A.mult(x, b)
    return A, x, b


def solved(comm, user=None, **kwargs):
    """The result, and the error of the solution."""
    A, exact, b = system(comm)
    krylov = Krylov(A, Options("test_", user), **kwargs)
    x = b.duplicate()
    result = krylov.solve(b, x)
    x.axpy(-1.0, exact)
    krylov.destroy()
    return result, x.norm() / exact.norm()


def test_user_above_defaults_and_command_line_above_user(comm):
    database = PETSc.Options()
    before = database.getAll()
    counts = []
    for default, user, command in ((1e-2, None, None), (1e-2, 1e-6, None), (1e-2, 1e-6, 1e-10)):
        if command is not None:
            database["test_ksp_rtol"] = command
        defaults = {"ksp_type": "cg", "pc_type": "jacobi", "ksp_rtol": default}
        result, error = solved(comm, user and {"ksp_rtol": user}, defaults=defaults)
        counts.append(result.iterations)
        # The condition of the matrix is below 5, and CG's residual is the preconditioned one.
        assert error < 5 * (command or user or default)
    database.delValue("test_ksp_rtol")
    assert counts[0] < counts[1] < counts[2]
    assert database.getAll() == before


def test_zero_and_not_finite_right_sides(comm):
    A, x, b = system(comm)
    krylov = Krylov(A, Options("test_"), defaults={"ksp_type": "cg"})
    b.set(0.0)
    assert krylov.solve(b, x).check("it").iterations == 0
    assert x.norm() == 0.0
    b.set(math.nan)
    with pytest.raises(llg.ConvergenceError, match="side is not finite; look for NaN") as caught:
        krylov.solve(b, x).check("it", 0.5)
    assert caught.value.t == 0.5
    assert "smaller dt" not in str(caught.value)


def test_a_result_carries_its_reason(comm):
    result, _ = solved(comm, {"ksp_max_it": 1, "pc_type": "none"})
    assert not result.converged
    assert (result.reason, result.iterations) == (-3, 1)
    with pytest.raises(llg.ConvergenceError, match=r"the field did not converge at t = 0\.25: DIV"):
        result.check("the field", 0.25)
    with pytest.raises(llg.ConvergenceError, match="iterations; try other petsc_options"):
        result.check("the field")


@pytest.mark.parametrize(
    "method", [{"ksp_type": "preonly"}, {"ksp_type": "richardson", "ksp_norm_type": "none"}]
)
def test_methods_without_a_test_are_measured(comm, method):
    """PETSc lets preonly with any preconditioner pass as converged."""
    direct = {"pc_type": "lu"} | ({"pc_factor_mat_solver_type": "mumps"} if comm.size > 1 else {})
    result, error = solved(comm, method | direct, defaults={"ksp_max_it": 2})
    assert result.converged
    assert error < 1e-12  # 5 times round-off, with a margin of 1e3
    result, error = solved(comm, method | {"pc_type": "jacobi"}, defaults={"ksp_max_it": 2})
    assert error > 1e-2
    assert not result.converged
    assert "'jacobi' tests no convergence and leaves" in result.failure


def test_every_unused_option_is_named_once(comm):
    A, x, b = system(comm)
    options = Options("test_", {"ksp_rtoll": 1, "inner_pc_typ": "lu", "inner_pc_type": "jacobi"})
    inner = Krylov(A, options.inside("inner_"), defaults={"ksp_type": "preonly"})
    inner.set_up()
    krylov = Krylov(A, options)
    with pytest.warns(UserWarning, match="used: .'ksp_rtoll', 'inner_pc_typ'.") as record:
        krylov.solve(b, x)
    assert len(record) == 1
    assert record[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        krylov.solve(b, x)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ksp_type", "gmress"),
        ("pc_type", "iluu"),
        ("ksp_rtol", "small"),
        ("ksp_rtol", -3),
        ("ksp_max_it", 1.5),
        ("ksp_pc_side", "rigth"),
        ("pc_factor_mat_solver_type", "mump"),
        ("mg_levels_pc_type", "sorr"),
    ],
)
def test_misspelt_values_are_named(comm, key, value):
    before = PETSc.Options().getAll()
    more = {"mg_levels_pc_type": "gamg", "pc_factor_mat_solver_type": "lu"}
    user = {key: value} | ({"pc_type": more[key]} if key in more else {})
    with pytest.raises(ValueError, match=f"not understand {key} = '{value}' .prefix test_.: "):
        solved(comm, user)
    assert PETSc.Options().getAll() == before
    assert solved(comm)[0].converged


def test_a_preconditioner_in_python_gives_way_to_an_option(comm):
    class Diagonal:
        """The inverse of the diagonal; it counts its uses."""

        uses = 0

        def apply(self, pc, r, y):
            self.uses += 1
            y.array[:] = r.array_r / 3.0

    ours = Diagonal()
    result, _ = solved(comm, context=ours)
    assert result.converged
    assert ours.uses >= result.iterations
    ours = Diagonal()
    assert solved(comm, {"pc_type": "none"}, context=ours)[0].converged
    assert ours.uses == 0


def test_a_method_of_the_users_has_its_own_side(comm):
    """CG refuses a preconditioner on the right."""
    assert solved(comm, {"ksp_type": "cg", "pc_type": "jacobi"})[0].converged


def test_newton(comm):
    """A x + x^3 = b: quadratic convergence, a tolerance relative to b, a failure with reason."""
    A, exact, b = system(comm)
    b.array[:] += exact.array**3
    J = A.duplicate(copy=True)

    def residual(x, F):
        A.mult(x, F)
        F.array[:] += x.array_r**3 - b.array

    def jacobian(x):
        A.copy(J)
        diagonal = x.duplicate()
        diagonal.array[:] = 3.0 * x.array_r**2
        J.setDiagonal(diagonal, addv=PETSc.InsertMode.ADD_VALUES)

    defaults = {"snes_rtol": 1e-10, "snes_stol": 0.0, "ksp_rtol": 1e-12}
    found = {}
    for name, user in (("good", {}), ("short", {"snes_max_it": 1}), ("typo", {"snes_rtoll": 1})):
        newton = Newton(
            J, Options("test_", user), residual=residual, jacobian=jacobian, defaults=defaults
        )
        x = b.duplicate()
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("always")
            found[name] = newton.solve(x, size=b.norm())
        assert len(record) == (name == "typo")
        newton.destroy()
    assert found["good"].check("it").newton_iterations <= 8
    x.axpy(-1.0, exact)
    assert x.norm() < 1e-9 * exact.norm()  # the Jacobian's condition is below 8
    with pytest.raises(llg.ConvergenceError, match="iterations in 1 full Newton steps"):
        found["short"].check("it", 1.0)


def test_prefixes(comm):
    with pytest.raises(ValueError, match="petsc_options_prefix must not be empty"):
        Options("")
    options = Options("test_", {"inner_pc_type": "lu"})
    assert options.inside("inner_").given("pc_type")
    assert options.inside("inner_").given()
    assert not options.inside("other_").given()
    assert not options.given("pc_type")


def test_the_prefixes_of_the_package_are_taken_from_a_command_line():
    """And nothing else: other words, and values that begin with a minus, stay with their option."""
    database = PETSc.Options()
    before = database.getAll()
    words = ["run.py", "--n", "5", "-llg_ksp_rtol", "1e-3", "-llg_spin_pc_type", "jacobi", "-v"]
    words += ["-stray_field_ksp_rtol", "1e-7", "-cell_ksp_monitor", "-llg_ksp_shift", "-2.0", "out"]
    take_solver_options(words)
    assert words == ["run.py", "--n", "5", "-v", "out"]
    added = {key: value for key, value in database.getAll().items() if key not in before}
    for key in added:
        database.delValue(key)
    assert added == {
        "llg_ksp_rtol": "1e-3",
        "llg_spin_pc_type": "jacobi",
        "stray_field_ksp_rtol": "1e-7",
        "cell_ksp_monitor": added["cell_ksp_monitor"],
        "llg_ksp_shift": "-2.0",
    }
