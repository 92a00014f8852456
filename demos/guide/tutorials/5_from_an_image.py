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
# # 5. HMM and homogenization from an image
#
# A micrograph of one period of a material is enough for three runs: one that resolves it, one
# with the tensor that homogenization finds in its limit, and one with the tensor that HMM measures
# without being told that there is a period.

# %%
from mpi4py import MPI

import matplotlib.pyplot as plt
import numpy as np
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.hmm import MicroBox, upscaled_tensor
from dolfinx_llg.homogenization import homogenize

comm = MPI.COMM_WORLD

# %% [markdown]
# ## The image
#
# Smoothed noise stands for a micrograph: 16 x 16 pixels, grains longer along x, $\kappa$ from 0.1
# to 0.9. `llg.Image` repeats it with a period; it takes an array as here, or a picture's name.

# %%
PIXELS = 16
noise = np.random.default_rng(4).standard_normal((PIXELS, PIXELS))
k = np.fft.fftfreq(PIXELS, 1 / PIXELS)
blur = np.exp(-((k[:, None] / 1.5) ** 2) - (k[None, :] / 3.0) ** 2)
grey = np.fft.ifft2(np.fft.fft2(noise) * blur).real
image = 10.0 ** (-0.5 - 0.5 * np.tanh(grey / grey.std()))  # image[i, j] at x_1 and x_2

# %% [markdown]
# ## Homogenization
#
# A cell problem on a mesh of one period gives the tensor of the limit. It does not depend on the
# length of the period; the mean of the image is 0.30, its harmonic mean 0.19.

# %%
cell = mesh.create_unit_square(comm, PIXELS, PIXELS)
limit = homogenize(llg.Image(image), cell, degree=1).kappa_hom
print(np.round(limit, 3))

# %% [markdown]
# ## HMM
#
# Micro problems in boxes of 15 periods around a few points, averaged with kernels over 7 periods.
# Nothing tells them what the period is: a box knows $\varepsilon$ as a scale alone.

# %%
eps = 1 / 80
box = MicroBox(
    dim=2, eps=eps, mu=3.5 * eps, mu_outer=7.4 * eps, eta=0.9 * eps**2, points_per_eps=PIXELS
)
macro = mesh.create_unit_square(comm, 2, 2)
found = upscaled_tensor(macro, llg.Image(image, period=eps), box).kappa
own = found.x.array.reshape(-1, 2, 2)[: macro.topology.index_map(2).size_local]
upscaled = np.concatenate(comm.allgather(own)).mean(axis=0)  # one tensor: the image is periodic
print(np.round(upscaled, 3))
assert np.abs(upscaled - limit).max() < 0.02 * limit.max()

# %% [markdown]
# ## Runs
#
# The same start relaxes for a while on a mesh with one cell for each pixel, for 2 and 4 periods a
# side, and on a mesh of 16 x 16 cells with either tensor, or with the mean of the image.


# %%
def start(x):
    """m at t = 0, level at the boundary."""
    return np.array([np.cos(np.pi * x[0]), np.cos(np.pi * x[1]), 0 * x[0] + 0.7])


def run(cells, kappa):
    """Return m at t = 0.2 on cells x cells squares."""
    m = llg.magnetization(mesh.create_unit_square(comm, cells, cells), start)
    step = llg.midpoint(llg.Energy([llg.Exchange(kappa)]), m, dt=0.01, damping=0.2)
    for _ in llg.march(step, t_end=0.2, progress=False):
        pass
    return m


coarse = {"homogenized": limit, "HMM": upscaled, "mean of the image": image.mean()}
coarse = {name: run(PIXELS, kappa) for name, kappa in coarse.items()}
errors = {name: [] for name in coarse}
for periods in (2, 4):
    resolved = run(PIXELS * periods, llg.Image(image, period=1 / periods))
    fine, norm = resolved.function_space.mesh, resolved.x.petsc_vec.norm()
    for name, m in coarse.items():
        there = llg.initial.from_mesh(m, fine)
        errors[name].append((there.x.petsc_vec - resolved.x.petsc_vec).norm() / norm)

# %% [markdown]
# The distance to the limit falls with the period, whichever way its tensor was found. The mean of
# the image is the tensor of another material.

# %%
for name, values in errors.items():
    print(f"{name:20s}" + "".join(f"{value:9.1e}" for value in values))
for name in ("homogenized", "HMM"):
    assert errors[name][1] < 0.5 * errors[name][0]
    assert errors[name][1] < 0.5 * errors["mean of the image"][1]

# %%
kappa = llg.cell_coefficient(fine, llg.Image(image, period=1 / periods))
llg.plot.plot_magnetization(resolved, "image.png", kappa=kappa)
if comm.rank == 0:
    figure = plt.figure(figsize=(8, 4), layout="constrained")
    plt.imshow(plt.imread("image.png"))
    plt.axis("off")
