# SPDX-License-Identifier: LGPL-3.0-or-later
"""Runs by tensors, against the same coarse runs with assembly on the fine mesh."""

import math

import numpy as np
import pytest
import ufl
from dolfinx import fem, la

import dolfinx_llg as llg
from dolfinx_llg.physics import cell_coefficient
from dolfinx_llg.physics.literature import hmm_ex2_initial
from dolfinx_llg.reduction import local_modes, tensor_reduce
from dolfinx_llg.reduction.tensor_terms import mass_tensor, tensor_terms
from dolfinx_llg.reduction.tensors import ModeTensors
from dolfinx_llg.solvers.coarse_fields import CoarseFields
from dolfinx_llg.solvers.stepper import stepper

T = 0.02
SCHEMES = [llg.gao, llg.cimrak, llg.an, llg.prohl]


def everything(space):
    """All terms whose field is linear in m, with data in space and in time, and a rough Ms."""
    h, kappa, _ = space
    x, t = ufl.SpatialCoordinate(h.fine), fem.Constant(h.fine, 0.0)
    Ms = cell_coefficient(h.fine, lambda x: 1.0 + 0.5 * ufl.sin(9 * x[0]))
    q_u = cell_coefficient(h.fine, lambda x: 10.0 + 5.0 * ufl.sin(20 * x[1]))
    grains = fem.Function(fem.functionspace(h.fine, ("DG", 0, (3,))))
    grains.interpolate(lambda x: np.stack([np.cos(7 * x[0]), np.sin(7 * x[0]), 0 * x[0]]))
    D = cell_coefficient(h.fine, lambda x: 2.0 + ufl.sin(7 * x[1]))
    wave = ufl.as_vector((10 * x[0] * ufl.cos(200 * t), 0 * x[1], 5 - 20 * x[1]))
    terms = [
        llg.Exchange(kappa),
        llg.UniaxialAnisotropy(grains, q_u),
        llg.BulkDMI(D),
        llg.InterfacialDMI(3.0),
        llg.Zeeman(lambda t: (40 * math.cos(300 * t), 40 * math.sin(300 * t), 0.0), Ms=Ms),
        llg.Zeeman(wave, time=t, Ms=Ms),
    ]
    alpha = cell_coefficient(h.fine, lambda x: 0.5 + 0.3 * ufl.sin(5 * x[1]))
    return llg.Energy(terms, Ms=Ms), llg.Gilbert(alpha), D


def h1_norm(m):
    form = fem.form((ufl.inner(m, m) + ufl.inner(ufl.grad(m), ufl.grad(m))) * ufl.dx)
    return math.sqrt(sum(m.function_space.mesh.comm.allgather(fem.assemble_scalar(form))))


def compare(space, scheme, energy, tolerance, **options):
    """Return the relative H1 difference of the runs, the reduced one, its energies and m's."""
    h, _, basis = space
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    start = m.x.array.copy()
    for _ in llg.march(scheme(energy, m, projection=False, **options), t_end=T, basis=basis):
        pass
    expected = m.copy()
    m.x.array[:] = start
    run = tensor_reduce(scheme, energy, m, basis, h, tolerance=tolerance, **options)
    assert len(list(llg.march(run, t_end=T))) == 8
    run.reconstruct()
    size = h1_norm(expected)
    expected.x.array[:] -= m.x.array
    return h1_norm(expected) / size, run, run.by_term(energy), energy.by_term(m)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme(space, scheme):
    """Oblique axis: the standard scheme's run to the truncation of the modes.

    Observed 2e-4, 1e-5 and 2e-6 for 1e-3, 1e-4 and 1e-6; the last is the projection of q on the
    modes. R moves m by 1e-1, and so do the terms in which the schemes differ by 1e-3.
    """
    energy = llg.Energy([llg.Exchange(space[1]), llg.UniaxialAnisotropy((1, 2, 0.5), 3.0)])
    difference, run, found, exact = compare(space, scheme, energy, 1e-4, dt=T / 8, damping=0.7)
    assert difference < 3e-5
    assert found == pytest.approx(exact, rel=1e-4)
    assert run.total(energy) == pytest.approx(sum(exact.values()), rel=1e-4)
    # A tensor of exchange and one of all multiples of the mass, their pairs, matrices of cells.
    # Three of each tensor make the cross product, one more the reaction of cimrak and prohl, nine
    # couple all components; Newton's method has those of its residual and of its matrix beside.
    size = 8 if scheme is llg.prohl else 4
    matrices = {llg.gao: 6, llg.cimrak: 7, llg.an: 9, llg.prohl: 1 + 7 + 9}[scheme]
    wanted = 0
    for group in run.stepper.operators.modes.groups:
        r = group.modes
        cells = group.cells.stop - group.cells.start
        wanted += cells * (2 * (size * r**3 + 8 * r**2) + size * matrices * r**2)
    assert run.tensor_bytes() == sum(space[0].comm.allgather(wanted))


