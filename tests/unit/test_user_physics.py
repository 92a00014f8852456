# SPDX-License-Identifier: LGPL-3.0-or-later
"""Every Python block of README and guide runs as it stands: no name is given to it.

Each has a name, the words before the colon in its first line; those with a claim are looked at.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg
from dolfinx_llg.physics.literature import HMM_EX2_KAPPA_HOM

pytestmark = pytest.mark.most_ranks(2)

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "demos" / "guide").rglob("*.md"))]
#: Blocks with a test of their own below.
CHECKED = {
    *("first run", "own term", "own scheme", "own coefficient", "own loop", "adaptive steps"),
    *("stray field", "output and restart", "fast field", "multiscale space", "tangent plane"),
    *("spin torque", "nodal methods", "homogenization", "scale separation", "own field"),
    *("own stepper", "temperature"),
}


def blocks() -> dict[str, str]:
    """Python blocks of README and guide by their names."""
    found: dict[str, str] = {}
    for path in DOCUMENTS:
        for body in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.M):
            named = re.match(r"# (\w[\w .]*):", body)
            assert named, f"{path.name}: a block without a name in its first line:\n{body}"
            name = f"README, {named[1]}" if path.name == "README.md" else named[1]
            assert name not in found, f"{path.name}: another block is called {name}"
            found[name] = body
    return found


@pytest.fixture(autouse=True)
def _in_a_folder(shared_tmp_path, monkeypatch):
    """Run in an empty folder with the meshes of the repository beside, as from its root."""
    monkeypatch.chdir(shared_tmp_path)
    if llg.MPI.COMM_WORLD.rank == 0:
        (shared_tmp_path / "meshes").symlink_to(ROOT / "meshes")
    llg.MPI.COMM_WORLD.Barrier()


def names_after(code: str):
    """Run a block and return its names."""
    scope = {"__name__": "__main__"}
    exec(compile(code, "block", "exec"), scope)
    return scope


def test_the_documents_have_all_examples():
    assert set(blocks()) >= CHECKED


@pytest.mark.parametrize("name", sorted(set(blocks()) - CHECKED))
def test_block(name):
    """It ends without an error and without a warning."""
    names_after(blocks()[name])


def test_first_run():
    scope = names_after(blocks()["first run"])
    assert scope["state"].t == pytest.approx(scope["T"])
    assert np.abs(np.linalg.norm(scope["m"].x.array.reshape(-1, 3), axis=1) - 1).max() < 1e-14
    assert Path("first_run.png").stat().st_size > 10_000


def test_own_field():
    """The energy falls, also that of the field, whose gradient it is."""
    scope = names_after(blocks()["own field"])
    assert np.all(np.diff(scope["energies"]) < 0)


def test_own_stepper():
    """Spins in a constant field: the closed form, to the order of frozen fields."""
    scope = names_after(blocks()["own stepper"])
    exact = np.tanh(0.1 * np.array([1.0, 2.0]) + np.arctanh([0.0, 0.8]))
    assert scope["mz"] == pytest.approx(exact, abs=1e-3)


def test_temperature(comm):
    """Spins leave the field's direction by the temperature, not by more."""
    scope = names_after(blocks()["temperature"])
    mz = np.concatenate(comm.allgather(scope["m"].x.array[2::3]))
    assert 0.5 < mz.min() < 1 - 1e-6


def test_own_term(comm):
    """Under 10 lines, density only; the hessian follows and the energy decays."""
    code = blocks()["own term"]
    body = code[code.index("class") :].split("\n\n")[0]
    assert len(body.strip().splitlines()) < 10
    scope = names_after(code)
    msh = mesh.create_unit_square(comm, 8, 8)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 - x[0]]))
    energy = llg.Energy([llg.Exchange(0.1), scope["ThreefoldAnisotropy"](0.7)])
    assert set(energy.by_term(m)) == {"Exchange", "ThreefoldAnisotropy"}
    energies = [energy.total(m)]
    step = llg.gao(energy, m, dt=0.01, damping=1.0, projection=True)
    energies += [energy.total(m) for _ in llg.march(step, t_end=0.3)]
    assert np.all(np.diff(energies) < 0)
    # the term acts: the same run without it ends elsewhere
    without = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 - x[0]]))
    step = llg.gao(llg.Energy([llg.Exchange(0.1)]), without, dt=0.01, damping=1.0, projection=True)
    list(llg.march(step, t_end=0.3))
    assert max(comm.allgather(float(np.abs(m.x.array - without.x.array).max(initial=0)))) > 0.01


