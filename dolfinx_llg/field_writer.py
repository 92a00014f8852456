# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fields over time for ParaView: VTX, VTU and XDMF."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from mpi4py import MPI

import dolfinx
import numpy as np
from dolfinx import fem, plot
from dolfinx.io import VTXMeshPolicy, VTXWriter, XDMFFile

from dolfinx_llg import vtu, xdmf
from dolfinx_llg.checks import check_kind, check_number
from dolfinx_llg.collective import from_root, on_root, together, total
from dolfinx_llg.files import claim, release, require_space
from dolfinx_llg.kinds import checked
from dolfinx_llg.output import Closing, output_folder
from dolfinx_llg.state import State

__all__ = ["FieldWriter"]


@checked
class FieldWriter(Closing):
    """Writes fields over time to files that ParaView opens: VTX, VTU or XDMF.

    Nodal functions of one P1 space (m, ...) become point data, DG0 functions (kappa, Ms, ...) cell
    data. The ending of the name is the format:

    - ``.bp``: VTX (ADIOS2), one folder. It cannot be appended to: a run that goes on writes its
      moments to ``NAME_from_N.bp``, N the steps done, and leaves the earlier ones where they are.
    - ``.pvd``: a list of moments, each in VTU files of its own beside it. A run that goes on adds
      to the list; moments beyond its state are dropped, and a killed run leaves a list of whole
      files.
    - ``.xdmf``: a list of moments over HDF5 files beside it, ``NAME_000.h5`` and a further one for
      each run that goes on, which adds to the list as above. The mesh is stored once a run, so that
      this takes the least space beside VTX; a kill in the middle of a write may cost the moments of
      that run, and none else. Each time once; meshes of two and three dimensions.

    Whether a moment fits on the disk is asked before it is written, since ADIOS2 does not survive a
    full disk; one that others fill in between ends the use of a VTX file by OSError, its earlier
    moments may then be lost, and is an error of one moment for VTU. A second writer is refused by
    a lock, where the file system has any.

    Args:
        path: File, ending in ``.bp``, ``.pvd`` or ``.xdmf``; an older one is replaced, unless
            ``resume`` is given.
        fields: Functions on one mesh, written at each call with the values they have then.
        resume: State read from the checkpoint with which the run goes on; None: a new run.

    Attributes:
        path: The file that is written.

    Raises:
        OSError: If the folder cannot be written, on all ranks alike.
        ValueError: If the name has another ending, is taken by something else, or there is no
            field, or fields without distinct names, on different meshes or of another degree.

    Note: Collective. A context manager, which closes the file on exceptions too.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fields: fem.Function | Sequence[fem.Function],
        *,
        resume: State | None = None,
    ) -> None:
        functions = [fields] if isinstance(fields, fem.Function) else list(fields)
        mesh = _common_mesh(functions)
        self.path = Path(path)
        if self.path.suffix not in (".bp", ".pvd", ".xdmf"):
            raise ValueError(
                "a VTX file ends in .bp, a list of VTU files in .pvd, one over HDF5 in .xdmf, "
                f"got {path}"
            )
        self._comm, self._size = mesh.comm, _bytes_of_a_step(functions)
        output_folder(self.path.parent, mesh.comm)
        if self.path.suffix == ".pvd":
            self._file: _VTX | _VTU | _XDMF | None = _VTU(self.path, functions, resume)
        elif self.path.suffix == ".xdmf":
            self._file = _XDMF(self.path, functions, resume)
        else:
            if resume is not None:
                self.path = self.path.with_name(f"{self.path.stem}_from_{resume.n}.bp")
            self._file = _VTX(self.path, functions, self._size)

    def write(self, t: float) -> None:
        """Write the fields as they are now for the time ``t``.

        Raises:
            ValueError: If the file is closed, t is not finite, or, in XDMF, was written already.
            OSError: If the step does not fit on the disk, on all ranks alike; nothing is written.

        Note: Collective.
        """
        if self._file is None or self._file.broken:
            raise ValueError(f"{self.path} is closed")
        check_number("t", t)
        from_root(self._comm, lambda: require_space(self.path.parent, self._size))
        self._file.write(t)

    def _ranks(self) -> MPI.Comm:
        return self._comm

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: If what is left cannot be written (a full disk).

        Note: Collective.
        """
        if self._file is not None:
            file, self._file = self._file, None
            if not file.broken:
                file.close()
                if self._comm.rank == 0:
                    release(self.path)


class _VTX:
    """A VTX file; ADIOS2 does not survive a full disk, so that errors end its use."""

    def __init__(self, path: Path, functions: Sequence[fem.Function], size: int) -> None:
        self._comm, self._path = functions[0].function_space.mesh.comm, path
        self.broken = False
        on_root(self._comm, self._clear)
        # ADIOS2 does not survive a full disk: it waits for the other ranks, or ends the process
        # where the file is closed. So nothing is begun that does not fit.
        from_root(self._comm, lambda: require_space(path.parent, size))
        # BP4: read by every ParaView that reads VTX at all.
        self._writer = VTXWriter(
            self._comm, path, list(functions), engine="BP4", mesh_policy=VTXMeshPolicy.reuse
        )

    def _clear(self) -> None:
        claim(self._path)
        if not self._path.exists():
            return
        if not (self._path / "md.idx").exists():
            raise ValueError(f"{self._path} exists and is no VTX file: choose another name")
        shutil.rmtree(self._path)

    def write(self, t: float) -> None:
        self._guarded(lambda: self._writer.write(t))

    def close(self) -> None:
        self._guarded(self._writer.close)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            with together(self._comm):
                work()
        except RuntimeError as error:
            # After a failure the destructor of ADIOS2 ends the process: it must never run.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._writer))
            self.broken = True
            raise OSError(f"{self._path} cannot be written (a full disk?): {error}") from error


