# SPDX-License-Identifier: LGPL-3.0-or-later
"""Electric current, its field and spin accumulation; the magnet as a part of a mesh."""

from dolfinx_llg.physics.torques import (
    drift_velocity,
)
from dolfinx_llg.transport.current import (
    Current,
    solve_current,
)
from dolfinx_llg.transport.materials import (
    Conductor,
    Transport,
)
from dolfinx_llg.transport.oersted import (
    oersted_field,
)
from dolfinx_llg.transport.spin_accumulation import (
    SpinAccumulation,
)
from dolfinx_llg.transport.submesh import (
    Magnet,
    magnet_of,
)

__all__ = [
    "Conductor",
    "Current",
    "Magnet",
    "SpinAccumulation",
    "Transport",
    "drift_velocity",
    "magnet_of",
    "oersted_field",
    "solve_current",
]
