# SPDX-License-Identifier: LGPL-3.0-or-later
r"""Spin accumulation in magnetic multilayers, and its torque as one more interaction.

The model of Zhang, Levy and Fert, Phys. Rev. Lett. 88, 236601 (2002), on magnetic (m) and
non-magnetic regions alike, as Garcia-Cervera and Wang, J. Comput. Phys. 224, 699 (2007), and
Abert et al., Sci. Rep. 5, 14855 (2015), state it, with the dephasing of Lepadatu, Sci. Rep. 7,
12937 (2017), and solved in equilibrium as Ruggeri et al., Physica B 486, 88 (2016):

.. math::
    J_s = -\beta\, m \otimes j - D_e [\nabla S - \beta\beta'\, m \otimes (\nabla S^T m)], \qquad
    0 = -\nabla \cdot J_s - D_e \Bigl[ \frac{S}{\lambda_{sf}^2} + \frac{S \times m}{\lambda_J^2}
    + \frac{m \times (S \times m)}{\lambda_\varphi^2} \Bigr].

S is in units of Ms0 and j, the electric current density, in units in which mu_B/e = 1
(``Units.current_unit``). D_e = 2 D_0 in the first three papers; the drift term has their sign with
the electron's charge -e (see ``physics.torques``). What m loses S gains, and the other way round:
the torque (``SpinTorque``) is D_e/Ms times the last two terms of the bracket, so that its integral
is the spin current that enters the magnet less what spin flips take.

S relaxes within tau_sf = lambda_sf^2/D_e (below a picosecond in ferromagnets, where tau_J is a few
femtoseconds), m within tens of picoseconds: S follows m, and is solved for its equilibrium with the
m of each step.

Boundaries: dS/dn = 0, so that at a contact inside a magnet the current carries its equilibrium
polarisation in or out. No flux leaves elsewhere. At interfaces S and the normal of J_s are
continuous.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from petsc4py import PETSc

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem
from dolfinx.fem.petsc import assemble_matrix, assemble_vector, create_matrix, create_vector
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_number
from dolfinx_llg.collective import agree, together
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.krylov import RIGHT_GMRES, Krylov, Options
from dolfinx_llg.la.lifetimes import tidy
from dolfinx_llg.physics.interaction import Interaction, mesh_id
from dolfinx_llg.physics.torques import SpinTorque
from dolfinx_llg.transport.current import Current
from dolfinx_llg.transport.materials import Transport
from dolfinx_llg.transport.submesh import Magnet

__all__ = ["SpinAccumulation"]

SAME = PETSc.Mat.Structure.SAME_NONZERO_PATTERN
# 15 to 20 iterations on any mesh, where ILU takes 35 at 4,000 unknowns and 50 at 11,000. SOR, as
# Chebyshev's bounds mean little for a nonsymmetric matrix; the coarse spaces of the first m serve.
DEFAULT_PC = {
    "pc_type": "gamg",
    "pc_gamg_reuse_interpolation": True,
    "mg_levels_ksp_type": "richardson",
    "mg_levels_ksp_max_it": 1,
    "mg_levels_pc_type": "sor",
}


@checked
class SpinAccumulation(Interaction):
    """The torque of a current on a magnet, by way of the spin accumulation that m and j cause.

    ``update`` solves for S with the m of the old level; the matrix keeps its pattern and its
    constant part, the solver starts from the last S (so that a run restarted from a checkpoint
    agrees with the uninterrupted one to the solver's tolerance, not to the last bit).

    Args:
        magnet: The magnetic part of the mesh (``magnet_of``); m lives on ``magnet.mesh``.
        current: Current density on the whole mesh: a ``Current`` (``solve_current``), gdim numbers
            or a DG0 vector function, in ``Units.current_unit``. A function is read anew in each
            update.
        transport: Properties of the metals on the whole mesh.
        amplitude: Factor of the current, a number or a function of the time t (a pulse).
        petsc_options: PETSc options; default right GMRES to rtol 1e-8 with GAMG.
        petsc_options_prefix: Prefix under which the command line reaches the solver.

    Attributes:
        S: Spin accumulation on the whole mesh, P1, in units of Ms0.
        S_magnet: The same on the magnet.
        properties: The transport properties as DG0 functions on the whole mesh, by name.
        amplitude: The factor in force.
        iterations: Krylov iterations of the last update.

    Raises:
        ValueError: If a property is out of its range, or a field lives on another mesh.
    """

    def __init__(
        self,
        magnet: Magnet,
        current: Current | fem.Function | Sequence[float] | npt.NDArray[np.float64],
        transport: Transport,
        *,
        amplitude: float | Callable[[float], float] = 1.0,
        petsc_options: Mapping[str, Any] | None = None,
        petsc_options_prefix: str = "llg_spin_",
    ) -> None:
        self.magnet = magnet
        msh = magnet.parent
        self.properties = transport.on(msh)
        space = ("Lagrange", 1, (3,))
        self.S = fem.Function(fem.functionspace(msh, space), name="S")
        self.S_magnet = fem.Function(fem.functionspace(magnet.mesh, space), name="S")
        self._m = fem.Function(self.S_magnet.function_space, name="m")
        self._in_time = amplitude if callable(amplitude) else None
        self.amplitude = math.nan if callable(amplitude) else check_number("amplitude", amplitude)
        self.iterations = 0
        rates = [
            _rate(self.properties["diffusion"], self.properties[name])
            for name in ("lambda_J", "lambda_phi")
        ]
        self._torque = SpinTorque(self.S_magnet, *(magnet.restrict(rate) for rate in rates))
        self._compile(current, rates)
        self._create(Options(petsc_options_prefix, petsc_options))

    def _compile(self, current: Any, rates: Sequence[fem.Function]) -> None:
        magnet, field, m = self.magnet, self.properties, self._m
        msh, V = magnet.parent, self.S.function_space
        u, w = ufl.TrialFunction(V), ufl.TestFunction(V)
        D = field["diffusion"]
        maps = [magnet.cell_map]
        dx = ufl.Measure("dx", domain=msh, subdomain_data=magnet.tags)
        flip = D / field["lambda_sf"] ** 2
        constant = (D * ufl.inner(ufl.grad(u), ufl.grad(w)) + flip * ufl.inner(u, w)) * dx
        along = ufl.inner(ufl.dot(m, ufl.grad(u)), ufl.dot(m, ufl.grad(w)))
        exchange, dephasing = rates
        turned = ufl.cross(u, m)
        # Degree 2 keeps order 2 and all signs (the terms are skew or definite at each point), and
        # assembles three times as fast as the exact degree 4.
        varying = (
            exchange * ufl.inner(turned, w)
            + dephasing * ufl.inner(turned, ufl.cross(w, m))
            - D * field["beta"] * field["beta_prime"] * along
        ) * dx(1, metadata={"quadrature_degree": 2})
        j, facets = _density(current, msh)
        beta = field["beta"]
        source = -beta * ufl.inner(m, ufl.dot(ufl.grad(w), j)) * dx(1)
        ends = _tagged(magnet, facets)
        ds = ufl.Measure("ds", domain=msh, subdomain_data=ends)
        source += beta * ufl.inner(j, ufl.FacetNormal(msh)) * ufl.inner(m, w) * ds(1)
        self._constant = compile_form(constant)
        self._varying = compile_form(varying, entity_maps=maps)
        self._source = compile_form(source, entity_maps=maps)
        self._pattern = compile_form(constant + varying, entity_maps=maps)

    def _create(self, options: Options) -> None:
        tidy(self.S.function_space.mesh)
        self._base = create_matrix(self._pattern)
        assemble_matrix(self._base, self._pattern)  # fixes the pattern
        self._base.assemble()
        self._base.zeroEntries()
        assemble_matrix(self._base, self._constant)
        self._base.assemble()
        self._A = self._base.duplicate(copy=True)
        self._b = create_vector(self.S.function_space)
        self._x = self._A.createVecRight()
        defaults: Mapping[str, Any] = RIGHT_GMRES
        if not options.given("pc_type"):
            defaults = {**RIGHT_GMRES, **DEFAULT_PC}
        self._krylov = Krylov(self._A, options, defaults=defaults)

    def gradient(self, m: Expr, w: Expr) -> Expr:
        """Return the integrand ``-Ms h_T.w``, with the S of the last update.

        Args:
            m: Magnetization, a UFL vector on the magnet's mesh.
            w: Direction, a UFL vector; the result is linear in it.
        """
        return self._torque.gradient(m, w)

    def update(self, m: fem.Function, t: float) -> None:
        """Solve for the spin accumulation of m and of the current at the time t. Collective.

        Args:
            m: Magnetization on the magnet's mesh.
            t: Time, dimensionless, at which the amplitude is taken.

        Raises:
            ValueError: If m does not live on the magnet's mesh.
            ConvergenceError: If the solver did not converge; S keeps its last good value.
        """
        if mesh_id(m.function_space.mesh) != mesh_id(self.magnet.mesh):
            raise ValueError("m does not live on magnet.mesh, on which this torque acts")
        if self._in_time is not None:
            with together(m.function_space.mesh.comm):
                self.amplitude = check_number("the amplitude of the current", self._in_time(t))
            agree(m.function_space.mesh.comm, amplitude=self.amplitude)
        if not math.isfinite(self.amplitude):
            raise ValueError(f"the amplitude of the current must be finite, got {self.amplitude}")
        self._m.x.array[:] = m.x.array
        self._base.copy(self._A, SAME)
        assemble_matrix(self._A, self._varying)
        self._A.assemble()
        b, x = self._b, self._x
        with b.localForm() as local:
            local.set(0.0)
        assemble_vector(b, self._source)
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        b.scale(self.amplitude)
        n = x.getLocalSize()
        x.array[:] = self.S.x.array[:n]
        self.iterations = self._krylov.solve(b, x).check("spin accumulation", t).iterations
        self.S.x.array[:n] = x.array
        self.S.x.scatter_forward()
        self.magnet.restrict(self.S, self.S_magnet)

    def destroy(self) -> None:
        """Free all PETSc objects now (else they go with this object). Collective."""
        for item in (self._krylov, self._base, self._A, self._b, self._x):
            item.destroy()


def _rate(diffusion: fem.Function, length: fem.Function) -> fem.Function:
    """Return the DG0 function D/length^2, zero where the length is infinite."""
    rate = fem.Function(length.function_space, name=f"D/{length.name}^2")
    rate.x.array[:] = diffusion.x.array / length.x.array**2
    return rate


def _density(current: Any, msh: dolfinx.mesh.Mesh) -> tuple[Expr, npt.NDArray[np.int32] | None]:
    """Return the current density as UFL, and the facets through which it passes if known."""
    gdim = msh.geometry.dim
    facets = None
    if isinstance(current, Current):
        current, facets = current.j, current.facets
    if isinstance(current, fem.Function):
        if current.ufl_shape != (gdim,):
            raise ValueError(f"the current must have shape ({gdim},), got {current.ufl_shape}")
        if mesh_id(current.function_space.mesh) != mesh_id(msh):
            raise ValueError("the current lives on another mesh than the spin accumulation")
        return current, facets
    numbers = np.atleast_1d(np.asarray(current, dtype=np.float64))
    if numbers.shape != (gdim,) or not np.isfinite(numbers).all():
        raise ValueError(f"the current must be {gdim} finite numbers, got {current}")
    return fem.Constant(msh, numbers), facets


def _tagged(magnet: Magnet, facets: npt.NDArray[np.int32] | None) -> dolfinx.mesh.MeshTags:
    """Tag 1 on the outer facets of the parent that belong to the magnet (of those given)."""
    topology = magnet.parent.topology
    fdim = topology.dim - 1
    topology.create_connectivity(fdim, topology.dim)
    outer = dolfinx.mesh.exterior_facet_indices(topology)
    if facets is not None:
        # With j from a potential the other sides are tight in the weak sense only: the residual
        # of j.n there would be a source of spins.
        outer = np.intersect1d(outer, facets)
    links = topology.connectivity(fdim, topology.dim)
    owner = links.array[links.offsets[outer]]
    inside = outer[np.isin(owner, magnet.tags.indices)].astype(np.int32)
    return dolfinx.mesh.meshtags(magnet.parent, fdim, inside, np.ones(len(inside), dtype=np.int32))
