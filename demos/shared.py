# SPDX-License-Identifier: LGPL-3.0-or-later
"""What the demos share: options, printing, the record of a run, norms, meshes that differ.

Python looks for imports beside the script, so that demos find this file from any folder.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from mpi4py import MPI

import numpy as np
import ufl
from command_line import Help, Options, listed
from dolfinx import fem
from provenance import made

import dolfinx_llg as llg
from dolfinx_llg.output import output_folder, write_json
from dolfinx_llg.plot import Colours

# An error on one rank ends the job: a demo may be started unwatched.
llg.abort_on_error()


def _show_others(show: Callable[..., None]) -> Callable[..., None]:
    """Return what shows a warning unless it is one of those that all ranks give alike."""

    def shown(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if not issubclass(category, UserWarning):
            show(message, category, *place, **more)

    return shown


# The package warns on all ranks, whose filters may make errors of it; rank 0 tells the reader.
if MPI.COMM_WORLD.rank:
    warnings.showwarning = _show_others(warnings.showwarning)

type Defaults = Mapping[str, tuple[Any, Any]]
comm = MPI.COMM_WORLD
SCHEMES = {"an": llg.an, "cimrak": llg.cimrak, "gao": llg.gao, "prohl": llg.prohl}


# ## The command line
def whole(least: int = 1) -> Callable[[str], int]:
    """Return a reader of whole numbers that are not less than ``least``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return read


def real(
    above: float = -math.inf, below: float = math.inf, *, closed: bool = False
) -> Callable[[str], float]:
    """Return a reader of numbers between two (``closed``: or equal), decimal or as a fraction."""
    ends = ("at least", "at most") if closed else ("above", "below")
    limits = zip(ends, (above, below), strict=True)
    wanted = " and ".join([f"{word} {end:g}" for word, end in limits if math.isfinite(end)])

    def read(text: str) -> float:
        try:
            value = float(Fraction(text)) if "/" in text else float(text)
        except (ValueError, ZeroDivisionError):
            value = math.nan
        inside = above <= value <= below if closed else above < value < below
        if not (math.isfinite(value) and inside):
            raise argparse.ArgumentTypeError(
                f"must be a number{' ' * bool(wanted)}{wanted}, got {text!r}"
            )
        return value

    return read


positive = real(0.0)


def several[T](kind: Callable[[str], T]) -> Callable[[str], list[T]]:
    """Return a reader of values that are separated by commas."""

    def read(text: str) -> list[T]:
        return [kind(part) for part in text.split(",")]

    return read


numbers = several(whole())


