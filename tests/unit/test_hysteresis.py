# SPDX-License-Identifier: LGPL-3.0-or-later
"""Loops: where m jumps, what the rows tell, files, resuming, bad input."""

import math
from dataclasses import replace

import numpy as np
import pytest
from dolfinx import mesh

import dolfinx_llg as llg
from dolfinx_llg.equilibrium import (
    coercive_fields,
    energy_product,
    nucleation_field,
    remanences,
    switching_fields,
)
from dolfinx_llg.output import read_csv


def particle(comm, degrees):
    """A particle small against its exchange length, in a field at an angle to its axis."""
    psi = math.radians(degrees)
    msh = mesh.create_unit_square(comm, 2, 2)
    field = llg.Zeeman((0.0, 0.0, 0.0))
    energy = llg.Energy([llg.Exchange(1.0), llg.UniaxialAnisotropy((0, 0, 1), 1.0), field])
    direction = (math.sin(psi), 0.0, math.cos(psi))
    return energy, llg.magnetization(msh, direction), field, direction


@pytest.mark.parametrize("degrees", [20.0, 45.0, 70.0])
def test_stoner_wohlfarth(comm, degrees):
    """Switching at (cos^(2/3) + sin^(2/3))^(-3/2), remanence cos; to the tolerance asked for."""
    energy, m, field, direction = particle(comm, degrees)
    states = list(
        llg.hysteresis(
            energy, m, field, np.linspace(1.2, -1.2, 13), direction=direction,
            steps=llg.LoopSteps(tolerance=2e-3),
        )
    )  # fmt: skip
    s, c = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    (switching,) = switching_fields(states)
    # Half the interval, and what a torque of 1e-5 may add at the fold.
    assert switching == pytest.approx(-((c ** (2 / 3) + s ** (2 / 3)) ** -1.5), abs=1.5e-3)
    assert remanences(states) == pytest.approx([c], abs=1e-6)
    (coercive,) = coercive_fields(states)
    # Below 45 degrees the jump passes 0, above them m turns through it at h = -sin(2 psi)/2.
    expected = switching if degrees <= 45 else -s * c
    assert coercive == pytest.approx(expected, abs=5e-3)
    assert [state.amplitude for state in states] == sorted(
        (state.amplitude for state in states), reverse=True
    )
    assert {round(x, 9) for x in np.linspace(1.2, -1.2, 13)} <= {
        round(state.amplitude, 9) for state in states
    }


def test_nucleation_and_energy_product(comm):
    """Along the axis lambda = q + h, zero at h = -q where m jumps; (BH)max of a square loop 1/4."""
    energy, m, field, direction = particle(comm, 0.0)
    states = list(
        llg.hysteresis(
            energy, m, field, [0.5, 0.0, -0.5, -0.7, -1.1], direction=direction,
            steps=llg.LoopSteps(tolerance=4e-3, eigenvalue=True),
        )
    )  # fmt: skip
    before = [state for state in states if state.along > 0.99]
    for state in before:
        assert state.eigenvalue == pytest.approx(1.0 + state.h, abs=1e-6)
    assert nucleation_field(before) == pytest.approx(-1.0, abs=1e-5)
    assert switching_fields(states) == pytest.approx([-1.0], abs=2.5e-3)
    # -h (h + 1) at h = -1/2.
    assert energy_product(states) == pytest.approx(0.25, abs=1e-10)
    # In a ball the field is h - 1/3: the best point lies at h = -1/6, between two states.
    assert energy_product(states, factor=1 / 3) == pytest.approx(0.25, abs=1e-3)
    # In a plate it is h - 1, and the best point the first state, at h = 1/2.
    assert energy_product(states[:1] * 2, factor=1.0) == pytest.approx(0.25, abs=1e-10)
    with pytest.raises(ValueError, match="factor"):
        energy_product(states, factor=2.0)
    with pytest.raises(ValueError, match="two states"):
        nucleation_field(before[:1])
    with pytest.raises(ValueError, match="must fall"):
        nucleation_field(before[::-1])


