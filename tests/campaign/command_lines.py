# SPDX-License-Identifier: LGPL-3.0-or-later
"""The bad command lines of the demos: each is refused before any work, in one clear line.

``COMMON`` is tried on every demo, and for each of its own options (``OPTIONS``) the bad values of
its kind. ``{folder}`` is a scratch folder with a file ``file``, a ``junk.npz`` and a folder
``made``.
"""

from __future__ import annotations

import re
from pathlib import Path

DEMOS = sorted((Path(__file__).parents[2] / "demos").glob("demo_*.py"))

#: Lines that every demo refuses, and what the message must say.
COMMON = [
    ("--no-such-option", "no-such-option"),
    ("--quic", "--quic"),
    ("word", "word"),
    ("--json", "--json"),
    ("--output", "--output"),
    ("--quick=yes", "--quick"),
    ("--output {folder}/file", "cannot be written"),
    ("--output {folder}/file/below", "cannot be written"),
    ("--json {folder}/file/below.json", "cannot be written"),
    ("--json {folder}/made", "is a folder"),
]

#: Values that an option of a kind refuses.
BAD = {
    "whole": ["0", "-3", "1.5", "nan", "many", "1e3"],
    "count": ["-1", "1.5", "nan", "many"],
    "positive": ["0", "-1.5", "nan", "inf", "much", "1/0"],
    "real": ["nan", "inf", "much"],
    "share": ["0", "-1.5", "1", "nan", "much"],
    "closed share": ["-0.1", "1.1", "nan", "much"],
    "list": ["0", "4,-3", "4,1.5", "4;8", ",", "many"],
    "file": ["{folder}/none"],
    "choice": ["nonsense", "3.5"],
}

#: Kinds of the options of each demo.
OPTIONS = {
    "adaptive": {"--rtol": "share", "--n": "whole"},
    "barrier": {"--images": "whole"},
    "composite_particle": {
        "--field": "real", "--angle": "real", "--width-ns": "positive", "--t-end-ns": "positive",
        "--dt-ps": "positive",
    },
    "fast_field_magnet": {
        "--cells": "whole", "--eps": "positive", "--gamma": "positive", "--t-end": "positive",
        "--steps": "whole",
    },
    "grps_cost": {
        "--fine": "whole", "--nc": "list", "--ell": "whole", "--scheme": "choice",
        "--tolerance": "share", "--study-h": "list", "--figure-ell": "list",
        "--figure-fine": "count", "--dim": "choice", "--cells": "choice", "--steps": "whole",
        "--route": "choice",
    },
    "grps_decay": {"--nc": "whole", "--levels": "whole", "--ell": "whole", "--layers": "choice"},
    "grps_rates": {
        "--scheme": "choice", "--basis": "choice", "--measurement": "choice", "--energy": "choice",
        "--tau": "choice", "--initial": "choice", "--nc": "list", "--fine": "whole", "--t-end": "positive",
        "--ell": "whole", "--localization": "choice", "--kappa-rule": "choice", "--table": "choice",
    },
    "hmm": {
        "--example": "choice", "--eps": "positive", "--macro": "whole", "--mu": "positive",
        "--mu-outer": "positive", "--eta": "positive", "--micro": "choice",
        "--upscaling": "choice", "--points-per-eps": "whole", "--alpha": "positive",
        "--alpha-micro": "positive", "--p-time": "whole", "--t-end": "positive",
        "--elements": "whole", "--resolved": "whole",
    },
    "hmm_micro": {"--points-per-eps": "whole", "--macro": "whole", "--figure": "choice"},
    "homogenization": {
        "--cell": "choice", "--cells": "whole", "--degree": "whole", "--inverse-eps": "whole",
        "--alpha": "positive", "--t-end": "positive", "--tau": "positive", "--order": "choice",
        "--dim": "choice", "--periods": "whole", "--energy-periods": "whole",
        "--composites": "choice",
    },
    "hysteresis": {
        "--n": "list", "--method": "choice", "--case": "choice", "--stray-n": "list",
        "--cells-nm": "positive",
    },
    "modes": {"--cells": "whole", "--n": "list", "--film": "list", "--ring-ps": "positive"},
    "mumag3": {"--n": "list", "--grading": "real"},
    "mumag4": {"--cells-nm": "positive", "--field": "choice", "--rtol": "share", "--mesh": "choice"},
    "mumag5": {
        "--cells-nm": "positive", "--layers": "whole", "--xi": "real", "--t-end-ns": "positive",
        "--rtol": "share",
    },
    "nanocomposite": {
        "--cells": "whole", "--coarse": "whole", "--ell": "whole", "--side-nm": "positive",
        "--grain-nm": "positive", "--seed": "count", "--step-mT": "positive",
    },
    "nodal_integrators": {
        "--alpha": "positive", "--n": "whole", "--t-end": "positive", "--tolerance": "positive",
        "--figure": "choice", "--lines": "whole",
    },
    "rough_exchange": {
        "--scheme": "choice", "--n": "whole", "--t-end": "positive", "--dt": "positive",
        "--damping": "positive", "--kappa-rule": "choice", "--nc": "whole", "--ell": "whole",
        "--restart": "file",
    },
    "skyrmion": {"--D": "positive", "--cell-nm": "positive"},
    "solver_cost": {
        "--n": "whole", "--n-3d": "whole", "--scheme": "choice", "--steps": "whole",
        "--damping": "positive",
    },
    "spin_chain": {"--exchange": "real", "--eps": "positive", "--gamma": "positive"},
    "spin_torque": {
        "--current-density": "real", "--alpha": "positive", "--tilt": "positive",
        "--t-end-ns": "positive", "--dt-ps": "positive", "--n": "whole", "--frames": "whole",
    },
    "stray_field": {
        "--nodes": "whole", "--bodies": "choice", "--accuracy": "share", "--coarse-cells": "whole",
        "--coarse-fine": "whole", "--ells": "whole",
    },
    "tangent_plane": {
        "--theta": "closed share", "--dt-ps": "positive", "--alpha": "positive",
        "--contrast": "positive", "--n": "whole", "--relax-ps": "positive",
        "--ring-ps": "positive",
    },
    "tangent_plane_solver": {
        "--n": "whole", "--dt-ps": "positive", "--alpha": "positive", "--contrast": "positive",
        "--rtol": "share", "--form": "choice", "--repeat": "count", "--reference": "file",
    },
    "temporal_hmm": {"--eps": "positive", "--beta": "positive", "--integrator": "choice"},
    "thermal": {"--n": "whole", "--spins": "whole", "--barriers": "list"},
    "wall": {"--time-ps": "positive"},
    "which_method": {
        "--n": "whole", "--inverse-eps": "whole", "--macro": "whole", "--ell": "whole",
        "--steps": "whole", "--t-end": "positive", "--damping": "positive",
    },
}  # fmt: skip

