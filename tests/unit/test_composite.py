# SPDX-License-Identifier: LGPL-3.0-or-later
"""A composite in SI in one call: its energies are those of hand calculation, in joules."""

from mpi4py import MPI  # isort: skip

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.io_mesh import MeshData
from dolfinx_llg.physics.units import MU0

HARD = llg.Material(Ms=1.0e6, A=1e-11, alpha=0.1, K_u=4e5, easy_axis=(0, 0, 2))
SOFT = llg.Material(Ms=1.6e6, A=2e-11, alpha=0.02, K_c1=5e4)


def two_halves(comm: MPI.Intracomm, n: int = 4) -> MeshData:
    """A box of 8 x 4 x 4 nm, the left half tagged 1, the right 2."""
    msh = mesh.create_box(comm, [[0, 0, 0], [8, 4, 4]], [2 * n, n, n])
    count = msh.topology.index_map(3).size_local + msh.topology.index_map(3).num_ghosts
    cells = np.arange(count, dtype=np.int32)
    right = mesh.compute_midpoints(msh, 3, cells)[:, 0] > 4
    return MeshData(msh, mesh.meshtags(msh, 3, cells, 1 + right.astype(np.int32)), None)


def test_energies_in_joules(comm: MPI.Intracomm) -> None:
    halves = two_halves(comm, 2)
    with pytest.raises(ValueError, match="cell_tags"):
        llg.composite(halves.mesh, {1: HARD, 2: SOFT}, stray_field=False)
    body = llg.composite(
        halves.mesh,
        {1: HARD, 2: SOFT},
        cell_tags=halves.cell_tags,
        stray_field=False,
        field=(0, 0, 0.5),
    )
    assert body.units.Ms0 == 1.6e6
    assert body.stray_field is None
    m = llg.magnetization(body.mesh, (1, 0, 1))
    parts = {k: body.units.energy_to_J(e) for k, e in body.energy.by_term(m).items()}
    half = 64e-27  # m3, each material
    # m^2 along the axis 1/2; a1^2 a3^2 = 1/4; field along m by 1/sqrt(2).
    assert parts["UniaxialAnisotropy"] == pytest.approx(half * 4e5 / 2)
    assert parts["CubicAnisotropy"] == pytest.approx(half * 5e4 / 4)
    assert parts["Zeeman"] == pytest.approx(-half * (1.0e6 + 1.6e6) * 0.5 / np.sqrt(2))
    assert parts["Exchange"] == pytest.approx(0.0, abs=1e-40)
    assert sorted(comm.allgather(body.fields.alpha.x.array.max())) == sorted(
        comm.allgather(body.damping.alpha.x.array.max())
    )


def test_time_of_the_field_is_in_seconds(comm: MPI.Intracomm) -> None:
    msh = mesh.create_unit_square(comm, 2, 2)
    body = llg.composite(msh, SOFT, stray_field=False, field=lambda s: (0, 0, 1e9 * s))
    m = llg.magnetization(msh, (0, 0, 1))
    t = body.units.time_from_s(2e-9)
    found = body.units.energy_to_J(body.energy.by_term(m, t)["Zeeman"])
    # A sheet of 1 nm^2 in 2 T; in 2D an energy is that of a thickness of 1 nm.
    assert found == pytest.approx(-1.6e6 * 2.0 * 1e-27)


def test_the_stray_field_of_a_cube(comm: MPI.Intracomm) -> None:
    """A cube magnetised uniformly has the factor 1/3: E = mu0 Ms^2 V/6."""
    msh = mesh.create_box(comm, [[0, 0, 0], [4, 4, 4]], [3, 3, 3])
    body = llg.composite(msh, SOFT, stray_field={"accuracy": 1e-3})
    m = llg.magnetization(msh, (0, 0, 1))
    found = body.units.energy_to_J(body.energy.by_term(m)["StrayField"])
    assert found == pytest.approx(MU0 * 1.6e6**2 * 64e-27 / 6, rel=0.03)  # P1 on 3 cells a side


