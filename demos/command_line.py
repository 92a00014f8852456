# SPDX-License-Identifier: LGPL-3.0-or-later
"""The command line of demos: errors in one line, help that shows defaults."""

from __future__ import annotations

import argparse
import re
from typing import IO, Any, NoReturn

from mpi4py import MPI

comm = MPI.COMM_WORLD


class Options(argparse.ArgumentParser):
    """Options of a demo: one line from one rank says what is wrong with them, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        # argparse's "argument --n: must be ..." as a sentence.
        message = re.sub(r"^argument (\S+): must", r"\1 must", message)
        self.exit(2, f"{self.prog}: {message} (--help lists the options)\n")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        super().exit(status, message if comm.rank == 0 else None)

    def print_help(self, file: IO[str] | None = None) -> None:
        if comm.rank == 0:
            super().print_help(file)


class Help(argparse.HelpFormatter):
    """Shows the default of each option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        if text is None or "default" in text or action.default in (None, False, argparse.SUPPRESS):
            return text
        return text + f" (default {listed(action.default, action)})".replace("%", "%%")


def listed(value: Any, action: argparse.Action) -> str:
    """A value as it is given on the command line."""
    if not isinstance(value, list | tuple):
        return str(value)
    return (" " if action.nargs else ",").join(map(str, value)) or "none"
