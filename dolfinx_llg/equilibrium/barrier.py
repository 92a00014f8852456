# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy barriers: the lowest pass on the way from one equilibrium to another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Unpack

import numpy as np
from dolfinx import fem

from dolfinx_llg.checks import check_integer, check_number, warn
from dolfinx_llg.collective import agree, raise_together
from dolfinx_llg.ensemble import Ensemble
from dolfinx_llg.equilibrium.minimise import Equilibrium, Minimiser
from dolfinx_llg.equilibrium.options import MinimiseOptions, Search
from dolfinx_llg.equilibrium.pointwise import Point
from dolfinx_llg.equilibrium.saddle import Direction, climb, lowest_direction
from dolfinx_llg.equilibrium.string import String, first_path
from dolfinx_llg.errors import ConvergenceError
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.physics.interaction import mesh_id
from dolfinx_llg.solvers.noise import original_numbers
from dolfinx_llg.sphere import check_magnetization
from dolfinx_llg.typing import Array

__all__ = ["Barrier", "energy_barrier"]

logger = logging.getLogger(__name__)

SAME = 1e-3
"""Largest nodal distance at which two states are one: equilibria are known to their torque."""
BEND = 0.3
"""Turn in radians by which a path leaves a pass that is none, in the middle of the path."""
ATTEMPTS = 4
"""How often a path may leave such a pass."""
DEFAULTS: MinimiseOptions = {
    "torque": 1e-4,
    "search": Search(max_iterations=300),
    "petsc_options_prefix": "llg_barrier_",
}
"""What differs from the defaults of ``minimise``."""


@dataclass(frozen=True)
class Barrier:
    r"""A path over the lowest pass that was found between two equilibria.

    Energies are in units of :math:`\mu_0 M_{s0}^2 L^3` (``units.energy_to_J``).

    Attributes:
        barrier: Energy of the pass over that of a.
        back: Energy of the pass over that of b.
        positions: Where the images lie on the path, from 0 (a) to 1 (b), by its length in the
            L2 norm of m weighted by Ms.
        energies: Energies of the images over that of a.
        index: Index of the pass among the images.
        a: The equilibrium at the start.
        b: That at the end.
        saddle: The pass; ``saddle.stability()`` says "saddle".
        eigenvalues: The two lowest of the Hessian there, in units of Ms0: at a pass the first one
            is negative and the second not (zero, where a turn or a shift costs nothing).
        left: Largest turn of a spin off the path that a further step of the string would make, in
            radians: how well the path lies in its valley. The pass is known far better.
        steps: Steps of the string.
        evaluations: Gradients of the energy on this group of ranks.
        products: Hessian products.
    """

    barrier: float
    back: float
    positions: list[float]
    energies: list[float]
    index: int
    a: Equilibrium
    b: Equilibrium
    saddle: Equilibrium
    eigenvalues: tuple[float, float]
    left: float
    steps: int
    evaluations: int
    products: int
    _images: list[fem.Function] = field(repr=False)

    @property
    def images(self) -> list[fem.Function]:
        """Magnetizations of all images, a and b and the pass among them."""
        return list(self._images)


