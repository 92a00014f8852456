# SPDX-License-Identifier: LGPL-3.0-or-later
"""A basis follows a changed material: equal to a new one, patches elsewhere untouched, refusals."""

import numpy as np
import pytest
import ufl
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    anisotropic_form,
    coarse_basis,
    derivative_measurement,
    exchange_form,
    facet_measurement,
    grps_basis,
    load_basis,
    refine_mesh,
    save_basis,
    volume_measurement,
)
from dolfinx_llg.physics.literature import hmm_ex2_initial, ms_trig

MEASUREMENTS = {
    "volume": volume_measurement,
    "facet": facet_measurement,
    "derivative": derivative_measurement,
}
#: The same sums of the same numbers, but for what several ranks add in another order.
ROUND_OFF = 1e-12


def hierarchy_of(comm, n=5, levels=2, kind=mesh.CellType.triangle):
    return refine_mesh(mesh.create_unit_square(comm, n, n, cell_type=kind), levels)


def defect(h, kappa, factor=50.0, centre=0.25, width=0.1):
    """Multiply kappa in the coarse cells whose midpoints lie in a square; return their mask."""
    hit = np.abs(h.data.midpoints - centre).max(axis=1) < width
    kappa.x.array[: len(h.parent)] *= np.where(hit[h.parent], factor, 1.0)
    kappa.x.scatter_forward()
    return hit


def distance(P, Q):
    """Frobenius norm of P - Q in units of that of Q."""
    other = P.copy()
    other.axpy(-1.0, Q)
    found = other.norm() / Q.norm()
    other.destroy()
    return found


@pytest.mark.parametrize(
    ("name", "localization", "method", "ell"),
    [
        *((name, "patches", "condensed", 1) for name in MEASUREMENTS),
        *((name, "constants", "auto", 2) for name in ("volume", "facet")),
        ("volume", "patches", "saddle", 1),
    ],
)
def test_equals_a_new_basis(comm, name, localization, method, ell, record_property):
    """A defect, then a second one on top: no drift, and patches far away are kept."""
    h = hierarchy_of(comm)
    kappa = llg.cell_coefficient(h.fine, ms_trig)
    form, functionals = exchange_form(h.space, kappa), MEASUREMENTS[name](h)
    options = {"ell": ell, "localization": localization, "method": method}
    first = basis = grps_basis(form, functionals, **options)
    assert basis.renewed == basis.P.getSize()[1]
    gaps = []
    for factor, centre in ((50.0, 0.25), (0.1, 0.92)):
        defect(h, kappa, factor, centre)
        basis = basis.update(form)
        new = grps_basis(form, functionals, **options)
        gaps.append(distance(basis.P, new.P))
        assert gaps[-1] < ROUND_OFF
        assert 0 < basis.renewed < 0.8 * new.renewed
        assert basis.defect < 1e-9
    record_property("relative difference", max(gaps))
    assert distance(basis.P, first.P) > 1e-3
    again = basis.update(form)
    assert again.renewed == 0
    assert again.P is basis.P


def test_only_touched_patches(comm):
    """The functions computed anew are those whose patch contains a changed cell."""
    h = hierarchy_of(comm, 8)
    kappa = llg.cell_coefficient(h.fine, ms_trig)
    basis = grps_basis(exchange_form(h.space, kappa), volume_measurement(h), ell=2)
    hit = defect(h, kappa)
    graph = h.data.neighbours
    expected = np.count_nonzero(graph @ (graph @ hit.astype(float)))
    assert basis.update(exchange_form(h.space, kappa)).renewed == expected < h.data.num_cells


def test_global_basis_and_another_form(comm):
    """A global basis is solved anew as a whole; the form may be another one, written apart."""
    h = hierarchy_of(comm, 3)
    kappa = llg.cell_coefficient(h.fine, ms_trig)
    functionals = volume_measurement(h)
    for localization in ("patches", "constants"):
        basis = grps_basis(exchange_form(h.space, kappa), functionals, localization=localization)
        form = anisotropic_form(h.space, kappa, 3.0)
        new = grps_basis(form, functionals, localization=localization)
        updated = basis.update(form)
        assert updated.renewed == new.renewed
        assert distance(updated.P, new.P) < ROUND_OFF


@pytest.mark.parametrize("kind", [mesh.CellType.tetrahedron, mesh.CellType.hexahedron])
def test_three_dimensions(comm, kind):
    h = refine_mesh(mesh.create_unit_cube(comm, 3, 2, 2, kind), 2)
    kappa = llg.cell_coefficient(h.fine, lambda x: 1.0 + x[0] + x[1] * x[2])
    form, functionals = exchange_form(h.space, kappa), volume_measurement(h)
    basis = grps_basis(form, functionals, ell=1, localization="constants")
    defect(h, kappa, centre=0.1, width=0.2)
    updated = basis.update(form)
    new = grps_basis(form, functionals, ell=1, localization="constants")
    assert distance(updated.P, new.P) < ROUND_OFF
    assert 0 < updated.renewed < new.renewed


