# SPDX-License-Identifier: LGPL-3.0-or-later
"""VaryingForm: what a matrix and a vector that depend on m share, see ``varying``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import ufl
from dolfinx import fem

from dolfinx_llg.jit import compile_form
from dolfinx_llg.solvers.kept import KeptPart
from dolfinx_llg.solvers.native import KERNELS
from dolfinx_llg.solvers.products import ProductPart, product_part
from dolfinx_llg.solvers.watch import Watch

__all__ = ["AGREE", "VaryingForm"]

logger = logging.getLogger(__name__)

SMALLEST = 2_000
"""Cells of a mesh below which DOLFINx assembles sooner than structure is found."""
AGREE = 1e-12
"""Relative difference (Frobenius) to the general way: some ten products summed in another order."""
_PATIENCE = 3
"""Times in succession that kept data may be renewed for one step only, before they are given up."""


class VaryingForm:
    """What a matrix and a vector that depend on m share.

    Args:
        form: Linear or bilinear form in P1 vector functions.
        c: The coefficient that changes in each step.
        moving: Other functions that change in each step: an integral with one of them is not kept.

    Attributes:
        kept: Parts that are sums of kept matrices with weights linear in c.
        products: Parts whose integrals are products of tensors of the cells and nodal values.
        general: Compiled form of the rest, which is integrated in each step; None: there is none.
    """

    def __init__(self, form: ufl.Form, c: fem.Function, moving: Sequence[fem.Function]) -> None:
        self._c, self._comm = c, c.function_space.mesh.comm
        self._form = form
        self.general: fem.Form | None = compile_form(form)
        self._moving = [f for f in moving if f is not c]
        self.kept: list[KeptPart] = []
        self.products: list[ProductPart] = []
        self._hurried = self._steps = 0
        self._watch: Watch | None = None
        self._kernels: tuple[Any, Any] | None = None

    def _worth_it(self) -> bool:
        """Whether structure is looked for: P1, many cells, kernels."""
        element, mesh = self._c.function_space.ufl_element(), self._c.function_space.mesh
        cells = mesh.topology.index_map(mesh.topology.dim).size_global
        p1 = element.reference_value_shape == (3,) and element.embedded_subdegree == 1
        if not p1 or cells < SMALLEST:
            return False
        try:
            self._kernels = KERNELS.load(self._comm)
        except RuntimeError as error:
            logger.warning("matrices are assembled by DOLFINx alone, which takes longer: %s", error)
            return False
        return True

    def _set_random(self) -> None:
        c = self._c
        c.x.array[:] = np.random.default_rng(3).uniform(-1.0, 1.0, c.x.array.size)
        c.x.scatter_forward()

    def _alone(self, integral: ufl.Integral) -> bool:
        """Whether an integral is over all cells and reads no other function that moves."""
        others = any(f in self._moving for f in ufl.Form([integral]).coefficients())
        whole = integral.integral_type() == "cell" and integral.subdomain_id() == "everywhere"
        return whole and not others

    def _take_product(self, integral: ufl.Integral) -> bool:
        part = product_part(integral, self._c) if self._alone(integral) else None
        if part is not None:
            self.products.append(part)
        return part is not None

    def _give_up(self) -> None:
        """Leave everything to DOLFINx."""
        self.kept, self.products = [], []
        self.general, self._watch = compile_form(self._form), None

    def _tell(self) -> None:
        """Make anew what the kernels are told, and remember the data that it is made of."""
        self._watch = Watch(self.kept_forms, [self._c])

    @property
    def kept_forms(self) -> list[ufl.Form]:
        """Forms whose data are read when they are kept, not in each step."""
        return [*(part.form for part in self.kept), *(part.form for part in self.products)]

    def renew(self) -> None:
        """Integrate anew what is kept, after its data have changed (collective).

        Where the data change in every step, it is given up for the general way.
        """
        if not self.kept_forms:
            return
        self._hurried = self._hurried + 1 if self._steps <= 1 else 0
        self._steps = 0
        if self._hurried < _PATIENCE:
            for kept in self.kept:
                kept.analyse()
                kept.renew()
            for product in self.products:
                product.renew()
        if self._hurried >= _PATIENCE or not all(part.found for part in self.products):
            self._give_up()
        else:
            self._tell()

    def refresh(self) -> None:
        """Renew what is kept if its data have changed, as by a term's own update. Collective."""
        watch = self._watch
        if watch is None:
            return
        changed = watch.changed()
        if watch.has_functions:
            changed = any(self._comm.allgather(changed))
        if changed:
            self.renew()