@checked
def energy_barrier(
    energy: Energy,
    m_a: fem.Function,
    m_b: fem.Function,
    *,
    images: int = 11,
    via: Sequence[fem.Function] = (),
    tolerance: float = 1e-2,
    share: Ensemble | None = None,
    **options: Unpack[MinimiseOptions],
) -> Barrier:
    r"""Find the energy barrier between two equilibria, and the path over it.

    m_a and m_b go downhill to their minima; a path between these slides into the valley between
    them (simplified string method, preconditioned by the scalar solver of exchange and mass). From
    its summit one image climbs to the pass by Newton's method, uphill along the one direction and
    downhill in all others, to a torque far below what the path could give. There the two lowest
    eigenvalues of the Hessian are found: where the second one is negative too (a coherent turn,
    where nucleation costs less), the path is bent along its direction and slides on to a lower
    pass. At last the path's two parts descend from the pass.

    The path found depends on the first one: a body may have several valleys. ``via`` chooses.

    In a coarse basis the ends and the pass are at rest as ``minimise(basis=...)`` has it (the
    gradient with respect to the coefficients vanishes), and images move by increments of the space.
    Uniform m are in it: K V of a particle is exact. A wall that nucleates in a wire
    costs more than on the fine mesh, by a share that falls fast with H once coarse cells are as
    large as its wall parameter; at ell = 3 it is that of a global basis ("constants"; "patches"
    need a layer more), at ell = 2 the error of localization stays.

    Args:
        energy: Energy; every term has one (a torque, or noise, is refused).
        m_a: State whose basin is left, not changed.
        m_b: State at the other side, not changed.
        images: Number of images, the two ends included, at least 3; more resolve a path along
            which m changes in many places one after the other.
        via: States through which the first path leads, in order.
        tolerance: Largest turn of a spin off the path in a step of the string, in radians, at
            which the path is good enough. It is where it is after ``search.max_iterations`` (see
            ``Barrier.left``).
        share: Groups of ranks (``Ensemble``) that share the images: energy, m_a and m_b live on
            its ``comm``, built alike in all groups of one size. None: one after the other.
        options: The keywords of ``minimise``: ``torque`` (default 1e-4) of the ends and of the
            pass, in which the barrier's error is of second order; ``search`` (default
            ``Search(max_iterations=300)``), for the string and the second eigenvalue too;
            ``basis``; method, t, petsc_options, petsc_options_prefix (default "llg_barrier_").

    Raises:
        ValueError: If m_a and m_b are one state, or go downhill to one, a number is out of range,
            or a term has no energy.
        ConvergenceError: If an end or the pass was not found to the torque.

    Note: Collective, with ``share`` on all groups.
    """
    check_integer("images", images, 3)
    check_number("tolerance", tolerance, positive=True)
    V = m_a.function_space
    comm = V.mesh.comm
    agree(comm, images=images, tolerance=tolerance)
    for name, m in (("m_b", m_b), *((f"via[{k}]", m) for k, m in enumerate(via))):
        if mesh_id(m.function_space.mesh) != mesh_id(V.mesh):
            raise ValueError(f"{name} must live on the mesh of m_a")
    ends, stops = [_copy(m, V) for m in (m_a, m_b)], [_copy(m, V) for m in via]
    _check_apart(ends, "m_a and m_b are one state", "")
    mover = Minimiser(energy, ends[0], **(DEFAULTS | options))
    try:
        if share is not None:
            _check_alike(V, share)
        found = [mover.run()]
        mover.m = ends[1]
        found.append(mover.run())
        _check_apart(
            ends, "m_a and m_b go downhill to one state", ": is one of them no metastable state?"
        )
        return _PassSearch(mover, found[0], found[1], share).run(stops, images, tolerance)
    finally:
        mover.destroy()


