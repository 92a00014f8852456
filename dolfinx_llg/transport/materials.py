# SPDX-License-Identifier: LGPL-3.0-or-later
"""Transport properties of metals: what the current and the spin accumulation need to know."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

import numpy as np
import numpy.typing as npt
from dolfinx import fem, mesh

from dolfinx_llg.collective import together
from dolfinx_llg.kinds import checked
from dolfinx_llg.physics.cell_data import cell_function, from_cell_tags
from dolfinx_llg.physics.units import Units

__all__ = ["Conductor", "Transport"]

type Field = float | fem.Function


@checked
@dataclass(frozen=True)
class Conductor:
    """A metal in SI units, magnetic or not.

    Args:
        sigma: Conductivity [S/m], > 0.
        diffusion: Diffusion constant D_e of spins [m2/s], > 0: 2 D_0 in the papers of Zhang, Levy
            and Fert and of Abert et al.
        lambda_sf: Spin-flip length [m], > 0 and finite: sqrt(D_e tau_sf).
        lambda_J: Exchange length of the accumulated spins [m], sqrt(D_e tau_J); infinite in metals
            without magnetization.
        lambda_phi: Dephasing length of transverse spins [m]; infinite: none.
        beta: Spin polarisation of the current, 0 <= beta <= 1.
        beta_prime: Spin polarisation of the diffusion constant, with beta beta' < 1.

    Raises:
        ValueError: If a number is out of its range.
    """

    sigma: float
    diffusion: float
    lambda_sf: float
    _: KW_ONLY
    lambda_J: float = math.inf
    lambda_phi: float = math.inf
    beta: float = 0.0
    beta_prime: float = 0.0

    def __post_init__(self) -> None:
        _check(
            sigma=self.sigma,
            diffusion=self.diffusion,
            lambda_sf=self.lambda_sf,
            lambda_J=self.lambda_J,
            lambda_phi=self.lambda_phi,
            beta=self.beta,
            beta_prime=self.beta_prime,
        )


_FINITE = ("sigma", "diffusion", "lambda_sf")


def _check(**entries: npt.ArrayLike) -> None:
    """Raise ValueError for the first entry out of its range."""
    for name, entry in entries.items():
        values = np.atleast_1d(np.asarray(entry, dtype=np.float64))
        if name.startswith("beta"):
            good, wanted = (values >= 0.0) & (values <= 1.0), "in [0, 1]"
        else:
            good, wanted = values > 0.0, "positive"
            if name in _FINITE:
                good, wanted = good & np.isfinite(values), "positive and finite"
        if not good.all():
            raise ValueError(f"{name} must be {wanted}, got {values[~good][0]}")
    if "beta" in entries and "beta_prime" in entries:
        product = np.max(np.asarray(entries["beta"]) * np.asarray(entries["beta_prime"]), initial=0)
        if not product < 1.0:
            raise ValueError(
                f"beta beta_prime must be below 1 (else spins do not diffuse), got {product}"
            )


@checked
@dataclass(frozen=True)
class Transport:
    """Dimensionless transport properties, each a number or a DG0 function of the whole mesh.

    Args:
        diffusion: D_e.
        lambda_sf: Spin-flip length in mesh units.
        lambda_J: Exchange length of the accumulated spins; read in the magnet only.
        lambda_phi: Dephasing length; read in the magnet only.
        beta: Polarisation of the current; read in the magnet only.
        beta_prime: Polarisation of the diffusion constant; read in the magnet only.
        sigma: Conductivity (for potentials in volts, ``units.conductivity_from_S_per_m``), which
            the electrostatic problem asks for.

    Raises:
        ValueError: If a value is out of its range, or a function is not one number per cell.
    """

    diffusion: Field
    lambda_sf: Field
    lambda_J: Field
    lambda_phi: Field = math.inf
    beta: Field = 0.0
    beta_prime: Field = 0.0
    sigma: Field | None = None

    def __post_init__(self) -> None:
        """Check the ranges, of functions on all ranks alike."""
        given = [(name, getattr(self, name)) for name in self.__dataclass_fields__]
        for name, value in given:
            if isinstance(value, fem.Function):
                V = value.function_space
                if V.ufl_element().embedded_superdegree != 0 or value.ufl_shape:
                    raise ValueError(f"{name} must be one number per cell (DG0)")
                with together(V.mesh.comm):
                    _check(**{name: value.x.array})
            elif value is not None:
                _check(**{name: value})

    @classmethod
    @checked
    def from_cell_tags(
        cls,
        msh: mesh.Mesh,
        cell_tags: mesh.MeshTags | None,
        conductors: Mapping[int, Conductor],
        units: Units,
    ) -> Transport:
        """Return the properties of a composite from one conductor per cell tag.

        Args:
            msh: Mesh in multiples of ``units.length``.
            cell_tags: Tags of all cells.
            conductors: Conductor of each tag; tags that do not occur in the mesh may be among them.
            units: Units of the dimensionless problem.

        Raises:
            ValueError: If a cell has no tag or its tag no conductor (on all ranks, naming the
                tags).

        Note: Collective.
        """

        def field(name: str, scale: float) -> fem.Function:
            values = {tag: scale * getattr(metal, name) for tag, metal in conductors.items()}
            return from_cell_tags(msh, cell_tags, values, name=name)

        length = float(units.length_from_m(1.0))
        return cls(
            diffusion=field("diffusion", float(units.diffusion_from_m2_per_s(1.0))),
            lambda_sf=field("lambda_sf", length),
            lambda_J=field("lambda_J", length),
            lambda_phi=field("lambda_phi", length),
            beta=field("beta", 1.0),
            beta_prime=field("beta_prime", 1.0),
            sigma=field("sigma", float(units.conductivity_from_S_per_m(1.0))),
        )

    def on(self, msh: mesh.Mesh) -> dict[str, fem.Function]:
        """Return the six spin properties as DG0 functions on the mesh.

        Raises:
            ValueError: If a value is out of its range or a function lives on another mesh, on all
                ranks alike.

        Note: Collective.
        """
        names = ("diffusion", "lambda_sf", "lambda_J", "lambda_phi", "beta", "beta_prime")
        fields: dict[str, fem.Function] = {}
        for name in names:
            value = getattr(self, name)
            if isinstance(value, fem.Function):
                if value.function_space.mesh.ufl_domain() != msh.ufl_domain():
                    raise ValueError(f"{name} lives on another mesh than the spin accumulation")
                if value.function_space.ufl_element().embedded_superdegree != 0:
                    raise ValueError(f"{name} must be one number per cell (DG0)")
                fields[name] = value
            else:
                cells = msh.topology.index_map(msh.topology.dim)
                count = int(cells.size_local + cells.num_ghosts)
                fields[name] = cell_function(msh, np.full(count, float(value)), name)
        with together(msh.comm):
            _check(**{name: field.x.array for name, field in fields.items()})
        return fields
