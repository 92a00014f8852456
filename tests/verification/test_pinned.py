# SPDX-License-Identifier: LGPL-3.0-or-later
"""Dirichlet values of m: twisted equilibria in closed form, all schemes, minimisers and spaces."""

import math

from mpi4py import MPI

import dolfinx.fem.petsc as fem_petsc
import numpy as np
import pytest
from dolfinx import fem, mesh
from scipy.optimize import brentq

import dolfinx_llg as llg
from dolfinx_llg.grps import (
    coarse_basis,
    exchange_form,
    grps_basis,
    refine_mesh,
    torus,
    volume_measurement,
)

TURN, CELLS = 2.0, 10
"""Angle between the pinned ends, and cells between them."""


def angle(x):
    """Of the equilibrium, at the nodes; kappa is 1 left of 1/2 and 4 right of it.

    The energy of P1 functions of unit nodal length is sum_i kappa_i/h (1 - cos d_i): the turns of
    cells obey kappa_i sin d_i = constant, which is kappa phi' = constant up to O(h^2).
    """
    n = CELLS // 2
    left = brentq(lambda d: math.sin(d) - 4.0 * math.sin(TURN / n - d), 0.0, TURN / n)
    return np.where(x < 0.5, 2 * n * left * x, TURN - 2 * (TURN - n * left) * (1.0 - x))


def ends(x):
    return np.isclose(x[0], 0.0) | np.isclose(x[0], 1.0)


def start(x):
    """Ends as in the equilibrium; between them a bump out of the plane and of the angle."""
    bump = np.sin(math.pi * x[0])
    phi, theta = TURN * x[0] + 0.5 * bump, 0.6 * bump
    return np.vstack([np.cos(phi) * np.cos(theta), np.sin(phi) * np.cos(theta), np.sin(theta)])


def chain():
    """An interval with two materials."""
    line = mesh.create_unit_interval(MPI.COMM_WORLD, CELLS)
    kappa = fem.Function(fem.functionspace(line, ("DG", 0)))
    kappa.interpolate(lambda x: np.where(x[0] < 0.5, 1.0, 4.0))
    m = llg.magnetization(line, start)
    return llg.Energy([llg.Exchange(kappa)]), m


def own(m):
    """Values of this rank's nodes and their points."""
    n = m.function_space.dofmap.index_map.size_local
    return m.x.array[: 3 * n].reshape(-1, 3), m.function_space.tabulate_dof_coordinates()[:n]


def distance(m):
    """Largest nodal distance from the closed form over all ranks."""
    values, x = own(m)
    phi = angle(x[:, 0])
    exact = np.column_stack([np.cos(phi), np.sin(phi), 0.0 * phi])
    worst = float(np.max(np.linalg.norm(values - exact, axis=1), initial=0.0))
    return max(m.function_space.mesh.comm.allgather(worst))


def pinned_values(m):
    """The values at the ends, of all ranks."""
    values, x = own(m)
    parts = m.function_space.mesh.comm.allgather(values[ends(x.T)].copy())
    return np.concatenate(parts)


SCHEMES = {
    "gao": lambda e, m: llg.gao(e, m, dt=0.02, damping=1.0),
    "gao, projected": lambda e, m: llg.gao(e, m, dt=0.02, damping=1.0, projection=True),
    "cimrak": lambda e, m: llg.cimrak(e, m, dt=0.02, damping=1.0, projection=True),
    "an": lambda e, m: llg.an(e, m, dt=0.02, damping=1.0),
    "prohl": lambda e, m: llg.prohl(e, m, dt=0.02, damping=1.0, projection=True),
    "tangent plane": lambda e, m: llg.tangent_plane(e, m, dt=0.02, damping=1.0),
    "tangent plane, order 2": lambda e, m: llg.tangent_plane(
        e, m, dt=0.02, damping=1.0, second_order=True
    ),
    "midpoint": lambda e, m: llg.midpoint(e, m, dt=0.02, damping=1.0),
    "rk4": lambda e, m: llg.rk4(e, m, damping=1.0),
    "heun": lambda e, m: llg.heun(e, m, damping=1.0),
    "mpe": lambda e, m: llg.mpe(e, m, damping=1.0),
    "mpea": lambda e, m: llg.mpea(e, m, damping=1.0),
}