def test_the_full_cross_term(space):
    """As exact as with the printed one; the runs of the two differ by 5e-3."""
    energy = llg.Energy([llg.Exchange(space[1])])
    options = {"dt": T / 8, "damping": 0.7, "cross_term": "full"}
    difference, run, *_ = compare(space, llg.cimrak, energy, 1e-4, **options)
    assert difference < 3e-5
    assert len(run.stepper.operators.model.tensors) == 3


def reduced_step(space, scheme, energy, damping, tolerance):
    """Return a run, its operators made ready at the start for a step, and what the forms know."""
    h, _, basis = space
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    run = tensor_reduce(scheme, energy, m, basis, h, tolerance=tolerance, dt=T, damping=damping)
    reduced = stepper(run)
    reduced.start(0.0)
    run.fine.update(m, T)
    run.reconstruct()
    reduced.operators.set_time_step(T)
    reduced.operators.assemble(T)
    return run, reduced.operators


def residual(step, c):
    """Return A c - b, of a Newton step with N(c)."""
    F = step.b.duplicate()
    if step.step.nonlinear is not None:
        step.nonlinear_residual(step.A, c, F)
        return F
    step.A.mult(c, F)
    F.axpy(-1.0, step.b)
    return F


def test_every_term(space):
    """The residual of a step at another field than m is that of UFL: all terms, alpha by cell."""
    basis = space[2]
    energy, damping, _ = everything(space)
    run, step = reduced_step(space, llg.gao, energy, damping, 1e-6)
    fine, u = run.fine, run.fine.x
    c, values = basis.P.createVecRight(), basis.P.createVecLeft()
    c.array[:] = np.cos(np.arange(*c.getOwnershipRange()))
    basis.prolong(c, values)
    u.x.array[: values.getLocalSize()] = values.array
    u.x.scatter_forward()
    form = ufl.action(fine.varying, u) - fine.source
    for block in fine.constant:
        form += block.weight(T) * ufl.action(block.form, u)
        if block.history is not None:
            form -= block.history_weight(T) * ufl.action(block.form, block.history)
    found = fem.assemble_vector(fem.form(form))
    found.scatter_reverse(la.InsertMode.add)
    values.array[:] = found.array[: values.getLocalSize()]
    expected = c.duplicate()
    basis.P.multTranspose(values, expected)
    size = expected.norm()
    expected.axpy(-1.0, residual(step, c))
    assert expected.norm() < 2e-5 * size
    exact = energy.by_term(fine.m)
    found = run.by_term(energy)
    assert found.keys() == exact.keys()
    assert found == pytest.approx(exact, rel=1e-5, abs=1e-5 * max(map(abs, exact.values())))


def test_all_schemes_have_one_residual_at_rest(space):
    """With m' = m they are one equation; Newton's matrix is the derivative of the residual."""
    energy, damping, _ = everything(space)
    residuals = {}
    for scheme in SCHEMES:
        run, step = reduced_step(space, scheme, energy, damping, 1e-2)
        c = step.b.duplicate()
        step.gather(run.step.m, c)
        F = residual(step, c)
        residuals[scheme.__name__] = F.array.copy()
        assert F.norm() > 1e-2 * step.b.norm()
    expected = residuals.pop("prohl")  # double precision
    for found in residuals.values():
        assert np.abs(found - expected).max(initial=0.0) < 1e-5 * F.norm()
    # The residual is quadratic: its central difference is its derivative, to round-off.
    d, image = c.duplicate(), c.duplicate()
    d.array[:] = 0.1 * np.cos(np.arange(*d.getOwnershipRange()))
    c.axpy(1.0, d)
    difference = residual(step, c)
    c.axpy(-2.0, d)
    difference.axpy(-1.0, residual(step, c))
    c.axpy(1.0, d)
    step.newton_matrix(step.A, c)
    step.A.mult(d, image)
    difference.axpy(-2.0, image)
    assert difference.norm() < 1e-11 * image.norm()


