# SPDX-License-Identifier: LGPL-3.0-or-later
"""A page of panels, as most pictures of the demos are: begun and ended alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from dolfinx_llg.plot import PAPER


@contextmanager
def page(
    file: Path,
    size: tuple[float, float],
    rows: int,
    columns: int,
    **options: Any,
) -> Iterator[Any]:
    """Draw panels in the package's style, without frames above and on the right, and save them.

    Args:
        file: The picture.
        size: Its width and height in inches.
        rows, columns: Numbers of panels.
        options: Of ``Figure.subplots``.

    Yields:
        The panels, shape (rows, columns).
    """
    with mpl.rc_context(PAPER):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
        yield axes
        for ax in axes.flat:
            ax.spines[["top", "right"]].set_visible(False)
        figure.savefig(file)
