"""The test suites, each with its time budget: what `make test`, `make test-fast` and `make test-all` run.

A suite runs in a process group of its own, so that a hung one is ended at its budget, with everything it started, and
the others still report. The budgets are for two cold cores where Kubernetes has to be built first; `tests.cluster
build` is a step of its own so that the tests' own times are not blurred by it.

The unit tests compute and the integration tests mostly wait (for time-outs, for servers), so these run side by side, in
two halves (against an API server, and against stores). The end-to-end tests take longest and wait, too; they begin
behind the unit tests, which leave no core to anybody, and have the machine for themselves once the others are through.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import IO

MINUTE = 60.0
MANNERS_SECONDS = 60.0  # between SIGTERM and SIGKILL: a suite takes its servers and its cluster down


@dataclasses.dataclass(frozen=True)
class Suite:
    """One command and the seconds it may take."""

    name: str
    command: tuple[str, ...]
    budget: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a suite: `verdict` is 'ok', 'FAILED (exit N)' or 'OVER BUDGET (N s)'."""

    suite: Suite
    verdict: str
    seconds: float


RUNNING: set[subprocess.Popen[bytes]] = set()  # what a Ctrl-C has to end: it reaches no group but this process's own

Track = tuple[Suite, ...]  # run one after the other
Stage = tuple[Track, ...]  # run side by side; the first one's output is seen as it comes, the others' at their end
Plan = tuple[Stage, ...]


def pytest_suite(name: str, budget: float, *arguments: str, folders: Sequence[str] = ()) -> Suite:
    """The tests of `folders`, by default of the folder of that name."""
    where = [f"tests/{folder}" for folder in folders or (name,)]
    slowest = ("--durations=12", "--durations-min=5")
    return Suite(name, (sys.executable, "-m", "pytest", *where, "-q", *slowest, *arguments), budget)


FAST = pytest_suite("unit", 4 * MINUTE, "-m", "not deep")
UNIT = pytest_suite("unit", 20 * MINUTE)
BUILD = Suite("build", (sys.executable, "-m", "tests.cluster", "build"), 40 * MINUTE)
OF_THE_API = pytest_suite("api", 20 * MINUTE, folders=("integration/operator", "integration/chart"))
OF_THE_STORE = pytest_suite("store", 20 * MINUTE, folders=("integration/store", "integration/sdk"))
OF_THE_BENCH = pytest_suite("bench", 20 * MINUTE, folders=("integration/bench",))
E2E = pytest_suite("e2e", 30 * MINUTE, "-m", "not matrix")
MATRIX = dataclasses.replace(pytest_suite("e2e", 30 * MINUTE, "-m", "matrix"), name="matrix")
MUTANTS = Suite("mutants", (sys.executable, "-m", "tests.mutants"), 20 * MINUTE)

TEST: Plan = (((BUILD, UNIT, E2E), (OF_THE_STORE,), (OF_THE_API, OF_THE_BENCH)),)
PLANS: dict[str, Plan] = {"fast": (((FAST,),),), "test": TEST, "all": (*TEST, ((MATRIX,),), ((MUTANTS,),))}


def run(suite: Suite, output: IO[bytes] | None = None) -> Outcome:
    """Run one suite; what it prints goes to `output`, or to this process's own stdout."""
    print(f"\n== {suite.name}: {' '.join(suite.command[1:])}", flush=True)
    started = time.monotonic()
    errors = subprocess.STDOUT if output else None
    with subprocess.Popen(suite.command, stdout=output, stderr=errors, start_new_session=True) as process:
        RUNNING.add(process)
        try:
            code = process.wait(timeout=suite.budget)
            verdict = "ok" if code == 0 else f"FAILED (exit {code})"
        except subprocess.TimeoutExpired:
            end_group(process)
            verdict = f"OVER BUDGET ({suite.budget:.0f} s)"
    RUNNING.discard(process)
    return Outcome(suite, verdict, time.monotonic() - started)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the suite, and all it started, to end; insist after a while."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=MANNERS_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself in between


def run_later_seen(suite: Suite) -> Outcome:
    """Run one suite beside another one, and show all it printed when it has ended."""
    with tempfile.TemporaryFile() as output:
        outcome = run(suite, output)
        output.seek(0)
        print(f"\n== {suite.name}, which ran beside:", flush=True)
        shutil.copyfileobj(output, sys.stdout.buffer)
        sys.stdout.flush()
    return outcome


def run_stage(stage: Stage) -> list[Outcome]:
    """Run the tracks side by side and return every suite's outcome, in the order in which the tracks name them."""
    first, *others = stage
    outcomes: dict[int, list[Outcome]] = {}

    def beside(number: int, track: Track) -> None:
        outcomes[number] = [run_later_seen(suite) for suite in track]

    threads = [threading.Thread(target=beside, args=numbered) for numbered in enumerate(others, 1)]
    for thread in threads:
        thread.start()
    outcomes[0] = [run(suite) for suite in first]
    for thread in threads:
        thread.join()
    return [outcome for number in sorted(outcomes) for outcome in outcomes[number]]


def table(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The last screen: a line for each suite, and a count."""
    lines = ["suite         seconds   budget   verdict"]
    lines += [f"{one.suite.name:<12} {one.seconds:>8.1f} {one.suite.budget:>8.0f}   {one.verdict}" for one in outcomes]
    failed = sum(one.verdict != "ok" for one in outcomes)
    return "\n".join([*lines, f"suites: {len(outcomes) - failed} passed, {failed} failed, in {seconds:.0f} s"])


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PLANS:
        print(f"usage: python -m tests.suites {'|'.join(PLANS)}", file=sys.stderr)
        return 2
    started = time.monotonic()
    outcomes = [outcome for stage in PLANS[arguments[0]] for outcome in run_stage(stage)]
    print(f"\n{table(outcomes, time.monotonic() - started)}", flush=True)
    return 1 if any(one.verdict != "ok" for one in outcomes) else 0


def until_interrupted(arguments: list[str]) -> int:
    """Run a plan; on Ctrl-C or SIGTERM end every running suite with all that it started, and return 130."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        return main(arguments)
    except KeyboardInterrupt:
        for process in list(RUNNING):
            end_group(process)
        return 130


if __name__ == "__main__":
    sys.exit(until_interrupted(sys.argv[1:]))
