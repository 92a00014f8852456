# SPDX-License-Identifier: LGPL-3.0-or-later
"""The names and the size of what the demos of temperature and barriers write to JSON."""

from mpi4py import MPI  # isort: skip

from pathlib import Path

import pytest
from launch import results

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts processes of its own")


def test_thermal(tmp_path: Path) -> None:
    """Quick runs have standard errors of 1 to 3 %."""
    found, _ = results("thermal", tmp_path)
    assert found["schemes"] == ["heun", "midpoint", "tangent_plane"]
    assert found["equipartition"] == pytest.approx([1.0] * 3, abs=0.06)
    assert found["mz2_exact"] == pytest.approx(0.5313, abs=1e-4)
    assert found["mz2"] == pytest.approx([found["mz2_exact"]] * 3, rel=0.08)
    assert found["ranks_equal"] is True


def test_barrier(tmp_path: Path) -> None:
    """Closed forms; the wire's cells are a sixth of the wall parameter."""
    found, _ = results("barrier", tmp_path)
    assert 0.0 <= found["macrospin_error_percent"] < 0.1
    assert 0.0 < found["wire_error_percent"] < 0.5