@pytest.mark.filterwarnings("ignore::dolfinx_llg.NumericalDampingWarning")
@pytest.mark.parametrize("name", SCHEMES)
def test_dynamics_keep_the_ends_and_find_the_twist(name):
    """The ends stay bit for bit; the slowest mode, of rate 1.6 pi^2, is gone by t = 1.

    Schemes that lump end in the closed form; products of three P1 functions leave O(h^2).
    """
    energy, m = chain()
    before = pinned_values(m)
    step = SCHEMES[name](energy, m)
    basis = llg.pinned_basis(m, ends)
    energies = [energy.total(m)]
    # The midpoint rules MPE and MPEA share all with HeunP but the method on arrays: a short run.
    t_end = 0.03 if name.startswith("mpe") else 1.0
    for state in llg.march(step, t_end=t_end, basis=basis, progress=False):
        if state.n % 10 == 0:
            energies.append(energy.total(m))
    assert np.array_equal(pinned_values(m), before)
    assert energies[-1] < energies[0] - 0.5
    lumps = name not in ("gao", "gao, projected", "cimrak", "an", "prohl")
    if name in ("tangent plane, order 2", "midpoint"):
        bound = 1e-3  # they damp the stiffest modes by (1 - z)/(1 + z) a step, z = 80
    elif lumps:
        bound = 1e-5
    else:
        bound = 0.05 if name == "gao" else 0.02  # |m| is free between the ends
    assert distance(m) < bound or t_end < 1.0
    # The rest state of schemes that do not lump lies O(h^4) in energy above the minimum.
    assert np.all(np.diff(energies) < (1e-9 if lumps else 1e-5))


@pytest.mark.parametrize("method", ["trust_region", "lbfgs"])
def test_minimise_finds_the_twist(method, record_property):
    energy, m = chain()
    before = pinned_values(m)
    found = llg.minimise(energy, m, method=method, torque=1e-9, basis=llg.pinned_basis(m, ends))
    error = distance(m)
    record_property("largest deviation", error)
    assert error < 1e-9
    assert np.array_equal(pinned_values(m), before)
    soft = found.stability()
    assert soft.verdict == "minimum"
    assert not np.any(pinned_values(soft.mode))
    assert max(MPI.COMM_WORLD.allgather(float(np.abs(soft.mode.x.array).max(initial=0.0)))) > 0.5


def test_relax_finds_the_twist():
    """A uniform chain, of whose field, TURN^2, the semi-implicit step leaves a torque of 1 %."""
    line = mesh.create_unit_interval(MPI.COMM_WORLD, CELLS)
    m = llg.magnetization(line, start)
    energy = llg.Energy([llg.Exchange(1.0)])
    llg.relax(energy, m, torque=5e-2, basis=llg.pinned_basis(m, ends))
    values, x = own(m)
    exact = np.column_stack([np.cos(TURN * x[:, 0]), np.sin(TURN * x[:, 0]), 0.0 * x[:, 0]])
    assert np.max(np.abs(values - exact), initial=0.0) < 1e-2  # torque over pi^2


class Slab(llg.FieldTerm):
    """h = -m_z e_z, and a coupling of all nodes: h_x = -<m_x>, whose mean the ends have part in."""

    def compute(self, m, h):
        n = m.function_space.dofmap.index_map.size_local
        comm = m.function_space.mesh.comm
        values, x = own(m)
        weights = np.where(ends(x.T), 0.5 / CELLS, 1.0 / CELLS)
        mean = sum(comm.allgather(float(weights @ values[:, 0])))
        h.x.array[:] = 0.0
        h.x.array[2::3] = -m.x.array[2::3]
        h.x.array[0::3] = -mean
        assert n == len(weights)


class Quartic(llg.EnergyTerm):
    """Not quadratic: differences of the energy are taken from the energy itself."""

    def density(self, m):
        return 2.0 * m[0] ** 4


