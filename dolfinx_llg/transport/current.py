# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Electric current density between contacts, from an electrostatic problem.

.. math:: -\nabla \cdot (\sigma \nabla \phi) = 0, \qquad j = -\sigma \nabla \phi, \qquad
    j \cdot n = 0 \text{ off the contacts}.

A contact is an equipotential: its potential is given, or the total current that enters there.
Currents are taken from residuals of the weak form, so that they add up to zero to the tolerance of
the solver. The feedback of spins on the resistance is left out: sigma does not depend on m.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from petsc4py import PETSc

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import apply_lifting, assemble_matrix, assemble_vector, set_bc

from dolfinx_llg.jit import compile_expression, compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.krylov import Krylov, Options
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.physics.cell_data import cell_coefficient, check_positive
from dolfinx_llg.physics.interaction import mesh_id

__all__ = ["Current", "solve_current"]

DEFAULTS = {"ksp_type": "cg", "ksp_rtol": 1e-12, "ksp_max_it": 1000, "pc_type": "gamg"}


@dataclass(frozen=True)
class Current:
    """A current and what drives it.

    Attributes:
        j: Current density, a DG0 vector (gdim components).
        phi: Potential, P1.
        inflow: Total current that enters at each contact, by facet tag (in 2D per unit of
            thickness, in 1D per area).
        potentials: Potential of each contact.
        facets: Local facets of all contacts.
        iterations: Krylov iterations of all solves.
    """

    j: fem.Function
    phi: fem.Function
    inflow: dict[int, float]
    potentials: dict[int, float]
    facets: npt.NDArray[np.int32]
    iterations: int


@checked
def solve_current(
    msh: dolfinx.mesh.Mesh,
    sigma: float | fem.Function,
    facet_tags: dolfinx.mesh.MeshTags | None,
    *,
    potentials: Mapping[int, float],
    currents: Mapping[int, float] | None = None,
    petsc_options: Mapping[str, Any] | None = None,
    petsc_options_prefix: str = "llg_current_",
) -> Current:
    """Solve for the potential and return the current density.

    In SI: sigma by ``units.conductivity_from_S_per_m``, potentials in volts, and currents in
    amperes divided by ``units.current_unit * units.length**2``.

    Args:
        msh: Mesh of all conductors.
        sigma: Conductivity, a positive number or DG0 function.
        facet_tags: Tags of the outer facets.
        potentials: Potential by facet tag, at least one; two contacts must not touch.
        currents: Total current that enters by facet tag.
        petsc_options: PETSc options; default CG with GAMG to rtol 1e-12.
        petsc_options_prefix: Prefix under which the command line reaches the solver.

    Raises:
        ValueError: If there are no facet tags or fewer than two contacts, no potential is given (it
            would be known up to a constant only), a tag has no facet or is given twice, contacts
            touch, or sigma is not positive; on all ranks alike.
        ConvergenceError: If the solver does not converge.

    Note: Collective.
    """
    driven = dict(currents or {})
    _check_contacts(potentials, driven)
    if not isinstance(sigma, fem.Function):
        sigma = cell_coefficient(msh, sigma)
    if mesh_id(sigma.function_space.mesh) != mesh_id(msh):
        raise ValueError("sigma lives on another mesh than the current")
    check_positive(sigma, "sigma")
    V = fem.functionspace(msh, ("Lagrange", 1))
    tags = [*potentials, *driven]
    facets = _contact_facets(msh, facet_tags, tags)
    msh.topology.create_connectivity(msh.topology.dim - 1, msh.topology.dim)
    dofs = {tag: fem.locate_dofs_topological(V, msh.topology.dim - 1, facets[tag]) for tag in tags}
    _check_apart(V, dofs)

    tidy(msh)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    form = compile_form(sigma * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx(domain=msh))
    value = {tag: fem.Constant(msh, 0.0) for tag in tags}
    bcs = [fem.dirichletbc(value[tag], dofs[tag], V) for tag in tags]
    A, free = assemble_matrix(form, bcs=bcs), assemble_matrix(form)
    A.assemble()
    free.assemble()
    krylov = Krylov(A, Options(petsc_options_prefix, petsc_options), defaults=DEFAULTS)
    zero = compile_form(fem.Constant(msh, 0.0) * v * ufl.dx(domain=msh))
    inner = {tag: dofs[tag][dofs[tag] < V.dofmap.index_map.size_local] for tag in tags}
    iterations = 0

    def solve(given: Mapping[int, float]) -> tuple[npt.NDArray[np.float64], list[float]]:
        """Return the owned potentials and the inflow at each contact."""
        nonlocal iterations
        for tag in tags:
            value[tag].value = np.asarray(given.get(tag, 0.0))
        b = assemble_vector(zero)
        apply_lifting(b, [form], bcs=[bcs])
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        set_bc(b, bcs)
        x, flow = A.createVecs()
        iterations += krylov.solve(b, x).check("electrostatic potential").iterations
        free.mult(x, flow)
        local = [float(flow.array[inner[tag]].sum()) for tag in tags]
        total = np.sum(msh.comm.allgather(local), axis=0).tolist()
        array = x.array.copy()
        for item in (b, x, flow):
            item.destroy()
        return array, total

    try:
        array, inflow = solve(potentials)
        level = {tag: float(potentials.get(tag, 0.0)) for tag in tags}
        if driven:
            # Superposition: the unit potentials of the driven contacts, weighted so that the
            # currents are those asked for.
            responses = [solve({tag: 1.0}) for tag in driven]
            rows = [tags.index(tag) for tag in driven]
            conductance = np.array([[flow[row] for _, flow in responses] for row in rows])
            lacking = [driven[tag] - inflow[row] for tag, row in zip(driven, rows, strict=True)]
            weights = np.linalg.solve(conductance, lacking)
            for tag, weight, (part, flow) in zip(driven, weights, responses, strict=True):
                level[tag] = float(weight)
                array = array + weight * part
                inflow = [a + float(weight) * b for a, b in zip(inflow, flow, strict=True)]
    finally:
        for item in (krylov, A, free):
            item.destroy()
    phi = fem.Function(V, name="phi")
    phi.x.array[: len(array)] = array
    phi.x.scatter_forward()
    W = fem.functionspace(msh, ("Discontinuous Lagrange", 0, (msh.geometry.dim,)))
    j = fem.Function(W, name="j")
    j.interpolate(
        compile_expression(-sigma * ufl.grad(phi), W.element.interpolation_points, msh.comm)
    )
    j.x.scatter_forward()
    everywhere = np.unique(np.concatenate(list(facets.values()))).astype(np.int32)
    return Current(j, phi, dict(zip(tags, inflow, strict=True)), level, everywhere, iterations)


