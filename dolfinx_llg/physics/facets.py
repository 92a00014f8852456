# SPDX-License-Identifier: LGPL-3.0-or-later
"""Tagged outer facets, as the place of a surface energy: checked, and as a measure of UFL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import dolfinx
import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.checks import check_integer, check_kind
from dolfinx_llg.collective import agree, raise_together, total

__all__ = ["FacetMeasure", "facet_rows", "outer_facets"]

type Rows = npt.NDArray[np.int32]

#: All facets on which a mesh has surface energies: UFL wants the same object in all integrals of a
#: form, and DOLFINx a number for each of its members.
_KNOWN: WeakKeyDictionary[Any, list[tuple[int, Rows]]] = WeakKeyDictionary()


def check_tags(tags: int | Sequence[int] | None, name: str = "tags") -> tuple[int, ...] | None:
    """Return tags as a tuple of integers, None (the whole boundary) as it is."""
    if tags is None:
        return None
    several = [tags] if not isinstance(tags, Sequence | np.ndarray) else list(tags)
    found = tuple(sorted({check_integer(name, tag, -(2**31), 2**31 - 1) for tag in several}))
    if not found:
        raise ValueError(f"{name} must hold a tag, got none")
    return found


def outer_facets(
    mesh: dolfinx.mesh.Mesh,
    facet_tags: dolfinx.mesh.MeshTags | None,
    tags: tuple[int, ...] | None,
    name: str,
) -> npt.NDArray[np.int32]:
    """Return the local numbers of this rank's own outer facets with the tags.

    Args:
        mesh: The mesh.
        facet_tags: Tags of its facets; None with ``tags`` None: the whole boundary.
        tags: Tags wanted; None: the whole boundary.
        name: Of the term, for messages.

    Raises:
        ValueError: If the tags are those of other entities or of another mesh, a tag has no facet,
            or a facet with a tag lies inside the mesh; on all ranks alike.

    Note: Collective.
    """
    topology = mesh.topology
    fdim = topology.dim - 1
    topology.create_connectivity(fdim, topology.dim)
    topology.create_connectivity(topology.dim, fdim)
    outer = dolfinx.mesh.exterior_facet_indices(topology)
    if tags is None:
        return np.asarray(outer, dtype=np.int32)
    if facet_tags is None:
        raise ValueError(f"{name}: facets are told by their tags, but facet_tags is None")
    check_kind("facet_tags", facet_tags, dolfinx.mesh.MeshTags, "MeshTags")
    if facet_tags.dim != fdim:
        raise ValueError(
            f"{name}: facet_tags has dimension {facet_tags.dim}, the facets have {fdim}"
        )
    owned = topology.index_map(fdim).size_local
    foreign = bool(np.any(facet_tags.indices >= owned + topology.index_map(fdim).num_ghosts))
    raise_together(
        mesh.comm, f"{name}: facet_tags has facets that the mesh does not have" if foreign else None
    )
    found = [facet_tags.find(tag) for tag in tags]
    found = [own[own < owned] for own in found]
    counts = total(mesh.comm, [len(own) for own in found])
    if not all(counts):
        present = np.unique(np.concatenate(mesh.comm.allgather(np.unique(facet_tags.values))))
        missing = [tag for tag, count in zip(tags, counts, strict=True) if not count]
        raise ValueError(
            f"{name}: no facet has the tag(s) {missing}; the mesh has the tags {present.tolist()}"
        )
    chosen = np.unique(np.concatenate(found)).astype(np.int32)
    inner = int(total(mesh.comm, len(np.setdiff1d(chosen, outer))))
    if inner:
        raise ValueError(
            f"{name}: {inner} of the facets with the tag(s) {list(tags)} lie inside the mesh: a "
            "surface energy lives on outer facets (m is continuous across inner ones)"
        )
    return chosen


def facet_rows(mesh: dolfinx.mesh.Mesh, facets: npt.NDArray[np.int32]) -> Rows:
    """Return (cell, number of the facet in the cell) of outer facets, shape (k, 2)."""
    kind = fem.IntegralType.exterior_facet
    rows = fem.compute_integration_domains(kind, mesh.topology, facets)
    return np.asarray(rows, dtype=np.int32).reshape(-1, 2)


class FacetMeasure:
    """The measure of tagged outer facets, on each mesh on which a term is used.

    Args:
        facet_tags: Tags of facets.
        tags: Tags of those meant; None: the whole boundary.
        name: Of the term, for messages.
    """

    def __init__(
        self,
        facet_tags: dolfinx.mesh.MeshTags | None,
        tags: int | Sequence[int] | None,
        name: str,
    ) -> None:
        if facet_tags is not None and tags is None:
            raise ValueError(f"{name}: tags says which of facet_tags are meant, got None")
        if facet_tags is not None and facet_tags.dim != facet_tags.topology.dim - 1:
            raise ValueError(
                f"{name}: facet_tags has dimension {facet_tags.dim}, the facets have "
                f"{facet_tags.topology.dim - 1}"
            )
        self._facet_tags, self._tags = facet_tags, check_tags(tags)
        if facet_tags is None and self._tags is not None:
            raise ValueError(f"{name}: tags = {tags}, but facet_tags is None")
        self._name = name
        self._numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def __call__(
        self, mesh: dolfinx.mesh.Mesh, metadata: Mapping[str, Any] | None = None
    ) -> ufl.Measure:
        """Return the measure on a mesh. Collective at the first call for a mesh."""
        domain: Any = mesh.ufl_domain()
        known = _KNOWN.setdefault(domain, [])
        if domain not in self._numbers:
            agree(mesh.comm, tags=self._tags)
            facets = outer_facets(mesh, self._facet_tags, self._tags, self._name)
            number = 1 + len(known)
            known.append((number, facet_rows(mesh, facets).ravel()))
            self._numbers[domain] = number
        ds = ufl.Measure("ds", domain=mesh, subdomain_data=known, metadata=metadata)
        return ds(self._numbers[domain])
