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

# %% tags=["remove-cell"]
# SPDX-License-Identifier: LGPL-3.0-or-later

# %% [markdown]
# # 1. Relax a film
#
# A square film with a rough exchange coefficient, an easy axis in its plane, and a magnetization
# that starts far from rest. Lengths, fields and times are dimensionless here.

# %%
from mpi4py import MPI

import matplotlib.pyplot as plt
import numpy as np
from dolfinx import mesh

import dolfinx_llg as llg

# %% [markdown]
# ## Mesh, material, start
#
# A mesh is DOLFINx's. $\kappa$ is constant in each cell: here tiles of two materials, 100 : 1. m is
# of unit length at the nodes of the mesh.

# %%
msh = mesh.create_unit_square(MPI.COMM_WORLD, 32, 32)
kappa = llg.checkerboard(msh, (8, 8), contrast=100, seed=1, low=0.01)
m = llg.magnetization(msh, lambda x: np.array([1 + x[0], np.cos(3 * x[1]), x[0] - x[1]]))

# %% [markdown]
# ## Energy
#
# $$ E(m) = \int \tfrac12 \kappa |\nabla m|^2 + \tfrac12 q_u (1 - m_1^2), \qquad q_u = 1. $$
#
# The effective field is its derivative, which nobody has to write down.

# %%
energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
observer = llg.Observer(energy, m)
energy.by_term(m)

# %% [markdown]
# ## Steps
#
# A scheme says what one step is; the loop is yours. Each step is one linear system, preconditioned
# so that its iterations depend neither on the mesh nor on the contrast.

# %%
step = llg.tangent_plane(energy, m, dt=0.02, damping=llg.Gilbert(0.5), second_order=True)
rows = [observer.observe(state) for state in llg.march(step, t_end=8.0, progress=False)]

# %% [markdown]
# ## What happened
#
# The energy falls in every step. First exchange smooths m within the tiles, then the whole turns
# into the easy axis.

# %%
if msh.comm.rank == 0:
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    for name in ("energy", "energy_exchange", "energy_uniaxial_anisotropy"):
        axes.semilogy([row["t"] for row in rows], [row[name] for row in rows], label=name)
    axes.set_xlabel("time")
    axes.legend()

# %%
llg.plot.plot_magnetization(m, "film.png", kappa=kappa)
if msh.comm.rank == 0:
    figure = plt.figure(figsize=(8, 4), layout="constrained")
    plt.imshow(plt.imread("film.png"))
    plt.axis("off")

# %% [markdown]
# The end of the run is not yet the equilibrium: `llg.minimise` finds that in a few Newton steps,
# without time.

# %%
rest = llg.minimise(energy, m)
print(f"energy {rows[-1]['energy']:.6f} at t = {rows[-1]['t']:g}, {energy.total(m):.6f} at rest")
assert energy.total(m) <= rows[-1]["energy"]