def test_dmi_of_both_kinds(comm: MPI.Intracomm) -> None:
    """A helix m = (0, cos x, sin x): bulk D m.curl(m) = -D; about y it is interfacial."""
    with_D = llg.Material(Ms=8e5, A=1e-11, alpha=0.1, D=3e-3)
    msh = mesh.create_rectangle(comm, [[0, 0], [1, 1]], [40, 2])
    turning = {
        "bulk": lambda x: np.array([0 * x[0], np.cos(x[0]), np.sin(x[0])]),
        "interfacial": lambda x: np.array([np.sin(x[0]), 0 * x[0], np.cos(x[0])]),
    }
    for kind, m0 in turning.items():
        body = llg.composite(msh, with_D, stray_field=False, dmi=kind)
        name = {"bulk": "BulkDMI", "interfacial": "InterfacialDMI"}[kind]
        found = body.units.energy_to_J(body.energy.by_term(llg.magnetization(msh, m0))[name])
        # Per nm: the turn is 1 rad/nm over 1 nm^2 and 1 nm of thickness.
        assert abs(found) == pytest.approx(3e-3 * 1e9 * 1e-27, rel=1e-3)  # chords of 1/40 rad
    with pytest.raises(ValueError, match="dmi must be 'bulk' or 'interfacial'"):
        llg.composite(msh, with_D, stray_field=False)


def test_bad_composites(comm: MPI.Intracomm) -> None:
    data = two_halves(comm, 2)
    with pytest.raises(ValueError, match=r"no value for the cell tags \[2\]"):
        llg.composite(data, {1: HARD}, stray_field=False)
    with pytest.raises(ValueError, match="at least one Material"):
        llg.composite(data, {}, stray_field=False)
    with pytest.raises(TypeError, match="stray_field"):
        llg.composite(data, {1: HARD, 2: SOFT})
    with pytest.raises(TypeError, match="each of materials must be a Material"):
        llg.Units.for_materials(HARD, [SOFT, 3.0])
    assert llg.Units.for_materials(HARD, SOFT).Ms0 == 1.6e6


SCRIPT = """
from mpi4py import MPI
import numpy as np
import dolfinx_llg as llg

hard = llg.Material(Ms=1.0e6, A=1e-11, alpha=0.1, K_u=4e5, easy_axis=(0, 0, 1))
soft = llg.Material(Ms=1.6e6, A=2e-11, alpha=0.02)
data = llg.read_mesh(MPI.COMM_WORLD, FILE)
body = llg.composite(data, {1: hard, 2: soft}, stray_field=True)
m = llg.magnetization(body.mesh, (0.1, 0, 1))
mT = np.linspace(600, -600, 2)
files = llg.LoopFiles(csv=LOOP)
steps = llg.LoopSteps(jump=2.0)  # where exactly m jumps is not asked for
loop = llg.hysteresis(
    body.energy, m, body.applied, mT, units=body.units, steps=steps, files=files)
states = list(loop)
"""


def test_from_mesh_file_to_loop_in_15_lines(comm: MPI.Intracomm, shared_tmp_path) -> None:
    from dolfinx import io

    data = two_halves(comm, 2)
    with io.XDMFFile(comm, shared_tmp_path / "body.xdmf", "w") as file:
        file.write_mesh(data.mesh)
        file.write_meshtags(data.cell_tags, data.mesh.geometry)
    assert len(SCRIPT.strip().splitlines()) <= 15
    names = {
        "FILE": shared_tmp_path / "body.xdmf",
        "LOOP": shared_tmp_path / "loop.csv",
    }
    comm.Barrier()
    exec(SCRIPT, names)
    states = names["states"]
    assert states[0].amplitude == 600
    assert states[-1].amplitude == -600
    assert states[0].along == pytest.approx(1.0, abs=0.02)
    assert states[-1].along == pytest.approx(-1.0, abs=0.02)
