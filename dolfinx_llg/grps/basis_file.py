# SPDX-License-Identifier: LGPL-3.0-or-later
"""Saving a GRPS basis, and loading it for the same mesh, energy and functionals alone.

Dofs and functionals are written in the order of their coordinates: a file may be read on another
number of ranks. The key in the file holds the coordinates, the kind of functionals, ell, and the
energies of a few fixed functions; a basis is handed out only where all of them agree. Rank 0 holds
the whole of P while it writes and reads.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from petsc4py import PETSc

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import ufl

from dolfinx_llg.collective import on_root
from dolfinx_llg.files import load_arrays, write_atomically
from dolfinx_llg.grps.basis import GRPSBasis, Kind
from dolfinx_llg.grps.energies import energy_matrix
from dolfinx_llg.grps.field_file import field_entries
from dolfinx_llg.grps.measurement import Measurement
from dolfinx_llg.kinds import checked
from dolfinx_llg.la.matrices import scipy_rows
from dolfinx_llg.solvers.coarse_fields import CoarseField

__all__ = ["load_basis", "save_basis"]

_RTOL = 1e-10
"""Agreement asked of energies: sums in another order differ by 1e-14, another kappa by far more."""


@checked
def save_basis(
    path: Path | str,
    basis: GRPSBasis,
    energy: ufl.Form | PETSc.Mat,
    *,
    field: CoarseField | None = None,
) -> None:
    """Write a basis to an ``.npz`` file.

    Args:
        path: File; replaced as a whole, so that a broken run leaves no half of one.
        basis: Basis of the energy.
        energy: The energy that the basis was computed from, form or matrix.
        field: Field in the coarse space made of this basis (``coarse_field``), which is written
            too: ``load_field`` reads it from the same file.

    Raises:
        ValueError: If the energy is no bilinear form on the hierarchy's scalar space, or the basis
            is periodic or has pinned nodes.
        OSError: If the file cannot be written, on all ranks alike.

    Note: Collective.
    """
    if basis.within is not None:
        raise ValueError(
            "a basis of periodic functions or with pinned nodes is not written to a file, which "
            "does not tell where they are: compute it anew"
        )
    path = Path(path)
    comm, measurement = basis.measurement.hierarchy.comm, basis.measurement
    key: dict[str, Any] = _key(energy_matrix(energy, measurement), measurement)
    order = _dof_order(measurement)
    place = np.argsort(_row_order(measurement))
    table = scipy_rows(basis.P)
    tables = comm.gather((table.data, table.indices, np.diff(table.indptr)), root=0)
    localization = np.array(basis.localization)
    more = {} if field is None else field_entries(field)
    numbers = {
        "estimate": basis.estimate,
        "defect": basis.defect,
        "localization": localization,
        "layers": np.array(basis.layers),
    }

    def write() -> None:
        assert tables is not None
        indptr = np.concatenate([[0], np.cumsum(np.concatenate([t[2] for t in tables]))])
        indices = place[np.concatenate([t[1] for t in tables])]
        P = sp.csr_matrix(
            (np.concatenate([t[0] for t in tables]), indices, indptr), shape=basis.P.getSize()
        )[order]
        own: dict[str, Any] = {
            "ell": -1 if basis.ell is None else basis.ell,
            **numbers,
            "P_data": P.data,
            "P_indices": P.indices.astype(np.int32),
            "P_indptr": P.indptr,
        }
        write_atomically(path, lambda file: np.savez(file, **key, **own, **more))

    on_root(comm, write)


@checked
def load_basis(
    path: Path | str,
    energy: ufl.Form | PETSc.Mat,
    measurement: Measurement,
    *,
    ell: int | None = None,
    localization: Kind | None = None,
) -> GRPSBasis:
    """Read a basis that ``save_basis`` wrote, on any number of ranks.

    Args:
        path: File.
        energy: The energy of the present run, form or matrix.
        measurement: Functionals of the present run.
        ell: Layers that the basis must have (None: any, or global).
        localization: How it must have been localized (None: in any way).

    Raises:
        ValueError: If the file is of another mesh, coefficient, kind of functionals or ell, or is
            no such file; on all ranks alike.

    Note: Collective.
    """
    comm = measurement.hierarchy.comm
    if measurement.hierarchy.closed:
        raise ValueError("no file holds the basis of a torus: compute it anew")
    key = _key(energy_matrix(energy, measurement), measurement)
    order = _dof_order(measurement)
    stored = on_root(comm, lambda: _load(Path(path), key, ell, localization)) or {}
    functionals, dofs = measurement.Psi.getSizes()
    counts = comm.allgather(dofs[0])
    parts: list[Any] | None = None
    if comm.rank == 0:
        P = sp.csr_matrix(
            (stored["P_data"], stored["P_indices"], stored["P_indptr"]),
            shape=(len(order), functionals[1]),
        )
        P = P[np.argsort(order)]
        ends = np.concatenate([[0], np.cumsum(counts)])
        cut = [P[a:b] for a, b in itertools.pairwise(ends)]
        parts = [(p.indptr, p.indices, p.data) for p in cut]
    indptr, indices, data = comm.scatter(parts, root=0)
    columns = _row_order(measurement)[indices].astype(np.int32)
    table = sp.csr_matrix((data, columns, indptr), shape=(dofs[0], functionals[1]))
    table.sort_indices()
    P_mat = PETSc.Mat().createAIJ(
        (dofs, functionals), csr=(table.indptr, table.indices, table.data), comm=comm
    )
    P_mat.assemble()
    names = ("ell", "estimate", "defect", "localization", "layers")
    found = [stored[name].item() for name in names] if stored else None
    number, estimate, defect, kind, layers = comm.bcast(found, root=0)
    ell = None if number < 0 else int(number)
    return GRPSBasis(P_mat, measurement, ell, estimate, defect, kind, layers)


def _load(
    path: Path,
    key: dict[str, npt.NDArray[Any]],
    ell: int | None,
    localization: Kind | None,
) -> dict[str, Any]:
    """Content of a file, checked to the last entry: what is scattered later cannot fail."""
    stored = load_arrays(path, "file of a basis")
    names = (
        "ell",
        "estimate",
        "defect",
        "localization",
        "layers",
        "P_data",
        "P_indices",
        "P_indptr",
        *key,
    )
    if missing := [name for name in names if name not in stored]:
        raise ValueError(f"{path} is no file of a basis: it lacks {missing}")
    try:
        difference = _difference(stored, key, ell, localization)
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if difference is not None:  # before the matrix: that of another mesh has another shape
        raise ValueError(f"{path} {difference}")
    try:
        P = sp.csr_matrix(
            (stored["P_data"], stored["P_indices"], stored["P_indptr"]),
            shape=(len(key["dofs"]), len(key["functionals"])),
        )
        P.check_format(full_check=True)
        usable = stored["P_data"].dtype.kind == "f" and bool(np.isfinite(P.data).all())
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not usable:
        raise ValueError(f"{path} is damaged: it holds numbers that are not finite")
    return stored


def _points(measurement: Measurement) -> npt.NDArray[np.float64]:
    """Coordinates of all dofs of V_h in their global order, replicated."""
    V = measurement.hierarchy.space
    own = V.tabulate_dof_coordinates()[: V.dofmap.index_map.size_local]
    parts = measurement.hierarchy.comm.allgather(own[:, : measurement.points.shape[1]])
    return np.concatenate(parts)


def _by_place(points: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Permutation that sorts points by their coordinates (stable)."""
    # Coordinates that differ by round-off must not decide; 2^20 steps suffice for any fine mesh.
    size = float(np.ptp(points, axis=0).max()) or 1.0
    steps = np.rint((points - points.min(axis=0)) / size * 2**20)
    return np.asarray(np.lexsort(steps.T))


