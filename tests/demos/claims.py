# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the quick runs of demos must find, beside ending well: by the name of the demo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def thermal(found: dict[str, Any]) -> None:
    """Quick runs have standard errors of 1 to 3 %."""
    assert found["schemes"] == ["heun", "midpoint", "tangent_plane"]
    assert found["equipartition"] == pytest.approx([1.0] * 3, abs=0.06)
    assert found["mz2_exact"] == pytest.approx(0.5313, abs=1e-4)
    assert found["mz2"] == pytest.approx([found["mz2_exact"]] * 3, rel=0.08)
    assert found["ranks_equal"] is True


def barrier(found: dict[str, Any]) -> None:
    """Closed forms; the wire's cells are a sixth of the wall parameter."""
    assert 0.0 <= found["macrospin_error_percent"] < 0.1
    assert 0.0 < found["wire_error_percent"] < 0.5


def nanocomposite(found: dict[str, Any]) -> None:
    """Eight grains on 6^3 cells: the coarse space is too small for the field of reversal."""
    methods = {row["name"]: row for row in found["methods"]}
    assert list(methods) == ["resolved", "grps", "homogenized", "averaged"]
    truth = methods["resolved"]
    assert truth["dofs"] == 3 * 7**3
    assert methods["grps"]["dofs"] == 3 * 3**3
    # Before reversal the basis knows the grains; the limit of small grains is that of another
    # sample, whose mean moment is not that of these eight.
    assert methods["grps"]["remanence"] == pytest.approx(truth["remanence"], abs=1e-3)
    assert methods["grps"]["bh_max_kJ_m3"] == pytest.approx(truth["bh_max_kJ_m3"], rel=0.01)
    for row in methods.values():
        assert 0.0 < row["remanence"] <= 1.0
        assert row["evaluations"] > 0


def wall(found: list[dict[str, Any]]) -> None:
    """No row is off by 10 % without a warning, none within 2 % has one.

    The time of a quick run is too short for a speed to 1 %: what is within 2 % of the whole run is
    within 3 % here.
    """
    for row in found:
        error = abs(row["value"] / row["mesh_limit"] - 1.0)
        assert row["warned"] or error < 0.1, row
        assert not row["warned"] or error > 0.02, row
        if row["problem"] == "walker" and row["adaptive"]:
            assert row["scheme"] in ("midpoint", "tangent_plane_2")
            assert error < 0.03, row
        if row["problem"] == "walker" and row["scheme"] == "midpoint":
            assert error < 0.03, row


CLAIMS: dict[str, Callable[[Any], None]] = {
    "barrier": barrier,
    "nanocomposite": nanocomposite,
    "thermal": thermal,
    "wall": wall,
}
