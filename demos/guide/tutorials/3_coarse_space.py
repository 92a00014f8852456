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
# # 3. A coarse space, and a run that never sees the fine mesh
#
# Where the exchange coefficient varies on a scale that a mesh has to resolve, and m does not need
# it, a space of few functions that know the coefficient does the same. Here: generalized rough
# polyharmonic splines on 8 x 8 coarse cells, for a coefficient that a mesh of 64 x 64 resolves.

# %%
import time

from mpi4py import MPI

import matplotlib.pyplot as plt
from dolfinx import mesh

import dolfinx_llg as llg

# %% [markdown]
# ## The rough material and the run on the fine mesh
#
# `ms_trig` is a product of trigonometric functions on six scales with a contrast of about 10. The
# fine mesh is made by refining the coarse one, which is what relates the two.

# %%
hierarchy = llg.grps.refine_mesh(mesh.create_unit_square(MPI.COMM_WORLD, 8, 8), 3)
kappa = llg.cell_coefficient(hierarchy.fine, llg.literature.ms_trig)
energy = llg.Energy([llg.Exchange(kappa), llg.UniaxialAnisotropy((1, 0, 0))])
low, high = kappa.x.petsc_vec.min()[1], kappa.x.petsc_vec.max()[1]  # of all ranks
print(f"kappa from {low:.3f} to {high:.3f}")
T, DT = 0.01, 1e-2 / 134


def run(basis=None):
    """Return m at t = 0.01, the step, and seconds."""
    m = llg.magnetization(hierarchy.fine, llg.literature.hmm_ex2_initial)
    step = llg.gao(energy, m, dt=DT, damping=1.0, projection=True)
    start = time.perf_counter()
    for _ in llg.march(step, t_end=T, basis=basis, progress=False):
        pass
    return m, step, time.perf_counter() - start


fine, _, seconds_fine = run()

# %% [markdown]
# ## The coarse space
#
# One basis function for each coarse cell and component, made from the energy of the run: each is
# the cheapest function with mean 1 on its cell and mean 0 on all others, within `ell` layers of
# cells. A warning says how much of the start the space does not have.

# %%
basis = llg.grps.coarse_basis(energy, hierarchy, ell=3)
coarse, step, seconds_coarse = run(basis)
rows, columns = basis.P.getSize()
print(f"{columns} functions instead of {rows}")


# %%
def error(m):
    """Return the relative distance to the fine run at the nodes."""
    return (m.x.petsc_vec - fine.x.petsc_vec).norm() / fine.x.petsc_vec.norm()


print(f"relative error {error(coarse):.1e}")
assert error(coarse) < 2e-2

# %% [markdown]
# ## A reduced run
#
# A step in the coarse space still assembles its forms on the fine mesh. `hyper_reduce` trains on
# a short run, and finds a few cells with weights on which the forms can be assembled instead, to
# a tolerance; after that no step touches the fine mesh.

# %%
m = llg.magnetization(hierarchy.fine, llg.literature.hmm_ex2_initial)
step = llg.gao(energy, m, dt=DT, damping=1.0, projection=True)
reduction = llg.reduction.hyper_reduce(step, basis, hierarchy, t_train=T, energy=energy)
start = time.perf_counter()
for _ in llg.march(reduction, t_end=T, progress=False):
    pass
seconds_reduced = time.perf_counter() - start
reduction.reconstruct()  # m on the whole fine mesh again
print(f"relative error {error(m):.1e}")
assert error(m) < 2e-2

# %% [markdown]
# What it costs: on a mesh as small as this one a fine step is cheap, and the space pays when it
# is used again. The table of `demo_grps_cost` has the figures for larger ones.

# %%
if MPI.COMM_WORLD.rank == 0:
    names = ["fine", "coarse", "reduced"]
    figure, axes = plt.subplots(figsize=(5, 2), layout="constrained")
    axes.barh(names, [seconds_fine, seconds_coarse, seconds_reduced])
    axes.set_xlabel("seconds of 134 steps")

# %% [markdown]
# The basis can be kept: `llg.grps.save_basis(path, basis, measurement)` and `load_basis`, which
# checks that mesh and coefficient are still the same.

# %%
llg.plot.plot_magnetization(m, "coarse.png", kappa=kappa)
if MPI.COMM_WORLD.rank == 0:
    figure = plt.figure(figsize=(8, 4), layout="constrained")
    plt.imshow(plt.imread("coarse.png"))
    plt.axis("off")
