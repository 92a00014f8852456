# SPDX-License-Identifier: LGPL-3.0-or-later
"""Scalar observables of a run: one row of numbers per step, the same on every rank."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem

from dolfinx_llg.jit import compile_form
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.energy import Energy
from dolfinx_llg.state import State

__all__ = ["Observer"]


@checked
class Observer:
    r"""Evaluates the scalars that tell how a run goes; its forms are compiled once.

    Args:
        energy: Energy of the run.
        m: Magnetization that is advanced by the steps.
        integrals: Further integrals over the mesh, by name: scalar UFL forms (of ``m``, cell
            fields, ...), assembled at each call.

    Raises:
        ValueError: If an integral is no scalar form, or its name is one of the Observer's own.
    """

    def __init__(
        self, energy: Energy, m: fem.Function, *, integrals: Mapping[str, Any] | None = None
    ) -> None:
        mesh = m.function_space.mesh
        dx = ufl.dx(domain=mesh)
        Ms: Any = energy.Ms
        if not isinstance(Ms, fem.Function):
            Ms = fem.Constant(mesh, float(Ms))  # 1 * dx would vanish with its mesh
        extra = dict(integrals or {})
        for name, integral in extra.items():
            if not isinstance(integral, ufl.Form) or integral.arguments():
                raise ValueError(f"the integral {name!r} must be a scalar UFL form")
        self._work = work = fem.Function(m.function_space)
        forms = {
            "volume": Ms * dx,
            "mx": Ms * work[0] * dx,
            "my": Ms * work[1] * dx,
            "mz": Ms * work[2] * dx,
            "length_defect": (1 - ufl.inner(work, work)) ** 2 * dx,
        }
        self._forms = [compile_form(form) for form in (*forms.values(), *extra.values())]
        self._extra = tuple(extra)
        self._energy, self._m = energy, m
        self._energy_names = {name: f"energy_{_snake_case(name)}" for name in energy.by_term(m)}
        own = {*_OWN_NAMES, *self._energy_names.values()}
        if clash := own.intersection(extra):
            raise ValueError(f"names of integrals already in use: {sorted(clash)}")

    def average(self, m: fem.Function) -> npt.NDArray[np.float64]:
        """Return the average of a magnetization, weighted by Ms, shape (3,). Collective.

        Args:
            m: A function of the space of m: m itself, or the candidate of a step (``llg.Until``).
        """
        volume, *sums = self._integrate(self._forms[:4], m)
        return np.array(sums) / volume

    def _integrate(self, forms: Sequence[fem.Form], m: fem.Function) -> list[float]:
        self._work.x.array[:] = m.x.array
        local = np.array([fem.assemble_scalar(form) for form in forms])
        # Summed on every rank in the same order: the ranks agree to the last bit.
        return list(np.sum(m.function_space.mesh.comm.allgather(local), axis=0).tolist())

    def observe(self, state: State) -> dict[str, float]:
        r"""Return the observables of a state.

        The keys, in this order: ``t``, ``n``, ``dt``; ``energy`` (in :math:`\mu_0 M_{s0}^2 L^3`)
        and its parts ``energy_exchange``, ...; the averages ``mx``, ``my``, ``mz`` of m, weighted
        by Ms; ``max_dmdt`` (NaN before the first step); ``length_defect``, the L2 norm of
        :math:`1 - |m|^2`; ``iterations``, ``newton_iterations``; the integrals given.

        The energies are those of the state's m and t, whatever data the last step has read.

        Raises:
            ValueError: If the state belongs to another m.
            TypeError: If the m of the state is an array.

        Note: Collective.
        """
        if not isinstance(state.m, fem.Function):
            raise TypeError(
                f"an Observer integrates a finite-element m, this run has an array of shape "
                f"{np.shape(state.m)}: take the averages that you need from state.m"
            )
        if state.m is not self._m:
            raise ValueError("the state belongs to another m than the observer")
        energies = self._energy.by_term(self._m, state.t)
        sums = self._integrate(self._forms, self._m)
        volume, mx, my, mz, defect = sums[:5]
        return {
            "t": state.t,
            "n": state.n,
            "dt": state.dt,
            "energy": float(sum(energies.values())),
            **{name: energies[key] for key, name in self._energy_names.items()},
            "mx": mx / volume,
            "my": my / volume,
            "mz": mz / volume,
            "max_dmdt": state.max_dmdt,
            "length_defect": math.sqrt(defect),
            "iterations": state.iterations,
            "newton_iterations": state.newton_iterations,
            **dict(zip(self._extra, sums[5:], strict=True)),
        }


_OWN_NAMES = "t n dt energy mx my mz max_dmdt length_defect iterations newton_iterations".split()


def _snake_case(name: str) -> str:
    """``UniaxialAnisotropy`` to ``uniaxial_anisotropy``, ``BulkDMI`` to ``bulk_dmi``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