def test_own_scheme(comm):
    """Under 20 lines; order 1 in dt against gao with small steps, Zeeman terms damped too."""
    code = blocks()["own scheme"]
    body = code[code.index("def ") :]
    assert len([line for line in body.split("\n\n\n")[0].splitlines() if line.strip()]) < 20
    scheme = names_after(code)["semi_implicit"]

    def run(make, steps):
        msh = mesh.create_unit_square(comm, 6, 6)
        m = llg.magnetization(msh, lambda x: np.array([1 + x[0], x[1], 0.5 - x[0]]))
        energy = llg.Energy(
            [llg.Exchange(0.05), llg.UniaxialAnisotropy((0, 0, 1)), llg.Zeeman((1, 0, 2))]
        )
        list(llg.march(make(energy, m, dt=0.1 / steps, damping=0.8), t_end=0.1))
        return m.x.array.copy()

    reference = run(lambda e, m, **kw: llg.gao(e, m, projection=True, **kw), 800)
    errors = [
        max(comm.allgather(float(np.abs(run(scheme, n) - reference).max(initial=0.0))))
        for n in (20, 40)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.15), errors

    # A field turns m into its direction: m_z = tanh(0.8 * 2 t) from 0.
    msh = mesh.create_unit_square(comm, 16, 16)
    m = llg.magnetization(msh, (1, 0, 0))
    energy = llg.Energy([llg.Exchange(1.0), llg.Zeeman((0, 0, 2))])
    list(llg.march(scheme(energy, m, dt=0.05, damping=0.8), t_end=3.0))
    assert m.x.array[2::3].min(initial=1.0) > 0.999
    # Contrast 1000, with steps of 7 times what an explicit method could take.
    kappa = llg.checkerboard(msh, (4, 4), contrast=1000, seed=1, low=1e-3)
    m = llg.magnetization(msh, lambda x: np.array([1 + x[0], np.cos(3 * x[1]), x[0] - x[1]]))
    energy = llg.Energy([llg.Exchange(kappa)])
    energies = [energy.total(m)]
    for _ in llg.march(scheme(energy, m, dt=0.01, damping=0.8), t_end=0.1):
        energies.append(energy.total(m))
    assert np.all(np.diff(energies) < 0)


def test_own_coefficient(comm):
    scope = names_after(blocks()["own coefficient"])
    kappa = scope["kappa"]
    assert isinstance(kappa, fem.Function)
    values = np.concatenate(comm.allgather(kappa.x.array))
    assert values.min() == pytest.approx(scope["image"].min())
    assert values.max() == pytest.approx(scope["image"].max())


def test_own_loop():
    """Stop on a condition, change dt, swap the field."""
    scope = names_after(blocks()["own loop"])
    state = scope["state"]
    assert state.max_dmdt < 1e-3 or state.t == pytest.approx(scope["T"])
    assert scope["field"].value[2] == -2.0


def test_stray_field(comm):
    """A cube has the factor 1/3 in all directions (6 cells a side: to 1e-3), and a field inside."""
    scope = names_after(blocks()["stray field"])
    assert np.abs(scope["factors"] - np.eye(3) / 3).max() < 1e-3
    assert scope["energy"].by_term(scope["m"])["StrayField"] > 0.0


def test_adaptive_steps(comm):
    """The crossing is bracketed; the field has not been read beyond its jump before."""
    scope = names_after(blocks()["adaptive steps"])
    assert scope["state"].t < 40.0
    assert abs(scope["average"](scope["m"])[0]) < 0.01


