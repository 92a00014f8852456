# SPDX-License-Identifier: LGPL-3.0-or-later
"""Names in which the expressions of the table are evaluated, each made when first asked for."""

from __future__ import annotations

from mpi4py import MPI  # isort: skip

import importlib
import math
import pkgutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg

COMM = MPI.COMM_WORLD
LAST = COMM.size - 1


#: Names of 0.1.0, so that the campaign can be run on it.
OLDER = {"WeakStepper": "StepSolver", "Regions.from_cell_tags": "regions"}


@cache
def find(name: str) -> Any:
    """Return a public name of the package wherever it lives."""
    if "." in name and hasattr(llg, "abort_on_error"):
        owner, method = name.split(".")
        return getattr(find(owner), method)
    names = [
        llg.__name__,
        *sorted(m.name for m in pkgutil.walk_packages(llg.__path__, "dolfinx_llg.")),
    ]
    for module in names:
        try:
            space = vars(importlib.import_module(module))
        except ImportError:
            continue
        if name in space and not hasattr(space[name], "__path__"):  # no package of that name
            return space[name]
    if name in OLDER:
        return find(OLDER[name])
    raise LookupError(f"the table is wrong: no public name {name}")


def fails_on_last(*arguments: Any) -> Any:
    """A callable of the user's that fails on one rank only."""
    if COMM.rank == LAST:
        raise ZeroDivisionError("mine")
    x = arguments[0]
    return x if isinstance(x, np.ndarray) and x.shape[0] == 3 else 1.0 + 0 * x[0]


