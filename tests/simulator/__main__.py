"""`make simulate`: many schedules in several processes, and what they found; or one again, step by step.

Exit status 1 when an invariant fell; the seed and the cast that it takes to see it again are printed. Ctrl-C begins
nothing new, and prints what was found so far.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Final

from tests.simulator import stranger
from tests.simulator.casts import CASTS
from tests.simulator.figures import Figures, run
from tests.simulator.scene import Scene
from tests.simulator.schedule import Schedule

_CHUNK: Final = 2000
_PROGRESS_SECONDS: Final = 60.0
_SHOWN: Final = 5
"""Violations, step by step."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--schedules", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; each schedule takes the next one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin nothing new after this time")
    parser.add_argument("--cast", choices=sorted(CASTS), help="only this one; else every seed stands for one")
    asked = parser.parse_args()
    casts = (asked.cast,) if asked.cast else tuple(CASTS)
    if asked.schedules == 1:
        return _replay(asked.seed, casts[asked.seed % len(casts)])
    return _explore(asked.seed, asked.schedules, casts, asked.jobs, asked.seconds)


def _replay(seed: int, cast: str) -> int:
    scene = Schedule(seed, CASTS[cast]).run()
    _show(scene, seed, cast)
    return 0 if scene.judge.verdict is None else 1


def _show(scene: Scene, seed: int, cast: str) -> None:
    print(f"\nseed {seed}, cast {cast!r}: {scene.judge.verdict or 'no violation'}")
    for number, step in enumerate(scene.trace, 1):
        print(f"  {number:3} {step.actor:>9}  {step.operation:<9} {_brief(step.key):<34} {step.outcome}")
    for record in scene.judge.records:
        members = {name: record[name] for name in ("attempt", "fence", "live") if name in record}
        print(f"  entry {record['sequence']:2} {record['type']:<10} {members} {record.get('step') or ''}")


def _brief(key: str) -> str:
    """A key as a person reads it: the number of a log entry, the beginning of a pack's name."""
    if (at := stranger.placed(key)) is not None:
        return f"entry {at[1]} of {10**20 - 1 - int(at[0][:20])}.{10**20 - 1 - int(at[0][21:41])} {at[0][42:46]}…"
    if stranger.is_numbered(key):
        return f"log entry {10**20 - 1 - int(key[4:24])}"
    return key if len(key) < 34 else f"{key[:6]}…{key[20:36]}…"


def _explore(first: int, schedules: int, casts: tuple[str, ...], jobs: int, seconds: float) -> int:
    print(f"{schedules} schedules from seed {first}, in {jobs} processes, {len(casts)} casts", flush=True)
    began = told = time.monotonic()
    total, distinct, enough = Figures(), set[int](), threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):  # what was found in an hour isn't thrown away
        signal.signal(name, lambda *_: enough.set())
    with ProcessPoolExecutor(jobs, initializer=_leave_signals_to_the_parent) as pool:
        running: set[Future[Figures]] = set()
        for start in range(first, first + schedules, _CHUNK):
            chunk = range(start, min(start + _CHUNK, first + schedules))
            running.add(pool.submit(run, chunk, casts))
            if len(running) >= 2 * jobs:
                running = _collect(running, total, distinct)
            if time.monotonic() - told > _PROGRESS_SECONDS:
                told = time.monotonic()
                print(f"{told - began:6.0f} s: {total.schedules} schedules, {len(distinct)} distinct", flush=True)
            if enough.is_set() or time.monotonic() - began > seconds or len(total.violations) >= _SHOWN:
                break
        while running:
            running = _collect(running, total, distinct)
    _report(total, len(distinct), time.monotonic() - began)
    for violation in total.violations[:_SHOWN]:
        _show(Schedule(violation.seed, CASTS[violation.cast]).run(), violation.seed, violation.cast)
        print(f"  again: make simulate SEED={violation.seed} SCHEDULES=1 CAST='{violation.cast}'")
    return 1 if total.violations else 0


def _leave_signals_to_the_parent() -> None:
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)


def _collect(running: set[Future[Figures]], total: Figures, distinct: set[int]) -> set[Future[Figures]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        found = future.result()
        total.add(found)
        distinct.update(found.fingerprints)
    return rest


def _report(total: Figures, distinct: int, seconds: float) -> None:
    print(
        f"{total.schedules} schedules, {distinct} distinct, {total.steps / max(1, total.schedules):.1f} steps each, "
        f"{seconds:.0f} s, {total.schedules / seconds:.0f} a second, {len(total.violations)} violations"
    )
    for what, count in sorted(total.met.items()):
        print(f"  {what:<30} {count:>9}")


if __name__ == "__main__":
    sys.exit(main())
