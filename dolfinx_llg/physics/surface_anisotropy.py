# SPDX-License-Identifier: LGPL-3.0-or-later
"""Anisotropy of the surface of a magnet: a boundary condition of Robin's kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dolfinx
import ufl
from ufl.core.expr import Expr

from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.data import scalar, unit_vector
from dolfinx_llg.physics.facets import FacetMeasure
from dolfinx_llg.physics.interaction import QuadraticTerm
from dolfinx_llg.physics.terms import Scalar, Vector, not_negative

__all__ = ["SurfaceAnisotropy"]


@checked
class SurfaceAnisotropy(QuadraticTerm):
    r"""Anisotropy of tagged outer facets, ``1/2 q_s (|m|^2 - (m.u)^2)`` per area (Neel).

    In equilibrium it is the boundary condition

    .. math:: \kappa\, \partial_n m = q_s (m \cdot u) (u - (m \cdot u) m),

    in the place of :math:`\partial_n m = 0`. Aharoni, Introduction to the Theory of Ferromagnetism
    (2000), sec. 5.1; SI: the energy K_s (1 - (m.u)^2) per area.

    Args:
        q_s: Strength 2 K_s/(mu0 Ms0^2 L), a number, function or UFL: ``units.q_s_from_K_s``;
            negative where m avoids u.
        facet_tags: Tags of facets; None: the whole boundary of the mesh.
        tags: Tag of the facets meant, or several.
        axis: Direction u: 3 numbers (normalised here) or a unit field; None: the normal of each
            facet, of which a mesh in fewer than 3 dimensions has the components it has.
        implicit: Whether semi-implicit schemes take the term at the new time level. None: where
            q_s >= 0.

    Raises:
        ValueError: If a tag has no facet or one inside the mesh (when the mesh is met), the axis is
            zero, or a number is not finite.

    Note: Collective. Integrals over facets have no counterpart on samples of cells:
        ``hyper_reduce`` refuses them.
    """

    def __init__(
        self,
        q_s: Scalar,
        facet_tags: dolfinx.mesh.MeshTags | None = None,
        tags: int | Sequence[int] | None = None,
        *,
        axis: Vector | None = None,
        implicit: bool | None = None,
    ) -> None:
        self.implicit = not_negative(q_s) if implicit is None else implicit
        self._q_s = scalar(q_s, "q_s")
        self._axis: Callable[[Expr], Expr] | None = None
        if axis is not None:
            self._axis = unit_vector(axis, "axis")
        self._measure = FacetMeasure(facet_tags, tags, "SurfaceAnisotropy")

    def measure(self, mesh: dolfinx.mesh.Mesh) -> ufl.Measure:
        """Return the measure of the facets."""
        return self._measure(mesh, self.quadrature)

    def bilinear(self, v: Expr, w: Expr) -> Expr:
        """Return ``q_s (v.w - (v.u)(w.u))``."""
        along_v, along_w = self._along(v, v), self._along(v, w)
        return self._q_s(v) * (ufl.inner(v, w) - along_v * along_w)

    def _along(self, m: Expr, v: Expr) -> Expr:
        if self._axis is not None:
            return ufl.inner(v, self._axis(m))
        normal = ufl.FacetNormal(ufl.domain.extract_unique_domain(m))
        return sum((v[k] * normal[k] for k in range(1, normal.ufl_shape[0])), v[0] * normal[0])