def _dof_order(measurement: Measurement) -> npt.NDArray[np.int64]:
    return _by_place(_points(measurement))


def _row_order(measurement: Measurement) -> npt.NDArray[np.int64]:
    return _by_place(measurement.points)


def _key(A: PETSc.Mat, measurement: Measurement) -> dict[str, npt.NDArray[Any]]:
    """What a basis belongs to: points, functionals, energies of fixed functions (collective)."""
    points = _points(measurement)
    first, last = A.getOwnershipRange()
    own = points[first:last]
    u, Au = A.createVecs()
    y = measurement.Psi.createVecLeft()
    rows = measurement.points[list(measurement.own_rows())]
    energies = []
    for k in range(1, 5):
        # Frequencies without a pattern: a change of kappa anywhere changes the energies.
        waves = np.array([37.0 * k, 23.0 * k + 5.0, 41.0 - 7.0 * k])[: own.shape[1]]
        u.array[:] = np.cos(own @ waves + k)
        A.mult(u, Au)
        measurement.Psi.mult(u, y)
        y.array[:] *= 1.0 + np.sin(rows @ waves[::-1])
        energies += [Au.dot(u), y.norm()]
    return {
        "dofs": points[_dof_order(measurement)],
        "functionals": measurement.points[_row_order(measurement)],
        "measurement": np.array(measurement.name),
        "energies": np.array(energies),
    }


def _difference(
    stored: dict[str, Any],
    key: dict[str, npt.NDArray[Any]],
    ell: int | None,
    localization: Kind | None,
) -> str | None:
    """Say in what a file differs from what is asked, or None."""
    if stored["measurement"].item() != key["measurement"].item():
        return f"holds a basis of {stored['measurement']} functionals, not {key['measurement']}"
    for name in ("dofs", "functionals"):
        mine, theirs = key[name], stored[name]
        if mine.shape != theirs.shape or not np.allclose(mine, theirs, rtol=0.0, atol=1e-9):
            return f"holds a basis of another mesh ({len(theirs)} {name}, here {len(mine)})"
    if not np.allclose(stored["energies"], key["energies"], rtol=_RTOL, atol=0.0):
        return "holds a basis of another energy (coefficient) on this mesh"
    if ell is not None and int(stored["ell"]) != ell:
        found = "global" if stored["ell"] < 0 else f"of ell = {int(stored['ell'])}"
        return f"holds a basis that is {found}, not of ell = {ell}"
    if localization is not None and stored["localization"].item() != localization:
        return f"holds a basis localized by {stored['localization']}, not {localization}"
    return None