class _VTU:
    """VTU files, one for each moment and rank, and the list of moments."""

    def __init__(self, path: Path, functions: Sequence[fem.Function], resume: State | None) -> None:
        mesh = functions[0].function_space.mesh
        self._comm, self._path, self._functions = mesh.comm, path, functions
        self.broken = False
        V = fem.functionspace(mesh, ("Lagrange", 1))
        topology, types, self._x = plot.vtk_mesh(V)  # type: ignore[arg-type]
        self._nodes = V.dofmap.list
        self._cells = topology.reshape(-1, self._nodes.shape[1] + 1)[:, 1:].astype(np.int64)
        self._type = max(mesh.comm.allgather(int(types[0]) if len(types) else 0))

        def begin() -> list[tuple[float, str]]:
            claim(path)
            return vtu.drop_after(path, None if resume is None else resume.t)

        self._moments = from_root(mesh.comm, begin)

    def _piece(self) -> vtu.Piece:
        points, values, count = {}, {}, len(self._cells)
        for function in self._functions:
            V, array = function.function_space, function.x.array
            table = array.reshape(-1, V.dofmap.bs) if V.dofmap.bs > 1 else array
            if V.element.basix_element.degree == 0:
                values[function.name] = table[V.dofmap.list[:count, 0]]
            else:
                at = np.zeros((len(self._x), *table.shape[1:]))
                at[self._nodes] = table[V.dofmap.list]
                points[function.name] = at
        return vtu.Piece(self._x, self._cells, self._type, points, values)

    def write(self, t: float) -> None:
        comm, number = self._comm, len(self._moments)
        base = f"{self._path.stem}_{number:06d}"
        names = [f"{base}_p{rank}.vtu" for rank in range(comm.size)]
        name = f"{base}.pvtu" if comm.size > 1 else names[0]
        piece = self._piece()
        with together(comm):
            vtu.write_piece(self._path.with_name(names[comm.rank]), piece)
        self._moments.append((float(t), name))

        def finish() -> None:
            if comm.size > 1:
                vtu.write_pieces(self._path.with_name(name), names, piece)
            vtu.write_list(self._path, self._moments)

        try:
            on_root(comm, finish)
        except OSError:
            self._moments.pop()
            raise

    def close(self) -> None:
        """Nothing is open."""


class _XDMF:
    """A list of moments over HDF5 files, of which this run writes one."""

    def __init__(self, path: Path, functions: Sequence[fem.Function], resume: State | None) -> None:
        mesh = functions[0].function_space.mesh
        self._comm, self._path, self._functions = mesh.comm, path, functions
        self.broken = False
        if mesh.geometry.dim == 1:
            raise ValueError(f"XDMF has no meshes on a line: take .pvd or .bp in place of {path}")

        def begin() -> tuple[list[tuple[float, Element]], Path]:
            claim(path)
            moments = xdmf.drop_after(path, None if resume is None else resume.t)
            return moments, xdmf.session(path)

        self._moments, self._session = from_root(mesh.comm, begin)
        self._times: set[float] = set()
        self._begun = False

    def write(self, t: float) -> None:
        # A second dataset for one time would not be written, and HDF5 says so on stderr alone.
        if t in self._times:
            raise ValueError(f"{self._path} has a moment at that time already, t = {t:g}")
        try:
            with together(self._comm), self._open() as file:
                for function in self._functions:
                    file.write_function(function, t)
        except RuntimeError as error:
            self.broken = True
            raise OSError(f"{self._path} cannot be written (a full disk?): {error}") from error
        self._times.add(t)

        def finish() -> None:
            # Two sessions may not take the time of the state twice.
            self._moments = [entry for entry in self._moments if entry[0] != t]
            self._moments.append((float(t), xdmf.last_moment(self._session)))
            xdmf.write_list(self._path, self._moments)

        on_root(self._comm, finish)

    def _open(self) -> XDMFFile:
        """Open the session, closed between moments: what was written is on the disk."""
        file = XDMFFile(self._comm, self._session, "a" if self._begun else "w")
        if not self._begun:
            file.write_mesh(self._functions[0].function_space.mesh)
            self._begun = True
        return file

    def close(self) -> None:
        """Remove what DOLFINx keeps beside the data: the list says the same."""
        on_root(self._comm, lambda: self._session.unlink(missing_ok=True))


def _bytes_of_a_step(functions: Sequence[fem.Function]) -> int:
    """Bytes that one step needs at most, over all ranks: the mesh, the fields, and twice that.

    Collective.
    """
    mesh = functions[0].function_space.mesh
    local = mesh.geometry.x.nbytes + 2 * mesh.geometry.dofmaps[0].nbytes
    local += sum(function.x.array.nbytes for function in functions)
    return 2 * int(total(mesh.comm, local))


def _common_mesh(functions: Sequence[fem.Function]) -> dolfinx.mesh.Mesh:
    if not functions:
        raise ValueError("there is no field to write")
    for function in functions:
        check_kind("each field", function, fem.Function, "a fem.Function")
    names = [function.name for function in functions]
    mesh = functions[0].function_space.mesh
    for function in functions:
        V = function.function_space
        if V.mesh.ufl_domain() != mesh.ufl_domain():
            raise ValueError(f"the fields lie on different meshes: {names}")
    if len(set(names)) < len(names):
        raise ValueError(f"the fields need distinct names, got {names}")
    for function in functions:
        V = function.function_space
        element = V.element.basix_element
        degree, discontinuous = element.degree, element.discontinuous
        if not ((degree == 1 and not discontinuous) or (degree == 0 and discontinuous)):
            raise ValueError(f"{function.name} must be P1 or DG0, got degree {degree}")
    return mesh
