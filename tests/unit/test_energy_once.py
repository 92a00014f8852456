# SPDX-License-Identifier: LGPL-3.0-or-later
"""Coarse spaces, cell problems and upscaled runs made from the energy of the run alone."""

import math

from mpi4py import MPI

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    anisotropic_form,
    coarse_basis,
    exchange_form,
    facet_measurement,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.grps.energies import energy_matrix
from dolfinx_llg.hmm import MacroGrid, MicroBox, UpscaledField, upscaled_tensor
from dolfinx_llg.homogenization import homogenize
from dolfinx_llg.physics import component_forms, exchange_coefficient

pytestmark = pytest.mark.most_ranks(2)

EPS = 0.25


class OwnExchange(llg.QuadraticTerm):
    """``kappa d_1 m . d_1 m + d_2 m . d_2 m``, in two dimensions."""

    flux_along_gradient = True

    def __init__(self, kappa):
        self.kappa = kappa

    def bilinear(self, v, w):
        one, two = (ufl.inner(v.dx(k), w.dx(k)) for k in (0, 1))
        return self.kappa(ufl.SpatialCoordinate(ufl.domain.extract_unique_domain(v))) * one + two


def level(comm):
    return refine_mesh(mesh.create_unit_square(comm, 4, 4), 3)


def distance(A, B):
    return (A - B).norm() / B.norm()


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 0, 2), (1, 2, 2)])
def test_forms_of_components(comm, axis):
    """Exchange with q_u (1 - u_i^2): (V1) along the axis and (V2) across it."""
    h = level(comm)
    kappa, u = llg.cell_coefficient(h.fine, llg.literature.ms_trig), np.array(axis, dtype=float)
    u /= np.linalg.norm(u)
    energy = llg.Energy(
        [
            llg.Exchange(kappa),
            llg.UniaxialAnisotropy(axis, 3.0),
            llg.UniaxialAnisotropy((0, 1, 0), -2.0),  # explicit: no part of a coarse space
            llg.Zeeman((0, 0, 1)),
        ]
    )
    functionals = volume_measurement(h)
    for i, form in enumerate(component_forms(energy, h.space)):
        q = 3.0 * (1.0 - u[i] ** 2)
        other = anisotropic_form(h.space, kappa, q) if q > 1e-12 else exchange_form(h.space, kappa)
        found, expected = (energy_matrix(f, functionals) for f in (form, other))
        # The sums run in another order, and 1 - u_i^2 carries one rounding.
        assert distance(found, expected) < 1e-13


def test_coarse_basis_is_the_one_of_the_forms(comm):
    h = level(comm)
    kappa = llg.cell_coefficient(h.fine, llg.literature.ms_trig)
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
    basis = coarse_basis(energy, h, functionals="facet", ell=2, localization="patches")
    functionals = facet_measurement(h)
    scalars = [
        grps_basis(form, functionals, ell=2)
        for form in (exchange_form(h.space, kappa), anisotropic_form(h.space, kappa))
    ]
    expected = vector_basis([scalars[0], scalars[1], scalars[1]])
    assert basis.components[1] is basis.components[2]  # computed once
    assert distance(basis.P, expected.P) < 1e-10  # factorizations of matrices that differ by 1e-16
    alone = coarse_basis(llg.Energy([llg.Exchange(kappa)]), h)
    assert alone.components[0] is alone.components[2]
    assert alone.dim == 32
    same = grps_basis(
        exchange_form(h.space, kappa), volume_measurement(h), ell=3, localization="constants"
    )
    assert distance(alone.components[0], same.P) < 1e-10


def test_a_run_in_the_space_of_its_energy(comm):
    """The coarse run follows the fine one to the error of 32 functions (2 % at T = 0.02)."""
    h = level(comm)
    kappa = llg.cell_coefficient(h.fine, llg.literature.ms_trig)
    energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
    runs = []
    for basis in (None, coarse_basis(energy, h)):
        m = llg.magnetization(h.fine, llg.literature.hmm_ex2_initial)
        step = llg.gao(energy, m, dt=2e-3, damping=1.0, projection=True)
        for _ in llg.march(step, t_end=0.02, basis=basis):
            pass
        runs.append(m)
    difference = fem.form(ufl.inner(runs[0] - runs[1], runs[0] - runs[1]) * ufl.dx)
    assert math.sqrt(comm.allreduce(fem.assemble_scalar(difference))) < 0.02


