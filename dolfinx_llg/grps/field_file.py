# SPDX-License-Identifier: LGPL-3.0-or-later
"""Saving the matrix of a field in a coarse space, and loading it for the same space and Ms alone.

A file holds the matrix and a signature of each function: its products, weighted by Ms, with fixed
waves on the mesh. A function of the present run is found in the file by its signature, on any
number of ranks; where one is not found, the mesh, the basis or Ms are others, and the file is
refused. ``save_basis`` writes the same entries into the file of a basis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dolfinx import fem
from scipy.spatial import cKDTree

from dolfinx_llg.collective import from_root, on_root
from dolfinx_llg.files import load_arrays, write_atomically
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.basis import GalerkinBasis
from dolfinx_llg.physics.interaction import FieldTerm
from dolfinx_llg.solvers.coarse_fields import CoarseField, lumped_weights
from dolfinx_llg.solvers.prolongation import Prolongation

__all__ = ["field_entries", "load_field", "save_field"]

Array = npt.NDArray[np.float64]

_RTOL = 1e-9
"""Agreement asked of signatures: sums in another order differ by 1e-14, another Ms by far more."""


@checked
def save_field(path: Path | str, field: CoarseField) -> None:
    """Write the matrix of a field in a coarse space to an ``.npz`` file.

    Args:
        path: File; replaced as a whole.
        field: From ``coarse_field``.

    Note: Collective.
    """
    entries = field_entries(field)
    on_root(
        field.comm,
        lambda: write_atomically(Path(path), lambda file: np.savez(file, **entries)),
    )


def field_entries(field: CoarseField) -> dict[str, Any]:
    """Return what a file of a field holds. Collective."""
    return {
        "field_matrix": field.matrix,
        "field_signature": _signature(field.prolongation, field.space, field.weights),
        "field_term": np.array(type(field.term).__name__),
    }


@checked
def load_field(
    path: Path | str, term: FieldTerm, basis: GalerkinBasis, V: fem.FunctionSpace
) -> CoarseField:
    """Read a field that ``save_field``, or ``save_basis``, wrote; the basis keeps it for its runs.

    Args:
        path: File.
        term: The field on the fine mesh, of the same kind, mesh and Ms.
        basis: The coarse space, the same as when the file was written, on any number of ranks.
        V: Space of m.

    Raises:
        ValueError: If the file is of another mesh, basis, Ms or kind of field, or is no such file;
            on all ranks alike.

    Note: Collective.
    """
    basis.check_space(V)
    signature = _signature(basis, V, lumped_weights(term.Ms, V))
    comm, name = V.mesh.comm, type(term).__name__
    matrix = from_root(comm, lambda: _load(Path(path), name, signature))
    found = CoarseField(term, basis, matrix, V)
    basis.fields[term] = found
    return found


def _load(path: Path, name: str, signature: Array) -> Array:
    stored = load_arrays(path, "file of a field")
    missing = [n for n in ("field_matrix", "field_signature", "field_term") if n not in stored]
    if missing:
        raise ValueError(f"{path} holds no field in a coarse space: it lacks {missing}")
    if stored["field_term"].item() != name:
        raise ValueError(f"{path} holds a {stored['field_term'].item()}, not a {name}")
    theirs, matrix = stored["field_signature"], stored["field_matrix"]
    size = 3 * len(theirs)
    if matrix.shape != (size, size) or not np.isfinite(matrix).all():
        raise ValueError(f"{path} is damaged: its matrix is not of shape ({size}, {size}), finite")
    if theirs.shape != signature.shape:
        raise ValueError(
            f"{path} holds a field in another coarse space ({len(theirs)} functions, here "
            f"{len(signature)})"
        )
    distance, place = cKDTree(theirs).query(signature)
    scale = float(np.abs(signature).max())
    if not distance.max(initial=0.0) <= _RTOL * scale or len(np.unique(place)) < len(place):
        raise ValueError(
            f"{path} holds a field of another mesh, coarse space or Ms: its functions differ by up "
            f"to {distance.max(initial=0.0) / scale:.1g} of theirs"
        )
    rows = (3 * place[:, None] + np.arange(3)).ravel()
    return np.ascontiguousarray(matrix[np.ix_(rows, rows)])


def _signature(space: GalerkinBasis | Prolongation, V: fem.FunctionSpace, weights: Array) -> Array:
    """Return products of the functions with fixed waves, shape (n_H, 12), replicated."""
    fine, coarse = space.fine_vector(), space.coarse_vector()
    x = V.tabulate_dof_coordinates()[: len(weights)]
    parts = []
    for k in range(1, 5):
        # Frequencies without a pattern: no two functions agree in all products.
        waves = np.array([[7.0 * k, 5.3 * k + 1.1, 8.9 - 1.7 * k]]) * np.array(
            [[1.0], [1.3], [0.6]]
        )
        fine.array[:] = (weights * np.cos(x @ waves.T + k)).ravel()
        space.restrict(fine, coarse)
        parts.append(np.concatenate(V.mesh.comm.allgather(coarse.array.copy())).reshape(-1, 3))
    for vector in (fine, coarse):
        vector.destroy()
    return np.concatenate(parts, axis=1)