def test_fields_with_a_solve_count_the_pinned_nodes():
    """The minimum of an energy with a nonlocal field is that of the dynamics; it stays put."""
    energy, m = chain()
    energy = llg.Energy([*energy.terms, Slab(), Quartic()])
    basis = llg.pinned_basis(m, ends)
    found = llg.minimise(energy, m, torque=1e-8, basis=basis)
    rest = own(m)[0].copy()
    assert found.energy == pytest.approx(energy.total(m), rel=1e-12)
    step = llg.tangent_plane(energy, m, dt=0.02, damping=1.0)
    for _ in llg.march(step, t_end=0.2, basis=basis, progress=False):
        pass
    # The field is taken lumped by both, and the quartic by a quadrature of the same degree.
    assert np.max(np.abs(own(m)[0] - rest), initial=0.0) < 1e-6


def test_modes_vanish_at_the_ends():
    """A uniform chain along its easy axis: omega_k = q + kappa k^2, k = pi n, lumped."""
    line = mesh.create_unit_interval(MPI.COMM_WORLD, 20)
    m = llg.magnetization(line, lambda x: np.vstack([0 * x[0], 0 * x[0], 1 + 0 * x[0]]))
    energy = llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy([0.0, 0.0, 1.0], 2.0)])
    modes = llg.eigenmodes(energy, m, 2, basis=llg.pinned_basis(m, ends))
    h = 1.0 / 20
    exact = [2.0 + 2.0 * (1.0 - math.cos(math.pi * n * h)) / h**2 for n in (1, 2)]
    # The anisotropy is integrated exactly, not lumped: q (1 - 1/6 (2 - 2 cos kh)).
    shift = [-2.0 / 6.0 * 2.0 * (1.0 - math.cos(math.pi * n * h)) for n in (1, 2)]
    assert np.allclose(modes.omega, np.add(exact, shift), rtol=1e-6)
    assert np.allclose(pinned_values(modes.real[0]), 0.0, atol=0.0)


def strip():
    """A strip in a field; it may be periodic in y."""
    square = mesh.create_unit_square(MPI.COMM_WORLD, 6, 6)
    m = llg.magnetization(square, start)
    energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman([0.3, 0.0, 1.0])])
    return square, energy, m


@pytest.mark.parametrize("scheme", ["gao", "tangent_plane", "midpoint", "rk4"])
def test_a_condition_of_dolfinx_tags_and_a_function_are_the_same(scheme):
    """Three ways to say which nodes; with a periodic basis the images are pinned with them."""
    results = []
    for how in ("function", "condition", "tags", "periodic"):
        square, energy, m = strip()
        fdim = square.topology.dim - 1
        facets = mesh.locate_entities_boundary(square, fdim, ends)
        if how == "condition":
            dofs = fem.locate_dofs_topological(m.function_space, fdim, facets)
            held = fem.Function(m.function_space)
            held.interpolate(start)
            basis = llg.pinned_basis(m, fem.dirichletbc(held, dofs))
        elif how == "tags":
            tags = mesh.meshtags(square, fdim, facets, np.full(len(facets), 7, dtype=np.int32))
            basis = llg.pinned_basis(m, tags, 7)
        elif how == "periodic":
            periodic = llg.periodic_basis(m.function_space, [1])
            basis = llg.pinned_basis(m, lambda x: ends(x) & (x[1] < 0.99), basis=periodic)
        else:
            basis = llg.pinned_basis(m, ends)
        make = getattr(llg, scheme)
        step = make(energy, m, dt=1e-3, damping=0.5)
        for _ in llg.march(step, t_end=0.01, basis=basis, progress=False):
            pass
        results.append(own(m)[0].copy())
        assert np.array_equal(own(m)[0][ends(own(m)[1].T)], start(own(m)[1].T).T[ends(own(m)[1].T)])
    for other in results[1:3]:
        assert np.max(np.abs(other - results[0]), initial=0.0) < 1e-14
    # A periodic strip is another problem; its images agree.
    values, x = results[3], own(m)[1]
    table = np.concatenate(MPI.COMM_WORLD.allgather(np.hstack([x[:, :2], values])))
    low, high = (table[np.isclose(table[:, 1], y)] for y in (0.0, 1.0))
    low, high = (part[np.argsort(part[:, 0])] for part in (low, high))
    assert np.max(np.abs(low[:, 2:] - high[:, 2:]), initial=0.0) < 1e-14