def test_the_cell_problem_of_an_energy(comm):
    """A formula, cell data and a term of the user's own: the tensor of the coefficient itself."""
    n = 8
    unit = mesh.create_unit_square(comm, n, n)
    cell = mesh.create_rectangle(comm, [[0.0, 0.0], [EPS, EPS]], [n, n])
    energy = llg.Energy(
        [llg.Exchange(llg.literature.hmm_ex2(EPS)), llg.UniaxialAnisotropy((1, 0, 0))]
    )
    expected = homogenize(llg.literature.hmm_ex2(1.0), unit).kappa_hom
    np.testing.assert_allclose(homogenize(energy, cell).kappa_hom, expected, rtol=1e-10)
    # Cell data on the cell, and twice half of them.
    data = llg.cell_coefficient(unit, llg.literature.hmm_ex2(1.0))
    half = llg.cell_coefficient(unit, lambda x: 0.5 * llg.literature.hmm_ex2(1.0)(x))
    expected = homogenize(data, unit).kappa_hom
    for terms in ([llg.Exchange(data)], [llg.Exchange(half), llg.Exchange(half)]):
        found = homogenize(llg.Energy(terms), unit).kappa_hom
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    # A laminate across x_1 for d_1 alone: sqrt(3)/2 and 1, of order 4 in h.
    own = llg.Energy([OwnExchange(llg.literature.hmm_ex1(1.0))])
    found = homogenize(own, unit).kappa_hom
    np.testing.assert_allclose(found, np.diag([math.sqrt(0.75), 1.0]), atol=0.5 / n**4)


def test_the_upscaled_energy(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    anisotropy, field = llg.UniaxialAnisotropy((1, 0, 0)), llg.Zeeman((0, 0, 1), Ms=2.0)
    energy = llg.Energy([anisotropy, llg.Exchange(llg.literature.hmm_ex2(EPS)), field], Ms=2.0)
    kappa_hom = llg.literature.HMM_EX2_KAPPA_HOM
    upscaled = llg.with_exchange(energy, kappa_hom)
    assert upscaled.terms[1:] == (anisotropy, field)
    assert upscaled.Ms == 2.0
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0 * x[0]]))
    parts = upscaled.by_term(m)
    alone = llg.Energy([llg.Exchange(kappa_hom)]).total(m)
    assert parts["Exchange"] == pytest.approx(alone, rel=1e-14)


def test_the_micro_problems_of_an_energy(comm):
    """The same tensor and the same field as from the coefficient itself."""
    eps, domain = 1 / 80, mesh.create_unit_interval(comm, 6)
    kappa = llg.literature.hmm_eq40(eps)
    energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman((1, 2, 3))])
    box = MicroBox(dim=1, eps=eps, mu=2.0 * eps, mu_outer=3.0 * eps, eta=0.3 * eps**2)
    found, expected = (upscaled_tensor(domain, a, box).kappa.x.array for a in (energy, kappa))
    np.testing.assert_array_equal(found, expected)
    grid = MacroGrid(1, 16)
    m = np.ascontiguousarray(llg.literature.hmm_ex1_initial(grid.points.T).T)
    fields = [UpscaledField(comm, grid, box, a, micro="adjoint")(m) for a in (energy, kappa)]
    np.testing.assert_array_equal(fields[0], fields[1] + [1, 2, 3])
    sampled = llg.Energy([llg.Exchange(llg.cell_coefficient(domain, 1.0))])
    with pytest.raises(ValueError, match=r"wanted at any point: build the Energy with Exchange"):
        upscaled_tensor(domain, sampled, box)


def test_bad_energies(comm):
    h, other = level(comm), mesh.create_unit_square(comm, 3, 3)
    none = llg.Energy([llg.Zeeman((0, 0, 1))])
    for call in (
        lambda: coarse_basis(none, h),
        lambda: homogenize(none, other),
        lambda: llg.with_exchange(none, 1.0),
        lambda: exchange_coefficient(none),
    ):
        with pytest.raises(ValueError, match="the energy has no exchange term, only Zeeman"):
            call()
    foreign = llg.Energy([llg.Exchange(llg.cell_coefficient(other, 1.0))])
    with pytest.raises(ValueError, match=r"another mesh than the fine one of the hierarchy"):
        coarse_basis(foreign, h)
    with pytest.raises(ValueError, match="the exchange coefficient is data of another mesh"):
        homogenize(foreign, mesh.create_rectangle(MPI.COMM_SELF, [[0.0, 0.0], [2.0, 2.0]], [2, 2]))
    with pytest.raises(ValueError, match=r"wanted at any point: build the Energy with Exchange.x"):
        exchange_coefficient(foreign)
    with pytest.raises(ValueError, match="functionals must be 'volume' or 'facet', got 'cell'"):
        coarse_basis(llg.Energy([llg.Exchange(1.0)]), h, functionals="cell")
