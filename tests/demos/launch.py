# SPDX-License-Identifier: LGPL-3.0-or-later
"""The environment in which the tests start demos."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: What launchers leave in the environment: it must not reach a demo's own MPI.
OF_LAUNCHERS = ("PMI", "PMIX", "HYDRA", "HYDI", "MPI_LOCAL", "OMPI_COMM")


def demo_environment() -> dict[str, str]:
    """Return the environment of a demo that imports the package of this checkout."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(OF_LAUNCHERS)}
    path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {"PYTHONPATH": os.pathsep.join(path)}