#: Lines that only the whole of them makes wrong.
SINGLE = [
    ("adaptive", "--n 3", "at least 4"),
    ("adaptive", "--rtol 0.5", "below 0.1"),
    ("composite_particle", "--fields", "--output"),
    ("grps_cost", "--quick --nc 3", "power of 2"),
    ("grps_cost", "--quick --fine 24", "power of 2"),
    ("grps_cost", "--figure-fine 12", "power of 2"),
    ("grps_rates", "--quick --nc 3", "--fine"),
    ("grps_rates", "--fine 100 --nc 2", "--fine"),
    ("grps_rates", "--quick --basis lod --table 3", "--table"),
    ("grps_rates", "--quick --table 3 --scheme an --tau H --energy V2", "no run"),
    ("hmm", "--mu 9 --mu-outer 2", "mu"),
    ("hysteresis", "--quick --resume", "--output"),
    ("modes", "--quick --film 3,1", "at least 6"),
    ("mumag3", "--n 8", "growing"),
    ("mumag3", "--n 3,5", "even"),
    ("mumag3", "--grading 1", "below 1"),
    ("mumag3", "--grading=-0.5", "0"),
    ("hmm_micro", "--figure 7", "7"),
    ("mumag3", "--n 8,6", "growing"),
    ("mumag4", "--field 3", "3"),
    ("mumag4", "--rtol 1", "0.1"),
    ("rough_exchange", "--fields", "--output"),
    ("rough_exchange", "--animation", "--output"),
    ("rough_exchange", "--quick --nc 3", "--nc"),
    ("rough_exchange", "--quick --restart {folder}/junk.npz", "checkpoint"),
    ("rough_exchange", "--quick --checkpoint {folder}/file/run.npz", "cannot be written"),
    ("rough_exchange", "--quick --checkpoint {folder}/made", "is a folder"),
    ("spin_torque", "--n 5", "even"),
    ("spin_torque", "--tilt 95", "90"),
    ("tangent_plane", "--theta 1.5", "at most 1"),
    ("tangent_plane_solver", "--quick --reference {folder}/junk.npz", "JSON"),
    ("temporal_hmm", "--integrator euler", "euler"),
]

