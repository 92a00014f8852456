# SPDX-License-Identifier: LGPL-3.0-or-later
"""The names and the meaning of what the demos of temporal upscaling write to JSON."""

from mpi4py import MPI  # isort: skip

from pathlib import Path

import pytest
from launch import results

pytestmark = pytest.mark.skipif(MPI.COMM_WORLD.size > 1, reason="starts processes of its own")


def test_one_spin(tmp_path: Path) -> None:
    found, _ = results("temporal_hmm", tmp_path)
    # Slopes from four values of eps or more, far from the ends of their range.
    for name, order in {
        "slope_tail_m0": 1,
        "slope_tail_m1": 2,
        "slope_upscaling": 1,
        "slope_drift": 1,
    }.items():
        assert found[name] == pytest.approx(order, abs=0.05), name
    assert 0 < found["error_hmm_averaged"] < 0.1
    assert 1e-6 < found["drift"] < 1e-2
    assert found["drift_projected"] < 1e-12
    assert found["drift_normalised"] < 1e-15


def test_chain(tmp_path: Path) -> None:
    found, printed = results("spin_chain", tmp_path)
    assert {"error_max", "error_max_final", "cost_ratio"} <= set(found)
    at = [found[f"error_at_t_{name}"] for name in ("0", "0p375", "0p75", "1p5")]
    assert max(at) <= found["error_max"] < 1e-2
    assert at[0] < 1e-8  # the moments of the spatial kernel on a helix
    assert at[-1] == found["error_max_final"]
    assert found["cost_ratio"] < 1 < found["cost_ratio_quarter_eps"]
    assert "Where it pays" in printed


def test_spin_waves(tmp_path: Path) -> None:
    """All spins have the closed form; ten macro points that of their second difference."""
    found, printed = results("spin_chain", tmp_path, "--waves", "--exchange", "100")
    assert found["turns"] == [0, 2]
    assert found["error_resolved_to_closed_form"] < 1e-9  # RK4 of 16 steps a period
    assert found["error_hmm_to_macro_stencil"] < 5e-4  # the window's error, O(eps)
    # (k dX)^2/12 of the exchange part, k dX = 0.4 pi, half of omega: 6 to 7 %.
    assert 0.04 < found["error_hmm_to_closed_form"] < 0.08
    assert "Spin waves in a fast field" in printed


def test_magnet(tmp_path: Path) -> None:
    found, _ = results("fast_field_magnet", tmp_path)
    # The quick run shows what the full one does: cheaper, and better with half the macro step.
    assert found["cost_ratio"] > 2
    assert found["error_max_half_dt"] < 0.7 * found["error_max"] < 0.02
    assert found["effect_of_fast_field"] > 20 * found["error_max"]
