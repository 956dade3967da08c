"""The program that both run, unchanged but for where it imports `task` from: `waypost.flyte`, or `flytekit`.

Each step writes a folder of files that all say which step they belong to, and saves it. On a start it restores what
there is and says which steps it found. It talks to its observer in lines on stdout.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from waypost.flyte import current_context, task

FILES, BYTES = 60, 100_000
WORK = Path(os.environ["COMPARE_WORK"])
STEPS = int(os.environ["COMPARE_STEPS"])


def write(folder: Path, step: int) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(FILES):
        (folder / f"part-{number:03}").write_bytes(b"%08d" % step * (BYTES // 8))


def steps_in(folder: Path) -> list[int]:
    """The steps that the files speak of; 0 for a file that isn't whole."""
    contents = [path.read_bytes() for path in folder.rglob("part-*")]
    return sorted({int(content[:8]) if len(content) == BYTES else 0 for content in contents})


@task(retries=3)
def train() -> int:
    checkpoint = current_context().checkpoint
    restored = WORK / "restored"
    restored.mkdir(parents=True)
    found = steps_in(restored) if checkpoint.restore(restored) is not None else []
    print("resumed from", found, flush=True)
    if os.environ.get("COMPARE_PREEMPT") == "before the first save":
        os.kill(os.getpid(), signal.SIGKILL)
    step = max(found, default=0)
    while step < STEPS:
        step += 1
        write(WORK / "state", step)
        print("saving", step, flush=True)
        checkpoint.save(WORK / "state")
        print("saved", step, flush=True)
    return step
