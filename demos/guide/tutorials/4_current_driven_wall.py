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
# # 4. A wall driven by a current, with adaptive steps
#
# A domain wall in a wire with a spin-polarised current along it (Zhang and Li). Below the
# breakdown its speed is known, $v = \xi u / \alpha$, where u is the speed of the angular momentum
# that the electrons carry and $\xi$ the share of the torque that is not adiabatic. A time step
# that is too long adds damping, and makes the wall slower without looking wrong: here the error
# of the step chooses it.

# %%
from mpi4py import MPI

import matplotlib.pyplot as plt
import numpy as np
import ufl
from dolfinx import fem, mesh

import dolfinx_llg as llg

# %% [markdown]
# ## The wire
#
# Easy axis z, a hard axis y that holds the wall's plane; lengths in nm.

# %%
A, Ms, K_u, K_hard, alpha, xi, speed = 1e-11, 5.8e5, 5e5, 1e5, 0.1, 0.15, 40.0
units = llg.Units(Ms0=Ms, length=1e-9)
wire = mesh.create_interval(MPI.COMM_WORLD, 200, [0.0, 400.0])
width = 1e9 * llg.units.domain_wall_width(A, K_u)
energy = llg.Energy(
    [
        llg.Exchange(units.kappa_from_A(A)),
        llg.UniaxialAnisotropy((0, 0, 1), units.q_u_from_K_u(K_u)),
        llg.UniaxialAnisotropy((0, 1, 0), -units.q_u_from_K_u(K_hard)),  # an axis to be avoided
        llg.ZhangLi(units.velocity_from_m_per_s(speed), xi),
    ]
)


def wall(x):
    """A wall at 100 nm, in the plane of x."""
    s = (x[0] - 100.0) / width
    return np.vstack([1 / np.cosh(s), 0 * s, -np.tanh(s)])


m = llg.magnetization(wire, wall)

# %% [markdown]
# ## The run
#
# The midpoint rule adds no damping at any step; `Adaptive` keeps the local error at `rtol` and
# says no to a step that is too long. Where the wall stands is read from the mean of $m_z$.

# %%
step = llg.midpoint(energy, m, dt=units.time_from_s(1e-13), damping=llg.Gilbert(alpha))
place = fem.form(0.5 * m[2] * ufl.dx)
times, places, steps = [], [], []
for state in llg.march(
    step, t_end=units.time_from_s(2e-9), adaptive=llg.Adaptive(rtol=1e-3), progress=False
):
    times.append(1e9 * units.time_to_s(state.t))
    places.append(sum(wire.comm.allgather(fem.assemble_scalar(place))))
    steps.append(1e12 * units.time_to_s(state.dt))

# %% [markdown]
# ## Its speed
#
# The wall needs some tenths of a nanosecond to tilt out of its plane, then it moves steadily.

# %%
half = len(times) // 2
found = np.polyfit(times[half:], places[half:], 1)[0]  # nm/ns is m/s
exact = xi * speed / alpha
print(f"{found:.2f} m/s, by the closed form {exact:.2f} m/s, in {len(times)} steps")
assert abs(found / exact - 1) < 0.03

# %%
if wire.comm.rank == 0:
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    axes[0].plot(times, np.array(places) - places[0])
    axes[0].set(xlabel="time (ns)", ylabel="the wall's way (nm)")
    axes[1].semilogy(times[1:], steps[1:])
    axes[1].set(xlabel="time (ns)", ylabel="step (ps)")

# %% [markdown]
# ## What a fixed step does
#
# The same wall with a scheme of first order at a step that is common: it warns once, with the
# damping that the step adds and the step that would not.

# %%
import warnings

m = llg.magnetization(wire, wall)
step = llg.gao(energy, m, dt=units.time_from_s(2e-12), damping=llg.Gilbert(alpha), projection=True)
place = fem.form(0.5 * m[2] * ufl.dx)
first = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for state in llg.march(step, t_end=units.time_from_s(2e-9), progress=False):
        if first is None and state.t > units.time_from_s(1e-9):
            first = (state.t, sum(wire.comm.allgather(fem.assemble_scalar(place))))
way = sum(wire.comm.allgather(fem.assemble_scalar(place))) - first[1]
slow = way / (1e9 * units.time_to_s(state.t - first[0]))
print(f"{slow:.2f} m/s instead of {exact:.2f} m/s")
for warning in caught:
    print(warning.message)
assert slow < 0.5 * exact
assert caught
