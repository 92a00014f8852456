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

import basix.ufl
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


def fails(*arguments: Any) -> Any:
    """A callable that fails, for functions that run on each rank alone."""
    raise ZeroDivisionError("mine")


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
            folder=str(self._folder), fails_on_last=fails_on_last, fails=fails, asymmetric=Asymmetric,
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

    def _deep_hierarchy(self) -> Any:
        return find("refine_mesh")(mesh.create_unit_square(self["comm"], 2, 2), 2)

    def _deep_form(self) -> Any:
        return find("exchange_form")(self["deep_hierarchy"].space, 1.0)

    def _wide_hierarchy(self) -> Any:
        return find("refine_mesh")(mesh.create_unit_square(self["comm"], 3, 3), 1)

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

    # -- bodies in three dimensions, layers
    def _solid(self) -> Any:
        return mesh.create_unit_cube(COMM, 2, 2, 2)

    def _solid_m(self) -> Any:
        return llg.magnetization(self["solid"], (1, 0, 0))

    def _solid_scalar(self) -> Any:
        return fem.Function(fem.functionspace(self["solid"], ("Lagrange", 1)))

    def _current_of(self, value: float) -> Any:
        function = fem.Function(fem.functionspace(self["solid"], ("DG", 0, (3,))))
        function.x.array[:] = value
        return function

    def _solid_current(self) -> Any:
        return self._current_of(1.0)

    def _nan_current(self) -> Any:
        return self._current_of(math.nan)

    def _solid_facets(self) -> Any:
        return self._sides(self["solid"], lambda x: np.isclose(x[0], 0.0))

    def _sides(self, msh: Any, *sides: Callable[[Any], Any]) -> Any:
        fdim = msh.topology.dim - 1
        msh.topology.create_connectivity(fdim, fdim + 1)
        found = [mesh.locate_entities_boundary(msh, fdim, side) for side in sides]
        index = np.concatenate(found)
        values = np.repeat(np.arange(1, 1 + len(found), dtype=np.int32), [len(f) for f in found])
        order = np.argsort(index)
        return mesh.meshtags(msh, fdim, index[order], values[order])

    def _layers(self) -> Any:
        """Two squares with a gap of 0.1 between them."""
        x = np.array([[i, j] for i in (0.0, 1.0, 1.1, 2.1) for j in (0.0, 0.5, 1.0)])
        quads = [[[c, c + 3, c + 4], [c, c + 1, c + 4]] for c in (0, 1, 6, 7)]
        cells = np.array(quads, dtype=np.int64).reshape(-1, 3)
        if COMM.rank:
            x, cells = x[:0], cells[:0]
        element = basix.ufl.element("Lagrange", "triangle", 1, shape=(2,))
        return mesh.create_mesh(COMM, cells, element, x)

    def _layer_facets(self) -> Any:
        sides = (lambda x: np.isclose(x[0], 1.0)), (lambda x: np.isclose(x[0], 1.1))
        return self._sides(self["layers"], *sides)

    def _interlayer(self) -> Callable[[], Any]:
        return lambda: llg.InterlayerExchange(self["layers"], self["layer_facets"], (1, 2), 1.0)

    def _stray(self) -> Any:
        stray = llg.StrayField(self["solid_m"], progress=False)
        stray.update(self["solid_m"], 0.0)
        return stray

    def _other_tensor(self) -> Any:
        return fem.Function(fem.functionspace(self["other_mesh"], ("DG", 0, (3, 3))))

    def _later(self) -> Any:
        return Later

    def _transport(self) -> Any:
        return find("Transport")(1.0, 1.0, 1.0, beta=0.5)

    # -- states at rest, loops
    def _easy(self) -> Any:
        return llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1), 1.0)])

    def _up(self) -> Any:
        return llg.magnetization(self["msh"], (0, 0, 1))

    def _down(self) -> Any:
        return llg.magnetization(self["msh"], (0, 0, -1))

    def _tilted(self) -> Callable[[], Any]:
        def build() -> Any:
            self._count += 1
            m = llg.magnetization(self["msh"], lambda x: np.stack([1 + x[0], x[1], 1 + 0 * x[0]]))
            self[f"kept {self._count}"] = m
            return m

        return build

    def _loop_field(self) -> Any:
        return llg.Zeeman((0.0, 0.0, 0.0))

    def _loop_energy(self) -> Any:
        axis = llg.UniaxialAnisotropy((0, 0, 1), 1.0)
        return llg.Energy([llg.Exchange(1.0), axis, self["loop_field"]])

    def _loop_of(self, **options: Any) -> list[Any]:
        m = llg.magnetization(self["msh"], (0.1, 0, 1))
        self._count += 1
        self[f"kept {self._count}"] = m
        amplitudes = np.linspace(1.5, -1.5, 5)
        steps = llg.LoopSteps(jump=2.0, **options)
        return list(
            llg.hysteresis(self["loop_energy"], m, self["loop_field"], amplitudes, steps=steps)
        )

    def _loop(self) -> list[Any]:
        return self._loop_of()

    def _loop_eigenvalues(self) -> list[Any]:
        return self._loop_of(eigenvalue=True)[:4]

    def _modes(self) -> Any:
        return llg.eigenmodes(self["easy"], self["up"], 2)

    # -- other steps
    def _rk4(self) -> Callable[[], Any]:
        return lambda: llg.rk4(self["energy"], self["tilted"](), dt=1e-3, damping=0.5)

    def _midpoint(self) -> Callable[[], Any]:
        return lambda: llg.midpoint(self["energy"], self["tilted"](), dt=0.1, damping=0.5)

    def _tangent(self) -> Callable[[], Any]:
        return lambda: llg.tangent_plane(self["energy"], self["tilted"](), dt=0.1, damping=0.5)

    # -- reductions and fields in coarse spaces
    def _vectors(self) -> Any:
        return find("vector_basis")(self["coarse"])

    def _finer_hierarchy(self) -> Any:
        return find("refine_mesh")(self["coarse_mesh"], 2)

    def _fine_m(self) -> Any:
        return llg.magnetization(self["hierarchy"].fine, (1, 0, 0))

    def _coarse_step(self) -> Callable[[], Any]:
        return lambda: llg.gao(self["energy"], self["fine_m"], dt=0.01, damping=1.0)

    def _solid_hierarchy(self) -> Any:
        return find("refine_mesh")(mesh.create_unit_cube(COMM, 1, 1, 1), 1)

    def _solid_fine(self) -> Any:
        return llg.magnetization(self["solid_hierarchy"].fine, (1, 0, 0))

    def _solid_vectors(self) -> Any:
        return find("coarse_basis")(self["energy"], self["solid_hierarchy"])

    def _coarse_stray(self) -> Any:
        return llg.StrayField(self["solid_fine"], progress=False)

    def _kept_field(self) -> Any:
        V = self["solid_fine"].function_space
        return find("coarse_field")(self["coarse_stray"], self["solid_vectors"], V)

    def _field_file(self) -> str:
        path = str(self._folder / "field.npz")
        find("save_field")(path, self["kept_field"])
        return path

    # -- homogenization and upscaling
    def _cell_mesh(self) -> Any:
        return mesh.create_unit_square(MPI.COMM_SELF, 2, 2)

    def _cell_problem(self) -> Any:
        return find("CellProblem")(1.0, self["cell_mesh"], degree=1)

    def _cell_solution(self) -> Any:
        return self["cell_problem"].solve()

    def _grid1(self) -> Any:
        return find("FourierGrid")(1, 8)

    def _grid_m(self) -> Any:
        shape = self["grid1"].points.shape[1:]
        return np.stack([np.ones(shape), np.zeros(shape), np.zeros(shape)])

    def _fast(self) -> Callable[..., Any]:
        return lambda t, z: [np.sin(2 * np.pi * z), 0.0, 1.0]

    def _chain_field(self) -> Callable[..., Any]:
        return lambda t, z, x: [np.sin(2 * np.pi * z), 0.0, 1.0]

    def _window(self) -> Any:
        return find("Window")(eps=0.01, steps_per_period=8)

    def _clock(self) -> Any:
        return fem.Constant(self["msh"], 0.0)

    def _fast_clock(self) -> Any:
        return fem.Constant(self["msh"], 0.0)

    def _ufl_field(self) -> Any:
        return ufl.as_vector([ufl.sin(2 * np.pi * self["fast_clock"]), self["clock"], 1.0])

    def _spin(self) -> Any:
        return find("SpinModel")(self["fast"], self["window"])

    def _chain(self) -> Any:
        return find("SpinChain")(self["chain_field"], 12, exchange=1.0, eps=0.01)

    def _upscaled_step(self) -> Any:
        return llg.hmm.upscaled(self["spin"], [1.0, 0.0, 0.0], dt=0.1)

    def _magnet_step(self) -> Any:
        model = find("MagnetModel")(self["energy"], self["m"], self["fast"], self["window"])
        self["kept model"] = model
        return llg.hmm.upscaled(model, llg.magnetization(self["msh"], (1, 0, 0)), dt=0.1)

    def _box1(self) -> Any:
        return find("MicroBox")(1, 0.02, mu=0.05, mu_outer=0.1, eta=4e-4, damping=1.0)

    def _grid_macro(self) -> Any:
        return find("MacroGrid")(1, 8)

    def _stencil(self) -> Any:
        return find("PeriodicStencil")(1, 8, lambda x: 1.0 + 0 * x[0])

    # -- pictures: of meshes of each rank, as only rank 0 of a run draws
    def _own_m(self) -> Any:
        return llg.magnetization(mesh.create_unit_square(MPI.COMM_SELF, 4, 4), (1, 0, 0))

    def _shot(self) -> Any:
        return llg.plot.snapshot(self["own_m"])

    def _shot_kappa(self) -> Any:
        kappa = fem.Function(fem.functionspace(self["own_m"].function_space.mesh, ("DG", 0)))
        kappa.x.array[:] = 1.0
        return llg.plot.snapshot(self["own_m"], kappa)

    def _solid_shot(self) -> Any:
        m = llg.magnetization(mesh.create_unit_cube(MPI.COMM_SELF, 2, 2, 2), (1, 0, 0))
        self["kept solid"] = m
        return llg.plot.snapshot(m)

    def _ax(self) -> Any:
        from matplotlib.figure import Figure

        return Figure().subplots()

    def _image(self) -> Any:
        return llg.plot.draw_cells(self["ax"], self["shot"], np.zeros(32), cmap="viridis")
