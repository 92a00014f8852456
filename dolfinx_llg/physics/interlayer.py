# SPDX-License-Identifier: LGPL-3.0-or-later
"""Interlayer exchange (RKKY) between two faces across a spacer, bilinear and biquadratic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.checks import check_number
from dolfinx_llg.collective import agree, raise_together
from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.facets import check_tags, outer_facets
from dolfinx_llg.physics.facing import Pairs, extract_face, pair_faces
from dolfinx_llg.physics.interaction import FieldTerm, mesh_id

__all__ = ["InterlayerExchange"]

type Floats = npt.NDArray[np.float64]


@checked
class InterlayerExchange(FieldTerm):
    r"""Exchange across a spacer, ``-j_1 m.m' - j_2 (m.m')^2`` per area; explicit in every scheme.

    .. math:: E = -\int_{\Gamma} j_1\, m \cdot m' + j_2\, (m \cdot m')^2, \qquad m'(x) = m(x'),

    x on the first face, x' the nearest point of the second one, which lies opposite. Gruenberg et
    al., Phys. Rev. Lett. 57, 2442 (1986); Slonczewski, Phys. Rev. Lett. 67, 3172 (1991). A positive
    j_1 prefers parallel layers, a negative j_2 a right angle.

    The faces bound two bodies of one mesh that share no node: with the spacer left out as a gap, or
    of no thickness (doubled nodes). Meshes of the faces need not match. Points of the first face
    that have nothing opposite carry no coupling; the integral is over those that have, by
    quadrature, and the field is the exact gradient of that sum, on both sides.

    Between touching bodies with doubled nodes it is a reduced coupling: up to a constant
    ``1/2 j_1 abs(m - m')^2``, or :math:`\kappa\, \partial_n m = j_1 (m' - m)` up to a part along
    m. Where bodies share their nodes, m and kappa dm/dn are continuous (``Exchange``).

    Args:
        m: The magnetization, its P1 space, or the mesh.
        facet_tags: Tags of the facets of the mesh.
        tags: Tags of the two faces, each an integer or several.
        j1: Bilinear coupling J_1/(mu0 Ms0^2 L): ``units.interlayer_from_J``.
        j2: Biquadratic coupling likewise.
        gap: Largest thickness of the spacer; points farther apart are not coupled. None: any.
        Ms: The same relative saturation magnetization as the ``Energy``'s.

    Attributes:
        area: Area over which the faces are coupled.
        uncoupled: Part of the first face that has nothing opposite, from 0 to 1.
        gaps: Smallest and largest distance of coupled points.

    Raises:
        ValueError: If a tag has no facet or one inside the mesh, the two faces have a facet or a
            node in common, no point of the first lies opposite the second, or a number is not
            finite; on all ranks alike.

    Note: Collective. Both faces are kept on every rank.
    """

    def __init__(
        self,
        m: fem.Function | fem.FunctionSpace | dolfinx.mesh.Mesh,
        facet_tags: dolfinx.mesh.MeshTags,
        tags: tuple[int | Sequence[int], int | Sequence[int]],
        j1: float,
        j2: float = 0.0,
        *,
        gap: float | None = None,
        Ms: float | fem.Function = 1.0,
    ) -> None:
        super().__init__(Ms)
        check_number("j1", j1)
        check_number("j2", j2)
        if gap is not None:
            check_number("gap", gap, positive=True)
        if len(tags) != 2:
            raise ValueError(f"tags must be those of the two faces, got {tags}")
        mesh = m if isinstance(m, dolfinx.mesh.Mesh) else _space(m).mesh
        self._mesh, self._j1, self._j2 = mesh, float(j1), float(j2)
        self.linear = self._j2 == 0.0
        agree(mesh.comm, j1=self._j1, j2=self._j2, gap=gap, tags=tags)
        V = fem.functionspace(mesh, ("Lagrange", 1))
        facets = [
            outer_facets(mesh, facet_tags, check_tags(tag), "InterlayerExchange") for tag in tags
        ]
        one, other = (extract_face(V, found) for found in facets)
        common = len(np.intersect1d(one.numbers, other.numbers))
        if common:
            raise ValueError(
                f"InterlayerExchange: the two faces share {common} node(s), at which m would be "
                "coupled to itself: they must bound bodies apart, or with nodes of their own"
            )
        # Products of two P1 fields, or the square of such a product.
        self._pairs: Pairs = pair_faces(one, other, 2 if self.linear else 4, gap)
        if not len(self._pairs.weights):
            raise ValueError(
                f"InterlayerExchange: no point of the face {tags[0]} lies opposite the face "
                f"{tags[1]}" + ("" if gap is None else f" within gap = {gap:g}")
            )
        self.area = float(self._pairs.weights.sum())
        self.uncoupled = max(0.0, 1.0 - self.area / self._pairs.area)
        self.gaps = float(self._pairs.gaps.min()), float(self._pairs.gaps.max())
        self._place(V, np.concatenate([one.numbers, other.numbers]), len(one.numbers))
        self._weights: Floats | None = None
        self._Ms_then: Any = None

    def _place(self, V: fem.FunctionSpace, numbers: npt.NDArray[np.int64], first: int) -> None:
        """Note which nodes of the faces this rank owns, and in which order all ranks send them."""
        start, end = V.dofmap.index_map.local_range
        own = np.flatnonzero((numbers >= start) & (numbers < end))
        self._own, self._dofs = own, (numbers[own] - start).astype(np.int64)
        self._order = np.concatenate(V.mesh.comm.allgather(own))
        self._first, self._size = first, len(numbers)
        self._dofmap = V.dofmap.list

    def assign(self, j1: float | None = None, j2: float | None = None) -> None:
        """Set the couplings to new numbers; j2 only where it was not 0 before.

        Raises:
            ValueError: If a number is not finite, differs between ranks, or j2 was 0 before.

        Note: Collective.
        """
        if j1 is not None:
            self._j1 = check_number("j1", j1)
        if j2 is not None:
            if self.linear and check_number("j2", j2) != 0.0:
                raise ValueError("j2 was 0 when the term was made: make a new one")
            self._j2 = check_number("j2", j2)
        agree(self._mesh.comm, j1=self._j1, j2=self._j2)
        self.refresh()

    def compute(self, m: fem.Function, h: fem.Function) -> None:
        """Set h to the nodal field of m (see ``FieldTerm``). Collective."""
        a, b = self._at_points(m)
        cosine = np.einsum("qc,qc->q", a, b)
        slope = self._pairs.weights * (self._j1 + 2.0 * self._j2 * cosine)
        self._set(h, slope[:, None] * b, slope[:, None] * a)

    def change(self, m: fem.Function, v: fem.Function, h: fem.Function) -> None:
        """Set h to the derivative of the field at m along v. Collective."""
        if self.linear:
            self.compute(v, h)
            return
        (a, b), (da, db) = self._at_points(m), self._at_points(v)
        cosine = np.einsum("qc,qc->q", a, b)
        turned = np.einsum("qc,qc->q", da, b) + np.einsum("qc,qc->q", a, db)
        slope = (self._pairs.weights * (self._j1 + 2.0 * self._j2 * cosine))[:, None]
        bend = (2.0 * self._j2 * self._pairs.weights * turned)[:, None]
        self._set(h, slope * db + bend * b, slope * da + bend * a)

    def energy(self, m: fem.Function) -> float:
        """Return the energy at m, the same on every rank. Units: mu0 Ms0^2 L^3. Collective."""
        a, b = self._at_points(m)
        cosine = np.einsum("qc,qc->q", a, b)
        return -float(self._pairs.weights @ (self._j1 * cosine + self._j2 * cosine**2))

    def _at_points(self, m: fem.Function) -> tuple[Floats, Floats]:
        """Values of a nodal field at the points of the first face and opposite to them."""
        self._check(m)
        parts = m.function_space.mesh.comm.allgather(m.x.array.reshape(-1, 3)[self._dofs])
        values = np.empty((self._size, 3))
        values[self._order] = np.concatenate(parts)
        first, second = values[: self._first], values[self._first :]
        return self._pairs.one @ first, self._pairs.other @ second

    def _set(self, h: fem.Function, one: Floats, other: Floats) -> None:
        """Set the field of densities at the points: their weak form over the lumped mass."""
        weak = np.concatenate([self._pairs.one.T @ one, self._pairs.other.T @ other])
        h.x.array[:] = 0.0
        h.x.array.reshape(-1, 3)[self._dofs] = weak[self._own] / self._masses(h)[:, None]
        h.x.scatter_forward()

    def _masses(self, h: fem.Function) -> Floats:
        """Lumped ``int Ms phi`` of this rank's nodes of the faces."""
        now = self.Ms.x.array if isinstance(self.Ms, fem.Function) else np.array(self.Ms)
        stale = self._weights is None or not np.array_equal(now, self._Ms_then)
        if any(self._mesh.comm.allgather(stale)):
            w = ufl.TestFunction(h.function_space)
            Ms: Any = self.Ms
            form = compile_form(Ms * w[0] * self.measure(self._mesh))
            mass = fem.assemble_vector(form)
            mass.scatter_reverse(dolfinx.la.InsertMode.add)
            self._weights = mass.array[::3][self._dofs].copy()
            self._Ms_then = np.array(now)
        assert self._weights is not None
        return self._weights

    def _check(self, m: fem.Function) -> None:
        space = m.function_space
        other = mesh_id(space.mesh) != mesh_id(self._mesh)
        if other or not np.array_equal(space.dofmap.list, self._dofmap):
            message: str | None = "m does not live on P1 vectors of the mesh of this coupling"
        else:
            message = None
        raise_together(self._mesh.comm, message)


def _space(m: fem.Function | fem.FunctionSpace) -> fem.FunctionSpace:
    return m if isinstance(m, fem.FunctionSpace) else m.function_space
