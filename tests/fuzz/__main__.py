"""Fuzzes every target for its share of the time, and prints what each did: exit status 1 if anything was found."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

from tests.fuzz.targets import TARGETS


def fuzz(name: str, seconds: int, seed: int) -> tuple[int, int, str]:
    """Executions, lines of code reached, and what was found (empty if nothing)."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.one", name, str(seconds), str(seed)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + 120,
        check=False,
    )
    executed = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
    reached = re.findall(r"\bcov: (\d+)", done.stderr)
    found = "" if done.returncode == 0 else f"exit status {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-1500:]}"
    return int(executed[1]) if executed else 0, int(reached[-1]) if reached else 0, found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together (60)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="to do the same again")
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=f"of {', '.join(TARGETS)}")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds} s for {', '.join(options.targets)}")
    findings = 0
    for name in options.targets:
        executions, reached, found = fuzz(name, max(1, options.seconds // len(options.targets)), options.seed)
        findings += bool(found)
        print(f"{name:>10}: {executions:>10,} executions, {reached:>5} edges, {found or 'nothing found'}", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
