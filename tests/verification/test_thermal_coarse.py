# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Thermal noise in a coarse basis: fluctuation and dissipation of the steps, without sampling.

A step is affine for small turns y (coefficients of directions :math:`\Pi P c`) and small noise,
y' = A y + B xi, xi standard normal. exp(-E/T) is stationary if and only if its covariance
S = T H^{-1} is: A S A^T + B B^T = S, with H the Hessian in these directions. A and B are taken from
steps of the stepper by differences, whose error is of second order in their size.
"""

from mpi4py import MPI  # isort: skip

import numpy as np
import pytest
import scipy.sparse as sp
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.equilibrium.landscape import Landscape
from dolfinx_llg.equilibrium.pointwise import tangential
from dolfinx_llg.grps import (
    exchange_form,
    grps_basis,
    refine_mesh,
    vector_basis,
    volume_measurement,
)
from dolfinx_llg.la.krylov import Options

SERIAL = pytest.mark.skipif(
    MPI.COMM_WORLD.size > 1, reason="dense algebra; on ranks: tests/unit/test_thermal.py"
)
T = 1e-8
"""Temperature: noise turns the spins by some 1e-4."""
SMALL = 1e-4
SCHEMES = {
    "midpoint": lambda *args, **options: llg.midpoint(*args, tolerance=1e-13, **options),
    "tangent_plane": lambda *args, **options: llg.tangent_plane(
        *args, second_order=True, **options
    ),
}


def setting():
    """4 coarse triangles, 15 nodes, a basis of a rough coefficient."""
    h = refine_mesh(mesh.create_rectangle(MPI.COMM_SELF, [[0.0, 0.0], [1.0, 1.0]], [2, 1]), 1)
    kappa = llg.checkerboard(h.fine, 4, contrast=10.0, seed=3, low=0.05)
    basis = grps_basis(exchange_form(h.space, kappa), volume_measurement(h))
    return h.fine, kappa, vector_basis(basis)


def run_step(stepper, m, start, kick, dt):
    """Return the nodal values after one step from a start with given normal numbers."""
    m.x.array[:] = start.ravel()
    stepper.start(0.0, stepper.history())  # a state that a step has left: it enters no space
    stepper.noise.normals = lambda: kick
    stepper.advance(dt, dt)
    stepper.accept()
    return m.x.array.reshape(-1, 3).copy()


def steady(name, energy, m, basis, alpha, dt):
    """Return A S A^T + B B^T - S, B B^T and S over T, in directions in which H is diagonal."""
    land = Landscape(energy, m, None, 0.0, Options("test_", {}))
    rest = land.field.nodal(m)
    p = land.point(rest)
    land.linearise(p)
    indptr, columns, entries = basis.P.getValuesCSR()
    P = sp.csr_matrix((entries, columns, indptr), shape=basis.P.getSize()).toarray()
    turns = [tangential(rest, column.reshape(-1, 3)).ravel() for column in P.T]
    U, s, _ = np.linalg.svd(np.column_stack(turns), full_matrices=False)
    U = U[:, s > 1e-6 * s[0]]
    H = U.T @ np.column_stack([land.hessian(p, u.reshape(-1, 3)).ravel() for u in U.T])
    values, vectors = np.linalg.eigh(0.5 * (H + H.T))
    U = U @ vectors  # now H is diagonal
    noisy = llg.Energy([*energy.terms, llg.Thermal(T)])
    step = SCHEMES[name](noisy, m, damping=llg.Gilbert(alpha), dt=dt)
    stepper = llg.stepper(step, basis=basis)
    none = np.zeros_like(rest)
    base = run_step(stepper, m, rest, none, dt)

    def response(start, kick, size):
        return U.T @ (run_step(stepper, m, start, kick, dt) - base).ravel() / size

    def turned(u):
        moved = rest + SMALL * u.reshape(-1, 3)
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    A = np.column_stack([response(turned(u), none, SMALL) for u in U.T])
    units = np.eye(rest.size).reshape(-1, *rest.shape)
    B = np.column_stack([response(rest, kick, np.sqrt(T)) for kick in units])
    S = np.diag(1.0 / values)
    return A @ S @ A.T + B @ B.T - S, B @ B.T, S


@SERIAL
@pytest.mark.parametrize("name", SCHEMES)
def test_uniform_state(name):
    """Each coarse mode has k_B T/2 for any step, here 2 over the largest frequency."""
    fine, kappa, basis = setting()
    energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman((0, 0, 1.0))])
    m = llg.magnetization(fine, (0, 0, 1))
    alpha = fem.Function(kappa.function_space)
    alpha.interpolate(lambda x: np.where(x[0] < 0.5, 0.3, 1.0))
    defect, _, S = steady(name, energy, m, basis, alpha, 0.05)
    scale = np.sqrt(np.outer(np.diag(S), np.diag(S)))
    assert len(S) == 8
    # Differences of SMALL have errors of its square. Were the field at the nodes tested in V_H,
    # without its own part in V_H, 7e-3 would be left for the midpoint rule, as damping differs.
    assert np.abs(defect / scale).max() < 1e-7


@SERIAL
@pytest.mark.parametrize("name", SCHEMES)
def test_where_m_turns(name):
    """What is left comes from m, at rest only against directions normal to its coarse means.

    With the field at the nodes the midpoint rule would leave 1.2e-2; the tangent plane has a
    multiplier in V_H, where h.m is not.
    """
    fine, kappa, basis = setting()
    turning = llg.magnetization(fine, lambda x: [np.cos(x[0]), 0 * x[0], np.sin(x[0])])
    m = llg.magnetization(fine, turning)
    energy = llg.Energy([llg.Exchange(kappa), llg.Zeeman(turning)])
    llg.minimise(energy, m, basis=basis, torque=1e-10)
    defect, noise, S = steady(name, energy, m, basis, 0.3, 1e-2)
    assert len(S) == 12  # up to three directions of each coarse function
    bound = {"midpoint": 2e-3, "tangent_plane": 1e-2}[name]
    assert np.abs(defect).max() < bound * np.abs(noise).max()
