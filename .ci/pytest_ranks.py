# SPDX-License-Identifier: LGPL-3.0-or-later
"""Run pytest on several numbers of MPI ranks and count what passed.

    python .ci/pytest_ranks.py 1:tests 2:tests/unit,tests/verification ... [-- PYTEST OPTIONS]

A run of one rank may be shared by processes that work side by side on the test files: ``1x2:tests``
(not for tests that start ranks themselves). Their failures are shown when all have ended.

Rank 0 prints as pytest does; the other ranks write aside, and their failures are shown when rank 0
did not have the same one. A test failed if it failed on any rank, or if a rank did not finish it.
Each run has a time limit (``LLG_TEST_TIMEOUT`` seconds, default 1800), so that ranks that wait for
each other cannot hang the caller. Ends with one line per run and with ``N passed, N failed``; the
exit code is 0 only if every run was complete and nothing failed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID")
LOG_LINES = 60


class Recorder:
    """Pytest plugin that writes each event at once: a rank may die at any moment."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, **event: Any) -> None:
        """Append one event."""
        self.file.write(json.dumps(event) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note that a test has begun."""
        self.write(test=nodeid, outcome="unfinished")

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note how setup, call or teardown ended."""
        if report.failed:
            text = f"{report.nodeid} ({report.when})\n{report.longreprtext}"
            for name, content in report.sections:
                text += f"\n--- {name} ---\n{content.rstrip()}"
            self.write(test=report.nodeid, outcome="failed", text=text)
        elif report.skipped or (report.when == "call"):
            self.write(test=report.nodeid, outcome=report.outcome)

    def pytest_collectreport(self, report: Any) -> None:
        """Note a file that could not be collected."""
        if report.failed:
            self.write(test=report.nodeid, outcome="failed", text=report.longreprtext)

    def pytest_unconfigure(self) -> None:
        """Close the file."""
        self.file.close()


def run_rank(folder: Path, arguments: list[str]) -> int:
    """Run pytest as one rank; only rank 0 writes to the terminal."""
    rank = next((int(os.environ[v]) for v in RANK_VARIABLES if v in os.environ), 0)
    if rank > 0:
        log = os.open(folder / f"{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        arguments = [*arguments, "-p", "no:cacheprovider"]
    # Ranks that clean up pytest's numbered folders at one time get in each other's way.
    arguments = [f"--basetemp={folder / f'tmp_{rank}'}", *arguments]
    import pytest

    code = int(pytest.main(arguments, plugins=[Recorder(folder / f"{rank}.jsonl")]))
    (folder / f"{rank}.code").write_text(str(code))
    return code


def read_outcomes(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the last outcome of each test of one rank, failures first, and the failures' texts."""
    outcomes: dict[str, str] = {}
    texts: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        event = json.loads(line)
        name, outcome = event["test"], event["outcome"]
        if outcomes.get(name) != "failed":
            outcomes[name] = outcome
        if "text" in event:
            texts[name] = texts[name] + "\n" + event["text"] if name in texts else event["text"]
    return outcomes, texts


def merge(per_rank: list[dict[str, str]]) -> dict[str, str]:
    """Return one outcome per test: a failure on any rank, or a rank without it, is a failure."""
    merged = {}
    for name in dict.fromkeys(name for outcomes in per_rank for name in outcomes):
        found = {outcomes.get(name, "unfinished") for outcomes in per_rank}
        bad = found & {"failed", "unfinished"}
        merged[name] = "failed" if bad else "passed" if "passed" in found else "skipped"
    return merged


def report_other_ranks(folder: Path, per_rank: list[dict[str, str]], broken: bool) -> None:
    """Print what rank 0 did not: failures of other ranks, and where each rank stopped."""
    shown = {name for name, outcome in per_rank[0].items() if outcome == "failed"}
    # A rank 0 that was ended has not printed its failures either.
    first = 0 if not (folder / "0.code").exists() else 1
    for rank in range(first, len(per_rank)):
        _, texts = read_outcomes(folder / f"{rank}.jsonl")
        for name, text in texts.items():
            if rank == 0 or name not in shown:
                print(f"\n===== failed on rank {rank}: {text}")
        for name, outcome in per_rank[rank].items():
            if outcome == "unfinished":
                print(f"\n===== rank {rank} did not finish {name}")
        log = folder / f"{rank}.log"
        if broken and rank > 0 and log.exists():
            print(f"\n===== end of the output of rank {rank}")
            print("\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]))


def launch(ranks: int, folder: Path, arguments: list[str], limit: float) -> str:
    """Run pytest on ``ranks`` ranks; return "" or what went wrong with the run as a whole."""
    command = [sys.executable, str(Path(__file__).resolve()), "--rank", str(folder), *arguments]
    if ranks > 1:
        mpirun = shutil.which("mpirun") or shutil.which("mpiexec")
        if mpirun is None:
            return "neither mpirun nor mpiexec is on PATH"
        command = [mpirun, "-n", str(ranks), *command]
    environment = {
        # Open MPI refuses more ranks than cores unless told otherwise.
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    if ranks > len(os.sched_getaffinity(0)):
        # MPICH's ranks spin while they wait: the one that has work should get the core (2.6 times
        # as fast with 3 ranks on 2 cores; heavier ways to yield slow every message down by 20).
        environment["MPIR_CVAR_CH4_PROGRESS_THROTTLE"] = "1"
    environment |= os.environ
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        return f"stopped after the time limit of {limit:.0f} s"
    finally:
        end_session(process)
    if code == 0:
        return ""
    codes = {}
    for rank in range(ranks):
        path = folder / f"{rank}.code"
        codes[rank] = path.read_text() if path.exists() else "none (it did not end by itself)"
    if set(codes.values()) == {"5"}:
        return "no tests were found"
    # 1 means that tests failed, which the counts say.
    odd = [f"{value} on rank {rank}" for rank, value in codes.items() if value not in ("0", "1")]
    if odd:
        return f"exit code of pytest: {', '.join(odd)}"
    return "" if "1" in codes.values() else f"exit code {code} after all tests had passed"


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a run, ranks included."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue


def shares(paths: list[str], number: int) -> list[list[str]]:
    """Deal test files, and those below folders, out to processes, the largest first."""
    files = []
    for path in map(Path, paths):
        found = [path] if path.is_file() else list(path.rglob("test_*.py"))
        if not found:
            sys.exit(f"Error: no tests in {path}")
        files += found
    files = sorted(set(files), key=lambda file: (-file.stat().st_size, str(file)))
    # Without a file pytest would take all there are.
    return [share for k in range(number) if (share := [str(file) for file in files[k::number]])]


def run_shares(number: int, options: list[str], paths: list[str], limit: float) -> Counter[str]:
    """Do one run of one rank in processes side by side; the counts are as those of ``run``."""
    command = [sys.executable, str(Path(__file__).resolve()), "--rank"]
    counts: Counter[str] = Counter()
    print(f"\n===== 1 rank, {number} processes: pytest {' '.join([*options, *paths])}", flush=True)
    with tempfile.TemporaryDirectory(prefix="llg_tests_") as temporary:
        processes = []
        for k, files in enumerate(shares(paths, number)):
            folder = Path(temporary) / str(k)
            folder.mkdir()
            log = (folder / "log").open("w")
            processes.append(
                subprocess.Popen(
                    [*command, str(folder), *options, "-p", "no:cacheprovider", *files],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )
        deadline = time.monotonic() + limit
        try:
            for k, process in enumerate(processes):
                folder = Path(temporary) / str(k)
                problem = ""
                try:
                    code = process.wait(max(deadline - time.monotonic(), 0.0))
                except subprocess.TimeoutExpired:
                    problem = f"process {k} was stopped after the time limit of {limit:.0f} s"
                else:
                    if code not in (0, 1, 5):  # 5: -k left this process no tests
                        problem = f"process {k} ended with the exit code {code}"
                    elif code == 1 and (folder / "0.code").read_text() != "1":
                        problem = f"process {k} failed outside its tests"
                outcomes = merge([read_outcomes(folder / "0.jsonl")[0]])
                found = Counter(outcomes.values())
                if problem or found["failed"]:
                    print((folder / "log").read_text(errors="replace"))
                if problem:
                    # A process that was ended has not printed its failures.
                    report_other_ranks(folder, [read_outcomes(folder / "0.jsonl")[0]], True)
                    print(f"\n===== {problem}")
                    found["failed"] = max(found["failed"], 1)
                counts += found
        finally:
            for process in processes:
                end_session(process)
    if not counts:
        counts["failed"] = 1
        print("\n===== 1 rank: no tests were found")
    sys.stdout.flush()
    return counts


def run(ranks: int, arguments: list[str], limit: float) -> Counter[str]:
    """Do one run and print its failures; the counts have the keys passed, failed, skipped."""
    name = f"{ranks} rank{'s' if ranks > 1 else ''}"
    print(f"\n===== {name}: pytest {' '.join(arguments)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="llg_tests_") as temporary:
        folder = Path(temporary)
        problem = launch(ranks, folder, arguments, limit)
        per_rank = [read_outcomes(folder / f"{rank}.jsonl")[0] for rank in range(ranks)]
        report_other_ranks(folder, per_rank, bool(problem))
    counts = Counter(merge(per_rank).values())
    if problem:
        print(f"\n===== {name}: {problem}")
    if not problem and not counts:
        problem = "no tests were found"
    if problem and not counts["failed"]:
        counts["failed"] += 1
    sys.stdout.flush()
    return counts


def main(arguments: list[str]) -> int:
    """Do the runs, print the counts."""
    if arguments[:1] == ["--rank"]:
        return run_rank(Path(arguments[1]), arguments[2:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end_session runs then, too
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = arguments[split + 1 :]
    limit = float(os.environ.get("LLG_TEST_TIMEOUT", "1800"))
    lines = []
    total: Counter[str] = Counter()
    for specification in arguments[:split]:
        ranks, _, listed = specification.partition(":")
        ranks, _, processes = ranks.partition("x")
        paths = listed.split(",")
        start = time.monotonic()
        if processes:
            counts = run_shares(int(processes), ["-q", *options], paths, limit)
        else:
            counts = run(int(ranks), ["-q", *options, *paths], limit)
        total += counts
        lines.append(
            f"{ranks} rank{'s: ' if ranks != '1' else ':  '}{counts['passed']} passed, "
            f"{counts['failed']} failed, {counts['skipped']} skipped "
            f"in {time.monotonic() - start:.0f} s"
        )
    print("\n" + "\n".join(lines))
    print(f"{total['passed']} passed, {total['failed']} failed", flush=True)
    return 0 if total["passed"] and not total["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