class Later:
    """A function of time that fails on the last rank, but not at t = 0."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, t: float) -> Any:
        if t > 0.0 and COMM.rank == LAST:
            raise ZeroDivisionError("mine")
        return self.value


class Asymmetric(llg.QuadraticTerm):
    def bilinear(self, v: Any, w: Any) -> Any:
        return v[0] * w[1]


class ReturnsNone(llg.EnergyTerm):
    def density(self, m: Any) -> Any:
        return None


class ReturnsVector(llg.EnergyTerm):
    def density(self, m: Any) -> Any:
        return 2 * m


class NoDensity(llg.EnergyTerm):
    pass


class MarkedImplicit(llg.EnergyTerm):
    implicit = True

    def density(self, m: Any) -> Any:
        return m[2] ** 4


class Raises(llg.EnergyTerm):
    def density(self, m: Any) -> Any:
        if COMM.rank == LAST:
            raise ZeroDivisionError("mine")
        return m[2] ** 4


class Scope(dict[str, Any]):
    """Mapping for ``eval``: an attribute of this class without its underscore, made once."""

    def __init__(self) -> None:
        self._folder = Path(COMM.bcast(tempfile.mkdtemp() if COMM.rank == 0 else None))
        self._count = 0
        super().__init__(
            llg=llg, np=np, ufl=ufl, fem=fem, nan=math.nan, inf=math.inf, comm=COMM, find=find,
            folder=str(self._folder), fails_on_last=fails_on_last, asymmetric=Asymmetric,
            returns_none=ReturnsNone, returns_vector=ReturnsVector, raises=Raises,
            no_density=NoDensity, marked_implicit=MarkedImplicit,
        )  # fmt: skip

    def __missing__(self, name: str) -> Any:
        maker = getattr(self, f"_{name}", None)
        if maker is None:
            raise KeyError(name)
        self[name] = maker()
        return self[name]

    def mesh(self, n: int = 4) -> mesh.Mesh:
        return mesh.create_unit_square(COMM, n, n)

    # -- meshes and functions
    def _msh(self) -> Any:
        return self.mesh()

    def _float32_mesh(self) -> Any:
        return mesh.create_unit_square(COMM, 2, 2, dtype=np.float32)

    def _m(self) -> Any:
        return llg.magnetization(self["msh"], (1, 0, 0))

    def _V(self) -> Any:
        return self["m"].function_space

    def _changed(self, value: float) -> Any:
        function = fem.Function(self["V"])
        function.x.array[:] = value
        return function

    def _long_m(self) -> Any:
        return self._changed(2.0)

    def _nan_m(self) -> Any:
        return self._changed(math.nan)

    def _zero_m(self) -> Any:
        return self._changed(0.0)

    def _scalar(self) -> Any:
        return fem.Function(fem.functionspace(self["msh"], ("Lagrange", 1)))

    def _p2(self) -> Any:
        return fem.Function(fem.functionspace(self["msh"], ("Lagrange", 2, (3,))))

    def _negative(self) -> Any:
        function = fem.Function(fem.functionspace(self["msh"], ("DG", 0)))
        function.x.array[:] = -1.0
        return function

    def _directions(self, value: float) -> Any:
        function = fem.Function(fem.functionspace(self["msh"], ("DG", 0, (3,))))
        function.x.array[:] = value
        return function

    def _zero_field(self) -> Any:
        return self._directions(0.0)

    def _long_field(self) -> Any:
        return self._directions(2.0)

    def _turned(self) -> Any:
        msh = self.mesh()
        turn = np.array([[1, 1], [-1, 1]]) / math.sqrt(2)
        msh.geometry.x[:, :2] = msh.geometry.x[:, :2] @ turn
        return llg.magnetization(msh, (1, 0, 0))

    def _disk(self) -> Any:
        return llg.read_mesh(COMM, Path(__file__).parents[2] / "meshes" / "disk.xdmf").mesh

    def _other_mesh(self) -> Any:
        return self.mesh(3)

    def _other_m(self) -> Any:
        return llg.magnetization(self["other_mesh"], (1, 0, 0))

    def _other_x(self) -> Any:
        return ufl.SpatialCoordinate(self["other_mesh"])

    def _other_field(self) -> Any:
        function = fem.Function(fem.functionspace(self["other_mesh"], ("DG", 0)))
        function.x.array[:] = 1.0
        return function

    def _tags(self) -> Any:
        cells = self["msh"].topology.index_map(2).size_local
        index = np.arange(cells, dtype=np.int32)
        return mesh.meshtags(self["msh"], 2, index, np.full(cells, 1, dtype=np.int32))

    def _facets(self) -> Any:
        msh = self["msh"]
        msh.topology.create_connectivity(1, 2)
        left = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[0], 0.0))
        right = mesh.locate_entities_boundary(msh, 1, lambda x: np.isclose(x[0], 1.0))
        index = np.concatenate([left, right])
        values = np.repeat(np.array([1, 2], dtype=np.int32), [len(left), len(right)])
        order = np.argsort(index)
        return mesh.meshtags(msh, 1, index[order], values[order])

    def _material(self) -> Any:
        return find("Material")(Ms=8e5, A=1e-11, alpha=0.1)

    def _units(self) -> Any:
        return find("Units")(Ms0=8e5, length=1e-8)

    def _positive(self) -> Any:
        function = fem.Function(fem.functionspace(self["msh"], ("DG", 0)))
        function.x.array[:] = 1.0
        return function

    def _magnet(self) -> Any:
        return find("magnet_of")(self["msh"], self["tags"], [1])

    # -- forms
    def _u(self) -> Any:
        return ufl.TrialFunction(self["V"])

    def _v(self) -> Any:
        return ufl.TestFunction(self["V"])

    def _s(self) -> Any:
        return ufl.TestFunction(self["scalar"].function_space)

    def _u2(self) -> Any:
        return ufl.TrialFunction(self["p2"].function_space)

    def _w2(self) -> Any:
        return ufl.TestFunction(self["p2"].function_space)

    def _dx(self) -> Any:
        return ufl.dx(domain=self["msh"])

    def _block(self) -> Callable[..., Any]:
        return lambda form: find("Block")(form)

    def _weak(self) -> Callable[..., Any]:
        mass = ufl.inner(self["u"], self["v"]) * self["dx"]

        def build(**changes: Any) -> Any:
            block = find("Block")(mass, find("over_dt"), history=self["m"])
            return llg.WeakStep(**({"m": self["m"], "dt": 0.1, "constant": [block]} | changes))

        return build

    # -- runs
    def _energy(self) -> Any:
        return llg.Energy([llg.Exchange(1.0)])

    def _step(self) -> Callable[..., Any]:
        def build(dt: float = 0.1, update: Any = None) -> Any:
            m = llg.magnetization(self["msh"], (1, 0, 0))
            self._count += 1
            self[f"kept {self._count}"] = m
            step = llg.gao(self["energy"], m, dt=dt, damping=0.5)
            if update is not None:
                step.update = update
            return step

        return build

    def _state(self) -> Callable[..., Any]:
        return lambda: find("State")(0.1, 1, self["m"], 0.1)

    def _bad_state(self) -> Callable[..., Any]:
        def build(**changes: Any) -> Any:
            state = self["state"]()
            for name, value in changes.items():
                setattr(state, name, value)
            return state

        return build

    def _foreign_state(self) -> Any:
        return find("State")(0.1, 1, self["other_m"], 0.1)

    def _periodic(self) -> Any:
        return llg.periodic_basis(self["V"])

    def _foreign_periodic(self) -> Any:
        return llg.periodic_basis(self["other_m"].function_space)

    def _zeeman_later(self) -> Callable[..., Any]:
        return lambda: llg.Zeeman(Later((0, 0, 1)))

    def _torque_later(self) -> Callable[..., Any]:
        return lambda: llg.Slonczewski(Later(1.0), (0, 0, 1), thickness=1.0, polarisation=0.5)

    # -- coarse spaces
    def _coarse_mesh(self) -> Any:
        return self.mesh(2)

    def _hierarchy(self) -> Any:
        return find("refine_mesh")(self["coarse_mesh"], 1)

    def _coarse_form(self) -> Any:
        return find("exchange_form")(self["hierarchy"].space, 1.0)

    def _measure(self) -> Any:
        return find("volume_measurement")(self["hierarchy"])

    def _coarse(self) -> Any:
        return find("grps_basis")(self["coarse_form"], self["measure"], ell=1)

    def _box(self) -> Any:
        return find("MicroBox")(2, 0.05, mu=0.05, mu_outer=0.1, eta=0.0025, damping=1.0)

    # -- files, written by rank 0
    def _written(self, name: str, write: Callable[[Path], object]) -> str:
        self._count += 1
        path = self._folder / f"{self._count}_{name}"
        if COMM.rank == 0:
            write(path)
        COMM.barrier()
        return str(path)

    def _junk(self) -> Callable[..., str]:
        return lambda text, end=".npz": self._written("junk" + end, lambda p: p.write_text(text))

    def _truncated(self) -> Callable[..., str]:
        def cut(path: str) -> str:
            data = Path(path).read_bytes()
            return self._written("cut.npz", lambda p: p.write_bytes(data[: len(data) // 2]))

        return cut

    def _checkpoint(self) -> str:
        path = str(self._folder / "good.npz")
        llg.write_checkpoint(path, self["state"]())
        return path

    def _basis_file(self) -> str:
        path = str(self._folder / "basis.npz")
        find("save_basis")(path, self["coarse"], self["coarse_form"])
        return path

    def _altered(self, source: str, changes: dict[str, Any]) -> str:
        with np.load(source) as file:
            content = dict(file)
        for name, value in changes.items():
            if isinstance(value, float | int) and np.ndim(content[name]) > 0:
                content[name] = content[name].copy()
                content[name].flat[0] = value
            else:
                content[name] = np.asarray(value)
        return self._written("altered.npz", lambda p: np.savez(p, **content))

    def _crafted(self) -> Callable[..., str]:
        return lambda **changes: self._altered(self["checkpoint"], changes)

    def _crafted_basis(self) -> Callable[..., str]:
        return lambda **changes: self._altered(self["basis_file"], changes)

    def _mesh_file(self) -> str:
        return str(Path(__file__).parents[2] / "meshes" / "square_inclusions.xdmf")

    def _changed_mesh(self) -> Callable[..., str]:
        def change(old: str, new: str) -> str:
            text = Path(self["mesh_file"]).read_text().replace(old, new)
            return self._written("mesh.xdmf", lambda p: p.write_text(text))

        return change
