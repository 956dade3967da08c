"""`make compare`: the three misfortunes, run for real under flytekit and under Waypost; writes docs/comparison.md."""

from __future__ import annotations

import datetime
import platform
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from examples.compare.page import PAGE, Row, write_page
from examples.compare.systems import FLYTEKIT, Attempt, Flytekit, System, Waypost, flytekit_environment
from tests.cluster import S3Server

KILLS = 10
SEED = 20261125
SYSTEMS: tuple[type[System], ...] = (Flytekit, Waypost)
NOWHERE: Mapping[str, str] = {}


def killed_in_a_save(system: type[System], folder: Path) -> str:
    """Attempt 1 is killed at a random moment of its second save; what does attempt 2 restore?"""
    chance, found = random.Random(SEED), Counter[str]()
    for number in range(KILLS):
        running = system(folder / str(number), f"file://{folder}/{number}/store", NOWHERE)
        running.run(1, steps=3, kill_in_save=(2, chance.uniform(0.05, 0.95)))
        second = running.run(2, steps=0)
        found[_named(second)] += 1
    return "; ".join(f"{count} of {KILLS}: {what}" for what, count in sorted(found.items()))


def _named(attempt: Attempt) -> str:
    match attempt.resumed_from:
        case None:
            return f"nothing restored: {attempt.verdict}"
        case []:
            return "nothing"
        case [step] if step > 0:
            return f"step {step}, whole"
        case [0, *steps]:
            return f"**files cut short**, beside whole ones of step {' and '.join(map(str, steps))}; no error"
        case steps:
            return f"**a mixture of steps {' and '.join(map(str, steps))}**, no error"


def preempted_before_the_first_save(system: type[System], folder: Path) -> str:
    """Attempt 1 saves step 3 and is killed; attempt 2 is killed before its first save; where does attempt 3 go on?"""
    running = system(folder, f"file://{folder}/store", NOWHERE)
    running.run(1, steps=4, kill_in_save=(4, 0.0))
    running.run(2, steps=5, preempt="before the first save")
    return _went_on(running.run(3, steps=5))


def storage_down_at_the_restore(system: type[System], folder: Path) -> str:
    """Attempt 1 saves step 3 to S3; attempt 2 starts while the server is down; attempt 3 when it is back."""
    with S3Server.start("compare") as server:
        running = system(folder, f"s3://compare/{folder.name}", server.environment)
        running.run(1, steps=4, kill_in_save=(4, 0.0))
        server.stop()
        down = running.run(2, steps=5)
        server.restart()
        after = running.run(3, steps=5)
    return f"attempt 2, after {down.seconds:.0f} s: {down.verdict}. If there is an attempt 3: {_went_on(after)}"


def _went_on(attempt: Attempt) -> str:
    if attempt.resumed_from is None:
        return f"nothing restored: {attempt.verdict}"
    return f"resumed from {_named(attempt)}; {attempt.verdict}"


MISFORTUNES: tuple[tuple[str, Callable[[type[System], Path], str]], ...] = (
    ("Killed in the middle of a save", killed_in_a_save),
    ("Preempted before the first save", preempted_before_the_first_save),
    ("The storage is down at the restore", storage_down_at_the_restore),
)


def main() -> int:
    flytekit_environment()
    rows = []
    with tempfile.TemporaryDirectory(prefix="waypost-compare-") as folder:
        for number, (title, run) in enumerate(MISFORTUNES):
            told = {system.name: run(system, Path(folder) / f"{system.__name__}-{number}") for system in SYSTEMS}
            rows.append(Row(title, (run.__doc__ or "").strip(), told))
            print(title, *(f"  {name}: {what}" for name, what in told.items()), sep="\n", flush=True)
    versions = f"flytekit {FLYTEKIT}, Waypost {metadata.version('waypost')}, Python {platform.python_version()}"
    write_page(rows, versions, datetime.datetime.now(datetime.UTC).date())
    print(f"written: {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