#: Lines that are right: explicit options win over ``--quick``, 0 is no absent value.
#: The value that the demo starts with, by the option's name.
GOOD = [
    ("adaptive", "--quick --n 6", {"n": 6}),
    ("composite_particle", "--quick --dt-ps 0.25", {"dt_ps": 0.25, "t_end_ns": 0.02}),
    ("composite_particle", "--field 0", {"field": 0.0}),
    ("fast_field_magnet", "--quick --steps 3", {"steps": 3, "cells": 8}),
    ("grps_cost", "--quick --ell 3 --figure-fine 0", {"ell": 3, "figure_fine": 0, "fine": 16}),
    ("grps_cost", "--quick --paper --figure-fine 0", {"paper": True, "figure_fine": 0}),
    ("grps_decay", "--quick --torus --ell 2", {"torus": True, "layers": "vertex", "ell": 2}),
    ("grps_rates", "--quick --variants --table 4", {"variants": True, "table": "4"}),
    ("grps_decay", "--quick --nc 2", {"nc": 2, "levels": 2}),
    ("grps_rates", "--quick --fine 32", {"fine": 32}),
    ("grps_rates", "--quick --basis slod", {"basis": "slod"}),
    ("hmm", "--quick --t-end 0.03", {"t_end": 0.03}),
    ("hmm_micro", "--quick --macro 12", {"macro": [12]}),
    ("homogenization", "--quick --t-end 1/4", {"t_end": 0.25}),
    ("hysteresis", "--quick --n 6,8", {"n": [6, 8]}),
    ("modes", "--quick --cells 50", {"cells": 50, "n": [4, 6]}),
    ("mumag3", "--quick --n 2,4", {"n": [2, 4]}),
    ("mumag4", "--quick --field 1", {"field": [1], "cells_nm": [25.0]}),
    ("nodal_integrators", "--quick --n 6", {"n": 6}),
    ("rough_exchange", "--quick --t-end 0.02", {"t_end": 0.02, "n": 32}),
    ("solver_cost", "--quick --n 4 --steps 1", {"n": [4], "steps": 1, "n_3d": [4]}),
    ("spin_chain", "--quick --exchange 0", {"exchange": 0.0}),
    ("spin_chain", "--quick --waves", {"waves": True}),
    ("spin_torque", "--quick --frames 3", {"frames": 3, "n": 4}),
    ("stray_field", "--quick --nodes 200", {"nodes": [200]}),
    ("tangent_plane", "--quick --theta 0", {"theta": [0.0], "n": 8}),
    ("tangent_plane_solver", "--quick --repeat 0", {"repeat": 0, "n": [4, 8]}),
    ("temporal_hmm", "--quick --beta 2", {"beta": 2.0}),
    ("wall", "--quick --time-ps 12", {"time_ps": 12.0}),
    ("which_method", "--quick --steps 2", {"steps": 2, "t_end": 0.02}),
]


def named() -> list[tuple[str, str, dict[str, object]]]:
    """Return the command lines that README and guide name: right, whatever they begin with."""
    found = {}
    root = DEMOS[0].parents[1]
    for page in [root / "README.md", *sorted((root / "demos" / "guide").rglob("*.md"))]:
        for line in page.read_text().splitlines():
            # In a table of demos the options of a row are those of its demo.
            row = re.match(r"\| `demo_(\w+)`", line)
            options = re.findall(r"`(--[^`]+)`", line) if row else []
            calls = [(row[1], text) for text in options] if row else []
            calls += re.findall(r"\bdemo_(\w+)(?:\.py)?((?: +-?-?[\w.,/-]+)*)`", line)
            for demo, text in calls:
                if demo != "NAME" and "--" in text:
                    words = re.sub(r"\bDIR\b", "{folder}/made", text.strip())
                    words = re.sub(r"\bFILE\b", "{folder}/record.json", words)
                    found[demo, re.sub(r"\bJ\b", "2", words)] = {}
    return [(*key, wanted) for key, wanted in found.items()]


def good() -> list[tuple[str, str, dict[str, object]]]:
    """Return all good lines: demo, command line, what the demo starts with at least."""
    return [*GOOD, *named()]


def lines() -> list[tuple[str, str, str]]:
    """All bad lines: demo, command line, what the message says at least."""
    found = [(demo.stem.removeprefix("demo_"), *line) for demo in DEMOS for line in COMMON]
    for demo, own in OPTIONS.items():
        for option, kind in own.items():
            found += [(demo, f"{option}={value}", option) for value in BAD[kind]]
            if option != "--n-3d":  # which may have none
                found.append((demo, f"--quick {option}", option))
    return [*found, *SINGLE]
