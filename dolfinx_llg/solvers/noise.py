# SPDX-License-Identifier: LGPL-3.0-or-later
"""NodalNoise: the thermal field at the nodes of a run, step by step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, la

from dolfinx_llg.collective import agree, raise_together, together
from dolfinx_llg.jit import compile_form
from dolfinx_llg.philox import normals
from dolfinx_llg.physics.interaction import check_domain
from dolfinx_llg.physics.thermal import Thermal
from dolfinx_llg.solvers.nodal_field import NodalField
from dolfinx_llg.solvers.watch import Watch
from dolfinx_llg.typing import Array

__all__ = ["NodalNoise", "original_numbers"]

AHEAD = 1 << 14
"""Triples that are computed at once: small meshes have those of several steps in one go."""


def original_numbers(V: fem.FunctionSpace) -> npt.NDArray[np.int64]:
    """Return the number of each owned node of a P1 space in the mesh as it was given.

    The position in the file or array from which the mesh was made; no partition changes it. Nor
    does it where ``refine_mesh`` has refined it; of a mesh that DOLFINx has refined on several
    ranks it depends on these.
    """
    geometry, dofs = V.mesh.geometry, V.dofmap.list
    found = np.zeros(V.dofmap.index_map.size_local + V.dofmap.index_map.num_ghosts, dtype=np.int64)
    # Vertices come first among the points of a cell, of whatever order its geometry is.
    found[dofs] = geometry.input_global_indices[geometry.dofmaps[0][:, : dofs.shape[1]]]
    return found[: V.dofmap.index_map.size_local]


class NodalNoise:
    """The field of ``Thermal`` at the nodes of a run.

    Args:
        thermal: The interaction.
        Ms: Relative saturation magnetization.
        m: Magnetization, for its space.
        field: Nodal field whose layout the values have (nodes may be identified); None: the nodes
            that this rank owns.

    Attributes:
        step: Number of the next step.

    Note: Collective.
    """

    def __init__(
        self,
        thermal: Thermal,
        Ms: float | fem.Constant | fem.Function,
        m: fem.Function,
        field: NodalField | None = None,
    ) -> None:
        V = m.function_space
        self.thermal, self.comm, self.step = thermal, V.mesh.comm, 0
        agree(self.comm, seed=thermal.seed)
        self._m, self._field = m, field
        self._owned = V.dofmap.index_map.size_local
        self.numbers = original_numbers(V) if field is None else field.identified(
            original_numbers(V)
        )  # fmt: skip
        w, dx = ufl.TestFunction(V), ufl.dx(domain=V.mesh)
        one = fem.Constant(V.mesh, 1.0)
        forms = (thermal.temperature(m) * Ms * w[0] * dx, one * Ms * w[0] * dx)
        check_domain(forms[0], m, "Thermal")
        self._forms, self._watch = [compile_form(form) for form in forms], Watch(forms)
        self._average()
        self._drawn: tuple[int, Array] = (0, np.zeros((0, *self.numbers.shape, 3)))
        self._pending: tuple[int, float] | None = None

    def draw(self, t: float, dt: float, dissipation: float | Array) -> Array:
        r"""Return the field of the next step, of the variance 2 a T/(V dt), shape (n, 3).

        Args:
            t: Time in the step, at which a temperature that depends on it is taken.
            dt: Size of the step.
            dissipation: a, alpha of Gilbert's or lambda/(1+lambda^2) of the LL form: a number or
                one for each node, shape (n, 1).

        Raises:
            ValueError: If the step was rejected before and is tried with another size, or the
                temperature has become negative. On all ranks alike.

        Note: Collective. Until ``advance`` the same step has the same numbers.
        """
        if self._pending is not None and self._pending[0] == self.step and self._pending[1] != dt:
            raise ValueError(
                f"a step with thermal noise was rejected at dt = {self._pending[1]:g} and is tried "
                f"again with dt = {dt:g}: choosing steps by their noise would bias it; use fixed "
                "steps, and Until with a tolerance of at least dt"
            )
        with together(self.comm):
            self.thermal.update(self._m, t)
        changed = self._watch.changed()
        if self._watch.has_functions:
            changed = any(self.comm.allgather(changed))
        if changed:
            self._watch.remember()
            self._average()
        amplitude = np.sqrt(2.0 * dissipation * self._over_mass / dt)
        return np.asarray(amplitude * self.normals())

    def tried(self, dt: float) -> None:
        """Note that the step was computed with this size: it may not be tried with another."""
        self._pending = (self.step, dt)

    def advance(self) -> None:
        """Go to the numbers of the next step: this one was accepted."""
        self.step += 1
        self._pending = None

    def normals(self) -> Array:
        """Return the standard normal numbers of the next step, those of ``draw``, shape (n, 3)."""
        first, block = self._drawn
        if not first <= self.step < first + len(block):
            count = max(1, AHEAD // max(1, len(self.numbers)))
            block = normals(self.thermal.seed, self.numbers, self.step, count)
            self._drawn = first, block = self.step, block
        found: Array = block[self.step - first]
        return found

    def _average(self) -> None:
        """Assemble the nodal averages of the temperature over the nodal masses."""
        hot, mass = (self._collected(form) for form in self._forms)
        low = float(np.min(hot, initial=0.0))
        bad = not (low >= 0.0 and bool(np.all(np.isfinite(hot))))
        raise_together(
            self.comm,
            f"temperature must be at least 0 and finite, got {np.min(hot / mass):g} at a node"
            if bad
            else None,
        )
        self._over_mass: Array = hot / mass**2

    def _collected(self, form: fem.Form) -> Array:
        vector = fem.assemble_vector(form)
        if self._field is not None:
            return self._field.collect(vector)[:, :1]
        vector.scatter_reverse(la.InsertMode.add)
        return np.array(vector.array[: 3 * self._owned].reshape(-1, 3)[:, :1])