def test_noise_leaves_pinned_nodes_alone_and_the_others_as_they_were():
    """Numbers belong to nodes of the mesh: those of the free ones are the same with pins."""
    line = mesh.create_unit_interval(MPI.COMM_WORLD, 12)
    found = []
    for pinned in (False, True):
        m = llg.magnetization(line, start)
        energy = llg.Energy([llg.Zeeman([0.0, 0.0, 0.0]), llg.Thermal(1e-3, seed=5)])
        step = llg.heun(energy, m, damping=0.5, dt=1e-2)
        basis = llg.pinned_basis(m, ends) if pinned else None
        for _ in llg.march(step, t_end=0.05, basis=basis, progress=False):
            pass
        found.append(own(m)[0].copy())
    inner = ~ends(own(m)[1].T)
    assert np.max(np.abs(found[1][inner] - found[0][inner]), initial=0.0) < 1e-12
    exact = start(own(m)[1].T).T
    assert np.array_equal(found[1][~inner], exact[~inner])


def test_what_is_refused():
    square, _, m = strip()
    with pytest.raises(ValueError, match="no node is pinned"):
        llg.pinned_basis(m, lambda x: x[0] > 2.0)
    with pytest.raises(ValueError, match="all nodes are pinned"):
        llg.pinned_basis(m, lambda x: x[0] > -1.0)
    with pytest.raises(ValueError, match="truth value"):
        llg.pinned_basis(m, lambda x: x)
    with pytest.raises(ValueError, match="tags belong"):
        llg.pinned_basis(m, ends, 3)
    with pytest.raises(TypeError, match="where"):
        llg.pinned_basis(m, None)
    other = llg.vector_space(square)
    dofs = fem.locate_dofs_geometrical(other, ends)
    with pytest.raises(ValueError, match="space of m"):
        llg.pinned_basis(m, fem.dirichletbc(fem.Function(other), dofs))
    dofs = fem.locate_dofs_geometrical(m.function_space, ends)
    zero = fem.dirichletbc(fem.Function(m.function_space), dofs)
    with pytest.raises(ValueError, match="unit length"):
        llg.pinned_basis(m, zero)
    m = llg.magnetization(square, lambda x: start(x[[1, 0, 2]]))
    periodic = llg.periodic_basis(m.function_space, [1])
    with pytest.raises(ValueError, match="images"):
        llg.pinned_basis(m, ends, basis=periodic)
    energy, m = chain()
    basis = llg.pinned_basis(m, ends)
    values, x = own(m)
    values[ends(x.T)] = [0.0, 0.0, 1.0]
    m.x.scatter_forward()
    with pytest.raises(ValueError, match="changed where it is pinned"):
        next(iter(llg.march(llg.gao(energy, m, dt=0.1, damping=1.0), t_end=1.0, basis=basis)))


def rough(levels=2, closed=False):
    """A hierarchy over the unit square, closed in y or not, and m between pinned ends."""
    hierarchy = refine_mesh(mesh.create_unit_square(MPI.COMM_WORLD, 4, 4), levels)
    if closed:
        hierarchy = torus(hierarchy, [1])
    kappa = llg.checkerboard(hierarchy.fine, 8, contrast=10.0, seed=3, low=0.2)
    m = llg.magnetization(hierarchy.fine, start)
    periodic = llg.periodic_basis(m.function_space, [1]) if closed else None
    return hierarchy, kappa, m, llg.pinned_basis(m, ends, basis=periodic)


