# SPDX-License-Identifier: LGPL-3.0-or-later
"""Energy terms, material coefficients and units: UFL only, no PETSc and no MPI."""

from dolfinx_llg.physics.cell_data import (
    cell_coefficient,
    check_positive,
    from_array,
    from_cell_tags,
)
from dolfinx_llg.physics.dmi import BulkDMI, InterfacialDMI
from dolfinx_llg.physics.energy import Energy, integral
from dolfinx_llg.physics.exchange import component_forms, exchange_coefficient, with_exchange
from dolfinx_llg.physics.interaction import (
    EnergyTerm,
    FieldTerm,
    Interaction,
    QuadraticTerm,
)
from dolfinx_llg.physics.interlayer import InterlayerExchange
from dolfinx_llg.physics.magnetoelastic import Magnetoelastic
from dolfinx_llg.physics.random_media import (
    checkerboard,
    inclusions,
    place_inclusions,
    voronoi_grains,
)
from dolfinx_llg.physics.samples_in_time import TimeTable
from dolfinx_llg.physics.surface_anisotropy import SurfaceAnisotropy
from dolfinx_llg.physics.tensor_term import LocalStrayField, TensorAnisotropy
from dolfinx_llg.physics.terms import CubicAnisotropy, Exchange, UniaxialAnisotropy, Zeeman
from dolfinx_llg.physics.thermal import Thermal
from dolfinx_llg.physics.torques import (
    Slonczewski,
    SpinTorque,
    ZhangLi,
)
from dolfinx_llg.physics.units import (
    Material,
    Regions,
    Units,
)

__all__ = [
    "BulkDMI",
    "CubicAnisotropy",
    "Energy",
    "EnergyTerm",
    "Exchange",
    "FieldTerm",
    "Interaction",
    "InterfacialDMI",
    "InterlayerExchange",
    "LocalStrayField",
    "Magnetoelastic",
    "Material",
    "QuadraticTerm",
    "Regions",
    "Slonczewski",
    "SpinTorque",
    "SurfaceAnisotropy",
    "TensorAnisotropy",
    "Thermal",
    "TimeTable",
    "UniaxialAnisotropy",
    "Units",
    "Zeeman",
    "ZhangLi",
    "cell_coefficient",
    "check_positive",
    "checkerboard",
    "component_forms",
    "exchange_coefficient",
    "from_array",
    "from_cell_tags",
    "inclusions",
    "integral",
    "place_inclusions",
    "voronoi_grains",
    "with_exchange",
]
