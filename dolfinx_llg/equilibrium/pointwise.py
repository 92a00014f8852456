# SPDX-License-Identifier: LGPL-3.0-or-later
"""Small parts of the landscape: points, tangential parts, seeded waves, exchange on scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from petsc4py import PETSc

import dolfinx
import dolfinx.fem.petsc as fem_petsc
import numpy as np
import ufl
from dolfinx import fem

from dolfinx_llg.jit import compile_form
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import Interaction, QuadraticTerm
from dolfinx_llg.typing import Array

__all__ = [
    "Point",
    "check_conservative",
    "exchange_matrix",
    "fill_with_waves",
    "row_dot",
    "tangential",
]


def row_dot(a: Array, b: Array) -> Array:
    """Return the products a_i . b_i, shape (n, 1)."""
    products: Array = np.einsum("ij,ij->i", a, b)[:, None]
    return products


def unit(values: Array) -> Array:
    """Return vectors (..., 3) at unit length."""
    return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))


def tangential(m: Array, v: Array) -> Array:
    """Return v without its parts along m."""
    return v - row_dot(m, v) * m


def check_conservative(energy: Energy) -> None:
    """Refuse a term that has no energy (a torque): there is nothing to minimise.

    Raises:
        ValueError: Naming the terms.
    """
    torques = [
        type(term).__name__ for term in energy.terms if type(term).energy is Interaction.energy
    ]
    if torques:
        raise ValueError(
            f"{', '.join(torques)} has no energy (a torque is not conservative): its rest states "
            "are those of the dynamics, see march"
        )


@dataclass(frozen=True, eq=False)
class Point:
    """The energy around one magnetization.

    Attributes:
        m: Nodal values of this rank, shape (n, 3).
        axis: Unit vectors to which the unknowns are normal, shape (k, 3): m, or the means of m
            over the functions of a coarse space.
        g: Euclidean gradient at the nodes, shape (n, 3).
        gradient: Gradient with respect to the unknowns, shape (k, 3), normal to ``axis``.
        torque: Largest nodal |m x h|, in units of Ms0; in a coarse space that of the part of the
            torque that lies in it, its Riesz representative in the lumped product.
        energy: Energy, where differences do not come from gradients alone; else NaN.
    """

    m: Array
    axis: Array
    g: Array
    gradient: Array
    torque: float
    energy: float


def fill_with_waves(function: fem.Function, seed: int) -> None:
    """Set a vector function to seeded waves over the box of its mesh, the same on any ranks.

    Whole waves: periodic where m is. Collective.
    """
    rng = np.random.default_rng(seed)
    V = function.function_space
    comm = V.mesh.comm
    x = V.tabulate_dof_coordinates()
    own = x[: V.dofmap.index_map.size_local]
    low = np.min(comm.allgather(np.min(own, axis=0, initial=np.inf)), axis=0)
    high = np.max(comm.allgather(np.max(own, axis=0, initial=-np.inf)), axis=0)
    unit = (x - low) / np.where(high > low, high - low, 1.0)
    values = np.zeros((len(x), 3))
    for order in range(8):
        k = 2.0 * np.pi * rng.integers(-order, order + 1, 3)
        phase = rng.uniform(0.0, 2.0 * np.pi)
        values += np.cos(unit @ k + phase)[:, None] * rng.standard_normal(3) / (1 + order)
    function.x.array[:] = values.ravel()


def exchange_matrix(terms: Sequence[QuadraticTerm], mesh: dolfinx.mesh.Mesh) -> PETSc.Mat:
    """Return the matrix of exchange terms, the same in each component, on scalars. Collective."""
    V = fem.functionspace(mesh, ("Lagrange", 1))
    v, w = (ufl.as_vector([f(V), 0, 0]) for f in (ufl.TrialFunction, ufl.TestFunction))
    form = sum((term.bilinear(v, w) * term.measure(mesh) for term in terms), ufl.Form([]))
    S = fem_petsc.assemble_matrix(compile_form(form))
    S.assemble()
    return S
