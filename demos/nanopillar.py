# SPDX-License-Identifier: LGPL-3.0-or-later
"""The pillar of ``demo_spin_torque``: layers, metals, mesh, and the macrospin beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mpi4py import MPI

import numpy as np
from dolfinx import fem, mesh
from scipy.integrate import solve_ivp

import dolfinx_llg as llg
from dolfinx_llg.transport import Conductor

WIDTH = 40.0
# Thicknesses in nm and cells per layer, from the bottom; the cells of the magnets resolve lambda_J.
LAYERS = {"lead": (10.0, 4), "fixed": (6.0, 5), "spacer": (4.0, 2), "free": (3.0, 3)}
LAYERS["top lead"] = LAYERS["lead"]
TAG = {name: number for number, name in enumerate(LAYERS, start=1)}
ENDS = np.cumsum([thick for thick, _ in LAYERS.values()])
COPPER = Conductor(sigma=3e7, diffusion=1e-2, lambda_sf=100e-9)
HEAVY = Conductor(sigma=5e6, diffusion=2e-3, lambda_sf=3e-9)  # a sink of spins
MAGNET = Conductor(
    sigma=5e6, diffusion=2e-3, lambda_sf=10e-9, lambda_J=2e-9, lambda_phi=3e-9, beta=0.6,
    beta_prime=0.7,
)  # fmt: skip
METALS = dict(zip(TAG.values(), (HEAVY, MAGNET, COPPER, MAGNET, HEAVY), strict=True))
BOTTOM, TOP = 1, 2


def layers(x: np.ndarray, free: Sequence[float]) -> np.ndarray:
    """Return m at points: z in the fixed layer, ``free`` above the middle of the spacer."""
    middle = sum(LAYERS[name][0] for name in ("lead", "fixed")) + LAYERS["spacer"][0] / 2
    upper = x[2] > middle
    return np.array([np.where(upper, free[k], (0.0, 0.0, 1.0)[k]) for k in range(3)])


def materials(alpha: float) -> dict[int, llg.units.Material]:
    """Return the two magnets, the free one with the damping alpha."""
    axis = (0, 0, 1)
    return {
        TAG["fixed"]: llg.units.Material(Ms=1.2e6, A=2e-11, alpha=0.1, K_u=1e6, easy_axis=axis),
        TAG["free"]: llg.units.Material(Ms=8e5, A=1.3e-11, alpha=alpha, K_u=2e5, easy_axis=axis),
    }


@dataclass
class Pillar:
    """Mesh of the pillar.

    Attributes:
        n: Cells across.
        domain: Mesh in nm.
        cell_tags: Layer of each cell.
        facet_tags: The contacts, BOTTOM and the middle of the TOP.
        heights: Heights of the nodes.
    """

    n: int
    domain: mesh.Mesh
    cell_tags: mesh.MeshTags
    facet_tags: mesh.MeshTags
    heights: np.ndarray

    @property
    def centres(self) -> np.ndarray:
        """Midpoints of the cells of this rank, ghosts included."""
        count = self.domain.topology.index_map(3)
        cells = np.arange(count.size_local + count.num_ghosts, dtype=np.int32)
        return mesh.compute_midpoints(self.domain, 3, cells)

    # Fields on the middle plane, y = WIDTH/2, as arrays [column, height] of the bent grid.

    def plane_nodes(self, function: fem.Function) -> np.ndarray | None:
        """Nodal values on the middle plane on rank 0, NaN where the function has no node."""
        x = function.function_space.tabulate_dof_coordinates()
        owned = function.function_space.dofmap.index_map.size_local
        on = np.flatnonzero(np.isclose(x[:owned, 1], WIDTH / 2))
        values = function.x.array.reshape(-1, 3)[on]
        parts = self.domain.comm.gather((x[on], values), root=0)
        if parts is None:
            return None
        x, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        picture = np.full((self.n + 1, len(self.heights), 3), np.nan)
        column = np.round(x[:, 0] / WIDTH * self.n).astype(int)
        row = np.abs(x[:, 2, None] - self.heights).argmin(axis=1)
        picture[column, row] = values
        return picture

    def plane_cells(self, function: fem.Function) -> np.ndarray:
        """Mean of the cells on both sides of the middle plane, for each square of the grid."""
        nz = len(self.heights) - 1
        owned = self.centres[: self.domain.topology.index_map(3).size_local]
        values = function.x.array.reshape(-1, 3)[function.function_space.dofmap.list[:, 0]]
        on = np.flatnonzero(np.abs(owned[:, 1] - WIDTH / 2) < WIDTH / self.n)
        column = np.floor(owned[on, 0] / WIDTH * self.n).astype(int)
        row = np.searchsorted(self.heights, owned[on, 2]) - 1
        place = column * nz + row
        sums = [np.bincount(place, weights=w, minlength=self.n * nz) for w in values[on].T]
        sums.append(np.bincount(place, minlength=self.n * nz))
        sums = self.domain.comm.allreduce(np.array(sums))
        return (sums[:3] / sums[3]).T.reshape(self.n, nz, 3)


def with_shape(
    magnet: mesh.Mesh, fields: llg.units.Regions, cell_tags: mesh.MeshTags
) -> llg.StrayField:
    """Return the stray field, and raise each layer's anisotropy by what its own takes from it.

    What it then brings is the field of each layer on the other, and that of twisted states.
    """
    for name in ("fixed", "free"):
        across, _, along = llg.stray_field.prism_factors(WIDTH, WIDTH, LAYERS[name][0])
        own = cell_tags.find(TAG[name])
        fields.q_u.x.array[own] += (along - across) * fields.Ms.x.array[own] ** 2
    return llg.StrayField(magnet, fields.Ms)


def pillar(comm: MPI.Intracomm, n: int) -> Pillar:
    """Return the pillar with n cells across."""
    steps = (np.full(cells, thick / cells) for thick, cells in LAYERS.values())
    heights = np.concatenate([[0.0], *steps]).cumsum()
    nz = len(heights) - 1
    domain = mesh.create_box(comm, [[0, 0, 0], [WIDTH, WIDTH, nz]], [n, n, nz])
    domain.geometry.x[:, 2] = np.interp(domain.geometry.x[:, 2], np.arange(nz + 1), heights)
    spots = {
        BOTTOM: lambda x: np.isclose(x[2], 0.0),
        TOP: lambda x: (
            np.isclose(x[2], heights[-1])
            & (np.abs(x[:2] - WIDTH / 2).max(axis=0) < WIDTH / 4 + 1e-9)
        ),
    }
    facets = {tag: mesh.locate_entities_boundary(domain, 2, spot) for tag, spot in spots.items()}
    whole = np.concatenate(list(facets.values()))
    tags = np.concatenate([np.full(len(f), tag, dtype=np.int32) for tag, f in facets.items()])
    order = np.argsort(whole)
    facet_tags = mesh.meshtags(domain, 2, whole[order], tags[order])
    out = Pillar(n, domain, facet_tags, facet_tags, heights)
    layer = (np.searchsorted(ENDS, out.centres[:, 2]) + 1).astype(np.int32)
    out.cell_tags = mesh.meshtags(domain, 3, np.arange(len(layer), dtype=np.int32), layer)
    return out


def macrospin(
    a: Callable[[float], float],
    b: Callable[[float], float],
    *,
    h_k: float,
    alpha: float,
    start: tuple[float, float, float],
    t_end: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return t and m_z(t) of one spin with torques a and b, functions of m_z, about z."""

    def rate(t: float, s: np.ndarray) -> np.ndarray:
        h = np.array([0.0, 0.0, h_k * s[2]])
        h += a(s[2]) * np.cross(s, (0, 0, 1)) + b(s[2]) * np.array([0.0, 0.0, 1.0])
        precession = np.cross(s, h)
        return -(precession + alpha * np.cross(s, precession)) / (1 + alpha**2)

    t = np.linspace(0, t_end, 801)
    return t, solve_ivp(rate, (0, t_end), start, t_eval=t, rtol=1e-8, atol=1e-10).y[2]


def crossing(t: np.ndarray | list[float], mz: np.ndarray | list[float]) -> float | None:
    """Return the time of the first zero of m_z, None if there is none."""
    after = np.flatnonzero(np.asarray(mz) * mz[0] < 0)
    if not len(after):
        return None
    k = int(after[0])
    return float(t[k - 1] + (t[k] - t[k - 1]) * mz[k - 1] / (mz[k - 1] - mz[k]))