def run_energy(h):
    kappa = llg.cell_coefficient(h.fine, ms_trig)
    return kappa, llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0), 2.0)])


@pytest.mark.parametrize("scheme", [llg.gao, llg.cimrak])
def test_a_run_whose_kappa_changes_in_time(comm, scheme):
    """A loop that updates its basis takes the steps of one that puts new bases in its place."""
    h = hierarchy_of(comm, 4)

    def run(refresh):
        kappa, energy = run_energy(h)
        m = llg.magnetization(h.fine, hmm_ex2_initial)
        step = scheme(energy, m, dt=1e-2, damping=0.5, projection=True)
        space = coarse_basis(energy, h, ell=2)
        for state in llg.march(step, t_end=3e-2, basis=space):
            if state.n < 3:
                defect(h, kappa, 30.0, centre=0.3 * state.n, width=0.2)
                refresh(space, energy)
        assert space.revision == (0 if refresh is keep else 2)
        return m.x.array

    def update(space, energy):
        assert space.update(energy) > 0

    def renew(space, energy):
        space.replace([basis.P for basis in coarse_basis(energy, h, ell=2).bases])

    def keep(space, energy):
        pass

    found = run(update)
    assert np.abs(found - run(renew)).max(initial=0.0) < 1e-6  # GMRES stops at 1e-8
    stale = max(comm.allgather(np.abs(found - run(keep)).max(initial=0.0)))
    assert stale > 1e-4


def test_schemes_that_cannot_follow_say_so(comm):
    """The tangent plane asks for a new march, which it then gets."""
    h = hierarchy_of(comm, 3)
    kappa, energy = run_energy(h)
    space = coarse_basis(energy, h, ell=1)
    m = llg.magnetization(h.fine, hmm_ex2_initial)
    step = llg.tangent_plane(energy, m, dt=1e-3, damping=llg.Gilbert(0.5))
    run = llg.march(step, t_end=3e-3, basis=space)
    state = next(run)
    assert defect(h, kappa, width=0.2).any()
    space.update(energy)
    with pytest.raises(RuntimeError, match="begin a new march"):
        next(run)
    assert len(list(llg.march(step, t=state.t, t_end=3e-3, basis=space))) == 2


def test_refusals(comm, tmp_path):
    h, other = hierarchy_of(comm, 3), hierarchy_of(comm, 4)
    kappa, energy = run_energy(h)
    form, functionals = exchange_form(h.space, kappa), volume_measurement(h)
    basis = grps_basis(form, functionals, ell=1)
    foreign = exchange_form(other.space, 1.0)
    with pytest.raises(ValueError, match="for another mesh make a new basis"):
        basis.update(foreign)
    u, v = ufl.TrialFunction(h.space), ufl.TestFunction(h.space)
    across = form + ufl.avg(u) * ufl.avg(v) * ufl.dS
    with pytest.raises(ValueError, match="inner facets"):
        basis.update(across)
    with pytest.raises(TypeError, match="form"):
        basis.update(3.0)
    with pytest.raises(RuntimeError, match="keep=False"):
        grps_basis(form, functionals, ell=1, keep=False).update(form)
    path = comm.bcast(tmp_path, root=0) / "basis.npz"
    save_basis(path, basis, form)
    with pytest.raises(RuntimeError, match="from a file"):
        load_basis(path, form, functionals).update(form)
    space = coarse_basis(energy, h, ell=1)
    before = space.P
    for wrong in (run_energy(other)[1], [form, form]):
        with pytest.raises(ValueError, match=r"another mesh|3 components"):
            space.update(wrong)
    turned = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((0, 1, 0), 2.0)])
    with pytest.raises(ValueError, match="make a new basis"):
        space.update(turned)
    assert space.P is before
    assert space.revision == 0


def test_an_update_that_failed_is_made_good(comm):
    """A kappa that is not finite is refused; the next update is right again."""
    h = hierarchy_of(comm, 4)
    kappa = llg.cell_coefficient(h.fine, ms_trig)
    form, functionals = exchange_form(h.space, kappa), volume_measurement(h)
    basis = grps_basis(form, functionals, ell=1)
    good = kappa.x.array.copy()
    defect(h, kappa, np.nan)
    with pytest.raises(ValueError, match="finite"):
        basis.update(form)
    kappa.x.array[:] = good
    defect(h, kappa)
    new = grps_basis(form, functionals, ell=1)
    assert distance(basis.update(form).P, new.P) < ROUND_OFF
