"""The test suites, each with its time budget: what `make test`, `make test-fast` and `make test-all` run.

A suite runs in a process of its own, so that a hung one is ended at its budget and the others still report. The
budgets are for two cold cores where Kubernetes has to be built first; `tests.cluster build` is a step of its own
so that the tests' own times are not blurred by it.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time

MINUTE = 60.0


@dataclasses.dataclass(frozen=True)
class Suite:
    """One command and the seconds it may take; `warm` is the goal once everything is built."""

    name: str
    command: tuple[str, ...]
    budget: float


def pytest_suite(name: str, budget: float, *arguments: str) -> Suite:
    return Suite(name, (sys.executable, "-m", "pytest", f"tests/{name}", "-q", *arguments), budget)


FAST = pytest_suite("unit", 4 * MINUTE, "-m", "not deep")
UNIT = pytest_suite("unit", 8 * MINUTE)
BUILD = Suite("build", (sys.executable, "-m", "tests.cluster", "build"), 40 * MINUTE)
INTEGRATION = pytest_suite("integration", 20 * MINUTE)
E2E = pytest_suite("e2e", 25 * MINUTE)
MUTANTS = Suite("mutants", (sys.executable, "-m", "tests.mutants"), 20 * MINUTE)

PLANS: dict[str, tuple[Suite, ...]] = {
    "fast": (FAST,),
    "test": (UNIT, BUILD, INTEGRATION, E2E),
    "all": (UNIT, BUILD, INTEGRATION, E2E, MUTANTS),
}


def run(suite: Suite) -> tuple[str, float]:
    """Run one suite; return its verdict ('ok', 'FAILED (exit N)' or 'OVER BUDGET') and the seconds it took."""
    print(f"\n== {suite.name}: {' '.join(suite.command[1:])}", flush=True)
    started = time.monotonic()
    with subprocess.Popen(suite.command) as process:
        try:
            code = process.wait(timeout=suite.budget)
            verdict = "ok" if code == 0 else f"FAILED (exit {code})"
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
            verdict = f"OVER BUDGET ({suite.budget:.0f} s)"
    return verdict, time.monotonic() - started


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in PLANS:
        print(f"usage: python -m tests.suites {'|'.join(PLANS)}", file=sys.stderr)
        return 2
    results = [(suite, *run(suite)) for suite in PLANS[arguments[0]]]
    print("\nsuite         seconds   budget   verdict")
    for suite, verdict, seconds in results:
        print(f"{suite.name:<12} {seconds:>8.1f} {suite.budget:>8.0f}   {verdict}")
    failed = sum(verdict != "ok" for _, verdict, _ in results)
    print(f"suites: {len(results) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