def test_output_and_restart(comm, shared_tmp_path):
    """The restarted run ends at its time, from the last of the checkpoints."""
    scope = names_after(blocks()["output and restart"])
    assert scope["restart"].t == pytest.approx(0.2)
    assert scope["state"].t == pytest.approx(0.3)
    assert scope["state"].n == 30
    rows = (shared_tmp_path / "results" / "run.csv").read_text().splitlines()
    assert len(rows) == 21


def test_fast_field(comm):
    """The averaged field is e_z: with gamma = 0.1 m_z = tanh(0.1 t), to O(dt^2 + eps)."""
    scope = names_after(blocks()["fast field"])
    assert scope["state"].t == pytest.approx(6.0)
    assert scope["M"][2] == pytest.approx(np.tanh(0.6), abs=0.01)


def test_multiscale_space(comm):
    """The coarse run (128 functions), reduced for its second half, follows the fine one to 1 %."""
    scope = names_after(blocks()["multiscale space"])
    m, energy = scope["m"], scope["energy"]
    fine = llg.magnetization(m.function_space.mesh, llg.literature.hmm_ex2_initial)
    step = llg.gao(energy, fine, dt=1e-3, damping=1.0, projection=True)
    list(llg.march(step, t_end=0.02))
    assert scope["E"] == pytest.approx(energy.total(m), rel=0.01)
    dx = ufl.dx(domain=m.function_space.mesh)
    gap = fem.assemble_scalar(fem.form(ufl.inner(m - fine, m - fine) * dx))
    assert sum(comm.allgather(gap)) ** 0.5 < 0.01


def test_tangent_plane(comm):
    """Unit length, and the energy falls where the field does no work."""
    scope = names_after(blocks()["tangent plane"])
    m, energy, state = scope["m"], scope["energy"], scope["state"]
    assert state.t == pytest.approx(0.2)
    assert np.abs(np.linalg.norm(m.x.array.reshape(-1, 3), axis=1) - 1).max() < 1e-14
    start = llg.magnetization(
        m.function_space.mesh, lambda x: np.array([1 + x[0], np.cos(3 * x[1]), x[2] - x[0]])
    )
    assert energy.total(m) < energy.total(start)


def test_spin_torque(comm):
    """The current carries spin into the magnet, and m stays on the sphere."""
    scope = names_after(blocks()["spin torque"])
    assert scope["state"].t == pytest.approx(0.5)
    largest = max(comm.allgather(float(np.abs(scope["S"].x.array).max(initial=0.0))))
    assert 0.0 < largest < np.inf
    m = scope["m"].x.array.reshape(-1, 3)
    assert np.abs(np.linalg.norm(m, axis=1) - 1).max(initial=0.0) < 1e-14


def test_nodal_methods(comm):
    """MPEA, then the midpoint rule: unit length, and less energy than at the start."""
    scope = names_after(blocks()["nodal methods"])
    m, energy = scope["m"], llg.Energy([llg.Exchange(1.0)])
    assert np.abs(np.linalg.norm(m.x.array.reshape(-1, 3), axis=1) - 1).max() < 1e-12
    assert scope["state"].t == pytest.approx(0.02)
    start = llg.magnetization(m.function_space.mesh, llg.literature.hmm_ex2_initial)
    assert energy.total(m) < energy.total(start)


def test_homogenization(comm):
    """EX2's tensor with its off-diagonal, to the error of 16 cells of degree 2."""
    scope = names_after(blocks()["homogenization"])
    kappa_hom = scope["cell"].kappa_hom
    assert kappa_hom == pytest.approx(HMM_EX2_KAPPA_HOM, abs=1e-4)
    assert scope["state"].t == pytest.approx(0.01)


def test_scale_separation(comm):
    """The upscaled tensor of eq. (40) lies where its local harmonic means do."""
    scope = names_after(blocks()["scale separation"])
    assert scope["upscaled"].total(llg.magnetization(scope["domain"], (1, 0, 0))) < 0.0
    kappa = scope["tensor"].kappa
    values = np.concatenate(comm.allgather(kappa.x.array))
    # sqrt(c^2 - 1/4), c = 1.1 + 0.25 sin(...): between its values at 0.85 and 1.35.
    assert 0.68 < values.min() < values.max() < 1.26