@pytest.mark.parametrize("closed", [False, True])
def test_functions_of_a_coarse_space_vanish_at_pinned_nodes(closed):
    """The global basis minimises among functions with the condition: a(psi, w) = 0 on the kernel.

    Here w is any function with the condition less its part in V_H, so that Psi w = 0.
    """
    hierarchy, kappa, _, pinned = rough(closed=closed)
    form = exchange_form(hierarchy.space, kappa)
    basis = grps_basis(form, volume_measurement(hierarchy), within=pinned)
    A = fem_petsc.assemble_matrix(fem.form(form))
    A.assemble()
    P, held = basis.P, pinned.held[::3]
    rows = np.diff(P.getValuesCSR()[0])
    assert np.all(rows[held] == 0)
    assert basis.defect < 1e-10
    free, w = pinned.components[0].createVecRight(), P.createVecLeft()
    free.array[:] = np.cos(np.arange(*free.getOwnershipRange()) ** 2)
    pinned.components[0].mult(free, w)
    c, image, products = P.createVecRight(), P.createVecLeft(), P.createVecRight()
    basis.Psi.mult(w, c)
    P.mult(c, image)
    w.axpy(-1.0, image)
    A.mult(w, image)
    P.multTranspose(image, products)
    # On a torus forces are those of the identified nodes: P has the same values there.
    assert products.norm() < 1e-10 * image.norm()


@pytest.mark.parametrize("localization", ["patches", "constants"])
def test_runs_in_a_coarse_space_with_pinned_ends(localization):
    """Rest states of the space are near that of the fine mesh; the ends stay bit for bit."""
    hierarchy, kappa, m, pinned = rough(closed=True)
    energy = llg.Energy([llg.Exchange(kappa)])
    ell = 3 if localization == "constants" else 4
    basis = coarse_basis(energy, hierarchy, ell=ell, localization=localization, within=pinned)
    given = own(m)[0].copy()
    held = pinned.held[::3]
    llg.minimise(energy, m, torque=1e-6, basis=pinned)
    fine, lowest = own(m)[0].copy(), energy.total(m)
    size = max(MPI.COMM_WORLD.allgather(float(np.max(np.abs(given - fine), initial=0.0))))
    assert size > 0.3

    def error(m):
        worst = float(np.max(np.abs(own(m)[0] - fine), initial=0.0))
        return max(MPI.COMM_WORLD.allgather(worst))

    def fresh():
        return llg.magnetization(hierarchy.fine, start)

    m = fresh()
    llg.minimise(energy, m, torque=1e-6, basis=basis)
    assert np.array_equal(own(m)[0][held], given[held])
    coarse = energy.total(m)
    # 32 functions: 1 % of the energy, 7 % of m (it falls to 1 % for 128 functions).
    assert lowest < coarse < 1.015 * lowest
    assert error(m) < 0.1
    for make in (
        lambda m: llg.gao(energy, m, dt=0.05, damping=1.0, projection=True),
        lambda m: llg.prohl(energy, m, dt=0.05, damping=1.0, projection=True),
        lambda m: llg.tangent_plane(energy, m, dt=0.05, damping=1.0),
        lambda m: llg.midpoint(energy, m, dt=0.05, damping=1.0),
    ):
        m = fresh()
        for _ in llg.march(make(m), t_end=1.0, basis=basis, progress=False):
            pass
        assert np.array_equal(own(m)[0][held], given[held])
        assert error(m) < 0.1
        assert energy.total(m) < 1.02 * lowest


def test_coarse_spaces_say_what_they_do_not_take():
    hierarchy, kappa, m, pinned = rough()
    energy = llg.Energy([llg.Exchange(kappa)])
    with pytest.raises(ValueError, match="identify or pin nodes"):
        coarse_basis(energy, hierarchy, within=coarse_basis(energy, hierarchy))
    with pytest.raises(ValueError, match=r"grps\.torus"):
        coarse_basis(energy, hierarchy, within=llg.periodic_basis(m.function_space, [1]))
    basis = coarse_basis(energy, hierarchy, within=pinned)
    step = llg.gao(energy, m, dt=0.1, damping=1.0)
    with pytest.raises(ValueError, match="pinned"):
        llg.reduction.hyper_reduce(step, basis, hierarchy, t_train=0.3)
