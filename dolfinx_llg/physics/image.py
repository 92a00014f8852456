# SPDX-License-Identifier: LGPL-3.0-or-later
"""An image as a coefficient: periodic, the same for a run, a cell problem and micro problems."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ufl
from dolfinx import fem, mesh
from ufl.core.expr import Expr

from dolfinx_llg.checks import check_array, check_number
from dolfinx_llg.kinds import WrongKindError, checked, describe
from dolfinx_llg.physics.cell_data import cell_function
from dolfinx_llg.physics.interaction import mesh_of

__all__ = ["Image"]

# Points on the border of two pixels take the upper one, whatever the round-off of the mesh.
_TIE = 1e-10


@checked
class Image:
    """A periodic coefficient, constant in each pixel of an array or of a picture.

    ::

        kappa = llg.Image("grains.png", period=0.1, values=(1.0, 100.0))
        energy = llg.Energy([llg.Exchange(kappa)])           # a run that resolves it
        tensor = llg.homogenization.homogenize(kappa, cell)  # cell: a mesh of one period
        field = UpscaledField(comm, grid, box, kappa)        # HMM: kappa at any points

    It is a callable of coordinates: of NumPy points, shape (dim, n), and of the spatial coordinate
    of a mesh, on which it is the DG0 function of its values at the centroids.

    Args:
        image: Array with one axis for each dimension, ``image[i, j]`` at x_1 and x_2 (see
            ``from_array``); or a picture file (PNG, ...), whose columns run along x_1 and whose
            rows run downwards along x_2. Of colours the mean counts.
        period: Length of the period, or one for each dimension; it is the size of the image.
        values: Coefficient where a picture is black and where it is white, linear between them;
            needed for files, for arrays None: their numbers are the coefficient.
        origin: Lower corner of one of the periods; None: 0.

    Attributes:
        table: The coefficient of each pixel.
        period: Length of the period along each axis.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a number is not positive or the array has no axes or entries.

    Note: Every rank passes the same array, or reads the file.
    """

    def __init__(
        self,
        image: npt.ArrayLike | str | os.PathLike[str],
        *,
        period: float | Sequence[float] = 1.0,
        values: tuple[float, float] | None = None,
        origin: Sequence[float] | None = None,
    ) -> None:
        if isinstance(image, str | os.PathLike):
            if values is None:
                raise ValueError("values must be given with a file: of black and of white")
            table = _grey(Path(image))
        else:
            table = check_array("image", image)
        if table.ndim not in (1, 2, 3) or table.size == 0:
            raise ValueError(f"image must have 1, 2 or 3 axes, got shape {table.shape}")
        if values is not None:
            low, high = check_array("values", values, (2,))
            table = low + (high - low) * table
        if not table.min() > 0.0:
            raise ValueError(f"the coefficient must be positive everywhere, got {table.min():g}")
        dim = table.ndim
        self.table = table
        self.period = np.broadcast_to(np.asarray(period, dtype=np.float64), (dim,)).copy()
        for length in self.period:
            check_number("period", length, positive=True)
        self._origin = check_array("origin", np.zeros(dim) if origin is None else origin, (dim,))

    def __call__(self, x: Any) -> Any:
        """Return the coefficient at points, or as a function on the mesh of a coordinate.

        Raises:
            TypeError: If x is UFL other than a spatial coordinate: give ``period`` instead.
            ValueError: If x has fewer coordinates than the image has axes.

        Note: Collective for a coordinate.
        """
        if isinstance(x, Expr):
            if not isinstance(x, ufl.SpatialCoordinate):
                raise WrongKindError(
                    f"an Image is evaluated at the coordinates of a mesh, got {describe(x)}: give "
                    "its period instead of scaling x"
                )
            return self._on_mesh(x)
        points = np.asarray(x, dtype=np.float64)
        if len(points) < self.table.ndim:
            raise ValueError(
                f"an image of {self.table.ndim} axes needs as many coordinates, got {len(points)}"
            )
        return self._at(points)

    def on_cell(self, cell: mesh.Mesh) -> fem.Function:
        """Return the coefficient on the mesh of a cell problem.

        Args:
            cell: Mesh of a box of whole periods.

        Raises:
            ValueError: If a side is not a whole number of periods.

        Note: Collective.
        """
        x, dim = cell.geometry.x, self.table.ndim
        met = cell.comm.allgather((x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)))
        low, high = (
            extreme([part[k] for part in met], axis=0) for k, extreme in enumerate((np.min, np.max))
        )
        count = (high - low)[:dim] / self.period
        off = (np.round(count) < 1.0) | (np.abs(count - np.round(count)) > 1e-9 * count)
        # A direction in which nothing changes has any period.
        changes = [bool(np.ptp(self.table, axis=k).any()) for k in range(dim)]
        if np.any(off & changes):
            raise ValueError(
                f"the cell of sides {(high - low)[:dim].tolist()} is not a whole number of the "
                f"image's periods, {self.period.tolist()}"
            )
        return self._on_mesh(ufl.SpatialCoordinate(cell))

    def _at(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        index = []
        for axis, n in enumerate(self.table.shape):
            place = (x[axis] - self._origin[axis]) / self.period[axis] * n
            index.append(np.floor(place + _TIE * n).astype(np.int64) % n)
        return np.asarray(self.table[tuple(index)])

    def _on_mesh(self, x: Expr) -> fem.Function:
        msh = mesh_of(x)
        if msh.geometry.dim < self.table.ndim:
            raise ValueError(
                f"an image of {self.table.ndim} axes needs a mesh of as many dimensions, got one "
                f"of {msh.geometry.dim}"
            )
        V = fem.functionspace(msh, ("DG", 0))
        centres = V.tabulate_dof_coordinates()[V.dofmap.list.reshape(-1)]
        return cell_function(msh, self._at(centres.T), "kappa")


def _grey(path: Path) -> npt.NDArray[np.float64]:
    """Return the grey levels of a picture in [0, 1], indexed along x_1 and upwards along x_2."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no picture {path}")
    # A run without pictures loads no picture library.
    from PIL import Image as Picture
    from PIL import UnidentifiedImageError

    try:
        with Picture.open(path) as file:
            wide = file.mode.startswith(("I", "F"))
            levels = np.asarray(file if wide else file.convert("RGB"), dtype=np.float64)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is no picture: {error}") from error
    if levels.ndim == 3:
        levels = levels.mean(axis=2)
    return np.asarray((levels / (65535.0 if wide else 255.0))[::-1].T)