def test_units_minor_loop_and_state(comm):
    energy, m, field, direction = particle(comm, 30.0)
    units = llg.units.Units(1e6)
    amplitudes = [200.0, -200.0, 200.0]  # mT; below the switching field: no loop opens
    states = list(
        llg.hysteresis(
            energy, m, field, amplitudes, direction=direction, units=units,
            steps=llg.LoopSteps(jump=1.5),
        )
    )  # fmt: skip
    h = 0.2 / (4e-7 * math.pi * 1e6)
    assert [state.h for state in states] == pytest.approx([h, -h, h])
    np.testing.assert_allclose(field.value, h * np.array(direction))
    assert states[0].along == pytest.approx(states[2].along, abs=2e-5)
    assert states[0].m is m
    assert states[-1].magnetization == pytest.approx(states[-1].along)
    (state,) = llg.hysteresis(energy, m, field, [1e5], units=units, steps=llg.LoopSteps(unit="A/m"))
    assert state.h == pytest.approx(0.1)


def test_resumed_in_mid_loop(comm, shared_tmp_path):
    """The loop that was stopped and the one that was not have the same rows, to the torque."""
    amplitudes = np.linspace(0.8, -0.8, 9)
    rows = []
    for stop in (None, 5):
        energy, m, field, direction = particle(comm, 30.0)
        files = llg.LoopFiles(
            csv=shared_tmp_path / f"loop_{stop}.csv",
            checkpoint=shared_tmp_path / f"loop_{stop}.npz",
        )
        options = {
            "direction": direction, "torque": 1e-7, "steps": llg.LoopSteps(tolerance=1e-2),
        }  # fmt: skip
        loop = llg.hysteresis(energy, m, field, amplitudes, files=files, **options)
        for state in loop:
            if stop is not None and state.t >= stop:
                break
        loop.close()
        if stop is not None:
            energy, m, field, direction = particle(comm, 30.0)
            options["files"] = replace(files, resume=True)
            for _ in llg.hysteresis(energy, m, field, amplitudes, **options):
                pass
            with pytest.raises(ValueError, match="stands at amplitude"):
                llg.hysteresis(energy, m, field, amplitudes / 2, **options)
        rows.append(read_csv(files.csv))
    assert [row["amplitude"] for row in rows[0]] == [row["amplitude"] for row in rows[1]]
    for a, b in zip(*rows, strict=True):
        assert a["along"] == pytest.approx(b["along"], abs=1e-5)
    assert sum(row["jumped"] for row in rows[1]) == 1


def test_bad_input(comm):
    energy, m, field, _ = particle(comm, 30.0)
    other = llg.Zeeman((0, 0, 1.0))
    with pytest.raises(ValueError, match="one of the terms"):
        llg.hysteresis(energy, m, other, [1.0])
    pulse = llg.Zeeman(lambda t: (0.0, 0.0, t))
    with pytest.raises(ValueError, match="constant in space and time"):
        llg.hysteresis(energy + pulse, m, pulse, [1.0])
    for bad in ([], [[1.0]], [math.nan]):
        with pytest.raises(ValueError, match="amplitudes"):
            llg.hysteresis(energy, m, field, bad)
    with pytest.raises(ValueError, match="direction"):
        llg.hysteresis(energy, m, field, [1.0], direction=(0, 0, 0))
    with pytest.raises(ValueError, match="jump"):
        llg.LoopSteps(jump=0.0)
    with pytest.raises(ValueError, match="tolerance"):
        llg.LoopSteps(tolerance=0.0)
    with pytest.raises(ValueError, match="resume needs"):
        llg.LoopFiles(csv="loop.csv", resume=True)
    with pytest.raises(ValueError, match="unit must be 'mT' or 'A/m'"):
        llg.LoopSteps(unit="Oe")
    # What goes on to minimise is checked as its own arguments are, and named.
    with pytest.raises(TypeError, match=r"hysteresis: .*'torqe'; did you mean 'torque'"):
        llg.hysteresis(energy, m, field, [1.0], torqe=1e-3)
    with pytest.raises(TypeError, match="hysteresis: search must be a Search, got 3"):
        llg.hysteresis(energy, m, field, [1.0], search=3)
    with pytest.raises(ValueError, match="hysteresis: method must be"):
        llg.hysteresis(energy, m, field, [1.0], method="newton")
