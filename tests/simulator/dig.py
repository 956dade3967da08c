"""`make holes`: puts each hole of the protocol back into a scratch copy, and counts the schedules until it is found.

The table is what the simulator is worth: a simulator that finds none of these finds nothing. Exit status 1 when a hole
isn't found within the bound, or by another invariant than the one that its header names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.__main__ import Scratch
from tests.simulator.hole import Hole, all_holes


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.dig", description=__doc__)
    parser.add_argument("words", nargs="*", help="only holes whose name contains one of these")
    parser.add_argument("--bound", type=int, default=100_000, help="schedules for each hole")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="holes at once")
    asked = parser.parse_args()
    holes = [hole for hole in all_holes() if not asked.words or any(word in hole.name for word in asked.words)]
    with tempfile.TemporaryDirectory(prefix="waypost-holes-") as folder, ThreadPoolExecutor(asked.jobs) as pool:
        copies = [Path(folder) / hole.name for hole in holes]
        troubles = list(pool.map(_dig, holes, copies, [asked.bound] * len(holes)))
    missed = sum(troubles)
    print(f"{len(holes) - missed} of {len(holes)} holes were found")
    return 1 if missed or not holes else 0


def _dig(hole: Hole, folder: Path, bound: int) -> bool:
    """Try one and print its line: whether it was missed."""
    scratch = Scratch(folder)
    trouble = scratch.apply(hole.path)
    if trouble:
        _print(hole, "-", f"does not apply: {trouble}")
        return True
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'sdk'}:{folder}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "tests.simulator.hunt", str(bound)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        _print(hole, "-", f"the simulator failed: {done.stderr.strip()[-600:]}")
        return True
    told = json.loads(done.stdout)
    if told["found"] is None:
        _print(hole, str(told["schedules"]), "NOT FOUND")
        return True
    seed, cast, verdict = told["found"]
    expected = verdict.partition(":")[0] in hole.notices
    remark = "" if expected else f"BY ANOTHER INVARIANT than {hole.notices}: "
    _print(hole, str(told["schedules"]), f"{remark}{verdict} (seed {seed}, cast {cast!r})")
    return not expected


def _print(hole: Hole, schedules: str, verdict: str) -> None:
    print(f"{hole.name:<44} {schedules:>7}  {verdict[:200]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