def _check_contacts(potentials: Mapping[int, float], currents: Mapping[int, float]) -> None:
    if not potentials:
        raise ValueError(
            "no contact has a potential: it would be known up to a constant only; give one, "
            "potentials={tag: 0.0} say"
        )
    if twice := sorted(set(potentials) & set(currents)):
        raise ValueError(f"contacts {twice} have a potential and a current: give one of the two")
    if len(potentials) + len(currents) < 2:
        raise ValueError(f"a current needs two contacts, got {sorted({**potentials, **currents})}")
    for tag, number in (*potentials.items(), *currents.items()):
        if not math.isfinite(number):
            raise ValueError(f"contact {tag}: the value must be finite, got {number}")


def _contact_facets(
    msh: dolfinx.mesh.Mesh, facet_tags: dolfinx.mesh.MeshTags | None, tags: list[int]
) -> dict[int, npt.NDArray[np.int32]]:
    """Local facets of each contact."""
    fdim = msh.topology.dim - 1
    if facet_tags is None:
        raise ValueError("facet_tags is None: the contacts are told by the tags of their facets")
    if facet_tags.dim != fdim:
        raise ValueError(f"facet_tags has dimension {facet_tags.dim}, the facets have {fdim}")
    present = np.unique(np.concatenate(msh.comm.allgather(np.unique(facet_tags.values)))).tolist()
    if missing := [tag for tag in tags if tag not in present]:
        raise ValueError(f"no facet has the tag(s) {missing}; the mesh has the tags {present}")
    return {tag: facet_tags.find(tag) for tag in tags}


def _check_apart(V: fem.FunctionSpace, dofs: Mapping[int, npt.NDArray[np.int32]]) -> None:
    counts = np.zeros(V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts, dtype=int)
    for found in dofs.values():
        counts[found] += 1
    if any(V.mesh.comm.allgather(bool((counts > 1).any()))):
        raise ValueError(f"contacts touch: two of {sorted(dofs)} share a node")
