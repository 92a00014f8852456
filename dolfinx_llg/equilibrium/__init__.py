# SPDX-License-Identifier: LGPL-3.0-or-later
"""States at rest: minimisation."""

from dolfinx_llg.equilibrium.minimise import Equilibrium, Minimiser, minimise, minimise_steps
from dolfinx_llg.equilibrium.stability import Stability

__all__ = ["Equilibrium", "Minimiser", "Stability", "minimise", "minimise_steps"]