class _PassSearch:
    """One search for a pass, between two equilibria."""

    def __init__(
        self, mover: Minimiser, a: Equilibrium, b: Equilibrium, share: Ensemble | None
    ) -> None:
        self._mover, self._land, self._a, self._b = mover, mover.land, a, b
        self._share = share
        self._spent = a.evaluations + b.evaluations
        self._land.evaluations = self._land.products = 0

    def run(self, via: Sequence[fem.Function], images: int, tolerance: float) -> Barrier:
        """Return the barrier; see ``energy_barrier``."""
        land, torque = self._land, self._mover.torque
        limit, seed = self._mover.search.max_iterations, self._mover.search.seed
        stops = [land.field.nodal(m) for m in (self._a.m, *via, self._b.m)]
        string = String(land, first_path(land, stops, images), self._share)
        string.relax(tolerance, limit)
        for attempt in range(ATTEMPTS + 1):
            position, p, uphill = string.summit()
            p, up, steps = climb(land, p, land.coefficients(p, uphill), torque)
            if p.torque > torque:
                raise ConvergenceError(
                    f"energy_barrier did not reach the pass: the largest nodal |m x h| is "
                    f"{p.torque:.3g} after {steps} steps, {torque:g} were asked for; more "
                    "images, or another first path (via), may help",
                    reason=-3,
                    iterations=steps,
                    t=self._mover._t,
                )
            up = lowest_direction(land, p, up.v, 1e-3, 100)
            start = land.precondition(p, land.random_gradient(p, seed + attempt))
            second = lowest_direction(land, p, start, 1e-4, 60, but=[up])
            # A uniform turn may be nearly all of the start, and an eigenvector that is not the
            # lowest (a hard axis): what is normal to the one found is looked at, too.
            third = lowest_direction(land, p, start, 1e-4, 60, but=[up, second])
            second = min(second, third, key=lambda one: one.curvature)
            if second.curvature + second.residual >= -1e-3 * abs(up.curvature):
                break
            if attempt < ATTEMPTS:
                self._bend(string, p, second, position)
                string.relax(tolerance, limit)
        else:
            warn(
                f"energy_barrier: the pass has a second negative eigenvalue, "
                f"{second.curvature:.3g} beside {up.curvature:.3g}: a lower one lies beside it; "
                "more images, or another first path (via), may lead there"
            )
        index = string.part_at(position, p.m)
        left = string.relax(tolerance, limit, pin=index)
        return self._result(string, index, p.torque, (up.curvature, second.curvature), left)

    def _bend(self, string: String, p: Point, aside: Direction, position: float) -> None:
        """Turn the images along a direction, those far from the pass less."""
        land, v = self._land, aside.v
        logger.info("a pass with two negative eigenvalues (%.3g) is left", aside.curvature)
        v = v * (BEND / land.largest(land.turn(p, v)))
        for k, x in enumerate(string.positions()):
            if 0 < k < len(string.values) - 1:
                share = x / position if x < position else (1 - x) / (1 - position)
                string.values[k] = land.move(land.point(string.values[k]), share * v).m

    def _result(
        self, string: String, index: int, torque: float, eigenvalues: tuple[float, float],
        left: float,
    ) -> Barrier:  # fmt: skip
        land, mover = self._land, self._mover
        energies = string.energies()
        functions = []
        for values in string.values:
            m = fem.Function(self._a.m.function_space, name="m")
            land.field.assign(m, values)
            functions.append(m)
        functions[0], functions[-1] = self._a.m, self._b.m
        saddle = Equilibrium(
            functions[index], mover.energy.total(functions[index], mover._t), torque, string.steps,
            land.evaluations, land.products, "energy_barrier", False, mover.energy, mover.basis,
            mover._t,
        )  # fmt: skip
        height = float(energies[index])
        return Barrier(
            height,
            height - float(energies[-1]),
            string.positions().tolist(),
            energies.tolist(),
            index,
            self._a,
            self._b,
            saddle,
            eigenvalues,
            left,
            string.steps,
            self._spent + land.evaluations,
            land.products,
            functions,
        )


def _copy(m: fem.Function, V: fem.FunctionSpace) -> fem.Function:
    """Return m in another space of magnetizations on its mesh, whose layout is the same."""
    check_magnetization(m)
    assert np.array_equal(m.function_space.dofmap.list, V.dofmap.list)
    new = fem.Function(V, name="m")
    new.x.array[:] = m.x.array
    return new


def _check_apart(ends: Sequence[fem.Function], what: str, then: str) -> None:
    comm = ends[0].function_space.mesh.comm
    gaps = (ends[0].x.array - ends[1].x.array).reshape(-1, 3)
    largest = max(comm.allgather(float(np.linalg.norm(gaps, axis=1).max(initial=0.0))))
    raise_together(
        comm,
        f"{what} (no node differs by more than {largest:.2g}): there is no barrier between "
        f"them{then}"
        if largest < SAME
        else None,
    )


def _check_alike(V: fem.FunctionSpace, share: Ensemble) -> None:
    """Refuse groups whose ranks have other nodes than those of the same place elsewhere."""
    numbers: Array = original_numbers(V).astype(np.float64)
    others = share.across.allgather(numbers)
    fits = len(others) == share.groups and V.mesh.comm.size == share.comm.size
    fits = fits and all(np.array_equal(numbers, other) for other in others)
    fits = all(share.comm.allgather(fits))
    if not all(share.across.allgather(fits)):
        raise ValueError(
            f"the {share.groups} groups must have as many ranks each, and m_a live on a mesh on "
            f"share.comm made alike in all of them: this one has {share.comm.size} rank(s), the "
            f"mesh {V.mesh.comm.size}"
        )