def existing(text: str) -> Path:
    """Read the name of a file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return path


def earlier(text: str) -> Path:
    """Read the name of a file that ``--json`` has written in an earlier run."""
    path = existing(text)
    try:
        json.loads(path.read_text())["results"]
    except (ValueError, KeyError, TypeError):
        raise argparse.ArgumentTypeError(f"{text} is no JSON file of a demo") from None
    return path


def options(description: str, output: str = "folder for the pictures") -> Options:
    """Return a parser with the options that every demo has."""
    parser = Options(description=description, allow_abbrev=False, formatter_class=Help)
    common = parser.add_argument_group("options of every demo")
    common.add_argument("--json", type=Path, help="file for all figures")
    common.add_argument("--output", type=Path, help=output)
    common.add_argument("--quick", action="store_true", help="smoke run")
    return parser


def begin(
    parser: Options,
    defaults: Defaults | Callable[[argparse.Namespace], Defaults] | None = None,
    *,
    into_output: Sequence[str] = (),
    files: Sequence[str] = ("json",),
) -> argparse.Namespace:
    """Read the command line, and make the folders for the results before any work.

    Args:
        parser: From ``options``.
        defaults: Of options that were not given: (of a whole run, of a quick one); or what returns
            them for the options that were given.
        into_output: Switches for more files in the folder ``--output``, which they need.
        files: Options that name a file to write.
    """
    if callable(defaults):
        asked = [word for word in sys.argv[1:] if word not in ("-h", "--help")]
        defaults = defaults(parser.parse_known_args(asked)[0])
    for action in parser._actions:
        full, quick = (defaults or {}).get(action.dest, (None, None))
        if full is not None and action.help and "default" not in action.help:
            short = "" if quick == full else f"; with --quick {listed(quick, action)}"
            action.help += f" (default {listed(full, action)}{short})".replace("%", "%%")
    args = parser.parse_args()
    for name, (full, quick) in (defaults or {}).items():
        if getattr(args, name) is None:
            setattr(args, name, quick if args.quick else full)
    for name in into_output:
        if getattr(args, name) and not args.output:
            parser.error(f"--{name} writes into the folder --output, which is not given")
    folders = [args.output]
    for name in files:
        path = getattr(args, name)
        if path and path.is_dir():
            parser.error(f"--{name} needs a file, {path} is a folder")
        folders.append(path and path.parent)
    for folder in filter(None, folders):
        try:
            output_folder(folder, comm)
        except OSError as error:
            parser.error(str(error))
    return args


def say(text: str = "") -> None:
    """Print on one rank."""
    if comm.rank == 0:
        print(text, flush=True)


def record(
    name: str,
    args: argparse.Namespace,
    results: Any,
    parameters: Mapping[str, Any] | None = None,
    **more: Any,
) -> None:
    """Write what a demo has computed, if ``--json`` asks for it.

    Args:
        name: Name of the demo.
        args: Its options.
        results: Numbers by name.
        parameters: Of the run; by default the options.
        more: Further entries of the document.
    """
    if args.json is None:
        return
    if parameters is None:
        parameters = {key: value for key, value in vars(args).items() if value is not None}
    document = {"demo": name, "parameters": parameters, "ranks": comm.size, "results": results}
    write_json(args.json, document | more | {"made": made()}, comm)


def beside(path: Path | str, name: str) -> Any:
    """Read a JSON file that lies beside a demo."""
    return json.loads(Path(path).with_name(name).read_text())


def timed[T](work: Callable[[], T]) -> tuple[T, float]:
    """Return what some work gives, and its seconds on the slowest rank."""
    comm.Barrier()
    start = time.perf_counter()
    value = work()
    comm.Barrier()
    return value, time.perf_counter() - start


def busy[T](work: Callable[[], T]) -> tuple[T, float]:
    """Return what some work gives, and its CPU seconds on the busiest rank."""
    comm.Barrier()
    begun = time.process_time()
    value = work()
    return value, max(comm.allgather(time.process_time() - begun))


def along(degrees: float) -> np.ndarray:
    """Return the direction at an angle to z in the plane x-z."""
    return np.array([np.sin(np.radians(degrees)), 0.0, np.cos(np.radians(degrees))])


def norms(u: fem.Function) -> np.ndarray:
    """Return the L2 and the full H1 norm."""
    parts = [ufl.inner(u, u) * ufl.dx, ufl.inner(ufl.grad(u), ufl.grad(u)) * ufl.dx]
    local = [fem.assemble_scalar(fem.form(part)) for part in parts]
    l2, semi = np.sum(u.function_space.mesh.comm.allgather(local), axis=0)
    return np.sqrt([l2, l2 + semi])


def errors(m: fem.Function, reference: fem.Function) -> tuple[float, float]:
    """Return the relative errors in L2 and H1 of m on the mesh of the reference."""
    difference = fem.Function(m.function_space)
    difference.x.array[:] = m.x.array - reference.x.array
    l2, h1 = norms(difference) / norms(reference)
    return float(l2), float(h1)


def carried(u: fem.Function, V: fem.FunctionSpace) -> fem.Function:
    """Return a P1 function of another mesh of the same domain at the nodes of V."""
    index_map = V.mesh.topology.index_map(V.mesh.topology.dim)
    cells = np.arange(index_map.size_local, dtype=np.int32)
    out = fem.Function(V, name="m")
    data = fem.create_interpolation_data(V, u.function_space, cells, padding=1e-8)
    out.interpolate_nonmatching(u, cells, data)
    out.x.scatter_forward()
    return out


def averaged(hierarchy: llg.grps.Hierarchy, kappa: fem.Function) -> fem.Function:
    """Return the means over the coarse cells of a coefficient given on the fine ones."""
    mean = fem.Function(fem.functionspace(hierarchy.coarse, ("DG", 0)), name="kappa")
    first, last = hierarchy.data.cell_range
    children = hierarchy.parent - first  # they live on the rank of their parent
    values = kappa.x.array[kappa.function_space.dofmap.list[: len(children), 0]]
    place = mean.function_space.dofmap.list[: last - first, 0]
    count = np.bincount(children, minlength=last - first)
    mean.x.array[place] = np.bincount(children, values, minlength=last - first) / count
    mean.x.scatter_forward()
    return mean


def tilt_colours(shots: list[Any], least: float = 0.0, step: float = 5.0) -> Colours:
    """Return colours for the tilt of m from its mean direction, where m varies little."""
    mean = np.mean([shot.m.mean(axis=0) for shot in shots], axis=0)
    cosine = min((shot.m @ mean).min() for shot in shots) / np.linalg.norm(mean)
    spread = step * np.ceil(1.25 * np.degrees(np.arccos(cosine)) / step)
    return Colours(mean, max(least, spread))
