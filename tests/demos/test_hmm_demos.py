# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the demos of HMM in space promise beyond a clean quick run."""

from mpi4py import MPI  # isort: skip

from pathlib import Path

import pytest
from launch import results

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts processes of its own")


def test_a_locally_periodic_problem_is_resolved(tmp_path: Path) -> None:
    """Eq. (42) has a resolved reference without being asked: what differs is the corrector."""
    found, _ = results("hmm", tmp_path, "--example", "locally-periodic-2d")
    # eps chi . grad M, about 1e-3: HMM and the homogenized solution do not have it.
    assert found["corrected_against_resolved"] < 0.2 * found["homogenized_against_resolved"]
    assert found["error_l2_resolved"] < 2e-3 < found["error_l2_averaged_resolved"]
