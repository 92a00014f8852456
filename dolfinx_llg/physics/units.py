# SPDX-License-Identifier: LGPL-3.0-or-later
r"""SI materials to the dimensionless problem and back: the only home of mu0, gamma0, Ms, A.

A reference magnetization ``Ms0`` [A/m] and a length ``L`` [m] (one unit of the mesh) fix all units:

========  =============================  ==========================================
quantity  unit                           dimensionless material
========  =============================  ==========================================
length    :math:`L`                      :math:`\kappa = 2A/(\mu_0 M_{s0}^2 L^2)`
field     :math:`M_{s0}`                 :math:`q_u = 2K_u/(\mu_0 M_{s0}^2)`
time      :math:`1/(\gamma_0 M_{s0})`    :math:`q_c = 2K_{c1}/(\mu_0 M_{s0}^2)`
energy    :math:`\mu_0 M_{s0}^2 L^3`     :math:`D/(\mu_0 M_{s0}^2 L)`, :math:`M_s/M_{s0}`
current   ``Units.current_unit``         :math:`D_e/(L^2 \gamma_0 M_{s0})`, :math:`\sigma/(L j_0)`
========  =============================  ==========================================

The equation is then :math:`(1+\alpha^2)\,\dot m = -m \times h - \alpha\,m \times (m \times h)`
with Gilbert's :math:`\alpha` and :math:`h = -M_s^{-1}\,\delta E/\delta m`; the energy density is
:math:`\tfrac12\kappa|\nabla m|^2 + \tfrac12 q_u (1 - (m\cdot u)^2)
+ \tfrac12 q_c (m_1^2 m_2^2 + m_2^2 m_3^2 + m_3^2 m_1^2) - M_s\, m \cdot h_{ext}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh

from dolfinx_llg.checks import check_kind, check_number, warn
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import from_cell_tags
from dolfinx_llg.physics.material import (
    E_CHARGE,
    GAMMA0,
    K_B,
    MU0,
    MU_B,
    Material,
    Numbers,
    domain_wall_width,
    exchange_length,
)

__all__ = [
    "E_CHARGE",
    "GAMMA0",
    "K_B",
    "MU0",
    "MU_B",
    "Material",
    "Regions",
    "Units",
    "check_mesh_size",
    "domain_wall_width",
    "exchange_length",
]


@checked
@dataclass(frozen=True)
class Units:
    """Units of the dimensionless problem; ``a_from_b`` has the inverse ``a_to_b``.

    All conversions take numbers or NumPy arrays.

    Args:
        Ms0: Reference magnetization [A/m], the unit of fields (see :meth:`for_materials`).
        length: Length of one mesh unit [m]: 1e-9 for a mesh in nm, 1 for a mesh in metres (scale
            such a mesh: numbers of 1e-9 spoil the tolerances of preconditioners).
        gamma0: mu0 times the gyromagnetic ratio [m/(A s)].

    Raises:
        ValueError: If a number is not positive and finite.
    """

    Ms0: float
    length: float = 1e-9
    gamma0: float = GAMMA0

    def __post_init__(self) -> None:
        for name in ("Ms0", "length", "gamma0"):
            check_number(name, getattr(self, name), positive=True)

    @classmethod
    def for_materials(
        cls,
        *materials: Material | Iterable[Material],
        length: float = 1e-9,
        gamma0: float = GAMMA0,
    ) -> Units:
        """Return units whose ``Ms0`` is the largest Ms of the materials, so that relative Ms <= 1.

        Args:
            materials: One or several, at least one; or sequences of them.
            length: Length of one mesh unit [m].
            gamma0: mu0 times the gyromagnetic ratio [m/(A s)].

        Raises:
            TypeError: If one of them is no material.
            ValueError: If there is none, or a number is not positive and finite.
        """
        given: list[Material] = []
        for entry in materials:
            given += [entry] if isinstance(entry, Material) else entry
        for entry in given:
            check_kind("each of materials", entry, Material, "a Material")
        if not given:
            raise ValueError("materials must be at least one Material, got none")
        return cls(max(material.Ms for material in given), length, gamma0)

    @property
    def time_unit(self) -> float:
        """1 / (gamma0 Ms0) [s]."""
        return 1.0 / (self.gamma0 * self.Ms0)

    @property
    def pressure_unit(self) -> float:
        """The unit of energy densities, mu0 Ms0^2 [J/m3]."""
        return MU0 * self.Ms0**2

    @property
    def energy_unit(self) -> float:
        """mu0 Ms0^2 L^3 [J] (in 2D per L of thickness, in 1D per L^2 of cross-section)."""
        return self.pressure_unit * self.length**3

    def time_from_s(self, seconds: Numbers) -> Numbers:
        """Time [s] to dimensionless."""
        return seconds / self.time_unit

    def time_to_s(self, t: Numbers) -> Numbers:
        """Time [s] from dimensionless."""
        return t * self.time_unit

    def length_from_m(self, metres: Numbers) -> Numbers:
        """Length [m] to dimensionless."""
        return metres / self.length

    def length_to_m(self, x: Numbers) -> Numbers:
        """Length [m] from dimensionless."""
        return x * self.length

    def field_from_A_per_m(self, H: Numbers) -> Numbers:
        """Field [A/m] to dimensionless."""
        return H / self.Ms0

    def field_to_A_per_m(self, h: Numbers) -> Numbers:
        """Field [A/m] from dimensionless."""
        return h * self.Ms0

    def field_from_T(self, B: Numbers) -> Numbers:
        """Field, given as mu0 H [T], to dimensionless."""
        return B / (MU0 * self.Ms0)

    def field_to_T(self, h: Numbers) -> Numbers:
        """Field, as mu0 H [T], from dimensionless."""
        return h * (MU0 * self.Ms0)

    def energy_from_J(self, joules: Numbers) -> Numbers:
        """Energy [J] to dimensionless."""
        return joules / self.energy_unit

    def energy_to_J(self, energy: Numbers) -> Numbers:
        """Energy [J] from dimensionless."""
        return energy * self.energy_unit

    def temperature_from_K(self, T: Numbers, extent: float = 1.0) -> Numbers:
        """Temperature [K] to dimensionless, k_B T over the unit of energy (``Thermal``).

        Args:
            T: Temperature [K].
            extent: What a mesh of fewer dimensions lacks, in mesh units: the thickness in 2D, the
                area of the cross-section in 1D.

        Raises:
            ValueError: If the extent is not positive.
        """
        return T * (K_B / (self.energy_unit * check_number("extent", extent, positive=True)))

    def temperature_to_K(self, temperature: Numbers, extent: float = 1.0) -> Numbers:
        """Temperature [K] from dimensionless; see ``temperature_from_K``.

        Raises:
            ValueError: If the extent is not positive.
        """
        return temperature * (
            self.energy_unit * check_number("extent", extent, positive=True) / K_B
        )

    def kappa_from_A(self, A: Numbers) -> Numbers:
        """Exchange stiffness A [J/m] to kappa."""
        return A / (0.5 * self.pressure_unit * self.length**2)

    def kappa_to_A(self, kappa: Numbers) -> Numbers:
        """Exchange stiffness A [J/m] from kappa."""
        return kappa * (0.5 * self.pressure_unit * self.length**2)

    def q_u_from_K_u(self, K_u: Numbers) -> Numbers:
        """Uniaxial anisotropy [J/m3] to dimensionless."""
        return K_u / (0.5 * self.pressure_unit)

    def q_u_to_K_u(self, q_u: Numbers) -> Numbers:
        """Uniaxial anisotropy [J/m3] from dimensionless."""
        return q_u * (0.5 * self.pressure_unit)

    def q_c_from_K_c1(self, K_c1: Numbers) -> Numbers:
        """Cubic anisotropy [J/m3] to dimensionless."""
        return K_c1 / (0.5 * self.pressure_unit)

    def q_c_to_K_c1(self, q_c: Numbers) -> Numbers:
        """Cubic anisotropy [J/m3] from dimensionless."""
        return q_c * (0.5 * self.pressure_unit)

    def dmi_from_D(self, D: Numbers) -> Numbers:
        """Dzyaloshinskii-Moriya constant [J/m2] to dimensionless."""
        return D / (self.pressure_unit * self.length)

    def dmi_to_D(self, d: Numbers) -> Numbers:
        """Dzyaloshinskii-Moriya constant [J/m2] from dimensionless."""
        return d * (self.pressure_unit * self.length)

    def q_s_from_K_s(self, K_s: Numbers) -> Numbers:
        """Surface anisotropy [J/m2] to dimensionless."""
        return K_s / (0.5 * self.pressure_unit * self.length)

    def q_s_to_K_s(self, q_s: Numbers) -> Numbers:
        """Surface anisotropy [J/m2] from dimensionless."""
        return q_s * (0.5 * self.pressure_unit * self.length)

    def interlayer_from_J(self, J: Numbers) -> Numbers:
        """Interlayer exchange [J/m2] to dimensionless."""
        return J / (self.pressure_unit * self.length)

    def interlayer_to_J(self, j: Numbers) -> Numbers:
        """Interlayer exchange [J/m2] from dimensionless."""
        return j * (self.pressure_unit * self.length)

    def energy_density_from_J_per_m3(self, e: Numbers) -> Numbers:
        """Energy density, magnetoelastic constants [J/m3] to dimensionless."""
        return e / self.pressure_unit

    def energy_density_to_J_per_m3(self, e: Numbers) -> Numbers:
        """Energy density, magnetoelastic constants [J/m3] from dimensionless."""
        return e * self.pressure_unit

    def velocity_from_m_per_s(self, v: Numbers) -> Numbers:
        """Velocity [m/s] to dimensionless."""
        return v * (self.time_unit / self.length)

    def velocity_to_m_per_s(self, v: Numbers) -> Numbers:
        """Velocity [m/s] from dimensionless."""
        return v / (self.time_unit / self.length)

    def diffusion_from_m2_per_s(self, D: Numbers) -> Numbers:
        """Diffusion constant [m2/s] to dimensionless."""
        return D * (self.time_unit / self.length**2)

    @property
    def current_unit(self) -> float:
        """j_0 = (e/mu_B) Ms0 L gamma0 Ms0 [A/m2]: fully polarised, it carries Ms0 at velocity 1."""
        return E_CHARGE / MU_B * self.Ms0 * self.length / self.time_unit

    def current_from_A_per_m2(self, j: Numbers) -> Numbers:
        """Current density [A/m2] to dimensionless."""
        return j / self.current_unit

    def current_to_A_per_m2(self, j: Numbers) -> Numbers:
        """Current density [A/m2] from dimensionless."""
        return j * self.current_unit

    def conductivity_from_S_per_m(self, sigma: Numbers) -> Numbers:
        """Conductivity [S/m] to that of -sigma grad(phi) with phi in volts."""
        return sigma / (self.length * self.current_unit)


@checked
@dataclass(frozen=True)
class Regions:
    """Dimensionless DG0 fields of a composite, as the energy terms and schemes take them.

    Args:
        kappa: Exchange coefficient.
        q_u: Uniaxial anisotropy.
        easy_axis: Unit vectors; (0, 0, 1) in materials without an axis, where q_u = 0.
        q_c: Cubic anisotropy.
        dmi: Dzyaloshinskii-Moriya constant.
        Ms: Saturation magnetization relative to ``Units.Ms0``.
        alpha: Gilbert damping, for ``Gilbert(fields.alpha)``.
    """

    kappa: fem.Function
    q_u: fem.Function
    easy_axis: fem.Function
    q_c: fem.Function
    dmi: fem.Function
    Ms: fem.Function
    alpha: fem.Function

    @classmethod
    @checked
    def from_cell_tags(
        cls,
        msh: mesh.Mesh,
        cell_tags: mesh.MeshTags | None,
        materials: Mapping[int, Material],
        units: Units,
    ) -> Regions:
        """Return the fields of a composite from one material per cell tag.

        Args:
            msh: Mesh in multiples of ``units.length``.
            cell_tags: Tags of all cells.
            materials: Material of each tag; tags that do not occur in the mesh may be among them.
            units: Units of the dimensionless problem.

        Raises:
            ValueError: If a cell has no tag or its tag no material (on all ranks, naming the tags).

        Note: Collective.
        """

        def field(name: str, value: Callable[[Material], npt.ArrayLike]) -> fem.Function:
            values = {tag: value(material) for tag, material in materials.items()}
            return from_cell_tags(msh, cell_tags, values, name=name)

        return cls(
            kappa=field("kappa", lambda material: units.kappa_from_A(material.A)),
            q_u=field("q_u", lambda material: units.q_u_from_K_u(material.K_u)),
            easy_axis=field("easy_axis", lambda material: material.easy_axis or (0.0, 0.0, 1.0)),
            q_c=field("q_c", lambda material: units.q_c_from_K_c1(material.K_c1)),
            dmi=field("dmi", lambda material: units.dmi_from_D(material.D)),
            Ms=field("Ms", lambda material: units.field_from_A_per_m(material.Ms)),
            alpha=field("alpha", lambda material: material.alpha),
        )


@checked
def check_mesh_size(
    msh: mesh.Mesh,
    materials: Material | Mapping[int, Material],
    units: Units,
    *,
    cell_tags: mesh.MeshTags | None = None,
) -> float:
    """Warn where the mesh is too coarse for the textures that a material forms.

    The size of a cell is the greatest distance of two of its vertices. It is compared with the
    exchange length or, where that is smaller, with the wall parameter sqrt(A/abs(K_u)).

    Args:
        msh: Mesh in multiples of ``units.length``.
        materials: One material, or one per cell tag.
        units: Units of the mesh.
        cell_tags: Tags of the cells, needed with one material per tag.

    Returns:
        The largest ratio of cell size to length over all regions (at most 1: no warning).

    Raises:
        ValueError: If there are several materials and no tags.

    Note: Collective; one UserWarning for all regions, the same on all ranks.
    """
    tdim = msh.topology.dim
    owned = np.arange(msh.topology.index_map(tdim).size_local, dtype=np.int32)
    if isinstance(materials, Material):
        cells = {"the mesh": (owned, materials)}
    else:
        if cell_tags is None:
            raise ValueError("cell_tags must be given with one material per tag, got None")
        cells = {
            f"region {tag}": (np.intersect1d(cell_tags.find(tag), owned), material)
            for tag, material in sorted(materials.items())
        }
    local = [msh.h(tdim, index).max(initial=0.0) for index, _ in cells.values()]
    sizes = units.length * np.max(msh.comm.allgather(local), axis=0)
    faults, worst = [], 0.0
    for (where, (_, material)), size in zip(cells.items(), sizes.tolist(), strict=True):
        limit, name = float(exchange_length(material.A, material.Ms)), "exchange length"
        if material.K_u != 0.0:
            wall = float(domain_wall_width(material.A, abs(material.K_u)))
            limit, name = min((limit, name), (wall, "wall parameter sqrt(A/K_u)"))
        worst = max(worst, size / limit)
        if size > limit:
            faults.append(f"cells of {where} measure up to {size:.3g} m, its {name} {limit:.3g} m")
    if faults:
        warn(f"the mesh is too coarse: {'; '.join(faults)}")
    return worst
