# SPDX-License-Identifier: LGPL-3.0-or-later
"""The magnet of ``demo_nanocomposite``, as each of the methods knows it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from dolfinx import fem, mesh
from shared import comm

import dolfinx_llg as llg
from dolfinx_llg.grps import coarse_basis
from dolfinx_llg.homogenization import homogenize
from dolfinx_llg.homogenization.cell_data import mean_over
from dolfinx_llg.la.basis import GalerkinBasis

HEX = mesh.CellType.hexahedron
# MnBi and Fe65Co35: wall parameter sqrt(A/K) of the one, exchange length of the other, 3 nm.
HARD = llg.units.Material(Ms=5.8e5, A=8e-12, alpha=0.1, K_u=9e5, easy_axis=(0, 0, 1))
SOFT = llg.units.Material(Ms=1.9e6, A=2e-11, alpha=0.1, K_u=1e4, easy_axis=(0, 0, 1))
UNITS = llg.units.Units(Ms0=SOFT.Ms, length=1e-9)


@dataclass(frozen=True)
class Medium:
    """A random polycrystal: grains of a mean size in a cube, hard or soft, their axes scattered.

    Attributes:
        side: Edge of the cube [nm].
        grain: Mean size of a grain [nm]: a cube of that edge has its volume.
        hard: Probability that a grain is hard.
        scatter: Standard deviation of the angle between an easy axis and z [degrees].
        seed: Seed of the grains.
    """

    side: float = 48.0
    grain: float = 6.0
    hard: float = 0.6
    scatter: float = 15.0
    seed: int = 1

    @property
    def count(self) -> int:
        """Number of grains."""
        return max(1, round((self.side / self.grain) ** 3))

    def box(self, cells: int) -> mesh.Mesh:
        """The cube with so many cells a side."""
        return mesh.create_box(comm, [[0.0] * 3, [self.side] * 3], [cells] * 3, cell_type=HEX)

    def regions(self, msh: mesh.Mesh) -> llg.units.Regions:
        """Data of the medium on a mesh of the cube."""
        rng = np.random.default_rng((self.seed, 1))  # not the stream of the grains
        materials = {}
        for tag in range(self.count):
            tilt = np.radians(self.scatter) * abs(rng.standard_normal())
            turn = 2 * np.pi * rng.random()
            axis = (np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt))
            material = HARD if rng.random() < self.hard else SOFT
            materials[tag] = replace(material, easy_axis=axis)
        box = ([0.0] * 3, [self.side] * 3)
        tags = llg.voronoi_grains(msh, self.count, seed=self.seed, box=box)
        return llg.units.Regions.from_cell_tags(msh, tags, materials, UNITS)


@dataclass
class Magnet:
    """An energy with its stray field, m, the field that is varied, and the space of m."""

    energy: llg.Energy
    m: fem.Function
    field: llg.Zeeman
    basis: GalerkinBasis | None = None
    kappa: fem.Function | None = None

    @property
    def dofs(self) -> int:
        """Numbers that describe m: three a node, or a function."""
        if self.basis is not None:
            return int(self.basis.P.getSize()[1])
        return 3 * int(self.m.function_space.dofmap.index_map.size_global)


def terms(data: llg.units.Regions) -> list[llg.Interaction]:
    """Exchange and anisotropy of a polycrystal."""
    return [
        llg.Exchange(data.kappa),
        llg.UniaxialAnisotropy(data.easy_axis, data.q_u),
    ]


def resolved(medium: Medium, msh: mesh.Mesh) -> Magnet:
    """The magnet as it is, on a mesh that resolves the grains."""
    data = medium.regions(msh)
    m = llg.magnetization(msh, (0, 0, 1))
    field = llg.Zeeman((0.0, 0.0, 0.0), Ms=data.Ms)
    stray = llg.StrayField(m, data.Ms, in_basis="fine")
    return Magnet(llg.Energy([*terms(data), field, stray], Ms=data.Ms), m, field, None, data.kappa)


def grps(magnet: Magnet, hierarchy: llg.grps.Hierarchy, ell: int) -> Magnet:
    """The same magnet in the span of basis functions that know its grains."""
    m = llg.magnetization(hierarchy.fine, (0, 0, 1))
    return replace(magnet, m=m, basis=coarse_basis(magnet.energy, hierarchy, ell=ell))


def homogenized(medium: Medium, cells: int, macro: mesh.Mesh) -> Magnet:
    """The limit of small grains: tensors of another sample of the medium, taken as periodic."""
    cell = medium.box(cells)
    data = replace(medium, seed=medium.seed + 1).regions(cell)
    zero = llg.Zeeman((0.0, 0.0, 0.0), Ms=data.Ms)
    sample = llg.Energy([*terms(data), zero], Ms=data.Ms)
    limit = homogenize(sample, cell, macro=macro, degree=1)
    (field,) = [term for term in limit.terms if isinstance(term, llg.Zeeman)]
    return Magnet(limit, llg.magnetization(macro, (0, 0, 1)), field)


def averaged(medium: Medium, fine: mesh.Mesh, macro: mesh.Mesh) -> Magnet:
    """What one would type in without a theory: means of A, Ms and K_u, the axis z."""
    data = medium.regions(fine)

    def mean(value: fem.Function) -> float:
        return float(mean_over(fine, value))

    Ms, m = mean(data.Ms), llg.magnetization(macro, (0, 0, 1))
    field = llg.Zeeman((0.0, 0.0, 0.0), Ms=Ms)
    parts = [
        llg.Exchange(mean(data.kappa)),
        llg.UniaxialAnisotropy((0, 0, 1), mean(data.q_u)),
        field,
        llg.StrayField(m, Ms),
    ]
    return Magnet(llg.Energy(parts, Ms=Ms), m, field)
