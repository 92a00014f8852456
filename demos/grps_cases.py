# SPDX-License-Identifier: LGPL-3.0-or-later
"""Cases of ``demo_grps_rates``: bases, references, runs in V_H and rivals, each computed once.

A case is all that its numbers depend on. Its results are kept in a file named by a hash of that, so
that a table whose run was broken off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpi4py import MPI

import numpy as np
from dolfinx import fem, mesh
from rough_composite import rival, rough_energy
from shared import SCHEMES, averaged, errors

import dolfinx_llg as llg
from dolfinx_llg import grps, literature
from dolfinx_llg.output import write_json

BASES = ("grps", "lod", "slod")
CONSTANT = np.array([1 / math.sqrt(2), 1 / math.sqrt(3), 1 / math.sqrt(6)])
DAMPING = 1.0


@dataclass(frozen=True)
class Setting:
    """What all cases of a study share.

    Attributes:
        comm: Communicator of all meshes.
        cache: Folder of what is kept.
        initial: "constant" (the paper's datum) or "varying" (EX2 of the HMM paper).
        fine: Fine squares per side.
        t_end: Final time T.
        basis: Of ``BASES``.
        ell: Layers of the patches.
        localization: See ``grps.grps_basis``.
        kappa_rule: How a fine triangle samples kappa.
        reference_steps: Fine steps of the reference for varying data.
    """

    comm: MPI.Intracomm
    cache: Path
    initial: str
    fine: int
    t_end: float
    basis: str
    ell: int
    localization: str
    kappa_rule: str
    reference_steps: int


def key_of(setting: Setting, case: dict) -> str:
    """Return the hash of a case, 16 hexadecimal digits."""
    everything = {
        **case,
        "initial": setting.initial,
        "fine": setting.fine,
        "t_end": setting.t_end,
        "kappa_rule": setting.kappa_rule,
        "basis": setting.basis,
        "localization": setting.localization,
        "damping": DAMPING,
        "reference_steps": setting.reference_steps,
        "version": llg.__version__,
    }
    text = json.dumps(everything, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kept(setting: Setting, name: str, case: dict, compute: Callable[[], dict]) -> dict:
    """Return the results of a case, from its file or computed (collective)."""
    comm = setting.comm
    path = setting.cache / f"{name}_{key_of(setting, {**case, 'ranks': comm.size})}.json"
    found = comm.bcast(json.loads(path.read_text()) if comm.rank == 0 and path.exists() else None)
    if found is None:
        found = compute()
        write_json(path, found, comm)
    return found


def on_disk(setting: Setting, path: Path) -> bool:
    """Whether a file is there, as rank 0 sees it (collective)."""
    return setting.comm.bcast(path.exists() if setting.comm.rank == 0 else None)


class Level:
    """A coarse mesh with its refinement, the coefficient and the functionals.

    Args:
        setting: What all cases share.
        nc: Coarse squares per side.
    """

    def __init__(self, setting: Setting, nc: int) -> None:
        coarse = mesh.create_unit_square(setting.comm, nc, nc)
        levels = int(math.log2(setting.fine // nc))
        self.setting, self.nc = setting, nc
        self.hierarchy: grps.Hierarchy = grps.refine_mesh(coarse, levels)
        self.kappa = llg.cell_coefficient(
            self.hierarchy.fine, literature.ms_trig, setting.kappa_rule
        )
        self._measurements: dict[str, grps.Measurement] = {}

    def measurement(self, kind: str) -> grps.Measurement:
        """Return the functionals "V" (volumes) or "E" (inner edges)."""
        if kind not in self._measurements:
            make = {"V": grps.volume_measurement, "E": grps.facet_measurement}[kind]
            self._measurements[kind] = make(self.hierarchy)
        return self._measurements[kind]

    def scalar_basis(self, kind: str, energy: str) -> grps.GRPSBasis:
        """Return the basis of "V" or "E" functionals for the energy "V1" or "V2"."""
        setting, V, functionals = self.setting, self.hierarchy.space, self.measurement(kind)
        form = {"V1": grps.exchange_form, "V2": grps.anisotropic_form}[energy](V, self.kappa)
        if setting.basis == "lod":
            return grps.lod_basis(form, self.hierarchy, ell=setting.ell, keep=False)
        if setting.basis == "slod":
            return grps.slod_basis(form, functionals, ell=setting.ell)
        options = {"ell": setting.ell, "localization": setting.localization}
        place = {"nc": self.nc, "kind": kind, "energy": energy, "ell": setting.ell}
        path = setting.cache / f"basis_{key_of(setting, place)}.npz"
        if on_disk(setting, path):
            return grps.load_basis(path, form, functionals, **options)
        basis = grps.grps_basis(form, functionals, **options)
        grps.save_basis(path, basis, form)
        return basis


def basis_of(level: Level, kind: str, energy: str) -> tuple[llg.GalerkinBasis, float]:
    """Return the basis of magnetizations for "V1", "V2" or "V1+V2", and the seconds it took."""
    begin = time.perf_counter()
    scalars = {name: level.scalar_basis(kind, name) for name in energy.split("+")}
    first, last = scalars[energy[:2]], scalars[energy[-2:]]
    basis = grps.vector_basis(first if first is last else [first, last, last])
    return basis, time.perf_counter() - begin


def ode_step(scheme: str, m: np.ndarray, dt: float, projection: bool) -> np.ndarray:
    """One step of a scheme for data constant in space, h = -(0, m_2, m_3).

    A linear system for An, Cimrak and Gao; for Prohl a fixed point, which converges for dt << 1.
    """
    a = np.diag([0.0, 1.0, 1.0])
    q = m @ a @ m
    matrix = np.eye(3) / dt + DAMPING * a
    right = m / dt
    if scheme == "gao":
        right = right + DAMPING * q * m
    elif scheme == "an":
        matrix = matrix - DAMPING * np.outer(m, a @ m)
    else:
        matrix = matrix - DAMPING * q * np.eye(3)

    def cross(c: np.ndarray) -> np.ndarray:
        return np.array([[0.0, -c[2], c[1]], [c[2], 0.0, -c[0]], [-c[1], c[0], 0.0]]) @ a

    new = np.linalg.solve(matrix - cross(m), right)
    for _ in range(100 if scheme == "prohl" else 0):
        previous, new = new, np.linalg.solve(matrix - cross(new), right)
        if np.abs(new - previous).max() < 1e-15:
            break
    return new / np.linalg.norm(new) if projection else new


def ode(scheme: str, projection: bool, t_end: float, steps: int) -> np.ndarray:
    """Return m at t_end of a scheme that starts from the paper's constant datum."""
    m = CONSTANT.copy()
    for _ in range(steps):
        m = ode_step(scheme, m, t_end / steps, projection)
    return m


def make_step(
    scheme: str, m: fem.Function, kappa: fem.Function, dt: float, projection: bool
) -> llg.WeakStep:
    """Return the step of a scheme for exchange and an easy axis along x."""
    return SCHEMES[scheme](rough_energy(kappa), m, dt=dt, damping=DAMPING, projection=projection)


def initial(setting: Setting, domain: mesh.Mesh) -> fem.Function:
    """Return the initial magnetization on a mesh."""
    if setting.initial == "varying":
        return llg.magnetization(domain, literature.hmm_ex2_initial)
    return llg.magnetization(domain, tuple(CONSTANT))


def reference_of(level: Level, scheme: str, projection: bool) -> fem.Function:
    """Return m at T on the fine mesh: the ODE with dt = h^2, or the same scheme in V_h."""
    setting, comm = level.setting, level.setting.comm
    fine = level.hierarchy.fine
    m = initial(setting, fine)
    if setting.initial == "constant":
        steps = math.ceil(setting.t_end * setting.fine**2)
        place = {"scheme": scheme, "projection": projection, "steps": steps}
        value = kept(
            setting, "ode", place, lambda: {"m": ode(scheme, projection, setting.t_end, steps)}
        )
        m.x.array[:] = np.tile(value["m"], len(m.x.array) // 3)
        return m
    place = {"scheme": scheme, "projection": projection}
    path = setting.cache / f"fine_{key_of(setting, place)}.npz"
    if not on_disk(setting, path):
        domain = mesh.create_unit_square(comm, setting.fine, setting.fine)
        own, kappa = (
            initial(setting, domain),
            llg.cell_coefficient(domain, literature.ms_trig, setting.kappa_rule),
        )
        step = make_step(scheme, own, kappa, setting.t_end / setting.reference_steps, projection)
        *_, state = llg.march(step, t_end=setting.t_end)
        llg.write_checkpoint(path, state)
    llg.read_checkpoint(path, m)
    return m


def time_step(setting: Setting, tau: str, nc: int) -> float:
    """Return tau = H or H^2, H = 1/nc; for varying data times T."""
    scale = 1.0 if setting.initial == "constant" else setting.t_end
    return scale * nc ** (-1.0 if tau == "H" else -2.0)


def run(level: Level, case: dict, basis: llg.GalerkinBasis, basis_seconds: float) -> dict:
    """March in V_H and return errors, dofs, counts and seconds by part."""
    setting = level.setting
    scheme, projection = case["scheme"], case["projection"]
    reference = reference_of(level, scheme, projection)
    m = initial(setting, level.hierarchy.fine)
    step = make_step(
        scheme, m, level.kappa, time_step(setting, case["tau"], case["nc"]), projection
    )
    parts = dict.fromkeys(("setup", "assembly", "solve"), 0.0)
    iterations = 0
    begin = time.perf_counter()
    stepper = llg.WeakStepper(step, basis=basis)
    for state in llg.march(stepper, t_end=setting.t_end):
        iterations += state.iterations
        for name in parts:
            parts[name] += state.parts[name]
    seconds = time.perf_counter() - begin
    projected = getattr(stepper.operators, "seconds_projection", 0.0)
    l2, h1 = errors(m, reference)
    row = {
        "nc": case["nc"],
        "dofs": basis.dim,
        "error_h1": h1,
        "error_l2": l2,
        "length_defect": llg.length_defect(m),
        "seconds": seconds,
        "seconds_basis": basis_seconds,
        "seconds_setup": parts["setup"],
        "seconds_assembly": parts["assembly"],
        "seconds_projection": projected,
        "seconds_solve": parts["solve"] - projected,
        "steps": state.n,
        "iterations_mean": iterations / state.n,
    }
    if setting.initial == "constant":  # what the time step alone leaves
        steps = round(setting.t_end / time_step(setting, case["tau"], case["nc"]))
        exact = reference.x.array[:3]
        row["error_time"] = float(
            np.linalg.norm(ode(scheme, projection, setting.t_end, steps) - exact)
            / np.linalg.norm(exact)
        )
    return row


def rivals(level: Level, case: dict) -> dict:
    """Return the errors of P1 on the coarse mesh, kappa at its midpoints or averaged over it.

    The solutions are carried to the fine mesh, where they are P1 too.
    """
    setting, hierarchy = level.setting, level.hierarchy
    reference = reference_of(level, case["scheme"], case["projection"])
    midpoint = llg.cell_coefficient(hierarchy.coarse, literature.ms_trig)
    average = averaged(hierarchy, level.kappa)
    row: dict = {"dofs_p1": (case["nc"] + 1) ** 2}
    for name, kappa in (("midpoint", midpoint), ("mean", average)):
        m = initial(setting, hierarchy.coarse)
        dt = time_step(setting, case["tau"], case["nc"])
        step = make_step(case["scheme"], m, kappa, dt, case["projection"])
        found = rival(step, setting.t_end, reference)
        row[f"seconds_p1_{name}"] = found.seconds
        row[f"error_l2_p1_{name}"], row[f"error_h1_p1_{name}"] = found.error_l2, found.error_h1
    return row
