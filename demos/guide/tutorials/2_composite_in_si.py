# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# SPDX-License-Identifier: LGPL-3.0-or-later

# %% [markdown]
# # 2. A composite in SI units: from a mesh file to a hysteresis loop
#
# A ball of 40 nm diameter, soft, with eight hard balls inside, its stray field included. The mesh
# comes from Gmsh, with a tag for the cells of each material; all numbers that go in and out are
# in SI units.

# %%
from pathlib import Path

from mpi4py import MPI

import matplotlib.pyplot as plt
import numpy as np

import dolfinx_llg as llg
from dolfinx_llg.equilibrium import coercive_fields, energy_product, remanences

# %% [markdown]
# ## Mesh and materials
#
# `read_mesh` takes Gmsh's `.msh` (and XDMF) with its physical groups as tags. The tags of this
# mesh: 1 is the matrix, 2 are the inclusions; its unit of length is the nanometre.

# %%
meshes = Path(llg.__file__).parents[1] / "meshes"
data = llg.read_mesh(MPI.COMM_WORLD, meshes / "composite_particle.msh")
soft = llg.Material(Ms=8.0e5, A=1.3e-11, alpha=0.05)
hard = llg.Material(Ms=1.4e6, A=3.0e-11, alpha=0.1, K_u=5.2e5, easy_axis=(0, 0, 1))
body = llg.composite(data, {1: soft, 2: hard}, length=1e-9, stray_field=True)
{name: round(float(llg.units.exchange_length(x.A, x.Ms)) * 1e9, 2)
 for name, x in (("soft, nm", soft), ("hard, nm", hard))}  # fmt: skip

# %% [markdown]
# `body` holds the energy with its terms, the applied field among them, the damping of each cell,
# and the units, by which everything can be converted.

# %%
print([type(term).__name__ for term in body.energy.terms])
print(f"one unit of time is {1e12 * body.units.time_to_s(1.0):.2f} ps")

# %% [markdown]
# ## The loop
#
# At each field m goes downhill from where it was. Where it jumps the step is halved until the
# switching field is known to a tolerance. The field is 5 degrees off the easy axis, in mT.

# %%
m = llg.magnetization(body.mesh, (0, 0, 1))
angle = np.radians(5.0)
states = list(
    llg.hysteresis(
        body.energy, m, body.applied, np.linspace(400, -400, 17),
        direction=(np.sin(angle), 0, np.cos(angle)), units=body.units, torque=1e-4,
        steps=llg.LoopSteps(tolerance=5.0),
    )
)  # fmt: skip

# %%
(coercive,) = coercive_fields(states)
product = 1e-3 * body.units.pressure_unit * energy_product(states, factor=1 / 3)
print(f"coercive field {-coercive:.0f} mT, remanence {remanences(states)[0]:.3f}")
print(f"(BH)max {product:.1f} kJ/m3")
assert 0 < -coercive < 400

# %% [markdown]
# The loop is symmetric: the other branch is this one turned by 180 degrees.

# %%
if body.mesh.comm.rank == 0:
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    llg.plot.draw_loop(axes, states, unit="mT")

# %% [markdown]
# ## Where it reverses
#
# At remanence the matrix has already turned away from the hard balls, as far as exchange and the
# stray field let it.

# %%
body.applied.assign((0, 0, 0))
m.interpolate(lambda x: np.tile([[0.0], [0.0], [1.0]], x.shape[1]))
rest = llg.minimise(body.energy, m, torque=1e-4)
llg.plot.plot_magnetization(m, "particle.png")
if body.mesh.comm.rank == 0:
    figure = plt.figure(figsize=(5, 4), layout="constrained")
    plt.imshow(plt.imread("particle.png"))
    plt.axis("off")

# %% [markdown]
# Is it a minimum? The lowest eigenvalue of the Hessian, a field, is the answer; it falls to zero
# where the state is lost.

# %%
found = rest.stability()
print(f"{found.verdict}, {1e3 * body.units.field_to_T(found.eigenvalue):.0f} mT")
assert found.verdict == "minimum"
