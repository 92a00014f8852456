# SPDX-License-Identifier: LGPL-3.0-or-later
"""Periodic runs against a closed-form spin wave, a translated run and faulty meshes."""

import math

from mpi4py import MPI

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.periodic import periodic_basis, periodic_prolongation

K = 2 * math.pi


def spin_wave(t: float, damping: float, a: float = 0.6):
    """Helix of wave number K, kappa = 1: an exact solution of (1.1) without anisotropy.

    With m_perp = sqrt(1-c^2) exp(i(Kx+phi)) the exchange field is parallel to m up to K^2 c e_1:
    c' = damping K^2 c (1-c^2), so that c/sqrt(1-c^2) grows like exp(damping K^2 t), and
    phi' = c' /(damping (1-c^2)).
    """
    ratio = a / math.sqrt(1 - a**2) * math.exp(damping * K**2 * t)
    c = ratio / math.sqrt(1 + ratio**2)
    phi = (math.atanh(c) - math.atanh(a)) / damping
    s = math.sqrt(1 - c**2)
    return lambda x: np.array(
        [np.full(x.shape[1], c), s * np.cos(K * x[0] + phi), s * np.sin(K * x[0] + phi)]
    )


def box(comm: MPI.Intracomm, cell: str, n: int) -> mesh.Mesh:
    if cell == "interval":
        return mesh.create_unit_interval(comm, n)
    kinds = mesh.CellType
    if cell in ("triangle", "quadrilateral"):
        return mesh.create_unit_square(comm, n, 3, cell_type=getattr(kinds, cell))
    return mesh.create_unit_cube(comm, n, 2, 2, cell_type=getattr(kinds, cell))


def error(comm, cell: str, n: int, steps: int, scheme, damping: float = 0.7) -> float:
    """Largest nodal error at T = 0.01."""
    msh = box(comm, cell, n)
    m = llg.magnetization(msh, spin_wave(0.0, damping))
    step = scheme(llg.Energy([llg.Exchange(1.0)]), m, dt=0.01 / steps, damping=damping)
    basis = periodic_basis(m.function_space)
    for _ in llg.march(step, t_end=0.01, basis=basis, petsc_options={"ksp_rtol": 1e-11}):
        pass
    exact = llg.magnetization(msh, spin_wave(0.01, damping))
    return max(comm.allgather(float(np.abs(m.x.array - exact.x.array).max(initial=0.0))))


@pytest.mark.parametrize("cell", ["interval", "triangle", "quadrilateral"])
def test_spin_wave_order(comm, cell, record_property):
    """Order 2 in h with dt ~ h^2; two halvings, so 0.15 covers the asymptotic range."""
    errors = [error(comm, cell, n, 4 * (n // 8) ** 2, llg.gao) for n in (8, 16, 32)]
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    record_property("order in h", float(rates[-1]))
    assert rates[-1] == pytest.approx(2.0, abs=0.15), (errors, rates)


@pytest.mark.parametrize("cell", ["tetrahedron", "hexahedron"])
def test_spin_wave_3d(comm, cell):
    """3D agrees with 1D: the solution does not vary in y and z, so neither does its error."""
    in_1d = error(comm, "interval", 12, 8, llg.cimrak)
    in_3d = error(comm, cell, 12, 8, llg.cimrak)
    # hexahedra reproduce the 1D scheme to the solver tolerance, tets have an O(h^2) error of theirs
    assert in_3d == pytest.approx(in_1d, rel=1e-6 if cell == "hexahedron" else 0.5)


@pytest.mark.parametrize("scheme", [llg.gao, llg.an, llg.cimrak, llg.prohl])
def test_translation_invariance(comm, scheme):
    """Shifting data and coefficient by whole cells shifts the solution: only a torus does that."""
    n, shift = 12, 5

    def kappa(offset):
        return lambda x: 1.3 + _sin(2 * math.pi * (x[0] - offset)) * 0.5

    def run(offset):
        msh = mesh.create_unit_square(comm, n, n)
        m = llg.magnetization(
            msh,
            lambda x: np.array(
                [
                    1.2 + np.sin(K * (x[0] - offset)),
                    np.cos(K * x[1]),
                    np.cos(K * (x[0] - offset + x[1])),
                ]
            ),
        )
        energy = llg.Energy([llg.Exchange(kappa(offset)), llg.UniaxialAnisotropy((0, 0, 1))])
        step = scheme(energy, m, dt=2e-3, damping=0.5, projection=True)
        basis = periodic_basis(m.function_space)
        states = llg.march(
            step, t_end=0.01, basis=basis, petsc_options={"ksp_rtol": 1e-12, "snes_rtol": 1e-12}
        )
        for _ in states:
            pass
        return m

    shifted, plain = run(shift / n), run(0.0)
    values = _by_node(shifted, shift, n), _by_node(plain, 0, n)
    assert np.abs(values[0] - values[1]).max() < 1e-9  # 1e3 times the solver tolerance


def _sin(expression):
    import ufl

    return np.sin(expression) if isinstance(expression, np.ndarray) else ufl.sin(expression)


def _by_node(m, shift, n):
    V = m.function_space
    owned = V.dofmap.index_map.size_local
    x = V.tabulate_dof_coordinates()[:owned]
    i = (np.rint(x[:, 0] * n).astype(int) - shift) % n
    j = np.rint(x[:, 1] * n).astype(int) % n
    table = np.zeros((n, n, 3))
    parts = V.mesh.comm.allgather((i, j, m.x.array[: 3 * owned].reshape(-1, 3)))
    for ii, jj, values in parts:
        table[ii, jj] = values
    return table


@pytest.mark.parametrize("directions", [(0,), (0, 1, 2), (2,), (0, 2)])
def test_number_of_masters(comm, directions):
    """A box of 4 x 3 x 2 cells: closed directions have as many nodes as cells, others one more."""
    msh = mesh.create_unit_cube(comm, 4, 3, 2)
    P = periodic_prolongation(llg.vector_space(msh), directions)
    cells = (4, 3, 2)
    expected = math.prod(n if axis in directions else n + 1 for axis, n in enumerate(cells))
    assert P.getSize() == (5 * 4 * 3, expected)
    ones, image = P.createVecs()
    ones.set(1.0)
    P.mult(ones, image)
    assert image.max()[1] == image.min()[1] == 1.0  # each row holds exactly one 1


def test_refusals(comm):
    msh = mesh.create_unit_square(comm, 4, 4)
    V = llg.vector_space(msh)
    with pytest.raises(ValueError, match="directions must be axes"):
        periodic_basis(V, (2,))
    bent = mesh.create_unit_square(comm, 4, 4)
    x = bent.geometry.x
    right = np.abs(x[:, 0] - 1.0) < 1e-12
    x[right, 1] = x[right, 1] ** 1.1
    with pytest.raises(ValueError, match="the mesh is not periodic"):
        periodic_basis(llg.vector_space(bent), (0,))
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 1 + 0 * x[0]]))
    step = llg.gao(llg.Energy([llg.Exchange(1.0)]), m, dt=0.1, damping=1.0)
    with pytest.raises(ValueError, match="not periodic"):
        llg.march(step, t_end=1.0, basis=periodic_basis(V))