def test_tensors_are_the_integrals(space):
    """Against UFL, on one mode after another: int kappa |grad u|^2 u and int u^3 of u in V_H."""
    h, kappa, basis = space
    modes = local_modes(h, basis.components, tolerance=1e-8)
    tensors = ModeTensors(modes)
    m = llg.magnetization(h.fine, (1, 0, 0))
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 0, 1), 2.0)])
    fields = CoarseFields(energy, basis, m.function_space)
    mass = mass_tensor(m, tensors)
    exchange, anisotropy = tensor_terms(
        energy, m, tensors, fields, fem.Constant(h.fine, 1.0)
    ).implicit
    assert len(tensors) == 2
    np.testing.assert_allclose(exchange.weights[0].C, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(anisotropy.weights[0].C, np.diag([2.0, 2, 0]), atol=1e-12)
    assert anisotropy.weights[0].tensor is mass[0]
    c, x = basis.components[0].createVecRight(), basis.components[0].createVecLeft()
    c.array[:] = np.cos(3.0 * np.arange(*c.getOwnershipRange()))
    basis.components[0].mult(c, x)
    u = fem.Function(h.space)
    u.x.array[: x.getLocalSize()] = x.array
    u.x.scatter_forward()
    forms = [kappa * ufl.inner(ufl.grad(u), ufl.grad(u)) * u * ufl.dx, u**3 * ufl.dx]
    everything = np.concatenate(h.comm.allgather(c.array))
    y = modes.gather(np.column_stack([everything] * 3))[:, :, :1]
    for form, tensor in zip(forms, (exchange.weights[0].tensor, mass[0]), strict=True):
        exact = sum(h.comm.allgather(fem.assemble_scalar(fem.form(form))))
        local = 0.0
        for group, part in zip(modes.groups, tensor.act(y), strict=True):
            own = y[group.cells, : group.modes, 0]
            local += float(np.einsum("ncb,nc,nb->", part[..., 0], own, own))
        # Single precision, 6e-8, of integrals that cancel to a hundredth of their parts.
        assert sum(h.comm.allgather(local)) == pytest.approx(exact, rel=1e-5)


def test_what_has_no_tensors_is_refused(space):
    h, kappa, basis = space
    m = llg.magnetization(h.fine, (1, 0, 0))
    plain = llg.Energy([llg.Exchange(kappa)])
    options = {"dt": T, "damping": 1.0}

    def refused(term, words, scheme=llg.gao):
        with pytest.raises(ValueError, match=words):
            tensor_reduce(scheme, plain + term, m, basis, h, **options)

    with pytest.raises(ValueError, match="gao, cimrak, an and prohl alone"):
        tensor_reduce(llg.tangent_plane, plain, m, basis, h, **options)
    with pytest.raises(ValueError, match="leaves the coarse space"):
        tensor_reduce(llg.an, plain, m, basis, h, projection=True, **options)
    refused(llg.ZhangLi((1.0, 0.0), 0.1), "that of ZhangLi is not")
    refused(llg.CubicAnisotropy(1.0), "that of CubicAnisotropy is not")
    refused(llg.SurfaceAnisotropy(1.0), "SurfaceAnisotropy has one over")

    class Follows(llg.Interaction):
        """A field that a solve of its own would make of m."""

        h = fem.Function(m.function_space)

        def gradient(self, m, w):
            return -ufl.inner(self.h, w)

        def update(self, m, t):
            self.h.x.array[:] = -0.1 * m.x.array

    refused(Follows(), "computes its field from m")

    class Solve(llg.FieldTerm):
        """A field without a matrix."""

        def compute(self, m, h):
            h.x.array[:] = -m.x.array

    refused(Solve(), "the field of Solve as a matrix")


def test_changed_data_are_noticed(space):
    """A kappa, a D or a damping that a run has read; another one's energies."""
    h, _, basis = space
    energy, damping, D = everything(space)
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    run = tensor_reduce(llg.gao, energy, m, basis, h, tolerance=1e-1, dt=T / 8, damping=damping)
    states = llg.march(run, t_end=T)
    next(states)
    D.x.array[:] *= 2.0
    with pytest.raises(RuntimeError, match="data of the terms or the damping changed"):
        next(states)
    with pytest.raises(ValueError, match="Exchange is no term of this run"):
        run.total(llg.Energy([llg.Exchange(1.0)]))
